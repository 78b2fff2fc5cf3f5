/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * idn.h - internationalized domain names as the DNS has them (RFC 5890).
 */
#ifndef DMA_IDN_H
#define DMA_IDN_H

#include <stddef.h>

/*
 * A domain with its labels as A-labels ("xn--..."); one in ASCII is copied as
 * it is.  Returns 0, or -1 with errno: ENOSYS (this program was built without
 * libidn2), EINVAL (no domain name).
 */
int idn_to_ascii(const char *domain, char *dst, size_t size);

#endif
