/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * addr_parse.c - text into mail addresses, once (RFC 5322, 3.4).
 *
 * Runs in:   dma. No files, no globals, no recursion.
 * Trusts:    nothing. Distrusts: every byte of every list.
 * Promises:  one pass, whatever the nesting; what it finds is checked and
 *            built by addr_make(), so that nothing else can come of it.
 */
#include "addr.h"

#include <string.h>

#include "util.h"

/*
 * A place in the text and the token before it; unsigned, so that 0xff is
 * never taken for an end.
 */
struct lexer {
	const unsigned char *start, *p, *end;
	const char *why; /* of TOKEN_BAD */
};

/* A special character is a token of its own, its kind is the character. */
enum { TOKEN_BAD = -1, TOKEN_END, TOKEN_ATOM, TOKEN_QUOTED, TOKEN_LITERAL };

/* What stands between two delimiters of an address list. */
struct mailbox {
	const unsigned char *start, *end; /* of the addr-spec; NULL: none */
	/* Local part (raw) and domain: with a final dot, and a NUL. */
	struct part {
		char text[ADDR_DOMAIN_MAX + 2];
		size_t len;
	} local, domain;
	bool at;         /* the '@' was seen */
	bool word;       /* the last token was a word: the next may not be */
	bool angle;      /* the address was in angle brackets */
	const char *why; /* of the first token that does not fit */
};

/* ---- Tokens (RFC 5322, 3.2) ---- */

static int
skip_comment(struct lexer *l)
{
	size_t depth = 0;

	for (; l->p < l->end; l->p++) {
		if (*l->p == '(')
			depth++;
		else if (*l->p == ')')
			depth--;
		else if (*l->p == '\\' && l->p + 1 < l->end)
			l->p++;
		if (depth == 0) {
			l->p++;
			return 0;
		}
	}
	l->why = "has an unclosed comment";
	return -1;
}

static int
skip_blanks_and_comments(struct lexer *l)
{
	while (l->p < l->end) {
		if (ascii_isblank(*l->p) || *l->p == '\n')
			l->p++;
		else if (*l->p != '(')
			break;
		else if (skip_comment(l) == -1)
			return -1;
	}
	return 0;
}

static int
scan_quoted(struct lexer *l)
{
	for (l->p++; l->p < l->end; l->p++) {
		if (*l->p == '"') {
			l->p++;
			return TOKEN_QUOTED;
		}
		if (*l->p == '\\' && ++l->p == l->end)
			break;
	}
	l->why = "has an unclosed quote";
	return TOKEN_BAD;
}

/* What is no literal is a lone '[': people put "[Team]" into phrases. */
static int
scan_literal(struct lexer *l)
{
	const unsigned char *q;

	for (q = l->p + 1; q < l->end; q++)
		if (!ascii_isalnum(*q) && *q != '.' && *q != ':' && *q != '-')
			break;
	if (q == l->end || *q != ']') {
		l->p++;
		return '[';
	}
	l->p = q + 1;
	return TOKEN_LITERAL;
}

static int
next_token(struct lexer *l)
{
	if (skip_blanks_and_comments(l) == -1)
		return TOKEN_BAD;
	l->start = l->p;
	if (l->p == l->end)
		return TOKEN_END;
	if (*l->p == '"')
		return scan_quoted(l);
	if (*l->p == '[')
		return scan_literal(l);
	if (addr_is_special((char)*l->p))
		return *l->p++;
	while (l->p < l->end && !addr_is_special((char)*l->p) &&
	       !ascii_isblank(*l->p) && *l->p != '\n')
		l->p++;
	return TOKEN_ATOM;
}

/* ---- An addr-spec, token by token ---- */

static void
put_char(struct mailbox *m, unsigned char c)
{
	struct part *part = m->at ? &m->domain : &m->local;
	size_t max = m->at ? sizeof(part->text) - 1 : ADDR_LOCAL_MAX;

	if (ascii_iscntrl(c))
		m->why = "contains a control character";
	else if (part->len == max)
		m->why = m->at ? "has a domain that is too long"
			       : "has a local part that is too long";
	else
		part->text[part->len++] = (char)c;
}

static void
put_word(struct mailbox *m, const struct lexer *l, int kind)
{
	const unsigned char *p = l->start, *end = l->p;

	if (m->word)
		m->why = "contains a blank or a misplaced quote";
	else if (!m->at && kind == TOKEN_LITERAL)
		m->why = "has a '[' outside its domain";
	else if (m->at && (kind == TOKEN_QUOTED ||
			      (kind == TOKEN_LITERAL && m->domain.len > 0)))
		m->why = "has an invalid domain";
	m->word = true;
	if (kind == TOKEN_QUOTED) {
		p++;
		end--;
	}
	for (; p < end && m->why == NULL; p++) {
		if (*p == '\\')
			p++;
		put_char(m, *p);
	}
}

static void
put_token(struct mailbox *m, const struct lexer *l, int kind)
{
	if (m->start == NULL)
		m->start = l->start;
	m->end = l->p;
	if (m->why != NULL)
		return;
	if (kind <= TOKEN_LITERAL) {
		put_word(m, l, kind);
		return;
	}
	m->word = false;
	if (kind == '.')
		put_char(m, '.');
	else if (kind != '@')
		m->why = "contains a character that needs quotes";
	else if (m->at)
		m->why = "has more than one '@'";
	else
		m->at = true;
}

static int
finish(struct mailbox *m, struct addr *a, const char **why)
{
	struct part *domain = &m->domain;

	*why = m->why;
	if (*why != NULL)
		return -1;
	/* "example.org." is the same place, but no SMTP domain. */
	if (domain->len > 1 && domain->text[domain->len - 1] == '.')
		domain->text[--domain->len] = '\0';
	return addr_make(a, m->local.text, m->at ? domain->text : NULL, why);
}

/* ---- A mailbox, up to its delimiter ---- */

/* "@a,@b:" before an addr-spec: obsolete, dropped (RFC 5321, appendix C). */
static bool
begins_route(const struct mailbox *m)
{
	return m->start != NULL && *m->start == '@';
}

/*
 * Read up to a delimiter, or as far as makes sense.  Returns the delimiter,
 * TOKEN_END, or TOKEN_BAD with l->why.
 */
static int
read_mailbox(struct lexer *l, struct mailbox *m)
{
	bool inside = false; /* of the angle brackets */
	int kind;

	memset(m, 0, sizeof(*m));
	while ((kind = next_token(l)) != TOKEN_BAD) {
		if (!inside &&
		    (kind == TOKEN_END || kind == ',' || kind == ';' ||
			(kind == ':' && !begins_route(m))))
			return kind;
		if (kind == '<' && !m->angle) {
			/* What stood before was a phrase. */
			*m = (struct mailbox){.angle = true};
			inside = true;
		} else if (kind == '>' && inside) {
			inside = false;
		} else if (kind == ':' && begins_route(m)) {
			*m = (struct mailbox){.angle = m->angle};
		} else if (kind == TOKEN_END) {
			l->why = "has a '<' without '>'";
			break;
		} else if (kind == '>') {
			l->why = "has a '>' without '<'";
			break;
		} else if (kind == ')' && !inside) {
			l->why = "has a ')' without '('";
			break;
		} else if (m->angle && !inside) {
			l->why = "has text after its '>'";
			break;
		} else {
			put_token(m, l, kind);
		}
	}
	return TOKEN_BAD;
}

/* ---- One address, and lists of them ---- */

int
addr_parse(struct addr *a, const char *s, bool null_ok, const char **why)
{
	size_t i, len = strlen(s);
	struct lexer l = {.p = (const unsigned char *)s};
	struct mailbox m;
	int delimiter;

	*why = len > ADDR_INPUT_MAX ? "is too long" : NULL;
	for (i = 0; i < len && *why == NULL; i++)
		if (ascii_iscntrl((unsigned char)s[i]))
			*why = "contains a control character";
	if (*why != NULL)
		return -1;
	l.end = l.p + len;
	delimiter = read_mailbox(&l, &m);
	if (delimiter == TOKEN_END && m.start != NULL)
		return finish(&m, a, why);
	if (delimiter == TOKEN_END && null_ok && (len == 0 || m.angle)) {
		memset(a, 0, sizeof(*a));
		return 0;
	}
	if (delimiter == TOKEN_BAD)
		*why = l.why;
	else if (delimiter == TOKEN_END)
		*why = "is empty";
	else if (delimiter == ':')
		*why = "contains a ':' outside quotes";
	else
		*why = "is more than one address";
	return -1;
}

/*
 * A field's line break is followed by a blank, or ends it.  Any other came
 * from a caller that wants to write lines of its own.
 */
static bool
has_line_break(const char *s, size_t len)
{
	const char *p, *end = s + len;

	if (memchr(s, '\r', len) != NULL)
		return true;
	for (p = s; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;)
		if (++p < end && !ascii_isblank(*p))
			return true;
	return false;
}

int
addr_parse_list(const char *s, size_t len,
    int (*each)(void *arg, const struct addr *a, size_t start, size_t end),
    void *arg, const char **why)
{
	const unsigned char *text = (const unsigned char *)s;
	struct lexer l = {.p = text, .end = text + len};
	struct mailbox m;
	struct addr a;
	bool group = false;
	int delimiter;

	if (has_line_break(s, len)) {
		*why = "contains a line break";
		return -1;
	}
	do {
		*why = NULL;
		delimiter = read_mailbox(&l, &m);
		if (delimiter == TOKEN_BAD) {
			*why = l.why;
		} else if (delimiter == ':') {
			/* What stood before it is the group's name. */
			if (group || m.start == NULL || m.angle || m.at)
				*why = "contains a ':' outside quotes";
			group = true;
			m.start = NULL;
		} else if (m.start == NULL && m.angle) {
			*why = "is empty";
		}
		if (*why != NULL)
			return -1;
		if (delimiter == ';')
			group = false;
		if (m.start == NULL)
			continue;
		if (finish(&m, &a, why) == -1 ||
		    each(arg, &a, (size_t)(m.start - text),
			(size_t)(m.end - text)) != 0)
			return -1;
	} while (delimiter != TOKEN_END);
	return 0;
}
