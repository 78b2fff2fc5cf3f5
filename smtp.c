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

/* How far opening came. */
enum opened {
	OPEN_OK,
	OPEN_FAILED,   /* s->failure says why */
	OPEN_PLAINTEXT /* TLS went wrong and may be done without: afresh */
};

/* ---- Why it failed ---- */

static enum opened
fail_with(
    struct smtp_session *s, enum hop_failure kind, const struct outcome *o)
{
	s->failure.kind = kind;
	s->failure.outcome = *o;
	compat_strlcpy(s->failure.outcome.relay, s->relay,
	    sizeof(s->failure.outcome.relay));
	return OPEN_FAILED;
}

static enum opened
fail_text(struct smtp_session *s, enum hop_failure kind, const char *dsn,
    const char *text)
{
	struct outcome o = {0};

	outcome_set(&o, OUTCOME_DEFER, dsn, "host %s[%s]: %s", s->target.name,
	    s->target.address, text);
	return fail_with(s, kind, &o);
}

/* The server said no: whatever its words, all of it is a deferral. */
static enum opened
fail_reply(struct smtp_session *s, enum hop_failure kind, enum smtp_stage stage,
    const struct smtp_reply *reply)
{
	struct outcome o = {0};

	if (reply->code == 421)
		s->broken = true; /* it closes: no QUIT */
	smtp_outcome_reply(s, &o, OUTCOME_DEFER, stage, reply);
	return fail_with(s, reply->code == 421 ? HOP_BUSY : kind, &o);
}

static enum opened
fail_error(struct smtp_session *s, enum smtp_stage stage, int error)
{
	struct outcome o = {0};

	s->broken = true;
	smtp_outcome_error(s, &o, OUTCOME_DEFER, stage, error);
	return fail_with(s, HOP_UNREACHABLE, &o);
}

static enum opened
fail_desync(struct smtp_session *s, enum smtp_stage stage)
{
	return fail_error(s, stage, EPROTO);
}

static enum opened
fail_connect(struct smtp_session *s, int error)
{
	bool denied =
	    error == EACCES || error == EPERM || error == EAFNOSUPPORT;
	struct outcome o = {0};

	s->broken = true;
	outcome_set(&o, OUTCOME_DEFER, "4.4.1", "connect to %s: %s", s->relay,
	    strerror(error));
	return fail_with(s, denied ? HOP_NO_NETWORK : HOP_UNREACHABLE, &o);
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
	char line[CRYPTO_ERROR_MAX + 16];
	int64_t left = s->deadline - now_ms();
	int64_t ms = smtp_scaled(hop, SMTP_TLS_MS);
	int error;

	memcpy(
	    policy.fingerprint, hop->fingerprint, sizeof(policy.fingerprint));
	if (net_start_tls(&s->net, &policy, left < ms ? left : ms) == 0) {
		(void)snprintf(line, sizeof(line), "[TLS: %s%s]",
		    crypto_describe(s->net.tls),
		    crypto_verified(s->net.tls) ? ", verified" : "");
		smtp_trace(s, 'S', line);
		return OPEN_OK;
	}
	error = errno;
	s->broken = true;
	(void)snprintf(line, sizeof(line), "%s%s",
	    strncmp(s->net.error, "TLS", 3) == 0 ? "" : "TLS: ", s->net.error);
	smtp_trace(s, 'S', line);
	/* Early plaintext is an attack, not a server without TLS (V-39). */
	if (error != EPROTO && may_do_without_tls(hop) && !hop->verify &&
	    !hop->has_fingerprint)
		return OPEN_PLAINTEXT;
	return fail_text(s, error == ETIMEDOUT ? HOP_UNREACHABLE : HOP_REFUSED,
	    "4.7.5", line);
}

static enum opened
greeting(struct smtp_session *s)
{
	struct smtp_reply r;

	if (smtp_get_reply(s, STAGE_GREETING, &r, NULL) == -1)
		return fail_error(s, STAGE_GREETING, errno);
	if (r.code / 100 >= 4)
		return fail_reply(s, HOP_UNREACHABLE, STAGE_GREETING, &r);
	if (r.code != 220)
		return fail_desync(s, STAGE_GREETING);
	return OPEN_OK;
}

static void
tell_greeted(const struct smtp_session *s)
{
	if (s->cb->greeted != NULL)
		s->cb->greeted(s->cb->arg);
}

static void
learn_feature(
    struct smtp_session *s, size_t number, const char *text, size_t len)
{
	/* The first line is the server's name and its compliments. */
	if (number > 0 && memchr(text, '\0', len) == NULL)
		smtp_parse_feature(&s->features, text);
}

static int
say_hello(struct smtp_session *s, const char *verb, struct smtp_reply *r)
{
	memset(&s->features, 0, sizeof(s->features));
	buf_reset(&s->line);
	if (buf_printf(&s->line, "%s %s", verb, s->hop->helo) == -1)
		return -1;
	return smtp_exchange(
	    s, STAGE_EHLO, r, strcmp(verb, "HELO") == 0 ? NULL : learn_feature);
}

/* EHLO; HELO only where nothing that EHLO would offer is needed (H-20). */
static enum opened
hello(struct smtp_session *s)
{
	const char *verb = smtp_is_lmtp(s) ? "LHLO" : "EHLO";
	struct smtp_reply r;

	if (say_hello(s, verb, &r) == -1)
		return fail_error(s, STAGE_EHLO, errno);
	s->features.esmtp = r.code / 100 == 2;
	if (r.code / 100 == 5 && !smtp_is_lmtp(s) && s->net.tls == NULL &&
	    !needs_tls(s->hop) && !s->hop->auth) {
		if (say_hello(s, "HELO", &r) == -1)
			return fail_error(s, STAGE_EHLO, errno);
	}
	if (r.code / 100 == 3)
		return fail_desync(s, STAGE_EHLO);
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

	if (!s->features.starttls) {
		if (needs_tls(hop))
			return fail_text(s, HOP_REFUSED, "4.7.4",
			    "TLS is required, but was not offered");
		return OPEN_OK;
	}
	buf_reset(&s->line);
	if (buf_puts(&s->line, "STARTTLS") == -1 ||
	    smtp_exchange(s, STAGE_STARTTLS, &r, NULL) == -1)
		return fail_error(s, STAGE_STARTTLS, errno);
	if (r.code == 421 || (r.code / 100 >= 4 && !may_do_without_tls(hop)))
		return fail_reply(s, HOP_REFUSED, STAGE_STARTTLS, &r);
	if (r.code / 100 >= 4)
		return OPEN_OK;
	if (r.code != 220)
		return fail_desync(s, STAGE_STARTTLS);
	result = start_tls(s);
	return result == OPEN_OK ? hello(s) : result;
}

/* ---- AUTH ---- */

static void
keep_challenge(
    struct smtp_session *s, size_t number, const char *text, size_t len)
{
	(void)number;
	buf_reset(&s->challenge);
	/* A NUL is no base64: nothing after it may be cut off unseen. */
	if (memchr(text, '\0', len) != NULL)
		(void)buf_puts(&s->challenge, "?");
	else
		(void)buf_put(&s->challenge, text, len);
}

/* Send s->line, a secret, and forget it. */
static int
say_secret(struct smtp_session *s, const char *shown, struct smtp_reply *r)
{
	size_t len = s->line.len;
	int rc = -1, early;

	if (!smtp_spoke_early(s, r, &early)) {
		smtp_deadline(s, SMTP_COMMAND_MS);
		rc = smtp_put_line(s, buf_str(&s->line), SASL_LINE_MAX, shown);
		if (rc == 0 && net_flush(&s->net) == -1 && errno == ETIMEDOUT)
			rc = -1;
		if (rc == 0)
			rc = smtp_get_reply(s, STAGE_AUTH, r, keep_challenge);
		if (len <= NET_OUTPUT_SIZE)
			compat_explicit_bzero(s->net.out, len);
	} else {
		rc = early;
	}
	if (s->line.data != NULL)
		compat_explicit_bzero(s->line.data, s->line.cap);
	buf_reset(&s->line);
	return rc;
}

/* "*" ends an exchange that we will not go on with (RFC 4954, 4). */
static enum opened
cancel_auth(struct smtp_session *s)
{
	struct smtp_reply r;

	buf_reset(&s->line);
	if (buf_putc(&s->line, '*') == 0)
		(void)smtp_exchange(s, STAGE_AUTH, &r, NULL);
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
	    auth_name(a->mechanism), a->done ? " ***" : "");
	if (say_secret(s, shown, r) == -1)
		return fail_error(s, STAGE_AUTH, errno);
	while (r->code == 334) {
		if (auth_answer(a, buf_str(&s->challenge), &s->line) == -1)
			return cancel_auth(s);
		if (say_secret(s, "***", r) == -1)
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

/* One mechanism: OPEN_OK with *refused if another may be tried. */
static enum opened
try_mechanism(struct smtp_session *s, unsigned mechanism, bool *refused)
{
	struct auth a = {.mechanism = mechanism,
	    .user = s->hop->user,
	    .password = s->hop->password};
	struct smtp_reply r;
	enum opened result;

	*refused = false;
	if (auth_start(&a, &s->line) == -1)
		return fail_text(
		    s, HOP_AUTH, "4.7.0", "the credential is too long");
	result = converse(s, &a, &r);
	if (result != OPEN_OK)
		return result;
	/* 235 to words that were not said yet means nothing (H-78). */
	if (r.code / 100 < 4)
		return r.code == 235 && a.done ? OPEN_OK
					       : fail_desync(s, STAGE_AUTH);
	if (is_unsupported(&a, &r))
		*refused = true;
	/* A refused password is refused everywhere: no lock-out by trying. */
	s->failure.stop = r.code >= 500 && !*refused;
	fail_reply(s, HOP_AUTH, STAGE_AUTH, &r);
	return *refused ? OPEN_OK : OPEN_FAILED;
}

static enum opened
authenticate(struct smtp_session *s)
{
	unsigned offered = s->features.auth, mechanism;
	enum opened result;
	bool refused;

	if (s->hop->user == NULL || s->hop->password == NULL)
		return fail_text(s, HOP_AUTH, "4.7.0", "no credential");
	if (s->net.tls == NULL && !s->hop->insecure)
		return fail_text(
		    s, HOP_REFUSED, "4.7.4", "AUTH without TLS is not allowed");
	if (offered == 0)
		return fail_text(s, HOP_AUTH, "4.7.0",
		    "AUTH is needed, but none that we know was offered");
	while ((mechanism = auth_choose(offered)) != 0) {
		result = try_mechanism(s, mechanism, &refused);
		if (!refused)
			return result;
		offered &= ~mechanism;
	}
	return OPEN_FAILED; /* with the last refusal's words */
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

static int
connect_target(struct smtp_session *s)
{
	int64_t ms = smtp_scaled(s->hop, SMTP_CONNECT_MS);
	int64_t left = s->deadline - now_ms();
	const void *address = &s->target.sa;

	if (left <= 0) {
		s->net.fd = -1;
		errno = ETIMEDOUT;
		return -1;
	}
	return net_connect(
	    &s->net, address, s->target.len, left < ms ? left : ms);
}

static enum opened
open_once(struct smtp_session *s, bool tls)
{
	const struct hop *hop = s->hop;
	enum opened result;

	s->broken = false;
	if (connect_target(s) == -1)
		return fail_connect(s, errno);
	if (hop->tls == TLS_IMPLICIT) {
		result = start_tls(s);
		if (result != OPEN_OK)
			return result;
	}
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
	buf_free(&s->challenge);
	free(s);
}

static void
quit(struct smtp_session *s)
{
	struct smtp_reply r;

	if (s->broken || s->net.fd == -1)
		return;
	/* The last words have their own time, whatever is left of it. */
	s->deadline = now_ms() + SMTP_QUIT_MS;
	buf_reset(&s->line);
	if (buf_puts(&s->line, "QUIT") == 0)
		(void)smtp_exchange(s, STAGE_QUIT, &r, NULL);
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
	s->challenge.max = SASL_LINE_MAX;
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
	return true;
}
