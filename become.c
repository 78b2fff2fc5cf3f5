/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * become.c - the one privileged room: a door to another uid, nothing else.
 *
 * Runs in:   dma-become, set-uid root, for whoever is in group mail.
 * Trusts:    the user database, the mail directory's owner. Distrusts: its
 *            caller, and every name in the mail directory.
 * Promises:  what it executes is not root, has no group but its own, no limit
 *            of the caller's, and of his descriptors JOB_FD alone.  It reads
 *            nothing that a user wrote; all that it makes is a missing
 *            mailbox and a dotlock.
 */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dotlock.h"
#include "job.h"
#include "limits.h"
#include "util.h"

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

static void
raise_limits(void)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		rlim_t want = limits[i].want;
		struct rlimit now, more;

		if (getrlimit(limits[i].resource, &now) < 0)
			exit(BECOME_SYSTEM);
		more.rlim_cur = now.rlim_cur > want ? now.rlim_cur : want;
		more.rlim_max = now.rlim_max > want ? now.rlim_max : want;
		if (setrlimit(limits[i].resource, &more) == 0)
			continue;
		/* Root in a container must make do with the hard limit. */
		now.rlim_cur = now.rlim_max;
		if (setrlimit(limits[i].resource, &now) < 0 ||
		    now.rlim_cur < limits[i].need)
			exit(BECOME_LIMITS);
	}
}

static bool
have_job_socket(void)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(ss);

	return getsockname(JOB_FD, (struct sockaddr *)&ss, &len) == 0 &&
	       ss.ss_family == AF_UNIX;
}

/* From here on the caller can neither signal, stop nor trace this process. */
static void
leave_caller(void)
{
	if (setresuid(0, 0, 0) < 0 || setresgid(0, 0, 0) < 0 ||
	    setgroups(0, NULL) < 0)
		exit(BECOME_NOT_ALLOWED);
	process_detach(false);
	/* A session's leader keeps its terminal, which could stop us. */
	if (open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC) >= 0)
		exit(BECOME_NOT_ALLOWED);
	process_reset_scheduling();
}

/* The static result of getpwnam(3), or NULL: there is none of that name. */
static const struct passwd *
look_up(const char *name)
{
	const struct passwd *pw;

	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL && errno != 0 && errno != ENOENT && errno != ESRCH)
		exit(BECOME_SYSTEM); /* no answer is not a no */
	if (pw != NULL && ascii_strcasecmp(pw->pw_name, name) != 0)
		return NULL;
	return pw;
}

static const struct passwd *
our_user(const char *name)
{
	const struct passwd *pw = look_up(name);

	if (pw == NULL)
		exit(BECOME_SYSTEM); /* our trouble, not the recipient's */
	return pw;
}

static gid_t
mail_group(void)
{
	const struct group *gr = getgrnam(DMA_GROUP);

	if (gr == NULL)
		exit(BECOME_SYSTEM);
	return gr->gr_gid;
}

static int
become_agent(void)
{
	char name[] = "dma-smtp", *argv[] = {name, NULL},
	     *environment[] = {NULL};
	uid_t owner = our_user(DMA_USER)->pw_uid;
	const struct passwd *pw = our_user(DMA_AGENTUSER);

	/* Who talks to the network owns nothing: not root, not the spool. */
	if (pw->pw_uid == 0 || pw->pw_uid == owner || pw->pw_gid == 0 ||
	    pw->pw_gid == mail_group())
		return BECOME_NOT_ALLOWED;
	if (process_become(pw->pw_uid, pw->pw_gid) == 0)
		execve(DMA_LIBEXECDIR "/dma-smtp", argv, environment);
	return BECOME_SYSTEM;
}

/* A recipient, as dma-local will run for him. */
struct target {
	char name[USERNAME_MAX + 1];
	char lock[USERNAME_MAX + sizeof(".lock")];
	uid_t owner;      /* of the mailbox */
	uid_t uid;        /* who appends to it: he, but USER for root */
	gid_t gid, group; /* likewise; GROUP, which mailboxes belong to */
	int dir;          /* the mail directory */
};

static void
find_target(struct target *t, const char *name)
{
	char lower[USERNAME_MAX + 1] = "";
	const struct passwd *pw;

	/* Nothing that could be a path or an option (V-31). */
	if (name[0] == '\0' || name[0] == '.' || name[0] == '-' ||
	    strchr(name, '/') != NULL || strlen(name) > USERNAME_MAX)
		exit(BECOME_NO_USER);
	for (size_t i = 0; name[i] != '\0'; i++)
		lower[i] = (char)ascii_lower((unsigned char)name[i]);
	if ((pw = look_up(name)) == NULL && (pw = look_up(lower)) == NULL)
		exit(BECOME_NO_USER);
	(void)snprintf(t->name, sizeof(t->name), "%s", pw->pw_name);
	(void)snprintf(t->lock, sizeof(t->lock), "%s.lock", t->name);
	t->owner = t->uid = pw->pw_uid;
	t->gid = pw->pw_gid;
	t->group = mail_group();
	if (t->owner == 0) {
		t->uid = our_user(DMA_USER)->pw_uid;
		t->gid = t->group;
	}
}

static int
open_directory(void)
{
	int dir = open(DMA_MAILDIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (dir < 0 || fstat(dir, &st) < 0)
		exit(BECOME_UNUSABLE);
	/* There anybody could replace a mailbox between check and use. */
	if ((st.st_mode & (S_IWOTH | S_ISVTX)) == S_IWOTH)
		exit(BECOME_UNUSABLE);
	return dir;
}

/*
 * Finished under a name that no user has, since theirs begin with no dot: a
 * power cut between open and chown must not leave root's file as a mailbox.
 */
static bool
create_mailbox(const struct target *t)
{
	char fresh[USERNAME_MAX + sizeof("..new")];
	bool made;
	int fd;

	(void)snprintf(fresh, sizeof(fresh), ".%s.new", t->name);
	(void)unlinkat(t->dir, fresh, 0); /* of such a power cut */
	fd = openat(t->dir, fresh,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	made = fchown(fd, t->owner, t->group) == 0 && fchmod(fd, 0660) == 0 &&
	       fsync(fd) == 0 &&
	       compat_rename_noreplace(t->dir, fresh, t->name) == 0 &&
	       fsync(t->dir) == 0;
	(void)close(fd);
	return made;
}

/* One that is there is never given another owner or mode (V-29). */
static int
check_mailbox(const struct target *t)
{
	struct stat st;

	if (fstatat(t->dir, t->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT && create_mailbox(t) ? 0 : BECOME_LOCKED;
	if (S_ISREG(st.st_mode) && st.st_nlink == 1 &&
	    (st.st_uid == t->owner || st.st_uid == t->uid))
		return 0;
	return BECOME_UNUSABLE;
}

static int
run_local(struct target *t)
{
	char name[] = "dma-local", path[] = "PATH=/usr/bin:/bin";
	char *argv[] = {name, t->name, NULL}, *environment[] = {path, NULL};
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (process_become(t->uid, t->gid) == 0)
			execve(DMA_LIBEXECDIR "/dma-local", argv, environment);
		_exit(BECOME_SYSTEM);
	}
	/* A service that is stopped ends the child; the lock comes after. */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)close(JOB_FD); /* the runner must see the child's end of file */
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return BECOME_SYSTEM;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
become_recipient(const char *name)
{
	struct target t = {0};
	struct dotlock lock = {.name = t.lock};
	int status;

	find_target(&t, name);
	t.dir = lock.dir = open_directory();
	/* His, so that dma-local can keep it young. */
	if (dotlock_take(&lock, t.uid, t.group, now_ms() + MBOX_LOCK_MS) < 0)
		return BECOME_LOCKED;
	if ((status = check_mailbox(&t)) == 0)
		status = run_local(&t);
	dotlock_drop(&lock);
	return status;
}

int
main(int argc, char **argv)
{
	process_enter(JOB_FD + 1, NULL);
	if (!have_job_socket())
		return BECOME_NOT_ALLOWED;
	leave_caller();
	raise_limits();
	if (argc == 2 && strcmp(argv[1], "smtp") == 0)
		return become_agent();
	if (argc == 3 && strcmp(argv[1], "local") == 0)
		return become_recipient(argv[2]);
	return BECOME_NOT_ALLOWED;
}
