/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_errors.c - spool.h where the system refuses, or somebody else was at a
 * file meanwhile: each step that can fail is made to fail once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "log.h"
#include "spool.h"
#include "util.h"

#define ID   "00000V80123456789ABC"
#define TEXT "Subject: x\n\nbody\n"

/* ---- The system, refusing once ---- */

static int no_random, no_directory, no_space_known, interrupted;

int
getentropy(void *p, size_t len)
{
	errno = ENOSYS;
	return no_random-- > 0                        ? -1
	       : getrandom(p, len, 0) == (ssize_t)len ? 0
						      : -1;
}

DIR *
fdopendir(int fd)
{
	(void)fd;
	errno = ENOMEM;
	no_directory++;
	return NULL;
}

int
fstatvfs(int fd, struct statvfs *st)
{
	(void)fd;
	(void)st;
	no_space_known++;
	errno = ENOSYS;
	return -1;
}

ssize_t
read(int fd, void *p, size_t len)
{
	errno = EINTR;
	return interrupted-- > 0 ? -1 : (ssize_t)syscall(SYS_read, fd, p, len);
}

/* ---- A spool ---- */

static char dir[64];
static struct spool spool;
static struct recipient to;

static int
setup(void **state)
{
	const char *why;

	(void)state;
	no_random = interrupted = 0;
	(void)compat_strlcpy(dir, "/tmp/dma-spool.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL)
		return -1;
	return addr_parse(&to.addr, "a@example.org", false, &why) == 0 &&
		       spool_open(&spool, dir, true, &why) == 0
		   ? 0
		   : -1;
}

static int
teardown(void **state)
{
	static const char *const names[] = {
	    ID, "tmp." ID, "bad." ID, "wake.7", "plain", "Q1.0", "M1.0"};
	char name[32];

	(void)state;
	(void)snprintf(
	    name, sizeof(name), "wake.%lu", (unsigned long)geteuid());
	(void)unlinkat(spool.dirfd, name, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		(void)unlinkat(spool.dirfd, names[i], 0);
	spool_close(&spool);
	return rmdir(dir);
}

static struct envelope
envelope(void)
{
	struct envelope e = {.arrival = 1, .recipients = &to, .nrecipients = 1};

	to.status = STATUS_TODO;
	(void)compat_strlcpy(e.id, ID, sizeof(e.id));
	return e;
}

static void
queue(void)
{
	struct envelope e = envelope();
	struct spool_draft d;

	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_append(&d, TEXT, strlen(TEXT)), 0);
	assert_int_equal(spool_commit(&spool, &d), 0);
}

/* ---- Tests ---- */

static void
no_random_bytes(void **state)
{
	struct envelope e = envelope();
	struct spool_draft d;
	char id[QUEUE_ID_MAX + 1];

	(void)state;
	no_random = 1;
	assert_int_equal(spool_new_id(7, id), -1);
	no_random = 1;
	e.id[0] = '\0';
	assert_int_equal(spool_create(&spool, &e, &d), -1);
	assert_int_equal(errno, ENOSYS);
}

static int
count_name(void *arg, const char *name)
{
	(void)arg;
	return name[0];
}

static void
no_memory_for_a_scan(void **state)
{
	struct spool_totals totals;

	(void)state;
	assert_int_equal(spool_each_name(&spool, count_name, NULL), -1);
	assert_int_equal(spool_scan(&spool, count_name, NULL), -1);
	assert_int_equal(spool_totals(&spool, &totals), -1);
	assert_true(no_directory > 0);
}

static void
free_room_is_not_known(void **state)
{
	(void)state;
	assert_true(spool_has_room(&spool, 5, 1));
	assert_true(no_space_known > 0);
}

static void
a_draft_that_somebody_writes(void **state)
{
	struct envelope e = envelope();
	struct spool_draft d, again;

	(void)state;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_create(&spool, &e, &again), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	spool_abandon(&spool, &d);
	assert_true(spool_remove_stale(&spool, "tmp." ID, 0));
}

static void
a_fifo_in_a_messages_place(void **state)
{
	struct envelope e;
	struct spool_file f;
	uid_t owner;

	(void)state;
	assert_int_equal(mkfifoat(spool.dirfd, ID, 0600), 0);
	assert_int_equal(spool_peek(&spool, ID, &e, &owner), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(spool_file_look(&spool, "no id", &e, &f), -1);
	assert_int_equal(errno, ENOENT);
}

static void
the_name_means_another_file(void **state)
{
	struct spool_file f;
	int fd;

	(void)state;
	queue();
	assert_int_equal(spool_file_open(&spool, ID, true, &f), 0);
	assert_false(spool_file_busy(&f));
	assert_int_equal(unlinkat(spool.dirfd, ID, 0), 0);
	assert_int_equal(spool_file_reopen(&spool, &f), -1);
	assert_int_equal(errno, ENOENT);
	fd = openat(spool.dirfd, ID, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(close(fd), 0);
	assert_int_equal(spool_file_reopen(&spool, &f), -1);
	assert_int_equal(errno, ENOENT);
	spool_file_close(&f);
}

static int
ignore_piece(void *arg, const char *p, size_t len)
{
	(void)arg;
	(void)p;
	return len == 0;
}

static void
a_message_cut_while_it_is_open(void **state)
{
	struct spool_file f;

	(void)state;
	queue();
	assert_int_equal(spool_file_open(&spool, ID, true, &f), 0);
	assert_int_equal(ftruncate(f.fd, f.env.message_offset + 3), 0);
	assert_int_equal(spool_file_read(&f, ignore_piece, NULL), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(spool_file_verify(&spool, &f), -1);
	assert_int_equal(errno, EBADMSG);
	spool_file_close(&f);
	assert_int_equal(faccessat(spool.dirfd, "bad." ID, F_OK, 0), 0);
}

static void
waking_is_interrupted(void **state)
{
	char id[QUEUE_ID_MAX + 1] = "";
	bool overrun = false;
	int fd = spool_wake_open(&spool), null;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	interrupted = 1;
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, ID);
	assert_false(overrun);
	assert_int_equal(close(fd), 0);
	/* What cannot say how full it is may have been full. */
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(spool_wake_read(null, id, &overrun), 0);
	assert_true(overrun);
	assert_int_equal(close(null), 0);
}

/* What was taken over, and a note, cannot be had twice. */
static void
an_old_pair_is_gone(void **state)
{
	struct spool_old o = {.fd = -1, .message = -1, .name = "Q1.0"};

	(void)state;
	assert_int_equal(spool_old_remove(&spool, &o), -1);
	assert_int_equal(errno, ENOENT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {T(no_random_bytes),
	    T(no_memory_for_a_scan), T(free_room_is_not_known),
	    T(a_draft_that_somebody_writes), T(a_fifo_in_a_messages_place),
	    T(the_name_means_another_file), T(a_message_cut_while_it_is_open),
	    T(waking_is_interrupted), T(an_old_pair_is_gone)};

	(void)log_open(LOG_TO_STDERR, NULL, 0, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
