# SPDX-License-Identifier: BSD-3-Clause
"""Without the setgid right (NoNewPrivileges): mail goes to a -bs with it."""

import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

import house
import inetd
from instance import wait_for

PR_SET_NO_NEW_PRIVS = 38
DATAERR, NOINPUT, UNAVAILABLE, NOPERM = 65, 66, 69, 77
libc = ctypes.CDLL(None, use_errno=True)


def confine():
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


@pytest.fixture
def path(system):
    name = str(system.root / "submit")
    if os.path.exists(name):
        os.unlink(name)
    system.configure("DEFER", SUBMIT_SOCKET=name)
    return name


@pytest.fixture
def far(system, path):
    """What systemd does: root's -bs behind the socket."""
    server = inetd.Inetd(system, path, user="root")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fake(path):
    """A server of the tests in its place, with the replies given."""
    running = []

    def start(text):
        server = FakeServer(path, text)
        running.append(server)
        return server
    yield start
    for server in running:
        server.stop()


class FakeServer:
    def __init__(self, path, replies):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(5)
        self.replies = replies
        self.got = b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            connection, _ = self.listener.accept()
        except OSError:
            return
        with connection:
            for reply in self.replies:
                connection.sendall(reply.encode())
                ends = b"\r\n.\r\n" if reply.startswith("354") else b"\r\n"
                before = len(self.got)
                while not self.got[before:].endswith(ends):
                    try:
                        piece = connection.recv(65536)
                    except ConnectionResetError:
                        return
                    if not piece:
                        return
                    self.got += piece

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def submit(system, *args, text="Subject: s\n\nhello\n", **more):
    return system.run(*args, text=text, preexec_fn=confine, **more)


def queued(system):
    """The one queued message: its text and whose it is."""
    (name,) = system.queue()
    file = system.spool / name
    return (file.read_bytes().decode(),
            pwd.getpwuid(file.stat().st_uid).pw_name)


def refused(system, result, status, *words):
    assert result.exit == status, result
    assert result.err.count("\n") == 1, result
    for word in words:
        assert word in result.err
    assert system.queue() == [] and system.traces() == []


def test_the_message_arrives_and_belongs_to_its_sender(system, far):
    result = submit(system, "b@x.example")
    assert (result.exit, result.out, result.err) == (0, "", "")
    text, owner = queued(system)
    assert owner == "alice"
    assert "\nsender alice@client.example\n" in text
    assert "from user alice, uid %d)" % pwd.getpwnam("alice").pw_uid in text
    assert 'From: Alice Example <alice@client.example>' in text
    assert text.endswith("\n\nhello\n")


def test_it_is_delivered(system, path, far, smtp):
    sink = smtp.sink(host="192.0.2.10")
    system.relay(sink, SUBMIT_SOCKET=path)
    assert submit(system, "b@x.example").exit == 0
    wait_for(lambda: sink.messages, "the message to arrive")
    system.wait_delivered()


def test_everything_travels(system, far):
    """Sender, unexpanded recipients, DSN, -t, full name; no Bcc."""
    system.aliases("staff: c@x.example, d@x.example\n")
    result = submit(
        system, "-t", "-f", "boss@x.example", "-F", "The Boss, Esq.", "-N",
        "success,delay", "-R", "hdrs", "-V", "q1", "staff",
        text="To: b@x.example\nBcc: e@x.example\nX: y\n z\n\n.\n..\n.a\n")
    assert result.exit == 0, result
    text, _ = queued(system)
    assert "\nsender boss@x.example\nenvid q1\nret H\n" in text
    for name in "bcde":
        assert re.search(r"^R T \d+ a\t.*\t%s@x\.example$" % name, text,
                         re.M), text
    assert 'From: "The Boss, Esq." <boss@x.example>\n' in text
    assert "Bcc" not in text
    assert "X: y\n z\n" in text
    assert text.endswith("\n\n.\n..\n.a\n")


def test_what_is_in_the_header_stays(system, far):
    assert submit(system, "-F", "Other", "b@x.example",
                  text="From: Me <me@x.example>\n\n").exit == 0
    text, _ = queued(system)
    assert "From: Me <me@x.example>\n" in text and "Other" not in text


@pytest.mark.parametrize("args, text", [
    (("-F", "Joe Doe"), ""), (("-F", "J. Doe"), "From: \n"),
    (("-F", ""), ""), (("-F", ""), "From: me\n"),
    (("-F", "J\u00f6", "-f", ""), ""), (("-F", "Doe " * 60), ""),
    (("-F", "Joe Doe"), "Resent-To: c@x.example\nFrom: me\n"),
    (("-F", "Joe Doe"), "Resent-From: you\nResent-To: c@x.example\n"),
    ((), "Resent-To: c@x.example\n"),
])
def test_the_authors_are_those_of_a_direct_submission(
        system, far, args, text):
    def authors(send):
        assert send(system, "b@x.example", *args,
                    text=text + "\n\n").exit == 0
        header, _ = queued(system)
        os.unlink(system.spool / system.queue()[0])
        return sorted(re.findall(r"^(?:Resent-)?From: .*(?:\n\s.*)*", header,
                                 re.M))
    direct = authors(type(system).run)
    assert direct and authors(submit) == direct


@pytest.mark.parametrize("body", [
    b"", b"no end", b"a\r\nb\r\n", b"a\rb\0c\xff\n", b"x" * 100000 + b"\n",
    b"Subject-like: x\n\ny\n", b"From me\n"])
def test_the_body_is_as_it_was(system, far, body):
    system.submit("b@x.example", text=b"Subject: s\n\n" + body)
    (direct,) = system.queue()
    expected = (system.spool / direct).read_bytes().split(b"\n\n", 1)[1]
    os.unlink(system.spool / direct)
    assert submit(system, "b@x.example",
                  text=b"Subject: s\n\n" + body).exit == 0
    (name,) = system.queue()
    assert (system.spool / name).read_bytes().split(b"\n\n", 1)[1] == expected


def test_the_null_sender_and_international_ones(system, far):
    assert submit(system, "-f", "<>", "-F", "Nobody", "b@x.example").exit == 0
    text, _ = queued(system)
    assert "\nsender \n" in text
    os.unlink(system.spool / system.queue()[0])
    assert submit(system, "-f", "jürgen@x.example", "用户@例え.example").exit == 0
    text, _ = queued(system)
    assert "\nsender jürgen@x.example\n" in text
    assert "用户@例え.example" in text


def test_a_thousand_recipients(system, far):
    assert submit(system, *("u%d@x.example" % n for n in range(1000))).exit == 0
    assert queued(system)[0].count("\nR T ") == 1000


def test_without_a_socket(system, path):
    result = submit(system, "b@x.example")
    refused(system, result, NOPERM, "NoNewPrivileges", "dma-submit.socket",
            path)


def test_configuration_for_the_group_alone(system, path):
    """As Debian installs that of the old dma: its group is what is missing."""
    os.chmod(system.conf_path, 0o640)
    try:
        refused(system, submit(system, "b@x.example"), 78,
                "no set-group-id right here: chmod o+r %s" % system.conf_path)
    finally:
        os.chmod(system.conf_path, 0o644)


def test_nobody_listens_any_more(system, path, far):
    far.stop()
    refused(system, submit(system, "b@x.example"), NOPERM,
            "dma-submit.socket")


def test_smtp_without_a_socket(system, path):
    result = system.run("-bs", text="HELO x\r\n", preexec_fn=confine)
    assert result.exit == NOPERM
    assert result.out.startswith("421 ") and result.out.endswith("\r\n")
    assert "dma-submit.socket" in result.err


def test_smtp_is_passed_on(system, far):
    """Symfony in a confined PHP: it waits for the end after QUIT."""
    process, s = inetd.over_pipes(system, preexec_fn=confine)
    assert s.reply().startswith("220 ")
    s.expect("250", "HELO [127.0.0.1]")
    s.expect("250", "MAIL FROM:<a@x.example>")
    s.expect("250", "RCPT TO:<b@x.example>")
    s.expect("354", "DATA")
    s.send("Subject: s\r\n\r\n" + ("x" * 70 + "\r\n") * 20000 + ".\r\n")
    assert s.reply().startswith("250 Ok: queued as ")
    s.expect("221", "QUIT")
    assert process.wait(10) == 0
    assert queued(system)[1] == "alice"


@pytest.mark.parametrize("args", [("-bp",), ("-q",)])
def test_the_queue_is_out_of_reach(system, far, args):
    refused(system, submit(system, *args), NOPERM, "NoNewPrivileges")
    refused(system, submit(system, "run", name="dmactl"), NOPERM,
            "NoNewPrivileges")


def test_the_alias_file_can_be_checked(system):
    assert submit(system, "-bi").exit == 0


def test_credentials_are_not_needed(system, path, far, smtp):
    """auth.conf cannot be read here, and need not be."""
    system.relay(smtp.sink(host="192.0.2.10"), "DEFER", SUBMIT_SOCKET=path,
                 login="user:secret")
    assert submit(system, "b@x.example").exit == 0
    assert queued(system)[1] == "alice"


def test_a_broken_configuration_is_said(system, path):
    system.configure("NOSUCHKEY")
    result = submit(system, "b@x.example")
    assert result.exit == 78 and "dma.conf:" in result.err


def test_what_the_other_end_refuses(system, path, far):
    system.configure("DEFER", "LOCALONLY", SUBMIT_SOCKET=path)
    refused(system, submit(system, "bob", "b@x.example"), UNAVAILABLE,
            "b@x.example", "LOCALONLY")


def test_one_unknown_user_fails_alone(system, path, far):
    """The others have the mail, and the sender is told: as with the right to
    write the spool.  Who speaks SMTP himself is told at once."""
    system.aliases("gone: error:5.1.6 she left\n")
    result = submit(system, "bob", "nosuchuser", "gone")
    assert (result.exit, result.err) == (0, ""), result
    system.configure()
    system.flush(user="root")
    assert len(system.mailbox("bob")) == 1
    notices = "".join(x.as_string() for x in system.mailbox("alice"))
    for words in ("<nosuchuser>", "Status: 5.1.1", "<gone>", "she left"):
        assert words in notices
    system.configure("DEFER", SUBMIT_SOCKET=path)
    result = submit(system, "-bs", text="EHLO me\r\nMAIL FROM:<>\r\n"
                    "RCPT TO:<nosuchuser>\r\nRCPT TO:<bob>\r\nQUIT\r\n")
    assert "\n550 5.1.1 " in result.out and "\n250 2.1.5 Ok" in result.out


def test_what_is_refused_here(system, far):
    refused(system, submit(system, "a@b@c"), DATAERR, "a@b@c")
    refused(system, submit(system), 64)
    refused(system, submit(system, "-t", text="Subject: s\n\n"), 64)


def test_too_large(system, path, far):
    system.configure("DEFER", SUBMIT_SOCKET=path, MAXSIZE="10k")
    refused(system, submit(system, "b@x.example", text="\n" + "x\n" * 9999),
            UNAVAILABLE, "MAXSIZE")


def test_the_other_end_is_killed_in_the_message(system, far):
    process = system.popen("b@x.example", preexec_fn=confine)
    process.stdin.write(b"Subject: s\n\n" + b"x\n" * 100000)
    process.stdin.flush()
    wait_for(system.traces, "the other end to write")
    far.processes[0].send_signal(signal.SIGKILL)
    far.processes[0].wait(10)
    _, err = process.communicate(timeout=30)
    assert process.returncode == UNAVAILABLE
    assert err.count(b"\n") == 1 and b"nothing is queued" in err
    assert system.queue() == []
    assert submit(system, "b@x.example").exit == 0
    assert len(system.queue()) == 1


def test_we_are_killed_in_the_message(system, far):
    process = system.popen("b@x.example", preexec_fn=confine)
    process.stdin.write(b"Subject: s\n\n" + b"x\n" * 100000)
    process.stdin.flush()
    wait_for(system.traces, "the other end to write")
    process.kill()
    process.wait()
    wait_for(lambda: not system.traces(), "the draft to go")
    assert system.queue() == []


OK = ("220 x ESMTP\r\n", "250-x\r\n250 DSN\r\n", "250 2.1.0 Ok\r\n",
      "250 2.1.5 Ok\r\n", "354 go\r\n")


@pytest.mark.parametrize("replies, status, text", [
    (("554 5.7.1 not you\r\n",), UNAVAILABLE, "not you"),
    (("421 busy\r\n",), UNAVAILABLE, "busy"),
    ((), UNAVAILABLE, "nothing is queued"),
    (OK[:2] + ("553 5.1.7 bad sender\r\n",), DATAERR, "bad sender"),
    (OK[:3] + ("550 5.7.1 LOCALONLY\r\n",), UNAVAILABLE, "LOCALONLY"),
    (OK[:4] + ("451 4.3.0 disk\r\n",), 74, "disk"),
    (OK[:2] + ("451 4.3.5 SENDERS: x: gone\r\n",), 78, "x: gone"),
    (OK + ("552 5.3.4 large\r\n",), UNAVAILABLE, "large"),
    (OK + ("garbage\r\n",), DATAERR, "garbage"),
    (OK + ("2 people are here\r\n",), DATAERR, "people"),
    (OK + ("2500 maybe\r\n",), DATAERR, "maybe"),
    (OK + ("250-" * 1000 + "\r\n",), UNAVAILABLE, "may have been accepted"),
    (OK + ("250-on and on\r\n" * 1000,), UNAVAILABLE, "may have been"),
    (OK + ("2" * 5000,), UNAVAILABLE, "may have been accepted"),
])
def test_what_a_strange_end_says(system, fake, replies, status, text):
    fake(replies)
    refused(system, submit(system, "b@x.example"), status, text)


def test_only_a_local_socket_is_used(system, path, far):
    if shutil.which("strace") is None:
        pytest.skip("strace is not here")
    trace = system.root / "trace"
    trace.write_text("")
    os.chmod(trace, 0o666)
    alice = pwd.getpwnam("alice")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", trace, "-e", "trace=%network",
         system.bin / "sendmail", "b@x.example"],
        input=b"Subject: s\n\nx\n", capture_output=True, check=False,
        user=alice.pw_uid, group=alice.pw_gid, extra_groups=[],
        preexec_fn=confine)
    assert done.returncode == 0, done
    text = trace.read_text()
    # Whom it connects to cannot be read: its memory is not to be looked at.
    assert "connect(" in text
    assert set(re.findall(r"socket\((\w+)", text)) == {"AF_UNIX"}
    assert queued(system)[1] == "alice"


def test_units(system, tmp_path):
    """`make install-systemd` puts paths in."""
    done = subprocess.run(
        ["make", "-f", house.TOP / "Makefile", "install-systemd",
         "DESTDIR=%s" % tmp_path, "SBIN=/x/sbin", "UNITDIR=/units"],
        cwd=system.build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    units = tmp_path / "units"
    assert sorted(os.listdir(units)) == [
        "dma-run.service", "dma-run.timer", "dma-submit.socket",
        "dma-submit@.service"]
    assert "ExecStart=/x/sbin/dmactl run\n" in (
        units / "dma-run.service").read_text()
    assert "ExecStart=-/x/sbin/sendmail -bs\n" in (
        units / "dma-submit@.service").read_text()
    assert "ListenStream=/run/dma/submit\n" in (
        units / "dma-submit.socket").read_text()
    # By default 200 connections in two seconds close the socket for good.
    assert "TriggerLimitIntervalSec=0\n" in (
        units / "dma-submit.socket").read_text()
    for unit in units.iterdir():
        assert "@" not in unit.read_text()
