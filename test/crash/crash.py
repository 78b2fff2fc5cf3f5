# SPDX-License-Identifier: BSD-3-Clause
"""make crash, errors, faults, mutants, soak.  README.md above says what each
proves.

    crash.py crash|errors|faults|mutants|soak [--short] [--minutes N] [word ...]

Words choose scenarios, or mutants by a part of their name; one sweep alone:
crash.py kill|kill-one|kill-2|kill-ln|race|collide|power [scenario ...].
"""

import argparse
import contextlib
import io
import platform
import subprocess
import sys
import time

import bed
import faults
import full
import house
import instance
import mutants
import power
import soak
import sweep

PRIVATE = [s.name for s in bed.SCENARIOS.values()
           if not s.old and not s.forward]
DELIVERIES = [x for x in PRIVATE if bed.SCENARIOS[x].deliver]
ROWS = {  # what is done to which scenarios
    "kill": PRIVATE,
    "kill-one": DELIVERIES,
    "kill-2": ["whole", *DELIVERIES],
    "kill-ln": ["submission", "notice"],
    "race": [*DELIVERIES, "removal"],
    "collide": ["submission", "submission-3"],
    "power": PRIVATE,
    # Without those whose runner goes on waiting: each would take a minute.
    "errors": ["submission", "submission-3", "removal", *DELIVERIES],
}
# What another program does with half a message is its own affair.
ROWS["errors"].remove("command")
ROWS["power"] = [x for x in PRIVATE if x != "command"]
SHORT = {
    "kill": ["submission", "whole", "notice", "mailbox"],
    "race": ["delivery"],
    "collide": ["submission"],
    "power": ["submission", "delivery", "new-mailbox"],
    "errors": ["submission"],
}
INSTALLED = ["whole", "delivery-3", "notice", "mailbox", "forward",
             "takeover"]


def power_cut(s, name, first_fault_ends=False):
    """What is wrong with a scenario when the power is cut."""
    began = time.monotonic()
    states, wrong, repeated = s.pool.apply(
        power.cut, (name, first_fault_ends))
    return s.report("power", name, states, wrong, ["a cut"] * repeated, 0,
                    time.monotonic() - began)


def rows(s, table):
    for action, names in table.items():
        for name in names:
            if action == "power":
                power_cut(s, name)
            else:
                s.run(action, name)


def power_cuts_on(s, kind, turns):
    """On a real file system."""
    began, why = time.monotonic(), power.missing(kind)
    found = [] if why else s.pool.starmap(
        power.cut_really, [(kind, x) for x in power.REAL * turns])
    why = next((x for x in found if isinstance(x, str)), why)
    if why:
        s.skip("power    on %s: %s" % (kind, why))
    else:
        s.report("power", "on " + kind, len(found),
                 [(kind, x) for x in found if x], [], 0,
                 time.monotonic() - began)


def full_disk(s, kind, name):
    began, found = time.monotonic(), full.missing(kind)
    found = found or s.pool.apply(full.full, (kind, name))
    title = "%s %s" % (kind, name)
    if isinstance(found, str):
        s.skip("full     %s: %s" % (title, found))
    else:
        s.report("full", title, found[0], [(title, [x]) for x in found[1]],
                 [], 0, time.monotonic() - began)


def file_systems(s):
    for kind in power.KINDS:
        power_cuts_on(s, kind, 1 if s.short else 10)
    full_disk(s, "tmpfs", "submission")
    for kind in ("tmpfs",) if s.short else ("tmpfs", *power.KINDS):
        full_disk(s, kind, "delivery")


def set_id_programs(s, scratch, tracer):
    """At every call that does something, in the one system that there is."""
    if not house.IS_ROOT:
        s.skip("kill     set-id programs: needs root")
        return
    instance.System(scratch / "system").install()
    other = sweep.Sweep(scratch, None, tracer, short=True)
    rows(other, {"kill": ["notice"] if s.short else INSTALLED})
    other.close()
    s.passed += other.passed
    s.failed += other.failed


def sweeps(scratch, tracer, built, options):
    s = sweep.Sweep(scratch, bed.plant(scratch / "programs", built), tracer,
                    options.short)
    table = SHORT if options.short else ROWS
    if options.what == "crash":
        # `make errors` is by itself: most of its time goes in waiting.
        rows(s, {a: names for a, names in table.items()
                 if a != "errors" or options.short})
        file_systems(s)
        set_id_programs(s, scratch, tracer)
    else:
        rows(s, {options.what: options.words or table[options.what]})
    s.close()
    return s.passed, s.failed, s.skipped


def mutants_die(scratch, tracer, options):
    """The sweeps, in their short form, on programs with a fault each."""
    chosen = [m for m in mutants.MUTANTS if not options.words or
              any(w in m.name for w in options.words)]

    def find_fault(programs, checks):
        s = sweep.Sweep(scratch, programs, tracer, short=True)
        try:
            for action, name in checks:
                with contextlib.redirect_stdout(io.StringIO()):
                    wrong = power_cut(s, name, True) if action == "power" \
                        else s.run(action, name, True)
                if wrong:
                    return "killed by %s %s: %s" % (
                        action, name, " ".join(sorted(
                            {x[0] for _, faults in wrong for x in faults})))
        finally:
            s.pool.terminate()
        return None

    killed, survived = mutants.run(
        scratch, find_fault, chosen[:3] if options.short else chosen)
    return killed, len(survived), 0


def skip_all(what, why):
    print("%s\n%s: 0 passed, 0 failed, 1 skipped" % (why, what))
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=(
        "crash", "mutants", "soak", "faults", *ROWS))
    parser.add_argument("words", nargs="*")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    if platform.system() != "Linux":
        return skip_all(options.what, "the tracer is for Linux")
    built = house.build("plain")
    scratch = bed.enter()
    if options.what == "faults":
        if faults.missing():
            return skip_all(options.what, faults.missing())
        counts = faults.main(scratch, bed.plant(scratch / "programs", built),
                             options)
        print("faults: %d passed, %d failed, %d skipped" % counts)
        return counts[1] != 0
    tracer = bed.build_tool("kill_at.c", "kill_at")
    if subprocess.run([tracer, "/bin/true"], check=False).returncode != 0:
        return skip_all(options.what, "processes cannot be traced here")
    if options.what == "soak":
        counts = soak.main(scratch, bed.plant(scratch / "programs", built),
                           options.minutes)
    elif options.what == "mutants":
        counts = mutants_die(scratch, tracer, options)
    else:
        counts = sweeps(scratch, tracer, built, options)
    print("%s: %d passed, %d failed, %d skipped" % (options.what, *counts))
    return counts[1] != 0


if __name__ == "__main__":
    sys.exit(main())
