/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * intake.h - one message on its way in, whoever asks: argv or SMTP.
 *
 * Open once, then for each message: sender, recipients, header, store,
 * deliver, reset.  Functions return 0, or -1 with i->refusal: nothing was
 * written to stderr or the log, and nothing is queued.
 */
#ifndef DMA_INTAKE_H
#define DMA_INTAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "addr.h"
#include "aliases.h"
#include "envelope.h"
#include "expand.h"
#include "instance.h"
#include "mail.h"
#include "senders.h"

enum delivery_mode { DELIVER_BACKGROUND, DELIVER_FOREGROUND, DELIVER_QUEUE };

/* Why something was not accepted, for both kinds of caller. */
struct refusal {
	int status;       /* a value of <sysexits.h> */
	const char *smtp; /* reply code and enhanced code: "550 5.1.1" */
	char text[1024];
};

struct intake {
	struct instance *in;
	struct aliases aliases;
	struct senders senders; /* read when the first sender is set */
	char login[USERNAME_MAX + 16];
	char full_name[FULLNAME_MAX + 1]; /* of the account; -F replaces it */
	const char *from; /* "host ([address])": not a local user; or NULL */
	/* Of the message under way; the caller sets envid and ret in env. */
	struct envelope env;
	bool rewritten; /* its sender: by SENDERS or MASQUERADE */
	struct recipients recipients;
	struct mail_header header;
	struct mail_source source; /* the caller sets where it reads from */
	struct refusal refusal;
};

/*
 * Who submits, and the alias file; once for any number of messages.  Where
 * the instance is confined, addresses are kept as they are given: another
 * process of ours takes the message (handover.h).
 */
void intake_open(struct intake *i, struct instance *in);
void intake_close(struct intake *i);

/* Forget the message; another may follow in the source. */
void intake_reset(struct intake *i);

int intake_refuse(struct intake *i, int status, const char *smtp,
    const char *fmt, ...) PRINTFLIKE(4, 5);

/* The reverse-path: what was given ("" and "<>" are null), or NULL: ours. */
int intake_set_sender(struct intake *i, const char *given);

/*
 * A recipient through the aliases; the second refuses one that leads to local
 * users alone that do not exist, or to error: aliases, which the command line
 * leaves to a notice.  And a list of them.
 */
int intake_add_recipient(
    struct intake *i, const struct addr *a, unsigned notify, const char *orcpt);
int intake_add_known(
    struct intake *i, const struct addr *a, unsigned notify, const char *orcpt);
int intake_add_list(struct intake *i, const char *text, unsigned notify);

/* Read the header; then, for -t, add the recipients that it names. */
int intake_read_header(struct intake *i);
int intake_add_header_recipients(struct intake *i, unsigned notify);

/* Read the rest and make it durable: after 0 it is queued as i->env.id. */
int intake_store(struct intake *i);

/* The same errors, from errno, for who reads the body himself. */
int intake_reading_failed(struct intake *i);

/* See to its delivery; nothing here may fail the caller any more. */
void intake_deliver(struct intake *i, enum delivery_mode mode, bool verbose);

#endif
