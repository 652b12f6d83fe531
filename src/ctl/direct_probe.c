/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"
#include "os/loop.h"
#include "proto/natpmp.h"
#include "proto/pcp.h"

#include <stdlib.h>
#include <string.h>

/* The doctor: every mapper is asked on its own, with a mapping that is deleted again. */

struct checkup {
	enum mapper mapper;
	struct answer address; /* NAT-PMP only: its mappings do not tell */
	struct answer trial;
	bool deleted;
};

struct probe {
	struct direct direct;
	struct checkup checkups[MAPPERS_MAX];
	bool has_external;
	struct netaddr external;
	json_t *notes; /* what the daemon's mappings lack */
};

static bool
maps(const struct checkup *c)
{
	return c->trial.problem.trouble == TROUBLE_NONE;
}

static const struct checkup *
find_trouble(const struct probe *p, enum trouble trouble)
{
	for (unsigned i = 0; i < p->direct.n_mappers; i++)
		if (p->checkups[i].trial.problem.trouble == trouble)
			return &p->checkups[i];
	return NULL;
}

/* ---- asking -----------------------------------------------------------------------------------
 */

static void
learn_external(struct probe *p, const struct answer *a)
{
	if (!a->has_external || p->has_external)
		return;
	p->has_external = true;
	p->external = a->external;
}

static void
examine(struct probe *p, struct checkup *c, mstime until)
{
	struct direct *d = &p->direct;
	struct ask ask = { .kind = ASK_ADDRESS,
		.protocol = PROTOCOL_UDP,
		.port = ASK_TRIAL_PORT,
		.lifetime = ASK_TRIAL_LIFETIME };
	struct answer gone;

	if (c->mapper == MAPPER_NATPMP) {
		direct_ask_one(d, &ask, c->mapper, until, &c->address);
		learn_external(p, &c->address);
		c->trial = c->address;
		/* Without an address it may still map; without an answer it does not. */
		if (direct_status(&c->address.problem) != CTL_DONE &&
		    c->address.problem.trouble != TROUBLE_REFUSED)
			return;
	}
	ask.kind = ASK_CREATE;
	direct_ask_one(d, &ask, c->mapper, until, &c->trial);
	learn_external(p, &c->trial);
	if (!maps(c))
		return;
	ask.kind = ASK_DELETE;
	direct_ask_one(d, &ask, c->mapper, until, &gone);
	c->deleted = gone.problem.trouble == TROUBLE_NONE;
}

/* Each in its share of the time: silence of one says nothing about the next. */
static void
examine_all(struct probe *p)
{
	struct direct *d = &p->direct;

	for (unsigned i = 0; i < d->n_mappers; i++) {
		mstime now = loop_now(d->loop);

		p->checkups[i].mapper = d->mappers[i];
		examine(p, &p->checkups[i], now + (d->deadline - now) / (d->n_mappers - i));
	}
}

static void
look_at_daemon(struct probe *p, const json_t *status)
{
	char *text = NULL, *rest, *line;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	p->notes = json_array();
	if (f == NULL)
		return;
	listen_warn(json_object_get(status, "mappings"), f);
	fclose(f);
	for (line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
		(void)json_array_append_new(p->notes, json_string(line));
	free(text);
}

/* ---- words ------------------------------------------------------------------------------------
 */

static const char *
state_of(const struct checkup *c)
{
	switch (c->trial.problem.trouble) {
	case TROUBLE_NONE:
		return "maps";
	case TROUBLE_SILENT:
		return "silent";
	case TROUBLE_UNREACHABLE:
		return "icmp-refused";
	case TROUBLE_HOST:
		return "unreachable";
	case TROUBLE_FIREWALL:
		return "blocked";
	case TROUBLE_UNSUPPORTED:
		return "not-spoken";
	default:
		return "refuses";
	}
}

static void
describe_grant(const struct probe *p, const struct checkup *c, char *room, size_t n)
{
	char address[NETADDR_STRLEN], port[8], endpoint[80];
	const struct answer *a = c->mapper == MAPPER_NATPMP ? &c->address : &c->trial;

	if (a->has_external)
		netaddr_print(&a->external, address);
	else if (p->has_external)
		netaddr_print(&p->external, address);
	snprintf(port, sizeof(port), "%u", c->trial.external_port);
	snprintf(room, n, "maps: udp %u as %s for %u s, %s", ASK_TRIAL_PORT,
	    unit_endpoint(a->has_external || p->has_external ? address : NULL, port, endpoint,
		sizeof(endpoint)),
	    c->trial.lifetime,
	    c->deleted ? "deleted again" : "not deleted again, it will end by itself");
}

/* "maps: …; 0.8 ms, epoch 86012 s" */
static void
describe(const struct probe *p, const struct checkup *c, char *room, size_t n)
{
	const struct answer *a = &c->trial;
	char words[200];
	size_t used;

	switch (a->problem.trouble) {
	case TROUBLE_NONE:
		describe_grant(p, c, room, n);
		break;
	case TROUBLE_SILENT:
		snprintf(room, n, "silent: no answer");
		break;
	case TROUBLE_UNREACHABLE:
		snprintf(room, n, "refused by ICMP: nothing listens on UDP port 5351");
		break;
	case TROUBLE_HOST:
		snprintf(room, n, "the gateway cannot be reached");
		break;
	case TROUBLE_FIREWALL:
		snprintf(room, n, "blocked by this host's own firewall");
		break;
	case TROUBLE_UNSUPPORTED:
		snprintf(room, n, "not spoken: the gateway says so");
		break;
	default:
		snprintf(room, n, "refuses: %s", direct_text(&a->problem, words, sizeof(words)));
		break;
	}
	used = strlen(room);
	if (a->rtt_us >= 0 && used < n)
		snprintf(room + used, n - used, "; %.1f ms", (double)a->rtt_us / 1000.0);
	used = strlen(room);
	if (a->has_epoch && used < n)
		snprintf(
		    room + used, n - used, "%s epoch %u s", a->rtt_us >= 0 ? "," : ";", a->epoch);
}

static const char *class_text(enum netaddr_class class)
{
	switch (class) {
	case NETADDR_PUBLIC:
		return "public";
	case NETADDR_PRIVATE:
		return "private: there is another NAT behind the gateway (double NAT)";
	case NETADDR_CGNAT:
		return "shared by the provider's customers (CGNAT)";
	case NETADDR_NONE:
		break;
	}
	return "none: nobody can reach it";
}

static const char *
advise_mapped(const struct probe *p)
{
	if (!p->has_external)
		return "Ports are mapped, but the gateway does not tell its external address.";
	switch (netaddr_classify(&p->external)) {
	case NETADDR_PRIVATE:
		return "Ports are mapped, but only from the next NAT: make that router a bridge, "
		       "or "
		       "forward the ports there, too.";
	case NETADDR_CGNAT:
		return "Ports are mapped, but not from the Internet: ask the provider for a public "
		       "address, or use IPv6 or a VPN with port forwarding.";
	case NETADDR_NONE:
		return "Look at the router's Internet connection: it has no external address.";
	case NETADDR_PUBLIC:
		break;
	}
	if (json_array_size(p->notes) > 0)
		return "Ports can be mapped, but nobody listens on those above: start the "
		       "programs.";
	return "All is well: ports can be mapped.";
}

/* The router says itself that it has no address of its own, in one protocol or the other. */
static bool
lacks_address(const struct checkup *c)
{
	const struct problem *p = &c->trial.problem;

	return p->trouble == TROUBLE_REFUSED &&
	    ((p->mapper == MAPPER_NATPMP && p->result == NATPMP_NETWORK_FAILURE) ||
		(p->mapper == MAPPER_PCP && p->result == PCP_NETWORK_FAILURE));
}

/* One line, the most helpful one. */
static const char *
advise(const struct probe *p, char *room, size_t n)
{
	static const enum trouble worst[] = { TROUBLE_FIREWALL, TROUBLE_REFUSED, TROUBLE_NO_ADDRESS,
		TROUBLE_ZERO_LIFETIME, TROUBLE_ZERO_PORT, TROUBLE_GARBLED };

	if (find_trouble(p, TROUBLE_NONE) != NULL)
		return advise_mapped(p);
	for (unsigned i = 0; i < p->direct.n_mappers; i++)
		if (lacks_address(&p->checkups[i]))
			return "Not mapped: the router has no public address. Check its Internet "
			       "connection; behind another router, make that one a bridge; behind "
			       "the provider's NAT, ask for a public address or use IPv6.";
	for (size_t i = 0; i < sizeof(worst) / sizeof(worst[0]); i++) {
		const struct checkup *c = find_trouble(p, worst[i]);
		char words[200];

		if (c == NULL)
			continue;
		snprintf(room, n, "Not mapped: %s.",
		    direct_text(&c->trial.problem, words, sizeof(words)));
		return room;
	}
	if (find_trouble(p, TROUBLE_HOST) != NULL)
		return "Look whether the gateway is on, and whether its address is right.";
	if (find_trouble(p, TROUBLE_SILENT) == NULL && find_trouble(p, TROUBLE_UNREACHABLE) == NULL)
		return "Allow another protocol with --mappers, or switch one on in the router.";
	return "Switch on PCP or NAT-PMP in the router; many call it UPnP, or permission to open "
	       "ports.";
}

/* ---- printing ---------------------------------------------------------------------------------
 */

static void
line(const char *label, const char *text)
{
	printf("%-9s %s\n", label, text);
}

static void
print_text(const struct probe *p, const char *advice)
{
	const struct direct *d = &p->direct;
	char text[400], address[NETADDR_STRLEN];
	const json_t *note;
	size_t n;

	snprintf(text, sizeof(text), "%s through %s, own address %s (%s)", d->gateway,
	    d->way.interface, netaddr_print(&p->checkups[0].trial.local, address), d->why);
	line("gateway", text);
	for (unsigned i = 0; i < d->n_mappers; i++) {
		describe(p, &p->checkups[i], text, sizeof(text));
		line(mapper_name(p->checkups[i].mapper), text);
	}
	if (d->upnp)
		line("upnp", "not asked: it is not built in yet");
	if (p->has_external)
		snprintf(text, sizeof(text), "%s, %s", netaddr_print(&p->external, address),
		    class_text(netaddr_classify(&p->external)));
	line("external", p->has_external ? text : "unknown");
	json_array_foreach(p->notes, n, note) line("daemon", json_string_value(note));
	line("advice", advice);
}

static json_t *
checkup_json(const struct probe *p, const struct checkup *c)
{
	const struct answer *a = &c->trial;
	char text[400];

	describe(p, c, text, sizeof(text));
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "mapper",
	    mapper_name(c->mapper), "state", state_of(c), "text", text, "rtt_ms",
	    a->rtt_us >= 0 ? json_real((double)a->rtt_us / 1000.0) : json_null(), "epoch",
	    a->has_epoch ? json_integer(a->epoch) : json_null(), "external_port",
	    maps(c) ? json_integer(a->external_port) : json_null(), "lifetime",
	    maps(c) ? json_integer(a->lifetime) : json_null(), "deleted",
	    maps(c) ? json_boolean(c->deleted) : json_null());
}

static void
print_json(const struct probe *p, const char *advice)
{
	const struct direct *d = &p->direct;
	json_t *mappers = json_array(), *object;
	const char *class = netaddr_class_name(netaddr_classify(&p->external));

	for (unsigned i = 0; i < d->n_mappers; i++)
		(void)json_array_append_new(mappers, checkup_json(p, &p->checkups[i]));
	object = json_pack("{s:{s:s, s:s, s:s, s:o, s:s}, s:o, s:o, s:o, s:O, s:s}", "gateway",
	    "address", d->gateway, "family", family_name(d->family), "interface", d->way.interface,
	    "local_address", direct_address(true, &p->checkups[0].trial.local), "why", d->why,
	    "mappers", mappers, "external_address", direct_address(p->has_external, &p->external),
	    "external_class", p->has_external ? json_string(class) : json_null(), "daemon",
	    p->notes, "advice", advice);
	json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	putchar('\n');
	json_decref(object);
}

/* The best that any mapper has reached; and a refusal says more than silence. */
static int
status_of(const struct probe *p)
{
	static const int order[] = { CTL_DONE, CTL_NOT_PERMITTED, CTL_REFUSED };

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		for (unsigned k = 0; k < p->direct.n_mappers; k++)
			if (direct_status(&p->checkups[k].trial.problem) == order[i])
				return order[i];
	return CTL_NO_ANSWER;
}

int
ctl_probe(const struct ctl *ctl)
{
	struct probe p = { .has_external = false };
	char room[256];
	json_t *daemon;
	int status;

	if (!direct_options(&p.direct, ctl))
		return CTL_USAGE;
	status = direct_open(&p.direct);
	if (status == CTL_DONE && direct_held(&p.direct, PROTOCOL_UDP, ASK_TRIAL_PORT))
		status = CTL_REFUSED;
	if (status == CTL_DONE) {
		(void)direct_secret(false, p.direct.secret);
		daemon = direct_daemon(&p.direct);
		examine_all(&p);
		look_at_daemon(&p, daemon);
		json_decref(daemon);
		(ctl->json ? print_json : print_text)(&p, advise(&p, room, sizeof(room)));
		status = status_of(&p);
	}
	json_decref(p.notes);
	direct_close(&p.direct);
	return status;
}
