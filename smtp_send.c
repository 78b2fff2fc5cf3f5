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

/* How a step of a transaction ended. */
enum step {
	STEP_ON, /* in step: go on */
	STEP_END /* this session can do no more for the task */
};

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

static void
decide(struct smtp_task *t, size_t i, const struct outcome *o)
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
static void
settle_group(struct smtp_group *g, const struct outcome *o, bool final)
{
	size_t n, i;

	for (n = 0; n < g->count; n++) {
		i = g->index[n];
		if (!is_in_play(g, g->task->recipients[i].state))
			continue;
		if (final)
			decide(g->task, i, o);
		else
			leave_to_next(g->task, i, o);
	}
}

static void
stamp(const struct smtp_group *g, struct outcome *o)
{
	o->ms_transfer = (uint32_t)(now_ms() - g->started);
}

static struct outcome
outcome_of_reply(struct smtp_session *s, const struct smtp_group *g,
    enum outcome_class class, enum smtp_stage stage, const struct smtp_reply *r)
{
	struct outcome o = {0};

	smtp_outcome_reply(s, &o, class, stage, r);
	stamp(g, &o);
	return o;
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
	if (s->tasks > 1 && g->heard == 0 && error != ETIMEDOUT &&
	    error != EINVAL) {
		s->stale = true;
		return STEP_END;
	}
	smtp_outcome_error(s, &o, OUTCOME_DEFER, stage, error);
	stamp(g, &o);
	settle_group(g, &o, false);
	return STEP_END;
}

/* Out of step: refusals read so far may belong to something else. */
static enum step
lose_step(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage)
{
	size_t n;

	for (n = 0; n < g->count; n++)
		if (g->task->recipients[g->index[n]].state == RCPT_DECIDED)
			g->task->recipients[g->index[n]].state = RCPT_ASKED;
	return lose(s, g, stage, EPROTO);
}

/* 421: the server is about to close. */
static enum step
shut_out(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    const struct smtp_reply *r)
{
	struct outcome o;

	s->broken = true;
	if (s->tasks > 1 && (stage == STAGE_RSET || stage == STAGE_MAIL)) {
		s->stale = true;
		return STEP_END;
	}
	o = outcome_of_reply(s, g, OUTCOME_DEFER, stage, r);
	settle_group(g, &o, false);
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
static int
put_group(struct smtp_session *s, struct smtp_group *g)
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

static bool
is_too_large(const struct smtp_session *s, const struct job *j)
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

	if (is_too_large(s, &t->job)) {
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
	if (!smtp_line_ok(buf_str(&s->line), SMTP_COMMAND_MAX)) {
		cannot_here(s, t, i, "4.3.0",
		    "the recipient's address may not be sent");
		return false;
	}
	return true;
}

/* Gather the waiting recipients into one envelope; false if there are none. */
static bool
gather(struct smtp_session *s, struct smtp_group *g, struct smtp_task *t)
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

static enum step
hear_rset(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_RSET, 0, &r) == -1)
		return lose(s, g, STAGE_RSET, errno);
	if (r.code == 421)
		return shut_out(s, g, STAGE_RSET, &r);
	return r.code / 100 == 2 ? STEP_ON : lose_step(s, g, STAGE_RSET);
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
	o = outcome_of_reply(s, g, class, STAGE_MAIL, r);
	/* Another server may have other limits (H-29, H-39). */
	settle_group(g, &o, class == OUTCOME_FAIL && !too_large);
}

static enum step
hear_mail(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;

	if (hear(s, g, STAGE_MAIL, 0, &r) == -1)
		return lose(s, g, STAGE_MAIL, errno);
	if (r.code == 421)
		return shut_out(s, g, STAGE_MAIL, &r);
	if (r.code / 100 == 3)
		return lose_step(s, g, STAGE_MAIL);
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
		o = outcome_of_reply(
		    s, g, smtp_refusal_class(r), STAGE_RCPT, r);
		decide(g->task, i, &o);
	}
}

static enum step
hear_recipients(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	size_t n, accepted = 0;

	for (n = 0; n < g->count; n++) {
		if (hear(s, g, STAGE_RCPT, n, &r) == -1)
			return lose(s, g, STAGE_RCPT, errno);
		if (r.code == 421)
			return shut_out(s, g, STAGE_RCPT, &r);
		if (!g->mail_ok)
			continue; /* its 503 is about MAIL */
		if (r.code / 100 == 3)
			return lose_step(s, g, STAGE_RCPT);
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
	struct outcome o = outcome_of_reply(s, g, class, STAGE_DATA, r);

	s->need_rset = true;
	settle_group(g, &o, class == OUTCOME_FAIL);
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

	if (hear(s, g, STAGE_DATA, 0, &r) == -1)
		return lose(s, g, STAGE_DATA, errno);
	if (r.code == 421)
		return shut_out(s, g, STAGE_DATA, &r);
	if (r.code / 100 == 2)
		return lose_step(s, g, STAGE_DATA);
	g->data = r.code / 100 == 3;
	if (!g->data)
		refuse_data(s, g, &r);
	/* One reply too many, and the others may be those of others (H-30). */
	if (g->written && is_surplus(s))
		return lose_step(s, g, STAGE_DATA);
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
static enum step
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

static enum step
send_envelope(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	int rc;

	if (!s->features.pipelining || g->written)
		return hear_envelope(s, g);
	if (smtp_spoke_early(s, &r, &rc)) {
		if (rc == -1)
			return lose(s, g, STAGE_MAIL, errno);
		g->heard = 1;
		return shut_out(s, g, STAGE_MAIL, &r);
	}
	smtp_deadline(s, SMTP_COMMAND_MS);
	if (put_group(s, g) == -1 ||
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
	buf_reset(&s->line);
	if (buf_putc(&s->line, '.') == -1 ||
	    smtp_exchange(s, STAGE_DOT, &r, NULL) == -1)
		return lose(s, g, STAGE_DOT, errno);
	if (r.code == 421)
		return shut_out(s, g, STAGE_DOT, &r);
	return STEP_ON;
}

/* The server spoke before the message was through (H-55). */
static enum step
hear_interruption(struct smtp_session *s, struct smtp_group *g)
{
	struct smtp_reply r;
	struct outcome o;
	enum outcome_class class;

	s->broken = true; /* a dot now would be taken for the message's end */
	if (smtp_get_reply(s, STAGE_DATA, &r, NULL) == -1)
		return lose(s, g, STAGE_DOT, errno);
	if (r.code == 421)
		return shut_out(s, g, STAGE_DOT, &r);
	if (r.code < 400)
		return lose(s, g, STAGE_DOT, EPROTO);
	class = smtp_refusal_class(&r);
	o = outcome_of_reply(s, g, class, STAGE_DOT, &r);
	settle_group(g, &o, true);
	return STEP_END;
}

static enum step
give_up_unreadable(struct smtp_session *s, struct smtp_group *g)
{
	struct outcome o = {0};

	s->broken = true;
	outcome_set(
	    &o, OUTCOME_DEFER, "4.3.0", "the queued message cannot be read");
	settle_group(g, &o, true);
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
	if (next == NULL || is_too_large(s, &next->job))
		return;
	if (!gather(s, &s->ahead, next)) {
		s->ahead.task = NULL;
		return;
	}
	/* If it fails so does the flush that follows, or the reply. */
	(void)put_group(s, &s->ahead);
}

static void
report_uncertain(struct smtp_session *s, struct smtp_group *g, int error)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_outcome_error(s, &o, OUTCOME_UNCERTAIN, STAGE_DOT, error);
	stamp(g, &o);
	settle_group(g, &o, true);
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
static enum step
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
		o = outcome_of_reply(s, g, class, STAGE_DOT, &r);
		if (smtp_is_lmtp(s) && r.code != 421)
			decide(g->task, g->index[n], &o);
		else
			settle_group(g, &o, true);
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
	switch (smtp_put_body(s, &g->task->job)) {
	case BODY_OK:
		break;
	case BODY_SPOKE:
		return hear_interruption(s, g);
	case BODY_UNREADABLE:
		return give_up_unreadable(s, g);
	case BODY_LOST:
		return lose(s, g, STAGE_DOT, errno);
	}
	smtp_deadline(s, SMTP_DATA_BLOCK_MS);
	if (smtp_put_line(s, ".", 1, NULL) == -1)
		return lose(s, g, STAGE_DOT, errno);
	put_ahead(s, g);
	/* From here on the server may have it all, whatever we are told. */
	if (net_flush(&s->net) == -1 && errno == ETIMEDOUT) {
		report_uncertain(s, g, errno);
		return STEP_END;
	}
	return hear_dot(s, g);
}

/* ---- The whole ---- */

static enum step
transact(struct smtp_session *s, struct smtp_task *t)
{
	struct smtp_group g = s->ahead;

	s->ahead.task = NULL;
	if (g.task != t && !gather(s, &g, t))
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
