/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * auth.c - tests of auth.h: the words of AUTH, step by step.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "auth.h"
#include "limits.h"
#include "util.h"

static void
test_mechanisms_are_recognised(void **state)
{
	static const struct {
		const char *names;
		unsigned bits;
	} cases[] = {
	    {"", 0},
	    {"PLAIN", AUTH_PLAIN},
	    {" plain  Login\tCRAM-md5 ",
		AUTH_PLAIN | AUTH_LOGIN | AUTH_CRAM_MD5},
	    {"=LOGIN", AUTH_LOGIN},
	    {"GSSAPI SCRAM-SHA-256 PLAINTEXT XPLAIN", 0},
	    {"PLAIN-CLIENTTOKEN LOGIN", AUTH_LOGIN},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(
		    auth_parse_mechanisms(cases[i].names), cases[i].bits);
}

static void
test_strongest_first(void **state)
{
	(void)state;
	assert_int_equal(auth_choose(AUTH_LOGIN | AUTH_PLAIN | AUTH_CRAM_MD5),
	    AUTH_CRAM_MD5);
	assert_int_equal(auth_choose(AUTH_LOGIN | AUTH_PLAIN), AUTH_PLAIN);
	assert_int_equal(auth_choose(AUTH_LOGIN), AUTH_LOGIN);
	assert_int_equal(auth_choose(0), 0);
	assert_string_equal(auth_name(AUTH_LOGIN), "LOGIN");
}

static void
test_plain_says_all_at_once(void **state)
{
	struct auth a = {AUTH_PLAIN, "tim", "tanstaaftanstaaf", 0, false};
	struct buf out = {0};

	(void)state;
	assert_int_equal(auth_start(&a, &out), 0);
	assert_string_equal(
	    buf_str(&out), "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
	assert_true(a.done);
	/* One challenge too many. */
	assert_int_equal(auth_answer(&a, "", &out), -1);
	assert_int_equal(errno, EBADMSG);
	buf_free(&out);
}

/* RFC 4954, 4: a command of more than 512 octets is not one. */
static void
test_long_plain_waits_for_the_challenge(void **state)
{
	char password[CREDENTIAL_MAX + 1];
	struct auth a = {AUTH_PLAIN, "user", password, 0, false};
	struct buf out = {0};

	(void)state;
	memset(password, 'p', sizeof(password) - 1);
	password[sizeof(password) - 1] = '\0';
	assert_int_equal(auth_start(&a, &out), 0);
	assert_string_equal(buf_str(&out), "AUTH PLAIN");
	assert_false(a.done);
	assert_int_equal(auth_answer(&a, "", &out), 0);
	assert_true(a.done);
	assert_true(out.len > CREDENTIAL_MAX);
	assert_int_equal(auth_answer(&a, "", &out), -1);
	assert_int_equal(errno, EBADMSG);
	buf_free(&out);
}

static void
test_login_in_two_words(void **state)
{
	struct auth a = {AUTH_LOGIN, "me", "secret", 0, false};
	struct buf out = {0};

	(void)state;
	assert_int_equal(auth_start(&a, &out), 0);
	assert_string_equal(buf_str(&out), "AUTH LOGIN");
	assert_false(a.done);
	assert_int_equal(auth_answer(&a, "VXNlcm5hbWU6", &out), 0);
	assert_string_equal(buf_str(&out), "bWU=");
	assert_false(a.done);
	assert_int_equal(auth_answer(&a, "b2RkIHByb21wdA==", &out), 0);
	assert_string_equal(buf_str(&out), "c2VjcmV0");
	assert_true(a.done);
	assert_int_equal(auth_answer(&a, "VXNlcm5hbWU6", &out), -1);
	assert_int_equal(errno, EBADMSG);
	buf_free(&out);
}

/* The example of RFC 2195, 2. */
static void
test_cram_md5(void **state)
{
	struct auth a = {AUTH_CRAM_MD5, "tim", "tanstaaftanstaaf", 0, false};
	struct buf out = {0};

	(void)state;
	assert_int_equal(auth_start(&a, &out), 0);
	assert_string_equal(buf_str(&out), "AUTH CRAM-MD5");
	assert_int_equal(auth_answer(&a,
			     "PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1j"
			     "aS5uZXQ+",
			     &out),
	    0);
	assert_string_equal(
	    buf_str(&out), "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw");
	assert_true(a.done);
	assert_int_equal(auth_answer(&a, "AAAA", &out), -1);
	buf_free(&out);
}

static void
test_bad_challenges_V_43(void **state)
{
	static const char *const challenges[] = {"?", "VXNl cm5hbWU6",
	    "VXNlcm5hbWU", "VX=lcm5hbWU6", "\x80\x80\x80="};
	struct buf out = {0};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(challenges); i++) {
		struct auth a = {AUTH_LOGIN, "me", "secret", 0, false};
		assert_int_equal(auth_start(&a, &out), 0);
		assert_int_equal(auth_answer(&a, challenges[i], &out), -1);
		assert_int_equal(errno, EBADMSG);
		assert_int_equal(out.len, 0);
	}
	buf_free(&out);
}

static void
test_endless_challenge_D_26(void **state)
{
	struct auth a = {AUTH_LOGIN, "me", "secret", 0, false};
	struct buf out = {0};
	char *long_one = xmalloc(SASL_LINE_MAX + 5);

	(void)state;
	memset(long_one, 'A', SASL_LINE_MAX + 4);
	long_one[SASL_LINE_MAX + 4] = '\0';
	assert_int_equal(auth_start(&a, &out), 0);
	assert_int_equal(auth_answer(&a, long_one, &out), -1);
	assert_int_equal(errno, EBADMSG);
	free(long_one);
	buf_free(&out);
}

static void
test_password_is_hidden(void **state)
{
	static const struct {
		const char *password, *said, *shown;
	} cases[] = {
	    {"hunter2", "bad password hunter2", "bad password *******"},
	    {"hunter2", "hunter2hunter2 hunter", "************** hunter"},
	    {"hunter2", "HUNTER2", "HUNTER2"},
	    {"****", "a ******** b", "a ******** b"},
	    {"pqr", "pqr and AG1lAHBxcg==", "pqr and AG1lAHBxcg=="},
	    {"hunter2", "no aHVudGVyMg== and aHVudGVyMg",
		"no **********== and **********"},
	    {"hunter2", "not AG1lAGh1bnRlcjI=", "not ***************="},
	    {"hunter2", "", ""},
	    /* cut where the server's patience ended */
	    {"hunter2", "500 \"AUTH PLAIN AG1lAGh1bnRlc",
		"500 \"AUTH PLAIN *************"},
	    {"hunter2", "bad aHVudGVyM...", "bad *********..."},
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct auth a = {
		    .user = "me", .password = cases[i].password};
		compat_strlcpy(text, cases[i].said, sizeof(text));
		auth_hide(&a, text, strlen(text));
		assert_string_equal(text, cases[i].shown);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mechanisms_are_recognised),
	    cmocka_unit_test(test_strongest_first),
	    cmocka_unit_test(test_plain_says_all_at_once),
	    cmocka_unit_test(test_long_plain_waits_for_the_challenge),
	    cmocka_unit_test(test_login_in_two_words),
	    cmocka_unit_test(test_cram_md5),
	    cmocka_unit_test(test_bad_challenges_V_43),
	    cmocka_unit_test(test_endless_challenge_D_26),
	    cmocka_unit_test(test_password_is_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
