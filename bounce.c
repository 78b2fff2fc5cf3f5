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

#define TEXT_WIDTH   72  /* bytes of a line we break at a blank */
#define WORD_MAX     900 /* bytes without a blank, then cut (RFC 5322, 2.1.1) */
#define SAY_MAX      2048
#define COPY_PIECE   (64 * 1024)
#define NO_REASON    "The reason was not recorded."
#define FALLBACK_DSN "5.0.0"

/* One notice in the making. */
struct notice {
	const struct conf *conf;
	struct spool_file *f; /* the message it is about */
	struct recipients readers;
	bool for_postmaster;
	char to[2 * ADDR_MAX + 2];
	struct envelope env;
	struct spool_draft draft;
	struct journal_entry *reasons;
	struct buf header; /* of the message */
	bool full;         /* the whole message goes back */
	bool eightbit;
};

/* ---- Whom it is for, and whom about ---- */

static bool
failed(const struct recipient *r)
{
	return r->status == STATUS_FAILED;
}

static bool
covered(const struct recipient *r)
{
	return failed(r) && recipient_wants_notice(r);
}

/* The lowest number the notice covers; nrecipients if there is none. */
static size_t
lowest_covered(const struct envelope *e)
{
	size_t i;

	for (i = 0; i < e->nrecipients && !covered(&e->recipients[i]); i++)
		continue;
	return i;
}

/* Returns 0 with readers; they may be none. */
static int
expand_reader(struct notice *n, const struct addr *to)
{
	struct aliases aliases;
	const char *why;

	/* Bad lines were reported when mail was submitted. */
	if (aliases_load(&aliases, n->conf->aliases, NULL, NULL) == -1)
		return -1;
	if (expand_add(&n->readers, n->conf, &aliases, to, 0, NULL, &why) == -1)
		recipients_free(&n->readers);
	aliases_free(&aliases);
	return 0;
}

static void
set_to(struct notice *n, const struct addr *to)
{
	(void)snprintf(n->to, sizeof(n->to), "%s%s%s", to->text,
	    addr_is_bare(to) ? "@" : "",
	    addr_is_bare(to) ? n->conf->mailname : "");
}

/* True if the failed recipients include one of the readers. */
static bool
readers_failed(const struct notice *n)
{
	const struct envelope *e = &n->f->env;
	size_t i, k;

	for (i = 0; i < e->nrecipients; i++)
		for (k = 0; failed(&e->recipients[i]) && k < n->readers.count;
		     k++)
			if (addr_equal(&e->recipients[i].addr,
				&n->readers.list[k].addr))
				return true;
	return false;
}

/* The postmaster hears of what has no sender, but not that he got none. */
static int
choose_postmaster(struct notice *n)
{
	const char *why;
	struct addr to;

	if (n->conf->postmaster == NULL ||
	    addr_parse(&to, n->conf->postmaster, false, &why) == -1)
		return 0;
	if (expand_reader(n, &to) == -1)
		return -1;
	if (readers_failed(n))
		recipients_free(&n->readers);
	n->for_postmaster = true;
	set_to(n, &to);
	return 0;
}

static int
choose_readers(struct notice *n)
{
	const struct addr *sender = &n->f->env.sender;
	const char *first;

	/* No third notice about a notice: its id would be none. */
	first = strchr(n->f->env.id, 'x');
	if (first != NULL && strchr(first + 1, 'x') != NULL)
		return 0;
	if (!addr_is_null(sender)) {
		if (expand_reader(n, sender) == -1)
			return -1;
		set_to(n, sender);
	}
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
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len > 0)
		(void)spool_append(&n->draft, text,
		    (size_t)len < sizeof(text) ? (size_t)len
					       : sizeof(text) - 1);
}

/* How much of s goes on this line: up to a blank, if it has one. */
static size_t
line_part(const char *s)
{
	size_t len, cut;

	len = strlen(s);
	if (len <= TEXT_WIDTH)
		return len;
	for (cut = TEXT_WIDTH; cut > 0; cut--)
		if (s[cut] == ' ')
			return cut;
	cut = TEXT_WIDTH + strcspn(s + TEXT_WIDTH, " ");
	return cut < WORD_MAX ? cut : WORD_MAX;
}

/* Long text on several lines, each after `first` but the first `indent`ed. */
static void
say_folded(struct notice *n, const char *first, const char *text)
{
	size_t len;

	do {
		text += strspn(text, " ");
		len = line_part(text);
		say(n, "%s%.*s\n", first, (int)len, text);
		first = "    ";
		text += len;
	} while (text[strspn(text, " ")] != '\0');
}

/*
 * An address as a delivery-status field's value.  That part is ASCII by
 * definition, so others are written with code points (RFC 6533, 3).
 */
static void
say_recipient(struct notice *n, const char *field, const struct addr *a)
{
	const char *p, *domain;
	uint32_t point;
	size_t len, i;

	say(n, "%s: %s; ", field, addr_is_ascii(a) ? "rfc822" : "utf-8");
	for (p = a->text; *p != '\0'; p += len) {
		len = addr_utf8_len(p, strlen(p));
		if (len <= 1) {
			len = 1;
			say(n, "%c", *p);
			continue;
		}
		point = (unsigned char)*p & (0x7fU >> len);
		for (i = 1; i < len; i++)
			point = point << 6 | ((unsigned char)p[i] & 0x3fU);
		say(n, "\\x{%X}", (unsigned)point);
	}
	domain = addr_is_bare(a) ? n->conf->mailname : "";
	say(n, "%s%s\n", *domain != '\0' ? "@" : "", domain);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undo xtext (RFC 3461, 4); what is none, or not printable, stays. */
static void
decode_xtext(char *dst, size_t size, const char *src)
{
	const char *p;
	size_t used;
	int high, low;

	for (p = src, used = 0; *p != '\0' && used + 1 < size; used++) {
		if (*p != '+') {
			dst[used] = *p++;
			continue;
		}
		high = hex_digit(p[1]);
		low = high == -1 ? -1 : hex_digit(p[2]);
		if (low == -1 || !ascii_isprint(high * 16 + low)) {
			(void)printable(dst, size, src, strlen(src));
			return;
		}
		dst[used] = (char)(high * 16 + low);
		p += 3;
	}
	dst[used] = '\0';
}

/* ---- The parts ---- */

static void
say_header(struct notice *n)
{
	const struct conf *c = n->conf;
	char date[RFC5322_DATE_LEN];

	say(n, "Date: %s\n", rfc5322_date(date, sizeof(date), n->env.arrival));
	say(n, "From: Mail Delivery System <MAILER-DAEMON@%s>\n", c->mailname);
	say(n, "To: <%s>\n", n->to);
	say(n, "Subject: Undelivered Mail Returned to Sender\n");
	say(n, "Message-ID: <%s@%s>\n", n->env.id, c->mailname);
	say(n, "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n");
	say(n,
	    "Content-Type: multipart/report; report-type=delivery-status;\n"
	    "\tboundary=\"=_%s\"\n",
	    n->env.id);
	if (n->eightbit)
		say(n, "Content-Transfer-Encoding: 8bit\n");
	say(n, "\nThis is a report in MIME format (RFC 3464).\n");
}

static void
say_boundary(struct notice *n, const char *type, bool eightbit)
{
	say(n, "\n--=_%s\nContent-Type: %s\n", n->env.id, type);
	if (eightbit)
		say(n, "Content-Transfer-Encoding: 8bit\n");
	say(n, "\n");
}

static void
say_reason(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const char *text = n->reasons[i].text;

	say(n, "<%s>", r->addr.text);
	if (r->orig != NULL)
		say(n, ", to which <%s> led", r->orig);
	say(n, "\n");
	say_folded(n, "    ", *text == '\0' ? NO_REASON : text);
	say(n, "\n");
}

static void
say_text(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	bool one;
	size_t i;

	say_boundary(n,
	    n->eightbit ? "text/plain; charset=utf-8"
			: "text/plain; charset=us-ascii",
	    n->eightbit);
	one = envelope_count(e, STATUS_FAILED) == 1;
	say(n,
	    "%s could not be delivered to the recipient%s below,\n"
	    "and %s will not try again for %s.\n\n",
	    n->for_postmaster ? "A message" : "Your message", one ? "" : "s",
	    n->conf->hostname, one ? "it" : "them");
	for (i = 0; i < e->nrecipients; i++)
		if (covered(&e->recipients[i]))
			say_reason(n, i);
	if (n->for_postmaster)
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
 * The server's own reply within a reason: what follows "said: ", less the
 * remark that says which command it answers.  NULL: nobody replied.
 */
static const char *
find_reply(const char *text, char reply[OUTCOME_TEXT_MAX + 1])
{
	const char *said;
	char *remark;

	said = strstr(text, " said: ");
	said = said == NULL ? text : said + strlen(" said: ");
	if (strspn(said, "0123456789") != 3)
		return NULL;
	(void)compat_strlcpy(reply, said, OUTCOME_TEXT_MAX + 1);
	remark = strstr(reply, " (in reply to ");
	if (remark != NULL)
		*remark = '\0';
	return reply;
}

/* An enhanced status code (RFC 3463): digit, dot, digits, dot, digits. */
static bool
dsn_valid(const char *s)
{
	size_t subject, detail;

	if ((*s != '4' && *s != '5') || s[1] != '.')
		return false;
	subject = strspn(s + 2, "0123456789");
	if (subject == 0 || subject > 3 || s[2 + subject] != '.')
		return false;
	detail = strspn(s + 3 + subject, "0123456789");
	return detail > 0 && detail <= 3 && s[3 + subject + detail] == '\0';
}

static void
say_diagnostic(struct notice *n, const struct journal_entry *reason)
{
	char reply[OUTCOME_TEXT_MAX + 1];
	size_t host;

	host = strcspn(reason->relay, "[");
	if (host > 0 && reason->relay[host] == '[')
		say(n, "Remote-MTA: dns; %.*s\n", (int)host, reason->relay);
	if (reason->text[0] == '\0')
		return;
	if (find_reply(reason->text, reply) != NULL)
		say_folded(n, "Diagnostic-Code: smtp; ", reply);
	else
		say_folded(n, "Diagnostic-Code: x-local; ", reason->text);
}

static void
say_status(struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];
	const struct journal_entry *reason = &n->reasons[i];
	char text[ORCPT_MAX + 1], date[RFC5322_DATE_LEN];
	size_t type;

	say(n, "\n");
	type = r->orcpt == NULL ? 0 : strcspn(r->orcpt, ";");
	if (type > 0 && r->orcpt[type] == ';') {
		decode_xtext(text, sizeof(text), r->orcpt + type + 1);
		say(n, "Original-Recipient: %.*s; %s\n", (int)type, r->orcpt,
		    text);
	}
	say_recipient(n, "Final-Recipient", &r->addr);
	say(n, "Action: failed\nStatus: %s\n",
	    dsn_valid(reason->dsn) ? reason->dsn : FALLBACK_DSN);
	say_diagnostic(n, reason);
	if (reason->when != 0)
		say(n, "Last-Attempt-Date: %s\n",
		    rfc5322_date(date, sizeof(date), reason->when));
}

static void
say_report(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	char text[ENVID_MAX + 1], date[RFC5322_DATE_LEN];
	size_t i;

	say_boundary(n, "message/delivery-status", false);
	if (e->envid != NULL) {
		decode_xtext(text, sizeof(text), e->envid);
		say(n, "Original-Envelope-Id: %s\n", text);
	}
	say(n, "Reporting-MTA: dns; %s\n", n->conf->hostname);
	say(n, "Arrival-Date: %s\n",
	    rfc5322_date(date, sizeof(date), e->arrival));
	for (i = 0; i < e->nrecipients; i++)
		if (covered(&e->recipients[i]))
			say_status(n, i);
}

/* Returns 0, or -1 with errno: the message cannot be read. */
static int
copy_message(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	char *piece;
	uint64_t left;
	ssize_t got;
	off_t at;

	piece = xmalloc(COPY_PIECE);
	at = e->message_offset;
	for (left = e->length; left > 0; left -= (uint64_t)got, at += got) {
		got = pread_full(n->f->fd, piece,
		    left < COPY_PIECE ? (size_t)left : COPY_PIECE, at);
		if (got <= 0 ||
		    spool_append(&n->draft, piece, (size_t)got) == -1)
			break;
	}
	free(piece);
	if (left == 0)
		return 0;
	if (got == 0)
		errno = EIO;
	return -1;
}

static int
say_message(struct notice *n)
{
	int status;

	say_boundary(
	    n, n->full ? "message/rfc822" : "text/rfc822-headers", n->eightbit);
	if (n->full)
		status = copy_message(n);
	else
		status =
		    spool_append(&n->draft, buf_str(&n->header), n->header.len);
	say(n, "\n--=_%s--\n", n->env.id);
	return status;
}

/* ---- Making it ---- */

/* The message's header, up to the empty line, as it was stored. */
static int
read_header(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	char *text;
	const char *end;
	ssize_t got;
	size_t size;

	/* We add fields to what HEADER_MAX bounds. */
	size = 2 * (size_t)HEADER_MAX;
	if (e->length < size)
		size = (size_t)e->length;
	text = xmalloc(size + 1);
	text[0] = '\n'; /* so that an empty header ends like others */
	got = pread_full(n->f->fd, text + 1, size, e->message_offset);
	if (got != -1) {
		end = memmem(text, (size_t)got + 1, "\n\n", 2);
		size = end == NULL ? (size_t)got : (size_t)(end - text);
		(void)buf_put(&n->header, text + 1, size);
	}
	free(text);
	return got == -1 ? -1 : 0;
}

static bool
buf_has_8bit(const struct buf *b)
{
	size_t i;

	for (i = 0; i < b->len; i++)
		if ((unsigned char)b->data[i] > 0x7f)
			return true;
	return false;
}

static bool
needs_8bit(const struct notice *n)
{
	const struct envelope *e = &n->f->env;
	size_t i;

	if ((n->full && (e->flags & MESSAGE_8BIT) != 0) ||
	    buf_has_8bit(&n->header))
		return true;
	for (i = 0; i < e->nrecipients; i++)
		if (covered(&e->recipients[i]) &&
		    !addr_is_ascii(&e->recipients[i].addr))
			return true;
	return false;
}

/* Everything but the draft.  Returns 0, or -1 with errno. */
static int
prepare(struct notice *n, const struct spool *s)
{
	const struct envelope *e = &n->f->env;

	n->full = e->ret == RET_FULL ||
		  (e->ret == RET_DEFAULT && n->conf->fullbounce);
	n->env.uid = s->uid;
	n->env.arrival = time(NULL);
	n->env.recipients = n->readers.list;
	n->env.nrecipients = n->readers.count;
	(void)snprintf(n->env.id, sizeof(n->env.id), "%.26sx%u", e->id,
	    (unsigned)lowest_covered(e));
	n->reasons = xcalloc(e->nrecipients, sizeof(*n->reasons));
	spool_journal_last(n->f, n->reasons, e->nrecipients);
	if (read_header(n) == -1)
		return -1;
	n->eightbit = needs_8bit(n);
	return 0;
}

/* Commit the notice; that it was committed before is as good. */
static int
commit(struct notice *n, const struct spool *s)
{
	struct spool spool = *s;

	if (prepare(n, s) == -1)
		return -1;
	if (spool_create(&spool, &n->env, &n->draft) == -1)
		return errno == EEXIST ? 0 : -1;
	say_header(n);
	say_text(n);
	say_report(n);
	if (say_message(n) == -1) {
		spool_abandon(&spool, &n->draft);
		return -1;
	}
	if (spool_commit(&spool, &n->draft) == -1 && errno != EEXIST)
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
	size_t i;

	for (i = f->env.nrecipients; i-- > 0;)
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

static void
notice_free(struct notice *n)
{
	recipients_free(&n->readers);
	free(n->reasons);
	buf_free(&n->header);
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

int
bounce_settle(const struct spool *s, const struct conf *c, struct spool_file *f,
    char *notice_id, bool *parked)
{
	struct notice n = {.conf = c, .f = f};
	int status, saved;

	notice_id[0] = '\0';
	*parked = false;
	if (envelope_count(&f->env, STATUS_FAILED) == 0)
		return 0;
	if (lowest_covered(&f->env) == f->env.nrecipients)
		return mark_told(f);
	status = tell(s, &n, notice_id, parked);
	saved = errno;
	notice_free(&n);
	/* To our caller ENOENT would say that the message is gone. */
	errno = saved == ENOENT ? EIO : saved;
	return status;
}
