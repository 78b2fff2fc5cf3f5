/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * peer.h - who is at the other end of a descriptor.
 */
#ifndef DMA_PEER_H
#define DMA_PEER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

enum peer_kind {
	PEER_NONE,    /* no socket: a pipe, a file, a terminal */
	PEER_LOCAL,   /* a process of this machine, whose uid is known */
	PEER_NETWORK, /* an address */
	PEER_UNKNOWN  /* a socket that is not connected, or of another kind */
};

struct peer {
	enum peer_kind kind;
	uid_t uid;                       /* PEER_LOCAL: as the kernel says */
	int family;                      /* PEER_NETWORK: AF_INET or AF_INET6 */
	unsigned char address[16];       /* network order; never IPv4-mapped */
	char text[INET6_ADDRSTRLEN + 8]; /* "[192.0.2.1]", "[IPv6:::1]" */
};

void peer_find(int fd, struct peer *p);
bool peer_is_loopback(const struct peer *p);

#endif
