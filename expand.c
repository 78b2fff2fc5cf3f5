/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * expand.c - recipients through the alias file, each at most once.
 *
 * Runs in:   dma, at submission and for -bv.
 * Trusts:    the alias table's targets to be addresses; not that they end.
 * Promises:  every recipient that is given leaves at least one in the set, or
 *            is there already: nothing is dropped in silence.  One call looks
 *            into each alias once at most, however they are entangled.
 */
#include "expand.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route.h"
#include "util.h"

/* A power of two that leaves more than half of the slots free. */
#define SLOTS 32768
/* So few are compared one by one: clearing the slots would cost more. */
#define FEW 32
_Static_assert(SLOTS > 2 * RECIPIENTS_MAX, "the hash needs more slots");

/* One original recipient on its way through the aliases. */
struct expansion {
	struct recipients *r;
	const struct conf *conf;
	const struct aliases *aliases;
	const struct addr *to; /* as it was given */
	unsigned notify;
	const char *orcpt;
	const char **why;
	/* One byte an alias, by number; NULL until one is found. */
	unsigned char *state;
	unsigned depth;
	size_t arrived; /* addresses it led to */
	struct list {
		char *path;
		const struct addr *name; /* whose it is, while open */
	} lists[INCLUDES_MAX];           /* that were read */
	size_t nlists;
	const struct expand_watcher *watcher; /* instead of r, or NULL */
	const struct addr *name;              /* what is expanded, as written */
};

enum alias_state { ALIAS_NEW, ALIAS_OPEN, ALIAS_DONE };

/* ---- The set ---- */

/* By the address alone: few aliases have more than one target. */
static size_t
addr_hash(const struct addr *a)
{
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */
	const char *p;

	for (p = a->text; *p != '\0'; p++)
		h = (h ^ (unsigned char)ascii_lower((unsigned char)*p)) *
		    0x100000001b3ULL;
	return (size_t)(h ^ h >> 32);
}

/* Users of this machine have their names in any case. */
static bool
same_address(const struct addr *a, const struct addr *b)
{
	return addr_is_bare(a) && addr_is_bare(b)
		   ? ascii_strcasecmp(a->text, b->text) == 0
		   : addr_equal(a, b);
}

static bool
is_same(const struct recipient *a, const struct recipient *b)
{
	if (a->target != NULL && b->target != NULL &&
	    strcmp(a->target, b->target) != 0)
		return false;
	return (a->target == NULL) == (b->target == NULL) &&
	       same_address(&a->addr, &b->addr);
}

/* The slot that holds the recipient, or the free one where it belongs. */
static uint16_t *
set_slot(const struct recipients *r, const struct recipient *to)
{
	size_t i = addr_hash(&to->addr) % SLOTS;

	while (r->slots[i] != 0 && !is_same(&r->list[r->slots[i] - 1], to))
		i = (i + 1) % SLOTS;
	return &r->slots[i];
}

static bool
set_has(const struct recipients *r, const struct recipient *to)
{
	if (r->slots != NULL)
		return *set_slot(r, to) != 0;
	for (size_t i = 0; i < r->count; i++)
		if (is_same(&r->list[i], to))
			return true;
	return false;
}

/* Enter the last one, or all of them once they are no longer few. */
static void
set_index(struct recipients *r)
{
	size_t first = r->count - 1;

	if (r->count <= FEW)
		return;
	if (r->slots == NULL) {
		r->slots = xcalloc(SLOTS, sizeof(*r->slots));
		first = 0;
	}
	for (size_t i = first; i < r->count; i++)
		*set_slot(r, &r->list[i]) = (uint16_t)(i + 1);
}

static char *
dup_optional(const char *s)
{
	return s != NULL ? xstrdup(s) : NULL;
}

/* What is given of it is borrowed: address, target, reason. */
static int
set_add(struct expansion *x, const struct recipient *to)
{
	struct recipients *r = x->r;
	bool changed = strcmp(to->addr.text, x->to->text) != 0;

	/* There is no set only for a watcher, which is told instead. */
	if (r == NULL || set_has(r, to))
		return 0;
	if (r->count >= RECIPIENTS_MAX) {
		*x->why = "there are too many recipients";
		errno = E2BIG;
		return -1;
	}
	if (r->count == r->size) {
		r->size = r->size == 0 ? 8 : 2 * r->size;
		r->list = xreallocarray(r->list, r->size, sizeof(*r->list));
	}
	r->list[r->count++] = (struct recipient){
	    .addr = to->addr,
	    .status = to->reason != NULL ? STATUS_FAILED : STATUS_TODO,
	    .reason = dup_optional(to->reason),
	    .target = dup_optional(to->target),
	    .notify = x->notify,
	    .orcpt = dup_optional(x->orcpt),
	    .orig = changed ? xstrdup(x->to->text) : NULL,
	};
	set_index(r);
	return 0;
}

/* An address that leads no further. */
static int
arrive(struct expansion *x, const struct addr *a)
{
	x->arrived++;
	if (x->watcher != NULL) {
		x->watcher->end(x->watcher->arg, x->name, a);
		return 0;
	}
	if (route_allowed(x->conf, a))
		return set_add(x, &(struct recipient){.addr = *a});
	*x->why = x->depth == 0
		      ? "is on another machine: LOCALONLY lets no mail go there"
		      : "is an alias for an address on another machine: "
			"LOCALONLY lets no mail go there";
	errno = EPERM;
	return -1;
}

/* "error:": the name is a recipient that has failed; text: "5.1.1 why". */
static int
reject(struct expansion *x, char *text, const struct addr *name)
{
	x->arrived++;
	if (x->watcher == NULL)
		return set_add(
		    x, &(struct recipient){.addr = *name, .reason = text});
	x->watcher->reject(x->watcher->arg, x->name, text);
	return 0;
}

static void
report_private(const struct aliases *a, const struct addr *name)
{
	char *line = xasprintf("alias \"%s\": " ALIAS_PRIVATE, name->text);

	if (a->report != NULL)
		a->report(a->arg, line);
	free(line);
}

/* A file or a command; a private instance has nobody to leave them to. */
static int
arrive_target(struct expansion *x, char *text, const struct addr *name)
{
	if (x->conf->aliasuser == NULL) {
		report_private(x->aliases, name);
		return arrive(x, name);
	}
	x->arrived++;
	if (x->watcher == NULL)
		return set_add(
		    x, &(struct recipient){.addr = *name, .target = text});
	x->watcher->target(x->watcher->arg, x->name, text);
	return 0;
}

/* ---- Aliases ---- */

/* RFC 5321, 4.5.1 wants the first; notices to us come to the second. */
static bool
is_role(const struct addr *a)
{
	char name[ADDR_MAX + 1];

	if (!addr_is_bare(a) || addr_user(a, name, sizeof(name), NULL) == -1)
		return false;
	return ascii_strcasecmp(name, "postmaster") == 0 ||
	       ascii_strcasecmp(name, "mailer-daemon") == 0;
}

/* That of the name's domain (as written, or ours), then that of all. */
static const struct alias *
find_name(const struct expansion *x, const char *name)
{
	const struct alias *alias;
	const char *domain = addr_domain(x->name);
	char full[ADDR_MAX + ADDR_DOMAIN_MAX + 2];

	(void)snprintf(full, sizeof(full), "%s@%s", name,
	    domain != NULL ? domain : x->conf->mailname);
	alias = aliases_lookup(x->aliases, full);
	return alias != NULL ? alias : aliases_lookup(x->aliases, name);
}

/*
 * The alias of a bare name, then of what it is without its extension.  '*' is
 * for names that were given alone.
 */
static const struct alias *
find_alias(const struct expansion *x, const struct addr *a)
{
	const struct alias *alias;
	const char *extension;
	char name[ADDR_MAX + 1];

	if (!addr_is_bare(a) || addr_local(a, name, sizeof(name)) == -1)
		return NULL;
	alias = find_name(x, name);
	if (alias == NULL &&
	    addr_user(a, name, sizeof(name), &extension) == 0 &&
	    extension != NULL)
		alias = find_name(x, name);
	if (alias == NULL && x->depth == 0)
		alias = aliases_lookup(x->aliases, "*");
	return alias;
}

static int expand(struct expansion *x, const struct addr *a);
static int expand_targets(
    struct expansion *x, const struct buf *targets, const struct addr *name);

static struct list *
find_list(struct expansion *x, const char *path)
{
	for (size_t i = 0; i < x->nlists; i++)
		if (strcmp(x->lists[i].path, path) == 0)
			return &x->lists[i];
	return NULL;
}

/*
 * Each is read once.  One that is open for another name ends as a loop of
 * aliases does, which keeps the local copy.
 */
static int
expand_list(struct expansion *x, const char *path, const struct addr *name)
{
	struct list *list = find_list(x, path);
	struct buf targets = {0};
	int rc;

	if (list != NULL)
		return list->name == NULL || list->name == name
			   ? 0
			   : arrive(x, name);
	if (x->nlists == INCLUDES_MAX || x->depth == ALIAS_DEPTH_MAX)
		return arrive(x, name);
	list = &x->lists[x->nlists++];
	*list = (struct list){xstrdup(path), name};
	if (aliases_include(x->aliases, path, &targets) > 0 && targets.len == 0)
		rc = arrive(x, name);
	else
		rc = expand_targets(x, &targets, name);
	buf_free(&targets);
	list->name = NULL;
	return rc;
}

static int
expand_address(struct expansion *x, const char *text, const struct addr *name,
    bool no_alias)
{
	const struct addr *outer = x->name;
	struct addr a, written;
	const char *why;
	int rc;

	/* What is no address keeps the name: then its sender is told. */
	if (addr_parse(&a, text, false, &why) == -1)
		return arrive(x, name);
	written = a;
	if (route_localize(x->conf, &a, &why) == -1)
		return arrive(x, name);
	x->name = &written;
	rc = no_alias ? arrive(x, &a) : expand(x, &a);
	x->name = outer;
	return rc;
}

static int
expand_target(struct expansion *x, char *text, const struct addr *name)
{
	switch (text[0]) {
	case '/':
	case '|':
		return arrive_target(x, text, name);
	case '\\':
		return expand_address(x, text + 1, name, true);
	default:
		break;
	}
	if (strncmp(text, ALIAS_INCLUDE, strlen(ALIAS_INCLUDE)) == 0)
		return expand_list(x, text + strlen(ALIAS_INCLUDE), name);
	if (strncmp(text, ALIAS_REJECT, strlen(ALIAS_REJECT)) == 0)
		return reject(x, text + strlen(ALIAS_REJECT), name);
	return expand_address(x, text, name, false);
}

static int
expand_targets(
    struct expansion *x, const struct buf *targets, const struct addr *name)
{
	char *target;
	int rc = 0;

	x->depth++;
	for (size_t i = 0; i < targets->len && rc == 0; i += strlen(target) + 1)
		rc = expand_target(x, target = targets->data + i, name);
	x->depth--;
	return rc;
}

static void
tell_alias(const struct expansion *x, const char *targets, size_t len)
{
	if (x->watcher != NULL)
		x->watcher->alias(x->watcher->arg, x->name, targets, len);
}

static int
expand_alias(
    struct expansion *x, const struct alias *alias, const struct addr *name)
{
	int rc;

	tell_alias(x, alias->targets.data, alias->targets.len);
	x->state[alias->number] = ALIAS_OPEN;
	rc = expand_targets(x, &alias->targets, name);
	x->state[alias->number] = ALIAS_DONE;
	return rc;
}

/*
 * A localized address.  Recursion ends at ALIAS_DEPTH_MAX.  An alias that is
 * open means itself here: that is how "me: me, other@x" keeps the local copy,
 * and how a loop ends in a user that does not exist, not in silence.
 */
static int
expand(struct expansion *x, const struct addr *a)
{
	static const struct addr root = {"root", 4};
	const struct alias *alias = find_alias(x, a);

	if (alias == NULL && is_role(a)) {
		tell_alias(x, root.text, sizeof("root"));
		x->name = &root;
		return expand(x, &root);
	}
	if (alias == NULL)
		return arrive(x, a);
	if (x->state == NULL)
		x->state = xcalloc(x->aliases->count, 1);
	if (x->state[alias->number] == ALIAS_DONE)
		return 0; /* all it leads to is in the set */
	if (x->state[alias->number] == ALIAS_OPEN ||
	    x->depth == ALIAS_DEPTH_MAX)
		return arrive(x, a);
	return expand_alias(x, alias, a);
}

/* The hash is made anew when it is needed. */
void
recipients_truncate(struct recipients *r, size_t count)
{
	int saved = errno;

	while (r->count > count) {
		r->count--;
		free(r->list[r->count].orcpt);
		free(r->list[r->count].orig);
		free(r->list[r->count].reason);
		free(r->list[r->count].target);
	}
	free(r->slots);
	r->slots = NULL;
	errno = saved;
}

static int
expand_given(struct expansion *x)
{
	struct addr local = *x->to;
	int rc;

	errno = EINVAL;
	if (addr_is_null(x->to)) {
		*x->why = "is empty";
		return -1;
	}
	if (route_localize(x->conf, &local, x->why) == -1)
		return -1;
	x->name = x->to;
	rc = expand(x, &local);
	if (rc == 0 && x->arrived == 0)
		rc = arrive(x, &local); /* an empty list, say */
	while (x->nlists > 0)
		free(x->lists[--x->nlists].path);
	free(x->state);
	return rc;
}

int
expand_add(struct recipients *r, const struct conf *c, const struct aliases *a,
    const struct addr *to, unsigned notify, const char *orcpt, const char **why)
{
	struct expansion x = {.r = r,
	    .conf = c,
	    .aliases = a,
	    .to = to,
	    .notify = notify,
	    .orcpt = orcpt,
	    .why = why};
	size_t before = r->count;
	int rc = expand_given(&x);

	if (rc != 0)
		recipients_truncate(r, before);
	return rc;
}

int
expand_watch(const struct conf *c, const struct aliases *a,
    const struct addr *to, const struct expand_watcher *w, const char **why)
{
	struct expansion x = {
	    .conf = c, .aliases = a, .to = to, .why = why, .watcher = w};

	return expand_given(&x);
}

int
expand_keep(struct recipients *r, const struct addr *to, unsigned notify,
    const char **why)
{
	struct expansion x = {.r = r, .to = to, .notify = notify, .why = why};

	if (!addr_is_null(to))
		return set_add(&x, &(struct recipient){.addr = *to});
	*why = "is empty";
	return -1;
}

void
recipients_free(struct recipients *r)
{
	recipients_truncate(r, 0);
	free(r->list);
	*r = (struct recipients){0};
}
