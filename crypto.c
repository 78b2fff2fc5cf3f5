/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto.c - TLS sessions, and HMAC-MD5, by OpenSSL 1.1.1 or newer.
 * crypto_certificate.c says what is wrong with a certificate.
 *
 * Runs in:   dma-smtp.
 * Trusts:    OpenSSL, the system's CA certificates, the policy. Distrusts:
 *            the peer and its certificate.
 * Promises:  after a handshake the peer is who the policy wants; no
 *            environment variable and no openssl.cnf has a say in it.
 */
#include "crypto.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto_certificate.h"
#include "limits.h"
#include "util.h"

#define CERT_LIST_MAX   (100L * 1024) /* bytes of the peer's chain (H-69) */
#define CHAIN_DEPTH_MAX 10            /* certificates between leaf and root */
#define READS_MAX       1000 /* of the socket, and no data: a flood (H-69) */

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define SSL_get1_peer_certificate SSL_get_peer_certificate
#endif

struct crypto {
	SSL *ssl;
	char host[ADDR_DOMAIN_MAX + 1];
	bool literal; /* host is an address */
	bool verify, has_fingerprint;
	unsigned char fingerprint[CRYPTO_HASH_LEN];
	int fd;
	unsigned reads; /* of the socket, since there was data */
	bool listening; /* to fd: from the second step of the handshake on */
	bool accepted;  /* the handshake is over, all is as wanted */
	bool broken;    /* OpenSSL forbids SSL_shutdown now */
	char refusal[CRYPTO_ERROR_MAX]; /* what verification did not like */
	char description[96];
};

/* Its first call would read openssl.cnf. */
static void
initialise(void)
{
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	ERR_clear_error();
}

void
crypto_prepare(void)
{
	unsigned char md[EVP_MAX_MD_SIZE];

	initialise();
	(void)EVP_Digest("", 0, md, NULL, EVP_sha256(), NULL);
	ERR_clear_error();
}

/* ---- Certificates of ours, and of those we trust ---- */

const char *
crypto_ca_file(void)
{
	return X509_get_default_cert_file();
}

const char *
crypto_ca_dir(void)
{
	return X509_get_default_cert_dir();
}

/*
 * Loaded once, because that costs more than a handshake.  The paths compiled
 * into OpenSSL are named by us: its default-path function looks into
 * SSL_CERT_FILE and SSL_CERT_DIR first.
 */
static X509_STORE *
system_cas(char *error)
{
	static X509_STORE *store;
	const char *file = crypto_ca_file(), *dir = crypto_ca_dir();
	bool loaded = false;

	if (store != NULL)
		return store;
	X509_STORE *fresh = X509_STORE_new();
	if (fresh != NULL && access(file, R_OK) == 0)
		loaded = X509_STORE_load_locations(fresh, file, NULL) == 1;
	if (fresh != NULL && access(dir, R_OK | X_OK) == 0 &&
	    X509_STORE_load_locations(fresh, NULL, dir) == 1)
		loaded = true;
	ERR_clear_error();
	if (loaded)
		return store = fresh;
	X509_STORE_free(fresh);
	(void)snprintf(error, CRYPTO_ERROR_MAX,
	    "no CA certificates in %.100s or %.100s", file, dir);
	return NULL;
}

static int
trust(SSL_CTX *ctx, X509 *cert, unsigned number)
{
	(void)number;
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
}

/* The first certificate is ours, the others are its chain. */
static int
present(SSL_CTX *ctx, X509 *cert, unsigned number)
{
	return number == 0 ? SSL_CTX_use_certificate(ctx, cert)
			   : (int)SSL_CTX_add1_chain_cert(ctx, cert);
}

static BIO *
bio_of(const char *p, size_t len)
{
	return len <= INT_MAX ? BIO_new_mem_buf(p, (int)len) : NULL;
}

/* Use each certificate in the text; false if there is none, or one is bad. */
static bool
use_certificates(SSL_CTX *ctx, const char *pem, size_t len,
    int (*use)(SSL_CTX *ctx, X509 *cert, unsigned number))
{
	BIO *bio = bio_of(pem, len);
	X509 *cert;
	unsigned count = 0;
	bool ok = bio != NULL;

	while (
	    ok && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		ok = use(ctx, cert, count++) == 1;
		X509_free(cert);
	}
	BIO_free(bio);
	if (!ok || count == 0 ||
	    ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
		return false;
	ERR_clear_error(); /* the end of the text counts as an error */
	return true;
}

static bool
use_key(SSL_CTX *ctx, const char *pem, size_t len, char *error)
{
	/* Nobody is there to type a passphrase. */
	char passphrase[] = "";
	BIO *bio = bio_of(pem, len);
	EVP_PKEY *key = NULL;

	if (bio != NULL)
		key = PEM_read_bio_PrivateKey(bio, NULL, NULL, passphrase);
	BIO_free(bio);
	if (key == NULL) {
		crypto_describe_error(
		    error, "private key of the client certificate");
		return false;
	}
	/* This compares key and certificate too. */
	bool ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		  SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	if (!ok)
		crypto_describe_error(
		    error, "client certificate and private key");
	return ok;
}

static bool
use_trust(SSL_CTX *ctx, const struct crypto_policy *p, char *error)
{
	if (p->ca != NULL) {
		if (use_certificates(ctx, p->ca, p->ca_len, trust))
			return true;
		crypto_describe_error(error, "CA file");
		return false;
	}
	X509_STORE *store = system_cas(error);
	if (store != NULL)
		SSL_CTX_set1_cert_store(ctx, store);
	return store != NULL;
}

static bool
configure(SSL_CTX *ctx, const struct crypto_policy *p, char *error)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		crypto_describe_error(error, "TLS 1.2");
		return false;
	}
	SSL_CTX_set_options(
	    ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
				  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_max_cert_list(ctx, CERT_LIST_MAX);
	SSL_CTX_set_verify_depth(ctx, CHAIN_DEPTH_MAX);
	if (p->verify && !use_trust(ctx, p, error))
		return false;
	if (p->cert == NULL)
		return true;
	if (use_certificates(ctx, p->cert, p->cert_len, present))
		return use_key(ctx, p->cert, p->cert_len, error);
	crypto_describe_error(error, "client certificate");
	return false;
}

/* ---- Sessions ---- */

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

/*
 * It writes first and reads nothing, so that the caller sees what answers
 * before it is lost in here.
 */
static bool
prepare(struct crypto *t, int fd)
{
	BIO *silence = BIO_new(BIO_s_mem());

	if (silence == NULL)
		return false;
	SSL_set0_rbio(t->ssl, silence);
	t->fd = fd;
	SSL_set_connect_state(t->ssl);
	return SSL_set_app_data(t->ssl, t) == 1 &&
	       SSL_set_wfd(t->ssl, fd) == 1 &&
	       (t->literal || t->host[0] == '\0' ||
		   SSL_set_tlsext_host_name(t->ssl, t->host) == 1) &&
	       (!t->verify || require_name(t) == 1);
}

struct crypto *
crypto_start(int fd, const struct crypto_policy *policy, char *error)
{
	initialise();
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx != NULL && !configure(ctx, policy, error)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	struct crypto *t = xcalloc(1, sizeof(*t));
	set_host(t, policy->host);
	t->verify = policy->verify;
	t->has_fingerprint = policy->has_fingerprint;
	memcpy(t->fingerprint, policy->fingerprint, CRYPTO_HASH_LEN);
	if (ctx != NULL)
		t->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx); /* the session holds it as long as it needs it */
	if (t->ssl != NULL && prepare(t, fd))
		return t;
	crypto_describe_error(error, "TLS");
	crypto_free(t);
	return NULL;
}

/* What a failed handshake most often means. */
static void
describe_failure(const struct crypto *t, char *error)
{
	static const struct {
		int reason;
		const char *words;
	} known[] = {
	    {SSL_R_WRONG_VERSION_NUMBER,
		"TLS: the server speaks something else here, perhaps "
		"SMTP before STARTTLS"},
	    {SSL_R_UNSUPPORTED_PROTOCOL,
		"TLS: the server has no TLS 1.2 or newer"},
	    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION,
		"TLS: the server has no TLS 1.2 or newer"},
	};
	unsigned long code = ERR_peek_error();
	const char *what = "TLS";

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		    ERR_GET_REASON(code) == known[i].reason)
			what = known[i].words;
	crypto_describe_error(error, what);
	if (t->refusal[0] != '\0')
		compat_strlcpy(error, t->refusal, CRYPTO_ERROR_MAX);
}

/*
 * OpenSSL's answer to a step in our terms.  A peer that goes without
 * close_notify is gone all the same (H-70): SMTP's own replies say what is
 * complete.
 */
static int
step_result(struct crypto *t, int result, char *error)
{
	switch (SSL_get_error(t->ssl, result)) {
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
		if (t->reads < READS_MAX)
			return 0;
		compat_strlcpy(error,
		    "TLS: the server sends records without end, and no data",
		    CRYPTO_ERROR_MAX);
		return CRYPTO_FAILED;
	default:
		t->broken = true;
	}
#ifdef SSL_R_UNEXPECTED_EOF_WHILE_READING
	if (ERR_GET_REASON(ERR_peek_error()) ==
	    SSL_R_UNEXPECTED_EOF_WHILE_READING)
		return 0;
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
	long verified = SSL_get_verify_result(t->ssl);
	X509 *cert = SSL_get1_peer_certificate(t->ssl);
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

/*
 * OpenSSL reads on as long as there is something to read, and records that
 * are no data (key updates, tickets, requests to begin anew) may come for ever:
 * no deadline of ours would be looked at.  Before READS_MAX is one the read
 * fails.
 */
static long
count_reads(BIO *bio, int oper, const char *p, size_t len, int i, long l,
    int result, size_t *done)
{
	struct crypto *t = (void *)BIO_get_callback_arg(bio);

	(void)p, (void)len, (void)i, (void)l, (void)done;
	if (oper == (BIO_CB_READ | BIO_CB_RETURN) && result > 0)
		t->reads++;
	if (oper != BIO_CB_READ || t->reads < READS_MAX)
		return result;
	BIO_clear_retry_flags(bio);
	return -1;
}

/* Deaf, it would ask for more for ever. */
static bool
listen_to_peer(struct crypto *t)
{
	BIO *bio;

	if (SSL_set_rfd(t->ssl, t->fd) != 1)
		return false;
	bio = SSL_get_rbio(t->ssl);
	BIO_set_callback_arg(bio, (char *)t);
	BIO_set_callback_ex(bio, count_reads);
	return t->listening = true;
}

int
crypto_handshake(struct crypto *t, char *error)
{
	ERR_clear_error();
	int result = step_result(t, SSL_do_handshake(t->ssl), error);
	if (!t->listening && !listen_to_peer(t)) {
		crypto_describe_error(error, "TLS");
		return CRYPTO_FAILED;
	}
	if (result <= 0)
		return result;
	if (check_peer(t, error) == -1)
		return CRYPTO_FAILED;
	t->accepted = true;
	(void)snprintf(t->description, sizeof(t->description), "%s, %s%s",
	    SSL_get_version(t->ssl), SSL_get_cipher_name(t->ssl),
	    t->verify || t->has_fingerprint ? ", verified" : "");
	return 1;
}

ssize_t
crypto_read(struct crypto *t, void *p, size_t len, char *error)
{
	size_t done = 0;

	if (t->broken)
		return 0;
	ERR_clear_error();
	int result = step_result(t, SSL_read_ex(t->ssl, p, len, &done), error);
	if (result > 0)
		t->reads = 0;
	return result > 0 ? (ssize_t)done : result;
}

ssize_t
crypto_write(struct crypto *t, const void *p, size_t len, char *error)
{
	size_t done = 0;

	if (t->broken)
		return 0;
	ERR_clear_error();
	int result = step_result(t, SSL_write_ex(t->ssl, p, len, &done), error);
	return result > 0 ? (ssize_t)done : result;
}

const char *
crypto_describe(const struct crypto *t)
{
	return t->description;
}

const char *
crypto_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

void
crypto_free(struct crypto *t)
{
	if (t == NULL)
		return;
	if (t->accepted && !t->broken)
		(void)SSL_shutdown(t->ssl);
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

	initialise();
	if (key_len > INT_MAX)
		return -1;
	/* A NULL key would mean "the one before", so give none a place. */
	if (HMAC(EVP_md5(), key_len > 0 ? key : "", (int)key_len, text,
		text_len, md, &len) == NULL ||
	    len != 16)
		return -1;
	for (size_t i = 0; i < 16; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", md[i]);
	return 0;
}
