/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * header.c - a message header's fields, found and changed (RFC 5322, 2.2).
 *
 * Runs in:   dma, dma-smtp. No files, no globals.
 * Trusts:    nothing. Distrusts: the user's header and name.
 * Promises:  what is put is complete lines of a header, and a name never
 *            ends a line or a field of its own.
 */
#include "header.h"

#include <stdio.h>
#include <string.h>

#include "addr.h"
#include "limits.h"
#include "util.h"

/* A line with an encoded-word has 76 bytes at most (RFC 2047, 2). */
#define WORD_HEAD "=?utf-8?Q?"
#define WORD_TAIL "?="
#define WORD_LINE (76 - (sizeof("Resent-From: ") - 1))
#define WORD_TEXT_MAX                                                          \
	(WORD_LINE - (sizeof(WORD_HEAD) - 1) - (sizeof(WORD_TAIL) - 1))
#define UTF8_MAX 4 /* bytes of one character */

static const struct {
	const char *text;
	enum header_name name;
	unsigned traits;
} known[] = {
    {"Bcc", HEADER_BCC, HEADER_RECIPIENTS | HEADER_DROPPED},
    {"Cc", HEADER_CC, HEADER_RECIPIENTS | HEADER_ADDRESSES},
    {"Content-Length", HEADER_OTHER, HEADER_DROPPED},
    {"Date", HEADER_DATE, 0},
    {"From", HEADER_FROM, HEADER_ADDRESSES | HEADER_AUTHOR},
    {"Message-ID", HEADER_MESSAGE_ID, 0},
    {"Received", HEADER_RECEIVED, 0},
    {"Reply-To", HEADER_OTHER, HEADER_ADDRESSES},
    {"Resent-Bcc", HEADER_OTHER,
	HEADER_RESENT | HEADER_RECIPIENTS | HEADER_DROPPED},
    {"Resent-Cc", HEADER_OTHER,
	HEADER_RESENT | HEADER_RECIPIENTS | HEADER_ADDRESSES},
    {"Resent-Date", HEADER_RESENT_DATE, HEADER_RESENT},
    {"Resent-From", HEADER_RESENT_FROM,
	HEADER_RESENT | HEADER_ADDRESSES | HEADER_AUTHOR},
    {"Resent-Message-ID", HEADER_RESENT_MESSAGE_ID, HEADER_RESENT},
    {"Resent-Sender", HEADER_OTHER,
	HEADER_RESENT | HEADER_ADDRESSES | HEADER_AUTHOR},
    {"Resent-To", HEADER_OTHER,
	HEADER_RESENT | HEADER_RECIPIENTS | HEADER_ADDRESSES},
    {"Return-Path", HEADER_OTHER, HEADER_DROPPED},
    {"Sender", HEADER_OTHER, HEADER_ADDRESSES | HEADER_AUTHOR},
    {"To", HEADER_TO, HEADER_RECIPIENTS | HEADER_ADDRESSES},
};

enum header_line
header_line(const char *line, size_t len, size_t *name_len)
{
	size_t i, n;

	if (len > 0 && ascii_isblank(line[0]))
		return HEADER_LINE_MORE;
	for (n = 0; n < len && line[n] != ':'; n++)
		if (line[n] <= ' ' || line[n] >= 0x7f)
			break;
	for (i = n; i < len && ascii_isblank(line[i]); i++)
		;
	if (n == 0 || i == len || line[i] != ':')
		return HEADER_LINE_NONE;
	*name_len = n;
	return HEADER_LINE_FIELD;
}

static struct header_field
make_field(const char *block, size_t start, size_t name_len)
{
	const char *name = block + start;
	struct header_field f = {.start = start};
	size_t i;

	for (i = 0; i < ARRAY_LEN(known); i++) {
		if (strlen(known[i].text) == name_len &&
		    ascii_strncasecmp(known[i].text, name, name_len) == 0) {
			f.name = known[i].name;
			f.traits = known[i].traits;
		}
	}
	f.body = start + name_len;
	while (block[f.body++] != ':')
		continue;
	return f;
}

size_t
header_scan(const char *block, size_t len, struct header_field **fields)
{
	struct header_field *list = NULL;
	size_t count = 0, cap = 0, name_len, n, pos;
	const char *line, *lf;

	for (pos = 0; pos < len; pos += n) {
		line = block + pos;
		lf = memchr(line, '\n', len - pos);
		n = lf != NULL ? (size_t)(lf - line) + 1 : len - pos;
		if (header_line(line, n, &name_len) == HEADER_LINE_FIELD) {
			if (count == cap) {
				cap = 2 * cap + 16;
				list = xreallocarray(list, cap, sizeof(*list));
			}
			list[count++] = make_field(block, pos, name_len);
		}
		if (count > 0)
			list[count - 1].end = pos + n;
	}
	*fields = list;
	return count;
}

static int
put_name(struct buf *out, const char *block, const struct header_field *f)
{
	size_t end = f->body - 1;

	while (ascii_isblank(block[end - 1]))
		end--;
	if (buf_put(out, block + f->start, end - f->start) == -1)
		return -1;
	return buf_putc(out, ':');
}

int
header_put_field(
    struct buf *out, const char *block, const struct header_field *f)
{
	if (put_name(out, block, f) == -1)
		return -1;
	return buf_put(out, block + f->body, f->end - f->body);
}

/* A field's body that is being copied with addresses changed. */
struct edit {
	struct buf *out;
	const char *body;
	size_t copied; /* bytes of it */
	bool (*edit)(void *arg, struct addr *a);
	void *arg;
};

static int
put_edited(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct edit *e = arg;
	struct addr changed = *a;

	if (!e->edit(e->arg, &changed))
		return 0;
	if (buf_put(e->out, e->body + e->copied, start - e->copied) == -1)
		return -1;
	e->copied = end;
	return buf_puts(e->out, changed.text);
}

int
header_put_edited(struct buf *out, const char *block,
    const struct header_field *f, bool (*edit)(void *arg, struct addr *a),
    void *arg)
{
	struct edit e = {
	    .out = out, .body = block + f->body, .edit = edit, .arg = arg};
	size_t mark, len = f->end - f->body;
	const char *why;
	int result = 0;

	if (put_name(out, block, f) == -1)
		return -1;
	mark = out->len;
	if (addr_parse_list(e.body, len, put_edited, &e, &why) == -1) {
		if (why == NULL)
			return -1;
		/* Malformed further on: it stays as it is. */
		buf_truncate(out, mark);
		e.copied = 0;
		result = 1;
	}
	if (buf_put(out, e.body + e.copied, len - e.copied) == -1)
		return -1;
	return result;
}

/* How long is the token that p begins with: a comment, a quote, or a byte. */
static size_t
plain_token(const char *p, size_t len)
{
	size_t i, depth = 0;

	for (i = 0; i < len; i++) {
		if (p[i] == '\\' && i + 1 < len && p[i + 1] != '\n')
			i++;
		else if (*p == '"' && p[i] == '"' && i > 0)
			break;
		else if (*p == '(' && p[i] == '(')
			depth++;
		else if (*p == '(' && p[i] == ')' && --depth == 0)
			break;
		if (*p != '"' && *p != '(')
			break;
	}
	return i < len ? i + 1 : len;
}

int
header_put_plain(struct buf *out, const char *body, size_t len)
{
	const char *before = "";
	size_t n;

	/* What an open quote would take with it. */
	while (
	    len > 0 && (ascii_isblank(body[len - 1]) || body[len - 1] == '\n'))
		len--;
	for (; len > 0; body += n, len -= n) {
		n = plain_token(body, len);
		if (*body == '\n')
			before = "\n ";
		else if ((ascii_isblank(*body) || *body == '(') &&
			 before[0] == '\0')
			before = " ";
		if (*body == '\n' || ascii_isblank(*body) || *body == '(')
			continue;
		if (buf_puts(out, before) == -1 || buf_put(out, body, n) == -1)
			return -1;
		before = "";
	}
	return buf_putc(out, '\n');
}

/* ---- A person's name ---- */

/*
 * Make a name fit for a field: no control characters, well-formed UTF-8,
 * FULLNAME_MAX bytes at most.  *international: has a byte over 0x7f.
 */
static size_t
name_clean(char dst[FULLNAME_MAX], const char *name, bool *international)
{
	size_t left, n, used = 0;
	const char *text;

	*international = false;
	for (left = strlen(name); left > 0; name += n, left -= n) {
		text = name;
		n = addr_utf8_len(name, left);
		if (n == 0) {
			text = "?";
			n = 1;
		}
		if (n == 1 && !ascii_isprint(*text))
			continue;
		if (used + n > FULLNAME_MAX)
			break;
		memcpy(dst + used, text, n);
		used += n;
		*international = *international || n > 1;
	}
	return used;
}

/*
 * One character as the Q encoding has it within a phrase (RFC 2047, 5).
 * Returns the length.
 */
static size_t
q_encode(char dst[3 * UTF8_MAX + 1], const char *s, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (ascii_isalnum((unsigned char)s[i]) || s[i] == '-')
			dst[n++] = s[i];
		else if (s[i] == ' ')
			dst[n++] = '_';
		else
			n += (size_t)snprintf(
			    dst + n, 4, "=%02X", (unsigned char)s[i]);
	}
	return n;
}

/* Encoded-words, each on a line of its own, none of which cuts a character. */
static int
put_encoded(struct buf *out, const char *s, size_t len)
{
	char piece[3 * UTF8_MAX + 1];
	const char *before = WORD_HEAD;
	size_t n, step, used = 0;

	for (; len > 0; s += step, len -= step, used += n) {
		step = addr_utf8_len(s, len);
		n = q_encode(piece, s, step);
		if (used + n > WORD_TEXT_MAX) {
			before = WORD_TAIL "\n " WORD_HEAD;
			used = 0;
		}
		if (buf_puts(out, before) == -1 || buf_put(out, piece, n) == -1)
			return -1;
		before = "";
	}
	return buf_puts(out, WORD_TAIL);
}

int
header_put_phrase(struct buf *out, const char *name)
{
	char clean[FULLNAME_MAX], quoted[2 * FULLNAME_MAX + 2];
	bool international;
	size_t len = name_clean(clean, name, &international);

	if (international)
		return put_encoded(out, clean, len);
	if (addr_is_atoms(clean, len, ' '))
		return buf_put(out, clean, len);
	return buf_put(out, quoted, addr_quote(quoted, clean, len));
}
