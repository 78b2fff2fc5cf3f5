# SPDX-License-Identifier: BSD-3-Clause
"""A full disk, a full inode table: at submission, and at delivery.

Nothing is accepted that is not whole, and what was accepted is delivered
once: not lost, and not again at each run because nobody could write it down.
"""

import errno
import os
import subprocess

import bed
import house
import instance
import power
import sweep

PAGE = 4096
TEXT = "".join("%04d %s\n" % (i, "y" * 70) for i in range(120))


def missing(kind):
    if not house.IS_ROOT:
        return "needs root"
    return None if kind == "tmpfs" else power.missing(kind)


def mount(kind, where, top):
    if kind == "tmpfs":
        house.command("mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=20",
                      "tmpfs", where)
        return
    size, arguments, _ = power.KINDS[kind]
    image = top / ("full.%d" % os.getpid())
    with open(image, "wb") as file:
        file.truncate(size << 20)
    house.command("mkfs." + kind, *arguments, image)
    house.command("mount", "-o", "loop", image, where)


def fill(path, leave=0):
    """Take all space, then give some pages back."""
    with open(path, "ab", buffering=0) as file:
        for size in (1 << 20, PAGE, 512):
            try:
                while True:
                    file.write(b"z" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        file.truncate(max(0, file.tell() - leave * PAGE))
        os.fsync(file.fileno())


def fill_inodes(directory, leave):
    made = []
    try:
        while True:
            made.append(directory / ("filler.%d" % len(made)))
            made[-1].touch()
    except OSError:
        made.pop()
    for path in made[:leave]:
        path.unlink()


def unfill(b):
    for path in b.spool.glob("filler*"):
        path.unlink()


def submit_full(b):
    """With less and less room: accepted, or nothing of it is there."""
    faults, accepted = [], 0
    b.template = {}
    rooms = [("pages", n) for n in range(8)] + [
        ("inodes", n) for n in range(4)]
    for what, leave in rooms:
        b.reset()
        if what == "pages":
            fill(b.spool / "filler", leave)
        else:
            fill_inodes(b.spool, leave)
        done = b.run(*b.scenario.submission(),
                     text=b.text_path.read_bytes())
        left = b.queue() + b.traces()
        if (done.exit == 0) != (len(left) == 1) or done.exit == 75:
            faults.append(("half", "%s %d: %s %s" % (
                what, leave, left, done)))
        accepted += done.exit == 0
        unfill(b)
        b.recover()
        count, wrong = b.copies()
        faults += [("garbled", x) for x in wrong]
        if {count[x] for x in b.scenario.everyone} != {int(done.exit == 0)}:
            faults.append(("lost", "%s %d: %s" % (what, leave, count)))
    if not 0 < accepted < len(rooms):
        faults.append(("no test", "%d of %d were accepted" % (
            accepted, len(rooms))))
    return len(rooms), faults


def deliver_full(b):
    """No room for a byte more, at three runs; then there is.

    Where even a byte in place needs room, a run waits for it with the result
    in hand, and the message locked.
    """
    b.reset()
    fill(b.spool / "filler")
    b.first_pass = False
    waits = run_full(b)
    tried = sum(x.startswith("RCPT TO:<%s>" % who) for who in b.scenario.good
                for c in b.sink.connections for x in c.commands)
    count, faults = b.copies()[0], []
    if tried != len(b.scenario.good):
        faults.append(("twice", "RCPT was said %d times" % tried))
    if any(count[x] for x in b.scenario.bad):
        faults.append(("no test", "there was room for a notice"))
    unfill(b)
    if waits:
        waits.communicate(timeout=30)
    b.recover()
    count, wrong = b.copies()
    faults += [("garbled", x) for x in wrong]
    faults += [("twice" if count[x] else "lost", x)
               for x in b.scenario.everyone if count[x] != 1]
    return 3, faults + [("left", x) for x in b.queue() + b.traces()]


def run_full(b):
    """Three runs, or one that waits: that process."""
    for _ in range(3):
        process = b.popen("-q")
        instance.wait_for(
            lambda p=process: p.poll() is not None or
            b.logged("cannot record a result"), "the run to end or to wait")
        if process.poll() is None:
            return process
        process.communicate()
    return None


def full(kind, name):
    """Returns (points, faults), or why it cannot be done here."""
    top = sweep.worker["where"]
    b = bed.Bed(top / ("full.%s.%s" % (kind, name)),
                sweep.worker["programs"], sweep.worker["tracer"])
    try:
        mount(kind, b.spool, top)
        b.spool.chmod(0o700)
        b.own(b.spool)
        b.prepare(bed.Scenario(
            name, ["a@dest.example", "b@dest.example"],
            bad=["x@bad.example"] if name == "delivery" else (), body=TEXT,
            deliver=name == "delivery"))
        return (deliver_full if name == "delivery" else submit_full)(b)
    except subprocess.CalledProcessError as error:
        return "cannot mount: " + error.stderr.decode().strip()
    finally:
        b.sink.stop()
        subprocess.run(["umount", b.spool], stderr=subprocess.DEVNULL,
                       check=False)
