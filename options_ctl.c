/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * options_ctl.c - dmactl's command line: words, long options, ids.
 *
 * Runs in:   dma, first thing, when it is called dmactl.
 * Distrusts: every argument.
 * Promises:  nothing is changed for want of a choice: all messages are meant
 *            only where --all says so.
 */
#include "options.h"

#include <string.h>
#include <sysexits.h>

#include "util.h"

static const struct word {
	const char *name;
	enum ctl_op op;
} words[] = {{"list", CTL_LIST}, {"show", CTL_SHOW}, {"retry", CTL_RETRY},
    {"hold", CTL_HOLD}, {"release", CTL_RELEASE}, {"remove", CTL_REMOVE},
    {"expire", CTL_EXPIRE}};

/* ---- Long options ---- */

static void
take_address(struct ctl_options *c, enum select_what what, const char *value)
{
	const char *why;

	if (select_add(&c->selection, what, SELECT_WHOLE, false, value, &why) !=
	    0)
		die(EX_USAGE, "\"%s\" %s; give an address or @domain", value,
		    why);
}

static void
take_sender(struct ctl_options *c, const char *value)
{
	take_address(c, SELECT_SENDER, value);
}

static void
take_recipient(struct ctl_options *c, const char *value)
{
	take_address(c, SELECT_RECIPIENT, value);
}

static void
take_older(struct ctl_options *c, const char *value)
{
	if (parse_duration(value, &c->selection.older) != 0)
		die(EX_USAGE, "--older %s: give a time such as 30m, 12h or 5d",
		    value);
}

static void
take_all(struct ctl_options *c, const char *value)
{
	(void)value;
	c->all = true;
}

static void
take_json(struct ctl_options *c, const char *value)
{
	(void)value;
	c->json = true;
}

static void
take_body(struct ctl_options *c, const char *value)
{
	(void)value;
	c->body = true;
}

static void
take_yes(struct ctl_options *c, const char *value)
{
	(void)value;
	c->yes = true;
}

static const struct long_option {
	const char *name;
	bool has_value;
	void (*take)(struct ctl_options *c, const char *value);
} long_options[] = {
    {"all", false, take_all},
    {"body", false, take_body},
    {"json", false, take_json},
    {"older", true, take_older},
    {"recipient", true, take_recipient},
    {"sender", true, take_sender},
    {"yes", false, take_yes},
};

/* "--older 5d", "--older=5d". */
static void
parse_long(struct options *o, const char *name, char ***next)
{
	size_t len = strcspn(name, "=");
	const char *value = name[len] == '=' ? name + len + 1 : NULL;
	const struct long_option *option = NULL;

	for (size_t i = 0; i < ARRAY_LEN(long_options); i++)
		if (strlen(long_options[i].name) == len &&
		    strncmp(name, long_options[i].name, len) == 0)
			option = &long_options[i];
	if (option == NULL) {
		options_take_long(o, name);
		return;
	}
	if (option->has_value && value == NULL && **next != NULL)
		value = *(*next)++;
	if (option->has_value != (value != NULL))
		die(EX_USAGE, "option --%s %s", option->name,
		    option->has_value ? "needs a value" : "takes no value");
	option->take(&o->ctl, value);
}

/* ---- Words ---- */

/* Ids and "-", from a list that is given back without the latter. */
static void
take_ids(struct ctl_options *c, char **list, size_t n)
{
	c->ids = list;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(list[i], "-") == 0)
			c->from_stdin = true;
		else if (ctl_id_valid(list[i]))
			list[c->nids++] = list[i];
		else
			die(EX_USAGE,
			    "\"%s\" is no queue id, nor its first %d digits",
			    list[i], CTL_PREFIX_MIN);
	}
}

static bool
is_choice(const struct ctl_options *c)
{
	return c->all || c->nids > 0 || c->from_stdin ||
	       c->selection.count > 0 || c->selection.older > 0;
}

static void
check_choice(const struct ctl_options *c, const char *op)
{
	if (c->op != CTL_LIST && !is_choice(c))
		die(EX_USAGE,
		    "%s which? give ids, -, --sender, --recipient, "
		    "--older or --all",
		    op);
	if (c->json && c->op != CTL_LIST)
		die(EX_USAGE, "--json is for list");
	if (c->body && c->op != CTL_SHOW)
		die(EX_USAGE, "--body is for show");
}

static void
parse_words(struct options *o)
{
	char **word = o->submit.recipients;
	size_t n = o->submit.nrecipients;

	if (n == 1 && strcmp(word[0], "run") == 0) {
		if (is_choice(&o->ctl) || o->ctl.json || o->ctl.body ||
		    o->ctl.yes)
			die(EX_USAGE, "dmactl run takes no option but -C");
		o->action = ACTION_RUN;
		return;
	}
	for (size_t i = 0;
	     n >= 2 && strcmp(word[0], "queue") == 0 && i < ARRAY_LEN(words);
	     i++) {
		if (strcmp(word[1], words[i].name) != 0)
			continue;
		o->action = ACTION_QUEUE;
		o->ctl.op = words[i].op;
		take_ids(&o->ctl, word + 2, n - 2);
		check_choice(&o->ctl, words[i].name);
		return;
	}
	die(EX_USAGE, "usage: dmactl run | queue list|show|retry|hold|release|"
		      "remove|expire ...; try --help");
}

void
options_parse_ctl(struct options *o, char **next)
{
	bool operands_only = false;

	while (*next != NULL) {
		char *arg = *next++;

		if (operands_only || arg[0] != '-' || arg[1] == '\0')
			o->submit.recipients[o->submit.nrecipients++] = arg;
		else if (strcmp(arg, "--") == 0)
			operands_only = true;
		else if (arg[1] == '-')
			parse_long(o, arg + 2, &next);
		else if (arg[1] == 'C' && (arg[2] != '\0' || *next != NULL))
			o->conf_path = arg[2] != '\0' ? arg + 2 : *next++;
		else
			die(EX_USAGE,
			    arg[1] == 'C' ? "option %s needs a value"
					  : "unknown option %s; try "
					    "--help",
			    arg);
	}
	if (o->action != ACTION_HELP && o->action != ACTION_VERSION)
		parse_words(o);
}
