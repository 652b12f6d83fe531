/* SPDX-License-Identifier: ISC */
#ifndef UNIT_NETNS_H
#define UNIT_NETNS_H

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A network of the test's own, with nothing but a loopback interface. Each test runs in a process
 * of its own, so it ends with it. False where that is not allowed: the test then uses the host's
 * loopback and leaves out what needs more.
 */
static inline bool
netns_enter(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int fd;
	bool up;

	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	request.ifr_flags = IFF_UP;
	up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
	if (fd >= 0)
		close(fd);
	return up;
}

/* A command of ip(8), nft(8) or the shell. False: not there, or not allowed. */
static inline bool
netns_run(const char *command)
{
	char line[400];

	snprintf(line, sizeof line, "{ %s; } >/dev/null 2>&1", command);
	return system(line) == 0;
}

/* Two ends of a cable, left0 (10.53.0.1/24) and right0, both in this namespace. */
static inline bool
netns_cable(void)
{
	return netns_run("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; "
			 "ip link add left0 type veth peer name right0 && ip link set right0 up && "
			 "ip addr add 10.53.0.1/24 dev left0 && ip link set left0 up");
}

#endif
