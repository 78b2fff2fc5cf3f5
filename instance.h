/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * instance.h - who runs us, with which configuration, on which spool.
 */
#ifndef DMA_INSTANCE_H
#define DMA_INSTANCE_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf.h"
#include "process.h"
#include "spool.h"

/* Built by main, constant afterwards; every role takes it. */
struct instance {
	const struct conf *conf;
	struct spool spool;
	struct process_env env;
	uid_t caller;	      /* real uid at the start; root's stays 0 here */
	bool private_instance; /* -C */
	bool all;	      /* root, system instance: the whole queue */
	const char *libexecdir;
};

/* Addresses and switches from the command line. */
enum delivery_mode { DELIVER_BACKGROUND, DELIVER_FOREGROUND, DELIVER_QUEUE };

struct submit_options {
	bool from_header; /* -t */
	bool ignore_dots; /* -i, -oi */
	const char *sender; /* -f, or NULL */
	const char *full_name; /* -F, or NULL */
	enum delivery_mode mode;
	bool verbose; /* -v */
	char **recipients;
	size_t nrecipients;
};

/* submit.c: take a message from stdin; returns the exit status. */
int	submit_message(struct instance *in, const struct submit_options *o);

/* ctl.c: mailq, and checking the alias file; return the exit status. */
int	ctl_mailq(struct instance *in);
int	ctl_newaliases(struct instance *in);

/*
 * queue.c.  queue_wake: after a commit, in the foreground process: fork a
 * detached child that wakes the runner or becomes it (S1, S2); errors are
 * ignored, the message is safe.  queue_flush: -q, -D, -v: try all (or the one
 * id) once, in the foreground, whatever their due time; returns 0.
 * queue_run: dmactl run: wake the runner or become it, due messages only.
 */
void	queue_wake(struct instance *in, const char *id);
int	queue_flush(struct instance *in, const char *id, bool verbose);
int	queue_run(struct instance *in);

#endif
