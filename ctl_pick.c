/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl_pick.c - which messages dmactl means.
 *
 * Runs in:   dma, in the foreground.
 * Distrusts: ids from the command line and from standard input: each is
 *            checked before a file name is made of it.
 * Promises:  somebody else's message is answered for as one that is not there.
 */
#include "ctl_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "util.h"

static void
add(struct listing *l, const char *id, int64_t arrival)
{
	if (l->count == l->size) {
		l->size = l->size == 0 ? 64 : l->size * 2;
		l->list = xreallocarray(l->list, l->size, sizeof(*l->list));
	}
	(void)compat_strlcpy(l->list[l->count].id, id, sizeof(l->list->id));
	l->list[l->count++].arrival = arrival;
}

/* False if it is not there, or not the caller's; what else is wrong is said. */
static bool
consider(struct listing *l, const char *id)
{
	struct spool_file f;

	if (spool_file_open(&l->in->spool, id, false, &f) != 0) {
		if (errno == ENOENT || errno == EPERM || errno == EBADMSG)
			return false;
		complain("%s: cannot read it: %s", id, strerror(errno));
		l->status = EX_IOERR;
		return true;
	}
	if (select_matches(&l->o->selection, &f.env, time(NULL)))
		add(l, id, f.env.arrival);
	spool_file_close(&f);
	return true;
}

static int
each_message(void *arg, const char *id)
{
	(void)consider(arg, id);
	return 0;
}

/* ---- Ids that were named ---- */

bool
ctl_id_valid(const char *word)
{
	size_t len = strlen(word);

	return envelope_id_valid(word) ||
	       (len >= CTL_PREFIX_MIN && len < QUEUE_ID_LEN &&
		   strspn(word, QUEUE_ID_DIGITS) == len);
}

struct prefix {
	const char *text;
	unsigned found;
	char id[QUEUE_ID_MAX + 1];
};

static int
each_prefix(void *arg, const char *id)
{
	struct prefix *p = arg;

	if (strncmp(id, p->text, strlen(p->text)) == 0) {
		(void)compat_strlcpy(p->id, id, sizeof(p->id));
		p->found++;
	}
	return 0;
}

static void
named(struct listing *l, const char *word)
{
	struct prefix p = {.text = word};
	const char *why = "no such message";

	if (envelope_id_valid(word)) {
		if (consider(l, word))
			return;
	} else if (ctl_id_valid(word) &&
		   spool_scan(&l->in->spool, each_prefix, &p) == 0) {
		if (p.found == 1 && consider(l, p.id))
			return;
		if (p.found > 1)
			why = "several messages begin so";
	}
	complain("%s: %s", word, why);
	l->status = EX_UNAVAILABLE;
}

/*
 * Words between blanks, as they stand in a list: "ID*" is the id.  A word may
 * be empty: scanf(3) takes a NUL for no blank.
 */
static void
read_ids(struct listing *l)
{
	char word[QUEUE_ID_MAX + 8]; /* what is longer comes in pieces */
	size_t len;

	while (scanf("%47s", word) == 1) {
		len = strlen(word);
		if (len > 0 && strchr("*!#", word[len - 1]) != NULL)
			word[len - 1] = '\0';
		named(l, word);
	}
}

static int
by_arrival(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->arrival != y->arrival)
		return x->arrival < y->arrival ? -1 : 1;
	return strcmp(x->id, y->id);
}

static void
sort(struct listing *l)
{
	size_t kept = 0;

	if (l->count > 0)
		qsort(l->list, l->count, sizeof(*l->list), by_arrival);
	for (size_t i = 0; i < l->count; i++)
		if (kept == 0 ||
		    strcmp(l->list[kept - 1].id, l->list[i].id) != 0)
			l->list[kept++] = l->list[i];
	l->count = kept;
}

void
ctl_pick(struct listing *l)
{
	for (size_t i = 0; i < l->o->nids; i++)
		named(l, l->o->ids[i]);
	if (l->o->from_stdin)
		read_ids(l);
	if (l->o->nids == 0 && !l->o->from_stdin &&
	    spool_scan(&l->in->spool, each_message, l) != 0) {
		complain("cannot list the spool: %s", strerror(errno));
		l->status = EX_IOERR;
	}
	sort(l);
}
