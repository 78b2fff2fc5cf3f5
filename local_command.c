/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_command.c - delivery to a program, and to our own sendmail.
 *
 * Runs in:   dma-local, as the recipient or ALIASUSER.
 * Trusts:    nothing: a program may hang, talk for ever, read nothing.
 * Promises:  no shell; the program has 0-2 and a small environment of ours,
 *            is given a bounded time, and none of its group outlives it.
 */
#include "local_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "envelope.h"
#include "util.h"

#define EXEC_FAILED 127 /* as the shell has it */
#define ENV_MAX     12

/* A program that reads the message. */
struct command {
	const char *path;
	char *const *argv;
	char *env[ENV_MAX];
	const char *dir;
	bool keep_group; /* what it leaves behind goes on */
	bool cut;        /* it was not given all, though it would take it */
	int file;        /* its stdin, or -1: a pipe */
	int64_t deadline;
	pid_t pid;
	int in, out; /* its stdin; its stdout and stderr.  -1: closed */
	size_t len;
	char output[COMMAND_OUTPUT_MAX + 1];
};

/* ---- Its environment ---- */

/* Nothing in it can be taken for more than a word, whoever reads it. */
static void
add_env(struct command *c, const char *name, const char *value)
{
	size_t n = 0;
	char *text;

	while (c->env[n] != NULL)
		n++;
	text = xasprintf("%s=%s", name, value);
	for (char *p = text; *p != '\0'; p++)
		if (ascii_iscntrl((unsigned char)*p))
			*p = '_';
	c->env[n] = text;
}

static void
make_env(struct command *c, const struct delivery *d)
{
	const struct local *l = d->local;

	add_env(c, "PATH", "/usr/bin:/bin");
	add_env(c, "SHELL", "/bin/sh");
	add_env(c, "HOME", c->dir);
	add_env(c, "USER", l->user);
	add_env(c, "LOGNAME", l->user);
	add_env(c, "SENDER", d->job->sender);
	add_env(c, "RECIPIENT", d->address);
	add_env(c, "EXTENSION", d->extension);
	if (d->to->orig != NULL)
		add_env(c, "ORIGINAL_RECIPIENT", d->to->orig);
}

/* ---- Its life ---- */

static void
execute(const struct command *c, int in, int out)
{
	struct sigaction fresh = {.sa_handler = SIG_DFL};

	(void)setsid(); /* a group of its own */
	(void)sigemptyset(&fresh.sa_mask);
	(void)sigaction(SIGPIPE, &fresh, NULL);
	(void)sigaction(SIGXFSZ, &fresh, NULL);
	(void)sigaction(SIGHUP, &fresh, NULL);
	(void)sigprocmask(SIG_SETMASK, &fresh.sa_mask, NULL);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(out, STDERR_FILENO) < 0)
		_exit(EX_OSERR);
	compat_closefrom(STDERR_FILENO + 1);
	if (chdir(c->dir) == 0)
		(void)execve(c->path, c->argv, c->env);
	(void)dprintf(STDERR_FILENO, "%s", strerror(errno));
	_exit(EXEC_FAILED);
}

static int
make_pipe(int ends[2])
{
	if (pipe(ends) < 0)
		return -1;
	for (int i = 0; i < 2; i++)
		(void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
	return 0;
}

static int
start(struct command *c)
{
	int in[2] = {c->file, -1}, out[2] = {-1, -1}, saved;

	if (c->file < 0 && make_pipe(in) < 0)
		return -1;
	if (make_pipe(out) == 0 && (c->pid = fork()) == 0)
		execute(c, in[0], out[1]);
	saved = errno;
	(void)close(in[0]);
	(void)close(out[1]);
	c->in = in[1];
	c->out = out[0];
	if (out[0] >= 0 && c->pid > 0) {
		if (c->in >= 0)
			(void)fcntl(c->in, F_SETFL, O_NONBLOCK);
		(void)fcntl(c->out, F_SETFL, O_NONBLOCK);
		return 0;
	}
	(void)close(c->in);
	(void)close(c->out);
	errno = saved;
	return -1;
}

/* Take what it says, of which only the beginning is kept. */
static void
take_output(struct command *c)
{
	char more[4096];
	ssize_t n = read(c->out, more, sizeof(more));
	size_t room = COMMAND_OUTPUT_MAX - c->len, kept;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void)close(c->out);
		c->out = -1;
		return;
	}
	kept = (size_t)n < room ? (size_t)n : room;
	memcpy(c->output + c->len, more, kept);
	c->len += kept;
}

/* Until it wants to read, if so asked, or speaks, or ms are over. */
static bool
wait_for_it(struct command *c, bool writing, int64_t ms)
{
	struct pollfd p[] = {{.fd = writing ? c->in : -1, .events = POLLOUT},
	    {.fd = c->out, .events = POLLIN}};

	if (ms > 0)
		(void)poll(p, ARRAY_LEN(p), (int)ms);
	if (p[1].revents != 0)
		take_output(c);
	return p[0].revents != 0;
}

/* One that does not read all of its mail is no error: its status tells. */
static int
write_to(void *to, const void *p, size_t len)
{
	struct command *c = to;
	const char *from = p;

	while (len > 0) {
		int64_t left = c->deadline - now_ms();
		ssize_t n;

		if (left <= 0) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (!wait_for_it(c, true, left))
			continue;
		n = write(c->in, from, len);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -1;
		if (n > 0) {
			from += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* It has ended, and can still be waited for: its number is nobody else's. */
static bool
has_ended(const struct command *c)
{
	siginfo_t info = {0};

	return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) <
		   0 ||
	       info.si_pid == c->pid;
}

/* To its end, or ours.  Returns its status, or -1: it took too long. */
static int
finish(struct command *c)
{
	const struct timespec moment = {0, 2000000};
	int status = -1, left = 0;
	bool ended;

	if (c->cut) /* else it takes the pipe's end for that of the mail */
		(void)kill(c->pid, SIGKILL);
	(void)close(c->in);
	while (!(ended = has_ended(c)) && now_ms() < c->deadline) {
		if (c->out >= 0)
			(void)wait_for_it(c, false, MBOX_POLL_MAX_MS);
		else
			(void)nanosleep(&moment, NULL);
	}
	while (
	    ended && c->out >= 0 && left++ < 16 && c->len < COMMAND_OUTPUT_MAX)
		take_output(c); /* the last words */
	if (!ended || !c->keep_group)
		(void)kill(-c->pid, SIGKILL);
	(void)waitpid(c->pid, &status, 0);
	if (c->out >= 0)
		(void)close(c->out);
	c->output[c->len] = '\0';
	return ended ? status : -1;
}

/* ---- What it means ---- */

/* Of <sysexits.h>, what is certain; all else of 1 to 125 is 5.3.0. */
static const struct {
	int status;
	enum outcome_class class;
	const char *dsn;
} meanings[] = {
    {EX_DATAERR, OUTCOME_FAIL, "5.6.0"},
    {EX_NOUSER, OUTCOME_FAIL, "5.1.1"},
    {EX_NOHOST, OUTCOME_FAIL, "5.1.2"},
    {EX_NOPERM, OUTCOME_FAIL, "5.7.1"},
    {EX_OSERR, OUTCOME_DEFER, "4.3.0"},
    {EX_OSFILE, OUTCOME_DEFER, "4.3.0"},
    {EX_CANTCREAT, OUTCOME_DEFER, "4.2.0"},
    {EX_IOERR, OUTCOME_DEFER, "4.3.0"},
    {EX_TEMPFAIL, OUTCOME_DEFER, "4.3.0"},
    {EX_CONFIG, OUTCOME_DEFER, "4.3.5"},
};

static void
set_failure(struct outcome *o, const struct command *c, int status)
{
	enum outcome_class class = OUTCOME_FAIL;
	const char *dsn = "5.3.0";

	if (status > 125) { /* 126 and 127: it could not be executed */
		class = OUTCOME_DEFER;
		dsn = "4.3.0";
	}
	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].status == status) {
			class = meanings[i].class;
			dsn = meanings[i].dsn;
		}
	if (status == EXEC_FAILED)
		outcome_set(
		    o, class, dsn, "cannot execute %s: %s", c->path, c->output);
	else
		outcome_set(o, class, dsn, "%s ended with status %d%s%s",
		    c->path, status, c->len > 0 ? ": " : "", c->output);
}

/* unread: the errno of reading the message, or 0.  True: it took it. */
static bool
judge(struct outcome *o, const struct command *c, int status, int unread)
{
	if (unread != 0)
		local_defer(o, "4.3.0", "cannot read the message", unread);
	else if (status == -1)
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "%s took too long and was ended%s%s", c->path,
		    c->len > 0 ? ": " : "", c->output);
	else if (!WIFEXITED(status))
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "%s was ended by signal %d%s%s", c->path, WTERMSIG(status),
		    c->len > 0 ? ": " : "", c->output);
	else if (WEXITSTATUS(status) != 0)
		set_failure(o, c, WEXITSTATUS(status));
	else
		return true;
	return false;
}

/* The message and the lines before it.  Returns the errno of reading it. */
static int
feed(struct command *c, const struct delivery *d)
{
	struct copy *copy = xcalloc(1, sizeof(*copy));
	int unread;

	copy->write = write_to;
	copy->to = c;
	copy_put_lines(copy, d, true);
	unread = copy_put_message(copy, d->job);
	copy_flush(copy);
	c->cut = unread != 0 || copy->error == ETIMEDOUT;
	buf_free(&copy->waiting);
	free(copy);
	return unread;
}

/*
 * For our own sendmail all of it lies in a file: it takes the end of a pipe
 * for that of the message, even where we were killed.  0, or -1: deferred.
 */
static int
save(struct command *c, const struct delivery *d)
{
	char name[] = "/tmp/dma.XXXXXX";
	struct copy *copy = xcalloc(1, sizeof(*copy));
	int error = 0;

	if ((c->file = mkstemp(name)) >= 0 && unlink(name) == 0) {
		copy->write = copy_to_file;
		copy->to = &c->file;
		copy_put_line(copy, "Delivered-To: ", d->address, "\n");
		error = copy_put_message(copy, d->job);
		copy_flush(copy);
		if (error == 0)
			error = copy->error;
		if (error == 0 && lseek(c->file, 0, SEEK_SET) < 0)
			error = errno;
	} else
		error = errno;
	buf_free(&copy->waiting);
	free(copy);
	return error == 0 ? 0
			  : local_defer(d->outcome, "4.3.0",
				"cannot copy the message to /tmp", error);
}

/* True: it took the message. */
static bool
run(const struct delivery *d, char *const *argv, bool ours)
{
	int64_t limit =
	    now_ms() + (int64_t)COMMAND_MS * d->local->timeouts / 100;
	const char *home = d->local->home;
	struct command *c = xcalloc(1, sizeof(*c));
	bool taken = false;
	int unread;

	c->path = ours ? DMA_SBINDIR "/dma" : argv[0];
	c->argv = argv;
	c->dir = home != NULL && !ours && access(home, X_OK) == 0 ? home : "/";
	c->keep_group = ours; /* what runs the queue */
	c->deadline = limit < d->deadline ? limit : d->deadline;
	c->file = -1;
	make_env(c, d);
	if ((ours && save(c, d) < 0) || !local_is_awaited(d)) {
		if (c->file >= 0)
			(void)close(c->file);
	} else if (start(c) < 0) {
		local_defer(
		    d->outcome, "4.3.0", "cannot start a process", errno);
	} else {
		unread = ours ? 0 : feed(c, d);
		taken = judge(d->outcome, c, finish(c), unread);
	}
	for (size_t i = 0; c->env[i] != NULL; i++)
		free(c->env[i]);
	free(c);
	return taken;
}

void
command_deliver(const struct delivery *d, const char *command)
{
	const char *why = "";
	char **argv = mailbox_argv(command, &why);

	mbox_release(d->local);
	if (argv == NULL)
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5",
		    "\"|%.100s\" %s", command, why);
	else if (run(d, argv, false))
		local_sent(d->outcome, "command", argv[0]);
	free(argv);
}

/* ---- Our own sendmail ---- */

/*
 * RFC 3461, 5.2.7: who asked for silence has it with every copy; success is
 * told by us alone, once.  NULL: nothing was asked for.
 */
static const char *
notify_word(unsigned notify)
{
	static const char *const words[] = {
	    "never", "failure", "delay", "failure,delay"};

	if (notify == 0)
		return NULL;
	if ((notify & NOTIFY_NEVER) != 0)
		return words[0];
	return words[((notify & NOTIFY_FAILURE) != 0 ? 1 : 0) +
		     ((notify & NOTIFY_DELAY) != 0 ? 2 : 0)];
}

void
command_forward(
    const struct delivery *d, const char *const *addresses, size_t n)
{
	const struct job *j = d->job;
	const char **argv = xcalloc(n + 16, sizeof(*argv));
	const char *notify = notify_word(d->to->notify);
	char **args; /* exec writes none of it */
	size_t at = 0;

	argv[at++] = "sendmail";
	argv[at++] = "-i";
	argv[at++] = "-f";
	argv[at++] = j->sender[0] != '\0' ? j->sender : "<>";
	if (notify != NULL) {
		argv[at++] = "-N";
		argv[at++] = notify;
	}
	if (j->envid != NULL) {
		argv[at++] = "-V";
		argv[at++] = j->envid;
	}
	if (j->ret != RET_DEFAULT) {
		argv[at++] = "-R";
		argv[at++] = j->ret == RET_FULL ? "full" : "hdrs";
	}
	argv[at++] = "--";
	memcpy(argv + at, addresses, n * sizeof(*argv));
	memcpy(&args, &argv, sizeof(args));
	mbox_release(d->local);
	if (run(d, args, true)) {
		local_sent(d->outcome, "address", addresses[0]);
	} else { /* what it says is no word about the addresses */
		d->outcome->class = OUTCOME_DEFER;
		d->outcome->dsn[0] = '4';
	}
	free(argv);
}
