/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp.h - one SMTP client session, greeting to QUIT (RFC 5321, 3207, 4954).
 */
#ifndef DMA_SMTP_H
#define DMA_SMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "job.h"
#include "mime.h"
#include "net.h"

/* ---- Replies and features: pure parsers (smtp_reply.c) ---- */

/* One complete reply (RFC 5321, 4.2). */
struct smtp_reply {
	int code;     /* 200 to 599 */
	char dsn[12]; /* enhanced status code, or "" (RFC 2034) */
	char text[OUTCOME_TEXT_MAX + 1]; /* "550 5.1.1 no such user", lines
					    joined by a blank, printable */
};

/* What EHLO offered: forgotten at STARTTLS. */
struct smtp_features {
	bool pipelining, size, eightbit, starttls, dsn, smtputf8;
	uint64_t size_limit; /* 0: none told */
	unsigned auth;       /* AUTH_* bits of auth.h */
};

/*
 * Parse one reply line into *r (code, text appended); *r is {0} before the
 * first.  *more: "250-".
 * Returns 0, or -1 with errno EPROTO (not a reply; another code than the
 * lines before: r->code not 0) or EMSGSIZE.
 */
int smtp_parse_reply_line(
    struct smtp_reply *r, const char *line, size_t len, bool *more);

/* Learn one line of an EHLO reply (text after the code). */
void smtp_parse_feature(struct smtp_features *f, const char *line);

/* ---- A job under way, over several addresses if need be (smtp_task.c) ---- */

enum smtp_recipient_state {
	RCPT_WAITING,  /* to be asked for in this session */
	RCPT_ASKED,    /* its RCPT is on its way */
	RCPT_ACCEPTED, /* the server wants the message for it */
	RCPT_NEXT,     /* this server will not have it: another may */
	RCPT_DECIDED,  /* final outcome known, to be reported */
	RCPT_SETTLED   /* reported */
};

struct smtp_recipient {
	enum smtp_recipient_state state;
	struct outcome outcome; /* the verdict so far; no text: none */
};

struct smtp_task {
	struct job job; /* owned */
	struct smtp_recipient *recipients;
	int64_t deadline; /* now_ms() clock, for all addresses; 0: not begun */
	bool heard;       /* some server was told of it */
	/* As it goes to servers without and with 8BITMIME; size 0: not known */
	struct mime_report text[2];
};

/* Takes what *job owns; *job is zeroed. */
struct smtp_task *smtp_task_new(struct job *job);
void smtp_task_free(struct smtp_task *t);

/* A deadline of limits.h as hop->timeouts scales it. */
int64_t smtp_scaled(const struct hop *hop, int64_t ms);

/* Start its clock, if it is not running yet. */
void smtp_task_start(struct smtp_task *t, const struct hop *hop);
bool smtp_task_open(const struct smtp_task *t); /* any not settled */
size_t smtp_task_count(
    const struct smtp_task *t, enum smtp_recipient_state state);

/*
 * Remember what a server said of recipient i.  A permanent verdict stands
 * only if no server gave a temporary one: in doubt, defer.
 */
void smtp_task_note(struct smtp_task *t, size_t i, const struct outcome *o);

/* ---- The session ---- */

/* Where a session tells what it learns.  Each but result may be NULL. */
struct smtp_callbacks {
	void *arg;
	/* One recipient's outcome, the moment it is known. */
	void (*result)(void *arg, const struct job *j, size_t recipient,
	    const struct outcome *o);
	/* The next task if one is in hand already, without waiting, or NULL. */
	struct smtp_task *(*next)(void *arg);
	/* The server greeted us, and took our credential where we have one. */
	void (*greeted)(void *arg);
	/* The final dot is next: the last moment to leave it unsent. */
	void (*committing)(void *arg);
	/* A line of the transcript for -v: printable, secrets masked. */
	void (*trace)(void *arg, const char *line);
};

/* Report what is decided, or for all unsettled what was noted (or DEFER). */
void smtp_task_report(struct smtp_task *t, const struct smtp_callbacks *cb);
void smtp_task_finish(struct smtp_task *t, const struct smtp_callbacks *cb);

/* One address of a next hop. */
struct smtp_target {
	struct sockaddr_storage sa; /* port included */
	socklen_t len;
	uint16_t port;
	char name[ADDR_DOMAIN_MAX + 1]; /* also what TLS verifies */
	char address[128];              /* numeric, or a socket's path */
};

/* Why no session came to be. */
struct smtp_failure {
	enum hop_failure kind;
	bool stop; /* other addresses would say the same: do not ask them */
	struct outcome outcome;
};

struct smtp_session;

/*
 * Connect, greeting, EHLO, STARTTLS and AUTH as the hop's policy wants it.
 *
 * hop, target, cb: borrowed for the session's life (target is copied).
 * deadline: now_ms() clock; no step goes on after it.
 * Returns NULL with *f, everything closed.
 */
struct smtp_session *smtp_open(const struct hop *hop,
    const struct smtp_target *target, const struct smtp_callbacks *cb,
    int64_t deadline, struct smtp_failure *f);

enum smtp_sent {
	SMTP_SETTLED,  /* every recipient has its result */
	SMTP_NEXT,     /* another address is to be tried for the rest */
	SMTP_RECONNECT /* a kept connection had ended: this address again */
};

/*
 * Send a task's message to those recipients that are not settled.  Results
 * are reported as they come in; when PIPELINING allows it and cb->next()
 * has one, the next task's envelope goes out with the final dot, and that
 * task must be the next one sent here.
 */
enum smtp_sent smtp_send(struct smtp_session *s, struct smtp_task *t);

/* False once it can carry no further task: broken, old or used up. */
bool smtp_usable(const struct smtp_session *s);

/* For poll(2) while idle, and whether the server has ended or spoken. */
int smtp_fd(const struct smtp_session *s);
bool smtp_idle_ended(struct smtp_session *s);

/* QUIT where the session is in step, then close and free; NULL is fine. */
void smtp_close(struct smtp_session *s);

#endif
