/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases.h - the alias file into a table (aliases_parse.y, aliases_scan.l).
 */
#ifndef DMA_ALIASES_H
#define DMA_ALIASES_H

#include <stddef.h>

#include "buf.h"

struct alias {
	char *name;         /* as written; first, for the tree's order */
	struct buf targets; /* text that addr_parse() takes, a NUL after each */
	size_t number;      /* 0 to count - 1, in the file's order */
};

struct aliases {
	void *tree; /* of struct alias, by name in any case: tsearch(3) */
	size_t count;
	size_t errors; /* bad lines, each reported */
};

/*
 * Parse text of at most ALIASES_FILE_MAX bytes into *a, which needs no
 * initialization.  Each bad line costs itself alone: report() is called with
 * "file:line: what" (one printable line, borrowed; report may be NULL) and
 * the rest goes on.  A key that stands several times has all its targets
 * together.
 */
void aliases_parse(struct aliases *a, const char *file, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg);

/*
 * Load a file; a missing one is an empty table.  Returns 0, or -1 with
 * errno (the caller names the file): that of open(2) or read(2), EINVAL not a
 * regular file, EFBIG over ALIASES_FILE_MAX, EPERM writable by others.  *a is
 * an empty table then.
 */
int aliases_load(struct aliases *a, const char *path,
    void (*report)(void *arg, const char *line), void *arg);

/* Look a name up, in any case; NULL if there is none.  Borrowed. */
const struct alias *aliases_lookup(const struct aliases *a, const char *name);
void aliases_free(struct aliases *a);

#endif
