/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns.h - MX and addresses of a name; the only module that asks name servers.
 *
 * Absolute names only, /etc/hosts read by us; the servers are those of the
 * system's resolver configuration, and without a readable one it is a
 * temporary failure, never 127.0.0.1.
 */
#ifndef DMA_DNS_H
#define DMA_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "limits.h"

enum dns_result {
	DNS_OK,
	DNS_TEMPORARY, /* SERVFAIL, timeout, malformed answer, no resolver */
	DNS_NO_NAME,   /* NXDOMAIN */
	DNS_NO_DATA,   /* the name exists, without such records */
	DNS_NULL_MX    /* RFC 7505 */
};

struct dns_mx {
	uint16_t preference;
	char host[ADDR_DOMAIN_MAX + 1];
};

struct dns_mx_list {
	struct dns_mx mx[DNS_MX_MAX]; /* by preference, equal ones shuffled */
	size_t count;
};

struct dns_address {
	struct sockaddr_storage sa; /* port 0 */
	socklen_t len;
};

#define DNS_ADDRESSES_MAX 20
struct dns_address_list {
	struct dns_address addr[DNS_ADDRESSES_MAX]; /* IPv6 and IPv4 in turn */
	size_t count;
	bool from_hosts; /* from /etc/hosts */
};

/*
 * The MX records of a domain, a CNAME followed (at most DNS_CNAME_MAX).  A
 * domain without MX is its own, preference 0 (RFC 5321, 5.1), and so is one
 * that only /etc/hosts knows; DNS_NO_DATA: no MX record names a usable host.
 * ms: for all queries together.  *why a constant text if DNS_TEMPORARY.
 */
enum dns_result dns_mx_lookup(
    const char *domain, int64_t ms, struct dns_mx_list *list, const char **why);

/*
 * Addresses of a host: an address literal is itself (with or without
 * brackets and "IPv6:"), then /etc/hosts, then AAAA and A.  One family's
 * failure does not hide the other's answer.
 */
enum dns_result dns_address_lookup(const char *host, int64_t ms,
    struct dns_address_list *list, const char **why);

/*
 * False for what no DNS answer may send mail to: loopback, any, multicast,
 * link-local, broadcast and reserved addresses, also when mapped into IPv6.
 * A configured relay, and what from_hosts says of a recipient's own domain,
 * may be anything.
 */
bool dns_address_public(const struct sockaddr_storage *sa);

/*
 * The parsers: hostile bytes in, nothing else read.  dns_parse_mx: *final is
 * where the CNAME chain in the answer ends; DNS_OK with an empty list if of
 * the MX records none names a usable host.  dns_parse_address appends the
 * addresses of one family (AF_INET, AF_INET6).
 * dns_parse_hosts: of a text in the format of hosts(5), which it cuts up;
 * false if there are none.
 */
enum dns_result dns_parse_mx(const unsigned char *answer, size_t len,
    const char *domain, char final[ADDR_DOMAIN_MAX + 1],
    struct dns_mx_list *list);
enum dns_result dns_parse_address(const unsigned char *answer, size_t len,
    const char *host, int family, struct dns_address_list *list);
bool dns_parse_hosts(
    char *text, const char *host, struct dns_address_list *list);

#endif
