/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * senders.c - SENDERS: which sender stands for which outside.
 *
 * Runs in:   dma, submitting.
 * Trusts:    the file's owner; never that a line is well-formed.
 * Promises:  a bad line is reported and costs itself alone.
 */
#include "senders.h"

#include <sys/stat.h>

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "limits.h"
#include "util.h"

#define BLANKS " \t\r"

/* The name is first, for the tree's order. */
struct sender {
	char name[ADDR_MAX + 1];
	struct addr stands;
};

static int
by_name(const void *a, const void *b)
{
	return ascii_strcasecmp(a, b);
}

/* ---- A line ---- */

/* A key of the map.  Returns NULL, or why it is none. */
static const char *
take_name(char dst[ADDR_MAX + 1], const char *name)
{
	struct addr a;
	const char *why = NULL;

	if (name[0] == '\0')
		return "is not of the form  name: address";
	if (strcmp(name, "*") == 0 ||
	    (name[0] == '@' && addr_domain_valid_utf8(name + 1)))
		(void)compat_strlcpy(dst, name, ADDR_MAX + 1);
	else if (addr_parse(&a, name, false, &why) == 0)
		(void)compat_strlcpy(dst, a.text, ADDR_MAX + 1);
	return why;
}

/*
 * Enter a line that has something in it.  Returns NULL, or what is wrong with
 * *what: the name, or what it stands for.
 */
static const char *
take_line(struct senders *s, char *line, const char **what)
{
	struct sender *fresh = xcalloc(1, sizeof(*fresh)), **known;
	size_t len = strcspn(line, ":" BLANKS);
	char *value = line + len + strspn(line + len, BLANKS);
	const char *why;

	if (*value == ':')
		value += 1 + strspn(value + 1, BLANKS);
	line[len] = '\0';
	*what = line;
	if ((why = take_name(fresh->name, line)) == NULL) {
		*what = value;
		if (addr_parse(&fresh->stands, value, false, &why) == 0)
			(void)addr_qualify(
			    &fresh->stands, s->conf->mailname, &why);
	}
	if (why == NULL) {
		known = tsearch(fresh, &s->tree, by_name);
		if (known == NULL)
			die(EX_OSERR, "out of memory");
		if (*known == fresh)
			return NULL;
		*what = line;
		why = "stands there before, and the first one counts";
	}
	free(fresh);
	return why;
}

/* ---- The file ---- */

void
senders_parse(struct senders *s, const struct conf *c, const char *text,
    size_t len, void (*report)(void *arg, const char *line), void *arg)
{
	char *copy = xstrndup(text, len), *rest = copy, *line, *said;
	const char *why, *what = "";
	char clean[512];

	*s = (struct senders){.conf = c};
	if (strncmp(copy, "\xef\xbb\xbf", 3) == 0)
		rest += 3;
	for (unsigned n = 1; (line = strsep(&rest, "\n")) != NULL; n++) {
		line = conf_text(line);
		why = line[0] == '\0' ? NULL : take_line(s, line, &what);
		if (why == NULL && rest == NULL && strnlen(text, len) < len)
			why = "is cut by a NUL byte: no more of it was read";
		if (why == NULL)
			continue;
		s->errors++;
		said = xasprintf("%s:%u: \"%.100s\" %s",
		    c->senders != NULL ? c->senders : "SENDERS", n, what, why);
		(void)printable(clean, sizeof(clean), said, strlen(said));
		if (report != NULL)
			report(arg, clean);
		free(said);
	}
	free(copy);
}

int
senders_load(struct senders *s, const struct conf *c,
    void (*report)(void *arg, const char *line), void *arg)
{
	struct stat st;
	char *text;
	size_t len;

	*s = (struct senders){.conf = c};
	if (c->senders == NULL)
		return 0;
	if (read_file(c->senders, SENDERS_FILE_MAX, &text, &len, &st) == -1)
		return -1;
	/* Who may write it speaks for everybody. */
	if ((st.st_mode & S_IWOTH) != 0) {
		free(text);
		errno = EPERM;
		return -1;
	}
	senders_parse(s, c, text, len, report, arg);
	free(text);
	return 0;
}

/* ---- Looking up ---- */

static const struct addr *
find(const struct senders *s, const char *name)
{
	struct sender *const *found = tfind(name, &s->tree, by_name);

	return found != NULL ? &(*found)->stands : NULL;
}

/*
 * A sender of ours has one of our names, even where LOCALNAMES sends mail
 * for MAILNAME elsewhere.
 */
static bool
is_ours(const struct conf *c, const char *domain)
{
	return conf_domain_is_local(c, domain) ||
	       ascii_strcasecmp(domain, c->mailname) == 0 ||
	       ascii_strcasecmp(domain, c->hostname) == 0;
}

const struct addr *
senders_lookup(const struct senders *s, const struct addr *a)
{
	const char *domain = addr_domain(a);
	const struct addr *stands;
	struct addr login = *a;
	bool ours;

	if (s->tree == NULL || domain == NULL)
		return NULL;
	login.text[a->at] = '\0';
	ours = is_ours(s->conf, domain);
	if ((stands = find(s, a->text)) == NULL && ours)
		stands = find(s, login.text);
	if (stands == NULL)
		stands = find(s, domain - 1);
	if (stands == NULL && ours)
		stands = find(s, "*");
	return stands;
}

void
senders_free(struct senders *s)
{
	while (s->tree != NULL) {
		struct sender *sender = *(struct sender **)s->tree;

		tdelete(sender, &s->tree, by_name);
		free(sender);
	}
	*s = (struct senders){0};
}
