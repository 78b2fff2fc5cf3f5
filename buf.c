/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * buf.c - a growing byte buffer with a hard maximum.
 *
 * Runs in:   every program.
 * Trusts:    its callers. Distrusts: every length a cursor reads.
 * Promises:  never beyond max; a record that lies about a length is bad, not
 *            read.
 */
#include "buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define BUF_MAX_DEFAULT ((size_t)1 << 30) /* bytes, where max is 0 */
#define BUF_FIRST       256

/*
 * Moved by hand, not by realloc(3): the old copy may hold a secret, and
 * buf_wipe() could no longer reach it.
 */
static void
buf_move(struct buf *b, size_t cap)
{
	char *data;

	data = xmalloc(cap);
	if (b->data != NULL) {
		memcpy(data, b->data, b->len + 1);
		compat_explicit_bzero(b->data, b->len);
		free(b->data);
	}
	b->data = data;
	b->cap = cap;
}

/* Make room for n more bytes and the NUL. */
static int
buf_reserve(struct buf *b, size_t n)
{
	size_t cap, max;

	max = b->max > 0 ? b->max : BUF_MAX_DEFAULT;
	if (b->len > max || n > max - b->len) {
		errno = EMSGSIZE;
		return -1;
	}
	if (b->data != NULL && n < b->cap - b->len)
		return 0;
	cap = b->cap > 0 ? b->cap : BUF_FIRST;
	while (cap <= b->len + n)
		cap *= 2;
	buf_move(b, cap <= max ? cap : max + 1);
	return 0;
}

static void
buf_append(struct buf *b, const void *p, size_t len)
{
	if (len > 0)
		memcpy(b->data + b->len, p, len);
	b->len += len;
	b->data[b->len] = '\0';
}

int
buf_put(struct buf *b, const void *p, size_t len)
{
	if (buf_reserve(b, len) == -1)
		return -1;
	buf_append(b, p, len);
	return 0;
}

int
buf_putc(struct buf *b, int c)
{
	char byte;

	byte = (char)c;
	return buf_put(b, &byte, 1);
}

int
buf_puts(struct buf *b, const char *s)
{
	return buf_put(b, s, strlen(s));
}

int
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int len, status;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	status = -1;
	if (len < 0)
		errno = EMSGSIZE;
	else if (buf_reserve(b, (size_t)len) == 0) {
		(void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, again);
		b->len += (size_t)len;
		status = 0;
	}
	va_end(again);
	return status;
}

void
buf_consume(struct buf *b, size_t n)
{
	if (n == 0 || n > b->len)
		return;
	b->len -= n;
	memmove(b->data, b->data + n, b->len + 1);
}

const char *
buf_str(const struct buf *b)
{
	return b->data != NULL ? b->data : "";
}

void
buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data != NULL)
		b->data[0] = '\0';
}

void
buf_free(struct buf *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->cap = 0;
}

void
buf_wipe(struct buf *b)
{
	/* All of it: buf_reset() may have left a longer text behind. */
	if (b->data != NULL)
		compat_explicit_bzero(b->data, b->cap);
	buf_free(b);
}

static void
encode_u32(unsigned char *p, uint32_t v)
{
	p[0] = (unsigned char)(v >> 24);
	p[1] = (unsigned char)(v >> 16);
	p[2] = (unsigned char)(v >> 8);
	p[3] = (unsigned char)v;
}

static uint32_t
decode_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

int
buf_put_u32(struct buf *b, uint32_t v)
{
	unsigned char bytes[4];

	encode_u32(bytes, v);
	return buf_put(b, bytes, sizeof(bytes));
}

int
buf_put_u64(struct buf *b, uint64_t v)
{
	unsigned char bytes[8];

	encode_u32(bytes, (uint32_t)(v >> 32));
	encode_u32(bytes + 4, (uint32_t)v);
	return buf_put(b, bytes, sizeof(bytes));
}

int
buf_put_bytes(struct buf *b, const void *p, size_t len)
{
	unsigned char length[4];

	if (len > UINT32_MAX - sizeof(length)) {
		errno = EMSGSIZE;
		return -1;
	}
	if (buf_reserve(b, sizeof(length) + len) == -1)
		return -1;
	encode_u32(length, (uint32_t)len);
	buf_append(b, length, sizeof(length));
	buf_append(b, p, len);
	return 0;
}

int
buf_put_string(struct buf *b, const char *s)
{
	if (s == NULL)
		return buf_put_bytes(b, NULL, 0);
	return buf_put_bytes(b, s, strlen(s));
}

/* The next n bytes, or NULL and bad. */
static const unsigned char *
cursor_take(struct cursor *c, size_t n)
{
	const unsigned char *p;

	if (c->bad || n > (size_t)(c->end - c->p)) {
		c->bad = true;
		return NULL;
	}
	p = c->p;
	c->p += n;
	return p;
}

uint32_t
cursor_u32(struct cursor *c)
{
	const unsigned char *p;

	p = cursor_take(c, 4);
	return p != NULL ? decode_u32(p) : 0;
}

uint64_t
cursor_u64(struct cursor *c)
{
	const unsigned char *p;

	if ((p = cursor_take(c, 8)) == NULL)
		return 0;
	return (uint64_t)decode_u32(p) << 32 | decode_u32(p + 4);
}

const void *
cursor_bytes(struct cursor *c, size_t max, size_t *len)
{
	const unsigned char *p;
	size_t n;

	n = cursor_u32(c);
	if (n > max)
		c->bad = true;
	p = cursor_take(c, n);
	*len = p != NULL ? n : 0;
	return p != NULL ? (const void *)p : "";
}

char *
cursor_string(struct cursor *c, size_t max)
{
	const char *p;
	size_t len;

	p = cursor_bytes(c, max, &len);
	if (memchr(p, '\0', len) != NULL) {
		c->bad = true;
		len = 0;
	}
	return xstrndup(p, len);
}
