/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one function over bytes, which aborts when a property does not
 * hold.  libFuzzer or AFL++ calls it, or replay.c with the bytes of files.
 */
#ifndef DMA_TEST_FUZZ_H
#define DMA_TEST_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void
need(bool what, const char *words)
{
	if (what)
		return;
	(void)fprintf(stderr, "not so: %s\n", words);
	abort();
}

/* One line that a terminal and a log can have. */
static inline void
need_printable(const char *s, const char *words)
{
	for (; *s != '\0'; s++)
		need(ascii_isprint((unsigned char)*s), words);
}

/* Words that go on after what they are about; and only where it failed. */
static inline void
need_reason(int result, const char *why)
{
	need(result == 0 || (why != NULL && *why != '\0'), "a reason");
}

/* The bytes as a string, the caller's; what follows a NUL does not count. */
static inline char *
text_of(const uint8_t *data, size_t size)
{
	return xstrndup(size == 0 ? "" : (const char *)data, size);
}

static inline bool
same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

#endif
