/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_wake.c - who works on the queue: run.<uid>, slot.<n>, wake.<uid>.
 *
 * Runs in:   dma, as submitter and as runner.
 * Trusts:    the spool's group. Distrusts: what lies under these names, and
 *            the bytes in the FIFO.
 * Promises:  neither blocks nor removes anything; a lost wake-up shows as an
 *            overrun.
 */
#include "spool.h"

#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define NAME_LEN     32
#define CREATE_TRIES 10
#define PIPE_GRANTED 512 /* bytes; the least PIPE_BUF (POSIX, <limits.h>) */

_Static_assert(WAKE_RECORD_LEN > QUEUE_ID_MAX, "a record holds an id");
_Static_assert(PIPE_GRANTED % WAKE_RECORD_LEN == 0, "records are atomic");

/*
 * Made with its mode at once: somebody who finds it between open and fchmod
 * could not use it, and a death there would leave it so for ever.
 */
static int
make_node(const struct spool *s, const char *name, bool fifo)
{
	mode_t old;
	int fd, saved;

	old = umask(0);
	if (fifo)
		fd = mkfifoat(s->dirfd, name, s->mode);
	else
		fd = openat(s->dirfd, name,
		    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_CREAT |
			O_EXCL,
		    s->mode);
	saved = errno;
	(void)umask(old);
	if (!fifo && fd != -1)
		(void)close(fd);
	errno = saved;
	return fd == -1 ? -1 : 0;
}

static int
open_node(const struct spool *s, const char *name, bool fifo)
{
	struct stat st;
	int fd, tries;

	for (tries = 0; tries < CREATE_TRIES; tries++) {
		fd = openat(s->dirfd, name,
		    O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd != -1)
			break;
		if (errno != ENOENT)
			return -1;
		if (make_node(s, name, fifo) == -1 && errno != EEXIST)
			return -1;
	}
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == 0 &&
	    (fifo ? S_ISFIFO(st.st_mode)
		  : S_ISREG(st.st_mode) && st.st_nlink == 1))
		return fd;
	(void)close(fd);
	errno = EPERM;
	return -1;
}

static int
lock_node(const struct spool *s, const char *name)
{
	int fd, saved;

	fd = open_node(s, name, false);
	if (fd == -1 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

int
spool_lock_run(const struct spool *s)
{
	char name[NAME_LEN];

	(void)snprintf(name, sizeof(name), "run.%lu", (unsigned long)s->uid);
	return lock_node(s, name);
}

int
spool_lock_slot(const struct spool *s, unsigned n)
{
	char name[NAME_LEN];

	(void)snprintf(name, sizeof(name), "slot.%u", n);
	return lock_node(s, name);
}

static void
wake_name(const struct spool *s, char name[NAME_LEN])
{
	(void)snprintf(name, NAME_LEN, "wake.%lu", (unsigned long)s->uid);
}

int
spool_wake_open(const struct spool *s)
{
	char name[NAME_LEN];

	wake_name(s, name);
	return open_node(s, name, true);
}

/* One record into the named FIFO, if anybody reads it. */
static int
write_record(const struct spool *s, const char *name, const char *id)
{
	char record[WAKE_RECORD_LEN] = {0};
	struct stat st;
	ssize_t n;
	int fd, saved;

	fd = openat(
	    s->dirfd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return -1;
	errno = ENXIO;
	n = -1;
	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode)) {
		(void)compat_strlcpy(record, id, sizeof(record));
		n = write(fd, record, sizeof(record));
	}
	saved = errno;
	(void)close(fd);
	errno = saved;
	/* Full: the runner sees an overrun and scans. */
	return n != -1 || errno == EAGAIN ? 0 : -1;
}

int
spool_wake_write(const struct spool *s, const char *id)
{
	char name[NAME_LEN];

	wake_name(s, name);
	return write_record(s, name, id);
}

/*
 * The pipe gives no sign that a writer found it full, so its fill is asked
 * before each record.  A page is free for writers only when it was read to
 * its end, and some records may leave between the question and the answer:
 * within two pages of its size it may have been full.  Where the size cannot
 * be asked, anything over what POSIX grants counts.
 */
static bool
may_have_been_full(int fd)
{
	int fill;
#ifdef F_GETPIPE_SZ
	int size = fcntl(fd, F_GETPIPE_SZ);
	long page = sysconf(_SC_PAGESIZE);
#else
	int size = PIPE_GRANTED;
	long page = 0;
#endif

	if (ioctl(fd, FIONREAD, &fill) == -1 || size == -1)
		return true;
	return fill > 0 && fill + 2 * page >= size;
}

int
spool_wake_read(int fd, char *id, bool *overrun)
{
	char record[WAKE_RECORD_LEN];
	ssize_t n;

	for (;;) {
		if (may_have_been_full(fd))
			*overrun = true;
		n = read(fd, record, sizeof(record));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return errno == EAGAIN ? 0 : -1;
		if (n == 0)
			return 0;
		record[sizeof(record) - 1] = '\0';
		if ((size_t)n == sizeof(record) && spool_id_valid(record)) {
			(void)compat_strlcpy(id, record, QUEUE_ID_MAX + 1);
			return 1;
		}
		/* Out of step, or not ours: what was meant is unknown. */
		*overrun = true;
	}
}

void
spool_wake_all(const struct spool *s)
{
	const struct dirent *entry;
	DIR *d;
	int fd;

	if (!s->all) {
		(void)spool_wake_write(s, "");
		return;
	}
	fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1 || (d = fdopendir(fd)) == NULL) {
		if (fd != -1)
			(void)close(fd);
		return;
	}
	while ((entry = readdir(d)) != NULL)
		if (strncmp(entry->d_name, "wake.", 5) == 0)
			(void)write_record(s, entry->d_name, "");
	(void)closedir(d);
}
