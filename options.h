/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * options.h - argv into types, once: names, flags, operands.
 */
#ifndef DMA_OPTIONS_H
#define DMA_OPTIONS_H

#include "ctl.h"
#include "submit.h"

enum action {
	ACTION_SEND,
	ACTION_SMTP,
	ACTION_QUEUE, /* as ctl says */
	ACTION_COUNT,
	ACTION_FLUSH,
	ACTION_RUN,
	ACTION_ALIASES,
	ACTION_VERIFY,
	ACTION_HELP,
	ACTION_VERSION,
	ACTION_NOTHING
};

struct options {
	enum action action;
	const char *conf_path; /* -C, or NULL */
	const char *tag;       /* -L, or NULL */
	bool is_ctl;           /* called dmactl */
	struct submit_options submit;
	struct ctl_options ctl; /* mailq: a list of all */
	struct selection flush; /* -qI, -qR, -qS */
};

/*
 * Parse what the program was called as and with.  Everything historic is
 * accepted: values attached or separate, flags grouped, options after
 * recipients, "--".  What cannot be done ends here: one line, exit 64.
 * Strings are borrowed from argv; o->submit.recipients is allocated.
 */
void options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

/* The part of it for dmactl, from its first argument (options_ctl.c). */
void options_parse_ctl(struct options *o, char **next);

/* --help and --version, of every name. */
void options_take_long(struct options *o, const char *name);

#endif
