/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * route.c - which next hop a recipient has, and what an agent is told of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../route.h"
#include "../../util.h"

static struct conf *
configure(const char *text, const char *auth)
{
	struct conf_error error;
	struct conf *c = conf_parse("c", text, strlen(text), true, &error);

	if (c == NULL ||
	    conf_parse_auth(c, "a", auth, strlen(auth), &error) == -1)
		fail_msg("%s", error.text);
	return c;
}

static struct addr
address(const char *text)
{
	struct addr a;
	const char *why;

	if (addr_parse(&a, text, true, &why) == -1)
		fail_msg("%s %s", text, why);
	return a;
}

static void
test_keys(void **state)
{
	static const struct {
		const char *conf, *to, *key;
	} cases[] = {
	    {"", "root", "local:root"},
	    {"", "root+x+y", "local:root"},
	    {"", "root+", "local:root"},
	    {"", "+x", "local:+x"},
	    {"", "+x+y", "local:+x"},
	    {"", "\"joe doe+a b\"", "local:joe doe"},
	    {"", "a+x@B.Example", "mx:b.example"},
	    {"MAILBOX lmtp:/l\n", "root", "mailbox:0"},
	    {"MAILBOX lmtp:/l\n", "root+x", "mailbox:0"},
	    {"MAILBOX lmtp:/l\n", "a@x.example", "mx:x.example"},
	    {"MAILBOX ~/x\n", "root", "local:root"},
	    {"", "\"joe doe\"", "local:joe doe"},
	    {"SMARTHOST r\n", "root", "local:root"},
	    {"", "a@B.Example", "mx:b.example"},
	    {"", "\"x@y\"@B.Example", "mx:b.example"},
	    {"", "a@[192.0.2.1]", "mx:[192.0.2.1]"},
	    {"SMARTHOST r, s\n", "a@B.Example", "relay:0"},
	};
	char key[ROUTE_KEY_MAX + 1];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c = configure(cases[i].conf, "");
		struct addr a = address(cases[i].to);

		route_key(c, &a, NULL, key);
		assert_string_equal(key, cases[i].key);
		route_key(c, &a, "/v/x", key);
		assert_string_equal(key, "alias:");
		conf_free(c);
	}
}

static void
test_localize(void **state)
{
	static const char plain[] = "MAILNAME h.example\n";
	static const char null_client[] =
	    "MAILNAME h.example\nSMARTHOST r\nNULLCLIENT\n";
	static const struct {
		const char *conf, *from, *to;
	} cases[] = {
	    {plain, "root", "root"},
	    {plain, "root@H.Example", "root"},
	    {plain, "root@localhost", "root"},
	    {plain, "root@x.example", "root@x.example"},
	    {plain, "\"a@b\"@h.example", "\"a@b\""},
	    {plain, "<>", ""},
	    {null_client, "root", "root@h.example"},
	    {null_client, "root@LOCALHOST", "root@h.example"},
	    {null_client, "root@h.example", "root@h.example"},
	    {null_client, "root@x.example", "root@x.example"},
	    {null_client, "<>", ""},
	};
	const char *why;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c = configure(cases[i].conf, "");
		struct addr a = address(cases[i].from), expected;

		assert_int_equal(route_localize(c, &a, &why), 0);
		assert_string_equal(a.text, cases[i].to);
		expected = address(cases[i].to);
		assert_int_equal(a.at, expected.at);
		conf_free(c);
	}
}

static void
test_localize_too_long(void **state)
{
	struct conf *c;
	char conf[400], label[61];
	struct addr a = address("a-rather-long-name-of-a-user");
	const char *why = NULL;

	(void)state;
	memset(label, 'x', sizeof(label) - 1);
	label[sizeof(label) - 1] = '\0';
	snprintf(conf, sizeof(conf),
	    "SMARTHOST r\nNULLCLIENT\nMAILNAME %s.%s.%s.%s\n", label, label,
	    label, label);
	c = configure(conf, "");
	assert_int_equal(route_localize(c, &a, &why), -1);
	assert_non_null(why);
	assert_string_equal(a.text, "a-rather-long-name-of-a-user");
	conf_free(c);
}

static void
test_hop_local(void **state)
{
	struct conf *c = configure("SMARTHOST r\n", "");
	struct hop h;

	(void)state;
	assert_int_equal(route_hop(c, "local:joe doe", 0, &h), 0);
	assert_int_equal(h.kind, HOP_LOCAL);
	assert_string_equal(h.host, "joe doe");
	assert_null(h.password);
	hop_free(&h);
	assert_int_equal(route_hop(c, "local:joe", 1, &h), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(route_hop(c, "alias:", 0, &h), 0);
	assert_int_equal(h.kind, HOP_ALIAS);
	assert_string_equal(h.host, "");
	hop_free(&h);
	assert_int_equal(route_hop(c, "alias:x", 0, &h), -1);
	assert_true(route_is_local("alias:#id") && route_is_local("local:x"));
	assert_false(route_is_local("mx:local") || route_is_local("relay:0"));
	conf_free(c);
}

/* What protects the way to SMARTHOST has nothing to do with it. */
static void
test_hop_mailbox(void **state)
{
	struct conf *c = configure("SMARTHOST r\nLOCALONLY\nCERTFILE /c\n"
				   "MAILBOX lmtp://l.example\nFINGERPRINT "
				   "00112233445566778899aabbccddeeff"
				   "00112233445566778899aabbccddeeff\n",
	    "u|l.example:secret\n");
	struct hop h;

	(void)state;
	assert_int_equal(route_hop(c, "mailbox:0", 0, &h), 0);
	assert_int_equal(h.kind, HOP_RELAY);
	assert_int_equal(h.protocol, PROTOCOL_LMTP);
	assert_string_equal(h.host, "l.example");
	assert_int_equal(h.port, 24);
	assert_int_equal(h.tls, TLS_MAY);
	assert_false(h.auth || h.has_fingerprint || h.verify);
	assert_null(h.password);
	assert_null(h.cert);
	assert_false(route_is_local("mailbox:0"));
	hop_free(&h);
	assert_int_equal(route_hop(c, "mailbox:0", 1, &h), -1);
	assert_int_equal(errno, ENOENT);
	conf_free(c);
	c = configure("", "");
	assert_int_equal(route_hop(c, "mailbox:0", 0, &h), -1);
	conf_free(c);
}

static void
test_hop_relays(void **state)
{
	struct conf *c = configure("SMARTHOST a:26, smtps://u@b, lmtp:///l\n"
				   "TIMEOUTS 9\nMAILNAME m.example.org\n",
	    "u|b:secret\n");
	struct hop h;

	(void)state;
	assert_int_equal(route_hop(c, "relay:0", 0, &h), 0);
	assert_int_equal(h.kind, HOP_RELAY);
	assert_string_equal(h.host, "a");
	assert_int_equal(h.port, 26);
	assert_int_equal(h.tls, TLS_MAY);
	assert_false(h.auth);
	assert_null(h.user);
	assert_int_equal(h.timeouts, 9);
	assert_string_equal(h.helo, "m.example.org");
	hop_free(&h);
	assert_int_equal(route_hop(c, "relay:0", 1, &h), 0);
	assert_string_equal(h.host, "b");
	assert_int_equal(h.port, 465);
	assert_int_equal(h.tls, TLS_IMPLICIT);
	assert_true(h.verify && h.auth && !h.insecure);
	assert_string_equal(h.user, "u");
	assert_string_equal(h.password, "secret");
	hop_free(&h);
	assert_int_equal(route_hop(c, "relay:0", 2, &h), 0);
	assert_string_equal(h.host, "/l");
	assert_int_equal(h.protocol, PROTOCOL_LMTP);
	assert_int_equal(h.tls, TLS_NONE);
	hop_free(&h);
	assert_int_equal(route_hop(c, "relay:0", 3, &h), -1);
	assert_int_equal(errno, ENOENT);
	assert_null(h.host);
	conf_free(c);
}

/* Without the credential that was asked for, the relay is not tried. */
static void
test_hop_without_credential(void **state)
{
	struct conf *c = configure("SMARTHOST joe@h\n", "ann|h:x\n");
	struct hop h;

	(void)state;
	assert_int_equal(route_hop(c, "relay:0", 0, &h), -1);
	assert_int_equal(errno, EACCES);
	assert_null(h.host);
	conf_free(c);
}

static void
test_hop_mx(void **state)
{
	struct conf *c =
	    configure("VERIFYCERT\nPORT 99\nINSECURE\n", "u|b.example:x\n");
	struct hop h;

	(void)state;
	assert_int_equal(route_hop(c, "mx:b.example", 0, &h), 0);
	assert_int_equal(h.kind, HOP_MX);
	assert_string_equal(h.host, "b.example");
	assert_int_equal(h.port, 25);
	assert_int_equal(h.tls, TLS_STARTTLS);
	assert_true(h.verify && h.insecure && !h.auth);
	hop_free(&h);
	assert_int_equal(route_hop(c, "mx:[192.0.2.1]", 0, &h), 0);
	assert_string_equal(h.host, "[192.0.2.1]");
	hop_free(&h);
	assert_int_equal(route_hop(c, "mx:b.example", 1, &h), -1);
	assert_int_equal(errno, ENOENT);
	/* SMARTHOST was removed since: nothing to choose from. */
	assert_int_equal(route_hop(c, "relay:0", 0, &h), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(route_hop(c, "bogus", 0, &h), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(route_hop(c, "mx:", 0, &h), -1);
	assert_int_equal(errno, EINVAL);
	conf_free(c);
}

static void
test_helo(void **state)
{
	static const struct {
		const char *mailname, *helo;
	} cases[] = {
	    {"mail.example.org", "mail.example.org"},
	    {"my_host.example.org", "[127.0.0.1]"},
	    {"myhost", "[127.0.0.1]"},
	    {"localhost.localdomain", "[127.0.0.1]"},
	};
	char text[100];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c;
		struct hop h;

		snprintf(
		    text, sizeof(text), "MAILNAME %s\n", cases[i].mailname);
		c = configure(text, "");
		compat_strlcpy(c->hostname, "host", sizeof(c->hostname));
		assert_int_equal(route_hop(c, "mx:x", 0, &h), 0);
		assert_string_equal(h.helo, cases[i].helo);
		hop_free(&h);
		compat_strlcpy(
		    c->hostname, "host.example.net", sizeof(c->hostname));
		assert_int_equal(route_hop(c, "mx:x", 0, &h), 0);
		assert_string_equal(
		    h.helo, i == 0 ? cases[0].helo : "host.example.net");
		hop_free(&h);
		conf_free(c);
	}
}

static void
test_certificate(void **state)
{
	char path[] = "/tmp/route-test-XXXXXX", text[100];
	int fd = mkstemp(path);
	struct conf *c;
	struct hop h;

	(void)state;
	assert_int_equal(write_full(fd, "PEM", 3), 0);
	snprintf(text, sizeof(text), "CERTFILE %s\n", path);
	c = configure(text, "");
	assert_int_equal(route_hop(c, "mx:x", 0, &h), 0);
	assert_int_equal(h.cert_len, 3);
	assert_memory_equal(h.cert, "PEM", 3);
	hop_free(&h);
	assert_int_equal(ftruncate(fd, CERTFILE_MAX + 1), 0);
	assert_int_equal(route_hop(c, "mx:x", 0, &h), -1);
	assert_int_equal(errno, EIO);
	close(fd);
	unlink(path);
	assert_int_equal(route_hop(c, "mx:x", 0, &h), -1);
	assert_int_equal(errno, EIO);
	conf_free(c);
}

/* Not even mail that was queued before: there is no such hop. */
static void
test_localonly(void **state)
{
	static const char relay[] = "SMARTHOST a,b\nLOCALONLY\n";
	static const char *const keys[] = {"relay:0", "mx:x.example"};
	struct conf *c = configure(relay, "");
	struct addr here = address("joe"), away = address("joe@x.example");
	struct hop h;

	(void)state;
	assert_true(route_allowed(c, &here));
	assert_false(route_allowed(c, &away));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		assert_int_equal(route_hop(c, keys[i], 0, &h), -1);
		assert_int_equal(errno, EPERM);
	}
	assert_int_equal(route_hop(c, "relay:0", 1, &h), -1);
	assert_int_equal(route_hop(c, "local:joe", 0, &h), 0);
	hop_free(&h);
	conf_free(c);
	c = configure("", "");
	assert_true(route_allowed(c, &away));
	conf_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_localize),
	    cmocka_unit_test(test_localize_too_long),
	    cmocka_unit_test(test_hop_local),
	    cmocka_unit_test(test_hop_mailbox),
	    cmocka_unit_test(test_hop_relays),
	    cmocka_unit_test(test_hop_without_credential),
	    cmocka_unit_test(test_hop_mx),
	    cmocka_unit_test(test_helo),
	    cmocka_unit_test(test_certificate),
	    cmocka_unit_test(test_localonly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
