/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto.c - tests of TLS against servers and certificates made here.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto.h"
#include "util.h"

#define DAY 86400L

/* Who may sign, and what was signed. */
struct party {
	EVP_PKEY *key;
	X509 *cert;
};

static struct party authority, stranger;

static EVP_PKEY *
new_key(void)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);

	assert_int_equal(EVP_PKEY_keygen_init(ctx), 1);
	assert_int_equal(
	    EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1),
	    1);
	assert_int_equal(EVP_PKEY_keygen(ctx, &key), 1);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static void
add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_int_equal(X509_add_ext(cert, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* A DNS name with a NUL in it, which no configuration text can hold. */
static void
add_nul_name(X509 *cert)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	ASN1_STRING_set(text, "mx.example\0.evil.example", 24);
	GENERAL_NAME_set0_value(name, GEN_DNS, text);
	sk_GENERAL_NAME_push(names, name);
	assert_int_equal(
	    X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0), 1);
	GENERAL_NAMES_free(names);
}

/* by NULL: self-signed.  alt: "DNS:a,IP:b", "NUL", or NULL for none. */
static struct party
issue(
    const struct party *by, const char *cn, const char *alt, long from, long to)
{
	static long serial = 1;
	struct party p = {.key = new_key(), .cert = X509_new()};
	X509_NAME *name = X509_get_subject_name(p.cert);

	X509_set_version(p.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial++);
	X509_NAME_add_entry_by_txt(
	    name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(
	    p.cert, by != NULL ? X509_get_subject_name(by->cert) : name);
	X509_gmtime_adj(X509_getm_notBefore(p.cert), from);
	X509_gmtime_adj(X509_getm_notAfter(p.cert), to);
	X509_set_pubkey(p.cert, p.key);
	if (alt == NULL)
		add_extension(p.cert, NID_basic_constraints, "CA:TRUE");
	else if (strcmp(alt, "NUL") == 0)
		add_nul_name(p.cert);
	else if (alt[0] != '\0')
		add_extension(p.cert, NID_subject_alt_name, alt);
	assert_true(
	    X509_sign(p.cert, by != NULL ? by->key : p.key, EVP_sha256()) > 0);
	return p;
}

static void
party_free(struct party *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->cert);
}

/* PEM text of a certificate, a key, or both; the caller's. */
static char *
pem(X509 *cert, EVP_PKEY *key, size_t *len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *copy;

	if (key != NULL)
		PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	if (cert != NULL)
		PEM_write_bio_X509(bio, cert);
	*len = (size_t)BIO_get_mem_data(bio, &data);
	copy = xstrndup(data, *len);
	BIO_free(bio);
	return copy;
}

/* ---- The server, in a child of its own ---- */

enum manner { GREETS, VANISHES, WANTS_CERTIFICATE, OLD_TLS, NO_TLS };

static int
accept_any(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

static SSL_CTX *
server_context(const struct party *p, enum manner manner)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_use_certificate(ctx, p->cert);
	SSL_CTX_use_PrivateKey(ctx, p->key);
	if (manner == WANTS_CERTIFICATE)
		SSL_CTX_set_verify(ctx,
		    SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
		    accept_any);
	if (manner == OLD_TLS) {
		SSL_CTX_set_security_level(ctx, 0);
		SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
		SSL_CTX_set_max_proto_version(ctx, TLS1_1_VERSION);
	}
	return ctx;
}

static void
serve(int fd, SSL_CTX *ctx, enum manner manner)
{
	char byte;

	if (manner == NO_TLS) {
		(void)!write(fd, "220 mx.example ESMTP\r\n", 22);
		(void)!read(fd, &byte, 1);
		return;
	}
	SSL *ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1) {
		(void)SSL_write(ssl, "hello", 5);
		if (manner != VANISHES) {
			while (SSL_read(ssl, &byte, 1) > 0)
				continue;
			(void)SSL_shutdown(ssl);
		}
	}
	SSL_free(ssl);
}

struct server {
	SSL_CTX *ctx;
	enum manner manner;
	pid_t pid;
	int fd; /* our end */
};

static void
server_connect(struct server *s)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		close(pair[0]);
		serve(pair[1], s->ctx, s->manner);
		_exit(0);
	}
	close(pair[1]);
	assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
	s->fd = pair[0];
}

static void
server_disconnect(struct server *s)
{
	close(s->fd);
	assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

/* ---- The client ---- */

static ssize_t
wait_step(int fd, ssize_t result)
{
	struct pollfd p = {
	    .fd = fd, .events = result == CRYPTO_WANT_READ ? POLLIN : POLLOUT};

	if (result != CRYPTO_WANT_READ && result != CRYPTO_WANT_WRITE)
		return 1;
	assert_int_equal(poll(&p, 1, 10000), 1);
	return 0;
}

static ssize_t
handshake(int fd, struct crypto *t, char *error)
{
	ssize_t result;

	do
		result = crypto_handshake(t, error);
	while (wait_step(fd, result) == 0);
	return result;
}

static ssize_t
read_step(int fd, struct crypto *t, void *p, size_t len, char *error)
{
	ssize_t result;

	do
		result = crypto_read(t, p, len, error);
	while (wait_step(fd, result) == 0);
	return result;
}

/* ---- Memory: OpenSSL's comes from here, until it is refused ---- */

static long allocations, refused_from; /* 0: none is refused */

static bool
refused(void)
{
	return refused_from != 0 && ++allocations >= refused_from;
}

static void *
counted_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return refused() ? NULL : malloc(size);
}

static void *
counted_realloc(void *p, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return refused() ? NULL : realloc(p, size);
}

static void
counted_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	free(p);
}

/* What a connection came to. */
struct outcome {
	bool accepted, verified;
	char error[CRYPTO_ERROR_MAX], description[128];
};

static struct outcome
converse(struct server *s, const struct crypto_policy *policy)
{
	struct outcome o = {.accepted = false};
	char text[16];

	server_connect(s);
	struct crypto *t = crypto_start(s->fd, policy, o.error);
	if (t != NULL && handshake(s->fd, t, o.error) == 1) {
		o.accepted = true;
		assert_int_equal(
		    read_step(s->fd, t, text, sizeof(text), o.error), 5);
		assert_memory_equal(text, "hello", 5);
		compat_strlcpy(
		    o.description, crypto_describe(t), sizeof(o.description));
		o.verified = strstr(o.description, ", verified") != NULL;
	}
	crypto_free(t);
	server_disconnect(s);
	return o;
}

static struct outcome
converse_once(const struct party *p, enum manner manner,
    const struct crypto_policy *policy)
{
	struct server s = {.ctx = server_context(p, manner), .manner = manner};
	struct outcome o = converse(&s, policy);

	SSL_CTX_free(s.ctx);
	return o;
}

static char *authority_pem;
static size_t authority_pem_len;

static int
setup(void **state)
{
	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	authority = issue(NULL, "Test Authority", NULL, -DAY, DAY);
	stranger = issue(NULL, "Strange Authority", NULL, -DAY, DAY);
	authority_pem = pem(authority.cert, NULL, &authority_pem_len);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	party_free(&authority);
	party_free(&stranger);
	free(authority_pem);
	return 0;
}

static struct crypto_policy
verifying(const char *host)
{
	return (struct crypto_policy){.host = host,
	    .verify = true,
	    .ca = authority_pem,
	    .ca_len = authority_pem_len};
}

/* ---- Tests ---- */

static void
certificates(void **state)
{
	static const struct {
		const char *host, *alt;
		const char *error; /* NULL: good; else begins with this */
		long from, to;
		char by; /* 'a'uthority, 's'tranger, or 0: self */
	} cases[] = {
	    {"mx.example", "DNS:mx.example", NULL, -DAY, DAY, 'a'},
	    {"MX.example.", "DNS:mx.example", NULL, -DAY, DAY, 'a'},
	    {"a.mx.example", "DNS:*.mx.example", NULL, -DAY, DAY, 'a'},
	    {"192.0.2.1", "IP:192.0.2.1", NULL, -DAY, DAY, 'a'},
	    {"[IPv6:2001:db8::1]", "IP:2001:db8::1", NULL, -DAY, DAY, 'a'},
	    {"mx.example", "DNS:mail.other.example",
		"certificate of mx.example is for another name "
		"(mail.other.example)",
		-DAY, DAY, 'a'},
	    {"mx.example", "DNS:a.a,DNS:b.b,DNS:c.c,DNS:d.d",
		"certificate of mx.example is for another name "
		"(a.a, b.b, c.c, ...)",
		-DAY, DAY, 'a'},
	    {"mx.example", "",
		"certificate of mx.example is for another name "
		"(only a common name, mx.example)",
		-DAY, DAY, 'a'},
	    {"mx.example", "NUL",
		"certificate of mx.example is for another name "
		"(mx.example?.evil.example)",
		-DAY, DAY, 'a'},
	    {"mail.mx.example", "DNS:m*.mx.example",
		"certificate of mail.mx.example is for another name", -DAY, DAY,
		'a'},
	    {"a.b.mx.example", "DNS:*.mx.example",
		"certificate of a.b.mx.example is for another name", -DAY, DAY,
		'a'},
	    {"192.0.2.1", "IP:192.0.2.2,DNS:192.0.2.1",
		"certificate of 192.0.2.1 is for another name", -DAY, DAY, 'a'},
	    {"mx.example", "DNS:mx.example",
		"certificate of mx.example expired on 20", -2 * DAY, -DAY, 'a'},
	    {"mx.example", "DNS:mx.example",
		"certificate of mx.example is not valid before 20", DAY,
		2 * DAY, 'a'},
	    {"mx.example", "DNS:mx.example",
		"self-signed certificate of mx.example", -DAY, DAY, 0},
	    {"mx.example", "DNS:mx.example",
		"certificate of mx.example is from an authority not trusted "
		"here (Strange Authority)",
		-DAY, DAY, 's'},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct party *by = cases[i].by == 'a'   ? &authority
					 : cases[i].by == 's' ? &stranger
							      : NULL;
		struct party p = issue(
		    by, "mx.example", cases[i].alt, cases[i].from, cases[i].to);
		struct crypto_policy policy = verifying(cases[i].host);
		struct outcome o = converse_once(&p, GREETS, &policy);
		party_free(&p);
		assert_true(o.accepted == o.verified);
		if (cases[i].error == NULL && !o.accepted)
			fail_msg("case %zu: %s", i, o.error);
		if (cases[i].error != NULL &&
		    (o.accepted || strncmp(o.error, cases[i].error,
				       strlen(cases[i].error)) != 0))
			fail_msg("case %zu: \"%s\"", i, o.error);
	}
}

static void
unverified_is_said(void **state)
{
	struct party p =
	    issue(NULL, "whatever", "DNS:whatever", -2 * DAY, -DAY);
	struct crypto_policy policy = {.host = "mx.example"};
	struct outcome o = converse_once(&p, GREETS, &policy);

	(void)state;
	assert_true(o.accepted);
	assert_false(o.verified);
	assert_memory_equal(o.description, "TLSv1.3, TLS_", 13);
	party_free(&p);
}

/* Our CA in the environment must not become the system's. */
static void
deaf_to_the_environment(void **state)
{
	char path[] = "/tmp/dma-test-XXXXXX";
	int fd = mkstemp(path);
	struct party p =
	    issue(&authority, "mx.example", "DNS:mx.example", -DAY, DAY);
	struct crypto_policy policy = {.host = "mx.example", .verify = true};

	(void)state;
	assert_int_equal(write(fd, authority_pem, authority_pem_len),
	    (ssize_t)authority_pem_len);
	close(fd);
	setenv("SSL_CERT_FILE", path, 1);
	struct outcome o = converse_once(&p, GREETS, &policy);
	unsetenv("SSL_CERT_FILE");
	unlink(path);
	party_free(&p);
	assert_false(o.accepted);
	assert_true(o.error[0] != '\0');
}

static void
fingerprint(void **state)
{
	struct party p = issue(NULL, "x", "DNS:x", -2 * DAY, -DAY);
	struct crypto_policy policy = {
	    .host = "mx.example", .has_fingerprint = true};
	unsigned len;
	char is[65];

	(void)state;
	assert_int_equal(
	    X509_digest(p.cert, EVP_sha256(), policy.fingerprint, &len), 1);
	for (size_t i = 0; i < 32; i++)
		(void)snprintf(is + 2 * i, 3, "%02X", policy.fingerprint[i]);
	struct outcome o = converse_once(&p, GREETS, &policy);
	assert_true(o.accepted && o.verified);
	policy.fingerprint[31] ^= 1;
	o = converse_once(&p, GREETS, &policy);
	assert_false(o.accepted);
	assert_memory_equal(o.error, "certificate fingerprint is ", 27);
	assert_memory_equal(o.error + 27, is, 64);
	assert_memory_equal(o.error + 91, ", configured ", 13);
	assert_memory_equal(o.error + 104, is, 62);
	/* The right fingerprint is no excuse where the chain is wanted too. */
	policy.fingerprint[31] ^= 1;
	policy.verify = true;
	policy.ca = authority_pem;
	policy.ca_len = authority_pem_len;
	o = converse_once(&p, GREETS, &policy);
	assert_false(o.accepted);
	party_free(&p);
}

static void
client_certificate(void **state)
{
	struct party p = issue(NULL, "x", "DNS:x", -DAY, DAY);
	struct crypto_policy policy = {.host = "mx.example"};
	size_t len;
	char *both = pem(p.cert, p.key, &len);

	(void)state;
	/* A client without: it is refused, at the latest with the first read. */
	struct server s = {.ctx = server_context(&p, WANTS_CERTIFICATE),
	    .manner = WANTS_CERTIFICATE};
	char error[CRYPTO_ERROR_MAX] = "", text[8];
	server_connect(&s);
	struct crypto *t = crypto_start(s.fd, &policy, error);
	assert_non_null(t);
	if (handshake(s.fd, t, error) == 1)
		assert_int_equal(read_step(s.fd, t, text, sizeof(text), error),
		    CRYPTO_FAILED);
	assert_non_null(strstr(error, "certificate required"));
	crypto_free(t);
	server_disconnect(&s);
	policy.cert = both;
	policy.cert_len = len;
	struct outcome o = converse(&s, &policy);
	if (!o.accepted)
		fail_msg("%s", o.error);
	SSL_CTX_free(s.ctx);
	free(both);
	party_free(&p);
}

static void
client_certificate_errors(void **state)
{
	struct party p = issue(NULL, "x", "DNS:x", -DAY, DAY);
	size_t len;
	char *const texts[] = {
	    pem(p.cert, stranger.key, &len),
	    pem(p.cert, NULL, &len),
	    pem(NULL, p.key, &len),
	    xstrdup("no PEM at all"),
	    xstrdup(""),
	};
	static const char *const words[] = {
	    "client certificate and private key: key values mismatch",
	    "private key of the client certificate: ",
	    "client certificate: no start line",
	    "client certificate: no start line",
	    "client certificate: no start line",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		char error[CRYPTO_ERROR_MAX] = "";
		struct crypto_policy policy = {.host = "mx.example",
		    .cert = texts[i],
		    .cert_len = strlen(texts[i])};
		assert_null(crypto_start(0, &policy, error));
		assert_memory_equal(error, words[i], strlen(words[i]));
		free(texts[i]);
	}
	party_free(&p);
}

static void
what_the_server_lacks(void **state)
{
	struct party p = issue(NULL, "x", "DNS:x", -DAY, DAY);
	struct crypto_policy policy = {.host = "mx.example"};

	(void)state;
	struct outcome o = converse_once(&p, NO_TLS, &policy);
	assert_false(o.accepted);
	assert_non_null(strstr(o.error, "the server speaks something else"));
	o = converse_once(&p, OLD_TLS, &policy);
	assert_false(o.accepted);
	assert_non_null(strstr(o.error, "no TLS 1.2 or newer"));
	party_free(&p);
}

/* Gone without close_notify: the end of the connection, not an error. */
static void
end_of_file(void **state)
{
	struct party p = issue(NULL, "x", "DNS:x", -DAY, DAY);
	struct crypto_policy policy = {.host = "mx.example"};
	struct server s = {
	    .ctx = server_context(&p, VANISHES), .manner = VANISHES};
	char error[CRYPTO_ERROR_MAX], text[8];

	(void)state;
	server_connect(&s);
	struct crypto *t = crypto_start(s.fd, &policy, error);
	assert_int_equal(handshake(s.fd, t, error), 1);
	assert_int_equal(read_step(s.fd, t, text, sizeof(text), error), 5);
	assert_int_equal(read_step(s.fd, t, text, sizeof(text), error), 0);
	assert_int_equal(read_step(s.fd, t, text, sizeof(text), error), 0);
	assert_int_equal(crypto_write(t, "x", 1, error), 0);
	crypto_free(t);
	server_disconnect(&s);
	SSL_CTX_free(s.ctx);
	party_free(&p);
}

static void
hmac_md5(void **state)
{
	static const char challenge[] =
	    "<1896.697170952@postoffice.reston.mci.net>";
	char hex[CRYPTO_MD5_HEX];

	/* The example of RFC 2195, 2; and RFC 2104's key longer than a block. */
	(void)state;
	assert_int_equal(crypto_hmac_md5("tanstaaftanstaaf", 16, challenge,
			     strlen(challenge), hex),
	    0);
	assert_string_equal(hex, "b913a602c7eda7a495b4e6e7334d3890");
	assert_int_equal(crypto_hmac_md5(NULL, 0, "", 0, hex), 0);
	assert_string_equal(hex, "74e6f7298a9c2d168935f58c001bad88");
}

/* Sessions that get no memory from some point on; sanitizers see leaks. */
static void
no_memory(void **state)
{
	struct party p = issue(&authority, "x", "DNS:mx.example", -DAY, DAY);
	struct crypto_policy policy = verifying("mx.example");
	struct server s = {.ctx = server_context(&p, GREETS), .manner = GREETS};
	char *both = pem(p.cert, p.key, &policy.cert_len);
	char error[CRYPTO_ERROR_MAX] = "";
	long accepted = 0, failed = 0;

	(void)state;
	policy.cert = both;
	for (long n = 1; accepted == 0; n += 1 + n / 32) {
		server_connect(&s);
		allocations = 0;
		refused_from = n;
		struct crypto *t = crypto_start(s.fd, &policy, error);
		accepted += t != NULL && handshake(s.fd, t, error) == 1;
		refused_from = 0;
		crypto_free(t);
		server_disconnect(&s);
		failed += accepted == 0;
	}
	assert_true(failed > 60);
	SSL_CTX_free(s.ctx);
	free(both);
	party_free(&p);
}

int
main(void)
{
	/* Before its first allocation, or never. */
	if (CRYPTO_set_mem_functions(
		counted_malloc, counted_realloc, counted_free) != 1)
		return 1;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(certificates),
	    cmocka_unit_test(unverified_is_said),
	    cmocka_unit_test(deaf_to_the_environment),
	    cmocka_unit_test(fingerprint),
	    cmocka_unit_test(client_certificate),
	    cmocka_unit_test(client_certificate_errors),
	    cmocka_unit_test(what_the_server_lacks),
	    cmocka_unit_test(end_of_file),
	    cmocka_unit_test(hmac_md5),
	    cmocka_unit_test(no_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
