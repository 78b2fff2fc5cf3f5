# SPDX-License-Identifier: BSD-3-Clause
"""The measuring instruments themselves: a client that misbehaves is caught."""

import smtplib
import socket
import ssl

import pytest

import certs
import instance
import smtpd


def talk(server, data):
    """Send bytes, read until the server closes."""
    with socket.create_connection((server.host, server.port), 5) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass


def test_sink_records_what_it_is_sent():
    with smtpd.Sink() as sink:
        with smtplib.SMTP(sink.host, sink.port) as client:
            client.sendmail("a@b", ["x@y", "z@y"],
                            "Subject: s\r\n\r\n.dot\r\nend\r\n")
    (message,) = sink.messages
    assert message.sender == "a@b"
    assert message.recipients == ["x@y", "z@y"]
    assert message.text == "Subject: s\n\n.dot\nend\n"
    assert sink.violations == []


def test_sink_wants_tls_and_auth(authority):
    pem = authority.leaf("localhost", "127.0.0.1")
    with smtpd.Sink(tls="starttls", cert=pem, need_tls=True,
                    auth={"u": "p"}) as sink:
        context = ssl.create_default_context(cafile=authority.cert)
        with smtplib.SMTP("127.0.0.1", sink.port) as client:
            client.starttls(context=context)
            for mechanism in ("auth_cram_md5", "auth_login"):
                client.user, client.password = "u", "p"
                client.ehlo()
                client.auth(mechanism[5:].replace("_", "-"),
                            getattr(client, mechanism))
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.user, client.password = "u", "no"
                client.auth("PLAIN", client.auth_plain)
    assert [t[2] for t in sink.auth_tries] == [True, True, False]
    assert sink.connections[0].tls["version"].startswith("TLS")


@pytest.mark.parametrize("data, words", [
    (b"EHLO x\n", "CRLF"),
    (b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
     b"a\nb\r\n.\r\n", "bare CR or LF"),
    (b"HELO x\r\nMAIL FROM:<a@b>\r\n", "pipelined unasked"),
    (b"EHLO x\r\nQUIT\r\nNOOP\r\n", "QUIT"),
    (b"EHLO x\r\nMAIL FROM: <a@b>\r\n", "MAIL"),
])
def test_violations_are_seen(data, words):
    with smtpd.Sink() as sink:
        talk(sink, data)
    assert any(words in v for v in sink.violations), sink.violations


def test_transcript_is_replayed():
    text = """\
S: 220 hello
C: EHLO *
S: 250 script
C: DATA
S: 354 go
C: [message]
! close
== connection
S- 421 bye\\r\\n
! reset
"""
    with smtpd.Script(text) as script:
        talk(script, b"EHLO me\r\nDATA\r\nx\r\n.\r\n")
        try:
            talk(script, b"")
        except ConnectionResetError:
            pass
        instance.wait_for(lambda: script.finished == 2, "its end")
    assert script.mistakes == []
    assert script.bodies == [b"x\r\n"]


def test_transcript_notices_another_command():
    with smtpd.Script("S: 220 x\nC: EHLO *\nS: 250 x\n") as script:
        talk(script, b"HELO me\r\n")
    assert "client said HELO me" in script.mistakes[0]


def test_fingerprint_is_openssl_s(authority):
    pem = authority.leaf("localhost", "127.0.0.1")
    assert len(certs.fingerprint(pem)) == 64
