# SPDX-License-Identifier: BSD-3-Clause
"""How sendmail is called in the wild: every caller, flag and situation.

A row is one caller, or one flag, as its own source has it: what it passes,
what it pipes in, and what has to come of it, as a Postfix would have it.  All
rows of a table go into one instance, which then is flushed once; what a row
came to is looked up by its queue id.  The callers themselves are run in
test_callers.py.
"""

import email
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import threading

import pytest

import house
import instance
import smtpd
from conftest import numbers

USAGE, DATAERR, NOINPUT = 64, 65, 66
HOST = "@client.example"
ME = object()  # the caller's own address


class Row:
    """One call.  Recipients without a domain get ours."""

    def __init__(self, name, argv, text, to, sender=ME, argv0="sendmail",
                 has=None, lacks=(), body=None, env=None, params=None,
                 mail_params="", **popen):
        self.name, self.argv, self.text = name, argv.split(), text
        self.to = sorted(a if "@" in a else a + HOST for a in to.split())
        self.sender, self.argv0, self.has = sender, argv0, has or {}
        self.lacks, self.body, self.env = lacks, body, env
        self.params, self.popen = params, popen
        self.mail_params = mail_params

    def __repr__(self):
        return self.name


def quoted(*argv):
    """For values that hold blanks."""
    class Argv(str):
        def split(self):
            return list(argv)
    return Argv()


PHP = ("To: a@x.example\r\nSubject: s\r\nX-PHP-Originating-Script: 33:a.php"
       "\r\n\r\nline\n.\nBcc: b@x.example\n")
PHP_BODY = "line\n.\nBcc: b@x.example\n"
CRON = ("From: \"(Cron Daemon)\" <root>\nTo: root\nSubject: Cron <root@h> job\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
        "Content-Transfer-Encoding: 8bit\nAuto-Submitted: auto-generated\n"
        "Precedence: bulk\nX-Cron-Env: <SHELL=/bin/sh>\n"
        "X-Cron-Env: <HOME=/root>\n\nout\n.\nput\n")
OLD_CRON = ("From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@h> job\n"
            "X-Cron-Env: <SHELL=/bin/sh>\n\nout\n.\nput\n")
CRON_BODY = "out\n.\nput\n"
FULL = ("From: F <f@s.example>\nTo: a@x.example\nCc: b@x.example\n"
        "Subject: s\nDate: Mon, 01 Jan 2024 00:00:00 +0000\n"
        "Message-ID: <1@s.example>\n\ntext\n")
FULL_HAS = {"From": "F <f@s.example>", "To": "a@x.example",
            "Cc": "b@x.example", "Message-ID": "<1@s.example>",
            "Date": "Mon, 01 Jan 2024 00:00:00 +0000"}
WITH_BCC = FULL.replace("Subject", "Bcc: c@x.example\nSubject")
PLAIN = "To: a@x.example\nSubject: s\n\ntext\n"
DOTS = "Subject: s\n\none\n.\ntwo\n"
BOTH = "a@x.example b@x.example"
BASE64 = "QUJD" * 19 + "\n"
ALERT = ("Content-Type: multipart/alternative; boundary=\"b\"\nTo: root\n"
         "Subject: s\n\n--b\n\ntext\n--b--\n")


# One row a caller; a caller that has several ways has several.
CALLERS = [
    Row("php", "-t -i", PHP, "a@x.example", body=PHP_BODY,
        has={"X-PHP-Originating-Script": "33:a.php"}),
    Row("php with a 5th argument", "-t -i -fuser@dom.example", PHP,
        "a@x.example", "user@dom.example", body=PHP_BODY),
    Row("PHPMailer sendmail mode", "-fs@s.example -i -t", FULL, BOTH,
        "s@s.example", has=FULL_HAS),
    Row("PHPMailer older", "-oi -fs@s.example -t", FULL, BOTH, "s@s.example"),
    Row("PHPMailer SingleTo", "-fs@s.example -i -t",
        PLAIN.replace("\n", "\r\n"), "a@x.example", "s@s.example",
        body="text\n"),
    Row("Symfony native", "-i -fs@s.example a@x.example b@x.example",
        WITH_BCC, BOTH, "s@s.example", has=FULL_HAS, lacks=("Bcc",)),
    Row("Symfony native without -i doubles dots",
        "-fs@s.example a@x.example", "Subject: s\n\n..x\n", "a@x.example",
        "s@s.example", body="..x\n"),
    Row("SwiftMailer", "-t -fs@s.example", FULL, BOTH, "s@s.example"),
    Row("Drupal core", "-t -i -fs@s.example", PHP, "a@x.example",
        "s@s.example", body=PHP_BODY),
    Row("PEAR Mail", "-i -fs@s.example -- a@x.example b@x.example", FULL,
        BOTH, "s@s.example", has=FULL_HAS),
    Row("cronie", "-FCronDaemon -i -odi -oem -oi -t -f root", CRON, "root",
        "root" + HOST, body=CRON_BODY, has={
            "From": "\"(Cron Daemon)\" <root%s>" % HOST, "To": "root" + HOST,
            "Auto-Submitted": "auto-generated", "Precedence": "bulk",
            "Content-Type": "text/plain; charset=UTF-8",
            "X-Cron-Env": ["<SHELL=/bin/sh>", "<HOME=/root>"]}),
    Row("Debian cron", "-FCronDaemon -i -B8BITMIME -oem root", OLD_CRON,
        "root", body=CRON_BODY,
        has={"From": "root%s (Cron Daemon)" % HOST, "To": "root" + HOST}),
    Row("Vixie cron", "-FCronDaemon -odi -oem -oi -t", OLD_CRON, "root",
        body=CRON_BODY, has={"From": "root%s (Cron Daemon)" % HOST}),
    Row("systemd-cron", quoted("-i", "-B", "8BITMIME", "root"), CRON, "root",
        body=CRON_BODY),
    Row("anacron", "-FAnacron -odi root",
        "From: root\nTo: root\nSubject: Anacron job\n\nout\n.\nput\n",
        "root", body=CRON_BODY, stdin="file", stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, has={"From": "root" + HOST}),
    Row("busybox crond", "-ti", "To: root\nSubject: cron: job\n\nout\n",
        "root", body="out\n", stdin="file", has={"To": "root" + HOST}),
    Row("atd", "-i root", "Subject: Output from your job 1\nTo: root\n\nout\n",
        "root", body="out\n"),
    Row("git send-email", "-f e@s.example -i a@x.example b@x.example", FULL,
        BOTH, "e@s.example", has=FULL_HAS),
    Row("git send-email without an envelope sender",
        "-i a@x.example b@x.example", FULL, BOTH, has=FULL_HAS),
    Row("mutt", "-oem -oi -B8BITMIME -f m@s.example -N never -R hdrs -- "
        "a@x.example b@x.example c@x.example", WITH_BCC, BOTH + " c@x.example",
        "m@s.example", has=FULL_HAS, lacks=("Bcc",), params="NOTIFY=NEVER"),
    Row("bsd-mailx, and so Nagios and smartd", "-i -m a@x.example", PLAIN, "a@x.example",
        argv0="send-mail", body="text\n", has={"To": "a@x.example"}),
    Row("bsd-mailx -v", "-i -v a@x.example", PLAIN, "a@x.example",
        argv0="send-mail", body="text\n"),
    Row("bsd-mailx of Debian", "-r r@s.example -h 5 -i a@x.example", PLAIN,
        "a@x.example", "r@s.example", argv0="send-mail"),
    Row("s-nail", "-i -m -r r@s.example -- a@x.example b@x.example", FULL,
        BOTH, "r@s.example", has=FULL_HAS),
    Row("heirloom mailx", "-i -f r@s.example -F Name a@x.example", PLAIN,
        "a@x.example", "r@s.example", has={"From": "Name <r@s.example>"}),
    Row("GNU mailutils", "-oi -f user@host.example -t", FULL, BOTH,
        "user@host.example", has=FULL_HAS),
    Row("GNU mailutils, a plain local user", "-oi -f alice a@x.example", PLAIN,
        "a@x.example", "alice" + HOST),
    Row("Python", "-t -oi", FULL, BOTH, has=FULL_HAS),
    Row("unattended-upgrades", "-oi -t", FULL, BOTH, has=FULL_HAS),
    Row("apt-listchanges", "-oi -t",
        "To: root\nSubject: s\nMIME-Version: 1.0\n\ntext\n", "root",
        has={"MIME-Version": "1.0", "To": "root" + HOST}),
    Row("Email::Sender", "-i -f e@s.example -- a@x.example b@x.example", FULL,
        BOTH, "e@s.example", has=FULL_HAS),
    Row("MIME::Lite", "-t -oi -oem", WITH_BCC, BOTH + " c@x.example",
        has=FULL_HAS, lacks=("Bcc",)),
    Row("MIME::Lite FromSender", "-t -oi -oem -f f@s.example", FULL, BOTH,
        "f@s.example"),
    Row("Perl", "-t -oi -oem", FULL, BOTH),
    Row("Perl, -t alone", "-t", FULL, BOTH),
    Row("Perl, -odq", "-odq a@x.example", PLAIN, "a@x.example"),
    Row("Perl, -odb", "-oi -t -odb", FULL, BOTH),
    Row("Request Tracker", "-oi -t -f rt@s.example", FULL, BOTH,
        "rt@s.example"),
    Row("Request Tracker, a bounce", quoted("-oi", "-t", "-f", "<>"), FULL,
        BOTH, ""),
    Row("Request Tracker, long options",
        "-oi -t -ODeliveryMode=b -OErrorMode=m", FULL, BOTH),
    Row("Ruby mail", "-i -f f@s.example -- a@x.example", FULL, "a@x.example",
        "f@s.example", has=FULL_HAS, stderr=subprocess.STDOUT),
    Row("Ruby mail, older", "-i -t", FULL, BOTH),
    Row("nodemailer", "-i -f f@s.example a@x.example b@x.example c@x.example",
        WITH_BCC.replace("\n", "\r\n"), BOTH + " c@x.example", "f@s.example",
        has=FULL_HAS, lacks=("Bcc",), body="text\n"),
    Row("Dovecot redirect", "-i -f f@s.example -- a@x.example",
        "Return-Path: <old@s.example>\n" + FULL, "a@x.example", "f@s.example",
        has=FULL_HAS, lacks=("Return-Path",)),
    Row("Dovecot vacation", quoted("-i", "-f", "<>", "--", "a@x.example"),
        FULL.replace("\n", "\r\n"), "a@x.example", "", body="text\n"),
    Row("Proxmox", "-B 8BITMIME -f f@s.example -- a@x.example",
        "From: f@s.example\nSubject: s\nMIME-Version: 1.0\n"
        "Content-Transfer-Encoding: base64\n\n" + BASE64 * 50,
        "a@x.example", "f@s.example", body=BASE64 * 50),
    Row("sudo", "-t", "To: root\nFrom: alice\nAuto-Submitted: auto-generated\n"
        "Subject: *** SECURITY ***\n\nh : alice : 1\n.\nend\n", "root",
        env={"HOME": "/", "PATH": "/usr/bin:/bin", "LOGNAME": "alice",
             "USER": "alice"}, body="h : alice : 1\n.\nend\n",
        has={"From": "alice" + HOST, "To": "root" + HOST}),
    Row("mdadm", "-t", "From: mdadm monitoring <root>\nTo: root\nSubject: "
        "DegradedArray event\n\ntext\n.\nP.S. /proc/mdstat\n", "root",
        has={"From": "mdadm monitoring <root%s>" % HOST},
        body="text\n.\nP.S. /proc/mdstat\n",
        preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN)),
    Row("smartd's examples", "root a@x.example",
        "Subject: SMART error\nTo: root, a@x.example\n\ntext\n",
        "root a@x.example", has={"To": "root%s, a@x.example" % HOST}),
    Row("fail2ban", quoted("-f", "fail2ban", "root"),
        "Subject: [Fail2Ban] sshd\nDate: Mon, 01 Jan 2024 00:00:00 +0000\n"
        "From: Fail2Ban <fail2ban>\nTo: root\n\nHi,\n.\nRegards\n", "root",
        "fail2ban" + HOST, has={"From": "Fail2Ban <fail2ban%s>" % HOST},
        body="Hi,\n.\nRegards\n"),
    Row("fail2ban, several destinations",
        quoted("-f", "fail2ban", "a@x.example,b@x.example"), PLAIN, BOTH,
        "fail2ban" + HOST),
    Row("logwatch", "-t", "To: root\nFrom: Logwatch\nSubject: s\n"
        "Mime-Version: 1.0\n\n.\nend\n", "root",
        has={"From": "Logwatch" + HOST}, body=".\nend\n"),
    Row("netdata", "-t -F netdata -f netdata@s.example", ALERT, "root",
        "netdata@s.example", has={"From": "netdata <netdata@s.example>"},
        body="--b\n\ntext\n--b--\n"),
    Row("Emacs", "-oi -f f@s.example -oem -odb -t", FULL, BOTH,
        "f@s.example"),
    Row("Emacs, old set-ups", "-oA/etc/aliases -odq -oi -t", FULL, BOTH),
    Row("git-multimail", "-oi -t", FULL, BOTH, has=FULL_HAS),
]


# One row a flag that is to be accepted; "b@x.example" is added.
FLAGS = [
    "-Ac", "-Ap", "-Aq", "-B7BIT", "-B anything", "-bm", "-d", "-d8.1",
    "-d -i", "-E", "-e", "-em", "-ep", "-eq", "-ew", "-e -i", "-G", "-D", "-i",
    "-oi", "-o i", "-m", "-om", "-n", "-ODeliveryMode=b", "-O DeliveryMode=i",
    "-odi", "-odb", "-o db", "-oA/etc/aliases", "-s", "-x", "-T", "-U", "-v",
    "-im", "-oi -odi -oem", "-FCronDaemon -i -odi -oem",
]
FLAG_TEXT = "Subject: s\n\none\n.\ntwo\n"

VALUES = [  # the same, attached and separate: flag, value, what it does
    ("-f", "v@s.example", {"sender": "v@s.example"}),
    ("-r", "v@s.example", {"sender": "v@s.example"}),
    ("-F", "CronDaemon", {"has": {"From": re.compile("CronDaemon <")}}),
    ("-N", "never", {"params": "NOTIFY=NEVER"}),
    ("-N", "success,delay", {"params": "NOTIFY=SUCCESS,DELAY"}),
    ("-R", "hdrs", {"mail_params": "RET=HDRS"}),
    ("-R", "full", {"mail_params": "RET=FULL"}),
    ("-V", "id.1", {"mail_params": "ENVID=id.1"}),
    ("-L", "tag", {}), ("-B", "8BITMIME", {}), ("-h", "17", {}),
    ("-A", "m", {}), ("-J", "file", {}), ("-X", "/dev/null", {}),
    ("-p", "ESMTP:host", {}), ("-o", "em", {}), ("-O", "ErrorMode=m", {}),
]


def value_rows():
    rows = []
    for flag, value, wanted in VALUES:
        for argv in ((flag + value,), (flag, value)):
            rows.append(Row(" ".join(argv), quoted(*argv, "b@x.example"),
                            FLAG_TEXT, "b@x.example",
                            body="one\n.\ntwo\n", **wanted))
    return rows


FLAG_ROWS = [Row(flags, flags + " b@x.example", FLAG_TEXT, "b@x.example",
                 body="one\n.\ntwo\n") for flags in FLAGS] + value_rows() + [
    Row("operands before options", "b@x.example -i -f v@s.example", FLAG_TEXT,
        "b@x.example", "v@s.example"),
    Row("-d does not swallow -t", "-d -t", PLAIN, "a@x.example"),
    Row("-e does not swallow -t", "-e -t", PLAIN, "a@x.example"),
    Row("-F only where From is missing", "-F Other -t", FULL, BOTH,
        has={"From": "F <f@s.example>"}),
]


# Messages that callers are known to pipe in.
LONG_LINE = "<p>" + "word " * 200_000 + "</p>\n"
TEXTS = [
    Row("CRLF header, LF body", "-t -i", "To: a@x.example\r\nSubject: s\r\n"
        "\r\nBcc: b@x.example\nend\n", "a@x.example",
        body="Bcc: b@x.example\nend\n"),
    Row("LF header, CRLF body", "-t -i", "To: a@x.example\nSubject: s\n\n"
        "Bcc: b@x.example\r\nend\r\n", "a@x.example",
        body="Bcc: b@x.example\nend\n"),
    Row("CRLF throughout", "-t", "To: a@x.example\r\n\r\nCc: b@x.example\r\n",
        "a@x.example", body="Cc: b@x.example\n"),
    Row("group", "-t", "To: team: a@x.example, \"B\" <b@x.example>;\n\nx\n",
        BOTH),
    Row("empty group beside Bcc", "-t",
        "To: undisclosed-recipients:;\nBcc: a@x.example\n\nx\n",
        "a@x.example", has={"To": "undisclosed-recipients:;"},
        lacks=("Bcc",)),
    Row("old-style comment", "-t", "To: root (Cron Daemon)\n\nx\n", "root",
        has={"To": "root%s (Cron Daemon)" % HOST}),
    Row("quoted phrase with a comma", "-t",
        "To: \"Doe, J\" <a@x.example>, b@x.example\n\nx\n", BOTH,
        has={"To": "\"Doe, J\" <a@x.example>, b@x.example"}),
    Row("encoded-word phrase", "-t",
        "To: =?UTF-8?Q?J=C3=B6rg=2C_B?= <a@x.example>\n\nx\n", "a@x.example",
        has={"To": "=?UTF-8?Q?J=C3=B6rg=2C_B?= <a@x.example>"}),
    Row("Resent-To alone counts", "-t", "Resent-To: a@x.example\n"
        "Resent-Bcc: b@x.example\nTo: c@x.example\n\nx\n", BOTH,
        has={"To": "c@x.example"}, lacks=("Resent-Bcc",)),
    Row("500 recipients in one folded field", "-t", "To: " + ",\n ".join(
        "u%d@x.example" % n for n in range(500)) + "\nSubject: s\n\nx\n",
        " ".join("u%d@x.example" % n for n in range(500)), body="x\n"),
    Row("100 KB of X-Cron-Env", "-t", "To: a@x.example\n" + "".join(
        "X-Cron-Env: <V%d=%s>\n" % (n, "y" * 90) for n in range(1000))
        + "\nx\n", "a@x.example", body="x\n", has={"X-Cron-Env": [
            "<V%d=%s>" % (n, "y" * 90) for n in range(1000)]}),
    Row("1 MB in one line", "-t", "To: a@x.example\n"
        "Content-Type: text/html\n\n" + LONG_LINE, "a@x.example",
        body=LONG_LINE),
    Row("no final newline", "-t", "To: a@x.example\n\nx", "a@x.example",
        body="x\n"),
    Row("header alone, no newline", "-t", "To: a@x.example\nSubject: x",
        "a@x.example", body="", has={"Subject": "x"}),
    Row("a file at offset 0", "-t", PLAIN, "a@x.example", stdin="file",
        body="text\n"),
    Row("called as /usr/lib/sendmail", "-t", PLAIN, "a@x.example",
        argv0="/usr/lib/sendmail", body="text\n"),
]


# ---- Running the tables ----

class Called:
    """An instance, a sink, and what became of each row."""

    def __init__(self, scratch, tree):
        self.private = instance.Private(
            scratch / ("table.%d" % next(numbers)), tree)
        self.sink = smtpd.Sink().start()
        self.private.relay(self.sink, "NULLCLIENT", "DEFER")
        self.results, self.ids = {}, {}

    def call(self, row):
        before = set(self.private.queue())
        arrived = len(self.sink.messages)
        more = dict(row.popen)
        text = row.text.encode()
        if more.get("stdin") == "file":
            path = self.private.directory / "stdin"
            path.write_bytes(text)
            self.private.own(path)
            more["stdin"] = path.open("rb")
        if row.env is not None:
            more["env"] = row.env
        process = self.popen(row, more)
        if "stdin" in more:
            more["stdin"].close()
            text = None
        out, err = process.communicate(text, instance.COMMAND_BOUND)
        self.results[row] = (process.returncode, out or b"", err or b"")
        self.ids[row] = sorted(set(self.private.queue()) - before)
        if not self.ids[row]:
            self.ids[row] = self.sink.messages[arrived:]  # in the foreground

    def popen(self, row, more):
        if row.argv0.startswith("/"):
            more["executable"] = str(self.private.bin / "dma")
        return self.private.popen(*row.argv, name=row.argv0, **more)

    def flush(self):
        self.private.flush()
        for row, found in self.ids.items():
            self.ids[row] = [
                m for m in self.sink.messages
                if m in found or any(
                    isinstance(i, str) and "id %s" % i in m.text
                    for i in found)]
        assert self.private.queue() == []


@pytest.fixture(scope="module")
def called(scratch, tree):
    one = Called(scratch, tree)
    for row in CALLERS + FLAG_ROWS + TEXTS:
        one.call(row)
    one.flush()
    yield one
    one.sink.stop()
    instance.kill_all()


def check(called, row):
    status, out, err = called.results[row]
    assert status == 0, (out, err)
    quiet = "-v" not in row.argv
    assert not quiet or (out, err) == (b"", b""), "it said something"
    messages = called.ids[row]
    assert messages, "it is neither in the queue nor at the server"
    recipients = sorted(r for m in messages for r in m.recipients)
    assert recipients == row.to
    for message in messages:
        check_message(called, row, message)


def decoded(message):
    """The body as it was piped in, whatever had to be done for the way."""
    parsed = email.message_from_bytes(message.data)
    if parsed.get("Content-Transfer-Encoding") != "quoted-printable":
        return message.body
    data = parsed.get_payload(decode=True)
    return data.decode().replace("\r\n", "\n")


def check_message(called, row, message):
    sender = row.sender
    if sender is ME:
        sender = called.private.user + HOST
    assert message.sender == sender
    assert row.mail_params in message.params
    for name, value in row.has.items():
        found = message.header(name)
        if isinstance(value, re.Pattern):
            assert len(found) == 1 and value.search(found[0]), found
        else:
            assert found == (value if isinstance(value, list) else [value])
    for name in row.lacks + ("Return-Path", "Bcc"):
        assert message.header(name) == []
    # Each message has them once, whoever wrote them.
    for name in ("Date", "Message-ID", "From", "Received"):
        assert len(message.header(name)) == 1, name
    assert message.header("To") + message.header("Cc") != []
    if row.body is not None:
        assert decoded(message) == row.body
    if row.params is not None:
        assert all(row.params in p for p in message.recipient_params)


@pytest.mark.parametrize("row", CALLERS, ids=repr)
def test_caller(called, row):
    check(called, row)


@pytest.mark.parametrize("row", FLAG_ROWS, ids=repr)
def test_flag(called, row):
    check(called, row)


@pytest.mark.parametrize("row", TEXTS, ids=repr)
def test_text(called, row):
    check(called, row)


def test_rules_of_the_wire(called):
    assert called.sink.violations == []


def test_tag_is_in_the_log(called):
    assert " tag/submit[" in called.private.log()


# ---- 4.4: flags that do something else than send ----

def nothing_sent(private, result, status):
    assert result.exit == status, result
    assert private.queue() == [] and private.traces() == []


def test_daemon_of_old_init_scripts(private):
    """One line that says why, and what to use."""
    result = private.run("-bd", "-q30m", text="")
    nothing_sent(private, result, USAGE)
    assert result.err.count("\n") == 1 and "dmactl run" in result.err, result


@pytest.mark.parametrize("name", ["a\nBcc: c@x.example", "a\rb", "x" * 300])
def test_full_name_refused(private, name):
    result = private.run("-F", name, "b@x.example", text="x\n")
    nothing_sent(private, result, DATAERR)
    assert result.err.count("\n") == 1, result


@pytest.mark.parametrize("flag", ["-bh", "-bH", "-bi", "-I"])
def test_flag_that_only_ends_well(private, flag):
    """Package scripts run these with `set -e`."""
    nothing_sent(private, private.run(flag, text="x\n"), 0)


@pytest.mark.parametrize("flag", ["-bv", "-bP"])
def test_flag_that_only_shows(private, flag):
    """Nothing is ever sent, whatever it shows."""
    result = private.run(flag, "b@x.example", text="Subject: s\n\nx\n")
    nothing_sent(private, result, result.exit)


@pytest.mark.parametrize("flag", ["-q", "-q30m", "-q1h"])
def test_flush_of_old_init_scripts(private, smtp, flag):
    sink = smtp.sink()
    private.relay(sink)
    private.submit("-odq", "b@x.example")
    result = private.run(flag)
    assert (result.exit, result.out, result.err) == (0, "", "")
    assert private.queue() == [] and len(sink.messages) == 1


def test_trace_file_is_not_written(private):
    private.submit("-odq", "-X", str(private.directory / "trace"),
                   "b@x.example")
    assert not (private.directory / "trace").exists()


# ---- 4.5: exit statuses, and what callers inherit to us ----

@pytest.mark.parametrize("text, status", [
    ("Subject: no recipient\n\nx\n", USAGE),
    ("To: a@x@y\n\nx\n", DATAERR),
    ("To: a@x.example, \"b\n\nx\n", DATAERR),
    ("Bcc: a b@x.example\n\nx\n", DATAERR),
    ("To: a@x.example\x01\n\nx\n", DATAERR)])
def test_status_of_a_refusal(private, text, status):
    """One line to the caller, and the same reason in the log."""
    result = private.run("-t", text=text)
    nothing_sent(private, result, status)
    assert result.err.count("\n") == 1, result
    reason = result.err.rstrip("\n").partition(": ")[2]
    assert "not accepted: " + reason in private.log(), result


def held_greeting(smtp):
    """A server that says nothing until the test lets it."""
    go = threading.Event()
    sink = smtp.sink(answers={
        "GREETING": lambda *_: None if go.wait(60) else "421 4.3.2 no"})
    return go, sink


def test_pclose_returns_beside_a_black_hole(private, smtp):
    """The order: pclose; then, much later, the server's first word."""
    go, sink = held_greeting(smtp)
    private.relay(sink, TIMEOUTS=100)
    result = private.run("-t", text=PLAIN)
    assert (result.exit, result.out, result.err) == (0, "", "")
    instance.wait_for(lambda: sink.connections, "a connection")
    assert not go.is_set() and sink.messages == []
    assert len(private.queue()) == 1
    go.set()
    private.wait_delivered()
    assert len(sink.messages) == 1


def test_stdin_held_open(private, smtp):
    """cron keeps the pipe open for hours: nobody else waits for that."""
    sink = smtp.sink()
    private.relay(sink)
    with private.popen("-t") as slow:
        slow.stdin.write(b"To: slow@x.example\nSubject: slow\n\none\n")
        slow.stdin.flush()
        instance.wait_for(private.traces, "a draft in the spool")
        private.submit("quick@x.example", text="Subject: quick\n\nx\n")
        instance.wait_for(lambda: sink.subjects() == ["quick"], "the other")
        assert slow.poll() is None
        slow.stdin.write(b"two\n")
        slow.stdin.close()
        assert slow.wait(instance.BOUND) == 0
    private.wait_delivered()
    assert sink.subjects() == ["quick", "slow"]
    assert sink.messages[1].body == "one\ntwo\n"


def ignore(number):
    return lambda: signal.signal(number, signal.SIG_IGN)


@pytest.mark.parametrize("number", [
    signal.SIGCHLD, signal.SIGPIPE, signal.SIGHUP, signal.SIGALRM],
    ids=lambda n: n.name)
@pytest.mark.parametrize("args", [(), ("-D",)], ids=["background", "-D"])
def test_ignored_signals(private, smtp, number, args):
    sink = smtp.sink()
    private.relay(sink)
    private.submit(*args, "b@x.example", preexec_fn=ignore(number))
    private.wait_delivered()
    assert len(sink.messages) == 1


def bare(private, argv, uid=None, **more):
    """Without the environment that instance.py gives."""
    account = pwd.getpwnam(private.user)
    if house.IS_ROOT:
        more.update(user=account.pw_uid if uid is None else uid,
                    group=account.pw_gid, extra_groups=[])
    more.setdefault("env", {})
    more.setdefault("cwd", "/")
    return subprocess.run(
        [str(private.bin / "sendmail"), *private.first_args, *argv],
        capture_output=True, check=False, timeout=60, **more)


def test_empty_environment(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    done = bare(private, ["-t"], input=PLAIN.encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    private.wait_delivered()
    assert sink.messages[0].sender == private.user + HOST


def test_unreadable_directory(private, smtp):
    """Neither what submits nor what delivers needs the current directory."""
    place = private.directory / "closed"
    place.mkdir()
    private.own(place)

    def enter():
        os.chdir(place)
        os.chmod(place, 0)
    sink = smtp.sink()
    private.relay(sink)
    done = bare(private, ["-t"], input=PLAIN.encode(), preexec_fn=enter)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    private.wait_delivered()
    assert len(sink.messages) == 1


def test_unknown_uid(system, smtp):
    """Containers: a uid without a name is no error; its number will do."""
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    done = bare(system, ["-t"], uid=61234, input=PLAIN.encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    instance.wait_for(lambda: sink.messages, "the message")
    (message,) = sink.messages
    assert re.search("61234", message.sender), message.sender
    assert message.sender.endswith(HOST)
    assert message.header("From") == [message.sender]


def test_file_size_limit_leaves_room_for_small_mail(private, smtp):
    """A caller's RLIMIT_FSIZE that the message fits in costs nothing."""
    sink = smtp.sink()
    private.relay(sink)
    private.submit("b@x.example", preexec_fn=lambda: resource.setrlimit(
        resource.RLIMIT_FSIZE, (65536, 65536)))
    private.flush()
    assert len(sink.messages) == 1 and private.queue() == []


# ---- 4.6: mailq, as monitors read it ----

def check_mailq(text):
    """monitoring-plugins' check_mailq -M postfix: None is its UNKNOWN."""
    last = text.splitlines()[-1]
    if "Mail queue is empty" in last:
        return 0
    found = re.search(r"Kbytes in (\d+)", last)
    return int(found.group(1)) if found else None


@pytest.mark.parametrize("viewer", ["alice", "bob", "nobody", "root"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_mailq_of_everybody(system, count, viewer):
    """The total counts all; the messages are the viewer's own, root's all."""
    for number in range(count):
        system.submit("-odq", "a%d@x.example" % number, user="alice")
    shown = system.run(name="../bin/mailq", user=viewer)
    assert shown.exit == 0 and shown.err == "", shown
    assert check_mailq(shown.out) == count
    seen = count if viewer in ("alice", "root") else 0
    assert shown.out.count("@x.example") == seen
    assert system.run("-bp", user=viewer).out == shown.out


def test_mailq_layout(private, smtp):
    """Postfix's columns; a reason once, before those it is about."""
    sink = smtp.sink(recipients={
        "a@x.example": "450 4.2.0 grey", "b@x.example": "450 4.2.0 grey",
        "c@x.example": "452 4.2.2 full"})
    private.relay(sink)
    private.submit("-odq", "-f", "", "a@x.example", "b@x.example",
                   "c@x.example")
    private.flush()
    lines = private.mailq().splitlines()
    assert lines[0].split() == [
        "-Queue", "ID-", "--Size--", "----Arrival", "Time----",
        "-Sender/Recipient-------"]
    assert re.match(r"\w{20}  +\d+ \w{3} \w{3} [ \d]\d [\d:]{8}  "
                    r"MAILER-DAEMON$", lines[1]), lines[1]
    column = lines[1].index("MAILER-DAEMON")
    kinds = ["(grey)" if "grey" in x else "(full)" if "full" in x
             else x.strip() for x in lines[2:-2]]
    assert kinds == ["(grey)", "a@x.example", "b@x.example", "(full)",
                     "c@x.example"]
    for line in lines[2:-2]:
        if "(" not in line:
            assert line == " " * column + line.strip()
        else:
            assert line == line.strip().rjust(76)
    assert lines[-2] == ""
    assert re.match(r"-- \d+ Kbytes in 1 Request\.$", lines[-1])


# ---- 4.3: callers that speak SMTP to -bs (all else about it: test_bs.py) ----

def transaction(subject, *recipients, sender="s@s.example"):
    """What a library says for one message, and the replies it insists on."""
    return [("MAIL FROM:<%s>" % sender, "250 "),
            *[("RCPT TO:<%s>" % r, "25[012] ") for r in recipients],
            ("DATA", "354 "),
            ("Subject: %s\r\n\r\n..x\r\nend\r\n." % subject,
             "250 (Ok|.* Ok):? (queued as )?[0-9A-Za-z-]+$")]


SYMFONY = [("HELO [127.0.0.1]", "250 "), *transaction("one", "a@x.example"),
           ("NOOP", "250 "), *transaction("two", "a@x.example", "b@x.example"),
           ("RSET", "250 "), ("QUIT", "221 ")]
SESSIONS = {
    "Symfony": ("-bs", SYMFONY, "one two"),
    "SwiftMailer": ("-bs", [("HELO localhost", "250 "),
                            *transaction("one", "a@x.example"),
                            ("QUIT", "221 ")], "one"),
    "Alpine": ("-bs -odb -oem", [("EHLO localhost", "250 "),
                                 *transaction("one", "a@x.example"),
                                 ("QUIT", "221 ")], "one"),
    # They speak to localhost alone: a socket unit answers them.
    "Zabbix, Django, Grafana, alertmanager": ("-bs", [
        ("EHLO client", "250 "),
        ("MAIL FROM:<s@s.example> SIZE=100 BODY=8BITMIME", "250 "),
        *transaction("one", "a@x.example")[1:], ("QUIT", "221 ")], "one"),
    "a null sender": ("-bs", [("EHLO localhost", "250 "), *transaction(
        "one", "a@x.example", sender=""), ("QUIT", "221 ")], "one"),
}


@pytest.mark.parametrize("name", SESSIONS)
@pytest.mark.parametrize("socketed", [False, True],
                         ids=["pipe", "socket"])
def test_smtp_session(private, smtp, name, socketed):
    argv, steps, subjects = SESSIONS[name]
    sink = smtp.sink()
    private.relay(sink, "DEFER")
    process = Dialogue(private, argv.split(), socketed)
    assert process.reply().startswith("220 ")  # before we say anything
    for said, wanted in steps:
        process.say(said + "\r\n")
        answer = process.reply()
        assert re.match(wanted, answer), (said, answer)
    assert process.wait() == 0
    private.flush()
    assert sink.subjects() == subjects.split()
    for message in sink.messages:
        assert message.sender == ("" if "null" in name else "s@s.example")
        assert message.body == ".x\nend\n"


class Dialogue:
    """-bs on pipes, as PHP runs it, or on a local socket, as systemd does."""

    def __init__(self, private, argv, socketed):
        if socketed:
            mine, its = socket.socketpair()
            self.process = private.popen(*argv, stdin=its, stdout=its)
            its.close()
            self.source = self.sink = mine.makefile("rwb", buffering=0)
            mine.close()
        else:
            self.process = private.popen(*argv)
            self.source, self.sink = self.process.stdout, self.process.stdin

    def say(self, text):
        self.sink.write(text.encode())
        self.sink.flush()

    def reply(self):
        """The last line of the next reply."""
        while True:
            line = self.source.readline().decode()
            assert line.endswith("\r\n"), "it ended: %r" % line
            if line[3:4] == " ":
                return line[:-2]

    def wait(self):
        return self.process.wait(instance.BOUND)
