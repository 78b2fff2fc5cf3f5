/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * sandbox.h - what the kernel still allows a process that talks to strangers.
 *
 * A build with a sanitizer, with COVERAGE or with DMA_NO_SANDBOX has none: it
 * needs calls and files of its own.  Nobody can choose when it runs.
 */
#ifndef DMA_SANDBOX_H
#define DMA_SANDBOX_H

#include <stddef.h>
#include <stdint.h>

#define SANDBOX_TEXT_MAX 64 /* bytes of what sandbox_describe() says */

/* What is needed beside the name servers and what they are found by. */
struct sandbox_needs {
	uint16_t port;                /* to connect to, TCP */
	const char *socket_path;      /* or, instead, this socket; else NULL */
	const char *ca_file, *ca_dir; /* to read; they need not exist */
};

/*
 * From here on, and for all threads: files are read beneath the places of the
 * resolver, of CA certificates and time zones alone; nothing is written,
 * created or executed; connections go out to what is needed, none come in; no
 * process is made, signalled or looked at.  What is open stays open.  A call
 * that is forbidden fails (ENOSYS, EACCES): libraries fall back, nobody is
 * killed.
 *
 * A kernel that has no sandbox is no error.  Returns 0, or -1 with errno: then
 * the process may be half inside and must end.
 */
int sandbox_enter(const struct sandbox_needs *needs);

/* "Landlock (ABI 4), seccomp": what sandbox_enter() would use here. */
void sandbox_describe(char *text, size_t size);

#endif
