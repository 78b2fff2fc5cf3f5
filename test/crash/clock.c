/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * clock.c - preloaded into a private instance: its calendar is as many
 * seconds away from ours as the file DMA_CLOCK says (8 bytes, of this
 * machine), and jumps when that is written.
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("DMA_CLOCK");
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd == -1)
		return;
	p = mmap(NULL, sizeof(*offset), PROT_READ, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		offset = p;
	(void)close(fd);
}

int
clock_gettime(clockid_t id, struct timespec *t)
{
	long status = syscall(SYS_clock_gettime, id, t);

	if (status == 0 && id == CLOCK_REALTIME && offset != NULL)
		t->tv_sec += (time_t)*offset;
	return (int)status;
}

time_t
time(time_t *to)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_REALTIME, &t);
	if (to != NULL)
		*to = t.tv_sec;
	return t.tv_sec;
}
