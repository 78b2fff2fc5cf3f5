/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of mail.c: what comes in, and what of it is stored.
 */
#include <sys/socket.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "header.h"
#include "mail.h"
#include "util.h"

/* Stands in for the spool: keeps what it is given. */
static struct buf stored;
static int append_error;

static int
store(void *arg, const char *p, size_t len)
{
	(void)arg;
	if (append_error != 0) {
		errno = append_error;
		return -1;
	}
	return buf_put(&stored, p, len);
}

/* A message taken in, as text: what the caller of mail.c sees. */
struct intake {
	struct mail_source src;
	struct mail_header header;
	bool reading;
};

static int
intake_run(struct intake *in)
{
	buf_free(&stored);
	in->reading = false;
	if (mail_read_header(&in->src, &in->header) == -1)
		return -1;
	return mail_pass_body(&in->src, store, NULL, &in->reading);
}

static void
intake_free(struct intake *in)
{
	mail_source_free(&in->src);
	mail_header_free(&in->header);
	close(in->src.fd);
}

/*
 * A source whose reads give the text in pieces: `first` bytes, then pieces of
 * `then`; a packet a piece.
 */
static int
open_pieces(const char *text, size_t len, size_t first, size_t then)
{
	int pair[2];
	size_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	for (n = first; len > 0; text += n, len -= n, n = then) {
		n = n < len ? n : len;
		assert_int_equal(send(pair[1], text, n, MSG_DONTWAIT), n);
	}
	close(pair[1]);
	return pair[0];
}

static int
open_file(const void *text, size_t len)
{
	FILE *f;
	int fd;

	f = tmpfile();
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fflush(f), 0);
	fd = dup(fileno(f));
	fclose(f);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

enum { PLAIN, DOT };

#define TEXT(s) s, sizeof(s) - 1

static const struct {
	int mode;
	const char *in;
	size_t in_len;
	const char *header;
	const char *body;
	size_t body_len;
} intakes[] = {
    /* Where the header ends. */
    {PLAIN, TEXT(""), "", TEXT("")},
    {PLAIN, TEXT("\n"), "", TEXT("")},
    {PLAIN, TEXT("\r\n"), "", TEXT("")},
    {PLAIN, TEXT("A: b\n\nbody\n"), "A: b\n", TEXT("body\n")},
    {PLAIN, TEXT("A: b\r\n\r\nbody\r\n"), "A: b\n", TEXT("body\n")},
    {PLAIN, TEXT("A: b\r\n\nbody\n"), "A: b\n", TEXT("body\n")},
    {PLAIN, TEXT("A: b\n\r\nbo\r\ndy\n"), "A: b\n", TEXT("bo\ndy\n")},
    {PLAIN, TEXT("A: b\n\n\nbody\n"), "A: b\n", TEXT("\nbody\n")},
    {PLAIN, TEXT("A: b\n c\n\td\nE: f\n\n"), "A: b\n c\n\td\nE: f\n", TEXT("")},
    {PLAIN, TEXT("A: b"), "A: b\n", TEXT("")},
    {PLAIN, TEXT("A: b\n"), "A: b\n", TEXT("")},
    {PLAIN, TEXT("A: b\n\nbody"), "A: b\n", TEXT("body\n")},
    {PLAIN, TEXT("hi\n"), "", TEXT("hi\n")},
    {PLAIN, TEXT("hi"), "", TEXT("hi\n")},
    {PLAIN, TEXT("\nA: b\n"), "", TEXT("A: b\n")},
    {PLAIN, TEXT("A: b\nhi\nC: d\n"), "A: b\n", TEXT("hi\nC: d\n")},
    {PLAIN, TEXT("A: b\n: c\n"), "A: b\n", TEXT(": c\n")},
    {PLAIN, TEXT(" a: b\n"), "", TEXT(" a: b\n")},
    {PLAIN, TEXT("A: b\n \nC: d\n\n"), "A: b\nC: d\n", TEXT("")},
    {PLAIN, TEXT("A: b\n\t \r\n c\n\n"), "A: b\n c\n", TEXT("")},
    {PLAIN, TEXT(" \nA: b\n"), "", TEXT(" \nA: b\n")},
    /* The lines that mailboxes put first. */
    {PLAIN, TEXT("From a@b Mon Jan  1\nA: b\n\nc\n"), "A: b\n", TEXT("c\n")},
    {PLAIN, TEXT(">From a\r\nFrom b\nA: b\n\nc\n"), "A: b\n", TEXT("c\n")},
    {PLAIN, TEXT("A: b\nFrom c\n"), "A: b\n", TEXT("From c\n")},
    {PLAIN, TEXT("\nFrom c\n"), "", TEXT("From c\n")},
    {PLAIN, TEXT("From: c\n\n"), "From: c\n", TEXT("")},
    {PLAIN, TEXT("Fro"), "", TEXT("Fro\n")},
    {PLAIN, TEXT("From "), "", TEXT("")},
    {PLAIN, TEXT(">"), "", TEXT(">\n")},
    /* CR and NUL. */
    {PLAIN, TEXT("A: b\rTo: c\n\nd\n"), "A: bTo: c\n", TEXT("d\n")},
    {PLAIN, TEXT("A: b\r\r\n\r\r\nc\r\r\n"), "A: b\n", TEXT("c\n")},
    {PLAIN, TEXT("A: \0b\0\n\nc\0d\n\0"), "A: b\n", TEXT("c\0d\n\0\n")},
    {PLAIN, TEXT("\0\nA: b\n"), "", TEXT("A: b\n")},
    {PLAIN, TEXT("\na\rb\r\nc\r\rd\n"), "", TEXT("a\rb\nc\r\rd\n")},
    {PLAIN, TEXT("\n\r\r\n\n\r"), "", TEXT("\n\n")},
    {PLAIN, TEXT("\n\rx\r"), "", TEXT("\rx\n")},
    {PLAIN, TEXT("\n\r"), "", TEXT("")},
    {PLAIN, TEXT("A: b\r"), "A: b\n", TEXT("")},
    {PLAIN, TEXT("hi\0\r\n"), "", TEXT("hi\0\n")},
    {PLAIN, TEXT("h\ri\n"), "", TEXT("h\ri\n")},
    /* Dots. */
    {PLAIN, TEXT("A: b\n\n.\nc\n..\n"), "A: b\n", TEXT(".\nc\n..\n")},
    {PLAIN, TEXT("A: b\n\nx\r\n.\r\nMAIL\r\n"), "A: b\n", TEXT("x\n.\nMAIL\n")},
    {PLAIN, TEXT("A: b\n.\nc\n"), "A: b\n", TEXT(".\nc\n")},
    {DOT, TEXT("A: b\n\nc\n.\nd\n"), "A: b\n", TEXT("c\n")},
    {DOT, TEXT("A: b\r\n\r\nc\r\n.\r\nd\r\n"), "A: b\n", TEXT("c\n")},
    {DOT, TEXT("A: b\n.\nC: d\n"), "A: b\n", TEXT("")},
    {DOT, TEXT(".\nC: d\n"), "", TEXT("")},
    {DOT, TEXT("A: b\n\n.\r\nd\n"), "A: b\n", TEXT("")},
    {DOT, TEXT("A: b\n\nc\n."), "A: b\n", TEXT("c\n.\n")},
    {DOT, TEXT("A: b\n\nc\n.\r"), "A: b\n", TEXT("c\n.\n")},
    {DOT, TEXT("\n..\n. \n.a\nb.\n"), "", TEXT("..\n. \n.a\nb.\n")},
    {DOT, TEXT("\nc\r.\r\nd\n"), "", TEXT("c\r.\nd\n")},
    {DOT, TEXT("\n\r.\r\nd\n"), "", TEXT("\r.\nd\n")},
    {DOT, TEXT("\n.\r.\r\nd\r\r\n"), "", TEXT(".\r.\nd\n")},
    {DOT, TEXT("\nc\r"), "", TEXT("c\n")},
};

static void
check_intake(size_t i, size_t first, size_t then)
{
	struct intake in = {.src.dot_ends = intakes[i].mode != PLAIN};
	char printed[256];

	in.src.fd = open_pieces(intakes[i].in, intakes[i].in_len, first, then);
	assert_int_equal(intake_run(&in), 0);
	if (strcmp(buf_str(&in.header.text), intakes[i].header) != 0 ||
	    stored.len != intakes[i].body_len ||
	    (stored.len > 0 &&
		memcmp(stored.data, intakes[i].body, stored.len) != 0))
		fail_msg("case %zu, '%s', pieces of %zu and %zu: '%s'", i,
		    printable(printed, sizeof(printed), intakes[i].in,
			intakes[i].in_len),
		    first, then, buf_str(&in.header.text));
	intake_free(&in);
}

/* The same comes out wherever reads happen to end. */
static void
test_intake(void **state)
{
	size_t first, i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(intakes); i++) {
		check_intake(i, 1, 1);
		check_intake(i, 2, 2);
		check_intake(i, 3, 1);
		for (first = 1; first <= intakes[i].in_len; first++)
			check_intake(i, first, intakes[i].in_len);
	}
}

/* A text of `size` bytes made of lines of `line` bytes with their ends. */
static char *
make_text(size_t size, size_t line, const char *end)
{
	char *text;
	size_t i;

	text = xmalloc(size);
	for (i = 0; i < size; i++)
		text[i] = (char)('a' + i % 23);
	for (i = line; i <= size; i += line)
		memcpy(text + i - strlen(end), end, strlen(end));
	return text;
}

/* Lines of every length that matters come through byte for byte. */
static void
test_long_lines(void **state)
{
	static const size_t lines[] = {
	    1, 2, 999, 1000, 65535, 65536, 65537, 131072, 1 << 20};
	const size_t size = (2 << 20) + 77;
	struct intake in;
	char *text;
	size_t i;
	int mode;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lines); i++) {
		for (mode = PLAIN; mode <= DOT; mode++) {
			text = make_text(size, lines[i], "\n");
			text[0] = '\n';
			text[size - 1] = '\n';
			in = (struct intake){.src.dot_ends = mode != PLAIN,
			    .src.fd = open_file(text, size)};
			assert_int_equal(intake_run(&in), 0);
			assert_int_equal(stored.len, size - 1);
			assert_memory_equal(stored.data, text + 1, size - 1);
			intake_free(&in);
			free(text);
		}
	}
}

/* CRLF at each place around a piece's end becomes LF. */
static void
test_crlf_at_piece_end(void **state)
{
	const size_t size = 200000;
	struct intake in;
	char *text;
	size_t i, line, lines;
	int mode;

	(void)state;
	for (line = 61; line < 90; line++) {
		for (mode = PLAIN; mode <= DOT; mode++) {
			lines = size / line;
			text = make_text(lines * line, line, "\r\n");
			memcpy(text, "\r\n", 2);
			in = (struct intake){.src.dot_ends = mode == DOT,
			    .src.fd = open_file(text, lines * line)};
			assert_int_equal(intake_run(&in), 0);
			assert_int_equal(stored.len, lines * (line - 1) - 2);
			assert_null(memchr(stored.data, '\r', stored.len));
			for (i = line - 4; i < stored.len; i += line - 1)
				assert_int_equal(stored.data[i], '\n');
			intake_free(&in);
			free(text);
		}
	}
}

/* No first line is too long for a body, no run of CRs for a line. */
static void
test_odd_large(void **state)
{
	const size_t size = 300000;
	struct intake in;
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		text = xmalloc(size);
		memset(text, "x\0\r"[i], size);
		text[0] = '\n';
		text[size - 1] = 'y';
		in = (struct intake){.src.fd = open_file(text, size)};
		assert_int_equal(intake_run(&in), 0);
		assert_int_equal(stored.len, size);
		assert_memory_equal(stored.data, text + 1, size - 1);
		intake_free(&in);

		/* Without the empty line it is body from its first byte. */
		in = (struct intake){.src.fd = open_file(text + 1, size - 1)};
		assert_int_equal(intake_run(&in), 0);
		assert_int_equal(in.header.text.len, 0);
		assert_int_equal(stored.len, size);
		intake_free(&in);
		free(text);
	}
}

static void
test_long_header_line(void **state)
{
	const size_t size = 300000;
	struct intake in;
	char *text;

	(void)state;
	text = xmalloc(size + 3);
	memset(text, 'x', size + 3);
	memcpy(text, "A: ", 3);
	memcpy(text + size, "\r\n\n", 3);
	in = (struct intake){.src.fd = open_file(text, size + 3)};
	assert_int_equal(intake_run(&in), 0);
	assert_int_equal(in.header.text.len, size + 1);
	assert_memory_equal(in.header.text.data, text, size);
	assert_int_equal(stored.len, 0);
	intake_free(&in);
	free(text);
}

static void
test_header_limit(void **state)
{
	static const char line[] = "X: yyyyyyyyyyyy\n"; /* 16 bytes */
	struct intake in;
	size_t i, size;
	char *text;

	(void)state;
	size = HEADER_MAX + 16;
	text = xmalloc(size);
	for (i = 0; i < size; i += 16)
		memcpy(text + i, line, 16);
	text[HEADER_MAX] = '\n';
	in = (struct intake){.src.fd = open_file(text, size)};
	assert_int_equal(intake_run(&in), 0);
	assert_int_equal(in.header.text.len, HEADER_MAX);
	assert_int_equal(stored.len, 15);
	intake_free(&in);

	text[HEADER_MAX] = 'X';
	in = (struct intake){.src.fd = open_file(text, size)};
	assert_int_equal(intake_run(&in), -1);
	assert_int_equal(errno, EMSGSIZE);
	intake_free(&in);

	/* One field without an end. */
	memset(text + 3, 'y', size - 3);
	in = (struct intake){.src.fd = open_file(text, size)};
	assert_int_equal(intake_run(&in), -1);
	assert_int_equal(errno, EMSGSIZE);
	intake_free(&in);
	free(text);
}

static int
run_limited(const char *text, size_t len, int64_t maxsize, bool *reading)
{
	struct intake in = {.src.maxsize = maxsize};
	int result;

	in.src.fd = open_pieces(text, len, 3, 3);
	result = intake_run(&in);
	*reading = in.reading;
	intake_free(&in);
	return result;
}

/* The limit is on what is stored: LF line ends, the last one included. */
static void
test_maxsize(void **state)
{
	static const char text[] = "A: b\r\n\r\nbody\r\nmore"; /* 16 */
	bool reading;
	int64_t max;

	(void)state;
	assert_int_equal(run_limited(TEXT(text), 0, &reading), 0);
	for (max = 1; max < 18; max++) {
		errno = 0;
		if (run_limited(TEXT(text), max, &reading) == 0)
			break;
		assert_int_equal(errno, EFBIG);
		assert_true(max < 6 || reading);
	}
	assert_int_equal(max, 16);
}

static void
test_errors(void **state)
{
	struct intake in = {.reading = true};

	(void)state;
	in.src.fd = open("/", O_RDONLY | O_CLOEXEC);
	assert_int_equal(mail_read_header(&in.src, &in.header), -1);
	assert_int_equal(errno, EISDIR);
	intake_free(&in);

	append_error = ENOSPC;
	in = (struct intake){.reading = true};
	in.src.fd = open_pieces(TEXT("A: b\n\nc\n"), 99, 99);
	assert_int_equal(intake_run(&in), -1);
	assert_int_equal(errno, ENOSPC);
	assert_false(in.reading);
	append_error = 0;
	intake_free(&in);
}

/* A read error in the body is the reader's, and nobody's end of file. */
static void
test_read_error_in_body_L_28_D_10(void **state)
{
	struct intake in = {.reading = false};
	int dir;

	(void)state;
	in.src.fd = open_pieces(TEXT("A: b\n\nc\n"), 99, 99);
	buf_free(&stored);
	assert_int_equal(mail_read_header(&in.src, &in.header), 0);
	dir = open("/", O_RDONLY | O_CLOEXEC);
	assert_int_equal(dup2(dir, in.src.fd), in.src.fd);
	close(dir);
	assert_int_equal(mail_pass_body(&in.src, store, NULL, &in.reading), -1);
	assert_int_equal(errno, EISDIR);
	assert_true(in.reading);
	intake_free(&in);
}

/* Callers pass non-blocking pipes and are slow to write. */
static void
test_nonblocking(void **state)
{
	struct intake in = {.reading = false};
	int fds[2], status;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	child = fork();
	if (child == 0) {
		usleep(20000);
		(void)!write(fds[1], "A: b\n\n", 6);
		usleep(20000);
		(void)!write(fds[1], "c\n", 2);
		_exit(0);
	}
	close(fds[1]);
	in.src.fd = fds[0];
	assert_int_equal(intake_run(&in), 0);
	assert_string_equal(buf_str(&in.header.text), "A: b\n");
	assert_string_equal(buf_str(&stored), "c\n");
	assert_int_equal(waitpid(child, &status, 0), child);
	intake_free(&in);
}

/* ---- Recipients ---- */

struct gathered {
	char text[512];
	size_t count, stop;
};

static int
gather(void *arg, const struct addr *a)
{
	struct gathered *g = arg;

	strncat(g->text, a->text, sizeof(g->text) - strlen(g->text) - 2);
	strcat(g->text, " ");
	return ++g->count == g->stop;
}

static void
set_header(struct mail_header *h, const char *text)
{
	memset(h, 0, sizeof(*h));
	assert_int_equal(buf_puts(&h->text, text), 0);
}

static void
test_recipients(void **state)
{
	static const struct {
		const char *header, *out;
	} headers[] = {
	    {"", ""},
	    {"Subject: x@y\nX-To: z\n", ""},
	    {"To: a\nCc: b, c@d\nBcc: e\n", "a b c@d e "},
	    {"bcc: a\nTO : b\nto:c\n", "a b c "},
	    {"To: a\nFrom: f\nReply-To: r\nSender: s\nTo: b\n", "a b "},
	    {"To: a,\n b,\n\t\"c, d\" <e@f>\n", "a b e@f "},
	    {"To: g: a, b;, c\n", "a b c "},
	    {"To: undisclosed-recipients:;\nBcc: a\n", "a "},
	    {"To: root (Cron Daemon)\n", "root "},
	    {"To: a\nResent-To: b\nResent-Cc: c\nResent-Bcc: d\n", "b c d "},
	    {"To: a\nResent-From: b\n", ""},
	    {"Resent-Date: x\nTo: a\nBcc: b\n", ""},
	    {"To: a\nBad: \"\n", "a "},
	    {"Resent-To: a\nTo: \"\n", "a "},
	    /* Who got it when it was resent before gets it no more. */
	    {"Resent-From: f\nResent-To: a\nresent-to: b\nReceived: x\n"
	     "Resent-To: c\nTo: d\n",
		"a b "},
	    {"Resent-From: f\nResent-To: a\nX: y\nResent-Cc: b\n"
	     "Resent-From: f\nResent-To: c\n",
		"a b "},
	    {"Received: x\nResent-Bcc: a\nResent-Date: x\nResent-Date: x\n"
	     "Resent-To: b\n",
		"a "},
	    {"To:\nCc: \n\t\nBcc: a,\n", "a "},
	    {"Apparently-To: a\nErrors-To: b\n", ""},
	};
	struct mail_header h;
	struct gathered g;
	char why[256];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(headers); i++) {
		memset(&g, 0, sizeof(g));
		set_header(&h, headers[i].header);
		assert_int_equal(
		    mail_header_recipients(&h, gather, &g, why, sizeof(why)),
		    0);
		assert_string_equal(g.text, headers[i].out);
		mail_header_free(&h);
	}
}

static void
test_recipients_errors(void **state)
{
	struct gathered g = {.stop = 2};
	struct mail_header h;
	char why[64];

	(void)state;
	set_header(&h, "To: a\nCc: b c\nBcc: d\n");
	assert_int_equal(
	    mail_header_recipients(&h, gather, &g, why, sizeof(why)), -1);
	assert_string_equal(why, "an address in Cc: contains a blank or a "
				 "misplaced quote");
	mail_header_free(&h);

	memset(&g, 0, sizeof(g));
	g.stop = 2;
	set_header(&h, "To: a, b, c\nCc: d\n");
	assert_int_equal(
	    mail_header_recipients(&h, gather, &g, why, sizeof(why)), -1);
	assert_string_equal(why, "");
	assert_string_equal(g.text, "a b ");
	mail_header_free(&h);
}

/* ---- Repair ---- */

#define NOW 1795198157 /* Fri, 20 Nov 2026 18:09:17 UTC */

static struct conf conf = {.mailname = "h.example", .hostname = "host"};
static struct senders senders;
static const struct addr null_sender;

static struct mail_facts
make_facts(const struct addr *sender, const char *full_name)
{
	setenv("TZ", "UTC0", 1);
	return (struct mail_facts){.conf = &conf,
	    .sender = sender,
	    .senders = &senders,
	    .full_name = full_name,
	    .login = "joe",
	    .uid = 1000,
	    .id = "00000zz0123456789abc",
	    .now = NOW};
}

static char *
repair(const char *header, const struct mail_facts *facts)
{
	struct mail_header h;
	struct buf out = {0};

	set_header(&h, header);
	assert_int_equal(mail_repair_header(&h, facts, &out), 0);
	mail_header_free(&h);
	return out.data;
}

#define RECEIVED                                                               \
	"Received: by h.example (dma 1.0, from user joe, uid 1000)\n"          \
	"\tid 00000zz0123456789abc; Fri, 20 Nov 2026 18:09:17 +0000\n"
#define DATE        "Date: Fri, 20 Nov 2026 18:09:17 +0000\n"
#define MESSAGE_ID  "Message-ID: <00000zz0123456789abc.6b008ccd@h.example>\n"
#define RESENT_DATE "Resent-Date: Fri, 20 Nov 2026 18:09:17 +0000\n"
#define RESENT_ID                                                              \
	"Resent-Message-ID: "                                                  \
	"<Resent-00000zz0123456789abc.6b008ccd@h.example>\n"
#define RESENT RESENT_DATE RESENT_ID "Resent-From: J Doe <joe@b.example>\n"
#define HAVE   "Date: x\nMessage-ID: <y>\n"
#define NOBODY "To: undisclosed-recipients:;\n"

static void
test_repair(void **state)
{
	static const struct {
		const char *in, *out;
	} headers[] = {
	    {"", RECEIVED DATE MESSAGE_ID "From: J Doe <joe@b.example>\n" NOBODY
					  "\n"},
	    {"Subject: x\nTo: a@b\n",
		RECEIVED "Subject: x\nTo: a@b\n" DATE MESSAGE_ID
			 "From: J Doe <joe@b.example>\n\n"},
	    {"From: f@g\n" HAVE "Cc: a@b\n",
		RECEIVED "From: f@g\n" HAVE "Cc: a@b\n\n"},
	    /* Names in any case, blanks before the colon. */
	    {"FROM : f@g\ndate:x\nmessage-id: <y>\ncc: a@b\n",
		RECEIVED "FROM: f@g\ndate:x\nmessage-id: <y>\ncc: a@b\n\n"},
	    /* Bcc never leaves, folded or in any spelling, and is a To. */
	    {"From: f@g\n" HAVE "Bcc: a@b,\n c@d\n\te\nX: y\n",
		RECEIVED "From: f@g\n" HAVE "X: y\n\n"},
	    {HAVE "BCC : a@b\nFrom: f@g\nbcc\t:\n a\n",
		RECEIVED HAVE "From: f@g\n\n"},
	    {HAVE "bCC:a\nresent-BCC :b,\n c\nFrom: f@g\nResent-To: d@e\n",
		RECEIVED HAVE RESENT "From: f@g\nResent-To: d@e\n\n"},
	    {HAVE "From: f@g\nResent-Bcc: b\n",
		RECEIVED HAVE "From: f@g\n" RESENT NOBODY "\n"},
	    /* What a block lacks stands before it; older ones stay. */
	    {"Resent-From: r\nResent-To: a@b\nReceived: x\n"
	     "Resent-To: c@d\nTo: e@f\nFrom: f@g\n" HAVE,
		RECEIVED RESENT_DATE RESENT_ID
		"Resent-From: r@h.example\nResent-To: a@b\nReceived: x\n"
		"Resent-To: c@d\nTo: e@f\nFrom: f@g\n" HAVE "\n"},
	    {"Resent-Date: x\nRESENT-MESSAGE-ID : <z>\nResent-From: r@s\n" HAVE
	     "From: f@g\nTo: a@b\n",
		RECEIVED "Resent-Date: x\nRESENT-MESSAGE-ID: <z>\n"
			 "Resent-From: r@s\n" HAVE "From: f@g\nTo: a@b\n\n"},
	    {HAVE "From: f@g\nTo: a@b\nResent-From:\nResent-To: c@d\n",
		RECEIVED HAVE "From: f@g\nTo: a@b\n" RESENT
			      "Resent-To: c@d\n\n"},
	    /* A list without addresses is as good as none. */
	    {HAVE "From: \nTo:\nCc: \n \nBcc:\nReply-To:\nSubject:\n",
		RECEIVED HAVE "Subject:\nFrom: J Doe <joe@b.example>\n" NOBODY
			      "\n"},
	    {HAVE "From: f@g\nTo: x:;\n",
		RECEIVED HAVE "From: f@g\nTo: x:;\n\n"},
	    /* Said twice stays twice: nobody knows which was meant. */
	    {HAVE HAVE "From: f@g\nFrom: f@g\nTo: a\nTo: b\n"
		       "Errors-To: e\nApparently-To: a\n",
		RECEIVED HAVE HAVE
		"From: f@g\nFrom: f@g\nTo: a@h.example\n"
		"To: b@h.example\nErrors-To: e\nApparently-To: a\n\n"},
	    {HAVE "Return-Path: <x@y>\nContent-Length: 12\nFrom: f@g\n"
		  "To: a@b\n",
		RECEIVED HAVE "From: f@g\nTo: a@b\n\n"},
	    /* Bare addresses where addresses stand, nowhere else. */
	    {HAVE "From: root (Cron Daemon)\nTo: a, B <b>\nSubject: c\n",
		RECEIVED HAVE
		"From: root@h.example (Cron Daemon)\n"
		"To: a@h.example, B <b@h.example>\nSubject: c\n\n"},
	    {HAVE "From: f\nSender: s\nReply-To: r\nCc: c\nResent-From: f\n"
		  "Resent-Sender: s\nResent-To: t\nResent-Cc: c\n",
		RECEIVED HAVE
		"From: f@h.example\nSender: s@h.example\nReply-To: "
		"r@h.example\n"
		"Cc: c@h.example\n" RESENT_DATE RESENT_ID
		"Resent-From: f@h.example\n"
		"Resent-Sender: s@h.example\nResent-To: t@h.example\n"
		"Resent-Cc: c@h.example\n\n"},
	    {HAVE "From: f\nTo: a, b c\n",
		RECEIVED HAVE "From: f@h.example\nTo: a, b c\n\n"},
	    /* What came before keeps its order and its Received lines. */
	    {"Received: from x\n\tby y; z\nTo: a@b\nTo: c@d\n" HAVE
	     "From: \xc3\xb6 <f@g>\n",
		RECEIVED "Received: from x\n\tby y; z\nTo: a@b\nTo: c@d\n" HAVE
			 "From: \xc3\xb6 <f@g>\n\n"},
	};
	struct mail_facts facts;
	struct addr sender;
	const char *why;
	char *out;
	size_t i;

	(void)state;
	assert_int_equal(addr_make(&sender, "joe", "b.example", &why), 0);
	facts = make_facts(&sender, "J Doe");
	for (i = 0; i < ARRAY_LEN(headers); i++) {
		out = repair(headers[i].in, &facts);
		assert_string_equal(out, headers[i].out);
		free(out);
	}
}

static void
test_repair_from(void **state)
{
	static const struct {
		const char *sender, *name, *from;
	} froms[] = {
	    {"a@b", NULL, "From: a@b\n"},
	    {"a@b", "", "From: a@b\n"},
	    {"a@b", "J. D", "From: \"J. D\" <a@b>\n"},
	    {"a@b", "J\xc3\xb6", "From: =?utf-8?Q?J=C3=B6?= <a@b>\n"},
	    {"a@b", "x\nBcc: c@d", "From: \"xBcc: c@d\" <a@b>\n"},
	    {"", NULL, "From: MAILER-DAEMON@h.example\n"},
	};
	struct mail_facts facts;
	struct addr sender;
	const char *why;
	char *expected, *out;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(froms); i++) {
		assert_int_equal(
		    addr_parse(&sender, froms[i].sender, true, &why), 0);
		facts = make_facts(&sender, froms[i].name);
		out = repair(HAVE "To: x@y\n", &facts);
		expected = xasprintf("%s\n", froms[i].from);
		assert_string_equal(strstr(out, "To: x@y\n") + 8, expected);
		free(expected);
		free(out);
	}
}

/* ---- The sender, rewritten ---- */

static const struct {
	const char *in, *mapped, *followed;
} rewritten[] = {
    {"From: root (Cron Daemon)\n", "From: ops@x.example (Cron Daemon)\n",
	"From: new@y.example (Cron Daemon)\nX-Original-From: root@h.example\n"},
    {"FROM : \"A, B\" <WWW@H.Example> (c)\n",
	"FROM: \"A, B\" <web@x.example> (c)\n",
	"FROM: \"A, B\" <new@y.example> (c)\n"
	"X-Original-From: \"A, B\" <WWW@H.Example>\n"},
    {"From: J\xc3\xb6 <joe@z.example>\n", "From: J\xc3\xb6 <joe@z.example>\n",
	"From: J\xc3\xb6 <new@y.example>\n"
	"X-Original-From: J\xc3\xb6 <joe@z.example>\n"},
    /* Several become one; nobody's name stands for all. */
    {"From: root,\n A (b) <joe@z.example>,\n\tboss@b.example\n",
	"From: ops@x.example,\n A (b) <joe@z.example>,\n\tboss@b.example\n",
	"From: new@y.example\nX-Original-From: root@h.example,\n"
	" A <joe@z.example>,\n boss@b.example\n"},
    {"From: no address at all\n", "From: no address at all\n",
	"From: new@y.example\nX-Original-From: no address at all\n"},
    {"From: g:;\n", "From: g:;\n",
	"From: new@y.example\nX-Original-From: g:;\n"},
    {"From: New <new@Y.example>\n", "From: New <new@Y.example>\n",
	"From: New <new@y.example>\n"},
    {"From: a@b\nX-Original-From: c\n", "From: a@b\nX-Original-From: c\n",
	"From: new@y.example\nX-Original-From: a@b\nX-Original-From: c\n"},
    /* Others speak for nobody but themselves. */
    {"From: a@b\nSender: root\nReply-To: root\nResent-From: root\n"
     "Resent-Sender: Www <www@localhost>\nResent-Date: x\n"
     "Resent-Message-ID: <y>\n",
	"From: a@b\nSender: ops@x.example\nReply-To: root@h.example\n"
	"Resent-From: ops@x.example\nResent-Sender: Www <web@x.example>\n"
	"Resent-Date: x\nResent-Message-ID: <y>\n",
	"From: new@y.example\nX-Original-From: a@b\n"
	"Sender: ops@x.example\nReply-To: root@h.example\n"
	"Resent-From: ops@x.example\nResent-Sender: Www <web@x.example>\n"
	"Resent-Date: x\nResent-Message-ID: <y>\n"},
    {"Subject: x\n", "Subject: x\nFrom: new@y.example\n",
	"Subject: x\nFrom: new@y.example\n"},
};

static void
test_rewritten(void **state)
{
	static const char map[] = "root: ops@x.example\nwww: web@x.example\n";
	struct mail_facts facts;
	struct addr sender;
	const char *why;
	char *expected, *out;

	(void)state;
	senders_parse(&senders, &conf, map, strlen(map), NULL, NULL);
	assert_int_equal(addr_parse(&sender, "new@y.example", false, &why), 0);
	facts = make_facts(&sender, NULL);
	for (size_t i = 0; i < 2 * ARRAY_LEN(rewritten); i++) {
		const char *const *text = &rewritten[i / 2].in;
		char *in = xasprintf(HAVE "To: a@b\n%s", text[0]);

		facts.rewritten = i % 2 == 1;
		conf.from_envelope = true;
		out = repair(in, &facts);
		expected =
		    xasprintf(RECEIVED HAVE "To: a@b\n%s\n", text[1 + i % 2]);
		assert_string_equal(out, expected);
		free(out);
		/* Without HEADERS as if the reverse-path were its own. */
		conf.from_envelope = false;
		out = repair(in, &facts);
		free(expected);
		expected = xasprintf(RECEIVED HAVE "To: a@b\n%s\n", text[1]);
		assert_string_equal(out, expected);
		free(out);
		free(expected);
		free(in);
	}
	senders_free(&senders);
}

/*
 * Whatever a header holds, what is stored is a header: fields, continuations
 * with something in them, and the one empty line at its end.
 */
static void
check_header(const char *text)
{
	size_t n, name_len;

	for (; *text != '\n'; text += n + 1) {
		n = strcspn(text, "\n");
		assert_int_equal(text[n], '\n');
		assert_true(strspn(text, " \t") < n);
		assert_int_not_equal(
		    header_line(text, n, &name_len), HEADER_LINE_NONE);
	}
	assert_string_equal(text, "\n");
}

static void
test_repair_anything(void **state)
{
	static const char *const pieces[] = {"From", "\nFrom: ", "\nSender: ",
	    "\nResent-To: ", "\nResent-From: ", "\nTo: ", ":", " ", "\n",
	    "\n\t", "\n ", "root", "a@b", "\"", "\\", "(", ")", "<", ">", ",",
	    ";", "@", "\xc3\xb6", "\xff", "[", "]"};
	const uint64_t seed = 0x9e3779b97f4a7c15;
	struct mail_facts facts;
	struct addr sender;
	struct intake in;
	uint64_t random = 1;
	struct buf text = {0};
	const char *why;
	char *out;

	(void)state;
	senders_parse(&senders, &conf, "*: x@y", 6, NULL, NULL);
	assert_int_equal(addr_parse(&sender, "new@y", false, &why), 0);
	facts = make_facts(&sender, NULL);
	for (unsigned i = 0; i < 5000; i++) {
		buf_reset(&text);
		for (unsigned k = 0; k < 40; k++) {
			random = random * 6364136223846793005 + seed;
			assert_int_equal(
			    buf_puts(&text,
				pieces[(random >> 33) % ARRAY_LEN(pieces)]),
			    0);
		}
		in = (struct intake){.src.fd = open_file(text.data, text.len)};
		assert_int_equal(intake_run(&in), 0);
		facts.rewritten = conf.from_envelope = i % 2 == 1;
		out = repair(buf_str(&in.header.text), &facts);
		check_header(out);
		free(out);
		intake_free(&in);
	}
	conf.from_envelope = false;
	senders_free(&senders);
	buf_free(&text);
}

/* A header of 1 MB in one field, and one of 100,000 lines. */
static void
test_repair_large(void **state)
{
	struct mail_facts facts;
	struct buf in = {0};
	char *out;

	(void)state;
	facts = make_facts(&null_sender, NULL);
	assert_int_equal(buf_puts(&in, HAVE "From: a@b\nTo: x@y"), 0);
	while (in.len < 900000)
		assert_int_equal(buf_puts(&in, ",\n\t(c \"d) root"), 0);
	assert_int_equal(buf_puts(&in, "\nX: 0\n"), 0);
	while (in.len < 1000000)
		assert_int_equal(buf_puts(&in, "y\t: z\n"), 0);
	out = repair(in.data, &facts);
	assert_non_null(strstr(out, "x@y,\n\t(c \"d) root@h.example,\n"));
	assert_string_equal(out + strlen(out) - 11, "y: z\ny: z\n\n");
	free(out);
	buf_free(&in);
}

/* A login name ends neither comment nor line. */
static void
test_repair_received(void **state)
{
	struct mail_facts facts;
	char *out;

	(void)state;
	facts = make_facts(&null_sender, NULL);
	facts.login = "a)b(c\\d\ne\xc3\xb6";
	out = repair("", &facts);
	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, "Received: by h.example (dma 1.0, from user "
				 "a?b?c?d?e??, uid 1000)");
	free(out);
}

static void
test_repair_too_large(void **state)
{
	struct mail_facts facts;
	struct mail_header h;
	struct buf out = {0};
	size_t full;

	(void)state;
	facts = make_facts(&null_sender, "J D");
	set_header(&h, "Subject: x\nCc: a\n");
	assert_int_equal(mail_repair_header(&h, &facts, &out), 0);
	full = out.len;
	buf_free(&out);
	for (out.max = 1; out.max < full; out.max++) {
		assert_int_equal(mail_repair_header(&h, &facts, &out), -1);
		assert_int_equal(errno, EMSGSIZE);
		buf_free(&out);
	}
	assert_int_equal(mail_repair_header(&h, &facts, &out), 0);
	buf_free(&out);
	mail_header_free(&h);
}

static int
teardown(void **state)
{
	(void)state;
	buf_free(&stored);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_intake),
	    cmocka_unit_test(test_long_lines),
	    cmocka_unit_test(test_crlf_at_piece_end),
	    cmocka_unit_test(test_odd_large),
	    cmocka_unit_test(test_long_header_line),
	    cmocka_unit_test(test_header_limit),
	    cmocka_unit_test(test_maxsize),
	    cmocka_unit_test(test_errors),
	    cmocka_unit_test(test_read_error_in_body_L_28_D_10),
	    cmocka_unit_test(test_nonblocking),
	    cmocka_unit_test(test_recipients),
	    cmocka_unit_test(test_recipients_errors),
	    cmocka_unit_test(test_repair),
	    cmocka_unit_test(test_repair_from),
	    cmocka_unit_test(test_repair_received),
	    cmocka_unit_test(test_rewritten),
	    cmocka_unit_test(test_repair_large),
	    cmocka_unit_test(test_repair_anything),
	    cmocka_unit_test(test_repair_too_large),
	};

	return cmocka_run_group_tests_name("mail", tests, NULL, teardown);
}
