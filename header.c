/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * header.c - a message header's fields, found and changed (RFC 5322, 2.2).
 *
 * Runs in:   dma. No files, no globals.
 * Trusts:    nothing. Distrusts: the user's header and name.
 * Promises:  what is put is complete lines of a header, and a name never
 *            ends a line or a field of its own.
 */
#include "header.h"

#include <stdint.h>
#include <string.h>

#include "addr.h"
#include "limits.h"
#include "util.h"

/* An encoded-word has 75 bytes at most (RFC 2047, 2). */
#define WORD_HEAD     "=?utf-8?Q?"
#define WORD_TAIL     "?="
#define WORD_TEXT_MAX (75 - (sizeof(WORD_HEAD) - 1) - (sizeof(WORD_TAIL) - 1))
#define UTF8_MAX      4 /* bytes of one character */

static const struct {
	const char *text;
	enum header_name name;
} names[] = {
    {"Bcc", HEADER_BCC},
    {"Cc", HEADER_CC},
    {"Content-Length", HEADER_CONTENT_LENGTH},
    {"Date", HEADER_DATE},
    {"From", HEADER_FROM},
    {"Message-ID", HEADER_MESSAGE_ID},
    {"Received", HEADER_RECEIVED},
    {"Reply-To", HEADER_REPLY_TO},
    {"Resent-Bcc", HEADER_RESENT_BCC},
    {"Resent-Cc", HEADER_RESENT_CC},
    {"Resent-Date", HEADER_RESENT_DATE},
    {"Resent-From", HEADER_RESENT_FROM},
    {"Resent-Message-ID", HEADER_RESENT_MESSAGE_ID},
    {"Resent-Sender", HEADER_RESENT_SENDER},
    {"Resent-To", HEADER_RESENT_TO},
    {"Return-Path", HEADER_RETURN_PATH},
    {"Sender", HEADER_SENDER},
    {"To", HEADER_TO},
};

static enum header_name
name_find(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		if (strlen(names[i].text) == len &&
		    ascii_strncasecmp(names[i].text, text, len) == 0)
			return names[i].name;
	return HEADER_OTHER;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The length of the field name that a line begins with (RFC 5322, 2.2). */
static size_t
name_span(const char *line, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (line[i] <= ' ' || line[i] >= 0x7f || line[i] == ':')
			break;
	return i;
}

enum header_line
header_line(const char *line, size_t len, size_t *name_len)
{
	size_t i, n;

	if (len > 0 && is_blank(line[0]))
		return HEADER_LINE_MORE;
	n = name_span(line, len);
	for (i = n; i < len && is_blank(line[i]); i++)
		;
	if (n == 0 || i == len || line[i] != ':')
		return HEADER_LINE_NONE;
	*name_len = n;
	return HEADER_LINE_FIELD;
}

static size_t
line_span(const char *line, size_t len)
{
	const char *lf;

	lf = memchr(line, '\n', len);
	return lf == NULL ? len : (size_t)(lf - line) + 1;
}

/* Append a field that begins at `start` with a line of n bytes. */
static void
fields_add(struct header_field **fields, size_t count, const char *block,
    size_t start, size_t name_len)
{
	struct header_field *f;

	/* Grown by doubling: room is added at each power of two. */
	if ((count & (count - 1)) == 0)
		*fields = xreallocarray(
		    *fields, count == 0 ? 1 : 2 * count, sizeof(**fields));
	f = *fields + count;
	f->name = name_find(block + start, name_len);
	f->start = start;
	f->body = start + name_len;
	while (block[f->body] != ':')
		f->body++;
	f->body++;
	f->end = f->body;
}

size_t
header_scan(const char *block, size_t len, struct header_field **fields)
{
	size_t count, name_len, n, pos;

	*fields = NULL;
	count = 0;
	for (pos = 0; pos < len; pos += n) {
		n = line_span(block + pos, len - pos);
		if (header_line(block + pos, n, &name_len) == HEADER_LINE_FIELD)
			fields_add(fields, count++, block, pos, name_len);
		if (count > 0)
			(*fields)[count - 1].end = pos + n;
	}
	return count;
}

/* A field that is being copied with domains put in. */
struct qualify {
	struct buf *out;
	const char *body, *domain;
	size_t copied, bare; /* bytes copied; addresses without a domain */
	int error;
};

static int
qualify_count(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct qualify *q = arg;

	(void)start;
	(void)end;
	if (addr_is_bare(a))
		q->bare++;
	return 0;
}

static int
qualify_put(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct qualify *q = arg;

	(void)start;
	if (!addr_is_bare(a))
		return 0;
	if (buf_put(q->out, q->body + q->copied, end - q->copied) == -1 ||
	    buf_putc(q->out, '@') == -1 || buf_puts(q->out, q->domain) == -1)
		return q->error = -1;
	q->copied = end;
	return 0;
}

int
header_put_qualified(struct buf *out, const char *block,
    const struct header_field *f, const char *domain)
{
	struct qualify q = {
	    .out = out, .body = block + f->body, .domain = domain};
	const char *why;
	size_t len;

	/* Twice: a list that is malformed further on must stay as it is. */
	len = f->end - f->body;
	if (addr_parse_list(q.body, len, qualify_count, &q, &why) == -1 ||
	    q.bare == 0)
		return buf_put(out, block + f->start, f->end - f->start);
	if (buf_put(out, block + f->start, f->body - f->start) == -1)
		return -1;
	addr_parse_list(q.body, len, qualify_put, &q, &why);
	if (q.error == -1)
		return -1;
	return buf_put(out, q.body + q.copied, len - q.copied);
}

/* ---- A person's name ---- */

/*
 * Make a name fit for a field: no control characters, well-formed UTF-8,
 * FULLNAME_MAX bytes at most.  *international: has a byte over 0x7f.
 */
static size_t
name_clean(char dst[FULLNAME_MAX], const char *name, bool *international)
{
	size_t left, n, used;

	*international = false;
	used = 0;
	for (left = strlen(name); left > 0; name += n, left -= n) {
		n = addr_utf8_len(name, left);
		if (used + (n == 0 ? 1 : n) > FULLNAME_MAX)
			break;
		if (n == 0) {
			dst[used++] = '?';
			n = 1;
		} else if (n > 1) {
			*international = true;
			memcpy(dst + used, name, n);
			used += n;
		} else if (ascii_isprint((unsigned char)*name)) {
			dst[used++] = *name;
		}
	}
	return used;
}

/* True for atoms with one blank between them (RFC 5322, 3.2.3). */
static bool
is_atom_sequence(const char *s, size_t len)
{
	bool blank;
	size_t i;

	blank = true;
	for (i = 0; i < len; i++) {
		if (addr_is_special(s[i]) || (blank && s[i] == ' '))
			return false;
		blank = s[i] == ' ';
	}
	return !blank;
}

static int
put_quoted(struct buf *out, const char *s, size_t len)
{
	size_t i;

	if (buf_putc(out, '"') == -1)
		return -1;
	for (i = 0; i < len; i++) {
		if ((s[i] == '"' || s[i] == '\\') && buf_putc(out, '\\') == -1)
			return -1;
		if (buf_putc(out, s[i]) == -1)
			return -1;
	}
	return buf_putc(out, '"');
}

/*
 * One character as the Q encoding has it within a phrase (RFC 2047, 5).
 * Returns the length; dst takes 3 * UTF8_MAX bytes.
 */
static size_t
q_encode(char *dst, const char *s, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char c;
	size_t i, n;

	n = 0;
	for (i = 0; i < len; i++) {
		c = (unsigned char)s[i];
		if (ascii_isalnum(c) || c == '-') {
			dst[n++] = (char)c;
		} else if (c == ' ') {
			dst[n++] = '_';
		} else {
			dst[n++] = '=';
			dst[n++] = hex[c >> 4];
			dst[n++] = hex[c & 15];
		}
	}
	return n;
}

/* Encoded-words, each on a line of its own, none of which cuts a character. */
static int
put_encoded(struct buf *out, const char *s, size_t len)
{
	char piece[3 * UTF8_MAX];
	size_t n, step, used;

	if (buf_puts(out, WORD_HEAD) == -1)
		return -1;
	for (used = 0; len > 0; s += step, len -= step, used += n) {
		step = addr_utf8_len(s, len);
		n = q_encode(piece, s, step);
		if (used + n > WORD_TEXT_MAX) {
			if (buf_puts(out, WORD_TAIL "\n " WORD_HEAD) == -1)
				return -1;
			used = 0;
		}
		if (buf_put(out, piece, n) == -1)
			return -1;
	}
	return buf_puts(out, WORD_TAIL);
}

int
header_put_phrase(struct buf *out, const char *name)
{
	char clean[FULLNAME_MAX];
	bool international;
	size_t len;

	len = name_clean(clean, name, &international);
	if (international)
		return put_encoded(out, clean, len);
	if (is_atom_sequence(clean, len))
		return buf_put(out, clean, len);
	return put_quoted(out, clean, len);
}
