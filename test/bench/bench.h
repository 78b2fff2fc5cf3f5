/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bench.h - what the tools of the bench share.
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static inline int64_t
now_us(void)
{
	struct timespec now;

	if (clock_gettime(CLOCK_MONOTONIC, &now) == -1)
		err(1, "clock_gettime");
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline long
number(const char *text, long least, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < least || n > most)
		errx(2, "%s: not a number from %ld to %ld", text, least, most);
	return n;
}

#endif
