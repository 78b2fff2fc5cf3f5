/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * targets.c - tests of targets.h, as far as they need no name server.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "targets.h"
#include "util.h"

struct hop_case {
	enum hop_kind kind;
	const char *host;
	uint16_t port;
	const char *name, *address; /* of the first target; NULL: none */
	uint16_t target_port;
	enum outcome_class class; /* where there is none */
	const char *dsn;
};

static const struct hop_case hop_cases[] = {
    {HOP_MX, "[192.0.2.1]", 0, "192.0.2.1", "192.0.2.1", 25, 0, ""},
    {HOP_MX, "[127.0.0.1]", 2525, "127.0.0.1", "127.0.0.1", 2525, 0, ""},
    {HOP_MX, "[IPv6:2001:db8::1]", 25, "2001:db8::1", "2001:db8::1", 25, 0, ""},
    {HOP_MX, "[ipv6:2001:db8::1]", 25, "2001:db8::1", "2001:db8::1", 25, 0, ""},
    {HOP_MX, "[192.0.2.256]", 25, NULL, NULL, 0, OUTCOME_FAIL, "5.1.3"},
    {HOP_MX, "[192.0.2.1", 25, NULL, NULL, 0, OUTCOME_FAIL, "5.1.3"},
    {HOP_MX, "[192.0.2.1]x", 25, NULL, NULL, 0, OUTCOME_FAIL, "5.1.3"},
    {HOP_MX, "[]", 25, NULL, NULL, 0, OUTCOME_FAIL, "5.1.3"},
    {HOP_MX, "[X:1]", 25, NULL, NULL, 0, OUTCOME_FAIL, "5.1.3"},
    {HOP_RELAY, "192.0.2.7", 587, "192.0.2.7", "192.0.2.7", 587, 0, ""},
    {HOP_RELAY, "127.0.0.1", 25, "127.0.0.1", "127.0.0.1", 25, 0, ""},
    {HOP_RELAY, "[bad]", 25, NULL, NULL, 0, OUTCOME_DEFER, "4.4.3"},
    {HOP_MX, "\314\210.example", 25, NULL, NULL, 0, OUTCOME_FAIL, NULL},
    {HOP_RELAY, "\314\210.example", 25, NULL, NULL, 0, OUTCOME_DEFER, "4.3.5"},
    {HOP_RELAY, "/run/lmtp", 0, "localhost", "/run/lmtp", 25, 0, ""},
};

static void
check_hop(const struct hop_case *c)
{
	static struct targets t;
	char host[300], helo[] = "here.test";
	struct hop hop = {.kind = c->kind, .port = c->port, .timeouts = 1};
	const struct smtp_target *first;

	(void)compat_strlcpy(host, c->host, sizeof(host));
	hop.host = host;
	hop.helo = helo;
	targets_init(&t, &hop);
	first = targets_get(&t, 0);
	if (c->name == NULL) {
		assert_null(first);
		assert_int_equal(t.count, 0);
		assert_int_equal(t.why.class, c->class);
		if (c->dsn != NULL) /* else not the same without libidn2 */
			assert_string_equal(t.why.dsn, c->dsn);
		assert_true(t.why.text[0] != '\0');
		return;
	}
	assert_non_null(first);
	assert_string_equal(first->name, c->name);
	assert_string_equal(first->address, c->address);
	assert_int_equal(first->port, c->target_port);
	assert_null(targets_get(&t, 1));
}

static void
test_hops_without_names(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(hop_cases); i++)
		check_hop(&hop_cases[i]);
}

static void
test_port_reaches_the_socket_address(void **state)
{
	static struct targets t;
	char host[] = "192.0.2.7", helo[] = "here.test";
	struct hop hop = {.kind = HOP_RELAY, .host = host, .port = 587};
	struct sockaddr_in in;

	(void)state;
	hop.helo = helo;
	targets_init(&t, &hop);
	assert_non_null(targets_get(&t, 0));
	memcpy(&in, &t.list[0].sa, sizeof(in));
	assert_int_equal(in.sin_family, AF_INET);
	assert_int_equal(ntohs(in.sin_port), 587);
	assert_int_equal(t.list[0].len, sizeof(in));
}

static void
test_path_too_long(void **state)
{
	static struct targets t;
	char host[200], helo[] = "here.test";
	struct hop hop = {.kind = HOP_RELAY, .host = host, .helo = helo};

	(void)state;
	memset(host, '/', sizeof(host) - 1);
	host[sizeof(host) - 1] = '\0';
	targets_init(&t, &hop);
	assert_null(targets_get(&t, 0));
	assert_int_equal(t.why.class, OUTCOME_DEFER);
}

/* H-93: our own name, in any case, and all that is not better than it. */
static void
test_loop_is_cut(void **state)
{
	static const struct {
		struct dns_mx mx[4];
		size_t count, left;
	} cases[] = {
	    {{{10, "a.test"}, {20, "b.test"}}, 2, 2},
	    {{{10, "a.test"}, {20, "HERE.test"}, {30, "c.test"}}, 3, 1},
	    {{{10, "a.test"}, {20, "b.test"}, {20, "here.test"}}, 3, 1},
	    {{{10, "here.test"}, {20, "b.test"}}, 2, 0},
	    {{{10, "b.test"}, {10, "here.test"}}, 2, 0},
	    {{{0, ""}}, 0, 0},
	};
	static struct dns_mx_list list;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		memcpy(list.mx, cases[i].mx, sizeof(cases[i].mx));
		list.count = cases[i].count;
		targets_cut_loop(&list, "here.test");
		assert_int_equal(list.count, cases[i].left);
	}
}

/* A hundred silent hosts must not hold an agent beyond its job's time. */
static void
test_no_host_is_looked_up_too_late(void **state)
{
	static struct targets t;
	char domain[] = "x.test", helo[] = "here.test";
	struct hop hop = {.kind = HOP_MX, .host = domain, .timeouts = 1};

	(void)state;
	hop.helo = helo;
	targets_init(&t, &hop);
	t.asked = true;
	t.hosts.count = 2;
	(void)compat_strlcpy(
	    t.hosts.mx[0].host, "192.0.2.1", sizeof(t.hosts.mx[0].host));
	(void)compat_strlcpy(
	    t.hosts.mx[1].host, "192.0.2.2", sizeof(t.hosts.mx[1].host));
	t.deadline = now_ms() - 1;
	assert_null(targets_get(&t, 0));
	assert_int_equal(t.why.class, OUTCOME_DEFER);
	t.deadline = 0; /* the next job has time of its own */
	assert_string_equal(targets_get(&t, 1)->address, "192.0.2.2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hops_without_names),
	    cmocka_unit_test(test_port_reaches_the_socket_address),
	    cmocka_unit_test(test_path_too_long),
	    cmocka_unit_test(test_loop_is_cut),
	    cmocka_unit_test(test_no_host_is_looked_up_too_late),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
