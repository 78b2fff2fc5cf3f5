/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * net.c - one connection: connect, lines in, bytes out, TLS, deadlines.
 *
 * Runs in:   dma-smtp.
 * Trusts:    its caller's deadlines. Distrusts: every byte and the pace of
 *            the peer.
 * Promises:  no wait outlives the deadline; nothing read in plaintext is
 *            ever taken for something that came through TLS.
 */
#include "net.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "limits.h"
#include "util.h"

#define TLS_HANDSHAKE 22 /* RFC 8446, 5.1: a record's first byte */

/* Words for n->error, then -1 with that errno. */
static int
fail(struct net *n, int error, const char *text)
{
	compat_strlcpy(n->error, text, sizeof(n->error));
	errno = error;
	return -1;
}

/*
 * The callers tell three ends apart: time, TLS, and "the connection is gone";
 * which of the many ways a socket has to say the last is for people only.
 */
static int
fail_socket(struct net *n, int error)
{
	char text[sizeof(n->error)];

	if (error == 0)
		return fail(n, ECONNRESET, "lost connection");
	(void)snprintf(
	    text, sizeof(text), "lost connection: %s", strerror(error));
	return fail(n, ECONNRESET, text);
}

/* In slices, because poll(2)'s clock stands still while a laptop sleeps. */
int
net_wait(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (bool polled = false;; polled = true) {
		int64_t left = deadline - now_ms();
		/* Or who always has something to say would never be late. */
		if (left < 0 || (left == 0 && polled)) {
			errno = ETIMEDOUT;
			return -1;
		}
		if (left > RUN_POLL_MAX_MS)
			left = RUN_POLL_MAX_MS;
		int ready = poll(&p, 1, (int)left);
		if (ready > 0)
			return 0;
		if (ready == -1 && errno != EINTR && errno != EAGAIN)
			return -1;
	}
}

static int
wait_for(struct net *n, short events)
{
	if (net_wait(n->fd, events, n->deadline) == 0)
		return 0;
	return errno == ETIMEDOUT ? fail(n, ETIMEDOUT, "timed out")
				  : fail_socket(n, errno);
}

void
net_deadline(struct net *n, int64_t ms)
{
	n->deadline = now_ms() + ms;
}

void
net_attach(struct net *n, int fd)
{
	int on = 1;

	memset(n, 0, sizeof(*n));
	n->fd = fd;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Fails harmlessly where this is no TCP socket. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* 0, or the errno of a connection that did not come to be. */
static int
try_connect(struct net *n, const struct sockaddr *sa, socklen_t len)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (connect(n->fd, sa, len) == 0)
		return 0;
	/* Interrupted, the connection is made all the same: wait for it. */
	if ((errno != EINPROGRESS && errno != EINTR) ||
	    net_wait(n->fd, POLLOUT, n->deadline) == -1 ||
	    getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		return errno;
	return error;
}

int
net_connect(struct net *n, const struct sockaddr *sa, socklen_t len, int64_t ms)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = errno;

	net_attach(n, fd);
	net_deadline(n, ms);
	if (fd != -1)
		error = try_connect(n, sa, len);
	if (error == 0)
		return 0;
	net_close(n);
	return fail(
	    n, error, error == ETIMEDOUT ? "timed out" : strerror(error));
}

void
net_close(struct net *n)
{
	crypto_free(n->tls);
	if (n->fd != -1)
		(void)close(n->fd);
	/* What was sent may have been a password. */
	compat_explicit_bzero(n, sizeof(*n));
	n->fd = -1;
}

/* Make a crypto_ result ours; *events is what to wait for if 0. */
static ssize_t
tls_result(struct net *n, ssize_t result, short *events)
{
	if (result > 0)
		return result;
	switch (result) {
	case 0:
		return fail_socket(n, 0);
	case CRYPTO_WANT_READ:
		*events = POLLIN;
		return 0;
	case CRYPTO_WANT_WRITE:
		*events = POLLOUT;
		return 0;
	default:
		errno = EIO;
		return -1;
	}
}

/* No more for now, or gone? */
static ssize_t
socket_result(struct net *n)
{
	return errno == EAGAIN || errno == EINTR ? 0 : fail_socket(n, errno);
}

/* Read once without waiting: bytes, 0 (wait for *events), -1 with errno. */
static ssize_t
read_some(struct net *n, void *p, size_t len, short *events)
{
	if (n->tls != NULL)
		return tls_result(
		    n, crypto_read(n->tls, p, len, n->error), events);
	ssize_t got = recv(n->fd, p, len, 0);
	if (got > 0)
		return got;
	if (got == 0)
		return fail_socket(n, 0);
	*events = POLLIN;
	return socket_result(n);
}

/* Write once without waiting; as read_some. */
static ssize_t
write_some(struct net *n, const void *p, size_t len, short *events)
{
	if (n->tls != NULL)
		return tls_result(
		    n, crypto_write(n->tls, p, len, n->error), events);
	ssize_t sent = send(n->fd, p, len, MSG_NOSIGNAL);
	if (sent >= 0)
		return sent;
	*events = POLLOUT;
	return socket_result(n);
}

static size_t
input_room(const struct net *n)
{
	return NET_INPUT_SIZE - (n->in_len - n->in_pos);
}

/*
 * Take what has come into the buffer, without waiting: 1, 0 (nothing yet,
 * wait for *events), or -1 with errno, for ever.
 */
static int
fill(struct net *n, short *events)
{
	if (n->broken != 0) {
		errno = n->broken;
		return -1;
	}
	if (n->in_pos > 0) {
		memmove(n->in, n->in + n->in_pos, n->in_len - n->in_pos);
		n->in_len -= n->in_pos;
		n->in_pos = 0;
	}
	ssize_t got = read_some(n, n->in + n->in_len, input_room(n), events);
	if (got == -1) {
		n->broken = errno;
		return -1;
	}
	n->in_len += (size_t)got;
	return got > 0;
}

static int
fill_by_deadline(struct net *n)
{
	short events = POLLIN;

	for (;;) {
		int filled = fill(n, &events);
		if (filled != 0)
			return filled == 1 ? 0 : -1;
		if (wait_for(n, events) == -1)
			return -1;
	}
}

/* The line from in_pos to its LF leaves the buffer. */
static int
take_line(struct net *n, char *lf, size_t max, char **line, size_t *len)
{
	char *start = n->in + n->in_pos, *end = lf;

	if (end > start && end[-1] == '\r')
		end--;
	if ((size_t)(end - start) > max)
		return fail(n, EMSGSIZE, "line too long");
	*end = '\0';
	n->in_pos = (size_t)(lf - n->in) + 1;
	*line = start;
	*len = (size_t)(end - start);
	return 0;
}

int
net_getline(struct net *n, size_t max, char **line, size_t *len)
{
	if (max > NET_INPUT_SIZE - 2)
		max = NET_INPUT_SIZE - 2;
	for (;;) {
		size_t have = n->in_len - n->in_pos;
		char *lf =
		    have == 0 ? NULL : memchr(n->in + n->in_pos, '\n', have);
		if (lf != NULL)
			return take_line(n, lf, max, line, len);
		if (have > max + 1) /* one more may be the CR */
			return fail(n, EMSGSIZE, "line too long");
		if (fill_by_deadline(n) == -1)
			return -1;
	}
}

bool
net_input_pending(struct net *n)
{
	short events;

	return n->in_pos < n->in_len || fill(n, &events) != 0;
}

/* Wait until more can be sent; replies that come meanwhile are taken in. */
static int
wait_to_send(struct net *n, short events)
{
	short ignored;

	if (input_room(n) == 0)
		return wait_for(n, events);
	if (wait_for(n, events | POLLIN) == -1)
		return -1;
	return fill(n, &ignored) == -1 ? -1 : 0;
}

/*
 * A peer that speaks, or has left, before the body is through (H-55).  A
 * socket that broke may still hold the reply that says why.
 */
static int
check_silent(struct net *n)
{
	if (!n->watch_input || !net_input_pending(n))
		return 0;
	if (n->in_pos < n->in_len)
		return fail(n, EALREADY,
		    "server replied before the end of the message");
	errno = n->broken;
	return -1;
}

/* Sending failed, errno and text say how; but perhaps a reply says why. */
static int
give_up(struct net *n)
{
	int error = errno;
	char text[sizeof(n->error)];

	memcpy(text, n->error, sizeof(text));
	if (check_silent(n) == -1 && errno == EALREADY)
		return -1;
	return fail(n, error, text);
}

static int
send_all(struct net *n)
{
	size_t sent = 0;
	short events = 0;

	while (sent < n->out_len) {
		if (check_silent(n) == -1)
			return -1;
		ssize_t done =
		    write_some(n, n->out + sent, n->out_len - sent, &events);
		if (done > 0)
			sent += (size_t)done;
		else if (done == -1 || wait_to_send(n, events) == -1)
			return give_up(n);
	}
	return 0;
}

int
net_flush(struct net *n)
{
	int result = send_all(n);

	/* It may have been a password. */
	compat_explicit_bzero(n->out, n->out_len);
	n->out_len = 0;
	return result;
}

int
net_put(struct net *n, const void *p, size_t len)
{
	const char *bytes = p;

	while (len > 0) {
		if (n->out_len == NET_OUTPUT_SIZE && net_flush(n) == -1)
			return -1;
		size_t part = NET_OUTPUT_SIZE - n->out_len;
		if (part > len)
			part = len;
		memcpy(n->out + n->out_len, bytes, part);
		n->out_len += part;
		bytes += part;
		len -= part;
	}
	return 0;
}

/*
 * What begins as no handshake does is kept, for people: the library would not
 * give it back.
 */
static void
keep_odd_answer(struct net *n)
{
	ssize_t got = recv(n->fd, n->in, sizeof(n->in), MSG_PEEK);

	n->in_pos = 0;
	n->in_len = got > 0 && n->in[0] != TLS_HANDSHAKE ? (size_t)got : 0;
}

static int
handshake(struct net *n, struct crypto *tls)
{
	short events = POLLIN;
	bool answered = false;

	for (;;) {
		int step = crypto_handshake(tls, n->error);
		if (step == 0)
			return fail(n, ECONNRESET,
			    "lost connection during the TLS handshake");
		ssize_t done = tls_result(n, step, &events);
		if (done != 0)
			return done > 0 ? 0 : -1;
		if (wait_for(n, events) == 0) {
			if (!answered && events == POLLIN)
				keep_odd_answer(n);
			answered |= events == POLLIN;
			continue;
		}
		return errno == ETIMEDOUT
			   ? fail(n, ETIMEDOUT, "TLS handshake timed out")
			   : -1;
	}
}

int
net_start_tls(struct net *n, const struct crypto_policy *policy, int64_t ms)
{
	/* Nobody may have spoken in plaintext beyond what was asked for. */
	if (net_input_pending(n)) {
		if (n->in_pos == n->in_len)
			return fail(n, ECONNRESET, "lost connection");
		return fail(
		    n, EPROTO, "server sent plaintext where TLS has to begin");
	}
	n->out_len = 0;
	net_deadline(n, ms);
	struct crypto *tls = crypto_start(n->fd, policy, n->error);
	if (tls == NULL) {
		errno = EIO;
		return -1;
	}
	if (handshake(n, tls) == -1) {
		int error = errno;
		crypto_free(tls);
		n->broken = error;
		errno = error;
		return -1;
	}
	n->in_pos = n->in_len = 0;
	n->tls = tls;
	return 0;
}
