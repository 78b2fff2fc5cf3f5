/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * agents.c - agent processes: started, heard, let go, reaped.
 *
 * Runs in:   dma, as the runner.
 * Distrusts: agents: one that breaks the protocol is not heard again.
 * Promises:  never waits for an agent; one that dies spoils no message but
 *            the one it worked on.
 */
#include "runner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "log.h"
#include "util.h"

#define LINGER_MS       250   /* an idle connection waits for more mail */
#define REAP_MS         10    /* between looks at a process that is ending */
#define REAP_MAX_MS     5000  /* then it counts as crashed */
#define AGENT_SLACK_MS  60000 /* before it is ready, or beyond its deadline */
#define SLOTS_AGAIN_MS  100
#define SOCKET_BUFFER   (512 * 1024)
#define RECORDS_AT_ONCE 64

/* ---- Starting ---- */

/*
 * How many slots this runner may try for h.  A user can stop his runner with
 * all that it holds, or send mail to servers that keep us waiting, so a quarter
 * is left for what no user does: the system's run, for root's mail.
 */
static unsigned
slots_open_to(const struct runner *r, const struct next_hop *h)
{
	unsigned n = r->in->conf->agents;

	return (r->in->all && h->own) || r->in->private_instance ? n
								 : n - n / 4;
}

/* True while one of our agents works without a slot. */
static bool
free_place_taken(const struct runner *r)
{
	for (const struct agent *a = r->agents; a != NULL; a = a->next)
		if (a->slot < 0)
			return true;
	return false;
}

/*
 * One agent a runner needs no slot of the machine's: the first, and when that
 * has ended the next one.
 */
static int
take_slot(struct runner *r, const struct next_hop *h, int *slot)
{
	unsigned most = slots_open_to(r, h);

	*slot = -1;
	if (!free_place_taken(r))
		return 0;
	if (r->verbose) /* two dialogues at once would be none */
		return -1;
	if (now_ms() < r->slots_again[h->own])
		return -1;
	for (unsigned n = 1; n <= most; n++)
		if ((*slot = spool_lock_slot(&r->in->spool, n)) >= 0)
			return 0;
	r->slots_again[h->own] = now_ms() + SLOTS_AGAIN_MS;
	return -1;
}

/*
 * Who is executed: the door dma-become; in a private instance the agent
 * itself.
 */
static void
make_argv(const struct runner *r, const struct next_hop *h, char *path,
    size_t size, const char *argv[5])
{
	const struct instance *in = r->in;
	bool local = h->hop.kind == HOP_LOCAL;
	size_t n = 0;

	argv[n++] = !in->private_instance ? "dma-become"
		    : local               ? "dma-local"
					  : "dma-smtp";
	(void)snprintf(path, size, "%s/%s", in->conf->libexecdir, argv[0]);
	if (!in->private_instance)
		argv[n++] = h->hop.kind == HOP_ALIAS ? "alias"
			    : local                  ? "local"
						     : "smtp";
	if (local)
		argv[n++] = h->hop.host;
	if (local && in->private_instance)
		argv[n++] = in->conf->mailbox;
	argv[n] = NULL;
}

/*
 * Root's private instance: what talks to the network is not root there
 * either.
 */
static int
spawn_as_agent_user(const char *path, char **args, int sock, pid_t *pid)
{
	const struct passwd *pw = getpwnam(DMA_AGENTUSER);
	char *env[] = {NULL};

	if (pw == NULL)
		return ENOENT;
	*pid = fork();
	if (*pid < 0)
		return errno;
	if (*pid > 0)
		return 0;
	if (dup2(sock, JOB_FD) == JOB_FD &&
	    process_become(pw->pw_uid, pw->pw_gid) == 0) {
		compat_closefrom(JOB_FD + 1);
		(void)execve(path, args, env);
	}
	_exit(BECOME_SYSTEM);
}

static int
spawn_agent(
    const struct runner *r, const struct next_hop *h, int sock, pid_t *pid)
{
	char path[PATH_MAX];
	const char *argv[5] = {NULL};
	char *args[5], *env[] = {NULL};
	posix_spawn_file_actions_t actions;
	int error;

	make_argv(r, h, path, sizeof(path), argv);
	memcpy(args, argv, sizeof(args)); /* exec writes none of it */
	if (r->in->private_instance && r->in->caller == 0 &&
	    h->hop.kind != HOP_LOCAL)
		return spawn_as_agent_user(path, args, sock, pid);
	if ((error = posix_spawn_file_actions_init(&actions)) != 0)
		return error;
	/* Everything else that we hold is close-on-exec. */
	error = posix_spawn_file_actions_adddup2(&actions, sock, JOB_FD);
	if (error == 0)
		error = posix_spawn(pid, path, &actions, NULL, args, env);
	(void)posix_spawn_file_actions_destroy(&actions);
	return error;
}

/*
 * A private instance delivers to its own user's mailbox alone, and cannot be
 * ALIASUSER.  False with the reason; that nobody says who we are is no reason
 * to fail.
 */
static bool
may_deliver_locally(
    const struct runner *r, const struct next_hop *h, struct outcome *o)
{
	const struct passwd *pw;

	if (!r->in->private_instance || !hops_is_local(h))
		return true;
	pw = getpwuid(r->in->caller);
	if (h->hop.kind == HOP_ALIAS)
		outcome_set(o, OUTCOME_FAIL, "5.3.5",
		    "a private instance uses no files and commands of aliases");
	else if (pw == NULL)
		outcome_set(o, OUTCOME_DEFER, "4.3.0",
		    "there is no account for uid %lu now",
		    (unsigned long)r->in->caller);
	else if (ascii_strcasecmp(pw->pw_name, h->hop.host) != 0)
		outcome_set(o, OUTCOME_FAIL, "5.1.1",
		    "unknown user: a private instance delivers to its own "
		    "user only");
	else
		return true;
	return false;
}

/* Why route_hop() failed, for people. */
static const char *
unresolved(const struct conf *c, const struct next_hop *h, int error, char *buf,
    size_t size)
{
	const struct conf_relay *relay =
	    h->choice < c->nrelays ? &c->relays[h->choice] : NULL;

	if (error == EPERM)
		return "LOCALONLY lets no mail go to another machine";
	if (error == EACCES && relay != NULL && relay->user != NULL)
		(void)snprintf(buf, size,
		    "AUTHPATH has no line \"%.100s|%.100s:...\" for the user "
		    "that SMARTHOST names",
		    relay->user, relay->host);
	else if (error == EIO)
		(void)snprintf(
		    buf, size, "CERTFILE %s cannot be read", c->certfile);
	else
		return strerror(error);
	return buf;
}

/* A password for another host than the relay's would be missed in silence. */
static void
remark_no_password(const struct runner *r, const struct hop *h)
{
	if (r->verbose && h->kind == HOP_RELAY && !h->auth &&
	    h->protocol == PROTOCOL_SMTP && r->in->conf->nauths > 0)
		(void)fprintf(
		    stderr, "# auth.conf has no line for %s\n", h->host);
}

static int
resolve_hop(struct runner *r, struct next_hop *h)
{
	struct outcome o = {0};
	char buf[512];
	int error;

	if (h->resolved)
		return 0;
	hop_free(&h->hop);
	while (route_hop(r->in->conf, h->route, h->choice, &h->hop) != 0) {
		error = errno;
		outcome_set(&o, OUTCOME_DEFER,
		    error == EPERM ? "4.7.1" : "4.3.5",
		    "no usable configuration for this next hop: %s",
		    unresolved(r->in->conf, h, error, buf, sizeof(buf)));
		if (hops_next_choice(r, h)) {
			log_event(LOG_QUEUE, LOG_WARNING,
			    "%s; going on to the next of SMARTHOST", o.text);
			continue;
		}
		hops_fail(h, &o, RUN_POLL_MAX_MS);
		return -1;
	}
	h->hop.trace = r->verbose;
	h->resolved = true;
	remark_no_password(r, &h->hop);
	if (may_deliver_locally(r, h, &o))
		return 0;
	hops_fail(h, &o, 0);
	return -1;
}

static struct agent *
new_agent(struct runner *r, struct next_hop *h, pid_t pid, int sock, int slot)
{
	struct agent *a = xcalloc(1, sizeof(*a)), **at = &r->agents;

	a->pid = pid;
	a->sock = sock;
	a->slot = slot;
	a->hop = h;
	a->choice = h->choice;
	a->work_since = now_ms();
	while (*at != NULL)
		at = &(*at)->next;
	*at = a;
	r->nagents++;
	h->agents++;
	return a;
}

int
agents_start(struct runner *r, struct next_hop *h)
{
	int pair[2], slot, error, size = SOCKET_BUFFER;
	struct outcome o = {0};
	pid_t pid = -1;

	if (resolve_hop(r, h) != 0 || take_slot(r, h, &slot) != 0)
		return -1;
	error = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
		    ? errno
		    : 0;
	if (error == 0) {
		(void)setsockopt(
		    pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		error = fcntl(pair[0], F_SETFL, O_NONBLOCK) != 0
			    ? errno
			    : spawn_agent(r, h, pair[1], &pid);
		(void)close(pair[1]);
		if (error == 0) {
			(void)new_agent(r, h, pid, pair[0], slot);
			return 0;
		}
		(void)close(pair[0]);
	}
	if (slot >= 0)
		(void)close(slot);
	if (h->agents > 0)
		return -1; /* those that work go on */
	if (r->nagents > 0 && entries_shortage(error)) {
		r->slots_again[h->own] = now_ms() + SLOTS_AGAIN_MS;
		return -1; /* those of other hops will end */
	}
	outcome_set(&o, OUTCOME_DEFER, "4.3.0",
	    "cannot start a delivery agent in %s: %s", r->in->conf->libexecdir,
	    strerror(error));
	log_event(LOG_QUEUE, LOG_ERR, "%s", o.text);
	hops_fail(h, &o, RUN_POLL_MAX_MS);
	return -1;
}

/* ---- The end of an agent ---- */

void
agents_lose_greeting(struct agent *a)
{
	if (a->greeted)
		a->hop->greeted--;
	a->greeted = false;
}

static void
free_agent(struct runner *r, struct agent *a)
{
	struct agent **at = &r->agents;

	while (*at != a)
		at = &(*at)->next;
	*at = a->next;
	r->nagents--;
	a->hop->agents--;
	agents_lose_greeting(a);
	if (a->rest != NULL)
		hops_put_back(a->hop, a->rest);
	if (a->sock >= 0)
		(void)close(a->sock);
	if (a->slot >= 0) {
		(void)close(a->slot);
		r->slots_again[0] = r->slots_again[1] = 0;
	}
	free(a);
}

/* It died with jobs in hand: the first one is suspected, the others not. */
static void
agent_crashed(struct runner *r, struct agent *a, int status)
{
	struct outcome o = {0};
	struct message *m;

	if (a->nwork == 0)
		return;
	m = a->work[0].message;
	m->file.env.crashes++;
	if (a->hung) /* stopped, it may still go on one day */
		outcome_set(&o, OUTCOME_UNCERTAIN, "4.3.0",
		    "the delivery agent gave no answer in time");
	else if (WIFSIGNALED(status))
		outcome_set(&o, OUTCOME_DEFER, "4.3.0",
		    "the delivery agent was ended by signal %d",
		    WTERMSIG(status));
	else
		outcome_set(&o, OUTCOME_DEFER, "4.3.0",
		    "the delivery agent ended with status %d",
		    WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	log_event(LOG_QUEUE, LOG_CRIT, "%s: %s", m->entry->id, o.text);
	work_defer(r, a, &a->work[0], &o);
	work_end(r, a, &a->work[0]);
	while (a->nwork > 0)
		work_return(r, a, &a->work[0]);
}

/* What has to be mended, or NULL. */
static const char *
refusal(int code, const struct hop *h)
{
	if (code == BECOME_CONFIG)
		return DMA_CONFDIR "/dma.conf cannot be read, or others than "
				   "root may change it";
	if (code == BECOME_NO_RIGHTS)
		return "dma-become must be set-user-id root, and its file "
		       "system must allow that";
	if (code != BECOME_NOT_ALLOWED || h->kind == HOP_LOCAL)
		return NULL;
	return h->kind == HOP_ALIAS
		   ? "ALIASUSER is not a user that files and commands of "
		     "aliases can be left to"
		   : "AGENTUSER (" DMA_AGENTUSER ") is not a user that the "
		     "network can be left to";
}

/* It ended before it was of any use: the door's status says why. */
static void
agent_refused(struct runner *r, struct agent *a, int status)
{
	struct outcome o = {0};
	int ended = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	int code = a->ready ? -1 : ended; /* once ready it is the agent's own */
	const char *why;

	if (code == BECOME_NO_USER && a->hop->hop.kind == HOP_LOCAL) {
		outcome_set(&o, OUTCOME_FAIL, "5.1.1", "unknown user: \"%s\"",
		    strchr(a->hop->route, ':') + 1);
		hops_fail(a->hop, &o, 0);
		return;
	}
	if (code == BECOME_LIMITS) {
		log_event(LOG_QUEUE, LOG_WARNING,
		    "resource limits are too "
		    "small to deliver; left to the system's run");
		r->stop = true;
		return;
	}
	if ((why = refusal(code, &a->hop->hop)) != NULL)
		outcome_set(&o, OUTCOME_DEFER, "4.3.5", "%s", why);
	else
		outcome_set(&o, OUTCOME_DEFER, "4.3.0",
		    "the delivery agent %s (status %d)",
		    a->hung    ? "did not start in time"
		    : a->ready ? "ended before its first job"
			       : "did not start",
		    ended);
	log_event(
	    work_ident(a), LOG_ERR, "next hop %s: %s", a->hop->key, o.text);
	if (!hops_carry_on(a->hop, a, false))
		hops_fail(a->hop, &o, RUN_POLL_MAX_MS);
}

/*
 * End of file or a broken protocol: nothing more is heard.  The process may
 * still be ending, or may never end; we do not wait for it.
 */
static void
agent_ended(struct agent *a)
{
	(void)close(a->sock);
	a->sock = -1;
	a->ended_at = now_ms();
	agents_lose_greeting(a);
}

static void
reap_agent(struct runner *r, struct agent *a)
{
	int status = 0;
	pid_t pid = waitpid(a->pid, &status, WNOHANG);

	if (pid == 0 && now_ms() - a->ended_at < REAP_MAX_MS)
		return;
	if (pid <= 0)
		status = 0;
	if (!a->closing && (!a->ready || a->jobs == 0))
		agent_refused(r, a, status);
	else
		agent_crashed(r, a, status);
	if (pid == 0) {
		r->left =
		    xreallocarray(r->left, r->nleft + 1, sizeof(*r->left));
		r->left[r->nleft++] = a->pid;
	}
	free_agent(r, a);
	r->progress = true;
}

/* ---- Polling ---- */

size_t
agents_poll(struct runner *r, struct pollfd *fds, size_t max)
{
	size_t n = 0;

	for (struct agent *a = r->agents; a != NULL && n < max; a = a->next) {
		fds[n].fd = a->sock; /* -1 is ignored by poll(2) */
		fds[n].events = POLLIN;
		fds[n++].revents = 0;
	}
	return n;
}

static void
hear_agent(struct runner *r, struct agent *a)
{
	for (int i = 0; i < RECORDS_AT_ONCE && a->sock >= 0; i++) {
		struct agent_record rec;
		int fd, bad;
		ssize_t n = job_recv(a->sock, r->record, RECORD_MAX, &fd);

		if (fd >= 0)
			(void)close(fd);
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		/* It left a job unread; what it sent before comes after this. */
		if (n < 0 && errno == ECONNRESET)
			continue;
		if (n <= 0 || job_get_agent(&rec, r->record, (size_t)n) != 0) {
			agent_ended(a);
			return;
		}
		bad = work_take_record(r, a, &rec);
		/* Between two jobs, so that a message's end is in it. */
		if (rec.type == RECORD_DONE &&
		    r->turn_results >= TURN_RESULTS_MAX)
			deliver_sync(r);
		agent_record_free(&rec);
		if (bad != 0) {
			log_event(LOG_QUEUE, LOG_CRIT,
			    "a delivery agent broke the protocol");
			agent_ended(a);
		}
	}
}

void
agents_handle(struct runner *r, const struct pollfd *fds, size_t n)
{
	struct agent *a = r->agents;

	for (size_t i = 0; i < n && a != NULL; i++, a = a->next)
		a->readable = fds[i].revents != 0;
	for (a = r->agents; a != NULL; a = a->next)
		if (a->readable && a->sock >= 0) {
			a->readable = false;
			hear_agent(r, a);
		}
}

static bool
may_go(const struct runner *r, const struct agent *a)
{
	if (!a->ready || a->nwork > 0 || a->ended_at != 0)
		return false;
	if (a->closing)
		return true;
	if (!r->stop && (a->rest != NULL || hops_have_work(r, a->hop)))
		return false;
	return r->flush || r->stop || now_ms() - a->idle_since >= LINGER_MS;
}

/*
 * How long an agent may take to be ready, or for one job: it has deadlines of
 * its own, and this is for one that does not keep to them (stopped, traced,
 * or at fault).
 */
static int64_t
time_allowed(const struct runner *r, const struct agent *a)
{
	int64_t ms = AGENT_SLACK_MS;

	if (a->nwork > 0)
		ms += SMTP_SESSION_MS +
		      (int64_t)(a->work[0].message->file.env.length /
				SMTP_DATA_RATE) *
			  1000;
	return ms * r->in->conf->timeouts / 100;
}

static bool
is_overdue(const struct runner *r, const struct agent *a)
{
	return a->ended_at == 0 && (!a->ready || a->nwork > 0) &&
	       now_ms() - a->work_since > time_allowed(r, a);
}

/*
 * Of another user, and so not to be killed, it is left behind: its next word
 * finds nobody, and ends it.
 */
static void
leave_hung(struct runner *r, struct agent *a)
{
	hear_agent(r, a); /* it is we who may have been stopped */
	if (!is_overdue(r, a))
		return;
	log_event(LOG_QUEUE, LOG_CRIT, "next hop %s: agent %ld hangs",
	    a->hop->key, (long)a->pid);
	a->hung = true;
	(void)kill(a->pid, SIGKILL);
	agent_ended(a);
}

void
agents_tidy(struct runner *r)
{
	struct agent *next;

	for (size_t i = r->nleft; i-- > 0;)
		if (waitpid(r->left[i], NULL, WNOHANG) != 0)
			r->left[i] = r->left[--r->nleft];
	for (struct agent *a = r->agents; a != NULL; a = next) {
		next = a->next;
		if (is_overdue(r, a))
			leave_hung(r, a);
		if (a->ended_at != 0) {
			reap_agent(r, a);
		} else if (may_go(r, a)) {
			/* End of file tells it to say QUIT and exit. */
			a->closing = true;
			agent_ended(a);
		}
	}
}

int64_t
agents_timeout(const struct runner *r)
{
	int64_t timeout = -1, now = now_ms();

	for (const struct agent *a = r->agents; a != NULL; a = a->next) {
		int64_t t = -1;

		if (a->ended_at != 0)
			t = REAP_MS;
		else if (a->ready && a->nwork == 0)
			t = a->idle_since + LINGER_MS - now;
		else
			t = a->work_since + time_allowed(r, a) - now + 1;
		if (t >= 0 && (timeout < 0 || t < timeout))
			timeout = t;
	}
	return timeout;
}

bool
agents_busy(const struct runner *r)
{
	for (const struct agent *a = r->agents; a != NULL; a = a->next)
		if (a->nwork > 0)
			return true;
	return false;
}

void
agents_close_all(struct runner *r)
{
	while (r->agents != NULL) {
		/* What never started would not hear that we have gone. */
		if (!r->agents->ready)
			(void)kill(r->agents->pid, SIGKILL);
		free_agent(r, r->agents);
	}
}
