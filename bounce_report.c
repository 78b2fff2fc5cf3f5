/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce_report.c - a notice's part for programs (RFC 3464, RFC 6533).
 *
 * Runs in:   dma, as runner.
 * Trusts:    bounce.c's choice of recipients. Distrusts: servers' words and
 *            the message, which are quoted, never interpreted.
 * Promises:  a field's value stands in its line, printable.
 */
#include "bounce_parts.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

#define SAID     " said: " /* what smtp_io.c writes around a server's reply */
#define IN_REPLY " (in reply to "

static bool
ascii_only(const char *s)
{
	while (*s != '\0' && (unsigned char)*s < 0x80)
		s++;
	return *s == '\0';
}

/*
 * An address as a field's value.  A report of the old kind is ASCII, so that
 * others are written with code points there (RFC 6533, 3).
 */
static void
say_address(struct notice *n, const char *label, const char *text)
{
	bool ascii = ascii_only(text);
	size_t len;

	/* At the text's end, and only there, no character begins. */
	notice_say(n, "%s: %s; ", label, ascii ? "rfc822" : "utf-8");
	for (; (len = addr_utf8_len(text, strlen(text))) > 0; text += len) {
		unsigned point = (unsigned char)*text & (0x7fU >> len);

		for (size_t i = 1; i < len; i++)
			point = point << 6 | ((unsigned char)text[i] & 0x3fU);
		if (len == 1 || n->global)
			notice_say(n, "%.*s", (int)len, text);
		else
			notice_say(n, "\\x{%X}", point);
	}
	notice_say(n, "\n");
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
		notice_say(n, "%c", byte);
	}
	notice_say(n, "\n");
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

	if (n->kind == NOTICE_OF_SUCCESS) {
		if (*text >= '2' && *text <= '5')
			notice_say_folded(n, "Diagnostic-Code: smtp; ", text);
		return;
	}
	if (said == NULL && *text != '\0')
		notice_say_folded(n, "Diagnostic-Code: x-local; ", text);
	if (said == NULL)
		return;
	(void)compat_strlcpy(reply, said + strlen(SAID), sizeof(reply));
	if ((remark = strstr(reply, IN_REPLY)) != NULL)
		*remark = '\0';
	notice_say_folded(n, "Diagnostic-Code: smtp; ", reply);
}

/* A delay is never a status of class 5, whatever deferred it (RFC 3463, 2). */
static void
say_action(struct notice *n, const struct recipient *r, const char *dsn)
{
	if (n->kind == NOTICE_OF_SUCCESS)
		notice_say(n, "Action: %s\nStatus: %s\n",
		    r->status == STATUS_DELIVERED ? "delivered" : "relayed",
		    dsn[0] == '2' ? dsn : "2.0.0");
	else if (n->kind == NOTICE_OF_DELAY)
		notice_say(n, "Action: delayed\nStatus: %s\n",
		    dsn[0] == '4' ? dsn : "4.0.0");
	else
		notice_say(n, "Action: failed\nStatus: %s\n",
		    dsn[0] == '4' || dsn[0] == '5' ? dsn : "5.0.0");
}

static void
say_status(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const struct journal_entry *reason = &n->reasons[i];
	char date[RFC5322_DATE_LEN];
	struct addr a;
	size_t type = r->orcpt == NULL ? 0 : strcspn(r->orcpt, ";");
	size_t host = strcspn(reason->relay, "[");

	notice_say(n, "\n");
	if (type > 0 && r->orcpt[type] == ';') {
		notice_say(
		    n, "Original-Recipient: %.*s; ", (int)type, r->orcpt);
		say_xtext(n, r->orcpt + type + 1);
	}
	if (type == 0 && r->orig != NULL && strchr(r->orig, '@') != NULL)
		say_address(n, "Original-Recipient", r->orig);
	a = notice_qualified(n, &r->addr);
	say_address(n, "Final-Recipient", a.text);
	say_action(n, r, reason->dsn);
	if (host > 0 && reason->relay[host] == '[')
		notice_say(
		    n, "Remote-MTA: dns; %.*s\n", (int)host, reason->relay);
	say_diagnostic(n, reason->text);
	if (reason->when != 0)
		notice_say(n, "Last-Attempt-Date: %s\n",
		    rfc5322_date(date, sizeof(date), reason->when));
	if (n->kind == NOTICE_OF_DELAY)
		notice_say(
		    n, "Will-Retry-Until: %s\n", notice_retry_until(n, date));
}

void
notice_report(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	char date[RFC5322_DATE_LEN];

	notice_part(n, n->global ? "message/global-delivery-status\n" EIGHTBIT
				 : "message/delivery-status\n");
	if (e->envid != NULL) {
		notice_say(n, "Original-Envelope-Id: ");
		say_xtext(n, e->envid);
	}
	notice_say(n, "Reporting-MTA: dns; %s\nArrival-Date: %s\n",
	    n->conf->hostname, rfc5322_date(date, sizeof(date), e->arrival));
	for (size_t i = 0; i < e->nrecipients; i++)
		if (notice_covers(n, i))
			say_status(n, i);
}
