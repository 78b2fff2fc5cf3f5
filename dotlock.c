/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dotlock.c - NAME.lock beside a mailbox, and a missing mailbox.
 *
 * Runs in:   dma-become, as root; dma-local in a private instance.
 * Trusts:    the kernel. Distrusts: every name in the directory.
 * Promises:  through no link and over no file; removes its own lock, or one
 *            that is small and old, and nothing else.  A mailbox that is there
 *            is never given another owner or mode (V-29).
 */
#include "dotlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"
#include "util.h"

int
dotlock_pause(int64_t deadline, long *ms)
{
	struct timespec ts = {0, *ms * 1000000L};

	if (now_ms() >= deadline)
		return -1;
	(void)nanosleep(&ts, NULL);
	if (*ms < MBOX_POLL_MAX_MS / 2)
		*ms *= 2;
	return 0;
}

/* One that was not touched for so long that whoever made it is gone. */
static void
break_stale(const struct dotlock *l)
{
	struct stat st;

	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISREG(st.st_mode) && st.st_size <= DOTLOCK_SIZE_MAX &&
	    st.st_mtime < time(NULL) - MBOX_STALE_S)
		(void)unlinkat(l->dir, l->name, 0);
}

/* The new file's descriptor, or -1 with errno. */
static int
create(const struct dotlock *l, int64_t deadline)
{
	long ms = MBOX_POLL_FIRST_MS;
	int fd;

	while ((fd = openat(l->dir, l->name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600)) < 0) {
		if (errno != EEXIST)
			return -1;
		break_stale(l);
		if (dotlock_pause(deadline, &ms) < 0) {
			errno = EAGAIN;
			return -1;
		}
	}
	return fd;
}

int
dotlock_take(struct dotlock *l, uid_t owner, gid_t group, int64_t deadline)
{
	struct stat st;
	int fd = create(l, deadline), error = 0;

	if (fd < 0)
		return -1;
	/* Mail readers look for our number; without one its age decides. */
	(void)dprintf(fd, "%d\n", (int)getpid());
	if (fstat(fd, &st) < 0 || fchmod(fd, 0644) < 0 ||
	    fchown(fd, owner, group) < 0) /* his quota, perhaps */
		error = errno;
	(void)close(fd);
	if (error == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
		return 0;
	}
	(void)unlinkat(l->dir, l->name, 0);
	errno = error;
	return -1;
}

/* After a long stop of ours it may be another's. */
void
dotlock_drop(const struct dotlock *l)
{
	struct stat st;

	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == l->dev && st.st_ino == l->ino)
		(void)unlinkat(l->dir, l->name, 0);
}

int
dotlock_directory(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir < 0)
		return -1;
	/* There anybody could replace a mailbox between check and use. */
	if (fstat(dir, &st) == 0 &&
	    (st.st_mode & (S_IWOTH | S_ISVTX)) != S_IWOTH)
		return dir;
	(void)close(dir);
	errno = EPERM;
	return -1;
}

/*
 * Finished under a name that no user has, since theirs begin with no dot: a
 * power cut between open and chown must not leave root's file as a mailbox.
 */
static bool
create_mailbox(int dir, const char *name, uid_t owner, gid_t group)
{
	char fresh[USERNAME_MAX + sizeof("..new")];
	bool made;
	int fd;

	(void)snprintf(fresh, sizeof(fresh), ".%s.new", name);
	(void)unlinkat(dir, fresh, 0); /* of such a power cut */
	fd = openat(dir, fresh,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	made = fchown(fd, owner, group) == 0 && fchmod(fd, 0660) == 0 &&
	       fsync(fd) == 0 &&
	       compat_rename_noreplace(dir, fresh, name) == 0 &&
	       fsync(dir) == 0;
	(void)close(fd);
	return made;
}

int
dotlock_mailbox(
    int dir, const char *name, uid_t owner, uid_t writer, gid_t group)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT && create_mailbox(dir, name, owner, group))
			return 0;
		errno = EAGAIN;
		return -1;
	}
	if (S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	    (st.st_uid == owner || st.st_uid == writer))
		return 0;
	errno = EPERM;
	return -1;
}
