/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_query.c - one question to the name servers (RFC 1035, 4.2; RFC 7766).
 *
 * The system's resolver library is asked for its configuration only: it
 * waits whole seconds of a clock that may step, and on TCP without end.
 *
 * Runs in:   dma-smtp.
 * Trusts:    resolv.conf. Distrusts: who answers, what, and when.
 * Promises:  no wait outlives the deadline; only a complete response to this
 *            question, from the server that was asked, is given.
 */
#include "dns_query.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns_parse.h"
#include "util.h"

#define RESOLV_FILE_MAX (64 * 1024) /* bytes */
#define QUERY_LEN_MAX   512         /* RFC 1035, 2.3.4 */
#define PREFIX_LEN      2           /* RFC 1035, 4.2.2: the length on TCP */
#define TRIES_MAX       2           /* of each server */
#define TRY_MS_MAX      5000        /* for one server's answer */

#ifndef _PATH_RESCONF
#define _PATH_RESCONF "/etc/resolv.conf"
#endif
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

/* ---- Whom to ask ---- */

/* The value of a "nameserver" line is an address ("fe80::1%eth0" is one). */
static bool
is_server(const char *value)
{
	char text[INET6_ADDRSTRLEN];
	unsigned char binary[sizeof(struct in6_addr)];
	size_t len = strcspn(value, "% \t\r\n");

	if (len >= sizeof(text))
		return false;
	memcpy(text, value, len);
	text[len] = '\0';
	return inet_pton(AF_INET, text, binary) == 1 ||
	       inet_pton(AF_INET6, text, binary) == 1;
}

/*
 * Without a name server in its configuration the library would ask
 * 127.0.0.1, and whatever answers there would decide about our mail.
 */
static bool
has_configuration(void)
{
	static const char keyword[] = "nameserver";
	char *text, *line;
	size_t len;
	bool found = false;

	if (read_file(_PATH_RESCONF, RESOLV_FILE_MAX, &text, &len, NULL) == -1)
		return false;
	for (line = text; line != NULL && !found; line = strchr(line, '\n')) {
		line += strspn(line, "\n");
		size_t word = strcspn(line, " \t\r\n");
		const char *value = line + word + strspn(line + word, " \t");
		found = word == sizeof(keyword) - 1 &&
			memcmp(line, keyword, word) == 0 && is_server(value);
	}
	free(text);
	return found;
}

static void
append_server(struct dns_servers *servers, const void *sa, size_t len)
{
	if (servers->count == DNS_SERVERS_MAX)
		return;
	struct dns_address *to = &servers->server[servers->count++];
	memset(to, 0, sizeof(*to));
	memcpy(&to->sa, sa, len);
	to->len = (socklen_t)len;
}

#ifdef __GLIBC__
static void
take_servers(struct dns_servers *servers, struct __res_state *state)
{
	for (int i = 0; i < state->nscount && i < MAXNS; i++) {
		const struct sockaddr_in *in = &state->nsaddr_list[i];
		const struct sockaddr_in6 *in6 = state->_u._ext.nsaddrs[i];
		/* An IPv6 server leaves its old place empty. */
		if (in->sin_family == AF_INET)
			append_server(servers, in, sizeof(*in));
		else if (in6 != NULL)
			append_server(servers, in6, sizeof(*in6));
	}
}
#else
static void
take_servers(struct dns_servers *servers, struct __res_state *state)
{
	union res_sockaddr_union list[MAXNS];
	int count = res_getservers(state, list, MAXNS);

	for (int i = 0; i < count; i++) {
		if (list[i].sin.sin_family == AF_INET)
			append_server(
			    servers, &list[i].sin, sizeof(list[i].sin));
		else if (list[i].sin.sin_family == AF_INET6)
			append_server(
			    servers, &list[i].sin6, sizeof(list[i].sin6));
	}
}
#endif

int
dns_servers_read(struct dns_servers *servers)
{
	struct __res_state state;

	memset(servers, 0, sizeof(*servers));
	if (!has_configuration())
		return -1;
	memset(&state, 0, sizeof(state));
	if (res_ninit(&state) == -1)
		return -1;
	take_servers(servers, &state);
	servers->tcp_only = (state.options & RES_USEVC) != 0;
	res_nclose(&state);
	return servers->count > 0 ? 0 : -1;
}

/* ---- What to ask ---- */

struct query {
	const char *name;
	unsigned type, id;
	/* As TCP has it; UDP leaves out the length before it. */
	unsigned char bytes[PREFIX_LEN + QUERY_LEN_MAX];
	size_t len; /* with the prefix */
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
make_query(struct query *q, const char *name, unsigned type)
{
	uint16_t id;

	/* Who cannot see the query shall not guess its id (RFC 5452). */
	if (compat_random(&id, sizeof(id)) == -1)
		return -1;
	q->name = name;
	q->type = type;
	q->id = id;
	q->len = PREFIX_LEN;
	put16(q, id);
	put16(q, 0x0100); /* a standard query, recursion desired */
	put16(q, 1);      /* question */
	put16(q, 0);
	put16(q, 0);
	put16(q, 0);
	if (put_name(q, name) == -1)
		return -1;
	put16(q, type);
	put16(q, ns_c_in);
	size_t len = q->len - PREFIX_LEN;
	q->bytes[0] = (unsigned char)(len >> 8);
	q->bytes[1] = (unsigned char)len;
	return 0;
}

/* ---- Asking ---- */

/* Until the socket is ready, or has failed: 0.  -1 at the deadline. */
static int
wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd p = {.fd = fd, .events = events};

	for (;;) {
		int64_t left = deadline - now_ms();
		if (left <= 0)
			return -1;
		if (left > RUN_POLL_MAX_MS)
			left = RUN_POLL_MAX_MS;
		int ready = poll(&p, 1, (int)left);
		if (ready > 0)
			return 0;
		if (ready == -1 && errno != EINTR && errno != EAGAIN)
			return -1;
	}
}

static bool
is_transient(int error)
{
	return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/*
 * A socket connected to one server, or about to be: the kernel then drops
 * what others send, and each has a port of its own (RFC 5452, 9.2).
 */
static int
open_socket(const struct dns_address *server, int type)
{
	int fd = socket(
	    server->sa.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd == -1)
		return -1;
	if (connect(fd, (const struct sockaddr *)&server->sa, server->len) ==
		0 ||
	    errno == EINPROGRESS || errno == EINTR)
		return fd;
	(void)close(fd);
	return -1;
}

static int
send_all(int fd, const unsigned char *p, size_t len, int64_t deadline)
{
	while (len > 0) {
		if (wait_for(fd, POLLOUT, deadline) == -1)
			return -1;
		ssize_t sent = send(fd, p, len, MSG_NOSIGNAL);
		if (sent == -1 && !is_transient(errno))
			return -1;
		if (sent > 0) {
			p += sent;
			len -= (size_t)sent;
		}
	}
	return 0;
}

static int
receive_all(int fd, unsigned char *p, size_t len, int64_t deadline)
{
	while (len > 0) {
		if (wait_for(fd, POLLIN, deadline) == -1)
			return -1;
		ssize_t got = recv(fd, p, len, 0);
		if (got == 0 || (got == -1 && !is_transient(errno)))
			return -1;
		if (got > 0) {
			p += got;
			len -= (size_t)got;
		}
	}
	return 0;
}

/* A reply and its length. */
struct reply {
	enum dns_reply kind; /* FOREIGN: none came */
	size_t len;
};

static struct reply
ask_udp(const struct query *q, int fd, int64_t deadline, unsigned char *answer)
{
	struct reply reply = {DNS_REPLY_FOREIGN, 0};

	if (send_all(
		fd, q->bytes + PREFIX_LEN, q->len - PREFIX_LEN, deadline) == -1)
		return reply;
	/* Late and forged ones may come before the one that counts. */
	while (reply.kind == DNS_REPLY_FOREIGN &&
	       wait_for(fd, POLLIN, deadline) == 0) {
		ssize_t got = recv(fd, answer, DNS_ANSWER_MAX, 0);
		if (got == -1 && !is_transient(errno))
			break;
		if (got == -1)
			continue;
		reply.len = (size_t)got;
		reply.kind =
		    dns_parse_reply(answer, reply.len, q->id, q->name, q->type);
	}
	return reply;
}

static struct reply
ask_tcp(const struct query *q, int fd, int64_t deadline, unsigned char *answer)
{
	struct reply reply = {DNS_REPLY_FOREIGN, 0};
	unsigned char prefix[PREFIX_LEN];

	if (send_all(fd, q->bytes, q->len, deadline) == -1 ||
	    receive_all(fd, prefix, sizeof(prefix), deadline) == -1)
		return reply;
	size_t len = (size_t)prefix[0] << 8 | prefix[1];
	/* DNS_ANSWER_MAX is all that a prefix can say; looked at all the same. */
	if (len > DNS_ANSWER_MAX ||
	    receive_all(fd, answer, len, deadline) == -1)
		return reply;
	reply.len = len;
	reply.kind = dns_parse_reply(answer, len, q->id, q->name, q->type);
	return reply;
}

static struct reply
ask_over(const struct query *q, const struct dns_address *server, int type,
    int64_t deadline, unsigned char *answer)
{
	struct reply reply = {DNS_REPLY_FOREIGN, 0};
	int fd = open_socket(server, type);

	if (fd == -1)
		return reply;
	reply = type == SOCK_DGRAM ? ask_udp(q, fd, deadline, answer)
				   : ask_tcp(q, fd, deadline, answer);
	(void)close(fd);
	return reply;
}

/* When this attempt ends: each that is left may have its share. */
static int64_t
share_of(int64_t deadline, size_t attempts)
{
	int64_t now = now_ms(), share = (deadline - now) / (int64_t)attempts;

	return now + (share < TRY_MS_MAX ? share : TRY_MS_MAX);
}

ssize_t
dns_ask(const struct dns_servers *servers, const char *name, unsigned type,
    int64_t deadline, unsigned char *answer)
{
	struct query q;

	if (make_query(&q, name, type) == -1)
		return -1;
	for (size_t left = servers->count * TRIES_MAX; left > 0; left--) {
		struct reply reply = {DNS_REPLY_TRUNCATED, 0};
		const struct dns_address *server =
		    &servers->server[(servers->count * TRIES_MAX - left) %
				     servers->count];
		if (!servers->tcp_only)
			reply = ask_over(&q, server, SOCK_DGRAM,
			    share_of(deadline, left), answer);
		if (reply.kind == DNS_REPLY_TRUNCATED)
			reply = ask_over(&q, server, SOCK_STREAM,
			    share_of(deadline, left), answer);
		if (reply.kind == DNS_REPLY_WHOLE)
			return (ssize_t)reply.len;
	}
	return -1;
}
