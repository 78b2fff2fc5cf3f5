/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * auth.h - SMTP AUTH: which mechanism, and its words (RFC 4954, 4616, 2195).
 */
#ifndef DMA_AUTH_H
#define DMA_AUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

enum { AUTH_CRAM_MD5 = 1, AUTH_PLAIN = 2, AUTH_LOGIN = 4 };

/* Bits of the mechanisms named in an EHLO keyword's parameters. */
unsigned auth_parse_mechanisms(const char *names);

/*
 * The strongest of what is offered and not yet refused, or 0.  Strongest
 * first: under TLS the order is CRAM-MD5, PLAIN, LOGIN as dma 0.14's users
 * know it.
 */
unsigned auth_choose(unsigned offered);
const char *auth_name(unsigned mechanism);

struct auth {
	unsigned mechanism;
	const char *user, *password; /* borrowed */
	bool user_said;              /* LOGIN: the password is next */
	bool done; /* all was said: only now may the server say 235 */
};

/*
 * The first line: "AUTH PLAIN <base64>" and so on, without CRLF, into out
 * (emptied before; wipe it after use).  A line that would be over 512
 * octets goes without the initial response (RFC 4954, 4).
 * Returns 0, or -1 with EMSGSIZE.
 */
int auth_start(struct auth *a, struct buf *out);

/*
 * Answer a 334 challenge (its base64 text) with a line, without CRLF.
 * Returns 0; -1 with errno EBADMSG: not base64, or one challenge too many:
 * send "*" and give the session up; ENOTSUP: no MD5 in this library.
 */
int auth_answer(struct auth *a, const char *challenge, struct buf *out);

/*
 * Overwrite the password with asterisks where it stands in a server's text: as
 * it is, or as PLAIN and LOGIN say it.  One of under PASSWORD_HIDDEN_MIN bytes
 * stays: it is in too many words by chance.
 */
void auth_hide(const struct auth *a, char *text, size_t len);

#endif
