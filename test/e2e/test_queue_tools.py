# SPDX-License-Identifier: BSD-3-Clause
"""dmactl queue, and -q with a choice: what people do to queued mail."""

import json
import os
import pty
import pwd
import random
import re
import signal
import threading

import pytest

import instance
from instance import wait_for

USAGE, UNAVAILABLE, IOERR = 64, 69, 74
CHANGES = ("retry", "hold", "release", "remove", "expire")
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


def ctl(one, *args, **more):
    return one.run("queue", *args, name="dmactl", **more)


def done(one, *args, **more):
    result = ctl(one, *args, **more)
    assert result.exit == 0 and result.err == "", result
    return result.out


def listed(one, *args, **more):
    """The queue as JSON, by id."""
    lines = done(one, "list", "--json", *args, **more).splitlines()
    return {x["queue_id"]: x for x in map(json.loads, lines)}


def add(one, recipient="b@x.example", *args, **more):
    """Queue a message; its id."""
    before = set(one.queue())
    one.submit("-odq", *args, recipient, **more)
    (name,) = set(one.queue()) - before
    return name


def copies(private, count):
    """Many messages at once: copies of one under other ids."""
    name = add(private)
    text = (private.spool / name).read_bytes()
    chance = random.Random(name)
    while len(private.queue()) < count:
        for _ in range(count - len(private.queue())):
            other = name[:7] + "".join(chance.choices(DIGITS, k=13))
            path = private.spool / other
            path.write_bytes(text.replace(name.encode(), other.encode(), 1))
            path.chmod(0o600)
            private.own(path)


def one_line(result, status):
    assert result.exit == status, result
    assert result.err.count("\n") == 1 and len(result.err) > 10, result


# ---- Which messages ----

def test_nothing_is_changed_without_a_choice(private):
    add(private)
    for command in CHANGES + ("show",):
        one_line(ctl(private, command), USAGE)
    assert len(private.queue()) == 1


@pytest.mark.parametrize("args", [
    [], ["queue"], ["queue", "delete"], ["list"], ["run", "now"],
    ["run", "--all"], ["run", "--sender", "a@x.example"],
    ["queue", "list", "--odd"], ["queue", "list", "-t"],
    ["queue", "list", "--older"], ["queue", "list", "--older", "soon"],
    ["queue", "list", "--sender", "a@b@c"], ["queue", "list", "--json=x"],
    ["queue", "list", "--recipient=@"], ["queue", "list", "--body"],
    ["queue", "show", "--json", "--all"], ["queue", "remove", "../x"],
    ["queue", "remove", "0000"], ["queue", "remove", "tmp.00000000000000000"],
    ["queue", "remove", "A" * 21], ["queue", "list", "-C"],
])
def test_wrong_words(private, args):
    add(private)
    one_line(private.run(*args, name="dmactl"), USAGE)
    assert len(private.queue()) == 1


def test_by_id_and_by_its_beginning(private):
    first, second = add(private), add(private)
    assert set(listed(private, first)) == {first}
    # Eight digits and no other with the same: the ninth may be needed.
    length = len(os.path.commonprefix([first, second])) + 1
    short = second[:max(8, length)]
    assert set(listed(private, short)) == {second}
    assert done(private, "remove", short) == "1 message removed\n"
    assert private.queue() == [first]


def test_a_beginning_that_several_have(private):
    copies(private, 40)  # so that two have the same eighth digit
    names = private.queue()
    short = next(n[:8] for n in names
                 if sum(m.startswith(n[:8]) for m in names) > 1)
    one_line(ctl(private, "remove", short), UNAVAILABLE)
    assert len(private.queue()) == 40


def test_unknown_id(private):
    name = add(private)
    result = ctl(private, "remove", name[:-1] + "!".replace(
        "!", "0" if name[-1] != "0" else "1"), name)
    one_line(result, UNAVAILABLE)
    assert result.out == "1 message removed\n"
    assert private.queue() == []


def test_ids_on_standard_input(private):
    names = [add(private) for _ in range(3)]
    done(private, "hold", names[1])
    text = private.mailq().splitlines()  # ids with their marks
    ids = "\n".join(x.split()[0] for x in text if x[:1].isalnum())
    assert names[1] + "!" in ids
    assert done(private, "remove", "-", text=ids) == "3 messages removed\n"
    assert private.queue() == []


def test_rubbish_on_standard_input(private):
    name = add(private)
    text = "../%s %s%s\n%s\n" % (name, name, "x" * 500, name)
    result = ctl(private, "remove", "-", text=text)
    assert result.exit == UNAVAILABLE
    assert result.out == "1 message removed\n"
    assert "no such message" in result.err


@pytest.mark.parametrize("name, args", [
    ("sendmail", ["-bP"]), ("mailq", []), ("dmactl", ["queue", "list"])])
def test_nobody_takes_the_list(private, name, args):
    add(private)
    with open("/dev/full", "wb") as full:
        result = private.run(*args, name=name, stdout=full)
    one_line(result, IOERR)
    assert "cannot write: No space left" in result.err


def test_a_nul_is_no_id(private):
    add(private)
    result = ctl(private, "show", "-", text=b"\0 * a\0b")
    assert result.exit == UNAVAILABLE and result.out == ""
    assert result.err.count("no such message") == 3


def test_nothing_on_standard_input_means_nothing(private):
    add(private)
    assert done(private, "remove", "-", text="") == "0 messages removed\n"
    assert len(private.queue()) == 1


def test_by_sender_and_recipient(private):
    a = add(private, "a@x.example", "-f", "me@s.example")
    b = add(private, "b@Y.example", "-f", "you@s.example")
    c = add(private, "c@x.example", "-f", "<>")
    d = add(private, "d@d\u00f6m.example", "-f", "d@d\u00f6m.example")
    cases = [
        (["--recipient", "a@X.example"], {a}),
        (["--recipient=@y.example"], {b}),
        (["--recipient", "@x.example"], {a, c}),
        (["--recipient", "x.example"], set()),
        (["--recipient", "a@x.example", "--recipient", "@y.example"], {a, b}),
        (["--sender", "@s.example"], {a, b}),
        (["--sender", "<>"], {c}),
        (["--sender", ""], {c}),
        (["--sender", "me@s.example", "--recipient", "@y.example"], set()),
        (["--sender", "you@s.example", a, b], {b}),
        (["--all", c], {c}),
        (["--older", "1h"], set()),
        (["--recipient", "@d\u00f6m.example"], {d}),
        (["--sender", "@d\u00f6m.example"], {d}),
        (["--older", "0"], {a, b, c, d}),
        ([], {a, b, c, d}),
    ]
    for args, wanted in cases:
        assert set(listed(private, *args)) == wanted, args
    done(private, "remove", "--sender", "@s.example")
    assert private.queue() == sorted([c, d])


def test_by_age(private):
    old, new = add(private), add(private)
    path = private.spool / old
    text = path.read_bytes()
    arrival = int(re.search(rb"^arrival (\d+)$", text, re.M)[1])
    path.write_bytes(text.replace(b"arrival %012d" % arrival,
                                  b"arrival %012d" % (arrival - 7200), 1))
    assert done(private, "remove", "--older", "2h") == "1 message removed\n"
    assert private.queue() == [new]


def test_a_choice_has_its_own_total(private):
    add(private, "a@x.example")
    add(private, "b@x.example")
    out = done(private, "list", "--recipient", "a@x.example")
    assert "b@x.example" not in out
    assert out.endswith(" in 1 Request.\n")
    out = done(private, "list", "--recipient", "c@x.example")
    assert out.endswith("-- 0 Kbytes in 0 Requests.\n")


# ---- What is shown ----

def test_json_has_the_members_of_postqueue(private, smtp):
    sink = smtp.sink(answers={"RCPT": '450 4.2.0 "not" \\now'})
    private.relay(sink)
    private.aliases("all: b@x.example, c@x.example\n")
    name = add(private, "all", "-f", "me@s.example")
    (entry,) = listed(private).values()
    assert entry["queue_name"] == "incoming" and entry["attempts"] == 0
    private.flush()
    (entry,) = listed(private).values()
    assert set(entry) == {
        "queue_name", "queue_id", "arrival_time", "message_size",
        "forced_expire", "sender", "recipients", "next_try", "attempts",
        "held"}
    assert entry["queue_name"] == "deferred"
    assert entry["queue_id"] == name
    assert entry["sender"] == "me@s.example"
    assert entry["attempts"] == 1 and entry["held"] is False
    assert entry["forced_expire"] is False
    assert entry["next_try"] > entry["arrival_time"] > 1700000000
    assert entry["message_size"] > 10
    assert [x["address"] for x in entry["recipients"]] == [
        "b@x.example", "c@x.example"]
    for recipient in entry["recipients"]:
        assert recipient["orig_address"].startswith("all")
        assert '450 4.2.0 "not" \\now' in recipient["delay_reason"]


def test_json_is_well_formed_whatever_is_in_it(private):
    add(private, "\u00e9\u20ac\U0001f600@x.example", "-f", "<>")
    (entry,) = listed(private).values()
    assert entry["sender"] == "MAILER-DAEMON"
    assert entry["recipients"][0]["address"] == (
        "\u00e9\u20ac\U0001f600@x.example")
    assert "\u20ac" in done(private, "list", "--json")
    done(private, "remove", "--all")
    add(private, "a\u009b\u00a0@x.example")
    assert '"a\\u009b\u00a0@x.example"' in done(private, "list", "--json")
    done(private, "remove", "--all")
    private.aliases("abcdefgh: b@x.example\n")
    (path,) = [private.spool / add(private, "abcdefgh")]
    path.write_bytes(path.read_bytes().replace(
        b"abcdefgh", b'a\xff"\\\xc3(\xe2\x82', 1))
    (entry,) = listed(private).values()
    assert entry["recipients"][0]["orig_address"].startswith(
        'a\ufffd"\\\ufffd(\ufffd\ufffd')


def test_attempts_and_next_try_in_mailq(private, smtp):
    private.relay(smtp.sink(answers={"RCPT": "450 4.2.0 greylisted"}))
    add(private, "b@x.example")
    private.flush()
    private.flush()
    (reason,) = [x for x in private.mailq().splitlines()
                 if x.strip().startswith("(")]
    assert re.search(r"450 4\.2\.0 greylisted.*; 2 tries, next \w{3} \w{3} "
                     r"[ \d]\d \d\d:\d\d:\d\d\)$", reason)


def test_show(private, smtp):
    private.relay(smtp.sink(recipients={"c@x.example": "450 4.2.0 later"}))
    private.submit("-odq", "-f", "me@s.example", "b@x.example", "c@x.example",
                   text="Subject: seen\n\nthe body\n")
    private.flush()
    (name,) = private.queue()
    out = done(private, "show", name)
    for words in ("id:        " + name, "me@s.example", "b@x.example",
                  "sent", "c@x.example", "to do", "450 4.2.0 later",
                  "1 try, next", "\nSubject: seen\n"):
        assert words in out, out
    assert "the body" not in out
    whole = done(private, "show", "--body", name)
    assert whole.startswith(out) and whole.endswith("\n\nthe body\n")


def on_terminal(one, *args, typed="", name="dmactl", all_three=False, **more):
    """Run with a terminal on 0 and 2 (or 0 to 2); status, its text, stdout."""
    master, slave = pty.openpty()
    process = one.popen(
        *args, name=name, stdin=slave, stderr=slave,
        **({"stdout": slave} if all_three else {}), **more)
    os.close(slave)
    os.write(master, typed.encode())
    seen = b""
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    out = b"" if all_three else process.stdout.read()
    status = process.wait(instance.COMMAND_BOUND)
    if process.stdout:
        process.stdout.close()
    os.close(master)
    return status, seen.decode("latin-1"), out.decode()


@pytest.mark.rows("V-10", "L-95")
def test_show_does_not_steer_a_terminal(private):
    name = add(private, text="Subject: a\x1b[2Jb\x07\n\n\x9b1m\x1b]0;x\x07\n")
    status, seen, _ = on_terminal(private, "queue", "show", "--body", name,
                                  all_three=True)
    assert status == 0 and "Subject: a?[2Jb?" in seen
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", seen)
    raw = ctl(private, "show", "--body", name).out
    assert "\x1b[2J" in raw  # for a file it stays what it is


# ---- What is changed ----

def test_hold_and_release(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    held, free = add(private), add(private)
    assert done(private, "hold", held) == "1 message held\n"
    assert held + "!" in private.mailq()
    entry = listed(private)[held]
    assert entry["held"] is True and entry["queue_name"] == "hold"
    private.flush()
    assert private.queue() == [held] and len(sink.messages) == 1
    assert private.logged(held + ": held by uid=%d"
                          % pwd.getpwnam(private.user).pw_uid)
    refused = ctl(private, "retry", held)
    assert (refused.exit, refused.out) == (69, "0 messages to be tried now\n")
    assert held + ": is held, and not tried: release it" in refused.err
    private.wait_idle()
    assert private.queue() == [held]
    assert done(private, "release", held) == "1 message released\n"
    private.wait_delivered()
    assert len(sink.messages) == 2
    assert free != held


def test_retry_begins_at_once(private, smtp):
    sink = smtp.sink(answers={"RCPT": "450 4.2.0 later"})
    private.relay(sink, RETRY="1h")
    name = add(private)
    private.flush()
    smtp.again(sink)
    assert private.run("run", name="dmactl").exit == 0
    private.wait_idle()
    assert private.queue() == [name]  # not due
    done(private, "retry", name)
    private.wait_delivered()


def test_retry_reaches_a_runner_that_sleeps(private, smtp):
    sink = smtp.sink(answers={"RCPT": "450 4.2.0 later"})
    private.relay(sink, RETRY="1h")
    private.submit("b@x.example")
    private.wait_deferred()
    (runner,) = wait_for(
        lambda: [p for p, n in instance.processes().items()
                 if n == "sendmail"], "a runner")
    sink = smtp.again(sink)
    done(private, "hold", "--all")
    done(private, "release", "--all")
    done(private, "retry", "--all")
    private.wait_delivered()
    assert len(sink.messages) == 1
    assert len(re.findall(r"dma/queue\[%d\]" % runner, private.log())) >= 2


def test_retry_of_more_than_the_runner_can_be_told(private, smtp):
    """The pipe is full: ids are lost, no message is."""
    count = 1500
    sink = smtp.sink(answers={"MAIL": "450 4.2.0 later"})
    private.relay(sink, RETRY="1h")
    copies(private, count - 1)
    private.submit("b@x.example")
    wait_for(lambda: all(x["attempts"] for x in listed(private).values()),
             "all to be tried", 60)
    (runner,) = [p for p, n in instance.processes().items() if n == "sendmail"]
    smtp.again(sink)
    os.kill(runner, signal.SIGSTOP)
    out = done(private, "retry", "--all")
    os.kill(runner, signal.SIGCONT)
    assert out == "%d messages to be tried now\n" % count
    private.wait_delivered(60)


def test_remove_leaves_no_notice(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    private.submit("-odq", "b@x.example", "c@x.example")
    (name,) = private.queue()
    assert done(private, "remove", name) == "1 message removed\n"
    assert private.queue() == [] and private.traces() == []
    assert private.logged(name + ": removed by uid=")
    private.flush()
    assert sink.messages == []


def test_what_was_marked_removed_is_not_delivered(private, smtp):
    """Killed between the marks and the unlink: the rest of it is done."""
    sink = smtp.sink()
    private.relay(sink)
    name = add(private)
    path = private.spool / name
    path.write_bytes(path.read_bytes().replace(b"\nR T ", b"\nR R ", 1))
    private.flush()
    assert private.queue() == [] and sink.messages == []


def test_expire_tells_the_sender(private, smtp):
    sink = smtp.sink(recipients={"c@x.example": "450 4.2.0 later"})
    private.relay(sink)
    private.submit("-odq", "-f", private.user, "b@x.example", "c@x.example")
    private.flush()
    (name,) = private.queue()
    assert done(private, "expire", name) == "1 message told to expire\n"
    private.wait_delivered()
    (notice,) = private.mbox()
    text = notice.as_string()
    assert "c@x.example" in text and "Status: 5.4.7" in text
    assert "Final-Recipient: rfc822; b@x.example" not in text
    assert private.logged(name + ": told to expire by uid=")
    assert len(sink.messages) == 1


def test_expire_needs_no_server(private):
    """No next hop, and one that was held."""
    private.configure(SMARTHOST="127.0.0.1:1", DEFER=True)
    name = add(private, "b@x.example", "-f", private.user)
    done(private, "hold", name)
    done(private, "expire", name)
    assert name + "#" in private.mailq()
    entry = listed(private)[name]
    assert entry["forced_expire"] is True and entry["held"] is False
    private.flush()
    private.flush()  # the notice
    assert private.queue() == []
    assert "5.4.7" in private.mbox()[0].as_string()


def test_expire_of_one_that_may_not_be_told(private):
    name = add(private, "b@x.example", "-f", "<>")
    done(private, "expire", name)
    wait_for(lambda: private.traces() == ["dead." + name], "dead." + name)


def test_message_that_is_being_delivered(private, smtp):
    """One line, a status, and the others are done."""
    script = smtp.script("! stall\n")
    private.relay(script)
    private.submit("b@x.example")
    wait_for(lambda: script.connections, "a connection")
    (busy,) = private.queue()
    wait_for(lambda: busy + "*" in private.mailq(), "it to be at work")
    assert listed(private)[busy]["queue_name"] == "active"
    other = add(private, "c@x.example")
    # The runner is not told of -odq mail; should it see it, it has it.
    result = ctl(private, "remove", busy, other)
    assert result.exit == UNAVAILABLE, result
    assert busy + ": is being delivered" in result.err
    assert result.out == "1 message removed\n"
    assert private.queue() == [busy]


def test_message_that_was_delivered_before_it_could_be_changed(private, smtp):
    """Who named it is told that it has gone; for --all that is no fault."""
    go = threading.Event()
    sink = smtp.sink(answers={"DOT": lambda c, a: go.wait(60) and None})
    private.relay(sink)
    private.submit("b@x.example")
    (busy,) = private.queue()
    wait_for(lambda: busy + "*" in private.mailq(), "it to be at work")
    tools = [private.popen("queue", "remove", *choice, name="dmactl")
             for choice in ((busy,), ("--all",))]
    for tool in tools:
        wait_for(lambda tool=tool: instance.read_stat(tool.pid)[1] == "S",
                 "dmactl to wait for it")
    go.set()
    (out, err), (all_out, all_err) = (tool.communicate() for tool in tools)
    assert tools[0].returncode == UNAVAILABLE and out == b"0 messages removed\n"
    assert err.decode() == "dmactl: %s: has left the queue meanwhile\n" % busy
    assert tools[1].returncode == 0 and all_err == b""
    assert len(sink.messages) == 1


def test_hold_of_those_that_stand_in_line(private, smtp):
    """They were due when they were queued for the next hop; now they wait."""
    count, go = 60, threading.Event()
    sink = smtp.sink(answers={"GREETING": lambda c, a: go.wait(60) and None})
    private.relay(sink)
    copies(private, count)
    flush = private.popen("-q")
    wait_for(lambda: sink.connections, "a connection")
    wait_for(lambda: "*" in private.mailq(), "jobs to be given")
    result = ctl(private, "hold", "--all")
    held = int(result.out.split()[0])
    assert result.exit == UNAVAILABLE and 0 < held < count, result
    go.set()
    flush.communicate()
    assert flush.returncode == 0
    assert len(sink.messages) == count - held
    assert len(private.queue()) == held


# ---- Asking ----

def test_asks_before_several(private):
    names = {add(private) for _ in range(3)}
    for command in ("hold", "remove", "expire"):
        status, seen, out = on_terminal(
            private, "queue", command, "--all", typed="n\n")
        assert status == 0 and "3 messages? [y/N]" in seen
        assert out == "nothing was changed\n"
    assert set(private.queue()) == names
    assert not any(x["held"] for x in listed(private).values())
    status, seen, out = on_terminal(
        private, "queue", "remove", "--all", typed="y\n")
    assert out == "3 messages removed\n" and private.queue() == []


def test_does_not_ask(private):
    private.configure(SMARTHOST="127.0.0.1:1", DEFER=True)
    names = [add(private) for _ in range(3)]
    status, seen, out = on_terminal(private, "queue", "remove", names[0])
    assert (status, seen, out) == (0, "", "1 message removed\n")
    status, seen, out = on_terminal(private, "queue", "retry", "--all")
    assert (status, seen, out) == (0, "", "2 messages to be tried now\n")
    status, seen, out = on_terminal(
        private, "queue", "remove", "--all", "--yes")
    assert (status, seen, out) == (0, "", "2 messages removed\n")


# ---- -q with a choice ----

@pytest.mark.parametrize("args, tried", [
    (["-q"], "abc"), (["-qf"], "abc"), (["-q30m"], "abc"), (["-qp5m"], "abc"),
    (["-q!"], "abc"), (["-q!Q"], "abc"),
    (["-qRa@X"], "a"), (["-qR@y.example"], "bc"), (["-q!R@y.example"], "a"),
    (["-qSone@"], "ab"), (["-q!Sone"], "c"), (["-qSone", "-qRy.ex"], "b"),
    (["-qRa@", "-qRb@"], "ab"), (["-qRnobody"], ""),
    (["-qQ"], ""), (["-qL"], ""),
])
def test_flush_of_a_choice(private, smtp, args, tried):
    sink = smtp.sink()
    private.relay(sink)
    add(private, "a@x.example", "-f", "one@s.example")
    add(private, "b@y.example", "-f", "one@s.example")
    add(private, "c@y.example", "-f", "two@s.example")
    before = {n: (private.spool / n).stat() for n in private.queue()}
    result = private.run(*args)
    assert result.exit == 0 and result.err == "", result
    assert "".join(r[0] for r in sink.recipients_seen()) == tried
    for name in private.queue():  # not touched
        now = (private.spool / name).stat()
        assert now.st_mtime_ns == before[name].st_mtime_ns
    assert len(private.queue()) == 3 - len(tried)


def test_flush_by_id(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    names = {add(private) for _ in range(3)}
    one = min(names)
    private.run("-q!I" + one[-6:])
    assert private.queue() == [one] and len(sink.messages) == 2
    private.run("-qI" + one[5:].lower())
    assert private.queue() == []


@pytest.mark.parametrize("args", [
    ["-qI"], ["-q!R"], ["-qX"], ["-qr"], ["-qRx", "b@x.example"],
])
def test_flush_of_a_bad_choice(private, args):
    one_line(private.run(*args), USAGE)


# ---- Progress ----

LINE = r"\r(\d+) of (\d+), (\d+) waiting again"


@pytest.mark.parametrize("name, args", [
    ("sendmail", ["-q"]), ("dmactl", ["run"])])
def test_progress_on_a_terminal(private, smtp, name, args):
    copies(private, 40)
    sink = smtp.sink(answers={"RCPT": "450 4.2.0 later"})
    private.relay(sink, RETRY="1h")
    status, seen, out = on_terminal(private, *args, name=name)
    assert status == 0 and out == ""
    found = re.findall(LINE, seen)
    assert found[-1] == ("40", "40", "40"), seen
    assert seen.count("\n") == 1 and seen.endswith("\n")
    assert re.fullmatch(r"(%s)+\r?\n" % LINE, seen)
    counts = [int(n) for n, _, _ in found]
    assert counts == sorted(counts)


def test_no_progress_for_a_screenful_or_for_no_terminal(private, smtp):
    private.relay(smtp.sink())
    copies(private, 24)
    assert on_terminal(private, "-q", name="sendmail") == (0, "", "")
    copies(private, 40)
    result = private.flush()
    assert result.err == "" and result.out == ""


# ---- Several users ----

@pytest.mark.rows("S-07", "V-35", "D-09")
def test_users_have_their_own(system):
    """Another's message is answered for as one that is not there."""
    hers = add(system, user="alice")
    nobodys = hers[:-1] + ("0" if hers[-1] != "0" else "1")
    assert list(listed(system, user="alice")) == [hers]
    assert listed(system, user="bob") == {}
    for command in CHANGES + ("show",):
        said = [ctl(system, command, name, user="bob")
                for name in (hers, nobodys)]
        assert [x.exit for x in said] == [UNAVAILABLE] * 2
        assert said[0].err.replace(hers, nobodys) == said[1].err
        one_line(ctl(system, command, hers[:12], user="bob"), UNAVAILABLE)
        assert "0 messages" in ctl(
            system, command, "--all", user="bob").out or command == "show"
    entry = listed(system, user="alice")[hers]
    assert entry["held"] is False and entry["attempts"] == 0
    assert done(system, "remove", "--all",
                user="alice") == "1 message removed\n"
    assert system.queue() == []


def test_anybody_may_count(system):
    for user in ("alice", "alice", "root"):
        add(system, user=user)
    for user in ("alice", "bob", "root"):
        result = system.run("-bP", user=user)
        assert (result.exit, result.out) == (0, "3\n")


def test_root_has_all(system, smtp):
    hers, roots = add(system, user="alice"), add(system, user="root")
    assert set(listed(system, user="root")) == {hers, roots}
    assert done(system, "hold", "--all", user="root") == "2 messages held\n"
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    system.flush(user="alice")
    system.flush(user="root")
    assert sink.messages == []
    assert done(system, "release", hers, user="alice",
                ) == "1 message released\n"
    wait_for(lambda: len(sink.messages) == 1, "hers to arrive")
    done(system, "release", "--all", user="root")
    system.wait_delivered()
    assert system.logged(roots + ": released by uid=0")


def test_root_reaches_a_user_s_runner(system, smtp):
    sink = smtp.sink(host="192.0.2.1", answers={"RCPT": "450 4.2.0 later"})
    system.relay(sink, RETRY="1h")
    system.submit("b@x.example", user="alice")
    system.wait_deferred()
    (name,) = system.queue()
    sink = smtp.again(sink)
    done(system, "retry", name, user="root")
    system.wait_delivered()
    assert len(sink.messages) == 1


def test_root_expires_a_user_s_message(system):
    system.configure(SMARTHOST="127.0.0.1:1")
    name = add(system, "b@x.example", user="alice")
    done(system, "expire", name, user="root")
    wait_for(lambda: len(system.mailbox("alice")) == 1, "a notice")
    assert "5.4.7" in system.mailbox("alice")[0].as_string()
    system.wait_delivered()


# ---- Addresses that are not ASCII ----

HIDES = "\u0085\u009b\u00ad\u061c\u200b\u200f\u202e\u2066\ufeff\ue000\U000e0041"


@pytest.mark.rows("V-10", "L-95")
@pytest.mark.parametrize("env, reads", [
    ({"LANG": "de_DE.UTF-8"}, True), ({"LC_CTYPE": "C.utf8"}, True),
    ({"LC_ALL": "C", "LANG": "de_DE.UTF-8"}, False), ({}, False),
    ({"LC_ALL": "\x1b[2J" * 99}, False)])
def test_addresses_in_utf_8(private, env, reads):
    """For who reads it, as it is; what would steer his terminal, turn his
    line round or not be seen at all, for nobody."""
    odd = "".join("a%sb" % c for c in HIDES)
    private.submit("-odq", "-f", "gr\u00fc\u00dfe@b\u00fccher.example",
                   "\u30e6\u30fc\u30b6@x.example", odd + "@x.example")
    (name,) = private.queue()
    for out in (private.mailq(env=env),
                private.run("queue", "show", name, name="dmactl",
                            env=env).out.split("\n\n")[0]):
        assert not any(c in out for c in HIDES)
        assert re.search(r"a\?+ba\?+b.*@x\.example", out)
        assert ("gr\u00fc\u00dfe@b\u00fccher.example" in out) == reads
        assert ("\u30e6\u30fc\u30b6@x.example" in out) == reads
        assert reads or out.isascii()
