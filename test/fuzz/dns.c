/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns.c - any answer of a name server, any hosts(5) and resolv.conf(5): what
 * comes of it are host names and addresses that we may use, and no answer to
 * another question.
 *
 * The first byte says what the rest is.
 */
#include "fuzz.h"

#include <arpa/nameser.h>

#include "addr.h"
#include "dns_parts.h"

#define NAME "example.org"

static void
check_addresses(const struct dns_address_list *list, int family)
{
	need(list->count <= DNS_ADDRESSES_MAX, "how many");
	for (size_t i = 0; i < list->count; i++) {
		need(family == 0 || list->addr[i].sa.ss_family == family,
		    "family");
		need(list->addr[i].len > 0 &&
			 list->addr[i].len <= sizeof(list->addr[i].sa),
		    "length");
		(void)dns_address_public(&list->addr[i].sa);
	}
}

static void
check_mx(const uint8_t *data, size_t size)
{
	static struct dns_mx_list list;
	char final[DNS_NAME_SIZE] = "";
	enum dns_result result = dns_parse_mx(data, size, NAME, final, &list);

	need(list.count <= DNS_MX_MAX, "how many");
	need(result == DNS_OK || list.count == 0, "MX of a failure");
	for (size_t i = 0; i < list.count; i++)
		need(dns_usable_host(list.mx[i].host) &&
			 (i == 0 || list.mx[i - 1].preference <=
					list.mx[i].preference),
		    "an MX host");
	if (result == DNS_OK)
		need_printable(final, "where the chain ends");
	/* Cut short an answer is none, whatever its last record was. */
	if (result == DNS_OK && size < 600)
		need(dns_parse_reply(data, size,
			 (unsigned)data[0] << 8 | data[1], NAME,
			 ns_t_mx) == DNS_REPLY_WHOLE,
		    "a whole reply");
}

static void
check_answers(const uint8_t *data, size_t size)
{
	static const int families[] = {AF_INET, AF_INET6};
	struct dns_address_list list = {.count = 0}, both;

	for (size_t i = 0; i < 2; i++) {
		size_t before = list.count;
		enum dns_result result =
		    dns_parse_address(data, size, NAME, families[i], &list);

		need((result == DNS_OK) == (list.count > before) ||
			 list.count == DNS_ADDRESSES_MAX,
		    "addresses of a failure");
		check_addresses(
		    &list, list.count > 0 && before == 0 ? families[i] : 0);
	}
	dns_interleave(&list, &list, &both);
	check_addresses(&both, 0);
	(void)dns_parse_reply(data, size, 0, NAME, ns_t_a);
}

static void
check_files(const uint8_t *data, size_t size)
{
	struct dns_address_list list = {.count = 0};
	struct dns_servers servers;
	char *text = text_of(data, size);

	need(dns_parse_hosts(text, NAME, &list) == (list.count > 0), "hosts");
	check_addresses(&list, 0);
	free(text);
	text = text_of(data, size);
	dns_parse_servers(text, &servers);
	need(servers.count <= DNS_SERVERS_MAX, "servers");
	free(text);
	text = text_of(data, size);
	list.count = 0;
	need(dns_take_literal(&list, text) == (list.count == 1), "literal");
	if (dns_usable_host(text))
		need(addr_domain_valid(text) && list.count == 0, "a host name");
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > DNS_ANSWER_MAX)
		return 0;
	if (data[0] % 2 == 1) {
		check_files(data + 1, size - 1);
	} else {
		check_mx(data + 1, size - 1);
		check_answers(data + 1, size - 1);
	}
	return 0;
}
