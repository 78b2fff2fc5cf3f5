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

static bool
is_resent(enum header_name name)
{
	switch (name) {
	case HEADER_RESENT_BCC:
	case HEADER_RESENT_CC:
	case HEADER_RESENT_DATE:
	case HEADER_RESENT_FROM:
	case HEADER_RESENT_MESSAGE_ID:
	case HEADER_RESENT_SENDER:
	case HEADER_RESENT_TO:
		return true;
	default:
		return false;
	}
}

static bool
names_recipients(enum header_name name)
{
	switch (name) {
	case HEADER_BCC:
	case HEADER_CC:
	case HEADER_TO:
	case HEADER_RESENT_BCC:
	case HEADER_RESENT_CC:
	case HEADER_RESENT_TO:
		return true;
	default:
		return false;
	}
}

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
	struct header_field *fields;
	const char *block, *problem;
	bool resent;
	size_t count, i;
	int result;

	block = buf_str(&h->text);
	count = header_scan(block, h->text.len, &fields);
	resent = false;
	for (i = 0; i < count; i++)
		resent = resent || is_resent(fields[i].name);
	result = 0;
	for (i = 0; i < count && result == 0; i++) {
		if (!names_recipients(fields[i].name) ||
		    is_resent(fields[i].name) != resent)
			continue;
		result = addr_parse_list(block + fields[i].body,
		    fields[i].end - fields[i].body, relay_addr, &relay,
		    &problem);
		if (result == -1 && problem == NULL)
			why[0] = '\0';
		else if (result == -1)
			snprintf(why, why_size, "an address in %.*s %s",
			    (int)(fields[i].body - fields[i].start),
			    block + fields[i].start, problem);
	}
	free(fields);
	return result;
}

/* ---- The header as it is stored ---- */

static bool
is_dropped(enum header_name name)
{
	switch (name) {
	case HEADER_BCC:
	case HEADER_RESENT_BCC:
	case HEADER_CONTENT_LENGTH:
	case HEADER_RETURN_PATH:
		return true;
	default:
		return false;
	}
}

static bool
is_qualified(enum header_name name)
{
	switch (name) {
	case HEADER_CC:
	case HEADER_FROM:
	case HEADER_REPLY_TO:
	case HEADER_RESENT_CC:
	case HEADER_RESENT_FROM:
	case HEADER_RESENT_SENDER:
	case HEADER_RESENT_TO:
	case HEADER_SENDER:
	case HEADER_TO:
		return true;
	default:
		return false;
	}
}

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
    bool present[HEADER_TO + 1])
{
	struct header_field *fields;
	const char *block;
	size_t count, i;
	int result;

	block = buf_str(&h->text);
	count = header_scan(block, h->text.len, &fields);
	result = 0;
	for (i = 0; i < count && result == 0; i++) {
		present[fields[i].name] = true;
		if (is_dropped(fields[i].name))
			continue;
		if (is_qualified(fields[i].name))
			result = header_put_qualified(
			    out, block, &fields[i], domain);
		else
			result = buf_put(out, block + fields[i].start,
			    fields[i].end - fields[i].start);
	}
	free(fields);
	return result;
}

/* The author's address: the reverse-path, or what stands in for it. */
static void
author_address(struct addr *a, const struct mail_facts *f)
{
	const char *domain, *why;
	char uid[USERNAME_MAX];

	domain = f->conf->mailname;
	if (f->sender != NULL && !addr_is_null(f->sender)) {
		*a = *f->sender;
		(void)addr_qualify(a, domain, &why);
		return;
	}
	if (addr_make(a, f->sender == NULL ? f->login : "MAILER-DAEMON", domain,
		&why) == 0)
		return;
	/* A login name that is no local part, or a very long MAILNAME. */
	snprintf(uid, sizeof(uid), "uid=%lu", (unsigned long)f->uid);
	if (addr_make(a, uid, domain, &why) == -1)
		(void)addr_make(a, uid, NULL, &why);
}

static int
put_from(struct buf *out, const struct mail_facts *f)
{
	struct addr author;
	size_t start = out->len;
	const char *fold;

	author_address(&author, f);
	if (f->full_name == NULL || f->full_name[0] == '\0')
		return buf_printf(out, "From: %s\n", author.text);
	if (buf_puts(out, "From: ") == -1 ||
	    header_put_phrase(out, f->full_name) == -1)
		return -1;
	fold =
	    out->len - start + strlen(author.text) + 3 > LINE_FOLD ? "\n" : "";
	return buf_printf(out, "%s <%s>\n", fold, author.text);
}

static int
put_missing(struct buf *out, const struct mail_facts *f,
    const bool present[HEADER_TO + 1])
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
	if (!present[HEADER_TO] && !present[HEADER_CC] &&
	    !present[HEADER_BCC] &&
	    buf_puts(out, "To: undisclosed-recipients:;\n") == -1)
		return -1;
	return 0;
}

int
mail_repair_header(const struct mail_header *h, const struct mail_facts *facts,
    struct buf *out)
{
	bool present[HEADER_TO + 1] = {false};

	if (put_received(out, facts) == -1 ||
	    put_fields(out, h, facts->conf->mailname, present) == -1 ||
	    put_missing(out, facts, present) == -1)
		return -1;
	return buf_putc(out, '\n');
}
