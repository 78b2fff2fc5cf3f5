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

#define ENTRY_MAX (OUTCOME_TEXT_MAX + RELAY_TEXT_MAX + 64) /* bytes, with LF */

/*
 * time <tab> recipient's number <tab> status code <tab> relay <tab> text
 */

static uint64_t
journal_start(const struct spool_file *f)
{
	return (uint64_t)f->env.message_offset + f->env.length;
}

/* Make one line; its length, at most ENTRY_MAX. */
static size_t
make_entry(
    char line[ENTRY_MAX + 1], size_t recipient, const struct journal_entry *e)
{
	int len;

	len = snprintf(line, ENTRY_MAX + 1, "%" PRId64 "\t%zu\t%s\t%s\t%s\n",
	    e->when, recipient, e->dsn, e->relay, e->text);
	return len < 0 || len > ENTRY_MAX ? 0 : (size_t)len;
}

/* True if the journal's last line has no end: the write before was torn. */
static bool
journal_torn(const struct spool_file *f)
{
	char last;

	return f->size > journal_start(f) &&
	       pread_full(f->fd, &last, 1, (off_t)f->size - 1) == 1 &&
	       last != '\n';
}

void
spool_journal_add(struct spool_file *f, size_t recipient, int64_t when,
    const char *dsn, const char *relay, const char *text)
{
	char line[ENTRY_MAX + 2];
	struct journal_entry e = {.when = when};
	size_t len, lf;
	int saved;

	saved = errno;
	(void)printable(e.dsn, sizeof(e.dsn), dsn, strlen(dsn));
	(void)printable(e.relay, sizeof(e.relay), relay, strlen(relay));
	(void)printable(e.text, sizeof(e.text), text, strlen(text));
	lf = journal_torn(f) ? 1 : 0;
	line[0] = '\n';
	len = make_entry(line + lf, recipient, &e);
	if (len == 0)
		return;
	len += lf;
	/*
	 * The newest entries are those that matter: a full journal is begun
	 * afresh.  Envelope and message are not touched by that.
	 */
	if (f->size + len > journal_start(f) + JOURNAL_MAX &&
	    ftruncate(f->fd, (off_t)journal_start(f)) == 0)
		f->size = journal_start(f);
	if (f->size + len <= journal_start(f) + JOURNAL_MAX &&
	    pwrite_full(f->fd, line, len, (off_t)f->size) == 0)
		f->size += len;
	errno = saved;
}

/* Cut the field that ends at `end` out of *p; NULL if there is none. */
static char *
cut_field(char **p, char end)
{
	char *field, *stop;

	field = *p;
	stop = strchr(field, end);
	if (stop == NULL)
		return NULL;
	*stop = '\0';
	*p = stop + 1;
	return field;
}

/* Take one line over, if it is whole and means one of n recipients. */
static void
read_entry(char *line, struct journal_entry *entries, size_t n)
{
	char *when, *recipient, *dsn, *relay;
	long long seconds, index;
	struct journal_entry *e;

	if ((when = cut_field(&line, '\t')) == NULL ||
	    (recipient = cut_field(&line, '\t')) == NULL ||
	    (dsn = cut_field(&line, '\t')) == NULL ||
	    (relay = cut_field(&line, '\t')) == NULL ||
	    parse_number(when, 1, INT64_MAX, &seconds) == -1 ||
	    parse_number(recipient, 0, RECIPIENTS_MAX, &index) == -1 ||
	    (size_t)index >= n)
		return;
	e = &entries[index];
	e->when = seconds;
	(void)printable(e->dsn, sizeof(e->dsn), dsn, strlen(dsn));
	(void)printable(e->relay, sizeof(e->relay), relay, strlen(relay));
	(void)printable(e->text, sizeof(e->text), line, strlen(line));
}

void
spool_journal_last(
    const struct spool_file *f, struct journal_entry *entries, size_t n)
{
	char *text, *line, *rest;
	ssize_t len;

	memset(entries, 0, n * sizeof(*entries));
	if (f->size <= journal_start(f))
		return;
	text = xmalloc(JOURNAL_MAX + 1);
	len = pread_full(f->fd, text, JOURNAL_MAX, (off_t)journal_start(f));
	text[len > 0 ? len : 0] = '\0';
	rest = text;
	while ((line = cut_field(&rest, '\n')) != NULL)
		read_entry(line, entries, n);
	free(text);
}
