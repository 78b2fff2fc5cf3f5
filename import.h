/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * import.h - the queue of DragonFly's dma, taken into ours.
 */
#ifndef DMA_IMPORT_H
#define DMA_IMPORT_H

#include "instance.h"

/*
 * Where this is the system's run (in->all): queue each message of the old
 * spool's, with the sender, recipients, bytes and time of arrival that it has
 * there, then remove it there.  What cannot be taken stays, and the log says
 * why, once.
 */
void import_old_spool(const struct instance *in);

#endif
