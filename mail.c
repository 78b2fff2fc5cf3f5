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

#define PIECE_SIZE 65536            /* bytes of one read(2): a pipe's */
#define PIECE_MAX  (2 * HEADER_MAX) /* bytes of a line looked at whole */

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
source_text(const struct mail_source *src)
{
	return src->piece + src->piece_pos;
}

static size_t
source_len(const struct mail_source *src)
{
	return src->piece_len - src->piece_pos;
}

/* Read more behind what the piece still holds. */
static int
source_fill(struct mail_source *src)
{
	ssize_t n;
	char *p;

	if (src->piece_pos > 0) {
		memmove(src->piece, source_text(src), source_len(src));
		src->piece_len -= src->piece_pos;
		src->piece_pos = 0;
	}
	if (src->piece_len == src->piece_size) {
		src->piece_size +=
		    src->piece_size > 0 ? src->piece_size : PIECE_SIZE;
		src->piece = xreallocarray(src->piece, src->piece_size, 1);
	}
	p = src->piece + src->piece_len;
	n = src->read != NULL
		? src->read(src->arg, p, src->piece_size - src->piece_len)
		: read_waiting(src->fd, p, src->piece_size - src->piece_len);
	if (n == -1)
		return -1;
	src->piece_len += (size_t)n;
	src->at_end = n == 0;
	return 0;
}

/*
 * Have the next line in the piece: *len bytes with its LF, or without one
 * where it is the input's last, or longer than PIECE_MAX.  *len is 0 at the
 * end only.
 */
static int
source_peek_line(struct mail_source *src, size_t *len)
{
	const char *lf = NULL;
	size_t searched;

	for (searched = 0;; searched = *len) {
		*len = source_len(src);
		if (*len > searched)
			lf = memchr(
			    source_text(src) + searched, '\n', *len - searched);
		if (lf != NULL)
			*len = (size_t)(lf - source_text(src)) + 1;
		if (lf != NULL || src->at_end || *len >= PIECE_MAX)
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
	const char *line = source_text(src);

	if (!src->dot_ends || len > 3 || line[0] != '.' ||
	    !ends_line(line, len) || (len == 3 && line[1] != '\r'))
		return false;
	src->piece_pos += len;
	src->dot_seen = true;
	return true;
}

/* ---- The header ---- */

/* Append without NULs and CRs, neither of which a header may have. */
static int
put_clean(struct buf *out, const char *p, size_t len)
{
	size_t n;

	for (; len > 0; p += n, len -= n) {
		for (n = 0; n < len && p[n] != '\0' && p[n] != '\r'; n++)
			;
		if (buf_put(out, p, n) == -1)
			return -1;
		if (n < len)
			n++;
	}
	return 0;
}

/* Drop the lines that a mailbox puts before a message. */
static int
skip_from_lines(struct mail_source *src)
{
	static const char from[] = "From ";
	const char *line;
	size_t len, mark, name_len;

	for (;;) {
		if (source_peek_line(src, &len) == -1)
			return -1;
		line = source_text(src);
		mark = len > 0 && line[0] == '>' ? 1 : 0;
		if (len - mark < sizeof(from) - 1 ||
		    memcmp(line + mark, from, sizeof(from) - 1) != 0 ||
		    header_line(line, len, &name_len) == HEADER_LINE_FIELD)
			return 0;
		src->piece_pos += len;
	}
}

/*
 * Read one line into text.  Returns 1, 0 where the header is over, or -1.
 * The line is judged without its NULs and CRs, as it would be stored.
 */
static int
read_header_line(struct mail_source *src, struct buf *text)
{
	size_t len, name_len, start = text->len;
	enum header_line kind;
	const char *line;

	if (source_peek_line(src, &len) == -1)
		return -1;
	if (len == 0 || source_take_dot(src, len))
		return 0;
	if (put_clean(text, source_text(src), len) == -1)
		return -1;
	line = buf_str(text) + start;
	kind = header_line(line, text->len - start, &name_len);
	/* With nothing to continue a blank begins the body. */
	if (kind == HEADER_LINE_NONE ||
	    (kind == HEADER_LINE_MORE && start == 0)) {
		if (line[0] == '\n')
			src->piece_pos += len;
		buf_truncate(text, start);
		return 0;
	}
	/* Some readers take a blank continuation for the header's end. */
	if (line[strspn(line, " \t\n")] == '\0')
		buf_truncate(text, start);
	else if (!ends_line(line, text->len - start) &&
		 buf_putc(text, '\n') == -1)
		return -1;
	src->piece_pos += len;
	if (text->len > HEADER_MAX || len == PIECE_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	return source_count(src, text->len - start) == -1 ? -1 : 1;
}

int
mail_read_header(struct mail_source *src, struct mail_header *h)
{
	int more;

	memset(h, 0, sizeof(*h));
	if (skip_from_lines(src) == -1)
		return -1;
	while ((more = read_header_line(src, &h->text)) == 1)
		;
	return more == -1 ? -1 : source_count(src, 1);
}

/* ---- The body ---- */

/*
 * Make a line of the piece what is stored: CRs before its LF, and those that
 * end the input, are no part of it.  Those that end what is known of a very
 * long line wait for what follows, unless there is nothing else.  Returns the
 * length; *used is that in the piece.
 */
static size_t
trim_line(char *line, size_t *used, bool at_end)
{
	bool whole = ends_line(line, *used);
	size_t len = whole ? *used - 1 : *used;

	while (len > 0 && line[len - 1] == '\r')
		len--;
	if (whole)
		line[len++] = '\n';
	else if (!at_end)
		*used = len = len > 0 ? len : *used - 1;
	return len;
}

/* The length of the next line, and of what follows it as long as no CR does. */
static size_t
join_lines(const struct mail_source *src, size_t line_len)
{
	const char *text = source_text(src);
	const char *cr = memchr(text, '\r', source_len(src));
	size_t len = cr != NULL ? (size_t)(cr - text) : source_len(src);

	return len > line_len ? len : line_len;
}

int
mail_pass_body(struct mail_source *src,
    int (*put)(void *arg, const char *p, size_t len), void *arg, bool *reading)
{
	bool line_start = true;
	size_t len, used;
	char *line;

	*reading = true;
	while (!src->dot_seen) {
		if (source_peek_line(src, &used) == -1)
			return -1;
		if (used == 0 || (line_start && source_take_dot(src, used)))
			break;
		line = source_text(src);
		if (!src->dot_ends)
			used = join_lines(src, used);
		len = trim_line(line, &used, src->at_end);
		src->piece_pos += used;
		if (source_count(src, len) == -1)
			return -1;
		*reading = false;
		if (put(arg, line, len) != 0)
			return -1;
		*reading = true;
		if (len > 0)
			line_start = ends_line(line, len);
	}
	if (line_start)
		return 0;
	if (source_count(src, 1) == -1)
		return -1;
	*reading = false;
	return put(arg, "\n", 1);
}

void
mail_source_restart(struct mail_source *src)
{
	src->piece_len = src->piece_pos = 0;
	src->taken = 0;
	src->at_end = src->dot_seen = false;
}

void
mail_drain(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char *piece = xmalloc(PIECE_SIZE);
	int64_t left = MAIL_DRAIN_MAX;
	ssize_t n = 1;

	while (n > 0 && left > 0 && isatty(fd) != 1 &&
	       poll(&pfd, 1, MAIL_DRAIN_MS) == 1) {
		n = read(fd, piece, PIECE_SIZE);
		left -= n;
	}
	free(piece);
}

void
mail_source_free(struct mail_source *src)
{
	free(src->piece);
	src->piece = NULL;
	src->piece_size = src->piece_len = src->piece_pos = 0;
}

void
mail_header_free(struct mail_header *h)
{
	buf_free(&h->text);
}
