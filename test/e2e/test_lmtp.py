# SPDX-License-Identifier: BSD-3-Clause
"""MAILBOX lmtp:...: a server that has this machine's mailboxes."""

import pytest

import house
import instance


@pytest.fixture
def boxes(private, smtp):
    """Start an LMTP server at a path, which gets all local mail."""
    def start(*lines, private=private, **options):
        path = str(private.directory / "lmtp")
        sink = smtp.sink(host=path, lmtp=True, **options)
        if house.IS_ROOT:
            private.own(path)
        private.configure(*lines, MAILBOX="lmtp:" + path)
        return sink
    return start


def test_all_local_mail_in_one_transaction(private, boxes):
    sink = boxes("LOCALONLY")
    private.aliases("team: joe, ann+x\n")
    private.submit("root", "Bob+lists@client.example", "team",
                   '"joe doe"@localhost')
    private.wait_delivered()
    assert sink.recipients_seen() == [
        '"joe doe"@client.example', "Bob+lists@client.example",
        "ann+x@client.example", "joe@client.example", "root@client.example"]
    (connection,) = sink.connections
    assert len([c for c in connection.commands
                if c.startswith("MAIL")]) == 1
    assert private.mbox() == []
    # People read the name that they know.
    assert private.logged(r"to=<root>, relay=\S*lmtp\S*, .* status=sent")
    assert private.logged(r"to=<joe>, orig_to=<team>, .* status=sent")


def test_over_tcp_and_beside_a_relay(private, smtp):
    relay = smtp.sink(auth={"user": "secret"})
    sink = smtp.sink(lmtp=True)
    private.relay(relay, login="user:secret", INSECURE=True,
                  MAILBOX="lmtp://127.0.0.1:%d" % sink.port)
    private.submit("root", "a@x.example")
    private.wait_delivered()
    assert sink.recipients_seen() == ["root@client.example"]
    # The relay's password is the relay's, who has the same address here.
    assert not [c for c in sink.connections[0].commands if "AUTH" in c]


def test_the_server_knows_who_exists(private, boxes):
    sink = boxes(recipients={
        "gone@client.example": "550 5.1.1 <gone> User doesn't exist"})
    private.submit("gone", "ann")
    private.wait_delivered()
    assert sorted(sink.recipients_seen()) == sorted([
        "ann@client.example", private.user + "@client.example"])
    (notice,) = [m for m in sink.messages
                 if m.recipients == [private.user + "@client.example"]]
    assert "User doesn't exist" in notice.text
    assert "gone@client.example" in notice.text
    assert private.logged(
        r"to=<gone>, .*dsn=5\.1\.1, status=bounced \(.*User doesn't exist")


def test_no_user_is_looked_up_here(private, boxes):
    boxes("DEFER")
    private.aliases("team: no-such-user-here\n")
    result = private.run("-bs", text=(
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<no-such-user-here>\r\n"
        "RCPT TO:<team>\r\nQUIT\r\n"))
    assert [r[:3] for r in result.out.split("\r\n")[-4:-1]] == [
        "250", "250", "221"], result
    result = private.run("-bv", "team")
    assert (result.exit, result.out.splitlines()) == (0, [
        "team: alias no-such-user-here",
        "no-such-user-here: lmtp %s/lmtp" % private.directory]), result


@pytest.mark.parametrize("answers", [
    {"DOT": "452 4.2.2 over quota"}, {"RCPT": "450 4.2.0 locked"},
    {"GREETING": "421 4.3.2 closing"}])
def test_what_passes_is_deferred(private, boxes, answers):
    boxes(answers=answers)
    private.submit("ann")
    private.wait_deferred()
    assert len(private.queue()) == 1
    assert answers.popitem()[1][4:] in private.mailq()


def test_no_server_is_there(private, smtp):
    private.configure(MAILBOX="lmtp:%s/none" % private.directory)
    private.submit("ann")
    private.wait_deferred()
    assert "none" in private.mailq()
    sink = smtp.sink(lmtp=True)
    private.configure(MAILBOX="lmtp://127.0.0.1:%d" % sink.port)
    private.flush()
    assert sink.recipients_seen() == ["ann@client.example"]


def test_dovecot(system, real):
    """Root's mail, a user's, an extension, and nobody's."""
    server = real.dovecot()
    system.configure(MAILBOX="lmtp:" + server.host)
    system.submit("root", "alice+lists", "no-such-user-here")
    system.wait_delivered(30)
    for user in ("root", "alice"):
        instance.wait_for(lambda u=user: server.inbox(u),
                          "mail in the Maildir of " + user)
    assert system.logged(r"to=<no-such-user-here>, .*dsn=5\.1\.1, .*bounced")
    # The sender is alice: her notice is there, too.
    first, second = server.inbox("alice")
    assert "no-such-user-here" in first + second
    assert "Subject: test" in first + second
    assert system.mailbox("alice") == [] and system.mailbox("root") == []
