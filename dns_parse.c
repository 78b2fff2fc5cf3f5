/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns_parse.c - what a DNS answer says (RFC 1035, 4; RFC 3596, 7505).
 *
 * Runs in:   dma-smtp. Pure: reads the answer, asks nobody.
 * Trusts:    nothing. Distrusts: every byte of an answer.
 * Promises:  NO_NAME, NO_DATA and NULL_MX are said only when a well-formed
 *            answer to our question says so; no record of an answer that is
 *            truncated or malformed is ever given.
 */
#include "dns_parts.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <string.h>

#include "addr.h"
#include "util.h"

#define NAME_STEPS_MAX 128 /* labels and pointers of one name */
#define HEADER_LEN     12  /* RFC 1035, 4.1.1 */

/* ---- Answers: a cursor that cannot leave the bytes that came ---- */

struct answer {
	const unsigned char *msg;
	size_t len;
	size_t first;   /* where the answer section begins */
	unsigned count; /* records in it */
	size_t at;      /* the next one, and how many from there */
	unsigned left;
};

struct record {
	char owner[DNS_NAME_SIZE];
	unsigned type, class;
	size_t data, len; /* RDATA, known to lie in the message */
};

static unsigned
get16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/*
 * Append one label to a name as text.  Bytes that no host name has become
 * '?', so that the name equals no name we asked for and is no valid host.
 */
static int
append_label(char *name, size_t *used, const unsigned char *label, size_t len)
{
	if (*used + (*used > 0) + len > ADDR_DOMAIN_MAX)
		return -1;
	if (*used > 0)
		name[(*used)++] = '.';
	for (size_t i = 0; i < len; i++) {
		int c = label[i];
		bool plain = ascii_isalnum(c) || c == '-' || c == '_';
		name[(*used)++] = (char)(plain ? c : '?');
	}
	return 0;
}

/*
 * Expand the name at *at (RFC 1035, 4.1.4); *at moves behind it.  A pointer
 * may only lead to before where its own part of the name began: every step
 * goes backwards, and none comes again.  The root is "".
 */
static int
read_name(const struct answer *a, size_t *at, char name[DNS_NAME_SIZE])
{
	size_t pos = *at, lowest = *at, used = 0;
	bool jumped = false;

	for (unsigned step = 0; step < NAME_STEPS_MAX; step++) {
		if (pos >= a->len)
			return -1;
		size_t len = a->msg[pos];
		if ((len & 0xc0) == 0xc0) {
			if (pos + 2 > a->len)
				return -1;
			if (!jumped)
				*at = pos + 2;
			jumped = true;
			pos = get16(a->msg + pos) & 0x3fff;
			if (pos >= lowest)
				return -1;
			lowest = pos;
			continue;
		}
		if (len > ADDR_LABEL_MAX || pos + 1 + len > a->len)
			return -1;
		pos += 1 + len;
		if (len == 0) {
			name[used] = '\0';
			if (!jumped)
				*at = pos;
			return 0;
		}
		if (append_label(name, &used, a->msg + pos - len, len) == -1)
			return -1;
	}
	return -1;
}

static int
read_record(const struct answer *a, size_t *at, struct record *r)
{
	if (read_name(a, at, r->owner) == -1 || a->len - *at < 10)
		return -1;
	const unsigned char *p = a->msg + *at;
	r->type = get16(p);
	r->class = get16(p + 2);
	r->len = get16(p + 8);
	r->data = *at + 10;
	if (r->len > a->len - r->data)
		return -1;
	*at = r->data + r->len;
	return 0;
}

bool
dns_same_name(const char *a, const char *b)
{
	size_t len = strlen(a), other = strlen(b);

	if (len > 0 && a[len - 1] == '.')
		len--;
	if (other > 0 && b[other - 1] == '.')
		other--;
	return len == other && ascii_strncasecmp(a, b, len) == 0;
}

/* One question, ours; then the answer section is next. */
static int
read_question(struct answer *a, const char *name, unsigned type)
{
	char asked[DNS_NAME_SIZE];
	size_t at = HEADER_LEN;

	if (get16(a->msg + 4) != 1 || read_name(a, &at, asked) == -1 ||
	    a->len - at < 4)
		return -1;
	if (!dns_same_name(asked, name) || get16(a->msg + at) != type ||
	    get16(a->msg + at + 2) != ns_c_in)
		return -1;
	a->first = at + 4;
	return 0;
}

static void
rewind_records(struct answer *a)
{
	a->at = a->first;
	a->left = a->count;
}

/* Every record once, so that all later walks cannot fail. */
static int
check_records(struct answer *a)
{
	struct record r;

	for (rewind_records(a); a->left > 0; a->left--)
		if (read_record(a, &a->at, &r) == -1)
			return -1;
	rewind_records(a);
	return 0;
}

/* The next record of that owner and type, if there is one. */
static bool
next_record(
    struct answer *a, const char *owner, unsigned type, struct record *r)
{
	while (a->left > 0) {
		a->left--;
		if (read_record(a, &a->at, r) == 0 && r->type == type &&
		    r->class == ns_c_in && dns_same_name(r->owner, owner))
			return true;
	}
	return false;
}

static unsigned
response_code(const struct answer *a)
{
	return get16(a->msg + 2) & 0xf;
}

/* What the header says of the whole; len is HEADER_LEN at least. */
static enum dns_reply
judge_header(const struct answer *a)
{
	unsigned flags = get16(a->msg + 2), rcode = response_code(a);
	bool response = (flags & 0x8000) != 0;
	bool truncated = (flags & 0x0200) != 0;
	bool standard_query = (flags & 0x7800) == 0;

	if (!response || !standard_query)
		return DNS_REPLY_FOREIGN;
	if (rcode != ns_r_noerror && rcode != ns_r_nxdomain)
		return DNS_REPLY_FAILED;
	/* Of no authority, without recursion, no record: "ask another". */
	if (rcode == ns_r_noerror && (flags & 0x0480) == 0 && !truncated &&
	    get16(a->msg + 6) == 0)
		return DNS_REPLY_FAILED;
	return truncated ? DNS_REPLY_TRUNCATED : DNS_REPLY_WHOLE;
}

enum dns_reply
dns_parse_reply(const unsigned char *answer, size_t len, unsigned id,
    const char *name, unsigned type)
{
	struct answer a = {.msg = answer, .len = len};

	if (len < HEADER_LEN || get16(answer) != id)
		return DNS_REPLY_FOREIGN;
	enum dns_reply reply = judge_header(&a);
	/* A server that fails may not even repeat what it was asked. */
	if (reply == DNS_REPLY_FAILED && get16(answer + 4) == 0)
		return reply;
	return read_question(&a, name, type) == 0 ? reply : DNS_REPLY_FOREIGN;
}

/*
 * DNS_OK: a whole, complete, well-formed response to this question, and the
 * name exists (RFC 6604: the last one of its chain).
 */
static enum dns_result
open_answer(struct answer *a, const char *name, unsigned type)
{
	if (a->len < HEADER_LEN || judge_header(a) != DNS_REPLY_WHOLE)
		return DNS_TEMPORARY;
	a->count = get16(a->msg + 6);
	if (read_question(a, name, type) == -1 || check_records(a) == -1)
		return DNS_TEMPORARY;
	return response_code(a) == ns_r_nxdomain ? DNS_NO_NAME : DNS_OK;
}

/*
 * Follow the CNAME chain of a name within the answer, whatever its order.
 * -1: malformed, too long, or a loop.
 */
static int
follow_aliases(struct answer *a, char name[DNS_NAME_SIZE])
{
	struct record r;

	for (unsigned i = 0; i <= DNS_CNAME_MAX; i++) {
		rewind_records(a);
		if (!next_record(a, name, ns_t_cname, &r)) {
			rewind_records(a);
			return 0;
		}
		size_t data = r.data;
		if (read_name(a, &data, name) == -1 || data != r.data + r.len)
			return -1;
	}
	return -1;
}

/* What every parser begins with: *final is the name whose records count. */
static enum dns_result
begin(struct answer *a, const char *name, unsigned type,
    char final[DNS_NAME_SIZE])
{
	if (strlen(name) > ADDR_DOMAIN_MAX)
		return DNS_NO_NAME;
	compat_strlcpy(final, name, DNS_NAME_SIZE);
	enum dns_result result = open_answer(a, name, type);
	if (result == DNS_OK && follow_aliases(a, final) == -1)
		return DNS_TEMPORARY;
	return result;
}

/* ---- MX ---- */

bool
dns_usable_host(const char *host)
{
	const char *last = strrchr(host, '.');
	unsigned char binary[sizeof(struct in6_addr)];

	last = last != NULL ? last + 1 : host;
	return addr_domain_valid(host) && last[strspn(last, "0123456789")] &&
	       inet_pton(AF_INET, host, binary) != 1;
}

void
dns_insert_mx(struct dns_mx_list *list, unsigned preference, const char *host)
{
	size_t at = list->count;

	while (at > 0 && list->mx[at - 1].preference > preference)
		at--;
	if (at == DNS_MX_MAX)
		return;
	if (list->count == DNS_MX_MAX)
		list->count--;
	memmove(&list->mx[at + 1], &list->mx[at],
	    (list->count - at) * sizeof(list->mx[0]));
	list->mx[at].preference = (uint16_t)preference;
	compat_strlcpy(list->mx[at].host, host, sizeof(list->mx[at].host));
	list->count++;
}

/* Random order among equals (RFC 5321, 5.1). */
static void
shuffle_equals(struct dns_mx_list *list)
{
	uint32_t random[DNS_MX_MAX] = {0};

	/* Without random bytes the order that came is as good as any. */
	if (compat_random(random, sizeof(random)) == -1)
		return;
	for (size_t i = 1, first = 0; i < list->count; i++) {
		if (list->mx[i].preference != list->mx[first].preference) {
			first = i;
			continue;
		}
		size_t other = first + random[i] % (i - first + 1);
		struct dns_mx mx = list->mx[i];
		list->mx[i] = list->mx[other];
		list->mx[other] = mx;
	}
}

enum dns_result
dns_parse_mx(const unsigned char *answer, size_t len, const char *domain,
    char final[DNS_NAME_SIZE], struct dns_mx_list *list)
{
	struct answer a = {.msg = answer, .len = len};
	struct record r;
	char host[DNS_NAME_SIZE];
	unsigned all = 0, null = 0;
	enum dns_result result = begin(&a, domain, ns_t_mx, final);

	list->count = 0;
	if (result != DNS_OK)
		return result;
	for (; next_record(&a, final, ns_t_mx, &r); all++) {
		size_t at = r.data + 2;
		if (r.len < 3 || read_name(&a, &at, host) == -1 ||
		    at != r.data + r.len) {
			list->count = 0;
			return DNS_TEMPORARY;
		}
		if (host[0] == '\0')
			null++;
		else if (dns_usable_host(host))
			dns_insert_mx(list, get16(a.msg + r.data), host);
	}
	if (all == 0)
		return DNS_NO_DATA;
	/* "." among other hosts is ignored (RFC 7505, 3). */
	if (null == all)
		return DNS_NULL_MX;
	shuffle_equals(list);
	return DNS_OK;
}

/* ---- Addresses ---- */

void
dns_append_address(
    struct dns_address_list *list, int family, const void *binary)
{
	if (list->count == DNS_ADDRESSES_MAX)
		return;
	struct dns_address *to = &list->addr[list->count++];
	struct sockaddr_in *in = (void *)&to->sa;
	struct sockaddr_in6 *in6 = (void *)&to->sa;
	memset(to, 0, sizeof(*to));
	to->sa.ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&in->sin_addr, binary, sizeof(in->sin_addr));
		to->len = sizeof(*in);
	} else {
		memcpy(&in6->sin6_addr, binary, sizeof(in6->sin6_addr));
		to->len = sizeof(*in6);
	}
}

enum dns_result
dns_parse_address(const unsigned char *answer, size_t len, const char *host,
    int family, struct dns_address_list *list)
{
	struct answer a = {.msg = answer, .len = len};
	unsigned type = family == AF_INET ? ns_t_a : ns_t_aaaa;
	size_t size = family == AF_INET ? NS_INADDRSZ : NS_IN6ADDRSZ;
	size_t before = list->count;
	char final[DNS_NAME_SIZE];
	struct record r;
	enum dns_result result = begin(&a, host, type, final);

	if (result != DNS_OK)
		return result;
	while (next_record(&a, final, type, &r)) {
		if (r.len != size) {
			list->count = before;
			return DNS_TEMPORARY;
		}
		dns_append_address(list, family, a.msg + r.data);
	}
	return list->count > before ? DNS_OK : DNS_NO_DATA;
}

void
dns_interleave(const struct dns_address_list *in6,
    const struct dns_address_list *in, struct dns_address_list *list)
{
	list->count = 0;
	for (size_t i = 0; i < DNS_ADDRESSES_MAX; i++) {
		if (i < in6->count && list->count < DNS_ADDRESSES_MAX)
			list->addr[list->count++] = in6->addr[i];
		if (i < in->count && list->count < DNS_ADDRESSES_MAX)
			list->addr[list->count++] = in->addr[i];
	}
}
