/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime_encode.c - quoted-printable and base64, and lines that are too long
 *                 (RFC 2045, 6.7 and 6.8).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its callers. Distrusts: the text, every byte of it.
 * Promises:  what an encoder puts is ASCII in lines of 76 bytes at most; what
 *            no encoder may touch has no NUL, CR or line that is too long.
 */
#include "mime_parts.h"

#include <errno.h>
#include <string.h>

#include "base64.h"
#include "util.h"

#define LINE_ENCODED_MAX 76 /* RFC 2045, 6.7 (5) and 6.8 */

static const char note_broken[] = "lines had to be broken";
static const char note_blanked[] = "NUL or CR became a blank";

/* ---- Bytes out ---- */

static void
account(struct mime_report *r, const char *p, size_t len)
{
	const char *end = p + len;

	r->size += len;
	for (size_t i = 0; !r->eightbit && i < len; i++)
		r->eightbit = (unsigned char)p[i] >= 0x80;
	for (; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
		r->size++;
}

int
mime_flush(struct mime_writer *w)
{
	account(w->report, w->out, w->used);
	if (w->error == 0 && w->used > 0 && w->put != NULL &&
	    w->put(w->arg, w->out, w->used) == -1)
		w->error = errno;
	w->used = 0;
	errno = w->error;
	return w->error == 0 ? 0 : -1;
}

void
mime_put(struct mime_writer *w, const char *p, size_t len)
{
	size_t n;

	if (len > 0)
		w->line_ended = p[len - 1] == '\n';
	for (; len > 0; p += n, len -= n) {
		if (w->used == sizeof(w->out))
			(void)mime_flush(w);
		n = sizeof(w->out) - w->used;
		n = n < len ? n : len;
		memcpy(w->out + w->used, p, n);
		w->used += n;
	}
}

void
mime_puts(struct mime_writer *w, const char *s)
{
	mime_put(w, s, strlen(s));
}

void
mime_note(struct mime_writer *w, const char *note)
{
	if (w->report->note == NULL)
		w->report->note = note;
}

/* ---- As it is ---- */

/* Where to end a line that has room for max bytes and goes on after them. */
static size_t
find_break(const char *p, size_t max)
{
	size_t n;

	for (n = max; n > 0; n--)
		if (ascii_isblank((unsigned char)p[n]) &&
		    !ascii_isblank((unsigned char)p[n - 1]))
			return n;
	/* Nowhere: at least not within a character. */
	for (n = max; n > 0 && n + 3 > max; n--)
		if (((unsigned char)p[n] & 0xc0) != 0x80)
			return n;
	return max;
}

/* A line's next part, without its LF; each line after a break is folded. */
static void
put_line_part(struct mime_writer *w, const char *p, size_t len, bool is_header)
{
	while (len > LINE_WIRE_MAX - w->column) {
		size_t n = find_break(p, LINE_WIRE_MAX - w->column);
		mime_put(w, p, n);
		mime_puts(w, "\n");
		p += n;
		len -= n;
		w->column = 0;
		w->report->changed = true;
		/* In a header that is what folding is: nothing is lost. */
		if (is_header && ascii_isblank((unsigned char)*p))
			continue;
		mime_note(w, note_broken);
		if (!ascii_isblank((unsigned char)*p)) {
			mime_puts(w, " ");
			w->column = 1;
		}
	}
	mime_put(w, p, len);
	w->column += len;
}

void
mime_put_plain(struct mime_writer *w, const char *p, size_t len, bool is_header)
{
	const char *end = p + len;
	size_t n;

	for (; p < end; p += n + 1) {
		for (n = 0; p + n < end && p[n] != '\0' && p[n] != '\r' &&
			    p[n] != '\n';)
			n++;
		put_line_part(w, p, n, is_header);
		if (p + n == end)
			return;
		if (p[n] == '\n') {
			mime_puts(w, "\n");
			w->column = 0;
		} else {
			put_line_part(w, " ", 1, is_header);
			w->report->changed = true;
			mime_note(w, note_blanked);
		}
	}
}

/* ---- Quoted-printable ---- */

static void
qp_put(struct mime_writer *w, const char *p, size_t len)
{
	if (w->column + len >= LINE_ENCODED_MAX) {
		mime_puts(w, "=\n");
		w->column = 0;
	}
	mime_put(w, p, len);
	w->column += len;
}

static void
qp_put_encoded(struct mime_writer *w, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";
	const char text[3] = {'=', digits[c >> 4], digits[c & 15]};

	qp_put(w, text, sizeof(text));
}

static void
qp_release_blank(struct mime_writer *w, bool at_line_end)
{
	const char c = (char)w->blank;

	w->blank = 0;
	if (c != 0 && at_line_end)
		qp_put_encoded(w, (unsigned char)c);
	else if (c != 0)
		qp_put(w, &c, 1);
}

static void
qp_byte(struct mime_writer *w, unsigned char c)
{
	const char text = (char)c;
	bool first;

	qp_release_blank(w, false);
	if (ascii_isblank(c)) {
		w->blank = c;
		return;
	}
	/* A line that a break begins must not look like a boundary. */
	first = w->column == 0 || w->column + 1 >= LINE_ENCODED_MAX;
	if (!ascii_isprint(c) || c == '=' || (c == '-' && first && w->guarded))
		qp_put_encoded(w, c);
	else
		qp_put(w, &text, 1);
}

static void
qp_line_end(struct mime_writer *w)
{
	qp_release_blank(w, true);
	mime_puts(w, "\n");
	w->column = 0;
}

static void
qp_encode(struct mime_writer *w, unsigned char c)
{
	if (c == '\n')
		qp_line_end(w);
	else
		qp_byte(w, c);
}

/* ---- Quoted-printable anew ---- */

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)ascii_lower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What looked like an escape and is none stands for itself. */
static void
reqp_release(struct mime_writer *w)
{
	for (size_t i = 0; i < w->nescape; i++)
		qp_byte(w, (unsigned char)w->escape[i]);
	w->nescape = 0;
}

static void
reqp_encode(struct mime_writer *w, char c)
{
	if (w->nescape == 1 && c == '\n') { /* a soft line break */
		w->nescape = 0;
		return;
	}
	if (w->nescape == 2 && hex_value(c) != -1) {
		w->nescape = 0;
		qp_byte(w, (unsigned char)(hex_value(w->escape[1]) * 16 +
					   hex_value(c)));
		return;
	}
	if (w->nescape == 1 && hex_value(c) != -1) {
		w->escape[w->nescape++] = c;
		return;
	}
	reqp_release(w);
	if (c == '=')
		w->escape[w->nescape++] = c;
	else
		qp_encode(w, (unsigned char)c);
}

/* ---- Base64 ---- */

static void
base64_release(struct mime_writer *w)
{
	char text[LINE_ENCODED_MAX + 1];

	if (w->ngroup == 0)
		return;
	if (w->column > 0)
		mime_puts(w, "\n");
	(void)base64_encode(w->group, w->ngroup, text, sizeof(text));
	mime_puts(w, text);
	w->column = 1;
	w->ngroup = 0;
}

static void
base64_put(struct mime_writer *w, char c)
{
	w->group[w->ngroup++] = c;
	if (w->ngroup == sizeof(w->group))
		base64_release(w);
}

/* Readers pass over what is no digit of base64, and so may we. */
static void
rebase64_put(struct mime_writer *w, char c)
{
	if (!ascii_isalnum((unsigned char)c) && c != '+' && c != '/' &&
	    c != '=')
		return;
	if (w->column == LINE_ENCODED_MAX) {
		mime_puts(w, "\n");
		w->column = 0;
	}
	mime_put(w, &c, 1);
	w->column++;
}

/* ---- Whichever it is ---- */

void
mime_encode(
    struct mime_writer *w, enum mime_coder coder, const char *p, size_t len)
{
	const char *end = p + len;

	if (coder == CODER_PLAIN) {
		mime_put_plain(w, p, len, false);
		return;
	}
	for (; p < end; p++) {
		if (coder == CODER_QP)
			qp_encode(w, (unsigned char)*p);
		else if (coder == CODER_REQP)
			reqp_encode(w, *p);
		else if (coder == CODER_BASE64)
			base64_put(w, *p);
		else
			rebase64_put(w, *p);
	}
}

void
mime_encode_end(struct mime_writer *w, enum mime_coder coder)
{
	if (coder == CODER_REQP && w->nescape == 1)
		w->nescape = 0; /* a soft break before the end */
	reqp_release(w);
	qp_release_blank(w, true);
	base64_release(w);
	w->column = 0;
}
