# SPDX-License-Identifier: BSD-3-Clause
"""sendmail -v prints a transcript: what a user sends us can be replayed.

Each transcript is played to `sendmail -v`; what that prints is played again,
as it is, and the second run must come to the same.
"""

import base64
import hashlib
import hmac
import re

import pytest

import instance
import smtpd
from test_transcripts import FILES, TEXT

# Whether we say hello before we see that it speaks no TLS is a race.
RACES = ("implicit-plain",)

# Played with other mail than ours.
OTHER_MAIL = {"# to", "# size"}

VERDICT = re.compile(r"to=<(b@x\S+)>.* dsn=(\S+), status=(\w+)")


def run(private, script, cert):
    """One foreground run; what it printed, and what became of the mail."""
    private.relay(
        script, *script.remarks.get("conf", []),
        login=script.remarks.get("login", [None])[0],
        TIMEOUTS=script.remarks.get("timeouts", ["10"])[0])
    before = len(private.log())
    result = private.run("-v", "b@x.example", text=TEXT)
    private.kill_runners()  # it would wait for the next try
    instance.wait_for(lambda: script.open == 0, "the server's side to end")
    for name in private.queue():
        (private.spool / name).unlink()
    # A reset at once may come before connect(2) has seen that it is there.
    verdicts = VERDICT.findall(
        private.log()[before:].replace("dsn=4.4.1", "dsn=4.4.2"))
    assert result.exit == 0 and verdicts != [], result
    assert all(" " <= c <= "~" or c == "\n" for c in result.err)
    return result.err, verdicts


@pytest.mark.parametrize(
    "path", [pytest.param(f, id=f.stem) for f in FILES
             if not f.stem.endswith(RACES) and OTHER_MAIL.isdisjoint(
                 line.split(":")[0] for line in f.read_text().splitlines())])
def test_transcript_of_a_transcript(path, private, smtp, authority):
    cert = authority.leaf("localhost", "127.0.0.1")
    first = smtp.script(path.read_text(), name=path.name, cert=cert)
    said, verdicts = run(private, first, cert)
    assert first.mistakes == []
    second = smtp.again(first, smtpd.Script, text=said, cert=cert)
    # What was configured is not in it: whoever reports a bug adds that.
    second.remarks = first.remarks
    again, same = run(private, second, cert)
    assert second.mistakes == [], said
    assert second.extra == 0, said
    assert same == verdicts, said
    # Nobody waits for what the server says when all is settled.
    told, before = told_by_server(again), told_by_server(said)
    assert told.startswith(before) or before.startswith(told)
    assert len(second.steps) == len(first.steps)


def told_by_server(said):
    """The bytes that the server sent, however they came in lines."""
    connections, _ = smtpd.parse_transcript(said)
    told = []
    for steps in connections:
        for step in steps:
            if step.kind == "S:":
                told.append(step.text + "\r\n")
            elif step.kind == "S-":
                told.append(step.text.encode().decode("unicode_escape"))
    return "".join(told)


def test_what_it_looks_like(private, smtp):
    """Every kind of line, as the manual has it."""
    sink = smtp.sink(answers={"DOT": "250 2.0.0 k\x1b\\\xe4"})
    private.relay(sink)
    said = private.run("-v", "b@x.example", text=TEXT).err.splitlines()
    kinds = [x for x in said if not x.startswith("# dma/")]
    assert kinds[0] == "== 127.0.0.1[127.0.0.1]:%d" % sink.port
    size = re.search(r"size=(\d+)", private.log()).group(1)
    assert kinds[1:] == [
        "S: 220 sink.example ESMTP", "C: EHLO client.example",
        "S: 250-sink.example", "S: 250-PIPELINING", "S: 250-SIZE 104857600",
        "S: 250-8BITMIME", "S: 250-DSN", "S: 250 ENHANCEDSTATUSCODES",
        "C: MAIL FROM:<%s@client.example> SIZE=%s" % (private.user, size),
        "C: RCPT TO:<b@x.example>", "C: DATA", "S: 250 2.1.0 Ok",
        "S: 250 2.1.5 Ok", "S: 354 go", "C: [message, %s bytes]" % size,
        r"S- 250 2.0.0 k\x1b\x5c\xc3\xa4\r\n"]


def forms_of(password):
    plain = password.encode()
    return [password, base64.b64encode(plain).decode(),
            base64.b64encode(b"\0someone\0" + plain).decode()]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_no_secret_is_shown(mechanism, private, smtp, authority):
    """STARTTLS and AUTH with a real server, then its transcript."""
    password = "Hush, hush: geheim"
    cert = authority.leaf("localhost", "127.0.0.1")
    sink = smtp.sink(auth={"someone": password}, mechanisms=(mechanism,),
                     tls="starttls", cert=cert, need_tls=True)
    login = "someone:" + password
    lines = ["SECURETRANSFER", "STARTTLS"]
    private.relay(sink, *lines, login=login)
    said = private.run("-v", "b@x.example", text=TEXT).err
    assert len(sink.messages) == 1, said
    secrets = forms_of(password)
    for challenge in re.findall("^S: 334 (.+)$", said, re.M):
        digest = hmac.new(password.encode(), base64.b64decode(challenge),
                          hashlib.md5).hexdigest()
        secrets += [digest, base64.b64encode(
            b"someone " + digest.encode()).decode()]
    for secret in secrets:
        assert secret not in said
    assert re.search(r"^! starttls\n# TLSv1", said, re.M), said
    assert re.search("^C: AUTH %s" % mechanism, said, re.M), said
    script = smtp.again(sink, smtpd.Script, text=said, cert=cert)
    private.relay(script, *lines, login=login)
    again = private.run("-v", "b@x.example", text=TEXT).err
    instance.wait_for(lambda: script.open == 0, "the server's side to end")
    assert script.mistakes == [] and len(script.bodies) == 1, again


def test_wrong_password_is_not_shown(private, smtp):
    sink = smtp.sink(auth={"someone": "right"}, mechanisms=("PLAIN",))
    private.relay(sink, "INSECURE", login="someone:Falsch-1")
    said = private.run("-v", "b@x.example", text=TEXT).err
    assert "\nC: AUTH PLAIN *\nS: 535 " in said
    for secret in forms_of("Falsch-1"):
        assert secret not in said


def test_interrupted_message(private, smtp):
    """The server refuses in the middle: no message, no final dot."""
    big = TEXT + "0123456789 0123456789 0123456789\n" * 500_000
    sink = smtp.keep(Impatient())
    private.relay(sink)
    said = private.run("-v", "b@x.example", text=big).err
    assert "S: 354 go\nS: 552 5.3.4 enough\n! stall\n" in said
    assert "[message" not in said and "status=bounced" in said
    script = smtp.again(sink, smtpd.Script, text=said)
    private.relay(script)
    again = private.run("-v", "b@x.example", text=big).err
    assert script.mistakes == []
    assert VERDICT.findall(again) == VERDICT.findall(said)


class Impatient(smtpd.Server):
    """Refuses a message while it is being sent."""

    def serve(self, connection, number, now_open):
        connection.send("220 impatient.example")
        for _ in range(3):
            connection.readline()
            connection.send("250 impatient.example")
        connection.readline()
        connection.send("354 go")
        for _ in range(3):
            connection.fill()
        connection.buffer.clear()
        connection.send("552 5.3.4 enough")
        while True:
            connection.fill()
            connection.buffer.clear()


def test_two_relays_do_not_interleave(private, smtp):
    """A list of relays: the dead ones are comments, one border each."""
    sink = smtp.sink(answers={"GREETING": "554 5.7.1 go away"})
    good = smtp.sink()
    private.configure(SMARTHOST="127.0.0.1:1, 127.0.0.1:%d, 127.0.0.1:%d"
                      % (sink.port, good.port))
    said = private.run("-v", "b@x.example", text=TEXT).err
    assert len(good.messages) == 1
    assert said.count("== 127.0.0.1[127.0.0.1]:") == 3
    assert re.search(r"^# connect to 127\S+:1: Connection refused$", said,
                     re.M)
    connections, _ = smtpd.parse_transcript(said)
    assert [c[0].text for c in connections] == [
        "554 5.7.1 go away", "220 sink.example ESMTP"]


def test_flush_of_many_is_one_dialogue_after_another(private, smtp):
    """-q -v: one agent, one message at a time, whatever the queue."""
    sink = smtp.sink()
    private.relay(sink)
    for _ in range(12):
        private.submit("-odq", "b@x.example", text=TEXT)
    result = private.run("-q", "-v")
    assert sink.most_open == 1 and len(sink.messages) == 12
    script = smtp.again(sink, smtpd.Script, text=result.err)
    private.relay(script)
    for _ in range(12):
        private.submit("-odq", "b@x.example", text=TEXT)
    assert "status=sent" in private.run("-q", "-v").err
    assert script.mistakes == [] and script.finished == len(script.steps)
    assert private.queue() == []


def test_log_on_stderr_is_comments(private, smtp):
    sink = smtp.sink()
    private.relay(sink, LOG="stderr")
    said = private.run("-v", "b@x.example", text=TEXT).err
    smtpd.parse_transcript(said)
    assert said.count("status=sent") == 1


def test_log_on_stderr_of_a_run(private, smtp):
    """In a container nothing else is there to log to."""
    private.relay(smtp.sink(), LOG="stderr")
    private.run("-odq", "b@x.example", text=TEXT)
    said = private.run("run", name="dmactl").err
    assert said.count("status=sent") == 1


def test_nothing_was_tried(private, smtp):
    """Silence would be a riddle."""
    private.relay(smtp.sink())
    private.submit("-odq", "b@x.example")
    said = private.run("-v", "-qRnobody@y.example").err
    assert said.startswith("# nothing was tried here") and len(
        said.splitlines()) == 1


def test_two_domains_are_two_dialogues(system, dns, smtp):
    """Two agents could be at work; their lines would mean nothing."""
    sinks = []
    for last, domain in ((5, "x.example"), (6, "y.example")):
        dns.add(domain, "MX", "10 mx." + domain)
        dns.add("mx." + domain, "A", "192.0.2.%d" % last)
        sinks.append(smtp.sink(host="192.0.2.%d" % last, port=25, answers={
            "GREETING": "220 mx." + domain}))
    said = system.run("-v", "b@x.example", "b@y.example", text=TEXT).err
    assert [len(s.messages) for s in sinks] == [1, 1], said
    connections, _ = smtpd.parse_transcript(said)
    assert len(connections) == 2
    for steps in connections:
        domain = steps[0].text.partition("mx.")[2]
        texts = [s.text for s in steps if s.kind == "C:"]
        assert "RCPT TO:<b@%s>" % domain in texts
        assert texts[-1].startswith("[message")


def test_internationalized_address_is_a_pattern(private, smtp):
    """One '?' for a character: the terminal gets ASCII, the replay works."""
    sink = smtp.sink(features=("SMTPUTF8", "8BITMIME"))
    private.relay(sink)
    said = private.run("-v", "j\u00f6rg@x.example", text=TEXT).err
    assert "\nC: RCPT TO:<j?rg@x.example>\n" in said, said
    assert said.isascii()
    script = smtp.again(sink, smtpd.Script, text=said)
    private.relay(script)
    again = private.run("-v", "j\u00f6rg@x.example", text=TEXT).err
    assert script.mistakes == [] and "status=sent" in again
