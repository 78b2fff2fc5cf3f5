/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime_header.c - Content-Type and Content-Transfer-Encoding (RFC 2045, 5, 6).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    nothing. Distrusts: the user's header.
 * Promises:  a boundary that is told is one that a line can be.
 */
#include "mime_parts.h"

#include <string.h>

#include "header.h"
#include "util.h"

#define TOKEN_MAX 80 /* bytes of a name that we know, and more */

/* What of a field's body is not read yet. */
struct rest {
	const char *p, *end;
};

static bool
is_blank(char c)
{
	return ascii_isblank((unsigned char)c) || c == '\n' || c == '\r';
}

/* Blanks, line ends and comments, which may be nested. */
static void
skip_blanks(struct rest *r)
{
	size_t depth = 0;

	for (; r->p < r->end; r->p++) {
		if (*r->p == '(')
			depth++;
		else if (*r->p == ')' && depth > 0)
			depth--;
		else if (*r->p == '\\' && depth > 0 && r->p + 1 < r->end)
			r->p++;
		else if (depth == 0 && !is_blank(*r->p))
			return;
	}
}

/* Take c if it comes next. */
static bool
take(struct rest *r, char c)
{
	skip_blanks(r);
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* The next token in lower case, cut to fit; "" if there is none. */
static const char *
token(struct rest *r, char dst[TOKEN_MAX + 1])
{
	size_t n = 0;

	skip_blanks(r);
	for (; r->p < r->end && (unsigned char)*r->p > ' ' &&
	       strchr("()<>@,;:\\\"/[]?=", *r->p) == NULL;
	     r->p++)
		if (n < TOKEN_MAX)
			dst[n++] = (char)ascii_lower((unsigned char)*r->p);
	dst[n] = '\0';
	return dst;
}

/*
 * A parameter's value, appended to dst, without which it is skipped.  One that
 * is not quoted ends with a blank: some programs leave the quotes out that '='
 * asks for.
 */
static void
take_value(struct rest *r, char dst[MIME_BOUNDARY_MAX + 1])
{
	bool quoted = take(r, '"');
	size_t n = dst != NULL ? strlen(dst) : 0;

	for (; r->p < r->end; r->p++) {
		if (quoted ? *r->p == '"' : *r->p == ';' || is_blank(*r->p))
			break;
		if (quoted && *r->p == '\\' && r->p + 1 < r->end)
			r->p++;
		if (dst != NULL && n < MIME_BOUNDARY_MAX &&
		    !ascii_iscntrl((unsigned char)*r->p))
			dst[n++] = *r->p;
	}
	if (quoted && r->p < r->end)
		r->p++;
	/* RFC 2046, 5.1.1: a boundary does not end with a blank. */
	while (dst != NULL && n > 0 && is_blank(dst[n - 1]))
		n--;
	if (dst != NULL)
		dst[n] = '\0';
}

static bool
starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static enum mime_kind
message_kind(const char *subtype)
{
	if (strcmp(subtype, "rfc822") == 0 || strcmp(subtype, "global") == 0 ||
	    strcmp(subtype, "news") == 0)
		return KIND_MESSAGE;
	/* Made for 8-bit text, and may be encoded (RFC 6533, 4 and 6). */
	if (starts_with(subtype, "global-"))
		return KIND_OTHER;
	return KIND_REPORT;
}

static void
parse_type(struct mime_head *h, struct rest r)
{
	char type[TOKEN_MAX + 1], subtype[TOKEN_MAX + 1] = "";
	char name[TOKEN_MAX + 1];

	h->type = true;
	(void)token(&r, type);
	if (take(&r, '/'))
		(void)token(&r, subtype);
	while (r.p < r.end) {
		while (!take(&r, ';') && r.p < r.end)
			r.p++;
		/* RFC 2231, 3: it may come in pieces. */
		bool wanted = strcmp(token(&r, name), "boundary") == 0 ||
			      starts_with(name, "boundary*");
		if (take(&r, '='))
			take_value(&r, wanted ? h->boundary : NULL);
	}
	if (strcmp(type, "text") == 0 || subtype[0] == '\0')
		h->kind = KIND_TEXT; /* RFC 2045, 5.2: that is the default */
	else if (strcmp(type, "message") == 0)
		h->kind = message_kind(subtype);
	else if (strcmp(type, "multipart") != 0)
		h->kind = KIND_OTHER;
	else
		h->kind = strcmp(subtype, "signed") == 0 ? KIND_SIGNED
							 : KIND_MULTIPART;
	h->digest = strcmp(subtype, "digest") == 0;
}

static void
parse_encoding(struct mime_head *h, struct rest r)
{
	static const char *const names[] = {[ENCODING_NONE] = "",
	    [ENCODING_7BIT] = "7bit",
	    [ENCODING_8BIT] = "8bit",
	    [ENCODING_BINARY] = "binary",
	    [ENCODING_QP] = "quoted-printable",
	    [ENCODING_BASE64] = "base64"};
	char text[TOKEN_MAX + 1];
	size_t i;

	(void)token(&r, text);
	for (i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(text, names[i]) == 0)
			break;
	h->encoding = (enum mime_encoding)i; /* behind the last: OTHER */
}

static bool
is_named(const char *field, size_t name_len, const char *name)
{
	return name_len == strlen(name) &&
	       ascii_strncasecmp(field, name, name_len) == 0;
}

static const char encoding_field[] = "Content-Transfer-Encoding";

/* The field's length and that of its name, 0 where it is no field. */
static size_t
measure_field(const char *text, size_t len, size_t *name_len)
{
	const char *lf, *p = text, *end = text + len;

	do {
		lf = memchr(p, '\n', (size_t)(end - p));
		p = lf != NULL ? lf + 1 : end;
	} while (p < end && ascii_isblank((unsigned char)*p));
	if (header_line(text, (size_t)(p - text), name_len) !=
	    HEADER_LINE_FIELD)
		*name_len = 0;
	return (size_t)(p - text);
}

size_t
mime_field(const char *text, size_t len, bool *encoding)
{
	size_t name_len, field_len = measure_field(text, len, &name_len);

	*encoding = is_named(text, name_len, encoding_field);
	return field_len;
}

void
mime_parse_head(struct mime_head *h, const char *text, size_t len)
{
	size_t n, name_len;

	memset(h, 0, sizeof(*h));
	for (; len > 0; text += n, len -= n) {
		n = measure_field(text, len, &name_len);
		struct rest body = {text + name_len, text + n};
		if (name_len == 0 || !take(&body, ':'))
			continue;
		/* Of several the first counts, as most readers have it. */
		if (is_named(text, name_len, "MIME-Version"))
			h->version = true;
		else if (!h->type && is_named(text, name_len, "Content-Type"))
			parse_type(h, body);
		else if (h->encoding == ENCODING_NONE &&
			 is_named(text, name_len, encoding_field))
			parse_encoding(h, body);
	}
}
