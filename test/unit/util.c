/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * util.c - tests of util.h.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

static char scratch[] = "/tmp/dma-util.XXXXXX";

static int
make_scratch(void **state)
{
	(void)state;
	return mkdtemp(scratch) != NULL ? chdir(scratch) : -1;
}

static int
remove_scratch(void **state)
{
	(void)state;
	(void)unlink("file");
	(void)unlink("fifo");
	return chdir("/") == 0 ? rmdir(scratch) : -1;
}

static void
write_file(const char *text, size_t len)
{
	int fd;

	fd = open("file", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

/* Run body in a child; its stderr into said; returns the wait status. */
static int
in_child(void (*body)(void), char *said, size_t size)
{
	int pipes[2], status;
	size_t len;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	if ((pid = fork()) == 0) {
		(void)dup2(pipes[1], STDERR_FILENO);
		(void)close(pipes[0]);
		(void)close(pipes[1]);
		body();
		_exit(0);
	}
	(void)close(pipes[1]);
	len = 0;
	while ((n = read(pipes[0], said + len, size - 1 - len)) > 0)
		len += (size_t)n;
	assert_int_equal(n, 0);
	said[len] = '\0';
	(void)close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
test_parse_number(void **state)
{
	static const struct {
		const char *text;
		int error;
		long long value;
	} table[] = {{"0", 0, 0}, {"42", 0, 42}, {"-5", 0, -5}, {"007", 0, 7},
	    {"100", 0, 100}, {"101", ERANGE, 0}, {"-6", ERANGE, 0},
	    {"99999999999999999999", ERANGE, 0},
	    {"-99999999999999999999", ERANGE, 0}, {"", EINVAL, 0},
	    {" 1", EINVAL, 0}, {"1 ", EINVAL, 0}, {"+1", EINVAL, 0},
	    {"-", EINVAL, 0}, {"--1", EINVAL, 0}, {"0x10", EINVAL, 0},
	    {"1k", EINVAL, 0}, {"\t1", EINVAL, 0},
	    {"99999999999999999999x", EINVAL, 0}};
	long long value;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(table); i++) {
		value = 77;
		errno = 0;
		if (table[i].error == 0) {
			assert_int_equal(
			    parse_number(table[i].text, -5, 100, &value), 0);
			assert_int_equal(value, table[i].value);
			continue;
		}
		assert_int_equal(
		    parse_number(table[i].text, -5, 100, &value), -1);
		assert_int_equal(errno, table[i].error);
		assert_int_equal(value, 77);
	}
}

static void
test_parse_duration(void **state)
{
	static const struct {
		const char *text;
		int error;
		int64_t seconds;
	} table[] = {{"0", 0, 0}, {"90", 0, 90}, {"90s", 0, 90},
	    {"15m", 0, 900}, {"3h", 0, 10800}, {"5d", 0, 432000},
	    {"3650d", 0, 315360000}, {"3651d", ERANGE, 0},
	    {"999999999999999999d", ERANGE, 0},
	    {"99999999999999999999999999999", ERANGE, 0}, {"", EINVAL, 0},
	    {"d", EINVAL, 0}, {"-1d", EINVAL, 0}, {"5D", EINVAL, 0},
	    {"5w", EINVAL, 0}, {"5dd", EINVAL, 0}, {"1h30m", EINVAL, 0},
	    {" 5d", EINVAL, 0}, {"5 d", EINVAL, 0}};
	int64_t seconds;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(table); i++) {
		seconds = 77;
		if (table[i].error == 0) {
			assert_int_equal(
			    parse_duration(table[i].text, &seconds), 0);
			assert_int_equal(seconds, table[i].seconds);
			continue;
		}
		assert_int_equal(parse_duration(table[i].text, &seconds), -1);
		assert_int_equal(errno, table[i].error);
		assert_int_equal(seconds, 77);
	}
}

static void
test_read_file(void **state)
{
	static char big[200000];
	struct stat st;
	char *data;
	size_t len;

	(void)state;
	write_file("a\0b\n", 4);
	assert_int_equal(read_file("file", 4, &data, &len, &st), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(data, "a\0b\n", 5);
	assert_int_equal(st.st_size, 4);
	free(data);

	write_file("", 0);
	assert_int_equal(read_file("file", 0, &data, &len, NULL), 0);
	assert_int_equal(len, 0);
	assert_string_equal(data, "");
	free(data);

	memset(big, 'x', sizeof(big));
	write_file(big, sizeof(big));
	assert_int_equal(read_file("file", sizeof(big), &data, &len, NULL), 0);
	assert_int_equal(len, sizeof(big));
	assert_memory_equal(data, big, sizeof(big));
	free(data);
}

static void
test_read_file_refuses(void **state)
{
	char *data;
	size_t len;

	(void)state;
	write_file("12345", 5);
	assert_int_equal(read_file("file", 4, &data, &len, NULL), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(read_file("absent", 4, &data, &len, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(read_file(".", 4, &data, &len, NULL), -1);
	assert_int_equal(errno, EINVAL);
	/* A FIFO without a writer would stop a plain open for ever. */
	assert_int_equal(mkfifo("fifo", 0600), 0);
	assert_int_equal(read_file("fifo", 4, &data, &len, NULL), -1);
	assert_int_equal(errno, EINVAL);
}

static void
test_write_full(void **state)
{
	static char out[300000], in[300000];
	int pipes[2], status;
	ssize_t n;
	size_t i;
	pid_t pid;

	(void)state;
	for (i = 0; i < sizeof(out); i++)
		out[i] = (char)i;
	/* More than a pipe holds: every write is short. */
	assert_int_equal(pipe(pipes), 0);
	if ((pid = fork()) == 0) {
		(void)close(pipes[0]);
		_exit(write_full(pipes[1], out, sizeof(out)) == 0 ? 0 : 1);
	}
	(void)close(pipes[1]);
	for (i = 0; i < sizeof(in); i += (size_t)n)
		if ((n = read(pipes[0], in + i, sizeof(in) - i)) <= 0)
			break;
	assert_int_equal(i, sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	(void)close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(write_full(-1, "x", 1), -1);
	assert_int_equal(errno, EBADF);
}

static void
test_pread_and_pwrite_full(void **state)
{
	char text[16];
	int fd;

	(void)state;
	write_file("0123456789", 10);
	fd = open("file", O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite_full(fd, "ab", 2, 4), 0);
	assert_int_equal(pread_full(fd, text, 4, 3), 4);
	assert_memory_equal(text, "3ab6", 4);
	assert_int_equal(pread_full(fd, text, 10, 8), 2);
	assert_int_equal(pread_full(fd, text, 10, 100), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
	(void)close(fd);
	assert_int_equal(pread_full(-1, text, 1, 0), -1);
	assert_int_equal(pwrite_full(-1, text, 1, 0), -1);
}

static void
test_printable(void **state)
{
	char dst[8];

	(void)state;
	assert_string_equal(printable(dst, 8, "a\nb\r\0c", 6), "a?b??c");
	assert_string_equal(
	    printable(dst, 8, "\x1b\x7f\x80\xff~ ", 6), "????~ ");
	assert_string_equal(printable(dst, 8, "123456789", 9), "1234567");
	assert_string_equal(printable(dst, 1, "123", 3), "");
}

static void
test_ascii(void **state)
{
	(void)state;
	assert_int_equal(ascii_lower('A'), 'a');
	assert_int_equal(ascii_lower('Z'), 'z');
	assert_int_equal(ascii_lower('['), '[');
	assert_int_equal(ascii_lower(0xc4), 0xc4);
	assert_true(ascii_isalnum('a') && ascii_isalnum('Z'));
	assert_true(ascii_isalnum('0') && ascii_isalnum('9'));
	assert_false(ascii_isalnum('_') || ascii_isalnum(0xe4));
	assert_false(ascii_isalnum('@') || ascii_isalnum('\0'));
	assert_true(ascii_isblank(' ') && ascii_isblank('\t'));
	assert_false(ascii_isblank('\n') || ascii_isblank(0xa0));
	assert_true(ascii_iscntrl(0) && ascii_iscntrl(0x1f));
	assert_true(ascii_iscntrl(0x7f));
	assert_false(ascii_iscntrl(' ') || ascii_iscntrl(0x80));
	assert_true(ascii_isprint(' ') && ascii_isprint('~'));
	assert_false(ascii_isprint(0x1f) || ascii_isprint(0x7f));
	assert_false(ascii_isprint(-1) || ascii_isprint(0xa0));
	assert_int_equal(ascii_strcasecmp("Ab9", "aB9"), 0);
	assert_true(ascii_strcasecmp("a", "b") < 0);
	assert_true(ascii_strcasecmp("b", "A") > 0);
	assert_true(ascii_strcasecmp("a", "ab") < 0);
	assert_true(ascii_strcasecmp("\xc4", "\xe4") != 0);
	assert_int_equal(ascii_strncasecmp("ABx", "aby", 2), 0);
	assert_true(ascii_strncasecmp("ABx", "aby", 3) != 0);
	assert_int_equal(ascii_strncasecmp("ab", "AB", 100), 0);
	assert_int_equal(ascii_strncasecmp("a", "b", 0), 0);
}

static void
test_date(void **state)
{
	static const struct {
		const char *zone;
		int64_t when;
		const char *text;
	} table[] = {{"UTC", 1795198157, "Fri, 20 Nov 2026 18:09:17 +0000"},
	    {"UTC", 0, "Thu, 01 Jan 1970 00:00:00 +0000"},
	    {"XYZ-5:30", 1795198157, "Fri, 20 Nov 2026 23:39:17 +0530"},
	    {"XYZ3:30", 1795198157, "Fri, 20 Nov 2026 14:39:17 -0330"},
	    {"XYZ0:30", 1795198157, "Fri, 20 Nov 2026 17:39:17 -0030"},
	    {"UTC", 951782400, "Tue, 29 Feb 2000 00:00:00 +0000"}};
	char text[RFC5322_DATE_LEN];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(table); i++) {
		(void)setenv("TZ", table[i].zone, 1);
		tzset();
		assert_string_equal(
		    rfc5322_date(text, sizeof(text), table[i].when),
		    table[i].text);
	}
	(void)rfc5322_date(text, sizeof(text), INT64_MAX);
	assert_true(strlen(text) >= 31 && strlen(text) < sizeof(text));
	(void)unsetenv("TZ");
	tzset();
}

static void
test_allocators(void **state)
{
	char *p;

	(void)state;
	p = xcalloc(0, 8);
	assert_non_null(p);
	p = xreallocarray(p, 3, 2);
	memcpy(p, "hello", 6);
	p = xreallocarray(p, 100, 1);
	assert_string_equal(p, "hello");
	free(p);
	p = xstrdup("");
	assert_string_equal(p, "");
	free(p);
	p = xstrndup("hello", 2);
	assert_string_equal(p, "he");
	free(p);
	p = xstrndup("hello", 200);
	assert_string_equal(p, "hello");
	free(p);
	p = xasprintf("%s-%d", "x", 7);
	assert_string_equal(p, "x-7");
	free(p);
}

static void
overflow_an_array(void)
{
	free(xreallocarray(NULL, SIZE_MAX / 2, 3));
}

static void
test_overflow_exits_V_51(void **state)
{
	char said[200];
	int status;

	(void)state;
	status = in_child(overflow_an_array, said, sizeof(said));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_OSERR);
	assert_string_equal(said, "dma: out of memory\n");
}

static void
complain_about_hostile_text(void)
{
	errno = ENOENT;
	complain("bad address %s", "a\nb\x1b[31m");
	if (errno != ENOENT)
		_exit(1);
	util_set_name("sendmail");
	complain("%d", 7);
}

static void
complain_at_length(void)
{
	char text[5000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	complain("%s", text);
}

static void
die_with_usage(void)
{
	die(EX_USAGE, "no recipients");
}

static void
test_complain(void **state)
{
	char said[6000];
	int status;

	(void)state;
	status = in_child(complain_about_hostile_text, said, sizeof(said));
	assert_int_equal(status, 0);
	assert_string_equal(said, "dma: bad address a?b?[31m\nsendmail: 7\n");
	status = in_child(complain_at_length, said, sizeof(said));
	assert_int_equal(status, 0);
	assert_true(strlen(said) < 2100);
	assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
	status = in_child(die_with_usage, said, sizeof(said));
	assert_int_equal(WEXITSTATUS(status), EX_USAGE);
	assert_string_equal(said, "dma: no recipients\n");
}

static void
test_clock(void **state)
{
	int64_t first;

	(void)state;
	first = now_ms();
	assert_true(first > 0);
	assert_true(now_ms() >= first);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse_number),
	    cmocka_unit_test(test_parse_duration),
	    cmocka_unit_test(test_read_file),
	    cmocka_unit_test(test_read_file_refuses),
	    cmocka_unit_test(test_write_full),
	    cmocka_unit_test(test_pread_and_pwrite_full),
	    cmocka_unit_test(test_printable),
	    cmocka_unit_test(test_ascii),
	    cmocka_unit_test(test_date),
	    cmocka_unit_test(test_allocators),
	    cmocka_unit_test(test_overflow_exits_V_51),
	    cmocka_unit_test(test_complain),
	    cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
