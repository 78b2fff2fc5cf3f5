# SPDX-License-Identifier: BSD-3-Clause
"""A name server for one test: answers from a table, over UDP and TCP.

Records are {(name, type): [values]}; what has no entry but whose name is
known has no data, an unknown name does not exist.  Names in .broken get
SERVFAIL, names or (name, type)s in .silent no answer at all, names in .codes
that response code.  .mangled[name](answer) -> datagrams that are sent instead.
"""

import socket
import struct
import threading

A, CNAME, MX, AAAA = 1, 5, 15, 28
TYPES = {"A": A, "CNAME": CNAME, "MX": MX, "AAAA": AAAA}


def encode_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode()
    return out + b"\0"


def decode_name(packet, at):
    labels = []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    return ".".join(labels).lower(), at + 1


def encode_value(kind, value):
    if kind == A:
        return socket.inet_pton(socket.AF_INET, value)
    if kind == AAAA:
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == CNAME:
        return encode_name(value)
    preference, host = value.split(None, 1)
    return struct.pack("!H", int(preference)) + encode_name(host)


class NameServer:
    def __init__(self, host="127.0.0.1", port=53):
        self.records = {}
        self.broken = set()
        self.silent = set()
        self.codes = {}
        self.mangled = {}
        self.queries = []
        self.extended = 0  # queries with more than a question
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((host, port))
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((host, port))
        self.tcp.listen(16)

    def clear(self):
        self.records.clear()
        self.broken.clear()
        self.silent.clear()
        self.codes.clear()
        self.mangled.clear()
        self.extended = 0
        self.queries.clear()

    def add(self, name, kind, *values):
        self.records[(name.lower().rstrip("."), TYPES[kind])] = list(values)

    def start(self):
        for loop in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=loop, daemon=True).start()
        return self

    def stop(self):
        for sock in (self.udp, self.tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    def serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if len(packet) < 17:
                continue  # what shutdown(2) makes of the socket
            answer = self.answer(packet)
            if answer is not None and len(answer) > 512:
                # Too long for UDP: the truncation bit and no records.
                flags = struct.unpack("!H", answer[2:4])[0] | 0x0200
                answer = (answer[:2] + struct.pack("!HHHHH", flags, 1, 0, 0, 0)
                          + self.question(packet))
            if answer is None:
                continue
            name, _ = decode_name(packet, 12)
            mangle = self.mangled.get(name, lambda whole: [whole])
            for datagram in mangle(answer):
                self.udp.sendto(datagram, peer)

    def serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            try:
                sock.settimeout(5)
                size = struct.unpack("!H", sock.recv(2))[0]
                answer = self.answer(sock.recv(size))
                if answer is not None:
                    sock.sendall(struct.pack("!H", len(answer)) + answer)
            except (OSError, struct.error):
                pass
            sock.close()

    def question(self, packet):
        _, end = decode_name(packet, 12)
        return packet[12:end + 4]

    def answer(self, packet):
        name, end = decode_name(packet, 12)
        kind = struct.unpack("!H", packet[end:end + 2])[0]
        self.queries.append((name, kind))
        self.extended += packet[6:12] != bytes(6)
        if name in self.silent or (name, kind) in self.silent:
            return None
        answers, code = [], 0
        if name in self.broken or name in self.codes:
            code = self.codes.get(name, 2)
        else:
            answers, code = self.look_up(name, kind)
        out = packet[:2] + struct.pack(
            "!HHHHH", 0x8580 | code, 1, len(answers), 0, 0)
        out += self.question(packet)
        for owner, what, value in answers:
            data = encode_value(what, value)
            out += encode_name(owner) + struct.pack(
                "!HHIH", what, 1, 60, len(data)) + data
        return out

    def look_up(self, name, kind):
        answers = []
        for _ in range(12):
            alias = self.records.get((name, CNAME))
            if not alias or kind == CNAME:
                break
            answers.append((name, CNAME, alias[0]))
            name = alias[0].lower().rstrip(".")
        found = self.records.get((name, kind), [])
        answers += [(name, kind, value) for value in found]
        known = any(n == name for n, _ in self.records)
        return answers, 0 if known or answers else 3
