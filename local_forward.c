/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * local_forward.c - where a user wants his mail: ~/.forward and MAILBOX; and
 * what an alias names.
 *
 * Runs in:   dma-local, as the recipient or ALIASUSER.
 * Trusts:    the user's own files, root's configuration. Distrusts: its job,
 *            which may choose no command that is not in one of those.
 * Promises:  a ~/.forward that cannot be used, or whose home is missing,
 *            defers; it is never taken for none.
 */
#include "local_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr.h"
#include "util.h"

/* ---- Who he is ---- */

/* An account that nobody logs in to need not have the home it names. */
static bool
is_homeless(const struct passwd *pw)
{
	const char *shell = strrchr(pw->pw_shell, '/');

	return strcmp(pw->pw_dir, "/nonexistent") == 0 ||
	       (shell != NULL && (strcmp(shell, "/nologin") == 0 ||
				     strcmp(shell, "/false") == 0));
}

void
forward_prepare(struct local *l)
{
	const struct passwd *pw;
	struct conf_error error;

	/* As he may see it: without, our own names are fewer. */
	if (l->role == LOCAL_USER)
		l->conf = conf_load_public(DMA_CONFDIR "/dma.conf", &error);
	if (l->role == LOCAL_ALIAS || l->role == LOCAL_ROOT)
		return;
	pw = getpwnam(l->user);
	if (pw == NULL || pw->pw_uid != getuid() || pw->pw_dir[0] != '/')
		return;
	l->home = xstrdup(pw->pw_dir);
	l->homeless = is_homeless(pw);
}

/* ---- ~/.forward ---- */

/* The first complaint about the file. */
static void
note(void *arg, const char *line)
{
	char **first = arg;

	if (*first == NULL)
		*first = xstrdup(line);
}

/* What is wrong with an open .forward, or NULL: it is read. */
static const char *
read_list(int fd, char **text, size_t *len)
{
	struct stat st;

	if (read_file_fd(fd, FORWARD_FILE_MAX, text, len, &st) < 0)
		return errno == EINVAL  ? "is not a regular file"
		       : errno == EFBIG ? "is too large"
					: strerror(errno);
	if ((st.st_uid == 0 || st.st_uid == getuid()) &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return NULL;
	free(*text);
	return (st.st_mode & (S_IWGRP | S_IWOTH)) != 0
		   ? "can be changed by others: chmod go-w it"
		   : "belongs neither to its user nor to root";
}

static int
defer_list(const struct delivery *d, const char *path, const char *why)
{
	outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5", "%s: %s", path, why);
	return -1;
}

/* 1: read; 0: there is none of that name; -1: deferred. */
static int
read_targets(const struct delivery *d, const char *path, struct buf *targets)
{
	const char *why;
	char *text, *complaint = NULL;
	size_t len;
	int fd = open(
	    path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 &&
	    (errno == ENOENT || (errno == ENOTDIR && d->local->homeless)))
		return 0;
	if (fd < 0)
		return defer_list(d, path,
		    errno == ELOOP ? "is a symbolic link" : strerror(errno));
	if ((why = read_list(fd, &text, &len)) != NULL)
		return defer_list(d, path, why);
	aliases_forward(path, text, len, targets, note, &complaint);
	free(text);
	if (complaint == NULL)
		return 1;
	outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5", "%s", complaint);
	free(complaint);
	return -1;
}

/* 0: there is a home, or need be none; -1: deferred. */
static int
check_home(const struct delivery *d)
{
	const struct local *l = d->local;
	struct stat st;

	if (l->home == NULL)
		return local_defer(
		    d->outcome, "4.3.0", "nobody says where the home is", 0);
	if (stat(l->home, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR; /* "/dev/null" */
	}
	if (l->homeless && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	outcome_set(d->outcome, OUTCOME_DEFER, "4.2.0",
	    "the home directory %s is not there", l->home);
	return -1;
}

/* His lists' targets; none: there is nothing in one, or no list. */
static int
find_targets(const struct delivery *d, struct buf *targets)
{
	const char *const extensions[] = {d->extension, ""};
	int found = 0;

	if (d->local->role != LOCAL_USER)
		return 0;
	if (check_home(d) < 0)
		return -1;
	for (size_t i = d->extension[0] != '\0' ? 0 : 1; i < 2 && found == 0;
	     i++) {
		char *path = xasprintf("%s/.forward%s%s", d->local->home,
		    i == 0 ? "+" : "", extensions[i]);

		found = read_targets(d, path, targets);
		free(path);
	}
	return found < 0 ? -1 : 0;
}

/* ---- Targets ---- */

/* A walk through the strings of a list. */
static const char *
next_target(const struct buf *targets, const char *last)
{
	const char *next =
	    last == NULL ? buf_str(targets) : last + strlen(last) + 1;

	return next < buf_str(targets) + targets->len ? next : NULL;
}

static bool
is_file(const char *target)
{
	return strchr("/|", target[0]) != NULL || strncmp(target, "~/", 2) == 0;
}

/* Himself, under whatever name of this machine. */
static bool
is_self(const struct delivery *d, const char *target)
{
	const struct local *l = d->local;
	char name[ADDR_MAX + 1];
	const char *why, *domain;
	struct addr a;

	if (target[0] == '\\')
		target++;
	if (addr_parse(&a, target, false, &why) < 0 ||
	    addr_local(&a, name, sizeof(name)) < 0 ||
	    ascii_strcasecmp(name, l->user) != 0)
		return false;
	domain = addr_domain(&a);
	return domain == NULL || ascii_strcasecmp(domain, l->host) == 0 ||
	       ascii_strcasecmp(domain, "localhost") == 0 ||
	       (l->conf != NULL && conf_domain_is_local(l->conf, domain));
}

/* The message went through here before: RFC 5321, 6.3. */
static bool
is_loop(const struct delivery *d)
{
	static const char name[] = "Delivered-To:";
	const struct job *j = d->job;
	size_t len = j->length < HEADER_MAX ? (size_t)j->length : HEADER_MAX;
	char *text = xmalloc(len + 1), *rest = text, *line;
	ssize_t n = pread_full(j->fd, text, len, (off_t)j->offset);
	bool found = false;

	text[n > 0 ? n : 0] = '\0';
	while (
	    !found && (line = strsep(&rest, "\n")) != NULL && *line != '\0') {
		if (ascii_strncasecmp(line, name, sizeof(name) - 1) != 0)
			continue;
		line = line + sizeof(name) - 1;
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r")] = '\0';
		found = ascii_strcasecmp(line, d->address) == 0;
	}
	free(text);
	return found;
}

static void
fail_loop(const struct delivery *d)
{
	outcome_set(d->outcome, OUTCOME_FAIL, "5.4.6",
	    "mail loop: the message was delivered to %s before", d->address);
}

/* What text means; -1: deferred, since nothing was meant by it. */
static int
parse_target(const struct delivery *d, const char *text, struct mailbox *m)
{
	const char *why = "is not for dma-local";
	/* Who mails a user reads this, but not his ~/.forward. */
	bool is_private =
	    d->local->role == LOCAL_USER && text != d->local->mailbox;

	if (mailbox_parse(m, text, &why) == 0 && m->kind != MAILBOX_LMTP)
		return 0;
	if (is_private)
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5",
		    "a line of the .forward file %s", why);
	else
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5", "\"%.100s\" %s",
		    text != NULL ? text : "", why);
	return -1;
}

static void
deliver_to(const struct delivery *d, const struct mailbox *m)
{
	const struct local *l = d->local;
	bool own =
	    m->kind == MAILBOX_SPOOL || m->in_home || l->role == LOCAL_PRIVATE;
	char *path = m->kind == MAILBOX_SPOOL
			 ? xasprintf("%s/%s", DMA_MAILDIR, l->user)
		     : m->in_home ? xasprintf("%s/%s", l->home, m->text)
				  : xstrdup(m->text);

	if (m->kind == MAILBOX_COMMAND)
		command_deliver(d, m->text);
	else if (m->kind == MAILBOX_MAILDIR)
		maildir_deliver(d, path);
	else
		mbox_deliver(d, path,
		    m->kind == MAILBOX_SPOOL ? MBOX_LOCK_SPOOL
		    : own                    ? MBOX_LOCK_OURS
					     : MBOX_LOCK_IF_MAY);
	free(path);
}

/* ---- A job for a user ---- */

/* What is to be done, in the order of the list. */
struct plan {
	struct mailbox *boxes; /* commands, files, mailboxes */
	size_t nboxes;
	const char **addresses;
	size_t naddresses;
	bool self; /* his mailbox is among the boxes */
};

static int
add_box(const struct delivery *d, struct plan *p, const char *text)
{
	p->boxes = xreallocarray(p->boxes, p->nboxes + 1, sizeof(*p->boxes));
	return parse_target(d, text, &p->boxes[p->nboxes++]);
}

static int
add_self(const struct delivery *d, struct plan *p)
{
	if (p->self)
		return 0;
	p->self = true;
	if (add_box(d, p, d->local->mailbox) < 0)
		return -1;
	/* Where it would be made is not where it belongs. */
	return p->boxes[p->nboxes - 1].in_home && d->local->homeless &&
		       access(d->local->home, F_OK) < 0
		   ? local_defer(d->outcome, "4.2.0",
			 "the home directory is not there", errno)
		   : 0;
}

/* All of it, before any of it is done: -1: deferred. */
static int
make_plan(const struct delivery *d, struct plan *p, const struct buf *targets)
{
	for (const char *t = NULL; (t = next_target(targets, t)) != NULL;) {
		int result = 0;

		if (is_file(t)) {
			result = add_box(d, p, t);
		} else if (is_self(d, t)) {
			result = add_self(d, p);
		} else {
			p->addresses = xreallocarray(p->addresses,
			    p->naddresses + 1, sizeof(*p->addresses));
			p->addresses[p->naddresses++] = t + (t[0] == '\\');
		}
		if (result < 0)
			return -1;
	}
	return p->nboxes + p->naddresses > 0 ? 0 : add_self(d, p);
}

static bool
plan_may_loop(const struct plan *p)
{
	for (size_t i = 0; i < p->nboxes; i++)
		if (p->boxes[i].kind == MAILBOX_COMMAND)
			return true;
	return p->naddresses > 0;
}

/*
 * Commands, which are most likely to put it off, and would then get it again;
 * mailboxes; addresses, in one submission.  A failure is told at the end, but
 * keeps it from nobody else.
 */
static void
carry_out(const struct delivery *d, const struct plan *p)
{
	struct outcome failed = {0};

	for (int commands = 1; commands >= 0; commands--)
		for (size_t i = 0; i < p->nboxes; i++) {
			if ((p->boxes[i].kind == MAILBOX_COMMAND) != commands)
				continue;
			deliver_to(d, &p->boxes[i]);
			if (d->outcome->class == OUTCOME_DEFER)
				return;
			if (d->outcome->class == OUTCOME_FAIL)
				failed = *d->outcome;
		}
	if (p->naddresses > 0)
		command_forward(d, p->addresses, p->naddresses);
	if (failed.class == OUTCOME_FAIL && d->outcome->class == OUTCOME_SENT)
		*d->outcome = failed;
}

void
forward_deliver(const struct delivery *d)
{
	struct buf targets = {0};
	struct plan plan = {0};

	if (find_targets(d, &targets) == 0 &&
	    make_plan(d, &plan, &targets) == 0) {
		if (plan_may_loop(&plan) && is_loop(d))
			fail_loop(d);
		else
			carry_out(d, &plan);
	}
	free(plan.boxes);
	free(plan.addresses);
	buf_free(&targets);
}

/* ---- A job for an alias's target ---- */

/* Root's file, again: what it no longer has is not done. */
static int
load_table(const struct delivery *d)
{
	struct local *l = d->local;
	struct stat st;

	if (l->table_loaded)
		return 0;
	if (stat(l->aliases, &st) == 0 &&
	    (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5",
		    "%s can be changed by others: chmod go-w it", l->aliases);
		return -1;
	}
	if (aliases_load(&l->table, l->aliases, NULL, NULL) < 0) {
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5", "%s: %s",
		    l->aliases, strerror(errno));
		return -1;
	}
	l->table_loaded = true;
	return 0;
}

static bool
table_has(const struct aliases *table, const char *target)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct buf *targets = &table->list[i]->targets;

		for (const char *t = NULL;
		     (t = next_target(targets, t)) != NULL;)
			if (strcmp(t, target) == 0)
				return true;
	}
	return false;
}

void
forward_deliver_alias(const struct delivery *d)
{
	const char *target = d->to->target;
	struct mailbox m;

	if (target == NULL || !is_file(target)) {
		local_defer(d->outcome, "4.3.0", "no file and no command", 0);
		return;
	}
	if (load_table(d) < 0 || parse_target(d, target, &m) < 0)
		return;
	if (!table_has(&d->local->table, target))
		outcome_set(d->outcome, OUTCOME_DEFER, "4.3.5",
		    "the alias file no longer has \"%s\"", target);
	else if (m.kind == MAILBOX_COMMAND && is_loop(d))
		fail_loop(d);
	else
		deliver_to(d, &m);
}
