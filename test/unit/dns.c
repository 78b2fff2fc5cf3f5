/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns.c - tests of the answer parsers: well-formed, odd and hostile answers.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dns.h"
#include "util.h"

enum { A = 1, CNAME = 5, MX = 15, AAAA = 28 };

/* An answer under construction; counts are patched into the header. */
struct packet {
	unsigned char bytes[DNS_ANSWER_MAX];
	size_t len;
};

static void
put(struct packet *p, const void *bytes, size_t len)
{
	assert_true(p->len + len <= sizeof(p->bytes));
	memcpy(p->bytes + p->len, bytes, len);
	p->len += len;
}

static void
put16(struct packet *p, unsigned value)
{
	unsigned char b[2] = {
	    (unsigned char)(value >> 8), (unsigned char)value};

	put(p, b, 2);
}

static void
set16(struct packet *p, size_t at, unsigned value)
{
	p->bytes[at] = (unsigned char)(value >> 8);
	p->bytes[at + 1] = (unsigned char)value;
}

/* "a.b" as labels; "" is the root. */
static void
put_name(struct packet *p, const char *name)
{
	while (*name != '\0') {
		size_t len = strcspn(name, ".");
		unsigned char c = (unsigned char)len;
		put(p, &c, 1);
		put(p, name, len);
		name += len + (name[len] == '.');
	}
	put(p, "", 1);
}

static struct packet *
begin(const char *question, unsigned type, unsigned rcode)
{
	static struct packet p;
	static const unsigned char header[12] = {0x12, 0x34, 0x81, 0x80, 0, 1};

	p.len = 0;
	put(&p, header, sizeof(header));
	p.bytes[3] = (unsigned char)(0x80 | rcode);
	put_name(&p, question);
	put16(&p, type);
	put16(&p, 1);
	return &p;
}

/* Everything of a record before its RDATA; returns where its length is. */
static size_t
put_head(struct packet *p, const char *owner, unsigned type, unsigned class)
{
	put_name(p, owner);
	put16(p, type);
	put16(p, class);
	put(p, "\0\0\1\0", 4);
	put16(p, 0);
	p->bytes[7]++;
	if (p->bytes[7] == 0)
		p->bytes[6]++;
	return p->len - 2;
}

static void
end_data(struct packet *p, size_t length_at)
{
	set16(p, length_at, (unsigned)(p->len - length_at - 2));
}

static void
put_mx(
    struct packet *p, const char *owner, unsigned preference, const char *host)
{
	size_t at = put_head(p, owner, MX, 1);

	put16(p, preference);
	put_name(p, host);
	end_data(p, at);
}

static void
put_cname(struct packet *p, const char *owner, const char *target)
{
	size_t at = put_head(p, owner, CNAME, 1);

	put_name(p, target);
	end_data(p, at);
}

static void
put_data(struct packet *p, const char *owner, unsigned type, const void *data,
    size_t len)
{
	size_t at = put_head(p, owner, type, 1);

	put(p, data, len);
	end_data(p, at);
}

/*
 * Parse a copy that ends where the answer ends, so that the sanitizer sees
 * every byte read behind it.
 */
static enum dns_result
parse(const struct packet *p, const char *domain, struct dns_mx_list *list)
{
	unsigned char *copy = malloc(p->len > 0 ? p->len : 1);

	assert_non_null(copy);
	memcpy(copy, p->bytes, p->len);
	memset(list, 0x5a, sizeof(*list));
	char final[ADDR_DOMAIN_MAX + 1];
	enum dns_result result =
	    dns_parse_mx(copy, p->len, domain, final, list);
	free(copy);
	if (result != DNS_OK)
		assert_int_equal(list->count, 0);
	return result;
}

static struct dns_mx_list list;

static void
sorts_by_preference(void **state)
{
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	put_mx(p, "example.org", 30, "c.example");
	put_mx(p, "EXAMPLE.org", 10, "a.example");
	put_mx(p, "example.org", 20, "b.example");
	assert_int_equal(parse(p, "Example.ORG", &list), DNS_OK);
	assert_int_equal(list.count, 3);
	assert_string_equal(list.mx[0].host, "a.example");
	assert_string_equal(list.mx[1].host, "b.example");
	assert_string_equal(list.mx[2].host, "c.example");
	assert_int_equal(list.mx[2].preference, 30);
	/* The same name with its final dot. */
	assert_int_equal(parse(p, "example.org.", &list), DNS_OK);
}

static void
shuffles_equals(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	bool first[4] = {false, false, false, false};

	(void)state;
	put_mx(p, "example.org", 10, "0.example");
	put_mx(p, "example.org", 10, "1.example");
	put_mx(p, "example.org", 10, "2.example");
	put_mx(p, "example.org", 5, "3.example");
	/* A fair shuffle misses one of three in 100 runs once in 10^17. */
	for (int i = 0; i < 100; i++) {
		assert_int_equal(parse(p, "example.org", &list), DNS_OK);
		assert_string_equal(list.mx[0].host, "3.example");
		first[list.mx[1].host[0] - '0'] = true;
	}
	assert_true(first[0] && first[1] && first[2] && !first[3]);
}

static void
null_mx(void **state)
{
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	put_mx(p, "example.org", 0, "");
	assert_int_equal(parse(p, "example.org", &list), DNS_NULL_MX);
	put_mx(p, "example.org", 10, "a.example");
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.mx[0].host, "a.example");
}

static void
drops_what_is_no_host(void **state)
{
	static const char *const bad[] = {"192.0.2.1", "a b.example",
	    "a/b.example", "-a.example", "a%n.example", "a\nb.example", "7"};
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		put_mx(p, "example.org", 1, bad[i]);
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, 0);
	put_mx(p, "example.org", 20, "good.example");
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.mx[0].host, "good.example");
}

/* A dot within a label, and a NUL, must not make another name of it. */
static void
drops_disguised_names(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	size_t at = put_head(p, "example.org", MX, 1);

	(void)state;
	put16(p, 1);
	put(p, "\13bank.victim\7example", 21);
	end_data(p, at);
	at = put_head(p, "example.org", MX, 1);
	put16(p, 1);
	put(p, "\6bank\0x\7example", 16);
	end_data(p, at);
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, 0);
}

static void
keeps_the_best_hundred(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	char host[32];

	(void)state;
	for (unsigned i = 1000; i > 0; i--) {
		(void)snprintf(host, sizeof(host), "h%u.example", i);
		put_mx(p, "example.org", i, host);
	}
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, DNS_MX_MAX);
	assert_string_equal(list.mx[0].host, "h1.example");
	assert_string_equal(list.mx[DNS_MX_MAX - 1].host, "h100.example");
}

static void
follows_aliases_in_any_order(void **state)
{
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	put_mx(p, "c.example", 10, "mx.example");
	put_mx(p, "other.example", 1, "evil.example");
	put_cname(p, "b.example", "c.example");
	put_cname(p, "example.org", "b.example");
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.mx[0].host, "mx.example");
}

static void
alias_chains_end(void **state)
{
	char from[32], to[32];

	(void)state;
	for (unsigned links = 9; links <= 12; links++) {
		struct packet *p = begin("n0.example", MX, 0);
		for (unsigned i = 0; i < links; i++) {
			(void)snprintf(from, sizeof(from), "n%u.example", i);
			(void)snprintf(to, sizeof(to), "n%u.example", i + 1);
			put_cname(p, from, to);
		}
		put_mx(p, to, 10, "mx.example");
		assert_int_equal(parse(p, "n0.example", &list),
		    links <= DNS_CNAME_MAX ? DNS_OK : DNS_TEMPORARY);
	}
	struct packet *p = begin("a.example", MX, 0);
	put_cname(p, "a.example", "b.example");
	put_cname(p, "b.example", "a.example");
	put_mx(p, "a.example", 10, "mx.example");
	assert_int_equal(parse(p, "a.example", &list), DNS_TEMPORARY);
}

static void
ignores_what_was_not_asked(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	size_t at;

	(void)state;
	put_mx(p, "example.com", 1, "evil.example");
	put_data(p, "example.org", A, "\300\0\2\1", 4);
	at = put_head(p, "example.org", MX, 3); /* class CH */
	put16(p, 1);
	put_name(p, "chaos.example");
	end_data(p, at);
	assert_int_equal(parse(p, "example.org", &list), DNS_NO_DATA);
}

static void
response_codes(void **state)
{
	(void)state;
	for (unsigned rcode = 0; rcode < 16; rcode++) {
		struct packet *p = begin("example.org", MX, rcode);
		enum dns_result want = rcode == 0   ? DNS_NO_DATA
				       : rcode == 3 ? DNS_NO_NAME
						    : DNS_TEMPORARY;
		assert_int_equal(parse(p, "example.org", &list), want);
	}
}

static void
header_must_fit_the_question(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		unsigned value;
	} changes[] = {
	    {"a query", 2, 0x0100},
	    {"truncated", 2, 0x8380},
	    {"another opcode", 2, 0xa180},
	    {"no question", 4, 0},
	    {"two questions", 4, 2},
	    {"more records than there are", 6, 2},
	    {"very many records", 6, 0xffff},
	    {"question for A", 25, A},
	    {"question of class CH", 27, 3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		struct packet *p = begin("example.org", MX, 0);
		put_mx(p, "example.org", 10, "a.example");
		assert_int_equal(parse(p, "example.org", &list), DNS_OK);
		set16(p, changes[i].at, changes[i].value);
		if (parse(p, "example.org", &list) != DNS_TEMPORARY)
			fail_msg("%s was accepted", changes[i].what);
	}
	struct packet *p = begin("example.com", MX, 3);
	assert_int_equal(parse(p, "example.org", &list), DNS_TEMPORARY);
}

/* Cut anywhere, an answer is no answer. */
static void
cut_anywhere(void **state)
{
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	put_cname(p, "example.org", "b.example");
	put_mx(p, "b.example", 10, "a.example");
	for (size_t len = p->len; len-- > 0;) {
		p->len = len;
		assert_int_equal(parse(p, "example.org", &list), DNS_TEMPORARY);
	}
}

/* RDATA of an MX record that is wrong, as bytes after the header. */
static void
malformed_mx_data(void **state)
{
	static const struct {
		const char *what, *data;
		size_t len;
	} cases[] = {
	    {"empty", "", 0},
	    {"preference only", "\0\1", 2},
	    {"one byte", "\0", 1},
	    {"name without end", "\0\1\1a", 4},
	    {"label beyond RDATA", "\0\1\5a\0", 5},
	    {"bytes behind the name", "\0\1\1a\0x", 6},
	    {"label type 01", "\0\1\101a\0", 5},
	    {"label type 10", "\0\1\201a\0", 5},
	    {"pointer cut", "\0\1\300", 3},
	    {"pointer to itself", "\0\1\300\066", 4},
	    {"pointer forward", "\0\1\300\070", 4},
	    {"pointer behind the end", "\0\1\377\377", 4},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct packet *p = begin("example.org", MX, 0);
		put_data(p, "example.org", MX, cases[i].data, cases[i].len);
		/* A good one beside it does not save the answer (H-89). */
		put_mx(p, "example.org", 20, "good.example");
		if (parse(p, "example.org", &list) != DNS_TEMPORARY)
			fail_msg("%s was accepted", cases[i].what);
	}
}

static void
length_beyond_the_end_V_48(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	size_t at = put_head(p, "example.org", MX, 1);

	(void)state;
	put16(p, 1);
	put_name(p, "a.example");
	end_data(p, at);
	set16(p, at, (unsigned)(p->len - at - 2) + 1);
	assert_int_equal(parse(p, "example.org", &list), DNS_TEMPORARY);
	set16(p, at, 0xffff);
	assert_int_equal(parse(p, "example.org", &list), DNS_TEMPORARY);
}

static void
compression(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	size_t at = put_head(p, "", MX, 1);

	/* Owner: a pointer to the question's name. */
	(void)state;
	p->len = at - 9;
	put(p, "\300\14\0\17\0\1\0\0\0\1\0\0", 12);
	at = p->len - 2;
	put(p, "\0\12\2mx\300\14", 7);
	end_data(p, at);
	assert_int_equal(parse(p, "example.org", &list), DNS_OK);
	assert_string_equal(list.mx[0].host, "mx.example.org");
}

/* A long chain of pointers costs a bounded number of steps, and fails. */
static void
pointer_chains_are_bounded(void **state)
{
	struct packet *p = begin("example.org", MX, 0);
	size_t data = put_head(p, "example.org", 99, 1), last = 12;

	(void)state;
	for (int i = 0; i < 200; i++) {
		size_t here = p->len;
		put16(p, 0xc000 | (unsigned)last);
		last = here;
	}
	end_data(p, data);
	data = put_head(p, "example.org", MX, 1);
	put16(p, 1);
	put16(p, 0xc000 | (unsigned)last);
	end_data(p, data);
	assert_int_equal(parse(p, "example.org", &list), DNS_TEMPORARY);
}

static void
names_have_a_length(void **state)
{
	struct packet *p;
	char name[300];
	size_t len;

	(void)state;
	for (len = 252; len <= 256; len++) {
		for (size_t i = 0; i < len; i++)
			name[i] = i % 64 == 63 ? '.' : 'a';
		name[len] = '\0';
		p = begin("example.org", MX, 0);
		put_mx(p, "example.org", 1, name);
		assert_int_equal(parse(p, "example.org", &list),
		    len <= 253 ? DNS_OK : DNS_TEMPORARY);
		if (len <= 253)
			assert_string_equal(list.mx[0].host, name);
	}
}

/* Change each byte of a good answer: never a crash, never a foreign host. */
static void
any_byte_may_be_wrong_V_47(void **state)
{
	struct packet *p = begin("example.org", MX, 0);

	(void)state;
	put_cname(p, "example.org", "b.example");
	put_mx(p, "b.example", 10, "a.example");
	for (size_t i = 0; i < p->len; i++) {
		unsigned char was = p->bytes[i];
		for (unsigned value = 0; value < 256; value++) {
			p->bytes[i] = (unsigned char)value;
			if (parse(p, "example.org", &list) == DNS_OK)
				assert_true(list.count <= 1);
		}
		p->bytes[i] = was;
	}
}

static const char *
text_of(const struct dns_address_list *addresses, size_t i)
{
	static char text[INET6_ADDRSTRLEN];
	const struct sockaddr_storage *sa = &addresses->addr[i].sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	memcpy(&in, sa, sizeof(in));
	memcpy(&in6, sa, sizeof(in6));
	return inet_ntop(sa->ss_family,
	    sa->ss_family == AF_INET ? (void *)&in.sin_addr
				     : (void *)&in6.sin6_addr,
	    text, sizeof(text));
}

static void
address_answers(void **state)
{
	struct dns_address_list addresses = {.count = 0};
	struct packet *p = begin("a.example", A, 0);

	(void)state;
	put_cname(p, "a.example", "b.example");
	put_data(p, "b.example", A, "\300\0\2\1", 4);
	put_data(p, "b.example", A, "\300\0\2\2", 4);
	put_data(p, "c.example", A, "\300\0\2\3", 4);
	assert_int_equal(dns_parse_address(p->bytes, p->len, "a.example",
			     AF_INET, &addresses),
	    DNS_OK);
	assert_int_equal(addresses.count, 2);
	assert_string_equal(text_of(&addresses, 0), "192.0.2.1");
	assert_string_equal(text_of(&addresses, 1), "192.0.2.2");
	/* One of another length spoils this answer, not what was there. */
	put_data(p, "b.example", A, "\300\0\2", 3);
	assert_int_equal(dns_parse_address(p->bytes, p->len, "a.example",
			     AF_INET, &addresses),
	    DNS_TEMPORARY);
	assert_int_equal(addresses.count, 2);
	p = begin("a.example", AAAA, 0);
	put_data(
	    p, "a.example", AAAA, "\40\1\15\270\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(dns_parse_address(p->bytes, p->len, "a.example",
			     AF_INET6, &addresses),
	    DNS_OK);
	assert_string_equal(text_of(&addresses, 2), "2001:db8::1");
	/* An answer to the other question is none. */
	assert_int_equal(dns_parse_address(p->bytes, p->len, "a.example",
			     AF_INET, &addresses),
	    DNS_TEMPORARY);
}

static void
too_many_addresses(void **state)
{
	struct dns_address_list addresses = {.count = 0};
	struct packet *p = begin("a.example", A, 0);

	(void)state;
	for (int i = 0; i < 1000; i++)
		put_data(p, "a.example", A, "\300\0\2\1", 4);
	assert_int_equal(dns_parse_address(p->bytes, p->len, "a.example",
			     AF_INET, &addresses),
	    DNS_OK);
	assert_int_equal(addresses.count, DNS_ADDRESSES_MAX);
}

static void
hosts_file(void **state)
{
	static const char text[] =
	    "# 192.0.2.9 mx.example\n"
	    "192.0.2.1\tother.example  MX.Example alias # 192.0.2.8\n"
	    "   2001:db8::1 mx.example\r\n"
	    "192.0.2.2 a#mx.example\n"
	    "192.0.2.3 notmx.example mx.example.com\n"
	    "fe80::1%lo mx.example\n"
	    "bogus mx.example\n"
	    "mx.example\n\n"
	    "192.0.2.4 mx.example.";
	struct dns_address_list addresses;
	char copy[sizeof(text)];

	(void)state;
	memcpy(copy, text, sizeof(text));
	assert_true(dns_parse_hosts(copy, "mx.example", &addresses));
	assert_true(addresses.from_hosts);
	assert_int_equal(addresses.count, 3);
	assert_string_equal(text_of(&addresses, 0), "2001:db8::1");
	assert_string_equal(text_of(&addresses, 1), "192.0.2.1");
	assert_string_equal(text_of(&addresses, 2), "192.0.2.4");
	memcpy(copy, text, sizeof(text));
	assert_true(dns_parse_hosts(copy, "alias", &addresses));
	assert_int_equal(addresses.count, 1);
	memcpy(copy, text, sizeof(text));
	assert_false(dns_parse_hosts(copy, "example", &addresses));
	assert_false(addresses.from_hosts);
}

static void
literals(void **state)
{
	static const struct {
		const char *host, *address;
	} cases[] = {
	    {"192.0.2.1", "192.0.2.1"},
	    {"[192.0.2.1]", "192.0.2.1"},
	    {"[IPv6:2001:db8::1]", "2001:db8::1"},
	    {"[ipv6:2001:DB8::1]", "2001:db8::1"},
	    {"2001:db8::1", "2001:db8::1"},
	    {"[2001:db8::1]", "2001:db8::1"},
	    {"::1", "::1"},
	};
	static const char *const none[] = {"[192.0.2]", "[]", "[",
	    "192.0.2.256", "[IPv6:]", "bad name", "", "1.2.3"};
	struct dns_address_list addresses;
	const char *why = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
		    dns_address_lookup(cases[i].host, 1000, &addresses, &why),
		    DNS_OK);
		assert_int_equal(addresses.count, 1);
		assert_string_equal(text_of(&addresses, 0), cases[i].address);
		assert_false(addresses.from_hosts);
	}
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		assert_int_equal(
		    dns_address_lookup(none[i], 1000, &addresses, &why),
		    DNS_NO_NAME);
	}
}

static void
public_addresses(void **state)
{
	static const struct {
		const char *text;
		bool public;
	} cases[] = {
	    {"192.0.2.1", true},
	    {"10.0.0.1", true},
	    {"223.255.255.255", true},
	    {"169.253.0.1", true},
	    {"127.0.0.1", false},
	    {"127.255.255.255", false},
	    {"0.0.0.0", false},
	    {"0.1.2.3", false},
	    {"169.254.1.1", false},
	    {"224.0.0.1", false},
	    {"239.255.255.255", false},
	    {"240.0.0.1", false},
	    {"255.255.255.255", false},
	    {"2001:db8::1", true},
	    {"fd00::1", true},
	    {"::", false},
	    {"::1", false},
	    {"::127.0.0.1", false},
	    {"::ffff:127.0.0.1", false},
	    {"::ffff:192.0.2.1", true},
	    {"64:ff9b::127.0.0.1", false},
	    {"64:ff9b::192.0.2.1", true},
	    {"fe80::1", false},
	    {"febf::1", false},
	    {"ff02::1", false},
	};
	struct dns_address_list addresses;
	const char *why;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(
		    dns_address_lookup(cases[i].text, 1000, &addresses, &why),
		    DNS_OK);
		if (dns_address_public(&addresses.addr[0].sa) !=
		    cases[i].public)
			fail_msg("%s", cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sorts_by_preference),
	    cmocka_unit_test(shuffles_equals),
	    cmocka_unit_test(null_mx),
	    cmocka_unit_test(drops_what_is_no_host),
	    cmocka_unit_test(drops_disguised_names),
	    cmocka_unit_test(keeps_the_best_hundred),
	    cmocka_unit_test(follows_aliases_in_any_order),
	    cmocka_unit_test(alias_chains_end),
	    cmocka_unit_test(ignores_what_was_not_asked),
	    cmocka_unit_test(response_codes),
	    cmocka_unit_test(header_must_fit_the_question),
	    cmocka_unit_test(cut_anywhere),
	    cmocka_unit_test(malformed_mx_data),
	    cmocka_unit_test(length_beyond_the_end_V_48),
	    cmocka_unit_test(compression),
	    cmocka_unit_test(pointer_chains_are_bounded),
	    cmocka_unit_test(names_have_a_length),
	    cmocka_unit_test(any_byte_may_be_wrong_V_47),
	    cmocka_unit_test(address_answers),
	    cmocka_unit_test(too_many_addresses),
	    cmocka_unit_test(hosts_file),
	    cmocka_unit_test(literals),
	    cmocka_unit_test(public_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
