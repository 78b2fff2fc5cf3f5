/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * dma.c - the program's names, options and exit statuses.
 *
 * Runs in:   dma, setgid: started by anybody, in any environment.
 * Trusts:    nothing but its compiled-in paths, and the configuration there.
 * Promises:  rights are settled (given up for -C, root becomes USER) before
 *            any file that a caller can choose is opened.
 */
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "ctl.h"
#include "handover.h"
#include "help.h"
#include "instance.h"
#include "log.h"
#include "mail.h"
#include "options.h"
#include "queue.h"
#include "smtpd.h"
#include "submit.h"
#include "util.h"
#include "verify.h"

/* ---- Rights ---- */

/*
 * The group that the setgid bit gave us.  Asking the user database would cost
 * a twentieth of a submission, so only where the bit had no effect is it asked.
 */
static bool
find_group(gid_t *gid)
{
	const struct group *gr;

	*gid = getegid();
	if (*gid != getgid())
		return true;
	if ((gr = getgrnam(DMA_GROUP)) != NULL)
		*gid = gr->gr_gid;
	return gr != NULL;
}

/*
 * Nothing below runs as root.  Its mail is queued and delivered as USER; what
 * comes over a socket is the mail of the peer, if that is a local user.
 */
static void
give_up_root(struct instance *in, const struct peer *peer)
{
	const struct passwd *pw = getpwnam(DMA_USER);
	bool for_peer = peer->kind == PEER_LOCAL && peer->uid != 0;
	gid_t gid;
	uid_t uid;

	if (pw == NULL || !find_group(&gid))
		die(EX_CONFIG,
		    "user %s or group %s does not exist; create them", DMA_USER,
		    DMA_GROUP);
	uid = for_peer ? peer->uid : pw->pw_uid;
	if (process_become(uid, gid) != 0)
		die(EX_OSERR, "cannot become user %lu: %s", (unsigned long)uid,
		    strerror(errno));
	/* Root's process, but not his mail. */
	if (peer->kind != PEER_NONE)
		process_env_free(&in->env);
	if (for_peer || peer->kind == PEER_NETWORK)
		in->caller = uid;
	in->all = !for_peer;
}

/* True if the setgid bit has no effect here, and the group is not ours. */
static bool
group_is_missing(void)
{
	gid_t gid;

	return !find_group(&gid) || gid != getegid();
}

static void
settle_rights(struct instance *in, const struct options *o)
{
	struct peer peer = {.kind = PEER_NONE};

	if (o->action == ACTION_SMTP)
		smtpd_meet(&peer);
	in->caller = getuid();
	in->private_instance = o->conf_path != NULL;
	if (in->private_instance) {
		if (process_drop_setid() != 0)
			die(EX_OSERR, "cannot give up the setgid right: %s",
			    strerror(errno));
	} else if (in->caller == 0) {
		give_up_root(in, &peer);
	} else {
		in->confined = group_is_missing();
	}
}

/* ---- What everything works on ---- */

/*
 * Nothing can be taken in.  A person is told, and the log; a program that
 * speaks SMTP hears it as it hears everything.
 */
static NORETURN void
turn_away(const struct instance *in, const struct options *o, int status,
    const char *text)
{
	complain("%s", text);
	if (!in->private_instance || in->conf != NULL)
		log_event(LOG_SUBMIT, LOG_ERR, "uid=%lu: not accepted: %s",
		    (unsigned long)in->caller, text);
	if (o->action == ACTION_SMTP)
		smtpd_turn_away(text);
	else if (o->action == ACTION_SEND)
		mail_drain(STDIN_FILENO);
	exit(status);
}

static const char *
log_advice(const struct instance *in, int error)
{
	if (error == EPERM) /* log_open() does not trust it */
		return ": it must be a plain file with one link, of root or, "
		       "with -C, yours";
	if (error == EACCES && !in->private_instance)
		return ": chgrp " DMA_GROUP " and chmod g+w it";
	return "";
}

static void
load_configuration(struct instance *in, const struct options *o)
{
	static char absolute[PATH_MAX];
	struct conf_error error;

	in->conf_path =
	    in->private_instance ? o->conf_path : DMA_CONFDIR "/dma.conf";
	/* A runner, in /, reads it again. */
	if (in->private_instance && realpath(o->conf_path, absolute) != NULL)
		in->conf_path = absolute;
	in->conf = in->confined
		       ? conf_load_public(in->conf_path, &error)
		       : conf_load(in->conf_path, in->private_instance, &error);
	if (in->conf == NULL)
		turn_away(in, o, EX_CONFIG, error.text);
	if (log_open(in->conf->log_target, in->conf->log_path,
		in->private_instance, o->tag) != 0 &&
	    !in->confined)
		complain("%s: cannot log there: %s%s", in->conf->log_path,
		    strerror(errno), log_advice(in, errno));
	if (o->submit.verbose && o->submit.mode != DELIVER_QUEUE)
		log_echo();
}

static void
open_spool(struct instance *in, const struct options *o)
{
	const char *why = NULL;
	char text[PATH_MAX + 64];

	if (spool_open(&in->spool, in->conf->spooldir, in->private_instance,
		&why) != 0) {
		(void)snprintf(text, sizeof(text), "spool %s %s%s",
		    in->conf->spooldir, why,
		    in->private_instance
			? " (SPOOLDIR: a directory of yours, chmod 700)"
			: " (chown root:" DMA_GROUP ", chmod 2770)");
		turn_away(in, o, EX_OSFILE, text);
	}
	in->spool.all = in->all;
}

/* Whether what is asked for needs the spool; without the group some can do. */
static bool
needs_spool(const struct instance *in, const struct options *o)
{
	if (o->action == ACTION_ALIASES || o->action == ACTION_VERIFY)
		return false;
	if (!in->confined)
		return true;
	if (o->action == ACTION_SEND || o->action == ACTION_SMTP)
		return false;
	die(EX_NOPERM, HANDOVER_CONFINED "; the queue is out of reach");
}

static int
act(struct instance *in, const struct options *o)
{
	switch (o->action) {
	case ACTION_SEND:
		return submit_message(in, &o->submit);
	case ACTION_SMTP:
		return in->confined ? handover_session(in)
				    : smtpd_serve(in, o->submit.mode);
	case ACTION_QUEUE:
		return ctl_queue(in, &o->ctl);
	case ACTION_COUNT:
		return ctl_count(in);
	case ACTION_FLUSH:
		return queue_flush(in, o->flush.count > 0 ? &o->flush : NULL,
		    o->submit.verbose);
	case ACTION_RUN:
		return queue_run(in);
	case ACTION_ALIASES:
		return ctl_newaliases(in);
	case ACTION_VERIFY:
		return verify_addresses(in, &o->submit);
	case ACTION_HELP:
	case ACTION_VERSION:
	case ACTION_NOTHING:
		break;
	}
	return EX_OK;
}

/* Neither root nor the group has anything to do with it. */
static void
print_version(const struct options *o)
{
	struct conf_error error;
	struct conf *c = NULL;

	if (process_drop_setid() != 0)
		die(EX_OSERR, "cannot give up the setgid right: %s",
		    strerror(errno));
	if (o->conf_path != NULL)
		c = conf_load(o->conf_path, true, &error);
	help_version(c == NULL ? DMA_LIBEXECDIR : c->libexecdir);
	conf_free(c);
}

/* What needs neither rights nor a spool. */
static bool
say_something(const struct options *o)
{
	if (o->action == ACTION_HELP)
		(o->is_ctl ? help_dmactl : help_sendmail)();
	else if (o->action == ACTION_VERSION)
		print_version(o);
	return o->action == ACTION_HELP || o->action == ACTION_VERSION ||
	       o->action == ACTION_NOTHING;
}

int
main(int argc, char **argv)
{
	struct instance in = {.spool.dirfd = -1};
	struct options o;
	int status = EX_OK;

	process_enter(3, &in.env);
	options_parse(&o, argc, argv);
	if (!say_something(&o)) {
		settle_rights(&in, &o);
		load_configuration(&in, &o);
		if (needs_spool(&in, &o))
			open_spool(&in, &o);
		status = act(&in, &o);
	}
	conf_free(in.conf);
	spool_close(&in.spool);
	options_free(&o);
	process_env_free(&in.env);
	return status;
}
