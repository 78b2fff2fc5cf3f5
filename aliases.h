/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases.h - the alias file into a table (aliases_parse.y, aliases_scan.l).
 */
#ifndef DMA_ALIASES_H
#define DMA_ALIASES_H

#include <stddef.h>
#include <sys/types.h>

#include "buf.h"

/*
 * A target is text with a NUL behind it, and one of
 *	joe, joe@example.org	what addr_parse() takes
 *	\joe			the same, that no alias changes any more
 *	:include:/path		a list of targets of these three kinds
 *	error:5.1.1 text	nobody: its sender is told
 *	/file, /maildir/, |command	as mailbox.h has them
 * No address that needs no quotes begins like the other ones.
 */
#define ALIAS_INCLUDE ":include:"
#define ALIAS_REJECT  "error:"
/* Why a file or a command comes to nothing there. */
#define ALIAS_PRIVATE                                                          \
	"a private instance uses no files and commands: the name keeps the "   \
	"mail"

struct alias {
	char *name; /* as written; first, for the tree's order */
	struct buf targets;
	size_t number; /* 0 to count - 1, in the file's order */
	unsigned line; /* where the first of its lines ends */
};

struct aliases {
	void *tree; /* of struct alias, by name in any case: tsearch(3) */
	struct alias **list;
	size_t count;
	size_t errors; /* bad lines, each reported */
	uid_t owner;   /* of the file; without one, the caller */
	void (*report)(void *arg, const char *line); /* or NULL */
	void *arg;
};

/*
 * Parse text of at most ALIASES_FILE_MAX bytes into *a, which needs no
 * initialization.  Each bad line costs itself alone: report() is called with
 * "file:line: what" (one printable line, borrowed; report may be NULL) and
 * the rest goes on.  A key that stands several times has all its targets
 * together.  report and arg are for aliases_include(), too.
 */
void aliases_parse(struct aliases *a, const char *file, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg);

/*
 * Load a file; a missing one is an empty table.  Returns 0, or -1, with a
 * report and errno: that of open(2) or read(2), EINVAL not a regular file,
 * EFBIG over ALIASES_FILE_MAX, EPERM writable by others.  *a is an empty table
 * then.
 */
int aliases_load(struct aliases *a, const char *path,
    void (*report)(void *arg, const char *line), void *arg);

/*
 * Append the targets of a file that an alias includes.  It must be a regular
 * file, no link of either kind, of root or of the alias file's owner, writable
 * by nobody else, of at most INCLUDE_FILE_MAX bytes.  Returns the number of
 * faults, each reported as above; a bad line costs itself alone.
 */
size_t aliases_include(
    const struct aliases *a, const char *path, struct buf *targets);

/*
 * Append the targets of a ~/.forward's text: addresses, and as in mailbox.h
 * /file, /maildir/, ~/file, ~/maildir/ and |command.  Returns the number of
 * faults, each reported as above.
 */
size_t aliases_forward(const char *file, const char *text, size_t len,
    struct buf *targets, void (*report)(void *arg, const char *line),
    void *arg);

/* Look a name up, in any case; NULL if there is none.  Borrowed. */
const struct alias *aliases_lookup(const struct aliases *a, const char *name);
void aliases_free(struct aliases *a);

#endif
