/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local.c - the agent for mail that stays on this machine.
 *
 * Runs in:   dma-local, as the recipient, USER for root's mail, or ALIASUSER;
 *            in a private instance as its user.
 * Trusts:    its arguments, which dma-become read from root's configuration.
 *            Distrusts: its job, the message.
 * Promises:  each job has exactly one outcome, and it is SENT only when all
 *            that it meant was done.
 */
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sysexits.h>
#include <unistd.h>

#include "local_parts.h"
#include "process.h"
#include "util.h"

/* The agent around it. */
struct agent {
	struct local local;
	int64_t idle_ms; /* how long the runner may yet be silent, in all */
	struct buf out;
	char record[RECORD_MAX];
};

int
local_defer(struct outcome *o, const char *dsn, const char *what, int error)
{
	outcome_set(o, OUTCOME_DEFER, dsn, "%s%s%s", what,
	    error != 0 ? ": " : "", error != 0 ? strerror(error) : "");
	return -1;
}

bool
local_is_awaited(const struct delivery *d)
{
	if (!job_abandoned(JOB_FD))
		return true;
	local_defer(d->outcome, "4.3.0", "the runner has gone", 0);
	return false;
}

void
local_sent(struct outcome *o, const char *what, const char *name)
{
	char *before = xstrdup(o->text);

	outcome_set(o, OUTCOME_SENT, "2.0.0", "%s%sdelivered to %s%s%.200s",
	    before, before[0] != '\0' ? "; " : "", what,
	    name[0] != '\0' ? " " : "", name);
	o->notice = NOTICE_DELIVERED;
	free(before);
}

/* ---- One job ---- */

/*
 * What is behind the '+' may become the name of a file: in small letters,
 * since a name of ours is the same in any case, or not at all.
 */
static void
take_extension(struct delivery *d, const char *extension)
{
	size_t n;

	if (extension == NULL || strlen(extension) > EXTENSION_MAX ||
	    extension[0] == '.')
		return;
	for (n = 0; extension[n] != '\0'; n++) {
		int c = ascii_lower((unsigned char)extension[n]);

		if (!ascii_isalnum(c) && strchr("-_.=+", c) == NULL)
			break;
		d->extension[n] = (char)c;
	}
	if (extension[n] != '\0')
		d->extension[0] = '\0';
}

static void
deliver(struct local *l, const struct job *j, struct outcome *o)
{
	const struct job_recipient *to = &j->recipients[0];
	struct delivery d = {.local = l, .job = j, .to = to, .outcome = o};
	char name[ADDR_MAX + 1] = "";
	const char *extension = NULL, *why;
	struct addr a;
	struct stat st;

	if (j->fd < 0 || fstat(j->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		local_defer(o, "4.3.0", "the job came without its message", 0);
		return;
	}
	if (to->addr != NULL && addr_parse(&a, to->addr, false, &why) == 0)
		(void)addr_user(&a, name, sizeof(name), &extension);
	take_extension(&d, extension);
	d.deadline = now_ms() + (int64_t)DELIVERY_MS * l->timeouts / 100;
	d.address =
	    xasprintf("%s%s%s@%s", l->role == LOCAL_ALIAS ? name : l->user,
		extension != NULL ? "+" : "",
		extension != NULL ? extension : "", l->host);
	/* As Delivered-To will have it, by which a loop is known. */
	for (char *p = d.address; *p != '\0'; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			*p = '_';
	if (l->role == LOCAL_ALIAS)
		forward_deliver_alias(&d);
	else
		forward_deliver(&d);
	free(d.address);
}

/* ---- The runner ---- */

/* Send what an encoder has put; a runner that is gone needs no answer. */
static void
send_record(struct agent *a, int encoded)
{
	if (encoded != 0 || job_send(JOB_FD, a->out.data, a->out.len, -1) < 0)
		exit(EX_IOERR);
	buf_reset(&a->out);
}

static void
do_job(struct agent *a, const struct job *j)
{
	struct outcome o = {0}, other = {0};
	int64_t begun = now_ms();

	deliver(&a->local, j, &o);
	o.ms_transfer = (uint32_t)(now_ms() - begun);
	(void)compat_strlcpy(o.relay, "local", sizeof(o.relay));
	send_record(
	    a, job_put_result(&a->out, j->number, j->recipients[0].number, &o));
	local_defer(
	    &other, "4.3.0", "a mailbox takes one recipient at a time", 0);
	for (size_t i = 1; i < j->nrecipients; i++)
		send_record(a, job_put_result(&a->out, j->number,
				   j->recipients[i].number, &other));
	send_record(a, job_put_done(&a->out, j->number));
}

/* Wait for the runner, of whose time for silence this takes. */
static void
wait_for_record(struct agent *a)
{
	struct pollfd p = {.fd = JOB_FD, .events = POLLIN};

	while (a->idle_ms > 0) {
		int64_t begun = now_ms();
		int ready = poll(&p, 1, (int)a->idle_ms);

		a->idle_ms -= now_ms() - begun;
		if (ready > 0)
			return;
	}
	/*
	 * From now on the runner's sends fail, so that it knows what was not
	 * tried, and what it had sent before is still done.
	 */
	(void)shutdown(JOB_FD, SHUT_RD);
}

/* The next record's length, 0 when there are no more. */
static size_t
next_record(struct agent *a, int *fd)
{
	ssize_t n;

	wait_for_record(a);
	n = job_recv(JOB_FD, a->record, sizeof(a->record), fd);
	if (n < 0)
		exit(EX_IOERR);
	return (size_t)n;
}

/* The policy of this agent: it must be for our user. */
static void
take_hop(struct agent *a)
{
	struct local *l = &a->local;
	bool alias = l->role == LOCAL_ALIAS;
	struct hop hop;
	size_t n;
	int fd;

	if ((n = next_record(a, &fd)) == 0)
		exit(EX_OK);
	if (fd >= 0 || job_get_hop(&hop, a->record, n) < 0)
		exit(EX_PROTOCOL);
	if (hop.kind != (alias ? HOP_ALIAS : HOP_LOCAL) ||
	    (!alias && ascii_strcasecmp(hop.host, l->user) != 0))
		exit(EX_PROTOCOL);
	l->timeouts = hop.timeouts;
	l->wait_ms = (int64_t)MBOX_LOCK_MS * hop.timeouts / 100;
	l->host = xstrdup(hop.helo);
	hop_free(&hop);
}

/*
 * Jobs until the runner has no more.  Somebody who stops the service does
 * not stop us between the first byte and its record.
 */
static void
do_jobs(struct agent *a)
{
	struct job j;
	sigset_t polite;
	size_t n;
	int fd;

	(void)sigemptyset(&polite);
	(void)sigaddset(&polite, SIGHUP);
	(void)sigaddset(&polite, SIGINT);
	(void)sigaddset(&polite, SIGTERM);
	while ((n = next_record(a, &fd)) > 0) {
		if (job_get_job(&j, a->record, n) < 0)
			exit(EX_PROTOCOL);
		j.fd = fd;
		(void)sigprocmask(SIG_BLOCK, &polite, NULL);
		do_job(a, &j);
		mbox_give_way(&a->local);
		(void)sigprocmask(SIG_UNBLOCK, &polite, NULL);
		job_free(&j);
	}
}

/* Blocking, whatever the runner's side is, but never for ever. */
static int
prepare_socket(void)
{
	const struct timeval idle = {MBOX_IDLE_MS / 1000, 0};
	const socklen_t len = sizeof(idle);
	int flags = fcntl(JOB_FD, F_GETFL);

	if (flags < 0 || fcntl(JOB_FD, F_SETFL, flags & ~O_NONBLOCK) < 0 ||
	    setsockopt(JOB_FD, SOL_SOCKET, SO_RCVTIMEO, &idle, len) < 0)
		return -1;
	return setsockopt(JOB_FD, SOL_SOCKET, SO_SNDTIMEO, &idle, len);
}

/* What dma-become, or a private instance's runner, says that we are. */
static int
take_arguments(struct local *l, int argc, char **argv)
{
	static const struct {
		const char *word;
		enum local_role role;
		int least, most;
	} roles[] = {
	    {"--root", LOCAL_ROOT, 3, 3},
	    {"--user", LOCAL_USER, 3, 4},
	    {"--alias", LOCAL_ALIAS, 4, 4},
	};

	for (size_t i = 0; argc > 2 && i < ARRAY_LEN(roles); i++) {
		if (strcmp(argv[1], roles[i].word) != 0)
			continue;
		l->role = roles[i].role;
		l->user = argv[2];
		*(l->role == LOCAL_ALIAS ? &l->aliases : &l->mailbox) =
		    argc > 3 ? argv[3] : NULL;
		return argc < roles[i].least || argc > roles[i].most ? -1 : 0;
	}
	if (argc != 3)
		return -1;
	l->role = LOCAL_PRIVATE;
	l->user = argv[1];
	l->mailbox = argv[2];
	return 0;
}

/* Before the arguments are looked at: only dma-become has a lock to give. */
static bool
has_door(int argc, char **argv)
{
	return argc > 1 && argv[1][0] == '-';
}

int
main(int argc, char **argv)
{
	struct agent *a;

	process_enter(has_door(argc, argv) ? LOCK_FD + 1 : JOB_FD + 1, NULL);
	util_set_name("dma-local");
	a = xcalloc(1, sizeof(*a));
	if (take_arguments(&a->local, argc, argv) < 0 ||
	    strchr(a->local.user, '/') != NULL)
		die(EX_USAGE, "started by dma only: USER MAILBOX");
	if (prepare_socket() < 0)
		die(EX_USAGE, "started by dma only, with a job");
	a->idle_ms = MBOX_IDLE_MS;
	forward_prepare(&a->local);
	send_record(a, job_put_signal(&a->out, RECORD_READY));
	take_hop(a);
	do_jobs(a);
	mbox_release(&a->local);
	buf_free(&a->out);
	aliases_free(&a->local.table);
	conf_free(a->local.conf);
	free(a->local.home);
	free(a->local.host);
	free(a);
	return EX_OK;
}
