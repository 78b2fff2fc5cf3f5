# SPDX-License-Identifier: BSD-3-Clause
"""Odd local input, a row of test/rows/L each: refused with the right status
and one line that says what is wrong, and then nothing of it is there; or
taken, and then the whole message arrives.  Other rows are where the tests of
their subject are: `-k L-28` finds each."""

import os
import pty
import re
import resource
import signal
import subprocess
import termios
import threading

import pytest

import house
import instance
import smtpd
from instance import wait_for

pytestmark = pytest.mark.xdist_group("odd")

USAGE, DATAERR, NOINPUT, UNAVAILABLE = 64, 65, 66, 69
OSFILE, CONFIG = 72, 78
MAIL = "Subject: s\n\nbody\n"
TO = "b@x.example"


@pytest.fixture(scope="module")
def one(scratch, tree):
    """One private instance, one relay, for all of them."""
    sink = smtpd.Sink().start()
    private = instance.Private(scratch / "odd", tree)
    private.sink = sink
    yield private
    instance.kill_all()
    sink.stop()
    assert sink.violations == []


@pytest.fixture
def odd(one):
    """The same, empty and with its usual configuration."""
    instance.kill_all()
    for name in os.listdir(one.spool):
        os.unlink(one.spool / name)
    for path in (one.log_path, one.mbox_path):
        path.unlink(missing_ok=True)
    del one.sink.messages[:]
    one.aliases("")
    one.relay(one.sink)
    return one


def rows(*lines):
    return [pytest.param(*rest, id=ident) for ident, *rest in lines]


def refused(odd, result, status, *words):
    """This status, one line with these words, and nothing on the disk."""
    assert result.exit == status, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert result.err.startswith("sendmail: ") and result.out == "", result
    assert result.err[:-1].isprintable() and len(result.err) < 500, result
    for word in words:
        assert word in result.err, result
    assert odd.queue() == [] and odd.traces() == []
    assert odd.sink.messages == []


def arrives(odd, *args, text=MAIL, **more):
    """Taken without a word; what the relay was then told."""
    odd.submit("-D", *args, text=text, **more)
    assert odd.queue() == [] and odd.traces() == []
    (message,) = odd.sink.messages
    return message


# ---- Command line ----

LONG = "a@" + ".".join(["d" * 60] * 4)
DEEP = "(" * 10000 + ")" * 10000


@pytest.mark.parametrize("args, text, status, words", rows(
    ("L-03 nobody", [], MAIL, USAGE, "recipient"),
    ("L-04 unknown", ["-Q", TO], MAIL, USAGE, "-Q"),
    ("L-04 no value", ["-f"], MAIL, USAGE, "-f"),
    ("L-05 -bd", ["-bd"], "", USAGE, "-bd"),
    ("L-05 -bt", ["-bt"], "", USAGE, "-bt"),
    ("L-07 CR", ["-f", "a\rb@s.example", TO], MAIL, DATAERR, "sender"),
    ("L-07 LF", ["-f", "a@s.example\nb", TO], MAIL, DATAERR, "sender"),
    ("L-07 TAB", ["-f", "a\tb@s.example", TO], MAIL, DATAERR, "sender"),
    ("L-07 ESC", ["-f", "a\x1b[2J@s.example", TO], MAIL, DATAERR, "sender"),
    ("L-07 80", ["-f", b"a\x80@s.example", TO], MAIL, DATAERR, "sender"),
    ("L-07 FF", ["-f", b"\xff@s.example", TO], MAIL, DATAERR, "sender"),
    ("L-08 255", ["-f", "a@" + "d." * 126 + "d", TO], MAIL, DATAERR, "sender"),
    ("L-08 256", ["-f", "a@" + "d." * 127, TO], MAIL, DATAERR, "sender"),
    ("L-08 1100", ["-f", "a" * 1100, TO], MAIL, DATAERR, "sender"),
    ("L-08 100000", ["-f", "a@" + "d" * 100000, TO], MAIL, DATAERR, "sender"),
    ("L-09 empty", [""], MAIL, DATAERR, "recipient"),
    ("L-09 blanks", ["  \t "], MAIL, USAGE, "recipient"),
    ("L-09 at", ["@"], MAIL, DATAERR, "@"),
    ("L-09 no domain", ["a@"], MAIL, DATAERR, "a@"),
    ("L-09 no local part", ["@b"], MAIL, DATAERR, "@b"),
    ("L-09 two ats", ["a@@b"], MAIL, DATAERR, "a@@b"),
    ("L-09 two words", ["a b@c"], MAIL, DATAERR, "a b@c"),
    ("L-12 LF", ["a@x.example\nRSET"], MAIL, DATAERR, "a@x.example"),
    ("L-12 CRLF", ["a@x.example\r\nRSET"], MAIL, DATAERR, "a@x.example"),
    ("L-12 CR", ["a\r@x.example"], MAIL, DATAERR, "a"),
    ("L-16 10001", ["-t"], "To: " + ", ".join(
        "u%d@x.example" % n for n in range(10001)) + "\n\nx\n", DATAERR,
     "10000"),
    ("L-18 local part 65", ["a" * 65 + "@x.example"], MAIL, DATAERR, "aaa"),
    ("L-18 label 64", ["a@" + "d" * 64], MAIL, DATAERR, "ddd"),
    ("L-18 domain 254", ["a@" + "d." * 126 + "dd"], MAIL, DATAERR, "d.d"),
    ("L-18 128 labels", ["a@" + "d." * 127 + "d"], MAIL, DATAERR, "d.d"),
    ("L-19 LF", ["-F", "a\nBcc: c@x", TO], MAIL, DATAERR, "-F"),
    ("L-19 10 KiB", ["-F", "a" * 10240, TO], MAIL, DATAERR, "-F"),
    ("L-33 2 MiB", ["-t"], "To: %s\nX: %s\n\nx\n" % (TO, "y" * 2 ** 21),
     DATAERR, "header"),
    ("L-39 quote", ["-t"], 'To: "a <b@x.example>\n\nx\n', DATAERR, "To"),
    ("L-39 comment", ["-t"], "To: b@x.example (a\n\nx\n", DATAERR, "To"),
    ("L-39 open 10000", ["-t"], "To: %s%s\n\nx\n" % (TO, DEEP[:10000]),
     DATAERR, "To"),
    ("L-39 none", ["-t"], "To: undisclosed-recipients:;\n\nx\n", USAGE,
     "recipient"),
    ("L-39 empty", ["-t"], "To: , ;\nCc:\n\nx\n", USAGE, "recipient"),
    ("L-42 200", [TO], "Received: by a; b\n" * 200 + "\nx\n", DATAERR,
     "Received"),
))
def test_refused(odd, args, text, status, words):
    refused(odd, odd.run(*args, text=text), status, words)


@pytest.mark.parametrize("args, recipients, sender", rows(
    ("L-06 twice", ["-f", "a@s.example", "-f", "c@s.example", TO], [TO],
     "c@s.example"),
    ("L-06 empty", ["-f", "", TO], [TO], ""),
    ("L-06 null", ["-f", "<>", TO], [TO], ""),
    ("L-08 254", ["-f", "a@" + "d." * 125 + "dd", TO], [TO],
     "a@" + "d." * 125 + "dd"),
    ("L-10 quoted", ['"a b"@x.example'], ['"a b"@x.example'], None),
    ("L-10 quoted at", ['"a@b"@x.example'], ['"a@b"@x.example'], None),
    ("L-10 literal", ["a@[192.0.2.3]"], ["a@[192.0.2.3]"], None),
    ("L-10 brackets", ["<b@x.example>"], [TO], None),
    ("L-10 name", ["Some Name <b@x.example>"], [TO], None),
    ("L-10 two", ["a@x.example,b@x.example"], ["a@x.example", TO], None),
    ("L-10 comment", ["b@x.example (c)"], [TO], None),
    ("L-11 route", ["<@r.example,@s.example:b@x.example>"], [TO], None),
    ("L-11 percent", ["a%r.example@x.example"], ["a%r.example@x.example"],
     None),
    ("L-11 bang", ["r!a@x.example"], ["r!a@x.example"], None),
    ("L-13 dash", ["--", "-q@x.example"], ["-q@x.example"], None),
    ("L-13 pipe", ["|id@x.example"], ["|id@x.example"], None),
    ("L-13 slash", ["/etc/x@x.example"], ["/etc/x@x.example"], None),
    ("L-13 tilde", ["~root@x.example"], ["~root@x.example"], None),
    ("V-04 expansions", ["${run{id}}@x.example", '"$(id)"@x.example',
                         "`id`@x.example", "$x@x.example"],
     ['"$(id)"@x.example', "$x@x.example", "${run{id}}@x.example",
      "`id`@x.example"], None),
    ("L-17 twice", [TO, TO, "B@x.example", "b@X.Example"],
     ["B@x.example", TO], None),
    ("L-18 longest", ["a" * 64 + "@" + "d" * 63 + ".example"],
     ["a" * 64 + "@" + "d" * 63 + ".example"], None),
))
def test_addresses(odd, args, recipients, sender):
    message = arrives(odd, *args)
    assert sorted(message.recipients) == sorted(recipients)
    assert message.body == "body\n"
    if sender is not None:
        assert message.sender == sender


@pytest.mark.parametrize("name", rows(
    ("L-13 dash local", "-x"), ("L-13 pipe local", "|/bin/touch evil"),
    ("L-13 file", "/tmp/evil"), ("L-13 tilde local", "~root"),
    ("L-14 parent", "../x"), ("L-14 slash", "a/b"), ("L-14 300", "a" * 300),
    ("L-14 dot", "."), ("L-14 dots", ".."),
))
def test_no_user_of_that_name(odd, name):
    """Text that is no address is refused; never a file, never a command."""
    result = odd.run("-D", "--", name, TO, text=MAIL)
    if result.exit == DATAERR:
        refused(odd, result, DATAERR, name[:20])
        return
    assert (result.exit, result.err) == (0, "")
    wait_for(lambda: not odd.queue(), "an empty queue")
    (notice,) = instance.messages_in(odd.mbox_path)
    assert "5.1.1" in notice.as_string()
    assert odd.sink.recipients_seen() == [TO]


@pytest.mark.rows("L-13")
def test_include_on_the_command_line(odd):
    refused(odd, odd.run(":include:/etc/passwd", text=MAIL), DATAERR,
            ":include:/etc/passwd")


@pytest.mark.rows("L-05", "V-06")
@pytest.mark.parametrize("option", [
    ["-X", "%s"], ["-X%s"], ["-OQueueDirectory=%s"], ["-oQ%s"], ["-oA%s"],
    ["-O", "AliasFile=%s"], ["-p%s"], ["-L", "%s"], ["-A", "%s"], ["-d99"],
    ["-J", "%s"], ["-oX%s"], ["-D", "-X", "%s"]])
def test_no_option_opens_its_file(odd, option):
    place = odd.directory / "named"
    args = [o.replace("%s", str(place)) for o in option]
    assert arrives(odd, *args, TO).body == "body\n"
    assert not place.exists()


@pytest.mark.rows("L-02")
def test_no_role_by_half_a_name(odd):
    """`mailq ` and `/mailq/` are not mailq."""
    for name in ("mailq ", "/mailq/", "xmailq", "MAILQ"):
        done = subprocess.run(
            [name, *odd.first_args, "-odq", TO], input=MAIL.encode(),
            executable=odd.bin / "dma", check=False, capture_output=True,
            **as_the_user(odd))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(odd.queue()) == 4


def as_the_user(odd):
    if not house.IS_ROOT:
        return {}
    import pwd  # pylint: disable=import-outside-toplevel
    account = pwd.getpwnam(odd.user)
    return {"user": account.pw_uid, "group": account.pw_gid,
            "extra_groups": []}


@pytest.mark.rows("L-17")
def test_case_of_a_local_part_is_kept(odd):
    assert arrives(odd, "Bob.Roe@x.example").recipients == [
        "Bob.Roe@x.example"]


@pytest.mark.parametrize("name, written", rows(
    ("L-19 quote", 'a "b" c', '"a \\"b\\" c"'),
    ("L-19 8-bit", b"J\xf6", "J?"),
    ("L-19 UTF-8", "J\u00f6", "=?utf-8?Q?J=C3=B6?="),
    ("L-19 255", "a" * 255, "a" * 255),
))
def test_full_name(odd, name, written):
    (value,) = arrives(odd, "-F", name, TO).header("From")
    assert value.split(" <")[0] == written


# ---- Descriptors and signals ----

@pytest.mark.rows("L-20")
def test_input_that_can_only_be_written(odd):
    with open(odd.directory / "only", "wb") as file:
        refused(odd, odd.run(TO, stdin=file.fileno()), NOINPUT, "read")


@pytest.mark.rows("L-21")
def test_nobody_reads_what_it_says(odd):
    """A full pipe, a closed one, a full disk as stdout and stderr."""
    full_read, full = os.pipe()
    os.set_blocking(full, False)
    try:
        while True:
            os.write(full, bytes(4096))
    except BlockingIOError:
        pass
    gone_read, gone = os.pipe()
    os.close(gone_read)
    with open("/dev/full", "wb") as disk:
        for number, fd in enumerate((full, gone, disk.fileno())):
            process = odd.popen("-D", TO, stdout=fd, stderr=fd)
            process.communicate(MAIL.encode(), 30)
            assert process.returncode == 0
            assert len(odd.sink.messages) == number + 1
            process = odd.popen("a b@c", stdout=fd, stderr=fd)
            process.communicate(MAIL.encode(), 30)
            assert process.returncode == DATAERR
    for fd in (full, full_read, gone):
        os.close(fd)


@pytest.mark.parametrize("character, number", rows(
    ("L-22 ^C", termios.VINTR, signal.SIGINT),
    ("L-22 ^Backslash", termios.VQUIT, signal.SIGQUIT),
    ("L-22 hangup", None, signal.SIGHUP),
))
def test_somebody_types_and_gives_up(odd, character, number):
    """Nothing was accepted; a draft that is left is no message."""
    pid, terminal = pty.fork()
    if pid == 0:
        more = as_the_user(odd)
        if more:
            os.setgroups([])
            os.setgid(more["group"])
            os.setuid(more["user"])
        os.execv(odd.bin / "sendmail", ["sendmail", *odd.first_args, TO])
    # On a terminal, so that a pause, ^Z, is ours to undo.
    os.write(terminal, b"Subject: s\n\nhalf a")
    wait_for(lambda: instance.read_stat(pid)[0] == "sendmail", "its start")
    wait_for(lambda: odd.traces() or reads(pid), "it to read")
    if character is None:
        os.close(terminal)
    else:
        os.write(terminal, termios.tcgetattr(terminal)[6][character])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if character is not None:
        os.close(terminal)
    assert status == -number
    assert odd.queue() == []
    odd.flush()
    assert odd.sink.messages == []


def reads(pid):
    try:
        with open("/proc/%d/wchan" % pid, encoding="ascii") as file:
            return "tty" in file.read() or "wait_woken" in file.read()
    except OSError:
        return True


@pytest.mark.rows("L-22")
def test_stopped_and_continued(odd):
    with odd.popen("-D", TO) as process:
        process.stdin.write(b"Subject: s\n\none\n")
        process.stdin.flush()
        process.send_signal(signal.SIGSTOP)
        wait_for(lambda: instance.read_stat(process.pid)[1] == "T", "a stop")
        process.stdin.write(b"two\n")
        process.send_signal(signal.SIGCONT)
        process.stdin.close()
        assert process.wait(instance.BOUND) == 0
    assert odd.sink.messages[0].body == "one\ntwo\n"


@pytest.mark.rows("L-23", "V-13", "S-04")
def test_thousands_of_descriptors(odd):
    """All above 2 are closed, in it and in all that it starts."""
    read, write = os.pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = min(20000, hard) - 1

    def prepare():
        resource.setrlimit(resource.RLIMIT_NOFILE, (many + 1, hard))
        for fd in [*range(3, 64), *range(100, many, 97), many]:
            if fd != write:
                os.dup2(write, fd)
        os.set_inheritable(write, True)
    stalled = smtpd.Script("! stall\n").start()
    odd.relay(stalled)
    odd.submit(TO, preexec_fn=prepare, close_fds=False)
    os.close(write)
    wait_for(lambda: stalled.connections, "the agent at work")
    assert os.read(read, 1) == b"", "somebody still holds it"
    os.close(read)
    instance.kill_all()
    stalled.stop()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


@pytest.mark.parametrize("most", rows(*(
    ("L-23 limit %d" % n, n) for n in range(3, 11))))
def test_few_descriptors(odd, most):
    """Taken whole or not at all, and said."""
    result = odd.run("-odq", TO, text=MAIL, preexec_fn=lambda:
                     resource.setrlimit(resource.RLIMIT_NOFILE, (most, most)))
    assert len(odd.queue()) == (result.exit == 0)
    assert result.exit in (0, 71, OSFILE, 73, 74, CONFIG, 127), result
    assert odd.traces() == []


# ---- The message ----

@pytest.mark.parametrize("args, text, body", rows(
    ("L-24 nothing", [], b"", b""),
    ("L-25 dot", [], b"S: s\n\na\n.\nb\n", b"a\r\n.\r\nb\r\n"),
    ("L-25 dot -i", ["-i"], b"S: s\n\na\n.\nb\n", b"a\r\n.\r\nb\r\n"),
    ("L-25 dot CR", [], b"S: s\n\na\r\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
    ("L-25 dots", [], b"S: s\n\n..\n", b"..\r\n"),
    ("L-26 no end", [], b"S: s\n\na", b"a\r\n"),
    ("L-27 header alone", [], b"S: s\nT: t", b""),
    ("L-31 CRLF", [], b"S: s\r\n\r\na\r\nb\r\n", b"a\r\nb\r\n"),
    ("L-31 mixed", [], b"S: s\n\r\na\r\nb\nc\r\n", b"a\r\nb\r\nc\r\n"),
    ("L-33 998", [], b"S: s\n\n" + b"a" * 998 + b"\n", b"a" * 998 + b"\r\n"),
    ("L-35 From", [], b"From a b\nS: s\n\nFrom c\n", b"From c\r\n"),
    ("L-35 >From", [], b">From a b\nS: s\n\n>From c\n", b">From c\r\n"),
    ("L-36 no colon", [], b"S: s\nno colon\nT: t\n", b"no colon\r\nT: t\r\n"),
    ("L-36 colon", [], b": x\n", b": x\r\n"),
    ("L-36 blank", [], b"Sub ject: x\n", b"Sub ject: x\r\n"),
    ("L-36 leading blank", [], b" a: b\nc\n", b" a: b\r\nc\r\n"),
    ("L-44 SMTP", [], b"S: s\n\na\r\n.\r\nMAIL FROM:<c@d>\r\n",
     b"a\r\n.\r\nMAIL FROM:<c@d>\r\n"),
    ("L-44 mbox", [], b"S: s\n\nFrom a\n>From b\n", b"From a\r\n>From b\r\n"),
))
def test_message(odd, args, text, body):
    message = arrives(odd, *args, TO, text=text)
    header, _, rest = message.data.partition(b"\r\n\r\n")
    assert rest == body
    for line in header.split(b"\r\n"):
        assert b"\r" not in line and b"\n" not in line
    for name in ("From", "Date", "Message-ID", "Received"):
        assert len(message.header(name)) == 1, name


@pytest.mark.parametrize("text, body", rows(
    ("L-31 lone CR", b"S: s\n\na\rb\r\n", b"a\rb\n"),
    ("L-32 NUL", b"S: s\n\na\0b\n\0", b"a\0b\n\0\n"),
    ("L-33 999", b"S: s\n\n" + b"a" * 999, b"a" * 999 + b"\n"),
    ("L-33 1000", b"S: s\n\n" + b"a" * 1000, b"a" * 1000 + b"\n"),
    ("L-33 2 MiB body", b"S: s\n\n" + b"a" * 2 ** 21, b"a" * 2 ** 21 + b"\n"),
    ("L-34 body", b"S: s\n\n\xff\xfe\x80\n", b"\xff\xfe\x80\n"),
))
def test_body_that_needs_an_encoding(odd, text, body):
    """Encoded, and the same again at the other end."""
    import email  # pylint: disable=import-outside-toplevel
    message = arrives(odd, TO, text=text)
    got = email.message_from_bytes(message.data).get_payload(decode=True)
    assert got.replace(b"\r\n", b"\n") == body
    if b"\0" not in text:
        assert max(map(len, message.data.split(b"\r\n"))) <= 998


@pytest.mark.rows("L-32")
def test_a_nul_in_a_mailbox(odd):
    odd.submit("-D", odd.user, text=b"Subject: s\n\na\0b\n")
    assert b"\na\0b\n" in odd.mbox_path.read_bytes()


@pytest.mark.rows("L-33")
def test_header_line_of_900_kib(odd):
    """Folded at its blanks, and whole."""
    words = " ".join(["w" * 99] * 9000)
    message = arrives(odd, TO, text="Subject: %s\n\nbody\n" % words)
    assert message.header("Subject") == [words]
    assert message.body == "body\n"


@pytest.mark.rows("L-34")
def test_bytes_over_127_in_a_header(odd):
    message = arrives(odd, TO, text=b"Subject: \xff\xc3\xbc\n\nbody\n")
    assert b"Subject: \xff\xc3\xbc\r\n" in message.data


@pytest.mark.parametrize("text, args, recipients", rows(
    ("L-38 Bcc", "To: a@x.example\nBcc: s@x.example\n", ["-t"],
     ["a@x.example", "s@x.example"]),
    ("L-38 folded", "To: a@x.example\nBcc:\n s@x.example,\n\ts2@x.example\n",
     ["-t"], ["a@x.example", "s2@x.example", "s@x.example"]),
    ("L-38 blank", "To: a@x.example\nBCC \t: s@x.example\n", ["-t"],
     ["a@x.example", "s@x.example"]),
    ("L-38 not -t", "Bcc: s@x.example\nResent-Bcc: s2@x.example\n", [TO],
     [TO]),
    ("L-38 Resent", "Resent-To: a@x.example\nResent-Bcc: s@x.example\n",
     ["-t"], ["a@x.example", "s@x.example"]),
    ("L-39 deep", "To: %s a@x.example\n" % DEEP, ["-t"], ["a@x.example"]),
    ("L-39 group", "To: g: a@x.example, <c@x.example>;\n", ["-t"],
     ["a@x.example", "c@x.example"]),
    ("L-39 empty group", "To: g:;\nCc: a@x.example\n", ["-t"],
     ["a@x.example"]),
    ("L-40 added", "To: a@x.example\n", ["-t", TO], ["a@x.example", TO]),
    ("L-41 Resent", "Resent-To: a@x.example\nTo: c@x.example\n", ["-t"],
     ["a@x.example"]),
))
def test_recipients_of_the_header(odd, text, args, recipients):
    message = arrives(odd, *args, text=text + "Subject: s\n\nbody\n")
    assert sorted(message.recipients) == sorted(recipients)
    header = message.data.split(b"\r\n\r\n")[0]
    assert b"s@x" not in header and b"s2@x" not in header
    assert message.body == "body\n"


@pytest.mark.rows("L-16", "L-39")
def test_as_many_recipients_as_may_be(odd):
    """Half a megabyte of addresses."""
    names = ["%s%05d@x.example" % ("u" * 36, n) for n in range(10000)]
    odd.submit("-odq", "-t", text="To: %s\nSubject: s\n\nx\n"
               % ",\n ".join(names))
    assert odd.mailq().count("@x.example") == 10000


@pytest.mark.rows("L-37")
def test_what_is_missing_is_added_once(odd):
    message = arrives(odd, TO, text="Date: a\nDate: b\n\nx\n")
    assert message.header("Date") == ["a", "b"]
    assert len(message.header("Message-ID")) == 1


@pytest.mark.rows("L-42")
def test_a_hundred_received_lines_are_no_loop(odd):
    text = "Received: by a; b\n" * 99 + MAIL
    assert arrives(odd, TO, text=text).body == "body\n"


@pytest.mark.rows("L-43", "V-52")
def test_size_at_the_limit(odd):
    """The text as it came counts: exactly MAXSIZE is taken."""
    odd.relay(odd.sink, MAXSIZE="100k")
    text = ("Subject: s\n\n" + ("x" * 63 + "\n") * 2000)[:102400]
    assert arrives(odd, TO, text=text[:-1] + "\n").data.count(b"x") > 90000
    del odd.sink.messages[:]
    refused(odd, odd.run(TO, text=text[:-1] + "x\n"), UNAVAILABLE, "MAXSIZE")


@pytest.mark.rows("L-43", "V-52")
def test_five_gibibytes(odd):
    path = odd.directory / "large"
    with open(path, "wb") as file:
        file.write(MAIL.encode())
        file.truncate(5 << 30)
    with open(path, "rb") as file:
        refused(odd, odd.run(TO, stdin=file.fileno()), UNAVAILABLE, "MAXSIZE")
    path.unlink()


@pytest.mark.rows("L-29")
def test_writer_that_dies(odd):
    """Its end is no other than that of one who is done: it is taken."""
    read, write = os.pipe()
    with subprocess.Popen(["sh", "-c", "echo Subject: s; echo; echo half;"
                           "kill -9 $$"], stdout=write) as writer:
        os.close(write)
        writer.wait()
    odd.submit("-D", TO, stdin=read)
    os.close(read)
    assert odd.sink.messages[0].body == "half\n"


@pytest.mark.rows("L-30")
def test_writer_that_stalls_hinders_nobody(odd):
    with odd.popen(TO) as slow:
        slow.stdin.write(MAIL.encode())
        slow.stdin.flush()
        wait_for(odd.traces, "its draft")
        odd.submit("-D", TO)
        assert len(odd.sink.messages) == 1
        odd.flush()
        assert slow.poll() is None and len(odd.traces()) == 1
        slow.stdin.close()
        assert slow.wait(instance.BOUND) == 0
    wait_for(lambda: len(odd.sink.messages) == 2, "both")


# ---- Configuration, aliases, passwords ----

@pytest.mark.parametrize("line, words", rows(
    ("L-48 unknown", "NOSUCHKEY x", "NOSUCHKEY"),
    ("L-48 port 0", "PORT 0", "PORT"), ("L-48 port 70000", "PORT 70000",
                                        "PORT"),
    ("L-48 port 25x", "PORT 25x", "PORT"), ("L-48 empty", "PORT", "PORT"),
    ("L-48 no print", "FINGERPRINT", "FINGERPRINT"),
    ("L-48 bad hex", "FINGERPRINT xyz", "FINGERPRINT"),
    ("L-47 NUL", "PORT 2\0005", ""), ("L-47 1 MiB", "#" + "x" * 2 ** 20, ""),
    ("L-55 blank", "MAILNAME a b", "MAILNAME"),
    ("L-55 300", "MAILNAME " + "a" * 300, "MAILNAME"),
    ("L-57 relative", "SPOOLDIR spool", "SPOOLDIR"),
))
def test_bad_configuration(odd, line, words):
    with open(odd.conf_path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    refused(odd, odd.run(TO, text=MAIL), CONFIG, str(odd.directory), words)


@pytest.mark.parametrize("text", rows(
    ("L-47 no end", "%s"), ("L-47 CRLF", "%s\r\n"),
    ("L-47 BOM", "\ufeff%s\n"), ("L-48 twice", "PORT 1\n%s\n"),
))
def test_configuration_that_is_understood(odd, text):
    lines = odd.conf_path.read_text().strip()
    ends = "\r\n" if "\r" in text else "\n"
    odd.conf_path.write_bytes(
        (text % lines.replace("\n", ends)).encode())
    assert arrives(odd, TO).body == "body\n"


@pytest.mark.rows("L-47")
@pytest.mark.parametrize("kind", ["directory", "FIFO", "mode 0", "1 GiB"])
def test_what_is_no_configuration(odd, kind):
    odd.conf_path.unlink()
    if kind == "directory":
        odd.conf_path.mkdir()
    elif kind == "FIFO":
        os.mkfifo(odd.conf_path, 0o666)
    else:
        odd.configure()
        odd.conf_path.chmod(0 if kind == "mode 0" else 0o644)
        if kind == "1 GiB":
            os.truncate(odd.conf_path, 1 << 30)
    if os.path.exists(odd.conf_path):
        odd.own(odd.conf_path)
    try:
        refused(odd, odd.run(TO, text=MAIL), CONFIG, str(odd.conf_path))
    finally:
        if kind == "directory":
            odd.conf_path.rmdir()
        else:
            odd.conf_path.unlink()


@pytest.mark.parametrize("text, mode, words", rows(
    ("L-53 readable", "u|%s:p\n", 0o644, "auth.conf"),
    ("L-54 no host", "u:p\n", 0o600, "auth.conf:1"),
    ("L-54 no password", "u|%s\n", 0o600, "auth.conf:1"),
    ("L-54 10 KiB", "u|%%s:%s\n" % ("p" * 10240), 0o600, "auth.conf:1"),
))
def test_bad_passwords(odd, text, mode, words):
    odd.relay(odd.sink, login="u:p")
    place = odd.directory / "auth.conf"
    odd.write(place, text % odd.sink.host if "%s" in text else text, mode)
    refused(odd, odd.run(TO, text=MAIL), CONFIG, words)


@pytest.mark.rows("L-57")
@pytest.mark.parametrize("kind", ["missing", "link", "mode", "file"])
def test_spool_that_is_none(odd, kind):
    place = odd.directory / "other"
    if kind == "link":
        place.symlink_to("/tmp")
    elif kind == "mode":
        place.mkdir(mode=0o755)
        odd.own(place)
    elif kind == "file":
        place.write_text("")
    odd.relay(odd.sink, SPOOLDIR=place)
    try:
        refused(odd, odd.run(TO, text=MAIL), OSFILE, str(place))
    finally:
        if kind == "mode":
            place.rmdir()
        elif kind != "missing":
            place.unlink()


@pytest.mark.rows("L-60")
def test_configuration_of_the_day_of_delivery(odd):
    """Taken while it was sound; nothing is lost while it is not."""
    odd.submit("-odq", TO)
    odd.configure("NOSUCHKEY")
    assert odd.run("-q").exit == CONFIG
    assert len(odd.queue()) == 1
    odd.relay(odd.sink)
    odd.flush()
    assert odd.sink.recipients_seen() == [TO]


@pytest.mark.rows("L-50")
def test_alias_loops_end(odd):
    """Round, self, and deeper than anybody means."""
    deep = "".join("d%d: d%d\n" % (n, n + 1) for n in range(100))
    odd.aliases("a: b\nb: a\nself: self\n%sd100: %s\n" % (deep, TO))
    odd.submit("-D", "a", "d0", TO)
    odd.wait_delivered()
    assert odd.sink.recipients_seen() == [TO]
    assert len(instance.messages_in(odd.mbox_path)) == 1
    notice = odd.mbox_path.read_text()
    assert "\n<a>\n" in notice and "<d0> led" in notice


@pytest.mark.rows("L-50")
def test_an_alias_for_too_many(odd):
    """Ten times ten times ... : it ends, and the sender is told."""
    text = "".join(
        "f%d: %s\n" % (n, ", ".join(
            "f%d, x%d.%d@x.example" % (n + 1, n, m) for m in range(10)))
        for n in range(30)) + "f30: %s\n" % TO
    odd.aliases(text)
    result = odd.run("-odq", "f0", text=MAIL)
    assert result.exit in (0, DATAERR), result
    assert odd.mailq().count("@x.example") <= 10000 + 1


# ---- Environment ----

@pytest.mark.parametrize("value, sender", rows(
    ("L-88 CRLF", "a@b\r\nRCPT TO:<c@d>", None),
    ("L-88 two", "a@x.example, c@x.example", None),
    ("L-88 10 KiB", "a" * 10240 + "@x.example", None),
    ("L-88 one", "me@s.example", "me@s.example"),
))
def test_email(odd, value, sender):
    """Not an address, not used."""
    message = arrives(odd, TO, env={"EMAIL": value})
    assert message.sender == (sender or odd.user + "@client.example")


@pytest.mark.parametrize("zone", rows(
    ("L-89 file", ":/etc/shadow"), ("L-89 path", "/tmp/x"),
    ("L-89 long", "x" * 100000), ("L-89 empty name", "<->"),
    ("L-89 number", "XXX23"), ("L-89 parents", "../../etc/shadow"),
))
def test_time_zone(odd, zone):
    import email.utils  # pylint: disable=import-outside-toplevel
    (date,) = arrives(odd, TO, env={"TZ": zone}).header("Date")
    assert email.utils.parsedate_to_datetime(date)


@pytest.mark.parametrize("name", rows(
    ("L-90 root", "root"), ("L-90 newline", "alice\nBcc: c@d"),
    ("L-90 unknown", "nobody-of-that-name"), ("L-90 empty", ""),
))
def test_name_of_somebody_else(odd, name):
    message = arrives(odd, TO, env={"LOGNAME": name, "USER": name})
    assert message.sender == odd.user + "@client.example"


@pytest.mark.rows("L-92", "L-97")
@pytest.mark.parametrize("env", [
    {"PATH": "/nonexistent", "IFS": "/", "ENV": "/tmp/evil"},
    {"BASH_ENV": "/tmp/evil", "SHELL": "/bin/false", "CDPATH": "/tmp"},
])
def test_environment_of_shells(odd, env):
    odd.submit("-odq", TO)
    process = odd.popen("-q", env=env, preexec_fn=lambda: (
        os.umask(0), os.close(0)))
    assert process.communicate(timeout=30)[1] == b""
    assert process.returncode == 0
    assert odd.sink.recipients_seen() == [TO]


# ---- The queue ----

@pytest.mark.parametrize("args, left", rows(
    ("L-93 -q30m", ["-q30m"], 0), ("L-93 -v", ["-q", "-v"], 0),
    ("L-93 -qR", ["-qRb@x"], 0), ("L-93 -qR none", ["-qRnobody"], 1),
))
def test_runs_of_the_queue(odd, args, left):
    odd.submit("-odq", TO)
    assert odd.run(*args).exit == 0
    assert len(odd.queue()) == left


@pytest.mark.rows("L-71", "L-98")
def test_fifty_runs_at_once(odd):
    """And submissions beside them: each message once."""
    for number in range(20):
        odd.submit("-odq", TO, text="Subject: m%d\n\nx\n" % number)
    runs = [odd.popen("-q", stdin=subprocess.DEVNULL) for _ in range(50)]
    threads = [threading.Thread(target=odd.submit, args=(TO,), kwargs={
        "text": "Subject: n%d\n\nx\n" % n}) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.communicate(timeout=100)
        assert run.returncode == 0
    wait_for(lambda: not odd.queue(), "an empty queue", 60)
    assert odd.sink.subjects() == sorted(
        "%s%d" % (c, n) for c in "mn" for n in range(20))


@pytest.mark.rows("L-69", "L-65", "L-63")
def test_odd_names_in_the_spool(odd):
    """Left alone, whatever they are; mail beside them arrives."""
    names = ["a b", "x\ny", "..x", "Q123", "M123", "tmp", "-q", "\x1b[2J"]
    for name in names:
        (odd.spool / name).write_text("odd\n")
    odd.submit("-odq", TO)
    (real,) = odd.queue()
    fifo, link = real[:-1] + "_", "0" * 20
    os.mkfifo(odd.spool / ("1" * 20))
    os.symlink("/etc/passwd", odd.spool / link)
    os.mkdir(odd.spool / ("2" * 20))
    os.link(odd.spool / "a b", odd.spool / ("3" * 20))
    (odd.spool / fifo).touch()
    odd.flush()
    assert odd.sink.recipients_seen() == [TO]
    for name in names:
        assert (odd.spool / name).read_text() == "odd\n"
    assert "\x1b" not in odd.mailq()
    os.rmdir(odd.spool / ("2" * 20))


@pytest.mark.rows("L-61", "V-55")
def test_files_that_are_no_messages(odd):
    """A cut one, an empty one, noise: kept aside, and the others go."""
    for _ in range(5):
        odd.submit("-odq", TO)
    names = odd.queue()
    whole = (odd.spool / names[0]).read_bytes()
    for name, data in zip(names[:4], (b"", whole[:len(whole) // 2],
                                      os.urandom(4000), b"\0" * 9000)):
        (odd.spool / name).write_bytes(data)
    odd.flush()
    assert odd.sink.recipients_seen() == [TO]
    assert odd.traces() == sorted("bad." + n for n in names[:4])
    for name in names[:4]:
        assert name in odd.log()


@pytest.mark.rows("L-64", "L-62")
def test_one_message_under_two_names(odd):
    """The name and the id inside must agree; what differs is kept aside."""
    odd.submit("-odq", TO)
    (name,) = odd.queue()
    whole = (odd.spool / name).read_bytes()
    copies = [name[:-1] + last for last in "012" if last != name[-1]][:2]
    for copy, data in zip(copies, (whole, whole[:-9])):
        (odd.spool / copy).write_bytes(data)
        odd.own(odd.spool / copy)
    odd.flush()
    assert odd.sink.recipients_seen() == [TO]
    assert odd.traces() == sorted("bad." + copy for copy in copies)


@pytest.mark.rows("L-73")
def test_spool_from_a_backup(odd):
    """Names are not inodes."""
    for number in range(5):
        odd.submit("-odq", TO, text="Subject: m%d\n\nx\n" % number)
    saved = {n: (odd.spool / n).read_bytes() for n in odd.queue()}
    for name in os.listdir(odd.spool):
        (odd.spool / name).unlink()
    for name, data in reversed(saved.items()):
        (odd.spool / name).write_bytes(data)
        (odd.spool / name).chmod(0o660)
        odd.own(odd.spool / name)
    odd.flush()
    assert odd.sink.subjects() == ["m%d" % n for n in range(5)]


@pytest.mark.rows("L-56")
@pytest.mark.skipif(not house.IS_ROOT, reason="needs root: a host name")
@pytest.mark.parametrize("name", ["localhost", "a_b", "h", "(none)", "a b",
                                  "x" * 64, "-"])
def test_host_name(odd, name):
    """What the relay is greeted with is always a name or a literal."""
    odd.relay(odd.sink, MAILNAME=None)
    before = os.uname().nodename.encode()
    house.libc.sethostname(name.encode(), len(name))
    try:
        del odd.sink.connections[:]
        odd.submit("-D", TO)
    finally:
        house.libc.sethostname(before, len(before))
    hello = odd.sink.connections[0].commands[0]
    assert re.fullmatch(r"EHLO ([\w-]+(\.[\w-]+)*|\[\S+\])", hello), hello
    assert "_" not in hello and "EHLO -" not in hello


@pytest.mark.rows("L-99", "V-21")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM,
                                    signal.SIGKILL])
def test_run_that_is_ended_sends_no_dot(odd, number):
    """Its agent is in the middle of the message, and nobody would know that
    it was sent: the next run sends it, and it arrives once."""
    gate = threading.Event()
    slow = smtpd.Sink(answers={"DATA": lambda *_: gate.wait(30) and None})
    slow.start()
    odd.relay(slow)
    odd.submit("-odq", TO)
    with odd.popen("-q") as run:
        wait_for(lambda: slow.connections and "DATA" in
                 slow.connections[0].commands, "DATA")
        run.send_signal(number)
        assert run.wait(instance.BOUND) == -number
        gate.set()
        odd.wait_idle()
    slow.stop()
    assert slow.messages == [] and len(odd.queue()) == 1
    odd.relay(odd.sink)
    odd.flush()
    assert odd.sink.recipients_seen() == [TO] and odd.queue() == []
