# SPDX-License-Identifier: BSD-3-Clause
"""Which keys protect a connection, and what happens where they cannot.

None of these may ever bounce: trouble with TLS defers, with the reason.
"""

import socket
import ssl

import pytest

import certs
import house
import smtpd

NAMES = ("localhost", "127.0.0.1")
PASSWORD = "canary-in-tls"
LOGIN = "u:" + PASSWORD
REQUIRED = ("SECURETRANSFER", "STARTTLS")


def options(authority, *names, **more):
    more.setdefault("tls", "starttls")
    return dict(cert=authority.leaf(*(names or NAMES)), **more)


def deliver(private, sink, *lines, **keys):
    private.relay(sink, *lines, **keys)
    private.submit("-odq", "b@x.example")
    private.flush()
    return sink


def check_sent(private, sink, encrypted=True):
    (message,) = sink.messages
    assert bool(message.connection.tls) == encrypted
    assert private.queue() == []


def check_deferred(private, sink, *words):
    assert sink.messages == []
    assert len(private.queue()) == 1
    assert private.mbox() == []
    listing = private.mailq()
    assert any(w.lower() in listing.lower() for w in words), listing


# ---- No TLS key set ----

def test_starttls_is_used_where_offered(private, smtp, authority):
    sink = deliver(private, smtp.sink(**options(authority)))
    check_sent(private, sink)


def test_plain_text_where_not_offered(private, smtp):
    check_sent(private, deliver(private, smtp.sink()), encrypted=False)


@pytest.mark.rows("H-79", "D-23")
def test_credentials_want_a_valid_certificate(private, smtp, authority):
    sink = deliver(
        private, smtp.sink(**options(authority, "mail.other.example"),
                           auth={"u": PASSWORD}), login=LOGIN)
    check_deferred(private, sink, "certificate")
    assert sink.auth_tries == []


@pytest.mark.rows("H-79", "V-40", "D-05")
def test_credentials_want_tls(private, smtp):
    sink = deliver(private, smtp.sink(auth={"u": PASSWORD}), login=LOGIN)
    check_deferred(private, sink, "TLS")
    assert sink.auth_tries == []


def test_credentials_with_a_trusted_certificate(private, smtp, trusted):
    sink = deliver(private, smtp.sink(**options(trusted), auth={"u": PASSWORD}),
                   login=LOGIN)
    check_sent(private, sink)
    assert sink.messages[0].connection.user == "u"


def test_insecure_allows_credentials_in_plain_text(private, smtp):
    sink = deliver(private, smtp.sink(auth={"u": PASSWORD}), "INSECURE",
                   login=LOGIN)
    check_sent(private, sink, encrypted=False)
    assert sink.messages[0].connection.user == "u"


# ---- Required ----

@pytest.mark.parametrize("lines", [
    REQUIRED, ("STARTTLS",)], ids=["0.14", "starttls-alone"])
def test_required(private, smtp, authority, lines):
    sink = deliver(private, smtp.sink(**options(authority), need_tls=True),
                   *lines)
    check_sent(private, sink)


@pytest.mark.parametrize("lines", [REQUIRED, ("STARTTLS",), ("VERIFYCERT",)])
@pytest.mark.rows("H-62")
@pytest.mark.rows("V-40")
def test_required_but_not_offered(private, smtp, lines):
    sink = deliver(private, smtp.sink(), *lines)
    check_deferred(private, sink, "STARTTLS", "TLS")


@pytest.mark.rows("H-66")
def test_required_without_verification_takes_any_certificate(
        private, smtp, authority):
    sink = deliver(private, smtp.sink(
        **options(authority, "mail.other.example")), *REQUIRED)
    check_sent(private, sink)


def test_implicit(private, smtp, authority):
    sink = deliver(private, smtp.sink(**options(authority, tls="implicit")),
                   "SECURETRANSFER")
    check_sent(private, sink)


def test_url_smtps(private, smtp, trusted):
    sink = smtp.sink(**options(trusted, tls="implicit"))
    private.configure(SMARTHOST="smtps://127.0.0.1:%d" % sink.port)
    private.submit("-odq", "b@x.example")
    private.flush()
    check_sent(private, sink)


def test_opportunistic_goes_on_without(private, smtp):
    sink = deliver(private, smtp.sink(), *REQUIRED, "OPPORTUNISTIC_TLS")
    check_sent(private, sink, encrypted=False)


def test_opportunistic_uses_it(private, smtp, authority):
    sink = deliver(private, smtp.sink(**options(authority)), *REQUIRED,
                   "OPPORTUNISTIC_TLS")
    check_sent(private, sink)


# ---- Verified ----

def test_verified(private, smtp, trusted):
    sink = deliver(private, smtp.sink(**options(trusted)), *REQUIRED,
                   "VERIFYCERT")
    check_sent(private, sink)


def test_verified_by_name(private, smtp, trusted):
    sink = deliver(
        private, smtp.sink(**options(trusted, "localhost", "127.0.0.1")),
        *REQUIRED, "VERIFYCERT", SMARTHOST="localhost")
    check_sent(private, sink)
    assert sink.messages[0].connection.tls["sni"] == "localhost"


@pytest.mark.rows("H-66")
@pytest.mark.rows("V-41")
def test_wrong_name(private, smtp, trusted):
    """Deferred, and mailq says which name it was for."""
    sink = deliver(private, smtp.sink(
        **options(trusted, "mail.other.example")), *REQUIRED, "VERIFYCERT")
    check_deferred(private, sink, "mail.other.example")


@pytest.mark.rows("H-66")
@pytest.mark.rows("V-41")
def test_unknown_authority(private, smtp, stranger):
    sink = deliver(private, smtp.sink(**options(stranger)), *REQUIRED,
                   "VERIFYCERT")
    check_deferred(private, sink, "certificate", "self-signed")


@pytest.mark.rows("V-41")
@pytest.mark.rows("H-66")
def test_expired(private, smtp, trusted):
    pem = trusted.leaf("localhost", "127.0.0.1", days="-1")
    sink = deliver(private, smtp.sink(tls="starttls", cert=pem), *REQUIRED,
                   "VERIFYCERT")
    check_deferred(private, sink, "expired")


# ---- Pinned ----

@pytest.mark.parametrize("lines", [(), REQUIRED, ("SECURETRANSFER",)],
                         ids=["alone", "starttls", "implicit"])
def test_fingerprint(private, smtp, authority, lines):
    tls = "implicit" if lines == ("SECURETRANSFER",) else "starttls"
    sink = smtp.sink(**options(authority, tls=tls))
    digest = certs.fingerprint(authority.leaf(*NAMES))
    check_sent(private, deliver(private, sink, *lines, FINGERPRINT=digest))


def test_fingerprint_with_colons_in_upper_case(private, smtp, authority):
    sink = smtp.sink(**options(authority))
    digest = certs.fingerprint(authority.leaf(*NAMES)).upper()
    pairs = ":".join(digest[i:i + 2] for i in range(0, 64, 2))
    check_sent(private, deliver(private, sink, *REQUIRED, FINGERPRINT=pairs))


@pytest.mark.rows("H-71")
def test_wrong_fingerprint(private, smtp, authority):
    sink = deliver(private, smtp.sink(**options(authority)), *REQUIRED,
                   FINGERPRINT="0" * 64)
    check_deferred(private, sink, "fingerprint")


def test_fingerprint_lets_credentials_pass(private, smtp, authority):
    digest = certs.fingerprint(authority.leaf(*NAMES))
    sink = deliver(private, smtp.sink(**options(authority), auth={"u": PASSWORD}),
                   *REQUIRED, FINGERPRINT=digest, login=LOGIN)
    check_sent(private, sink)
    assert sink.messages[0].connection.user == "u"


# ---- Our own certificate; AUTH ----

def test_client_certificate(private, smtp, authority):
    own = private.directory / "client.pem"
    with open(authority.leaf("client.example"), encoding="ascii") as file:
        private.write(own, file.read(), 0o600)
    sink = deliver(private, smtp.sink(
        **options(authority), client_ca=authority.cert), *REQUIRED,
        CERTFILE=own)
    check_sent(private, sink)
    assert "client.example" in str(sink.messages[0].connection.tls["peer"])


@pytest.mark.rows("L-59")
def test_missing_client_certificate_is_named(private, smtp):
    private.relay(smtp.sink(), CERTFILE="/nonexistent/client.pem")
    private.submit("b@x.example")
    private.wait_deferred()
    assert "CERTFILE /nonexistent/client.pem cannot be read" in private.mailq()


@pytest.mark.parametrize("offered, used", [
    (("PLAIN",), "PLAIN"), (("LOGIN",), "LOGIN"), (("CRAM-MD5",), "CRAM-MD5"),
    (("LOGIN", "PLAIN"), "PLAIN"),
    (("PLAIN", "LOGIN", "CRAM-MD5"), "CRAM-MD5"),
    (("GSSAPI", "SCRAM-SHA-256", "LOGIN"), "LOGIN"),
])
def test_mechanism(private, smtp, authority, offered, used):
    sink = deliver(private, smtp.sink(
        **options(authority), auth={"u": PASSWORD}, mechanisms=offered),
        *REQUIRED, login=LOGIN)
    check_sent(private, sink)
    assert sink.auth_tries == [(used, "u", True)]


@pytest.mark.parametrize("offered", [(), ("XOAUTH2", "GSSAPI")])
def test_no_mechanism_for_a_password(private, smtp, offered):
    sink = deliver(private, smtp.sink(
        auth={"u": PASSWORD} if offered else None, mechanisms=offered),
        "INSECURE", login=LOGIN)
    check_deferred(private, sink, "it offers AUTH with none of CRAM-MD5")


def test_password_for_another_host(private, smtp):
    private.relay(smtp.sink(), "INSECURE", login=LOGIN)
    private.run("-v", "b@x.example", text="x\n")
    auth = private.directory / "auth.conf"
    auth.write_text(auth.read_text().replace("127.0.0.1", "other.example"))
    said = private.run("-v", "b@x.example", text="x\n").err
    assert "# auth.conf has no line for 127.0.0.1\n" in said
    assert "status=sent" in said


@pytest.mark.skipif(not house.IS_ROOT, reason="needs root: port 465")
def test_plain_text_to_the_port_of_tls(private, smtp):
    """It waits for us to begin: say what that means."""
    private.relay(smtp.script("! stall\n", port=465), TIMEOUTS="1")
    private.submit("-odq", "b@x.example")
    private.flush()
    assert "on port 465 TLS is from the start: write smtps://" in (
        private.mailq())


def test_tls_to_a_port_of_plain_text(private, smtp):
    """The other way round: its greeting is no TLS.  Where that comes before
    our first word, net.c says it in words of its own."""
    def greet(connection, _):
        connection.fill()  # with what we say first
        connection.buffer.clear()
        return "220 x ESMTP"

    deliver(private, smtp.sink(answers={"GREETING": greet}), "SECURETRANSFER")
    assert "perhaps SMTP before STARTTLS" in private.mailq()


@pytest.mark.parametrize("password", [
    "with blanks", "a:b|c", "#hash", "\u00fcml\u00e4ut", "x" * 500])
def test_passwords_of_all_kinds(private, smtp, password):
    sink = deliver(private, smtp.sink(auth={"u": password},
                                      mechanisms=("PLAIN",)),
                   "INSECURE", login="u:" + password)
    check_sent(private, sink, encrypted=False)


@pytest.mark.rows("H-74")
@pytest.mark.rows("V-39")
def test_auth_offered_only_before_tls_is_forgotten(private, smtp, authority):
    script = smtp.script(
        "S: 220 x\nC: EHLO *\nS: 250-x\nS: 250-AUTH PLAIN\n"
        "S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\n! starttls\n"
        "C: EHLO *\nS: 250 x\nC: QUIT\nS: 221 bye\n",
        cert=authority.leaf(*NAMES))
    private.relay(script, *REQUIRED, login=LOGIN)
    private.submit("-odq", "b@x.example")
    private.flush()
    assert script.mistakes == []
    assert len(private.queue()) == 1


# ---- Servers whose TLS is bad ----

def spoil(sink, change):
    """The sink's TLS, changed."""
    change(sink.context)
    return sink


def only_old(context):
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1


def only_null(context):
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("eNULL:@SECLEVEL=0")


BAD_TLS = [pytest.param(only_old, id="H-67 TLS 1.1 only"),
           pytest.param(only_null, id="H-67 no encryption")]


@pytest.mark.rows("V-42")
@pytest.mark.parametrize("change", BAD_TLS)
def test_weak_tls_where_it_is_required(private, smtp, authority, change):
    sink = spoil(smtp.sink(**options(authority)), change)
    deliver(private, sink, *REQUIRED)
    check_deferred(private, sink, "TLS")


@pytest.mark.parametrize("change", BAD_TLS)
def test_weak_tls_where_it_is_welcome(private, smtp, authority, change):
    """A connection of its own without TLS, and without credentials."""
    sink = spoil(smtp.sink(**options(authority)), change)
    deliver(private, sink)
    check_sent(private, sink, encrypted=False)
    assert len(sink.connections) == 2


@pytest.mark.parametrize("change", BAD_TLS)
def test_weak_tls_and_a_credential(private, smtp, authority, change):
    sink = spoil(smtp.sink(**options(authority), auth={"u": "p"}), change)
    deliver(private, sink, login=LOGIN)
    check_deferred(private, sink, "TLS")
    assert sink.auth_tries == []


def anonymous():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context


@pytest.mark.rows("H-68")
def test_no_certificate(private, smtp, authority):
    sink = smtp.sink(**options(authority))
    sink.context = anonymous()
    deliver(private, sink, *REQUIRED)
    check_deferred(private, sink, "TLS")


@pytest.mark.rows("H-69")
def test_endless_chain(private, smtp, authority):
    """A certificate of more than 100 KiB."""
    names = ["localhost"] + ["n%05d.%s.example" % (n, "x" * 40)
                             for n in range(3000)]
    sink = smtp.sink(tls="starttls", cert=authority.leaf(
        "huge.example", *names))
    deliver(private, sink, *REQUIRED)
    check_deferred(private, sink, "TLS")


@pytest.mark.rows("H-71")
def test_unrecognized_name_alert(private, smtp, authority, monkeypatch):
    """A server that knows no such name fails the handshake."""
    monkeypatch.setattr(smtpd.Connection, "name_asked_for", staticmethod(
        lambda names: lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME))
    sink = smtp.sink(**options(authority))
    deliver(private, sink, *REQUIRED, SMARTHOST="localhost")
    check_deferred(private, sink, "TLS")


# ---- Policy is a property of the connection ----

def two_servers(smtp, first, second):
    """localhost has two addresses; the IPv6 one is asked first."""
    try:
        one = smtp.sink(host="::1", **first)
    except OSError as error:
        pytest.skip("no IPv6 here: %s" % error)
    return one, smtp.sink(host="127.0.0.1", port=one.port, **second)


@pytest.mark.rows("H-35", "H-62")
@pytest.mark.parametrize("lines, login", [
    (REQUIRED, None), ((), LOGIN)], ids=["required", "credential"])
def test_second_address_inherits_nothing(
        private, smtp, authority, lines, login):
    """TLS and AUTH at the first, which is busy; the second has neither."""
    auth = {"u": PASSWORD} if login else None
    first, second = two_servers(
        smtp, options(authority, auth=auth,
                      answers={"MAIL": "421 4.3.2 busy"}), {"auth": auth})
    if login:
        lines = ["FINGERPRINT " + certs.fingerprint(authority.leaf(*NAMES))]
    deliver(private, first, *lines, login=login, SMARTHOST="localhost")
    check_deferred(private, second, "TLS", "421")
    assert first.connections[-1].tls is not None
    assert second.connections != [] and second.auth_tries == []
    assert not any("MAIL" in x for x in second.connections[-1].commands)


@pytest.mark.rows("H-75")
def test_wrong_password_is_said_once(private, smtp):
    """To each address in turn, it would lock the account."""
    first, second = two_servers(
        smtp, {"auth": {"u": "other"}}, {"auth": {"u": "other"}})
    deliver(private, first, "INSECURE", login=LOGIN, SMARTHOST="localhost")
    check_deferred(private, second, "535")
    assert len(first.auth_tries) == 1 and second.connections == []


@pytest.mark.rows("H-63")
def test_second_address_is_asked_for_tls_again(private, smtp, authority):
    """STARTTLS came to nothing at the first: that is the first's affair."""
    first, second = two_servers(
        smtp, dict(features=("STARTTLS",), answers={
            "STARTTLS": "454 4.7.0 not now", "MAIL": "421 4.3.2 busy"}),
        options(authority))
    deliver(private, first, SMARTHOST="localhost")
    (message,) = second.messages
    assert message.connection.tls is not None


@pytest.mark.rows("H-02")
def test_connection_that_is_not_answered(private):
    """A full backlog: the kernel drops what else wants to connect."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    port, full = server.getsockname()[1], []
    for _ in range(8):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", port))
        full.append(one)
    private.configure(SMARTHOST="127.0.0.1", PORT=port, TIMEOUTS=1)
    private.submit("-odq", "b@x.example")
    private.flush()
    for one in full + [server]:
        one.close()
    assert len(private.queue()) == 1
    assert private.logged("dsn=4.4.1, status=deferred .*timed out")
