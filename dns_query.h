/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_query.h - within dns*.c: the name servers, and one question to them.
 */
#ifndef DMA_DNS_QUERY_H
#define DMA_DNS_QUERY_H

#include "dns.h"

#define DNS_SERVERS_MAX 3 /* resolv.conf(5) */

struct dns_servers {
	struct dns_address server[DNS_SERVERS_MAX]; /* with their port */
	size_t count;
	bool tcp_only; /* options use-vc */
};

/*
 * The servers that the system's resolver is configured with.  0, or -1 where
 * it is not: a default server of the library's does not count.
 */
int dns_servers_read(struct dns_servers *servers);

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

#endif
