/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf.c - dma.conf and auth.conf into types, once.
 *
 * Runs in:   dma, in every role, before anything else is decided.
 * Trusts:    a file of root's, or of the caller's in a private instance, as
 *            far as who wrote it; never that it is well-formed.
 * Promises:  either every setting is checked and within its limits, or one
 *            line says which file, which line and what to do about it.
 */
#include "conf.h"

#include <sys/stat.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "addr.h"
#include "conf_reader.h"
#include "envelope.h"
#include "util.h"

int
conf_fail(struct reader *r, const char *fmt, ...)
{
	char what[sizeof(r->error->text)], *text;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (r->line > 0)
		text = xasprintf("%s:%u: %s", r->file, r->line, what);
	else
		text = xasprintf("%s: %s", r->file, what);
	printable(r->error->text, sizeof(r->error->text), text, strlen(text));
	free(text);
	return -1;
}

/* ---- The keys ---- */

/* One list for the table and for conf_keys[]: they cannot differ. */
#define KEYS(K)                                                                \
	K("SMARTHOST", KEY_VALUE, conf_set_relays, relays, 0, 0)               \
	K("PORT", KEY_VALUE, conf_set_number, port, 1, UINT16_MAX)             \
	K("ALIASES", KEY_VALUE, conf_set_path, aliases, 0, 0)                  \
	K("SPOOLDIR", KEY_VALUE, conf_set_path, spooldir, 0, 0)                \
	K("AUTHPATH", KEY_VALUE, conf_set_path, authpath, 0, 0)                \
	K("SECURETRANSFER", KEY_FLAG, conf_set_flag, securetransfer, 0, 1)     \
	K("STARTTLS", KEY_FLAG, conf_set_flag, starttls, 0, 1)                 \
	K("OPPORTUNISTIC_TLS", KEY_FLAG, conf_set_flag, opportunistic_tls, 0,  \
	    1)                                                                 \
	K("VERIFYCERT", KEY_FLAG, conf_set_flag, verifycert, 0, 1)             \
	K("FINGERPRINT", KEY_VALUE, conf_set_fingerprint, fingerprint, 0, 0)   \
	K("CERTFILE", KEY_VALUE, conf_set_path, certfile, 0, 0)                \
	K("SECURE", KEY_FLAG, conf_set_flag, insecure, 0, 0)                   \
	K("INSECURE", KEY_FLAG, conf_set_flag, insecure, 0, 1)                 \
	K("DEFER", KEY_FLAG, conf_set_flag, defer, 0, 1)                       \
	K("FULLBOUNCE", KEY_FLAG, conf_set_flag, fullbounce, 0, 1)             \
	K("MAILNAME", KEY_VALUE, conf_set_mailname, mailname, 0, 0)            \
	K("MASQUERADE", KEY_VALUE, conf_set_masquerade, masquerade_host, 0, 0) \
	K("LOCALNAMES", KEY_NEW, conf_set_names, localnames, 0, 0)             \
	K("LOCALONLY", KEY_FLAG, conf_set_flag, localonly, 0, 1)               \
	K("SENDERS", KEY_NEW, conf_set_path, senders, 0, 0)                    \
	K("HEADERS", KEY_NEW, conf_set_headers, from_envelope, 0, 0)           \
	K("RELAY_FROM", KEY_NEW, conf_set_networks, relay_from, 0, 0)          \
	K("SUBMIT_SOCKET", KEY_NEW, conf_set_path, submit_socket, 0, 0)        \
	K("NULLCLIENT", KEY_FLAG, conf_set_flag, nullclient, 0, 1)             \
	K("LMTP", KEY_FLAG, conf_set_flag, lmtp, 0, 1)                         \
	K("AGENTS", KEY_NEW, conf_set_number, agents, 1, AGENTS_MAX)           \
	K("AGENTS_PER_HOST", KEY_NEW, conf_set_number, agents_per_host, 1,     \
	    AGENTS_MAX)                                                        \
	K("RETRY", KEY_NEW, conf_set_retry, retry, 1, 0)                       \
	K("LIFETIME", KEY_NEW, conf_set_duration, lifetime, 1, 0)              \
	K("WARN", KEY_NEW, conf_set_duration, warn, 0, 0)                      \
	K("POSTMASTER", KEY_NEW, conf_set_postmaster, postmaster, 0, 0)        \
	K("LOG", KEY_NEW, conf_set_log, log_target, 0, 0)                      \
	K("MAXSIZE", KEY_NEW, conf_set_size, maxsize, 0, 1LL << 60)            \
	K("MINFREE", KEY_NEW, conf_set_number, minfree, 0, 99)                 \
	K("ALIASUSER", KEY_NEW, conf_set_user, aliasuser, 0, 0)                \
	K("MAILBOX", KEY_NEW, conf_set_mailbox, mailbox, 0, 0)                 \
	K("LIBEXECDIR", KEY_PRIVATE, conf_set_path, libexecdir, 0, 0)          \
	K("TIMEOUTS", KEY_PRIVATE, conf_set_number, timeouts, 1, 100)

#define KEY_ENTRY(name, kind, set, member, min, max)                           \
	{name, kind, set, offsetof(struct conf, member), min, max},
#define KEY_NAME(name, kind, set, member, min, max) name,

static const struct conf_key keys[] = {KEYS(KEY_ENTRY)};
const char *const conf_keys[] = {KEYS(KEY_NAME) NULL};

static int
set_key(struct reader *r, const char *name, char *value)
{
	const struct conf_key *key = keys, *end = keys + ARRAY_LEN(keys);

	while (key < end && strcmp(key->name, name) != 0)
		key++;
	if (key == end)
		return conf_fail(r,
		    "unknown key \"%s\": see dma(8) for the keys, which are "
		    "in capitals",
		    name);
	/* In 0.14 a # cut the line anywhere: "PORT 25#smtp". */
	if (key->kind == KEY_VALUE)
		value[strcspn(value, "#")] = '\0';
	if (key->kind == KEY_PRIVATE && !r->private_instance)
		return conf_fail(
		    r, "%s may only be set in a file given with -C", name);
	if (key->kind == KEY_FLAG && value[0] != '\0')
		return conf_fail(
		    r, "%s takes no value: leave \"%s\" out", name, value);
	if (key->kind != KEY_FLAG && value[0] == '\0')
		return conf_fail(r, "%s needs a value", name);
	r->key = key;
	return key->set(r, value);
}

static int
parse_line(struct reader *r, char *line)
{
	char *name, *value;

	name = conf_text(line);
	if (name[0] == '\0')
		return 0;
	value = name + strcspn(name, BLANKS "#");
	if (*value == '#')
		*value = '\0'; /* "STARTTLS#always": no key has one */
	else if (*value != '\0')
		*value++ = '\0';
	return set_key(r, name, conf_trim(value));
}

int
conf_each_line(struct reader *r, const char *text, size_t len, size_t max,
    int (*each)(struct reader *r, char *line))
{
	char *copy = xmalloc(len + 1), *rest = copy, *line;
	int rc = 0;

	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strncmp(copy, "\xef\xbb\xbf", 3) == 0)
		rest += 3;
	while (rc == 0 && (line = strsep(&rest, "\n")) != NULL) {
		size_t n = strlen(line);

		r->line++;
		if (rest == NULL && line + n < copy + len)
			rc = conf_fail(
			    r, "holds a NUL byte: this is no text file");
		else if (n > max)
			rc = conf_fail(r, "is longer than %zu bytes", max);
		else
			rc = each(r, line);
	}
	compat_explicit_bzero(copy, len);
	free(copy);
	return rc;
}

/* The machine's name, or one that is at least valid and means nobody. */
static void
find_hostname(char *name, size_t size)
{
	size_t len;

	if (gethostname(name, size - 1) == -1)
		name[0] = '\0';
	name[size - 1] = '\0';
	len = strlen(name);
	if (len > 0 && name[len - 1] == '.')
		name[len - 1] = '\0';
	if (!addr_domain_valid(name) ||
	    ascii_strcasecmp(name, "localhost") == 0)
		compat_strlcpy(name, "localhost.localdomain", size);
}

static struct conf *
conf_defaults(void)
{
	static const int64_t retry[] = {
	    60, 5 * 60, 15 * 60, 30 * 60, 3600, 2 * 3600, 3 * 3600};
	struct conf *c = xcalloc(1, sizeof(*c));

	find_hostname(c->hostname, sizeof(c->hostname));
	compat_strlcpy(c->mailname, c->hostname, sizeof(c->mailname));
	c->aliases = xstrdup(DMA_ALIASES);
	c->spooldir = xstrdup(DMA_SPOOLDIR);
	c->libexecdir = xstrdup(DMA_LIBEXECDIR);
	c->agents = AGENTS_DEFAULT;
	c->agents_per_host = AGENTS_PER_HOST_DEFAULT;
	memcpy(c->retry, retry, sizeof(retry));
	c->nretry = ARRAY_LEN(retry);
	c->lifetime = 5 * 24 * 3600;
	c->warn = 4 * 3600;
	c->submit_socket = xstrdup(DMA_SUBMIT_SOCKET);
	c->aliasuser = xstrdup(DMA_ALIASUSER);
	c->maxsize = MAXSIZE_DEFAULT;
	c->minfree = MINFREE_DEFAULT;
	c->timeouts = 100;
	c->sum = CHECKSUM_INIT;
	return c;
}

static int
parse(struct reader *r, const char *text, size_t len)
{
	struct conf *c = r->c;

	if (conf_each_line(r, text, len, CONF_LINE_MAX, parse_line) == -1)
		return -1;
	if (r->private_instance && c->mailbox == NULL)
		c->mailbox = xasprintf("%s/mbox", c->spooldir);
	if (r->private_instance) {
		free(c->aliasuser); /* it cannot become anybody */
		c->aliasuser = NULL;
	}
	return conf_settle(r);
}

struct conf *
conf_parse(const char *file, const char *text, size_t len,
    bool private_instance, struct conf_error *error)
{
	struct reader r = {
	    conf_defaults(), file, 0, private_instance, error, NULL, false};

	if (parse(&r, text, len) == 0)
		return r.c;
	conf_free(r.c);
	return NULL;
}

/* ---- Files ---- */

/* Read a file wholly; where it may be missing, *text is NULL then. */
static int
load(struct reader *r, const char *file, bool may_be_missing, char **text,
    size_t *len, struct stat *st)
{
	r->file = file;
	r->line = 0;
	*text = NULL;
	if (read_file(file, CONF_FILE_MAX, text, len, st) == 0) {
		r->c->sum = checksum_update(r->c->sum, *text, *len);
		return 0;
	}
	if (errno == ENOENT && may_be_missing)
		return 0;
	if (errno == EINVAL)
		return conf_fail(r, "is not a regular file");
	if (errno == EFBIG)
		return conf_fail(r, "is larger than %d bytes", CONF_FILE_MAX);
	if (errno == EACCES && r->confined)
		return conf_fail(r,
		    "%s: no set-group-id right here: chmod o+r %s",
		    strerror(errno), file);
	if (errno == EACCES && !r->private_instance)
		return conf_fail(r, "%s: chgrp " DMA_GROUP " and chmod g+r %s",
		    strerror(errno), file);
	return conf_fail(r, "%s%s", strerror(errno),
	    file == r->c->authpath ? " (AUTHPATH in dma.conf)" : "");
}

static int
load_conf(struct reader *r)
{
	struct stat st;
	char *text;
	size_t len;
	int rc;

	if (load(r, r->file, !r->private_instance, &text, &len, &st) == -1)
		return -1;
	if (text == NULL)
		return parse(r, "", 0);
	if ((st.st_mode & S_IWOTH) != 0)
		rc = conf_fail(
		    r, "can be changed by everybody: chmod o-w %s", r->file);
	else if (st.st_uid != 0 && getegid() != getgid())
		rc = conf_fail(r, "does not belong to root"); /* set-id */
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		rc = conf_fail(r, "belongs neither to root nor to you");
	else
		rc = parse(r, text, len);
	free(text);
	return rc;
}

/* MAILNAME's file: its first word, as 0.14 cuts it, if it has one. */
static int
load_mailname(struct reader *r)
{
	struct conf *c = r->c;
	char *text, *name;
	size_t len;
	int rc = 0;

	if (c->mailname_file == NULL)
		return 0;
	if (load(r, c->mailname_file, true, &text, &len, NULL) == -1)
		return -1;
	if (text == NULL)
		return 0;
	name = text + strspn(text, " \t");
	name[strcspn(name, BLANKS "#\n")] = '\0';
	r->line = 1;
	if (name[0] == '\0')
		rc = 0; /* as without it: the host's name */
	else if (addr_domain_valid(name))
		compat_strlcpy(c->mailname, name, sizeof(c->mailname));
	else
		rc = conf_fail(
		    r, "\"%s\" is no host name such as mail.example.org", name);
	free(text);
	return rc;
}

static int
load_auth(struct reader *r)
{
	struct stat st;
	char *text;
	size_t len;
	int rc;

	if (r->c->authpath == NULL)
		return 0;
	if (load(r, r->c->authpath, false, &text, &len, &st) == -1)
		return -1;
	if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		rc = conf_fail(r,
		    "holds passwords and is open to everybody: chmod o= %s",
		    r->file);
	else
		rc = conf_parse_auth(r->c, r->file, text, len, r->error);
	compat_explicit_bzero(text, len);
	free(text);
	return rc;
}

static struct conf *
load_all(const char *path, bool private_instance, bool secrets,
    struct conf_error *error)
{
	struct reader r = {
	    conf_defaults(), path, 0, private_instance, error, NULL, !secrets};

	if (load_conf(&r) == 0 && load_mailname(&r) == 0 &&
	    (!secrets || load_auth(&r) == 0))
		return r.c;
	conf_free(r.c);
	return NULL;
}

struct conf *
conf_load(const char *path, bool private_instance, struct conf_error *error)
{
	return load_all(path, private_instance, true, error);
}

struct conf *
conf_load_public(const char *path, struct conf_error *error)
{
	return load_all(path, false, false, error);
}

void
conf_free(struct conf *c)
{
	size_t i;

	if (c == NULL)
		return;
	conf_relays_free(c);
	for (i = 0; i < c->nauths; i++) {
		struct conf_auth *auth = &c->auths[i];

		compat_explicit_bzero(auth->password, strlen(auth->password));
		free(auth->user);
		free(auth->host);
		free(auth->password);
	}
	free(c->auths);
	free(c->aliases);
	free(c->spooldir);
	free(c->authpath);
	free(c->certfile);
	free(c->mailname_file);
	free(c->masquerade_user);
	free(c->masquerade_host);
	conf_names_free(c);
	free(c->senders);
	free(c->relay_from);
	free(c->submit_socket);
	free(c->postmaster);
	free(c->log_path);
	free(c->libexecdir);
	conf_mailbox_free(c);
	free(c->aliasuser);
	free(c);
}

static bool
name_matches(const char *pattern, const char *domain)
{
	size_t len = strlen(domain), tail;

	if (pattern[0] != '*')
		return ascii_strcasecmp(pattern, domain) == 0;
	tail = strlen(++pattern); /* with its dot */
	return len > tail &&
	       ascii_strcasecmp(domain + len - tail, pattern) == 0;
}

bool
conf_domain_is_local(const struct conf *c, const char *domain)
{
	if (ascii_strcasecmp(domain, "localhost") == 0)
		return true;
	for (size_t i = 0; i < c->nlocalnames; i++)
		if (name_matches(c->localnames[i], domain))
			return true;
	return c->nlocalnames == 0 &&
	       (ascii_strcasecmp(domain, c->mailname) == 0 ||
		   ascii_strcasecmp(domain, c->hostname) == 0);
}

bool
conf_relays_from(const struct conf *c, int family, const unsigned char *address)
{
	for (size_t i = 0; i < c->nrelay_from; i++) {
		const struct conf_network *n = &c->relay_from[i];
		unsigned bytes = n->bits / 8, rest = n->bits % 8;

		if (n->family == family &&
		    memcmp(n->address, address, bytes) == 0 &&
		    (rest == 0 ||
			(n->address[bytes] ^ address[bytes]) >> (8 - rest) ==
			    0))
			return true;
	}
	return false;
}
