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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif
#if defined(__APPLE__)
#include <sys/random.h>
#endif

/* Where neither the kernel nor /dev/fd tells us what is open. */
#define DESCRIPTORS_GUESSED 65536

size_t
compat_strlcpy(char *dst, const char *src, size_t size)
{
	size_t len, n;

	len = strlen(src);
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

/* Closing while reading may hide names, so count and let the caller repeat. */
static int
close_from_listing(int lowest)
{
	struct dirent *entry;
	char *end;
	long fd;
	DIR *dir;
	int closed;

	if ((dir = opendir("/dev/fd")) == NULL)
		return -1;
	closed = 0;
	while ((entry = readdir(dir)) != NULL) {
		fd = strtol(entry->d_name, &end, 10);
		if (end == entry->d_name || *end != '\0' || fd < lowest)
			continue;
		if (fd != dirfd(dir) && close((int)fd) == 0)
			closed++;
	}
	(void)closedir(dir);
	return closed;
}

void
compat_closefrom(int lowest)
{
	int closed, fd;

	if (close_from_kernel(lowest) == 0)
		return;
	while ((closed = close_from_listing(lowest)) > 0)
		continue;
	if (closed == 0)
		return;
	/*
	 * RLIMIT_NOFILE is no bound: it may have been lowered after a higher
	 * descriptor was opened.
	 */
	for (fd = lowest; fd < DESCRIPTORS_GUESSED; fd++)
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

static int
random_from_kernel(unsigned char *p, size_t len)
{
#if defined(__DragonFly__)
	(void)p;
	(void)len;
	errno = ENOSYS;
	return -1;
#else
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = len < 256 ? len : 256; /* getentropy(3) gives no more */
		if (getentropy(p, n) == -1)
			return -1;
	}
	return 0;
#endif
}

static int
random_from_device(unsigned char *p, size_t len)
{
	ssize_t n;
	int fd, saved;

	if ((fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC)) == -1)
		return -1;
	while (len > 0) {
		n = read(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			saved = n == 0 ? EIO : errno;
			(void)close(fd);
			errno = saved;
			return -1;
		}
		p += n;
		len -= (size_t)n;
	}
	return close(fd);
}

int
compat_random(void *p, size_t len)
{
	if (random_from_kernel(p, len) == 0)
		return 0;
	return random_from_device(p, len);
}
