/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * progress.c - how far a run is, for who waits for it at a terminal.
 *
 * Runs in:   dma, as a runner in the foreground.
 * Promises:  one line, written over and over, and only to a terminal.
 */
#include "runner.h"

#include <stdio.h>
#include <unistd.h>

#include "util.h"

#define PROGRESS_FROM 24  /* messages: more than a screenful */
#define PROGRESS_MS   500 /* between two lines */

bool
progress_wanted(void)
{
	return isatty(STDERR_FILENO) == 1;
}

void
progress_show(struct runner *r, bool end)
{
	int64_t now = now_ms();

	if (!r->progress_line || r->taken <= PROGRESS_FROM ||
	    (end ? r->shown == 0 : now - r->shown < PROGRESS_MS))
		return;
	r->shown = now;
	(void)fprintf(stderr, "\r%zu of %zu, %zu waiting again%s",
	    r->taken - r->queued, r->taken, r->again, end ? "\n" : "");
}
