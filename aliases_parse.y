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
	bool at_end;	       /* the last NEWLINE was given */
	/* The entry under way. */
	unsigned entry_line;
	char **targets;
	size_t ntargets;
	bool after_word; /* no comma since the last target */
};
}

%code {
#include <sys/stat.h>

#include <errno.h>
#include <stdint.h>
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

static void
complain_about(struct aliases_parser *p, unsigned line, const char *what,
    const char *word)
{
	char *text, clean[512];

	p->table->errors++;
	if (p->report == NULL)
		return;
	if (word != NULL)
		text = xasprintf("%s:%u: \"%.100s\" %s", p->file, line, word,
		    what);
	else
		text = xasprintf("%s:%u: %s", p->file, line, what);
	p->report(p->arg, printable(clean, sizeof(clean), text, strlen(text)));
	free(text);
}

/* Called by the generated parser, once for each bad line. */
static void
aliases_yyerror(struct aliases_parser *p, yyscan_t scanner, const char *text)
{
	(void)scanner, (void)text;
	if (p->complaint != NULL)
		complain_about(p, p->token_line, p->complaint, NULL);
	else
		complain_about(p, p->token_line,
		    "is not of the form  name: address, address", NULL);
	p->complaint = NULL;
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

/* A list that doubles: room for one more. */
static char **
list_grow(char **list, size_t n)
{
	if ((n & (n - 1)) != 0)
		return list;
	return xreallocarray(list, n == 0 ? 1 : 2 * n, sizeof(*list));
}

static int
target_add(struct aliases_parser *p, char *raw)
{
	struct addr a;
	const char *why = target_check(raw, p->after_word, &a);

	if (p->ntargets == 0)
		p->entry_line = p->token_line;
	if (why != NULL)
		complain_about(p, p->token_line, why, raw);
	free(raw);
	if (why != NULL)
		return -1;
	p->targets = list_grow(p->targets, p->ntargets);
	p->targets[p->ntargets++] = xstrdup(a.text);
	p->after_word = true;
	return 0;
}

/* ---- The table ---- */

static size_t
name_hash(const char *s)
{
	uint64_t h = 0xcbf29ce484222325ULL; /* FNV-1a */

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)ascii_lower((unsigned char)*s)) *
		    0x100000001b3ULL;
	return (size_t)(h ^ h >> 32);
}

static struct alias *
table_find(const struct aliases *a, const char *name)
{
	struct alias *alias;

	if (a->size == 0)
		return NULL;
	alias = a->table[name_hash(name) & (a->size - 1)];
	while (alias != NULL && ascii_strcasecmp(alias->name, name) != 0)
		alias = alias->next;
	return alias;
}

static void
table_insert(struct aliases *a, struct alias *alias)
{
	struct alias **slot = &a->table[name_hash(alias->name) & (a->size - 1)];

	alias->next = *slot;
	*slot = alias;
}

static void
table_grow(struct aliases *a)
{
	struct alias **old = a->table, *alias, *next;
	size_t i, old_size = a->size;

	a->size = old_size == 0 ? 64 : 2 * old_size;
	a->table = xcalloc(a->size, sizeof(struct alias *));
	for (i = 0; i < old_size; i++)
		for (alias = old[i]; alias != NULL; alias = next) {
			next = alias->next;
			table_insert(a, alias);
		}
	free(old);
}

static struct alias *
table_add(struct aliases *a, const char *name, unsigned line)
{
	struct alias *alias = xcalloc(1, sizeof(*alias));

	if (a->count >= a->size)
		table_grow(a);
	alias->name = xstrdup(name);
	alias->line = line;
	alias->number = a->count++;
	table_insert(a, alias);
	return alias;
}

/* An entry is whole: its targets go to its key, new or known. */
static void
entry_add(struct aliases_parser *p, char *raw)
{
	struct alias *alias;
	size_t i;

	unquote(raw);
	alias = table_find(p->table, raw);
	if (alias == NULL)
		alias = table_add(p->table, raw, p->entry_line);
	free(raw);
	for (i = 0; i < p->ntargets; i++) {
		alias->targets = list_grow(alias->targets, alias->ntargets);
		alias->targets[alias->ntargets++] = p->targets[i];
	}
	p->ntargets = 0;
	p->after_word = false;
}

static void
entry_clear(struct aliases_parser *p)
{
	while (p->ntargets > 0)
		free(p->targets[--p->ntargets]);
	p->after_word = false;
}

/* ---- What aliases.h promises ---- */

void
aliases_parse(struct aliases *a, const char *file, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg)
{
	struct aliases_parser p = {.table = a, .file = file, .report = report,
	    .arg = arg, .line = 1, .token_line = 1};
	yyscan_t scanner;

	*a = (struct aliases){0};
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
		text += 3;
		len -= 3;
	}
	if (len > ALIASES_FILE_MAX) {
		complain_about(&p, 1, "the file is too large", NULL);
		return;
	}
	if (aliases_yylex_init_extra(&p, &scanner) != 0)
		die(EX_OSERR, "out of memory");
	aliases_yy_scan_bytes(text, (int)len, scanner);
	if (aliases_yyparse(&p, scanner) != 0)
		complain_about(&p, p.line, "nothing after this was read", NULL);
	aliases_yylex_destroy(scanner);
	entry_clear(&p);
	free(p.targets);
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
	return table_find(a, name);
}

static void
alias_free(struct alias *alias)
{
	while (alias->ntargets > 0)
		free(alias->targets[--alias->ntargets]);
	free(alias->targets);
	free(alias->name);
	free(alias);
}

void
aliases_free(struct aliases *a)
{
	struct alias *alias, *next;
	size_t i;

	for (i = 0; i < a->size; i++)
		for (alias = a->table[i]; alias != NULL; alias = next) {
			next = alias->next;
			alias_free(alias);
		}
	free(a->table);
	*a = (struct aliases){0};
}
