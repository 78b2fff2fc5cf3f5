/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * log.h - one event, one line, to syslog, stderr or a file (DESIGN 9).
 */
#ifndef DMA_LOG_H
#define DMA_LOG_H

#include <sys/types.h>

#include "compat.h"

enum log_ident { LOG_SUBMIT, LOG_QUEUE, LOG_SMTP, LOG_LOCAL, LOG_BOUNCE };

enum log_target { LOG_TO_SYSLOG, LOG_TO_STDERR, LOG_TO_FILE };

/*
 * Choose where lines go; before the first call they go to syslog.
 * path: for LOG_TO_FILE.  create: a private instance makes its own file,
 * mode 0600; otherwise it must be a regular file of root with one link.
 * tag: replaces "dma" in the ident (-L), or NULL; copied.
 * Returns 0, or -1 with errno, and syslog stays the target.
 */
int log_open(
    enum log_target target, const char *path, int create, const char *tag);

/*
 * From now on each line goes to stderr (too), as a comment ("# ident: text") of
 * the dialogue that -v shows there.
 */
void log_echo(void);

/*
 * Write one line.  priority is one of syslog(3)'s (LOG_INFO, LOG_WARNING,
 * LOG_ERR, LOG_CRIT).  Everything is made printable here: a byte outside
 * 0x20-0x7e becomes '?', so that no remote text can begin a second line.
 * Lines are cut at 2 KB.  What a file does not take (full, over a limit) goes
 * to syslog.  Their time is the system's, whatever TZ is.  Never fails, never
 * blocks for long.
 */
void log_event(enum log_ident ident, int priority, const char *fmt, ...)
    PRINTFLIKE(3, 4);

#endif
