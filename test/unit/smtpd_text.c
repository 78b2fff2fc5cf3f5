/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of smtpd_text.c: commands, paths, parameters, data.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "smtpd_text.h"
#include "util.h"

#define TEXT(s) s, sizeof(s) - 1

static void
test_verbs(void **state)
{
	static const struct {
		const char *line;
		enum smtpd_verb verb;
		const char *rest;
	} lines[] = {
	    {"HELO x", VERB_HELO, "x"},
	    {"ehlo  [127.0.0.1] ", VERB_EHLO, "[127.0.0.1]"},
	    {"Mail FROM:<>", VERB_MAIL, "FROM:<>"},
	    {"QUIT", VERB_QUIT, ""},
	    {"QUIT  ", VERB_QUIT, ""},
	    {"DATA\tx", VERB_DATA, "x"},
	    {"STARTTLS", VERB_ABSENT, ""},
	    {"POST / HTTP/1.1", VERB_FOREIGN, "/ HTTP/1.1"},
	    {"QUITS", VERB_UNKNOWN, ""},
	    {"QUI", VERB_UNKNOWN, ""},
	    {" QUIT", VERB_UNKNOWN, "QUIT"},
	    {"", VERB_UNKNOWN, ""},
	};
	char line[64], *rest;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		compat_strlcpy(line, lines[i].line, sizeof(line));
		assert_int_equal(smtpd_verb(line, &rest), lines[i].verb);
		assert_string_equal(rest, lines[i].rest);
	}
}

static void
test_paths(void **state)
{
	static const struct {
		const char *word, *args;
		const char *reply; /* what it begins with, or NULL */
		const char *path;
	} paths[] = {
	    {"FROM:", "FROM:<a@b>", NULL, "<a@b>"},
	    {"FROM:", "from: <a@b>", NULL, "<a@b>"},
	    {"FROM:", "FROM:<>", NULL, "<>"},
	    {"FROM:", "FROM:a@b SIZE=1", NULL, "a@b"},
	    {"FROM:", "FROM:<\"a> b\"@c> SIZE=1", NULL, "<\"a> b\"@c>"},
	    {"FROM:", "FROM:<\"a\\\"> b\"@c>", NULL, "<\"a\\\"> b\"@c>"},
	    {"FROM:", "FROM:", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b>x", "501 5.5.4", NULL},
	    {"FROM:", "TO:<a@b>", "501 5.5.4", NULL},
	    {"FROM:", "", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> NOTIFY=NEVER", NULL, "<a@b>"},
	    {"TO:", "TO:<a@b> notify=Success,Delay", NULL, "<a@b>"},
	    {"TO:", "TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> NOTIFY=", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> NOTIFY", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc822;a+2Bb@c", NULL, "<a@b>"},
	    {"TO:", "TO:<a@b> ORCPT=a@c", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=;a@c", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc822;a+2b", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc822;a+2", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc822;a=b", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc\r822;a", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> ORCPT=rfc822;", "501 5.5.4", NULL},
	    {"TO:", "TO:<a@b> SIZE=1", "555 5.5.4", NULL},
	    {"TO:", "TO:<a@b> XYZZY", "555 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> AUTH=<>", "555 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> BODY=8bitmime SMTPUTF8 RET=hdrs", NULL,
		"<a@b>"},
	    {"FROM:", "FROM:<a@b> SMTPUTF8=1", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> BODY=9BIT", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> RET=some", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> SIZE=-1", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> SIZE=1k", "501 5.5.4", NULL},
	    {"FROM:", "FROM:<a@b> SIZE=", "501 5.5.4", NULL},
	};
	struct smtpd_path p;
	const char *reply;
	char line[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		compat_strlcpy(line, paths[i].args, sizeof(line));
		reply = smtpd_path_parse(&p, line, paths[i].word);
		if ((reply == NULL) != (paths[i].reply == NULL) ||
		    (reply != NULL && strncmp(reply, paths[i].reply, 9) != 0))
			fail_msg("%s: %s", paths[i].args,
			    reply != NULL ? reply : "taken");
		if (reply == NULL)
			assert_string_equal(p.path, paths[i].path);
	}
}

static void
test_values(void **state)
{
	char mail[] = "FROM:<> SIZE=123 RET=FULL ENVID=q+3D1";
	char large[] = "FROM:<> SIZE=99999999999999999999";
	char rcpt[] = "TO:<a> NOTIFY=FAILURE,success ORCPT=rfc822;x@y";
	struct smtpd_path p;

	(void)state;
	assert_null(smtpd_path_parse(&p, mail, "FROM:"));
	assert_int_equal(p.size, 123);
	assert_int_equal(p.ret, RET_FULL);
	assert_string_equal(p.envid, "q+3D1");
	assert_null(smtpd_path_parse(&p, large, "FROM:"));
	assert_int_equal(p.size, INT64_MAX);
	assert_int_equal(p.ret, RET_DEFAULT);
	assert_null(p.envid);
	assert_null(smtpd_path_parse(&p, rcpt, "TO:"));
	assert_int_equal(p.notify, NOTIFY_FAILURE | NOTIFY_SUCCESS);
	assert_string_equal(p.orcpt, "rfc822;x@y");
}

/* ---- Data ---- */

/* Decode in pieces of `size` bytes in and out; returns the bytes taken. */
static size_t
decode(struct smtpd_data *d, const char *in, size_t len, size_t size,
    struct buf *out)
{
	size_t taken = 0, n, used;
	char piece[64];

	*d = (struct smtpd_data){DATA_LINE_START, false, false};
	buf_reset(out);
	while (taken < len && d->state != DATA_END) {
		n = len - taken < size ? len - taken : size;
		n = smtpd_data_decode(d, in + taken, n, &used, piece, size);
		assert_int_equal(buf_put(out, piece, n), 0);
		taken += used;
	}
	return taken;
}

static void
test_data(void **state)
{
	static const struct {
		const char *in;
		size_t len;
		const char *out;
		bool end, bare_cr, bare_lf;
	} texts[] = {
	    {TEXT("a\r\n.\r\n"), "a\n", true, false, false},
	    {TEXT(".\r\n"), "", true, false, false},
	    {TEXT("..\r\n...a\r\n.b\r\n.\r\n"), ".\n..a\nb\n", true, false,
		false},
	    {TEXT("a.\r\n.\r\n"), "a.\n", true, false, false},
	    {TEXT("a\n.\nb\r\n"), "a\n.\nb\n", false, false, true},
	    {TEXT("a\r\n.\nb\r\n"), "a\n\nb\n", false, false, true},
	    {TEXT("a\n.\r\nb\r\n"), "a\n.\nb\n", false, false, true},
	    {TEXT("a\r.\r\n"), "a\r.\n", false, true, false},
	    {TEXT("a\r.\rb"), "a\r.\rb", false, true, false},
	    {TEXT("a\r\n.\rb\r\n"), "a\n\rb\n", false, true, false},
	    {TEXT("a\r\n.\r\r\n"), "a\n\r\n", false, true, false},
	    {TEXT("a\r\r\n.\r\n"), "a\r\n", true, true, false},
	    {TEXT("a\r\n.\r"), "a\n", false, false, false},
	};
	struct buf out = {0};
	struct smtpd_data d;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		for (size_t size = 1; size < 9; size++) {
			(void)decode(&d, texts[i].in, texts[i].len, size, &out);
			assert_string_equal(buf_str(&out), texts[i].out);
			assert_int_equal(d.state == DATA_END, texts[i].end);
			assert_int_equal(d.bare_cr, texts[i].bare_cr);
			assert_int_equal(d.bare_lf, texts[i].bare_lf);
		}
	}
	buf_free(&out);
}

/* What comes behind the end is left alone, and the end is the only one. */
static void
test_data_ends_once(void **state)
{
	static const char bytes[] = {'\r', '\n', '.', 'x'};
	struct buf out = {0};
	struct smtpd_data d;
	char in[16];

	(void)state;
	for (unsigned n = 0; n < 1 << 16; n++) {
		const char *end;
		size_t taken;

		memcpy(in, "\r\n", 2);
		for (unsigned i = 0; i < 8; i++)
			in[2 + i] = bytes[n >> (2 * i) & 3];
		in[10] = '\0';
		/* The line before the first is the command's. */
		end = strstr(in, "\r\n.\r\n");
		taken = decode(&d, in + 2, 8, 3, &out);
		assert_int_equal(d.state == DATA_END, end != NULL);
		if (end != NULL)
			assert_int_equal(taken, end + 5 - (in + 2));
	}
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_verbs),
	    cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_data),
	    cmocka_unit_test(test_data_ends_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
