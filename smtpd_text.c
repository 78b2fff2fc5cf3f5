/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd_text.c - what an SMTP client sends, into types (RFC 5321, 3461).
 *
 * Runs in:   dma, for SMTP on standard input. No files, no globals.
 * Distrusts: every byte.
 * Promises:  a value that it takes is one that the envelope may hold; data
 *            ends where CRLF.CRLF does, and nowhere else.
 */
#include "smtpd_text.h"

#include <string.h>

#include "util.h"

/* ---- Commands ---- */

static const struct {
	const char *word;
	enum smtpd_verb verb;
} verbs[] = {
    {"HELO", VERB_HELO},
    {"EHLO", VERB_EHLO},
    {"MAIL", VERB_MAIL},
    {"RCPT", VERB_RCPT},
    {"DATA", VERB_DATA},
    {"RSET", VERB_RSET},
    {"NOOP", VERB_NOOP},
    {"VRFY", VERB_VRFY},
    {"HELP", VERB_HELP},
    {"QUIT", VERB_QUIT},
    {"EXPN", VERB_ABSENT},
    {"AUTH", VERB_ABSENT},
    {"STARTTLS", VERB_ABSENT},
    {"BDAT", VERB_ABSENT},
    {"ETRN", VERB_ABSENT},
    {"GET", VERB_FOREIGN},
    {"POST", VERB_FOREIGN},
    {"PUT", VERB_FOREIGN},
    {"HEAD", VERB_FOREIGN},
    {"OPTIONS", VERB_FOREIGN},
    {"CONNECT", VERB_FOREIGN},
};

static char *
skip_blanks(char *s)
{
	return s + strspn(s, " \t");
}

enum smtpd_verb
smtpd_verb(char *line, char **rest)
{
	size_t len = strcspn(line, " \t"), end = strlen(line);

	while (end > len && ascii_isblank((unsigned char)line[end - 1]))
		line[--end] = '\0';
	*rest = skip_blanks(line + len);
	for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
		if (strlen(verbs[i].word) == len &&
		    ascii_strncasecmp(verbs[i].word, line, len) == 0)
			return verbs[i].verb;
	return VERB_UNKNOWN;
}

/* ---- Paths and their parameters ---- */

static bool
set_size(struct smtpd_path *p, const char *value)
{
	long long size;

	/* More than can be said is more than anybody takes. */
	if (value[strspn(value, "0123456789")] != '\0' || *value == '\0' ||
	    strlen(value) > 20)
		return false;
	p->size =
	    parse_number(value, 0, INT64_MAX, &size) == 0 ? size : INT64_MAX;
	return true;
}

/* Whatever it says, what comes is looked at. */
static bool
check_body(struct smtpd_path *p, const char *value)
{
	(void)p;
	return ascii_strcasecmp(value, "7BIT") == 0 ||
	       ascii_strcasecmp(value, "8BITMIME") == 0;
}

static bool
set_ret(struct smtpd_path *p, const char *value)
{
	p->ret = ascii_strcasecmp(value, "FULL") == 0   ? RET_FULL
		 : ascii_strcasecmp(value, "HDRS") == 0 ? RET_HDRS
							: RET_DEFAULT;
	return p->ret != RET_DEFAULT;
}

bool
smtpd_is_xtext(const char *s, size_t max)
{
	static const char hex[] = "0123456789ABCDEF";

	if (*s == '\0' || strlen(s) > max)
		return false;
	for (; *s != '\0'; s++) {
		if (!ascii_isprint((unsigned char)*s) || strchr(" =", *s))
			return false;
		if (*s == '+' && (s[1] == '\0' || strchr(hex, s[1]) == NULL ||
				     s[2] == '\0' || strchr(hex, s[2]) == NULL))
			return false;
	}
	return true;
}

static bool
set_envid(struct smtpd_path *p, const char *value)
{
	p->envid = value;
	return smtpd_is_xtext(value, ENVID_MAX);
}

static bool
set_notify(struct smtpd_path *p, const char *value)
{
	return envelope_parse_notify(value, &p->notify) == 0;
}

static bool
set_orcpt(struct smtpd_path *p, const char *value)
{
	const char *semicolon = strchr(value, ';');

	p->orcpt = value;
	return semicolon != NULL && semicolon != value &&
	       semicolon[1] != '\0' && smtpd_is_xtext(value, ORCPT_MAX) &&
	       addr_is_atoms(value, (size_t)(semicolon - value), '-');
}

static bool
check_nothing(struct smtpd_path *p, const char *value)
{
	(void)p;
	(void)value;
	return true;
}

static const struct {
	const char *word, *command;
	bool has_value;
	bool (*take)(struct smtpd_path *p, const char *value);
} parameters[] = {
    {"SIZE", "FROM:", true, set_size},
    {"BODY", "FROM:", true, check_body},
    {"SMTPUTF8", "FROM:", false, check_nothing},
    {"RET", "FROM:", true, set_ret},
    {"ENVID", "FROM:", true, set_envid},
    {"NOTIFY", "TO:", true, set_notify},
    {"ORCPT", "TO:", true, set_orcpt},
};

static const char *
take_parameter(struct smtpd_path *p, char *text, const char *command)
{
	char *value = strchr(text, '=');

	if (value != NULL)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
		if (ascii_strcasecmp(parameters[i].word, text) != 0 ||
		    strcmp(parameters[i].command, command) != 0)
			continue;
		if (parameters[i].has_value == (value != NULL) &&
		    parameters[i].take(p, value))
			return NULL;
		return "501 5.5.4 A parameter's value is not valid";
	}
	return "555 5.5.4 Unknown parameter";
}

/* Where a path ends: behind its '>', or at a blank; quotes count. */
static char *
path_end(char *s)
{
	bool angle = *s == '<', quoted = false;

	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		else if (*s == '"')
			quoted = !quoted;
		else if (!quoted && angle && *s == '>')
			return s + 1;
		else if (!quoted && !angle && ascii_isblank((unsigned char)*s))
			return s;
	}
	return angle ? NULL : s;
}

const char *
smtpd_path_parse(struct smtpd_path *p, char *args, const char *word)
{
	const char *bad = NULL;
	char *end = NULL, *next;

	*p = (struct smtpd_path){0};
	if (ascii_strncasecmp(args, word, strlen(word)) == 0) {
		p->path = skip_blanks(args + strlen(word));
		end = path_end(p->path);
	}
	if (end == NULL || end == p->path ||
	    (*end != '\0' && !ascii_isblank((unsigned char)*end)))
		return strcmp(word, "TO:") == 0
			   ? "501 5.5.4 Say RCPT TO:<address>"
			   : "501 5.5.4 Say MAIL FROM:<address>";
	if (*end != '\0')
		*end++ = '\0';
	for (; bad == NULL && *(end = skip_blanks(end)) != '\0'; end = next) {
		next = end + strcspn(end, " \t");
		if (*next != '\0')
			*next++ = '\0';
		bad = take_parameter(p, end, word);
	}
	return bad;
}

/* ---- Data ---- */

/*
 * The byte that c puts out in this state, or -1 for none; *taken is false
 * where a CR that was kept back goes first.
 */
static int
data_step(struct smtpd_data *d, char c, bool *taken)
{
	switch (d->state) {
	case DATA_LINE_START:
	case DATA_DOT:
		if (c == '.' && d->state == DATA_LINE_START) {
			d->state = DATA_DOT;
			return -1;
		}
		if (c == '\r') {
			d->state = d->state == DATA_DOT ? DATA_DOT_CR : DATA_CR;
			return -1;
		}
		break;
	case DATA_DOT_CR:
	case DATA_CR:
		if (c == '\n') {
			bool end = d->state == DATA_DOT_CR;

			d->state = end ? DATA_END : DATA_LINE_START;
			return end ? -1 : '\n';
		}
		d->bare_cr = true;
		d->state = DATA_TEXT;
		*taken = false;
		return '\r';
	case DATA_TEXT:
	case DATA_END:
		if (c == '\r') {
			d->state = DATA_CR;
			return -1;
		}
		break;
	}
	if (c == '\n')
		d->bare_lf = true;
	d->state = DATA_TEXT;
	return (unsigned char)c;
}

size_t
smtpd_data_decode(struct smtpd_data *d, const char *in, size_t len,
    size_t *used, char *out, size_t size)
{
	size_t n = 0;

	*used = 0;
	while (*used < len && n < size && d->state != DATA_END) {
		bool taken = true;
		int c = data_step(d, in[*used], &taken);

		*used += taken;
		if (c != -1)
			out[n++] = (char)c;
	}
	return n;
}
