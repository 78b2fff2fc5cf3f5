/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf_relay.c - SMARTHOST's entries, their protection and credentials.
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

static bool
is_literal(const char *s)
{
	unsigned char raw[sizeof(struct in6_addr)];
	char copy[INET6_ADDRSTRLEN];
	size_t len = strcspn(s, "%"); /* fe80::1%eth0 */

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, s, len);
	copy[len] = '\0';
	if (inet_pton(AF_INET6, copy, raw) == 1)
		return true;
	return s[len] == '\0' && inet_pton(AF_INET, copy, raw) == 1;
}

/* ---- SMARTHOST ---- */

static void
relay_free(struct conf_relay *relay)
{
	free(relay->host);
	free(relay->user);
}

void
conf_relays_free(struct conf *c)
{
	size_t i;

	for (i = 0; i < c->nrelays; i++)
		relay_free(&c->relays[i]);
	free(c->relays);
	c->relays = NULL;
	c->nrelays = 0;
}

/* Take the scheme off an entry, and what it says. */
static int
relay_scheme(struct reader *r, char **entry, struct conf_relay *relay)
{
	size_t i, len;

	for (i = 0; i < ARRAY_LEN(schemes); i++) {
		len = strlen(schemes[i].prefix);
		if (ascii_strncasecmp(*entry, schemes[i].prefix, len) != 0)
			continue;
		relay->by_url = true;
		relay->tls = schemes[i].tls;
		relay->verify = schemes[i].verify;
		relay->protocol = schemes[i].protocol;
		*entry += len;
		return 0;
	}
	if (strstr(*entry, "://") != NULL)
		return conf_fail(r,
		    "SMARTHOST \"%s\": use smtp://, smtp+tls://, "
		    "smtp+notls://, smtps:// or lmtp://",
		    *entry);
	return 0;
}

/*
 * Split "host", "host:port", "[literal]:port" or a bare IPv6 literal, which
 * 0.14 took without brackets; returns the port's text, NULL without one.
 */
static char *
split_port(char **host)
{
	char *end, *colon;

	if (**host == '[' && (end = strchr(*host, ']')) != NULL) {
		(*host)++;
		*end++ = '\0';
		if (ascii_strncasecmp(*host, "IPv6:", 5) == 0)
			*host += 5;
		return *end == ':' ? end + 1 : *end == '\0' ? NULL : end;
	}
	colon = strchr(*host, ':');
	if (colon == NULL || strchr(colon + 1, ':') != NULL)
		return NULL;
	*colon = '\0';
	return colon + 1;
}

static int
relay_host(struct reader *r, char *host, struct conf_relay *relay)
{
	size_t len = strlen(host);
	char *port;
	long long n;

	if (relay->by_url && len > 1 && host[len - 1] == '/')
		host[len - 1] = '\0';
	port = split_port(&host);
	if (port != NULL) {
		if (parse_number(port, 1, UINT16_MAX, &n) == -1)
			return conf_fail(r,
			    "SMARTHOST: the port \"%s\" must be a "
			    "number from 1 to 65535",
			    port);
		relay->port = (uint16_t)n;
	}
	/* A name that ends in a dot is no certificate's. */
	len = strlen(host);
	if (len > 1 && host[len - 1] == '.')
		host[len - 1] = '\0';
	if (!is_literal(host) && !addr_domain_valid(host))
		return conf_fail(r,
		    "SMARTHOST: \"%s\" is no host name and no "
		    "address",
		    host);
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
	if (at != NULL) {
		*at = '\0';
		if (at == entry || at - entry > CREDENTIAL_MAX)
			return conf_fail(r,
			    "SMARTHOST: the user before @ is empty "
			    "or too long");
		relay->user = xstrdup(entry);
		entry = at + 1;
	}
	return relay_host(r, entry, relay);
}

int
conf_set_relays(struct reader *r, char *value)
{
	struct conf *c = r->c;
	char *entry, *rest = value;

	conf_relays_free(c);
	while ((entry = strsep(&rest, ",")) != NULL) {
		struct conf_relay relay = {0};

		entry = conf_trim(entry);
		if (relay_parse(r, entry, &relay) == -1) {
			relay_free(&relay);
			return -1;
		}
		c->relays = xreallocarray(
		    c->relays, c->nrelays + 1, sizeof(*c->relays));
		c->relays[c->nrelays++] = relay;
	}
	return 0;
}

/* ---- What the keys mean together ---- */

static enum tls_mode
choose_tls(const struct conf *c)
{
	bool certificate = c->verifycert || c->has_fingerprint;

	if (!c->tls_set)
		return TLS_MAY;
	if (c->securetransfer && !c->starttls)
		return TLS_IMPLICIT;
	/* Nobody checks a certificate in plaintext (0.14 sent it there). */
	if (c->opportunistic_tls && !certificate)
		return TLS_MAY;
	return TLS_STARTTLS;
}

static void
settle_relay(struct conf *c, struct conf_relay *relay)
{
	bool pinned = c->has_fingerprint;
	bool credential = conf_auth_for(c, relay) != NULL;

	if (!relay->by_url) {
		relay->tls = c->tls;
		relay->verify = c->verifycert;
	} else {
		if (relay->tls == TLS_MAY && (pinned || c->verifycert))
			relay->tls = TLS_STARTTLS;
		relay->verify = c->verifycert || (relay->verify && !pinned);
	}
	if (relay->tls == TLS_MAY && (relay->by_url || !c->tls_set) &&
	    (credential || relay->user != NULL) && !c->insecure) {
		relay->tls = TLS_STARTTLS;
		relay->verify = c->verifycert || !pinned;
	}
}

/* Run again after auth.conf was read: who has a credential decides. */
static int
settle_relays(struct reader *r)
{
	struct conf *c = r->c;
	struct conf_relay *relay;
	size_t i;

	for (i = 0; i < c->nrelays; i++) {
		relay = &c->relays[i];
		settle_relay(c, relay);
		if (relay->tls != TLS_NONE || relay->host[0] == '/')
			continue;
		if (c->verifycert || c->has_fingerprint)
			return conf_fail(r,
			    "smtp+notls://%s contradicts VERIFYCERT "
			    "and FINGERPRINT: use smtp+tls://",
			    relay->host);
		if (conf_auth_for(c, relay) != NULL && !c->insecure)
			return conf_fail(r,
			    "the password for smtp+notls://%s would "
			    "go unencrypted: use smtp+tls://, or set INSECURE",
			    relay->host);
	}
	return 0;
}

static uint16_t
default_port(const struct conf *c, const struct conf_relay *relay)
{
	if (c->port != 0)
		return c->port;
	if (relay->protocol == PROTOCOL_LMTP)
		return 24;
	return relay->by_url && relay->tls == TLS_IMPLICIT ? 465 : 25;
}

int
conf_settle(struct reader *r)
{
	struct conf *c = r->c;
	struct conf_relay *relay;

	r->line = 0;
	if (c->nullclient && c->nrelays == 0)
		return conf_fail(r, "NULLCLIENT needs a SMARTHOST to send to");
	c->tls_set = c->securetransfer || c->starttls || c->opportunistic_tls ||
		     c->verifycert || c->has_fingerprint;
	c->tls = choose_tls(c);
	for (relay = c->relays; relay < c->relays + c->nrelays; relay++) {
		if (!relay->by_url && c->lmtp)
			relay->protocol = PROTOCOL_LMTP;
		if (relay->host[0] != '/' && relay->port == 0)
			relay->port = default_port(c, relay);
	}
	return settle_relays(r);
}

/* ---- auth.conf ---- */

/* The host ends at any of the separators that 0.14 knows, or its bracket. */
static char *
split_host(char **host)
{
	char *end;

	if (**host == '[' && (end = strchr(*host, ']')) != NULL) {
		(*host)++;
		*end++ = '\0';
	} else
		end = *host + strcspn(*host, ":| \t");
	if (*end == '\0' || strchr(":| \t", *end) == NULL)
		return NULL;
	*end = '\0';
	return end + 1;
}

static int
parse_auth_line(struct reader *r, char *line, size_t len)
{
	struct conf *c = r->c;
	char *user = line, *host, *password = NULL;

	if (memchr(line, '\0', len) != NULL)
		return conf_fail(r, "holds a NUL byte: this is no text file");
	if (len > 0 && line[len - 1] == '\r')
		line[len - 1] = '\0';
	if (line[0] == '#' || line[strspn(line, BLANKS)] == '\0')
		return 0;
	host = strchr(line, '|');
	if (host != NULL) {
		*host++ = '\0';
		password = split_host(&host);
	}
	if (password == NULL || user[0] == '\0' || host[0] == '\0' ||
	    password[0] == '\0')
		return conf_fail(r, "is not of the form user|host:password");
	if (strlen(user) > CREDENTIAL_MAX || strlen(password) > CREDENTIAL_MAX)
		return conf_fail(r,
		    "the user or the password is longer than %d "
		    "bytes",
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
	struct reader r = {c, file, 0, false, error};

	if (conf_each_line(
		&r, text, len, CONF_AUTH_LINE_MAX, parse_auth_line) == -1)
		return -1;
	r.line = 0;
	return settle_relays(&r);
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
