/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns.c - MX and addresses of a name (RFC 5321, 5.1): what to ask, and what
 * the answers mean together.  dns_query.c asks, dns_parse.c reads answers,
 * dns_files.c knows what needs no question.
 *
 * Runs in:   dma-smtp.
 * Trusts:    /etc/hosts and resolv.conf. Distrusts: every byte of an answer.
 * Promises:  what is not certain is TEMPORARY.
 */
#include "dns.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "dns_parts.h"
#include "util.h"

/* ---- What no answer may lead to ---- */

static bool
public_in(uint32_t host_order)
{
	return host_order >> 24 != 0 &&      /* 0/8: any, "this network" */
	       host_order >> 24 != 127 &&    /* loopback */
	       host_order >> 16 != 0xa9fe && /* 169.254/16: link-local */
	       host_order >> 28 < 14;        /* 224/4, 240/4, broadcast */
}

static bool
public_in6(const struct in6_addr *a)
{
	static const unsigned char zero[12],
	    mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
	    nat64[12] = {0, 0x64, 0xff, 0x9b};
	const unsigned char *p = a->s6_addr;

	/* An IPv4 address in disguise, ::1 and :: among them. */
	if (memcmp(p, zero, 12) == 0 || memcmp(p, mapped, 12) == 0 ||
	    memcmp(p, nat64, 12) == 0)
		return public_in((uint32_t)p[12] << 24 | (uint32_t)p[13] << 16 |
				 (uint32_t)p[14] << 8 | p[15]);
	return p[0] != 0xff && !IN6_IS_ADDR_LINKLOCAL(a);
}

bool
dns_address_public(const struct sockaddr_storage *sa)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->ss_family == AF_INET)
		return public_in(ntohl(in->sin_addr.s_addr));
	return sa->ss_family == AF_INET6 && public_in6(&in6->sin6_addr);
}

/* ---- Questions ---- */

struct resolver {
	struct dns_servers servers;
	int64_t deadline;
	unsigned char answer[DNS_ANSWER_MAX];
};

/* Who to ask, to be freed; NULL if nobody: then no default is as good. */
static struct resolver *
resolver_open(int64_t deadline, const char **why)
{
	struct resolver *r = xcalloc(1, sizeof(*r));

	dns_servers_read(&r->servers);
	r->deadline = deadline;
	*why = "no usable answer from the name servers";
	if (r->servers.count > 0)
		return r;
	*why = "no resolver configuration";
	free(r);
	return NULL;
}

static enum dns_result
ask_address(struct resolver *r, const char *host, int family, int64_t deadline,
    struct dns_address_list *list)
{
	unsigned type = family == AF_INET ? ns_t_a : ns_t_aaaa;
	ssize_t len = dns_ask(&r->servers, host, type, deadline, r->answer);

	list->count = 0;
	if (len == -1)
		return DNS_TEMPORARY;
	return dns_parse_address(r->answer, (size_t)len, host, family, list);
}

static enum dns_result
ask_addresses(
    struct resolver *r, const char *host, struct dns_address_list *list)
{
	struct dns_address_list in6, in;
	int64_t now = now_ms();

	/* A family that never answers leaves the other its time (H-100). */
	enum dns_result r6 =
	    ask_address(r, host, AF_INET6, now + (r->deadline - now) / 2, &in6);
	enum dns_result r4 = ask_address(r, host, AF_INET, r->deadline, &in);

	dns_interleave(&in6, &in, list);
	if (list->count > 0)
		return DNS_OK;
	if (r6 == DNS_TEMPORARY || r4 == DNS_TEMPORARY)
		return DNS_TEMPORARY;
	return r6 == DNS_NO_NAME && r4 == DNS_NO_NAME ? DNS_NO_NAME
						      : DNS_NO_DATA;
}

/* The name to ask for: absolute without saying so.  False if it is none. */
static bool
question_name(const char *name, char dst[DNS_NAME_SIZE])
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len > ADDR_DOMAIN_MAX)
		return false;
	memcpy(dst, name, len);
	dst[len] = '\0';
	return dns_usable_host(dst);
}

enum dns_result
dns_address_lookup(const char *host, int64_t ms, struct dns_address_list *list,
    const char **why)
{
	char name[DNS_NAME_SIZE];
	int64_t deadline = now_ms() + ms;

	list->count = 0;
	list->from_hosts = false;
	if (dns_take_literal(list, host) || dns_look_in_hosts(host, list))
		return DNS_OK;
	if (!question_name(host, name))
		return DNS_NO_NAME;
	struct resolver *r = resolver_open(deadline, why);
	if (r == NULL)
		return DNS_TEMPORARY;
	enum dns_result result = ask_addresses(r, name, list);
	free(r);
	return result;
}

/*
 * A CNAME without MX behind it may be all that a server had at hand: the
 * question is asked again for the name it leads to.
 */
static enum dns_result
ask_mx(struct resolver *r, const char *domain, struct dns_mx_list *list)
{
	char name[DNS_NAME_SIZE], final[DNS_NAME_SIZE];

	compat_strlcpy(name, domain, sizeof(name));
	for (unsigned i = 0; i <= DNS_CNAME_MAX; i++) {
		ssize_t len =
		    dns_ask(&r->servers, name, ns_t_mx, r->deadline, r->answer);
		if (len == -1)
			return DNS_TEMPORARY;
		enum dns_result result =
		    dns_parse_mx(r->answer, (size_t)len, name, final, list);
		if (result != DNS_NO_DATA || dns_same_name(name, final))
			return result;
		if (!addr_domain_valid(final))
			return DNS_NO_DATA;
		memcpy(name, final, sizeof(name));
	}
	return DNS_TEMPORARY;
}

enum dns_result
dns_mx_lookup(
    const char *domain, int64_t ms, struct dns_mx_list *list, const char **why)
{
	struct dns_address_list in_hosts;
	char name[DNS_NAME_SIZE];

	list->count = 0;
	if (!question_name(domain, name))
		return DNS_NO_NAME;
	struct resolver *r = resolver_open(now_ms() + ms, why);
	if (r == NULL)
		return DNS_TEMPORARY;
	enum dns_result result = ask_mx(r, name, list);
	free(r);
	if (result == DNS_OK && list->count == 0)
		return DNS_NO_DATA;
	if (result == DNS_NO_DATA ||
	    (result == DNS_NO_NAME && dns_look_in_hosts(domain, &in_hosts))) {
		dns_insert_mx(list, 0, domain);
		return DNS_OK;
	}
	return result;
}
