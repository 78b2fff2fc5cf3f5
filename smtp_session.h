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
	bool mail_ok; /* MAIL was accepted */
	bool data;    /* 354: the server waits for the message */
	size_t heard; /* replies read */
	int64_t started;
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
	struct buf challenge;        /* text of the last AUTH reply line */
	char relay[RELAY_TEXT_MAX + 1];
	int64_t opened, deadline;
	uint32_t ms_connect; /* for the first task's outcomes, then 0 */
	size_t tasks;        /* begun here */
	bool broken;         /* out of step or lost: no QUIT, no more */
	bool stale;          /* a kept connection that had ended meanwhile */
	bool need_rset;
	bool no_params; /* 555: this server takes no parameters */
};

/* Gives each line of a reply to somebody (EHLO's features, AUTH). */
typedef void smtp_line_hook(
    struct smtp_session *s, size_t number, const char *text, size_t len);

/* ---- smtp_io.c ---- */

bool smtp_is_lmtp(const struct smtp_session *s);
const char *smtp_stage_name(enum smtp_stage stage);

/* Deadline of the stage or ms, but never after the session's. */
void smtp_deadline(struct smtp_session *s, int64_t ms);

/*
 * Buffer one command line.  The last gate: a control byte or a line over
 * max bytes never leaves.  Returns 0, or -1 with errno (EINVAL, EMSGSIZE, or
 * that of writing).  shown: what the trace gets instead, or NULL.
 */
int smtp_put_line(
    struct smtp_session *s, const char *line, size_t max, const char *shown);
bool smtp_line_ok(const char *line, size_t max);

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
int smtp_get_reply(struct smtp_session *s, enum smtp_stage stage,
    struct smtp_reply *reply, smtp_line_hook *hook);

/*
 * Send s->line as a command and read its reply.  Bytes that wait before we
 * asked: a 421 is taken as the reply, anything else is EPROTO.
 */
int smtp_exchange(struct smtp_session *s, enum smtp_stage stage,
    struct smtp_reply *reply, smtp_line_hook *hook);

/* True, with 0 or -1 in *rc as smtp_get_reply(), if the peer spoke first. */
bool smtp_spoke_early(
    struct smtp_session *s, struct smtp_reply *reply, int *rc);

void smtp_trace(struct smtp_session *s, char side, const char *text);

/* An outcome that a reply decides; its code gets the class's digit. */
void smtp_outcome_reply(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage,
    const struct smtp_reply *reply);

/* An outcome for a connection that failed, from errno. */
void smtp_outcome_error(const struct smtp_session *s, struct outcome *o,
    enum outcome_class class, enum smtp_stage stage, int error);

/* What a refusal means: FAIL, or DEFER for 4yz and for our own set-up. */
enum outcome_class smtp_refusal_class(const struct smtp_reply *reply);

/* ---- smtp_command.c: all leave a line in s->line ---- */

bool smtp_needs_utf8(const char *address);
void smtp_build_rcpt(struct smtp_session *s, const struct job_recipient *r);

/* STAGE_RSET, _MAIL, _RCPT (the group's n-th) or _DATA. */
void smtp_build_command(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, size_t n);

/* ---- smtp_group.c ---- */

/* How a step of a transaction ended. */
enum smtp_step {
	STEP_ON, /* in step: go on */
	STEP_END /* this session can do no more for the task */
};

/* True if EHLO told a limit that the message is over. */
bool smtp_is_too_large(const struct smtp_session *s, const struct job *j);

/* Gather the waiting recipients into one envelope; false if there are none. */
bool smtp_group_gather(
    struct smtp_session *s, struct smtp_group *g, struct smtp_task *t);

/* Buffer the whole envelope (RFC 2920).  0, or -1 with errno. */
int smtp_group_put(struct smtp_session *s, struct smtp_group *g);

/* A final outcome for recipient i, to be reported. */
void smtp_task_decide(struct smtp_task *t, size_t i, const struct outcome *o);

/* One outcome for all in play: final, or left to the next address. */
void smtp_group_settle(
    struct smtp_group *g, const struct outcome *o, bool final);

/* What a reply means for the group's recipients, with the time it took. */
struct outcome smtp_group_outcome(struct smtp_session *s,
    const struct smtp_group *g, enum outcome_class class, enum smtp_stage stage,
    const struct smtp_reply *r);
void smtp_group_stamp(const struct smtp_group *g, struct outcome *o);

/*
 * Ends of a session in the middle of a group: lost (errno), out of step (so
 * that what was decided but not reported does not count), told 421.
 */
enum smtp_step smtp_group_lose(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, int error);
enum smtp_step smtp_group_desync(
    struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage);
enum smtp_step smtp_group_shut_out(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, const struct smtp_reply *r);

/* ---- smtp_body.c ---- */

enum smtp_body { BODY_OK, BODY_UNREADABLE, BODY_SPOKE, BODY_LOST };

/*
 * Buffer and send the message, CRLF line ends, dots doubled, without the
 * final dot.  BODY_SPOKE: the server said something before the end;
 * BODY_LOST: errno.
 */
enum smtp_body smtp_put_body(struct smtp_session *s, const struct job *j);

#endif
