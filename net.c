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

#include <sys/un.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "limits.h"
#include "util.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

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

/*
 * Wait for events until the deadline.  In slices, because poll(2) counts on a
 * clock that stands still while a laptop sleeps and ours does not.
 */
static int
wait_for(struct net *n, short events, short *revents)
{
	struct pollfd p = {.fd = n->fd, .events = events};

	for (;;) {
		int64_t left = n->deadline - now_ms();
		if (left < 0)
			left = 0;
		if (left > RUN_POLL_MAX_MS)
			left = RUN_POLL_MAX_MS;
		int ready = poll(&p, 1, (int)left);
		if (ready > 0) {
			*revents = p.revents;
			return 0;
		}
		if (ready == -1 && errno != EINTR && errno != EAGAIN)
			return fail_socket(n, errno);
		if (now_ms() >= n->deadline)
			return fail(n, ETIMEDOUT, "timed out");
	}
}

void
net_deadline(struct net *n, int64_t ms)
{
	n->deadline = now_ms() + ms;
}

static void
set_flags(int fd)
{
	int on = 1;
	int flags = fcntl(fd, F_GETFL);

	if (flags != -1)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* Fails harmlessly where this is no TCP socket. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
#ifdef SO_NOSIGPIPE
	(void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

void
net_attach(struct net *n, int fd)
{
	memset(n, 0, sizeof(*n));
	set_flags(fd);
	n->fd = fd;
	n->in = xmalloc(NET_INPUT_SIZE);
	n->out = xmalloc(NET_OUTPUT_SIZE);
}

/* The connect(2) under way has ended: how? */
static int
connect_result(struct net *n)
{
	int error = 0;
	short revents;
	socklen_t size = sizeof(error);

	if (wait_for(n, POLLOUT, &revents) == -1)
		return -1;
	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1)
		error = errno;
	if (error != 0)
		return fail(n, error, strerror(error));
	return 0;
}

static int
try_connect(struct net *n, const struct sockaddr *sa, socklen_t len)
{
	if (connect(n->fd, sa, len) == 0)
		return 0;
	/* Interrupted, the connection is made all the same: wait for it. */
	if (errno == EINPROGRESS || errno == EINTR)
		return connect_result(n);
	return fail(n, errno, strerror(errno));
}

int
net_connect(struct net *n, const struct sockaddr *sa, socklen_t len, int64_t ms)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1) {
		int error = errno;
		memset(n, 0, sizeof(*n));
		n->fd = -1;
		return fail(n, error, strerror(error));
	}
	net_attach(n, fd);
	net_deadline(n, ms);
	if (try_connect(n, sa, len) == -1) {
		int error = errno;
		net_close(n);
		errno = error;
		return -1;
	}
	return 0;
}

void
net_close(struct net *n)
{
	crypto_free(n->tls);
	/* A connection has buffers; without, fd may be the 0 of a {0}. */
	if (n->in != NULL)
		(void)close(n->fd);
	/* What was sent may have been a password. */
	if (n->out != NULL)
		compat_explicit_bzero(n->out, NET_OUTPUT_SIZE);
	if (n->in != NULL)
		compat_explicit_bzero(n->in, NET_INPUT_SIZE);
	free(n->out);
	free(n->in);
	n->tls = NULL;
	n->fd = -1;
	n->in = n->out = NULL;
	n->in_pos = n->in_len = n->out_len = 0;
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

static bool
is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
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
	return is_transient(errno) ? 0 : fail_socket(n, errno);
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
	return is_transient(errno) ? 0 : fail_socket(n, errno);
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
	if (n->in == NULL)
		return fail(n, ECONNRESET, "not connected");
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
	short events = POLLIN, revents;

	for (;;) {
		int filled = fill(n, &events);
		if (filled != 0)
			return filled == 1 ? 0 : -1;
		if (wait_for(n, events, &revents) == -1)
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
	else
		n->bare_lf = true;
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
	short revents = 0, ignored;

	if (input_room(n) > 0)
		events |= POLLIN;
	if (wait_for(n, events, &revents) == -1)
		return -1;
	if ((revents & (POLLIN | POLLHUP)) != 0 && input_room(n) > 0 &&
	    fill(n, &ignored) == -1)
		return -1;
	return 0;
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

	n->out_len = 0;
	return result;
}

int
net_put(struct net *n, const void *p, size_t len)
{
	const char *bytes = p;

	if (n->out == NULL)
		return fail(n, ECONNRESET, "not connected");
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

static int
handshake(struct net *n, struct crypto *tls)
{
	short events = POLLIN, revents;

	for (;;) {
		int step = crypto_handshake(tls, n->error);
		if (step == 0)
			return fail(n, ECONNRESET,
			    "lost connection during the TLS handshake");
		ssize_t done = tls_result(n, step, &events);
		if (done != 0)
			return done > 0 ? 0 : -1;
		if (wait_for(n, events, &revents) == 0)
			continue;
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
	n->bare_lf = false;
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
	n->tls = tls;
	return 0;
}

void
net_address_text(const struct sockaddr *sa, char *dst, size_t size)
{
	char text[INET6_ADDRSTRLEN];
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	const char *name = NULL;

	/* Copies, because the caller's bytes may not be aligned for us. */
	switch (sa->sa_family) {
	case AF_INET:
		memcpy(&in, sa, sizeof(in));
		name = inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
		break;
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		name = inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
		break;
	case AF_UNIX:
		memcpy(&un, sa, sizeof(un));
		(void)printable(dst, size, un.sun_path,
		    strnlen(un.sun_path, sizeof(un.sun_path)));
		return;
	default:
		break;
	}
	compat_strlcpy(dst, name != NULL ? name : "unknown", size);
}
