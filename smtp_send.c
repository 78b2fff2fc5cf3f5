/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_send.c - mail transactions of one session (RFC 5321, 3.3; RFC 2920).
 *
 * Runs in:   dma-smtp. Reads the message with pread(2), no other file.
 * Trusts:    its job. Distrusts: every reply, and how many there are.
 * Promises:  only a 2yz to the final dot makes a recipient sent, only a
 *            reply that is in step makes it failed, and silence after the
 *            dot makes it uncertain.
 *
 * A round trip a message: with PIPELINING the final dot and the next task's
 * MAIL, RCPTs and DATA are one write.  Their replies come in this order, so
 * the dot's is read and reported before the rest is looked at.
 */
#include "smtp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "smtp_session.h"
#include "util.h"

/* ---- Verdicts ---- */

/* How a step of a transaction ended. */
enum step {
	STEP_ON, /* in step: go on */
	STEP_END /* this session can do no more for the task */
};

static struct smtp_recipient *
recipient(const struct smtp_group *g, size_t n)
{
	return &g->task->recipients[g->index[n]];
}

/* Final, to be reported. */
static void
decide(struct smtp_recipient *r, const struct outcome *o)
{
	r->outcome = *o;
	r->state = RCPT_DECIDED;
}

/*
 * Recipients that the group is still about.  Once the message is on its way
 * only the accepted ones are: one that is asked for again then belongs to the
 * envelope behind the dot.
 */
static bool
is_in_play(const struct smtp_group *g, size_t n)
{
	enum smtp_recipient_state state = recipient(g, n)->state;

	return state == RCPT_ACCEPTED || (state == RCPT_ASKED && !g->data);
}

/* One outcome for all in play: final, or left to the next address. */
static void
settle(struct smtp_group *g, const struct outcome *o, bool final)
{
	for (size_t n = 0; n < g->count; n++) {
		if (!is_in_play(g, n))
			continue;
		if (final) {
			decide(recipient(g, n), o);
		} else {
			smtp_task_note(g->task, g->index[n], o);
			recipient(g, n)->state = RCPT_NEXT;
		}
	}
}

/*
 * The stream is lost or out of step.  If nothing was heard on a connection
 * that was kept from an earlier task, it had just ended: no verdict.
 */
static enum step
lose(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    int error)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_trace_end(s, error);
	s->stale =
	    s->tasks > 1 && !g->heard && error != ETIMEDOUT && error != EINVAL;
	smtp_outcome_error(s, &o, OUTCOME_DEFER, stage, error);
	if (!s->stale)
		settle(g, &o, false);
	return STEP_END;
}

/* Out of step: refusals read so far may belong to something else. */
static enum step
desync(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage)
{
	g->data = false; /* no dot was sent: nobody has the message */
	for (size_t n = 0; n < g->count; n++)
		if (recipient(g, n)->state == RCPT_DECIDED)
			recipient(g, n)->state = RCPT_ASKED;
	return lose(s, g, stage, EPROTO);
}

/* 421: the server is about to close. */
static enum step
shut_out(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    const struct smtp_reply *r)
{
	struct outcome o = {0};

	s->broken = true;
	s->stale = s->tasks > 1 && (stage == STAGE_RSET || stage == STAGE_MAIL);
	smtp_outcome_reply(s, &o, OUTCOME_DEFER, stage, r);
	if (!s->stale)
		settle(g, &o, false);
	return STEP_END;
}

/* ---- Replies to the envelope ---- */

/*
 * Ask (unless the whole group is written already) and hear the answer.  On:
 * there is one, and no goodbye.
 */
static enum step
hear(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    size_t n, struct smtp_reply *r)
{
	int rc = g->written ? smtp_get_reply(s, stage, r)
			    : smtp_exchange(s, stage,
				  smtp_build_command(s, g, stage, n), NULL, r);

	if (rc == -1)
		return lose(s, g, stage, errno);
	g->heard = true;
	return r->code == 421 ? shut_out(s, g, stage, r) : STEP_ON;
}

/* 555, or the same as an enhanced code: once more without (H-40). */
static bool
is_about_params(const struct smtp_reply *r)
{
	return r->code == 555 || strcmp(r->dsn, "5.5.4") == 0;
}

/* Where the server offers DSN its RCPT may have some. */
static bool
may_have_params(const struct smtp_group *g, size_t n)
{
	const struct job_recipient *r = &g->task->job.recipients[g->index[n]];

	return r->notify != 0 || r->orcpt != NULL || r->orig != NULL;
}

static void
refuse_mail(
    struct smtp_session *s, struct smtp_group *g, const struct smtp_reply *r)
{
	struct outcome o = {0};
	enum outcome_class class = smtp_refusal_class(r);
	bool too_large = r->code == 552 || strcmp(r->dsn, "5.3.4") == 0;

	s->need_rset = true;
	if (!s->no_params && g->params && is_about_params(r)) {
		s->no_params = true;
		for (size_t n = 0; n < g->count; n++)
			recipient(g, n)->state = RCPT_WAITING;
		return;
	}
	smtp_outcome_reply(s, &o, class, STAGE_MAIL, r);
	/* Another server may have other limits (H-29, H-39). */
	settle(g, &o, class == OUTCOME_FAIL && !too_large);
}

static enum step
hear_mail(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_MAIL, 0, &r) != STEP_ON)
		return STEP_END;
	if (r.code / 100 == 3)
		return desync(s, g, STAGE_MAIL);
	g->mail_ok = r.code / 100 == 2;
	if (!g->mail_ok)
		refuse_mail(s, g, &r);
	return STEP_ON;
}

/*
 * RFC 5321, 4.5.3.1.10: 452, and 552 from old servers, may mean that; X.5.3
 * does, with any code (RFC 3463, 3.6).
 */
static bool
says_too_many(const struct smtp_reply *r)
{
	if (r->dsn[0] != '\0' && strcmp(r->dsn + 1, ".5.3") == 0)
		return true;
	if (r->code != 452 && r->code != 552)
		return false;
	return r->dsn[0] == '\0' || strcasestr(r->text, "too many") != NULL;
}

static size_t
accepted_count(const struct smtp_group *g)
{
	return smtp_task_count(g->task, RCPT_ACCEPTED);
}

static enum step
hear_recipients(struct smtp_session *s, struct smtp_group *g)
{
	const bool params = s->features.dsn && !s->no_params;
	struct smtp_reply r;
	struct outcome o = {0};

	for (size_t n = 0; n < g->count; n++) {
		if (hear(s, g, STAGE_RCPT, n, &r) != STEP_ON)
			return STEP_END;
		if (!g->mail_ok)
			continue; /* its 503 is about MAIL */
		if (r.code / 100 == 3)
			return desync(s, g, STAGE_RCPT);
		if (r.code / 100 == 2) {
			recipient(g, n)->state = RCPT_ACCEPTED;
		} else if (says_too_many(&r) && accepted_count(g) > 0) {
			/* For the next envelope. */
			recipient(g, n)->state = RCPT_WAITING;
		} else if (params && is_about_params(&r) &&
			   may_have_params(g, n)) {
			s->no_params = true;
			recipient(g, n)->state = RCPT_WAITING;
		} else {
			smtp_outcome_reply(
			    s, &o, smtp_refusal_class(&r), STAGE_RCPT, &r);
			decide(recipient(g, n), &o);
		}
	}
	return STEP_ON;
}

static void
refuse_data(
    struct smtp_session *s, struct smtp_group *g, const struct smtp_reply *r)
{
	enum outcome_class class = smtp_refusal_class(r);
	struct outcome o = {0};

	s->need_rset = true;
	smtp_outcome_reply(s, &o, class, STAGE_DATA, r);
	settle(g, &o, class == OUTCOME_FAIL);
}

/* Bytes beyond the last reply we asked for; a goodbye is not one of ours. */
static bool
is_surplus(struct smtp_session *s)
{
	const struct net *n = &s->net;
	size_t len;

	if (!net_input_pending(&s->net))
		return false;
	len = n->in_len - n->in_pos;
	return len > 0 && (len < 3 || memcmp(n->in + n->in_pos, "421", 3) != 0);
}

static enum step
hear_data(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_DATA, 0, &r) != STEP_ON)
		return STEP_END;
	if (r.code / 100 == 2)
		return desync(s, g, STAGE_DATA);
	g->data = r.code / 100 == 3;
	if (!g->data)
		refuse_data(s, g, &r);
	/* One reply too many, and the others may be those of others (H-30). */
	if (g->written && is_surplus(s))
		return desync(s, g, STAGE_DATA);
	return STEP_ON;
}

/*
 * One by one, a refused MAIL makes RCPT pointless, and no recipient DATA; in
 * a written group the replies come anyway.
 */
static enum step
hear_envelope(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (g->rset && hear(s, g, STAGE_RSET, 0, &r) != STEP_ON)
		return STEP_END;
	if (g->rset && r.code / 100 != 2)
		return desync(s, g, STAGE_RSET);
	if (hear_mail(s, g) != STEP_ON)
		return STEP_END;
	if (!g->mail_ok && !g->written)
		return STEP_ON;
	if (hear_recipients(s, g) != STEP_ON)
		return STEP_END;
	if (accepted_count(g) == 0) {
		s->need_rset = true;
		if (!g->written)
			return STEP_ON;
	}
	return hear_data(s, g);
}

static enum step
send_envelope(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (!s->features.pipelining || g->written)
		return hear_envelope(s, g);
	int early = smtp_spoke_early(s, &r);
	if (early == 1)
		return shut_out(s, g, STAGE_MAIL, &r);
	if (early == -1)
		return lose(s, g, STAGE_MAIL, errno);
	smtp_deadline(s, SMTP_COMMAND_MS);
	if (smtp_group_put(s, g) == -1 ||
	    (net_flush(&s->net) == -1 && errno == ETIMEDOUT))
		return lose(s, g, STAGE_MAIL, errno);
	return hear_envelope(s, g);
}

/* ---- The message ---- */

/* No recipient, and yet 354: an empty message for nobody (H-49). */
static enum step
send_lone_dot(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	s->need_rset = false;
	if (smtp_exchange(s, STAGE_DOT, ".", NULL, &r) == -1)
		return lose(s, g, STAGE_DOT, errno);
	return r.code == 421 ? shut_out(s, g, STAGE_DOT, &r) : STEP_ON;
}

/* The server spoke before the message was through (H-55). */
static enum step
hear_interruption(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	struct outcome o = {0};

	s->broken = true; /* a dot now would be taken for the message's end */
	if (smtp_get_reply(s, STAGE_DATA, &r) == -1)
		return lose(s, g, STAGE_DOT, errno);
	smtp_trace(s, "! ", "stall"); /* half a message is on its way */
	if (r.code == 421)
		return shut_out(s, g, STAGE_DOT, &r);
	if (r.code < 400)
		return lose(s, g, STAGE_DOT, EPROTO);
	smtp_outcome_reply(s, &o, smtp_refusal_class(&r), STAGE_DOT, &r);
	settle(g, &o, true);
	return STEP_END;
}

static enum step
give_up_unreadable(struct smtp_session *s, struct smtp_group *g)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_trace(s, "! ", "stall");
	outcome_set(
	    &o, OUTCOME_DEFER, "4.3.0", "the queued message cannot be read");
	settle(g, &o, true);
	return STEP_END;
}

/*
 * Write the next envelope behind the dot where that is possible: what the
 * server refused for number comes first, else the next task in hand.
 */
static void
put_ahead(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_task *next = NULL;

	if (!s->features.pipelining)
		return;
	if (smtp_task_count(g->task, RCPT_WAITING) > 0)
		next = g->task;
	else if (s->tasks < JOBS_PER_CONNECTION && smtp_usable(s) &&
		 s->cb->next != NULL)
		next = s->cb->next(s->cb->arg);
	/* If it fails so does the flush that follows, or the reply. */
	if (next != NULL && smtp_group_gather(s, &s->ahead, next))
		(void)smtp_group_put(s, &s->ahead);
}

/* The dot was sent, and what it came to is not known. */
static enum step
end_uncertain(struct smtp_session *s, struct smtp_group *g, int error)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_trace_end(s, error);
	smtp_outcome_error(s, &o, OUTCOME_UNCERTAIN, STAGE_DOT, error);
	settle(g, &o, true);
	return STEP_END;
}

/* Sent, but not as it came: the log says so. */
static void
add_note(struct smtp_session *s, struct smtp_group *g, struct outcome *o)
{
	const char *note = smtp_text(s, g->task)->note;

	if (o->class == OUTCOME_SENT && note != NULL) {
		size_t max = sizeof(o->text) - strlen(note) - sizeof(" []");
		size_t len = strnlen(o->text, max);
		(void)snprintf(
		    o->text + len, sizeof(o->text) - len, " [%s]", note);
	}
}

/* A final reply to the dot: one for all, or in LMTP one a recipient. */
static enum step
hear_dot(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	struct outcome o = {0};

	for (size_t n = 0; n < g->count; n++) {
		if (recipient(g, n)->state != RCPT_ACCEPTED)
			continue;
		if (smtp_get_reply(s, STAGE_DOT, &r) == -1)
			return end_uncertain(s, g, errno);
		if (r.code / 100 == 3)
			return end_uncertain(s, g, EPROTO);
		smtp_outcome_reply(s, &o,
		    r.code / 100 == 2 ? OUTCOME_SENT : smtp_refusal_class(&r),
		    STAGE_DOT, &r);
		o.notice = smtp_notice(s);
		add_note(s, g, &o);
		if (smtp_is_lmtp(s) && r.code != 421)
			decide(recipient(g, n), &o);
		else
			settle(g, &o, true);
		smtp_task_report(g->task, s->cb);
		if (r.code == 421) {
			s->broken = true;
			return STEP_END;
		}
	}
	return STEP_ON;
}

static enum step
send_message(struct smtp_session *s, struct smtp_group *g)
{
	switch (smtp_put_body(s, g->task)) {
	case BODY_OK:
		break;
	case BODY_SPOKE:
		return hear_interruption(s, g);
	case BODY_UNREADABLE:
		return give_up_unreadable(s, g);
	case BODY_LOST:
		return lose(s, g, STAGE_DOT, errno);
	}
	if (s->cb->committing != NULL)
		s->cb->committing(s->cb->arg);
	smtp_deadline(s, SMTP_DATA_BLOCK_MS);
	if (net_put(&s->net, ".\r\n", 3) == -1)
		return lose(s, g, STAGE_DOT, errno);
	put_ahead(s, g);
	/* From here on the server may have it all, whatever we are told. */
	if (net_flush(&s->net) == -1 && errno == ETIMEDOUT)
		return end_uncertain(s, g, errno);
	return hear_dot(s, g);
}

/* ---- The whole ---- */

static enum step
transact(struct smtp_session *s, struct smtp_task *t)
{
	struct smtp_group g = s->ahead;

	s->ahead.task = NULL;
	s->started = now_ms();
	if (g.task != t && !smtp_group_gather(s, &g, t))
		return STEP_END;
	if (send_envelope(s, &g) != STEP_ON)
		return STEP_END;
	smtp_task_report(t, s->cb);
	if (!g.data)
		return STEP_ON;
	return accepted_count(&g) > 0 ? send_message(s, &g)
				      : send_lone_dot(s, &g);
}

/* A fresh start at this address for all that is not settled. */
static void
begin(struct smtp_session *s, struct smtp_task *t)
{
	s->tasks++;
	if (s->tasks > 1)
		s->ms_connect = 0;
	smtp_task_start(t, s->hop);
	s->deadline = t->deadline;
	if (s->ahead.task == t)
		return;
	for (size_t i = 0; i < t->job.nrecipients; i++)
		if (t->recipients[i].state != RCPT_SETTLED)
			t->recipients[i].state = RCPT_WAITING;
}

enum smtp_sent
smtp_send(struct smtp_session *s, struct smtp_task *t)
{
	enum step step = STEP_ON;

	begin(s, t);
	while (step == STEP_ON &&
	       (s->ahead.task == t || smtp_task_count(t, RCPT_WAITING) > 0))
		step = transact(s, t);
	smtp_task_report(t, s->cb);
	if (s->broken)
		s->ahead.task = NULL;
	if (!smtp_task_open(t))
		return SMTP_SETTLED;
	if (s->stale)
		return SMTP_RECONNECT;
	t->heard = true;
	return SMTP_NEXT;
}
