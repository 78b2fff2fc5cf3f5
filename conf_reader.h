/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf_reader.h - what conf.c and conf_relay.c share, and nobody else.
 */
#ifndef DMA_CONF_READER_H
#define DMA_CONF_READER_H

#include <stddef.h>

#include "compat.h"
#include "conf.h"

#define BLANKS "\t\v\f\r "

/* KEY_VALUE: 0.14's.  KEY_NEW: ours.  KEY_PRIVATE: ours, with -C only. */
enum key_kind { KEY_FLAG, KEY_VALUE, KEY_NEW, KEY_PRIVATE };

struct reader;
struct conf_key {
	const char *name;
	enum key_kind kind;
	int (*set)(struct reader *r, char *value);
	size_t offset; /* in struct conf, for the setters that serve many */
	long long min, max; /* max: also what a flag sets */
};

/* Where a parser is, for its error line; line 0 is the file as a whole. */
struct reader {
	struct conf *c;
	const char *file;
	unsigned line;
	bool private_instance;
	struct conf_error *error;
	const struct conf_key *key; /* whose value is being set */
	bool confined;              /* the group's right is missing */
};

/* Set the error, "file:line: ...", made printable; returns -1. */
int conf_fail(struct reader *r, const char *fmt, ...) PRINTFLIKE(2, 3);

/* Cut blanks off both ends, in place. */
char *conf_trim(char *s);

/*
 * Call each() with a writable copy of every line, at most max bytes long and
 * without a NUL; a byte order mark is forgiven.  each() returns 0 to go on.
 * Returns 0, or -1 with the error set.
 */
int conf_each_line(struct reader *r, const char *text, size_t len, size_t max,
    int (*each)(struct reader *r, char *line));

/* SMARTHOST's value, taking the place of an earlier one.  0 or -1. */
int conf_set_relays(struct reader *r, char *value);

/* What the keys mean together, once all are read, and again with auth.conf. */
int conf_settle(struct reader *r);

/* MAILBOX with an LMTP server; text: what stands behind "lmtp:". */
int conf_set_lmtp(struct reader *r, const char *text);

void conf_relays_free(struct conf *c);
void conf_mailbox_free(struct conf *c);
void conf_names_free(struct conf *c);

/* ---- Setters, one for each kind of value (conf_value.c): 0 or -1 ---- */

int conf_set_flag(struct reader *r, char *value);
int conf_set_path(struct reader *r, char *value);
int conf_set_number(struct reader *r, char *value);
int conf_set_size(struct reader *r, char *value);
int conf_set_duration(struct reader *r, char *value);
int conf_set_retry(struct reader *r, char *value);
int conf_set_log(struct reader *r, char *value);
int conf_set_fingerprint(struct reader *r, char *value);
int conf_set_mailname(struct reader *r, char *value);
int conf_set_masquerade(struct reader *r, char *value);
int conf_set_postmaster(struct reader *r, char *value);
int conf_set_headers(struct reader *r, char *value);
int conf_set_names(struct reader *r, char *value);
int conf_set_networks(struct reader *r, char *value);
int conf_set_user(struct reader *r, char *value);
int conf_set_mailbox(struct reader *r, char *value);

#endif
