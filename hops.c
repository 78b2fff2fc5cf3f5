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

#define FIRST_AGENTS   2    /* then one more for each greeting */
#define FAR_US         2000 /* an answer that more agents can wait beside */
#define JOBS_FAR       3    /* under way, in hand, on its way */
#define FAIR_JOBS      20   /* of a hop's only agent, while others have none */
#define SETTLE_AT_ONCE 64   /* items of a failed hop, between two polls */
#define FAILURES_MAX   40   /* of agents in a row, beside others that work */
#define FAILED_MS      5000 /* before an unreachable hop is tried again */
#define AUTH_FAILED_MS 300000 /* lock-outs are worse than late mail */

bool
hops_is_local(const struct next_hop *h)
{
	return route_is_local(h->key);
}

static void
make_key(char *dst, size_t size, const char *key, const struct entry *alone)
{
	/* No address has a tab. */
	(void)snprintf(dst, size, "%s%s%s", key, alone == NULL ? "" : "\t",
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
	compat_strlcpy(h->route, key, sizeof(h->route));
	h->alone = alone != NULL;
	h->limit = FIRST_AGENTS;
	h->chain = *bucket;
	*bucket = h;
	h->next = r->hops;
	r->hops = h;
	r->nhops++;
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
hops_enqueue(struct runner *r, struct next_hop *h, struct entry *e)
{
	struct item *item = xcalloc(1, sizeof(*item));

	item->entry = e;
	h->own = h->own || e->own;
	if (h->failed && h->first == NULL && now_ms() >= h->retry_at)
		h->failed = false;
	if (h->last == NULL)
		h->first = item;
	else
		h->last->next = item;
	h->last = item;
	h->waiting++;
	e->items++;
	r->items++;
}

void
hops_drop_item(struct runner *r, struct item *item)
{
	item->entry->items--;
	r->items--;
	free(item);
}

/*
 * Each open message is a descriptor.  Users' may wait for servers that stall:
 * in the system's run they leave a quarter for root's.
 */
static bool
may_be_open(const struct runner *r, const struct entry *e)
{
	bool own = r->in->all && e->own;
	size_t most = r->open_max;

	if (r->in->all && !own)
		most -= most / 4;
	return e->message != NULL ||
	       (r->open_messages < most &&
		   (own || r->open_recipients < OPEN_RECIPIENTS_MAX));
}

/* The place in h's queue of the next item that may be worked on. */
static struct item **
find_item(const struct runner *r, struct next_hop *h, struct item **before)
{
	struct item **at = &h->first;

	*before = NULL;
	while (*at != NULL && !may_be_open(r, (*at)->entry)) {
		*before = *at;
		at = &(*at)->next;
	}
	return at;
}

struct item *
hops_take(const struct runner *r, struct next_hop *h)
{
	struct item *before, **at = find_item(r, h, &before), *item = *at;

	if (item == NULL)
		return NULL;
	*at = item->next;
	if (h->last == item)
		h->last = before;
	h->waiting--;
	item->next = NULL;
	return item;
}

bool
hops_have_work(const struct runner *r, const struct next_hop *h)
{
	const struct item *item = h->first;

	while (item != NULL && !may_be_open(r, item->entry))
		item = item->next;
	return item != NULL;
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
	h->failures = 0;
}

bool
hops_next_choice(struct runner *r, struct next_hop *h)
{
	struct hop probe;

	for (size_t i = h->choice + 1; i < r->in->conf->nrelays; i++) {
		if (route_hop(r->in->conf, h->route, i, &probe) != 0)
			continue;
		hop_free(&probe);
		h->choice = i;
		h->resolved = false;
		return true;
	}
	return false;
}

/*
 * Not for ever: there are servers that greet everybody and serve nobody, and
 * agents that overlap would see each other get through.
 */
bool
hops_carry_on(struct next_hop *h, const struct agent *a, bool busy)
{
	if (h->greeted <= (a->greeted ? 1U : 0U) ||
	    ++h->failures > FAILURES_MAX)
		return false;
	h->limit = busy ? h->limit / 2 : h->agents - 1;
	if (h->limit == 0)
		h->limit = 1;
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
	if (hops_carry_on(h, a, failure == HOP_BUSY))
		return;
	log_event(LOG_SMTP, LOG_WARNING, "next hop %s: %s", h->key, o->text);
	if (hops_next_choice(r, h))
		return;
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

		if ((item = hops_take(r, h)) == NULL)
			return;
		r->progress = true;
		m = deliver_open(r, item->entry);
		hops_drop_item(r, item);
		if (m == NULL)
			continue;
		settle_item(r, h, m);
		deliver_release(r, m);
	}
}

/* What its agents were to get next is settled with the others. */
static void
take_back_rests(struct runner *r, struct next_hop *h)
{
	for (struct agent *a = r->agents; a != NULL; a = a->next)
		if (a->hop == h && a->rest != NULL) {
			hops_put_back(h, a->rest);
			a->rest = NULL;
		}
}

/* ---- Work ---- */

/*
 * Down at once, up slowly: a busy machine of ours adds to what we see of a
 * server's time, and nothing takes away from it.
 */
void
hops_note_answer(struct next_hop *h, int64_t ms)
{
	int64_t us = ms * 1000;

	if (!h->timed || us < h->answer_us)
		h->answer_us = us;
	else
		h->answer_us += (us - h->answer_us) / 16;
	h->timed = true;
}

/*
 * A server that answers at once is kept busy by two agents that have more in
 * hand, for the time that we wait for the disk.  More agents would only take
 * turns with us, and have the next envelope too late for a final dot.
 */
static bool
is_near(const struct next_hop *h)
{
	return h->timed && h->answer_us < FAR_US;
}

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
	if ((hops_is_local(h) && h->hop.kind != HOP_ALIAS) || h->alone)
		limit = 1; /* one mailbox, one lock; one message alone */
	if (is_near(h) && limit > FIRST_AGENTS)
		limit = FIRST_AGENTS;
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
	unsigned most = is_near(h) ? JOBS_PER_AGENT : JOBS_FAR;

	for (unsigned depth = 0; depth < most; depth++)
		for (struct agent *a = r->agents; a != NULL; a = a->next) {
			if (a->hop != h || !a->ready || a->closing ||
			    a->nwork != depth || a->ended_at != 0)
				continue;
			if (depth > 0 && !a->greeted)
				continue;
			if (a->rest == NULL && !hops_have_work(r, h))
				continue;
			if (work_give(r, a) == 0)
				r->progress = true;
		}
}

/* There is work, and no agent that does it. */
static bool
starves(const struct runner *r, const struct next_hop *h)
{
	return !h->failed && h->agents == 0 && h->first != NULL &&
	       hops_have_work(r, h);
}

/* It had its turn: of hops without an agent the first here gets the next. */
static void
move_last(struct runner *r, struct next_hop *h)
{
	struct next_hop **at = &r->hops;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	while (*at != NULL)
		at = &(*at)->next;
	h->next = NULL;
	*at = h;
}

/*
 * All agents that we may have are at other hops, which may have work for
 * days.  One of them ends with the jobs that it has: of the hop that has most
 * agents, or that had its share.
 */
static void
make_room(struct runner *r)
{
	struct agent *most = NULL;

	for (struct agent *a = r->agents; a != NULL; a = a->next) {
		if (a->closing)
			return; /* one is about to */
		if (!a->ready || (a->slot < 0 && r->nagents > 1) ||
		    (a->hop->agents == 1 && a->jobs < FAIR_JOBS))
			continue;
		if (most == NULL || a->hop->agents > most->hop->agents)
			most = a;
	}
	if (most == NULL)
		return;
	most->closing = true;
	move_last(r, most->hop);
}

static void
work_hop(struct runner *r, struct next_hop *h, bool may_start)
{
	if (!h->failed)
		give_jobs(r, h);
	while (may_start && !h->failed && h->agents < agents_wanted(r, h) &&
	       hops_have_work(r, h))
		if (agents_start(r, h) != 0)
			break;
	if (!h->failed)
		return;
	/* Before, or just now: its agent cannot be had. */
	take_back_rests(r, h);
	settle_failed(r, h);
}

void
hops_work(struct runner *r)
{
	bool starved = false;

	for (struct next_hop *h = r->hops; h != NULL && !r->stop; h = h->next)
		if (starves(r, h)) {
			work_hop(r, h, true);
			starved = starved || starves(r, h);
		}
	if (starved)
		make_room(r);
	for (struct next_hop *h = r->hops; h != NULL && !r->stop; h = h->next)
		if (h->first != NULL || h->agents > 0)
			work_hop(r, h, !starved);
}

static void
free_hop(struct runner *r, struct next_hop *h)
{
	struct item *item;

	while ((item = h->first) != NULL) {
		h->first = item->next;
		hops_drop_item(r, item);
	}
	hop_free(&h->hop);
	free(h);
	r->nhops--;
}

void
hops_free(struct runner *r)
{
	struct next_hop *h;

	while ((h = r->hops) != NULL) {
		r->hops = h->next;
		free_hop(r, h);
	}
	memset(r->hop_table, 0, sizeof(r->hop_table));
}

static bool
is_idle(const struct next_hop *h)
{
	return h->first == NULL && h->agents == 0 && h->users == 0;
}

/* A relay that refused our password is not asked again at each wake-up. */
void
hops_forget(struct runner *r, bool all)
{
	struct next_hop *h, *kept = NULL, **bucket;
	int64_t now = now_ms();

	while ((h = r->hops) != NULL) {
		r->hops = h->next;
		if (is_idle(h) && (all || !h->failed || now >= h->retry_at)) {
			free_hop(r, h);
			continue;
		}
		h->next = kept;
		kept = h;
	}
	memset(r->hop_table, 0, sizeof(r->hop_table));
	for (h = r->hops = kept; h != NULL; h = h->next) {
		bucket = &r->hop_table[entries_hash(h->key) % HOP_BUCKETS];
		h->chain = *bucket;
		*bucket = h;
	}
	r->hops_most = 2 * r->nhops + NEXT_HOPS_KEPT;
	if (r->hops_most > NEXT_HOPS_MAX)
		r->hops_most = NEXT_HOPS_MAX;
}
