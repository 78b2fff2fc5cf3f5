/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf.h - dma.conf and auth.conf into types, once.
 */
#ifndef DMA_CONF_H
#define DMA_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"
#include "log.h"

#define CONF_LINE_MAX      2047 /* bytes of a dma.conf line, as in dma 0.14 */
#define CONF_AUTH_LINE_MAX (2 * CREDENTIAL_MAX + ADDR_DOMAIN_MAX + 4)

/* How a connection to the next hop is to be protected. */
enum tls_mode {
	TLS_MAY,      /* STARTTLS where it is offered */
	TLS_STARTTLS, /* STARTTLS or defer */
	TLS_IMPLICIT, /* TLS from the first byte */
	TLS_NONE      /* never */
};

enum next_hop_protocol { PROTOCOL_SMTP, PROTOCOL_LMTP };

/* One entry of SMARTHOST. */
struct conf_relay {
	char *host;    /* name or address literal without brackets; or a path */
	uint16_t port; /* 0 for a path */
	enum next_hop_protocol protocol;
	enum tls_mode tls; /* as the global keys or the URL say */
	bool verify;       /* chain and name, by VERIFYCERT or the URL */
	bool by_url;       /* a URL: the global TLS keys chose nothing here */
	char *user;        /* "user@" of the entry, or NULL: any for the host */
};

/* One line of auth.conf. */
struct conf_auth {
	char *user, *host, *password;
};

/* An entry of RELAY_FROM: whose first bits are these. */
struct conf_network {
	int family; /* AF_INET or AF_INET6 */
	unsigned char address[16];
	unsigned bits;
};

struct conf {
	struct conf_relay *relays; /* SMARTHOST, in order */
	size_t nrelays;
	char *aliases;  /* ALIASES, /etc/aliases */
	char *spooldir; /* SPOOLDIR */
	char *authpath; /* AUTHPATH, or NULL */
	struct conf_auth *auths;
	size_t nauths;
	enum tls_mode tls; /* for hops that are not in relays: direct MX */
	bool securetransfer, starttls, opportunistic_tls; /* as written */
	bool verifycert;
	bool has_fingerprint;
	unsigned char fingerprint[32]; /* SHA-256 of the leaf */
	char *certfile;                /* CERTFILE, or NULL */
	bool insecure;                 /* AUTH without TLS allowed */
	bool defer;                    /* queue only */
	bool fullbounce;
	bool nullclient;
	bool lmtp;     /* entries of SMARTHOST without a scheme speak LMTP */
	unsigned port; /* PORT, or 0: what the protocol's default is */
	char mailname[ADDR_DOMAIN_MAX + 1]; /* never empty */
	char hostname[ADDR_DOMAIN_MAX + 1]; /* gethostname(2), never empty */
	char *mailname_file;                /* MAILNAME as a path, or NULL */
	char *masquerade_user, *masquerade_host; /* or NULL */
	char **localnames; /* LOCALNAMES: "name", "*.name"; none: the default */
	size_t nlocalnames;
	bool localonly;                  /* nothing goes over the network */
	char *senders;                   /* SENDERS, a file, or NULL */
	bool from_envelope;              /* HEADERS from=envelope */
	char *submit_socket;             /* SUBMIT_SOCKET */
	struct conf_network *relay_from; /* RELAY_FROM: who else may use -bs */
	size_t nrelay_from;
	unsigned agents, agents_per_host;
	int64_t retry[RETRY_STEPS_MAX]; /* seconds; the last repeats */
	size_t nretry;
	int64_t lifetime; /* seconds */
	int64_t warn;     /* seconds; 0: never */
	char *postmaster; /* an address, or NULL */
	int64_t maxsize;  /* bytes; 0: any */
	unsigned minfree; /* percent */
	enum log_target log_target;
	char *log_path;  /* for LOG_TO_FILE */
	char *aliasuser; /* ALIASUSER; NULL in a private instance */
	char *mailbox;   /* MAILBOX as written, or NULL; mailbox_parse() */
	struct conf_relay *mailbox_lmtp; /* ... if it is an LMTP server */
	/* Private instances only. */
	char *libexecdir;  /* LIBEXECDIR, or the built-in one */
	unsigned timeouts; /* TIMEOUTS, percent, 100 */
	uint64_t sum;      /* of the files' bytes: tells what was changed */
};

struct conf_error {
	char text[512]; /* "file:line: what", one line */
};

/*
 * How the TLS keys are read, after the whole file: none: STARTTLS where it
 * is offered.  SECURETRANSFER: TLS from the start; with STARTTLS: STARTTLS or
 * defer.  STARTTLS, VERIFYCERT or FINGERPRINT alone: STARTTLS or defer.
 * OPPORTUNISTIC_TLS makes STARTTLS optional, unless a certificate is asked
 * for, since nobody checks one in plaintext.  A relay that has a credential
 * and whose protection no global key chose must offer STARTTLS and show a
 * valid certificate, unless INSECURE.  A FINGERPRINT takes the place of the
 * chain and name where only a URL or that rule asks for those.
 */

/*
 * Load a configuration and, where AUTHPATH names one, its auth.conf.  A
 * missing file at the built-in place means all defaults; private_instance
 * makes a missing file an error and allows the keys that only a private
 * instance may set.  Returns a configuration to free, or NULL with *error.
 */
struct conf *conf_load(
    const char *path, bool private_instance, struct conf_error *error);

/* The system's, without auth.conf: for who may not read that. */
struct conf *conf_load_public(const char *path, struct conf_error *error);
void conf_free(struct conf *c); /* wipes the passwords */

/*
 * The same from memory, for tests and fuzzing; reads no file: MAILNAME as a
 * path and AUTHPATH are only stored.  `file` names the text in errors.
 */
struct conf *conf_parse(const char *file, const char *text, size_t len,
    bool private_instance, struct conf_error *error);

/*
 * Parse auth.conf's text into c, adding to what is there, and settle the
 * relays' protection anew.  Returns 0 or -1 with *error.
 */
int conf_parse_auth(struct conf *c, const char *file, const char *text,
    size_t len, struct conf_error *error);

/*
 * The credential for a relay: host in any case, and its user if it names
 * one; the last matching line wins, as it did in 0.14.  NULL if none.
 */
const struct conf_auth *conf_auth_for(
    const struct conf *c, const struct conf_relay *relay);

/*
 * What a line says, in place: without the comment, which a # begins at the
 * start of the line and after a blank, and without blanks at both ends.
 */
char *conf_text(char *line);

/*
 * For dma-become: the values of some keys (NULL-ended) of root's file; what is
 * not set, or where there is no file, leaves its slot as it is.  Unchecked,
 * and the caller's.  Returns 0, or -1 with errno: EPERM others may change it.
 */
int conf_root(const char *path, const char *const *keys, char **values);

/*
 * True if domain (any case) means this machine: "localhost", and what
 * LOCALNAMES lists or, where that is not set, MAILNAME and the host name (as
 * dma 0.14 decides).
 */
bool conf_domain_is_local(const struct conf *c, const char *domain);

/* True if RELAY_FROM lists the address (4 or 16 bytes, network order). */
bool conf_relays_from(
    const struct conf *c, int family, const unsigned char *address);

/* All key names, NULL-ended, for the test that holds the manual to them. */
extern const char *const conf_keys[];

#endif
