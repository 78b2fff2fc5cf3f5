/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd_text.h - what an SMTP client sends, into types; pure.
 */
#ifndef DMA_SMTPD_TEXT_H
#define DMA_SMTPD_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envelope.h"

enum smtpd_verb {
	VERB_HELO,
	VERB_EHLO,
	VERB_MAIL,
	VERB_RCPT,
	VERB_DATA,
	VERB_RSET,
	VERB_NOOP,
	VERB_VRFY,
	VERB_HELP,
	VERB_QUIT,
	VERB_ABSENT,  /* known, not here: EXPN, AUTH, STARTTLS ... */
	VERB_FOREIGN, /* another protocol's: a browser was sent to us */
	VERB_UNKNOWN
};

/* The verb of a line in any case; *rest is what follows, without blanks. */
enum smtpd_verb smtpd_verb(char *line, char **rest);

/* What follows MAIL FROM: or RCPT TO: (word, with its colon), in place. */
struct smtpd_path {
	char *path; /* as addr_parse() takes it */
	int64_t size;
	enum envelope_ret ret;
	const char *envid; /* xtext, or NULL */
	unsigned notify;
	const char *orcpt; /* "type;xtext", or NULL */
};

/* Returns NULL, or the reply: code, enhanced code, text. */
const char *smtpd_path_parse(
    struct smtpd_path *p, char *args, const char *word);

/*
 * Decode what follows DATA: CRLF becomes LF, the dot that protects a dot
 * goes.  CRLF.CRLF alone is its end.  A CR or LF that stands alone is passed
 * on and noted.
 */
/*
 * RFC 3461, 4: printable, but '+' and '=', which stand as "+HH"; 1 to max
 * bytes.
 */
bool smtpd_is_xtext(const char *s, size_t max);

struct smtpd_data {
	enum {
		DATA_LINE_START,
		DATA_DOT,
		DATA_DOT_CR,
		DATA_TEXT,
		DATA_CR,
		DATA_END
	} state;
	bool bare_cr, bare_lf;
};

/*
 * From in to out (size bytes), up to the end of either or of the data.
 * Returns the number of bytes in out; *used of in are taken.
 */
size_t smtpd_data_decode(struct smtpd_data *d, const char *in, size_t len,
    size_t *used, char *out, size_t size);

#endif
