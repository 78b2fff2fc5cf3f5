/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * auth.c - any challenges, and base64: each is answered once and in order, or
 * refused; base64 has one text for one value.
 *
 * The first byte chooses the mechanism; challenges are lines.
 */
#include "fuzz.h"

#include <errno.h>

#include "auth.h"
#include "base64.h"
#include "limits.h"

static void
check_base64(const uint8_t *data, size_t size)
{
	size_t cap = BASE64_LEN(size) + 1;
	char *text = xmalloc(cap);
	uint8_t *back = xmalloc(cap);
	ssize_t n = base64_encode(data, size, text, cap);

	need(n == (ssize_t)BASE64_LEN(size) && text[n] == '\0', "encode");
	need(base64_decode(text, (size_t)n, back, cap) == (ssize_t)size &&
		 (size == 0 || memcmp(back, data, size) == 0),
	    "decode(encode(x))");
	need(size == 0 || base64_decode(text, (size_t)n, back, size - 1) == -1,
	    "room");
	n = base64_decode((const char *)data, size, back, cap);
	if (n >= 0)
		need(base64_encode(back, (size_t)n, text, cap) ==
			     (ssize_t)size &&
			 (size == 0 || memcmp(text, data, size) == 0),
		    "encode(decode(x))");
	free(text);
	free(back);
}

/* What may leave as a line. */
static void
check_line(const struct buf *out)
{
	need(out->len <= SASL_LINE_MAX, "length");
	need_printable(buf_str(out), "a byte of an answer");
}

static void
check_challenges(unsigned mechanism, char *challenges)
{
	struct auth a = {
	    .mechanism = mechanism, .user = "joe", .password = "secret"};
	struct buf out = {.max = SASL_LINE_MAX};
	unsigned words = 0;
	char *line;

	need(auth_start(&a, &out) == 0, "start");
	check_line(&out);
	words += a.done;
	while ((line = strsep(&challenges, "\n")) != NULL) {
		bool done = a.done;

		if (auth_answer(&a, line, &out) == -1) {
			need(errno == EBADMSG || errno == ENOTSUP, "errno");
			break;
		}
		need(!done, "a word after all was said");
		words++;
		check_line(&out);
		need(strstr(buf_str(&out), "secret") == NULL, "plain text");
	}
	need(words <= (mechanism == AUTH_LOGIN ? 2 : 1), "each word once");
	buf_wipe(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned mechanisms[] = {
	    AUTH_CRAM_MD5, AUTH_PLAIN, AUTH_LOGIN};

	if (size == 0)
		return 0;
	check_base64(data + 1, size - 1);
	char *text = text_of(data + 1, size - 1);
	unsigned offered = auth_parse_mechanisms(text);
	need(offered <= 7 && (auth_choose(offered) != 0) == (offered != 0),
	    "mechanisms");
	check_challenges(mechanisms[data[0] % 3], text);
	free(text);
	return 0;
}
