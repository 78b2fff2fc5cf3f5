# SPDX-License-Identifier: BSD-3-Clause
"""Who a name stands for, and which names are local."""

import pytest


def recipients(private, smtp, *args, aliases="", **keys):
    """Who gets it beyond this machine, with these aliases."""
    sink = smtp.sink()
    private.aliases(aliases)
    private.relay(sink, **keys)
    private.submit(*args)
    private.wait_delivered()
    return sink.recipients_seen()


@pytest.mark.parametrize("text, wanted", [
    ("root: a@x.example\n", ["a@x.example"]),
    ("root: a@x.example, b@x.example\n", ["a@x.example", "b@x.example"]),
    ("root: a@x.example b@x.example\n", ["a@x.example", "b@x.example"]),
    ("root: a@x.example\nroot: b@x.example\n",
     ["a@x.example", "b@x.example"]),
    ("root:\n\ta@x.example,\n\tb@x.example\n",
     ["a@x.example", "b@x.example"]),
    ("# one\nroot: a@x.example # two\n\n", ["a@x.example"]),
    ("root: a@x.example", ["a@x.example"]),
    ("root: a@x.example\r\n", ["a@x.example"]),
    ("Root: a@x.example\n", ["a@x.example"]),
    ("root: team\nteam: a@x.example, more\nmore: b@x.example\n",
     ["a@x.example", "b@x.example"]),
    ("*: a@x.example\n", ["a@x.example"]),
    ("*: a@x.example\nroot: b@x.example\n", ["b@x.example"]),
    ("\"root\": a@x.example\n", ["a@x.example"]),
    ("root: a@x.example, A@X.example\n", None),
])
def test_alias(private, smtp, text, wanted):
    got = recipients(private, smtp, "root", aliases=text)
    if wanted is None:
        assert len(got) in (1, 2)
    else:
        assert got == wanted


def test_bad_line_costs_only_itself(private, smtp):
    sink = smtp.sink()
    private.aliases("good: a@x.example\n: nobody\nroot: b@x.example\n")
    private.relay(sink)
    result = private.run("root", text="x\n")
    assert result.exit == 0, result
    private.wait_delivered()
    assert sink.recipients_seen() == ["b@x.example"]
    assert "aliases:2" in result.err + private.log()


def test_newaliases_checks_the_file(private):
    private.aliases("good: a@x.example\n")
    assert private.run(name="newaliases").exit == 0
    private.aliases("good: a@x.example\n: bad\n")
    result = private.run(name="newaliases")
    assert "aliases:2" in result.err, result


def test_local_copy_and_a_forward(private, smtp):
    got = recipients(private, smtp, private.user,
                     aliases="%s: %s, b@x.example\n"
                     % (private.user, private.user))
    assert got == ["b@x.example"]
    assert len(private.mbox()) == 1


def test_loop_is_told_not_swallowed(private, smtp):
    got = recipients(private, smtp, "one", aliases="one: two\ntwo: one\n")
    assert got == []
    # Nobody is left to have it: the sender is told.
    (notice,) = private.mbox()
    assert "one@client.example" in notice.as_string() or \
        "two" in notice.as_string() or "one" in notice.as_string()
    assert "MAILER-DAEMON" in notice["From"]


@pytest.mark.parametrize("to", ["USER", "USER@client.example",
                                "USER@CLIENT.example", "USER@localhost"])
def test_local_forms(private, smtp, to):
    got = recipients(private, smtp, to.replace("USER", private.user))
    assert got == []
    (message,) = private.mbox()
    assert message["Subject"] == "test"


def test_alias_applies_to_our_own_domain(private, smtp):
    assert recipients(private, smtp, "info@client.example",
                      aliases="info: a@x.example\n") == ["a@x.example"]


def test_unknown_local_user_fails_alone(private, smtp):
    got = recipients(private, smtp, "no-such-user-here", "a@x.example")
    assert got == ["a@x.example"]
    (notice,) = private.mbox()
    assert "no-such-user-here" in notice.as_string()


def test_nullclient_sends_everything_away(private, smtp):
    got = recipients(private, smtp, "root", private.user,
                     aliases="root: a@x.example\n", NULLCLIENT=True)
    assert got == sorted(["root@client.example",
                          private.user + "@client.example"])
    assert private.mbox() == []


def test_one_person_by_two_aliases_gets_it_once(private, smtp):
    assert recipients(private, smtp, "root", "admin", aliases=(
        "root: a@x.example\nadmin: a@x.example\n")) == ["a@x.example"]


def test_mailbox_quotes_from_lines(private, smtp):
    sink = smtp.sink()
    private.relay(sink)
    private.submit(private.user,
                   text="Subject: s\n\nFrom here\n>From there\nend\n")
    private.submit(private.user, text="Subject: second\n\nx\n")
    private.wait_delivered()
    first, second = private.mbox()
    assert first.get_payload() == ">From here\n>>From there\nend\n"
    assert second["Subject"] == "second"
    assert first["Return-Path"] == "<%s@client.example>" % private.user
    assert first["Delivered-To"]
