/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * hostile.c - a dma-smtp that a server takes over, for test_sandbox.py.
 *
 * Linked with the objects of the real one by --wrap: at the function PHASE it
 * tries everything, tells what worked in the reason of a deferral, and ends;
 * with NOISE it sends the runner whatever comes to its mind instead.
 */
#include "job.h"

#include <sys/file.h>

#include <grp.h>
#include <stdlib.h>

#include "auth.h"
#include "crypto.h"
#include "dns.h"
#include "mime.h"
#include "net.h"
#include "smtp.h"
#include "test/attacks.h"
#include "util.h"

static char worked[OUTCOME_TEXT_MAX - 64];

static void
note(const char *name)
{
	size_t len = strlen(worked);

	(void)snprintf(worked + len, sizeof(worked) - len, "<%s>", name);
}

static void
attack_all(const struct attack *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].try())
			note(list[i].name);
}

/* ---- What belongs to dma ---- */

static bool
lists_the_spool(void)
{
	DIR *dir = opendir(DMA_SPOOLDIR);

	return dir != NULL && closedir(dir) == 0;
}

/* There is one runner's lock in every spool that was ever used. */
static bool
reads_the_spool(void)
{
	char path[256];

	for (int uid = 0; uid < 65536; uid++) {
		(void)snprintf(
		    path, sizeof(path), "%s/run.%d", DMA_SPOOLDIR, uid);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static bool
creates_in_the_spool(void)
{
	return got(open(DMA_SPOOLDIR "/tmp.hostile", O_WRONLY | O_CREAT, 0600));
}

static bool
reads_the_passwords(void)
{
	return got(open(DMA_CONFDIR "/auth.conf", O_RDONLY));
}

static bool
writes_the_configuration(void)
{
	return got(open(DMA_CONFDIR "/dma.conf", O_WRONLY));
}

static bool
executes_the_door(void)
{
	return access(DMA_LIBEXECDIR "/dma-become", X_OK) == 0;
}

static bool
becomes_root(void)
{
	return setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0;
}

static bool
takes_a_group(void)
{
	const gid_t mail = 8;

	return setgroups(1, &mail) == 0 || setegid(mail) == 0;
}

static bool
reads_the_runner(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/mem", (long)getppid());
	if (got(open(path, O_RDONLY)))
		return true;
	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)getppid());
	return access(path, R_OK) == 0;
}

static bool
kills_the_runner(void)
{
	return kill(getppid(), SIGSTOP) == 0;
}

static bool
takes_the_runners_files(void)
{
	int pid = (int)syscall(434 /* pidfd_open */, getppid(), 0);

	return pid >= 0 && syscall(438 /* pidfd_getfd */, pid, JOB_FD, 0) >= 0;
}

/* The message, and whatever file else may be open. */
static bool
writes_an_open_file(void)
{
	char path[64];
	struct stat st;

	for (int fd = JOB_FD + 1; fd < 256; fd++) {
		if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode))
			continue;
		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (got(open(path, O_RDWR)) || got(open(path, O_WRONLY)) ||
		    got(open(path, O_WRONLY | O_TRUNC)) ||
		    pwrite(fd, "X", 1, 0) == 1 || ftruncate(fd, 0) == 0 ||
		    fchmod(fd, 0666) == 0 || truncate(path, 0) == 0 ||
		    fchown(fd, getuid(), getgid()) == 0 ||
		    mmap(NULL, 1, PROT_WRITE, MAP_SHARED, fd, 0) !=
			MAP_FAILED ||
		    linkat(AT_FDCWD, path, AT_FDCWD, fresh_name(),
			AT_SYMLINK_FOLLOW) == 0)
			return true;
	}
	return false;
}

static const struct attack attacks_on_dma[] = {
    {"lists the spool", lists_the_spool},
    {"reads the spool", reads_the_spool},
    {"creates in the spool", creates_in_the_spool},
    {"reads the passwords", reads_the_passwords},
    {"writes the configuration", writes_the_configuration},
    {"executes the door", executes_the_door},
    {"becomes root", becomes_root},
    {"takes a group", takes_a_group},
    {"reads the runner", reads_the_runner},
    {"kills the runner", kills_the_runner},
    {"takes the runner's files", takes_the_runners_files},
    {"writes an open file", writes_an_open_file},
};

/* Records of each type, and of none, that are noise from there on. */
static void
make_noise(void)
{
	static unsigned char noise[RECORD_MAX + 64];
	unsigned seed = (unsigned)getpid();

	for (int n = 0; n < 2000; n++) {
		size_t len = (size_t)rand_r(&seed) % (n % 50 ? 200 : sizeof(noise));
		for (size_t i = 0; i < len; i++)
			noise[i] = (unsigned char)(rand_r(&seed) >> 8);
		if (n % 4 != 0)
			(void)memcpy(noise, "\0\0\0", 4), noise[3] = n % 12;
		if (n % 8 == 1)
			(void)memset(noise + 4, n % 16 == 1 ? 0xff : 0, 8);
		(void)send(JOB_FD, noise, len, MSG_NOSIGNAL);
	}
}

static void
attack(void)
{
	struct buf out = {0};
	struct outcome o = {0};

#ifdef NOISE
	make_noise();
	_exit(0);
#endif
	attack_all(attacks_on_dma, ARRAY_LEN(attacks_on_dma));
	attack_all(attacks_on_others, ARRAY_LEN(attacks_on_others));
	attack_all(attacks, ARRAY_LEN(attacks));
	outcome_set(&o, OUTCOME_DEFER, "4.0.0", "hostile: %s.", worked);
	if (job_put_hop_failed(&out, HOP_UNREACHABLE, &o) == 0)
		(void)job_send(JOB_FD, out.data, out.len, -1);
	_exit(0);
}

/* ---- Where it is taken over ---- */

#define WRAP(type, name, parameters, arguments)                                \
	type __real_##name parameters;                                         \
	type __wrap_##name parameters;                                         \
	type __wrap_##name parameters                                          \
	{                                                                      \
		if (strcmp(PHASE, #name) == 0)                                 \
			attack();                                              \
		return __real_##name arguments;                                \
	}

WRAP(int, net_connect,
    (struct net * n, const struct sockaddr *sa, socklen_t len, int64_t ms),
    (n, sa, len, ms))
WRAP(int, net_getline, (struct net * n, size_t max, char **line, size_t *len),
    (n, max, line, len))
WRAP(int, crypto_handshake, (struct crypto * t, char *error), (t, error))
WRAP(enum smtp_sent, smtp_send, (struct smtp_session * s, struct smtp_task *t),
    (s, t))
WRAP(enum dns_result, dns_mx_lookup,
    (const char *domain, int64_t ms, struct dns_mx_list *l, const char **why),
    (domain, ms, l, why))
WRAP(enum dns_result, dns_address_lookup,
    (const char *host, int64_t ms, struct dns_address_list *l,
	const char **why),
    (host, ms, l, why))
WRAP(int, auth_start, (struct auth * a, struct buf *out), (a, out))
WRAP(int, mime_convert,
    (const struct job *j, bool eightbit,
	int (*put)(void *arg, char *p, size_t len), void *arg,
	struct mime_report *report),
    (j, eightbit, put, arg, report))
