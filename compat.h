/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * compat.h - what some of our systems' C libraries do not have.
 *
 * Include it first, after the module's own header at most: it asks the
 * C library for its extensions.
 */
#ifndef DMA_COMPAT_H
#define DMA_COMPAT_H

#include <stddef.h>
#include <sys/types.h>

#if defined(__GNUC__)
#define PRINTFLIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN         __attribute__((noreturn))
#else
#define PRINTFLIKE(f, a)
#define NORETURN
#endif

/* As strlcpy(3): returns strlen(src); >= size means that it was cut. */
size_t compat_strlcpy(char *dst, const char *src, size_t size);

/* Close every descriptor from `lowest` up; never fails. */
void compat_closefrom(int lowest);

/*
 * Rename within one directory, replacing nothing (renameat2 NOREPLACE, else
 * link and unlink).  Returns 0, or -1 with errno (EEXIST: `to` exists).
 */
int compat_rename_noreplace(int dirfd, const char *from, const char *to);

/* Overwrite in a way that no compiler removes. */
void compat_explicit_bzero(void *p, size_t len);

/* Fill with random bytes from the kernel.  Returns 0, or -1 with errno. */
int compat_random(void *p, size_t len);

#endif
