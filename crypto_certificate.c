/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * crypto_certificate.c - what is wrong with a certificate, for a person.
 *
 * Runs in:   dma-smtp.
 * Trusts:    OpenSSL. Distrusts: every name and date in a certificate.
 * Promises:  its texts are printable, whatever the certificate holds.
 */
#include "crypto_certificate.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>

#include "util.h"

#define NAMES_SHOWN_MAX 3  /* of a certificate for another name */
#define NAME_TEXT_MAX   64 /* bytes shown of one name */

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

void
crypto_describe_refusal(
    char *error, const char *host, int code, int depth, X509 *cert)
{
	char whose[128], names[NAMES_SHOWN_MAX * NAME_TEXT_MAX], date[32];

	(void)snprintf(whose, sizeof(whose), "%s %.100s",
	    depth == 0 ? "certificate of" : "the certificate chain of", host);
	switch (code) {
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		certificate_names(cert, names, sizeof(names));
		(void)snprintf(error, CRYPTO_ERROR_MAX,
		    "%s is for another name (%.100s)", whose, names);
		break;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		(void)snprintf(error, CRYPTO_ERROR_MAX, "%s expired on %s",
		    whose,
		    date_text(X509_get0_notAfter(cert), date, sizeof(date)));
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		(void)snprintf(error, CRYPTO_ERROR_MAX,
		    "%s is not valid before %s", whose,
		    date_text(X509_get0_notBefore(cert), date, sizeof(date)));
		break;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		(void)snprintf(error, CRYPTO_ERROR_MAX,
		    "self-signed certificate of %.100s", host);
		break;
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		describe_issuer(error, CRYPTO_ERROR_MAX, whose, cert);
		break;
	default:
		(void)snprintf(error, CRYPTO_ERROR_MAX, "%s: %s", whose,
		    X509_verify_cert_error_string(code));
	}
}

int
crypto_check_fingerprint(
    X509 *cert, const unsigned char wanted[CRYPTO_HASH_LEN], char *error)
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	char is[2 * CRYPTO_HASH_LEN + 1], want[2 * CRYPTO_HASH_LEN + 1];

	if (X509_digest(cert, EVP_sha256(), md, &len) != 1 ||
	    len != CRYPTO_HASH_LEN) {
		crypto_describe_error(error, "SHA-256");
		return -1;
	}
	if (CRYPTO_memcmp(md, wanted, CRYPTO_HASH_LEN) == 0)
		return 0;
	for (size_t i = 0; i < CRYPTO_HASH_LEN; i++) {
		(void)snprintf(is + 2 * i, 3, "%02X", md[i]);
		(void)snprintf(want + 2 * i, 3, "%02X", wanted[i]);
	}
	(void)snprintf(error, CRYPTO_ERROR_MAX,
	    "certificate fingerprint is %s, configured %s", is, want);
	return -1;
}
