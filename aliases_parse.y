/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases_parse.y - the grammar of the alias file, and the table it fills.
 *
 * Runs in:   dma, in every role that takes or checks recipients.
 * Trusts:    the file's owner; never that a line is well-formed.
 * Promises:  a bad line is reported and costs itself alone; a file of any
 *            size is parsed on a stack of constant depth (left recursion).
 */
%define api.pure full
%define api.prefix {aliases_yy}
%parse-param {struct aliases_parser *parser} {void *scanner}
%lex-param {void *scanner}

%code requires {
#include <stdbool.h>
#include <stddef.h>

#include "aliases.h"

/* What the scanner and the grammar share: the scanner's extra data. */
struct aliases_parser {
	struct aliases *table;
	const char *file;
	void (*report)(void *arg, const char *line);
	void *arg;
	/* The scanner's. */
	unsigned line;	       /* where it reads */
	unsigned token_line;   /* where the last token stood */
	const char *complaint; /* what is wrong with it, if it knows */
	/* The entry under way. */
	struct buf targets;    /* as in struct alias */
	bool after_word;       /* no comma since the last of them */
};
}

%code {
#include <sys/stat.h>

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "addr.h"
#include "util.h"

typedef void *yyscan_t;
struct yy_buffer_state;

int aliases_yylex(YYSTYPE *value, yyscan_t scanner);
int aliases_yylex_init_extra(struct aliases_parser *p, yyscan_t *scanner);
int aliases_yylex_destroy(yyscan_t scanner);
struct yy_buffer_state *aliases_yy_scan_bytes(
    const char *text, int len, yyscan_t scanner);

static void aliases_yyerror(struct aliases_parser *p, yyscan_t scanner,
    const char *text);
static int target_add(struct aliases_parser *p, char *raw);
static void entry_add(struct aliases_parser *p, char *raw);
static void entry_clear(struct aliases_parser *p);
}

%union {
	char *text; /* as written, its reader's to free */
}

%token <text> WORD
%token COLON COMMA NEWLINE UNUSABLE
%destructor { free($$); } <text>

%%

file:
	  /* empty */
	| file line
	;

line:
	  NEWLINE
	| WORD COLON targets NEWLINE
				{ entry_add(parser, $1); }
	| error NEWLINE		{ entry_clear(parser); yyerrok; }
	;

/* Between targets: commas, blanks, or both; a comma too many is forgiven. */
targets:
	  target
	| targets target
	| targets COMMA		{ parser->after_word = false; }
	;

target:
	  WORD			{ if (target_add(parser, $1) == -1)
					YYERROR; }
	;

%%

/* The last token's line is bad: what, and which word of it (or NULL). */
static void
complain_about(struct aliases_parser *p, const char *word, const char *what)
{
	char *text, clean[512];

	p->table->errors++;
	if (p->report == NULL)
		return;
	if (word != NULL)
		text = xasprintf("%s:%u: \"%.100s\" %s", p->file,
		    p->token_line, word, what);
	else
		text = xasprintf("%s:%u: %s", p->file, p->token_line, what);
	p->report(p->arg, printable(clean, sizeof(clean), text, strlen(text)));
	free(text);
}

/* Called by the generated parser, once for each bad line. */
static void
aliases_yyerror(struct aliases_parser *p, yyscan_t scanner, const char *text)
{
	(void)scanner, (void)text;
	complain_about(p, NULL, p->complaint != NULL ? p->complaint :
	    "is not of the form  name: address, address");
}

/* ---- Words ---- */

/*
 * Undo quotes and backslashes, in place.  What stands in quotes with other
 * text beside it ("a b"@example.org) is an address's own quoting: it stays.
 */
static void
unquote(char *s)
{
	size_t len = strlen(s);
	bool quoted = len >= 2 && s[0] == '"' && s[len - 1] == '"' &&
	    strcspn(s + 1, "\"") == len - 2;
	char *to = s;

	if (!quoted && strchr(s, '"') != NULL)
		return;
	if (quoted) {
		s[len - 1] = '\0';
		s++;
	}
	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		*to++ = *s;
	}
	*to = '\0';
}

static const char *
unsupported(const char *target)
{
	if (target[0] == '|')
		return "is a command, which is not supported as a target";
	if (target[0] == '/')
		return "is a file, which is not supported as a target";
	if (ascii_strncasecmp(target, ":include:", 9) == 0)
		return "is an included list, which is not supported";
	return NULL;
}

/*
 * Why a target cannot be used, or NULL, and then its address in *a.
 * Blanks separate targets, so "Joe Doe <joe@x>" would be local users too.
 */
static const char *
target_check(const char *raw, bool after_word, struct addr *a)
{
	const char *why, *raw_why;
	char *plain;

	if (raw[0] == '<' && after_word)
		return "follows a name: write the address alone";
	plain = xstrdup(raw);
	unquote(plain);
	why = unsupported(plain);
	/* Where quotes are the address's own, only as written it is one. */
	if (why == NULL && addr_parse(a, plain, false, &why) == -1 &&
	    addr_parse(a, raw, false, &raw_why) == 0)
		why = NULL;
	free(plain);
	return why;
}

static int
target_add(struct aliases_parser *p, char *raw)
{
	struct addr a;
	const char *why = target_check(raw, p->after_word, &a);

	if (why != NULL)
		complain_about(p, raw, why);
	else
		(void)buf_put(&p->targets, a.text, strlen(a.text) + 1);
	free(raw);
	p->after_word = true;
	return why != NULL ? -1 : 0;
}

/* ---- The table ---- */

/* Of a struct alias, or of a name alone: both begin with the name. */
static int
by_name(const void *a, const void *b)
{
	return ascii_strcasecmp(*(char *const *)a, *(char *const *)b);
}

static void
alias_free(struct alias *alias)
{
	buf_free(&alias->targets);
	free(alias->name);
	free(alias);
}

/* An entry is whole: its targets go to its key, new or known. */
static void
entry_add(struct aliases_parser *p, char *raw)
{
	struct alias *fresh = xcalloc(1, sizeof(*fresh)), **alias;

	unquote(raw);
	fresh->name = raw;
	alias = tsearch(fresh, &p->table->tree, by_name);
	if (alias == NULL)
		die(EX_OSERR, "out of memory");
	if (*alias == fresh)
		fresh->number = p->table->count++;
	else
		alias_free(fresh);
	(void)buf_put(&(*alias)->targets, p->targets.data, p->targets.len);
	entry_clear(p);
}

static void
entry_clear(struct aliases_parser *p)
{
	buf_reset(&p->targets);
	p->after_word = false;
}

/* ---- What aliases.h promises ---- */

void
aliases_parse(struct aliases *a, const char *file, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg)
{
	struct aliases_parser p = {.table = a, .file = file, .report = report,
	    .arg = arg, .line = 1, .token_line = 1};
	size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	yyscan_t scanner;

	*a = (struct aliases){0};
	if (aliases_yylex_init_extra(&p, &scanner) != 0)
		die(EX_OSERR, "out of memory");
	aliases_yy_scan_bytes(text + bom, (int)(len - bom), scanner);
	if (aliases_yyparse(&p, scanner) != 0)
		complain_about(&p, NULL, "nothing after this was read");
	aliases_yylex_destroy(scanner);
	buf_free(&p.targets);
}

int
aliases_load(struct aliases *a, const char *path,
    void (*report)(void *arg, const char *line), void *arg)
{
	struct stat st;
	char *text;
	size_t len;

	*a = (struct aliases){0};
	if (read_file(path, ALIASES_FILE_MAX, &text, &len, &st) == -1)
		return errno == ENOENT ? 0 : -1;
	/* Who may write it reads root's mail. */
	if ((st.st_mode & S_IWOTH) != 0) {
		free(text);
		errno = EPERM;
		return -1;
	}
	aliases_parse(a, path, text, len, report, arg);
	free(text);
	return 0;
}

const struct alias *
aliases_lookup(const struct aliases *a, const char *name)
{
	struct alias *const *alias = tfind(&name, &a->tree, by_name);

	return alias != NULL ? *alias : NULL;
}

void
aliases_free(struct aliases *a)
{
	while (a->tree != NULL) {
		struct alias *alias = *(struct alias **)a->tree;

		tdelete(alias, &a->tree, by_name);
		alias_free(alias);
	}
	*a = (struct aliases){0};
}
