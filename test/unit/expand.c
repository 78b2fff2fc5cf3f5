/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * expand.c - what recipients become, and that none is lost.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../buf.h"
#include "../../expand.h"
#include "../../util.h"

struct world {
	struct conf *c;
	struct aliases a;
	struct recipients r;
	int reports;
};

/* Files and commands alone may be reported. */
static void
complain_loudly(void *arg, const char *line)
{
	((struct world *)arg)->reports++;
	if (strstr(line, "a private instance uses no files") == NULL &&
	    strstr(line, "/nonexistent/l: ") == NULL &&
	    strstr(line, "/dev/null: is not a regular file") == NULL)
		fail_msg("%s", line);
}

static void
begin(struct world *w, const char *conf, const char *aliases)
{
	struct conf_error error;

	memset(w, 0, sizeof(*w));
	w->c = conf_parse("c", conf, strlen(conf), false, &error);
	if (w->c == NULL)
		fail_msg("%s", error.text);
	aliases_parse(&w->a, "a", aliases, strlen(aliases), complain_loudly, w);
}

static void
end(struct world *w)
{
	recipients_free(&w->r);
	aliases_free(&w->a);
	conf_free(w->c);
}

static int
add(struct world *w, const char *to, const char **why)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, to, false, why), 0);
	return expand_add(
	    &w->r, w->c, &w->a, &a, NOTIFY_DELAY, "rfc822;orig", why);
}

/* "addr(orig) addr ..." in the order of the list. */
static const char *
list(const struct world *w)
{
	static char text[4096];
	size_t i;

	text[0] = '\0';
	for (i = 0; i < w->r.count; i++) {
		const struct recipient *r = &w->r.list[i];

		snprintf(text + strlen(text), sizeof(text) - strlen(text),
		    "%s%s", i > 0 ? " " : "", r->addr.text);
		if (r->target != NULL)
			snprintf(text + strlen(text),
			    sizeof(text) - strlen(text), "[%s]", r->target);
		if (r->orig != NULL)
			snprintf(text + strlen(text),
			    sizeof(text) - strlen(text), "(%s)", r->orig);
	}
	return text;
}

static void
test_expansion(void **state)
{
	static const char conf[] = "MAILNAME here.example\n";
	static const struct {
		const char *conf, *aliases, *to, *list;
	} cases[] = {
	    {conf, "", "joe", "joe"},
	    {conf, "", "Joe@x.example", "Joe@x.example"},
	    {conf, "", "joe@HERE.example", "joe(joe@HERE.example)"},
	    {conf, "", "joe@localhost", "joe(joe@localhost)"},
	    {conf, "root: a@x.example\n", "root", "a@x.example(root)"},
	    {conf, "root: a@x.example\n", "ROOT@localhost",
		"a@x.example(ROOT@localhost)"},
	    {conf, "root: a\na: b\nb: c@x.example\n", "root",
		"c@x.example(root)"},
	    {conf, "root: a@here.example\na: b\n", "root", "b(root)"},
	    /* An alias is for local names alone. */
	    {conf, "joe: a\n", "joe@x.example", "joe@x.example"},
	    /* The local copy stays (0.14 lost it). */
	    {conf, "me: me, other@x.example\n", "me", "me other@x.example(me)"},
	    {conf, "me: \\me, other\n", "me", "me other(me)"},
	    {conf, "me: Me\n", "me", "Me(me)"},
	    {conf, "me: me@localhost\n", "me", "me"},
	    /* A loop ends in a local user, who then does not exist. */
	    {conf, "x: y\ny: x\n", "x", "x"},
	    {conf, "x: y\ny: x\n", "y", "y"},
	    {conf, "x: y, good\ny: z\nz: y\n", "x", "y(x) good(x)"},
	    /* Two ways to one target. */
	    {conf, "all: a, b\na: c, c\nb: c\n", "all", "c(all)"},
	    {conf, "all: a, b\na: c\nb: c\nc: d\n", "all", "d(all)"},
	    /* The catch-all is for what was given, and for nothing else. */
	    {conf, "*: joe\n", "anybody", "joe(anybody)"},
	    {conf, "*: joe\n", "joe", "joe"},
	    {conf, "*: joe\nann: bob\n", "ann", "bob(ann)"},
	    {conf, "*: joe\n", "a@x.example", "a@x.example"},
	    {conf, "*: joe, ann\njoe: a@x.example\n", "bob",
		"a@x.example(bob) ann(bob)"},
	    /* Names that every machine has. */
	    {conf, "", "Postmaster", "root(Postmaster)"},
	    {conf, "root: joe\n", "mailer-daemon", "joe(mailer-daemon)"},
	    {conf, "postmaster: ann\nroot: joe\n", "postmaster",
		"ann(postmaster)"},
	    {conf, "*: ann\n", "postmaster", "ann(postmaster)"},
	    {conf, "root: postmaster\n", "postmaster", "root(postmaster)"},
	    {conf, "root: postmaster\n", "root", "root"},
	    /* No alias behind a backslash. */
	    {conf, "a: \\b\nb: c@x.example\n", "a", "b(a)"},
	    {conf, "a: \\b@here.example\nb: c\n", "a", "b(a)"},
	    {conf, "a: \\b@x.example\n", "a", "b@x.example(a)"},
	    /* A name at one of our domains. */
	    {conf, "a@here.example: b\n", "a@HERE.example",
		"b(a@HERE.example)"},
	    {conf, "a@here.example: b\n", "a", "b(a)"},
	    {conf, "A@localhost: b\n", "a@localhost", "b(a@localhost)"},
	    {conf, "a@localhost: b\n", "a", "a"},
	    {conf, "a@here.example: b\na: c\n", "a@localhost",
		"c(a@localhost)"},
	    {conf, "a@here.example: a, b\n", "a", "a b(a)"},
	    {conf, "a@x.example: b\n", "a@x.example", "a@x.example"},
	    {conf, "r: a@localhost\na@localhost: c\na: d\n", "r", "c(r)"},
	    /* A file or a command is the name's, each its own recipient. */
	    {conf, "a: |/cat\n", "a", "a[|/cat]"},
	    {conf, "a: /var/x, b\n", "a", "a[/var/x] b(a)"},
	    {conf, "a: a, /var/x\n", "a", "a a[/var/x]"},
	    {conf, "r: a\na: \"|/cat\"\n", "r", "a[|/cat](r)"},
	    {conf, "a: /v/x, |/cat, /v/y, /v/x\n", "a",
		"a[/v/x] a[|/cat] a[/v/y]"},
	    {conf, "a: b, c\nb: /v/x\nc: /v/x\n", "a", "b[/v/x](a) c[/v/x](a)"},
	    {conf, "*: /var/x\n", "joe", "joe[/var/x]"},
	    {"MAILNAME here.example\nLOCALONLY\n", "a: |/cat\n", "a",
		"a[|/cat]"},
	    /* What is behind a plus chooses an alias, or is kept. */
	    {conf, "", "joe+x", "joe+x"},
	    {conf, "joe: ann\n", "joe+x", "ann(joe+x)"},
	    {conf, "joe: ann\njoe+x: bob\n", "JOE+X", "bob(JOE+X)"},
	    {conf, "joe: ann\njoe+x: bob\n", "joe+y+x", "ann(joe+y+x)"},
	    {conf, "joe@here.example: ann\n", "joe+@here.example",
		"ann(joe+@here.example)"},
	    {conf, "joe: joe, ann\n", "joe+x", "joe(joe+x) ann(joe+x)"},
	    {conf, "joe: ann+y\n", "joe+x", "ann+y(joe+x)"},
	    {conf, "\"joe doe\": ann\n", "\"joe doe+a b\"",
		"ann(\"joe doe+a b\")"},
	    {conf, "joe: ann\nx: bob\n", "+x", "+x"},
	    {conf, "*: ann\n", "joe+x", "ann(joe+x)"},
	    {conf, "*: ann\njoe: bob\n", "joe+x", "bob(joe+x)"},
	    {conf, "joe: |/cat\n", "joe+x", "joe+x[|/cat]"},
	    {conf, "joe: ann\n", "joe+x@x.example", "joe+x@x.example"},
	    {conf, "", "postmaster+x", "root(postmaster+x)"},
	    /* A list that cannot be read does, too. */
	    {conf, "a: :include:/nonexistent/l\n", "a", "a"},
	    {conf, "a: b, :include:/nonexistent/l\n", "a", "b(a) a"},
	    {conf, "a: :include:/dev/null\n", "a", "a"},
	    /* NULLCLIENT leaves aliases alone. */
	    {"SMARTHOST r\nNULLCLIENT\nMAILNAME here.example\n",
		"root: a\n*: b\n", "root", "root@here.example(root)"},
	    {"SMARTHOST r\nNULLCLIENT\nMAILNAME here.example\n", "root: a\n",
		"root@localhost", "root@here.example(root@localhost)"},
	};
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct world w;

		begin(&w, cases[i].conf, cases[i].aliases);
		assert_int_equal(add(&w, cases[i].to, &why), 0);
		if (strcmp(list(&w), cases[i].list) != 0)
			fail_msg("%s%s: %s, not %s", cases[i].aliases,
			    cases[i].to, list(&w), cases[i].list);
		assert_int_equal(w.r.list[0].status, STATUS_TODO);
		assert_int_equal(w.r.list[0].notify, NOTIFY_DELAY);
		assert_string_equal(w.r.list[0].orcpt, "rfc822;orig");
		end(&w);
	}
}

/* Lists, each read once, also where they include themselves. */
static void
test_lists(void **state)
{
	char path[] = "/tmp/expand-test-XXXXXX", text[400];
	const char *why;
	struct world w;
	int fd = mkstemp(path);

	(void)state;
	assert_int_equal(fd == -1, 0);
	snprintf(text, sizeof(text), "a\nme, b@x.example\n:include:%s\n", path);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	snprintf(text, sizeof(text),
	    "me: :include:%s\na: c\ntwice: d, :include:%s, :include:%s\n", path,
	    path, path);
	begin(&w, "MAILNAME here.example\n", text);
	assert_int_equal(add(&w, "me", &why), 0);
	assert_string_equal(list(&w), "c(me) me b@x.example(me)");
	recipients_free(&w.r);
	assert_int_equal(add(&w, "twice", &why), 0);
	assert_string_equal(
	    list(&w), "d(twice) c(twice) me(twice) b@x.example(twice)");
	recipients_free(&w.r);
	/* Nothing but itself: nowhere. */
	assert_int_equal(ftruncate(fd, 0), 0);
	snprintf(text, sizeof(text), "\n:include:%s\n", path);
	assert_int_equal(pwrite_full(fd, text, strlen(text), 0), 0);
	assert_int_equal(add(&w, "me", &why), 0);
	assert_string_equal(list(&w), "me");
	end(&w);
	close(fd);
	unlink(path);
}

/* Nobody is there to run them: the name has the mail, and it is said. */
static void
test_private_instance(void **state)
{
	const char *why;
	struct world w;

	(void)state;
	begin(&w, "", "a: |/cat, b\n");
	free(w.c->aliasuser);
	w.c->aliasuser = NULL;
	assert_int_equal(add(&w, "a", &why), 0);
	assert_string_equal(list(&w), "a b(a)");
	assert_int_equal(w.reports, 1);
	end(&w);
}

/* Many recipients with targets: the hash knows them apart. */
static void
test_many_targets(void **state)
{
	struct buf text = {0};
	const char *why;
	struct world w;

	(void)state;
	assert_int_equal(buf_puts(&text, "a: /v/0"), 0);
	for (int i = 1; i < 500; i++)
		assert_int_equal(buf_printf(&text, ", /v/%d", i % 400), 0);
	begin(&w, "", text.data);
	assert_int_equal(add(&w, "a", &why), 0);
	assert_int_equal(add(&w, "a@localhost", &why), 0);
	assert_int_equal(w.r.count, 400);
	end(&w);
	buf_free(&text);
}

/* error: has failed already, and what stands beside it has not. */
static void
test_rejection(void **state)
{
	const char *why;
	struct world w;

	(void)state;
	begin(&w, "", "a: error:550 5.2.1 gone, b\nr: a\n");
	assert_int_equal(add(&w, "r", &why), 0);
	assert_string_equal(list(&w), "a(r) b(r)");
	assert_int_equal(w.r.list[0].status, STATUS_FAILED);
	assert_string_equal(w.r.list[0].reason, "5.2.1 gone");
	assert_int_equal(w.r.list[1].status, STATUS_TODO);
	assert_null(w.r.list[1].reason);
	recipients_truncate(&w.r, 1);
	assert_int_equal(w.r.count, 1);
	end(&w);
}

static void
test_duplicates(void **state)
{
	const char *why;
	struct world w;

	(void)state;
	begin(&w, "MAILNAME h.example\n", "root: joe@X.example\n");
	assert_int_equal(add(&w, "joe@x.example", &why), 0);
	assert_int_equal(add(&w, "joe@x.EXAMPLE", &why), 0);
	assert_int_equal(add(&w, "root", &why), 0);
	assert_int_equal(add(&w, "Joe@x.example", &why), 0);
	assert_int_equal(add(&w, "joe", &why), 0);
	assert_int_equal(add(&w, "joe@h.example", &why), 0);
	assert_int_equal(add(&w, "JOE", &why), 0);
	assert_string_equal(list(&w), "joe@x.example Joe@x.example joe");
	end(&w);
}

static void
test_null_address(void **state)
{
	const char *why = NULL;
	struct world w;
	struct addr a;

	(void)state;
	begin(&w, "", "");
	assert_int_equal(addr_parse(&a, "<>", true, &why), 0);
	assert_int_equal(expand_add(&w.r, w.c, &w.a, &a, 0, NULL, &why), -1);
	assert_non_null(why);
	assert_int_equal(w.r.count, 0);
	end(&w);
}

/* A chain that is too deep stops at a local name; it is not dropped. */
static void
test_depth(void **state)
{
	struct buf text = {0};
	const char *why;
	struct world w;
	int i;

	(void)state;
	for (i = 0; i < 2 * ALIAS_DEPTH_MAX; i++)
		assert_int_equal(buf_printf(&text, "n%d: n%d\n", i, i + 1), 0);
	begin(&w, "", text.data);
	assert_int_equal(add(&w, "n0", &why), 0);
	assert_string_equal(list(&w), "n50(n0)");
	assert_int_equal(add(&w, "n60", &why), 0);
	assert_string_equal(list(&w), "n50(n0) n100(n60)");
	end(&w);
	buf_free(&text);
}

/* Every name leads to the next one twice: 2^24 ways, few steps. */
static void
test_fan_out(void **state)
{
	struct buf text = {0};
	const char *why;
	struct world w;
	int i;

	(void)state;
	for (i = 0; i < 24; i++)
		assert_int_equal(buf_printf(&text, "n%d: m%d, n%d\nm%d: n%d\n",
				     i, i, i + 1, i, i + 1),
		    0);
	begin(&w, "", text.data);
	assert_int_equal(add(&w, "n0", &why), 0);
	assert_string_equal(list(&w), "n24(n0)");
	end(&w);
	buf_free(&text);
}

static void
test_limit(void **state)
{
	char to[40];
	const char *why = NULL;
	struct world w;
	int i;

	(void)state;
	begin(&w, "", "two: a@x.example, b@x.example\n");
	for (i = 0; i < RECIPIENTS_MAX - 1; i++) {
		snprintf(to, sizeof(to), "u%d@x.example", i);
		assert_int_equal(add(&w, to, &why), 0);
	}
	assert_int_equal(w.r.count, RECIPIENTS_MAX - 1);
	assert_int_equal(add(&w, "u7@x.example", &why), 0);
	/* Not half of an alias: who is told so sends it again. */
	assert_int_equal(add(&w, "two", &why), -1);
	assert_int_equal(errno, E2BIG);
	assert_non_null(why);
	assert_int_equal(w.r.count, RECIPIENTS_MAX - 1);
	assert_int_equal(add(&w, "u7@x.example", &why), 0);
	assert_int_equal(w.r.count, RECIPIENTS_MAX - 1);
	assert_int_equal(add(&w, "a@x.example", &why), 0);
	assert_int_equal(add(&w, "b@x.example", &why), -1);
	assert_int_equal(w.r.count, RECIPIENTS_MAX);
	end(&w);
}

/* A target that turns out to be no address keeps the name. */
static void
test_bad_target(void **state)
{
	const char *why;
	struct world w;

	(void)state;
	begin(&w, "", "staff: bob@x.example, a@x.example\n");
	memcpy(aliases_lookup(&w.a, "staff")->targets.data, "b@@", 3);
	assert_int_equal(add(&w, "staff", &why), 0);
	assert_string_equal(list(&w), "staff a@x.example(staff)");
	end(&w);
}

/* LOCALONLY: a local recipient alone, also at the end of an alias. */
static void
test_localonly(void **state)
{
	static const struct {
		const char *to, *why;
	} cases[] = {
	    {"joe", NULL},
	    {"joe@here.example", NULL},
	    {"team", NULL},
	    {"a@x.example",
		"is on another machine: LOCALONLY lets no mail go there"},
	    {"away", "is an alias for an address on another machine: "
		     "LOCALONLY lets no mail go there"},
	    {"both", "is an alias for an address on another machine: "
		     "LOCALONLY lets no mail go there"},
	    {"Postmaster", NULL},
	};
	struct world w;
	const char *why;
	int rc;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin(&w, "MAILNAME here.example\nLOCALONLY\n",
		    "team: joe, ann\naway: b@x.example\nboth: joe, away\n");
		why = NULL;
		rc = add(&w, cases[i].to, &why);
		if (cases[i].why != NULL) {
			assert_int_equal(errno, EPERM);
			assert_int_equal(rc, -1);
			assert_string_equal(why, cases[i].why);
		} else {
			assert_int_equal(rc, 0);
		}
		end(&w);
	}
}

static void
note_alias(void *arg, const struct addr *name, const char *targets, size_t len)
{
	struct buf *b = arg;

	assert_int_equal(buf_printf(b, "%s=", name->text), 0);
	for (const char *p = targets; p < targets + len; p += strlen(p) + 1)
		assert_int_equal(buf_printf(b, "%s,", p), 0);
}

static void
note_end(void *arg, const struct addr *name, const struct addr *to)
{
	assert_int_equal(buf_printf(arg, "%s>%s,", name->text, to->text), 0);
}

static void
note_reject(void *arg, const struct addr *name, const char *text)
{
	assert_int_equal(buf_printf(arg, "%s!%s,", name->text, text), 0);
}

static void
note_target(void *arg, const struct addr *name, const char *text)
{
	assert_int_equal(buf_printf(arg, "%s#%s,", name->text, text), 0);
}

/* -bv is told what a submission would do, in order, with names as written. */
static void
test_watch(void **state)
{
	static const struct {
		const char *to, *told;
	} cases[] = {
	    {"joe", "joe>joe,"},
	    {"Joe@localhost", "Joe@localhost>Joe,"},
	    {"a@x.example", "a@x.example>a@x.example,"},
	    {"root", "root=admin@here.example,b@x.example,"
		     "admin@here.example=joe,joe>joe,b@x.example>b@x.example,"},
	    {"postmaster",
		"postmaster=root,root=admin@here.example,b@x.example,"
		"admin@here.example=joe,joe>joe,b@x.example>b@x.example,"},
	    {"me", "me=me,me>me,"},
	    {"loop", "loop=pool,pool=loop,loop>loop,"},
	    {"gone", "gone=error:5.2.1 x,gone!5.2.1 x,"},
	    {"prog", "prog=|/cat,/v/x,prog#|/cat,prog#/v/x,"},
	    {"own", "own=\\root,root>root,"},
	};
	struct expand_watcher watcher = {
	    note_alias, note_end, note_reject, note_target, NULL};
	struct buf told = {0};
	struct world w;
	struct addr a;
	const char *why;

	(void)state;
	begin(&w, "MAILNAME here.example\n",
	    "root: admin@here.example, b@x.example\nadmin: joe\nme: me\n"
	    "loop: pool\npool: loop\ngone: error:5.2.1 x\n"
	    "prog: |/cat, /v/x\n"
	    "own: \\root\n");
	watcher.arg = &told;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(addr_parse(&a, cases[i].to, false, &why), 0);
		assert_int_equal(
		    expand_watch(w.c, &w.a, &a, &watcher, &why), 0);
		assert_string_equal(told.data, cases[i].told);
		buf_reset(&told);
	}
	buf_free(&told);
	end(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_localonly),
	    cmocka_unit_test(test_watch),
	    cmocka_unit_test(test_expansion),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_private_instance),
	    cmocka_unit_test(test_many_targets),
	    cmocka_unit_test(test_rejection),
	    cmocka_unit_test(test_duplicates),
	    cmocka_unit_test(test_null_address),
	    cmocka_unit_test(test_depth),
	    cmocka_unit_test(test_fan_out),
	    cmocka_unit_test(test_limit),
	    cmocka_unit_test(test_bad_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
