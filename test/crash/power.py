# SPDX-License-Identifier: BSD-3-Clause
"""A power cut: what a disk may hold then, and what becomes of it.

Modelled: what a run did to files is recorded, and at each moment every disk
is made that a file system may leave: of what was done to a directory since
its last fsync any part, of a file's bytes since its last fsync none, all,
zeros in their place, or all but one write.  Recovery runs on each.

Real: the image beneath a mounted file system is copied at the moment of the
exit status.  What the kernel had not written yet is not in the copy.
"""

import itertools
import os
import re
import shutil
import subprocess

import bed
import house
import sweep

SUBSETS_MAX = 10  # directory operations at once: 1,024 subsets
OURS = re.compile(r"^(run|wake|slot)\.")  # locks: nothing is in them



class Inode:
    def __init__(self, data=b""):
        self.durable, self.pending = data, []

    def images(self):
        """What the disk may have of it."""
        out = {self.durable, play(self.durable, self.pending)}
        if self.pending:
            out.add(play(self.durable, [
                (at, b"\0" * len(d) if d is not None else d)
                for at, d in self.pending if at >= len(self.durable)]))
        for i in range(len(self.pending) if len(self.pending) > 1 else 0):
            out.add(play(self.durable,
                         self.pending[:i] + self.pending[i + 1:]))
        return out


def target(operation):
    """The name that it makes, or takes away."""
    return operation[2 if operation[0] in ("rename", "link") else 1]


def play(data, operations):
    """Writes (at, bytes) and cuts (at, None), in order."""
    for at, piece in operations:
        if piece is None:
            data = data[:at].ljust(at, b"\0")
        else:
            data = data[:at].ljust(at, b"\0") + piece + data[at + len(piece):]
    return data


class Disk:
    """What is on it for certain, and what may be."""

    def __init__(self, b):
        self.inodes, self.names, self.dirty = {}, {}, []
        places = [b.spool, b.directory, *b.maildir_path.glob("*")]
        self.directories = {str(os.stat(d).st_ino): str(d) for d in places}
        for directory in places:
            for entry in os.scandir(directory):
                if entry.is_file() and not OURS.match(entry.name):
                    self.names[entry.path] = str(entry.inode())
                    self.inodes[str(entry.inode())] = Inode(
                        open(entry.path, "rb").read())

    def do(self, what, f):
        if what == "create":
            self.inodes[f[1]] = Inode()
            self.dirty.append((what, f[0], f[1]))
        elif what in ("rename", "link", "unlink"):
            self.dirty.append((what, *f))
        elif what == "sync" and f[0] in self.directories:
            top = self.directories[f[0]]
            mine = [x for x in self.dirty if os.path.dirname(target(x)) == top]
            # A new name in another directory holds the file that it had.
            moved = {x[1] for x in mine if x[0] == "rename"}
            mine = [x for x in self.dirty if x in mine or
                    x[0] == "create" and x[1] in moved]
            self.names = apply(self.names, mine)
            self.dirty = [x for x in self.dirty if x not in mine]
        elif what == "unknown":
            raise ValueError("the model does not know " + f[0])
        elif f[0] not in self.inodes:
            pass  # the log
        elif what == "sync":
            i = self.inodes[f[0]]
            i.durable, i.pending = play(i.durable, i.pending), []
        elif what == "write":
            data = bytes.fromhex(f[2]) if len(f) > 2 else b""
            self.inodes[f[0]].pending.append((int(f[1]), data))
        elif what == "truncate":
            self.inodes[f[0]].pending.append((int(f[1]), None))

    def states(self):
        """Every {path: bytes} that a cut may leave now."""
        dirty = [x for x in self.dirty
                 if not OURS.match(os.path.basename(x[1]))]
        assert len(dirty) <= SUBSETS_MAX, dirty
        for keep in itertools.product((False, True), repeat=len(dirty)):
            names = apply(self.names, itertools.compress(dirty, keep))
            images = [[(path, data) for data in self.inodes[i].images()]
                      for path, i in sorted(names.items())]
            for state in itertools.product(*images):
                yield state


def apply(names, operations):
    names = dict(names)
    source = dict(names)  # where a later name gets its inode from
    for what, *f in operations:
        if what == "create":
            names[f[0]] = source[f[0]] = f[1]
        elif what == "unlink":
            names.pop(f[0], None)
        else:
            inode = names.get(f[0])
            if inode is None:
                continue
            names[f[1]] = inode
            if what == "rename":
                del names[f[0]]
    return names


def moments(disk, trace):
    """(microseconds, exit status of the command or None) and its states."""
    status, end = None, len(trace.lines) - 1
    for n, line in enumerate(trace.lines):
        f = line.split(" ")
        if f[0] == "op":
            disk.do(f[3], f[4:])
        elif f[0] == "exit" and f[3] == "0":
            status = int(f[5])
        elif n != end:
            continue
        for state in disk.states():
            yield int(f[2]) if n != end else None, status, state


def cut(name, first_fault_ends=False):
    """Record a run, and recover from every disk that it may have left."""
    b = sweep.bed_for(name)
    b.reset()
    b.make_maildir()
    disk = Disk(b)
    trace = b.trace("-r", b.directory)
    sent = [(m.time * 1e6, m) for m in b.sink.messages]
    wrong, seen, repeated = [], set(), 0
    b.after_cut = True
    for when, status, state in moments(disk, trace):
        before = [m for t, m in sent if when is None or t < when]
        accepted = b.scenario.accepted(status)
        key = (state, accepted, len(before), when is None)
        if key in seen:
            continue
        seen.add(key)
        faults, again = recover_from(b, dict(state), before, accepted,
                                     when is None)
        repeated += again
        if faults:
            wrong.append(("on disk %s" % [
                (os.path.basename(p), len(d)) for p, d in state
                if os.path.dirname(p) == str(b.spool) or "mbox" in p
                or "Maildir" in p],
                          faults))
            if first_fault_ends:
                break
    b.after_cut = False
    return len(seen), wrong, repeated


def recover_from(b, files, before, accepted, at_the_end):
    template, b.template = b.template, {}
    b.reset()
    b.template = template
    b.make_maildir()
    b.mbox_path.unlink(missing_ok=True)
    for path, data in files.items():
        if os.path.dirname(path) == str(b.spool) or \
                os.path.basename(path).startswith("mbox") or \
                str(b.maildir_path) in path:
            b.put(bed.pathlib.Path(path), data)
    b.recover()
    b.sink.messages.extend(before)
    count, wrong = b.copies()
    faults = [("garbled", x) for x in wrong]
    everyone = b.scenario.everyone
    faults += [("lost", who) for who in everyone
               if accepted and count[who] == 0]
    if accepted is False or (
            accepted is None and not b.scenario.remove and
            len({count[who] for who in everyone}) > 1):
        faults += [("half", who) for who in everyone if count[who]]
    twice = [who for who in everyone if count[who] > 1]
    if at_the_end:
        faults += [("twice", who) for who in twice]
    faults += [("left", x) for x in b.queue() + b.traces()
               if not x.startswith("tmp.")]
    return faults, bool(twice)


# ---- Real file systems ----

KINDS = {"ext4": (32, ["-q", "-F"], "loop"), "btrfs": (128, ["-q"], "loop"),
         "xfs": (320, ["-q"], "loop,nouuid")}  # megabytes, mkfs, mount
REAL = ("submission-3", "delivery-3", "new-mailbox")


def missing(kind):
    """Why there is no such file system here, or None."""
    if not house.IS_ROOT:
        return "needs root"
    if shutil.which("mkfs." + kind) is None:
        return "no mkfs." + kind
    return None


def cut_really(kind, name):
    """Copy the image at the moment of the exit, and go on from the copy."""
    size, arguments, options = KINDS[kind]
    top = sweep.worker["where"] / ("power.%d" % os.getpid())
    image, copy, here = (top / x for x in ("image", "copy", "mounted"))
    here.mkdir(parents=True, exist_ok=True)
    with open(image, "wb") as file:
        file.truncate(size << 20)
    house.command("mkfs." + kind, *arguments, image)
    try:
        house.command("mount", "-o", "loop", image, here)
        b = bed.Bed(here / "bed", sweep.worker["programs"],
                    sweep.worker["tracer"])
        b.prepare(bed.SCENARIOS[name])
        os.sync()
        s = b.scenario
        done = b.run("-q") if s.deliver else b.run(
            *s.submission(), text=b.text_path.read_bytes())
        shutil.copyfile(image, copy)
        assert done.exit == 0, done
        bed.reap()
        house.command("umount", here)
        house.command("mount", "-o", options, copy, here)
        b.recover()
        count, wrong = b.copies()
        faults = [("garbled", x) for x in wrong]
        faults += [("twice" if count[x] else "lost", x)
                   for x in s.everyone if count[x] != 1]
        faults += [("left", x) for x in b.queue() + b.traces()]
        b.sink.stop()
        return faults
    except subprocess.CalledProcessError as error:
        return "cannot mount: " + error.stderr.decode().strip()
    finally:
        subprocess.run(["umount", here], stderr=subprocess.DEVNULL,
                       check=False)
