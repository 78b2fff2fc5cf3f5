/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_trace.c - the dialogue that -v shows, as a transcript to be replayed.
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Distrusts: every byte of the server's.
 * Promises:  one printable ASCII line a call; what the server sent is shown
 *            byte for byte, what is not plain text as escapes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "smtp_session.h"
#include "util.h"

static void
put_line(struct smtp_session *s, struct buf *line)
{
	s->cb->trace(s->cb->arg, buf_str(line));
	buf_free(line);
}

void
smtp_trace(struct smtp_session *s, const char *kind, const char *text)
{
	struct buf line = {0};

	if (s->cb->trace == NULL)
		return;
	(void)buf_puts(&line, kind);
	/* In a pattern '?' is one character, whatever its length in UTF-8. */
	for (; *text != '\0'; text++)
		if (ascii_isprint((unsigned char)*text))
			(void)buf_putc(&line, *text);
		else if (((unsigned char)*text & 0xc0) != 0x80)
			(void)buf_putc(&line, '?');
	put_line(s, &line);
}

/* Bytes, then an end that is escaped already. */
static void
trace_bytes(
    struct smtp_session *s, const char *bytes, size_t len, const char *end)
{
	struct buf line = {0};

	(void)buf_puts(&line, "S- ");
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];
		if (c == '\r' || c == '\n')
			(void)buf_puts(&line, c == '\r' ? "\\r" : "\\n");
		else if (ascii_isprint(c) && c != '\\' && (c != ' ' || i > 0))
			(void)buf_putc(&line, c);
		else
			(void)buf_printf(&line, "\\x%02x", (unsigned)c);
	}
	(void)buf_puts(&line, end);
	put_line(s, &line);
}

void
smtp_trace_reply(struct smtp_session *s, const char *text, size_t len)
{
	const char *next = s->net.in + s->net.in_pos;
	bool crlf = next == text + len + 2, plain = crlf;

	if (s->cb->trace == NULL)
		return;
	for (size_t i = 0; i < len; i++)
		plain &= ascii_isprint((unsigned char)text[i]);
	if (plain)
		smtp_trace(s, "S: ", text);
	else
		trace_bytes(s, text, len, crlf ? "\\r\\n" : "\\n");
}

void
smtp_trace_end(struct smtp_session *s, int error)
{
	struct net *n = &s->net;
	const char *order = "eof";

	if (s->cb->trace == NULL)
		return;
	smtp_hide_secret(s, n->in + n->in_pos, n->in_len - n->in_pos);
	if (n->in_pos < n->in_len)
		trace_bytes(s, n->in + n->in_pos, n->in_len - n->in_pos, "");
	if (error == ETIMEDOUT)
		order = "stall";
	else if (error == ECONNRESET && strchr(n->error, ':') != NULL)
		order = "reset"; /* more than an end of file */
	else if (error == ECONNRESET || error == EIO)
		order = "close";
	smtp_trace(s, "! ", order);
}
