# SPDX-License-Identifier: BSD-3-Clause
"""Names that change hands while mail is delivered: between every check and
the use that follows, thousands of times a second.  Whoever can do that to a
mail directory gains nothing outside it, and no mail is lost by it."""

import os
import pathlib
import pwd
import socket
import subprocess

import pytest

import house
import instance
from instance import wait_for

pytestmark = [
    pytest.mark.skipif(not house.IS_ROOT,
                       reason="needs root: set-uid programs and many users"),
    pytest.mark.xdist_group("races")]

SECONDS = 4


@pytest.fixture(scope="module")
def swap(scratch):
    program = scratch / "swap"
    done = subprocess.run(
        ["cc", "-D_GNU_SOURCE", "-O1", "-o", program,
         pathlib.Path(__file__).with_name("swap.c")],
        capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("cannot build swap.c: " + done.stderr[-300:])
    return program


def facts(path):
    """All that a delivery, or a change of owner, would show in."""
    st = os.lstat(path)
    text = path.read_bytes() if path.is_file() else os.readlink(path)
    return st.st_mode, st.st_uid, st.st_gid, st.st_size, text


class Bed:
    """What must not be touched, and a directory of what leads to it."""

    def __init__(self, system):
        self.system, self.staging = system, system.root / "staging"
        self.outside = system.root / "outside"
        for place in (self.staging, self.outside):
            subprocess.run(["rm", "-rf", place], check=True)
            place.mkdir(mode=0o777)
        self.group = pwd.getpwnam("mail").pw_gid
        # One that USER and GROUP, who deliver root's mail, may write.
        self.precious = self.make(self.outside / "precious", "mail", 0o660)
        self.bob = self.make(system.maildir / "bob", "bob", 0o660)
        system.submit("-odq", "b@x.example", user="bob")
        (queued,) = system.queue()
        self.queued = system.spool / queued
        system.run("queue", "hold", queued, name="dmactl", user="root")
        self.before = self.look()

    def make(self, path, user, mode, text=b"From x\n\nas it was\n\n"):
        path.write_bytes(text)
        os.chown(path, pwd.getpwnam(user).pw_uid, self.group)
        os.chmod(path, mode)
        return path

    def plant(self, user):
        """A link, a hard link, ... to each; what the user himself may put."""
        for number, victim in enumerate((self.precious, self.bob,
                                         self.queued)):
            os.symlink(victim, self.staging / ("link%d" % number))
            if victim != self.queued:
                os.link(victim, self.staging / ("hard%d" % number))
        os.symlink(self.outside / "new", self.staging / "dangling")
        os.mkfifo(self.staging / "fifo", 0o666)
        (self.staging / "directory").mkdir(mode=0o777)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(self.staging / "socket"))
        for name in ("fifo", "socket", "dangling", "link0"):
            os.chown(self.staging / name, pwd.getpwnam(user).pw_uid,
                     self.group, follow_symlinks=False)
        for name in ("one", "two", "three"):
            self.make(self.staging / name, user, 0o660, b"")

    def look(self):
        return [facts(p) for p in (self.precious, self.bob, self.queued)]

    def untouched(self):
        assert self.look() == self.before
        assert os.listdir(self.outside) == ["precious"]

    def clear_hard_links(self):
        for place in (self.staging, self.system.maildir):
            for path in place.iterdir():
                if path.is_file() and path.stat().st_nlink > 1 and (
                        path != self.bob):
                    path.unlink()

    def delivered(self):
        """Subjects in whatever was a mailbox, wherever it is by now."""
        found = []
        for place in (self.staging, self.system.maildir):
            for path in place.iterdir():
                if path.is_file() and not path.is_symlink() and (
                        path.stat().st_nlink == 1 and path != self.bob):
                    found += [m["Subject"]
                              for m in instance.messages_in(path)]
        return found


def race(system, program, target, name, *away):
    """Deliver all the while; the subjects of what was taken."""
    taken = []
    with subprocess.Popen([program, str(SECONDS), system.maildir / name,
                           system.root / "staging", *away],
                          stdout=subprocess.PIPE, text=True) as swapper:
        while swapper.poll() is None:
            for _ in range(4):
                taken.append("m%d" % len(taken))
                system.submit("-odq", target, user="bob",
                              text="Subject: %s\n\nx\n" % taken[-1])
            system.flush(user="bob")
        assert int(swapper.stdout.read()) > 1000
    assert len(taken) >= 8
    return taken


@pytest.mark.rows("V-28", "V-29", "V-30", "L-75", "L-76", "S-08")
@pytest.mark.parametrize("target, mode", [
    ("alice", 0o2775), ("alice", 0o1777), ("root", 0o2775), ("root", 0o1777)])
def test_mailbox_that_changes_hands(system, swap, target, mode):
    bed = Bed(system)
    system.maildir.chmod(mode)
    bed.plant(target)
    taken = race(system, swap, target, target)
    bed.untouched()
    # And now in peace: nothing was lost, nor written to anything else.
    box = system.maildir / target
    if os.path.lexists(box):
        os.rename(box, bed.staging / "last")
    bed.clear_hard_links()
    found = bed.delivered()
    system.flush(user="root")
    wait_for(lambda: len(system.queue()) == 1, "all but the held one to go")
    system.wait_idle()
    found = bed.delivered()
    assert sorted(set(found)) == sorted(taken)
    bed.untouched()


@pytest.mark.rows("V-29", "V-33", "L-79", "S-08")
@pytest.mark.parametrize("name", ["alice.lock", ".alice.new", "root.lock"])
def test_lock_that_changes_hands(system, swap, name):
    """Where all may create files, those of the delivery itself are swapped."""
    bed = Bed(system)
    system.maildir.chmod(0o1777)
    target = name.strip(".").split(".")[0]
    os.symlink(bed.precious, bed.staging / "link")
    os.symlink(bed.outside / "new", bed.staging / "dangling")
    os.mkfifo(bed.staging / "fifo", 0o666)
    taken = race(system, swap, target, name, "away")
    bed.untouched()
    for path in system.maildir.glob("*.lock"):
        path.unlink()
    (system.maildir / name).unlink(missing_ok=True)
    system.flush(user="root")
    wait_for(lambda: len(system.queue()) == 1, "all but the held one to go")
    system.wait_idle()
    assert sorted({m["Subject"] for m in system.mailbox(target)}) == sorted(
        taken)
    bed.untouched()
