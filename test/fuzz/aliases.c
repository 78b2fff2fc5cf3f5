/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases.c - any alias file: each fault is reported, every name keeps what
 * expand.c understands, and no recipient is lost.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "expand.h"
#include "mailbox.h"
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

static void
check_target(const char *target)
{
	const char *why;
	struct mailbox m;
	struct addr a;

	if (target[0] == '/' || target[0] == '|') {
		if (mailbox_parse(&m, target, &why) != 0)
			abort();
		return;
	}
	if (strncmp(target, ALIAS_REJECT "5.", strlen(ALIAS_REJECT) + 2) == 0 ||
	    strncmp(target, ALIAS_INCLUDE "/", strlen(ALIAS_INCLUDE) + 1) == 0)
		return;
	if (addr_parse(&a, target + (target[0] == '\\'), false, &why) != 0)
		abort();
}

static void
check_alias(const struct alias *alias)
{
	const char *t = alias->targets.data, *end = t + alias->targets.len;

	if (t == end)
		abort();
	for (; t < end; t += strlen(t) + 1)
		check_target(t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {
	    "root", "a", "x@h.example", "b@c.d"};
	struct conf conf = {.mailname = "h.example", .hostname = "h"};
	struct recipients set = {0};
	struct aliases a;
	size_t lines = 0;
	struct addr to;
	const char *why;

	aliases_parse(&a, "f", (const char *)data, size, note, &lines);
	if (lines != a.errors)
		abort();
	for (size_t i = 0; i < a.count; i++)
		check_alias(a.list[i]);
	/* Nothing but what is no file here. */
	if (memmem(data, size, "/", 1) == NULL)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (addr_parse(&to, names[i], false, &why) != 0 ||
			    (expand_add(&set, &conf, &a, &to, 0, NULL, &why) ==
				    0 &&
				set.count == 0))
				abort();
	recipients_free(&set);
	aliases_free(&a);
	return 0;
}
