/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dns.c - MX and addresses of a name (RFC 1035, 3596, 7505; RFC 5321, 5.1).
 *
 * Runs in:   dma-smtp.
 * Trusts:    /etc/hosts and resolv.conf. Distrusts: every byte of an answer.
 * Promises:  NO_NAME, NO_DATA and NULL_MX are said only when a well-formed
 *            answer to our question says so; everything else is TEMPORARY.
 */
#include "dns.h"

#include <netinet/in.h>

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "util.h"

#define NAME_SIZE       (ADDR_DOMAIN_MAX + 1)
#define NAME_STEPS_MAX  128               /* labels and pointers of one name */
#define HEADER_LEN      12                /* RFC 1035, 4.1.1 */
#define RESOLV_FILE_MAX (64 * 1024)       /* bytes */
#define HOSTS_FILE_MAX  (8 * 1024 * 1024) /* bytes; block lists are large */
#define QUERY_LEN_MAX   512               /* RFC 1035, 2.3.4 */
#define TRIES_MAX       2                 /* of each server */
#define TRY_SECONDS_MAX 5                 /* for the first server's answer */

#ifndef _PATH_HOSTS
#define _PATH_HOSTS "/etc/hosts"
#endif
#ifndef _PATH_RESCONF
#define _PATH_RESCONF "/etc/resolv.conf"
#endif

/* ---- Answers: a cursor that cannot leave the bytes that came ---- */

struct answer {
	const unsigned char *msg;
	size_t len;
	size_t first;   /* where the answer section begins */
	unsigned count; /* records in it */
};

struct record {
	char owner[NAME_SIZE];
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
read_name(const struct answer *a, size_t *at, char name[NAME_SIZE])
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

/* "Example.org." is the name "example.org". */
static bool
same_name(const char *a, const char *b)
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
	char asked[NAME_SIZE];
	size_t at = HEADER_LEN;

	if (get16(a->msg + 4) != 1 || read_name(a, &at, asked) == -1 ||
	    a->len - at < 4)
		return -1;
	if (!same_name(asked, name) || get16(a->msg + at) != type ||
	    get16(a->msg + at + 2) != ns_c_in)
		return -1;
	a->first = at + 4;
	return 0;
}

/* Every record once, so that all later walks cannot fail. */
static int
check_records(const struct answer *a)
{
	struct record r;
	size_t at = a->first;

	for (unsigned i = 0; i < a->count; i++)
		if (read_record(a, &at, &r) == -1)
			return -1;
	return 0;
}

/*
 * Header and shape.  DNS_OK: a whole, complete, well-formed response to this
 * question, and the name exists (RFC 6604: the last one of its chain).
 */
static enum dns_result
open_answer(struct answer *a, const char *name, unsigned type)
{
	if (a->len < HEADER_LEN)
		return DNS_TEMPORARY;
	unsigned flags = get16(a->msg + 2);
	unsigned rcode = flags & 0xf;
	bool response = (flags & 0x8000) != 0;
	bool truncated = (flags & 0x0200) != 0;
	bool standard_query = (flags & 0x7800) == 0;
	if (!response || truncated || !standard_query)
		return DNS_TEMPORARY;
	if (rcode != ns_r_noerror && rcode != ns_r_nxdomain)
		return DNS_TEMPORARY;
	a->count = get16(a->msg + 6);
	if (read_question(a, name, type) == -1 || check_records(a) == -1)
		return DNS_TEMPORARY;
	return rcode == ns_r_nxdomain ? DNS_NO_NAME : DNS_OK;
}

/* The alias of a name, if the answer has one: 1, 0, or -1 malformed. */
static int
find_alias(const struct answer *a, char name[NAME_SIZE])
{
	struct record r;
	size_t at = a->first;

	for (unsigned i = 0; i < a->count; i++) {
		if (read_record(a, &at, &r) == -1)
			return -1;
		if (r.type != ns_t_cname || r.class != ns_c_in ||
		    !same_name(r.owner, name))
			continue;
		size_t data = r.data;
		if (read_name(a, &data, name) == -1 || data != r.data + r.len)
			return -1;
		return 1;
	}
	return 0;
}

/* Follow the CNAME chain of a name within the answer, whatever its order. */
static int
follow_aliases(const struct answer *a, char name[NAME_SIZE])
{
	for (unsigned i = 0; i <= DNS_CNAME_MAX; i++) {
		int found = find_alias(a, name);
		if (found != 1)
			return found;
	}
	return -1; /* too long, or a loop */
}

/*
 * What every parser begins with: *final becomes the name whose records
 * count.
 */
static enum dns_result
begin(struct answer *a, const char *name, unsigned type, char final[NAME_SIZE])
{
	if (strlen(name) > ADDR_DOMAIN_MAX)
		return DNS_NO_NAME;
	compat_strlcpy(final, name, NAME_SIZE);
	enum dns_result result = open_answer(a, name, type);
	if (result == DNS_OK && follow_aliases(a, final) == -1)
		return DNS_TEMPORARY;
	return result;
}

/* ---- MX ---- */

/* A name that we may look up; one that looks like an address is none (H-91). */
static bool
usable_host(const char *host)
{
	const char *last = strrchr(host, '.');
	unsigned char binary[sizeof(struct in6_addr)];

	last = last != NULL ? last + 1 : host;
	return addr_domain_valid(host) && last[strspn(last, "0123456789")] &&
	       inet_pton(AF_INET, host, binary) != 1;
}

/* Insert by preference; of too many the worst is dropped. */
static void
insert_mx(struct dns_mx_list *list, unsigned preference, const char *host)
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

/* What the MX records of one name said. */
struct mx_count {
	unsigned all, null;
};

static int
take_mx(const struct answer *a, const struct record *r,
    struct dns_mx_list *list, struct mx_count *count)
{
	char host[NAME_SIZE];
	size_t at = r->data + 2;

	if (r->len < 3 || read_name(a, &at, host) == -1 ||
	    at != r->data + r->len)
		return -1;
	count->all++;
	if (host[0] == '\0')
		count->null++;
	else if (usable_host(host))
		insert_mx(list, get16(a->msg + r->data), host);
	return 0;
}

static enum dns_result
parse_mx(struct answer *a, const char *domain, char final[NAME_SIZE],
    struct dns_mx_list *list)
{
	struct mx_count count = {0, 0};
	struct record r;
	enum dns_result result = begin(a, domain, ns_t_mx, final);
	size_t at = a->first;

	list->count = 0;
	if (result != DNS_OK)
		return result;
	for (unsigned i = 0; i < a->count; i++) {
		if (read_record(a, &at, &r) == -1)
			return DNS_TEMPORARY;
		if (r.type != ns_t_mx || r.class != ns_c_in ||
		    !same_name(r.owner, final))
			continue;
		if (take_mx(a, &r, list, &count) == -1) {
			list->count = 0;
			return DNS_TEMPORARY;
		}
	}
	if (count.all == 0)
		return DNS_NO_DATA;
	/* "." among other hosts is ignored (RFC 7505, 3). */
	if (count.null == count.all)
		return DNS_NULL_MX;
	shuffle_equals(list);
	return DNS_OK;
}

enum dns_result
dns_parse_mx(const unsigned char *answer, size_t len, const char *domain,
    struct dns_mx_list *list)
{
	struct answer a = {.msg = answer, .len = len};
	char final[NAME_SIZE];

	return parse_mx(&a, domain, final, list);
}

/* ---- Addresses ---- */

static void
append_address(struct dns_address_list *list, int family, const void *binary)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (list->count == DNS_ADDRESSES_MAX)
		return;
	struct dns_address *to = &list->addr[list->count++];
	memset(to, 0, sizeof(*to));
	if (family == AF_INET) {
		memcpy(&in.sin_addr, binary, sizeof(in.sin_addr));
		memcpy(&to->sa, &in, sizeof(in));
		to->len = sizeof(in);
	} else {
		memcpy(&in6.sin6_addr, binary, sizeof(in6.sin6_addr));
		memcpy(&to->sa, &in6, sizeof(in6));
		to->len = sizeof(in6);
	}
}

static enum dns_result
parse_address(struct answer *a, const char *host, int family,
    struct dns_address_list *list)
{
	unsigned type = family == AF_INET ? ns_t_a : ns_t_aaaa;
	size_t size = family == AF_INET ? NS_INADDRSZ : NS_IN6ADDRSZ;
	size_t before = list->count, at;
	char final[NAME_SIZE];
	struct record r;
	enum dns_result result = begin(a, host, type, final);

	if (result != DNS_OK)
		return result;
	at = a->first;
	for (unsigned i = 0; i < a->count; i++) {
		bool ok = read_record(a, &at, &r) == 0;
		if (ok && (r.type != type || r.class != ns_c_in ||
			      !same_name(r.owner, final)))
			continue;
		if (!ok || r.len != size) {
			list->count = before;
			return DNS_TEMPORARY;
		}
		append_address(list, family, a->msg + r.data);
	}
	return list->count > before ? DNS_OK : DNS_NO_DATA;
}

enum dns_result
dns_parse_address(const unsigned char *answer, size_t len, const char *host,
    int family, struct dns_address_list *list)
{
	struct answer a = {.msg = answer, .len = len};

	return parse_address(&a, host, family, list);
}

/* IPv6 and IPv4 in turn, so that a dead family costs one try (H-03). */
static void
interleave(const struct dns_address_list *in6,
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

static bool
public_in(uint32_t host_order)
{
	return host_order >> 24 != 0 &&      /* 0/8: any, "this network" */
	       host_order >> 24 != 127 &&    /* loopback */
	       host_order >> 16 != 0xa9fe && /* 169.254/16: link-local */
	       host_order >> 28 < 14;        /* 224/4, 240/4, broadcast */
}

static bool
public_in6(const struct in6_addr *a)
{
	static const unsigned char zero[12],
	    mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
	    nat64[12] = {0, 0x64, 0xff, 0x9b};
	const unsigned char *p = a->s6_addr;

	/* An IPv4 address in disguise, ::1 and :: among them. */
	if (memcmp(p, zero, 12) == 0 || memcmp(p, mapped, 12) == 0 ||
	    memcmp(p, nat64, 12) == 0)
		return public_in((uint32_t)get16(p + 12) << 16 | get16(p + 14));
	return p[0] != 0xff && !IN6_IS_ADDR_LINKLOCAL(a);
}

bool
dns_address_public(const struct sockaddr *sa)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		return public_in(ntohl(in.sin_addr.s_addr));
	}
	if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		return public_in6(&in6.sin6_addr);
	}
	return false;
}

/* ---- What needs no question: literals and /etc/hosts ---- */

/* Append the address that a text is; false if it is none. */
static bool
append_literal(struct dns_address_list *list, const char *text)
{
	unsigned char binary[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, text, binary) == 1)
		append_address(list, AF_INET, binary);
	else if (inet_pton(AF_INET6, text, binary) == 1)
		append_address(list, AF_INET6, binary);
	else
		return false;
	return true;
}

/* "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321, 4.1.3). */
static bool
take_literal(struct dns_address_list *list, const char *host)
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

static void
take_hosts_line(char *line, const char *host, struct dns_address_list *in6,
    struct dns_address_list *in)
{
	const char *address = next_word(&line), *name;

	if (address == NULL)
		return;
	while ((name = next_word(&line)) != NULL)
		if (same_name(name, host)) {
			(void)append_literal(
			    strchr(address, ':') != NULL ? in6 : in, address);
			return;
		}
}

enum dns_result
dns_parse_hosts(const char *text, size_t len, const char *host,
    struct dns_address_list *list)
{
	struct dns_address_list in6 = {.count = 0}, in = {.count = 0};
	char line[4096];
	const char *end = text + len;

	while (text < end) {
		const char *lf = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((lf != NULL ? lf : end) - text);
		if (size < sizeof(line)) {
			memcpy(line, text, size);
			line[size] = '\0';
			take_hosts_line(line, host, &in6, &in);
		}
		text += size + 1;
	}
	interleave(&in6, &in, list);
	list->from_hosts = list->count > 0;
	return list->count > 0 ? DNS_OK : DNS_NO_NAME;
}

static bool
look_in_hosts(const char *host, struct dns_address_list *list)
{
	char *text;
	size_t len;

	if (read_file(_PATH_HOSTS, HOSTS_FILE_MAX, &text, &len, NULL) == -1)
		return false;
	enum dns_result result = dns_parse_hosts(text, len, host, list);
	free(text);
	return result == DNS_OK;
}

/* ---- Questions ---- */

struct resolver {
	struct __res_state state;
	int64_t deadline;
	unsigned char *answer; /* DNS_ANSWER_MAX bytes */
};

/*
 * Without a name server in its configuration the library would ask
 * 127.0.0.1, and whatever answers there would decide about our mail.
 */
static bool
has_configuration(void)
{
	static const char keyword[] = "nameserver";
	char *text, *line;
	size_t len;
	bool found = false;

	if (read_file(_PATH_RESCONF, RESOLV_FILE_MAX, &text, &len, NULL) == -1)
		return false;
	for (line = text; line != NULL && !found; line = strchr(line, '\n')) {
		line += strspn(line, "\n");
		size_t word = strcspn(line, " \t\r\n");
		const char *value = line + word + strspn(line + word, " \t");
		found = word == sizeof(keyword) - 1 &&
			memcmp(line, keyword, word) == 0 &&
			strchr("\r\n", *value) == NULL;
	}
	free(text);
	return found;
}

static int
resolver_open(struct resolver *r, int64_t deadline)
{
	if (!has_configuration())
		return -1;
	memset(&r->state, 0, sizeof(r->state));
	if (res_ninit(&r->state) == -1)
		return -1;
	r->state.options &= ~(unsigned long)(RES_DEFNAMES | RES_DNSRCH);
	r->deadline = deadline;
	r->answer = xmalloc(DNS_ANSWER_MAX);
	return 0;
}

static void
resolver_close(struct resolver *r)
{
	res_nclose(&r->state);
	free(r->answer);
}

/*
 * Spread the time that is left over servers and tries: the library waits
 * whole seconds, for each server at most retrans on average.
 */
static int
set_pace(struct resolver *r, int64_t deadline)
{
	int64_t left = (deadline - now_ms()) / 1000;
	int servers = r->state.nscount > 0 ? r->state.nscount : 1;

	if (left < 1)
		return -1;
	int64_t tries = left >= (int64_t)servers * TRIES_MAX ? TRIES_MAX : 1;
	int64_t seconds = left / (servers * tries);
	if (seconds > TRY_SECONDS_MAX)
		seconds = TRY_SECONDS_MAX;
	r->state.retry = (int)tries;
	r->state.retrans = seconds < 1 ? 1 : (int)seconds;
	return 0;
}

/*
 * Ask one question.  0 with *a set to the bytes that came, which may be
 * anything; -1 without an answer.
 */
static int
ask(struct resolver *r, const char *name, int type, int64_t deadline,
    struct answer *a)
{
	unsigned char query[QUERY_LEN_MAX];
	int len;

	if (set_pace(r, deadline) == -1)
		return -1;
	len = res_nmkquery(&r->state, ns_o_query, name, ns_c_in, type, NULL, 0,
	    NULL, query, sizeof(query));
	if (len <= 0)
		return -1;
	len = res_nsend(&r->state, query, len, r->answer, DNS_ANSWER_MAX);
	if (len <= 0)
		return -1;
	memset(a, 0, sizeof(*a));
	a->msg = r->answer;
	/* A length beyond the buffer tells of what did not fit. */
	a->len = len < DNS_ANSWER_MAX ? (size_t)len : DNS_ANSWER_MAX;
	return 0;
}

static enum dns_result
ask_address(struct resolver *r, const char *host, int family, int64_t deadline,
    struct dns_address_list *list)
{
	struct answer a;
	int type = family == AF_INET ? ns_t_a : ns_t_aaaa;

	list->count = 0;
	if (ask(r, host, type, deadline, &a) == -1)
		return DNS_TEMPORARY;
	return parse_address(&a, host, family, list);
}

static enum dns_result
ask_addresses(
    struct resolver *r, const char *host, struct dns_address_list *list)
{
	struct dns_address_list in6, in;
	int64_t now = now_ms();

	/* A family that never answers leaves the other its time (H-100). */
	enum dns_result r6 =
	    ask_address(r, host, AF_INET6, now + (r->deadline - now) / 2, &in6);
	enum dns_result r4 = ask_address(r, host, AF_INET, r->deadline, &in);

	interleave(&in6, &in, list);
	if (list->count > 0)
		return DNS_OK;
	if (r6 == DNS_TEMPORARY || r4 == DNS_TEMPORARY)
		return DNS_TEMPORARY;
	return r6 == DNS_NO_NAME && r4 == DNS_NO_NAME ? DNS_NO_NAME
						      : DNS_NO_DATA;
}

static enum dns_result
explain(enum dns_result result, const char **why)
{
	static const char *const text[] = {
	    [DNS_OK] = "",
	    [DNS_TEMPORARY] = "no usable answer from the name servers",
	    [DNS_NO_NAME] = "the domain does not exist",
	    [DNS_NO_DATA] = "the domain has no address",
	    [DNS_NULL_MX] = "the domain takes no mail (null MX)",
	};

	*why = text[result];
	return result;
}

/* The name to ask for: absolute without saying so.  False if it is none. */
static bool
question_name(const char *name, char dst[NAME_SIZE])
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len > ADDR_DOMAIN_MAX)
		return false;
	memcpy(dst, name, len);
	dst[len] = '\0';
	return usable_host(dst);
}

static enum dns_result
no_question(const char **why)
{
	*why = "not a valid host name";
	return DNS_NO_NAME;
}

static enum dns_result
no_resolver(const char **why)
{
	*why = "no resolver configuration";
	return DNS_TEMPORARY;
}

enum dns_result
dns_address_lookup(const char *host, int64_t ms, struct dns_address_list *list,
    const char **why)
{
	struct resolver r;
	char name[NAME_SIZE];
	int64_t deadline = now_ms() + ms;

	list->count = 0;
	list->from_hosts = false;
	if (take_literal(list, host) || look_in_hosts(host, list))
		return explain(DNS_OK, why);
	if (!question_name(host, name))
		return no_question(why);
	if (resolver_open(&r, deadline) == -1)
		return no_resolver(why);
	enum dns_result result = ask_addresses(&r, name, list);
	resolver_close(&r);
	return explain(result, why);
}

/*
 * A CNAME without MX behind it may be all that a server had at hand: the
 * question is asked again for the name it leads to.
 */
static enum dns_result
ask_mx(struct resolver *r, const char *domain, struct dns_mx_list *list)
{
	char name[NAME_SIZE], final[NAME_SIZE];
	struct answer a;

	compat_strlcpy(name, domain, sizeof(name));
	for (unsigned i = 0; i <= DNS_CNAME_MAX; i++) {
		if (ask(r, name, ns_t_mx, r->deadline, &a) == -1)
			return DNS_TEMPORARY;
		enum dns_result result = parse_mx(&a, name, final, list);
		if (result != DNS_NO_DATA || same_name(name, final))
			return result;
		if (!addr_domain_valid(final))
			return DNS_NO_DATA;
		memcpy(name, final, sizeof(name));
	}
	return DNS_TEMPORARY;
}

/* No MX: the domain is its own, if it has an address (RFC 5321, 5.1). */
static enum dns_result
implicit_mx(const char *domain, bool in_dns, int64_t deadline,
    struct dns_mx_list *list, const char **why)
{
	struct dns_address_list addresses;
	enum dns_result result;

	if (in_dns)
		result = dns_address_lookup(
		    domain, deadline - now_ms(), &addresses, why);
	else
		result = explain(
		    look_in_hosts(domain, &addresses) ? DNS_OK : DNS_NO_NAME,
		    why);
	if (result == DNS_OK)
		insert_mx(list, 0, domain);
	return result;
}

enum dns_result
dns_mx_lookup(
    const char *domain, int64_t ms, struct dns_mx_list *list, const char **why)
{
	struct resolver r;
	char name[NAME_SIZE];
	int64_t deadline = now_ms() + ms;

	list->count = 0;
	if (!question_name(domain, name))
		return no_question(why);
	if (resolver_open(&r, deadline) == -1)
		return no_resolver(why);
	enum dns_result result = ask_mx(&r, name, list);
	resolver_close(&r);
	if (result == DNS_NO_DATA || result == DNS_NO_NAME)
		return implicit_mx(
		    domain, result == DNS_NO_DATA, deadline, list, why);
	if (result == DNS_OK && list->count == 0) {
		*why = "its MX records name no usable host";
		return DNS_NO_DATA;
	}
	return explain(result, why);
}
