/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * compat.c - what some of our systems' C libraries do not have.
 *
 * Runs in:   every program.
 * Trusts:    its callers. Distrusts: nothing; it reads no input.
 * Promises:  one meaning on every system, whatever its library offers.
 */
#include "compat.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "util.h"

/* Where neither the kernel nor /dev/fd tells us what is open. */
#define DESCRIPTORS_GUESSED 65536

size_t
compat_strlcpy(char *dst, const char *src, size_t size)
{
	size_t n, len = strlen(src);

	if (size > 0) {
		n = len < size ? len : size - 1;
		memcpy(dst, src, n);
		dst[n] = '\0';
	}
	return len;
}

/* In one system call, where there is one for it. */
static int
close_from_kernel(int lowest)
{
#if defined(__linux__) && defined(SYS_close_range)
	return (int)syscall(SYS_close_range, (unsigned)lowest, ~0U, 0U);
#elif defined(__FreeBSD__) || defined(__OpenBSD__) ||                          \
    defined(__DragonFly__) || defined(__NetBSD__)
	closefrom(lowest);
	return 0;
#else
	(void)lowest;
	errno = ENOSYS;
	return -1;
#endif
}

/* Returns how many it closed, or -1 where nothing can be listed. */
static int
close_from_listing(int lowest)
{
	struct dirent *entry;
	long long fd;
	DIR *dir;
	int closed = 0;

	if ((dir = opendir("/dev/fd")) == NULL)
		return -1;
	while ((entry = readdir(dir)) != NULL)
		if (parse_number(entry->d_name, lowest, INT_MAX, &fd) == 0 &&
		    fd != dirfd(dir) && close((int)fd) == 0)
			closed++;
	(void)closedir(dir);
	return closed;
}

void
compat_closefrom(int lowest)
{
	int closed, fd;

	if (close_from_kernel(lowest) == 0)
		return;
	/* Again and again: closing while reading may hide names. */
	while ((closed = close_from_listing(lowest)) > 0)
		continue;
	/*
	 * RLIMIT_NOFILE is no bound: it may have been lowered after a higher
	 * descriptor was opened.
	 */
	for (fd = lowest; closed == -1 && fd < DESCRIPTORS_GUESSED; fd++)
		(void)close(fd);
}

static int
rename_by_link(int dirfd, const char *from, const char *to)
{
	int saved;

	if (linkat(dirfd, from, dirfd, to, 0) == -1)
		return -1;
	if (unlinkat(dirfd, from, 0) == 0)
		return 0;
	/* A message with two names would be delivered twice. */
	saved = errno;
	(void)unlinkat(dirfd, to, 0);
	errno = saved;
	return -1;
}

int
compat_rename_noreplace(int dirfd, const char *from, const char *to)
{
#if defined(__linux__) && defined(SYS_renameat2)
	const unsigned noreplace = 1; /* RENAME_NOREPLACE, <linux/fs.h> */

	if (syscall(SYS_renameat2, dirfd, from, dirfd, to, noreplace) == 0)
		return 0;
	/*
	 * ENOSYS: an old kernel; EINVAL: a file system that cannot;
	 * EPERM: the answer of some container filters to a call they do not
	 * know.
	 */
	if (errno != ENOSYS && errno != EINVAL && errno != EPERM)
		return -1;
#endif
	return rename_by_link(dirfd, from, to);
}

void
compat_explicit_bzero(void *p, size_t len)
{
	/* A call through a volatile pointer cannot be seen through. */
	static void *(*const volatile fill)(void *, int, size_t) = memset;

	if (len > 0)
		fill(p, 0, len);
}

int
compat_random(void *p, size_t len)
{
#if defined(__linux__)
	unsigned char *at = p;
	size_t n;

	for (; len > 0; at += n, len -= n) {
		n = len < 256 ? len : 256; /* getentropy(3) gives no more */
		if (getentropy(at, n) == -1)
			return -1;
	}
#else
	arc4random_buf(p, len);
#endif
	return 0;
}
