/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * queue.h - running the queue.
 */
#ifndef DMA_QUEUE_H
#define DMA_QUEUE_H

#include <stdbool.h>

#include "instance.h"
#include "select.h"

/*
 * After the commit of message id: wake the runner of this uid, or fork a
 * detached child that becomes it (S1, S2).  Returns at once; an error is
 * ignored, since the message is safe.
 */
void queue_wake(struct instance *in, const char *id);

/*
 * Try every message that is meant (only is NULL: all) once, in the foreground,
 * whatever its due time; verbose shows the dialogue on stderr.  Returns
 * EX_OK whatever came of it, or EX_UNAVAILABLE if nothing can be delivered
 * from here.
 */
int queue_flush(
    struct instance *in, const struct selection *only, bool verbose);

/*
 * A message was changed: tell the runner of its owner, and ours.  False if
 * there is neither: queue_wake(in, "") starts one.
 */
bool queue_tell(const struct instance *in, const char *id, uid_t owner);

/* What is due: wake the runner or become it.  Returns EX_OK. */
int queue_run(struct instance *in);

#endif
