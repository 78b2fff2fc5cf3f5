# SPDX-License-Identifier: BSD-3-Clause
"""What callers pipe in, however odd, and the message that arrives."""

import email.utils
import re

import pytest

USAGE, DATAERR = 64, 65


@pytest.fixture
def sent(private, smtp):
    """sent(text, *args): the one message that arrives."""
    sink = smtp.sink()
    private.relay(sink)

    def send(text, *args, **more):
        private.submit(*(args or ("b@x.example",)), text=text, **more)
        private.wait_delivered()
        (message,) = sink.messages
        return message
    return send


def raw_header(message):
    return message.data.split(b"\r\n\r\n")[0].decode("latin-1") + "\r\n"


# ---- Where the header ends ----

@pytest.mark.parametrize("text, subject, body", [
    ("hi\n", [], "hi\n"),
    ("\nhi\n", [], "hi\n"),
    (" hi\nSubject: no\n", [], " hi\nSubject: no\n"),
    ("Subject: x", ["x"], ""),
    ("Subject: x\n", ["x"], ""),
    ("Subject: x\n\n", ["x"], ""),
    ("Subject: x\ntext: with colon\n  more\nplain text\nTo: c\n",
     ["x"], "plain text\nTo: c\n"),
    ("Subject: x\n: y\n", ["x"], ": y\n"),
    ("Sub ject: x\n", [], "Sub ject: x\n"),
    ("From a@b Mon\n>From c@d Tue\nFrom e\nSubject: x\n\nFrom f\n",
     ["x"], "From f\n"),
    ("Subject: x\nFrom a@b Mon\n\ny\n", ["x"], "From a@b Mon\n\ny\n"),
    ("SUBJECT\t : x\n\ny\n", ["x"], "y\n"),
    ("Subject: x\n \n\t\nX: y\n\nz\n", ["x"], "z\n"),
    ("Subject: x\r\n\r\ny\n\r\nz", ["x"], "y\n\nz\n"),
    ("Subject: x\n\r\ny\n", ["x"], "y\n"),
    (b"\0Sub\0ject: x\0\0\n\0\ny\n", ["x"], "y\n"),
    ("Subject: x\n\n.\n..\n.y\n.", ["x"], ".\n..\n.y\n.\n"),
    (".\nx\n", [], ".\nx\n"),
    ("", [], ""),
    ("\n", [], ""),
])
def test_header_and_body(sent, text, subject, body):
    message = sent(text)
    assert message.header("Subject") == subject
    assert message.body == body
    assert message.recipients == ["b@x.example"]


# ---- Addresses ----

@pytest.mark.parametrize("value, recipients", [
    ("root (Cron Daemon)", ["root@client.example"]),
    ("A <a@x.example>, b@x.example", ["a@x.example", "b@x.example"]),
    ('"Doe, J. (x)" <a@x.example>', ["a@x.example"]),
    ("team: a@x.example, b;, c@x.example",
     ["a@x.example", "b@client.example", "c@x.example"]),
    ("undisclosed-recipients:;, a@x.example", ["a@x.example"]),
    ("=?utf-8?Q?J=C3=B6?= <a@x.example>", ["a@x.example"]),
    ("J\u00f6rg <a@x.example>", ["a@x.example"]),
    ("<@r.example,@s.example:a@x.example>", ["a@x.example"]),
    ("a@x.example (b (c) \\) d), (e) f@x.example",
     ["a@x.example", "f@x.example"]),
    ("a@x.example,\n\t,\n  b@x.example", ["a@x.example", "b@x.example"]),
    ("a@x.example; b@x.example", ["a@x.example", "b@x.example"]),
    ('"a b"@x.example, "a"@x.example', ['"a b"@x.example', "a@x.example"]),
])
@pytest.mark.parametrize("field", ["To", "Bcc", "Resent-To"])
def test_recipients_in_a_header(private, smtp, field, value, recipients):
    sink = smtp.sink()
    private.relay(sink, "NULLCLIENT")
    private.submit("-t", text="%s: %s\n\nx\n" % (field, value))
    private.wait_delivered()
    (message,) = sink.messages
    assert sorted(message.recipients) == sorted(recipients)
    bare = "b@client.example" if "b;" in value else None
    if field != "Bcc" and bare:
        assert bare in message.header(field)[0]


@pytest.mark.parametrize("value", [
    "a b@x.example", '"a@x.example', "a@x.example (b", "a@", "<>", "a@b@c",
])
def test_what_is_no_address_is_named(private, value):
    result = private.run("-t", text="Cc: %s\n\nx\n" % value)
    assert result.exit == DATAERR, result
    assert "Cc" in result.err and result.err.count("\n") == 1
    assert private.queue() == []


@pytest.mark.parametrize("text", [
    "Subject: s\n\nTo: a@x.example\n",
    "To:\nCc: \nBcc: ,\n\nx\n",
    "To: undisclosed-recipients:;\n\nx\n",
    "Resent-From: a@x.example\nTo: b@x.example\n\nx\n",
    "Apparently-To: a@x.example\n\nx\n",
])
def test_t_without_recipients(private, text):
    result = private.run("-t", text=text)
    assert result.exit == USAGE, result
    assert private.queue() == []


@pytest.mark.parametrize("field", [
    "From", "Sender", "Reply-To", "To", "Cc", "Resent-From", "Resent-To",
    "Resent-Cc", "Resent-Sender"])
def test_bare_addresses_are_qualified(sent, field):
    message = sent('%s : "r" <root>,\n\twww (x), a@x.example\nX: root\n\nx\n'
                   % field)
    assert message.header(field) == [
        '"r" <root@client.example>, www@client.example (x), a@x.example']
    assert message.header("X") == ["root"]


def test_fields_that_mean_nothing_outside_are_dropped(sent):
    message = sent("Return-Path: <a@b>\nContent-Length: 5\nBCC : c@d,\n e@f\n"
                   "resent-bcc: g@h\nErrors-To: i@j\nDelivered-To: k@l\n\nx\n")
    for name in ("Return-Path", "Content-Length", "Bcc", "Resent-Bcc"):
        assert message.header(name) == []
    assert message.header("Errors-To") == ["i@j"]
    assert message.header("Delivered-To") == ["k@l"]


@pytest.mark.parametrize("text, to", [
    ("Subject: s\n\nx\n", ["undisclosed-recipients:;"]),
    ("To: \nCc:\n\t\nBcc:\n\nx\n", ["undisclosed-recipients:;"]),
    ("To: a:;\n\nx\n", ["a:;"]),
    ("Cc: a@x.example\n\nx\n", []),
    ("Bcc: a@x.example\n\nx\n", []),
])
def test_to_is_added_where_nobody_is_named(sent, text, to):
    message = sent(text)
    assert message.header("To") == to
    if "Cc:\n" in text:
        assert message.header("Cc") == []


def test_an_empty_from_is_none(private, sent):
    message = sent("From: \nSubject: s\n\nx\n")
    assert len(message.header("From")) == 1
    assert private.user + "@client.example" in message.header("From")[0]


def test_what_stands_twice_stays_twice(sent):
    message = sent("Date: x\nDate: y\nMessage-ID: <a>\nMessage-ID: <b>\n"
                   "From: a@b\nFrom: c@d\nTo: e@f\nTo: g@h\n\nx\n")
    assert message.header("Date") == ["x", "y"]
    assert message.header("Message-ID") == ["<a>", "<b>"]
    assert message.header("From") == ["a@b", "c@d"]
    assert message.header("To") == ["e@f", "g@h"]


# ---- Resent ----

def test_resent_goes_to_the_latest_recipients_alone(sent):
    """RFC 5322, 3.6.6: each resending puts its block in front."""
    message = sent("Resent-From: me@x.example\nResent-To: new@x.example\n"
                   "Resent-Bcc: also@x.example\nReceived: by x; y\n"
                   "Resent-From: old@x.example\nResent-To: then@x.example\n"
                   "Resent-Date: then\nResent-Message-ID: <then>\n"
                   "From: a@x.example\nTo: first@x.example\n\nx\n", "-t")
    assert sorted(message.recipients) == ["also@x.example", "new@x.example"]
    assert message.header("Resent-To") == ["new@x.example", "then@x.example"]
    assert message.header("To") == ["first@x.example"]
    new, old = message.header("Resent-Date")
    assert email.utils.parsedate_to_datetime(new) and old == "then"
    assert len(message.header("Resent-Message-ID")) == 2
    assert message.header("Resent-From") == ["me@x.example", "old@x.example"]


def test_resent_block_is_made_whole(private, sent):
    message = sent("Resent-To: new@x.example\nFrom: a@x.example\n\nx\n",
                   "-t", "-F", "Joe Doe")
    assert message.header("Resent-From") == [
        "Joe Doe <%s@client.example>" % private.user]
    (identifier,) = message.header("Message-ID")
    assert message.header("Resent-Message-ID") != [identifier]
    names = re.findall(r"^(Resent-[\w-]+|From)\b", raw_header(message), re.M)
    assert names == ["Resent-Date", "Resent-Message-ID", "Resent-From",
                     "Resent-To", "From"]


# ---- Names ----

@pytest.mark.parametrize("name, written", [
    ("Joe Doe", "Joe Doe"),
    ("J. Doe", '"J. Doe"'),
    ('Joe "x" Doe\\', '"Joe \\"x\\" Doe\\\\"'),
    ("J\u00f6rg, Dr.", "=?utf-8?Q?J=C3=B6rg=2C_Dr=2E?="),
    (b"J\xf6rg", "J?rg"),
    ("a@b.example", '"a@b.example"'),
])
@pytest.mark.rows("V-09")
def test_full_name(private, sent, name, written):
    message = sent("Subject: s\n\nx\n", "-F", name, "b@x.example")
    assert message.header("From") == [
        "%s <%s@client.example>" % (written, private.user)]


def test_full_name_of_the_account(system, smtp):
    """GECOS: "&" is the login name, a comma ends it."""
    sink = smtp.sink()
    system.relay(sink)
    system.submit("b@x.example", user="bob")
    system.wait_delivered()
    assert sink.messages[0].header("From") == [
        "=?utf-8?Q?Bob_B=C3=B6b?= <bob@client.example>"]


def test_long_full_name_is_folded(sent):
    message = sent("Subject: s\n\nx\n", "-F", "\u00e4\u20ac" * 40,
                   "b@x.example")
    lines = raw_header(message).split("\r\n")
    encoded = [line for line in lines if "=?" in line]
    assert len(encoded) > 2 and all(len(line) <= 76 for line in encoded)
    (value,) = message.header("From")
    assert str(email.header.make_header(email.header.decode_header(
        value))).startswith("\u00e4\u20ac" * 40)


# ---- Size ----

def test_header_of_100_kb(sent):
    field = "X-Cron-Env: <NAME=%s>\n" % ("x" * 60)
    message = sent("Subject: s\n" + field * 1300 + "To: root\n\nbody\n")
    assert len(message.header("X-Cron-Env")) == 1300
    assert message.header("To") == ["root@client.example"]
    assert message.body == "body\n"


def test_one_field_of_100_kb(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    names = ["recipient%d@x%d.example" % (n, n % 7) for n in range(4500)]
    private.submit("-t", text="To: %s, root\nSubject: s\n\nx\n"
                   % ",\n\t".join(names))
    private.wait_delivered()
    assert sorted(sink.recipients_seen()) == sorted(names)
    (value,) = sink.messages[0].header("To")
    assert value.endswith("recipient4499@x5.example, root@client.example")


def test_long_lines_of_a_header_are_folded(sent):
    """At blanks that were there."""
    words = " ".join("word%d" % n for n in range(15000))
    message = sent("Subject: %s\nTo: a@x.example\n\nbody\n" % words)
    assert message.header("Subject") == [words]
    assert all(len(n) <= 998 for n in raw_header(message).split("\r\n"))
    assert message.body == "body\n"


def test_raw_utf8_in_a_header_is_no_trouble(sent):
    message = sent("Subject: \u00fcber\nFrom: J\u00f6 <a@x.example>\n\nx\n")
    assert "\u00fcber".encode() in message.data
    assert "J\u00f6 <a@x.example>".encode() in message.data


@pytest.mark.rows("H-95")
@pytest.mark.parametrize("fields, status", [(100, 0), (101, 65)])
def test_a_mail_loop_ends(private, smtp, fields, status):
    """What has passed through so many hosts goes round."""
    private.relay(smtp.sink())
    result = private.run("-odq", "b@x.example",
                         text="Received: by x; y\n" * fields + "\nhello\n")
    assert result.exit == status, result
    assert ("mail loop" in result.err) == (status != 0)
    assert len(private.queue()) == (status == 0)
