/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_query.c - one question to the name servers (RFC 1035, 4.2; RFC 7766).
 *
 * Not by the system's resolver library: it waits whole seconds of a clock
 * that may step, and on TCP without end.
 *
 * Runs in:   dma-smtp.
 * Trusts:    resolv.conf. Distrusts: who answers, what, and when.
 * Promises:  no wait outlives the deadline; only a complete response to this
 *            question, from the server that was asked, is given.
 */
#include "dns_parts.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "net.h"
#include "util.h"

#define QUERY_LEN_MAX 512  /* RFC 1035, 2.3.4 */
#define PREFIX_LEN    2    /* RFC 1035, 4.2.2: the length on TCP */
#define TRIES_MAX     2    /* of each server */
#define TRY_MS_MAX    5000 /* for one server's answer */

/* A question, and one attempt at having it answered. */
struct query {
	const char *name;
	unsigned type, id;
	/* As TCP has it; UDP leaves out the length before it. */
	unsigned char bytes[PREFIX_LEN + QUERY_LEN_MAX];
	size_t len; /* with the prefix */
	int fd;
	int64_t deadline;
	unsigned char *answer; /* DNS_ANSWER_MAX bytes, the caller's */
	size_t answer_len;
};

static void
put16(struct query *q, unsigned value)
{
	q->bytes[q->len++] = (unsigned char)(value >> 8);
	q->bytes[q->len++] = (unsigned char)value;
}

/* The name as labels; -1 if it has none such. */
static int
put_name(struct query *q, const char *name)
{
	if (strlen(name) > ADDR_DOMAIN_MAX)
		return -1;
	while (*name != '\0') {
		size_t len = strcspn(name, ".");
		if (len == 0 || len > ADDR_LABEL_MAX)
			return -1;
		q->bytes[q->len++] = (unsigned char)len;
		memcpy(q->bytes + q->len, name, len);
		q->len += len;
		name += len + (name[len] == '.');
	}
	q->bytes[q->len++] = 0;
	return 0;
}

static int
make_query(struct query *q)
{
	uint16_t id;

	/* Who cannot see the query shall not guess its id (RFC 5452). */
	if (compat_random(&id, sizeof(id)) == -1)
		return -1;
	q->id = id;
	q->len = PREFIX_LEN;
	put16(q, id);
	put16(q, 0x0100); /* a standard query, recursion desired */
	put16(q, 1);      /* question */
	put16(q, 0);
	put16(q, 0);
	put16(q, 0);
	if (put_name(q, q->name) == -1)
		return -1;
	put16(q, q->type);
	put16(q, ns_c_in);
	size_t len = q->len - PREFIX_LEN;
	q->bytes[0] = (unsigned char)(len >> 8);
	q->bytes[1] = (unsigned char)len;
	return 0;
}

/* Send (POLLOUT) or receive (POLLIN) once: bytes, or -1. */
static ssize_t
move_some(const struct query *q, short events, unsigned char *p, size_t len)
{
	ssize_t n;

	do {
		if (net_wait(q->fd, events, q->deadline) == -1)
			return -1;
		n = events == POLLOUT ? send(q->fd, p, len, MSG_NOSIGNAL)
				      : recv(q->fd, p, len, 0);
	} while (n == -1 && (errno == EAGAIN || errno == EINTR));
	return n;
}

static int
move_all(const struct query *q, short events, unsigned char *p, size_t len)
{
	while (len > 0) {
		ssize_t n = move_some(q, events, p, len);
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static enum dns_reply
judge(const struct query *q)
{
	return dns_parse_reply(
	    q->answer, q->answer_len, q->id, q->name, q->type);
}

static enum dns_reply
ask_udp(struct query *q)
{
	enum dns_reply reply = DNS_REPLY_FOREIGN;

	if (move_all(q, POLLOUT, q->bytes + PREFIX_LEN, q->len - PREFIX_LEN) ==
	    -1)
		return reply;
	/* Late and forged ones may come before the one that counts. */
	while (reply == DNS_REPLY_FOREIGN) {
		ssize_t n = move_some(q, POLLIN, q->answer, DNS_ANSWER_MAX);
		if (n == -1)
			break;
		q->answer_len = (size_t)n;
		reply = judge(q);
	}
	return reply;
}

static enum dns_reply
ask_tcp(struct query *q)
{
	unsigned char prefix[PREFIX_LEN];

	if (move_all(q, POLLOUT, q->bytes, q->len) == -1 ||
	    move_all(q, POLLIN, prefix, sizeof(prefix)) == -1)
		return DNS_REPLY_FOREIGN;
	/* At most 65535, which is DNS_ANSWER_MAX. */
	q->answer_len = (size_t)prefix[0] << 8 | prefix[1];
	if (move_all(q, POLLIN, q->answer, q->answer_len) == -1)
		return DNS_REPLY_FOREIGN;
	return judge(q);
}

/*
 * Over a socket connected to one server: the kernel then drops what others
 * send, and each has a port of its own (RFC 5452, 9.2).  Of the time left
 * each of the attempts may have its share.
 */
static enum dns_reply
ask_over(struct query *q, const struct dns_address *server, int type,
    int64_t deadline, size_t attempts)
{
	enum dns_reply reply = DNS_REPLY_FOREIGN;
	const void *sa = &server->sa;
	int64_t now = now_ms(), share = (deadline - now) / (int64_t)attempts;

	q->deadline = now + (share < TRY_MS_MAX ? share : TRY_MS_MAX);
	q->fd = socket(
	    server->sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (q->fd == -1)
		return reply;
	if (connect(q->fd, sa, server->len) == 0 || errno == EINPROGRESS ||
	    errno == EINTR)
		reply = type == SOCK_DGRAM ? ask_udp(q) : ask_tcp(q);
	(void)close(q->fd);
	return reply;
}

ssize_t
dns_ask(const struct dns_servers *servers, const char *name, unsigned type,
    int64_t deadline, unsigned char *answer)
{
	struct query q = {.name = name, .type = type, .answer = answer};
	size_t attempts = servers->count * TRIES_MAX;

	if (make_query(&q) == -1)
		return -1;
	for (size_t i = 0; i < attempts; i++) {
		enum dns_reply reply = DNS_REPLY_TRUNCATED;
		const struct dns_address *server =
		    &servers->server[i % servers->count];
		if (!servers->tcp_only)
			reply = ask_over(
			    &q, server, SOCK_DGRAM, deadline, attempts - i);
		if (reply == DNS_REPLY_TRUNCATED)
			reply = ask_over(
			    &q, server, SOCK_STREAM, deadline, attempts - i);
		if (reply == DNS_REPLY_WHOLE)
			return (ssize_t)q.answer_len;
	}
	return -1;
}
