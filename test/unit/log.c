/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * log.c - tests of log.h: what stands in the file.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

/* Stands in for the C library's, both of its names. */
static char in_syslog[256];

static void
take_syslog(const char *fmt, va_list ap)
{
	(void)vsnprintf(in_syslog, sizeof(in_syslog), fmt, ap);
}

void
syslog(int priority, const char *fmt, ...)
{
	va_list ap;

	(void)priority;
	va_start(ap, fmt);
	take_syslog(fmt, ap);
	va_end(ap);
}

void __syslog_chk(int priority, int flag, const char *fmt, ...);

void
__syslog_chk(int priority, int flag, const char *fmt, ...)
{
	va_list ap;

	(void)priority;
	(void)flag;
	va_start(ap, fmt);
	take_syslog(fmt, ap);
	va_end(ap);
}

static char scratch[] = "/tmp/dma-log.XXXXXX";

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
	(void)unlink("log");
	(void)unlink("other");
	return chdir("/") == 0 ? rmdir(scratch) : -1;
}

static int
remove_files(void **state)
{
	(void)state;
	(void)unlink("log");
	(void)unlink("other");
	return 0;
}

static void
assert_log_matches(const char *pattern)
{
	regex_t regex;
	char *text;
	size_t len;

	assert_int_equal(read_file("log", 100000, &text, &len, NULL), 0);
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, text, 0, NULL, 0) != 0)
		fail_msg("not as expected: %s", text);
	regfree(&regex);
	free(text);
}

#define STAMP "[A-Z][a-z]{2} [ 123][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [^ ]+ "

static void
test_lines(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	errno = ENOTTY;
	log_event(LOG_SUBMIT, LOG_INFO, "%s: uid=%d from=<%s>", "1A", 0, "a@b");
	assert_int_equal(errno, ENOTTY);
	log_event(LOG_SMTP, LOG_INFO, "second");
	assert_log_matches(
	    "^" STAMP "dma/submit\\[[0-9]+\\]: "
	    "1A: uid=0 from=<a@b>\n" STAMP "dma/smtp\\[[0-9]+\\]: second\n$");
	assert_int_equal(stat("log", &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void
test_idents(void **state)
{
	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, "a b[1]/x-y_z.9"), 0);
	log_event(LOG_QUEUE, LOG_INFO, "1");
	log_event(LOG_LOCAL, LOG_ERR, "2");
	log_event(LOG_BOUNCE, LOG_INFO, "3");
	assert_log_matches("a_b_1__x-y_z.9/queue\\[[0-9]+\\]: 1\n.*"
			   "a_b_1__x-y_z.9/local\\[[0-9]+\\]: 2\n.*"
			   "a_b_1__x-y_z.9/bounce\\[[0-9]+\\]: 3\n$");
}

/* No remote text can begin a second line, however long it is. */
static void
test_hostile_text_V_10(void **state)
{
	char text[9000];

	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	log_event(LOG_SMTP, LOG_INFO, "said: %s",
	    "550 no\r\nNov 20 00:00:00 h dma/smtp[1]: faked\x1b[2J\x9b%n");
	assert_log_matches("^[^\n]*: said: 550 no\\?\\?Nov 20 00:00:00 h "
			   "dma/smtp\\[1\\]: faked\\?\\[2J\\?%n\n$");
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(unlink("log"), 0);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, text), 0);
	log_event(LOG_SMTP, LOG_INFO, "%s", text);
	assert_log_matches("^[^\n]* x{32}/smtp[^\n]*: x*\n$");
	{
		struct stat st;

		assert_int_equal(stat("log", &st), 0);
		assert_in_range(st.st_size, 2048, 2048 + 256);
	}
}

static void
test_appends(void **state)
{
	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	log_event(LOG_SMTP, LOG_INFO, "first");
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	log_event(LOG_SMTP, LOG_INFO, "second");
	assert_log_matches(": first\n.*: second\n$");
}

/* A limit of the caller's must not hide what he does. */
static void
test_file_that_takes_nothing_V_14(void **state)
{
	const struct rlimit small = {.rlim_cur = 10, .rlim_max = RLIM_INFINITY};
	struct rlimit old;

	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	log_event(LOG_SUBMIT, LOG_INFO, "first");
	assert_string_equal(in_syslog, "");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	log_event(LOG_SUBMIT, LOG_INFO, "sec\nond");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_string_equal(in_syslog, "sec?ond");
	in_syslog[0] = '\0';
	log_event(LOG_SUBMIT, LOG_INFO, "third");
	assert_string_equal(in_syslog, "");
	assert_log_matches(": first\n.*: third\n$");
}

/* Whoever chooses the zone does not choose when it happened. */
static void
test_time_is_the_system_s_V_17(void **state)
{
	char pattern[80];
	time_t now = time(NULL);
	struct tm tm;

	(void)state;
	assert_int_equal(unsetenv("TZ"), 0);
	tzset();
	assert_non_null(localtime_r(&now, &tm));
	/* One minute more may have begun. */
	(void)snprintf(pattern, sizeof(pattern),
	    "^.{7}(%02d:%02d|%02d:%02d):.*: now\n$", tm.tm_hour, tm.tm_min,
	    (tm.tm_hour + (tm.tm_min == 59)) % 24, (tm.tm_min + 1) % 60);
	assert_int_equal(setenv("TZ", "AAA-12:34", 1), 0);
	tzset();
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), 0);
	log_event(LOG_SUBMIT, LOG_INFO, "now");
	assert_log_matches(pattern);
	assert_string_equal(getenv("TZ"), "AAA-12:34");
	assert_non_null(localtime_r(&now, &tm));
	assert_string_equal(tm.tm_zone, "AAA");
	assert_int_equal(unsetenv("TZ"), 0);
}

static void
test_refused_files(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(log_open(LOG_TO_FILE, "log", 0, NULL), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(symlink("other", "log"), 0);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), -1);
	assert_int_equal(errno, ELOOP);
	assert_int_equal(access("other", F_OK), -1);
	(void)unlink("log");

	fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	(void)close(fd);
	assert_int_equal(link("log", "other"), 0);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), -1);
	assert_int_equal(errno, EPERM);
	(void)unlink("log");
	(void)unlink("other");

	assert_int_equal(mkfifo("log", 0600), 0);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), -1);
	assert_int_equal(log_open(LOG_TO_FILE, ".", 1, NULL), -1);
}

static void
test_owner(void **state)
{
	int fd;

	(void)state;
	fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	(void)close(fd);
	if (geteuid() != 0) {
		assert_int_equal(log_open(LOG_TO_FILE, "log", 0, NULL), -1);
		assert_int_equal(errno, EPERM);
		return;
	}
	assert_int_equal(log_open(LOG_TO_FILE, "log", 0, NULL), 0);
	assert_int_equal(chown("log", 65534, 65534), 0);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 0, NULL), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(log_open(LOG_TO_FILE, "log", 1, NULL), -1);
	assert_int_equal(errno, EPERM);
}

static void
test_stderr(void **state)
{
	int fd, saved;

	(void)state;
	fd = open("log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	saved = dup(STDERR_FILENO);
	(void)dup2(fd, STDERR_FILENO);
	assert_int_equal(log_open(LOG_TO_STDERR, NULL, 0, NULL), 0);
	log_event(LOG_QUEUE, LOG_WARNING, "to stderr");
	assert_int_equal(log_open(LOG_TO_FILE, "other", 1, NULL), 0);
	/* That one was not ours to close. */
	assert_int_equal(write(STDERR_FILENO, "alive\n", 6), 6);
	(void)dup2(saved, STDERR_FILENO);
	(void)close(saved);
	(void)close(fd);
	assert_log_matches("^" STAMP "dma/queue\\[[0-9]+\\]: to stderr\n"
			   "alive\n$");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(test_lines, remove_files),
	    cmocka_unit_test_teardown(test_idents, remove_files),
	    cmocka_unit_test_teardown(test_hostile_text_V_10, remove_files),
	    cmocka_unit_test_teardown(test_appends, remove_files),
	    cmocka_unit_test_teardown(
		test_file_that_takes_nothing_V_14, remove_files),
	    cmocka_unit_test_teardown(
		test_time_is_the_system_s_V_17, remove_files),
	    cmocka_unit_test_teardown(test_refused_files, remove_files),
	    cmocka_unit_test_teardown(test_owner, remove_files),
	    cmocka_unit_test_teardown(test_stderr, remove_files),
	};

	return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
