# SPDX-License-Identifier: BSD-3-Clause
"""When a message is tried: RETRY, LIFETIME, WARN; what costs nothing; clocks
that jump; who waits for whom."""

import fcntl
import os
import pathlib
import pwd
import re
import resource
import subprocess
import time

import pytest

import house
from instance import processes, wait_for
from test_runner import (WORKING, agent, flush, queue_some,  # noqa: F401
                         run_due, strace, traced)

DEFERRING = """
ready()
receive()
greeted()
while True:
    receive().answer(DEFER, '451 4.0.0 later')
"""
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


def state(private, name=None):
    """The envelope's fixed part, as numbers."""
    if name is None:
        (name,) = private.queue()
    data = (private.spool / name).read_bytes()[:200].decode("latin-1")
    return {key: int(value) for key, value in re.findall(
        r"\b(hold|warned|attempts|crashes|next) (\d+)", data)}


# ---- RETRY, LIFETIME ----

def test_steps_of_retry(private, agent):
    """The last one repeats; each is a tenth longer or shorter at most."""
    agent.configure(RETRY="10m 1h 2h")
    agent.does(DEFERRING)
    queue_some(private, 1)
    for number, minutes in enumerate([10, 60, 120, 120, 120], 1):
        before = int(time.time())
        flush(private)
        after = time.time()
        now = state(private)
        assert now["attempts"] == number
        assert (before + minutes * 54 <= now["next"]
                <= after + minutes * 66), (number, now, before)
    run_due(private)
    assert state(private)["attempts"] == 5


def test_flush_tries_all_and_run_what_is_due(private, agent):
    agent.does(DEFERRING)
    queue_some(private, 3)
    flush(private)
    queue_some(private, 1)
    run_due(private)
    attempts = sorted(state(private, n)["attempts"] for n in private.queue())
    assert attempts == [1, 1, 1, 1]
    flush(private)
    assert all(state(private, n)["attempts"] == 2 for n in private.queue())


@pytest.mark.rows("L-72", "L-100")
def test_not_given_up_before_it_was_tried(private, agent, clock):
    """Years old by a clock that was wrong, or a machine that was off."""
    agent.configure(RETRY="1m 5m 1h", WARN=0)
    agent.does(DEFERRING)
    clock.set(-40 * 365 * 86400)
    private.submit("-odq", "b@x.example", env=clock.env)
    clock.set(0)
    for number in range(3):
        flush(private)
        assert state(private)["attempts"] == number + 1
    assert not private.logged("status=bounced")
    flush(private)
    assert private.logged("status=bounced .expired, not delivered for too")
    (notice,) = private.mbox()
    assert "451 4.0.0 later" in notice.as_string()
    assert private.queue() == []


# ---- WARN ----

def report_of(notice):
    """The fields of the notice's second part, by recipient."""
    (part,) = [p for p in notice.walk()
               if p.get_content_type() == "message/delivery-status"]
    return part.as_string()


def test_sender_is_told_once_that_mail_is_delayed(private, smtp):
    relay = smtp.sink(answers={"MAIL": "451 4.7.1 not now"})
    private.relay(relay, RETRY="1s", WARN="1s")
    private.submit("-f", private.user, "a@x.example", "b@x.example")
    (notice,) = wait_for(private.mbox, "the notice")
    assert "is delayed" in notice["Subject"]
    assert notice["Auto-Submitted"] == "auto-replied"
    report = report_of(notice)
    assert report.count("Action: delayed") == 2
    assert report.count("Will-Retry-Until: ") == 2
    assert "451 4.7.1 not now" in report
    private.wait_deferred(private.log().count("status=deferred") + 6)
    assert len(private.mbox()) == 1
    assert private.log().count("sender delay notification") == 1
    relay.answers = {}
    private.wait_delivered()
    private.wait_idle()
    assert len(private.mbox()) == 1 and len(relay.messages) >= 1


def test_delayed_mail_that_fails_has_a_notice_of_its_own(private, smtp):
    relay = smtp.sink(answers={"MAIL": "451 4.7.1 not now"})
    private.relay(relay, RETRY="1s", WARN="1s")
    private.submit("-f", private.user, "a@x.example")
    wait_for(private.mbox, "the warning")
    relay.answers = {"MAIL": "550 5.7.1 never"}
    private.wait_delivered()
    assert [("delayed" in report_of(m), "failed" in report_of(m))
            for m in private.mbox()] == [(True, False), (False, True)]


@pytest.mark.parametrize("wish, told", [
    ("never", []), ("failure", []), ("success", []),
    ("delay", ["a"]), ("failure,delay", ["a"])])
def test_delays_are_told_to_who_wants_that(private, agent, wish, told):
    agent.configure(WARN="1s", RETRY="1s")
    agent.does(DEFERRING)
    private.submit("-odq", "-f", private.user, "-N", wish, "a@x.example")
    (name,) = private.queue()
    backdate(private, name, 100)
    flush(private)
    assert [re.search(r"Final-Recipient: rfc822; (\w+)", report_of(m))[1]
            for m in private.mbox()] == told


def backdate(private, name, seconds):
    path = private.spool / name
    data = path.read_bytes()
    fresh = re.sub(rb"\narrival (\d{12})\n",
                   lambda m: b"\narrival %012d\n" % (int(m[1]) - seconds),
                   data, count=1)
    assert fresh != data
    path.write_bytes(fresh)


def test_no_warning_of_a_notice_nor_before_its_time(private, agent):
    agent.configure(WARN="1h")
    agent.does(DEFERRING)
    private.submit("-odq", "-f", "<>", "a@x.example")
    (null,) = private.queue()
    backdate(private, null, 7200)
    private.submit("-odq", "-f", private.user, "b@x.example")
    private.submit("-odq", "-f", private.user, "c@x.example")
    for name in private.queue():
        if b"c@x.example" in (private.spool / name).read_bytes():
            backdate(private, name, 3500)
    flush(private)
    assert private.mbox() == [] and len(private.queue()) == 3
    assert all(state(private, n)["warned"] == 0 for n in private.queue())


def test_an_attempt_is_made_when_the_warning_is_due(private, agent):
    """Not hours later, when RETRY would have it."""
    agent.configure(WARN="4h", RETRY="3h")
    agent.does(DEFERRING)
    private.submit("-odq", "a@x.example")
    (name,) = private.queue()
    backdate(private, name, 2 * 3600)
    arrival = int(re.search(rb"\narrival (\d+)\n",
                            (private.spool / name).read_bytes())[1])
    flush(private)
    assert state(private)["next"] == arrival + 4 * 3600 + 1


@pytest.mark.parametrize("call", ["renameat2", "pwrite64", "fdatasync"])
def test_killed_while_it_warns(private, agent, strace, call):
    """A notice comes, and its twin only where it was delivered already."""
    agent.configure(WARN="1s")
    agent.does(DEFERRING)
    for when in range(1, 5):
        private.submit("-odq", "-f", private.user, "a@x.example")
        (name,) = private.queue()
        backdate(private, name, 100)
        traced(private, "%s:signal=KILL:when=%d" % (call, when), "-q")
        flush(private)
        assert state(private, name)["warned"] == 1, when
        flush(private)
        notices = [m for m in private.mbox() if name in m.as_string()]
        assert 1 <= len(notices) <= 2, when
        (private.spool / name).unlink()
        assert private.queue() == []


# ---- What crashes its agents ----

def test_who_crashed_three_agents_travels_alone(private, agent):
    """The others go, each time, and from then on in other agents."""
    agent.does("""
ready()
receive()
greeted()
poison = open(HERE + "/poison").read()
while True:
    job = receive()
    note("%s %d" % (job.id, os.getpid()))
    if job.id == poison:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    for number in job.recipients:
        result(job.number, number, SENT)
    done(job.number)
    os.close(job.fd)
""")
    agent.configure(AGENTS_PER_HOST=1)
    queue_some(private, 1, "-f", private.user, "b@x.example")
    (bad,) = private.queue()
    private.write(agent.directory / "poison", bad)
    for turn in range(5):
        (agent.directory / "notes").unlink(missing_ok=True)
        queue_some(private, 10)
        flush(private)
        assert private.queue() == [bad]
        assert state(private)["crashes"] == turn + 1
        jobs = [n.split() for n in agent.notes() if n != "start"]
        assert sorted(j for j, _ in jobs).count(bad) == 1
        (its,) = [pid for j, pid in jobs if j == bad]
        if turn >= 3:
            assert [j for j, pid in jobs if pid == its] == [bad]
    # It is given up like others: at the end of LIFETIME, with a notice.
    agent.configure(LIFETIME="1s", RETRY="1s")
    wait_for(lambda: time.time() - arrival(private, bad) > 2, "its time")
    flush(private)
    assert private.queue() == [] and len(private.mbox()) == 1


def test_no_address_is_that_of_what_travels_alone(private):
    """Not even one that has the other message's id."""
    queue_some(private, 1, private.user)
    (first,) = private.queue()
    path = private.spool / first
    path.write_bytes(path.read_bytes().replace(
        b"crashes 0000000000", b"crashes 0000000003", 1))
    assert state(private)["crashes"] == 3
    other = "%s#%s" % (private.user, first)
    queue_some(private, 1, "-f", "", other)
    flush(private)
    assert private.logged(r"%s: to=<%s>.*status=sent"
                          % (first, private.user))
    assert private.logged(r"to=<%s>.*status=bounced" % other)
    assert len(private.mbox()) == 1


def arrival(private, name):
    data = (private.spool / name).read_bytes()
    return int(re.search(rb"\narrival (\d+)\n", data)[1])


# ---- What nothing due costs ----

def copies(private, count, due):
    """Many queue files, made from the one that is there."""
    (first,) = private.queue()
    data = (private.spool / first).read_bytes()
    data = data.replace(b"next 000000000000", b"next %012d" % due)
    (private.spool / first).write_bytes(data)
    for number in range(count):
        name = first[:7] + "".join(
            DIGITS[number >> shift & 31] for shift in range(60, -1, -5))
        path = private.spool / name
        path.write_bytes(data.replace(first.encode(), name.encode()))
        path.chmod(0o600)
        private.own(path)
    return first


def test_what_is_not_due_costs_three_calls_and_others_their_names(
        private, agent, strace):
    private.submit("-odq", "b@x.example")
    count = 1000
    due = int(time.time()) + 1000
    first = copies(private, count - 1, due)
    data = (private.spool / first).read_bytes()
    for number in range(500):
        name = "V" * 7 + "0" * 9 + "%04d" % number
        (private.spool / name).write_bytes(
            data.replace(first.encode(), name.encode()))
    trace = private.directory / "trace"
    private.write(trace, "")
    account, more = pwd.getpwnam(private.user), {}
    if house.IS_ROOT:
        more = {"user": account.pw_uid, "group": account.pw_gid,
                "extra_groups": []}
    subprocess.run(["strace", "-f", "-qq", "-o", trace,
                    private.bin / "dmactl", *private.first_args, "run"],
                   stdin=subprocess.DEVNULL, timeout=60, check=True, **more)
    lines = trace.read_text().splitlines()
    # A program that is not dumpable hides its strings from who traces it.
    opened = [n for n in lines if "O_RDONLY|O_NONBLOCK|O_NOFOLLOW" in n]
    assert len(opened) == count
    assert 3 * count < len(lines) < 3 * count + 600
    assert not private.logged("queue active")


# ---- Clocks that jump ----

class Clock:
    def __init__(self, directory):
        self.file = directory / "offset"
        library = directory / "clock.so"
        source = pathlib.Path(__file__).with_name("clock.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O1",
                        "-DOFFSET=\"%s\"" % self.file, "-o", library, source],
                       check=True)
        library.chmod(0o755)
        self.env = {"LD_PRELOAD": str(library),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}
        self.set(0)

    def set(self, seconds, slept=0):
        fresh = self.file.with_name("offset.new")
        fresh.write_text("%d %d\n" % (seconds, slept))
        fresh.chmod(0o644)
        fresh.rename(self.file)


@pytest.fixture
def clock(private):
    return Clock(private.directory)


def test_the_clock_was_ahead_when_it_was_put_off(private, agent, clock):
    """In ten years, says the file: now, says the next run."""
    agent.does(DEFERRING)
    clock.set(10 * 365 * 86400)
    private.submit("-odq", "b@x.example", env=clock.env)
    flush(private, env=clock.env)
    assert state(private)["next"] > time.time() + 9 * 365 * 86400
    clock.set(0)
    agent.does(WORKING)
    run_due(private)
    assert private.queue() == []
    assert not private.logged("status=bounced")


@pytest.mark.parametrize("jump", [-86400, -20 * 365 * 86400, 7200])
@pytest.mark.rows("L-72", "L-100")
def test_the_clock_jumps_while_a_runner_waits(private, agent, clock, jump):
    """Set back, or slept through: what waits for an hour goes when the runner
    looks again, which a new message makes it do at once."""
    agent.configure(RETRY="1h")
    agent.does(DEFERRING)
    private.submit("b@x.example", env=clock.env)
    private.wait_deferred()
    wait_for(lambda: "dma-smtp" not in processes().values(), "its agent's end")
    assert state(private)["attempts"] == 1
    agent.does(WORKING)
    clock.set(jump)
    private.submit("c@x.example", env=clock.env)
    private.wait_delivered()
    private.wait_idle()
    assert private.log().count("status=sent") == 2


def test_an_agent_that_outlives_its_time_leaves_no_zombie(
        private, agent, clock):
    """It is waited for no more, but its status is fetched when it ends."""
    # Not 1s, which may be over while the agent is kept for more mail.
    agent.configure(RETRY="2s", AGENTS_PER_HOST=1)
    agent.does("""
ready()
receive()
job = receive()
greeted()
job.answer(DEFER, '451 4.0.0 later')
pair.recv(1)  # the end
if first():
    note("stays %d" % os.getpid())
    while not os.path.exists(HERE + "/go"):
        time.sleep(0.01)
""")
    private.submit("b@x.example", env=clock.env)
    wait_for(lambda: "stays" in "".join(agent.notes()), "its end to be told")
    (pid,) = [n.split()[1] for n in agent.notes() if n.startswith("stays")]
    clock.set(0, slept=10)
    wait_for(lambda: agent.starts() >= 2, "another one in its place")
    assert os.path.exists("/proc/" + pid)
    (agent.directory / "go").touch()
    wait_for(lambda: not os.path.exists("/proc/" + pid),
             "the runner to fetch its status", 5)


@pytest.mark.rows("L-68")
def test_a_message_of_the_future_is_neither_old_nor_lost(
        private, agent, clock):
    agent.configure(WARN="1s", LIFETIME="1s", RETRY="1s")
    agent.does(DEFERRING)
    clock.set(86400)
    private.submit("-odq", "-f", private.user, "b@x.example", env=clock.env)
    clock.set(0)
    for _ in range(3):
        flush(private)
    assert len(private.queue()) == 1 and private.mbox() == []
    assert "b@x.example" in private.mailq()
    agent.does(WORKING)
    flush(private)
    assert private.queue() == []


# ---- Who waits for whom ----

BY_DOMAIN = """
ready()
packet = pair.recv(1 << 17)
slow = b"slow.example" in packet
pause = SLOW if slow else 0
name = "slow" if slow else "fast"
greeted_yet = False
while True:
    job = receive()
    if not greeted_yet:
        greeted()
        greeted_yet = True
    note(name + " begins")
    time.sleep(pause)
    # As long as it took, or the runner thinks that two agents are enough.
    for number in job.recipients:
        send(u32(5), u32(job.number), u32(number), u32(SENT), u32(0),
             string("2.0.0"), string(""), string("250 ok"), u32(0),
             u32(int(pause * 1000)))
    done(job.number)
    note(name + " ends")
    os.close(job.fd)
"""


def test_a_slow_host_does_not_hold_up_the_others(private, agent):
    """However many agents it could have: one is left for another host."""
    agent.configure(SMARTHOST=None, AGENTS=4)
    agent.does(BY_DOMAIN.replace("SLOW", "1"))
    queue_some(private, 100, "b@slow.example")
    private.submit("b@slow.example")
    wait_for(lambda: agent.starts() >= 4, "all agents")
    private.submit("b@fast.example")
    wait_for(lambda: "fast ends" in agent.notes(), "the fast one")
    assert len(private.queue()) > 50


def test_a_new_message_does_not_wait_behind_many_for_another_host(
        private, agent):
    agent.configure(SMARTHOST=None)
    agent.does(BY_DOMAIN.replace("SLOW", "0.01"))
    private.submit("-odq", "b@slow.example")
    copies(private, 19999, 0)
    private.submit("b@slow.example")
    wait_for(lambda: "slow ends" in agent.notes(), "the old ones to begin")
    private.submit("b@fast.example")
    wait_for(lambda: "fast ends" in agent.notes(), "the new one")
    assert agent.notes().count("slow ends") < 5000


def test_a_host_that_is_silent_does_not_keep_messages_open(private, agent):
    """Where few may be open: those that others had already, and that wait
    for it alone, make room for those that it has nothing to do with."""
    agent.configure(SMARTHOST=None)
    agent.does("""
ready()
if b"slow.example" in pair.recv(1 << 17):
    receive()
    note("silent")
    time.sleep(60)
greeted()
while True:
    job = receive()
    job.answer(SENT)
    os.close(job.fd)
""")
    queue_some(private, 24, "b@fast.example", "b@slow.example")
    queue_some(private, 6, "b@fast.example")

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    private.popen("-q", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                  stderr=subprocess.DEVNULL, preexec_fn=few)
    wait_for(lambda: len([n for n in agent.notes() if n[:3] == "job"]) == 30,
             "all that the fast one gets")
    wait_for(lambda: len(private.queue()) == 24, "the six to be removed")
    assert "silent" in agent.notes()


def test_hosts_take_turns_at_the_only_agent(private, agent):
    """Each begins before another one's mail is at its end."""
    agent.configure(SMARTHOST=None, AGENTS=1)
    agent.does("""
ready()
packet = pair.recv(1 << 17)
(name,) = [n for n in ("one", "two", "three") if n.encode() + b".ex" in packet]
greeted()
while True:
    job = receive()
    note(name)
    time.sleep(0.01)
    for number in job.recipients:
        result(job.number, number, SENT)
    done(job.number)
    os.close(job.fd)
""")
    names = ["one", "two", "three"]
    for name in names:
        queue_some(private, 60, "b@%s.example" % name)
    path = private.spool / "slot.1"
    private.write(path, "", 0o600)
    with open(path, "rb") as held:  # another runner's: ours has its own
        fcntl.flock(held, fcntl.LOCK_EX)
        flush(private, 60)
    assert private.queue() == []
    order = [n for n in agent.notes() if n != "start"]
    assert len(order) == 180
    last = [len(order) - order[::-1].index(name) for name in names]
    assert max(order.index(name) for name in names) < min(last), order
