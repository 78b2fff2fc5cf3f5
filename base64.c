/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * base64.c - base64 (RFC 4648, 4).
 *
 * Runs in:   dma-smtp, on secrets and on what a server says.
 * Trusts:    its callers' sizes. Distrusts: every character it decodes.
 * Promises:  one text for one value: what the encoder cannot write is refused.
 */
#include "base64.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = BASE64_DIGITS;

ssize_t
base64_encode(const void *src, size_t len, char *dst, size_t cap)
{
	const unsigned char *in = src;
	uint32_t pending = 0; /* its low `bits` bits are not written yet */
	unsigned bits = 0;
	size_t i, n = 0;

	if (len > SIZE_MAX / 4 || cap < BASE64_LEN(len) + 1) {
		errno = ENOSPC;
		return -1;
	}
	for (i = 0; i < len; i++) {
		pending = pending << 8 | in[i];
		for (bits += 8; bits >= 6; bits -= 6)
			dst[n++] = alphabet[pending >> (bits - 6) & 63];
	}
	if (bits > 0)
		dst[n++] = alphabet[pending << (6 - bits) & 63];
	while (n % 4 != 0)
		dst[n++] = '=';
	dst[n] = '\0';
	return (ssize_t)n;
}

ssize_t
base64_decode(const char *src, size_t len, void *dst, size_t cap)
{
	unsigned char *out = dst;
	uint32_t pending = 0;
	unsigned bits = 0;
	const char *digit;
	size_t chars, i, n = 0;

	chars = len;
	while (chars > 0 && len - chars < 2 && src[chars - 1] == '=')
		chars--;
	for (i = 0; i < chars; i++) {
		digit = memchr(alphabet, src[i], 64);
		if (digit == NULL)
			goto invalid;
		pending = pending << 6 | (uint32_t)(digit - alphabet);
		bits += 6;
		if (bits < 8)
			continue;
		if (n == cap) {
			errno = ENOSPC;
			return -1;
		}
		bits -= 8;
		out[n++] = (unsigned char)(pending >> bits);
	}
	/* Bits that no byte takes must be zero. */
	if (len % 4 == 0 && (pending & ((1U << bits) - 1)) == 0)
		return (ssize_t)n;
invalid:
	errno = EINVAL;
	return -1;
}
