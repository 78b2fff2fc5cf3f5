/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * faults.c - preloaded by faults.py: one call of a function fails, or it and
 * all that follow.  CALLS(F) is written by faults.py: F(function, value).
 */
#include <sys/mman.h>

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file that FAULTS names; shared with the children of a process. */
struct page {
	char target[64];
	long nth;     /* fails; 0: none */
	long lasting; /* those that follow, too */
	long calls;   /* so far */
	char stack[4096]; /* of the last failure: object:function ... */
};

static struct page *page;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("FAULTS");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd == -1)
		return;
	(void)backtrace(&p, 1); /* the first one needs memory */
	p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		page = p;
}

/* Who was about to do without, innermost first. */
static void
note_stack(void)
{
	void *frames[48];
	int n = backtrace(frames, 48);
	size_t at = 0;

	for (int i = 2; i < n && at < sizeof(page->stack) - 1; i++) {
		Dl_info info;
		const char *object, *name;

		if (dladdr(frames[i], &info) == 0)
			continue;
		object = strrchr(info.dli_fname, '/');
		name = info.dli_sname != NULL ? info.dli_sname : "?";
		at += (size_t)snprintf(page->stack + at,
		    sizeof(page->stack) - at, "%s:%s+%lx ",
		    object != NULL ? object + 1 : info.dli_fname, name,
		    (unsigned long)((char *)frames[i] -
				    (char *)info.dli_fbase));
	}
}

static int
fails(const char *name)
{
	long n;

	if (page == NULL || strcmp(page->target, name) != 0)
		return 0;
	n = __atomic_add_fetch(&page->calls, 1, __ATOMIC_SEQ_CST);
	if (page->nth == 0 ||
	    (n != page->nth && (!page->lasting || n < page->nth)))
		return 0;
	note_stack();
	return 1;
}

/* ---- Memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static int
no_memory(void)
{
	if (!fails("malloc"))
		return 0;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return no_memory() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return no_memory() ? NULL : __libc_realloc(p, size);
}

/* Its callers are ours. */
char *
strdup(const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = no_memory() ? NULL : __libc_malloc(len);

	return copy != NULL ? memcpy(copy, s, len) : NULL;
}

/* ---- OpenSSL: whatever the arguments are, eight words hold them ---- */

typedef long call(long, long, long, long, long, long, long, long);

#define FUNCTION(name, value)                                         \
	long name(                                                    \
	    long a, long b, long c, long d, long e, long f, long g, long h) \
	{                                                             \
		static call *real;                                    \
		if (real == NULL)                                     \
			*(void **)&real = dlsym(RTLD_NEXT, #name);    \
		long r = fails(#name) ? value : real(a, b, c, d, e, f, g, h); \
		return r;                                             \
	}
CALLS(FUNCTION)
