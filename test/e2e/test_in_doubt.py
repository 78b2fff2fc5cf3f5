# SPDX-License-Identifier: BSD-3-Clause
"""What one next hop, or one server of it, must not decide for the others."""

import subprocess

import pytest

from test_direct_mx import deferred, failed, mx, send  # noqa: F401

pytestmark = pytest.mark.rows("H-03")


@pytest.fixture
def prohibited():
    """An address that the routing table forbids: connect(2) says EACCES."""
    route = ["192.0.2.77/32"]
    subprocess.run(["ip", "route", "add", "prohibit", *route], check=True)
    yield "192.0.2.77"
    subprocess.run(["ip", "route", "del", "prohibit", *route], check=True)


def test_one_forbidden_address_is_not_the_whole_network(mx, prohibited):
    mx.dns.add("x.example", "A", prohibited)
    mx.dns.add("y.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    mx.system.submit("-odq", "b@x.example")
    send(mx, "b@y.example")
    assert sink.recipients_seen() == ["b@y.example"]
    assert mx.system.logged("77.*status=deferred")
    assert not mx.system.logged("no network here")


def two_mx(mx):
    mx.dns.add("x.example", "MX", "10 first.x.example", "20 second.x.example")
    mx.dns.add("first.x.example", "A", "192.0.2.5")
    mx.dns.add("second.x.example", "A", "192.0.2.6")


@pytest.mark.rows("H-29")
@pytest.mark.parametrize("living", [5, 6])
def test_too_large_for_one_and_the_other_not_asked(mx, living):
    """The one that does not answer may take it."""
    two_mx(mx)
    mx.sink(living, answers={"EHLO": "250-x\n250 SIZE 10"})
    send(mx, "b@x.example")
    deferred(mx)


@pytest.mark.rows("H-29")
def test_too_large_for_a_server_with_a_dead_address(mx):
    """Its other address is the same server: no reason to wait."""
    mx.dns.add("x.example", "AAAA", "2001:db8::99")
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.sink(5, answers={"EHLO": "250-x\n250 SIZE 10"})
    send(mx, "b@x.example")
    failed(mx, "5.3.4")


@pytest.mark.rows("H-29", "H-80")
def test_too_large_for_one_and_the_other_not_found(mx):
    two_mx(mx)
    mx.dns.broken.add("second.x.example")
    mx.sink(5, answers={"EHLO": "250-x\n250 SIZE 10"})
    send(mx, "b@x.example")
    deferred(mx)


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
def test_order_of_commands_is_not_the_mail(mx, command):
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.sink(5, answers={command: "503 This server requires authentication"})
    send(mx, "b@x.example")
    deferred(mx)


def referral(answer):
    """Ask somebody else: not of authority, no recursion, no record."""
    return [answer[:2] + b"\x81\0" + answer[4:6] + bytes(6)
            + answer[12:12 + answer[12:].index(b"\0") + 5]]


@pytest.mark.rows("H-80")
def test_name_server_that_does_not_recurse(mx):
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.dns.mangled["x.example"] = referral
    send(mx, "b@x.example")
    deferred(mx)


@pytest.mark.rows("H-92")
def test_mx_by_a_name_of_our_own_hosts_file(mx):
    """A stranger's MX leads into this machine by no such name either."""
    mx.dns.add("x.example", "MX", "10 localhost")
    sink = mx.smtp.sink(host="127.0.0.1", port=25)
    send(mx, "b@x.example")
    assert sink.connections == []
    assert mx.system.logged("dsn=5.4.4, status=bounced")


def no_orcpt(connection, argument):
    if "ORCPT" in argument:
        return "555 5.5.4 Unsupported option: ORCPT"
    return None


@pytest.mark.rows("H-40")
def test_parameters_of_a_recipient_are_left_out(mx):
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.system.aliases("one: a@x.example\ntwo: b@x.example\n")
    sink = mx.sink(5, answers={"RCPT": no_orcpt})
    send(mx, "one@client.example", "two@client.example", "c@x.example")
    assert mx.system.queue() == [], mx.system.log()
    assert sorted(sink.recipients_seen()) == [
        "a@x.example", "b@x.example", "c@x.example"]


@pytest.mark.rows("H-45")
def test_too_many_recipients_whatever_the_code(mx):
    """RFC 3463, 3.6: X.5.3 means that the message is to be divided."""
    seen = []

    def mail(connection, argument):
        seen.clear()

    def rcpt(connection, argument):
        seen.append(argument)
        return "550 5.5.3 Too many recipients" if len(seen) > 2 else None
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5, answers={"MAIL": mail, "RCPT": rcpt})
    wanted = ["%c@x.example" % c for c in "abcde"]
    send(mx, *wanted)
    assert mx.system.queue() == [], mx.system.log()
    assert sorted(sink.recipients_seen()) == wanted
