/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * auth.c - the words of AUTH PLAIN, LOGIN and CRAM-MD5 (RFC 4954, 4616, 2195).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    the credential in its job. Distrusts: every challenge.
 * Promises:  says each word once and in order, and no plaintext word but in
 *            PLAIN and LOGIN; what it allocates for a secret is overwritten.
 */
#include "auth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "crypto.h"
#include "limits.h"
#include "util.h"

/* RFC 5321, 4.5.3.1.4: a command line, its CRLF included. */
#define AUTH_COMMAND_MAX 512

#define BASE64_SHOWN_MAX 8 /* six bytes: no other text begins so by chance */

static const struct {
	unsigned mechanism;
	const char *name;
} mechanisms[] = {
    /* strongest first */
    {AUTH_CRAM_MD5, "CRAM-MD5"},
    {AUTH_PLAIN, "PLAIN"},
    {AUTH_LOGIN, "LOGIN"},
};

unsigned
auth_parse_mechanisms(const char *names)
{
	unsigned bits = 0;

	for (;;) {
		names += strspn(names, " \t=");
		size_t len = strcspn(names, " \t=");
		if (len == 0)
			return bits;
		for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
			if (strlen(mechanisms[i].name) == len &&
			    ascii_strncasecmp(mechanisms[i].name, names, len) ==
				0)
				bits |= mechanisms[i].mechanism;
		names += len;
	}
}

unsigned
auth_choose(unsigned offered)
{
	for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
		if ((offered & mechanisms[i].mechanism) != 0)
			return mechanisms[i].mechanism;
	return 0;
}

const char *
auth_name(unsigned mechanism)
{
	for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
		if (mechanisms[i].mechanism == mechanism)
			return mechanisms[i].name;
	return "none";
}

/* Append base64 of len bytes. */
static int
put_base64(struct buf *out, const void *p, size_t len)
{
	size_t cap = BASE64_LEN(len) + 1;
	char *text = xmalloc(cap);
	int rc = -1;

	if (base64_encode(p, len, text, cap) >= 0)
		rc = buf_puts(out, text);
	compat_explicit_bzero(text, cap);
	free(text);
	return rc;
}

/* "\0user\0password" (RFC 4616, 2). */
static int
put_plain(const struct auth *a, struct buf *out)
{
	struct buf words = {.max = 2 * CREDENTIAL_MAX + 2};
	int rc = -1;

	if (buf_putc(&words, '\0') == 0 && buf_puts(&words, a->user) == 0 &&
	    buf_putc(&words, '\0') == 0 && buf_puts(&words, a->password) == 0)
		rc = put_base64(out, words.data, words.len);
	buf_wipe(&words);
	return rc;
}

/* "user digest" (RFC 2195, 2). */
static int
put_cram_md5(
    const struct auth *a, const void *text, size_t len, struct buf *out)
{
	char hex[CRYPTO_MD5_HEX];
	struct buf words = {.max = CREDENTIAL_MAX + CRYPTO_MD5_HEX + 1};
	int rc = -1;

	if (crypto_hmac_md5(a->password, strlen(a->password), text, len, hex) ==
	    -1) {
		errno = ENOTSUP;
		return -1;
	}
	if (buf_printf(&words, "%s %s", a->user, hex) == 0)
		rc = put_base64(out, words.data, words.len);
	buf_wipe(&words);
	compat_explicit_bzero(hex, sizeof(hex));
	return rc;
}

int
auth_start(struct auth *a, struct buf *out)
{
	size_t len = strlen(a->user) + strlen(a->password) + 2;

	a->user_said = a->done = false;
	buf_reset(out);
	if (buf_printf(out, "AUTH %s", auth_name(a->mechanism)) == -1)
		return -1;
	if (a->mechanism != AUTH_PLAIN ||
	    strlen("AUTH PLAIN \r\n") + BASE64_LEN(len) > AUTH_COMMAND_MAX)
		return 0;
	a->done = true;
	return buf_putc(out, ' ') == -1 ? -1 : put_plain(a, out);
}

/* Prompts are of any wording: the order is what counts (H-79a). */
static int
put_login(struct auth *a, struct buf *out)
{
	const char *word = a->user_said ? a->password : a->user;

	a->done = a->user_said;
	a->user_said = true;
	return put_base64(out, word, strlen(word));
}

int
auth_answer(struct auth *a, const char *challenge, struct buf *out)
{
	size_t len = strlen(challenge);
	char *text = xmalloc(len + 1);
	ssize_t n = base64_decode(challenge, len, text, len + 1);
	int rc = -1;

	buf_reset(out);
	if (len > SASL_LINE_MAX || n == -1 || a->done) {
		errno = EBADMSG;
	} else if (a->mechanism == AUTH_LOGIN) {
		rc = put_login(a, out);
	} else {
		a->done = true;
		rc = a->mechanism == AUTH_PLAIN
			 ? put_plain(a, out)
			 : put_cram_md5(a, text, (size_t)n, out);
	}
	free(text);
	return rc;
}

/* more: what may follow the secret and goes with it. */
static void
hide(const char *secret, size_t n, const char *more, char *text, size_t len)
{
	char *at, *end;

	while (n >= PASSWORD_HIDDEN_MIN &&
	       (at = memmem(text, len, secret, n)) != NULL) {
		end = at + n;
		len -= (size_t)(end - text);
		for (; len > 0 && *end != '\0' && strchr(more, *end) != NULL;
		     end++)
			len--;
		memset(at, '*', (size_t)(end - at));
		text = end;
	}
}

/*
 * A server may have left out what fills base64 up, or repeat the beginning of
 * our line only: what begins like the secret is it.
 */
static void
hide_base64(struct buf *words, char *text, size_t len)
{
	while (words->len > 0 && words->data[words->len - 1] == '=')
		words->len--;
	if (words->len > BASE64_SHOWN_MAX)
		words->len = BASE64_SHOWN_MAX;
	hide(words->data, words->len, BASE64_DIGITS, text, len);
	buf_wipe(words);
}

void
auth_hide(const struct auth *a, char *text, size_t len)
{
	size_t n = strlen(a->password);
	struct buf words = {0};

	if (n < PASSWORD_HIDDEN_MIN)
		return;
	hide(a->password, n, "", text, len);
	if (put_base64(&words, a->password, n) == 0)
		hide_base64(&words, text, len);
	if (put_plain(a, &words) == 0)
		hide_base64(&words, text, len);
	buf_wipe(&words);
}
