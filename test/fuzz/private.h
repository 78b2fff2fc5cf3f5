/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * private.h - a private instance for fuzz targets: its spool lies in memory
 * where there is such a place, and is gone when the target ends.
 */
#ifndef DMA_TEST_FUZZ_PRIVATE_H
#define DMA_TEST_FUZZ_PRIVATE_H

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../instance.h"
#include "fuzz.h"
#include "log.h"

static struct instance in;
static char spool_path[64], log_path[72];

static inline void
private_clear(void)
{
	DIR *d = opendir(spool_path);
	struct dirent *entry;

	while (d != NULL && (entry = readdir(d)) != NULL)
		(void)unlinkat(in.spool.dirfd, entry->d_name, 0);
	if (d != NULL)
		(void)closedir(d);
}

static inline void
private_leave(void)
{
	private_clear();
	(void)rmdir(spool_path);
	(void)unlink(log_path);
	spool_close(&in.spool);
	conf_free(in.conf);
}

static inline void
private_start(const char *conf)
{
	struct conf_error error;
	const char *why;

	if (in.conf != NULL)
		return;
	(void)snprintf(spool_path, sizeof(spool_path), "%s/dma-fuzz.XXXXXX",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	need(mkdtemp(spool_path) != NULL &&
		 spool_open(&in.spool, spool_path, true, &why) == 0,
	    "a spool");
	(void)snprintf(log_path, sizeof(log_path), "%s.log", spool_path);
	in.private_instance = in.all = in.spool.all = true;
	in.caller = getuid();
	in.conf = conf_parse("file", conf, strlen(conf), true, &error);
	need(in.conf != NULL && log_open(LOG_TO_FILE, log_path, 1, NULL) == 0,
	    "an instance");
	(void)atexit(private_leave);
}

/* What was logged is whole lines of text, and now forgotten. */
static inline void
private_check_log(void)
{
	char *text;
	size_t len;

	need(read_file(log_path, 1 << 20, &text, &len, NULL) == 0, "a log");
	for (size_t i = 0; i < len; i++)
		need(ascii_isprint((unsigned char)text[i]) || text[i] == '\n',
		    "a byte of the log");
	need(len == 0 || text[len - 1] == '\n', "a line of the log");
	free(text);
	(void)truncate(log_path, 0);
}

/* How many messages are queued; each is whole. */
static inline int
private_count_one(void *arg, const char *id)
{
	struct spool_file f;

	need(spool_file_open(&in.spool, id, true, &f) == 0 &&
		 spool_file_verify(&in.spool, &f) == 0,
	    "a message that decodes");
	spool_file_close(&f);
	++*(size_t *)arg;
	return 0;
}

static inline size_t
private_count(void)
{
	size_t n = 0;

	need(spool_scan(&in.spool, private_count_one, &n) == 0, "a scan");
	return n;
}

#endif
