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

/* ---- The directory ---- */

/* What is wrong with its owner or mode, or NULL. */
static const char *
directory_fault(const struct stat *st, bool private_instance)
{
	mode_t mode = st->st_mode & 0777;

	if (private_instance && st->st_uid != geteuid())
		return "does not belong to you";
	if (private_instance)
		return mode == 0700 ? NULL : "is not of mode 0700";
	if (st->st_uid != 0)
		return "does not belong to root";
	if (geteuid() != 0 && st->st_gid != getegid())
		return "does not belong to the spool's group";
	return mode == 0770 ? NULL : "is not of mode 2770";
}

int
spool_open(
    struct spool *s, const char *dir, bool private_instance, const char **why)
{
	struct stat st;

	*s = (struct spool){.uid = geteuid(),
	    .mode = private_instance ? 0600 : 0660,
	    .dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (s->dirfd == -1 || fstat(s->dirfd, &st) == -1)
		*why = errno == ENOENT   ? "does not exist"
		       : errno == EACCES ? "may not be opened by this user"
					 : "cannot be opened as a directory";
	else if ((*why = directory_fault(&st, private_instance)) == NULL)
		return 0;
	else
		errno = EPERM;
	spool_close(s);
	return -1;
}

void
spool_close(struct spool *s)
{
	int saved = errno;

	if (s->dirfd != -1)
		(void)close(s->dirfd);
	s->dirfd = -1;
	errno = saved;
}

bool
spool_has_room(const struct spool *s, unsigned percent, off_t size)
{
	struct statvfs fs;

	if (fstatvfs(s->dirfd, &fs) == -1)
		return true; /* the write will tell */
	/* btrfs and others count no inodes: there is no limit then. */
	return (uint64_t)fs.f_bavail * fs.f_frsize > (uint64_t)size &&
	       (uint64_t)fs.f_bavail * 100 >= (uint64_t)fs.f_blocks * percent &&
	       (uint64_t)fs.f_favail * 100 >= (uint64_t)fs.f_files * percent;
}

int
spool_sync(const struct spool *s)
{
	return fsync(s->dirfd);
}

/* ---- Names ---- */

static const char digits[] = QUEUE_ID_DIGITS;

/* The uid's digits, most significant first, that its ids begin with. */
static void
id_prefix(uid_t uid, char prefix[QUEUE_ID_UID_LEN])
{
	uint32_t rest = (uint32_t)uid;

	for (size_t i = QUEUE_ID_UID_LEN; i-- > 0; rest >>= 5)
		prefix[i] = digits[rest & 31];
}

int
spool_new_id(uid_t uid, char *id)
{
	unsigned char random[QUEUE_ID_LEN - QUEUE_ID_UID_LEN];

	if (compat_random(random, sizeof(random)) == -1)
		return -1;
	id_prefix(uid, id);
	for (size_t i = 0; i < sizeof(random); i++)
		id[QUEUE_ID_UID_LEN + i] = digits[random[i] & 31];
	id[QUEUE_ID_LEN] = '\0';
	return 0;
}

/*
 * Through a descriptor of its own: a shared one would share its position with
 * a scan under way.
 */
int
spool_each_name(
    const struct spool *s, int (*each)(void *arg, const char *name), void *arg)
{
	int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int status = 0, saved;

	if (dir == NULL && fd != -1)
		(void)close(fd);
	if (dir == NULL)
		return -1;
	while (status == 0) {
		errno = 0;
		if ((entry = readdir(dir)) == NULL) {
			status = errno == 0 ? 0 : -1;
			break;
		}
		status = each(arg, entry->d_name);
	}
	saved = errno;
	(void)closedir(dir);
	errno = saved;
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
	    !envelope_id_valid(name))
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
	return spool_each_name(s, scan_name, &scan);
}

struct count {
	int dirfd;
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
	else if (envelope_id_valid(name) &&
		 fstatat(count->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		 S_ISREG(st.st_mode)) {
		count->totals->messages++;
		count->totals->bytes += (uint64_t)st.st_size;
	}
	return 0;
}

int
spool_totals(const struct spool *s, struct spool_totals *t)
{
	struct count count = {.dirfd = s->dirfd, .totals = t};

	memset(t, 0, sizeof(*t));
	return spool_each_name(s, count_name, &count);
}

/* True if fd is open on the file that st describes. */
static bool
is_file(int fd, const struct stat *st)
{
	struct stat now;

	return fstat(fd, &now) == 0 && now.st_dev == st->st_dev &&
	       now.st_ino == st->st_ino;
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

	(void)spool_each_name(s, sweep_name, &copy);
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
	if (put_aside(s, id, "bad.") == 0)
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; kept as bad.%s, not delivered", id, what, id);
	else
		log_event(LOG_QUEUE, LOG_CRIT,
		    "%s: %s; not delivered; cannot rename it: %s", id, what,
		    strerror(errno));
	(void)spool_sync(s);
	errno = EBADMSG;
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
	if (!still_named(s, id, f->fd, &st)) {
		errno = ENOENT;
		return -1;
	}
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
