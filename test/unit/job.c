/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * job.c - the records between runner and agents: what is sent comes back,
 * what is damaged is refused, descriptors travel one at a time.
 */
#include "../../job.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../util.h"

static void
fill_hop(struct hop *h)
{
	*h = (struct hop){.kind = HOP_RELAY,
	    .host = xstrdup("relay.example"),
	    .port = 587,
	    .protocol = PROTOCOL_SMTP,
	    .tls = TLS_STARTTLS,
	    .verify = true,
	    .auth = true,
	    .has_fingerprint = true,
	    .fingerprint = {1, 2, 3},
	    .user = xstrdup("u"),
	    .password = xstrdup("secret \x01 word"),
	    .cert = xstrdup("PEM"),
	    .cert_len = 3,
	    .helo = xstrdup("me.example"),
	    .timeouts = 100};
}

static void
test_hop_comes_back(void **state)
{
	struct buf b = {0};
	struct hop in, out;

	(void)state;
	fill_hop(&in);
	assert_int_equal(job_put_hop(&b, &in), 0);
	assert_int_equal(job_record_type(b.data, b.len), RECORD_HOP);
	assert_int_equal(job_get_hop(&out, b.data, b.len), 0);
	assert_string_equal(out.host, in.host);
	assert_string_equal(out.password, in.password);
	assert_int_equal(out.port, 587);
	assert_int_equal(out.tls, TLS_STARTTLS);
	assert_true(out.verify && out.auth && out.has_fingerprint);
	assert_false(out.insecure);
	assert_memory_equal(out.fingerprint, in.fingerprint, 32);
	assert_int_equal(out.cert_len, 3);
	assert_string_equal(out.cert, "PEM");
	hop_free(&in);
	hop_free(&out);
	buf_free(&b);
}

static void
put_job(struct buf *b)
{
	char addr[] = "a@b.example", orig[] = "root", id[] = "0000000ABC";
	char target[] = "|/bin/true";
	char sender[] = "";
	struct job_recipient to[] = {{.number = 7,
					 .addr = addr,
					 .orig = orig,
					 .target = target,
					 .notify = 4},
	    {.number = 9, .addr = addr}};
	struct job j = {.number = 3,
	    .id = id,
	    .sender = sender,
	    .flags = 1,
	    .offset = 500,
	    .length = 1000,
	    .recipients = to,
	    .nrecipients = ARRAY_LEN(to)};

	assert_int_equal(job_put_job(b, &j), 0);
}

static void
test_job_comes_back(void **state)
{
	struct buf b = {0};
	struct job out;

	(void)state;
	put_job(&b);
	assert_int_equal(job_get_job(&out, b.data, b.len), 0);
	assert_int_equal(out.number, 3);
	assert_string_equal(out.sender, "");
	assert_int_equal(out.offset, 500);
	assert_int_equal(out.length, 1000);
	assert_int_equal(out.nrecipients, 2);
	assert_int_equal(out.recipients[0].number, 7);
	assert_string_equal(out.recipients[0].orig, "root");
	assert_null(out.recipients[1].orig);
	assert_string_equal(out.recipients[0].target, "|/bin/true");
	assert_null(out.recipients[1].target);
	assert_null(out.envid);
	assert_int_equal(out.fd, -1);
	job_free(&out);
	buf_free(&b);
}

static void
test_result_is_made_printable_V_02(void **state)
{
	struct outcome o = {.class = OUTCOME_FAIL, .dsn = "5.1.1"};
	struct agent_record r;
	struct buf b = {0};

	(void)state;
	compat_strlcpy(o.text, "550 no\nsuch \x1b[1muser", sizeof(o.text));
	assert_int_equal(job_put_result(&b, 1, 2, &o), 0);
	assert_int_equal(job_get_agent(&r, b.data, b.len), 0);
	assert_int_equal(r.type, RECORD_RESULT);
	assert_int_equal(r.recipient, 2);
	assert_int_equal(r.outcome.class, OUTCOME_FAIL);
	assert_string_equal(r.outcome.text, "550 no?such ?[1muser");
	assert_string_equal(r.outcome.dsn, "5.1.1");
	agent_record_free(&r);
	buf_free(&b);
}

static void
test_unknown_class_is_refused(void **state)
{
	struct outcome o = {.class = OUTCOME_SENT};
	struct agent_record r;
	struct buf b = {0};

	(void)state;
	assert_int_equal(job_put_result(&b, 1, 2, &o), 0);
	b.data[12 + 3] = 99; /* after type, job and recipient */
	errno = 0;
	assert_int_equal(job_get_agent(&r, b.data, b.len), -1);
	assert_int_equal(errno, EBADMSG);
	buf_free(&b);
}

/* Any prefix, and any record with a byte too many, is no record. */
static void
test_wrong_length_is_refused(void **state)
{
	struct buf b = {0};
	struct job j;

	(void)state;
	put_job(&b);
	for (size_t len = 0; len < b.len; len++) {
		char *exact = xmalloc(len + 1);

		memcpy(exact, b.data, len);
		assert_int_equal(job_get_job(&j, exact, len), -1);
		free(exact);
	}
	assert_int_equal(buf_putc(&b, 0), 0);
	assert_int_equal(job_get_job(&j, b.data, b.len), -1);
	buf_free(&b);
}

/* Whatever byte is changed, what decodes is within the limits. */
static void
test_damaged_job_keeps_to_limits(void **state)
{
	struct buf b = {0};

	(void)state;
	put_job(&b);
	for (size_t i = 0; i < b.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			struct job j;

			b.data[i] ^= (char)(1 << bit);
			if (job_get_job(&j, b.data, b.len) == 0) {
				assert_in_range(
				    j.nrecipients, 1, JOB_RECIPIENTS_MAX);
				assert_true(j.offset <= INT64_MAX / 2);
				assert_true(strlen(j.sender) <= ADDR_MAX);
				job_free(&j);
			}
			b.data[i] ^= (char)(1 << bit);
		}
	buf_free(&b);
}

static void
test_descriptor_travels(void **state)
{
	char packet[64];
	int pair[2], pipes[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(job_send(pair[0], "one", 3, pipes[0]), 0);
	assert_int_equal(job_send(pair[0], "two", 3, -1), 0);
	assert_int_equal(job_recv(pair[1], packet, sizeof(packet), &fd), 3);
	assert_true(fd >= 0);
	assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(pipes[1], "x", 1), 1);
	assert_int_equal(read(fd, packet, 1), 1);
	(void)close(fd);
	assert_int_equal(job_recv(pair[1], packet, sizeof(packet), &fd), 3);
	assert_int_equal(fd, -1);
	(void)close(pair[0]);
	assert_int_equal(job_recv(pair[1], packet, sizeof(packet), &fd), 0);
	(void)close(pair[1]);
	(void)close(pipes[0]);
	(void)close(pipes[1]);
}

static void
test_packet_too_long_is_an_error(void **state)
{
	char packet[4];
	int pair[2], fd;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(job_send(pair[0], "too long", 8, 0), 0);
	assert_int_equal(job_recv(pair[1], packet, sizeof(packet), &fd), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(fd, -1);
	(void)close(pair[0]);
	(void)close(pair[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hop_comes_back),
	    cmocka_unit_test(test_job_comes_back),
	    cmocka_unit_test(test_result_is_made_printable_V_02),
	    cmocka_unit_test(test_unknown_class_is_refused),
	    cmocka_unit_test(test_wrong_length_is_refused),
	    cmocka_unit_test(test_damaged_job_keeps_to_limits),
	    cmocka_unit_test(test_descriptor_travels),
	    cmocka_unit_test(test_packet_too_long_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
