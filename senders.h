/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * senders.h - SENDERS: which sender stands for which outside.
 */
#ifndef DMA_SENDERS_H
#define DMA_SENDERS_H

#include "addr.h"
#include "conf.h"

/* {0} is the empty map, which maps nobody. */
struct senders {
	const struct conf *conf; /* borrowed: which domains are ours */
	void *tree;              /* private */
	size_t errors;           /* bad lines, each reported */
};

/*
 * Parse "name: address" or "name address" lines.  A name is an address, a
 * login (at any domain of ours), "@domain", or "*": every sender of ours; the
 * first of these that there is counts, all in any case.  Each bad line, and a
 * name's second one, costs itself alone: report() is called with "file:line:
 * what" (one printable line, borrowed; report may be NULL).
 */
void senders_parse(struct senders *s, const struct conf *c, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg);

/*
 * Load the file of SENDERS; not set, the map is empty.  Returns 0, or -1 with
 * errno: that of open(2) or read(2), EINVAL not a regular file, EFBIG over
 * SENDERS_FILE_MAX, EPERM writable by everybody.
 */
int senders_load(struct senders *s, const struct conf *c,
    void (*report)(void *arg, const char *line), void *arg);

/* Who stands for an address with a domain, or NULL.  Borrowed. */
const struct addr *senders_lookup(
    const struct senders *s, const struct addr *a);
void senders_free(struct senders *s);

#endif
