/*
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * entries.c - the messages that a runner knows, each in one state.
 *
 * Runs in:   dma, as the runner.
 * Promises:  an entry costs about 100 bytes, whatever its message; those of
 *            messages that are gone are freed.
 */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define TABLE_FIRST   1024
#define GONE_MAX      1024  /* entries of messages that are no more */
#define BUSY_AGAIN_MS 1000  /* before a locked message is tried again, */
#define BUSY_MAX_MS   60000 /* doubling: its owner may have been stopped */
#define FLUSH_BUSY_MS 50

uint32_t
entries_hash(const char *s)
{
	uint32_t h = 2166136261U; /* FNV-1a */

	for (; *s != '\0'; s++)
		h = (h ^ (unsigned char)*s) * 16777619U;
	return h;
}

static void
grow_table(struct runner *r)
{
	size_t size = r->table_size == 0 ? TABLE_FIRST : r->table_size * 4;
	struct entry **table = xcalloc(size, sizeof(struct entry *));

	for (size_t i = 0; i < r->table_size; i++) {
		struct entry *e, *next;

		for (e = r->table[i]; e != NULL; e = next) {
			size_t at = entries_hash(e->id) % size;

			next = e->chain;
			e->chain = table[at];
			table[at] = e;
		}
	}
	free(r->table);
	r->table = table;
	r->table_size = size;
}

struct entry *
entries_get(struct runner *r, const char *id, bool *is_new)
{
	struct entry *e;
	size_t at;

	if (r->entries >= r->table_size)
		grow_table(r);
	at = entries_hash(id) % r->table_size;
	*is_new = false;
	for (e = r->table[at]; e != NULL; e = e->chain)
		if (strcmp(e->id, id) == 0)
			return e;
	e = xcalloc(1, sizeof(*e));
	compat_strlcpy(e->id, id, sizeof(e->id));
	e->own = spool_id_is_own(&r->in->spool, id);
	e->state = ENTRY_OVER;
	e->chain = r->table[at];
	r->table[at] = e;
	r->entries++;
	*is_new = true;
	return e;
}

bool
entries_shortage(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM ||
	       error == EAGAIN;
}

void
entries_miss(struct runner *r)
{
	for (size_t i = 0; i < r->table_size; i++)
		for (struct entry *e = r->table[i]; e != NULL; e = e->chain)
			if (e->seen != r->scans && (e->state == ENTRY_WAITING ||
						       e->state == ENTRY_BUSY ||
						       e->state == ENTRY_OVER))
				entries_set_state(r, e, ENTRY_GONE);
}

void
entries_forget_gone(struct runner *r)
{
	if (r->gone < GONE_MAX || r->gone < r->entries / 2)
		return;
	for (size_t i = 0; i < r->table_size; i++) {
		struct entry **at = &r->table[i], *e;

		while ((e = *at) != NULL) {
			if (e->state != ENTRY_GONE || e->items > 0 ||
			    e->message != NULL) {
				at = &e->chain;
				continue;
			}
			*at = e->chain;
			free(e);
			r->entries--;
			r->gone--;
		}
	}
}

static void
count_state(struct runner *r, enum entry_state state, bool up)
{
	size_t *count = NULL;

	if (state == ENTRY_WAITING)
		count = &r->waiting;
	else if (state == ENTRY_BUSY)
		count = &r->busy;
	else if (state == ENTRY_QUEUED)
		count = &r->queued;
	else if (state == ENTRY_GONE)
		count = &r->gone;
	if (count != NULL)
		*count = up ? *count + 1 : *count - 1;
	if (state == ENTRY_QUEUED && up)
		r->taken++;
}

void
entries_append_due(struct runner *r, struct entry *e)
{
	bool first = r->due_last == NULL || (r->in->all && e->own);

	e->next = first ? r->due_first : NULL;
	*(first ? &r->due_first : &r->due_last->next) = e;
	if (e->next == NULL)
		r->due_last = e;
}

static int64_t
busy_pause(struct runner *r)
{
	if (r->flush)
		return FLUSH_BUSY_MS;
	r->busy_pause *= 2; /* deliver_open() begins again */
	if (r->busy_pause < BUSY_AGAIN_MS)
		r->busy_pause = BUSY_AGAIN_MS;
	if (r->busy_pause > BUSY_MAX_MS)
		r->busy_pause = BUSY_MAX_MS;
	return r->busy_pause;
}

void
entries_set_state(struct runner *r, struct entry *e, enum entry_state state)
{
	if (e->state == state)
		return;
	count_state(r, e->state, false);
	count_state(r, state, true);
	e->state = state;
	if (state == ENTRY_DUE)
		entries_append_due(r, e);
	if (state == ENTRY_WAITING &&
	    (r->next_due == 0 || e->next_try < r->next_due))
		r->next_due = e->next_try;
	if (state == ENTRY_BUSY && r->busy_again == 0)
		r->busy_again = now_ms() + busy_pause(r);
}

void
entries_add(struct runner *r, const char *id)
{
	bool is_new;
	struct entry *e = entries_get(r, id, &is_new);

	if (e->state != ENTRY_QUEUED && e->state != ENTRY_DUE)
		entries_set_state(r, e, ENTRY_DUE);
}

void
entries_wake(struct runner *r, enum entry_state state, int64_t now)
{
	int64_t next = 0;

	for (size_t i = 0; i < r->table_size; i++)
		for (struct entry *e = r->table[i]; e != NULL; e = e->chain) {
			if (e->state != state)
				continue;
			if (state != ENTRY_WAITING || e->next_try <= now)
				entries_set_state(r, e, ENTRY_DUE);
			else if (next == 0 || e->next_try < next)
				next = e->next_try;
		}
	if (state == ENTRY_WAITING)
		r->next_due = next;
}

void
entries_free(struct runner *r)
{
	for (size_t i = 0; i < r->table_size; i++)
		while (r->table[i] != NULL) {
			struct entry *e = r->table[i];

			r->table[i] = e->chain;
			free(e);
		}
	free(r->table);
	r->table = NULL;
	r->table_size = 0;
}
