/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of envelope.c: the codec is a pair, and takes nothing else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "envelope.h"
#include "util.h"

#define ID "00000V80123456789ABC"

static struct addr
address(const char *text)
{
	struct addr a;
	const char *why;

	assert_int_equal(addr_parse(&a, text, true, &why), 0);
	return a;
}

/* An envelope that uses every field; free it with envelope_free(). */
static struct envelope
sample(void)
{
	struct envelope e = {0};

	(void)compat_strlcpy(e.id, ID "x3", sizeof(e.id));
	e.hold = true;
	e.attempts = 4294967295;
	e.crashes = 2;
	e.next_try = 1800000001;
	e.arrival = 1700000000;
	e.uid = 1000;
	e.sender = address("\"a b\"@example.org");
	e.envid = xstrdup("env+2Bid");
	e.ret = RET_HDRS;
	e.flags = MESSAGE_8BIT | MESSAGE_LONE_CR;
	e.length = 999999999999999;
	e.checksum = 0x0123456789abcdef;
	e.nrecipients = 4;
	e.recipients = xcalloc(4, sizeof(*e.recipients));
	e.recipients[0].addr = address("root");
	e.recipients[0].status = STATUS_TODO;
	e.recipients[0].orig = xstrdup("admin person");
	e.recipients[1].addr = address("j\xc3\xb6@example.org");
	e.recipients[1].status = STATUS_UNCERTAIN;
	e.recipients[1].orcpt = xstrdup("rfc822;j+2Bx@example.org");
	e.recipients[1].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
	e.recipients[2].addr = address("x@[192.0.2.1]");
	e.recipients[2].status = STATUS_TOLD;
	e.recipients[2].notify = NOTIFY_NEVER;
	e.recipients[3].addr = address("news");
	e.recipients[3].status = STATUS_SENT;
	e.recipients[3].target = xstrdup("|/bin/post -t \"a b\"");
	return e;
}

static struct buf
sample_text(void)
{
	struct envelope e = sample();
	struct buf text = {0};

	assert_int_equal(envelope_encode(&e, &text), 0);
	envelope_free(&e);
	return text;
}

static void
all_fields_come_back(void **state)
{
	struct envelope e = sample(), d;
	struct buf text = {0};

	(void)state;
	assert_int_equal(envelope_encode(&e, &text), 0);
	assert_int_equal(envelope_decode(&d, text.data, text.len), 0);
	assert_string_equal(d.id, e.id);
	assert_true(d.hold);
	assert_false(d.warned);
	assert_int_equal(d.attempts, e.attempts);
	assert_int_equal(d.crashes, e.crashes);
	assert_int_equal(d.next_try, e.next_try);
	assert_int_equal(d.arrival, e.arrival);
	assert_int_equal(d.uid, e.uid);
	assert_true(addr_equal(&d.sender, &e.sender));
	assert_string_equal(d.envid, e.envid);
	assert_int_equal(d.ret, e.ret);
	assert_int_equal(d.flags, e.flags);
	assert_true(d.length == e.length && d.checksum == e.checksum);
	assert_int_equal(d.nrecipients, 4);
	assert_null(d.recipients[0].target);
	assert_string_equal(d.recipients[3].target, "|/bin/post -t \"a b\"");
	assert_string_equal(d.recipients[0].orig, "admin person");
	assert_null(d.recipients[0].orcpt);
	assert_string_equal(d.recipients[1].orcpt, e.recipients[1].orcpt);
	assert_null(d.recipients[1].orig);
	for (size_t i = 0; i < 4; i++) {
		const struct recipient *r = &d.recipients[i];

		assert_string_equal(r->addr.text, e.recipients[i].addr.text);
		assert_int_equal(r->addr.at, e.recipients[i].addr.at);
		assert_int_equal(r->status, e.recipients[i].status);
		assert_int_equal(r->notify, e.recipients[i].notify);
		assert_int_equal(
		    r->status_offset, e.recipients[i].status_offset);
		assert_int_equal(text.data[r->status_offset], r->status);
	}
	assert_int_equal(d.message_offset, text.len);
	assert_int_equal(e.message_offset, text.len);
	envelope_free(&d);
	envelope_free(&e);
	buf_free(&text);
}

/* What is absent and what is empty is the same. */
static void
optional_fields(void **state)
{
	struct envelope e = sample(), d;
	struct buf text = {0};

	(void)state;
	e.envid[0] = '\0';
	e.recipients[1].orcpt[0] = '\0';
	e.recipients[0].orig[0] = '\0';
	e.sender = address("<>");
	e.ret = RET_DEFAULT;
	assert_int_equal(envelope_encode(&e, &text), 0);
	assert_int_equal(envelope_decode(&d, text.data, text.len), 0);
	assert_null(d.envid);
	assert_null(d.recipients[1].orcpt);
	assert_null(d.recipients[0].orig);
	assert_true(addr_is_null(&d.sender));
	assert_int_equal(d.ret, RET_DEFAULT);
	envelope_free(&d);
	envelope_free(&e);
	buf_free(&text);
}

/* What is overwritten in place reads back, and nothing else moves. */
static void
overwritten_in_place(void **state)
{
	struct buf text = sample_text();
	char line[ENVELOPE_STATE_LEN + 1], filled[ENVELOPE_MESSAGE_LEN + 1];
	struct envelope e = sample(), d;
	size_t len = text.len;

	(void)state;
	e.hold = false;
	e.warned = true;
	e.attempts = 7;
	e.next_try = 12;
	e.flags = 0;
	e.length = 5;
	e.checksum = 6;
	envelope_state_text(&e, line);
	assert_int_equal(strlen(line), ENVELOPE_STATE_LEN);
	memcpy(text.data + ENVELOPE_STATE_OFFSET, line, ENVELOPE_STATE_LEN);
	envelope_message_text(&e, filled);
	assert_int_equal(strlen(filled), ENVELOPE_MESSAGE_LEN);
	memcpy(
	    text.data + ENVELOPE_MESSAGE_OFFSET, filled, ENVELOPE_MESSAGE_LEN);
	assert_int_equal(envelope_decode(&d, text.data, text.len), 0);
	assert_int_equal(d.message_offset, len);
	assert_true(!d.hold && d.warned);
	assert_int_equal(d.attempts, 7);
	assert_int_equal(d.next_try, 12);
	assert_true(d.flags == 0 && d.length == 5 && d.checksum == 6);
	envelope_free(&d);

	d.uid = 77;
	assert_int_equal(
	    envelope_decode_state(&d, text.data, ENVELOPE_STATE_END), 0);
	assert_int_equal(d.next_try, 12);
	assert_int_equal(d.uid, 77);
	errno = 0;
	assert_int_equal(
	    envelope_decode_state(&d, text.data, ENVELOPE_STATE_END - 1), -1);
	assert_int_equal(errno, EBADMSG);
	text.data[ENVELOPE_STATE_OFFSET + 5] = '2';
	assert_int_equal(envelope_decode_state(&d, text.data, text.len), -1);
	envelope_free(&e);
	buf_free(&text);
}

static void
times_are_clamped_L_68(void **state)
{
	struct envelope e = sample(), d;
	struct buf text = {0};

	(void)state;
	e.arrival = -5;
	e.next_try = INT64_MAX;
	assert_int_equal(envelope_encode(&e, &text), 0);
	assert_int_equal(envelope_decode(&d, text.data, text.len), 0);
	assert_int_equal(d.arrival, 0);
	assert_int_equal(d.next_try, 999999999999);
	envelope_free(&d);
	envelope_free(&e);
	buf_free(&text);
}

static void
truncated_anywhere_L_61(void **state)
{
	struct buf text = sample_text();
	struct envelope d;

	(void)state;
	for (size_t len = 0; len < text.len; len++) {
		/* A copy of its own, so that a read beyond shows. */
		char *part = xmalloc(len);

		memcpy(part, text.data, len);
		assert_int_equal(envelope_decode(&d, part, len), -1);
		assert_int_equal(errno, EAGAIN);
		assert_null(d.recipients);
		free(part);
	}
	buf_free(&text);
}

/* Either it is refused, or it is exactly what the encoder would write. */
static void
check_pair(const char *bytes, size_t len)
{
	struct envelope d;
	struct buf again = {0};

	if (envelope_decode(&d, bytes, len) == -1) {
		assert_true(errno == EBADMSG || errno == EAGAIN);
		return;
	}
	assert_int_equal(envelope_encode(&d, &again), 0);
	assert_true(again.len <= len);
	assert_memory_equal(again.data, bytes, again.len);
	envelope_free(&d);
	buf_free(&again);
}

static void
every_byte_changed(void **state)
{
	static const char others[] = "\0\n\r\t 0x@<FTR\x7f\xff";
	struct buf text = sample_text();

	(void)state;
	for (size_t i = 0; i < text.len; i++) {
		char saved = text.data[i];

		for (unsigned bit = 0; bit < 8; bit++) {
			text.data[i] = (char)(saved ^ (1 << bit));
			check_pair(text.data, text.len);
		}
		for (size_t k = 0; k < sizeof(others) - 1; k++) {
			text.data[i] = others[k];
			check_pair(text.data, text.len);
		}
		text.data[i] = saved;
	}
	buf_free(&text);
}

/* Bytes removed, doubled and swapped; the same ones each time. */
static void
random_damage_V_01(void **state)
{
	struct buf text = sample_text();
	char *copy = xmalloc(2 * text.len);
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		size_t from, to, n;

		seed = seed * 1103515245 + 12345;
		from = seed / 65536 % text.len;
		seed = seed * 1103515245 + 12345;
		to = seed / 65536 % text.len;
		n = text.len - (from > to ? from : to);
		memcpy(copy, text.data, to);
		memcpy(copy + to, text.data + from, n);
		check_pair(copy, to + n);
		memcpy(copy, text.data, text.len);
		copy[from] = text.data[to];
		copy[to] = text.data[from];
		check_pair(copy, text.len);
	}
	free(copy);
	buf_free(&text);
}

/* Changes that keep every line whole, and that still must not pass. */
static const struct {
	const char *from, *to;
} lies[] = {
    {"dma-spool 1", "dma-spool 2"},
    {"attempts 4294967295", "attempts 4294967296"},
    {"next 00", "next -0"},
    {"message flags 9", "message flags  "},
    {"checksum 0123456789abcdef", "checksum 0123456789ABCDEF"},
    {"id 0", "id ."},
    {"id 0", "id w"},
    {"uid 0000001000", "uid 9999999999"},
    {"sender \"a b\"@", "sender \"a  b\" @"},
    {"sender \"a b\"@", "sender <ab>@"},
    {"envid env", "envid e v"},
    {"ret H", "ret X"},
    {"recipients 00004", "recipients 00003"},
    {"recipients 00004", "recipients 00005"},
    {"recipients 00004", "recipients 00000"},
    {"recipients 00004", "recipients 99999"},
    {"R T 00000", "R t 00000"},
    {"R T 00000", "R T 00001"},
    {"R T 00000 0", "R T 00000 g"},
    {"\troot\n", "\t\n"},
    {"\troot\n", "\troot \n"},
    {"\troot\n", "\troot\t\n"},
    {"\troot\n", "\t<root>\n"},
    {"\troot\n", "\tro\rot\n"},
    {"\troot\n", "\ta,b\n"},
    {"\troot\n", "\troot\t|\n"},
    {"\troot\n", "\troot\tbin/cat\n"},
    {"\troot\n", "\troot\t|a\tb\n"},
    {"\troot\n", "\troot\t|a\x1b\n"},
    {"\tnews\t", "\tnews@x.example\t"},
    {"end\n", "End\n"},
    {"end\n", "\nend\n"},
};

static void
lies_are_refused_L_67(void **state)
{
	struct buf text = sample_text();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct buf changed = {0};
		struct envelope d;
		char *at = strstr(text.data, lies[i].from);

		assert_non_null(at);
		(void)buf_put(&changed, text.data, (size_t)(at - text.data));
		(void)buf_puts(&changed, lies[i].to);
		(void)buf_puts(&changed, at + strlen(lies[i].from));
		if (envelope_decode(&d, changed.data, changed.len) == 0)
			fail_msg(
			    "took \"%s\" for \"%s\"", lies[i].to, lies[i].from);
		assert_int_equal(errno, EBADMSG);
		buf_free(&changed);
	}
	buf_free(&text);
}

/* A line that never ends is refused before more is asked for. */
static void
endless_line(void **state)
{
	struct buf text = sample_text();
	struct envelope d;
	size_t keep = (size_t)(strstr(text.data, "envid ") - text.data) + 6;

	(void)state;
	text.len = keep;
	while (text.len < keep + 4096)
		assert_int_equal(buf_putc(&text, 'x'), 0);
	assert_int_equal(envelope_decode(&d, text.data, text.len), -1);
	assert_int_equal(errno, EBADMSG);
	buf_free(&text);
}

static void
break_id(struct envelope *e)
{
	e->id[0] = '/';
}

static void
break_sender(struct envelope *e)
{
	(void)compat_strlcpy(e->sender.text, "a@b\nR", sizeof(e->sender.text));
}

static void
break_envid(struct envelope *e)
{
	e->envid[0] = ' ';
}

static void
break_length(struct envelope *e)
{
	e->length++;
}

static void
break_flags(struct envelope *e)
{
	e->flags = 16;
}

static void
break_status(struct envelope *e)
{
	e->recipients[0].status = 'X';
}

static void
break_notify(struct envelope *e)
{
	e->recipients[0].notify = 16;
}

static void
break_orcpt(struct envelope *e)
{
	e->recipients[1].orcpt[0] = '\t';
}

static void
break_orig(struct envelope *e)
{
	e->recipients[0].orig[0] = '\n';
}

static void
break_target(struct envelope *e)
{
	e->recipients[3].target[0] = 'b';
}

static void
remote_target(struct envelope *e)
{
	e->recipients[3].addr = address("news@example.org");
}

static void
null_recipient(struct envelope *e)
{
	e->recipients[0].addr = address("");
}

static void
unparsed_recipient(struct envelope *e)
{
	(void)compat_strlcpy(e->recipients[0].addr.text, "<a@b>",
	    sizeof(e->recipients[0].addr.text));
}

/* What could not be read back is not written. */
static void
encoder_refuses_V_01(void **state)
{
	static void (*const breaks[])(struct envelope *) = {break_id,
	    break_sender, break_envid, break_length, break_flags, break_status,
	    break_notify, break_orcpt, break_orig, break_target, remote_target,
	    null_recipient, unparsed_recipient};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(breaks); i++) {
		struct envelope e = sample();
		struct buf text = {0};

		breaks[i](&e);
		if (envelope_encode(&e, &text) == 0)
			fail_msg("break %zu was encoded", i);
		assert_int_equal(errno, EINVAL);
		buf_free(&text);
		envelope_free(&e);
	}
}

static void
recipient_counts(void **state)
{
	struct envelope e = sample(), d;
	struct buf text = {0};
	struct addr to = address("someone@example.org");

	(void)state;
	e.recipients = xreallocarray(
	    e.recipients, RECIPIENTS_MAX + 1, sizeof(*e.recipients));
	for (size_t i = 4; i <= RECIPIENTS_MAX; i++)
		e.recipients[i] =
		    (struct recipient){.addr = to, .status = STATUS_TODO};
	e.nrecipients = RECIPIENTS_MAX + 1;
	assert_int_equal(envelope_encode(&e, &text), -1);
	assert_int_equal(errno, EMSGSIZE);
	e.nrecipients = RECIPIENTS_MAX;
	buf_reset(&text);
	assert_int_equal(envelope_encode(&e, &text), 0);
	assert_int_equal(envelope_decode(&d, text.data, text.len), 0);
	assert_int_equal(d.nrecipients, RECIPIENTS_MAX);
	assert_int_equal(envelope_count(&d, STATUS_TODO), RECIPIENTS_MAX - 3);
	assert_int_equal(d.recipients[RECIPIENTS_MAX - 1].status_offset,
	    e.recipients[RECIPIENTS_MAX - 1].status_offset);
	envelope_free(&d);
	e.nrecipients = 0;
	assert_int_equal(envelope_encode(&e, &text), -1);
	e.nrecipients = 4;
	envelope_free(&e);
	buf_free(&text);
}

static const struct {
	const char *name;
	bool valid;
} ids[] = {
    {ID, true},
    {ID "x0", true},
    {ID "x9999", true},
    {ID "x1x20", true},
    {ID "w", true},
    {ID "wx0", true},
    {"VVVVVVVVVVVVVVVVVVVV", true},
    {"", false},
    {"0", false},
    {"00000V80123456789AB", false},
    {ID "0", false},
    {ID "x", false},
    {ID "x01", false},
    {ID "xA", false},
    {ID "x1x", false},
    {ID "x1x2x3", false},
    {ID "x123456", false},
    {ID "ww", false},
    {ID "w0", false},
    {ID "x1w", false},
    {ID "wx1x2", false},
    {ID "W", false},
    {ID "X1", false},
    {ID ".", false},
    {"tmp." ID, false},
    {"bad." ID, false},
    {"00000V80123456789ABW", false},
    {"00000v80123456789ABC", false},
    {"../00V80123456789ABC", false},
    {"run.1000", false},
};

static void
id_forms(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		if (envelope_id_valid(ids[i].name) != ids[i].valid)
			fail_msg("%s", ids[i].name);
}

/* Known answers of FNV-1a, and that pieces make the whole. */
static void
checksum_L_62(void **state)
{
	uint64_t sum = CHECKSUM_INIT;

	(void)state;
	assert_true(checksum_update(sum, "", 0) == 0xcbf29ce484222325);
	assert_true(checksum_update(sum, "a", 1) == 0xaf63dc4c8601ec8c);
	assert_true(checksum_update(sum, "foobar", 6) == 0x85944171f73967e8);
	sum = checksum_update(sum, "foo", 3);
	assert_true(checksum_update(sum, "bar", 3) == 0x85944171f73967e8);
}

static void
who_is_open_and_told(void **state)
{
	static const struct {
		unsigned notify;
		bool told, warned;
	} wishes[] = {{0, true, true}, {NOTIFY_FAILURE, true, false},
	    {NOTIFY_FAILURE | NOTIFY_SUCCESS, true, false},
	    {NOTIFY_FAILURE | NOTIFY_DELAY, true, true},
	    {NOTIFY_NEVER, false, false}, {NOTIFY_SUCCESS, false, false},
	    {NOTIFY_DELAY, false, true}};
	struct envelope e = sample();

	(void)state;
	assert_true(envelope_open(&e));
	e.recipients[0].status = STATUS_SENT;
	assert_true(envelope_open(&e)); /* uncertain is open */
	e.recipients[1].status = STATUS_FAILED;
	assert_false(envelope_open(&e));
	assert_int_equal(envelope_count(&e, STATUS_FAILED), 1);
	envelope_free(&e);
	for (size_t i = 0; i < ARRAY_LEN(wishes); i++) {
		struct recipient r = {.notify = wishes[i].notify};

		assert_int_equal(
		    recipient_wants_notice(&r, NOTIFY_FAILURE), wishes[i].told);
		assert_int_equal(
		    recipient_wants_notice(&r, NOTIFY_DELAY), wishes[i].warned);
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(all_fields_come_back),
	    cmocka_unit_test(optional_fields),
	    cmocka_unit_test(overwritten_in_place),
	    cmocka_unit_test(times_are_clamped_L_68),
	    cmocka_unit_test(truncated_anywhere_L_61),
	    cmocka_unit_test(every_byte_changed),
	    cmocka_unit_test(random_damage_V_01),
	    cmocka_unit_test(lies_are_refused_L_67),
	    cmocka_unit_test(endless_line),
	    cmocka_unit_test(encoder_refuses_V_01),
	    cmocka_unit_test(recipient_counts),
	    cmocka_unit_test(id_forms),
	    cmocka_unit_test(checksum_L_62),
	    cmocka_unit_test(who_is_open_and_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
