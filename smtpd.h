/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd.h - SMTP on standard input and output (RFC 5321), for -bs.
 */
#ifndef DMA_SMTPD_H
#define DMA_SMTPD_H

#include "instance.h"
#include "intake.h"
#include "peer.h"

/*
 * What handover.c calls itself: a local user who is not there fails alone then,
 * with a notice, as in any submission.  Anybody may call himself so.
 */
#define SMTPD_SUBMITTER "submitter.invalid"

/*
 * Before anything else, rights among it: who is at the other end, which sees
 * our replies alone, no diagnostics.
 */
void smtpd_meet(struct peer *peer);

/*
 * The whole session, the greeting first.  A socket's peer must be local or in
 * RELAY_FROM.  250 to the data only when the message is on stable storage.
 * Returns an exit status: EX_OK after QUIT or the end of the input between
 * two commands.
 */
int smtpd_serve(struct instance *in, enum delivery_mode mode);

/*
 * In place of the greeting: why nothing can be taken in.  A stranger on the
 * network does not learn what our files say.
 */
void smtpd_turn_away(const char *why);

#endif
