/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * attacks.h - what a dma-smtp that a server has taken over might try.
 *
 * Each attack returns true if it did what it wanted.  None of them harms who
 * lets it through: unit/sandbox.c makes sure that they work outside.
 */
#ifndef DMA_TEST_ATTACKS_H
#define DMA_TEST_ATTACKS_H

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct attack {
	const char *name;
	bool (*try)(void);
};

static bool
got(int fd)
{
	if (fd >= 0)
		(void)close(fd);
	return fd >= 0;
}

/* A name in /tmp that is nobody's. */
static const char *
fresh_name(void)
{
	static char name[64];

	(void)snprintf(name, sizeof(name), "/tmp/dma-attack.%ld.%ld",
	    (long)getppid(), (long)getpid());
	return name;
}

static bool
reads_a_file(void)
{
	return got(open("/proc/self/status", O_RDONLY));
}

static bool
reads_its_parent(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)getppid());
	return got(open(path, O_RDONLY));
}

static bool
lists_a_directory(void)
{
	DIR *dir = opendir("/");

	if (dir != NULL)
		(void)closedir(dir);
	return dir != NULL;
}

static bool
writes_a_file(void)
{
	return got(open("/dev/null", O_WRONLY));
}

static bool
reads_and_writes_a_file(void)
{
	return got(open("/dev/zero", O_RDWR));
}

static bool
creates_a_file(void)
{
	int fd = open(fresh_name(), O_RDONLY | O_CREAT | O_EXCL, 0600);

	if (fd >= 0)
		(void)unlink(fresh_name());
	return got(fd);
}

static bool
creates_a_directory(void)
{
	return mkdir(fresh_name(), 0700) == 0 && rmdir(fresh_name()) == 0;
}

static bool
creates_a_link(void)
{
	return symlink("/", fresh_name()) == 0 && unlink(fresh_name()) == 0;
}

static bool
creates_a_fifo(void)
{
	return mkfifo(fresh_name(), 0600) == 0 && unlink(fresh_name()) == 0;
}

static bool
changes_directory(void)
{
	return chdir("/tmp") == 0;
}

static bool
forks(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

/* What cannot be executed for another reason would have been executed. */
static bool
executes(void)
{
	char *none[] = {NULL};

	(void)execve("/proc/self/no-such-program", none, none);
	return errno == ENOENT;
}

static bool
maps_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool
makes_data_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page != MAP_FAILED &&
	       mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool
makes_a_memory_file(void)
{
	return got((int)syscall(SYS_memfd_create, "x", 0));
}

static bool
signals_its_parent(void)
{
	return kill(getppid(), 0) == 0;
}

static bool
traces_its_parent(void)
{
	return ptrace(PTRACE_SEIZE, getppid(), 0, 0) == 0;
}

static bool
reads_memory_of_its_parent(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {&errno, 1};

	return process_vm_readv(getppid(), &here, 1, &there, 1, 0) != -1 ||
	       errno == EFAULT;
}

static bool
limits_its_parent(void)
{
	return prlimit(getppid(), RLIMIT_CORE, NULL, &(struct rlimit){0}) == 0;
}

static bool
slows_its_parent(void)
{
	return setpriority(PRIO_PROCESS, (id_t)getppid(),
		   getpriority(PRIO_PROCESS, (id_t)getppid())) == 0;
}

static bool
becomes_readable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0;
}

static bool
makes_a_namespace(void)
{
	return syscall(SYS_unshare, 0) == 0;
}

static bool
opens_netlink(void)
{
	return got(socket(AF_NETLINK, SOCK_RAW, 0));
}

static bool
opens_a_raw_socket(void)
{
	return got(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
}

static bool
opens_another_protocol(void)
{
	return got(socket(AF_INET, SOCK_STREAM, 262 /* MPTCP */));
}

static bool
opens_a_socket_of_the_kernel(void)
{
	return got(socket(38 /* AF_ALG */, SOCK_SEQPACKET, 0));
}

static bool
opens_a_local_socket(void)
{
	return got(socket(AF_UNIX, SOCK_STREAM, 0));
}

static bool
binds_to(int type)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	int fd = socket(AF_INET, type, 0);
	int bound = bind(fd, (void *)&in, sizeof(in));

	return got(fd) && bound == 0;
}

static bool
binds_tcp(void)
{
	return binds_to(SOCK_STREAM);
}

static bool
binds_udp(void)
{
	return binds_to(SOCK_DGRAM);
}

/* On a socket that is not bound this binds too. */
static bool
listens(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int listening = listen(fd, 1);

	return got(fd) && listening == 0;
}

static bool
connects_elsewhere(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(9),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int connected = connect(fd, (void *)&in, sizeof(in));
	int error = errno;

	(void)close(fd);
	return connected == 0 || error == ECONNREFUSED;
}

/* Data in the first packet is a way past who watches connect(2) alone. */
static bool
connects_by_sending(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	    .sin_port = htons(9),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ssize_t sent = sendto(
	    fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&in, sizeof(in));
	int error = errno;

	(void)close(fd);
	return sent != -1 || error == ECONNREFUSED;
}

static bool
changes_the_protocol(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int done = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);

	return got(fd) && done == 0;
}

static bool
asks_for_signals(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	int done = fcntl(fd, F_SETOWN, getpid());

	return got(fd) && done == 0;
}

static bool
opens_by_another_call(void)
{
	const unsigned long long how[3] = {O_RDONLY};

	return got((int)syscall(
	    437 /* openat2 */, AT_FDCWD, "/etc/passwd", how, sizeof(how)));
}

static bool
watches_files(void)
{
	return got((int)syscall(SYS_inotify_init1, 0));
}

#if defined(__x86_64__)
/* The same kernel's 32-bit entrance has other numbers: 20 is getpid. */
static bool
enters_by_the_old_door(void)
{
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(20) : "memory");
	return result > 0;
}
#endif

/* Those that the uid does not stop. */
static const struct attack attacks[] = {
    {"reads a file", reads_a_file},
    {"reads its parent", reads_its_parent},
    {"lists a directory", lists_a_directory},
    {"writes a file", writes_a_file},
    {"reads and writes a file", reads_and_writes_a_file},
    {"creates a file", creates_a_file},
    {"creates a directory", creates_a_directory},
    {"creates a link", creates_a_link},
    {"creates a fifo", creates_a_fifo},
    {"changes directory", changes_directory},
    {"forks", forks},
    {"executes", executes},
    {"maps code", maps_code},
    {"makes data code", makes_data_code},
    {"makes a memory file", makes_a_memory_file},
    {"becomes readable", becomes_readable},
    {"makes a namespace", makes_a_namespace},
    {"opens netlink", opens_netlink},
    {"opens another protocol", opens_another_protocol},
    {"opens a socket of the kernel", opens_a_socket_of_the_kernel},
    {"opens a local socket", opens_a_local_socket},
    {"binds TCP", binds_tcp},
    {"binds UDP", binds_udp},
    {"listens", listens},
    {"connects elsewhere", connects_elsewhere},
    {"connects by sending", connects_by_sending},
    {"changes the protocol", changes_the_protocol},
    {"asks for signals", asks_for_signals},
    {"opens by another call", opens_by_another_call},
    {"watches files", watches_files},
#if defined(__x86_64__)
    {"enters by the old door", enters_by_the_old_door},
#endif
};

/* Those that it does stop, where the other one is another user's. */
static const struct attack attacks_on_others[] = {
    {"signals its parent", signals_its_parent},
    {"traces its parent", traces_its_parent},
    {"reads memory of its parent", reads_memory_of_its_parent},
    {"limits its parent", limits_its_parent},
    {"slows its parent", slows_its_parent},
    {"opens a raw socket", opens_a_raw_socket},
};

#endif
