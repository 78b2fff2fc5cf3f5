/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.h - looking at the queue and at the alias file.
 */
#ifndef DMA_CTL_H
#define DMA_CTL_H

#include "instance.h"

/*
 * List the caller's messages (root: all) on stdout in the layout of
 * Postfix's mailq, which monitors read.  Returns the exit status.
 */
int ctl_mailq(struct instance *in);

/* Check the alias file; each bad line on stderr.  Returns the exit status. */
int ctl_newaliases(struct instance *in);

#endif
