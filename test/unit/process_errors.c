/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * process_errors.c - process.h and the rest of its floor where the system
 * refuses: a process that cannot be made safe ends, with EX_OSERR.
 *
 * Each case runs in a child, whose exit status is what is looked at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "compat.h"
#include "log.h"
#include "process.h"
#include "util.h"

#define OTHER 4242 /* an id that nobody has */

#if defined(__SANITIZE_ADDRESS__)
/* It asks the system before anything of ours may run. */
static void
refusals(void **state)
{
	(void)state;
	skip();
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(refusals)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else

/* ---- The system, refusing in this child ---- */

static const char *refused = "";
static int interrupted; /* so many calls */

#if defined(COVERAGE)
void __gcov_dump(void);
#endif

/* What ran is counted, even where it ends at once. */
void
_exit(int status)
{
#if defined(COVERAGE)
	__gcov_dump();
#endif
	for (;;)
		(void)syscall(SYS_exit_group, status);
}

static bool
refuses(const char *name)
{
	errno = EIO;
	return strcmp(refused, name) == 0;
}

/* The next function of this name is the system's. */
#define REAL(name)                                                             \
	do {                                                                   \
		if (real == NULL)                                              \
			*(void **)&real = dlsym(RTLD_NEXT, name);              \
	} while (0)

int
sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	static int (*real)(int, const sigset_t *, sigset_t *);

	REAL("sigprocmask");
	return refuses("sigprocmask") ? -1 : real(how, set, old);
}

int
setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	static int (*real)(__rlimit_resource_t, const struct rlimit *);

	REAL("setrlimit");
	if (refuses("setrlimit") ||
	    (refuses("more") && limit->rlim_cur == RLIM_INFINITY))
		return -1;
	return real(resource, limit);
}

int
getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	static int (*real)(__rlimit_resource_t, struct rlimit *);

	REAL("getrlimit");
	return refuses("getrlimit") ? -1 : real(resource, limit);
}

int
prctl(int option, ...)
{
	(void)option;
	return refuses("prctl") ? -1 : 0;
}

int
chdir(const char *path)
{
	static int (*real)(const char *);

	REAL("chdir");
	return refuses("chdir") ? -1 : real(path);
}

int
dup2(int from, int to)
{
	static int (*real)(int, int);

	REAL("dup2");
	return refuses("dup2") ? -1 : real(from, to);
}

/* One that says yes; one that leaves a way back. */
int
setresuid(uid_t id, uid_t effective, uid_t saved)
{
	if (refuses("setresuid"))
		return 0;
	if (refuses("saved"))
		saved = (uid_t)-1;
	return (int)syscall(SYS_setresuid, id, effective, saved);
}

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	return refuses("clock_gettime")
		   ? -1
		   : (int)syscall(SYS_clock_gettime, clock, t);
}

struct tm *
localtime_r(const time_t *t, struct tm *tm)
{
	return refuses("localtime_r") ? NULL : gmtime_r(t, tm);
}

int
gethostname(char *name, size_t len)
{
	(void)snprintf(name, len, "host");
	return refuses("gethostname") ? -1 : 0;
}

static bool
interrupts(void)
{
	errno = EINTR;
	return interrupted-- > 0;
}

ssize_t
pread(int fd, void *p, size_t len, off_t at)
{
	return interrupts() || refuses("pread")
		   ? -1
		   : (ssize_t)syscall(SYS_pread64, fd, p, len, at);
}

ssize_t
write(int fd, const void *p, size_t len)
{
	return interrupts() ? -1 : (ssize_t)syscall(SYS_write, fd, p, len);
}

/* ---- Children ---- */

/* How a child ends that calls body(): its exit status, or -1. */
static int
status_of(void (*body)(void), const char *refusal)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		refused = refusal;
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
enter(void)
{
	struct process_env env;

	process_enter(3, &env);
	process_env_free(&env);
	if (env.user != NULL)
		_exit(1);
}

static void
enter_closed(void)
{
	struct rlimit none = {0, 0};

	(void)close(0);
	(void)setrlimit(RLIMIT_NOFILE, &none);
	enter();
}

static void
detach(void)
{
	process_detach(false);
}

static void
detach_without_descriptors(void)
{
	struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_NOFILE, &none);
	process_detach(false);
}

static void
dies_that_cannot_be_made_safe(void **state)
{
	(void)state;
	assert_int_equal(status_of(enter, ""), 0);
	assert_int_equal(status_of(enter_closed, ""), EX_OSERR);
	assert_int_equal(status_of(enter, "sigprocmask"), EX_OSERR);
	assert_int_equal(status_of(enter, "setrlimit"), EX_OSERR);
	assert_int_equal(status_of(enter, "prctl"), EX_OSERR);
	assert_int_equal(status_of(detach, ""), 0);
	assert_int_equal(status_of(detach, "chdir"), EX_OSERR);
	assert_int_equal(status_of(detach, "dup2"), EX_OSERR);
	assert_int_equal(status_of(detach_without_descriptors, ""), EX_OSERR);
}

static void
become(void)
{
	if (process_become(OTHER, OTHER) == -1)
		_exit(errno == EPERM ? EX_NOPERM : 1);
}

/* A call that said yes is not believed. */
static void
ids_that_did_not_change(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(status_of(become, ""), 0);
	assert_int_equal(status_of(become, "setresuid"), EX_NOPERM);
	assert_int_equal(status_of(become, "saved"), EX_NOPERM);
}

static void
raise_limits(void)
{
	if (process_raise_limits() == -1)
		_exit(EX_NOPERM);
	process_reset_scheduling();
}

static void
raise_low_limits(void)
{
	struct rlimit low = {16, 32};

	(void)setrlimit(RLIMIT_NOFILE, &low);
	refused = "setrlimit";
	raise_limits();
}

static void
limits_that_stay_low(void **state)
{
	(void)state;
	if (geteuid() == 0)
		assert_int_equal(status_of(raise_limits, ""), 0);
	assert_int_equal(status_of(raise_limits, "getrlimit"), EX_NOPERM);
	assert_int_equal(status_of(raise_low_limits, ""), EX_NOPERM);
}

/* ---- The others of this floor ---- */

static void
ask_the_clock(void)
{
	util_set_name("name");
	complain("what it says");
	(void)now_ms();
}

static void
no_clock(void **state)
{
	(void)state;
	assert_int_equal(status_of(ask_the_clock, "clock_gettime"), EX_OSERR);
	assert_int_equal(status_of(ask_the_clock, ""), 0);
}

static void
calls_that_are_interrupted(void **state)
{
	char text[4], *all;
	FILE *f = tmpfile();
	int fd = fileno(f), copy;
	size_t len;

	(void)state;
	interrupted = 2;
	assert_int_equal(write_full(fd, "text", 4), 0);
	interrupted = 2;
	assert_int_equal(pread_full(fd, text, 4, 0), 4);
	assert_memory_equal(text, "text", 4);
	copy = dup(fd);
	interrupted = 0;
	refused = "pread";
	assert_int_equal(read_file_fd(copy, 100, &all, &len, NULL), -1);
	assert_int_equal(errno, EIO);
	refused = "";
	assert_int_equal(read_file_fd(-1, 100, &all, &len, NULL), -1);
	assert_int_equal(errno, EBADF);
	(void)fclose(f);
}

static void
log_everywhere(void)
{
	int ends[2];
	char text[512];
	ssize_t n;

	if (pipe(ends) == -1 || dup2(ends[1], STDERR_FILENO) == -1)
		_exit(1);
	log_echo();
	if (log_open(LOG_TO_STDERR, NULL, 0, NULL) == -1)
		_exit(1);
	log_event(LOG_QUEUE, LOG_INFO, "one");
	if (log_open(LOG_TO_FILE, "/dev/null", 0, NULL) == 0 ||
	    log_open(LOG_TO_FILE, "log", 1, NULL) == -1)
		_exit(1);
	log_event(LOG_QUEUE, LOG_INFO, "three");
	(void)log_open(LOG_TO_SYSLOG, NULL, 0, NULL);
	log_event(LOG_QUEUE, LOG_DEBUG, "a test's\n");
	n = read(ends[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	if (strstr(text, "# dma/queue: one\n# dma/queue: three\n") == NULL)
		_exit(2);
}

static void
nameless_hosts_and_times(void **state)
{
	char dir[] = "/tmp/dma-process.XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(status_of(log_everywhere, "gethostname"), 0);
	assert_int_equal(status_of(log_everywhere, "localtime_r"), 0);
	(void)unlink("log");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(dir), 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(dies_that_cannot_be_made_safe),
	    cmocka_unit_test(ids_that_did_not_change),
	    cmocka_unit_test(limits_that_stay_low), cmocka_unit_test(no_clock),
	    cmocka_unit_test(calls_that_are_interrupted),
	    cmocka_unit_test(nameless_hosts_and_times)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
