/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * store.c - the floor of a submission: what a program must do at the least
 *           to keep what it reads.
 *
 *	store directory <file
 *
 * Create, write, fsync, rename, fsync of the directory: the same order as
 * dma's, and nothing else.  No parsing, no locks, no configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "bench.h"

static void
copy(int from, int to)
{
	static char piece[64 * 1024];
	ssize_t n;

	while ((n = read(from, piece, sizeof(piece))) > 0)
		if (write(to, piece, (size_t)n) != n)
			err(1, "write");
	if (n == -1)
		err(1, "read");
}

int
main(int argc, char **argv)
{
	char draft[64], name[48];
	int directory, fd;

	if (argc != 2)
		errx(2, "usage: store directory <file");
	directory = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory == -1)
		err(1, "%s", argv[1]);
	(void)snprintf(name, sizeof(name), "%lld.%ld", (long long)now_us(),
	    (long)getpid());
	(void)snprintf(draft, sizeof(draft), "tmp.%s", name);
	fd = openat(
	    directory, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		err(1, "%s", draft);
	copy(STDIN_FILENO, fd);
	if (fsync(fd) == -1 ||
	    renameat(directory, draft, directory, name) == -1 ||
	    fsync(directory) == -1)
		err(1, "%s", name);
	return 0;
}
