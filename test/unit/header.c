/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of header.c: fields found, qualified, and names put.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "header.h"
#include "limits.h"
#include "util.h"

static void
test_line(void **state)
{
	static const struct {
		const char *line;
		enum header_line kind;
		size_t name_len;
	} lines[] = {
	    {"Subject: x", HEADER_LINE_FIELD, 7},
	    {"Subject:", HEADER_LINE_FIELD, 7},
	    {"Subject : x", HEADER_LINE_FIELD, 7},
	    {"Subject\t :x", HEADER_LINE_FIELD, 7},
	    {"!:", HEADER_LINE_FIELD, 1},
	    {"a:b:c", HEADER_LINE_FIELD, 1},
	    {" folded: x", HEADER_LINE_MORE, 0},
	    {"\tfolded", HEADER_LINE_MORE, 0},
	    {" ", HEADER_LINE_MORE, 0},
	    {"", HEADER_LINE_NONE, 0},
	    {": x", HEADER_LINE_NONE, 0},
	    {"Sub ject: x", HEADER_LINE_NONE, 0},
	    {"From a@b Mon Jan  1 00:00:00 2026", HEADER_LINE_NONE, 0},
	    {"text", HEADER_LINE_NONE, 0},
	    {"S\xc3\xbc: x", HEADER_LINE_NONE, 0},
	    {"S\x7f: x", HEADER_LINE_NONE, 0},
	};
	size_t i, name_len;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lines); i++) {
		name_len = 0;
		assert_int_equal(header_line(lines[i].line,
				     strlen(lines[i].line), &name_len),
		    lines[i].kind);
		assert_int_equal(name_len, lines[i].name_len);
	}
}

static void
test_scan(void **state)
{
	static const char block[] = "To: a\n"
				    "BCC\t: b,\n"
				    "\tc\n"
				    " d\n"
				    "message-id: <x>\n"
				    "X-To: y\n"
				    "To:z\n";
	static const struct {
		enum header_name name;
		const char *body;
	} expected[] = {
	    {HEADER_TO, " a\n"},
	    {HEADER_BCC, " b,\n\tc\n d\n"},
	    {HEADER_MESSAGE_ID, " <x>\n"},
	    {HEADER_OTHER, " y\n"},
	    {HEADER_TO, "z\n"},
	};
	struct header_field *fields;
	size_t count, i, start;

	(void)state;
	count = header_scan(block, strlen(block), &fields);
	assert_int_equal(count, ARRAY_LEN(expected));
	start = 0;
	for (i = 0; i < count; i++) {
		assert_int_equal(fields[i].name, expected[i].name);
		assert_int_equal(fields[i].start, start);
		start = fields[i].end;
		assert_int_equal(
		    fields[i].end - fields[i].body, strlen(expected[i].body));
		assert_memory_equal(block + fields[i].body, expected[i].body,
		    strlen(expected[i].body));
	}
	assert_int_equal(start, strlen(block));
	free(fields);

	assert_int_equal(header_scan("", 0, &fields), 0);
	free(fields);
}

#define LIST   (HEADER_RECIPIENTS | HEADER_ADDRESSES)
#define BCC    (HEADER_RECIPIENTS | HEADER_DROPPED)
#define AUTHOR (HEADER_ADDRESSES | HEADER_AUTHOR)

static void
test_scan_names(void **state)
{
	static const struct {
		const char *line;
		enum header_name name;
		unsigned traits;
	} lines[] = {
	    {"bcc:\n", HEADER_BCC, BCC},
	    {"CC:\n", HEADER_CC, LIST},
	    {"Content-Length:\n", HEADER_OTHER, HEADER_DROPPED},
	    {"Date:\n", HEADER_DATE, 0},
	    {"From:\n", HEADER_FROM, AUTHOR},
	    {"Message-Id:\n", HEADER_MESSAGE_ID, 0},
	    {"Received:\n", HEADER_RECEIVED, 0},
	    {"Reply-To:\n", HEADER_OTHER, HEADER_ADDRESSES},
	    {"Resent-Bcc:\n", HEADER_OTHER, HEADER_RESENT | BCC},
	    {"Resent-CC:\n", HEADER_OTHER, HEADER_RESENT | LIST},
	    {"Resent-Date:\n", HEADER_RESENT_DATE, HEADER_RESENT},
	    {"Resent-From:\n", HEADER_RESENT_FROM, HEADER_RESENT | AUTHOR},
	    {"Resent-Message-ID:\n", HEADER_RESENT_MESSAGE_ID, HEADER_RESENT},
	    {"Resent-Sender:\n", HEADER_OTHER, HEADER_RESENT | AUTHOR},
	    {"Resent-To:\n", HEADER_OTHER, HEADER_RESENT | LIST},
	    {"Return-Path:\n", HEADER_OTHER, HEADER_DROPPED},
	    {"Sender:\n", HEADER_OTHER, AUTHOR},
	    {"To:\n", HEADER_TO, LIST},
	    {"Bc:\n", HEADER_OTHER, 0},
	    {"Bcc2:\n", HEADER_OTHER, 0},
	};
	struct header_field *fields;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(
		    header_scan(lines[i].line, strlen(lines[i].line), &fields),
		    1);
		assert_int_equal(fields[0].name, lines[i].name);
		assert_int_equal(fields[0].traits, lines[i].traits);
		free(fields);
	}
}

static void
test_scan_many(void **state)
{
	const size_t lines = 100000;
	struct header_field *fields;
	char *block;
	size_t i;

	(void)state;
	block = xmalloc(lines * 4);
	for (i = 0; i < lines; i++)
		memcpy(block + 4 * i, "a:b\n", 4);
	assert_int_equal(header_scan(block, lines * 4, &fields), lines);
	assert_int_equal(fields[lines - 1].end, lines * 4);
	free(fields);
	free(block);
}

static const struct {
	const char *in, *out;
} edited[] = {
    {"To: root\n", "To: root@h.d\n"},
    {"To: root (Cron Daemon)\n", "To: root@h.d (Cron Daemon)\n"},
    {"To: a@b, root , \"q q\"\n", "To: a@b, root@h.d , \"q q\"@h.d\n"},
    {"Cc: \"Doe, J\" <joe>, <x@y>\n", "Cc: \"Doe, J\" <joe@h.d>, <x@y>\n"},
    {"To : a,\n\tb,\n c\n", "To: a@h.d,\n\tb@h.d,\n c@h.d\n"},
    {"To: g: a, b@c;\n", "To: g: a@h.d, b@c;\n"},
    {"To: undisclosed-recipients:;\n", "To: undisclosed-recipients:;\n"},
    {"From: =?utf-8?Q?J=C3=B6?= <j>\n", "From: =?utf-8?Q?J=C3=B6?= <j@h.d>\n"},
    {"To: a@b\n", "To: a@b\n"},
    {"To:\n", "To:\n"},
    {"From: \"Z\" <z@z> (z@z), a, z@z\n",
	"From: \"Z\" <\"n ew\"@n.example> (z@z), a@h.d, \"n ew\"@n.example\n"},
};

static const char *const malformed[] = {
    "To: a, b c\n", "To: a, \"b\n", "To: a, b, c, d@\n"};

/* What qualification does, and z@z becomes another address altogether. */
static bool
edit(void *arg, struct addr *a)
{
	const char *why;

	if (strcmp(a->text, "z@z") == 0)
		return addr_make(a, "n ew", "n.example", &why) == 0;
	return addr_is_bare(a) && addr_qualify(a, arg, &why) == 0;
}

static char domain[] = "h.d";

static void
test_edited(void **state)
{
	struct header_field *fields;
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(edited); i++) {
		assert_int_equal(
		    header_scan(edited[i].in, strlen(edited[i].in), &fields),
		    1);
		assert_int_equal(
		    header_put_edited(&out, edited[i].in, fields, edit, domain),
		    0);
		assert_string_equal(buf_str(&out), edited[i].out);
		buf_reset(&out);
		free(fields);
	}
	for (i = 0; i < ARRAY_LEN(malformed); i++) {
		header_scan(malformed[i], strlen(malformed[i]), &fields);
		assert_int_equal(
		    header_put_edited(&out, malformed[i], fields, edit, domain),
		    1);
		assert_string_equal(buf_str(&out), malformed[i]);
		buf_reset(&out);
		free(fields);
	}
	buf_free(&out);
}

static void
test_edited_too_large(void **state)
{
	static const char block[] = "To: a, b\n";
	struct header_field *fields;
	struct buf out = {0};
	size_t max;

	(void)state;
	header_scan(block, strlen(block), &fields);
	for (max = 1; max < strlen("To: a@h.d, b@h.d\n"); max++) {
		out.max = max;
		assert_int_equal(
		    header_put_edited(&out, block, fields, edit, domain), -1);
		assert_int_equal(errno, EMSGSIZE);
		buf_free(&out);
	}
	free(fields);
}

/* One field of 100 KB: every address in it, and no more than its time. */
static void
test_edited_long(void **state)
{
	const size_t count = 10000;
	struct buf in = {0}, out = {0};
	struct header_field *fields;
	const char *p;
	size_t i;

	(void)state;
	assert_int_equal(buf_puts(&in, "To: first@b (c),"), 0);
	for (i = 0; i < count; i++)
		assert_int_equal(buf_puts(&in, "\n\troot,"), 0);
	assert_int_equal(buf_puts(&in, "\n last\n"), 0);
	assert_int_equal(header_scan(in.data, in.len, &fields), 1);
	assert_int_equal(
	    header_put_edited(&out, in.data, fields, edit, domain), 0);
	for (i = 0, p = out.data; (p = strstr(p, "root@h.d,\n")) != NULL; p++)
		i++;
	assert_int_equal(i, count);
	assert_non_null(strstr(out.data, "\n last@h.d\n"));
	free(fields);
	buf_free(&in);
	buf_free(&out);
}

static void
test_plain(void **state)
{
	static const struct {
		const char *in, *out;
	} bodies[] = {
	    {" root (Cron Daemon)\n", " root\n"},
	    {" (a) root@h(b)\n", " root@h\n"},
	    {" a (b (c) d) e\n", " a e\n"},
	    {" \"a (b)\" <c@d> (e \\) f)\n", " \"a (b)\" <c@d>\n"},
	    {" \"a\\\" (b)\" <c@d>\n", " \"a\\\" (b)\" <c@d>\n"},
	    {" a,\n\tb (c\n d)\n (e)\n\n", " a,\n b\n"},
	    {"a\n", "a\n"},
	    {" (never closed\n", "\n"},
	    {" \"never closed (x)\n", " \"never closed (x)\n"},
	    {" a\\\n (b)\n\tc\n", " a\\\n c\n"},
	    {" a) \\(b\n", " a) \\(b\n"},
	    {"\n", "\n"},
	};
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(bodies); i++) {
		assert_int_equal(
		    header_put_plain(&out, bodies[i].in, strlen(bodies[i].in)),
		    0);
		assert_string_equal(buf_str(&out), bodies[i].out);
		buf_reset(&out);
	}
	buf_free(&out);
}

#define WORD(text) "=?utf-8?Q?" text "?="
#define FORTY      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *in, *out;
} phrases[] = {
    {"Joe", "Joe"},
    {"Joe Doe", "Joe Doe"},
    {"J. Doe", "\"J. Doe\""},
    {"Joe \"the\" \\Doe", "\"Joe \\\"the\\\" \\\\Doe\""},
    {"Doe, Joe", "\"Doe, Joe\""},
    {" Joe", "\" Joe\""},
    {"Joe ", "\"Joe \""},
    {"Joe  Doe", "\"Joe  Doe\""},
    {"a@b", "\"a@b\""},
    {"", "\"\""},
    {"Joe\r\nBcc: x@y", "\"JoeBcc: x@y\""},
    {"\x1b[31mJoe\t\x7f", "\"[31mJoe\""},
    {"J\xc3\xb6rg D", WORD("J=C3=B6rg_D")},
    {"J\xc3\xb6=?_\"\n.", WORD("J=C3=B6=3D=3F=5F=22=2E")},
    {"J\xf6rg", "J?rg"},
    {"\xc3\xb6\xff", WORD("=C3=B6=3F")},
    /* 51 bytes of text at most, and no word ends within a character. */
    {FORTY "aaaaa\xc3\xb6", WORD(FORTY "aaaaa=C3=B6")},
    {FORTY "aaaaaa\xc3\xb6", WORD(FORTY "aaaaaa") "\n " WORD("=C3=B6")},
};

static void
test_phrase(void **state)
{
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(phrases); i++) {
		assert_int_equal(header_put_phrase(&out, phrases[i].in), 0);
		assert_string_equal(buf_str(&out), phrases[i].out);
		buf_reset(&out);
	}
	buf_free(&out);
}

/* Whatever the name, each line of it is short and of printable ASCII. */
static void
test_phrase_long(void **state)
{
	static const char *const units[] = {"a", "\xf0\x9f\x93\xa7", "\xc3\xb6",
	    "\"", "a\xe2\x82\xac ", "\xff", "\n"};
	struct buf out = {0};
	const char *p, *lf;
	char name[4096];
	size_t i, len, line;

	(void)state;
	for (i = 0; i < ARRAY_LEN(units); i++) {
		name[0] = '\0';
		for (len = 0; len + 8 < sizeof(name); len = strlen(name))
			strncat(name, units[i], sizeof(name) - len - 1);
		if (units[i][0] == '\n')
			name[2000] = '\0';
		assert_int_equal(header_put_phrase(&out, name), 0);
		for (p = out.data; *p != '\0'; p = lf) {
			line = strcspn(p, "\n");
			lf = p + line;
			if (*lf == '\n')
				assert_int_equal(*++lf, ' ');
			if (strstr(out.data, "=?") != NULL)
				assert_in_range(line, 1, 63);
			else
				assert_in_range(line, 1, 2 * FULLNAME_MAX + 2);
			for (; line > 0; line--, p++)
				assert_in_range(*p, 0x20, 0x7e);
		}
		buf_reset(&out);
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_line),
	    cmocka_unit_test(test_scan),
	    cmocka_unit_test(test_scan_names),
	    cmocka_unit_test(test_scan_many),
	    cmocka_unit_test(test_edited),
	    cmocka_unit_test(test_edited_too_large),
	    cmocka_unit_test(test_edited_long),
	    cmocka_unit_test(test_plain),
	    cmocka_unit_test(test_phrase),
	    cmocka_unit_test(test_phrase_long),
	};

	return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
