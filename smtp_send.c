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
#include <string.h>

#include "smtp_session.h"
#include "util.h"

/* ---- Replies to the envelope ---- */

/* Ask (unless the whole group is written already) and hear the answer. */
static int
hear(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    size_t n, struct smtp_reply *r)
{
	int rc;

	if (g->written) {
		rc = smtp_get_reply(s, stage, r, NULL);
	} else {
		smtp_build_command(s, g, stage, n);
		rc = smtp_exchange(s, stage, r, NULL);
	}
	if (rc == 0)
		g->heard++;
	return rc;
}

static enum smtp_step
hear_rset(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_RSET, 0, &r) == -1)
		return smtp_group_lose(s, g, STAGE_RSET, errno);
	if (r.code == 421)
		return smtp_group_shut_out(s, g, STAGE_RSET, &r);
	return r.code / 100 == 2 ? STEP_ON
				 : smtp_group_desync(s, g, STAGE_RSET);
}

/* 555, or the same as an enhanced code: without parameters then (H-40). */
static bool
dislikes_params(const struct smtp_group *g, const struct smtp_reply *r)
{
	return g->params && (r->code == 555 || strcmp(r->dsn, "5.5.4") == 0);
}

static void
refuse_mail(
    struct smtp_session *s, struct smtp_group *g, const struct smtp_reply *r)
{
	struct outcome o;
	size_t n;
	enum outcome_class class = smtp_refusal_class(r);
	bool too_large = r->code == 552 || strcmp(r->dsn, "5.3.4") == 0;

	s->need_rset = true;
	if (!s->no_params && dislikes_params(g, r)) {
		s->no_params = true;
		for (n = 0; n < g->count; n++)
			g->task->recipients[g->index[n]].state = RCPT_WAITING;
		return;
	}
	o = smtp_group_outcome(s, g, class, STAGE_MAIL, r);
	/* Another server may have other limits (H-29, H-39). */
	smtp_group_settle(g, &o, class == OUTCOME_FAIL && !too_large);
}

static enum smtp_step
hear_mail(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_MAIL, 0, &r) == -1)
		return smtp_group_lose(s, g, STAGE_MAIL, errno);
	if (r.code == 421)
		return smtp_group_shut_out(s, g, STAGE_MAIL, &r);
	if (r.code / 100 == 3)
		return smtp_group_desync(s, g, STAGE_MAIL);
	g->mail_ok = r.code / 100 == 2;
	if (!g->mail_ok)
		refuse_mail(s, g, &r);
	return STEP_ON;
}

static bool
contains(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (; *text != '\0'; text++)
		if (ascii_strncasecmp(text, word, len) == 0)
			return true;
	return false;
}

/* RFC 5321, 4.5.3.1.10: 452, and 552 from old servers, may mean that. */
static bool
says_too_many(const struct smtp_reply *r)
{
	if (r->code != 452 && r->code != 552)
		return false;
	return r->dsn[0] == '\0' || strcmp(r->dsn + 1, ".5.3") == 0 ||
	       contains(r->text, "too many");
}

static void
judge_recipient(struct smtp_session *s, struct smtp_group *g, size_t i,
    const struct smtp_reply *r, size_t *accepted)
{
	struct smtp_recipient *recipient = &g->task->recipients[i];
	struct outcome o;

	if (r->code / 100 == 2) {
		recipient->state = RCPT_ACCEPTED;
		++*accepted;
	} else if (says_too_many(r) && *accepted > 0) {
		recipient->state = RCPT_WAITING; /* for the next envelope */
	} else {
		o = smtp_group_outcome(
		    s, g, smtp_refusal_class(r), STAGE_RCPT, r);
		smtp_task_decide(g->task, i, &o);
	}
}

static enum smtp_step
hear_recipients(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	size_t n, accepted = 0;

	for (n = 0; n < g->count; n++) {
		if (hear(s, g, STAGE_RCPT, n, &r) == -1)
			return smtp_group_lose(s, g, STAGE_RCPT, errno);
		if (r.code == 421)
			return smtp_group_shut_out(s, g, STAGE_RCPT, &r);
		if (!g->mail_ok)
			continue; /* its 503 is about MAIL */
		if (r.code / 100 == 3)
			return smtp_group_desync(s, g, STAGE_RCPT);
		judge_recipient(s, g, g->index[n], &r, &accepted);
	}
	return STEP_ON;
}

static void
refuse_data(
    struct smtp_session *s, struct smtp_group *g, const struct smtp_reply *r)
{
	/* 503 is about the order of commands: nobody's mail is at fault. */
	enum outcome_class class =
	    r->code == 503 ? OUTCOME_DEFER : smtp_refusal_class(r);
	struct outcome o = smtp_group_outcome(s, g, class, STAGE_DATA, r);

	s->need_rset = true;
	smtp_group_settle(g, &o, class == OUTCOME_FAIL);
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

static enum smtp_step
hear_data(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_DATA, 0, &r) == -1)
		return smtp_group_lose(s, g, STAGE_DATA, errno);
	if (r.code == 421)
		return smtp_group_shut_out(s, g, STAGE_DATA, &r);
	if (r.code / 100 == 2)
		return smtp_group_desync(s, g, STAGE_DATA);
	g->data = r.code / 100 == 3;
	if (!g->data)
		refuse_data(s, g, &r);
	/* One reply too many, and the others may be those of others (H-30). */
	if (g->written && is_surplus(s))
		return smtp_group_desync(s, g, STAGE_DATA);
	return STEP_ON;
}

/* How many of the group wait for the message. */
static size_t
accepted_count(const struct smtp_group *g)
{
	return smtp_task_count(g->task, RCPT_ACCEPTED);
}

/*
 * One by one, a refused MAIL makes RCPT pointless, and no recipient DATA; in
 * a written group the replies come anyway.
 */
static enum smtp_step
hear_envelope(struct smtp_session *s, struct smtp_group *g)
{
	if (g->rset && hear_rset(s, g) != STEP_ON)
		return STEP_END;
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

static enum smtp_step
send_envelope(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	int rc;

	if (!s->features.pipelining || g->written)
		return hear_envelope(s, g);
	if (smtp_spoke_early(s, &r, &rc)) {
		if (rc == -1)
			return smtp_group_lose(s, g, STAGE_MAIL, errno);
		g->heard = 1;
		return smtp_group_shut_out(s, g, STAGE_MAIL, &r);
	}
	smtp_deadline(s, SMTP_COMMAND_MS);
	if (smtp_group_put(s, g) == -1 ||
	    (net_flush(&s->net) == -1 && errno == ETIMEDOUT))
		return smtp_group_lose(s, g, STAGE_MAIL, errno);
	return hear_envelope(s, g);
}

/* ---- The message ---- */

/* No recipient, and yet 354: an empty message for nobody (H-49). */
static enum smtp_step
send_lone_dot(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	s->need_rset = false;
	buf_reset(&s->line);
	if (buf_putc(&s->line, '.') == -1 ||
	    smtp_exchange(s, STAGE_DOT, &r, NULL) == -1)
		return smtp_group_lose(s, g, STAGE_DOT, errno);
	if (r.code == 421)
		return smtp_group_shut_out(s, g, STAGE_DOT, &r);
	return STEP_ON;
}

/* The server spoke before the message was through (H-55). */
static enum smtp_step
hear_interruption(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	struct outcome o;
	enum outcome_class class;

	s->broken = true; /* a dot now would be taken for the message's end */
	if (smtp_get_reply(s, STAGE_DATA, &r, NULL) == -1)
		return smtp_group_lose(s, g, STAGE_DOT, errno);
	if (r.code == 421)
		return smtp_group_shut_out(s, g, STAGE_DOT, &r);
	if (r.code < 400)
		return smtp_group_lose(s, g, STAGE_DOT, EPROTO);
	class = smtp_refusal_class(&r);
	o = smtp_group_outcome(s, g, class, STAGE_DOT, &r);
	smtp_group_settle(g, &o, true);
	return STEP_END;
}

static enum smtp_step
give_up_unreadable(struct smtp_session *s, struct smtp_group *g)
{
	struct outcome o = {0};

	s->broken = true;
	outcome_set(
	    &o, OUTCOME_DEFER, "4.3.0", "the queued message cannot be read");
	smtp_group_settle(g, &o, true);
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
	if (next == NULL || smtp_is_too_large(s, &next->job))
		return;
	if (!smtp_group_gather(s, &s->ahead, next)) {
		s->ahead.task = NULL;
		return;
	}
	/* If it fails so does the flush that follows, or the reply. */
	(void)smtp_group_put(s, &s->ahead);
}

static void
report_uncertain(struct smtp_session *s, struct smtp_group *g, int error)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_outcome_error(s, &o, OUTCOME_UNCERTAIN, STAGE_DOT, error);
	smtp_group_stamp(g, &o);
	smtp_group_settle(g, &o, true);
}

/* The next accepted recipient from n on, or g->count. */
static size_t
next_accepted(const struct smtp_group *g, size_t n)
{
	while (n < g->count &&
	       g->task->recipients[g->index[n]].state != RCPT_ACCEPTED)
		n++;
	return n;
}

/* A final reply to the dot: one for all, or in LMTP one a recipient. */
static enum smtp_step
hear_dot(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	struct outcome o;
	enum outcome_class class;
	size_t n;

	for (n = next_accepted(g, 0); n < g->count; n = next_accepted(g, n)) {
		if (smtp_get_reply(s, STAGE_DOT, &r, NULL) == -1) {
			report_uncertain(s, g, errno);
			return STEP_END;
		}
		if (r.code / 100 == 3) {
			report_uncertain(s, g, EPROTO);
			return STEP_END;
		}
		class =
		    r.code / 100 == 2 ? OUTCOME_SENT : smtp_refusal_class(&r);
		o = smtp_group_outcome(s, g, class, STAGE_DOT, &r);
		if (smtp_is_lmtp(s) && r.code != 421)
			smtp_task_decide(g->task, g->index[n], &o);
		else
			smtp_group_settle(g, &o, true);
		smtp_task_report(g->task, s->cb);
		if (r.code == 421) {
			s->broken = true;
			return STEP_END;
		}
	}
	return STEP_ON;
}

static enum smtp_step
send_message(struct smtp_session *s, struct smtp_group *g)
{
	switch (smtp_put_body(s, &g->task->job)) {
	case BODY_OK:
		break;
	case BODY_SPOKE:
		return hear_interruption(s, g);
	case BODY_UNREADABLE:
		return give_up_unreadable(s, g);
	case BODY_LOST:
		return smtp_group_lose(s, g, STAGE_DOT, errno);
	}
	smtp_deadline(s, SMTP_DATA_BLOCK_MS);
	/* Not traced: "[message]" of a transcript includes the final dot. */
	if (net_put(&s->net, ".\r\n", 3) == -1)
		return smtp_group_lose(s, g, STAGE_DOT, errno);
	put_ahead(s, g);
	/* From here on the server may have it all, whatever we are told. */
	if (net_flush(&s->net) == -1 && errno == ETIMEDOUT) {
		report_uncertain(s, g, errno);
		return STEP_END;
	}
	return hear_dot(s, g);
}

/* ---- The whole ---- */

static enum smtp_step
transact(struct smtp_session *s, struct smtp_task *t)
{
	struct smtp_group g = s->ahead;

	s->ahead.task = NULL;
	if (g.task != t && !smtp_group_gather(s, &g, t))
		return STEP_END;
	if (send_envelope(s, &g) != STEP_ON)
		return STEP_END;
	smtp_task_report(t, s->cb);
	if (!g.data)
		return STEP_ON;
	if (accepted_count(&g) == 0)
		return send_lone_dot(s, &g);
	return send_message(s, &g);
}

/* A fresh start at this address for all that is not settled. */
static void
begin(struct smtp_session *s, struct smtp_task *t)
{
	size_t i;

	s->tasks++;
	if (s->tasks > 1)
		s->ms_connect = 0;
	smtp_task_start(t, s->hop);
	s->deadline = t->deadline;
	if (s->ahead.task == t)
		return;
	for (i = 0; i < t->job.nrecipients; i++)
		if (t->recipients[i].state != RCPT_SETTLED)
			t->recipients[i].state = RCPT_WAITING;
}

enum smtp_sent
smtp_send(struct smtp_session *s, struct smtp_task *t)
{
	enum smtp_step step = STEP_ON;

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
