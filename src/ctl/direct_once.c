/* SPDX-License-Identifier: ISC */
#include "config.h"

#include "ctl/direct.h"
#include "proto/pcp.h"

static void
print_json(json_t *object)
{
	json_dumpf(object, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(object);
}

static int
external_address(struct direct *d)
{
	static const struct ask ask = { .kind = ASK_ADDRESS,
		.protocol = PROTOCOL_UDP,
		.port = ASK_TRIAL_PORT,
		.lifetime = ASK_TRIAL_LIFETIME };
	static const struct ask take_back = {
		.kind = ASK_DELETE, .protocol = PROTOCOL_UDP, .port = ASK_TRIAL_PORT
	};
	char text[NETADDR_STRLEN];
	struct answer answer, gone;

	direct_ask(d, &ask, &answer);
	/* Not deleted, it ends by itself, a minute later. */
	if (answer.problem.trouble == TROUBLE_NONE && answer.mapper == MAPPER_PCP)
		direct_ask_one(d, &take_back, MAPPER_PCP, d->deadline, &gone);
	if (answer.problem.trouble == TROUBLE_NONE &&
	    (!answer.has_external || netaddr_classify(&answer.external) == NETADDR_NONE))
		answer.problem.trouble = TROUBLE_NO_ADDRESS;
	if (answer.problem.trouble != TROUBLE_NONE)
		return direct_complain(d, "ask for the external address", &answer.problem);
	netaddr_print(&answer.external, text);
	if (d->ctl->json)
		print_json(json_pack("{s:s, s:s, s:s, s:s}", "gateway", d->gateway, "mapper",
		    mapper_name(answer.mapper), "external_address", text, "external_class",
		    netaddr_class_name(netaddr_classify(&answer.external))));
	else
		puts(text);
	return CTL_DONE;
}

int
ctl_external_address(const struct ctl *ctl)
{
	struct direct d;
	int status;

	if (!direct_options(&d, ctl))
		return CTL_USAGE;
	status = direct_open(&d);
	if (status == CTL_DONE && direct_held(&d, PROTOCOL_UDP, ASK_TRIAL_PORT))
		status = CTL_REFUSED;
	if (status == CTL_DONE) {
		(void)direct_secret(false, d.secret);
		status = external_address(&d);
	}
	direct_close(&d);
	return status;
}

/* Which process has made the mapping is nowhere written: it is deleted by the first mapper that
 * answers, which is how `map` has chosen, too. */
static int
unmap(struct direct *d)
{
	struct ask ask = { .kind = ASK_DELETE, .protocol = d->protocol, .port = d->port };
	struct answer answer;
	char wish[40];

	direct_ask(d, &ask, &answer);
	snprintf(wish, sizeof(wish), "unmap %s port %u", protocol_name(d->protocol), d->port);
	if (answer.problem.trouble == TROUBLE_REFUSED && answer.mapper == MAPPER_PCP &&
	    answer.problem.result == PCP_NOT_AUTHORIZED) {
		ctl_complain("cannot %s at gateway %s: somebody else has made that mapping (%s): "
			     "stop that program, or try --mappers nat-pmp",
		    wish, d->gateway, "NOT_AUTHORIZED");
		return CTL_REFUSED;
	}
	if (answer.problem.trouble != TROUBLE_NONE)
		return direct_complain(d, wish, &answer.problem);
	if (d->ctl->json)
		print_json(json_pack("{s:s, s:s, s:s, s:i}", "gateway", d->gateway, "mapper",
		    mapper_name(answer.mapper), "protocol", protocol_name(d->protocol),
		    "internal_port", d->port));
	return CTL_DONE;
}

int
ctl_unmap(const struct ctl *ctl)
{
	struct direct d;
	int status;

	if (!direct_options(&d, ctl))
		return CTL_USAGE;
	status = direct_open(&d);
	if (status == CTL_DONE && direct_held(&d, d.protocol, d.port))
		status = CTL_REFUSED;
	if (status == CTL_DONE) {
		(void)direct_secret(false, d.secret);
		status = unmap(&d);
	}
	direct_close(&d);
	return status;
}
