/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtp_command.c - the words of RSET, MAIL, RCPT and DATA with the parameters
 *                  that a server offers (RFC 5321, 1870, 6152, 6531, 3461).
 *
 * Runs in:   dma-smtp. No files, no globals.
 * Trusts:    its job's types. Distrusts: nothing it reads here.
 * Promises:  a parameter is only used where EHLO offered it; smtp_put_line()
 *            looks at every line once more.
 */
#include "smtp_session.h"

#include <inttypes.h>

#include "envelope.h"
#include "util.h"

bool
smtp_needs_utf8(const char *address)
{
	for (; *address != '\0'; address++)
		if ((unsigned char)*address >= 0x80)
			return true;
	return false;
}

static bool
group_needs_utf8(const struct smtp_group *g)
{
	const struct job *j = &g->task->job;
	size_t n;

	for (n = 0; n < g->count; n++)
		if (smtp_needs_utf8(j->recipients[g->index[n]].addr))
			return true;
	return smtp_needs_utf8(j->sender);
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
	struct buf *line = &s->line;
	size_t bare;

	buf_reset(line);
	(void)buf_printf(line, "MAIL FROM:<%s>", j->sender);
	bare = line->len;
	if (f->smtputf8 && group_needs_utf8(g))
		(void)buf_puts(line, " SMTPUTF8");
	if (!s->no_params) {
		if (f->size)
			(void)buf_printf(line, " SIZE=%" PRIu64, j->length);
		if (f->eightbit && (j->flags & MESSAGE_8BIT) != 0)
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
	const char *comma = "";
	size_t i;
	static const struct {
		unsigned bit;
		const char *name;
	} names[] = {{NOTIFY_SUCCESS, "SUCCESS"}, {NOTIFY_FAILURE, "FAILURE"},
	    {NOTIFY_DELAY, "DELAY"}};

	if (notify == 0)
		return;
	(void)buf_puts(line, " NOTIFY=");
	if ((notify & NOTIFY_NEVER) != 0) {
		(void)buf_puts(line, "NEVER");
		return;
	}
	for (i = 0; i < ARRAY_LEN(names); i++) {
		if ((notify & names[i].bit) == 0)
			continue;
		(void)buf_printf(line, "%s%s", comma, names[i].name);
		comma = ",";
	}
}

void
smtp_build_rcpt(struct smtp_session *s, const struct job_recipient *r)
{
	buf_reset(&s->line);
	(void)buf_printf(&s->line, "RCPT TO:<%s>", r->addr);
	if (!s->features.dsn || s->no_params)
		return;
	add_notify(&s->line, r->notify);
	if (r->orcpt != NULL && r->orcpt[0] != '\0')
		(void)buf_printf(&s->line, " ORCPT=%s", r->orcpt);
}

void
smtp_build_command(struct smtp_session *s, struct smtp_group *g,
    enum smtp_stage stage, size_t n)
{
	buf_reset(&s->line);
	switch (stage) {
	case STAGE_RSET:
		(void)buf_puts(&s->line, "RSET");
		break;
	case STAGE_MAIL:
		build_mail(s, g);
		break;
	case STAGE_RCPT:
		smtp_build_rcpt(s, &g->task->job.recipients[g->index[n]]);
		break;
	default:
		(void)buf_puts(&s->line, "DATA");
		break;
	}
}
