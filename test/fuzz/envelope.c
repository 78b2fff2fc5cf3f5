/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * envelope.c - any bytes as a queue file's head: what decodes encodes to the
 * same bytes; cut anywhere it does not decode.
 */
#include "fuzz.h"

#include <errno.h>

#include "envelope.h"

static void
check_fields(const struct envelope *e, size_t size)
{
	need(envelope_id_valid(e->id), "id");
	need(e->nrecipients > 0 && e->nrecipients <= RECIPIENTS_MAX, "count");
	need(e->message_offset > 0 && (size_t)e->message_offset <= size, "end");
	need(strpbrk(e->sender.text, "\r\n\t") == NULL, "sender");
	for (size_t i = 0; i < e->nrecipients; i++) {
		const struct recipient *r = &e->recipients[i];

		need(!addr_is_null(&r->addr) &&
			 strpbrk(r->addr.text, "\r\n\t") == NULL,
		    "recipient");
		need(r->status_offset > 0 &&
			 r->status_offset < e->message_offset,
		    "where its status stands");
		need(
		    r->orcpt == NULL || strlen(r->orcpt) <= ORCPT_MAX, "ORCPT");
		need(r->target == NULL ||
			 (addr_is_bare(&r->addr) && r->target[1] != '\0' &&
			     strchr("/|", r->target[0]) != NULL &&
			     strlen(r->target) <= TARGET_MAX),
		    "target");
	}
}

/* The status byte that is overwritten is the one that is read. */
static void
check_marks(const struct envelope *e, const char *text)
{
	for (size_t i = 0; i < e->nrecipients; i++)
		need(text[e->recipients[i].status_offset] ==
			 (char)e->recipients[i].status,
		    "a status byte");
}

static void
check(struct envelope *e, const char *text, size_t size)
{
	struct envelope cut, state = {0};
	struct buf out = {0};
	size_t len = (size_t)e->message_offset;

	check_fields(e, size);
	check_marks(e, text);
	need(envelope_encode(e, &out) == 0, "encode");
	need(out.len == len && memcmp(out.data, text, len) == 0,
	    "the same bytes");
	need(envelope_decode_state(&state, text, size) == 0 &&
		 state.hold == e->hold && state.attempts == e->attempts &&
		 state.next_try == e->next_try && state.warned == e->warned,
	    "the state alone");
	for (size_t n = len - 1; n > 0 && n > len - 40; n--)
		need(envelope_decode(&cut, text, n) == -1 && errno == EAGAIN,
		    "cut");
	buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct envelope e;
	char *word = text_of(data, size);
	unsigned bits;

	if (envelope_decode(&e, text, size) == 0)
		check(&e, text, size);
	else
		need((errno == EBADMSG || errno == EAGAIN) &&
			 e.recipients == NULL && e.envid == NULL,
		    "nothing to free");
	envelope_free(&e);
	if (envelope_parse_notify(word, &bits) == 0)
		need(bits > 0 && bits <= 15 &&
			 (!(bits & NOTIFY_NEVER) || bits == NOTIFY_NEVER),
		    "NOTIFY");
	if (envelope_id_valid(word))
		need(strlen(word) <= QUEUE_ID_MAX && !strpbrk(word, "./"),
		    "a name of a file");
	free(word);
	return 0;
}
