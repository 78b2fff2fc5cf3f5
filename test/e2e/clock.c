/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * clock.c - preloaded into a private instance by a test: the system's clock is
 * wrong by what the file OFFSET says, in seconds, and changes when that does.
 * A second number there is what the machine is said to have slept.
 */
#include <sys/syscall.h>

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void
add_offset(clockid_t id, struct timespec *t)
{
	char text[64] = "", *rest;
	long long wrong, slept;
	int fd = open(OFFSET, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return;
	if (read(fd, text, sizeof(text) - 1) == -1)
		text[0] = '\0';
	(void)close(fd);
	wrong = strtoll(text, &rest, 10);
	slept = strtoll(rest, NULL, 10);
	t->tv_sec += (time_t)(id == CLOCK_REALTIME ? wrong : slept);
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int status = (int)syscall(SYS_clock_gettime, id, t);

	if (status == 0 && (id == CLOCK_REALTIME || id == CLOCK_BOOTTIME))
		add_offset(id, t);
	return status;
}

time_t
time(time_t *t)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (t != NULL)
		*t = now.tv_sec;
	return now.tv_sec;
}
