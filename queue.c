/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * queue.c - the runner: which messages there are, when each is due; the loop.
 *
 * Runs in:   dma; detached after a submission, or in the foreground for -q.
 * Trusts:    spool.c. Distrusts: what comes out of the wake FIFO.
 * Promises:  one runner a uid and spool; it never blocks on the network,
 *            never holds a message it does not work on, ends when nothing of
 *            its uid is left, and none that came meanwhile is stranded (R1-R6,
 *            S1-S2 of ARCHITECTURE.md).
 */
#include "queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "import.h"
#include "instance.h"
#include "log.h"
#include "process.h"
#include "runner.h"
#include "util.h"

#define CLASSIFY_AT_ONCE  64 /* due entries, between two polls */
#define OPEN_MAX_MESSAGES 1000
#define OPEN_RESERVE      100 /* descriptors that are no messages */

/* ---- What is there, and what is due ---- */

/*
 * Only what is new is looked at: what we know is waiting, at work, or was
 * found to be none of ours.
 */
static int
scan_one(void *arg, const char *id)
{
	struct runner *r = arg;
	struct entry *e;
	bool is_new;

	if (r->only != NULL && !select_id(r->only, id))
		return 0;
	e = entries_get(r, id, &is_new);
	e->seen = r->scans;
	if (is_new || e->state == ENTRY_GONE)
		entries_set_state(r, e, ENTRY_DUE);
	return 0;
}

static void
scan(struct runner *r)
{
	r->scans++;
	if (spool_scan(&r->in->spool, scan_one, r) != 0)
		log_event(LOG_QUEUE, LOG_ERR, "cannot list the spool: %s",
		    strerror(errno));
	else
		entries_miss(r);
}

/*
 * A time too far ahead was written by a clock that was wrong: now.  A notice
 * may have been put off for longer than any message waits.
 */
static int64_t
sane_next_try(
    const struct runner *r, const struct entry *e, int64_t next, int64_t now)
{
	const struct conf *c = r->in->conf;
	int64_t longest = 0;

	for (size_t i = 0; i < c->nretry; i++)
		if (c->retry[i] > longest)
			longest = c->retry[i];
	if (longest < NOTICES_WAIT_MAX && strlen(e->id) > QUEUE_ID_LEN)
		longest = NOTICES_WAIT_MAX;
	return next > now + longest + longest / 5 + 30 * 60 ? now : next;
}

/* True if the entry is to be tried now; else its state is set. */
static bool
judge(struct runner *r, struct entry *e, const struct envelope *state)
{
	int64_t now = time(NULL);

	if (state->hold) {
		entries_set_state(r, e, ENTRY_OVER);
		return false;
	}
	e->alone = state->crashes >= AGENT_CRASHES_MAX;
	e->next_try = sane_next_try(r, e, state->next_try, now);
	if (r->flush || e->next_try <= now)
		return true;
	entries_set_state(r, e, ENTRY_WAITING);
	return false;
}

/* The same for one that could not be read, from errno. */
static bool
judge_unread(struct runner *r, struct entry *e)
{
	/* What does not decode is quarantined when it is opened and locked. */
	if (errno == EBADMSG)
		return true;
	e->next_try = time(NULL) + 60;
	entries_set_state(
	    r, e, entries_shortage(errno) ? ENTRY_WAITING : ENTRY_OVER);
	return false;
}

static bool
is_due(struct runner *r, struct entry *e)
{
	struct envelope state;
	uid_t owner;

	if (spool_peek(&r->in->spool, e->id, &state, &owner) != 0)
		return judge_unread(r, e);
	return judge(r, e, &state);
}

/* Stand in the queue of each next hop of the open recipients, once. */
static void
enqueue(struct runner *r, struct entry *e, const struct envelope *env)
{
	struct next_hop *last = NULL;
	char key[ROUTE_KEY_MAX + 1];

	for (size_t i = 0; i < env->nrecipients; i++) {
		const struct recipient *to = &env->recipients[i];
		struct next_hop *h;

		if (!recipient_open(to))
			continue;
		route_key(r->in->conf, &to->addr, to->target, key);
		h = hops_get(r, key, e->alone ? e : NULL);
		/* A second item of one hop finds nothing left: harmless. */
		if (h != last)
			hops_enqueue(r, h, e);
		last = h;
	}
}

/*
 * Everything is settled already, or only a notice is owed: what a crash
 * left.  Opening it settles the notice; its pass ends at once.
 */
static void
finish_settled(struct runner *r, struct entry *e)
{
	struct message *m = deliver_open(r, e);

	if (m != NULL)
		deliver_release(r, m);
}

/* Limits are asked for once a size, not once a message. */
static bool
may_deliver(struct runner *r, uint64_t size, const char **why)
{
	if (size < r->able)
		return true;
	if (!process_may_deliver((off_t)size, !r->in->private_instance, why))
		return false;
	r->able = size + 1;
	return true;
}

static void
classify_open(struct runner *r, struct entry *e, const struct spool_file *f)
{
	const char *why = NULL;

	if (r->only != NULL && !select_matches(r->only, &f->env, time(NULL))) {
		entries_set_state(r, e, ENTRY_OVER);
		return;
	}
	entries_set_state(r, e, ENTRY_QUEUED);
	/* Opening it fails what is open. */
	if (f->env.next_try == NEXT_TRY_EXPIRE)
		return;
	if (may_deliver(r, f->size, &why)) {
		enqueue(r, e, &f->env);
		return;
	}
	log_event(LOG_QUEUE, LOG_WARNING, "%s: left to the system's run: %s",
	    e->id, why);
	entries_set_state(r, e, ENTRY_OVER);
}

/*
 * Opened once for both questions: is it due, and where does it go.  Of what
 * is not due, which may be all of a long queue, only the state is read.
 */
static void
classify(struct runner *r, struct entry *e)
{
	const struct spool *s = &r->in->spool;
	struct envelope state;
	struct spool_file f;

	if (spool_file_look(s, e->id, &state, &f) == 0) {
		if (!judge(r, e, &state)) {
			spool_file_close(&f);
			return;
		}
		(void)spool_file_load(s, e->id, &f);
	}
	if (f.fd != -1) {
		classify_open(r, e, &f);
		spool_file_close(&f);
	} else if (judge_unread(r, e)) {
		/* Whether it was meant nobody can say. */
		entries_set_state(
		    r, e, r->only == NULL ? ENTRY_QUEUED : ENTRY_OVER);
	}
	if (e->state == ENTRY_QUEUED && e->items == 0)
		finish_settled(r, e);
}

/*
 * True if the next due one may stand in line: in memory, of which a user could
 * have any amount for little room in the spool.  Root's come first.
 */
static bool
may_classify(const struct runner *r)
{
	return r->due_first != NULL &&
	       ((r->items < ITEMS_MAX && r->nhops < NEXT_HOPS_MAX) ||
		   (r->in->all && r->due_first->own));
}

static void
classify_due(struct runner *r)
{
	/* At the last, what is known of servers that failed goes too. */
	if (r->nhops >= r->hops_most)
		hops_forget(r, r->nhops >= NEXT_HOPS_MAX);
	for (int i = 0; i < CLASSIFY_AT_ONCE && may_classify(r); i++) {
		struct entry *e = r->due_first;

		r->due_first = e->next;
		if (r->due_first == NULL)
			r->due_last = NULL;
		e->next = NULL;
		classify(r, e);
	}
}

/* ---- The loop ---- */

/*
 * The configuration may have been mended since we began: a runner can be
 * days old.  Only while nothing is under way: hops were made from the old.
 */
static void
reload(struct runner *r)
{
	struct conf_error error;
	struct conf *c;

	if (r->flush || r->nagents > 0 || r->queued > 0 || r->due_first != NULL)
		return;
	c = conf_load(r->in->conf_path, r->in->private_instance, &error);
	if (c == NULL) {
		log_event(LOG_QUEUE, LOG_ERR, "%s; the queue is left alone",
		    error.text);
		r->stop = true;
		return;
	}
	/* A mended password or relay is tried at once. */
	hops_forget(r, c->sum != r->in->conf->sum);
	conf_free(r->in->conf);
	r->in->conf = c;
}

static void
wake_what_is_due(struct runner *r)
{
	int64_t now = time(NULL);
	/* A clock that was set back: what is due is asked of the files. */
	bool set_back = now < r->clock;

	r->clock = now;
	if (r->waiting > 0 && !r->flush && (set_back || r->next_due <= now)) {
		reload(r);
		entries_wake(r, ENTRY_WAITING, set_back ? INT64_MAX : now);
	}
	if (r->busy > 0 && now_ms() >= r->busy_again) {
		r->busy_again = 0;
		entries_wake(r, ENTRY_BUSY, now);
	}
}

static bool
nothing_left(const struct runner *r)
{
	if (r->due_first != NULL || r->queued > 0 || r->unwritten > 0)
		return false;
	if (r->flush)
		return r->busy == 0 || now_ms() >= r->give_up;
	if (r->due_only)
		return r->nagents == 0;
	return r->waiting == 0 && r->busy == 0 && r->nagents == 0;
}

/* A run that has to stop still hears what its agents have done. */
static bool
finished(const struct runner *r)
{
	if (r->stop)
		return !agents_busy(r) && r->unwritten == 0;
	return nothing_left(r);
}

static void
lower(int64_t *timeout, int64_t t)
{
	if (t < 0)
		t = 0;
	if (t < *timeout)
		*timeout = t;
}

static int64_t
poll_timeout(const struct runner *r)
{
	int64_t timeout = RUN_POLL_MAX_MS, agents = agents_timeout(r);

	if (r->progress || (may_classify(r) && !r->stop))
		return 0;
	if (agents >= 0)
		lower(&timeout, agents);
	if (r->unwritten > 0)
		lower(&timeout, r->unwritten_again - now_ms());
	if (r->dirty || r->turn_results > 0)
		lower(&timeout, r->turn_began + TURN_MS_MAX - now_ms());
	if (r->stop)
		return timeout;
	if (r->waiting > 0 && !r->flush)
		lower(&timeout, (r->next_due - time(NULL)) * 1000);
	if (r->busy > 0)
		lower(&timeout, r->busy_again - now_ms());
	for (int own = 0; own < 2; own++)
		if (r->slots_again[own] > now_ms())
			lower(&timeout, r->slots_again[own] - now_ms());
	return timeout;
}

static void
read_wakes(struct runner *r)
{
	char id[QUEUE_ID_MAX + 1];
	bool overrun = false, look = false;

	reload(r);
	while (spool_wake_read(r->wake, id, &overrun) == 1) {
		if (id[0] != '\0')
			entries_add(r, id);
		else
			look = true;
	}
	if (overrun) { /* of new ones, and of known ones that were changed */
		entries_wake(r, ENTRY_WAITING, INT64_MAX);
		entries_wake(r, ENTRY_OVER, INT64_MAX);
	}
	if (overrun || look)
		scan(r);
}

/*
 * One fsync for a turn: it ends when it is full or old.  Not in the first
 * silence: those who submit meanwhile wait for the same journal.
 */
static void
end_turn(struct runner *r)
{
	if (!r->dirty && r->turn_results == 0)
		return;
	if (r->turn_results >= TURN_RESULTS_MAX ||
	    now_ms() - r->turn_began >= TURN_MS_MAX)
		deliver_sync(r);
}

static void
wait_and_hear(struct runner *r)
{
	struct pollfd fds[AGENTS_MAX + 2];
	int timeout, ready;
	size_t n = 1;

	end_turn(r);
	timeout = (int)poll_timeout(r);
	fds[0] = (struct pollfd){.fd = r->wake, .events = POLLIN};
	n += agents_poll(r, fds + 1, AGENTS_MAX + 1);
	r->progress = false;
	ready = poll(fds, (nfds_t)n, timeout);
	if (ready == 0 && timeout == RUN_POLL_MAX_MS && !r->flush)
		scan(r); /* -q or dmactl may have emptied the queue */
	if (ready <= 0)
		return;
	agents_handle(r, fds + 1, n - 1);
	if (r->wake >= 0 && fds[0].revents != 0)
		read_wakes(r);
}

static void
work(struct runner *r)
{
	while (!finished(r)) {
		progress_show(r, false);
		if (!r->stop) {
			wake_what_is_due(r);
			classify_due(r);
			hops_work(r);
		}
		deliver_retry_unwritten(r);
		agents_tidy(r);
		entries_forget_gone(r);
		if (!finished(r))
			wait_and_hear(r);
	}
	deliver_sync(r);
	progress_show(r, true);
}

/* ---- A run, from its start to its end ---- */

/* Every open message costs a descriptor: take what we are allowed. */
static size_t
raise_descriptors(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) != 0)
		return 1;
	l.rlim_cur = l.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &l);
	(void)getrlimit(RLIMIT_NOFILE, &l);
	if (l.rlim_cur >= OPEN_MAX_MESSAGES + AGENTS_MAX + OPEN_RESERVE)
		return OPEN_MAX_MESSAGES;
	return l.rlim_cur > 2 * OPEN_RESERVE
		   ? (size_t)(l.rlim_cur - OPEN_RESERVE) / 2
		   : 10;
}

static void
runner_init(struct runner *r, struct instance *in)
{
	*r = (struct runner){.in = in, .wake = -1};
	r->record = xmalloc(RECORD_MAX);
	r->open_max = raise_descriptors();
	r->hops_most = NEXT_HOPS_KEPT;
	r->clock = time(NULL);
}

static void
runner_free(struct runner *r)
{
	agents_close_all(r);
	deliver_abandon_all(r);
	hops_free(r);
	entries_free(r);
	free(r->left);
	free(r->record);
}

/* R5: did anything come between the last look and the closed FIFO? */
static bool
anything_left(struct runner *r)
{
	struct entry *e, *next;

	scan(r);
	e = r->due_first;
	r->due_first = r->due_last = NULL;
	for (; e != NULL; e = next) {
		next = e->next;
		if (is_due(r, e))
			entries_append_due(r, e);
	}
	if (r->due_only)
		return r->due_first != NULL;
	return r->due_first != NULL || r->waiting > 0 || r->busy > 0;
}

/* R2 to R6, with the run lock held by this process until it exits. */
static void
run(struct instance *in, bool due_only)
{
	struct runner r;

	if (in->all || in->private_instance)
		spool_sweep(&in->spool);
	runner_init(&r, in);
	r.due_only = due_only;
	r.progress_line = due_only && progress_wanted();
	do {
		r.wake = spool_wake_open(&in->spool); /* R2 */
		scan(&r);
		do {
			work(&r);
			/* What came during its last fsync. */
			if (r.wake >= 0)
				read_wakes(&r);
		} while (!finished(&r));
		if (r.wake >= 0)
			(void)close(r.wake); /* R4 */
		r.wake = -1;
	} while (!r.stop && anything_left(&r));
	runner_free(&r);
}

static bool
able_to_deliver(const struct instance *in)
{
	const char *why = NULL;

	if (process_may_deliver(0, !in->private_instance, &why))
		return true;
	log_event(LOG_QUEUE, LOG_WARNING, "left to the system's run: %s", why);
	return false;
}

/*
 * S1 and S2: wake the runner or become it.  A runner that is about to end
 * has closed its FIFO but still holds the lock: ask again until it is gone.
 */
static void
wake_or_become(struct instance *in, const char *id, bool due_only)
{
	int64_t until = now_ms() + WAKE_TRY_MS_MAX;
	struct timespec nap = {.tv_nsec = 1000000};

	import_old_spool(in);
	while (spool_wake_write(&in->spool, id) != 0) {
		int lock = spool_lock_run(&in->spool);

		if (lock >= 0) {
			run(in, due_only);
			return;
		}
		if (errno != EWOULDBLOCK || now_ms() >= until)
			return;
		(void)nanosleep(&nap, NULL);
		if (nap.tv_nsec < 100000000)
			nap.tv_nsec *= 2;
	}
}

void
queue_wake(struct instance *in, const char *id)
{
	if (spool_wake_write(&in->spool, id) == 0 || !able_to_deliver(in))
		return;
	if (fork() != 0)
		return; /* without a child the next run takes it up */
	process_detach(false);
	wake_or_become(in, id, false);
	_exit(EX_OK);
}

bool
queue_tell(const struct instance *in, const char *id, uid_t owner)
{
	struct spool theirs = in->spool;
	bool told = spool_wake_write(&in->spool, id) == 0;

	theirs.uid = owner;
	if (owner != in->spool.uid && spool_wake_write(&theirs, id) == 0)
		told = true;
	return told;
}

int
queue_run(struct instance *in)
{
	if (in->conf->defer || !able_to_deliver(in))
		return EX_OK;
	/* For its progress, or its log. */
	process_detach(
	    progress_wanted() || in->conf->log_target == LOG_TO_STDERR);
	wake_or_become(in, "", true);
	return EX_OK;
}

int
queue_flush(struct instance *in, const struct selection *only, bool verbose)
{
	const char *why = NULL;
	struct runner r;

	if (!process_may_deliver(0, !in->private_instance, &why)) {
		complain("cannot deliver from here: %s", why);
		return EX_UNAVAILABLE;
	}
	spool_sweep(&in->spool);
	if (only == NULL)
		import_old_spool(in);
	runner_init(&r, in);
	r.flush = true;
	r.verbose = verbose;
	r.progress_line = !verbose && progress_wanted();
	r.only = only;
	r.give_up = now_ms() + FLUSH_LOCK_MS_MAX;
	scan(&r);
	work(&r);
	if (verbose && only != NULL && !r.worked)
		(void)fputs(
		    "# nothing was tried here: no such message waits, or "
		    "another process of dma has it (mailq, log)\n",
		    stderr);
	runner_free(&r);
	/* A runner that sleeps looks again: its messages may be gone. */
	spool_wake_all(&in->spool);
	if (r.notices && !in->conf->defer)
		queue_wake(in, "");
	return EX_OK;
}
