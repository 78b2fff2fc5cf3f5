/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_parse.h - within dns*.c: what an answer says, and the lists it fills.
 * The parsers that others may call are in dns.h.
 */
#ifndef DMA_DNS_PARSE_H
#define DMA_DNS_PARSE_H

#include "dns.h"

#define DNS_NAME_SIZE (ADDR_DOMAIN_MAX + 1)

/* What came back for a query, before its records are looked at. */
enum dns_reply {
	DNS_REPLY_FOREIGN,   /* no response to this query: keep waiting */
	DNS_REPLY_FAILED,    /* SERVFAIL, REFUSED ...: ask another server */
	DNS_REPLY_TRUNCATED, /* its records are not all: ask again over TCP */
	DNS_REPLY_WHOLE
};

/* Is this a response to the query of that id, name and type (class IN)? */
enum dns_reply dns_parse_reply(const unsigned char *answer, size_t len,
    unsigned id, const char *name, unsigned type);

/* dns_parse_mx(), and in *final where the CNAME chain in the answer ends. */
enum dns_result dns_parse_mx_chain(const unsigned char *answer, size_t len,
    const char *domain, char final[DNS_NAME_SIZE], struct dns_mx_list *list);

/* "Example.org." is the name "example.org". */
bool dns_same_name(const char *a, const char *b);

/* A name that we may look up; one that looks like an address is none (H-91). */
bool dns_usable_host(const char *host);

/* Insert by preference; of too many the worst is dropped. */
void dns_insert_mx(
    struct dns_mx_list *list, unsigned preference, const char *host);

/* binary: a struct in_addr or in6_addr; of too many the last is dropped. */
void dns_append_address(
    struct dns_address_list *list, int family, const void *binary);

/* IPv6 and IPv4 in turn, so that a dead family costs one try (H-03). */
void dns_interleave(const struct dns_address_list *in6,
    const struct dns_address_list *in, struct dns_address_list *list);

#endif
