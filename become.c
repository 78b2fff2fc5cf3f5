/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * become.c - the one privileged room: a door to another uid, nothing else.
 *
 * Runs in:   dma-become, set-uid root, for whoever is in group mail.
 * Trusts:    the user database, dma.conf, the mail directory's owner.
 *            Distrusts: its caller, and every name in the mail directory.
 * Promises:  what it executes is not root, has no group but its own, no limit
 *            of the caller's, and of his descriptors JOB_FD alone.  It reads
 *            nothing that a user wrote, but one byte whenever the recipient
 *            wants his lock; all that it makes is a missing mailbox and a
 *            dotlock.
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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf.h"
#include "dotlock.h"
#include "job.h"
#include "limits.h"
#include "util.h"

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
		exit(BECOME_NO_RIGHTS);
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

/* Who works for others owns nothing: not root, not the spool. */
static const struct passwd *
powerless_user(const char *name)
{
	uid_t owner = our_user(DMA_USER)->pw_uid;
	const struct passwd *pw = look_up(name);

	if (pw == NULL || pw->pw_uid == 0 || pw->pw_uid == owner ||
	    pw->pw_gid == 0 || pw->pw_gid == mail_group())
		exit(BECOME_NOT_ALLOWED);
	return pw;
}

static int
become_agent(void)
{
	char name[] = "dma-smtp", *argv[] = {name, NULL};
	const struct passwd *pw = powerless_user(DMA_AGENTUSER);

	if (process_become(pw->pw_uid, pw->pw_gid) == 0)
		execve(DMA_LIBEXECDIR "/dma-smtp", argv, argv + 1);
	return BECOME_SYSTEM;
}

static void
read_configuration(const char *const *keys, char **values)
{
	if (conf_root(DMA_CONFDIR "/dma.conf", keys, values) == -1)
		exit(BECOME_CONFIG);
}

/* ---- A user, for his mail, or ALIASUSER for that of aliases ---- */

static NORETURN void
execute_local(uid_t uid, gid_t gid, const char *const *args)
{
	char path[] = "PATH=/usr/bin:/bin", *environment[] = {path, NULL};
	char *argv[5] = {NULL};

	for (size_t i = 0; i < ARRAY_LEN(argv) - 1 && args[i] != NULL; i++)
		argv[i] = xstrdup(args[i]);
	if (process_become(uid, gid) == 0)
		execve(DMA_LIBEXECDIR "/dma-local", argv, environment);
	_exit(BECOME_SYSTEM);
}

static int
become_alias(void)
{
	const char *const keys[] = {"ALIASUSER", "ALIASES", NULL};
	char *values[] = {xstrdup(DMA_ALIASUSER), xstrdup(DMA_ALIASES)};
	const struct passwd *pw;

	read_configuration(keys, values);
	pw = powerless_user(values[0]);
	execute_local(pw->pw_uid, pw->pw_gid,
	    (const char *const[]){
		"dma-local", "--alias", pw->pw_name, values[1], NULL});
}

/* A recipient, as dma-local will run for him. */
struct target {
	char name[USERNAME_MAX + 1];
	char lock[USERNAME_MAX + sizeof(".lock")];
	uid_t owner;      /* of the mailbox */
	uid_t uid;        /* who appends to it: he, but USER for root */
	gid_t gid, group; /* likewise; GROUP, which mailboxes belong to */
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
	if ((pw = look_up(name)) == NULL && (pw = look_up(lower)) == NULL) {
		/* A source that fails before one that says no looks like no. */
		(void)our_user(DMA_USER);
		exit(BECOME_NO_USER);
	}
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

/* Take his lock, and see that there is his mailbox.  0 or a BECOME_. */
static int
open_mailbox(const struct target *t, struct dotlock *lock)
{
	int wrong;

	if (lock->dir < 0)
		lock->dir = dotlock_directory(DMA_MAILDIR);
	if (lock->dir < 0)
		return BECOME_UNUSABLE;
	/* His, so that dma-local can keep it young. */
	if (dotlock_take(lock, t->uid, t->group, now_ms() + MBOX_LOCK_MS) < 0)
		return BECOME_LOCKED;
	if (dotlock_mailbox(lock->dir, t->name, t->owner, t->uid, t->group) ==
	    0)
		return 0;
	wrong = errno;
	dotlock_drop(lock);
	return wrong == EPERM ? BECOME_UNUSABLE : BECOME_LOCKED;
}

/*
 * Each byte from him asks for the lock, or gives it back; the answer is a byte
 * too.  At the end of file he has gone, and the lock goes.
 */
static void
serve_lock(const struct target *t, int fd)
{
	struct dotlock lock = {.dir = -1, .name = t->lock};
	unsigned char byte;
	bool held = false;

	while (read(fd, &byte, 1) == 1) {
		int status = 0;

		if (held)
			dotlock_drop(&lock);
		else
			status = open_mailbox(t, &lock);
		held = !held && status == 0;
		byte = (unsigned char)status;
		if (write(fd, &byte, 1) != 1)
			break;
	}
	if (held)
		dotlock_drop(&lock);
}

static int
run_local(const struct target *t, const char *const *args)
{
	int pair[2], status;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return BECOME_SYSTEM;
	if ((child = fork()) == 0) {
		if (dup2(pair[1], LOCK_FD) == LOCK_FD &&
		    fcntl(LOCK_FD, F_SETFD, 0) == 0)
			execute_local(t->uid, t->gid, args);
		_exit(BECOME_SYSTEM);
	}
	/* A service that is stopped ends the child; the lock comes after. */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)close(JOB_FD); /* the runner must see the child's end of file */
	(void)close(pair[1]);
	if (child > 0)
		serve_lock(t, pair[0]);
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return BECOME_SYSTEM;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int
become_recipient(const char *name)
{
	const char *const keys[] = {"MAILBOX", NULL};
	struct target t = {0};
	char *mailbox = NULL;

	find_target(&t, name);
	/* Root's is appended to, whatever else there is. */
	if (t.owner == 0)
		return run_local(&t,
		    (const char *const[]){"dma-local", "--root", t.name, NULL});
	read_configuration(keys, &mailbox);
	return run_local(&t, (const char *const[]){
				 "dma-local", "--user", t.name, mailbox, NULL});
}

int
main(int argc, char **argv)
{
	process_enter(JOB_FD + 1, NULL);
	if (!have_job_socket())
		return BECOME_NOT_ALLOWED;
	leave_caller();
	if (process_raise_limits() < 0)
		return errno == EPERM ? BECOME_LIMITS : BECOME_SYSTEM;
	if (argc == 2 && strcmp(argv[1], "smtp") == 0)
		return become_agent();
	if (argc == 2 && strcmp(argv[1], "alias") == 0)
		return become_alias();
	if (argc == 3 && strcmp(argv[1], "local") == 0)
		return become_recipient(argv[2]);
	return BECOME_NOT_ALLOWED;
}
