# SPDX-License-Identifier: BSD-3-Clause
"""SMTP spoken to `sendmail -bs`: over pipes, or through a tiny inetd."""

import os
import socket
import threading

IDLE = 30  # seconds that a reply may take


class Dialogue:
    """The client's side, byte for byte."""

    def __init__(self, send, receive):
        self.send_bytes = send
        self.receive = receive
        self.buffer = b""

    def send(self, text):
        self.send_bytes(text.encode() if isinstance(text, str) else text)

    def line(self):
        while b"\n" not in self.buffer:
            piece = self.receive()
            assert piece, "closed after %r" % self.buffer
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        assert line.endswith(b"\r"), "a line of the reply: %r" % line
        return line[:-1].decode()

    def reply(self):
        """One whole reply, its lines joined."""
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        assert {x[:3] for x in lines} == {lines[0][:3]}, lines
        return "\n".join(lines)

    def ask(self, text):
        self.send(text + "\r\n")
        return self.reply()

    def expect(self, code, text):
        got = self.ask(text)
        assert got.startswith(code), "%s: %s" % (text, got)
        return got

    def closed(self):
        """The other end said nothing more and closed."""
        try:
            return not self.buffer and self.receive() == b""
        except ConnectionResetError:
            return True

    def begin(self, sender="a@x.example", *recipients, hello="EHLO me"):
        self.expect("250", hello)
        self.expect("250", "MAIL FROM:<%s>" % sender)
        for to in recipients or ("b@x.example",):
            self.expect("250", "RCPT TO:<%s>" % to)
        self.expect("354", "DATA")


def over_pipes(instance, *args, **more):
    """Start `sendmail -bs`; the process and the dialogue with it."""
    process = instance.popen("-bs", *args, **more)

    def send(data):
        process.stdin.write(data)
        process.stdin.flush()

    return process, Dialogue(
        send, lambda: os.read(process.stdout.fileno(), 65536))


def over_socket(sock):
    sock.settimeout(IDLE)
    return Dialogue(sock.sendall, lambda: sock.recv(65536))


class Inetd(threading.Thread):
    """Listens, and starts one `sendmail -bs` a connection, as inetd does
    (the connection is 0, 1 and 2) or systemd with Accept=yes."""

    def __init__(self, instance, address, *args, user=None, stderr=True):
        super().__init__(daemon=True)
        family = (socket.AF_UNIX if isinstance(address, str)
                  else socket.AF_INET6 if ":" in address[0]
                  else socket.AF_INET)
        self.listener = socket.socket(family)
        self.listener.bind(address)
        if family == socket.AF_UNIX:
            os.chmod(address, 0o666)
        self.listener.listen(50)
        self.address = self.listener.getsockname()
        self.instance, self.args, self.user = instance, args, user
        self.stderr = stderr
        self.processes = []

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            more = {"stderr": connection} if self.stderr else {}
            self.processes.append(self.instance.popen(
                "-bs", *self.args, user=self.user, stdin=connection,
                stdout=connection, **more))
            connection.close()

    def connect(self, source=None):
        sock = socket.socket(self.listener.family)
        if source:
            sock.bind((source, 0))
        sock.connect(self.address)
        return over_socket(sock)

    def stop(self):
        if self.listener.fileno() == -1:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(10)
        for process in self.processes:
            process.kill()
            process.wait()
