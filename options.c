/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c - sendmail's command line (DESIGN 5), in one table.
 *
 * Runs in:   dma, first thing.
 * Distrusts: argc, argv[0] and every argument.
 * Promises:  an option that names a file (-X, -O, -d) never opens it; an
 *            unknown one ends with one line and status 64.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "smtpd_text.h"
#include "util.h"

enum arity { NO_VALUE, VALUE, ATTACHED_VALUE };

struct parser {
	struct options *o;
	bool operands_only; /* after "--" */
	bool listed;        /* -bp or -q was given */
};

struct option {
	char letter;
	enum arity arity;
	/* value is NULL for NO_VALUE and for an absent ATTACHED_VALUE. */
	void (*take)(struct parser *p, const char *value);
};

/* ---- What each does ---- */

static void
ignore(struct parser *p, const char *value)
{
	(void)p;
	(void)value;
}

static void
take_mode(struct parser *p, const char *value)
{
	struct options *o = p->o;

	switch (value[0]) {
	case 'm':
		break;
	case 'p':
		o->action = ACTION_QUEUE;
		p->listed = true;
		break;
	case 'P':
		o->action = ACTION_COUNT;
		p->listed = true;
		break;
	case 'q':
		o->submit.mode = DELIVER_QUEUE;
		break;
	case 's':
		o->action = ACTION_SMTP;
		break;
	case 'i':
		o->action = ACTION_ALIASES;
		break;
	case 'v':
		o->action = ACTION_VERIFY;
		break;
	case 'h':
	case 'H': /* the host status that other programs keep: none here */
		o->action = ACTION_NOTHING;
		break;
	case 'd':
	case 'D':
	case 'l':
		die(EX_USAGE,
		    "-b%c: there is no daemon; delivery begins by itself, "
		    "and \"dmactl run\" from cron takes up what is left",
		    value[0]);
	case 'a':
		die(EX_USAGE, "-ba is not supported; lines may end in CRLF or "
			      "LF, use -bm");
	case 't':
		die(EX_USAGE, "-bt: there are no rewriting rules to test; use "
			      "-bv ADDRESS");
	default:
		die(EX_USAGE, "-b%s is not supported; try --help", value);
	}
}

static void
take_conf(struct parser *p, const char *value)
{
	if (value[0] == '\0')
		die(EX_USAGE, "-C needs the name of a file");
	p->o->conf_path = value;
}

static void
take_foreground(struct parser *p, const char *value)
{
	(void)value;
	if (p->o->submit.mode == DELIVER_BACKGROUND)
		p->o->submit.mode = DELIVER_FOREGROUND;
}

static void
take_full_name(struct parser *p, const char *value)
{
	if (strpbrk(value, "\r\n") != NULL)
		die(EX_DATAERR, "-F: the full name contains a line break");
	if (strlen(value) > FULLNAME_MAX)
		die(EX_DATAERR, "-F: the full name is longer than %d bytes",
		    FULLNAME_MAX);
	p->o->submit.full_name = value;
}

static void
take_sender(struct parser *p, const char *value)
{
	p->o->submit.sender = value;
}

static void
take_aliases(struct parser *p, const char *value)
{
	(void)value;
	p->o->action = ACTION_ALIASES;
}

static void
take_ignore_dots(struct parser *p, const char *value)
{
	(void)value;
	p->o->submit.ignore_dots = true;
}

static void
take_tag(struct parser *p, const char *value)
{
	p->o->tag = value;
}

static void
take_notify(struct parser *p, const char *value)
{
	if (envelope_parse_notify(value, &p->o->submit.notify) != 0)
		die(EX_USAGE,
		    "-N %s: say never, or a list of success, "
		    "failure and delay",
		    value);
}

/* -O DeliveryMode=x and -odx choose the same. */
static void
set_delivery_mode(struct parser *p, char mode)
{
	if (mode == 'q' || mode == 'd')
		p->o->submit.mode = DELIVER_QUEUE;
}

static void
take_long_option(struct parser *p, const char *value)
{
	static const char name[] = "DeliveryMode=";

	if (ascii_strncasecmp(value, name, sizeof(name) - 1) == 0)
		set_delivery_mode(p, value[sizeof(name) - 1]);
}

static void
take_short_option(struct parser *p, const char *value)
{
	if (value[0] == 'i' && value[1] == '\0')
		p->o->submit.ignore_dots = true;
	else if (value[0] == 'd')
		set_delivery_mode(p, value[1]);
}

/*
 * -q30m, -qf, -qp: one run now, since there is no daemon to wait.  -qQ and
 * -qL are about the quarantined and the lost, of which -q tries none.
 */
static void
take_flush(struct parser *p, const char *value)
{
	static const char kinds[] = "IRS"; /* by enum select_what */
	bool negated = value != NULL && value[0] == '!';
	const char *text = value == NULL ? "" : value + negated, *kind, *why;

	p->o->action = ACTION_FLUSH;
	p->listed = true;
	if (text[0] == '\0' || strchr("fpG0123456789", text[0]) != NULL)
		return;
	if (text[0] == 'Q' || text[0] == 'L') {
		if (!negated)
			p->o->action = ACTION_NOTHING;
		return;
	}
	kind = strchr(kinds, text[0]);
	if (kind == NULL)
		die(EX_USAGE, "-q%s is not supported; try --help", value);
	if (select_add(&p->o->flush, (enum select_what)(kind - kinds),
		SELECT_PART, negated, text + 1, &why) != 0)
		die(EX_USAGE, "-q%s: the text to look for %s", value, why);
}

static void
take_return(struct parser *p, const char *value)
{
	if (ascii_strcasecmp(value, "full") == 0)
		p->o->submit.ret = RET_FULL;
	else if (ascii_strcasecmp(value, "hdrs") == 0)
		p->o->submit.ret = RET_HDRS;
	else
		die(EX_USAGE, "-R %s: say full or hdrs", value);
}

static void
take_from_header(struct parser *p, const char *value)
{
	(void)value;
	p->o->submit.from_header = true;
}

static void
take_envelope_id(struct parser *p, const char *value)
{
	if (!smtpd_is_xtext(value, ENVID_MAX))
		die(EX_USAGE,
		    "-V: the envelope id has 1 to %d letters, digits and "
		    "punctuation; + and = are written +2B and +3D",
		    ENVID_MAX);
	p->o->submit.envid = value;
}

static void
take_verbose(struct parser *p, const char *value)
{
	take_foreground(p, value);
	p->o->submit.verbose = true;
}

static const struct option options[] = {
    {'A', VALUE, ignore},
    {'B', VALUE, ignore},
    {'C', VALUE, take_conf},
    {'D', NO_VALUE, take_foreground},
    {'E', NO_VALUE, ignore},
    {'F', VALUE, take_full_name},
    {'G', NO_VALUE, ignore},
    {'I', NO_VALUE, take_aliases},
    {'J', VALUE, ignore},
    {'L', VALUE, take_tag},
    {'N', VALUE, take_notify},
    {'O', VALUE, take_long_option},
    {'R', VALUE, take_return},
    {'T', NO_VALUE, ignore},
    {'U', NO_VALUE, ignore},
    {'V', VALUE, take_envelope_id},
    {'X', VALUE, ignore},
    {'b', VALUE, take_mode},
    {'d', ATTACHED_VALUE, ignore},
    {'e', ATTACHED_VALUE, ignore},
    {'f', VALUE, take_sender},
    {'h', VALUE, ignore},
    {'i', NO_VALUE, take_ignore_dots},
    {'m', NO_VALUE, ignore},
    {'n', NO_VALUE, ignore},
    {'o', VALUE, take_short_option},
    {'p', VALUE, ignore},
    {'q', ATTACHED_VALUE, take_flush},
    {'r', VALUE, take_sender},
    {'s', NO_VALUE, ignore},
    {'t', NO_VALUE, take_from_header},
    {'v', NO_VALUE, take_verbose},
    {'x', NO_VALUE, ignore},
};

/* ---- Parsing ---- */

static const struct option *
find_option(char letter)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		if (options[i].letter == letter)
			return &options[i];
	die(EX_USAGE, "unknown option -%c; try --help",
	    ascii_isprint((unsigned char)letter) ? letter : '?');
}

/* One argument of flags: "-ti", "-fA", "-f" with its value next. */
static void
parse_flags(struct parser *p, const char *flags, char ***next)
{
	while (*flags != '\0') {
		const struct option *option = find_option(*flags++);
		const char *value = NULL;

		if (option->arity == NO_VALUE) {
			option->take(p, NULL);
			continue;
		}
		if (*flags != '\0')
			value = flags;
		else if (option->arity == VALUE && **next != NULL)
			value = *(*next)++;
		else if (option->arity == VALUE)
			die(EX_USAGE, "option -%c needs a value",
			    option->letter);
		option->take(p, value);
		return;
	}
}

void
options_take_long(struct options *o, const char *name)
{
	if (strcmp(name, "help") == 0)
		o->action = ACTION_HELP;
	else if (strcmp(name, "version") == 0)
		o->action = ACTION_VERSION;
	else
		die(EX_USAGE, "unknown option --%s; try --help", name);
}

static void
parse_arguments(struct parser *p, char **next)
{
	while (*next != NULL) {
		char *arg = *next++;

		if (p->operands_only || arg[0] != '-' || arg[1] == '\0')
			p->o->submit.recipients[p->o->submit.nrecipients++] =
			    arg;
		else if (strcmp(arg, "--") == 0)
			p->operands_only = true;
		else if (arg[1] == '-')
			options_take_long(p->o, arg + 2);
		else
			parse_flags(p, arg + 1, &next);
	}
}

static const char *
base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

void
options_parse(struct options *o, int argc, char **argv)
{
	static char nothing[] = "";
	struct parser p = {.o = o};
	const char *name = argc > 0 ? base_name(argv[0]) : nothing;

	memset(o, 0, sizeof(*o));
	o->submit.recipients =
	    xcalloc((size_t)argc + 1, sizeof(*o->submit.recipients));
	if (strcmp(name, "mailq") == 0) {
		o->action = ACTION_QUEUE;
		p.listed = true;
	} else if (strcmp(name, "newaliases") == 0) {
		o->action = ACTION_ALIASES;
	}
	util_set_name(strcmp(name, "dmactl") == 0       ? "dmactl"
		      : strcmp(name, "mailq") == 0      ? "mailq"
		      : strcmp(name, "newaliases") == 0 ? "newaliases"
		      : strcmp(name, "dma") == 0        ? "dma"
							: "sendmail");
	if (strcmp(name, "dmactl") == 0) {
		o->is_ctl = true;
		options_parse_ctl(o, argv + 1);
		return;
	}
	if (argc > 0)
		parse_arguments(&p, argv + 1);
	if (p.listed && o->submit.nrecipients > 0 && o->action != ACTION_HELP &&
	    o->action != ACTION_VERSION)
		die(EX_USAGE, "recipients make no sense with %s",
		    o->action == ACTION_FLUSH ? "-q" : "-bp");
}

void
options_free(struct options *o)
{
	free(o->submit.recipients);
	o->submit.recipients = NULL;
	select_free(&o->ctl.selection);
	select_free(&o->flush);
}
