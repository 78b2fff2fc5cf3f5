/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce.c - notices to the sender (RFC 3464, RFC 3462).
 *
 * Runs in:   dma, as runner.
 * Trusts:    the decoded envelope. Distrusts: servers' words and the message,
 *            which are quoted, never interpreted.
 * Promises:  a recipient is marked as told only after its notice is committed
 *            (or is not wanted); a message nobody can be told of is kept.
 */
#include "bounce.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "aliases.h"
#include "expand.h"
#include "log.h"
#include "util.h"

#define TEXT_WIDTH 72  /* bytes of a line, where it has a blank */
#define WORD_MAX   900 /* bytes without a blank, then cut (RFC 5322, 2.1.1) */
#define SAY_MAX    2048
#define SAID       " said: " /* what smtp_io.c writes around a server's reply */
#define IN_REPLY   " (in reply to "

/* One notice in the making. */
struct notice {
	const struct conf *conf;
	struct spool_file *f; /* the message it is about */
	bool delay;           /* of what waits; else of what failed */
	struct recipients readers;
	bool for_postmaster;
	struct addr to;
	struct envelope env;
	struct spool_draft draft;
	struct journal_entry *reasons;
	bool full; /* the whole message goes back, not its header alone */
	char last; /* byte of the header so far */
};

/* ---- Whom it is for, and whom about ---- */

static bool
failed(const struct recipient *r)
{
	return r->status == STATUS_FAILED;
}

static bool
covered(const struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];

	if (n->delay)
		return recipient_open(r) &&
		       recipient_wants_notice(r, NOTIFY_DELAY);
	return failed(r) && recipient_wants_notice(r, NOTIFY_FAILURE);
}

/* The lowest number the notice covers; nrecipients if there is none. */
static size_t
lowest_covered(const struct notice *n)
{
	size_t i;

	for (i = 0; i < n->f->env.nrecipients && !covered(n, i); i++)
		continue;
	return i;
}

/* Bare addresses of ours get our name, where the two fit together. */
static struct addr
qualified(const struct notice *n, const struct addr *a)
{
	struct addr copy = *a;
	const char *why;

	(void)addr_qualify(&copy, n->conf->mailname, &why);
	return copy;
}

/* Returns 0 with readers; they may be none. */
static int
expand_reader(struct notice *n, const struct addr *to)
{
	struct aliases aliases;
	const char *why;

	n->to = qualified(n, to);
	/* Bad lines were reported when mail was submitted. */
	if (aliases_load(&aliases, n->conf->aliases, NULL, NULL) == -1)
		return -1;
	if (expand_add(&n->readers, n->conf, &aliases, to, 0, NULL, &why) == -1)
		recipients_free(&n->readers);
	aliases_free(&aliases);
	return 0;
}

static bool
is_reader(const struct notice *n, const struct addr *a)
{
	for (size_t i = 0; i < n->readers.count; i++)
		if (addr_equal(a, &n->readers.list[i].addr))
			return true;
	return false;
}

/* The postmaster hears of what has no sender, but not that he got none. */
static int
choose_postmaster(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	const char *why;
	struct addr to;

	if (n->conf->postmaster == NULL ||
	    addr_parse(&to, n->conf->postmaster, false, &why) == -1)
		return 0;
	n->for_postmaster = true;
	if (expand_reader(n, &to) == -1)
		return -1;
	for (size_t i = 0; i < e->nrecipients; i++)
		if (failed(&e->recipients[i]) &&
		    is_reader(n, &e->recipients[i].addr))
			recipients_free(&n->readers);
	return 0;
}

static int
choose_readers(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	const char *about = strpbrk(e->id, "wx");

	/* No third notice about a notice: its id would be none. */
	if (about != NULL && strpbrk(about + 1, "wx") != NULL)
		return 0;
	if (!addr_is_null(&e->sender) && expand_reader(n, &e->sender) == -1)
		return -1;
	return n->readers.count > 0 ? 0 : choose_postmaster(n);
}

/* ---- Saying it ---- */

static void say(struct notice *n, const char *fmt, ...) PRINTFLIKE(2, 3);

/* An append that failed makes the commit fail: no check at each line. */
static void
say(struct notice *n, const char *fmt, ...)
{
	char text[SAY_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)spool_append(&n->draft, text, strlen(text));
}

/* The words of a text, on as many lines as they need, the first as told. */
static void
say_folded(struct notice *n, const char *before, const char *text)
{
	size_t column = 0, len;

	while (*(text += strspn(text, " ")) != '\0') {
		len = strcspn(text, " ");
		if (len > WORD_MAX)
			len = WORD_MAX;
		if (column > 0 && column + len > TEXT_WIDTH) {
			before = "\n    ";
			column = 0;
		}
		say(n, "%s%.*s", before, (int)len, text);
		before = " ";
		column += len + 1;
		text += len;
	}
	say(n, "\n");
}

/*
 * An address as a delivery-status field's value.  That part is ASCII by
 * definition, so others are written with code points (RFC 6533, 3).
 */
static void
say_recipient(struct notice *n, const struct addr *to)
{
	struct addr a = qualified(n, to);
	const char *p = a.text;
	size_t len;

	/* At the text's end, and only there, no character begins. */
	say(n, "Final-Recipient: %s; ", addr_is_ascii(&a) ? "rfc822" : "utf-8");
	for (; (len = addr_utf8_len(p, strlen(p))) > 0; p += len) {
		unsigned point = (unsigned char)*p & (0x7fU >> len);

		for (size_t i = 1; i < len; i++)
			point = point << 6 | ((unsigned char)p[i] & 0x3fU);
		if (len == 1)
			say(n, "%c", *p);
		else
			say(n, "\\x{%X}", point);
	}
	say(n, "\n");
}

/* The byte that "+XX" stands for (RFC 3461, 4), or -1. */
static int
xtext_byte(const char *s)
{
	char hex[3] = "";

	if (*s != '+' || strspn(s + 1, "0123456789ABCDEF") < 2)
		return -1;
	memcpy(hex, s + 1, 2);
	return (int)strtol(hex, NULL, 16);
}

/* Undo xtext; what is none, or not printable, stays. */
static void
say_xtext(struct notice *n, const char *s)
{
	for (; *s != '\0'; s++) {
		int byte = xtext_byte(s);

		if (ascii_isprint(byte))
			s += 2;
		else
			byte = (unsigned char)*s;
		say(n, "%c", byte);
	}
	say(n, "\n");
}

/* ---- The parts ---- */

#define EIGHTBIT "Content-Transfer-Encoding: 8bit\n"

static void
say_header(struct notice *n)
{
	const char *id = n->env.id, *host = n->conf->mailname;
	char date[RFC5322_DATE_LEN];

	say(n,
	    "Date: %s\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\n"
	    "To: <%s>\nSubject: %s\n"
	    "Message-ID: <%s@%s>\nAuto-Submitted: auto-replied\n"
	    "MIME-Version: 1.0\n"
	    "Content-Type: multipart/report; report-type=delivery-status;\n"
	    "\tboundary=\"=_%s\"\n" EIGHTBIT
	    "\nThis is a report in MIME format (RFC 3464).\n",
	    rfc5322_date(date, sizeof(date), n->env.arrival), host, n->to.text,
	    n->delay ? "Mail Is Delayed, Delivery Goes On"
		     : "Undelivered Mail Returned to Sender",
	    id, host, id);
}

static void
say_part(struct notice *n, const char *fields)
{
	say(n, "\n--=_%s\nContent-Type: %s\n", n->env.id, fields);
}

static void
say_reason(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const char *text = n->reasons[i].text;

	say(n, "<%s>", r->addr.text);
	if (r->orig != NULL)
		say(n, ", to which <%s> led", r->orig);
	say_folded(
	    n, "\n    ", *text == '\0' ? "The reason was not recorded." : text);
	say(n, "\n");
}

static char *
retry_until(const struct notice *n, char date[RFC5322_DATE_LEN])
{
	return rfc5322_date(
	    date, RFC5322_DATE_LEN, n->f->env.arrival + n->conf->lifetime);
}

static void
say_what_happened(struct notice *n)
{
	const char *host = n->conf->hostname;
	bool one = envelope_count(&n->f->env, STATUS_FAILED) == 1;
	char date[RFC5322_DATE_LEN];

	if (n->delay)
		say(n,
		    "Your message waits for delivery to what is named below."
		    "\nYou need do nothing: %s tries again\nuntil %s.\n\n",
		    host, retry_until(n, date));
	else
		say(n,
		    "%s could not be delivered to the recipient%s below,\n"
		    "and %s will not try again for %s.\n\n",
		    n->for_postmaster ? "A message" : "Your message",
		    one ? "" : "s", host, one ? "it" : "them");
}

static void
say_text(struct notice *n)
{
	const struct envelope *e = &n->f->env;

	say_part(n, "text/plain; charset=utf-8\n" EIGHTBIT);
	say_what_happened(n);
	for (size_t i = 0; i < e->nrecipients; i++)
		if (covered(n, i))
			say_reason(n, i);
	if (n->delay)
		say(n, "If that comes to nothing, another report will say so."
		       "\n\n");
	else if (n->for_postmaster)
		say(n, "You get this report because the message has no sender\n"
		       "who could be told.\n\n");
	else
		say(n, "Other recipients are not affected. To try once more,\n"
		       "correct what is named above and send it again.\n\n");
	say(n,
	    "Its queue id is %s. Attached are a report for programs\n"
	    "and %s.\n",
	    e->id, n->full ? "the message" : "the message's header");
}

/*
 * A server's reply is what follows "said: ", less the remark that says which
 * command it answers; other reasons are our own words.
 */
static void
say_diagnostic(struct notice *n, const char *text)
{
	char reply[OUTCOME_TEXT_MAX + 1], *remark;
	const char *said = strstr(text, SAID);

	if (said == NULL && *text != '\0')
		say_folded(n, "Diagnostic-Code: x-local; ", text);
	if (said == NULL)
		return;
	(void)compat_strlcpy(reply, said + strlen(SAID), sizeof(reply));
	if ((remark = strstr(reply, IN_REPLY)) != NULL)
		*remark = '\0';
	say_folded(n, "Diagnostic-Code: smtp; ", reply);
}

/* A delay is never a status of class 5, whatever deferred it (RFC 3463, 2). */
static void
say_action(struct notice *n, const char *dsn)
{
	if (n->delay)
		say(n, "Action: delayed\nStatus: %s\n",
		    dsn[0] == '4' ? dsn : "4.0.0");
	else
		say(n, "Action: failed\nStatus: %s\n",
		    dsn[0] == '4' || dsn[0] == '5' ? dsn : "5.0.0");
}

static void
say_status(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const struct journal_entry *reason = &n->reasons[i];
	char date[RFC5322_DATE_LEN];
	size_t type = r->orcpt == NULL ? 0 : strcspn(r->orcpt, ";");
	size_t host = strcspn(reason->relay, "[");

	say(n, "\n");
	if (type > 0 && r->orcpt[type] == ';') {
		say(n, "Original-Recipient: %.*s; ", (int)type, r->orcpt);
		say_xtext(n, r->orcpt + type + 1);
	}
	say_recipient(n, &r->addr);
	say_action(n, reason->dsn);
	if (host > 0 && reason->relay[host] == '[')
		say(n, "Remote-MTA: dns; %.*s\n", (int)host, reason->relay);
	say_diagnostic(n, reason->text);
	if (reason->when != 0)
		say(n, "Last-Attempt-Date: %s\n",
		    rfc5322_date(date, sizeof(date), reason->when));
	if (n->delay)
		say(n, "Will-Retry-Until: %s\n", retry_until(n, date));
}

static void
say_report(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	char date[RFC5322_DATE_LEN];

	say_part(n, "message/delivery-status\n");
	if (e->envid != NULL) {
		say(n, "Original-Envelope-Id: ");
		say_xtext(n, e->envid);
	}
	say(n, "Reporting-MTA: dns; %s\nArrival-Date: %s\n", n->conf->hostname,
	    rfc5322_date(date, sizeof(date), e->arrival));
	for (size_t i = 0; i < e->nrecipients; i++)
		if (covered(n, i))
			say_status(n, i);
}

/* All of it, or up to the empty line, where it stops the reading with 1. */
static int
quote(void *arg, const char *p, size_t len)
{
	struct notice *n = arg;
	size_t i = len;

	if (!n->full)
		for (i = 0; i < len && (n->last != '\n' || p[i] != '\n'); i++)
			n->last = p[i];
	if (spool_append(&n->draft, p, i) == -1)
		return -1;
	return i < len ? 1 : 0;
}

/* Returns 0, or -1 with errno: the message cannot be read. */
static int
say_message(struct notice *n)
{
	int status;

	say_part(n, n->full ? "message/rfc822\n" EIGHTBIT
			    : "text/rfc822-headers\n" EIGHTBIT);
	n->last = '\n';
	status = spool_file_read(n->f, quote, n);
	say(n, "\n--=_%s--\n", n->env.id);
	return status == -1 ? -1 : 0;
}

/* ---- Making it ---- */

static void
fill_envelope(struct notice *n, const struct spool *s)
{
	n->env.uid = s->uid;
	n->env.arrival = time(NULL);
	n->env.recipients = n->readers.list;
	n->env.nrecipients = n->readers.count;
	if (n->delay)
		(void)snprintf(
		    n->env.id, sizeof(n->env.id), "%.26sw", n->f->env.id);
	else
		(void)snprintf(n->env.id, sizeof(n->env.id), "%.26sx%u",
		    n->f->env.id, (unsigned)lowest_covered(n));
}

/* Commit the notice; that it was committed before is as good. */
static int
commit(struct notice *n, const struct spool *s)
{
	const struct envelope *e = &n->f->env;

	fill_envelope(n, s);
	if (spool_create(s, &n->env, &n->draft) == -1)
		return errno == EEXIST ? 0 : -1;
	/* RET speaks of failures only (RFC 3461, 4.3). */
	n->full = !n->delay && (e->ret == RET_FULL || (e->ret == RET_DEFAULT &&
							  n->conf->fullbounce));
	n->reasons = xcalloc(e->nrecipients, sizeof(*n->reasons));
	spool_journal_last(n->f, n->reasons, e->nrecipients);
	say_header(n);
	say_text(n);
	say_report(n);
	if (say_message(n) == -1) {
		spool_abandon(s, &n->draft);
		return -1;
	}
	if (spool_commit(s, &n->draft) == -1 && errno != EEXIST)
		return -1;
	return 0;
}

/*
 * From the highest number down: the notice's id comes from the lowest, so
 * until that is marked a run after a crash finds the same id again.
 */
static int
mark_told(struct spool_file *f)
{
	for (size_t i = f->env.nrecipients; i-- > 0;)
		if (failed(&f->env.recipients[i]) &&
		    spool_file_mark(f, i, STATUS_TOLD) == -1)
			return -1;
	return spool_file_sync(f);
}

/*
 * Nobody can be told: keep the message where people find it, but not while
 * it has recipients that may still get it.
 */
static int
park(const struct spool *s, struct spool_file *f, bool *parked)
{
	if (envelope_open(&f->env))
		return 0;
	if (spool_file_park(s, f) == -1)
		return -1;
	*parked = true;
	log_event(LOG_BOUNCE, LOG_CRIT,
	    "%s: undeliverable, and nobody can be told; kept as dead.%s",
	    f->env.id, f->env.id);
	(void)spool_sync(s);
	return 0;
}

static int
tell(const struct spool *s, struct notice *n, char *notice_id, bool *parked)
{
	if (choose_readers(n) == -1)
		return -1;
	if (n->readers.count == 0)
		return park(s, n->f, parked);
	if (commit(n, s) == -1 || mark_told(n->f) == -1)
		return -1;
	(void)compat_strlcpy(notice_id, n->env.id, QUEUE_ID_MAX + 1);
	log_event(LOG_BOUNCE, LOG_INFO, "%s: %s non-delivery notification: %s",
	    n->f->env.id, n->for_postmaster ? "postmaster" : "sender",
	    notice_id);
	return 0;
}

static void
notice_free(struct notice *n)
{
	recipients_free(&n->readers);
	free(n->reasons);
}

int
bounce_settle(const struct spool *s, const struct conf *c, struct spool_file *f,
    char *notice_id, bool *parked)
{
	struct notice n = {.conf = c, .f = f};
	int status;

	notice_id[0] = '\0';
	*parked = false;
	if (envelope_count(&f->env, STATUS_FAILED) == 0)
		return 0;
	if (lowest_covered(&n) == f->env.nrecipients)
		return mark_told(f);
	status = tell(s, &n, notice_id, parked);
	/* To our caller ENOENT would say that the message is gone. */
	if (status == -1 && errno == ENOENT)
		errno = EIO;
	notice_free(&n);
	return status;
}

/* ---- What waits ---- */

/* A clock that was set back makes nothing old. */
static bool
warning_due(const struct notice *n)
{
	const struct envelope *e = &n->f->env;

	return n->conf->warn > 0 && !e->warned && !addr_is_null(&e->sender) &&
	       time(NULL) - e->arrival > n->conf->warn &&
	       lowest_covered(n) < e->nrecipients;
}

static int
warn(const struct spool *s, struct notice *n, char *notice_id)
{
	/* The postmaster has mailq, and hears of it if it fails. */
	if (expand_reader(n, &n->f->env.sender) == -1)
		return -1;
	if (n->readers.count > 0) {
		if (commit(n, s) == -1)
			return -1;
		(void)compat_strlcpy(notice_id, n->env.id, QUEUE_ID_MAX + 1);
		log_event(LOG_BOUNCE, LOG_INFO,
		    "%s: sender delay notification: %s", n->f->env.id,
		    notice_id);
	}
	n->f->env.warned = true;
	return 0;
}

int
bounce_warn(const struct spool *s, const struct conf *c, struct spool_file *f,
    char *notice_id)
{
	struct notice n = {.conf = c, .f = f, .delay = true};
	int status = 0;

	notice_id[0] = '\0';
	if (warning_due(&n))
		status = warn(s, &n, notice_id);
	notice_free(&n);
	return status;
}
