/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_files.c - what needs no question: literals, hosts(5), resolv.conf(5).
 *
 * Runs in:   dma-smtp.
 * Trusts:    /etc/hosts and resolv.conf. Distrusts: what is asked for.
 * Promises:  a line that it does not understand is as good as absent.
 */
#include "dns_parts.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define HOSTS_FILE_MAX  (8 * 1024 * 1024) /* bytes; block lists are large */
#define RESOLV_FILE_MAX (64 * 1024)       /* bytes */

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

/* The next line, cut out of the text; NULL at its end. */
static char *
next_line(char **text)
{
	char *line = *text, *lf = strchr(line, '\n');

	if (*line == '\0')
		return NULL;
	*text = lf != NULL ? lf + 1 : line + strlen(line);
	if (lf != NULL)
		*lf = '\0';
	return line;
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

/* ---- hosts ---- */

bool
dns_parse_hosts(char *text, const char *host, struct dns_address_list *list)
{
	struct dns_address_list in6 = {.count = 0}, in = {.count = 0};
	char *line;

	while ((line = next_line(&text)) != NULL) {
		const char *address = next_word(&line), *name = address;
		while (name != NULL && (name = next_word(&line)) != NULL)
			if (dns_same_name(name, host)) {
				(void)append_literal(
				    strchr(address, ':') != NULL ? &in6 : &in,
				    address);
				break;
			}
	}
	dns_interleave(&in6, &in, list);
	list->from_hosts = list->count > 0;
	return list->from_hosts;
}

bool
dns_look_in_hosts(const char *host, struct dns_address_list *list)
{
	char *text;
	size_t len;

	if (read_file("/etc/hosts", HOSTS_FILE_MAX, &text, &len, NULL) == -1)
		return false;
	bool found = dns_parse_hosts(text, host, list);
	free(text);
	return found;
}

/* ---- resolv.conf ---- */

/* Link-local ones name their interface: "fe80::1%eth0". */
static void
append_server(struct dns_servers *servers, const char *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_DGRAM,
	    .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
	struct addrinfo *found;

	if (address == NULL || servers->count == DNS_SERVERS_MAX ||
	    getaddrinfo(address, "53", &hints, &found) != 0)
		return;
	struct dns_address *to = &servers->server[servers->count++];
	memcpy(&to->sa, found->ai_addr, found->ai_addrlen);
	to->len = found->ai_addrlen;
	freeaddrinfo(found);
}

void
dns_parse_servers(char *text, struct dns_servers *servers)
{
	char *line, *word;

	memset(servers, 0, sizeof(*servers));
	while ((line = next_line(&text)) != NULL) {
		word = next_word(&line);
		if (word != NULL && strcmp(word, "nameserver") == 0)
			append_server(servers, next_word(&line));
		if (word != NULL && strcmp(word, "options") == 0)
			while ((word = next_word(&line)) != NULL)
				if (strcmp(word, "use-vc") == 0)
					servers->tcp_only = true;
	}
}

void
dns_servers_read(struct dns_servers *servers)
{
	char *text;
	size_t len;

	servers->count = 0;
	if (read_file("/etc/resolv.conf", RESOLV_FILE_MAX, &text, &len, NULL) ==
	    -1)
		return;
	dns_parse_servers(text, servers);
	free(text);
}
