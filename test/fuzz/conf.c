/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf.c - any dma.conf with any auth.conf: either all of it is within its
 * limits and no password may leave in the clear, or one line says where and
 * what.
 *
 * The first byte: odd for a private instance.  A NUL parts the two files.
 */
#include "fuzz.h"

#include "addr.h"
#include "conf.h"

static void
check_error(const struct conf_error *e)
{
	need(strncmp(e->text, "file:", 5) == 0 && strlen(e->text) > 8, "error");
	need_printable(e->text, "an error's text");
}

static void
check_relay(const struct conf *c, const struct conf_relay *r)
{
	bool secret = conf_auth_for(c, r) != NULL;

	need(r->host != NULL && r->host[0] != '\0', "a relay's host");
	need(r->host[0] == '/' || r->port != 0, "a relay's port");
	need(r->user == NULL || r->user[0] != '\0', "a relay's user");
	need(!r->verify || r->host[0] == '/' || r->tls == TLS_STARTTLS ||
		 r->tls == TLS_IMPLICIT,
	    "a certificate where none is seen");
	/* What MAY be sent in the clear, smtp.c refuses to: H-44. */
	need(!secret || c->insecure || r->tls != TLS_NONE || r->host[0] == '/',
	    "a password in the clear");
}

static void
check_numbers(const struct conf *c, bool private_instance)
{
	need(c->agents >= 1 && c->agents <= AGENTS_MAX &&
		 c->agents_per_host >= 1 && c->port <= 65535,
	    "numbers");
	need(c->nretry >= 1 && c->nretry <= RETRY_STEPS_MAX, "RETRY");
	for (size_t i = 0; i < c->nretry; i++)
		need(c->retry[i] >= 1, "a step of RETRY");
	need(c->lifetime >= 1 && c->warn >= 0 && c->maxsize >= 0 &&
		 c->minfree <= 99,
	    "times and sizes");
	need(c->timeouts >= 1 && c->timeouts <= 100, "TIMEOUTS");
	need(private_instance ||
		 (c->timeouts == 100 &&
		     (c->mailbox == NULL || c->mailbox[0] != '/')),
	    "what only a private instance has");
}

static void
check(const struct conf *c, bool private_instance)
{
	struct addr a;
	const char *why;

	check_numbers(c, private_instance);
	need(addr_domain_valid(c->mailname) && addr_domain_valid(c->hostname),
	    "names");
	need(c->spooldir[0] == '/' && c->aliases[0] == '/', "paths");
	need(c->postmaster == NULL ||
		 addr_parse(&a, c->postmaster, false, &why) == 0,
	    "POSTMASTER");
	need(conf_domain_is_local(c, "LocalHost"), "localhost");
	(void)conf_domain_is_local(c, c->mailname);
	for (size_t i = 0; i < c->nrelay_from; i++)
		need(c->relay_from[i].bits <= 128, "RELAY_FROM");
	(void)conf_relays_from(c, 2, (const unsigned char *)"\x7f\0\0\1");
	for (size_t i = 0; i < c->nrelays; i++)
		check_relay(c, &c->relays[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_error error = {""};
	const char *text = (const char *)data + 1, *auth;
	size_t len;
	struct conf *c;

	if (size == 0)
		return 0;
	bool private_instance = data[0] % 2 == 1;
	auth = memchr(text, '\0', size - 1);
	len = auth == NULL ? size - 1 : (size_t)(auth - text);
	c = conf_parse("file", text, len, private_instance, &error);
	if (c == NULL) {
		check_error(&error);
		/* Its NUL is no end for the parser. */
		return 0;
	}
	check(c, private_instance);
	if (auth != NULL) {
		if (conf_parse_auth(
			c, "file", auth + 1, size - 2 - len, &error) == 0)
			check(c, private_instance);
		else
			check_error(&error);
	}
	conf_free(c);
	return 0;
}
