/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * peer.c - who is at the other end of a descriptor.
 *
 * Runs in:   dma, for SMTP on standard input.
 * Trusts:    the kernel's word alone.
 * Promises:  opens, reads and writes nothing.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "compat.h"

static int
local_uid(int fd, uid_t *uid)
{
#if defined(__linux__)
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == -1)
		return -1;
	*uid = cred.uid;
	return 0;
#else
	gid_t gid;

	return getpeereid(fd, uid, &gid);
#endif
}

static void
set_address(struct peer *p, int family, const void *address, size_t len)
{
	char text[INET6_ADDRSTRLEN];

	p->kind = PEER_NETWORK;
	p->family = family;
	memcpy(p->address, address, len);
	(void)inet_ntop(family, address, text, sizeof(text));
	(void)snprintf(p->text, sizeof(p->text), "[%s%s]",
	    family == AF_INET6 ? "IPv6:" : "", text);
}

void
peer_find(int fd, struct peer *p)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_storage room;
	} from;
	socklen_t len = sizeof(from);

	memset(&from, 0, sizeof(from));
	*p = (struct peer){.kind = PEER_UNKNOWN, .text = "[unknown]"};
	if (getpeername(fd, &from.any, &len) == -1) {
		if (errno == ENOTSOCK || errno == EBADF)
			p->kind = PEER_NONE;
	} else if (from.any.sa_family == AF_UNIX) {
		if (local_uid(fd, &p->uid) == 0)
			p->kind = PEER_LOCAL;
	} else if (from.any.sa_family == AF_INET) {
		set_address(p, AF_INET, &from.v4.sin_addr, 4);
	} else if (from.any.sa_family == AF_INET6) {
		const unsigned char *bytes = from.v6.sin6_addr.s6_addr;

		if (IN6_IS_ADDR_V4MAPPED(&from.v6.sin6_addr))
			set_address(p, AF_INET, bytes + 12, 4);
		else
			set_address(p, AF_INET6, bytes, 16);
	}
}

bool
peer_is_loopback(const struct peer *p)
{
	static const unsigned char v6[16] = {[15] = 1};

	if (p->kind != PEER_NETWORK)
		return false;
	return p->family == AF_INET ? p->address[0] == 127
				    : memcmp(p->address, v6, sizeof(v6)) == 0;
}
