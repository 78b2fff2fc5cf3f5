/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mail.h - one message on its way in: read, repaired, stored (RFC 5322).
 */
#ifndef DMA_MAIL_H
#define DMA_MAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "addr.h"
#include "buf.h"
#include "conf.h"
#include "senders.h"
#include "spool.h"

/* Where a message comes from: a descriptor, read in large pieces. */
struct mail_source {
	int fd;
	/* As read(2), instead of fd, or NULL. */
	ssize_t (*read)(void *arg, char *p, size_t len);
	void *arg;
	bool dot_ends;   /* a line of one dot ends the message */
	int64_t maxsize; /* bytes: header as read, body as stored; 0: any */
	/* Private to mail.c. */
	char *piece;
	size_t piece_len, piece_pos, piece_size;
	bool dot_seen, at_end;
	int64_t taken;
};

/* The header as read: LF line ends, leading From_ lines dropped. */
struct mail_header {
	struct buf text; /* at most HEADER_MAX */
};

/* What has to be known to repair a header. */
struct mail_facts {
	const struct conf *conf;
	const struct addr *sender; /* reverse-path: null, or with a domain */
	bool rewritten;            /* it was another one before */
	const struct senders *senders;
	const char *full_name; /* -F or the account's, or NULL */
	const char *login;     /* of the submitter, "uid=N" if none */
	const char *from;      /* "host ([address])", or NULL: login */
	uid_t uid;
	const char *id; /* queue id */
	int64_t now;    /* seconds since the epoch */
};

/*
 * Read the header from src: up to its first empty line, or to the first line
 * that is neither field nor continuation, which stays in src for the body.
 * NULs and CRs are dropped, and continuation lines that are blank.
 * 0, or -1 with errno: EMSGSIZE header over HEADER_MAX, EFBIG over maxsize,
 * else that of read(2).
 */
int mail_read_header(struct mail_source *src, struct mail_header *h);

/*
 * The addresses of To, Cc and Bcc, or where there is any Resent- field, of
 * the first block's Resent-To, -Cc and -Bcc, in order, through each() (0 to
 * go on).
 * Returns 0, or -1 with why a text that names the field, or empty where
 * each() stopped it.
 */
int mail_header_recipients(const struct mail_header *h,
    int (*each)(void *arg, const struct addr *a), void *arg, char *why,
    size_t why_size);

/*
 * The header that is stored: a Received field, the fields as they came less
 * Bcc, Resent-Bcc, Return-Path, Content-Length and empty lists of addresses;
 * bare addresses qualified, authors changed as SENDERS and HEADERS say; then
 * what is missing of Date, Message-ID, From and To, and before the first
 * Resent- field of Resent-Date, -Message-ID and -From; and the empty line.
 * Returns 0, or -1 with EMSGSIZE.
 */
int mail_repair_header(const struct mail_header *h,
    const struct mail_facts *facts, struct buf *out);

/*
 * Only From and Resent-From, where mail_repair_header() would add them: what
 * of the facts (conf, sender, full_name) the next one to repair h has not.
 */
int mail_put_authors(const struct mail_header *h,
    const struct mail_facts *facts, struct buf *out);

/*
 * Hand the rest of src to put(), which returns 0 to go on: CRLF and LF become
 * LF, a lone CR stays, the last line gets its LF.  CRs right before a CRLF
 * belong to the line's end, so that no CR that is stored stands before an LF.
 * 0, or -1 with errno; *reading tells whether it was src (read error, EFBIG
 * over maxsize) or put() that failed.
 */
int mail_pass_body(struct mail_source *src,
    int (*put)(void *arg, const char *p, size_t len), void *arg, bool *reading);

/* Another message follows in what it reads from. */
void mail_source_restart(struct mail_source *src);
/*
 * Read and forget what is still being written to fd by a caller that was
 * refused: he shall hear why, not of a broken pipe.  Not from a terminal; up
 * to MAIL_DRAIN_MAX bytes, or until nothing came for MAIL_DRAIN_MS.
 */
void mail_drain(int fd);

void mail_source_free(struct mail_source *src);
void mail_header_free(struct mail_header *h);

#endif
