/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * gap.c - preloaded into a private instance by a test: a runner that is about
 * to end takes its time around the closing of the FIFO and before its end (R4 to
 * R6), where a submission could be stranded if the protocol were wrong.
 */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void
dawdle(void)
{
	struct timespec t = {.tv_nsec = 30000000};

	(void)nanosleep(&t, NULL);
}

int
close(int fd)
{
	struct stat st;
	int fifo = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
	long result;

	if (fifo)
		dawdle(); /* wake-ups come that nobody will read */
	result = syscall(SYS_close, fd);
	if (fifo)
		dawdle(); /* nobody is at the FIFO, but the lock is held */
	return (int)result;
}

void
_exit(int status)
{
	dawdle();
	for (;;)
		(void)syscall(SYS_exit_group, status);
}
