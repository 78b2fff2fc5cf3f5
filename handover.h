/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * handover.h - mail to another process of ours, where the setgid right is
 * missing: over SUBMIT_SOCKET, in SMTP, to a -bs with that right.
 */
#ifndef DMA_HANDOVER_H
#define DMA_HANDOVER_H

#include "instance.h"
#include "intake.h"

#define HANDOVER_CONFINED                                                      \
	"no set-group-id right here (NoNewPrivileges, nosuid?)"

/*
 * Hand over the message, whose header was read and whose recipients are in
 * i: after 0 the other end has it on stable storage; -1 with i->refusal:
 * nothing is queued.  full_name: -F, or NULL.
 */
int handover_message(struct intake *i, const char *full_name);

/* For -bs: pass on both directions of the session.  Returns exit status. */
int handover_session(struct instance *in);

#endif
