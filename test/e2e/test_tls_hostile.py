# SPDX-License-Identifier: BSD-3-Clause
"""Servers whose TLS means harm: certificates that only look right, and
floods of what is no data.  Each costs a deferral, and no more than a moment."""

import ctypes
import ctypes.util
import ssl

import pytest

import smtpd
from test_tls import check_deferred, check_sent, deliver, REQUIRED
from test_transcripts import CPU_S, bound_memory, cpu_used

# ---- Certificates ----

HOST = "mail.odd.example"  # whom the relay's certificate should name
GOOD = "DNS:" + HOST
SERVER = "extendedKeyUsage=serverAuth"


def der(*names):
    """subjectAltName of names that may hold anything, with a NUL too."""
    items = b"".join(b"\x82" + bytes([len(n)]) + n for n in names)
    return "DER:30%02x%s" % (len(items), items.hex())


def chain_of(authority, depth):
    """A leaf whose chain has so many certificates in between."""
    above = None
    for number in range(depth):
        above = authority.odd_leaf(
            "ca%d.%d" % (depth, number), None, "ca %d" % number,
            ["basicConstraints=critical,CA:TRUE"], issuer=above)
    return authority.odd_leaf("depth%d" % depth, GOOD, issuer=above)


def odd(label, *args, **more):
    return lambda authority: authority.odd_leaf(label, *args, **more)


def of_a_leaf(authority):
    """Issued by one that is no authority."""
    above = authority.odd_leaf("above", GOOD,
                               extensions=["basicConstraints=CA:FALSE"])
    return authority.odd_leaf("below", GOOD, issuer=above)


# What verification must say no to, and the words of mailq.
BAD = {
    "CN only": (odd("cn", None, HOST), "another name"),
    "CN, other SAN": (odd("san", "DNS:other.example", HOST), "other.example"),
    "NUL": (odd("nul", der(HOST.encode() + b"\0.evil.example")),
            "another name"),
    "NUL before": (odd("nul0", der(b"\0" + HOST.encode())), "another name"),
    "part of a label": (odd("part", "DNS:m*.odd.example"), "another name"),
    "end of a label": (odd("end", "DNS:*l.odd.example"), "another name"),
    "wildcard of two": (odd("two", "DNS:*.example"), "another name"),
    "wildcard inside": (odd("inside", "DNS:mail.*.example"), "another name"),
    "wildcard alone": (odd("alone", "DNS:*"), "another name"),
    "wildcard of itself": (odd("itself", "DNS:*." + HOST), "another name"),
    "domain": (odd("domain", "DNS:odd.example"), "another name"),
    "suffix": (odd("suffix", "DNS:%s.evil.example" % HOST), "another name"),
    "prefix": (odd("prefix", "DNS:x%s" % HOST), "another name"),
    "leading dot": (odd("dot", "DNS:.odd.example"), "another name"),
    "as e-mail": (odd("email", "email:postmaster@" + HOST), "another name"),
    "as URI": (odd("uri", "URI:https://%s/" % HOST), "another name"),
    "as address": (odd("ip", "IP:192.0.2.9"), "another name"),
    "expired": (odd("expired", GOOD, end="20200101000000Z"),
                "expired on 2020-01-01"),
    "not yet valid": (odd("early", GOOD, start="20490101000000Z"),
                      "not valid before 2049-01-01"),
    "self-signed": (odd("self", GOOD, issuer="self"), "self-signed"),
    "of a client": (odd("client", GOOD, extensions=[
        "extendedKeyUsage=clientAuth"]), "urpose"),
    "of a leaf": (of_a_leaf, "chain of"),
    "RSA of 768 bits": (odd("weak", GOOD, kind=("rsa:768",)), "too weak"),
    "SHA-1": (odd("sha1", GOOD, digest="sha1"), "too weak"),
    "long chain": (lambda authority: chain_of(authority, 12), "chain"),
}
FINE = {
    "wildcard": odd("wild", "DNS:*.odd.example"),
    "any case": odd("case", "DNS:MAIL.oDD.example"),
    "of many": odd("many", "DNS:a.example,%s,DNS:b.example" % GOOD),
    "for servers": odd("server", GOOD, extensions=[SERVER]),
    "short chain": lambda authority: chain_of(authority, 3),
}


@pytest.fixture
def named(smtp, dns, trusted):
    """named(label): a relay of that name with that certificate."""
    dns.add(HOST, "A", "192.0.2.1")

    def start(make, **options):
        sink = smtp.sink(host="192.0.2.1", **options)
        sink.tls, context = "starttls", ssl.SSLContext(
            ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(make(trusted))
        sink.context = context
        return sink
    return start


@pytest.mark.rows("H-66", "V-41")
@pytest.mark.parametrize("label", BAD)
def test_certificate_that_only_looks_right(private, named, label):
    """Put off with the reason where it is asked for, whoever could be read
    by it; and no obstacle where anything is better than plain text."""
    make, words = BAD[label]
    sink = named(make, auth={"u": "canary-of-tls"})
    deliver(private, sink, *REQUIRED, "VERIFYCERT", SMARTHOST=HOST,
            login="u:canary-of-tls")
    check_deferred(private, sink, words)
    assert HOST in private.mailq() and "bounced" not in private.log()
    assert sink.auth_tries == []
    sink.auth = None
    private.relay(sink, *REQUIRED, SMARTHOST=HOST)
    private.flush()
    check_sent(private, sink)


@pytest.mark.rows("H-66", "V-41")
@pytest.mark.parametrize("label", FINE)
def test_certificate_that_is_right(private, named, label):
    sink = named(FINE[label])
    check_sent(private, deliver(private, sink, *REQUIRED, "VERIFYCERT",
                                SMARTHOST=HOST))


@pytest.mark.rows("H-66")
def test_address_written_as_a_name(private, named):
    """An address is compared with addresses alone."""
    sink = named(odd("text", "DNS:192.0.2.1", "192.0.2.1"))
    deliver(private, sink, *REQUIRED, "VERIFYCERT")
    check_deferred(private, sink, "another name")


# ---- Floods ----

TLS1_2, SET_MAX = 0x0303, 124  # as SSL_CTX_ctrl knows them
PLAIN_FLOODS = {  # records before there are keys
    "hello requests": b"\x16\x03\x03\0\4\0\0\0\0",
    "warnings": b"\x15\x03\x03\0\2\x01\x5a",
    "empty records": b"\x16\x03\x03\0\0",
    "change of ciphers": b"\x14\x03\x03\0\1\1",
}


class Library:
    """What of OpenSSL Python does not offer."""

    def __init__(self):
        name = ctypes.util.find_library("ssl")
        if not name:
            pytest.skip("libssl is not found")
        self.lib = ctypes.CDLL(name)
        for function in ("TLS_server_method", "SSL_CTX_new", "SSL_new"):
            getattr(self.lib, function).restype = ctypes.c_void_p
        if not hasattr(self.lib, "SSL_new_session_ticket"):
            pytest.skip("needs OpenSSL 3")

    def call(self, function, *args):
        return getattr(self.lib, function)(*[
            ctypes.c_void_p(a) if isinstance(a, int) and a > 1 << 32 else a
            for a in args])

    def accept(self, fd, cert, most=0):
        """A session, its handshake over; its context stays."""
        context = self.call("SSL_CTX_new", self.call("TLS_server_method"))
        self.call("SSL_CTX_use_certificate_chain_file", context,
                  cert.encode())
        self.call("SSL_CTX_use_PrivateKey_file", context, cert.encode(), 1)
        self.call("SSL_CTX_ctrl", context, SET_MAX, most, None)
        session = self.call("SSL_new", context)
        self.call("SSL_set_fd", session, fd)
        assert self.call("SSL_accept", session) == 1
        return session


class Flood(smtpd.Server):
    """Implicit TLS, and then for ever what is no data."""

    def __init__(self, kind, cert):
        super().__init__()
        self.kind, self.cert = kind, cert
        self.library = None if kind in PLAIN_FLOODS else Library()

    def serve(self, connection, number, now_open):
        sock = connection.sock
        if self.kind in PLAIN_FLOODS:
            sock.recv(1 << 16)
            while True:
                connection.send_raw(PLAIN_FLOODS[self.kind] * 1000)
        sock.settimeout(None)
        library = self.library
        session = library.accept(
            sock.fileno(), self.cert,
            TLS1_2 if self.kind == "renegotiation" else 0)
        send = {
            "key updates": lambda: library.call(
                "SSL_key_update", session, 0),
            "key updates, each to be answered": lambda: library.call(
                "SSL_key_update", session, 1),
            "tickets": lambda: library.call(
                "SSL_new_session_ticket", session),
            "renegotiation": lambda: library.call(
                "SSL_renegotiate", session)}[self.kind]
        buffer = ctypes.create_string_buffer(1 << 14)
        while True:
            if send() != 1 or library.call("SSL_do_handshake", session) != 1:
                return


@pytest.mark.rows("H-69", "V-42")
@pytest.mark.parametrize("kind", [
    *PLAIN_FLOODS, "key updates", "key updates, each to be answered",
    "tickets", "renegotiation"])
def test_flood(private, smtp, authority, kind):
    flood = smtp.keep(Flood(kind, authority.leaf("localhost", "127.0.0.1")))
    private.relay(flood, "SECURETRANSFER", TIMEOUTS=1)
    private.submit("-odq", "b@x.example")
    before = cpu_used()
    private.flush(preexec_fn=bound_memory)
    private.wait_idle()
    assert cpu_used() - before < CPU_S
    check_deferred(private, smtp.sink(), "TLS")


@pytest.mark.rows("H-69")
def test_records_of_one_byte(private, smtp, authority, monkeypatch):
    """Slow, but it is what it says that counts."""
    def send_raw(connection, data):
        for byte in data:
            connection.sock.sendall(bytes([byte]))
    monkeypatch.setattr(smtpd.Connection, "send_raw", send_raw)
    sink = smtp.sink(tls="starttls",
                     cert=authority.leaf("localhost", "127.0.0.1"))
    check_sent(private, deliver(private, sink, *REQUIRED))
