/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * spool.h - queue files: committed, listed, locked, marked, removed.
 *
 * Only this module knows their names, modes, locks and order of writes.
 * One file a message: envelope, message, journal (ARCHITECTURE.md has the
 * states and what a crash leaves of each).  Functions that return int give 0,
 * or -1 with errno, unless they say otherwise.
 */
#ifndef DMA_SPOOL_H
#define DMA_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "envelope.h"

struct spool {
	int dirfd;
	uid_t uid; /* the effective uid: whose messages we make */
	bool all;  /* root's run: serves the whole queue; the caller sets it */
	mode_t mode; /* of files: 0660, a private instance's 0600 */
};

/*
 * Open the directory.  A private instance's belongs to the effective uid
 * with mode 0700; the system's to root, has the spool group (the effective
 * gid, unless we are root) and gives others nothing.  Call it as the user
 * whose messages are to be made.  After -1 (EPERM: wrong owner or mode) *why
 * is a constant text.
 */
int spool_open(
    struct spool *s, const char *dir, bool private_instance, const char **why);
void spool_close(struct spool *s);

/* True if `percent` of blocks and inodes are free, and `size` bytes fit. */
bool spool_has_room(const struct spool *s, unsigned percent, off_t size);

/* Make removals and renames durable. */
int spool_sync(const struct spool *s);

/* ---- Intake: create, append, commit ---- */

struct spool_draft {
	struct envelope *env; /* borrowed */
	int fd;
	char *buffer; /* not yet written; at first the envelope */
	size_t used;
	uint64_t written; /* bytes in the file */
	int error;        /* errno of a failed write: no commit any more */
	uint64_t length, checksum; /* of the message */
	unsigned flags;
	size_t line; /* bytes of the line under way */
	char name[QUEUE_ID_MAX + 8];
};

/* A fresh random id for uid into id (QUEUE_ID_LEN + 1 bytes). */
int spool_new_id(uid_t uid, char *id);

/* True for an id of s->uid's message, or of a notice about one. */
bool spool_id_is_own(const struct spool *s, const char *id);

/*
 * Create tmp.<id>, locked, and begin it with the envelope, blank where it is
 * not known yet.  env->id is chosen here unless it is set (a notice's); env
 * must not change until the commit, which sets flags, length and checksum.
 * After -1 there is nothing to abandon: EEXIST that id is queued, EWOULDBLOCK
 * somebody is writing it, EINVAL see envelope_encode().
 */
int spool_create(
    const struct spool *s, struct envelope *env, struct spool_draft *d);

/*
 * Append message text, LF line ends (so that every CR is a lone one), finding
 * its flags on the way.  After -1 (ENOSPC, EDQUOT, EFBIG ...) abandon it.
 */
int spool_append(struct spool_draft *d, const void *p, size_t len);

/*
 * After the whole message: say in the journal why recipients have failed that
 * are stored as failed.
 */
int spool_append_reasons(struct spool_draft *d);

/*
 * Fill the blanks, fsync, rename to the id replacing nothing, fsync the
 * directory: after 0 the message is on stable storage.  An fsync error is
 * final.  After -1 (EEXIST: that id is there) nothing is queued, or, where
 * the directory's fsync failed, nothing that we know of.  Either way the
 * draft is over.
 */
int spool_commit(const struct spool *s, struct spool_draft *d);

/* Remove a draft, if it is not over yet; errno kept. */
void spool_abandon(const struct spool *s, struct spool_draft *d);

/*
 * Remove one draft that nobody holds and that is at least `age` seconds old;
 * true if it is gone.
 */
bool spool_remove_stale(const struct spool *s, const char *name, int64_t age);

/* Remove tmp.* files that are old and unlocked; ours, or where s->all any. */
void spool_sweep(const struct spool *s);

/* ---- The queue ---- */

/*
 * Call each() for every name that is a queue id and may be ours: by its uid
 * digits, or all of them where s->all; or for every name in the directory.
 * Returns 0, -1, or what each() returned, if other than 0: that ends it.
 */
int spool_scan(
    const struct spool *s, int (*each)(void *arg, const char *id), void *arg);
int spool_each_name(
    const struct spool *s, int (*each)(void *arg, const char *name), void *arg);

/*
 * How many messages and bytes are queued by anybody; bad. and dead. files, and
 * those of DragonFly's dma.
 */
struct spool_totals {
	size_t messages, bad, dead, old;
	uint64_t bytes;
};
int spool_totals(const struct spool *s, struct spool_totals *t);

/* An open queue file. */
struct spool_file {
	int fd;
	bool locked;
	uid_t owner;   /* st_uid */
	uint64_t size; /* of the file */
	struct envelope env;
};

/*
 * Open a message and decode its envelope.  With lock, take flock (never
 * waiting) and check that the name still means this file; without, it is
 * only looked at, O_RDONLY.  On -1 *f is as after spool_file_close():
 *	ENOENT	    gone
 *	EWOULDBLOCK somebody else has it
 *	EPERM	    not ours: another owner (and not s->all)
 *	EBADMSG	    does not decode; with lock it now is bad.<id>
 *	EIO	    or could not be renamed so
 */
int spool_file_open(
    const struct spool *s, const char *id, bool lock, struct spool_file *f);
void spool_file_close(struct spool_file *f); /* unlocks; {fd -1}; errno kept */

/*
 * The same without lock in two steps, since most of what is queued only
 * waits: the first reads only the state of the first 512 bytes, into *state,
 * the rest of which is left alone, and has not asked whose file it is; the
 * second goes on with what the first opened.  Both leave f as
 * spool_file_open() does.
 */
int spool_file_look(const struct spool *s, const char *id,
    struct envelope *state, struct spool_file *f);
int spool_file_load(
    const struct spool *s, const char *id, struct spool_file *f);

/* Read only the state, as spool_file_look(), of a file that is ours. */
int spool_peek(const struct spool *s, const char *id, struct envelope *state,
    uid_t *owner);

/* A second descriptor of the same file, O_RDONLY, for an agent; or -1. */
int spool_file_reopen(const struct spool *s, const struct spool_file *f);

/* True if somebody holds the lock of a file that was opened without it. */
bool spool_file_busy(const struct spool_file *f);

/*
 * Call each() for the message's bytes, piece by piece, until it returns other
 * than 0.  Returns 0, each()'s value, or -1 with errno (EBADMSG: short).
 */
int spool_file_read(const struct spool_file *f,
    int (*each)(void *arg, const char *p, size_t len), void *arg);

/*
 * Compare the message with its recorded length and checksum, before it is
 * sent anywhere.  EBADMSG: it differs, and now is bad.<id>.
 */
int spool_file_verify(const struct spool *s, struct spool_file *f);

/*
 * Write recipient i's status byte, or hold, attempts, crashes, warned and
 * next_try from f->env; in place, not synced.  Where a mark fails f->env
 * stays, and the caller keeps the lock and tries again, starting nothing else
 * for the message.
 */
int spool_file_mark(
    struct spool_file *f, size_t i, enum recipient_status status);
int spool_file_write_state(struct spool_file *f);
int spool_file_sync(struct spool_file *f); /* fdatasync */

/*
 * Remove a message all of whose recipients are settled.  EBUSY: one is to
 * do, uncertain, or failed and its sender not told.
 */
int spool_file_remove(const struct spool *s, struct spool_file *f);

/* Rename to dead.<id>: a notice that cannot be delivered. */
int spool_file_park(const struct spool *s, struct spool_file *f);

/*
 * The journal: one line an event, for people.  A failed write is no error; a
 * full journal is begun afresh.  recipient is an index; text is made
 * printable.
 */
void spool_journal_add(struct spool_file *f, size_t recipient, int64_t when,
    const char *dsn, const char *relay, const char *text);

/* time <tab> recipient's number <tab> status code <tab> relay <tab> text */
#define JOURNAL_LINE_MAX                                                       \
	(OUTCOME_TEXT_MAX + RELAY_TEXT_MAX + 64) /* bytes, with LF */
void spool_journal_format(char *line, size_t size, size_t recipient,
    int64_t when, const char *dsn, const char *relay, const char *text);

struct journal_entry {
	int64_t when;
	char dsn[12];
	char relay[RELAY_TEXT_MAX + 1];
	char text[OUTCOME_TEXT_MAX + 1];
};

/* Call each() for every whole line that means a recipient, oldest first. */
void spool_journal_each(const struct spool_file *f,
    void (*each)(
	void *arg, size_t recipient, const struct journal_entry *entry),
    void *arg);

/* The last entry of each recipient: entries[i].when is 0 where none is. */
void spool_journal_last(
    const struct spool_file *f, struct journal_entry *entries, size_t n);

/* ---- What DragonFly's dma left: Q<id> a recipient, M<id> its message ---- */

struct spool_old {
	char name[SPOOL_OLD_NAME_MAX + 1]; /* of the Q file */
	int fd, message;                   /* Q, with its lock; M; or -1 */
	uid_t owner;
	int64_t arrival; /* seconds since the epoch */
	dev_t dev;       /* of M: recipients of one message share it */
	ino_t ino;
	int64_t size; /* of M when it was opened: its owner may write on */
	char text[SPOOL_OLD_TEXT_MAX + 1]; /* what Q holds */
};

bool spool_old_name(const char *name); /* that of a Q file */

/*
 * Open both and take the old program's lock, never waiting.  Returns 0, or -1
 * with errno, and *o as after spool_old_close():
 *	ENOENT	    gone, or noted before
 *	EWOULDBLOCK the old program works on it
 *	EBADMSG	    no pair that it would have made; *why is a constant text
 */
int spool_old_open(const struct spool *s, const char *name, struct spool_old *o,
    const char **why);
void spool_old_close(struct spool_old *o);

/* Remove both files, once the message is durable elsewhere; not synced. */
int spool_old_remove(const struct spool *s, const struct spool_old *o);

/*
 * Note, in bad.<name>, what is odd about a pair: it is left alone from now on,
 * until the note is removed.  True if it was not noted before.
 */
bool spool_old_note(const struct spool *s, const char *name, const char *why);

/* ---- run.<uid>, wake.<uid>, told.<uid>, slot.<n> ---- */

/*
 * Open the named file of mode 0660 (created where missing, never removed)
 * and flock it without waiting.  Returns a descriptor to keep, or -1
 * (EWOULDBLOCK: held by another).
 */
int spool_lock_run(const struct spool *s);
int spool_lock_slot(const struct spool *s, unsigned n);
int spool_lock_told(const struct spool *s); /* when whom; bounce.c's */

/*
 * The wake FIFO.  spool_wake_open: the runner's end (R2), O_RDWR and
 * non-blocking.  spool_wake_write: one record for queue id (S1): 0 written
 * or full, -1 with ENXIO, ENOENT or EPIPE: nobody reads it.
 * spool_wake_read: next record's id; 1 got one (an empty one: scan again), 0
 * none left, -1 error; a record that is no id is skipped.  *overrun: ids were
 * lost, ask every file again.
 */
#define WAKE_RECORD_LEN 64 /* bytes; divides PIPE_BUF and a page */
int spool_wake_open(const struct spool *s);
int spool_wake_write(const struct spool *s, const char *id);
int spool_wake_read(int fd, char *id, bool *overrun);

/*
 * Have runners look at the whole queue again: this uid's, or where s->all
 * everybody's.  An empty id, which is none, says so.
 */
void spool_wake_all(const struct spool *s);

#endif
