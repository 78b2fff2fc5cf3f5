/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * base64.h - base64 (RFC 4648, 4).
 */
#ifndef DMA_BASE64_H
#define DMA_BASE64_H

#include <stddef.h>
#include <sys/types.h>

#define BASE64_DIGITS                                                          \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ"                                           \
	"abcdefghijklmnopqrstuvwxyz0123456789+/"

#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/*
 * Encode len bytes; dst needs BASE64_LEN(len) + 1 bytes and is ended with
 * NUL.  Returns the length of the text, or -1 with ENOSPC.
 */
ssize_t base64_encode(const void *src, size_t len, char *dst, size_t cap);

/*
 * Decode exactly len characters: padding required, nothing else allowed,
 * unused bits zero.  Returns the number of bytes (dst is not ended), or -1
 * with EINVAL (not base64) or ENOSPC.
 */
ssize_t base64_decode(const char *src, size_t len, void *dst, size_t cap);

#endif
