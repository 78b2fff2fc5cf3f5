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

/*
 * Built by main; every role takes it.  Only the runner changes it: it loads
 * the configuration anew.
 */
struct instance {
	struct conf *conf;
	const char *conf_path;
	struct spool spool;
	struct process_env env;
	uid_t caller;          /* real uid at the start; root's stays 0 here */
	bool private_instance; /* -C */
	bool confined;         /* without the group: no spool, no auth.conf */
	bool all;              /* root, system instance: the whole queue */
};

#endif
