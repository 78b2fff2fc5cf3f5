/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * idn.c - tests of idn.h, with libidn2 and without it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "idn.h"
#include "limits.h"
#include "util.h"

static void
test_ascii_stays(void **state)
{
	static const char *const names[] = {
	    "a.example", "A_b.Example", "[192.0.2.1]", "xn--mller-kva.example"};
	char dst[ADDR_DOMAIN_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(idn_to_ascii(names[i], dst, sizeof(dst)), 0);
		assert_string_equal(dst, names[i]);
	}
	assert_int_equal(idn_to_ascii("a.example", dst, 5), -1);
	assert_int_equal(errno, EINVAL);
}

static void
test_international(void **state)
{
	static const struct {
		const char *name, *expected; /* NULL: no domain */
	} cases[] = {
	    {"m\303\274ller.example", "xn--mller-kva.example"},
	    {"mail.M\303\234LLER.Example", "mail.xn--mller-kva.example"},
	    {"mu\314\210ller.example", "xn--mller-kva.example"},
	    {"stra\303\237e.example", "xn--strae-oqa.example"},
	    {"\344\276\213\345\255\220.\346\265\213\350\257\225",
		"xn--fsqu00a.xn--0zwm56d"},
	    {"a\342\200\213 b.example", NULL},
	    {"\314\210.example", NULL},
	    {"\303\274..example", NULL},
	    {"\303.example", NULL},
	};
	char dst[ADDR_DOMAIN_MAX + 1];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		errno = 0;
		int result = idn_to_ascii(cases[i].name, dst, sizeof(dst));
		if (result == -1 && errno == ENOSYS) {
			print_message("built without libidn2\n");
			skip();
		}
		if (cases[i].expected == NULL) {
			assert_int_equal(result, -1);
			assert_int_equal(errno, EINVAL);
			continue;
		}
		assert_int_equal(result, 0);
		assert_string_equal(dst, cases[i].expected);
		assert_int_equal(idn_to_ascii(cases[i].name, dst, 8), -1);
		assert_int_equal(errno, EINVAL);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ascii_stays),
	    cmocka_unit_test(test_international),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
