/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce_text.c - a notice's words for people, and the message it returns.
 *
 * Runs in:   dma, as runner.
 * Trusts:    bounce.c's choice of recipients. Distrusts: servers' words and
 *            the message, which are quoted, never interpreted.
 * Promises:  lines are short enough for any server.
 */
#include "bounce_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

#define TEXT_WIDTH 72  /* bytes of a line, where it has a blank */
#define WORD_MAX   900 /* bytes without a blank, then cut (RFC 5322, 2.1.1) */
#define SAY_MAX    2048

/* An append that failed makes the commit fail: no check at each line. */
void
notice_say(struct notice *n, const char *fmt, ...)
{
	char text[SAY_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)spool_append(&n->draft, text, strlen(text));
}

/* The words of a text, on as many lines as they need, the first as told. */
void
notice_say_folded(struct notice *n, const char *before, const char *text)
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
		notice_say(n, "%s%.*s", before, (int)len, text);
		before = " ";
		column += len + 1;
		text += len;
	}
	notice_say(n, "\n");
}

/* ---- Header and parts ---- */

static const char *
subject(const struct notice *n)
{
	static const char *const subjects[] = {
	    [NOTICE_OF_FAILURE] = "Your message was not delivered",
	    [NOTICE_OF_DELAY] = "Your message is delayed (you need do nothing)",
	    [NOTICE_OF_SUCCESS] = "Your message was delivered"};

	if (n->for_postmaster)
		return "A message was not delivered, nor its sender told";
	for (size_t i = 0; i < n->f->env.nrecipients; i++)
		if (n->kind == NOTICE_OF_SUCCESS && notice_covers(n, i) &&
		    n->f->env.recipients[i].status == STATUS_RELAYED)
			return "Your message was passed on";
	return subjects[n->kind];
}

void
notice_header(struct notice *n)
{
	const char *id = n->env.id, *host = n->conf->mailname;
	char date[RFC5322_DATE_LEN];

	notice_say(n,
	    "Date: %s\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\n"
	    "To: <%s>\nSubject: %s\n"
	    "Message-ID: <%s@%s>\nAuto-Submitted: auto-replied\n"
	    "MIME-Version: 1.0\n"
	    "Content-Type: multipart/report; report-type=%sdelivery-status;\n"
	    "\tboundary=\"=_%s\"\n" EIGHTBIT
	    "\nThis is a report in MIME format (RFC 3464).\n",
	    rfc5322_date(date, sizeof(date), n->env.arrival), host, n->to.text,
	    subject(n), id, host, n->global ? "global-" : "", id);
}

void
notice_part(struct notice *n, const char *fields)
{
	notice_say(n, "\n--=_%s\nContent-Type: %s\n", n->env.id, fields);
}

/* ---- For people ---- */

/* What became of one that was sent; the server's words help to find it. */
static void
say_success(struct notice *n, const struct recipient *r,
    const struct journal_entry *reason)
{
	const char *relay = reason->relay;
	size_t host = strcspn(relay, "[");

	if (r->status == STATUS_DELIVERED)
		notice_say(n, "\n    It was delivered.\n\n");
	else
		notice_say(n,
		    "\n    It was accepted by the mail server %.*s,"
		    "\n    which does not report what becomes of it. You will"
		    "\n    hear again only if that server returns it.\n",
		    host > 0 ? (int)host : 5, host > 0 ? relay : "there");
	if (r->status == STATUS_RELAYED && reason->text[0] != '\0')
		notice_say_folded(n, "    Its answer was: ", reason->text);
	if (r->status == STATUS_RELAYED)
		notice_say(n, "\n");
}

static void
say_reason(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const char *text = n->reasons[i].text;

	notice_say(n, "<%s>", r->addr.text);
	if (r->orig != NULL)
		notice_say(n, ", to which <%s> led", r->orig);
	if (n->kind == NOTICE_OF_SUCCESS) {
		say_success(n, r, &n->reasons[i]);
		return;
	}
	notice_say_folded(
	    n, "\n    ", *text == '\0' ? "The reason was not recorded." : text);
	notice_say(n, "\n");
}

char *
notice_retry_until(const struct notice *n, char date[RFC5322_DATE_LEN])
{
	return rfc5322_date(
	    date, RFC5322_DATE_LEN, n->f->env.arrival + n->conf->lifetime);
}

static void
say_what_happened(struct notice *n)
{
	const char *host = n->conf->hostname;
	char sent[RFC5322_DATE_LEN], until[RFC5322_DATE_LEN];

	notice_say(n, "%s of\n%s\n",
	    n->for_postmaster ? "A message" : "Your message",
	    rfc5322_date(sent, sizeof(sent), n->f->env.arrival));
	if (n->kind == NOTICE_OF_DELAY)
		notice_say(n,
		    "has not reached the recipients named below yet. You need\n"
		    "do nothing: %s keeps trying until\n%s.\n\n",
		    host, notice_retry_until(n, until));
	else if (n->kind == NOTICE_OF_SUCCESS)
		notice_say(n,
		    "is on its way or delivered. You asked to be told what\n"
		    "became of it:\n\n");
	else
		notice_say(n,
		    "could not be delivered to the recipients named below, "
		    "for\n"
		    "the reasons given there. %s\ndoes not try again.\n\n",
		    host);
}

static void
say_what_next(struct notice *n)
{
	if (n->kind == NOTICE_OF_DELAY)
		notice_say(n, "Do not send it again: it would arrive twice. If "
			      "it cannot be"
			      "\ndelivered by then, another report will "
			      "tell you.\n\n");
	else if (n->kind == NOTICE_OF_SUCCESS)
		notice_say(n, "You need do nothing.\n\n");
	else if (n->for_postmaster)
		notice_say(n,
		    "You get this report because the message has no sender\n"
		    "who could be told.\n\n");
	else
		notice_say(n,
		    "If an address above has a mistake, correct it and send "
		    "the\n"
		    "message again to that recipient alone: others are not\n"
		    "affected. If it is right, reach the recipient in another\n"
		    "way, or show this report to whoever looks after your "
		    "mail.\n"
		    "\n");
}

void
notice_text(struct notice *n)
{
	const struct envelope *e = &n->f->env;

	notice_part(n, "text/plain; charset=utf-8\n" EIGHTBIT);
	say_what_happened(n);
	for (size_t i = 0; i < e->nrecipients; i++)
		if (notice_covers(n, i))
			say_reason(n, i);
	say_what_next(n);
	notice_say(n,
	    "The message's queue id is %s. Attached are\n"
	    "a report for programs and %s.\n",
	    e->id, n->full ? "the message" : "the message's header");
}

/* ---- The message ---- */

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
int
notice_message(struct notice *n)
{
	static const char *const types[2][2] = {
	    {"text/rfc822-headers\n" EIGHTBIT, "message/rfc822\n" EIGHTBIT},
	    {"message/global-headers\n" EIGHTBIT, "message/global\n" EIGHTBIT}};
	int status;

	notice_part(n, types[n->global][n->full]);
	n->last = '\n';
	status = spool_file_read(n->f, quote, n);
	notice_say(n, "\n--=_%s--\n", n->env.id);
	return status == -1 ? -1 : 0;
}
