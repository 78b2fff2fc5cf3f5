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
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			       "abcdefghijklmnopqrstuvwxyz0123456789+/";

/* Up to three bytes as four characters. */
static void
encode_group(const unsigned char *in, size_t n, char *out)
{
	uint32_t v;

	v = (uint32_t)in[0] << 16;
	if (n > 1)
		v |= (uint32_t)in[1] << 8;
	if (n > 2)
		v |= in[2];
	out[0] = alphabet[v >> 18];
	out[1] = alphabet[v >> 12 & 63];
	out[2] = n > 1 ? alphabet[v >> 6 & 63] : '=';
	out[3] = n > 2 ? alphabet[v & 63] : '=';
}

ssize_t
base64_encode(const void *src, size_t len, char *dst, size_t cap)
{
	const unsigned char *in;
	size_t left;
	char *out;

	if (len > SIZE_MAX / 4 || cap < BASE64_LEN(len) + 1) {
		errno = ENOSPC;
		return -1;
	}
	in = src;
	out = dst;
	for (left = len; left > 0; left -= left < 3 ? left : 3) {
		encode_group(in, left, out);
		in += 3;
		out += 4;
	}
	*out = '\0';
	return (ssize_t)(out - dst);
}

/* The value of one character, or -1. */
static int
decode_char(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/*
 * Four characters as one to three bytes; only the last group may be padded.
 * Returns how many bytes, or 0 if it is not base64.
 */
static size_t
decode_group(const char *in, bool last, unsigned char *out)
{
	uint32_t v;
	size_t chars, i;
	int digit;

	chars = 4;
	while (last && chars > 2 && in[chars - 1] == '=')
		chars--;
	v = 0;
	for (i = 0; i < 4; i++) {
		digit = i < chars ? decode_char(in[i]) : 0;
		if (digit == -1)
			return 0;
		v = v << 6 | (uint32_t)digit;
	}
	/* Bits that no byte takes must be zero. */
	if ((chars == 2 && (v & 0xffff) != 0) || (chars == 3 && (v & 0xff)))
		return 0;
	out[0] = (unsigned char)(v >> 16);
	out[1] = (unsigned char)(v >> 8);
	out[2] = (unsigned char)v;
	return chars - 1;
}

ssize_t
base64_decode(const char *src, size_t len, void *dst, size_t cap)
{
	unsigned char bytes[3], *out;
	size_t i, j, n, used;

	if (len % 4 != 0) {
		errno = EINVAL;
		return -1;
	}
	out = dst;
	used = 0;
	for (i = 0; i < len; i += 4) {
		n = decode_group(src + i, i + 4 == len, bytes);
		if (n == 0 || n > cap - used) {
			errno = n == 0 ? EINVAL : ENOSPC;
			return -1;
		}
		for (j = 0; j < n; j++)
			out[used++] = bytes[j];
	}
	return (ssize_t)used;
}
