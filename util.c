/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * util.c - memory, numbers, text, time and whole reads and writes.
 *
 * Runs in:   every program.
 * Trusts:    its callers, none of which calls setlocale(3). Distrusts: the
 *            text it is given to print or parse.
 * Promises:  no short result without an error; no unprintable byte on stderr.
 */
#include "util.h"

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define COMPLAINT_MAX 2048 /* bytes of one line on stderr */
#define DURATION_MAX  (10LL * 365 * 24 * 60 * 60) /* seconds */

static const char *program_name = "dma";

static void *
checked(void *p)
{
	if (p == NULL)
		die(EX_OSERR, "out of memory");
	return p;
}

void *
xmalloc(size_t size)
{
	return checked(malloc(size > 0 ? size : 1));
}

void *
xcalloc(size_t n, size_t size)
{
	return checked(calloc(n > 0 ? n : 1, size));
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
	const bool fits = size == 0 || n <= SIZE_MAX / size;

	return checked(fits ? realloc(p, n * size > 0 ? n * size : 1) : NULL);
}

char *
xstrdup(const char *s)
{
	return checked(strdup(s));
}

char *
xstrndup(const char *s, size_t len)
{
	return checked(strndup(s, len));
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	return checked(len == -1 ? NULL : text);
}

void
util_set_name(const char *name)
{
	program_name = name;
}

static void vcomplain(const char *fmt, va_list ap) PRINTFLIKE(1, 0);

/* One write(2), so that the lines of two processes do not mix. */
static void
vcomplain(const char *fmt, va_list ap)
{
	char text[COMPLAINT_MAX - 64], line[COMPLAINT_MAX];
	int saved = errno;
	size_t len;

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)snprintf(line, sizeof(line), "%.50s: %s", program_name, text);
	len = strlen(line);
	(void)printable(line, sizeof(line), line, len);
	line[len] = '\n';
	(void)write_full(STDERR_FILENO, line, len + 1);
	errno = saved;
}

void
complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vcomplain(fmt, ap);
	va_end(ap);
}

void
die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vcomplain(fmt, ap);
	va_end(ap);
	exit(status);
}

int64_t
now_ms(void)
{
	struct timespec now;
#if defined(CLOCK_BOOTTIME)
	/* Counts a suspended laptop's sleep too, so that deadlines pass. */
	const clockid_t which = CLOCK_BOOTTIME;
#else
	const clockid_t which = CLOCK_MONOTONIC;
#endif

	if (clock_gettime(which, &now) == -1)
		die(EX_OSERR, "no monotonic clock: %s", strerror(errno));
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t
pread_full(int fd, void *p, size_t len, off_t offset)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = pread(
		    fd, (char *)p + done, len - done, offset + (off_t)done);
		if (n == -1 && errno == EINTR)
			n = 0;
		else if (n == -1)
			return -1;
		else if (n == 0)
			break;
	}
	return (ssize_t)done;
}

/* offset: -1 means where the descriptor stands. */
static int
write_all(int fd, const char *p, size_t len, off_t offset)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		if (offset == -1)
			n = write(fd, p + done, len - done);
		else
			n = pwrite(
			    fd, p + done, len - done, offset + (off_t)done);
		if (n == -1 && errno == EINTR)
			n = 0;
		else if (n == -1)
			return -1;
	}
	return 0;
}

int
write_full(int fd, const void *p, size_t len)
{
	return write_all(fd, p, len, -1);
}

int
pwrite_full(int fd, const void *p, size_t len, off_t offset)
{
	return write_all(fd, p, len, offset);
}

int
read_file(
    const char *path, size_t max, char **data, size_t *len, struct stat *st)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd != -1 ? read_file_fd(fd, max, data, len, st) : -1;
}

int
read_file_fd(int fd, size_t max, char **data, size_t *len, struct stat *st)
{
	struct stat own;
	ssize_t n = -1;
	char *text = NULL;
	int saved;

	if (fstat(fd, &own) == -1)
		goto out;
	if (!S_ISREG(own.st_mode) || (uintmax_t)own.st_size > max) {
		errno = S_ISREG(own.st_mode) ? EFBIG : EINVAL;
		goto out;
	}
	text = xmalloc((size_t)own.st_size + 1);
	n = pread_full(fd, text, (size_t)own.st_size, 0);
	if (n == -1)
		goto out;
	text[n] = '\0';
	*data = text;
	*len = (size_t)n;
	if (st != NULL)
		*st = own;
out:
	saved = errno;
	(void)close(fd);
	if (n == -1)
		free(text);
	errno = saved;
	return n == -1 ? -1 : 0;
}

int
parse_number(const char *s, long long min, long long max, long long *value)
{
	const char *digits = *s == '-' ? s + 1 : s;
	long long parsed;
	char *end;

	if (*digits < '0' || *digits > '9') {
		errno = EINVAL; /* strtoll would take " 1" and "+1" */
		return -1;
	}
	errno = 0;
	parsed = strtoll(s, &end, 10);
	if (*end != '\0') {
		errno = EINVAL;
		return -1;
	}
	if (errno != 0 || parsed < min || parsed > max) {
		errno = ERANGE;
		return -1;
	}
	*value = parsed;
	return 0;
}

int
parse_duration(const char *s, int64_t *seconds)
{
	const char *unit = s + strspn(s, "0123456789");
	long long number, factor = 1;

	switch (*unit) {
	case 'd':
		factor *= 24;
		/* FALLTHROUGH */
	case 'h':
		factor *= 60;
		/* FALLTHROUGH */
	case 'm':
		factor *= 60;
	}
	if (unit == s || strchr("smhd", *unit) == NULL ||
	    (*unit != '\0' && unit[1] != '\0')) {
		errno = EINVAL;
		return -1;
	}
	errno = 0;
	number = strtoll(s, NULL, 10);
	if (errno != 0 || number > DURATION_MAX / factor) {
		errno = ERANGE;
		return -1;
	}
	*seconds = number * factor;
	return 0;
}

int
ascii_lower(int c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

bool
ascii_isalnum(int c)
{
	return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ||
	       (c >= '0' && c <= '9');
}

bool
ascii_isblank(int c)
{
	return c == ' ' || c == '\t';
}

bool
ascii_iscntrl(int c)
{
	return (c >= 0 && c < 0x20) || c == 0x7f;
}

bool
ascii_isprint(int c)
{
	return c >= 0x20 && c <= 0x7e;
}

/* In the C locale, the only one here, they know ASCII alone. */
int
ascii_strcasecmp(const char *a, const char *b)
{
	return strcasecmp(a, b);
}

int
ascii_strncasecmp(const char *a, const char *b, size_t n)
{
	return strncasecmp(a, b, n);
}

char *
printable(char *dst, size_t size, const char *src, size_t len)
{
	size_t i;

	for (i = 0; i < len && i < size - 1; i++)
		dst[i] = ascii_isprint((unsigned char)src[i]) ? src[i] : '?';
	dst[i] = '\0';
	return dst;
}

char *
rfc5322_date(char *dst, size_t size, int64_t when)
{
	time_t t = (time_t)when;
	struct tm tm;

	if (localtime_r(&t, &tm) == NULL) {
		t = 0; /* a year that does not fit an int */
		(void)gmtime_r(&t, &tm);
	}
	(void)strftime(dst, size, "%a, %d %b %Y %H:%M:%S %z", &tm);
	return dst;
}
