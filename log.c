/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * log.c - one event, one line, to syslog, stderr or a file.
 *
 * Runs in:   dma and dma-become; agents send their lines to dma.
 * Trusts:    the configuration's path as far as it may be root's.
 * Distrusts: every byte of the text: it may be a remote server's.
 * Promises:  one event is one printable line, in syslog where the file does
 *            not take it; errno is left alone.
 */
#include "log.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "util.h"

#define LOG_LINE_MAX 2048 /* bytes of text */
#define LOG_TAG_MAX  32
#define LOG_HOST_MAX 64
#define LOG_SLACK    (1 << 20) /* bytes that others append meanwhile */

extern char **environ;

/* A process has one log, as it has one syslog(3). */
static struct {
	enum log_target target;
	int fd; /* of stderr or the file */
	bool echo;
	char tag[LOG_TAG_MAX + 1];
	char host[LOG_HOST_MAX + 1];
	char ident[LOG_TAG_MAX + 16]; /* syslog(3) keeps a pointer to it */
} state = {.target = LOG_TO_SYSLOG, .fd = -1, .tag = "dma"};

/* The tag as -L gave it, less what would break "ident[pid]:". */
static void
set_tag(const char *tag)
{
	size_t i;

	if (tag == NULL || *tag == '\0')
		tag = "dma";
	(void)compat_strlcpy(state.tag, tag, sizeof(state.tag));
	for (i = 0; state.tag[i] != '\0'; i++)
		if (!ascii_isalnum((unsigned char)state.tag[i]) &&
		    strchr("-_.", state.tag[i]) == NULL)
			state.tag[i] = '_';
}

/*
 * A log that a user could replace would make us write where he wants; a FIFO
 * would stop us.
 */
static int
open_file(const char *path, bool create)
{
	struct stat st;
	int fd, flags;

	flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	fd = open(path, create ? flags | O_CREAT : flags, 0600);
	if (fd == -1)
		return -1;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    st.st_uid != (create ? geteuid() : 0)) {
		(void)close(fd);
		errno = EPERM;
		return -1;
	}
	return fd;
}

int
log_open(enum log_target target, const char *path, int create, const char *tag)
{
	int fd = STDERR_FILENO;

	set_tag(tag);
	if (gethostname(state.host, LOG_HOST_MAX) == -1)
		(void)compat_strlcpy(
		    state.host, "localhost", sizeof(state.host));
	state.host[LOG_HOST_MAX] = '\0';
	if (state.target == LOG_TO_FILE)
		(void)close(state.fd);
	state.target = LOG_TO_SYSLOG;
	if (target == LOG_TO_FILE && (fd = open_file(path, create)) == -1)
		return -1;
	state.fd = fd;
	state.target = target;
	return 0;
}

/*
 * A limit on the size of files would cut the line, and whoever writes next
 * would go on in it.
 */
static bool
has_room(size_t len)
{
	struct rlimit l;
	struct stat st;

	return getrlimit(RLIMIT_FSIZE, &l) == -1 ||
	       l.rlim_cur == RLIM_INFINITY || fstat(state.fd, &st) == -1 ||
	       !S_ISREG(st.st_mode) ||
	       (rlim_t)st.st_size + len + LOG_SLACK <= l.rlim_cur;
}

/* One write(2): several processes append to the same file. */
static int
write_line(const char *text)
{
	char line[LOG_LINE_MAX + 256], when[32];
	time_t now = time(NULL);
	struct tm tm;
	int len;

	/* What a syslog daemon would put before it, in English (no locale). */
	if (localtime_r(&now, &tm) == NULL)
		(void)gmtime_r(&now, &tm);
	(void)strftime(when, sizeof(when), "%b %e %H:%M:%S", &tm);
	len = snprintf(line, sizeof(line), "%s %s %s[%ld]: %s", when,
	    state.host, state.ident, (long)getpid(), text);
	(void)printable(line, sizeof(line), line, (size_t)len);
	line[len] = '\n';
	if (!has_room((size_t)len + 1)) {
		errno = EFBIG;
		return -1;
	}
	return write_full(state.fd, line, (size_t)len + 1);
}

void
log_echo(void)
{
	state.echo = true;
}

/* Nobody may hide what he does by a limit on the size of files (V-14). */
static bool
is_for_syslog(const char *text)
{
	if (state.target == LOG_TO_SYSLOG)
		return true;
	if (state.echo && state.target == LOG_TO_STDERR)
		return false;
	return write_line(text) == -1 && state.target == LOG_TO_FILE;
}

/* Returns what was there. */
static char **
set_environment(char **env)
{
	char **before = environ;

	environ = env;
	tzset();
	return before;
}

void
log_event(enum log_ident ident, int priority, const char *fmt, ...)
{
	static const char *const roles[] = {[LOG_SUBMIT] = "submit",
	    [LOG_QUEUE] = "queue",
	    [LOG_SMTP] = "smtp",
	    [LOG_LOCAL] = "local",
	    [LOG_BOUNCE] = "bounce"};
	char text[LOG_LINE_MAX];
	char *empty[] = {NULL}, **env;
	va_list ap;
	int saved = errno;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* TZ is the caller's, and when something happened not his to say. */
	env = getenv("TZ") != NULL ? set_environment(empty) : NULL;
	(void)snprintf(
	    state.ident, sizeof(state.ident), "%s/%s", state.tag, roles[ident]);
	if (is_for_syslog(text)) {
		(void)printable(text, sizeof(text), text, strlen(text));
		/* Only the ident changes: an open connection stays. */
		openlog(state.ident, LOG_PID, LOG_MAIL);
		syslog(priority, "%s", text);
	}
	if (env != NULL)
		(void)set_environment(env);
	if (state.echo) {
		(void)printable(text, sizeof(text), text, strlen(text));
		(void)fprintf(stderr, "# %s: %s\n", state.ident, text);
	}
	errno = saved;
}
