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
#include <sys/prctl.h>
#endif
#if defined(__FreeBSD__)
#include <sys/procctl.h>
#endif

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "util.h"

#define ENV_VALUE_MAX 1024 /* bytes of a variable that we keep */
#define TZ_MAX        64   /* bytes */

#define NEED_DESCRIPTORS 64
#define NEED_FILE_SLACK  (1 << 20)  /* bytes beyond the message */
#define NEED_MEMORY      (64 << 20) /* bytes of address space */

extern char **environ;

/*
 * stdio would not reach anybody yet; a person who starts us like that reads
 * the status.
 */
static NORETURN void
refuse_to_start(void)
{
	_exit(EX_OSERR);
}

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
			refuse_to_start();
	}
}

/* The value of a variable, borrowed, or NULL where it is too long. */
static const char *
environment_value(const char *name)
{
	size_t i, len;

	len = strlen(name);
	for (i = 0; environ != NULL && environ[i] != NULL; i++)
		if (strncmp(environ[i], name, len) == 0 &&
		    environ[i][len] == '=')
			break;
	if (environ == NULL || environ[i] == NULL)
		return NULL;
	if (strnlen(environ[i], len + 2 + ENV_VALUE_MAX) >
	    len + 1 + ENV_VALUE_MAX)
		return NULL;
	return environ[i] + len + 1;
}

static char *
copy_environment_value(const char *name)
{
	const char *value;

	value = environment_value(name);
	return value != NULL ? xstrdup(value) : NULL;
}

/*
 * A zone's name or a rule.  The C library makes a path of it, so nothing that
 * leads out of its directory.
 */
static bool
time_zone_is_harmless(const char *tz)
{
	size_t i;

	if (*tz == '\0' || *tz == ':' || *tz == '/' || *tz == '.' ||
	    strlen(tz) > TZ_MAX || strstr(tz, "..") != NULL)
		return false;
	for (i = 0; tz[i] != '\0'; i++)
		if (!ascii_isalnum((unsigned char)tz[i]) &&
		    strchr("/_+-:,.<>", tz[i]) == NULL)
			return false;
	return true;
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
	static char *clean[3];
	const char *tz;

	tz = environment_value("TZ");
	if (tz != NULL && !time_zone_is_harmless(tz))
		tz = NULL;
	clean[0] = path;
	clean[1] = NULL;
	if (tz != NULL) {
		(void)compat_strlcpy(zone, "TZ=", sizeof(zone));
		(void)compat_strlcpy(zone + 3, tz, sizeof(zone) - 3);
		clean[1] = zone;
	}
	if (env != NULL) {
		env->tz = tz != NULL ? xstrdup(tz) : NULL;
		env->logname = copy_environment_value("LOGNAME");
		env->user = copy_environment_value("USER");
		env->email = copy_environment_value("EMAIL");
	}
	environ = clean;
}

static int
highest_signal(void)
{
#if defined(SIGRTMAX)
	if (SIGRTMAX >= NSIG)
		return SIGRTMAX;
#endif
	return NSIG - 1;
}

/*
 * Ignored signals and blocked ones survive execve(2): SIGCHLD ignored breaks
 * waitpid(2), SIGALRM blocked a bounded wait (V-16).  nohup's wish, SIGHUP
 * ignored, is kept.  SIGXFSZ is ignored so that write(2) fails instead.
 */
static void
reset_signals(void)
{
	struct sigaction fresh, old;
	int number;

	memset(&fresh, 0, sizeof(fresh));
	(void)sigemptyset(&fresh.sa_mask);
	for (number = 1; number <= highest_signal(); number++) {
		fresh.sa_handler = SIG_DFL;
		if (number == SIGPIPE || number == SIGXFSZ)
			fresh.sa_handler = SIG_IGN;
		if (number == SIGHUP && sigaction(number, NULL, &old) == 0 &&
		    old.sa_handler == SIG_IGN)
			continue;
		/* Fails for SIGKILL, SIGSTOP and the C library's own. */
		(void)sigaction(number, &fresh, NULL);
	}
	if (sigprocmask(SIG_SETMASK, &fresh.sa_mask, NULL) == -1)
		refuse_to_start();
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
		refuse_to_start();
#if defined(__linux__)
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == -1)
		refuse_to_start();
#elif defined(__FreeBSD__)
	int off = PROC_TRACE_CTL_DISABLE;

	(void)procctl(P_PID, getpid(), PROC_TRACE_CTL, &off);
#endif
}

/*
 * A library that logs before we do would take argv[0] for its ident, and that
 * is the caller's (V-19).
 */
static void
choose_log_ident(void)
{
	openlog("dma", LOG_PID, LOG_MAIL);
}

void
process_enter(int first_extra, struct process_env *env)
{
	open_standard_descriptors();
	compat_closefrom(first_extra > 3 ? first_extra : 3);
	replace_environment(env);
	choose_log_ident();
	reset_signals();
	stop_timers();
	(void)umask(077);
	forbid_inspection();
}

/* Real, effective and saved id at once. */
static int
set_all_gids(gid_t gid)
{
#if defined(__APPLE__) || defined(__NetBSD__)
	return setregid(gid, gid);
#else
	return setresgid(gid, gid, gid);
#endif
}

static int
set_all_uids(uid_t uid)
{
#if defined(__APPLE__) || defined(__NetBSD__)
	return setreuid(uid, uid);
#else
	return setresuid(uid, uid, uid);
#endif
}

/* Real, effective and saved ids; the saved one is not told everywhere. */
struct ids {
	uid_t uid[3];
	gid_t gid[3];
};

static int
get_ids(struct ids *ids)
{
#if defined(__APPLE__) || defined(__NetBSD__)
	ids->uid[0] = getuid();
	ids->uid[1] = ids->uid[2] = geteuid();
	ids->gid[0] = getgid();
	ids->gid[1] = ids->gid[2] = getegid();
	return 0;
#else
	if (getresuid(&ids->uid[0], &ids->uid[1], &ids->uid[2]) == -1)
		return -1;
	return getresgid(&ids->gid[0], &ids->gid[1], &ids->gid[2]);
#endif
}

/*
 * The calls above have said yes; believe only what can be seen.  With uid 0
 * any id can be taken, so there only the ids themselves are compared.
 */
static int
check_ids(const struct ids *old, uid_t uid, gid_t gid)
{
	struct ids now;
	int i;

	if (get_ids(&now) == -1)
		return -1;
	for (i = 0; i < 3; i++)
		if (now.uid[i] != uid || now.gid[i] != gid)
			goto wrong;
	if (uid == 0)
		return 0;
	if (seteuid(0) == 0 || setuid(0) == 0 || (gid != 0 && setegid(0) == 0))
		goto wrong;
	for (i = 0; i < 3; i++)
		if ((old->uid[i] != uid && seteuid(old->uid[i]) == 0) ||
		    (old->gid[i] != gid && setegid(old->gid[i]) == 0))
			goto wrong;
	return 0;
wrong:
	errno = EPERM;
	return -1;
}

int
process_become(uid_t uid, gid_t gid)
{
	struct ids old;

	/* -1 would mean "leave it"; nobody becomes root through us. */
	if (uid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1) {
		errno = EINVAL;
		return -1;
	}
	if (get_ids(&old) == -1 || setgroups(1, &gid) == -1)
		return -1;
	if (set_all_gids(gid) == -1 || set_all_uids(uid) == -1)
		return -1;
	return check_ids(&old, uid, gid);
}

int
process_drop_setid(void)
{
	struct ids old;

	if (get_ids(&old) == -1)
		return -1;
	if (set_all_gids(old.gid[0]) == -1 || set_all_uids(old.uid[0]) == -1)
		return -1;
	return check_ids(&old, old.uid[0], old.gid[0]);
}

void
process_detach(bool keep_stderr)
{
	int fd, null;

	(void)setsid(); /* fails only where we lead a session already */
	if (chdir("/") == -1)
		refuse_to_start();
	if ((null = open("/dev/null", O_RDWR | O_CLOEXEC)) == -1)
		refuse_to_start();
	for (fd = 0; fd <= (keep_stderr ? STDOUT_FILENO : STDERR_FILENO); fd++)
		if (dup2(null, fd) == -1)
			refuse_to_start();
	if (null > STDERR_FILENO)
		(void)close(null);
}

/*
 * True if the limit that getrlimit(2) just gave is at least `need`; one that
 * could not be asked is none.
 */
static bool
limit_allows(int failed, const struct rlimit *limit, rlim_t need)
{
	return failed != 0 || limit->rlim_cur == RLIM_INFINITY ||
	       limit->rlim_cur >= need;
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

bool
process_may_deliver(off_t size, bool need_setid, const char **why)
{
	struct rlimit l;
	rlim_t file;

	file = (rlim_t)size + NEED_FILE_SLACK;
	*why = NULL;
	if (need_setid && !setid_programs_work())
		*why = "set-id programs do not work here (no_new_privs)";
	else if (!limit_allows(
		     getrlimit(RLIMIT_NOFILE, &l), &l, NEED_DESCRIPTORS))
		*why = "the limit of open files is too low";
	else if (!limit_allows(getrlimit(RLIMIT_FSIZE, &l), &l, file))
		*why = "the limit of file sizes is too low";
	else if (!limit_allows(getrlimit(RLIMIT_CPU, &l), &l, RLIM_INFINITY))
		*why = "processor time is limited";
	else if (!limit_allows(getrlimit(RLIMIT_AS, &l), &l, NEED_MEMORY))
		*why = "the limit of memory is too low";
	return *why == NULL;
}
