/* SPDX-License-Identifier: ISC */
#include "core/engine.h"
#include "proto/natpmp.h"
#include "proto/pcp.h"

#include <stdio.h>

const char *
mapper_name(enum mapper mapper)
{
	switch (mapper) {
	case MAPPER_PCP:
		return "pcp";
	case MAPPER_NATPMP:
		return "nat-pmp";
	case MAPPER_UPNP:
		return "upnp";
	case MAPPER_NONE:
		break;
	}
	return NULL;
}

const char *
family_name(enum family family)
{
	return family == FAMILY_IPV6 ? "ipv6" : "ipv4";
}

const char *
protocol_name(uint8_t protocol)
{
	return protocol == PROTOCOL_UDP ? "udp" : "tcp";
}

const char *
gateway_state_name(enum gateway_state state)
{
	static const char *const names[] = { [GATEWAY_UNUSED] = "unused",
		[GATEWAY_ABSENT] = "absent",
		[GATEWAY_PROBING] = "probing",
		[GATEWAY_READY] = "ready",
		[GATEWAY_SILENT] = "silent",
		[GATEWAY_UNSUPPORTED] = "unsupported" };

	return names[state];
}

const char *
mapping_state_name(enum mapping_state state)
{
	static const char *const names[] = { [MAPPING_WAITING] = "waiting",
		[MAPPING_REQUESTING] = "requesting",
		[MAPPING_ACTIVE] = "active",
		[MAPPING_FAILED] = "failed",
		[MAPPING_RELEASING] = "releasing",
		[MAPPING_IDLE] = "idle" };

	return names[state];
}

const char *
engine_event_name(enum engine_event_kind kind)
{
	static const char *const names[] = { [EVENT_MAPPED] = "mapped",
		[EVENT_CHANGED] = "changed",
		[EVENT_LOST] = "lost",
		[EVENT_RELEASED] = "released",
		[EVENT_FAILED] = "failed",
		[EVENT_RENEWED] = "renewed",
		[EVENT_GATEWAY_READY] = "gateway-ready",
		[EVENT_GATEWAY_SILENT] = "gateway-silent",
		[EVENT_GATEWAY_REBOOTED] = "gateway-rebooted",
		[EVENT_GATEWAY_CHANGED] = "gateway-changed",
		[EVENT_ADDRESS_CHANGED] = "address-changed" };

	return names[kind];
}

/* What a home user can do about a refusal. */
static const char *
pcp_text(uint16_t result)
{
	switch (result) {
	case PCP_NOT_AUTHORIZED:
		return "the gateway does not allow it (NOT_AUTHORIZED): permit this host to open "
		       "ports in the router's settings";
	case PCP_MALFORMED_REQUEST:
		return "the gateway calls the request malformed (MALFORMED_REQUEST): try "
		       "mappers = {nat-pmp}";
	case PCP_UNSUPP_OPCODE:
		return "the gateway's PCP cannot map ports (UNSUPP_OPCODE): switch on port "
		       "mapping in the router";
	case PCP_UNSUPP_OPTION:
		return "the gateway does not know an option that this forward needs "
		       "(UNSUPP_OPTION): remove internal-address, remote or "
		       "external-policy = require";
	case PCP_MALFORMED_OPTION:
		return "the gateway calls an option malformed (MALFORMED_OPTION): remove "
		       "internal-address, remote or external-policy = require";
	case PCP_NETWORK_FAILURE:
		return "the gateway has no external address yet (NETWORK_FAILURE): check the "
		       "router's Internet connection";
	case PCP_NO_RESOURCES:
		return "the gateway has no public address, or no room (NO_RESOURCES): check the "
		       "router's Internet connection, behind another NAT it cannot map; or remove "
		       "mappings there that nobody needs";
	case PCP_UNSUPP_PROTOCOL:
		return "the gateway does not map this protocol (UNSUPP_PROTOCOL): forward the port "
		       "by hand in the router";
	case PCP_USER_EX_QUOTA:
		return "this line's quota of ports is used up (USER_EX_QUOTA): ask for fewer, or "
		       "raise the limit in the router";
	case PCP_CANNOT_PROVIDE_EXTERNAL:
		return "the wanted external port is not to be had (CANNOT_PROVIDE_EXTERNAL): "
		       "choose another external-port, or external-policy = prefer";
	case PCP_ADDRESS_MISMATCH:
		return "there is another NAT between this host and the gateway "
		       "(ADDRESS_MISMATCH): ask the nearer one, with a section of its own";
	case PCP_EXCESSIVE_REMOTE_PEERS:
		return "the gateway takes fewer remote prefixes (EXCESSIVE_REMOTE_PEERS): shorten "
		       "the list in remote";
	default:
		return NULL;
	}
}

static const char *
natpmp_text(uint16_t result)
{
	switch (result) {
	case NATPMP_NOT_AUTHORIZED:
		return "the gateway does not allow it (not authorized): switch on NAT-PMP or "
		       "port sharing for this host in the router's settings";
	case NATPMP_NETWORK_FAILURE:
		return "the gateway has no usable external address (network failure): check the "
		       "router's Internet connection; behind another NAT it cannot map";
	case NATPMP_OUT_OF_RESOURCES:
		return "the gateway has no room for another mapping (out of resources): remove "
		       "mappings that nobody needs in the router";
	case NATPMP_UNSUPPORTED_OPCODE:
		return "the gateway's NAT-PMP cannot map this protocol (unsupported opcode): "
		       "forward the port by hand in the router";
	default:
		return NULL;
	}
}

static const char *
refusal_text(const struct problem *p, char *room, size_t n)
{
	const char *text = p->mapper == MAPPER_PCP ? pcp_text(p->result) : natpmp_text(p->result);

	if (text != NULL)
		return text;
	if (p->mapper == MAPPER_PCP && p->result >= PCP_AUTH_FIRST && p->result <= PCP_AUTH_LAST)
		snprintf(room, n,
		    "the gateway wants a login for PCP (result %u), which portleased cannot do: "
		    "allow it without one in the router",
		    p->result);
	else
		snprintf(room, n,
		    "the gateway refuses for a reason of its own (%s result %u): look into the "
		    "router's settings, or try another of the mappers",
		    p->mapper == MAPPER_PCP ? "PCP" : "NAT-PMP", p->result);
	return room;
}

/* Over IPv6 there are no NATs, as a rule, and no NAT-PMP. NULL: what is said of IPv4 is right. */
static const char *
ipv6_text(const struct problem *p)
{
	bool refused = p->trouble == TROUBLE_REFUSED && p->mapper == MAPPER_PCP;

	if (p->trouble == TROUBLE_SILENT && p->mapper == MAPPER_NONE)
		return "the gateway does not answer over IPv6: switch on PCP in the router, or "
		       "open the port in its IPv6 firewall by hand";
	if (p->trouble == TROUBLE_UNREACHABLE)
		return "the gateway has nothing on port 5351 (ICMP port unreachable): switch on "
		       "PCP in the router, or open the port in its IPv6 firewall by hand";
	if (p->trouble == TROUBLE_UNSUPPORTED)
		return "the gateway does not speak PCP over IPv6, and NAT-PMP knows only IPv4: "
		       "switch on PCP in the router, or open the port in its IPv6 firewall by hand";
	if (refused && p->result == PCP_NO_RESOURCES)
		return "the gateway opens no more ports for IPv6 (NO_RESOURCES): remove those in "
		       "its IPv6 firewall that nobody needs";
	if (refused && p->result == PCP_NETWORK_FAILURE)
		return "the gateway has no IPv6 connection yet (NETWORK_FAILURE): check the "
		       "router's Internet connection";
	return NULL;
}

/* RFC 6887 sections 13.1 and 13.3. */
static const char *
ignored_text(uint16_t option)
{
	return option == PCP_FILTER
	    ? "the gateway ignores the source filter (PCP FILTER), without it anyone could come "
	      "in: leave remote out and filter on this host"
	    : "the gateway ignores internal-address (PCP THIRD_PARTY) and would open this host: "
	      "switch on PCP for other hosts in the router, or run portleased there";
}

const char *
problem_text(const struct problem *p, char *room, size_t n)
{
	switch (p->trouble) {
	case TROUBLE_NONE:
		return NULL;
	case TROUBLE_REFUSED:
		return refusal_text(p, room, n);
	case TROUBLE_SILENT:
		if (p->mapper != MAPPER_NONE)
			return "the gateway does not answer any more: look whether it is on, and "
			       "still there";
		return "the gateway does not answer: switch on PCP or NAT-PMP in the router";
	case TROUBLE_UNREACHABLE:
		return "the gateway has nothing on port 5351 (ICMP port unreachable): switch on "
		       "PCP or NAT-PMP in the router";
	case TROUBLE_HOST:
		return "the gateway cannot be reached (ICMP or ARP says so): look whether it is "
		       "on, and connected";
	case TROUBLE_FIREWALL:
		return "this host's own firewall blocks packets to the gateway's UDP port 5351: "
		       "allow them";
	case TROUBLE_NO_ADDRESS:
		return "the gateway has no external address: check the router's Internet "
		       "connection";
	case TROUBLE_ZERO_LIFETIME:
		return "the gateway grants a lifetime of 0 s: try another of the mappers";
	case TROUBLE_ZERO_PORT:
		return "the gateway grants external port 0: try another of the mappers";
	case TROUBLE_GARBLED:
		return "the gateway's answers name other ports than were asked for: its NAT-PMP "
		       "is broken, use another mapper";
	case TROUBLE_OTHER_PORT:
		return "the gateway grants only another external port, and external-policy is "
		       "require: somebody else has it, or the router keeps it for itself";
	case TROUBLE_UNSUPPORTED:
		return "the gateway speaks none of the mappers allowed: allow others, or switch on "
		       "PCP or NAT-PMP in the router";
	case TROUBLE_NEEDS_PCP:
		return "the gateway speaks NAT-PMP only, which knows neither remote nor "
		       "internal-address: switch on PCP in the router, or leave them out";
	case TROUBLE_IGNORED:
		return ignored_text(p->result);
	case TROUBLE_DUPLICATE:
		return "another forward has this port on the same gateway: choose another";
	case TROUBLE_OTHER_BOX:
		return "another box than the one of link-address has the gateway's address here: "
		       "nothing is asked of it; if it is your new router, correct link-address";
	case TROUBLE_NO_BOX:
		return "the box of link-address cannot be seen at the gateway's address: look "
		       "whether it is on, and in this very network";
	}
	return NULL;
}

static const char *
family_text(const struct problem *p, enum family family, char *room, size_t n)
{
	const char *text = family == FAMILY_IPV6 ? ipv6_text(p) : NULL;

	return text != NULL ? text : problem_text(p, room, n);
}

const char *
gateway_problem_text(const struct gateway_status *g, char *room, size_t n)
{
	return family_text(&g->problem, g->family, room, n);
}

const char *
mapping_problem_text(const struct mapping_status *m, char *room, size_t n)
{
	if (m->problem.trouble != TROUBLE_DUPLICATE || m->rival == NULL)
		return family_text(&m->problem, m->family, room, n);
	snprintf(room, n,
	    "forward %s of gateway %s, which is the same box as gateway %s, has this port already: "
	    "choose another external-port, or remove one of the two",
	    m->rival, m->rival_gateway, m->gateway);
	return room;
}
