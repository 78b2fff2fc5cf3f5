/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * job.c - the records between the runner and its agents.
 *
 * Runs in:   dma (runner), dma-smtp, dma-local.
 * Trusts:    nobody: each side decodes what the other sent as if hostile.
 * Promises:  a decoded record holds only strings without NUL and within
 *            limits.h, and numbers within their enumerations.
 */
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "util.h"

void
outcome_set(struct outcome *o, enum outcome_class class, const char *dsn,
    const char *fmt, ...)
{
	char raw[2 * OUTCOME_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(raw, sizeof(raw), fmt, ap);
	va_end(ap);
	o->class = class;
	compat_strlcpy(o->dsn, dsn, sizeof(o->dsn));
	printable(o->text, sizeof(o->text), raw, strlen(raw));
}

/* ---- Encoding ---- */

/*
 * Encoders chain their puts with |=: each returns 0 or -1, and one failed
 * put fails the record.
 */
static int
put_type(struct buf *b, enum record_type type)
{
	if (b->max == 0)
		b->max = RECORD_MAX;
	return buf_put_u32(b, (uint32_t)type);
}

int
job_put_hop(struct buf *b, const struct hop *h)
{
	int bad = put_type(b, RECORD_HOP);

	bad |= buf_put_u32(b, (uint32_t)h->kind);
	bad |= buf_put_string(b, h->host);
	bad |= buf_put_u32(b, h->port);
	bad |= buf_put_u32(b, (uint32_t)h->protocol);
	bad |= buf_put_u32(b, (uint32_t)h->tls);
	bad |= buf_put_u32(b, h->verify);
	bad |= buf_put_u32(b, h->insecure);
	bad |= buf_put_u32(b, h->auth);
	bad |= buf_put_u32(b, h->has_fingerprint);
	bad |= buf_put_bytes(b, h->fingerprint, sizeof(h->fingerprint));
	bad |= buf_put_string(b, h->user);
	bad |= buf_put_string(b, h->password);
	bad |= buf_put_bytes(b, h->cert, h->cert_len);
	bad |= buf_put_string(b, h->helo);
	bad |= buf_put_u32(b, h->timeouts);
	bad |= buf_put_u32(b, h->trace);
	return bad;
}

int
job_put_job(struct buf *b, const struct job *j)
{
	int bad = put_type(b, RECORD_JOB);

	bad |= buf_put_u32(b, j->number);
	bad |= buf_put_string(b, j->id);
	bad |= buf_put_string(b, j->sender);
	bad |= buf_put_u32(b, j->flags);
	bad |= buf_put_string(b, j->envid);
	bad |= buf_put_u32(b, (uint32_t)j->ret);
	bad |= buf_put_u64(b, j->offset);
	bad |= buf_put_u64(b, j->length);
	bad |= buf_put_u32(b, (uint32_t)j->nrecipients);
	for (size_t i = 0; i < j->nrecipients; i++) {
		const struct job_recipient *r = &j->recipients[i];

		bad |= buf_put_u32(b, r->number);
		bad |= buf_put_string(b, r->addr);
		bad |= buf_put_string(b, r->orcpt);
		bad |= buf_put_string(b, r->orig);
		bad |= buf_put_string(b, r->target);
		bad |= buf_put_u32(b, r->notify);
	}
	return bad;
}

static int
put_outcome(struct buf *b, const struct outcome *o)
{
	int bad = buf_put_u32(b, (uint32_t)o->class);

	bad |= buf_put_u32(b, (uint32_t)o->notice);
	bad |= buf_put_string(b, o->dsn);
	bad |= buf_put_string(b, o->relay);
	bad |= buf_put_string(b, o->text);
	bad |= buf_put_u32(b, o->ms_connect);
	bad |= buf_put_u32(b, o->ms_transfer);
	return bad;
}

int
job_put_result(
    struct buf *b, uint32_t job, uint32_t recipient, const struct outcome *o)
{
	int bad = put_type(b, RECORD_RESULT);

	bad |= buf_put_u32(b, job);
	bad |= buf_put_u32(b, recipient);
	return bad | put_outcome(b, o);
}

int
job_put_done(struct buf *b, uint32_t job)
{
	int bad = put_type(b, RECORD_DONE);

	return bad | buf_put_u32(b, job);
}

int
job_put_hop_failed(
    struct buf *b, enum hop_failure failure, const struct outcome *o)
{
	int bad = put_type(b, RECORD_HOP_FAILED);

	bad |= buf_put_u32(b, (uint32_t)failure);
	return bad | put_outcome(b, o);
}

int
job_put_signal(struct buf *b, enum record_type type)
{
	return put_type(b, type);
}

int
job_put_trace(struct buf *b, const char *line)
{
	int bad = put_type(b, RECORD_TRACE);

	return bad | buf_put_string(b, line);
}

/* ---- Decoding ---- */

static struct cursor
cursor_over(const void *p, size_t len)
{
	struct cursor c = {p, (const unsigned char *)p + len, false};

	return c;
}

/* A number that must be one of 0..max; else 0, and the record is bad. */
static uint32_t
get_enum(struct cursor *c, uint32_t max)
{
	uint32_t v = cursor_u32(c);

	if (v <= max)
		return v;
	c->bad = true;
	return 0;
}

/* The empty string stands for NULL. */
static char *
get_optional(struct cursor *c, size_t max)
{
	char *s = cursor_string(c, max);

	if (s != NULL && s[0] == '\0') {
		free(s);
		s = NULL;
	}
	return s;
}

static bool
finished(const struct cursor *c)
{
	return !c->bad && c->p == c->end;
}

enum record_type
job_record_type(const void *p, size_t len)
{
	struct cursor c = cursor_over(p, len);
	uint32_t type = cursor_u32(&c);

	if (c.bad || type > RECORD_TRACE)
		return 0;
	return (enum record_type)type;
}

int
job_get_hop(struct hop *h, const void *p, size_t len)
{
	struct cursor c = cursor_over(p, len);
	const void *bytes;
	size_t n;

	memset(h, 0, sizeof(*h));
	if (cursor_u32(&c) != RECORD_HOP)
		c.bad = true;
	h->kind = (enum hop_kind)get_enum(&c, HOP_MX);
	h->host = cursor_string(&c, RELAY_TEXT_MAX);
	h->port = (uint16_t)get_enum(&c, UINT16_MAX);
	h->protocol = (enum next_hop_protocol)get_enum(&c, PROTOCOL_LMTP);
	h->tls = (enum tls_mode)get_enum(&c, TLS_NONE);
	h->verify = get_enum(&c, 1) != 0;
	h->insecure = get_enum(&c, 1) != 0;
	h->auth = get_enum(&c, 1) != 0;
	h->has_fingerprint = get_enum(&c, 1) != 0;
	bytes = cursor_bytes(&c, sizeof(h->fingerprint), &n);
	if (bytes != NULL && n == sizeof(h->fingerprint))
		memcpy(h->fingerprint, bytes, n);
	else
		c.bad = true;
	h->user = get_optional(&c, CREDENTIAL_MAX);
	h->password = get_optional(&c, CREDENTIAL_MAX);
	bytes = cursor_bytes(&c, CERTFILE_MAX, &n);
	if (bytes != NULL && n > 0) {
		h->cert = xmalloc(n + 1);
		memcpy(h->cert, bytes, n);
		h->cert[n] = '\0';
		h->cert_len = n;
	}
	h->helo = cursor_string(&c, ADDR_DOMAIN_MAX);
	h->timeouts = get_enum(&c, 100);
	h->trace = get_enum(&c, 1) != 0;
	if (finished(&c) && h->timeouts > 0)
		return 0;
	hop_free(h);
	errno = EBADMSG;
	return -1;
}

static void
get_recipient(struct cursor *c, struct job_recipient *r)
{
	r->number = cursor_u32(c);
	r->addr = cursor_string(c, ADDR_MAX);
	r->orcpt = get_optional(c, ORCPT_MAX);
	r->orig = get_optional(c, ADDR_MAX);
	r->target = get_optional(c, TARGET_MAX);
	r->notify = get_enum(c, 15);
}

int
job_get_job(struct job *j, const void *p, size_t len)
{
	struct cursor c = cursor_over(p, len);
	uint32_t n;

	memset(j, 0, sizeof(*j));
	j->fd = -1;
	if (cursor_u32(&c) != RECORD_JOB)
		c.bad = true;
	j->number = cursor_u32(&c);
	j->id = cursor_string(&c, QUEUE_ID_MAX);
	j->sender = cursor_string(&c, ADDR_MAX);
	j->flags = get_enum(&c, 15);
	j->envid = get_optional(&c, ENVID_MAX);
	j->ret = (int)get_enum(&c, 2);
	j->offset = cursor_u64(&c);
	j->length = cursor_u64(&c);
	if (j->offset > INT64_MAX / 2 || j->length > INT64_MAX / 2)
		c.bad = true;
	n = get_enum(&c, JOB_RECIPIENTS_MAX);
	if (n == 0)
		c.bad = true;
	j->recipients = xcalloc(n + 1, sizeof(*j->recipients));
	for (uint32_t i = 0; i < n && !c.bad; i++) {
		j->nrecipients = i + 1;
		get_recipient(&c, &j->recipients[i]);
	}
	if (finished(&c))
		return 0;
	job_free(j);
	errno = EBADMSG;
	return -1;
}

/* A string copied into a fixed field, made printable again: law 2. */
static void
get_text(struct cursor *c, char *dst, size_t size)
{
	char *s = cursor_string(c, size - 1);

	if (s == NULL) {
		dst[0] = '\0';
		return;
	}
	printable(dst, size, s, strlen(s));
	free(s);
}

/* "4.7.1", or what does not look like it counts as none. */
static void
get_dsn(struct cursor *c, struct outcome *o)
{
	get_text(c, o->dsn, sizeof(o->dsn));
	if (strspn(o->dsn, "0123456789.") != strlen(o->dsn))
		o->dsn[0] = '\0';
}

static void
get_outcome(struct cursor *c, struct outcome *o)
{
	o->class = (enum outcome_class)get_enum(c, OUTCOME_UNTRIED);
	o->notice = (enum outcome_notice)get_enum(c, NOTICE_DELIVERED);
	get_dsn(c, o);
	get_text(c, o->relay, sizeof(o->relay));
	get_text(c, o->text, sizeof(o->text));
	o->ms_connect = cursor_u32(c);
	o->ms_transfer = cursor_u32(c);
}

int
job_get_agent(struct agent_record *r, const void *p, size_t len)
{
	struct cursor c = cursor_over(p, len);
	uint32_t type = get_enum(&c, RECORD_TRACE);

	memset(r, 0, sizeof(*r));
	r->type = (enum record_type)type;
	switch (type) {
	case RECORD_READY:
	case RECORD_GREETED:
		break;
	case RECORD_RESULT:
		r->job = cursor_u32(&c);
		r->recipient = cursor_u32(&c);
		get_outcome(&c, &r->outcome);
		break;
	case RECORD_DONE:
		r->job = cursor_u32(&c);
		break;
	case RECORD_HOP_FAILED:
		r->failure = (enum hop_failure)get_enum(&c, HOP_NO_NETWORK);
		get_outcome(&c, &r->outcome);
		break;
	case RECORD_TRACE:
		r->text = cursor_string(&c, RECORD_MAX);
		break;
	default:
		c.bad = true;
	}
	if (finished(&c))
		return 0;
	agent_record_free(r);
	errno = EBADMSG;
	return -1;
}

/* ---- Ownership ---- */

static void
free_secret(char *s, size_t len)
{
	if (s != NULL)
		compat_explicit_bzero(s, len);
	free(s);
}

void
hop_free(struct hop *h)
{
	free(h->host);
	free(h->user);
	free_secret(h->password, h->password == NULL ? 0 : strlen(h->password));
	free_secret(h->cert, h->cert_len);
	free(h->helo);
	memset(h, 0, sizeof(*h));
}

void
job_free(struct job *j)
{
	for (size_t i = 0; i < j->nrecipients; i++) {
		free(j->recipients[i].addr);
		free(j->recipients[i].orcpt);
		free(j->recipients[i].orig);
		free(j->recipients[i].target);
	}
	free(j->recipients);
	free(j->id);
	free(j->sender);
	free(j->envid);
	if (j->fd >= 0)
		(void)close(j->fd);
	memset(j, 0, sizeof(*j));
	j->fd = -1;
}

void
agent_record_free(struct agent_record *r)
{
	free(r->text);
	memset(r, 0, sizeof(*r));
}

/* ---- Packets ---- */

/* Room for two descriptors, so that a second one is seen and closed. */
union control {
	struct cmsghdr align;
	char space[CMSG_SPACE(2 * sizeof(int))];
};

int
job_send(int sock, const void *p, size_t len, int fd)
{
	struct iovec iov = {.iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control;
	ssize_t n;

	memcpy(&iov.iov_base, &p, sizeof(p)); /* sendmsg does not write it */
	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -1 : 0;
}

/* musl's CMSG_NXTHDR compares lengths of either sign. */
#if defined(__GNUC__) && defined(__linux__) && !defined(__GLIBC__)
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

/* Keep the first descriptor that came, close every other. */
static int
take_descriptor(struct msghdr *msg)
{
	int kept = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL;
	     c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (kept < 0)
				kept = fd;
			else
				(void)close(fd);
		}
	}
	return kept;
}

ssize_t
job_recv(int sock, void *p, size_t size, int *fd)
{
	struct iovec iov = {.iov_base = p, .iov_len = size};
	union control control;
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control.space,
	    .msg_controllen = sizeof(control.space)};
	ssize_t n;

	*fd = -1;
	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	*fd = take_descriptor(&msg);
	if ((msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (*fd >= 0)
			(void)close(*fd);
		*fd = -1;
		errno = EMSGSIZE;
		return -1;
	}
	return n;
}

bool
job_abandoned(int sock)
{
	struct pollfd p = {.fd = sock};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}
