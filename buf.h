/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * buf.h - a growing byte buffer with a hard maximum.
 */
#ifndef DMA_BUF_H
#define DMA_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "compat.h"

/*
 * data[len] is always a NUL once something was put, so data may be read as
 * a string; the NUL is not counted.  {0} with max set is a valid buffer; a
 * max of 0 means 1 GB.
 */
struct buf {
	char *data;
	size_t len, cap, max;
};

/* All return 0, or -1 with errno EMSGSIZE, the buffer unchanged. */
int buf_put(struct buf *b, const void *p, size_t len);
int buf_putc(struct buf *b, int c);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) PRINTFLIKE(2, 3);

/* The text, never NULL. */
const char *buf_str(const struct buf *b);
void buf_truncate(struct buf *b, size_t len); /* memory kept */
void buf_reset(struct buf *b);                /* buf_truncate to 0 */
void buf_free(struct buf *b);                 /* and {0}, max kept */
void buf_wipe(struct buf *b); /* buf_free, contents overwritten */

/*
 * Typed fields for records between our processes, big-endian; a string is
 * its 32-bit length, then its bytes.  NULL is stored as the empty string.
 */
int buf_put_u32(struct buf *b, uint32_t v);
int buf_put_u64(struct buf *b, uint64_t v);
int buf_put_bytes(struct buf *b, const void *p, size_t len);
int buf_put_string(struct buf *b, const char *s);

/* A cursor over bytes that somebody else owns. */
struct cursor {
	const unsigned char *p, *end;
	bool bad; /* sticky: something was short or too long */
};

/*
 * Once bad is set all return 0 or an empty string, so one check at the end
 * is enough.  cursor_string: a fresh string of at most max bytes, the
 * caller's; a NUL inside sets bad.  cursor_bytes: borrowed, not ended.
 */
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
char *cursor_string(struct cursor *c, size_t max);
const void *cursor_bytes(struct cursor *c, size_t max, size_t *len);

#endif
