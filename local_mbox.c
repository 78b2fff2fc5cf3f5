/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_mbox.c - delivery to a mailbox that is one file (RFC 4155).
 *
 * Runs in:   dma-local, as the recipient, his dotlock in the mail directory
 *            made by dma-become; elsewhere he locks for himself.
 * Trusts:    the kernel. Distrusts: its job, the message, the mailbox.
 * Promises:  a message is in the mailbox whole and on stable storage before
 *            SENT is said, and after anything else the mailbox ends where it
 *            ended before.
 */
#include "local_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dotlock.h"
#include "util.h"

/* A mailbox, and how it is locked. */
struct mbox {
	const char *path;
	char *lock_path;
	enum mbox_lock how;
};

/* One append, taken back as a whole if it cannot be finished. */
struct append {
	int fd;
	off_t end;  /* of the mailbox before us */
	bool blind; /* we may write it, but not read it */
	struct copy copy;
};

static const char locked[] = "the mailbox is locked by another program";
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

/* One byte asks dma-become, who has one for an answer; -1: it has gone. */
static int
ask_for_lock(void)
{
	unsigned char byte = 0;

	if (write_full(LOCK_FD, &byte, 1) < 0)
		return -1;
	return read(LOCK_FD, &byte, 1) == 1 ? byte : -1;
}

void
mbox_release(struct local *l)
{
	if (l->have_lock)
		(void)ask_for_lock();
	l->have_lock = false;
}

void
mbox_give_way(struct local *l)
{
	if (!l->have_lock || now_ms() - l->locked_at < MBOX_IDLE_MS)
		return;
	mbox_release(l);
	(void)poll(NULL, 0, 2 * MBOX_POLL_MAX_MS); /* who waits looks */
}

/*
 * The dotlock in the mail directory.  What cannot be had is not asked for
 * again by this process: each time may take as long.
 */
static int
take_spool_lock(const struct delivery *d, const struct mbox *m)
{
	struct local *l = d->local;

	if (!l->have_lock && l->lock_status == 0) {
		l->lock_status = ask_for_lock();
		l->have_lock = l->lock_status == 0;
		l->locked_at = now_ms();
	}
	if (l->have_lock) { /* kept young */
		(void)utimensat(
		    AT_FDCWD, m->lock_path, NULL, AT_SYMLINK_NOFOLLOW);
		return 0;
	}
	if (l->lock_status == BECOME_LOCKED)
		return local_defer(d->outcome, "4.2.0",
		    "the mailbox is locked by another program, or the disk is "
		    "too full to make it or its lock",
		    0);
	if (l->lock_status != BECOME_UNUSABLE)
		return local_defer(
		    d->outcome, "4.3.0", "cannot lock the mailbox", 0);
	outcome_set(d->outcome, OUTCOME_DEFER, "4.2.0",
	    "the mailbox %s is not usable: it must be a file with one link "
	    "that belongs to its user (root's: chmod 660, chgrp %s), where "
	    "others cannot replace it",
	    m->path, DMA_GROUP);
	return -1;
}

/* ---- The mailbox ---- */

void
mbox_sync_directory(const char *path)
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
open_mailbox(const struct mbox *m, bool *blind)
{
	const int flags =
	    O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open(m->path, O_RDWR | flags);

	*blind = fd < 0 && errno == EACCES;
	if (*blind)
		return open(m->path, O_WRONLY | flags);
	if (fd < 0 && errno == ENOENT && m->how != MBOX_LOCK_SPOOL) {
		fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
		if (fd >= 0)
			mbox_sync_directory(m->path);
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
lock_mailbox(
    const struct mbox *m, struct append *a, int64_t deadline, struct outcome *o)
{
	long ms = MBOX_POLL_FIRST_MS;
	struct stat st;

	do {
		if ((a->fd = open_mailbox(m, &a->blind)) < 0) {
			/* Where the rules are known, say the cure as well. */
			bool known =
			    errno == EACCES && m->how == MBOX_LOCK_SPOOL;

			outcome_set(o, OUTCOME_DEFER, "4.2.0",
			    "cannot open the mailbox %.200s: %s%s", m->path,
			    strerror(errno),
			    known ? " (chmod 660, chgrp " DMA_GROUP ")" : "");
			return -1;
		}
		if (fstat(a->fd, &st) < 0 || !S_ISREG(st.st_mode) ||
		    st.st_nlink != 1) {
			(void)close(a->fd);
			outcome_set(o, OUTCOME_DEFER, "4.2.0",
			    "the mailbox %.200s is not a file with one name",
			    m->path);
			return -1;
		}
		if (try_lock(a->fd) && still_there(m->path, &st) &&
		    fstat(a->fd, &st) == 0) {
			a->end = st.st_size;
			return 0;
		}
		(void)close(a->fd);
	} while (dotlock_pause(deadline, &ms) == 0);
	return local_defer(o, "4.2.0", locked, 0);
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
		a->copy.error = errno;
	if (tail[1] != '\n')
		copy_put(&a->copy, "\n\n", 2);
	else if (tail[0] != '\n')
		copy_put(&a->copy, "\n", 1);
}

/* ---- One job ---- */

void
mbox_write_failed(struct outcome *o, int error)
{
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		local_defer(o, "4.2.2", "the mailbox is full", error);
	else
		local_defer(o, "4.3.0", "cannot write the mailbox", error);
}

/* With the mailbox locked: append, or leave it as it was. */
static void
append_message(const struct delivery *d, const struct mbox *m, struct append *a)
{
	struct copy *c = &a->copy;
	int unread;

	if (!local_is_awaited(d)) /* the lock took its time */
		return;
	heal_end(a);
	copy_put_lines(c, d, true);
	unread = copy_put_message(c, d->job);
	copy_put(c, "\n", 1); /* mbox: an empty line after each message */
	copy_flush(c);
	if (c->error == 0 && unread == 0 && fsync(a->fd) < 0)
		c->error = errno;
	if (c->error != 0)
		mbox_write_failed(d->outcome, c->error);
	else if (unread != 0)
		local_defer(
		    d->outcome, "4.3.0", "cannot read the message", unread);
	else {
		bool own = m->how != MBOX_LOCK_IF_MAY;

		local_sent(
		    d->outcome, own ? "mailbox" : "file", own ? "" : m->path);
		return;
	}
	if (ftruncate(a->fd, a->end) < 0 || fsync(a->fd) < 0)
		local_defer(d->outcome, "4.3.0",
		    "part of the message stays in the mailbox, which cannot "
		    "be taken back",
		    errno);
}

static void
deliver_locked(const struct delivery *d, const struct mbox *m, int64_t deadline)
{
	struct append *a = xcalloc(1, sizeof(*a));

	a->copy.write = copy_to_file;
	a->copy.to = &a->fd;
	a->copy.quote = true;
	if (lock_mailbox(m, a, deadline, d->outcome) == 0) {
		append_message(d, m, a);
		(void)close(a->fd); /* with it both locks */
	}
	buf_free(&a->copy.waiting);
	free(a);
}

/* Under a dotlock of ours, where one can be made. */
static void
deliver_alone(const struct delivery *d, const struct mbox *m, int64_t deadline)
{
	struct dotlock lock = {.dir = AT_FDCWD, .name = m->lock_path};

	if (dotlock_take(&lock, (uid_t)-1, (gid_t)-1, deadline) == 0) {
		deliver_locked(d, m, deadline);
		dotlock_drop(&lock);
	} else if (errno == EAGAIN)
		local_defer(d->outcome, "4.2.0", locked, 0);
	else if (m->how == MBOX_LOCK_IF_MAY &&
		 (errno == EACCES || errno == EPERM || errno == EROFS))
		deliver_locked(d, m, deadline); /* the other locks must do */
	else
		outcome_set(d->outcome, OUTCOME_DEFER, "4.2.0",
		    "cannot lock the mailbox %.200s: %s", m->path,
		    strerror(errno));
}

void
mbox_deliver(const struct delivery *d, const char *path, enum mbox_lock lock)
{
	const int64_t deadline = now_ms() + d->local->wait_ms;
	struct mbox m = {path, xasprintf("%s.lock", path), lock};

	if (strcmp(path, "/dev/null") == 0)
		local_sent(d->outcome, "file", path);
	else if (lock != MBOX_LOCK_SPOOL)
		deliver_alone(d, &m, deadline);
	else if (take_spool_lock(d, &m) == 0)
		deliver_locked(d, &m, deadline);
	free(m.lock_path);
}
