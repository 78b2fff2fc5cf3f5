/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * senders.c - any map of SENDERS: each line is taken or reported, and who
 * stands for a sender is an address.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "senders.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
note(void *arg, const char *line)
{
	size_t *lines = arg;

	++*lines;
	for (; *line != '\0'; line++)
		if (!ascii_isprint(*line))
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	    "root@h.example", "a@b", "\"a b\"@localhost", "x@example.org"};
	struct conf conf = {.mailname = "h.example", .hostname = "h"};
	const struct addr *stands;
	struct senders s;
	size_t lines = 0;
	const char *why;
	struct addr a;

	senders_parse(&s, &conf, (const char *)data, size, note, &lines);
	if (lines != s.errors)
		abort();
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (addr_parse(&a, names[i], false, &why) != 0)
			abort();
		stands = senders_lookup(&s, &a);
		if (stands != NULL && addr_domain(stands) == NULL)
			abort();
	}
	senders_free(&s);
	return 0;
}
