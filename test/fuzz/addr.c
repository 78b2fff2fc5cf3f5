/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * addr.c - any text as an address and as a list of them: what is taken is
 * within RFC 5321, has no control byte, and comes back as it is when it is
 * parsed, made or quoted again.
 */
#include "fuzz.h"

#include "addr.h"

static void
check_text(const struct addr *a)
{
	size_t len = strlen(a->text), left = len, n;

	need(len <= ADDR_MAX && a->at <= len, "length");
	for (const char *p = a->text; left > 0; p += n, left -= n) {
		need(!ascii_iscntrl((unsigned char)*p), "a control byte");
		need((n = addr_utf8_len(p, left)) > 0, "UTF-8");
	}
	need(a->text[a->at] == '@' || a->at == len, "where the '@' is");
}

/* Its parts make it again, whatever was taken away from it. */
static void
check_parts(const struct addr *a)
{
	const char *domain = addr_domain(a), *why = NULL;
	char local[ADDR_LOCAL_MAX + 1], xtext[3 * ADDR_MAX + 1];
	struct addr again, qualified = *a;

	need(a->at > 0 && a->at <= ADDR_LOCAL_MAX, "local part");
	need(addr_local(a, local, sizeof(local)) == 0, "the mailbox's name");
	need(addr_make(&again, local, domain, &why) == 0 &&
		 strcmp(again.text, a->text) == 0 && again.at == a->at,
	    "made again");
	if (domain != NULL)
		need(strlen(domain) <= ADDR_DOMAIN_MAX &&
			 (domain[0] == '[' || addr_domain_valid_utf8(domain)),
		    "domain");
	need((domain == NULL) == addr_is_bare(a), "bare");
	if (addr_qualify(&qualified, "h.example", &why) == 0)
		need(addr_domain(&qualified) != NULL, "qualified");
	need(addr_xtext(a->text, xtext, sizeof(xtext)) == 0, "xtext");
	need_printable(xtext, "xtext");
	need(strpbrk(xtext, " =") == NULL, "a byte that xtext has not");
}

static void
check(const struct addr *a)
{
	struct addr again;
	const char *why;

	check_text(a);
	need(addr_parse(&again, a->text, true, &why) == 0 &&
		 strcmp(again.text, a->text) == 0 && again.at == a->at,
	    "parsed again");
	need(addr_equal(a, &again), "equal to itself");
	if (!addr_is_null(a))
		check_parts(a);
}

struct list {
	const char *text;
	size_t len, after, count;
};

static int
each(void *arg, const struct addr *a, size_t start, size_t end)
{
	struct list *l = arg;

	need(!addr_is_null(a) && start >= l->after && start < end &&
		 end <= l->len,
	    "where it stands");
	l->after = end;
	check(a);
	return ++l->count > 1000;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of(data, size);
	struct list l = {.text = text, .len = strlen(text)};
	struct addr a, untouched;
	const char *why = NULL;
	int result;

	memset(&a, 0x5a, sizeof(a));
	untouched = a;
	if ((result = addr_parse(&a, text, true, &why)) == 0)
		check(&a);
	else
		need(memcmp(&a, &untouched, sizeof(a)) == 0, "untouched");
	need_reason(result, why);
	why = NULL;
	result = addr_parse_list(text, l.len, each, &l, &why);
	need(result == 0 || why != NULL || l.count > 1000, "a reason");
	need(addr_domain_valid_utf8(text) || !addr_domain_valid(text),
	    "a host name");
	free(text);
	return 0;
}
