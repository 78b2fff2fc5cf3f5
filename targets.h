/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * targets.h - a next hop's addresses, found when they are needed.
 */
#ifndef DMA_TARGETS_H
#define DMA_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "dns.h"
#include "job.h"
#include "smtp.h"

struct targets {
	const struct hop *hop; /* borrowed */
	/* now_ms() clock: no host is looked up after it; 0: whenever. */
	int64_t deadline;
	struct smtp_target list[MX_ADDRESSES_MAX];
	size_t count;
	/*
	 * Of nothing to connect to.  FAIL: it is certain, each recipient gets
	 * it.  DEFER: the hop cannot be used now.
	 */
	struct outcome why;
	/* Inside: the hosts to look up, and how far that is. */
	struct dns_mx_list hosts;
	size_t next_host;
	bool asked; /* hosts are known */
};

void targets_init(struct targets *t, const struct hop *hop);

/* The TCP port of all of them. */
uint16_t targets_port(const struct hop *hop);

/*
 * The i-th address in order of preference, looked up as far as needed, or
 * NULL: there are only t->count, and if that is 0, t->why says why.
 */
const struct smtp_target *targets_get(struct targets *t, size_t i);

/* Drop our own name and all that is not preferred to it (RFC 5321, 5.1). */
void targets_cut_loop(struct dns_mx_list *list, const char *our_name);

#endif
