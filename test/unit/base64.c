/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * base64.c - tests of base64.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base64.h"
#include "util.h"

/* RFC 4648, 10. */
static const char *const vectors[][2] = {{"", ""}, {"f", "Zg=="},
    {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xff\xef\xbe", "/+++"}};

static void
test_vectors(void **state)
{
	char text[16], back[16];
	size_t i, len;

	(void)state;
	for (i = 0; i < ARRAY_LEN(vectors); i++) {
		len = strlen(vectors[i][0]);
		assert_int_equal(
		    base64_encode(vectors[i][0], len, text, sizeof(text)),
		    (ssize_t)strlen(vectors[i][1]));
		assert_string_equal(text, vectors[i][1]);
		assert_int_equal(
		    base64_decode(text, strlen(text), back, sizeof(back)),
		    (ssize_t)len);
		assert_memory_equal(back, vectors[i][0], len);
	}
}

static void
test_every_byte(void **state)
{
	unsigned char all[256], back[256];
	char text[BASE64_LEN(256) + 1];
	size_t i, len;

	(void)state;
	for (i = 0; i < 256; i++)
		all[i] = (unsigned char)i;
	for (len = 0; len <= 256; len++) {
		assert_int_equal(base64_encode(all, len, text, sizeof(text)),
		    (ssize_t)BASE64_LEN(len));
		assert_int_equal(
		    base64_decode(text, BASE64_LEN(len), back, len),
		    (ssize_t)len);
		assert_memory_equal(back, all, len);
	}
}

static void
test_refused_V_43(void **state)
{
	static const char *const table[] = {"Z", "Zg", "Zg=", "Zm9", "Zg==\n",
	    " Zg==", "Zg = =", "Z===", "====", "=",
	    "Zh==", "Zm9=", "Zg==Zg==", "Zg=v", "Zm-v", "Zm_v", "Zm9v\nZm9v",
	    "Zm9\x80", "Zm9v====", "A=AA", "AA=A"};
	char back[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(table); i++) {
		errno = 0;
		assert_int_equal(base64_decode(table[i], strlen(table[i]), back,
				     sizeof(back)),
		    -1);
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(base64_decode("Zm\0v", 4, back, sizeof(back)), -1);
	assert_int_equal(errno, EINVAL);
}

static void
test_no_room_V_53(void **state)
{
	char text[8], back[8];

	(void)state;
	memset(text, 'k', sizeof(text));
	assert_int_equal(base64_encode("foo", 3, text, 4), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(text[4], 'k');
	assert_int_equal(base64_encode("foo", 3, text, 5), 4);
	assert_int_equal(base64_encode("", 0, text, 0), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(base64_encode("", SIZE_MAX, text, 8), -1);
	assert_int_equal(errno, ENOSPC);

	memset(back, 'k', sizeof(back));
	assert_int_equal(base64_decode("Zm9vYg==", 8, back, 3), -1);
	assert_int_equal(errno, ENOSPC);
	assert_int_equal(back[3], 'k');
	assert_int_equal(base64_decode("Zm9vYg==", 8, back, 4), 4);
	assert_int_equal(base64_decode("", 0, back, 0), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_every_byte),
	    cmocka_unit_test(test_refused_V_43),
	    cmocka_unit_test(test_no_room_V_53),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
