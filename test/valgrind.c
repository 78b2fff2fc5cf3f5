/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * valgrind.c - stands in for dma: the same name and arguments, with valgrind
 * around it and what it executes.  PROGRAMS is where its names are links to it,
 * and the logs are written above.  Or it stands in for an installed dma-local,
 * which has .real behind its name then, and executes what is not ours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const char *name = slash != NULL ? slash + 1 : argv[0];
	int is_local = argc > 0 && strcmp(name, "dma-local") == 0;
	char program[4096] = "";
	char *options[] = {"valgrind", "-q",
	    is_local ? "--trace-children=no" : "--trace-children=yes",
	    "--error-exitcode=99", "--leak-check=full",
	    "--errors-for-leak-kinds=definite",
	    "--log-file=" PROGRAMS "/../vg.%p", program};
	size_t n = sizeof(options) / sizeof(options[0]);
	char **args = calloc((size_t)argc + n + 1, sizeof(*args));

	if (args == NULL || argc == 0)
		return 71;
	if (is_local) {
		(void)readlink("/proc/self/exe", program, sizeof(program) - 6);
		strcat(program, ".real");
	} else {
		(void)snprintf(
		    program, sizeof(program), "%s/%s", PROGRAMS, name);
	}
	memcpy(args, options, sizeof(options));
	memcpy(args + n, argv + 1, (size_t)argc * sizeof(*args));
	(void)execvp(args[0], args);
	perror("valgrind");
	return 71;
}
