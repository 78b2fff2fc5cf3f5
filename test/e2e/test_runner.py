# SPDX-License-Identifier: BSD-3-Clause
"""The runner among agents that crash, hang, lie, or never begin.

A private instance gets a dma-smtp of the test's own: a script that speaks
the records of job.h.  Whatever it does, no message may be lost, bounced
without a reason, held for ever, or tried again and again without a pause.
"""

import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import time

import pytest

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
    return u32(kind) + string(dsn) + string("") + string(text) + u32(0) * 2


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
            self.string(), self.string(), self.string(), self.u32()

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
    agent.does("""
ready()
receive()
jobs = [receive()]
greeted()
jobs += [receive(), receive()]
os.kill(os.getpid(), signal.SIGKILL)
""")
    agent.configure(AGENTS_PER_HOST=1)
    queue_some(private, 3)
    flush(private)
    # The last agents are given fewer than three jobs, and wait for more.
    assert private.log().count("ended by signal 9") >= 1
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
}


@pytest.mark.parametrize("lie", LIES, ids=lambda s: s.replace(" ", "-"))
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
job = receive()
if not first():
    time.sleep(0.3)
    hop_failed(UNREACHABLE)
    sys.exit(0)
time.sleep(1)
greeted()
job.answer(SENT)
while True:
    receive().answer(SENT)
""")
    queue_some(private, 1, *["b%d@x.example" % n for n in range(150)])
    queue_some(private, 4)
    flush(private)
    assert private.log().count("status=sent") >= 100
    assert private.log().count("status=deferred") <= 54


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


# ---- The runner itself ----

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
    for number in range(120):
        private.submit("b@x.example")
        if number % 3 == 0:
            time.sleep(0.25 + number % 7 * 0.005)
        if number >= 60 and number % 10 == 0:
            private.wait_idle()
    private.wait_delivered()
    jobs = [n for n in agent.notes() if n.startswith("job")]
    assert len(jobs) == len(set(jobs)) == 120
