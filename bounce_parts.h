/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * bounce_parts.h - what the files of a notice share: it in the making.
 *
 * bounce.c decides and commits; bounce_text.c writes what people read and the
 * message, bounce_report.c what programs read.  An append that failed makes
 * the commit fail, so that no line is checked.
 */
#ifndef DMA_BOUNCE_PARTS_H
#define DMA_BOUNCE_PARTS_H

#include "bounce.h"
#include "expand.h"
#include "util.h"

#define EIGHTBIT "Content-Transfer-Encoding: 8bit\n"

enum notice_kind { NOTICE_OF_FAILURE, NOTICE_OF_DELAY, NOTICE_OF_SUCCESS };

struct notice {
	const struct conf *conf;
	struct spool_file *f; /* the message it is about */
	enum notice_kind kind;
	struct recipients readers;
	bool for_postmaster;
	struct addr to;
	struct envelope env;
	struct spool_draft draft;
	struct journal_entry *reasons;
	bool global; /* RFC 6533: an address it is about is not in ASCII */
	bool full;   /* the whole message goes back, not its header alone */
	char last;   /* byte of the header so far */
};

/* True if it is about this recipient. */
bool notice_covers(const struct notice *n, size_t i);

/* Bare addresses of ours get our name, where the two fit together. */
struct addr notice_qualified(const struct notice *n, const struct addr *a);

void notice_say(struct notice *n, const char *fmt, ...) PRINTFLIKE(2, 3);
/* The words of a text, on as many lines as they need, the first after before. */
void notice_say_folded(struct notice *n, const char *before, const char *text);
void notice_part(struct notice *n, const char *fields);
char *notice_retry_until(const struct notice *n, char date[RFC5322_DATE_LEN]);

void notice_header(struct notice *n);
void notice_text(struct notice *n);
void notice_report(struct notice *n);
int notice_message(struct notice *n); /* -1 with errno: it cannot be read */

#endif
