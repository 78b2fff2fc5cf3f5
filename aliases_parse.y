/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * aliases_parse.y - the grammar of the alias file, of lists and ~/.forward.
 *
 * Runs in:   dma, in every role that takes or checks recipients; dma-local.
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
	struct aliases *table; /* of the two, the one that is made */
	struct buf *list;
	const char *file;
	void (*report)(void *arg, const char *line);
	void *arg;
	size_t errors;
	/* The scanner's. */
	int start;	       /* the token that says what the text is, or 0 */
	int state;	       /* where a line goes on, if it does */
	bool is_list;	       /* destinations alone */
	bool is_forward;       /* of a user's: files and commands too */
	unsigned line;	       /* where it reads */
	unsigned token_line;   /* where the last token stood */
	const char *complaint; /* what is wrong with it, if it knows */
	/* The entry under way. */
	struct buf targets;    /* as in struct alias */
	struct buf group;      /* likewise, since the last comma */
	char *fault;	       /* what is wrong with the group, or NULL */
	bool command;	       /* a command without quotes stands there */
};

/* True for one quoted-string, from its first character to its last. */
bool aliases_is_quoted(const char *s);
}

%code {
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "addr.h"
#include "mailbox.h"
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
static void destination_add(struct aliases_parser *p, int kind, char *raw);
static void phrase_is(struct aliases_parser *p, char *raw);
static int group_close(struct aliases_parser *p);
static void entry_add(struct aliases_parser *p, char *raw);
static void list_line_close(struct aliases_parser *p);
static void entry_clear(struct aliases_parser *p);
}

%union {
	char *text; /* as written, its reader's to free */
}

%token TABLE LIST FORWARD /* which a text is: before its first token */
%token <text> WORD	/* joe, "joe doe"@example.org */
%token <text> ADDRESS	/* <joe@example.org> */
%token <text> LOCAL	/* \joe */
%token <text> INCLUDE	/* :include:/list */
%token <text> REJECTION /* error:5.1.1 no such user */
%token <text> PATHNAME	/* /var/mail/archive */
%token <text> COMMAND	/* |program, "|program -x" */
%token COLON COMMA NEWLINE UNUSABLE
%destructor { free($$); } <text>

%%

text:
	  TABLE table
	| LIST list
	| FORWARD list
	;

/* The alias file: a bad line costs itself. */
table:
	  /* empty */
	| table NEWLINE
	| table WORD COLON destinations NEWLINE
				{ entry_add(parser, $2); }
	| table error NEWLINE	{ entry_clear(parser); yyerrok; }
	;

/* An included file, or a ~/.forward: destinations alone, on as many lines as they need. */
list:
	  /* empty */
	| list destinations NEWLINE
				{ list_line_close(parser); }
	| list error NEWLINE	{ entry_clear(parser); yyerrok; }
	;

/* With commas between; one too many is forgiven. */
destinations:
	  group
	| destinations COMMA group
	;

/* With blanks between, which is a name where an <address> follows. */
group:
	  words			{ if (group_close(parser) == -1)
					YYERROR; }
	| words ADDRESS		{ phrase_is(parser, $2);
				  if (group_close(parser) == -1)
					YYERROR; }
	;

words:
	  /* empty */
	| words destination
	;

destination:
	  WORD			{ destination_add(parser, WORD, $1); }
	| LOCAL			{ destination_add(parser, LOCAL, $1); }
	| INCLUDE		{ destination_add(parser, INCLUDE, $1); }
	| REJECTION		{ destination_add(parser, REJECTION, $1); }
	| PATHNAME		{ destination_add(parser, PATHNAME, $1); }
	| COMMAND		{ destination_add(parser, COMMAND, $1); }
	;

%%

/* ---- Complaints ---- */

/*
 * "file:line: ...", of the last token's line; word may be NULL.  Who mails a
 * user reads it, but not the words of his ~/.forward, which may be private.
 */
static char *
fault_text(const struct aliases_parser *p, const char *word, const char *what)
{
	if (word == NULL)
		return xasprintf("%s:%u: %s", p->file, p->token_line, what);
	return xasprintf("%s:%u: \"%.100s\" %s", p->file, p->token_line,
	    p->is_forward ? "..." : word, what);
}

/* text is ours to free. */
static void
complain_about(struct aliases_parser *p, char *text)
{
	char clean[512];

	p->errors++;
	if (p->report != NULL)
		p->report(p->arg,
		    printable(clean, sizeof(clean), text, strlen(text)));
	free(text);
}

/* Called by the generated parser, once for each bad line. */
static void
aliases_yyerror(struct aliases_parser *p, yyscan_t scanner, const char *text)
{
	(void)scanner, (void)text;
	complain_about(p, fault_text(p, NULL,
	    p->complaint != NULL ? p->complaint :
	    p->is_list ? "is not a list of addresses" :
	    "is not of the form  name: address, address"));
}

/* ---- Words ---- */

bool
aliases_is_quoted(const char *s)
{
	if (*s++ != '"')
		return false;
	for (; *s != '\0' && *s != '"'; s++)
		if (*s == '\\' && s[1] != '\0')
			s++;
	return *s == '"' && s[1] == '\0';
}

/*
 * Undo quotes and backslashes, in place.  What stands in quotes with other
 * text beside it ("a b"@example.org) is an address's own quoting: it stays.
 */
static void
unquote(char *s)
{
	bool quoted = aliases_is_quoted(s);
	char *to = s;

	if (!quoted && strchr(s, '"') != NULL)
		return;
	if (quoted) {
		s[strlen(s) - 1] = '\0';
		s++;
	}
	for (; *s != '\0'; s++) {
		if (*s == '\\' && s[1] != '\0')
			s++;
		*to++ = *s;
	}
	*to = '\0';
}

/*
 * Put what addr_parse() makes of a word into the group, behind prefix.
 * Returns what is wrong with it, or NULL.
 */
static const char *
address_add(struct aliases_parser *p, const char *prefix, const char *raw)
{
	const char *why = NULL, *raw_why;
	char *plain = xstrdup(raw);
	struct addr a;

	unquote(plain);
	/* Where quotes are the address's own, only as written it is one. */
	if (addr_parse(&a, plain, false, &why) == -1 &&
	    addr_parse(&a, raw, false, &raw_why) == 0)
		why = NULL;
	free(plain);
	if (why != NULL)
		return why;
	/* </file>, <@x:|command>: its reader would see only that. */
	if (prefix[0] == '\0' && (strchr("/|", a.text[0]) != NULL ||
	    (p->is_forward && strncmp(a.text, "~/", 2) == 0)))
		return "is an address that begins like a file or a command: "
		    "write \\ before it";
	(void)buf_puts(&p->group, prefix);
	(void)buf_put(&p->group, a.text, strlen(a.text) + 1);
	return NULL;
}

/* What a word says behind its prefix, without quotes and blanks around it. */
static char *
behind(char *raw, const char *prefix)
{
	char *rest;
	size_t len;

	unquote(raw);
	rest = raw + strlen(prefix);
	rest += strspn(rest, " \t");
	for (len = strlen(rest); len > 0 && strchr(" \t", rest[len - 1]); len--)
		rest[len - 1] = '\0';
	unquote(rest);
	return rest;
}

static const char *
include_add(struct aliases_parser *p, char *raw)
{
	const char *path = behind(raw, ALIAS_INCLUDE);

	if (path[0] != '/')
		return "is not an absolute path";
	(void)buf_puts(&p->group, ALIAS_INCLUDE);
	(void)buf_put(&p->group, path, strlen(path) + 1);
	return NULL;
}

/* How many bytes of s are an enhanced status code and blanks, or 0. */
static size_t
dsn_span(const char *s)
{
	size_t n = 0;

	for (int part = 0; part < 3; part++) {
		size_t digits = strspn(s + n, "0123456789");

		if (digits == 0 || digits > 3)
			return 0;
		n += digits;
		if (part < 2 && s[n++] != '.')
			return 0;
	}
	return s[0] == '5' && s[1] == '.' && strchr(" \t", s[n]) != NULL ? n :
									   0;
}

/* error:550 5.1.1 text, of which either number may be missing. */
static const char *
rejection_add(struct aliases_parser *p, char *raw)
{
	const char *text = behind(raw, ALIAS_REJECT);
	size_t dsn;

	if (strspn(text, "0123456789") == 3 && strchr(" \t", text[3]) != NULL) {
		if (text[0] != '5')
			return "has a code that is none of a failure: write 550";
		text += 3;
		text += strspn(text, " \t");
	}
	dsn = dsn_span(text);
	if (text[dsn] == '\0')
		return "has no text for the sender";
	(void)buf_printf(&p->group, ALIAS_REJECT "%s%s",
	    dsn > 0 ? "" : "5.1.1 ", text);
	(void)buf_putc(&p->group, '\0');
	return NULL;
}

/* A file or a command: "|program -x" and |"program -x" are the same. */
static const char *
program_add(struct aliases_parser *p, int kind, char *raw)
{
	struct mailbox ignored;
	const char *why = NULL;
	bool inner = kind == COMMAND && raw[0] != '"' && raw[1] == '"';

	p->command = kind == COMMAND && raw[0] != '"' && !inner;
	unquote(inner ? raw + 1 : raw);
	for (char *tab = raw; (tab = strchr(tab, '\t')) != NULL;)
		*tab = ' '; /* the spool has none in its fields */
	if (mailbox_parse(&ignored, raw, &why) == -1)
		return why;
	(void)buf_put(&p->group, raw, strlen(raw) + 1);
	return NULL;
}

/* Returns what is wrong with a destination of this kind, or NULL. */
static const char *
kind_add(struct aliases_parser *p, int kind, char *raw)
{
	if (p->command)
		return "follows a command: write that in quotes";
	if (kind == WORD && p->is_forward &&
	    strncmp(raw + (raw[0] == '"'), "~/", 2) == 0)
		return program_add(p, PATHNAME, raw);
	if (kind == WORD)
		return address_add(p, "", raw);
	if (kind == LOCAL)
		return address_add(p, "\\", raw);
	if (kind == INCLUDE && !p->is_forward)
		return include_add(p, raw);
	if (kind == REJECTION && !p->is_list)
		return rejection_add(p, raw);
	if (kind == INCLUDE || kind == REJECTION ||
	    (p->is_list && !p->is_forward))
		return "is not allowed in a list";
	return program_add(p, kind, raw);
}

static void
fault_clear(struct aliases_parser *p)
{
	free(p->fault);
	p->fault = NULL;
	p->command = false;
}

/* What is wrong counts when the group ends: it may be somebody's name. */
static void
destination_add(struct aliases_parser *p, int kind, char *raw)
{
	char *written = xstrdup(raw);
	const char *why = kind_add(p, kind, raw);

	if (why != NULL && p->fault == NULL)
		p->fault = fault_text(p, written, why);
	free(written);
	free(raw);
}

/* The words before were the name of who has the address. */
static void
phrase_is(struct aliases_parser *p, char *raw)
{
	buf_reset(&p->group);
	fault_clear(p);
	destination_add(p, WORD, raw);
}

static int
group_close(struct aliases_parser *p)
{
	if (p->fault != NULL) {
		complain_about(p, p->fault);
		p->fault = NULL;
		return -1;
	}
	(void)buf_put(&p->targets, buf_str(&p->group), p->group.len);
	buf_reset(&p->group);
	fault_clear(p);
	return 0;
}

static void
entry_clear(struct aliases_parser *p)
{
	buf_reset(&p->targets);
	buf_reset(&p->group);
	fault_clear(p);
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

/* The alias of this name, made where there is none; name is taken over. */
static struct alias *
alias_find(struct aliases *a, char *name, unsigned line)
{
	struct alias *fresh = xcalloc(1, sizeof(*fresh)), **alias;

	fresh->name = name;
	fresh->line = line;
	alias = tsearch(fresh, &a->tree, by_name);
	if (alias == NULL)
		die(EX_OSERR, "out of memory");
	if (*alias != fresh) {
		alias_free(fresh);
		return *alias;
	}
	fresh->number = a->count;
	if ((a->count & (a->count + 1)) == 0)
		a->list = xreallocarray(
		    a->list, 2 * a->count + 1, sizeof(struct alias *));
	return a->list[a->count++] = fresh;
}

/* An entry is whole: its targets go to its key, new or known. */
static void
entry_add(struct aliases_parser *p, char *raw)
{
	struct alias *alias;

	if (p->targets.len == 0) {
		p->complaint = NULL;
		aliases_yyerror(p, NULL, NULL);
		free(raw);
		return;
	}
	unquote(raw);
	alias = alias_find(p->table, raw, p->token_line);
	(void)buf_put(&alias->targets, p->targets.data, p->targets.len);
	entry_clear(p);
}

/* A line of a list is whole: what came before it stays. */
static void
list_line_close(struct aliases_parser *p)
{
	(void)buf_put(p->list, buf_str(&p->targets), p->targets.len);
	entry_clear(p);
}

/* ---- What aliases.h promises ---- */

static void
parse(struct aliases_parser *p, const char *text, size_t len)
{
	size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	yyscan_t scanner;

	if (len > bom && text[len - 1] == '\r')
		len--; /* the last line's newline was cut off */
	p->line = p->token_line = 1;
	if (aliases_yylex_init_extra(p, &scanner) != 0)
		die(EX_OSERR, "out of memory");
	aliases_yy_scan_bytes(text + bom, (int)(len - bom), scanner);
	if (aliases_yyparse(p, scanner) != 0)
		complain_about(
		    p, fault_text(p, NULL, "nothing after this was read"));
	aliases_yylex_destroy(scanner);
	fault_clear(p);
	buf_free(&p->targets);
	buf_free(&p->group);
}

void
aliases_parse(struct aliases *a, const char *file, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg)
{
	struct aliases_parser p = {.table = a, .file = file, .report = report,
	    .arg = arg, .start = TABLE};

	*a = (struct aliases){.report = report, .arg = arg, .owner = getuid()};
	parse(&p, text, len);
	a->errors = p.errors;
}

int
aliases_load(struct aliases *a, const char *path,
    void (*report)(void *arg, const char *line), void *arg)
{
	struct aliases_parser p = {.report = report, .arg = arg};
	struct stat st;
	char *text;
	size_t len;
	int error = EPERM;

	*a = (struct aliases){0};
	if (read_file(path, ALIASES_FILE_MAX, &text, &len, &st) == -1) {
		if ((error = errno) == ENOENT)
			return 0;
		complain_about(&p,
		    xasprintf("%s: cannot read: %s", path, strerror(error)));
	} else if ((st.st_mode & S_IWOTH) != 0) {
		/* Who may write it reads root's mail. */
		complain_about(&p, xasprintf("%s: can be changed by everybody: "
		    "chmod o-w it", path));
		free(text);
	} else {
		aliases_parse(a, path, text, len, report, arg);
		a->owner = st.st_uid;
		free(text);
		return 0;
	}
	errno = error;
	return -1;
}

/* What is wrong with a file that was to be included, or NULL: it is read. */
static const char *
list_read(const struct aliases *a, const char *path, char **text, size_t *len)
{
	struct stat st;
	int fd;

	fd = open(path,
	    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return errno == ELOOP ? "is a symbolic link" : strerror(errno);
	if (read_file_fd(fd, INCLUDE_FILE_MAX, text, len, &st) == -1)
		return errno == EINVAL ? "is not a regular file" :
		       errno == EFBIG  ? "is too large" :
					 strerror(errno);
	if ((st.st_uid == 0 || st.st_uid == a->owner) &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0 && st.st_nlink == 1)
		return NULL;
	/* Or somebody could have a name's mail, and send it to thousands. */
	free(*text);
	/* Of root's auth.conf, say, whose lines we may read and would show. */
	if (st.st_nlink != 1)
		return "has a second name";
	return (st.st_mode & (S_IWGRP | S_IWOTH)) != 0 ?
		   "can be changed by others: chmod go-w it" :
		   "belongs neither to root nor to the alias file's owner";
}

size_t
aliases_include(const struct aliases *a, const char *path, struct buf *targets)
{
	struct aliases_parser p = {.list = targets, .file = path,
	    .report = a->report, .arg = a->arg, .start = LIST};
	const char *why;
	char *text;
	size_t len;

	if ((why = list_read(a, path, &text, &len)) != NULL) {
		complain_about(&p, xasprintf("%s: %s", path, why));
	} else {
		parse(&p, text, len);
		free(text);
	}
	return p.errors;
}

size_t
aliases_forward(const char *file, const char *text, size_t len,
    struct buf *targets, void (*report)(void *arg, const char *line), void *arg)
{
	struct aliases_parser p = {.list = targets, .file = file,
	    .report = report, .arg = arg, .start = FORWARD};

	parse(&p, text, len);
	return p.errors;
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
	while (a->tree != NULL)
		tdelete(*(struct alias **)a->tree, &a->tree, by_name);
	for (size_t i = 0; i < a->count; i++)
		alias_free(a->list[i]);
	free(a->list);
	*a = (struct aliases){0};
}
