/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * job.h - what crosses between the runner and its agents (dma-smtp, dma-local).
 *
 * Records travel over an AF_UNIX SOCK_SEQPACKET pair, one record a packet,
 * first field its type, all fields typed (buf.h).  Runner to agent: HOP once,
 * then JOB with the message's descriptor (SCM_RIGHTS), up to JOBS_PER_AGENT
 * unanswered.  Agent to runner: READY first, then for each job one RESULT a
 * recipient the moment it is known, and DONE.  Both sides check records like
 * network input; end of file on the pair ends the other side.
 */
#ifndef DMA_JOB_H
#define DMA_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr.h"
#include "buf.h"
#include "conf.h"

#define JOB_FD  3 /* the agent's end of the pair */
#define LOCK_FD 4 /* dma-local's word with dma-become about its dotlock */

/*
 * How dma-become ends when it could not start an agent ("dma-become smtp",
 * "dma-become local USER", "dma-become alias"); otherwise its status is the
 * agent's.
 */
enum {
	BECOME_NO_USER = 67,  /* fails the recipient: 5.1.1 */
	BECOME_LIMITS = 69,   /* refused limits: leave it to the system's run */
	BECOME_SYSTEM = 71,   /* an error of the system: defer */
	BECOME_UNUSABLE = 72, /* mailbox's owner, links, type, place: defer */
	BECOME_LOCKED = 75,   /* it, or its lock, is taken or not made: defer */
	BECOME_NO_RIGHTS = 76, /* it is not set-user-id root: defer */
	BECOME_NOT_ALLOWED = 77,
	BECOME_CONFIG = 78 /* others than root may change dma.conf: defer */
};

enum outcome_class {
	OUTCOME_DEFER = 0, /* in doubt */
	OUTCOME_SENT,
	OUTCOME_FAIL,      /* a well-formed 5yz for it, or certain */
	OUTCOME_UNCERTAIN, /* final dot sent, no answer came */
	OUTCOME_UNTRIED    /* never got to it: no attempt is counted */
};

/* Whose is the notice of success (RFC 3461, 5.2 and 5.3)? */
enum outcome_notice {
	NOTICE_PASSED_ON, /* the server's, it has the parameters */
	NOTICE_RELAYED,   /* ours: it knows none */
	NOTICE_DELIVERED  /* ours: a mailbox, or LMTP, has the message */
};

struct outcome {
	enum outcome_class class;
	enum outcome_notice notice;       /* of SENT */
	char dsn[12];                     /* "4.4.1": RFC 3463 */
	char relay[RELAY_TEXT_MAX + 1];   /* "host[192.0.2.1]:25" or "" */
	char text[OUTCOME_TEXT_MAX + 1];  /* printable; the reply's words */
	uint32_t ms_connect, ms_transfer; /* for delays= */
};

/* Set an outcome's text from a format, made printable. */
void outcome_set(struct outcome *o, enum outcome_class class, const char *dsn,
    const char *fmt, ...) PRINTFLIKE(4, 5);

enum hop_kind {
	HOP_LOCAL, /* dma-local; host is the user's name */
	HOP_ALIAS, /* dma-local as ALIASUSER; host is empty */
	HOP_RELAY, /* host and port as configured, no MX lookup */
	HOP_MX     /* host is a domain or an address literal [192.0.2.1] */
};

/* The next hop and its policy: everything an agent may know of the config. */
struct hop {
	enum hop_kind kind;
	char *host;
	uint16_t port;
	enum next_hop_protocol protocol;
	enum tls_mode tls;
	bool verify;   /* chain and name */
	bool insecure; /* AUTH without TLS allowed */
	bool auth;     /* credential below must be used */
	bool has_fingerprint;
	unsigned char fingerprint[32];
	char *user, *password; /* or NULL */
	char *cert;            /* PEM, chain and key, or NULL */
	size_t cert_len;
	char *helo;        /* our name */
	unsigned timeouts; /* percent of the deadlines */
	bool trace;        /* send TRACE records (-v) */
};

struct job_recipient {
	uint32_t number; /* the recipient's index in its message */
	char *addr;
	char *orcpt; /* or NULL */
	char *orig;  /* for Delivered-To and logs, or NULL */
	/*
	 * Of HOP_ALIAS: "/file" or "|command" of the alias file, addr being
	 * the alias; else NULL.
	 */
	char *target;
	unsigned notify;
};

struct job {
	uint32_t number; /* the runner's, for this agent */
	char *id;        /* queue id */
	char *sender;    /* "" is the null sender */
	unsigned flags;  /* MESSAGE_* */
	char *envid;
	int ret;                 /* enum envelope_ret */
	uint64_t offset, length; /* of the message in fd */
	struct job_recipient *recipients;
	size_t nrecipients; /* 1 to JOB_RECIPIENTS_MAX; dma-local's: 1 */
	int fd;             /* the message, O_RDONLY; read with pread only */
};

enum record_type {
	RECORD_HOP = 1,
	RECORD_JOB,
	RECORD_READY,
	RECORD_GREETED,
	RECORD_RESULT,
	RECORD_DONE,
	RECORD_HOP_FAILED,
	RECORD_TRACE
};

/* Why a next hop as a whole cannot be used now. */
enum hop_failure {
	HOP_UNREACHABLE, /* no address of it answers, or DNS trouble */
	HOP_REFUSED,     /* policy: TLS, certificate */
	HOP_AUTH,        /* our credentials: leave alone for this run */
	HOP_BUSY,        /* 421: too many connections; others may go on */
	HOP_NO_NETWORK   /* EACCES, EPERM, EAFNOSUPPORT on socket(2) */
};

/*
 * One decoded record from an agent.  GREETED: the server greeted us and took
 * our credential, if there is one (one more agent may be started).  RESULT:
 * job, recipient, outcome.  DONE: job; recipients without a result stay at
 * DEFER.  HOP_FAILED: failure and outcome; every recipient that has no result
 * yet gets that outcome and the agent is about to exit.  TRACE: text, one
 * line, printable.
 */
struct agent_record {
	enum record_type type;
	uint32_t job, recipient;
	enum hop_failure failure;
	struct outcome outcome;
	char *text;
};

/*
 * Encoders append a record to an empty buf.  0 or -1 with errno (EMSGSIZE).
 */
int job_put_hop(struct buf *b, const struct hop *h);
int job_put_job(struct buf *b, const struct job *j); /* not the fd */
int job_put_result(
    struct buf *b, uint32_t job, uint32_t recipient, const struct outcome *o);
int job_put_done(struct buf *b, uint32_t job);
int job_put_hop_failed(
    struct buf *b, enum hop_failure failure, const struct outcome *o);
int job_put_signal(struct buf *b, enum record_type type); /* READY, GREETED */
int job_put_trace(struct buf *b, const char *line);

/* Decoders; -1 with EBADMSG and nothing to free if it is not well-formed. */
enum record_type job_record_type(const void *p, size_t len); /* or 0 */
int job_get_hop(struct hop *h, const void *p, size_t len);
int job_get_job(struct job *j, const void *p, size_t len); /* fd = -1 */
int job_get_agent(struct agent_record *r, const void *p, size_t len);

void hop_free(struct hop *h); /* wipes the credential */
void job_free(struct job *j); /* closes fd */
void agent_record_free(struct agent_record *r);

/*
 * One packet over the pair.  job_send: fd -1 for none; 0, or -1 with errno
 * (EAGAIN where the socket does not block).  job_recv: the length, 0 at end
 * of file, -1 with errno (EMSGSIZE: cut); *fd gets a passed descriptor
 * (close-on-exec) or -1; a second one is closed.
 */
int job_send(int sock, const void *p, size_t len, int fd);
ssize_t job_recv(int sock, void *p, size_t size, int *fd);

/* The other side is gone: nobody would write down what is done now. */
bool job_abandoned(int sock);

#endif
