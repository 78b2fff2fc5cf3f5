/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * deliver.c - one message while it is open: results to disk, pass to its end.
 *
 * Runs in:   dma, as the runner.
 * Trusts:    spool.c's decoded envelope. Distrusts: outcomes (job.c has
 *            checked their form; numbers are checked here).
 * Promises:  a result is on its status byte before anything else is done for
 *            that message; a recipient fails only by a FAIL outcome or an
 *            expired lifetime, and then its sender is told.
 */
#include "runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "bounce.h"
#include "log.h"
#include "util.h"

#define UNWRITTEN_AGAIN_MS 10000
#define UNCERTAIN_SECONDS  (30 * 60)

/* ---- Opening ---- */

static void
message_free(struct runner *r, struct message *m)
{
	if (m->prev != NULL)
		m->prev->next = m->next;
	else
		r->open = m->next;
	if (m->next != NULL)
		m->next->prev = m->prev;
	r->open_messages--;
	r->open_recipients -= m->file.env.nrecipients;
	for (size_t i = 0; m->hops != NULL && i < m->file.env.nrecipients; i++)
		if (m->hops[i] != NULL)
			m->hops[i]->users--;
	m->entry->message = NULL;
	spool_file_close(&m->file);
	free(m->hops);
	free(m->pass);
	free(m->unwritten);
	free(m);
}

/*
 * Why a message could not be opened decides what becomes of its entry.  While
 * it stands at another next hop too it stays QUEUED: nothing else may happen
 * to an entry that has items.
 */
static void
open_failed(struct runner *r, struct entry *e)
{
	if (e->items > 1)
		return;
	if (errno == EWOULDBLOCK) {
		entries_set_state(r, e, ENTRY_BUSY);
		return;
	}
	if (entries_shortage(errno)) {
		e->next_try = time(NULL) + 60;
		entries_set_state(r, e, ENTRY_WAITING);
		return;
	}
	if (errno == ENOENT || errno == EBADMSG) {
		entries_set_state(r, e, ENTRY_GONE);
		return;
	}
	if (errno != EPERM && errno != ECANCELED)
		log_event(LOG_QUEUE, LOG_ERR, "%s: cannot open: %s", e->id,
		    strerror(errno));
	entries_set_state(r, e, ENTRY_OVER);
}

/* A notice was made: this run delivers it, or says that there is one. */
static void
take_up(struct runner *r, const char *notice)
{
	if (notice[0] == '\0')
		return;
	if (r->only == NULL)
		entries_add(r, notice);
	else
		r->notices = true;
}

/* Good news first: after the bad the message may be parked. */
static int
settle_owed(struct runner *r, struct message *m, bool *parked)
{
	const struct spool *s = &r->in->spool;
	char notice[QUEUE_ID_MAX + 1];

	if (bounce_success(s, r->in->conf, &m->file, notice) != 0)
		return -1;
	take_up(r, notice);
	if (bounce_settle(s, r->in->conf, &m->file, notice, parked) != 0)
		return -1;
	take_up(r, notice);
	return 0;
}

/* Settle what an earlier run owes, before anything new is tried. */
static int
settle_notice(struct runner *r, struct message *m)
{
	bool parked = false;

	if (!envelope_owed(&m->file.env))
		return 0;
	if (settle_owed(r, m, &parked) != 0) {
		log_event(LOG_BOUNCE, LOG_ERR,
		    "%s: cannot queue the notice "
		    "to its sender: %s",
		    m->entry->id, strerror(errno));
		return -1;
	}
	r->dirty = true;
	if (parked) {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

static void
find_hops(struct runner *r, struct message *m)
{
	struct envelope *env = &m->file.env;
	char key[ROUTE_KEY_MAX + 1];

	m->hops = xcalloc(env->nrecipients + 1, sizeof(struct next_hop *));
	m->pass = xcalloc(env->nrecipients + 1, 1);
	m->unwritten = xcalloc(env->nrecipients + 1, 1);
	for (size_t i = 0; i < env->nrecipients; i++) {
		const struct recipient *to = &env->recipients[i];

		m->pass[i] = PASS_OVER;
		if (!recipient_open(to))
			continue;
		route_key(r->in->conf, &to->addr, to->target, key);
		m->hops[i] =
		    hops_get(r, key, m->entry->alone ? m->entry : NULL);
		m->hops[i]->users++;
		m->pass[i] = PASS_WAITING;
	}
}

/* As if its lifetime were over: the sender is told of what is open still. */
static void
expire_on_demand(struct runner *r, struct message *m)
{
	struct outcome o = {0};

	outcome_set(&o, OUTCOME_FAIL, "5.4.7", "expired on demand");
	for (size_t i = 0; i < m->file.env.nrecipients; i++)
		deliver_result(r, m, (uint32_t)i, &o, LOG_QUEUE);
}

/* 0, or -1 with errno; ECANCELED: it was held since it was classified. */
static int
open_message(struct runner *r, const struct entry *e, struct spool_file *f)
{
	if (spool_file_open(&r->in->spool, e->id, true, f) != 0)
		return -1;
	if (!f->env.hold)
		return spool_file_verify(&r->in->spool, f);
	errno = ECANCELED;
	return -1;
}

struct message *
deliver_open(struct runner *r, struct entry *e)
{
	struct message *m = e->message;
	char from[ADDR_MAX + 1];

	if (m != NULL)
		return m;
	m = xcalloc(1, sizeof(*m));
	if (open_message(r, e, &m->file) != 0) {
		int error = errno;

		spool_file_close(&m->file);
		free(m);
		errno = error;
		open_failed(r, e);
		return NULL;
	}
	m->entry = e;
	m->opened = now_ms();
	e->message = m;
	m->next = r->open;
	if (r->open != NULL)
		r->open->prev = m;
	r->open = m;
	r->open_messages++;
	r->open_recipients += m->file.env.nrecipients;
	if (settle_notice(r, m) != 0) {
		bool gone = errno == ENOENT;

		message_free(r, m);
		if (e->items > 1)
			return NULL;
		e->next_try = time(NULL) + 60;
		entries_set_state(r, e, gone ? ENTRY_GONE : ENTRY_WAITING);
		return NULL;
	}
	r->busy_pause = 0;
	r->worked = true;
	find_hops(r, m);
	log_event(LOG_QUEUE, LOG_INFO,
	    "%s: from=<%s>, size=%llu, nrcpt=%zu (queue active)", e->id,
	    printable(from, sizeof(from), m->file.env.sender.text,
		strlen(m->file.env.sender.text)),
	    (unsigned long long)m->file.env.length, m->file.env.nrecipients);
	if (m->file.env.next_try == NEXT_TRY_EXPIRE)
		expire_on_demand(r, m);
	return m;
}

size_t
deliver_take(struct message *m, const struct next_hop *h, uint32_t *numbers,
    size_t max, bool *more)
{
	size_t n = 0;

	*more = false;
	if (m->nunwritten > 0)
		return 0; /* nothing new before it is: deliver_release() */
	for (size_t i = 0; i < m->file.env.nrecipients; i++) {
		if (m->hops[i] != h || m->pass[i] != PASS_WAITING)
			continue;
		if (n == max) {
			*more = true;
			break;
		}
		m->pass[i] = PASS_SENT_OUT;
		numbers[n++] = (uint32_t)i;
	}
	return n;
}

void
deliver_untake(struct message *m, const struct work *w)
{
	for (size_t i = 0; i < w->nrecipients; i++)
		if (m->pass[w->recipients[i]] == PASS_SENT_OUT)
			m->pass[w->recipients[i]] = PASS_WAITING;
}

/* ---- Results ---- */

static const char *class_name(enum outcome_class class)
{
	switch (class) {
	case OUTCOME_SENT:
		return "sent";
	case OUTCOME_FAIL:
		return "bounced";
	case OUTCOME_DEFER:
	case OUTCOME_UNCERTAIN:
	case OUTCOME_UNTRIED:
		break;
	}
	return "deferred";
}

/* Two significant digits, never an exponent: "0.05", "3.1", "432000". */
static const char *
seconds(char dst[32], double s)
{
	(void)snprintf(dst, 32, s < 10 ? "%.2g" : "%.0f", s < 0.0001 ? 0 : s);
	return dst;
}

static void
log_result(const struct message *m, const struct recipient *to,
    const struct outcome *o, enum log_ident ident)
{
	double here = (double)(now_ms() - m->opened) / 1000;
	double age = (double)(time(NULL) - m->file.env.arrival);
	double connect = (double)o->ms_connect / 1000;
	double transfer = (double)o->ms_transfer / 1000;
	/* The arrival is a whole second: less than one may be none. */
	double before = age >= here + 1 ? age - here : 0;
	double waited = here - connect - transfer;
	char text[5][32];

	log_event(ident, o->class == OUTCOME_FAIL ? LOG_WARNING : LOG_INFO,
	    "%s: to=<%s>%s%s%s, relay=%s, delay=%s, delays=%s/%s/%s/%s, "
	    "dsn=%s, status=%s (%s)",
	    m->entry->id, to->addr.text, to->orig == NULL ? "" : ", orig_to=<",
	    to->orig == NULL ? "" : to->orig, to->orig == NULL ? "" : ">",
	    o->relay[0] == '\0' ? "none" : o->relay,
	    seconds(text[0], before + here), seconds(text[1], before),
	    seconds(text[2], waited), seconds(text[3], connect),
	    seconds(text[4], transfer), o->dsn, class_name(o->class), o->text);
}

/*
 * The status byte first.  Where it cannot be written, result and lock are
 * kept, and the pass of this message does not end before it was.
 */
static void
write_status(
    struct runner *r, struct message *m, size_t i, enum recipient_status status)
{
	if (spool_file_mark(&m->file, i, status) == 0) {
		m->unsynced = true;
		if (r->turn_results++ == 0)
			r->turn_began = now_ms();
		return;
	}
	log_event(LOG_QUEUE, LOG_ALERT,
	    "%s: cannot record a result: %s; it is kept and tried again",
	    m->entry->id, strerror(errno));
	if (m->nunwritten++ == 0)
		r->unwritten++;
	m->unwritten[i] = (unsigned char)status;
	r->unwritten_again = now_ms() + UNWRITTEN_AGAIN_MS;
}

/* What its sender wants to hear of stands in the journal too. */
static enum recipient_status
sent_status(struct message *m, size_t i, const struct outcome *o)
{
	const struct envelope *e = &m->file.env;

	if (!(e->recipients[i].notify & NOTIFY_SUCCESS) ||
	    addr_is_null(&e->sender) || o->notice == NOTICE_PASSED_ON)
		return STATUS_SENT;
	spool_journal_add(&m->file, i, time(NULL), o->dsn, o->relay, o->text);
	return o->notice == NOTICE_DELIVERED ? STATUS_DELIVERED
					     : STATUS_RELAYED;
}

static void
settle_recipient(
    struct runner *r, struct message *m, size_t i, const struct outcome *o)
{
	switch (o->class) {
	case OUTCOME_SENT:
		write_status(r, m, i, sent_status(m, i, o));
		return;
	case OUTCOME_FAIL:
		spool_journal_add(
		    &m->file, i, time(NULL), o->dsn, o->relay, o->text);
		write_status(r, m, i, STATUS_FAILED);
		return;
	case OUTCOME_UNCERTAIN:
		m->uncertain = true;
		write_status(r, m, i, STATUS_UNCERTAIN);
		break;
	case OUTCOME_DEFER:
	case OUTCOME_UNTRIED:
		break;
	}
	spool_journal_add(&m->file, i, time(NULL), o->dsn, o->relay, o->text);
}

/*
 * How often a message is tried at least before it is given up: as often as
 * RETRY has it in LIFETIME, each of its steps once at most.  So a clock that
 * jumped ahead, or a machine that was off for a week, fails nothing at its
 * first attempt afterwards.
 */
static uint32_t
attempts_due(const struct conf *c)
{
	int64_t sum = 0;
	uint32_t n;

	for (n = 0; n < c->nretry && sum <= c->lifetime; n++)
		sum += c->retry[n];
	return n;
}

/*
 * A recipient's time is over when the message is older than LIFETIME and
 * this attempt failed.  A clock that went backwards counts as not expired.
 */
static bool
expired(const struct runner *r, const struct message *m)
{
	const struct envelope *e = &m->file.env;

	return time(NULL) - e->arrival > r->in->conf->lifetime &&
	       e->attempts >= attempts_due(r->in->conf);
}

void
deliver_result(struct runner *r, struct message *m, uint32_t number,
    const struct outcome *o, enum log_ident ident)
{
	struct outcome final = *o;
	bool waits;

	if (number >= m->file.env.nrecipients || m->pass[number] == PASS_OVER)
		return;
	m->pass[number] = PASS_OVER;
	if (o->class != OUTCOME_UNTRIED)
		m->attempted = true;
	waits = o->class == OUTCOME_DEFER || o->class == OUTCOME_UNCERTAIN;
	if (waits && expired(r, m)) {
		outcome_set(&final, OUTCOME_FAIL, "5.4.7",
		    "expired, not delivered for too long; last: %s", o->text);
	}
	settle_recipient(r, m, number, &final);
	log_result(m, &m->file.env.recipients[number], &final, ident);
}

/* ---- The end of a pass ---- */

/* RETRY's step for this attempt, 10 % up or down so that herds part. */
static int64_t
retry_delay(const struct conf *c, uint32_t attempts)
{
	size_t step = attempts == 0 ? 0 : attempts - 1;
	int64_t delay;
	uint32_t random = 0;

	if (step >= c->nretry)
		step = c->nretry - 1;
	delay = c->retry[step];
	(void)compat_random(&random, sizeof(random));
	return delay - delay / 10 + (int64_t)(random % 1000) * delay / 5000;
}

/* The notice first, then (with the state) that it was sent. */
static void
warn_sender(struct runner *r, struct message *m)
{
	char notice[QUEUE_ID_MAX + 1];

	if (bounce_warn(&r->in->spool, r->in->conf, &m->file, notice) != 0)
		log_event(LOG_BOUNCE, LOG_ERR,
		    "%s: cannot queue the notice to its sender: %s",
		    m->entry->id, strerror(errno));
	take_up(r, notice);
}

/* An attempt is made when WARN is over, so that its sender hears on time. */
static int64_t
before_warning(const struct runner *r, const struct message *m, int64_t next)
{
	const struct envelope *env = &m->file.env;
	int64_t warning = env->arrival + r->in->conf->warn + 1;

	if (r->in->conf->warn == 0 || env->warned || m->uncertain ||
	    warning <= time(NULL) || warning >= next)
		return next;
	return warning;
}

static void
postpone(struct runner *r, struct message *m)
{
	struct envelope *env = &m->file.env;
	int64_t delay;

	r->again++;
	if (!m->attempted) { /* costs no attempt: due as it was */
		m->entry->next_try = time(NULL) + RUN_POLL_MAX_MS / 1000;
		entries_set_state(
		    r, m->entry, r->flush ? ENTRY_OVER : ENTRY_WAITING);
		return;
	}
	if (env->attempts < UINT32_MAX)
		env->attempts++;
	delay = retry_delay(r->in->conf, env->attempts);
	if (m->uncertain && delay < UNCERTAIN_SECONDS)
		delay = UNCERTAIN_SECONDS;
	env->next_try = before_warning(r, m, time(NULL) + delay);
	m->entry->next_try = env->next_try;
	m->entry->alone = env->crashes >= AGENT_CRASHES_MAX;
	warn_sender(r, m);
	if (spool_file_write_state(&m->file) != 0 ||
	    spool_file_sync(&m->file) != 0)
		log_event(LOG_QUEUE, LOG_ERR, "%s: cannot write: %s",
		    m->entry->id, strerror(errno));
	entries_set_state(r, m->entry, r->flush ? ENTRY_OVER : ENTRY_WAITING);
}

static void
remove_message(struct runner *r, struct message *m)
{
	struct entry *e = m->entry;

	if (spool_file_remove(&r->in->spool, &m->file) != 0) {
		log_event(LOG_QUEUE, LOG_ERR, "%s: cannot remove: %s", e->id,
		    strerror(errno));
		e->next_try = time(NULL) + 60;
		entries_set_state(r, e, ENTRY_WAITING);
	} else {
		log_event(LOG_QUEUE, LOG_INFO, "%s: removed", e->id);
		entries_set_state(r, e, ENTRY_GONE);
	}
	r->dirty = true;
}

static void
end_pass(struct runner *r, struct message *m)
{
	int notice = settle_notice(r, m);

	if (notice != 0 && errno == ENOENT) /* parked: no longer in the queue */
		entries_set_state(r, m->entry, ENTRY_GONE);
	else if (notice != 0 || envelope_open(&m->file.env))
		postpone(r, m);
	else
		remove_message(r, m);
	message_free(r, m);
	r->progress = true;
}

/*
 * Recipients may wait for a hop where the message has no item: one that came
 * to nothing while somebody else held the lock, or a result was not written.
 */
static bool
enqueue_again(struct runner *r, struct message *m)
{
	const struct next_hop *last = NULL;

	for (size_t i = 0; !r->stop && i < m->file.env.nrecipients; i++) {
		if (m->pass[i] != PASS_WAITING || m->hops[i] == last)
			continue;
		hops_enqueue(r, m->hops[i], m->entry);
		last = m->hops[i];
	}
	return last != NULL;
}

/*
 * Others wait to be opened, and this one waits for its turn at another next
 * hop: it makes room where its file says all there is to know, that is, where
 * nobody whom this pass is over for is open still.
 */
static void
make_way(struct runner *r, struct message *m)
{
	if (r->open_messages < r->open_max / 2 &&
	    r->open_recipients < OPEN_RECIPIENTS_MAX / 2)
		return;
	for (size_t i = 0; i < m->file.env.nrecipients; i++)
		if (m->pass[i] == PASS_OVER &&
		    (recipient_open(&m->file.env.recipients[i]) ||
			recipient_owed(&m->file.env.recipients[i])))
			return;
	if (m->unsynced && spool_file_sync(&m->file) != 0)
		return;
	message_free(r, m);
	r->progress = true;
}

void
deliver_release(struct runner *r, struct message *m)
{
	if (m->jobs > 0 || m->nunwritten > 0)
		return;
	if (m->entry->items > 0) {
		make_way(r, m);
		return;
	}
	if (enqueue_again(r, m))
		r->progress = true;
	else
		end_pass(r, m);
}

static void
write_again(struct runner *r, struct message *m)
{
	for (size_t i = 0; i < m->file.env.nrecipients; i++) {
		if (m->unwritten[i] == 0)
			continue;
		if (spool_file_mark(&m->file, i,
			(enum recipient_status)m->unwritten[i]) != 0)
			return;
		m->unwritten[i] = 0;
		m->nunwritten--;
	}
	r->unwritten--;
	m->unsynced = true;
	deliver_release(r, m);
}

void
deliver_retry_unwritten(struct runner *r)
{
	struct message *next;

	if (r->unwritten == 0 || now_ms() < r->unwritten_again)
		return;
	r->unwritten_again = now_ms() + UNWRITTEN_AGAIN_MS;
	for (struct message *m = r->open; m != NULL; m = next) {
		next = m->next;
		if (m->nunwritten > 0)
			write_again(r, m);
	}
}

void
deliver_sync(struct runner *r)
{
	for (struct message *m = r->open; m != NULL; m = m->next) {
		if (m->unsynced && spool_file_sync(&m->file) != 0)
			log_event(LOG_QUEUE, LOG_ERR, "%s: cannot sync: %s",
			    m->entry->id, strerror(errno));
		m->unsynced = false;
	}
	if (r->dirty && spool_sync(&r->in->spool) != 0)
		log_event(LOG_QUEUE, LOG_ERR, "cannot sync the spool: %s",
		    strerror(errno));
	r->dirty = false;
	r->turn_results = 0;
}

void
deliver_abandon_all(struct runner *r)
{
	struct message *next;

	for (struct message *m = r->open; m != NULL; m = next) {
		next = m->next;
		message_free(r, m);
	}
}
