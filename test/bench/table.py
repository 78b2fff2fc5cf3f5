# SPDX-License-Identifier: BSD-3-Clause
"""What is printed: a table a workload, and what the project allows itself."""

import statistics

# Of each workload: (whose, how much of its median ours may take).
BUDGETS = {
    "W1": (("old dma", 0.5), ("floor", 1.5)),
    "W2": (("old dma", 0.4),),
    "W3": (("Postfix", 0.25), ("floor", 2.0)),
    "W4": (("the best", 1.0),),
    "W5": (("nullmailer", 1.0),),
    "W6": (("Postfix", 0.6),),
    "W7": (("Postfix", 1 / 3),),
    "W8": (("Postfix", 1.0),),
}
PROCESSES_MOST = {"W3": 22, "idle": 0}
PSS_MB_MOST = {"W3": 40, "W5": 6, "scan-100000": 32, "others-100000": 32}
MS_MOST = {"scan-100000": 1000}
NOT_PEERS = ("floor", "dma")
FORMAT = "  %-17s %12s %19s %9s %7s %7s %5s %8s  %s"


class Row:
    """One contender in one workload; values in milliseconds, one a turn."""

    def __init__(self, who, messages=0):
        self.who, self.messages = who, messages
        self.values = []
        self.processes = self.pss_mb = None
        self.notes = []

    def median(self):
        return statistics.median(self.values) if self.values else None

    def spread(self):
        if len(self.values) < 2:
            return ""
        return "%.2f-%.2f" % (min(self.values), max(self.values))


def ratio(row, other):
    if other is None or not row.values or not other.values:
        return ""
    return "%.2f" % (row.median() / other.median())


def verdicts(workload, rows):
    """Each budget of ours, whether it is met, and by what."""
    kind = workload.split("-")[0]
    ours = rows["dma"]
    for whose, most in BUDGETS.get(kind, ()):
        if whose != "the best" and whose not in rows:
            continue
        others = [row for who, row in rows.items() if row.values and (
            who == whose or whose == "the best" and who not in NOT_PEERS)]
        if not others and ours.values and whose in rows and rows[whose].notes:
            yield "%.2f x %s: met (it does not end)" % (most, whose)
            continue
        if not others or not ours.values:
            yield "%.2f x %s: cannot tell" % (most, whose)
            continue
        is_now = ours.median() / min(row.median() for row in others)
        yield "%.2f x %s: %s (%.2f)" % (most, whose, met(is_now <= most),
                                        is_now)
    if kind == "W8":
        yield "all in one flush: " + met(not ours.notes)
    for what, most, value in (
            ("%d ms", MS_MOST.get(workload), ours.median()),
            # None seen in a flush: it was over before we looked.
            ("%d processes", PROCESSES_MOST.get(kind),
             ours.processes if kind == "idle" else ours.processes or None),
            ("%d MB", PSS_MB_MOST.get(workload, PSS_MB_MOST.get(kind)),
             ours.pss_mb or None)):
        if most is not None and value is not None:
            yield (what + ": %s") % (most, met(value <= most))


def met(is_met):
    return "met" if is_met else "NOT MET"


def show(workload, title, rows, say):
    """rows: a dict by who, in the order to print."""
    say("")
    say("%s: %s" % (workload, title))
    say(FORMAT % ("", "median ms", "least-most", "rate", "to dma",
                  "to floor", "procs", "PSS MB", "budget"))
    for row in rows.values():
        if row.values or row.processes is not None or row.notes:
            show_row(workload, row, rows, say)


def show_row(workload, row, rows, say):
    median = row.median()
    budget = list(verdicts(workload, rows)) if row.who == "dma" else []
    say((FORMAT % (
        row.who, "-" if median is None else "%.2f" % median, row.spread(),
        "%.0f/s" % (row.messages * 1000 / median)
        if row.messages and median else "",
        ratio(row, rows.get("dma")), ratio(row, rows.get("floor")),
        "" if row.processes is None else row.processes,
        "" if row.pss_mb is None else "%.1f" % row.pss_mb,
        budget[0] if budget else "")).rstrip())
    for line in budget[1:]:
        say(FORMAT % (*[""] * 8, line))
    for note in row.notes:
        say("      " + note)
