/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * envelope.c - a queued message's envelope and its one codec.
 *
 * Runs in:   dma, on both sides of the spool.
 * Trusts:    nothing: what is encoded comes from a user, what is decoded may
 *            have been torn by a crash or written by somebody else.
 * Promises:  encode(decode(x)) is x; what the encoder cannot produce does not
 *            decode, so it is never delivered.
 */
#include "envelope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/*
 * dma-spool 1
 * hold 0 warned 0 attempts 0000000000 crashes 0000000000 next 000000000000
 * message flags 0 length 000000000000000 checksum 0000000000000000
 * id 00000V80123456789ABC
 * arrival 001700000000
 * uid 0000001000
 * sender user@example.org
 * envid
 * ret -
 * recipients 00001
 * R T 00000 0 <tab> orcpt <tab> orig <tab> address
 * R T 00001 0 <tab> orcpt <tab> orig <tab> address <tab> target
 * end
 *
 * A tab parts what may hold blanks: no address has a control character.
 */
#define MAGIC          "dma-spool 1\n"
#define LINE_MAX_BYTES 2100 /* of an envelope line; a recipient's is longest */
#define TIME_MAX       999999999999    /* 12 digits */
#define LENGTH_MAX     999999999999999 /* 15 digits: a petabyte */
#define STATUS_COLUMN  2               /* of the status byte in its line */
#define FIXED_END      (ENVELOPE_MESSAGE_OFFSET + ENVELOPE_MESSAGE_LEN)

_Static_assert(sizeof(MAGIC) - 1 == ENVELOPE_STATE_OFFSET, "magic, then state");
_Static_assert(FIXED_END <= 512, "what is overwritten lies in one sector");
_Static_assert(RECIPIENTS_MAX <= 99999, "a recipient's number has 5 digits");
_Static_assert((RECIPIENTS_MAX + 10) * (LINE_MAX_BYTES + 1) <= ENVELOPE_MAX,
    "the longest envelope fits");

static const char ret_letters[] = "-FH"; /* by enum envelope_ret */

/* ---- What may stand in a field ---- */

/* A parameter on the wire has no blank (RFC 3461, 4), other text may. */
enum text_kind { PARAMETER, TEXT };

static bool
text_valid(const char *s, enum text_kind kind, size_t max)
{
	int lowest = kind == PARAMETER ? 0x21 : 0x20;
	int highest = kind == PARAMETER ? 0x7e : 0xff;
	size_t i;

	for (i = 0; s != NULL && s[i] != '\0'; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < lowest || c > highest || c == 0x7f)
			return false;
	}
	return i <= max;
}

/*
 * An address is good if the parser gives back the same text: then whoever
 * reads the file works on what the submitter's parser saw.
 */
static bool
address_decode(struct addr *a, const char *text, bool null_ok)
{
	struct addr parsed;
	const char *why;

	if (!text_valid(text, TEXT, ADDR_MAX) ||
	    addr_parse(&parsed, text, null_ok, &why) == -1 ||
	    strcmp(parsed.text, text) != 0)
		return false;
	*a = parsed;
	return true;
}

static bool
status_valid(int c)
{
	static const char all[] = {STATUS_TODO, STATUS_SENT, STATUS_FAILED,
	    STATUS_TOLD, STATUS_REMOVED, STATUS_UNCERTAIN, STATUS_DELIVERED,
	    STATUS_RELAYED};

	return memchr(all, c, sizeof(all)) != NULL;
}

/* What an alias on this machine may lead to, or nothing. */
static bool
target_valid(const char *target, const struct addr *name)
{
	return target == NULL ||
	       ((target[0] == '/' || target[0] == '|') && target[1] != '\0' &&
		   addr_is_bare(name) && text_valid(target, TEXT, TARGET_MAX));
}

static bool
recipient_valid(const struct recipient *r)
{
	struct addr ignored;

	return address_decode(&ignored, r->addr.text, false) &&
	       status_valid((int)r->status) && r->notify <= 0xf &&
	       text_valid(r->orcpt, PARAMETER, ORCPT_MAX) &&
	       text_valid(r->orig, TEXT, ADDR_MAX) &&
	       target_valid(r->target, &r->addr);
}

static bool
header_valid(const struct envelope *e)
{
	struct addr ignored;

	return envelope_id_valid(e->id) &&
	       address_decode(&ignored, e->sender.text, true) &&
	       text_valid(e->envid, PARAMETER, ENVID_MAX) && e->flags <= 0xf &&
	       e->length <= LENGTH_MAX && e->nrecipients > 0 &&
	       e->ret <= RET_HDRS;
}

int
envelope_parse_notify(const char *s, unsigned *bits)
{
	static const struct {
		const char *word;
		unsigned bit;
	} words[] = {{"never", NOTIFY_NEVER}, {"success", NOTIFY_SUCCESS},
	    {"failure", NOTIFY_FAILURE}, {"delay", NOTIFY_DELAY}};
	size_t i, len;

	for (*bits = 0;; s += len + 1) {
		len = strcspn(s, ",");
		for (i = 0; i < ARRAY_LEN(words); i++)
			if (strlen(words[i].word) == len &&
			    ascii_strncasecmp(s, words[i].word, len) == 0)
				break;
		if (i == ARRAY_LEN(words))
			return -1;
		*bits |= words[i].bit;
		if (s[len] == '\0')
			break;
	}
	return (*bits & NOTIFY_NEVER) && *bits != NOTIFY_NEVER ? -1 : 0;
}

bool
envelope_id_valid(const char *name)
{
	int n = 0;

	if (strspn(name, QUEUE_ID_DIGITS) < QUEUE_ID_LEN)
		return false;
	name += QUEUE_ID_LEN;
	if (*name == 'w') { /* of a message, never of a notice */
		name++;
		n++;
	}
	for (; n < 2 && (*name == 'x' || (n == 0 && *name == 's')); n++) {
		size_t len = strspn(++name, "0123456789");

		if (len == 0 || len > 5 || (len > 1 && *name == '0'))
			return false;
		name += len;
	}
	return *name == '\0';
}

/* ---- Encoding ---- */

static int64_t
clamp_time(int64_t t)
{
	if (t < 0)
		return 0;
	return t > TIME_MAX ? TIME_MAX : t;
}

void
envelope_state_text(const struct envelope *e, char text[ENVELOPE_STATE_LEN + 1])
{
	(void)snprintf(text, ENVELOPE_STATE_LEN + 1,
	    "hold %d warned %d attempts %010" PRIu32 " crashes %010" PRIu32
	    " next %012" PRId64 "\n",
	    e->hold, e->warned, e->attempts, e->crashes,
	    clamp_time(e->next_try));
}

void
envelope_message_text(
    const struct envelope *e, char text[ENVELOPE_MESSAGE_LEN + 1])
{
	(void)snprintf(text, ENVELOPE_MESSAGE_LEN + 1,
	    "message flags %x length %015" PRIu64 " checksum %016" PRIx64 "\n",
	    e->flags & 0xfU, e->length, e->checksum);
}

static const char *
or_empty(const char *s)
{
	return s == NULL ? "" : s;
}

static int
put_header(const struct envelope *e, struct buf *out)
{
	char state[ENVELOPE_STATE_LEN + 1], message[ENVELOPE_MESSAGE_LEN + 1];

	envelope_state_text(e, state);
	envelope_message_text(e, message);
	return buf_printf(out,
	    MAGIC "%s%sid %s\narrival %012" PRId64 "\nuid %010" PRIu32 "\n"
		  "sender %s\nenvid %s\nret %c\nrecipients %05zu\n",
	    state, message, e->id, clamp_time(e->arrival), (uint32_t)e->uid,
	    e->sender.text, or_empty(e->envid), ret_letters[e->ret],
	    e->nrecipients);
}

static int
put_recipient(const struct recipient *r, size_t number, struct buf *out)
{
	if (!recipient_valid(r)) {
		errno = EINVAL;
		return -1;
	}
	return buf_printf(out, "R %c %05zu %x\t%s\t%s\t%s%s%s\n",
	    (int)r->status, number, r->notify, or_empty(r->orcpt),
	    or_empty(r->orig), r->addr.text, r->target != NULL ? "\t" : "",
	    or_empty(r->target));
}

int
envelope_encode(struct envelope *e, struct buf *out)
{
	size_t start = out->len;

	if (e->nrecipients > RECIPIENTS_MAX || !header_valid(e)) {
		errno = e->nrecipients > RECIPIENTS_MAX ? EMSGSIZE : EINVAL;
		return -1;
	}
	if (put_header(e, out) == -1)
		return -1;
	for (size_t i = 0; i < e->nrecipients; i++) {
		e->recipients[i].status_offset =
		    (off_t)(out->len - start + STATUS_COLUMN);
		if (put_recipient(&e->recipients[i], i, out) == -1)
			return -1;
	}
	if (buf_puts(out, "end\n") == -1)
		return -1;
	e->message_offset = (off_t)(out->len - start);
	return 0;
}

/* ---- Decoding ---- */

/* Step over the label and exactly `width` digits, as %0*u or %0*x writes. */
static bool
number(const char **p, const char *label, int width, unsigned base,
    uint64_t *value)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = strlen(label);

	if (strncmp(*p, label, len) != 0)
		return false;
	*p += len;
	for (*value = 0; width > 0; width--, (*p)++) {
		const char *digit = memchr(digits, **p, base);

		if (digit == NULL)
			return false;
		*value = *value * base + (uint64_t)(digit - digits);
	}
	return true;
}

/*
 * Every step's width is fixed, so nothing beyond ENVELOPE_STATE_END is looked
 * at, though no NUL ends the text.
 */
int
envelope_decode_state(struct envelope *e, const char *text, size_t len)
{
	uint64_t hold, warned, attempts, crashes, next;
	const char *p = text;

	errno = EBADMSG;
	if (len < ENVELOPE_STATE_END ||
	    !number(&p, MAGIC "hold ", 1, 10, &hold) ||
	    !number(&p, " warned ", 1, 10, &warned) ||
	    !number(&p, " attempts ", 10, 10, &attempts) ||
	    !number(&p, " crashes ", 10, 10, &crashes) ||
	    !number(&p, " next ", 12, 10, &next) || *p != '\n' || hold > 1 ||
	    warned > 1 || attempts > UINT32_MAX || crashes > UINT32_MAX)
		return -1;
	e->hold = hold == 1;
	e->warned = warned == 1;
	e->attempts = (uint32_t)attempts;
	e->crashes = (uint32_t)crashes;
	e->next_try = (int64_t)next;
	return 0;
}

static bool
decode_message(struct envelope *e, const char *p)
{
	uint64_t flags;

	if (!number(&p, "message flags ", 1, 16, &flags) ||
	    !number(&p, " length ", 15, 10, &e->length) ||
	    !number(&p, " checksum ", 16, 16, &e->checksum) || *p != '\n')
		return false;
	e->flags = (unsigned)flags;
	return true;
}

/* Lines of the text, one after the other, each as a string. */
struct reader {
	const char *text, *p, *end;
	bool cut; /* the text ended before a line did */
	char line[LINE_MAX_BYTES + 1];
};

/* What follows the label in the next line; NULL if it is no such line. */
static char *
next_line(struct reader *r, const char *label)
{
	size_t left = (size_t)(r->end - r->p), len, label_len = strlen(label);
	const char *lf;

	if (left > LINE_MAX_BYTES)
		left = LINE_MAX_BYTES;
	if ((lf = memchr(r->p, '\n', left)) == NULL) {
		r->cut = left < LINE_MAX_BYTES;
		return NULL;
	}
	len = (size_t)(lf - r->p);
	memcpy(r->line, r->p, len);
	r->line[len] = '\0';
	r->p = lf + 1;
	if (strlen(r->line) != len || strncmp(r->line, label, label_len) != 0)
		return NULL;
	return r->line + label_len;
}

static bool
number_line(struct reader *r, const char *label, int width, uint64_t *value)
{
	const char *p = next_line(r, label);

	return p != NULL && number(&p, "", width, 10, value) && *p == '\0';
}

static char *
dup_text(const char *s)
{
	return *s == '\0' ? NULL : xstrdup(s);
}

static bool
decode_header(struct envelope *e, struct reader *r)
{
	uint64_t arrival, uid, count;
	const char *p, *letter;

	if ((p = next_line(r, "id ")) == NULL || !envelope_id_valid(p))
		return false;
	(void)compat_strlcpy(e->id, p, sizeof(e->id));
	if (!number_line(r, "arrival ", 12, &arrival) ||
	    !number_line(r, "uid ", 10, &uid) || uid > UINT32_MAX ||
	    (p = next_line(r, "sender ")) == NULL ||
	    !address_decode(&e->sender, p, true) ||
	    (p = next_line(r, "envid ")) == NULL ||
	    !text_valid(p, PARAMETER, ENVID_MAX))
		return false;
	e->arrival = (int64_t)arrival;
	e->uid = (uid_t)uid;
	e->envid = dup_text(p);
	if ((p = next_line(r, "ret ")) == NULL || strlen(p) != 1 ||
	    (letter = strchr(ret_letters, *p)) == NULL ||
	    !number_line(r, "recipients ", 5, &count) || count == 0 ||
	    count > RECIPIENTS_MAX)
		return false;
	e->ret = (enum envelope_ret)(letter - ret_letters);
	e->nrecipients = (size_t)count;
	return true;
}

static bool
decode_recipient(struct recipient *to, size_t index, struct reader *r)
{
	char *rest = next_line(r, "R ");
	const char *p = strsep(&rest, "\t");
	const char *orcpt = strsep(&rest, "\t"), *orig = strsep(&rest, "\t");
	const char *address = strsep(&rest, "\t");
	uint64_t n, notify;

	if (p == NULL || address == NULL || !status_valid(*p))
		return false;
	to->status = (enum recipient_status) * p++;
	if (!number(&p, " ", 5, 10, &n) || n != index ||
	    !number(&p, " ", 1, 16, &notify) || *p != '\0' ||
	    !text_valid(orcpt, PARAMETER, ORCPT_MAX) ||
	    !text_valid(orig, TEXT, ADDR_MAX) ||
	    !address_decode(&to->addr, address, false) ||
	    !target_valid(rest, &to->addr))
		return false;
	to->notify = (unsigned)notify;
	to->orcpt = dup_text(orcpt);
	to->orig = dup_text(orig);
	to->target = rest != NULL ? xstrdup(rest) : NULL;
	return true;
}

static bool
decode_recipients(struct envelope *e, struct reader *r)
{
	const char *rest;

	e->recipients = xcalloc(e->nrecipients, sizeof(*e->recipients));
	for (size_t i = 0; i < e->nrecipients; i++) {
		e->recipients[i].status_offset =
		    (off_t)(r->p - r->text + STATUS_COLUMN);
		if (!decode_recipient(&e->recipients[i], i, r))
			return false;
	}
	rest = next_line(r, "end");
	e->message_offset = (off_t)(r->p - r->text);
	return rest != NULL && *rest == '\0';
}

int
envelope_decode(struct envelope *e, const char *text, size_t len)
{
	struct reader r = {.text = text, .end = text + len};

	memset(e, 0, sizeof(*e));
	if (len < FIXED_END) {
		errno = EAGAIN;
		return -1;
	}
	r.p = text + FIXED_END;
	if (envelope_decode_state(e, text, len) == 0 &&
	    decode_message(e, text + ENVELOPE_MESSAGE_OFFSET) &&
	    decode_header(e, &r) && decode_recipients(e, &r))
		return 0;
	envelope_free(e);
	errno = r.cut ? EAGAIN : EBADMSG;
	return -1;
}

/* ---- The rest ---- */

void
envelope_free(struct envelope *e)
{
	for (size_t i = 0; e->recipients != NULL && i < e->nrecipients; i++) {
		free(e->recipients[i].orcpt);
		free(e->recipients[i].orig);
		free(e->recipients[i].target);
	}
	free(e->recipients);
	free(e->envid);
	memset(e, 0, sizeof(*e));
}

uint64_t
checksum_update(uint64_t sum, const void *p, size_t len)
{
	const unsigned char *byte;

	for (byte = p; len > 0; byte++, len--)
		sum = (sum ^ *byte) * 0x100000001b3ULL;
	return sum;
}

size_t
envelope_count(const struct envelope *e, enum recipient_status s)
{
	size_t count = 0;

	for (size_t i = 0; i < e->nrecipients; i++)
		count += e->recipients[i].status == s;
	return count;
}

bool
envelope_open(const struct envelope *e)
{
	return envelope_count(e, STATUS_TODO) > 0 ||
	       envelope_count(e, STATUS_UNCERTAIN) > 0;
}

bool
envelope_owed(const struct envelope *e)
{
	size_t i;

	for (i = 0; i < e->nrecipients; i++)
		if (recipient_owed(&e->recipients[i]))
			break;
	return i < e->nrecipients;
}

uint64_t
envelope_message_end(const struct envelope *e)
{
	return (uint64_t)e->message_offset + e->length;
}

bool
recipient_wants_notice(const struct recipient *r, unsigned kind)
{
	return r->notify == 0 || (r->notify & kind) != 0;
}

bool
recipient_open(const struct recipient *r)
{
	return r->status == STATUS_TODO || r->status == STATUS_UNCERTAIN;
}

bool
recipient_owed(const struct recipient *r)
{
	return r->status == STATUS_FAILED || r->status == STATUS_DELIVERED ||
	       r->status == STATUS_RELAYED;
}
