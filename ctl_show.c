/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl_show.c - all about one message: envelope, recipients, journal, text.
 *
 * Runs in:   dma, in the foreground.
 * Promises:  no byte of a message steers the terminal that it is shown on.
 */
#include "ctl_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

static const struct {
	enum recipient_status status;
	const char *words;
} states[] = {
    {STATUS_TODO, "to do"},
    {STATUS_UNCERTAIN, "uncertain: sent, but no answer came"},
    {STATUS_SENT, "sent"},
    {STATUS_DELIVERED, "delivered; the sender is still to be told"},
    {STATUS_RELAYED, "relayed; the sender is still to be told"},
    {STATUS_FAILED, "failed; the sender is still to be told"},
    {STATUS_TOLD, "failed; the sender was told"},
    {STATUS_REMOVED, "removed"},
};

static const char *
state_words(enum recipient_status status)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(states) && states[i].status != status)
		i++;
	return states[i].words;
}

static void
show_envelope(const struct listing *l, const struct spool_file *f)
{
	const struct envelope *e = &f->env;
	char date[RFC5322_DATE_LEN], wait[CTL_WAIT_LEN];

	printf("id:        %s\narrival:   %s\nuid:       %lu\n", e->id,
	    rfc5322_date(date, sizeof(date), e->arrival),
	    (unsigned long)e->uid);
	ctl_print_line(
	    l, "sender:    ", addr_is_null(&e->sender) ? "<>" : e->sender.text);
	printf("size:      %" PRIu64 "\n", e->length);
	if (e->envid != NULL)
		ctl_print_line(l, "envid:     ", e->envid);
	(void)ctl_wait_text(wait, e);
	printf("state:     %s%s%s\n",
	    e->hold                          ? "held"
	    : e->next_try == NEXT_TRY_EXPIRE ? "told to expire"
	    : spool_file_busy(f)             ? "being delivered"
	    : e->next_try <= time(NULL)      ? "due"
					     : "waiting",
	    wait[0] == '\0' ? "" : ": ", wait);
	for (size_t i = 0; i < e->nrecipients; i++) {
		const struct recipient *r = &e->recipients[i];

		printf("recipient: ");
		ctl_print_line(l, "", r->addr.text);
		printf("           %s\n", state_words(r->status));
		if (r->orig != NULL)
			ctl_print_line(l, "           for ", r->orig);
	}
}

struct shown {
	const struct listing *l;
	const struct spool_file *f;
};

static void
show_event(void *arg, size_t recipient, const struct journal_entry *entry)
{
	const struct shown *s = arg;
	char when[CTL_TIME_LEN];

	printf("journal:   %s ", ctl_time(when, entry->when));
	ctl_print_line(s->l, "", s->f->env.recipients[recipient].addr.text);
	printf("           %s %s (%s)\n", entry->dsn,
	    entry->relay[0] == '\0' ? "none" : entry->relay, entry->text);
}

struct text {
	bool body; /* the whole message */
	bool terminal;
	char last; /* byte printed */
};

static int
show_piece(void *arg, const char *p, size_t len)
{
	struct text *t = arg;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)p[i];

		if (!t->body && c == '\n' && t->last == '\n')
			return 1;
		/* 0x80 to 0x9f steer some terminals too. */
		if (t->terminal && c != '\n' && c != '\t' && !ascii_isprint(c))
			c = '?';
		putchar(c);
		t->last = (char)c;
	}
	return 0;
}

static int
show_one(const struct listing *l, const char *id)
{
	struct text t = {.body = l->o->body,
	    .terminal = isatty(STDOUT_FILENO) == 1,
	    .last = '\n'};
	struct spool_file f;
	int status;

	if (spool_file_open(&l->in->spool, id, false, &f) != 0)
		return 0; /* gone meanwhile */
	show_envelope(l, &f);
	spool_journal_each(&f, show_event, &(struct shown){l, &f});
	putchar('\n');
	status = spool_file_read(&f, show_piece, &t);
	if (t.last != '\n')
		putchar('\n');
	spool_file_close(&f);
	return status == -1 ? -1 : 0;
}

void
ctl_show(struct listing *l)
{
	for (size_t i = 0; i < l->count; i++) {
		if (i > 0)
			putchar('\n');
		if (show_one(l, l->list[i].id) == 0)
			continue;
		complain("%s: cannot read: %s", l->list[i].id, strerror(errno));
		l->status = EX_IOERR;
	}
}
