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

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#include "idn.h"
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

uint16_t
targets_port(const struct hop *hop)
{
	return hop->port != 0 ? hop->port : SMTP_PORT;
}

static bool
is_literal(const struct hop *hop)
{
	return hop->host[0] == '[';
}

static void
set_why(struct targets *t, enum outcome_class class, const char *dsn,
    const char *what)
{
	outcome_set(&t->why, class, dsn, "%s: %s", t->hop->host, what);
}

static void
add_target(struct targets *t, const char *name, const struct dns_address *a)
{
	struct smtp_target *target = &t->list[t->count];
	struct sockaddr_in *in = (void *)&target->sa;
	struct sockaddr_in6 *in6 = (void *)&target->sa;
	const void *sa = &target->sa;

	if (t->count == ARRAY_LEN(t->list))
		return;
	memset(target, 0, sizeof(*target));
	target->sa = a->sa;
	target->len = a->len;
	target->port = targets_port(t->hop);
	if (a->sa.ss_family == AF_INET)
		in->sin_port = htons(target->port);
	else if (a->sa.ss_family == AF_INET6)
		in6->sin6_port = htons(target->port);
	if (a->sa.ss_family == AF_UNIX)
		compat_strlcpy(
		    target->address, t->hop->host, sizeof(target->address));
	else
		(void)getnameinfo(sa, target->len, target->address,
		    sizeof(target->address), NULL, 0, NI_NUMERICHOST);
	compat_strlcpy(target->name,
	    is_literal(t->hop) ? target->address : name, sizeof(target->name));
	t->count++;
}

/* LMTP on a socket in the file system. */
static void
add_path(struct targets *t)
{
	struct dns_address a = {.len = sizeof(struct sockaddr_un)};
	struct sockaddr_un *un = (void *)&a.sa;

	un->sun_family = AF_UNIX;
	if (compat_strlcpy(un->sun_path, t->hop->host, sizeof(un->sun_path)) >=
	    sizeof(un->sun_path))
		set_why(t, OUTCOME_DEFER, "4.3.5",
		    "the path is too long for a socket");
	else
		add_target(t, "localhost", &a);
}

void
targets_cut_loop(struct dns_mx_list *list, const char *our_name)
{
	size_t i;

	for (i = 0; i < list->count; i++)
		if (ascii_strcasecmp(list->mx[i].host, our_name) == 0)
			break;
	/* They are in order of preference: back to the first like ours. */
	while (i > 0 && i < list->count &&
	       list->mx[i - 1].preference == list->mx[i].preference)
		i--;
	list->count = i;
}

static void
ask_mx(struct targets *t, const char *domain)
{
	const char *why = "";

	switch (dns_mx_lookup(
	    domain, smtp_scaled(t->hop, DNS_NAME_MS), &t->hosts, &why)) {
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
		    "its MX records name no usable host");
		break;
	case DNS_TEMPORARY:
		set_why(t, OUTCOME_DEFER, "4.4.3", why);
		break;
	}
	t->hosts.count = 0;
}

/*
 * The name has no form that the DNS has.  A recipient's domain will have none
 * tomorrow either; a relay's can be mended.
 */
static void
explain_no_alabels(struct targets *t)
{
	bool missing = errno == ENOSYS;
	const char *what = missing ? "an internationalized domain, and dma was "
				     "built without libidn2"
				   : "not a valid internationalized domain";

	if (t->hop->kind != HOP_MX)
		set_why(t, OUTCOME_DEFER, "4.3.5", what);
	else
		set_why(t, OUTCOME_FAIL, missing ? "5.6.7" : "5.1.2", what);
}

static void
ask(struct targets *t)
{
	const struct hop *hop = t->hop;
	char host[ADDR_DOMAIN_MAX + 1];

	t->asked = true;
	if (hop->host[0] == '/') {
		add_path(t);
	} else if (idn_to_ascii(hop->host, host, sizeof(host)) == -1) {
		explain_no_alabels(t);
	} else if (hop->kind == HOP_MX && !is_literal(hop)) {
		ask_mx(t, host);
	} else {
		compat_strlcpy(
		    t->hosts.mx[0].host, host, sizeof(t->hosts.mx[0].host));
		t->hosts.count = 1;
	}
}

/*
 * What the DNS of a stranger says must not lead into this machine (H-92), nor
 * name "localhost" for that: /etc/hosts is believed of the domain itself.
 */
static bool
is_allowed(const struct targets *t, const char *host,
    const struct dns_address_list *list, size_t i)
{
	bool ours =
	    list->from_hosts && ascii_strcasecmp(host, t->hop->host) == 0;

	return t->hop->kind != HOP_MX || is_literal(t->hop) || ours ||
	       dns_address_public(&list->addr[i].sa);
}

static void
add_host(struct targets *t, const char *host)
{
	struct dns_address_list list;
	const char *why = "";
	size_t max = t->count + (t->hosts.count > 1 ? ADDRESSES_OF_ONE_MX
						    : MX_ADDRESSES_MAX);

	switch (dns_address_lookup(
	    host, smtp_scaled(t->hop, DNS_NAME_MS), &list, &why)) {
	case DNS_OK:
		for (size_t i = 0; i < list.count && t->count < max; i++)
			if (is_allowed(t, host, &list, i))
				add_target(t, host, &list.addr[i]);
		break;
	case DNS_TEMPORARY:
		outcome_set(
		    &t->why, OUTCOME_DEFER, "4.4.3", "%s: %s", host, why);
		break;
	default:
		break;
	}
}

/* Every host was looked up and none had an address for us. */
static void
explain_nothing(struct targets *t)
{
	if (t->why.text[0] != '\0')
		return;
	if (t->hop->kind != HOP_MX)
		set_why(t, OUTCOME_DEFER, "4.4.3",
		    "the relay's name has no address");
	else if (is_literal(t->hop))
		set_why(t, OUTCOME_FAIL, "5.1.3", "not an address literal");
	else
		set_why(t, OUTCOME_FAIL, "5.4.4",
		    "no mail server of it has a usable address");
}

/* A hundred hosts, each silent for as long as it may be, are no reason. */
static bool
is_late(const struct targets *t)
{
	return t->deadline != 0 && now_ms() >= t->deadline;
}

const struct smtp_target *
targets_get(struct targets *t, size_t i)
{
	if (!t->asked)
		ask(t);
	while (i >= t->count && t->count < ARRAY_LEN(t->list) &&
	       t->next_host < t->hosts.count && !is_late(t))
		add_host(t, t->hosts.mx[t->next_host++].host);
	if (i < t->count)
		return &t->list[i];
	if (t->count == 0 && t->next_host >= t->hosts.count)
		explain_nothing(t);
	return NULL;
}
