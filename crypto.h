/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto.h - TLS and HMAC-MD5; the only module that knows OpenSSL.
 */
#ifndef DMA_CRYPTO_H
#define DMA_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define CRYPTO_ERROR_MAX 256
#define CRYPTO_MD5_HEX   33 /* with its NUL */
#define CRYPTO_HASH_LEN  32 /* SHA-256 */

struct crypto_policy {
	const char *host; /* SNI and reference identity; name or literal */
	bool verify;      /* chain to the system's CAs, and name */
	bool has_fingerprint;
	unsigned char fingerprint[CRYPTO_HASH_LEN]; /* of the leaf */
	const char *cert; /* PEM bytes of chain and key, or NULL */
	size_t cert_len;
	const char *ca; /* PEM bytes of the CAs to trust instead, or NULL */
	size_t ca_len;
};

struct crypto; /* one TLS session over one socket */

/*
 * Start a client session on a connected non-blocking socket (borrowed; of
 * the policy nothing is kept).  TLS 1.2 or newer, no renegotiation, no
 * configuration file, no environment.
 * Returns NULL with text in error (CRYPTO_ERROR_MAX bytes).
 */
struct crypto *crypto_start(
    int fd, const struct crypto_policy *policy, char *error);

/*
 * One step each, never blocking.  Return > 0 done (bytes for read/write),
 * 0 the connection is gone (with or without close_notify), CRYPTO_WANT_READ
 * or CRYPTO_WANT_WRITE: poll and call again, a write with the same bytes or
 * more; CRYPTO_FAILED with text in error.  A handshake ends only when
 * certificate, name and fingerprint are as the policy wants; the text says
 * which was not.  SIGPIPE must be ignored.
 */
enum { CRYPTO_FAILED = -1, CRYPTO_WANT_READ = -2, CRYPTO_WANT_WRITE = -3 };
int crypto_handshake(struct crypto *t, char *error);
ssize_t crypto_read(struct crypto *t, void *p, size_t len, char *error);
ssize_t crypto_write(struct crypto *t, const void *p, size_t len, char *error);

/* "TLSv1.3, TLS_AES_256_GCM_SHA384, verified" for logs; borrowed from t. */
const char *crypto_describe(const struct crypto *t);

/* The library's name and version, for people. */
const char *crypto_version(void);

/*
 * Before a sandbox: after it no code can be loaded, and where the system wants
 * validated cryptography (FIPS) that comes as a module, at the first use.
 */
void crypto_prepare(void);

/* Where the certificates of the system's CAs may be: one file, a directory. */
const char *crypto_ca_file(void);
const char *crypto_ca_dir(void);

void crypto_free(struct crypto *t); /* sends close_notify if it can */

/* HMAC-MD5 as lower-case hex (RFC 2195).  0, or -1 (not offered: FIPS). */
int crypto_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, char hex[CRYPTO_MD5_HEX]);

#endif
