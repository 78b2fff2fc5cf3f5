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
#include "util.h"

/* KEY_VALUE: 0.14's.  KEY_NEW: ours.  KEY_PRIVATE: ours, with -C only. */
enum key_kind { KEY_FLAG, KEY_VALUE, KEY_NEW, KEY_PRIVATE };

struct conf_key {
	const char *name;
	enum key_kind kind;
	int (*set)(struct reader *r, const struct conf_key *key, char *value);
	size_t offset; /* in struct conf, for the setters that serve many */
	long long min, max;
};

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

/* Cut blanks off both ends, in place. */
char *
conf_trim(char *s)
{
	size_t len;

	s += strspn(s, BLANKS);
	len = strlen(s);
	while (len > 0 && strchr(BLANKS, s[len - 1]) != NULL)
		len--;
	s[len] = '\0';
	return s;
}

/* ---- Setters: one for each kind of value ---- */

static void *
field(struct reader *r, const struct conf_key *key)
{
	return (char *)r->c + key->offset;
}

static void
replace(char **slot, const char *value)
{
	free(*slot);
	*slot = value != NULL ? xstrdup(value) : NULL;
}

static int
set_flag(struct reader *r, const struct conf_key *key, char *value)
{
	(void)value;
	*(bool *)field(r, key) = true;
	return 0;
}

static int
set_secure(struct reader *r, const struct conf_key *key, char *value)
{
	(void)key, (void)value;
	r->c->insecure = false;
	return 0;
}

static int
set_path(struct reader *r, const struct conf_key *key, char *value)
{
	/* Relative to whose directory?  That of whoever sends a mail. */
	if (value[0] != '/')
		return conf_fail(
		    r, "%s must be a path that begins with /", key->name);
	replace(field(r, key), value);
	return 0;
}

static int
set_number(struct reader *r, const struct conf_key *key, char *value)
{
	long long n;

	if (parse_number(value, key->min, key->max, &n) == -1)
		return conf_fail(r, "%s must be a number from %lld to %lld",
		    key->name, key->min, key->max);
	*(unsigned *)field(r, key) = (unsigned)n;
	return 0;
}

static int
set_port(struct reader *r, const struct conf_key *key, char *value)
{
	long long n;

	if (parse_number(value, key->min, key->max, &n) == -1)
		return conf_fail(r, "%s must be a number from %lld to %lld",
		    key->name, key->min, key->max);
	r->c->port = (uint16_t)n;
	return 0;
}

static int
set_size(struct reader *r, const struct conf_key *key, char *value)
{
	static const char units[] = "bkmgt";
	size_t len = strlen(value);
	const char *unit = strchr(units, ascii_lower(value[len - 1]));
	int shift = unit != NULL ? 10 * (int)(unit - units) : 0;
	long long n;

	if (unit != NULL)
		value[len - 1] = '\0';
	if (parse_number(value, 0, key->max >> shift, &n) == -1)
		return conf_fail(r,
		    "%s must be a size such as 50M (units k, M, G)", key->name);
	*(int64_t *)field(r, key) = n << shift;
	return 0;
}

static int
get_duration(struct reader *r, const struct conf_key *key, const char *value,
    int64_t *seconds)
{
	if (parse_duration(value, seconds) == -1 || *seconds < 1)
		return conf_fail(r,
		    "%s: \"%s\" is no time such as 30s, 15m, 3h or 5d",
		    key->name, value);
	return 0;
}

static int
set_duration(struct reader *r, const struct conf_key *key, char *value)
{
	return get_duration(r, key, value, field(r, key));
}

static int
set_retry(struct reader *r, const struct conf_key *key, char *value)
{
	char *word, *rest = value;
	size_t n = 0;

	while ((word = strsep(&rest, BLANKS ",")) != NULL) {
		if (word[0] == '\0')
			continue;
		if (n == RETRY_STEPS_MAX)
			return conf_fail(r, "%s takes at most %d times",
			    key->name, RETRY_STEPS_MAX);
		if (get_duration(r, key, word, &r->c->retry[n++]) == -1)
			return -1;
	}
	if (n == 0)
		return conf_fail(r, "%s needs at least one time", key->name);
	r->c->nretry = n;
	return 0;
}

static int
set_log(struct reader *r, const struct conf_key *key, char *value)
{
	struct conf *c = r->c;

	replace(&c->log_path, NULL);
	if (strcmp(value, "syslog") == 0)
		c->log_target = LOG_TO_SYSLOG;
	else if (strcmp(value, "stderr") == 0)
		c->log_target = LOG_TO_STDERR;
	else if (value[0] == '/') {
		c->log_target = LOG_TO_FILE;
		replace(&c->log_path, value);
	} else
		return conf_fail(r,
		    "%s must be syslog, stderr or a path that begins with /",
		    key->name);
	return 0;
}

static int
hex_digit(int ch)
{
	static const char digits[] = "0123456789abcdef";
	const char *p;

	if (ch == '\0' || (p = strchr(digits, ascii_lower(ch))) == NULL)
		return -1;
	return (int)(p - digits);
}

static int
set_fingerprint(struct reader *r, const struct conf_key *key, char *value)
{
	const size_t size = sizeof(r->c->fingerprint);
	size_t n = 0;
	int high, low;

	while (n < size && (high = hex_digit(value[0])) != -1 &&
	       (low = hex_digit(value[1])) != -1) {
		r->c->fingerprint[n++] = (unsigned char)(high << 4 | low);
		value += 2;
		if (*value == ':' && n < size)
			value++;
	}
	if (n < size || *value != '\0')
		return conf_fail(r,
		    "%s must be the %zu hex digits of a SHA-256 digest",
		    key->name, 2 * size);
	r->c->has_fingerprint = true;
	return 0;
}

static int
set_mailname(struct reader *r, const struct conf_key *key, char *value)
{
	struct conf *c = r->c;

	replace(&c->mailname_file, value[0] == '/' ? value : NULL);
	if (c->mailname_file != NULL)
		value = c->hostname; /* until the file was read */
	if (!addr_domain_valid(value))
		return conf_fail(r,
		    "%s must be a host name such as "
		    "mail.example.org, or a path",
		    key->name);
	compat_strlcpy(c->mailname, value, sizeof(c->mailname));
	return 0;
}

/* "host", "user@", "user@host"; "@" is nothing, all as 0.14 has it. */
static int
set_masquerade(struct reader *r, const struct conf_key *key, char *value)
{
	char *at = strrchr(value, '@'), *host = value;
	const char *user = "", *why;
	struct addr probe;

	if (at != NULL) {
		*at = '\0';
		user = value;
		host = at + 1;
	}
	if (user[0] != '\0' && addr_make(&probe, user, "localhost", &why) == -1)
		return conf_fail(r, "%s: the user %s", key->name, why);
	if (host[0] != '\0' && !addr_domain_valid(host))
		return conf_fail(
		    r, "%s: \"%s\" is no host name", key->name, host);
	replace(&r->c->masquerade_user, user[0] != '\0' ? user : NULL);
	replace(&r->c->masquerade_host, host[0] != '\0' ? host : NULL);
	return 0;
}

static int
set_smarthost(struct reader *r, const struct conf_key *key, char *value)
{
	(void)key;
	return conf_set_relays(r, value);
}

static int
set_postmaster(struct reader *r, const struct conf_key *key, char *value)
{
	struct addr a;
	const char *why;

	if (addr_parse(&a, value, false, &why) == -1)
		return conf_fail(r, "%s: the address %s", key->name, why);
	replace(&r->c->postmaster, a.text);
	return 0;
}

/* ---- The keys ---- */

/* One list for the table and for conf_keys[]: they cannot differ. */
#define KEYS(K)                                                                \
	K("SMARTHOST", KEY_VALUE, set_smarthost, relays, 0, 0)                 \
	K("PORT", KEY_VALUE, set_port, port, 1, UINT16_MAX)                    \
	K("ALIASES", KEY_VALUE, set_path, aliases, 0, 0)                       \
	K("SPOOLDIR", KEY_VALUE, set_path, spooldir, 0, 0)                     \
	K("AUTHPATH", KEY_VALUE, set_path, authpath, 0, 0)                     \
	K("SECURETRANSFER", KEY_FLAG, set_flag, securetransfer, 0, 0)          \
	K("STARTTLS", KEY_FLAG, set_flag, starttls, 0, 0)                      \
	K("OPPORTUNISTIC_TLS", KEY_FLAG, set_flag, opportunistic_tls, 0, 0)    \
	K("VERIFYCERT", KEY_FLAG, set_flag, verifycert, 0, 0)                  \
	K("FINGERPRINT", KEY_VALUE, set_fingerprint, fingerprint, 0, 0)        \
	K("CERTFILE", KEY_VALUE, set_path, certfile, 0, 0)                     \
	K("SECURE", KEY_FLAG, set_secure, insecure, 0, 0)                      \
	K("INSECURE", KEY_FLAG, set_flag, insecure, 0, 0)                      \
	K("DEFER", KEY_FLAG, set_flag, defer, 0, 0)                            \
	K("FULLBOUNCE", KEY_FLAG, set_flag, fullbounce, 0, 0)                  \
	K("MAILNAME", KEY_VALUE, set_mailname, mailname, 0, 0)                 \
	K("MASQUERADE", KEY_VALUE, set_masquerade, masquerade_host, 0, 0)      \
	K("NULLCLIENT", KEY_FLAG, set_flag, nullclient, 0, 0)                  \
	K("LMTP", KEY_FLAG, set_flag, lmtp, 0, 0)                              \
	K("AGENTS", KEY_NEW, set_number, agents, 1, AGENTS_MAX)                \
	K("AGENTS_PER_HOST", KEY_NEW, set_number, agents_per_host, 1,          \
	    AGENTS_MAX)                                                        \
	K("RETRY", KEY_NEW, set_retry, retry, 0, 0)                            \
	K("LIFETIME", KEY_NEW, set_duration, lifetime, 0, 0)                   \
	K("POSTMASTER", KEY_NEW, set_postmaster, postmaster, 0, 0)             \
	K("LOG", KEY_NEW, set_log, log_target, 0, 0)                           \
	K("MAXSIZE", KEY_NEW, set_size, maxsize, 0, 1LL << 60)                 \
	K("MINFREE", KEY_NEW, set_number, minfree, 0, 99)                      \
	K("LIBEXECDIR", KEY_PRIVATE, set_path, libexecdir, 0, 0)               \
	K("MAILBOX", KEY_PRIVATE, set_path, mailbox, 0, 0)                     \
	K("TIMEOUTS", KEY_PRIVATE, set_number, timeouts, 1, 100)

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
	/* In 0.14 a # cut the line anywhere: "PORT 25#smtp". */
	if (key < end && key->kind == KEY_VALUE)
		value[strcspn(value, "#")] = '\0';
	if (key == end)
		return conf_fail(r,
		    "unknown key \"%s\": see dma(8) for the keys, "
		    "which are in capitals",
		    name);
	if (key->kind == KEY_PRIVATE && !r->private_instance)
		return conf_fail(
		    r, "%s may only be set in a file given with -C", name);
	if (key->kind == KEY_FLAG && value[0] != '\0')
		return conf_fail(
		    r, "%s takes no value: leave \"%s\" out", name, value);
	if (key->kind != KEY_FLAG && value[0] == '\0')
		return conf_fail(r, "%s needs a value", name);
	return key->set(r, key, value);
}

/* A # begins a comment at the start of a line and after a blank. */
static void
cut_comment(char *line)
{
	char *p = line;

	while ((p = strchr(p, '#')) != NULL) {
		if (p == line || strchr(BLANKS, p[-1]) != NULL) {
			*p = '\0';
			return;
		}
		p++;
	}
}

static int
parse_line(struct reader *r, char *line, size_t len)
{
	char *name, *value;

	if (memchr(line, '\0', len) != NULL)
		return conf_fail(r, "holds a NUL byte: this is no text file");
	cut_comment(line);
	name = conf_trim(line);
	if (name[0] == '\0')
		return 0;
	value = name + strcspn(name, BLANKS "#");
	if (*value == '#')
		*value = '\0'; /* "STARTTLS#always": no key has one */
	else if (*value != '\0')
		*value++ = '\0';
	return set_key(r, name, conf_trim(value));
}

/* Call each() with a writable copy of every line; a BOM is forgiven. */
int
conf_each_line(struct reader *r, const char *text, size_t len, size_t max,
    int (*each)(struct reader *r, char *line, size_t len))
{
	const char *end = text + len, *eol;
	char *line = xmalloc(max + 1);
	size_t n;
	int rc = 0;

	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;
	for (; text < end && rc == 0; text = eol + (eol < end)) {
		eol = memchr(text, '\n', (size_t)(end - text));
		if (eol == NULL)
			eol = end;
		n = (size_t)(eol - text);
		r->line++;
		if (n > max) {
			rc = conf_fail(r, "is longer than %zu bytes", max);
			break;
		}
		memcpy(line, text, n);
		line[n] = '\0';
		rc = each(r, line, n);
	}
	compat_explicit_bzero(line, max + 1);
	free(line);
	return rc;
}

/* The machine's name, or one that is at least valid and means nobody. */
static void
find_hostname(struct conf *c)
{
	char name[ADDR_DOMAIN_MAX + 2] = "";
	size_t len;

	if (gethostname(name, sizeof(name) - 1) == -1)
		name[0] = '\0';
	name[sizeof(name) - 1] = '\0';
	len = strlen(name);
	if (len > 1 && name[len - 1] == '.')
		name[len - 1] = '\0';
	if (!addr_domain_valid(name) ||
	    ascii_strcasecmp(name, "localhost") == 0)
		compat_strlcpy(name, "localhost.localdomain", sizeof(name));
	compat_strlcpy(c->hostname, name, sizeof(c->hostname));
}

static struct conf *
conf_defaults(void)
{
	static const int64_t retry[] = {
	    60, 5 * 60, 15 * 60, 30 * 60, 3600, 2 * 3600, 3 * 3600};
	struct conf *c = xcalloc(1, sizeof(*c));

	find_hostname(c);
	compat_strlcpy(c->mailname, c->hostname, sizeof(c->mailname));
	c->aliases = xstrdup(DMA_ALIASES);
	c->spooldir = xstrdup(DMA_SPOOLDIR);
	c->libexecdir = xstrdup(DMA_LIBEXECDIR);
	c->agents = AGENTS_DEFAULT;
	c->agents_per_host = AGENTS_PER_HOST_DEFAULT;
	memcpy(c->retry, retry, sizeof(retry));
	c->nretry = ARRAY_LEN(retry);
	c->lifetime = 5 * 24 * 3600;
	c->maxsize = MAXSIZE_DEFAULT;
	c->minfree = MINFREE_DEFAULT;
	c->timeouts = 100;
	return c;
}

struct conf *
conf_parse(const char *file, const char *text, size_t len,
    bool private_instance, struct conf_error *error)
{
	struct reader r = {conf_defaults(), file, 0, private_instance, error};

	if (conf_each_line(&r, text, len, CONF_LINE_MAX, parse_line) == -1 ||
	    conf_settle(&r) == -1) {
		conf_free(r.c);
		return NULL;
	}
	return r.c;
}

/* ---- Files ---- */

static int
fail_open(struct reader *r)
{
	if (errno == EINVAL)
		return conf_fail(r, "is not a regular file");
	if (errno == EFBIG)
		return conf_fail(r, "is larger than %d bytes", CONF_FILE_MAX);
	return conf_fail(r, "%s", strerror(errno));
}

/* MAILNAME's file: its first word, as 0.14 cuts it. */
static int
load_mailname(struct conf *c, struct conf_error *error)
{
	struct reader r = {c, c->mailname_file, 0, false, error};
	char *text, *name;
	size_t len;
	int rc = 0;

	if (read_file(r.file, CONF_FILE_MAX, &text, &len, NULL) == -1)
		return errno == ENOENT ? 0 : fail_open(&r);
	name = text + strspn(text, " \t");
	name[strcspn(name, BLANKS "#\n")] = '\0';
	r.line = 1;
	if (!addr_domain_valid(name))
		rc = conf_fail(&r,
		    "\"%s\" is no host name such as "
		    "mail.example.org",
		    name);
	else
		compat_strlcpy(c->mailname, name, sizeof(c->mailname));
	free(text);
	return rc;
}

static int
load_auth(struct conf *c, struct conf_error *error)
{
	struct reader r = {c, c->authpath, 0, false, error};
	struct stat st;
	char *text;
	size_t len;
	int rc;

	if (read_file(r.file, CONF_FILE_MAX, &text, &len, &st) == -1)
		return fail_open(&r);
	if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0)
		rc = conf_fail(&r,
		    "holds passwords and is open to everybody: "
		    "chmod o= %s",
		    r.file);
	else
		rc = conf_parse_auth(c, r.file, text, len, error);
	compat_explicit_bzero(text, len);
	free(text);
	return rc;
}

static int
check_owner(struct reader *r, const struct stat *st)
{
	if ((st->st_mode & S_IWOTH) != 0)
		return conf_fail(
		    r, "can be changed by everybody: chmod o-w %s", r->file);
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return conf_fail(r, "belongs neither to root nor to you");
	return 0;
}

/* NULL with *error, or the text; a missing file of the system's is empty. */
static char *
load_text(struct reader *r, size_t *len)
{
	struct stat st;
	char *text;

	if (read_file(r->file, CONF_FILE_MAX, &text, len, &st) == 0) {
		if (check_owner(r, &st) == 0)
			return text;
		free(text);
		return NULL;
	}
	*len = 0;
	if (errno == ENOENT && !r->private_instance)
		return xstrdup("");
	fail_open(r);
	return NULL;
}

struct conf *
conf_load(const char *path, bool private_instance, struct conf_error *error)
{
	struct reader r = {NULL, path, 0, private_instance, error};
	struct conf *c;
	char *text;
	size_t len;

	text = load_text(&r, &len);
	if (text == NULL)
		return NULL;
	c = conf_parse(path, text, len, private_instance, error);
	free(text);
	if (c == NULL)
		return NULL;
	if ((c->mailname_file != NULL && load_mailname(c, error) == -1) ||
	    (c->authpath != NULL && load_auth(c, error) == -1)) {
		conf_free(c);
		return NULL;
	}
	return c;
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
	free(c->postmaster);
	free(c->log_path);
	free(c->libexecdir);
	free(c->mailbox);
	free(c);
}

bool
conf_domain_is_local(const struct conf *c, const char *domain)
{
	return ascii_strcasecmp(domain, c->mailname) == 0 ||
	       ascii_strcasecmp(domain, c->hostname) == 0 ||
	       ascii_strcasecmp(domain, "localhost") == 0;
}
