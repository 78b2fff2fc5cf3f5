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

/*
 * The first block of Resent- fields, which is the latest (RFC 5322, 3.6.6):
 * up to a Received field, or to a second one of those that each block has
 * once.  *end is where it ends; returns where it begins, count if there is
 * none.
 */
static size_t
resent_block(const struct header_field *fields, size_t count, size_t *end)
{
	bool seen[HEADER_NAMES] = {false};
	size_t begin, i;

	for (begin = 0; begin < count; begin++)
		if (fields[begin].traits & HEADER_RESENT)
			break;
	for (i = begin; i < count; i++) {
		if (fields[i].name == HEADER_RECEIVED || seen[fields[i].name])
			break;
		seen[fields[i].name] = (fields[i].traits & HEADER_RESENT) &&
				       fields[i].name != HEADER_OTHER;
	}
	*end = i;
	return begin;
}

int
mail_header_recipients(const struct mail_header *h,
    int (*each)(void *arg, const struct addr *a), void *arg, char *why,
    size_t why_size)
{
	struct relay relay = {.each = each, .arg = arg};
	struct header_field *fields, *f;
	const char *block = buf_str(&h->text), *problem;
	size_t begin, end, count;
	unsigned resent;
	int result = 0;

	count = header_scan(block, h->text.len, &fields);
	begin = resent_block(fields, count, &end);
	resent = begin < count ? HEADER_RESENT : 0;
	if (resent == 0) {
		begin = 0;
		end = count;
	}
	for (size_t i = begin; i < end && result == 0; i++) {
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

static int
put_author(struct buf *out, const struct mail_facts *f, const char *name)
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
		return buf_printf(out, "%s: %s\n", name, author);
	if (buf_printf(out, "%s: ", name) == -1 ||
	    header_put_phrase(out, f->full_name) == -1)
		return -1;
	fold = out->len - start + strlen(author) + 3 > LINE_FOLD ? "\n" : "";
	return buf_printf(out, "%s <%s>\n", fold, author);
}

/*
 * Date, From and Message-ID, or those with Resent- before them, where they
 * are missing.  The id is unique while it is queued, with the time for ever.
 */
static int
put_missing(struct buf *out, const struct mail_facts *f, const char *resent,
    bool date, bool from, bool id)
{
	char text[RFC5322_DATE_LEN];

	if (!date && buf_printf(out, "%sDate: %s\n", resent,
			 rfc5322_date(text, sizeof(text), f->now)) == -1)
		return -1;
	if (!id &&
	    buf_printf(out, "%sMessage-ID: <%s%s.%llx@%s>\n", resent, resent,
		f->id, (unsigned long long)f->now, f->conf->mailname) == -1)
		return -1;
	return from ? 0
		    : put_author(out, f, resent[0] ? "Resent-From" : "From");
}

/* ---- Its addresses ---- */

/* The header on its way out. */
struct repair {
	const struct mail_facts *facts;
	struct buf *out;
	const char *block;
	struct header_field *fields;
	size_t count;
	bool present[HEADER_NAMES];
	/* Of the From field that follows the reverse-path. */
	size_t authors;
	bool others; /* one of them is not the sender */
};

static bool
qualify(void *arg, struct addr *a)
{
	const struct repair *r = arg;
	const char *why;

	return addr_is_bare(a) &&
	       addr_qualify(a, r->facts->conf->mailname, &why) == 0;
}

static bool
map_author(void *arg, struct addr *a)
{
	const struct repair *r = arg;
	bool changed = qualify(arg, a);
	const struct addr *stands = senders_lookup(r->facts->senders, a);

	if (stands != NULL)
		*a = *stands;
	return changed || stands != NULL;
}

static bool
follow_sender(void *arg, struct addr *a)
{
	struct repair *r = arg;

	(void)qualify(arg, a);
	r->authors++;
	r->others = r->others || !addr_equal(a, r->facts->sender);
	*a = *r->facts->sender;
	return true;
}

/*
 * HEADERS from=envelope.  One author keeps his name; of several, or of what
 * is no list of addresses, only the old field tells.
 */
static int
put_following(struct repair *r, const struct header_field *f)
{
	size_t mark = r->out->len, name_len;
	struct buf old = {0};
	int result;

	r->authors = 0;
	r->others = false;
	result = header_put_edited(r->out, r->block, f, follow_sender, r);
	if (result == -1 || (result == 0 && r->authors > 0 && !r->others))
		return result;
	if (result == 1 || r->authors != 1) {
		buf_truncate(r->out, mark);
		if (buf_printf(r->out, "From: %s\n", r->facts->sender->text) ==
		    -1)
			return -1;
	}
	result = header_put_edited(&old, r->block, f, qualify, r);
	if (result != -1)
		result = buf_puts(r->out, "X-Original-From:");
	if (result != -1) {
		name_len = strcspn(old.data, ":") + 1;
		result = header_put_plain(
		    r->out, old.data + name_len, old.len - name_len);
	}
	buf_free(&old);
	return result;
}

/* A list of nobody's addresses is none: where it is needed it is missing. */
static bool
is_void(const struct repair *r, const struct header_field *f)
{
	return (f->traits & (HEADER_ADDRESSES | HEADER_RECIPIENTS)) &&
	       strspn(r->block + f->body, " \t\n") >= f->end - f->body;
}

static int
put_field(struct repair *r, const struct header_field *f)
{
	if (is_void(r, f))
		return 0;
	r->present[f->name] = true;
	if (f->traits & HEADER_DROPPED)
		return 0;
	if (f->name == HEADER_FROM && r->facts->rewritten &&
	    r->facts->conf->from_envelope)
		return put_following(r, f);
	if (f->traits & HEADER_ADDRESSES)
		return header_put_edited(r->out, r->block, f,
		    f->traits & HEADER_AUTHOR ? map_author : qualify, r);
	return header_put_field(r->out, r->block, f);
}

/* ---- The header, whole ---- */

/* What the latest block of Resent- fields must have, at its beginning. */
static int
complete_resent(struct repair *r, size_t begin, size_t end)
{
	bool have[HEADER_NAMES] = {false};

	for (size_t i = begin; i < end; i++)
		have[r->fields[i].name] |= !is_void(r, &r->fields[i]);
	return put_missing(r->out, r->facts, "Resent-",
	    have[HEADER_RESENT_DATE], have[HEADER_RESENT_FROM],
	    have[HEADER_RESENT_MESSAGE_ID]);
}

/* The fields as they came; r->present gets which of them there were. */
static int
put_fields(struct repair *r)
{
	size_t begin, end;

	begin = resent_block(r->fields, r->count, &end);
	for (size_t i = 0; i < r->count; i++) {
		if (i == begin && complete_resent(r, begin, end) == -1)
			return -1;
		if (put_field(r, &r->fields[i]) == -1)
			return -1;
	}
	return 0;
}

static int
put_all(struct repair *r)
{
	const bool *have = r->present;

	if (put_received(r->out, r->facts) == -1 || put_fields(r) == -1 ||
	    put_missing(r->out, r->facts, "", have[HEADER_DATE],
		have[HEADER_FROM], have[HEADER_MESSAGE_ID]) == -1)
		return -1;
	if (have[HEADER_TO] || have[HEADER_CC] || have[HEADER_BCC])
		return 0;
	return buf_puts(r->out, "To: undisclosed-recipients:;\n");
}

int
mail_repair_header(const struct mail_header *h, const struct mail_facts *facts,
    struct buf *out)
{
	struct repair r = {
	    .facts = facts, .out = out, .block = buf_str(&h->text)};
	int result;

	r.count = header_scan(r.block, h->text.len, &r.fields);
	result = put_all(&r);
	free(r.fields);
	return result == -1 ? -1 : buf_putc(out, '\n');
}

int
mail_put_authors(const struct mail_header *h, const struct mail_facts *facts,
    struct buf *out)
{
	struct repair r = {
	    .facts = facts, .out = out, .block = buf_str(&h->text)};
	bool have[HEADER_NAMES] = {false};
	size_t begin, end;
	int result;

	r.count = header_scan(r.block, h->text.len, &r.fields);
	begin = resent_block(r.fields, r.count, &end);
	for (size_t i = 0; i < r.count; i++)
		if (r.fields[i].name != HEADER_RESENT_FROM ||
		    (i >= begin && i < end))
			have[r.fields[i].name] |= !is_void(&r, &r.fields[i]);
	result = put_missing(out, facts, "Resent-", true,
	    begin == r.count || have[HEADER_RESENT_FROM], true);
	if (result != -1)
		result =
		    put_missing(out, facts, "", true, have[HEADER_FROM], true);
	free(r.fields);
	return result;
}
