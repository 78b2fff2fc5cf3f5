/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_file.c - one message's queue file: locked, read, marked, removed.
 *
 * Runs in:   dma, as whoever it is.
 * Distrusts: what lies under the name: its type, owner, mode, links, bytes.
 * Promises:  a message is removed only when every recipient is settled; what
 *            does not decode is kept under a name that is never delivered.
 */
#include "spool.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define READ_FIRST  4096        /* bytes; most envelopes are smaller */
#define READ_GROWTH 20          /* so that decoding again stays linear */
#define PIECE_SIZE  (64 * 1024) /* bytes */
#define OPEN_FLAGS  (O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define ASIDE_MAX   10 /* bad.<id>, bad.<id>.1 ... */

/* True if fd is open on the file that st describes; else errno, or ENOENT. */
static bool
is_file(int fd, const struct stat *st)
{
	struct stat now;

	if (fstat(fd, &now) == -1)
		return false;
	errno = ENOENT;
	return now.st_dev == st->st_dev && now.st_ino == st->st_ino;
}

/* True if the name still means the file open as fd; *st gets its state. */
static bool
still_named(const struct spool *s, const char *name, int fd, struct stat *st)
{
	return fstatat(s->dirfd, name, st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       is_file(fd, st);
}

bool
spool_remove_stale(const struct spool *s, const char *name, int64_t age)
{
	int fd = openat(s->dirfd, name, O_RDONLY | OPEN_FLAGS);
	struct stat st;
	bool gone;

	if (fd == -1)
		return errno == ENOENT;
	gone = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (s->all || st.st_uid == s->uid) &&
	       time(NULL) - st.st_mtime >= age &&
	       flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	       still_named(s, name, fd, &st) &&
	       unlinkat(s->dirfd, name, 0) == 0;
	(void)close(fd);
	return gone;
}

/* ---- Opening ---- */

/*
 * Put a file aside under a name that is no queue id, without replacing one
 * that was put there before.
 */
static int
put_aside(const struct spool *s, const char *id, const char *prefix)
{
	char name[QUEUE_ID_MAX + 16];
	unsigned n;

	(void)snprintf(name, sizeof(name), "%s%s", prefix, id);
	for (n = 1; compat_rename_noreplace(s->dirfd, id, name) == -1; n++) {
		if (errno != EEXIST || n == ASIDE_MAX)
			return -1;
		(void)snprintf(name, sizeof(name), "%s%s.%u", prefix, id, n);
	}
	return 0;
}

static void
quarantine(const struct spool *s, const char *id, const char *what)
{
	bool aside = put_aside(s, id, "bad.") == 0;

	if (aside)
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; kept as bad.%s, not delivered", id, what, id);
	else
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; not delivered; cannot rename it: %s", id, what,
		    strerror(errno));
	(void)spool_sync(s);
	errno = aside ? EBADMSG : EIO; /* it is still in the queue */
}

/* Returns 0, or -1 with errno; EBADMSG: no file that we would have made. */
static int
open_name(
    const struct spool *s, const char *id, int flags, struct spool_file *f)
{
	*f = (struct spool_file){.fd = -1};
	errno = ENOENT;
	if (envelope_id_valid(id))
		f->fd = openat(s->dirfd, id, flags | OPEN_FLAGS);
	if (f->fd != -1)
		return 0;
	/* A link, a directory, a socket. */
	if (errno == ELOOP || errno == EMLINK || errno == EISDIR ||
	    errno == ENXIO)
		errno = EBADMSG;
	return -1;
}

static int
check_regular(const struct spool *s, struct spool_file *f)
{
	struct stat st;

	if (fstat(f->fd, &st) == -1)
		return -1;
	f->owner = st.st_uid;
	f->size = (uint64_t)st.st_size;
	if (st.st_uid != s->uid && !s->all)
		errno = EPERM;
	else if (!S_ISREG(st.st_mode) || (st.st_mode & 07117) != 0)
		errno = EBADMSG;
	else
		return 0;
	return -1;
}

/*
 * Where rename replaces, the commit is a link and an unlink; one that died
 * in between left the draft's name as well.  Any other second name was made
 * by somebody else.
 */
static bool
drop_second_name(const struct spool *s, const char *id, int fd)
{
	char draft[QUEUE_ID_MAX + 8];
	struct stat st;

	(void)snprintf(draft, sizeof(draft), "tmp.%s", id);
	return still_named(s, draft, fd, &st) && st.st_nlink == 2 &&
	       unlinkat(s->dirfd, draft, 0) == 0;
}

/*
 * The lock is on what we opened: between open and lock its holder may have
 * removed it, or put another file under the name.
 */
static int
lock_file(const struct spool *s, const char *id, struct spool_file *f)
{
	struct stat st;

	if (flock(f->fd, LOCK_EX | LOCK_NB) == -1)
		return -1;
	f->locked = true;
	if (!still_named(s, id, f->fd, &st))
		return -1;
	f->size = (uint64_t)st.st_size;
	if (st.st_nlink == 1 || drop_second_name(s, id, f->fd))
		return 0;
	errno = EBADMSG;
	return -1;
}

/* Read on until the envelope's end is in what was read. */
static int
read_envelope(struct spool_file *f)
{
	for (size_t size = READ_FIRST; size <= ENVELOPE_MAX;
	     size *= READ_GROWTH) {
		/* No more than there is: a second read would ask for the end. */
		size_t want = f->size < size ? (size_t)f->size : size;
		char *text = xmalloc(size);
		ssize_t n = pread_full(f->fd, text, want, 0);
		int status = -1;

		if (n != -1)
			status = envelope_decode(&f->env, text, (size_t)n);
		free(text);
		if (n == -1 || status == 0 || errno != EAGAIN)
			return status;
		if ((size_t)n < size)
			break;
	}
	errno = EBADMSG;
	return -1;
}

/*
 * The uid on record is the owner's.  Root's messages are the exception: they
 * are made by the spool's user, who is then the one who works on them.
 */
static bool
uid_may_be(const struct spool *s, uid_t recorded, uid_t owner)
{
	return recorded == owner || (recorded == 0 && owner == s->uid);
}

static int
load_file(const struct spool *s, const char *id, struct spool_file *f)
{
	if (read_envelope(f) == -1)
		return -1;
	if (strcmp(f->env.id, id) == 0 &&
	    f->size >= envelope_message_end(&f->env) &&
	    uid_may_be(s, f->env.uid, f->owner))
		return 0;
	errno = EBADMSG;
	return -1;
}

int
spool_file_open(
    const struct spool *s, const char *id, bool lock, struct spool_file *f)
{
	if (open_name(s, id, lock ? O_RDWR : O_RDONLY, f) == 0 &&
	    check_regular(s, f) == 0 && (!lock || lock_file(s, id, f) == 0) &&
	    load_file(s, id, f) == 0)
		return 0;
	if (lock && errno == EBADMSG)
		quarantine(s, id, "does not decode");
	spool_file_close(f);
	return -1;
}

void
spool_file_close(struct spool_file *f)
{
	int saved = errno;

	if (f->fd != -1)
		(void)close(f->fd);
	envelope_free(&f->env);
	*f = (struct spool_file){.fd = -1};
	errno = saved;
}

int
spool_file_look(const struct spool *s, const char *id, struct envelope *state,
    struct spool_file *f)
{
	char text[ENVELOPE_STATE_END];
	ssize_t n;

	if (open_name(s, id, O_RDONLY, f) == -1)
		return -1;
	n = pread_full(f->fd, text, sizeof(text), 0);
	if (n == -1 && (errno == ESPIPE || errno == EISDIR))
		errno = EBADMSG;
	if (n != -1 && envelope_decode_state(state, text, (size_t)n) == 0)
		return 0;
	spool_file_close(f);
	return -1;
}

int
spool_file_load(const struct spool *s, const char *id, struct spool_file *f)
{
	if (check_regular(s, f) == 0 && load_file(s, id, f) == 0)
		return 0;
	spool_file_close(f);
	return -1;
}

int
spool_peek(
    const struct spool *s, const char *id, struct envelope *state, uid_t *owner)
{
	struct spool_file f;
	int status = spool_file_look(s, id, state, &f);

	if (status == 0)
		status = check_regular(s, &f);
	*owner = f.owner;
	spool_file_close(&f);
	return status;
}

int
spool_file_reopen(const struct spool *s, const struct spool_file *f)
{
	int fd = openat(s->dirfd, f->env.id, O_RDONLY | OPEN_FLAGS);
	struct stat st;

	if (fd == -1 || (fstat(fd, &st) == 0 && is_file(f->fd, &st)))
		return fd;
	(void)close(fd);
	errno = ENOENT;
	return -1;
}

/* ---- Working on an open one ---- */

bool
spool_file_busy(const struct spool_file *f)
{
	if (f->locked)
		return false;
	if (flock(f->fd, LOCK_SH | LOCK_NB) == -1)
		return errno == EWOULDBLOCK;
	(void)flock(f->fd, LOCK_UN);
	return false;
}

int
spool_file_read(const struct spool_file *f,
    int (*each)(void *arg, const char *p, size_t len), void *arg)
{
	uint64_t left = f->env.length;
	off_t at = f->env.message_offset;
	char *piece = xmalloc(PIECE_SIZE);
	int status = 0;

	while (status == 0 && left > 0) {
		size_t want = left < PIECE_SIZE ? (size_t)left : PIECE_SIZE;
		ssize_t n = pread_full(f->fd, piece, want, at);

		if (n != -1 && (size_t)n < want)
			errno = EBADMSG;
		if (n == -1 || (size_t)n < want)
			status = -1;
		else
			status = each(arg, piece, want);
		left -= want;
		at += n;
	}
	free(piece);
	return status;
}

static int
add_to_sum(void *arg, const char *p, size_t len)
{
	uint64_t *sum = arg;

	*sum = checksum_update(*sum, p, len);
	return 0;
}

int
spool_file_verify(const struct spool *s, struct spool_file *f)
{
	uint64_t sum = CHECKSUM_INIT;

	if (spool_file_read(f, add_to_sum, &sum) == 0) {
		if (sum == f->env.checksum)
			return 0;
		errno = EBADMSG;
	}
	if (errno == EBADMSG && f->locked)
		quarantine(s, f->env.id, "the message is damaged");
	return -1;
}

int
spool_file_mark(struct spool_file *f, size_t i, enum recipient_status status)
{
	struct recipient *r = &f->env.recipients[i];
	char byte = (char)status;

	if (pwrite_full(f->fd, &byte, 1, r->status_offset) == -1)
		return -1;
	r->status = status;
	return 0;
}

int
spool_file_write_state(struct spool_file *f)
{
	char text[ENVELOPE_STATE_LEN + 1];

	envelope_state_text(&f->env, text);
	return pwrite_full(
	    f->fd, text, ENVELOPE_STATE_LEN, ENVELOPE_STATE_OFFSET);
}

int
spool_file_sync(struct spool_file *f)
{
	return fdatasync(f->fd);
}

int
spool_file_remove(const struct spool *s, struct spool_file *f)
{
	if (envelope_open(&f->env) || envelope_owed(&f->env)) {
		errno = EBUSY;
		return -1;
	}
	return unlinkat(s->dirfd, f->env.id, 0);
}

int
spool_file_park(const struct spool *s, struct spool_file *f)
{
	return put_aside(s, f->env.id, "dead.");
}
