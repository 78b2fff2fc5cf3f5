# SPDX-License-Identifier: BSD-3-Clause
"""Notices as their readers get them: each NOTIFY with each outcome, RET, ENVID,
and next hops with DSN and without it."""

import email
import email.policy

import pytest

from instance import wait_for
from smtpd import Sink

PLAIN = ("PIPELINING", "8BITMIME", "SMTPUTF8")
NOTIFY = [None, "never", "success", "failure", "delay", "success,failure",
          "success,delay", "failure,delay", "success,failure,delay"]


def refusal(address):
    if address.startswith("bad"):
        return "550 5.1.1 nobody here"
    if address.startswith("later"):
        return "451 4.2.0 not now"
    return None


def submit(private, *args, **more):
    result = private.submit("-odq", "-f", "sender@far.example", *args, **more)
    assert result.exit == 0, result


def notices(sink):
    return [email.message_from_bytes(m.data, policy=email.policy.SMTPUTF8)
            for m in list(sink.messages) if m.sender == ""]


def blocks(notice):
    """Fields of the message, then of each recipient; as Python reads them."""
    assert notice["Auto-Submitted"] == "auto-replied"
    assert notice.get_content_type() == "multipart/report"
    human, machine, _ = notice.iter_parts()
    assert human.get_content_type() == "text/plain"
    assert machine.get_content_type() == "message/delivery-status"
    return machine.get_payload()


def actions(sink):
    """{recipient: actions} of all notices."""
    out = {}
    for notice in notices(sink):
        for block in blocks(notice)[1:]:
            who = block["Final-Recipient"].split(";")[1].strip()
            out.setdefault(who, []).append(str(block["Action"]))
    return out


def expected(notify, dsn):
    """As RFC 3461 has it, 5.2: none given means failure and delay."""
    wanted = (notify or "failure,delay").split(",")
    out = {}
    if "success" in wanted and not dsn:
        out["good"] = ["relayed"]
    if "failure" in wanted:
        out["bad"] = ["failed"]
    if "delay" in wanted:
        out["later"] = ["delayed"]
    return out


@pytest.mark.parametrize("dsn", [False, True], ids=["no-dsn", "dsn"])
def test_each_notify_with_each_outcome(private, dsn):
    features = PLAIN + (("DSN",) if dsn else ())
    want = {}
    with Sink(features=features, recipients=refusal) as sink:
        private.relay(sink, "WARN 1s")
        for number, notify in enumerate(NOTIFY):
            args = () if notify is None else ("-N", notify)
            submit(private, *args, *("%s%d@far.example" % (kind, number)
                                     for kind in ("good", "bad", "later")))
            for kind, action in expected(notify, dsn).items():
                want["%s%d@far.example" % (kind, number)] = action

        def all_told():
            private.flush()
            return actions(sink) == want

        wait_for(all_told, "the notices that were asked for")
        private.flush()
        assert actions(sink) == want


def test_success_notice(private):
    with Sink(features=PLAIN) as sink:
        private.relay(sink)
        submit(private, "-N", "success", "-R", "full", "-V", "my-envelope",
               "a@far.example", "b@far.example",
               text="Subject: hello\n\nthe body\n")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        message, *each = blocks(notice)
        assert message["Original-Envelope-Id"] == "my-envelope"
        assert {b["Action"] for b in each} == {"relayed"}
        assert len(each) == 2
        assert all(b["Status"].startswith("2.") for b in each)
        assert "the body" not in notice.as_string()
        assert "Subject: hello" in notice.as_string()
        assert private.queue() == []


def test_parameters_go_on(private):
    """Where the next hop offers DSN they are its business."""
    with Sink(features=PLAIN + ("DSN",)) as sink:
        private.relay(sink)
        submit(private, "-N", "success,failure", "-R", "hdrs", "-V", "my-envelope",
               "a@far.example")
        private.flush()
        wait_for(lambda: sink.messages, "the message")
        (message,) = sink.messages
        assert "RET=HDRS" in message.params
        assert "ENVID=my-envelope" in message.params.split()
        assert "NOTIFY=SUCCESS,FAILURE" in message.recipient_params[0]


@pytest.mark.parametrize("ret, kind", [("full", "message/rfc822"),
                                       ("hdrs", "text/rfc822-headers")])
def test_ret_of_a_failure(private, ret, kind):
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink)
        submit(private, "-R", ret, "bad@far.example")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        *_, last = notice.iter_parts()
        assert last.get_content_type() == kind
        (_, block) = blocks(notice)
        assert block["Diagnostic-Code"] == "smtp; 550 5.1.1 nobody here"


def test_internationalized(private):
    """RFC 6533 for those who use such addresses; nobody else gets that."""
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink)
        submit(private, "badö@far.example")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        text = [m for m in sink.messages if m.sender == ""][0].text
        assert "report-type=global-delivery-status" in text
        assert "Final-Recipient: utf-8; badö@far.example\n" in text
        assert "Content-Type: message/global-headers\n" in text
