/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * replay.c - a main for the fuzz targets where no fuzzer is: one call for each
 * file that is named, and for each file of a directory.
 */
#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>

#include "fuzz/fuzz.h"

static unsigned long files;

static void
replay(const char *path)
{
	char *data;
	size_t size;

	if (read_file(path, 1 << 26, &data, &size, NULL) == -1) {
		perror(path);
		exit(1);
	}
	/* What dies says which it was. */
	(void)fprintf(stderr, "%s\n", path);
	/* Of its very size, so that a sanitizer sees who reads on. */
	uint8_t *bytes = xmalloc(size + 1);
	memcpy(bytes, data, size);
	bytes = xreallocarray(bytes, size > 0 ? size : 1, 1);
	(void)LLVMFuzzerTestOneInput(bytes, size);
	free(bytes);
	free(data);
	files++;
}

static void
replay_all(const char *directory)
{
	DIR *d = opendir(directory);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		char *path = xasprintf("%s/%s", directory, entry->d_name);
		replay(path);
		free(path);
	}
	if (d != NULL)
		(void)closedir(d);
}

int
main(int argc, char **argv)
{
	struct stat st;

	for (int i = 1; i < argc; i++)
		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			replay_all(argv[i]);
		else
			replay(argv[i]);
	/* A target may have another use for standard output. */
	(void)fprintf(stderr, "replayed %lu\n", files);
	return 0;
}
