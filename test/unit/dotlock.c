/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dotlock.c - who has the lock beside a mailbox, and what is never removed.
 *
 * How long a lock of others is respected, test/unit/local.c tells.
 */
#include "../../dotlock.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
	char path[64];
	int dir;
	struct dotlock lock;
};

static int
set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	(void)compat_strlcpy(
	    w->path, "/tmp/unit-dotlock.XXXXXX", sizeof(w->path));
	if (mkdtemp(w->path) == NULL)
		return -1;
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->lock.dir = w->dir;
	w->lock.name = "m.lock";
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	(void)unlinkat(w->dir, "m.lock", 0);
	(void)unlinkat(w->dir, "other", 0);
	(void)close(w->dir);
	(void)rmdir(w->path);
	free(w);
	return 0;
}

static int
take(struct dotlock *l)
{
	return dotlock_take(l, (uid_t)-1, (gid_t)-1, now_ms() + 20);
}

static bool
is_there(const struct world *w, const char *name)
{
	struct stat st;

	return fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void
make_file(const struct world *w, const char *name)
{
	int fd =
	    openat(w->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

/* What mail readers look for: a file that they can read, with our number. */
static void
test_what_is_made(void **state)
{
	struct world *w = *state;
	char *path = xasprintf("%s/m.lock", w->path), *text, *want;
	struct stat st;
	size_t len;

	assert_int_equal(take(&w->lock), 0);
	assert_int_equal(read_file(path, 100, &text, &len, &st), 0);
	want = xasprintf("%d\n", (int)getpid());
	assert_string_equal(text, want);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(st.st_uid, geteuid());
	dotlock_drop(&w->lock);
	assert_false(is_there(w, "m.lock"));
	free(want);
	free(text);
	free(path);
}

static void
test_given_away(void **state)
{
	struct world *w = *state;
	struct stat st;

	if (geteuid() != 0) {
		assert_int_equal(
		    dotlock_take(&w->lock, 0, (gid_t)-1, now_ms()), -1);
		assert_int_equal(errno, EPERM);
		assert_false(is_there(w, "m.lock"));
		return;
	}
	assert_int_equal(dotlock_take(&w->lock, 12, 34, now_ms()), 0);
	assert_int_equal(fstatat(w->dir, "m.lock", &st, 0), 0);
	assert_int_equal(st.st_uid, 12);
	assert_int_equal(st.st_gid, 34);
}

static void
test_only_one_has_it(void **state)
{
	struct world *w = *state;
	struct dotlock second = w->lock;
	int64_t begun = now_ms();

	assert_int_equal(take(&w->lock), 0);
	assert_int_equal(take(&second), -1);
	assert_int_equal(errno, EAGAIN);
	assert_true(now_ms() - begun >= 20);
	assert_true(is_there(w, "m.lock"));
	dotlock_drop(&w->lock);
	assert_int_equal(take(&second), 0);
	dotlock_drop(&second);
}

/* After a long stop of ours somebody may have taken it for stale. */
static void
test_another_s_stays(void **state)
{
	struct world *w = *state;

	assert_int_equal(take(&w->lock), 0);
	/* Kept under another name, so that its number is not used again. */
	assert_int_equal(renameat(w->dir, "m.lock", w->dir, "other"), 0);
	make_file(w, "m.lock");
	dotlock_drop(&w->lock);
	assert_true(is_there(w, "m.lock"));
	assert_true(is_there(w, "other"));
}

/* However old the link is; what it leads to is not made or touched. */
static void
test_link_is_not_followed(void **state)
{
	static const struct timespec old[2] = {{1, 0}, {1, 0}};
	struct world *w = *state;

	assert_int_equal(symlinkat("other", w->dir, "m.lock"), 0);
	assert_int_equal(
	    utimensat(w->dir, "m.lock", old, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(take(&w->lock), -1);
	assert_int_equal(errno, EAGAIN);
	assert_false(is_there(w, "other"));
	assert_true(is_there(w, "m.lock"));
}

static void
test_no_directory(void **state)
{
	struct world *w = *state;

	w->lock.name = "missing/m.lock";
	assert_int_equal(take(&w->lock), -1);
	assert_int_equal(errno, ENOENT);
}

static void
test_pause_grows_to_its_limit(void **state)
{
	long ms = MBOX_POLL_FIRST_MS;
	int64_t begun = now_ms();

	(void)state;
	assert_int_equal(dotlock_pause(begun + 10000, &ms), 0);
	assert_true(now_ms() - begun >= MBOX_POLL_FIRST_MS);
	assert_int_equal(ms, 2 * MBOX_POLL_FIRST_MS);
	ms = MBOX_POLL_MAX_MS;
	assert_int_equal(dotlock_pause(now_ms() + 10000, &ms), 0);
	assert_int_equal(ms, MBOX_POLL_MAX_MS);
	begun = now_ms();
	assert_int_equal(dotlock_pause(begun, &ms), -1);
	assert_true(now_ms() - begun < MBOX_POLL_MAX_MS);
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(test_what_is_made),
	    EACH(test_given_away),
	    EACH(test_only_one_has_it),
	    EACH(test_another_s_stays),
	    EACH(test_link_is_not_followed),
	    EACH(test_no_directory),
	    cmocka_unit_test(test_pause_grows_to_its_limit),
	};

	return cmocka_run_group_tests_name("dotlock", tests, NULL, NULL);
}
