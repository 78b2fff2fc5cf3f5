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
 * number>" (EEXIST: it was committed before), then mark them TOLD, synced;
 * without one those who want none (NOTIFY=never, or without failure).
 * It goes to the sender, through aliases; where that gives no recipient, or
 * the message has a null sender (a notice), to POSTMASTER where that is set
 * and was not the one who did not get it; else the message is parked as
 * dead.<id> and *parked is set, once none of its recipients is open (until
 * then they stay FAILED and 0 is returned).
 * notice_id (QUEUE_ID_MAX + 1 bytes) gets the new message's id, or "".
 * Returns 0, or -1 with errno, never ENOENT: try again later; what was
 * committed is then found again under its id.
 */
int bounce_settle(const struct spool *s, const struct conf *c,
    struct spool_file *f, char *notice_id, bool *parked);

/*
 * Tell the sender, once, that the recipients that are open still wait: where
 * the message is older than WARN, one of them wants that (NOTIFY), and there
 * is a sender.  Commits one notice under the id "<id>w" (EEXIST: it was
 * committed before) and sets f->env.warned, which the caller writes and syncs.
 * notice_id as above.  Returns 0, or -1 with errno: at the next pass again.
 */
int bounce_warn(const struct spool *s, const struct conf *c,
    struct spool_file *f, char *notice_id);

/*
 * Tell the sender of the recipients that are DELIVERED or RELAYED, as he asked
 * to (NOTIFY=SUCCESS).  Commits one notice for them under the id "<id>s<n>",
 * n the lowest of their numbers, then marks them SENT.  Returns like
 * bounce_settle().
 */
int bounce_success(const struct spool *s, const struct conf *c,
    struct spool_file *f, char *notice_id);

#endif
