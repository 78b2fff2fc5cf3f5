/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * agent.c - main of dma-smtp: jobs in, sessions with one next hop, results out.
 *
 * Runs in:   dma-smtp, as AGENTUSER (in a private instance the user).
 * Trusts:    the runner at JOB_FD. Distrusts: the network.
 * Promises:  the sandbox is closed before anything of the network is read;
 *            a result is sent before anything else is read or waited for; a
 *            job is answered with DONE, or the whole hop with HOP_FAILED.
 */
#include "job.h"

#include <sys/socket.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "crypto.h"
#include "process.h"
#include "sandbox.h"
#include "smtp.h"
#include "targets.h"
#include "util.h"

/*
 * Whoever closes an unlinked file last pays for freeing it.  Small messages
 * are let go of some jobs later, so that it is not the runner, which has more
 * to do than its agents.
 */
#define KEPT       (2 * JOBS_PER_AGENT)
#define KEPT_BYTES (64 * 1024)

struct agent {
	struct hop hop;
	struct targets targets;
	struct smtp_callbacks cb;
	struct smtp_session *session; /* with target number `current` */
	size_t current;
	struct smtp_task *in_hand; /* the next task, taken early */
	int kept[KEPT];            /* descriptors of the last messages */
	unsigned nkept;            /* how many there were */
	bool ended;                /* the runner closed its end */
	struct buf out;
	char *packet; /* RECORD_MAX bytes */
};

/* One task's way through the addresses, from the one in use round to it. */
struct pass {
	size_t first, tried;
	bool heard[MX_ADDRESSES_MAX];  /* this one was told of the task */
	bool missed[MX_ADDRESSES_MAX]; /* with this one there is no session */
	bool failed;
	struct smtp_failure worst;
};

/* ---- Records ---- */

/* Send what is in a->out.  Without a runner there is nothing to live for. */
static void
send_record(struct agent *a, int put)
{
	struct pollfd p = {.fd = JOB_FD, .events = POLLOUT};

	if (put == -1)
		die(EX_SOFTWARE, "a record is too large");
	while (job_send(JOB_FD, a->out.data, a->out.len, -1) == -1) {
		if (errno != EAGAIN && errno != ENOBUFS)
			die(EX_UNAVAILABLE, "the queue runner is gone");
		(void)poll(&p, 1, RUN_POLL_MAX_MS);
	}
	buf_reset(&a->out);
}

/* Nobody would write it down, and the next runner sends it again. */
static void
on_committing(void *arg)
{
	(void)arg;
	if (job_abandoned(JOB_FD))
		die(EX_UNAVAILABLE, "the queue runner is gone");
}

static void
on_result(
    void *arg, const struct job *j, size_t recipient, const struct outcome *o)
{
	struct agent *a = arg;

	send_record(a, job_put_result(&a->out, j->number,
			   j->recipients[recipient].number, o));
}

static void
on_greeted(void *arg)
{
	struct agent *a = arg;

	send_record(a, job_put_signal(&a->out, RECORD_GREETED));
}

static void
on_trace(void *arg, const char *line)
{
	struct agent *a = arg;

	/* Nobody is left to read how the last QUIT goes. */
	if (!a->ended)
		send_record(a, job_put_trace(&a->out, line));
}

/* One packet of the wanted type, or 0 at the end of file. */
static size_t
receive(struct agent *a, enum record_type type, int *fd)
{
	ssize_t n = job_recv(JOB_FD, a->packet, RECORD_MAX, fd);

	if (n == 0 || (n == -1 && errno == ECONNRESET))
		return 0;
	if (n == -1)
		die(EX_OSERR, "cannot receive a job: %s", strerror(errno));
	if (job_record_type(a->packet, (size_t)n) != type)
		die(EX_PROTOCOL, "the runner sent something unexpected");
	return (size_t)n;
}

static struct smtp_task *
receive_task(struct agent *a)
{
	struct job job;
	int fd = -1;
	size_t n = receive(a, RECORD_JOB, &fd);

	if (n == 0) {
		a->ended = true;
		return NULL;
	}
	if (fd == -1 || job_get_job(&job, a->packet, n) == -1)
		die(EX_PROTOCOL, "the runner sent a job that makes no sense");
	job.fd = fd;
	return smtp_task_new(&job);
}

/* The next task if it has come already. */
static struct smtp_task *
on_next(void *arg)
{
	struct agent *a = arg;
	struct pollfd p = {.fd = JOB_FD, .events = POLLIN};

	if (a->in_hand == NULL && !a->ended && poll(&p, 1, 0) == 1)
		a->in_hand = receive_task(a);
	return a->in_hand;
}

static void
drop_session(struct agent *a)
{
	smtp_close(a->session);
	a->session = NULL;
}

/* Wait for a task, and watch the idle connection meanwhile. */
static struct smtp_task *
wait_for_task(struct agent *a)
{
	struct smtp_task *t = a->in_hand;

	a->in_hand = NULL;
	while (t == NULL && !a->ended) {
		struct pollfd p[2] = {{.fd = JOB_FD, .events = POLLIN},
		    {.fd = -1, .events = POLLIN}};
		if (a->session != NULL)
			p[1].fd = smtp_fd(a->session);
		if (poll(p, 2, -1) == -1)
			continue; /* EINTR */
		if (p[0].revents != 0)
			t = receive_task(a);
		else if (a->session != NULL && smtp_idle_ended(a->session))
			drop_session(a);
	}
	return t;
}

/* ---- Addresses ---- */

static const struct smtp_target *
pass_target(struct agent *a, const struct pass *p, size_t *index)
{
	const struct smtp_target *t;

	if (p->tried >= MX_ADDRESSES_MAX)
		return NULL;
	*index = p->first + p->tried;
	t = targets_get(&a->targets, *index);
	/* Behind the last come those before the first of this pass. */
	if (t == NULL && p->tried < a->targets.count) {
		*index -= a->targets.count;
		t = targets_get(&a->targets, *index);
	}
	return t;
}

/* Of several reasons the runner is told the one that matters most to it. */
static void
note_failure(struct pass *p, const struct smtp_failure *f)
{
	static const int weight[] = {[HOP_UNREACHABLE] = 0,
	    [HOP_REFUSED] = 1,
	    [HOP_BUSY] = 2,
	    [HOP_AUTH] = 3};

	if (!p->failed || weight[f->kind] >= weight[p->worst.kind])
		p->worst = *f;
	p->failed = true;
}

/* Open a session with the first address of the pass that lets us. */
static bool
connect_next(struct agent *a, struct smtp_task *t, struct pass *p)
{
	const struct smtp_target *target;
	struct smtp_failure f;
	size_t index;

	while (now_ms() < t->deadline &&
	       (target = pass_target(a, p, &index)) != NULL) {
		memset(&f, 0, sizeof(f));
		a->session =
		    smtp_open(&a->hop, target, &a->cb, t->deadline, &f);
		if (a->session != NULL) {
			a->current = index;
			return true;
		}
		note_failure(p, &f);
		p->missed[index] = true;
		if (f.stop)
			return false;
		p->tried++;
	}
	return false;
}

/*
 * True if sockets are forbidden to us, rather than the network down.  That one
 * address cannot be had (no IPv6 here, a route that is prohibited) is that
 * address's affair: it must not stop the mail for all others.
 */
static bool
is_network_denied(const struct agent *a)
{
	const int families[] = {AF_INET, AF_INET6};

	if (a->hop.host[0] == '/')
		return false;
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd >= 0)
			(void)close(fd);
		if (fd >= 0 || (errno != EACCES && errno != EPERM &&
				   errno != EAFNOSUPPORT))
			return false;
	}
	return true;
}

/* No address was found for now, or the task's time was over. */
static void
explain_no_address(struct agent *a, struct pass *p)
{
	p->worst.kind = HOP_UNREACHABLE;
	p->worst.outcome = a->targets.why;
	if (p->worst.outcome.text[0] == '\0')
		outcome_set(&p->worst.outcome, OUTCOME_DEFER, "4.4.1",
		    "%s: no answer in time", a->hop.host);
}

static NORETURN void
leave(struct agent *a)
{
	drop_session(a);
	hop_free(&a->hop);
	exit(EX_OK);
}

/* The hop as a whole: tell the runner and end. */
static NORETURN void
fail_hop(struct agent *a, struct pass *p)
{
	if (!p->failed)
		explain_no_address(a, p);
	if (p->worst.kind == HOP_UNREACHABLE && is_network_denied(a))
		p->worst.kind = HOP_NO_NETWORK;
	send_record(
	    a, job_put_hop_failed(&a->out, p->worst.kind, &p->worst.outcome));
	leave(a);
}

/* Some address of that name was told of the task. */
static bool
is_heard(const struct agent *a, const struct pass *p, const char *name)
{
	for (size_t i = 0; i < a->targets.count; i++)
		if (p->heard[i] && strcmp(a->targets.list[i].name, name) == 0)
			return true;
	return false;
}

/* Why a server was not asked, that is none of those that were; or NULL. */
static const struct outcome *
find_doubt(const struct agent *a, const struct pass *p)
{
	const struct targets *t = &a->targets;

	for (size_t i = 0; i < t->count; i++)
		if (p->missed[i] && !is_heard(a, p, t->list[i].name))
			return &p->worst.outcome;
	return t->why.text[0] != '\0' && t->why.class == OUTCOME_DEFER ? &t->why
								       : NULL;
}

/*
 * One server's "no" that another need not share (too large, no SMTPUTF8)
 * fails nobody while there is one that was not asked.
 */
static void
note_doubt(const struct agent *a, struct smtp_task *t, const struct pass *p)
{
	const struct outcome *o = find_doubt(a, p);

	if (o == NULL)
		return;
	for (size_t i = 0; i < t->job.nrecipients; i++)
		if (t->recipients[i].state != RCPT_SETTLED &&
		    t->recipients[i].outcome.class == OUTCOME_FAIL)
			smtp_task_note(t, i, o);
}

/* No address is left for the task. */
static void
give_up(struct agent *a, struct smtp_task *t, struct pass *p)
{
	const struct outcome *why = &a->targets.why;
	bool certain = a->targets.count == 0 && why->class == OUTCOME_FAIL;

	if (!certain && (!t->heard || p->worst.stop))
		fail_hop(a, p);
	for (size_t i = 0; certain && i < t->job.nrecipients; i++)
		smtp_task_note(t, i, why);
	note_doubt(a, t, p);
	smtp_task_finish(t, &a->cb);
	a->current = 0;
}

/* ---- One task ---- */

/* The server will not have it.  Is another one to be asked? */
static void
go_on_elsewhere(struct agent *a, struct smtp_task *t, struct pass *p)
{
	size_t index;

	p->tried++;
	p->heard[a->current] = true;
	/* A session that works for other mail is not closed for nothing. */
	if (smtp_usable(a->session) && pass_target(a, p, &index) == NULL) {
		note_doubt(a, t, p);
		smtp_task_finish(t, &a->cb);
	} else
		drop_session(a);
}

static void
deliver(struct agent *a, struct smtp_task *t)
{
	struct pass p = {.first = a->current};

	smtp_task_start(t, &a->hop);
	a->targets.deadline = t->deadline;
	while (smtp_task_open(t)) {
		if (a->session == NULL && !connect_next(a, t, &p)) {
			give_up(a, t, &p);
			break;
		}
		switch (smtp_send(a->session, t)) {
		case SMTP_SETTLED:
			break;
		case SMTP_RECONNECT:
			drop_session(a);
			break;
		case SMTP_NEXT:
			go_on_elsewhere(a, t, &p);
			break;
		}
	}
	send_record(a, job_put_done(&a->out, t->job.number));
	if (a->session != NULL && !smtp_usable(a->session))
		drop_session(a);
}

static void
end_task(struct agent *a, struct smtp_task *t)
{
	int *place = &a->kept[a->nkept % KEPT];

	if (t->job.length <= KEPT_BYTES) {
		if (a->nkept++ >= KEPT)
			(void)close(*place);
		*place = t->job.fd;
		t->job.fd = -1;
	}
	smtp_task_free(t);
}

static void
receive_hop(struct agent *a)
{
	int fd = -1;
	size_t n = receive(a, RECORD_HOP, &fd);

	if (fd != -1)
		(void)close(fd);
	if (n == 0)
		exit(EX_OK); /* the runner needs us no more */
	if (job_get_hop(&a->hop, a->packet, n) == -1)
		die(EX_PROTOCOL, "the runner sent a hop that makes no sense");
	/* The credential lives in a->hop alone. */
	compat_explicit_bzero(a->packet, n);
	targets_init(&a->targets, &a->hop);
	if (a->hop.trace) {
		a->cb.trace = on_trace;
		/* Who replays it knows no chance: one message at a time. */
		a->cb.next = NULL;
	}
}

/* What is to come is the network's: keep what this hop needs alone. */
static void
enter_sandbox(struct agent *a)
{
	const char *path = a->hop.host[0] == '/' ? a->hop.host : NULL;
	const struct sandbox_needs needs = {.port = targets_port(&a->hop),
	    .socket_path = path,
	    .ca_file = crypto_ca_file(),
	    .ca_dir = crypto_ca_dir()};
	struct pass p = {.failed = true, .worst.kind = HOP_UNREACHABLE};

	crypto_prepare();
	if (sandbox_enter(&needs) == 0)
		return;
	outcome_set(&p.worst.outcome, OUTCOME_DEFER, "4.3.0",
	    "cannot enter the sandbox: %s", strerror(errno));
	fail_hop(a, &p);
}

/* For dma --version. */
static int
print_version(void)
{
	char sandbox[SANDBOX_TEXT_MAX];

	sandbox_describe(sandbox, sizeof(sandbox));
	printf("TLS: %s\n"
	       "sandbox: %s\n",
	    crypto_version(), sandbox);
	return fflush(stdout) == 0 ? EX_OK : EX_IOERR;
}

int
main(int argc, char **argv)
{
	struct agent *a;
	struct smtp_task *t;

	process_enter(JOB_FD + 1, NULL);
	util_set_name("dma-smtp");
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return print_version();
	a = xcalloc(1, sizeof(*a));
	a->packet = xmalloc(RECORD_MAX);
	a->cb.arg = a;
	a->cb.result = on_result;
	a->cb.next = on_next;
	a->cb.greeted = on_greeted;
	a->cb.committing = on_committing;
	if (job_put_signal(&a->out, RECORD_READY) == -1 ||
	    job_send(JOB_FD, a->out.data, a->out.len, -1) == -1) {
		if (errno == EPIPE || errno == ECONNRESET)
			exit(EX_OK); /* the runner was done before we began */
		die(EX_USAGE, "dma starts this program; it is not for people");
	}
	buf_reset(&a->out);
	receive_hop(a);
	enter_sandbox(a);
	while ((t = wait_for_task(a)) != NULL) {
		deliver(a, t);
		end_task(a, t);
	}
	leave(a);
}
