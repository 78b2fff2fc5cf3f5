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
	STATUS_FAILED = 'F',	/* its sender is still to be told */
	STATUS_TOLD = 'N',	/* ... and was notified */
	STATUS_REMOVED = 'R',	/* by dmactl */
	STATUS_UNCERTAIN = 'U'	/* final dot sent, no answer came */
};

/* RFC 3461 NOTIFY, as bits; 0 is the default (failure, delay). */
enum { NOTIFY_NEVER = 1, NOTIFY_SUCCESS = 2, NOTIFY_FAILURE = 4,
	NOTIFY_DELAY = 8 };

enum envelope_ret { RET_DEFAULT, RET_FULL, RET_HDRS };

/* What is in the message, found while it streamed in. */
enum {
	MESSAGE_8BIT = 1,	/* a byte over 0x7f */
	MESSAGE_LONG_LINE = 2,	/* a line over LINE_WIRE_MAX bytes */
	MESSAGE_NUL = 4,
	MESSAGE_LONE_CR = 8
};

struct recipient {
	struct addr addr; /* bare: a local user; else remote */
	enum recipient_status status;
	unsigned notify;	   /* NOTIFY_* bits */
	char *orcpt;		   /* "rfc822;xtext", or NULL */
	char *orig;		   /* the address an alias led from, or NULL */
	off_t status_offset;	   /* of the status byte in the file */
};

struct envelope {
	char id[QUEUE_ID_MAX + 1];
	/* Fixed width, in the first 512 bytes, changed in place. */
	bool hold;
	uint32_t attempts;
	uint32_t crashes;  /* agents that died on it */
	bool warned;	   /* the delay notice was sent */
	int64_t next_try;  /* seconds since the epoch */
	/* Fixed at the commit. */
	int64_t arrival;   /* seconds since the epoch */
	uid_t uid;	   /* the submitter's */
	struct addr sender;
	char *envid;	   /* or NULL */
	enum envelope_ret ret;
	unsigned flags;	   /* MESSAGE_* */
	uint64_t length;   /* of the message, bytes */
	uint64_t checksum; /* of the message */
	struct recipient *recipients;
	size_t nrecipients;
	/* Derived. */
	off_t message_offset; /* = the encoded envelope's length */
};

/*
 * Encode; sets status_offset and message_offset.  The text has the same
 * size whatever flags, length and checksum are, so that a second encoding
 * of the same envelope fills in what the first left blank.
 * Returns 0, or -1 with errno (EMSGSIZE; EINVAL: a field that may not be).
 */
int	envelope_encode(struct envelope *e, struct buf *out);

/*
 * Decode the whole envelope from a file's first len bytes (at least up to
 * its end line), as if hostile.  Returns 0, or -1 with errno: EBADMSG it is
 * none; EAGAIN it goes on after len.  On failure *e is freed and zeroed.
 */
int	envelope_decode(struct envelope *e, const char *text, size_t len);

/*
 * Decode only what stands in the first 512 bytes and changes: hold,
 * attempts, crashes, warned, next_try.  Returns 0 or -1 (EBADMSG).
 */
int	envelope_decode_state(struct envelope *e, const char *text,
	    size_t len);

/* The fixed-width state line's place and text, to overwrite in place. */
#define ENVELOPE_STATE_OFFSET 12
#define ENVELOPE_STATE_LEN    68
void	envelope_state_text(const struct envelope *e,
	    char text[ENVELOPE_STATE_LEN + 1]);

void	envelope_free(struct envelope *e);

/* The message checksum: FNV-1a, 64 bits, over more bytes. */
#define CHECKSUM_INIT 0xcbf29ce484222325ULL
uint64_t	checksum_update(uint64_t sum, const void *p, size_t len);

/* Counts over the recipients. */
size_t	envelope_count(const struct envelope *e, enum recipient_status s);
bool	envelope_open(const struct envelope *e); /* any todo or uncertain */

#endif
