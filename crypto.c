/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto.c - TLS and HMAC-MD5 by OpenSSL, 1.1.1 or newer.
 *
 * Runs in:   dma-smtp.
 * Trusts:    OpenSSL, the system's CA certificates. Distrusts: the peer and
 *            its certificate.
 * Promises:  after a handshake the peer is who the policy wants; no
 *            environment variable and no openssl.cnf has a say in it.
 */
#include "crypto.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "limits.h"
#include "util.h"

#define HASH_LEN        32            /* SHA-256 */
#define CERT_LIST_MAX   (100L * 1024) /* bytes of the peer's chain (H-69) */
#define CHAIN_DEPTH_MAX 10            /* certificates between leaf and root */
#define NAMES_SHOWN_MAX 3             /* of a certificate for another name */
#define NAME_TEXT_MAX   64            /* bytes shown of one name */

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define SSL_get1_peer_certificate SSL_get_peer_certificate
#endif

struct crypto {
	SSL *ssl;
	SSL_SESSION *session;         /* the newest the peer gave, or NULL */
	unsigned char peer[HASH_LEN]; /* host and policy: who may resume */
	char host[ADDR_DOMAIN_MAX + 1];
	bool literal; /* host is an address */
	bool verify, has_fingerprint;
	unsigned char fingerprint[HASH_LEN];
	bool accepted; /* the handshake is over, all is as wanted */
	bool broken;   /* OpenSSL forbids SSL_shutdown now */
	char refusal[CRYPTO_ERROR_MAX]; /* what verification did not like */
	char description[96];
};

/*
 * A process serves one next hop, so one context and one session are all that
 * is worth keeping; loading the CAs costs more than a handshake.
 */
static struct {
	SSL_CTX *ctx;
	unsigned char policy[HASH_LEN]; /* what ctx was built from */
	SSL_SESSION *session;
	unsigned char peer[HASH_LEN]; /* whose session it is */
} kept;

/* Before anything else of OpenSSL: its first call would read openssl.cnf. */
static void
initialise(void)
{
	(void)OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG |
				   OPENSSL_INIT_LOAD_SSL_STRINGS |
				   OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	    NULL);
}

const char *
crypto_version(void)
{
	return OpenSSL_version(OPENSSL_VERSION);
}

/* OpenSSL's own words for the oldest error, which is the cause. */
static void
describe_error(char *error, const char *what)
{
	unsigned long code = ERR_peek_error();
	const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

	(void)snprintf(error, CRYPTO_ERROR_MAX, "%s: %s", what,
	    reason != NULL ? reason : "unknown error");
	ERR_clear_error();
}

/* ---- The context ---- */

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
			    HASH_LEN);
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
		describe_error(error, "client certificate");
		return -1;
	}
	EVP_PKEY *key = read_key(pem, len);
	if (key == NULL) {
		describe_error(error, "private key of the client certificate");
		return -1;
	}
	/* This compares key and certificate too. */
	int ok = SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
		 SSL_CTX_check_private_key(ctx) == 1;
	EVP_PKEY_free(key);
	if (ok)
		return 0;
	describe_error(error, "client certificate and private key");
	return -1;
}

/* OpenSSL hands us a session and a reference to it; 1: we keep both. */
static int
keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct crypto *t = SSL_get_app_data(ssl);

	SSL_SESSION_free(t->session);
	t->session = session;
	return 1;
}

static int
configure_context(SSL_CTX *ctx, const struct crypto_policy *p, char *error)
{
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1) {
		describe_error(error, "TLS 1.2");
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
	SSL_CTX_sess_set_new_cb(ctx, keep_session);
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

static SSL_CTX *
context_for(const struct crypto_policy *p, char *error)
{
	unsigned char hash[HASH_LEN];

	if (digest_policy(p, false, hash) == -1) {
		describe_error(error, "SHA-256");
		return NULL;
	}
	if (kept.ctx != NULL && memcmp(hash, kept.policy, HASH_LEN) == 0)
		return kept.ctx;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (ctx == NULL) {
		describe_error(error, "TLS");
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
	memcpy(kept.policy, hash, HASH_LEN);
	return ctx;
}

/* ---- What is wrong with a certificate, for a person ---- */

static void
append_name(char *names, size_t size, const ASN1_STRING *name)
{
	char text[NAME_TEXT_MAX + 1];
	size_t used = strlen(names);

	(void)printable(text, sizeof(text),
	    (const char *)ASN1_STRING_get0_data(name),
	    (size_t)ASN1_STRING_length(name));
	(void)snprintf(
	    names + used, size - used, "%s%s", used > 0 ? ", " : "", text);
}

static void
append_common_name(char *names, size_t size, X509_NAME *subject)
{
	int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);

	if (at >= 0)
		append_name(names, size,
		    X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
}

/* The names a certificate is for: the first few, or its common name. */
static void
certificate_names(X509 *cert, char *names, size_t size)
{
	GENERAL_NAMES *alt =
	    X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int shown = 0;

	names[0] = '\0';
	for (int i = 0; i < sk_GENERAL_NAME_num(alt); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(alt, i);
		if (name->type == GEN_DNS && shown++ < NAMES_SHOWN_MAX)
			append_name(names, size, name->d.dNSName);
	}
	GENERAL_NAMES_free(alt);
	if (shown > NAMES_SHOWN_MAX)
		compat_strlcpy(
		    names + strlen(names), ", ...", size - strlen(names));
	if (shown > 0)
		return;
	compat_strlcpy(names, "only a common name", size);
	append_common_name(names, size, X509_get_subject_name(cert));
}

static const char *
date_text(const ASN1_TIME *when, char *dst, size_t size)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(when, &tm) != 1 ||
	    strftime(dst, size, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		compat_strlcpy(dst, "an unreadable date", size);
	return dst;
}

static void
describe_issuer(char *dst, size_t size, const char *whose, X509 *cert)
{
	char names[NAME_TEXT_MAX + 1] = "";

	append_common_name(names, sizeof(names), X509_get_issuer_name(cert));
	(void)snprintf(dst, size,
	    "%s is from an authority not trusted here (%s)", whose,
	    names[0] != '\0' ? names : "no name");
}

static void
describe_refusal(struct crypto *t, int code, int depth, X509 *cert)
{
	char whose[128], names[NAMES_SHOWN_MAX * NAME_TEXT_MAX], date[32];
	char *dst = t->refusal;
	size_t size = sizeof(t->refusal);

	(void)snprintf(whose, sizeof(whose), "%s %.100s",
	    depth == 0 ? "certificate of" : "the certificate chain of",
	    t->host);
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		certificate_names(cert, names, sizeof(names));
		(void)snprintf(
		    dst, size, "%s is for another name (%.100s)", whose, names);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		(void)snprintf(dst, size, "%s expired on %s", whose,
		    date_text(X509_get0_notAfter(cert), date, sizeof(date)));
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		(void)snprintf(dst, size, "%s is not valid before %s", whose,
		    date_text(X509_get0_notBefore(cert), date, sizeof(date)));
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		(void)snprintf(
		    dst, size, "self-signed certificate of %.100s", t->host);
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		describe_issuer(dst, size, whose, cert);
		break;
	default:
		(void)snprintf(dst, size, "%s: %s", whose,
		    X509_verify_cert_error_string(code));
	}
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
		describe_refusal(t, X509_STORE_CTX_get_error(store),
		    X509_STORE_CTX_get_error_depth(store), cert);
	return ok;
}

/* ---- One session ---- */

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
	if (kept.session != NULL && memcmp(kept.peer, t->peer, HASH_LEN) == 0)
		(void)SSL_set_session(t->ssl, kept.session);
	return 1;
}

struct crypto *
crypto_start(int fd, const struct crypto_policy *policy, char *error)
{
	initialise();
	ERR_clear_error();
	SSL_CTX *ctx = context_for(policy, error);
	if (ctx == NULL)
		return NULL;
	struct crypto *t = xcalloc(1, sizeof(*t));
	set_host(t, policy->host);
	t->verify = policy->verify;
	t->has_fingerprint = policy->has_fingerprint;
	memcpy(t->fingerprint, policy->fingerprint, HASH_LEN);
	t->ssl = SSL_new(ctx);
	if (t->ssl != NULL && digest_policy(policy, true, t->peer) == 0 &&
	    prepare(t, fd) == 1)
		return t;
	describe_error(error, "TLS");
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
		describe_error(
		    error, "TLS: the server speaks something else here");
	else if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
		 (ERR_GET_REASON(code) == SSL_R_UNSUPPORTED_PROTOCOL ||
		     ERR_GET_REASON(code) ==
			 SSL_R_TLSV1_ALERT_PROTOCOL_VERSION))
		describe_error(
		    error, "TLS: the server has no TLS 1.2 or newer");
	else
		describe_error(error, "TLS");
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

static int
check_fingerprint(const struct crypto *t, X509 *cert, char *error)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char is[2 * HASH_LEN + 1], want[2 * HASH_LEN + 1];

	if (X509_digest(cert, EVP_sha256(), md, &len) != 1 || len != HASH_LEN) {
		describe_error(error, "SHA-256");
		return -1;
	}
	if (CRYPTO_memcmp(md, t->fingerprint, HASH_LEN) == 0)
		return 0;
	for (size_t i = 0; i < HASH_LEN; i++) {
		(void)snprintf(is + 2 * i, 3, "%02X", md[i]);
		(void)snprintf(want + 2 * i, 3, "%02X", t->fingerprint[i]);
	}
	(void)snprintf(error, CRYPTO_ERROR_MAX,
	    "certificate fingerprint is %s, configured %s", is, want);
	return -1;
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
		result = check_fingerprint(t, cert, error);
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
		SSL_SESSION_free(kept.session);
		kept.session = t->session;
		memcpy(kept.peer, t->peer, HASH_LEN);
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

	initialise();
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
