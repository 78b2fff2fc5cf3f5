/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * compat.c - tests of compat.h, also where the kernel lacks a call.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/resource.h>
#include <sys/wait.h>
#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#endif
#include <sys/syscall.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

#define CHECK(condition)                                                       \
	do {                                                                   \
		if (!(condition))                                              \
			return __LINE__;                                       \
	} while (0)

#if defined(COVERAGE)
void __gcov_dump(void);
#endif

/* How a newer system call fails on an older system. */
enum kernel { COMPLETE, OLD, OLD_CONTAINER };

static char scratch[] = "/tmp/dma-compat.XXXXXX";

static int
make_scratch(void **state)
{
	(void)state;
	return mkdtemp(scratch) != NULL ? chdir(scratch) : -1;
}

static int
remove_scratch(void **state)
{
	(void)state;
	(void)unlink("from");
	(void)unlink("to");
	return chdir("/") == 0 ? rmdir(scratch) : -1;
}

/* Let the calls that compat.c knows better fail. */
static int
become_old(enum kernel kernel)
{
#if defined(__linux__) && defined(SYS_close_range) && defined(SYS_renameat2)
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 2, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 1, 0),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	    BPF_STMT(BPF_RET | BPF_K,
		SECCOMP_RET_ERRNO | (kernel == OLD ? ENOSYS : EPERM)),
	};
	struct sock_fprog filter = {ARRAY_LEN(code), code};

	if (kernel == COMPLETE)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0);
#else
	return kernel == COMPLETE ? 0 : -1;
#endif
}

/* In a child each time: a filter stays. */
static void
run(int (*body)(void), enum kernel kernel)
{
	int status;
	pid_t pid;

	if ((pid = fork()) == 0) {
		if (become_old(kernel) == -1)
			_exit(0);
		status = body();
#if defined(COVERAGE)
		__gcov_dump();
#endif
		_exit(status > 255 ? 255 : status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != 0)
		fail_msg(
		    "kernel %d: line %d", (int)kernel, WEXITSTATUS(status));
}

static void
run_on_each(int (*body)(void))
{
	run(body, COMPLETE);
	run(body, OLD);
	run(body, OLD_CONTAINER);
}

static int
put_file(const char *name, const char *text)
{
	int fd;

	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd == -1 || write_full(fd, text, strlen(text)) == -1)
		return -1;
	return close(fd);
}

static bool keeps_names;

int
unlinkat(int dirfd, const char *name, int flags)
{
	if (keeps_names && strcmp(name, "from") == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_unlinkat, dirfd, name, flags);
}

/* Where one name cannot go, the other does: it never has two. */
static int
rename_keeps_the_name(void)
{
	int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)unlink("to");
	CHECK(put_file("from", "one") == 0);
	keeps_names = true;
	CHECK(compat_rename_noreplace(dir, "from", "to") == -1);
	CHECK(errno == EIO);
	CHECK(access("from", F_OK) == 0);
	CHECK(access("to", F_OK) == -1);
	return 0;
}

static int
rename_twice(void)
{
	char *data;
	size_t len;
	int dir;

	dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	(void)unlink("to");
	CHECK(put_file("from", "one") == 0);
	CHECK(compat_rename_noreplace(dir, "from", "to") == 0);
	CHECK(access("from", F_OK) == -1);
	CHECK(put_file("from", "two") == 0);
	CHECK(compat_rename_noreplace(dir, "from", "to") == -1);
	CHECK(errno == EEXIST);
	CHECK(access("from", F_OK) == 0);
	CHECK(read_file("to", 10, &data, &len, NULL) == 0);
	CHECK(strcmp(data, "one") == 0);
	free(data);
	CHECK(compat_rename_noreplace(dir, "absent", "other") == -1);
	CHECK(errno == ENOENT);
	return 0;
}

static void
test_rename_replaces_nothing(void **state)
{
	(void)state;
	run_on_each(rename_twice);
	run(rename_keeps_the_name, OLD);
}

static int
close_from_five(void)
{
	int fd;

	for (fd = 3; fd < 40; fd++)
		CHECK(dup2(0, fd) == fd);
	CHECK(dup2(0, 400) == 400);
	compat_closefrom(5);
	for (fd = 0; fd < 500; fd++)
		CHECK((fcntl(fd, F_GETFD) != -1) == (fd < 5));
	return 0;
}

/* Not even a descriptor to list the others with. */
static int
close_from_full(void)
{
	struct rlimit limit;
	int fd;

	for (fd = 3; fd < 40; fd++)
		CHECK(dup2(0, fd) == fd);
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 10;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	compat_closefrom(3);
	for (fd = 0; fd < 100; fd++)
		CHECK((fcntl(fd, F_GETFD) != -1) == (fd < 3));
	return 0;
}

static void
test_closefrom(void **state)
{
	(void)state;
	run_on_each(close_from_five);
	run_on_each(close_from_full);
}

static int
draw_twice(void)
{
	unsigned char a[600], b[600];

	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	CHECK(compat_random(a, sizeof(a)) == 0);
	CHECK(compat_random(b, sizeof(b)) == 0);
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	/* The last piece of what needs several calls. */
	CHECK(memcmp(a + 580, b + 580, 20) != 0);
	return 0;
}

static void
test_random(void **state)
{
	(void)state;
	run(draw_twice, COMPLETE);
}

static void
test_memory(void **state)
{
	unsigned char bytes[16], zero[16] = {0};
	char text[4];

	(void)state;
	assert_int_equal(compat_strlcpy(text, "abc", sizeof(text)), 3);
	assert_string_equal(text, "abc");
	assert_int_equal(compat_strlcpy(text, "uvwxyz", sizeof(text)), 6);
	assert_string_equal(text, "uvw");
	assert_int_equal(compat_strlcpy(text, "abc", 0), 3);
	assert_string_equal(text, "uvw");
	memset(bytes, 0xff, sizeof(bytes));
	compat_explicit_bzero(bytes, sizeof(bytes) - 1);
	assert_memory_equal(bytes, zero, sizeof(bytes) - 1);
	assert_int_equal(bytes[15], 0xff);
	compat_explicit_bzero(NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rename_replaces_nothing),
	    cmocka_unit_test(test_closefrom),
	    cmocka_unit_test(test_random),
	    cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
