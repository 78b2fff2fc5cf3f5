/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mail.c - one message on its way in: read and stored (RFC 5322).
 *
 * Runs in:   dma, submitting. Its one file is the caller's stdin.
 * Trusts:    nobody. Distrusts: every byte that it reads.
 * Promises:  memory for a header and one piece, whatever the message's size;
 *            what it hands on has LF line ends.
 */
#include "mail.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "header.h"
#include "limits.h"
#include "util.h"

#define PIECE_SIZE 65536 /* bytes of one read(2), what a pipe holds */

/* ---- The source, piece by piece ---- */

/* read(2) that waits where stdin came non-blocking, as from a node parent. */
static ssize_t
read_waiting(int fd, void *p, size_t len)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	while ((n = read(fd, p, len)) == -1) {
		if (errno == EAGAIN)
			(void)poll(&pfd, 1, -1);
		else if (errno != EINTR)
			return -1;
	}
	return n;
}

static char *
source_text(struct mail_source *src)
{
	return src->piece + src->piece_pos;
}

static size_t
source_len(const struct mail_source *src)
{
	return src->piece_len - src->piece_pos;
}

static bool
source_full(const struct mail_source *src)
{
	return source_len(src) == PIECE_SIZE;
}

/* Read more behind what the piece still holds; it must not be full. */
static int
source_fill(struct mail_source *src)
{
	ssize_t n;

	if (src->piece == NULL)
		src->piece = xmalloc(PIECE_SIZE);
	if (src->piece_pos > 0) {
		memmove(src->piece, source_text(src), source_len(src));
		src->piece_len -= src->piece_pos;
		src->piece_pos = 0;
	}
	n = read_waiting(
	    src->fd, src->piece + src->piece_len, PIECE_SIZE - src->piece_len);
	if (n == -1)
		return -1;
	src->piece_len += (size_t)n;
	src->at_end = n == 0;
	return 0;
}

/*
 * Have the next line in the piece: *len bytes with its LF, or without one
 * where the line is longer than a piece, or the input's last.  *len is 0 at
 * the end only.
 */
static int
source_peek_line(struct mail_source *src, size_t *len)
{
	const char *lf;
	size_t searched;

	for (searched = 0;; searched = *len) {
		*len = source_len(src);
		lf = *len == searched ? NULL
				      : memchr(source_text(src) + searched,
					    '\n', *len - searched);
		if (lf != NULL) {
			*len = (size_t)(lf - source_text(src)) + 1;
			return 0;
		}
		if (src->at_end || source_full(src))
			return 0;
		if (source_fill(src) == -1)
			return -1;
	}
}

static int
source_count(struct mail_source *src, size_t len)
{
	src->taken += (int64_t)len;
	if (src->maxsize > 0 && src->taken > src->maxsize) {
		errno = EFBIG;
		return -1;
	}
	return 0;
}

static bool
ends_line(const char *line, size_t len)
{
	return len > 0 && line[len - 1] == '\n';
}

/* Take the lone dot that ends the message, if that is the next line. */
static bool
source_take_dot(struct mail_source *src, size_t len)
{
	const char *line;

	line = source_text(src);
	if (!src->dot_ends || !((len == 2 && memcmp(line, ".\n", 2) == 0) ||
				  (len == 3 && memcmp(line, ".\r\n", 3) == 0)))
		return false;
	src->piece_pos += len;
	src->dot_seen = src->at_end = true;
	return true;
}

/* A line begins: undo the doubling of its dot.  Returns its length now. */
static size_t
source_undouble(struct mail_source *src, size_t len)
{
	if (!src->dots_doubled || len == 0 || *source_text(src) != '.')
		return len;
	src->piece_pos++;
	return len - 1;
}

/* ---- The header ---- */

/* Append without NULs and CRs, neither of which a header may have. */
static int
put_clean(struct buf *out, const char *p, size_t len)
{
	size_t n;

	while (len > 0) {
		for (n = 0; n < len && p[n] != '\0' && p[n] != '\r'; n++)
			;
		if (buf_put(out, p, n) == -1)
			return -1;
		n += n < len ? 1 : 0;
		p += n;
		len -= n;
	}
	return 0;
}

static void
buf_cut(struct buf *b, size_t len)
{
	if (b->data != NULL) {
		b->len = len;
		b->data[len] = '\0';
	}
}

/*
 * Take a line whose first len bytes are in the piece and were dealt with;
 * the rest of it, which can be longer than a piece, goes to out, or nowhere
 * where that is NULL.
 */
static int
take_line(struct mail_source *src, size_t len, struct buf *out)
{
	while (!ends_line(source_text(src), len)) {
		src->piece_pos += len;
		if (source_peek_line(src, &len) == -1)
			return -1;
		if (len == 0)
			return out == NULL ? 0 : buf_putc(out, '\n');
		if (out != NULL && put_clean(out, source_text(src), len) == -1)
			return -1;
	}
	src->piece_pos += len;
	return 0;
}

/* Drop the lines that a mailbox puts before a message. */
static int
skip_from_lines(struct mail_source *src)
{
	static const char from[] = "From ";
	const char *line;
	size_t len, mark;

	for (;;) {
		if (source_peek_line(src, &len) == -1)
			return -1;
		line = source_text(src);
		mark = len > 0 && line[0] == '>' ? 1 : 0;
		if (len - mark < sizeof(from) - 1 ||
		    memcmp(line + mark, from, sizeof(from) - 1) != 0)
			return 0;
		if (take_line(src, len, NULL) == -1)
			return -1;
	}
}

static bool
is_blank_line(const char *line, size_t len)
{
	size_t i;

	for (i = 0; i < len && (line[i] == ' ' || line[i] == '\t'); i++)
		;
	return i == len || line[i] == '\n';
}

/* What the line is that text[start] begins with, as far as it is known. */
static enum header_line
judge_line(const struct buf *text, size_t start)
{
	enum header_line kind;
	size_t name_len;

	kind = header_line(text->data + start, text->len - start, &name_len);
	/* With nothing to continue a blank begins the body. */
	return kind == HEADER_LINE_MORE && start == 0 ? HEADER_LINE_NONE : kind;
}

/* Keep the line that begins at text[start], unless it says nothing. */
static int
keep_line(struct mail_source *src, struct buf *text, size_t start)
{
	/* Some readers take a blank continuation for the header's end. */
	if (is_blank_line(text->data + start, text->len - start))
		buf_cut(text, start);
	if (text->len > HEADER_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	return source_count(src, text->len - start);
}

/*
 * Read one line into text.  Returns 1, 0 where the header is over, or -1.
 * The line is judged without its NULs and CRs, as it would be stored.
 */
static int
read_header_line(struct mail_source *src, struct buf *text)
{
	size_t len, raw_len, start;

	if (source_peek_line(src, &raw_len) == -1)
		return -1;
	if (raw_len == 0 || source_take_dot(src, raw_len))
		return 0;
	len = source_undouble(src, raw_len);
	start = text->len;
	if (put_clean(text, source_text(src), len) == -1)
		return -1;
	if (text->len - start == 1 && text->data[start] == '\n') {
		buf_cut(text, start);
		src->piece_pos += len;
		return 0;
	}
	if (judge_line(text, start) == HEADER_LINE_NONE) {
		buf_cut(text, start);
		src->piece_pos -= raw_len - len;
		return 0;
	}
	if (take_line(src, len, text) == -1 ||
	    keep_line(src, text, start) == -1)
		return -1;
	return 1;
}

int
mail_read_header(struct mail_source *src, struct mail_header *h)
{
	int more;

	memset(h, 0, sizeof(*h));
	/* A piece more, to judge a line that may turn out to be body. */
	h->text.max = HEADER_MAX + PIECE_SIZE;
	if (skip_from_lines(src) == -1)
		return -1;
	while ((more = read_header_line(src, &h->text)) == 1)
		;
	return more == -1 ? -1 : source_count(src, 1);
}

/* ---- The body ---- */

/* How much of the text means the same whatever byte comes next. */
static size_t
settled_len(const char *text, size_t len)
{
	while (len > 0 && text[len - 1] == '\r')
		len--;
	return len;
}

/*
 * Have settled body text in the piece: *len bytes, 0 at the end.  Where dots
 * count it is one line, or a part of a line longer than a piece.
 */
static int
source_peek_body(struct mail_source *src, size_t *len)
{
	size_t all;

	if (src->piece == NULL && source_fill(src) == -1)
		return -1;
	for (;;) {
		all = source_len(src);
		if (src->dot_ends && source_peek_line(src, &all) == -1)
			return -1;
		*len = src->at_end ? all : settled_len(source_text(src), all);
		if (*len > 0 || src->at_end)
			return 0;
		/* A piece of CRs alone: so many are no line end's. */
		if (source_full(src)) {
			*len = all - 1;
			return 0;
		}
		if (source_fill(src) == -1)
			return -1;
	}
}

/*
 * Drop the CRs before each LF, in place, and those that end the input; other
 * CRs stay.  Returns the new length.
 */
static size_t
drop_line_crs(char *text, size_t len, bool at_end)
{
	char *in, *out, *end, *stop;

	end = text + len;
	in = out = memchr(text, '\r', len);
	if (in == NULL)
		return len;
	while (in < end) {
		for (stop = in; stop < end && *stop == '\r'; stop++)
			;
		if (stop < end ? *stop == '\n' : at_end)
			in = stop;
		if (stop < end)
			stop = memchr(stop, '\r', (size_t)(end - stop));
		if (stop == NULL)
			stop = end;
		memmove(out, in, (size_t)(stop - in));
		out += stop - in;
		in = stop;
	}
	return (size_t)(out - text);
}

/* Store len bytes of the piece; *line_start is kept up to date. */
static int
store_text(struct mail_source *src, size_t len, struct spool_draft *d,
    bool *line_start, bool *reading)
{
	char *text;
	size_t n;

	text = source_text(src);
	n = drop_line_crs(text, len, src->at_end);
	src->piece_pos += len;
	*reading = true;
	if (source_count(src, n) == -1)
		return -1;
	*reading = false;
	if (n > 0)
		*line_start = ends_line(text, n);
	return spool_append(d, text, n);
}

int
mail_copy_body(struct mail_source *src, struct spool_draft *d, bool *reading)
{
	bool line_start;
	size_t len;

	for (line_start = true; !src->dot_seen;) {
		*reading = true;
		if (source_peek_body(src, &len) == -1)
			return -1;
		if (len == 0 || (line_start && source_take_dot(src, len)))
			break;
		if (line_start)
			len = source_undouble(src, len);
		if (store_text(src, len, d, &line_start, reading) == -1)
			return -1;
	}
	*reading = true;
	if (!line_start && source_count(src, 1) == -1)
		return -1;
	*reading = false;
	return line_start ? 0 : spool_append(d, "\n", 1);
}

void
mail_source_free(struct mail_source *src)
{
	free(src->piece);
	src->piece = NULL;
	src->piece_len = src->piece_pos = 0;
}

void
mail_header_free(struct mail_header *h)
{
	buf_free(&h->text);
}
