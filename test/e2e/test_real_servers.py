# SPDX-License-Identifier: BSD-3-Clause
"""Postfix, OpenSMTPD and Exim as relays and as MX."""

import pytest

import instance
import servers

SERVERS = ("postfix", "opensmtpd", "exim")
LOGIN = ":".join(servers.LOGIN)
BODY = "".join("line %d of the text\n" % n for n in range(200)) + (
    "From the start\n.\n..two\n" + "x" * 900 + "\n")
TEXT = "Subject: real\nTo: alice@real.example\n\n" + BODY


def arrived(server, user, count=1):
    return instance.wait_for(
        lambda: len(server.inbox(user)) >= count and server.inbox(user),
        "mail in the Maildir of " + user, 30)


@pytest.mark.parametrize("name", SERVERS)
def test_submission_with_starttls_and_auth(system, real, trusted, name):
    server = real.server(name)
    server.require_tls()
    server.port = 587
    system.relay(server, login=LOGIN)
    system.submit("-t", "-i", text=TEXT)
    system.wait_delivered(30)
    (message,) = arrived(server, "alice")
    assert message.split("\n\n", 1)[1].rstrip("\n") == BODY.rstrip("\n")
    assert "client.example" in message.split("\n\n")[0]


@pytest.mark.parametrize("name", SERVERS)
def test_submission_with_implicit_tls(system, real, trusted, name):
    server = real.server(name)
    server.require_tls()
    server.port = 465
    system.relay(server, "SECURETRANSFER", "VERIFYCERT", login=LOGIN)
    system.submit("alice@real.example", "bob@real.example", text=TEXT)
    system.wait_delivered(30)
    arrived(server, "alice")
    arrived(server, "bob")


@pytest.mark.parametrize("name", SERVERS)
def test_wrong_password(system, real, trusted, name):
    server = real.server(name)
    server.require_tls()
    server.port = 587
    system.relay(server, login=servers.LOGIN[0] + ":wrong")
    system.submit("-odq", "alice@real.example")
    system.flush(user="root")
    assert len(system.queue()) == 1
    assert "535" in system.mailq()
    system.relay(server, login=LOGIN)
    system.flush(user="root")
    assert system.queue() == []
    arrived(server, "alice")


@pytest.mark.parametrize("name", SERVERS)
def test_mx(system, real, dns, name):
    server = real.server(name)
    dns.add("real.example", "MX", "10 mail.real.example")
    dns.add("mail.real.example", "A", server.host)
    system.submit("alice@real.example", "bob@real.example", text=TEXT)
    system.wait_delivered(30)
    (message,) = arrived(server, "alice")
    assert message.split("\n\n", 1)[1].rstrip("\n") == BODY.rstrip("\n")
    arrived(server, "bob")


@pytest.mark.parametrize("name", SERVERS)
def test_unknown_recipient_beside_a_known_one(system, real, name):
    server = real.server(name)
    system.relay(server)
    system.submit("alice@real.example", "nobody@real.example", text=TEXT)
    system.wait_delivered(30)
    arrived(server, "alice")
    (notice,) = system.mailbox("alice")
    assert "nobody@real.example" in notice.as_string()
    assert notice.get_content_type() == "multipart/report"


@pytest.mark.parametrize("name", SERVERS)
def test_hundred_messages(system, real, name):
    server = real.server(name)
    system.relay(server)
    for number in range(100):
        system.submit("-odq", "alice@real.example",
                      text="Subject: %d\n\nx\n" % number)
    system.flush(user="root")
    assert system.queue() == []
    subjects = [next(line for line in m.splitlines()
                     if line.startswith("Subject: "))
                for m in arrived(server, "alice", 100)]
    assert sorted(subjects) == sorted("Subject: %d" % n for n in range(100))


def test_postfix_with_a_certificate_for_another_name(
        system, real, trusted):
    server = real.postfix()
    server.port = 587
    system.relay(server, login=LOGIN, SMARTHOST="localhost")
    # Its name is not localhost, and it does not listen there.
    system.submit("-odq", "alice@real.example")
    system.flush(user="root")
    assert len(system.queue()) == 1
    assert server.inbox("alice") == []


@pytest.mark.parametrize("size", [25])
def test_large_message(system, real, size):
    server = real.postfix()
    system.relay(server)
    body = ("0123456789" * 7 + "\n") * (size * 1024 * 1024 // 71)
    system.submit("alice@real.example", text="Subject: big\n\n" + body)
    system.wait_delivered(60)
    (message,) = arrived(server, "alice")
    assert message.endswith(body)
