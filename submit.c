/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * submit.c - a message from stdin, or one line that says why not.
 *
 * Runs in:   dma, setgid, with the submitter's uid.
 * Distrusts: argv, stdin.
 * Promises:  exit status 0 only after intake_store(); otherwise one line to
 *            the person, and the same to the log.
 */
#include "submit.h"

#include <string.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "handover.h"
#include "log.h"
#include "util.h"

static int
add_arguments(struct intake *i, const struct submit_options *o)
{
	for (size_t n = 0; n < o->nrecipients; n++)
		if (intake_add_list(i, o->recipients[n], o->notify) != 0)
			return -1;
	if (i->recipients.count > 0 || o->from_header)
		return 0;
	return intake_refuse(i, EX_USAGE, "503 5.5.1",
	    "no recipients given; use -t to take them from the header");
}

static int
add_header_recipients(struct intake *i, const struct submit_options *o)
{
	if (!o->from_header)
		return 0;
	if (intake_add_header_recipients(i, o->notify) != 0)
		return -1;
	if (i->recipients.count > 0)
		return 0;
	return intake_refuse(i, EX_USAGE, "503 5.5.1",
	    "no recipients: neither given nor in To, Cc or Bcc");
}

static int
take_message(struct intake *i, const struct submit_options *o)
{
	if (intake_set_sender(i, o->sender) != 0 || add_arguments(i, o) != 0)
		return -1;
	i->source.fd = STDIN_FILENO;
	i->source.dot_ends = !o->ignore_dots && isatty(STDIN_FILENO) == 1;
	i->env.ret = o->ret;
	if (o->envid != NULL)
		i->env.envid = xstrdup(o->envid);
	if (o->full_name != NULL)
		compat_strlcpy(
		    i->full_name, o->full_name, sizeof(i->full_name));
	if (intake_read_header(i) != 0 || add_header_recipients(i, o) != 0)
		return -1;
	return i->in->confined ? handover_message(i, o->full_name)
			       : intake_store(i);
}

int
submit_message(struct instance *in, const struct submit_options *o)
{
	struct intake i;
	int status = EX_OK;

	intake_open(&i, in);
	if (take_message(&i, o) == 0) {
		if (!in->confined)
			intake_deliver(&i, o->mode, o->verbose);
	} else {
		status = i.refusal.status;
		complain("%s", i.refusal.text);
		log_event(LOG_SUBMIT, LOG_ERR, "uid=%lu: not accepted: %s",
		    (unsigned long)in->caller, i.refusal.text);
		mail_drain(STDIN_FILENO);
	}
	intake_close(&i);
	return status;
}
