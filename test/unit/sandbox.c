/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * sandbox.c - tests of sandbox.h: what is shut, and what must stay open.
 *
 * Each case runs in a child that returns 0, or the line of what was wrong; one
 * that the kernel kills has failed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "sandbox.h"
#include "util.h"

#if defined(__linux__)

#include <netdb.h>
#include <sched.h>
#include <sys/mount.h>

#include "test/attacks.h"

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition))                                              \
			return __LINE__;                                       \
	} while (0)
#define SKIPPED 255

static struct sandbox_needs needs = {
    .port = 25, .ca_file = "/nonexistent", .ca_dir = "/nonexistent"};

static bool
is_here(const char *what)
{
	char text[SANDBOX_TEXT_MAX];

	sandbox_describe(text, sizeof(text));
	return strstr(text, what) != NULL;
}

/* Ports are Landlock's since then. */
static bool
has_ports(void)
{
	char text[SANDBOX_TEXT_MAX], *abi;

	sandbox_describe(text, sizeof(text));
	abi = strstr(text, "(ABI ");
	return abi != NULL && strtol(abi + 5, NULL, 10) >= 4;
}

/* What a child's body returned; -1 if it was killed. */
static int
run(int (*body)(const void *arg), const void *arg)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(body(arg));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
expect_inside(int (*body)(const void *arg))
{
	int line = run(body, NULL);

	if (line == SKIPPED)
		skip();
	if (line != 0)
		fail_msg("line %d", line);
}

static int
attack_outside(const void *arg)
{
	const struct attack *a = arg;

	return a->try() ? 1 : 0;
}

static int
attack_inside(const void *arg)
{
	if (sandbox_enter(&needs) == -1)
		return 2;
	return attack_outside(arg);
}

/* Returns whether it works outside: elsewhere than here it may not. */
static bool
try_attack(const struct attack *a)
{
	bool works = run(attack_outside, a) == 1;
	int inside = run(attack_inside, a);

	if (inside != 0 && (a->try != connects_elsewhere || has_ports()))
		fail_msg("a process inside %s: %d", a->name, inside);
	return works;
}

static void
test_attacks(void **state)
{
	size_t worked = 0;

	(void)state;
	if (!is_here("Landlock") || !is_here("seccomp"))
		skip();
	for (size_t i = 0; i < ARRAY_LEN(attacks); i++)
		worked += try_attack(&attacks[i]);
	for (size_t i = 0; i < ARRAY_LEN(attacks_on_others); i++)
		worked += try_attack(&attacks_on_others[i]);
	assert_true(worked >= 25);
}

/* ---- What must stay open ---- */

static bool
reads(const char *path, const char *text)
{
	char buf[64] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	return got(fd) && n > 0 && strcmp(buf, text) == 0;
}

static int
work_inside(const void *arg)
{
	char byte, *large;
	struct stat st;
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST};
	struct addrinfo *found;
	char text[64];
	int message = open("/bin/sh", O_RDONLY | O_CLOEXEC);

	(void)arg;
	CHECK(sandbox_enter(&needs) == 0);
	CHECK(pread(message, &byte, 1, 0) == 1);
	CHECK(write(message, &byte, 1) == -1 && errno == EBADF);
	CHECK((large = malloc(8 << 20)) != NULL);
	memset(large, 1, 8 << 20);
	free(large);
	CHECK(now_ms() > 0);
	CHECK(compat_random(&byte, 1) == 0);
	CHECK(stat("/etc", &st) == 0);
	CHECK(access("/etc/passwd", R_OK) == 0);
	CHECK(got(open("/etc/passwd", O_RDONLY)));
	CHECK(got(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)));
	CHECK(got(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)) ||
	      errno == EAFNOSUPPORT);
	CHECK(getaddrinfo("fe80::1%lo", "53", &hints, &found) == 0);
	CHECK(getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text),
		  NULL, 0, NI_NUMERICHOST) == 0);
	CHECK(strcmp(text, "fe80::1%lo") == 0);
	freeaddrinfo(found);
	CHECK(syscall(SYS_clone, 0) == -1);
	CHECK(errno == ENOSYS || !is_here("seccomp"));
	return 0;
}

static void
test_work(void **state)
{
	(void)state;
	if (!is_here("seccomp"))
		skip();
	expect_inside(work_inside);
}

/* A listening socket; its port, or its path. */
static int
listen_at(const char *path, uint16_t *port)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {
	    .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(path != NULL ? AF_UNIX : AF_INET, SOCK_STREAM, 0);

	if (path != NULL) {
		(void)strncat(un.sun_path, path, sizeof(un.sun_path) - 1);
		assert_int_equal(bind(fd, (void *)&un, sizeof(un)), 0);
	} else {
		assert_int_equal(bind(fd, (void *)&in, len), 0);
		assert_int_equal(getsockname(fd, (void *)&in, &len), 0);
		*port = ntohs(in.sin_port);
	}
	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

static int
connect_to(int family, const void *address, socklen_t len)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int error = connect(fd, address, len) == 0 ? 0 : errno;

	(void)close(fd);
	return error;
}

static int
connect_inside(const void *arg)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(*(const uint16_t *)arg),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	CHECK(sandbox_enter(&needs) == 0);
	return connect_to(AF_INET, &in, sizeof(in));
}

static void
test_port(void **state)
{
	uint16_t port;
	int fd = listen_at(NULL, &port);

	(void)state;
	if (!has_ports())
		skip();
	needs.port = port;
	assert_int_equal(run(connect_inside, &port), 0);
	needs.port = 25;
	assert_int_equal(run(connect_inside, &port), EACCES);
	(void)close(fd);
}

static int
connect_to_path_inside(const void *arg)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	CHECK(sandbox_enter(&needs) == 0);
	(void)strncat(un.sun_path, arg, sizeof(un.sun_path) - 1);
	return connect_to(AF_UNIX, &un, sizeof(un));
}

static void
test_socket_path(void **state)
{
	char directory[] = "/tmp/dma-unit.XXXXXX", path[64];
	int fd;

	(void)state;
	if (!is_here("seccomp"))
		skip();
	assert_non_null(mkdtemp(directory));
	(void)snprintf(path, sizeof(path), "%s/s", directory);
	fd = listen_at(path, NULL);
	needs.socket_path = path;
	assert_int_equal(run(connect_to_path_inside, path), 0);
	needs.socket_path = NULL;
	assert_int_equal(run(connect_to_path_inside, path), EBADF);
	(void)close(fd);
	(void)unlink(path);
	(void)rmdir(directory);
}

static bool
writes(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ssize_t n = write(fd, text, strlen(text));

	return got(fd) && n == (ssize_t)strlen(text);
}

/*
 * A house of its own: resolv.conf is a link to /mnt/net/resolv.conf, and what
 * is there is replaced while a process is inside.
 */
static int
replaced_by_rename(const void *arg)
{
	int go[2], status;
	char byte;
	pid_t pid;

	(void)arg;
	if (unshare(CLONE_NEWNS) == -1 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
	    mount("x", "/etc", "tmpfs", 0, "mode=0755") == -1 ||
	    mount("x", "/mnt", "tmpfs", 0, "mode=0755") == -1)
		return SKIPPED;
	CHECK(mkdir("/mnt/net", 0755) == 0 && mkdir("/mnt/ca", 0755) == 0);
	CHECK(symlink("/mnt/net/resolv.conf", "/etc/resolv.conf") == 0);
	CHECK(writes("/mnt/net/resolv.conf", "old"));
	CHECK(writes("/etc/hosts", "hosts"));
	CHECK(writes("/mnt/ca/1.0", "certificate"));
	CHECK(writes("/mnt/secret", "secret"));
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, go) == 0);
	needs.ca_dir = "/mnt/ca";
	if ((pid = fork()) == 0) {
		(void)close(go[1]);
		if (sandbox_enter(&needs) == -1 ||
		    !reads("/etc/resolv.conf", "old") ||
		    write(go[0], "", 1) != 1 || read(go[0], &byte, 1) != 0)
			_exit(1);
		_exit(!reads("/etc/resolv.conf", "new") ||
		      !reads("/etc/hosts", "fresh hosts") ||
		      !reads("/mnt/ca/1.0", "certificate") ||
		      !reads("/mnt/ca/2.0", "another") ||
		      reads("/mnt/secret", "secret"));
	}
	(void)close(go[0]);
	CHECK(read(go[1], &byte, 1) == 1);
	CHECK(writes("/mnt/net/new", "new"));
	CHECK(rename("/mnt/net/new", "/mnt/net/resolv.conf") == 0);
	CHECK(writes("/etc/new", "fresh hosts"));
	CHECK(rename("/etc/new", "/etc/hosts") == 0);
	CHECK(writes("/mnt/ca/2.0", "another"));
	(void)close(go[1]);
	CHECK(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : __LINE__;
}

static void
test_files_replaced_by_rename(void **state)
{
	(void)state;
	if (!is_here("Landlock"))
		skip();
	expect_inside(replaced_by_rename);
}

static int
keeps_descriptors(const void *arg)
{
	int before = open("/dev/null", O_RDONLY | O_CLOEXEC), after;

	(void)arg;
	(void)close(before);
	CHECK(sandbox_enter(&needs) == 0);
	after = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	CHECK(after == before);
	return 0;
}

static void
test_descriptors(void **state)
{
	(void)state;
	expect_inside(keeps_descriptors);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_attacks),
	    cmocka_unit_test(test_work),
	    cmocka_unit_test(test_port),
	    cmocka_unit_test(test_socket_path),
	    cmocka_unit_test(test_files_replaced_by_rename),
	    cmocka_unit_test(test_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

int
main(void)
{
	return 0;
}

#endif
