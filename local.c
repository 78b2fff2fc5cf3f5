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

#define BLOCK (64 * 1024)

/* The mailbox of this process, and the agent around it. */
struct local {
	const char *user;
	char *path, *lock; /* the mailbox, its dotlock */
	bool own_lock;     /* a private instance: both are ours to make */
	int64_t wait_ms;   /* for locks */
	struct buf out;
	char record[RECORD_MAX];
};

/* Where a line may still turn out to be "From " after any number of '>'. */
struct quoter {
	bool undecided;
	uint64_t marks; /* '>' held back */
	size_t matched; /* bytes of "From " held back */
};

/* One append: written through a block, taken back as a whole. */
struct append {
	int fd;
	off_t end;  /* of the mailbox before us */
	bool blind; /* we may write it, but not read it */
	int error;  /* the first errno; then nothing more is written */
	char last;  /* byte put */
	struct quoter quoter;
	size_t len;
	char block[BLOCK]; /* on its way to the mailbox */
	char data[BLOCK];  /* of the message */
};

static const char from_word[] = "From ";
#define FROM_LEN (sizeof(from_word) - 1)

/* ---- Writing ---- */

static void
flush(struct append *a)
{
	if (a->error == 0 && write_full(a->fd, a->block, a->len) < 0)
		a->error = errno;
	a->len = 0;
}

static void
put(struct append *a, const char *data, size_t len)
{
	if (len > 0)
		a->last = data[len - 1];
	while (len > 0) {
		size_t n = BLOCK - a->len < len ? BLOCK - a->len : len;

		memcpy(a->block + a->len, data, n);
		a->len += n;
		data += n;
		len -= n;
		if (a->len == BLOCK)
			flush(a);
	}
}

static void
put_text(struct append *a, const char *s)
{
	put(a, s, strlen(s));
}

/* Part of a line of ours: nothing in it can end the line or divide a word. */
static void
put_word(struct append *a, const char *s)
{
	for (; *s != '\0'; s++) {
		bool bad = (unsigned char)*s <= ' ' || *s == 0x7f;

		put(a, bad ? "_" : s, 1);
	}
}

static void
put_field(struct append *a, const char *name, const char *open,
    const char *value, const char *close)
{
	put_text(a, name);
	put_text(a, open);
	put_word(a, value);
	put_text(a, close);
	put_text(a, "\n");
}

static void
put_envelope(
    struct append *a, const char *user, const char *sender, const char *orig)
{
	char date[64];
	time_t now = time(NULL);
	struct tm tm;

	if (localtime_r(&now, &tm) == NULL ||
	    strftime(date, sizeof(date), " %a %b %e %H:%M:%S %Y\n", &tm) == 0)
		(void)compat_strlcpy(
		    date, " Thu Jan  1 00:00:00 1970\n", sizeof(date));
	put_text(a, from_word);
	put_word(a, sender[0] == '\0' ? "MAILER-DAEMON" : sender);
	put_text(a, date);
	put_field(a, "Return-Path: ", "<", sender, ">");
	if (orig != NULL)
		put_field(a, "X-Original-To: ", "", orig, "");
	put_field(a, "Delivered-To: ", "", user, "");
}

/* ---- The text, with '>' before what a reader would take for a From_ ---- */

static void
put_held(struct append *a)
{
	for (; a->quoter.marks > 0; a->quoter.marks--)
		put(a, ">", 1);
	put(a, from_word, a->quoter.matched);
	a->quoter = (struct quoter){0};
}

/* Hold back one byte of a line's beginning; false if it is decided. */
static bool
hold(struct append *a, char c)
{
	struct quoter *q = &a->quoter;

	if (c == '>' && q->matched == 0) {
		q->marks++;
		return true;
	}
	if (c == from_word[q->matched]) {
		if (++q->matched == FROM_LEN) {
			q->marks++;
			put_held(a);
		}
		return true;
	}
	put_held(a);
	return false;
}

static void
begin_line(struct append *a)
{
	a->quoter = (struct quoter){.undecided = true};
}

static void
put_quoted(struct append *a, const char *data, size_t len)
{
	while (len > 0) {
		const char *newline;
		size_t n = 1;

		if (!a->quoter.undecided || !hold(a, *data)) {
			newline = memchr(data, '\n', len);
			n = newline ? (size_t)(newline - data) + 1 : len;
			put(a, data, n);
			if (newline != NULL)
				begin_line(a);
		}
		data += n;
		len -= n;
	}
}

/* The job's message; returns 0 or the errno of reading it. */
static int
put_message(struct append *a, const struct job *j)
{
	uint64_t done = 0;

	begin_line(a);
	while (done < j->length && a->error == 0) {
		uint64_t left = j->length - done;
		size_t want = left < BLOCK ? (size_t)left : BLOCK;
		ssize_t n =
		    pread_full(j->fd, a->data, want, (off_t)(j->offset + done));

		if (n < 0)
			return errno;
		if ((size_t)n < want)
			return EIO; /* shorter than it was */
		put_quoted(a, a->data, want);
		done += want;
	}
	put_held(a);
	if (a->last != '\n')
		put_text(a, "\n");
	put_text(a, "\n"); /* mbox: an empty line after each message */
	flush(a);
	return 0;
}

/* ---- Locks ---- */

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

/* Ours to make, or to keep young where dma-become has made it for us. */
static int
take_dotlock(const struct local *l, struct dotlock *lock, int64_t deadline)
{
	if (l->own_lock)
		return dotlock_take(lock, (uid_t)-1, (gid_t)-1, deadline);
	(void)utimensat(AT_FDCWD, l->lock, NULL, AT_SYMLINK_NOFOLLOW);
	return 0;
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
	int fd = open(l->path, O_RDWR | O_CLOEXEC | flags);

	*blind = fd < 0 && errno == EACCES;
	if (*blind)
		return open(l->path, O_WRONLY | O_CLOEXEC | flags);
	if (fd < 0 && errno == ENOENT && l->own_lock) {
		fd = open(l->path,
		    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0600);
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

/* In the mail directory it is known what a mailbox should be. */
static void
set_open_failure(const struct local *l, struct outcome *o, int error)
{
	bool known = error == EACCES && !l->own_lock;

	outcome_set(o, OUTCOME_DEFER, "4.2.0", "cannot open the mailbox: %s%s",
	    strerror(error), known ? " (chmod 660, chgrp " DMA_GROUP ")" : "");
}

/*
 * Open and lock.  Returns 0, or -1 with the outcome set and nothing open.
 */
static int
lock_mailbox(const struct local *l, struct append *a, int64_t deadline,
    struct outcome *o)
{
	long ms = MBOX_POLL_FIRST_MS;
	struct stat st;

	do {
		if ((a->fd = open_mailbox(l, &a->blind)) < 0) {
			set_open_failure(l, o, errno);
			return -1;
		}
		if (fstat(a->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    st.st_nlink != 1) {
			(void)close(a->fd);
			outcome_set(o, OUTCOME_DEFER, "4.2.0",
			    "the mailbox is not a file with one name");
			return -1;
		}
		if (try_lock(a->fd) && still_there(l->path, &st) &&
		    fstat(a->fd, &st) == 0) {
			a->end = st.st_size;
			return 0;
		}
		(void)close(a->fd);
	} while (dotlock_pause(deadline, &ms) == 0);
	outcome_set(o, OUTCOME_DEFER, "4.2.0",
	    "the mailbox is locked by another program");
	return -1;
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
		put_text(a, "\n\n");
	else if (tail[0] != '\n')
		put_text(a, "\n");
}

/* ---- One job ---- */

static void
set_write_failure(struct outcome *o, int error)
{
	bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;

	outcome_set(o, OUTCOME_DEFER, full ? "4.2.2" : "4.3.0",
	    full ? "the mailbox is full: %s" : "cannot write the mailbox: %s",
	    strerror(error));
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
	if (a->error == 0 && unread == 0) {
		outcome_set(o, OUTCOME_SENT, "2.0.0", "delivered to mailbox");
		return;
	}
	if (a->error != 0)
		set_write_failure(o, a->error);
	else
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "cannot read the message: %s", strerror(unread));
	if (ftruncate(a->fd, a->end) < 0 || fsync(a->fd) < 0)
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "part of the message stays in the mailbox, which cannot "
		    "be taken back: %s",
		    strerror(errno));
}

static void
deliver(const struct local *l, const struct job *j, struct outcome *o)
{
	int64_t deadline = now_ms() + l->wait_ms;
	struct dotlock lock = {.dir = AT_FDCWD, .name = l->lock};
	struct append *a = xcalloc(1, sizeof(*a));
	struct stat st;

	if (j->fd < 0 || fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "the job came without its message");
	} else if (take_dotlock(l, &lock, deadline) < 0) {
		outcome_set(o, OUTCOME_DEFER, "4.2.0",
		    errno == EAGAIN ? "the mailbox is locked by another program"
				    : "cannot lock the mailbox: %s",
		    strerror(errno));
	} else {
		if (lock_mailbox(l, a, deadline, o) == 0) {
			append_message(l, a, j, o);
			(void)close(a->fd); /* with it both locks */
		}
		if (l->own_lock)
			dotlock_drop(&lock);
	}
	free(a);
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
	outcome_set(&other, OUTCOME_DEFER, "4.3.0",
	    "a mailbox takes one recipient at a time");
	for (size_t i = 1; i < j->nrecipients; i++)
		send_record(l, job_put_result(&l->out, j->number,
				   j->recipients[i].number, &other));
	send_record(l, job_put_done(&l->out, j->number));
}

/* The next record's length, 0 when there are no more. */
static size_t
next_record(struct local *l, int *fd)
{
	ssize_t n = job_recv(JOB_FD, l->record, sizeof(l->record), fd);

	/*
	 * Idle too long: from now on the runner's sends fail, so that it knows
	 * what was not tried, and what it had sent before is still done.
	 */
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
		(void)shutdown(JOB_FD, SHUT_RD);
		n = job_recv(JOB_FD, l->record, sizeof(l->record), fd);
	}
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
	sigset_t polite, none;
	size_t n;
	int fd;

	(void)sigemptyset(&none);
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
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		job_free(&j);
	}
}

/* Blocking, whatever the runner's side is, but never for ever. */
static int
prepare_socket(void)
{
	const struct timeval idle = {MBOX_IDLE_MS / 1000, 0};
	int flags = fcntl(JOB_FD, F_GETFL);

	if (flags < 0 || fcntl(JOB_FD, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
	    setsockopt(JOB_FD, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle)) <
		0)
		return -1;
	return setsockopt(JOB_FD, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof(idle));
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
	l->user = argv[1];
	l->own_lock = argc == 3;
	l->path = argc == 3 ? xstrdup(argv[2])
			    : xasprintf("%s/%s", DMA_MAILDIR, l->user);
	l->lock = xasprintf("%s.lock", l->path);
	send_record(l, job_put_signal(&l->out, RECORD_READY));
	take_hop(l);
	do_jobs(l);
	return EX_OK;
}
