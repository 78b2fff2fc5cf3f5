/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * buf.c - tests of buf.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"

static void
test_text(void **state)
{
	struct buf b = {0};

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_put(&b, NULL, 0), 0);
	assert_int_equal(buf_puts(&b, "ab"), 0);
	assert_int_equal(buf_putc(&b, 'c'), 0);
	assert_int_equal(buf_printf(&b, "-%d-%s", 42, "x"), 0);
	assert_int_equal(buf_put(&b, "y\0z", 3), 0);
	assert_int_equal(b.len, 11);
	assert_memory_equal(b.data, "abc-42-xy\0z", 12);
	buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_puts(&b, "again"), 0);
	assert_string_equal(buf_str(&b), "again");
	buf_free(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
	buf_free(&b);
}

static void
test_growth(void **state)
{
	struct buf b = {0};
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf_putc(&b, (int)(i % 251)), 0);
	assert_int_equal(b.len, 100000);
	for (i = 0; i < b.len; i++)
		assert_int_equal((unsigned char)b.data[i], i % 251);
	assert_int_equal(b.data[b.len], 0);
	buf_free(&b);
}

/* A put that does not fit changes nothing. */
static void
test_maximum_V_51(void **state)
{
	struct buf b = {.max = 10};

	(void)state;
	assert_int_equal(buf_puts(&b, "12345678"), 0);
	assert_int_equal(buf_puts(&b, "abc"), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(buf_printf(&b, "%d", 100), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(buf_put_u32(&b, 1), -1);
	assert_int_equal(buf_put_u64(&b, 1), -1);
	assert_int_equal(buf_put_string(&b, ""), -1);
	assert_int_equal(buf_put(&b, "x", SIZE_MAX), -1);
	assert_int_equal(buf_put_bytes(&b, "x", SIZE_MAX), -1);
	assert_string_equal(buf_str(&b), "12345678");
	assert_int_equal(buf_puts(&b, "ab"), 0);
	assert_int_equal(buf_putc(&b, 'c'), -1);
	assert_string_equal(buf_str(&b), "12345678ab");
	buf_free(&b);
	assert_int_equal(b.max, 10);
}

static void
test_truncate(void **state)
{
	struct buf b = {0};

	(void)state;
	buf_truncate(&b, 0);
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_puts(&b, "hello world"), 0);
	buf_truncate(&b, 5);
	assert_string_equal(buf_str(&b), "hello");
	assert_int_equal(buf_puts(&b, "!"), 0);
	assert_string_equal(buf_str(&b), "hello!");
	buf_free(&b);
}

static void
test_wipe(void **state)
{
	struct buf b = {.max = 5};

	(void)state;
	buf_wipe(&b);
	assert_int_equal(buf_puts(&b, "hello"), 0);
	buf_wipe(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.max, 5);
}

static struct cursor
cursor_at(const struct buf *b, size_t len)
{
	struct cursor c = {0};

	c.p = (const unsigned char *)b->data;
	c.end = c.p + len;
	return c;
}

static void
put_record(struct buf *b)
{
	assert_int_equal(buf_put_u32(b, 0x01020304), 0);
	assert_int_equal(buf_put_u64(b, 0xfffefdfcfbfaf9f8), 0);
	assert_int_equal(buf_put_string(b, "name"), 0);
	assert_int_equal(buf_put_string(b, NULL), 0);
	assert_int_equal(buf_put_bytes(b, "\0\1", 2), 0);
}

static void
test_record(void **state)
{
	struct buf b = {0};
	struct cursor c;
	const char *bytes;
	char *s;
	size_t len;

	(void)state;
	put_record(&b);
	assert_memory_equal(b.data, "\1\2\3\4\xff\xfe", 6);
	c = cursor_at(&b, b.len);
	assert_int_equal(cursor_u32(&c), 0x01020304);
	assert_true(cursor_u64(&c) == 0xfffefdfcfbfaf9f8);
	s = cursor_string(&c, 4);
	assert_string_equal(s, "name");
	free(s);
	s = cursor_string(&c, 0);
	assert_string_equal(s, "");
	free(s);
	bytes = cursor_bytes(&c, 2, &len);
	assert_int_equal(len, 2);
	assert_memory_equal(bytes, "\0\1", 2);
	assert_false(c.bad);
	assert_ptr_equal(c.p, c.end);
	assert_int_equal(cursor_u32(&c), 0);
	assert_true(c.bad);
	buf_free(&b);
}

/* Cut anywhere, the record is bad, and nothing beyond the cut is read. */
static void
test_short_records(void **state)
{
	struct buf b = {0}, piece = {0};
	struct cursor c;
	char *s;
	size_t cut, len;

	(void)state;
	put_record(&b);
	for (cut = 0; cut < b.len; cut++) {
		assert_int_equal(buf_put(&piece, b.data, cut), 0);
		c = cursor_at(&piece, cut);
		(void)cursor_u32(&c);
		(void)cursor_u64(&c);
		s = cursor_string(&c, 100);
		free(s);
		s = cursor_string(&c, 100);
		free(s);
		(void)cursor_bytes(&c, 100, &len);
		assert_true(c.bad);
		assert_int_equal(len, 0);
		assert_true(c.p <= c.end);
		buf_free(&piece);
	}
	buf_free(&b);
}

static void
test_bad_is_sticky(void **state)
{
	struct buf b = {0};
	struct cursor c;
	char *s;

	(void)state;
	assert_int_equal(buf_put_string(&b, "too long"), 0);
	assert_int_equal(buf_put_u32(&b, 7), 0);
	c = cursor_at(&b, b.len);
	s = cursor_string(&c, 7);
	assert_string_equal(s, "");
	free(s);
	assert_true(c.bad);
	assert_int_equal(cursor_u32(&c), 0);
	assert_true(cursor_u64(&c) == 0);
	buf_reset(&b);

	/* A NUL inside would hide what comes after it. */
	assert_int_equal(buf_put_bytes(&b, "a\0b", 3), 0);
	c = cursor_at(&b, b.len);
	s = cursor_string(&c, 10);
	assert_string_equal(s, "");
	free(s);
	assert_true(c.bad);
	buf_reset(&b);

	/* A length that would wrap a pointer. */
	assert_int_equal(buf_put_u32(&b, UINT32_MAX), 0);
	c = cursor_at(&b, b.len);
	s = cursor_string(&c, SIZE_MAX);
	assert_string_equal(s, "");
	free(s);
	assert_true(c.bad);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_text),
	    cmocka_unit_test(test_growth),
	    cmocka_unit_test(test_maximum_V_51),
	    cmocka_unit_test(test_truncate),
	    cmocka_unit_test(test_wipe),
	    cmocka_unit_test(test_record),
	    cmocka_unit_test(test_short_records),
	    cmocka_unit_test(test_bad_is_sticky),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
