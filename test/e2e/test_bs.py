# SPDX-License-Identifier: BSD-3-Clause
"""sendmail -bs: SMTP on standard input and output."""

import os
import pwd
import re
import smtplib
import socket
import subprocess
import time

import pytest

import house
import inetd
from instance import wait_for

QUEUED = re.compile(r"^250 (2\.0\.0 )?Ok: queued as ([0-9A-V]{20})$")
IOERR = 74


@pytest.fixture
def listen():
    """Start a tiny inetd."""
    running = []

    def start(*args, **options):
        running.append(inetd.Inetd(*args, **options))
        running[-1].start()
        return running[-1]
    yield start
    for one in running:
        one.stop()


@pytest.fixture
def held(private):
    """A private instance that only queues."""
    private.configure("DEFER")
    private.aliases("staff: b@x.example, c@x.example\n")
    return private


@pytest.fixture
def talk(held):
    """A session over pipes, after its greeting."""
    process, dialogue = inetd.over_pipes(held)
    assert dialogue.reply().startswith("220 client.example ")
    dialogue.process = process
    yield dialogue
    process.stdin.close()
    process.wait(10)


def run_session(instance, data, *args):
    """All input in one write; the replies, exit status."""
    result = instance.run("-bs", *args, text=data)
    return result.out.split("\r\n")[:-1], result


def message(instance):
    """The one queued message, as it is on the disk."""
    (name,) = instance.queue()
    return (instance.spool / name).read_text()


# ---- What the libraries do ----

def test_symfony(held):
    """HELO with a literal, no enhanced codes, several messages, RSET after a
    refusal, NOOP as ping, QUIT with exit status 0."""
    process, s = inetd.over_pipes(held)
    assert s.reply().startswith("220 ")
    s.expect("250 ", "HELO [127.0.0.1]")
    for n in range(2):
        assert s.expect("250", "MAIL FROM:<a@x.example>") == "250 Ok"
        assert s.expect("250", "RCPT TO:<b@x.example>") == "250 Ok"
        s.expect("354", "DATA")
        s.send("Subject: %d\r\n\r\n..dot\r\nend\r\n.\r\n" % n)
        reply = s.reply()
        # What Symfony takes the id from.
        assert re.match(r"250 Ok:? queued as (?P<id>[A-Z0-9]+)", reply)
        assert QUEUED.match(reply)[2] in held.queue()
        s.expect("250", "NOOP")
    s.expect("250", "MAIL FROM:<a@x.example>")
    s.expect("550", "RCPT TO:<nosuchuser>")
    s.expect("250", "RSET")
    s.expect("221", "QUIT")
    assert process.wait(10) == 0
    assert len(held.queue()) == 2


def test_a_broken_configuration_is_told_in_the_dialogue(held, listen):
    """Clients show what they are answered; strangers learn no path."""
    held.configure("NOSUCHKEY")
    process, s = inetd.over_pipes(held)
    assert re.match(r"421 4\.3\.0 .*dma\.conf:\d+: unknown key", s.reply())
    assert process.wait(10) == 78
    s = listen(held, ("127.0.0.1", 0)).connect()
    reply = s.reply()
    assert reply.startswith("421 4.3.0 ") and "conf" not in reply
    assert s.closed()


def test_an_alias_that_leads_to_nobody_is_refused(held):
    held.aliases("l1: l2\nl2: l1\nkept: /tmp/file\nghosts: nosuch1, nosuch2\n"
                 "some: nosuch1, b@x.example\n")
    process, s = inetd.over_pipes(held)
    assert s.reply().startswith("220 ")
    s.expect("250", "EHLO x")
    s.expect("250", "MAIL FROM:<a@x.example>")
    for name in ("l1", "l2", "kept", "ghosts"):
        reply = s.expect("550 5.1.1", "RCPT TO:<%s>" % name)
        assert "unknown user" in reply
    s.expect("250", "RCPT TO:<some>")
    s.expect("221", "QUIT")
    assert process.wait(10) == 0


def test_alpine(held):
    process, s = inetd.over_pipes(held, "-odb", "-oem")
    assert s.reply().startswith("220 ")
    s.begin("a@x.example", hello="EHLO localhost")
    s.send("\r\n.\r\n")
    assert QUEUED.match(s.reply())[1] == "2.0.0 "
    s.expect("221", "QUIT")
    assert process.wait(10) == 0


def test_ehlo_offers_what_is_there(talk):
    lines = [x[4:].split()[0] for x in talk.ask("EHLO x").split("\n")[1:]]
    assert sorted(lines) == ["8BITMIME", "DSN", "ENHANCEDSTATUSCODES", "HELP",
                             "PIPELINING", "SIZE", "SMTPUTF8"]


def test_python_smtplib(held, listen):
    server = listen(held, ("127.0.0.1", 0))
    with smtplib.SMTP(*server.address) as client:
        client.sendmail("a@x.example", ["b@x.example", "c@x.example"],
                        "Subject: s\r\n\r\n.hidden\r\nü\r\n".encode(),
                        ["BODY=8BITMIME", "SIZE=40"])
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            client.sendmail("a@x.example", ["nosuchuser"], "\n")
        client.sendmail("a@x.example", ["b@x.example"], "Subject: 2\n\n")
    assert len(held.queue()) == 2


def test_it_is_delivered(private, smtp):
    server = smtp.sink()
    private.relay(server)
    out, _ = run_session(private, (
        "HELO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
        "DATA\r\nSubject: s\r\n\r\n..dot\r\n.\r\nQUIT\r\n"))
    assert QUEUED.match(out[5])
    private.wait_delivered()
    (got,) = server.messages
    assert got.data.endswith(b"\r\n\r\n.dot\r\n")


def test_the_caller_does_not_wait_for_delivery(private, smtp):
    """All ends of the pipes are closed while the relay is silent."""
    private.relay(smtp.script("! stall\n"))
    result = private.run("-bs", text=(
        "HELO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
        "DATA\r\n\r\n.\r\nQUIT\r\n"))
    assert result.exit == 0 and result.out.endswith("221 Bye\r\n")
    assert len(private.queue()) == 1


# ---- The end of a message ----

def test_end_of_input_in_the_message(held):
    for text in ("Subject: s\r\n", "\r\nbody\r\n", "\r\nbody\r\n.",
                 "\r\nbody\r\n.\r"):
        out, result = run_session(held, (
            "HELO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
            "DATA\r\n" + text))
        assert out[-1].startswith("354"), out
        assert result.exit == IOERR
    assert held.queue() == [] and held.traces() == []


def test_end_of_input_between_commands(held):
    for text in ("", "HELO x\r\n", "HELO x\r\nMAIL FROM:<a@x.example>\r\n",
                 "HELO x\r\nMAIL"):
        assert run_session(held, text)[1].exit == 0
    assert held.queue() == [] and held.traces() == []


@pytest.mark.parametrize("end", ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r",
                                 "\r\n.\r", "\r.\r\n"])
def test_smuggling(talk, held, end):
    """The message goes on to CRLF.CRLF, and then is refused."""
    talk.begin()
    talk.send("Subject: s\r\n\r\nfirst" + end +
              "MAIL FROM:<evil@x.example>\r\nRCPT TO:<c@x.example>\r\n"
              "DATA\r\nsecond\r\n.\r\n")
    assert talk.reply().startswith("550 5.6.0 "), end
    assert talk.ask("NOOP").startswith("250")
    assert held.queue() == [] and held.traces() == []


def test_a_bare_line_end_in_the_header(talk, held):
    talk.begin()
    talk.send("Subject: s\nTo: b@x.example\r\n\r\n.\r\n")
    assert talk.reply().startswith("550 5.6.0 ")
    talk.begin()
    talk.send("Subject: s\r\n\r\nfine\r\n.\r\n")
    assert QUEUED.match(talk.reply())
    assert len(held.queue()) == 1


def test_dots(talk, held):
    talk.begin()
    talk.send("Subject: s\r\n\r\n..\r\n...a\r\n.b\r\nc.\r\n.\r\n")
    assert QUEUED.match(talk.reply())
    assert "\n\n.\n..a\nb\nc.\n" in message(held)


def test_a_header_alone(talk, held):
    talk.begin()
    talk.send("Subject: s\r\n.\r\n")
    assert QUEUED.match(talk.reply())
    talk.begin()
    talk.send(".\r\n")
    assert QUEUED.match(talk.reply())


def test_250_is_said_after_the_commit(held):
    """A spool that cannot take it: 451, and the session goes on."""
    process, s = inetd.over_pipes(held)
    s.reply()
    s.begin()
    os.rename(held.spool, str(held.spool) + ".away")
    try:
        # The directory is open: deny it instead.
        os.chmod(str(held.spool) + ".away", 0o500)
        s.send("Subject: s\r\n\r\nx\r\n.\r\n")
        assert s.reply().startswith("451 4.3.0 ")
        s.expect("250", "NOOP")
    finally:
        os.chmod(str(held.spool) + ".away", 0o700)
        os.rename(str(held.spool) + ".away", held.spool)
    s.begin()
    s.send("Subject: s\r\n\r\nx\r\n.\r\n")
    assert QUEUED.match(s.reply())
    process.stdin.close()
    assert process.wait(10) == 0


# ---- Commands ----

def test_all_in_one_write(held):
    one = ("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n"
           "Subject: s\r\n\r\ntext\r\n.\r\n")
    out, result = run_session(
        held, "EHLO x\r\n" + one * 3 + "NOOP\r\nQUIT\r\n")
    assert result.exit == 0
    assert [x[:3] for x in out[9:]] == (
        ["250", "250", "354", "250"] * 3 + ["250", "221"]), out
    assert len(held.queue()) == 3


def test_byte_by_byte(talk, held):
    text = ("EHLO x\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
            "DATA\r\na: b\r\n\r\n..\r\n.\r\n")
    for c in text:
        talk.send(c)
    for code in ("250", "250", "250", "354", "250"):
        assert talk.reply().startswith(code)
    assert len(held.queue()) == 1


def test_a_thousand_recipients(talk, held):
    talk.expect("250", "EHLO x")
    talk.expect("250", "MAIL FROM:<a@x.example>")
    talk.send("".join("RCPT TO:<u%d@x.example>\r\n" % n for n in range(1000)))
    for _ in range(1000):
        assert talk.reply() == "250 2.1.5 Ok"
    talk.expect("354", "DATA")
    talk.send("\r\n.\r\n")
    assert QUEUED.match(talk.reply())
    assert message(held).count("\nR T ") == 1000


def test_too_many_recipients(talk, held):
    """452 for what is over the limit; the others get the message."""
    talk.expect("250", "EHLO x")
    talk.expect("250", "MAIL FROM:<a@x.example>")
    codes = []
    for start in range(0, 10002, 1000):
        numbers = range(start, min(start + 1000, 10002))
        talk.send("".join("RCPT TO:<u%d@x.example>\r\n" % n for n in numbers))
        codes += [talk.reply()[:9] for _ in numbers]
    assert codes == ["250 2.1.5"] * 10000 + ["452 4.5.3"] * 2
    talk.expect("354", "DATA")
    talk.send("\r\n.\r\n")
    assert QUEUED.match(talk.reply())


@pytest.mark.parametrize("text, code", [
    ("MAIL FROM:<a@x.example>", "503 "),
    ("RCPT TO:<a@x.example>", "503 "),
    ("DATA", "503 "),
    ("HELO", "501 "),
    ("XYZZY", "500 "),
    ("", "500 "),
    ("EXPN staff", "502 "),
    ("STARTTLS", "502 "),
    ("AUTH PLAIN", "502 "),
    ("VRFY root", "252 "),
    ("HELP", "214 "),
    ("NOOP x", "250 "),
    ("RSET", "250 "),
])
def test_before_hello(talk, text, code):
    talk.expect(code, text)
    talk.expect("250", "HELO x")


@pytest.mark.parametrize("text, code", [
    ("RCPT TO:<a@x.example>", "503 5.5.1"),
    ("MAIL FROM:a@x.example", "250 2.1.0"),
    ("MAIL FROM: <a@x.example>", "250 2.1.0"),
    ("MAIL FROM:<>", "250 2.1.0"),
    ("MAIL FROM:<@relay.example:a@x.example>", "250 2.1.0"),
    ("MAIL FROM:<ü@x.example> SMTPUTF8", "250 2.1.0"),
    ("MAIL FROM:<a b@x.example>", "553 5.1.7"),
    ("MAIL FROM:<a@x.example", "501 5.5.4"),
    ("MAIL FROM:<a@x.example> FOO=BAR", "555 5.5.4"),
    ("MAIL FROM:<a@x.example> AUTH=<>", "555 5.5.4"),
    ("MAIL FROM:<a@x.example> BODY=8BITMIME", "250 2.1.0"),
    ("MAIL FROM:<a@x.example> BODY=BINARYMIME", "501 5.5.4"),
    ("MAIL FROM:<a@x.example> SIZE=1000000000000", "552 5.3.4"),
    ("MAIL FROM:<a@x.example> SIZE=x", "501 5.5.4"),
    ("MAIL FROM:<%s@x.example>" % ("a" * 65), "553 5.1.7"),
])
def test_mail(talk, text, code):
    talk.expect("250", "EHLO x")
    talk.expect(code, text)
    talk.expect("250", "EHLO x")  # forgets the sender
    talk.expect("250", "MAIL FROM:<a@x.example>")
    talk.expect("503 5.5.1", "MAIL FROM:<a@x.example>")


@pytest.mark.parametrize("text, code", [
    ("RCPT TO:<b@x.example>", "250 2.1.5"),
    ("RCPT TO:b@x.example", "250 2.1.5"),
    ("RCPT TO:<%USER%>", "250 2.1.5"),
    ("RCPT TO:<%USER%@client.example>", "250 2.1.5"),
    ("RCPT TO:<staff>", "250 2.1.5"),
    ("RCPT TO:<postmaster>", "250 2.1.5"),
    ("RCPT TO:<Postmaster@client.example>", "250 2.1.5"),
    ("RCPT TO:<nosuchuser>", "550 5.1.1"),
    ("RCPT TO:<nosuchuser@client.example>", "550 5.1.1"),
    ("RCPT TO:<nosuchuser@localhost>", "550 5.1.1"),
    ("RCPT TO:<>", "501 5.1.3"),
    ("RCPT TO:<a@b@x.example>", "501 5.1.3"),
    ("RCPT TO:<b@x.example> NOTIFY=NEVER,DELAY", "501 5.5.4"),
    ("RCPT TO:<b@x.example> SIZE=1", "555 5.5.4"),
    ("DATA", "503 5.5.1"),
])
def test_rcpt(held, talk, text, code):
    talk.expect("250", "EHLO x")
    talk.expect("250", "MAIL FROM:<a@x.example>")
    talk.expect(code, text.replace("%USER%", held.user))


def test_an_alias_that_catches_all(held):
    held.aliases("*: b@x.example\n")
    process, s = inetd.over_pipes(held)
    s.reply()
    s.begin("a@x.example", "nosuchuser")
    s.send("\r\n.\r\n")
    assert QUEUED.match(s.reply())
    assert "b@x.example" in message(held)
    process.stdin.close()
    process.wait(10)


def test_long_lines(talk):
    talk.expect("250", "HELO " + "x" * 600)
    talk.expect("500", "NOOP " + "x" * 3000)
    talk.expect("500", "NOOP " + "x" * 300000)
    talk.expect("500", "NO\0OP")
    talk.expect("250", "NOOP")


def test_hostile_names_stay_in_their_line(held, listen):
    server = listen(held, ("127.0.0.1", 0))
    s = server.connect()
    s.reply()
    s.begin(hello="EHLO a)\x01;b\rX: y")
    s.send("Subject: s\r\n\r\n.\r\n")
    assert QUEUED.match(s.reply())
    assert "Received: from a???b?X:?y ([127.0.0.1])\n" in message(held)


def test_too_many_errors(held):
    out, result = run_session(held, "FOO\r\n" * 100)
    assert [x[:3] for x in out] == ["220"] + ["500"] * 20 + ["421"]
    assert result.exit == 65


def test_a_message_is_larger_than_maxsize(private):
    private.configure("DEFER", MAXSIZE="100k")
    process, s = inetd.over_pipes(private)
    s.reply()
    assert "SIZE 102400" in s.expect("250", "EHLO x")
    s.expect("552 5.3.4", "MAIL FROM:<a@x.example> SIZE=102401")
    s.begin()
    s.send("\r\n" + ("x" * 70 + "\r\n") * 5000 + ".\r\n")
    assert s.reply().startswith("552 5.3.4 ")
    s.begin()
    s.send("\r\nsmall\r\n.\r\n")
    assert QUEUED.match(s.reply())
    process.stdin.close()
    assert process.wait(10) == 0
    assert private.traces() == []


def test_lines_typed_by_hand(held):
    """LF ends a command where no socket is; never the message."""
    out, _ = run_session(held, (
        "HELO x\nMAIL FROM:<a@x.example>\nRCPT TO:<b@x.example>\nDATA\n"
        "\r\nx\r\n.\r\nQUIT\n"))
    assert [x[:3] for x in out] == ["220", "250", "250", "250", "354", "250",
                                    "221"]


def test_lf_over_a_socket_ends_the_session(held, listen):
    s = listen(held, ("127.0.0.1", 0)).connect()
    s.reply()
    s.send("HELO x\r\nMAIL FROM:<a@x.example\nRCPT TO:<b@x.example>\r\n")
    assert s.reply().startswith("250")
    assert s.reply().startswith("500")
    assert s.closed()


def test_a_browser_is_sent_away(held, listen):
    s = listen(held, ("127.0.0.1", 0)).connect()
    s.reply()
    s.send("POST / HTTP/1.1\r\nHost: localhost\r\n\r\nHELO x\r\n")
    assert s.reply().startswith("421")
    assert s.closed()


def test_a_line_without_end(private, listen):
    """Who always has something to say is late too."""
    private.configure("DEFER", TIMEOUTS=1)
    address = str(private.directory / "socket")
    server = listen(private, address)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    sock.settimeout(15)
    data, end = b"x" * (1 << 20), time.monotonic() + 15
    with pytest.raises(OSError) as caught:
        while time.monotonic() < end:
            sock.sendall(data)
    assert not isinstance(caught.value, TimeoutError)
    assert sock.recv(1 << 16).endswith(b"421 Timeout\r\n")
    assert server.processes[0].wait(15) == 69


def test_silence_over_a_socket(private, listen):
    """The bound is TIMEOUTS percent of five minutes; a pipe may be silent."""
    private.configure("DEFER", TIMEOUTS=1)
    s = listen(private, ("127.0.0.1", 0)).connect()
    s.reply()
    assert s.reply().startswith("421 ")
    assert s.closed()
    assert private.queue() == []


def test_many_messages_in_one_session(talk, held):
    """The alias file is read once: it may go."""
    talk.expect("250", "EHLO x")
    os.unlink(held.directory / "aliases")
    for n in range(100):
        talk.send("MAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
                  "DATA\r\nSubject: %d\r\n\r\n.\r\n" % n)
        for code in ("250", "250", "354", "250"):
            assert talk.reply().startswith(code)
    assert len(held.queue()) == 100


# ---- What arrives ----

def test_dsn_parameters_reach_the_server(private, smtp):
    server = smtp.sink()
    private.relay(server)
    run_session(private, (
        "EHLO x\r\nMAIL FROM:<a@x.example> RET=HDRS ENVID=q+2B1\r\n"
        "RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2B@y\r\n"
        "DATA\r\nSubject: s\r\n\r\n.\r\nQUIT\r\n"))
    private.wait_delivered()
    commands = "\n".join(server.connections[0].commands)
    mail = re.search("^MAIL .*", commands, re.M)[0]
    rcpt = re.search("^RCPT .*", commands, re.M)[0]
    assert "RET=HDRS" in mail and "ENVID=q+2B1" in mail
    assert "ORCPT=rfc822;o+2B@y" in rcpt
    assert {"SUCCESS", "DELAY"} == set(
        re.search(r"NOTIFY=(\S+)", rcpt)[1].split(","))


def test_an_internationalized_address(talk, held):
    talk.expect("250", "EHLO x")
    talk.expect("250", "MAIL FROM:<jürgen@x.example> SMTPUTF8")
    talk.expect("250", "RCPT TO:<用户@例え.example>")
    talk.expect("354", "DATA")
    talk.send("Subject: ü\r\n\r\n.\r\n")
    assert QUEUED.match(talk.reply())
    assert "用户@例え.example" in message(held)
    assert "sender jürgen@x.example\n" in message(held)


# ---- Sockets ----

def test_socketpair(held):
    """What node gives its children in place of pipes."""
    ours, theirs = socket.socketpair()
    process = held.popen("-bs", stdin=theirs, stdout=theirs)
    theirs.close()
    s = inetd.over_socket(ours)
    s.reply()
    s.begin()
    s.send("Subject: s\r\n\r\na\rb\r\n.\r\n")
    assert QUEUED.match(s.reply())
    s.expect("221", "QUIT")
    assert s.closed()
    assert process.wait(10) == 0
    assert "a\rb\n" in (held.spool / held.queue()[0]).read_bytes().decode()


def test_who_takes_the_replies_slowly_is_left(private):
    """So that nobody keeps a process for as long as he likes."""
    private.configure(TIMEOUTS=1)
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    process = private.popen("-bs", stdin=theirs, stdout=theirs)
    theirs.close()
    ours.sendall(b"NOOP\r\n" * 5000)
    ours.settimeout(60)
    got = b""
    while piece := ours.recv(1024):
        got += piece
        time.sleep(0.2)
    assert got.count(b"\r\n") < 5000
    assert process.wait(60) != 0


def test_received_names_the_client(held, listen):
    s = listen(held, ("127.0.0.1", 0)).connect()
    s.reply()
    s.begin(hello="EHLO printer.example")
    s.send("Subject: s\r\n\r\na\r\n.\r\n")
    assert QUEUED.match(s.reply())
    assert ("Received: from printer.example ([127.0.0.1])\n\tby "
            "client.example ") in message(held)


def test_over_ipv6(held, listen):
    try:
        server = listen(held, ("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    s = server.connect()
    assert s.reply().startswith("220 ")
    s.begin()
    s.send("Subject: s\r\n\r\na\r\n.\r\n")
    assert QUEUED.match(s.reply())
    assert "([IPv6:::1])" in message(held)


def test_ipv4_over_an_ipv6_listener(held, listen):
    try:
        server = listen(held, ("::", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    s = inetd.over_socket(socket.create_connection(
        ("127.0.0.1", server.address[1])))
    assert s.reply().startswith("220 ")


@pytest.mark.skipif(not house.IS_ROOT, reason="needs root: other addresses")
def test_who_may_not(held, listen):
    server = listen(held, ("192.0.2.2", 0))
    s = server.connect("192.0.2.3")
    assert s.reply().startswith("554 5.7.1 ")
    assert s.closed()
    wait_for(lambda: server.processes, "inetd to know its child")
    assert server.processes[0].wait(10) == 77
    assert held.logged(r"SMTP client \[192\.0\.2\.3\] is not in RELAY_FROM")


@pytest.mark.skipif(not house.IS_ROOT, reason="needs root: other addresses")
def test_relay_from(private, listen):
    private.configure("DEFER", RELAY_FROM="192.0.2.4/31")
    server = listen(private, ("192.0.2.2", 0))
    for last, code in ((3, "554"), (4, "220"), (5, "220"), (6, "554")):
        assert server.connect("192.0.2.%d" % last).reply().startswith(code)


def test_diagnostics_do_not_reach_the_peer(held, listen):
    """inetd makes the connection standard error too."""
    held.configure("DEFER", LOG="stderr")
    s = listen(held, ("127.0.0.1", 0)).connect()
    s.reply()
    s.expect("250", "EHLO x")
    s.expect("250", "MAIL FROM:<a@x.example>")
    assert s.expect("550", "RCPT TO:<nosuchuser>").count("\n") == 0
    s.expect("221", "QUIT")
    assert s.closed()


# ---- The system's instance, started by root ----

CLIENT = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"EHLO x\\r\\nMAIL FROM:<a@x.example>\\r\\nRCPT TO:<%s>\\r\\n"
          b"DATA\\r\\nSubject: s\\r\\n\\r\\ntext\\r\\n.\\r\\nQUIT\\r\\n")
while s.recv(4096):
    pass
"""


def socket_path(system):
    path = str(system.root / "submit")
    if os.path.exists(path):
        os.unlink(path)
    return path


def submit_over(path, user, to="b@x.example"):
    account = pwd.getpwnam(user)
    subprocess.run(["/usr/bin/python3", "-c", CLIENT % to, path], check=True,
                   user=account.pw_uid, group=account.pw_gid,
                   extra_groups=[], timeout=60)


def owners(system):
    return [pwd.getpwuid((system.spool / n).stat().st_uid).pw_name
            for n in system.queue()]


@pytest.mark.parametrize("user, owner", [("alice", "alice"), ("bob", "bob"),
                                         ("root", "mail")])
def test_the_message_belongs_to_the_peer(system, listen, user, owner):
    system.configure("DEFER")
    path = socket_path(system)
    listen(system, path, user="root")
    submit_over(path, user)
    assert owners(system) == [owner]
    text = message(system)
    assert "from user %s, uid %d)" % (user, pwd.getpwnam(user).pw_uid) in text
    assert "From: " in text


def test_a_peer_sees_his_mail_and_gets_it_delivered(system, listen, smtp):
    server = smtp.sink(host="192.0.2.10")
    system.relay(server)
    path = socket_path(system)
    listen(system, path, user="root")
    submit_over(path, "alice")
    wait_for(lambda: server.messages, "the message to arrive")
    system.wait_delivered()


@pytest.mark.parametrize("user", ["root", "mail"])
def test_mail_from_the_network_belongs_to_mail(system, listen, user):
    system.configure("DEFER")
    server = listen(system, ("127.0.0.1", 0), user=user)
    s = server.connect()
    s.reply()
    s.begin("a@x.example")
    s.send("Subject: s\r\n\r\na\r\n.\r\n")
    assert QUEUED.match(s.reply())
    assert owners(system) == ["mail"]
    assert "Received: from me ([127.0.0.1])" in message(system)


def test_the_process_is_not_roots(system, listen):
    """Before the peer has said anything."""
    path = socket_path(system)
    server = listen(system, path, user="root")
    code = ("import socket,sys,time; s=socket.socket(socket.AF_UNIX);"
            "s.connect(sys.argv[1]); s.recv(100); print(flush=True);"
            "sys.stdin.read()")
    alice = pwd.getpwnam("alice")
    with subprocess.Popen(
            ["/usr/bin/python3", "-c", code, path], user=alice.pw_uid,
            group=alice.pw_gid, extra_groups=[], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE) as client:
        client.stdout.readline()
        wait_for(lambda: server.processes, "inetd to know its child")
        with open("/proc/%d/status" % server.processes[0].pid,
                  encoding="ascii") as file:
            status = file.read()
        uids = re.search(r"^Uid:\s+(.*)$", status, re.M)[1].split()
        groups = re.search(r"^Groups:\s*(.*)$", status, re.M)[1].split()
        assert set(uids) == {str(alice.pw_uid)}
        assert groups == [str(pwd.getpwnam("mail").pw_gid)]
        # Not to be traced or looked at by its new owner.
        assert os.stat("/proc/%d/mem" % server.processes[0].pid).st_uid == 0
        client.stdin.close()
