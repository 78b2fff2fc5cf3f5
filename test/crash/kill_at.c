/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * kill_at.c - run a program and all that it starts, system call by system
 * call, and do something to them at one chosen stop.
 *
 *	kill_at [option ...] command [argument ...]
 *
 * A stop is the entry or the exit of a system call.  At stop -n N of process
 * -p P (0, the first, is the command; its exec comes first):
 *	(nothing)	all of them are killed at once, as by a power button
 *	-1		the process that stopped is killed, the others go on
 *	-e ERRNO	the call is not made and fails with this number
 *	-s		the call moves one byte (read, write, send and their kin)
 *	-a COMMAND	the shell runs this, while the process stands still
 * -l FILE  what happened: see print_stop() and record.  With -n only the end.
 * -r DIR   in the log also what is done to files beneath this directory
 * -m NUMBER  this call is missing: it always fails with ENOSYS
 * -u UID   -g GID  who runs the command (-a's too); for root
 * -i FILE  its standard input
 * -t SECONDS  all are killed after that time
 *
 * Status: the command's, 124 after -t, 125 if it was killed; 77 if this
 * machine cannot do it.  prctl(PR_SET_DUMPABLE, 0) is answered but not made:
 * without it we could not look into the processes.  Linux only.
 */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 200
#define SKIPPED       77
#define OVERDUE       124
#define KILLED        125
#define PATH_SIZE     (2 * PATH_MAX)

struct tracee {
	pid_t pid;
	int number;       /* 0: the command itself */
	char program[16]; /* its name */
	long stops;
	long call; /* under way, or -1 */
	unsigned long args[6];
	bool existed; /* what open(O_CREAT) names */
	bool faked;   /* the call is not made and gives fake */
	long fake;
};

static struct {
	struct tracee processes[PROCESSES_MAX];
	int started;
	pid_t command;
	int status;  /* of the command: 0-255, 128 + signal, -1: runs */
	bool counts; /* the command's exec is behind us */
	long stops, chosen;
	int chosen_process;
	int error; /* 0: none */
	bool one_only, short_count;
	const char *action, *directory;
	long missing; /* a call that is not there */
	FILE *log;
	bool acted;
	uid_t uid;
	gid_t gid;
} self = {.status = -1, .missing = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};

static volatile sig_atomic_t overdue;

static void
on_alarm(int number)
{
	(void)number;
	overdue = 1;
}

static long long
now_us(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

/* ---- Processes ---- */

static struct tracee *
tracee_of(pid_t pid)
{
	struct tracee *free_one = NULL;

	for (int i = 0; i < PROCESSES_MAX; i++) {
		struct tracee *t = &self.processes[i];

		if (t->pid == pid)
			return t;
		if (t->pid == 0 && free_one == NULL)
			free_one = t;
	}
	if (free_one == NULL)
		errx(1, "too many processes");
	*free_one = (struct tracee){
	    .pid = pid, .number = self.started++, .call = -1, .program = "?"};
	return free_one;
}

static void
read_program(struct tracee *t)
{
	char path[64];
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)t->pid);
	if ((f = fopen(path, "r")) == NULL)
		return;
	if (fgets(t->program, sizeof(t->program), f) != NULL)
		t->program[strcspn(t->program, "\n ")] = '\0';
	(void)fclose(f);
}

static void
kill_all(void)
{
	for (int i = 0; i < PROCESSES_MAX; i++)
		if (self.processes[i].pid != 0)
			(void)kill(self.processes[i].pid, SIGKILL);
}

/* ---- Registers: what differs from machine to machine ---- */

/* The call that is about to be made is not made. */
static void
skip_call(struct tracee *t, long result)
{
#if defined(__x86_64__)
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return;
	r.orig_rax = (unsigned long)-1;
	(void)ptrace(PTRACE_SETREGS, t->pid, NULL, &r);
#elif defined(__aarch64__)
	int none = -1;
	struct iovec v = {&none, sizeof(none)};

	(void)ptrace(PTRACE_SETREGSET, t->pid, (void *)0x404, &v);
#endif
	t->faked = true;
	t->fake = result;
}

/* What the program sees of a call, or its third argument before it. */
static void
set_register(const struct tracee *t, bool third, long value)
{
#if defined(__x86_64__)
	struct user_regs_struct r;

	if (ptrace(PTRACE_GETREGS, t->pid, NULL, &r) == -1)
		return;
	if (third)
		r.rdx = (unsigned long)value;
	else
		r.rax = (unsigned long)value;
	(void)ptrace(PTRACE_SETREGS, t->pid, NULL, &r);
#elif defined(__aarch64__)
	struct user_regs_struct r;
	struct iovec v = {&r, sizeof(r)};

	if (ptrace(PTRACE_GETREGSET, t->pid, (void *)1, &v) == -1)
		return;
	r.regs[third ? 2 : 0] = (unsigned long long)value;
	(void)ptrace(PTRACE_SETREGSET, t->pid, (void *)1, &v);
#else
	(void)t;
	(void)third;
	(void)value;
#endif
}

/* ---- What the calls mean ---- */

static bool
copy_in(const struct tracee *t, unsigned long from, void *to, size_t len)
{
	struct iovec here = {to, len};
	struct iovec there;

	there.iov_base = (void *)from;
	there.iov_len = len;
	return process_vm_readv(t->pid, &here, 1, &there, 1, 0) == (ssize_t)len;
}

static void
copy_string(const struct tracee *t, unsigned long from, char *to, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && copy_in(t, from + n, to + n, 1) && to[n] != '\0')
		n++;
	to[n] = '\0';
}

/* What a descriptor of theirs is open on. */
static void
path_of(const struct tracee *t, int fd, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	if (fd == AT_FDCWD)
		(void)snprintf(link, sizeof(link), "/proc/%d/cwd", (int)t->pid);
	else
		(void)snprintf(
		    link, sizeof(link), "/proc/%d/fd/%d", (int)t->pid, fd);
	n = readlink(link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

/* The name at an address of theirs, made absolute. */
static void
name_of(const struct tracee *t, int fd, unsigned long at, char *path)
{
	char name[PATH_MAX], directory[PATH_MAX];

	copy_string(t, at, name, sizeof(name));
	path_of(t, fd, directory, sizeof(directory));
	if (name[0] == '/')
		(void)snprintf(path, PATH_SIZE, "%s", name);
	else
		(void)snprintf(path, PATH_SIZE, "%s/%s", directory, name);
}

static bool
is_ours(const char *path)
{
	size_t n = strlen(self.directory);

	return strncmp(path, self.directory, n) == 0;
}

/* Inode of a file of theirs beneath the directory, 0 if it is elsewhere. */
static unsigned long
inode_of(const struct tracee *t, int fd, struct stat *st)
{
	char path[PATH_MAX], link[64];

	path_of(t, fd, path, sizeof(path));
	(void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)t->pid, fd);
	if (!is_ours(path) || stat(link, st) == -1 || S_ISFIFO(st->st_mode))
		return 0;
	return st->st_ino;
}

static long long
position_of(const struct tracee *t, int fd)
{
	char path[64];
	long long at = -1;
	FILE *f;

	(void)snprintf(
	    path, sizeof(path), "/proc/%d/fdinfo/%d", (int)t->pid, fd);
	if ((f = fopen(path, "r")) == NULL)
		return -1;
	if (fscanf(f, "pos: %lld", &at) != 1)
		at = -1;
	(void)fclose(f);
	return at;
}

static void
record_write(const struct tracee *t, long long at, long len)
{
	unsigned char *data = malloc((size_t)len + 1);
	struct stat st;

	if (data == NULL || !copy_in(t, t->args[1], data, (size_t)len))
		errx(1, "cannot read what was written");
	fprintf(self.log, "op %ld %lld write %lu %lld ", self.stops, now_us(),
	    inode_of(t, (int)t->args[0], &st), at);
	for (long i = 0; i < len; i++)
		fprintf(self.log, "%02x", data[i]);
	fputc('\n', self.log);
	free(data);
}

/* One call on an open file, whose inode is known. */
static void
record_file_call(const struct tracee *t, unsigned long inode, long result)
{
	int fd = (int)t->args[0];

	switch (t->call) {
	case SYS_write:
		record_write(t, position_of(t, fd) - result, result);
		break;
	case SYS_pwrite64:
		record_write(t, (long long)t->args[3], result);
		break;
	case SYS_ftruncate:
		fprintf(self.log, "op %ld %lld truncate %lu %lu\n", self.stops,
		    now_us(), inode, t->args[1]);
		break;
	case SYS_fsync:
	case SYS_fdatasync:
		fprintf(self.log, "op %ld %lld sync %lu\n", self.stops,
		    now_us(), inode);
		break;
	default:
		fprintf(self.log, "op %ld %lld unknown %ld\n", self.stops,
		    now_us(), t->call);
	}
}

static void
record_names(const struct tracee *t, const char *what, unsigned long from,
    int fd, unsigned long to)
{
	char old[PATH_SIZE], new[PATH_SIZE] = "";

	name_of(t, (int)t->args[0], from, old);
	if (to != 0)
		name_of(t, fd, to, new);
	if (is_ours(old) || is_ours(new))
		fprintf(self.log, "op %ld %lld %s %s %s\n", self.stops,
		    now_us(), what, old, new);
}

static void
record_open(const struct tracee *t, long fd)
{
	struct stat st;
	char path[PATH_MAX];
	unsigned long inode = inode_of(t, (int)fd, &st);

	if (inode == 0 || t->existed || (t->args[2] & O_CREAT) == 0)
		return;
	path_of(t, (int)fd, path, sizeof(path));
	fprintf(self.log, "op %ld %lld create %s %lu\n", self.stops, now_us(),
	    path, inode);
}

/* A call that was made, and with success, changes files. */
static void
record(const struct tracee *t, long result)
{
	struct stat st;
	unsigned long inode;

	if (result < 0 || t->faked)
		return;
	switch (t->call) {
	case SYS_openat:
		record_open(t, result);
		return;
	case SYS_renameat:
	case SYS_renameat2:
		record_names(
		    t, "rename", t->args[1], (int)t->args[2], t->args[3]);
		return;
	case SYS_linkat:
		record_names(
		    t, "link", t->args[1], (int)t->args[2], t->args[3]);
		return;
	case SYS_unlinkat:
		record_names(t, "unlink", t->args[1], 0, 0);
		return;
	case SYS_write:
	case SYS_pwrite64:
	case SYS_ftruncate:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_writev:
	case SYS_fallocate:
		inode = inode_of(t, (int)t->args[0], &st);
		if (inode != 0)
			record_file_call(t, inode, result);
		return;
	default:
		return;
	}
}

static bool
would_exist(const struct tracee *t)
{
	char path[PATH_SIZE];
	struct stat st;

	name_of(t, (int)t->args[0], t->args[1], path);
	return lstat(path, &st) == 0;
}

/* N microseconds process program > call arguments, or < call result */
static void
print_stop(const struct tracee *t, const struct ptrace_syscall_info *info)
{
	fprintf(self.log, "%ld %lld %d %s ", self.stops, now_us(), t->number,
	    t->program);
	if (info->op == PTRACE_SYSCALL_INFO_EXIT)
		fprintf(
		    self.log, "< %ld %ld\n", t->call, (long)info->exit.rval);
	else
		fprintf(self.log, "> %ld %lx %lx %lx %lx\n", t->call,
		    t->args[0], t->args[1], t->args[2], t->args[3]);
}

/* ---- The chosen stop ---- */

static void
become_user(void)
{
	if (self.gid != (gid_t)-1 &&
	    (setgroups(1, &self.gid) == -1 || setgid(self.gid) == -1))
		err(1, "setgid");
	if (self.uid != (uid_t)-1 && setuid(self.uid) == -1)
		err(1, "setuid");
}

static void
run_action(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		become_user();
		(void)execl("/bin/sh", "sh", "-c", self.action, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		continue;
}

static void
act(struct tracee *t, const struct ptrace_syscall_info *info)
{
	self.acted = true;
	if (self.log != NULL) {
		fputs("at ", self.log);
		print_stop(t, info);
	}
	if (self.action != NULL)
		run_action();
	else if (self.error != 0 || self.short_count) {
		if (info->op != PTRACE_SYSCALL_INFO_ENTRY)
			return;
		if (self.short_count)
			set_register(t, true, t->args[2] > 1 ? 1 : 0);
		else if (t->call != SYS_close)
			skip_call(t, -self.error);
		else { /* it is closed, whatever it says */
			t->faked = true;
			t->fake = -self.error;
		}
	} else if (self.one_only)
		(void)kill(t->pid, SIGKILL);
	else
		kill_all();
}

static void
at_entry(struct tracee *t, const struct ptrace_syscall_info *info)
{
	t->call = (long)info->entry.nr;
	t->faked = false;
	for (int i = 0; i < 6; i++)
		t->args[i] = (unsigned long)info->entry.args[i];
	if (t->call == SYS_prctl && t->args[0] == PR_SET_DUMPABLE)
		skip_call(t, 0);
	if (t->call == self.missing)
		skip_call(t, -ENOSYS);
	if (self.directory != NULL && t->call == SYS_openat)
		t->existed = would_exist(t);
}

static void
at_stop(struct tracee *t)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, (void *)sizeof(info),
		&info) <= 0)
		return; /* killed meanwhile */
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		at_entry(t, &info);
	else if (t->faked) {
		set_register(t, false, t->fake);
		info.exit.rval = t->fake;
	}
	if (!self.counts)
		return;
	self.stops++;
	if (self.log != NULL && self.chosen == 0) {
		print_stop(t, &info);
		if (self.directory != NULL &&
		    info.op == PTRACE_SYSCALL_INFO_EXIT)
			record(t, (long)info.exit.rval);
	}
	if (++t->stops == self.chosen && t->number == self.chosen_process)
		act(t, &info);
	if (info.op == PTRACE_SYSCALL_INFO_EXIT)
		t->faked = false;
}

/* ---- The loop ---- */

static void
has_ended(struct tracee *t, int status)
{
	int code =
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (t->pid == self.command)
		self.status = code;
	if (self.log != NULL)
		fprintf(self.log, "exit %ld %lld %d %s %d\n", self.stops,
		    now_us(), t->number, t->program, code);
	t->pid = 0;
}

static void
has_stopped(struct tracee *t, int status)
{
	int number = WSTOPSIG(status), event = status >> 16, deliver = 0;

	if (number == (SIGTRAP | 0x80)) {
		at_stop(t);
	} else if (event == PTRACE_EVENT_EXEC) {
		read_program(t);
		if (t->pid == self.command)
			self.counts = true;
	} else if (event == PTRACE_EVENT_STOP) {
		if (t->program[0] == '?')
			read_program(t);
	} else if (event == 0) {
		deliver = number;
	}
	(void)ptrace(PTRACE_SYSCALL, t->pid, NULL, (void *)(long)deliver);
}

static void
follow(void)
{
	int status;
	pid_t pid;

	for (;;) { /* until there is none left, known or just forked */
		if (overdue)
			kill_all();
		pid = waitpid(-1, &status, __WALL);
		if (pid == -1 && errno == EINTR)
			continue;
		if (pid == -1)
			return;
		if (!WIFSTOPPED(status))
			has_ended(tracee_of(pid), status);
		else if (self.acted && self.action == NULL && self.error == 0 &&
			 !self.short_count && !self.one_only)
			(void)kill(tracee_of(pid)->pid, SIGKILL);
		else
			has_stopped(tracee_of(pid), status);
	}
}

static void
start(char **argv, const char *input)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
			     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	int gate[2];
	char c;

	if (pipe2(gate, O_CLOEXEC) == -1 || (self.command = fork()) == -1)
		err(1, "cannot start");
	if (self.command == 0) {
		(void)close(gate[1]);
		while (read(gate[0], &c, 1) == -1 && errno == EINTR)
			continue;
		if (input != NULL &&
		    (close(0) == -1 || open(input, O_RDONLY) != 0))
			err(1, "%s", input);
		become_user();
		(void)execv(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	(void)close(gate[0]);
	(void)tracee_of(self.command);
	if (ptrace(PTRACE_SEIZE, self.command, NULL, (void *)options) == -1) {
		warn("cannot trace");
		(void)kill(self.command, SIGKILL);
		exit(SKIPPED);
	}
	/* From the open gate to its exec the command is not watched. */
	(void)ptrace(PTRACE_INTERRUPT, self.command, NULL, NULL);
	(void)close(gate[1]);
}

int
main(int argc, char **argv)
{
	struct sigaction alarms = {.sa_handler = on_alarm};
	const char *input = NULL, *log = NULL;
	int option;

#if !defined(__x86_64__) && !defined(__aarch64__)
	errx(SKIPPED, "not for this kind of machine");
#endif
	while ((option = getopt(argc, argv, "+n:p:1e:sa:l:r:m:u:g:i:t:")) != -1)
		switch (option) {
		case 'n':
			self.chosen = atol(optarg);
			break;
		case 'p':
			self.chosen_process = atoi(optarg);
			break;
		case '1':
			self.one_only = true;
			break;
		case 'e':
			self.error = atoi(optarg);
			break;
		case 's':
			self.short_count = true;
			break;
		case 'a':
			self.action = optarg;
			break;
		case 'l':
			log = optarg;
			break;
		case 'r':
			self.directory = optarg;
			break;
		case 'm':
			self.missing = atol(optarg);
			break;
		case 'u':
			self.uid = (uid_t)atol(optarg);
			break;
		case 'g':
			self.gid = (gid_t)atol(optarg);
			break;
		case 'i':
			input = optarg;
			break;
		case 't':
			(void)sigaction(SIGALRM, &alarms, NULL);
			(void)alarm((unsigned)atoi(optarg));
			break;
		default:
			return 2;
		}
	if (optind == argc)
		errx(2, "no command");
	if (log != NULL && (self.log = fopen(log, "we")) == NULL)
		err(1, "%s", log);
	start(argv + optind, input);
	follow();
	if (self.log != NULL)
		fprintf(self.log, "end %ld %d\n", self.stops, self.status);
	if (overdue)
		return OVERDUE;
	return self.status >= 0 && self.status < 124 ? self.status : KILLED;
}
