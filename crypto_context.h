/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto_context.h - within crypto*.c: what TLS sessions of a process share.
 */
#ifndef DMA_CRYPTO_CONTEXT_H
#define DMA_CRYPTO_CONTEXT_H

#include <openssl/ssl.h>

#include "crypto.h"

#define CRYPTO_HASH_LEN 32 /* SHA-256 */

/* Before anything else of OpenSSL: its first call would read openssl.cnf. */
void crypto_initialise(void);

/*
 * "WHAT: reason" in error (CRYPTO_ERROR_MAX bytes), the reason being
 * OpenSSL's own words for its oldest error, which is the cause.
 */
void crypto_describe_error(char *error, const char *what);

/*
 * The context for sessions under this policy: borrowed, and good until the
 * next call with another policy.  NULL with text in error.
 */
SSL_CTX *crypto_context(const struct crypto_policy *policy, char *error);

/* Who may resume whose session: host and policy as one hash.  0 or -1. */
int crypto_peer_hash(
    const struct crypto_policy *policy, unsigned char hash[CRYPTO_HASH_LEN]);

/* Give ssl the session kept of this peer, if there is one. */
void crypto_resume(SSL *ssl, const unsigned char peer[CRYPTO_HASH_LEN]);

/* Keep the session (ours from now on) of a peer that passed every test. */
void crypto_keep_session(
    SSL_SESSION *session, const unsigned char peer[CRYPTO_HASH_LEN]);

#endif
