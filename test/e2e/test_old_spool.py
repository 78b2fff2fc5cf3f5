# SPDX-License-Identifier: BSD-3-Clause
"""The queue of DragonFly's dma 0.13, made by the real program, is taken over.

The old program is unpacked, never installed: it runs in a root of its own,
where our spool lies over its own.
"""

import collections
import fcntl
import os
import pwd
import shutil
import subprocess

import pytest

from instance import wait_for

OLD_CONF = "DEFER\nMAILNAME client.example\n"


class Old:
    """Submits with the old program into the spool of the new one."""

    def __init__(self, real, system):
        self.root = real.root("dma")
        self.spool = system.spool
        self.root.write("/etc/dma/dma.conf", OLD_CONF)
        self.root.write("/etc/aliases", "team: bob, carol@x.example\n")
        self.root.mkdir("/var/spool/dma")
        subprocess.run(["mount", "--bind", system.spool,
                        self.root.inside("/var/spool/dma")], check=True)

    def submit(self, *args, user="alice", text="Subject: old\n\nhello\n"):
        done = subprocess.run(
            ["chroot", "--userspec=%s:%s" % (user, user), self.root.path,
             "/usr/sbin/dma", *args],
            input=text.encode("latin-1"), capture_output=True, check=False,
            env={"PATH": "/usr/sbin:/usr/bin"})
        assert done.returncode == 0, done.stderr

    def files(self, letter="Q"):
        return sorted(n for n in os.listdir(self.spool)
                      if n.startswith(letter) and "." in n)

    def expected(self):
        """{(sender, recipient, bytes)}, read as the format is known."""
        found = []
        for name in self.files():
            fields = dict(line.split(": ", 1) for line in
                          (self.spool / name).read_text().splitlines())
            data = (self.spool / ("M" + name[1:])).read_bytes()
            found.append((fields["Sender"], fields["Recipient"], data))
        return collections.Counter(found)


@pytest.fixture
def old(real, system):
    one = Old(real, system)
    yield one
    subprocess.run(["umount", one.root.inside("/var/spool/dma")], check=True)


def queued(system):
    """What is in the new queue: the same triples."""
    found = []
    for name in system.queue():
        data = (system.spool / name).read_bytes()
        head, rest = data.split(b"\nend\n", 1)
        lines = head.decode().split("\n")
        sender = [x for x in lines if x.startswith("sender ")][0][7:]
        length = int(lines[2].split("length ")[1].split()[0])
        for line in lines:
            if line.startswith("R "):
                found.append((sender, line.rsplit("\t", 1)[1],
                              rest[:length]))
    return collections.Counter(found)


def take_over(system, **more):
    """The system's run, where nothing can be delivered yet."""
    result = system.run("run", name="dmactl", user="root", **more)
    assert result.exit == 0, result
    system.wait_idle()


def traced(system, inject):
    """Root's -q under strace, which makes a call fail or kills."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "-e",
         "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
         system.bin / "sendmail", "-q"], stdin=subprocess.DEVNULL,
        capture_output=True, timeout=60, check=False)


def unreachable(system, smtp):
    """A relay that is down: what is taken over stays queued."""
    relay = smtp.sink()
    system.relay(relay)
    relay.stop()
    return relay


@pytest.mark.rows("L-74")
def test_everything_is_taken_over(old, system, smtp):
    relay = unreachable(system, smtp)
    old.submit("a@x.example", "b@x.example", "team")
    old.submit("-i", "-f", "other@y.example", "c@x.example",
               text="Subject: long\n\n" + "x" * 900 + "\n" * 3 + "\xe9.\n.\n"
               + "line\n" * 50000)
    old.submit("root", user="root")
    old.submit("d@x.example", user="bob")
    expected = old.expected()
    assert len(expected) == 7
    take_over(system)
    here = [x for x in expected if x[1] in ("bob", "root")]
    got = queued(system)
    for sender, user, data in here:
        expected.pop((sender, user, data))
        got.pop((sender, user, data), None)
        (message,) = system.mailbox(user)
        assert data.decode().split("\n", 3)[3] in message.as_string()
    assert len(here) == 2 and got == expected
    assert len(system.queue()) == 3
    assert old.files() == [] and old.files("M") == []
    assert system.log().count("taken over from Q") == 4
    smtp.again(relay)
    system.flush(user="root")
    assert system.queue() == [] and system.traces() == []


def test_minus_q_takes_over_and_delivers(old, system, smtp):
    relay = smtp.sink()
    system.relay(relay)
    old.submit("a@x.example", "b@x.example")
    system.flush(user="root")
    assert sorted(relay.recipients_seen()) == ["a@x.example", "b@x.example"]
    assert old.files() == old.files("M") == [] and system.queue() == []


def test_a_users_run_takes_nothing(old, system, smtp):
    unreachable(system, smtp)
    old.submit("a@x.example")
    system.flush()
    assert len(old.files()) == 1 and system.queue() == []
    # Nor is it said to be empty without a word of it.
    assert system.mailq() == (
        "(1 of DragonFly's dma: root's dmactl run takes them over, "
        "or bad.Q* says why not)\nMail queue is empty\n")


def test_time_of_arrival_is_kept(old, system, smtp):
    unreachable(system, smtp)
    old.submit("a@x.example")
    (name,) = old.files()
    os.utime(old.spool / name, (1700000000, 1700000000))
    take_over(system)
    (new,) = system.queue()
    assert b"\narrival 001700000000\n" in (system.spool / new).read_bytes()


def test_what_was_delivered_there_is_not_delivered_again(old, system, smtp):
    relay = smtp.sink()
    system.relay(relay)
    old.submit("a@x.example", "b@x.example", "c@x.example")
    for name in old.files():  # as the old program ends a delivery
        if "b@x.example" in (old.spool / name).read_text():
            (old.spool / ("M" + name[1:])).unlink()
            (old.spool / name).unlink()
    system.flush(user="root")
    assert sorted(relay.recipients_seen()) == ["a@x.example", "c@x.example"]


def test_null_sender(old, system, smtp):
    unreachable(system, smtp)
    old.submit("-f", "<>", "a@x.example")
    old.submit("-f", "", "b@x.example")
    old.submit("c@x.example")
    for name in old.files():  # that of a notice
        path = old.spool / name
        text = path.read_text()
        if "c@x.example" in text:
            path.write_text(text.replace("alice@client.example", ""))
    assert {s for s, _, _ in old.expected()} == {
        "", "@client.example", "<>@client.example"}
    take_over(system)
    assert [s for s, _, _ in queued(system)] == ["", "", ""]


def test_what_the_old_program_works_on_is_left_to_it(old, system, smtp):
    unreachable(system, smtp)
    old.submit("a@x.example", "b@x.example")
    names = old.files()
    with open(old.spool / names[0], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        take_over(system)
        assert old.files() == names[:1]
        assert len(old.files("M")) == 1 and len(queued(system)) == 1
    take_over(system)
    assert old.files() == [] and len(queued(system)) == 2
    assert system.traces() == []


def link_instead(spool, name):
    shutil.copy(spool / name, spool / "elsewhere")
    (spool / name).unlink()
    (spool / name).symlink_to("elsewhere")


def give_away(spool, name):
    bob = pwd.getpwnam("bob")
    os.chown(spool / ("M" + name[1:]), bob.pw_uid, -1)


def rewrite(text):
    return lambda spool, name: (spool / name).write_bytes(text)


ODD = {
    "a link": link_instead,
    "a link for its message": lambda s, n: link_instead(s, "M" + n[1:]),
    "another owner": give_away,
    "a second name": lambda s, n: os.link(s / n, s / "second"),
    "no message": lambda s, n: (s / ("M" + n[1:])).unlink(),
    "a FIFO": lambda s, n: ((s / n).unlink(), os.mkfifo(s / n)),
    "a directory": lambda s, n: ((s / n).unlink(), os.mkdir(s / n)),
    "nothing in it": rewrite(b""),
    "no recipient": rewrite(b"ID: 1\nSender: a@x.example\n"),
    "cut": rewrite(b"ID: 1\nSender: a@x.example\nRecipient: b@x.exa"),
    "no colon": rewrite(b"ID: 1\nSender: a\nRecipient: b@x.example\nx\n"),
    "no address": rewrite(b"ID: 1\nSender: a\nRecipient: b@@x.example\n"),
    "a NUL": rewrite(b"ID: 1\nSender: a\nRecipient: b@x.example\n\0\n"),
    "too long": rewrite(b"ID: 1\nSender: a\nRecipient: b@x.example\n" * 200),
}


@pytest.mark.parametrize("kind", ODD, ids=lambda s: s.replace(" ", "-"))
@pytest.mark.rows("L-74")
def test_what_is_odd_stays_and_is_logged_once(old, system, smtp, kind):
    unreachable(system, smtp)
    old.submit("a@x.example")
    (name,) = old.files()
    ODD[kind](old.spool, name)
    before = sorted(os.listdir(old.spool))
    old.submit("b@x.example")
    take_over(system)
    take_over(system)
    assert system.log().count("it is left as it is") == 1
    assert system.logged("%s: .*; it is left as it is" % name)
    assert [r for _, r, _ in queued(system)] == ["b@x.example"]
    assert set(before) <= set(os.listdir(old.spool))
    assert system.traces() == ["bad." + name]
    if os.path.isdir(old.spool / name):
        os.rmdir(old.spool / name)


@pytest.mark.parametrize("call", [
    "fsync", "renameat2", "unlinkat", "openat", "write"])
def test_killed_while_it_takes_over(old, system, smtp, call):
    """Nothing is lost; a duplicate is all that may come of it."""
    unreachable(system, smtp)
    for when in range(1, 9):
        old.submit("a@x.example", "b@x.example")
        expected = old.expected()
        traced(system, "%s:signal=KILL:when=%d" % (call, when))
        take_over(system)
        assert old.files() == []
        got = queued(system)
        assert set(got) == set(expected), when
        assert all(n <= 2 for n in got.values())
        for name in os.listdir(system.spool):
            os.unlink(system.spool / name)


def test_full_disk_leaves_the_old_ones(old, system, smtp):
    unreachable(system, smtp)
    old.submit("a@x.example", "b@x.example")
    names = old.files()
    traced(system, "fsync:error=ENOSPC:when=1")
    assert old.files() == names and system.queue() == []
    assert system.logged("cannot take it over: No space left")
    wait_for(lambda: not system.traces(), "no draft to be left")
    take_over(system)
    assert old.files() == [] and len(queued(system)) == 2
