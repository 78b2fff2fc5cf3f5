/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto.c - one TLS session, and HMAC-MD5, by OpenSSL 1.1.1 or newer.
 * crypto_context.c makes what sessions share, crypto_certificate.c says what
 * is wrong with a certificate.
 *
 * Runs in:   dma-smtp.
 * Trusts:    OpenSSL. Distrusts: the peer and its certificate.
 * Promises:  after a handshake the peer is who the policy wants.
 */
#include "crypto.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto_certificate.h"
#include "crypto_context.h"
#include "limits.h"
#include "util.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define SSL_get1_peer_certificate SSL_get_peer_certificate
#endif

struct crypto {
	SSL *ssl;
	SSL_SESSION *session; /* the newest the peer gave, or NULL */
	unsigned char peer[CRYPTO_HASH_LEN]; /* whose session it is */
	char host[ADDR_DOMAIN_MAX + 1];
	bool literal; /* host is an address */
	bool verify, has_fingerprint;
	unsigned char fingerprint[CRYPTO_HASH_LEN];
	bool accepted; /* the handshake is over, all is as wanted */
	bool broken;   /* OpenSSL forbids SSL_shutdown now */
	char refusal[CRYPTO_ERROR_MAX]; /* what verification did not like */
	char description[96];
};

const char *
crypto_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

/* OpenSSL hands us a session and a reference to it; 1: we keep both. */
static int
take_session(SSL *ssl, SSL_SESSION *session)
{
	struct crypto *t = SSL_get_app_data(ssl);

	SSL_SESSION_free(t->session);
	t->session = session;
	return 1;
}

/* The first complaint is kept, in words, while the certificate is at hand. */
static int
verify_step(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(
	    store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct crypto *t = SSL_get_app_data(ssl);
	X509 *cert = X509_STORE_CTX_get_current_cert(store);

	if (!ok && cert != NULL && t->refusal[0] == '\0')
		crypto_describe_refusal(t->refusal, t->host,
		    X509_STORE_CTX_get_error(store),
		    X509_STORE_CTX_get_error_depth(store), cert);
	return ok;
}

/* "[192.0.2.1]", "IPv6:::1", "mx.example." as certificates have them. */
static void
set_host(struct crypto *t, const char *host)
{
	unsigned char binary[sizeof(struct in6_addr)];
	size_t len;

	if (*host == '[')
		host++;
	if (ascii_strncasecmp(host, "IPv6:", 5) == 0)
		host += 5;
	compat_strlcpy(t->host, host, sizeof(t->host));
	len = strlen(t->host);
	if (len > 0 && (t->host[len - 1] == ']' || t->host[len - 1] == '.'))
		t->host[len - 1] = '\0';
	t->literal = inet_pton(AF_INET, t->host, binary) == 1 ||
		     inet_pton(AF_INET6, t->host, binary) == 1;
}

/* Make OpenSSL compare the name itself, as part of verification. */
static int
require_name(struct crypto *t)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, verify_step);
	/* Names in the subject are nobody's business (RFC 9525, 2). */
	X509_VERIFY_PARAM_set_hostflags(
	    param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
		       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	/* An empty name would be no reference identity at all. */
	if (t->host[0] == '\0')
		return 0;
	if (t->literal)
		return X509_VERIFY_PARAM_set1_ip_asc(param, t->host);
	return X509_VERIFY_PARAM_set1_host(param, t->host, 0);
}

static int
prepare(struct crypto *t, int fd)
{
	SSL_set_app_data(t->ssl, t);
	SSL_set_connect_state(t->ssl);
	if (SSL_set_fd(t->ssl, fd) != 1)
		return 0;
	if (!t->literal && t->host[0] != '\0' &&
	    SSL_set_tlsext_host_name(t->ssl, t->host) != 1)
		return 0;
	if (t->verify && require_name(t) != 1)
		return 0;
	crypto_resume(t->ssl, t->peer);
	return 1;
}

struct crypto *
crypto_start(int fd, const struct crypto_policy *policy, char *error)
{
	crypto_initialise();
	ERR_clear_error();
	SSL_CTX *ctx = crypto_context(policy, error);
	if (ctx == NULL)
		return NULL;
	SSL_CTX_sess_set_new_cb(ctx, take_session);
	struct crypto *t = xcalloc(1, sizeof(*t));
	set_host(t, policy->host);
	t->verify = policy->verify;
	t->has_fingerprint = policy->has_fingerprint;
	memcpy(t->fingerprint, policy->fingerprint, CRYPTO_HASH_LEN);
	t->ssl = SSL_new(ctx);
	if (t->ssl != NULL && crypto_peer_hash(policy, t->peer) == 0 &&
	    prepare(t, fd) == 1)
		return t;
	crypto_describe_error(error, "TLS");
	crypto_free(t);
	return NULL;
}

/* What a failed handshake most often means. */
static void
describe_failure(const struct crypto *t, char *error)
{
	unsigned long code = ERR_peek_error();

	if (t->refusal[0] != '\0') {
		compat_strlcpy(error, t->refusal, CRYPTO_ERROR_MAX);
		ERR_clear_error();
		return;
	}
	if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
	    ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER)
		crypto_describe_error(
		    error, "TLS: the server speaks something else here");
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		 (ERR_GET_REASON(code) == SSL_R_UNSUPPORTED_PROTOCOL ||
		     ERR_GET_REASON(code) ==
			 SSL_R_TLSV1_ALERT_PROTOCOL_VERSION))
		crypto_describe_error(
		    error, "TLS: the server has no TLS 1.2 or newer");
	else
		crypto_describe_error(error, "TLS");
}

/*
 * OpenSSL's answer to a step in our terms.  A peer that goes without
 * close_notify is gone all the same (H-70): SMTP's own replies say what is
 * complete.
 */
static int
step_result(struct crypto *t, int result, char *error)
{
	int reason = SSL_get_error(t->ssl, result);

	switch (reason) {
	case SSL_ERROR_NONE:
		return result;
	case SSL_ERROR_WANT_READ:
		return CRYPTO_WANT_READ;
	case SSL_ERROR_WANT_WRITE:
		return CRYPTO_WANT_WRITE;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		t->broken = true;
		ERR_clear_error();
		return 0;
	default:
		t->broken = true;
	}
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (ERR_GET_REASON(ERR_peek_error()) ==
	    SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		ERR_clear_error();
		return 0;
	}
#endif
	describe_failure(t, error);
	return CRYPTO_FAILED;
}

/*
 * Asked of the finished session once more, because a callback that was never
 * called would otherwise look like consent.
 */
static int
check_peer(const struct crypto *t, char *error)
{
	X509 *cert = SSL_get1_peer_certificate(t->ssl);
	long verified = SSL_get_verify_result(t->ssl);
	int result = 0;

	if (cert == NULL && (t->verify || t->has_fingerprint)) {
		compat_strlcpy(
		    error, "server has no certificate", CRYPTO_ERROR_MAX);
		return -1;
	}
	if (t->verify && verified != X509_V_OK) {
		(void)snprintf(error, CRYPTO_ERROR_MAX,
		    "certificate of %.100s: %s", t->host,
		    X509_verify_cert_error_string(verified));
		result = -1;
	} else if (t->has_fingerprint) {
		result = crypto_check_fingerprint(cert, t->fingerprint, error);
	}
	X509_free(cert);
	return result;
}

int
crypto_handshake(struct crypto *t, char *error)
{
	ERR_clear_error();
	int result = step_result(t, SSL_do_handshake(t->ssl), error);
	if (result <= 0)
		return result;
	if (check_peer(t, error) == -1)
		return CRYPTO_FAILED;
	t->accepted = true;
	(void)snprintf(t->description, sizeof(t->description), "%s, %s",
	    SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl));
	return 1;
}

static int
clip(size_t len)
{
	return len > INT_MAX ? INT_MAX : (int)len;
}

ssize_t
crypto_read(struct crypto *t, void *p, size_t len, char *error)
{
	if (t->broken)
		return 0;
	ERR_clear_error();
	return step_result(t, SSL_read(t->ssl, p, clip(len)), error);
}

ssize_t
crypto_write(struct crypto *t, const void *p, size_t len, char *error)
{
	if (t->broken)
		return 0;
	ERR_clear_error();
	return step_result(t, SSL_write(t->ssl, p, clip(len)), error);
}

const char *
crypto_describe(const struct crypto *t)
{
	return t->description;
}

bool
crypto_verified(const struct crypto *t)
{
	return t->accepted && (t->verify || t->has_fingerprint);
}

bool
crypto_resumed(const struct crypto *t)
{
	return SSL_session_reused(t->ssl) == 1;
}

void
crypto_free(struct crypto *t)
{
	if (t == NULL)
		return;
	if (t->accepted && !t->broken) {
		ERR_clear_error();
		(void)SSL_shutdown(t->ssl);
	}
	/* Only a session whose peer passed may spare the next one the test. */
	if (t->accepted && t->session != NULL) {
		crypto_keep_session(t->session, t->peer);
		t->session = NULL;
	}
	SSL_SESSION_free(t->session);
	SSL_free(t->ssl);
	ERR_clear_error();
	free(t);
}

int
crypto_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, char hex[CRYPTO_MD5_HEX])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	crypto_initialise();
	if (key_len > INT_MAX)
		return -1;
	/* A NULL key would mean "the one before", so give none a place. */
	if (HMAC(EVP_md5(), key_len > 0 ? key : "", (int)key_len, text,
		text_len, md, &len) == NULL ||
	    len != 16) {
		ERR_clear_error();
		return -1;
	}
	for (size_t i = 0; i < 16; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", md[i]);
	return 0;
}
