/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of import.c and spool_old.c: pairs of files as DragonFly's dma
 * makes them, taken over by a run that serves all.
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
#include <sys/stat.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "import.h"
#include "log.h"
#include "util.h"

#define TEXT "Subject: x\n\nbody\n"

static char dir[64], log_path[80];
static struct instance in;
static ino_t unreadable; /* a file that the disk does not give, or 0 */

ssize_t
pread(int fd, void *p, size_t len, off_t offset)
{
	struct stat st;

	if (unreadable != 0 && fstat(fd, &st) == 0 && st.st_ino == unreadable) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)syscall(SYS_pread64, fd, p, len, offset);
}

static int
setup(void **state)
{
	static const char text[] =
	    "MAILNAME here.example\nMASQUERADE no@where\nMAXSIZE 1M\n";
	struct conf_error error;
	const char *why;

	(void)state;
	(void)compat_strlcpy(dir, "/tmp/dma-import.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL ||
	    spool_open(&in.spool, dir, true, &why) == -1)
		return -1;
	in.all = in.spool.all = true;
	unreadable = 0;
	in.conf = conf_parse("test", text, strlen(text), true, &error);
	(void)snprintf(log_path, sizeof(log_path), "%s.log", dir);
	return in.conf == NULL ? -1 : log_open(LOG_TO_FILE, log_path, 1, NULL);
}

static int
teardown(void **state)
{
	struct dirent *entry;
	DIR *d = opendir(dir);

	(void)state;
	while (d != NULL && (entry = readdir(d)) != NULL)
		(void)unlinkat(in.spool.dirfd, entry->d_name, 0);
	(void)closedir(d);
	conf_free(in.conf);
	spool_close(&in.spool);
	(void)unlink(log_path);
	return rmdir(dir);
}

static void
put(const char *name, const char *text)
{
	int fd = openat(in.spool.dirfd, name,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0660);

	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

/* One recipient more of a message; M is linked where there is one. */
static void
pair(const char *base, unsigned n, const char *from, const char *to)
{
	char name[64], first[64], text[600];

	(void)snprintf(name, sizeof(name), "Q%s.%x", base, n);
	(void)snprintf(text, sizeof(text),
	    "ID: %s.%x\nSender: %s\nRecipient: %s\n", base, n, from, to);
	put(name, text);
	name[0] = 'M';
	(void)snprintf(first, sizeof(first), "M%s.0", base);
	if (n == 0)
		put(first, TEXT);
	else
		assert_int_equal(
		    linkat(in.spool.dirfd, first, in.spool.dirfd, name, 0), 0);
}

static bool
exists(const char *name)
{
	struct stat st;

	return fstatat(in.spool.dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static int
truncate_in_spool(const char *name, off_t size)
{
	int fd = openat(in.spool.dirfd, name, O_WRONLY | O_CLOEXEC);
	int status = ftruncate(fd, size);

	(void)close(fd);
	return status;
}

/* What is queued now, of all messages. */
struct seen {
	size_t messages, recipients, old, notes;
	char sender[ADDR_MAX + 1], to[ADDR_MAX + 1]; /* of the last */
	uint64_t length;
};
static struct seen seen;

static int
see_message(void *arg, const char *id)
{
	struct spool_file f;

	(void)arg;
	assert_int_equal(spool_file_open(&in.spool, id, true, &f), 0);
	assert_int_equal(spool_file_verify(&in.spool, &f), 0);
	seen.messages++;
	seen.recipients += f.env.nrecipients;
	seen.length = f.env.length;
	(void)compat_strlcpy(seen.sender, f.env.sender.text, ADDR_MAX + 1);
	(void)compat_strlcpy(
	    seen.to, f.env.recipients[0].addr.text, ADDR_MAX + 1);
	assert_int_equal(f.env.recipients[0].status, STATUS_TODO);
	spool_file_close(&f);
	return 0;
}

static int
see_name(void *arg, const char *name)
{
	(void)arg;
	seen.old += name[0] == 'Q' || name[0] == 'M';
	seen.notes += strncmp(name, "bad.Q", 5) == 0;
	return 0;
}

static void
take_over(void)
{
	import_old_spool(&in);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(spool_scan(&in.spool, see_message, NULL), 0);
	assert_int_equal(spool_each_name(&in.spool, see_name, NULL), 0);
}

static void
one_message(void **state)
{
	(void)state;
	put("M1f.55aa", TEXT);
	put("Q1f.55aa", "ID: 1f.55aa\nSender: a@x.example\n"
			"Later: what we do not know\nRecipient: b@y.example\n");
	put("M20.0", "lonely");
	put("flush", "");
	take_over();
	assert_int_equal(seen.messages, 1);
	assert_string_equal(seen.sender, "a@x.example");
	assert_string_equal(seen.to, "b@y.example");
	assert_int_equal(seen.length, strlen(TEXT));
	assert_false(exists("Q1f.55aa") || exists("M1f.55aa"));
	assert_true(exists("M20.0") && exists("flush"));
	assert_int_equal(seen.notes, 0);
}

/* Not more than 100 in one of ours; another base or sender is another. */
static void
many_recipients(void **state)
{
	char to[40];

	(void)state;
	for (unsigned i = 0; i < 250; i++) {
		(void)snprintf(to, sizeof(to), "u%u@x.example", i);
		pair("abc", i, "a@x.example", to);
	}
	pair("abc", 250, "other@x.example", "last@x.example");
	pair("abd", 0, "a@x.example", "b@x.example");
	take_over();
	assert_int_equal(seen.recipients, 252);
	assert_in_range(seen.messages, 5, 6);
	assert_int_equal(seen.old, 0);
}

static const struct {
	const char *from, *to, *sender, *recipient;
} addresses[] = {
    {"root", "bob", "root@here.example", "bob"},
    {"", "bob@HERE.example", "", "bob"},
    {"<>@here.example", "bob@localhost", "", "bob"},
    {"@here.example", "b@x.example", "", "b@x.example"},
};

static void
addresses_are_todays(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
		pair("1", 0, addresses[i].from, addresses[i].to);
		take_over();
		assert_int_equal(seen.messages, 1);
		assert_string_equal(seen.sender, addresses[i].sender);
		assert_string_equal(seen.to, addresses[i].recipient);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

/* Every message ends in a line end here. */
static void
unended_line(void **state)
{
	(void)state;
	pair("1", 0, "a@x.example", "b@x.example");
	put("M1.0", "Subject: x\n\nno end");
	take_over();
	assert_int_equal(seen.length, strlen("Subject: x\n\nno end\n"));
	pair("1", 0, "a@x.example", "b@x.example");
	put("M1.0", "");
	take_over();
	assert_int_equal(seen.messages, 2);
}

/* The owner of an old message may still have it open, and make holes in it. */
static void
too_large(void **state)
{
	(void)state;
	pair("1", 0, "a@x.example", "b@x.example");
	pair("2", 0, "a@x.example", "c@x.example");
	assert_int_equal(truncate_in_spool("M1.0", (1 << 20) + 1), 0);
	take_over();
	assert_int_equal(seen.messages, 1);
	assert_string_equal(seen.to, "c@x.example");
	assert_int_equal(seen.notes, 1);
	assert_true(exists("Q1.0") && exists("M1.0"));
}

/* A bad block in one of them does not keep the others. */
static void
unreadable_message(void **state)
{
	static const char *const names[] = {"M1.0", "M2.0", "M3.0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct stat st;

		pair("1", 0, "a@x.example", "b@x.example");
		pair("2", 0, "a@x.example", "c@x.example");
		pair("3", 0, "a@x.example", "d@x.example");
		assert_int_equal(fstatat(in.spool.dirfd, names[i], &st, 0), 0);
		unreadable = st.st_ino;
		take_over();
		assert_int_equal(seen.messages, 2);
		assert_int_equal(seen.old, 2);
		assert_true(exists(names[i]));
		/* It is tried anew by the next run, which finds it well. */
		unreadable = 0;
		take_over();
		assert_int_equal(seen.messages, 3);
		assert_int_equal(seen.old + seen.notes, 0);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static const char *const broken[] = {"", "\n", "ID: 1\n",
    "Sender: a@x.example\n", "Recipient: b@x.example\n",
    "Sender: a@x.example\nRecipient: b@x.example",
    "Sender: a@x.example\nRecipient:\n",
    "Sender: a@x.example\nRecipient: b@x.example\nwhat\n",
    "Sender: a@b@c\nRecipient: b@x.example\n",
    "Sender: a@x.example\nRecipient: b@\n",
    "Sender: a@x.example\nRecipient: b@x.example\n\n"};

static void
broken_text(void **state)
{
	char *log;
	size_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
		pair("1", 0, "a@x.example", "b@x.example");
		put("Q1.0", broken[i]);
		take_over();
		take_over();
		assert_int_equal(seen.messages, 0);
		assert_int_equal(seen.notes, 1);
		assert_true(exists("Q1.0") && exists("M1.0"));
		assert_int_equal(
		    read_file(log_path, 10000, &log, &len, NULL), 0);
		assert_non_null(strstr(log, "Q1.0: "));
		assert_null(strstr(strstr(log, "Q1.0: ") + 1, "Q1.0: "));
		free(log);
		/* Mended, and the note removed. */
		put("Q1.0", "Sender: a@x\nRecipient: b@x.example\n");
		assert_int_equal(unlinkat(in.spool.dirfd, "bad.Q1.0", 0), 0);
		take_over();
		assert_int_equal(seen.messages, 1);
		assert_int_equal(seen.old + seen.notes, 0);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

static void
locked(void **state)
{
	int fd;

	(void)state;
	pair("1", 0, "a@x.example", "b@x.example");
	pair("1", 1, "a@x.example", "c@x.example");
	fd = openat(in.spool.dirfd, "Q1.1", O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	take_over();
	assert_int_equal(seen.recipients, 1);
	assert_true(exists("Q1.1") && exists("M1.1"));
	(void)close(fd);
	take_over();
	assert_int_equal(seen.recipients, 2);
	assert_int_equal(seen.old + seen.notes, 0);
}

static void
only_the_systems_run(void **state)
{
	(void)state;
	pair("1", 0, "a@x.example", "b@x.example");
	in.all = false;
	take_over();
	assert_int_equal(seen.messages, 0);
	assert_true(exists("Q1.0"));
}

/* No pair that the old program would have made: noted once, and left. */
static void
check_left(const char *why)
{
	char note[128] = "";
	int fd;

	take_over();
	assert_int_equal(seen.messages, 0);
	assert_int_equal(seen.notes, 1);
	fd = openat(in.spool.dirfd, "bad.Q1.0", O_RDONLY | O_CLOEXEC);
	assert_true(pread_full(fd, note, sizeof(note) - 1, 0) > 0);
	(void)close(fd);
	assert_non_null(strstr(note, why));
	/* A second run says nothing of it. */
	take_over();
	assert_int_equal(seen.notes, 1);
	(void)unlinkat(in.spool.dirfd, "bad.Q1.0", 0);
	(void)unlinkat(in.spool.dirfd, "Q1.0", 0);
	(void)unlinkat(in.spool.dirfd, "M1.0", 0);
	(void)unlinkat(in.spool.dirfd, "other", 0);
}

static void
odd_files(void **state)
{
	static const char q[] = "ID: 1.0\nSender: a@b\nRecipient: c@d\n";
	static char large[SPOOL_OLD_TEXT_MAX + 2];
	int dirfd = in.spool.dirfd, fd;

	(void)state;
	put("Q1.0", q);
	check_left("has no message");
	put("other", q);
	put("M1.0", TEXT);
	assert_int_equal(symlinkat("other", dirfd, "Q1.0"), 0);
	check_left("is no plain file");
	put("M1.0", TEXT);
	assert_int_equal(mkfifoat(dirfd, "Q1.0", 0600), 0);
	check_left("is no plain file");
	put("Q1.0", q);
	assert_int_equal(mkfifoat(dirfd, "M1.0", 0600), 0);
	check_left("is no plain file");
	put("Q1.0", q);
	put("M1.0", TEXT);
	assert_int_equal(linkat(dirfd, "Q1.0", dirfd, "other", 0), 0);
	check_left("has a second name");
	memset(large, 'x', sizeof(large) - 1);
	put("Q1.0", large);
	put("M1.0", TEXT);
	check_left("is too long");
	put("Q1.0", q);
	put("M1.0", TEXT);
	fd = openat(dirfd, "Q1.0", O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write_full(fd, "\0\n", 2), 0);
	(void)close(fd);
	check_left("holds a NUL byte");
	if (geteuid() != 0)
		return;
	put("Q1.0", q);
	put("M1.0", TEXT);
	assert_int_equal(fchownat(dirfd, "M1.0", 1, (gid_t)-1, 0), 0);
	check_left("has another owner than its message");
}

static void
names(void **state)
{
	(void)state;
	assert_true(spool_old_name("Q1f2.55aa00"));
	assert_false(spool_old_name("Q"));
	assert_false(spool_old_name("M1f2.55aa00"));
	assert_false(spool_old_name("Q0000V80123456789ABC")); /* one of ours */
	assert_false(spool_old_name("Q1/../x"));
	assert_false(spool_old_name(
	    "Q0000000000000000000000000000000000000000000000000000000000000"
	    "0000"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {T(one_message),
	    T(many_recipients), T(addresses_are_todays), T(unended_line),
	    T(too_large), T(unreadable_message), T(broken_text), T(locked),
	    T(odd_files), T(only_the_systems_run), T(names)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
