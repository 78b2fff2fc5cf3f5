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
	char *data = xmalloc(cap);

	if (b->data != NULL) {
		memcpy(data, b->data, b->len);
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
	size_t cap, max = b->max > 0 ? b->max : BUF_MAX_DEFAULT;

	if (b->len > max || n > max - b->len) {
		errno = EMSGSIZE;
		return -1;
	}
	if (n < b->cap - b->len)
		return 0;
	cap = b->cap > 0 ? b->cap : BUF_FIRST;
	while (cap <= b->len + n)
		cap *= 2;
	buf_move(b, cap <= max ? cap : max + 1);
	return 0;
}

int
buf_put(struct buf *b, const void *p, size_t len)
{
	if (buf_reserve(b, len) == -1)
		return -1;
	if (len > 0)
		memcpy(b->data + b->len, p, len);
	b->len += len;
	b->data[b->len] = '\0';
	return 0;
}

int
buf_putc(struct buf *b, int c)
{
	const char byte = (char)c;

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
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0 || buf_reserve(b, (size_t)len) == -1) {
		errno = EMSGSIZE;
		return -1;
	}
	va_start(ap, fmt);
	(void)vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)len;
	return 0;
}

const char *
buf_str(const struct buf *b)
{
	return b->data != NULL ? b->data : "";
}

void
buf_truncate(struct buf *b, size_t len)
{
	if (b->data != NULL) {
		b->len = len;
		b->data[len] = '\0';
	}
}

void
buf_reset(struct buf *b)
{
	buf_truncate(b, 0);
}

void
buf_free(struct buf *b)
{
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void
buf_wipe(struct buf *b)
{
	/* All of it: buf_reset() may have left a longer text behind. */
	compat_explicit_bzero(b->data, b->cap);
	buf_free(b);
}

static int
put_number(struct buf *b, uint64_t v, size_t size)
{
	unsigned char bytes[sizeof(v)];
	size_t i;

	for (i = size; i > 0; v >>= 8)
		bytes[--i] = (unsigned char)v;
	return buf_put(b, bytes, size);
}

int
buf_put_u32(struct buf *b, uint32_t v)
{
	return put_number(b, v, sizeof(v));
}

int
buf_put_u64(struct buf *b, uint64_t v)
{
	return put_number(b, v, sizeof(v));
}

int
buf_put_bytes(struct buf *b, const void *p, size_t len)
{
	const size_t head = sizeof(uint32_t);

	if (len > UINT32_MAX - head) {
		errno = EMSGSIZE;
		return -1;
	}
	/* Both or neither: a length alone would spoil the record. */
	if (buf_reserve(b, head + len) == -1)
		return -1;
	(void)buf_put_u32(b, (uint32_t)len);
	return buf_put(b, p, len);
}

int
buf_put_string(struct buf *b, const char *s)
{
	return buf_put_bytes(b, s, s != NULL ? strlen(s) : 0);
}

/* The next n bytes, or NULL and bad. */
static const unsigned char *
cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || n > (size_t)(c->end - c->p)) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return c->p - n;
}

static uint64_t
cursor_number(struct cursor *c, size_t size)
{
	const unsigned char *p = cursor_take(c, size);
	uint64_t v = 0;
	size_t i;

	for (i = 0; p != NULL && i < size; i++)
		v = v << 8 | p[i];
	return v;
}

uint32_t
cursor_u32(struct cursor *c)
{
	return (uint32_t)cursor_number(c, sizeof(uint32_t));
}

uint64_t
cursor_u64(struct cursor *c)
{
	return cursor_number(c, sizeof(uint64_t));
}

const void *
cursor_bytes(struct cursor *c, size_t max, size_t *len)
{
	const unsigned char *p;
	size_t n = cursor_u32(c);

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
