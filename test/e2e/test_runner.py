# SPDX-License-Identifier: BSD-3-Clause
"""The runner among agents that crash, hang, lie, or never begin.

A private instance gets a dma-smtp of the test's own: a script that speaks
the records of job.h.  Whatever it does, no message may be lost, bounced
without a reason, held for ever, or tried again and again without a pause.
"""

import fcntl
import os
import pwd
import re
import resource
import shutil
import subprocess
import time

import pytest

import house
from instance import processes, wait_for

PRELUDE = r'''#!/usr/bin/python3 -IS
import os, signal, socket, struct, sys, time

HERE = os.path.dirname(sys.argv[0])
SENT, FAIL, DEFER, UNTRIED = 1, 2, 0, 4
UNREACHABLE, AUTH, BUSY, NO_NETWORK = 0, 2, 3, 4
pair = socket.socket(fileno=3)


def u32(n):
    return struct.pack(">I", n)


def string(text):
    return u32(len(text)) + text.encode()


def outcome(kind, dsn, text):
    return (u32(kind) + u32(0) + string(dsn) + string("") + string(text)
            + u32(0) * 2)


def send(*parts):
    try:
        pair.send(b"".join(parts))
    except OSError:
        sys.exit(0)


def ready():
    send(u32(3))


def greeted():
    send(u32(4))


def result(job, recipient, kind, text="250 2.0.0 ok"):
    send(u32(5), u32(job), u32(recipient),
         outcome(kind, {SENT: "2.0.0", FAIL: "5.0.0"}.get(kind, "4.0.0"),
                 text))


def done(job):
    send(u32(6), u32(job))


def hop_failed(why, kind=DEFER, text="no answer"):
    send(u32(7), u32(why), outcome(kind, "4.4.1", text))


def note(text):
    with open(HERE + "/notes", "a") as notes:
        notes.write(text + "\n")


def first():
    """True for the first agent that asks."""
    try:
        os.close(os.open(HERE + "/first", os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


class Job:
    def __init__(self, packet, fd):
        self.fd, self.at, self.packet = fd, 4, packet
        self.number = self.u32()
        self.id = self.string()
        self.string(), self.u32(), self.string(), self.u32()
        self.at += 16
        self.recipients = []
        for _ in range(self.u32()):
            self.recipients.append(self.u32())
            for _ in range(4):
                self.string()
            self.u32()

    def u32(self):
        self.at += 4
        return struct.unpack(">I", self.packet[self.at - 4:self.at])[0]

    def string(self):
        length = self.u32()
        self.at += length
        return self.packet[self.at - length:self.at].decode()

    def answer(self, kind, text="250 2.0.0 ok"):
        note("job %s %d" % (self.id, len(self.recipients)))
        for number in self.recipients:
            result(self.number, number, kind, text)
        done(self.number)


def receive():
    """A job; None for the hop; the end of the agent at end of file."""
    packet, fds, _, _ = socket.recv_fds(pair, 1 << 18, 2)
    if not packet:
        sys.exit(0)
    if packet[:4] == u32(1):
        return None
    return Job(packet, fds[0])


note("start")
'''

WORKING = """
ready()
receive()
greeted_yet = False
while True:
    job = receive()
    if not greeted_yet:
        greeted()
        greeted_yet = True
    job.answer(SENT)
    os.close(job.fd)
"""


class Agent:
    def __init__(self, private):
        self.private = private
        self.directory = private.directory / "libexec"
        self.directory.mkdir()
        private.own(self.directory)
        shutil.copy(private.bin / "dma-local", self.directory)
        self.path = self.directory / "dma-smtp"
        self.configure()

    def configure(self, **keys):
        keys.setdefault("LIBEXECDIR", self.directory)
        keys.setdefault("SMARTHOST", "relay.example")
        self.private.configure(**keys)

    def does(self, code):
        fresh = self.directory / "fresh"
        self.private.write(fresh, PRELUDE + code, 0o755)
        os.rename(fresh, self.path)
        for name in ("first", "notes"):
            (self.directory / name).unlink(missing_ok=True)

    def notes(self):
        try:
            return (self.directory / "notes").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def starts(self):
        return self.notes().count("start")


@pytest.fixture
def agent(private):
    return Agent(private)


def flush(private, bound=15, **more):
    """-q must end, and leaves nothing behind that works on."""
    process = private.popen("-q", **more)
    try:
        out, err = process.communicate(b"", bound)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("-q does not end:\n" + private.log()[-2000:])
    assert process.returncode == 0, err
    assert b"AddressSanitizer" not in err, err.decode()
    return out


def queue_some(private, count, *to, **more):
    for _ in range(count):
        private.submit("-odq", *(to or ("b@x.example",)), **more)


# ---- Agents that crash ----

@pytest.mark.rows("V-55", "S-12")
def test_what_crashed_its_agent_is_still_delivered(private, agent):
    """After three crashes it travels alone, but to the same place."""
    agent.does("ready()\nreceive()\nreceive()\n"
               "os.kill(os.getpid(), signal.SIGSEGV)\n")
    queue_some(private, 1)
    for _ in range(4):
        flush(private)
    assert len(private.queue()) == 1
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []
    assert private.logged(r"status=sent")


def test_mail_to_a_user_that_crashed_its_agent(private, agent):
    (agent.directory / "dma-local").unlink()
    real = private.bin / "dma-local"
    private.write(agent.directory / "dma-local",
                  PRELUDE + "ready()\nreceive()\nreceive()\n", 0o755)
    queue_some(private, 1, private.user)
    for _ in range(4):
        flush(private)
    assert len(private.queue()) == 1
    (agent.directory / "dma-local").unlink()
    shutil.copy(real, agent.directory)
    flush(private)
    assert private.queue() == [] and len(private.mbox()) == 1
    assert not private.logged(r"status=bounced")


def test_an_agent_that_ends_before_its_first_job(private, agent):
    agent.does("ready()\n")
    queue_some(private, 3)
    flush(private)
    assert agent.starts() < 10
    assert len(private.queue()) == 3
    assert private.log().count("status=deferred") == 3


def test_no_agent_there_at_all(private, agent):
    queue_some(private, 3)
    flush(private)
    assert len(private.queue()) == 3
    assert private.log().count("status=deferred") == 3
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []


def test_only_the_message_at_work_is_suspected(private, agent):
    """The others that a crashed agent had in hand cost no attempt."""
    agent.does("""
ready()
receive()
receive()
greeted()
pair.settimeout(0.3)
try:
    receive(), receive()
except TimeoutError:
    pass
os.kill(os.getpid(), signal.SIGKILL)
""")
    agent.configure(AGENTS_PER_HOST=1)
    queue_some(private, 3)
    flush(private)
    assert private.log().count("ended by signal 9)") == 3
    assert private.log().count("status=deferred") == 3
    assert agent.starts() == 3
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []


# ---- Agents that lie ----

@pytest.mark.parametrize("kind", ["SENT", "FAIL"])
def test_a_failed_hop_only_ever_defers(private, agent, kind):
    """Or one agent could lose, or bounce, all mail of its next hop."""
    agent.does("ready()\nreceive()\nreceive()\n"
               "hop_failed(UNREACHABLE, %s, 'mine')\n" % kind)
    queue_some(private, 5)
    flush(private)
    assert len(private.queue()) == 5
    assert not private.logged(r"status=(sent|bounced)")
    assert agent.starts() < 5


LIES = {
    "another's recipient": "result(job.number, 77, SENT)",
    "another's job": "result(job.number + 1, 0, SENT)",
    "no such job": "done(99)",
    "ready twice": "ready()",
    "garbage": "send(b'garbage garbage')",
    "nothing": "send(b'')",
    "cut": "send(u32(5), u32(1))",
    "too long": "send(u32(5), b'x' * 200000)",
    "not printable": "result(job.number, 0, DEFER, 'a\\0b\\n250 c')",
    "no such class": "result(job.number, 0, 9)",
    "a descriptor": "socket.send_fds(pair, [b'x'], [0, 1, 2])",
    "done without a result": "done(job.number)",
    "a trace nobody wants": "send(u32(8), string('250 ok'))",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda s: s.replace(" ", "-"))
@pytest.mark.rows("V-02", "S-13")
def test_lies(private, agent, lie):
    agent.does("ready()\nreceive()\njob = receive()\n" + LIES[lie]
               + "\ntime.sleep(0.3)\n")
    queue_some(private, 1)
    flush(private)
    assert len(private.queue()) == 1
    assert agent.starts() < 4
    assert not private.logged(r"status=(sent|bounced)")
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []


def test_second_result_is_not_heard(private, agent):
    agent.does("ready()\nreceive()\njob = receive()\n"
               "result(job.number, 0, SENT)\njob.answer(FAIL)\n")
    queue_some(private, 1)
    flush(private)
    assert private.queue() == []
    assert not private.logged(r"status=bounced")


@pytest.mark.rows("S-13")
def test_random_records(private, agent):
    """Valid ones bent at random, and noise: the runner outlives them.  Now
    and then one is a lie that it cannot see through."""
    agent.does("""
import random
ready()
receive()
job = receive()
random.seed(os.getpid())
bend = random.choice
for _ in range(400):
    good = [u32(3), u32(4), u32(6) + u32(job.number), u32(8) + string("x"),
            u32(5) + u32(job.number) + u32(0) + outcome(DEFER, "4.0.0", "x"),
            u32(7) + u32(0) + outcome(DEFER, "4.4.1", "x")]
    record = bytearray(bend(good))
    for _ in range(random.randrange(1, 4)):
        at = random.randrange(len(record) + 1)
        how = random.randrange(4)
        if how == 0:
            del record[at:]
        elif how == 1:
            record[at:at] = random.randbytes(random.randrange(1, 40))
        elif how == 2 and at < len(record):
            record[at] ^= 1 << random.randrange(8)
        elif at + 4 <= len(record):
            record[at:at + 4] = bend([b"\\xff" * 4, u32(0), u32(1 << 31)])
        record = record or bytearray(b"\\0")
    send(bytes(record))
""")
    queue_some(private, 3)
    for _ in range(20):
        flush(private)
    settled = re.findall("status=(?:sent|bounced)", private.log())
    assert len(private.queue()) + len(settled) == 3
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []


# ---- Agents that hang ----

def test_an_agent_that_is_never_ready(private, agent):
    agent.configure(TIMEOUTS=1)
    agent.does("time.sleep(60)\n")
    queue_some(private, 3)
    flush(private, 20)
    assert len(private.queue()) == 3
    assert private.log().count("status=deferred") == 3
    wait_for(lambda: "dma-smtp" not in processes().values(),
             "the agent that hangs to be ended")


def test_an_agent_that_never_answers(private, agent):
    """It holds what it was given, and for so long; other mail goes."""
    agent.configure(TIMEOUTS=1)
    agent.does("""
ready()
receive()
if first():
    receive()
    time.sleep(60)
greeted()
while True:
    receive().answer(SENT)
""")
    queue_some(private, 6)
    flush(private, 40)
    assert len(private.queue()) <= 3
    assert private.log().count("status=sent") >= 3
    assert not private.logged(r"status=bounced")


# ---- Next hops that fail ----

def test_rest_of_a_message_when_the_hop_fails(private, agent):
    """Its first hundred are under way when another agent finds no relay."""
    agent.does("""
ready()
receive()
mine = False
while True:
    job = receive()
    if len(job.recipients) == 100:
        mine = first()
        time.sleep(1)
        greeted()
    elif os.path.exists(HERE + "/first") and not mine:
        time.sleep(0.2)
        hop_failed(UNREACHABLE)
        sys.exit(0)
    job.answer(SENT)
    time.sleep(0.02)
""")
    queue_some(private, 10)
    queue_some(private, 1, *["b%d@x.example" % n for n in range(150)])
    queue_some(private, 10)
    flush(private)
    assert private.log().count("status=sent") >= 100
    assert (private.log().count("status=sent")
            + private.log().count("status=deferred")) == 170


def test_greeted_and_refused_for_ever(private, agent):
    """Each agent is greeted and then told to go away, all overlapping."""
    agent.does("""
ready()
receive()
receive()
greeted()
time.sleep(0.2)
hop_failed(UNREACHABLE)
""")
    queue_some(private, 60)
    began = time.monotonic()
    flush(private, 40)
    assert agent.starts() < 60
    assert time.monotonic() - began < 30
    assert len(private.queue()) == 60


def test_other_agents_end_their_work_when_there_is_no_network(
        private, agent):
    """What was delivered meanwhile is not delivered again."""
    agent.does("""
ready()
receive()
job = receive()
if first():
    greeted()
    time.sleep(1)
    job.answer(SENT)
    sys.exit(0)
time.sleep(0.3)
hop_failed(NO_NETWORK)
""")
    queue_some(private, 4)
    flush(private)
    sent = [n.split()[1] for n in agent.notes() if n.startswith("job")]
    assert len(sent) == 1
    assert sent[0] not in private.queue()
    assert len(private.queue()) == 3


def test_next_of_the_list_when_the_first_fails(private, agent):
    agent.configure(SMARTHOST="one.example, two.example")
    agent.does("""
ready()
packet = pair.recv(1 << 17)
if b"one.example" in packet:
    receive()
    hop_failed(UNREACHABLE)
    sys.exit(0)
while True:
    receive().answer(SENT)
""")
    queue_some(private, 10)
    flush(private)
    assert private.queue() == []


def test_relay_without_its_credential_is_passed_over(private, agent):
    agent.configure(SMARTHOST="me@one.example, two.example")
    agent.does(WORKING)
    queue_some(private, 2)
    flush(private)
    assert private.queue() == []
    assert private.logged(
        r'AUTHPATH has no line "me\|one\.example:\.\.\."')


# ---- What a crash, another program or a person left ----

def change(private, old, new):
    """Edit the one queue file as a dead runner might have left it."""
    (name,) = private.queue()
    path = private.spool / name
    data = path.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new))


def run_due(private):
    """dmactl run: what cron starts."""
    result = private.run("run", name="dmactl")
    assert result.exit == 0, result
    private.wait_idle()


def test_run_honours_due_times_but_not_those_of_a_wrong_clock(
        private, agent):
    agent.does(WORKING)
    private.submit("-odq", "b@x.example")
    change(private, b"next 000000000000", b"next %012d" % (time.time() + 900))
    run_due(private)
    assert len(private.queue()) == 1 and agent.starts() == 0
    (name,) = private.queue()
    (private.spool / name).unlink()
    private.submit("-odq", "b@x.example")
    change(private, b"next 000000000000", b"next 099999999999")
    run_due(private)
    assert private.queue() == []


def test_held_message_is_left_alone(private, agent):
    agent.does(WORKING)
    private.submit("-odq", "b@x.example")
    change(private, b"hold 0", b"hold 1")
    run_due(private)
    flush(private)
    assert len(private.queue()) == 1 and agent.starts() == 0


def test_notice_owed_is_made_before_anything_is_tried(private, agent):
    agent.does("ready()\nreceive()\n"
               "receive().answer(DEFER, '451 4.0.0 later')\n")
    private.submit("-odq", "-f", private.user, "a@x.example", "b@x.example")
    change(private, b"R T 00000", b"R F 00000")
    flush(private)
    (notice,) = private.mbox()
    assert "a@x.example" in notice.as_string()
    assert len(private.queue()) == 1
    flush(private)
    assert len(private.mbox()) == 1


@pytest.mark.parametrize("status", ["S", "N", "R"])
def test_settled_message_is_removed_silently(private, agent, status):
    agent.does(WORKING)
    private.submit("-odq", "-f", private.user, "a@x.example")
    change(private, b"R T 00000", b"R %s 00000" % status.encode())
    flush(private)
    assert private.queue() == [] and private.mbox() == []
    assert agent.starts() == 0


def test_what_was_uncertain_is_tried_again(private, agent):
    agent.does(WORKING)
    private.submit("-odq", "a@x.example")
    change(private, b"R T 00000", b"R U 00000")
    flush(private)
    assert private.queue() == [] and private.logged("status=sent")


@pytest.mark.rows("V-55", "L-61", "L-62")
def test_damaged_message_is_kept_and_others_go(private, agent):
    agent.does(WORKING)
    private.submit("-odq", "a@x.example", text="Subject: x\n\nsecret\n")
    change(private, b"secret", b"sacred")
    queue_some(private, 2)
    flush(private)
    assert private.queue() == []
    assert [n[:4] for n in private.traces()] == ["bad."]


@pytest.mark.rows("L-70", "L-94")
def test_flush_waits_for_a_locked_message(private, agent):
    agent.does(WORKING)
    queue_some(private, 3)
    with open(private.spool / private.queue()[1], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        process = private.popen("-q")
        wait_for(lambda: len(private.queue()) == 1, "the others to go")
        time.sleep(0.2)
        assert process.poll() is None
    process.communicate(b"", 10)
    assert process.returncode == 0 and private.queue() == []


def test_all_slots_taken_by_other_runners(private, agent):
    """One agent is every runner's own, and goes from hop to hop."""
    agent.does(WORKING)
    agent.configure(AGENTS=2)
    held = []
    for number in (1, 2):
        path = private.spool / ("slot.%d" % number)
        private.write(path, "", 0o600)
        held.append(open(path, "rb"))
        fcntl.flock(held[-1], fcntl.LOCK_EX)
    queue_some(private, 10, private.user, "b@x.example")
    flush(private)
    assert private.queue() == [] and len(private.mbox()) == 10
    for file in held:
        file.close()


# ---- Errors and kills at system calls ----

def traced(private, inject, *args, text=b"Subject: x\n\ntext\n"):
    """Run sendmail under strace, which makes one of its calls fail."""
    account = pwd.getpwnam(private.user)
    more = {}
    if house.IS_ROOT:
        more = {"user": account.pw_uid, "group": account.pw_gid,
                "extra_groups": []}
    return subprocess.run(
        ["strace", "-qq", "-o", "/dev/null",
         "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
         private.bin / "sendmail", *private.first_args, *args],
        input=text, capture_output=True, timeout=30, check=False, **more)


@pytest.fixture
def strace(private):
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    done = traced(private, "fsync:error=EIO:when=999", "-bp", text=b"")
    if done.returncode != 0:
        pytest.skip("strace cannot trace here")


@pytest.mark.parametrize("call, errors, status", [
    ("fsync:when=1", "EIO ENOSPC EDQUOT", 74),
    ("fsync:when=2", "EIO", 74),
    ("renameat2:when=1", "EIO ENOSPC", 74),
    ("flock:when=1", "ENOLCK", 73),
    ("read:when=%d", "EIO", 74),
    ("write:when=%d", "EIO ENOSPC EFBIG", 74),
    ("openat:when=%d", "EMFILE ENOSPC EACCES", None),
])
@pytest.mark.rows("V-57", "L-28", "L-45")
def test_exit_0_if_and_only_if_it_is_queued(
        private, strace, call, errors, status):
    for error in errors.split():
        for when in range(1, 16):
            done = traced(private, (call % when if "%" in call else call)
                          .replace(":", ":error=%s:" % error, 1),
                          "-odq", "b@x.example")
            assert (done.returncode == 0) == (len(private.queue()) == 1), (
                error, when, done)
            if done.returncode not in (0, 127):  # 127: the loader's
                assert status is None or done.returncode in (status, 78)
                assert done.stderr.count(b"\n") == 1, done.stderr
            assert private.traces() == []
            for name in private.queue():
                (private.spool / name).unlink()
            if "%" not in call:
                break


@pytest.mark.parametrize("call", [
    "pwrite64", "unlinkat", "fsync", "fdatasync", "renameat2", "recvmsg"])
@pytest.mark.rows("V-58")
def test_killed_runner_loses_nothing(private, agent, strace, call):
    """Each is sent once or, killed before its result is written, twice; a
    notice comes of what failed."""
    agent.does("""
ready()
receive()
while True:
    job = receive()
    job.answer(FAIL if job.id.endswith(tuple("02468ACEGIKMOQSU")) else SENT)
    os.close(job.fd)
""")
    for when in (1, 2, 3, 5, 8):
        queue_some(private, 2, "-f", private.user, "b@x.example")
        names = private.queue()
        traced(private, "%s:signal=KILL:when=%d" % (call, when), "-q")
        flush(private)
        flush(private)
        assert private.queue() == [], when
        jobs = [n.split()[1] for n in agent.notes() if n.startswith("job")]
        failed = [n for n in names if n[-1] in "02468ACEGIKMOQSU"]
        for name in names:
            assert 1 <= jobs.count(name) <= 2, (when, name)
        notices = "".join(m.as_string() for m in private.mbox())
        for name in failed:
            assert name in notices, when


# ---- The runner itself ----

@pytest.mark.rows("L-60")
def test_retries_with_the_configuration_of_the_day(private, agent):
    """A runner that lives on loads it anew before each retry."""
    agent.configure(RETRY="1s")
    agent.does("ready()\nreceive()\n"
               "receive().answer(DEFER, '451 4.0.0 later')\n")
    private.submit("b@x.example")
    private.wait_deferred(3, 15)
    (agent.directory / "fresh").mkdir()
    other = agent.directory / "fresh" / "dma-smtp"
    private.write(other, PRELUDE + WORKING, 0o755)
    private.own(other.parent)
    agent.configure(RETRY="1s", LIBEXECDIR=other.parent)
    private.wait_delivered()
    private.wait_idle()


def test_few_descriptors_and_two_hops(private, agent):
    """More messages than may be open, each with two ways to go."""
    agent.does("ready()\nreceive()\ngreeted()\nwhile True:\n"
               "    job = receive()\n    time.sleep(0.02)\n"
               "    job.answer(SENT)\n    os.close(job.fd)\n")
    queue_some(private, 60, private.user, "b@x.example")

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    flush(private, 30, preexec_fn=few)
    assert private.queue() == []
    assert len(private.mbox()) == 60


def test_message_removed_by_hand_while_at_work(private, agent):
    agent.does("""
ready()
receive()
job = receive()
greeted()
os.unlink("%s/" + job.id)
job.answer(SENT)
while True:
    receive().answer(SENT)
""" % private.spool)
    queue_some(private, 1, *["b%d@x.example" % n for n in range(250)])
    flush(private)
    assert private.queue() == []


def test_notice_of_a_submission_in_the_foreground(private, agent):
    """-D tries once; the notice that follows is not left lying."""
    agent.does("ready()\nreceive()\n"
               "receive().answer(FAIL, '550 5.1.1 no such user')\n")
    private.submit("-D", "-f", private.user, "b@x.example")
    wait_for(private.mbox, "the notice")
    private.wait_delivered()
    private.wait_idle()


@pytest.mark.rows("L-16")
def test_ten_thousand_recipients_of_many_hops(private):
    """One message with an item at each of many hops, and all fail."""
    private.configure()
    names = ["b@d%d.invalid" % (n % 7) for n in range(2000)]
    names = ["u%d%s" % (n, name) for n, name in enumerate(names)]
    private.submit("-odq", *names)
    flush(private, 30)


def test_submissions_while_a_runner_ends(private, agent):
    """R1 to R6 and S1, S2: none is stranded, each is sent once."""
    agent.does(WORKING)
    for number in range(60):
        private.submit("b@x.example")
        if number % 3 == 0:
            time.sleep(0.25 + number % 7 * 0.005)
        if number >= 40 and number % 10 == 0:
            private.wait_idle()
    private.wait_delivered()
    jobs = [n for n in agent.notes() if n.startswith("job")]
    assert len(jobs) == len(set(jobs)) == 60


@pytest.mark.rows("V-14")
def test_limit_below_the_status_bytes_of_many_recipients(private, smtp):
    """A short message's file may be long: what was sent could not be noted,
    and somebody would get it again."""
    server = smtp.sink()
    private.relay(server)
    to = ["%05d%s@%s.example" % (n, "u" * 50, ".".join(["d" * 60] * 3))
          for n in range(5000)]
    private.submit("-odq", *to)
    (name,) = private.queue()
    most = (1 << 20) + 4096
    assert (private.spool / name).stat().st_size > most
    private.flush(preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (most, most)))
    assert server.messages == []
    assert private.logged("left to the system's run")
    assert private.queue() == [name]
    private.flush()
    private.wait_delivered()
    assert sum(len(m.recipients) for m in server.messages) == len(to)


def test_a_hop_for_each_of_many_recipients(private, agent):
    """Some hundred kilobytes of spool are not hundreds of megabytes of run."""
    agent.configure(SMARTHOST=None)
    agent.does("time.sleep(60)\n")
    for n in range(6):
        queue_some(private, 1, *["b@%d-%d.example" % (n, i)
                                 for i in range(10000)])
    with private.popen("-q", stderr=subprocess.DEVNULL) as process:
        wait_for(agent.starts, "an agent")
        with open("/proc/%d/status" % process.pid, encoding="ascii") as file:
            peak = next(x for x in file if x.startswith("VmHWM"))
        process.kill()
    if "DMA_BUILD" not in os.environ:  # the sanitized one is larger
        assert int(peak.split()[1]) < 64 * 1024


def test_more_that_is_due_than_stands_in_line(private, agent):
    agent.configure(SMARTHOST=None)
    agent.does(WORKING)
    queue_some(private, 4, *["u%d@%d.example" % (n, n % 2)
                             for n in range(10000)])
    flush(private, 60)
    assert private.queue() == []
    assert sum(int(n.split()[-1]) for n in agent.notes()
               if n.startswith("job ")) == 40000
