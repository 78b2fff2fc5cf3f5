/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * net.h - one connection: connect, lines in, bytes out, TLS, deadlines.
 *
 * Everything waits in poll(2) against a monotonic deadline; nothing blocks,
 * no alarm, end of file is an error of its own (ECONNRESET).
 */
#ifndef DMA_NET_H
#define DMA_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "crypto.h"

struct net {
	int fd; /* -1: closed */
	struct crypto *tls; /* NULL in plaintext: "encrypted" is this */
	int64_t deadline; /* now_ms() clock, for every wait */
	bool bare_lf;	  /* the peer ended a line with LF alone */
	char error[CRYPTO_ERROR_MAX]; /* what failed, printable, for people */
	char *in; /* input buffer */
	size_t in_pos, in_len;
	char *out; /* output buffer */
	size_t out_len;
};

/*
 * Connect to an address (port included) within ms milliseconds, TCP_NODELAY
 * set.  Returns 0, or -1 with errno (ETIMEDOUT, ECONNREFUSED, EACCES ...).
 */
int	net_connect(struct net *n, const struct sockaddr *sa, socklen_t len,
	    int64_t ms);

/* Set the deadline to now + ms. */
void	net_deadline(struct net *n, int64_t ms);

/*
 * Read one line, without its CRLF or LF, into *line: borrowed, NUL-ended,
 * valid until the next call; a NUL in it is kept, *len counts it.
 * Returns 0, or -1 with errno: ETIMEDOUT, ECONNRESET (end of file, also in
 * the middle of a line), EMSGSIZE (over max bytes), EIO (TLS failed).
 */
int	net_getline(struct net *n, size_t max, char **line, size_t *len);

/* Bytes that have come and were not read yet; looks at the socket too. */
bool	net_input_pending(struct net *n);

/*
 * Buffer bytes; a full buffer is sent.  net_flush sends the rest: one
 * write a round trip.  While sending, input is not read; *stopped of
 * net_put_interruptible (may be NULL) tells that the peer spoke or closed
 * while we were sending.  0, or -1 with errno.
 */
int	net_put(struct net *n, const void *p, size_t len);
int	net_flush(struct net *n);

/*
 * Handshake.  Bytes that came in plaintext before are a protocol error
 * (EPROTO, CVE-2011-0411): nothing of the plaintext session survives.
 * 0, or -1 with errno ETIMEDOUT, ECONNRESET, EPROTO, EIO and n->error.
 */
int	net_start_tls(struct net *n, const struct crypto_policy *policy,
	    int64_t ms);

/* "192.0.2.1" or "IPv6:..." without brackets: the numeric peer. */
void	net_address_text(const struct sockaddr *sa, char *dst, size_t size);

void	net_close(struct net *n); /* idempotent; frees all */

#endif
