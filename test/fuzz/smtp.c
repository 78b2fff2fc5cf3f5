/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp.c - any server's side of a whole SMTP session: each recipient comes to
 * one outcome, sent only if the whole message went out; what we say is lines
 * without a control byte, and no password in the clear.
 *
 * The socket is one end of a pair, time stands still until the server has
 * nothing more to say, and TLS is no cryptography at all.  Two bytes say what
 * the hop and the mail are like; the rest is what the server says, a reply
 * each time that somebody waits for one.  01 joins it to the next, 02 ends
 * the connection.
 */
#include "fuzz.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "envelope.h"
#include "smtp.h"

/* net.c with our sockets and clock, and crypto.h as we have it. */
int64_t fuzz_now_ms(void);
int fuzz_poll(struct pollfd *p, nfds_t n, int ms);
int fuzz_socket(int domain, int type, int protocol);
int fuzz_connect(int fd, const struct sockaddr *sa, socklen_t len);
#define now_ms  fuzz_now_ms
#define poll    fuzz_poll
#define socket  fuzz_socket
#define connect fuzz_connect
#include "../../net.c"
#undef now_ms
#undef poll
#undef socket
#undef connect

#define PASSWORD       "canary-secret"
#define PASSWORD_LOGIN "Y2FuYXJ5LXNlY3JldA=="     /* base64 of it */
#define PASSWORD_PLAIN "AGpvZQBjYW5hcnktc2VjcmV0" /* of \0joe\0 and it */
#define TASKS_MAX      3
#define RECIPIENTS     3
#define CONNECTIONS    6

enum {
	WITH_AUTH = 1,
	INSECURE = 2,
	LMTP = 4,
	TLS_MODE = 8 + 16,
	VERIFY = 32,
	TLS_FAILS = 64,
	STALLS = 128 /* at its end, instead of closing */
};
enum { MESSAGE = 1 + 2, TASKS = 4 + 8, IN_HAND = 16, UTF8 = 32, NOTIFY = 64 };

static struct server {
	const uint8_t *p, *end;
	unsigned flags;
	int fd; /* the server's end of the pair */
	bool tls;
	int64_t clock;
	struct buf clear, secret; /* what was heard, without TLS and with */
	unsigned connections;
} server = {.fd = -1};

static unsigned results[TASKS_MAX][RECIPIENTS];

/* ---- The server ---- */

static void
hear(void)
{
	struct buf *b = server.tls ? &server.secret : &server.clear;
	char piece[4096];
	ssize_t n;

	while (server.fd != -1 &&
	       (n = recv(server.fd, piece, sizeof(piece), MSG_DONTWAIT)) > 0)
		(void)buf_put(b, piece, (size_t)n);
}

static void
hang_up(void)
{
	hear();
	if (server.fd != -1)
		(void)close(server.fd);
	server.fd = -1;
}

/* One reply: up to the end of a line that says that it is the last. */
static void
say_reply(void)
{
	struct buf b = {0};
	const uint8_t *line = server.p;

	for (bool last = false; server.p < server.end && !last;) {
		uint8_t c = *server.p++;

		(void)buf_putc(&b, c);
		if (c != '\n')
			continue;
		last = server.p - line < 4 || line[3] != '-';
		line = server.p;
	}
	if (b.len > 0)
		(void)send(server.fd, b.data, b.len, MSG_NOSIGNAL);
	buf_free(&b);
}

/* Somebody waits.  Returns false if nothing more will come. */
static bool
act(void)
{
	do {
		if (server.p == server.end) {
			if (server.flags & STALLS)
				return false;
			hang_up();
		} else if (*server.p == 2) {
			server.p++;
			hang_up();
		} else {
			server.p += *server.p == 1;
			say_reply();
		}
	} while (server.fd != -1 && server.p < server.end && *server.p == 1);
	return true;
}

/* ---- What net.c calls ---- */

int64_t
fuzz_now_ms(void)
{
	return server.clock;
}

int
fuzz_socket(int domain, int type, int protocol)
{
	int pair[2];

	(void)domain;
	(void)protocol;
	hang_up();
	if (server.connections++ >= CONNECTIONS) {
		errno = EACCES;
		return -1;
	}
	server.tls = false;
	need(socketpair(AF_UNIX, type, 0, pair) == 0, "a pair");
	server.fd = pair[1];
	return pair[0];
}

int
fuzz_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)fd;
	(void)sa;
	(void)len;
	return 0;
}

int
fuzz_poll(struct pollfd *p, nfds_t n, int ms)
{
	int ready;

	need(n == 1 && ms >= 0, "a wait with an end");
	hear();
	ready = poll(p, n, 0);
	if (ready != 0 || (p->events & POLLIN) == 0)
		return ready;
	if (server.fd != -1 && act())
		return poll(p, n, 0);
	server.clock += ms;
	return 0;
}

/* ---- crypto.h, without any ---- */

struct crypto {
	int fd;
};

struct crypto *
crypto_start(int fd, const struct crypto_policy *policy, char *error)
{
	struct crypto *t = xmalloc(sizeof(*t));

	need(policy->host != NULL, "a name to verify");
	(void)error;
	t->fd = fd;
	return t;
}

int
crypto_handshake(struct crypto *t, char *error)
{
	(void)t;
	hear();
	if (server.flags & TLS_FAILS) {
		compat_strlcpy(error, "TLS: no", CRYPTO_ERROR_MAX);
		return CRYPTO_FAILED;
	}
	server.tls = true;
	return 1;
}

ssize_t
crypto_read(struct crypto *t, void *p, size_t len, char *error)
{
	ssize_t n = recv(t->fd, p, len, MSG_DONTWAIT);

	(void)error;
	return n >= 0 ? n : errno == EAGAIN ? CRYPTO_WANT_READ : 0;
}

ssize_t
crypto_write(struct crypto *t, const void *p, size_t len, char *error)
{
	ssize_t n = send(t->fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);

	(void)error;
	return n >= 0 ? n : errno == EAGAIN ? CRYPTO_WANT_WRITE : 0;
}

const char *
crypto_describe(const struct crypto *t)
{
	(void)t;
	return "TLS";
}

void
crypto_free(struct crypto *t)
{
	free(t);
}

int
crypto_hmac_md5(const void *key, size_t key_len, const void *text,
    size_t text_len, char hex[CRYPTO_MD5_HEX])
{
	need(key != NULL && key_len > 0 && text != NULL, "a key");
	(void)snprintf(hex, CRYPTO_MD5_HEX, "%032zx", text_len);
	return 0;
}

/* ---- The client ---- */

static struct smtp_task *tasks[TASKS_MAX];
static size_t ntasks, now_sending;

static void
on_result(void *arg, const struct job *j, size_t i, const struct outcome *o)
{
	(void)arg;
	need(j->number < ntasks && i < j->nrecipients, "whose result");
	results[j->number][i]++;
	need_printable(o->text, "an outcome's text");
	need_printable(o->relay, "an outcome's relay");
	need(o->text[0] != '\0' && strspn(o->dsn, "0123456789.") > 4,
	    "an outcome");
	if (o->class != OUTCOME_SENT && o->class != OUTCOME_UNCERTAIN)
		return;
	/* A dot that nobody heard cannot be answered. */
	hear();
	need(o->class == OUTCOME_UNCERTAIN ||
		 memmem(buf_str(&server.clear), server.clear.len, "\r\n.\r\n",
		     5) != NULL ||
		 memmem(buf_str(&server.secret), server.secret.len, "\r\n.\r\n",
		     5) != NULL,
	    "sent without its end");
}

static struct smtp_task *
on_next(void *arg)
{
	(void)arg;
	return now_sending + 1 < ntasks ? tasks[now_sending + 1] : NULL;
}

static void
on_trace(void *arg, const char *line)
{
	(void)arg;
	need_printable(line, "the transcript");
	/* What the server says is its own. */
	need(line[0] != 'C' || (strstr(line, PASSWORD_LOGIN) == NULL &&
				   strstr(line, PASSWORD_PLAIN) == NULL),
	    "a password in the transcript");
}

static int
message(unsigned kind, uint64_t *length)
{
	static const char *const texts[] = {"Subject: x\n\n.dot\n..\nend\n",
	    "Subject: \xc3\xbc\n\n\xc3\xbc\rlone\n",
	    ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n\xc3\xbc\n"
	     "--b--\n"),
	    "\n"};
	static int fds[ARRAY_LEN(texts)];

	*length = strlen(texts[kind]);
	if (fds[kind] == 0) {
		fds[kind] = memfd_create("message", MFD_CLOEXEC);
		need(write_full(fds[kind], texts[kind], *length) == 0, "write");
	}
	return dup(fds[kind]);
}

static struct smtp_task *
make_task(unsigned mail, uint32_t number)
{
	static const char *const to[RECIPIENTS] = {
	    "a@there.test", "b@there.test", "\"c c\"@there.test"};
	struct job j = {.number = number, .nrecipients = RECIPIENTS};

	j.id = xstrdup("ID");
	j.sender = xstrdup(number == 1 ? "" : "me@here.test");
	j.fd = message(mail & MESSAGE, &j.length);
	j.flags = (mail & MESSAGE) == 1 || (mail & MESSAGE) == 2
		      ? MESSAGE_8BIT | MESSAGE_LONE_CR
		      : 0;
	j.recipients = xcalloc(RECIPIENTS, sizeof(*j.recipients));
	for (uint32_t i = 0; i < RECIPIENTS; i++) {
		j.recipients[i].number = i;
		j.recipients[i].addr = xstrdup(
		    (mail & UTF8) && i == 1 ? "\xc3\xbc@there.test" : to[i]);
		if (mail & NOTIFY)
			j.recipients[i].notify =
			    i == 0 ? NOTIFY_NEVER : NOTIFY_SUCCESS;
	}
	if (mail & NOTIFY) {
		j.envid = xstrdup("an=id");
		j.ret = RET_HDRS;
	}
	return smtp_task_new(&j);
}

/* As agent.c does with one address, CONNECTIONS times. */
static struct smtp_session *
deliver(const struct hop *hop, const struct smtp_target *target,
    const struct smtp_callbacks *cb, struct smtp_session *s)
{
	struct smtp_task *t = tasks[now_sending];
	struct smtp_failure f = {.kind = HOP_UNREACHABLE};

	smtp_task_start(t, hop);
	while (smtp_task_open(t)) {
		if (s == NULL)
			s = smtp_open(hop, target, cb, t->deadline, &f);
		if (s == NULL) {
			need(f.outcome.class == OUTCOME_DEFER &&
				 f.outcome.text[0] != '\0',
			    "a failure that defers");
			need_printable(f.outcome.text, "a failure");
			if (f.stop || server.connections > CONNECTIONS)
				break;
			continue;
		}
		if (smtp_send(s, t) != SMTP_SETTLED) {
			smtp_close(s);
			s = NULL;
		}
	}
	smtp_task_finish(t, cb);
	if (s == NULL || (smtp_usable(s) && !smtp_idle_ended(s)))
		return s;
	smtp_close(s);
	return NULL;
}

/* ---- What must hold at the end ---- */

/* Whatever it is, lines; their text is ours, or the message's. */
static void
check_wire(const struct buf *b)
{
	for (size_t i = 0; i < b->len; i++) {
		char c = b->data[i];
		bool next_lf = i + 1 < b->len && b->data[i + 1] == '\n';

		need(c != '\0', "NUL on the wire");
		need(c != '\n' || (i > 0 && b->data[i - 1] == '\r'), "bare LF");
		/* The very last may have been cut. */
		need(c != '\r' || next_lf || i + 1 == b->len, "bare CR");
	}
}

static void
check_secrets(unsigned flags)
{
	const char *clear = buf_str(&server.clear);
	bool need_tls = (flags & WITH_AUTH) && !(flags & INSECURE);
	unsigned mode = (flags & TLS_MODE) / 8;

	if (need_tls)
		need(strstr(clear, PASSWORD_LOGIN) == NULL &&
			 strstr(clear, PASSWORD_PLAIN) == NULL &&
			 strstr(clear, "AUTH ") == NULL,
		    "a password in the clear");
	if (need_tls || mode == TLS_STARTTLS || mode == TLS_IMPLICIT)
		need(strstr(clear, "MAIL FROM") == NULL, "mail in the clear");
	if (mode == TLS_NONE)
		need(server.secret.len == 0, "TLS that nobody wants");
}

static void
check_results(void)
{
	for (size_t t = 0; t < ntasks; t++)
		for (size_t i = 0; i < RECIPIENTS; i++)
			need(results[t][i] == 1, "one result each");
}

static void
run(unsigned flags, unsigned mail)
{
	struct hop hop = {.kind = HOP_RELAY,
	    .tls = (enum tls_mode)((flags & TLS_MODE) / 8),
	    .verify = (flags & VERIFY) != 0,
	    .insecure = (flags & INSECURE) != 0,
	    .auth = (flags & WITH_AUTH) != 0,
	    .protocol = flags & LMTP ? PROTOCOL_LMTP : PROTOCOL_SMTP,
	    .timeouts = 100};
	struct smtp_target target = {
	    .sa.ss_family = AF_INET, .len = 16, .port = 25};
	struct smtp_callbacks cb = {.result = on_result,
	    .trace = on_trace,
	    .next = mail & IN_HAND ? on_next : NULL};
	struct smtp_session *s = NULL;

	hop.host = xstrdup("mx.test");
	hop.helo = xstrdup("here.test");
	if (hop.auth) {
		hop.user = xstrdup("joe");
		hop.password = xstrdup(PASSWORD);
	}
	compat_strlcpy(target.name, "mx.test", sizeof(target.name));
	compat_strlcpy(target.address, "192.0.2.1", sizeof(target.address));
	ntasks = (mail & TASKS) / 4 % TASKS_MAX + 1;
	for (uint32_t i = 0; i < ntasks; i++)
		tasks[i] = make_task(mail, i);
	for (now_sending = 0; now_sending < ntasks; now_sending++)
		s = deliver(&hop, &target, &cb, s);
	smtp_close(s);
	for (size_t i = 0; i < ntasks; i++)
		smtp_task_free(tasks[i]);
	hop_free(&hop);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 32768)
		return 0;
	server = (struct server){.p = data + 2,
	    .end = data + size,
	    .flags = data[0],
	    .fd = -1,
	    .clock = 1000};
	memset(results, 0, sizeof(results));
	run(data[0], data[1]);
	hang_up();
	check_results();
	check_wire(&server.clear);
	check_wire(&server.secret);
	check_secrets(data[0]);
	buf_free(&server.clear);
	buf_free(&server.secret);
	return 0;
}
