# SPDX-License-Identifier: BSD-3-Clause
"""Notices as their readers get them: each NOTIFY with each outcome, RET, ENVID,
and next hops with DSN and without it."""

import email
import email.policy
import os
import pty

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


def words(notice):
    """What its reader sees, on one line."""
    return " ".join(next(notice.iter_parts()).get_content().split())


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
        submit(private, "-N", "success", "-R", "full", "-V", "my+2Benvelope",
               "a@far.example", "b@far.example",
               text="Subject: hello\n\nthe body\n")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        message, *each = blocks(notice)
        assert message["Original-Envelope-Id"] == "my+envelope"
        assert {b["Action"] for b in each} == {"relayed"}
        assert len(each) == 2
        assert all(b["Status"].startswith("2.") for b in each)
        assert "the body" not in notice.as_string()
        assert notice["Subject"] == "Your message was passed on"
        assert "Its answer was: 250 " in words(notice)
        assert "Subject: hello" in notice.as_string()
        assert private.queue() == []


def test_parameters_go_on(private):
    """Where the next hop offers DSN they are its business."""
    with Sink(features=PLAIN + ("DSN",)) as sink:
        private.relay(sink)
        private.write(private.directory / "aliases", "team: a@far.example\n")
        submit(private, "-N", "success,failure", "-R", "hdrs", "-V",
               "my+2Benvelope", "team")
        private.flush()
        wait_for(lambda: sink.messages, "the message")
        (message,) = sink.messages
        assert "RET=HDRS" in message.params
        assert "ENVID=my+2Benvelope" in message.params.split()
        assert "NOTIFY=SUCCESS,FAILURE" in message.recipient_params[0]
        private.wait_delivered()
        assert notices(sink) == []


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
    """RFC 6533 for those who use such addresses, as Python's parser has it;
    nobody else gets that."""
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink)
        submit(private, "badö@far.example", "bad2@far.example",
               text="Subject: grüße\n\nx\n")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        assert not list(notice.defects)
        assert notice.get_param("report-type") == "global-delivery-status"
        human, machine, headers = notice.iter_parts()
        assert "badö@far.example" in human.get_content()
        assert human.get_content_charset() == "utf-8"
        assert machine.get_content_type() == "message/global-delivery-status"
        assert headers.get_content_type() == "message/global-headers"
        (message,) = [m for m in sink.messages if m.sender == ""]
        text = message.text.split("message/global-delivery-status", 1)[1]
        text = text.split("\n\n", 1)[1].split("\n--", 1)[0]
        about, *each = [email.message_from_string(
            block, policy=email.policy.SMTPUTF8) for block in
            text.strip().split("\n\n")]
        assert about["Reporting-MTA"] == "dns; client.example"
        assert [b["Final-Recipient"] for b in each] == [
            "utf-8; badö@far.example", "rfc822; bad2@far.example"]
        assert all(b["Action"] == "failed" and b["Status"] == "5.1.1" and
                   not b.defects for b in each)
        assert "Subject: grüße" in message.text


@pytest.mark.parametrize("dsn", [False, True], ids=["no-dsn", "dsn"])
@pytest.mark.parametrize("orcpt, original", [
    ("rfc822;list+2Bx@here.example", "rfc822; list+x@here.example"),
    ("x400;+2FS+3Da+2FC+3Db", "x400; /S=a/C=b"),
    ("utf-8;gr\\x{FC}n@here.example", "utf-8; gr\\x{FC}n@here.example")])
def test_original_recipient(private, orcpt, original, dsn):
    """ORCPT, from -bs to the wire, or into the notice of who stands in for
    a server without DSN; and that of a failure."""
    with Sink(features=PLAIN + (("DSN",) if dsn else ()),
              recipients=refusal) as sink:
        private.relay(sink)
        lines = ["EHLO me", "MAIL FROM:<sender@far.example>",
                 *("RCPT TO:<%s@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=%s"
                   % (who, orcpt) for who in ("good", "bad")),
                 "DATA", "Subject: s", "", "x", ".", "QUIT", ""]
        result = private.run("-bs", "-odq", text="\r\n".join(lines))
        assert "queued as" in result.out, result
        private.flush()
        wait_for(lambda: len(actions(sink)) == (1 if dsn else 2), "notices")
        if dsn:
            (message,) = [m for m in sink.messages if m.sender]
            assert "ORCPT=" + orcpt in message.recipient_params[0].split()
        found = [b["Original-Recipient"] for n in notices(sink)
                 for b in blocks(n)[1:]]
        assert found == [original] * (1 if dsn else 2)


def test_original_recipient_of_an_alias(private):
    """It is the one that the sender wrote."""
    with Sink(features=PLAIN + ("DSN",), recipients=refusal) as sink:
        private.relay(sink)
        private.write(private.directory / "aliases",
                      "team: good@far.example, bad@far.example\n")
        submit(private, "-N", "success,failure", "team@client.example")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (message,) = [m for m in sink.messages if m.sender]
        assert "ORCPT=rfc822;team@client.example" in \
            message.recipient_params[0].split()
        (_, block) = blocks(notices(sink)[0])
        assert block["Original-Recipient"] == "rfc822; team@client.example"
        assert block["Final-Recipient"] == "rfc822; bad@far.example"


def mark(private, number, status):
    """The status byte of a recipient, as a crash leaves it."""
    (name,) = private.queue()
    data = (private.spool / name).read_bytes()
    at = data.index(b"\nR T %05d " % number) + 3
    with open(private.spool / name, "r+b") as file:
        file.seek(at)
        file.write(status)
    return name


@pytest.mark.parametrize("remove", [False, True])
def test_removed_while_success_is_not_told(private, remove):
    """Nobody has it twice, and the sender is told only if it is not removed:
    who removes a message wants no more of it."""
    with Sink(features=PLAIN) as sink:
        private.relay(sink)
        submit(private, "-N", "success", "a@far.example", "b@far.example",
               "c@far.example")
        name = mark(private, 0, b"D")
        mark(private, 1, b"H")
        if remove:
            result = private.run("queue", "remove", name, name="dmactl")
            assert (result.exit, result.out) == (0, "1 message removed\n")
            assert private.queue() == []
            assert private.logged(name + ": removed")
        private.flush()
        wait_for(lambda: not private.queue(), "an empty queue")
        private.wait_idle()
        sent = [m.recipients for m in sink.messages if m.sender]
        assert sent == ([] if remove else [["c@far.example"]])
        told = {to: words for to, (words, *_) in actions(sink).items()}
        assert told == ({} if remove else {
            "a@far.example": "delivered", "b@far.example": "relayed",
            "c@far.example": "relayed"})
        assert private.traces() == []


def test_words_of_a_failure(private):
    """Which message, to whom, the server's words, and what to do."""
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink)
        submit(private, "bad@far.example")
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        assert notice["Subject"] == "Your message was not delivered"
        text = words(notice)
        for part in ("Your message of", "could not be delivered",
                     "<bad@far.example>", "said: 550 5.1.1 nobody here",
                     "does not try again", "correct it and send"):
            assert part in text


def test_words_of_a_delay(private):
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink, "WARN 1s")
        submit(private, "-N", "delay", "later@far.example")

        def told():
            private.flush()
            return notices(sink)

        (notice,) = wait_for(told, "a notice")
        assert notice["Subject"] == (
            "Your message is delayed (you need do nothing)")
        text = words(notice)
        for part in ("keeps trying until", "<later@far.example>",
                     "said: 451 4.2.0 not now", "Do not send it again"):
            assert part in text


def test_success_in_a_mailbox(private):
    """Delivered here: the sender asked, and the reader has it once."""
    with Sink(features=PLAIN + ("DSN",)) as sink:
        private.relay(sink)
        submit(private, "-N", "success", private.user)
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        (_, block) = blocks(notice)
        assert block["Action"] == "delivered"
        assert notice["Subject"] == "Your message was delivered"
        assert len(private.mbox()) == 1


def test_postmaster_where_there_is_no_sender(private):
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink, "POSTMASTER boss@far.example")
        result = private.submit("-odq", "-f", "<>", "bad@far.example")
        assert result.exit == 0
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (notice,) = notices(sink)
        assert notice["To"] == "boss@far.example"
        assert "no sender who could be told" in words(notice)


def test_a_large_message_comes_back_whole(private):
    """RET=FULL: what MAXSIZE let in, and no more."""
    body = "%s\n" % ("x" * 70) * 30000
    with Sink(features=PLAIN, recipients=refusal) as sink:
        private.relay(sink)
        submit(private, "-R", "full", "bad@far.example",
               text="Subject: large\n\n" + body)
        private.flush()
        wait_for(lambda: notices(sink), "a notice")
        (message,) = [m for m in sink.messages if m.sender == ""]
        assert body in message.text
        assert len(message.text) < len(body) + 10000


@pytest.mark.parametrize("mode", [None, 0o500])
def test_submission_that_fails_on_a_terminal(private, mode):
    """Who types a message is told that it was not sent, and why."""
    if mode is None:
        private.spool.rmdir()
    else:
        private.spool.chmod(mode)
    master, slave = pty.openpty()
    process = private.popen("-i", "b@far.example", stdin=slave, stdout=slave,
                            stderr=slave)
    os.close(slave)
    os.write(master, b"Subject: x\n\nhello\n\x04")
    seen = b""
    while True:
        try:
            seen += os.read(master, 4096)
        except OSError:
            break
    os.close(master)
    status = process.wait(15)
    if mode is not None:
        private.spool.chmod(0o700)
        assert os.listdir(private.spool) == []
    assert status == 72
    assert b"spool" in seen and str(private.spool).encode() in seen
