/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * process.c - what a process inherits, set afresh; becoming another user.
 *
 * Runs in:   every program, before anything else.
 * Trusts:    the kernel. Distrusts: everything that survives execve(2).
 * Promises:  after process_enter() only argv and descriptors 0-2 (and those
 *            asked for) are the caller's; a change of ids is whole or an
 *            error.
 */
#include "process.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif
#if defined(__FreeBSD__)
#include <sys/procctl.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "util.h"

#define ENV_VALUE_MAX 1024 /* bytes of a variable that we keep */
#define TZ_MAX        64   /* bytes */
#define SIGNALS_MAX   128  /* NSIG leaves out some systems' real-time ones */

#define PROCESSORS_MAX 8192  /* the most that Linux can be built for */
#define TIMER_SLACK_NS 50000 /* Linux's default */

#define NEED_DESCRIPTORS 64
#define NEED_FILE_SLACK  (1 << 20)  /* bytes beyond the message */
#define NEED_MEMORY      (64 << 20) /* bytes of address space */

extern char **environ;

/* What fails here ends in _exit(EX_OSERR): stdio would reach nobody yet. */

/*
 * A closed descriptor 0-2 would be given to the first file we open, and a
 * diagnostic would end in the spool (V-12).  A missing stdin is opened for
 * writing only: reading it must fail, not look like an empty message.
 */
static void
open_standard_descriptors(void)
{
	int fd, opened;

	for (fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) != -1)
			continue;
		opened = open("/dev/null",
		    (fd == STDIN_FILENO ? O_WRONLY : O_RDWR) | O_CLOEXEC);
		if (opened != fd || fcntl(fd, F_SETFD, 0) == -1)
			_exit(EX_OSERR);
	}
}

/* A copy of a variable, or NULL: cut, a long one would be another name. */
static char *
environment_value(const char *name)
{
	const char *value = getenv(name);

	if (value == NULL || strnlen(value, ENV_VALUE_MAX + 1) > ENV_VALUE_MAX)
		return NULL;
	return xstrdup(value);
}

/*
 * A zone's name or a rule.  The C library makes a path of it, so nothing that
 * leads out of its directory.
 */
static bool
time_zone_is_harmless(const char *tz)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789/_+-:,.<>";

	return *tz != '\0' && strchr(":/.", *tz) == NULL &&
	       strspn(tz, allowed) == strlen(tz) && strlen(tz) <= TZ_MAX &&
	       strstr(tz, "..") == NULL;
}

/* By the first that is set, as setlocale(3) has it. */
static bool
locale_is_utf8(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);

		if (value == NULL || *value == '\0')
			continue;
		return strcasestr(value, "UTF-8") != NULL ||
		       strcasestr(value, "UTF8") != NULL;
	}
	return false;
}

/*
 * Replaced, not pruned: nobody can list what every library reads.  The
 * strings must live as long as the process.
 */
static void
replace_environment(struct process_env *env)
{
	static char path[] = "PATH=/usr/bin:/bin";
	static char zone[sizeof("TZ=") + TZ_MAX];
	static char *clean[3] = {path};
	const char *tz = getenv("TZ");

	if (tz != NULL && time_zone_is_harmless(tz)) {
		(void)snprintf(zone, sizeof(zone), "TZ=%s", tz);
		clean[1] = zone;
	}
	if (env != NULL) {
		env->logname = environment_value("LOGNAME");
		env->user = environment_value("USER");
		env->email = environment_value("EMAIL");
		env->utf8 = locale_is_utf8();
	}
	environ = clean;
}

/*
 * Ignored signals and blocked ones survive execve(2): SIGCHLD ignored breaks
 * waitpid(2), SIGALRM blocked a bounded wait (V-16).  nohup's wish, SIGHUP
 * ignored, is kept.  SIGXFSZ is ignored so that write(2) fails instead.
 */
static void
reset_signals(void)
{
	struct sigaction fresh = {.sa_handler = SIG_DFL}, old;
	int number;

	(void)sigemptyset(&fresh.sa_mask);
	for (number = 1; number <= SIGNALS_MAX; number++) {
		if (number == SIGHUP && sigaction(number, NULL, &old) == 0 &&
		    old.sa_handler == SIG_IGN)
			continue;
		/* Fails for SIGKILL, SIGSTOP and what is no signal here. */
		(void)sigaction(number, &fresh, NULL);
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGXFSZ, SIG_IGN);
	if (sigprocmask(SIG_SETMASK, &fresh.sa_mask, NULL) == -1)
		_exit(EX_OSERR);
}

static void
stop_timers(void)
{
	static const struct itimerval never;

	(void)setitimer(ITIMER_REAL, &never, NULL);
	(void)setitimer(ITIMER_VIRTUAL, &never, NULL);
	(void)setitimer(ITIMER_PROF, &never, NULL);
}

/* Other people's mail, and passwords, are in our memory. */
static void
forbid_inspection(void)
{
	static const struct rlimit none;

	if (setrlimit(RLIMIT_CORE, &none) == -1)
		_exit(EX_OSERR);
#if defined(__SANITIZE_ADDRESS__)
		/* The leak checker traces its own process when it ends. */
#elif defined(__linux__)
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		_exit(EX_OSERR);
#elif defined(__FreeBSD__)
	int off = PROC_TRACE_CTL_DISABLE;

	(void)procctl(P_PID, getpid(), PROC_TRACE_CTL, &off);
#endif
}

void
process_env_free(struct process_env *env)
{
	free(env->logname);
	free(env->user);
	free(env->email);
	*env = (struct process_env){0};
}

void
process_enter(int first_extra, struct process_env *env)
{
	open_standard_descriptors();
	compat_closefrom(first_extra > 3 ? first_extra : 3);
	replace_environment(env);
	/*
	 * A library that logs before we do would take argv[0] for its ident,
	 * and that is the caller's (V-19).
	 */
	openlog("dma", LOG_PID, LOG_MAIL);
	reset_signals();
	stop_timers();
	(void)umask(077);
	forbid_inspection();
}

#if defined(__APPLE__) || defined(__NetBSD__)
/* Here the saved ids follow the others. */
#define setresgid(real, effective, saved) setregid(real, effective)
#define setresuid(real, effective, saved) setreuid(real, effective)
#endif

/*
 * The calls may say yes, but believe only what can be seen: the ids, and that
 * those we had, among them a saved one (it is the effective one since
 * execve(2)), are out of reach.  Uid 0 reaches any.
 */
static int
change_ids(uid_t uid, gid_t gid)
{
	const uid_t old_uids[] = {0, getuid(), geteuid()};
	const gid_t old_gids[] = {0, getgid(), getegid()};
	size_t i;

	if (setresgid(gid, gid, gid) == -1 || setresuid(uid, uid, uid) == -1)
		return -1;
	if (getuid() != uid || geteuid() != uid || getgid() != gid ||
	    getegid() != gid)
		goto wrong;
	for (i = 0; i < ARRAY_LEN(old_uids) && uid != 0; i++)
		if ((old_uids[i] != uid && seteuid(old_uids[i]) == 0) ||
		    (old_gids[i] != gid && setegid(old_gids[i]) == 0))
			goto wrong;
	return 0;
wrong:
	errno = EPERM;
	return -1;
}

int
process_become(uid_t uid, gid_t gid)
{
	/* -1 would mean "leave it"; nobody becomes root through us. */
	if (uid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1) {
		errno = EINVAL;
		return -1;
	}
	if (setgroups(1, &gid) == -1 || change_ids(uid, gid) == -1)
		return -1;
	/* A change of ids resets it to what the system wants. */
	forbid_inspection();
	return 0;
}

int
process_drop_setid(void)
{
	return change_ids(getuid(), getgid());
}

void
process_detach(bool keep_stderr)
{
	int fd, null;

	(void)setsid(); /* fails only where we lead a session already */
	if (chdir("/") == -1)
		_exit(EX_OSERR);
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1)
		_exit(EX_OSERR);
	for (fd = 0; fd <= (keep_stderr ? STDOUT_FILENO : STDERR_FILENO); fd++)
		if (dup2(null, fd) == -1)
			_exit(EX_OSERR);
	if (null > STDERR_FILENO)
		(void)close(null);
}

/*
 * All of it survives execve(2), and who is given next to no processor time
 * while he holds another user's mailbox locks it for as long (V-21).
 */
void
process_reset_scheduling(void)
{
#if defined(__linux__)
	const struct sched_param none = {0};
	static unsigned long all[PROCESSORS_MAX / (8 * sizeof(long))];

	memset(all, 0xff, sizeof(all));
	(void)sched_setscheduler(0, SCHED_OTHER, &none);
	(void)syscall(SYS_sched_setaffinity, 0, sizeof(all), all);
	(void)syscall(SYS_ioprio_set, 1 /* a process */, 0, 0);
	(void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
#endif
	(void)setpriority(PRIO_PROCESS, 0, 0);
}

#define MB ((rlim_t)1 << 20)

#ifdef __GLIBC__
typedef __rlimit_resource_t resource_name; /* an enumeration there */
#else
typedef int resource_name;
#endif

/* What an agent is given, and the least that it can work with. */
static const struct {
	resource_name resource;
	rlim_t want, need;
} limits[] = {
    {RLIMIT_FSIZE, RLIM_INFINITY, 64 * MB},
    {RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY},
#ifdef RLIMIT_AS
    {RLIMIT_AS, RLIM_INFINITY, 64 * MB},
#endif
    {RLIMIT_DATA, RLIM_INFINITY, 64 * MB},
    {RLIMIT_STACK, 8 * MB, MB / 4},
    {RLIMIT_NOFILE, 1024, 64},
    {RLIMIT_NPROC, RLIM_INFINITY, 32},
};

int
process_raise_limits(void)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		rlim_t want = limits[i].want;
		struct rlimit now, more;

		if (getrlimit(limits[i].resource, &now) == -1)
			return -1;
		more.rlim_cur = now.rlim_cur > want ? now.rlim_cur : want;
		more.rlim_max = now.rlim_max > want ? now.rlim_max : want;
		if (setrlimit(limits[i].resource, &more) == 0)
			continue;
		/* Root in a container must make do with the hard limit. */
		now.rlim_cur = now.rlim_max;
		if (setrlimit(limits[i].resource, &now) == -1 ||
		    now.rlim_cur < limits[i].need) {
			errno = EPERM;
			return -1;
		}
	}
	return 0;
}

static bool
setid_programs_work(void)
{
#if defined(__linux__)
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
#else
	return true;
#endif
}

/* What getrlimit(2) just gave; infinity is the most there is. */
static bool
is_below(int failed, const struct rlimit *limit, rlim_t need)
{
	return failed == 0 && limit->rlim_cur < need;
}

bool
process_may_deliver(off_t size, bool need_setid, const char **why)
{
	rlim_t file = (rlim_t)size + NEED_FILE_SLACK;
	struct rlimit l;

	*why = NULL;
	if (need_setid && !setid_programs_work())
		*why = "set-id programs do not work here (no_new_privs)";
	else if (is_below(getrlimit(RLIMIT_NOFILE, &l), &l, NEED_DESCRIPTORS))
		*why = "the limit of open files is too low";
	else if (is_below(getrlimit(RLIMIT_FSIZE, &l), &l, file))
		*why = "the limit of file sizes is too low";
	else if (is_below(getrlimit(RLIMIT_CPU, &l), &l, RLIM_INFINITY))
		*why = "processor time is limited";
	else if (is_below(getrlimit(RLIMIT_AS, &l), &l, NEED_MEMORY))
		*why = "the limit of memory is too low";
	return *why == NULL;
}
