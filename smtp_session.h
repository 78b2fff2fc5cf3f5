/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_session.h - what the smtp*.c files share; nobody else includes it.
 */
#ifndef DMA_SMTP_SESSION_H
#define DMA_SMTP_SESSION_H

#include "smtp.h"

/* What we wait for an answer to: its words for people and its deadline. */
enum smtp_stage {
	STAGE_GREETING,
	STAGE_EHLO,
	STAGE_STARTTLS,
	STAGE_AUTH,
	STAGE_RSET,
	STAGE_MAIL,
	STAGE_RCPT,
	STAGE_DATA,
	STAGE_DOT,
	STAGE_QUIT
};

/* One envelope that is written or about to be: MAIL, RCPTs, DATA. */
struct smtp_group {
	struct smtp_task *task;
	size_t index[JOB_RECIPIENTS_MAX]; /* recipients, in order */
	size_t count;
	bool rset;    /* RSET goes before */
	bool written; /* all of it in one write (PIPELINING) */
	bool params;  /* MAIL had parameters */
	bool heard;   /* a reply was read */
	bool mail_ok; /* MAIL was accepted */
	bool data;    /* 354: the server waits for the message */
};

struct smtp_session {
	const struct hop *hop;
	const struct smtp_callbacks *cb;
	struct smtp_target target;
	struct net net;
	struct smtp_features features;
	struct smtp_group ahead; /* written with the dot before; or no task */
	struct smtp_failure failure; /* while opening */
	struct buf line;             /* the command under construction */
	struct buf said; /* the last reply's lines less their code, NUL-ended */
	char relay[RELAY_TEXT_MAX + 1];
	int64_t opened, deadline;
	int64_t started;     /* the transaction under way, or 0 */
	uint32_t ms_connect; /* for the first task's outcomes, then 0 */
	size_t tasks;        /* begun here */
	bool broken;         /* out of step or lost: no QUIT, no more */
	bool stale;          /* a kept connection that had ended meanwhile */
	bool need_rset;
	bool secret_said; /* the server knows our password: it may repeat it */
	bool no_params;   /* 555: this server takes no parameters */
};

/* ---- smtp_io.c ---- */

bool smtp_is_lmtp(const struct smtp_session *s);

/* Overwrite our password where the server repeats it. */
void smtp_hide_secret(const struct smtp_session *s, char *text, size_t len);

/* Deadline of the stage or ms, but never after the session's. */
void smtp_deadline(struct smtp_session *s, int64_t ms);

/* The last gate: no control byte, and at most max bytes. */
bool smtp_line_ok(const char *line, size_t max);

/*
 * Buffer one command line.  Returns 0, or -1 with errno: EINVAL (it may not
 * leave) or that of writing.  shown: what the trace gets instead, or NULL.
 */
int smtp_put_line(
    struct smtp_session *s, const char *line, size_t max, const char *shown);

/*
 * Read one complete reply within the stage's deadline.
 * Returns 0, or -1 with *reply untouched and errno one of
 *	ETIMEDOUT   the deadline passed
 *	ECONNRESET  the peer closed before the last line
 *	EMSGSIZE    a line, their number or their sum is over its limit
 *	EPROTO      not a reply, or not one code throughout
 *	EIO	    TLS failed
 * After -1 the stream is out of step: close it without QUIT.
 */
int smtp_get_reply(
    struct smtp_session *s, enum smtp_stage stage, struct smtp_reply *reply);

/*
 * Bytes that wait before we asked: 0 there are none, 1 a 421 is in *reply,
 * -1 as smtp_get_reply(); any other reply is EPROTO.
 */
int smtp_spoke_early(struct smtp_session *s, struct smtp_reply *reply);

/* Send a command and read its reply, or the 421 that came before. */
int smtp_exchange(struct smtp_session *s, enum smtp_stage stage,
    const char *line, const char *shown, struct smtp_reply *reply);

/* An outcome in our own words. */
void smtp_outcome_text(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, const char *dsn, const char *text);

/* An outcome that a reply decides; its code gets the class's digit. */
void smtp_outcome_reply(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage,
    const struct smtp_reply *reply);

/* An outcome for a connection that failed, from errno. */
void smtp_outcome_error(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage, int error);

/* What a refusal means: FAIL, or DEFER for 4yz and for our own set-up. */
enum outcome_class smtp_refusal_class(const struct smtp_reply *reply);

/* ---- smtp_trace.c: for -v, in the form that test/e2e/smtpd.py replays ---- */

/* A line of a kind: "C: ", "! ", "# " or "== ". */
void smtp_trace(struct smtp_session *s, const char *kind, const char *text);

/* The line that net_getline() has just given. */
void smtp_trace_reply(struct smtp_session *s, const char *text, size_t len);

/*
 * What was not read yet, and how the connection ends, from the errno of a
 * step that failed: an order to who plays the server.
 */
void smtp_trace_end(struct smtp_session *s, int error);

/* ---- smtp_envelope.c ---- */

/* Gather the waiting recipients into one envelope; false if there are none. */
bool smtp_group_gather(
    struct smtp_session *s, struct smtp_group *g, struct smtp_task *t);

enum outcome_notice smtp_notice(const struct smtp_session *s);

/* STAGE_RSET, _MAIL, _RCPT (the group's n-th) or _DATA, into s->line. */
const char *smtp_build_command(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, size_t n);

/* Buffer the whole envelope (RFC 2920, 3.1: DATA ends it).  0, or -1. */
int smtp_group_put(struct smtp_session *s, struct smtp_group *g);

/* ---- smtp_body.c ---- */

enum smtp_body { BODY_OK, BODY_UNREADABLE, BODY_SPOKE, BODY_LOST };

/* How the task's message goes to this server; borrowed from t. */
const struct mime_report *smtp_text(
    const struct smtp_session *s, struct smtp_task *t);

/*
 * Buffer and send the message, CRLF line ends, dots doubled, without the
 * final dot.  BODY_SPOKE: the server said something before the end;
 * BODY_LOST: errno.
 */
enum smtp_body smtp_put_body(struct smtp_session *s, struct smtp_task *t);

#endif
