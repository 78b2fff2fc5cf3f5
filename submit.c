/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.c - a message from stdin into the spool, or one line that says why not.
 *
 * Runs in:   dma, setgid, with the submitter's uid.
 * Distrusts: argv, environment, stdin.
 * Promises:  exit status 0 only after spool_commit(): the message is on
 *            stable storage for all its recipients; otherwise nothing is
 *            queued for any.
 */
#include "submit.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "aliases.h"
#include "expand.h"
#include "header.h"
#include "instance.h"
#include "log.h"
#include "mail.h"
#include "queue.h"
#include "util.h"

#define HOPS_MAX 100 /* RFC 5321, 6.3: Received fields of a message */

/* One submission on its way. */
struct submission {
	struct instance *in;
	const struct submit_options *options;
	struct envelope env;
	struct aliases aliases;
	struct recipients recipients;
	struct mail_source source;
	struct mail_header header;
	char login[USERNAME_MAX + 16];
	char full_name[FULLNAME_MAX + 1];
	const char *why; /* of a callback that stopped a list */
	int status;
};

/* One line for a person and one for the log; the exit status. */
static int refuse(struct submission *s, int status, const char *fmt, ...)
    PRINTFLIKE(3, 4);

static int
refuse(struct submission *s, int status, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	complain("%s", text);
	log_event(LOG_SUBMIT, LOG_ERR, "uid=%lu: not accepted: %s",
	    (unsigned long)s->in->caller, text);
	s->status = status;
	return -1;
}

/* ---- Who submits ---- */

/* The account that a name from the environment means, if it is the caller's. */
static const struct passwd *
own_account(const struct instance *in, const char *name)
{
	const struct passwd *pw = name == NULL ? NULL : getpwnam(name);

	return pw != NULL && pw->pw_uid == in->caller ? pw : NULL;
}

/* GECOS: up to the first comma, '&' being the capitalized login name. */
static void
copy_full_name(char *dst, size_t size, const struct passwd *pw)
{
	size_t n = 0;

	for (const char *p = pw->pw_gecos; *p != '\0' && *p != ','; p++) {
		const char *from = *p == '&' ? pw->pw_name : p;
		size_t len = *p == '&' ? strlen(from) : 1;

		if (n + len + 1 > size)
			break;
		memcpy(dst + n, from, len);
		if (*p == '&' && dst[n] >= 'a' && dst[n] <= 'z')
			dst[n] = (char)(dst[n] - 'a' + 'A');
		n += len;
	}
	dst[n] = '\0';
}

static void
find_submitter(struct submission *s)
{
	const struct instance *in = s->in;
	const struct passwd *pw = own_account(in, in->env.logname);

	if (pw == NULL)
		pw = own_account(in, in->env.user);
	if (pw == NULL)
		pw = getpwuid(in->caller);
	if (pw == NULL) {
		(void)snprintf(s->login, sizeof(s->login), "uid=%lu",
		    (unsigned long)in->caller);
		return;
	}
	compat_strlcpy(s->login, pw->pw_name, sizeof(s->login));
	copy_full_name(s->full_name, sizeof(s->full_name), pw);
}

/*
 * The reverse-path: -f, else EMAIL, else the account; a bare one gets
 * MAILNAME; MASQUERADE overrides its parts (dma 0.14), never the null one.
 */
static int
find_sender(struct submission *s)
{
	const struct conf *c = s->in->conf;
	struct addr *a = &s->env.sender;
	char local[ADDR_MAX + 1];
	const char *why = NULL, *given = s->options->sender;

	if (given != NULL) {
		if (addr_parse(a, given, true, &why) != 0)
			return refuse(
			    s, EX_DATAERR, "sender \"%s\" %s", given, why);
		if (addr_is_null(a))
			return 0;
	} else if (s->in->env.email == NULL ||
		   addr_parse(a, s->in->env.email, false, &why) != 0) {
		if (addr_make(a, s->login, c->mailname, &why) != 0)
			return refuse(s, EX_DATAERR,
			    "login name \"%s\" %s; use -f", s->login, why);
	}
	if (addr_qualify(a, c->mailname, &why) != 0)
		return refuse(s, EX_DATAERR, "sender \"%s\" %s", a->text, why);
	if (c->masquerade_user == NULL && c->masquerade_host == NULL)
		return 0;
	compat_strlcpy(local, a->text, sizeof(local));
	local[a->at] = '\0';
	if (addr_make(a, c->masquerade_user ? c->masquerade_user : local,
		c->masquerade_host ? c->masquerade_host : addr_domain(a),
		&why) != 0)
		return refuse(
		    s, EX_CONFIG, "MASQUERADE makes a sender that %s", why);
	return 0;
}

/* ---- To whom ---- */

static void
report_alias(void *arg, const char *line)
{
	const struct submission *s = arg;

	log_event(LOG_SUBMIT, LOG_WARNING, "%s", line);
	(void)s;
}

/* A broken alias file must not stop mail: what can be read is used. */
static void
load_aliases(struct submission *s)
{
	const char *path = s->in->conf->aliases;

	if (aliases_load(&s->aliases, path, report_alias, s) != 0)
		log_event(LOG_SUBMIT, LOG_ERR, "%s: cannot read: %s", path,
		    strerror(errno));
}

static int
add_recipient(void *arg, const struct addr *a)
{
	struct submission *s = arg;

	return expand_add(&s->recipients, s->in->conf, &s->aliases, a,
	    s->options->notify, NULL, &s->why);
}

static int
add_listed(void *arg, const struct addr *a, size_t start, size_t end)
{
	(void)start;
	(void)end;
	return add_recipient(arg, a);
}

static int
add_arguments(struct submission *s)
{
	const struct submit_options *o = s->options;

	for (size_t i = 0; i < o->nrecipients; i++) {
		const char *text = o->recipients[i], *why = NULL;
		size_t before = s->recipients.count;

		s->why = NULL;
		if (addr_parse_list(text, strlen(text), add_listed, s, &why) !=
		    0)
			return refuse(s, EX_DATAERR, "recipient \"%s\" %s",
			    text, why != NULL ? why : s->why);
		if (s->recipients.count == before && text[0] == '\0')
			return refuse(s, EX_DATAERR, "recipient \"\" is empty");
	}
	return 0;
}

static int
add_header_recipients(struct submission *s)
{
	char why[256] = "";

	s->why = NULL;
	if (s->options->from_header &&
	    mail_header_recipients(
		&s->header, add_recipient, s, why, sizeof(why)) != 0)
		return refuse(
		    s, EX_DATAERR, "%s", s->why != NULL ? s->why : why);
	if (s->recipients.count > 0)
		return 0;
	return refuse(s, EX_USAGE,
	    s->options->from_header
		? "no recipients: neither given nor in To, Cc or Bcc"
		: "no recipients given; use -t to take them from the header");
}

/* ---- The message ---- */

static int
reading_failed(struct submission *s)
{
	if (errno == EFBIG)
		return refuse(s, EX_UNAVAILABLE,
		    "message is larger than MAXSIZE (%lld bytes)",
		    (long long)s->in->conf->maxsize);
	if (errno == EMSGSIZE)
		return refuse(s, EX_DATAERR,
		    "message header is larger than %d bytes", HEADER_MAX);
	return refuse(s,
	    errno == EBADF || errno == EISDIR ? EX_NOINPUT : EX_IOERR,
	    "cannot read the message: %s", strerror(errno));
}

static int
read_header(struct submission *s)
{
	struct header_field *fields;
	size_t n, received = 0;

	s->source.fd = STDIN_FILENO;
	s->source.maxsize = s->in->conf->maxsize;
	s->source.dot_ends =
	    !s->options->ignore_dots && isatty(STDIN_FILENO) == 1;
	if (mail_read_header(&s->source, &s->header) != 0)
		return reading_failed(s);
	n = header_scan(buf_str(&s->header.text), s->header.text.len, &fields);
	for (size_t i = 0; i < n; i++)
		if (fields[i].name == HEADER_RECEIVED)
			received++;
	free(fields);
	if (received > HOPS_MAX)
		return refuse(s, EX_DATAERR,
		    "mail loop: the message has %zu Received fields", received);
	return 0;
}

static int
append_header(struct submission *s, struct spool_draft *d)
{
	struct mail_facts facts = {.conf = s->in->conf,
	    .sender = &s->env.sender,
	    .full_name = s->options->full_name != NULL ? s->options->full_name
						       : s->full_name,
	    .login = s->login,
	    .uid = s->in->caller,
	    .id = s->env.id,
	    .now = s->env.arrival};
	struct buf out = {.max = 2 * HEADER_MAX};
	int result = -1;

	if (mail_repair_header(&s->header, &facts, &out) != 0)
		(void)refuse(s, EX_DATAERR, "message header is too large");
	else if (spool_append(d, out.data, out.len) != 0)
		(void)refuse(s, EX_IOERR, "cannot write to the spool: %s",
		    strerror(errno));
	else
		result = 0;
	buf_free(&out);
	return result;
}

static int
append_body(struct submission *s, struct spool_draft *d)
{
	bool reading = false;

	if (mail_copy_body(&s->source, d, &reading) == 0)
		return 0;
	if (reading)
		return reading_failed(s);
	return refuse(
	    s, EX_IOERR, "cannot write to the spool: %s", strerror(errno));
}

static int
check_room(struct submission *s)
{
	const struct instance *in = s->in;

	if (in->caller == 0 || spool_has_room(&in->spool, in->conf->minfree,
				   (off_t)s->header.text.len))
		return 0;
	return refuse(s, EX_UNAVAILABLE,
	    "spool %s is below its reserve of %u %% (MINFREE)",
	    in->conf->spooldir, in->conf->minfree);
}

static int
creating_failed(struct submission *s)
{
	if (errno == EINVAL)
		return refuse(
		    s, EX_DATAERR, "the envelope holds what it may not");
	if (errno == EMSGSIZE)
		return refuse(s, EX_DATAERR, "the envelope is too large");
	return refuse(s, EX_CANTCREAT, "cannot create in spool %s: %s",
	    s->in->conf->spooldir, strerror(errno));
}

static int
store(struct submission *s)
{
	struct spool *spool = &s->in->spool;
	struct spool_draft d;

	s->env.arrival = time(NULL);
	s->env.uid = s->in->caller;
	s->env.ret = s->options->ret;
	if (s->options->envid != NULL)
		s->env.envid = xstrdup(s->options->envid);
	s->env.recipients = s->recipients.list;
	s->env.nrecipients = s->recipients.count;
	if (spool_create(spool, &s->env, &d) != 0)
		return creating_failed(s);
	if (append_header(s, &d) != 0 || append_body(s, &d) != 0) {
		spool_abandon(spool, &d);
		return -1;
	}
	if (spool_commit(spool, &d) != 0)
		return refuse(s, EX_IOERR, "cannot store the message in %s: %s",
		    s->in->conf->spooldir, strerror(errno));
	return 0;
}

/* In a process of its own: how that ends says nothing of the submission. */
static void
try_at_once(const struct submission *s)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(queue_flush(s->in, s->env.id, s->options->verbose));
	while (pid > 0 && waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		continue;
}

/* From here on nothing may fail the caller: the message is ours. */
static void
deliver(struct submission *s)
{
	struct instance *in = s->in;
	enum delivery_mode mode = s->options->mode;
	struct envelope state;
	uid_t owner;

	log_event(LOG_SUBMIT, LOG_INFO, "%s: uid=%lu from=<%s>", s->env.id,
	    (unsigned long)in->caller, s->env.sender.text);
	if (in->conf->defer || mode == DELIVER_QUEUE)
		return;
	if (mode == DELIVER_FOREGROUND) {
		try_at_once(s);
		if (spool_peek(&in->spool, s->env.id, &state, &owner) != 0)
			return;
	}
	queue_wake(in, s->env.id);
}

static int
take_message(struct submission *s)
{
	find_submitter(s);
	if (find_sender(s) != 0)
		return -1;
	load_aliases(s);
	if (add_arguments(s) != 0)
		return -1;
	if (s->recipients.count == 0 && !s->options->from_header)
		return add_header_recipients(s); /* says what is missing */
	if (read_header(s) != 0 || add_header_recipients(s) != 0 ||
	    check_room(s) != 0)
		return -1;
	return store(s);
}

int
submit_message(struct instance *in, const struct submit_options *o)
{
	struct submission s = {.in = in, .options = o, .status = EX_OK};

	if (take_message(&s) == 0)
		deliver(&s);
	free(s.env.envid);
	mail_source_free(&s.source);
	mail_header_free(&s.header);
	recipients_free(&s.recipients);
	aliases_free(&s.aliases);
	return s.status;
}
