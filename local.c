/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local.c - delivery to one user's mailbox, an mbox file (RFC 4155).
 *
 * Runs in:   dma-local, as the recipient, his dotlock held by dma-become; in
 *            a private instance as its user, who locks for himself.
 * Trusts:    the kernel. Distrusts: its job, the message, the mailbox.
 * Promises:  a message is in the mailbox whole and on stable storage before
 *            SENT is said, and after anything else the mailbox ends where it
 *            ended before.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "dotlock.h"
#include "limits.h"
#include "process.h"
#include "util.h"

#define BLOCK    (64 * 1024)
#define FROM_LEN (sizeof("From ") - 1)

/* The mailbox of this process, and the agent around it. */
struct local {
	const char *user;
	char *path, *lock; /* the mailbox, its dotlock */
	bool own_lock;     /* a private instance: both are ours to make */
	int64_t wait_ms;   /* for locks */
	int64_t idle_ms;   /* how long the runner may yet be silent, in all */
	struct buf out;
	char record[RECORD_MAX];
};

/* One append, taken back as a whole if it cannot be finished. */
struct append {
	int fd;
	off_t end;          /* of the mailbox before us */
	bool blind;         /* we may write it, but not read it */
	bool line_begins;   /* nothing or only '>' of this line was put */
	int error;          /* the first errno; then nothing more is written */
	struct buf waiting; /* to be written */
	char data[BLOCK];   /* of the message */
};

/* ---- Writing ---- */

static void
flush(struct append *a)
{
	if (a->error == 0 &&
	    write_full(a->fd, a->waiting.data, a->waiting.len) < 0)
		a->error = errno;
	buf_reset(&a->waiting);
}

static void
put(struct append *a, const char *data, size_t len)
{
	(void)buf_put(&a->waiting, data, len);
	if (a->waiting.len >= BLOCK)
		flush(a);
}

/* A line of ours: nothing in the word can end it or divide the word. */
static void
put_line(
    struct append *a, const char *before, const char *word, const char *after)
{
	put(a, before, strlen(before));
	for (; *word != '\0'; word++) {
		bool bad = (unsigned char)*word <= ' ' || *word == 0x7f;

		put(a, bad ? "_" : word, 1);
	}
	put(a, after, strlen(after));
}

static void
put_envelope(
    struct append *a, const char *user, const char *sender, const char *orig)
{
	char date[64] = "";
	time_t now = time(NULL);
	struct tm tm = {0};

	(void)localtime_r(&now, &tm);
	(void)strftime(date, sizeof(date), " %a %b %e %H:%M:%S %Y\n", &tm);
	put_line(
	    a, "From ", sender[0] == '\0' ? "MAILER-DAEMON" : sender, date);
	put_line(a, "Return-Path: <", sender, ">\n");
	if (orig != NULL)
		put_line(a, "X-Original-To: ", orig, "\n");
	put_line(a, "Delivered-To: ", user, "\n");
}

/* True if data may be, or be part of, "From ". */
static bool
begins_from(const char *data, size_t len)
{
	return memcmp(data, "From ", len < FROM_LEN ? len : FROM_LEN) == 0;
}

/*
 * Put the message's next bytes, with '>' before what a reader would take for
 * a From_, whatever number of '>' it has already.  Returns how many were put:
 * unless they are the last, a few that may be part of "From " are left.
 */
static size_t
put_quoted(struct append *a, const char *data, size_t len, bool last)
{
	size_t n, left;

	for (left = len; left > 0; data += n, left -= n) {
		const char *newline;

		n = 1;
		if (a->line_begins && *data == '>') {
			put(a, data, n);
			continue;
		}
		newline = memchr(data, '\n', left);
		n = newline != NULL ? (size_t)(newline - data) + 1 : left;
		if (a->line_begins && begins_from(data, n)) {
			if (n < FROM_LEN && !last)
				break;
			if (n >= FROM_LEN)
				put(a, ">", 1);
		}
		put(a, data, n);
		a->line_begins = newline != NULL;
	}
	return len - left;
}

/* The job's message; returns 0 or the errno of reading it. */
static int
put_message(struct append *a, const struct job *j)
{
	uint64_t left = j->length, offset = j->offset;
	char end = '\n';

	a->line_begins = true;
	while (left > 0 && a->error == 0) {
		size_t n = left < BLOCK ? (size_t)left : BLOCK;
		ssize_t got = pread_full(j->fd, a->data, n, (off_t)offset);

		if (got < 0)
			return errno;
		if ((size_t)got < n)
			return EIO; /* shorter than it was */
		n = put_quoted(a, a->data, n, n == left);
		end = a->data[n - 1];
		left -= n;
		offset += n;
	}
	if (end != '\n')
		put(a, "\n", 1);
	put(a, "\n", 1); /* mbox: an empty line after each message */
	flush(a);
	return 0;
}

/* ---- Locks ---- */

static const char locked[] = "the mailbox is locked by another program";

/* All that goes wrong here is tried again.  Returns -1. */
static int
defer(struct outcome *o, const char *dsn, const char *what, int error)
{
	outcome_set(o, OUTCOME_DEFER, dsn, "%s%s%s", what,
	    error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
	return -1;
}

/*
 * Try both kinds, since readers use one or the other; a file system without
 * one of them is no reason to fail.  Never hold one while waiting for the
 * other: somebody may take them in another order.
 */
static bool
try_lock(int fd)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_SETLK, &whole) < 0 &&
	    (errno == EAGAIN || errno == EACCES))
		return false;
	if (flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return true;
	whole.l_type = F_UNLCK;
	(void)fcntl(fd, F_SETLK, &whole);
	return false;
}

/* ---- The mailbox ---- */

/* Its entry must survive a power cut as well. */
static void
sync_directory(const char *path)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		(void)fsync(fd);
		(void)close(fd);
	}
	free(copy);
}

/*
 * Open the mailbox, made where it is missing and we may.  One that we may
 * write but not read (root's, 0620, of an older dma) is good enough.
 */
static int
open_mailbox(const struct local *l, bool *blind)
{
	const int flags =
	    O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(l->path, O_RDWR | flags);

	*blind = fd < 0 && errno == EACCES;
	if (*blind)
		return open(l->path, O_WRONLY | flags);
	if (fd < 0 && errno == ENOENT && l->own_lock) {
		fd = open(l->path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
		if (fd >= 0)
			sync_directory(l->path);
	}
	return fd;
}

/* What it is called still is what we opened (V-29, V-30). */
static bool
still_there(const char *path, const struct stat *st)
{
	struct stat named;

	return lstat(path, &named) == 0 && named.st_dev == st->st_dev &&
	       named.st_ino == st->st_ino;
}

/* Open and lock.  Returns 0, or -1 with the outcome set and nothing open. */
static int
lock_mailbox(const struct local *l, struct append *a, int64_t deadline,
    struct outcome *o)
{
	long ms = MBOX_POLL_FIRST_MS;
	struct stat st;

	do {
		if ((a->fd = open_mailbox(l, &a->blind)) < 0) {
			/* Where the rules are known, say the cure as well. */
			bool known = errno == EACCES && !l->own_lock;

			outcome_set(o, OUTCOME_DEFER, "4.2.0",
			    "cannot open the mailbox: %s%s", strerror(errno),
			    known ? " (chmod 660, chgrp " DMA_GROUP ")" : "");
			return -1;
		}
		if (fstat(a->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    st.st_nlink != 1) {
			(void)close(a->fd);
			return defer(o, "4.2.0",
			    "the mailbox is not a file with one name", 0);
		}
		if (try_lock(a->fd) && still_there(l->path, &st) &&
		    fstat(a->fd, &st) == 0) {
			a->end = st.st_size;
			return 0;
		}
		(void)close(a->fd);
	} while (dotlock_pause(deadline, &ms) == 0);
	return defer(o, "4.2.0", locked, 0);
}

/*
 * End what a crash of anybody left without its end, with the empty line that
 * readers want before a From_.
 */
static void
heal_end(struct append *a)
{
	char tail[2] = {'\n', '\n'};
	size_t n = a->end < 2 ? (size_t)a->end : 2;

	if (n == 0)
		return;
	if (a->blind)
		tail[1] = 'x'; /* too many empty lines do no harm */
	else if (pread_full(a->fd, tail + 2 - n, n, a->end - (off_t)n) < 0)
		a->error = errno;
	if (tail[1] != '\n')
		put(a, "\n\n", 2);
	else if (tail[0] != '\n')
		put(a, "\n", 1);
}

/* ---- One job ---- */

static void
set_write_failure(struct outcome *o, int error)
{
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		defer(o, "4.2.2", "the mailbox is full", error);
	else
		defer(o, "4.3.0", "cannot write the mailbox", error);
}

/* With the mailbox locked: append, or leave it as it was. */
static void
append_message(const struct local *l, struct append *a, const struct job *j,
    struct outcome *o)
{
	int unread;

	heal_end(a);
	put_envelope(a, l->user, j->sender, j->recipients[0].orig);
	unread = put_message(a, j);
	if (a->error == 0 && unread == 0 && fsync(a->fd) < 0)
		a->error = errno;
	if (a->error != 0)
		set_write_failure(o, a->error);
	else if (unread != 0)
		defer(o, "4.3.0", "cannot read the message", unread);
	else {
		outcome_set(o, OUTCOME_SENT, "2.0.0", "delivered to mailbox");
		return;
	}
	if (ftruncate(a->fd, a->end) < 0 || fsync(a->fd) < 0)
		defer(o, "4.3.0",
		    "part of the message stays in the mailbox, which cannot "
		    "be taken back",
		    errno);
}

static void
deliver_locked(const struct local *l, const struct job *j, int64_t deadline,
    struct outcome *o)
{
	struct append *a = xcalloc(1, sizeof(*a));

	if (lock_mailbox(l, a, deadline, o) == 0) {
		append_message(l, a, j, o);
		(void)close(a->fd); /* with it both locks */
	}
	buf_free(&a->waiting);
	free(a);
}

/* Under a dotlock: ours to make, or dma-become's, to be kept young. */
static void
deliver(const struct local *l, const struct job *j, struct outcome *o)
{
	const int64_t deadline = now_ms() + l->wait_ms;
	struct dotlock lock = {.dir = AT_FDCWD, .name = l->lock};
	struct stat st;

	if (j->fd < 0 || fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		defer(o, "4.3.0", "the job came without its message", 0);
	} else if (!l->own_lock) {
		(void)utimensat(AT_FDCWD, l->lock, NULL, AT_SYMLINK_NOFOLLOW);
		deliver_locked(l, j, deadline, o);
	} else if (dotlock_take(&lock, (uid_t)-1, (gid_t)-1, deadline) == 0) {
		deliver_locked(l, j, deadline, o);
		dotlock_drop(&lock);
	} else if (errno == EAGAIN)
		defer(o, "4.2.0", locked, 0);
	else
		defer(o, "4.2.0", "cannot lock the mailbox", errno);
}

/* ---- The runner ---- */

/* Send what an encoder has put; a runner that is gone needs no answer. */
static void
send_record(struct local *l, int encoded)
{
	if (encoded != 0 || job_send(JOB_FD, l->out.data, l->out.len, -1) < 0)
		exit(EX_IOERR);
	buf_reset(&l->out);
}

static void
do_job(struct local *l, const struct job *j)
{
	struct outcome o = {0}, other = {0};
	int64_t begun = now_ms();

	deliver(l, j, &o);
	o.ms_transfer = (uint32_t)(now_ms() - begun);
	(void)compat_strlcpy(o.relay, "local", sizeof(o.relay));
	send_record(
	    l, job_put_result(&l->out, j->number, j->recipients[0].number, &o));
	defer(&other, "4.3.0", "a mailbox takes one recipient at a time", 0);
	for (size_t i = 1; i < j->nrecipients; i++)
		send_record(l, job_put_result(&l->out, j->number,
				   j->recipients[i].number, &other));
	send_record(l, job_put_done(&l->out, j->number));
}

/* Wait for the runner, of whose time for silence this takes. */
static void
wait_for_record(struct local *l)
{
	struct pollfd p = {.fd = JOB_FD, .events = POLLIN};

	while (l->idle_ms > 0) {
		int64_t begun = now_ms();
		int ready = poll(&p, 1, (int)l->idle_ms);

		l->idle_ms -= now_ms() - begun;
		if (ready > 0)
			return;
	}
	/*
	 * From now on the runner's sends fail, so that it knows what was not
	 * tried, and what it had sent before is still done.
	 */
	(void)shutdown(JOB_FD, SHUT_RD);
}

/* The next record's length, 0 when there are no more. */
static size_t
next_record(struct local *l, int *fd)
{
	ssize_t n;

	wait_for_record(l);
	n = job_recv(JOB_FD, l->record, sizeof(l->record), fd);
	if (n < 0)
		exit(EX_IOERR);
	return (size_t)n;
}

/* The policy of this agent: it must be for our user. */
static void
take_hop(struct local *l)
{
	struct hop hop;
	size_t n;
	int fd;

	if ((n = next_record(l, &fd)) == 0)
		exit(EX_OK);
	if (fd >= 0 || job_get_hop(&hop, l->record, n) < 0)
		exit(EX_PROTOCOL);
	if (hop.kind != HOP_LOCAL || ascii_strcasecmp(hop.host, l->user) != 0)
		exit(EX_PROTOCOL);
	l->wait_ms = (int64_t)MBOX_LOCK_MS * hop.timeouts / 100;
	hop_free(&hop);
}

/*
 * Jobs until the runner has no more.  Somebody who stops the service does
 * not stop us between the first byte and its record.
 */
static void
do_jobs(struct local *l)
{
	struct job j;
	sigset_t polite;
	size_t n;
	int fd;

	(void)sigemptyset(&polite);
	(void)sigaddset(&polite, SIGHUP);
	(void)sigaddset(&polite, SIGINT);
	(void)sigaddset(&polite, SIGTERM);
	while ((n = next_record(l, &fd)) > 0) {
		if (job_get_job(&j, l->record, n) < 0)
			exit(EX_PROTOCOL);
		j.fd = fd;
		(void)sigprocmask(SIG_BLOCK, &polite, NULL);
		do_job(l, &j);
		(void)sigprocmask(SIG_UNBLOCK, &polite, NULL);
		job_free(&j);
	}
}

/* Blocking, whatever the runner's side is, but never for ever. */
static int
prepare_socket(void)
{
	const struct timeval idle = {MBOX_IDLE_MS / 1000, 0};
	const socklen_t len = sizeof(idle);
	int flags = fcntl(JOB_FD, F_GETFL);

	if (flags < 0 || fcntl(JOB_FD, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
	    setsockopt(JOB_FD, SOL_SOCKET, SO_RCVTIMEO, &idle, len) < 0)
		return -1;
	return setsockopt(JOB_FD, SOL_SOCKET, SO_SNDTIMEO, &idle, len);
}

int
main(int argc, char **argv)
{
	struct local *l;

	process_enter(JOB_FD + 1, NULL);
	util_set_name("dma-local");
	if (argc < 2 || argc > 3 || strchr(argv[1], '/') != NULL)
		die(EX_USAGE, "started by dma only: USER [MAILBOX]");
	if (prepare_socket() < 0)
		die(EX_USAGE, "started by dma only, with a job");
	l = xcalloc(1, sizeof(*l));
	l->idle_ms = MBOX_IDLE_MS;
	l->user = argv[1];
	l->own_lock = argc == 3;
	l->path = argc == 3 ? xstrdup(argv[2])
			    : xasprintf("%s/%s", DMA_MAILDIR, l->user);
	l->lock = xasprintf("%s.lock", l->path);
	send_record(l, job_put_signal(&l->out, RECORD_READY));
	take_hop(l);
	do_jobs(l);
	buf_free(&l->out);
	free(l->lock);
	free(l->path);
	free(l);
	return EX_OK;
}
