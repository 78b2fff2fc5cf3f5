/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * header.c - any header through mail.h: what is stored is fields, continuations
 * with something in them and one empty line; and it has no Bcc;
 * and repaired again it only gets one Received field more.
 *
 * The first byte says whether From follows the envelope.
 */
#include "fuzz.h"

#include <unistd.h>

#include "header.h"
#include "mail.h"

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

/* Returns 0, or -1: it cannot be had. */
static int
repair(const struct mail_facts *facts, const void *data, size_t size,
    struct buf *out)
{
	struct mail_header h;
	unsigned addresses = 0;
	char why[256];
	int result = read_header(data, size, &h);

	if (result == 0) {
		need(mail_repair_header(&h, facts, out) == 0, "repair");
		check_header(out->data);
		(void)mail_header_recipients(
		    &h, take_address, &addresses, why, sizeof(why));
	}
	mail_header_free(&h);
	return result;
}

/* Where Bcc was its only list, nobody is named when it comes again. */
static void
forget_nobody(struct buf *b)
{
	static const char nobody[] = "To: undisclosed-recipients:;\n\n";
	size_t len = strlen(nobody);

	if (b->len > len && strcmp(b->data + b->len - len, nobody) == 0) {
		buf_truncate(b, b->len - len);
		(void)buf_putc(b, '\n');
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char map[] = "root: ops@x.example\n*: all@x.example\n";
	struct conf conf = {.mailname = "h.example", .hostname = "h"};
	struct addr sender = {"new@y.example", 3};
	struct senders senders;
	struct buf once = {0}, twice = {0};
	struct mail_facts facts = {.conf = &conf,
	    .sender = &sender,
	    .senders = &senders,
	    .login = "joe",
	    .id = "0"};

	if (size == 0)
		return 0;
	senders_parse(&senders, &conf, map, sizeof(map) - 1, NULL, NULL);
	facts.rewritten = conf.from_envelope = data[0] % 2 == 1;
	if (repair(&facts, data + 1, size - 1, &once) == 0 &&
	    repair(&facts, once.data, once.len, &twice) == 0) {
		forget_nobody(&once);
		forget_nobody(&twice);
		size_t received = twice.len - once.len;

		need(twice.len > once.len &&
			 memcmp(twice.data, once.data, received) == 0 &&
			 strcmp(twice.data + received, once.data) == 0,
		    "repaired once more it is another one");
	}
	senders_free(&senders);
	buf_free(&once);
	buf_free(&twice);
	return 0;
}
