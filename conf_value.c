/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf_value.c - the values of dma.conf: text into types, each kind once.
 *
 * Runs in:   dma, below conf.c.
 * Trusts:    as conf.c does.
 * Promises:  a value that is stored is within its limits; any other ends in
 *            one line that says what it should look like.
 */
#include "conf_reader.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "mailbox.h"
#include "util.h"

static void *
field(struct reader *r)
{
	return (char *)r->c + r->key->offset;
}

/* An empty value is none. */
static void
replace(char **slot, const char *value)
{
	free(*slot);
	*slot = value[0] != '\0' ? xstrdup(value) : NULL;
}

int
conf_set_flag(struct reader *r, char *value)
{
	(void)value;
	*(bool *)field(r) = r->key->max != 0;
	return 0;
}

int
conf_set_path(struct reader *r, char *value)
{
	/* Relative to whose directory?  That of whoever sends a mail. */
	if (value[0] != '/')
		return conf_fail(
		    r, "%s must be a path that begins with /", r->key->name);
	replace(field(r), value);
	return 0;
}

int
conf_set_number(struct reader *r, char *value)
{
	const struct conf_key *key = r->key;
	long long n;

	if (parse_number(value, key->min, key->max, &n) == -1)
		return conf_fail(r, "%s must be a number from %lld to %lld",
		    key->name, key->min, key->max);
	*(unsigned *)field(r) = (unsigned)n;
	return 0;
}

int
conf_set_size(struct reader *r, char *value)
{
	static const char units[] = "bkmgt";
	char *last = value + strlen(value) - 1;
	const char *unit = strchr(units, ascii_lower(*last));
	int shift = unit != NULL ? 10 * (int)(unit - units) : 0;
	long long n;

	if (unit != NULL)
		*last = '\0';
	if (parse_number(value, 0, r->key->max >> shift, &n) == -1)
		return conf_fail(r,
		    "%s must be a size such as 50M (units k, M, G)",
		    r->key->name);
	*(int64_t *)field(r) = n << shift;
	return 0;
}

static int
get_duration(struct reader *r, const char *value, int64_t *seconds)
{
	if (parse_duration(value, seconds) == -1 || *seconds < r->key->min)
		return conf_fail(r,
		    "%s: \"%s\" is no time such as 30s, 15m, 3h or 5d",
		    r->key->name, value);
	return 0;
}

int
conf_set_duration(struct reader *r, char *value)
{
	return get_duration(r, value, field(r));
}

int
conf_set_retry(struct reader *r, char *value)
{
	struct conf *c = r->c;
	char *word;

	c->nretry = 0;
	while ((word = strsep(&value, BLANKS ",")) != NULL) {
		if (word[0] == '\0')
			continue;
		if (c->nretry == RETRY_STEPS_MAX)
			return conf_fail(
			    r, "RETRY takes at most %d times", RETRY_STEPS_MAX);
		if (get_duration(r, word, &c->retry[c->nretry++]) == -1)
			return -1;
	}
	if (c->nretry == 0)
		return conf_fail(r, "RETRY needs at least one time");
	return 0;
}

int
conf_set_log(struct reader *r, char *value)
{
	struct conf *c = r->c;

	replace(&c->log_path, value[0] == '/' ? value : "");
	if (c->log_path != NULL)
		c->log_target = LOG_TO_FILE;
	else if (strcmp(value, "syslog") == 0)
		c->log_target = LOG_TO_SYSLOG;
	else if (strcmp(value, "stderr") == 0)
		c->log_target = LOG_TO_STDERR;
	else
		return conf_fail(r,
		    "LOG must be syslog, stderr or a path that begins with /");
	return 0;
}

int
conf_set_fingerprint(struct reader *r, char *value)
{
	const size_t size = sizeof(r->c->fingerprint);
	char pair[] = "00";
	size_t n;

	for (n = 0; n < size; value += 2) {
		if (n > 0 && *value == ':')
			value++;
		if (strspn(value, "0123456789abcdefABCDEF") < 2)
			break;
		memcpy(pair, value, 2);
		r->c->fingerprint[n++] = (unsigned char)strtoul(pair, NULL, 16);
	}
	if (n < size || *value != '\0')
		return conf_fail(r,
		    "FINGERPRINT must be the %zu hex digits of a SHA-256 "
		    "digest",
		    2 * size);
	r->c->has_fingerprint = true;
	return 0;
}

int
conf_set_mailname(struct reader *r, char *value)
{
	struct conf *c = r->c;

	replace(&c->mailname_file, value[0] == '/' ? value : "");
	if (c->mailname_file != NULL)
		value = c->hostname; /* until the file was read */
	if (!addr_domain_valid(value))
		return conf_fail(r,
		    "MAILNAME must be a host name such as mail.example.org, "
		    "or a path");
	compat_strlcpy(c->mailname, value, sizeof(c->mailname));
	return 0;
}

/* "host", "user@", "user@host"; "@" is nothing, all as 0.14 has it. */
int
conf_set_masquerade(struct reader *r, char *value)
{
	char *at = strrchr(value, '@');
	const char *host = at != NULL ? at + 1 : value, *why;
	const char *user = at != NULL ? value : "";
	struct addr probe;

	if (at != NULL)
		*at = '\0';
	if (user[0] != '\0' && addr_make(&probe, user, "localhost", &why) == -1)
		return conf_fail(r, "MASQUERADE: the user %s", why);
	if (host[0] != '\0' && !addr_domain_valid(host))
		return conf_fail(r, "MASQUERADE: \"%s\" is no host name", host);
	replace(&r->c->masquerade_user, user);
	replace(&r->c->masquerade_host, host);
	return 0;
}

int
conf_set_postmaster(struct reader *r, char *value)
{
	struct addr a;
	const char *why;

	if (addr_parse(&a, value, false, &why) == -1)
		return conf_fail(r, "POSTMASTER: the address %s", why);
	replace(&r->c->postmaster, a.text);
	return 0;
}

int
conf_set_headers(struct reader *r, char *value)
{
	if (strcmp(value, "from=envelope") != 0)
		return conf_fail(r, "HEADERS must be from=envelope");
	r->c->from_envelope = true;
	return 0;
}

/* "name" or "*.name": all below it. */
static bool
is_name_pattern(const char *word)
{
	return addr_domain_valid_utf8(
	    strncmp(word, "*.", 2) == 0 ? word + 2 : word);
}

int
conf_set_names(struct reader *r, char *value)
{
	struct conf *c = r->c;
	char *word;

	conf_names_free(c);
	while ((word = strsep(&value, BLANKS ",")) != NULL) {
		if (word[0] == '\0')
			continue;
		if (!is_name_pattern(word))
			return conf_fail(r,
			    "LOCALNAMES: \"%s\" is no host name, nor *.name",
			    word);
		c->localnames = xreallocarray(
		    c->localnames, c->nlocalnames + 1, sizeof(*c->localnames));
		c->localnames[c->nlocalnames++] = xstrdup(word);
	}
	return 0;
}

void
conf_names_free(struct conf *c)
{
	while (c->nlocalnames > 0)
		free(c->localnames[--c->nlocalnames]);
	free(c->localnames);
	c->localnames = NULL;
}

/*
 * Who exists is asked when it matters; but who never may is known.  Commands
 * of his would have every user's mail.
 */
int
conf_set_user(struct reader *r, char *value)
{
	if (strlen(value) > USERNAME_MAX || strchr("-.", value[0]) != NULL ||
	    strpbrk(value, BLANKS "/:,\"") != NULL)
		return conf_fail(
		    r, "%s must be the name of a user", r->key->name);
	if (strcmp(value, "root") == 0 || strcmp(value, DMA_USER) == 0)
		return conf_fail(r,
		    "%s must not be %s: commands of aliases would own all mail",
		    r->key->name, value);
	replace(field(r), value);
	return 0;
}

void
conf_mailbox_free(struct conf *c)
{
	if (c->mailbox_lmtp != NULL)
		free(c->mailbox_lmtp->host);
	free(c->mailbox_lmtp);
	free(c->mailbox);
	c->mailbox_lmtp = NULL;
	c->mailbox = NULL;
}

int
conf_set_mailbox(struct reader *r, char *value)
{
	struct mailbox m;
	const char *why = NULL;

	conf_mailbox_free(r->c);
	if (mailbox_parse(&m, value, &why) == -1)
		return conf_fail(r, "MAILBOX \"%s\" %s", value, why);
	if (value[0] == '/' && !r->private_instance)
		return conf_fail(r,
		    "MAILBOX %s would be one for all users: begin with ~/",
		    value);
	replace(&r->c->mailbox, value);
	return m.kind == MAILBOX_LMTP ? conf_set_lmtp(r, m.text) : 0;
}

/* "192.0.2.0/24", "2001:db8::/32", or one address. */
static int
parse_network(char *word, struct conf_network *n)
{
	char *slash = strchr(word, '/');
	long long bits, max;

	if (slash != NULL)
		*slash++ = '\0';
	n->family = strchr(word, ':') != NULL ? AF_INET6 : AF_INET;
	if (inet_pton(n->family, word, n->address) != 1)
		return -1;
	bits = max = n->family == AF_INET6 ? 128 : 32;
	if (slash != NULL && parse_number(slash, 0, max, &bits) == -1)
		return -1;
	n->bits = (unsigned)bits;
	return 0;
}

int
conf_set_networks(struct reader *r, char *value)
{
	struct conf *c = r->c;
	char *word;

	free(c->relay_from);
	c->relay_from = NULL;
	c->nrelay_from = 0;
	while ((word = strsep(&value, BLANKS ",")) != NULL) {
		struct conf_network n = {0};
		char shown[64];

		if (word[0] == '\0')
			continue;
		compat_strlcpy(shown, word, sizeof(shown));
		if (parse_network(word, &n) == -1)
			return conf_fail(r,
			    "RELAY_FROM: \"%s\" is no network such as "
			    "192.0.2.0/24 or 2001:db8::/32",
			    shown);
		c->relay_from = xreallocarray(
		    c->relay_from, c->nrelay_from + 1, sizeof(*c->relay_from));
		c->relay_from[c->nrelay_from++] = n;
	}
	return 0;
}
