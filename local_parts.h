/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_parts.h - what the files of dma-local share, and nobody else.
 */
#ifndef DMA_LOCAL_PARTS_H
#define DMA_LOCAL_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "aliases.h"
#include "buf.h"
#include "conf.h"
#include "job.h"
#include "limits.h"
#include "mailbox.h"

#define COPY_BLOCK (64 * 1024)

enum local_role {
	LOCAL_PRIVATE, /* USER MAILBOX: an instance of his own */
	LOCAL_ROOT, /* --root USER: his mailbox in the mail directory, only */
	LOCAL_USER, /* --user USER [MAILBOX] */
	LOCAL_ALIAS /* --alias USER ALIASES: what aliases name */
};

/* This process. */
struct local {
	enum local_role role;
	const char *user;    /* the recipient, or ALIASUSER */
	const char *mailbox; /* MAILBOX, or NULL */
	const char *aliases; /* the alias file */
	char *home;          /* or NULL: unknown */
	bool homeless;       /* he is not meant to have one */
	char *host;          /* for Delivered-To */
	struct conf *conf;   /* which domains are ours; or NULL */
	struct aliases table;
	bool table_loaded;
	unsigned timeouts; /* percent */
	unsigned names;    /* made in maildirs */
	int64_t wait_ms;   /* for locks */
	/* His mailbox in the mail directory, whose dotlock dma-become makes. */
	bool have_lock;
	int64_t locked_at; /* now_ms() */
	int lock_status;   /* why not: a BECOME_*, or 0 */
};

/* One job of it. */
struct delivery {
	struct local *local;
	const struct job *job;
	const struct job_recipient *to;
	char *address; /* user+extension@host: Delivered-To */
	char extension[EXTENSION_MAX + 1]; /* in small letters, or "" */
	int64_t deadline;
	struct outcome *outcome;
};

/* ---- local.c ---- */

/*
 * Nothing of it is certain: it is tried again.  error: an errno, or 0.
 * Returns -1.
 */
int local_defer(
    struct outcome *o, const char *dsn, const char *what, int error);

/*
 * The runner is there to note what we do.  False: deferred, since the next one
 * would do it again.
 */
bool local_is_awaited(const struct delivery *d);

/* It was delivered: to what.  After others, those stay in the text. */
void local_sent(struct outcome *o, const char *what, const char *name);

/* ---- local_copy.c: the message on its way, with lines before it ---- */

struct copy {
	int (*write)(void *to, const void *p, size_t len); /* 0, or -1, errno */
	void *to;
	bool quote;         /* '>' before what would be a From_ */
	bool line_begins;   /* nothing or only '>' of this line was put */
	int error;          /* the first errno; then nothing more is written */
	struct buf waiting; /* to be written */
	char data[COPY_BLOCK];
};

void copy_put(struct copy *c, const char *data, size_t len);

/* From_, where a reader wants it; Return-Path, X-Original-To, Delivered-To. */
void copy_put_lines(struct copy *c, const struct delivery *d, bool from);

/* A line: nothing in the word can end it or divide the word. */
void copy_put_line(
    struct copy *c, const char *before, const char *word, const char *after);

/*
 * The job's message, ended by a newline.  Returns 0, or the errno of reading
 * it; see error for that of writing.
 */
int copy_put_message(struct copy *c, const struct job *j);
void copy_flush(struct copy *c);

/* For write: to is an int, a descriptor. */
int copy_to_file(void *to, const void *p, size_t len);

/* ---- Where it goes: each sets d->outcome ---- */

enum mbox_lock {
	MBOX_LOCK_OURS, /* its directory is the user's: made here */
	MBOX_LOCK_IF_MAY /* an alias's file, wherever it lies */,
	MBOX_LOCK_SPOOL /* by dma-become */
};

void mbox_deliver(
    const struct delivery *d, const char *path, enum mbox_lock lock);

/* Give the dotlock back: what follows may take long. */
void mbox_release(struct local *l);

/* The same for a moment, if we had it for as long as others may wait. */
void mbox_give_way(struct local *l);

void maildir_deliver(const struct delivery *d, const char *path);

/* Of a new file or maildir: its name must survive a power cut as well. */
void mbox_sync_directory(const char *path);

/* How writing or syncing failed. */
void mbox_write_failed(struct outcome *o, int error);

void command_deliver(const struct delivery *d, const char *command);

/* Hand the message to our own sendmail, for these addresses (NULL-ended). */
void command_forward(
    const struct delivery *d, const char *const *addresses, size_t n);

/* A job for the user, or for a target of an alias. */
void forward_deliver(const struct delivery *d);
void forward_deliver_alias(const struct delivery *d);

/* Who the user is: his home, what is local here. */
void forward_prepare(struct local *l);

#endif
