# SPDX-License-Identifier: BSD-3-Clause
"""Whole stories through a relay, each as its user would tell it."""

import os
import pathlib
import random
import signal
import subprocess
import time

import instance
import pytest

MESSAGE = "Subject: %s\nTo: %s\n\nhello %s\n"


def message(word, to="b@x.example"):
    return MESSAGE % (word, to, word)


def test_piped_into_sendmail_t(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    private.submit("-t", text=message("one"))
    private.wait_delivered()
    private.wait_idle()
    (arrived,) = sink.messages
    assert arrived.recipients == ["b@x.example"]
    assert arrived.body == "hello one\n"
    assert private.logged(r"uid=\d+ from=<")
    assert private.logged(r"from=<[^>]*>, size=\d+, nrcpt=1 \(queue active\)")
    assert private.logged(
        r"to=<b@x\.example>, .*relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, "
        r"delay=[\d.]+, delays=[\d./]+, dsn=2\.0\.0, "
        r"status=sent \(250 2\.0\.0 Ok")
    assert private.logged(r"[0-9A-V]{20}: removed")


def test_relay_down_then_up(private, smtp):
    """Three queued, mailq says why, -q delivers, nothing is left."""
    sink = smtp.sink()
    sink.stop()
    private.relay(sink)
    for word in ("one", "two", "three"):
        private.submit("-t", text=message(word))
    private.wait_deferred(3)
    listing = private.mailq()
    assert listing.count("b@x.example") == 3
    assert "Connection refused" in listing
    assert listing.splitlines()[-1].endswith("in 3 Requests.")
    sink = smtp.again(sink)
    private.flush()
    private.wait_idle()
    assert sink.subjects() == ["one", "three", "two"]
    assert private.queue() == []
    assert private.mailq() == "Mail queue is empty\n"


def test_one_connection_for_many_messages(private, smtp):
    sink = smtp.sink()
    private.relay(sink, AGENTS_PER_HOST=1)
    for number in range(20):
        private.submit("-odq", "b@x.example", text=message(str(number)))
    private.flush()
    assert len(sink.messages) == 20
    assert len(sink.connections) == 1


def test_recipients_travel_in_one_transaction(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    names = ["r%d@x%d.example" % (n, n % 3) for n in range(30)]
    private.submit(*names)
    private.wait_delivered()
    (arrived,) = sink.messages
    assert sorted(arrived.recipients) == sorted(names)


def test_many_recipients_in_hundreds(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    names = ["r%d@x.example" % n for n in range(250)]
    private.submit(*names)
    private.wait_delivered()
    assert sink.recipients_seen() == sorted(names)
    assert max(len(m.recipients) for m in sink.messages) <= 100


def test_two_recipients_one_refused(private, smtp):
    """One delivered, one notice to the sender, nothing left."""
    sink = smtp.sink(recipients={"no@x.example": "550 5.1.1 no such user"})
    private.relay(sink)
    private.submit("yes@x.example", "no@x.example", text=message("mixed"))
    private.wait_delivered()
    assert sink.recipients_seen() == ["yes@x.example"]
    (notice,) = private.mbox()
    check_notice(private, notice, "no@x.example", "550 5.1.1 no such user")
    assert "yes@x.example" not in notice.as_string().split(
        "text/rfc822-headers")[0]


def check_notice(private, notice, recipient, words):
    """RFC 3464, to the sender, from nobody."""
    assert "MAILER-DAEMON" in notice.get_from()
    assert notice["Return-Path"] == "<>"
    assert "MAILER-DAEMON@client.example" in notice["From"]
    assert notice["To"].strip("<>") == private.user + "@client.example"
    assert notice["Auto-Submitted"].startswith("auto-")
    assert notice.get_content_type() == "multipart/report"
    assert notice.get_param("report-type") == "delivery-status"
    human, status, original = notice.get_payload()
    text = human.get_payload(decode=True).decode()
    assert recipient in text and words in text
    assert status.get_content_type() == "message/delivery-status"
    fields = status.as_string()
    assert "Final-Recipient: rfc822; " + recipient in fields.replace(
        "rfc822;" + recipient, "rfc822; " + recipient)
    assert "Action: failed" in fields
    assert "Status: 5." in fields
    return original


def test_notice_carries_the_header_only(private, smtp):
    sink = smtp.sink(recipients={"no@x.example": "550 5.1.1 unknown"})
    private.relay(sink)
    private.submit("no@x.example", text="Subject: mine\n\nthe body\n")
    private.wait_delivered()
    (notice,) = private.mbox()
    original = check_notice(private, notice, "no@x.example", "unknown")
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Subject: mine" in original.as_string()
    assert "the body" not in notice.as_string()


def test_fullbounce_carries_the_message(private, smtp):
    sink = smtp.sink(recipients={"no@x.example": "550 5.1.1 unknown"})
    private.relay(sink, FULLBOUNCE=True)
    private.submit("no@x.example", text="Subject: mine\n\nthe body\n")
    private.wait_delivered()
    (notice,) = private.mbox()
    original = check_notice(private, notice, "no@x.example", "unknown")
    assert original.get_content_type() == "message/rfc822"
    assert "the body" in original.as_string()


@pytest.mark.rows("V-38")
def test_no_notice_about_a_notice(private, smtp):
    """A null sender's mail that fails is kept, and said in the log."""
    sink = smtp.sink(recipients={"no@x.example": "550 5.1.1 unknown"})
    private.relay(sink)
    private.submit("-f", "<>", "no@x.example")
    instance.wait_for(lambda: not private.queue(), "the queue to be empty")
    private.wait_idle()
    assert private.mbox() == []
    assert [t[:5] for t in private.traces()] == ["dead."]
    assert "dead" in private.log()


def test_postmaster_gets_what_has_no_sender(private, smtp):
    sink = smtp.sink(recipients={"no@x.example": "550 5.1.1 unknown"})
    private.relay(sink, POSTMASTER="pm@y.example")
    private.submit("-f", "<>", "no@x.example")
    private.wait_delivered()
    assert sink.recipients_seen() == ["pm@y.example"]
    assert sink.messages[0].sender == ""
    assert private.traces() == []


def test_greylisting(private, smtp):
    tries = {}

    def grey(address):
        tries[address] = tries.get(address, 0) + 1
        if address.startswith("grey") and tries[address] == 1:
            return "450 4.2.0 greylisted, come back"
        return None
    sink = smtp.sink(recipients=grey)
    private.relay(sink)
    private.submit("grey@x.example", "plain@x.example")
    private.wait_deferred()
    instance.wait_for(lambda: private.logged("status=sent"),
                      "the other one to have it")
    assert sink.recipients_seen() == ["plain@x.example"]
    listing = private.mailq()
    assert "greylisted" in listing and "plain@" not in listing
    private.flush()
    assert sink.recipients_seen() == ["grey@x.example", "plain@x.example"]
    assert private.queue() == []


def test_deferred_mail_is_retried_by_itself(private, smtp):
    answers = ["451 4.3.0 not now"]
    sink = smtp.sink(answers={
        "MAIL": lambda c, a: answers.pop() if answers else None})
    private.relay(sink, RETRY="1s")
    private.submit("b@x.example")
    private.wait_delivered()
    private.wait_idle()
    assert len(sink.messages) == 1


def test_expired_mail_comes_back(private, smtp):
    sink = smtp.sink(answers={"MAIL": "451 4.3.0 never now"})
    private.relay(sink, RETRY="1s", LIFETIME="2s")
    private.submit("b@x.example")
    private.wait_delivered()
    (notice,) = private.mbox()
    check_notice(private, notice, "b@x.example", "never now")


def test_too_many_recipients_for_one_transaction(private, smtp):
    """452 after some: those go, the rest in the next (RFC 5321, 4.5.3.1.10)"""
    sink = smtp.sink()
    count = {}

    def limited(connection, _):
        started = sum(c.startswith("MAIL") for c in connection.commands)
        key = (id(connection), started)
        count[key] = count.get(key, 0) + 1
        return "452 4.5.3 too many recipients" if count[key] > 10 else None
    sink.answers = {"RCPT": limited}
    private.relay(sink)
    names = ["r%d@x.example" % n for n in range(25)]
    private.submit(*names)
    private.wait_delivered()
    assert sink.recipients_seen() == sorted(names)


@pytest.mark.rows("V-44", "D-25")
def test_wrong_password(private, smtp):
    """Deferred with the reason, not bounced, not tried without."""
    sink = smtp.sink(auth={"u": "right"})
    private.relay(sink, login="u:wrong", INSECURE=True)
    private.submit("b@x.example")
    private.wait_deferred()
    assert "535" in private.mailq()
    assert private.mbox() == []
    said = [c for x in sink.connections for c in x.commands]
    assert not any(c.startswith("MAIL") for c in said)
    private.relay(sink, login="u:right", INSECURE=True)
    private.flush()
    assert len(sink.messages) == 1
    assert private.queue() == []


def test_wrong_password_is_not_hammered(private, smtp):
    """Lock-outs count tries: one a run, however many messages."""
    sink = smtp.sink(auth={"u": "right"}, mechanisms=("PLAIN",))
    private.relay(sink, login="u:wrong", INSECURE=True)
    for _ in range(10):
        private.submit("-odq", "b@x.example")
    private.flush()
    assert 1 <= len(sink.auth_tries) <= 2
    assert len(private.queue()) == 10


def test_mended_password_is_used_at_once(private, smtp):
    """By the next message, though a runner lives that knows the old one."""
    sink = smtp.sink(auth={"u": "right"}, mechanisms=("PLAIN",))
    private.relay(sink, login="u:wrong", INSECURE=True)
    private.submit("b@x.example")
    private.wait_deferred()
    time.sleep(0.5)  # its agent is gone
    private.relay(sink, login="u:right", INSECURE=True)
    private.submit("c@x.example")
    instance.wait_for(lambda: sink.messages, "the message to arrive", 5)
    assert sink.messages[0].recipients == ["c@x.example"]


def test_mailbox_of_a_private_instance_is_in_its_spool(private):
    private.configure(MAILBOX=None)
    private.submit("-D", private.user)
    (got,) = instance.messages_in(private.spool / "mbox")
    assert got["Delivered-To"].startswith(private.user + "@")


def test_relay_with_a_limit_on_connections(private, smtp):
    """421 beyond a few connections: all arrive in one flush."""
    sink = smtp.sink(most=3, delay=0.01)
    private.relay(sink)
    for number in range(60):
        private.submit("-odq", "b@x.example", text=message(str(number)))
    private.flush()
    assert len(sink.messages) == 60
    assert private.queue() == []


def test_agents_per_host_is_kept(private, smtp):
    sink = smtp.sink(delay=0.02)
    private.relay(sink, AGENTS_PER_HOST=3)
    for number in range(40):
        private.submit("-odq", "b@x.example", text=message(str(number)))
    private.flush()
    assert len(sink.messages) == 40
    assert sink.most_open <= 3


def test_slow_relay_does_not_hold_the_caller(private, smtp):
    script = smtp.script("! stall\n")
    private.relay(script)
    began = time.monotonic()
    private.submit("b@x.example")
    # Not a measurement: the greeting's deadline is thirty seconds here.
    assert time.monotonic() - began < 20


def test_second_relay_of_the_list(private, smtp):
    dead, alive = smtp.sink(), smtp.sink()
    dead.stop()
    private.configure(SMARTHOST="127.0.0.1:%d,127.0.0.1:%d"
                      % (dead.port, alive.port))
    private.submit("b@x.example")
    private.wait_delivered()
    assert len(alive.messages) == 1


def test_lmtp(private, smtp):
    """One reply a recipient after the dot."""
    sink = smtp.sink(lmtp=True, answers={
        "DOT": lambda c, a: "550 5.2.2 full" if a.startswith("full")
        else None})
    private.configure(SMARTHOST="lmtp://127.0.0.1:%d" % sink.port)
    private.submit("full@x.example", "ok@x.example")
    private.wait_delivered()
    assert sink.recipients_seen() == ["ok@x.example"]
    assert sink.connections[0].commands[0].startswith("LHLO")
    assert len(private.mbox()) == 1


def test_nothing_is_left_running(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    for _ in range(5):
        private.submit("b@x.example")
    private.wait_delivered()
    private.wait_idle()
    names = os.listdir(private.spool)
    assert all(n.startswith(("run.", "wake.", "slot.")) for n in names)


# ---- Killed, raced, crowded ----

def test_kill_the_runner_at_a_random_moment(private, smtp):
    """50 deliveries, kill -9 in between: nothing lost, nothing stuck."""
    sink = smtp.sink(delay=0.005)
    private.relay(sink)
    wanted = sorted(str(n) for n in range(50))
    for word in wanted:
        private.submit("-odq", "b@x.example", text=message(word))
    for _ in range(5):
        process = private.popen("-q")
        at = random.randint(0, 20)
        goal = len(sink.messages) + at
        end = time.monotonic() + 2
        while len(sink.messages) < goal and process.poll() is None \
                and time.monotonic() < end:
            time.sleep(0.001)
        for pid in instance.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        process.communicate()
        instance.kill_all()
    private.flush()
    assert private.queue() == []
    assert private.traces() == []
    # A duplicate is allowed, a loss is not.
    assert sorted(set(sink.subjects())) == wanted


def submit_many(private, names, count):
    """Each name's process submits count messages with short gaps."""
    children = []
    for name in names:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for number in range(count):
                    word = "%s.%d" % (name, number)
                    result = private.run(
                        "b@x.example", text=message(word),
                        user=name if name in ("alice", "bob") else None)
                    assert result.exit == 0, result
                    # So that runners end and begin all the time.
                    time.sleep(random.random() * 0.01)
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    return children


def wait_children(children, bound):
    end = time.monotonic() + bound
    while children:
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                assert status == 0
        assert time.monotonic() < end, "submitters did not end"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def gap(scratch):
    """A preloaded object that widens a runner's gap between R4 and R6."""
    library = scratch / "gap.so"
    source = pathlib.Path(__file__).with_name("gap.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source],
                   check=True)
    return {"LD_PRELOAD": str(library),
            "ASAN_OPTIONS": "verify_asan_link_order=0"}


def test_submissions_race_each_other(private, smtp):
    """2,000 from 10 processes: each arrives once."""
    sink = smtp.sink()
    private.relay(sink)
    names = ["p%d" % n for n in range(10)]
    children = submit_many(private, names, 200)
    try:
        wait_children(children, 300)
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    private.wait_delivered(60)
    private.wait_idle(60)
    assert sink.subjects() == sorted(
        "%s.%d" % (n, i) for n in names for i in range(200))


def test_submissions_race_an_ending_runner(private, smtp, gap):
    """2,000, in rounds whose last ones meet a runner that ends: none is
    stranded, for nobody comes after them to take it along."""
    sink = smtp.sink()
    private.relay(sink)
    for turn in range(100):
        processes = []
        for number in range(20):
            if number == 19:  # an idle runner waits 0.25 s before it ends
                time.sleep(0.24 + random.random() * 0.1)
            process = private.popen("b@x.example", env=gap)
            process.stdin.write(
                message("%d.%d" % (turn, number)).encode())
            process.stdin.close()
            process.stdin = None
            processes.append(process)
        for process in processes:
            assert process.wait(60) == 0
        private.wait_delivered(20)
    private.wait_idle(60)
    assert sink.subjects() == sorted(
        "%d.%d" % (turn, n) for turn in range(100) for n in range(20))
