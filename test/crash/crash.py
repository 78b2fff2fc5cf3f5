# SPDX-License-Identifier: BSD-3-Clause
"""make crash, make powercut, make mutants, make soak."""

import argparse
import contextlib
import io
import sys
import time

import bed
import full
import house
import mutants
import power
import soak
import sweep


def power_cut(s, name, first_fault_ends=False):
    """What is wrong with a scenario when the power is cut."""
    began = time.monotonic()
    states, wrong, repeated = s.pool.apply(
        power.cut, (name, first_fault_ends))
    return s.report("power", name, states, wrong, ["a cut"] * repeated, 0,
                    time.monotonic() - began)


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


def full_disks(s):
    for kind in ("tmpfs", "ext4", "btrfs", "xfs"):
        for name in ("submission", "delivery"):
            if kind != "tmpfs" and name == "submission":
                continue  # megabytes of room: nothing new beside tmpfs
            began, found = time.monotonic(), full.missing(kind)
            found = found or s.pool.apply(full.full, (kind, name))
            title = "%s, %s" % (name, kind)
            if isinstance(found, str):
                s.skip("full     %s: %s" % (title, found))
                continue
            s.report("full", title, found[0],
                     [(title, [x]) for x in found[1]], [], 0,
                     time.monotonic() - began)


def mutants_die(scratch, tracer, words, short):
    """The sweeps, in their short form, on programs with a fault each."""
    chosen = [m for m in mutants.MUTANTS
              if not words or any(w in m.name for w in words)]

    def find_fault(programs, checks):
        s = sweep.Sweep(scratch, programs, tracer, short=True)
        try:
            for action, name in checks:
                with contextlib.redirect_stdout(io.StringIO()):
                    wrong = s.run(action, name, True) \
                        if action != "power" else power_cut(s, name, True)
                if wrong:
                    return "killed by %s %s: %s" % (
                        action, name, " ".join(sorted(
                            {x[0] for _, faults in wrong for x in faults})))
        finally:
            s.pool.terminate()
        return None

    killed, survived = mutants.run(
        scratch, find_fault, chosen[:3] if short else chosen)
    print("mutants: %d passed, %d failed, 0 skipped" % (
        killed, len(survived)))
    return len(survived)


def sweeps(scratch, tracer, built, options):
    programs = bed.plant(scratch / "programs", built)
    s = sweep.Sweep(scratch, programs, tracer, options.short)
    names = options.words or bed.SCENARIOS
    if options.what == "power":
        for name in names:
            power_cut(s, name)
        for kind in power.KINDS:
            power_cuts_on(s, kind, 10)
    elif options.what == "full":
        full_disks(s)
    else:
        for name in names:
            s.run(options.what, name)
    s.close()
    print("crash: %d passed, %d failed, %d skipped"
          % (s.passed, s.failed, s.skipped))
    return s.failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    built = house.build("plain")
    scratch = bed.enter()
    tracer = bed.build_tool("kill_at")
    if options.what == "soak":
        return soak.main(
            scratch, bed.plant(scratch / "programs", built),
            bed.build_tool("clock.so", "-shared", "-fPIC"),
            options.minutes) != 0
    if options.what == "mutants":
        return mutants_die(scratch, tracer, options.words, options.short) != 0
    return sweeps(scratch, tracer, built, options) != 0


if __name__ == "__main__":
    sys.exit(main())
