/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf_relay.c - SMARTHOST's entries, their protection and credentials; the
 *                LMTP server of MAILBOX.
 *
 * Runs in:   dma, below conf.c.
 * Trusts:    as conf.c does.
 * Promises:  no credential is meant for a connection without TLS, and no
 *            certificate is asked for where none will be seen, but that
 *            INSECURE says so or the configuration is refused.
 */
#include "conf.h"

#include <arpa/inet.h>

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "conf_reader.h"
#include "util.h"

#define LMTP_PORT 24

struct relay_scheme {
	const char *prefix;
	enum tls_mode tls;
	bool verify;
	enum next_hop_protocol protocol;
};

static const struct relay_scheme schemes[] = {
    {"smtp://", TLS_MAY, false, PROTOCOL_SMTP},
    {"smtp+tls://", TLS_STARTTLS, true, PROTOCOL_SMTP},
    {"smtp+notls://", TLS_NONE, false, PROTOCOL_SMTP},
    {"smtps://", TLS_IMPLICIT, true, PROTOCOL_SMTP},
    {"lmtp://", TLS_MAY, false, PROTOCOL_LMTP},
};

/* An address; an IPv6 one may name an interface: fe80::1%eth0. */
static bool
is_literal(const char *s)
{
	struct in6_addr raw;
	const char *zone = strchr(s, '%');
	char *address;
	bool valid;

	if (zone == NULL)
		return inet_pton(AF_INET, s, &raw) == 1 ||
		       inet_pton(AF_INET6, s, &raw) == 1;
	address = xstrndup(s, (size_t)(zone - s));
	valid = inet_pton(AF_INET6, address, &raw) == 1 &&
		addr_domain_valid(zone + 1);
	free(address);
	return valid;
}

/* ---- SMARTHOST ---- */

void
conf_relays_free(struct conf *c)
{
	while (c->nrelays > 0) {
		struct conf_relay *relay = &c->relays[--c->nrelays];

		free(relay->host);
		free(relay->user);
	}
	free(c->relays);
	c->relays = NULL;
}

/* Take the scheme off an entry, and what it says. */
static int
relay_scheme(struct reader *r, char **entry, struct conf_relay *relay)
{
	size_t i;

	for (i = 0; i < ARRAY_LEN(schemes); i++) {
		const struct relay_scheme *scheme = &schemes[i];
		size_t len = strlen(scheme->prefix);

		if (ascii_strncasecmp(*entry, scheme->prefix, len) != 0)
			continue;
		relay->by_url = true;
		relay->tls = scheme->tls;
		relay->verify = scheme->verify;
		relay->protocol = scheme->protocol;
		*entry += len;
		return 0;
	}
	if (strstr(*entry, "://") == NULL)
		return 0;
	return conf_fail(r,
	    "%s \"%s\": use smtp://, smtp+tls://, smtp+notls://, smtps:// or "
	    "lmtp://",
	    r->key->name, *entry);
}

/* Undo "[host]"; returns what stands behind it, NULL without brackets. */
static char *
unbracket(char **host)
{
	char *end = **host == '[' ? strchr(*host, ']') : NULL;

	if (end == NULL)
		return NULL;
	(*host)++;
	*end = '\0';
	return end + 1;
}

/*
 * Split "host", "host:port", "[literal]:port" or a bare IPv6 literal, which
 * 0.14 took without brackets; returns the port's text, NULL without one.
 */
static char *
split_port(char **host)
{
	char *rest = unbracket(host);

	if (rest != NULL) {
		if (ascii_strncasecmp(*host, "IPv6:", 5) == 0)
			*host += 5;
		return *rest == '\0' ? NULL : rest + (*rest == ':');
	}
	rest = strchr(*host, ':');
	if (rest == NULL || strchr(rest + 1, ':') != NULL)
		return NULL;
	*rest = '\0';
	return rest + 1;
}

static void
cut_last(char *s, char last)
{
	size_t len = strlen(s);

	if (len > 1 && s[len - 1] == last)
		s[len - 1] = '\0';
}

static int
relay_host(struct reader *r, char *host, struct conf_relay *relay)
{
	char *port;
	long long n = 0;

	if (relay->by_url)
		cut_last(host, '/');
	port = split_port(&host);
	if (port != NULL && parse_number(port, 1, UINT16_MAX, &n) == -1)
		return conf_fail(r,
		    "%s: the port \"%s\" must be a number from 1 to 65535",
		    r->key->name, port);
	relay->port = (uint16_t)n;
	cut_last(host, '.'); /* such a name is no certificate's */
	if (!is_literal(host) && !addr_domain_valid(host))
		return conf_fail(r, "%s: \"%s\" is no host name and no address",
		    r->key->name, host);
	relay->host = xstrdup(host);
	return 0;
}

static int
relay_parse(struct reader *r, char *entry, struct conf_relay *relay)
{
	char *at;

	if (relay_scheme(r, &entry, relay) == -1)
		return -1;
	if (entry[0] == '/' && relay->by_url &&
	    relay->protocol == PROTOCOL_LMTP) {
		relay->tls = TLS_NONE;
		relay->host = xstrdup(entry);
		return 0;
	}
	at = strrchr(entry, '@'); /* the last: user names are addresses too */
	if (at == NULL)
		return relay_host(r, entry, relay);
	if (at == entry || at - entry > CREDENTIAL_MAX)
		return conf_fail(
		    r, "SMARTHOST: the user before @ is empty or too long");
	relay->user = xstrndup(entry, (size_t)(at - entry));
	return relay_host(r, at + 1, relay);
}

int
conf_set_relays(struct reader *r, char *value)
{
	struct conf *c = r->c;
	char *entry;

	conf_relays_free(c);
	while ((entry = strsep(&value, ",")) != NULL) {
		c->relays = xreallocarray(
		    c->relays, c->nrelays + 1, sizeof(*c->relays));
		c->relays[c->nrelays] = (struct conf_relay){0};
		if (relay_parse(
			r, conf_trim(entry), &c->relays[c->nrelays++]) == -1)
			return -1;
	}
	return 0;
}

/* "/path", "///path", "//host", "//host:port": nobody logs in there. */
int
conf_set_lmtp(struct reader *r, const char *text)
{
	struct conf_relay *relay = xcalloc(1, sizeof(*relay));
	char *entry =
	    xasprintf("lmtp:%s%s", strncmp(text, "//", 2) ? "//" : "", text);
	int rc;

	r->c->mailbox_lmtp = relay;
	rc = relay_parse(r, entry, relay);
	if (rc == 0 && relay->user != NULL)
		rc = conf_fail(r, "MAILBOX takes no user@");
	free(relay->user);
	relay->user = NULL;
	free(entry);
	return rc;
}

/* ---- What the keys mean together ---- */

static enum tls_mode
choose_tls(const struct conf *c)
{
	if (c->securetransfer && !c->starttls)
		return TLS_IMPLICIT;
	/* Nobody checks a certificate in plaintext (0.14 sent it there). */
	if (c->verifycert || c->has_fingerprint)
		return TLS_STARTTLS;
	return c->starttls && !c->opportunistic_tls ? TLS_STARTTLS : TLS_MAY;
}

static uint16_t
default_port(const struct conf *c, const struct conf_relay *relay)
{
	if (c->port != 0)
		return (uint16_t)c->port;
	if (relay->protocol == PROTOCOL_LMTP)
		return LMTP_PORT;
	return relay->by_url && relay->tls == TLS_IMPLICIT ? 465 : 25;
}

/* Without TLS: a path, or what the URL says and nothing else contradicts. */
static int
check_plain(struct reader *r, const char *host, bool credential)
{
	const struct conf *c = r->c;

	if (host[0] == '/')
		return 0;
	if (c->verifycert || c->has_fingerprint)
		return conf_fail(r,
		    "smtp+notls://%s contradicts VERIFYCERT and FINGERPRINT: "
		    "use smtp+tls://",
		    host);
	if (credential && !c->insecure)
		return conf_fail(r,
		    "the password for smtp+notls://%s would go unencrypted: "
		    "use smtp+tls://, or set INSECURE",
		    host);
	return 0;
}

/* Run again after auth.conf was read: who has a credential decides. */
static int
settle_relay(struct reader *r, struct conf_relay *relay)
{
	const struct conf *c = r->c;
	bool certificate = c->verifycert || c->has_fingerprint;
	bool credential = conf_auth_for(c, relay) != NULL;

	if (relay->by_url) {
		if (relay->tls == TLS_MAY && certificate)
			relay->tls = TLS_STARTTLS;
		relay->verify =
		    c->verifycert || (relay->verify && !c->has_fingerprint);
	} else {
		relay->protocol = c->lmtp ? PROTOCOL_LMTP : PROTOCOL_SMTP;
		relay->tls = c->tls;
		relay->verify = c->verifycert;
	}
	if (relay->tls == TLS_MAY && !c->insecure &&
	    (relay->by_url || !c->opportunistic_tls) &&
	    (credential || relay->user != NULL)) {
		relay->tls = TLS_STARTTLS;
		relay->verify = true;
	}
	if (relay->port == 0 && relay->host[0] != '/')
		relay->port = default_port(c, relay);
	if (relay->tls == TLS_NONE)
		return check_plain(r, relay->host, credential);
	return 0;
}

/* PORT, FINGERPRINT and certificate are about SMARTHOST's servers. */
static void
settle_mailbox(const struct conf *c)
{
	struct conf_relay *relay = c->mailbox_lmtp;

	if (relay == NULL || relay->host[0] == '/')
		return;
	if (relay->port == 0)
		relay->port = LMTP_PORT;
	relay->tls = c->verifycert ? TLS_STARTTLS : TLS_MAY;
	relay->verify = c->verifycert;
}

int
conf_settle(struct reader *r)
{
	struct conf *c = r->c;
	size_t i;

	r->line = 0;
	if (c->nullclient && c->nrelays == 0)
		return conf_fail(r, "NULLCLIENT needs a SMARTHOST to send to");
	c->tls = choose_tls(c);
	settle_mailbox(c);
	for (i = 0; i < c->nrelays; i++)
		if (settle_relay(r, &c->relays[i]) == -1)
			return -1;
	return 0;
}

/* ---- auth.conf ---- */

/*
 * Split "host:password"; the host ends at any of the separators that 0.14
 * knows, or its bracket.  Returns the password, NULL without one.
 */
static char *
split_password(char **host)
{
	char *end = unbracket(host);

	if (end == NULL)
		end = *host + strcspn(*host, ":| \t");
	if (*end == '\0' || strchr(":| \t", *end) == NULL)
		return NULL;
	*end = '\0';
	return end + 1;
}

static int
parse_auth_line(struct reader *r, char *line)
{
	struct conf *c = r->c;
	size_t len = strlen(line);
	char *user, *host = line, *password;

	if (len > 0 && line[len - 1] == '\r')
		line[len - 1] = '\0';
	if (line[0] == '#' || line[strspn(line, BLANKS)] == '\0')
		return 0;
	user = strsep(&host, "|");
	password = host != NULL ? split_password(&host) : NULL;
	if (password == NULL || user[0] == '\0' || host[0] == '\0' ||
	    password[0] == '\0')
		return conf_fail(r, "is not of the form user|host:password");
	if (strlen(user) > CREDENTIAL_MAX || strlen(password) > CREDENTIAL_MAX)
		return conf_fail(r,
		    "the user or the password is longer than %d bytes",
		    CREDENTIAL_MAX);
	c->auths = xreallocarray(c->auths, c->nauths + 1, sizeof(*c->auths));
	c->auths[c->nauths++] =
	    (struct conf_auth){xstrdup(user), xstrdup(host), xstrdup(password)};
	return 0;
}

int
conf_parse_auth(struct conf *c, const char *file, const char *text, size_t len,
    struct conf_error *error)
{
	struct reader r = {c, file, 0, false, error, NULL, false};

	if (conf_each_line(
		&r, text, len, CONF_AUTH_LINE_MAX, parse_auth_line) == -1)
		return -1;
	return conf_settle(&r);
}

const struct conf_auth *
conf_auth_for(const struct conf *c, const struct conf_relay *relay)
{
	size_t i;

	for (i = c->nauths; i-- > 0;) {
		const struct conf_auth *auth = &c->auths[i];

		if (ascii_strcasecmp(auth->host, relay->host) == 0 &&
		    (relay->user == NULL ||
			strcmp(auth->user, relay->user) == 0))
			return auth;
	}
	return NULL;
}
