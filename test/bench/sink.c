/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * sink.c - a relay that takes every message and drops it, fast.
 *
 *	sink [-p port] [-n recipients] [-d ms] [-c connections] [-t pem]
 *
 * -n  prints "all" and the time of its monotonic clock, in microseconds, when
 *     it took messages for that many recipients
 * -d  a network whose round trip takes that long: what arrives is looked at
 *     so much later, and the greeting comes two round trips after connect
 * -c  answers 421 to connections beyond that many at once
 * -t  offers STARTTLS with this chain and key, and then demands AUTH, PLAIN or
 *     LOGIN
 *
 * It listens on loopback only, until SIGTERM, and prints "ready" when it does.
 * When it ends it prints: messages, recipients, connections, connections
 * refused, reads (about one a round trip).
 */
#include <sys/socket.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "bench.h"

#define CONNECTIONS_MAX 1000
#define INPUT_SIZE      (256 * 1024)
#define OUTPUT_SIZE     (16 * 1024)
#define LIFE_US         1800000000 /* whatever happens to the bench */

struct connection {
	int fd;
	SSL *ssl;
	bool greeted, dead, body, authenticated;
	unsigned recipients, login; /* lines that AUTH LOGIN still waits for */
	int64_t due; /* when its input is looked at; 0: nothing came */
	size_t in_len, out_len;
	char in[INPUT_SIZE + 1], out[OUTPUT_SIZE];
};

struct sink {
	int listener;
	long want, most;
	int64_t delay, end; /* microseconds */
	SSL_CTX *tls;
	struct connection *connections[CONNECTIONS_MAX];
	size_t n;
	long messages, recipients, accepted, refused, reads;
};

static volatile sig_atomic_t told_to_end;

static void
on_signal(int number)
{
	(void)number;
	told_to_end = 1;
}

/* ---- Bytes ---- */

static void
flush(struct connection *c)
{
	ssize_t n = (ssize_t)c->out_len;

	if (c->out_len == 0)
		return;
	if (c->ssl != NULL)
		n = SSL_write(c->ssl, c->out, (int)c->out_len);
	else
		n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
	if (n != (ssize_t)c->out_len)
		c->dead = true;
	c->out_len = 0;
}

static void
say(struct connection *c, const char *line)
{
	size_t len = strlen(line);

	if (c->out_len + len + 2 > OUTPUT_SIZE)
		flush(c);
	memcpy(c->out + c->out_len, line, len);
	memcpy(c->out + c->out_len + len, "\r\n", 2);
	c->out_len += len + 2;
}

/* Bytes read; 0: none for now, or the connection is dead. */
static size_t
fill(struct connection *c)
{
	size_t room = INPUT_SIZE - c->in_len;
	ssize_t n;

	if (c->ssl == NULL) {
		n = recv(c->fd, c->in + c->in_len, room, 0);
		if (n == -1 && errno == EAGAIN)
			return 0;
	} else {
		n = SSL_read(c->ssl, c->in + c->in_len, (int)room);
		if (n <= 0 &&
		    SSL_get_error(c->ssl, (int)n) == SSL_ERROR_WANT_READ)
			return 0;
	}
	if (n <= 0) {
		c->dead = true;
		return 0;
	}
	c->in_len += (size_t)n;
	return (size_t)n;
}

/* ---- SMTP ---- */

static bool
is_verb(const char *line, const char *verb)
{
	return strncasecmp(line, verb, strlen(verb)) == 0;
}

static void
hello(struct sink *s, struct connection *c)
{
	say(c, "250-sink.example");
	say(c, "250-PIPELINING");
	say(c, "250-SIZE 104857600");
	if (s->tls != NULL)
		say(c,
		    c->ssl == NULL ? "250-STARTTLS" : "250-AUTH PLAIN LOGIN");
	say(c, "250 8BITMIME");
}

static void
start_tls(struct sink *s, struct connection *c)
{
	say(c, "220 2.0.0 go on");
	flush(c);
	c->in_len = 0;
	c->ssl = SSL_new(s->tls);
	if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
		errx(1, "SSL_new");
	SSL_set_accept_state(c->ssl);
}

static void
envelope(struct sink *s, struct connection *c, const char *line)
{
	if (s->tls != NULL && !c->authenticated) {
		say(c, "530 5.7.0 authenticate first");
	} else if (is_verb(line, "MAIL")) {
		c->recipients = 0;
		say(c, "250 2.1.0 ok");
	} else if (is_verb(line, "RCPT")) {
		c->recipients++;
		say(c, "250 2.1.5 ok");
	} else {
		c->body = c->recipients > 0;
		say(c, c->body ? "354 go on" : "503 5.5.1 for whom?");
	}
}

/* AUTH LOGIN: a name, a password, and any will do. */
static void
log_in(struct connection *c)
{
	static const char *const answers[] = {
	    "235 2.7.0 ok", "334 UGFzc3dvcmQ6", "334 VXNlcm5hbWU6"};

	say(c, answers[c->login]);
	c->authenticated = c->login == 0;
}

static void
command(struct sink *s, struct connection *c, const char *line)
{
	if (c->login > 0) {
		c->login--;
		log_in(c);
	} else if (is_verb(line, "MAIL") || is_verb(line, "RCPT") ||
		   is_verb(line, "DATA")) {
		envelope(s, c, line);
	} else if (is_verb(line, "EHLO")) {
		hello(s, c);
	} else if (is_verb(line, "HELO")) {
		say(c, "250 sink.example");
	} else if (is_verb(line, "STARTTLS") && s->tls != NULL) {
		start_tls(s, c);
	} else if (is_verb(line, "AUTH PLAIN ") && c->ssl != NULL) {
		c->authenticated = true;
		say(c, "235 2.7.0 ok");
	} else if (is_verb(line, "AUTH LOGIN") && c->ssl != NULL) {
		c->login = 2;
		log_in(c);
	} else if (is_verb(line, "RSET")) {
		say(c, "250 2.0.0 ok");
	} else if (is_verb(line, "QUIT")) {
		say(c, "221 2.0.0 bye");
		flush(c);
		c->dead = true;
	} else {
		say(c, "502 5.5.2 what?");
	}
}

/*
 * Take the body up to its dot.  Returns how many bytes are done with; all
 * of it but the end, which may be the beginning of the mark.  The line end
 * before the first line stands in the buffer: an empty body has its mark too.
 */
static size_t
take_body(struct sink *s, struct connection *c, const char *p, size_t len)
{
	const char *mark = memmem(p, len, "\r\n.\r\n", 5);

	if (mark == NULL)
		return len > 4 ? len - 4 : 0;
	c->body = false;
	s->messages++;
	s->recipients += c->recipients;
	c->recipients = 0;
	say(c, "250 2.0.0 taken");
	if (s->want != 0 && s->recipients >= s->want) {
		printf("all %lld\n", (long long)now_us());
		s->want = 0;
	}
	return (size_t)(mark - p) + 5;
}

/* One line; returns its length, 0 if it is not whole yet. */
static size_t
take_line(struct sink *s, struct connection *c, char *p, size_t len)
{
	char *end = memchr(p, '\n', len);
	size_t used;

	if (end == NULL)
		return 0;
	used = (size_t)(end - p) + 1;
	*end = '\0';
	command(s, c, p);
	/* The CR LF of DATA belongs to the mark of an empty body. */
	if (c->body) {
		memcpy(end - 1, "\r\n", 2);
		used -= 2;
	}
	return used;
}

static void
parse(struct sink *s, struct connection *c)
{
	size_t at = 0, used;

	do {
		SSL *before = c->ssl;

		used = c->body ? take_body(s, c, c->in + at, c->in_len - at)
			       : take_line(s, c, c->in + at, c->in_len - at);
		at += used;
		if (c->ssl != before)
			return; /* nothing said before TLS counts */
	} while (used > 0 && !c->dead);
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	if (c->in_len == INPUT_SIZE)
		c->dead = true;
	flush(c);
}

/* ---- Connections ---- */

static void
look(struct sink *s, struct connection *c)
{
	if (!c->greeted) {
		c->greeted = true;
		say(c, "220 sink.example ESMTP");
		flush(c);
		return;
	}
	if (c->ssl != NULL && !SSL_is_init_finished(c->ssl)) {
		int result = SSL_accept(c->ssl);

		if (result != 1 &&
		    SSL_get_error(c->ssl, result) != SSL_ERROR_WANT_READ)
			c->dead = true;
		if (result != 1)
			return;
	}
	s->reads++;
	while (!c->dead && fill(c) > 0) {
		parse(s, c);
		if (c->ssl == NULL)
			break; /* poll(2) tells of more; TLS keeps it */
	}
}

static void
take_connection(struct sink *s)
{
	static const char busy[] = "421 4.7.0 too many connections\r\n";
	struct connection *c;
	int one = 1, fd = accept(s->listener, NULL, NULL);

	if (fd == -1)
		return;
	if ((long)s->n >= s->most) {
		s->refused++;
		(void)send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL);
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) == -1)
		err(1, "fcntl");
	if ((c = calloc(1, sizeof(*c))) == NULL)
		err(1, "calloc");
	c->fd = fd;
	c->due = now_us() + 2 * s->delay;
	s->connections[s->n++] = c;
	s->accepted++;
}

static void
forget_dead(struct sink *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n; i++) {
		struct connection *c = s->connections[i];

		if (!c->dead) {
			s->connections[kept++] = c;
			continue;
		}
		SSL_free(c->ssl);
		(void)close(c->fd);
		free(c);
	}
	s->n = kept;
}

/* Fill fds and return the time to wait in milliseconds. */
static int
prepare(const struct sink *s, struct pollfd *fds)
{
	int64_t first = s->end, left;

	fds[0] = (struct pollfd){.fd = s->listener, .events = POLLIN};
	for (size_t i = 0; i < s->n; i++) {
		const struct connection *c = s->connections[i];

		fds[i + 1] = (struct pollfd){
		    .fd = c->due == 0 ? c->fd : -1, .events = POLLIN};
		if (c->due != 0 && c->due < first)
			first = c->due;
	}
	left = first - now_us();
	return left <= 0 ? 0 : (int)(left / 1000) + 1;
}

static void
serve(struct sink *s)
{
	static struct pollfd fds[CONNECTIONS_MAX + 1];
	size_t polled;
	int64_t now;
	int wait;

	s->end = now_us() + LIFE_US;
	while (!told_to_end && now_us() < s->end) {
		wait = prepare(s, fds);
		polled = s->n;
		if (poll(fds, (nfds_t)(polled + 1), wait) == -1)
			continue; /* a signal */
		now = now_us();
		for (size_t i = 0; i < polled; i++) {
			struct connection *c = s->connections[i];

			if (fds[i + 1].revents != 0)
				c->due = now + s->delay;
			if (c->due == 0 || c->due > now)
				continue;
			c->due = 0;
			look(s, c);
		}
		if (fds[0].revents != 0)
			take_connection(s);
		forget_dead(s);
	}
}

/* ---- Setting up ---- */

static void
listen_on_loopback(struct sink *s, long port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int one = 1;

	s->listener = socket(AF_INET, SOCK_STREAM, 0);
	if (s->listener == -1 ||
	    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one,
		sizeof(one)) == -1 ||
	    bind(s->listener, (struct sockaddr *)&a, sizeof(a)) == -1 ||
	    listen(s->listener, 1024) == -1)
		err(1, "cannot listen");
}

static SSL_CTX *
load_certificate(const char *path)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, path) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) != 1)
		errx(1, "%s: cannot be used", path);
	return ctx;
}

int
main(int argc, char **argv)
{
	static struct sink s = {.most = CONNECTIONS_MAX};
	long port = 0;
	int option;

	while ((option = getopt(argc, argv, "p:n:d:c:t:")) != -1) {
		if (option == 'p')
			port = number(optarg, 1, 65535);
		else if (option == 'n')
			s.want = number(optarg, 1, 10000000);
		else if (option == 'd')
			s.delay = number(optarg, 0, 10000) * 1000;
		else if (option == 'c')
			s.most = number(optarg, 1, CONNECTIONS_MAX);
		else if (option == 't')
			s.tls = load_certificate(optarg);
		else
			return 2;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGTERM, on_signal);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	listen_on_loopback(&s, port);
	printf("ready\n");
	serve(&s);
	printf("%ld %ld %ld %ld %ld\n", s.messages, s.recipients, s.accepted,
	    s.refused, s.reads);
	return 0;
}
