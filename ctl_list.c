/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl_list.c - what is queued and why: Postfix's mailq, or JSON.
 *
 * Runs in:   dma, in the foreground.
 * Promises:  what is printed of addresses and replies holds no control
 *            character; JSON is one well-formed object a line, in UTF-8.
 */
#include "ctl_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "util.h"

#define REASON_COLUMN 76 /* where Postfix's reasons end */
#define BYTES_WIDTH   8
#define ID_WIDTH      (QUEUE_ID_LEN + 1)

/* Of a well-formed character that is not ASCII. */
static bool
may_be_shown(const char *s, size_t len)
{
	/* C1 controls steer terminals; of the rest nothing is seen, or it
	 * changes the direction, ends lines, or is in private use. */
	static const uint32_t never[][2] = {{0x80, 0xa0}, {0xad, 0xad},
	    {0x61c, 0x61c}, {0x180e, 0x180e}, {0x2000, 0x200f},
	    {0x2028, 0x202f}, {0x205f, 0x206f}, {0x3000, 0x3000},
	    {0xe000, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfe00, 0xfe0f},
	    {0xfeff, 0xfeff}, {0xfff0, 0xffff}, {0xe0000, UINT32_MAX}};
	uint32_t point = (unsigned char)s[0] & (0x7fU >> len);

	for (size_t i = 1; i < len; i++)
		point = point << 6 | ((unsigned char)s[i] & 0x3fU);
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		if (point >= never[i][0] && point <= never[i][1])
			return false;
	return true;
}

void
ctl_print_line(const struct listing *l, const char *before, const char *text)
{
	size_t left = strlen(text), len;

	printf("%s", before);
	for (; left > 0; text += len, left -= len) {
		len = addr_utf8_len(text, left);
		if (len > 1 && l->in->env.utf8 && may_be_shown(text, len)) {
			printf("%.*s", (int)len, text);
			continue;
		}
		putchar(ascii_isprint((unsigned char)*text) ? *text : '?');
		len = 1;
	}
	putchar('\n');
}

const char *
ctl_time(char dst[CTL_TIME_LEN], int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL ||
	    strftime(dst, CTL_TIME_LEN, "%a %b %e %H:%M:%S", &tm) == 0)
		(void)compat_strlcpy(dst, "-", CTL_TIME_LEN);
	return dst;
}

const char *
ctl_wait_text(char dst[CTL_WAIT_LEN], const struct envelope *e)
{
	char when[CTL_TIME_LEN];

	dst[0] = '\0';
	if (e->attempts > 0)
		(void)snprintf(dst, CTL_WAIT_LEN, "%" PRIu32 " %s, %s%s",
		    e->attempts, e->attempts == 1 ? "try" : "tries",
		    e->hold                     ? "held"
		    : e->next_try <= time(NULL) ? "due"
						: "next ",
		    e->hold || e->next_try <= time(NULL)
			? ""
			: ctl_time(when, e->next_try));
	return dst;
}

static const char *
sender_text(const struct envelope *e)
{
	return addr_is_null(&e->sender) ? "MAILER-DAEMON" : e->sender.text;
}

static bool
is_open(const struct recipient *r)
{
	return r->status == STATUS_TODO || r->status == STATUS_UNCERTAIN;
}

/* ---- Text ---- */

static char
mark_of(const struct spool_file *f)
{
	if (f->env.hold)
		return '!';
	if (f->env.next_try == NEXT_TRY_EXPIRE)
		return '#';
	return spool_file_busy(f) ? '*' : ' ';
}

static void
print_head(const struct listing *l, const struct spool_file *f)
{
	char id[QUEUE_ID_MAX + 2], when[CTL_TIME_LEN];
	int over, width = BYTES_WIDTH;

	(void)snprintf(id, sizeof(id), "%s%c", f->env.id, mark_of(f));
	over = (int)strlen(id) - ID_WIDTH; /* a notice's id is longer */
	if (over > 0)
		width = over < width ? width - over : 1;
	printf("%-*s %*llu %-19s", ID_WIDTH, id, width,
	    (unsigned long long)f->env.length, ctl_time(when, f->env.arrival));
	ctl_print_line(l, "  ", sender_text(&f->env));
}

/* A reason stands once, before the recipients that it concerns. */
static void
print_recipients(const struct listing *l, const struct spool_file *f,
    const struct journal_entry *last)
{
	const char *shown = "";
	char before[64], wait[CTL_WAIT_LEN];
	const char *between;
	int pad;

	between = *ctl_wait_text(wait, &f->env) == '\0' ? "" : "; ";
	(void)snprintf(before, sizeof(before), "%*s", ID_WIDTH + 31, "");
	for (size_t i = 0; i < f->env.nrecipients; i++) {
		if (!is_open(&f->env.recipients[i]))
			continue;
		if (last[i].when != 0 && strcmp(shown, last[i].text) != 0) {
			pad = REASON_COLUMN - (int)strlen(last[i].text) -
			      (int)strlen(between) - (int)strlen(wait);
			printf("%*s(%s%s%s)\n", pad > 0 ? pad : 0, "",
			    last[i].text, between, wait);
			shown = last[i].text;
		}
		ctl_print_line(l, before, f->env.recipients[i].addr.text);
	}
}

static void
print_text(const struct listing *l, const struct spool_file *f,
    const struct journal_entry *last)
{
	print_head(l, f);
	print_recipients(l, f, last);
	printf("\n");
}

/* ---- JSON ---- */

/* Addresses may be UTF-8 and keep it; what is none becomes U+FFFD. */
static void
json_string(const char *name, const char *s)
{
	size_t left = strlen(s);

	printf("\"%s\": \"", name);
	while (left > 0) {
		size_t len = addr_utf8_len(s, left);

		if (*s == '"' || *s == '\\')
			printf("\\%c", *s);
		else if (ascii_iscntrl((unsigned char)*s))
			printf("\\u%04x", (unsigned char)*s);
		else if (len == 0)
			printf("\\ufffd");
		else if (len == 2 && (unsigned char)s[0] == 0xc2 &&
			 (unsigned char)s[1] < 0xa0) /* C1: steers terminals */
			printf("\\u00%02x", (unsigned char)s[1]);
		else
			printf("%.*s", (int)len, s);
		len = len == 0 ? 1 : len;
		s += len;
		left -= len;
	}
	putchar('"');
}

static const char *
queue_name(const struct spool_file *f)
{
	if (f->env.hold)
		return "hold";
	if (spool_file_busy(f))
		return "active";
	return f->env.attempts == 0 ? "incoming" : "deferred";
}

static void
json_recipients(const struct spool_file *f, const struct journal_entry *last)
{
	const char *comma = "";

	for (size_t i = 0; i < f->env.nrecipients; i++) {
		const struct recipient *r = &f->env.recipients[i];

		if (!is_open(r) && r->status != STATUS_FAILED)
			continue;
		printf("%s{", comma);
		json_string("address", r->addr.text);
		if (r->orig != NULL) {
			printf(", ");
			json_string("orig_address", r->orig);
		}
		if (last[i].when != 0) {
			printf(", ");
			json_string(
			    is_open(r) ? "delay_reason" : "bounce_reason",
			    last[i].text);
		}
		printf("}");
		comma = ", ";
	}
}

/* The members of Postfix's postqueue -j, and three more. */
static void
print_json(const struct spool_file *f, const struct journal_entry *last)
{
	const struct envelope *e = &f->env;

	printf("{");
	json_string("queue_name", queue_name(f));
	printf(", ");
	json_string("queue_id", e->id);
	printf(", \"arrival_time\": %" PRId64 ", \"message_size\": %" PRIu64
	       ", \"forced_expire\": %s, ",
	    e->arrival, e->length,
	    e->next_try == NEXT_TRY_EXPIRE ? "true" : "false");
	json_string("sender", sender_text(e));
	printf(", \"recipients\": [");
	json_recipients(f, last);
	printf("], \"next_try\": %" PRId64 ", \"attempts\": %" PRIu32
	       ", \"held\": %s}\n",
	    e->next_try, e->attempts, e->hold ? "true" : "false");
}

/* ---- The list ---- */

/* Returns the bytes of the message's file, 0 if it is gone. */
static uint64_t
print_one(const struct listing *l, const char *id)
{
	struct journal_entry *last;
	struct spool_file f;
	uint64_t size;

	if (spool_file_open(&l->in->spool, id, false, &f) != 0)
		return 0;
	last = xcalloc(f.env.nrecipients, sizeof(*last));
	spool_journal_last(&f, last, f.env.nrecipients);
	if (l->o->json)
		print_json(&f, last);
	else
		print_text(l, &f, last);
	free(last);
	size = f.size;
	spool_file_close(&f);
	return size;
}

static void
print_kept(const char *spooldir, const struct spool_totals *t)
{
	if (t->bad > 0)
		printf("(%zu damaged, kept as %s/bad.*)\n", t->bad, spooldir);
	if (t->dead > 0)
		printf("(%zu with nobody to tell, kept as %s/dead.*)\n",
		    t->dead, spooldir);
	if (t->old > 0)
		printf("(%zu of DragonFly's dma: root's dmactl run takes them "
		       "over, or bad.Q* says why not)\n",
		    t->old);
}

/* True if the list is of a choice: then its last line counts that alone. */
static bool
is_choice(const struct ctl_options *o)
{
	return o->nids > 0 || o->from_stdin || o->selection.count > 0 ||
	       o->selection.older > 0;
}

static void
print_all(const struct listing *l, struct spool_totals *t)
{
	struct spool_totals chosen = {0};

	if (t->messages > 0)
		printf("%-*s --Size-- ----Arrival Time---- "
		       "-Sender/Recipient-------\n",
		    ID_WIDTH, "-Queue ID-");
	for (size_t i = 0; i < l->count; i++) {
		uint64_t bytes = print_one(l, l->list[i].id);

		chosen.bytes += bytes;
		chosen.messages += bytes > 0;
	}
	if (is_choice(l->o))
		*t = chosen;
	print_kept(l->in->conf->spooldir, t);
	/* The last line is the one that monitors read. */
	if (t->messages == 0 && !is_choice(l->o))
		printf("Mail queue is empty\n");
	else
		printf("-- %llu Kbytes in %zu Request%s.\n",
		    (unsigned long long)(t->bytes / 1024), t->messages,
		    t->messages == 1 ? "" : "s");
}

void
ctl_list(struct listing *l)
{
	struct spool_totals t;

	if (l->o->json) {
		for (size_t i = 0; i < l->count; i++)
			(void)print_one(l, l->list[i].id);
	} else if (spool_totals(&l->in->spool, &t) == 0) {
		print_all(l, &t);
	} else {
		complain("cannot list the spool: %s", strerror(errno));
		l->status = EX_IOERR;
	}
}

int
ctl_count(struct instance *in)
{
	struct spool_totals t;

	if (spool_totals(&in->spool, &t) != 0) {
		complain("cannot list the spool: %s", strerror(errno));
		return EX_IOERR;
	}
	printf("%zu\n", t.messages);
	return ctl_flush();
}
