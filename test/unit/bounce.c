/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Unit tests of bounce.c: who is told what, and what is on disk afterwards.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <sys/syscall.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "bounce.h"
#include "log.h"
#include "util.h"

#define HEADER   "From: a@sender.example\nSubject: x\n"
#define TEXT     HEADER "\nthe body\n"
#define EIGHTBIT "Content-Transfer-Encoding: 8bit\n"
#define SAID     "mx.example.net[192.0.2.1] said: "

static bool fsync_fails;
static int pwrites_until_failure; /* 0: never */

ssize_t
pwrite(int fd, const void *p, size_t len, off_t offset)
{
	if (pwrites_until_failure > 0 && --pwrites_until_failure == 0) {
		errno = EIO;
		return -1;
	}
	return (ssize_t)syscall(SYS_pwrite64, fd, p, len, offset);
}

int
fsync(int fd)
{
	if (fsync_fails) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* ---- A spool with one message that failed ---- */

static char dir[64], aliases[80], log_path[80];
static struct spool spool;
static struct conf *conf;
static struct spool_file file;
static char notice[QUEUE_ID_MAX + 1];
static bool parked;

static void
write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(close(fd), 0);
}

/* Configure with some lines of dma.conf. */
static void
configure(const char *lines)
{
	struct conf_error error;
	char *text;

	text = xasprintf(
	    "MAILNAME mail.example.org\nALIASES %s\n%s", aliases, lines);
	conf_free(conf);
	conf = conf_parse("test", text, strlen(text), true, &error);
	if (conf == NULL)
		fail_msg("%s", error.text);
	free(text);
}

static int
setup(void **state)
{
	const char *why;

	(void)state;
	(void)compat_strlcpy(dir, "/tmp/dma-bounce.XXXXXX", sizeof(dir));
	if (mkdtemp(dir) == NULL || spool_open(&spool, dir, true, &why) == -1)
		return -1;
	(void)snprintf(aliases, sizeof(aliases), "%s.aliases", dir);
	(void)snprintf(log_path, sizeof(log_path), "%s.log", dir);
	write_text(aliases, "me: told@alias.example\nnobody-there: me\n");
	conf = NULL;
	configure("");
	fsync_fails = false;
	pwrites_until_failure = 0;
	file.fd = -1;
	return log_open(LOG_TO_FILE, log_path, 1, NULL);
}

static int
teardown(void **state)
{
	struct dirent *entry;
	DIR *d;

	(void)state;
	spool_file_close(&file);
	conf_free(conf);
	if ((d = opendir(dir)) == NULL)
		return -1;
	while ((entry = readdir(d)) != NULL)
		(void)unlinkat(spool.dirfd, entry->d_name, 0);
	(void)closedir(d);
	spool_close(&spool);
	(void)unlink(log_path);
	(void)unlink(aliases);
	(void)rmdir(aliases);
	return rmdir(dir);
}

static bool
exists(const char *prefix, const char *id)
{
	char name[64];
	struct stat st;

	(void)snprintf(name, sizeof(name), "%s%s", prefix, id);
	return fstatat(spool.dirfd, name, &st, 0) == 0;
}

static int
count_one(void *arg, const char *id)
{
	(void)id;
	++*(int *)arg;
	return 0;
}

static int
queued(void)
{
	int count = 0;

	assert_int_equal(spool_scan(&spool, count_one, &count), 0);
	return count;
}

struct to {
	const char *addr, *orcpt, *orig;
	enum recipient_status status;
	unsigned notify;
	const char *reason; /* in the journal, or NULL */
};

struct message {
	const char *id; /* or NULL */
	const char *sender, *envid;
	enum envelope_ret ret;
	const char *text;
	size_t nto;
	struct to to[4];
};

static void
fill_recipients(struct envelope *e, const struct message *m)
{
	const char *why;

	e->nrecipients = m->nto;
	e->recipients = xcalloc(m->nto, sizeof(*e->recipients));
	for (size_t i = 0; i < m->nto; i++) {
		struct recipient *r = &e->recipients[i];

		assert_int_equal(
		    addr_parse(&r->addr, m->to[i].addr, false, &why), 0);
		r->status = m->to[i].status;
		r->notify = m->to[i].notify;
		if (m->to[i].orcpt != NULL)
			r->orcpt = xstrdup(m->to[i].orcpt);
		if (m->to[i].orig != NULL)
			r->orig = xstrdup(m->to[i].orig);
	}
}

/* Queue it, open it in `file`, and write its journal. */
static void
queue(const struct message *m)
{
	struct envelope e = {.uid = geteuid(), .arrival = 1700000000};
	struct spool_draft d;
	const char *why;

	if (m->id != NULL)
		(void)compat_strlcpy(e.id, m->id, sizeof(e.id));
	assert_int_equal(addr_parse(&e.sender, m->sender, true, &why), 0);
	if (m->envid != NULL)
		e.envid = xstrdup(m->envid);
	e.ret = m->ret;
	fill_recipients(&e, m);
	assert_int_equal(spool_create(&spool, &e, &d), 0);
	assert_int_equal(spool_append(&d, m->text, strlen(m->text)), 0);
	assert_int_equal(spool_commit(&spool, &d), 0);
	assert_int_equal(spool_file_open(&spool, e.id, true, &file), 0);
	for (size_t i = 0; i < m->nto; i++)
		if (m->to[i].reason != NULL)
			spool_journal_add(&file, i, 1700000100, "5.1.1",
			    "mx.example.net[192.0.2.1]:25", m->to[i].reason);
	envelope_free(&e);
}

static void
settle(void)
{
	assert_int_equal(
	    bounce_settle(&spool, conf, &file, notice, &parked), 0);
}

/* The notice's message, the caller's; its only recipient into to. */
static char *
read_notice(char to[ADDR_MAX + 1])
{
	struct spool_file f;
	char *text;

	assert_int_equal(spool_file_open(&spool, notice, true, &f), 0);
	assert_true(addr_is_null(&f.env.sender));
	assert_int_equal(f.env.nrecipients, 1);
	assert_int_equal(f.env.recipients[0].status, STATUS_TODO);
	assert_int_equal(f.env.uid, geteuid());
	assert_int_equal(spool_file_verify(&spool, &f), 0);
	(void)compat_strlcpy(to, f.env.recipients[0].addr.text, ADDR_MAX + 1);
	text = xcalloc(1, (size_t)f.env.length + 1);
	assert_int_equal(
	    pread_full(f.fd, text, (size_t)f.env.length, f.env.message_offset),
	    f.env.length);
	spool_file_close(&f);
	return text;
}

/* All of these stand in the text, in this order. */
static void
assert_order(const char *text, const char *const *parts)
{
	const char *at = text;

	for (; *parts != NULL; parts++) {
		at = strstr(at, *parts);
		if (at == NULL)
			fail_msg(
			    "no (or too early) \"%s\" in:\n%s", *parts, text);
		at += strlen(*parts);
	}
}

static enum recipient_status
status_on_disk(size_t i)
{
	struct spool_file f;
	enum recipient_status status;

	assert_int_equal(spool_file_open(&spool, file.env.id, false, &f), 0);
	status = f.env.recipients[i].status;
	spool_file_close(&f);
	return status;
}

static const struct message usual = {.sender = "a@sender.example",
    .envid = "my+20id",
    .text = TEXT,
    .nto = 4,
    .to = {{.addr = "fine@example.net", .status = STATUS_SENT},
	{.addr = "gone@example.net",
	    .orcpt = "rfc822;g+2Bone@example.net",
	    .status = STATUS_FAILED,
	    .reason = SAID "550 5.1.1 no such user (in reply to RCPT TO)"},
	{.addr = "bob",
	    .orig = "team",
	    .status = STATUS_FAILED,
	    .notify = NOTIFY_FAILURE},
	{.addr = "later@example.net", .status = STATUS_TODO}}};

/* ---- What it says ---- */

static void
notice_is_complete(void **state)
{
	char to[ADDR_MAX + 1], *text, message_id[100];
	const char *const parts[] = {"From: Mail Delivery System "
				     "<MAILER-DAEMON@mail.example.org>\n",
	    "To: <a@sender.example>\n",
	    "Subject: Your message was not delivered\n", message_id,
	    "Auto-Submitted: auto-replied\nMIME-Version: 1.0\n",
	    "Content-Type: multipart/report; "
	    "report-type=delivery-status;\n\tboundary=\"",
	    "\n\n", "\n--=_",
	    "\nContent-Type: text/plain; charset=utf-8\n"
	    "Content-Transfer-Encoding: 8bit\n\n",
	    "Your message of\n",
	    "could not be delivered to the recipients named below",
	    "\n<gone@example.net>\n    " SAID
	    "550 5.1.1 no such user (in reply to RCPT\n    TO)\n",
	    "\n<bob>, to which <team> led\n    The reason was not recorded.\n",
	    "\n--=_", "\nContent-Type: message/delivery-status\n\n",
	    "Original-Envelope-Id: my id\nReporting-MTA: dns; ",
	    "\nArrival-Date: ",
	    "\n\nOriginal-Recipient: rfc822; "
	    "g+one@example.net\n"
	    "Final-Recipient: rfc822; gone@example.net\n"
	    "Action: failed\nStatus: 5.1.1\n"
	    "Remote-MTA: dns; mx.example.net\n"
	    "Diagnostic-Code: smtp; 550 5.1.1 no such user\n"
	    "Last-Attempt-Date: ",
	    "\n\nFinal-Recipient: rfc822; bob@mail.example.org\n"
	    "Action: failed\nStatus: 5.0.0\n",
	    "\n--=_",
	    "\nContent-Type: text/rfc822-headers\n"
	    "Content-Transfer-Encoding: 8bit\n\n" HEADER "\n--=_",
	    "--\n", NULL};

	(void)state;
	queue(&usual);
	settle();
	assert_false(parked);
	(void)snprintf(message_id, sizeof(message_id),
	    "Message-ID: <%s@mail.example.org>\n", notice);
	text = read_notice(to);
	assert_string_equal(to, "a@sender.example");
	assert_order(text, parts);
	assert_null(strstr(text, "fine@"));
	assert_null(strstr(text, "later@"));
	assert_null(strstr(text, "the body"));
	free(text);
}

/* The boundary stands where it has to, and the last line is its end. */
static void
boundaries(void **state)
{
	char to[ADDR_MAX + 1], *text, line[80];
	size_t len;
	int n = 0;

	(void)state;
	queue(&usual);
	settle();
	text = read_notice(to);
	len = (size_t)snprintf(line, sizeof(line), "\n--=_%s", notice);
	for (char *at = text; (at = strstr(at, line)) != NULL; at += len)
		n++;
	assert_int_equal(n, 4);
	(void)snprintf(line + len, sizeof(line) - len, "--\n");
	assert_string_equal(text + strlen(text) - strlen(line), line);
	free(text);
}

static void
whole_message(void **state)
{
	static const struct {
		enum envelope_ret ret;
		const char *lines;
		bool full;
	} cases[] = {{RET_DEFAULT, "", false}, {RET_FULL, "", true},
	    {RET_DEFAULT, "FULLBOUNCE\n", true},
	    {RET_HDRS, "FULLBOUNCE\n", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const parts[] = {
		    "Content-Type: message/rfc822\n"
		    "Content-Transfer-Encoding: 8bit\n\n" TEXT "\n--=_",
		    NULL};
		struct message m = usual;
		char to[ADDR_MAX + 1], *text;

		m.ret = cases[i].ret;
		configure(cases[i].lines);
		queue(&m);
		settle();
		text = read_notice(to);
		if (cases[i].full)
			assert_order(text, parts);
		else
			assert_null(strstr(text, "the body"));
		free(text);
		spool_file_close(&file);
	}
}

static void
large_message(void **state)
{
	char to[ADDR_MAX + 1], *text, *found, *big;
	struct message m = usual;

	(void)state;
	big = xmalloc(300001);
	memcpy(big, HEADER "\n", sizeof(HEADER));
	for (size_t i = sizeof(HEADER); i < 300000; i++)
		big[i] = i % 77 == 0 ? '\n' : (char)('a' + i % 19);
	big[300000] = '\0';
	m.text = big;
	m.ret = RET_FULL;
	queue(&m);
	settle();
	text = read_notice(to);
	found =
	    strstr(text, "message/rfc822\nContent-Transfer-Encoding: 8bit\n\n");
	assert_non_null(found);
	assert_memory_equal(
	    found +
		strlen("message/rfc822\nContent-Transfer-Encoding: 8bit\n\n"),
	    big, 300000);
	free(text);
	free(big);
}

static const struct {
	const char *text, *header; /* what is stored, what comes back */
} headers[] = {
    {"A: b\n\nbody\n", "\n\nA: b\n\n--=_"},
    {"A: b\n c\n", "\n\nA: b\n c\n\n--=_"},
    {"\nbody\n", "rfc822-headers\nContent-Transfer-Encoding: 8bit\n\n\n--=_"},
    {"", "rfc822-headers\nContent-Transfer-Encoding: 8bit\n\n\n--=_"},
};

static void
odd_messages(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		const char *const parts[] = {headers[i].header, NULL};
		struct message m = usual;
		char to[ADDR_MAX + 1], *text;

		m.text = headers[i].text;
		queue(&m);
		settle();
		text = read_notice(to);
		assert_order(text, parts);
		assert_null(strstr(text, "body"));
		free(text);
		spool_file_close(&file);
	}
}

/* Wherever bytes over 0x7f come from, the notice says that it has some. */
static void
eightbit(void **state)
{
	static const struct {
		const char *text, *addr, *orig;
	} cases[] = {{"A: \xc3\xb6\n\nb\n", "x@y.example", NULL},
	    {"A: b\n\nb\n", "\xc3\xb6@y.example", NULL},
	    {"A: b\n\nb\n", "x@y.example", "\xc3\xb6"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *const parts[] = {
		    "boundary=", "\nContent-Transfer-Encoding: 8bit\n", "\n\n",
		    "text/plain; charset=utf-8\n"
		    "Content-Transfer-Encoding: 8bit\n\n",
		    i == 0 ? "message/delivery-status\n\n"
			   : "message/global-delivery-status\n" EIGHTBIT "\n",
		    i == 0 ? "text/rfc822-headers\n" EIGHTBIT "\n"
			   : "message/global-headers\n" EIGHTBIT "\n",
		    NULL};
		struct message m = usual;
		char to[ADDR_MAX + 1], *text;

		m.text = cases[i].text;
		m.to[1].addr = cases[i].addr;
		m.to[1].orig = cases[i].orig;
		queue(&m);
		settle();
		text = read_notice(to);
		assert_order(text, parts);
		assert_non_null(strstr(text, "\xc3\xb6"));
		free(text);
		spool_file_close(&file);
	}
}

static void
internationalized_recipient(void **state)
{
	const char *const parts[] = {"\n<j\xc3\xb6@\xe4\xbe\x8b.example>\n",
	    "message/global-delivery-status\n",
	    "Final-Recipient: utf-8; j\xc3\xb6@\xe4\xbe\x8b.example\n", NULL};
	const char *const plain[] = {"message/delivery-status\n\n",
	    "Original-Recipient: rfc822; plain@y.example\n",
	    "Final-Recipient: utf-8; j\\x{F6}@\\x{4F8B}.example\n", NULL};
	struct message m = usual;
	char to[ADDR_MAX + 1], *text;

	(void)state;
	m.to[1].addr = "j\xc3\xb6@\xe4\xbe\x8b.example";
	queue(&m);
	settle();
	text = read_notice(to);
	assert_order(text, parts);
	free(text);
	spool_file_close(&file);
	m.to[1].orig = "plain@y.example";
	m.to[1].orcpt = NULL;
	queue(&m);
	settle();
	text = read_notice(to);
	assert_order(text, plain);
	free(text);
}

/* However long the words are, and whether they have blanks. */
static void
lines_are_short(void **state)
{
	char words[OUTCOME_TEXT_MAX + 1], rock[OUTCOME_TEXT_MAX + 1];
	char to[ADDR_MAX + 1], *text;
	struct message m = usual;

	(void)state;
	for (size_t i = 0; i < OUTCOME_TEXT_MAX; i++) {
		words[i] = i % 7 == 3 ? ' ' : 'w';
		rock[i] = 'r';
	}
	words[OUTCOME_TEXT_MAX] = rock[OUTCOME_TEXT_MAX] = '\0';
	memcpy(words, SAID "550 ", strlen(SAID "550 "));
	m.to[1].reason = words;
	m.to[2].reason = rock;
	queue(&m);
	settle();
	text = read_notice(to);
	for (char *line = text, *lf; *line != '\0'; line = lf + 1) {
		lf = strchr(line, '\n');
		assert_non_null(lf);
		assert_true(lf - line <= 998);
		if (memmem(line, (size_t)(lf - line), "ww ", 3) != NULL)
			assert_true(lf - line <= 100);
	}
	assert_non_null(strstr(text, "Diagnostic-Code: smtp; 550 "));
	assert_non_null(strstr(text, "Diagnostic-Code: x-local; rrr"));
	free(text);
}

/* ---- Whom it goes to, and what it leaves ---- */

static void
marked_and_logged(void **state)
{
	char expected[120], *log;
	size_t len;

	(void)state;
	queue(&usual);
	settle();
	(void)snprintf(expected, sizeof(expected), "%sx1", file.env.id);
	assert_string_equal(notice, expected);
	assert_int_equal(status_on_disk(0), STATUS_SENT);
	assert_int_equal(status_on_disk(1), STATUS_TOLD);
	assert_int_equal(status_on_disk(2), STATUS_TOLD);
	assert_int_equal(status_on_disk(3), STATUS_TODO);
	assert_int_equal(queued(), 2);
	assert_int_equal(read_file(log_path, 10000, &log, &len, NULL), 0);
	(void)snprintf(expected, sizeof(expected),
	    ": %s: sender non-delivery notification: %s\n", file.env.id,
	    notice);
	assert_non_null(strstr(log, expected));
	assert_non_null(strstr(log, "dma/bounce["));
	free(log);
	/* Nothing is owed any more. */
	settle();
	assert_string_equal(notice, "");
	assert_int_equal(queued(), 2);
}

/* A crash after the commit: the same notice, once. */
static void
committed_before(void **state)
{
	char first[QUEUE_ID_MAX + 1];

	(void)state;
	queue(&usual);
	settle();
	(void)compat_strlcpy(first, notice, sizeof(first));
	assert_int_equal(spool_file_mark(&file, 1, STATUS_FAILED), 0);
	assert_int_equal(spool_file_mark(&file, 2, STATUS_FAILED), 0);
	/* It may have died before the name was durable. */
	fsync_fails = true;
	assert_int_equal(
	    bounce_settle(&spool, conf, &file, notice, &parked), -1);
	assert_int_equal(status_on_disk(2), STATUS_FAILED);
	fsync_fails = false;
	settle();
	assert_string_equal(notice, first);
	assert_int_equal(status_on_disk(2), STATUS_TOLD);
	assert_int_equal(queued(), 2);
}

/* Half of the marks were made: no second notice for the other half. */
static void
marked_in_part(void **state)
{
	char first[QUEUE_ID_MAX + 1];

	(void)state;
	queue(&usual);
	(void)snprintf(first, sizeof(first), "%.32sx1", file.env.id);
	pwrites_until_failure = 2;
	assert_int_equal(
	    bounce_settle(&spool, conf, &file, notice, &parked), -1);
	assert_int_equal(errno, EIO);
	assert_int_equal(queued(), 2);
	settle();
	assert_string_equal(notice, first);
	assert_int_equal(status_on_disk(1), STATUS_TOLD);
	assert_int_equal(status_on_disk(2), STATUS_TOLD);
	assert_int_equal(queued(), 2);
}

static void
commit_fails(void **state)
{
	(void)state;
	queue(&usual);
	fsync_fails = true;
	assert_int_equal(
	    bounce_settle(&spool, conf, &file, notice, &parked), -1);
	assert_int_equal(errno, EIO);
	assert_string_equal(notice, "");
	assert_false(parked);
	assert_int_equal(status_on_disk(1), STATUS_FAILED);
	assert_int_equal(queued(), 1);
	fsync_fails = false;
	settle();
	assert_int_equal(status_on_disk(1), STATUS_TOLD);
}

static void
told_nothing_on_wish(void **state)
{
	struct message m = usual;

	(void)state;
	m.to[1].notify = NOTIFY_NEVER;
	m.to[2].notify = NOTIFY_SUCCESS;
	queue(&m);
	settle();
	assert_string_equal(notice, "");
	assert_int_equal(queued(), 1);
	assert_int_equal(status_on_disk(1), STATUS_TOLD);
	assert_int_equal(status_on_disk(2), STATUS_TOLD);
}

static void
some_want_no_notice(void **state)
{
	char to[ADDR_MAX + 1], *text, expected[QUEUE_ID_MAX + 1];
	struct message m = usual;

	(void)state;
	m.to[1].notify = NOTIFY_NEVER;
	queue(&m);
	settle();
	(void)snprintf(expected, sizeof(expected), "%.32sx2", file.env.id);
	assert_string_equal(notice, expected);
	text = read_notice(to);
	assert_null(strstr(text, "gone@"));
	free(text);
	assert_int_equal(status_on_disk(1), STATUS_TOLD);
	assert_int_equal(status_on_disk(2), STATUS_TOLD);
}

static const struct {
	const char *sender, *to, *header;
} senders[] = {
    {"me", "told@alias.example", "To: <me@mail.example.org>\n"},
    {"me@mail.example.org", "told@alias.example",
	"To: <me@mail.example.org>\n"},
    {"somebody", "somebody", "To: <somebody@mail.example.org>\n"},
    {"x@else.example", "x@else.example", "To: <x@else.example>\n"},
};

static void
aliases_of_the_sender(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(senders); i++) {
		const char *const parts[] = {senders[i].header, NULL};
		struct message m = usual;
		char to[ADDR_MAX + 1], *text;

		m.sender = senders[i].sender;
		queue(&m);
		settle();
		text = read_notice(to);
		assert_string_equal(to, senders[i].to);
		assert_order(text, parts);
		free(text);
		spool_file_close(&file);
	}
}

static void
aliases_unreadable(void **state)
{
	(void)state;
	assert_int_equal(unlink(aliases), 0);
	assert_int_equal(mkdir(aliases, 0700), 0);
	queue(&usual);
	assert_int_equal(
	    bounce_settle(&spool, conf, &file, notice, &parked), -1);
	assert_int_not_equal(errno, ENOENT);
	assert_int_equal(status_on_disk(1), STATUS_FAILED);
}

static const struct message null_sender = {.sender = "",
    .text = TEXT,
    .nto = 1,
    .to = {{.addr = "gone@example.net",
	.status = STATUS_FAILED,
	.reason = "unknown user"}}};

static void
nobody_to_tell(void **state)
{
	char id[QUEUE_ID_MAX + 1];

	(void)state;
	queue(&null_sender);
	(void)compat_strlcpy(id, file.env.id, sizeof(id));
	settle();
	assert_true(parked);
	assert_string_equal(notice, "");
	assert_true(exists("dead.", id));
	assert_int_equal(queued(), 0);
}

/* Not while somebody may still get it. */
static void
not_parked_while_open(void **state)
{
	struct message m = usual;

	(void)state;
	m.sender = "";
	queue(&m);
	settle();
	assert_false(parked);
	assert_string_equal(notice, "");
	assert_int_equal(status_on_disk(1), STATUS_FAILED);
	assert_int_equal(spool_file_mark(&file, 3, STATUS_SENT), 0);
	settle();
	assert_true(parked);
}

static void
postmaster_is_told(void **state)
{
	const char *const parts[] = {"To: <me@mail.example.org>\n",
	    "A message of\n", "\n<gone@example.net>\n    unknown user\n", NULL};
	char to[ADDR_MAX + 1], *text;
	struct message m = null_sender;

	(void)state;
	configure("POSTMASTER me\n");
	m.id = "00000000123456789ABCx3";
	queue(&m);
	settle();
	assert_false(parked);
	assert_string_equal(notice, "00000000123456789ABCx3x0");
	text = read_notice(to);
	assert_string_equal(to, "told@alias.example");
	assert_order(text, parts);
	free(text);
	assert_int_equal(status_on_disk(0), STATUS_TOLD);
}

/* He did not get it: he is not told so, by another notice. */
static void
postmaster_did_not_get_it(void **state)
{
	static const char *const ids[] = {
	    "00000000123456789ABCx3x0", "00000000123456789ABCx3"};
	static const char *const addrs[] = {
	    "any@example.net", "told@alias.example"};

	(void)state;
	configure("POSTMASTER me\n");
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		struct message m = null_sender;

		m.id = ids[i];
		m.to[0].addr = addrs[i];
		queue(&m);
		settle();
		assert_true(parked);
		assert_true(exists("dead.", ids[i]));
		assert_int_equal(queued(), 0);
		spool_file_close(&file);
	}
}

/* ---- What waits ---- */

static int
warn(void)
{
	return bounce_warn(&spool, conf, &file, notice);
}

static const struct message waiting = {.sender = "a@sender.example",
    .envid = "my+20id",
    .ret = RET_FULL,
    .text = TEXT,
    .nto = 4,
    .to = {{.addr = "fine@example.net", .status = STATUS_SENT},
	{.addr = "busy@example.net",
	    .status = STATUS_TODO,
	    .reason = SAID "451 4.7.1 not now (in reply to RCPT TO)"},
	{.addr = "full@example.net",
	    .status = STATUS_UNCERTAIN,
	    .notify = NOTIFY_DELAY},
	{.addr = "quiet@example.net",
	    .status = STATUS_TODO,
	    .notify = NOTIFY_FAILURE}}};

static void
warning_is_complete(void **state)
{
	char to[ADDR_MAX + 1], *text, expected[120], *log;
	size_t len;
	const char *const parts[] = {"To: <a@sender.example>\n",
	    "Subject: Your message is delayed (you need do nothing)\n",
	    "Auto-Submitted: auto-replied\n", "report-type=delivery-status;",
	    "has not reached the recipients named below yet",
	    "until\nSun, 19 Nov 2023 22:13:20 +0000.\n",
	    "\n<busy@example.net>\n    " SAID "451 4.7.1 not now",
	    "\n<full@example.net>\n    The reason was not recorded.\n",
	    "Content-Type: message/delivery-status\n\n",
	    "Original-Envelope-Id: my id\n",
	    "Final-Recipient: rfc822; busy@example.net\n"
	    "Action: delayed\nStatus: 4.0.0\n"
	    "Remote-MTA: dns; mx.example.net\n"
	    "Diagnostic-Code: smtp; 451 4.7.1 not now\n"
	    "Last-Attempt-Date: ",
	    "\nWill-Retry-Until: Sun, 19 Nov 2023 22:13:20 +0000\n",
	    "Final-Recipient: rfc822; full@example.net\n"
	    "Action: delayed\nStatus: 4.0.0\n",
	    "Will-Retry-Until: ", "\nContent-Type: text/rfc822-headers\n",
	    NULL};

	(void)state;
	setenv("TZ", "UTC", 1);
	queue(&waiting);
	assert_int_equal(warn(), 0);
	(void)snprintf(expected, sizeof(expected), "%sw", file.env.id);
	assert_string_equal(notice, expected);
	assert_true(file.env.warned);
	assert_int_equal(queued(), 2);
	text = read_notice(to);
	assert_string_equal(to, "a@sender.example");
	assert_order(text, parts);
	assert_null(strstr(text, "fine@"));
	assert_null(strstr(text, "quiet@"));
	assert_null(strstr(text, "the body"));
	free(text);
	assert_int_equal(status_on_disk(1), STATUS_TODO);
	assert_int_equal(read_file(log_path, 10000, &log, &len, NULL), 0);
	(void)snprintf(expected, sizeof(expected),
	    ": %s: sender delay notification: %s\n", file.env.id, notice);
	assert_non_null(strstr(log, expected));
	free(log);
	/* Never twice; but a failure later has a notice of its own. */
	assert_int_equal(warn(), 0);
	assert_string_equal(notice, "");
	assert_int_equal(queued(), 2);
	assert_int_equal(spool_file_mark(&file, 1, STATUS_FAILED), 0);
	settle();
	(void)snprintf(expected, sizeof(expected), "%sx1", file.env.id);
	assert_string_equal(notice, expected);
	assert_int_equal(queued(), 3);
}

/* A crash before the mark was written: the same one. */
static void
warning_committed_before(void **state)
{
	(void)state;
	queue(&waiting);
	assert_int_equal(warn(), 0);
	file.env.warned = false;
	assert_int_equal(warn(), 0);
	assert_true(file.env.warned);
	assert_int_equal(queued(), 2);
}

static void
warning_fails(void **state)
{
	(void)state;
	queue(&waiting);
	fsync_fails = true;
	assert_int_equal(warn(), -1);
	assert_int_equal(errno, EIO);
	assert_string_equal(notice, "");
	assert_false(file.env.warned);
	assert_int_equal(queued(), 1);
	fsync_fails = false;
	assert_int_equal(warn(), 0);
	assert_true(file.env.warned);
	assert_int_equal(queued(), 2);
}

/* The message is of 2023. */
static void
no_warning(void **state)
{
	static const struct {
		const char *conf, *sender;
		unsigned notify;
		enum recipient_status status;
	} cases[] = {{"WARN 0\n", "a@b.example", 0, STATUS_TODO},
	    {"WARN 3650d\n", "a@b.example", 0, STATUS_TODO},
	    {"", "", 0, STATUS_TODO}, {"POSTMASTER me\n", "", 0, STATUS_TODO},
	    {"", "a@b.example", NOTIFY_NEVER, STATUS_TODO},
	    {"", "a@b.example", NOTIFY_FAILURE, STATUS_TODO},
	    {"", "a@b.example", NOTIFY_SUCCESS, STATUS_TODO},
	    {"", "a@b.example", 0, STATUS_SENT},
	    {"", "a@b.example", 0, STATUS_FAILED}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct message m = waiting;

		m.nto = 1;
		m.sender = cases[i].sender;
		m.to[0].notify = cases[i].notify;
		m.to[0].status = cases[i].status;
		configure(cases[i].conf);
		queue(&m);
		assert_int_equal(warn(), 0);
		assert_string_equal(notice, "");
		assert_false(file.env.warned);
		assert_int_equal(queued(), (int)i + 1);
		spool_file_close(&file);
	}
}

/* The warning itself could not be delivered: its failure is the last word. */
static void
warning_is_lost(void **state)
{
	struct message m = null_sender;

	(void)state;
	configure("POSTMASTER me\n");
	m.id = "00000000123456789ABCw";
	queue(&m);
	settle();
	assert_string_equal(notice, "00000000123456789ABCwx0");
	spool_file_close(&file);
	m.id = "00000000123456789ABDwx0";
	queue(&m);
	settle();
	assert_true(parked);
}

/* ---- What was sent ---- */

static const struct message asked = {.sender = "a@sender.example",
    .envid = "my+20id",
    .ret = RET_FULL,
    .text = TEXT,
    .nto = 4,
    .to = {{.addr = "quiet@example.net", .status = STATUS_SENT},
	{.addr = "far@example.net",
	    .status = STATUS_RELAYED,
	    .notify = NOTIFY_SUCCESS,
	    .reason = "250 2.0.0 taken"},
	{.addr = "gone@example.net",
	    .status = STATUS_FAILED,
	    .notify = NOTIFY_SUCCESS | NOTIFY_FAILURE},
	{.addr = "near@example.net",
	    .status = STATUS_DELIVERED,
	    .notify = NOTIFY_SUCCESS}}};

static int
succeed(void)
{
	return bounce_success(&spool, conf, &file, notice);
}

static void
success_is_complete(void **state)
{
	char to[ADDR_MAX + 1], *text, expected[QUEUE_ID_MAX + 1];
	const char *const parts[] = {"To: <a@sender.example>\n",
	    "Subject: Your message was passed on\n",
	    "Auto-Submitted: auto-replied\n", "report-type=delivery-status;",
	    "\n<far@example.net>\n    It was accepted by the mail server ",
	    "<near@example.net>\n", "message/delivery-status\n\n",
	    "Original-Envelope-Id: my id\n",
	    "Final-Recipient: rfc822; far@example.net\n"
	    "Action: relayed\nStatus: 2.0.0\n",
	    "Diagnostic-Code: smtp; 250 2.0.0 taken\n",
	    "Final-Recipient: rfc822; near@example.net\n"
	    "Action: delivered\nStatus: 2.0.0\n",
	    "\nContent-Type: text/rfc822-headers\n", NULL};

	(void)state;
	queue(&asked);
	assert_int_equal(succeed(), 0);
	(void)snprintf(expected, sizeof(expected), "%.20ss1", file.env.id);
	assert_string_equal(notice, expected);
	text = read_notice(to);
	assert_order(text, parts);
	assert_null(strstr(text, "gone@"));
	assert_null(strstr(text, "quiet@"));
	assert_null(strstr(text, "the body"));
	free(text);
	assert_int_equal(status_on_disk(1), STATUS_SENT);
	assert_int_equal(status_on_disk(2), STATUS_FAILED);
	assert_int_equal(status_on_disk(3), STATUS_SENT);
	/* Never twice, and the failure has its own. */
	assert_int_equal(succeed(), 0);
	assert_string_equal(notice, "");
	settle();
	(void)snprintf(expected, sizeof(expected), "%.20sx2", file.env.id);
	assert_string_equal(notice, expected);
	assert_int_equal(queued(), 3);
}

/* A crash between the marks: the same notice, once. */
static void
success_marked_in_part(void **state)
{
	char first[QUEUE_ID_MAX + 1];

	(void)state;
	queue(&asked);
	(void)snprintf(first, sizeof(first), "%.20ss1", file.env.id);
	fsync_fails = true;
	assert_int_equal(succeed(), -1);
	assert_int_equal(status_on_disk(1), STATUS_RELAYED);
	fsync_fails = false;
	assert_int_equal(queued(), 1);
	assert_int_equal(succeed(), 0);
	assert_string_equal(notice, first);
	assert_int_equal(spool_file_mark(&file, 1, STATUS_RELAYED), 0);
	assert_int_equal(succeed(), 0);
	assert_string_equal(notice, first);
	assert_int_equal(status_on_disk(1), STATUS_SENT);
	assert_int_equal(queued(), 2);
}

/* The one address that was told is told up to then. */
static void
set_told_until(int64_t until)
{
	uint64_t entry[2];
	int fd = spool_lock_told(&spool);
	off_t at = 0;

	while (pread(fd, entry, sizeof(entry), at) == sizeof(entry) &&
	       entry[0] == 0)
		at += (off_t)sizeof(entry);
	assert_int_equal(
	    pwrite(fd, &until, sizeof(until), at + (off_t)sizeof(entry[0])),
	    sizeof(until));
	assert_int_equal(close(fd), 0);
}

/* An hour's notices to one address go at once, the others are spread out. */
static void
no_storm(void **state)
{
	(void)state;
	for (int i = 0; i < NOTICES_PER_HOUR + 2; i++) {
		struct spool_file f;
		int64_t wait;

		queue(&usual);
		settle();
		spool_file_close(&file);
		assert_int_equal(spool_file_open(&spool, notice, true, &f), 0);
		wait = f.env.next_try - f.env.arrival;
		if (i < NOTICES_PER_HOUR - 1)
			assert_true(f.env.next_try == 0);
		if (i == NOTICES_PER_HOUR + 1)
			assert_in_range(wait, 1, 3600);
		spool_file_close(&f);
	}
}

/* How long the notice waits that is made now. */
static int64_t
wait_of_next(void)
{
	struct spool_file f;
	int64_t wait;

	settle();
	assert_int_equal(spool_file_open(&spool, notice, true, &f), 0);
	wait = f.env.next_try == 0 ? 0 : f.env.next_try - f.env.arrival;
	spool_file_close(&f);
	spool_file_close(&file);
	return wait;
}

/* However often the disk refused it: it counts once. */
static void
failed_ones_do_not_count(void **state)
{
	(void)state;
	queue(&usual);
	fsync_fails = true;
	for (int i = 0; i < NOTICES_PER_HOUR + 2; i++)
		assert_int_equal(
		    bounce_settle(&spool, conf, &file, notice, &parked), -1);
	fsync_fails = false;
	assert_int_equal(wait_of_next(), 0);
}

/* What one user's mail comes back with does not put off another's notices. */
static void
owners_count_apart(void **state)
{
	(void)state;
	for (int i = 0; i < NOTICES_PER_HOUR + 1; i++) {
		queue(&usual);
		(void)wait_of_next();
	}
	queue(&usual);
	file.env.uid++;
	assert_int_equal(wait_of_next(), 0);
	queue(&usual);
	assert_in_range(wait_of_next(), 1, 3600);
}

/* None waits longer than a day, and a clock that was wrong puts off none. */
static void
no_endless_wait(void **state)
{
	static const struct {
		int64_t ahead, least, most;
	} cases[] = {
	    {3600 + NOTICES_WAIT_MAX, NOTICES_WAIT_MAX - 60, NOTICES_WAIT_MAX},
	    {3600 + NOTICES_WAIT_MAX + 86400, 0, 0}};
	struct spool_file f;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		queue(&usual);
		settle();
		set_told_until(time(NULL) + cases[i].ahead);
		spool_file_close(&file);
		queue(&usual);
		settle();
		assert_int_equal(spool_file_open(&spool, notice, true, &f), 0);
		if (cases[i].most == 0)
			assert_true(f.env.next_try == 0);
		else
			assert_in_range(f.env.next_try - f.env.arrival,
			    cases[i].least, cases[i].most);
		spool_file_close(&f);
		spool_file_close(&file);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {T(notice_is_complete),
	    T(boundaries), T(whole_message), T(large_message), T(odd_messages),
	    T(eightbit), T(internationalized_recipient), T(lines_are_short),
	    T(marked_and_logged), T(committed_before), T(marked_in_part),
	    T(commit_fails), T(told_nothing_on_wish), T(some_want_no_notice),
	    T(aliases_of_the_sender), T(aliases_unreadable), T(nobody_to_tell),
	    T(not_parked_while_open), T(postmaster_is_told),
	    T(postmaster_did_not_get_it), T(warning_is_complete),
	    T(warning_committed_before), T(warning_fails), T(no_warning),
	    T(warning_is_lost), T(success_is_complete),
	    T(success_marked_in_part), T(no_storm), T(no_endless_wait),
	    T(failed_ones_do_not_count), T(owners_count_apart)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
