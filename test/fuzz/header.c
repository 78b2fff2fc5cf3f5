/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * header.c - any header through mail.h: what is stored is fields, continuations
 * with something in them and one empty line; and it has no Bcc.
 *
 * The first byte says whether From follows the envelope.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "header.h"
#include "mail.h"
#include "util.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
need(bool what, const char *words)
{
	if (what)
		return;
	fprintf(stderr, "%s\n", words);
	abort();
}

static void
check_header(const char *text)
{
	size_t n, name_len;

	for (; *text != '\n'; text += n + 1) {
		n = strcspn(text, "\n");
		need(text[n] == '\n' && strspn(text, " \t") < n, "blank line");
		need(header_line(text, n, &name_len) != HEADER_LINE_NONE,
		    "no header line");
		need(ascii_strncasecmp(text, "Bcc:", 4) != 0 &&
			 ascii_strncasecmp(text, "Resent-Bcc:", 11) != 0,
		    "Bcc");
	}
	need(text[1] == '\0', "text after the header");
}

static int
take_address(void *arg, const struct addr *a)
{
	need(!addr_is_null(a) && strpbrk(a->text, "\r\n") == NULL, "address");
	return ++*(unsigned *)arg > 10000;
}

/* What the caller pipes in, as a header. */
static int
read_header(const uint8_t *data, size_t size, struct mail_header *h)
{
	static FILE *file;
	struct mail_source src = {0};
	int result;

	if (file == NULL)
		file = tmpfile();
	need(file != NULL && ftruncate(fileno(file), 0) == 0 &&
		 pwrite_full(fileno(file), data, size, 0) == 0 &&
		 lseek(fileno(file), 0, SEEK_SET) == 0,
	    "cannot write");
	src.fd = fileno(file);
	result = mail_read_header(&src, h);
	mail_source_free(&src);
	return result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char map[] = "root: ops@x.example\n*: all@x.example\n";
	struct conf conf = {.mailname = "h.example", .hostname = "h"};
	struct addr sender = {"new@y.example", 3};
	struct senders senders;
	struct mail_header h;
	struct buf out = {0};
	unsigned addresses = 0;
	char why[256];

	if (size == 0)
		return 0;
	senders_parse(&senders, &conf, map, sizeof(map) - 1, NULL, NULL);
	conf.from_envelope = data[0] % 2 == 1;
	if (read_header(data + 1, size - 1, &h) == 0) {
		struct mail_facts facts = {.conf = &conf,
		    .sender = &sender,
		    .rewritten = conf.from_envelope,
		    .senders = &senders,
		    .login = "joe",
		    .id = "0"};

		need(mail_repair_header(&h, &facts, &out) == 0, "repair");
		check_header(out.data);
		(void)mail_header_recipients(
		    &h, take_address, &addresses, why, sizeof(why));
	}
	mail_header_free(&h);
	senders_free(&senders);
	buf_free(&out);
	return 0;
}
