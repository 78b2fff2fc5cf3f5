/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * mime_parts.h - what the mime*.c files share; nobody else includes it.
 */
#ifndef DMA_MIME_PARTS_H
#define DMA_MIME_PARTS_H

#include "mime.h"

/* ---- mime_header.c: what the header says of the body ---- */

enum mime_encoding {
	ENCODING_NONE, /* no such field: 7bit */
	ENCODING_7BIT,
	ENCODING_8BIT,
	ENCODING_BINARY,
	ENCODING_QP,
	ENCODING_BASE64,
	ENCODING_OTHER
};

enum mime_kind {
	KIND_TEXT,
	KIND_OTHER,     /* a leaf that base64 suits better */
	KIND_MESSAGE,   /* a message with its own header */
	KIND_REPORT,    /* message/ of a kind that must not be encoded */
	KIND_MULTIPART, /* with a boundary */
	KIND_SIGNED     /* the same, and its first part is signed */
};

struct mime_head {
	bool version, type; /* it has MIME-Version, Content-Type */
	bool digest;        /* its parts are messages unless they say else */
	enum mime_kind kind;
	enum mime_encoding encoding;
	char boundary[MIME_BOUNDARY_MAX + 1];
};

void mime_parse_head(struct mime_head *h, const char *text, size_t len);

/*
 * The length of the field that a header block (LF line ends) begins with,
 * folded lines included; *encoding: it is Content-Transfer-Encoding.
 */
size_t mime_field(const char *text, size_t len, bool *encoding);

/* ---- mime_encode.c: bytes out ---- */

enum mime_coder {
	CODER_PLAIN,   /* as it is; what no line can have is broken, blanked */
	CODER_QP,      /* into quoted-printable */
	CODER_REQP,    /* quoted-printable anew */
	CODER_BASE64,  /* into base64 */
	CODER_REBASE64 /* base64 on other lines */
};

struct mime_writer {
	int (*put)(void *arg, char *p, size_t len);
	void *arg;
	int error; /* of put(); nothing is written any more */
	struct mime_report *report;
	bool guarded;   /* no line may look like a boundary */
	size_t column;  /* of an encoder's line */
	int blank;      /* held back: at a line's end it has to be encoded */
	char escape[2]; /* held back by CODER_REQP: "=", and a digit */
	size_t nescape;
	char group[57]; /* held back by CODER_BASE64: the bytes of a line */
	size_t ngroup;
	bool line_ended;
	size_t used;
	char out[8192];
};

void mime_put(struct mime_writer *w, const char *p, size_t len);
void mime_puts(struct mime_writer *w, const char *s);
int mime_flush(struct mime_writer *w); /* 0, or -1 with errno */

/* Of several things that were lost the report names the first. */
void mime_note(struct mime_writer *w, const char *note);

/* A body, piece by piece, and what is held back at its end. */
void mime_encode(
    struct mime_writer *w, enum mime_coder coder, const char *p, size_t len);
void mime_encode_end(struct mime_writer *w, enum mime_coder coder);

/* A header, or a part of one: a break at a blank loses nothing there. */
void mime_put_plain(
    struct mime_writer *w, const char *p, size_t len, bool is_header);

#endif
