/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * smtpd.c - any client's side of a whole -bs session: replies are lines of
 * RFC 5321, and what was said to be queued, and nothing else, is.
 *
 * The first byte: odd for a socket, over 1 in how many reads the rest comes.
 */
#include "fuzz.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "private.h"
#include "smtpd.h"

#define PIECES_MAX 15 /* that a pipe has room for, whatever their size */
#define CONF                                                                   \
	"MAILNAME here.example\nMAXSIZE 4k\nMINFREE 0\nWARN 0\n"               \
	"ALIASES /nonexistent\nSPOOLDIR /nonexistent\n"

/* The reading end of what holds the input in pieces. */
static int
make_input(bool local, size_t pieces, const uint8_t *data, size_t size)
{
	size_t piece = size / pieces + 1, len;
	int fd[2];

	need((local ? socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fd)
		    : pipe2(fd, O_DIRECT)) == 0,
	    "descriptors");
	/* A socket pair has no direction, a pipe one. */
	for (; size > 0; data += len, size -= len) {
		len = size < piece ? size : piece;
		need(write(fd[1], data, len) == (ssize_t)len, "write");
	}
	need(close(fd[1]) == 0, "close");
	return fd[0];
}

static size_t
count(const char *text, size_t len, const char *word)
{
	const char *end = text + len, *p = text;
	size_t n = 0, word_len = strlen(word);

	while ((p = memmem(p, (size_t)(end - p), word, word_len)) != NULL) {
		p += word_len;
		n++;
	}
	return n;
}

/*
 * Empty messages whose first line is the end: what comes before it belongs to
 * the command (RFC 5321, 4.1.1.4), which may end in LF alone.
 */
static size_t
count_empty(const char *text, size_t len)
{
	static const char end[] = "\n.\r\n";
	const char *p = text, *rest = text + len;
	size_t n = 0;

	while ((p = memmem(p, (size_t)(rest - p), end, 4)) != NULL) {
		const char *last = p++;

		while (last > text && ascii_isblank((unsigned char)last[-1]))
			last--;
		n += last - text >= 4 &&
		     ascii_strncasecmp(last - 4, "DATA", 4) == 0;
	}
	return n;
}

/* Whose text is ours alone: a refusal may repeat what it is about. */
static bool
says_queued(const char *reply)
{
	return strncmp(reply, "250 2.0.0 Ok: queued as ", 24) == 0 ||
	       strncmp(reply, "250 Ok: queued as ", 18) == 0;
}

/* Returns how many messages are said to be queued. */
static size_t
check_replies(const char *text, size_t len)
{
	const char *end = text + len, *cr;
	size_t queued = 0;

	need(strncmp(text, "220 here.example ESMTP", 22) == 0, "a greeting");
	for (; text < end; text = cr + 2) {
		cr = memchr(text, '\r', (size_t)(end - text));
		need(cr != NULL && cr + 1 < end && cr[1] == '\n', "CRLF");
		need(cr - text >= 4 && cr - text <= 510, "length of a reply");
		need(text[0] >= '2' && text[0] <= '5' && text[1] >= '0' &&
			 text[1] <= '5' && (text[3] == ' ' || text[3] == '-'),
		    "a code");
		for (const char *p = text; p < cr; p++)
			need(ascii_isprint((unsigned char)*p), "a reply");
		queued += says_queued(text);
	}
	return queued;
}

static void
check(const char *said, size_t len, const uint8_t *data, size_t size)
{
	size_t queued = check_replies(said, len);

	need(private_count() == queued, "as many as were said to be");
	need(queued <= count((const char *)data, size, "\r\n.\r\n") +
			   count_empty((const char *)data, size),
	    "a message that had no end");
	private_check_log();
	private_clear();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int out = -1;
	char *said;
	size_t len;

	if (size < 2 || size > PIECES_MAX * 4000)
		return 0;
	if (out == -1)
		out = memfd_create("replies", MFD_CLOEXEC);
	private_start(CONF);
	int fd = make_input(
	    data[0] % 2 == 1, data[0] / 2 % PIECES_MAX + 1, data + 1, size - 1);
	need(ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0 &&
		 dup2(fd, 0) == 0 && dup2(out, 1) == 1 && close(fd) == 0,
	    "descriptors");
	int status = smtpd_serve(&in, DELIVER_QUEUE);
	need(status == EX_OK || status == EX_IOERR || status == EX_DATAERR,
	    "status");
	need(read_file_fd(dup(out), 1 << 24, &said, &len, NULL) == 0, "said");
	check(said, len, data + 1, size - 1);
	free(said);
	return 0;
}
