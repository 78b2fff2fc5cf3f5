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

#define LIST (HEADER_RECIPIENTS | HEADER_QUALIFIED)
#define BCC  (HEADER_RECIPIENTS | HEADER_DROPPED)

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
	    {"From:\n", HEADER_FROM, HEADER_QUALIFIED},
	    {"Message-Id:\n", HEADER_MESSAGE_ID, 0},
	    {"Received:\n", HEADER_RECEIVED, 0},
	    {"Reply-To:\n", HEADER_OTHER, HEADER_QUALIFIED},
	    {"Resent-Bcc:\n", HEADER_OTHER, HEADER_RESENT | BCC},
	    {"Resent-CC:\n", HEADER_OTHER, HEADER_RESENT | LIST},
	    {"Resent-Date:\n", HEADER_OTHER, HEADER_RESENT},
	    {"Resent-From:\n", HEADER_OTHER, HEADER_RESENT | HEADER_QUALIFIED},
	    {"Resent-Message-ID:\n", HEADER_OTHER, HEADER_RESENT},
	    {"Resent-Sender:\n", HEADER_OTHER,
		HEADER_RESENT | HEADER_QUALIFIED},
	    {"Resent-To:\n", HEADER_OTHER, HEADER_RESENT | LIST},
	    {"Return-Path:\n", HEADER_OTHER, HEADER_DROPPED},
	    {"Sender:\n", HEADER_OTHER, HEADER_QUALIFIED},
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
} qualified[] = {
    {"To: root\n", "To: root@h.d\n"},
    {"To: root (Cron Daemon)\n", "To: root@h.d (Cron Daemon)\n"},
    {"To: a@b, root , \"q q\"\n", "To: a@b, root@h.d , \"q q\"@h.d\n"},
    {"Cc: \"Doe, J\" <joe>, <x@y>\n", "Cc: \"Doe, J\" <joe@h.d>, <x@y>\n"},
    {"To : a,\n\tb,\n c\n", "To : a@h.d,\n\tb@h.d,\n c@h.d\n"},
    {"To: g: a, b@c;\n", "To: g: a@h.d, b@c;\n"},
    {"To: undisclosed-recipients:;\n", "To: undisclosed-recipients:;\n"},
    {"From: =?utf-8?Q?J=C3=B6?= <j>\n", "From: =?utf-8?Q?J=C3=B6?= <j@h.d>\n"},
    {"To: a@b\n", "To: a@b\n"},
    {"To:\n", "To:\n"},
    {"To: a, b c\n", "To: a, b c\n"},
    {"To: a, \"b\n", "To: a, \"b\n"},
    {"To: a, b, c, d@\n", "To: a, b, c, d@\n"},
};

static void
test_qualified(void **state)
{
	struct header_field *fields;
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(qualified); i++) {
		assert_int_equal(header_scan(qualified[i].in,
				     strlen(qualified[i].in), &fields),
		    1);
		assert_int_equal(
		    header_put_qualified(&out, qualified[i].in, fields, "h.d"),
		    0);
		assert_string_equal(buf_str(&out), qualified[i].out);
		buf_reset(&out);
		free(fields);
	}
	buf_free(&out);
}

static void
test_qualified_too_large(void **state)
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
		    header_put_qualified(&out, block, fields, "h.d"), -1);
		assert_int_equal(errno, EMSGSIZE);
		buf_free(&out);
	}
	free(fields);
}

#define WORD(text) "=?utf-8?Q?" text "?="

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
    /* 63 bytes of text at most, and no word ends within a character. */
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3"
     "\xb6",
	WORD("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	     "=C3=B6")},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xc3"
     "\xb6",
	WORD("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	     "a") "\n " WORD("=C3=B6")},
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
				assert_in_range(line, 1, 76);
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
	    cmocka_unit_test(test_qualified),
	    cmocka_unit_test(test_qualified_too_large),
	    cmocka_unit_test(test_phrase),
	    cmocka_unit_test(test_phrase_long),
	};

	return cmocka_run_group_tests_name("header", tests, NULL, NULL);
}
