/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dotlock.h - NAME.lock beside a mailbox, and a missing mailbox.
 */
#ifndef DMA_DOTLOCK_H
#define DMA_DOTLOCK_H

#include <stdint.h>
#include <sys/types.h>

/* The caller sets the first two; both are borrowed. */
struct dotlock {
	int dir; /* the directory that name is relative to, or AT_FDCWD */
	const char *name;
	dev_t dev; /* what was made, to be known again */
	ino_t ino;
};

/*
 * Make the lock, waiting until the deadline (now_ms()) while another has it;
 * one that is stale is removed.  It is given to owner and group (-1: left as
 * made), so that the owner can keep it young.
 * Returns 0, or -1 with no lock of ours there and errno: EAGAIN another has
 * it; else why it cannot be made.
 */
int dotlock_take(struct dotlock *l, uid_t owner, gid_t group, int64_t deadline);

/* Remove it, if it still is the one that dotlock_take() made. */
void dotlock_drop(const struct dotlock *l);

/*
 * One step of any wait for a mailbox's locks: sleep *ms and double that up to
 * MBOX_POLL_MAX_MS; begin with MBOX_POLL_FIRST_MS.  Returns 0, or -1 at once
 * after the deadline.
 */
int dotlock_pause(int64_t deadline, long *ms);

/*
 * Open a directory for mailboxes.  Returns it, or -1 with errno: EPERM is one
 * where everybody could replace them.
 */
int dotlock_directory(const char *path);

/*
 * See that a user's mailbox is there, or make it; the caller is root, and has
 * its lock.  Returns 0, or -1 with errno: EPERM it is no file with one name
 * that belongs to owner or to writer; EAGAIN it cannot be made now.
 */
int dotlock_mailbox(
    int dir, const char *name, uid_t owner, uid_t writer, gid_t group);

#endif
