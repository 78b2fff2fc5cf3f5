# SPDX-License-Identifier: BSD-3-Clause
"""Senders that the relay accepts: SENDERS, MASQUERADE, HEADERS, and which
domains are this machine: LOCALNAMES, LOCALONLY."""

import os
import pwd

import pytest

USAGE, DATAERR, UNAVAILABLE, CONFIG = 64, 65, 69, 78
CRON = ("From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@h> true\n"
        "\nbody\n")


def refused(private, result, status, *words):
    """This status, one line with these words, nothing on the disk."""
    assert result.exit == status, result
    assert result.err.count("\n") == 1, result
    assert all(word in result.err for word in words), result
    assert private.queue() == [] and private.traces() == []


@pytest.fixture
def sender(private, smtp):
    """sender(map, *args, text, **keys): the one message that arrives."""
    sink = smtp.sink()
    path = private.directory / "senders"

    def send(table, *args, text="Subject: s\n\nbody\n", **keys):
        if table is not None:
            private.write(path, table)
            keys.setdefault("SENDERS", path)
        private.relay(sink, **keys)
        del sink.messages[:]
        private.submit(*args, text=text)
        private.wait_delivered()
        (message,) = sink.messages
        return message
    return send


# ---- SENDERS ----

def test_cron_mail_gets_a_sender_that_the_relay_knows(sender):
    """dma #64, #96: the relay refuses root@host, in both places."""
    message = sender("root: alerts@example.org\n", "-f", "root",
                     "b@x.example", text=CRON)
    assert message.sender == "alerts@example.org"
    assert message.header("From") == ["alerts@example.org (Cron Daemon)"]
    assert message.header("To") == ["root@client.example"]
    assert message.header("X-Original-From") == []


def test_a_from_that_is_added_has_the_mapped_sender(private, sender):
    message = sender("%s alerts@example.org\n" % private.user,
                     "-F", "Jörg", "b@x.example")
    assert message.sender == "alerts@example.org"
    assert message.header("From") == [
        "=?utf-8?Q?J=C3=B6rg?= <alerts@example.org>"]


@pytest.mark.parametrize("given, arrives", [
    ("root", "one@example.org"),
    ("ROOT@Client.Example", "one@example.org"),
    ("root@localhost", "one@example.org"),
    ("root@elsewhere.example", "root@elsewhere.example"),
    ("joe@elsewhere.example", "two@example.org"),
    ("any@old.example", "three@example.org"),
    ("www-data", "rest@example.org"),
    ("<>", ""),
])
def test_who_is_mapped(sender, given, arrives):
    message = sender("# senders\r\n\r\nroot: one@example.org # cron\r\n"
                     "joe@elsewhere.example two@example.org\r\n"
                     "@old.example: three@example.org\n"
                     "* rest@example.org", "-f", given, "b@x.example")
    assert message.sender == arrives


def test_the_header_alone_may_be_mapped(sender):
    """Others in the field, names and comments stay; so does Reply-To."""
    message = sender(
        "root: alerts@example.org\n", "-f", "app@example.org", "b@x.example",
        text="From: \"Root, the\" <root@localhost>, boss@x.example (b)\n"
             "Sender: root\nReply-To: root\n\nx\n")
    assert message.sender == "app@example.org"
    assert message.header("From") == [
        '"Root, the" <alerts@example.org>, boss@x.example (b)']
    assert message.header("Sender") == ["alerts@example.org"]
    assert message.header("Reply-To") == ["root@client.example"]


def test_senders_wins_over_masquerade(sender):
    table = "root: alerts@example.org\n"
    message = sender(table, "-f", "root", "b@x.example",
                     MASQUERADE="m.example")
    assert message.sender == "alerts@example.org"
    message = sender(table, "-f", "joe", "b@x.example",
                     MASQUERADE="m.example")
    assert message.sender == "joe@m.example"


def test_a_bad_line_costs_itself_alone(private, sender):
    message = sender("root\nroot: a@b@c\nroot: alerts@example.org\n",
                     "-f", "root", "b@x.example")
    assert message.sender == "alerts@example.org"
    assert private.logged(r'senders:1: "" is empty')
    assert private.logged(r"senders:2: \"a@b@c\" has more than one '@'")


def test_no_file_no_mail(private):
    """As any other wrong line of dma.conf: the caller hears of it."""
    path = private.directory / "senders"
    private.configure(SENDERS=path)
    refused(private, private.run("b@x.example", text=CRON), CONFIG,
            str(path), "No such file")
    private.write(path, "root: a@example.org\n", 0o666)
    refused(private, private.run("b@x.example", text=CRON), CONFIG,
            str(path), "chmod o-w")
    path.unlink()
    os.mkfifo(path)
    refused(private, private.run("b@x.example", text=CRON), CONFIG,
            str(path), "regular file")


def test_the_file_may_be_ours_alone(system, smtp):
    """root:mail 0640: users cannot read it, their mail is mapped."""
    sink = smtp.sink()
    path = system.confdir / "senders"
    system.write(path, "alice: alerts@example.org\n", 0o640)
    os.chown(path, 0, pwd.getpwnam("mail").pw_gid)
    system.relay(sink, SENDERS=path)
    system.submit("b@x.example")
    system.wait_delivered()
    assert sink.messages[0].sender == "alerts@example.org"
    os.chown(path, 0, 0)
    for user in ("alice", "root"):
        result = system.run("b@x.example", text=CRON, user=user)
        refused(system, result, CONFIG, str(path), "chgrp mail")


# ---- HEADERS from=envelope ----

def test_masquerade_alone_leaves_the_header(sender):
    """As dma 0.14 does."""
    message = sender(None, "-f", "root", "b@x.example", text=CRON,
                     MASQUERADE="alerts@example.org")
    assert message.sender == "alerts@example.org"
    assert message.header("From") == ["root@client.example (Cron Daemon)"]


@pytest.mark.parametrize("old, new, original", [
    ("root (Cron Daemon)", "alerts@example.org (Cron Daemon)",
     "root@client.example"),
    ('"A, B" <a@x.example> (c)', '"A, B" <alerts@example.org> (c)',
     '"A, B" <a@x.example>'),
    ("a@x.example,\n B <b@y.example>", "alerts@example.org",
     "a@x.example, B <b@y.example>"),
    ("not an address", "alerts@example.org", "not an address"),
])
@pytest.mark.parametrize("table, masquerade", [
    (None, "alerts@example.org"), ("* alerts@example.org\n", None)])
def test_from_follows_the_envelope(
        sender, table, masquerade, old, new, original):
    message = sender(table, "-f", "root", "b@x.example",
                     text="From: %s\nSubject: s\n\nx\n" % old,
                     HEADERS="from=envelope", MASQUERADE=masquerade)
    assert message.sender == "alerts@example.org"
    assert message.header("From") == [new]
    assert message.header("X-Original-From") == [original]


@pytest.mark.parametrize("args, text", [
    (("-f", "<>"), "From: root@x.example\n\nx\n"),
    (("-f", "alerts@example.org"), "From: root@x.example\n\nx\n"),
    (("-f", "root"), "From: alerts@example.org\n\nx\n"),
])
def test_from_that_has_nothing_to_follow(sender, args, text):
    message = sender(None, *args, "b@x.example", text=text,
                     MASQUERADE="alerts@example.org", HEADERS="from=envelope")
    assert message.header("From") == [text.splitlines()[0][6:]]
    assert message.header("X-Original-From") == []


# ---- LOCALNAMES ----

def test_mail_for_our_own_domain_leaves_the_host(private, smtp):
    """dma #20, #62: the mailboxes of example.org are at the relay."""
    sink = smtp.sink()
    private.relay(sink, MAILNAME="example.org", LOCALNAMES="localhost")
    private.submit("boss@example.org", private.user + "@localhost")
    private.wait_delivered()
    assert sink.messages[0].recipients == ["boss@example.org"]
    assert len(private.mbox()) == 1


def test_several_local_domains(private, smtp):
    sink = smtp.sink()
    private.relay(sink, LOCALNAMES="one.example *.two.example")
    local = [private.user + at for at in (
        "@ONE.example", "@a.two.example", "@b.a.Two.example", "@localhost")]
    away = [private.user + at for at in (
        "@client.example", "@two.example", "@a.one.example")]
    for address in local + away:
        private.submit(address)
    private.wait_delivered()
    assert len(private.mbox()) == len(local)
    assert sorted(r for m in sink.messages for r in m.recipients) \
        == sorted(away)


def test_a_local_domain_in_both_its_forms(private):
    private.configure("LOCALNAMES xn--dm-fka.example d\u00f6m.example",
                      SMARTHOST="127.0.0.1", PORT=1)
    private.submit(private.user + "@d\u00f6m.example")
    private.submit(private.user + "@xn--dm-fka.example")
    private.wait_delivered()
    assert len(private.mbox()) == 2


def test_notices_find_their_sender_where_the_domain_is(private, smtp):
    sink = smtp.sink()
    private.relay(sink, MAILNAME="example.org", LOCALNAMES="localhost")
    private.submit("-f", "joe@example.org", "nobody-here@localhost")
    private.wait_delivered()
    assert sink.messages[0].recipients == ["joe@example.org"]
    assert sink.messages[0].sender == ""


def test_nullclient_sends_local_names_away_too(private, smtp):
    sink = smtp.sink()
    private.relay(sink, "NULLCLIENT", MAILNAME="example.org",
                  LOCALNAMES="localhost one.example")
    private.submit("root", "a@one.example", "b@example.org", "c@x.example")
    private.wait_delivered()
    assert sorted(sink.messages[0].recipients) == [
        "a@example.org", "b@example.org", "c@x.example", "root@example.org"]


# ---- LOCALONLY ----

@pytest.mark.parametrize("args, text, named", [
    (["a@x.example"], "x\n", '"a@x.example"'),
    (["-t"], "To: Joe <a@x.example>\n\nx\n", '"a@x.example"'),
    (["{user}", "a@x.example"], "x\n", '"a@x.example"'),
    (["away"], "x\n", '"away"'),
    (["both"], "x\n", '"both"'),
    (["-t"], "Cc: {user}, Away@localhost\n\nx\n", '"Away@localhost"'),
])
def test_localonly_refuses_other_machines(private, args, text, named):
    private.aliases("away: b@x.example\nboth: %s, away\n" % private.user)
    private.configure("LOCALONLY")
    result = private.run(*[a.format(user=private.user) for a in args],
                         text=text.format(user=private.user))
    refused(private, result, UNAVAILABLE, named, "LOCALONLY")


def test_localonly_delivers_here(private):
    private.aliases("root: %s\n" % private.user)
    private.configure("LOCALONLY")
    private.submit("root@client.example")
    private.wait_delivered()
    assert len(private.mbox()) == 1


@pytest.mark.parametrize("relay", [True, False])
def test_mail_from_before_localonly_waits(private, smtp, relay):
    sink = smtp.sink()
    if relay:
        private.relay(sink)
    private.submit("-odq", "a@x.example")
    if relay:
        private.relay(sink, "LOCALONLY")
    else:
        private.configure("LOCALONLY")
    private.flush()
    assert sink.connections == []
    assert private.log().count("dsn=4.7.1, status=deferred") == 1
    assert "LOCALONLY" in private.mailq()
    # Not due for a while: the system's run passes it by.
    assert private.run("run", name="dmactl").exit == 0
    assert private.log().count("status=deferred") == 1
    private.relay(sink)
    private.flush()
    assert len(sink.messages) == 1


def test_a_notice_that_must_not_leave_is_kept(private):
    """Its sender is elsewhere; nobody is told, nothing is lost."""
    private.configure("LOCALONLY")
    private.submit("-f", "joe@x.example", "nobody-here")
    private.wait_idle()
    assert len(private.traces()) == 1
    assert private.traces()[0].startswith("dead.")


# ---- The same for those who speak SMTP ----

def dialogue(private, *commands):
    result = private.run("-bs", text="\r\n".join(commands) + "\r\n")
    assert result.exit == 0, result
    return [line for line in result.out.splitlines() if line[3:4] != "-"]


def test_bs_maps_senders(private, smtp):
    sink = smtp.sink()
    path = private.directory / "senders"
    private.write(path, "root: alerts@example.org\n")
    private.relay(sink, SENDERS=path, MASQUERADE="m.example",
                  HEADERS="from=envelope")
    for sender in ("root", "joe@x.example"):
        said = dialogue(private, "HELO x", "MAIL FROM:<%s>" % sender,
                        "RCPT TO:<b@x.example>", "DATA",
                        "From: root (c)\r\n\r\nx\r\n.", "QUIT")
        assert said[-2].startswith("250"), said
    private.wait_delivered()
    assert sorted(m.sender for m in sink.messages) == [
        "alerts@example.org", "joe@m.example"]
    assert sorted(m.header("From")[0] for m in sink.messages) == [
        "alerts@example.org (c)", "joe@m.example (c)"]


def test_bs_refuses_other_machines_under_localonly(private):
    private.aliases("both: %s, b@x.example\n" % private.user)
    private.configure("LOCALONLY")
    said = dialogue(private, "EHLO x", "MAIL FROM:<a@x.example>",
                    "RCPT TO:<b@x.example>", "RCPT TO:<both>",
                    "RCPT TO:<%s>" % private.user, "DATA",
                    "Subject: s\r\n\r\nx\r\n.", "QUIT")
    for line, name in zip(said[3:5], ("b@x.example", "both")):
        assert line.startswith("550 5.7.1 ") and "LOCALONLY" in line, said
        assert name in line, said
    assert said[5].startswith("250"), said
    private.wait_delivered()
    assert len(private.mbox()) == 1
