# SPDX-License-Identifier: BSD-3-Clause
"""make crash, make powercut, make mutants, make soak."""

import argparse
import sys
import time

import bed
import house
import power
import sweep


def power_cuts(s, names):
    for name in names:
        began = time.monotonic()
        states, wrong, repeated = s.pool.apply(power.cut, (name,))
        s.report("power", name, states, wrong, ["a cut"] * repeated, 0,
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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what")
    parser.add_argument("words", nargs="*")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    built = house.build("plain")
    scratch = bed.enter()
    tracer = bed.build_tool("kill_at")
    programs = bed.plant(scratch / "programs", built)
    s = sweep.Sweep(scratch, programs, tracer, options.short)
    if options.what == "power":
        power_cuts(s, options.words or bed.SCENARIOS)
        for kind in power.KINDS:
            power_cuts_on(s, kind, 10)
    else:
        for name in options.words or bed.SCENARIOS:
            s.run(options.what, name)
    s.close()
    print("crash: %d passed, %d failed, %d skipped"
          % (s.passed, s.failed, s.skipped))
    return s.failed != 0


if __name__ == "__main__":
    sys.exit(main())
