/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.c - mailq and newaliases: what is queued and why; the alias file's faults.
 *
 * Runs in:   dma, in the foreground.
 * Promises:  a user sees his own messages alone, root all; what is printed
 *            of addresses and replies holds no control character.
 */
#include "ctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "aliases.h"
#include "util.h"

#define REASON_COLUMN 76 /* where Postfix's reasons end */
#define BYTES_WIDTH   8
#define ID_WIDTH      (QUEUE_ID_LEN + 1)

struct listed {
	char id[QUEUE_ID_MAX + 1];
	int64_t arrival;
};

struct listing {
	struct instance *in;
	struct listed *list;
	size_t count, size;
};

/* ---- mailq ---- */

static int
collect(void *arg, const char *id)
{
	struct listing *l = arg;
	struct spool_file f;

	if (spool_file_open(&l->in->spool, id, false, &f) != 0)
		return 0; /* gone meanwhile, or not the caller's */
	if (l->count == l->size) {
		l->size = l->size == 0 ? 64 : l->size * 2;
		l->list = xreallocarray(l->list, l->size, sizeof(*l->list));
	}
	compat_strlcpy(l->list[l->count].id, id, sizeof(l->list->id));
	l->list[l->count++].arrival = f.env.arrival;
	spool_file_close(&f);
	return 0;
}

static int
by_arrival(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->arrival != y->arrival)
		return x->arrival < y->arrival ? -1 : 1;
	return strcmp(x->id, y->id);
}

static void
print_address(const char *before, const char *text)
{
	char safe[ADDR_MAX + 1];

	printf("%s%s\n", before,
	    printable(safe, sizeof(safe), text, strlen(text)));
}

static void
print_head(const struct spool_file *f)
{
	char id[QUEUE_ID_MAX + 2], when[32];
	int over, width = BYTES_WIDTH;
	time_t arrival = (time_t)f->env.arrival;
	struct tm tm;
	char mark = f->env.hold ? '!' : spool_file_busy(f) ? '*' : ' ';

	(void)snprintf(id, sizeof(id), "%s%c", f->env.id, mark);
	if (localtime_r(&arrival, &tm) == NULL ||
	    strftime(when, sizeof(when), "%a %b %e %H:%M:%S", &tm) == 0)
		compat_strlcpy(when, "-", sizeof(when));
	over = (int)strlen(id) - ID_WIDTH; /* a notice's id is longer */
	if (over > 0)
		width = over < width ? width - over : 1;
	printf("%-*s %*llu %-19s", ID_WIDTH, id, width,
	    (unsigned long long)f->env.length, when);
	print_address("  ", addr_is_null(&f->env.sender) ? "MAILER-DAEMON"
							 : f->env.sender.text);
}

/* A reason stands once, before the recipients that it concerns. */
static void
print_recipients(const struct spool_file *f)
{
	const struct envelope *env = &f->env;
	struct journal_entry *last =
	    xcalloc(env->nrecipients + 1, sizeof(*last));
	const char *shown = "";
	char before[64];

	spool_journal_last(f, last, env->nrecipients);
	(void)snprintf(before, sizeof(before), "%*s", ID_WIDTH + 31, "");
	for (size_t i = 0; i < env->nrecipients; i++) {
		enum recipient_status status = env->recipients[i].status;

		if (status != STATUS_TODO && status != STATUS_UNCERTAIN)
			continue;
		if (last[i].when != 0 && strcmp(shown, last[i].text) != 0) {
			int pad = REASON_COLUMN - (int)strlen(last[i].text);

			printf(
			    "%*s(%s)\n", pad > 0 ? pad : 0, "", last[i].text);
			shown = last[i].text;
		}
		print_address(before, env->recipients[i].addr.text);
	}
	free(last);
}

static void
print_kept(const char *spooldir, const struct spool_totals *t)
{
	if (t->bad > 0)
		printf("(%zu damaged, kept as %s/bad.*)\n", t->bad, spooldir);
	if (t->dead > 0)
		printf("(%zu with nobody to tell, kept as %s/dead.*)\n",
		    t->dead, spooldir);
}

static int
print_list(struct listing *l)
{
	struct spool_totals t;

	if (spool_totals(&l->in->spool, &t) != 0) {
		complain("cannot list the spool: %s", strerror(errno));
		return EX_IOERR;
	}
	if (t.messages > 0)
		printf("%-*s --Size-- ----Arrival Time---- "
		       "-Sender/Recipient-------\n",
		    ID_WIDTH, "-Queue ID-");
	for (size_t i = 0; i < l->count; i++) {
		struct spool_file f;

		if (spool_file_open(&l->in->spool, l->list[i].id, false, &f) !=
		    0)
			continue;
		print_head(&f);
		print_recipients(&f);
		printf("\n");
		spool_file_close(&f);
	}
	print_kept(l->in->conf->spooldir, &t);
	/* The last line is the one that monitors read. */
	if (t.messages == 0)
		printf("Mail queue is empty\n");
	else
		printf("-- %llu Kbytes in %zu Request%s.\n",
		    (unsigned long long)(t.bytes / 1024), t.messages,
		    t.messages == 1 ? "" : "s");
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int
ctl_mailq(struct instance *in)
{
	struct listing l = {.in = in};
	int status;

	if (spool_scan(&in->spool, collect, &l) != 0) {
		complain("cannot list the spool: %s", strerror(errno));
		return EX_IOERR;
	}
	if (l.count > 0)
		qsort(l.list, l.count, sizeof(*l.list), by_arrival);
	status = print_list(&l);
	free(l.list);
	return status;
}

/* ---- newaliases ---- */

static void
report(void *arg, const char *line)
{
	(void)arg;
	complain("%s", line);
}

int
ctl_newaliases(struct instance *in)
{
	struct aliases a = {0};
	const char *path = in->conf->aliases;
	int status = EX_OK;

	if (aliases_load(&a, path, report, NULL) != 0) {
		complain("%s: cannot read: %s", path, strerror(errno));
		return EX_NOINPUT;
	}
	if (a.errors > 0)
		status = EX_DATAERR;
	aliases_free(&a);
	return status;
}
