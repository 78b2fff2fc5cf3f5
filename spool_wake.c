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

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define NAME_LEN     32
#define OPEN_FLAGS   (O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define PIPE_GRANTED 512 /* bytes; the least PIPE_BUF (POSIX, <limits.h>) */

_Static_assert(WAKE_RECORD_LEN > QUEUE_ID_MAX, "a record holds an id");
_Static_assert(PIPE_GRANTED % WAKE_RECORD_LEN == 0, "records are atomic");

/*
 * Open the named file, or FIFO, made where it is missing; with its mode at
 * once: somebody who finds it between open and fchmod could not use it, and a
 * death there would leave it so for ever.
 */
static int
open_node(
    const struct spool *s, const char *prefix, unsigned long number, bool fifo)
{
	char name[NAME_LEN];
	mode_t old = umask(0);
	struct stat st;
	int fd = -1;

	(void)snprintf(name, sizeof(name), "%s%lu", prefix, number);
	if (!fifo)
		fd = openat(s->dirfd, name, OPEN_FLAGS | O_CREAT, s->mode);
	else if (mkfifoat(s->dirfd, name, s->mode) == 0 || errno == EEXIST)
		fd = openat(s->dirfd, name, OPEN_FLAGS);
	(void)umask(old);
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
lock_node(const struct spool *s, const char *prefix, unsigned long number)
{
	int fd = open_node(s, prefix, number, false), saved;

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
	return lock_node(s, "run.", s->uid);
}

int
spool_lock_slot(const struct spool *s, unsigned n)
{
	return lock_node(s, "slot.", n);
}

int
spool_lock_told(const struct spool *s)
{
	return lock_node(s, "told.", s->uid);
}

int
spool_wake_open(const struct spool *s)
{
	return open_node(s, "wake.", s->uid, true);
}

/* One record into the named FIFO, if anybody reads it. */
static int
write_record(const struct spool *s, const char *name, const char *id)
{
	int fd = openat(
	    s->dirfd, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	char record[WAKE_RECORD_LEN] = {0};
	struct stat st;
	ssize_t n = -1;
	int saved;

	if (fd == -1)
		return -1;
	(void)compat_strlcpy(record, id, sizeof(record));
	errno = ENXIO;
	if (fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode))
		n = write(fd, record, sizeof(record));
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

	(void)snprintf(name, NAME_LEN, "wake.%lu", (unsigned long)s->uid);
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
		if ((size_t)n == sizeof(record) &&
		    (record[0] == '\0' || envelope_id_valid(record))) {
			(void)compat_strlcpy(id, record, QUEUE_ID_MAX + 1);
			return 1;
		}
		/* Out of step, or not ours: what was meant is unknown. */
		*overrun = true;
	}
}

static int
wake_name_found(void *arg, const char *name)
{
	if (strncmp(name, "wake.", 5) == 0)
		(void)write_record(arg, name, "");
	return 0;
}

void
spool_wake_all(const struct spool *s)
{
	struct spool copy = *s;

	if (s->all)
		(void)spool_each_name(s, wake_name_found, &copy);
	else
		(void)spool_wake_write(s, "");
}
