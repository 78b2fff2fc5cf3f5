/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * addr.h - text into mail addresses, once (RFC 5321, 4.1.2; RFC 5322, 3.4).
 */
#ifndef DMA_ADDR_H
#define DMA_ADDR_H

#include <stdbool.h>
#include <stddef.h>

#include "limits.h"

/*
 * A checked address: local part with as few quotes as it can have (RFC 5321,
 * 4.1.2: one mailbox, one spelling), '@', domain as given less a final dot;
 * or a bare local part; or nothing (the null reverse-path).  No byte below
 * 0x20, no 0x7f, lengths within RFC 5321.  Bytes from 0x80 up only in
 * well-formed UTF-8 (an internationalized address, RFC 6531).
 */
struct addr {
	char text[ADDR_MAX + 1];
	size_t at; /* index of the '@' before the domain; its absence: strlen */
};

/* The domain, or NULL for a bare or null address.  Borrowed from a. */
const char *addr_domain(const struct addr *a);
bool addr_is_null(const struct addr *a);
bool addr_is_bare(const struct addr *a); /* "root"; not null */
bool addr_is_ascii(const struct addr *a);

/* Same mailbox as far as we can know: domain in any case, local exactly. */
bool addr_equal(const struct addr *a, const struct addr *b);

/*
 * Parse one address as people pass it: "a@b", "<a@b>", "Name <a@b>",
 * "a@b (comment)", "\"q\"@b", "a@[192.0.2.1]", "@route:a@b", "root".  With
 * null_ok also "" and "<>".  A source route is dropped (RFC 5321, appendix
 * C).
 * Returns 0, or -1 with *why a constant text that goes on after the address
 * ("contains a control character", "has an empty local part", ...), *a
 * untouched.
 */
int addr_parse(struct addr *a, const char *s, bool null_ok, const char **why);

/*
 * Make "local@domain", or a bare address where domain is NULL; local is the
 * mailbox's name, without quotes.  Returns 0, or -1 with *why.
 */
int addr_make(
    struct addr *a, const char *local, const char *domain, const char **why);

/* Give a bare address a domain, in place; others are left alone. */
int addr_qualify(struct addr *a, const char *domain, const char **why);

/*
 * The local part as the mailbox's name: quotes and backslashes undone.
 * Returns 0, or -1 if it does not fit.
 */
int addr_local(const struct addr *a, char *dst, size_t size);

/*
 * The user that a local address means: his name is what addr_local() gives up
 * to the first '+' that does not begin it.  What stands behind that is his
 * mail's extension, in dst as well; *extension (unless NULL) is NULL where
 * there is no '+'.  Returns 0, or -1 if it does not fit.
 */
int addr_user(
    const struct addr *a, char *dst, size_t size, const char **extension);

/*
 * True if s is a host name we may send, resolve or trust (RFC 1123, 2.1; and
 * '_', which is in use).  Neither a final dot nor an address literal is.
 */
bool addr_domain_valid(const char *s);

/* True if s can be the domain of an address: also in UTF-8. */
bool addr_domain_valid_utf8(const char *s);

/*
 * Parse an address-list of len bytes (a header field's body, folded or not;
 * or a command-line argument with commas): groups, empty groups, comments,
 * quoted strings, routes, empty elements; ';' separates like ','.  each() is
 * called for every mailbox in order, with the offsets [start, end) of its
 * addr-spec in s; it returns 0 to go on, and is called until the first
 * malformed one.  Iterative: no nesting can exhaust the stack.
 * Returns 0, or -1 with *why (malformed, or NULL if each() stopped it).
 */
int addr_parse_list(const char *s, size_t len,
    int (*each)(void *arg, const struct addr *a, size_t start, size_t end),
    void *arg, const char **why);

/*
 * xtext of s (RFC 3461, 4), for ORCPT and ENVID; text[] itself needs no
 * encoding between < and >.  Returns 0, or -1 if it does not fit.
 */
int addr_xtext(const char *s, char *dst, size_t size);

/* One of the characters that no atom has (RFC 5322, 3.2.3, specials). */
bool addr_is_special(char c);

/*
 * Write s as a quoted-string (RFC 5322, 3.2.4), not ended: 2 * len + 2 bytes
 * at most.  Returns the length.
 */
size_t addr_quote(char *dst, const char *s, size_t len);

/* True for atoms with one separator between each two, as in a dot-atom. */
bool addr_is_atoms(const char *s, size_t len, char separator);

/*
 * The number of bytes of the well-formed UTF-8 character that s (len bytes)
 * begins with (RFC 3629, 4), or 0 if it begins with none.
 */
size_t addr_utf8_len(const char *s, size_t len);

#endif
