/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * verify.c - where mail would go (-bv).
 *
 * Runs in:   dma, setgid, with the caller's uid.
 * Distrusts: argv.
 * Promises:  the answer comes from the code that a submission and the runner
 *            use; nothing is sent, and no network is asked.
 */
#include "verify.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "expand.h"
#include "route.h"
#include "util.h"

struct verification {
	const struct instance *in;
	struct aliases aliases;
	int status;
};

static void
print_error(
    struct verification *v, const char *name, const char *dsn, const char *why)
{
	char clean[ADDR_INPUT_MAX];

	printf("%s: error %s %s\n",
	    printable(clean, sizeof(clean), name, strlen(name)), dsn, why);
	v->status = EX_NOUSER;
}

/* Errors of getpwnam(3) that say no more than its NULL. */
static bool
means_nobody(int error)
{
	return error == 0 || error == ENOENT || error == ESRCH;
}

/* As become.c looks for a mailbox's owner. */
const struct passwd *
verify_user(const struct addr *a)
{
	char name[ADDR_MAX + 1], lower[USERNAME_MAX + 1] = "";
	const struct passwd *pw;

	errno = 0;
	(void)addr_user(a, name, sizeof(name), NULL); /* it fits */
	if (name[0] == '\0' || name[0] == '.' || name[0] == '-' ||
	    strchr(name, '/') != NULL || strlen(name) > USERNAME_MAX)
		return NULL;
	for (size_t i = 0; name[i] != '\0'; i++)
		lower[i] = (char)ascii_lower((unsigned char)name[i]);
	if ((pw = getpwnam(name)) == NULL && means_nobody(errno))
		pw = getpwnam(lower);
	if (pw != NULL || means_nobody(errno))
		errno = 0;
	/* A source that fails before one that says no looks like no. */
	if (pw == NULL && errno == 0 && getpwnam(DMA_USER) == NULL)
		errno = EAGAIN;
	return pw;
}

static void
print_user(struct verification *v, const char *label, const struct addr *to)
{
	const struct instance *in = v->in;
	const struct passwd *pw = verify_user(to);

	/* It delivers to its own user alone. */
	if (pw != NULL && in->private_instance && pw->pw_uid != in->caller)
		pw = NULL;
	if (pw != NULL)
		printf("%s: local %s\n", label, pw->pw_name);
	else if (errno != 0)
		print_error(v, label, "4.3.0", "cannot look up users now");
	else
		print_error(v, label, "5.1.1", "unknown user");
}

/* In the order in which they are tried. */
static void
print_relays(const struct conf_relay *relay, size_t count, const char *label)
{
	const char *before = ": ";

	printf("%s", label);
	for (; count-- > 0; relay++) {
		bool v6 = relay->port != 0 && strchr(relay->host, ':') != NULL;

		printf("%s%s %s%s%s", before,
		    relay->protocol == PROTOCOL_LMTP ? "lmtp" : "smtp",
		    v6 ? "[" : "", relay->host, v6 ? "]" : "");
		if (relay->port != 0)
			printf(":%u", relay->port);
		before = ", ";
	}
	printf("\n");
}

static void
tell_end(void *arg, const struct addr *name, const struct addr *to)
{
	struct verification *v = arg;
	const struct conf *c = v->in->conf;
	char key[ROUTE_KEY_MAX + 1];

	if (addr_is_bare(to) && c->mailbox_lmtp != NULL) {
		print_relays(c->mailbox_lmtp, 1, name->text);
	} else if (addr_is_bare(to)) {
		print_user(v, name->text, to);
	} else if (!route_allowed(c, to)) {
		print_error(v, name->text, "5.7.1",
		    "LOCALONLY lets no mail go to another machine");
	} else if (c->nrelays > 0) {
		print_relays(c->relays, c->nrelays, name->text);
	} else {
		route_key(c, to, NULL, key);
		printf("%s: mx %s\n", name->text, strchr(key, ':') + 1);
	}
}

static void
tell_alias(void *arg, const struct addr *name, const char *targets, size_t len)
{
	const char *before = ": alias ";

	(void)arg;
	printf("%s", name->text);
	for (const char *p = targets; p < targets + len; p += strlen(p) + 1) {
		printf("%s%s", before, p);
		before = ", ";
	}
	printf("\n");
}

static void
tell_reject(void *arg, const struct addr *name, const char *text)
{
	char dsn[12] = "";
	size_t len = strcspn(text, " ");

	(void)snprintf(dsn, sizeof(dsn), "%.*s", (int)len, text);
	print_error(arg, name->text, dsn, text + len + (text[len] == ' '));
}

static void
tell_target(void *arg, const struct addr *name, const char *text)
{
	(void)arg;
	printf("%s: %s %s\n", name->text, text[0] == '/' ? "file" : "command",
	    text + (text[0] == '|'));
}

static int
verify(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct verification *v = arg;
	const struct expand_watcher w = {
	    tell_alias, tell_end, tell_reject, tell_target, v};
	const char *why = NULL;

	(void)start;
	(void)end;
	if (expand_watch(v->in->conf, &v->aliases, a, &w, &why) != 0)
		print_error(v, a->text, "5.1.3", why);
	return 0;
}

static void
report_line(void *arg, const char *line)
{
	(void)arg;
	complain("%s", line);
}

int
verify_addresses(const struct instance *in, const struct submit_options *o)
{
	struct verification v = {.in = in, .status = EX_OK};
	const char *why = NULL;

	if (o->from_header || o->nrecipients == 0)
		die(EX_USAGE, "-bv takes addresses as arguments%s",
		    o->from_header ? ", none from a header: leave -t out" : "");
	(void)aliases_load(&v.aliases, in->conf->aliases, report_line, NULL);
	for (size_t i = 0; i < o->nrecipients; i++) {
		const char *text = o->recipients[i];

		if (addr_parse_list(text, strlen(text), verify, &v, &why) != 0)
			print_error(&v, text, "5.1.3", why);
		else if (text[0] == '\0')
			print_error(&v, "\"\"", "5.1.3", "is empty");
	}
	aliases_free(&v.aliases);
	if (fflush(stdout) != 0)
		die(EX_IOERR, "cannot write: %s", strerror(errno));
	return v.status;
}
