/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd_text.c - what an SMTP client may send: an accepted value is one that
 * the envelope holds; data ends at the first CRLF.CRLF, wherever reads end.
 *
 * The first byte says what the rest is.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smtpd_text.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool what, const char *words)
{
	if (what)
		return;
	fprintf(stderr, "%s\n", words);
	abort();
}

static void
check_parameter(const char *s, size_t max)
{
	if (s == NULL)
		return;
	need(*s != '\0' && strlen(s) <= max, "length of a parameter");
	for (; *s != '\0'; s++)
		need(*s > ' ' && *s < 0x7f, "byte of a parameter");
}

static void
try_command(const char *text, size_t len)
{
	char *line = xstrndup(text, len), *rest;
	enum smtpd_verb verb = smtpd_verb(line, &rest);
	struct smtpd_path p;
	const char *bad =
	    smtpd_path_parse(&p, rest, verb == VERB_RCPT ? "TO:" : "FROM:");

	if (bad != NULL) {
		need(strlen(bad) > 10 && bad[0] == '5', "a reply");
	} else {
		need(p.path[0] != '\0' && p.size >= 0, "a path");
		check_parameter(p.envid, ENVID_MAX);
		check_parameter(p.orcpt, ORCPT_MAX);
	}
	free(line);
}

/* Decode in pieces of so many bytes; returns how many were taken. */
static size_t
decode(struct smtpd_data *d, const char *in, size_t len, size_t piece,
    struct buf *out)
{
	size_t taken = 0, n, used;
	char room[256];

	*d = (struct smtpd_data){DATA_LINE_START, false, false};
	while (taken < len && d->state != DATA_END) {
		n = len - taken < piece ? len - taken : piece;
		n = smtpd_data_decode(d, in + taken, n, &used, room, piece);
		need(n <= piece && buf_put(out, room, n) == 0, "room");
		need(n > 0 || used > 0, "no progress");
		taken += used;
	}
	return taken;
}

static void
try_data(const char *in, size_t len)
{
	static const char end[] = "\r\n.\r\n";
	struct buf once = {0}, twice = {0}, whole = {0};
	struct smtpd_data d, e;
	const char *found;
	size_t taken = decode(&d, in, len, 256, &once);

	/* The line before is the command's. */
	need(buf_puts(&whole, "\r\n") == 0 && buf_put(&whole, in, len) == 0,
	    "memory");
	found = memmem(whole.data, whole.len, end, sizeof(end) - 1);
	need((d.state == DATA_END) == (found != NULL), "where it ends");
	need(found == NULL || taken == (size_t)(found - whole.data) + 3,
	    "what is left");
	need(decode(&e, in, len, 1, &twice) == taken && e.state == d.state &&
		 e.bare_cr == d.bare_cr && e.bare_lf == d.bare_lf,
	    "pieces differ");
	need(
	    once.len == twice.len &&
		(once.len == 0 || memcmp(once.data, twice.data, once.len) == 0),
	    "text differs");
	need(d.bare_cr || once.len == 0 ||
		 memchr(once.data, '\r', once.len) == NULL,
	    "a CR that was not noted");
	buf_free(&once);
	buf_free(&twice);
	buf_free(&whole);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if ((data[0] & 1) != 0)
		try_command((const char *)data + 1, size - 1);
	else
		try_data((const char *)data + 1, size - 1);
	return 0;
}
