# SPDX-License-Identifier: BSD-3-Clause
"""Everything at once, for a while: senders, runs of the queue, kills, stops,
a clock that jumps, a relay that does what relays do.  Then peace, and a count:
each accepted message was delivered to each recipient or its sender was told.

What the log calls sent was recorded before: it must never come again.  Other
copies are those whose record a kill, or a relay without an answer, prevented.
"""

import collections
import contextlib
import os
import random
import re
import signal
import subprocess
import threading
import time

import bed
import instance
import smtpd

SENDERS, FLUSHERS = 4, 2
RECIPIENTS = ["r%d@dest.example" % i for i in range(8)]
DAY = 24 * 60 * 60
REFUSALS = {  # how often, of 100, each command meets with what
    "GREETING": (5, ("421 4.3.2 busy", "554 5.3.2 not you", "drop")),
    "EHLO": (3, ("421 4.3.2 closing", "drop")),
    "MAIL": (4, ("450 4.7.1 slow down", "421 4.3.2 closing", "drop")),
    "DATA": (4, ("451 4.3.0 trouble", "421 4.3.2 closing", "drop")),
    "DOT": (8, ("451 4.3.0 trouble", "452 4.3.1 full", "421 4.3.2 no",
                "late", "drop")),
}


class Relay(smtpd.Sink):
    def __init__(self):
        super().__init__(
            recipients=self.refusal,
            answers={v: self.chooser(v) for v in REFUSALS})
        self.hostile = True
        self.unanswered = 0

    def chooser(self, verb):
        often, what = REFUSALS[verb]

        def choose(*_):
            if not self.hostile or random.random() * 100 >= often:
                return None
            answer = random.choice(what)
            if answer == "drop":
                raise smtpd.Gone("dropped")
            if answer == "late":
                time.sleep(random.random() * 2)
                return None
            return answer
        return choose

    def refusal(self, address):
        chance = random.random() * 100
        if not self.hostile or chance > 6:
            return None
        if chance > 2 or address == bed.SENDER:
            return "450 4.2.1 not now"
        return "550 5.1.1 nobody of that name"

    def record(self, message):
        super().record(message)
        message.answered = not self.hostile or random.random() > 0.04
        if not message.answered:
            raise smtpd.Gone("taken, and not a word said")


class Soak:
    def __init__(self, scratch, programs):
        self.bed = instance.Private(scratch / "soak", programs)
        self.relay = Relay().start()
        # What a jump means for LIFETIME is another test's question.
        self.bed.relay(self.relay, "RETRY 1s 2s 3s", LIFETIME="365d",
                       TIMEOUTS=2)
        self.ended = threading.Event()
        self.accepted = {}  # serial: recipients
        self.unknown, self.refused = {}, {}
        self.serial = iter(range(1, 1 << 30))
        self.counts = collections.Counter()
        self.clock_path = scratch / "clock"
        self.set_clock(0)
        self.env = {"LD_PRELOAD": str(bed.build_tool(
            "../e2e/clock.c", "clock.so", "-shared", "-fPIC",
            '-DOFFSET="%s"' % self.clock_path))}
        self.stopped = {}

    def set_clock(self, seconds):
        new = self.clock_path.with_suffix(".new")
        self.bed.write(new, "%d\n" % seconds)
        new.rename(self.clock_path)

    # ---- Who takes part ----

    def command(self, *args, text=b"", **more):
        process = self.bed.popen(*args, env=self.env, **more)
        try:
            process.communicate(text, 60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode

    def send(self):
        while not self.ended.is_set():
            serial = next(self.serial)
            to = random.sample(RECIPIENTS, random.choice((1, 1, 2, 3)))
            mode = random.choice((("-odq",), (), (), (), ("-D",)))
            status = self.command(*mode, "-i", "-f", bed.SENDER, *to,
                                  text=text_of(serial).encode())
            kept = (self.accepted if status == 0 else
                    self.unknown if status < 0 else self.refused)
            kept[serial] = to
            self.ended.wait(random.random() * 0.1)

    def flush(self):
        while not self.ended.wait(random.random() * 2):
            if random.random() < 0.5:
                self.command("-q")
            else:
                self.command("run", name="dmactl")
            self.counts["runs"] += 1

    def disturb(self):
        while not self.ended.wait(random.random() * 0.4):
            for pid, until in list(self.stopped.items()):
                if time.monotonic() > until:
                    self.signal(pid, signal.SIGCONT)
                    del self.stopped[pid]
            table = list(instance.processes())
            if not table:
                continue
            pid = random.choice(table)
            if random.random() < 0.5:
                self.signal(pid, signal.SIGKILL)
                self.counts["kills"] += 1
            else:
                self.stopped[pid] = time.monotonic() + random.random() * 2
                self.signal(pid, signal.SIGSTOP)
                self.counts["stops"] += 1

    def jump(self):
        while not self.ended.wait(1 + random.random() * 5):
            self.set_clock(random.choice(
                (0, -3600, 3600, -100 * DAY, 2 * DAY)))
            self.counts["jumps"] += 1

    @staticmethod
    def signal(pid, number):
        with contextlib.suppress(OSError):
            os.kill(pid, number)

    def run(self, minutes):
        parts = [self.send] * SENDERS + [self.flush] * FLUSHERS + [
            self.disturb, self.jump]
        threads = [threading.Thread(target=p, daemon=True) for p in parts]
        for t in threads:
            t.start()
        self.ended.wait(minutes * 60)
        self.ended.set()
        for pid in self.stopped:
            self.signal(pid, signal.SIGCONT)
        for t in threads:
            t.join()
        instance.kill_all()
        self.settle()

    def settle(self):
        """Peace: nothing is refused, nobody is killed."""
        self.relay.hostile = False
        self.set_clock(0)
        instance.wait_for(lambda: self.relay.open == 0, "connections to end")
        for _ in range(5):
            self.command("-q")
            if not self.bed.queue():
                break
        self.bed.wait_idle(30)

    # ---- The count ----

    def count(self):
        """Prints it; returns what is wrong."""
        copies, wrong = collections.Counter(), list(self.relay.violations)
        told, ids = set(), {}
        for message in self.relay.messages:
            text = message.data.decode("latin-1").replace("\r\n", "\n")
            serial = int(re.search(r"^Subject: soak (\d+)$", text,
                                   re.M).group(1))
            if message.sender == "":
                told.update((serial, who) for who in re.findall(
                    r"^Final-Recipient: rfc822; ?(\S+)$", text, re.M))
                continue
            ids[re.search(r"\tid (\w+);", text).group(1)] = serial
            if not text.endswith(text_of(serial).partition("\n\n")[2]):
                wrong.append("garbled: %d" % serial)
            copies.update((serial, who) for who in message.recipients)
            self.counts["silent"] += 0 if message.answered else len(
                message.recipients)
        logged = collections.Counter(
            (ids.get(i), who) for i, who in re.findall(
                r": (\w+): to=<([^>]*)>.*status=sent", self.bed.log()))
        wrong += ["recorded as sent, and sent again: %s" % (x,)
                  for x, n in logged.items() if n > 1 and x[0]]
        wrong += ["lost: %d to %s" % (serial, who)
                  for serial, to in self.accepted.items() for who in to
                  if not copies[serial, who] and (serial, who) not in told]
        wrong += ["refused, but sent: %d to %s" % (serial, who)
                  for serial, to in self.refused.items() for who in to
                  if copies[serial, who]]
        for serial, to in self.unknown.items():
            if len({bool(copies[serial, w] or (serial, w) in told)
                    for w in to}) > 1:
                wrong.append("half: %d" % serial)
        again = sum(n - 1 for n in copies.values() if n > 1)
        if not self.accepted:
            wrong.append("nothing was accepted")
        if again > self.counts["silent"] and self.counts["kills"] == 0:
            wrong.append("duplicates that nothing explains")
        wrong += ["left: " + x for x in self.bed.queue() + [
            t for t in self.bed.traces() if not t.startswith("tmp.")]]
        self.report(copies, told, again, sum(logged.values()))
        return wrong

    def report(self, copies, told, again, recorded):
        print("%d accepted, %d refused, %d killed while submitting" % (
            len(self.accepted), len(self.refused), len(self.unknown)))
        print("%d copies taken by the relay, %d recorded as sent, "
              "%d recipients reported as failed" % (
                  sum(copies.values()), recorded, len(told)))
        print("%d duplicates; the relay was silent about %d it took; "
              "%d kills, %d stops, %d runs, %d jumps of the clock" % (
                  again, *(self.counts[x] for x in (
                      "silent", "kills", "stops", "runs", "jumps"))))


def text_of(serial):
    lines = ["line %d of message %d" % (i, serial)
             for i in range(serial % 50 + 1)]
    return "Subject: soak %d\n\n%s\n" % (serial, "\n".join(lines))


def main(scratch, programs, minutes):
    s = Soak(scratch, programs)
    s.run(minutes)
    wrong = s.count()
    for text in wrong[:30]:
        print("WRONG: " + text)
    s.relay.stop()
    return int(not wrong), int(bool(wrong)), 0
