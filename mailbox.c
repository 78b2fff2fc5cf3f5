/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mailbox.c - where mail may be put: MAILBOX, and what a list names.
 *
 * Runs in:   dma, where it checks configuration and aliases; dma-local.
 * Trusts:    nothing: text from files that users write.
 * Promises:  pure; no shell ever sees a command.
 */
#include "mailbox.h"

#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "util.h"

/* What a shell reads more into than its letter, outside of quotes. */
static const char shell_signs[] = "|&;<>()$`*?";

/* One word being read. */
struct word {
	const char *from;
	char *to;
	const char *fault;
};

static void
take_single(struct word *w)
{
	while (*w->from != '\0' && *w->from != '\'')
		*w->to++ = *w->from++;
	if (*w->from == '\0')
		w->fault = "has a quote that is not closed";
	else
		w->from++;
}

static void
take_double(struct word *w)
{
	for (; *w->from != '\0' && *w->from != '"'; w->from++) {
		if (*w->from == '$' || *w->from == '`')
			w->fault = "is for a shell, and there is none: $ and ` "
				   "only in single quotes";
		if (*w->from == '\\' && w->from[1] != '\0' &&
		    strchr("\\\"$`", w->from[1]) != NULL)
			w->from++;
		*w->to++ = *w->from;
	}
	if (*w->from == '\0')
		w->fault = "has a quote that is not closed";
	else
		w->from++;
}

static void
take_word(struct word *w)
{
	while (
	    *w->from != '\0' && !ascii_isblank(*w->from) && w->fault == NULL) {
		char c = *w->from++;

		if (c == '\'') {
			take_single(w);
		} else if (c == '"') {
			take_double(w);
		} else if (c == '\\' && *w->from != '\0') {
			*w->to++ = *w->from++;
		} else {
			if (strchr(shell_signs, c) != NULL)
				w->fault = "is for a shell, and there is none: "
					   "such signs only in quotes";
			*w->to++ = c;
		}
	}
	*w->to++ = '\0';
}

static const char *
text_fault(const char *text)
{
	if (strlen(text) > TARGET_MAX)
		return "is too long";
	for (; *text != '\0'; text++)
		if (ascii_iscntrl((unsigned char)*text) && *text != '\t')
			return "has a control character in it";
	return NULL;
}

char **
mailbox_argv(const char *command, const char **why)
{
	const size_t max = COMMAND_WORDS_MAX + 1;
	char **argv;
	struct word w = {.from = command, .fault = text_fault(command)};
	size_t n = 0;

	/* Words are never longer, with their NULs, than what they stand in. */
	argv = xcalloc(1, max * sizeof(*argv) + strlen(command) + 2);
	w.to = (char *)(argv + max);
	while (w.fault == NULL) {
		w.from += strspn(w.from, " \t");
		if (*w.from == '\0')
			break;
		if (n == COMMAND_WORDS_MAX) {
			w.fault = "has too many words";
			break;
		}
		argv[n++] = w.to;
		take_word(&w);
	}
	if (w.fault == NULL && (n == 0 || argv[0][0] != '/'))
		w.fault = "is no command: it must begin with the whole path of "
			  "a program, /usr/bin/...";
	if (w.fault == NULL)
		return argv;
	*why = w.fault;
	free(argv);
	return NULL;
}

static int
parse_command(struct mailbox *m, const char *command, const char **why)
{
	char **argv = mailbox_argv(command, why);

	if (argv == NULL)
		return -1;
	free(argv);
	*m = (struct mailbox){MAILBOX_COMMAND, false, command};
	return 0;
}

static int
parse_path(struct mailbox *m, const char *value)
{
	size_t len = strlen(value);

	m->in_home = value[0] == '~';
	m->kind = value[len - 1] == '/' ? MAILBOX_MAILDIR : MAILBOX_FILE;
	m->text = m->in_home ? value + 2 : value;
	return m->text[strspn(m->text, "/")] != '\0' ? 0 : -1;
}

int
mailbox_parse(struct mailbox *m, const char *value, const char **why)
{
	*m = (struct mailbox){.text = ""};
	if (value == NULL)
		return 0;
	if ((*why = text_fault(value)) != NULL)
		return -1;
	if (value[0] == '|')
		return parse_command(m, value + 1, why);
	if (strncmp(value, "lmtp:/", 6) == 0) {
		m->kind = MAILBOX_LMTP;
		m->text = value + 5;
		return 0;
	}
	*why = "must be ~/file, ~/Maildir/, lmtp:/path, lmtp://host or "
	       "|/path/program";
	if (value[0] != '/' && strncmp(value, "~/", 2) != 0)
		return -1;
	return parse_path(m, value);
}
