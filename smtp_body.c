/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_body.c - the message onto the wire (RFC 5321, 2.3.8 and 4.5.2).
 *
 * Runs in:   dma-smtp. Reads the job's descriptor with pread(2) only.
 * Trusts:    nothing about the text's lines. Distrusts: the peer's patience.
 * Promises:  every line ends in CRLF, no CR or LF stands alone, a dot that
 *            begins a line is doubled.
 */
#include "smtp_session.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define PIECE_SIZE (64 * 1024)

/* A CR that is not ours would end a line for some servers: smuggling. */
static void
blank_crs(char *p, size_t len)
{
	char *end = p + len;

	while ((p = memchr(p, '\r', (size_t)(end - p))) != NULL)
		*p++ = ' ';
}

/* Send text; *line_start carries over from piece to piece. */
static int
put_text(struct net *n, const char *p, size_t len, bool *line_start)
{
	const char *end = p + len, *lf;

	while (p < end) {
		if (*line_start && *p == '.' && net_put(n, ".", 1) == -1)
			return -1;
		lf = memchr(p, '\n', (size_t)(end - p));
		*line_start = lf != NULL;
		if (lf == NULL)
			return net_put(n, p, (size_t)(end - p));
		if (net_put(n, p, (size_t)(lf - p)) == -1 ||
		    net_put(n, "\r\n", 2) == -1)
			return -1;
		p = lf + 1;
	}
	return 0;
}

/* The text under way. */
struct wire {
	struct smtp_session *s;
	bool line_start;
};

static int
put_piece(void *arg, char *p, size_t len)
{
	struct wire *w = arg;

	smtp_deadline(w->s, SMTP_DATA_BLOCK_MS);
	blank_crs(p, len);
	return put_text(&w->s->net, p, len, &w->line_start);
}

/* Most messages go as they are stored. */
static int
put_stored(struct wire *w, const struct job *j)
{
	char *piece = xmalloc(PIECE_SIZE);
	int result = 0;

	for (uint64_t at = 0; result == 0 && at < j->length;) {
		size_t len = PIECE_SIZE;
		if (j->length - at < len)
			len = (size_t)(j->length - at);
		if (pread_full(j->fd, piece, len, (off_t)(j->offset + at)) !=
		    (ssize_t)len) {
			errno = EBADMSG;
			result = -1;
		} else {
			result = put_piece(w, piece, len);
		}
		at += len;
	}
	int error = errno;
	free(piece);
	errno = error;
	return result;
}

/* 555: without parameters it cannot be said what comes. */
static bool
takes_8bit(const struct smtp_session *s)
{
	return s->features.eightbit && !s->no_params;
}

const struct mime_report *
smtp_text(const struct smtp_session *s, struct smtp_task *t)
{
	struct mime_report *r = &t->text[takes_8bit(s) ? 1 : 0];

	if (r->size > 0)
		return r;
	/* What cannot be read now is told when it is to be sent. */
	if (t->job.flags != 0)
		(void)mime_convert(&t->job, takes_8bit(s), NULL, NULL, r);
	if (!r->changed)
		r->size = t->job.length;
	return r;
}

enum smtp_body
smtp_put_body(struct smtp_session *s, struct smtp_task *t)
{
	const struct mime_report *r = smtp_text(s, t);
	struct wire w = {.s = s, .line_start = true};
	struct mime_report again;
	char shown[64];
	int result;

	s->net.watch_input = true;
	result = r->changed ? mime_convert(
				  &t->job, takes_8bit(s), put_piece, &w, &again)
			    : put_stored(&w, &t->job);
	if (result == 0 && !w.line_start)
		result = net_put(&s->net, "\r\n", 2);
	s->net.watch_input = false;
	if (result == 0) {
		(void)snprintf(shown, sizeof(shown),
		    "[message, %" PRIu64 " bytes]", r->size);
		smtp_trace(s, "C: ", shown); /* "[message]" has its dot */
		return BODY_OK;
	}
	if (errno == EBADMSG)
		return BODY_UNREADABLE;
	return errno == EALREADY ? BODY_SPOKE : BODY_LOST;
}
