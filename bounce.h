/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce.h - notices to the sender (RFC 3464, RFC 3462).
 */
#ifndef DMA_BOUNCE_H
#define DMA_BOUNCE_H

#include "conf.h"
#include "spool.h"

/*
 * Settle the notice that a message owes: for all its recipients that are
 * STATUS_FAILED, commit one notice under the deterministic id "<id>x<lowest
 * number>" (EEXIST: it was committed before), then mark them TOLD.  Reasons
 * come from the journal.  For a message that is itself a notice (null
 * sender): sent on to POSTMASTER where that is set and this was not yet for
 * it; else the message is parked as dead.<id> and *parked is set.
 * Recipients with NOTIFY=never are marked TOLD without a notice.
 * notice_id gets the new message's id, or "" if none was made.
 * Returns 0, or -1 with errno: nothing was marked, try again later.
 */
int	bounce_settle(const struct spool *s, const struct conf *c,
	    struct spool_file *f, char *notice_id, bool *parked);

#endif
