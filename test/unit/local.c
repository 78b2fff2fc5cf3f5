/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local.c - what a mailbox holds after a delivery to it, good or bad.
 *
 * The agent's main is left out; all else is driven as its runner drives it,
 * one job at a time, on a mailbox in a directory of the test's own.
 */
#define main dma_local_main
int dma_local_main(int argc, char **argv);
#include "../../local.c"
#undef main

#include <ftw.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cmocka.h>

struct world {
	char dir[64];
	char *path, *lock; /* the mailbox, its dotlock */
	bool spool;        /* it lies in the mail directory; we have its lock */
	struct local *local;
	struct outcome outcome;
	const char *sender, *orig;
	rlim_t room; /* RLIMIT_FSIZE during the delivery; 0: as it is */
};

static int
remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int
set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));

	(void)compat_strlcpy(w->dir, "/tmp/unit-local.XXXXXX", sizeof(w->dir));
	if (mkdtemp(w->dir) == NULL)
		return -1;
	w->local = xcalloc(1, sizeof(*w->local));
	w->local->user = "alice";
	w->path = xasprintf("%s/mbox", w->dir);
	w->lock = xasprintf("%s/mbox.lock", w->dir);
	w->local->role = LOCAL_PRIVATE;
	w->local->mailbox = w->path;
	w->local->host = xstrdup("here.example");
	w->local->timeouts = 100;
	w->local->have_lock = true;
	w->local->wait_ms = 40;
	w->sender = "bob@example.org";
	(void)signal(SIGXFSZ, SIG_IGN); /* as process_enter() does */
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	(void)nftw(w->dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(w->path);
	free(w->lock);
	free(w->local->host);
	free(w->local);
	free(w);
	return 0;
}

static void
write_file(const char *path, const char *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, data, len), 0);
	(void)close(fd);
}

static void
set_mailbox(const struct world *w, const char *text)
{
	write_file(w->path, text, strlen(text));
}

/* The mailbox, or NULL; the caller's. */
static char *
get_mailbox(const struct world *w, size_t *len)
{
	char *text;
	size_t n;

	if (read_file(w->path, 1 << 28, &text, &n, NULL) < 0)
		return NULL;
	if (len != NULL)
		*len = n;
	return text;
}

static void
assert_mailbox(const struct world *w, const char *want)
{
	char *text = get_mailbox(w, NULL);

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

/* The file of a message that begins 7 bytes into it. */
static int
open_message(const struct world *w, const char *data, size_t len)
{
	char *path = xasprintf("%s/message", w->dir), *all = xmalloc(len + 7);
	int fd;

	memcpy(all, "before\n", 7);
	memcpy(all + 7, data, len);
	write_file(path, all, len + 7);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	free(all);
	free(path);
	return fd;
}

static void
deliver_with(struct world *w, const struct job *j)
{
	char address[] = "alice@here.example";
	struct delivery d = {.local = w->local,
	    .job = j,
	    .to = &j->recipients[0],
	    .address = address,
	    .outcome = &w->outcome};

	if (w->spool)
		mbox_deliver(&d, w->path, MBOX_LOCK_SPOOL);
	else
		deliver(w->local, j, &w->outcome);
}

/* Deliver a message of len bytes whose job says that it has so many. */
static void
deliver_job(struct world *w, const char *data, size_t len, uint64_t said)
{
	char *sender = xstrdup(w->sender);
	char *orig = w->orig == NULL ? NULL : xstrdup(w->orig);
	struct job_recipient to = {.orig = orig};
	struct job j = {.sender = sender,
	    .offset = 7,
	    .length = said,
	    .recipients = &to,
	    .nrecipients = 1,
	    .fd = open_message(w, data, len)};
	struct rlimit old, small;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = old;
	if (w->room != 0)
		small.rlim_cur = w->room;
	memset(&w->outcome, 0, sizeof(w->outcome));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	deliver_with(w, &j);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	(void)close(j.fd);
	free(orig);
	free(sender);
}

/* The same; no lock may be left. */
static enum outcome_class
deliver_bytes(struct world *w, const char *data, size_t len)
{
	deliver_job(w, data, len, len);
	assert_int_equal(access(w->lock, F_OK), -1);
	return w->outcome.class;
}

static enum outcome_class
deliver_text(struct world *w, const char *text)
{
	return deliver_bytes(w, text, strlen(text));
}

static void
assert_deferred(const struct world *w, const char *dsn, const char *words)
{
	assert_int_equal(w->outcome.class, OUTCOME_DEFER);
	assert_string_equal(w->outcome.dsn, dsn);
	if (strstr(w->outcome.text, words) == NULL)
		fail_msg("\"%s\" not in \"%s\"", words, w->outcome.text);
}

/*
 * What stands in text after the first line, a From_ of that sender with a
 * date as asctime(3) writes it.
 */
static const char *
after_from_line(const char *text, const char *sender)
{
	char *start = xasprintf("From %s ", sender);
	struct tm tm;
	const char *rest;

	if (strncmp(text, start, strlen(start)) != 0)
		fail_msg("not a From_ of %s: %.80s", sender, text);
	rest = strptime(text + strlen(start), "%a %b %d %H:%M:%S %Y\n", &tm);
	free(start);
	assert_non_null(rest);
	return rest;
}

/* ---- What is written ---- */

static void
test_first_message(void **state)
{
	struct world *w = *state;
	struct stat st;
	char *text;

	w->orig = "root@example.org";
	assert_int_equal(
	    deliver_text(w, "Subject: x\n\nhello\n"), OUTCOME_SENT);
	assert_string_equal(w->outcome.dsn, "2.0.0");
	text = get_mailbox(w, NULL);
	assert_non_null(text);
	assert_string_equal(after_from_line(text, "bob@example.org"),
	    "Return-Path: <bob@example.org>\n"
	    "X-Original-To: root@example.org\n"
	    "Delivered-To: alice@here.example\n"
	    "Subject: x\n\nhello\n\n");
	free(text);
	assert_int_equal(stat(w->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
test_null_sender(void **state)
{
	struct world *w = *state;
	char *text;

	w->sender = "";
	assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
	text = get_mailbox(w, NULL);
	assert_non_null(text);
	assert_string_equal(after_from_line(text, "MAILER-DAEMON"),
	    "Return-Path: <>\nDelivered-To: alice@here.example\na: b\n\nc\n\n");
	free(text);
}

/* A sender that the runner should never let through adds no line. */
static void
test_hostile_sender(void **state)
{
	struct world *w = *state;
	char *text;

	w->sender = "\"a b\"\n\nFrom x\r\t\x7f@h";
	w->orig = "a\nBcc: b";
	assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
	text = get_mailbox(w, NULL);
	assert_non_null(text);
	assert_string_equal(after_from_line(text, "\"a_b\"__From_x___@h"),
	    "Return-Path: <\"a_b\"__From_x___@h>\n"
	    "X-Original-To: a_Bcc:_b\n"
	    "Delivered-To: alice@here.example\na: b\n\nc\n\n");
	free(text);
}

static const struct {
	const char *message, *stored;
} texts[] = {
    {"a\n", "a\n\n"},
    {"a", "a\n\n"},
    {"", "\n"},
    {"\n", "\n\n"},
    {"a\n\n", "a\n\n\n"},
    {"a\nFrom b\n", "a\n>From b\n\n"},
    {"a\n>From b\n", "a\n>>From b\n\n"},
    {"a\n>>>From b\n", "a\n>>>>From b\n\n"},
    {"From b\n", ">From b\n\n"},
    {"a\nFrom ", "a\n>From \n\n"},
    {"a\nFrom", "a\nFrom\n\n"},
    {"a\nFrom\n", "a\nFrom\n\n"},
    {"a\nFromage\n", "a\nFromage\n\n"},
    {"a\nFr\nFrom \n", "a\nFr\n>From \n\n"},
    {"a\nFrFrom b\n", "a\nFrFrom b\n\n"},
    {"a\nfrom b\n", "a\nfrom b\n\n"},
    {"a\n From b\n", "a\n From b\n\n"},
    {"a\n>F>From b\n", "a\n>F>From b\n\n"},
    {"a\n> From b\n", "a\n> From b\n\n"},
    {"a\n>>>\n", "a\n>>>\n\n"},
    {"a\n>>", "a\n>>\n\n"},
    {"From a\nFrom b\nFrom c\n", ">From a\n>From b\n>From c\n\n"},
    {"a From b\n", "a From b\n\n"},
    {"a\rFrom b\n", "a\rFrom b\n\n"},
};

static void
test_quoting(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *rest;
		char *text;

		(void)unlink(w->path);
		assert_int_equal(
		    deliver_text(w, texts[i].message), OUTCOME_SENT);
		text = get_mailbox(w, NULL);
		assert_non_null(text);
		rest = strstr(text, "Delivered-To: alice@here.example\n");
		assert_non_null(rest);
		assert_string_equal(strchr(rest, '\n') + 1, texts[i].stored);
		free(text);
	}
}

/* Wherever a block ends within a quoted line, nothing is lost or added. */
static void
test_quoting_across_blocks(void **state)
{
	static const char tail[] = "\n>>From x\nFrom y\nFr\n>\nz\n";
	static const char stored[] = "\n>>>From x\n>From y\nFr\n>\nz\n\n";
	struct world *w = *state;
	char *message = xmalloc(COPY_BLOCK + sizeof(tail));

	for (size_t pad = COPY_BLOCK - sizeof(tail); pad <= COPY_BLOCK; pad++) {
		char *text;
		size_t len;

		(void)unlink(w->path);
		memset(message, 'p', pad);
		memcpy(message + pad, tail, sizeof(tail) - 1);
		len = pad + sizeof(tail) - 1;
		assert_int_equal(deliver_bytes(w, message, len), OUTCOME_SENT);
		text = get_mailbox(w, &len);
		assert_non_null(text);
		assert_true(len > pad + sizeof(stored));
		assert_string_equal(text + len - (sizeof(stored) - 1), stored);
		assert_int_equal(text[len - sizeof(stored)], 'p');
		free(text);
	}
	free(message);
}

/* Nothing but marks, and no line's end, is not slow either. */
static void
test_marks_alone(void **state)
{
	const size_t size = 8 << 20;
	struct world *w = *state;
	char *message = xmalloc(size), *text;
	size_t len = 0;

	memset(message, '>', size);
	memcpy(message + size - 5, "From ", 5);
	assert_int_equal(deliver_bytes(w, message, size), OUTCOME_SENT);
	text = get_mailbox(w, &len);
	assert_non_null(text);
	assert_memory_equal(text + len - 9, ">>From \n\n", 9);
	assert_memory_equal(text + len - size - 3, message, size - 5);
	assert_int_equal(text[len - size - 4], '\n');
	free(text);
	free(message);
}

static void
test_nul_and_8bit(void **state)
{
	static const char message[] = "a: b\n\nx\0y\xff\n";
	static const char stored[] = "\n\nx\0y\xff\n\n";
	struct world *w = *state;
	char *text;
	size_t len = 0;

	assert_int_equal(
	    deliver_bytes(w, message, sizeof(message) - 1), OUTCOME_SENT);
	text = get_mailbox(w, &len);
	assert_non_null(text);
	assert_memory_equal(
	    text + len - (sizeof(stored) - 1), stored, sizeof(stored) - 1);
	free(text);
}

/* ---- What was there before ---- */

static const struct {
	const char *before, *healed;
} ends[] = {
    {"", ""},
    {"From a\n\nb\n\n", "From a\n\nb\n\n"},
    {"From a\n\nb\n", "From a\n\nb\n\n"},
    {"From a\n\nb", "From a\n\nb\n\n"},
    {"x", "x\n\n"},
    {"\n", "\n"},
    {"\n\n", "\n\n"},
};

static void
test_torn_end_L_77(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t n = strlen(ends[i].healed);
		char *text;

		set_mailbox(w, ends[i].before);
		assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
		text = get_mailbox(w, NULL);
		assert_non_null(text);
		assert_memory_equal(text, ends[i].healed, n);
		(void)after_from_line(text + n, "bob@example.org");
		free(text);
	}
}

/* root's of an older dma may be written, not read, by who delivers. */
static void
test_unreadable_mailbox(void **state)
{
	struct world *w = *state;
	char *text;

	if (geteuid() == 0)
		skip(); /* root reads everything */
	set_mailbox(w, "torn");
	assert_int_equal(chmod(w->path, 0200), 0);
	assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
	assert_int_equal(chmod(w->path, 0600), 0);
	text = get_mailbox(w, NULL);
	assert_non_null(text);
	assert_memory_equal(text, "torn\n\n", 6);
	(void)after_from_line(text + 6, "bob@example.org");
	free(text);
}

static void
test_missing_where_it_may_not_be_made(void **state)
{
	struct world *w = *state;

	w->spool = true;
	(void)deliver_text(w, "a: b\n\nc\n");
	assert_deferred(w, "4.2.0", "cannot open the mailbox");
	assert_int_equal(access(w->path, F_OK), -1);
}

/* Where the mail directory's rules are known, the cure is said as well. */
static void
test_mailbox_of_wrong_mode(void **state)
{
	struct world *w = *state;

	if (geteuid() == 0)
		skip(); /* root may write everything */
	set_mailbox(w, "old\n");
	assert_int_equal(chmod(w->path, 0), 0);
	(void)deliver_text(w, "a: b\n\nc\n");
	assert_deferred(w, "4.2.0", "cannot open the mailbox");
	assert_null(strstr(w->outcome.text, "chmod"));
	w->spool = true;
	(void)deliver_text(w, "a: b\n\nc\n");
	assert_deferred(w, "4.2.0", "(chmod 660, chgrp " DMA_GROUP ")");
}

static void
make_symlink(const char *path, const char *other)
{
	assert_int_equal(symlink(other, path), 0);
}

static void
make_hard_link(const char *path, const char *other)
{
	assert_int_equal(link(other, path), 0);
}

static void
make_fifo(const char *path, const char *other)
{
	(void)other;
	assert_int_equal(mkfifo(path, 0600), 0);
}

static void
make_directory(const char *path, const char *other)
{
	(void)other;
	assert_int_equal(mkdir(path, 0700), 0);
}

static void
make_dangling(const char *path, const char *other)
{
	assert_int_equal(unlink(other), 0);
	assert_int_equal(symlink(other, path), 0);
}

static void
test_no_plain_file(void **state)
{
	static void (*const make[])(const char *, const char *) = {
	    make_symlink,
	    make_hard_link,
	    make_fifo,
	    make_directory,
	    make_dangling,
	};
	struct world *w = *state;
	char *other = xasprintf("%s/other", w->dir);

	for (size_t i = 0; i < ARRAY_LEN(make); i++) {
		struct stat st;

		write_file(other, "precious\n", 9);
		(void)remove(w->path);
		make[i](w->path, other);
		(void)deliver_text(w, "a: b\n\nc\n");
		assert_deferred(w, "4.2.0", "the mailbox");
		if (stat(other, &st) == 0)
			assert_int_equal(st.st_size, 9);
		else
			assert_ptr_equal(make[i], make_dangling);
	}
	free(other);
}

/* ---- Locks ---- */

static void
test_flock_held_L_78(void **state)
{
	struct world *w = *state;
	int fd;

	set_mailbox(w, "old\n\n");
	fd = open(w->path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	(void)deliver_text(w, "a: b\n\nc\n");
	assert_deferred(w, "4.2.0", "locked");
	assert_mailbox(w, "old\n\n");
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
	(void)close(fd);
}

/* Such a lock is another process's, or it would be ours. */
static pid_t
lock_in_child(const char *path)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int ready[2], fd;
	pid_t pid;
	char c;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd < 0 || fcntl(fd, F_SETLK, &whole) < 0)
			_exit(1);
		(void)!write(ready[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	(void)close(ready[0]);
	return pid;
}

static void
test_fcntl_held_L_78(void **state)
{
	struct world *w = *state;
	pid_t pid;

	set_mailbox(w, "old\n\n");
	pid = lock_in_child(w->path);
	(void)deliver_text(w, "a: b\n\nc\n");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	assert_deferred(w, "4.2.0", "locked");
	assert_mailbox(w, "old\n\n");
	assert_int_equal(deliver_text(w, "a: b\n\nc\n"), OUTCOME_SENT);
}

static void
make_dotlock(const struct world *w, const char *text, time_t age)
{
	struct timespec times[2] = {{0, UTIME_OMIT}, {time(NULL) - age, 0}};

	write_file(w->lock, text, strlen(text));
	assert_int_equal(utimensat(AT_FDCWD, w->lock, times, 0), 0);
}

static const struct {
	const char *text;
	time_t age;
	enum outcome_class want;
} dotlocks[] = {
    {"123\n", 0, OUTCOME_DEFER},
    {"123\n", MBOX_STALE_S - 60, OUTCOME_DEFER},
    {"123\n", -7200, OUTCOME_DEFER},
    {"123\n", MBOX_STALE_S + 60, OUTCOME_SENT},
    {"", MBOX_STALE_S + 60, OUTCOME_SENT},
    {"From the mailbox of a user whose name ends in .lock, which is long\n",
	MBOX_STALE_S + 60, OUTCOME_DEFER},
};

static void
test_dotlock(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_LEN(dotlocks); i++) {
		struct stat st;
		bool left;

		make_dotlock(w, dotlocks[i].text, dotlocks[i].age);
		deliver_job(w, "a\n", 2, 2);
		assert_int_equal(w->outcome.class, dotlocks[i].want);
		left = lstat(w->lock, &st) == 0;
		assert_int_equal(left, dotlocks[i].want == OUTCOME_DEFER);
		if (left)
			assert_int_equal(st.st_size, strlen(dotlocks[i].text));
	}
}

static void
test_dotlock_is_directory(void **state)
{
	struct world *w = *state;

	assert_int_equal(mkdir(w->lock, 0700), 0);
	deliver_job(w, "a\n", 2, 2);
	assert_int_equal(w->outcome.class, OUTCOME_DEFER);
	assert_string_equal(w->outcome.dsn, "4.2.0");
	assert_int_equal(rmdir(w->lock), 0);
}

/* The one that dma-become made is kept young, and is not ours to remove. */
static void
test_dotlock_of_become(void **state)
{
	struct world *w = *state;
	struct stat st;

	w->spool = true;
	set_mailbox(w, "");
	make_dotlock(w, "123\n", 400);
	deliver_job(w, "a\n", 2, 2);
	assert_int_equal(w->outcome.class, OUTCOME_SENT);
	assert_int_equal(stat(w->lock, &st), 0);
	assert_true(st.st_mtime > time(NULL) - 100);
}

/* ---- What fails half-way ---- */

/* Room for: nothing, some of our lines, one block, all but a byte or two. */
static const rlim_t rooms[] = {0, 20, COPY_BLOCK + 1, 3 * COPY_BLOCK};

static void
test_file_size_limit(void **state)
{
	static char message[3 * COPY_BLOCK];
	static const char old[] = "old, and torn";
	struct world *w = *state;

	memset(message, 'x', sizeof(message));
	for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
		set_mailbox(w, old);
		w->room = sizeof(old) - 1 + rooms[i];
		(void)deliver_bytes(w, message, sizeof(message));
		assert_deferred(w, "4.2.2", "mailbox is full");
		assert_mailbox(w, old);
	}
}

static void
test_message_shorter_than_said(void **state)
{
	struct world *w = *state;

	set_mailbox(w, "old\n");
	deliver_job(w, "a: b\n\nc\n", 8, 9);
	assert_deferred(w, "4.3.0", "cannot read the message");
	assert_mailbox(w, "old\n");
	deliver_job(w, "a: b\n\nc\n", 8, (uint64_t)1 << 40);
	assert_deferred(w, "4.3.0", "cannot read the message");
	assert_mailbox(w, "old\n");
}

static void
test_message_is_no_file(void **state)
{
	struct world *w = *state;
	char sender[] = "a@b";
	struct job_recipient to = {0};
	struct job j = {.sender = sender, .recipients = &to, .nrecipients = 1};
	int ends_of_pipe[2];

	j.fd = -1;
	deliver(w->local, &j, &w->outcome);
	assert_deferred(w, "4.3.0", "without its message");
	assert_int_equal(pipe(ends_of_pipe), 0);
	j.fd = ends_of_pipe[0];
	memset(&w->outcome, 0, sizeof(w->outcome));
	deliver(w->local, &j, &w->outcome);
	assert_deferred(w, "4.3.0", "without its message");
	(void)close(ends_of_pipe[0]);
	(void)close(ends_of_pipe[1]);
	assert_int_equal(access(w->path, F_OK), -1);
}

/* ---- Other places ---- */

static enum outcome_class
deliver_into(struct world *w, const char *mailbox, const char *text)
{
	w->local->mailbox = mailbox;
	deliver_job(w, text, strlen(text), strlen(text));
	return w->outcome.class;
}

static void
test_maildir(void **state)
{
	struct world *w = *state;
	char *path = xasprintf("%s/a/", w->dir), *text, *name;
	DIR *new;
	struct dirent *e;
	size_t count = 0, len;

	free(w->local->host);
	w->local->host = xstrdup("a/b:c.example");
	for (int i = 0; i < 3; i++)
		assert_int_equal(
		    deliver_into(w, path, "a: b\n\nFrom c"), OUTCOME_SENT);
	assert_string_equal(w->outcome.text, "delivered to maildir");
	name = xasprintf("%s/new", path);
	new = opendir(name);
	assert_non_null(new);
	while ((e = readdir(new)) != NULL) {
		char *file = xasprintf("%s/%s", name, e->d_name);

		if (e->d_name[0] != '.') {
			count++;
			assert_non_null(
			    strstr(e->d_name, ".a\\057b\\072c.example"));
			assert_int_equal(
			    read_file(file, 1000, &text, &len, NULL), 0);
			assert_string_equal(text,
			    "Return-Path: <bob@example.org>\n"
			    "Delivered-To: alice@a/b:c.example\n"
			    "a: b\n\nFrom c\n");
			free(text);
		}
		free(file);
	}
	assert_int_equal(count, 3);
	(void)closedir(new);
	free(name);
	free(path);
}

static void
test_maildir_that_cannot_be(void **state)
{
	static char message[3 * COPY_BLOCK];
	struct world *w = *state;
	char *path = xasprintf("%s/a/", w->dir);
	char *file = xasprintf("%s/f", w->dir);
	char *beneath = xasprintf("%s/no/a/", w->dir);
	char *in_file = xasprintf("%s/f/", w->dir), *tmp;

	write_file(file, "", 0);
	assert_int_equal(deliver_into(w, in_file, "a\n"), OUTCOME_DEFER);
	assert_deferred(w, "4.2.0", "cannot use the maildir ");
	assert_non_null(strstr(w->outcome.text, "/f/: Not a directory"));
	assert_int_equal(deliver_into(w, beneath, "a\n"), OUTCOME_DEFER);
	memset(message, 'x', sizeof(message) - 1);
	w->room = COPY_BLOCK;
	assert_int_equal(deliver_into(w, path, message), OUTCOME_DEFER);
	assert_deferred(w, "4.2.2", "mailbox is full");
	tmp = xasprintf("%s/tmp", path);
	assert_int_equal(rmdir(tmp), 0); /* there is nothing in it */
	free(tmp);
	free(in_file);
	free(beneath);
	free(file);
	free(path);
}

static void
test_extension(void **state)
{
	static const struct {
		const char *given, *taken;
	} cases[] = {{NULL, ""}, {"", ""}, {"Lists", "lists"},
	    {"a+b=c-d_e.f", "a+b=c-d_e.f"}, {"../x", ""}, {".x", ""},
	    {"a/b", ""}, {"a b", ""}, {"a\nb", ""},
	    {"0123456789012345678901234567890",
		"0123456789012345678901234567890"},
	    {"012345678901234567890123456789012", ""}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct delivery d = {0};

		take_extension(&d, cases[i].given);
		assert_string_equal(d.extension, cases[i].taken);
	}
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    EACH(test_first_message),
	    EACH(test_null_sender),
	    EACH(test_hostile_sender),
	    EACH(test_quoting),
	    EACH(test_quoting_across_blocks),
	    EACH(test_marks_alone),
	    EACH(test_nul_and_8bit),
	    EACH(test_torn_end_L_77),
	    EACH(test_unreadable_mailbox),
	    EACH(test_missing_where_it_may_not_be_made),
	    EACH(test_mailbox_of_wrong_mode),
	    EACH(test_no_plain_file),
	    EACH(test_flock_held_L_78),
	    EACH(test_fcntl_held_L_78),
	    EACH(test_dotlock),
	    EACH(test_dotlock_is_directory),
	    EACH(test_dotlock_of_become),
	    EACH(test_file_size_limit),
	    EACH(test_message_shorter_than_said),
	    EACH(test_message_is_no_file),
	    EACH(test_maildir),
	    EACH(test_maildir_that_cannot_be),
	    EACH(test_extension),
	};

	return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
