/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mailbox.c - tests of mailbox.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "limits.h"
#include "mailbox.h"
#include "util.h"

static void
test_what_a_mailbox_is(void **state)
{
	static const struct {
		const char *value;
		enum mailbox_kind kind;
		bool in_home;
		const char *text;
	} cases[] = {
	    {NULL, MAILBOX_SPOOL, false, ""},
	    {"/var/mail/archive", MAILBOX_FILE, false, "/var/mail/archive"},
	    {"/srv/a b", MAILBOX_FILE, false, "/srv/a b"},
	    {"/srv/box/", MAILBOX_MAILDIR, false, "/srv/box/"},
	    {"~/mbox", MAILBOX_FILE, true, "mbox"},
	    {"~/Mail/in/", MAILBOX_MAILDIR, true, "Mail/in/"},
	    {"lmtp:/run/lmtp", MAILBOX_LMTP, false, "/run/lmtp"},
	    {"lmtp:///run/lmtp", MAILBOX_LMTP, false, "///run/lmtp"},
	    {"lmtp://host:24", MAILBOX_LMTP, false, "//host:24"},
	    {"|/usr/bin/procmail -t", MAILBOX_COMMAND, false,
		"/usr/bin/procmail -t"},
	};
	struct mailbox m;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(mailbox_parse(&m, cases[i].value, &why), 0);
		assert_int_equal(m.kind, cases[i].kind);
		assert_int_equal(m.in_home, cases[i].in_home);
		assert_string_equal(m.text, cases[i].text);
	}
}

static void
test_what_is_none(void **state)
{
	static const char *const values[] = {"", "mbox", "Maildir/", "~", "~/",
	    "~//", "/", "//", "~bob/mbox", "lmtp:host", "smtp://host", "|",
	    "|procmail", "|./procmail", "/a\nb", "/a\177", "| "};
	char longest[TARGET_MAX + 3];
	struct mailbox m;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		why = NULL;
		assert_int_equal(mailbox_parse(&m, values[i], &why), -1);
		assert_non_null(why);
	}
	memset(longest, 'a', sizeof(longest));
	longest[0] = '/';
	longest[TARGET_MAX] = '\0';
	assert_int_equal(mailbox_parse(&m, longest, &why), 0);
	longest[TARGET_MAX] = 'a';
	longest[TARGET_MAX + 1] = '\0';
	assert_int_equal(mailbox_parse(&m, longest, &why), -1);
}

/* The words with | between them, or why there are none. */
static char *
joined(const char *command)
{
	const char *why = "no reason";
	char **argv = mailbox_argv(command, &why), *all, *more;

	if (argv == NULL)
		return xasprintf("-%s", why);
	all = xstrdup(argv[0]);
	for (size_t i = 1; argv[i] != NULL; i++) {
		more = xasprintf("%s|%s", all, argv[i]);
		free(all);
		all = more;
	}
	free(argv);
	return all;
}

static void
test_words_of_a_command(void **state)
{
	static const struct {
		const char *command, *words; /* "-" begins a fault's words */
	} cases[] = {
	    {"/bin/a", "/bin/a"},
	    {" \t/bin/a  -b\tc ", "/bin/a|-b|c"},
	    {"/bin/a 'b c' \"d e\"", "/bin/a|b c|d e"},
	    {"/bin/a b' c 'd", "/bin/a|b c d"},
	    {"/bin/a '' \"\"", "/bin/a||"},
	    {"/bin/a \\'b \\\\ \\ c", "/bin/a|'b|\\| c"},
	    {"/bin/a \"b\\\"c\\\\d\\e\"", "/bin/a|b\"c\\d\\e"},
	    {"/bin/a \"b\\$c\" '$`|;' \\$d", "/bin/a|b$c|$`|;|$d"},
	    {"/bin/a \"it's; x|y\"", "/bin/a|it's; x|y"},
	    {"'/bin/a b' c", "/bin/a b|c"},
	    {"/bin/a b\\", "/bin/a|b\\"},
	    {"/bin/a 'b", "-has a quote"},
	    {"/bin/a \"b", "-has a quote"},
	    {"/bin/a \"b\\", "-has a quote"},
	    {"/bin/a || exit 75", "-is for a shell"},
	    {"/bin/a; b", "-is for a shell"},
	    {"/bin/a $HOME", "-is for a shell"},
	    {"/bin/a \"$HOME\"", "-is for a shell"},
	    {"/bin/a `id`", "-is for a shell"},
	    {"/bin/a >x", "-is for a shell"},
	    {"exec /bin/a", "-is no command"},
	    {"IFS=' ' /bin/a", "-is no command"},
	    {"", "-is no command"},
	    {"''", "-is no command"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *words = joined(cases[i].command);

		if (cases[i].words[0] == '-')
			words[strlen(cases[i].words)] = '\0';
		assert_string_equal(words, cases[i].words);
		free(words);
	}
}

static void
test_bounds_of_a_command(void **state)
{
	struct buf b = {.max = 4096};
	const char *why;
	char **argv;
	size_t n;

	(void)state;
	(void)buf_puts(&b, "/a");
	for (n = 1; n < COMMAND_WORDS_MAX; n++)
		(void)buf_puts(&b, " b");
	argv = mailbox_argv(b.data, &why);
	assert_non_null(argv);
	assert_string_equal(argv[COMMAND_WORDS_MAX - 1], "b");
	assert_null(argv[COMMAND_WORDS_MAX]);
	free(argv);
	(void)buf_puts(&b, " b");
	assert_null(mailbox_argv(b.data, &why));
	assert_string_equal(why, "has too many words");
	buf_reset(&b);
	(void)buf_puts(&b, "/a ");
	while (b.len < TARGET_MAX)
		(void)buf_putc(&b, 'b');
	argv = mailbox_argv(b.data, &why);
	assert_int_equal(strlen(argv[1]), TARGET_MAX - 3);
	free(argv);
	(void)buf_putc(&b, 'b');
	assert_null(mailbox_argv(b.data, &why));
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_a_mailbox_is),
	    cmocka_unit_test(test_what_is_none),
	    cmocka_unit_test(test_words_of_a_command),
	    cmocka_unit_test(test_bounds_of_a_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
