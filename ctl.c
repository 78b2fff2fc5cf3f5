/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * ctl.c - changing what is queued; the alias file's faults.
 *
 * Runs in:   dma, in the foreground.
 * Trusts:    spool.c, which opens a user his own messages alone, root all.
 * Promises:  a message is changed only under its lock, and only while it is
 *            still what was meant; "removed" is said when that is durable.
 */
#include "ctl_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "aliases.h"
#include "log.h"
#include "queue.h"
#include "util.h"

#define LOCK_AGAIN_NS 50000000 /* before a locked message is tried again */

/* ---- Changes of one message, which is open and locked ---- */

static int
write_state(struct spool_file *f)
{
	return spool_file_write_state(f) == 0 ? spool_file_sync(f) : -1;
}

static int
retry(const struct spool *s, struct spool_file *f)
{
	(void)s;
	f->env.next_try = time(NULL);
	return spool_file_write_state(f); /* lost in a power cut: no harm */
}

static int
hold(const struct spool *s, struct spool_file *f)
{
	(void)s;
	f->env.hold = true;
	return write_state(f);
}

static int
release(const struct spool *s, struct spool_file *f)
{
	(void)s;
	f->env.hold = false;
	return write_state(f);
}

/* The runner does it, so that there is one way to fail and to tell. */
static int
expire(const struct spool *s, struct spool_file *f)
{
	(void)s;
	f->env.hold = false;
	f->env.next_try = NEXT_TRY_EXPIRE;
	return write_state(f);
}

/*
 * Marked first: what a crash leaves behind is delivered to nobody.  Who has it
 * already is as sent as ever; only the notice of that is removed.
 */
static int
remove_message(const struct spool *s, struct spool_file *f)
{
	for (size_t i = 0; i < f->env.nrecipients; i++) {
		const struct recipient *r = &f->env.recipients[i];

		bool undelivered =
		    recipient_open(r) || r->status == STATUS_FAILED;

		if ((undelivered || recipient_owed(r)) &&
		    spool_file_mark(
			f, i, undelivered ? STATUS_REMOVED : STATUS_SENT) != 0)
			return -1;
	}
	return spool_file_remove(s, f);
}

static const struct change {
	const char *verb, *done;
	bool ask;  /* before it is done to several */
	bool wake; /* the runner has something to do then */
	int (*apply)(const struct spool *s, struct spool_file *f);
} changes[] = {
    [CTL_RETRY] = {"Retry", "to be tried now", false, true, retry},
    [CTL_HOLD] = {"Hold", "held", true, false, hold},
    [CTL_RELEASE] = {"Release", "released", false, true, release},
    [CTL_REMOVE] = {"Remove", "removed", true, false, remove_message},
    [CTL_EXPIRE] = {"Expire", "told to expire", true, true, expire},
};

/* ---- All that are meant ---- */

struct changing {
	struct listing *l;
	const struct change *c;
	size_t done;
	bool start; /* no runner was there to be told */
};

static void
apply(struct changing *w, struct spool_file *f)
{
	struct instance *in = w->l->in;

	if (!select_matches(&w->l->o->selection, &f->env, time(NULL)))
		return;
	if (w->l->o->op == CTL_RETRY && f->env.hold) {
		complain("%s: is held, and not tried: release it", f->env.id);
		w->l->status = EX_UNAVAILABLE;
		return;
	}
	if (w->c->apply(&in->spool, f) != 0) {
		complain("%s: cannot write: %s", f->env.id, strerror(errno));
		w->l->status = EX_IOERR;
		return;
	}
	log_event(LOG_QUEUE, LOG_INFO, "%s: %s by uid=%lu", f->env.id,
	    w->c->done, (unsigned long)in->caller);
	w->done++;
}

/* That one was delivered meanwhile is no news but to who named it. */
static void
cannot_open(struct listing *l, const char *id)
{
	if (errno != ENOENT)
		complain("%s: cannot open: %s", id, strerror(errno));
	else if (l->o->nids > 0 || l->o->from_stdin)
		complain("%s: has left the queue meanwhile", id);
	else
		return;
	l->status = EX_UNAVAILABLE;
}

/* False if somebody else has its lock. */
static bool
change_one(struct changing *w, const char *id)
{
	struct instance *in = w->l->in;
	size_t done = w->done;
	struct spool_file f;
	uid_t owner;

	if (spool_file_open(&in->spool, id, true, &f) != 0) {
		if (errno == EWOULDBLOCK)
			return false;
		cannot_open(w->l, id);
		return true;
	}
	apply(w, &f);
	owner = f.owner;
	spool_file_close(&f);
	/* Not before the lock is free: the runner tries at once. */
	if (w->done > done && w->c->wake && !queue_tell(in, id, owner))
		w->start = true;
	return true;
}

/* Those that are locked come again, until the time is over. */
static void
change_all(struct changing *w)
{
	const struct timespec nap = {.tv_nsec = LOCK_AGAIN_NS};
	int64_t until = now_ms() + CTL_LOCK_MS_MAX;
	struct listing *l = w->l;

	for (;;) {
		size_t left = 0;

		for (size_t i = 0; i < l->count; i++)
			if (!change_one(w, l->list[i].id))
				l->list[left++] = l->list[i];
		l->count = left;
		if (left == 0 || now_ms() >= until)
			return;
		(void)nanosleep(&nap, NULL);
	}
}

static bool
confirmed(const struct listing *l, const struct change *c)
{
	char answer[16];

	if (!c->ask || l->o->yes || l->count < 2 || isatty(STDIN_FILENO) != 1 ||
	    isatty(STDERR_FILENO) != 1)
		return true;
	(void)fprintf(stderr, "%s %zu messages? [y/N] ", c->verb, l->count);
	return fgets(answer, sizeof(answer), stdin) != NULL &&
	       ascii_lower(answer[0]) == 'y';
}

static void
change(struct listing *l, const struct change *c)
{
	struct changing w = {.l = l, .c = c};

	if (!confirmed(l, c)) {
		printf("nothing was changed\n");
		return;
	}
	change_all(&w);
	for (size_t i = 0; i < l->count; i++) {
		complain("%s: is being delivered; try again", l->list[i].id);
		l->status = EX_UNAVAILABLE;
	}
	if (l->o->op == CTL_REMOVE && w.done > 0) {
		if (spool_sync(&l->in->spool) != 0) {
			complain("cannot sync the spool: %s", strerror(errno));
			l->status = EX_IOERR;
		}
		/* A runner that sleeps looks again. */
		spool_wake_all(&l->in->spool);
	}
	printf("%zu message%s %s\n", w.done, w.done == 1 ? "" : "s", c->done);
	(void)fflush(stdout);
	if (w.start && !l->in->conf->defer)
		queue_wake(l->in, "");
}

int
ctl_flush(void)
{
	if (fflush(stdout) == 0)
		return EX_OK;
	complain("cannot write: %s", strerror(errno));
	return EX_IOERR;
}

int
ctl_queue(struct instance *in, const struct ctl_options *o)
{
	struct listing l = {.in = in, .o = o, .status = EX_OK};
	int status;

	ctl_pick(&l);
	if (o->op == CTL_LIST)
		ctl_list(&l);
	else if (o->op == CTL_SHOW)
		ctl_show(&l);
	else
		change(&l, &changes[o->op]);
	free(l.list);
	status = ctl_flush();
	return l.status == EX_OK ? status : l.status;
}

/* ---- newaliases ---- */

static void
report(void *arg, const char *line)
{
	(void)arg;
	complain("%s", line);
}

/* Note the files that targets include, each once, a NUL after each. */
static void
note_lists(struct buf *lists, const struct buf *targets)
{
	const char *end = buf_str(targets) + targets->len;

	for (const char *t = buf_str(targets); t < end; t += strlen(t) + 1) {
		const char *path = t + strlen(ALIAS_INCLUDE);
		size_t i = 0;

		if (strncmp(t, ALIAS_INCLUDE, strlen(ALIAS_INCLUDE)) != 0)
			continue;
		while (i < lists->len && strcmp(lists->data + i, path) != 0)
			i += strlen(lists->data + i) + 1;
		if (i == lists->len)
			(void)buf_put(lists, path, strlen(path) + 1);
	}
}

/* The lists of all names, and theirs.  Returns the number of faults. */
static size_t
check_lists(const struct aliases *a)
{
	struct buf lists = {0}, targets = {0};
	size_t faults = 0;

	for (size_t i = 0; i < a->count; i++)
		note_lists(&lists, &a->list[i]->targets);
	for (size_t i = 0; i < lists.len; i += strlen(lists.data + i) + 1) {
		faults += aliases_include(a, lists.data + i, &targets);
		note_lists(&lists, &targets);
		buf_reset(&targets);
	}
	buf_free(&lists);
	buf_free(&targets);
	return faults;
}

/* In a private instance: files and commands. */
static size_t
check_targets(const struct aliases *a, const struct conf *c, const char *path)
{
	size_t faults = 0;

	for (size_t i = 0; i < a->count && c->aliasuser == NULL; i++) {
		const struct buf *targets = &a->list[i]->targets;

		for (size_t at = 0; at < targets->len;
		     at += strlen(targets->data + at) + 1) {
			if (strchr("/|", targets->data[at]) == NULL)
				continue;
			complain("%s:%u: \"%s\": " ALIAS_PRIVATE, path,
			    a->list[i]->line, targets->data + at);
			faults++;
		}
	}
	return faults;
}

/* A name at a domain that is not ours is never looked up. */
static size_t
check_names(const struct aliases *a, const struct conf *c, const char *path)
{
	size_t faults = 0;
	struct addr name;
	const char *why;

	for (size_t i = 0; i < a->count; i++) {
		const struct alias *alias = a->list[i];

		if (addr_parse(&name, alias->name, false, &why) != 0 ||
		    addr_is_bare(&name) ||
		    conf_domain_is_local(c, addr_domain(&name)))
			continue;
		complain("%s:%u: \"%s\" is not on this machine: the line "
			 "changes nothing (LOCALNAMES)",
		    path, alias->line, name.text);
		faults++;
	}
	return faults;
}

int
ctl_newaliases(struct instance *in)
{
	struct aliases a = {0};
	const char *path = in->conf->aliases;
	int status = EX_OK;

	if (aliases_load(&a, path, report, NULL) != 0)
		return EX_NOINPUT;
	/* Where it was named, it was meant to be there. */
	if (strcmp(path, DMA_ALIASES) != 0 && access(path, F_OK) != 0) {
		complain("%s: %s (ALIASES)", path, strerror(errno));
		return EX_NOINPUT;
	}
	if (a.errors + check_names(&a, in->conf, path) +
		check_targets(&a, in->conf, path) + check_lists(&a) >
	    0)
		status = EX_DATAERR;
	aliases_free(&a);
	return status;
}
