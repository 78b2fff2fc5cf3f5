/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * util.c - memory, numbers, text, time and whole reads and writes.
 *
 * Runs in:   every program.
 * Trusts:    its callers. Distrusts: the text it is given to print or parse,
 *            and the environment's locale, which it never asks.
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
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define COMPLAINT_MAX 2048 /* bytes of one line on stderr */
#define DURATION_MAX  (10LL * 365 * 24 * 60 * 60) /* seconds */

static const char *program_name = "dma";

static NORETURN void
out_of_memory(void)
{
	static const char text[] = ": out of memory\n";

	(void)write_full(STDERR_FILENO, program_name, strlen(program_name));
	(void)write_full(STDERR_FILENO, text, sizeof(text) - 1);
	exit(EX_OSERR);
}

void *
xmalloc(size_t size)
{
	void *p;

	if ((p = malloc(size > 0 ? size : 1)) == NULL)
		out_of_memory();
	return p;
}

void *
xcalloc(size_t n, size_t size)
{
	void *p;

	if ((p = calloc(n > 0 ? n : 1, size > 0 ? size : 1)) == NULL)
		out_of_memory();
	return p;
}

void *
xreallocarray(void *p, size_t n, size_t size)
{
	void *grown;

	if (size > 0 && n > SIZE_MAX / size)
		out_of_memory();
	if ((grown = realloc(p, n * size > 0 ? n * size : 1)) == NULL)
		out_of_memory();
	return grown;
}

char *
xstrdup(const char *s)
{
	return xstrndup(s, strlen(s));
}

char *
xstrndup(const char *s, size_t len)
{
	char *copy;

	len = strnlen(s, len);
	if (len == SIZE_MAX)
		out_of_memory();
	copy = xmalloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *
xasprintf(const char *fmt, ...)
{
	va_list ap, again;
	char *text;
	int len;

	va_start(ap, fmt);
	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		out_of_memory();
	text = xmalloc((size_t)len + 1);
	(void)vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

void
util_set_name(const char *name)
{
	program_name = name;
}

const char *
util_name(void)
{
	return program_name;
}

static void vcomplain(const char *fmt, va_list ap) PRINTFLIKE(1, 0);

/* One write(2), so that the lines of two processes do not mix. */
static void
vcomplain(const char *fmt, va_list ap)
{
	char text[COMPLAINT_MAX - 64], line[COMPLAINT_MAX];
	int saved;

	saved = errno;
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	(void)snprintf(line, sizeof(line), "%.50s: %s", program_name, text);
	(void)printable(line, sizeof(line) - 1, line, strlen(line));
	(void)compat_strlcpy(line + strlen(line), "\n", 2);
	(void)write_full(STDERR_FILENO, line, strlen(line));
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
#if defined(__linux__) && defined(CLOCK_BOOTTIME)
	/* Counts a suspended laptop's sleep too, so that deadlines pass. */
	const clockid_t which = CLOCK_BOOTTIME;
#else
	const clockid_t which = CLOCK_MONOTONIC;
#endif

	if (clock_gettime(which, &now) == -1 &&
	    clock_gettime(CLOCK_MONOTONIC, &now) == -1)
		die(EX_OSERR, "no monotonic clock: %s", strerror(errno));
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

ssize_t
read_full(int fd, void *p, size_t len)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = read(fd, (char *)p + done, len - done);
		if (n == -1 && errno == EINTR)
			n = 0;
		else if (n == -1)
			return -1;
		else if (n == 0)
			break;
	}
	return (ssize_t)done;
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

int
write_full(int fd, const void *p, size_t len)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = write(fd, (const char *)p + done, len - done);
		if (n == -1 && errno == EINTR)
			n = 0;
		else if (n == -1)
			return -1;
	}
	return 0;
}

int
pwrite_full(int fd, const void *p, size_t len, off_t offset)
{
	size_t done;
	ssize_t n;

	for (done = 0; done < len; done += (size_t)n) {
		n = pwrite(fd, (const char *)p + done, len - done,
		    offset + (off_t)done);
		if (n == -1 && errno == EINTR)
			n = 0;
		else if (n == -1)
			return -1;
	}
	return 0;
}

/*
 * Read to the end of the file.  Its size is only a hint: it may grow under
 * us, and files of /proc say 0.
 */
static int
read_to_end(int fd, size_t hint, size_t max, char **data, size_t *len)
{
	size_t cap, used;
	ssize_t n;
	char *text;

	cap = (hint < max ? hint : max) + 1;
	text = NULL;
	used = 0;
	for (;;) {
		text = xreallocarray(text, cap + 1, 1);
		if ((n = read_full(fd, text + used, cap - used)) == -1)
			break;
		used += (size_t)n;
		if (used > max) {
			errno = EFBIG;
			break;
		}
		if (used < cap) {
			text[used] = '\0';
			*data = text;
			*len = used;
			return 0;
		}
		cap = cap < max / 2 ? cap * 2 : max + 1;
	}
	free(text);
	return -1;
}

int
read_file(
    const char *path, size_t max, char **data, size_t *len, struct stat *st)
{
	struct stat own;
	int fd, saved, status;

	fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	status = -1;
	if (fstat(fd, &own) == -1)
		goto out;
	if (!S_ISREG(own.st_mode)) {
		errno = EINVAL;
		goto out;
	}
	if (own.st_size > 0 && (uintmax_t)own.st_size > max) {
		errno = EFBIG;
		goto out;
	}
	status = read_to_end(fd, (size_t)own.st_size, max, data, len);
	if (status == 0 && st != NULL)
		*st = own;
out:
	saved = errno;
	(void)close(fd);
	errno = saved;
	return status;
}

int
parse_number(const char *s, long long min, long long max, long long *value)
{
	const char *digits;
	long long parsed;
	char *end;

	digits = *s == '-' ? s + 1 : s;
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

/* Seconds of a unit letter, 0 if it is none. */
static long long
unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 60 * 60;
	case 'd':
		return 24 * 60 * 60;
	default:
		return 0;
	}
}

int
parse_duration(const char *s, int64_t *seconds)
{
	char digits[24];
	long long number, unit;
	size_t len;

	len = strspn(s, "0123456789");
	unit = s[len] == '\0' ? 1 : unit_seconds(s[len]);
	if (len == 0 || unit == 0 || (s[len] != '\0' && s[len + 1] != '\0')) {
		errno = EINVAL;
		return -1;
	}
	if (len >= sizeof(digits)) {
		errno = ERANGE;
		return -1;
	}
	memcpy(digits, s, len);
	digits[len] = '\0';
	if (parse_number(digits, 0, DURATION_MAX / unit, &number) == -1)
		return -1;
	*seconds = number * unit;
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
	int lower;

	lower = ascii_lower(c);
	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

bool
ascii_isprint(int c)
{
	return c >= 0x20 && c <= 0x7e;
}

int
ascii_strcasecmp(const char *a, const char *b)
{
	return ascii_strncasecmp(a, b, SIZE_MAX);
}

int
ascii_strncasecmp(const char *a, const char *b, size_t n)
{
	size_t i;
	int difference;

	for (i = 0; i < n; i++) {
		difference = ascii_lower((unsigned char)a[i]) -
			     ascii_lower((unsigned char)b[i]);
		if (difference != 0 || a[i] == '\0')
			return difference;
	}
	return 0;
}

char *
printable(char *dst, size_t size, const char *src, size_t len)
{
	size_t i, n;

	if (size == 0)
		return dst;
	n = len < size ? len : size - 1;
	for (i = 0; i < n; i++)
		dst[i] = ascii_isprint((unsigned char)src[i]) ? src[i] : '?';
	dst[n] = '\0';
	return dst;
}

char *
rfc5322_date(char *dst, size_t size, int64_t when)
{
	/* strftime(3) would ask the locale. */
	static const char days[][4] = {
	    "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May",
	    "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm;
	time_t t;
	long east;

	t = (time_t)when;
	if (localtime_r(&t, &tm) == NULL) {
		t = 0; /* a year that does not fit an int */
		(void)gmtime_r(&t, &tm);
	}
	east = tm.tm_gmtoff / 60;
	(void)snprintf(dst, size,
	    "%s, %02d %s %04ld %02d:%02d:%02d %c%02ld%02ld", days[tm.tm_wday],
	    tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900L, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, east < 0 ? '-' : '+', labs(east) / 60 % 100,
	    labs(east) % 60);
	return dst;
}
