/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mailbox.c - any value of MAILBOX, any command: it is one of the forms, or
 * one line says why it is none; a command's words are those that it has again
 * when they are quoted, and those that a shell would see.
 */
#include "fuzz.h"

#include <wordexp.h>

#include "buf.h"
#include "limits.h"
#include "mailbox.h"

/* Each word in quotes, as a shell would need it. */
static void
quote(struct buf *b, char *const *argv)
{
	for (; *argv != NULL; argv++) {
		(void)buf_puts(b, "'");
		for (const char *p = *argv; *p != '\0'; p++)
			if (*p == '\'')
				(void)buf_puts(b, "'\\''");
			else
				(void)buf_putc(b, *p);
		(void)buf_puts(b, "' ");
	}
}

static void
need_same(char *const *a, char *const *b, const char *words)
{
	for (; *a != NULL && same_text(*a, *b); a++)
		b++;
	need(*a == NULL && *b == NULL, words);
}

/* Nothing that a shell may make more of; and glibc's takes '' for a word. */
static void
ask_shell(char *const *argv, const char *command)
{
#ifdef __GLIBC__
	size_t len = strlen(command);
	wordexp_t shell;

	if (strpbrk(command, "~[{}#") != NULL || command[len - 1] == '\\' ||
	    strstr(command, "''") != NULL || strstr(command, "\"\"") != NULL)
		return;
	need(wordexp(command, &shell, WRDE_NOCMD) == 0, "no shell's words");
	need_same(argv, shell.we_wordv, "a shell sees other words");
	wordfree(&shell);
#else
	(void)argv;
	(void)command;
#endif
}

static void
check_command(const char *command)
{
	const char *why = NULL;
	struct buf b = {0};
	char **argv = mailbox_argv(command, &why), **again;
	size_t n = 0;

	need_reason(argv == NULL ? -1 : 0, why);
	if (argv == NULL) {
		need_printable(why, "why it is no command");
		return;
	}
	while (argv[n] != NULL)
		n++;
	need(n >= 1 && n <= COMMAND_WORDS_MAX && argv[0][0] == '/', "words");
	quote(&b, argv);
	if (b.len <= TARGET_MAX) {
		again = mailbox_argv(buf_str(&b), &why);
		need(again != NULL, "quoted it is none");
		need_same(argv, again, "quoted it has other words");
		free(again);
	}
	ask_shell(argv, command);
	buf_free(&b);
	free(argv);
}

static void
check_form(const char *value, const struct mailbox *m)
{
	size_t len = strlen(m->text);

	need(len > 0 && len <= strlen(value) &&
		 strcmp(m->text, value + strlen(value) - len) == 0,
	    "the end of the value");
	need(m->in_home == (value[0] == '~'), "whose home");
	switch (m->kind) {
	case MAILBOX_FILE:
	case MAILBOX_MAILDIR:
		need((m->text[len - 1] == '/') == (m->kind == MAILBOX_MAILDIR),
		    "a Maildir ends with /");
		need(m->in_home || m->text[0] == '/', "an absolute path");
		break;
	case MAILBOX_LMTP:
		need(m->text[0] == '/', "a host or a socket");
		break;
	case MAILBOX_COMMAND:
		need(value[0] == '|', "a command");
		break;
	default:
		need(false, "the mail directory, though something was said");
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *value = text_of(data, size);
	const char *why = NULL;
	struct mailbox m;
	int result = mailbox_parse(&m, value, &why);

	need_reason(result, why);
	if (result == 0)
		check_form(value, &m);
	else
		need_printable(why, "why it is none");
	if (value[0] == '|')
		check_command(value + 1);
	free(value);
	return 0;
}
