/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_reply.c - any lines as a reply and as what EHLO offers: a reply has one
 * code, of a class that RFC 5321 knows, and printable text; what is none
 * changes nothing.
 */
#include "fuzz.h"

#include <errno.h>

#include "auth.h"
#include "smtp.h"

static void
check_reply(const struct smtp_reply *r)
{
	need(r->code >= 200 && r->code <= 599, "code");
	need(r->code < 400 || r->code / 10 % 10 <= 5, "a refusal's code");
	need(strlen(r->text) <= OUTCOME_TEXT_MAX, "length");
	need_printable(r->text, "text");
	need(r->dsn[0] == '\0' ||
		 (r->dsn[0] - '0' == r->code / 100 && r->dsn[1] == '.' &&
		     strspn(r->dsn, "0123456789.") == strlen(r->dsn)),
	    "enhanced code");
}

static void
take_line(struct smtp_reply *r, const char *line, size_t len, bool *more)
{
	const struct smtp_reply before = *r;

	errno = 0;
	if (smtp_parse_reply_line(r, line, len, more) == 0) {
		need(before.code == 0 || before.code == r->code, "one code");
		check_reply(r);
	} else {
		need(errno == EPROTO || errno == EMSGSIZE, "errno");
		need(memcmp(&before, r, sizeof(before)) == 0, "untouched");
		*more = false;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data, *end = p + size, *lf;
	struct smtp_reply r = {0};
	struct smtp_features f = {0};

	for (bool more; p < end; p = lf + 1) {
		if ((lf = memchr(p, '\n', (size_t)(end - p))) == NULL)
			lf = end;
		take_line(&r, p, (size_t)(lf - p), &more);
		if (!more)
			memset(&r, 0, sizeof(r));
		char *text = text_of((const uint8_t *)p, (size_t)(lf - p));
		smtp_parse_feature(&f, text);
		free(text);
		if (lf == end)
			break;
	}
	need(f.size || f.size_limit == 0, "SIZE");
	need(f.size_limit <= INT64_MAX, "a limit");
	need(
	    (f.auth & ~(AUTH_CRAM_MD5 | AUTH_PLAIN | AUTH_LOGIN)) == 0, "AUTH");
	return 0;
}
