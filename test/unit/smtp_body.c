/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_body.c - from standard input through the spool's text onto the wire:
 *               every sequence of CR, LF, dot and another byte, up to eight.
 */
#include "../../smtp_session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../mail.h"
#include "../../spool.h"
#include "../../util.h"

#define LENGTH_MAX 8
#define HEADER     "Subject: bytes\n"
#define TEXT_MAX   1024

static const char alphabet[] = "\r\n.x";

/* One message's way, and the buffers it takes. */
struct way {
	int in, stored;           /* files */
	struct spool_draft draft; /* what it has not written yet is looked at */
	struct smtp_session session;
	struct hop hop;
	struct smtp_callbacks cb;
};

static int
scratch_file(void)
{
	FILE *f = tmpfile();
	int fd;

	assert_non_null(f);
	fd = dup(fileno(f));
	(void)fclose(f);
	return fd;
}

static void
way_open(struct way *w)
{
	w->draft.fd = -1;
	w->draft.buffer = xmalloc(TEXT_MAX);
	w->in = scratch_file();
	w->stored = scratch_file();
	w->hop.timeouts = 100;
	w->session.hop = &w->hop;
	w->session.cb = &w->cb;
	w->session.net.fd = -1;
	w->session.deadline = now_ms() + 3600000;
}

static void
way_close(struct way *w)
{
	free(w->draft.buffer);
	(void)close(w->in);
	(void)close(w->stored);
}

/* ---- What has to come out ---- */

/* Line ends made LF: CRs before one belong to it, the last line gets one. */
static void
normalise(const char *text, size_t len, char *out)
{
	const char *end = text + len;

	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		const char *stop = lf != NULL ? lf : end;
		const char *next = lf != NULL ? lf + 1 : end;
		while (stop > text && stop[-1] == '\r')
			stop--;
		memcpy(out, text, (size_t)(stop - text));
		out += stop - text;
		if (lf != NULL || stop > text)
			*out++ = '\n';
		text = next;
	}
	*out = '\0';
}

/* A server's view: lines end in CRLF, a leading dot is taken off. */
static void
undo_wire(const char *wire, size_t len, char *out)
{
	const char *end = wire + len;

	while (wire < end) {
		const char *cr = memchr(wire, '\r', (size_t)(end - wire));
		assert_true(cr != NULL && cr + 1 < end && cr[1] == '\n');
		assert_null(memchr(wire, '\n', (size_t)(cr - wire)));
		if (*wire == '.')
			wire++;
		memcpy(out, wire, (size_t)(cr - wire));
		out += cr - wire;
		*out++ = '\n';
		wire = cr + 2;
	}
	*out = '\0';
}

/* Quoted-printable (RFC 2045, 6.7), well-formed as we wrote it, in place. */
static void
undo_qp(char *text)
{
	char *out = text;
	unsigned c;

	for (; *text != '\0'; text++)
		if (*text != '=') {
			*out++ = *text;
		} else if (text[1] == '\n') {
			text++;
		} else {
			assert_int_equal(sscanf(text + 1, "%2X", &c), 1);
			*out++ = (char)c;
			text += 2;
		}
	*out = '\0';
}

/* ---- The way ---- */

static int
append(void *arg, const char *p, size_t len)
{
	struct way *w = arg;

	return spool_append(&w->draft, p, len);
}

/* Standard input to what the queue file would hold; its length. */
static size_t
take_in(struct way *w, const char *text, size_t len, char *out)
{
	struct mail_source src = {.fd = w->in};
	struct mail_header header;
	bool reading;
	size_t n;

	assert_int_equal(ftruncate(w->in, 0), 0);
	assert_true(pwrite(w->in, text, len, 0) == (ssize_t)len);
	assert_int_equal(lseek(w->in, 0, SEEK_SET), 0);
	w->draft.used = w->draft.flags = 0;
	assert_int_equal(mail_read_header(&src, &header), 0);
	assert_int_equal(
	    spool_append(&w->draft, header.text.data, header.text.len), 0);
	assert_int_equal(spool_append(&w->draft, "\n", 1), 0);
	assert_int_equal(mail_pass_body(&src, append, w, &reading), 0);
	n = w->draft.used;
	assert_true(n < TEXT_MAX);
	memcpy(out, w->draft.buffer, n);
	out[n] = '\0';
	mail_source_free(&src);
	mail_header_free(&header);
	return n;
}

static struct smtp_task *
make_task(struct way *w, size_t length)
{
	struct job job = {.id = xstrdup("ID"),
	    .sender = xstrdup(""),
	    .flags = w->draft.flags,
	    .length = length,
	    .nrecipients = 1,
	    .fd = dup(w->stored)};

	job.recipients = xcalloc(1, sizeof(*job.recipients));
	job.recipients[0].addr = xstrdup("u@there.test");
	return smtp_task_new(&job);
}

/* What the queue file holds to what goes out; borrowed, *len bytes. */
static const char *
put_out(struct way *w, const char *stored, size_t stored_len, size_t *len)
{
	struct smtp_task *t = make_task(w, stored_len);
	struct net *n = &w->session.net;

	assert_true(
	    pwrite(w->stored, stored, stored_len, 0) == (ssize_t)stored_len);
	n->out_len = 0;
	assert_int_equal(smtp_put_body(&w->session, t), BODY_OK);
	*len = n->out_len;
	/* As the transaction goes on. */
	assert_int_equal(net_put(n, ".\r\n", 4), 0); /* and a NUL */
	smtp_task_free(t);
	return n->out;
}

/* "CRLF.CRLF" is where the message ends, and nowhere else. */
static void
check_ends(const char *wire, size_t len)
{
	assert_int_equal(strlen(wire), len + 3);
	assert_true(strncmp(wire, ".\r\n", 3) != 0);
	if (len < 2)
		assert_int_equal(len, 0);
	else
		assert_ptr_equal(strstr(wire, "\r\n.\r\n"), wire + len - 2);
}

static void
check(struct way *w, const char *body, size_t body_len)
{
	char text[TEXT_MAX], stored[TEXT_MAX], wanted[TEXT_MAX];
	char arrived[TEXT_MAX];
	const char *wire;
	size_t stored_len, len;

	memcpy(text, HEADER "\n", sizeof(HEADER));
	memcpy(text + sizeof(HEADER), body, body_len);
	stored_len = take_in(w, text, sizeof(HEADER) + body_len, stored);
	memcpy(wanted, HEADER "\n", sizeof(HEADER));
	normalise(body, body_len, wanted + sizeof(HEADER));
	assert_string_equal(stored, wanted);

	wire = put_out(w, stored, stored_len, &len);
	check_ends(wire, len);
	undo_wire(wire, len, arrived);
	char *arrived_body = strstr(arrived, "\n\n");
	assert_non_null(arrived_body);
	if (strstr(arrived, "quoted-printable\n") != NULL)
		undo_qp(arrived_body);
	assert_string_equal(arrived_body + 2, wanted + sizeof(HEADER));
}

static void
test_every_sequence_V_07_D_13(void **state)
{
	static struct way w;
	char body[LENGTH_MAX];
	unsigned long checked = 0, count = 1;

	(void)state;
	way_open(&w);
	for (size_t len = 1; len <= LENGTH_MAX; len++) {
		count *= 4;
		for (unsigned long number = 0; number < count; number++) {
			for (size_t i = 0; i < len; i++)
				body[i] = alphabet[(number >> (2 * i)) & 3];
			check(&w, body, len);
			checked++;
		}
	}
	assert_int_equal(checked, 87380);
	way_close(&w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_sequence_V_07_D_13),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
