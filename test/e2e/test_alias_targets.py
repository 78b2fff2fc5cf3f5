# SPDX-License-Identifier: BSD-3-Clause
"""Files and commands of the alias file, from the submission to the log."""

import json
import os
import pwd

import pytest

from instance import messages_in, wait_for

# What the runner makes of an agent for local mail that does not start: exit
# status, the status in the log, its code.  None: nobody was tried.
DOOR = [(67, "bounced", "5.1.1"), (69, None, None), (71, "deferred", "4.3.0"),
        (72, "deferred", "4."), (75, "deferred", "4."),
        (77, "deferred", "4.3.0"), (78, "deferred", "4.3.5"),
        (0, "deferred", "4.3.0"), (1, "deferred", "4.3.0")]


@pytest.fixture
def place(system, scratch):
    """Where ALIASUSER may write."""
    path = scratch / "targets"
    path.mkdir(exist_ok=True)
    for file in path.iterdir():
        file.unlink()
    nobody = pwd.getpwnam("nobody")
    os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return path


def lines(system, name):
    return [x for x in system.log().splitlines() if ": to=<%s>" % name in x]


def test_each_target_is_a_recipient(system, place):
    system.configure("LOCALONLY")
    system.aliases("News: %s/a, \"|/bin/sh -c 'cat >%s/b'\", bob, %s/a\n"
                   "all: news, %s/c\n" % (place, place, place, place))
    system.submit("all", "news+x@client.example")
    system.wait_delivered()
    assert len(messages_in(place / "a")) == 2  # for news, and for news+x
    assert len(messages_in(place / "c")) == 1
    assert len(system.mailbox("bob")) == 1
    assert "Subject: test" in (place / "b").read_text()
    assert {(place / n).owner() for n in "abc"} == {"nobody"}
    ours = lines(system, "news") + lines(system, "all") + lines(
        system, "news+x")
    assert len(ours) == 5
    for line in ours:
        assert "relay=local" in line and "status=sent" in line
        assert "dma/local" in line
    assert all("orig_to=<all>" in x for x in lines(system, "news"))


@pytest.mark.rows("V-37")
@pytest.mark.parametrize("user", ["alice", "root", "bob"])
def test_a_command_has_nothing_of_who_sent_or_ran_it(system, place, user):
    """Neither the sender's rights, nor those of a run by root, nor the
    queue's; no shell sees an address."""
    system.aliases("prog: \"|/bin/sh -c 'id >%s/id; env >%s/env; pwd >%s/cwd; "
                   "ls -l /proc/$$/fd >%s/fd'\"\n" % ((place,) * 4))
    evil = "a$(touch %s/evil)@x.example" % place
    system.submit("-odq", "-f", evil, "prog", user=user,
                  env={"EVIL": "1", "LD_DEBUG": "all"})
    system.flush(user=user if user == "bob" else "root")
    system.wait_delivered()
    assert sorted(os.listdir(place)) == ["cwd", "env", "fd", "id"]
    nobody = pwd.getpwnam("nobody")
    assert (place / "id").read_text().split("(")[0] == "uid=%d" % nobody.pw_uid
    for name in ("mail", "root", "alice", "bob"):
        assert "(%s)" % name not in (place / "id").read_text()
    env = (place / "env").read_text()
    assert "EVIL" not in env and "LD_" not in env
    assert str(system.spool) not in (place / "fd").read_text()


def test_what_waits_shows_its_name(system, place):
    system.aliases("list: \"|/bin/sh -c 'exit 75' TOP-SECRET\"\n")
    system.submit("list", "root")
    wait_for(lambda: "status=deferred" in system.log(), "a deferral")
    wait_for(lambda: "root" not in system.mailq(), "root to have it")
    shown = system.mailq()
    assert shown.split("list\n")[0].count("@") == 1 and "(" in shown
    out = system.run("queue", "list", "--json", name="dmactl").out
    (one,) = [json.loads(x) for x in out.splitlines()]
    assert [r["address"] for r in one["recipients"]] == ["list"]
    told = shown + out + system.log() + system.run(
        "queue", "show", one["queue_id"], name="dmactl").out
    assert "TOP-SECRET" not in told
    # The text of the alias file may change; the name is asked for again.
    assert system.run("-q").exit == 0
    assert len(system.queue()) == 1


def test_a_notice_names_the_alias_and_the_program(system, place):
    system.aliases("list: \"|/bin/sh -c 'exit 67' TOP-SECRET\"\n"
                   "lists: list\n")
    system.submit("lists")
    wait_for(lambda: system.mailbox("alice"), "the notice")
    text = system.mailbox("alice")[0].as_string()
    assert "list@client.example" in text and "<lists>" in text
    assert "/bin/sh ended with status 67" in text
    assert "TOP-SECRET" not in text  # nor any other argument
    assert "Action: failed" in text and "\nStatus: 5." in text


def test_who_can_be_mailed_over_smtp(system, place):
    """An alias that is no user, but has a file, is somebody."""
    system.configure("DEFER")
    system.aliases("list: %s/a\nnone: no-such-user-here\n" % place)
    result = system.run("-bs", text=(
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<list>\r\nRCPT TO:<none>\r\n"
        "RCPT TO:<ALICE+x>\r\nRCPT TO:<no-such-user-here+x>\r\nQUIT\r\n"))
    assert [r[:9] for r in result.out.split("\r\n")[-6:-2]] == [
        "250 2.1.5", "550 5.1.1", "250 2.1.5", "550 5.1.1"], result


def test_where_it_would_go(system, place):
    system.aliases("list: /a b/, \"/v/x\", \"|/bin/cat -n 'x y'\"\n"
                   "next: list+ext\n".replace("/a b/", '"/a b/"'))
    result = system.run("-bv", "next", "alice+x")
    assert (result.exit, result.out.splitlines()) == (0, [
        "next: alias list+ext",
        "list+ext: alias /a b/, /v/x, |/bin/cat -n 'x y'",
        "list+ext: file /a b/", "list+ext: file /v/x",
        "list+ext: command /bin/cat -n 'x y'",
        "alice+x: local alice"]), result
    assert system.run("-bi").exit == 0


def test_beside_a_server_for_mailboxes(system, smtp, place):
    sink = smtp.sink(lmtp=True)
    system.configure(MAILBOX="lmtp://127.0.0.1:%d" % sink.port)
    system.aliases("list: list, %s/a\n" % place)
    system.submit("list+x")
    system.wait_delivered()
    assert sink.recipients_seen() == ["list@client.example"]
    assert len(messages_in(place / "a")) == 1


def test_no_such_alias_user(system, place):
    system.configure(ALIASUSER="no-such-user-here")
    system.aliases("list: %s/a\n" % place)
    system.submit("list", "root")
    wait_for(lambda: "status=deferred" in system.log(), "a deferral")
    assert "ALIASUSER is not a user that" in system.mailq()
    assert len(system.queue()) == 1
    assert not (place / "a").exists()
    assert len(system.mailbox("root")) == 1
    system.configure()
    assert system.run("-q").exit == 0
    assert len(messages_in(place / "a")) == 1


@pytest.mark.parametrize("value", ["root", "mail", "-x", "a b", "x" * 33])
def test_alias_user_that_may_never_be(system, value):
    system.configure(ALIASUSER=value)
    result = system.run("root", text="x\n")
    assert result.exit == 78 and "ALIASUSER must" in result.err, result
    assert result.err.count("\n") == 1


def test_what_the_door_says(private):
    """Only "no such user" fails anybody."""
    programs = private.directory / "libexec"
    programs.mkdir()
    (programs / "dma-smtp").symlink_to(private.bin / "dma-smtp")
    private.configure(LIBEXECDIR=programs)
    for status, word, dsn in DOOR:
        private.write(programs / "dma-local",
                      "#!/bin/sh\nexit %d\n" % status, 0o755)
        private.submit("-odq", "-f", "<>", private.user)
        begin = len(private.log())
        private.flush()
        new = [x for x in private.log()[begin:].splitlines()
               if "status=" in x]
        if word is None:
            assert new == [] and len(private.queue()) == 1
        else:
            (line,) = new
            assert "status=" + word in line and "dsn=" + dsn in line, status
        for path in private.spool.glob("[0-9A-V]*"):
            path.unlink()
        for path in private.spool.glob("dead.*"):
            path.unlink()
