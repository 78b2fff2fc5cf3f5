/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * handover.c - mail to another process of ours, over SUBMIT_SOCKET.
 *
 * Runs in:   dma without its group: under no_new_privs, on nosuid.
 * Trusts:    the configuration's path of the socket. Distrusts: what answers.
 * Promises:  0 only after the other end's 250 to the final dot, which is not
 *            sent unless the message was read to its end.  AF_UNIX only, and
 *            nowhere else in dma is anything connected.
 */
#include "handover.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "log.h"
#include "smtpd.h"
#include "util.h"

#define OUT_SIZE 65536 /* bytes that go out in one write(2) */

struct handover {
	struct intake *i;
	int fd;
	struct buf out; /* not yet written */
	char in[1024];  /* read, and not yet taken */
	size_t pos, len;
	char reply[1024]; /* the last line, without its end */
	bool line_start;  /* of the data */
	bool ended;       /* the final dot is on its way */
};

/* Returns a descriptor, or -1 with errno. */
static int
connect_to(const char *path)
{
	const struct timeval patience = {.tv_sec = SMTP_DATA_END_MS / 1000};
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd, saved;

	if (compat_strlcpy(to.sun_path, path, sizeof(to.sun_path)) >=
	    sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd == -1)
		return -1;
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	(void)setsockopt(
	    fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

/* From errno of connect_to(). */
static void
say_what_is_missing(const struct conf *c, char *text, size_t size)
{
	(void)snprintf(text, size,
	    HANDOVER_CONFINED ", and %s: %s; enable dma-submit.socket, "
			      "or let this service use set-id programs",
	    c->submit_socket, strerror(errno));
}

/* ---- The dialogue ---- */

static int
broken(struct handover *h)
{
	return intake_refuse(h->i, EX_UNAVAILABLE, "451 4.4.2",
	    "%s: the connection broke; %s", h->i->in->conf->submit_socket,
	    h->ended ? "the message may have been accepted"
		     : "nothing is queued");
}

/* An exit status for what was answered; never 75. */
static int
status_of(const char *reply)
{
	static const struct {
		const char *code;
		int status;
	} known[] = {{"451 4.3.5", EX_CONFIG}, {"451", EX_IOERR},
	    {"4", EX_UNAVAILABLE}, {"552", EX_UNAVAILABLE},
	    {"550 5.7", EX_UNAVAILABLE}, {"554", EX_UNAVAILABLE},
	    {"", EX_DATAERR}};
	size_t i = 0;

	while (strncmp(reply, known[i].code, strlen(known[i].code)) != 0)
		i++;
	return known[i].status;
}

/* The text of a reply, without its codes. */
static const char *
text_of(const char *reply)
{
	const char *text = reply + strspn(reply, "0123456789");
	size_t dsn = strspn(text + (*text == ' '), "0123456789.");

	text += *text == ' ';
	return dsn > 0 && text[dsn] == ' ' ? text + dsn + 1 : text;
}

static int
flush(struct handover *h)
{
	int result = write_full(h->fd, h->out.data, h->out.len);

	buf_reset(&h->out);
	return result;
}

/* Read a line of a reply. */
static int
read_line(struct handover *h)
{
	size_t n = 0;

	for (;;) {
		if (h->pos == h->len) {
			ssize_t got = read(h->fd, h->in, sizeof(h->in));

			if (got == -1 && errno == EINTR)
				continue;
			if (got <= 0)
				return -1;
			h->pos = 0;
			h->len = (size_t)got;
		}
		if (h->in[h->pos] == '\n' || n + 1 == sizeof(h->reply))
			break;
		h->reply[n++] = h->in[h->pos++];
	}
	h->reply[n] = '\0';
	h->reply[strcspn(h->reply, "\r")] = '\0';
	return h->in[h->pos++] == '\n' ? 0 : -1;
}

/* Read a reply, of so many lines at most, whose code must begin with `want`. */
static int
expect(struct handover *h, char want)
{
	int lines = 0;

	do {
		if (++lines > SMTP_LINES_MAX || read_line(h) == -1)
			return broken(h);
	} while (strnlen(h->reply, 4) == 4 && h->reply[3] == '-');
	/* What is no reply must not look like a yes. */
	if (h->reply[0] == want && strspn(h->reply, "0123456789") == 3 &&
	    (h->reply[3] == '\0' || h->reply[3] == ' '))
		return 0;
	return intake_refuse(
	    h->i, status_of(h->reply), "554 5.0.0", "%s", text_of(h->reply));
}

/* Send what was put out, and read its reply. */
static int
ask(struct handover *h, char want)
{
	return flush(h) == 0 ? expect(h, want) : broken(h);
}

/* All that is new to the other end; nothing may hold a CR or LF. */
static int
send_sender(struct handover *h)
{
	static const char *const rets[] = {[RET_DEFAULT] = "",
	    [RET_FULL] = " RET=FULL",
	    [RET_HDRS] = " RET=HDRS"};
	const struct envelope *e = &h->i->env;

	(void)buf_printf(&h->out,
	    "MAIL FROM:<%s> BODY=8BITMIME SMTPUTF8%s%s%s\r\n", e->sender.text,
	    rets[e->ret], e->envid != NULL ? " ENVID=" : "",
	    e->envid != NULL ? e->envid : "");
	return ask(h, '2');
}

static int
send_recipient(struct handover *h, const struct recipient *r)
{
	/* In the order of the NOTIFY_* bits. */
	static const char *const words[] = {
	    "NEVER", "SUCCESS", "FAILURE", "DELAY"};
	char notify[64] = "";
	size_t len = 0;

	for (size_t n = 0; n < ARRAY_LEN(words); n++)
		if (r->notify & 1U << n)
			len +=
			    (size_t)snprintf(notify + len, sizeof(notify) - len,
				"%s%s", len == 0 ? " NOTIFY=" : ",", words[n]);
	(void)buf_printf(&h->out, "RCPT TO:<%s>%s\r\n", r->addr.text, notify);
	return ask(h, '2');
}

static int
send_envelope(struct handover *h)
{
	const struct recipients *r = &h->i->recipients;

	if (expect(h, '2') != 0)
		return -1;
	(void)buf_puts(&h->out, "EHLO " SMTPD_SUBMITTER "\r\n");
	if (ask(h, '2') != 0 || send_sender(h) != 0)
		return -1;
	for (size_t n = 0; n < r->count; n++)
		if (send_recipient(h, &r->list[n]) != 0)
			return -1;
	(void)buf_puts(&h->out, "DATA\r\n");
	return ask(h, '3');
}

/* ---- The data ---- */

static int
put_data(void *arg, const char *p, size_t len)
{
	struct handover *h = arg;

	while (len > 0) {
		const char *lf = memchr(p, '\n', len);
		size_t n = lf != NULL ? (size_t)(lf - p) : len;

		if (h->line_start && *p == '.')
			(void)buf_putc(&h->out, '.');
		(void)buf_put(&h->out, p, n);
		h->line_start = lf != NULL;
		if (lf != NULL) {
			(void)buf_puts(&h->out, "\r\n");
			n++;
		}
		p += n;
		len -= n;
		if (h->out.len >= OUT_SIZE && flush(h) == -1)
			return -1;
	}
	return 0;
}

/* -F is known here alone; the rest of what is missing the other end adds. */
static int
put_authors(struct handover *h, const char *full_name)
{
	const struct intake *i = h->i;
	const struct mail_facts facts = {.conf = i->in->conf,
	    .sender = &i->env.sender,
	    .full_name = full_name};
	struct buf text = {0};
	int result = 0;

	if (full_name != NULL &&
	    mail_put_authors(&i->header, &facts, &text) != -1)
		result = put_data(h, text.data, text.len);
	buf_free(&text);
	return result;
}

static int
send_message(struct handover *h, const char *full_name)
{
	struct intake *i = h->i;
	bool reading = false;

	h->line_start = true;
	if (put_authors(h, full_name) != 0 ||
	    put_data(h, buf_str(&i->header.text), i->header.text.len) != 0 ||
	    put_data(h, "\n", 1) != 0)
		return broken(h);
	if (mail_pass_body(&i->source, put_data, h, &reading) != 0)
		return reading ? intake_reading_failed(i) : broken(h);
	(void)buf_puts(&h->out, ".\r\n");
	if (flush(h) == -1)
		return broken(h); /* the dot is the last to go */
	h->ended = true;
	return expect(h, '2');
}

int
handover_message(struct intake *i, const char *full_name)
{
	struct handover h = {.i = i};
	char text[512];
	int result;

	h.fd = connect_to(i->in->conf->submit_socket);
	if (h.fd == -1) {
		say_what_is_missing(i->in->conf, text, sizeof(text));
		return intake_refuse(i, EX_NOPERM, "451 4.3.0", "%s", text);
	}
	result = send_envelope(&h) == 0 ? send_message(&h, full_name) : -1;
	buf_free(&h.out);
	(void)close(h.fd);
	return result;
}

/* ---- A whole session ---- */

struct pump {
	int fd;
	bool over;  /* no more from standard input */
	size_t len; /* read from there, not yet passed on */
	char data[65536];
};

/* Returns false at the end. */
static bool
pump_in(struct pump *p)
{
	ssize_t n;

	if (p->len == 0) {
		n = read(STDIN_FILENO, p->data, sizeof(p->data));
		if (n > 0)
			p->len = (size_t)n;
		if (n == 0 || (n == -1 && errno != EINTR && errno != EAGAIN)) {
			(void)shutdown(p->fd, SHUT_WR);
			p->over = true;
		}
		return true;
	}
	n = send(p->fd, p->data, p->len, MSG_DONTWAIT);
	if (n == -1)
		return errno == EINTR || errno == EAGAIN;
	p->len -= (size_t)n;
	memmove(p->data, p->data + n, p->len);
	return true;
}

static bool
pump_out(struct pump *p)
{
	char data[4096];
	ssize_t n = read(p->fd, data, sizeof(data));

	if (n == -1)
		return errno == EINTR || errno == EAGAIN;
	return n > 0 && write_full(STDOUT_FILENO, data, (size_t)n) == 0;
}

static void
pump(struct pump *p)
{
	struct pollfd pfd[2];
	bool more = true;

	while (more) {
		pfd[0] = (struct pollfd){.fd = p->fd, .events = POLLIN};
		pfd[1] = (struct pollfd){.fd = -1, .events = POLLIN};
		if (p->len > 0)
			pfd[0].events |= POLLOUT;
		else if (!p->over)
			pfd[1].fd = STDIN_FILENO;
		if (poll(pfd, 2, -1) == -1 && errno != EINTR)
			return;
		if (pfd[0].revents & ~POLLOUT)
			more = pump_out(p);
		else if (pfd[0].revents != 0 || pfd[1].revents != 0)
			more = pump_in(p);
	}
}

int
handover_session(struct instance *in)
{
	struct pump p = {.fd = connect_to(in->conf->submit_socket)};
	char text[512];

	if (p.fd == -1) {
		say_what_is_missing(in->conf, text, sizeof(text));
		complain("%s", text);
		log_event(LOG_SUBMIT, LOG_ERR, "uid=%lu: not accepted: %s",
		    (unsigned long)in->caller, text);
		smtpd_turn_away(text);
		return EX_NOPERM;
	}
	pump(&p);
	(void)close(p.fd);
	return EX_OK;
}
