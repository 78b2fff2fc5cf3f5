/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime.c - a message's parts, each converted as far as it needs it
 *          (RFC 2045, 2046, 1847, 6152).
 *
 * Runs in:   dma-smtp. Reads the job's descriptor with pread(2) only.
 * Trusts:    nothing. Distrusts: the message: any bytes, any nesting.
 * Promises:  the structure stays: every boundary, every header field but
 *            those that say how a part is encoded; memory and depth are
 *            bounded.
 *
 * What a part needs is known only at its end, so each leaf is read twice: to
 * see what is in it, then to be put.
 */
#include "mime.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "header.h"
#include "mime_parts.h"
#include "util.h"

#define WINDOW_SIZE (64 * 1024)

struct mime {
	struct mime_writer out;
	bool takes_8bit; /* the server does */
	size_t depth;    /* of parts in parts */
	size_t nboundaries;
	char boundary[MIME_DEPTH_MAX][MIME_BOUNDARY_MAX + 1];
	size_t boundary_len[MIME_DEPTH_MAX];
	/* The text: how far it was read, and a window on it. */
	const struct job *job;
	uint64_t at, window_at;
	size_t window_len;
	bool line_start, unreadable;
	char window[WINDOW_SIZE];
};

/* A line with its LF; or a piece of one that is very long. */
struct line {
	const char *p;
	size_t len;
	bool start; /* of a line */
};

/* What is in a body, and where it ends. */
struct facts {
	bool eightbit, long_line, bare; /* NUL or lone CR */
	bool utf8;                      /* well-formed throughout */
};

static const char note_raw[] = "8-bit text went as it is";
static const char note_signed[] = "a signed part was converted";

/* ---- Lines ---- */

static void
load_window(struct mime *m)
{
	uint64_t left = m->job->length - m->at;
	size_t len = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;
	ssize_t got = pread_full(
	    m->job->fd, m->window, len, (off_t)(m->job->offset + m->at));

	m->window_at = m->at;
	m->window_len = len;
	if (got != (ssize_t)len) {
		m->unreadable = true;
		m->window_len = 0;
	}
}

/* Less than len by what may be a part of a character. */
static size_t
whole_characters(const char *p, size_t len)
{
	for (size_t i = 1; i <= 3 && i < len; i++)
		if ((unsigned char)p[len - i] >= 0xc0)
			return len - i;
	return len;
}

/* See what comes next; false at the end. */
static bool
see_line(struct mime *m, struct line *l)
{
	const char *lf;

	for (;;) {
		if (m->at >= m->job->length || m->unreadable ||
		    m->out.error != 0)
			return false;
		bool inside = m->at >= m->window_at &&
			      m->at - m->window_at < m->window_len;
		size_t skip = inside ? (size_t)(m->at - m->window_at) : 0;
		l->p = m->window + skip;
		l->len = inside ? m->window_len - skip : 0;
		l->start = m->line_start;
		lf = inside ? memchr(l->p, '\n', l->len) : NULL;
		if (lf != NULL) {
			l->len = (size_t)(lf - l->p) + 1;
			return true;
		}
		if (inside && m->at + l->len == m->job->length)
			return true;
		if (l->len == WINDOW_SIZE) {
			l->len = whole_characters(l->p, l->len);
			return true;
		}
		load_window(m);
	}
}

static void
pass_line(struct mime *m, const struct line *l)
{
	m->at += l->len;
	m->line_start = l->p[l->len - 1] == '\n';
}

/* Is the line a delimiter of this boundary (RFC 2046, 5.1.1)? */
static bool
is_delimiter(
    const struct line *l, const char *boundary, size_t len, bool *close)
{
	size_t i;

	if (l->len < 2 + len || memcmp(l->p + 2, boundary, len) != 0)
		return false;
	i = 2 + len;
	*close = i + 2 <= l->len && l->p[i] == '-' && l->p[i + 1] == '-';
	for (i += *close ? 2 : 0; i < l->len; i++)
		if (!ascii_isblank((unsigned char)l->p[i]) && l->p[i] != '\n')
			return false;
	return true;
}

/*
 * The number of the multipart, from 1 for the outermost, whose delimiter the
 * line is, or 0.  The outer ones come first: they end those within.
 */
static size_t
find_delimiter(const struct mime *m, const struct line *l, bool *close)
{
	if (!l->start || l->len < 2 || l->p[0] != '-' || l->p[1] != '-')
		return 0;
	for (size_t i = 0; i < m->nboundaries; i++)
		if (is_delimiter(l, m->boundary[i], m->boundary_len[i], close))
			return i + 1;
	return 0;
}

/* See the next line of a body; false where the body ends. */
static bool
see_body_line(struct mime *m, struct line *l, bool *delimited)
{
	bool close;

	*delimited = false;
	if (!see_line(m, l))
		return false;
	*delimited = find_delimiter(m, l, &close) > 0;
	return !*delimited;
}

/* ---- What is in a body ---- */

static size_t
ascii_len(const char *p, size_t len)
{
	size_t i = 0;

	while (i < len && (unsigned char)p[i] < 0x80)
		i++;
	return i;
}

static void
look_at(struct facts *f, const char *p, size_t len)
{
	size_t n, i = ascii_len(p, len);

	f->bare = f->bare || memchr(p, '\0', len) != NULL ||
		  memchr(p, '\r', len) != NULL;
	f->eightbit = f->eightbit || i < len;
	for (; i < len && f->utf8; i += n) {
		n = addr_utf8_len(p + i, len - i);
		f->utf8 = n > 0;
	}
}

/* Look ahead to the end of the body that comes next. */
static void
scan_body(struct mime *m, struct facts *f)
{
	uint64_t at = m->at;
	size_t length = 0;
	bool delimited;
	struct line l;

	*f = (struct facts){.utf8 = true};
	while (see_body_line(m, &l, &delimited)) {
		bool whole = l.p[l.len - 1] == '\n';
		look_at(f, l.p, l.len);
		length += whole ? l.len - 1 : l.len;
		f->long_line = f->long_line || length > LINE_WIRE_MAX;
		if (whole)
			length = 0;
		pass_line(m, &l);
	}
	m->at = at;
	m->line_start = true;
}

static bool
may_go_as_it_is(const struct mime *m, const struct facts *f)
{
	return !f->long_line && !f->bare && (!f->eightbit || m->takes_8bit);
}

/* ---- Parts ---- */

static void convert_entity(struct mime *m, bool message, bool digest);

/*
 * Put a body.  The LF before a delimiter belongs to that (RFC 2046, 5.1.1),
 * so each one is held back until it is known what follows.
 */
static void
put_body(struct mime *m, enum mime_coder coder)
{
	bool delimited, lf = false;
	struct line l;

	if (coder != CODER_PLAIN)
		m->out.report->changed = true;
	m->out.guarded = m->nboundaries > 0;
	while (see_body_line(m, &l, &delimited)) {
		if (coder == CODER_PLAIN && !m->takes_8bit &&
		    ascii_len(l.p, l.len) < l.len)
			mime_note(&m->out, note_raw);
		if (lf)
			mime_encode(&m->out, coder, "\n", 1);
		lf = l.p[l.len - 1] == '\n';
		mime_encode(&m->out, coder, l.p, lf ? l.len - 1 : l.len);
		pass_line(m, &l);
	}
	if (lf && !delimited)
		mime_encode(&m->out, coder, "\n", 1);
	mime_encode_end(&m->out, coder);
	if (lf && delimited)
		mime_puts(&m->out, "\n");
}

/* A header under way, and what is to be different in it. */
struct head {
	struct buf text; /* without the empty line after it */
	struct mime_head is;
	bool message;         /* it has a header of its own, not of a part */
	const char *encoding; /* to be put, or NULL */
	const char *charset;  /* of the Content-Type it lacks, or NULL */
};

/* The fields of a header, as far as they are some. */
static void
read_head(struct mime *m, struct head *h)
{
	size_t name_len;
	struct line l;
	bool delimited;

	while (see_body_line(m, &l, &delimited)) {
		bool mailbox = h->message && h->text.len == 0 && l.len > 5 &&
			       memcmp(l.p, "From ", 5) == 0;
		enum header_line kind = header_line(l.p, l.len, &name_len);
		if (!mailbox && l.start &&
		    (kind == HEADER_LINE_NONE ||
			(kind == HEADER_LINE_MORE && h->text.len == 0)))
			break;
		/* Too long: what is left of it goes with the body. */
		if (buf_put(&h->text, l.p, l.len) == -1)
			break;
		pass_line(m, &l);
	}
	mime_parse_head(&h->is, buf_str(&h->text), h->text.len);
}

static void
put_encoding(struct mime *m, struct head *h)
{
	mime_puts(&m->out, "Content-Transfer-Encoding: ");
	mime_puts(&m->out, h->encoding);
	mime_puts(&m->out, "\n");
	h->encoding = NULL;
}

/*
 * The end of a header.  A malformed one may have none, which is left so unless
 * another header follows (needed), with which it must not become one.
 */
static void
put_empty_line(struct mime *m, bool needed)
{
	bool delimited, more;
	struct line l;

	more = see_body_line(m, &l, &delimited);
	if (more && l.start && l.p[0] == '\n')
		pass_line(m, &l);
	else if (!more || !needed)
		return;
	else
		m->out.report->changed = true;
	mime_puts(&m->out, "\n");
}

/* Put the header and what it lacks, and the empty line before the body. */
static void
put_head(struct mime *m, struct head *h, enum mime_coder body)
{
	const char *p = buf_str(&h->text), *end = p + h->text.len;
	bool change = h->encoding != NULL, is_encoding;
	size_t n;

	for (; p < end; p += n) {
		n = mime_field(p, (size_t)(end - p), &is_encoding);
		if (!is_encoding || !change)
			mime_put_plain(&m->out, p, n, true);
		else if (h->encoding != NULL)
			put_encoding(m, h);
	}
	buf_free(&h->text);
	if (change) {
		m->out.report->changed = true;
		if (h->message && !h->is.version)
			mime_puts(&m->out, "MIME-Version: 1.0\n");
		if (h->charset != NULL) {
			mime_puts(
			    &m->out, "Content-Type: text/plain; charset=");
			mime_puts(&m->out, h->charset);
			mime_puts(&m->out, "\n");
		}
		if (h->encoding != NULL)
			put_encoding(m, h);
	}
	/* "=00:" is a field, where NUL and a colon were none. */
	put_empty_line(
	    m, change || body != CODER_PLAIN || h->is.kind == KIND_MESSAGE);
}

static enum mime_coder
choose_coder(struct head *h)
{
	switch (h->is.encoding) {
	case ENCODING_QP:
		return CODER_REQP;
	case ENCODING_BASE64:
		return CODER_REBASE64;
	case ENCODING_OTHER:
		return CODER_PLAIN;
	default:
		break;
	}
	switch (h->is.kind) {
	case KIND_TEXT:
		h->encoding = "quoted-printable";
		return CODER_QP;
	case KIND_OTHER:
		h->encoding = "base64";
		return CODER_BASE64;
	default:
		return CODER_PLAIN;
	}
}

/*
 * A body that is not looked into.  What is no text had the line ends of this
 * machine when it was piped in, so base64 keeps them: LF.
 */
static void
convert_leaf(struct mime *m, struct head *h)
{
	enum mime_coder coder = CODER_PLAIN;
	bool untyped = h->message && !h->is.type;
	struct facts f;

	scan_body(m, &f);
	if (!may_go_as_it_is(m, &f))
		coder = choose_coder(h);
	if (coder == CODER_PLAIN && f.eightbit && m->takes_8bit &&
	    h->is.encoding <= (untyped ? ENCODING_BINARY : ENCODING_7BIT))
		h->encoding = "8bit";
	if (untyped && h->encoding != NULL)
		h->charset = f.utf8 ? "utf-8" : "unknown-8bit";
	put_head(m, h, coder);
	put_body(m, coder);
}

/* RFC 2045, 6.4: what is made of parts is not encoded, only labelled. */
static void
relabel(struct mime *m, struct head *h)
{
	enum mime_encoding is = h->is.encoding;

	if (!m->takes_8bit && (is == ENCODING_8BIT || is == ENCODING_BINARY))
		h->encoding = "7bit";
	else if (is == ENCODING_BINARY)
		h->encoding = "8bit";
}

/*
 * Put the delimiter of the innermost multipart; false if something else comes
 * next: the text's end, or one of a multipart around it.
 */
static bool
put_delimiter(struct mime *m, bool *close)
{
	struct line l;
	size_t len;

	if (!see_line(m, &l) || find_delimiter(m, &l, close) != m->nboundaries)
		return false;
	/* Blanks may follow, and must not make it too long. */
	for (len = l.len; len > 0 && strchr(" \t\n", l.p[len - 1]) != NULL;)
		len--;
	mime_put(&m->out, l.p, len);
	if (l.p[l.len - 1] == '\n')
		mime_puts(&m->out, "\n");
	if (l.len > LINE_WIRE_MAX)
		m->out.report->changed = true;
	pass_line(m, &l);
	return true;
}

static void
convert_multipart(struct mime *m, struct head *h)
{
	bool close = false, digest = h->is.digest;
	char *boundary = m->boundary[m->nboundaries];

	m->boundary_len[m->nboundaries] =
	    compat_strlcpy(boundary, h->is.boundary, MIME_BOUNDARY_MAX + 1);
	relabel(m, h);
	put_head(m, h, CODER_PLAIN);
	m->nboundaries++;
	put_body(m, CODER_PLAIN);
	while (!close && put_delimiter(m, &close))
		if (!close)
			convert_entity(m, false, digest);
	m->nboundaries--;
	if (close)
		put_body(m, CODER_PLAIN);
}

/*
 * A signature is over the bytes of the part, its encoding included (RFC 1847,
 * 2.1), so no conversion keeps it.  Nearly every server that does not offer
 * 8BITMIME passes 8-bit text on all the same, and a signature that surely
 * breaks is the greater loss: it goes as it is.  Not so with long lines, NULs
 * and CRs: servers break, drop or refuse those, and the text would be lost
 * with the signature.
 */
static bool
may_keep_signature(struct mime *m, const struct head *h)
{
	struct facts f;

	if (h->is.kind != KIND_SIGNED)
		return false;
	scan_body(m, &f);
	if (f.long_line || f.bare)
		mime_note(&m->out, note_signed);
	return !f.long_line && !f.bare;
}

static void
convert_message(struct mime *m, struct head *h)
{
	relabel(m, h);
	put_head(m, h, CODER_PLAIN);
	convert_entity(m, true, false);
}

/*
 * A header and its body.  message: it is a message, not a part of one; digest:
 * a part that is a message unless it says else.
 */
static void
convert_entity(struct mime *m, bool message, bool digest)
{
	struct head h = {.message = message};
	enum mime_kind kind;

	/* Intake puts some lines of its own before a full header. */
	h.text.max = 2 * HEADER_MAX;
	read_head(m, &h);
	if (digest && !h.is.type)
		h.is.kind = KIND_MESSAGE;
	kind = h.is.kind;
	m->depth++;
	if (may_keep_signature(m, &h)) {
		put_head(m, &h, CODER_PLAIN);
		put_body(m, CODER_PLAIN);
	} else if (m->depth <= MIME_DEPTH_MAX && h.is.boundary[0] != '\0' &&
		   (kind == KIND_MULTIPART || kind == KIND_SIGNED)) {
		convert_multipart(m, &h);
	} else if (m->depth <= MIME_DEPTH_MAX && kind == KIND_MESSAGE &&
		   h.is.encoding <= ENCODING_BINARY) {
		convert_message(m, &h);
	} else {
		convert_leaf(m, &h);
	}
	m->depth--;
}

int
mime_convert(const struct job *j, bool eightbit,
    int (*put)(void *arg, char *p, size_t len), void *arg,
    struct mime_report *report)
{
	struct mime *m = xcalloc(1, sizeof(*m));
	int result, error;

	*report = (struct mime_report){0};
	m->job = j;
	m->takes_8bit = eightbit;
	m->line_start = true;
	m->out.put = put;
	m->out.arg = arg;
	m->out.report = report;
	m->out.line_ended = true;
	convert_entity(m, true, false);
	if (!m->out.line_ended)
		mime_puts(&m->out, "\n");
	result = mime_flush(&m->out);
	error = errno;
	if (result == 0 && m->unreadable) {
		result = -1;
		error = EBADMSG;
	}
	free(m);
	errno = error;
	return result;
}
