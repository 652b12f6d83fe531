/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "os/neighbour.h"

#include "netns.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

/* The other end of the cable. */
#define PEER "02:00:00:00:53:02"

static const uint8_t peer_link[6] = { 2, 0, 0, 0, 0x53, 2 };

static struct neighbours *table;
static unsigned ifindex;
static uint8_t link_address[6];

static void
begin(void)
{
	int error = neighbours_open(&table);

	ck_assert_int_eq(error, 0);
	memset(link_address, 0xee, sizeof link_address);
}

static void
end(void)
{
	neighbours_close(table);
}

static struct netaddr
addr(const char *text)
{
	struct netaddr a;

	ck_assert(netaddr_parse(text, &a));
	return a;
}

static int
find(const char *address)
{
	struct netaddr a = addr(address);

	return neighbours_find(table, ifindex, &a, link_address);
}

/* False: no namespaces here. */
static bool
on_a_cable(void)
{
	if (!netns_enter() || !netns_cable())
		return false;
	ifindex = if_nametoindex("left0");
	neighbours_close(table);
	ck_assert_int_eq(neighbours_open(&table), 0);
	return true;
}

/* The kernel asks by itself, and takes its time. */
static int
find_soon(const char *address)
{
	const struct timespec step = { .tv_nsec = 10000000 };
	int error = -ENOENT;

	for (int i = 0; i < 500 && error == -ENOENT; i++) {
		error = find(address);
		nanosleep(&step, NULL);
	}
	return error;
}

START_TEST(entries_of_the_table)
{
	static const char *const usable[] = { "permanent", "reachable", "stale", "delay", "probe" };
	char command[200];

	if (!on_a_cable())
		return;
	ck_assert_int_eq(find("10.53.0.2"), -ENOENT);
	for (size_t i = 0; i < sizeof usable / sizeof usable[0]; i++) {
		snprintf(command, sizeof command,
		    "ip neigh replace 10.53.0.2 lladdr " PEER " nud %s dev left0", usable[i]);
		ck_assert(netns_run(command));
		memset(link_address, 0, sizeof link_address);
		ck_assert_int_eq(find("10.53.0.2"), 0);
		ck_assert_mem_eq(link_address, peer_link, 6);
	}
	ck_assert(netns_run("ip neigh replace fe80::53 lladdr " PEER " dev left0"));
	ck_assert_int_eq(find("fe80::53"), 0);
	ck_assert_int_eq(find("fe80::54"), -ENOENT);
	/* The same address on another interface is another box. */
	ifindex = if_nametoindex("right0");
	ck_assert_int_eq(find("10.53.0.2"), -ENOENT);
	ck_assert(netns_run("ip neigh replace 10.53.0.2 lladdr 02:00:00:00:53:09 dev right0"));
	ck_assert_int_eq(find("10.53.0.2"), 0);
	ck_assert_uint_eq(link_address[5], 9);
}
END_TEST

START_TEST(entries_without_an_address)
{
	if (!on_a_cable())
		return;
	ck_assert(netns_run("ip neigh replace 10.53.0.2 lladdr " PEER " nud noarp dev left0"));
	ck_assert_int_eq(find("10.53.0.2"), -ENOTSUP);
	ck_assert(netns_run("ip neigh replace 10.53.0.3 lladdr " PEER " nud failed dev left0"));
	ck_assert_int_eq(find("10.53.0.3"), -ENOENT);
	ck_assert_uint_eq(link_address[0], 0xee);
	ifindex = 9999;
	ck_assert_int_lt(find("10.53.0.2"), 0);
	ck_assert_uint_eq(link_address[0], 0xee);
}
END_TEST

/* A process that only keeps a second network alive, as long as this one lives. */
static pid_t
network_of_its_own(void)
{
	int ends[2];
	pid_t child;
	char c;

	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (unshare(CLONE_NEWNET) == 0 && write(ends[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	ck_assert_int_gt(child, 0);
	close(ends[1]);
	ck_assert_int_eq(read(ends[0], &c, 1), 1);
	close(ends[0]);
	return child;
}

START_TEST(provoked)
{
	struct netaddr there = addr("10.53.0.2"), nobody = addr("10.53.0.3");
	struct netaddr there6 = addr("fd53::2");
	char command[360];
	pid_t peer;

	if (!on_a_cable())
		return;
	peer = network_of_its_own();
	snprintf(command, sizeof command,
	    "ip link set right0 netns %ld && in=\"nsenter -n -t %ld\" && "
	    "$in ip link set right0 address " PEER " && "
	    "$in ip addr add 10.53.0.2/24 dev right0 && "
	    "$in ip addr add fd53::2/64 dev right0 nodad && "
	    "$in ip link set right0 up && ip addr add fd53::1/64 dev left0 nodad",
	    (long)peer, (long)peer);
	ck_assert(netns_run(command));
	ck_assert_int_eq(find("10.53.0.2"), -ENOENT);
	ck_assert_int_eq(neighbour_provoke(ifindex, "left0", &there), 0);
	ck_assert_int_eq(find_soon("10.53.0.2"), 0);
	ck_assert_mem_eq(link_address, peer_link, 6);
	memset(link_address, 0, sizeof link_address);
	ck_assert_int_eq(neighbour_provoke(ifindex, "left0", &there6), 0);
	ck_assert_int_eq(find_soon("fd53::2"), 0);
	ck_assert_mem_eq(link_address, peer_link, 6);
	ck_assert_int_eq(neighbour_provoke(ifindex, "left0", &nobody), 0);
	ck_assert_int_eq(find("10.53.0.3"), -ENOENT);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
}
END_TEST

START_TEST(provoked_in_vain)
{
	struct netaddr blocked = addr("10.53.0.2");

	if (!on_a_cable())
		return;
	ck_assert_int_eq(neighbour_provoke(ifindex, "nosuch0", &blocked), -ENODEV);
	if (!netns_run("nft add table ip block && nft add chain ip block out "
		       "'{ type filter hook output priority 0; policy drop; }'"))
		return;
	ck_assert_int_eq(neighbour_provoke(ifindex, "left0", &blocked), -EPERM);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("neighbour");
	TCase *tests = tcase_create("neighbour");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tests, begin, end);
	tcase_set_timeout(tests, 30);
	tcase_add_test(tests, entries_of_the_table);
	tcase_add_test(tests, entries_without_an_address);
	tcase_add_test(tests, provoked);
	tcase_add_test(tests, provoked_in_vain);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
