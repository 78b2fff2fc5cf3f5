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

static enum smtp_body
put_pieces(struct smtp_session *s, const struct job *j, char *piece)
{
	uint64_t at = 0;
	bool line_start = true;

	while (at < j->length) {
		size_t len = PIECE_SIZE;
		if (j->length - at < len)
			len = (size_t)(j->length - at);
		if (pread_full(j->fd, piece, len, (off_t)(j->offset + at)) !=
		    (ssize_t)len)
			return BODY_UNREADABLE;
		smtp_deadline(s, SMTP_DATA_BLOCK_MS);
		blank_crs(piece, len);
		if (put_text(&s->net, piece, len, &line_start) == -1)
			return errno == EALREADY ? BODY_SPOKE : BODY_LOST;
		at += len;
	}
	if (!line_start && net_put(&s->net, "\r\n", 2) == -1)
		return errno == EALREADY ? BODY_SPOKE : BODY_LOST;
	return BODY_OK;
}

enum smtp_body
smtp_put_body(struct smtp_session *s, const struct job *j)
{
	char shown[64], *piece = xmalloc(PIECE_SIZE);
	enum smtp_body result;
	int error;

	(void)snprintf(
	    shown, sizeof(shown), "[message, %" PRIu64 " bytes]", j->length);
	smtp_trace(s, 'C', shown);
	s->net.watch_input = true;
	result = put_pieces(s, j, piece);
	error = errno;
	s->net.watch_input = false;
	free(piece);
	errno = error;
	return result;
}
