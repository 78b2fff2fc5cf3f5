/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * clock.c - preloaded into a private instance by a test: the system's clock is
 * wrong by what the file OFFSET says, in seconds, and changes when that does.
 */
#include <sys/syscall.h>

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static time_t
offset(void)
{
	char text[32] = "";
	int fd = open(OFFSET, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return 0;
	if (read(fd, text, sizeof(text) - 1) == -1)
		text[0] = '\0';
	(void)close(fd);
	return (time_t)strtoll(text, NULL, 10);
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	int status = (int)syscall(SYS_clock_gettime, id, t);

	if (status == 0 && id == CLOCK_REALTIME)
		t->tv_sec += offset();
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
