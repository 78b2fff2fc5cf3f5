/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * forward.c - any ~/.forward of alice's, and a message that comes for her: it
 * gets one outcome; it is put off, with a line that says why, or a loop, or
 * each thing that the file names has it: commands first, addresses last and
 * all at once.  What the file says, written anew, says the same.
 *
 * What is behind the first NUL is the message; where that begins with f or d,
 * its letters are how the deliveries end.
 */
#include "fuzz.h"

/* Nothing is delivered: those who would be called stand here. */
#include "../../local_forward.c"

enum { COMMAND = 1, BOX, ADDRESSES };
static struct {
	int last;
	size_t boxes, addresses;
	const char *outcomes; /* of each, in turn: fail, defer, or sent */
} done;

static void
take(const struct delivery *d, int what)
{
	char next = *done.outcomes;

	need(what >= done.last, "commands, boxes, addresses");
	done.last = what;
	done.outcomes += next != '\0';
	outcome_set(d->outcome,
	    next == 'f'   ? OUTCOME_FAIL
	    : next == 'd' ? OUTCOME_DEFER
			  : OUTCOME_SENT,
	    "2.0.0", "done");
}

void
mbox_deliver(const struct delivery *d, const char *path, enum mbox_lock lock)
{
	(void)lock;
	need(path[0] == '/' && path[strlen(path) - 1] != '/', "a file");
	done.boxes++;
	take(d, BOX);
}

void
maildir_deliver(const struct delivery *d, const char *path)
{
	need(path[0] == '/' && path[strlen(path) - 1] == '/', "a directory");
	done.boxes++;
	take(d, BOX);
}

void
command_deliver(const struct delivery *d, const char *command)
{
	const char *why = "";
	char **argv = mailbox_argv(command, &why);

	need(argv != NULL, "a command that has words");
	free(argv);
	done.boxes++;
	take(d, COMMAND);
}

void
command_forward(
    const struct delivery *d, const char *const *addresses, size_t n)
{
	struct addr a;
	const char *why;

	need(n > 0 && done.addresses == 0, "all of them at once");
	for (size_t i = 0; i < n; i++)
		need(addr_parse(&a, addresses[i], false, &why) == 0,
		    "an address");
	done.addresses = n;
	take(d, ADDRESSES);
}

int
local_defer(struct outcome *o, const char *dsn, const char *what, int error)
{
	(void)error;
	outcome_set(o, OUTCOME_DEFER, dsn, "%s", what);
	return -1;
}

/* ---- The file ---- */

static void
count_report(void *arg, const char *line)
{
	++*(size_t *)arg;
	need_printable(line, "a complaint");
	need(strncmp(line, "f:", 2) == 0, "where");
}

/*
 * As somebody would write it who knows only what must be quoted, and how: in
 * quotes where a backslash would say "no alias", or would say it twice.
 */
static void
write_target(struct buf *text, const char *target)
{
	const char *special = "#,:()";
	const char *p = target;
	bool quotes = is_file(p) || strspn(p, special) > 0;

	if (quotes) {
		special = "\"\\";
		(void)buf_putc(text, '"');
	} else if (*p == '\\' && strspn(p + 1, special) > 0) {
		(void)buf_putc(text, *p++);
		(void)buf_putc(text, *p++);
	}
	for (; *p != '\0'; p++) {
		if (strchr(special, *p) != NULL)
			(void)buf_putc(text, '\\');
		(void)buf_putc(text, *p);
	}
	(void)buf_puts(text, quotes ? "\"\n" : "\n");
}

/* How many targets there are, or -1: the file has a fault. */
static int
check_file(const char *text, size_t len)
{
	struct buf targets = {0}, written = {0}, again = {0};
	size_t reported = 0;
	int n = 0;
	bool bad, quotes = false;

	(void)buf_putc(&written, '\n'); /* what begins a file may be a BOM */
	bad = aliases_forward(
		  "f", text, len, &targets, count_report, &reported) != 0;
	need(bad == (reported > 0), "faults are reported");
	for (const char *t = NULL; (t = next_target(&targets, t)) != NULL;
	     n++) {
		write_target(&written, t);
		quotes = quotes || (!is_file(t) && strchr(t, '"') != NULL);
	}
	/* An address's own quotes have rules of their own. */
	need(quotes || (aliases_forward("f", buf_str(&written), written.len,
			    &again, NULL, NULL) == 0 &&
			   again.len == targets.len &&
			   memcmp(buf_str(&again), buf_str(&targets),
			       again.len) == 0),
	    "written anew it is the same");
	buf_free(&targets);
	buf_free(&written);
	buf_free(&again);
	return bad ? -1 : n;
}

/* ---- The delivery ---- */

static char home[] = "/tmp/dma-fuzz.XXXXXX", list[sizeof(home) + 9];
static int list_fd, message_fd;

static void
go_home(void)
{
	(void)unlink(list);
	(void)rmdir(home);
}

static void
start(void)
{
	FILE *f;

	if (list[0] != '\0')
		return;
	(void)umask(077);
	need(mkdtemp(home) != NULL, "a home");
	(void)snprintf(list, sizeof(list), "%s/.forward", home);
	list_fd = open(list, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	f = tmpfile();
	need(list_fd >= 0 && f != NULL, "files");
	message_fd = fileno(f);
	(void)atexit(go_home);
}

static void
fill(int fd, const void *p, size_t len)
{
	need(ftruncate(fd, 0) == 0 && pwrite_full(fd, p, len, 0) == 0, "write");
}

static void
check_delivery(int targets, const char *message, size_t len)
{
	char *outcomes = xstrndup(message, len);
	bool told = outcomes[0] == 'f' || outcomes[0] == 'd';
	struct local l = {.role = LOCAL_USER,
	    .user = "alice",
	    .home = home,
	    .host = xstrdup("here.example")};
	struct job j = {.fd = message_fd, .length = len};
	struct outcome o = {0};
	struct delivery d = {.local = &l,
	    .job = &j,
	    .address = xstrdup("alice@here.example"),
	    .outcome = &o};
	size_t n;

	memset(&done, 0, sizeof(done));
	done.outcomes = told ? outcomes : "";
	forward_deliver(&d);
	n = done.boxes + done.addresses;
	need(o.text[0] != '\0', "an outcome");
	need_printable(o.text, "an outcome's text");
	need(targets >= 0 || (n == 0 && o.class == OUTCOME_DEFER),
	    "a file with a fault defers");
	need(n > 0 || o.class != OUTCOME_SENT, "sent to nobody");
	/* Himself is counted once, however often he is named. */
	need(n == 0 || n <= (size_t)(targets == 0 ? 1 : targets),
	    "each target once");
	need(n == 0 || told || o.class == OUTCOME_SENT,
	    "where all have it, it is sent");
	free(l.host);
	free(d.address);
	free(outcomes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *message;
	size_t len;

	if (size == 0 || (message = memchr(text, '\0', size)) == NULL)
		message = text + size;
	len = (size_t)(message - text);
	message += len < size;
	start();
	fill(list_fd, text, len);
	fill(message_fd, message, (size_t)(text + size - message));
	check_delivery(
	    check_file(text, len), message, (size_t)(text + size - message));
	return 0;
}
