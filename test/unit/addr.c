/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of addr.c: what people pass as addresses, and what comes of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "addr.h"
#include "util.h"

#define X8       "xxxxxxxx"
#define X62      X8 X8 X8 X8 X8 X8 X8 "xxxxxx"
#define X63      X62 "x"
#define LABELS_3 X63 "." X63 "." X63 "." /* 192 bytes */

static const struct {
	const char *in, *out;
} accepted[] = {
    {"a@b", "a@b"}, {"root", "root"}, {"<a@b>", "a@b"}, {"  a@b  ", "a@b"},
    {"Name <a@b>", "a@b"}, {"\"Doe, J\" <j@x>", "j@x"},
    {"J. R. Doe <j@x>", "j@x"}, {"a@b <c@d>", "c@d"}, {"[Team] <a@b>", "a@b"},
    {"[ <a@b>", "a@b"}, {"@handle <a@b>", "a@b"},
    {"=?utf-8?Q?J=C3=B6rg?= <j@x>", "j@x"}, {"a@b (comment)", "a@b"},
    {"(one (two \\) three)) a@b", "a@b"}, {"root (Cron Daemon)", "root"},
    {"<root>", "root"}, {"\"q\"@b", "q@b"}, {"\"a b\"@c", "\"a b\"@c"},
    {"\"a@b\"@c", "\"a@b\"@c"}, {"\"a\\\"b\"@c", "\"a\\\"b\"@c"},
    {"\"a\\\\b\"@c", "\"a\\\\b\"@c"}, {"\"\\a\"@c", "a@c"},
    {"a.\"b c\"@d", "\"a.b c\"@d"}, {"a..b@c", "\"a..b\"@c"},
    {".a@c", "\".a\"@c"}, {"a.@c", "\"a.\"@c"}, {"a . b @ c . d", "a.b@c.d"},
    {"A.b@Example.ORG", "A.b@Example.ORG"}, {"a@b.", "a@b"},
    {"a_b@my_host.lan", "a_b@my_host.lan"},
    {"a+b%c!d/e|f~g`h${i}#j@k", "a+b%c!d/e|f~g`h${i}#j@k"},
    {"-oQ/tmp@b", "-oQ/tmp@b"}, {"a@[192.0.2.1]", "a@[192.0.2.1]"},
    {"a@[IPv6:2001:db8::1]", "a@[IPv6:2001:db8::1]"},
    {"a@[ipv6:::1]", "a@[ipv6:::1]"}, {"@r:a@b", "a@b"},
    {"<@r1,@r2.example:a@b>", "a@b"}, {"<@[192.0.2.1]:a@b>", "a@b"},
    {"\xc3\xb6@b", "\xc3\xb6@b"},
    {"a@b\xc3\xbc.example", "a@b\xc3\xbc.example"},
    {"\xf0\x9f\x93\xa7@b", "\xf0\x9f\x93\xa7@b"},
    {"\xff raw latin phrase <a@b>", "a@b"}, {X63 "x@b", X63 "x@b"},
    {"\"" X8 X8 X8 X8 X8 X8 X8 "xxxxx \"@b",
	"\"" X8 X8 X8 X8 X8 X8 X8 "xxxxx \"@b"}, /* 64 bytes with quotes */
    {"a@" X63 ".b", "a@" X63 ".b"},
    {"aa@" LABELS_3 X8 X8 X8 X8 X8 X8 X8 "xxx",
	"aa@" LABELS_3 X8 X8 X8 X8 X8 X8 X8 "xxx"}, /* 254 bytes in all */
};

static const struct {
	const char *in, *why;
} refused[] = {
    {"", "is empty"},
    {"   ", "is empty"},
    {"<>", "is empty"},
    {"(comment)", "is empty"},
    {"@", "has an empty local part"},
    {"a@", "has an empty domain"},
    {"@b", "has an empty local part"},
    {"\"\"@b", "has an empty local part"},
    {"\"\"", "has an empty local part"},
    {"<@r:>", "is empty"},
    {"<@r>", "has an empty local part"},
    {"a@@b", "has more than one '@'"},
    {"a@b@c", "has more than one '@'"},
    {"a b@c", "contains a blank or a misplaced quote"},
    {"a@b c", "contains a blank or a misplaced quote"},
    {"a b", "contains a blank or a misplaced quote"},
    {"\"a\"b@c", "contains a blank or a misplaced quote"},
    {"a\"b\"@c", "contains a blank or a misplaced quote"},
    {"a\\@b@c", "contains a character that needs quotes"},
    {"a]@b", "contains a character that needs quotes"},
    {"a@\"b\"", "has an invalid domain"},
    {"a@b..", "has an invalid domain"},
    {"a@.", "has an invalid domain"},
    {"a@.b", "has an invalid domain"},
    {"a@b..c", "has an invalid domain"},
    {"a@-b", "has an invalid domain"},
    {"a@b-.c", "has an invalid domain"},
    {"a@b/c", "has an invalid domain"},
    {"a@[192.0.2.1]x", "contains a blank or a misplaced quote"},
    {"a@x.[192.0.2.1]", "has an invalid domain"},
    {"[192.0.2.1]@b", "has a '[' outside its domain"},
    {"a@[192.0.2.256]", "has an invalid address literal"},
    {"a@[192.0.2]", "has an invalid address literal"},
    {"a@[]", "has an invalid address literal"},
    {"a@[2001:db8::1]", "has an invalid address literal"},
    {"a@[IPv6:1:2]", "has an invalid address literal"},
    {"a@[192.0.2.1", "contains a character that needs quotes"},
    {"a@b\n", "contains a control character"},
    {"a@b\r\nRCPT TO:<c@d>", "contains a control character"},
    {"a\tb@c", "contains a control character"},
    {"a@b\x1b", "contains a control character"},
    {"\x7f@b", "contains a control character"},
    {"Name\n <a@b>", "contains a control character"},
    {"\xff@b", "is not valid UTF-8"},
    {"\xc0\xaf@b", "is not valid UTF-8"},
    {"\xed\xa0\x80@b", "is not valid UTF-8"},
    {"\xe0\x80\x80@b", "is not valid UTF-8"},
    {"\xf4\x90\x80\x80@b", "is not valid UTF-8"},
    {"\xf0\x80\x80\x80@b", "is not valid UTF-8"},
    {"\xe2\x82@b", "is not valid UTF-8"},
    {"a@b\xc3", "is not valid UTF-8"},
    {"\"a@b", "has an unclosed quote"},
    {"\"a\\", "has an unclosed quote"},
    {"a@b (c", "has an unclosed comment"},
    {"a@b (c\\", "has an unclosed comment"},
    {"a@b)", "has a ')' without '('"},
    {"<a@b", "has a '<' without '>'"},
    {"a@b>", "has a '>' without '<'"},
    {"<a@b> c", "has text after its '>'"},
    {"<a@b> <c@d>", "has text after its '>'"},
    {"<<a@b>>", "has a '>' without '<'"},
    {"<<a@b>", "contains a character that needs quotes"},
    {"<a@b,c@d>", "contains a character that needs quotes"},
    {"a@b, c@d", "is more than one address"},
    {"a@b;", "is more than one address"},
    {"friends: a@b;", "contains a ':' outside quotes"},
    {":include:/etc/passwd", "contains a ':' outside quotes"},
    {X63 "xx@b", "has a local part that is too long"},
    {"\"" X62 " \"@b", "has a local part that is too long"},
    {"a@" X63 "x.b", "has an invalid domain"},
    {"a@" LABELS_3 X63, "has a domain that is too long"},
    {"aaa@" LABELS_3 X8 X8 X8 X8 X8 X8 X8 "xxx", "is too long"},
};

static void
test_accepted(void **state)
{
	struct addr a, again;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(accepted); i++) {
		if (addr_parse(&a, accepted[i].in, false, &why) == -1)
			fail_msg("'%s' %s", accepted[i].in, why);
		assert_string_equal(a.text, accepted[i].out);
		/* What came out is an address, and the same one. */
		if (addr_parse(&again, a.text, false, &why) == -1)
			fail_msg("its own text '%s' %s", a.text, why);
		assert_string_equal(again.text, a.text);
		assert_int_equal(again.at, a.at);
	}
}

static void
test_refused(void **state)
{
	struct addr a;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(refused); i++) {
		memset(&a, 'u', sizeof(a));
		if (addr_parse(&a, refused[i].in, false, &why) == 0)
			fail_msg(
			    "'%s' was taken for '%s'", refused[i].in, a.text);
		if (strcmp(why, refused[i].why) != 0)
			fail_msg("'%s': '%s' instead of '%s'", refused[i].in,
			    why, refused[i].why);
		assert_memory_equal(a.text, "uuuu", 4);
	}
}

/* No byte but the printable ones and UTF-8 gets into an address, anywhere. */
static void
test_every_byte_V_50(void **state)
{
	static const char *const shapes[] = {"%c@b", "a%cb@c", "a@%c", "a@b%cc",
	    "\"%c\"@b", "%c", "\"\\%c\"@b", "a@[%c]", "<%ca@b>"};
	struct addr a;
	const char *p, *why;
	char text[32];
	size_t i;
	int c;

	(void)state;
	for (i = 0; i < ARRAY_LEN(shapes); i++) {
		for (c = 1; c < 256; c++) {
			snprintf(text, sizeof(text), shapes[i], c);
			if (addr_parse(&a, text, true, &why) == -1)
				continue;
			for (p = a.text; *p != '\0'; p++)
				assert_in_range(*p, 0x20, 0x7e);
			assert_true(c == ' ' || ascii_isprint(c));
		}
	}
}

static void
test_null(void **state)
{
	static const char *const nulls[] = {"", "<>", " <> ", "Nobody <>"};
	struct addr a;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(nulls); i++) {
		assert_int_equal(addr_parse(&a, nulls[i], true, &why), 0);
		assert_true(addr_is_null(&a));
		assert_false(addr_is_bare(&a));
		assert_null(addr_domain(&a));
	}
	assert_int_equal(addr_parse(&a, "  ", true, &why), -1);
	assert_string_equal(why, "is empty");
}

static void
test_long_input(void **state)
{
	struct addr a;
	const char *why;
	char *text;

	(void)state;
	text = xmalloc(ADDR_INPUT_MAX + 2);
	memset(text, '(', ADDR_INPUT_MAX + 1);
	text[ADDR_INPUT_MAX + 1] = '\0';
	assert_int_equal(addr_parse(&a, text, false, &why), -1);
	assert_string_equal(why, "is too long");
	text[ADDR_INPUT_MAX] = '\0';
	assert_int_equal(addr_parse(&a, text, false, &why), -1);
	assert_string_equal(why, "has an unclosed comment");
	free(text);
}

static void
test_kinds(void **state)
{
	struct addr a, b;
	const char *why;

	(void)state;
	assert_int_equal(addr_parse(&a, "\"a@b\"@c.d", false, &why), 0);
	assert_string_equal(addr_domain(&a), "c.d");
	assert_true(addr_is_ascii(&a));
	assert_int_equal(addr_parse(&a, "\"a@b\"", false, &why), 0);
	assert_true(addr_is_bare(&a));
	assert_null(addr_domain(&a));
	assert_int_equal(addr_parse(&a, "a@\xc3\xbc", false, &why), 0);
	assert_false(addr_is_ascii(&a));

	assert_int_equal(addr_parse(&a, "a@B.c", false, &why), 0);
	assert_int_equal(addr_parse(&b, "a@b.C", false, &why), 0);
	assert_true(addr_equal(&a, &b));
	assert_int_equal(addr_parse(&b, "A@b.C", false, &why), 0);
	assert_false(addr_equal(&a, &b));
	assert_int_equal(addr_parse(&b, "a", false, &why), 0);
	assert_false(addr_equal(&a, &b));
}

static void
test_make(void **state)
{
	struct addr a;
	const char *why;
	char local[ADDR_LOCAL_MAX + 1];

	(void)state;
	assert_int_equal(addr_make(&a, "joe", "x.y", &why), 0);
	assert_string_equal(a.text, "joe@x.y");
	assert_int_equal(addr_make(&a, "joe doe", "x.y", &why), 0);
	assert_string_equal(a.text, "\"joe doe\"@x.y");
	assert_int_equal(addr_local(&a, local, sizeof(local)), 0);
	assert_string_equal(local, "joe doe");
	assert_int_equal(addr_local(&a, local, 8), 0);
	assert_int_equal(addr_local(&a, local, 7), -1);
	assert_int_equal(addr_local(&a, local, 0), -1);
	assert_int_equal(addr_make(&a, "joe", NULL, &why), 0);
	assert_true(addr_is_bare(&a));
	assert_int_equal(addr_make(&a, "", "x.y", &why), -1);
	assert_int_equal(addr_make(&a, "j\no", "x.y", &why), -1);
	assert_int_equal(addr_make(&a, "joe", "x y", &why), -1);
	assert_int_equal(addr_make(&a, "joe", "", &why), -1);
}

static void
test_qualify(void **state)
{
	struct addr a;
	const char *why;

	(void)state;
	assert_int_equal(addr_parse(&a, "root", false, &why), 0);
	assert_int_equal(addr_qualify(&a, "x.y", &why), 0);
	assert_string_equal(a.text, "root@x.y");
	assert_int_equal(addr_qualify(&a, "z", &why), 0);
	assert_string_equal(a.text, "root@x.y");
	assert_int_equal(addr_parse(&a, "\"a b\\\"\"", false, &why), 0);
	assert_int_equal(addr_qualify(&a, "x.y", &why), 0);
	assert_string_equal(a.text, "\"a b\\\"\"@x.y");
	assert_int_equal(addr_parse(&a, "<>", true, &why), 0);
	assert_int_equal(addr_qualify(&a, "x.y", &why), 0);
	assert_true(addr_is_null(&a));
	assert_int_equal(addr_parse(&a, "root", false, &why), 0);
	assert_int_equal(addr_qualify(&a, "x..y", &why), -1);
	assert_string_equal(a.text, "root");
}

static void
test_domain_valid(void **state)
{
	static const char *const good[] = {
	    "a", "a.b", "A-b.c9", "_dmarc.x", X63 ".b", "1.2.3.4"};
	static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "-a",
	    "a-", "a.-b", "a b", "a/b", "a\n", "[192.0.2.1]", "a:b", "\xc3\xbc",
	    X63 "x", LABELS_3 X63};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(good); i++)
		assert_true(addr_domain_valid(good[i]));
	for (i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(addr_domain_valid(bad[i]));
}

/* Collects what a list gave: "text[start of it in the list] ". */
struct collected {
	const char *list;
	char text[1024];
	size_t count, stop;
};

static int
collect(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct collected *c = arg;
	size_t len;

	len = strlen(c->text);
	snprintf(c->text + len, sizeof(c->text) - len, "%s=%.*s|", a->text,
	    (int)(end - start), c->list + start);
	return ++c->count == c->stop;
}

static const struct {
	const char *in, *out;
} lists[] = {
    {"", ""},
    {" \n", ""},
    {" a@b\n", "a@b=a@b|"},
    {"a@b,c@d", "a@b=a@b|c@d=c@d|"},
    {"a@b;c@d", "a@b=a@b|c@d=c@d|"},
    {",, a@b,\n ,c@d,", "a@b=a@b|c@d=c@d|"},
    {" a@b,\n\tc@d\n", "a@b=a@b|c@d=c@d|"},
    {"root (Cron Daemon)", "root=root|"},
    {"\"Doe, J\" <j@x>, K <k>", "j@x=j@x|k=k|"},
    {"undisclosed-recipients:;", ""},
    {"undisclosed-recipients:", ""},
    {"friends: a@b, Joe <c@d>;, e@f", "a@b=a@b|c@d=c@d|e@f=e@f|"},
    {"\"my friends\": a;b:c;d", "a=a|c=c|d=d|"},
    {"=?utf-8?Q?a=2C_b?= <a@b>", "a@b=a@b|"},
    {"J (a, b) Doe <a@b>, (x) c (y)", "a@b=a@b|c=c|"},
    {"\"a,b\"@c, \"r\"", "\"a,b\"@c=\"a,b\"@c|r=\"r\"|"},
    {"<@r1,@r2:a@b>, @r:c@d", "a@b=a@b|c@d=c@d|"},
    {"a@[IPv6:::1], b", "a@[IPv6:::1]=a@[IPv6:::1]|b=b|"},
    {"a @ b . c , d", "a@b.c=a @ b . c|d=d|"},
    {"a@b.c.", "a@b.c=a@b.c.|"},
    {"\x1b$B\x1b(B) <a@b>", "a@b=a@b|"},
};

static const struct {
	const char *in, *why;
} bad_lists[] = {
    {"a@b, c d", "contains a blank or a misplaced quote"},
    {"a@b c@d", "contains a blank or a misplaced quote"},
    {"a@b, <>", "is empty"},
    {"a@b\nRCPT", "contains a line break"},
    {"a@b\r", "contains a line break"},
    {"a@b,\n\nc@d", "contains a line break"},
    {"\"a@b, c@d", "has an unclosed quote"},
    {"a@b (c, d@e", "has an unclosed comment"},
    {"<a@b, c@d", "has a '<' without '>'"},
    {"a: b: c;", "contains a ':' outside quotes"},
    {"a@b:25", "contains a ':' outside quotes"},
    {": a@b", "contains a ':' outside quotes"},
    {"<a@b>: c@d", "contains a ':' outside quotes"},
    {"@a,@b", "has an empty local part"},
    {"a@b, @", "has an empty local part"},
};

static void
test_lists(void **state)
{
	struct collected c;
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lists); i++) {
		c = (struct collected){.list = lists[i].in};
		if (addr_parse_list(lists[i].in, strlen(lists[i].in), collect,
			&c, &why) == -1)
			fail_msg("'%s' %s", lists[i].in, why);
		assert_string_equal(c.text, lists[i].out);
	}
	for (i = 0; i < ARRAY_LEN(bad_lists); i++) {
		c = (struct collected){.list = bad_lists[i].in};
		if (addr_parse_list(bad_lists[i].in, strlen(bad_lists[i].in),
			collect, &c, &why) == 0)
			fail_msg("'%s' was accepted", bad_lists[i].in);
		assert_string_equal(why, bad_lists[i].why);
	}
}

static void
test_list_stopped(void **state)
{
	struct collected c = {.list = "a,b,c", .stop = 2};
	const char *why;

	(void)state;
	assert_int_equal(addr_parse_list(c.list, 5, collect, &c, &why), -1);
	assert_null(why);
	assert_string_equal(c.text, "a=a|b=b|");
}

/* The text is not NUL-ended: only len bytes of it may be read. */
static void
test_list_exact_length(void **state)
{
	static const char list[] =
	    "\"q\"@[192.0.2.1] (c), \"D\\\" J\" <@r:a@b>";
	struct collected c;
	const char *why;
	char *copy;
	size_t len;

	(void)state;
	for (len = 0; len <= strlen(list); len++) {
		copy = xmalloc(len);
		memcpy(copy, list, len);
		c = (struct collected){.list = copy};
		(void)addr_parse_list(copy, len, collect, &c, &why);
		free(copy);
	}
	assert_int_equal(c.count, 2);
}

static int
count(void *arg, const struct addr *a, size_t start, size_t end)
{
	(void)a;
	(void)start;
	(void)end;
	++*(size_t *)arg;
	return 0;
}

/* A megabyte of anything costs a pass, not a stack and not its square. */
static void
test_large(void **state)
{
	static const char *const units[] = {"(", "\"", "<", "[", "@a,", "a,",
	    "(((a))),", "@a <b>,", "a\n ", ":", "\\", "[a", "a@b,", "g:a;"};
	static const size_t counts[] = {
	    0, 0, 0, 0, 0, 1 << 19, 0, 149796, 0, 0, 0, 0, 1 << 18, 1 << 18};
	const size_t size = 1 << 20;
	const char *why;
	char *text;
	size_t i, len, n, pos;

	(void)state;
	text = xmalloc(size);
	for (i = 0; i < ARRAY_LEN(units); i++) {
		len = strlen(units[i]);
		for (pos = 0; pos + len <= size; pos += len)
			memcpy(text + pos, units[i], len);
		n = 0;
		if (addr_parse_list(text, pos, count, &n, &why) == 0)
			assert_int_equal(n, counts[i]);
		else
			assert_int_equal(counts[i], 0);
	}
	free(text);
}

static void
test_xtext(void **state)
{
	char dst[32];

	(void)state;
	assert_int_equal(addr_xtext("a+b=c d@e", dst, sizeof(dst)), 0);
	assert_string_equal(dst, "a+2Bb+3Dc+20d@e");
	assert_int_equal(addr_xtext("\x01\x7f\xff", dst, sizeof(dst)), 0);
	assert_string_equal(dst, "+01+7F+FF");
	assert_int_equal(addr_xtext("", dst, 1), 0);
	assert_string_equal(dst, "");
	assert_int_equal(addr_xtext("", dst, 0), -1);
	assert_int_equal(addr_xtext("++++++++++++", dst, sizeof(dst)), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_accepted),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_every_byte_V_50),
	    cmocka_unit_test(test_null),
	    cmocka_unit_test(test_long_input),
	    cmocka_unit_test(test_kinds),
	    cmocka_unit_test(test_make),
	    cmocka_unit_test(test_qualify),
	    cmocka_unit_test(test_domain_valid),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_list_stopped),
	    cmocka_unit_test(test_list_exact_length),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_xtext),
	};

	return cmocka_run_group_tests_name("addr", tests, NULL, NULL);
}
