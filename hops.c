/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * hops.c - next hops: whose turn it is, how many agents, what failed.
 *
 * Runs in:   dma, as the runner.
 * Promises:  a next hop that cannot be used gives all its messages its
 *            reason at once; one that works gets more agents slowly, fewer
 *            when it says 421; one hop never waits for another.
 */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "log.h"
#include "util.h"

#define FIRST_AGENTS   2      /* then one more for each greeting */
#define SETTLE_AT_ONCE 64     /* items of a failed hop, between two polls */
#define FAILED_MS      5000   /* before an unreachable hop is tried again */
#define AUTH_FAILED_MS 300000 /* lock-outs are worse than late mail */

bool
hops_is_local(const struct next_hop *h)
{
	return strncmp(h->key, "local:", 6) == 0;
}

static void
make_key(char *dst, size_t size, const char *key, const struct entry *alone)
{
	(void)snprintf(dst, size, "%s%s%s", key, alone == NULL ? "" : "#",
	    alone == NULL ? "" : alone->id);
}

struct next_hop *
hops_get(struct runner *r, const char *key, const struct entry *alone)
{
	char full[sizeof(((struct next_hop *)NULL)->key)];
	struct next_hop *h, **bucket;

	make_key(full, sizeof(full), key, alone);
	bucket = &r->hop_table[entries_hash(full) % HOP_BUCKETS];
	for (h = *bucket; h != NULL; h = h->chain)
		if (strcmp(h->key, full) == 0)
			return h;
	h = xcalloc(1, sizeof(*h));
	compat_strlcpy(h->key, full, sizeof(h->key));
	h->limit = FIRST_AGENTS;
	h->chain = *bucket;
	*bucket = h;
	h->next = r->hops;
	r->hops = h;
	return h;
}

void
hops_put_back(struct next_hop *h, struct item *item)
{
	item->next = h->first;
	h->first = item;
	if (h->last == NULL)
		h->last = item;
	h->waiting++;
}

void
hops_enqueue(struct next_hop *h, struct entry *e)
{
	struct item *item = xcalloc(1, sizeof(*item));

	item->entry = e;
	if (h->failed && h->first == NULL && now_ms() >= h->retry_at)
		h->failed = false;
	if (h->last == NULL)
		h->first = item;
	else
		h->last->next = item;
	h->last = item;
	h->waiting++;
	e->items++;
}

struct item *
hops_take(struct next_hop *h)
{
	struct item *item = h->first;

	if (item == NULL)
		return NULL;
	h->first = item->next;
	if (h->first == NULL)
		h->last = NULL;
	h->waiting--;
	item->next = NULL;
	return item;
}

/* ---- Failure ---- */

void
hops_fail(struct next_hop *h, const struct outcome *o, int64_t hold)
{
	h->failed = true;
	h->why = *o;
	h->retry_at = now_ms() + hold;
	h->choice = 0;
	h->resolved = false;
	h->limit = FIRST_AGENTS;
}

static bool
has_another_choice(struct runner *r, const struct next_hop *h)
{
	struct hop probe;

	if (route_hop(r->in->conf, h->key, h->choice + 1, &probe) != 0)
		return false;
	hop_free(&probe);
	return true;
}

void
hops_failed(struct runner *r, struct agent *a, enum hop_failure failure,
    const struct outcome *o)
{
	struct next_hop *h = a->hop;

	if (failure == HOP_NO_NETWORK) {
		r->stop = true;
		log_event(LOG_QUEUE, LOG_WARNING,
		    "no network here: %s; the queue is left as it is", o->text);
		return;
	}
	if (h->failed || a->choice != h->choice)
		return; /* told before */
	if (h->greeted > (a->greeted ? 1U : 0U)) {
		/* Others get through: fewer agents, and the hop goes on. */
		h->limit = failure == HOP_BUSY ? h->limit / 2 : h->agents - 1;
		if (h->limit == 0)
			h->limit = 1;
		return;
	}
	log_event(LOG_SMTP, LOG_WARNING, "next hop %s: %s", h->key, o->text);
	if (has_another_choice(r, h)) {
		h->choice++;
		h->resolved = false;
		return;
	}
	hops_fail(h, o, failure == HOP_AUTH ? AUTH_FAILED_MS : FAILED_MS);
}

/* Every recipient of m that waits for h gets the hop's outcome. */
static void
settle_item(struct runner *r, struct next_hop *h, struct message *m)
{
	uint32_t numbers[JOB_RECIPIENTS_MAX];
	enum log_ident ident = hops_is_local(h) ? LOG_LOCAL : LOG_SMTP;
	bool more = true;

	while (more) {
		size_t n =
		    deliver_take(m, h, numbers, ARRAY_LEN(numbers), &more);

		for (size_t i = 0; i < n; i++)
			deliver_result(r, m, numbers[i], &h->why, ident);
	}
}

static void
settle_failed(struct runner *r, struct next_hop *h)
{
	struct item *item;

	for (int i = 0; i < SETTLE_AT_ONCE; i++) {
		struct message *m;

		if ((item = hops_take(h)) == NULL)
			return;
		m = deliver_open(r, item->entry);
		item->entry->items--;
		free(item);
		if (m == NULL)
			continue;
		settle_item(r, h, m);
		deliver_release(r, m);
		r->progress = true;
	}
}

/* ---- Work ---- */

/* How many agents the hop's work is worth: one for every two messages. */
static unsigned
agents_wanted(const struct runner *r, const struct next_hop *h)
{
	size_t work = h->waiting;
	unsigned limit = h->limit;

	for (const struct agent *a = r->agents; a != NULL; a = a->next)
		if (a->hop == h)
			work += a->nwork;
	if (limit > r->in->conf->agents_per_host)
		limit = r->in->conf->agents_per_host;
	if (hops_is_local(h) || strchr(h->key, '#') != NULL)
		limit = 1; /* one mailbox, one lock; one message alone */
	if (h->hop.auth && h->greeted == 0)
		limit = 1; /* a wrong password is tried once */
	work = (work + 1) / 2;
	return work < limit ? (unsigned)work : limit;
}

/*
 * First every agent gets one job; a second one in hand, which lets it write
 * the next envelope with the final dot, only where it is connected.
 */
static void
give_jobs(struct runner *r, struct next_hop *h)
{
	for (unsigned depth = 0; depth < JOBS_PER_AGENT; depth++)
		for (struct agent *a = r->agents; a != NULL; a = a->next) {
			if (a->hop != h || !a->ready || a->closing ||
			    a->nwork != depth || a->ended_at != 0)
				continue;
			if (depth > 0 && !a->greeted)
				continue;
			if (h->first == NULL && a->rest == NULL)
				continue;
			if (work_give(r, a) == 0)
				r->progress = true;
		}
}

static void
work_hop(struct runner *r, struct next_hop *h)
{
	if (!h->failed)
		give_jobs(r, h);
	while (
	    h->first != NULL && !h->failed && h->agents < agents_wanted(r, h))
		if (agents_start(r, h) != 0)
			break;
	if (h->failed) /* before, or just now: its agent cannot be had */
		settle_failed(r, h);
}

void
hops_work(struct runner *r)
{
	for (struct next_hop *h = r->hops; h != NULL && !r->stop; h = h->next)
		if (h->first != NULL || h->agents > 0)
			work_hop(r, h);
}

void
hops_free(struct runner *r)
{
	struct next_hop *h;
	struct item *item;

	while ((h = r->hops) != NULL) {
		r->hops = h->next;
		while ((item = hops_take(h)) != NULL)
			free(item);
		hop_free(&h->hop);
		free(h);
	}
	memset(r->hop_table, 0, sizeof(r->hop_table));
}
