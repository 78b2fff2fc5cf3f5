# SPDX-License-Identifier: BSD-3-Clause
"""The message on the wire: whatever is piped in, a MIME reader at the far end
decodes the same, and the server gets nothing that it did not offer to take."""

import email
import random
import re
import subprocess

import pytest

OLD = ("PIPELINING", "SIZE 104857600", "DSN", "ENHANCEDSTATUSCODES")
NEW = OLD + ("8BITMIME",)
UTF8 = NEW + ("SMTPUTF8",)
BOTH = pytest.mark.parametrize("features", [OLD, NEW], ids=["7bit", "8bit"])


class Received:
    """What a server was given, and what a MIME reader makes of it."""

    def __init__(self, message, features):
        self.wire = message.data
        self.params = message.params.split()
        self.read = email.message_from_bytes(message.data)
        self.header, _, self.body = message.data.partition(b"\r\n\r\n")
        check_wire(self, "8BITMIME" in features)

    def decoded(self):
        return lf(self.read.get_payload(decode=True))

    def leaves(self):
        """(type, bytes) of all that is no container."""
        return [(p.get_content_type(), lf(p.get_payload(decode=True)))
                for p in self.read.walk() if not p.is_multipart()]


def lf(data):
    return data.replace(b"\r\n", b"\n")


def check_wire(got, eightbit):
    """Lines, bytes and parameters that the server can take."""
    assert max(len(x) for x in got.wire.split(b"\r\n")) <= 998
    assert b"\0" not in got.wire
    is_8bit = any(c >= 0x80 for c in got.wire)
    assert ("BODY=8BITMIME" in got.params) == (is_8bit and eightbit)
    size = [int(p[5:]) for p in got.params if p.startswith("SIZE=")]
    assert not size or size[0] * 1.2 >= len(got.wire)


@pytest.fixture
def send(private, smtp):
    """send(text, features) -> Received"""
    def send_one(text, features=NEW, *args, **options):
        sink = smtp.sink(features=features, **options)
        private.relay(sink)
        private.submit("-i", *(args or ("x@there.example",)), text=text)
        private.wait_delivered()
        assert len(sink.messages) == 1, private.log()
        return Received(sink.messages[0], features)
    return send_one


def plain(body):
    return b"Subject: test\n\n" + body


def is_7bit(data):
    return all(c < 0x80 for c in data)


# ---- One part ----

BODIES = {
    "html": b"<p>" + b"<b>word</b> = " * 75000 + b"</p>\n",
    "no blank": b"x" * 1000000 + b"\n",
    "umlauts": "Größe: 3 €\n".encode() * 3,
    "long umlauts": "€".encode() * 40000 + b"\n",
    "Latin-1": "Gr\xf6\xdfe\n".encode("latin-1"),
    "NUL": b"a\0b\0\0\n\0",
    "lone CR": b"10%\r20%\r30%\rdone\n..\n.\n",
    "blanks": b"a \n b\t\n \n\t\n\r \n",
    "soft": b"=\n==3D=\n\r=20\n",
}


@BOTH
@pytest.mark.parametrize("name", BODIES)
@pytest.mark.rows("H-31", "D-11")
def test_text_without_mime_fields(send, name, features):
    got = send(plain(BODIES[name]), features)
    expected = BODIES[name].rstrip(b"\n") + b"\n"
    assert got.decoded() == expected
    assert got.read["MIME-Version"] == "1.0"
    assert got.read.get_content_type() == "text/plain"
    charset = "unknown-8bit" if name == "Latin-1" else "utf-8"
    assert got.read.get_content_charset() == charset
    if features is OLD:
        assert is_7bit(got.body)
    if name in ("umlauts", "Latin-1"):
        assert got.read["Content-Transfer-Encoding"] == (
            "8bit" if features is NEW else "quoted-printable")


@BOTH
def test_ascii_is_left_alone(send, features):
    got = send(plain(b"hello\n" + b"x" * 998 + b"\n"), features)
    assert got.decoded() == b"hello\n" + b"x" * 998 + b"\n"
    assert "MIME-Version" not in got.read


CRON = ("From: root (Cron Daemon)\nTo: alice\nSubject: Cron <alice@h> größe\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
        "Content-Transfer-Encoding: 8bit\nX-Cron-Env: <LANG=de_DE.UTF-8>\n\n"
        "Größe: 3 €\n").encode()


@BOTH
def test_cron_mail(send, features):
    got = send(CRON, features)
    assert got.decoded() == "Größe: 3 €\n".encode()
    assert got.read.get_content_charset() == "utf-8"
    # A header in UTF-8 goes as it is, and asks nothing of the server.
    assert "größe".encode() in got.header
    assert "SMTPUTF8" not in got.params
    assert got.read["Content-Transfer-Encoding"] == (
        "8bit" if features is NEW else "quoted-printable")
    assert is_7bit(got.body) == (features is OLD)


def test_other_types_become_base64(send):
    data = bytes(range(256)) * 40
    data = data.replace(b"\r\n", b"").replace(b"\r", b"")
    got = send(b"Content-Type: application/octet-stream\n"
               b"Content-Transfer-Encoding: binary\n\n" + data)
    assert got.read["Content-Transfer-Encoding"] == "base64"
    assert got.read.get_payload(decode=True) == data + b"\n"


def test_long_base64_line(send):
    from base64 import b64encode
    data = random.Random(1).randbytes(75000)
    got = send(b"MIME-Version: 1.0\nContent-Type: image/png\n"
               b"Content-Transfer-Encoding: base64\n\n" + b64encode(data))
    assert got.read.get_payload(decode=True) == data
    assert got.read["Content-Type"] == "image/png"


def test_long_quoted_printable_line(send):
    text = "Größe = 3 €\t".encode() * 500
    coded = b"".join(b"=%02x" % c if c > 126 or c == 61 else bytes([c])
                     for c in text)
    got = send(b"MIME-Version: 1.0\nContent-Type: text/html\n"
               b"Content-Transfer-Encoding: quoted-printable\n\n" + coded)
    assert got.decoded() == text + b"\n"


def test_long_header_fields(private, send):
    words = " ".join("<%d@a.example>" % n for n in range(100))
    got = send("References: %s\nSubject: %s\n\nx\n" % (words, "y" * 1500))
    assert got.read["References"].replace("\r\n", "") == words
    subject = got.read["Subject"].replace("\r\n", "").replace(" ", "")
    assert subject == "y" * 1500
    assert private.logged(
        r"status=sent \(250 .*\[lines had to be broken\]\)")


def test_lmtp(send):
    got = send(plain(BODIES["umlauts"]), OLD, lmtp=True)
    assert got.decoded() == BODIES["umlauts"]
    assert is_7bit(got.body)


def test_a_server_without_ehlo(send):
    got = send(plain(BODIES["umlauts"]), OLD,
               answers={"EHLO": "502 5.5.1 what"})
    assert got.decoded() == BODIES["umlauts"]
    assert got.params == []
    assert is_7bit(got.body)


def test_a_mailbox_gets_the_text_as_it_came(private):
    text = plain(b"a\0b\rc\n\xff\n" + b"x" * 2000 + b"\n")
    private.submit("-i", private.user, text=text)
    private.wait_delivered()
    assert text.partition(b"\n\n")[2] in private.mbox_path.read_bytes()


def test_a_size_limit_counts_what_is_sent(private, smtp):
    sink = smtp.sink(features=("SIZE 5000",))
    private.relay(sink)
    private.submit("x@there.example", text=plain(b"\xff" * 2000))
    private.wait_idle()
    assert sink.messages == []
    assert private.logged("larger than this server takes")


# ---- Many parts ----

PARTS = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_outer"
Content-Transfer-Encoding: 8bit

preamble
--=_outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Größe
--not a boundary
--inner
Content-Type: text/html; charset=us-ascii

<p>LONG</p>

--inner--
--=_outer
Content-Type: image/png
Content-Transfer-Encoding: base64

iVBORw==
--=_outer
--=_outer

--=_outer
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Subject: größe
Content-Type: multipart/digest; boundary=digest

--digest

Subject: one

Größe
--digest

Subject: two

plain
--digest--

--=_outer
Content-Type: text/x-patch

last\r
 \xa0
--=_outer--"""


@BOTH
@pytest.mark.parametrize("end", ["", "\n", "\nepilogue\n"])
def test_nested_parts(send, features, end):
    text = (PARTS.replace("LONG", "x" * 5000) + end).encode()
    got = send(text, features)
    piped = email.message_from_bytes(text)
    expected = [(p.get_content_type(), lf(p.get_payload(decode=True)))
                for p in piped.walk() if not p.is_multipart()]
    assert got.leaves() == expected
    assert [p.get_content_type() for p in got.read.walk()] == \
        [p.get_content_type() for p in piped.walk()]
    assert [p["Subject"] for p in got.read.walk()] == \
        [p["Subject"] for p in piped.walk()]
    png = got.read.get_payload(1)
    assert png.as_bytes() == piped.get_payload(1).as_bytes()
    if features is OLD:
        # Fields keep their UTF-8.
        body = got.body.replace("größe".encode(), b"")
        assert is_7bit(body)
        assert got.read["Content-Transfer-Encoding"] == "7bit"
        for part in got.read.walk():
            assert part["Content-Transfer-Encoding"] != "8bit"


def test_broken_boundary(private, send):
    """Nobody can decode it: it arrives, in lines that can be sent."""
    got = send(b"MIME-Version: 1.0\n"
               b"Content-Type: multipart/mixed; boundary=a\n\n--b\n\n"
               + b"word " * 1000 + b"\n--b--\n")
    assert b" ".join(got.body.split()) == \
        b"--b " + b"word " * 1000 + b"--b--"
    assert private.logged(r"\[lines had to be broken\]")


SIGNED = """\
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Größe
"""


def sign(tmp_path, authority, text):
    """multipart/signed, as a mail program makes it."""
    file = tmp_path / "part"
    file.write_bytes(text.replace("\n", "\r\n").encode())
    pem = authority.leaf("signer.example")
    done = subprocess.run(
        ["openssl", "cms", "-sign", "-binary", "-in", file, "-signer", pem,
         "-outform", "SMIME"], capture_output=True, check=True)
    return lf(done.stdout)


def signature_holds(tmp_path, authority, data):
    file = tmp_path / "received"
    file.write_bytes(data)
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "SMIME", "-in", file,
         "-CAfile", authority.cert, "-purpose", "any", "-out", "/dev/null"],
        capture_output=True, check=False)
    return done.returncode == 0


@BOTH
def test_signed_text_stays_signed(private, send, authority, tmp_path, features):
    text = sign(tmp_path, authority, SIGNED)
    got = send(text, features)
    assert signature_holds(tmp_path, authority, got.wire)
    told = private.logged(r"\[8-bit text went as it is\]")
    assert bool(told) == (features is OLD)


def test_signed_text_that_cannot_be_sent(
        private, send, authority, tmp_path):
    text = sign(tmp_path, authority, SIGNED + "x" * 2000 + "\n")
    got = send(text)
    assert not signature_holds(tmp_path, authority, got.wire)
    assert got.leaves()[0][1] == ("Größe\n" + "x" * 2000 + "\n").encode()
    assert private.logged(r"\[a signed part was converted\]")


# ---- Any body ----

UNITS = [b"\n", b"\n", b"\r", b".", b"..", b"\n.\n", b"=", b"=\n", b"=3D",
         b" ", b"\t", b" \n", b"-", b"--b", b"\n--b\n", "ü".encode(), b"\xc3",
         b"\xff", b"\0", b"From ", b"\nFrom x\n", b"word ", b"x" * 70,
         b"y" * 1100, b"word " * 250]


def any_body(chance):
    return b"".join(chance.choice(UNITS) for _ in range(chance.randint(0, 30)))


def as_stored(body):
    """CRs before a line's end are a part of that, and the last line ends."""
    body = re.sub(rb"\r+(?=\n|\Z)", b"", body)
    return body if body.endswith(b"\n") or not body else body + b"\n"


@BOTH
@pytest.mark.rows("V-07")
def test_any_body_decodes_to_itself(private, smtp, features):
    chance = random.Random(3)
    sink = smtp.sink(features=features)
    private.relay(sink)
    bodies = {}
    for number in range(200):
        bodies["%d" % number] = body = any_body(chance)
        text = b"Subject: %d\n" % number
        if number % 4 == 3:
            text += b"Content-Type: application/x\n"
        private.submit("-bq", "-i", "x@there.example",
                       text=text + b"\n" + body)
    private.flush()
    assert len(sink.messages) == len(bodies)
    for message in sink.messages:
        got = Received(message, features)
        body = bodies.pop(got.read["Subject"])
        assert got.decoded() == as_stored(body), body


# ---- Addresses ----

MUELLER = "müller@müller.example"
ALABEL = "xn--mller-kva.example"


@pytest.fixture
def idn(built):
    if b"libidn2" not in (built / "dma-smtp").read_bytes():
        pytest.skip("dma was built without libidn2")


def test_domain_becomes_alabels(private, smtp, idn):
    sink = smtp.sink(features=NEW)
    private.relay(sink)
    private.submit("-f", "me@MÜLLER.example", "you@müller.example")
    private.wait_delivered()
    message, = sink.messages
    assert message.sender == "me@" + ALABEL
    assert message.recipients == ["you@" + ALABEL]
    assert "SMTPUTF8" not in message.params


def test_domain_without_need_of_smtputf8(private, smtp, idn):
    """Where it is offered it is not used for what does without."""
    sink = smtp.sink(features=UTF8)
    private.relay(sink)
    private.submit("you@müller.example")
    private.wait_delivered()
    assert "SMTPUTF8" not in sink.messages[0].params


def test_local_part_needs_smtputf8(private, smtp):
    sink = smtp.sink(features=UTF8)
    private.relay(sink)
    private.submit(MUELLER)
    private.wait_delivered()
    message, = sink.messages
    assert "SMTPUTF8" in message.params
    assert message.recipients[0].startswith("müller@")


@pytest.mark.rows("H-32")
def test_local_part_without_smtputf8(private, smtp):
    sink = smtp.sink(features=NEW)
    private.relay(sink)
    private.submit(MUELLER, "you@there.example")
    private.wait_delivered()
    assert sink.recipients_seen() == ["you@there.example"]
    assert private.logged(r"to=<m[^>]*>.*dsn=5\.6\.7, status=bounced \(.*"
                          "does not take internationalized addresses")
    assert "you@there.example" not in private.mbox()[-1].as_string()


def test_mx_of_an_international_domain(system, dns, smtp, idn):
    dns.add(ALABEL, "MX", "10 mx.there.example")
    dns.add("mx.there.example", "A", "192.0.2.5")
    sink = smtp.sink(host="192.0.2.5", port=25)
    system.submit("-odq", "you@müller.example")
    system.flush(user="root")
    assert sink.recipients_seen() == ["you@" + ALABEL]


def test_a_domain_that_is_none(system, dns, idn):
    system.submit("-odq", "you@\u0308.example")
    system.flush(user="root")
    assert system.logged(r"dsn=5\.1\.2, status=bounced \(.*"
                         "not a valid internationalized domain")
