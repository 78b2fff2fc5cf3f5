/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.c - run a command again and again, as a mail program's callers do,
 *            and say how long they waited.
 *
 *	submit [-n times] [-c at-once] [-m message] command [argument ...]
 *
 * Prints: median and 99th percentile of one run in microseconds, runs a
 * second, how many exited with another status than 0, and the most memory
 * that one of them had resident, in KiB.
 */
#include <sys/resource.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define AT_ONCE_MAX 64

struct running {
	pid_t pid; /* 0: a free place */
	int64_t began;
};

struct bench {
	long times, at_once, started, ended, failed, memory;
	const char *message;
	char **command;
	int64_t *took;
	struct running running[AT_ONCE_MAX];
};

static void
start(struct bench *b, struct running *place)
{
	char *no_environment[] = {NULL};
	posix_spawn_file_actions_t actions;
	int error;

	if (posix_spawn_file_actions_init(&actions) != 0 ||
	    posix_spawn_file_actions_addopen(
		&actions, STDIN_FILENO, b->message, O_RDONLY, 0) != 0)
		errx(1, "out of memory");
	place->began = now_us();
	error = posix_spawn(&place->pid, b->command[0], &actions, NULL,
	    b->command, no_environment);
	if (error != 0)
		errx(1, "%s: %s", b->command[0], strerror(error));
	(void)posix_spawn_file_actions_destroy(&actions);
	b->started++;
}

static void
hear_one(struct bench *b)
{
	struct rusage used;
	int status;
	pid_t pid = wait4(-1, &status, 0, &used);
	int64_t now = now_us();

	if (pid > 0 && used.ru_maxrss > b->memory)
		b->memory = used.ru_maxrss;
	for (long i = 0; i < b->at_once; i++)
		if (b->running[i].pid == pid) {
			b->running[i].pid = 0;
			b->took[b->ended++] = now - b->running[i].began;
			b->failed += status != 0;
		}
}

static int
by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void
run(struct bench *b)
{
	int64_t began = now_us(), all;

	while (b->ended < b->times) {
		for (long i = 0; i < b->at_once; i++)
			if (b->running[i].pid == 0 && b->started < b->times)
				start(b, &b->running[i]);
		hear_one(b);
	}
	all = now_us() - began;
	qsort(b->took, (size_t)b->times, sizeof(*b->took), by_size);
	printf("%lld %lld %.0f %ld %ld\n", (long long)b->took[b->times / 2],
	    (long long)b->took[b->times * 99 / 100],
	    (double)b->times * 1e6 / (double)all, b->failed, b->memory);
}

int
main(int argc, char **argv)
{
	struct bench b = {.times = 1, .at_once = 1, .message = "/dev/null"};
	int option;

	while ((option = getopt(argc, argv, "+n:c:m:")) != -1) {
		if (option == 'n')
			b.times = number(optarg, 1, 10000000);
		else if (option == 'c')
			b.at_once = number(optarg, 1, AT_ONCE_MAX);
		else if (option == 'm')
			b.message = optarg;
		else
			return 2;
	}
	if (argv[optind] == NULL)
		errx(2, "usage: submit [-n times] [-c at-once] [-m message] "
			"command [argument ...]");
	b.command = argv + optind;
	b.took = calloc((size_t)b.times, sizeof(*b.took));
	if (b.took == NULL)
		err(1, "calloc");
	run(&b);
	return b.failed != 0;
}
