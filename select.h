/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * select.h - which messages are meant: by id, recipient, sender, age.
 */
#ifndef DMA_SELECT_H
#define DMA_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

enum select_what { SELECT_ID, SELECT_RECIPIENT, SELECT_SENDER };

enum select_how {
	SELECT_PART, /* the text stands in it somewhere, in any case */
	SELECT_WHOLE /* it is the text: an id, an address or "@domain" */
};

struct condition {
	enum select_what what;
	enum select_how how;
	bool negated;
	const char *text; /* borrowed */
	struct addr addr; /* of a whole address; null for "@domain" */
};

/* {0} is a valid selection: everything. */
struct selection {
	struct condition *list;
	size_t count;
	int64_t older; /* seconds since the arrival, at least */
};

/*
 * Add a condition.  Of several of one kind one has to hold, and none of the
 * negated ones may; different kinds must all hold.  A whole address is text
 * as addr_parse() takes it, "<>" the null sender, or "@domain".  Returns 0, or
 * -1 with *why a constant text that goes on after the text.
 */
int select_add(struct selection *s, enum select_what what, enum select_how how,
    bool negated, const char *text, const char **why);

/* True if the id alone does not rule it out. */
bool select_id(const struct selection *s, const char *id);

/*
 * True if the message is meant; now in seconds since the epoch.  Of its
 * recipients those count that something is still to become of.
 */
bool select_matches(
    const struct selection *s, const struct envelope *e, int64_t now);

void select_free(struct selection *s); /* and {0} */

#endif
