/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * faults.c - preloaded by faults.py: one call of a function fails, or it and
 * all that follow.  CALLS(F) is written by faults.py: F(function, value).
 */
#include <sys/mman.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file that FAULTS names; shared with the children of a process. */
struct page {
	char target[64];
	long nth;     /* fails; 0: none */
	long lasting; /* those that follow, too */
	long calls;   /* so far */
	long inside;  /* a library had to do without that cannot */
};

static struct page *page;
static int prepared; /* OpenSSL was used once */
static void *libc_base, *crypto_base;
static void *base_of(void *place);

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("FAULTS");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd == -1)
		return;
	libc_base = base_of(dlsym(RTLD_NEXT, "qsort"));
	crypto_base = base_of(dlsym(RTLD_DEFAULT, "OpenSSL_version"));
	p = mmap(NULL, sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (p != MAP_FAILED)
		page = p;
}

static int
fails(const char *name)
{
	long n;

	if (page == NULL || strcmp(page->target, name) != 0)
		return 0;
	n = __atomic_add_fetch(&page->calls, 1, __ATOMIC_SEQ_CST);
	return page->nth != 0 &&
	       (n == page->nth || (page->lasting && n > page->nth));
}

/* ---- Memory ---- */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

static void *
base_of(void *place)
{
	Dl_info info;

	return place != NULL && dladdr(place, &info) != 0 ? info.dli_fbase
							   : NULL;
}

/*
 * Without memory the C library's search for users crashes, and OpenSSL 3.0
 * when it makes its first context (a null lock in its first EVP_MD_fetch).
 */
static int
no_memory(void *caller)
{
	void *base;

	if (!fails("malloc"))
		return 0;
	base = base_of(caller);
	if (base == libc_base || (base == crypto_base && !prepared))
		page->inside = 1;
	errno = ENOMEM;
	return 1;
}

#define NO_MEMORY no_memory(__builtin_return_address(0))

void *
malloc(size_t size)
{
	return NO_MEMORY ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return NO_MEMORY ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return NO_MEMORY ? NULL : __libc_realloc(p, size);
}

/* Its callers are ours. */
char *
strdup(const char *s)
{
	size_t len = strlen(s) + 1;
	char *copy = NO_MEMORY ? NULL : __libc_malloc(len);

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
		prepared |= strcmp(#name, "EVP_Digest") == 0;         \
		return r;                                             \
	}
CALLS(FUNCTION)
