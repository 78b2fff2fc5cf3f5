/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * select.c - which messages are meant: by id, recipient, sender, age.
 *
 * Runs in:   dma, for -q and for dmactl.
 * Trusts:    decoded envelopes. Distrusts: the text of conditions.
 * Promises:  pure; a condition that does not parse selects nothing.
 */
#include "select.h"

#include <stdlib.h>
#include <string.h>

#include "util.h"

int
select_add(struct selection *s, enum select_what what, enum select_how how,
    bool negated, const char *text, const char **why)
{
	struct condition c = {
	    .what = what, .how = how, .negated = negated, .text = text};
	bool address = how == SELECT_WHOLE && what != SELECT_ID;

	*why = "is empty";
	if (text[0] == '\0' && !(address && what == SELECT_SENDER))
		return -1;
	if (address && text[0] == '@') {
		*why = "is no domain";
		if (!addr_domain_valid_utf8(text + 1))
			return -1;
	} else if (address &&
		   addr_parse(&c.addr, text, what == SELECT_SENDER, why) != 0) {
		return -1;
	}
	s->list = xreallocarray(s->list, s->count + 1, sizeof(*s->list));
	s->list[s->count++] = c;
	return 0;
}

void
select_free(struct selection *s)
{
	free(s->list);
	memset(s, 0, sizeof(*s));
}

static bool
address_matches(const struct condition *c, const struct addr *a)
{
	const char *domain = addr_domain(a);

	if (c->how == SELECT_PART)
		return strcasestr(a->text, c->text) != NULL;
	if (c->text[0] == '@')
		return domain != NULL &&
		       ascii_strcasecmp(domain, c->text + 1) == 0;
	return addr_equal(a, &c->addr);
}

static bool
any_recipient(const struct condition *c, const struct envelope *e)
{
	for (size_t i = 0; i < e->nrecipients; i++) {
		const struct recipient *r = &e->recipients[i];

		if ((recipient_open(r) || recipient_owed(r)) &&
		    address_matches(c, &r->addr))
			return true;
	}
	return false;
}

static bool
id_matches(const struct condition *c, const char *id)
{
	return c->how == SELECT_PART ? strcasestr(id, c->text) != NULL
				     : strcmp(id, c->text) == 0;
}

/* Do the conditions of one kind hold?  e is NULL where only the id is known. */
static bool
kind_holds(const struct selection *s, enum select_what what, const char *id,
    const struct envelope *e)
{
	bool wanted = false, found = false;

	for (size_t i = 0; i < s->count; i++) {
		const struct condition *c = &s->list[i];
		bool hit;

		if (c->what != what)
			continue;
		if (what == SELECT_ID)
			hit = id_matches(c, id);
		else if (what == SELECT_SENDER)
			hit = address_matches(c, &e->sender);
		else
			hit = any_recipient(c, e);
		if (hit && c->negated)
			return false;
		wanted = wanted || !c->negated;
		found = found || hit;
	}
	return found || !wanted;
}

bool
select_id(const struct selection *s, const char *id)
{
	return kind_holds(s, SELECT_ID, id, NULL);
}

bool
select_matches(const struct selection *s, const struct envelope *e, int64_t now)
{
	/* Without an age, a clock that was set back rules nothing out. */
	return (s->older == 0 || now - e->arrival >= s->older) &&
	       select_id(s, e->id) && kind_holds(s, SELECT_SENDER, e->id, e) &&
	       kind_holds(s, SELECT_RECIPIENT, e->id, e);
}
