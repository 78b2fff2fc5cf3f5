/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_io.c - commands out, replies in, and what they mean as outcomes.
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its job's hop. Distrusts: every byte net_getline() returns, and
 *            what the rest of us wants to write.
 * Promises:  no control byte leaves in a command; a reply is whole or none.
 */
#include "smtp_session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth.h"
#include "util.h"

/* Leaves room in an outcome's text for who said it, and to what. */
#define QUOTED_REPLY_MAX 640

static const struct {
	const char *name; /* as logs have it: "in reply to ..." */
	int64_t ms;
} stages[] = {
    [STAGE_GREETING] = {"connection", SMTP_GREETING_MS},
    [STAGE_EHLO] = {"EHLO command", SMTP_COMMAND_MS},
    [STAGE_STARTTLS] = {"STARTTLS command", SMTP_COMMAND_MS},
    [STAGE_AUTH] = {"AUTH command", SMTP_COMMAND_MS},
    [STAGE_RSET] = {"RSET command", SMTP_COMMAND_MS},
    [STAGE_MAIL] = {"MAIL FROM command", SMTP_COMMAND_MS},
    [STAGE_RCPT] = {"RCPT TO command", SMTP_COMMAND_MS},
    [STAGE_DATA] = {"DATA command", SMTP_DATA_INIT_MS},
    [STAGE_DOT] = {"end of DATA command", SMTP_DATA_END_MS},
    [STAGE_QUIT] = {"QUIT command", SMTP_QUIT_MS},
};

bool
smtp_is_lmtp(const struct smtp_session *s)
{
	return s->hop->protocol == PROTOCOL_LMTP;
}

void
smtp_deadline(struct smtp_session *s, int64_t ms)
{
	int64_t left = s->deadline - now_ms();

	ms = smtp_scaled(s->hop, ms);
	if (ms > left)
		ms = left;
	net_deadline(&s->net, ms > 0 ? ms : 0);
}

bool
smtp_line_ok(const char *line, size_t max)
{
	for (size_t i = 0; line[i] != '\0'; i++) {
		unsigned char c = (unsigned char)line[i];
		if (c < 0x20 || c == 0x7f || i >= max)
			return false;
	}
	return true;
}

int
smtp_put_line(
    struct smtp_session *s, const char *line, size_t max, const char *shown)
{
	if (!smtp_line_ok(line, max)) {
		errno = EINVAL;
		return -1;
	}
	smtp_trace(s, "C: ", shown != NULL ? shown : line);
	if (net_put(&s->net, line, strlen(line)) == -1)
		return -1;
	return net_put(&s->net, "\r\n", 2);
}

void
smtp_hide_secret(const struct smtp_session *s, char *text, size_t len)
{
	const struct auth a = {
	    .user = s->hop->user, .password = s->hop->password};

	if (s->secret_said)
		auth_hide(&a, text, len);
}

static int
get_reply_line(
    struct smtp_session *s, size_t max, struct smtp_reply *r, bool *more)
{
	char *line;
	size_t len;

	if (net_getline(&s->net, max, &line, &len) == -1)
		return -1;
	/* What has no code is no reply, but shown by -v all the same. */
	if (len > 4 && strspn(line, "0123456789") == 3 &&
	    (line[3] == ' ' || line[3] == '-'))
		smtp_hide_secret(s, line + 4, len - 4);
	else
		smtp_hide_secret(s, line, len);
	smtp_trace_reply(s, line, len);
	if (smtp_parse_reply_line(r, line, len, more) == -1)
		return -1;
	/* What stood behind a NUL may not vanish unseen. */
	for (char *nul; (nul = memchr(line, '\0', len)) != NULL;)
		*nul = '?';
	return buf_put(&s->said, len > 4 ? line + 4 : "",
	    len > 4 ? len - 3 : 1); /* with its NUL */
}

int
smtp_get_reply(
    struct smtp_session *s, enum smtp_stage stage, struct smtp_reply *reply)
{
	struct smtp_reply r = {0};
	size_t max = stage == STAGE_AUTH ? SASL_LINE_MAX : SMTP_LINE_MAX;
	bool more = true;

	smtp_deadline(s, stages[stage].ms);
	buf_reset(&s->said);
	for (unsigned lines = 0; more; lines++) {
		if (lines == SMTP_LINES_MAX) {
			errno = EMSGSIZE;
			return -1;
		}
		if (get_reply_line(s, max, &r, &more) == -1)
			return -1;
	}
	*reply = r;
	return 0;
}

int
smtp_spoke_early(struct smtp_session *s, struct smtp_reply *reply)
{
	if (!net_input_pending(&s->net))
		return 0;
	if (smtp_get_reply(s, STAGE_QUIT, reply) == -1)
		return -1;
	if (reply->code == 421)
		return 1;
	errno = EPROTO;
	return -1;
}

int
smtp_exchange(struct smtp_session *s, enum smtp_stage stage, const char *line,
    const char *shown, struct smtp_reply *reply)
{
	size_t max = stage == STAGE_AUTH ? SASL_LINE_MAX : SMTP_COMMAND_MAX;
	int early = smtp_spoke_early(s, reply);

	if (early != 0)
		return early == 1 ? 0 : -1;
	smtp_deadline(s, stages[stage].ms);
	if (smtp_put_line(s, line, max, shown) == -1)
		return -1;
	/* A server that closes says why first: read it all the same. */
	if (net_flush(&s->net) == -1 && errno == ETIMEDOUT)
		return -1;
	return smtp_get_reply(s, stage, reply);
}

/* ---- Outcomes ---- */

/* These speak of our configuration, not of the mail. */
static bool
is_about_us(int code)
{
	return code == 530 || code == 534 || code == 535 || code == 538;
}

/* Subject and detail of RFC 3463 for a code that came without. */
static const char *
dsn_for_code(enum smtp_stage stage, int code)
{
	static const struct {
		enum smtp_stage stage;
		int code;
		const char *dsn;
	} table[] = {
	    {STAGE_RCPT, 450, "2.0"},
	    {STAGE_RCPT, 452, "3.1"},
	    {STAGE_RCPT, 550, "1.1"},
	    {STAGE_RCPT, 551, "1.6"},
	    {STAGE_RCPT, 552, "2.2"},
	    {STAGE_RCPT, 553, "1.3"},
	    {STAGE_RCPT, 556, "1.10"},
	    {STAGE_MAIL, 452, "3.1"},
	    {STAGE_MAIL, 552, "3.4"},
	    {STAGE_MAIL, 553, "1.7"},
	    {STAGE_DOT, 452, "3.1"},
	    {STAGE_DOT, 552, "3.4"},
	};

	if (is_about_us(code))
		return "7.0";
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].stage == stage && table[i].code == code)
			return table[i].dsn;
	return "0.0";
}

static void
set_place(const struct smtp_session *s, struct outcome *o)
{
	compat_strlcpy(o->relay, s->relay, sizeof(o->relay));
	o->ms_connect = s->ms_connect;
	o->ms_transfer =
	    s->started == 0 ? 0 : (uint32_t)(now_ms() - s->started);
}

void
smtp_outcome_text(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, const char *dsn, const char *text)
{
	outcome_set(o, class, dsn, "host %s[%s]: %s", s->target.name,
	    s->target.address, text);
	set_place(s, o);
}

void
smtp_outcome_reply(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage,
    const struct smtp_reply *reply)
{
	static const char digits[] = {
	    [OUTCOME_DEFER] = '4', [OUTCOME_SENT] = '2', [OUTCOME_FAIL] = '5'};
	char dsn[16];

	(void)snprintf(dsn, sizeof(dsn), "%c.%s", digits[class],
	    reply->dsn[0] != '\0' ? reply->dsn + 2
				  : dsn_for_code(stage, reply->code));
	if (class == OUTCOME_SENT)
		outcome_set(o, class, dsn, "%s", reply->text);
	else
		outcome_set(o, class, dsn,
		    "host %s[%s] said: %.*s (in reply to %s)", s->target.name,
		    s->target.address, QUOTED_REPLY_MAX, reply->text,
		    stages[stage].name);
	set_place(s, o);
}

/* What went wrong, in words, and its code of RFC 3463 less the class. */
static const char *
error_words(int error, const char **dsn)
{
	*dsn = "4.4.2";
	switch (error) {
	case ETIMEDOUT:
		return "no answer in time";
	case EPROTO:
	case EMSGSIZE:
		*dsn = "4.5.0";
		return "something that is no SMTP reply in its place";
	case EINVAL:
		*dsn = "4.3.0";
		return "a command that may not be sent";
	case EIO:
		*dsn = "4.7.5";
		return "TLS error";
	default:
		return "lost connection";
	}
}

/* A server that says nothing, where TLS begins at once: the usual mistake. */
static const char *
advice(const struct smtp_session *s, enum smtp_stage stage)
{
	return stage == STAGE_GREETING && s->hop->tls != TLS_IMPLICIT &&
		       s->hop->port == 465
		   ? "; on port 465 TLS is from the start: write smtps://"
		   : "";
}

void
smtp_outcome_error(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage, int error)
{
	const char *dsn, *words = error_words(error, &dsn);

	if (error == EIO && s->net.error[0] != '\0')
		words = s->net.error;
	outcome_set(o, class, dsn, "host %s[%s]: %s (%s %s)%s%s",
	    s->target.name, s->target.address, words,
	    error == EINVAL           ? "as"
	    : stage == STAGE_GREETING ? "waiting after"
				      : "waiting for the reply to",
	    stages[stage].name,
	    class == OUTCOME_UNCERTAIN ? "; the message may have arrived" : "",
	    advice(s, stage));
	set_place(s, o);
}

enum outcome_class
smtp_refusal_class(const struct smtp_reply *reply)
{
	/* 503 is about the order of commands, or an AUTH that is wanted. */
	return reply->code < 500 || reply->code == 503 ||
		       is_about_us(reply->code)
		   ? OUTCOME_DEFER
		   : OUTCOME_FAIL;
}
