/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * envelope.h - a queued message's envelope and its one codec.
 *
 * The text that stands at the head of a spool file.  Encoder and decoder
 * are a pair: what the encoder cannot produce the decoder refuses, so that a
 * file that was tampered with is quarantined and never delivered.
 */
#ifndef DMA_ENVELOPE_H
#define DMA_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "buf.h"
#include "limits.h"

/* A recipient's status byte: the truth. */
enum recipient_status {
	STATUS_TODO = 'T',
	STATUS_SENT = 'S',
	STATUS_FAILED = 'F',    /* its sender is still to be told */
	STATUS_TOLD = 'N',      /* ... and was notified */
	STATUS_REMOVED = 'R',   /* by dmactl */
	STATUS_UNCERTAIN = 'U', /* final dot sent, no answer came */
	/* Sent, and a notice of that is still owed; then it is SENT. */
	STATUS_DELIVERED = 'D', /* a mailbox has it */
	STATUS_RELAYED = 'H'    /* a server that sends no notices has it */
};

/* RFC 3461 NOTIFY, as bits; 0 is the default (failure, delay). */
enum {
	NOTIFY_NEVER = 1,
	NOTIFY_SUCCESS = 2,
	NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8
};

/*
 * A next_try that no runner writes: dmactl has told the message to expire.
 * To a reader that does not know it, it is due.
 */
#define NEXT_TRY_EXPIRE 1

/*
 * "never", or a list of success, failure and delay (RFC 3461, 4.1), in any
 * case.  Returns 0, or -1.
 */
int envelope_parse_notify(const char *s, unsigned *bits);

enum envelope_ret { RET_DEFAULT, RET_FULL, RET_HDRS };

/* What is in the message; LONG_LINE: one over LINE_WIRE_MAX bytes. */
enum {
	MESSAGE_8BIT = 1,
	MESSAGE_LONG_LINE = 2,
	MESSAGE_NUL = 4,
	MESSAGE_LONE_CR = 8
};

struct recipient {
	struct addr addr; /* bare: a local user; else remote */
	enum recipient_status status;
	unsigned notify;     /* NOTIFY_* bits */
	char *orcpt;         /* "rfc822;xtext", or NULL ("" is NULL) */
	char *orig;          /* the address an alias led from, or NULL */
	char *target;        /* the "/file" or "|command" of the alias that
			      * addr is, or NULL */
	char *reason;        /* of one that has failed before it is stored:
			      * "5.1.1 why"; for the journal, not encoded */
	off_t status_offset; /* of the status byte in the file */
};

struct envelope {
	char id[QUEUE_ID_MAX + 1];
	/* Changed in place. */
	bool hold;
	uint32_t attempts;
	uint32_t crashes; /* agents that died on it */
	bool warned;      /* the delay notice was sent */
	int64_t next_try; /* seconds since the epoch; NEXT_TRY_EXPIRE */
	/* Fixed at the commit. */
	int64_t arrival; /* seconds since the epoch */
	uid_t uid;       /* the submitter's */
	struct addr sender;
	char *envid; /* xtext, or NULL ("" is NULL) */
	enum envelope_ret ret;
	unsigned flags;    /* MESSAGE_* */
	uint64_t length;   /* of the message, bytes */
	uint64_t checksum; /* of the message */
	struct recipient *recipients;
	size_t nrecipients;
	off_t message_offset; /* the encoded envelope's length */
};

/*
 * Encode onto out; sets status_offset and message_offset.  The text has the
 * same size whatever flags, length and checksum are.  Times before 1970 or
 * past the year 33000 are stored as the nearest that can be.
 * Returns 0, or -1 with errno (EMSGSIZE; EINVAL: a field that may not be,
 * such as an address that addr_parse() would not give back as it is).
 */
int envelope_encode(struct envelope *e, struct buf *out);

/*
 * Decode the envelope from a file's first len bytes, as if hostile.  Returns
 * 0, or -1 with errno, *e zeroed: EBADMSG it is none; EAGAIN it goes on after
 * len.
 */
int envelope_decode(struct envelope *e, const char *text, size_t len);

/*
 * Decode only what changes: hold, attempts, crashes, warned, next_try, from
 * at least ENVELOPE_STATE_END bytes.  The rest of *e is left alone.  Returns
 * 0, or -1 (EBADMSG).
 */
int envelope_decode_state(struct envelope *e, const char *text, size_t len);

/*
 * Two lines of fixed width at fixed places, each with its LF: the state,
 * overwritten for as long as the message is queued; then what is known only
 * once the message has streamed through (flags, length, checksum).
 */
#define ENVELOPE_STATE_OFFSET   12
#define ENVELOPE_STATE_LEN      73
#define ENVELOPE_STATE_END      (ENVELOPE_STATE_OFFSET + ENVELOPE_STATE_LEN)
#define ENVELOPE_MESSAGE_OFFSET ENVELOPE_STATE_END
#define ENVELOPE_MESSAGE_LEN    65
void envelope_state_text(
    const struct envelope *e, char text[ENVELOPE_STATE_LEN + 1]);
void envelope_message_text(
    const struct envelope *e, char text[ENVELOPE_MESSAGE_LEN + 1]);

/*
 * True if name has the form of a queue id: QUEUE_ID_LEN base-32 digits; a
 * failure notice's has "x" and a recipient's number after it, a delay
 * notice's "w", a success notice's "s" and a number; a failure notice about
 * one of these has "x" and a number more.
 */
#define QUEUE_ID_DIGITS "0123456789ABCDEFGHIJKLMNOPQRSTUV"
bool envelope_id_valid(const char *name);

void envelope_free(struct envelope *e);

/* The message checksum: FNV-1a, 64 bits; sum is CHECKSUM_INIT at first. */
#define CHECKSUM_INIT 0xcbf29ce484222325ULL
uint64_t checksum_update(uint64_t sum, const void *p, size_t len);

size_t envelope_count(const struct envelope *e, enum recipient_status s);
bool envelope_open(const struct envelope *e); /* any todo or uncertain */
bool envelope_owed(const struct envelope *e); /* any notice owed */

/* Where the message ends in the file, and the journal begins. */
uint64_t envelope_message_end(const struct envelope *e);

/*
 * True if the sender wants to be told of this: NOTIFY_FAILURE or NOTIFY_DELAY,
 * which are what is wanted where nothing was said (RFC 3461, 4.1).
 */
bool recipient_wants_notice(const struct recipient *r, unsigned kind);
bool recipient_open(const struct recipient *r); /* todo or uncertain */
bool recipient_owed(const struct recipient *r); /* failed, or sent: untold */

#endif
