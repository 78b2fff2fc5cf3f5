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

#define NET_INPUT_SIZE  16384 /* bytes; over SASL_LINE_MAX and its CRLF */
#define NET_OUTPUT_SIZE 65536 /* bytes; one write a round trip */

struct net {
	int fd;             /* -1: closed */
	struct crypto *tls; /* NULL in plaintext: "encrypted" is this */
	int64_t deadline;   /* now_ms() clock, for every wait */
	bool watch_input;   /* the caller's: see net_put() */
	int broken;         /* errno of the read that failed; sticky */
	char error[CRYPTO_ERROR_MAX]; /* what failed, printable, for people */
	size_t in_pos, in_len, out_len;
	char in[NET_INPUT_SIZE], out[NET_OUTPUT_SIZE];
};

/*
 * Connect to an address (port included) within ms milliseconds, TCP_NODELAY
 * set.  AF_UNIX is an address like others.  n need not be initialised; it
 * can be given to net_close() whatever the result.
 * Returns 0, or -1 with n->error and the errno of socket(2) or connect(2):
 * ETIMEDOUT, ECONNREFUSED, EACCES, EPERM, EAFNOSUPPORT ...
 */
int net_connect(
    struct net *n, const struct sockaddr *sa, socklen_t len, int64_t ms);

/*
 * Take over a connected stream socket: made non-blocking and close-on-exec,
 * closed by net_close().  For tests, and for sockets that were inherited.
 */
void net_attach(struct net *n, int fd);

/* Set the deadline to now + ms. */
void net_deadline(struct net *n, int64_t ms);

/*
 * Read one line, without its CRLF or LF, into *line: borrowed, NUL-ended,
 * valid until the next call of a net_ function; a NUL in it is kept, *len
 * counts it; a CR elsewhere is kept too.  What came before the connection
 * broke is still given, whole lines only.
 * max: bytes of the line, at most NET_INPUT_SIZE - 2.
 * Returns 0, or -1 with n->error and errno: ETIMEDOUT, ECONNRESET (end of
 * file, also in the middle of a line; any error of the socket), EMSGSIZE
 * (over max bytes), EIO (TLS failed).
 */
int net_getline(struct net *n, size_t max, char **line, size_t *len);

/*
 * True if net_getline would not have to wait for its first byte: bytes have
 * come that were not read yet, or the connection has ended.  Looks at the
 * socket, waits for nothing.  What TLS says for itself (session tickets)
 * does not count.
 */
bool net_input_pending(struct net *n);

/*
 * Buffer bytes; only a buffer that is full is sent.  net_flush sends the
 * rest: one write a round trip.  Replies that come meanwhile are taken into
 * the input buffer, so that two full pipes cannot block each other.
 * n->watch_input, which the caller sets while a message's body goes out:
 * nothing more is sent once the peer has spoken; the reply can then be read
 * with net_getline, and what was buffered for output is dropped.
 * Return 0, or -1 with n->error and errno:
 *	EALREADY    the peer spoke (only with watch_input)
 *	ETIMEDOUT   the deadline passed
 *	ECONNRESET  the peer closed, or any error of the socket
 *	EIO         TLS failed
 */
int net_put(struct net *n, const void *p, size_t len);
int net_flush(struct net *n);

/*
 * Handshake.  Bytes that came in plaintext before are a protocol error
 * (EPROTO, CVE-2011-0411): nothing of the plaintext session survives.
 * After -1 n->in has what came instead of a handshake, for people.
 * 0, or -1 with errno ETIMEDOUT, ECONNRESET, EPROTO, EIO and n->error; after
 * -1 the only thing left to do is net_close().
 */
int net_start_tls(
    struct net *n, const struct crypto_policy *policy, int64_t ms);

/* Idempotent; a net that was never connected has an fd of -1. */
void net_close(struct net *n);

/*
 * Wait for events of poll(2), or trouble, until a deadline of the now_ms()
 * clock: 0, or -1 with errno (ETIMEDOUT).  Whatever is ready at once counts.
 */
int net_wait(int fd, short events, int64_t deadline);

#endif
