# SPDX-License-Identifier: BSD-3-Clause
"""The program with one safeguard taken out: the sweeps must notice.

Each mutant is a replacement in a copy of the source, and the sweeps that can
see it, first the likeliest.  Where the text is no longer there, or not once,
this stops: a mutant that changes nothing would survive and mean nothing.
"""

import collections
import shutil
import subprocess

import bed
import house

Mutant = collections.namedtuple("Mutant", "name file old new checks")

COMMIT = """fsync(d->fd) == 0 &&
	    compat_rename_noreplace(s->dirfd, d->name, d->env->id) == 0) {
		if (fsync(s->dirfd) == 0) {"""
KEEP_UNWRITTEN = """	if (m->nunwritten++ == 0)
		r->unwritten++;
	m->unwritten[i] = (unsigned char)status;
"""
HEAR_DOT = "	smtp_deadline(s, SMTP_DATA_BLOCK_MS);\n	if (net_put("
SAY_SENT = """	for (size_t n = 0; n < g->count; n++) {
		struct outcome o = {0};

		outcome_set(&o, OUTCOME_SENT, "2.0.0", "surely");
		settle(g, &o, true);
	}
	smtp_task_report(g->task, s->cb);
"""
REPORT = """			settle(g, &o, true);
		smtp_task_report(g->task, s->cb);"""
REPORT_LATE = """			settle(g, &o, true);
		struct smtp_reply bye;
		s->broken = true;
		(void)smtp_exchange(s, STAGE_QUIT, "QUIT", NULL, &bye);
		smtp_task_report(g->task, s->cb);"""

MUTANTS = [Mutant(*m) for m in (
    # Three for the short form: one a method.
    ("the directory is not synced", "spool_draft.c",
     "if (fsync(s->dirfd) == 0) {", "if (s->dirfd >= 0) {",
     [("power", "submission")]),
    ("sent is said before the reply", "smtp_send.c", HEAR_DOT,
     SAY_SENT + HEAR_DOT, [("kill", "delivery")]),
    ("a failed fsync is no failure", "spool_draft.c",
     "fsync(d->fd) == 0 &&", "(fsync(d->fd), true) &&",
     [("errors", "submission")]),
    # Intake.
    ("the file is not synced", "spool_draft.c",
     "write_rest(d) == 0 && fsync(d->fd) == 0 &&", "write_rest(d) == 0 &&",
     [("power", "submission")]),
    ("renamed before it is synced", "spool_draft.c", COMMIT, """
	    compat_rename_noreplace(s->dirfd, d->name, d->env->id) == 0 &&
	    fsync(d->fd) == 0) {
		if (fsync(s->dirfd) == 0) {""", [("power", "submission")]),
    ("the directory is synced before the rename", "spool_draft.c", COMMIT, """
	    fsync(d->fd) == 0 && fsync(s->dirfd) == 0) {
		if (compat_rename_noreplace(
		    s->dirfd, d->name, d->env->id) == 0) {""",
     [("power", "submission")]),
    ("a failed directory fsync is no failure", "spool_draft.c",
     "if (fsync(s->dirfd) == 0) {", "if (fsync(s->dirfd) <= 0) {",
     [("errors", "submission")]),
    ("refused, but it stays queued", "spool_draft.c",
     "(void)compat_strlcpy(d->name, d->env->id, sizeof(d->name));", ";",
     [("errors", "submission")]),
    ("a failed write is forgotten", "spool_draft.c",
     "		d->error = errno;", "		d->error = 0;",
     [("errors", "submission")]),
    ("a short write is a whole one", "util.c",
     "for (done = 0; done < len; done += (size_t)n) {\n		if (offset",
     "for (done = 0; done < len; done = len) {\n		if (offset",
     [("errors", "submission")]),
    ("drafts are left behind", "spool_draft.c",
     "		(void)unlinkat(s->dirfd, d->name, 0);\n	draft_over",
     "		;\n	draft_over", [("errors", "submission")]),
    ("the name's owner is replaced", "compat.c",
     "const unsigned noreplace = 1;", "const unsigned noreplace = 0;",
     [("collide", "submission")]),
    ("a failed commit is no failure", "intake.c",
     "if (spool_commit(spool, &d) != 0)",
     "if (spool_commit(spool, &d) > 0)", [("errors", "submission")]),
    ("exit 0 before the commit", "intake.c",
     "	if (spool_commit(spool, &d) != 0)",
     "	if (fork() != 0)\n		_exit(0);\n"
     "	if (spool_commit(spool, &d) != 0)", [("kill", "submission")]),
    ("a read error is the end", "mail.c",
     "		else if (errno != EINTR)\n			return -1;",
     "		else if (errno != EINTR)\n			return 0;",
     [("errors", "submission")]),
    # Locks.
    ("locked, but not looked at again", "spool_file.c",
     "	if (!still_named(s, id, f->fd, &st))",
     "	if (fstat(f->fd, &st) == -1)", [("race", "delivery")]),
    ("no lock", "spool_file.c",
     "	if (flock(f->fd, LOCK_EX | LOCK_NB) == -1)\n		return -1;\n"
     "	f->locked = true;", "	f->locked = true;", [("race", "delivery")]),
    # Results.
    ("the result is not written", "deliver.c",
     "	if (spool_file_mark(&m->file, i, status) == 0) {",
     "	if ((m->file.env.recipients[i].status = status) != 0) {",
     [("kill", "delivery-3")]),
    ("a result that cannot be written is dropped", "deliver.c",
     KEEP_UNWRITTEN, "	(void)m;\n", [("errors", "delivery-3")]),
    ("status bytes are not synced", "spool_file.c",
     "	return fdatasync(f->fd);", "	return f->fd == -2;",
     [("power", "delivery-3")]),
    ("removals are not synced", "deliver.c",
     "if (r->dirty && spool_sync(&r->in->spool) != 0)",
     "if (r->dirty && r->flush == 2)", [("power", "delivery")]),
    ("the last QUIT is awaited before the result", "smtp_send.c", REPORT,
     REPORT_LATE, [("kill", "delivery")]),
    ("no answer counts as sent", "smtp_send.c",
     "smtp_outcome_error(s, &o, OUTCOME_UNCERTAIN, STAGE_DOT, error);",
     "smtp_outcome_error(s, &o, OUTCOME_SENT, STAGE_DOT, error);",
     [("kill", "dropped")]),
    ("nobody we know counts as nobody there is", "agents.c",
     'outcome_set(o, OUTCOME_DEFER, "4.3.0",\n		    "there is no',
     'outcome_set(o, OUTCOME_FAIL, "5.1.1",\n		    "there is no',
     [("errors", "mailbox")]),
    # Notices.
    ("told before there is a notice", "bounce.c",
     "if (commit(n, s) == -1 || mark_told(n) == -1)",
     "if (mark_told(n) == -1 || commit(n, s) == -1)",
     [("kill", "notice")]),
    ("told from the lowest number up", "bounce.c",
     "for (size_t i = f->env.nrecipients; i-- > 0;)",
     "for (size_t i = 0; i < f->env.nrecipients; i++)", [("kill", "notice")]),
    ("a notice that is there is no success", "bounce.c",
     "return errno == EEXIST ? spool_sync(s) : -1;", "return -1;",
     [("kill", "notice")]),
    ("nobody is told", "bounce.c",
     "if (commit(n, s) == -1 || mark_told(n) == -1)",
     "if (mark_told(n) == -1)", [("kill", "notice")]),
    ("told of success before there is a notice", "bounce.c",
     "(n->readers.count > 0 && commit(n, s) == -1) || mark_told(n) == -1)",
     "mark_told(n) == -1 || (n->readers.count > 0 && commit(n, s) == -1))",
     [("kill", "success")]),
    # Mailboxes.
    ("the mailbox is not synced", "local_mbox.c",
     "if (c->error == 0 && unread == 0 && fsync(a->fd) < 0)",
     "if (c->error == 0 && unread == 0 && a->fd < 0)", [("power", "mailbox")]),
    ("a new mailbox's name is not synced", "local_mbox.c",
     "			mbox_sync_directory(m->path);",
     "			if (m->path == NULL)\n"
     "				mbox_sync_directory(m->path);",
     [("power", "new-mailbox")]),
    ("a failed append is forgotten", "local_copy.c",
     "c->write(c->to, c->waiting.data, c->waiting.len) < 0)\n"
     "		c->error = errno;",
     "c->write(c->to, c->waiting.data, c->waiting.len) < 0)\n"
     "		c->error = 0;", [("errors", "mailbox")]),
    ("half an append is not taken back", "local_mbox.c",
     "if (ftruncate(a->fd, a->end) < 0 || fsync(a->fd) < 0)",
     "if (a->fd < 0)", [("errors", "large-mailbox")]),
    ("a torn end is not healed", "local_mbox.c", "	heal_end(a);\n",
     "	if (a->fd < 0)\n		heal_end(a);\n",
     [("kill", "large-mailbox")]),
    ("a message in a maildir is not synced", "local_maildir.c",
     "if (c->error == 0 && unread == 0 && fsync(fd) < 0)",
     "if (c->error == 0 && unread == 0 && fd < 0)", [("power", "maildir")]),
    ("its name in new is not synced", "local_maildir.c",
     "else if (fsync(fresh) < 0)", "else if (fresh < 0)",
     [("power", "maildir")]),
    ("a command's end is not looked at", "local_command.c",
     "else if (!WIFEXITED(status))", "else if (c->pid < 0)",
     [("kill-one", "command")]),
)]


def build(directory):
    subprocess.run(
        ["make", "-s", "-j2", "HARDEN=", "HARDEN_LD=", "CFLAGS=-O1 -w",
         "dma", "dma-smtp", "dma-local"], cwd=directory, check=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def copy_source(scratch):
    directory = scratch / "mutant"
    directory.mkdir()
    for path in house.TOP.iterdir():
        if path.suffix in (".c", ".h", ".y", ".l", ".mk") or \
                path.name == "Makefile":
            shutil.copy2(path, directory)
    (directory / "test").mkdir()
    shutil.copy2(house.TOP / "test/probe-flags", directory / "test")
    for name in ("aliases_parse.c", "aliases_parse.h", "aliases_scan.c"):
        (directory / name).unlink(missing_ok=True)
    build(directory)
    return directory


def check_texts():
    for m in MUTANTS:
        n = (house.TOP / m.file).read_text().count(m.old)
        if n != 1:
            raise SystemExit("mutant \"%s\": its text is %d times in %s" % (
                m.name, n, m.file))


def run(scratch, find_fault, chosen):
    """Returns how many were killed, and who survived."""
    check_texts()
    source, survived = copy_source(scratch), []
    for m in chosen:
        path = source / m.file
        text = path.read_text()
        path.write_text(text.replace(m.old, m.new))
        try:
            build(source)
            programs = bed.plant(scratch / "mutant-programs", source)
        finally:
            path.write_text(text)
        fault = find_fault(programs, m.checks)
        if fault is None:
            survived.append(m.name)
        print("%-44s %s" % (m.name, fault or "SURVIVED"), flush=True)
    return len(chosen) - len(survived), survived
