/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * job.c - any bytes as a record between runner and agent: what decodes is
 * within limits, and encodes to a record that decodes to the same.
 */
#include "fuzz.h"

#include <errno.h>

#include "job.h"

static void
same_bytes(struct buf *a, struct buf *b)
{
	need(a->len == b->len && memcmp(a->data, b->data, a->len) == 0,
	    "the same record");
	buf_free(a);
	buf_free(b);
}

static void
check_hop(const uint8_t *data, size_t size)
{
	struct hop h, again;
	struct buf one = {0}, two = {0};

	if (job_get_hop(&h, data, size) == -1) {
		need(errno == EBADMSG && h.host == NULL && h.cert == NULL,
		    "nothing to free");
		return;
	}
	need(job_record_type(data, size) == RECORD_HOP, "type");
	need(strlen(h.host) <= RELAY_TEXT_MAX && h.kind <= HOP_MX &&
		 strlen(h.helo) <= ADDR_DOMAIN_MAX && h.tls <= TLS_NONE &&
		 h.timeouts >= 1 && h.timeouts <= 100 &&
		 h.cert_len <= CERTFILE_MAX,
	    "a hop within its limits");
	need(job_put_hop(&one, &h) == 0 &&
		 job_get_hop(&again, one.data, one.len) == 0 &&
		 job_put_hop(&two, &again) == 0,
	    "encode");
	same_bytes(&one, &two);
	hop_free(&h);
	hop_free(&again);
}

static void
check_recipients(const struct job *j)
{
	for (size_t i = 0; i < j->nrecipients; i++) {
		const struct job_recipient *r = &j->recipients[i];

		need(r->addr != NULL && strlen(r->addr) <= ADDR_MAX &&
			 r->notify <= 15 &&
			 (r->orcpt == NULL || strlen(r->orcpt) <= ORCPT_MAX) &&
			 (r->orig == NULL || strlen(r->orig) <= ADDR_MAX) &&
			 (r->target == NULL || strlen(r->target) <= TARGET_MAX),
		    "a recipient within its limits");
	}
}

static void
check_job(const uint8_t *data, size_t size)
{
	struct job j, again;
	struct buf one = {0}, two = {0};

	if (job_get_job(&j, data, size) == -1) {
		need(errno == EBADMSG && j.recipients == NULL && j.fd == -1,
		    "nothing to free");
		return;
	}
	need(job_record_type(data, size) == RECORD_JOB, "type");
	need(j.fd == -1 && j.nrecipients >= 1 &&
		 j.nrecipients <= JOB_RECIPIENTS_MAX &&
		 strlen(j.id) <= QUEUE_ID_MAX && strlen(j.sender) <= ADDR_MAX &&
		 j.offset + j.length <= INT64_MAX,
	    "a job within its limits");
	check_recipients(&j);
	need(job_put_job(&one, &j) == 0 &&
		 job_get_job(&again, one.data, one.len) == 0 &&
		 job_put_job(&two, &again) == 0,
	    "encode");
	same_bytes(&one, &two);
	job_free(&j);
	job_free(&again);
}

static int
put_agent(struct buf *b, const struct agent_record *r)
{
	switch (r->type) {
	case RECORD_RESULT:
		return job_put_result(b, r->job, r->recipient, &r->outcome);
	case RECORD_DONE:
		return job_put_done(b, r->job);
	case RECORD_HOP_FAILED:
		return job_put_hop_failed(b, r->failure, &r->outcome);
	case RECORD_TRACE:
		return job_put_trace(b, r->text);
	case RECORD_READY:
	case RECORD_GREETED:
		return job_put_signal(b, r->type);
	default:
		return -1;
	}
}

static void
check_agent(const uint8_t *data, size_t size)
{
	struct agent_record r, again;
	struct buf one = {0}, two = {0};
	const struct outcome *o = &r.outcome;

	if (job_get_agent(&r, data, size) == -1) {
		need(errno == EBADMSG && r.text == NULL, "nothing to free");
		return;
	}
	need(job_record_type(data, size) == r.type, "type");
	need_printable(o->text, "an outcome's text");
	need_printable(o->relay, "an outcome's relay");
	need(strspn(o->dsn, "0123456789.") == strlen(o->dsn), "its code");
	need(o->class <= OUTCOME_UNTRIED && r.failure <= HOP_NO_NETWORK,
	    "its class");
	need(put_agent(&one, &r) == 0 &&
		 job_get_agent(&again, one.data, one.len) == 0 &&
		 put_agent(&two, &again) == 0,
	    "encode");
	same_bytes(&one, &two);
	agent_record_free(&r);
	agent_record_free(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > RECORD_MAX)
		return 0;
	check_hop(data, size);
	check_job(data, size);
	check_agent(data, size);
	return 0;
}
