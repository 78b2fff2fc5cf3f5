/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce.c - notices to the sender (RFC 3464, RFC 3462).
 *
 * Runs in:   dma, as runner.
 * Trusts:    the decoded envelope. Distrusts: servers' words and the message,
 *            which are quoted, never interpreted.
 * Promises:  a recipient is marked as told only after its notice is committed
 *            (or is not wanted); a message nobody can be told of is kept.
 */
#include "bounce_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "aliases.h"
#include "log.h"
#include "util.h"

/* ---- Whom it is for, and whom about ---- */

static bool
failed(const struct recipient *r)
{
	return r->status == STATUS_FAILED;
}

bool
notice_covers(const struct notice *n, size_t i)
{
	const struct recipient *r = &n->f->env.recipients[i];

	if (n->kind == NOTICE_OF_SUCCESS)
		return recipient_owed(r) && !failed(r);
	if (n->kind == NOTICE_OF_DELAY)
		return recipient_open(r) &&
		       recipient_wants_notice(r, NOTIFY_DELAY);
	return failed(r) && recipient_wants_notice(r, NOTIFY_FAILURE);
}

/* The lowest number the notice covers; nrecipients if there is none. */
static size_t
lowest_covered(const struct notice *n)
{
	size_t i;

	for (i = 0; i < n->f->env.nrecipients && !notice_covers(n, i); i++)
		continue;
	return i;
}

struct addr
notice_qualified(const struct notice *n, const struct addr *a)
{
	struct addr copy = *a;
	const char *why;

	(void)addr_qualify(&copy, n->conf->mailname, &why);
	return copy;
}

/* Returns 0 with readers; they may be none. */
static int
expand_reader(struct notice *n, const struct addr *to)
{
	struct aliases aliases;
	const char *why;

	n->to = notice_qualified(n, to);
	/* Bad lines were reported when mail was submitted. */
	if (aliases_load(&aliases, n->conf->aliases, NULL, NULL) == -1)
		return -1;
	if (expand_add(&n->readers, n->conf, &aliases, to, 0, NULL, &why) == -1)
		recipients_free(&n->readers);
	aliases_free(&aliases);
	return 0;
}

static bool
is_reader(const struct notice *n, const struct addr *a)
{
	for (size_t i = 0; i < n->readers.count; i++)
		if (addr_equal(a, &n->readers.list[i].addr))
			return true;
	return false;
}

/* The postmaster hears of what has no sender, but not that he got none. */
static int
choose_postmaster(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	const char *why;
	struct addr to;

	if (n->conf->postmaster == NULL ||
	    addr_parse(&to, n->conf->postmaster, false, &why) == -1)
		return 0;
	n->for_postmaster = true;
	if (expand_reader(n, &to) == -1)
		return -1;
	for (size_t i = 0; i < e->nrecipients; i++)
		if (failed(&e->recipients[i]) &&
		    is_reader(n, &e->recipients[i].addr))
			recipients_free(&n->readers);
	return 0;
}

static int
choose_readers(struct notice *n)
{
	const struct envelope *e = &n->f->env;
	const char *about = strpbrk(e->id, "swx");

	/* No third notice about a notice: its id would be none. */
	if (about != NULL && strpbrk(about + 1, "swx") != NULL)
		return 0;
	if (!addr_is_null(&e->sender) && expand_reader(n, &e->sender) == -1)
		return -1;
	return n->readers.count > 0 ? 0 : choose_postmaster(n);
}

/* ---- Making it ---- */

static void
fill_envelope(struct notice *n, const struct spool *s)
{
	n->env.uid = s->uid;
	n->env.arrival = time(NULL);
	n->env.recipients = n->readers.list;
	n->env.nrecipients = n->readers.count;
	if (n->kind == NOTICE_OF_DELAY)
		(void)snprintf(
		    n->env.id, sizeof(n->env.id), "%.26sw", n->f->env.id);
	else
		(void)snprintf(n->env.id, sizeof(n->env.id), "%.26s%c%u",
		    n->f->env.id, n->kind == NOTICE_OF_SUCCESS ? 's' : 'x',
		    (unsigned)lowest_covered(n));
}

/* As its sender wrote them: where an alias led to is not his affair. */
static bool
is_global(const struct notice *n)
{
	const struct envelope *e = &n->f->env;
	bool global = !addr_is_ascii(&e->sender);

	for (size_t i = 0; i < e->nrecipients && !global; i++) {
		const struct recipient *r = &e->recipients[i];
		const char *p = r->orig != NULL ? r->orig : r->addr.text;

		while (*p != '\0' && (unsigned char)*p < 0x80)
			p++;
		global = notice_covers(n, i) && *p != '\0';
	}
	return global;
}

#define NOTICE_SECONDS (3600 / NOTICES_PER_HOUR)

/* An owner's notices to an address, in told.<uid>: up to when they reach. */
struct told {
	uint64_t who;
	int64_t until; /* each notice takes its part of an hour's */
};

/* One user's notices must not put off another's. */
static uint64_t
told_who(const struct notice *n)
{
	uint64_t who = checksum_update(
	    CHECKSUM_INIT, &n->f->env.uid, sizeof(n->f->env.uid));

	return checksum_update(who, n->to.text, strlen(n->to.text));
}

/* The file, locked, with what it says; -1: nothing is counted. */
static int
open_told(const struct spool *s, struct told *all)
{
	const size_t size = NOTICES_ADDRS * sizeof(*all);
	int fd = spool_lock_told(s);

	if (fd != -1 && pread(fd, all, size, 0) != (ssize_t)size)
		memset(all, 0, size);
	return fd;
}

/*
 * No storm: an address gets an hour's notices at once, then each waits for its
 * part of an hour, a day at most, and none is dropped.  The file may be
 * lost at any moment, and its lock may be another's: then nothing waits.
 */
static void
spread_out(struct notice *n, const struct spool *s)
{
	int64_t now = n->env.arrival, *until;
	int64_t latest = now + 3600 + NOTICES_WAIT_MAX;
	uint64_t who = told_who(n);
	struct told all[NOTICES_ADDRS];
	int fd = open_told(s, all);
	size_t at = 0;

	if (fd == -1)
		return;
	for (size_t i = 0; i < ARRAY_LEN(all) && all[at].who != who; i++)
		if (all[i].who == who || all[i].until < all[at].until)
			at = i;
	until = &all[at].until;
	/* One past the latest was written by a clock that was wrong. */
	if (all[at].who != who || *until < now || *until > latest)
		*until = now;
	all[at].who = who;
	*until += NOTICE_SECONDS;
	if (*until > latest)
		*until = latest;
	if (pwrite(fd, all, sizeof(all), 0) == -1)
		*until = now; /* no room to count in: nothing waits */
	(void)close(fd);
	if (*until > now + 3600)
		n->env.next_try = *until - 3600;
}

/* It came to nothing, and is tried again: it counts once. */
static void
take_back(const struct notice *n, const struct spool *s)
{
	struct told all[NOTICES_ADDRS];
	uint64_t who = told_who(n);
	int saved = errno, fd = open_told(s, all);

	for (size_t i = 0; fd != -1 && i < ARRAY_LEN(all); i++)
		if (all[i].who == who) {
			all[i].until -= NOTICE_SECONDS;
			(void)pwrite_full(fd, all, sizeof(all), 0);
			break;
		}
	if (fd != -1)
		(void)close(fd);
	errno = saved;
}

/* Its file; that it was committed before is as good. */
static int
make(struct notice *n, const struct spool *s)
{
	const struct envelope *e = &n->f->env;

	/* Who died right after the rename had not made it durable. */
	if (spool_create(s, &n->env, &n->draft) == -1)
		return errno == EEXIST ? spool_sync(s) : -1;
	/* RET speaks of failures only (RFC 3461, 4.3). */
	n->full = n->kind == NOTICE_OF_FAILURE &&
		  (e->ret == RET_FULL ||
		      (e->ret == RET_DEFAULT && n->conf->fullbounce));
	n->reasons = xcalloc(e->nrecipients, sizeof(*n->reasons));
	spool_journal_last(n->f, n->reasons, e->nrecipients);
	notice_header(n);
	notice_text(n);
	notice_report(n);
	if (notice_message(n) == -1) {
		spool_abandon(s, &n->draft);
		return -1;
	}
	if (spool_commit(s, &n->draft) == -1 && errno != EEXIST)
		return -1;
	return 0;
}

static int
commit(struct notice *n, const struct spool *s)
{
	fill_envelope(n, s);
	n->global = is_global(n);
	spread_out(n, s);
	if (make(n, s) == -1) {
		take_back(n, s);
		return -1;
	}
	if (n->env.next_try > n->env.arrival)
		log_event(LOG_BOUNCE, LOG_WARNING,
		    "%s: notice %s waits for %lld seconds: more than %d an "
		    "hour",
		    n->f->env.id, n->env.id,
		    (long long)(n->env.next_try - n->env.arrival),
		    NOTICES_PER_HOUR);
	return 0;
}

/*
 * From the highest number down: the notice's id comes from the lowest, so
 * until that is marked a run after a crash finds the same id again.
 */
static int
mark_told(const struct notice *n)
{
	struct spool_file *f = n->f;
	bool success = n->kind == NOTICE_OF_SUCCESS;

	for (size_t i = f->env.nrecipients; i-- > 0;) {
		const struct recipient *r = &f->env.recipients[i];

		if (recipient_owed(r) && failed(r) != success &&
		    spool_file_mark(
			f, i, success ? STATUS_SENT : STATUS_TOLD) == -1)
			return -1;
	}
	return spool_file_sync(f);
}

/*
 * Nobody can be told: keep the message where people find it, but not while
 * it has recipients that may still get it.
 */
static int
park(const struct spool *s, struct spool_file *f, bool *parked)
{
	if (envelope_open(&f->env))
		return 0;
	if (spool_file_park(s, f) == -1)
		return -1;
	*parked = true;
	log_event(LOG_BOUNCE, LOG_CRIT,
	    "%s: undeliverable, and nobody can be told; kept as dead.%s",
	    f->env.id, f->env.id);
	(void)spool_sync(s);
	return 0;
}

static int
tell(const struct spool *s, struct notice *n, char *notice_id, bool *parked)
{
	if (choose_readers(n) == -1)
		return -1;
	if (n->readers.count == 0)
		return park(s, n->f, parked);
	if (commit(n, s) == -1 || mark_told(n) == -1)
		return -1;
	(void)compat_strlcpy(notice_id, n->env.id, QUEUE_ID_MAX + 1);
	log_event(LOG_BOUNCE, LOG_INFO, "%s: %s non-delivery notification: %s",
	    n->f->env.id, n->for_postmaster ? "postmaster" : "sender",
	    notice_id);
	return 0;
}

static void
notice_free(struct notice *n)
{
	recipients_free(&n->readers);
	free(n->reasons);
}

int
bounce_settle(const struct spool *s, const struct conf *c, struct spool_file *f,
    char *notice_id, bool *parked)
{
	struct notice n = {.conf = c, .f = f};
	int status;

	notice_id[0] = '\0';
	*parked = false;
	if (envelope_count(&f->env, STATUS_FAILED) == 0)
		return 0;
	if (lowest_covered(&n) == f->env.nrecipients)
		return mark_told(&n);
	status = tell(s, &n, notice_id, parked);
	/* To our caller ENOENT would say that the message is gone. */
	if (status == -1 && errno == ENOENT)
		errno = EIO;
	notice_free(&n);
	return status;
}

/* ---- What was sent ---- */

/* The postmaster has not asked; with no reader there is nothing to say. */
static int
report_success(const struct spool *s, struct notice *n, char *notice_id)
{
	if (expand_reader(n, &n->f->env.sender) == -1 ||
	    (n->readers.count > 0 && commit(n, s) == -1) || mark_told(n) == -1)
		return -1;
	if (n->readers.count == 0)
		return 0;
	(void)compat_strlcpy(notice_id, n->env.id, QUEUE_ID_MAX + 1);
	log_event(LOG_BOUNCE, LOG_INFO,
	    "%s: sender delivery status notification: %s", n->f->env.id,
	    notice_id);
	return 0;
}

int
bounce_success(const struct spool *s, const struct conf *c,
    struct spool_file *f, char *notice_id)
{
	struct notice n = {.conf = c, .f = f, .kind = NOTICE_OF_SUCCESS};
	int status = 0;

	notice_id[0] = '\0';
	if (lowest_covered(&n) < f->env.nrecipients)
		status = report_success(s, &n, notice_id);
	if (status == -1 && errno == ENOENT)
		errno = EIO;
	notice_free(&n);
	return status;
}

/* ---- What waits ---- */

/* A clock that was set back makes nothing old. */
static bool
warning_due(const struct notice *n)
{
	const struct envelope *e = &n->f->env;

	return n->conf->warn > 0 && !e->warned && !addr_is_null(&e->sender) &&
	       time(NULL) - e->arrival > n->conf->warn &&
	       lowest_covered(n) < e->nrecipients;
}

static int
warn(const struct spool *s, struct notice *n, char *notice_id)
{
	/* The postmaster has mailq, and hears of it if it fails. */
	if (expand_reader(n, &n->f->env.sender) == -1)
		return -1;
	if (n->readers.count > 0) {
		if (commit(n, s) == -1)
			return -1;
		(void)compat_strlcpy(notice_id, n->env.id, QUEUE_ID_MAX + 1);
		log_event(LOG_BOUNCE, LOG_INFO,
		    "%s: sender delay notification: %s", n->f->env.id,
		    notice_id);
	}
	n->f->env.warned = true;
	return 0;
}

int
bounce_warn(const struct spool *s, const struct conf *c, struct spool_file *f,
    char *notice_id)
{
	struct notice n = {.conf = c, .f = f, .kind = NOTICE_OF_DELAY};
	int status = 0;

	notice_id[0] = '\0';
	if (warning_due(&n))
		status = warn(s, &n, notice_id);
	notice_free(&n);
	return status;
}
