/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * idn.c - internationalized domain names as the DNS has them (RFC 5890).
 *
 * Runs in:   dma-smtp. The only one that knows libidn2, which may be missing.
 * Trusts:    libidn2. Distrusts: the name.
 * Promises:  what it gives is a host name in ASCII.
 */
#include "idn.h"

#include <errno.h>
#ifdef HAVE_IDN2
#include <idn2.h>
#endif

#include "addr.h"
#include "compat.h"

#ifdef HAVE_IDN2
static int
to_alabels(const char *domain, char *dst, size_t size)
{
	char *name = NULL;
	bool good;

	if (idn2_to_ascii_8z(domain, &name,
		IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK) {
		errno = EINVAL;
		return -1;
	}
	good =
	    addr_domain_valid(name) && compat_strlcpy(dst, name, size) < size;
	idn2_free(name);
	errno = EINVAL;
	return good ? 0 : -1;
}
#else
static int
to_alabels(const char *domain, char *dst, size_t size)
{
	(void)domain;
	(void)dst;
	(void)size;
	errno = ENOSYS;
	return -1;
}
#endif

int
idn_to_ascii(const char *domain, char *dst, size_t size)
{
	const char *p = domain;

	while (*p != '\0' && (unsigned char)*p < 0x80)
		p++;
	if (*p != '\0')
		return to_alabels(domain, dst, size);
	if (compat_strlcpy(dst, domain, size) < size)
		return 0;
	errno = EINVAL;
	return -1;
}
