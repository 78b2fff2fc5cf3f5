/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_query.c - tests of asking: name servers on loopback that answer well,
 * badly, late or never, over UDP and TCP.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dns_parts.h"
#include "util.h"

#define HOST     "host.example"
#define SLACK_MS 250 /* a loaded machine's, beyond the deadline */

enum { TYPE_A = 1 };

/* What a server does with a query. */
enum habit {
	SILENT,
	ANSWERS,
	TRUNCATES,       /* the TC bit, and one record that is not all */
	FAILS,           /* SERVFAIL */
	REFUSES,         /* REFUSED in a bare header */
	CONFUSES,        /* four answers to other queries, then ours */
	CONFUSES_ALWAYS, /* only those */
	CLOSED,          /* nobody listens */
	HALF,            /* TCP: a part, then nothing more */
	CUTS,            /* TCP: a part, then the end */
	DRIPS,           /* TCP: a byte now and then */
	SPLITS,          /* TCP: all, in small pieces */
	FILLS,           /* TCP: the longest answer there is */
	EMPTY            /* TCP: a length of 0 */
};

struct server {
	pid_t pid;
	struct sockaddr_in sa;
};

static unsigned char answer[DNS_ANSWER_MAX];

/* ---- The servers, in a process of their own ---- */

/* A response to the query: its header and question, then A records. */
static size_t
respond(const unsigned char *query, size_t len, unsigned flags,
    unsigned records, unsigned char *out)
{
	static const unsigned char record[16] = {
	    0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1};

	memcpy(out, query, len);
	out[2] = (unsigned char)(flags >> 8);
	out[3] = (unsigned char)flags;
	out[6] = (unsigned char)(records >> 8);
	out[7] = (unsigned char)records;
	for (unsigned i = 0; i < records; i++, len += sizeof(record))
		memcpy(out + len, record, sizeof(record));
	return len;
}

static void
confuse(int fd, const unsigned char *query, size_t len,
    const struct sockaddr_in *to)
{
	unsigned char out[1024];

	for (int i = 0; i < 4; i++) {
		size_t size = respond(query, len, 0x8180, 1, out);
		if (i == 0)
			out[1] ^= 1; /* another id */
		else if (i == 1)
			out[13] = 'x'; /* another name */
		else if (i == 2)
			out[2] &= 0x7f; /* a query */
		else
			size = 11;
		(void)sendto(fd, out, size, 0, (const void *)to, sizeof(*to));
	}
}

static void
serve_udp(int fd, enum habit habit)
{
	static const unsigned flags[] = {[ANSWERS] = 0x8180,
	    [CONFUSES] = 0x8180,
	    [TRUNCATES] = 0x8380,
	    [FAILS] = 0x8182};
	unsigned char query[512], out[1024];
	struct sockaddr_in from;
	socklen_t from_len = sizeof(from);
	ssize_t got =
	    recvfrom(fd, query, sizeof(query), 0, (void *)&from, &from_len);

	if (got < 12 || habit == SILENT)
		return;
	size_t len = (size_t)got;
	if (habit == CONFUSES || habit == CONFUSES_ALWAYS)
		confuse(fd, query, len, &from);
	if (habit == CONFUSES_ALWAYS)
		return;
	if (habit == REFUSES) {
		memset(out, 0, 12);
		memcpy(out, query, 2);
		out[2] = 0x81;
		out[3] = 0x85;
		len = 12;
	} else {
		len = respond(query, len, flags[habit], habit != FAILS, out);
	}
	(void)sendto(fd, out, len, 0, (void *)&from, from_len);
}

static void
send_slowly(int fd, const unsigned char *p, size_t len, size_t piece, int ms)
{
	for (size_t at = 0; at < len; at += piece) {
		size_t size = len - at < piece ? len - at : piece;
		(void)send(fd, p + at, size, MSG_NOSIGNAL);
		(void)poll(NULL, 0, ms);
	}
}

static void
serve_tcp(int fd, enum habit habit)
{
	static unsigned char out[2 + DNS_ANSWER_MAX];
	unsigned char query[2 + 512];
	ssize_t got = recv(fd, query, sizeof(query), 0);

	/* What stands on the wire is checked here: nobody else sees it. */
	if (got < 14 || query[0] != 0 || query[1] != got - 2 || habit == SILENT)
		return;
	size_t question = (size_t)got - 2;
	unsigned records = 1;
	if (habit == FILLS)
		records = (unsigned)(DNS_ANSWER_MAX - question) / 16;
	size_t len = respond(query + 2, question,
	    habit == TRUNCATES ? 0x8380 : 0x8180, records, out + 2);
	if (habit == FILLS)
		len = DNS_ANSWER_MAX;
	if (habit == CONFUSES)
		out[2] ^= 1;
	if (habit == EMPTY)
		len = 0;
	out[0] = (unsigned char)(len >> 8);
	out[1] = (unsigned char)len;
	if (habit == HALF || habit == CUTS)
		send_slowly(fd, out, len / 2, len, 0);
	else if (habit == DRIPS)
		send_slowly(fd, out, 2 + len, 1, 60);
	else if (habit == SPLITS)
		send_slowly(fd, out, 2 + len, 5, 1);
	else
		send_slowly(fd, out, 2 + len, 2 + len, 0);
}

/* One connection at a time; who is to stall keeps it open. */
static void
serve(int udp, int tcp, enum habit udp_habit, enum habit tcp_habit)
{
	struct pollfd p[2] = {
	    {.fd = udp, .events = POLLIN}, {.fd = tcp, .events = POLLIN}};

	for (;;) {
		if (poll(p, 2, -1) <= 0)
			continue;
		if (p[0].revents != 0)
			serve_udp(udp, udp_habit);
		if (p[1].revents == 0)
			continue;
		int fd = accept(tcp, NULL, NULL);
		serve_tcp(fd, tcp_habit);
		if (tcp_habit != SILENT && tcp_habit != HALF)
			(void)close(fd);
	}
}

static int
bound(int type, struct sockaddr_in *sa)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*sa);

	assert_int_not_equal(fd, -1);
	if (bind(fd, (void *)sa, sizeof(*sa)) == -1) {
		(void)close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (void *)sa, &len), 0);
	return fd;
}

static void
start(struct server *s, enum habit udp_habit, enum habit tcp_habit)
{
	int udp = -1, tcp = -1;

	/* Both on one port, which may be taken for the one or the other. */
	while (udp == -1) {
		memset(&s->sa, 0, sizeof(s->sa));
		s->sa.sin_family = AF_INET;
		s->sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		tcp = bound(SOCK_STREAM, &s->sa);
		udp = bound(SOCK_DGRAM, &s->sa);
		if (udp == -1)
			(void)close(tcp);
	}
	/* A port that is bound, but not listened at, refuses. */
	if (tcp_habit != CLOSED)
		assert_int_equal(listen(tcp, 16), 0);
	s->pid = fork();
	assert_int_not_equal(s->pid, -1);
	if (s->pid == 0) {
		if (udp_habit == CLOSED)
			(void)close(udp);
		(void)alarm(30);
		serve(udp_habit == CLOSED ? -1 : udp,
		    tcp_habit == CLOSED ? -1 : tcp, udp_habit, tcp_habit);
	}
	(void)close(udp);
	(void)close(tcp);
}

static void
stop(const struct server *s)
{
	(void)kill(s->pid, SIGKILL);
	(void)waitpid(s->pid, NULL, 0);
}

static void
append(struct dns_servers *to, const struct server *s)
{
	struct dns_address *address = &to->server[to->count++];

	memcpy(&address->sa, &s->sa, sizeof(s->sa));
	address->len = sizeof(s->sa);
}

/* ---- The tests ---- */

/* Ask; true if an answer came, and then it is all of it. */
static bool
answered(const struct dns_servers *servers, int64_t ms, int64_t *took)
{
	struct dns_address_list list = {.count = 0};
	int64_t begin = now_ms();
	ssize_t len = dns_ask(servers, HOST, TYPE_A, begin + ms, answer);

	*took = now_ms() - begin;
	if (len == -1)
		return false;
	assert_int_equal(
	    dns_parse_address(answer, (size_t)len, HOST, AF_INET, &list),
	    DNS_OK);
	return true;
}

static void
one_server(void **state)
{
	static const struct {
		enum habit udp, tcp;
		bool answered;
		bool waits; /* else it is clear at once */
	} cases[] = {
	    {ANSWERS, CLOSED, true, false},
	    {CONFUSES, CLOSED, true, false},
	    {CONFUSES_ALWAYS, ANSWERS, false, true},
	    {SILENT, ANSWERS, false, true},
	    {FAILS, ANSWERS, false, false},
	    {REFUSES, ANSWERS, false, false},
	    {CLOSED, ANSWERS, false, false},
	    {TRUNCATES, ANSWERS, true, false},
	    {TRUNCATES, SPLITS, true, false},
	    {TRUNCATES, CLOSED, false, false},
	    {TRUNCATES, SILENT, false, true},
	    {TRUNCATES, HALF, false, true},
	    {TRUNCATES, DRIPS, false, true},
	    {TRUNCATES, CUTS, false, false},
	    {TRUNCATES, EMPTY, false, false},
	    {TRUNCATES, CONFUSES, false, false},
	    {TRUNCATES, TRUNCATES, false, false},
	};
	const int64_t ms = 400;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct dns_servers servers = {.count = 0};
		struct server s;
		int64_t took;
		start(&s, cases[i].udp, cases[i].tcp);
		append(&servers, &s);
		bool got = answered(&servers, ms, &took);
		stop(&s);
		if (got != cases[i].answered || took > ms + SLACK_MS ||
		    (took >= ms) != cases[i].waits)
			fail_msg("case %zu: %d after %d ms", i, got, (int)took);
	}
}

static void
longest_answer(void **state)
{
	struct dns_servers servers = {.count = 0};
	struct server s;

	(void)state;
	start(&s, TRUNCATES, FILLS);
	append(&servers, &s);
	assert_int_equal(
	    dns_ask(&servers, HOST, TYPE_A, now_ms() + 5000, answer),
	    DNS_ANSWER_MAX);
	stop(&s);
}

static void
next_server_answers(void **state)
{
	static const enum habit first[][2] = {{SILENT, SILENT}, {FAILS, SILENT},
	    {REFUSES, SILENT}, {CLOSED, CLOSED}, {TRUNCATES, CLOSED},
	    {TRUNCATES, SILENT}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		struct dns_servers servers = {.count = 0};
		struct server bad, good;
		int64_t took;
		start(&bad, first[i][0], first[i][1]);
		start(&good, TRUNCATES, ANSWERS);
		append(&servers, &bad);
		append(&servers, &good);
		bool got = answered(&servers, 800, &took);
		stop(&bad);
		stop(&good);
		if (!got || took > 400)
			fail_msg("case %zu: %d after %d ms", i, got, (int)took);
	}
}

/* Three servers share what time there is, be it less than a second. */
static void
deadline_for_all(void **state)
{
	struct dns_servers servers = {.count = 0};
	struct server s[DNS_SERVERS_MAX];
	int64_t took;

	(void)state;
	for (size_t i = 0; i < DNS_SERVERS_MAX; i++) {
		start(&s[i], i == 1 ? TRUNCATES : SILENT, SILENT);
		append(&servers, &s[i]);
	}
	assert_false(answered(&servers, 500, &took));
	assert_true(took >= 500 && took <= 500 + SLACK_MS);
	/* Nobody is asked when time is over. */
	assert_false(answered(&servers, 0, &took));
	assert_false(answered(&servers, -1000, &took));
	assert_true(took <= SLACK_MS);
	for (size_t i = 0; i < DNS_SERVERS_MAX; i++)
		stop(&s[i]);
}

static void
tcp_only(void **state)
{
	struct dns_servers servers = {.tcp_only = true};
	struct server s;
	int64_t took;

	(void)state;
	start(&s, SILENT, ANSWERS);
	append(&servers, &s);
	assert_true(answered(&servers, 1000, &took));
	assert_true(took < 500);
	stop(&s);
}

static void
names_that_cannot_be_asked(void **state)
{
	static const char *const names[] = {"a..b", ".a",
	    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
	struct dns_servers servers = {.count = 0};
	struct server s;
	char longest[ADDR_DOMAIN_MAX + 2];

	(void)state;
	start(&s, ANSWERS, CLOSED);
	append(&servers, &s);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(dns_ask(&servers, names[i], TYPE_A,
				     now_ms() + 5000, answer),
		    -1);
	for (size_t i = 0; i < sizeof(longest) - 1; i++)
		longest[i] = i % 2 != 0 ? '.' : 'a';
	longest[ADDR_DOMAIN_MAX + 1] = '\0';
	assert_int_equal(
	    dns_ask(&servers, longest, TYPE_A, now_ms() + 5000, answer), -1);
	longest[ADDR_DOMAIN_MAX] = '\0';
	assert_true(
	    dns_ask(&servers, longest, TYPE_A, now_ms() + 5000, answer) > 0);
	stop(&s);
}

/* resolv.conf(5): what is no address, or one too many, is left out. */
static void
servers_of_a_text(void **state)
{
	char text[] = "# nameserver 192.0.2.9\n"
		      "nameservers 192.0.2.8\n"
		      "search example\n"
		      "nameserver\n"
		      "nameserver bogus.example\n"
		      "nameserver\t192.0.2.1 \r\n"
		      "nameserver fe80::1%lo\n"
		      "options edns0 use-vc\n"
		      "nameserver 2001:db8::1\n"
		      "nameserver 192.0.2.2";
	char none[] = "search example\noptions rotate\n";
	struct dns_servers servers;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	(void)state;
	dns_parse_servers(text, &servers);
	assert_int_equal(servers.count, DNS_SERVERS_MAX);
	assert_true(servers.tcp_only);
	memcpy(&in, &servers.server[0].sa, sizeof(in));
	assert_int_equal(in.sin_family, AF_INET);
	assert_int_equal(ntohs(in.sin_port), 53);
	assert_int_equal(ntohl(in.sin_addr.s_addr), 0xc0000201);
	memcpy(&in6, &servers.server[1].sa, sizeof(in6));
	assert_int_equal(in6.sin6_family, AF_INET6);
	assert_int_not_equal(in6.sin6_scope_id, 0);
	dns_parse_servers(none, &servers);
	assert_int_equal(servers.count, 0);
	assert_false(servers.tcp_only);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_server),
	    cmocka_unit_test(longest_answer),
	    cmocka_unit_test(next_server_answers),
	    cmocka_unit_test(deadline_for_all),
	    cmocka_unit_test(tcp_only),
	    cmocka_unit_test(names_that_cannot_be_asked),
	    cmocka_unit_test(servers_of_a_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
