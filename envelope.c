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
 * end
 *
 * A tab parts what may hold blanks: no address has a control character.
 */
#define MAGIC          "dma-spool 1\n"
#define MAGIC_LEN      (sizeof(MAGIC) - 1)
#define LINE_MAX_BYTES 1100 /* of an envelope line; a recipient's is longest */
#define TIME_MAX       999999999999    /* 12 digits */
#define LENGTH_MAX     999999999999999 /* 15 digits: a petabyte */
#define STATUS_COLUMN  2               /* of the status byte in its line */

_Static_assert(MAGIC_LEN == ENVELOPE_STATE_OFFSET, "magic before the state");
_Static_assert(RECIPIENTS_MAX <= 99999, "a recipient's number has 5 digits");

/* ---- What may stand in a field ---- */

/* Text on one line: no control character; lowest is 0x20 or 0x21. */
static bool
text_valid(const char *s, int lowest, bool ascii, size_t max)
{
	size_t i;
	unsigned char c;

	for (i = 0; s[i] != '\0'; i++) {
		c = (unsigned char)s[i];
		if (c < lowest || c == 0x7f || (ascii && c > 0x7f))
			return false;
	}
	return i <= max;
}

/* What goes on the wire as a parameter (RFC 3461, 4): no blank in it. */
static bool
parameter_valid(const char *s, size_t max)
{
	return s == NULL || text_valid(s, 0x21, true, max);
}

/*
 * An address is good if the parser gives back the same text: then whoever
 * reads the file works on what the submitter's parser saw.
 */
static int
address_decode(struct addr *a, const char *text, bool null_ok)
{
	struct addr parsed;
	const char *why;

	if (!text_valid(text, 0x20, false, ADDR_MAX) ||
	    addr_parse(&parsed, text, null_ok, &why) == -1 ||
	    strcmp(parsed.text, text) != 0)
		return -1;
	*a = parsed;
	return 0;
}

static bool
address_valid(const struct addr *a, bool null_ok)
{
	struct addr ignored;

	return address_decode(&ignored, a->text, null_ok) == 0;
}

static bool
status_valid(int c)
{
	return c == STATUS_TODO || c == STATUS_SENT || c == STATUS_FAILED ||
	       c == STATUS_TOLD || c == STATUS_REMOVED || c == STATUS_UNCERTAIN;
}

static bool
recipient_valid(const struct recipient *r)
{
	return address_valid(&r->addr, false) && status_valid((int)r->status) &&
	       r->notify <= 0xf && parameter_valid(r->orcpt, ORCPT_MAX) &&
	       (r->orig == NULL || text_valid(r->orig, 0x20, false, ADDR_MAX));
}

static bool
id_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'V');
}

bool
envelope_id_valid(const char *name)
{
	size_t n, len;

	for (n = 0; n < QUEUE_ID_LEN; n++)
		if (!id_digit(name[n]))
			return false;
	name += n;
	for (n = 0; n < 2 && *name == 'x'; n++) {
		name++;
		len = strspn(name, "0123456789");
		if (len == 0 || len > 5 || (len > 1 && *name == '0'))
			return false;
		name += len;
	}
	return *name == '\0';
}

static bool
header_valid(const struct envelope *e)
{
	return envelope_id_valid(e->id) && address_valid(&e->sender, true) &&
	       parameter_valid(e->envid, ENVID_MAX) && e->flags <= 0xf &&
	       e->length <= LENGTH_MAX && e->nrecipients > 0 &&
	       (e->ret == RET_DEFAULT || e->ret == RET_FULL ||
		   e->ret == RET_HDRS);
}

/* ---- Encoding ---- */

static int64_t
clamp_time(int64_t t)
{
	return t < 0 ? 0 : t > TIME_MAX ? TIME_MAX : t;
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
	static const char ret_letters[] = "-FH";
	char state[ENVELOPE_STATE_LEN + 1], message[ENVELOPE_MESSAGE_LEN + 1];

	envelope_state_text(e, state);
	envelope_message_text(e, message);
	return buf_printf(out,
	    MAGIC "%s%s"
		  "id %s\n"
		  "arrival %012" PRId64 "\n"
		  "uid %010" PRIu32 "\n"
		  "sender %s\n"
		  "envid %s\n"
		  "ret %c\n"
		  "recipients %05zu\n",
	    state, message, e->id, clamp_time(e->arrival), (uint32_t)e->uid,
	    e->sender.text, or_empty(e->envid), ret_letters[e->ret],
	    e->nrecipients);
}

static int
put_recipient(const struct recipient *r, size_t number, struct buf *out)
{
	return buf_printf(out, "R %c %05zu %x\t%s\t%s\t%s\n", (int)r->status,
	    number, r->notify, or_empty(r->orcpt), or_empty(r->orig),
	    r->addr.text);
}

int
envelope_encode(struct envelope *e, struct buf *out)
{
	size_t i, start;

	if (e->nrecipients > RECIPIENTS_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	if (!header_valid(e)) {
		errno = EINVAL;
		return -1;
	}
	start = out->len;
	if (put_header(e, out) == -1)
		return -1;
	for (i = 0; i < e->nrecipients; i++) {
		if (!recipient_valid(&e->recipients[i])) {
			errno = EINVAL;
			return -1;
		}
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

/* Lines of the text, one after the other, each as a string. */
struct reader {
	const char *text, *p, *end;
	char line[LINE_MAX_BYTES + 1];
};

/* Returns the next line without its LF, or NULL with errno. */
static const char *
next_line(struct reader *r)
{
	size_t left, len;
	const char *lf;

	left = (size_t)(r->end - r->p);
	if (left > LINE_MAX_BYTES)
		left = LINE_MAX_BYTES;
	lf = left > 0 ? memchr(r->p, '\n', left) : NULL;
	if (lf == NULL) {
		errno = left == LINE_MAX_BYTES ? EBADMSG : EAGAIN;
		return NULL;
	}
	len = (size_t)(lf - r->p);
	memcpy(r->line, r->p, len);
	r->line[len] = '\0';
	r->p = lf + 1;
	if (strlen(r->line) == len)
		return r->line;
	errno = EBADMSG;
	return NULL;
}

static bool
skip(const char **p, const char *literal)
{
	size_t len;

	len = strlen(literal);
	if (strncmp(*p, literal, len) != 0)
		return false;
	*p += len;
	return true;
}

/* Exactly `width` digits, as printf's %0*x or %0*u writes them. */
static bool
number(const char **p, int width, unsigned base, uint64_t *value)
{
	static const char digits[] = "0123456789abcdef";
	const char *digit;
	uint64_t v;

	for (v = 0; width > 0; width--, (*p)++) {
		digit = **p == '\0' ? NULL : strchr(digits, **p);
		if (digit == NULL || (unsigned)(digit - digits) >= base)
			return false;
		v = v * base + (unsigned)(digit - digits);
	}
	*value = v;
	return true;
}

static bool
flag(const char **p, bool *value)
{
	uint64_t v;

	if (!number(p, 1, 2, &v))
		return false;
	*value = v == 1;
	return true;
}

static bool
number32(const char **p, uint32_t *value)
{
	uint64_t v;

	if (!number(p, 10, 10, &v) || v > UINT32_MAX)
		return false;
	*value = (uint32_t)v;
	return true;
}

static bool
time_field(const char **p, int64_t *value)
{
	uint64_t v;

	if (!number(p, 12, 10, &v))
		return false;
	*value = (int64_t)v;
	return true;
}

static bool
decode_state_line(struct envelope *e, const char *p)
{
	return skip(&p, "hold ") && flag(&p, &e->hold) &&
	       skip(&p, " warned ") && flag(&p, &e->warned) &&
	       skip(&p, " attempts ") && number32(&p, &e->attempts) &&
	       skip(&p, " crashes ") && number32(&p, &e->crashes) &&
	       skip(&p, " next ") && time_field(&p, &e->next_try) && *p == '\0';
}

static bool
decode_message_line(struct envelope *e, const char *p)
{
	uint64_t flags;

	if (!skip(&p, "message flags ") || !number(&p, 1, 16, &flags) ||
	    !skip(&p, " length ") || !number(&p, 15, 10, &e->length) ||
	    !skip(&p, " checksum ") || !number(&p, 16, 16, &e->checksum))
		return false;
	e->flags = (unsigned)flags;
	return *p == '\0';
}

static bool
decode_id_line(struct envelope *e, const char *p)
{
	return skip(&p, "id ") && envelope_id_valid(p) &&
	       compat_strlcpy(e->id, p, sizeof(e->id)) < sizeof(e->id);
}

static bool
decode_arrival_line(struct envelope *e, const char *p)
{
	return skip(&p, "arrival ") && time_field(&p, &e->arrival) &&
	       *p == '\0';
}

static bool
decode_uid_line(struct envelope *e, const char *p)
{
	uint32_t uid;

	if (!skip(&p, "uid ") || !number32(&p, &uid) || *p != '\0')
		return false;
	e->uid = (uid_t)uid;
	return true;
}

static bool
decode_sender_line(struct envelope *e, const char *p)
{
	return skip(&p, "sender ") && address_decode(&e->sender, p, true) == 0;
}

static bool
decode_envid_line(struct envelope *e, const char *p)
{
	if (!skip(&p, "envid ") || !parameter_valid(p, ENVID_MAX))
		return false;
	e->envid = *p == '\0' ? NULL : xstrdup(p);
	return true;
}

static bool
decode_ret_line(struct envelope *e, const char *p)
{
	if (!skip(&p, "ret ") || *p == '\0' || p[1] != '\0')
		return false;
	e->ret = *p == 'F' ? RET_FULL : *p == 'H' ? RET_HDRS : RET_DEFAULT;
	return *p == '-' || e->ret != RET_DEFAULT;
}

static bool
decode_recipients_line(struct envelope *e, const char *p)
{
	uint64_t n;

	if (!skip(&p, "recipients ") || !number(&p, 5, 10, &n) || *p != '\0' ||
	    n == 0 || n > RECIPIENTS_MAX)
		return false;
	e->nrecipients = (size_t)n;
	return true;
}

/* Cut the field that a tab ends out of *p; NULL if no tab does. */
static char *
tab_field(char **p)
{
	char *field, *tab;

	field = *p;
	tab = strchr(field, '\t');
	if (tab == NULL)
		return NULL;
	*tab = '\0';
	*p = tab + 1;
	return field;
}

static bool
decode_recipient(struct recipient *r, char *line, size_t index)
{
	const char *p;
	char *orcpt, *orig, *rest;
	uint64_t n, notify;

	p = line;
	if (!skip(&p, "R ") || !status_valid(*p))
		return false;
	r->status = (enum recipient_status)p[0];
	p++;
	if (!skip(&p, " ") || !number(&p, 5, 10, &n) || n != index ||
	    !skip(&p, " ") || !number(&p, 1, 16, &notify) || !skip(&p, "\t"))
		return false;
	r->notify = (unsigned)notify;
	rest = line + (p - line);
	if ((orcpt = tab_field(&rest)) == NULL ||
	    (orig = tab_field(&rest)) == NULL ||
	    !parameter_valid(orcpt, ORCPT_MAX) ||
	    !text_valid(orig, 0x20, false, ADDR_MAX) ||
	    address_decode(&r->addr, rest, false) == -1)
		return false;
	r->orcpt = *orcpt == '\0' ? NULL : xstrdup(orcpt);
	r->orig = *orig == '\0' ? NULL : xstrdup(orig);
	return true;
}

/* Returns 0, or -1 with errno; what was allocated stays in *e. */
static int
decode_header(struct envelope *e, struct reader *r)
{
	static bool (*const lines[])(struct envelope *, const char *) = {
	    decode_state_line, decode_message_line, decode_id_line,
	    decode_arrival_line, decode_uid_line, decode_sender_line,
	    decode_envid_line, decode_ret_line, decode_recipients_line};
	const char *line;
	size_t i;

	for (i = 0; i < ARRAY_LEN(lines); i++) {
		if ((line = next_line(r)) == NULL)
			return -1;
		if (!lines[i](e, line)) {
			errno = EBADMSG;
			return -1;
		}
	}
	return 0;
}

static int
decode_recipients(struct envelope *e, struct reader *r)
{
	const char *line;
	size_t i;

	e->recipients = xcalloc(e->nrecipients, sizeof(*e->recipients));
	for (i = 0; i < e->nrecipients; i++) {
		e->recipients[i].status_offset =
		    (off_t)(r->p - r->text + STATUS_COLUMN);
		if (next_line(r) == NULL)
			return -1;
		if (!decode_recipient(&e->recipients[i], r->line, i)) {
			errno = EBADMSG;
			return -1;
		}
	}
	if ((line = next_line(r)) == NULL)
		return -1;
	if (strcmp(line, "end") != 0) {
		errno = EBADMSG;
		return -1;
	}
	e->message_offset = (off_t)(r->p - r->text);
	return 0;
}

int
envelope_decode(struct envelope *e, const char *text, size_t len)
{
	struct reader r;
	int saved;

	memset(e, 0, sizeof(*e));
	if (len > ENVELOPE_MAX)
		len = ENVELOPE_MAX;
	if (len < MAGIC_LEN || memcmp(text, MAGIC, MAGIC_LEN) != 0) {
		errno = EBADMSG;
		if (len < MAGIC_LEN && memcmp(text, MAGIC, len) == 0)
			errno = EAGAIN;
		return -1;
	}
	r.text = text;
	r.p = text + MAGIC_LEN;
	r.end = text + len;
	if (decode_header(e, &r) == 0 && decode_recipients(e, &r) == 0)
		return 0;
	saved = errno;
	envelope_free(e);
	errno = saved;
	return -1;
}

int
envelope_decode_state(struct envelope *e, const char *text, size_t len)
{
	char line[ENVELOPE_STATE_LEN];
	struct envelope state = {0};

	errno = EBADMSG;
	if (len < ENVELOPE_STATE_END || memcmp(text, MAGIC, MAGIC_LEN) != 0 ||
	    text[ENVELOPE_STATE_END - 1] != '\n')
		return -1;
	memcpy(line, text + ENVELOPE_STATE_OFFSET, sizeof(line));
	line[sizeof(line) - 1] = '\0';
	if (!decode_state_line(&state, line))
		return -1;
	e->hold = state.hold;
	e->warned = state.warned;
	e->attempts = state.attempts;
	e->crashes = state.crashes;
	e->next_try = state.next_try;
	return 0;
}

/* ---- The rest ---- */

void
envelope_free(struct envelope *e)
{
	size_t i;

	for (i = 0; e->recipients != NULL && i < e->nrecipients; i++) {
		free(e->recipients[i].orcpt);
		free(e->recipients[i].orig);
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
	size_t i, count;

	for (i = 0, count = 0; i < e->nrecipients; i++)
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
recipient_wants_notice(const struct recipient *r)
{
	return r->notify == 0 || (r->notify & NOTIFY_FAILURE) != 0;
}
