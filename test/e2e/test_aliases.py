# SPDX-License-Identifier: BSD-3-Clause
"""Who a name stands for, and which names are local."""

import re
import shutil
import smtplib

import pytest

from instance import wait_for

DATAERR, NOINPUT = 65, 66


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
    ("root: a@x.example,\\\n  b@x.example\n", ["a@x.example", "b@x.example"]),
    ("root: Ann <a@x.example> (at home)\n", ["a@x.example"]),
    ("root@client.example: a@x.example\n", ["a@x.example"]),
    ("root@localhost: b@x.example\nroot: a@x.example\n", ["a@x.example"]),
])
@pytest.mark.rows("L-51")
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
    assert result.exit == DATAERR, result
    assert "aliases:2" in result.err, result


def test_newaliases_wants_the_file_that_was_named(private):
    """Mail goes without it, but who asks is told that it is not there."""
    path = private.directory / "no-aliases"
    private.configure(ALIASES=path)
    result = private.run(name="newaliases")
    assert result.exit == NOINPUT, result
    assert "%s: No such file or directory" % path in result.err, result
    assert result.err.count("\n") == 1, result


def test_newaliases_refuses_what_everybody_can_change(private):
    private.aliases("good: a@x.example\n")
    path = private.directory / "aliases"
    path.chmod(0o666)
    result = private.run(name="newaliases")
    assert result.exit == NOINPUT, result
    assert "%s: can be changed by everybody" % path in result.err, result
    assert result.err.count("\n") == 1, result
    path.chmod(0o644)
    assert private.run(name="newaliases").exit == 0


@pytest.mark.parametrize("text, said", [
    ("a: |/bin/cat\n", 'aliases:1: "|/bin/cat": a private instance uses no '
     "files and commands: the name keeps the mail"),
    ("b: c\na: b, /var/x\n", 'aliases:2: "/var/x": a private instance uses '
     "no files and commands: the name keeps the mail"),
    ("a: |cat\n", 'aliases:1: "|cat" is no command: it must begin with the'),
    ("a: \"|/bin/cat > x\"\n", "is for a shell, and there is none"),
    ("a@x.example: b\n", 'aliases:1: "a@x.example" is not on this machine: '
     "the line changes nothing (LOCALNAMES)"),
    ("a: :include:LIST\n", 'list:2: "a@@b" has more than one'),
    ("a: :include:LIST.2\n", "list.2: No such file or directory"),
])
@pytest.mark.rows("L-49")
def test_newaliases_finds(private, text, said):
    listed = private.directory / "list"
    private.write(listed, "b@x.example\na@@b\n:include:%s\n" % listed)
    private.aliases(text.replace("LIST", str(listed)))
    result = private.run(name="newaliases")
    assert result.exit == DATAERR, result
    assert said in result.err, result
    assert result.err.count("\n") == 1, result


def test_included_list(private, smtp):
    listed = private.directory / "list"
    private.write(listed, "# us\na@x.example\nb@x.example, team\n")
    text = "root: :include:%s\nteam: c@x.example\n" % listed
    got = recipients(private, smtp, "root", aliases=text)
    assert got == ["a@x.example", "b@x.example", "c@x.example"]
    result = private.run(name="newaliases")
    assert (result.exit, result.err) == (0, ""), result


@pytest.mark.rows("V-32", "L-52")
def test_a_list_that_others_can_write_is_not_read(private, smtp):
    listed = private.directory / "list"
    private.write(listed, "a@x.example\n", 0o666)
    got = recipients(private, smtp, private.user, "b@x.example",
                     aliases="%s: :include:%s\n" % (private.user, listed))
    assert got == ["b@x.example"]
    assert len(private.mbox()) == 1  # nothing is lost
    assert "list: can be changed by others" in private.log()


def test_a_list_of_somebody_else_is_not_read(system, scratch):
    """Root's mail must not go where a user says."""
    listed = scratch / "list"
    listed.write_text("a@x.example\n")
    listed.chmod(0o644)
    shutil.chown(listed, "alice")
    system.aliases("root: :include:%s\n" % listed)
    result = system.run("-bi")
    assert result.exit == DATAERR, result
    assert "belongs neither to root nor to the alias" in result.err, result


def test_no_alias_behind_a_backslash(private, smtp):
    me = private.user
    got = recipients(private, smtp, "root", aliases=(
        "root: \\%s, a@x.example\n%s: b@x.example\n" % (me, me)))
    assert got == ["a@x.example"]
    assert len(private.mbox()) == 1


@pytest.mark.parametrize("where", ["/var/mail/archive", '"|/bin/cat -n"'])
def test_what_a_private_instance_does_not_use_keeps_the_mail(private, smtp, where):
    got = recipients(private, smtp, private.user, aliases=(
        "%s: %s, a@x.example\n" % (private.user, where)))
    assert got == ["a@x.example"]
    assert len(private.mbox()) == 1
    assert ('alias "%s": a private instance uses no files and commands'
            % private.user) in private.log()


GONE = "gone: error:550 5.2.1 moved; ask: Ann\n"


def test_error_is_told_to_the_sender(private, smtp):
    got = recipients(private, smtp, "gone", "a@x.example", aliases=GONE)
    assert got == ["a@x.example"]
    (notice,) = private.mbox()
    text = notice.as_string()
    assert "5.2.1" in text and "moved; ask: Ann" in text
    assert "gone" in text and "Action: failed" in text
    assert "status=bounced (alias: 5.2.1 moved; ask: Ann)" in private.log()
    assert private.queue() == []


def test_error_alone(private, smtp):
    assert recipients(private, smtp, "gone", aliases=GONE) == []
    assert "moved; ask: Ann" in private.mbox()[0].as_string()


def test_a_notice_that_an_alias_refuses_is_kept(private):
    private.aliases(GONE)
    private.submit("-f", "gone", "no-such-user-here")
    private.wait_idle()
    assert private.queue() == []
    assert [p.name[:5] for p in private.spool.glob("dead.*")] == ["dead."]


def test_error_is_said_at_once_over_smtp(private):
    private.configure("DEFER")
    private.aliases(GONE + "half: gone, a@x.example\n")
    result = private.run("-bs", text=(
        "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<gone>\r\n"
        "RCPT TO:<half>\r\nQUIT\r\n"))
    replies = result.out.split("\r\n")
    assert "550 5.2.1 moved; ask: Ann" in replies
    assert replies[replies.index("550 5.2.1 moved; ask: Ann") + 1].startswith(
        "250 ")
    result = private.run("-bv", "gone")
    assert (result.exit, result.out.splitlines()) == (67, [
        "gone: alias error:5.2.1 moved; ask: Ann",
        "gone: error 5.2.1 moved; ask: Ann"]), result


# A name, what stands behind it, what it is to us, and to Postfix, which keeps
# quotes, phrases and remarks until it delivers, and no backslash.
BOTH = [
    ("plain", "ann", "ann", "ann"),
    ("Two", "ann, b@x.example", "ann, b@x.example", "ann, b@x.example"),
    ("folded", "ann,\n\tb@x.example,\n  c", "ann, b@x.example, c",
     "ann, b@x.example, c"),
    ("between", "ann,\n# a comment\n\n b", "ann, b", "ann, b"),
    ("\"a name\"", "ann", "ann", "ann"),
    ("quoted", "\"ann\", \"b\"@x.example", "ann, b@x.example",
     "\"ann\", \"b\"@x.example"),
    ("spaces", "\"a b\"@x.example", "\"a b\"@x.example",
     "\"a b\"@x.example"),
    ("phrase", "Ann B <b@x.example>, \"C, D\" <c@x.example>",
     "b@x.example, c@x.example",
     "Ann B <b@x.example>, \"C, D\" <c@x.example>"),
    ("remark", "ann (at home), b", "ann, b", "ann (at home), b"),
    ("slash", "\\ann", "\\ann", "ann"),
    ("list", ":include:/etc/list, ann", ":include:/etc/list, ann",
     ":include:/etc/list, ann"),
    ("file", "/var/mail/archive", "/var/mail/archive", "/var/mail/archive"),
    ("pipe", "\"|/bin/cat -n\"", "|/bin/cat -n", "\"|/bin/cat -n\""),
    ("bare", "|/bin/cat", "|/bin/cat", "|/bin/cat"),
    ("last", "ann", "ann", "ann"),
]


def test_postfix_reads_the_same(private, real):
    text = "".join("%s: %s\n" % row[:2] for row in BOTH)[:-1]
    root = real.root("postfix")
    root.write("/etc/postfix/main.cf", "compatibility_level = 3.6\n")
    root.write("/etc/aliases", text)
    root.run("postalias", "hash:/etc/aliases")
    private.aliases(text)
    for name, _, ours, theirs in BOTH:
        assert root.run("postalias", "-q", name.strip('"').lower(),
                        "hash:/etc/aliases").strip() == theirs
        first = private.run("-bv", name).out.splitlines()[0]
        assert first == "%s: alias %s" % (name, ours)


# Where mail ends: the same for Postfix, which delivers it, and for us.  (What
# is ours alone stands in the tests above: a comment behind an entry, lines
# that add up, names with a domain, no alias of a \name, error: and *.)
ENDS = r"""
# quotes, case, comments, continuation
q1: "alice"
"q 2": bob@x.example
q3: "a b"@x.example, alice
Q4: ALICE@client.example
q5: alice,
# between
	bob@x.example
q6:
  alice
q7: Ann B <c@x.example>, "C, D" <d@x.example>
# backslash, self-reference, chains
s1: \alice, c@x.example
bob: bob, b@x.example
s2: bob
s3: s4, s5
s4: alice
s5: alice, s4
# lists
i1: :include:LIST
i2: ":include:LIST", d@x.example
# files and commands
f1: /var/tmp/alias-file
f2: "/var/tmp/alias file", alice
f3: /dev/null
c1: |/bin/true
c2: "|/bin/true -a 'b c'", alice
c3: |"/bin/true -n"
c4: "|/bin/true a, b"
# extensions
e1: alice
e2+x: bob@x.example
e2: alice
n1: no-such-user-here"""


ASKED = ["q1", '"q 2"', "q3", "q4", "Q4", "q5", "q6", "q7", "s1", "s2", "s3",
         "i1", "i2", "f1", "f2", "f3", "c1", "c2", "c3", "c4", "e1+y",
         "e2+x", "e2+y", "alice+z", "n1"]


def our_ends(result):
    ends = set()
    for line in result.out.splitlines():
        name, kind, what = re.fullmatch(r"(.*?): (\S+) (.*)", line).groups()
        if kind != "alias":
            ends.add((kind, name.split("@")[0].split("+")[0].lower()
                      if kind == "error" else name if kind == "mx" else what))
    return ends


def their_ends(log, name):
    ends = set()
    for to, orig, status, text in re.findall(
            r" to=<(\S*?|\"[^\"]*\"\S*)>,(?: orig_to=<(.*?)>,)? relay=.*"
            r"status=(\S+) \((.*)\)$", log, re.M):
        if (orig or to) != name + "@client.example":
            continue
        user, domain = to.rsplit("@", 1)
        if text.startswith("delivered to "):
            kind, _, what = text[len("delivered to "):].partition(": ")
            ends.add(("local", user.split("+")[0].lower())
                     if kind == "mailbox" else (kind, what))
        elif domain == "x.example":
            ends.add(("mx", to))
        elif status == "bounced":
            ends.add(("error", user))
    return ends


def test_postfix_delivers_to_the_same(system, real, scratch):
    listed = scratch / "postfix-list"
    text = "alice\n# us\nc@x.example, s4\n"
    listed.write_text(text)
    aliases = ENDS.replace("LIST", str(listed))
    server = real.postfix_local(aliases)
    server.root.write(listed, text)
    system.aliases(aliases)
    with smtplib.SMTP(server.host, timeout=30) as client:
        for name in ASKED:
            client.sendmail("a@x.example", [name + "@client.example"],
                            "Subject: x\r\n\r\nx\r\n")
    ours = {n: our_ends(system.run("-bv", n)) for n in ASKED}

    def theirs():
        log = server.log()
        return {n: their_ends(log, n) for n in ASKED}

    wait_for(lambda: sum(map(len, theirs().values())) >= sum(
        map(len, ours.values())), "Postfix to deliver: %r" % ours)
    assert ours == theirs()


def test_local_copy_and_a_forward(private, smtp):
    got = recipients(private, smtp, private.user,
                     aliases="%s: %s, b@x.example\n"
                     % (private.user, private.user))
    assert got == ["b@x.example"]
    assert len(private.mbox()) == 1


@pytest.mark.rows("L-50")
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


@pytest.mark.rows("V-05")
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
