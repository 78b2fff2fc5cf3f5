# SPDX-License-Identifier: BSD-3-Clause
"""What is piped in is what arrives, whatever CRs, LFs and dots are in it.

All 87,380 sequences of those go through the same code in the unit test
smtp_body; here a sample takes the whole way, half of it across the border of
the 64 KB that are read from standard input at once.
"""

import email
import itertools
import random

from instance import PATIENCE

ALPHABET = (b"\r", b"\n", b".", b"x")
SAMPLE = 200 // PATIENCE
PIECE = 65536


def sequences():
    every = [b"".join(s) for length in range(1, 9)
             for s in itertools.product(ALPHABET, repeat=length)]
    assert len(every) == 87380
    return random.Random(1).sample(every, SAMPLE)


def normalised(body):
    """LF line ends; CRs before one belong to it; the last line gets one."""
    lines = [line.rstrip(b"\r") for line in body.split(b"\n")]
    last = lines.pop()
    return b"".join(x + b"\n" for x in lines) + (last and last + b"\n")


def check(message, body):
    head, _, arrived = message.data.partition(b"\r\n\r\n")
    if b"quoted-printable" in head:
        parsed = email.message_from_bytes(message.data)
        arrived = parsed.get_payload(decode=True)
    assert arrived.replace(b"\r\n", b"\n") == normalised(body), body[-16:]


def test_sample_end_to_end(private, smtp):
    """Bare CRs and LFs, and a second end of data, are violations of a sink."""
    sink = smtp.sink()
    private.relay(sink)
    bodies = {}
    for number, body in enumerate(sequences()):
        head = b"Subject: %d\n\n" % number
        if number % 2:
            filler = b"0123456789 abcdef\n" * 4000
            start = PIECE - len(head) - number // 2 % 10
            body = filler[:start - 1] + b"\n" + body
        bodies[str(number)] = body
        private.submit("-odq", "-i", "b@x.example", text=head + body)
    private.flush()
    assert private.queue() == []
    assert sorted(sink.subjects()) == sorted(bodies)
    for message in sink.messages:
        check(message, bodies[message.header("Subject")[0]])
