/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * send.c - the floor of a flush: every file of a directory to the sink, and
 *          removed when the sink took it.
 *
 *	send directory port connections
 *
 * One process a connection, one round trip a message, one fsync of the
 * directory for every 50: what a flush costs without locks, decisions,
 * records and a log.
 */
#include <sys/socket.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define MESSAGE_MAX (64 * 1024)
#define TURN        50 /* messages for one fsync */

static const char envelope[] = "MAIL FROM:<a@bench.example>\r\n"
			       "RCPT TO:<b@bench.example>\r\nDATA\r\n";

static int
connect_to(long port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
	    .sin_port = htons((uint16_t)port),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd == -1 || connect(fd, (struct sockaddr *)&a, sizeof(a)) == -1)
		err(1, "cannot connect");
	return fd;
}

static void
put(int fd, const char *p, size_t len)
{
	if (send(fd, p, len, MSG_NOSIGNAL) != (ssize_t)len)
		err(1, "send");
}

/* Read until so many more replies have come: lines "250 text". */
static void
hear(int fd, long replies)
{
	static char text[4096];
	static size_t len;
	static long owed; /* below 0: what came with the last ones */

	for (owed += replies; owed > 0;) {
		ssize_t n = recv(fd, text + len, sizeof(text) - len, 0);
		char *line = text, *end;

		if (n <= 0)
			errx(1, "the sink is gone");
		len += (size_t)n;
		while ((end = memchr(
			    line, '\n', len - (size_t)(line - text))) != NULL) {
			if (line[3] == ' ')
				owed--;
			line = end + 1;
		}
		len -= (size_t)(line - text);
		memmove(text, line, len);
	}
}

/* A message with LF line ends; returns its length on the wire. */
static size_t
read_message(int directory, const char *name, char *wire)
{
	static char text[MESSAGE_MAX / 2];
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd == -1 ? -1 : read(fd, text, sizeof(text));
	size_t len = 0;

	if (n == -1)
		err(1, "%s", name);
	(void)close(fd);
	for (ssize_t i = 0; i < n; i++) {
		if (text[i] == '\n')
			wire[len++] = '\r';
		wire[len++] = text[i];
	}
	return len;
}

/* Which of so many connections a name belongs to. */
static long
share_of(const char *name, long shares)
{
	unsigned long sum = 0;

	for (; *name != '\0'; name++)
		sum = sum * 31 + (unsigned char)*name;
	return (long)(sum % (unsigned long)shares);
}

/* One message: its dot and the next one's envelope are one write. */
static void
transfer(int fd, int directory, const char *name)
{
	static char wire[MESSAGE_MAX + sizeof(envelope) + 16];
	size_t len = read_message(directory, name, wire);

	memcpy(wire + len, ".\r\n", 3);
	memcpy(wire + len + 3, envelope, sizeof(envelope) - 1);
	hear(fd, 3);
	put(fd, wire, len + 3 + sizeof(envelope) - 1);
	hear(fd, 1);
}

static void
work(int directory, long port, long mine, long shares)
{
	int fd = connect_to(port);
	DIR *d = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY));
	const struct dirent *e;
	long sent = 0;

	if (d == NULL)
		err(1, "fdopendir");
	put(fd, "EHLO bench.example\r\n", 20);
	hear(fd, 2); /* the greeting and EHLO's */
	put(fd, envelope, sizeof(envelope) - 1);
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.' || share_of(e->d_name, shares) != mine)
			continue;
		transfer(fd, directory, e->d_name);
		if (unlinkat(directory, e->d_name, 0) == -1 ||
		    (++sent % TURN == 0 && fsync(directory) == -1))
			err(1, "%s", e->d_name);
	}
	if (fsync(directory) == -1)
		err(1, "fsync");
}

int
main(int argc, char **argv)
{
	long port, connections, failed = 0;
	int directory, status;

	if (argc != 4)
		errx(2, "usage: send directory port connections");
	port = number(argv[2], 1, 65535);
	connections = number(argv[3], 1, 100);
	directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory == -1)
		err(1, "%s", argv[1]);
	for (long i = 0; i < connections; i++)
		if (fork() == 0) {
			work(directory, port, i, connections);
			_exit(0);
		}
	while (wait(&status) > 0)
		failed += status != 0;
	return failed != 0;
}
