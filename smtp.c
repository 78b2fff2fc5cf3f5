/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp.c - a session's beginning and end: greeting, EHLO, STARTTLS, AUTH, QUIT
 *          (RFC 5321, 3207, 4954, 2033).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its hop. Distrusts: everything the server says.
 * Promises:  a credential is said only inside TLS (or where the hop says
 *            that it need not be), and mail that needs one never goes without;
 *            nothing learned before TLS is remembered after it.
 */
#include "smtp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "smtp_session.h"
#include "util.h"

/* RFC 5321, 4.5.3.1.5 asks for 512 a line; this bounds their sum. */
#define REPLY_BYTES_MAX (32 * SMTP_LINE_MAX)

/* How far opening came. */
enum opened {
	OPEN_OK,
	OPEN_FAILED,   /* s->failure says why */
	OPEN_PLAINTEXT /* TLS went wrong and may be done without: afresh */
};

/* ---- Why it failed: whatever it was, all of it is a deferral ---- */

static enum opened
fail_text(struct smtp_session *s, enum hop_failure kind, const char *dsn,
    const char *text)
{
	s->failure.kind = kind;
	smtp_outcome_text(s, &s->failure.outcome, OUTCOME_DEFER, dsn, text);
	return OPEN_FAILED;
}

static enum opened
fail_reply(struct smtp_session *s, enum hop_failure kind, enum smtp_stage stage,
    const struct smtp_reply *reply)
{
	if (reply->code == 421)
		s->broken = true; /* it closes: no QUIT */
	s->failure.kind = reply->code == 421 ? HOP_BUSY : kind;
	smtp_outcome_reply(s, &s->failure.outcome, OUTCOME_DEFER, stage, reply);
	return OPEN_FAILED;
}

static enum opened
fail_error(struct smtp_session *s, enum smtp_stage stage, int error)
{
	s->broken = true;
	smtp_trace_end(s, error);
	s->failure.kind = HOP_UNREACHABLE;
	smtp_outcome_error(s, &s->failure.outcome, OUTCOME_DEFER, stage, error);
	return OPEN_FAILED;
}

/* ---- What the hop's policy asks for ---- */

/* A credential may be said in plaintext only where INSECURE allows it. */
static bool
needs_tls(const struct hop *hop)
{
	return hop->tls == TLS_STARTTLS || hop->tls == TLS_IMPLICIT ||
	       (hop->auth && !hop->insecure);
}

/*
 * STARTTLS was offered and came to nothing.  Plaintext is for mail that
 * needs no credential; a certificate that was asked for and failed is no
 * reason to send in the clear.
 */
static bool
may_do_without_tls(const struct hop *hop)
{
	return hop->tls == TLS_MAY && !hop->auth;
}

/* ---- Steps ---- */

static const char *
tls_order(const struct smtp_session *s)
{
	return s->hop->tls == TLS_IMPLICIT ? "tls" : "starttls";
}

/* Milliseconds for a step, of those that are left. */
static int64_t
time_for(const struct smtp_session *s, int64_t ms)
{
	int64_t left = s->deadline - now_ms();

	ms = smtp_scaled(s->hop, ms);
	return left < ms ? left : ms;
}

/* The handshake failed: because of what came instead, or in its course? */
static void
trace_failed_tls(struct smtp_session *s, int error)
{
	if (error == EIO && s->net.in_len == 0)
		smtp_trace(s, "! ", tls_order(s));
	else
		smtp_trace_end(s, error == EIO ? ETIMEDOUT : error);
}

static enum opened
fail_tls(struct smtp_session *s, int error)
{
	const struct hop *hop = s->hop;
	const char *words = s->net.error;
	char line[CRYPTO_ERROR_MAX + 16];

	s->broken = true;
	(void)snprintf(line, sizeof(line), "%s%s",
	    strncmp(words, "TLS", 3) == 0 ? "" : "TLS: ", words);
	trace_failed_tls(s, error);
	smtp_trace(s, "# ", line);
	/* Early plaintext is an attack, not a server without TLS (V-39). */
	if (error != EPROTO && may_do_without_tls(hop) && !hop->verify &&
	    !hop->has_fingerprint)
		return OPEN_PLAINTEXT;
	return fail_text(s, error == ETIMEDOUT ? HOP_UNREACHABLE : HOP_REFUSED,
	    "4.7.5", line);
}

static enum opened
start_tls(struct smtp_session *s)
{
	const struct hop *hop = s->hop;
	struct crypto_policy policy = {
	    .host = s->target.name,
	    .verify = hop->verify,
	    .has_fingerprint = hop->has_fingerprint,
	    .cert = hop->cert,
	    .cert_len = hop->cert_len,
	};

	memcpy(
	    policy.fingerprint, hop->fingerprint, sizeof(policy.fingerprint));
	if (net_start_tls(&s->net, &policy, time_for(s, SMTP_TLS_MS)) == -1)
		return fail_tls(s, errno);
	smtp_trace(s, "! ", tls_order(s));
	smtp_trace(s, "# ", crypto_describe(s->net.tls));
	return OPEN_OK;
}

static enum opened
greeting(struct smtp_session *s)
{
	struct smtp_reply r;

	if (smtp_get_reply(s, STAGE_GREETING, &r) == -1)
		return fail_error(s, STAGE_GREETING, errno);
	if (r.code / 100 >= 4)
		return fail_reply(s, HOP_UNREACHABLE, STAGE_GREETING, &r);
	if (r.code != 220)
		return fail_error(s, STAGE_GREETING, EPROTO);
	return OPEN_OK;
}

static void
tell_greeted(const struct smtp_session *s)
{
	if (s->cb->greeted != NULL)
		s->cb->greeted(s->cb->arg);
}

static int
say_hello(struct smtp_session *s, const char *verb, struct smtp_reply *r)
{
	buf_reset(&s->line);
	if (buf_printf(&s->line, "%s %s", verb, s->hop->helo) == -1)
		return -1;
	return smtp_exchange(s, STAGE_EHLO, buf_str(&s->line), NULL, r);
}

/* The first line is the server's name and its compliments. */
static void
learn_features(struct smtp_session *s)
{
	const char *text = buf_str(&s->said), *end = text + s->said.len;

	while ((text += strlen(text) + 1) < end)
		smtp_parse_feature(&s->features, text);
}

/* EHLO; HELO only where nothing that EHLO would offer is needed (H-20). */
static enum opened
hello(struct smtp_session *s)
{
	bool lmtp = smtp_is_lmtp(s);
	struct smtp_reply r;

	memset(&s->features, 0, sizeof(s->features));
	if (say_hello(s, lmtp ? "LHLO" : "EHLO", &r) == -1)
		return fail_error(s, STAGE_EHLO, errno);
	if (r.code / 100 == 2)
		learn_features(s);
	if (r.code / 100 == 5 && !lmtp && s->net.tls == NULL &&
	    !needs_tls(s->hop) && !s->hop->auth &&
	    say_hello(s, "HELO", &r) == -1)
		return fail_error(s, STAGE_EHLO, errno);
	if (r.code / 100 == 3)
		return fail_error(s, STAGE_EHLO, EPROTO);
	if (r.code / 100 != 2)
		return fail_reply(s, HOP_UNREACHABLE, STAGE_EHLO, &r);
	return OPEN_OK;
}

/* STARTTLS as the hop wants it, then EHLO afresh (RFC 3207, 4.2). */
static enum opened
upgrade(struct smtp_session *s)
{
	const struct hop *hop = s->hop;
	struct smtp_reply r;
	enum opened result;

	if (!s->features.starttls && needs_tls(hop))
		return fail_text(s, HOP_REFUSED, "4.7.4",
		    "TLS is required, but was not offered");
	if (!s->features.starttls)
		return OPEN_OK;
	if (smtp_exchange(s, STAGE_STARTTLS, "STARTTLS", NULL, &r) == -1)
		return fail_error(s, STAGE_STARTTLS, errno);
	if (r.code == 421 || (r.code / 100 >= 4 && !may_do_without_tls(hop)))
		return fail_reply(s, HOP_REFUSED, STAGE_STARTTLS, &r);
	if (r.code / 100 >= 4)
		return OPEN_OK;
	if (r.code != 220)
		return fail_error(s, STAGE_STARTTLS, EPROTO);
	result = start_tls(s);
	return result == OPEN_OK ? hello(s) : result;
}

/* ---- AUTH ---- */

/* Send s->line, a secret, and forget it. */
static int
say_secret(struct smtp_session *s, const char *shown, struct smtp_reply *r)
{
	int rc = smtp_exchange(s, STAGE_AUTH, buf_str(&s->line), shown, r);

	compat_explicit_bzero(s->line.data, s->line.len);
	buf_reset(&s->line);
	return rc;
}

/* "*" ends an exchange that we will not go on with (RFC 4954, 4). */
static enum opened
cancel_auth(struct smtp_session *s)
{
	struct smtp_reply r;

	if (smtp_exchange(s, STAGE_AUTH, "*", NULL, &r) == -1)
		smtp_trace_end(s, errno);
	s->broken = true;
	return fail_text(
	    s, HOP_AUTH, "4.7.0", "an AUTH challenge that makes no sense");
}

/* Answer challenges until the server has decided; its reply in *r. */
static enum opened
converse(struct smtp_session *s, struct auth *a, struct smtp_reply *r)
{
	char shown[32];

	(void)snprintf(shown, sizeof(shown), "AUTH %s%s",
	    auth_name(a->mechanism), a->done ? " *" : "");
	/* Not before: in base64 a prompt may look like the password. */
	s->secret_said |= a->done;
	if (say_secret(s, shown, r) == -1)
		return fail_error(s, STAGE_AUTH, errno);
	while (r->code == 334) {
		if (auth_answer(a, buf_str(&s->said), &s->line) == -1)
			return cancel_auth(s);
		s->secret_said |= a->done;
		if (say_secret(s, "*", r) == -1)
			return fail_error(s, STAGE_AUTH, errno);
	}
	return OPEN_OK;
}

/* True if the reply speaks of the mechanism, not of the credential. */
static bool
is_unsupported(const struct auth *a, const struct smtp_reply *r)
{
	bool secret_judged = a->mechanism != AUTH_PLAIN && a->done;

	return r->code == 504 || (r->code == 501 && !secret_judged);
}

/* One mechanism; *refused: it failed, but another may be tried. */
static enum opened
try_mechanism(struct smtp_session *s, unsigned mechanism, bool *refused)
{
	struct auth a = {.mechanism = mechanism,
	    .user = s->hop->user,
	    .password = s->hop->password};
	struct smtp_reply r;

	*refused = false;
	if (auth_start(&a, &s->line) == -1)
		return fail_text(
		    s, HOP_AUTH, "4.7.0", "the credential is too long");
	if (converse(s, &a, &r) != OPEN_OK)
		return OPEN_FAILED;
	/* 235 to words that were not said yet means nothing (H-78). */
	if (r.code / 100 < 4)
		return r.code == 235 && a.done
			   ? OPEN_OK
			   : fail_error(s, STAGE_AUTH, EPROTO);
	*refused = is_unsupported(&a, &r);
	/* A refused password is refused everywhere: no lock-out by trying. */
	s->failure.stop = r.code >= 500 && !*refused;
	return fail_reply(s, HOP_AUTH, STAGE_AUTH, &r);
}

static enum opened
authenticate(struct smtp_session *s)
{
	unsigned offered = s->features.auth, mechanism;
	enum opened result;
	bool refused = true;

	if (s->hop->user == NULL || s->hop->password == NULL)
		return fail_text(s, HOP_AUTH, "4.7.0", "no credential");
	if (s->net.tls == NULL && !s->hop->insecure)
		return fail_text(
		    s, HOP_REFUSED, "4.7.4", "AUTH without TLS is not allowed");
	result = fail_text(s, HOP_AUTH, "4.7.0",
	    "auth.conf has a password for it, but it offers AUTH with none of "
	    "CRAM-MD5, PLAIN and LOGIN");
	while (refused && (mechanism = auth_choose(offered)) != 0) {
		result = try_mechanism(s, mechanism, &refused);
		offered &= ~mechanism;
	}
	return result;
}

/* ---- The whole ---- */

static void
set_relay_text(struct smtp_session *s)
{
	const struct smtp_target *t = &s->target;
	char port[8] = "";

	if (t->sa.ss_family != AF_UNIX)
		(void)snprintf(port, sizeof(port), ":%u", (unsigned)t->port);
	(void)snprintf(s->relay, sizeof(s->relay), "%.253s[%.56s]%s", t->name,
	    t->address, port);
}

static enum opened
connect_target(struct smtp_session *s)
{
	const void *address = &s->target.sa;

	smtp_trace(s, "== ", s->relay);
	if (net_connect(&s->net, address, s->target.len,
		time_for(s, SMTP_CONNECT_MS)) == 0)
		return OPEN_OK;
	int error = errno;
	s->failure.kind = HOP_UNREACHABLE;
	outcome_set(&s->failure.outcome, OUTCOME_DEFER, "4.4.1",
	    "connect to %s: %s", s->relay, strerror(error));
	if (error == ECONNRESET) /* it was connected, for a moment */
		smtp_trace(s, "! ", "reset");
	smtp_trace(s, "# ", s->failure.outcome.text);
	compat_strlcpy(s->failure.outcome.relay, s->relay,
	    sizeof(s->failure.outcome.relay));
	return OPEN_FAILED;
}

static enum opened
open_once(struct smtp_session *s, bool tls)
{
	const struct hop *hop = s->hop;
	enum opened result = connect_target(s);

	s->broken = result != OPEN_OK;
	if (result == OPEN_OK && hop->tls == TLS_IMPLICIT)
		result = start_tls(s);
	if (result == OPEN_OK)
		result = greeting(s);
	if (result == OPEN_OK && !hop->auth)
		tell_greeted(s);
	if (result == OPEN_OK)
		result = hello(s);
	if (result == OPEN_OK && tls && s->net.tls == NULL &&
	    hop->tls != TLS_NONE)
		result = upgrade(s);
	if (result != OPEN_OK || !hop->auth)
		return result;
	/* A second session with a wrong password would be a lock-out. */
	result = authenticate(s);
	if (result == OPEN_OK)
		tell_greeted(s);
	return result;
}

static void
session_free(struct smtp_session *s)
{
	net_close(&s->net);
	buf_wipe(&s->line);
	buf_free(&s->said);
	free(s);
}

static void
quit(struct smtp_session *s)
{
	struct smtp_reply r;

	if (s->broken)
		return;
	/* The last words have their own time, whatever is left of it. */
	s->deadline = now_ms() + SMTP_QUIT_MS;
	if (smtp_exchange(s, STAGE_QUIT, "QUIT", NULL, &r) == -1)
		smtp_trace_end(s, errno);
}

struct smtp_session *
smtp_open(const struct hop *hop, const struct smtp_target *target,
    const struct smtp_callbacks *cb, int64_t deadline, struct smtp_failure *f)
{
	struct smtp_session *s = xcalloc(1, sizeof(*s));
	enum opened result;

	s->hop = hop;
	s->cb = cb;
	s->target = *target;
	s->opened = now_ms();
	s->deadline = deadline;
	s->line.max = SASL_LINE_MAX;
	s->said.max = REPLY_BYTES_MAX;
	s->net.fd = -1;
	set_relay_text(s);
	result = open_once(s, true);
	if (result == OPEN_PLAINTEXT) {
		net_close(&s->net);
		result = open_once(s, false);
	}
	if (result == OPEN_OK) {
		s->ms_connect = (uint32_t)(now_ms() - s->opened);
		return s;
	}
	quit(s);
	*f = s->failure;
	session_free(s);
	return NULL;
}

void
smtp_close(struct smtp_session *s)
{
	if (s == NULL)
		return;
	if (s->ahead.task == NULL)
		quit(s);
	session_free(s);
}

bool
smtp_usable(const struct smtp_session *s)
{
	return !s->broken && (s->ahead.task != NULL ||
				 (s->tasks < JOBS_PER_CONNECTION &&
				     now_ms() - s->opened <
					 smtp_scaled(s->hop, SMTP_SESSION_MS)));
}

int
smtp_fd(const struct smtp_session *s)
{
	return s->net.fd;
}

bool
smtp_idle_ended(struct smtp_session *s)
{
	if (!net_input_pending(&s->net))
		return false;
	s->broken = true; /* 421 or the end: nothing to say QUIT to */
	smtp_trace_end(s, ECONNRESET);
	return true;
}
