/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * intake.c - one message on its way in, into the spool.
 *
 * Runs in:   dma, setgid, with the submitter's uid.
 * Distrusts: environment, account database, header and body.
 * Promises:  intake_store() gives 0 only after spool_commit(): the message is
 *            on stable storage for all its recipients; otherwise nothing is
 *            queued for any.
 */
#include "intake.h"

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

#include "header.h"
#include "log.h"
#include "queue.h"
#include "util.h"
#include "verify.h"

#define HOPS_MAX  100         /* RFC 5321, 6.3: Received fields of a message */
#define ROOM_STEP (64 * 1024) /* bytes, between two looks at what is free */

int
intake_refuse(
    struct intake *i, int status, const char *smtp, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(i->refusal.text, sizeof(i->refusal.text), fmt, ap);
	va_end(ap);
	i->refusal.status = status;
	i->refusal.smtp = smtp;
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
find_submitter(struct intake *i)
{
	const struct instance *in = i->in;
	const struct passwd *pw = own_account(in, in->env.logname);

	if (pw == NULL)
		pw = own_account(in, in->env.user);
	if (pw == NULL)
		pw = getpwuid(in->caller);
	if (pw == NULL) {
		(void)snprintf(i->login, sizeof(i->login), "uid=%lu",
		    (unsigned long)in->caller);
		return;
	}
	compat_strlcpy(i->login, pw->pw_name, sizeof(i->login));
	copy_full_name(i->full_name, sizeof(i->full_name), pw);
}

static void
report_line(void *arg, const char *line)
{
	(void)arg;
	log_event(LOG_SUBMIT, LOG_WARNING, "%s", line);
}

/* A broken alias file must not stop mail: what can be read is used. */
static void
load_aliases(struct intake *i)
{
	(void)aliases_load(
	    &i->aliases, i->in->conf->aliases, report_line, NULL);
}

void
intake_open(struct intake *i, struct instance *in)
{
	*i = (struct intake){.in = in};
	find_submitter(i);
	if (!in->confined)
		load_aliases(i);
}

void
intake_reset(struct intake *i)
{
	free(i->env.envid);
	i->env = (struct envelope){0};
	recipients_free(&i->recipients);
	mail_header_free(&i->header);
	mail_source_restart(&i->source);
}

void
intake_close(struct intake *i)
{
	intake_reset(i);
	mail_source_free(&i->source);
	aliases_free(&i->aliases);
	senders_free(&i->senders);
}

/* ---- From whom, to whom ---- */

/*
 * A bad line costs itself alone.  Without the file nothing is accepted, as
 * with any other wrong value of dma.conf: mail that kept its sender would be
 * refused by the relay later, for good, and only its sender, root or nagios,
 * would be told.
 */
static int
load_senders(struct intake *i)
{
	const struct conf *c = i->in->conf;

	if (i->senders.conf != NULL ||
	    senders_load(&i->senders, c, report_line, NULL) == 0)
		return 0;
	senders_free(&i->senders);
	return intake_refuse(i, EX_CONFIG, "451 4.3.5", "SENDERS: %s: %s",
	    c->senders,
	    errno == EINVAL   ? "is not a regular file"
	    : errno == EPERM  ? "can be changed by everybody: chmod o-w it"
	    : errno == EACCES ? "Permission denied: chgrp " DMA_GROUP
				" and chmod g+r it"
			      : strerror(errno));
}

/* MASQUERADE overrides the sender's parts (dma 0.14), never the null one. */
static int
masquerade(struct intake *i)
{
	const struct conf *c = i->in->conf;
	struct addr *a = &i->env.sender;
	char local[ADDR_MAX + 1];
	const char *why = NULL;

	if (c->masquerade_user == NULL && c->masquerade_host == NULL)
		return 0;
	compat_strlcpy(local, a->text, sizeof(local));
	local[a->at] = '\0';
	if (addr_make(a, c->masquerade_user ? c->masquerade_user : local,
		c->masquerade_host ? c->masquerade_host : addr_domain(a),
		&why) != 0)
		return intake_refuse(i, EX_CONFIG, "451 4.3.5",
		    "MASQUERADE makes a sender that %s", why);
	return 0;
}

/* What SENDERS has, MASQUERADE leaves alone. */
static int
rewrite_sender(struct intake *i)
{
	const struct addr before = i->env.sender, *stands;
	int result = 0;

	if (load_senders(i) != 0)
		return -1;
	if ((stands = senders_lookup(&i->senders, &before)) != NULL)
		i->env.sender = *stands;
	else
		result = masquerade(i);
	i->rewritten = !addr_equal(&before, &i->env.sender);
	return result;
}

/* What was given, else EMAIL, else the account; a bare one gets MAILNAME. */
int
intake_set_sender(struct intake *i, const char *given)
{
	const struct instance *in = i->in;
	struct addr *a = &i->env.sender;
	const char *why = NULL;

	i->rewritten = false;
	if (given != NULL) {
		if (addr_parse(a, given, true, &why) != 0)
			return intake_refuse(i, EX_DATAERR, "553 5.1.7",
			    "sender \"%.300s\" %s", given, why);
		if (addr_is_null(a))
			return 0;
	} else if (in->env.email == NULL ||
		   addr_parse(a, in->env.email, false, &why) != 0) {
		if (addr_make(a, i->login,
			in->confined ? NULL : in->conf->mailname, &why) != 0)
			return intake_refuse(i, EX_DATAERR, "553 5.1.7",
			    "login name \"%s\" %s; use -f", i->login, why);
	}
	if (in->confined)
		return 0;
	if (addr_qualify(a, in->conf->mailname, &why) != 0)
		return intake_refuse(i, EX_DATAERR, "553 5.1.7",
		    "sender \"%s\" %s", a->text, why);
	return rewrite_sender(i);
}

int
intake_add_recipient(
    struct intake *i, const struct addr *a, unsigned notify, const char *orcpt)
{
	const char *why = NULL;
	int result;

	errno = 0;
	result = i->in->confined ? expand_keep(&i->recipients, a, notify, &why)
				 : expand_add(&i->recipients, i->in->conf,
				       &i->aliases, a, notify, orcpt, &why);
	if (result == 0)
		return 0;
	if (errno == E2BIG)
		return intake_refuse(i, EX_DATAERR, "452 4.5.3",
		    "there are more than %d recipients", RECIPIENTS_MAX);
	if (errno == EPERM)
		return intake_refuse(i, EX_UNAVAILABLE, "550 5.7.1",
		    "recipient \"%s\" %s", a->text, why);
	return intake_refuse(
	    i, EX_DATAERR, "553 5.1.3", "recipient \"%s\" %s", a->text, why);
}

/*
 * True for a local user that is not there; no answer is not a no, and of whom
 * MAILBOX's server knows only that can tell.
 */
static bool
is_unknown_user(const struct conf *c, const struct recipient *r)
{
	return addr_is_bare(&r->addr) && r->target == NULL &&
	       c->mailbox_lmtp == NULL && verify_user(&r->addr) == NULL &&
	       errno == 0;
}

/* Why nobody would get what is meant for the recipients from one on, if so. */
static int
check_reached(struct intake *i, const struct addr *a, size_t from)
{
	const struct recipients *r = &i->recipients;
	size_t n = from;

	while (n < r->count && (r->list[n].reason != NULL ||
				   is_unknown_user(i->in->conf, &r->list[n])))
		n++;
	if (n < r->count || n == from)
		return 0;
	if (r->list[from].reason != NULL)
		return intake_refuse(
		    i, EX_NOUSER, "550", "%s", r->list[from].reason);
	return intake_refuse(i, EX_DATAERR, "550 5.1.1",
	    "recipient \"%s\" %s an unknown user", a->text,
	    r->count == from + 1 && addr_equal(a, &r->list[from].addr)
		? "is"
		: "leads to");
}

int
intake_add_known(
    struct intake *i, const struct addr *a, unsigned notify, const char *orcpt)
{
	size_t before = i->recipients.count;

	if (intake_add_recipient(i, a, notify, orcpt) != 0)
		return -1;
	if (i->in->confined || check_reached(i, a, before) == 0)
		return 0;
	recipients_truncate(&i->recipients, before);
	return -1;
}

/* Of a list on its way through a parser that knows nothing of us. */
struct listed {
	struct intake *i;
	unsigned notify;
};

static int
add_listed(void *arg, const struct addr *a)
{
	const struct listed *l = arg;

	return intake_add_recipient(l->i, a, l->notify, NULL);
}

static int
add_listed_at(void *arg, const struct addr *a, size_t start, size_t end)
{
	(void)start;
	(void)end;
	return add_listed(arg, a);
}

int
intake_add_list(struct intake *i, const char *text, unsigned notify)
{
	struct listed l = {i, notify};
	size_t before = i->recipients.count;
	const char *why = NULL;

	if (addr_parse_list(text, strlen(text), add_listed_at, &l, &why) != 0)
		return why == NULL ? -1
				   : intake_refuse(i, EX_DATAERR, "553 5.1.3",
					 "recipient \"%.300s\" %s", text, why);
	if (i->recipients.count == before && text[0] == '\0')
		return intake_refuse(
		    i, EX_DATAERR, "553 5.1.3", "recipient \"\" is empty");
	return 0;
}

int
intake_add_header_recipients(struct intake *i, unsigned notify)
{
	struct listed l = {i, notify};
	char why[256] = "";

	if (mail_header_recipients(
		&i->header, add_listed, &l, why, sizeof(why)) == 0)
		return 0;
	return why[0] == '\0'
		   ? -1
		   : intake_refuse(i, EX_DATAERR, "553 5.1.3", "%s", why);
}

/* ---- The message ---- */

int
intake_reading_failed(struct intake *i)
{
	if (errno == EFBIG)
		return intake_refuse(i, EX_UNAVAILABLE, "552 5.3.4",
		    "message is larger than MAXSIZE (%lld bytes)",
		    (long long)i->in->conf->maxsize);
	if (errno == EMSGSIZE)
		return intake_refuse(i, EX_DATAERR, "552 5.3.4",
		    "message header is larger than %d bytes", HEADER_MAX);
	return intake_refuse(i,
	    errno == EBADF || errno == EISDIR ? EX_NOINPUT : EX_IOERR,
	    "451 4.3.0", "cannot read the message: %s", strerror(errno));
}

static int
writing_failed(struct intake *i)
{
	return intake_refuse(i, EX_IOERR, "451 4.3.0",
	    "cannot write to the spool: %s", strerror(errno));
}

int
intake_read_header(struct intake *i)
{
	struct header_field *fields;
	size_t n, received = 0;

	i->source.maxsize = i->in->conf->maxsize;
	if (mail_read_header(&i->source, &i->header) != 0)
		return intake_reading_failed(i);
	n = header_scan(buf_str(&i->header.text), i->header.text.len, &fields);
	for (size_t k = 0; k < n; k++)
		if (fields[k].name == HEADER_RECEIVED)
			received++;
	free(fields);
	if (received > HOPS_MAX)
		return intake_refuse(i, EX_DATAERR, "554 5.4.6",
		    "mail loop: the message has %zu Received fields", received);
	return 0;
}

static int
append_header(struct intake *i, struct spool_draft *d)
{
	struct mail_facts facts = {.conf = i->in->conf,
	    .sender = &i->env.sender,
	    .rewritten = i->rewritten,
	    .senders = &i->senders,
	    .full_name = i->full_name,
	    .login = i->login,
	    .from = i->from,
	    .uid = i->in->caller,
	    .id = i->env.id,
	    .now = i->env.arrival};
	struct buf out = {.max = 2 * HEADER_MAX};
	int result = 0;

	if (mail_repair_header(&i->header, &facts, &out) != 0)
		result = intake_refuse(
		    i, EX_DATAERR, "552 5.3.4", "message header is too large");
	else if (spool_append(d, out.data, out.len) != 0)
		result = writing_failed(i);
	buf_free(&out);
	return result;
}

static int
check_room(struct intake *i)
{
	const struct instance *in = i->in;

	if (in->caller == 0 || spool_has_room(&in->spool, in->conf->minfree,
				   (off_t)i->header.text.len))
		return 0;
	return intake_refuse(i, EX_UNAVAILABLE, "452 4.3.1",
	    "spool %s is below its reserve of %u %% (MINFREE)",
	    in->conf->spooldir, in->conf->minfree);
}

/* A message on its way into its draft. */
struct body {
	struct intake *i;
	struct spool_draft *d;
	uint64_t looked; /* at its length then */
	bool refused;
};

/* Who begins while there is room, often enough at once, would take it all. */
static int
put_body(void *arg, const char *p, size_t len)
{
	struct body *b = arg;

	if (b->i->in->conf->minfree > 0 &&
	    b->d->length - b->looked >= ROOM_STEP) {
		b->looked = b->d->length;
		b->refused = check_room(b->i) != 0;
	}
	return b->refused ? -1 : spool_append(b->d, p, len);
}

static int
append_body(struct intake *i, struct spool_draft *d)
{
	struct body b = {.i = i, .d = d};
	bool reading = false;

	if (mail_pass_body(&i->source, put_body, &b, &reading) == 0)
		return 0;
	if (b.refused)
		return -1;
	return reading ? intake_reading_failed(i) : writing_failed(i);
}

static int
append_reasons(struct intake *i, struct spool_draft *d)
{
	return spool_append_reasons(d) == 0 ? 0 : writing_failed(i);
}

static int
creating_failed(struct intake *i)
{
	if (errno == EINVAL)
		return intake_refuse(i, EX_DATAERR, "554 5.6.0",
		    "the envelope holds what it may not");
	if (errno == EMSGSIZE)
		return intake_refuse(
		    i, EX_DATAERR, "552 5.3.4", "the envelope is too large");
	return intake_refuse(i, EX_CANTCREAT, "451 4.3.0",
	    "cannot create in spool %s: %s", i->in->conf->spooldir,
	    strerror(errno));
}

static int
write_message(struct intake *i)
{
	struct spool *spool = &i->in->spool;
	struct spool_draft d;

	if (spool_create(spool, &i->env, &d) != 0)
		return creating_failed(i);
	if (append_header(i, &d) != 0 || append_body(i, &d) != 0 ||
	    append_reasons(i, &d) != 0) {
		spool_abandon(spool, &d);
		return -1;
	}
	if (spool_commit(spool, &d) != 0)
		return intake_refuse(i, EX_IOERR, "451 4.3.0",
		    "cannot store the message in %s: %s", i->in->conf->spooldir,
		    strerror(errno));
	return 0;
}

static void
log_reasons(const struct envelope *e)
{
	for (size_t n = 0; n < e->nrecipients; n++)
		if (e->recipients[n].reason != NULL)
			log_event(LOG_SUBMIT, LOG_WARNING,
			    "%s: to=<%s>, relay=none, status=bounced "
			    "(alias: %s)",
			    e->id, e->recipients[n].addr.text,
			    e->recipients[n].reason);
}

int
intake_store(struct intake *i)
{
	int result;

	if (check_room(i) != 0)
		return -1;
	i->env.arrival = time(NULL);
	i->env.uid = i->in->caller;
	i->env.recipients = i->recipients.list;
	i->env.nrecipients = i->recipients.count;
	if ((result = write_message(i)) == 0)
		log_event(LOG_SUBMIT, LOG_INFO, "%s: uid=%lu from=<%s>",
		    i->env.id, (unsigned long)i->in->caller,
		    i->env.sender.text);
	if (result == 0)
		log_reasons(&i->env);
	return result;
}

/* ---- Its delivery ---- */

/* In a process of its own: how that ends says nothing of the submission. */
static void
try_at_once(const struct intake *i, bool verbose)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct condition id = {
		    .what = SELECT_ID, .how = SELECT_WHOLE, .text = i->env.id};
		struct selection this = {.list = &id, .count = 1};

		_exit(queue_flush(i->in, &this, verbose));
	}
	while (pid > 0 && waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		continue;
}

void
intake_deliver(struct intake *i, enum delivery_mode mode, bool verbose)
{
	struct instance *in = i->in;
	struct envelope state;
	uid_t owner;

	if (in->conf->defer || mode == DELIVER_QUEUE)
		return;
	if (mode == DELIVER_FOREGROUND) {
		try_at_once(i, verbose);
		if (spool_peek(&in->spool, i->env.id, &state, &owner) != 0)
			return;
	}
	queue_wake(in, i->env.id);
}
