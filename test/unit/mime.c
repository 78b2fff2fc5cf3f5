/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime.c - tests of mime.h: what of a message changes, and that it decodes to
 * what was stored.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base64.h"
#include "mime.h"
#include "util.h"

#define GIVEN_MAX (1 << 20)
#define BEFORE    "what stands before the message in its file\n"

static int
take_piece(void *arg, char *p, size_t len)
{
	return buf_put(arg, p, len);
}

/* A file with the text somewhere in it. */
static int
make_job(struct job *j, const char *text, size_t len)
{
	FILE *file = tmpfile();

	assert_non_null(file);
	memset(j, 0, sizeof(*j));
	j->fd = dup(fileno(file));
	assert_int_equal(fclose(file), 0);
	j->offset = sizeof(BEFORE) - 1;
	j->length = len;
	assert_int_equal(write_full(j->fd, BEFORE, sizeof(BEFORE) - 1), 0);
	assert_int_equal(write_full(j->fd, text, len), 0);
	return write_full(j->fd, "\0journal\n", 9);
}

/* Convert, and see that the report is the same without put(). */
static void
convert(const char *text, size_t len, bool eightbit, struct buf *out,
    struct mime_report *r)
{
	struct mime_report dry;
	struct job j;
	uint64_t lines = 0;
	bool high = false;

	assert_int_equal(make_job(&j, text, len), 0);
	assert_int_equal(mime_convert(&j, eightbit, NULL, NULL, &dry), 0);
	assert_int_equal(mime_convert(&j, eightbit, take_piece, out, r), 0);
	assert_int_equal(close(j.fd), 0);
	assert_memory_equal(&dry, r, sizeof(dry));
	for (size_t i = 0; i < out->len; i++) {
		lines += out->data[i] == '\n';
		high = high || (unsigned char)out->data[i] >= 0x80;
	}
	assert_int_equal(r->size, out->len + lines);
	assert_int_equal(r->eightbit, high);
	if (!r->changed) {
		assert_int_equal(out->len, len);
		assert_memory_equal(buf_str(out), text, len);
	}
}

/* ---- Tables ---- */

/*
 * In the texts a line "<n x>" stands for n times the letter x.  An expected
 * text of NULL: it stays as it is.
 */
struct text_case {
	const char *name;
	bool eightbit;
	const char *given, *expected, *note;
};

#define X70                                                                    \
	"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
	"xx"
#define QP  "Content-Transfer-Encoding: quoted-printable\n"
#define B64 "Content-Transfer-Encoding: base64\n"
#define M1  "MIME-Version: 1.0\n"
#define U8  "Content-Type: text/plain; charset=utf-8\n"

static const struct text_case cases[] = {
    {"plain", false, "Subject: a\n\nb\n", NULL, NULL},
    {"no body", false, "Subject: a\n\n", NULL, NULL},
    {"no end of the header", false, "Subject: a\n", NULL, NULL},
    {"8-bit without fields", true, "Subject: a\n\n\303\251\n",
	"Subject: a\n" M1 U8 "Content-Transfer-Encoding: 8bit\n\n\303\251\n",
	NULL},
    {"the same for an old server", false, "Subject: a\n\n\303\251\n",
	"Subject: a\n" M1 U8 QP "\n=C3=A9\n", NULL},
    {"Latin-1", true, "Subject: a\n\n\351\n",
	"Subject: a\n" M1 "Content-Type: text/plain; charset=unknown-8bit\n"
	"Content-Transfer-Encoding: 8bit\n\n\351\n",
	NULL},
    {"raw header only", false, "Subject: \303\251\n\nb\n", NULL, NULL},
    {"labelled 8bit", true,
	M1 U8 "Content-Transfer-Encoding: 8bit\n\n\303\251\n", NULL, NULL},
    {"labelled 8bit, old server", false,
	M1 "content-transfer-ENCODING :\n 8BIT\nSubject: a\n" U8 "\n\303\251\n",
	M1 QP "Subject: a\n" U8 "\n=C3=A9\n", NULL},
    {"without a label", true, M1 U8 "\n\303\251\n",
	M1 U8 "Content-Transfer-Encoding: 8bit\n\n\303\251\n", NULL},
    {"no MIME-Version", false, U8 "\n\303\251\n", U8 M1 QP "\n=C3=A9\n", NULL},
    {"lone CR and what may not end a line", true, "A: b\n\na\rb \n=\t\n",
	"A: b\n" M1 U8 QP "\na=0Db=20\n=3D=09\n", NULL},
    {"no last line end", true, "A: b\n\na\r", "A: b\n" M1 U8 QP "\na=0D\n",
	NULL},
    {"a long line", true, "A: b\n\n<999 x>\n",
	"A: b\n" M1 U8 QP "\n<13 75x=>\n<24 x>\n", NULL},
    {"one of 998", true, "A: b\n\n<998 x>\n", NULL, NULL},
    {"not text", false,
	"Content-Type: application/x; y=\"text/plain\"\n\n\351\n\n\377",
	"Content-Type: application/x; y=\"text/plain\"\n" M1 B64 "\n6QoK/w==\n",
	NULL},
    {"quoted-printable that is long", true,
	QP "\n<1000 x> =\n=c3=A9=XY==0A\n=\n.=",
	QP "\n<13 75x=>\n<25 x> =C3=A9=3DXY=3D=0A\n.\n", NULL},
    {"base64 that is long", true, B64 "\n<1000 x>\nyy=\r= -- \n",
	B64 "\n<13 76x>\n<12 x>yy==\n", NULL},
    {"an encoding nobody knows", true,
	"Content-Transfer-Encoding: x-y\n\n<999 x>\n",
	"Content-Transfer-Encoding: x-y\n\n<998 x>\n x\n",
	"lines had to be broken"},
    {"long header, folded", true, "A: <990 x> <9 y>\nB: <990 z>\n\nb\n",
	"A: <990 x>\n <9 y>\nB: <990 z>\n\nb\n", NULL},
    {"long header, broken", true, "References:<999 x>\n\nb\n",
	"References:<987 x>\n <12 x>\n\nb\n", "lines had to be broken"},
    {"no break within a character", true, "A: x<497 \303\251>\n\n",
	"A: x<497 \303\251>\n\n", NULL},
    {"nor there", true, "A: xx<497 \303\251>\303\251\n\n",
	"A:\n xx<497 \303\251>\n \303\251\n\n", "lines had to be broken"},
    /* Multiparts */
    {"one part of three", false,
	"Content-Type: multipart/mixed; boundary=b\n"
	"Content-Transfer-Encoding: 8bit\n\npreamble\n"
	"--b\n\none\n--b\nContent-Type: text/html\n\n\303\251\n\n--b \n"
	"Content-Type: image/png\n\n\377\n--b--\nepilogue",
	"Content-Type: multipart/mixed; boundary=b\n"
	"Content-Transfer-Encoding: 7bit\n" M1 "\npreamble\n"
	"--b\n\none\n--b\nContent-Type: text/html\n" QP "\n=C3=A9\n\n--b\n"
	"Content-Type: image/png\n" B64 "\n/w==\n--b--\nepilogue\n",
	NULL},
    {"binary for an 8-bit server", true,
	"Content-Type: multipart/mixed; boundary=b\n"
	"Content-Transfer-Encoding: binary\n\n--b\n\n\r\n--b--\n",
	"Content-Type: multipart/mixed; boundary=b\n"
	"Content-Transfer-Encoding: 8bit\n" M1 "\n--b\n" QP "\n=0D\n--b--\n",
	NULL},
    {"empty parts, no end", false,
	"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\n\n\n"
	"--b\nA: b\n--b\n\351",
	"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b\n\n\n"
	"--b\nA: b\n--b\n" QP "\n=E9\n",
	NULL},
    {"a part without an empty line", false,
	"Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n\351\n--b--",
	"Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n" QP
	"\n=E9\n--b--\n",
	NULL},
    {"nested, the inner one without an end", false,
	"Content-Type: multipart/mixed;\n\tboundary=\"o \\\"(=\"\n\n--o \"(=\n"
	"Content-Type: multipart/alternative (x(y)); boundary*0=i;\n"
	" boundary*1=\"2\"\n\n--i2\n\n\351\n--i22\n--i\n--o \"(=\n\n\352\n"
	"--o \"(=--\n",
	"Content-Type: multipart/mixed;\n\tboundary=\"o \\\"(=\"\n\n--o \"(=\n"
	"Content-Type: multipart/alternative (x(y)); boundary*0=i;\n"
	" boundary*1=\"2\"\n\n--i2\n" QP "\n=E9\n=2D-i22\n=2D-i\n--o \"(=\n" QP
	"\n=EA\n--o \"(=--\n",
	NULL},
    {"a break that would make a boundary", true,
	"Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" X70
	"xxxxx--b\n<999 x>\n--b--\n",
	"Content-Type: multipart/mixed; boundary=b\n\n--b\n" QP "\n" X70
	"xxxxx=\n=2D-b\n<13 75x=>\n<24 x>\n--b--\n",
	NULL},
    {"8-bit text that no part has", false,
	"Content-Type: multipart/mixed; boundary=b\n\n\351\n--b\n\n\n--b--\n",
	NULL, "8-bit text went as it is"},
    {"a delimiter and many blanks", true,
	"Content-Type: multipart/mixed; boundary=b\n\n--b<1000  >\n\nx\n",
	"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n", NULL},
    {"a boundary never found", true,
	"Content-Type: multipart/mixed; boundary=b\n\n--c\n\n<990 x> <9 y>\n",
	"Content-Type: multipart/mixed; boundary=b\n\n--c\n\n<990 x>\n"
	" <9 y>\n",
	"lines had to be broken"},
    {"no boundary given", true,
	"Content-Type: multipart/mixed\n\n--c\n\n\n\r\n",
	"Content-Type: multipart/mixed\n\n--c\n\n\n \n",
	"NUL or CR became a blank"},
    /* Messages in messages */
    {"message/rfc822", false,
	"Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n"
	"From a@b\nSubject: \351\n\n\351\n",
	"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n" M1
	"\nFrom a@b\nSubject: \351\n" M1
	"Content-Type: text/plain; charset=unknown-8bit\n" QP "\n=E9\n",
	NULL},
    {"message/rfc822 behind a malformed header", true,
	"Content-Type: message/rfc822\nx\n\351\n",
	"Content-Type: message/rfc822\n\n" M1
	"Content-Type: text/plain; charset=unknown-8bit\n"
	"Content-Transfer-Encoding: 8bit\n\nx\n\351\n",
	NULL},
    {"a digest", false,
	"Content-Type: multipart/digest; boundary=b\n\n"
	"--b\n\n" U8 "\n\303\251\n--b--\n",
	"Content-Type: multipart/digest; boundary=b\n\n"
	"--b\n\n" U8 M1 QP "\n=C3=A9\n--b--\n",
	NULL},
    {"a report", false,
	"Content-Type: message/delivery-status\n\nA: \351\nB: <995 x>\n",
	"Content-Type: message/delivery-status\n\nA: \351\nB: <995 x>\n",
	"8-bit text went as it is"},
    /* Signatures */
    {"signed, 8-bit", false,
	"Content-Type: multipart/signed; boundary=b\n\n"
	"--b\n\n\303\251\n--b\n\nx\n--b--\n",
	NULL, "8-bit text went as it is"},
    {"signed, a long line", false,
	"Content-Type: multipart/signed; boundary=b\n\n"
	"--b\n\n\303\251\r\n--b\n\nx\n--b--\n",
	"Content-Type: multipart/signed; boundary=b\n\n"
	"--b\n" QP "\n=C3=A9=0D\n--b\n\nx\n--b--\n",
	"a signed part was converted"},
};

/* Write out "<n x>". */
static void
unfold_text(struct buf *out, const char *p)
{
	char *unit;

	for (; *p != '\0'; p++) {
		size_t times = *p == '<' ? strtoul(p + 1, &unit, 10) : 0;
		if (times == 0) {
			assert_int_equal(buf_putc(out, *p), 0);
			continue;
		}
		p = strchr(p, '>');
		size_t n = strtoul(unit, &unit, 10);
		/* "<13 75x=>": 13 lines of 75 times x, and what follows */
		bool lines = n > 0;
		unit += *unit == ' ' ? 1 : 0;
		for (size_t i = 0; i < times; i++) {
			for (size_t k = 0; lines && k < n; k++)
				assert_int_equal(buf_putc(out, *unit), 0);
			size_t skip = lines ? 1 : 0;
			assert_int_equal(buf_put(out, unit + skip,
					     (size_t)(p - unit) - skip),
			    0);
			if (lines && i + 1 < times)
				assert_int_equal(buf_putc(out, '\n'), 0);
		}
	}
}

static void
check_case(const struct text_case *c)
{
	struct buf given = {0}, expected = {0}, out = {0};
	struct mime_report r;

	unfold_text(&given, c->given);
	unfold_text(&expected, c->expected != NULL ? c->expected : c->given);
	convert(buf_str(&given), given.len, c->eightbit, &out, &r);
	if (strcmp(buf_str(&out), buf_str(&expected)) != 0 ||
	    (r.note == NULL) != (c->note == NULL))
		print_error("case: %s\n", c->name);
	assert_string_equal(buf_str(&out), buf_str(&expected));
	assert_string_equal(
	    r.note != NULL ? r.note : "", c->note != NULL ? c->note : "");
	if (c->expected == NULL)
		assert_false(r.changed);
	buf_free(&given);
	buf_free(&expected);
	buf_free(&out);
}

static void
test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_case(&cases[i]);
}

/* ---- Any bytes ---- */

static unsigned
next_random(uint64_t *seed, unsigned below)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(*seed >> 33) % below;
}

/* Bodies of what makes trouble. */
static void
make_body(struct buf *b, uint64_t *seed, bool long_line)
{
	static const char *const units[] = {"\n", "\n", "\r", ".", "..", "=",
	    "=\n", "=3D", " ", "\t", " \n", "-", "--b", "--b--", "\n--b\n",
	    "\303\251", "\303", "\251", "From ", "a", "word ", "\177", X70};
	size_t i, count = next_random(seed, 60), place;

	place = long_line ? next_random(seed, (unsigned)count + 1) : count + 1;
	for (i = 0; i <= count; i++) {
		unsigned what = next_random(seed, ARRAY_LEN(units) + 1);
		if (what < ARRAY_LEN(units))
			assert_int_equal(buf_puts(b, units[what]), 0);
		else
			assert_int_equal(buf_putc(b, '\0'), 0);
		for (size_t n = 0; i == place && n < 30; n++)
			assert_int_equal(buf_puts(b, X70), 0);
	}
	assert_int_equal(buf_putc(b, '\n'), 0);
}

static int
hex_of(char c)
{
	static const char digits[] = "0123456789ABCDEF";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	assert_non_null(at);
	return (int)(at - digits);
}

/* A strict reader of quoted-printable. */
static void
decode_qp(struct buf *out, const char *p, size_t len)
{
	const char *end = p + len, *lf;

	for (; p < end; p = lf + 1) {
		lf = memchr(p, '\n', (size_t)(end - p));
		assert_non_null(lf);
		assert_true(lf - p <= 76);
		assert_true(lf == p || (lf[-1] != ' ' && lf[-1] != '\t'));
		while (p < lf && !(p[0] == '=' && p + 1 == lf)) {
			int c = *p++;
			assert_true(c == '\t' || (c >= ' ' && c <= '~'));
			if (c == '=') {
				c = hex_of(p[0]) * 16 + hex_of(p[1]);
				p += 2;
			}
			assert_int_equal(buf_putc(out, c), 0);
		}
		if (p == lf)
			assert_int_equal(buf_putc(out, '\n'), 0);
	}
}

static void
check_lines(const struct buf *b, bool eightbit)
{
	size_t length = 0;

	for (size_t i = 0; i < b->len; i++) {
		assert_true(b->data[i] != '\0' && b->data[i] != '\r');
		assert_true(eightbit || (unsigned char)b->data[i] < 0x80);
		length = b->data[i] == '\n' ? 0 : length + 1;
		assert_true(length <= 998);
	}
}

/* As text/plain without a header of its own: the body that is decoded. */
static void
check_text(const struct buf *body, bool eightbit)
{
	struct buf given = {0}, out = {0}, decoded = {0};
	struct mime_report r;
	const char *start;
	size_t len;

	assert_int_equal(buf_puts(&given, "A: b\n\n"), 0);
	assert_int_equal(buf_put(&given, body->data, body->len), 0);
	convert(given.data, given.len, eightbit, &out, &r);
	assert_null(r.note);
	check_lines(&out, eightbit);
	start = strstr(out.data, "\n\n") + 2;
	len = out.len - (size_t)(start - out.data);
	if (strstr(out.data, QP) != NULL && strstr(out.data, QP) < start)
		decode_qp(&decoded, start, len);
	else
		assert_int_equal(buf_put(&decoded, start, len), 0);
	assert_int_equal(decoded.len, body->len);
	assert_memory_equal(decoded.data, body->data, body->len);
	buf_free(&given);
	buf_free(&out);
	buf_free(&decoded);
}

/* As a part: the delimiters stay where they were, and it decodes. */
static void
check_part(const struct buf *body)
{
	static const char head[] =
	    "Content-Type: multipart/mixed; boundary=c\n\n--c\n";
	struct buf given = {0}, out = {0}, decoded = {0};
	struct mime_report r;
	char *start, *close;

	assert_int_equal(buf_puts(&given, head), 0);
	assert_int_equal(buf_puts(&given, "\n"), 0);
	assert_int_equal(buf_put(&given, body->data, body->len), 0);
	assert_int_equal(buf_puts(&given, "--c--\n"), 0);
	convert(given.data, given.len, false, &out, &r);
	check_lines(&out, false);
	assert_memory_equal(out.data, head, sizeof(head) - 1);
	start = strstr(out.data + sizeof(head) - 2, "\n\n") + 2;
	close = out.data + out.len - strlen("--c--\n");
	assert_string_equal(close, "--c--\n");
	if (r.changed) {
		decode_qp(&decoded, start, (size_t)(close - start));
		assert_int_equal(decoded.len, body->len);
		assert_memory_equal(decoded.data, body->data, body->len);
	}
	buf_free(&given);
	buf_free(&out);
	buf_free(&decoded);
}

static void
test_any_body_decodes_to_itself(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < 3000; i++) {
		struct buf body = {0};
		make_body(&body, &seed, i % 3 == 0);
		check_text(&body, i % 2 == 0);
		check_part(&body);
		buf_free(&body);
	}
}

/* Lines over the window, and a body over it. */
static void
test_a_megabyte_on_one_line(void **state)
{
	static const char unit[] =
	    "<p>\303\251\342\202\254\360\237\230\200=</p>";
	struct buf body = {0};

	(void)state;
	while (body.len < GIVEN_MAX)
		assert_int_equal(buf_puts(&body, unit), 0);
	assert_int_equal(buf_putc(&body, '\n'), 0);
	check_text(&body, false);
	check_text(&body, true);
	check_part(&body);
	buf_free(&body);
}

/* The charset is that of the whole body, wherever it was cut to be read. */
static void
test_utf8_across_pieces(void **state)
{
	struct buf given = {0}, out = {0};
	struct mime_report r;

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) {
		buf_reset(&given);
		buf_reset(&out);
		assert_int_equal(buf_puts(&given, "A: b\n\n"), 0);
		for (size_t i = 0; i < shift; i++)
			assert_int_equal(buf_putc(&given, 'x'), 0);
		while (given.len < 300000)
			assert_int_equal(
			    buf_puts(&given, "\360\237\230\200"), 0);
		convert(given.data, given.len, false, &out, &r);
		assert_non_null(strstr(out.data, "charset=utf-8\n"));
	}
	buf_free(&given);
	buf_free(&out);
}

/* Bytes that are not text: base64, also where groups meet windows. */
static void
test_bytes_in_base64(void **state)
{
	static const char head[] = "Content-Type: application/x\n";
	struct buf given = {0}, out = {0}, digits = {0};
	struct mime_report r;
	char *decoded = xmalloc(300000), *p, *body;
	uint64_t seed = 2;
	ssize_t len;

	(void)state;
	assert_int_equal(buf_puts(&given, head), 0);
	assert_int_equal(buf_putc(&given, '\n'), 0);
	while (given.len < 200000)
		assert_int_equal(
		    buf_putc(&given, (int)next_random(&seed, 256)), 0);
	convert(given.data, given.len, true, &out, &r);
	check_lines(&out, false);
	body = strstr(out.data, "\n\n") + 2;
	for (p = body; *p != '\0'; p++)
		if (*p != '\n')
			assert_int_equal(buf_putc(&digits, *p), 0);
	len = base64_decode(digits.data, digits.len, decoded, 300000);
	assert_int_equal(len, given.len - sizeof(head));
	assert_memory_equal(decoded, given.data + sizeof(head), (size_t)len);
	free(decoded);
	buf_free(&given);
	buf_free(&out);
	buf_free(&digits);
}

/* Deeper than is looked into: broken where need be, and told. */
static void
test_depth_is_bounded(void **state)
{
	struct buf given = {0}, out = {0};
	struct mime_report r;

	(void)state;
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(buf_printf(&given,
				     "Content-Type: multipart/mixed; "
				     "boundary=b%zu\n\n--b%zu\n",
				     i, i),
		    0);
	assert_int_equal(buf_puts(&given, "\na\rb\n"), 0);
	convert(given.data, given.len, true, &out, &r);
	check_lines(&out, false);
	assert_string_equal(r.note, "NUL or CR became a blank");
	buf_reset(&given);
	buf_reset(&out);
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(
		    buf_puts(&given, "Content-Type: message/rfc822\n\n"), 0);
	convert(given.data, given.len, true, &out, &r);
	assert_false(r.changed);
	buf_free(&given);
	buf_free(&out);
}

static int
refuse(void *arg, char *p, size_t len)
{
	(void)arg;
	(void)p;
	(void)len;
	errno = ECONNRESET;
	return -1;
}

static void
test_errors(void **state)
{
	struct mime_report r;
	struct job j;

	(void)state;
	assert_int_equal(make_job(&j, "A: b\n\nc\n", 8), 0);
	assert_int_equal(mime_convert(&j, true, refuse, NULL, &r), -1);
	assert_int_equal(errno, ECONNRESET);
	j.length = 1000;
	assert_int_equal(mime_convert(&j, true, NULL, NULL, &r), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(close(j.fd), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_cases),
	    cmocka_unit_test(test_any_body_decodes_to_itself),
	    cmocka_unit_test(test_a_megabyte_on_one_line),
	    cmocka_unit_test(test_utf8_across_pieces),
	    cmocka_unit_test(test_bytes_in_base64),
	    cmocka_unit_test(test_depth_is_bounded),
	    cmocka_unit_test(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
