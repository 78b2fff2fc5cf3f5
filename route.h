/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * route.h - where a recipient goes: the next hop and its policy.
 */
#ifndef DMA_ROUTE_H
#define DMA_ROUTE_H

#include <stdbool.h>

#include "addr.h"
#include "conf.h"
#include "job.h"

/*
 * Text that is equal for recipients that share a next hop: "local:root" (also
 * for root+x), "mailbox:0" (MAILBOX is an LMTP server), "alias:" for the
 * targets of aliases, "relay:0" (SMARTHOST's entries are one hop, tried in
 * order), "mx:domain".
 * dst of at least ROUTE_KEY_MAX + 1 bytes; target: the recipient's, or NULL.
 */
#define ROUTE_KEY_MAX (ADDR_DOMAIN_MAX + 8)
void route_key(
    const struct conf *c, const struct addr *to, const char *target, char *dst);

/* True for the key of a hop that dma-local serves. */
bool route_is_local(const char *key);

/*
 * Fill the hop for a key: `choice` counts from 0 through SMARTHOST's list
 * (only 0 elsewhere).  Everything in *h is the caller's, see hop_free().
 * Returns 0; -1 with *h zeroed and errno, all of which defer but ENOENT:
 *	ENOENT	no such choice
 *	EPERM	LOCALONLY: nothing goes over the network
 *	EACCES	SMARTHOST names a user@ that auth.conf has no line for
 *	EIO	CERTFILE cannot be read, or is over CERTFILE_MAX
 *	EINVAL	not a key
 */
int route_hop(
    const struct conf *c, const char *key, size_t choice, struct hop *h);

/*
 * Decide as dma 0.14 does at submission: a local domain is cut off, which
 * leaves a bare name (a local user); under NULLCLIENT a bare or local
 * address becomes user@MAILNAME.  Returns 0, or -1 with *why.
 */
int route_localize(const struct conf *c, struct addr *a, const char **why);

/* False for a localized address that LOCALONLY lets no mail go to. */
bool route_allowed(const struct conf *c, const struct addr *a);

#endif
