# SPDX-License-Identifier: BSD-3-Clause
"""What was wrong with DragonFly's dma 0.14 (test/rows/D), done to this one.
Rows that other tests show have their mark there."""

import ctypes
import os
import resource
import signal
import subprocess

import pytest

import house
from instance import wait_for

ADDR_NO_RANDOMIZE = 0x0040000
libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(
    not house.IS_ROOT, reason="needs root: an installed tree, several users")


@pytest.mark.rows("D-01")
def test_421_to_ehlo_loses_nothing(private, smtp):
    """Not even when a notice would meet the same server."""
    sink = smtp.sink(answers={"EHLO": "421 4.3.2 closing"})
    private.relay(sink)
    private.submit("-odq", "-f", "a@far.example", "b@x.example")
    private.flush()
    assert len(private.queue()) == 1 and "421" in private.mailq()
    sink = smtp.again(sink)
    private.flush()
    assert [m.recipients for m in sink.messages] == [["b@x.example"]]


def processor_time():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.rows("D-02")
@pytest.mark.parametrize("text", [
    "S: 220 x\n! close\n", "S- 220 x ES\n! close\n", "S- 220-x\\r\\n\n! stall\n",
    "S: 220 x\nC: EHLO *\nS- 250-x\\r\\n250-SI\n! close\n", "! stall\n"])
def test_a_server_that_goes_costs_no_time(private, smtp, text):
    private.relay(smtp.script(text), TIMEOUTS=1)
    private.submit("-odq", "b@x.example")
    before = processor_time()
    private.flush()
    private.wait_idle()
    assert processor_time() - before < 1
    assert len(private.queue()) == 1


@pytest.mark.rows("D-05")
@pytest.mark.parametrize("lines", [
    (), ("SECURETRANSFER", "STARTTLS", "OPPORTUNISTIC_TLS")])
def test_a_refused_starttls_and_a_password(private, smtp, lines):
    script = smtp.script(
        "S: 220 x\nC: EHLO *\nS: 250-x\nS: 250-AUTH PLAIN LOGIN\n"
        "S: 250 STARTTLS\nC: STARTTLS\nS: 454 4.7.0 not now\n"
        "C: QUIT\nS: 221 bye\n")
    private.relay(script, *lines, login="u:p")
    private.submit("-odq", "b@x.example")
    private.flush()
    assert script.mistakes == []
    assert len(private.queue()) == 1 and private.mbox() == []


def without_room():
    """trap '' XFSZ; ulimit -f 0"""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@needs_root
@pytest.mark.rows("D-06")
@pytest.mark.parametrize("who", ["bob", "alice"])
def test_no_room_for_the_notice(system, smtp, who):
    """Whoever runs the queue: alice's mail, or a notice of it, is there."""
    sink = smtp.sink(host="192.0.2.1", recipients={"b@x.example": "550 no"})
    system.relay(sink)
    system.submit("-odq", "b@x.example")
    system.run("-q", user=who, preexec_fn=without_room)
    assert len(system.queue()) == 1 and system.mailbox("alice") == []
    for _ in range(2):
        system.flush(user="root")
    assert len(system.mailbox("alice")) == 1 and system.queue() == []


@pytest.mark.rows("D-19")
def test_an_id_says_nothing_of_memory(private):
    """The same memory twice, and nothing of the id is the same."""
    for _ in range(4):
        private.submit("-odq", "b@x.example", preexec_fn=lambda:
                       libc.personality(ADDR_NO_RANDOMIZE))
    names = private.queue()
    assert len({name[:7] for name in names}) == 1
    for place in ((7, 12), (10, 15), (15, 20)):
        assert len({name[slice(*place)] for name in names}) == 4


@needs_root
@pytest.mark.rows("D-20")
def test_a_umask_of_the_first_run(system, smtp):
    """077 by alice shuts nobody out."""
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    system.flush(preexec_fn=lambda: os.umask(0o077))
    system.submit("a@x.example", preexec_fn=lambda: os.umask(0o077))
    system.submit("b@x.example", user="bob")
    system.wait_delivered()
    system.flush(user="root")
    assert sink.recipients_seen() == ["a@x.example", "b@x.example"]


@pytest.mark.rows("D-21")
@pytest.mark.parametrize("program", ["dma", "dma-become", "dma-smtp",
                                     "dma-local"])
def test_no_jump_and_no_alarm(built, program):
    """Deadlines are poll's; a signal interrupts no library."""
    names = subprocess.run(["nm", "-u", built / program], check=True,
                           capture_output=True, text=True).stdout
    words = {line.split()[-1].split("@")[0].strip("_")
             for line in names.splitlines()}
    assert "poll" in words or program == "dma-become"
    assert not words & {"alarm", "timer_settime", "longjmp", "siglongjmp",
                        "longjmp_chk", "sigsetjmp", "setjmp"}


@pytest.mark.rows("D-21")
def test_silence_inside_tls(private, smtp, authority):
    script = smtp.script("! tls\n! stall\n", cert=authority.leaf(
        "localhost", "127.0.0.1"))
    private.relay(script, "SECURETRANSFER", TIMEOUTS=1)
    private.submit("b@x.example")
    private.wait_deferred()
    wait_for(lambda: "no answer in time" in private.mailq(), "the reason")
