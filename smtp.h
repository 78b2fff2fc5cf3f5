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

#include "job.h"
#include "net.h"

/* One complete reply (RFC 5321, 4.2). */
struct smtp_reply {
	int code;	/* 200 to 599 */
	char dsn[12];	/* enhanced status code, or "" (RFC 2034) */
	char text[OUTCOME_TEXT_MAX + 1]; /* "550 5.1.1 no such user", lines
					    joined by a blank, printable */
};

/* What EHLO offered: forgotten at STARTTLS. */
struct smtp_features {
	bool esmtp, pipelining, size, eightbit, starttls, dsn, enhanced;
	bool smtputf8, chunking;
	uint64_t size_limit; /* 0: none told */
	unsigned auth;	     /* AUTH_* bits of auth.h */
};

struct smtp_session;

/* Where a session tells what it learns. */
struct smtp_callbacks {
	void *arg;
	/* One recipient's outcome, the moment it is known. */
	void (*result)(void *arg, const struct job *j, size_t recipient,
	    const struct outcome *o);
	/* The next job if one is in hand already, without waiting, or NULL. */
	struct job *(*next)(void *arg);
	/* A line of the dialogue for -v: 'C' or 'S', text masked; or NULL. */
	void (*trace)(void *arg, char side, const char *text);
};

/*
 * Parse one reply line into *r (code, text appended).  *more: "250-".
 * Returns 0, or -1 with errno EPROTO (not a reply; another code than the
 * lines before: r->code not 0) or EMSGSIZE.
 */
int	smtp_parse_reply_line(struct smtp_reply *r, const char *line,
	    size_t len, bool *more);

/* Learn one line of an EHLO reply (text after the code). */
void	smtp_parse_feature(struct smtp_features *f, const char *line);

#endif
