# SPDX-License-Identifier: BSD-3-Clause
"""Every stop of a run: killed there, an error there, another run there."""

import collections
import errno
import multiprocessing
import os
import random
import time
import traceback

import bed
import house

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR", "ENOMEM", "EMFILE", "EACCES")
# A submission that was told of one of these must not say yes.
NEEDED = ("write", "pwrite64", "fsync", "renameat2")
NEVER_FAIL = ("brk", "getuid", "geteuid", "getgid", "getegid", "getpid",
              "getppid", "gettid", "umask", "exit_group", "rt_sigaction")
MOVES = ("read", "write", "pread64", "pwrite64", "sendto", "recvfrom")
NO_RENAME = ("-m", bed.NUMBERS["renameat2"])
WORKERS = (os.cpu_count() or 1) + 2  # they wait for locks, now and then

worker = {}  # of this process: its bed


def start_worker(where, programs, tracer):
    house.adopt_orphans()
    worker.update(where=where, programs=programs, tracer=tracer)


def make_bed():
    if worker["programs"] is None:
        return bed.Installed(worker["where"] / "system", worker["tracer"])
    return bed.Bed(worker["where"] / ("bed.%d" % os.getpid()),
                   worker["programs"], worker["tracer"])


def bed_for(name):
    if "bed" not in worker:
        worker["bed"] = make_bed()
    b, scenario = worker["bed"], bed.SCENARIOS[name]
    if worker.get("scenario") != name:
        b.prepare(scenario)
        worker["scenario"] = name
    return b


def baseline(name, action):
    b = bed_for(name)
    b.reset()
    trace = b.trace(*(NO_RENAME if action == "kill-ln" else ()))
    faults, _ = b.settle(trace, None)
    return trace.stops(), faults


def kill_there(b, process, stop):
    trace = b.trace("-p", process, "-n", stop)
    return trace, b.settle(trace, "all")


def kill_twice(b, process, stop):
    """The run that recovers is killed too, at some stop of its own."""
    trace = b.trace("-p", process, "-n", stop)
    first = b.snapshot()
    b.first_pass = False
    b.age_locks()
    chance = random.Random(stop)
    b.trace("-p", chance.choice((0, 0, 1)), "-n", chance.randint(280, 700),
            again=True)
    return trace, b.settle(trace, "twice", [first])


def kill_linking_there(b, process, stop):
    """Where rename always replaces, the commit is a link and an unlink."""
    trace = b.trace("-p", process, "-n", stop, *NO_RENAME)
    return trace, b.settle(trace, "all")


def kill_one_there(b, process, stop):
    trace = b.trace("-p", process, "-n", stop, "-1")
    return trace, b.settle(trace, "one")


def another_there(b, process, stop):
    """While it stands still there, another run of the queue passes by."""
    run = "%s -C %s run" % (b.bin / "dmactl", b.conf_path)
    trace = b.trace("-p", process, "-n", stop, "-a", run)
    return trace, b.settle(trace, None)


def collide_there(b, process, stop):
    """The draft's name is taken, before it is given, by a foreign file."""
    foreign = b.directory / "foreign"
    b.put(foreign, b"not ours to replace\n")
    trace = b.trace("-p", process, "-n", stop, "-a", """
        for draft in %s/tmp.*; do
            name=${draft%%tmp.*}${draft##*tmp.}
            [ ! -e "$draft" ] || [ -e "$name" ] || cp -p %s "$name"
        done""" % (b.spool, foreign))
    kept = 0
    for name in b.queue():
        if (b.spool / name).read_bytes() == foreign.read_bytes():
            (b.spool / name).unlink()
            kept += 1
    faults, again = b.settle(trace, None)
    if kept == 0 and "renameat2" in trace.where() and ">" in trace.where():
        faults.append(("replaced", "a file that stood there"))
    return trace, (faults, again)


def fail_there(b, process, stop, error):
    option = ("-s",) if error == "short" else ("-e", getattr(errno, error))
    trace = b.trace("-p", process, "-n", stop, *option)
    call = trace.where().split()[-1]
    # Who ended over it, or was not heard, was killed in effect.
    died = b.scenario.deliver and (
        call in ("recvmsg", "sendmsg") or any(x[5] != "0" for x in trace.ends))
    faults, again = b.settle(trace, "one" if died else None)
    if not b.scenario.queued and trace.exit is not None:
        if trace.exit >= 128 or trace.exit == 75:
            faults.append(("status", trace.exit))
        if error not in ("short", "EINTR") and trace.exit == 0 and \
                call in NEEDED and on_the_spool(b, trace):
            faults.append(("status", "0 after a failed " + call))
    if trace.status == 124:
        faults.append(("hangs", trace.where()))
    return trace, (faults, again)


def on_the_spool(b, trace):
    """Not the log's write: the draft is descriptor 5, the directory 4."""
    return trace.at.split()[7] in ("4", "5")


ACTIONS = {
    "kill": kill_there, "kill-one": kill_one_there, "kill-2": kill_twice,
    "kill-ln": kill_linking_there, "race": another_there,
    "collide": collide_there, "errors": fail_there}


def do_point(job):
    action, name, arguments = job
    try:
        b = bed_for(name)
        b.reset()
        trace, (faults, again) = ACTIONS[action](b, *arguments)
        return (arguments, trace.where(), faults, again)
    except Exception:  # pylint: disable=broad-except
        worker.pop("scenario", None)
        return (arguments, "?", [("error", traceback.format_exc())], [])


def row(action, name):
    """What was wrong with the old program there (test/rows)."""
    if action == "kill":
        return "D-16" if bed.SCENARIOS[name].deliver else "D-15"
    if action == "power" and name in bed.SCENARIOS:
        return "D-28" if bed.SCENARIOS[name].local else "D-14"
    return {"collide": "D-24"}.get(action, "")


def own_work(stops):
    """Without what the loader does before main: its first act is known."""
    begun, out = set(), []
    for stop in stops:
        if stop.call == "fcntl" and stop.arguments[:2] == ["0", "1"]:
            begun.add(stop.process)
        if stop.process in begun:
            out.append(stop)
    return out


def choose(action, stops, short):
    """The arguments of each point."""
    if action == "errors":
        entries = [s for s in own_work(stops) if s.phase == ">" and
                   s.call not in NEVER_FAIL]
        chosen = ("EIO",) if short else ERRORS
        return [(s.process, s.number, e) for s in entries for e in chosen] + [
            (s.process, s.number, "short") for s in entries if s.call in MOVES]
    if action in ("race", "collide") or short:
        stops = [s for s in stops if s.call not in bed.HARMLESS]
    if action == "race":
        stops = [s for s in stops if s.program in ("sendmail", "dmactl")]
    return [(s.process, s.number) for s in stops]


class Sweep:
    """The workers, and what they found; of the one system there is, one."""

    def __init__(self, scratch, programs, tracer, short=False):
        self.title = "" if programs else "set-id "
        self.short, self.failed, self.passed, self.skipped = short, 0, 0, 0
        self.pool = multiprocessing.get_context("fork").Pool(
            WORKERS if programs else 1, start_worker,
            (scratch, programs, tracer))

    def close(self):
        self.pool.close()
        self.pool.join()

    def skip(self, text):
        print("%s: skipped" % text, flush=True)
        self.skipped += 1

    def run(self, action, name, first_fault_ends=False):
        """One row of the table; returns what is wrong."""
        began = time.monotonic()
        stops, faults = self.pool.apply(baseline, (name, action))
        points = choose(action, stops, self.short)
        wrong, twice = [("undisturbed", faults)] if faults else [], []
        torn = done = 0
        for arguments, where, faults, again in self.pool.imap_unordered(
                do_point, [(action, name, p) for p in points], 4):
            done += 1
            if faults:
                wrong.append(("%s %s" % (arguments, where), faults))
                if first_fault_ends:
                    break
            torn += "torn" in again
            if [x for x in again if x != "torn"]:
                twice.append(where)
        return self.report(action, name, done, wrong, twice, torn,
                           time.monotonic() - began)

    def report(self, action, name, done, wrong, twice, torn, seconds):
        kinds = collections.Counter(
            k for _, faults in wrong for k in {x[0] for x in faults})
        print("%-8s %-20s %5d points %4.0f s  lost %d  duplicated %d%s%s%s" % (
            action, self.title + name, done, seconds, kinds["lost"], len(twice),
            "  " + row(action, name) if row(action, name) else "",
            "  torn %d" % torn if torn else "",
            "  WRONG %s" % dict(kinds) if wrong else ""), flush=True)
        for where, n in sorted(collections.Counter(twice).items()):
            print("         duplicated at %s: %d" % (where, n))
        for where, faults in wrong[:10]:
            print("         %s: %s" % (where, str(faults)[:1500]))
        if wrong:
            self.failed += 1
        else:
            self.passed += 1
        return wrong
