/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_envelope.c - whom one envelope asks for, and the words of RSET, MAIL,
 *                   RCPT and DATA with the parameters that a server offers
 *                   (RFC 5321, 1870, 6152, 6531, 3461).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its job's types. Distrusts: what the server can take.
 * Promises:  a parameter is only used where EHLO offered it; a recipient that
 *            cannot be asked for here is left to the next address.
 */
#include "smtp_session.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "envelope.h"
#include "idn.h"
#include "util.h"

/* ---- Words ---- */

static bool
is_ascii(const char *s)
{
	while (*s != '\0' && (unsigned char)*s < 0x80)
		s++;
	return *s == '\0';
}

/*
 * An address as commands have it: its domain in A-labels.  True if it then
 * is in ASCII; else it needs SMTPUTF8, and goes as it is.
 */
static bool
make_wire_address(const char *address, char dst[ADDR_MAX + 1])
{
	const char *at = strrchr(address, '@');
	char domain[ADDR_DOMAIN_MAX + 1];
	int len;

	(void)compat_strlcpy(dst, address, ADDR_MAX + 1);
	if (is_ascii(address))
		return true;
	if (at == NULL || idn_to_ascii(at + 1, domain, sizeof(domain)) == -1)
		return false;
	len = (int)(at + 1 - address);
	if (len + (int)strlen(domain) > ADDR_MAX)
		return false;
	(void)snprintf(dst, ADDR_MAX + 1, "%.*s%s", len, address, domain);
	return is_ascii(dst);
}

static bool
needs_utf8(const char *address)
{
	char wire[ADDR_MAX + 1];

	return !make_wire_address(address, wire);
}

static bool
group_needs_utf8(const struct smtp_group *g)
{
	const struct job *j = &g->task->job;

	for (size_t n = 0; n < g->count; n++)
		if (needs_utf8(j->recipients[g->index[n]].addr))
			return true;
	return needs_utf8(j->sender);
}

static void
add_path(struct buf *line, const char *command, const char *address)
{
	char wire[ADDR_MAX + 1];

	(void)make_wire_address(address, wire);
	(void)buf_printf(line, "%s:<%s>", command, wire);
}

/* ENVID goes as xtext; what is xtext already is not coded twice. */
static void
add_envid(struct buf *line, const char *envid)
{
	char text[3 * ENVID_MAX + 1];
	const char *p;

	if (envid == NULL || envid[0] == '\0')
		return;
	for (p = envid; *p > ' ' && *p < 0x7f && *p != '='; p++)
		;
	if (*p == '\0')
		(void)buf_printf(line, " ENVID=%s", envid);
	else if (addr_xtext(envid, text, sizeof(text)) == 0)
		(void)buf_printf(line, " ENVID=%s", text);
}

static void
build_mail(struct smtp_session *s, struct smtp_group *g)
{
	const struct smtp_features *f = &s->features;
	const struct job *j = &g->task->job;
	const struct mime_report *text = smtp_text(s, g->task);
	struct buf *line = &s->line;

	add_path(line, "MAIL FROM", j->sender);
	size_t bare = line->len;
	if (f->smtputf8 && group_needs_utf8(g))
		(void)buf_puts(line, " SMTPUTF8");
	if (!s->no_params) {
		if (f->size)
			(void)buf_printf(line, " SIZE=%" PRIu64, text->size);
		if (f->eightbit && text->eightbit)
			(void)buf_puts(line, " BODY=8BITMIME");
		if (f->dsn && j->ret != RET_DEFAULT)
			(void)buf_printf(line, " RET=%s",
			    j->ret == RET_FULL ? "FULL" : "HDRS");
		if (f->dsn)
			add_envid(line, j->envid);
	}
	g->params = line->len > bare;
}

static void
add_notify(struct buf *line, unsigned notify)
{
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {{NOTIFY_NEVER, "NEVER"}, {NOTIFY_SUCCESS, "SUCCESS"},
	    {NOTIFY_FAILURE, "FAILURE"}, {NOTIFY_DELAY, "DELAY"}};
	const char *before = " NOTIFY=";

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if ((notify & names[i].bit) == 0)
			continue;
		(void)buf_printf(line, "%s%s", before, names[i].name);
		if (names[i].bit == NOTIFY_NEVER)
			return;
		before = ",";
	}
}

/* As it was given, or the address that an alias led from (RFC 3461, 5.2.1). */
static void
add_orcpt(struct buf *line, const struct job_recipient *r)
{
	char text[ORCPT_MAX - sizeof("rfc822;") + 1];

	if (r->orcpt != NULL && r->orcpt[0] != '\0')
		(void)buf_printf(line, " ORCPT=%s", r->orcpt);
	else if (r->orig != NULL && strchr(r->orig, '@') != NULL &&
		 is_ascii(r->orig) &&
		 addr_xtext(r->orig, text, sizeof(text)) == 0)
		(void)buf_printf(line, " ORCPT=rfc822;%s", text);
}

static void
build_rcpt(struct smtp_session *s, const struct job_recipient *r)
{
	add_path(&s->line, "RCPT TO", r->addr);
	if (!s->features.dsn || s->no_params)
		return;
	add_notify(&s->line, r->notify);
	add_orcpt(&s->line, r);
}

/* A server without DSN leaves it to us, but LMTP's word is the last. */
enum outcome_notice
smtp_notice(const struct smtp_session *s)
{
	if (s->features.dsn && !s->no_params)
		return NOTICE_PASSED_ON;
	return smtp_is_lmtp(s) ? NOTICE_DELIVERED : NOTICE_RELAYED;
}

const char *
smtp_build_command(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, size_t n)
{
	buf_reset(&s->line);
	if (stage == STAGE_MAIL)
		build_mail(s, g);
	else if (stage == STAGE_RCPT)
		build_rcpt(s, &g->task->job.recipients[g->index[n]]);
	else
		(void)buf_puts(&s->line, stage == STAGE_RSET ? "RSET" : "DATA");
	return buf_str(&s->line);
}

static int
put_command(struct smtp_session *s, struct smtp_group *g, enum smtp_stage stage,
    size_t n)
{
	return smtp_put_line(
	    s, smtp_build_command(s, g, stage, n), SMTP_COMMAND_MAX, NULL);
}

int
smtp_group_put(struct smtp_session *s, struct smtp_group *g)
{
	g->written = true;
	if (g->rset && put_command(s, g, STAGE_RSET, 0) == -1)
		return -1;
	if (put_command(s, g, STAGE_MAIL, 0) == -1)
		return -1;
	for (size_t n = 0; n < g->count; n++)
		if (put_command(s, g, STAGE_RCPT, n) == -1)
			return -1;
	return put_command(s, g, STAGE_DATA, 0);
}

/* ---- Which recipients, and may this server have the message at all ---- */

/* Why recipient i cannot be asked for here, with its DSN; or NULL. */
static const char *
obstacle(
    struct smtp_session *s, struct smtp_task *t, size_t i, const char **dsn)
{
	const struct job_recipient *r = &t->job.recipients[i];

	*dsn = "5.3.4";
	if (s->features.size_limit > 0 &&
	    smtp_text(s, t)->size > s->features.size_limit)
		return "the message is larger than this server takes";
	*dsn = "5.6.7";
	if (!s->features.smtputf8 &&
	    (needs_utf8(r->addr) || needs_utf8(t->job.sender)))
		return "the server does not take internationalized addresses";
	*dsn = "4.3.0";
	buf_reset(&s->line);
	build_rcpt(s, r);
	if (!smtp_line_ok(t->job.sender, ADDR_MAX) ||
	    !smtp_line_ok(buf_str(&s->line), SMTP_COMMAND_MAX))
		return "an address of its envelope may not be sent";
	return NULL;
}

/* Ask for recipient i, or say why not and leave it to the next address. */
static bool
take_recipient(struct smtp_session *s, struct smtp_task *t, size_t i)
{
	struct outcome o = {0};
	const char *dsn, *why = obstacle(s, t, i, &dsn);

	if (why == NULL) {
		t->recipients[i].state = RCPT_ASKED;
		return true;
	}
	smtp_outcome_text(
	    s, &o, dsn[0] == '5' ? OUTCOME_FAIL : OUTCOME_DEFER, dsn, why);
	smtp_task_note(t, i, &o);
	t->recipients[i].state = RCPT_NEXT;
	return false;
}

bool
smtp_group_gather(
    struct smtp_session *s, struct smtp_group *g, struct smtp_task *t)
{
	memset(g, 0, sizeof(*g));
	for (size_t i = 0;
	     i < t->job.nrecipients && g->count < ARRAY_LEN(g->index); i++)
		if (t->recipients[i].state == RCPT_WAITING &&
		    take_recipient(s, t, i))
			g->index[g->count++] = i;
	if (g->count == 0)
		return false;
	g->task = t;
	g->rset = s->need_rset;
	s->need_rset = false;
	return true;
}
