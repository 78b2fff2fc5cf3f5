/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * header.h - a message header's fields, found and changed (RFC 5322, 2.2).
 */
#ifndef DMA_HEADER_H
#define DMA_HEADER_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "buf.h"

/* Those that somebody asks for by name. */
enum header_name {
	HEADER_OTHER,
	HEADER_BCC,
	HEADER_CC,
	HEADER_DATE,
	HEADER_FROM,
	HEADER_MESSAGE_ID,
	HEADER_RECEIVED,
	HEADER_RESENT_DATE,
	HEADER_RESENT_FROM,
	HEADER_RESENT_MESSAGE_ID,
	HEADER_TO,
	HEADER_NAMES /* how many */
};

enum header_traits {
	HEADER_RESENT = 1,     /* one of the Resent- fields */
	HEADER_RECIPIENTS = 2, /* -t takes its addresses */
	HEADER_DROPPED = 4,    /* does not leave the machine */
	HEADER_ADDRESSES = 8,  /* a list of addresses; bare ones get a domain */
	HEADER_AUTHOR = 16     /* who wrote or sent: SENDERS may change it */
};

/* One field in a header block; offsets into it, LF line ends. */
struct header_field {
	enum header_name name;
	unsigned traits;
	size_t start; /* of the name */
	size_t body;  /* after the colon */
	size_t end;   /* after the field's last LF */
};

/*
 * Tell what a line (without its LF; len bytes) is to a header: a field's
 * first line (*name_len its name), a continuation, or neither, which ends
 * the header.  Blanks before the colon are tolerated (RFC 5322, 4.5).
 */
enum header_line { HEADER_LINE_FIELD, HEADER_LINE_MORE, HEADER_LINE_NONE };
enum header_line header_line(const char *line, size_t len, size_t *name_len);

/*
 * Find all fields of a block that holds only header lines with LF ends.
 * *fields is allocated, the caller's.  Returns the number of fields.
 */
size_t header_scan(const char *block, size_t len, struct header_field **fields);

/*
 * Append the field without the blanks before its colon: many readers find
 * none of that name otherwise.
 */
int header_put_field(
    struct buf *out, const char *block, const struct header_field *f);

/*
 * The same with each address in it that edit() changes (it
 * returns true then) in its new spelling; everything else byte for byte.
 * Returns 0; 1: its address list does not parse, and it was copied as it is,
 * though edit() may have been called; or -1 (EMSGSIZE).
 */
int header_put_edited(struct buf *out, const char *block,
    const struct header_field *f, bool (*edit)(void *arg, struct addr *a),
    void *arg);

/*
 * Append the body of a list of addresses (whole lines) without its comments
 * and without the blanks that nothing follows; ends with an LF.
 */
int header_put_plain(struct buf *out, const char *body, size_t len);

/*
 * Append a phrase for From: an atom sequence as it is, else quoted; text
 * with bytes from 0x80 up as encoded-words (RFC 2047, UTF-8).
 */
int header_put_phrase(struct buf *out, const char *name);

#endif
