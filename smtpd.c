/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd.c - SMTP on standard input and output, for -bs (RFC 5321).
 *
 * Runs in:   dma, setgid, with the uid of whose mail it takes.
 * Distrusts: every byte, and the peer's patience and speed.
 * Promises:  the greeting before anything is read; 250 to the data only after
 *            intake_store(); a message whose end did not come is not queued.
 */
#include "smtpd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "log.h"
#include "smtpd_text.h"
#include "util.h"

#define INPUT_SIZE 65536 /* bytes of one read(2) */
#define WRITE_SIZE 4096  /* of one write(2) */
#define REPLY_MAX  512   /* RFC 5321, 4.5.3.1.5 */

struct session {
	struct intake intake;
	struct peer peer;
	char client[ADDR_DOMAIN_MAX + INET6_ADDRSTRLEN + 16]; /* for Received */
	bool greeted, esmtp; /* HELO or EHLO; the latter */
	bool submitter;      /* he calls himself so: refuse nobody unknown */
	bool mail;           /* a transaction is under way */
	size_t recipients;   /* that were accepted in it */
	unsigned errors;     /* since the last message */
	enum delivery_mode mode;
	bool over; /* no more commands */
	int status;
	/* What was read, and not yet taken. */
	char *in;
	size_t pos, len;
	int64_t deadline; /* of the command or the data under way; 0: none */
	struct smtpd_data data;
	struct buf out; /* replies, until there is nothing left to read */
};

static void
end_session(struct session *s, int status)
{
	s->over = true;
	s->status = status;
}

/* ---- Replies ---- */

/* Code, and the enhanced code where EHLO announced those; then the text. */
static void say(struct session *s, const char *code, const char *fmt, ...)
    PRINTFLIKE(3, 4);

static void
say(struct session *s, const char *code, const char *fmt, ...)
{
	char text[REPLY_MAX - 16], shown[REPLY_MAX - 16];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	(void)buf_printf(&s->out, "%.*s %s\r\n",
	    s->esmtp ? (int)strlen(code) : 3, code,
	    printable(shown, sizeof(shown), text, strlen(text)));
	if (code[0] == '5')
		s->errors++;
}

static int64_t
scaled(const struct session *s, int64_t ms)
{
	return ms * s->intake.in->conf->timeouts / 100;
}

/*
 * Returns 0, or -1 where nobody takes it, or takes it a byte a minute: the
 * time is for all that there is.
 */
static int
flush(struct session *s)
{
	struct pollfd pfd = {.fd = STDOUT_FILENO, .events = POLLOUT};
	bool patient = s->peer.kind == PEER_NONE;
	int64_t left, until = now_ms() + scaled(s, SMTPD_COMMAND_MS);
	size_t len, done = 0;
	ssize_t n;

	while (done < s->out.len) {
		left = until - now_ms();
		if (!patient && left <= 0)
			break;
		/* Of a larger piece each part may wait for the whole time. */
		len = s->out.len - done < WRITE_SIZE ? s->out.len - done
						     : WRITE_SIZE;
		n = write(STDOUT_FILENO, s->out.data + done, len);
		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR &&
			 (errno != EAGAIN ||
			     poll(&pfd, 1, patient ? -1 : (int)left) != 1))
			break;
	}
	n = done < s->out.len ? -1 : 0;
	buf_reset(&s->out);
	if (n == -1)
		end_session(s, EX_IOERR);
	return (int)n;
}

/* ---- Input ---- */

static void
set_deadline(struct session *s, int64_t ms)
{
	if (s->peer.kind != PEER_NONE)
		s->deadline = now_ms() + scaled(s, ms);
}

/* True when there is something to read, false when the time is over. */
static bool
wait_for_input(const struct session *s)
{
	struct pollfd pfd = {.fd = STDIN_FILENO, .events = POLLIN};
	int64_t left = -1;
	int n;

	do {
		if (s->deadline != 0 && (left = s->deadline - now_ms()) < 0)
			return false; /* even if there is something */
		n = poll(&pfd, 1, (int)left);
	} while (n == -1 && errno == EINTR);
	return n != 0;
}

/*
 * Read more behind what there is, once all replies are out.  Returns the
 * number of bytes, 0 at the end, or -1: the session is over.
 */
static ssize_t
fill(struct session *s)
{
	ssize_t n;

	if (flush(s) == -1)
		return -1;
	if (s->pos > 0) {
		memmove(s->in, s->in + s->pos, s->len - s->pos);
		s->len -= s->pos;
		s->pos = 0;
	}
	do {
		if (!wait_for_input(s)) {
			say(s, "421 4.4.2", "Timeout");
			(void)flush(s);
			end_session(s, EX_UNAVAILABLE);
			return -1;
		}
		n = read(STDIN_FILENO, s->in + s->len, INPUT_SIZE - s->len);
	} while (n == -1 && (errno == EINTR || errno == EAGAIN));
	if (n == -1)
		end_session(s, EX_IOERR);
	else
		s->len += (size_t)n;
	return n;
}

/*
 * The next line without its end, *len bytes and a NUL; NULL at the end of the
 * input.  Of one that is too long, *len is over SMTPD_LINE_MAX and the rest
 * was skipped.
 */
static char *
read_line(struct session *s, size_t *len, bool *crlf)
{
	bool too_long = false;
	char *line, *lf;

	for (;;) {
		line = s->in + s->pos;
		lf = memchr(line, '\n', s->len - s->pos);
		if (lf != NULL)
			break;
		if (s->len - s->pos > SMTPD_LINE_MAX) {
			too_long = true;
			s->pos = s->len;
		}
		if (fill(s) <= 0)
			return NULL;
	}
	*len = (size_t)(lf - line);
	s->pos += *len + 1;
	*crlf = *len > 0 && line[*len - 1] == '\r';
	if (*crlf)
		--*len;
	line[*len] = '\0';
	if (too_long)
		*len = SMTPD_LINE_MAX + 1;
	return line;
}

/*
 * A lone LF is where servers differ on what a line is, so that one message
 * could become two (smuggling); a lone CR is refused with it, but from a
 * program of this machine, whose text it may be.
 */
static bool
line_ends_are_wrong(const struct session *s)
{
	return s->data.bare_lf ||
	       (s->data.bare_cr && s->peer.kind != PEER_LOCAL);
}

/* mail_source's read: the data, decoded; their end only if all was well. */
static ssize_t
read_data(void *arg, char *p, size_t size)
{
	struct session *s = arg;
	size_t n, used;

	while (s->data.state != DATA_END) {
		n = smtpd_data_decode(
		    &s->data, s->in + s->pos, s->len - s->pos, &used, p, size);
		s->pos += used;
		if (n > 0)
			return (ssize_t)n;
		if (s->data.state != DATA_END && fill(s) <= 0) {
			errno = ECONNRESET;
			return -1;
		}
	}
	errno = EBADMSG;
	return line_ends_are_wrong(s) ? -1 : 0;
}

/* ---- Commands ---- */

static void
reset(struct session *s)
{
	intake_reset(&s->intake);
	s->mail = false;
	s->recipients = 0;
}

/* Say why, to the log too. */
static void
say_refusal(struct session *s)
{
	const struct refusal *r = &s->intake.refusal;

	log_event(LOG_SUBMIT, LOG_ERR, "uid=%lu: not accepted: %s",
	    (unsigned long)s->intake.in->caller, r->text);
	say(s, r->smtp, "%s", r->text);
}

/* A reply that is a constant: "501 5.5.4 text". */
static void
say_whole(struct session *s, const char *reply)
{
	char code[sizeof("501 5.5.4")];

	compat_strlcpy(code, reply, sizeof(code));
	say(s, code, "%s", reply + sizeof(code));
}

/* A name as a Received field can hold it; anything goes, it proves nothing. */
static void
note_client(struct session *s, const char *name)
{
	char helo[ADDR_DOMAIN_MAX + 1];

	compat_strlcpy(helo, name, sizeof(helo));
	for (char *p = helo; *p != '\0'; p++)
		if (!ascii_isalnum((unsigned char)*p) &&
		    strchr(".-_:[]", *p) == NULL)
			*p = '?';
	(void)snprintf(
	    s->client, sizeof(s->client), "%s (%s)", helo, s->peer.text);
	if (s->peer.kind == PEER_NETWORK)
		s->intake.from = s->client;
}

static void
take_hello(struct session *s, const char *name, bool esmtp)
{
	const struct conf *c = s->intake.in->conf;

	if (*name == '\0') {
		say(s, "501 5.5.4", "Say who you are: HELO name");
		return;
	}
	reset(s);
	s->greeted = true;
	s->esmtp = esmtp;
	s->submitter =
	    s->peer.kind == PEER_LOCAL && strcmp(name, SMTPD_SUBMITTER) == 0;
	note_client(s, name);
	if (!esmtp)
		say(s, "250", "%s", c->mailname);
	else
		(void)buf_printf(&s->out,
		    "250-%s\r\n250-PIPELINING\r\n250-SIZE %lld\r\n"
		    "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n"
		    "250-ENHANCEDSTATUSCODES\r\n250 HELP\r\n",
		    c->mailname, (long long)c->maxsize);
}

static void
take_mail(struct session *s, char *args)
{
	struct intake *i = &s->intake;
	struct smtpd_path p;
	const char *bad;

	if (!s->greeted || s->mail) {
		say(s, "503 5.5.1", "%s",
		    s->mail ? "There is a sender already"
			    : "Say HELO or EHLO first");
	} else if ((bad = smtpd_path_parse(&p, args, "FROM:")) != NULL) {
		say_whole(s, bad);
	} else if (i->in->conf->maxsize > 0 && p.size > i->in->conf->maxsize) {
		say(s, "552 5.3.4", "Message is larger than %lld bytes",
		    (long long)i->in->conf->maxsize);
	} else if (intake_set_sender(i, p.path) != 0) {
		say_refusal(s);
		reset(s);
	} else {
		i->env.ret = p.ret;
		if (p.envid != NULL)
			i->env.envid = xstrdup(p.envid);
		s->mail = true;
		say(s, "250 2.1.0", "Ok");
	}
}

static void
take_rcpt(struct session *s, char *args)
{
	struct intake *i = &s->intake;
	struct smtpd_path p;
	const char *bad, *why;
	int (*add)(struct intake * i, const struct addr *to, unsigned notify,
	    const char *orcpt) =
	    s->submitter ? intake_add_recipient : intake_add_known;
	struct addr a;

	if (!s->mail) {
		say(s, "503 5.5.1", "Say MAIL FROM first");
	} else if ((bad = smtpd_path_parse(&p, args, "TO:")) != NULL) {
		say_whole(s, bad);
	} else if (addr_parse(&a, p.path, false, &why) != 0) {
		say(s, "501 5.1.3", "Recipient %s %s", p.path, why);
	} else if (add(i, &a, p.notify, p.orcpt) != 0) {
		say_refusal(s);
	} else {
		s->recipients++;
		say(s, "250 2.1.5", "Ok");
	}
}

/* What is left of data that nobody wants. */
static void
skip_data(struct session *s)
{
	char piece[4096];

	while (read_data(s, piece, sizeof(piece)) > 0)
		continue;
}

static void
say_stored(struct session *s, bool stored)
{
	struct intake *i = &s->intake;

	if (stored) {
		s->errors = 0;
		say(s, "250 2.0.0", "Ok: queued as %s", i->env.id);
	} else {
		if (line_ends_are_wrong(s))
			(void)intake_refuse(i, EX_DATAERR, "550 5.6.0",
			    "a line of the message ends in a bare %s, "
			    "not in CRLF",
			    s->data.bare_lf ? "LF" : "CR");
		say_refusal(s);
	}
	(void)flush(s);
}

static void
take_data(struct session *s)
{
	struct intake *i = &s->intake;
	bool stored;

	if (s->recipients == 0) {
		say(s, "503 5.5.1", "Say RCPT TO first");
		return;
	}
	say(s, "354", "End data with <CR><LF>.<CR><LF>");
	s->data = (struct smtpd_data){DATA_LINE_START, false, false};
	set_deadline(s, SMTPD_DATA_MS);
	stored = intake_read_header(i) == 0 && intake_store(i) == 0;
	if (!stored)
		skip_data(s);
	if (s->data.state == DATA_END) {
		say_stored(s, stored);
		if (stored)
			intake_deliver(i, s->mode, false);
	} else if (!s->over) {
		log_event(LOG_SUBMIT, LOG_NOTICE,
		    "uid=%lu: not accepted: the input ended in the message",
		    (unsigned long)i->in->caller);
		end_session(s, EX_IOERR);
	}
	reset(s);
	/* Runners that it started, should it outlive them. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
}

static void
take_command(struct session *s, char *line)
{
	char *args;

	switch (smtpd_verb(line, &args)) {
	case VERB_HELO:
		take_hello(s, args, false);
		break;
	case VERB_EHLO:
		take_hello(s, args, true);
		break;
	case VERB_MAIL:
		take_mail(s, args);
		break;
	case VERB_RCPT:
		take_rcpt(s, args);
		break;
	case VERB_DATA:
		take_data(s);
		break;
	case VERB_RSET:
		reset(s);
		say(s, "250 2.0.0", "Ok");
		break;
	case VERB_NOOP:
		say(s, "250 2.0.0", "Ok");
		break;
	case VERB_VRFY:
		say(s, "252 2.5.0", "Send it a message, and see");
		break;
	case VERB_HELP:
		say(s, "214 2.0.0",
		    "HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP QUIT");
		break;
	case VERB_QUIT:
		say(s, "221 2.0.0", "Bye");
		end_session(s, EX_OK);
		break;
	case VERB_ABSENT:
		say(s, "502 5.5.1", "Not implemented");
		break;
	case VERB_FOREIGN:
		say(s, "421 4.7.0", "This is SMTP");
		end_session(s, EX_DATAERR);
		break;
	case VERB_UNKNOWN:
		say(s, "500 5.5.2", "Unknown command");
		break;
	}
}

/*
 * People end lines with LF, and pipes of theirs; a program that does so over
 * a socket may have been made to pass on a line that is not its own.
 */
static void
take_line(struct session *s, char *line, size_t len, bool crlf)
{
	if (!crlf && s->peer.kind != PEER_NONE) {
		say(s, "500 5.5.2", "Lines end in CRLF");
		end_session(s, EX_DATAERR);
	} else if (len > SMTPD_LINE_MAX) {
		say(s, "500 5.5.2", "Line is longer than %d bytes",
		    SMTPD_LINE_MAX);
	} else if (strlen(line) != len) {
		say(s, "500 5.5.2", "Line contains a NUL");
	} else {
		take_command(s, line);
	}
	if (s->errors < SMTPD_ERRORS_MAX || s->over)
		return;
	say(s, "421 4.7.0", "Too many errors");
	end_session(s, EX_DATAERR);
}

/* ---- The session ---- */

void
smtpd_meet(struct peer *peer)
{
	struct stat in, err;
	int null;

	peer_find(STDIN_FILENO, peer);
	if (peer->kind == PEER_NONE || fstat(STDIN_FILENO, &in) == -1 ||
	    fstat(STDERR_FILENO, &err) == -1 || in.st_dev != err.st_dev ||
	    in.st_ino != err.st_ino)
		return;
	/* inetd(8) gives the peer all three. */
	null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null == -1 || dup2(null, STDERR_FILENO) == -1)
		_exit(EX_OSERR);
	(void)close(null);
}

void
smtpd_turn_away(const char *why)
{
	struct peer peer;

	peer_find(STDIN_FILENO, &peer);
	(void)printf("421 4.3.0 %s\r\n",
	    peer.kind == PEER_NONE || peer.kind == PEER_LOCAL
		? why
		: "Mail cannot be taken now; the log says why");
	(void)fflush(stdout);
}

static bool
peer_is_welcome(const struct session *s)
{
	const struct peer *p = &s->peer;

	return p->kind == PEER_NONE || p->kind == PEER_LOCAL ||
	       peer_is_loopback(p) ||
	       (p->kind == PEER_NETWORK &&
		   conf_relays_from(s->intake.in->conf, p->family, p->address));
}

static int
greet(struct session *s)
{
	int64_t ms = scaled(s, SMTPD_COMMAND_MS);
	const struct timeval patience = {
	    .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	const char *name = s->intake.in->conf->mailname;

	/* Fails, and may, where that is no socket. */
	(void)setsockopt(STDOUT_FILENO, SOL_SOCKET, SO_SNDTIMEO, &patience,
	    sizeof(patience));
	if (peer_is_welcome(s)) {
		say(s, "220", "%s ESMTP dma", name);
		return flush(s);
	}
	log_event(LOG_SUBMIT, LOG_WARNING,
	    "not accepted: SMTP client %s is not in RELAY_FROM", s->peer.text);
	say(s, "554", "5.7.1 %s takes no mail from %s", name, s->peer.text);
	end_session(s, EX_NOPERM);
	return -1;
}

static void
converse(struct session *s)
{
	char *line;
	size_t len;
	bool crlf;

	s->in = xmalloc(INPUT_SIZE);
	while (!s->over) {
		set_deadline(s, SMTPD_COMMAND_MS);
		line = read_line(s, &len, &crlf);
		if (line == NULL)
			break;
		take_line(s, line, len, crlf);
	}
}

int
smtpd_serve(struct instance *in, enum delivery_mode mode)
{
	struct session s = {.intake.in = in, .mode = mode, .status = EX_OK};

	/* It would be tried before the next command is read. */
	if (mode == DELIVER_FOREGROUND)
		s.mode = DELIVER_BACKGROUND;
	peer_find(STDIN_FILENO, &s.peer);
	if (greet(&s) == 0) {
		intake_open(&s.intake, in);
		s.intake.source.read = read_data;
		s.intake.source.arg = &s;
		if (s.peer.kind == PEER_NETWORK)
			s.intake.full_name[0] = '\0'; /* nobody's */
		converse(&s);
		intake_close(&s.intake);
	}
	(void)flush(&s);
	buf_free(&s.out);
	free(s.in);
	return s.status;
}
