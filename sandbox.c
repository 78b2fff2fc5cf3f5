/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * sandbox.c - Landlock and seccomp on Linux, unveil and pledge on OpenBSD.
 *
 * Runs in:   dma-smtp, between its job and the first byte of the network.
 * Trusts:    the kernel, and root's links in /etc. Distrusts: what the
 *            process becomes once it reads what strangers send.
 * Promises:  inside or an error; a kernel that has none of it is no error.
 *
 * FreeBSD has nothing here: in its capability mode no connection can be made
 * and no file be opened by name, so the next address of a next hop would have
 * to be another process.
 */
#include "sandbox.h"

#if defined(DMA_NO_SANDBOX) || defined(COVERAGE) ||                            \
    defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_NONE
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) ||     \
    __has_feature(thread_sanitizer)
#define HAVE_NONE
#endif
#endif

#if defined(__linux__) && !defined(HAVE_NONE)
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#if defined(__has_include)
#if __has_include(<linux/landlock.h>)
#define HAVE_LANDLOCK
#include <linux/landlock.h>
#endif
#endif
/* Not where socket(2) may be one of many calls behind socketcall(2). */
#if defined(__x86_64__) && !defined(__ILP32__)
#define HAVE_SECCOMP AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && defined(__AARCH64EL__) && defined(__LP64__)
#define HAVE_SECCOMP AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define HAVE_SECCOMP AUDIT_ARCH_RISCV64
#endif
#endif

#if defined(__OpenBSD__) && !defined(HAVE_NONE)
#define HAVE_PLEDGE
#endif

#include <sys/resource.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

/* ---- Places ---- */

#if defined(HAVE_LANDLOCK) || defined(HAVE_PLEDGE)

typedef int allow_place(int rules, const char *path);

/*
 * Directories, because resolv.conf is replaced by rename, and the entries of
 * a CA directory are links from one to the next of these.
 */
static const char *const places[] = {
    "/etc",
    "/run/NetworkManager",
    "/run/connman",
    "/run/netconfig",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/usr/lib/ssl",
    "/usr/local/share/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/share/pki",
    "/usr/share/zoneinfo",
    "/var/lib/ca-certificates",
};

/* The directory where a file really is: root may have linked it anywhere. */
static int
allow_directory_of(int rules, const char *file, allow_place *allow)
{
	char real[PATH_MAX], *slash;

	if (realpath(file, real) == NULL)
		return 0;
	if ((slash = strrchr(real, '/')) != real)
		*slash = '\0';
	return allow(rules, real); /* in / the file alone */
}

static int
allow_places(int rules, const struct sandbox_needs *needs, allow_place *allow)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (allow(rules, places[i]) == -1)
			return -1;
	if (allow_directory_of(rules, "/etc/resolv.conf", allow) == -1 ||
	    allow_directory_of(rules, "/etc/hosts", allow) == -1 ||
	    allow_directory_of(rules, needs->ca_file, allow) == -1)
		return -1;
	return allow(rules, needs->ca_dir);
}

#endif

/* ---- Landlock ---- */

#if defined(HAVE_LANDLOCK)

/* Of later versions than the header's may be; the same on every machine. */
#define ABI_REFER      2
#define ABI_TRUNCATE   3
#define ABI_TCP        4
#define ABI_IOCTL      5
#define ABI_SCOPES     6
#define RIGHTS_OF_ABI1 13 /* one bit each, as those that came later */
#define TCP_BIND       1ULL
#define TCP_CONNECT    2ULL
#define RULE_TCP_PORT  2
#define SCOPES         3ULL /* sockets without a path, signals */
#define DNS_PORT       53

struct ruleset {
	uint64_t files, tcp, scopes;
};

struct port_rule {
	uint64_t rights, port;
};

/* 0 if there is none.  A filter around us may say EPERM: there is none. */
static int
landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
	    LANDLOCK_CREATE_RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static int
landlock_allow_place(int rules, const char *path)
{
	struct landlock_path_beneath_attr rule = {
	    .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE};
	long done;
	int saved;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd == -1) /* what cannot be reached is not needed */
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM
			   ? -1
			   : 0;
	done = syscall(
	    SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	saved = errno;
	(void)close(rule.parent_fd);
	errno = saved;
	return (int)done;
}

static int
landlock_allow_port(int rules, uint16_t port)
{
	const struct port_rule rule = {.rights = TCP_CONNECT, .port = port};

	return syscall(SYS_landlock_add_rule, rules, RULE_TCP_PORT, &rule, 0) ==
		       0
		   ? 0
		   : -1;
}

static int
landlock_allow(int rules, int abi, const struct sandbox_needs *needs)
{
	if (allow_places(rules, needs, landlock_allow_place) == -1)
		return -1;
	if (abi < ABI_TCP || needs->socket_path != NULL)
		return 0;
	if (landlock_allow_port(rules, DNS_PORT) == -1)
		return -1;
	return landlock_allow_port(rules, needs->port);
}

/*
 * Only rights that are named here are taken away: one of a later version
 * stays, as connecting to a socket by its path.
 */
static int
landlock_enter(const struct sandbox_needs *needs)
{
	int abi = landlock_abi(), rules, result, saved;
	int rights = RIGHTS_OF_ABI1 + (abi >= ABI_REFER) +
		     (abi >= ABI_TRUNCATE) + (abi >= ABI_IOCTL);
	const struct ruleset all = {.files = (1ULL << rights) - 1,
	    .tcp = abi >= ABI_TCP ? TCP_BIND | TCP_CONNECT : 0,
	    .scopes = abi >= ABI_SCOPES ? SCOPES : 0};

	if (abi == 0)
		return 0;
	rules = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	if (rules == -1)
		return -1;
	result = landlock_allow(rules, abi, needs);
	if (result == 0)
		result = (int)syscall(SYS_landlock_restrict_self, rules, 0);
	saved = errno;
	(void)close(rules);
	errno = saved;
	return result;
}

#endif

/* ---- seccomp ---- */

#if defined(HAVE_SECCOMP)

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define NUMBER       offsetof(struct seccomp_data, nr)
/* The lower half, on the little-endian machines that we know. */
#define ARG(n)    (offsetof(struct seccomp_data, args) + 8 * (n))
#define ALLOW     BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS)
#define KEEP(set) BPF_STMT(BPF_ALU | BPF_AND | BPF_K, (uint32_t)(set))
/* Skip so many instructions if it is so, or if it is not. */
#define IF(test, value, yes, no)                                               \
	BPF_JUMP(BPF_JMP | BPF_K | (test), (uint32_t)(value), yes, no)
#define CALL(number, length) IF(BPF_JEQ, number, 0, length)

/* A call as it comes; with none of these bits, or one of two values, in an
 * argument; with one from low to high. */
#define ANY(name) CALL(__NR_##name, 1), ALLOW
#define WITHOUT(name, arg, bits)                                               \
	CALL(__NR_##name, 4), LOAD(ARG(arg)), IF(BPF_JSET, bits, 1, 0), ALLOW, \
	    REFUSE
#define EITHER(name, arg, a, b)                                                \
	CALL(__NR_##name, 5), LOAD(ARG(arg)), IF(BPF_JEQ, a, 1, 0),            \
	    IF(BPF_JEQ, b, 0, 1), ALLOW, REFUSE
#define RANGE(name, arg, low, high)                                            \
	CALL(__NR_##name, 5), LOAD(ARG(arg)), IF(BPF_JGE, low, 0, 2),          \
	    IF(BPF_JGT, high, 1, 0), ALLOW, REFUSE

#define OPEN_CHANGES (O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND)

/*
 * What is not here does not exist for the process: among others clone,
 * execve, kill, ptrace, bind, listen, openat2 and io_uring (whose arguments a
 * filter cannot see), and the 32-bit and x32 entrances of the same kernel.
 * Tolerated calls that we do not make ourselves are libraries': OpenSSL's,
 * and those of C libraries that reach the same end by another call.
 */
static const struct sock_filter filter[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
    IF(BPF_JEQ, HAVE_SECCOMP, 1, 0),
    REFUSE,
    LOAD(NUMBER),
    /* The runner, the server, the name servers.  Data in a SYN would pass
     * Landlock by (fast open). */
    ANY(read),
    ANY(write),
    ANY(readv),
    ANY(writev),
    ANY(recvfrom),
    ANY(recvmsg),
    WITHOUT(sendto, 3, MSG_FASTOPEN),
    WITHOUT(sendmsg, 2, MSG_FASTOPEN),
#if defined(__NR_poll)
    ANY(poll),
#endif
    ANY(ppoll),
    ANY(close),
    ANY(shutdown),
    ANY(connect),
    ANY(getsockopt),
    ANY(getsockname),
    ANY(getpeername),
    EITHER(setsockopt, 2, TCP_NODELAY, TCP_NODELAY),
    RANGE(fcntl, 1, F_GETFD, F_SETFL),
    /* The interface in a name server's address, "fe80::1%eth0". */
    EITHER(ioctl, 1, SIOCGIFINDEX, SIOCGIFNAME),
    /* socket: TCP, UDP or AF_UNIX; nothing raw, no other protocol. */
    CALL(__NR_socket, 14),
    LOAD(ARG(0)),
    IF(BPF_JEQ, AF_INET, 3, 0),
    IF(BPF_JEQ, AF_INET6, 2, 0),
    IF(BPF_JEQ, AF_UNIX, 1, 0),
    REFUSE,
    LOAD(ARG(1)),
    KEEP(~(SOCK_CLOEXEC | SOCK_NONBLOCK)),
    IF(BPF_JEQ, SOCK_STREAM, 2, 0),
    IF(BPF_JEQ, SOCK_DGRAM, 1, 0),
    REFUSE,
    LOAD(ARG(2)),
    IF(BPF_JEQ, 0, 0, 1),
    ALLOW,
    REFUSE,
    /* The message, resolv.conf, hosts, CA certificates, the time zone. */
    ANY(pread64),
    ANY(lseek),
    WITHOUT(openat, 2, OPEN_CHANGES),
    ANY(fstat),
    ANY(newfstatat),
    ANY(statx),
    ANY(faccessat),
#if defined(__NR_faccessat2)
    ANY(faccessat2),
#endif
#if defined(__NR_open)
    WITHOUT(open, 1, OPEN_CHANGES),
    ANY(stat),
    ANY(lstat),
    ANY(access),
#endif
    /* Memory, never for code. */
    ANY(brk),
    WITHOUT(mmap, 2, PROT_EXEC),
    WITHOUT(mprotect, 2, PROT_EXEC),
    ANY(munmap),
    ANY(mremap),
    ANY(madvise),
    ANY(futex),
    /* Time, where it is not read without a call; randomness. */
    ANY(clock_gettime),
    ANY(clock_getres),
    ANY(clock_nanosleep),
    ANY(nanosleep),
    ANY(gettimeofday),
#if defined(__NR_time)
    ANY(time),
#endif
    ANY(getrandom),
    /* Itself and its machine. */
    ANY(getpid),
    ANY(gettid),
    ANY(getuid),
    ANY(geteuid),
    ANY(getgid),
    ANY(getegid),
    ANY(uname),
    ANY(sysinfo),
    ANY(sched_yield),
    ANY(sched_getaffinity),
    ANY(rt_sigaction),
    ANY(rt_sigprocmask),
    ANY(rt_sigreturn),
    ANY(restart_syscall),
    ANY(exit),
    ANY(exit_group),
    REFUSE,
};

/*
 * In front of that where no server is behind a path: other programs' sockets
 * are none of its business.  musl asks one for the number of an interface.
 */
static const struct sock_filter no_paths[] = {
    LOAD(NUMBER),
#if defined(__GLIBC__)
    CALL(__NR_socket, 3),
    LOAD(ARG(0)),
    IF(BPF_JEQ, AF_UNIX, 0, 1),
#else
    CALL(__NR_socket, 6),
    LOAD(ARG(0)),
    IF(BPF_JEQ, AF_UNIX, 0, 4),
    LOAD(ARG(1)),
    KEEP(~(SOCK_CLOEXEC | SOCK_NONBLOCK)),
    IF(BPF_JEQ, SOCK_DGRAM, 1, 0),
#endif
    REFUSE,
    ALLOW,
};

/* Asked for a filter at no address, a kernel that has them says EFAULT. */
static bool
seccomp_is_here(void)
{
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) == -1 &&
	       errno == EFAULT;
}

static int
seccomp_add(const struct sock_filter *f, size_t n)
{
	/* The kernel copies it; only its type has no const. */
	const struct sock_fprog program = {.len = (unsigned short)n,
	    .filter = (struct sock_filter *)(uintptr_t)f};

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

static int
seccomp_enter(const struct sandbox_needs *needs)
{
	if (!seccomp_is_here())
		return 0;
	/* The last one forbids to add another. */
	if (needs->socket_path == NULL &&
	    seccomp_add(no_paths, ARRAY_LEN(no_paths)) == -1)
		return -1;
	return seccomp_add(filter, ARRAY_LEN(filter));
}

#endif

/* ---- pledge ---- */

#if defined(HAVE_PLEDGE)

static int
unveil_place(int rules, const char *path)
{
	(void)rules;
	return unveil(path, "r") == -1 && errno == E2BIG ? -1 : 0;
}

static int
pledge_enter(const struct sandbox_needs *needs)
{
	if (allow_places(-1, needs, unveil_place) == -1)
		return -1;
	if (needs->socket_path == NULL)
		return pledge("stdio rpath inet recvfd", NULL);
	if (unveil(needs->socket_path, "rw") == -1 && errno != ENOENT)
		return -1;
	return pledge("stdio rpath unix recvfd", NULL);
}

#endif

/* ---- The interface ---- */

int
sandbox_enter(const struct sandbox_needs *needs)
{
	(void)needs; /* where there is nothing to enter */
#if !defined(HAVE_NONE)
	/* No process, no byte in a file: every system knows these. */
	const struct rlimit none = {0};

	(void)setrlimit(RLIMIT_NPROC, &none);
	(void)setrlimit(RLIMIT_FSIZE, &none);
#if defined(__linux__)
	/* Fails only where the kernel is older than the rest. */
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#endif
#if defined(HAVE_LANDLOCK)
	if (landlock_enter(needs) == -1)
		return -1;
#endif
#if defined(HAVE_SECCOMP)
	if (seccomp_enter(needs) == -1)
		return -1;
#endif
#if defined(HAVE_PLEDGE)
	if (pledge_enter(needs) == -1)
		return -1;
#endif
#endif
	return 0;
}

void
sandbox_describe(char *text, size_t size)
{
	compat_strlcpy(text, "none but its user's rights", size);
#if defined(HAVE_LANDLOCK)
	if (landlock_abi() > 0)
		(void)snprintf(text, size, "Landlock (ABI %d)", landlock_abi());
#endif
#if defined(HAVE_SECCOMP)
	if (seccomp_is_here()) {
		size_t len = *text == 'L' ? strlen(text) : 0;
		(void)snprintf(
		    text + len, size - len, "%sseccomp", len > 0 ? ", " : "");
	}
#endif
#if defined(HAVE_PLEDGE)
	compat_strlcpy(text, "pledge, unveil", size);
#endif
}
