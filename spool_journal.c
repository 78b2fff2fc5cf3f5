/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool_journal.c - what was said about each recipient, for people.
 *
 * Runs in:   dma, as runner (writes), mailq and for notices (reads).
 * Trusts:    nothing: texts are a server's, and the end may be torn.
 * Promises:  printable text, one line an event; nothing else depends on it.
 */
#include "spool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* True if the journal's last line has no end: the write before was torn. */
static bool
journal_torn(const struct spool_file *f)
{
	char last;

	return f->size > envelope_message_end(&f->env) &&
	       pread_full(f->fd, &last, 1, (off_t)f->size - 1) == 1 &&
	       last != '\n';
}

/*
 * The newest entries are those that matter: a full journal is begun afresh.
 * Envelope and message are not touched by that.
 */
static void
append(struct spool_file *f, const char *line, size_t len)
{
	uint64_t start = envelope_message_end(&f->env);

	if (f->size + len > start + JOURNAL_MAX &&
	    ftruncate(f->fd, (off_t)start) == 0)
		f->size = start;
	if (f->size + len <= start + JOURNAL_MAX &&
	    pwrite_full(f->fd, line, len, (off_t)f->size) == 0)
		f->size += len;
}

void
spool_journal_format(char *line, size_t size, size_t recipient, int64_t when,
    const char *dsn, const char *relay, const char *text)
{
	struct journal_entry e;

	(void)printable(e.dsn, sizeof(e.dsn), dsn, strlen(dsn));
	(void)printable(e.relay, sizeof(e.relay), relay, strlen(relay));
	(void)printable(e.text, sizeof(e.text), text, strlen(text));
	(void)snprintf(line, size, "%" PRId64 "\t%zu\t%s\t%s\t%s\n", when,
	    recipient, e.dsn, e.relay, e.text);
}

void
spool_journal_add(struct spool_file *f, size_t recipient, int64_t when,
    const char *dsn, const char *relay, const char *text)
{
	char line[JOURNAL_LINE_MAX + 2] = "\n";
	size_t torn = journal_torn(f) ? 1 : 0;
	int saved = errno;

	spool_journal_format(line + torn, sizeof(line) - torn, recipient, when,
	    dsn, relay, text);
	append(f, line, strlen(line));
	errno = saved;
}

/* True if the line is whole and means one of n recipients. */
static bool
read_entry(char *line, size_t n, size_t *recipient, struct journal_entry *e)
{
	const char *when = strsep(&line, "\t"), *number = strsep(&line, "\t");
	const char *dsn = strsep(&line, "\t"), *relay = strsep(&line, "\t");
	long long seconds, index;

	if (line == NULL || parse_number(when, 1, INT64_MAX, &seconds) == -1 ||
	    parse_number(number, 0, RECIPIENTS_MAX, &index) == -1 ||
	    (size_t)index >= n)
		return false;
	*recipient = (size_t)index;
	e->when = seconds;
	(void)printable(e->dsn, sizeof(e->dsn), dsn, strlen(dsn));
	(void)printable(e->relay, sizeof(e->relay), relay, strlen(relay));
	(void)printable(e->text, sizeof(e->text), line, strlen(line));
	return true;
}

void
spool_journal_each(const struct spool_file *f,
    void (*each)(
	void *arg, size_t recipient, const struct journal_entry *entry),
    void *arg)
{
	uint64_t start = envelope_message_end(&f->env);
	size_t size = JOURNAL_MAX, recipient;
	char *text, *line, *rest;
	struct journal_entry e;
	ssize_t len;

	if (f->size <= start)
		return;
	if (f->size - start < size)
		size = (size_t)(f->size - start);
	rest = text = xmalloc(size + 1);
	len = pread_full(f->fd, text, size, (off_t)start);
	text[len > 0 ? len : 0] = '\0';
	/* What no LF ends is torn, and stays unread. */
	while ((line = strsep(&rest, "\n")) != NULL && rest != NULL)
		if (read_entry(line, f->env.nrecipients, &recipient, &e))
			each(arg, recipient, &e);
	free(text);
}

struct last {
	struct journal_entry *entries;
	size_t n;
};

static void
keep_last(void *arg, size_t recipient, const struct journal_entry *entry)
{
	const struct last *last = arg;

	if (recipient < last->n)
		last->entries[recipient] = *entry;
}

void
spool_journal_last(
    const struct spool_file *f, struct journal_entry *entries, size_t n)
{
	struct last last = {.entries = entries, .n = n};

	memset(entries, 0, n * sizeof(*entries));
	spool_journal_each(f, keep_last, &last);
}
