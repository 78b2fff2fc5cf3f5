/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_maildir.c - delivery to a directory with a file a message: maildir(5).
 *
 * Runs in:   dma-local, as the recipient.
 * Trusts:    the kernel. Distrusts: its job, the message, what lies there.
 * Promises:  what stands in new is whole and on stable storage before SENT is
 *            said; a delivery that came to nothing leaves at most a file in
 *            tmp, which readers sweep.
 */
#include "local_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

/* "tmp/" and a name that nobody else has, here and on other machines. */
#define NAME_MAX_BYTES (ADDR_DOMAIN_MAX * 4 + 100)
/* The host, with '/' and ':' as maildir(5) has them in a name. */
static void
put_host(char *dst, size_t size, const char *host)
{
	size_t n = 0;

	for (; *host != '\0' && n + 4 < size; host++) {
		if (*host == '/' || *host == ':') {
			(void)snprintf(dst + n, size - n, "\\%03o",
			    (unsigned)(unsigned char)*host);
			n += 4;
		} else
			dst[n++] = *host;
	}
	dst[n] = '\0';
}

static void
make_name(char *dst, size_t size, struct local *l)
{
	struct timespec now = {0};
	char clean[ADDR_DOMAIN_MAX * 4 + 1];

	put_host(clean, sizeof(clean), l->host);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(dst, size, "tmp/%lld.M%06ldP%ld_%u.%s",
	    (long long)now.tv_sec, now.tv_nsec / 1000, (long)getpid(),
	    l->names++, clean);
}

/* The directory, made where it is missing.  Returns it, or -1 with errno. */
static int
open_made(int at, const char *path)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = openat(at, path, flags);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
		return -1;
	if (at != AT_FDCWD)
		(void)fsync(at);
	else
		mbox_sync_directory(path);
	return openat(at, path, flags);
}

/* Returns new, the maildir in *dir, or -1 with errno. */
static int
open_maildir(const char *path, int *dir)
{
	static const char *const names[] = {"tmp", "cur"};
	int fd;

	if ((*dir = open_made(AT_FDCWD, path)) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if ((fd = open_made(*dir, names[i])) < 0)
			return -1;
		(void)close(fd);
	}
	return open_made(*dir, "new");
}

/* A fresh file in tmp; name gets room for what it is called. */
static int
create_file(int dir, char *name, size_t size, struct local *l)
{
	int fd, tries = 0;

	do {
		make_name(name, size, l);
		fd = openat(dir, name,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	} while (fd < 0 && errno == EEXIST && ++tries < MAILDIR_TRIES_MAX);
	return fd;
}

/* Returns 0, or -1 with the outcome set. */
static int
write_message(const struct delivery *d, int fd)
{
	struct copy *c = xcalloc(1, sizeof(*c));
	int unread, result = 0;

	c->write = copy_to_file;
	c->to = &fd;
	copy_put_lines(c, d, false);
	unread = copy_put_message(c, d->job);
	copy_flush(c);
	if (c->error == 0 && unread == 0 && fsync(fd) < 0)
		c->error = errno;
	if (c->error != 0) {
		mbox_write_failed(d->outcome, c->error);
		result = -1;
	} else if (unread != 0)
		result = local_defer(
		    d->outcome, "4.3.0", "cannot read the message", unread);
	buf_free(&c->waiting);
	free(c);
	return result;
}

/* From tmp into new, under the same name. */
static void
publish(const struct delivery *d, int dir, int fresh, const char *name)
{
	char *public = xasprintf("new/%s", name + strlen("tmp/"));

	if (!local_is_awaited(d)) {
		(void)unlinkat(dir, name, 0);
	} else if (compat_rename_noreplace(dir, name, public) < 0) {
		mbox_write_failed(d->outcome, errno);
		(void)unlinkat(dir, name, 0);
	} else if (fsync(fresh) < 0) {
		mbox_write_failed(d->outcome, errno);
		(void)unlinkat(dir, public, 0);
	} else
		local_sent(d->outcome, "maildir", "");
	free(public);
}

static void
deliver_into(const struct delivery *d, int dir, int fresh)
{
	char name[NAME_MAX_BYTES];
	int fd = create_file(dir, name, sizeof(name), d->local);

	if (fd < 0) {
		mbox_write_failed(d->outcome, errno);
		return;
	}
	if (write_message(d, fd) == 0)
		publish(d, dir, fresh, name);
	else
		(void)unlinkat(dir, name, 0);
	(void)close(fd);
}

void
maildir_deliver(const struct delivery *d, const char *path)
{
	int dir = -1, fresh = open_maildir(path, &dir);

	if (fresh < 0)
		outcome_set(d->outcome, OUTCOME_DEFER,
		    errno == ENOSPC ? "4.2.2" : "4.2.0",
		    "cannot use the maildir %.200s: %s", path, strerror(errno));
	else
		deliver_into(d, dir, fresh);
	if (fresh >= 0)
		(void)close(fresh);
	if (dir >= 0)
		(void)close(dir);
}
