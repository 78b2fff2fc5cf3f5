# SPDX-License-Identifier: BSD-3-Clause
"""dma-local and dma-become, driven as the runner drives them.

The tests are the runner: they make the pair of sockets, speak the records of
job.h and look at the mailbox.  dma-local is tried as any user, as in a private
instance; dma-become by root alone, installed in a place of its own.
"""

import collections
import ctypes
import errno
import fcntl
import mailbox
import os
import pwd
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

import pytest

import house
from instance import wait_for

HOP, JOB, READY, RESULT, DONE = 1, 2, 3, 5, 6
DEFER, SENT = 0, 1
NO_USER, LIMITS, SYSTEM, BAD_CONF = 67, 69, 71, 78
NO_RIGHTS, NOT_ALLOWED = 76, 77
UNUSABLE = "is not usable: it must be a file with one link"
LOCKED = "is locked by another program"
CAP_SYS_RESOURCE = 24
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
RECORD_MAX = 160 * 1024
AHEAD = 40  # jobs that wait, so that an agent is never idle
SANITIZED = "sanitize" in os.environ.get("MAKEFLAGS", "")

libc = ctypes.CDLL(None, use_errno=True)
as_root = pytest.mark.skipif(
    not house.IS_ROOT, reason="needs root: set-uid programs and many users")


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">I", len(data)) + data


def numbers(*values):
    return struct.pack(">%dI" % len(values), *values)


def hop_record(user, timeouts=100):
    return (numbers(HOP, 0) + string(user) + numbers(0, 0, 0, 0, 0, 0, 0)
            + string(bytes(32)) + string("") * 3 + string("client.example")
            + numbers(timeouts, 0))


def job_record(number, length, sender="bob@example.org", to=("alice",),
               target=""):
    record = (numbers(JOB, number) + string("0123456789ABCDEFGHIJ")
              + string(sender) + numbers(0) + string("") + numbers(0)
              + struct.pack(">QQ", 0, length) + numbers(len(to)))
    for index, address in enumerate(to):
        record += (numbers(index) + string(address) + string("")
                   + string("root@example.org") + string(target)
                   + numbers(0))
    return record


class Cursor:
    def __init__(self, data):
        self.data = data

    def number(self):
        value, = struct.unpack(">I", self.data[:4])
        self.data = self.data[4:]
        return value

    def text(self):
        length = self.number()
        value, self.data = self.data[:length], self.data[length:]
        return value.decode()


class Result:
    def __init__(self, cursor):
        self.job, self.recipient = cursor.number(), cursor.number()
        self.outcome, self.notice = cursor.number(), cursor.number()
        self.dsn = cursor.text()
        self.relay, self.text = cursor.text(), cursor.text()

    def __repr__(self):
        return "outcome %d, dsn %s, relay %s: %s" % (
            self.outcome, self.dsn, self.relay, self.text)


class Agent:
    """A process with our socket, or another thing, as its descriptor 3."""

    def __init__(self, *argv, prepare=lambda: None, third=None):
        self.sock, theirs = socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(30)
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            try:
                place(theirs.fileno() if third is None else third)
                prepare()
                os.execve(str(argv[0]), [str(a) for a in argv],
                          {"TZ": "UTC0", "LD_PRELOAD": "/nonexistent"})
            finally:
                os._exit(126)
        theirs.close()

    def send(self, record, fd=None):
        ancillary = []
        if fd is not None:
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                          struct.pack("i", fd))]
        self.sock.sendmsg([record], ancillary)

    def receive(self):
        """The next record: its type and a cursor; (0, None) at the end."""
        try:
            data = self.sock.recv(RECORD_MAX)
        except ConnectionResetError:
            data = b""
        if not data:
            return 0, None
        cursor = Cursor(data)
        return cursor.number(), cursor

    def start(self, user, timeouts=100):
        kind, _ = self.receive()
        assert kind == READY, "status %r" % self.wait()
        self.send(hop_record(user, timeouts))
        return self

    def deliver(self, path, number=1, **more):
        """Hand over the file as a message; its results, in order."""
        self.hand_over(path, number, **more)
        return self.results(number)

    def hand_over(self, path, number=1, **more):
        fd = os.open(path, os.O_RDONLY)
        try:
            self.send(job_record(number, os.stat(path).st_size, **more), fd)
        finally:
            os.close(fd)

    def results(self, number):
        found = []
        while True:
            kind, cursor = self.receive()
            if kind == RESULT:
                found.append(Result(cursor))
                assert found[-1].job == number
            else:
                assert kind == DONE, "record of type %d" % kind
                assert cursor.number() == number
                return found

    def wait(self, bound=30):
        """How the process ended: its status, or 128 + the signal."""
        def ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid

        if self.status is None:
            wait_for(ended, "the agent to end", bound)
        return self.status

    def finish(self, bound=30):
        self.sock.close()
        return self.wait(bound)


def place(fd):
    """Descriptor 3 is fd, or nothing where that is negative."""
    if fd < 0:
        os.closerange(3, 4)
    elif fd == 3:
        os.set_inheritable(3, True)
    else:
        os.dup2(fd, 3)


# ---- Where it is tried ----

class Place:
    """Our build, with a mail directory of its own."""

    def __init__(self, top):
        self.top, self.libexec, self.mail = top, top / "bin", top / "mail"
        self.out = top / "out"

    def build(self):
        self.top.mkdir(mode=0o755)
        self.libexec.mkdir(mode=0o755)
        subprocess.run(
            ["make", "-s", "-f", house.TOP / "Makefile", "LIBEXEC=%s"
             % self.libexec, "MAILDIR=%s" % self.mail,
             "CONFDIR=%s" % self.out, "USER=mail",
             "GROUP=mail", "AGENTUSER=dmatest", "dma-local", "dma-become"],
            cwd=self.libexec, check=True, stdin=subprocess.DEVNULL)
        os.chmod(self.libexec / "dma-local", 0o755)

    def install(self):
        """The set-uid bit, and an agent that tells what it was given."""
        become = self.libexec / "dma-become"
        os.chown(become, 0, self.mail_gid())
        os.chmod(become, 0o4750)
        stand_in = self.libexec / "dma-smtp"
        stand_in.write_text(
            "#!/bin/sh\ncat /proc/self/status >%s/status\n"
            "cat /proc/$$/environ >%s/environ\n"
            "ls -l /proc/self/fd >%s/fd\npwd -P >%s/cwd\n"
            "cat /proc/self/limits >%s/limits\n"
            "cat /proc/self/stat >%s/stat\n"
            % ((self.out,) * 6))
        os.chmod(stand_in, 0o755)

    @staticmethod
    def mail_gid():
        return pwd.getpwnam("mail").pw_gid

    def reset(self):
        for directory, mode in ((self.mail, 0o2775), (self.out, 0o777)):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            os.chown(directory, 0, self.mail_gid())
            os.chmod(directory, mode)

    def become(self, *args, user="alice", prepare=lambda: None, third=None):
        """dma-become as a runner of that user calls it, in group mail."""
        uid, gid = pwd.getpwnam(user).pw_uid, self.mail_gid()

        def as_user():
            prepare()
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)

        return Agent(self.libexec / "dma-become", *args, prepare=as_user,
                     third=third)

    def names(self):
        return sorted(os.listdir(self.mail))

    def message(self, data=b"Subject: hello\n\nhello\n", name="message"):
        path = self.top / name
        path.write_bytes(data)
        return path


@pytest.fixture(scope="module")
def built_place(scratch):
    one = Place(scratch / "agents")
    one.build()
    return one


@pytest.fixture(scope="module")
def door_built(built_place):
    built_place.install()
    return built_place


@pytest.fixture
def door(door_built):
    door_built.reset()
    return door_built


class Private:
    """dma-local with a mailbox of its own, as an ordinary user."""

    def __init__(self, directory, place):
        self.directory, self.place = directory, place
        directory.mkdir(mode=0o700)
        self.mbox = directory / "mbox"
        self.user = house.ordinary_user()
        account = pwd.getpwnam(self.user)
        self.ids = account.pw_uid, account.pw_gid
        os.chown(directory, *self.ids)

    def drop(self):
        if house.IS_ROOT:
            os.setgroups([])
            os.setgid(self.ids[1])
            os.setuid(self.ids[0])

    def spawn(self, third=None):
        return Agent(self.place.libexec / "dma-local", self.user, self.mbox,
                     prepare=self.drop, third=third)

    def start(self, timeouts=100):
        return self.spawn().start(self.user, timeouts)

    def message(self, data=b"Subject: hello\n\nhello\n", name="message"):
        return self.place.message(data, name)

    def messages(self):
        return [m for m in mailbox.mbox(str(self.mbox), create=False)]


@pytest.fixture
def alone(scratch, built_place, request):
    directory = scratch / ("alone." + request.node.name.replace("/", "_"))
    yield Private(directory, built_place)
    shutil.rmtree(directory, ignore_errors=True)


# ---- dma-local in a private instance ----

def test_delivers(alone):
    agent = alone.start()
    result, = agent.deliver(alone.message())
    assert (result.outcome, result.dsn) == (SENT, "2.0.0")
    assert (result.relay, result.text) == ("local", "delivered to mailbox")
    assert agent.finish() == 0
    one, = alone.messages()
    assert one["Return-Path"] == "<bob@example.org>"
    assert one["X-Original-To"] == "root@example.org"
    assert one["Delivered-To"] == alone.user + "@client.example"
    assert one["Subject"] == "hello"
    assert one.get_payload() == "hello\n"
    assert stat.S_IMODE(alone.mbox.stat().st_mode) == 0o600
    assert os.listdir(alone.directory) == ["mbox"]


def test_jobs_in_a_row(alone):
    agent = alone.start()
    path = alone.message()
    for number in range(1, 4):
        agent.hand_over(path, number)
    for number in range(1, 4):
        result, = agent.results(number)
        assert result.outcome == SENT, result
    assert agent.finish() == 0
    assert len(alone.messages()) == 3


def test_answers_what_was_sent_before_the_end(alone):
    agent = alone.start()
    agent.hand_over(alone.message())
    agent.sock.shutdown(socket.SHUT_WR)
    assert agent.results(1)[0].outcome == SENT
    assert agent.finish() == 0


def test_25_megabytes(alone):
    line = b"From here on it is long: " + b"x" * 51 + b"\n"
    body = line * (25 * 1024 * 1024 // len(line))
    agent = alone.start()
    result, = agent.deliver(alone.message(b"Subject: long\n\n" + body))
    assert result.outcome == SENT, result
    with open("/proc/%d/status" % agent.pid, encoding="ascii") as file:
        peak = next(x for x in file if x.startswith("VmHWM"))
    assert agent.finish() == 0
    if not SANITIZED:
        assert int(peak.split()[1]) < 6 * 1024
    stored = alone.mbox.read_bytes()
    assert stored.endswith(b"\n\n" + (b">" + line) * (len(body) // len(line))
                           + b"\n")


@pytest.mark.rows("V-33", "V-56")
def test_two_agents_at_once(alone):
    count = 40
    paths = [alone.place.message(
        b"Subject: %c\n\n" % letter + bytes([letter]) * 100000 + b"\n",
        "message." + chr(letter)) for letter in b"ab"]
    agents = [alone.start() for _ in paths]
    outcomes = []

    def deliver_all(agent, path):
        for number in range(1, count + 1):
            outcomes.append(agent.deliver(path, number)[0].outcome)

    threads = [threading.Thread(target=deliver_all, args=pair)
               for pair in zip(agents, paths)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [agent.finish() for agent in agents] == [0, 0]
    assert outcomes == [SENT] * 2 * count
    found = alone.messages()
    for letter in "ab":
        ours = [m for m in found if m["Subject"] == letter]
        assert len(ours) == count
        assert {m.get_payload() for m in ours} == {letter * 100000 + "\n"}
    assert len(found) == 2 * count


class Reader(threading.Thread):
    """A mail program that takes all there is out of the mailbox, again and
    again, under the locks that everybody agrees on."""

    def __init__(self, mbox):
        super().__init__()
        self.mbox, self.lock = mbox, str(mbox) + ".lock"
        self.texts, self.over, self.rounds = [], False, 0

    def run(self):
        while not self.over:
            self.take()
            time.sleep(0.003)
        self.take()

    def take(self):
        try:
            os.close(os.open(self.lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return
        try:
            with open(self.mbox, "r+b") as file:
                fcntl.lockf(file, fcntl.LOCK_EX)
                text = file.read()
                file.truncate(0)
            self.texts.append(text)
            self.rounds += text != b""
        except FileNotFoundError:
            pass
        finally:
            os.unlink(self.lock)


def test_eight_writers_and_a_reader(alone):
    count = 200
    paths = [alone.message(b"Subject: %d\n\nFrom %d\n" % (n, n) * (1 + n % 3),
                           "message.%d" % n) for n in range(8)]
    agents = [alone.start() for _ in paths]
    outcomes, reader = [], Reader(alone.mbox)

    def deliver_all(agent, path):
        for number in range(1, count + 1):
            outcomes.append(agent.deliver(path, number)[0].outcome)

    threads = [threading.Thread(target=deliver_all, args=pair)
               for pair in zip(agents, paths)]
    for thread in [reader, *threads]:
        thread.start()
    for thread in threads:
        thread.join()
    reader.over = True
    reader.join()
    assert [agent.finish() for agent in agents] == [0] * 8
    assert outcomes == [SENT] * 8 * count
    alone.mbox.write_bytes(b"".join(reader.texts))
    found = collections.Counter(
        (m["Subject"], m.get_payload()) for m in alone.messages())
    assert reader.rounds > 10
    assert sum(found.values()) == 8 * count
    assert len(found) == 8 and set(found.values()) == {count}


def test_one_recipient_at_a_time(alone):
    agent = alone.start()
    results = agent.deliver(alone.message(), to=("alice", "bob"))
    assert agent.finish() == 0
    assert [r.outcome for r in results] == [SENT, DEFER]
    assert [r.recipient for r in results] == [0, 1]
    assert len(alone.messages()) == 1


def test_lock_that_is_given_up(alone):
    alone.mbox.write_bytes(b"")
    os.chown(alone.mbox, *alone.ids)
    with open(alone.mbox, "r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        agent = alone.start()
        agent.hand_over(alone.message())
        time.sleep(0.3)
        assert alone.mbox.stat().st_size == 0
        fcntl.lockf(held, fcntl.LOCK_UN)
        result, = agent.results(1)
        assert agent.finish() == 0
    assert result.outcome == SENT, result


@pytest.mark.rows("L-78")
def test_lock_that_is_kept(alone):
    alone.mbox.write_bytes(b"old\n\n")
    os.chown(alone.mbox, *alone.ids)
    with open(alone.mbox, "r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        agent = alone.start(timeouts=1)
        result, = agent.deliver(alone.message())
        assert agent.finish() == 0
    assert (result.outcome, result.dsn) == (DEFER, "4.2.0")
    assert "locked" in result.text
    assert alone.mbox.read_bytes() == b"old\n\n"
    assert os.listdir(alone.directory) == ["mbox"]


@as_root
@pytest.mark.rows("L-81", "D-28")
def test_full_disk(alone):
    house.command("mount", "-t", "tmpfs", "-o",
                  "size=64k,mode=0700,uid=%d" % alone.ids[0], "tmpfs",
                  alone.directory)
    try:
        agent = alone.start()
        assert agent.deliver(alone.message())[0].outcome == SENT
        before = alone.mbox.read_bytes()
        path = alone.message(b"Subject: big\n\n" + b"x" * 200000 + b"\n")
        result, = agent.deliver(path, 2)
        assert (result.outcome, result.dsn) == (DEFER, "4.2.2")
        assert result.text == "the mailbox is full: No space left on device"
        assert alone.mbox.read_bytes() == before
        assert agent.deliver(alone.message(), 3)[0].outcome == SENT
        assert agent.finish() == 0
        assert len(alone.messages()) == 2
    finally:
        house.command("umount", "-l", alone.directory)


def test_silent_runner_is_left(alone):
    """One that was stopped must not keep the mailbox locked; to go on for a
    moment now and then gains it nothing."""
    agent = alone.start()
    begun = time.monotonic()
    time.sleep(5)
    assert agent.deliver(alone.message())[0].outcome == SENT
    assert agent.wait() == 0
    assert time.monotonic() - begun < 13
    with pytest.raises(OSError) as caught:
        agent.hand_over(alone.message())
    assert caught.value.errno in (errno.EPIPE, errno.ECONNRESET)


@pytest.mark.parametrize("record", [
    hop_record("somebody-else"), job_record(1, 10), numbers(99), b"\0",
    hop_record("x") + b"\0", numbers(READY), b"\xff" * 5000,
], ids=["another user", "job first", "unknown", "short", "long", "ready",
        "garbage"])
def test_wrong_first_record(alone, record):
    agent = alone.spawn()
    assert agent.receive()[0] == READY
    agent.send(record)
    assert agent.receive()[0] == 0
    assert agent.finish() not in (0, 126)
    assert not alone.mbox.exists()


def test_wrong_second_record(alone):
    agent = alone.start()
    agent.send(numbers(JOB, 1) + b"nonsense")
    assert agent.receive()[0] == 0
    assert agent.finish() not in (0, 126)
    assert not alone.mbox.exists()


def test_job_without_its_message(alone):
    agent = alone.start()
    agent.send(job_record(1, 10))
    result, = agent.results(1)
    assert result.outcome == DEFER
    assert agent.finish() == 0
    assert not alone.mbox.exists()


def test_needs_a_socket(alone):
    null = os.open("/dev/null", os.O_RDWR)
    for third in (-1, null):
        agent = alone.spawn(third=third)
        assert agent.finish() == 64
    os.close(null)


# ---- dma-become: who may, and what is left of the caller ----

def read_table(path):
    rows = (line.split(":", 1) for line in path.read_text().splitlines()
            if ":" in line)
    return {key: value.split() for key, value in rows}


@as_root
@pytest.mark.rows("V-13", "V-16", "V-22", "V-23", "D-22")
def test_smtp_agent_has_nothing(door):
    user = pwd.getpwnam("dmatest")

    def hostile():
        os.nice(5)
        os.umask(0)
        os.chdir("/tmp")
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        os.dup2(2, 17)
        resource.setrlimit(resource.RLIMIT_CPU,
                           (1, resource.RLIM_INFINITY))

    agent = door.become("smtp", prepare=hostile)
    assert agent.wait() == 0
    status = read_table(door.out / "status")
    assert status["Uid"] == [str(user.pw_uid)] * 4
    assert status["Gid"] == [str(user.pw_gid)] * 4
    assert set(status["Groups"]) <= {str(user.pw_gid)}
    assert int(status["CapEff"][0], 16) == 0
    assert int(status["SigBlk"][0], 16) == 0
    assert not int(status["SigIgn"][0], 16) & 1 << signal.SIGCHLD - 1
    assert (door.out / "environ").read_bytes() == b""
    assert (door.out / "cwd").read_text() == "/\n"
    fds = [line.split()[-3:] for line in
           (door.out / "fd").read_text().splitlines() if "->" in line]
    # 1 is this list, and what follows 3 the directory that ls reads.
    assert [fd[0] for fd in fds] == ["0", "1", "2", "3", "4"]
    assert fds[0][2] == fds[2][2] == "/dev/null"
    assert fds[3][2].startswith("socket:")
    limits = (door.out / "limits").read_text()
    assert limits.split("Max cpu time")[1].split()[0] == "unlimited"
    fields = (door.out / "stat").read_text().rsplit(")", 1)[1].split()
    assert int(fields[3]) == agent.pid, "a session of its own"
    assert int(fields[16]) == 0, "nice"


@as_root
@pytest.mark.parametrize("kind", ["none", "file", "pipe", "inet"])
def test_refuses_what_is_no_job_socket(door, kind):
    ends = []
    if kind == "none":
        third = -1
    elif kind == "file":
        third = os.open(door.message(), os.O_RDWR)
    elif kind == "pipe":
        third, other = os.pipe()
        ends.append(other)
    else:
        inet = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        third = inet.detach()
    agent = door.become("local", "alice", third=third)
    for fd in ends + ([third] if third >= 0 else []):
        os.close(fd)
    assert agent.finish() == NOT_ALLOWED
    assert door.names() == []


@as_root
@pytest.mark.parametrize("args", [
    (), ("smtp", "x"), ("local",), ("local", "alice", "x"), ("", ""),
    ("dkim",), ("-c", "id"), ("smtp",) * 1000])
@pytest.mark.rows("L-84")
def test_refuses_other_arguments(door, args):
    assert door.become(*args).finish() == NOT_ALLOWED
    assert door.names() == [] and os.listdir(door.out) == []


@as_root
@pytest.mark.parametrize("text, mode, owner, status", [
    ("ALIASUSER root\n", 0o644, 0, NOT_ALLOWED),
    ("ALIASUSER mail\n", 0o644, 0, NOT_ALLOWED),
    ("ALIASUSER no-such-user\n", 0o644, 0, NOT_ALLOWED),
    ("", 0o664, 0, BAD_CONF), ("", 0o646, 0, BAD_CONF),
    ("", 0o644, 54321, BAD_CONF)])
def test_alias_user_and_whose_configuration(door, text, mode, owner, status):
    conf = door.out / "dma.conf"
    conf.write_text(text)
    conf.chmod(mode)
    os.chown(conf, owner, 0)
    assert door.become("alias").finish() == status
    if status == BAD_CONF:
        assert door.become("local", "bob").finish() == status
    assert door.names() == []


@as_root
def test_alias_user_has_nothing(door):
    account = pwd.getpwnam("dovenull")
    (door.out / "dma.conf").write_text("ALIASUSER dovenull\nALIASES /x y\n")
    os.chown(door.out / "dma.conf", 0, 0)
    agent = door.become("alias")
    assert agent.receive()[0] == READY
    assert ids(agent.pid) == [account.pw_uid] * 4
    assert ids(agent.pid, "Gid") == [account.pw_gid] * 4
    assert set(ids(agent.pid, "Groups")) <= {account.pw_gid}
    with open("/proc/%d/cmdline" % agent.pid, "rb") as file:
        assert file.read() == b"dma-local\0--alias\0dovenull\0/x y\0"
    assert agent.finish() == 0


@as_root
def test_maildir_takes_no_lock(door):
    """No lock while the mailbox in the mail directory is not meant."""
    (door.out / "dma.conf").write_text("MAILBOX |/bin/true\n")
    agent = door.become("local", "bob").start("bob")
    result, = agent.deliver(door.message())
    assert result.text == "delivered to command /bin/true", result
    assert door.names() == []
    (door.out / "dma.conf").unlink()
    assert agent.finish() == 0


@as_root
@pytest.mark.rows("S-15")
def test_only_for_group_mail(door):
    def leave():
        user = pwd.getpwnam("alice")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)

    agent = Agent(door.libexec / "dma-become", "local", "bob", prepare=leave)
    assert agent.finish() == 126
    assert door.names() == []


@as_root
def test_no_new_privileges(door):
    agent = door.become("local", "alice", prepare=lambda: libc.prctl(
        PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    assert agent.finish() == NO_RIGHTS
    assert door.names() == []


def lower(which, value):
    """That limit, and no right to raise it again, even for root."""
    def prepare():
        libc.prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0)
        resource.setrlimit(which, (value, value))
    return prepare


@as_root
@pytest.mark.parametrize("which, value", [
    (resource.RLIMIT_CPU, 100000), (resource.RLIMIT_FSIZE, 1 << 20),
    (resource.RLIMIT_AS, 48 << 20), (resource.RLIMIT_DATA, 16 << 20),
    (resource.RLIMIT_NOFILE, 32), (resource.RLIMIT_NPROC, 8),
    (resource.RLIMIT_STACK, 128 << 10),
], ids=["CPU", "FSIZE", "AS", "DATA", "NOFILE", "NPROC", "STACK"])
@pytest.mark.rows("L-80")
def test_limits_too_small(door, which, value):
    if SANITIZED and which in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        pytest.skip("a sanitizer needs more memory than that itself")
    # A user without other processes, which NPROC would count.
    agent = door.become("local", "dovenull", user="dovenull",
                        prepare=lower(which, value))
    assert agent.finish() == LIMITS
    assert door.names() == []


@as_root
@pytest.mark.parametrize("which, value", [
    (resource.RLIMIT_FSIZE, 64 << 20), (resource.RLIMIT_NOFILE, 64),
    (resource.RLIMIT_NPROC, 32)], ids=["FSIZE", "NOFILE", "NPROC"])
def test_limits_just_enough(door, which, value):
    agent = door.become("local", "dovenull", user="dovenull",
                        prepare=lower(which, value))
    assert agent.start("dovenull").deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0


@as_root
@pytest.mark.rows("V-14", "L-80", "D-28")
def test_soft_limits_are_raised(door):
    """What the caller may lower for himself does not reach the mailbox."""
    def lower_soft():
        for which, value in ((resource.RLIMIT_FSIZE, 0),
                             (resource.RLIMIT_CPU, 1),
                             (resource.RLIMIT_NOFILE, 8)):
            _, hard = resource.getrlimit(which)
            resource.setrlimit(which, (value, hard))

    agent = door.become("local", "bob", prepare=lower_soft)
    path = door.message(b"Subject: x\n\n" + b"x" * 3000000 + b"\n")
    assert agent.start("bob").deliver(path)[0].outcome == SENT
    assert agent.finish() == 0


@as_root
@pytest.mark.skipif(SANITIZED or not shutil.which("strace"),
                    reason="strace is not here, or would see a sanitizer")
@pytest.mark.rows("V-24", "S-02")
@pytest.mark.parametrize("call", ["setgroups", "setresgid", "setresuid"])
@pytest.mark.parametrize("when", [1, 2])
@pytest.mark.parametrize("args", [("smtp",), ("local", "bob"), ("alias",)],
                         ids=lambda args: args[0])
def test_change_of_ids_that_fails(door, call, when, args):
    """EAGAIN, as where a user has too many processes: nobody is executed,
    least of all as root."""
    agent = Agent(shutil.which("strace"), "-f", "-qq", "-u", "mail", "-o",
                  "/dev/null", "-e", "trace=" + call, "-e",
                  "inject=%s:error=EAGAIN:when=%d" % (call, when),
                  door.libexec / "dma-become", *args)
    if args[0] == "local" and when == 2:
        when = 0  # strace counts for each process: the child has a first one
    if when:
        assert agent.receive()[0] == 0
        assert agent.finish() in (SYSTEM, NO_RIGHTS)
    else:
        agent.finish()
    assert os.listdir(door.out) == [] and door.names() == []


# ---- dma-become: a recipient ----

def child_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid),
              encoding="ascii") as file:
        return int(file.read())


def ids(pid, key="Uid", base=10):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        for line in file:
            if line.startswith(key + ":"):
                return [int(x, base) for x in line.split()[1:]]
    return None


@as_root
@pytest.mark.rows("D-22")
def test_delivers_to_another_user(door):
    bob = pwd.getpwnam("bob")
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert door.names() == ["bob", "bob.lock"]
    assert (door.mail / "bob.lock").read_text() == "%d\n" % agent.pid
    child = child_of(agent.pid)
    assert ids(child) == [bob.pw_uid] * 4
    assert ids(child, "Gid") == [bob.pw_gid] * 4
    assert set(ids(child, "Groups")) <= {bob.pw_gid}
    with open("/proc/%d/environ" % child, encoding="ascii") as file:
        assert file.read() == "PATH=/usr/bin:/bin\0"
    # The waiting parent holds no data: /dev/null, the directory, and the
    # socket over which it is asked for the lock.
    held = [os.readlink("/proc/%d/fd/%s" % (agent.pid, fd))
            for fd in os.listdir("/proc/%d/fd" % agent.pid)]
    assert sum(x.startswith("socket:") for x in held) == 1
    assert {x for x in held if not x.startswith("socket:")} == {
        "/dev/null", str(door.mail)}
    assert ids(agent.pid) == [0] * 4
    assert agent.finish() == 0
    st = (door.mail / "bob").stat()
    assert (st.st_uid, st.st_gid) == (bob.pw_uid, door.mail_gid())
    assert stat.S_IMODE(st.st_mode) == 0o660
    assert door.names() == ["bob"]


@as_root
@pytest.mark.rows("V-26", "S-05")
def test_caller_cannot_reach_it(door):
    """Neither the one that waits nor the one that writes."""
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    pids = agent.pid, child_of(agent.pid)
    checker = os.fork()
    if checker == 0:
        uid, reached = pwd.getpwnam("alice").pw_uid, 0
        os.setresuid(uid, uid, uid)
        for pid in pids:
            for number in (signal.SIGSTOP, signal.SIGKILL, 0):
                try:
                    os.kill(pid, number)
                    reached = 1
                except PermissionError:
                    pass
        os._exit(reached)
    assert os.waitpid(checker, 0)[1] == 0
    assert agent.finish() == 0


@as_root
@pytest.mark.parametrize("owner, mode", [
    (None, None), ("root", 0o660), ("root", 0o620), ("mail", 0o600)])
@pytest.mark.rows("L-15")
def test_root_is_delivered_as_user(door, owner, mode):
    mail, path = pwd.getpwnam("mail"), door.mail / "root"
    if owner:
        path.write_bytes(b"From old\n\nold")
        os.chown(path, pwd.getpwnam(owner).pw_uid, door.mail_gid())
        os.chmod(path, mode)
    agent = door.become("local", "root").start("root")
    result, = agent.deliver(door.message())
    assert result.outcome == SENT, result
    child = child_of(agent.pid)
    assert ids(child) == [mail.pw_uid] * 4
    assert ids(child, "Gid") == [door.mail_gid()] * 4
    assert agent.finish() == 0
    st = path.stat()
    assert st.st_uid == pwd.getpwnam(owner or "root").pw_uid
    assert st.st_gid == door.mail_gid()
    assert stat.S_IMODE(st.st_mode) == (mode or 0o660)
    text = path.read_bytes()
    assert text.startswith(b"From old\n\nold\n\nFrom bob@" if owner
                           else b"From bob@")
    assert door.names() == ["root"]


@as_root
@pytest.mark.parametrize("group, mode", [
    ("mail", 0o600), ("mail", 0o640), ("root", 0o660)])
def test_mailbox_of_root_that_user_may_not_write(door, group, mode):
    """It is not given other rights; the deferral says what to do."""
    path = door.mail / "root"
    path.write_bytes(b"old\n")
    os.chown(path, 0, door.mail_gid() if group == "mail" else 0)
    os.chmod(path, mode)
    before = path.stat()
    agent = door.become("local", "root").start("root")
    result, = agent.deliver(door.message())
    assert (result.outcome, result.dsn) == (DEFER, "4.2.0")
    assert result.text == ("cannot open the mailbox %s: Permission denied "
                           "(chmod 660, chgrp mail)" % path)
    assert agent.finish() == 0
    assert path.read_bytes() == b"old\n"
    assert path.stat()[:6] == before[:6]


@as_root
@pytest.mark.parametrize("name", ["Bob", "BOB", "bOb"])
def test_name_in_another_case(door, name):
    """It is bob who gets it, in the one mailbox and under the one lock."""
    agent = door.become("local", name).start(name)
    assert agent.deliver(door.message())[0].outcome == SENT
    assert door.names() == ["bob", "bob.lock"]
    child = child_of(agent.pid)
    with open("/proc/%d/cmdline" % child, "rb") as file:
        assert file.read() == b"dma-local\0--user\0bob\0"
    assert agent.finish() == 0
    assert (b"\nDelivered-To: bob@client.example\n"
            in (door.mail / "bob").read_bytes())
    assert door.names() == ["bob"]


@as_root
def test_name_as_it_is_given_comes_first(door):
    user = pwd.getpwnam("Debian-exim")
    agent = door.become("local", "Debian-exim").start("debian-EXIM")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0
    assert door.names() == ["Debian-exim"]
    assert (door.mail / "Debian-exim").stat().st_uid == user.pw_uid
    # There is no account of this name in lower case.
    assert door.become("local", "DEBIAN-EXIM").finish() == NO_USER


@as_root
@pytest.mark.parametrize("name", [
    "nobody-of-that-name", "", ".", "..", "../bob", "bob/", "/bob", "-bob",
    ".bob", "BOBB", "bob ", " bob", "bob\n", "b" * 33, "b" * 1024, "0",
    "54322", "postdrop", "bob:x", "*", "%s%n", "bob,alice"])
@pytest.mark.rows("V-31", "L-85")
def test_no_such_user(door, name):
    assert door.become("local", name).finish() == NO_USER
    assert door.names() == []


@as_root
@pytest.mark.parametrize("missing, args, status", [
    ("mail", ("local", "root"), SYSTEM), ("mail", ("smtp",), SYSTEM),
    ("dmatest", ("smtp",), NOT_ALLOWED)])
def test_our_own_users_are_missing(door, missing, args, status):
    """Our trouble, not the recipient's: nothing fails for it."""
    accounts = house.ROOT_SCRATCH / "etc" / "passwd"
    before = accounts.read_text()

    def without():
        accounts.write_text("".join(
            line for line in before.splitlines(True)
            if not line.startswith(missing + ":")))

    try:
        assert door.become(*args, prepare=without).finish() == status
    finally:
        accounts.write_text(before)
    assert door.names() == []


# The steps of dma-become, in the order that the design gives them; what must
# come between none of them stands in the test.
ENTER = (
    r"close_range\(4, ", r"rt_sigaction\(SIGHUP, .*SIG_DFL",
    r"rt_sigprocmask\(SIG_SETMASK, \[\]", r"setitimer\(ITIMER_REAL, ",
    r"setitimer\(ITIMER_PROF, ", r"umask\(077\)", r"prlimit64\(0, RLIMIT_CORE",
    r"prctl\(PR_SET_DUMPABLE, SUID_DUMP_DISABLE\)")
LEAVE = (
    r"getsockname\(3, \{sa_family=AF_UNIX", r"setresuid\(0, 0, 0\) += 0",
    r"setresgid\(0, 0, 0\) += 0", r"setgroups\(0, NULL\) += 0", r"setsid\(\)",
    r"chdir\(\"/\"\) += 0", r"dup2\(\d+, 0\)", r"dup2\(\d+, 1\)",
    r"dup2\(\d+, 2\)", r"openat\(AT_FDCWD, \"/dev/tty\".* = -1",
    r"sched_setscheduler\(0, SCHED_OTHER", r"setpriority\(PRIO_PROCESS, 0, 0\)",
    *(r"prlimit64\(0, RLIMIT_%s, \{" % name for name in (
        "FSIZE", "CPU", "AS", "DATA", "STACK", "NOFILE", "NPROC")))
LOOK_UP = (r"/etc/passwd", r"/etc/group", r"/dma\.conf\"", r"socketpair\(AF_UNIX",
           r"clone\(|fork\(")
DROP = (r"setgroups\(1, \[%d\]\) += 0", r"setresgid\(%d, %d, %d\) += 0",
        r"setresuid\(%d, %d, %d\) += 0",
        *[r"setres[ug]id\(-1, 0, -1\) += -1 EPERM"] * 6, r"execve\(")
LOCK = (r"read\(4, \"", r"openat\(AT_FDCWD, \".*/mail\"",
        r"\"bob\.lock\.?[^\"]*\"", r"\"bob\"", r"write\(4, \"\\0\"",
        r"unlinkat\(\d+, \"bob\.lock\"", r"exit_group\(0\)")
QUIET = re.compile(r"get[ug]id|gete[ug]id|prlimit64\(0, RLIMIT_CORE|"
                   r"PR_SET_DUMPABLE|SIG[A-Z]+ |\+\+\+|fcntl\(4, F_SETFD, 0|"
                   r"dup2\(5, 4\)|set_robust_list")


def traced(path):
    """{process: its calls, whole and in order}; that which began first is
    dma-become's."""
    calls, begun = {}, {}
    for line in path.read_text().splitlines():
        pid, call = line.split(None, 1)
        if call.endswith(" <unfinished ...>"):
            begun[pid] = call[:-len(" <unfinished ...>")]
            continue
        if call.startswith("<... "):
            call = begun.pop(pid) + call.split(" resumed>", 1)[1]
        calls.setdefault(pid, []).append(call)
    return list(calls.values())


def in_order(calls, patterns):
    """Where each is first found behind the one before it."""
    at, places = -1, []
    for pattern in patterns:
        found = [n for n in range(at + 1, len(calls))
                 if re.search(pattern, calls[n])]
        assert found, "%s does not follow\n%s" % (
            pattern, "\n".join(calls[max(at, 0):at + 60]))
        at = found[0]
        places.append(at)
    return places


@as_root
@pytest.mark.skipif(SANITIZED or not shutil.which("strace"),
                    reason="strace is not here, or would see a sanitizer")
@pytest.mark.rows("V-24", "S-02")
def test_order_of_its_steps(door):
    """Nothing is looked up before the caller's signals, limits and terminal
    are gone; no lock is there before it is asked for; whoever is executed is
    nobody else before that, and can be nobody again."""
    bob = pwd.getpwnam("bob")
    trace = door.out / "trace"
    agent = Agent(shutil.which("strace"), "-f", "-qq", "-u", "mail", "-o",
                  trace, door.libexec / "dma-become", "local", "bob")
    result, = agent.start("bob").deliver(door.message())
    assert result.outcome == SENT, result
    assert agent.finish() == 0
    parent, child = traced(trace)
    parent = parent[in_order(parent, ENTER)[0]:]  # the loader did the rest
    steps = ENTER + LEAVE + LOOK_UP
    places = in_order(parent, steps + LOCK)
    looked_up = places[len(ENTER + LEAVE)]
    opened = {re.search(r'"([^"]*)"', c)[1] for c in parent[:looked_up]
              if c.startswith(("open", "stat", "access", "newfstatat"))
              and '"' in c and '""' not in c}
    assert opened <= {"/dev/null", "/dev/tty", "/etc/nsswitch.conf", "/",
                      "/etc/suid-debug"}, opened
    asked = places[len(steps)]
    assert not [c for c in parent[:asked] if str(door.mail) in c or
                ".lock" in c]
    drop = [p.replace("%d", str(bob.pw_uid)) for p in DROP]
    end = in_order(child, drop)[-1]
    others = [c for c in child[:end] if not QUIET.search(c)
              and not any(re.search(p, c) for p in drop)]
    assert others == []
    assert child[end].split("execve(")[1].startswith(
        '"%s/dma-local"' % door.libexec)


def signals(pid, key):
    mask, = ids(pid, key, 16)
    return {number for number in range(1, 65) if mask & 1 << number - 1}


@as_root
@pytest.mark.rows("V-13", "V-16", "V-23")
@pytest.mark.parametrize("where", ["gone", "mode 0"])
def test_recipient_has_nothing_of_the_caller(door, where):
    """Descriptors, ignored and blocked signals, a directory that is gone:
    neither the one that waits nor the one that writes has them."""
    read, write = os.pipe()
    cwd = door.out / "cwd"
    cwd.mkdir()

    def hostile():
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
        for fd in (5, 9, 200, 1000):
            os.dup2(write, fd)
        os.chdir(cwd)
        os.rmdir(cwd) if where == "gone" else os.chmod(cwd, 0)

    agent = door.become("local", "bob", prepare=hostile)
    os.close(write)
    assert agent.start("bob").deliver(door.message())[0].outcome == SENT
    assert os.read(read, 1) == b"", "somebody still holds it"
    os.close(read)
    for pid in (agent.pid, child_of(agent.pid)):
        allowed = {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP}
        if pid == agent.pid:
            allowed |= {signal.SIGINT, signal.SIGTERM}
        assert signals(pid, "SigIgn") <= allowed
        # Between two deliveries: in one, those of a polite end wait.
        wait_for(lambda: not signals(pid, "SigBlk"), "none to be blocked")
        assert os.readlink("/proc/%d/cwd" % pid) == "/"
        assert os.getsid(pid) == agent.pid
    assert agent.finish() == 0
    assert door.names() == ["bob"]


def refused(door, name, why):
    agent = door.become("local", name).start(name)
    result, = agent.deliver(door.message())
    assert (result.outcome, result.dsn) == (DEFER, "4.2.0")
    assert why in result.text
    assert agent.finish() == 0


def plant_symlink(path, other):
    os.symlink(other, path)


def plant_dangling(path, other):
    os.symlink(str(other) + ".missing", path)


def plant_hard_link(path, other):
    os.link(other, path)


def plant_fifo(path, _):
    os.mkfifo(path, 0o666)
    chown_to_bob(path)


def plant_directory(path, _):
    os.mkdir(path)
    chown_to_bob(path)


def plant_socket(path, _):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
    chown_to_bob(path)


def plant_other_owner(path, _):
    path.write_bytes(b"")


def plant_device(path, _):
    os.mknod(path, 0o660 | stat.S_IFCHR, os.makedev(1, 3))
    chown_to_bob(path)


def chown_to_bob(path):
    os.chown(path, pwd.getpwnam("bob").pw_uid, Place.mail_gid())


@as_root
@pytest.mark.parametrize("plant", [
    plant_symlink, plant_dangling, plant_hard_link, plant_fifo,
    plant_directory, plant_socket, plant_other_owner, plant_device],
    ids=lambda plant: plant.__name__)
@pytest.mark.rows("V-29", "V-30", "L-75", "S-08", "D-17", "D-18")
def test_planted_mailbox(door, plant):
    other = door.out / "precious"
    other.write_bytes(b"precious\n")
    chown_to_bob(other)
    if plant is plant_hard_link:
        other = door.mail / "another"
        other.write_bytes(b"precious\n")
        chown_to_bob(other)
    plant(door.mail / "bob", other)
    before = os.lstat(door.mail / "bob")
    refused(door, "bob", UNUSABLE)
    assert os.lstat(door.mail / "bob")[:6] == before[:6]
    assert other.read_bytes() == b"precious\n"
    assert not (door.mail / "bob.lock").exists()
    assert not os.path.lexists(str(other) + ".missing")


@as_root
@pytest.mark.rows("V-30", "L-82")
def test_mail_directory_where_others_may_replace(door):
    os.chmod(door.mail, 0o777)
    refused(door, "bob", UNUSABLE)
    assert door.names() == []


@as_root
@pytest.mark.parametrize("mode", [0o1777, 0o755, 0o2775])
@pytest.mark.rows("V-30", "L-82")
def test_mode_of_mail_directory(door, mode):
    os.chmod(door.mail, mode)
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0
    assert door.names() == ["bob"]


@as_root
@pytest.mark.rows("L-82")
def test_mail_directory_missing_or_linked(door):
    shutil.move(door.mail, door.top / "elsewhere")
    try:
        refused(door, "bob", UNUSABLE)
        os.symlink(door.top / "elsewhere", door.mail)
        agent = door.become("local", "bob").start("bob")
        assert agent.deliver(door.message())[0].outcome == SENT
        assert agent.finish() == 0
    finally:
        if door.mail.is_symlink():
            door.mail.unlink()
        shutil.rmtree(door.top / "elsewhere")


@as_root
def test_mailbox_left_half_made(door):
    """By a power cut, before it was given to its user."""
    (door.mail / ".bob.new").write_bytes(b"")
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0
    assert door.names() == ["bob"]


def make_lock(door, age, text="4711\n"):
    path = door.mail / "bob.lock"
    path.write_text(text)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@as_root
@pytest.mark.rows("L-79")
def test_stale_lock(door):
    make_lock(door, 600)
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0
    assert door.names() == ["bob"]


@as_root
def test_lock_that_is_dropped(door):
    path = make_lock(door, 0)
    agent = door.become("local", "bob").start("bob")
    agent.hand_over(door.message())
    time.sleep(0.3)
    path.unlink()
    assert agent.results(1)[0].outcome == SENT
    assert agent.finish() == 0


@as_root
def test_locks_that_stay(door):
    """All at once, since each is waited for as long as any may take."""
    make_lock(door, 0)
    (door.mail / "alice.lock").mkdir()
    # Old, but it is the mailbox of somebody who is called so.
    text = "From a\n\n" + "b" * 100
    other = door.mail / "dmatest.lock"
    other.write_text(text)
    os.utime(other, (0, 0))
    agents = [door.become("local", name).start(name)
              for name in ("bob", "alice", "dmatest")]
    for agent in agents:
        agent.sock.settimeout(60)
        agent.hand_over(door.message())
        agent.hand_over(door.message(), 2)
    for number in 1, 2:  # what it could not have it does not wait for again
        for agent in agents:
            result, = agent.results(number)
            assert (result.outcome, result.dsn) == (DEFER, "4.2.0")
            assert LOCKED in result.text
    assert [agent.finish(60) for agent in agents] == [0] * 3
    assert door.names() == ["alice.lock", "bob.lock", "dmatest.lock"]
    assert other.read_text() == text


@as_root
@pytest.mark.rows("V-21")
def test_busy_agent_gives_the_lock_back(door):
    """There is always a next job, and no pause in which to ask for it: in the
    time that others wait for the lock it is free for a moment."""
    def lock():
        try:
            return (door.mail / "bob.lock").stat().st_ino
        except FileNotFoundError:
            return None

    path = door.message()
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(path)[0].outcome == SENT
    first, end, done = lock(), time.monotonic() + 20, 1
    assert first is not None
    for number in range(2, 2 + AHEAD):
        agent.hand_over(path, number)
    while lock() == first:
        assert time.monotonic() < end, "%d messages, one lock" % done
        done += 1
        assert agent.results(done)[0].outcome == SENT
        agent.hand_over(path, done + AHEAD)
    for number in range(done + 1, done + AHEAD + 1):
        assert agent.results(number)[0].outcome == SENT
    assert agent.finish() == 0
    assert door.names() == ["bob"]


@as_root
def test_lock_that_is_another_s_by_now(door):
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    (door.mail / "bob.lock").unlink()
    make_lock(door, 0, "1\n")
    assert agent.finish() == 0
    assert (door.mail / "bob.lock").read_text() == "1\n"


@as_root
def test_agent_that_is_killed(door):
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    os.kill(child_of(agent.pid), signal.SIGKILL)
    assert agent.receive()[0] == 0
    assert agent.finish() == 128 + signal.SIGKILL
    assert door.names() == ["bob"]


@as_root
def test_service_that_is_stopped(door):
    """Everything of a service gets SIGTERM; no lock may stay behind."""
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    for pid in (agent.pid, child_of(agent.pid)):
        os.kill(pid, signal.SIGTERM)
    assert agent.finish() == 128 + signal.SIGTERM
    assert door.names() == ["bob"]


@as_root
@pytest.mark.rows("L-76")
def test_mailbox_swapped_while_open(door):
    """The recipient's agent writes to what has the name, as recipient."""
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    other = door.out / "precious"
    other.write_bytes(b"precious\n")
    chown_to_bob(other)
    (door.mail / "bob").unlink()
    os.symlink(other, door.mail / "bob")
    result, = agent.deliver(door.message(), 2)
    assert result.outcome == DEFER
    (door.mail / "bob").unlink()
    result, = agent.deliver(door.message(), 3)
    assert (result.outcome, result.dsn) == (DEFER, "4.2.0")
    assert agent.finish() == 0
    assert other.read_bytes() == b"precious\n"
    agent = door.become("local", "bob").start("bob")
    assert agent.deliver(door.message())[0].outcome == SENT
    assert agent.finish() == 0


# ---- With a runner ----

@as_root
def test_local_names_match_in_any_case(system):
    system.submit("Bob", "BOB@client.example", text="Subject: one\n\nx\n")
    system.wait_delivered()
    found = system.mailbox("bob")
    assert {m["Subject"] for m in found} == {"one"}
    assert {m["Delivered-To"] for m in found} == {"bob@client.example"}
    system.wait_idle()
    assert os.listdir(system.maildir) == ["bob"]


@as_root
@pytest.mark.parametrize("user, owner, mode, cure", [
    ("bob", "alice", 0o660,
     "must be a file with one link that belongs to its user"),
    ("root", "alice", 0o660, r"root's: chmod 660, chgrp mail"),
    ("root", "root", 0o600,
     r"Permission denied \(chmod 660, chgrp mail\)")])
def test_log_says_what_to_do(system, user, owner, mode, cure):
    path = system.maildir / user
    path.write_bytes(b"old\n")
    os.chown(path, pwd.getpwnam(owner).pw_uid, 0)
    os.chmod(path, mode)
    system.submit(user, text="Subject: one\n\nx\n")
    wait_for(lambda: system.logged("status=deferred.*" + cure),
             "a deferral that says what to do")
    wait_for(lambda: cure.replace("\\", "") in system.mailq(user="root"),
             "the same in the list of the queue")
    assert path.read_bytes() == b"old\n"
    path.unlink()
    system.flush(user="root")
    system.wait_delivered()
    assert len(system.mailbox(user)) == 1
