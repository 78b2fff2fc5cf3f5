# SPDX-License-Identifier: BSD-3-Clause
"""Straight to the recipient's MX, in a network of our own."""

import pathlib
import socket
import struct

import pytest

import instance
import smtpd
from test_transcripts import CPU_S, cpu_used

PORT = 25
AAAA, TLSA = 28, 52


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
    """M1, as for the transcripts: whatever a name server says costs little."""
    mx.system.submit("-odq", *recipients)
    before = cpu_used()
    mx.system.flush(user="root")
    assert cpu_used() - before < CPU_S


@pytest.mark.rows("H-01")
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


@pytest.mark.rows("H-07")
def test_first_says_421(mx):
    mx.dns.add("x.example", "MX", "10 first.x.example", "20 second.x.example")
    mx.dns.add("first.x.example", "A", "192.0.2.5")
    mx.dns.add("second.x.example", "A", "192.0.2.6")
    mx.sink(5, answers={"GREETING": "421 4.3.2 busy"})
    second = mx.sink(6)
    send(mx, "b@x.example")
    assert second.recipients_seen() == ["b@x.example"]


@pytest.mark.rows("H-82")
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


@pytest.mark.rows("H-03")
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


@pytest.mark.rows("H-87")
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


@pytest.mark.rows("H-84")
def test_null_mx_fails_at_once(mx):
    mx.dns.add("x.example", "MX", "0 .")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    failed(mx, "5.1.10")
    assert sink.connections == []


@pytest.mark.rows("H-81")
def test_unknown_domain_fails(mx):
    send(mx, "b@no-such.example")
    failed(mx, "5.1.2")


@pytest.mark.rows("H-83")
def test_mx_that_does_not_exist_fails(mx):
    mx.dns.add("x.example", "MX", "10 nowhere.example")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    failed(mx, "5.4.4")
    assert sink.connections == []


@pytest.mark.rows("H-80")
def test_trouble_of_the_name_server_defers(mx):
    mx.dns.broken.add("x.example")
    send(mx, "b@x.example")
    deferred(mx)
    mx.dns.broken.clear()
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    mx.system.flush(user="root")
    assert len(sink.messages) == 1


@pytest.mark.rows("H-83")
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


@pytest.mark.rows("H-92")
def test_loopback_is_not_followed(mx):
    """An MX that points at our own services (H-92)."""
    mx.dns.add("x.example", "MX", "10 evil.example")
    mx.dns.add("evil.example", "A", "127.0.0.1")
    sink = mx.smtp.sink(host="127.0.0.1", port=PORT)
    send(mx, "b@x.example")
    assert sink.connections == []


@pytest.mark.rows("H-93")
def test_loop_to_ourselves(mx):
    mx.dns.add("x.example", "MX", "10 client.example", "20 later.example")
    mx.dns.add("client.example", "A", "192.0.2.5")
    mx.dns.add("later.example", "A", "192.0.2.6")
    one, two = mx.sink(5), mx.sink(6)
    send(mx, "b@x.example")
    assert one.connections == [] and two.connections == []
    failed(mx, "5.4.6")


@pytest.mark.rows("H-88")
def test_long_answer_over_tcp(mx):
    mx.dns.add("x.example", "MX", *[
        "%d mail-%02d.with-a-long-name.x.example" % (n + 1, n)
        for n in range(40)])
    mx.dns.add("mail-00.with-a-long-name.x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert len(sink.messages) == 1


@pytest.mark.rows("H-102")
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


@pytest.mark.rows("H-80")
def test_dead_domain_does_not_hold_the_others(mx):
    mx.dns.silent.add("slow.example")
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    mx.system.submit("b@slow.example")
    mx.system.submit("b@x.example")
    instance.wait_for(lambda: sink.messages, "the other domain's mail")


@pytest.mark.rows("V-40", "V-49")
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


# ---- Which refusals are the first server's affair ----

def closing(connection, argument):
    raise smtpd.Gone("closed on purpose")


NEXT = [
    pytest.param({"GREETING": "554 no"}, id="H-08 greeting 554"),
    pytest.param({"GREETING": "521 no mail"}, id="H-09 greeting 521"),
    pytest.param({"GREETING": "450 later"}, id="H-10 greeting 450"),
    pytest.param({"GREETING": "250 hello"}, id="H-11 greeting 250"),
    pytest.param({"EHLO": "421 busy"}, id="H-21 EHLO 421"),
    pytest.param({"EHLO": "450 later"}, id="H-21 EHLO 450"),
    pytest.param({"EHLO": closing}, id="H-21 EHLO closed"),
    pytest.param({"EHLO": "250-x\n250 SIZE 10"}, id="H-29 SIZE"),
    pytest.param({"MAIL": "421 busy"}, id="H-36 MAIL 421"),
    pytest.param({"RCPT": "421 busy"}, id="H-36 RCPT 421"),
    pytest.param({"MAIL": "451 later"}, id="H-37 MAIL 451"),
    pytest.param({"MAIL": "552 too large"}, id="H-39 MAIL 552"),
    pytest.param({"RCPT": closing}, id="H-50 RCPT closed"),
    pytest.param({"DATA": "451 later"}, id="H-53 DATA 451"),
]
LAST = [
    pytest.param({"MAIL": "550 no"}, "bounced", id="H-39 MAIL 550"),
    pytest.param({"RCPT": "450 grey"}, "deferred", id="H-43 RCPT 450"),
    pytest.param({"RCPT": "550 who"}, "bounced", id="H-46 RCPT 550"),
    pytest.param({"DATA": "554 no"}, "bounced", id="H-53 DATA 554"),
    pytest.param({"DOT": "451 later"}, "deferred", id="H-57 dot 451"),
    pytest.param({"DOT": "554 spam"}, "bounced", id="H-58 dot 554"),
    pytest.param({"DOT": closing}, "deferred", id="H-59 dot closed"),
]


def two(mx, answers):
    mx.dns.add("x.example", "MX", "10 first.x.example", "20 second.x.example")
    mx.dns.add("first.x.example", "A", "192.0.2.5")
    mx.dns.add("second.x.example", "A", "192.0.2.6")
    return mx.sink(5, answers=answers), mx.sink(6)


@pytest.mark.parametrize("answers", NEXT)
def test_the_second_takes_it(mx, answers):
    first, second = two(mx, answers)
    send(mx, "b@x.example")
    assert first.messages == [] and len(first.connections) == 1
    assert second.recipients_seen() == ["b@x.example"]
    assert mx.system.queue() == []


@pytest.mark.parametrize("answers, status", LAST)
def test_the_second_is_not_asked(mx, answers, status):
    """Who was heard has decided; twice is worse than later."""
    first, second = two(mx, answers)
    send(mx, "b@x.example")
    assert first.messages == [] and second.connections == []
    (failed if status == "bounced" else deferred)(mx)


# ---- What name servers do (H-80 to H-104) ----

@pytest.mark.parametrize("code", [
    pytest.param(1, id="H-80 FORMERR"), pytest.param(2, id="H-80 SERVFAIL"),
    pytest.param(4, id="H-80 NOTIMP"), pytest.param(5, id="H-80 REFUSED")])
def test_response_code_defers(mx, code):
    mx.dns.codes["x.example"] = code
    send(mx, "b@x.example")
    deferred(mx, "x.example")
    assert mx.system.logged("dsn=4.4.3, status=deferred")


@pytest.mark.rows("H-85")
def test_null_mx_beside_others_is_ignored(mx):
    mx.dns.add("x.example", "MX", "0 .", "10 mail.x.example")
    mx.dns.add("mail.x.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert sink.recipients_seen() == ["b@x.example"]


@pytest.mark.rows("H-86")
def test_mx_target_is_a_cname(mx):
    mx.dns.add("x.example", "MX", "10 alias.x.example")
    mx.dns.add("alias.x.example", "CNAME", "mail.y.example")
    mx.dns.add("mail.y.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    send(mx, "b@x.example")
    assert sink.recipients_seen() == ["b@x.example"]


@pytest.mark.rows("H-87")
def test_cname_loop_and_endless_chain_defer(mx):
    mx.dns.add("x.example", "CNAME", "y.example")
    mx.dns.add("y.example", "CNAME", "x.example")
    for n in range(30):
        mx.dns.add("c%d.example" % n, "CNAME", "c%d.example" % (n + 1))
    send(mx, "b@x.example", "b@c0.example")
    deferred(mx)
    assert mx.system.log().count("dsn=4.4.3, status=deferred") == 2


def cut_short(answer):
    return [answer[:-3]]


def count_too_high(answer):
    return [answer[:6] + struct.pack("!H", 9) + answer[8:]]


def pointer_to_itself(answer):
    at = len(answer) - 2  # the last label's place: another, and a pointer
    return [answer[:-9] + b"\6examp1" + struct.pack("!H", 0xc000 | at)]


@pytest.mark.rows("H-89")
@pytest.mark.parametrize(
    "mangle", [cut_short, count_too_high, pointer_to_itself])
def test_malformed_answer_defers(mx, mangle):
    mx.dns.add("x.example", "MX", "10 mail.x.example")
    mx.dns.add("mail.x.example", "A", "192.0.2.5")
    mx.dns.mangled["x.example"] = mangle
    sink = mx.sink(5)
    send(mx, "b@x.example")
    deferred(mx)
    assert sink.connections == []


@pytest.mark.rows("H-90")
def test_forged_answers_before_the_real_one(mx):
    """Another id, another question, no answer at all: as if not there."""
    def forge(answer):
        wrong_id = bytes([answer[0] ^ 1]) + answer[1:]
        wrong_name = answer.replace(b"\1x\7example", b"\1z\7example")
        query = answer[:2] + b"\0" + answer[3:]
        return [wrong_id.replace(b"\xc0\x00\x02\x05", b"\xc0\x00\x02\x06"),
                wrong_name, query, b"", b"\0" * 11, answer]
    mx.dns.add("x.example", "A", "192.0.2.5")
    mx.dns.mangled["x.example"] = forge
    sink, other = mx.sink(5), mx.sink(6)
    send(mx, "b@x.example")
    assert sink.recipients_seen() == ["b@x.example"]
    assert other.connections == []


@pytest.mark.rows("H-91")
def test_mx_that_is_no_host_name(mx):
    """A number is a name like another in the DNS, and no address."""
    mx.dns.add("x.example", "MX", "1 192.0.2.6", "2 a b.example",
               "3 a/b.example", "4 a%n.example", "5 a\0b.example",
               "10 mail.x.example")
    mx.dns.add("mail.x.example", "A", "192.0.2.5")
    for name in ("a b.example", "a/b.example", "a%n.example", "a\0b.example"):
        mx.dns.add(name, "A", "192.0.2.6")
    sink, other = mx.sink(5), mx.sink(6)
    send(mx, "b@x.example")
    assert sink.recipients_seen() == ["b@x.example"]
    assert other.connections == []


@pytest.mark.rows("H-92")
def test_addresses_that_no_mx_has(mx):
    mx.dns.add("x.example", "MX", "10 evil.example")
    mx.dns.add("evil.example", "A", "127.0.0.1", "127.9.9.9", "0.0.0.0",
               "169.254.1.1", "224.0.0.1", "255.255.255.255")
    mx.dns.add("evil.example", "AAAA", "::1", "::", "::ffff:127.0.0.1",
               "fe80::1", "ff02::1", "64:ff9b::7f00:1")
    sink = mx.smtp.sink(host="127.0.0.1", port=PORT)
    send(mx, "b@x.example")
    failed(mx, "5.4.4")
    assert sink.connections == []


@pytest.mark.rows("H-94")
def test_a_thousand_mx_cost_a_few_tries(mx):
    mx.dns.add("x.example", "MX", *[
        "%d m%03d.example" % (n % 7, n) for n in range(1000)])
    for n in range(1000):
        mx.dns.add("m%03d.example" % n, "A", *[
            "192.0.2.%d" % last for last in range(2, 20)])
    send(mx, "b@x.example")
    deferred(mx, "Connection refused")
    asked = {name for name, _ in mx.dns.queries}
    assert len(asked) <= 4, asked  # five addresses of each, ten in all


@pytest.mark.rows("H-96", "H-97", "H-98", "H-99")
def test_tlsa_is_not_asked_for(mx, authority):
    """There is no DANE here: a TLSA record, of any kind, changes nothing."""
    mx.dns.add("x.example", "A", "192.0.2.5")
    sink = mx.sink(5, tls="starttls", cert=authority.leaf("mail.other.example"))
    send(mx, "b@x.example")
    assert sink.messages[0].connection.tls is not None
    assert TLSA not in {kind for _, kind in mx.dns.queries}


@pytest.mark.rows("H-100")
def test_aaaa_times_out_and_a_works(private, dns, smtp):
    dns.add("x.example", "A", "192.0.2.5")
    dns.silent.add(("x.example", AAAA))
    sink = smtp.sink(host="192.0.2.5", port=PORT)
    private.configure(TIMEOUTS=3)
    private.submit("-odq", "b@x.example")
    private.flush()
    assert sink.recipients_seen() == ["b@x.example"]


@pytest.mark.rows("H-101")
def test_answer_that_changes_between_tries(mx):
    """What was a stranger's address may be ours the next time."""
    mx.dns.add("x.example", "A", "192.0.2.5")
    send(mx, "b@x.example")
    deferred(mx, "192.0.2.5")
    mx.dns.add("x.example", "A", "127.0.0.1")
    sink = mx.smtp.sink(host="127.0.0.1", port=PORT)
    mx.system.flush(user="root")
    assert sink.connections == []
    failed(mx, "5.4.4")


@pytest.mark.rows("H-102")
@pytest.mark.parametrize("literal", [
    "[bad]", "[IPv6:bad]", "[192.0.2.500]", "[192.0.2]", "[]"])
def test_bad_literal_is_refused_at_once(mx, literal):
    result = mx.system.run("-odq", "b@" + literal, text=b"x\n")
    assert result.exit == 65, result
    assert mx.system.queue() == []


@pytest.mark.rows("H-103", "H-104")
def test_questions_are_plain_and_absolute(mx):
    """No EDNS to be misunderstood, no search list."""
    conf = pathlib.Path("/etc/resolv.conf")
    kept = conf.read_text()
    mx.dns.add("x.local.example", "A", "192.0.2.5")
    sink = mx.sink(5)
    try:
        conf.write_text("search local.example\noptions ndots:9 edns0\n" + kept)
        send(mx, "b@x")
    finally:
        conf.write_text(kept)
    failed(mx, "5.1.2")
    assert sink.connections == []
    assert {name for name, _ in mx.dns.queries} == {"x"}
    assert mx.dns.extended == 0


@pytest.mark.rows("H-104")
def test_no_resolver_configuration_defers(mx):
    conf = pathlib.Path("/etc/resolv.conf")
    kept = conf.read_text()
    try:
        conf.write_text("")
        send(mx, "b@x.example")
    finally:
        conf.write_text(kept)
    deferred(mx, "no resolver configuration")
