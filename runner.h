/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * runner.h - what queue.c, hops.c and deliver.c share: one run of the queue.
 *
 * queue.c    what is there and due; the loop; one runner a uid
 * progress.c how far it is, at a terminal
 * entries.c  the table of known messages and their states
 * hops.c     next hops: whose turn it is, how many agents, what failed
 * agents.c   agent processes: started, heard, let go, reaped
 * work.c     jobs under way: given to agents, answered, taken back
 * deliver.c  one message while it is open: its jobs' results, on disk
 *
 * An entry that is due is classified (which next hops do its recipients
 * have?) and stands as an item in the queue of each.  When an agent of a next
 * hop is free, the item's message is opened and locked, and its recipients
 * for that hop travel as a job.  When no item and no job of it is left, the
 * pass is over: the message is removed, or waits for its next try.
 */
#ifndef DMA_RUNNER_H
#define DMA_RUNNER_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "instance.h"
#include "job.h"
#include "route.h"
#include "select.h"
#include "spool.h"

struct agent;
struct message;
struct next_hop;

enum entry_state {
	ENTRY_WAITING, /* until next_try */
	ENTRY_DUE,     /* in the list of those to classify */
	ENTRY_QUEUED,  /* in its next hops' queues, or at work */
	ENTRY_BUSY,    /* somebody else has its lock */
	ENTRY_OVER,    /* held, not ours, not to be had, tried (in a flush) */
	ENTRY_GONE     /* delivered or removed: forgotten soon */
};

struct entry {
	char id[QUEUE_ID_MAX + 1];
	enum entry_state state;
	bool alone; /* it crashed its agent too often */
	bool own;   /* of the runner's user, by its id */
	int64_t next_try;
	struct message *message; /* while open, locked by us */
	unsigned items;
	unsigned seen;       /* number of the last scan that saw it */
	struct entry *chain; /* of its hash bucket */
	struct entry *next;  /* in the list of due ones */
};

/* A message's turn at one next hop. */
struct item {
	struct entry *entry;
	struct item *next;
};

enum pass_state { PASS_WAITING, PASS_SENT_OUT, PASS_OVER };

struct message {
	struct entry *entry;
	struct spool_file file;
	struct next_hop **hops;   /* of each recipient; NULL: settled before */
	unsigned char *pass;      /* enum pass_state of each recipient */
	unsigned char *unwritten; /* status that could not be written yet */
	size_t nunwritten;
	unsigned jobs;  /* under way */
	bool attempted; /* this pass counts as an attempt */
	bool uncertain, crashed;
	bool unsynced;  /* a status byte is not on stable storage yet */
	int64_t opened; /* now_ms() */
	struct message *next, *prev; /* all open ones */
};

/* A job under way: recipients of one message in one transaction. */
struct work {
	uint32_t number;
	struct message *message;
	size_t nrecipients;
	uint32_t recipients[JOB_RECIPIENTS_MAX];
};

/* A process that delivers to one next hop. */
struct agent {
	pid_t pid;
	int sock; /* our end of the pair */
	int slot; /* lock of slot.N, or -1: a runner's first is free */
	struct next_hop *hop;
	size_t choice; /* of SMARTHOST's list that it was given */
	bool ready, greeted, closing, readable;
	bool hung; /* it took too long */
	struct work work[JOBS_PER_AGENT];
	unsigned nwork;
	struct item *rest;  /* its message has recipients for another job */
	uint32_t jobs;      /* given so far; numbers them */
	int64_t work_since; /* now_ms(): started, or at its first job since */
	int64_t idle_since;
	int64_t ended_at; /* end of file seen, status not yet; 0: no */
	struct agent *next;
};

struct next_hop {
	char key[ROUTE_KEY_MAX + QUEUE_ID_MAX + 2];
	char route[ROUTE_KEY_MAX + 1]; /* key, without the id of a lone one */
	bool alone;                    /* for one message that crashes agents */
	struct hop hop;
	size_t choice; /* in SMARTHOST's list */
	bool resolved; /* hop is filled */
	bool own;      /* some of its mail is of the runner's user */
	struct item *first, *last;
	size_t waiting; /* items */
	size_t users;   /* recipients of open messages that point here */
	unsigned agents, greeted;
	unsigned limit;    /* agents it may have now: slow start */
	bool timed;        /* answer_us is known */
	int64_t answer_us; /* how long its server lets us wait, of late */
	unsigned failures; /* of agents, since one had an answer */
	bool failed; /* give what comes the outcome `why`, until retry_at */
	int64_t retry_at;
	struct outcome why;
	struct next_hop *chain; /* of its hash bucket */
	struct next_hop *next;
};

#define HOP_BUCKETS 1024

struct runner {
	struct instance *in;
	bool flush;    /* try all once, whatever is due, then end */
	bool due_only; /* end when nothing is due (dmactl run) */
	bool verbose;
	const struct selection *only; /* these messages alone, or NULL */
	bool stop;                    /* no network, limits: leave the rest */
	uint64_t able; /* our limits allow messages of so many bytes */
	int wake;      /* FIFO, or -1 */

	struct entry **table;
	size_t table_size, entries, gone;
	unsigned scans;
	struct entry *due_first, *due_last;
	size_t waiting, busy, queued; /* entries in that state */
	int64_t next_due;             /* epoch; of the waiting ones */
	int64_t busy_again, give_up;  /* now_ms() */
	int64_t busy_pause;           /* milliseconds */
	int64_t clock;                /* epoch; when it was last asked */
	size_t taken, again;          /* messages classified; put off again */
	bool progress_line;
	int64_t shown; /* now_ms(); of the progress line, or 0 */

	struct next_hop *hops;
	struct next_hop *hop_table[HOP_BUCKETS];
	size_t items, nhops, hops_most; /* at the last, idle ones are freed */
	struct agent *agents;
	unsigned nagents;
	pid_t *left; /* given up before they ended: to be waited for */
	size_t nleft;
	int64_t slots_again[2]; /* now_ms(): none was free; by own */
	struct message *open;   /* messages that we hold */
	size_t open_messages, open_max, open_recipients;
	size_t unwritten;        /* messages with results not written */
	int64_t unwritten_again; /* now_ms() */

	unsigned turn_results; /* since the last directory sync */
	int64_t turn_began;
	bool dirty;    /* the directory has changes to sync */
	bool progress; /* something was done without waiting */
	bool worked;   /* on some message */
	bool notices;  /* some were made that this run does not deliver */
	char *record;  /* RECORD_MAX bytes for what agents send */
};

/* ---- progress.c ---- */

bool progress_wanted(void); /* somebody looks at the standard error */

/* Now and then, and at the end, say how far the run is. */
void progress_show(struct runner *r, bool end);

/* ---- entries.c ---- */

uint32_t entries_hash(const char *s);

/* The entry of an id; made, and *is_new, where there is none. */
struct entry *entries_get(struct runner *r, const char *id, bool *is_new);

/* A message appeared or is to be looked at again now. */
void entries_add(struct runner *r, const char *id);
void entries_set_state(
    struct runner *r, struct entry *e, enum entry_state state);
void entries_append_due(struct runner *r, struct entry *e); /* or before all */

/* Move entries of one state whose time has come to the due ones. */
void entries_wake(struct runner *r, enum entry_state state, int64_t now);

/* True for an errno that passes: too few descriptors, processes, memory. */
bool entries_shortage(int error);

/* Those that wait, but were not seen by the last scan, are gone. */
void entries_miss(struct runner *r);

/* Free the entries of messages that are gone, when they are many. */
void entries_forget_gone(struct runner *r);
void entries_free(struct runner *r);

/* ---- hops.c ---- */

/* The next hop for a route key; made where it is new. */
struct next_hop *hops_get(
    struct runner *r, const char *key, const struct entry *alone);
bool hops_is_local(const struct next_hop *h);
void hops_enqueue(struct runner *r, struct next_hop *h, struct entry *e);
void hops_drop_item(struct runner *r, struct item *item);

/*
 * The next item of h whose message may be opened now, or NULL; the caller
 * owns it.  Where open_max messages are open, those come first that are: so
 * they get closed.  hops_put_back: in front of all.
 */
struct item *hops_take(const struct runner *r, struct next_hop *h);
bool hops_have_work(const struct runner *r, const struct next_hop *h);
void hops_put_back(struct next_hop *h, struct item *item);

/* The server of h let an agent wait for so long. */
void hops_note_answer(struct next_hop *h, int64_t ms);

/* Hand out jobs, start agents, settle what failed hops hold. */
void hops_work(struct runner *r);

/* An agent told, or its end told, that the hop cannot be used now. */
void hops_failed(struct runner *r, struct agent *a, enum hop_failure failure,
    const struct outcome *o);

/* Go on to the next usable one of SMARTHOST's list; false if there is none. */
bool hops_next_choice(struct runner *r, struct next_hop *h);

/*
 * An agent of h came to nothing: true if others get through, so that h goes
 * on with fewer.
 */
bool hops_carry_on(struct next_hop *h, const struct agent *a, bool busy);

/* Give every waiting recipient this outcome for `hold` milliseconds. */
void hops_fail(struct next_hop *h, const struct outcome *o, int64_t hold);
void hops_free(struct runner *r);

/*
 * The configuration was read again: forget what was made of the old one, but
 * those that are left alone only if it is another one (all).
 */
void hops_forget(struct runner *r, bool all);

/* ---- agents.c ---- */

/* Start an agent for h.  0; -1 none can be had now (slots, hop failed). */
int agents_start(struct runner *r, struct next_hop *h);

/*
 * Descriptors to poll: fills at most max, returns how many; then what came
 * of them, in the same order.
 */
size_t agents_poll(struct runner *r, struct pollfd *fds, size_t max);
void agents_handle(struct runner *r, const struct pollfd *fds, size_t n);

/* Let idle ones go, reap the ended. */
void agents_tidy(struct runner *r);

/* Milliseconds until agents_tidy() has something to do, or -1. */
int64_t agents_timeout(const struct runner *r);
bool agents_busy(const struct runner *r);   /* any has a job */
void agents_lose_greeting(struct agent *a); /* it is no use any more */
void agents_close_all(struct runner *r);

/* ---- work.c ---- */

/* Give a ready agent its next job.  0; -1 nothing given. */
int work_give(struct runner *r, struct agent *a);

/* Act on a record.  0, or -1: the agent does not keep to the protocol. */
int work_take_record(
    struct runner *r, struct agent *a, const struct agent_record *rec);

/* Give what the agent did not answer for this outcome. */
void work_defer(
    struct runner *r, struct agent *a, struct work *w, const struct outcome *o);

/* The job's place is free, and its message may be at its end. */
void work_end(struct runner *r, struct agent *a, struct work *w);

/* Put a job's recipients back into the hop's queue: they were not tried. */
void work_return(struct runner *r, struct agent *a, struct work *w);
enum log_ident work_ident(const struct agent *a);

/* ---- deliver.c ---- */

/* Open and lock an entry's message.  NULL: the entry got another state. */
struct message *deliver_open(struct runner *r, struct entry *e);

/*
 * Take up to max recipients of m that wait for hop h into numbers[].
 * Returns how many; *more: others still wait.
 */
size_t deliver_take(struct message *m, const struct next_hop *h,
    uint32_t *numbers, size_t max, bool *more);

/* Record one recipient's outcome in memory and on disk, and log it. */
void deliver_result(struct runner *r, struct message *m, uint32_t number,
    const struct outcome *o, enum log_ident ident);

/* An item or a job of m ended; when it was the last, the pass is over. */
void deliver_release(struct runner *r, struct message *m);

/* Write again what could not be written. */
void deliver_retry_unwritten(struct runner *r);

/* End the turn: what was removed or marked is made durable. */
void deliver_sync(struct runner *r);

/* Let go of every open message as it stands on disk. */
void deliver_abandon_all(struct runner *r);

/* Take recipients back that an agent was given but did not try. */
void deliver_untake(struct message *m, const struct work *w);

#endif
