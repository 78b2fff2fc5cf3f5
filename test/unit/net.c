/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * net.c - tests of connections against peers that drip, stall, talk out of
 * turn and go away.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "net.h"
#include "util.h"

#define LINE_MAX_HERE 100

/* ---- Peers: a function in a child, at the other end of a pair ---- */

struct peer {
	struct net net;
	pid_t pid;
};

static void
peer_start(struct peer *p, void (*act)(int fd))
{
	int pair[2], small = 4096;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	/* Small, so that a peer that does not read is soon noticed. */
	(void)setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	(void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0) {
		close(pair[0]);
		(void)signal(SIGPIPE, SIG_IGN);
		act(pair[1]);
		_exit(0);
	}
	close(pair[1]);
	net_attach(&p->net, pair[0]);
	net_deadline(&p->net, 10000);
}

static void
peer_end(struct peer *p)
{
	int status;

	net_close(&p->net);
	assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
say(int fd, const char *text)
{
	(void)write_full(fd, text, strlen(text));
}

static void
nap(int ms)
{
	(void)poll(NULL, 0, ms);
}

static void
wait_for_end(int fd)
{
	char buffer[4096];

	while (read(fd, buffer, sizeof(buffer)) > 0)
		continue;
}

/* A connection to ourselves with bytes in it, and then its end. */
static void
attach_bytes(struct net *n, const char *bytes, size_t len)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(write_full(pair[1], bytes, len), 0);
	close(pair[1]);
	net_attach(n, pair[0]);
	net_deadline(n, 10000);
}

static void
expect_line(struct net *n, const char *want)
{
	char *line;
	size_t len;

	if (net_getline(n, LINE_MAX_HERE, &line, &len) == -1)
		fail_msg("\"%s\" did not come: %s", want, n->error);
	assert_string_equal(line, want);
	assert_int_equal(len, strlen(want));
}

static void
expect_no_line(struct net *n, int error)
{
	char *line;
	size_t len;

	assert_int_equal(net_getline(n, LINE_MAX_HERE, &line, &len), -1);
	assert_int_equal(errno, error);
	assert_true(n->error[0] != '\0');
}

/* ---- Lines ---- */

static void
lines_as_they_come(void **state)
{
	static const char text[] = "220 a\r\n\r\n250 lone\rCR\r\r\nEHL";
	struct net n;

	(void)state;
	attach_bytes(&n, text, sizeof(text) - 1);
	expect_line(&n, "220 a");
	expect_line(&n, "");
	expect_line(&n, "250 lone\rCR\r");
	/* The end of file in the middle of a line makes no line. */
	expect_no_line(&n, ECONNRESET);
	expect_no_line(&n, ECONNRESET);
	net_close(&n);
}

static void
bare_line_feeds(void **state)
{
	struct net n;

	(void)state;
	attach_bytes(&n, "a\nb\r\n", 5);
	expect_line(&n, "a");
	expect_line(&n, "b");
	expect_no_line(&n, ECONNRESET);
	net_close(&n);
}

static void
nul_in_a_line(void **state)
{
	struct net n;
	char *line;
	size_t len;

	(void)state;
	attach_bytes(&n, "250 a\0b\r\n", 9);
	assert_int_equal(net_getline(&n, LINE_MAX_HERE, &line, &len), 0);
	assert_int_equal(len, 7);
	assert_memory_equal(line, "250 a\0b", 8);
	net_close(&n);
}

/* Exactly max bytes are a line, one more is not, with either line end. */
static void
line_lengths(void **state)
{
	char text[LINE_MAX_HERE + 4];

	(void)state;
	for (size_t len = LINE_MAX_HERE - 1; len <= LINE_MAX_HERE + 1; len++) {
		for (int crlf = 0; crlf < 2; crlf++) {
			struct net n;
			char want[LINE_MAX_HERE + 2];
			memset(text, 'x', sizeof(text));
			memset(want, 'x', sizeof(want));
			want[len] = '\0';
			memcpy(
			    text + len, crlf ? "\r\n" : "\n", (size_t)crlf + 1);
			attach_bytes(&n, text, len + (size_t)crlf + 1);
			if (len <= LINE_MAX_HERE)
				expect_line(&n, want);
			else
				expect_no_line(&n, EMSGSIZE);
			net_close(&n);
		}
	}
}

static void
say_endlessly(int fd)
{
	char x[1000];

	memset(x, 'x', sizeof(x));
	while (write(fd, x, sizeof(x)) > 0)
		continue;
}

static void
endless_line(void **state)
{
	struct peer p;
	char *line;
	size_t len;

	(void)state;
	peer_start(&p, say_endlessly);
	expect_no_line(&p.net, EMSGSIZE);
	peer_end(&p);
	peer_start(&p, say_endlessly);
	assert_int_equal(net_getline(&p.net, SIZE_MAX, &line, &len), -1);
	assert_int_equal(errno, EMSGSIZE);
	peer_end(&p);
}

static void
say_many_lines(int fd)
{
	char text[64];

	for (int i = 0; i < 5000; i++) {
		(void)snprintf(text, sizeof(text), "250 line %d\r\n", i);
		say(fd, text);
	}
}

static void
many_lines(void **state)
{
	struct peer p;
	char text[64];

	(void)state;
	peer_start(&p, say_many_lines);
	for (int i = 0; i < 5000; i++) {
		(void)snprintf(text, sizeof(text), "250 line %d", i);
		expect_line(&p.net, text);
	}
	expect_no_line(&p.net, ECONNRESET);
	peer_end(&p);
}

static void
drip(int fd)
{
	for (int i = 0; i < 100; i++) {
		if (write(fd, "2", 1) != 1)
			return;
		nap(20);
	}
}

/* A byte now and then does not buy time. */
static void
dripping_peer(void **state)
{
	struct peer p;
	int64_t start = now_ms();

	(void)state;
	peer_start(&p, drip);
	net_deadline(&p.net, 150);
	expect_no_line(&p.net, ETIMEDOUT);
	assert_in_range(now_ms() - start, 140, 1500);
	peer_end(&p);
}

static void
on_alarm(int signal_number)
{
	(void)signal_number;
}

static void
say_late(int fd)
{
	for (int i = 0; i < 5; i++) {
		nap(20);
		(void)kill(getppid(), SIGUSR1);
	}
	say(fd, "220 late\r\n");
}

static void
signals_do_not_disturb(void **state)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct peer p;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	peer_start(&p, say_late);
	expect_line(&p.net, "220 late");
	peer_end(&p);
}

static void
say_then_wait(int fd)
{
	say(fd, "220 a\r\n");
	wait_for_end(fd);
}

static void
pending_input(void **state)
{
	struct peer p;
	struct pollfd readable;

	(void)state;
	peer_start(&p, say_then_wait);
	readable = (struct pollfd){.fd = p.net.fd, .events = POLLIN};
	assert_int_equal(poll(&readable, 1, 10000), 1);
	assert_true(net_input_pending(&p.net));
	expect_line(&p.net, "220 a");
	assert_false(net_input_pending(&p.net));
	peer_end(&p);
	/* An end is something to know of, too. */
	attach_bytes(&p.net, "", 0);
	assert_true(net_input_pending(&p.net));
	expect_no_line(&p.net, ECONNRESET);
	net_close(&p.net);
	assert_true(net_input_pending(&p.net));
}

/* ---- Output ---- */

/* A socket that keeps packets apart shows how many writes there were. */
static void
one_write_a_round_trip(void **state)
{
	struct net n;
	int pair[2];
	char got[64];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	net_attach(&n, pair[0]);
	net_deadline(&n, 10000);
	assert_int_equal(net_put(&n, "MAIL FROM:<>\r\n", 14), 0);
	assert_int_equal(net_put(&n, "RCPT TO:<a@b>\r\n", 15), 0);
	assert_int_equal(net_put(&n, "", 0), 0);
	assert_int_equal(recv(pair[1], got, sizeof(got), MSG_DONTWAIT), -1);
	assert_int_equal(net_flush(&n), 0);
	assert_int_equal(recv(pair[1], got, sizeof(got), MSG_DONTWAIT), 29);
	assert_memory_equal(got, "MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n", 29);
	assert_int_equal(net_flush(&n), 0);
	assert_int_equal(recv(pair[1], got, sizeof(got), MSG_DONTWAIT), -1);
	net_close(&n);
	close(pair[1]);
}

static void
sum_up(int fd)
{
	unsigned char buffer[1000];
	unsigned long sum = 0, count = 0;
	char text[64];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		for (ssize_t i = 0; i < got; i++, count++)
			sum = sum * 31 + buffer[i];
		if (buffer[got - 1] == 0xff)
			break;
	}
	(void)snprintf(text, sizeof(text), "%lu %lu\r\n", count, sum);
	say(fd, text);
	wait_for_end(fd);
}

/* Everything arrives, in order, in whatever pieces it was put. */
static void
much_output(void **state)
{
	struct peer p;
	unsigned char piece[70001];
	unsigned long sum = 0, count = 0;
	char want[64];

	(void)state;
	peer_start(&p, sum_up);
	for (size_t size = 1; size <= sizeof(piece); size += 3500) {
		for (size_t i = 0; i < size; i++)
			piece[i] = (unsigned char)((i * size) % 251);
		assert_int_equal(net_put(&p.net, piece, size), 0);
		for (size_t i = 0; i < size; i++, count++)
			sum = sum * 31 + piece[i];
	}
	assert_int_equal(net_put(&p.net, "\377", 1), 0);
	assert_int_equal(net_flush(&p.net), 0);
	(void)snprintf(
	    want, sizeof(want), "%lu %lu", count + 1, sum * 31 + 255);
	expect_line(&p.net, want);
	peer_end(&p);
}

static char block[NET_OUTPUT_SIZE];

/* Send until it fails. */
static int
put_for_ever(struct net *n)
{
	for (int i = 0; i < 1000; i++)
		if (net_put(n, block, sizeof(block)) == -1)
			return errno;
	return 0;
}

static void
never_read(int fd)
{
	char c;

	nap(400);
	(void)!recv(fd, &c, 1, MSG_PEEK);
}

static void
peer_that_does_not_read(void **state)
{
	struct peer p;
	int64_t start = now_ms();

	(void)state;
	peer_start(&p, never_read);
	net_deadline(&p.net, 150);
	assert_int_equal(put_for_ever(&p.net), ETIMEDOUT);
	assert_in_range(now_ms() - start, 140, 1500);
	peer_end(&p);
}

static void
hang_up(int fd)
{
	char c[100];

	(void)!read(fd, c, sizeof(c));
}

/* Also shows that no SIGPIPE ends us. */
static void
peer_that_hangs_up(void **state)
{
	struct peer p;

	(void)state;
	for (int watch = 0; watch < 2; watch++) {
		peer_start(&p, hang_up);
		p.net.watch_input = watch;
		assert_int_equal(put_for_ever(&p.net), ECONNRESET);
		assert_memory_equal(p.net.error, "lost connection", 15);
		peer_end(&p);
	}
}

static void
refuse_early(int fd)
{
	char c[100];

	(void)!read(fd, c, sizeof(c));
	say(fd, "552 5.3.4 too big\r\n");
	wait_for_end(fd);
}

static void
refuse_and_hang_up(int fd)
{
	char c[100];

	(void)!read(fd, c, sizeof(c));
	say(fd, "552 5.3.4 too big\r\n");
}

static void
refuse_without_reading(int fd)
{
	char c;

	say(fd, "552 5.3.4 too big\r\n");
	nap(300);
	(void)!recv(fd, &c, 1, MSG_PEEK);
}

/* A reply before the end of the message stops it, and can be read (H-55). */
static void
reply_while_sending(void **state)
{
	void (*const acts[])(int) = {
	    refuse_early, refuse_and_hang_up, refuse_without_reading};
	struct peer p;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
		peer_start(&p, acts[i]);
		p.net.watch_input = true;
		assert_int_equal(put_for_ever(&p.net), EALREADY);
		assert_int_equal(p.net.out_len, 0);
		expect_line(&p.net, "552 5.3.4 too big");
		peer_end(&p);
	}
}

static void
reply_before_reading(int fd)
{
	char text[64];

	for (int i = 0; i < 500; i++) {
		(void)snprintf(text, sizeof(text), "250 2.1.5 Ok %d\r\n", i);
		say(fd, text);
	}
	wait_for_end(fd);
}

/* Two sides that both send first must not wait for each other. */
static void
replies_are_taken_in_while_sending(void **state)
{
	struct peer p;
	char text[64];

	(void)state;
	peer_start(&p, reply_before_reading);
	assert_int_equal(net_put(&p.net, block, sizeof(block)), 0);
	assert_int_equal(net_flush(&p.net), 0);
	for (int i = 0; i < 500; i++) {
		(void)snprintf(text, sizeof(text), "250 2.1.5 Ok %d", i);
		expect_line(&p.net, text);
	}
	peer_end(&p);
}

/* ---- Connecting ---- */

static int
listen_here(struct sockaddr_in *sa, int backlog)
{
	socklen_t len = sizeof(*sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*sa = (struct sockaddr_in){
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)sa, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)sa, &len), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void
connects(void **state)
{
	struct sockaddr_in sa;
	struct net n;
	int on = 0, fd = listen_here(&sa, 5);
	socklen_t len = sizeof(on);

	(void)state;
	assert_int_equal(
	    net_connect(&n, (struct sockaddr *)&sa, sizeof(sa), 5000), 0);
	assert_int_equal(
	    getsockopt(n.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_true(on != 0);
	assert_true((fcntl(n.fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_true((fcntl(n.fd, F_GETFL) & O_NONBLOCK) != 0);
	int peer = accept(fd, NULL, NULL);
	say(peer, "220 x\r\n");
	expect_line(&n, "220 x");
	net_close(&n);
	assert_int_equal(n.fd, -1);
	net_close(&n);
	close(peer);
	close(fd);
}

static void
connects_to_a_path(void **state)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct net n;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)state;
	(void)snprintf(un.sun_path, sizeof(un.sun_path),
	    "/tmp/dma-net-test.%ld", (long)getpid());
	unlink(un.sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(
	    net_connect(&n, (struct sockaddr *)&un, sizeof(un), 5000), 0);
	net_close(&n);
	close(fd);
	unlink(un.sun_path);
}

static void
connection_errors(void **state)
{
	struct sockaddr_in sa;
	struct sockaddr_storage strange = {.ss_family = AF_MAX + 1};
	struct net n;
	int fd = listen_here(&sa, -1);

	(void)state;
	memset(&n, 0x5a, sizeof(n));
	assert_int_equal(
	    net_connect(&n, (struct sockaddr *)&sa, sizeof(sa), 5000), -1);
	assert_int_equal(errno, ECONNREFUSED);
	assert_string_equal(n.error, "Connection refused");
	assert_int_equal(n.fd, -1);
	net_close(&n);
	close(fd);
	memset(&n, 0x5a, sizeof(n));
	assert_int_equal(
	    net_connect(&n, (struct sockaddr *)&strange, sizeof(strange), 5000),
	    -1);
	assert_int_equal(errno, EAFNOSUPPORT);
	net_close(&n);
}

/* A listener whose queue is full drops what comes: nobody answers. */
static void
connection_timeout(void **state)
{
	struct sockaddr_in sa;
	struct net n[8];
	int fd = listen_here(&sa, 0), error = 0;
	size_t count = 0;
	int64_t start = 0;

	(void)state;
	while (count < ARRAY_LEN(n) && error == 0) {
		start = now_ms();
		if (net_connect(&n[count++], (struct sockaddr *)&sa, sizeof(sa),
			150) == -1)
			error = errno;
	}
	while (count > 0)
		net_close(&n[--count]);
	close(fd);
	if (error == 0)
		skip(); /* this system's queue has no end */
	assert_int_equal(error, ETIMEDOUT);
	assert_in_range(now_ms() - start, 140, 1500);
}

static void
closing_nothing(void **state)
{
	struct net n = {.fd = -1};

	(void)state;
	net_close(&n);
	net_close(&n);
	assert_int_equal(n.fd, -1);
	expect_no_line(&n, ECONNRESET);
	assert_int_equal(net_put(&n, "x", 1), 0);
	assert_int_equal(net_flush(&n), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* ---- TLS ---- */

static SSL_CTX *server_ctx;

static void
make_server(void)
{
	EVP_PKEY *key = NULL;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	X509 *cert = X509_new();

	EVP_PKEY_keygen_init(ctx);
	EVP_PKEY_CTX_set_ec_paramgen_curve_nid(ctx, NID_X9_62_prime256v1);
	EVP_PKEY_keygen(ctx, &key);
	X509_set_version(cert, 2);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	server_ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(server_ctx, cert);
	SSL_CTX_use_PrivateKey(server_ctx, key);
	X509_free(cert);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(ctx);
}

/* Plaintext greeting, then TLS: counts what comes, answers with the sum. */
static void
speak_tls(int fd)
{
	SSL *ssl = SSL_new(server_ctx);
	char buffer[1000], text[64];
	long count = 0;
	int got;

	say(fd, "220 go ahead\r\n");
	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1)
		_exit(1);
	while ((got = SSL_read(ssl, buffer, sizeof(buffer))) > 0) {
		count += got;
		if (buffer[got - 1] == '.')
			break;
	}
	(void)snprintf(text, sizeof(text), "250 %ld\r\n", count);
	SSL_write(ssl, text, 3);
	SSL_write(ssl, text + 3, (int)strlen(text) - 3);
	while (SSL_read(ssl, buffer, sizeof(buffer)) > 0)
		continue;
	SSL_free(ssl);
}

static void
speak_tls_and_interrupt(int fd)
{
	SSL *ssl = SSL_new(server_ctx);
	char buffer[1000];

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1 || SSL_read(ssl, buffer, 1) != 1)
		_exit(1);
	SSL_write(ssl, "552 no\r\n", 8);
	while (SSL_read(ssl, buffer, sizeof(buffer)) > 0)
		continue;
	SSL_free(ssl);
}

static const struct crypto_policy lax = {.host = "mx.example"};

static void
tls_session(void **state)
{
	struct peer p;
	long count = 0;
	char want[64];

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	peer_start(&p, speak_tls);
	expect_line(&p.net, "220 go ahead");
	assert_null(p.net.tls);
	if (net_start_tls(&p.net, &lax, 10000) == -1)
		fail_msg("%s", p.net.error);
	assert_non_null(p.net.tls);
	/* Session tickets are no reply. */
	p.net.watch_input = true;
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 20; i++, count += (long)sizeof(block))
		if (net_put(&p.net, block, sizeof(block)) == -1)
			fail_msg("%s", p.net.error);
	assert_int_equal(net_put(&p.net, ".", 1), 0);
	assert_int_equal(net_flush(&p.net), 0);
	(void)snprintf(want, sizeof(want), "250 %ld", count + 1);
	expect_line(&p.net, want);
	peer_end(&p);
}

/* There is always something to read: forged answers to a question, say. */
static void
no_wait_outlives_its_deadline_H_90(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	say(pair[1], "x");
	assert_int_equal(net_wait(pair[0], POLLIN, now_ms() + 10000), 0);
	errno = 0;
	assert_int_equal(net_wait(pair[0], POLLIN, now_ms() - 1), -1);
	assert_int_equal(errno, ETIMEDOUT);
	close(pair[0]);
	close(pair[1]);
}

static void
tls_reply_while_sending(void **state)
{
	struct peer p;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	peer_start(&p, speak_tls_and_interrupt);
	assert_int_equal(net_start_tls(&p.net, &lax, 10000), 0);
	p.net.watch_input = true;
	assert_int_equal(put_for_ever(&p.net), EALREADY);
	expect_line(&p.net, "552 no");
	peer_end(&p);
}

static void
say_too_much(int fd)
{
	say(fd, "220 go ahead\r\n250 injected\r\n");
	wait_for_end(fd);
}

/* In the same segment, and in the next (H-60, H-61). */
static void
plaintext_after_starttls_V_39(void **state)
{
	struct peer p;

	(void)state;
	peer_start(&p, say_too_much);
	expect_line(&p.net, "220 go ahead");
	assert_int_equal(net_start_tls(&p.net, &lax, 10000), -1);
	assert_int_equal(errno, EPROTO);
	assert_null(p.net.tls);
	peer_end(&p);
	peer_start(&p, say_then_wait);
	nap(50);
	assert_int_equal(net_start_tls(&p.net, &lax, 10000), -1);
	assert_int_equal(errno, EPROTO);
	peer_end(&p);
}

static void
say_late_plaintext(int fd)
{
	char c;

	/* After our ClientHello has come. */
	(void)!read(fd, &c, 1);
	say(fd, "250 injected\r\n");
	wait_for_end(fd);
}

static void
silent(int fd)
{
	wait_for_end(fd);
}

static void
failed_handshakes_V_54(void **state)
{
	static const struct {
		void (*act)(int);
		int64_t ms;
		int error;
	} cases[] = {
	    {say_late_plaintext, 10000, EIO},
	    {silent, 150, ETIMEDOUT},
	    {hang_up, 10000, ECONNRESET},
	};
	struct peer p;

	(void)state;
	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		peer_start(&p, cases[i].act);
		assert_int_equal(net_start_tls(&p.net, &lax, cases[i].ms), -1);
		assert_int_equal(errno, cases[i].error);
		assert_true(p.net.error[0] != '\0');
		assert_null(p.net.tls);
		peer_end(&p);
	}
	attach_bytes(&p.net, "", 0);
	assert_int_equal(net_start_tls(&p.net, &lax, 1000), -1);
	assert_int_equal(errno, ECONNRESET);
	net_close(&p.net);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(lines_as_they_come),
	    cmocka_unit_test(bare_line_feeds),
	    cmocka_unit_test(nul_in_a_line),
	    cmocka_unit_test(line_lengths),
	    cmocka_unit_test(endless_line),
	    cmocka_unit_test(many_lines),
	    cmocka_unit_test(dripping_peer),
	    cmocka_unit_test(signals_do_not_disturb),
	    cmocka_unit_test(pending_input),
	    cmocka_unit_test(one_write_a_round_trip),
	    cmocka_unit_test(much_output),
	    cmocka_unit_test(peer_that_does_not_read),
	    cmocka_unit_test(peer_that_hangs_up),
	    cmocka_unit_test(reply_while_sending),
	    cmocka_unit_test(replies_are_taken_in_while_sending),
	    cmocka_unit_test(connects),
	    cmocka_unit_test(connects_to_a_path),
	    cmocka_unit_test(connection_errors),
	    cmocka_unit_test(connection_timeout),
	    cmocka_unit_test(closing_nothing),
	    cmocka_unit_test(tls_session),
	    cmocka_unit_test(no_wait_outlives_its_deadline_H_90),
	    cmocka_unit_test(tls_reply_while_sending),
	    cmocka_unit_test(plaintext_after_starttls_V_39),
	    cmocka_unit_test(failed_handshakes_V_54),
	};

	make_server();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
