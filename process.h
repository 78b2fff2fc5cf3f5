/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * process.h - what a process inherits, set afresh; becoming another user.
 *
 * Every program of ours calls process_enter() before anything else: it
 * starts in a hostile environment run by a hostile user (V-12 to V-27).
 */
#ifndef DMA_PROCESS_H
#define DMA_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* What of the caller's environment survives, each checked or NULL. */
struct process_env {
	char *logname; /* only a hint: compare with the real uid */
	char *user;
	char *email; /* unchecked text; parse it as an address */
	bool utf8;   /* LC_ALL, LC_CTYPE or LANG say that he reads UTF-8 */
};

/*
 * Descriptors 0-2 open (on /dev/null where they were closed), all from
 * first_extra up closed (3 for none kept); environment replaced by
 * PATH=/usr/bin:/bin, TZ where it is harmless; umask 077; every signal
 * default and unblocked except SIGPIPE and SIGXFSZ ignored (SIGHUP stays
 * ignored where it was); interval timers off; no core; not dumpable.
 * env may be NULL; its strings are the caller's.  Exits 71 if it cannot.
 */
void process_enter(int first_extra, struct process_env *env);
void process_env_free(struct process_env *env);

/*
 * Become uid and gid for good: groups set to the gid alone, real, effective
 * and saved ids changed, each checked and the old ones tried in vain.
 * Returns 0, or -1 with errno; after -1 the caller must exit.
 */
int process_become(uid_t uid, gid_t gid);

/* Give up set-id rights: back to the real uid and gid, checked. */
int process_drop_setid(void);

/*
 * New session, / as directory, /dev/null on 0-2: nothing of the caller is
 * held.  keep_stderr leaves 2 alone.
 */
void process_detach(bool keep_stderr);

/*
 * Forget how slow the caller wanted to be: niceness, scheduling class,
 * processors, disk priority, timer slack.  Needs privilege; as far as it goes.
 */
void process_reset_scheduling(void);

/*
 * Raise every limit to what an agent wants.  Returns 0, or -1 with errno: EPERM
 * one is refused, and below what it needs.
 */
int process_raise_limits(void);

/*
 * True if this process may start agents: limits are enough for a message of
 * size bytes and, where need_setid (agents are started by dma-become; a
 * private instance of a user does without), set-id programs work: no
 * no_new_privs.  *why gets a constant text when not, else NULL.
 */
bool process_may_deliver(off_t size, bool need_setid, const char **why);

#endif
