/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * targets.c - from a next hop to addresses (RFC 5321, 5.1; RFC 7505).
 *
 * Runs in:   dma-smtp.
 * Trusts:    its hop; addresses that the administrator wrote. Distrusts: MX
 *            records, which may name anything, us included.
 * Promises:  only what the DNS says for certain of a recipient's domain
 *            fails mail; a relay that is not found defers it.
 */
#include "targets.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "net.h"
#include "util.h"

#define SMTP_PORT 25

/* Of several MX hosts, one may not take all the tries (H-94). */
#define ADDRESSES_OF_ONE_MX (MX_ADDRESSES_MAX / 2)

void
targets_init(struct targets *t, const struct hop *hop)
{
	memset(t, 0, sizeof(*t));
	t->hop = hop;
}

static void
set_why(struct targets *t, enum outcome_class class, const char *dsn,
    const char *what)
{
	outcome_set(&t->why, class, dsn, "%s: %s", t->hop->host, what);
}

static uint16_t
hop_port(const struct hop *hop)
{
	return hop->port != 0 ? hop->port : SMTP_PORT;
}

static void
set_port(struct sockaddr_storage *sa, uint16_t port)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->ss_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		in.sin_port = htons(port);
		memcpy(sa, &in, sizeof(in));
	} else if (sa->ss_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		in6.sin6_port = htons(port);
		memcpy(sa, &in6, sizeof(in6));
	}
}

static void
add_target(struct targets *t, const char *name, const struct dns_address *a)
{
	struct smtp_target *target = &t->list[t->count];
	const void *sa = &target->sa;

	if (t->count == ARRAY_LEN(t->list))
		return;
	memset(target, 0, sizeof(*target));
	target->sa = a->sa;
	target->len = a->len;
	target->port = hop_port(t->hop);
	set_port(&target->sa, target->port);
	compat_strlcpy(target->name, name, sizeof(target->name));
	net_address_text(sa, target->address, sizeof(target->address));
	t->count++;
}

/* LMTP on a socket in the file system. */
static void
add_path(struct targets *t)
{
	struct dns_address a = {.len = sizeof(struct sockaddr_un)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (compat_strlcpy(un.sun_path, t->hop->host, sizeof(un.sun_path)) >=
	    sizeof(un.sun_path)) {
		set_why(t, OUTCOME_DEFER, "4.3.5",
		    "the path is too long for a socket");
		return;
	}
	memcpy(&a.sa, &un, sizeof(un));
	add_target(t, "localhost", &a);
}

static void
ask_one_host(struct targets *t, const char *host)
{
	compat_strlcpy(t->hosts.mx[0].host, host, sizeof(t->hosts.mx[0].host));
	t->hosts.count = 1;
}

static bool
is_address(const char *text)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, bytes) == 1 ||
	       inet_pton(AF_INET6, text, bytes) == 1;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": the address alone, if it is one. */
static void
ask_literal(struct targets *t)
{
	const char *p = t->hop->host + 1;
	char *end;

	t->literal = true;
	if (ascii_strncasecmp(p, "IPv6:", 5) == 0)
		p += 5;
	ask_one_host(t, p);
	end = strchr(t->hosts.mx[0].host, ']');
	if (end != NULL && end[1] == '\0')
		*end = '\0';
	else
		t->hosts.count = 0;
	if (!is_address(t->hosts.mx[0].host))
		t->hosts.count = 0;
}

void
targets_cut_loop(struct dns_mx_list *list, const char *our_name)
{
	size_t i, ours;

	for (ours = 0; ours < list->count; ours++)
		if (ascii_strcasecmp(list->mx[ours].host, our_name) == 0)
			break;
	if (ours == list->count)
		return;
	for (i = 0; i < list->count; i++)
		if (list->mx[i].preference >= list->mx[ours].preference)
			break;
	list->count = i;
}

static void
ask_mx(struct targets *t)
{
	const char *why = "";

	switch (dns_mx_lookup(
	    t->hop->host, smtp_scaled(t->hop, DNS_NAME_MS), &t->hosts, &why)) {
	case DNS_OK:
		targets_cut_loop(&t->hosts, t->hop->helo);
		if (t->hosts.count == 0)
			set_why(t, OUTCOME_FAIL, "5.4.6",
			    "its mail would loop back to this machine");
		return;
	case DNS_NO_NAME:
		set_why(t, OUTCOME_FAIL, "5.1.2", "no such domain");
		break;
	case DNS_NULL_MX:
		set_why(t, OUTCOME_FAIL, "5.1.10",
		    "the domain accepts no mail (null MX)");
		break;
	case DNS_NO_DATA:
		set_why(t, OUTCOME_FAIL, "5.4.4",
		    "no mail server and no address of the domain exists");
		break;
	case DNS_TEMPORARY:
		t->temporary = true;
		set_why(t, OUTCOME_DEFER, "4.4.3", why);
		break;
	}
	t->hosts.count = 0;
}

static void
ask(struct targets *t)
{
	const struct hop *hop = t->hop;

	t->asked = true;
	if (hop->host[0] == '/')
		add_path(t);
	else if (hop->host[0] == '[')
		ask_literal(t);
	else if (hop->kind == HOP_MX)
		ask_mx(t);
	else
		ask_one_host(t, hop->host);
}

/* What the DNS of a stranger says must not lead into this machine (H-92). */
static bool
is_allowed(
    const struct targets *t, const struct dns_address_list *list, size_t i)
{
	const void *sa = &list->addr[i].sa;

	return t->hop->kind != HOP_MX || t->literal || list->from_hosts ||
	       dns_address_public(sa);
}

static void
add_host(struct targets *t, const char *host)
{
	struct dns_address_list list;
	const char *why = "";
	size_t i, max;
	enum dns_result result;

	result = dns_address_lookup(
	    host, smtp_scaled(t->hop, DNS_NAME_MS), &list, &why);
	if (result == DNS_TEMPORARY) {
		t->temporary = true;
		outcome_set(
		    &t->why, OUTCOME_DEFER, "4.4.3", "%s: %s", host, why);
	}
	if (result != DNS_OK)
		return;
	max = t->count +
	      (t->hosts.count > 1 ? ADDRESSES_OF_ONE_MX : MX_ADDRESSES_MAX);
	for (i = 0; i < list.count && t->count < max; i++)
		if (is_allowed(t, &list, i))
			add_target(t, host, &list.addr[i]);
}

/* Every host was looked up and none had an address for us. */
static void
explain_nothing(struct targets *t)
{
	if (t->why.text[0] != '\0')
		return;
	if (t->literal && t->hop->kind == HOP_MX)
		set_why(t, OUTCOME_FAIL, "5.1.3", "not an address literal");
	else if (t->hop->kind == HOP_MX)
		set_why(t, OUTCOME_FAIL, "5.4.4",
		    "none of its mail servers has a usable address");
	else
		set_why(t, OUTCOME_DEFER, "4.4.3",
		    "the relay's name has no address");
}

const struct smtp_target *
targets_get(struct targets *t, size_t i)
{
	if (!t->asked)
		ask(t);
	while (i >= t->count && t->count < ARRAY_LEN(t->list) &&
	       t->next_host < t->hosts.count)
		add_host(t, t->hosts.mx[t->next_host++].host);
	if (i < t->count)
		return &t->list[i];
	if (t->count == 0)
		explain_nothing(t);
	return NULL;
}
