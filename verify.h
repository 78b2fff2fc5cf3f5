/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.h - where mail would go (-bv).
 */
#ifndef DMA_VERIFY_H
#define DMA_VERIFY_H

#include "instance.h"
#include "submit.h"

/*
 * The user that a local address means, his name in any case.  Borrowed from
 * getpwnam(3), errno 0; NULL with errno: nobody said; with 0: there is none.
 */
const struct passwd *verify_user(const struct addr *a);

/*
 * Print where each address would go, one line each, an alias before what it
 * leads to; nothing is sent.  Returns the exit status: EX_OK, EX_NOUSER if
 * one is an error, EX_USAGE without addresses and with -t.
 */
int verify_addresses(const struct instance *in, const struct submit_options *o);

#endif
