# SPDX-License-Identifier: BSD-3-Clause
"""Every transcript: what becomes of a message to b@x.example.

Remarks in a transcript that are read here:

    # expect: delivered | deferred | bounced
    # reason: words that mailq, or the notice, must show
    # conf: a line for dma.conf (repeated)
    # login: user:password for auth.conf
    # timeouts: percent of the usual deadlines

What is deferred is sent again to a server that takes it, and must arrive
there: a server may delay mail, never lose it.
"""

import pathlib

import pytest

import instance
import smtpd

FILES = sorted(pathlib.Path(__file__).with_name("transcripts").glob("*.smtp"))
TEXT = "Subject: transcript\nTo: b@x.example\n\nthe text\n"


@pytest.mark.parametrize("path", FILES, ids=[f.stem for f in FILES])
def test_transcript(path, private, smtp, authority):
    script = smtp.script(path.read_text(), name=path.name,
                         cert=authority.leaf("localhost", "127.0.0.1"))
    remarks = script.remarks
    lines = remarks.get("conf", [])
    login = remarks.get("login", [None])[0]
    private.relay(script, *lines, login=login,
                  TIMEOUTS=remarks.get("timeouts", ["10"])[0])
    private.submit("-odq", "b@x.example", text=TEXT)
    private.flush()
    private.wait_idle()
    instance.wait_for(
        lambda: script.mistakes or script.finished == len(script.steps),
        "the transcript to be played to its end")
    assert script.mistakes == []
    assert script.extra == 0, "tried again and again"
    expect = remarks["expect"][0]
    if expect == "deferred":
        check_deferred(private, smtp, script, login)
    elif expect == "bounced":
        check_bounced(private, script)
    else:
        assert expect == "delivered"
        assert private.queue() == [] and private.mbox() == []
        assert script.bodies[-1].endswith(b"\r\n\r\nthe text\r\n")


def check_deferred(private, smtp, script, login):
    assert len(private.queue()) == 1
    assert private.mbox() == []
    listing = private.mailq()
    assert "(" in listing, "mailq gives no reason: " + listing
    for words in script.remarks.get("reason", []):
        assert words in listing
    assert all(" " <= c or c == "\n" for c in listing)
    user, _, password = (login or "").partition(":")
    sink = smtp.again(script, smtpd.Sink,
                      auth={user: password} if login else None)
    private.relay(sink, "INSECURE", login=login)
    private.flush()
    assert private.queue() == []
    (message,) = sink.messages
    assert message.body == "the text\n"


def check_bounced(private, script):
    assert private.queue() == []
    (notice,) = private.mbox()
    for words in script.remarks.get("reason", []):
        assert words in notice.as_string()
