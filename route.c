/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * route.c - where a recipient goes: the next hop and its policy.
 *
 * Runs in:   dma, at submission and in the runner.
 * Trusts:    the configuration and addresses that were parsed.
 * Promises:  the same recipient always has the same key; a hop that needs a
 *            credential has it, or there is no hop.
 */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define MX_PORT 25

static const char local_prefix[] = "local:";
static const char mailbox_key[] = "mailbox:0";
static const char alias_key[] = "alias:";
static const char relay_key[] = "relay:0";
static const char mx_prefix[] = "mx:";

void
route_key(
    const struct conf *c, const struct addr *to, const char *target, char *dst)
{
	const char *domain = addr_domain(to);
	char user[ADDR_MAX + 1] = "";

	if (target != NULL) {
		compat_strlcpy(dst, alias_key, ROUTE_KEY_MAX + 1);
	} else if (domain == NULL && c->mailbox_lmtp != NULL) {
		compat_strlcpy(dst, mailbox_key, ROUTE_KEY_MAX + 1);
	} else if (domain == NULL) {
		(void)addr_user(to, user, sizeof(user), NULL); /* it fits */
		snprintf(dst, ROUTE_KEY_MAX + 1, "%s%s", local_prefix, user);
	} else if (c->nrelays > 0) {
		compat_strlcpy(dst, relay_key, ROUTE_KEY_MAX + 1);
	} else {
		snprintf(dst, ROUTE_KEY_MAX + 1, "%s%s", mx_prefix, domain);
		for (; *dst != '\0'; dst++)
			*dst = (char)ascii_lower((unsigned char)*dst);
	}
}

/*
 * The name we give in EHLO.  RFC 5321, 4.1.1.1 and 4.1.4: a fully qualified
 * name, or else an address literal; servers refuse "myhost" and "my_host",
 * and MAILNAME may be one.  Which of our addresses the peer will see is not
 * known here, and a server must not refuse a literal that is not that one.
 */
static const char *
helo_name(const struct conf *c)
{
	const char *const names[] = {c->mailname, c->hostname};
	size_t i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		if (strchr(names[i], '.') != NULL &&
		    strchr(names[i], '_') == NULL &&
		    addr_domain_valid(names[i]) &&
		    ascii_strcasecmp(names[i], "localhost.localdomain") != 0)
			return names[i];
	return "[127.0.0.1]";
}

/* What every hop over the network has. */
static int
hop_network(const struct conf *c, const char *host, struct hop *h)
{
	h->host = xstrdup(host);
	h->insecure = c->insecure;
	h->has_fingerprint = c->has_fingerprint;
	memcpy(h->fingerprint, c->fingerprint, sizeof(h->fingerprint));
	h->helo = xstrdup(helo_name(c));
	if (c->certfile == NULL || h->tls == TLS_NONE ||
	    read_file(
		c->certfile, CERTFILE_MAX, &h->cert, &h->cert_len, NULL) == 0)
		return 0;
	errno = EIO;
	return -1;
}

static int
hop_relay(const struct conf *c, const struct conf_relay *relay, struct hop *h)
{
	const struct conf_auth *auth = conf_auth_for(c, relay);

	h->kind = HOP_RELAY;
	h->port = relay->port;
	h->protocol = relay->protocol;
	h->tls = relay->tls;
	h->verify = relay->verify;
	if (auth != NULL) {
		h->auth = true;
		h->user = xstrdup(auth->user);
		h->password = xstrdup(auth->password);
	} else if (relay->user != NULL) {
		errno = EACCES; /* without it the relay is not tried at all */
		return -1;
	}
	return hop_network(c, relay->host, h);
}

/* A server of this machine's users: no password, no certificate of ours. */
static int
hop_mailbox(const struct conf *c, struct hop *h)
{
	const struct conf_relay *relay = c->mailbox_lmtp;

	h->kind = HOP_RELAY;
	h->host = xstrdup(relay->host);
	h->port = relay->port;
	h->protocol = relay->protocol;
	h->tls = relay->tls;
	h->verify = relay->verify;
	h->helo = xstrdup(helo_name(c));
	return 0;
}

static int
hop_mx(const struct conf *c, const char *domain, struct hop *h)
{
	h->kind = HOP_MX;
	h->port = MX_PORT; /* PORT is SMARTHOST's alone, as in 0.14 */
	h->protocol = PROTOCOL_SMTP;
	h->tls = c->tls;
	h->verify = c->verifycert;
	return hop_network(c, domain, h);
}

/* user: empty for the targets of aliases. */
static int
hop_local(const struct conf *c, const char *user, struct hop *h)
{
	h->kind = user[0] != '\0' ? HOP_LOCAL : HOP_ALIAS;
	h->host = xstrdup(user);
	h->helo = xstrdup(c->hostname);
	return 0;
}

/* What is behind prefix in key, or NULL where that is nothing. */
static const char *
key_rest(const char *key, const char *prefix)
{
	size_t len = strlen(prefix);

	if (strncmp(key, prefix, len) != 0 || key[len] == '\0')
		return NULL;
	return key + len;
}

static int
hop_for_key(const struct conf *c, const char *key, size_t choice, struct hop *h)
{
	const char *domain = key_rest(key, mx_prefix);
	const char *user =
	    strcmp(key, alias_key) == 0 ? "" : key_rest(key, local_prefix);
	bool relay = strcmp(key, relay_key) == 0;

	errno = ENOENT;
	if (choice >= (relay ? c->nrelays : 1))
		return -1;
	if (c->mailbox_lmtp != NULL && strcmp(key, mailbox_key) == 0)
		return hop_mailbox(c, h);
	errno = EPERM; /* such mail was queued before it was set */
	if (c->localonly && user == NULL)
		return -1;
	if (relay)
		return hop_relay(c, &c->relays[choice], h);
	if (domain != NULL)
		return hop_mx(c, domain, h);
	if (user != NULL)
		return hop_local(c, user, h);
	errno = EINVAL;
	return -1;
}

bool
route_is_local(const char *key)
{
	return strncmp(key, local_prefix, strlen(local_prefix)) == 0 ||
	       strncmp(key, alias_key, strlen(alias_key)) == 0;
}

int
route_hop(const struct conf *c, const char *key, size_t choice, struct hop *h)
{
	int saved;

	*h = (struct hop){.timeouts = c->timeouts};
	if (hop_for_key(c, key, choice, h) == 0)
		return 0;
	saved = errno;
	hop_free(h);
	errno = saved;
	return -1;
}

int
route_localize(const struct conf *c, struct addr *a, const char **why)
{
	const char *domain = addr_domain(a);

	if (addr_is_null(a))
		return 0;
	if (domain != NULL) {
		if (!conf_domain_is_local(c, domain))
			return 0;
		a->text[a->at] = '\0';
		a->at = strlen(a->text);
	}
	return c->nullclient ? addr_qualify(a, c->mailname, why) : 0;
}

bool
route_allowed(const struct conf *c, const struct addr *a)
{
	return !c->localonly || addr_domain(a) == NULL;
}
