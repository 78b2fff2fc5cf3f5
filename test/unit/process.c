/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * process.c - tests of process.h: hostile inheritance, and changing ids.
 *
 * Each case runs in a child that returns 0, or the line of what was wrong.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "util.h"

#define NOBODY 65534
#define OTHER  4242 /* an id that nobody has */

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition))                                              \
			return __LINE__;                                       \
	} while (0)

extern char **environ;

/* Shared with the child: it may have no descriptor to speak on. */
static int *result;

static int
make_result(void **state)
{
	(void)state;
	result = mmap(NULL, sizeof(*result), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return result != MAP_FAILED ? 0 : -1;
}

#if defined(COVERAGE)
void __gcov_dump(void);
#endif

/* Without exit(3): what stdio holds is the parent's to write. */
static NORETURN void
finish_child(void)
{
#if defined(COVERAGE)
	__gcov_dump();
#endif
	_exit(0);
}

static void
run(int (*body)(int argument), int argument)
{
	int status;
	pid_t pid;

	*result = -1;
	if ((pid = fork()) == 0) {
		*result = body(argument);
		finish_child();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("argument %d: wait status %d", argument, status);
	if (*result != 0)
		fail_msg("argument %d: line %d", argument, *result);
}

static int
is_open(int fd)
{
	return fcntl(fd, F_GETFD) != -1;
}

static int
enter_with_closed(int closed)
{
	char byte;
	int fd;

	for (fd = 0; fd < 3; fd++)
		if (closed & 1 << fd)
			(void)close(fd);
	process_enter(3, NULL);
	for (fd = 0; fd < 3; fd++) {
		CHECK(is_open(fd));
		/* Our children need it too. */
		CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
	}
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK(fd == 3);
	/* A missing message is not an empty one. */
	if (closed & 1)
		CHECK(read(0, &byte, 1) == -1 && errno == EBADF);
	return 0;
}

static void
test_closed_descriptors(void **state)
{
	int closed;

	(void)state;
	for (closed = 0; closed < 8; closed++)
		run(enter_with_closed, closed);
}

static int
enter_with_many(int first_extra)
{
	struct rlimit low;
	int fd;

	for (fd = 3; fd < 20; fd++)
		CHECK(dup2(0, fd) == fd);
	CHECK(dup2(0, 400) == 400);
	/* Lowered afterwards: the limit says nothing about what is open. */
	CHECK(getrlimit(RLIMIT_NOFILE, &low) == 0);
	low.rlim_cur = 64;
	CHECK(setrlimit(RLIMIT_NOFILE, &low) == 0);
	process_enter(first_extra, NULL);
	for (fd = 0; fd <= 500; fd++)
		CHECK(is_open(fd) == (fd < 3 || fd < first_extra));
	return 0;
}

static void
test_extra_descriptors(void **state)
{
	(void)state;
	run(enter_with_many, 3);
	run(enter_with_many, 4);
	run(enter_with_many, 0);
}

static int
enter_with_environment(int with_env)
{
	static const char *const hostile[] = {"PATH=/tmp", "LD_PRELOAD=/x.so",
	    "IFS=/", "OPENSSL_CONF=/tmp/x", "SSL_CERT_FILE=/tmp/x",
	    "LOCALDOMAIN=evil.example", "RES_OPTIONS=debug", "HOME=/tmp",
	    "HOSTALIASES=/tmp/x", "LANG=de_DE", "TMPDIR=/x", "EMAILS=no",
	    "XUSER=no"};
	struct process_env env;
	size_t i;

	for (i = 0; i < ARRAY_LEN(hostile); i++)
		CHECK(putenv(xstrdup(hostile[i])) == 0);
	CHECK(setenv("TZ", "Europe/Berlin", 1) == 0);
	CHECK(setenv("LOGNAME", "alice", 1) == 0);
	CHECK(setenv("USER", "", 1) == 0);
	CHECK(setenv("EMAIL", "Alice <a@b>\n", 1) == 0);
	process_enter(3, with_env ? &env : NULL);
	CHECK(strcmp(environ[0], "PATH=/usr/bin:/bin") == 0);
	CHECK(strcmp(environ[1], "TZ=Europe/Berlin") == 0);
	CHECK(environ[2] == NULL);
	CHECK(getenv("HOME") == NULL);
	if (!with_env)
		return 0;
	CHECK(strcmp(env.logname, "alice") == 0);
	CHECK(strcmp(env.user, "") == 0);
	CHECK(strcmp(env.email, "Alice <a@b>\n") == 0);
	return 0;
}

static int
enter_with_no_environment(int argument)
{
	struct process_env env;
	char *nothing[] = {NULL};

	environ = argument ? nothing : NULL;
	process_enter(3, &env);
	CHECK(env.logname == NULL);
	CHECK(env.user == NULL && env.email == NULL);
	CHECK(environ[0] != NULL && environ[1] == NULL);
	return 0;
}

static int
enter_with_long_value(int len)
{
	struct process_env env;
	char value[3000];

	memset(value, 'x', (size_t)len);
	value[len] = '\0';
	CHECK(setenv("LOGNAME", value, 1) == 0);
	process_enter(3, &env);
	/* Cut, it would be another name. */
	if (len > 1024)
		CHECK(env.logname == NULL);
	else
		CHECK(strcmp(env.logname, value) == 0);
	return 0;
}

static void
test_environment(void **state)
{
	(void)state;
	run(enter_with_environment, 0);
	run(enter_with_environment, 1);
	run(enter_with_no_environment, 0);
	run(enter_with_no_environment, 1);
	run(enter_with_long_value, 1023);
	run(enter_with_long_value, 1024);
	run(enter_with_long_value, 1025);
	run(enter_with_long_value, 2900);
}

static const struct {
	const char *tz;
	bool kept;
} zones[] = {{"UTC", true}, {"CET-1CEST,M3.5.0,M10.5.0/3", true},
    {"America/Argentina/Buenos_Aires", true}, {"<+0330>-3:30", true},
    {"", false}, {":UTC", false}, {"/etc/passwd", false},
    {"../../etc/passwd", false}, {"Europe/../../x", false}, {"./x", false},
    {"UTC\n", false}, {"a b", false}, {"a%n", false}, {"x\x80", false},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	false}};

static int
enter_with_zone(int i)
{
	CHECK(setenv("TZ", zones[i].tz, 1) == 0);
	process_enter(3, NULL);
	if (zones[i].kept)
		CHECK(strcmp(getenv("TZ"), zones[i].tz) == 0);
	else
		CHECK(getenv("TZ") == NULL);
	return 0;
}

static void
test_zones(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(zones); i++)
		run(enter_with_zone, (int)i);
}

static void
ignore_it(int number)
{
	(void)number;
}

/* Signals ignored (or caught), all blocked. */
static int
enter_with_signals(int ignored)
{
	struct sigaction action;
	sigset_t mask;
	int number;

	(void)sigfillset(&mask);
	CHECK(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);
	for (number = 1; number < NSIG; number++)
		(void)signal(number, ignored ? SIG_IGN : ignore_it);
	process_enter(3, NULL);
	CHECK(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
	for (number = 1; number < NSIG; number++) {
		if (sigaction(number, NULL, &action) == -1)
			continue;
		CHECK(sigismember(&mask, number) == 0);
		if (number == SIGPIPE || number == SIGXFSZ ||
		    (number == SIGHUP && ignored))
			CHECK(action.sa_handler == SIG_IGN);
		else
			CHECK(action.sa_handler == SIG_DFL);
	}
	return 0;
}

static void
test_signals(void **state)
{
	(void)state;
	run(enter_with_signals, 0);
	run(enter_with_signals, 1);
}

static int
enter_with_timers(int which)
{
	struct itimerval timer;

	memset(&timer, 0, sizeof(timer));
	timer.it_value.tv_sec = 1000;
	timer.it_interval.tv_sec = 1000;
	CHECK(setitimer(which, &timer, NULL) == 0);
	process_enter(3, NULL);
	CHECK(getitimer(which, &timer) == 0);
	CHECK(timer.it_value.tv_sec == 0 && timer.it_value.tv_usec == 0);
	CHECK(timer.it_interval.tv_sec == 0);
	return 0;
}

static void
test_timers_V_15(void **state)
{
	(void)state;
	run(enter_with_timers, ITIMER_REAL);
	run(enter_with_timers, ITIMER_VIRTUAL);
	run(enter_with_timers, ITIMER_PROF);
}

static int
enter_and_look(int mask)
{
	struct rlimit core;

	(void)umask((mode_t)mask);
	process_enter(3, NULL);
	CHECK(umask(0) == 077);
	CHECK(getrlimit(RLIMIT_CORE, &core) == 0);
	CHECK(core.rlim_cur == 0 && core.rlim_max == 0);
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
	CHECK(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
#endif
	return 0;
}

static void
test_umask_and_core_V_25(void **state)
{
	(void)state;
	run(enter_and_look, 0);
	run(enter_and_look, 0777);
}

static int
become_other(int argument)
{
	gid_t groups[4];
	uid_t r, e, s;
	gid_t rg, eg, sg;

	(void)argument;
	groups[0] = 0;
	groups[1] = 8;
	CHECK(setgroups(2, groups) == 0);
	CHECK(process_become(NOBODY, OTHER) == 0);
	CHECK(getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0);
	CHECK(r == NOBODY && e == NOBODY && s == NOBODY);
	CHECK(rg == OTHER && eg == OTHER && sg == OTHER);
	CHECK(getgroups(4, groups) == 1 && groups[0] == OTHER);
	CHECK(seteuid(0) == -1 && setuid(0) == -1 && setegid(0) == -1);
	return 0;
}

static int
become_forbidden(int argument)
{
	(void)argument;
	CHECK(process_become(0, OTHER) == -1 && errno == EINVAL);
	CHECK(process_become((uid_t)-1, OTHER) == -1 && errno == EINVAL);
	CHECK(process_become(NOBODY, (gid_t)-1) == -1 && errno == EINVAL);
	return 0;
}

/* Not root: nothing of it works, and it says so. */
static int
become_without_right(int argument)
{
	(void)argument;
	if (geteuid() == 0)
		CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(process_become(OTHER, OTHER) == -1 && errno == EPERM);
	return 0;
}

#if defined(__linux__)
/* Ids may change and yet leave the right to change them back. */
static int
become_with_kept_rights(int argument)
{
	(void)argument;
	/* SECBIT_NO_SETUID_FIXUP: capabilities outlive the change. */
	if (prctl(PR_SET_SECUREBITS, 1UL << 2, 0, 0, 0) == -1)
		return 0;
	CHECK(process_become(NOBODY, OTHER) == -1);
	CHECK(errno == EPERM);
	return 0;
}
#endif

static void
test_become_V_24(void **state)
{
	(void)state;
	run(become_forbidden, 0);
	run(become_without_right, 0);
	if (geteuid() != 0)
		skip();
	run(become_other, 0);
#if defined(__linux__)
	run(become_with_kept_rights, 0);
#endif
}

/* As the kernel starts a set-gid program for an ordinary user. */
static int
drop_as_setgid(int argument)
{
	gid_t r, e, s;

	(void)argument;
	CHECK(setgroups(0, NULL) == 0);
	CHECK(setresgid(OTHER, 8, 8) == 0);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(getegid() == 8);
	CHECK(process_drop_setid() == 0);
	CHECK(getresgid(&r, &e, &s) == 0);
	CHECK(r == OTHER && e == OTHER && s == OTHER);
	CHECK(setegid(8) == -1 && setgid(8) == -1);
	return 0;
}

static int
drop_as_setuid(int argument)
{
	uid_t r, e, s;

	(void)argument;
	CHECK(setresgid(OTHER, OTHER, OTHER) == 0);
	CHECK(setresuid(NOBODY, 0, 0) == 0);
	CHECK(process_drop_setid() == 0);
	CHECK(getresuid(&r, &e, &s) == 0);
	CHECK(r == NOBODY && e == NOBODY && s == NOBODY);
	CHECK(seteuid(0) == -1);
	return 0;
}

static int
drop_as_root(int argument)
{
	(void)argument;
	CHECK(setresgid(0, 8, 8) == 0);
	CHECK(process_drop_setid() == 0);
	CHECK(getegid() == 0 && geteuid() == 0);
	return 0;
}

static int
drop_nothing(int argument)
{
	(void)argument;
	CHECK(process_drop_setid() == 0);
	CHECK(process_drop_setid() == 0);
	return 0;
}

static void
test_drop_setid(void **state)
{
	(void)state;
	run(drop_nothing, 0);
	if (geteuid() != 0)
		skip();
	run(drop_as_setgid, 0);
	run(drop_as_setuid, 0);
	run(drop_as_root, 0);
}

static int
detach(int keep_stderr)
{
	struct stat null, st;
	char cwd[64];
	int fd, ends[2];

	CHECK(pipe(ends) == 0);
	for (fd = 0; fd < 3; fd++)
		CHECK(dup2(ends[1], fd) == fd);
	CHECK(chdir("/tmp") == 0);
	process_detach(keep_stderr != 0);
	CHECK(getsid(0) == getpid());
	CHECK(getcwd(cwd, sizeof(cwd)) != NULL && strcmp(cwd, "/") == 0);
	CHECK(stat("/dev/null", &null) == 0);
	for (fd = 0; fd < 3; fd++) {
		CHECK(fstat(fd, &st) == 0);
		if (fd == 2 && keep_stderr)
			CHECK(S_ISFIFO(st.st_mode));
		else
			CHECK(st.st_rdev == null.st_rdev);
	}
	/* It needs no descriptor beyond those. */
	CHECK(!is_open(ends[1] + 1));
	return 0;
}

static void
test_detach(void **state)
{
	(void)state;
	run(detach, 0);
	run(detach, 1);
}

#define MEGABYTE (1 << 20)

static const struct {
	int resource;
	rlim_t limit;
	bool may;
} deliveries[] = {
    {RLIMIT_NOFILE, 63, false},
    {RLIMIT_NOFILE, 64, true},
    {RLIMIT_FSIZE, 3 * MEGABYTE, true},
    {RLIMIT_FSIZE, 3 * MEGABYTE - 1, false},
    {RLIMIT_FSIZE, 0, false},
    {RLIMIT_CPU, 100000, false},
    {RLIMIT_CPU, RLIM_INFINITY, true},
#if !defined(__SANITIZE_ADDRESS__)
    {RLIMIT_AS, 64 * MEGABYTE - 4096, false},
    {RLIMIT_AS, 64 * MEGABYTE, true},
#endif
};

static int
deliver_with_limit(int i)
{
	struct rlimit old, limit;
	const char *why;
	bool may;

	why = "x";
	CHECK(process_may_deliver(2 * MEGABYTE, false, &why));
	CHECK(why == NULL);
	CHECK(getrlimit(deliveries[i].resource, &old) == 0);
	limit = old;
	limit.rlim_cur = deliveries[i].limit;
	CHECK(setrlimit(deliveries[i].resource, &limit) == 0);
	may = process_may_deliver(2 * MEGABYTE, false, &why);
	CHECK(setrlimit(deliveries[i].resource, &old) == 0);
	CHECK(may == deliveries[i].may);
	CHECK((why == NULL) == deliveries[i].may);
	return 0;
}

#if defined(__linux__)
static int
deliver_without_new_rights(int argument)
{
	const char *why;

	(void)argument;
	CHECK(process_may_deliver(0, true, &why) ||
	      prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(!process_may_deliver(0, true, &why));
	CHECK(strstr(why, "no_new_privs") != NULL);
	CHECK(process_may_deliver(0, false, &why));
	return 0;
}
#endif

static void
test_may_deliver(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(deliveries); i++)
		run(deliver_with_limit, (int)i);
#if defined(__linux__)
	run(deliver_without_new_rights, 0);
#endif
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_closed_descriptors),
	    cmocka_unit_test(test_extra_descriptors),
	    cmocka_unit_test(test_environment),
	    cmocka_unit_test(test_zones),
	    cmocka_unit_test(test_signals),
	    cmocka_unit_test(test_timers_V_15),
	    cmocka_unit_test(test_umask_and_core_V_25),
	    cmocka_unit_test(test_become_V_24),
	    cmocka_unit_test(test_drop_setid),
	    cmocka_unit_test(test_detach),
	    cmocka_unit_test(test_may_deliver),
	};

	return cmocka_run_group_tests(tests, make_result, NULL);
}
