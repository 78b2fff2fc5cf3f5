/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto_certificate.h - within crypto*.c: what is wrong, for a person.
 */
#ifndef DMA_CRYPTO_CERTIFICATE_H
#define DMA_CRYPTO_CERTIFICATE_H

#include <openssl/x509.h>

#include "crypto.h"

/* error is of CRYPTO_ERROR_MAX bytes throughout. */

/*
 * "WHAT: reason", the reason being OpenSSL's own words for its oldest error,
 * which is the cause.
 */
void crypto_describe_error(char *error, const char *what);

/*
 * Why verification refused the certificate at depth (0 the peer's own) of
 * host; code is an X509_V_ERR_.
 */
void crypto_describe_refusal(
    char *error, const char *host, int code, int depth, X509 *cert);

/* 0 if that is its SHA-256, else -1 with text in error. */
int crypto_check_fingerprint(
    X509 *cert, const unsigned char wanted[CRYPTO_HASH_LEN], char *error);

#endif
