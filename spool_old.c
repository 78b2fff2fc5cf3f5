/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_old.c - the queue files of DragonFly's dma 0.13 and 0.14.
 *
 * Runs in:   dma, in the system's run, as USER.
 * Trusts:    nothing but the directory: names, types, owners, bytes.
 * Promises:  a pair is opened only if both are plain files of one owner, and
 *            with the lock that the old program takes.
 */
#include "spool.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

/* "Q", the message's inode, ".", a number, both in hexadecimal. */
bool
spool_old_name(const char *name)
{
	size_t len = strlen(name);

	return name[0] == 'Q' && len > 1 && len <= SPOOL_OLD_NAME_MAX &&
	       strspn(name + 1, "0123456789abcdef.") == len - 1;
}

static void
message_name(const char *name, char dst[SPOOL_OLD_NAME_MAX + 1])
{
	(void)snprintf(dst, SPOOL_OLD_NAME_MAX + 1, "M%s", name + 1);
}

static int
odd(const char **why, const char *text)
{
	*why = text;
	errno = EBADMSG;
	return -1;
}

/* Returns a descriptor, or -1 with errno. */
static int
open_plain(
    const struct spool *s, const char *name, struct stat *st, const char **why)
{
	int fd = openat(s->dirfd, name, OPEN_FLAGS);

	if (fd == -1) {
		/* A link, a socket. */
		if (errno == ELOOP || errno == EMLINK || errno == ENXIO)
			return odd(why, "is no plain file");
		return -1;
	}
	if (fstat(fd, st) == 0) {
		if (S_ISREG(st->st_mode))
			return fd;
		(void)odd(why, "is no plain file");
	}
	(void)close(fd);
	return -1;
}

/* Another program may have removed it before we had the lock. */
static int
lock_pair(const struct spool *s, struct spool_old *o, const char **why)
{
	struct stat st, now;

	if ((o->fd = open_plain(s, o->name, &st, why)) == -1 ||
	    flock(o->fd, LOCK_EX | LOCK_NB) == -1 ||
	    fstatat(s->dirfd, o->name, &now, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	if (now.st_dev != st.st_dev || now.st_ino != st.st_ino) {
		errno = ENOENT;
		return -1;
	}
	if (now.st_nlink != 1)
		return odd(why, "has a second name");
	o->owner = st.st_uid;
	o->arrival = (int64_t)st.st_mtime;
	return 0;
}

static int
open_message(const struct spool *s, struct spool_old *o, const char **why)
{
	char name[SPOOL_OLD_NAME_MAX + 1];
	struct stat st;

	message_name(o->name, name);
	if ((o->message = open_plain(s, name, &st, why)) == -1) {
		if (errno == ENOENT)
			return odd(why, "has no message");
		return -1;
	}
	if (st.st_uid != o->owner)
		return odd(why, "has another owner than its message");
	o->dev = st.st_dev;
	o->ino = st.st_ino;
	o->size = (int64_t)st.st_size;
	return 0;
}

static int
read_text(struct spool_old *o, const char **why)
{
	ssize_t n = pread_full(o->fd, o->text, sizeof(o->text), 0);

	if (n == -1)
		return -1;
	if ((size_t)n == sizeof(o->text))
		return odd(why, "is too long");
	o->text[n] = '\0';
	if (strlen(o->text) != (size_t)n)
		return odd(why, "holds a NUL byte");
	return 0;
}

static void
note_name(const char *name, char dst[SPOOL_OLD_NAME_MAX + 8])
{
	(void)snprintf(dst, SPOOL_OLD_NAME_MAX + 8, "bad.%s", name);
}

static bool
noted(const struct spool *s, const char *name)
{
	char note[SPOOL_OLD_NAME_MAX + 8];
	struct stat st;

	note_name(name, note);
	return fstatat(s->dirfd, note, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int
spool_old_open(const struct spool *s, const char *name, struct spool_old *o,
    const char **why)
{
	*o = (struct spool_old){.fd = -1, .message = -1};
	(void)compat_strlcpy(o->name, name, sizeof(o->name));
	if (noted(s, name)) {
		errno = ENOENT;
		return -1;
	}
	if (lock_pair(s, o, why) == 0 && open_message(s, o, why) == 0 &&
	    read_text(o, why) == 0)
		return 0;
	spool_old_close(o);
	return -1;
}

void
spool_old_close(struct spool_old *o)
{
	int saved = errno;

	if (o->message != -1)
		(void)close(o->message);
	if (o->fd != -1)
		(void)close(o->fd);
	o->fd = o->message = -1;
	errno = saved;
}

/*
 * Q first: without it nobody looks at M, so that a crash in between leaves a
 * file too many, and no duplicate.
 */
int
spool_old_remove(const struct spool *s, const struct spool_old *o)
{
	char name[SPOOL_OLD_NAME_MAX + 1];

	if (unlinkat(s->dirfd, o->name, 0) == -1)
		return -1;
	message_name(o->name, name);
	return unlinkat(s->dirfd, name, 0);
}

bool
spool_old_note(const struct spool *s, const char *name, const char *why)
{
	char note[SPOOL_OLD_NAME_MAX + 8];
	int fd;

	note_name(name, note);
	fd = openat(s->dirfd, note,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, s->mode);
	if (fd == -1)
		return errno != EEXIST;
	(void)write_full(fd, why, strlen(why));
	(void)write_full(fd, "\n", 1);
	(void)close(fd);
	return true;
}
