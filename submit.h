/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.h - taking a message from stdin (RFC 5321 addresses, RFC 5322 text).
 */
#ifndef DMA_SUBMIT_H
#define DMA_SUBMIT_H

#include <stdbool.h>
#include <stddef.h>

#include "envelope.h"
#include "instance.h"
#include "intake.h"

/* What the command line says of the message. */
struct submit_options {
	bool from_header;      /* -t */
	bool ignore_dots;      /* -i, -oi */
	bool verbose;          /* -v */
	const char *sender;    /* -f, or NULL */
	const char *full_name; /* -F, or NULL */
	const char *envid;     /* -V, or NULL */
	enum envelope_ret ret; /* -R */
	unsigned notify;       /* -N: NOTIFY_* bits */
	enum delivery_mode mode;
	char **recipients;
	size_t nrecipients;
};

/*
 * Read the message, make it durable, see to its delivery.  Returns the exit
 * status of DESIGN 5: EX_OK only when it is on stable storage; otherwise
 * nothing is queued and one line was written to stderr and to the log.
 */
int submit_message(struct instance *in, const struct submit_options *o);

#endif
