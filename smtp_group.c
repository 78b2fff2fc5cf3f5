/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_group.c - one envelope: whom it asks for, and what they come to.
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its job. Distrusts: how the connection ends.
 * Promises:  a recipient that nothing final was said of is left to the next
 *            address; once the stream is out of step no refusal counts.
 */
#include "smtp_session.h"

#include <errno.h>
#include <string.h>

#include "util.h"

/* ---- Verdicts ---- */

/*
 * Recipients that the group is still about.  Once the message is on its way
 * only the accepted ones are: one that is asked for again then belongs to the
 * envelope behind the dot.
 */
static bool
is_in_play(const struct smtp_group *g, enum smtp_recipient_state state)
{
	return state == RCPT_ACCEPTED || (state == RCPT_ASKED && !g->data);
}

void
smtp_task_decide(struct smtp_task *t, size_t i, const struct outcome *o)
{
	t->recipients[i].outcome = *o;
	t->recipients[i].state = RCPT_DECIDED;
}

static void
leave_to_next(struct smtp_task *t, size_t i, const struct outcome *o)
{
	smtp_task_note(t, i, o);
	t->recipients[i].state = RCPT_NEXT;
}

/* Apply one outcome to all that are in play: final, or for the next address. */
void
smtp_group_settle(struct smtp_group *g, const struct outcome *o, bool final)
{
	size_t n, i;

	for (n = 0; n < g->count; n++) {
		i = g->index[n];
		if (!is_in_play(g, g->task->recipients[i].state))
			continue;
		if (final)
			smtp_task_decide(g->task, i, o);
		else
			leave_to_next(g->task, i, o);
	}
}

void
smtp_group_stamp(const struct smtp_group *g, struct outcome *o)
{
	o->ms_transfer = (uint32_t)(now_ms() - g->started);
}

struct outcome
smtp_group_outcome(struct smtp_session *s, const struct smtp_group *g,
    enum outcome_class class, enum smtp_stage stage, const struct smtp_reply *r)
{
	struct outcome o = {0};

	smtp_outcome_reply(s, &o, class, stage, r);
	smtp_group_stamp(g, &o);
	return o;
}

/*
 * The stream is lost or out of step.  If nothing was heard on a connection
 * that was kept from an earlier task, it had just ended: no verdict.
 */
enum smtp_step
smtp_group_lose(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, int error)
{
	struct outcome o = {0};

	s->broken = true;
	if (s->tasks > 1 && g->heard == 0 && error != ETIMEDOUT &&
	    error != EINVAL) {
		s->stale = true;
		return STEP_END;
	}
	smtp_outcome_error(s, &o, OUTCOME_DEFER, stage, error);
	smtp_group_stamp(g, &o);
	smtp_group_settle(g, &o, false);
	return STEP_END;
}

/* Out of step: refusals read so far may belong to something else. */
enum smtp_step
smtp_group_desync(
    struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage)
{
	size_t n;

	g->data = false; /* no dot was sent: nobody has the message */
	for (n = 0; n < g->count; n++)
		if (g->task->recipients[g->index[n]].state == RCPT_DECIDED)
			g->task->recipients[g->index[n]].state = RCPT_ASKED;
	return smtp_group_lose(s, g, stage, EPROTO);
}

/* 421: the server is about to close. */
enum smtp_step
smtp_group_shut_out(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, const struct smtp_reply *r)
{
	struct outcome o;

	s->broken = true;
	if (s->tasks > 1 && (stage == STAGE_RSET || stage == STAGE_MAIL)) {
		s->stale = true;
		return STEP_END;
	}
	o = smtp_group_outcome(s, g, OUTCOME_DEFER, stage, r);
	smtp_group_settle(g, &o, false);
	return STEP_END;
}

/* ---- Commands ---- */

static int
put_command(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    size_t n)
{
	smtp_build_command(s, g, stage, n);
	return smtp_put_line(s, buf_str(&s->line), SMTP_COMMAND_MAX, NULL);
}

/* Buffer the whole envelope (RFC 2920, 3.1: DATA ends it). */
int
smtp_group_put(struct smtp_session *s, struct smtp_group *g)
{
	size_t n;

	g->written = true;
	if (g->rset && put_command(s, g, STAGE_RSET, 0) == -1)
		return -1;
	if (put_command(s, g, STAGE_MAIL, 0) == -1)
		return -1;
	for (n = 0; n < g->count; n++)
		if (put_command(s, g, STAGE_RCPT, n) == -1)
			return -1;
	return put_command(s, g, STAGE_DATA, 0);
}

/* ---- Which recipients, and may this server have the message at all ---- */

bool
smtp_is_too_large(const struct smtp_session *s, const struct job *j)
{
	return s->features.size_limit > 0 && j->length > s->features.size_limit;
}

/* Say it for one recipient and leave it to the next address. */
static void
cannot_here(struct smtp_session *s, struct smtp_task *t, size_t i,
    const char *dsn, const char *text)
{
	struct outcome o = {0};

	outcome_set(&o, dsn[0] == '5' ? OUTCOME_FAIL : OUTCOME_DEFER, dsn,
	    "host %s[%s]: %s", s->target.name, s->target.address, text);
	compat_strlcpy(o.relay, s->relay, sizeof(o.relay));
	leave_to_next(t, i, &o);
}

static bool
may_be_asked(struct smtp_session *s, struct smtp_task *t, size_t i)
{
	const struct job_recipient *r = &t->job.recipients[i];

	if (smtp_is_too_large(s, &t->job)) {
		cannot_here(s, t, i, "5.3.4",
		    "the message is larger than this server takes");
		return false;
	}
	if (!s->features.smtputf8 &&
	    (smtp_needs_utf8(r->addr) || smtp_needs_utf8(t->job.sender))) {
		cannot_here(s, t, i, "5.6.7",
		    "the server does not take internationalized addresses");
		return false;
	}
	smtp_build_rcpt(s, r);
	if (!smtp_line_ok(t->job.sender, ADDR_MAX) ||
	    !smtp_line_ok(buf_str(&s->line), SMTP_COMMAND_MAX)) {
		cannot_here(s, t, i, "4.3.0",
		    "an address of its envelope may not be sent");
		return false;
	}
	return true;
}

/* Gather the waiting recipients into one envelope; false if there are none. */
bool
smtp_group_gather(
    struct smtp_session *s, struct smtp_group *g, struct smtp_task *t)
{
	size_t i;

	memset(g, 0, sizeof(*g));
	g->task = t;
	g->started = now_ms();
	for (i = 0; i < t->job.nrecipients; i++) {
		if (t->recipients[i].state != RCPT_WAITING ||
		    !may_be_asked(s, t, i))
			continue;
		if (g->count == ARRAY_LEN(g->index))
			break;
		t->recipients[i].state = RCPT_ASKED;
		g->index[g->count++] = i;
	}
	g->rset = s->need_rset;
	if (g->count > 0)
		s->need_rset = false;
	return g->count > 0;
}
