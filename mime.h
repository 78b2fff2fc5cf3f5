/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime.h - a message as its next server can take it (RFC 2045, 2046, 6152).
 *
 * Lines over LINE_WIRE_MAX, NULs, lone CRs, 8-bit text that has no MIME fields
 * or that the server did not offer to take: the parts that have them are
 * encoded, all others stay byte for byte.  What a MIME reader decodes at the
 * far end is what was stored; where that cannot be had, the report says so.
 */
#ifndef DMA_MIME_H
#define DMA_MIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "job.h"

struct mime_report {
	uint64_t size;    /* bytes with CRLF line ends, dots not doubled */
	bool eightbit;    /* some are over 0x7f */
	bool changed;     /* it is not what is stored */
	const char *note; /* what was lost, a constant text; or NULL */
};

/*
 * Convert the job's message, LF line ends, the last line ended, and hand it on
 * in pieces that put() may change; with put NULL only the report is made.
 *
 * j:        its fd is read with pread(2), memory does not grow with length.
 * eightbit: the server takes 8-bit text.
 * put:      returns 0, or -1 with errno, which ends the conversion.
 * Returns 0 with *report, or -1 with errno of put(), or EBADMSG: the message
 * cannot be read.
 */
int mime_convert(const struct job *j, bool eightbit,
    int (*put)(void *arg, char *p, size_t len), void *arg,
    struct mime_report *report);

#endif
