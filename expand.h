/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * expand.h - recipients through the alias file, each at most once.
 */
#ifndef DMA_EXPAND_H
#define DMA_EXPAND_H

#include <stdint.h>

#include "addr.h"
#include "aliases.h"
#include "conf.h"
#include "envelope.h"

/*
 * A growing set of recipients for one envelope, without duplicates (a hash
 * over lower-cased domain, exact local part and target, once there are many).
 * {0} is the empty set.
 */
struct recipients {
	struct recipient *list;
	size_t count, size;
	uint16_t *slots; /* the hash: index into list, plus one; NULL: few */
};

/* Who is told of each step of an expansion, in order, instead of a set. */
struct expand_watcher {
	/* A name leads to targets (len bytes, a NUL after each). */
	void (*alias)(void *arg, const struct addr *name, const char *targets,
	    size_t len);
	/* An address, as written, ends as a localized one. */
	void (*end)(void *arg, const struct addr *name, const struct addr *to);
	/* A name is refused by error:; text is a status code and why. */
	void (*reject)(void *arg, const struct addr *name, const char *text);
	/* A name ends as a file or a command: "/file", "|command". */
	void (*target)(void *arg, const struct addr *name, const char *text);
	void *arg;
};

/*
 * Add a recipient after localizing (route.h) and expanding aliases: a bare
 * name is looked up in any case; each target is parsed, localized and looked
 * up in turn; a name being expanded that turns up again stays as the local
 * user; '*' catches every bare name that has no alias, but only the name
 * that was given, not what an alias led to (as dma 0.14).
 * A name is looked up with its domain, a bare one with MAILNAME, then alone;
 * then all that without its extension (addr_user()), which is lost there.
 * A target \name is a local user, whatever his alias; one that includes a file
 * is all that this has; of one that is error: the name itself is a recipient,
 * which has failed, with the reason (status and reason say so); of one that is
 * a file or a command the name is a recipient with that target.
 * `orig` is remembered where an alias changed the address.
 * An alias that leads nowhere, too deep (ALIAS_DEPTH_MAX) or to no address,
 * to a list that cannot be read or, in a private instance, to a file or a
 * command keeps the name itself, a local user: where there is none of that name it
 * fails at delivery and its sender is told.  It never stops the submission.
 * Postmaster and MAILER-DAEMON without an alias are root (RFC 5321, 4.5.1).
 * Of duplicates the first one's notify and orcpt count.  The null address is
 * no recipient.  The list and its strings belong to r.
 * Returns 0, or -1 with *why and errno: E2BIG over RECIPIENTS_MAX, EPERM on
 * another machine (for an alias: one of its targets is) under LOCALONLY,
 * EINVAL no address.  r is as it was then.
 */
int expand_add(struct recipients *r, const struct conf *c,
    const struct aliases *a, const struct addr *to, unsigned notify,
    const char *orcpt, const char **why);

/*
 * Tell w where `to` would go, an alias before what it leads to; under
 * LOCALONLY others end too.  Returns 0, or -1 with *why: no address.
 */
int expand_watch(const struct conf *c, const struct aliases *a,
    const struct addr *to, const struct expand_watcher *w, const char **why);

/* The same without looking at it: no localizing, no aliases. */
int expand_keep(struct recipients *r, const struct addr *to, unsigned notify,
    const char **why);

/* Forget all but the first ones. */
void recipients_truncate(struct recipients *r, size_t count);
void recipients_free(struct recipients *r);

#endif
