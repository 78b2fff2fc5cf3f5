/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * snoop.c - a recipient who lies in wait for the agents that run as him: for
 * some seconds it slows down every new process of its own user, and tries to
 * get hold of it and of its descriptors.  Prints the name of each that it got.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The number that was given to a process last. */
static int
last_pid(void)
{
	char text[128] = "", *last;
	int fd = open("/proc/loadavg", O_RDONLY);

	(void)!read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	last = strrchr(text, ' ');
	return last == NULL ? 0 : atoi(last + 1);
}

static void
try_one(int pid)
{
	const struct sched_param idle = {0};
	char path[64], name[32] = "";
	int fd;

	if (kill(pid, 0) != 0)
		return;
	(void)sched_setscheduler(pid, SCHED_IDLE, &idle);
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
		return;
	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY);
	(void)!read(fd, name, sizeof(name) - 1);
	(void)close(fd);
	printf("%s", name);
	(void)fflush(stdout);
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

int
main(int argc, char **argv)
{
	time_t until = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	int seen = last_pid();

	printf("ready\n");
	(void)fflush(stdout);
	while (time(NULL) < until) {
		int now = last_pid();

		if (now < seen || now > seen + 500)
			seen = now;
		for (int pid = now - 20; pid <= now + 1; pid++)
			if (pid > 1 && pid != getpid())
				try_one(pid);
	}
	return 0;
}
