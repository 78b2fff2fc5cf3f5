# SPDX-License-Identifier: BSD-3-Clause
"""Passwords and keys come out nowhere: not even where a server repeats them.

Every test whose login has a password of six bytes or more is one of these:
its output, log, queue and mailbox are searched by its fixture."""

import base64
import glob
import os
import pathlib
import re
import resource
import signal

import pytest

import instance

PASSWORD = "hunter2-canary"
PLAIN = base64.b64encode(b"\0u\0" + PASSWORD.encode()).decode()
WORD = base64.b64encode(PASSWORD.encode()).decode()
HELLO = "S: 220 x\nC: EHLO *\nS: 250-x\nS: 250 AUTH "


def relay(private, smtp, text, user="u", **keys):
    script = smtp.script(text)
    private.relay(script, "INSECURE", login="%s:%s" % (user, PASSWORD), **keys)
    return script


@pytest.mark.parametrize("reply", [
    "535 5.7.8 bad password %s" % PASSWORD, "454 4.7.0 %s%s" % (WORD, PLAIN),
    "535-no\nS: 535 5.7.8 \"AUTH PLAIN %s\"" % PLAIN.rstrip("=")])
def test_a_server_that_repeats_the_password(private, smtp, reply):
    relay(private, smtp, HELLO + "PLAIN\nC: AUTH PLAIN *\nS: %s\n" % reply)
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    shown = result.err + private.log() + private.mailq() + private.run(
        "queue", "list", "--json", name="dmactl").out + private.run(
            "queue", "show", private.queue()[0], name="dmactl").out
    assert reply[:3] in private.mailq() and "*****" in private.mailq()
    for form in (PASSWORD, PLAIN[:-4], WORD[:-4]):
        assert form not in shown
    private.check_secrets()


def test_a_server_that_repeats_it_later(private, smtp):
    """In the notice that its refusal makes."""
    relay(private, smtp, HELLO + "PLAIN\nC: AUTH PLAIN *\nS: 235 hello %s\n"
          "C: MAIL *\nS: 250 ok %s\nC: RCPT *\nS: 550 5.1.1 no, %s\n"
          % (PASSWORD, WORD, PASSWORD))
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert "S: 235 hello *****" in result.err
    (notice,) = instance.wait_for(private.mbox, "the notice")
    assert "550 5.1.1 no, *****" in notice.as_string()


def test_a_line_without_end_that_repeats_it(private, smtp):
    relay(private, smtp, HELLO + "PLAIN\nC: AUTH PLAIN *\n"
          "S- 535 wrong: %s\n! close\n" % PASSWORD)
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert "wrong: *****" in result.err


@pytest.mark.parametrize("said", [
    base64.b64encode(b"\0user\0" + PASSWORD.encode()).decode(),
    WORD, PASSWORD, "535" + WORD])
@pytest.mark.parametrize("asked", [
    "PLAIN\nC: AUTH PLAIN *\n",
    "LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\n"
    "S: 334 UGFzc3dvcmQ6\nC: *\n"], ids=["PLAIN", "LOGIN"])
def test_a_server_that_repeats_it_without_a_code(private, smtp, asked, said):
    """Our own line comes back: no reply, but -v shows it."""
    relay(private, smtp, HELLO + asked + "S: %s\n" % said, user="user")
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert re.search(r"^S: \S*\*{5}", result.err, re.M), result
    assert "status=deferred" in private.log()
    shown = (result.err + private.log() + private.mailq()).encode()
    assert not [x for x in private.secrets if x in shown]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.rows("V-45")
def test_the_dialogue_does_not_show_it(private, smtp, mechanism):
    """What run() finds in -v fails a test; and a refusal is no exception."""
    sink = smtp.sink(auth={"u": PASSWORD}, mechanisms=[mechanism])
    private.relay(sink, "INSECURE", login="u:" + PASSWORD, FULLBOUNCE=True)
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert "C: AUTH %s" % mechanism in result.err
    sink.auth["u"] = "another"
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert "S: 535" in result.err and len(sink.auth_tries) == 2


@pytest.mark.parametrize("password, prompt", [
    ("password", "password:"), ("Passwo", "Password:"), ("word", "word"),
    ("Password:", "Password:")])
def test_a_prompt_that_looks_like_the_password(private, smtp, password,
                                               prompt):
    """In base64 they begin alike; that is no reason to hide it from us."""
    def said(text):
        return base64.b64encode(text.encode()).decode()
    script = smtp.script(
        HELLO + "LOGIN\nC: AUTH LOGIN\nS: 334 %s\nC: dQ==\nS: 334 %s\n"
        "C: %s\nS: 235 ok\nC: MAIL *\nS: 250 ok\nC: RCPT *\nS: 250 ok\n"
        "C: DATA\nS: 354 go\nC: [message]\nS: 250 ok\n"
        % (said("Username:"), said(prompt), said(password)))
    private.relay(script, "INSECURE", login="u:x")
    private.write(private.directory / "auth.conf",
                  "u|127.0.0.1:%s\n" % password, 0o600)
    private.submit("-D", "b@x.example")
    assert script.mistakes == [] and private.queue() == []


def test_short_passwords_leave_texts_alone(private, smtp):
    """In too many words by chance."""
    script = smtp.script(HELLO + "PLAIN\nC: AUTH PLAIN AHUAcA==\n"
                         "S: 535 please spell properly\n")
    private.relay(script, "INSECURE", login="u:p")
    private.run("-D", "b@x.example", text="Subject: s\n\nx\n")
    assert "please spell properly" in private.mailq()


def facts(pid, name):
    return pathlib.Path("/proc", str(pid), name).read_text("latin-1")


def test_processes_that_know_it(private, smtp):
    """No core, no reader of their memory, nothing in what ps shows."""
    relay(private, smtp, HELLO + "PLAIN\nC: AUTH PLAIN *\n! stall\n",
          TIMEOUTS=100)
    before = set(glob.glob("/core*"))
    private.submit("b@x.example", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],
                               ) * 2))
    instance.wait_for(lambda: "dma-smtp" in instance.processes().values(),
                      "an agent")
    for pid, name in instance.processes().items():
        limits = facts(pid, "limits")
        assert re.search(r"Max core file size +0 +", limits), name
        # Who is not dumpable belongs to root, in /proc.
        assert os.stat("/proc/%d/mem" % pid).st_uid == 0, name
        for form in instance.secret_forms("u", PASSWORD):
            shown = facts(pid, "cmdline")
            try:
                shown += facts(pid, "environ")
            except PermissionError:
                pass
            assert form.decode() not in shown
    for pid, name in instance.processes().items():
        if name == "dma-smtp":
            os.kill(pid, signal.SIGSEGV)
    private.wait_deferred()
    assert set(glob.glob("/core*")) == before
    assert not list(private.directory.rglob("core*"))


def test_the_search_finds_them(private, smtp):
    """It is no use if it cannot fail."""
    sink = smtp.sink(auth={"u": PASSWORD}, mechanisms=["CRAM-MD5"])
    private.relay(sink, "INSECURE", login="u:" + PASSWORD)
    private.submit("-D", "b@x.example")
    (message,) = sink.messages
    (said,) = [b[3:] for a, b in zip(message.connection.lines,
                                     message.connection.lines[1:])
               if a.startswith("S: 334")]
    digest = base64.b64decode(said).decode().split(" ")[1]
    for text in (PASSWORD, WORD, PLAIN, PASSWORD.encode().hex(), said, digest,
                 base64.b64encode(b"x" + PASSWORD.encode() + b"y").decode()):
        private.write(private.spool / "tmp.x", "> %s <\n" % text)
        with pytest.raises(AssertionError):
            private.check_secrets()
    (private.spool / "tmp.x").unlink()
