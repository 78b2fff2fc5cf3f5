/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * senders.c - who stands for whom, and what a bad line costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../buf.h"
#include "../../senders.h"
#include "../../util.h"

static struct conf *conf;

static int
setup(void **state)
{
	static const char text[] = "MAILNAME h.example\n"
				   "LOCALNAMES localhost *.l.example\n";
	struct conf_error error;

	(void)state;
	conf = conf_parse("c", text, strlen(text), false, &error);
	compat_strlcpy(conf->hostname, "host.example", sizeof(conf->hostname));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	conf_free(conf);
	return 0;
}

static void
note(void *arg, const char *line)
{
	assert_int_equal(buf_printf(arg, "%s\n", line), 0);
}

static const char *
look_up(const struct senders *s, const char *text)
{
	const struct addr *stands;
	const char *why;
	struct addr a;

	assert_int_equal(addr_parse(&a, text, true, &why), 0);
	stands = senders_lookup(s, &a);
	return stands != NULL ? stands->text : "-";
}

static const char map[] = "\xef\xbb\xbf# who sends as whom\r\n"
			  "root: alerts@x.example # cron\r\n"
			  "\r\n"
			  "  www-data\tweb@x.example\n"
			  "Nagios : Monitoring <watch>\n"
			  "root@db.l.example:db@x.example\n"
			  "joe@z.example joe@x.example\n"
			  "@old.example: all@x.example\n"
			  "@d\303\266m.example: utf8@x.example\n"
			  "# *: nobody@x.example\n";

static void
test_lookup(void **state)
{
	static const struct {
		const char *sender, *stands;
	} cases[] = {
	    {"root@h.example", "alerts@x.example"},
	    {"Root@H.EXAMPLE", "alerts@x.example"},
	    {"root@localhost", "alerts@x.example"},
	    {"root@a.l.example", "alerts@x.example"},
	    /* Ours, though mail for it goes elsewhere. */
	    {"root@host.example", "alerts@x.example"},
	    {"root@l.example", "-"},
	    {"root@x.example", "-"},
	    {"WWW-data@h.example", "web@x.example"},
	    {"nagios@h.example", "watch@h.example"},
	    {"root@DB.l.example", "db@x.example"},
	    {"joe@z.example", "joe@x.example"},
	    {"joe@h.example", "-"},
	    {"joe@Old.example", "all@x.example"},
	    {"joe@d\303\266m.example", "utf8@x.example"},
	    {"joe@a.old.example", "-"},
	    {"root@old.example", "all@x.example"},
	    {"alerts@x.example", "-"},
	    {"<>", "-"},
	    {"root", "-"},
	};
	struct senders s;
	struct buf said = {0};

	(void)state;
	senders_parse(&s, conf, map, strlen(map), note, &said);
	assert_string_equal(buf_str(&said), "");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_string_equal(
		    look_up(&s, cases[i].sender), cases[i].stands);
	senders_free(&s);
	assert_string_equal(look_up(&s, "root@h.example"), "-");
}

static void
test_everybody(void **state)
{
	static const char text[] = "*: a@x.example\nroot: b@x.example\n"
				   "@h.example: c@x.example";
	struct senders s;

	(void)state;
	senders_parse(&s, conf, text, strlen(text), NULL, NULL);
	assert_string_equal(look_up(&s, "root@localhost"), "b@x.example");
	assert_string_equal(look_up(&s, "joe@localhost"), "a@x.example");
	assert_string_equal(look_up(&s, "joe@h.example"), "c@x.example");
	assert_string_equal(look_up(&s, "joe@x.example"), "-");
	senders_free(&s);
}

static void
test_bad_lines(void **state)
{
	static const char text[] = "root\n"
				   ": a@b\n"
				   "joe: a@b c@d\n"
				   "joe: <>\n"
				   "joe: ok@x.example\n"
				   "Joe ann@x.example\n"
				   "a@b@c: d@e\n"
				   "\x1b[m: d@e\n"
				   "ann: ann@x.example\n"
				   "bob: \0b@x.example\n"
				   "eve: eve@x.example\n";
	struct buf said = {0};
	struct senders s;

	(void)state;
	senders_parse(&s, conf, text, sizeof(text) - 1, note, &said);
	assert_string_equal(said.data,
	    "SENDERS:1: \"\" is empty\n"
	    "SENDERS:2: \"\" is not of the form  name: address\n"
	    "SENDERS:3: \"a@b c@d\" contains a blank or a misplaced quote\n"
	    "SENDERS:4: \"<>\" is empty\n"
	    "SENDERS:6: \"Joe\" stands there before, and the first one counts\n"
	    "SENDERS:7: \"a@b@c\" has more than one '@'\n"
	    "SENDERS:8: \"?[m\" contains a control character\n"
	    "SENDERS:10: \"\" is empty\n");
	assert_int_equal(s.errors, 8);
	assert_string_equal(look_up(&s, "joe@h.example"), "ok@x.example");
	assert_string_equal(look_up(&s, "ann@h.example"), "ann@x.example");
	assert_string_equal(look_up(&s, "eve@h.example"), "-");
	senders_free(&s);
	buf_reset(&said);

	senders_parse(&s, conf, "a: b@c\nd: e@f\0g", 15, note, &said);
	assert_string_equal(said.data, "SENDERS:2: \"e@f\" is cut by a NUL "
				       "byte: no more of it was read\n");
	assert_string_equal(look_up(&s, "a@h.example"), "b@c");
	senders_free(&s);
	buf_free(&said);
}

static void
test_many(void **state)
{
	struct buf text = {0};
	struct senders s;

	(void)state;
	for (unsigned i = 0; i < 30000; i++)
		assert_int_equal(
		    buf_printf(&text, "u%u: a%u@x.example\n", i, i), 0);
	senders_parse(&s, conf, text.data, text.len, NULL, NULL);
	assert_int_equal(s.errors, 0);
	assert_string_equal(
	    look_up(&s, "u29999@localhost"), "a29999@x.example");
	senders_free(&s);
	buf_free(&text);
}

static void
test_load(void **state)
{
	char path[] = "/tmp/senders.XXXXXX";
	struct senders s;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(senders_load(&s, conf, NULL, NULL), 0);
	assert_string_equal(look_up(&s, "root@h.example"), "-");
	conf->senders = xstrdup(path);
	assert_int_equal(write_full(fd, "root a@b\n", 9), 0);
	assert_int_equal(senders_load(&s, conf, NULL, NULL), 0);
	assert_string_equal(look_up(&s, "root@h.example"), "a@b");
	senders_free(&s);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(senders_load(&s, conf, NULL, NULL), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(senders_load(&s, conf, NULL, NULL), -1);
	assert_int_equal(errno, ENOENT);
	close(fd);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lookup),
	    cmocka_unit_test(test_everybody),
	    cmocka_unit_test(test_bad_lines),
	    cmocka_unit_test(test_many),
	    cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests_name("senders", tests, setup, teardown);
}
