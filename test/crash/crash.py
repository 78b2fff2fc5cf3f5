# SPDX-License-Identifier: BSD-3-Clause
"""make crash, make powercut, make mutants, make soak."""

import argparse
import sys

import bed
import house
import sweep


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
    for name in options.words or bed.SCENARIOS:
        s.run(options.what, name)
    s.close()
    print("crash: %d passed, %d failed, %d skipped" % (s.passed, s.failed, 0))
    return s.failed != 0


if __name__ == "__main__":
    sys.exit(main())
