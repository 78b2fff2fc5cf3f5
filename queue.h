/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * queue.h - running the queue.
 */
#ifndef DMA_QUEUE_H
#define DMA_QUEUE_H

#include <stdbool.h>

#include "instance.h"

/*
 * After the commit of message id: wake the runner of this uid, or fork a
 * detached child that becomes it (S1, S2).  Returns at once; an error is
 * ignored, since the message is safe.
 */
void queue_wake(struct instance *in, const char *id);

/*
 * Try every message (or the one with this id) once, in the foreground,
 * whatever its due time; verbose shows the dialogue on stderr.  Returns
 * EX_OK whatever came of it, or EX_UNAVAILABLE if nothing can be delivered
 * from here.
 */
int queue_flush(struct instance *in, const char *id, bool verbose);

/* What is due: wake the runner or become it.  Returns EX_OK. */
int queue_run(struct instance *in);

#endif
