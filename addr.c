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
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

bool
addr_is_special(char c)
{
	static const char specials[] = "()<>[]:;@\\,.\"";

	return memchr(specials, c, sizeof(specials) - 1) != NULL;
}

bool
addr_is_atoms(const char *s, size_t len, char separator)
{
	bool between = true; /* two atoms, or before the first */
	size_t i;

	for (i = 0; i < len; i++) {
		if (s[i] == separator ? between
				      : s[i] == ' ' || addr_is_special(s[i]))
			return false;
		between = s[i] == separator;
	}
	return !between;
}

size_t
addr_quote(char *dst, const char *s, size_t len)
{
	size_t i, n = 0;

	dst[n++] = '"';
	for (i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			dst[n++] = '\\';
		dst[n++] = s[i];
	}
	dst[n++] = '"';
	return n;
}

size_t
addr_utf8_len(const char *s, size_t len)
{
	/* Less in so many bytes is an overlong form. */
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char c;
	uint32_t point;
	size_t i, n;

	if (len == 0)
		return 0;
	c = (unsigned char)s[0];
	if (c < 0x80)
		return 1;
	n = c < 0xe0 ? 2 : 3;
	if (c >= 0xf0)
		n = 4;
	if (c < 0xc0 || c >= 0xf8 || len < n)
		return 0;
	point = c & (0x7fU >> n);
	for (i = 1; i < n; i++) {
		c = (unsigned char)s[i];
		if ((c & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (c & 0x3fU);
	}
	if (point < least[n] || point > 0x10ffff ||
	    (point >= 0xd800 && point <= 0xdfff)) /* a surrogate */
		return 0;
	return n;
}

static bool
utf8_valid(const char *s)
{
	size_t left, n;

	for (left = strlen(s); left > 0; s += n, left -= n)
		if ((n = addr_utf8_len(s, left)) == 0)
			return false;
	return true;
}

/* ---- The checked parts of an address ---- */

static bool
labels_valid(const char *s, bool international)
{
	unsigned char c;
	size_t i, start, len = strlen(s);

	if (len == 0 || len > ADDR_DOMAIN_MAX)
		return false;
	for (i = start = 0; i <= len; i++) {
		c = (unsigned char)s[i];
		/* '_' is no host name's, but such names are in use. */
		if (ascii_isalnum(c) || c == '-' || c == '_' ||
		    (international && c >= 0x80))
			continue;
		if ((i < len && c != '.') || i == start ||
		    i - start > ADDR_LABEL_MAX || s[start] == '-' ||
		    s[i - 1] == '-')
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

bool
addr_domain_valid_utf8(const char *s)
{
	return labels_valid(s, true) && utf8_valid(s);
}

/* [192.0.2.1] or [IPv6:2001:db8::1] (RFC 5321, 4.1.3). */
static bool
literal_valid(const char *s)
{
	static const char tag[] = "IPv6:";
	unsigned char binary[sizeof(struct in6_addr)];
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(s);

	if (s[len - 1] != ']' || len - 2 >= sizeof(text))
		return false;
	(void)compat_strlcpy(text, s + 1, len - 1);
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
	if (domain[0] == '[' && !literal_valid(domain))
		return "has an invalid address literal";
	if (domain[0] != '[' && !labels_valid(domain, true))
		return "has an invalid domain";
	return utf8_valid(domain) ? NULL : "is not valid UTF-8";
}

static const char *
local_check(const char *local)
{
	const char *p;

	if (local[0] == '\0')
		return "has an empty local part";
	for (p = local; *p != '\0'; p++)
		if (ascii_iscntrl((unsigned char)*p))
			return "contains a control character";
	return utf8_valid(local) ? NULL : "is not valid UTF-8";
}

/*
 * Write a raw local part with as few quotes as it can have, as RFC 5321,
 * 4.1.2 asks of senders: one mailbox then has one spelling.  Returns the
 * length, or 0 if that is too much.
 */
static size_t
local_quote(char dst[ADDR_MAX + 1], const char *local)
{
	size_t len = strlen(local);

	if (len > ADDR_LOCAL_MAX)
		return 0;
	if (addr_is_atoms(local, len, '.')) {
		memcpy(dst, local, len);
		return len;
	}
	len = addr_quote(dst, local, len);
	return len <= ADDR_LOCAL_MAX ? len : 0;
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
	return a->at == b->at && memcmp(a->text, b->text, a->at) == 0 &&
	       ascii_strcasecmp(a->text + a->at, b->text + b->at) == 0;
}

int
addr_make(
    struct addr *a, const char *local, const char *domain, const char **why)
{
	/* The domain may be a's own. */
	struct addr built = {.at = 0};

	*why = local_check(local);
	if (*why == NULL && domain != NULL)
		*why = domain_check(domain);
	if (*why != NULL)
		return -1;
	if ((built.at = local_quote(built.text, local)) == 0) {
		*why = "has a local part that is too long";
		return -1;
	}
	if (domain != NULL && built.at + 1 + strlen(domain) > ADDR_MAX) {
		*why = "is too long";
		return -1;
	}
	if (domain != NULL) {
		built.text[built.at] = '@';
		memcpy(built.text + built.at + 1, domain, strlen(domain));
	}
	*a = built;
	return 0;
}

int
addr_qualify(struct addr *a, const char *domain, const char **why)
{
	char local[ADDR_LOCAL_MAX + 1] = "";

	if (!addr_is_bare(a))
		return 0;
	(void)addr_local(a, local, sizeof(local));
	return addr_make(a, local, domain, why);
}

int
addr_local(const struct addr *a, char *dst, size_t size)
{
	bool quoted = a->text[0] == '"';
	size_t end, i, n = 0;

	end = quoted ? a->at - 1 : a->at;
	for (i = quoted ? 1 : 0; i < end && n < size; i++) {
		if (quoted && a->text[i] == '\\')
			i++;
		dst[n++] = a->text[i];
	}
	if (n == size)
		return -1;
	dst[n] = '\0';
	return 0;
}

int
addr_user(const struct addr *a, char *dst, size_t size, const char **extension)
{
	char *plus;

	if (addr_local(a, dst, size) == -1)
		return -1;
	plus = dst[0] != '\0' ? strchr(dst + 1, '+') : NULL;
	if (plus != NULL)
		*plus++ = '\0';
	if (extension != NULL)
		*extension = plus;
	return 0;
}

int
addr_xtext(const char *s, char *dst, size_t size)
{
	unsigned char c;
	size_t n = 0;

	for (; (c = (unsigned char)*s) != '\0'; s++) {
		if (n + 4 > size)
			return -1;
		if (c > ' ' && c < 0x7f && c != '+' && c != '=')
			dst[n++] = (char)c;
		else
			n += (size_t)snprintf(dst + n, 4, "+%02X", c);
	}
	if (n == size)
		return -1;
	dst[n] = '\0';
	return 0;
}
