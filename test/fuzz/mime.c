/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime.c - any message through mime.h: what comes out can be sent, is what was
 * announced, and if nothing was lost decodes to the same bytes, part by part,
 * and needs no further conversion.
 *
 * The first byte says whether the server takes 8-bit text.
 */
#include "fuzz.h"

#include <unistd.h>

#include "header.h"
#include "mime_parts.h"

static int
take_piece(void *arg, char *p, size_t len)
{
	return buf_put(arg, p, len);
}

/* Convert what stands in the file. */
static struct mime_report
convert(FILE *file, const void *text, size_t len, bool eightbit, struct buf *b)
{
	struct job j = {.fd = fileno(file), .length = len};
	struct mime_report r, dry;

	need(ftruncate(j.fd, 0) == 0 && pwrite_full(j.fd, text, len, 0) == 0,
	    "cannot write");
	need(mime_convert(&j, eightbit, NULL, NULL, &dry) == 0, "dry");
	need(mime_convert(&j, eightbit, take_piece, b, &r) == 0, "wet");
	need(dry.size == r.size && dry.changed == r.changed &&
		 dry.eightbit == r.eightbit && dry.note == r.note,
	    "not as it was announced");
	return r;
}

static void
check_lines(const struct buf *b)
{
	size_t length = 0;

	for (size_t i = 0; i < b->len; i++) {
		char c = b->data[i];
		need(c != '\0' && c != '\r', "NUL or CR");
		length = c == '\n' ? 0 : length + 1;
		need(length <= LINE_WIRE_MAX, "a long line");
	}
}

/* ---- What a reader sees ---- */

struct text {
	const char *p, *end;
	const char *message_end;
};

static int
digit(const char *digits, char c)
{
	const char *at = c == '\0' ? NULL : strchr(digits, c);

	return at == NULL ? -1 : (int)(at - digits);
}

static int
hex(char c)
{
	return digit("0123456789abcdef", (char)ascii_lower((unsigned char)c));
}

static void
read_qp(struct text t, struct buf *out)
{
	size_t begin = out->len;

	for (; t.p < t.end; t.p++) {
		size_t left = (size_t)(t.end - t.p);

		if (*t.p == '=' && (left == 1 || t.p[1] == '\n')) {
			/*
			 * RFC 2045, 6.7 (5): none may be the last thing; who
			 * leaves it out ends the line that it would join, and
			 * with it the message.
			 */
			if (left == 2 && t.end == t.message_end &&
			    out->len > begin && out->data[out->len - 1] != '\n')
				(void)buf_putc(out, '\n');
			t.p += left > 1;
		} else if (*t.p == '=' && left > 2 && hex(t.p[1]) >= 0 &&
			   hex(t.p[2]) >= 0) {
			(void)buf_putc(
			    out, (char)(hex(t.p[1]) * 16 + hex(t.p[2])));
			t.p += 2;
		} else {
			(void)buf_putc(out, *t.p);
		}
	}
}

static void
read_base64(struct text t, struct buf *out)
{
	unsigned bits = 0, have = 0;

	for (; t.p < t.end; t.p++) {
		int value = digit("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr"
				  "stuvwxyz0123456789+/",
		    *t.p);

		if (*t.p == '=')
			have = 0;
		if (value < 0)
			continue;
		bits = bits << 6 | (unsigned)value;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		(void)buf_putc(out, (char)(bits >> have));
	}
}

static struct text
line_of(struct text t)
{
	const char *lf = memchr(t.p, '\n', (size_t)(t.end - t.p));

	return (struct text){t.p, lf == NULL ? t.end : lf, t.message_end};
}

/* A header, and where the body begins. */
static struct text
read_head(struct text t, bool message, struct mime_head *h)
{
	const char *begin = t.p;
	size_t name;

	while (t.p < t.end) {
		struct text l = line_of(t);
		size_t len = (size_t)(l.end - l.p);
		enum header_line kind = header_line(l.p, len, &name);
		bool mailbox = message && t.p == begin && len >= 5 &&
			       memcmp(l.p, "From ", 5) == 0;

		if (!mailbox && (kind == HEADER_LINE_NONE ||
				    (kind == HEADER_LINE_MORE && t.p == begin)))
			break;
		t.p = l.end + (l.end < t.end);
	}
	mime_parse_head(h, begin, (size_t)(t.p - begin));
	t.p += t.p < t.end && *t.p == '\n';
	return t;
}

static bool
is_delimiter(struct text l, const char *boundary, bool *close)
{
	size_t len = strlen(boundary) + 2;

	if ((size_t)(l.end - l.p) < len || memcmp(l.p, "--", 2) != 0 ||
	    memcmp(l.p + 2, boundary, len - 2) != 0)
		return false;
	l.p += len;
	*close = l.end - l.p >= 2 && memcmp(l.p, "--", 2) == 0;
	for (l.p += *close ? 2 : 0; l.p < l.end; l.p++)
		if (!ascii_isblank((unsigned char)*l.p))
			return false;
	return true;
}

/* Up to the next delimiter, behind which *t is then. */
static struct text
next_part(struct text *t, const char *boundary, bool *found, bool *close)
{
	struct text part = *t;

	*found = false;
	while (t->p < t->end) {
		struct text l = line_of(*t);

		t->p = l.end + (l.end < t->end);
		*found = is_delimiter(l, boundary, close);
		part.end = *found ? l.p - (l.p > part.p) : t->p;
		if (*found)
			break;
	}
	return part;
}

static void read_entity(
    struct text t, bool message, bool digest, int depth, struct buf *out);

static void
read_parts(struct text t, const struct mime_head *h, int depth, struct buf *out)
{
	bool found, close = false;
	struct text part = next_part(&t, h->boundary, &found, &close);

	(void)buf_put(out, part.p, (size_t)(part.end - part.p));
	while (found && !close) {
		(void)buf_puts(out, "\n[part]\n");
		part = next_part(&t, h->boundary, &found, &close);
		read_entity(part, false, h->digest, depth, out);
	}
	(void)buf_put(out, t.p, (size_t)(t.end - t.p));
}

/* The bytes of all bodies, decoded, in their order. */
static void
read_entity(
    struct text t, bool message, bool digest, int depth, struct buf *out)
{
	struct mime_head h;

	t = read_head(t, message, &h);
	if (digest && !h.type)
		h.kind = KIND_MESSAGE;
	if (depth < MIME_DEPTH_MAX && h.boundary[0] != '\0' &&
	    (h.kind == KIND_MULTIPART || h.kind == KIND_SIGNED))
		read_parts(t, &h, depth + 1, out);
	else if (depth < MIME_DEPTH_MAX && h.kind == KIND_MESSAGE &&
		 h.encoding <= ENCODING_BINARY)
		read_entity(t, true, false, depth + 1, out);
	else if (h.encoding == ENCODING_QP)
		read_qp(t, out);
	else if (h.encoding == ENCODING_BASE64)
		read_base64(t, out);
	else
		(void)buf_put(out, t.p, (size_t)(t.end - t.p));
}

static void
check_decoded(const char *stored, size_t len, const struct buf *sent)
{
	const char *end = stored + len, *sent_end = buf_str(sent) + sent->len;
	struct text before = {stored, end, end};
	struct text after = {buf_str(sent), sent_end, sent_end};
	struct buf a = {0}, b = {0};

	if (len == 0 || stored[len - 1] != '\n')
		return;
	read_entity(before, true, false, 0, &a);
	read_entity(after, true, false, 0, &b);
	need(a.len == b.len &&
		 (a.len == 0 || memcmp(a.data, b.data, a.len) == 0),
	    "decodes to the same");
	buf_free(&a);
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *file;
	struct buf once = {0}, twice = {0};
	struct mime_report r;

	if (size == 0)
		return 0;
	if (file == NULL && (file = tmpfile()) == NULL)
		abort();
	bool eightbit = (data[0] & 1) != 0;
	r = convert(file, data + 1, size - 1, eightbit, &once);
	check_lines(&once);
	if (r.note == NULL) {
		check_decoded((const char *)data + 1, size - 1, &once);
		r = convert(file, buf_str(&once), once.len, eightbit, &twice);
		need(!r.changed, "changed once more");
	}
	buf_free(&once);
	buf_free(&twice);
	return 0;
}
