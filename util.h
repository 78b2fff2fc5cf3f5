/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * util.h - memory, numbers, text, time and whole reads and writes.
 */
#ifndef DMA_UTIL_H
#define DMA_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "compat.h"

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Allocators: never NULL; without memory they exit 71 (EX_OSERR). */
void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *p, size_t n, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len);
char *xasprintf(const char *fmt, ...) PRINTFLIKE(1, 2);

/*
 * The one line a person gets on stderr: "NAME: text\n", made printable.
 * NAME is what util_set_name() stored (default "dma"; a constant string,
 * borrowed for ever).
 */
void util_set_name(const char *name);
void complain(const char *fmt, ...) PRINTFLIKE(1, 2);

/* complain(), then exit(status), a value of <sysexits.h>. */
void die(int status, const char *fmt, ...) PRINTFLIKE(2, 3) NORETURN;

/* Milliseconds on a clock that never steps (CLOCK_BOOTTIME where it is). */
int64_t now_ms(void);

/*
 * Read or write everything, past EINTR and short counts.  pread_full returns
 * the bytes read (less than len only at end of file) or -1; the others 0 or
 * -1, with errno.
 */
ssize_t pread_full(int fd, void *p, size_t len, off_t offset);
int write_full(int fd, const void *p, size_t len);
int pwrite_full(int fd, const void *p, size_t len, off_t offset);

/*
 * Read a regular file of at most max bytes, as long as it is when opened (a
 * FIFO cannot stop us).  *data is allocated, NUL-ended, the caller's; *st,
 * unless NULL, is the fstat(2) of what was read.  Returns 0, or -1 with errno:
 * of open(2), EINVAL not a regular file, EFBIG over max.
 */
struct stat;
int read_file(
    const char *path, size_t max, char **data, size_t *len, struct stat *st);

/* The same of an open file, which is closed in any case. */
int read_file_fd(int fd, size_t max, char **data, size_t *len, struct stat *st);

/*
 * Parse a whole string as a decimal number in [min, max].
 * Returns 0, or -1 with errno EINVAL (not a number) or ERANGE.
 */
int parse_number(const char *s, long long min, long long max, long long *value);

/*
 * A duration: a number and a unit s, m, h or d (no unit: seconds).
 * Returns 0 with *seconds, or -1 (EINVAL, ERANGE: over ten years).
 */
int parse_duration(const char *s, int64_t *seconds);

/* ASCII only, whatever the locale. */
int ascii_lower(int c);
bool ascii_isalnum(int c);
bool ascii_isblank(int c); /* space or tab */
bool ascii_iscntrl(int c); /* below 0x20, and 0x7f */
bool ascii_isprint(int c); /* 0x20 to 0x7e */
int ascii_strcasecmp(const char *a, const char *b);
int ascii_strncasecmp(const char *a, const char *b, size_t n);

/*
 * Copy src (len bytes) to dst (size bytes, not 0; always ended): bytes outside
 * 0x20-0x7e become '?'; cut to fit.  Returns dst.
 */
char *printable(char *dst, size_t size, const char *src, size_t len);

/* RFC 5322 date, "Fri, 20 Nov 2026 18:09:17 +0000".  Returns dst. */
#define RFC5322_DATE_LEN 40
char *rfc5322_date(char *dst, size_t size, int64_t when);

#endif
