/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl_parts.h - what ctl.c and its parts share.
 *
 * ctl.c       changing messages; the alias file
 * ctl_pick.c  which messages are meant
 * ctl_list.c  mailq, as text and as JSON
 * ctl_show.c  all about one message
 */
#ifndef DMA_CTL_PARTS_H
#define DMA_CTL_PARTS_H

#include "ctl.h"

struct listed {
	char id[QUEUE_ID_MAX + 1];
	int64_t arrival;
};

struct listing {
	struct instance *in;
	const struct ctl_options *o;
	struct listed *list; /* by arrival */
	size_t count, size;
	int status; /* EX_OK so far, or what went wrong */
};

/* Fill the list with the messages that are meant and are the caller's. */
void ctl_pick(struct listing *l);

/* EX_OK once all that was printed is written; else it complains. */
int ctl_flush(void);

/* Both set l->status. */
void ctl_list(struct listing *l);
void ctl_show(struct listing *l);

/*
 * An address, say, for people, on a line of its own.  Nothing of it steers a
 * terminal, or hides; what is not ASCII is shown to who reads UTF-8.
 */
void ctl_print_line(
    const struct listing *l, const char *before, const char *text);

/* "Wed Nov 25 14:05:09".  Returns dst. */
#define CTL_TIME_LEN 32
const char *ctl_time(char dst[CTL_TIME_LEN], int64_t when);

/* "3 tries, next Wed Nov 25 14:05:09"; "" before the first.  Returns dst. */
#define CTL_WAIT_LEN 80
const char *ctl_wait_text(char dst[CTL_WAIT_LEN], const struct envelope *e);

#endif
