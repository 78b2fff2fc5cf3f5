/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * import.c - any pair of files that DragonFly's dma may have left: what is
 * taken over is one whole message to addresses, what is not stays as it is,
 * with a note.
 *
 * A NUL parts the Q file from the M file.
 */
#include "fuzz.h"

#include "import.h"
#include "private.h"

#define NAME "1f.0a"

static void
put(const char *name, const void *p, size_t len)
{
	int fd = openat(in.spool.dirfd, name,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	need(fd != -1 && write_full(fd, p, len) == 0 && close(fd) == 0, "put");
}

static int
take_piece(void *arg, const char *p, size_t len)
{
	return buf_put(arg, p, len);
}

/* The old message, with an end to its last line. */
static int
check_taken(void *arg, const char *id)
{
	const struct buf *old = arg;
	struct buf now = {0};
	struct spool_file f;

	need(spool_file_open(&in.spool, id, true, &f) == 0 &&
		 spool_file_verify(&in.spool, &f) == 0,
	    "it decodes");
	need(f.env.nrecipients == 1 && !addr_is_null(&f.env.recipients[0].addr),
	    "one recipient");
	need(
	    spool_file_read(&f, take_piece, &now) == 0 && now.len >= old->len &&
		now.len <= old->len + 1 &&
		(old->len == 0 || memcmp(now.data, old->data, old->len) == 0) &&
		(now.len == 0 || now.data[now.len - 1] == '\n'),
	    "the same message");
	buf_free(&now);
	spool_file_close(&f);
	return 1;
}

static bool
exists(const char *name)
{
	return faccessat(in.spool.dirfd, name, F_OK, 0) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size == 0 ? NULL : memchr(data, '\0', size);
	size_t len = nul == NULL ? size : (size_t)(nul - data);
	struct buf old = {0};

	private_start("MAILNAME here.example\nMAXSIZE 1M\n");
	if (nul != NULL)
		(void)buf_put(&old, nul + 1, size - len - 1);
	put("Q" NAME, data, len);
	put("M" NAME, buf_str(&old), old.len);
	import_old_spool(&in);
	bool taken = spool_scan(&in.spool, check_taken, &old) == 1;
	need(taken != exists("Q" NAME) && taken != exists("bad.Q" NAME) &&
		 taken != exists("M" NAME),
	    "taken over, or noted");
	buf_free(&old);
	private_clear();
	private_check_log();
	return 0;
}
