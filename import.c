/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * import.c - the queue of DragonFly's dma, taken into ours.
 *
 * Runs in:   dma, in the system's run, as USER.
 * Trusts:    spool_old.c's pairs to be their owner's. Distrusts: their text.
 * Promises:  an old message is removed only after ours is on stable storage: a
 *            crash in between makes a duplicate, and loses nothing.
 */
#include "import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "route.h"
#include "util.h"

#define GROUP_MAX  100         /* recipients of one of ours: descriptors */
#define PIECE_SIZE (64 * 1024) /* bytes */

/* Pairs that are one message for several recipients. */
struct group {
	const struct instance *in;
	struct spool_old old[GROUP_MAX];
	struct recipient recipients[GROUP_MAX];
	size_t count;
	struct addr sender;
	size_t taken;
	bool stop; /* the spool is full: no more of it */
};

/* ---- What a Q file says ---- */

/* The line's value, if it has this name; NULL otherwise. */
static const char *
value_of(const char *line, const char *name)
{
	size_t len = strlen(name);

	if (strncmp(line, name, len) != 0 || line[len] != ':')
		return NULL;
	line += len + 1;
	return line + strspn(line, " \t");
}

/*
 * Addresses as the old program reads them: no alias is looked up again, but
 * which are local is today's configuration's to say.
 */
static const char *
parse_line(const struct conf *c, const char *line, struct addr *sender,
    struct addr *to)
{
	const char *value, *why = NULL;

	if (strchr(line, ':') == NULL)
		return "has a line that it may not have";
	if ((value = value_of(line, "Sender")) != NULL) {
		/* What it makes of -f "" and -f "<>". */
		if (value[0] == '@' || strncmp(value, "<>@", 3) == 0)
			value = "";
		if (addr_parse(sender, value, true, &why) == 0)
			(void)addr_qualify(sender, c->mailname, &why);
	} else if ((value = value_of(line, "Recipient")) != NULL) {
		if (addr_parse(to, value, false, &why) == 0)
			(void)route_localize(c, to, &why);
	}
	return why == NULL ? NULL : "has an address that is none";
}

/* Returns NULL, or what is wrong. */
static const char *
parse(const struct conf *c, struct spool_old *o, struct addr *sender,
    struct addr *to)
{
	char *rest = o->text, *line;
	const char *why = NULL;
	bool has_sender = false;

	to->text[0] = '\0';
	while (why == NULL && (line = strsep(&rest, "\n")) != NULL) {
		if (rest == NULL) /* what follows the last LF */
			return *line == '\0' && has_sender && !addr_is_null(to)
				   ? NULL
				   : "is not complete";
		has_sender = has_sender || value_of(line, "Sender") != NULL;
		why = parse_line(c, line, sender, to);
	}
	return why;
}

/* ---- One message ---- */

/* Up to its size: the file may have other names, where it grows for ever. */
static int
copy_message(const struct spool_old *o, struct spool_draft *d)
{
	char *piece = xmalloc(PIECE_SIZE), last = '\n';
	int64_t left = o->size;
	ssize_t n = 0;
	int status = 0;

	while (status == 0 && left > 0) {
		n = pread_full(o->message, piece,
		    left < PIECE_SIZE ? (size_t)left : PIECE_SIZE,
		    (off_t)(o->size - left));
		if (n <= 0)
			break;
		status = spool_append(d, piece, (size_t)n);
		last = piece[n - 1];
		left -= n;
	}
	free(piece);
	if (status == -1 || n == -1)
		return -1;
	return last == '\n' ? 0 : spool_append(d, "\n", 1);
}

/* The commit is the same that a submission makes.  id gets its queue id. */
static int
store(struct group *g, char id[QUEUE_ID_MAX + 1])
{
	const struct spool *s = &g->in->spool;
	struct spool_draft d;
	struct envelope env = {.uid = s->uid,
	    .arrival = g->old[0].arrival,
	    .sender = g->sender,
	    .recipients = g->recipients,
	    .nrecipients = g->count};

	if (spool_create(s, &env, &d) == -1)
		return -1;
	if (copy_message(&g->old[0], &d) == -1) {
		spool_abandon(s, &d);
		return -1;
	}
	if (spool_commit(s, &d) == -1)
		return -1;
	(void)compat_strlcpy(id, env.id, QUEUE_ID_MAX + 1);
	return 0;
}

static void
report(const struct group *g, const char *name, const char *why)
{
	if (spool_old_note(&g->in->spool, name, why))
		log_event(LOG_QUEUE, LOG_ERR, "%s: %s; it is left as it is",
		    name, why);
}

/* What cannot be removed must not be taken over at each run. */
static void
remove_old(const struct group *g)
{
	for (size_t i = 0; i < g->count; i++)
		if (spool_old_remove(&g->in->spool, &g->old[i]) == -1)
			report(g, g->old[i].name,
			    "was taken over, but cannot be removed");
}

/* Take over what is in the group; it is empty afterwards. */
static void
finish(struct group *g)
{
	char id[QUEUE_ID_MAX + 1];

	if (g->count == 0)
		return;
	if (store(g, id) == 0) {
		log_event(LOG_QUEUE, LOG_INFO,
		    "%s: uid=%lu from=<%s>, nrcpt=%zu, taken over from %s", id,
		    (unsigned long)g->old[0].owner, g->sender.text, g->count,
		    g->old[0].name);
		remove_old(g);
		g->taken++;
	} else {
		int error = errno;

		log_event(LOG_QUEUE, LOG_ERR, "%s: cannot take it over: %s",
		    g->old[0].name, strerror(error));
		/* What is wrong with this one must not stop the others. */
		g->stop = error != EIO && error != EINVAL;
	}
	for (size_t i = 0; i < g->count; i++)
		spool_old_close(&g->old[i]);
	g->count = 0;
}

/* ---- All of them ---- */

static bool
fits(const struct group *g, const struct spool_old *o, const struct addr *from)
{
	return g->count < GROUP_MAX && o->ino == g->old[0].ino &&
	       o->dev == g->old[0].dev &&
	       strcmp(from->text, g->sender.text) == 0;
}

static const char *
judge(const struct conf *c, struct spool_old *o, struct addr *from,
    struct addr *to)
{
	/* Its owner may have made it endless: a copy would fill the disk. */
	if (c->maxsize > 0 && o->size > c->maxsize)
		return "is larger than MAXSIZE";
	return parse(c, o, from, to);
}

static void
take(struct group *g, const char *name)
{
	struct spool_old o;
	struct addr from, to;
	const char *why = NULL;

	if (spool_old_open(&g->in->spool, name, &o, &why) == -1) {
		if (errno == EBADMSG)
			report(g, name, why);
		else if (errno != ENOENT && errno != EWOULDBLOCK)
			log_event(LOG_QUEUE, LOG_ERR,
			    "%s: cannot take it over: %s", name,
			    strerror(errno));
		return;
	}
	if ((why = judge(g->in->conf, &o, &from, &to)) != NULL) {
		report(g, name, why);
		spool_old_close(&o);
		return;
	}
	if (!fits(g, &o, &from))
		finish(g);
	if (g->stop) {
		spool_old_close(&o);
		return;
	}
	g->sender = from;
	g->recipients[g->count] =
	    (struct recipient){.addr = to, .status = STATUS_TODO};
	g->old[g->count++] = o;
}

struct names {
	char (*list)[SPOOL_OLD_NAME_MAX + 1];
	size_t count, size;
};

static int
collect(void *arg, const char *name)
{
	struct names *n = arg;

	if (!spool_old_name(name))
		return 0;
	if (n->count == n->size) {
		n->size = n->size == 0 ? 64 : n->size * 2;
		n->list = xreallocarray(n->list, n->size, sizeof(*n->list));
	}
	(void)compat_strlcpy(n->list[n->count++], name, sizeof(*n->list));
	return 0;
}

/* Recipients of one message have names that begin alike. */
static int
by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void
import_old_spool(const struct instance *in)
{
	struct names names = {0};
	struct group *g;

	if (!in->all || spool_each_name(&in->spool, collect, &names) == -1 ||
	    names.count == 0) {
		free(names.list);
		return;
	}
	g = xcalloc(1, sizeof(*g));
	g->in = in;
	qsort(names.list, names.count, sizeof(*names.list), by_name);
	for (size_t i = 0; i < names.count && !g->stop; i++)
		take(g, names.list[i]);
	finish(g);
	if (g->taken > 0)
		(void)spool_sync(&in->spool);
	free(names.list);
	free(g);
}
