/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_task.c - a job under way: what each recipient has come to so far.
 *
 * Runs in:   dma-smtp. Trusts: its job. Distrusts: nothing it sees.
 * Promises:  each recipient is reported exactly once, and a temporary
 *            verdict beats a permanent one of another server.
 */
#include "smtp.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

struct smtp_task *
smtp_task_new(struct job *job)
{
	struct smtp_task *t = xcalloc(1, sizeof(*t));

	t->job = *job;
	memset(job, 0, sizeof(*job));
	job->fd = -1;
	t->recipients = xcalloc(t->job.nrecipients, sizeof(*t->recipients));
	return t;
}

void
smtp_task_free(struct smtp_task *t)
{
	if (t == NULL)
		return;
	job_free(&t->job);
	free(t->recipients);
	free(t);
}

int64_t
smtp_scaled(const struct hop *hop, int64_t ms)
{
	unsigned percent = hop->timeouts;

	if (percent == 0 || percent > 100)
		percent = 100;
	return ms * percent / 100;
}

void
smtp_task_start(struct smtp_task *t, const struct hop *hop)
{
	int64_t ms =
	    SMTP_SESSION_MS + (int64_t)(t->job.length / SMTP_DATA_RATE) * 1000;

	if (t->deadline == 0)
		t->deadline = now_ms() + smtp_scaled(hop, ms);
}

bool
smtp_task_open(const struct smtp_task *t)
{
	return smtp_task_count(t, RCPT_SETTLED) < t->job.nrecipients;
}

size_t
smtp_task_count(const struct smtp_task *t, enum smtp_recipient_state state)
{
	size_t n = 0;

	for (size_t i = 0; i < t->job.nrecipients; i++)
		if (t->recipients[i].state == state)
			n++;
	return n;
}

void
smtp_task_note(struct smtp_task *t, size_t i, const struct outcome *o)
{
	struct outcome *old = &t->recipients[i].outcome;

	if (old->text[0] != '\0' && old->class == OUTCOME_DEFER &&
	    o->class != OUTCOME_DEFER)
		return;
	*old = *o;
}

static void
report(struct smtp_task *t, size_t i, const struct smtp_callbacks *cb)
{
	struct smtp_recipient *r = &t->recipients[i];

	r->state = RCPT_SETTLED;
	cb->result(cb->arg, &t->job, i, &r->outcome);
}

void
smtp_task_report(struct smtp_task *t, const struct smtp_callbacks *cb)
{
	for (size_t i = 0; i < t->job.nrecipients; i++)
		if (t->recipients[i].state == RCPT_DECIDED)
			report(t, i, cb);
}

void
smtp_task_finish(struct smtp_task *t, const struct smtp_callbacks *cb)
{
	for (size_t i = 0; i < t->job.nrecipients; i++) {
		struct outcome *o = &t->recipients[i].outcome;
		if (t->recipients[i].state == RCPT_SETTLED)
			continue;
		if (o->text[0] == '\0')
			outcome_set(o, OUTCOME_DEFER, "4.4.0",
			    "no server took the message");
		report(t, i, cb);
	}
}
