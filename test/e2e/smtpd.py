# SPDX-License-Identifier: BSD-3-Clause
"""The SMTP servers that the tests and the demo talk to.

Sink     a well-behaved ESMTP or LMTP server that records what it is sent;
         options make it refuse, delay, or want TLS and AUTH.
Script   replays a transcript file and says what the client did otherwise.

Both hold the client to the rules of the wire (RFC 5321, 2.3.8 and 4.1.1.10):
only CRLF ends a line, no command before its turn, nothing after QUIT.  What
breaks one stands in .violations, and the fixtures fail a test for it.

A transcript has the lines that `dma -v` prints, and orders to the server:

    S: text        sent, with CRLF
    S- text        sent as it is, with \\r \\n \\0 \\xNN understood
    C: pattern     a command that must come now (shell pattern, case as is)
    C: [message]   everything up to the final dot must come now; the dot, as
                   `C: .`, may stand in the next line
    ! close        close the connection          ! reset   the same with a RST
    ! stall        say nothing more until the client gives up
    ! eof          the client must close now, without another command
    ! starttls     TLS handshake now             ! tls     the same
    ! plain        what starttls was, badly: go on in plain text
    ! drip         send the next S: line one byte at a time, slowly
    ! repeat N     send the next S line N times
    ! untls        end TLS properly, then go on in plain text
    ! deaf N       read nothing for N seconds, then as ! stall
    C: [part]      the beginning of a long message must come now
    # comment      (test_transcripts.py reads some of them)
    == connection  from here on it is the next connection

S lines that follow one another go out in one write.  After the last line a
client may say QUIT or close, and nothing else.
"""

import argparse
import base64
import codecs
import fnmatch
import hashlib
import hmac
import os
import re
import signal
import socket
import ssl
import struct
import sys
import threading
import time

# What clients said to a CRAM-MD5 challenge: it stands for their password, and
# the tests look for it in the same places.
RESPONSES = set()

IDLE = 60  # seconds after which a silent client is given up
DRIP = 0.3  # seconds between two bytes of a dripping reply
PART = 65536  # bytes of a message that is not read to its end


def note_response(text):
    """In base64 and as it is."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        return
    if re.search(rb" [0-9a-f]{32}$", digest):
        RESPONSES.update([text.rstrip("=").encode(), digest[-32:]])


class Gone(Exception):
    """The client closed, or was silent too long."""


def tls_context(cert, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert)
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


class Connection:
    """One client: its socket, and everything both sides said."""

    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.buffer = bytearray()
        self.held = bytearray()  # a Script's: goes out in one write
        self.lines = []  # "C: EHLO x", "S: 250 ok"
        self.tls = None  # version, cipher, sni, client certificate
        self.user = None  # who authenticated
        self.quit = False
        self.within = False  # a message that is not to be read to its end
        sock.settimeout(IDLE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def commands(self):
        return [x[3:] for x in self.lines if x.startswith("C: ")]

    def violation(self, text):
        self.server.violations.append(text)

    def fill(self):
        try:
            piece = self.sock.recv(1 << 18)
        except (OSError, ValueError) as error:
            raise Gone(str(error)) from error
        if not piece:
            raise Gone("closed")
        self.buffer += piece

    def readline(self):
        """The next command without its CRLF."""
        while True:
            end = self.buffer.find(b"\n")
            if end >= 0:
                break
            if len(self.buffer) > 65536:
                self.violation("a command line without end")
                raise Gone("no line")
            self.fill()
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            self.violation("line end is not CRLF: %r" % line)
        if self.quit:
            self.violation("after QUIT: %r" % line)
        text = line.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        if self.lines and self.lines[-1].startswith("S: 334"):
            note_response(text)
        self.lines.append("C: " + text)
        return text

    def read_message(self):
        """The text up to the final dot, dots undone, lines in CRLF."""
        start = 0
        while True:
            if self.buffer.startswith(b".\r\n"):
                raw, rest = b"", 3
                break
            end = self.buffer.find(b"\r\n.\r\n", start)
            if end >= 0:
                raw, rest = bytes(self.buffer[: end + 2]), end + 5
                break
            start = max(0, len(self.buffer) - 4)
            self.fill()
        del self.buffer[:rest]
        pairs = raw.count(b"\r\n")
        if raw.count(b"\r") != pairs or raw.count(b"\n") != pairs:
            self.violation("bare CR or LF in the message")
        self.lines.append("C: [message, %d bytes]" % len(raw))
        if raw.startswith(b"."):
            raw = raw[1:]
        return raw.replace(b"\r\n..", b"\r\n.")

    def send_raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone(str(error)) from error

    def send_held(self):
        data, self.held = bytes(self.held), bytearray()
        self.send_raw(data)

    def send(self, text):
        for line in text.split("\n"):
            self.lines.append("S: " + line)
        data = text.encode("utf-8", "surrogateescape")
        self.send_raw(data.replace(b"\n", b"\r\n") + b"\r\n")

    @staticmethod
    def name_asked_for(names):
        return lambda sock, name, context: names.append(name)

    def start_tls(self, context):
        if self.buffer:
            self.violation("sent before the handshake: %r" % self.buffer[:80])
            self.buffer.clear()
        names = []
        context.sni_callback = self.name_asked_for(names)
        try:
            self.sock = context.wrap_socket(self.sock, server_side=True)
        except (OSError, ssl.SSLError) as error:
            self.lines.append("! TLS handshake failed: %s" % error)
            raise Gone("handshake") from error
        self.lines.append("! TLS " + str(self.sock.version()))
        self.tls = {
            "version": self.sock.version(),
            "cipher": self.sock.cipher()[0],
            "sni": names[-1] if names else None,
            "peer": self.sock.getpeercert(),
        }

    def end_tls(self):
        """close_notify, not waiting for the client's."""
        self.sock.settimeout(0)
        try:
            self.sock.unwrap()
        except (OSError, ValueError):
            pass
        plain = socket.socket(fileno=os.dup(self.sock.fileno()))
        self.sock.close()
        self.sock = plain
        self.sock.settimeout(IDLE)

    def reset(self):
        self.sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        try:
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.settimeout(1)
                self.sock.unwrap()
        except (OSError, ValueError):
            pass
        self.sock.close()


class Server:
    """A listening socket and a thread for each connection."""

    def __init__(self, host="127.0.0.1", port=0):
        self.violations = []
        self.connections = []
        self.lock = threading.Lock()
        self.open = 0
        self.most_open = 0
        self.closing = False
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.bind(host)
            os.chmod(host, 0o666)
            self.host, self.port = host, 0
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((host, port))
            self.host, self.port = self.socket.getsockname()[:2]
        self.socket.listen(128)
        self.thread = threading.Thread(target=self.accept, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def accept(self):
        while True:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            if self.closing:
                sock.close()
                return
            connection = Connection(self, sock)
            with self.lock:
                number = len(self.connections)
                self.connections.append(connection)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                too_many = self.open
            threading.Thread(
                target=self.run, args=(connection, number, too_many),
                daemon=True).start()

    def run(self, connection, number, now_open):
        try:
            self.serve(connection, number, now_open)
        except Gone:
            pass
        finally:
            with self.lock:
                self.open -= 1
            connection.close()

    def serve(self, connection, number, now_open):
        raise NotImplementedError

    def stop(self):
        self.closing = True
        try:
            # accept(2) does not return when another thread closes.
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
        self.thread.join(5)
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def dialogue(self):
        """All that was said, for a failing test to show."""
        out = []
        for number, connection in enumerate(list(self.connections)):
            out.append("== connection %d" % (number + 1))
            out += connection.lines
        return "\n".join(out)


class Message:
    def __init__(self, sender, params, recipients, data, connection):
        self.sender = sender
        self.params = params
        self.recipients = [r for r, _ in recipients]
        self.recipient_params = [p for _, p in recipients]
        self.data = data
        self.connection = connection

    @property
    def text(self):
        return self.data.decode("utf-8", "surrogateescape").replace(
            "\r\n", "\n")

    def header(self, name):
        """The values of all fields of a name, unfolded."""
        head = self.text.split("\n\n", 1)[0].replace("\n ", " ")
        head = head.replace("\n\t", " ")
        low = name.lower() + ":"
        return [x[len(low):].strip() for x in head.split("\n")
                if x.lower().startswith(low)]

    @property
    def body(self):
        return self.text.split("\n\n", 1)[1]


FEATURES = ("PIPELINING", "SIZE 104857600", "8BITMIME", "DSN",
            "ENHANCEDSTATUSCODES")


class Sink(Server):
    """A recording ESMTP server.

    features     EHLO keywords; STARTTLS and AUTH are added by the options
    tls          None, "starttls" or "implicit", with cert a PEM file
    need_tls     MAIL before TLS is refused
    auth         {user: password}: MAIL before AUTH is refused
    mechanisms   what AUTH offers; auth_before_tls offers it in plain text
    answers      {verb: reply}: e.g. {"MAIL": "421 4.3.2 closing"}; verbs
                 also GREETING, STARTTLS, DOT; a value may be callable
                 (connection, argument) -> reply or None for the usual one
    recipients   {address: reply} or callable(address) -> reply or None
    most         connections at a time; beyond them 421
    delay        seconds before each reply to the final dot
    lmtp         LHLO, and one reply a recipient after the dot
    """

    def __init__(self, host="127.0.0.1", port=0, features=FEATURES, tls=None,
                 cert=None, need_tls=False, auth=None,
                 mechanisms=("PLAIN", "LOGIN", "CRAM-MD5"),
                 auth_before_tls=False, answers=None, recipients=None,
                 most=None, delay=0, client_ca=None, lmtp=False,
                 on_message=None):
        super().__init__(host, port)
        self.features = tuple(features)
        self.tls = tls
        self.context = tls_context(cert, client_ca) if cert else None
        self.need_tls = need_tls
        self.auth = auth
        self.mechanisms = mechanisms
        self.auth_before_tls = auth_before_tls
        self.answers = answers or {}
        self.refusals = recipients or {}
        self.most = most
        self.delay = delay
        self.lmtp = lmtp
        self.on_message = on_message
        self.messages = []
        self.auth_tries = []  # (mechanism, user, accepted)

    # What the options say.

    def answer(self, verb, connection, argument, usual):
        given = self.answers.get(verb)
        if callable(given):
            given = given(connection, argument)
        return usual if given is None else given

    def refusal(self, address):
        if callable(self.refusals):
            return self.refusals(address)
        return self.refusals.get(address)

    def offers(self, connection):
        offered = list(self.features)
        if self.tls == "starttls" and not connection.tls:
            offered.append("STARTTLS")
        if self.auth and (connection.tls or self.auth_before_tls
                          or not self.tls):
            offered.append("AUTH " + " ".join(self.mechanisms))
        return offered

    # One session.

    def serve(self, connection, number, now_open):
        if self.tls == "implicit":
            connection.start_tls(self.context)
        if self.most and now_open > self.most:
            connection.send("421 4.7.0 too many connections")
            return
        greeting = self.answer(
            "GREETING", connection, number, "220 sink.example ESMTP")
        connection.send(greeting)
        if not greeting.startswith("220"):
            if greeting.startswith("421"):
                return
            while connection.readline().upper() != "QUIT":
                connection.send("503 5.5.1 not now")
            return
        Session(self, connection).run()

    def record(self, message):
        with self.lock:
            self.messages.append(message)
        if self.on_message:
            self.on_message(message)

    def recipients_seen(self):
        """All accepted recipients, sorted, duplicates kept."""
        with self.lock:
            return sorted(r for m in self.messages for r in m.recipients)

    def subjects(self):
        with self.lock:
            return sorted(s for m in self.messages
                          for s in m.header("Subject"))


class Session:
    """The commands of one connection to a Sink."""

    def __init__(self, sink, connection):
        self.sink = sink
        self.connection = connection
        self.hello = None
        self.sender = None
        self.params = ""
        self.recipients = []
        self.verbs = {
            "EHLO": self.ehlo, "LHLO": self.ehlo, "HELO": self.helo,
            "STARTTLS": self.starttls, "AUTH": self.authenticate,
            "MAIL": self.mail, "RCPT": self.rcpt, "DATA": self.data,
            "RSET": self.rset, "NOOP": self.noop, "QUIT": self.quit,
        }

    def reply(self, text):
        self.connection.send(text)
        if text.startswith("421"):
            raise Gone("421 said")

    def run(self):
        while not self.connection.quit:
            line = self.connection.readline()
            verb = line.split(" ")[0].upper()
            argument = line[len(verb):].lstrip()
            pipelining = self.hello == "EHLO" and any(
                f.upper() == "PIPELINING" for f in self.sink.features)
            if self.connection.buffer and not pipelining:
                self.connection.violation("pipelined unasked after " + verb)
            handle = self.verbs.get(verb)
            if handle is None:
                self.connection.violation("unknown command " + line)
                self.reply("500 5.5.2 what")
            else:
                handle(argument)
        # Nothing may follow QUIT but the end.
        self.connection.sock.settimeout(5)
        self.connection.readline()

    def say(self, verb, argument, usual):
        self.reply(self.sink.answer(verb, self.connection, argument, usual))

    def ehlo(self, argument):
        if not argument:
            self.connection.violation("EHLO without a name")
        self.hello = "EHLO"
        self.sender = None
        lines = ["sink.example"] + self.sink.offers(self.connection)
        text = "\n".join("250-" + x for x in lines[:-1])
        text += ("\n" if text else "") + "250 " + lines[-1]
        self.say("EHLO", argument, text)

    def helo(self, argument):
        self.hello = "HELO"
        self.sender = None
        self.say("HELO", argument, "250 sink.example")

    def starttls(self, argument):
        if self.connection.buffer:
            self.connection.violation("pipelined after STARTTLS")
        answer = self.sink.answer(
            "STARTTLS", self.connection, argument, "220 2.0.0 go")
        self.reply(answer)
        if answer.startswith("220"):
            self.connection.start_tls(self.sink.context)
            self.hello = None

    # AUTH (RFC 4954)

    def ask(self, challenge):
        self.reply("334 " + base64.b64encode(challenge).decode())
        line = self.connection.readline()
        if line == "*":
            return None
        try:
            return base64.b64decode(line, validate=True)
        except ValueError:
            self.connection.violation("not base64: " + line)
            return None

    def credentials_plain(self, initial):
        given = base64.b64decode(initial) if initial else self.ask(b"")
        if given is None or given.count(b"\0") != 2:
            return None, False
        _, user, password = given.decode().split("\0")
        return user, self.sink.auth.get(user) == password

    def credentials_login(self, initial):
        user = base64.b64decode(initial) if initial else self.ask(b"Username:")
        password = self.ask(b"Password:")
        if user is None or password is None:
            return None, False
        return user.decode(), (
            self.sink.auth.get(user.decode()) == password.decode())

    def credentials_cram(self, _):
        challenge = b"<%d.%d@sink.example>" % (os.getpid(), time.time())
        given = self.ask(challenge)
        if given is None or b" " not in given:
            return None, False
        user, digest = given.decode().rsplit(" ", 1)
        secret = self.sink.auth.get(user, "\0")
        right = hmac.new(secret.encode(), challenge, hashlib.md5).hexdigest()
        return user, hmac.compare_digest(right, digest)

    def authenticate(self, argument):
        mechanism, _, initial = argument.partition(" ")
        ways = {"PLAIN": self.credentials_plain,
                "LOGIN": self.credentials_login,
                "CRAM-MD5": self.credentials_cram}
        way = ways.get(mechanism.upper())
        if not self.sink.auth or way is None or \
                mechanism.upper() not in self.sink.mechanisms:
            self.reply("504 5.5.4 mechanism not supported")
            return
        user, good = way(initial)
        self.sink.auth_tries.append((mechanism.upper(), user, good))
        if not good:
            self.say("AUTH", argument, "535 5.7.8 wrong user or password")
            return
        answer = self.sink.answer(
            "AUTH", self.connection, argument, "235 2.7.0 welcome")
        if answer.startswith("2"):
            self.connection.user = user
        self.reply(answer)

    # The transaction

    def mail(self, argument):
        address, params = path(argument, "FROM:")
        if address is None:
            self.connection.violation("MAIL " + argument)
            self.reply("501 5.5.4 syntax")
            return
        if self.hello is None:
            self.reply("503 5.5.1 EHLO first")
            return
        if self.sink.need_tls and not self.connection.tls:
            self.reply("530 5.7.0 Must issue a STARTTLS command first")
            return
        if self.sink.auth and not self.connection.user:
            self.reply("530 5.7.0 Authentication required")
            return
        answer = self.sink.answer(
            "MAIL", self.connection, argument, "250 2.1.0 Ok")
        if answer.startswith("2"):
            self.sender, self.params, self.recipients = address, params, []
        self.reply(answer)

    def rcpt(self, argument):
        address, params = path(argument, "TO:")
        if address is None:
            self.connection.violation("RCPT " + argument)
            self.reply("501 5.5.4 syntax")
            return
        if self.sender is None:
            self.reply("503 5.5.1 MAIL first")
            return
        answer = self.sink.refusal(address)
        if answer is None:
            answer = self.sink.answer(
                "RCPT", self.connection, argument, "250 2.1.5 Ok")
        if answer.startswith("2"):
            self.recipients.append((address, params))
        self.reply(answer)

    def data(self, argument):
        if not self.recipients:
            self.reply("503 5.5.1 no valid recipients")
            return
        answer = self.sink.answer(
            "DATA", self.connection, argument, "354 go")
        self.reply(answer)
        if not answer.startswith("354"):
            return
        data = self.connection.read_message()
        message = Message(self.sender, self.params, self.recipients, data,
                          self.connection)
        if self.sink.delay:
            time.sleep(self.sink.delay)
        for address in message.recipients if self.sink.lmtp else [None]:
            answer = self.sink.answer(
                "DOT", self.connection, address,
                "250 2.0.0 Ok: queued as %08X" % id(message))
            if answer == "":
                raise Gone("no answer to the dot")
            if answer.startswith("2"):
                if address is not None:
                    message = Message(self.sender, self.params,
                                      [(address, "")], data, self.connection)
                self.sink.record(message)
            self.reply(answer)
        self.sender, self.recipients = None, []

    def rset(self, argument):
        self.sender, self.recipients = None, []
        self.say("RSET", argument, "250 2.0.0 Ok")

    def noop(self, argument):
        self.say("NOOP", argument, "250 2.0.0 Ok")

    def quit(self, argument):
        self.connection.quit = True
        try:
            self.say("QUIT", argument, "221 2.0.0 Bye")
        finally:
            if self.connection.buffer:
                self.connection.violation("pipelined after QUIT")


def path(argument, word):
    """ "FROM:<a@b> SIZE=1" into address and parameters."""
    if not argument.upper().startswith(word + "<"):
        return None, None
    text = argument[len(word) + 1:]
    # A quoted local part may contain '>'.
    end, quoted = 0, False
    while end < len(text) and (quoted or text[end] != ">"):
        if text[end] == "\\":
            end += 1
        elif text[end] == '"':
            quoted = not quoted
        end += 1
    if end >= len(text):
        return None, None
    return text[:end], text[end + 1:].strip()


# ---- Transcripts ----

class Step:
    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line


def parse_transcript(text, name="transcript"):
    """-> (list of connections, each a list of steps; {comment: [values]})"""
    connections, remarks = [[]], {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#"):
            key, colon, value = line[1:].partition(":")
            if colon:
                remarks.setdefault(key.strip(), []).append(value.strip())
        elif line.startswith("=="):
            if connections[-1]:
                connections.append([])
        elif line[:2] in ("S:", "S-", "C:", "! "):
            kind = line[:2].strip()
            text = line[2:]
            if kind in ("S:", "C:"):
                text = text[1:] if text.startswith(" ") else text
            elif kind == "S-":
                text = text.lstrip(" ")
            connections[-1].append(Step(kind, text, number))
        elif line.strip():
            raise ValueError("%s:%d: what is this: %s" % (name, number, line))
    return connections, remarks


class Script(Server):
    """Replays a transcript; .mistakes says where the client left it."""

    def __init__(self, text, host="127.0.0.1", port=0, cert=None,
                 name="transcript"):
        super().__init__(host, port)
        self.name = name
        self.steps, self.remarks = parse_transcript(text, name)
        self.context = tls_context(cert) if cert else None
        self.mistakes = []
        self.finished = 0  # connections played to their end
        self.extra = 0  # connections beyond the transcript
        self.bodies = []

    def mistake(self, step, text):
        self.mistakes.append("%s:%d: %s" % (self.name, step.line, text))

    def serve(self, connection, number, now_open):
        if number >= len(self.steps):
            self.extra += 1
            return
        drip, times, steps = False, 1, self.steps[number]
        for step, following in zip(steps, steps[1:] + [None]):
            try:
                if step.kind == "!" and step.text == "drip":
                    drip = True
                elif step.kind == "!" and step.text.startswith("repeat "):
                    times = int(step.text.split()[1])
                elif step.kind == "!":
                    if self.order(connection, step):
                        self.finished += 1
                        return
                elif step.kind == "C:":
                    self.expect(connection, step)
                else:
                    for _ in range(times):
                        self.say(connection, step, drip)
                    drip, times = False, 1
                    if following is None or following.kind[0] != "S":
                        connection.send_held()
            except Gone as gone:
                if step.kind == "C:":
                    self.mistake(step, "client %s before: %s"
                                 % (gone, step.text))
                elif drip:
                    # Rightly tired of waiting.
                    self.finished += 1
                raise
        self.finished += 1
        self.goodbye(connection)

    def say(self, connection, step, drip):
        if step.kind == "S-":
            data = codecs.decode(step.text, "unicode_escape")
            connection.lines.append("S- " + step.text)
            connection.held += data.encode("latin-1")
        elif drip:
            connection.lines.append("S: (dripping) " + step.text)
            for byte in step.text.encode() + b"\r\n":
                connection.send_raw(bytes([byte]))
                time.sleep(DRIP)
        else:
            connection.lines.append("S: " + step.text)
            connection.held += step.text.encode() + b"\r\n"

    def expect(self, connection, step):
        if step.text.startswith("[message"):
            self.bodies.append(connection.read_message())
            return
        if step.text == "[part]":
            while len(connection.buffer) < PART:
                connection.fill()
            connection.buffer.clear()
            connection.within = True
            return
        if step.text == "." and connection.lines[-1].startswith("C: [message"):
            return
        line = connection.readline()
        if not fnmatch.fnmatchcase(line, step.text.replace("[", "[[]")):
            self.mistake(step, "expected %s, client said %s"
                         % (step.text, line))
            raise Gone("out of step")

    def order(self, connection, step):
        """Do a '!' line; true: this connection is over."""
        if step.text in ("tls", "starttls"):
            connection.start_tls(self.context)
            return False
        if step.text == "plain":
            return False
        if step.text == "untls":
            connection.end_tls()
            return False
        if step.text.startswith("deaf "):
            time.sleep(float(step.text.split()[1]))
            self.drain(connection)
            return True
        if step.text == "close":
            # What the client has in flight must not turn this into a RST.
            connection.sock.shutdown(socket.SHUT_WR)
            self.drain(connection)
            return True
        if step.text == "reset":
            connection.reset()
            return True
        if step.text == "stall":
            self.drain(connection)
            return True
        if step.text == "eof":
            try:
                line = connection.readline()
                self.mistake(step, "client should close, said " + line)
            except Gone:
                pass
            return True
        self.mistake(step, "no such order: " + step.text)
        return True

    def drain(self, connection):
        try:
            while True:
                del connection.buffer[:-8]
                connection.fill()
                if connection.within and b"\r\n.\r\n" in connection.buffer:
                    connection.violation("a final dot behind a reply")
        except Gone:
            pass

    def goodbye(self, connection):
        try:
            line = connection.readline()
            if line.upper() != "QUIT":
                self.mistakes.append("%s: after the end: %s"
                                     % (self.name, line))
                return
            connection.quit = True
            connection.send("221 2.0.0 Bye")
            connection.readline()
        except Gone:
            pass


# ---- As a program: the demo's relay ----

def main():
    parser = argparse.ArgumentParser(description="a recording SMTP server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert", help="PEM: key and certificate: STARTTLS")
    parser.add_argument("--auth", help="user:password that AUTH wants")
    parser.add_argument("--announce", help="write the port to this file")
    parser.add_argument("--keep", help="write each message to DIR/1, 2, ...")
    args = parser.parse_args()

    def keep(message):
        number = len(sink.messages)
        final = os.path.join(args.keep, str(number))
        with open(final + ".new", "wb") as out:
            facts = message.connection.tls
            out.write(b"# from <%s> to <%s>\n" % (
                message.sender.encode(),
                b">, <".join(r.encode() for r in message.recipients)))
            out.write(b"# %s, authenticated as %s\n" % (
                (facts["version"] if facts else "plain text").encode(),
                str(message.connection.user).encode()))
            out.write(message.data.replace(b"\r\n", b"\n"))
        os.rename(final + ".new", final)

    options = {}
    if args.cert:
        options.update(tls="starttls", cert=args.cert, need_tls=True)
    if args.auth:
        user, _, password = args.auth.partition(":")
        options.update(auth={user: password})
    if args.keep:
        options.update(on_message=keep)
    sink = Sink(args.host, args.port, **options).start()
    if args.announce:
        with open(args.announce + ".new", "w") as out:
            out.write("%d\n" % sink.port)
        os.rename(args.announce + ".new", args.announce)
    else:
        print(sink.port, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    sink.stop()
    return 1 if sink.violations else 0


if __name__ == "__main__":
    signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    sys.exit(main())
