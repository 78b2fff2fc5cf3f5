/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool.c - queue files: listed, locked, marked, removed.
 *
 * Runs in:   dma, as whoever it is.
 * Trusts:    the directory's owner and mode, which it checks. Distrusts: all
 *            that lies in it: names, types, owners, bytes.
 * Promises:  a message is removed only when every recipient is settled; what
 *            does not decode is kept under a name that is never delivered.
 */
#include "spool.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define READ_FIRST   4096        /* bytes; most envelopes are smaller */
#define READ_GROWTH  16          /* so that decoding again stays linear */
#define VERIFY_PIECE (64 * 1024) /* bytes */
#define ASIDE_MAX    10          /* bad.<id>, bad.<id>.1 ... */

/* ---- The directory ---- */

static const char *
directory_fault(const struct stat *st, bool private_instance)
{
	if (private_instance) {
		if (st->st_uid != geteuid())
			return "does not belong to you";
		if ((st->st_mode & 07777) != 0700)
			return "is not of mode 0700";
		return NULL;
	}
	if (st->st_uid != 0)
		return "does not belong to root";
	if (geteuid() != 0 && st->st_gid != getegid())
		return "does not belong to the spool's group";
	if ((st->st_mode & 0777) != 0770)
		return "is not of mode 2770";
	return NULL;
}

int
spool_open(
    struct spool *s, const char *dir, bool private_instance, const char **why)
{
	struct stat st;

	memset(s, 0, sizeof(*s));
	s->uid = geteuid();
	s->mode = private_instance ? 0600 : 0660;
	s->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd == -1) {
		*why = errno == ENOENT    ? "does not exist"
		       : errno == ENOTDIR ? "is no directory"
					  : "cannot be opened";
		return -1;
	}
	if (fstat(s->dirfd, &st) == -1) {
		*why = "cannot be looked at";
		spool_close(s);
		return -1;
	}
	*why = directory_fault(&st, private_instance);
	if (*why == NULL)
		return 0;
	spool_close(s);
	errno = EPERM;
	return -1;
}

void
spool_close(struct spool *s)
{
	int saved;

	saved = errno;
	if (s->dirfd != -1)
		(void)close(s->dirfd);
	s->dirfd = -1;
	errno = saved;
}

bool
spool_has_room(const struct spool *s, unsigned percent, off_t size)
{
	struct statvfs fs;
	uint64_t block;

	if (fstatvfs(s->dirfd, &fs) == -1)
		return true; /* the write will tell */
	block = fs.f_frsize > 0 ? fs.f_frsize : 512;
	if (fs.f_bavail <= (uint64_t)size / block ||
	    (uint64_t)fs.f_bavail * 100 < (uint64_t)fs.f_blocks * percent)
		return false;
	/* btrfs and others count no inodes: there is no limit then. */
	return fs.f_files == 0 ||
	       (fs.f_favail > 0 && (uint64_t)fs.f_favail * 100 >=
				       (uint64_t)fs.f_files * percent);
}

int
spool_sync(const struct spool *s)
{
	return fsync(s->dirfd);
}

/* ---- Names ---- */

bool
spool_id_valid(const char *name)
{
	return envelope_id_valid(name);
}

static char
id_digit(uint32_t value)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUV";

	return digits[value & 31];
}

/* The uid's digits, most significant first, that its ids begin with. */
static void
id_prefix(uid_t uid, char prefix[QUEUE_ID_UID_LEN])
{
	uint32_t rest;
	size_t i;

	rest = (uint32_t)uid;
	for (i = QUEUE_ID_UID_LEN; i-- > 0; rest >>= 5)
		prefix[i] = id_digit(rest);
}

int
spool_new_id(uid_t uid, char *id)
{
	unsigned char random[QUEUE_ID_LEN - QUEUE_ID_UID_LEN];
	size_t i;

	if (compat_random(random, sizeof(random)) == -1)
		return -1;
	id_prefix(uid, id);
	for (i = 0; i < sizeof(random); i++)
		id[QUEUE_ID_UID_LEN + i] = id_digit(random[i]);
	id[QUEUE_ID_LEN] = '\0';
	return 0;
}

/*
 * Every name in the directory, through a descriptor of its own: a shared one
 * would share its position with a scan under way.
 */
static int
each_name(
    const struct spool *s, int (*each)(void *arg, const char *name), void *arg)
{
	struct dirent *entry;
	DIR *dir;
	int fd, status;

	fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if ((dir = fdopendir(fd)) == NULL) {
		(void)close(fd);
		return -1;
	}
	status = 0;
	while (status == 0) {
		errno = 0;
		if ((entry = readdir(dir)) == NULL) {
			status = errno == 0 ? 0 : -1;
			break;
		}
		status = each(arg, entry->d_name);
	}
	fd = errno;
	(void)closedir(dir);
	errno = fd;
	return status;
}

struct scan {
	char prefix[QUEUE_ID_UID_LEN];
	size_t prefix_len; /* 0: anybody's */
	int (*each)(void *arg, const char *id);
	void *arg;
};

static int
scan_name(void *arg, const char *name)
{
	const struct scan *scan = arg;

	if (strncmp(name, scan->prefix, scan->prefix_len) != 0 ||
	    !spool_id_valid(name))
		return 0;
	return scan->each(scan->arg, name);
}

int
spool_scan(
    const struct spool *s, int (*each)(void *arg, const char *id), void *arg)
{
	struct scan scan = {.each = each, .arg = arg};

	id_prefix(s->uid, scan.prefix);
	scan.prefix_len = s->all ? 0 : sizeof(scan.prefix);
	return each_name(s, scan_name, &scan);
}

struct count {
	const struct spool *s;
	struct spool_totals *totals;
};

static int
count_name(void *arg, const char *name)
{
	const struct count *count = arg;
	struct stat st;

	if (strncmp(name, "bad.", 4) == 0)
		count->totals->bad++;
	else if (strncmp(name, "dead.", 5) == 0)
		count->totals->dead++;
	else if (spool_id_valid(name) &&
		 fstatat(count->s->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) ==
		     0 &&
		 S_ISREG(st.st_mode)) {
		count->totals->messages++;
		count->totals->bytes += (uint64_t)st.st_size;
	}
	return 0;
}

int
spool_totals(const struct spool *s, struct spool_totals *t)
{
	struct count count = {.s = s, .totals = t};

	memset(t, 0, sizeof(*t));
	return each_name(s, count_name, &count);
}

/* True if the name means the file that st describes; *now gets it anew. */
static bool
still_named(const struct spool *s, const char *name, const struct stat *st,
    struct stat *now)
{
	return fstatat(s->dirfd, name, now, AT_SYMLINK_NOFOLLOW) == 0 &&
	       now->st_dev == st->st_dev && now->st_ino == st->st_ino;
}

bool
spool_remove_stale(const struct spool *s, const char *name, int64_t age)
{
	struct stat st, now;
	bool gone;
	int fd;

	fd = openat(
	    s->dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return errno == ENOENT;
	gone = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (s->all || st.st_uid == s->uid) &&
	       time(NULL) - st.st_mtime >= age &&
	       flock(fd, LOCK_EX | LOCK_NB) == 0 &&
	       still_named(s, name, &st, &now) &&
	       unlinkat(s->dirfd, name, 0) == 0;
	(void)close(fd);
	return gone;
}

static int
sweep_name(void *arg, const char *name)
{
	if (strncmp(name, "tmp.", 4) == 0)
		(void)spool_remove_stale(arg, name, TMP_AGE_MAX);
	return 0;
}

void
spool_sweep(const struct spool *s)
{
	struct spool copy = *s;

	(void)each_name(s, sweep_name, &copy);
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
	int saved;

	saved = errno;
	if (put_aside(s, id, "bad.") == 0)
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; kept as bad.%s, not delivered", id, what, id);
	else
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; not delivered; cannot rename it: %s", id, what,
		    strerror(errno));
	(void)spool_sync(s);
	errno = saved;
}

/* Returns 0, or -1 with errno; EBADMSG: no file that we would have made. */
static int
open_regular(const struct spool *s, const char *id, int flags,
    struct spool_file *f, struct stat *st)
{
	f->fd =
	    openat(s->dirfd, id, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (f->fd == -1) {
		/* A link, a directory, a socket. */
		if (errno == ELOOP || errno == EMLINK || errno == EISDIR ||
		    errno == ENXIO)
			errno = EBADMSG;
		return -1;
	}
	if (fstat(f->fd, st) == -1)
		return -1;
	f->owner = st->st_uid;
	f->size = (uint64_t)st->st_size;
	if (st->st_uid != s->uid && !s->all)
		errno = EPERM;
	else if (!S_ISREG(st->st_mode) || (st->st_mode & 07117) != 0)
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
static int
drop_second_name(const struct spool *s, const char *id, const struct stat *st)
{
	char draft[QUEUE_ID_MAX + 8];
	struct stat now;

	(void)snprintf(draft, sizeof(draft), "tmp.%s", id);
	if (st->st_nlink == 2 && still_named(s, draft, st, &now) &&
	    unlinkat(s->dirfd, draft, 0) == 0)
		return 0;
	errno = EBADMSG;
	return -1;
}

/*
 * The lock is on what we opened: between open and lock its holder may have
 * removed it, or put another file under the name.
 */
static int
lock_file(const struct spool *s, const char *id, struct spool_file *f,
    const struct stat *st)
{
	struct stat now;

	if (flock(f->fd, LOCK_EX | LOCK_NB) == -1)
		return -1;
	f->locked = true;
	if (!still_named(s, id, st, &now)) {
		errno = ENOENT;
		return -1;
	}
	f->size = (uint64_t)now.st_size;
	return now.st_nlink == 1 ? 0 : drop_second_name(s, id, &now);
}

/* Read on until the envelope's end is in what was read. */
static int
read_envelope(struct spool_file *f)
{
	char first[READ_FIRST];
	char *text;
	size_t size;
	ssize_t n;
	int status;

	n = pread_full(f->fd, first,
	    f->size < sizeof(first) ? (size_t)f->size : sizeof(first), 0);
	if (n == -1)
		return -1;
	status = envelope_decode(&f->env, first, (size_t)n);
	for (size = sizeof(first); status == -1 && errno == EAGAIN;) {
		if ((size_t)n < size || size >= ENVELOPE_MAX) {
			errno = EBADMSG;
			return -1;
		}
		size *= READ_GROWTH;
		if (size > ENVELOPE_MAX)
			size = ENVELOPE_MAX;
		text = xmalloc(size);
		n = pread_full(f->fd, text, size, 0);
		if (n != -1)
			status = envelope_decode(&f->env, text, (size_t)n);
		free(text);
		if (n == -1)
			return -1;
	}
	return status;
}

/*
 * The uid on record is the owner's.  Root's messages are the exception: they
 * are made by the spool's user.
 */
static bool
uid_may_be(const struct spool *s, uid_t recorded, uid_t owner)
{
	const struct passwd *pw;

	if (recorded == owner)
		return true;
	if (recorded != 0)
		return false;
	if (s->all && owner == s->uid)
		return true;
	pw = getpwnam(DMA_USER);
	return pw != NULL && pw->pw_uid == owner;
}

static int
load_file(const struct spool *s, const char *id, struct spool_file *f)
{
	uint64_t end;

	if (read_envelope(f) == -1)
		return -1;
	end = (uint64_t)f->env.message_offset + f->env.length;
	if (strcmp(f->env.id, id) == 0 && f->size >= end &&
	    uid_may_be(s, f->env.uid, f->owner))
		return 0;
	errno = EBADMSG;
	return -1;
}

int
spool_file_open(
    const struct spool *s, const char *id, bool lock, struct spool_file *f)
{
	struct stat st;

	memset(f, 0, sizeof(*f));
	f->fd = -1;
	if (!spool_id_valid(id)) {
		errno = ENOENT;
		return -1;
	}
	if (open_regular(s, id, lock ? O_RDWR : O_RDONLY, f, &st) == 0 &&
	    (!lock || lock_file(s, id, f, &st) == 0) &&
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
	int saved;

	saved = errno;
	if (f->fd != -1)
		(void)close(f->fd);
	envelope_free(&f->env);
	memset(f, 0, sizeof(*f));
	f->fd = -1;
	errno = saved;
}

int
spool_peek(
    const struct spool *s, const char *id, struct envelope *state, uid_t *owner)
{
	struct spool_file f = {.fd = -1};
	char text[ENVELOPE_STATE_END];
	struct stat st;
	ssize_t n;
	int status;

	if (!spool_id_valid(id)) {
		errno = ENOENT;
		return -1;
	}
	status = open_regular(s, id, O_RDONLY, &f, &st);
	if (status == 0) {
		*owner = st.st_uid;
		n = pread_full(f.fd, text, sizeof(text), 0);
		status = n == -1
			     ? -1
			     : envelope_decode_state(state, text, (size_t)n);
	}
	spool_file_close(&f);
	return status;
}

int
spool_file_reopen(const struct spool *s, const struct spool_file *f)
{
	struct stat ours, theirs;
	int fd;

	fd = openat(s->dirfd, f->env.id,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return -1;
	if (fstat(f->fd, &ours) == 0 && fstat(fd, &theirs) == 0 &&
	    ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
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

/* Returns 0 with the checksum, or -1 with errno (EBADMSG: short). */
static int
sum_message(const struct spool_file *f, uint64_t *sum)
{
	uint64_t left;
	char *piece;
	size_t want;
	ssize_t n;
	off_t at;

	at = f->env.message_offset;
	*sum = CHECKSUM_INIT;
	want =
	    f->env.length < VERIFY_PIECE ? (size_t)f->env.length : VERIFY_PIECE;
	piece = xmalloc(want);
	n = 0;
	for (left = f->env.length; left > 0; left -= want, at += n) {
		if (left < want)
			want = (size_t)left;
		n = pread_full(f->fd, piece, want, at);
		if (n == -1 || (size_t)n < want)
			break;
		*sum = checksum_update(*sum, piece, want);
	}
	free(piece);
	if (left == 0)
		return 0;
	if (n != -1)
		errno = EBADMSG;
	return -1;
}

int
spool_file_verify(const struct spool *s, struct spool_file *f)
{
	uint64_t sum;
	int status;

	status = sum_message(f, &sum);
	if (status == 0 && sum != f->env.checksum) {
		errno = EBADMSG;
		status = -1;
	}
	if (status == -1 && errno == EBADMSG && f->locked)
		quarantine(s, f->env.id, "the message is damaged");
	return status;
}

int
spool_file_mark(struct spool_file *f, size_t i, enum recipient_status status)
{
	struct recipient *r;
	char byte;

	r = &f->env.recipients[i];
	byte = (char)status;
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
	if (envelope_open(&f->env) ||
	    envelope_count(&f->env, STATUS_FAILED) > 0) {
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
