# SPDX-License-Identifier: BSD-3-Clause
"""What callers pass, and the exit status and words they get back."""

import email.utils
import os
import re
import resource
import subprocess

import pytest

import house
import instance

USAGE, DATAERR, NOINPUT, UNAVAILABLE = 64, 65, 66, 69
OSFILE, CANTCREAT, IOERR, CONFIG = 72, 73, 74, 78


def refused(private, result, status):
    """Refused: this status, one line that says why, nothing on the disk."""
    assert result.exit == status, result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert len(result.err) > 10, result
    assert private.queue() == []
    assert private.traces() == []


def queued(private, *args, text="Subject: s\n\nbody\n", **more):
    """Submit with delivery switched off; the queue's listing."""
    private.submit("-odq", *args, text=text, **more)
    return private.mailq()


# ---- Who gets it ----

def test_recipients_in_argv(private):
    out = queued(private, "a@x.example", "b@x.example")
    assert "a@x.example" in out and "b@x.example" in out


def test_options_may_follow_recipients(private):
    assert "a@x.example" in queued(private, "a@x.example", "-i")


def test_double_dash_ends_options(private):
    assert "-q@x.example" in queued(private, "-i", "--", "-q@x.example")


def test_t_takes_to_cc_and_bcc(private):
    out = queued(private, "-t", text=(
        "To: A <a@x.example>,\n\tb@x.example\nCc: (none) c@x.example\n"
        "Bcc: d@x.example\nX-To: e@x.example\n\nTo: f@x.example\n"))
    for name in "abcd":
        assert name + "@x.example" in out
    assert "e@x" not in out and "f@x" not in out


def test_t_adds_to_argv(private):
    out = queued(private, "-t", "b@x.example", text="To: a@x.example\n\n")
    assert "a@x.example" in out and "b@x.example" in out


def test_one_recipient_twice_gets_it_once(private):
    out = queued(private, "a@x.example", "a@X.example")
    assert out.count("a@x.example") + out.count("a@X.example") == 1


def test_a_user_in_any_case_gets_it_once(private):
    """A name of this machine is one user's, however it is written; one
    elsewhere may be two."""
    name = private.user
    private.submit("-t", text="To: %s, %s,\n\t%s@client.example\n\nx\n"
                   % (name, name.capitalize(), name.upper()))
    private.wait_delivered()
    assert len(private.mbox()) == 1
    out = queued(private, "-t", text="To: a@x.example, A@x.example\n\nx\n")
    assert " a@x.example" in out and " A@x.example" in out


def test_no_recipients(private):
    refused(private, private.run(text="Subject: s\n\n"), USAGE)


def test_no_recipients_in_header(private):
    refused(private, private.run("-t", text="Subject: s\n\n"), USAGE)


@pytest.mark.parametrize("address", [
    "a@x.example\nRCPT TO:<b@x.example>",
    "a@x.example\rb",
    "a\tb@x.example",
    "a@x.exa\x7fmple",
    "a@x.example>\r\nDATA\r\n",
    "a@x@y", "@x.example", "a@", "a b@x.example",
    "a@" + "x" * 300 + ".example", "a" * 70 + "@x.example",
    "a@x..example", "a@-x.example.",
    b"a\xff@x.example",
])
@pytest.mark.rows("V-03", "L-12", "D-03", "D-04")
def test_bad_recipient(private, address):
    refused(private, private.run("--", address, text="x\n"), DATAERR)


@pytest.mark.parametrize("address", [
    "a@x.example\nMAIL", "a\r@x.example", "a@x@y", "a" * 300,
    "a" * 1088 + "@x.example",
])
@pytest.mark.rows("V-01", "V-05", "D-04", "D-12")
def test_bad_sender(private, address):
    refused(private,
            private.run("-f", address, "b@x.example", text="x\n"), DATAERR)


def test_good_recipient_beside_a_bad_one(private):
    """One commit or none: nobody is served half."""
    refused(private, private.run("a@x.example", "b\n@x", text="x\n"), DATAERR)


# ---- Who sent it ----

@pytest.mark.parametrize("args, sender", [
    (["-f", "a@s.example"], "a@s.example"),
    (["-fa@s.example"], "a@s.example"),
    (["-r", "a@s.example"], "a@s.example"),
    (["-f", "<a@s.example>"], "a@s.example"),
    (["-f", "Some One <a@s.example>"], "a@s.example"),
    (["-f", "<>"], "MAILER-DAEMON"),
    (["-f<>"], "MAILER-DAEMON"),
    (["-f", ""], "MAILER-DAEMON"),
    (["-f", "root"], "root@client.example"),
])
def test_sender(private, args, sender):
    assert sender in queued(private, *args, "b@x.example")


def test_sender_is_the_caller(private):
    out = queued(private, "b@x.example")
    assert private.user + "@client.example" in out


def test_null_sender_on_the_wire(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    private.submit("-f", "<>", "b@x.example")
    private.wait_delivered()
    assert sink.messages[0].sender == ""


# ---- What it says ----

def sent(private, smtp, *args, text, **options):
    sink = smtp.sink(**options)
    private.relay(sink)
    private.submit(*args, text=text)
    private.wait_delivered()
    (message,) = sink.messages
    return message


@pytest.mark.rows("V-59")
def test_lone_dot_does_not_cut_a_pipe(private, smtp):
    """sudo, mdadm, logwatch pipe without -i."""
    message = sent(private, smtp, "b@x.example",
                   text="Subject: s\n\none\n.\ntwo\n..\n.three\n")
    assert message.body == "one\n.\ntwo\n..\n.three\n"


@pytest.mark.parametrize("flag", ["-i", "-oi"])
def test_lone_dot_with_i(private, smtp, flag):
    message = sent(private, smtp, flag, "b@x.example",
                   text="Subject: s\n\n.\nend\n")
    assert message.body == ".\nend\n"


def test_missing_fields_are_added(private, smtp):
    message = sent(private, smtp, "-F", "Cron Daemon", "b@x.example",
                   text="Subject: s\n\nbody\n")
    (date,) = message.header("Date")
    assert email.utils.parsedate_to_datetime(date)
    (identifier,) = message.header("Message-ID")
    assert identifier.startswith("<")
    assert identifier.endswith("@client.example>")
    (sender,) = message.header("From")
    assert "Cron Daemon" in sender
    assert "<%s@client.example>" % private.user in sender
    assert message.header("To") == ["undisclosed-recipients:;"]
    assert len(message.header("Received")) == 1


def test_present_fields_are_kept(private, smtp):
    text = ("From: A <a@s.example>\nTo: B <b@x.example>\n"
            "Date: Fri, 20 Nov 2026 18:09:17 +0000\n"
            "Message-ID: <1@s.example>\nSubject: =?utf-8?q?h=C3=A9?=\n"
            "X-Long: one\n two\n\nbody\n")
    message = sent(private, smtp, "-t", text=text)
    for name, value in (("From", "A <a@s.example>"),
                        ("To", "B <b@x.example>"),
                        ("Date", "Fri, 20 Nov 2026 18:09:17 +0000"),
                        ("Message-ID", "<1@s.example>"),
                        ("Subject", "=?utf-8?q?h=C3=A9?="),
                        ("X-Long", "one two")):
        assert message.header(name) == [value]
    assert message.body == "body\n"


def test_bcc_leaves_no_trace(private, smtp):
    message = sent(private, smtp, "-t", text=(
        "To: a@x.example\nBCC: secret@x.example,\n more@x.example\n"
        "Subject: s\n\nbody\n"))
    assert sorted(message.recipients) == [
        "a@x.example", "more@x.example", "secret@x.example"]
    assert b"secret" not in message.data and b"more@" not in message.data


@pytest.mark.parametrize("field", ["From", "To", "Cc", "Reply-To"])
def test_bare_addresses_get_our_name(private, smtp, field):
    message = sent(private, smtp, "b@x.example",
                   text="%s: root (Cron Daemon)\n\nx\n" % field)
    (value,) = message.header(field)
    assert "root@client.example" in value and "Cron Daemon" in value


@pytest.mark.parametrize("text", [
    "Subject: s\r\n\r\none\r\ntwo\r\n",
    "Subject: s\r\n\r\none\ntwo\n",
    "Subject: s\n\none\r\ntwo\n",
    "From a@b Fri Nov 20 18:09:17 2026\nSubject: s\n\none\ntwo",
    ">From a@b Fri Nov 20 18:09:17 2026\nSubject: s\n\none\ntwo\n",
])
@pytest.mark.rows("D-13")
def test_line_ends_as_they_come(private, smtp, text):
    message = sent(private, smtp, "b@x.example", text=text)
    assert message.body == "one\ntwo\n"
    assert message.header("Subject") == ["s"]
    assert "From a@b" not in message.text


def test_body_without_header(private, smtp):
    message = sent(private, smtp, "b@x.example", text="no field here\n: x\n")
    assert message.body == "no field here\n: x\n"


def test_empty_input(private, smtp):
    message = sent(private, smtp, "b@x.example", text="")
    assert len(message.header("From")) == 1


@pytest.mark.rows("V-07", "D-11", "D-13")
def test_stray_cr_and_nul_cannot_split_lines(private, smtp):
    message = sent(private, smtp, "b@x.example", text=(
        b"Subject: a\rBcc: x@y\0z\n\nbody\r.\rQUIT\n"))
    assert message.recipients == ["b@x.example"]
    assert message.header("Bcc") == []


def test_large_message_arrives_whole(private, smtp):
    line = "0123456789" * 7 + "\n"
    body = line * (25 * 1024 * 1024 // len(line))
    message = sent(private, smtp, "b@x.example", text="Subject: s\n\n" + body)
    assert message.body == body


def test_message_over_maxsize(private):
    private.configure(MAXSIZE="10k")
    refused(private, private.run("b@x.example", text="x" * 70 + "\n" * 20000),
            UNAVAILABLE)


# ---- Modes ----

@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("args", [
    ["-A", "c"], ["-Ac"], ["-B", "x"], ["-B7BIT"], ["-E"], ["-F", "A B"],
    ["-FCronDaemon"], ["-Jx"], ["-J", "x"], ["-L", "x"], ["-Lx"],
    ["-N", "success,failure"], ["-Ndelay"], ["-O", "ErrorMode=m"],
    ["-OQueueDirectory=/x"], ["-R", "full"], ["-Rhdrs"], ["-T"], ["-V", "x"],
    ["-Vx"], ["-X", "/x"], ["-X/x"], ["-b", "m"], ["-d0.1"], ["-em"], ["-ep"],
    ["-f", "a@s.example"], ["-fa@s.example"], ["-h3"], ["-o", "i"],
    ["-o", "em"], ["-oem"], ["-om"], ["-odb"], ["-o", "di"], ["-pESMTP"],
    ["-r", "a@s.example"], ["-s"], ["-x"], ["-GimnUsTEx"], ["-imv"],
    ["-iF", "A B"], ["-imfa@s.example"], ["-D"],
])
def test_flags_attached_separate_grouped_and_after(private, args, after):
    """No flag takes a recipient for its value, or a value for a recipient."""
    out = queued(private, *(["b@x.example"] if after else []), *args, "-i",
                 *([] if after else ["b@x.example"]))
    assert re.findall(r"^ +(\S+)$", out, re.M) == ["b@x.example"]
    private.wait_idle()


@pytest.mark.parametrize("args", [
    ["-N", "sometimes"], ["-N", "never,delay"], ["-N", ""], ["-N", "delay,"],
    ["-R", "half"], ["-R", ""], ["-V", ""], ["-V", "a b"], ["-V", "e+1"], ["-V", "e=1"],
    ["-V", "x" * 101],
    ["-V", "a\nb"], ["-C", ""], ["-b", "x"], ["-b", ""], ["-bz"], ["-a"],
    ["-Q"], ["-W"], ["-i!"], ["-\n"], ["-\xe9"], ["--"], ["--odd"],
    ["--help=x"], ["-N"], ["-L"], ["-qx", ], ["-bp", "b@x.example"],
    ["-bP", "b@x.example"], ["-q", "b@x.example"],
])
@pytest.mark.rows("L-04")
def test_bad_options(private, args):
    result = private.run(*args, text="To: b@x.example\n\n")
    refused(private, result, USAGE)


@pytest.mark.parametrize("args", [
    ["-bq"], ["-odq"], ["-odd"], ["-O", "DeliveryMode=q"],
])
def test_queue_only(private, smtp, args):
    sink = smtp.sink()
    private.relay(sink)
    private.submit(*args, "b@x.example")
    private.wait_idle()
    assert len(private.queue()) == 1 and sink.connections == []
    private.flush()
    assert len(sink.messages) == 1


def test_defer_key_queues_only(private, smtp):
    sink = smtp.sink()
    private.relay(sink, DEFER=True)
    private.submit("b@x.example")
    private.wait_idle()
    assert len(private.queue()) == 1
    private.flush()
    assert len(sink.messages) == 1


def test_foreground(private, smtp):
    """-D returns after the message was tried."""
    sink = smtp.sink()
    private.relay(sink)
    private.submit("-D", "b@x.example")
    assert len(sink.messages) == 1


def test_verbose_shows_the_dialogue_without_secrets(private, smtp):
    sink = smtp.sink(auth={"u": "hush-hush"}, mechanisms=("PLAIN",))
    private.relay(sink, login="u:hush-hush", INSECURE=True)
    result = private.run("-v", "b@x.example", text="Subject: s\n\nx\n")
    assert result.exit == 0
    for words in ("S: 220 sink.example", "C: EHLO client.example",
                  "C: MAIL FROM:<", "C: RCPT TO:<b@x.example>", "C: DATA"):
        assert words in result.err, result
    assert "hush" not in result.err
    assert "AHUAaHVzaC1odXNo" not in result.err


def test_verbose_says_what_became_of_it(private):
    """Also where there is no dialogue: a dead relay, a mailbox."""
    private.configure(SMARTHOST="127.0.0.1:1")
    said = private.run("-v", "b@x.example", text="Subject: s\n\nx\n").err
    assert re.search(r"^# dma/smtp: \w+: to=<b@x\.example>, .* "
                     r"status=deferred \(connect to 127.*refused\)$", said,
                     re.M), said
    said = private.run("-v", private.user, text="Subject: s\n\nx\n").err
    assert re.search(r"^# dma/local: .* status=sent ", said, re.M), said
    assert "status=sent" in private.log()


@pytest.mark.parametrize("flag", ["-bd", "-bD", "-bl", "-ba", "-bt"])
def test_modes_that_are_not_here(private, flag):
    refused(private, private.run(flag, text=""), USAGE)


def test_unknown_option(private):
    refused(private, private.run("-#", "b@x.example", text=""), USAGE)


def test_option_without_its_argument(private):
    refused(private, private.run("-f", text=""), USAGE)


@pytest.mark.parametrize("name", [
    "sendmail", "send-mail", "mailq", "newaliases", "dmactl"])
def test_help_and_version(private, name):
    for flag in ("--help", "--version"):
        result = private.run(flag, name=name)
        assert result.exit == 0 and result.err == "", result
        assert "dma" in result.out, result


def test_version_names_what_it_is_built_with(private):
    lines = private.run("--version").out.splitlines()
    assert re.fullmatch(r"dma \d+\.\d+\S*", lines[0])
    assert re.match(r"TLS: OpenSSL \d+\.\d+\.\d+", lines[1])
    assert lines[2].startswith("sandbox: ")


def test_version_without_the_agent(private):
    private.configure(LIBEXECDIR="/nonexistent")
    result = private.run("--version")
    assert result.exit == 0 and result.err == ""
    lines = result.out.splitlines()
    assert len(lines) == 2 and lines[0].startswith("dma ")
    assert "/nonexistent/dma-smtp: No such file" in lines[1]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_number_of_messages(private, count):
    for _ in range(count):
        private.submit("-odq", "b@x.example")
    result = private.run("-bP")
    assert (result.exit, result.out, result.err) == (0, "%d\n" % count, "")


@pytest.mark.parametrize("flag", ["-bh", "-bH"])
def test_modes_with_nothing_to_show(private, flag):
    result = private.run(flag)
    assert (result.exit, result.out, result.err) == (0, "", "")


def test_names(private):
    """What it is called decides, whatever the directory."""
    text = "Subject: s\n\nx\n"
    assert private.run("-odq", "b@x.example", name="send-mail",
                       text=text).exit == 0
    assert len(private.queue()) == 1
    assert "b@x.example" in private.run(name="mailq").out
    assert private.run(name="newaliases").exit == 0
    assert len(private.queue()) == 1


def test_relative_name_of_the_configuration(private, smtp):
    """The runner stands elsewhere, and finds it again."""
    sink = smtp.sink(answers={"RCPT": "450 4.2.0 later"})
    private.relay(sink, RETRY="1s")
    private.first_args = ("-C", os.path.relpath(private.conf_path, "/"))
    private.submit("b@x.example")
    private.wait_deferred()
    smtp.again(sink)
    private.wait_delivered()
    assert "left alone" not in private.log()


# ---- What callers inherit to us ----

@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2)])
@pytest.mark.rows("V-12", "L-21", "D-27")
def test_closed_descriptors(private, closed):
    """A queue file must not become descriptor 1 or 2 (V-13)."""
    def close():
        for fd in closed:
            os.close(fd)
    process = private.popen("-odq", "b@x.example", preexec_fn=close)
    process.communicate(b"Subject: s\n\nx\n")
    assert process.returncode == 0
    (name,) = private.queue()
    text = (private.spool / name).read_text()
    assert "b@x.example" in text


@pytest.mark.parametrize("closed", [(0,), (0, 1), (0, 1, 2)])
@pytest.mark.rows("V-12", "L-20")
def test_closed_input(private, closed):
    process = private.popen(
        "b@x.example", preexec_fn=lambda: [os.close(fd) for fd in closed])
    process.communicate()
    assert process.returncode == NOINPUT
    assert private.queue() == [] and private.traces() == []


def test_hostile_environment(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    private.submit("b@x.example", env={
        "TZ": ":/etc/shadow", "LD_PRELOAD": "", "LOCALDOMAIN": "evil",
        "RES_OPTIONS": "debug", "SSL_CERT_FILE": "/nonexistent",
        "OPENSSL_CONF": "/nonexistent", "EMAIL": "x\ny@z", "USER": "root",
        "LOGNAME": "root", "TMPDIR": "/nonexistent", "IFS": "/"})
    private.wait_delivered()
    (message,) = sink.messages
    assert message.sender == private.user + "@client.example"


def test_email_names_the_sender(private):
    assert "me@s.example" in queued(private, "b@x.example",
                                    env={"EMAIL": "me@s.example"})


def limit_file_size(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.rows("V-14", "L-45")
def test_file_size_limit_of_the_caller(private):
    result = private.run("b@x.example", text="x" * 70 + "\n" * 200000,
                         preexec_fn=limit_file_size(65536))
    refused(private, result, IOERR)


@pytest.mark.rows("L-20")
def test_unreadable_input(private):
    directory = os.open("/", os.O_RDONLY)
    try:
        refused(private, private.run("b@x.example", stdin=directory), NOINPUT)
    finally:
        os.close(directory)


@pytest.mark.parametrize("args, lines", [
    (["a b@x.example"], []),
    (["b@x.example"], ["NOSUCHKEY"]),
    (["b@x.example"], ["SPOOLDIR /nonexistent"]),
    (["-t"], ["MAXSIZE 1k"]),
])
def test_who_is_refused_may_write_to_the_end(private, args, lines):
    """A writer that gets EPIPE shows that, and not the reason."""
    private.configure(*lines)
    process = private.popen(*args)
    text = b"To: c@x.example\n\n" + b"x" * 70 * 20000
    while text:
        text = text[os.write(process.stdin.fileno(), text):]
    out, err = process.communicate(timeout=instance.BOUND)
    assert process.returncode in (DATAERR, CONFIG, OSFILE, UNAVAILABLE)
    assert err.count(b"\n") == 1 and out == b""


def test_who_is_refused_is_not_waited_for(private):
    """One that keeps the pipe open and silent hears the reason all the same."""
    process = private.popen("a b@x.example")
    assert process.wait(instance.BOUND) == DATAERR
    process.stdin.close()


# ---- A spool that cannot take it ----

def test_spool_missing(private):
    private.configure(SPOOLDIR=private.directory / "nowhere")
    result = private.run("b@x.example", text="x\n")
    assert result.exit == OSFILE, result
    assert "nowhere" in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o500])
def test_spool_with_the_wrong_mode(private, mode):
    private.spool.chmod(mode)
    result = private.run("b@x.example", text="x\n")
    private.spool.chmod(0o700)
    refused(private, result, OSFILE)


def test_spool_is_a_file(private):
    private.configure(SPOOLDIR=private.conf_path)
    result = private.run("b@x.example", text="x\n")
    assert result.exit == OSFILE, result


@pytest.fixture
def mounted_spool(private):
    """The spool on a file system of its own: mount(options)."""
    if not house.IS_ROOT:
        pytest.skip("needs root: a small file system")
    mounts = []

    def mount(*options):
        uid = private.spool.stat().st_uid
        text = ",".join(("uid=%d,mode=0700" % uid,) + options)
        house.command("mount", "-t", "tmpfs", "-o", text, "tmpfs",
                      private.spool)
        mounts.append(private.spool)
    yield mount
    instance.kill_all()
    for place in mounts:
        subprocess.run(["umount", "-l", place], check=False)


def test_spool_read_only(private, mounted_spool):
    mounted_spool()
    house.command("mount", "-o", "remount,ro", private.spool)
    refused(private, private.run("b@x.example", text="x\n"), CANTCREAT)


@pytest.mark.rows("V-36", "L-45")
def test_disk_full_at_submission(private, mounted_spool):
    mounted_spool("size=64k")
    result = private.run("b@x.example", text="x" * 70 + "\n" * 200000)
    assert result.exit in (CANTCREAT, IOERR, UNAVAILABLE), result
    refused(private, result, result.exit)
    assert "No space left" in result.err or "full" in result.err, result


@pytest.mark.rows("V-36", "L-45")
def test_no_inode_left_at_submission(private, mounted_spool):
    mounted_spool("nr_inodes=2")
    private.spool.joinpath("x").touch()
    result = private.run("b@x.example", text="x\n")
    assert result.exit in (CANTCREAT, IOERR, UNAVAILABLE), result
    refused(private, result, result.exit)


@pytest.mark.rows("V-36")
def test_reserve_is_kept(private, mounted_spool):
    mounted_spool("size=1m")
    private.configure(MINFREE=50)
    (private.spool / "filler").write_bytes(b"x" * 600_000)
    refused(private, private.run("b@x.example", text="x\n"), UNAVAILABLE)


@pytest.mark.rows("V-36")
def test_reserve_is_kept_from_who_began_before(private, mounted_spool):
    """There was room for each when it began, but not for both."""
    mounted_spool("size=4m")
    private.configure(MINFREE=50)
    senders = [private.popen("b@x.example") for _ in range(2)]
    for sender in senders:
        sender.stdin.write(b"Subject: large\n\n")
        sender.stdin.flush()
    instance.wait_for(lambda: len(os.listdir(private.spool)) == 2,
                      "both to begin")
    for sender in senders:
        _, err = sender.communicate(b"x" * 60 * 25000)
        assert sender.returncode == (0 if sender is senders[0] else UNAVAILABLE)
    assert b"MINFREE" in err
    space = os.statvfs(private.spool)
    assert space.f_bavail * 2 >= space.f_blocks
    assert len(private.queue()) == 1


# ---- Configuration ----

@pytest.mark.parametrize("line", [
    "NOSUCHKEY", "PORT 0", "PORT x", "FINGERPRINT", "FINGERPRINT abc",
    "RETRY soon", "MAXSIZE much", "NULLCLIENT yes please",
])
def test_bad_configuration(private, line):
    private.configure(line)
    count = len(private.conf_path.read_text().splitlines())
    result = private.run("b@x.example", text="x\n")
    refused(private, result, CONFIG)
    assert "dma.conf:%d: " % count in result.err, result


def test_nullclient_wants_a_smarthost(private):
    private.configure("NULLCLIENT")
    refused(private, private.run("b@x.example", text="x\n"), CONFIG)


def test_missing_configuration_of_a_private_instance(private):
    private.conf_path.unlink()
    result = private.run("b@x.example", text="x\n")
    assert result.exit == CONFIG, result


@pytest.mark.rows("V-45", "L-53")
def test_readable_secrets_are_refused(private, smtp):
    private.relay(smtp.sink(), login="u:p")
    (private.directory / "auth.conf").chmod(0o644)
    refused(private, private.run("b@x.example", text="x\n"), CONFIG)


def test_forgiving_configuration(private, smtp):
    sink = smtp.sink()
    private.configure()
    text = private.conf_path.read_text()
    private.conf_path.write_text(
        text + "  SMARTHOST\t %s  \r\n\tPORT   %d\t\r\n# end"
        % (sink.host, sink.port))
    private.submit("b@x.example")
    private.wait_delivered()
    assert len(sink.messages) == 1


@pytest.mark.rows("L-55")
def test_mailname_from_a_file(private, smtp):
    (private.directory / "mailname").write_text("from.file.example\nmore\n")
    sink = smtp.sink()
    private.relay(sink, MAILNAME=private.directory / "mailname")
    private.submit("b@x.example")
    private.wait_delivered()
    assert sink.connections[0].commands[0] == "EHLO from.file.example"


@pytest.mark.parametrize("rule, sender", [
    ("box@mask.example", "box@mask.example"),
    ("mask.example", None),
    ("box@", "box@client.example"),
])
def test_masquerade(private, smtp, rule, sender):
    sink = smtp.sink()
    private.relay(sink, MASQUERADE=rule)
    private.submit("-f", "me@s.example", "b@x.example")
    private.wait_delivered()
    wanted = sender or "me@mask.example"
    if rule == "box@":
        wanted = "box@s.example"
    assert sink.messages[0].sender == wanted
