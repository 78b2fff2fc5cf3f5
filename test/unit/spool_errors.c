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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "log.h"
#include "spool.h"
#include "util.h"

#define ID   "00000V80123456789ABC"
#define TEXT "Subject: x\n\nbody\n"

/* ---- The system, refusing once ---- */

static int no_random, no_space_known, interrupted;
/* Which of these calls from now on fails; 0: none. */
static int no_stat, no_read, no_directory;
/* What is made of a file's state; who we are. */
static void (*disguise)(struct stat *st);
static uid_t user;

/* The system's own function of a name. */
static void *
real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int
refuses(int *nth)
{
	if (*nth == 0 || --*nth > 0)
		return 0;
	errno = EIO;
	return 1;
}

int
fstat(int fd, struct stat *st)
{
	static int (*call)(int, struct stat *);
	int status = -1;

	if (call == NULL)
		*(void **)&call = real("fstat");
	if (!refuses(&no_stat))
		status = call(fd, st);
	if (status == 0 && disguise != NULL)
		disguise(st);
	return status;
}

ssize_t
pread(int fd, void *p, size_t len, off_t at)
{
	return refuses(&no_read)
		   ? -1
		   : (ssize_t)syscall(SYS_pread64, fd, p, len, at);
}

uid_t
geteuid(void)
{
	return user != 0 ? user : (uid_t)syscall(SYS_geteuid);
}

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
	static DIR *(*call)(int);

	if (call == NULL)
		*(void **)&call = real("fdopendir");
	return refuses(&no_directory) ? NULL : call(fd);
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
	no_random = no_directory = interrupted = no_stat = no_read = 0;
	disguise = NULL;
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
	static const char *const names[] = {ID, "tmp." ID, "bad." ID, "wake.7",
	    "plain", "Q1.0", "M1.0", "bad.Q1.0"};
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

static void
make_file(const char *name, const char *text)
{
	int fd =
	    openat(spool.dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
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
	no_directory = 1;
	assert_int_equal(spool_each_name(&spool, count_name, NULL), -1);
	assert_int_equal(errno, EIO);
	no_directory = 1;
	assert_int_equal(spool_scan(&spool, count_name, NULL), -1);
	no_directory = 1;
	assert_int_equal(spool_totals(&spool, &totals), -1);
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

/* ---- What is seen of a directory, or a file ---- */

static void
of_another_group(struct stat *st)
{
	st->st_uid = 0;
	st->st_gid = getegid() + 1;
	st->st_mode = S_IFDIR | 0770;
}

static void
of_another_user(struct stat *st)
{
	st->st_uid = geteuid() + 1;
}

static void
another_file(struct stat *st)
{
	st->st_ino++;
}

static void
directories_that_are_none(void **state)
{
	struct spool s;
	const char *why = NULL;

	(void)state;
	disguise = of_another_group;
	user = 1000;
	assert_int_equal(spool_open(&s, dir, false, &why), -1);
	user = 0;
	assert_string_equal(why, "does not belong to the group " DMA_GROUP);
	disguise = NULL;
	no_stat = 1;
	assert_int_equal(spool_open(&s, dir, true, &why), -1);
	assert_string_equal(why, "cannot be opened as a directory");
	assert_int_equal(spool_open(&s, "/dev/null", true, &why), -1);
	assert_string_equal(why, "cannot be opened as a directory");
	s.dirfd = -1;
	assert_int_equal(spool_each_name(&s, count_name, NULL), -1);
	assert_int_equal(errno, EBADF);
}

static void
a_draft_of_another_user(void **state)
{
	struct envelope e = envelope();
	struct spool_draft d, again;

	(void)state;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	disguise = of_another_user;
	assert_int_equal(spool_create(&spool, &e, &again), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	no_stat = 1;
	assert_false(spool_remove_stale(&spool, d.name, 0));
	disguise = NULL;
	spool_abandon(&spool, &d);
}

static void
keep_entry(void *arg, size_t recipient, const struct journal_entry *entry)
{
	assert_int_equal(recipient, 0);
	*(struct journal_entry *)arg = *entry;
}

/* What an alias says to a recipient is in the journal from the beginning. */
static void
reasons_are_kept(void **state)
{
	static char reason[] = "5.1.1 gone", bare[] = "5.1.1";
	struct envelope e = envelope();
	struct journal_entry seen = {.text = ""};
	struct spool_draft d;
	struct spool_file f;

	(void)state;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_append(&d, TEXT, strlen(TEXT)), 0);
	to.reason = bare;
	assert_int_equal(spool_append_reasons(&d), 0);
	to.reason = reason;
	assert_int_equal(spool_append_reasons(&d), 0);
	to.reason = NULL;
	assert_int_equal(spool_append_reasons(&d), 0);
	assert_int_equal(spool_commit(&spool, &d), 0);
	assert_int_equal(spool_file_open(&spool, ID, true, &f), 0);
	spool_journal_each(&f, keep_entry, &seen);
	assert_string_equal(seen.dsn, "5.1.1");
	assert_string_equal(seen.text, "gone");
	/* One for a recipient that there is not room for is left out. */
	spool_journal_last(&f, &seen, 0);
	spool_file_close(&f);
}

static void
no_room_for_reasons(void **state)
{
	static char reason[] = "5.1.1 gone";
	struct envelope e = envelope();
	struct spool_draft d;
	char *text = xcalloc(1, 64 * 1024);

	(void)state;
	memset(text, 'x', 64 * 1024);
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(close(d.fd), 0); /* nothing can be written any more */
	assert_int_equal(spool_append(&d, text, 64 * 1024 - d.used), 0);
	to.reason = reason;
	assert_int_equal(spool_append_reasons(&d), -1);
	assert_int_equal(errno, EBADF);
	to.reason = NULL;
	assert_int_equal(spool_commit(&spool, &d), -1);
	assert_int_equal(errno, EBADF);
	free(text);
}

static void
a_message_that_cannot_be_read(void **state)
{
	struct envelope e;
	struct spool_file f;
	uid_t owner;

	(void)state;
	queue();
	no_stat = 1;
	assert_int_equal(spool_file_open(&spool, ID, true, &f), -1);
	assert_int_equal(errno, EIO);
	no_read = 1;
	assert_int_equal(spool_file_open(&spool, ID, true, &f), -1);
	assert_int_equal(errno, EIO);
	no_read = 1;
	assert_int_equal(spool_peek(&spool, ID, &e, &owner), -1);
	assert_int_equal(errno, EIO);
	/* What only the disk could not give is not put aside. */
	assert_int_equal(spool_file_open(&spool, ID, true, &f), 0);
	no_read = 1;
	assert_int_equal(spool_file_verify(&spool, &f), -1);
	assert_int_equal(errno, EIO);
	spool_file_close(&f);
	assert_int_equal(faccessat(spool.dirfd, ID, F_OK, 0), 0);
}

static void
a_message_that_another_has(void **state)
{
	struct spool_file f, again, seen;

	(void)state;
	queue();
	assert_int_equal(spool_file_open(&spool, ID, false, &seen), 0);
	assert_false(spool_file_busy(&seen));
	assert_int_equal(spool_file_open(&spool, ID, true, &f), 0);
	assert_int_equal(spool_file_open(&spool, ID, true, &again), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_false(spool_remove_stale(&spool, ID, 0));
	assert_true(spool_file_busy(&seen));
	spool_file_close(&f);
	spool_file_close(&seen);
	disguise = another_file;
	assert_int_equal(spool_file_open(&spool, ID, true, &f), -1);
	assert_int_equal(errno, ENOENT);
}

/* It cannot be put aside when all those names are taken: nor is it lost. */
static void
no_name_is_left_to_put_it_aside(void **state)
{
	char name[64] = "bad." ID;
	struct spool_file f;
	int fd, n;

	(void)state;
	queue();
	fd = openat(spool.dirfd, ID, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite_full(fd, "?", 1, 0), 0);
	assert_int_equal(close(fd), 0);
	for (n = 0; n < 10; n++) {
		make_file(name, "");
		(void)snprintf(name, sizeof(name), "bad." ID ".%d", n + 1);
	}
	assert_int_equal(spool_file_open(&spool, ID, true, &f), -1);
	assert_int_equal(errno, EIO); /* not EBADMSG: it is still there */
	assert_int_equal(faccessat(spool.dirfd, ID, F_OK, 0), 0);
	while (n-- > 0) {
		(void)snprintf(name, sizeof(name), "bad." ID ".%d", n);
		(void)unlinkat(spool.dirfd, name, 0);
	}
}

/* A socket has no queue id; one that has is no message. */
static void
a_socket_in_a_messages_place(void **state)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct spool_old o;
	const char *why = NULL;
	struct spool_file f;

	(void)state;
	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" ID, dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(spool_file_open(&spool, ID, false, &f), -1);
	assert_int_equal(errno, EBADMSG);
	assert_int_equal(renameat(spool.dirfd, ID, spool.dirfd, "Q1.0"), 0);
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), -1);
	assert_string_equal(why, "is no plain file");
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

/* The system's run wakes all that wait; what is no FIFO is left alone. */
static void
everybody_is_woken(void **state)
{
	char id[QUEUE_ID_MAX + 1] = "x";
	bool overrun = false;
	int fd;

	(void)state;
	spool.uid = 7;
	spool.all = true;
	fd = spool_wake_open(&spool);
	assert_true(fd >= 0);
	make_file("plain", "");
	spool_wake_all(&spool);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, "");
	assert_int_equal(spool_wake_read(fd, id, &overrun), 0);
	/* A writer that cannot know what it has open writes nothing. */
	no_stat = 1;
	assert_int_equal(spool_wake_write(&spool, ID), -1);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 0);
	assert_int_equal(close(fd), 0);
	assert_int_equal(spool_wake_read(-1, id, &overrun), -1);
	assert_int_equal(errno, EBADF);
	no_stat = 1;
	assert_int_equal(spool_wake_open(&spool), -1);
	assert_int_equal(errno, EPERM);
	spool.all = false;
	spool_wake_all(&spool); /* nobody reads */
}

/* What was taken over, and a note, cannot be had twice. */
static void
an_old_pair_is_gone(void **state)
{
	struct spool_old o = {.fd = -1, .message = -1, .name = "Q1.0"};

	(void)state;
	assert_int_equal(spool_old_remove(&spool, &o), -1);
	assert_int_equal(errno, ENOENT);
	assert_true(spool_old_note(&spool, "Q1.0", "is odd"));
	assert_false(spool_old_note(&spool, "Q1.0", "is odd"));
	o.name[0] = '\0';
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, NULL), -1);
	assert_int_equal(errno, ENOENT);
}

static void
an_old_pair_that_cannot_be_read(void **state)
{
	const char *why = NULL;
	struct spool_old o, again;

	(void)state;
	make_file("Q1.0", "ID: 1.0\n");
	make_file("M1.0", TEXT);
	no_stat = 1;
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), -1);
	assert_int_equal(errno, EIO);
	no_stat = 2; /* of its message */
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), -1);
	assert_int_equal(errno, EIO);
	no_read = 1;
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), -1);
	assert_int_equal(errno, EIO);
	disguise = another_file; /* the name is another's by now */
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), -1);
	assert_int_equal(errno, ENOENT);
	disguise = NULL;
	assert_int_equal(spool_old_open(&spool, "Q1.0", &o, &why), 0);
	assert_int_equal(spool_old_open(&spool, "Q1.0", &again, &why), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	spool_old_close(&o);
	assert_null(why);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {T(no_random_bytes),
	    T(no_memory_for_a_scan), T(free_room_is_not_known),
	    T(a_draft_that_somebody_writes), T(a_fifo_in_a_messages_place),
	    T(the_name_means_another_file), T(a_message_cut_while_it_is_open),
	    T(waking_is_interrupted), T(an_old_pair_is_gone),
	    T(directories_that_are_none), T(a_draft_of_another_user),
	    T(reasons_are_kept), T(no_room_for_reasons),
	    T(a_message_that_cannot_be_read), T(a_message_that_another_has),
	    T(no_name_is_left_to_put_it_aside), T(a_socket_in_a_messages_place),
	    T(everybody_is_woken), T(an_old_pair_that_cannot_be_read)};

	(void)log_open(LOG_TO_STDERR, NULL, 0, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
