/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * work.c - jobs under way: given to agents, answered, taken back.
 *
 * Runs in:   dma, as the runner.
 * Distrusts: every record of an agent: decoded by job.c, its numbers checked
 *            here against what that agent was given.
 * Promises:  what an agent did not answer for is deferred, never lost; what
 *            it never tried goes back to the queue and costs no attempt.
 */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

/* ---- Giving jobs ---- */

/* What is local, but goes to MAILBOX's server, has a domain there. */
static char *
make_full(const struct conf *c, const struct addr *a)
{
	struct addr full = *a;
	const char *ignored;

	(void)addr_qualify(&full, c->mailname, &ignored); /* or as it is */
	return xstrdup(full.text);
}

static struct job_recipient
job_recipient(const struct recipient *to, uint32_t number)
{
	/* Borrowed: the record is encoded before the envelope can go. */
	struct job_recipient jr = {.number = number,
	    .orcpt = to->orcpt,
	    .orig = to->orig,
	    .target = to->target,
	    .notify = to->notify};
	const char *text = to->addr.text;

	memcpy(&jr.addr, &text, sizeof(text)); /* read only */
	return jr;
}

static int
send_job(const struct conf *c, struct agent *a, const struct work *w, int fd)
{
	const struct envelope *env = &w->message->file.env;
	struct job_recipient to[JOB_RECIPIENTS_MAX];
	char *full[JOB_RECIPIENTS_MAX] = {NULL};
	struct job j = {.number = w->number,
	    .flags = env->flags,
	    .envid = env->envid,
	    .ret = (int)env->ret,
	    .offset = (uint64_t)env->message_offset,
	    .length = env->length,
	    .recipients = to,
	    .nrecipients = w->nrecipients};
	const char *id = env->id, *sender = env->sender.text;
	struct buf b = {.max = RECORD_MAX};
	int result = -1;

	memcpy(&j.id, &id, sizeof(id));
	memcpy(&j.sender, &sender, sizeof(sender));
	for (size_t i = 0; i < w->nrecipients; i++) {
		const struct recipient *r = &env->recipients[w->recipients[i]];

		to[i] = job_recipient(r, w->recipients[i]);
		if (!hops_is_local(a->hop) && addr_is_bare(&r->addr))
			to[i].addr = full[i] = make_full(c, &r->addr);
	}
	if (job_put_job(&b, &j) == 0)
		result = job_send(a->sock, b.data, b.len, fd);
	for (size_t i = 0; i < w->nrecipients; i++)
		free(full[i]);
	buf_free(&b);
	return result;
}

/*
 * Without descriptors it waits for those of others; a message that somebody
 * removed, lock or no lock, must not stand in its queue for ever.
 */
static int
cannot_reopen(struct runner *r, struct agent *a, struct work *w)
{
	struct outcome o = {0};

	if (entries_shortage(errno)) {
		deliver_untake(w->message, w);
		return -1;
	}
	outcome_set(&o, OUTCOME_DEFER, "4.3.0",
	    "the queued message cannot be opened: %s", strerror(errno));
	work_defer(r, a, w, &o);
	return 1;
}

/*
 * Give one item's recipients.  0: given; 1: nothing of it waits for this
 * hop any more; -1: it cannot be given now, its recipients wait on.
 */
static int
give_item(struct runner *r, struct agent *a, struct message *m, bool *more)
{
	struct work *w = &a->work[a->nwork];
	int fd, result;

	/* One mailbox, or command, after the other. */
	w->nrecipients = deliver_take(m, a->hop, w->recipients,
	    hops_is_local(a->hop) ? 1 : ARRAY_LEN(w->recipients), more);
	if (w->nrecipients == 0)
		return 1;
	w->number = a->jobs + 1;
	w->message = m;
	if ((fd = spool_file_reopen(&r->in->spool, &m->file)) < 0)
		return cannot_reopen(r, a, w);
	result = send_job(r->in->conf, a, w, fd);
	(void)close(fd);
	if (result != 0) {
		deliver_untake(m, w);
		return -1;
	}
	a->jobs++;
	if (a->nwork++ == 0)
		a->work_since = now_ms();
	a->idle_since = 0;
	m->jobs++;
	return 0;
}

int
work_give(struct runner *r, struct agent *a)
{
	for (;;) {
		struct item *item = a->rest;
		struct message *m;
		bool more;
		int given;

		a->rest = NULL;
		if (item == NULL && (item = hops_take(r, a->hop)) == NULL)
			return -1;
		if ((m = deliver_open(r, item->entry)) == NULL) {
			hops_drop_item(r, item);
			continue;
		}
		given = give_item(r, a, m, &more);
		if (given < 0) {
			hops_put_back(a->hop, item);
			return -1;
		}
		if (given == 0 && more)
			a->rest = item;
		else
			hops_drop_item(r, item);
		if (given == 0)
			return 0;
		deliver_release(r, m);
	}
}

/* ---- Records ---- */

static struct work *
find_work(struct agent *a, uint32_t number)
{
	for (unsigned i = 0; i < a->nwork; i++)
		if (a->work[i].number == number)
			return &a->work[i];
	return NULL;
}

enum log_ident
work_ident(const struct agent *a)
{
	return hops_is_local(a->hop) ? LOG_LOCAL : LOG_SMTP;
}

void
work_end(struct runner *r, struct agent *a, struct work *w)
{
	struct message *m = w->message;
	size_t after = a->nwork - 1 - (size_t)(w - a->work);

	memmove(w, w + 1, after * sizeof(*w));
	a->nwork--;
	if (a->nwork == 0)
		a->idle_since = now_ms();
	m->jobs--;
	deliver_release(r, m);
	r->progress = true;
}

void
work_defer(
    struct runner *r, struct agent *a, struct work *w, const struct outcome *o)
{
	for (size_t i = 0; i < w->nrecipients; i++)
		if (w->message->pass[w->recipients[i]] == PASS_SENT_OUT)
			deliver_result(
			    r, w->message, w->recipients[i], o, work_ident(a));
}

static int
take_result(struct runner *r, struct agent *a, const struct agent_record *rec)
{
	struct work *w = find_work(a, rec->job);

	for (size_t i = 0; w != NULL && i < w->nrecipients; i++) {
		if (w->recipients[i] != rec->recipient)
			continue;
		if (w->message->pass[rec->recipient] == PASS_SENT_OUT)
			deliver_result(r, w->message, rec->recipient,
			    &rec->outcome, work_ident(a));
		if (i == 0)
			hops_note_answer(a->hop, rec->outcome.ms_transfer);
		return 0;
	}
	return -1; /* not a recipient that it was given */
}

static int
take_done(struct runner *r, struct agent *a, uint32_t job)
{
	struct work *w = find_work(a, job);
	struct outcome o = {0};

	if (w == NULL)
		return -1;
	outcome_set(
	    &o, OUTCOME_DEFER, "4.3.0", "the delivery agent gave no result");
	work_defer(r, a, w, &o);
	work_end(r, a, w);
	a->work_since = now_ms();
	a->hop->failures = 0;
	return 0;
}

void
work_return(struct runner *r, struct agent *a, struct work *w)
{
	struct message *m = w->message;

	deliver_untake(m, w);
	hops_enqueue(r, a->hop, m->entry);
	work_end(r, a, w);
}

static void
hop_failed(struct runner *r, struct agent *a, const struct agent_record *rec)
{
	struct outcome why = rec->outcome, untried = rec->outcome;

	/* It settles mail that this agent was never given: only ever defer. */
	why.class = OUTCOME_DEFER;
	untried.class = OUTCOME_UNTRIED;
	hops_failed(r, a, rec->failure, &why);
	agents_lose_greeting(a);
	while (a->nwork > 0) {
		if (r->stop) /* only its reason is noted */
			work_defer(r, a, &a->work[0], &untried);
		work_return(r, a, &a->work[0]);
	}
	a->closing = true;
}

static int
send_hop(struct agent *a)
{
	struct buf b = {.max = RECORD_MAX};
	int result = job_put_hop(&b, &a->hop->hop);

	if (result == 0)
		result = job_send(a->sock, b.data, b.len, -1);
	buf_wipe(&b);
	return result;
}

int
work_take_record(
    struct runner *r, struct agent *a, const struct agent_record *rec)
{
	switch (rec->type) {
	case RECORD_READY:
		if (a->ready)
			return -1;
		a->ready = true;
		a->idle_since = a->work_since = now_ms();
		/* The hop may have moved on to its next choice. */
		if (!a->hop->resolved || a->choice != a->hop->choice) {
			a->closing = true;
			return 0;
		}
		return send_hop(a);
	case RECORD_GREETED:
		if (!a->greeted && !a->closing)
			a->hop->greeted++;
		a->greeted = !a->closing;
		hops_note_answer(a->hop, now_ms() - a->work_since);
		if (a->hop->limit < r->in->conf->agents_per_host)
			a->hop->limit++;
		return 0;
	case RECORD_RESULT:
		return take_result(r, a, rec);
	case RECORD_DONE:
		return take_done(r, a, rec->job);
	case RECORD_HOP_FAILED:
		hop_failed(r, a, rec);
		return 0;
	case RECORD_TRACE:
		if (!r->verbose)
			return -1;
		(void)fprintf(stderr, "%s\n",
		    printable(rec->text, strlen(rec->text) + 1, rec->text,
			strlen(rec->text)));
		return 0;
	case RECORD_HOP:
	case RECORD_JOB:
		break;
	}
	return -1;
}
