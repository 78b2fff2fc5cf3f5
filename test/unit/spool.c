/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of spool*.c, each in a fresh private spool.
 *
 * fsync and flock are replaced here, to fail on request and to let another
 * process's move happen at the worst moment.
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
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "spool.h"
#include "util.h"

#define ID   "00000000123456789ABC"
#define TEXT "From: a@example.org\n\nhello\n"

/* ---- The system, where it is to misbehave ---- */

static int fsyncs_until_failure; /* 0: never */
static void (*before_flock)(void);
static int same_random; /* so often */

int
getentropy(void *p, size_t len)
{
	if (same_random > 0) {
		same_random--;
		memset(p, 7, len);
		return 0;
	}
	return syscall(SYS_getrandom, p, len, 0) == (long)len ? 0 : -1;
}

int
fsync(int fd)
{
	if (fsyncs_until_failure > 0 && --fsyncs_until_failure == 0) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int
flock(int fd, int operation)
{
	void (*hook)(void) = before_flock;

	before_flock = NULL;
	if (hook != NULL)
		hook();
	return (int)syscall(SYS_flock, fd, operation);
}

/* ---- A spool ---- */

static char dir[64], log_path[80];
static struct spool spool;

static void
empty(const char *path)
{
	char name[320];
	struct dirent *entry;
	DIR *d = opendir(path);

	if (d == NULL)
		return;
	while ((entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		(void)snprintf(
		    name, sizeof(name), "%s/%s", path, entry->d_name);
		if (unlink(name) == -1)
			(void)rmdir(name);
	}
	(void)closedir(d);
}

static int
setup(void **state)
{
	const char *why;

	(void)state;
	(void)compat_strlcpy(dir, "/tmp/dma-spool.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL || spool_open(&spool, dir, true, &why) == -1)
		return -1;
	fsyncs_until_failure = 0;
	before_flock = NULL;
	(void)snprintf(log_path, sizeof(log_path), "%s.log", dir);
	return log_open(LOG_TO_FILE, log_path, 1, NULL);
}

static int
teardown(void **state)
{
	(void)state;
	spool_close(&spool);
	(void)unlink(log_path);
	empty(dir);
	return rmdir(dir);
}

static bool
exists(const char *name)
{
	struct stat st;

	return fstatat(spool.dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* How many names there are, of any kind. */
static int
names(void)
{
	DIR *d = opendir(dir);
	int n = -2;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

static struct recipient *
recipients(size_t n)
{
	struct recipient *r = xcalloc(n, sizeof(*r));
	const char *why;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(
		    addr_parse(&r[i].addr, "to@example.org", false, &why), 0);
		r[i].status = STATUS_TODO;
	}
	return r;
}

static struct envelope
envelope(size_t nrecipients)
{
	struct envelope e = {.uid = geteuid(), .arrival = 1700000000};
	const char *why;

	assert_int_equal(addr_parse(&e.sender, "a@example.org", true, &why), 0);
	e.recipients = recipients(nrecipients);
	e.nrecipients = nrecipients;
	return e;
}

/* Queue a message; id gets its queue id. */
static void
queue(const char *text, size_t len, size_t nrecipients, char *id)
{
	struct envelope e = envelope(nrecipients);
	struct spool_draft d;

	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_append(&d, text, len), 0);
	assert_int_equal(spool_commit(&spool, &d), 0);
	(void)compat_strlcpy(id, e.id, QUEUE_ID_MAX + 1);
	envelope_free(&e);
}

static int
count_one(void *arg, const char *id)
{
	int *count = arg;

	assert_true(envelope_id_valid(id));
	++*count;
	return 0;
}

static int
queued(void)
{
	int count = 0;

	assert_int_equal(spool_scan(&spool, count_one, &count), 0);
	return count;
}

/* Run a function in a child; its status. */
static int
in_child(int (*run)(const char *id), const char *id)
{
	int status;
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0)
		_exit(run(id));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- Intake ---- */

static void
committed_is_there(void **state)
{
	char id[QUEUE_ID_MAX + 1], text[sizeof(TEXT)];
	struct spool_file f;
	struct stat st;

	(void)state;
	queue(TEXT, strlen(TEXT), 2, id);
	assert_int_equal(strlen(id), QUEUE_ID_LEN);
	assert_int_equal(names(), 1);
	assert_int_equal(queued(), 1);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(fstat(f.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(f.owner, geteuid());
	assert_string_equal(f.env.id, id);
	assert_string_equal(f.env.sender.text, "a@example.org");
	assert_int_equal(f.env.nrecipients, 2);
	assert_int_equal(f.env.length, strlen(TEXT));
	assert_int_equal(f.env.flags, 0);
	assert_int_equal(
	    pread_full(f.fd, text, sizeof(text), f.env.message_offset),
	    strlen(TEXT));
	assert_memory_equal(text, TEXT, strlen(TEXT));
	assert_int_equal(spool_file_verify(&spool, &f), 0);
	spool_file_close(&f);
	assert_int_equal(f.fd, -1);
}

static void
draft_is_not_queued(void **state)
{
	struct envelope e = envelope(1);
	struct spool_draft d;

	(void)state;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_append(&d, TEXT, strlen(TEXT)), 0);
	assert_int_equal(queued(), 0);
	assert_int_equal(names(), 1);
	errno = ETXTBSY;
	spool_abandon(&spool, &d);
	assert_int_equal(errno, ETXTBSY);
	assert_int_equal(names(), 0);
	spool_abandon(&spool, &d);
	envelope_free(&e);
}

/* Around the buffer's size, with small and large envelopes. */
static void
sizes(void **state)
{
	static const size_t lengths[] = {
	    0, 1, 65000, 65535, 65536, 65537, 131072, 1000000};
	static const size_t pieces[] = {1000000, 65536, 40000, 777};
	char *text = xmalloc(1000000), id[QUEUE_ID_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 1000000; i++)
		text[i] = i % 70 == 69 ? '\n' : (char)('a' + i % 23);
	for (size_t i = 0; i < ARRAY_LEN(lengths) * ARRAY_LEN(pieces); i++) {
		size_t length = lengths[i / ARRAY_LEN(pieces)], at, n;
		struct envelope e = envelope(i % 2 == 0 ? 1 : 3000);
		struct spool_draft d;
		struct spool_file f;

		assert_int_equal(spool_create(&spool, &e, &d), 0);
		for (at = 0; at < length; at += n) {
			n = pieces[i % ARRAY_LEN(pieces)];
			n = n < length - at ? n : length - at;
			assert_int_equal(spool_append(&d, text + at, n), 0);
		}
		assert_int_equal(spool_commit(&spool, &d), 0);
		(void)compat_strlcpy(id, e.id, sizeof(id));
		assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
		assert_int_equal(f.env.length, length);
		assert_int_equal(f.env.nrecipients, e.nrecipients);
		assert_int_equal(
		    f.size, (uint64_t)f.env.message_offset + length);
		assert_true(f.env.checksum ==
			    checksum_update(CHECKSUM_INIT, text, length));
		assert_int_equal(spool_file_verify(&spool, &f), 0);
		spool_file_close(&f);
		envelope_free(&e);
	}
	free(text);
}

#define L499 "0123456789012345678901234567890123456789012345678" L450
#define L450 L150 L150 L150
#define L150 L50 L50 L50
#define L50  "01234567890123456789012345678901234567890123456789"

static const struct {
	const char *text;
	size_t len;
	unsigned flags;
} messages[] = {
#define M(text) text, sizeof(text) - 1
    {M("a\n\nplain\n"), 0},
    {M("\n\xc3\xb6\n"), MESSAGE_8BIT},
    {M("0123456\x80\n"), MESSAGE_8BIT},
    {M("01234567\xff"), MESSAGE_8BIT},
    {M("\n" L499 L499 "\n"), 0},                  /* 998 */
    {M("\n" L499 L499 "x\n"), MESSAGE_LONG_LINE}, /* 999 */
    {M("\n" L499 L499 "x"), MESSAGE_LONG_LINE},
    {M("x\n" L499 L499), 0},
    {M("a\0b\n"), MESSAGE_NUL},
    {M("a\rb\n"), MESSAGE_LONE_CR},
    {M("a\r\n"), MESSAGE_LONE_CR},
    {M("\0\r\xff\n"), MESSAGE_NUL | MESSAGE_LONE_CR | MESSAGE_8BIT},
#undef M
};

/* Wherever a message is cut into pieces, the flags are the same. */
static void
flags_are_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
		for (size_t cut = 0; cut <= messages[i].len; cut++) {
			struct spool_draft d = {.fd = -1};

			d.buffer = xmalloc(64 * 1024);
			(void)spool_append(&d, messages[i].text, cut);
			(void)spool_append(
			    &d, messages[i].text + cut, messages[i].len - cut);
			if (d.flags != messages[i].flags)
				fail_msg("message %zu cut at %zu: %x", i, cut,
				    d.flags);
			assert_int_equal(d.length, messages[i].len);
			free(d.buffer);
		}
	}
}

static void
chosen_id(void **state)
{
	struct envelope e = envelope(1), again = envelope(1);
	struct spool_draft d, other;

	(void)state;
	(void)compat_strlcpy(e.id, ID "x0", sizeof(e.id));
	(void)compat_strlcpy(again.id, ID "x0", sizeof(again.id));
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	/* Somebody is at it. */
	assert_int_equal(spool_create(&spool, &again, &other), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	assert_string_equal(again.id, ID "x0");
	/* He died: his lock is gone, his draft is not. */
	(void)close(d.fd);
	free(d.buffer);
	assert_true(exists("tmp." ID "x0"));
	assert_int_equal(spool_create(&spool, &again, &other), 0);
	assert_int_equal(spool_commit(&spool, &other), 0);
	assert_int_equal(names(), 1);
	/* And now it is queued. */
	assert_int_equal(spool_create(&spool, &e, &d), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(names(), 1);
	envelope_free(&e);
	envelope_free(&again);
}

/* The id is taken between create and commit: nothing is replaced. */
static void
test_commit_replaces_nothing_D_24(void **state)
{
	struct envelope e = envelope(1);
	struct spool_draft d;
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	fd = openat(spool.dirfd, e.id, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	assert_int_equal(spool_commit(&spool, &d), -1);
	assert_int_equal(errno, EEXIST);
	assert_int_equal(names(), 1);
	assert_int_equal(fstatat(spool.dirfd, e.id, &st, 0), 0);
	assert_int_equal(st.st_size, 4);
	(void)close(fd);
	envelope_free(&e);
}

/* The first fsync is the file's, the second the directory's. */
static void
fsync_fails(void **state)
{
	static const struct {
		int nth, error;
	} cases[] = {{1, ENOSPC}, {2, EIO}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct envelope e = envelope(1);
		struct spool_draft d;

		assert_int_equal(spool_create(&spool, &e, &d), 0);
		assert_int_equal(spool_append(&d, TEXT, strlen(TEXT)), 0);
		fsyncs_until_failure = cases[i].nth;
		assert_int_equal(spool_commit(&spool, &d), -1);
		assert_int_equal(errno, cases[i].error);
		assert_int_equal(fsyncs_until_failure, 0);
		assert_int_equal(names(), 0);
		envelope_free(&e);
	}
}

/* Status 0: failed with the error that was to come, and left nothing. */
static int
fill_up(int expected)
{
	struct envelope e = envelope(1);
	struct spool_draft d;
	char *text = xcalloc(1, 100000);
	int status = 0, error = 0;

	if (spool_create(&spool, &e, &d) == -1)
		return 1;
	for (int i = 0; i < 10 && status == 0; i++)
		status = spool_append(&d, text, 100000);
	error = errno;
	/* One that goes on all the same must not get through either. */
	if (status == 0 || spool_append(&d, text, 100000) == 0 ||
	    spool_commit(&spool, &d) == 0)
		return 2;
	spool_abandon(&spool, &d);
	free(text);
	envelope_free(&e);
	return error != expected ? 3 : names() == 0 ? 0 : 4;
}

static int
fill_to_limit(const char *id)
{
	struct rlimit limit = {150000, 150000};

	(void)id;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) == -1)
		return 9;
	return fill_up(EFBIG);
}

static void
file_size_limit(void **state)
{
	(void)state;
	assert_int_equal(in_child(fill_to_limit, NULL), 0);
	assert_int_equal(names(), 0);
}

static void
disk_full(void **state)
{
	const char *why;
	int status;

	(void)state;
	if (geteuid() != 0 ||
	    mount("none", dir, "tmpfs", 0, "size=64k,mode=700") == -1)
		skip();
	spool_close(&spool);
	assert_int_equal(spool_open(&spool, dir, true, &why), 0);
	status = fill_up(ENOSPC);
	spool_close(&spool);
	(void)umount2(dir, MNT_DETACH); /* even where the test failed */
	(void)spool_open(&spool, dir, true, &why);
	assert_int_equal(status, 0);
}

static void
ids_are_fresh(void **state)
{
	char id[QUEUE_ID_LEN + 1], other[QUEUE_ID_LEN + 1];

	(void)state;
	assert_int_equal(spool_new_id(1000, id), 0);
	assert_int_equal(spool_new_id(1000, other), 0);
	assert_true(envelope_id_valid(id));
	assert_memory_equal(id, "00000V8", QUEUE_ID_UID_LEN);
	assert_string_not_equal(id, other);
	assert_int_equal(spool_new_id((uid_t)-2, id), 0);
	assert_memory_equal(id, "3VVVVVU", QUEUE_ID_UID_LEN);
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* However fast they are asked for, and whatever clock and pid say. */
static void
ids_do_not_repeat(void **state)
{
	enum { MANY = 200000 };
	char(*list)[QUEUE_ID_LEN + 1] = xcalloc(MANY, sizeof(*list));

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(spool_new_id(1000, list[i]), 0);
	qsort(list, MANY, sizeof(*list), by_text);
	for (size_t i = 1; i < MANY; i++)
		assert_string_not_equal(list[i - 1], list[i]);
	free(list);
}

/* A draft has this id: another one is taken, up to a point. */
static void
id_in_use(void **state)
{
	struct envelope first = envelope(1), second = envelope(1);
	struct spool_draft d, other;

	(void)state;
	same_random = 3;
	assert_int_equal(spool_create(&spool, &first, &d), 0);
	assert_int_equal(spool_create(&spool, &second, &other), 0);
	assert_int_equal(same_random, 0);
	assert_string_not_equal(first.id, second.id);
	assert_int_equal(spool_commit(&spool, &other), 0);
	second.id[0] = '\0';
	same_random = 1000;
	assert_int_equal(spool_create(&spool, &second, &other), -1);
	assert_int_equal(errno, EEXIST);
	assert_string_equal(second.id, "");
	same_random = 0;
	spool_abandon(&spool, &d);
	envelope_free(&first);
	envelope_free(&second);
}

/* ---- The queue ---- */

static void
scan_filters(void **state)
{
	static const char *const others[] = {"00000V8123456789ABCD",
	    "tmp.00000V8123456789AB", "bad.00000V8123456789ABCD",
	    "dead.00000V8123456789ABCDx1", "run.0", "a b\nc", "wake.0"};
	char id[QUEUE_ID_MAX + 1];
	struct spool_totals t;

	(void)state;
	spool.uid = 1; /* so that nobody's digits are those above */
	queue(TEXT, strlen(TEXT), 1, id);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(close(openat(spool.dirfd, others[i],
				     O_WRONLY | O_CREAT | O_CLOEXEC, 0600)),
		    0);
	assert_int_equal(queued(), 1);
	spool.all = true;
	assert_int_equal(queued(), 2);
	assert_int_equal(spool_totals(&spool, &t), 0);
	assert_int_equal(t.messages, 2);
	assert_int_equal(t.bad, 1);
	assert_int_equal(t.dead, 1);
	assert_true(t.bytes > strlen(TEXT) && t.bytes < 1000);
}

static int
stop_at_once(void *arg, const char *id)
{
	(void)id;
	++*(int *)arg;
	return 42;
}

static void
scan_stops(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	int calls = 0;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(spool_scan(&spool, stop_at_once, &calls), 42);
	assert_int_equal(calls, 1);
	assert_int_equal(queued(), 2); /* a scan begins at the beginning */
}

static int
try_lock(const char *id)
{
	struct spool_file f;

	if (spool_file_open(&spool, id, true, &f) == 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : 2;
}

static int
look_at(const char *id)
{
	struct spool_file f;

	if (spool_file_open(&spool, id, false, &f) == -1)
		return 2;
	return spool_file_busy(&f) ? 1 : 0;
}

static void
one_holds_the_lock(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(in_child(look_at, id), 0);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(in_child(try_lock, id), 1);
	assert_int_equal(in_child(look_at, id), 1);
	spool_file_close(&f);
	assert_int_equal(in_child(try_lock, id), 0);
}

static char hook_id[QUEUE_ID_MAX + 1], hook_other[QUEUE_ID_MAX + 1];

static void
replace_file(void)
{
	(void)renameat(spool.dirfd, hook_other, spool.dirfd, hook_id);
}

static void
remove_file(void)
{
	(void)unlinkat(spool.dirfd, hook_id, 0);
}

/* The holder was done with it between our open and our lock. */
static void
lock_is_checked_again(void **state)
{
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, hook_id);
	queue(TEXT, strlen(TEXT), 1, hook_other);
	before_flock = replace_file;
	assert_int_equal(spool_file_open(&spool, hook_id, true, &f), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(f.fd, -1);
	empty(dir);
	queue(TEXT, strlen(TEXT), 1, hook_id);
	before_flock = remove_file;
	assert_int_equal(spool_file_open(&spool, hook_id, true, &f), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(names(), 0);
	assert_int_equal(spool_file_open(&spool, hook_id, true, &f), -1);
	assert_int_equal(errno, ENOENT);
}

/* A commit by link and unlink that died in between. */
static void
second_name_of_a_commit(void **state)
{
	char id[QUEUE_ID_MAX + 1], draft[QUEUE_ID_MAX + 8];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	(void)snprintf(draft, sizeof(draft), "tmp.%s", id);
	assert_int_equal(linkat(spool.dirfd, id, spool.dirfd, draft, 0), 0);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_file_close(&f);
	assert_false(exists(draft));
	assert_true(exists(id));
}

static void
not_ours(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct envelope seen;
	struct spool_file f;
	uid_t owner;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	spool.uid++;
	assert_int_equal(spool_file_open(&spool, id, true, &f), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(spool_peek(&spool, id, &seen, &owner), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(spool_file_look(&spool, id, &seen, &f), 0);
	assert_int_equal(spool_file_load(&spool, id, &f), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(f.fd, -1);
	spool.all = true;
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(spool_peek(&spool, id, &seen, &owner), 0);
	assert_int_equal(owner, geteuid());
	spool_file_close(&f);
}

/* ---- What is no message ---- */

static void
make_truncated(const char *id)
{
	assert_int_equal(ftruncate(openat(spool.dirfd, id, O_RDWR), 290), 0);
}

static void
make_short(const char *id)
{
	struct stat st;

	assert_int_equal(fstatat(spool.dirfd, id, &st, 0), 0);
	assert_int_equal(
	    ftruncate(openat(spool.dirfd, id, O_RDWR), st.st_size - 1), 0);
}

static void
make_empty(const char *id)
{
	assert_int_equal(ftruncate(openat(spool.dirfd, id, O_RDWR), 0), 0);
}

static void
make_renamed(const char *id)
{
	char other[QUEUE_ID_MAX + 1];

	queue(TEXT, strlen(TEXT), 1, other);
	assert_int_equal(renameat(spool.dirfd, other, spool.dirfd, id), 0);
}

static void
make_readable(const char *id)
{
	assert_int_equal(fchmodat(spool.dirfd, id, 0604, 0), 0);
}

static void
make_linked(const char *id)
{
	assert_int_equal(
	    linkat(spool.dirfd, id, spool.dirfd, "elsewhere", 0), 0);
}

static void
make_symlink(const char *id)
{
	assert_int_equal(renameat(spool.dirfd, id, spool.dirfd, "to"), 0);
	assert_int_equal(symlinkat("to", spool.dirfd, id), 0);
}

static void
make_fifo(const char *id)
{
	assert_int_equal(unlinkat(spool.dirfd, id, 0), 0);
	assert_int_equal(mkfifoat(spool.dirfd, id, 0600), 0);
}

static void
make_directory(const char *id)
{
	assert_int_equal(unlinkat(spool.dirfd, id, 0), 0);
	assert_int_equal(mkdirat(spool.dirfd, id, 0700), 0);
}

/* One with a million bytes and no end of an envelope. */
static void
make_endless(const char *id)
{
	char line[] = "R T 00000 0\t\t\tto@example.org\n";
	int fd = openat(spool.dirfd, id, O_RDWR | O_APPEND | O_CLOEXEC);

	make_truncated(id);
	for (int i = 0; i < 30000; i++)
		assert_int_equal(
		    write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
	(void)close(fd);
}

static void
quarantined(void **state)
{
	static void (*const makes[])(const char *) = {make_truncated,
	    make_short, make_empty, make_renamed, make_readable, make_linked,
	    make_symlink, make_fifo, make_directory, make_endless};
	char id[QUEUE_ID_MAX + 1], bad[QUEUE_ID_MAX + 8];
	struct spool_totals t;
	struct spool_file f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(makes); i++) {
		queue(TEXT, strlen(TEXT), 1, id);
		makes[i](id);
		(void)snprintf(bad, sizeof(bad), "bad.%s", id);
		if (makes[i] != make_linked) {
			if (spool_file_open(&spool, id, false, &f) == 0 ||
			    errno != EBADMSG)
				fail_msg("case %zu looks good", i);
			assert_true(exists(id)); /* looking changes nothing */
		}
		assert_int_equal(spool_file_open(&spool, id, true, &f), -1);
		if (errno != EBADMSG || exists(id) || !exists(bad))
			fail_msg("case %zu: %s", i, strerror(errno));
		assert_int_equal(f.fd, -1);
	}
	assert_int_equal(queued(), 0);
	assert_int_equal(spool_totals(&spool, &t), 0);
	assert_int_equal(t.bad, ARRAY_LEN(makes));
}

/* One that was put aside before is not replaced. */
static void
quarantined_twice(void **state)
{
	char id[QUEUE_ID_MAX + 1], name[QUEUE_ID_MAX + 16];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	(void)snprintf(name, sizeof(name), "bad.%s", id);
	assert_int_equal(linkat(spool.dirfd, id, spool.dirfd, name, 0), 0);
	assert_int_equal(spool_file_open(&spool, id, true, &f), -1);
	assert_int_equal(errno, EBADMSG);
	assert_true(exists(name));
	(void)snprintf(name, sizeof(name), "bad.%s.1", id);
	assert_true(exists(name));
}

static void
wrong_uid_recorded_L_66(void **state)
{
	struct envelope e = envelope(1);
	struct spool_draft d;
	struct spool_file f;

	(void)state;
	e.uid = geteuid() + 1;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_commit(&spool, &d), 0);
	assert_int_equal(spool_file_open(&spool, e.id, true, &f), -1);
	assert_int_equal(errno, EBADMSG);
	envelope_free(&e);
}

/* Root's messages are made by the spool's user, and name root. */
static void
roots_messages(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct spool_file f;

	(void)state;
	if (geteuid() != 0)
		skip();
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(fchownat(spool.dirfd, id, 54321, 0, 0), 0);
	spool.uid = 54321;
	spool.all = true;
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_file_close(&f);
	spool.uid = 54322; /* then 54321 is only some user */
	assert_int_equal(spool_file_open(&spool, id, true, &f), -1);
	assert_int_equal(errno, EBADMSG);
}

static void
damaged_message(void **state)
{
	char id[QUEUE_ID_MAX + 1], bad[QUEUE_ID_MAX + 8];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(pwrite(f.fd, "X", 1, f.env.message_offset + 3), 1);
	assert_int_equal(spool_file_verify(&spool, &f), -1);
	assert_int_equal(errno, EBADMSG);
	spool_file_close(&f);
	(void)snprintf(bad, sizeof(bad), "bad.%s", id);
	assert_true(exists(bad));
	assert_false(exists(id));
}

/* ---- Working on one ---- */

static void
marks_stay(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct envelope seen = {0};
	struct spool_file f;
	uid_t owner;

	(void)state;
	queue(TEXT, strlen(TEXT), 3000, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(spool_file_mark(&f, 0, STATUS_SENT), 0);
	assert_int_equal(spool_file_mark(&f, 2999, STATUS_FAILED), 0);
	assert_int_equal(f.env.recipients[2999].status, STATUS_FAILED);
	f.env.attempts = 3;
	f.env.hold = true;
	f.env.next_try = 1800000000;
	assert_int_equal(spool_file_write_state(&f), 0);
	assert_int_equal(spool_file_sync(&f), 0);
	spool_file_close(&f);
	assert_int_equal(spool_peek(&spool, id, &seen, &owner), 0);
	assert_true(seen.hold);
	assert_int_equal(seen.attempts, 3);
	assert_int_equal(seen.next_try, 1800000000);
	assert_int_equal(owner, geteuid());
	assert_int_equal(spool_peek(&spool, ID, &seen, &owner), -1);
	assert_int_equal(errno, ENOENT);
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(spool_file_look(&spool, id, &seen, &f), 0);
	assert_true(seen.hold);
	assert_int_equal(seen.next_try, 1800000000);
	assert_int_equal(spool_file_load(&spool, id, &f), 0);
	assert_false(f.locked);
	assert_int_equal(f.env.attempts, 3);
	assert_int_equal(f.env.recipients[2999].status, STATUS_FAILED);
	spool_file_close(&f);
	assert_int_equal(spool_peek(&spool, "../x", &seen, &owner), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(f.env.recipients[0].status, STATUS_SENT);
	assert_int_equal(f.env.recipients[1].status, STATUS_TODO);
	assert_int_equal(f.env.recipients[2999].status, STATUS_FAILED);
	assert_int_equal(f.env.attempts, 3);
	assert_int_equal(spool_file_verify(&spool, &f), 0);
	spool_file_close(&f);
}

static void
mark_fails(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	/* Opened for reading alone, a mark cannot be written. */
	assert_int_equal(spool_file_open(&spool, id, false, &f), 0);
	assert_int_equal(spool_file_mark(&f, 0, STATUS_SENT), -1);
	assert_int_equal(f.env.recipients[0].status, STATUS_TODO);
	spool_file_close(&f);
}

static void
removed_when_settled(void **state)
{
	static const enum recipient_status kept[] = {
	    STATUS_TODO, STATUS_UNCERTAIN, STATUS_FAILED};
	char id[QUEUE_ID_MAX + 1];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 4, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	(void)spool_file_mark(&f, 0, STATUS_SENT);
	(void)spool_file_mark(&f, 1, STATUS_TOLD);
	(void)spool_file_mark(&f, 2, STATUS_REMOVED);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		(void)spool_file_mark(&f, 3, kept[i]);
		assert_int_equal(spool_file_remove(&spool, &f), -1);
		assert_int_equal(errno, EBUSY);
		assert_true(exists(id));
	}
	(void)spool_file_mark(&f, 3, STATUS_SENT);
	assert_int_equal(spool_file_remove(&spool, &f), 0);
	assert_int_equal(spool_sync(&spool), 0);
	spool_file_close(&f);
	assert_int_equal(names(), 0);
}

static void
parked(void **state)
{
	char id[QUEUE_ID_MAX + 1], dead[QUEUE_ID_MAX + 8];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(spool_file_park(&spool, &f), 0);
	spool_file_close(&f);
	(void)snprintf(dead, sizeof(dead), "dead.%s", id);
	assert_true(exists(dead));
	assert_int_equal(queued(), 0);
}

/* What an agent gets can neither write nor hold the lock. */
static void
reopened(void **state)
{
	char id[QUEUE_ID_MAX + 1], byte;
	struct spool_file f;
	int fd;

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	fd = spool_file_reopen(&spool, &f);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, f.env.message_offset), 1);
	assert_int_equal(byte, TEXT[0]);
	assert_int_equal(pwrite(fd, "X", 1, 0), -1);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	spool_file_close(&f);
	assert_int_equal(in_child(try_lock, id), 0);
	(void)close(fd);
}

/* ---- The journal ---- */

static void
journal_tells_the_last(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct journal_entry last[3];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 3, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_journal_last(&f, last, 3);
	assert_int_equal(last[0].when, 0);
	errno = ETXTBSY;
	spool_journal_add(&f, 0, 100, "4.4.1", "mx[192.0.2.1]:25", "first");
	spool_journal_add(&f, 2, 101, "4.2.1", "", "tab\there\nnew\xff line");
	spool_journal_add(&f, 0, 102, "5.1.1", "mx[192.0.2.2]:25", "second");
	spool_journal_add(&f, 7, 103, "5.1.1", "", "nobody");
	assert_int_equal(errno, ETXTBSY);
	spool_file_close(&f);
	assert_int_equal(spool_file_open(&spool, id, false, &f), 0);
	spool_journal_last(&f, last, 3);
	assert_int_equal(last[0].when, 102);
	assert_string_equal(last[0].dsn, "5.1.1");
	assert_string_equal(last[0].relay, "mx[192.0.2.2]:25");
	assert_string_equal(last[0].text, "second");
	assert_int_equal(last[1].when, 0);
	assert_string_equal(last[2].text, "tab?here?new? line");
	assert_int_equal(spool_file_verify(&spool, &f), 0);
	spool_file_close(&f);
}

static void
journal_torn_line(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	struct journal_entry last[2];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 2, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_journal_add(&f, 0, 100, "4.4.1", "", "whole");
	spool_journal_add(&f, 1, 100, "4.4.1", "", "torn");
	assert_int_equal(ftruncate(f.fd, (off_t)f.size - 2), 0);
	spool_file_close(&f);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_journal_last(&f, last, 2);
	assert_string_equal(last[0].text, "whole");
	assert_int_equal(last[1].when, 0);
	spool_journal_add(&f, 0, 200, "4.4.2", "", "after");
	spool_journal_last(&f, last, 2);
	assert_string_equal(last[0].text, "after");
	spool_file_close(&f);
}

static void
journal_has_an_end(void **state)
{
	char id[QUEUE_ID_MAX + 1], text[3000], relay[1000];
	struct journal_entry last[2];
	struct spool_file f;

	(void)state;
	memset(text, 't', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(relay, 'r', sizeof(relay) - 1);
	relay[sizeof(relay) - 1] = '\0';
	queue(TEXT, strlen(TEXT), 2, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	for (int64_t i = 1; i <= 200; i++) {
		spool_journal_add(&f, 1, i, "4.4.1", relay, text);
		assert_true(f.size <= (uint64_t)f.env.message_offset +
					  f.env.length + JOURNAL_MAX);
	}
	spool_file_close(&f);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_journal_last(&f, last, 2);
	assert_int_equal(last[1].when, 200);
	assert_int_equal(strlen(last[1].text), OUTCOME_TEXT_MAX);
	assert_int_equal(strlen(last[1].relay), RELAY_TEXT_MAX);
	assert_int_equal(spool_file_verify(&spool, &f), 0);
	spool_file_close(&f);
}

static void
journal_of_garbage(void **state)
{
	static const char garbage[] =
	    "\t\t\t\t\n\n100\t0\t5.1.1\n100\t-1\t5.1.1\t\tx\n"
	    "100\t99999999999999999999\t5\t\tx\n-5\t0\t5.1."
	    "1\t\tx\nx\t0\t5\t\tx\n"
	    "100\t1\t5.1.1111111111111111\trelay\tgood\n\0nul\n";
	char id[QUEUE_ID_MAX + 1];
	struct journal_entry last[2];
	struct spool_file f;

	(void)state;
	queue(TEXT, strlen(TEXT), 2, id);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	assert_int_equal(
	    pwrite(f.fd, garbage, sizeof(garbage) - 1, (off_t)f.size),
	    sizeof(garbage) - 1);
	spool_file_close(&f);
	assert_int_equal(spool_file_open(&spool, id, true, &f), 0);
	spool_journal_last(&f, last, 2);
	assert_int_equal(last[0].when, 0);
	assert_string_equal(last[1].text, "good");
	spool_file_close(&f);
}

/* ---- Drafts that nobody finishes ---- */

static void
make_old(const char *name, time_t age)
{
	struct timespec t[2] = {
	    {.tv_sec = time(NULL) - age}, {.tv_sec = time(NULL) - age}};

	assert_int_equal(utimensat(spool.dirfd, name, t, 0), 0);
}

static void
sweep(void **state)
{
	struct envelope e[3] = {envelope(1), envelope(1), envelope(1)};
	char id[QUEUE_ID_MAX + 1];
	struct spool_draft d[3];

	(void)state;
	queue(TEXT, strlen(TEXT), 1, id);
	make_old(id, 10 * TMP_AGE_MAX);
	for (int i = 0; i < 3; i++)
		assert_int_equal(spool_create(&spool, &e[i], &d[i]), 0);
	make_old(d[0].name, TMP_AGE_MAX + 5);
	make_old(d[1].name, TMP_AGE_MAX + 5);
	(void)close(d[1].fd); /* its writer is gone */
	(void)close(d[2].fd); /* this one's too, but just now */
	spool.uid++;
	spool_sweep(&spool);
	assert_true(exists(d[1].name)); /* another's */
	spool.uid--;
	spool_sweep(&spool);
	assert_true(exists(d[0].name));
	assert_false(exists(d[1].name));
	assert_true(exists(d[2].name));
	assert_true(exists(id));
	spool_abandon(&spool, &d[0]);
	d[1].fd = d[2].fd = -1;
	for (int i = 0; i < 3; i++) {
		spool_abandon(&spool, &d[i]);
		envelope_free(&e[i]);
	}
}

/* ---- run, slot, wake ---- */

static int
try_run(const char *id)
{
	(void)id;
	if (spool_lock_run(&spool) >= 0)
		return 0;
	return errno == EWOULDBLOCK ? 1 : 2;
}

static void
run_and_slots(void **state)
{
	int run, slot, other;
	struct stat st;

	(void)state;
	spool.mode = 0660;
	run = spool_lock_run(&spool);
	assert_true(run >= 0);
	assert_int_equal(fstat(run, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660); /* whatever the umask */
	assert_int_equal(in_child(try_run, NULL), 1);
	(void)close(run);
	assert_int_equal(in_child(try_run, NULL), 0);
	slot = spool_lock_slot(&spool, 1);
	assert_true(slot >= 0);
	assert_int_equal(spool_lock_slot(&spool, 1), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	other = spool_lock_slot(&spool, 2);
	assert_true(other >= 0);
	(void)close(slot);
	(void)close(other);
	assert_int_equal(names(), 3);
}

static void
planted_nodes_L_65(void **state)
{
	char run[32], wake[32];

	(void)state;
	(void)snprintf(run, sizeof(run), "run.%u", (unsigned)geteuid());
	(void)snprintf(wake, sizeof(wake), "wake.%u", (unsigned)geteuid());
	assert_int_equal(symlinkat("elsewhere", spool.dirfd, run), 0);
	assert_int_equal(spool_lock_run(&spool), -1);
	assert_false(exists("elsewhere"));
	assert_int_equal(unlinkat(spool.dirfd, run, 0), 0);
	assert_int_equal(mkfifoat(spool.dirfd, run, 0600), 0);
	assert_int_equal(spool_lock_run(&spool), -1);
	assert_int_equal(symlinkat("elsewhere", spool.dirfd, wake), 0);
	assert_int_equal(spool_wake_open(&spool), -1);
	assert_int_equal(spool_wake_write(&spool, ID), -1);
	assert_int_equal(unlinkat(spool.dirfd, wake, 0), 0);
	assert_int_equal(close(openat(spool.dirfd, wake,
			     O_WRONLY | O_CREAT | O_CLOEXEC, 0600)),
	    0);
	assert_int_equal(spool_wake_open(&spool), -1);
	assert_int_equal(spool_wake_write(&spool, ID), -1);
	assert_int_equal(errno, ENXIO);
}

static void
wake_up(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	bool overrun = false;
	int fd;

	(void)state;
	assert_int_equal(spool_wake_write(&spool, ID), -1);
	assert_int_equal(errno, ENOENT);
	fd = spool_wake_open(&spool);
	assert_true(fd >= 0);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 0);
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	assert_int_equal(spool_wake_write(&spool, ID "x1x2"), 0);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, ID);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, ID "x1x2");
	/* Look at the queue again: no id was lost. */
	spool_wake_all(&spool);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, "");
	assert_int_equal(spool_wake_read(fd, id, &overrun), 0);
	assert_false(overrun);
	(void)close(fd);
	assert_int_equal(spool_wake_write(&spool, ID), -1);
	assert_int_equal(errno, ENXIO);
}

/* Whenever a writer found the pipe full, the reader learns of it. */
static void
wake_overrun(void **state)
{
	char id[QUEUE_ID_MAX + 1];
	bool overrun = false;
	int fd, n, records;

	(void)state;
	fd = spool_wake_open(&spool);
	assert_true(fd >= 0);
	records = fcntl(fd, F_GETPIPE_SZ) / WAKE_RECORD_LEN;
	/* The first page half read: it is not free for writers yet. */
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_false(overrun);
	for (n = 0; n < 2 * records; n++)
		assert_int_equal(spool_wake_write(&spool, ID), 0);
	for (n = 0; spool_wake_read(fd, id, &overrun) == 1; n++)
		continue;
	assert_true(n >= records - 64 && n <= records);
	assert_true(overrun);
	overrun = false;
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_false(overrun);
	(void)close(fd);
}

static void
wake_garbage(void **state)
{
	char id[QUEUE_ID_MAX + 1], junk[WAKE_RECORD_LEN];
	bool overrun = false;
	int fd;

	(void)state;
	fd = spool_wake_open(&spool);
	assert_true(fd >= 0);
	memset(junk, 'A', sizeof(junk));
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	assert_int_equal(spool_wake_write(&spool, "../../etc/passwd"), 0);
	assert_int_equal(spool_wake_write(&spool, ID), 0);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 1);
	assert_string_equal(id, ID);
	assert_true(overrun);
	assert_int_equal(write(fd, "short", 5), 5);
	assert_int_equal(spool_wake_read(fd, id, &overrun), 0);
	(void)close(fd);
}

/* ---- The directory ---- */

static void
directory_is_checked(void **state)
{
	struct spool s;
	const char *why = NULL;
	char path[80];

	(void)state;
	assert_int_equal(chmod(dir, 0750), 0);
	assert_int_equal(spool_open(&s, dir, true, &why), -1);
	assert_int_equal(errno, EPERM);
	assert_non_null(why);
	assert_int_equal(s.dirfd, -1);
	/* As mkdir makes it in a directory that hands its group down. */
	assert_int_equal(chmod(dir, 02700), 0);
	assert_int_equal(spool_open(&s, dir, true, &why), 0);
	spool_close(&s);
	assert_int_equal(chmod(dir, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(spool_open(&s, path, true, &why), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(
	    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	assert_int_equal(spool_open(&s, path, true, &why), -1);
	assert_int_equal(errno, ENOTDIR);
	/* A private one is not the system's. */
	assert_int_equal(spool_open(&s, dir, false, &why), -1);
	assert_int_equal(errno, EPERM);
	if (geteuid() == 0) {
		assert_int_equal(chmod(dir, 02770), 0);
		assert_int_equal(spool_open(&s, dir, false, &why), 0);
		assert_int_equal(s.mode, 0660);
		spool_close(&s);
		assert_int_equal(chmod(dir, 02775), 0);
		assert_int_equal(spool_open(&s, dir, false, &why), -1);
		assert_int_equal(chmod(dir, 02770), 0);
		assert_int_equal(chown(dir, 54321, 0), 0);
		assert_int_equal(spool_open(&s, dir, false, &why), -1);
		assert_int_equal(spool_open(&s, dir, true, &why), -1);
	}
}

static void
system_file_modes(void **state)
{
	struct envelope e = envelope(1);
	struct spool_draft d;
	struct stat st;
	mode_t old = umask(077);

	(void)state;
	spool.mode = 0660;
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(fstat(d.fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	assert_int_equal(spool_commit(&spool, &d), 0);
	(void)umask(old);
	envelope_free(&e);
}

static void
room(void **state)
{
	(void)state;
	assert_true(spool_has_room(&spool, 0, 1));
	assert_false(spool_has_room(&spool, 101, 1));
	assert_false(spool_has_room(&spool, 0, (off_t)1 << 60));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {T(committed_is_there),
	    T(draft_is_not_queued), T(sizes), T(flags_are_found), T(chosen_id),
	    T(test_commit_replaces_nothing_D_24), T(fsync_fails),
	    T(file_size_limit), T(disk_full), T(ids_are_fresh),
	    T(ids_do_not_repeat), T(id_in_use), T(scan_filters), T(scan_stops),
	    T(one_holds_the_lock), T(lock_is_checked_again),
	    T(second_name_of_a_commit), T(not_ours), T(quarantined),
	    T(quarantined_twice), T(wrong_uid_recorded_L_66), T(roots_messages),
	    T(damaged_message), T(marks_stay), T(mark_fails),
	    T(removed_when_settled), T(parked), T(reopened),
	    T(journal_tells_the_last), T(journal_torn_line),
	    T(journal_has_an_end), T(journal_of_garbage), T(sweep),
	    T(run_and_slots), T(planted_nodes_L_65), T(wake_up),
	    T(wake_overrun), T(wake_garbage), T(directory_is_checked),
	    T(system_file_modes), T(room)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
