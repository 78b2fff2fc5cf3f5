/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_hosts.h - within dns*.c: addresses known without asking anybody.
 */
#ifndef DMA_DNS_HOSTS_H
#define DMA_DNS_HOSTS_H

#include "dns.h"

/*
 * The address that a text is: "192.0.2.1", "[192.0.2.1]",
 * "[IPv6:2001:db8::1]" (RFC 5321, 4.1.3).  False if it is none.
 */
bool dns_take_literal(struct dns_address_list *list, const char *host);

/* The addresses of a host in /etc/hosts; false if there are none. */
bool dns_look_in_hosts(const char *host, struct dns_address_list *list);

#endif
