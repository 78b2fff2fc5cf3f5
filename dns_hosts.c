/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_hosts.c - addresses known without asking: literals and /etc/hosts.
 *
 * Runs in:   dma-smtp.
 * Trusts:    /etc/hosts. Distrusts: what is asked for.
 * Promises:  a line that it does not understand is as good as absent.
 */
#include "dns_hosts.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "dns_parse.h"
#include "util.h"

#define HOSTS_FILE_MAX (8 * 1024 * 1024) /* bytes; block lists are large */

#ifndef _PATH_HOSTS
#define _PATH_HOSTS "/etc/hosts"
#endif

/* Append the address that a text is; false if it is none. */
static bool
append_literal(struct dns_address_list *list, const char *text)
{
	unsigned char binary[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, binary) == 1)
		dns_append_address(list, AF_INET, binary);
	else if (inet_pton(AF_INET6, text, binary) == 1)
		dns_append_address(list, AF_INET6, binary);
	else
		return false;
	return true;
}

bool
dns_take_literal(struct dns_address_list *list, const char *host)
{
	char text[INET6_ADDRSTRLEN];
	size_t len = strlen(host);

	if (len >= 2 && host[0] == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	if (len >= 5 && ascii_strncasecmp(host, "IPv6:", 5) == 0) {
		host += 5;
		len -= 5;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = '\0';
	return append_literal(list, text);
}

/* The next word of a line, cut out of it; NULL at its end or a comment. */
static char *
next_word(char **line)
{
	char *word = *line + strspn(*line, " \t\r");

	if (*word == '\0' || *word == '#')
		return NULL;
	*line = word + strcspn(word, " \t\r#");
	if (**line == '#')
		**line = '\0';
	else if (**line != '\0')
		*(*line)++ = '\0';
	return word;
}

static void
take_hosts_line(char *line, const char *host, struct dns_address_list *in6,
    struct dns_address_list *in)
{
	const char *address = next_word(&line), *name;

	if (address == NULL)
		return;
	while ((name = next_word(&line)) != NULL)
		if (dns_same_name(name, host)) {
			(void)append_literal(
			    strchr(address, ':') != NULL ? in6 : in, address);
			return;
		}
}

enum dns_result
dns_parse_hosts(const char *text, size_t len, const char *host,
    struct dns_address_list *list)
{
	struct dns_address_list in6 = {.count = 0}, in = {.count = 0};
	char line[4096];
	const char *end = text + len;

	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((lf != NULL ? lf : end) - text);
		if (size < sizeof(line)) {
			memcpy(line, text, size);
			line[size] = '\0';
			take_hosts_line(line, host, &in6, &in);
		}
		text += size + 1;
	}
	dns_interleave(&in6, &in, list);
	list->from_hosts = list->count > 0;
	return list->count > 0 ? DNS_OK : DNS_NO_NAME;
}

bool
dns_look_in_hosts(const char *host, struct dns_address_list *list)
{
	char *text;
	size_t len;

	if (read_file(_PATH_HOSTS, HOSTS_FILE_MAX, &text, &len, NULL) == -1)
		return false;
	enum dns_result result = dns_parse_hosts(text, len, host, list);
	free(text);
	return result == DNS_OK;
}
