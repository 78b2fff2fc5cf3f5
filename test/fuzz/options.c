/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * options.c - any argv under any of our names: it ends in options, or in one
 * line and a status that mail() and others take for no success; which messages
 * are meant matches some or none.
 *
 * Words are parted by LF or NUL; the first is argv[0].
 */
#include "fuzz.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sysexits.h>

#include "compat.h"

/* die() leads back to us; options.c and its half are taken in whole. */
void fuzz_die(int status, const char *fmt, ...) PRINTFLIKE(2, 3) NORETURN;
#define die fuzz_die
#include "../../options.c"
#define take_sender take_sender_ctl
#include "../../options_ctl.c"
#undef die

#define WORDS_MAX 64

static jmp_buf died;

void
fuzz_die(int status, const char *fmt, ...)
{
	char text[8192];
	va_list ap;

	va_start(ap, fmt);
	need(vsnprintf(text, sizeof(text), fmt, ap) > 0, "a line");
	va_end(ap);
	need(status == EX_USAGE || status == EX_DATAERR, "status");
	longjmp(died, 1);
}

static void
check_selection(const struct selection *s)
{
	struct recipient to = {.status = STATUS_TODO};
	struct envelope e = {.recipients = &to, .nrecipients = 1};
	const char *why;

	need(addr_parse(&e.sender, "a@example.org", false, &why) == 0 &&
		 addr_parse(&to.addr, "b@example.org", false, &why) == 0,
	    "addresses");
	compat_strlcpy(e.id, "00000V80123456789ABC", sizeof(e.id));
	bool by_id = select_id(s, e.id), all = select_matches(s, &e, 1 << 30);
	need(by_id || !all, "the id alone rules it out");
	need(s->count > 0 || s->older > 0 || all, "no condition, and not all");
}

static void
check(const struct options *o, char **argv, size_t argc)
{
	need(o->submit.nrecipients <= argc &&
		 o->ctl.nids <= o->submit.nrecipients,
	    "operands");
	for (size_t i = 0; i < o->submit.nrecipients; i++)
		need(o->submit.recipients[i] != NULL, "an operand");
	for (size_t i = 0; i < o->ctl.nids; i++)
		need(ctl_id_valid(o->ctl.ids[i]), "an id");
	need(o->submit.envid == NULL || strlen(o->submit.envid) <= ENVID_MAX,
	    "ENVID");
	need(o->submit.full_name == NULL ||
		 strpbrk(o->submit.full_name, "\r\n") == NULL,
	    "full name");
	need(argv[0] == NULL || o->submit.notify <= 15, "NOTIFY");
	need(!o->is_ctl || o->action == ACTION_HELP ||
		 o->action == ACTION_VERSION || o->action == ACTION_RUN ||
		 o->ctl.op == CTL_LIST || o->ctl.all || o->ctl.nids > 0 ||
		 o->ctl.from_stdin || o->ctl.selection.count > 0 ||
		 o->ctl.selection.older > 0,
	    "all messages for want of a choice");
	check_selection(&o->flush);
	check_selection(&o->ctl.selection);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct options o;
	char *words = xmalloc(size + 1), *argv[WORDS_MAX + 1] = {NULL};
	size_t argc = 0;

	if (size > 0)
		memcpy(words, data, size);
	words[size] = '\0';
	for (size_t at = 0; at < size && argc < WORDS_MAX;) {
		argv[argc++] = words + at;
		at += strcspn(words + at, "\n");
		words[at++] = '\0';
	}
	if (setjmp(died) == 0) {
		options_parse(&o, (int)argc, argv);
		check(&o, argv, argc);
	}
	options_free(&o);
	free(words);
	return 0;
}
