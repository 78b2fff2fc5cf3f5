/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases.c - what an alias file means, and what a bad line costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../aliases.h"
#include "../../buf.h"
#include "../../limits.h"
#include "../../util.h"

struct reports {
	char text[4096];
	size_t count;
};

static void
report(void *arg, const char *line)
{
	struct reports *r = arg;

	r->count++;
	snprintf(r->text + strlen(r->text), sizeof(r->text) - strlen(r->text),
	    "%s\n", line);
}

/* All targets of a name, "a|b", or "-" where there is no such alias. */
static const char *
targets(const struct aliases *a, const char *name)
{
	static char text[1024];
	const struct alias *alias = aliases_lookup(a, name);
	size_t i, len;

	if (alias == NULL)
		return "-";
	len = alias->targets.len;
	assert_true(len > 0 && len <= sizeof(text));
	memcpy(text, alias->targets.data, len);
	assert_int_equal(text[len - 1], '\0');
	for (i = 0; i < len - 1; i++)
		if (text[i] == '\0')
			text[i] = '|';
	return text;
}

static size_t
count_targets(const struct aliases *a, const char *name)
{
	const struct buf *b = &aliases_lookup(a, name)->targets;
	size_t i, n = 0;

	for (i = 0; i < b->len; i++)
		n += b->data[i] == '\0';
	return n;
}

static void
test_good(void **state)
{
	static const struct {
		const char *text, *name, *targets;
	} cases[] = {
	    {"", "root", "-"},
	    {"root: joe@x.example\n", "root", "joe@x.example"},
	    {"root: joe", "root", "joe"},
	    {"root:joe\r\nann: b\r\n", "root", "joe"},
	    {"root:joe\r\nann: b\r\n", "ann", "b"},
	    {"\xef\xbb\xbfroot: joe\n", "root", "joe"},
	    {"Root : joe\n", "rOOT", "joe"},
	    {"root: a, b\n", "root", "a|b"},
	    {"root: a b\tc@d\n", "root", "a|b|c@d"},
	    {"root: a ,b,, c,\n", "root", "a|b|c"},
	    {"root: a,\n\tb,\n c\nx: y\n", "root", "a|b|c"},
	    {"root: a\n\n# c\n   # d\n b\nx: y\n", "root", "a|b"},
	    {"root:\n  a\n", "root", "a"},
	    {"  root: a\n", "root", "a"},
	    {"# c\n#d: e\nroot: a # b, c\nx: y#z\n", "root", "a"},
	    {"# c\n#d: e\nroot: a # b, c\nx: y#z\n", "x", "y"},
	    {"# c\n#d: e\nroot: a # b, c\nx: y#z\n", "d", "-"},
	    {"root: a\n#c", "root", "a"},
	    {"root: a\n   ", "root", "a"},
	    {"root: a\nx: y\nROOT: b\n", "root", "a|b"},
	    {"*: a\n", "*", "a"},
	    {"\"root\": \"a\", \\b\n", "root", "a|\\b"},
	    {"r: \\joe, joe@x.example\n", "r", "\\joe|joe@x.example"},
	    {"r: \"\\joe\"\n", "r", "\\joe"},
	    {"\\joe: a\n", "joe", "a"},
	    {"r: a, \\\nb \\\r\n c\n", "r", "a|b|c"},
	    {"root: a\r", "root", "a"},
	    {"root: a (Ann, at home) b\n", "root", "a|b"},
	    {"(all) root: (mail) a(x)\n", "root", "a"},
	    {"r: Joe Doe <joe@x.example>, b\n", "r", "joe@x.example|b"},
	    {"r: Dr. J. Doe <joe@x.example>\n", "r", "joe@x.example"},
	    {"r: \"Doe: J\" <joe@x.example>\n", "r", "joe@x.example"},
	    {"r: :include:/etc/list\n", "r", ":include:/etc/list"},
	    {"r: a,:Include: \"/x y\", b\n", "r", "a|:include:/x y|b"},
	    {"r: a,:Include:\"/x y\", b\n", "r", "a|:include:/x y|b"},
	    {"r: \":include:/x y\"\n", "r", ":include:/x y"},
	    {"r: error:no such user\n", "r", "error:5.1.1 no such user"},
	    {"r: error:5.7.1 go: away # c\n", "r", "error:5.7.1 go: away"},
	    {"r: ERROR:550 5.2.1  gone , b\n", "r", "error:5.2.1  gone|b"},
	    {"r: \"error:550 gone, for ever\"\n", "r",
		"error:5.1.1 gone, for ever"},
	    {"r: error\n", "r", "error"},
	    {"r: \"|a b\"@x.example\n", "r", "\"|a b\"@x.example"},
	    {"error: a\n", "error", "a"},
	    {"joe@x.example: a\n", "JOE@X.example", "a"},
	    {"\"a: #,b\": c\n", "a: #,b", "c"},
	    {"a\\:b: c\n", "a:b", "c"},
	    {"r: \"joe doe\"@x.example\n", "r", "\"joe doe\"@x.example"},
	    {"r: \"Joe <joe@x.example>\"\n", "r", "joe@x.example"},
	    {"r: a@[IPv6:2001:db8::1], b\n", "r", "a@[IPv6:2001:db8::1]|b"},
	    {"r: <a@x.example>, <b@x.example>\n", "r",
		"a@x.example|b@x.example"},
	    {"j\303\266rg: j\303\266rg@x.example\n", "j\303\266rg",
		"j\303\266rg@x.example"},
	    {"joe@x.example: a\nroot: b\n", "root", "b"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct reports r = {{0}, 0};
		struct aliases a;

		aliases_parse(
		    &a, "f", cases[i].text, strlen(cases[i].text), report, &r);
		if (strcmp(targets(&a, cases[i].name), cases[i].targets) != 0)
			fail_msg("%s%s: %s", cases[i].text, r.text,
			    targets(&a, cases[i].name));
		if (a.errors != 0)
			fail_msg("%s%s", cases[i].text, r.text);
		assert_int_equal(r.count, 0);
		aliases_free(&a);
	}
}

/* Every bad line is reported once, at its line, and costs itself alone. */
static void
test_bad(void **state)
{
	static const struct {
		const char *line, *error;
	} cases[] = {
	    {"root\n", "f:3: is not of the form"},
	    {"root:\n", "f:3: is not of the form"},
	    {"root: # nobody\n", "f:3: is not of the form"},
	    {": a\n", "f:3: is not of the form"},
	    {"root: a: b\n", "f:3: is not of the form"},
	    {"root, b: a\n", "f:3: is not of the form"},
	    {"root: ,\n", "f:3: is not of the form"},
	    {"root: |/cat -n, c\n", "f:3: \"-n\" follows a command"},
	    {"root: a, :include:list\n", "f:3: \":include:list\" is not"},
	    {"root: :include: list\n", "f:3: \":include: list\" is not an"},
	    {"root: :include:\n", "f:3: is not of the form"},
	    {"root: error:\n", "f:3: \"error:\" has no text"},
	    {"root: error:550 5.1.1\n", "f:3: \"error:550 5.1.1\" has no"},
	    {"root: error:450 later\n", "f:3: \"error:450 later\" has a code"},
	    {"root: a (b\n", "f:3: a parenthesis"},
	    {"root: a) b\n", "f:3: a parenthesis"},
	    {"root: \\\\\n", "f:3: "},
	    {"root: \"a\n", "f:3: a quote is not closed"},
	    {"root: a\001b\n", "f:3: a control character"},
	    {"root: a\rb: c\n", "f:3: a control character"},
	    {"root: a,\n b@@c\n", "f:4: \"b@@c\" "},
	    {"root: a@\n", "f:3: \"a@\" "},
	    {"root: Joe <joe@x.example> b\n", "f:3: is not of the form"},
	    {"root: Joe <joe@@x>\n", "f:3: \"<joe@@x>\" "},
	};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct reports r = {{0}, 0};
		struct aliases a;

		snprintf(text, sizeof(text),
		    "# first\nbefore: 1\n%safter: 2\nlast: |x\nlast: 3\n",
		    cases[i].line);
		aliases_parse(&a, "f", text, strlen(text), report, &r);
		if (strncmp(r.text, cases[i].error, strlen(cases[i].error)) !=
		    0)
			fail_msg("%s: %s", cases[i].line, r.text);
		assert_string_equal(targets(&a, "before"), "1");
		assert_string_equal(targets(&a, "after"), "2");
		assert_string_equal(targets(&a, "root"), "-");
		assert_string_equal(targets(&a, "last"), "3");
		assert_true(a.errors >= 2);
		assert_int_equal(r.count, a.errors);
		assert_non_null(strstr(r.text, "\"|x\" is no command"));
		assert_null(strpbrk(r.text, "\001\r"));
		aliases_free(&a);
	}
}

/* Files and commands, as Postfix and sendmail write them. */
static void
test_programs(void **state)
{
	static const struct {
		const char *line, *targets, *error; /* without the \n */
	} cases[] = {
	    {"r: |/bin/cat", "|/bin/cat", ""},
	    {"r: \"|/bin/cat -n, x\", b", "|/bin/cat -n, x|b", ""},
	    {"r: \\r, |\"/bin/cat -n\"", "\\r||/bin/cat -n", ""},
	    {"r: \"| /bin/x 'a  b' \\\"c d\\\"\"", "| /bin/x 'a  b' \"c d\"",
		""},
	    {"r: \"|/bin/x\ty\"", "|/bin/x y", ""},
	    {"r: b,\n /var/x", "b|/var/x", ""},
	    {"r: /var/x/", "/var/x/", ""},
	    {"r: \"/var/a b\"", "/var/a b", ""},
	    {"r: |cat", "-", "\"|cat\" is no command: it must begin"},
	    {"r: \"|\"", "-", "\"\"|\"\" is no command"},
	    {"r: \"|/bin/x; rm y\"", "-",
		"\"\"|/bin/x; rm y\"\" is for a shell"},
	    {"r: \"|/bin/x 'y\"", "-",
		"\"\"|/bin/x 'y\"\" has a quote that is not closed"},
	    {"r: //", "-", "\"//\" must be"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reports r = {{0}, 0};
		struct aliases a;
		const char *said;

		aliases_parse(
		    &a, "f", cases[i].line, strlen(cases[i].line), report, &r);
		said =
		    strchr(r.text, ' ') != NULL ? strchr(r.text, ' ') + 1 : "";
		if (strncmp(said, cases[i].error, strlen(cases[i].error)) !=
			0 ||
		    (cases[i].error[0] == '\0') != (a.errors == 0))
			fail_msg("%s: %s", cases[i].line, r.text);
		assert_string_equal(targets(&a, "r"), cases[i].targets);
		aliases_free(&a);
	}
}

/* What the spool and the jobs have no room for is no target. */
static void
test_long_command(void **state)
{
	char line[TARGET_MAX + 40];
	struct reports r = {{0}, 0};
	struct aliases a;

	(void)state;
	snprintf(line, sizeof(line), "r: \"|/%*s\"", TARGET_MAX - 2, "x");
	aliases_parse(&a, "f", line, strlen(line), report, &r);
	assert_int_equal(a.list[0]->targets.len, TARGET_MAX + 1);
	aliases_free(&a);
	snprintf(line, sizeof(line), "r: \"|/%*s\"", TARGET_MAX - 1, "x");
	aliases_parse(&a, "f", line, strlen(line), report, &r);
	assert_int_equal(a.errors, 1);
	assert_int_equal(a.count, 0);
	aliases_free(&a);
}

static void
write_list(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void
test_include(void **state)
{
	static const struct {
		const char *text;
		mode_t mode;
		const char *targets, *error; /* behind the path */
	} cases[] = {
	    {"", 0600, "", NULL},
	    {"# c\n\na, b\r\n  c # d\n\\d\n:include:/e\nJoe <f@x.example>",
		0644, "a|b|c|\\d|:include:/e|f@x.example|", NULL},
	    {"a\nb@@c\nd\n", 0600, "a|d|", ":2: \"b@@c\" "},
	    {"a\n/x\nb\n", 0600, "a|b|", ":2: \"/x\" is not allowed"},
	    {"\"|x\"\n", 0600, "", ":1: \"\"|x\"\" is not allowed"},
	    {"error:550 x\n", 0600, "", ":1: \"error:550 x\" is not all"},
	    {"name: a\nb\n", 0600, "b|", ":1: is not a list"},
	    {"a\n", 0620, "", ": can be changed by others: chmod go-w it"},
	    {"a\n", 0602, "", ": can be changed by others: chmod go-w it"},
	};
	char directory[] = "/tmp/aliases-test-XXXXXX", path[64], other[64];
	struct buf got = {0};
	struct aliases a;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/list", directory);
	snprintf(other, sizeof(other), "%s/link", directory);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct reports r = {{0}, 0};
		const char *error = cases[i].error;

		aliases_parse(&a, "f", "", 0, report, &r);
		write_list(path, cases[i].text, cases[i].mode);
		assert_int_equal(
		    aliases_include(&a, path, &got), error != NULL);
		for (size_t n = 0; n < got.len; n++)
			if (got.data[n] == '\0')
				got.data[n] = '|';
		assert_string_equal(buf_str(&got), cases[i].targets);
		if (error != NULL)
			assert_int_equal(strncmp(r.text + strlen(path), error,
					     strlen(error)),
			    0);
		buf_reset(&got);
		if (geteuid() == 0) { /* somebody else's */
			assert_int_equal(chown(path, 12345, 0), 0);
			assert_int_equal(aliases_include(&a, path, &got), 1);
			a.owner = 12345;
			write_list(path, "a", 0600);
			assert_int_equal(aliases_include(&a, path, &got), 0);
			assert_int_equal(chown(path, 0, 0), 0);
		}
		aliases_free(&a);
		buf_reset(&got);
	}
	struct reports r = {{0}, 0};
	aliases_parse(&a, "f", "", 0, report, &r);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(aliases_include(&a, other, &got), 1);
	assert_non_null(strstr(r.text, "/link: has a second name\n"));
	assert_int_equal(unlink(other), 0);
	assert_int_equal(symlink(path, other), 0);
	assert_int_equal(aliases_include(&a, other, &got), 1);
	assert_non_null(strstr(r.text, "/link: is a symbolic link\n"));
	unlink(other);
	assert_int_equal(mkfifo(other, 0600), 0);
	assert_int_equal(aliases_include(&a, other, &got), 1);
	assert_non_null(strstr(r.text, "/link: is not a regular file\n"));
	assert_int_equal(aliases_include(&a, "/nonexistent/x", &got), 1);
	assert_non_null(strstr(r.text, "/nonexistent/x: No such file"));
	assert_int_equal(truncate(path, INCLUDE_FILE_MAX + 1), 0);
	assert_int_equal(aliases_include(&a, path, &got), 1);
	assert_non_null(strstr(r.text, "/list: is too large\n"));
	aliases_free(&a);
	buf_free(&got);
	unlink(other);
	unlink(path);
	rmdir(directory);
}

static void
test_nul(void **state)
{
	static const char text[] = "a: b\0c\nd: e\n\0\nf: g\n";
	struct reports r = {{0}, 0};
	struct aliases a;

	(void)state;
	aliases_parse(&a, "f", text, sizeof(text) - 1, report, &r);
	assert_int_equal(r.count, 2);
	assert_string_equal(targets(&a, "a"), "-");
	assert_string_equal(targets(&a, "d"), "e");
	assert_string_equal(targets(&a, "f"), "g");
	aliases_free(&a);
}

/* Any bytes at all: no crash, no endless loop, nothing leaked. */
static void
test_noise(void **state)
{
	static const char bytes[] = "ab:,, \t\n\n\r#\"\\[]()<>|/@.*\0\x80";
	unsigned seed = 1;
	char text[200];
	struct aliases a;
	size_t i, n;

	(void)state;
	for (n = 0; n < 5000; n++) {
		for (i = 0; i < sizeof(text); i++) {
			seed = seed * 1103515245 + 12345;
			text[i] = bytes[(seed >> 16) % (sizeof(bytes) - 1)];
		}
		aliases_parse(&a, "f", text, (n % sizeof(text)), NULL, NULL);
		aliases_free(&a);
	}
}

/* The stack must not grow with the file: many lines, one line of many. */
static void
test_large(void **state)
{
	struct reports r = {{0}, 0};
	struct buf text = {0};
	struct aliases a;
	size_t i;

	(void)state;
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf_printf(&text, "n%zu: t%zu\n", i, i), 0);
	assert_int_equal(buf_puts(&text, "list: a"), 0);
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf_printf(&text, ",\n u%zu", i), 0);
	for (i = 0; i < 100000; i++)
		assert_int_equal(buf_printf(&text, "\nmany: v%zu", i), 0);
	aliases_parse(&a, "f", text.data, text.len, report, &r);
	buf_free(&text);
	assert_int_equal(r.count, 0);
	assert_int_equal(a.count, 100002);
	assert_string_equal(targets(&a, "N99999"), "t99999");
	assert_int_equal(count_targets(&a, "list"), 100001);
	assert_int_equal(count_targets(&a, "many"), 100000);
	assert_int_equal(aliases_lookup(&a, "n7")->number, 7);
	aliases_free(&a);
}

/* Runs of what looks like a beginning must not cost their square. */
static void
test_hostile_runs(void **state)
{
	static const char *const pieces[] = {"\"", "[", "(", "\\(",
	    "error:", ":include:", "\\", "#\n", " \n", "a:", "a ", ",", "\"\\",
	    "a:b\n"};
	const size_t size = 1 << 19;
	char *text = xmalloc(size + 8);
	struct aliases a;
	size_t i, n;

	(void)state;
	for (i = 0; i < ARRAY_LEN(pieces); i++) {
		for (n = 0; n < size; n += strlen(pieces[i]))
			memcpy(text + n, pieces[i], strlen(pieces[i]));
		aliases_parse(&a, "f", text, size, NULL, NULL);
		aliases_free(&a);
	}
	free(text);
}

static void
test_load(void **state)
{
	char path[] = "/tmp/aliases-test-XXXXXX";
	struct reports r = {0};
	struct aliases a;
	int fd;

	(void)state;
	assert_int_equal(aliases_load(&a, "/nonexistent", NULL, NULL), 0);
	assert_null(aliases_lookup(&a, "root"));
	aliases_free(&a);
	assert_int_equal(aliases_load(&a, "/", NULL, NULL), -1);
	assert_int_equal(errno, EINVAL);
	fd = mkstemp(path);
	assert_int_equal(write_full(fd, "root: joe", 9), 0);
	assert_int_equal(aliases_load(&a, path, NULL, NULL), 0);
	assert_string_equal(targets(&a, "root"), "joe");
	aliases_free(&a);
	assert_int_equal(fchmod(fd, 0666), 0);
	assert_int_equal(aliases_load(&a, path, report, &r), -1);
	assert_int_equal(errno, EPERM);
	assert_non_null(strstr(r.text, ": can be changed by everybody: "));
	aliases_free(&a);
	close(fd);
	unlink(path);
}

/* A ~/.forward's targets, with '\n' for what ends each. */
static const char *
forwarded(const char *text, struct reports *r)
{
	static char all[1024];
	struct buf b = {0};
	size_t faults;

	*r = (struct reports){0};
	faults = aliases_forward("f", text, strlen(text), &b, report, r);
	assert_int_equal(faults, r->count);
	assert_true(b.len < sizeof(all));
	memcpy(all, buf_str(&b), b.len);
	all[b.len] = '\0';
	for (size_t i = 0; i < b.len; i++)
		if (all[i] == '\0')
			all[i] = '\n';
	buf_free(&b);
	return all;
}

static void
test_forward(void **state)
{
	static const struct {
		const char *text, *targets;
	} cases[] = {
	    {"", ""},
	    {"# nothing\n\n", ""},
	    {"joe@x.example", "joe@x.example\n"},
	    {"\\joe, ann@x.example\r\n", "\\joe\nann@x.example\n"},
	    {"joe ann\n# no\nbob (me)\n", "joe\nann\nbob\n"},
	    {"Joe Doe <joe@x.example>", "joe@x.example\n"},
	    {"/file\n/dir/\n~/file\n~/dir/\n",
		"/file\n/dir/\n~/file\n~/dir/\n"},
	    {"\"~/My Mail/\"", "~/My Mail/\n"},
	    {"\"|/bin/a 'b c' \\\"d e\\\"\"", "|/bin/a 'b c' \"d e\"\n"},
	    {"|\"/bin/a b\"", "|/bin/a b\n"},
	    {"|/bin/a", "|/bin/a\n"},
	    {"\\/a@x.example, \\|b", "\\/a@x.example\n\\|b\n"},
	    {"\\me, \"|/bin/vacation me\"", "\\me\n|/bin/vacation me\n"},
	};
	struct reports r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(
		    forwarded(cases[i].text, &r), cases[i].targets);
		assert_int_equal(r.count, 0);
	}
}

static void
test_forward_faults(void **state)
{
	static const struct {
		const char *text, *report;
	} cases[] = {
	    {":include:/list", "f:1: \"...\" is not allowed"},
	    {"me\n\nerror:550 no\n", "f:3: \"...\" is not allowed"},
	    {"|/bin/a b", "f:1: \"...\" follows a command"},
	    {"\"|exec /bin/a\"", "f:1: \"...\" is no command"},
	    {"\"|/bin/a || exit 75\"", "is for a shell"},
	    {"~/", "must be ~/file"},
	    {"a@@b", "f:1: \"...\" "},
	    {"</etc/passwd>", "begins like a file or a command"},
	    {"Me <|/bin/sh>", "begins like a file or a command"},
	    {"<~/x>", "begins like a file or a command"},
	    {"@x\\:|/bin/sh", "begins like a file or a command"},
	    {"\"me\nyou", "f:1: a quote is not closed"},
	    {"me: you", "f:1: "},
	};
	struct reports r;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		(void)forwarded(cases[i].text, &r);
		if (r.count == 0 || strstr(r.text, cases[i].report) == NULL)
			fail_msg("%s: \"%s\"", cases[i].text, r.text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_programs),
	    cmocka_unit_test(test_long_command),
	    cmocka_unit_test(test_include),
	    cmocka_unit_test(test_nul),
	    cmocka_unit_test(test_noise),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_hostile_runs),
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_forward),
	    cmocka_unit_test(test_forward_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
