/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * conf.c - what dma.conf and auth.conf mean, and how they are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../conf.h"
#include "../../util.h"

#define HEX64 "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

static struct conf_error error;

static struct conf *
parse_as(const char *text, bool private_instance)
{
	error.text[0] = '\0';
	return conf_parse(
	    "t.conf", text, strlen(text), private_instance, &error);
}

static struct conf *
parse(const char *text)
{
	struct conf *c = parse_as(text, false);

	if (c == NULL)
		fail_msg("refused: %s\n%s", error.text, text);
	return c;
}

static void
auth(struct conf *c, const char *text)
{
	if (conf_parse_auth(c, "auth", text, strlen(text), &error) == -1)
		fail_msg("refused: %s", error.text);
}

static void
test_defaults(void **state)
{
	struct conf *c = parse("");

	(void)state;
	assert_int_equal(c->nrelays, 0);
	assert_string_equal(c->aliases, DMA_ALIASES);
	assert_string_equal(c->spooldir, DMA_SPOOLDIR);
	assert_null(c->authpath);
	assert_int_equal(c->tls, TLS_MAY);
	assert_false(c->insecure);
	assert_false(c->defer);
	assert_int_equal(c->agents, 20);
	assert_int_equal(c->agents_per_host, 20);
	assert_int_equal(c->nretry, 7);
	assert_int_equal(c->retry[0], 60);
	assert_int_equal(c->retry[6], 3 * 3600);
	assert_int_equal(c->lifetime, 5 * 86400);
	assert_int_equal(c->maxsize, 50 << 20);
	assert_int_equal(c->minfree, 5);
	assert_int_equal(c->timeouts, 100);
	assert_int_equal(c->log_target, LOG_TO_SYSLOG);
	assert_true(c->mailname[0] != '\0');
	assert_string_equal(c->mailname, c->hostname);
	conf_free(c);
}

static void
test_mailbox_of_a_private_instance(void **state)
{
	struct conf *c = parse_as("SPOOLDIR /s\n", true);

	(void)state;
	assert_string_equal(c->mailbox, "/s/mbox");
	conf_free(c);
	c = parse_as("SPOOLDIR /s\n", false);
	assert_null(c->mailbox);
	conf_free(c);
}

static void
test_mailboxes(void **state)
{
	static const struct {
		const char *value, *host;
		unsigned port;
	} cases[] = {
	    {"~/Maildir/", NULL, 0},
	    {"|/usr/bin/mda -f x", NULL, 0},
	    {"lmtp:/run/lmtp", "/run/lmtp", 0},
	    {"lmtp:///run/lmtp", "/run/lmtp", 0},
	    {"lmtp://mail.example", "mail.example", 24},
	    {"lmtp://mail.example:2424", "mail.example", 2424},
	    {"lmtp://[2001:db8::1]:26", "2001:db8::1", 26},
	};
	char text[200];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c;

		snprintf(text, sizeof(text),
		    "MAILBOX ~/x\nMAILBOX lmtp:/x\nPORT 587\nMAILBOX %s\n",
		    cases[i].value);
		c = parse(text);
		assert_string_equal(c->mailbox, cases[i].value);
		assert_int_equal(
		    c->mailbox_lmtp != NULL, cases[i].host != NULL);
		if (cases[i].host != NULL) {
			assert_string_equal(
			    c->mailbox_lmtp->host, cases[i].host);
			assert_int_equal(c->mailbox_lmtp->port, cases[i].port);
			assert_int_equal(
			    c->mailbox_lmtp->protocol, PROTOCOL_LMTP);
		}
		conf_free(c);
	}
}

static void
test_aliasuser(void **state)
{
	struct conf *c = parse("");

	(void)state;
	assert_string_equal(c->aliasuser, "nobody");
	conf_free(c);
	c = parse("ALIASUSER news\n");
	assert_string_equal(c->aliasuser, "news");
	conf_free(c);
	c = parse_as("ALIASUSER news\n", true);
	assert_null(c->aliasuser);
	conf_free(c);
}

static void
test_every_key(void **state)
{
	struct conf *c = parse_as(
	    "SMARTHOST h\nPORT 2525\nALIASES /a\n"
	    "SPOOLDIR /s\nAUTHPATH /auth\nSECURETRANSFER\nSTARTTLS\n"
	    "OPPORTUNISTIC_TLS\nVERIFYCERT\nFINGERPRINT " HEX64 "\n"
	    "CERTFILE /c\nINSECURE\nDEFER\nFULLBOUNCE\nMAILNAME m.example\n"
	    "MASQUERADE u@h.example\nNULLCLIENT\nLMTP\nAGENTS 3\n"
	    "AGENTS_PER_HOST 2\nRETRY 5s, 1m\t2h\nLIFETIME 1d\n"
	    "POSTMASTER <p@x.example>\nLOG /l\nMAXSIZE 2G\nMINFREE 0\n"
	    "LIBEXECDIR /x\nMAILBOX /m\nTIMEOUTS 7\n",
	    true);

	(void)state;
	if (c == NULL)
		fail_msg("%s", error.text);
	assert_int_equal(c->nrelays, 1);
	assert_int_equal(c->relays[0].port, 2525);
	assert_int_equal(c->relays[0].protocol, PROTOCOL_LMTP);
	assert_string_equal(c->aliases, "/a");
	assert_string_equal(c->spooldir, "/s");
	assert_string_equal(c->authpath, "/auth");
	assert_true(c->verifycert && c->has_fingerprint);
	assert_int_equal(c->fingerprint[1], 0x11);
	assert_int_equal(c->fingerprint[16], 0xff);
	assert_int_equal(c->fingerprint[31], 0x00);
	assert_string_equal(c->certfile, "/c");
	assert_true(c->insecure && c->defer && c->fullbounce && c->nullclient);
	assert_string_equal(c->mailname, "m.example");
	assert_string_equal(c->masquerade_user, "u");
	assert_string_equal(c->masquerade_host, "h.example");
	assert_int_equal(c->agents, 3);
	assert_int_equal(c->agents_per_host, 2);
	assert_int_equal(c->nretry, 3);
	assert_int_equal(c->retry[0], 5);
	assert_int_equal(c->retry[2], 7200);
	assert_int_equal(c->lifetime, 86400);
	assert_string_equal(c->postmaster, "p@x.example");
	assert_int_equal(c->log_target, LOG_TO_FILE);
	assert_string_equal(c->log_path, "/l");
	assert_int_equal(c->maxsize, 2LL << 30);
	assert_int_equal(c->minfree, 0);
	assert_string_equal(c->libexecdir, "/x");
	assert_string_equal(c->mailbox, "/m");
	assert_int_equal(c->timeouts, 7);
	conf_free(c);
}

/* What 0.14 stumbled over, and what its files hold. */
static void
test_lines_forgiven(void **state)
{
	static const char *const texts[] = {
	    "PORT 77\nSMARTHOST relay.example",
	    "  PORT   77\n\tSMARTHOST\trelay.example\t \n",
	    "PORT 77\r\nSMARTHOST relay.example\r\n",
	    "\xef\xbb\xbfPORT 77\nSMARTHOST relay.example\n",
	    "# c\n\n   # c\nPORT 77 # c\nSMARTHOST relay.example#c\n",
	    "PORT 1\nSMARTHOST a, b\nPORT 77\nSMARTHOST relay.example\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(texts); i++) {
		struct conf *c = parse(texts[i]);

		assert_int_equal(c->nrelays, 1);
		assert_string_equal(c->relays[0].host, "relay.example");
		assert_int_equal(c->relays[0].port, 77);
		conf_free(c);
	}
}

/* In 0.14 a # cut the line anywhere; a new key's value may have one. */
static void
test_comments(void **state)
{
	struct conf *c = parse("STARTTLS#now\nPORT 25#smtp\nALIASES /a#b\n"
			       "POSTMASTER a#b@x.example # d\t#e\n"
			       "LOG /l#m\t# n\n#PORT 1\n  #PORT 1\n");

	(void)state;
	assert_true(c->starttls);
	assert_int_equal(c->port, 25);
	assert_string_equal(c->aliases, "/a");
	assert_string_equal(c->postmaster, "a#b@x.example");
	assert_string_equal(c->log_path, "/l#m");
	conf_free(c);
}

static void
test_refused(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
	    {"\n\nBOGUS x\n", "t.conf:3: unknown key \"BOGUS\""},
	    {"smarthost x\n", "t.conf:1: unknown key"},
	    {"PORT\n", "t.conf:1: PORT needs a value"},
	    {"PORT 0\n", "t.conf:1: PORT must be"},
	    {"PORT 70000\n", "t.conf:1: PORT must be"},
	    {"PORT 25x\n", "t.conf:1: PORT must be"},
	    {"STARTTLS yes\n", "t.conf:1: STARTTLS takes no value"},
	    {"FINGERPRINT\n", "t.conf:1: FINGERPRINT needs"},
	    {"FINGERPRINT 00\n", "t.conf:1: FINGERPRINT must"},
	    {"FINGERPRINT 0" HEX64 "\n", "t.conf:1: FINGERPRINT must"},
	    {"FINGERPRINT " HEX64 "00\n", "t.conf:1: FINGERPRINT must"},
	    {"FINGERPRINT " HEX64 ":\n", "t.conf:1: FINGERPRINT must"},
	    {"FINGERPRINT g" HEX64 "\n", "t.conf:1: FINGERPRINT must"},
	    {"SPOOLDIR spool\n", "t.conf:1: SPOOLDIR must be a path"},
	    {"MAILNAME a b\n", "t.conf:1: MAILNAME must"},
	    {"MAILNAME a..b\n", "t.conf:1: MAILNAME must"},
	    {"MASQUERADE a\001b@c\n", "t.conf:1: MASQUERADE: the user"},
	    {"MASQUERADE u@b..c\n", "t.conf:1: MASQUERADE: \"b..c\""},
	    {"RETRY ,\n", "t.conf:1: RETRY needs"},
	    {"RETRY 1m x\n", "t.conf:1: RETRY: \"x\""},
	    {"RETRY 0\n", "t.conf:1: RETRY: \"0\""},
	    {"RETRY 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n", "t.conf:1: RETRY ta"},
	    {"LIFETIME 5w\n", "t.conf:1: LIFETIME:"},
	    {"MAXSIZE 5X\n", "t.conf:1: MAXSIZE must"},
	    {"MAXSIZE -5M\n", "t.conf:1: MAXSIZE must"},
	    {"MAXSIZE M\n", "t.conf:1: MAXSIZE must"},
	    {"MAXSIZE 99999999999T\n", "t.conf:1: MAXSIZE must"},
	    {"MINFREE 100\n", "t.conf:1: MINFREE must"},
	    {"AGENTS 0\n", "t.conf:1: AGENTS must"},
	    {"LOG syslogd\n", "t.conf:1: LOG must"},
	    {"POSTMASTER <>\n", "t.conf:1: POSTMASTER: the address"},
	    {"TIMEOUTS 5\n", "t.conf:1: TIMEOUTS may only be set"},
	    {"MAILBOX /m\n", "t.conf:1: MAILBOX /m would be one for all"},
	    {"MAILBOX mbox\n", "t.conf:1: MAILBOX \"mbox\" must be"},
	    {"MAILBOX |cat\n", "t.conf:1: MAILBOX \"|cat\" is no command"},
	    {"MAILBOX lmtp:x\n", "t.conf:1: MAILBOX \"lmtp:x\" must be"},
	    {"MAILBOX lmtp://\n", "t.conf:1: MAILBOX: \"\" is no host"},
	    {"MAILBOX lmtp://h:x\n", "t.conf:1: MAILBOX: the port \"x\""},
	    {"MAILBOX lmtp://u@h\n", "t.conf:1: MAILBOX takes no user@"},
	    {"ALIASUSER root\n", "t.conf:1: ALIASUSER must not be root"},
	    {"ALIASUSER mail\n", "t.conf:1: ALIASUSER must not be mail"},
	    {"ALIASUSER -x\n", "t.conf:1: ALIASUSER must be the name"},
	    {"ALIASUSER a b\n", "t.conf:1: ALIASUSER must be the name"},
	    {"ALIASUSER ../x\n", "t.conf:1: ALIASUSER must be the name"},
	    {"LIBEXECDIR /m\n", "t.conf:1: LIBEXECDIR may only be set"},
	    {"NULLCLIENT\n", "t.conf: NULLCLIENT needs a SMARTHOST"},
	    {"SMARTHOST a,,b\n", "t.conf:1: SMARTHOST: \"\""},
	    {"SMARTHOST a b\n", "t.conf:1: SMARTHOST: \"a b\""},
	    {"SMARTHOST a:0\n", "t.conf:1: SMARTHOST: the port \"0\""},
	    {"SMARTHOST a:\n", "t.conf:1: SMARTHOST: the port \"\""},
	    {"SMARTHOST [::1]x\n", "t.conf:1: SMARTHOST: the port \"x\""},
	    {"SMARTHOST [::1\n", "t.conf:1: SMARTHOST: \"[::1\""},
	    {"SMARTHOST @a\n", "t.conf:1: SMARTHOST: the user"},
	    {"SMARTHOST fe80::1%e x\n", "t.conf:1: SMARTHOST: \"fe80::1%e x"},
	    {"SMARTHOST fe80::1%\n", "t.conf:1: SMARTHOST: \"fe80::1%\""},
	    {"SMARTHOST http://a\n", "t.conf:1: SMARTHOST \"http://a\""},
	    {"SMARTHOST smtp:///x\n", "t.conf:1: SMARTHOST: \"/x\""},
	    {"SMARTHOST smtp+notls://a\nVERIFYCERT\n", "t.conf: smtp+notls"},
	    {"MAILNAME \033[2J\n", "t.conf:1: MAILNAME must"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		if (parse_as(cases[i].text, false) != NULL)
			fail_msg("accepted: %s", cases[i].text);
		if (strncmp(error.text, cases[i].error,
			strlen(cases[i].error)) != 0)
			fail_msg("%s: %s", cases[i].text, error.text);
		assert_null(strchr(error.text, '\n'));
	}
}

static void
test_bytes_refused(void **state)
{
	char *line = xmalloc(CONF_LINE_MAX + 2);

	(void)state;
	assert_null(conf_parse("f", "PORT 2\0005\n", 9, false, &error));
	assert_non_null(strstr(error.text, "f:1: holds a NUL"));
	memset(line, '#', CONF_LINE_MAX + 1);
	line[CONF_LINE_MAX + 1] = '\0';
	assert_null(parse_as(line, false));
	assert_non_null(strstr(error.text, "t.conf:1: is longer"));
	line[CONF_LINE_MAX] = '\0';
	conf_free(parse(line));
	free(line);
	/* Whatever a file holds, an error is one printable line. */
	assert_null(parse_as("\001\033]0;x\007 \n", false));
	assert_null(strpbrk(error.text, "\001\033\007\n"));
}

static void
test_relays(void **state)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		enum tls_mode tls;
		bool verify;
		enum next_hop_protocol protocol;
		const char *user;
	} cases[] = {
	    {"mail.example.org", "mail.example.org", 25, 0, 0, 0, NULL},
	    {"mail.example.org.", "mail.example.org", 25, 0, 0, 0, NULL},
	    {"my_host:587", "my_host", 587, 0, 0, 0, NULL},
	    {"192.0.2.1:26", "192.0.2.1", 26, 0, 0, 0, NULL},
	    {"2001:db8::1", "2001:db8::1", 25, 0, 0, 0, NULL},
	    {"fe80::1%eth0", "fe80::1%eth0", 25, 0, 0, 0, NULL},
	    {"[2001:db8::1]", "2001:db8::1", 25, 0, 0, 0, NULL},
	    {"[2001:db8::1]:26", "2001:db8::1", 26, 0, 0, 0, NULL},
	    {"[IPv6:::1]:26", "::1", 26, 0, 0, 0, NULL},
	    {"[mail.example.org]:26", "mail.example.org", 26, 0, 0, 0, NULL},
	    {"joe@mx.example", "mx.example", 25, TLS_STARTTLS, 1, 0, "joe"},
	    {"smtp://a.example", "a.example", 25, TLS_MAY, 0, 0, NULL},
	    {"SMTP://a.example/", "a.example", 25, TLS_MAY, 0, 0, NULL},
	    {"smtp+tls://a:99", "a", 99, TLS_STARTTLS, 1, 0, NULL},
	    {"smtp+notls://a", "a", 25, TLS_NONE, 0, 0, NULL},
	    {"smtps://a", "a", 465, TLS_IMPLICIT, 1, 0, NULL},
	    {"smtps://u@x.y@a:1", "a", 1, TLS_IMPLICIT, 1, 0, "u@x.y"},
	    {"lmtp://[::1]", "::1", 24, TLS_MAY, 0, PROTOCOL_LMTP, NULL},
	    {"lmtp:///run/l", "/run/l", 0, TLS_NONE, 0, PROTOCOL_LMTP, NULL},
	};
	char text[200];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		const struct conf_relay *r;
		struct conf *c;

		snprintf(text, sizeof(text), "SMARTHOST %s", cases[i].text);
		c = parse(text);
		assert_int_equal(c->nrelays, 1);
		r = &c->relays[0];
		assert_string_equal(r->host, cases[i].host);
		assert_int_equal(r->port, cases[i].port);
		assert_int_equal(r->tls, cases[i].tls);
		assert_int_equal(r->verify, cases[i].verify);
		assert_int_equal(r->protocol, cases[i].protocol);
		if (cases[i].user == NULL)
			assert_null(r->user);
		else
			assert_string_equal(r->user, cases[i].user);
		conf_free(c);
	}
}

static void
test_relay_list(void **state)
{
	struct conf *c = parse("SMARTHOST a , smtps://b,c:7\nPORT 88\nLMTP\n");

	(void)state;
	assert_int_equal(c->nrelays, 3);
	assert_string_equal(c->relays[0].host, "a");
	assert_int_equal(c->relays[0].port, 88);
	assert_int_equal(c->relays[0].protocol, PROTOCOL_LMTP);
	assert_int_equal(c->relays[1].port, 88);
	assert_int_equal(c->relays[1].protocol, PROTOCOL_SMTP);
	assert_int_equal(c->relays[2].port, 7);
	conf_free(c);
	c = parse("SMARTHOST a\nLMTP\n");
	assert_int_equal(c->relays[0].port, 24);
	conf_free(c);
}

/* Facts 1.9 and 2a 11: no key may be without effect. */
static void
test_tls_L_58(void **state)
{
	static const struct {
		const char *keys;
		enum tls_mode tls;
		bool verify;
		/* the relay once it has a credential */
		enum tls_mode auth_tls;
		bool auth_verify;
	} cases[] = {
	    {"", TLS_MAY, false, TLS_STARTTLS, true},
	    {"INSECURE\n", TLS_MAY, false, TLS_MAY, false},
	    {"INSECURE\nSECURE\n", TLS_MAY, false, TLS_STARTTLS, true},
	    {"SECURETRANSFER\n", TLS_IMPLICIT, false, TLS_IMPLICIT, false},
	    {"SECURETRANSFER\nVERIFYCERT\n", TLS_IMPLICIT, true, TLS_IMPLICIT,
		true},
	    {"SECURETRANSFER\nOPPORTUNISTIC_TLS\n", TLS_IMPLICIT, false,
		TLS_IMPLICIT, false},
	    {"STARTTLS\nSECURETRANSFER\n", TLS_STARTTLS, false, TLS_STARTTLS,
		false},
	    {"SECURETRANSFER\nSTARTTLS\nOPPORTUNISTIC_TLS\n", TLS_MAY, false,
		TLS_MAY, false},
	    {"SECURETRANSFER\nSTARTTLS\nOPPORTUNISTIC_TLS\nVERIFYCERT\n",
		TLS_STARTTLS, true, TLS_STARTTLS, true},
	    {"SECURETRANSFER\nSTARTTLS\nOPPORTUNISTIC_TLS\nFINGERPRINT " HEX64
	     "\n",
		TLS_STARTTLS, false, TLS_STARTTLS, false},
	    {"STARTTLS\n", TLS_STARTTLS, false, TLS_STARTTLS, false},
	    {"VERIFYCERT\n", TLS_STARTTLS, true, TLS_STARTTLS, true},
	    {"FINGERPRINT " HEX64 "\n", TLS_STARTTLS, false, TLS_STARTTLS,
		false},
	};
	char text[400];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c;

		snprintf(text, sizeof(text), "%sSMARTHOST h\n", cases[i].keys);
		c = parse(text);
		assert_int_equal(c->tls, cases[i].tls);
		assert_int_equal(c->relays[0].tls, cases[i].tls);
		assert_int_equal(c->relays[0].verify, cases[i].verify);
		auth(c, "u|H:p\n");
		assert_int_equal(c->tls, cases[i].tls);
		assert_int_equal(c->relays[0].tls, cases[i].auth_tls);
		assert_int_equal(c->relays[0].verify, cases[i].auth_verify);
		conf_free(c);
	}
}

static void
test_tls_of_urls(void **state)
{
	static const struct {
		const char *text;
		enum tls_mode tls;
		bool verify;
	} cases[] = {
	    {"SMARTHOST smtp://h\nSECURETRANSFER\n", TLS_STARTTLS, true},
	    {"SMARTHOST smtp://h\nFINGERPRINT " HEX64, TLS_STARTTLS, false},
	    {"SMARTHOST smtps://h\nFINGERPRINT " HEX64, TLS_IMPLICIT, false},
	    {"SMARTHOST smtps://h\nSTARTTLS\n", TLS_IMPLICIT, true},
	    {"SMARTHOST smtps://h\nVERIFYCERT\nFINGERPRINT " HEX64,
		TLS_IMPLICIT, true},
	    {"SMARTHOST smtp://h\nINSECURE\n", TLS_MAY, false},
	    {"SMARTHOST smtp+notls://h\nINSECURE\n", TLS_NONE, false},
	};
	struct conf *c;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		c = parse(cases[i].text);
		auth(c, "u|h:p\n");
		assert_int_equal(c->relays[0].tls, cases[i].tls);
		assert_int_equal(c->relays[0].verify, cases[i].verify);
		conf_free(c);
	}
	c = parse("SMARTHOST smtp+notls://h\n");
	assert_int_equal(conf_parse_auth(c, "auth", "u|h:p\n", 6, &error), -1);
	assert_non_null(strstr(error.text, "would go unencrypted"));
	conf_free(c);
}

static void
test_auth_lines_L_54(void **state)
{
	static const struct {
		const char *line, *user, *host, *password;
	} cases[] = {
	    {"u|h:p", "u", "h", "p"},
	    {"u|h|p", "u", "h", "p"},
	    {"u|h p", "u", "h", "p"},
	    {"u|h\tp", "u", "h", "p"},
	    {"u|h:p\r\n", "u", "h", "p"},
	    {"u@x|h:a:b|c #d \303\251 ", "u@x", "h", "a:b|c #d \303\251 "},
	    {" u|h: p", " u", "h", " p"},
	    {"u|[::1]:p", "u", "::1", "p"},
	    {"# c\n\nu|h:p\n#x|y:z\n", "u", "h", "p"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c = parse("");

		auth(c, cases[i].line);
		assert_int_equal(c->nauths, 1);
		assert_string_equal(c->auths[0].user, cases[i].user);
		assert_string_equal(c->auths[0].host, cases[i].host);
		assert_string_equal(c->auths[0].password, cases[i].password);
		conf_free(c);
	}
}

static void
test_auth_refused(void **state)
{
	static const char *const lines[] = {"user host", "|h:p", "u|:p", "u|h",
	    "u|h:", "u|[::1]x", "u|[::1]", " # c"};
	char *text = xmalloc(CREDENTIAL_MAX + 10);
	struct conf *c = parse("");
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(lines); i++) {
		assert_int_equal(conf_parse_auth(c, "auth", lines[i],
				     strlen(lines[i]), &error),
		    -1);
		assert_memory_equal(error.text, "auth:1: ", 8);
	}
	assert_int_equal(conf_parse_auth(c, "auth", "u|h:\0p", 6, &error), -1);
	memset(text, 'p', CREDENTIAL_MAX + 10);
	memcpy(text, "u|h:", 4);
	assert_int_equal(
	    conf_parse_auth(c, "auth", text, CREDENTIAL_MAX + 5, &error), -1);
	assert_int_equal(c->nauths, 0);
	assert_int_equal(
	    conf_parse_auth(c, "auth", text, CREDENTIAL_MAX + 4, &error), 0);
	free(text);
	conf_free(c);
}

/* A secret must not turn up in an error. */
static void
test_auth_secret_kept(void **state)
{
	struct conf *c = parse("");
	const char *text = "u|h;hunter2\n";

	(void)state;
	assert_int_equal(
	    conf_parse_auth(c, "auth", text, strlen(text), &error), -1);
	assert_null(strstr(error.text, "hunter2"));
	conf_free(c);
}

static void
test_auth_for(void **state)
{
	struct conf *c =
	    parse("SMARTHOST H.Example, joe@h.example, x@h.example, "
		  "other\n");

	(void)state;
	auth(c, "joe|h.example:1\nann|h.EXAMPLE:2\njoe|h.example:3\n"
		"ann|h.example:4\n");
	assert_string_equal(conf_auth_for(c, &c->relays[0])->password, "4");
	assert_string_equal(conf_auth_for(c, &c->relays[1])->password, "3");
	assert_null(conf_auth_for(c, &c->relays[2]));
	assert_null(conf_auth_for(c, &c->relays[3]));
	assert_int_equal(c->relays[2].tls, TLS_STARTTLS);
	assert_int_equal(c->relays[3].tls, TLS_MAY);
	conf_free(c);
}

static void
test_masquerade(void **state)
{
	static const struct {
		const char *text, *user, *host;
	} cases[] = {
	    {"MASQUERADE h.example", NULL, "h.example"},
	    {"MASQUERADE u@", "u", NULL},
	    {"MASQUERADE @", NULL, NULL},
	    {"MASQUERADE u@h", "u", "h"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		struct conf *c = parse(cases[i].text);

		assert_true(
		    (cases[i].user == NULL) == (c->masquerade_user == NULL));
		assert_true(
		    (cases[i].host == NULL) == (c->masquerade_host == NULL));
		if (cases[i].user != NULL)
			assert_string_equal(c->masquerade_user, cases[i].user);
		if (cases[i].host != NULL)
			assert_string_equal(c->masquerade_host, cases[i].host);
		conf_free(c);
	}
}

static void
test_local_domains(void **state)
{
	struct conf *c = parse("MAILNAME Mail.Example\n");

	(void)state;
	assert_true(conf_domain_is_local(c, "mail.example"));
	assert_true(conf_domain_is_local(c, "LOCALHOST"));
	assert_true(conf_domain_is_local(c, c->hostname));
	assert_false(conf_domain_is_local(c, "example"));
	assert_false(conf_domain_is_local(c, "mail.example.org"));
	conf_free(c);
}

/* ---- Files ---- */

static char dir[] = "/tmp/conf-test-XXXXXX";

static const char *
write_file(const char *name, const char *text, mode_t mode)
{
	static char path[2][300];
	static unsigned turn;
	char *p = path[turn++ % 2];
	int fd;

	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	unlink(p);
	fd = open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd != -1);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	return p;
}

static struct conf *
load(const char *text, mode_t mode)
{
	error.text[0] = '\0';
	return conf_load(write_file("dma.conf", text, mode), true, &error);
}

static struct conf *
load_with(const char *key, const char *path)
{
	char text[400];

	snprintf(text, sizeof(text), "%s %s\n", key, path);
	return load(text, 0644);
}

static void
test_load(void **state)
{
	struct conf *c = load("PORT 99\nTIMEOUTS 5\n", 0644);

	(void)state;
	assert_non_null(c);
	assert_int_equal(c->port, 99);
	conf_free(c);
	assert_null(load("PORT 99\n", 0646));
	assert_non_null(strstr(error.text, "chmod o-w"));
	assert_null(conf_load(dir, false, &error));
	assert_non_null(strstr(error.text, "not a regular file"));
	assert_null(conf_load("/nonexistent/dma.conf", true, &error));
	assert_string_equal(
	    error.text, "/nonexistent/dma.conf: No such file or directory");
	c = conf_load("/nonexistent/dma.conf", false, &error);
	assert_non_null(c);
	conf_free(c);
}

static void
test_load_fifo_does_not_block(void **state)
{
	char path[300];

	(void)state;
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_null(conf_load(path, false, &error));
	assert_null(load_with("MAILNAME", path));
	unlink(path);
}

static void
test_load_foreign_owner_L_52(void **state)
{
	const char *path = write_file("foreign", "PORT 99\n", 0644);

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_null(conf_load(path, true, &error));
	assert_non_null(strstr(error.text, "belongs neither to root nor to"));
}

static void
test_load_mailname(void **state)
{
	struct conf *c;

	(void)state;
	c = load_with(
	    "MAILNAME", write_file("name", "a.example # x\nb\n", 0644));
	assert_non_null(c);
	assert_string_equal(c->mailname, "a.example");
	conf_free(c);
	c = load_with("MAILNAME", "/nonexistent/mailname");
	assert_non_null(c);
	assert_string_equal(c->mailname, c->hostname);
	conf_free(c);
	c = load_with("MAILNAME", write_file("name", "\n", 0644));
	assert_non_null(c);
	assert_string_equal(c->mailname, c->hostname);
	conf_free(c);
	assert_null(load_with("MAILNAME", write_file("name", "a@b\n", 0644)));
	assert_non_null(strstr(error.text, "/name:1: \"a@b\""));
}

static void
test_load_auth(void **state)
{
	struct conf *c;

	(void)state;
	c = load_with("AUTHPATH", write_file("auth", "u|h:p\n", 0640));
	assert_non_null(c);
	assert_int_equal(c->nauths, 1);
	conf_free(c);
	assert_null(load_with("AUTHPATH", write_file("auth", "u|h:p\n", 0644)));
	assert_non_null(strstr(error.text, "chmod o="));
	assert_null(load_with("AUTHPATH", write_file("auth", "\nu|h\n", 0600)));
	assert_non_null(strstr(error.text, "/auth:2: is not of the form"));
	assert_null(load_with("AUTHPATH", "/nonexistent/auth"));
	assert_non_null(strstr(error.text, "(AUTHPATH in dma.conf)"));
}

/* ---- The shipped files ---- */

/* They lie two directories above this file's source, or where we are told. */
static char *
shipped(const char *name)
{
	const char *source = getenv("SRCDIR");
	char path[1000];
	char *text;
	size_t len;

	if (source == NULL)
		snprintf(path, sizeof(path), "%.*s../../%s",
		    (int)(strrchr(__FILE__, '/') + 1 - __FILE__), __FILE__,
		    name);
	else
		snprintf(path, sizeof(path), "%s/%s", source, name);
	if (read_file(path, CONF_FILE_MAX, &text, &len, NULL) == -1)
		fail_msg("cannot read %s", path);
	return text;
}

/*
 * Make every example of the shipped file live: "#KEY value".  each() gets
 * one line at a time, NUL-ended.
 */
static size_t
each_example(char *text, void (*each)(void *arg, const char *line), void *arg)
{
	char *line;
	size_t n = 0;

	while ((line = strsep(&text, "\n")) != NULL)
		if (line[0] == '#' && line[1] >= 'A' && line[1] <= 'Z') {
			each(arg, line + 1);
			n++;
		}
	return n;
}

struct examples {
	char all[8192];
	bool seen[64];
};

static void
take_example(void *arg, const char *line)
{
	struct examples *x = arg;
	size_t i, len = strcspn(line, " ");
	char alone[600];
	struct conf *c;

	/* Alone, but for the relay that NULLCLIENT wants. */
	snprintf(alone, sizeof(alone), "SMARTHOST r\n%s", line);
	c = parse_as(alone, true);
	if (c == NULL)
		fail_msg("%s", error.text);
	conf_free(c);
	assert_true(strlen(x->all) + strlen(line) + 2 < sizeof(x->all));
	strncat(x->all, line, sizeof(x->all) - strlen(x->all) - 1);
	strncat(x->all, "\n", sizeof(x->all) - strlen(x->all) - 1);
	for (i = 0; conf_keys[i] != NULL; i++)
		if (strlen(conf_keys[i]) == len &&
		    strncmp(conf_keys[i], line, len) == 0)
			x->seen[i] = true;
}

static void
test_shipped_conf(void **state)
{
	struct examples x = {0};
	char *text = shipped("dma.conf");
	struct conf *c;
	size_t i;

	(void)state;
	c = parse(text); /* as shipped: all defaults */
	assert_int_equal(c->nrelays, 0);
	conf_free(c);
	each_example(text, take_example, &x);
	free(text);
	for (i = 0; conf_keys[i] != NULL; i++)
		if (!x.seen[i])
			fail_msg("dma.conf does not explain %s", conf_keys[i]);
	c = parse_as(x.all, true);
	if (c == NULL)
		fail_msg("%s", error.text);
	assert_true(c->nrelays > 0);
	conf_free(c);
}

static void
test_shipped_auth(void **state)
{
	char *text = shipped("auth.conf"), *rest = text, *line;
	struct conf *c = parse("");
	size_t n = 0;

	(void)state;
	auth(c, text);
	assert_int_equal(c->nauths, 0);
	while ((line = strsep(&rest, "\n")) != NULL)
		if (line[0] == '#' && line[1] == 'u') {
			auth(c, line + 1);
			n++;
		}
	assert_true(n > 0);
	assert_int_equal(c->nauths, n);
	free(text);
	conf_free(c);
}

static int
make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int
remove_dir(void **state)
{
	static const char *const names[] = {
	    "dma.conf", "foreign", "name", "auth", "fifo"};
	char path[300];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

static void
refused(const char *text, const char *word)
{
	assert_null(parse_as(text, false));
	assert_non_null(strstr(error.text, word));
}

static void
test_localnames(void **state)
{
	struct conf *c = parse("MAILNAME mail.example.org\n");

	(void)state;
	assert_true(conf_domain_is_local(c, "Mail.Example.org"));
	assert_true(conf_domain_is_local(c, "LOCALHOST"));
	conf_free(c);
	c = parse("MAILNAME mail.example.org\nLOCALNAMES a.org, *.b.org\n");
	assert_false(conf_domain_is_local(c, "mail.example.org"));
	assert_true(conf_domain_is_local(c, "localhost"));
	assert_true(conf_domain_is_local(c, "A.ORG"));
	assert_false(conf_domain_is_local(c, "x.a.org"));
	assert_true(conf_domain_is_local(c, "x.y.B.org"));
	assert_false(conf_domain_is_local(c, "b.org"));
	assert_false(conf_domain_is_local(c, "xb.org"));
	conf_free(c);
	refused("LOCALNAMES a_b..c", "LOCALNAMES");
	refused("LOCALNAMES **.a", "LOCALNAMES");
}

static void
test_relay_from(void **state)
{
	struct conf *c = parse("RELAY_FROM 192.0.2.0/25 2001:db8::/33, "
			       "198.51.100.7\n");
	const unsigned char four[][4] = {{192, 0, 2, 127}, {192, 0, 2, 128},
	    {198, 51, 100, 7}, {198, 51, 100, 6}};
	unsigned char six[16] = {0x20, 0x01, 0x0d, 0xb8, 0x7f};

	(void)state;
	assert_true(conf_relays_from(c, AF_INET, four[0]));
	assert_false(conf_relays_from(c, AF_INET, four[1]));
	assert_true(conf_relays_from(c, AF_INET, four[2]));
	assert_false(conf_relays_from(c, AF_INET, four[3]));
	assert_true(conf_relays_from(c, AF_INET6, six));
	six[4] = 0x80;
	assert_false(conf_relays_from(c, AF_INET6, six));
	assert_false(conf_relays_from(c, AF_INET, six));
	conf_free(c);
	c = parse("RELAY_FROM 0.0.0.0/0\n");
	assert_true(conf_relays_from(c, AF_INET, four[3]));
	assert_false(conf_relays_from(c, AF_INET6, six));
	conf_free(c);
	refused("RELAY_FROM here", "RELAY_FROM");
	refused("RELAY_FROM 192.0.2.0/33", "RELAY_FROM");
	refused("RELAY_FROM 192.0.2.0/", "RELAY_FROM");
}

static void
test_rewriting_keys(void **state)
{
	struct conf *c = parse("");

	(void)state;
	assert_false(c->localonly || c->from_envelope);
	assert_null(c->senders);
	assert_string_equal(c->submit_socket, DMA_SUBMIT_SOCKET);
	assert_int_equal(c->warn, 4 * 3600);
	conf_free(c);
	c = parse("LOCALONLY\nHEADERS from=envelope\nSENDERS /s\nWARN 0\n"
		  "SUBMIT_SOCKET /x\n");
	assert_true(c->localonly && c->from_envelope);
	assert_string_equal(c->senders, "/s");
	assert_string_equal(c->submit_socket, "/x");
	assert_int_equal(c->warn, 0);
	conf_free(c);
	refused("HEADERS to=envelope", "HEADERS");
	refused("LIFETIME 0", "LIFETIME");
}

static void
write_conf(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

/* What dma-become reads is what dma reads. */
static void
test_root_keys(void **state)
{
	static const char *const texts[] = {
	    "",
	    "# x\nALIASES /a\n",
	    "\xef\xbb\xbf"
	    "ALIASES /a\r\nMAILBOX ~/M/\r\nALIASUSER daemon\r\n",
	    "  ALIASES\t/a  \n MAILBOX  |/bin/a 'b c'  # no\n",
	    "ALIASES /a#b\nMAILBOX ~/a#b\nALIASUSER daemon # me\n",
	    "MAILBOX ~/a\nMAILBOX ~/b\nALIASES /a\nALIASES /b",
	    "MAILBOXES",
	    "#MAILBOX ~/a\n",
	};
	const char *const keys[] = {"ALIASES", "MAILBOX", "ALIASUSER", NULL};
	char path[] = "/tmp/unit-conf.XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	for (size_t i = 0; i < ARRAY_LEN(texts) && geteuid() == 0; i++) {
		char *values[] = {
		    xstrdup(DMA_ALIASES), NULL, xstrdup(DMA_ALIASUSER)};
		struct conf *c = parse_as(texts[i], false);

		write_conf(path, texts[i], 0640);
		assert_int_equal(conf_root(path, keys, values), 0);
		if (c != NULL) {
			assert_string_equal(values[0], c->aliases);
			assert_string_equal(values[2], c->aliasuser);
			assert_int_equal(values[1] == NULL, c->mailbox == NULL);
			if (values[1] != NULL)
				assert_string_equal(values[1], c->mailbox);
		} else
			assert_null(values[1]); /* "MAILBOXES" */
		for (size_t k = 0; k < ARRAY_LEN(values); k++)
			free(values[k]);
		conf_free(c);
	}
	(void)unlink(path);
}

static void
test_root_keys_of_others(void **state)
{
	static const mode_t modes[] = {0660, 0602, 0666};
	const char *const keys[] = {"MAILBOX", NULL};
	char path[] = "/tmp/unit-conf.XXXXXX", *value = NULL;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	(void)close(fd);
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		write_conf(path, "MAILBOX |/bin/a\n", modes[i]);
		assert_int_equal(conf_root(path, keys, &value), -1);
	}
	if (geteuid() == 0)
		assert_int_equal(chown(path, 1, (gid_t)-1), 0);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(conf_root(path, keys, &value), -1);
	assert_null(value);
	(void)unlink(path);
	assert_int_equal(conf_root(path, keys, &value), 0);
	assert_null(value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_mailbox_of_a_private_instance),
	    cmocka_unit_test(test_mailboxes),
	    cmocka_unit_test(test_aliasuser),
	    cmocka_unit_test(test_every_key),
	    cmocka_unit_test(test_lines_forgiven),
	    cmocka_unit_test(test_comments),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_bytes_refused),
	    cmocka_unit_test(test_relays),
	    cmocka_unit_test(test_relay_list),
	    cmocka_unit_test(test_tls_L_58),
	    cmocka_unit_test(test_tls_of_urls),
	    cmocka_unit_test(test_auth_lines_L_54),
	    cmocka_unit_test(test_auth_refused),
	    cmocka_unit_test(test_auth_secret_kept),
	    cmocka_unit_test(test_auth_for),
	    cmocka_unit_test(test_masquerade),
	    cmocka_unit_test(test_local_domains),
	    cmocka_unit_test(test_load),
	    cmocka_unit_test(test_load_fifo_does_not_block),
	    cmocka_unit_test(test_load_foreign_owner_L_52),
	    cmocka_unit_test(test_load_mailname),
	    cmocka_unit_test(test_load_auth),
	    cmocka_unit_test(test_localnames),
	    cmocka_unit_test(test_relay_from),
	    cmocka_unit_test(test_rewriting_keys),
	    cmocka_unit_test(test_shipped_conf),
	    cmocka_unit_test(test_shipped_auth),
	    cmocka_unit_test(test_root_keys),
	    cmocka_unit_test(test_root_keys_of_others),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
