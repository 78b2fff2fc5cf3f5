/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_copy.c - the message on its way to a mailbox or command.
 *
 * Runs in:   dma-local.
 * Trusts:    nothing. Distrusts: its job, the message.
 * Promises:  the lines of ours cannot be told to be more or others than they
 *            are; the message follows as it came, but for '>' where asked.
 */
#include "local_parts.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "util.h"

#define FROM_LEN (sizeof("From ") - 1)

void
copy_flush(struct copy *c)
{
	if (c->error == 0 &&
	    c->write(c->to, c->waiting.data, c->waiting.len) < 0)
		c->error = errno;
	buf_reset(&c->waiting);
}

void
copy_put(struct copy *c, const char *data, size_t len)
{
	(void)buf_put(&c->waiting, data, len);
	if (c->waiting.len >= COPY_BLOCK)
		copy_flush(c);
}

void
copy_put_line(
    struct copy *c, const char *before, const char *word, const char *after)
{
	copy_put(c, before, strlen(before));
	for (; *word != '\0'; word++) {
		bool bad = (unsigned char)*word <= ' ' || *word == 0x7f;

		copy_put(c, bad ? "_" : word, 1);
	}
	copy_put(c, after, strlen(after));
}

void
copy_put_lines(struct copy *c, const struct delivery *d, bool from)
{
	const char *sender = d->job->sender;
	char date[64] = "";
	time_t now = time(NULL);
	struct tm tm = {0};

	(void)localtime_r(&now, &tm);
	(void)strftime(date, sizeof(date), " %a %b %e %H:%M:%S %Y\n", &tm);
	if (from)
		copy_put_line(c, "From ",
		    sender[0] == '\0' ? "MAILER-DAEMON" : sender, date);
	copy_put_line(c, "Return-Path: <", sender, ">\n");
	if (d->to->orig != NULL)
		copy_put_line(c, "X-Original-To: ", d->to->orig, "\n");
	copy_put_line(c, "Delivered-To: ", d->address, "\n");
}

/* True if data may be, or be part of, "From ". */
static bool
begins_from(const char *data, size_t len)
{
	return memcmp(data, "From ", len < FROM_LEN ? len : FROM_LEN) == 0;
}

/*
 * Put the message's next bytes, with '>' before what a reader would take for
 * a From_, whatever number of '>' it has already.  Returns how many were put:
 * unless they are the last, a few that may be part of "From " are left.
 */
static size_t
put_quoted(struct copy *c, const char *data, size_t len, bool last)
{
	size_t n, left;

	for (left = len; left > 0; data += n, left -= n) {
		const char *newline;

		n = 1;
		if (c->line_begins && *data == '>') {
			copy_put(c, data, n);
			continue;
		}
		newline = memchr(data, '\n', left);
		n = newline != NULL ? (size_t)(newline - data) + 1 : left;
		if (c->line_begins && begins_from(data, n)) {
			if (n < FROM_LEN && !last)
				break;
			if (n >= FROM_LEN)
				copy_put(c, ">", 1);
		}
		copy_put(c, data, n);
		c->line_begins = newline != NULL;
	}
	return len - left;
}

int
copy_put_message(struct copy *c, const struct job *j)
{
	uint64_t left = j->length, offset = j->offset;
	char end = '\n';

	c->line_begins = true;
	while (left > 0 && c->error == 0) {
		size_t n = left < COPY_BLOCK ? (size_t)left : COPY_BLOCK;
		ssize_t got = pread_full(j->fd, c->data, n, (off_t)offset);

		if (got < 0)
			return errno;
		if ((size_t)got < n)
			return EIO; /* shorter than it was */
		if (c->quote)
			n = put_quoted(c, c->data, n, n == left);
		else
			copy_put(c, c->data, n);
		end = c->data[n - 1];
		left -= n;
		offset += n;
	}
	if (end != '\n')
		copy_put(c, "\n", 1);
	return 0;
}

int
copy_to_file(void *to, const void *p, size_t len)
{
	return write_full(*(int *)to, p, len) < 0 ? -1 : 0;
}
