/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto_context.c - policy, CAs and client certificate as an SSL_CTX, and
 * the session that is kept.
 *
 * Runs in:   dma-smtp.
 * Trusts:    OpenSSL, the system's CA certificates, the policy.
 * Promises:  no environment variable and no openssl.cnf has a say in it; a
 *            session is given to no other host or policy than it came from.
 */
#include "crypto_context.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "util.h"

#define CERT_LIST_MAX   (100L * 1024) /* bytes of the peer's chain (H-69) */
#define CHAIN_DEPTH_MAX 10            /* certificates between leaf and root */

/*
 * A process serves one next hop, so one context and one session are all that
 * is worth keeping; loading the CAs costs more than a handshake.
 */
static struct {
	SSL_CTX *ctx;
	unsigned char policy[CRYPTO_HASH_LEN]; /* what ctx was built from */
	SSL_SESSION *session;
	unsigned char peer[CRYPTO_HASH_LEN]; /* whose session it is */
} kept;

void
crypto_initialise(void)
{
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG |
				   OPENSSL_INIT_LOAD_SSL_STRINGS |
				   OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	    NULL);
}

void
crypto_describe_error(char *error, const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	(void)snprintf(error, CRYPTO_ERROR_MAX, "%s: %s", what,
	    reason != NULL ? reason : "unknown error");
	ERR_clear_error();
}

static void
digest_field(EVP_MD_CTX *md, const void *p, size_t len)
{
	uint64_t size = p != NULL ? len : UINT64_MAX;

	(void)EVP_DigestUpdate(md, &size, sizeof(size));
	if (p != NULL)
		(void)EVP_DigestUpdate(md, p, len);
}

/* What the context depends on, and with host and fingerprint the session. */
static int
digest_policy(const struct crypto_policy *p, bool peer, unsigned char *hash)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	int ok = md != NULL && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;

	if (ok) {
		digest_field(md, &p->verify, sizeof(p->verify));
		digest_field(md, p->cert, p->cert_len);
		digest_field(md, p->ca, p->ca_len);
		if (peer) {
			digest_field(md, p->host, strlen(p->host));
			digest_field(md,
			    p->has_fingerprint ? p->fingerprint : NULL,
			    CRYPTO_HASH_LEN);
		}
		ok = EVP_DigestFinal_ex(md, hash, NULL) == 1;
	}
	EVP_MD_CTX_free(md);
	return ok ? 0 : -1;
}

/*
 * The paths compiled into OpenSSL, named by us: its default-path function
 * looks into SSL_CERT_FILE and SSL_CERT_DIR first.
 */
static int
load_system_cas(SSL_CTX *ctx, char *error)
{
	const char *file = X509_get_default_cert_file();
	const char *dir = X509_get_default_cert_dir();
	bool loaded = false;

	if (access(file, R_OK) == 0)
		loaded = SSL_CTX_load_verify_locations(ctx, file, NULL) == 1;
	if (access(dir, R_OK | X_OK) == 0 &&
	    SSL_CTX_load_verify_locations(ctx, NULL, dir) == 1)
		loaded = true;
	ERR_clear_error();
	if (loaded)
		return 0;
	(void)snprintf(error, CRYPTO_ERROR_MAX,
	    "no CA certificates in %.100s or %.100s", file, dir);
	return -1;
}

static BIO *
bio_of(const char *p, size_t len)
{
	return len <= INT_MAX ? BIO_new_mem_buf(p, (int)len) : NULL;
}

static int
load_cas(SSL_CTX *ctx, const char *pem, size_t len, char *error)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = bio_of(pem, len);
	X509 *cert;
	unsigned count = 0;

	if (bio != NULL) {
		while (
		    (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
			if (X509_STORE_add_cert(store, cert) == 1)
				count++;
			X509_free(cert);
		}
		BIO_free(bio);
	}
	ERR_clear_error(); /* the end of the text counts as an error */
	if (count > 0)
		return 0;
	compat_strlcpy(
	    error, "CA file: no certificate in it", CRYPTO_ERROR_MAX);
	return -1;
}

/* Nobody is there to type a passphrase. */
static int
no_passphrase(char *p, int size, int writing, void *arg)
{
	(void)p;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* The first certificate is ours, the others are its chain. */
static int
use_certificates(SSL_CTX *ctx, const char *pem, size_t len)
{
	BIO *bio = bio_of(pem, len);
	X509 *cert;
	int count = 0, ok = 1;

	if (bio == NULL)
		return 0;
	while (
	    ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (count++ == 0)
			ok = SSL_CTX_use_certificate(ctx, cert) == 1;
		else
			ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	if (ok && count > 0)
		ERR_clear_error();
	return ok && count > 0;
}

static EVP_PKEY *
read_key(const char *pem, size_t len)
{
	BIO *bio = bio_of(pem, len);
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	return key;
}

static int
load_client_certificate(SSL_CTX *ctx, const char *pem, size_t len, char *error)
{
	if (!use_certificates(ctx, pem, len)) {
		crypto_describe_error(error, "client certificate");
		return -1;
	}
	EVP_PKEY *key = read_key(pem, len);
	if (key == NULL) {
		crypto_describe_error(
		    error, "private key of the client certificate");
		return -1;
	}
	/* This compares key and certificate too. */
	int ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		 SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	if (ok)
		return 0;
	crypto_describe_error(error, "client certificate and private key");
	return -1;
}

/* OpenSSL hands us a session and a reference to it; 1: we keep both. */
static int
configure_context(SSL_CTX *ctx, const struct crypto_policy *p, char *error)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		crypto_describe_error(error, "TLS 1.2");
		return -1;
	}
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
	SSL_CTX_set_session_cache_mode(
	    ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (p->verify && p->ca != NULL &&
	    load_cas(ctx, p->ca, p->ca_len, error) == -1)
		return -1;
	if (p->verify && p->ca == NULL && load_system_cas(ctx, error) == -1)
		return -1;
	if (p->cert != NULL)
		return load_client_certificate(
		    ctx, p->cert, p->cert_len, error);
	return 0;
}

SSL_CTX *
crypto_context(const struct crypto_policy *p, char *error)
{
	unsigned char hash[CRYPTO_HASH_LEN];

	if (digest_policy(p, false, hash) == -1) {
		crypto_describe_error(error, "SHA-256");
		return NULL;
	}
	if (kept.ctx != NULL && memcmp(hash, kept.policy, CRYPTO_HASH_LEN) == 0)
		return kept.ctx;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL) {
		crypto_describe_error(error, "TLS");
		return NULL;
	}
	if (configure_context(ctx, p, error) == -1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_free(kept.ctx);
	SSL_SESSION_free(kept.session);
	kept.session = NULL;
	kept.ctx = ctx;
	memcpy(kept.policy, hash, CRYPTO_HASH_LEN);
	return ctx;
}

int
crypto_peer_hash(
    const struct crypto_policy *policy, unsigned char hash[CRYPTO_HASH_LEN])
{
	return digest_policy(policy, true, hash);
}

void
crypto_resume(SSL *ssl, const unsigned char peer[CRYPTO_HASH_LEN])
{
	if (kept.session != NULL &&
	    memcmp(kept.peer, peer, CRYPTO_HASH_LEN) == 0)
		(void)SSL_set_session(ssl, kept.session);
}

void
crypto_keep_session(
    SSL_SESSION *session, const unsigned char peer[CRYPTO_HASH_LEN])
{
	SSL_SESSION_free(kept.session);
	kept.session = session;
	memcpy(kept.peer, peer, CRYPTO_HASH_LEN);
}
