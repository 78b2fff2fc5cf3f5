/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * help.c - what --help and --version print.
 *
 * Runs in:   dma, its set-id right given up.
 * Promises:  each screen has 24 lines of 80 columns at most.
 */
#include "help.h"

#include <sys/wait.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "util.h"

void
help_sendmail(void)
{
	static const char *const lines[] = {
	    "usage: sendmail [options] recipient ...  send the message on "
	    "stdin",
	    "       sendmail -t [options]             ... to those in its "
	    "header",
	    "       mailq | newaliases | dmactl --help",
	    "  -t         take recipients from To, Cc and Bcc",
	    "  -i, -oi    a lone dot does not end the message",
	    "  -f, -r A   sender address; <> is the null sender",
	    "  -F name    full name, where From has to be added",
	    "  -bm        send (the default)",
	    "  -bq, -odq  only queue, do not deliver now; -O DeliveryMode=q "
	    "too",
	    "  -bp, -bP   list the queue, as mailq; the number of messages",
	    "  -bs        SMTP on standard input and output",
	    "  -bi, -I    check the alias file, as newaliases",
	    "  -bv        say where each address would go, send nothing",
	    "  -q         try every queued message once, now",
	    "  -q[!]Ix    ... those whose id has x in it (! not); R recipient, "
	    "S sender",
	    "  -D         wait until delivery was tried once",
	    "  -v         the same, showing the SMTP dialogue",
	    "  -N -R -V   DSN: when to notify, how much, envelope id",
	    "  -C file    private instance with this configuration",
	    "  -L tag     name in the log",
	    "  -A -B -E -G -J -O -T -U -X -d -e -h -m -n -o -p -s -x",
	    "             accepted, without effect",
	    "  --help, --version",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		(void)puts(lines[i]);
}

void
help_dmactl(void)
{
	static const char *const lines[] = {
	    "usage: dmactl [-C file] run",
	    "       dmactl [-C file] queue COMMAND [options] [id ... | -]",
	    "",
	    "  run        take up what is due (cron, timer, boot)",
	    "  list       what is queued, as mailq; all where nothing is "
	    "chosen",
	    "  show       envelope, recipients, journal and header of a "
	    "message",
	    "  retry      try it now",
	    "  hold       leave it alone until it is released",
	    "  release    no longer hold it",
	    "  remove     take it out of the queue and tell nobody",
	    "  expire     give up now and tell its sender",
	    "",
	    "  id         a queue id, or its first 8 digits or more; - reads "
	    "them from stdin",
	    "  --sender A, --recipient A   an address or @domain",
	    "  --older T  messages that came before T: 30m, 12h, 5d",
	    "  --all      all messages; root: everybody's",
	    "  --json     list: one object a line, as postqueue -j",
	    "  --body     show: the whole message",
	    "  --yes      do not ask",
	    "  --help, --version",
	};

	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		(void)puts(lines[i]);
}

void
help_version(const char *libexecdir)
{
	char *path = xasprintf("%s/dma-smtp", libexecdir);
	int status = 0;
	pid_t pid;

	(void)printf("dma %s\n", DMA_VERSION);
	(void)fflush(stdout);
	if ((pid = fork()) == 0) {
		(void)execl(path, "dma-smtp", "--version", (char *)NULL);
		(void)printf("TLS and sandbox: unknown, %s: %s\n", path,
		    strerror(errno));
		(void)fflush(stdout);
		_exit(EX_OK);
	}
	while (pid > 0 && waitpid(pid, &status, 0) == -1 && errno == EINTR)
		continue;
	if (pid == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != EX_OK)
		(void)printf("TLS and sandbox: unknown, %s failed\n", path);
	free(path);
}
