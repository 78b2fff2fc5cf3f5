/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mail_repair.c - a header's recipients, and the header as it is stored.
 *
 * Runs in:   dma, submitting. No files, no globals.
 * Trusts:    the facts it is given. Distrusts: the user's header.
 * Promises:  no Bcc is stored; what it adds is whole lines of its own.
 */
#include "mail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "header.h"
#include "limits.h"
#include "util.h"

#define LINE_FOLD 78 /* RFC 5322, 2.1.1: what a line should not exceed */

/* Hands addresses on to a caller that does not care where they stood. */
struct relay {
	int (*each)(void *arg, const struct addr *a);
	void *arg;
};

static int
relay_addr(void *arg, const struct addr *a, size_t start, size_t end)
{
	const struct relay *r = arg;

	(void)start;
	(void)end;
	return r->each(r->arg, a);
}

int
mail_header_recipients(const struct mail_header *h,
    int (*each)(void *arg, const struct addr *a), void *arg, char *why,
    size_t why_size)
{
	struct relay relay = {.each = each, .arg = arg};
	struct header_field *fields, *f;
	const char *block = buf_str(&h->text), *problem;
	unsigned resent = 0;
	size_t count, i;
	int result = 0;

	count = header_scan(block, h->text.len, &fields);
	for (i = 0; i < count; i++)
		resent |= fields[i].traits & HEADER_RESENT;
	for (i = 0; i < count && result == 0; i++) {
		f = &fields[i];
		if (!(f->traits & HEADER_RECIPIENTS) ||
		    (f->traits & HEADER_RESENT) != resent)
			continue;
		result = addr_parse_list(block + f->body, f->end - f->body,
		    relay_addr, &relay, &problem);
		if (result == -1 && problem == NULL)
			why[0] = '\0';
		else if (result == -1)
			(void)snprintf(why, why_size, "an address in %.*s %s",
			    (int)(f->body - f->start), block + f->start,
			    problem);
	}
	free(fields);
	return result;
}

/* ---- The header as it is stored ---- */

/* A login name as a comment can hold it. */
static const char *
comment_text(char *dst, size_t size, const char *login)
{
	char *p;

	printable(dst, size, login, strlen(login));
	for (p = dst; *p != '\0'; p++)
		if (*p == '(' || *p == ')' || *p == '\\')
			*p = '?';
	return dst;
}

static int
put_received(struct buf *out, const struct mail_facts *f)
{
	char date[RFC5322_DATE_LEN], login[USERNAME_MAX + 1];

	if (f->from != NULL)
		return buf_printf(out,
		    "Received: from %s\n\tby %s (dma " DMA_VERSION ")\n"
		    "\tid %s; %s\n",
		    f->from, f->conf->mailname, f->id,
		    rfc5322_date(date, sizeof(date), f->now));
	return buf_printf(out,
	    "Received: by %s (dma " DMA_VERSION ", from user %s, uid %lu)\n"
	    "\tid %s; %s\n",
	    f->conf->mailname, comment_text(login, sizeof(login), f->login),
	    (unsigned long)f->uid, f->id,
	    rfc5322_date(date, sizeof(date), f->now));
}

/* The fields as they came; present[] gets which of them there were. */
static int
put_fields(struct buf *out, const struct mail_header *h, const char *domain,
    bool present[HEADER_NAMES])
{
	struct header_field *fields, *f;
	const char *block = buf_str(&h->text);
	size_t count, i;
	int result = 0;

	count = header_scan(block, h->text.len, &fields);
	for (i = 0; i < count && result == 0; i++) {
		f = &fields[i];
		present[f->name] = true;
		if (f->traits & HEADER_DROPPED)
			continue;
		if (f->traits & HEADER_QUALIFIED)
			result = header_put_qualified(out, block, f, domain);
		else
			result =
			    buf_put(out, block + f->start, f->end - f->start);
	}
	free(fields);
	return result;
}

static int
put_from(struct buf *out, const struct mail_facts *f)
{
	char author[sizeof("MAILER-DAEMON@") + ADDR_MAX];
	size_t start = out->len;
	const char *fold;

	if (addr_is_null(f->sender))
		(void)snprintf(author, sizeof(author), "MAILER-DAEMON@%s",
		    f->conf->mailname);
	else
		(void)compat_strlcpy(author, f->sender->text, sizeof(author));
	if (f->full_name == NULL || f->full_name[0] == '\0')
		return buf_printf(out, "From: %s\n", author);
	if (buf_puts(out, "From: ") == -1 ||
	    header_put_phrase(out, f->full_name) == -1)
		return -1;
	fold = out->len - start + strlen(author) + 3 > LINE_FOLD ? "\n" : "";
	return buf_printf(out, "%s <%s>\n", fold, author);
}

static int
put_missing(struct buf *out, const struct mail_facts *f,
    const bool present[HEADER_NAMES])
{
	char date[RFC5322_DATE_LEN];

	if (!present[HEADER_DATE] &&
	    buf_printf(out, "Date: %s\n",
		rfc5322_date(date, sizeof(date), f->now)) == -1)
		return -1;
	/* The id is unique while it is queued, with the time for ever. */
	if (!present[HEADER_MESSAGE_ID] &&
	    buf_printf(out, "Message-ID: <%s.%llx@%s>\n", f->id,
		(unsigned long long)f->now, f->conf->mailname) == -1)
		return -1;
	if (!present[HEADER_FROM] && put_from(out, f) == -1)
		return -1;
	if (present[HEADER_TO] || present[HEADER_CC] || present[HEADER_BCC])
		return 0;
	return buf_puts(out, "To: undisclosed-recipients:;\n");
}

int
mail_repair_header(const struct mail_header *h, const struct mail_facts *facts,
    struct buf *out)
{
	bool present[HEADER_NAMES] = {false};

	if (put_received(out, facts) == -1 ||
	    put_fields(out, h, facts->conf->mailname, present) == -1 ||
	    put_missing(out, facts, present) == -1)
		return -1;
	return buf_putc(out, '\n');
}
