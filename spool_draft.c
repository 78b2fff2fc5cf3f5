/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_draft.c - intake: a message on its way to being a queue file.
 *
 * Runs in:   dma, as submitter (and as runner, for notices).
 * Trusts:    the envelope's types. Distrusts: the message's bytes; the disk.
 * Promises:  after spool_commit() gave 0 the message survives a power cut;
 *            before, nothing is queued.
 */
#include "spool.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define BUFFER_SIZE   (64 * 1024)
#define FRESH_IDS_MAX 10

/*
 * Returns 0, or -1 with errno; EEXIST: there is such a file.  With its mode at
 * once: what a death leaves of a user's draft of a notice must not be in the
 * way of the system's run, which could not open it.
 */
static int
create_file(const struct spool *s, struct spool_draft *d)
{
	mode_t old = umask(0);

	(void)snprintf(d->name, sizeof(d->name), "tmp.%s", d->env->id);
	d->fd = openat(s->dirfd, d->name,
	    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, s->mode);
	(void)umask(old);
	return d->fd == -1 ? -1 : flock(d->fd, LOCK_EX | LOCK_NB);
}

/*
 * A chosen id is a notice's, the same in each run: one that is queued was
 * committed before, and a draft of it that nobody holds was begun by a run
 * that died.
 */
static int
create_chosen(const struct spool *s, struct spool_draft *d)
{
	struct stat st;
	int status;

	if (fstatat(s->dirfd, d->env->id, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	status = create_file(s, d);
	if (status == -1 && errno == EEXIST &&
	    spool_remove_stale(s, d->name, 0))
		status = create_file(s, d);
	if (status == -1 && errno == EEXIST)
		errno = EWOULDBLOCK;
	return status;
}

/* 65 random bits do not come twice; where they do, others are asked for. */
static int
create_fresh(const struct spool *s, struct spool_draft *d)
{
	int status = -1;

	errno = EEXIST;
	for (int n = 0; status == -1 && errno == EEXIST && n < FRESH_IDS_MAX;
	     n++) {
		if (spool_new_id(s->uid, d->env->id) == -1)
			return -1;
		status = create_file(s, d);
	}
	return status;
}

/* An error is remembered, since the file then has a hole. */
static int
flush(struct spool_draft *d)
{
	if (d->error == 0 && write_full(d->fd, d->buffer, d->used) == -1)
		d->error = errno;
	if (d->error != 0) {
		errno = d->error;
		return -1;
	}
	d->written += d->used;
	d->used = 0;
	return 0;
}

static int
put(struct spool_draft *d, const char *p, size_t len)
{
	size_t n;

	for (; len > 0; p += n, len -= n) {
		if (d->used == BUFFER_SIZE && flush(d) == -1)
			return -1;
		n = BUFFER_SIZE - d->used;
		n = n < len ? n : len;
		memcpy(d->buffer + d->used, p, n);
		d->used += n;
	}
	return 0;
}

static int
put_envelope(struct spool_draft *d)
{
	struct buf text = {.max = ENVELOPE_MAX};
	int status;

	status = envelope_encode(d->env, &text);
	if (status == 0)
		status = put(d, text.data, text.len);
	buf_free(&text);
	return status;
}

int
spool_create(const struct spool *s, struct envelope *env, struct spool_draft *d)
{
	bool chosen = env->id[0] != '\0';
	int status;

	*d = (struct spool_draft){
	    .env = env, .fd = -1, .checksum = CHECKSUM_INIT};
	status = chosen ? create_chosen(s, d) : create_fresh(s, d);
	if (status == 0) {
		d->buffer = xmalloc(BUFFER_SIZE);
		status = put_envelope(d);
	}
	if (status == -1) {
		spool_abandon(s, d);
		if (!chosen)
			env->id[0] = '\0';
	}
	return status;
}

/* ---- What is in the message ---- */

/* Eight at a time: the test costs every byte of every message. */
static bool
has_8bit(const char *p, size_t len)
{
	uint64_t word, high;

	for (high = 0; len >= sizeof(word); p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		high |= word;
		len -= sizeof(word);
	}
	for (; len > 0; p++, len--)
		high |= (unsigned char)*p;
	return (high & 0x8080808080808080ULL) != 0;
}

static bool
has_long_line(struct spool_draft *d, const char *p, size_t len)
{
	const char *end, *lf;

	for (end = p + len; p < end; p = lf + 1, d->line = 0) {
		lf = memchr(p, '\n', (size_t)(end - p));
		d->line += (size_t)((lf != NULL ? lf : end) - p);
		if (d->line > LINE_WIRE_MAX)
			return true;
		if (lf == NULL)
			break;
	}
	return false;
}

/* Once a flag is set its test is over. */
static void
find_flags(struct spool_draft *d, const char *p, size_t len)
{
	if ((d->flags & MESSAGE_8BIT) == 0 && has_8bit(p, len))
		d->flags |= MESSAGE_8BIT;
	if ((d->flags & MESSAGE_LONG_LINE) == 0 && has_long_line(d, p, len))
		d->flags |= MESSAGE_LONG_LINE;
	if ((d->flags & MESSAGE_NUL) == 0 && memchr(p, '\0', len) != NULL)
		d->flags |= MESSAGE_NUL;
	if ((d->flags & MESSAGE_LONE_CR) == 0 && memchr(p, '\r', len) != NULL)
		d->flags |= MESSAGE_LONE_CR;
}

int
spool_append(struct spool_draft *d, const void *p, size_t len)
{
	if (len == 0)
		return 0;
	find_flags(d, p, len);
	d->checksum = checksum_update(d->checksum, p, len);
	d->length += len;
	return put(d, p, len);
}

int
spool_append_reasons(struct spool_draft *d)
{
	char line[JOURNAL_LINE_MAX + 1], dsn[12];

	for (size_t i = 0; i < d->env->nrecipients; i++) {
		const char *reason = d->env->recipients[i].reason;
		size_t len = reason != NULL ? strcspn(reason, " ") : 0;

		if (reason == NULL || reason[len] == '\0')
			continue;
		(void)snprintf(dsn, sizeof(dsn), "%.*s", (int)len, reason);
		spool_journal_format(line, sizeof(line), i, d->env->arrival,
		    dsn, "", reason + len + 1);
		if (put(d, line, strlen(line)) == -1)
			return -1;
	}
	return 0;
}

/* ---- The commit ---- */

static void
draft_over(struct spool_draft *d)
{
	if (d->fd != -1)
		(void)close(d->fd);
	d->fd = -1;
	free(d->buffer);
	d->buffer = NULL;
}

void
spool_abandon(const struct spool *s, struct spool_draft *d)
{
	int saved = errno;

	if (d->fd != -1)
		(void)unlinkat(s->dirfd, d->name, 0);
	draft_over(d);
	errno = saved;
}

/*
 * Fill the blanks: in the buffer where that still holds the file's
 * beginning, so that a small message is one write.
 */
static int
write_rest(struct spool_draft *d)
{
	struct envelope *e = d->env;
	char text[ENVELOPE_MESSAGE_LEN + 1];
	bool whole = d->written == 0;

	e->flags = d->flags;
	e->length = d->length;
	e->checksum = d->checksum;
	envelope_message_text(e, text);
	if (whole)
		memcpy(d->buffer + ENVELOPE_MESSAGE_OFFSET, text,
		    ENVELOPE_MESSAGE_LEN);
	if (flush(d) == -1)
		return -1;
	if (whole)
		return 0;
	return pwrite_full(
	    d->fd, text, ENVELOPE_MESSAGE_LEN, ENVELOPE_MESSAGE_OFFSET);
}

int
spool_commit(const struct spool *s, struct spool_draft *d)
{
	/*
	 * The bytes before the name, the name before we say yes.  After a
	 * failed fsync the kernel may have dropped the bytes and would call
	 * the next one a success (V-57), so there is none.
	 */
	if (write_rest(d) == 0 && fsync(d->fd) == 0 &&
	    compat_rename_noreplace(s->dirfd, d->name, d->env->id) == 0) {
		if (fsync(s->dirfd) == 0) {
			draft_over(d);
			return 0;
		}
		/* What is to be abandoned has this name now. */
		(void)compat_strlcpy(d->name, d->env->id, sizeof(d->name));
		errno = EIO;
	}
	spool_abandon(s, d);
	return -1;
}
