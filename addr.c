/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * addr.c - checked mail addresses: made, asked, compared (RFC 5321, 4.1.2).
 *
 * Runs in:   every program. No files, no globals.
 * Trusts:    nothing. Distrusts: every byte of every address.
 * Promises:  a struct addr that comes from here may be put between '<' and
 *            '>' on any wire and into any line of text as it is.
 */
#include "addr.h"

#include <sys/socket.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <string.h>

#include "util.h"

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

bool
addr_is_special(char c)
{
	static const char specials[] = "()<>[]:;@\\,.\"";

	return memchr(specials, c, sizeof(specials) - 1) != NULL;
}

static bool
is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/*
 * Second bytes are limited where the first byte alone would let through an
 * overlong form, a surrogate, or a value over U+10FFFF.
 */
static bool
utf8_second_valid(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0:
		return second >= 0xa0 && second <= 0xbf;
	case 0xed:
		return second >= 0x80 && second <= 0x9f;
	case 0xf0:
		return second >= 0x90 && second <= 0xbf;
	case 0xf4:
		return second >= 0x80 && second <= 0x8f;
	default:
		return is_continuation(second);
	}
}

size_t
addr_utf8_len(const char *s, size_t len)
{
	unsigned char first, c;
	size_t i, need;

	if (len == 0)
		return 0;
	first = (unsigned char)s[0];
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	if (len < need || !utf8_second_valid(first, (unsigned char)s[1]))
		return 0;
	for (i = 2; i < need; i++) {
		c = (unsigned char)s[i];
		if (!is_continuation(c))
			return 0;
	}
	return need;
}

static bool
utf8_valid(const char *s, size_t len)
{
	size_t n;

	for (; len > 0; s += n, len -= n)
		if ((n = addr_utf8_len(s, len)) == 0)
			return false;
	return true;
}

/* ---- The checked parts of an address ---- */

static bool
label_byte_valid(unsigned char c, bool international)
{
	/* '_' is no host name's, but such names are in use and resolve. */
	return (ascii_isalnum(c) || c == '-' || c == '_' ||
		(international && c >= 0x80));
}

static bool
labels_valid(const char *s, bool international)
{
	size_t i, start, len;

	len = strlen(s);
	if (len == 0 || len > ADDR_DOMAIN_MAX)
		return false;
	for (i = start = 0; i <= len; i++) {
		if (i < len && s[i] != '.') {
			if (!label_byte_valid(
				(unsigned char)s[i], international))
				return false;
			continue;
		}
		if (i == start || i - start > ADDR_LABEL_MAX ||
		    s[start] == '-' || s[i - 1] == '-')
			return false;
		start = i + 1;
	}
	return true;
}

bool
addr_domain_valid(const char *s)
{
	return labels_valid(s, false);
}

/* [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321, 4.1.3). */
static bool
literal_valid(const char *s)
{
	static const char tag[] = "IPv6:";
	unsigned char binary[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	size_t len;

	len = strlen(s);
	if (len < 2 || s[len - 1] != ']' || len - 2 >= sizeof(text))
		return false;
	memcpy(text, s + 1, len - 2);
	text[len - 2] = '\0';
	if (ascii_strncasecmp(text, tag, sizeof(tag) - 1) != 0)
		return inet_pton(AF_INET, text, binary) == 1;
	return inet_pton(AF_INET6, text + sizeof(tag) - 1, binary) == 1;
}

static const char *
domain_check(const char *domain)
{
	if (domain[0] == '\0')
		return "has an empty domain";
	if (strlen(domain) > ADDR_DOMAIN_MAX)
		return "has a domain that is too long";
	if (domain[0] == '[')
		return literal_valid(domain) ? NULL
					     : "has an invalid address literal";
	if (!labels_valid(domain, true))
		return "has an invalid domain";
	if (!utf8_valid(domain, strlen(domain)))
		return "is not valid UTF-8";
	return NULL;
}

static const char *
local_check(const char *local)
{
	const char *p;

	if (local[0] == '\0')
		return "has an empty local part";
	for (p = local; *p != '\0'; p++)
		if (is_control((unsigned char)*p))
			return "contains a control character";
	if (!utf8_valid(local, strlen(local)))
		return "is not valid UTF-8";
	return NULL;
}

/* True if the local part needs no quotes (RFC 5321, Dot-string). */
static bool
is_dot_string(const char *s, size_t len)
{
	bool dot;
	size_t i;

	dot = true;
	for (i = 0; i < len; i++) {
		if (s[i] == '.' ? dot : addr_is_special(s[i]) || s[i] == ' ')
			return false;
		dot = s[i] == '.';
	}
	return !dot;
}

/*
 * Write a raw local part with as few quotes as it can have, as RFC 5321,
 * 4.1.2 asks of senders: one mailbox then has one spelling.  dst takes
 * ADDR_LOCAL_MAX bytes.  Returns the length, or 0 if that is too little.
 */
static size_t
local_quote(char *dst, const char *local, size_t len)
{
	size_t i, n;

	if (len > ADDR_LOCAL_MAX)
		return 0;
	if (is_dot_string(local, len)) {
		memcpy(dst, local, len);
		return len;
	}
	n = 0;
	dst[n++] = '"';
	for (i = 0; i < len; i++) {
		if (n + 3 > ADDR_LOCAL_MAX)
			return 0;
		if (local[i] == '"' || local[i] == '\\')
			dst[n++] = '\\';
		dst[n++] = local[i];
	}
	if (n + 1 > ADDR_LOCAL_MAX)
		return 0;
	dst[n++] = '"';
	return n;
}

const char *
addr_domain(const struct addr *a)
{
	return a->text[a->at] == '@' ? a->text + a->at + 1 : NULL;
}

bool
addr_is_null(const struct addr *a)
{
	return a->text[0] == '\0';
}

bool
addr_is_bare(const struct addr *a)
{
	return !addr_is_null(a) && addr_domain(a) == NULL;
}

bool
addr_is_ascii(const struct addr *a)
{
	const char *p;

	for (p = a->text; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			return false;
	return true;
}

bool
addr_equal(const struct addr *a, const struct addr *b)
{
	return (a->at == b->at && memcmp(a->text, b->text, a->at) == 0 &&
		ascii_strcasecmp(a->text + a->at, b->text + b->at) == 0);
}

int
addr_make(
    struct addr *a, const char *local, const char *domain, const char **why)
{
	struct addr built = {.at = 0};
	size_t domain_len;

	*why = local_check(local);
	if (*why == NULL && domain != NULL)
		*why = domain_check(domain);
	if (*why != NULL)
		return -1;
	built.at = local_quote(built.text, local, strlen(local));
	if (built.at == 0) {
		*why = "has a local part that is too long";
		return -1;
	}
	if (domain != NULL) {
		domain_len = strlen(domain);
		if (built.at + 1 + domain_len > ADDR_MAX) {
			*why = "is too long";
			return -1;
		}
		built.text[built.at] = '@';
		memcpy(built.text + built.at + 1, domain, domain_len);
	}
	*a = built;
	return 0;
}

int
addr_qualify(struct addr *a, const char *domain, const char **why)
{
	char local[ADDR_LOCAL_MAX + 1];

	if (!addr_is_bare(a))
		return 0;
	if (addr_local(a, local, sizeof(local)) == -1) {
		*why = "has a local part that is too long";
		return -1;
	}
	return addr_make(a, local, domain, why);
}

int
addr_local(const struct addr *a, char *dst, size_t size)
{
	size_t end, i, n;
	bool quoted;

	quoted = a->text[0] == '"';
	end = quoted ? a->at - 1 : a->at;
	n = 0;
	for (i = quoted ? 1 : 0; i < end; i++) {
		if (quoted && a->text[i] == '\\')
			i++;
		if (n + 1 >= size)
			return -1;
		dst[n++] = a->text[i];
	}
	if (n >= size)
		return -1;
	dst[n] = '\0';
	return 0;
}

int
addr_xtext(const char *s, char *dst, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	unsigned char c;
	size_t n;

	for (n = 0; (c = (unsigned char)*s) != '\0'; s++) {
		if (n + 4 > size)
			return -1;
		if (c > ' ' && c < 0x7f && c != '+' && c != '=') {
			dst[n++] = (char)c;
			continue;
		}
		dst[n++] = '+';
		dst[n++] = hex[c >> 4];
		dst[n++] = hex[c & 15];
	}
	if (n >= size)
		return -1;
	dst[n] = '\0';
	return 0;
}
