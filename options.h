/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * options.h - argv into types, once: names, flags, operands.
 */
#ifndef DMA_OPTIONS_H
#define DMA_OPTIONS_H

#include "submit.h"

enum action {
	ACTION_SEND,
	ACTION_LIST,
	ACTION_FLUSH,
	ACTION_RUN,
	ACTION_ALIASES,
	ACTION_HELP,
	ACTION_VERSION,
	ACTION_NOTHING
};

struct options {
	enum action action;
	const char *conf_path; /* -C, or NULL */
	const char *tag;       /* -L, or NULL */
	struct submit_options submit;
};

/*
 * Parse what the program was called as and with.  Everything historic is
 * accepted: values attached or separate, flags grouped, options after
 * recipients, "--".  What cannot be done ends here: one line, exit 64.
 * Strings are borrowed from argv; o->submit.recipients is allocated.
 */
void options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

#endif
