/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.h - looking at the queue and changing it; the alias file.
 */
#ifndef DMA_CTL_H
#define DMA_CTL_H

#include "instance.h"
#include "select.h"

enum ctl_op {
	CTL_LIST,
	CTL_SHOW,
	CTL_RETRY,
	CTL_HOLD,
	CTL_RELEASE,
	CTL_REMOVE,
	CTL_EXPIRE
};

/* What dmactl queue is asked to do, and to which messages. */
struct ctl_options {
	enum ctl_op op;
	struct selection selection;
	char **ids; /* each ctl_id_valid(); borrowed */
	size_t nids;
	bool from_stdin; /* "-": ids on standard input too */
	bool all, json, body, yes;
};

/*
 * Do it, for the caller's messages (root: for all).  Each that cannot be had
 * costs one line on stderr and the status EX_UNAVAILABLE; the others are
 * done.  What belongs to somebody else is as if it were not there.  Returns
 * the exit status.
 */
int ctl_queue(struct instance *in, const struct ctl_options *o);

/* True for a queue id, or its first CTL_PREFIX_MIN digits or more. */
bool ctl_id_valid(const char *word);

/* Print how many messages are queued, by anybody.  Returns the exit status. */
int ctl_count(struct instance *in);

/* Check the alias file; each bad line on stderr.  Returns the exit status. */
int ctl_newaliases(struct instance *in);

#endif
