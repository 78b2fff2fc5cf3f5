/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp.c - tests of smtp.h: replies, features, and sessions with a scripted
 * server.
 *
 * A script is what the server does, one line each:
 *	S: text  say this; lines that follow one another go in one write
 *	C: text  hear exactly this line
 *	R	 take one read; the C lines up to the next R must be in it
 *	E	 nothing may be left of what was read
 *	M	 skip lines up to and with a lone dot
 *	X	 close and wait for the next connection
 * What came of it is compared as text: "greeted" and "trace" aside, each
 * result in its order, then what smtp_send() said.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth.h"
#include "envelope.h"
#include "smtp.h"
#include "util.h"

/* ---- Replies ---- */

struct reply_case {
	const char *lines; /* each ended by LF */
	int error;         /* of the last line, or 0 */
	int code;
	const char *dsn, *text;
};

static const struct reply_case reply_cases[] = {
    {"250 Ok\n", 0, 250, "", "250 Ok"},
    {"250\n", 0, 250, "", "250"},
    {"250 \n", 0, 250, "", "250"},
    {"250-one\n250 two\n", 0, 250, "", "250 one two"},
    {"250-\n250-x\n250\n", 0, 250, "", "250 x"},
    {"550 5.1.1 no such user\n", 0, 550, "5.1.1", "550 5.1.1 no such user"},
    {"550-5.1.1 The account\n550 5.1.1 is gone\n", 0, 550, "5.1.1",
	"550 5.1.1 The account is gone"},
    {"550-5.1.1 The account\n550-5.1.1\n550 5.1.1 x\n", 0, 550, "5.1.1",
	"550 5.1.1 The account x"},
    {"556 5.1.10 null\n", 0, 556, "5.1.10", "556 5.1.10 null"},
    {"451 4.7.999 later\n", 0, 451, "4.7.999", "451 4.7.999 later"},
    /* H-34: of another class, or no enhanced code at all */
    {"250 5.1.1 odd\n", 0, 250, "", "250 5.1.1 odd"},
    {"550 4.1.1 odd\n", 0, 550, "", "550 4.1.1 odd"},
    {"550 5.1.1000 x\n", 0, 550, "", "550 5.1.1000 x"},
    {"550 5.1 x\n", 0, 550, "", "550 5.1 x"},
    {"550 5.1.1x\n", 0, 550, "", "550 5.1.1x"},
    {"550 5..1 x\n", 0, 550, "", "550 5..1 x"},
    {"550 5.1.1\n", 0, 550, "5.1.1", "550 5.1.1"},
    /* H-17, H-19: made printable */
    {"550 \033[31m\377%n\rx\n", 0, 550, "", "550 ?[31m?%n?x"},
    /* H-23: another code */
    {"250-a\n550 b\n", EPROTO, 250, "", "250 a"},
    {"250-a\n250b\n", EPROTO, 250, "", "250 a"},
    {"250-a\n\n", EPROTO, 250, "", "250 a"},
    /* H-24 */
    {"25 Ok\n", EPROTO, 0, "", ""},
    {"2500 Ok\n", EPROTO, 0, "", ""},
    {"25O Ok\n", EPROTO, 0, "", ""},
    {"250_Ok\n", EPROTO, 0, "", ""},
    {"+250 Ok\n", EPROTO, 0, "", ""},
    {" 250 Ok\n", EPROTO, 0, "", ""},
    {"\n", EPROTO, 0, "", ""},
    {"HTTP/1.0 400 Bad Request\n", EPROTO, 0, "", ""},
    {"SSH-2.0-OpenSSH\n", EPROTO, 0, "", ""},
    {"250:Ok\n", EPROTO, 0, "", ""},
    {"250\tOk\n", EPROTO, 0, "", ""},
    /* H-25 */
    {"000 x\n", EPROTO, 0, "", ""},
    {"199 x\n", EPROTO, 0, "", ""},
    {"650 x\n", EPROTO, 0, "", ""},
    {"999 x\n", EPROTO, 0, "", ""},
    {"299 x\n", 0, 299, "", "299 x"},
    {"399 x\n", 0, 399, "", "399 x"},
    {"599 x\n", EPROTO, 0, "", ""},
    {"460 x\n", EPROTO, 0, "", ""},
    /* H-26 */
    {"99999999999250 x\n", EPROTO, 0, "", ""},
    {"-250 x\n", EPROTO, 0, "", ""},
};

static void
check_reply(const struct reply_case *c)
{
	struct smtp_reply r = {0};
	const char *p = c->lines, *lf;
	bool more = true;
	int rc = 0;

	for (; (lf = strchr(p, '\n')) != NULL && rc == 0; p = lf + 1) {
		assert_true(more);
		errno = 0;
		rc = smtp_parse_reply_line(&r, p, (size_t)(lf - p), &more);
	}
	if (c->error == 0) {
		assert_int_equal(rc, 0);
		assert_false(more);
	} else {
		assert_int_equal(rc, -1);
		assert_int_equal(errno, c->error);
	}
	assert_int_equal(r.code, c->code);
	assert_string_equal(r.dsn, c->dsn);
	assert_string_equal(r.text, c->text);
}

static void
test_replies(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(reply_cases); i++)
		check_reply(&reply_cases[i]);
}

static void
test_reply_with_nul_and_of_any_length(void **state)
{
	struct smtp_reply r = {0};
	char *line = xmalloc(SASL_LINE_MAX + 2);
	bool more;
	int i;

	(void)state;
	assert_int_equal(smtp_parse_reply_line(&r, "250 a\0b", 7, &more), 0);
	assert_string_equal(r.text, "250 a?b");
	memset(line, 'x', SASL_LINE_MAX + 1);
	memcpy(line, "250-", 4);
	memset(&r, 0, sizeof(r));
	for (i = 0; i < 100; i++)
		assert_int_equal(
		    smtp_parse_reply_line(&r, line, SASL_LINE_MAX, &more), 0);
	assert_int_equal(strlen(r.text), OUTCOME_TEXT_MAX);
	assert_int_equal(
	    smtp_parse_reply_line(&r, line, SASL_LINE_MAX + 1, &more), -1);
	assert_int_equal(errno, EMSGSIZE);
	free(line);
}

static void
test_features(void **state)
{
	struct smtp_features f = {0};

	(void)state;
	smtp_parse_feature(&f, "pipelining  ");
	smtp_parse_feature(&f, "8bitMIME");
	smtp_parse_feature(&f, "\tSTARTTLS\t");
	smtp_parse_feature(&f, "SMTPUTF8");
	smtp_parse_feature(&f, "AUTH PLAIN");
	smtp_parse_feature(&f, "auth=login CRAM-MD5");
	smtp_parse_feature(&f, "DSNX");
	smtp_parse_feature(&f, "");
	assert_true(f.pipelining && f.eightbit && f.starttls && f.smtputf8);
	assert_false(f.dsn || f.size);
	assert_int_equal(f.auth, AUTH_PLAIN | AUTH_LOGIN | AUTH_CRAM_MD5);
}

/* H-28 */
static void
test_size_feature(void **state)
{
	static const struct {
		const char *line;
		uint64_t limit;
	} cases[] = {
	    {"SIZE", 0},
	    {"SIZE 0", 0},
	    {"SIZE 1000", 1000},
	    {"size\t1000 ", 1000},
	    {"SIZE 99999999999999999999", 0},
	    {"SIZE -1", 0},
	    {"SIZE +1", 0},
	    {"SIZE 10k", 0},
	    {"SIZE=77", 77},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct smtp_features f = {0};
		smtp_parse_feature(&f, cases[i].line);
		assert_true(f.size);
		assert_int_equal(f.size_limit, cases[i].limit);
	}
}

/* ---- The scripted server ---- */

struct server {
	const char *script;
	int listener, fd;
	char in[65536];
	size_t len;
	bool one_read;      /* C lines must be there already */
	char problem[8192]; /* two lines and more */
	pthread_t thread;
};

static void
complain_once(struct server *v, const char *what, const char *line, size_t len)
{
	if (v->problem[0] == '\0')
		(void)snprintf(v->problem, sizeof(v->problem),
		    "%s: \"%.*s\"; read: \"%.200s\"", what, (int)len, line,
		    v->in);
}

static bool
server_read(struct server *v)
{
	struct pollfd p = {.fd = v->fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, 5000) != 1)
		return false;
	n = recv(v->fd, v->in + v->len, sizeof(v->in) - 1 - v->len, 0);
	if (n <= 0)
		return false;
	v->len += (size_t)n;
	v->in[v->len] = '\0';
	return true;
}

/* The next line without its CRLF into line; false if none comes. */
static bool
server_line(struct server *v, char *line, size_t size)
{
	char *lf;
	size_t len;

	while ((lf = memchr(v->in, '\n', v->len)) == NULL)
		if (v->one_read || !server_read(v))
			return false;
	len = (size_t)(lf - v->in);
	if (len == 0 || lf[-1] != '\r')
		complain_once(v, "bare LF", v->in, len);
	(void)snprintf(line, size, "%.*s", len > 0 ? (int)len - 1 : 0, v->in);
	v->len -= len + 1;
	memmove(v->in, lf + 1, v->len);
	v->in[v->len] = '\0';
	return true;
}

static void
server_hear(struct server *v, const char *want, size_t len)
{
	char line[4096];

	if (!server_line(v, line, sizeof(line)))
		complain_once(v, "did not come", want, len);
	else if (strlen(line) != len || memcmp(line, want, len) != 0)
		complain_once(v, line, want, len);
}

static void
server_skip_message(struct server *v)
{
	char line[4096];

	do {
		if (!server_line(v, line, sizeof(line))) {
			complain_once(v, "no final dot", "", 0);
			return;
		}
	} while (strcmp(line, ".") != 0);
}

static void
server_accept(struct server *v)
{
	struct pollfd p = {.fd = v->listener, .events = POLLIN};

	v->len = 0;
	v->in[0] = '\0';
	v->one_read = false;
	if (poll(&p, 1, 5000) == 1)
		v->fd = accept(v->listener, NULL, NULL);
	if (v->fd == -1)
		complain_once(v, "no connection", "", 0);
}

static void
server_say(struct server *v, const struct buf *out)
{
	if (out->len > 0)
		(void)send(v->fd, out->data, out->len, MSG_NOSIGNAL);
}

static void
server_act(struct server *v, const char *line, size_t len)
{
	switch (line[0]) {
	case 'C':
		server_hear(v, line + 3, len - 3);
		break;
	case 'R':
		v->one_read = false;
		if (v->len > 0)
			complain_once(v, "came too early", "", 0);
		/* All that was written at once has come by then. */
		(void)usleep(20000);
		(void)server_read(v);
		v->one_read = true;
		break;
	case 'E':
		if (v->len > 0)
			complain_once(v, "left over", "", 0);
		v->one_read = false;
		break;
	case 'M':
		server_skip_message(v);
		break;
	case 'X':
		(void)close(v->fd);
		v->fd = -1;
		server_accept(v);
		break;
	default:
		complain_once(v, "script", line, len);
	}
}

static void *
server_main(void *arg)
{
	struct server *v = arg;
	const char *p = v->script, *lf;
	struct buf out = {0};

	server_accept(v);
	for (; v->fd != -1 && (lf = strchr(p, '\n')) != NULL; p = lf + 1) {
		if (*p == 'S') {
			(void)buf_put(&out, p + 3, (size_t)(lf - p) - 3);
			(void)buf_puts(&out, "\r\n");
			continue;
		}
		server_say(v, &out);
		buf_reset(&out);
		server_act(v, p, (size_t)(lf - p));
	}
	if (v->fd != -1) {
		server_say(v, &out);
		(void)close(v->fd);
	}
	buf_free(&out);
	return NULL;
}

static void
server_start(struct server *v, const char *script, struct smtp_target *t)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);

	memset(v, 0, sizeof(*v));
	v->script = script;
	v->fd = -1;
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v->listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_true(v->listener >= 0);
	assert_int_equal(bind(v->listener, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(v->listener, 5), 0);
	assert_int_equal(
	    getsockname(v->listener, (struct sockaddr *)&in, &len), 0);
	memset(t, 0, sizeof(*t));
	memcpy(&t->sa, &in, sizeof(in));
	t->len = sizeof(in);
	t->port = ntohs(in.sin_port);
	(void)snprintf(t->name, sizeof(t->name), "mx.test");
	(void)snprintf(t->address, sizeof(t->address), "127.0.0.1");
	assert_int_equal(pthread_create(&v->thread, NULL, server_main, v), 0);
}

static void
server_stop(struct server *v)
{
	(void)pthread_join(v->thread, NULL);
	(void)close(v->listener);
}

/* ---- The client's side ---- */

#define MESSAGE "Subject: x\n\n.dot\nlone\rcr\nend\n"
#define BODY    "C: Subject: x\nC: \nC: ..dot\nC: lone cr\nC: end\nC: .\n"
#define MESSAGE_8                                                              \
	"Content-Type: text/plain\n"                                           \
	"Content-Transfer-Encoding: 8bit\n\n\xc3\xbc\n"
#define BODY_8                                                                 \
	"C: Content-Type: text/plain\n"                                        \
	"C: Content-Transfer-Encoding: 8bit\nC: \nC: \xc3\xbc\nC: .\n"
#define BODY_QP                                                                \
	"C: Content-Type: text/plain\n"                                        \
	"C: Content-Transfer-Encoding: quoted-printable\n"                     \
	"C: MIME-Version: 1.0\nC: \nC: =C3=BC\nC: .\n"

enum {
	WITH_AUTH = 1,
	INSECURE = 2,
	LMTP = 4,
	TLS_IF_OFFERED = 8,
	TLS_NEEDED = 16,
	UTF8_RECIPIENT = 32, /* the last of each job */
	EIGHT_BIT = 64,
	DSN_WANTED = 128,
	HURRY = 256, /* the task's time is nearly over */
	VERIFY = 512,
	NO_SIZE = 1024,
	IN_HAND = 2048, /* callbacks.next has the second job */
	BIG = 4096      /* a message that fills the socket's buffers */
};

struct session_case {
	const char *name;
	unsigned flags;
	const char *jobs; /* recipients of each job, a digit each */
	const char *script;
	const char *expected;
};

struct client {
	struct buf said;
	struct buf trace;
	struct smtp_task *tasks[10];
	size_t ntasks, now;
	unsigned flags;
};

static const char *const class_names[] = {
    "defer", "sent", "fail", "uncertain", "untried"};

static void
client_result(void *arg, const struct job *j, size_t i, const struct outcome *o)
{
	struct client *c = arg;

	(void)buf_printf(&c->said, "%u/%u %s %s\n", (unsigned)j->number,
	    (unsigned)i, class_names[o->class], o->dsn);
	assert_true(o->text[0] != '\0');
}

static struct smtp_task *
client_next(void *arg)
{
	struct client *c = arg;

	return (c->flags & IN_HAND) != 0 && c->now + 1 < c->ntasks
		   ? c->tasks[c->now + 1]
		   : NULL;
}

static void
client_trace(void *arg, const char *line)
{
	struct client *c = arg;

	(void)buf_printf(&c->trace, "%s\n", line);
}

static int
make_message(unsigned flags, uint64_t *length)
{
	FILE *f = tmpfile();
	int fd, i;

	assert_non_null(f);
	if ((flags & BIG) != 0)
		for (i = 0; i < 400000; i++)
			(void)fprintf(f, "line %d of very many lines\n", i);
	else
		(void)fputs((flags & EIGHT_BIT) != 0 ? MESSAGE_8 : MESSAGE, f);
	(void)fflush(f);
	*length = (uint64_t)ftell(f);
	fd = dup(fileno(f));
	(void)fclose(f);
	return fd;
}

static struct smtp_task *
make_task(const struct session_case *k, size_t number, size_t n)
{
	struct job j = {.number = (uint32_t)number};
	size_t i;

	j.id = xstrdup("ID");
	j.sender = xstrdup("me@here.test");
	j.fd = make_message(k->flags, &j.length);
	j.flags = (k->flags & EIGHT_BIT) != 0 ? MESSAGE_8BIT : 0;
	j.nrecipients = n;
	j.recipients = xcalloc(n, sizeof(*j.recipients));
	for (i = 0; i < n; i++) {
		j.recipients[i].number = (uint32_t)i;
		j.recipients[i].addr =
		    (k->flags & UTF8_RECIPIENT) != 0 && i == n - 1
			? xstrdup("\xc3\xbc@there.test")
			: xasprintf("u%zu@there.test", i);
		if ((k->flags & DSN_WANTED) == 0)
			continue;
		j.recipients[i].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
		j.recipients[i].orcpt = xstrdup("rfc822;o+2Bx@there.test");
	}
	if ((k->flags & DSN_WANTED) != 0) {
		j.envid = xstrdup("an id");
		j.ret = RET_HDRS;
	}
	return smtp_task_new(&j);
}

static void
make_hop(const struct session_case *k, struct hop *hop)
{
	static char host[] = "mx.test", helo[] = "here.test", user[] = "me",
		    password[] = "secret";

	memset(hop, 0, sizeof(*hop));
	hop->kind = HOP_RELAY;
	hop->host = host;
	hop->helo = helo;
	hop->tls = TLS_NONE;
	/* No case waits for one, HURRY aside: a busy machine may be slow. */
	hop->timeouts = 10;
	if ((k->flags & TLS_IF_OFFERED) != 0)
		hop->tls = TLS_MAY;
	if ((k->flags & TLS_NEEDED) != 0)
		hop->tls = TLS_STARTTLS;
	if ((k->flags & LMTP) != 0)
		hop->protocol = PROTOCOL_LMTP;
	hop->insecure = (k->flags & INSECURE) != 0;
	hop->verify = (k->flags & VERIFY) != 0;
	if ((k->flags & WITH_AUTH) != 0) {
		hop->auth = true;
		hop->user = user;
		hop->password = password;
	}
}

static void
say_failure(struct client *c, const struct smtp_failure *f)
{
	static const char *const kinds[] = {
	    "unreachable", "refused", "auth", "busy", "no network"};

	(void)buf_printf(&c->said, "open: %s%s %s\n", kinds[f->kind],
	    f->stop ? " stop" : "", f->outcome.dsn);
	assert_int_equal(f->outcome.class, OUTCOME_DEFER);
	assert_true(f->outcome.text[0] != '\0');
}

/* As the agent does, less the other addresses. */
static void
run_tasks(struct client *c, const struct hop *hop,
    const struct smtp_target *target, const struct smtp_callbacks *cb)
{
	static const char *const words[] = {"settled", "next", "reconnect"};
	struct smtp_session *s = NULL;
	struct smtp_failure f = {0};
	enum smtp_sent sent;

	while (c->now < c->ntasks) {
		struct smtp_task *t = c->tasks[c->now];
		smtp_task_start(t, hop);
		if (s == NULL)
			s = smtp_open(hop, target, cb, t->deadline, &f);
		if (s == NULL) {
			say_failure(c, &f);
			return;
		}
		if ((c->flags & HURRY) != 0)
			t->deadline = now_ms() + 300;
		sent = smtp_send(s, t);
		(void)buf_printf(&c->said, "%s\n", words[sent]);
		if (sent == SMTP_NEXT)
			smtp_task_finish(t, cb);
		if (sent != SMTP_RECONNECT)
			c->now++;
		if (!smtp_usable(s)) {
			smtp_close(s);
			s = NULL;
		}
	}
	smtp_close(s);
}

static void
check_session(const struct session_case *k, const char *must_not_show)
{
	static struct server v;
	struct client c = {.flags = k->flags};
	struct smtp_callbacks cb = {.arg = &c,
	    .result = client_result,
	    .next = client_next,
	    .trace = client_trace};
	struct smtp_target target;
	struct hop hop;
	size_t i;

	make_hop(k, &hop);
	for (i = 0; k->jobs[i] != '\0'; i++)
		c.tasks[c.ntasks++] =
		    make_task(k, i, (size_t)(k->jobs[i] - '0'));
	server_start(&v, k->script, &target);
	run_tasks(&c, &hop, &target, &cb);
	server_stop(&v);
	if (v.problem[0] != '\0' || strcmp(buf_str(&c.said), k->expected) != 0)
		print_message("%s:\n%s\n-- trace:\n%s", k->name, v.problem,
		    buf_str(&c.trace));
	assert_string_equal(buf_str(&c.said), k->expected);
	assert_string_equal(v.problem, "");
	if (must_not_show != NULL)
		assert_null(strstr(buf_str(&c.trace), must_not_show));
	for (i = 0; i < c.ntasks; i++)
		smtp_task_free(c.tasks[i]);
	buf_free(&c.said);
	buf_free(&c.trace);
}

static void
check_sessions(const struct session_case *cases, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		check_session(&cases[i], NULL);
}

#define HELLO "S: 220 mx.test\nC: EHLO here.test\nS: 250 mx.test\n"
#define HELLO_P                                                                \
	"S: 220 mx.test\nC: EHLO here.test\n"                                  \
	"S: 250-mx.test\nS: 250 PIPELINING\n"
#define MAIL     "C: MAIL FROM:<me@here.test>\n"
#define RCPT(n)  "C: RCPT TO:<u" #n "@there.test>\n"
#define OK       "S: 250 ok\n"
#define QUIT     "C: QUIT\nS: 221 bye\n"
#define ENVELOPE MAIL OK RCPT(0) OK "C: DATA\nS: 354 go\n"
/* A pipelined envelope in one read. */
#define ENVELOPE_P "R\n" MAIL RCPT(0) "C: DATA\nE\n"
#define GO_P       OK OK "S: 354 go\n"

/* ---- Sessions that go well ---- */

static const struct session_case good_cases[] = {
    {"one by one", 0, "1", HELLO ENVELOPE BODY "S: 250 2.0.0 ok\n" QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"multi-line greeting, bare LF is the server's own affair", 0, "1",
	"S: 220-hello\nS: 220 there\nC: EHLO here.test\n" OK ENVELOPE BODY OK
	    QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"HELO after 502", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 502 what\nC: HELO here.test\n" OK
	    ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"a body and its dot in one write", 0, "1",
	HELLO_P ENVELOPE_P GO_P "R\n" BODY "E\n" OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"251 and 252 accept", 0, "2",
	HELLO MAIL OK RCPT(0) "S: 251 on its way\n" RCPT(
	    1) "S: 252 perhaps\nC: DATA\nS: 354 go\n" BODY OK QUIT,
	"0/0 sent 2.0.0\n0/1 sent 2.0.0\nsettled\n"},
    {"the connection is kept", 0, "11",
	HELLO ENVELOPE BODY OK ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"one round trip a message", IN_HAND, "111",
	HELLO_P ENVELOPE_P GO_P
	"R\n" BODY MAIL RCPT(0) "C: DATA\nE\n" OK GO_P "R\n" BODY MAIL RCPT(
	    0) "C: DATA\nE\n" OK GO_P "R\n" BODY "E\n" OK QUIT,
	"0/0 sent 2.0.0\nsettled\n1/0 sent 2.0.0\nsettled\n"
	"2/0 sent 2.0.0\nsettled\n"},
    {"the dot is refused, the next is not", IN_HAND, "11",
	HELLO_P ENVELOPE_P GO_P "R\n" BODY MAIL RCPT(
	    0) "C: DATA\nE\nS: 554 5.7.1 spam\n" GO_P BODY OK QUIT,
	"0/0 fail 5.7.1\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"parameters that are offered", EIGHT_BIT | DSN_WANTED, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250-SIZE 1000\n"
	"S: 250-8BITMIME\nS: 250 DSN\n"
	"C: MAIL FROM:<me@here.test> SIZE=61 BODY=8BITMIME RET=HDRS"
	" ENVID=an+20id\n" OK "C: RCPT TO:<u0@there.test>"
	" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bx@there.test\n" OK
	"C: DATA\nS: 354 go\n" BODY_8 OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"parameters that are not", EIGHT_BIT | DSN_WANTED, "1",
	HELLO ENVELOPE BODY_QP OK QUIT, "0/0 sent 2.0.0\nsettled\n"},
    {"the size of what is sent", EIGHT_BIT, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 SIZE 1000\n"
	"C: MAIL FROM:<me@here.test> SIZE=100\n" OK RCPT(0) OK
	"C: DATA\nS: 354 go\n" BODY_QP OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"a size that is too much once encoded", EIGHT_BIT, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 SIZE 99\n" QUIT,
	"next\n0/0 fail 5.3.4\n"},
    {"555: what cannot be announced is encoded", EIGHT_BIT, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 8BITMIME\n"
	"C: MAIL FROM:<me@here.test> BODY=8BITMIME\nS: 555 what\n"
	"C: RSET\n" OK ENVELOPE BODY_QP OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"555: again without parameters", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 SIZE\n"
	"C: MAIL FROM:<me@here.test> SIZE=29\nS: 555 what\n"
	"C: RSET\n" OK ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"an internationalized address", UTF8_RECIPIENT, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 SMTPUTF8\n"
	"C: MAIL FROM:<me@here.test> SMTPUTF8\n" OK
	"C: RCPT TO:<\xc3\xbc@there.test>\n" OK
	"C: DATA\nS: 354 go\n" BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"LMTP: a reply a recipient", LMTP, "3",
	"S: 220 x\nC: LHLO here.test\nS: 250-x\nS: 250 PIPELINING\n"
	"R\n" MAIL RCPT(0) RCPT(1) RCPT(
	    2) "C: DATA\nE\n" OK OK "S: 550 5.1.1 who\n" OK "S: 354 go\n" BODY
	       "S: 250 2.1.5 in\nS: 452 4.2.2 full\n" QUIT,
	"0/1 fail 5.1.1\n0/0 sent 2.1.5\n0/2 defer 4.2.2\nsettled\n"},
    {"a large message", BIG, "1", HELLO ENVELOPE "M\n" OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"QUIT answered with nonsense", 0, "1",
	HELLO ENVELOPE BODY OK "C: QUIT\nS: gibberish\n",
	"0/0 sent 2.0.0\nsettled\n"},
    {"250, then the connection is gone", 0, "1", HELLO ENVELOPE BODY OK,
	"0/0 sent 2.0.0\nsettled\n"},
};

static void
test_good_sessions(void **state)
{
	(void)state;
	check_sessions(good_cases, ARRAY_LEN(good_cases));
}

/* ---- Recipients ---- */

static const struct session_case recipient_cases[] = {
    {"some refused", 0, "3",
	HELLO_P "R\n" MAIL RCPT(0) RCPT(1)
	    RCPT(2) "C: DATA\nE\n" OK "S: 550 no\nS: 450 4.2.1 grey\n" OK
		    "S: 354 go\n" BODY OK QUIT,
	"0/0 fail 5.1.1\n0/1 defer 4.2.1\n0/2 sent 2.0.0\nsettled\n"},
    {"all refused, one by one: no DATA", 0, "2",
	HELLO MAIL OK RCPT(0) "S: 553 no\n" RCPT(1) "S: 451 no\n" QUIT,
	"0/0 fail 5.1.3\n0/1 defer 4.0.0\nsettled\n"},
    {"all refused, and yet 354: a lone dot", IN_HAND, "11",
	HELLO_P ENVELOPE_P OK
	"S: 550 5.1.1 no\nS: 354 go\nC: .\n" OK ENVELOPE_P GO_P BODY OK QUIT,
	"0/0 fail 5.1.1\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"all refused: RSET with the next envelope", 0, "11",
	HELLO_P ENVELOPE_P OK
	"S: 550 5.1.1 no\nS: 503 no\n"
	"R\nC: RSET\n" MAIL RCPT(0) "C: DATA\nE\n" OK GO_P BODY OK QUIT,
	"0/0 fail 5.1.1\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"452: the rest goes in a second transaction", 0, "3",
	HELLO MAIL OK RCPT(0) OK RCPT(1) "S: 452 too many recipients\n" RCPT(
	    2) "S: 452 too many recipients\nC: DATA\nS: 354 go\n" BODY OK MAIL
	    OK RCPT(1) OK RCPT(2) OK "C: DATA\nS: 354 go\n" BODY OK QUIT,
	"0/0 sent 2.0.0\n0/1 sent 2.0.0\n0/2 sent 2.0.0\nsettled\n"},
    {"452 pipelined: the second one behind the dot", IN_HAND, "31",
	HELLO_P "R\n" MAIL RCPT(0) RCPT(1)
	    RCPT(2) "C: DATA\nE\n" OK OK
		    "S: 452 4.5.3 enough\nS: 552 too many recipients\nS: 354 "
		    "go\nR\n" BODY MAIL RCPT(1) RCPT(
			2) "C: DATA\nE\n" OK OK OK
			   "S: 550 5.1.1 no\nS: 354 go\nR\n" BODY MAIL RCPT(
			       0) "C: DATA\nE\n" OK GO_P BODY OK QUIT,
	"0/0 sent 2.0.0\n0/2 fail 5.1.1\n0/1 sent 2.0.0\nsettled\n"
	"1/0 sent 2.0.0\nsettled\n"},
    {"452 behind a refused dot keeps its own fate", 0, "2",
	HELLO_P "R\n" MAIL RCPT(0)
	    RCPT(1) "C: DATA\nE\n" OK OK
		    "S: 452 4.5.3 enough\nS: 354 go\nR\n" BODY MAIL RCPT(
			1) "C: DATA\nE\nS: 554 5.6.0 no\n" GO_P BODY OK QUIT,
	"0/0 fail 5.6.0\n0/1 sent 2.0.0\nsettled\n"},
    {"452 for a full mailbox defers", 0, "2",
	HELLO MAIL OK RCPT(0) OK RCPT(
	    1) "S: 452 4.2.2 over quota\nC: DATA\nS: 354 go\n" BODY OK QUIT,
	"0/1 defer 4.2.2\n0/0 sent 2.0.0\nsettled\n"},
    {"452 for the first defers", 0, "1",
	HELLO MAIL OK RCPT(0) "S: 452 too many recipients\n" QUIT,
	"0/0 defer 4.3.1\nsettled\n"},
    {"552 for a full mailbox fails", 0, "2",
	HELLO MAIL OK RCPT(0) OK RCPT(
	    1) "S: 552 5.2.2 over quota\nC: DATA\nS: 354 go\n" BODY OK QUIT,
	"0/1 fail 5.2.2\n0/0 sent 2.0.0\nsettled\n"},
    {"530 to RCPT speaks of us", 0, "1",
	HELLO MAIL OK RCPT(0) "S: 530 5.7.0 authenticate\n" QUIT,
	"0/0 defer 4.7.0\nsettled\n"},
    {"no SMTPUTF8: the others go", UTF8_RECIPIENT, "2",
	HELLO ENVELOPE BODY OK QUIT, "0/0 sent 2.0.0\nnext\n0/1 fail 5.6.7\n"},
};

static void
test_recipients(void **state)
{
	(void)state;
	check_sessions(recipient_cases, ARRAY_LEN(recipient_cases));
}

/* ---- Refusals of the whole ---- */

static const struct session_case refusal_cases[] = {
    {"4yz to MAIL: the next address", 0, "1",
	HELLO MAIL "S: 451 4.3.0 later\n" QUIT, "next\n0/0 defer 4.3.0\n"},
    {"5yz to MAIL fails all", 0, "2", HELLO MAIL "S: 550 5.7.1 no\n" QUIT,
	"0/0 fail 5.7.1\n0/1 fail 5.7.1\nsettled\n"},
    {"5yz to MAIL, pipelined, and yet 354", 0, "1",
	HELLO_P ENVELOPE_P
	"S: 550 5.7.1 no\nS: 503 no\nS: 354 go\nC: .\n" OK QUIT,
	"0/0 fail 5.7.1\nsettled\n"},
    {"refused and hung up on: the refusal holds", 0, "1",
	HELLO_P ENVELOPE_P "S: 550 5.7.1 no\nS: 503 no\nS: 503 no\n",
	"0/0 fail 5.7.1\nsettled\n"},
    {"refused with a goodbye", 0, "1",
	HELLO_P ENVELOPE_P OK "S: 550 5.1.1 no\nS: 503 no\nS: 421 bye\n",
	"0/0 fail 5.1.1\nsettled\n"},
    {"530 to MAIL speaks of us", 0, "1",
	HELLO MAIL "S: 530 5.7.0 STARTTLS first\n" QUIT,
	"next\n0/0 defer 4.7.0\n"},
    {"552 to MAIL: another may take it", 0, "1",
	HELLO MAIL "S: 552 too big\n" QUIT, "next\n0/0 fail 5.3.4\n"},
    {"SIZE is too small", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 SIZE 28\n" QUIT,
	"next\n0/0 fail 5.3.4\n"},
    {"4yz to DATA", 0, "1",
	HELLO MAIL OK RCPT(0) OK "C: DATA\nS: 451 4.3.2 no\n" QUIT,
	"next\n0/0 defer 4.3.2\n"},
    {"5yz to DATA", 0, "1",
	HELLO MAIL OK RCPT(0) OK "C: DATA\nS: 554 5.5.1 no\n" QUIT,
	"0/0 fail 5.5.1\nsettled\n"},
    {"503 to DATA blames nobody", 0, "1",
	HELLO MAIL OK RCPT(0) OK "C: DATA\nS: 503 order\n" QUIT,
	"next\n0/0 defer 4.0.0\n"},
    {"4yz to the dot", 0, "1", HELLO ENVELOPE BODY "S: 451 4.7.1 later\n" QUIT,
	"0/0 defer 4.7.1\nsettled\n"},
    {"5yz to the dot", 0, "1", HELLO ENVELOPE BODY "S: 552 too big\n" QUIT,
	"0/0 fail 5.3.4\nsettled\n"},
    {"421 to the dot", 0, "1", HELLO ENVELOPE BODY "S: 421 4.3.2 closing\n",
	"0/0 defer 4.3.2\nsettled\n"},
    {"a reply in the middle of the message", BIG, "1",
	HELLO ENVELOPE "C: line 0 of very many lines\nS: 552 5.3.4 enough\n",
	"0/0 fail 5.3.4\nsettled\n"},
};

static void
test_refusals(void **state)
{
	(void)state;
	check_sessions(refusal_cases, ARRAY_LEN(refusal_cases));
}

/* ---- 421, the end, and nonsense at every stage ---- */

static const struct session_case broken_cases[] = {
    {"421 greeting", 0, "1", "S: 421 4.7.0 too many connections\n",
	"open: busy 4.7.0\n"},
    {"554 greeting", 0, "1", "S: 554 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
    {"450 greeting", 0, "1", "S: 450 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
    {"250 greeting", 0, "1", "S: 250 no\n", "open: unreachable 4.5.0\n"},
    {"SSH", 0, "1", "S: SSH-2.0-x\n", "open: unreachable 4.5.0\n"},
    {"no greeting", 0, "1", "", "open: unreachable 4.4.2\n"},
    {"a greeting cut short", 0, "1", "S: 220-x\n", "open: unreachable 4.4.2\n"},
    {"a reply before EHLO", 0, "1", "S: 220 x\nS: 250 x\n",
	"open: unreachable 4.5.0\n"},
    {"421 to EHLO", 0, "1", "S: 220 x\nC: EHLO here.test\nS: 421 no\n",
	"open: busy 4.0.0\n"},
    {"4yz to EHLO: no HELO", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 450 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
    {"EHLO and HELO refused", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 554 no\nC: HELO here.test\n"
	"S: 554 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
    {"closed at EHLO", 0, "1", "S: 220 x\nC: EHLO here.test\n",
	"open: unreachable 4.4.2\n"},
    {"two codes in one reply", 0, "1",
	"S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 550 y\n",
	"open: unreachable 4.5.0\n"},
    {"421 to MAIL", 0, "1", HELLO MAIL "S: 421 4.3.2 no\n",
	"next\n0/0 defer 4.3.2\n"},
    {"421 to RCPT", 0, "2",
	HELLO MAIL OK RCPT(0) "S: 550 5.1.1 no\n" RCPT(1) "S: 421 4.3.2 no\n",
	"0/0 fail 5.1.1\nnext\n0/1 defer 4.3.2\n"},
    {"421 to DATA", 0, "1",
	HELLO MAIL OK RCPT(0) OK "C: DATA\nS: 421 4.3.2 no\n",
	"next\n0/0 defer 4.3.2\n"},
    {"closed at MAIL", 0, "1", HELLO MAIL, "next\n0/0 defer 4.4.2\n"},
    {"closed at RCPT", 0, "2",
	HELLO MAIL OK RCPT(0) "S: 550 5.1.1 no\n" RCPT(1),
	"0/0 fail 5.1.1\nnext\n0/1 defer 4.4.2\n"},
    {"closed at DATA", 0, "1", HELLO MAIL OK RCPT(0) OK "C: DATA\n",
	"next\n0/0 defer 4.4.2\n"},
    {"closed in the message", BIG, "1",
	HELLO ENVELOPE "C: line 0 of very many lines\n",
	"next\n0/0 defer 4.4.2\n"},
    {"3yz to MAIL", 0, "1", HELLO MAIL "S: 354 what\n",
	"next\n0/0 defer 4.5.0\n"},
    {"250 to DATA", 0, "1", HELLO MAIL OK RCPT(0) OK "C: DATA\n" OK,
	"next\n0/0 defer 4.5.0\n"},
    {"nonsense to RCPT", 0, "1", HELLO MAIL OK RCPT(0) "S: what?\n",
	"next\n0/0 defer 4.5.0\n"},
    {"unasked bytes before a command", 0, "1",
	HELLO MAIL "S: 250 ok\nS: 550 5.1.1 no\n", "next\n0/0 defer 4.5.0\n"},
    {"one reply too many in a group", 0, "1",
	HELLO_P ENVELOPE_P OK "S: 550 5.1.1 no\nS: 503 x\nS: 250 x\n",
	"next\n0/0 defer 4.5.0\n"},
    {"one reply too many, and 354", 0, "2",
	HELLO_P "R\n" MAIL RCPT(0) RCPT(
	    1) "C: DATA\nE\n" OK "S: 550 5.1.1 no\n" OK "S: 354 go\nS: 250 x\n",
	"next\n0/0 defer 4.5.0\n0/1 defer 4.5.0\n"},
    {"dot, then the end", 0, "1", HELLO ENVELOPE BODY,
	"0/0 uncertain 4.4.2\nsettled\n"},
    {"dot, then half a reply", 0, "1", HELLO ENVELOPE BODY "S: 250-ok\n",
	"0/0 uncertain 4.4.2\nsettled\n"},
    {"dot, then 354", 0, "1", HELLO ENVELOPE BODY "S: 354 go\n",
	"0/0 uncertain 4.5.0\nsettled\n"},
    {"dot, then nonsense", 0, "1", HELLO ENVELOPE BODY "S: what?\n",
	"0/0 uncertain 4.5.0\nsettled\n"},
    {"dot, then silence", HURRY, "1", HELLO ENVELOPE BODY "C: QUIT\n",
	"0/0 uncertain 4.4.2\nsettled\n"},
    {"RCPT, then silence", HURRY, "1", HELLO MAIL OK RCPT(0) "C: QUIT\n",
	"next\n0/0 defer 4.4.2\n"},
    {"LMTP: cut between two replies", LMTP, "2",
	"S: 220 x\nC: LHLO here.test\n" OK MAIL OK RCPT(0) OK RCPT(1) OK
	"C: DATA\nS: 354 go\n" BODY OK,
	"0/0 sent 2.0.0\n0/1 uncertain 4.4.2\nsettled\n"},
    {"LMTP: 500 to LHLO is no HELO", LMTP, "1",
	"S: 220 x\nC: LHLO here.test\nS: 500 what\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
};

static void
test_broken_sessions_H_51(void **state)
{
	struct session_case k;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(broken_cases); i++) {
		k = broken_cases[i];
		/* These wait for a QUIT that must not come. */
		if ((k.flags & HURRY) == 0) {
			check_session(&k, NULL);
			continue;
		}
		k.script = strcmp(k.name, "dot, then silence") == 0
			       ? HELLO ENVELOPE BODY "R\n"
			       : HELLO MAIL OK RCPT(0) "R\n";
		check_session(&k, NULL);
	}
}

/* ---- Kept connections that end ---- */

static const struct session_case kept_cases[] = {
    {"closed while idle", 0, "11",
	HELLO ENVELOPE BODY OK "X\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\nreconnect\n1/0 sent 2.0.0\nsettled\n"},
    {"421 to the second MAIL", 0, "11",
	HELLO ENVELOPE BODY OK MAIL
	"S: 421 enough\nX\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\nreconnect\n1/0 sent 2.0.0\nsettled\n"},
    {"421 to the envelope behind the dot", IN_HAND, "11",
	HELLO_P ENVELOPE_P GO_P BODY MAIL RCPT(
	    0) "C: DATA\n" OK "S: 421 enough\nX\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\nreconnect\n1/0 sent 2.0.0\nsettled\n"},
    {"closed after the first dot", IN_HAND, "11",
	HELLO_P ENVELOPE_P GO_P BODY MAIL RCPT(
	    0) "C: DATA\n" OK "X\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\nreconnect\n1/0 sent 2.0.0\nsettled\n"},
    {"an uncertain dot leaves the next untouched", IN_HAND, "11",
	HELLO_P ENVELOPE_P GO_P BODY MAIL RCPT(
	    0) "C: DATA\nX\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 uncertain 4.4.2\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"421 to the dot leaves the next untouched", IN_HAND, "11",
	HELLO_P ENVELOPE_P GO_P BODY MAIL RCPT(
	    0) "C: DATA\nS: 421 4.3.2 x\nX\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 defer 4.3.2\nsettled\n1/0 sent 2.0.0\nsettled\n"},
    {"an unasked reply after the dot's", 0, "11",
	HELLO ENVELOPE BODY OK
	"S: 550 5.1.1 what\nX\n" HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\nreconnect\n1/0 sent 2.0.0\nsettled\n"},
};

static void
test_kept_connections(void **state)
{
	(void)state;
	check_sessions(kept_cases, ARRAY_LEN(kept_cases));
}

/* ---- STARTTLS and AUTH ---- */

#define OFFER(word) "S: 220 x\nC: EHLO here.test\nS: 250-x\nS: 250 " word "\n"

static const struct session_case tls_cases[] = {
    {"stripped, and needed", TLS_NEEDED, "1", HELLO "C: QUIT\n",
	"open: refused 4.7.4\n"},
    {"stripped, and a credential to protect", TLS_IF_OFFERED | WITH_AUTH, "1",
	OFFER("AUTH PLAIN") "C: QUIT\n", "open: refused 4.7.4\n"},
    {"stripped, and may be", TLS_IF_OFFERED, "1", HELLO ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"refused, and may be", TLS_IF_OFFERED, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 454 no\n" ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"refused, and needed", TLS_NEEDED, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 454 4.7.0 no\nC: QUIT\n",
	"open: refused 4.7.0\n"},
    {"refused, and a credential to protect",
	TLS_IF_OFFERED | WITH_AUTH | INSECURE, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 502 no\nC: QUIT\n",
	"open: refused 4.0.0\n"},
    {"bytes behind the 220: an attack", TLS_IF_OFFERED, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 220 go\nS: 250 AUTH PLAIN\n",
	"open: refused 4.7.5\n"},
    {"no TLS behind the 220, and may be: afresh without", TLS_IF_OFFERED, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 220 go\nX\n" OFFER("STARTTLS")
	    ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"no TLS behind the 220, and verified is asked for",
	TLS_IF_OFFERED | VERIFY, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 220 go\n", "open: refused 4.7.5\n"},
    {"no TLS behind the 220, and needed", TLS_NEEDED, "1",
	OFFER("STARTTLS") "C: STARTTLS\nS: 220 go\n", "open: refused 4.7.5\n"},
    {"EHLO refused where TLS is needed: no HELO", TLS_NEEDED, "1",
	"S: 220 x\nC: EHLO here.test\nS: 502 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
};

static void
test_starttls(void **state)
{
	(void)state;
	check_sessions(tls_cases, ARRAY_LEN(tls_cases));
}

#define AUTH_FLAGS WITH_AUTH | INSECURE

static const struct session_case auth_cases[] = {
    {"PLAIN", AUTH_FLAGS, "1",
	OFFER("AUTH LOGIN PLAIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\n"
				  "S: 235 ok\n" ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"LOGIN", AUTH_FLAGS, "1",
	OFFER("AUTH=LOGIN") "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: bWU=\n"
			    "S: 334 \nC: c2VjcmV0\nS: 235 ok\n" ENVELOPE BODY OK
				QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"504: the next mechanism", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN CRAM-MD5") "C: AUTH CRAM-MD5\nS: 504 no\n"
				     "C: AUTH PLAIN AG1lAHNlY3JldA==\n"
				     "S: 235 ok\n" ENVELOPE BODY OK QUIT,
	"0/0 sent 2.0.0\nsettled\n"},
    {"535 stops the run", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN LOGIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\n"
				  "S: 535 5.7.8 no\nC: QUIT\n",
	"open: auth stop 4.7.8\n"},
    {"454 defers", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\n"
			    "S: 454 4.7.0 no\nC: QUIT\n",
	"open: auth 4.7.0\n"},
    {"421 is busy", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 421 no\n",
	"open: busy 4.0.0\n"},
    {"none offered", AUTH_FLAGS, "1", HELLO "C: QUIT\n", "open: auth 4.7.0\n"},
    {"none that we know", AUTH_FLAGS, "1",
	OFFER("AUTH GSSAPI NTLM") "C: QUIT\n", "open: auth 4.7.0\n"},
    {"all refused as unknown", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\n"
			    "S: 504 5.5.4 no\nC: QUIT\n",
	"open: auth 4.5.4\n"},
    {"235 before the credential", AUTH_FLAGS, "1",
	OFFER("AUTH LOGIN") "C: AUTH LOGIN\nS: 235 ok\n",
	"open: unreachable 4.5.0\n"},
    {"250 instead of 235", AUTH_FLAGS, "1",
	OFFER("AUTH PLAIN") "C: AUTH PLAIN AG1lAHNlY3JldA==\nS: 250 ok\n",
	"open: unreachable 4.5.0\n"},
    {"a challenge that is no base64", AUTH_FLAGS, "1",
	OFFER("AUTH LOGIN") "C: AUTH LOGIN\nS: 334 what?\nC: *\n"
			    "S: 501 cancelled\n",
	"open: auth 4.7.0\n"},
    {"challenges for ever", AUTH_FLAGS, "1",
	OFFER("AUTH LOGIN") "C: AUTH LOGIN\nS: 334 \nC: bWU=\nS: 334 \n"
			    "C: c2VjcmV0\nS: 334 \nC: *\nS: 501 x\n",
	"open: auth 4.7.0\n"},
    {"EHLO refused where AUTH is needed: no HELO", AUTH_FLAGS, "1",
	"S: 220 x\nC: EHLO here.test\nS: 502 no\nC: QUIT\n",
	"open: unreachable 4.0.0\n"},
};

/* And never is a secret shown, as it is or in base64. */
static void
test_auth(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(auth_cases); i++) {
		check_session(&auth_cases[i], "c2VjcmV0");
		check_session(&auth_cases[i], "AG1lAHNlY3JldA");
	}
}

/* ---- What people and log tools read ---- */

static void
keep_outcome(void *arg, const struct job *j, size_t i, const struct outcome *o)
{
	(void)j;
	(void)i;
	*(struct outcome *)arg = *o;
}

static void
get_outcome(const char *script, struct outcome *o, struct smtp_target *target)
{
	static struct server v;
	static const struct session_case k = {.jobs = "1"};
	struct smtp_callbacks cb = {.arg = o, .result = keep_outcome};
	struct smtp_failure f = {0};
	struct smtp_session *s;
	struct smtp_task *t = make_task(&k, 0, 1);
	struct hop hop;

	memset(o, 0, sizeof(*o));
	make_hop(&k, &hop);
	server_start(&v, script, target);
	s = smtp_open(&hop, target, &cb, now_ms() + 5000, &f);
	assert_non_null(s);
	(void)smtp_send(s, t);
	smtp_close(s);
	server_stop(&v);
	smtp_task_free(t);
	assert_string_equal(v.problem, "");
}

static void
test_words(void **state)
{
	struct smtp_target target;
	struct outcome o;
	char relay[64];

	(void)state;
	get_outcome(HELLO MAIL OK RCPT(0) "S: 550 5.1.1 no such user\n" QUIT,
	    &o, &target);
	(void)snprintf(relay, sizeof(relay), "mx.test[127.0.0.1]:%u",
	    (unsigned)target.port);
	assert_string_equal(o.relay, relay);
	assert_string_equal(o.text, "host mx.test[127.0.0.1] said: "
				    "550 5.1.1 no such user "
				    "(in reply to RCPT TO command)");
	get_outcome(HELLO ENVELOPE BODY "S: 250 2.0.0 Ok: queued as X\n" QUIT,
	    &o, &target);
	assert_string_equal(o.text, "250 2.0.0 Ok: queued as X");
}

/* A line break in an address would be a command of its own. */
static void
test_last_gate_V_08(void **state)
{
	static const struct session_case k = {.jobs = "1"};
	static struct server v;
	struct outcome o = {0};
	struct smtp_callbacks cb = {.arg = &o, .result = keep_outcome};
	struct smtp_failure f = {0};
	struct smtp_target target;
	struct smtp_session *s;
	struct smtp_task *t = make_task(&k, 0, 1);
	struct hop hop;

	(void)state;
	free(t->job.recipients[0].addr);
	t->job.recipients[0].addr = xstrdup("a>\r\nRSET\r\n<b@there.test");
	make_hop(&k, &hop);
	server_start(&v, HELLO QUIT, &target);
	s = smtp_open(&hop, &target, &cb, now_ms() + 5000, &f);
	assert_non_null(s);
	assert_int_equal(smtp_send(s, t), SMTP_NEXT);
	smtp_close(s);
	server_stop(&v);
	assert_string_equal(v.problem, "");
	smtp_task_finish(t, &cb);
	assert_int_equal(o.class, OUTCOME_DEFER);
	smtp_task_free(t);
}

/* In doubt, defer: a permanent verdict never covers a temporary one. */
static void
test_verdicts(void **state)
{
	static const struct session_case k = {.jobs = "1"};
	struct smtp_task *t = make_task(&k, 0, 1);
	struct outcome fail = {0}, defer = {0};

	(void)state;
	outcome_set(&fail, OUTCOME_FAIL, "5.3.4", "too large");
	outcome_set(&defer, OUTCOME_DEFER, "4.4.1", "refused");
	smtp_task_note(t, 0, &fail);
	assert_int_equal(t->recipients[0].outcome.class, OUTCOME_FAIL);
	smtp_task_note(t, 0, &defer);
	assert_int_equal(t->recipients[0].outcome.class, OUTCOME_DEFER);
	smtp_task_note(t, 0, &fail);
	assert_int_equal(t->recipients[0].outcome.class, OUTCOME_DEFER);
	smtp_task_free(t);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_replies),
	    cmocka_unit_test(test_reply_with_nul_and_of_any_length),
	    cmocka_unit_test(test_features),
	    cmocka_unit_test(test_size_feature),
	    cmocka_unit_test(test_good_sessions),
	    cmocka_unit_test(test_recipients),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_broken_sessions_H_51),
	    cmocka_unit_test(test_kept_connections),
	    cmocka_unit_test(test_starttls),
	    cmocka_unit_test(test_auth),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_last_gate_V_08),
	    cmocka_unit_test(test_verdicts),
	};

	/* As process_enter() does: OpenSSL writes without MSG_NOSIGNAL. */
	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
