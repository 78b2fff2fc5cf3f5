/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_parts.h - what the dns*.c files share; nobody else includes it.
 */
#ifndef DMA_DNS_PARTS_H
#define DMA_DNS_PARTS_H

#include <sys/types.h>

#include "dns.h"

#define DNS_NAME_SIZE   (ADDR_DOMAIN_MAX + 1)
#define DNS_SERVERS_MAX 3 /* resolv.conf(5) */

struct dns_servers {
	struct dns_address server[DNS_SERVERS_MAX]; /* with their port */
	size_t count;
	bool tcp_only; /* options use-vc */
};

/* ---- dns_files.c: what is known without asking anybody ---- */

/*
 * The address that a text is: "192.0.2.1", "[192.0.2.1]",
 * "[IPv6:2001:db8::1]" (RFC 5321, 4.1.3).  False if it is none.
 */
bool dns_take_literal(struct dns_address_list *list, const char *host);

/* The addresses of a host in /etc/hosts; false if there are none. */
bool dns_look_in_hosts(const char *host, struct dns_address_list *list);

/* The name servers of resolv.conf, or of a text in its format. */
void dns_servers_read(struct dns_servers *servers);
void dns_parse_servers(char *text, struct dns_servers *servers);

/* ---- dns_query.c ---- */

/*
 * Ask the servers in turn for the records of an absolute name, over UDP, and
 * over TCP what does not fit there.
 *
 * deadline: now_ms() clock; kept to the millisecond, whatever the servers do.
 * answer:   DNS_ANSWER_MAX bytes of the caller's.
 * Returns the length of a whole response to this question, which is NOERROR
 * or NXDOMAIN and for the rest unchecked; or -1 if no server gave one.
 */
ssize_t dns_ask(const struct dns_servers *servers, const char *name,
    unsigned type, int64_t deadline, unsigned char *answer);

/* ---- dns_parse.c: what an answer says, and the lists it fills ---- */

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
