/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * help.h - what --help and --version print.
 */
#ifndef DMA_HELP_H
#define DMA_HELP_H

void help_sendmail(void);
void help_dmactl(void);

/*
 * Our version, then what dma-smtp in this directory says of TLS and sandbox:
 * we link neither.  It is executed with the rights that we have.
 */
void help_version(const char *libexecdir);

#endif
