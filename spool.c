/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool.c - the queue's directory: checked, listed, counted, swept; new ids.
 *
 * Runs in:   dma, as whoever it is.
 * Trusts:    the directory's owner and mode, which it checks. Distrusts: the
 *            names in it.
 */
#include "spool.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

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
		return "does not belong to the group " DMA_GROUP;
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

bool
spool_id_is_own(const struct spool *s, const char *id)
{
	char prefix[QUEUE_ID_UID_LEN];

	id_prefix(s->uid, prefix);
	return strncmp(id, prefix, sizeof(prefix)) == 0;
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
	else if (spool_old_name(name))
		count->totals->old++;
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
