/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_reply.c - reply lines and EHLO keywords into types (RFC 5321, 4.2).
 *
 * Runs in:   dma-smtp. Pure functions: no files, no globals, no memory.
 * Trusts:    nothing. Distrusts: every byte, the server wrote them.
 * Promises:  text is printable; a code is one that RFC 5321 knows the class
 *            of; what is no reply is never taken for one.
 */
#include "smtp.h"

#include <errno.h>
#include <string.h>

#include "auth.h"
#include "util.h"

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/*
 * The grammar allows 0 to 5 as second digit.  Of a positive reply only the
 * first digit matters; a refusal has to be well-formed to be believed.
 */
static int
parse_code(const char *line, size_t len)
{
	if (len < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) ||
	    !is_digit(line[2]))
		return 0;
	if (line[0] >= '4' && line[1] > '5')
		return 0;
	return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

/* Length of "5.1.1" at the start of the text, or 0 (RFC 3463, 2). */
static size_t
dsn_length(const char *p, size_t len)
{
	size_t n = 1;

	if (len < 5 || (*p != '2' && *p != '4' && *p != '5'))
		return 0;
	for (int part = 0; part < 2; part++) {
		if (n >= len || p[n] != '.')
			return 0;
		size_t start = ++n;
		while (n < len && is_digit(p[n]))
			n++;
		if (n == start || n - start > 3)
			return 0;
	}
	return n == len || p[n] == ' ' ? n : 0;
}

/* Append printable text, with one blank before it if there is text already. */
static void
append_text(struct smtp_reply *r, const char *p, size_t len)
{
	size_t used = strlen(r->text);

	for (; len > 0 && *p == ' '; len--)
		p++;
	if (len == 0)
		return;
	if (used > 0 && used < sizeof(r->text) - 1)
		r->text[used++] = ' ';
	printable(r->text + used, sizeof(r->text) - used, p, len);
}

/*
 * The enhanced code counts only if it is of the reply's class; on later
 * lines it repeats what the first line said and is left out.
 */
static void
append_line(struct smtp_reply *r, const char *p, size_t len)
{
	size_t n = dsn_length(p, len);

	if (n > 0 && r->dsn[0] == '\0' && p[0] - '0' == r->code / 100) {
		memcpy(r->dsn, p, n);
		r->dsn[n] = '\0';
	} else if (n > 0 && strlen(r->dsn) == n && memcmp(r->dsn, p, n) == 0) {
		p += n;
		len -= n;
	}
	append_text(r, p, len);
}

int
smtp_parse_reply_line(
    struct smtp_reply *r, const char *line, size_t len, bool *more)
{
	bool first = r->code == 0;
	int code;

	if (len > SASL_LINE_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	code = parse_code(line, len);
	if (code == 0 || (len > 3 && line[3] != ' ' && line[3] != '-') ||
	    (!first && code != r->code)) {
		errno = EPROTO;
		return -1;
	}
	if (first) {
		r->code = code;
		append_text(r, line, 3);
	}
	*more = len > 3 && line[3] == '-';
	if (len > 4)
		append_line(r, line + 4, len - 4);
	return 0;
}

/* RFC 1870, 4: what does not parse is as if it were not there. */
static void
parse_size(struct smtp_features *f, const char *value)
{
	char digits[24];
	size_t n = strcspn(value, " \t");
	long long limit;

	f->size = true;
	if (n == 0 || n >= sizeof(digits) || !is_digit(value[0]))
		return;
	memcpy(digits, value, n);
	digits[n] = '\0';
	if (parse_number(digits, 0, INT64_MAX, &limit) == 0)
		f->size_limit = (uint64_t)limit;
}

static void
parse_flag(struct smtp_features *f, const char *word, size_t len)
{
	const struct {
		const char *name;
		bool *flag;
	} flags[] = {
	    {"PIPELINING", &f->pipelining},
	    {"8BITMIME", &f->eightbit},
	    {"STARTTLS", &f->starttls},
	    {"DSN", &f->dsn},
	    {"SMTPUTF8", &f->smtputf8},
	};

	for (size_t i = 0; i < ARRAY_LEN(flags); i++)
		if (strlen(flags[i].name) == len &&
		    ascii_strncasecmp(flags[i].name, word, len) == 0)
			*flags[i].flag = true;
}

void
smtp_parse_feature(struct smtp_features *f, const char *line)
{
	const char *word, *value;
	size_t len;

	word = line + strspn(line, " \t");
	len = strcspn(word, " \t=");
	value = word + len + strspn(word + len, " \t=");
	/* "AUTH=LOGIN" is what servers said before RFC 2554. */
	if (len == 4 && ascii_strncasecmp(word, "AUTH", 4) == 0)
		f->auth |= auth_parse_mechanisms(value);
	else if (len == 4 && ascii_strncasecmp(word, "SIZE", 4) == 0)
		parse_size(f, value);
	else
		parse_flag(f, word, len);
}
