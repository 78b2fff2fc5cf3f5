# SPDX-License-Identifier: BSD-3-Clause
"""Every transcript: what becomes of a message to b@x.example.

Remarks in a transcript that are read here:

    # expect: [address] delivered | deferred | bounced
    # reason: words that mailq, or the notice, must show
    # dsn: the enhanced status codes in the log
    # to: addresses, where it is not b@x.example alone
    # size: bytes of the message, about
    # conf: a line for dma.conf (repeated)
    # login: user:password for auth.conf
    # timeouts: percent of the usual deadlines
    # modes: plain, where it has no sense inside TLS
    # uncertain: yes, where the server may have it: tried again, but later

What is deferred is sent again to a server that takes it, and must arrive
there: a server may delay mail, never lose it.

Those where TLS may change the answer are played inside STARTTLS and implicit
TLS too.  After each, whatever the server did: no process used more than a
second of CPU or 64 MiB; no credential was said in plain text but where
INSECURE is set (conftest.py, for all tests); nothing was sent without a whole
2yz to the dot, nothing failed without a whole 5yz to a command of the
transaction, or a definite mismatch; nothing that the server said is a
line of its own, or a control, in log, spool, notice or mailq.
"""

import json
import os
import pathlib
import re
import resource

import pytest

import certs
import instance
import smtpd

FILES = sorted(pathlib.Path(__file__).with_name("transcripts").glob("*.smtp"))
TEXT = "Subject: transcript\nTo: b@x.example\n\nthe text\n"
STATUS = {"delivered": "sent", "deferred": "deferred", "bounced": "bounced"}
PREFACE = ("C: EHLO client.example", "S: 250-script.example",
           "S: 250 STARTTLS", "C: STARTTLS", "S: 220 go", "! starttls")
CONF = {"plain": (), "implicit": ("SECURETRANSFER",),
        "starttls": ("SECURETRANSFER", "STARTTLS")}
# A line of the log: a time, who, and printable text.
LOGGED = re.compile(r"\S+ [ -~\u0080-\U0010ffff]+")
RESULT = re.compile(
    r": to=<(\S+?)>(?:, orig_to=<\S*>)?, relay=(\S+), delay=\S+, "
    r"delays=\S+, dsn=(\S+), status=(\w+) \((.*)\)$", re.M)
HALF_AN_HOUR = 1800
SANITIZED = "DMA_BUILD" in os.environ  # slower, larger
CPU_S, DATA_BYTES = 10 if SANITIZED else 1, 64 << 20


def modes(text):
    """How it can be played, and where TLS may change what comes of it."""
    yield "plain"
    if "TLS" in text or "HELO client" in text or "# modes: plain" in text:
        return
    if not re.search(r"^! |^S-|421|AUTH|^C: \[message", text, re.M):
        return
    yield "implicit"
    if all("C: EHLO" in part for part in text.split("\n==")):
        yield "starttls"


def inside(mode, text):
    """The transcript as it is played inside TLS."""
    out = []
    for part in re.split(r"(?m)^(?===)", text):
        lines = part.splitlines()
        if mode == "starttls":
            at = lines.index(PREFACE[0])
            lines[at:at] = PREFACE
        elif mode == "implicit":
            at = next(i for i, line in enumerate(lines)
                      if line[:2] in ("S:", "S-", "! "))
            lines[at:at] = ["! tls"]
        out += lines
    return "\n".join(out) + "\n"


CASES = [pytest.param(path, mode, id="%s-%s" % (path.stem, mode))
         for path in FILES for mode in modes(path.read_text())]


class Play:
    """One transcript and what it may come to."""

    def __init__(self, path, mode, smtp, cert):
        self.mode, self.smtp = mode, smtp
        self.script = smtp.script(inside(mode, path.read_text()),
                                  name=path.name, cert=cert)
        remarks = self.script.remarks
        self.remarks = remarks
        self.to = remarks.get("to", ["b@x.example"])[0].split()
        self.login = remarks.get("login", [None])[0]
        self.conf = [*remarks.get("conf", []), *CONF[mode]]
        if self.login and mode != "plain":
            # The certificate is known: no INSECURE for the credential.
            self.conf = [x for x in self.conf if x != "INSECURE"]
            self.conf.append("FINGERPRINT " + certs.fingerprint(cert))
        words = [x.split() for x in remarks["expect"]]
        self.expect = {to: words[0][-1] for to in self.to}
        self.expect.update(x for x in words if len(x) == 2)
        self.body = "the text\n"
        size = int(remarks.get("size", ["0"])[0])
        self.body += ("x" * 70 + "\n") * (size // 71)

    def of(self, what):
        return [to for to in self.to if self.expect[to] == what]

    def run(self, private):
        private.relay(self.script, *self.conf, login=self.login,
                      TIMEOUTS=self.remarks.get("timeouts", ["10"])[0])
        private.submit("-odq", *self.to,
                       text=TEXT.replace("the text\n", self.body))
        before = cpu_used()
        private.flush(preexec_fn=bound_memory)
        private.wait_idle()
        assert cpu_used() - before < CPU_S  # M1
        instance.wait_for(
            lambda: self.script.mistakes or
            self.script.finished == len(self.script.steps),
            "the transcript to be played to its end")
        assert self.script.mistakes == []
        assert self.script.extra == 0, "tried again and again"


def bound_memory():
    """M1: what a server makes us use fits into this."""
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES, DATA_BYTES))


def cpu_used():
    """Seconds, of all processes that ended below us."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("path, mode", CASES)
@pytest.mark.rows("S-10")
def test_transcript(path, mode, private, smtp, authority):
    play = Play(path, mode, smtp, authority.leaf("localhost", "127.0.0.1"))
    play.run(private)
    check_log(private, play)
    check_said(play)
    check_traces(private)
    if play.of("delivered"):
        assert play.script.bodies[-1].endswith(b"\r\n\r\nthe text\r\n")
    check_bounced(private, play)
    check_deferred(private, play)


def check_log(private, play):
    """M5: each recipient has its own result, and each line is ours."""
    assert all(LOGGED.fullmatch(x) for x in private.log().splitlines())
    assert "crash" not in private.log()
    results = {found[0]: found[1:] for found in RESULT.findall(private.log())
               if found[0] != private.user}  # whose notice it is
    assert {to: x[2] for to, x in results.items()} == {
        re.sub("[^ -~]", "??", to): STATUS[word]
        for to, word in play.expect.items()}
    for relay, dsn, status, text in results.values():
        assert dsn[0] == {"sent": "2", "deferred": "4", "bounced": "5"}[status]
        assert relay == "127.0.0.1[127.0.0.1]:%d" % play.script.port
        assert dsn in play.remarks.get("dsn", [dsn])[0].split()
        if status == "bounced" and dsn not in ("5.3.4", "5.6.7"):  # M2
            code, stage = re.search(
                r" said: (5\d\d) .*\(in reply to (.*) command\)$", text).groups()
            assert stage in ("MAIL FROM", "RCPT TO", "DATA", "end of DATA")
            assert any(re.match("S: %s " % code, line) or
                       re.match(r"S- %s .*\\n" % code, line)
                       for x in play.script.connections for line in x.lines)


def check_said(play):
    """M3, from what went over the wire; conftest.py looks for M4."""
    if not play.of("delivered"):
        return
    answers = []
    for connection in play.script.connections:
        said = "".join(x[3:] + "\n" if x.startswith("S: ") else
                       x[3:].replace("\\n", "\n") if x.startswith("S- ") else
                       x[:10] + "\n" for x in connection.lines)
        answers += re.findall(r"(?m)^C: \[messag\n((?:[^CS!].*\n?)*)", said)
    assert answers and all(
        re.match(r"(2\d\d-.*\n)*2\d\d( .*)?\n", x) for x in answers), answers


def check_traces(private):
    """What it said is no line and no control of a spool file or of mailq."""
    assert private.traces() == []
    for name in private.queue():
        data = (private.spool / name).read_bytes()
        journal = data[data.rindex(b"the text\n"):]
        assert not any(c in journal for c in b"\r\x1b\x07")
    listing = private.mailq()
    assert all(" " <= c <= "~" or c == "\n" for c in listing)
    for message in private.mbox():
        # Only what is ours, or what stands in the text of the message.
        text = message.as_string()
        assert not any(c < " " and c not in "\n\t" for c in text)


def check_deferred(private, play):
    waiting, login, script = play.of("deferred"), play.login, play.script
    assert len(private.queue()) == (1 if waiting else 0)
    if not waiting:
        return
    listing = private.mailq()
    assert "(" in listing, "mailq gives no reason: " + listing
    if not play.of("bounced"):
        for words in script.remarks.get("reason", []):
            assert words in listing
    (entry,) = map(json.loads, private.run(
        "queue", "list", "--json", name="dmactl").out.splitlines())
    soon = entry["next_try"] < entry["arrival_time"] + HALF_AN_HOUR
    if "uncertain" in script.remarks:
        assert not soon and "the message may have arrived" in listing
    else:
        assert soon and "may have arrived" not in listing
    user, _, password = (login or "").partition(":")
    sink = play.smtp.again(script, smtpd.Sink,
                           auth={user: password} if login else None)
    private.relay(sink, "INSECURE", login=login)
    private.flush()
    assert private.queue() == []
    (message,) = sink.messages
    assert message.recipients == waiting
    assert message.body == play.body


def check_bounced(private, play):
    notices = private.mbox()
    assert len(notices) == (1 if play.of("bounced") else 0)
    if not notices:
        return
    text = notices[0].as_string()
    for words in play.script.remarks.get("reason", []):
        assert words in text
    assert all(to in text for to in play.of("bounced") if to.isascii())
