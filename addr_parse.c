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

/* A place in the text; unsigned, so that 0xff is never taken for an end. */
struct lexer {
	const unsigned char *p, *end;
	const char *why;
};

/* A special character is a token of its own, its kind is the character. */
enum { TOKEN_BAD = -1, TOKEN_END, TOKEN_ATOM, TOKEN_QUOTED, TOKEN_LITERAL };

struct token {
	int kind;
	const unsigned char *start, *end;
};

/* An addr-spec under construction: raw local part, domain as it came. */
struct spec {
	const unsigned char *start, *end; /* NULL: no token yet */
	char local[ADDR_LOCAL_MAX + 1];
	char domain[ADDR_DOMAIN_MAX + 2]; /* with a final dot, and a NUL */
	size_t local_len, domain_len;
	bool at;         /* the '@' was seen */
	bool word;       /* the last token was a word: the next may not be */
	const char *why; /* of the first token that does not fit */
};

/* What stands between two delimiters of an address list. */
struct mailbox {
	struct spec spec;
	bool angle; /* the address was in angle brackets */
};

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static bool
is_blank(unsigned char c)
{
	return c == ' ' || c == '\t';
}

/* ---- Tokens (RFC 5322, 3.2) ---- */

static int
skip_comment(struct lexer *l)
{
	size_t depth;

	depth = 0;
	do {
		if (l->p == l->end) {
			l->why = "has an unclosed comment";
			return -1;
		}
		switch (*l->p++) {
		case '(':
			depth++;
			break;
		case ')':
			depth--;
			break;
		case '\\':
			if (l->p < l->end)
				l->p++;
			break;
		}
	} while (depth > 0);
	return 0;
}

static int
skip_blanks_and_comments(struct lexer *l)
{
	while (l->p < l->end) {
		if (is_blank(*l->p) || *l->p == '\n')
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
scan_atom(struct lexer *l)
{
	while (l->p < l->end && !addr_is_special((char)*l->p) &&
	       !is_blank(*l->p) && *l->p != '\n')
		l->p++;
	return TOKEN_ATOM;
}

static int
next_token(struct lexer *l, struct token *t)
{
	if (skip_blanks_and_comments(l) == -1)
		return t->kind = TOKEN_BAD;
	t->start = l->p;
	if (l->p == l->end)
		t->kind = TOKEN_END;
	else if (*l->p == '"')
		t->kind = scan_quoted(l);
	else if (*l->p == '[')
		t->kind = scan_literal(l);
	else if (addr_is_special((char)*l->p))
		t->kind = *l->p++;
	else
		t->kind = scan_atom(l);
	t->end = l->p;
	return t->kind;
}

/* ---- An addr-spec, token by token ---- */

static void
spec_put_local(struct spec *s, unsigned char c)
{
	if (is_control(c))
		s->why = "contains a control character";
	else if (s->local_len == ADDR_LOCAL_MAX)
		s->why = "has a local part that is too long";
	else
		s->local[s->local_len++] = (char)c;
}

static void
spec_put_domain(struct spec *s, const struct token *t)
{
	size_t len;

	len = (size_t)(t->end - t->start);
	if (len >= sizeof(s->domain) - s->domain_len) {
		s->why = "has a domain that is too long";
		return;
	}
	memcpy(s->domain + s->domain_len, t->start, len);
	s->domain_len += len;
}

static void
spec_put_word(struct spec *s, const struct token *t)
{
	const unsigned char *p;

	if (s->word) {
		s->why = "contains a blank or a misplaced quote";
	} else if (s->at) {
		if (t->kind == TOKEN_QUOTED ||
		    (t->kind == TOKEN_LITERAL && s->domain_len > 0))
			s->why = "has an invalid domain";
		else
			spec_put_domain(s, t);
	} else if (t->kind == TOKEN_LITERAL) {
		s->why = "has a '[' outside its domain";
	} else if (t->kind == TOKEN_ATOM) {
		for (p = t->start; p < t->end && s->why == NULL; p++)
			spec_put_local(s, *p);
	} else {
		for (p = t->start + 1; p < t->end - 1 && s->why == NULL; p++) {
			if (*p == '\\')
				p++;
			spec_put_local(s, *p);
		}
	}
	s->word = true;
}

static void
spec_put(struct spec *s, const struct token *t)
{
	if (s->start == NULL)
		s->start = t->start;
	s->end = t->end;
	if (s->why != NULL)
		return;
	switch (t->kind) {
	case TOKEN_ATOM:
	case TOKEN_QUOTED:
	case TOKEN_LITERAL:
		spec_put_word(s, t);
		return;
	case '.':
		if (s->at)
			spec_put_domain(s, t);
		else
			spec_put_local(s, '.');
		break;
	case '@':
		if (s->at)
			s->why = "has more than one '@'";
		s->at = true;
		break;
	default:
		s->why = "contains a character that needs quotes";
		break;
	}
	s->word = false;
}

static int
spec_finish(struct spec *s, struct addr *a, const char **why)
{
	*why = s->why;
	if (*why != NULL)
		return -1;
	s->local[s->local_len] = '\0';
	/* "example.org." is the same place, but no SMTP domain. */
	if (s->domain_len > 1 && s->domain[s->domain_len - 1] == '.')
		s->domain_len--;
	s->domain[s->domain_len] = '\0';
	return addr_make(a, s->local, s->at ? s->domain : NULL, why);
}

/* ---- A mailbox, up to its delimiter ---- */

/*
 * Skip "@a,@b:" with the first '@' already read; where it is no route, the
 * lexer stays.  Returns false for that.
 */
static bool
skip_route(struct lexer *l)
{
	struct lexer ahead = *l;
	struct token t;

	for (;;) {
		switch (next_token(&ahead, &t)) {
		case ':':
			l->p = ahead.p;
			return true;
		case TOKEN_ATOM:
		case TOKEN_LITERAL:
		case '.':
		case ',':
		case '@':
			break;
		default:
			return false;
		}
	}
}

/* Put a token; an '@' at the very beginning may open a source route. */
static void
mailbox_put(struct lexer *l, struct mailbox *m, const struct token *t)
{
	if (t->kind != '@' || m->spec.start != NULL || !skip_route(l))
		spec_put(&m->spec, t);
}

/* What stood before '<' was a phrase; the address follows. */
static int
read_angle(struct lexer *l, struct mailbox *m)
{
	struct token t;

	memset(&m->spec, 0, sizeof(m->spec));
	m->angle = true;
	while (next_token(l, &t) != '>') {
		switch (t.kind) {
		case TOKEN_END:
			l->why = "has a '<' without '>'";
			return -1;
		case TOKEN_BAD:
			return -1;
		default:
			mailbox_put(l, m, &t);
			break;
		}
	}
	return 0;
}

/* Returns the delimiter that ended it, TOKEN_END or TOKEN_BAD. */
static int
read_mailbox(struct lexer *l, struct mailbox *m)
{
	struct token t;

	memset(m, 0, sizeof(*m));
	for (;;) {
		switch (next_token(l, &t)) {
		case TOKEN_BAD:
		case TOKEN_END:
		case ',':
		case ';':
		case ':':
			return t.kind;
		case '>':
			l->why = "has a '>' without '<'";
			return TOKEN_BAD;
		case ')':
			l->why = "has a ')' without '('";
			return TOKEN_BAD;
		default:
			break;
		}
		if (m->angle) {
			l->why = "has text after its '>'";
			return TOKEN_BAD;
		}
		if (t.kind != '<')
			mailbox_put(l, m, &t);
		else if (read_angle(l, m) == -1)
			return TOKEN_BAD;
	}
}

/* ---- One address, and lists of them ---- */

int
addr_parse(struct addr *a, const char *s, bool null_ok, const char **why)
{
	struct lexer l;
	struct mailbox m;
	size_t i, len;
	int delimiter;

	len = strlen(s);
	if (len > ADDR_INPUT_MAX) {
		*why = "is too long";
		return -1;
	}
	for (i = 0; i < len; i++) {
		if (is_control((unsigned char)s[i])) {
			*why = "contains a control character";
			return -1;
		}
	}
	l.p = (const unsigned char *)s;
	l.end = l.p + len;
	delimiter = read_mailbox(&l, &m);
	if (delimiter == TOKEN_BAD) {
		*why = l.why;
		return -1;
	}
	if (delimiter != TOKEN_END) {
		*why = delimiter == ':' ? "contains a ':' outside quotes"
					: "is more than one address";
		return -1;
	}
	if (m.spec.start != NULL)
		return spec_finish(&m.spec, a, why);
	if (!null_ok || (len > 0 && !m.angle)) {
		*why = "is empty";
		return -1;
	}
	memset(a, 0, sizeof(*a));
	return 0;
}

/*
 * A field's line break is followed by a blank, or ends it.  Any other came
 * from a caller that wants to write lines of its own.
 */
static bool
has_line_break(const char *s, size_t len)
{
	const char *p, *end;

	end = s + len;
	if (memchr(s, '\r', len) != NULL)
		return true;
	for (p = s; (p = memchr(p, '\n', (size_t)(end - p))) != NULL;)
		if (++p < end && !is_blank((unsigned char)*p))
			return true;
	return false;
}

/* True if what stood before ':' can be a group's name. */
static bool
is_group_name(const struct mailbox *m)
{
	return m->spec.start != NULL && !m->angle && !m->spec.at;
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
	bool group;
	int delimiter;

	group = false;
	*why = NULL;
	if (has_line_break(s, len)) {
		*why = "contains a line break";
		return -1;
	}
	do {
		delimiter = read_mailbox(&l, &m);
		if (delimiter == TOKEN_BAD) {
			*why = l.why;
			return -1;
		}
		if (delimiter == ':') {
			if (group || !is_group_name(&m)) {
				*why = "contains a ':' outside quotes";
				return -1;
			}
			group = true;
			continue;
		}
		if (delimiter == ';')
			group = false;
		if (m.spec.start == NULL && !m.angle)
			continue;
		if (m.spec.start == NULL) {
			*why = "is empty";
			return -1;
		}
		if (spec_finish(&m.spec, &a, why) == -1 ||
		    each(arg, &a, (size_t)(m.spec.start - text),
			(size_t)(m.spec.end - text)) != 0)
			return -1;
	} while (delimiter != TOKEN_END);
	return 0;
}
