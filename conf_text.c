/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf_text.c - what a line of a configuration says, and root's few keys.
 *
 * Runs in:   dma, below conf.c; dma-become, as root.
 * Trusts:    dma.conf, where it is root's and nobody else's to change.
 * Promises:  conf_root() gives what conf.c would.
 */
#include <sys/stat.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf_reader.h"
#include "util.h"

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

char *
conf_text(char *line)
{
	for (char *p = line; (p = strchr(p, '#')) != NULL; p++)
		if (p == line || strchr(BLANKS, p[-1]) != NULL) {
			*p = '\0';
			break;
		}
	return conf_trim(line);
}

/* The value of key, or NULL: the line is another's. */
static char *
value_of(char *line, const char *key)
{
	char *name = conf_text(line), *value = name + strcspn(name, BLANKS "#");

	if (*value == '\0' || *value == '#')
		return NULL;
	*value++ = '\0';
	if (strcmp(name, "ALIASES") == 0) /* a key of 0.14: see conf.c */
		value[strcspn(value, "#")] = '\0';
	return strcmp(name, key) == 0 ? conf_trim(value) : NULL;
}

static void
find_value(const char *text, size_t len, const char *key, char **found)
{
	char *copy = xstrndup(text, len), *rest = copy, *line, *value;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if ((value = value_of(line, key)) == NULL || *value == '\0')
			continue;
		free(*found);
		*found = xstrdup(value);
	}
	free(copy);
}

int
conf_root(const char *path, const char *const *keys, char **values)
{
	struct stat st;
	char *text;
	size_t len, bom;

	if (read_file(path, CONF_FILE_MAX, &text, &len, &st) == -1)
		return errno == ENOENT ? 0 : -1;
	if (st.st_uid != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
		free(text);
		errno = EPERM;
		return -1;
	}
	bom = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	for (; *keys != NULL; keys++, values++)
		find_value(text + bom, len - bom, *keys, values);
	free(text);
	return 0;
}
