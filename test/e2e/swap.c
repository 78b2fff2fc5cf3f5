/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * swap.c - for some seconds, as fast as it can, exchange what has a name with
 * each file of a directory in turn, so that a check and the use that follows
 * see two different things.
 *
 *	swap SECONDS PATH DIRECTORY [away]
 *
 * With a fourth word nothing has the name half of the time.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	DIR *d = argc >= 4 ? opendir(argv[3]) : NULL;
	time_t end = time(NULL) + (argc >= 4 ? atoi(argv[1]) : 0);
	char names[32][300];
	unsigned long swaps = 0;
	size_t n = 0;

	if (d == NULL)
		return 2;
	for (const struct dirent *e; n < 32 && (e = readdir(d)) != NULL;)
		if (e->d_name[0] != '.')
			(void)snprintf(
			    names[n++], sizeof(*names), "%s", e->d_name);
	while (time(NULL) < end)
		for (size_t i = 0; i < n; i++) {
			int failed = renameat2(AT_FDCWD, argv[2], dirfd(d),
			    names[i], RENAME_EXCHANGE);
			/* Nothing there, or it is taken away: a bare move. */
			if (failed != 0)
				failed = renameat2(dirfd(d), names[i], AT_FDCWD,
				    argv[2], RENAME_NOREPLACE);
			swaps += failed == 0;
			if (argc == 5 && renameat2(AT_FDCWD, argv[2], dirfd(d),
					     names[i], RENAME_NOREPLACE) != 0)
				(void)unlink(argv[2]);
		}
	printf("%lu\n", swaps);
	return 0;
}
