# SPDX-License-Identifier: BSD-3-Clause
"""-bv: where each address would go, and that nothing goes there."""

import pytest

USAGE, NOUSER = 64, 67


def verified(instance, *addresses, status=0, **more):
    result = instance.run("-bv", *addresses, **more)
    assert result.exit == status, result
    assert result.err == "", result
    assert instance.queue() == []
    return result.out.splitlines()


def test_mx(private):
    assert verified(private, "a@X.example", "b@[192.0.2.1]") == [
        "a@X.example: mx x.example", "b@[192.0.2.1]: mx [192.0.2.1]"]


@pytest.mark.parametrize("relays, words", [
    ("relay.example", "smtp relay.example:25"),
    ("smtps://relay.example", "smtp relay.example:465"),
    ("relay.example:587,[2001:db8::1]:26",
     "smtp relay.example:587, smtp [2001:db8::1]:26"),
    ("lmtp://relay.example:24", "lmtp relay.example:24"),
    ("lmtp:///run/lmtp", "lmtp /run/lmtp"),
])
def test_relays(private, relays, words):
    private.configure(SMARTHOST=relays)
    assert verified(private, "a@x.example") == ["a@x.example: " + words]


def test_aliases_and_what_they_lead_to(private):
    me = private.user
    private.aliases("root: admin@localhost, ops@x.example\nadmin: %s\n" % me)
    assert verified(private, "Root@client.example", "postmaster") == [
        "Root@client.example: alias admin@localhost, ops@x.example",
        "admin@localhost: alias " + me,
        "%s: local %s" % (me, me),
        "ops@x.example: mx x.example",
        "postmaster: alias root",
        "root: alias admin@localhost, ops@x.example",
        "admin@localhost: alias " + me,
        "%s: local %s" % (me, me),
        "ops@x.example: mx x.example"]


def test_an_alias_for_itself_and_a_loop(private):
    me = private.user
    private.aliases("%s: %s, b@x.example\nx: y\ny: x\n" % (me, me))
    assert verified(private, me) == [
        "%s: alias %s, b@x.example" % (me, me),
        "%s: local %s" % (me, me), "b@x.example: mx x.example"]
    assert verified(private, "x", status=NOUSER) == [
        "x: alias y", "y: alias x", "x: error 5.1.1 unknown user"]


def test_errors_do_not_hide_the_others(private):
    assert verified(private, "a@x.example", "no-such-user", "a@b@c", "",
                    "b@x.example, c d@x.example", status=NOUSER) == [
        "a@x.example: mx x.example",
        "no-such-user: error 5.1.1 unknown user",
        "a@b@c: error 5.1.3 has more than one '@'",
        '"": error 5.1.3 is empty',
        "b@x.example: mx x.example",
        "b@x.example, c d@x.example: error 5.1.3 contains a blank or a "
        "misplaced quote"]


def test_control_characters_do_not_reach_the_terminal(private):
    (line,) = verified(private, "a\x1b[31m@x", status=NOUSER)
    assert line == "a?[31m@x: error 5.1.3 contains a control character"


def test_a_private_instance_has_one_user(private):
    assert verified(private, "root", status=NOUSER) == [
        "root: error 5.1.1 unknown user"]


def test_nullclient(private):
    private.aliases("root: joe\n")
    private.configure("NULLCLIENT", SMARTHOST="relay.example")
    assert verified(private, "root", "a@localhost") == [
        "root: smtp relay.example:25", "a@localhost: smtp relay.example:25"]


def test_localonly(private):
    private.aliases("away: a@x.example\n")
    private.configure("LOCALONLY")
    words = "error 5.7.1 LOCALONLY lets no mail go to another machine"
    assert verified(private, private.user, "away", status=NOUSER) == [
        "%s: local %s" % (private.user, private.user),
        "away: alias a@x.example", "a@x.example: " + words]


def test_localnames(private):
    private.configure(LOCALNAMES="localhost")
    assert verified(private, "a@client.example",
                    private.user + "@localhost") == [
        "a@client.example: mx client.example",
        "%s@localhost: local %s" % (private.user, private.user)]


def test_it_is_no_submission(private):
    for args in (["-bv"], ["-bv", "-t", "a@x.example"]):
        result = private.run(*args, text="To: b@x.example\n\nx\n")
        assert result.exit == USAGE, result
        assert result.err.count("\n") == 1, result


def test_users_of_the_system(system):
    """Also root, whose mailbox is written without being root."""
    assert verified(system, "ALICE", "root@client.example", "no-such-user",
                    "../root", status=NOUSER) == [
        "ALICE: local alice", "root@client.example: local root",
        "no-such-user: error 5.1.1 unknown user",
        '"../root": error 5.1.1 unknown user']
