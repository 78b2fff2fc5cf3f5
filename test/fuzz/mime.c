/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime.c - any message through mime.h: what comes out can be sent, is what was
 * announced, and needs no further conversion if nothing was lost.
 *
 * The first byte says whether the server takes 8-bit text.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mime.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
take_piece(void *arg, char *p, size_t len)
{
	return buf_put(arg, p, len);
}

static void
need(bool what, const char *words)
{
	if (what)
		return;
	fprintf(stderr, "%s\n", words);
	abort();
}

/* Convert what stands in the file. */
static struct mime_report
convert(FILE *file, const void *text, size_t len, bool eightbit, struct buf *b)
{
	struct job j = {.fd = fileno(file), .length = len};
	struct mime_report r, dry;

	need(ftruncate(j.fd, 0) == 0 && pwrite_full(j.fd, text, len, 0) == 0,
	    "cannot write");
	need(mime_convert(&j, eightbit, NULL, NULL, &dry) == 0, "dry");
	need(mime_convert(&j, eightbit, take_piece, b, &r) == 0, "wet");
	need(dry.size == r.size && dry.changed == r.changed &&
		 dry.eightbit == r.eightbit && dry.note == r.note,
	    "not as it was announced");
	return r;
}

static void
check_lines(const struct buf *b)
{
	size_t length = 0;

	for (size_t i = 0; i < b->len; i++) {
		char c = b->data[i];
		need(c != '\0' && c != '\r', "NUL or CR");
		length = c == '\n' ? 0 : length + 1;
		need(length <= LINE_WIRE_MAX, "a long line");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static FILE *file;
	struct buf once = {0}, twice = {0};
	struct mime_report r;

	if (size == 0)
		return 0;
	if (file == NULL && (file = tmpfile()) == NULL)
		abort();
	bool eightbit = (data[0] & 1) != 0;
	r = convert(file, data + 1, size - 1, eightbit, &once);
	check_lines(&once);
	if (r.note == NULL) {
		r = convert(file, buf_str(&once), once.len, eightbit, &twice);
		need(!r.changed, "changed once more");
	}
	buf_free(&once);
	buf_free(&twice);
	return 0;
}
