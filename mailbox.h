/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mailbox.h - where mail may be put: MAILBOX, and what a list names.
 */
#ifndef DMA_MAILBOX_H
#define DMA_MAILBOX_H

#include <stdbool.h>

enum mailbox_kind {
	MAILBOX_SPOOL,   /* nothing was said: an mbox, DMA_MAILDIR/USER */
	MAILBOX_FILE,    /* /path, ~/path: an mbox */
	MAILBOX_MAILDIR, /* /path/, ~/path/ */
	MAILBOX_LMTP,   /* lmtp:/path, lmtp://host:port: the route's to parse */
	MAILBOX_COMMAND /* |/path/program and its arguments */
};

struct mailbox {
	enum mailbox_kind kind;
	bool in_home; /* ~/: the path begins in the user's home */
	const char
	    *text; /* borrowed: the path, or what is behind "|", "lmtp:" */
};

/*
 * Parse one; a value of NULL is MAILBOX_SPOOL.  Returns 0, or -1 with *why,
 * words that go on behind the value.  MAILBOX for all users is no path that
 * begins with /: it would be the same file for each (in_home tells).
 */
int mailbox_parse(struct mailbox *m, const char *value, const char **why);

/*
 * A command's words, NULL-ended, as a shell would split them, but without one:
 * blanks divide, quotes and backslashes keep together, and whatever else would
 * mean something to a shell must be quoted.  The first is an absolute path.
 * Returns one block that free(3) frees, or NULL with *why as above.
 */
char **mailbox_argv(const char *command, const char **why);

#endif
