# SPDX-License-Identifier: BSD-3-Clause
"""Straight to the recipient's MX, in a network of our own."""

import socket

import pytest

import instance

PORT = 25


@pytest.fixture
def mx(system, dns, smtp):
    """system, dns and smtp together; nothing goes through a relay."""
    class Together:
        pass
    both = Together()
    both.system, both.dns, both.smtp = system, dns, smtp
    both.sink = lambda last, **more: smtp.sink(
        host="192.0.2.%d" % last, port=PORT, **more)
    return both


def send(mx, *recipients):
    mx.system.submit("-odq", *recipients)
    mx.system.flush(user="root")


def test_preference_order_with_the_first_dead(mx):
    mx.dns.add("x.example", "MX", "20 second.x.example", "10 first.x.example")
    mx.dns.add("first.x.example", "A", "192.0.2.5")
    mx.dns.add("second.x.example", "A", "192.0.2.6")
    second = mx.sink(6)
    send(mx, "b@x.example")
    assert second.recipients_seen() == ["b@x.example"]
    first = mx.sink(5)
    send(mx, "c@x.example")
    assert first.recipients_seen() == ["c@x.example"]
    assert second.recipients_seen() == ["b@x.example"]


def test_first_says_421(mx):
    mx.dns.add("x.example", "MX", "10 first.x.example", "20 second.x.example")
    mx.dns.add("first.x.example", "A", "192.0.2.5")
    mx.dns.add("second.x.example", "A", "192.0.2.6")
    mx.sink(5, answers={"GREETING": "421 4.3.2 busy"})
    second = mx.sink(6)
    send(mx, "b@x.example")
    assert second.recipients_seen() == ["b@x.example"]


def test_address_without_mx(mx):
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


def test_ipv6(mx):
    try:
        socket.create_server(("2001:db8::1", PORT),
                             family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip("no IPv6 here: %s" % error)
    mx.dns.add("x.example", "AAAA", "2001:db8::1")
    sink = mx.smtp.sink(host="2001:db8::1", port=PORT)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


def test_dead_ipv6_and_living_ipv4(mx):
    mx.dns.add("x.example", "AAAA", "2001:db8::dead")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


def test_second_address_of_one_name(mx):
    mx.dns.add("x.example", "A", "192.0.2.5", "192.0.2.6")
    sink = mx.sink(6)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


def test_mx_behind_a_cname(mx):
    mx.dns.add("x.example", "CNAME", "y.example")
    mx.dns.add("y.example", "MX", "10 mail.y.example")
    mx.dns.add("mail.y.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert sink.recipients_seen() == ["b@x.example"]


def failed(mx, *words):
    assert mx.system.queue() == []
    (notice,) = mx.system.mailbox("alice")
    for word in words:
        assert word in notice.as_string()


def deferred(mx, *words):
    assert len(mx.system.queue()) == 1
    assert mx.system.mailbox("alice") == []
    listing = mx.system.mailq()
    for word in words:
        assert word in listing


def test_null_mx_fails_at_once(mx):
    mx.dns.add("x.example", "MX", "0 .")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    failed(mx, "5.1.10")
    assert sink.connections == []


def test_unknown_domain_fails(mx):
    send(mx, "b@no-such.example")
    failed(mx, "5.1.2")


def test_mx_that_does_not_exist_fails(mx):
    mx.dns.add("x.example", "MX", "10 nowhere.example")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    failed(mx, "5.4.4")
    assert sink.connections == []


def test_trouble_of_the_name_server_defers(mx):
    mx.dns.broken.add("x.example")
    send(mx, "b@x.example")
    deferred(mx)
    mx.dns.broken.clear()
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    mx.system.flush(user="root")
    assert len(sink.messages) == 1


def test_one_broken_mx_among_others_defers(mx):
    """A target that cannot be looked up now is no reason to fail."""
    mx.dns.add("x.example", "MX", "10 a.example", "20 b.example")
    mx.dns.broken.add("a.example")
    send(mx, "b@x.example")
    deferred(mx)


def test_nobody_answers(mx):
    mx.dns.add("x.example", "A", "192.0.2.5")
    send(mx, "b@x.example")
    deferred(mx, "Connection refused", "192.0.2.5")


def test_loopback_is_not_followed(mx):
    """An MX that points at our own services (H-92)."""
    mx.dns.add("x.example", "MX", "10 evil.example")
    mx.dns.add("evil.example", "A", "127.0.0.1")
    sink = mx.smtp.sink(host="127.0.0.1", port=PORT)
    send(mx, "b@x.example")
    assert sink.connections == []


def test_loop_to_ourselves(mx):
    mx.dns.add("x.example", "MX", "10 client.example", "20 later.example")
    mx.dns.add("client.example", "A", "192.0.2.5")
    mx.dns.add("later.example", "A", "192.0.2.6")
    one, two = mx.sink(5), mx.sink(6)
    send(mx, "b@x.example")
    assert one.connections == [] and two.connections == []
    failed(mx, "5.4.6")


def test_long_answer_over_tcp(mx):
    mx.dns.add("x.example", "MX", *[
        "%d mail-%02d.with-a-long-name.x.example" % (n + 1, n)
        for n in range(40)])
    mx.dns.add("mail-00.with-a-long-name.x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


def test_address_literal(mx):
    sink = mx.sink(5)
    send(mx, "b@[192.0.2.5]")
    assert sink.recipients_seen() == ["b@[192.0.2.5]"]


def test_several_domains_each_to_its_own(mx):
    sinks = {}
    for last in (5, 6, 7):
        mx.dns.add("x%d.example" % last, "A", "192.0.2.%d" % last)
        sinks[last] = mx.sink(last)
    send(mx, *["b@x%d.example" % n for n in (5, 6, 7)])
    for last, sink in sinks.items():
        assert sink.recipients_seen() == ["b@x%d.example" % last]


def test_dead_domain_does_not_hold_the_others(mx):
    mx.dns.silent.add("slow.example")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    mx.system.submit("b@slow.example")
    mx.system.submit("b@x.example")
    instance.wait_for(lambda: sink.messages, "the other domain's mail")


def test_no_starttls_from_an_mx_is_plain_text(mx, authority):
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.dns.add("y.example", "A", "192.0.2.6")
    plain = mx.sink(5)
    # An MX's certificate need not be valid: better than plain text.
    secure = mx.sink(6, tls="starttls",
                     cert=authority.leaf("mail.other.example"))
    send(mx, "b@x.example", "b@y.example")
    assert plain.messages[0].connection.tls is None
    assert secure.messages[0].connection.tls is not None
