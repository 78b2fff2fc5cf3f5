# SPDX-License-Identifier: BSD-3-Clause
"""Where mail for users of this machine goes: MAILBOX, ~/.forward, and the
files and commands of aliases."""

import mailbox
import os
import pwd
import shutil
import stat
import subprocess

import pytest

import house
import instance
import servers
from instance import wait_for

TEXT = "Subject: one\n\nhello\nFrom here\n"
# What tells all about how it was called; its last argument is a status.
CATCH = """#!/bin/sh
{ cat; echo "--"; for word; do echo "arg <$word>"; done
  env | sort; pwd; ls /proc/self/fd; ps -o pgid= -p $$; } >{place}/got.$$
mv {place}/got.$$ {place}/caught.$$
eval "status=\\${$#}"
echo "said $status"
exit "$status"
"""


class Homes:
    """Users with homes, and a place that all can write."""

    def __init__(self, system):
        self.system, self.top = system, house.ROOT_SCRATCH / "homes"
        shutil.rmtree(self.top, ignore_errors=True)
        self.top.mkdir(mode=0o755)
        self.accounts = house.ROOT_SCRATCH / "etc" / "passwd"
        self.before = self.accounts.read_text()
        self.settle(self.before.replace("/nonexistent:", "%s/none:" % self.top))
        self.place = self.top / "place"
        self.place.mkdir()
        self.place.chmod(0o777)
        self.catch = self.script("catch", CATCH.replace(
            "{place}", str(self.place)))

    def settle(self, text):
        """Give alice, bob and root their homes, the others none."""
        lines = []
        for line in text.splitlines():
            fields = line.split(":")
            if fields[0] in ("alice", "bob", "root"):
                fields[5] = str(self.top / fields[0])
                home = self.top / fields[0]
                home.mkdir(exist_ok=True)
                os.chown(home, int(fields[2]), int(fields[3]))
            elif fields[0] == "postfix":
                fields[5] = str(self.top / "postfix")  # and there is none
            elif fields[0] == "dovecot":
                fields[5], fields[6] = str(self.top / "none"), "/bin/false"
            lines.append(":".join(fields))
        self.accounts.write_text("\n".join(lines) + "\n")

    def restore(self):
        self.accounts.write_text(self.before)

    def script(self, name, text):
        path = self.top / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def put(self, user, name, text, mode=0o600, owner=None):
        path = self.top / user / name
        path.write_text(text)
        path.chmod(mode)
        account = pwd.getpwnam(owner or user)
        os.chown(path, account.pw_uid, account.pw_gid)
        return path

    def caught(self, count=1):
        wait_for(lambda: len(list(self.place.glob("caught.*"))) >= count,
                 "%d commands to have run" % count)
        texts = [p.read_text() for p in sorted(self.place.glob("caught.*"))]
        assert len(texts) == count
        return texts

    def deferred(self, why, count=1):
        wait_for(lambda: self.system.log().count(why) >= count,
                 "a deferral: " + why)
        assert any("status=deferred" in x and why[:30] in x
                   for x in self.system.log().splitlines())


@pytest.fixture
def homes(system):
    one = Homes(system)
    yield one
    instance.kill_all()
    one.restore()


def mbox(path):
    return instance.messages_in(path)


def maildir(path):
    return list(mailbox.Maildir(path, create=False))


def test_all_that_a_forward_names(system, homes, smtp):
    sink = smtp.sink()
    system.relay(sink)
    home = homes.top / "bob"
    homes.put("bob", ".forward",
              "# mine\n\\bob, Bob@client.example (me)\n"
              "\"|%s 'b c' \\\"d e\\\" 0\"\n"
              "~/copy, \"~/My Mail/\"\n%s/file, %s/dir/\n/dev/null\n"
              "joe@dest.example, alice, <ann@dest.example>\n"
              % (homes.catch, homes.place, homes.place))
    system.submit("-f", "eve@x.example", "bob", text=TEXT)
    system.wait_delivered()
    for found in (system.mailbox("bob"), mbox(home / "copy"),
                  maildir(home / "My Mail"), mbox(homes.place / "file"),
                  maildir(homes.place / "dir")):
        one, = found
        assert one["Delivered-To"] == "bob@client.example"
        assert one["Return-Path"] == "<eve@x.example>"
        assert one["Subject"] == "one"
    assert maildir(home / "My Mail")[0].get_payload() == "hello\nFrom here\n"
    wait_for(lambda: system.mailbox("alice") and sink.messages,
             "the others to have it")
    message, = sink.messages
    assert message.sender == "eve@x.example"
    assert sorted(message.recipients) == [
        "ann@dest.example", "joe@dest.example"]
    assert message.header("Delivered-To") == ["bob@client.example"]
    forwarded, = system.mailbox("alice")
    assert forwarded["Delivered-To"] == "alice@client.example"
    text, = homes.caught()
    body, _, rest = text.partition("--\n")
    assert body.startswith("From eve@x.example ")
    assert "\nReturn-Path: <eve@x.example>\n" in body
    assert "\nDelivered-To: bob@client.example\n" in body
    assert body.endswith("\nhello\nFrom here\n")
    lines = rest.splitlines()
    assert lines[:3] == ["arg <b c>", "arg <d e>", "arg <0>"]
    wanted = {"HOME=%s" % home, "LOGNAME=bob", "USER=bob", "SHELL=/bin/sh",
              "PATH=/usr/bin:/bin", "SENDER=eve@x.example",
              "RECIPIENT=bob@client.example", "EXTENSION="}
    assert wanted <= set(lines)
    assert not [x for x in lines[3:] if "=" in x and x not in wanted
                and not x.startswith(("PWD=", "_=", "OLDPWD=", "SHLVL="))]
    assert str(home) in lines and "4" not in lines
    log = next(x for x in system.log().splitlines()
               if "to=<bob>" in x and "status=sent" in x)
    assert "delivered to command %s; delivered to mailbox; " % homes.catch in log
    assert "delivered to address" in log
    system.wait_idle()
    assert sorted(os.listdir(system.maildir)) == ["alice", "bob"]


PRIVATE_WORD = "canary-of-bob"
REFUSED = {
    "nobody may read": ".forward: Permission denied",
    "others may write": "forward: can be changed by others",
    "group may write": "can be changed by others",
    "another's": "belongs neither to its user nor to root",
    "a link": "is a symbolic link",
    "a directory": "is not a regular file",
    "too large": "is too large",
    "broken": ".forward:2:",
    "an included list": "is not allowed in a list",
    "no whole path": "must begin with the whole path",
    "for a shell": "is for a shell",
    "a NUL": ".forward:1:",
}


def make_refused(homes, kind):
    path = homes.top / "bob" / ".forward"
    good = "\\bob\n"
    if kind == "a link":
        path.symlink_to(homes.put("bob", "real", good))
    elif kind == "a directory":
        path.mkdir()
    else:
        text, mode, owner = good, 0o644, "bob"
        if kind == "nobody may read":
            mode = 0
        elif kind == "others may write":
            mode = 0o646
        elif kind == "group may write":
            mode = 0o664
        elif kind == "another's":
            owner = "alice"
        elif kind == "too large":
            text = "# x\n" * 20000
        elif kind == "broken":
            text = "\\bob\n%s@@x\n" % PRIVATE_WORD
        elif kind == "an included list":
            text = ":include:/%s\n" % PRIVATE_WORD
        elif kind == "no whole path":
            text = "\"|exec procmail %s\"\n" % PRIVATE_WORD
        elif kind == "for a shell":
            text = "\"|/bin/true %s || exit 75\"\n" % PRIVATE_WORD
        elif kind == "a NUL":
            text = "%s\0\n" % PRIVATE_WORD
        homes.put("bob", ".forward", text, mode, owner)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def test_forwards_that_are_not_used(system, homes):
    """Each defers, says why, and is delivered when it was mended."""
    path = homes.top / "bob" / ".forward"
    for kind, why in REFUSED.items():
        system.log_path.write_text("")
        make_refused(homes, kind)
        system.submit("-odq", "bob", text=TEXT)
        system.flush()
        homes.deferred(why)
        assert why in system.mailq()
        # Who mails him is told the fault, but not his words.
        assert PRIVATE_WORD not in system.log() + system.mailq()
        assert system.mailbox("bob") == []
        remove(path)
        system.flush()
        assert len(system.mailbox("bob")) == 1, kind
        (system.maildir / "bob").unlink()
    # Root's is as good as one's own; an empty one is none.
    homes.put("bob", ".forward", "~/kept", 0o644, "root")
    system.submit("-odq", "bob", text=TEXT)
    system.flush()
    assert len(mbox(homes.top / "bob" / "kept")) == 1
    homes.put("bob", ".forward", "# nothing\n")
    system.submit("-odq", "bob", text=TEXT)
    system.flush()
    assert len(system.mailbox("bob")) == 1


def test_file_that_cannot_be_is_named(system, homes):
    """One of an alias, and one of a ~/.forward."""
    system.aliases("list: /nonexistent/of-alias\n")
    homes.put("bob", ".forward", "/nonexistent/of-bob\n")
    system.submit("-odq", "list", "bob", text=TEXT)
    system.flush()
    for name in "of-alias", "of-bob":
        why = "the mailbox /nonexistent/%s: No such file" % name
        assert why in system.log() and why in system.mailq()


def test_home_that_is_not_there(system, homes):
    """On a file system that is not mounted; a daemon's need not exist."""
    system.submit("-odq", "postfix", "dovecot", text=TEXT)
    system.flush()
    homes.deferred("the home directory %s is not there"
                   % (homes.top / "postfix"))
    assert len(system.mailbox("dovecot")) == 1
    assert system.mailbox("postfix") == []
    (homes.top / "postfix").mkdir()
    system.flush()
    assert len(system.mailbox("postfix")) == 1


def test_daemon_whose_home_is_no_directory(system, homes):
    homes.accounts.write_text(homes.accounts.read_text().replace(
        "%s/none:/bin/false" % homes.top, "/dev/null:/bin/false"))
    system.submit("-odq", "dovecot", text=TEXT)
    system.flush()
    assert len(system.mailbox("dovecot")) == 1, system.log()


def test_home_that_he_cannot_reach(system, homes):
    (homes.top / "bob").chmod(0o755)
    inner = homes.top / "locked"
    inner.mkdir(mode=0o700)
    shutil.move(homes.top / "bob", inner / "bob")
    homes.accounts.write_text(homes.accounts.read_text().replace(
        str(homes.top / "bob"), str(inner / "bob")))
    system.submit("-odq", "bob", text=TEXT)
    system.flush()
    homes.deferred("is not there")
    inner.chmod(0o711)
    system.flush()
    assert len(system.mailbox("bob")) == 1


def test_loop(system, homes):
    """Two who forward to each other: told, once, and to whom."""
    homes.put("bob", ".forward", "alice@client.example\n")
    homes.put("alice", ".forward", "bob\n")
    system.submit("-f", "postfix@client.example", "bob", text=TEXT)
    (homes.top / "postfix").mkdir()
    wait_for(lambda: system.mailbox("postfix"), "the notice")
    system.wait_delivered()
    notice, = system.mailbox("postfix")
    assert "mail loop: the message was delivered to bob@client.example" in \
        notice.as_string()
    assert "5.4.6" in notice.as_string()
    # His own mailbox is no loop, whatever the message went through.
    homes.put("bob", ".forward", "\\bob\n")
    system.submit("bob", text="Delivered-To: bob@client.example\n" + TEXT)
    system.wait_delivered()
    assert len(system.mailbox("bob")) == 1


def test_loop_of_an_extension_with_a_blank(system, homes):
    """The line that tells of it has '_' there."""
    homes.put("bob", ".forward", "\"|%s 0\"\n" % homes.catch)
    for name, status in (("a_b", "bounced"), ("a_c", "sent")):
        system.log_path.write_text("")
        system.submit("-odq", "-f", "", '"bob+a b"', text=(
            "Delivered-To: bob+%s@client.example\n" % name + TEXT))
        system.flush()
        assert "status=" + status in system.log(), system.log()
        assert ("dsn=5.4.6" in system.log()) == (status == "bounced")
    text, = homes.caught()
    assert "\nDelivered-To: bob+a_b@client.example\n" in text


def test_extension(system, homes):
    homes.put("bob", ".forward", "~/plain\n")
    homes.put("bob", ".forward+lists", "\"|%s 0\"\n" % homes.catch)
    for name in ("bob+Lists", "BOB+other", "bob", "bob+../x", "bob+a/b"):
        system.submit("-odq", name, text=TEXT)
    system.flush()
    assert system.queue() == []
    text, = homes.caught()
    assert "\nEXTENSION=lists\n" in text
    assert "\nDelivered-To: bob+Lists@client.example\n" in text
    assert {m["Delivered-To"].split("@")[0]
            for m in mbox(homes.top / "bob" / "plain")} == {
                "bob", "bob+other", "bob+../x", "bob+a/b"}


MEANINGS = {64: "5.3.0", 65: "5.6.0", 67: "5.1.1", 68: "5.1.2", 77: "5.7.1",
            1: "5.3.0", 125: "5.3.0", 71: "4.3.0", 72: "4.3.0", 73: "4.2.0",
            74: "4.3.0", 75: "4.3.0", 78: "4.3.5", 126: "4.3.0",
            127: "4.3.0"}


def test_statuses_of_a_command(system, homes):
    sender = "postfix@client.example"
    (homes.top / "postfix").mkdir()
    for status in MEANINGS:
        homes.put("bob", ".forward+%d" % status,
                  "\"|%s %d\"\n" % (homes.catch, status))
    homes.put("bob", ".forward+signal", "\"|%s\"\n" % homes.script(
        "signal", "#!/bin/sh\ncat >/dev/null\necho dying\nkill -9 $$\n"))
    homes.put("bob", ".forward+none", "|/nonexistent/program\n")
    homes.put("bob", ".forward+mode", "|%s\n" % homes.put(
        "bob", "plain", "no program", 0o600))
    names = [*MEANINGS, "signal", "none", "mode"]
    system.submit("-odq", "-f", sender, *["bob+%s" % x for x in names],
                  text=TEXT)
    system.flush()
    log = system.log()
    for status, dsn in MEANINGS.items():
        line, = [x for x in log.splitlines() if "to=<bob+%d>" % status in x]
        verdict = "bounced" if dsn[0] == "5" else "deferred"
        assert "dsn=%s, status=%s" % (dsn, verdict) in line, line
        if status not in (127,):
            assert "ended with status %d: said %d" % (status, status) in line
    for name, words in (("signal", "was ended by signal 9: dying"),
                        ("none", "cannot execute /nonexistent/program: No "
                                 "such file"),
                        ("mode", "Permission denied")):
        line, = [x for x in log.splitlines() if "to=<bob+%s>" % name in x]
        assert "status=deferred" in line and words in line, line
    # What it said is in the notice.
    system.flush()
    assert "ended with status 67: said 67" in \
        system.mailbox("postfix")[0].as_string()


def test_failed_command_keeps_it_from_nobody(system, homes):
    (homes.top / "postfix").mkdir()
    homes.put("bob", ".forward", "\\bob, \"|%s 1\", \"|%s 0\"\n"
              % (homes.catch, homes.catch))
    system.submit("-f", "postfix@client.example", "bob", text=TEXT)
    system.wait_delivered()
    assert len(homes.caught(2)) == 2
    assert len(system.mailbox("bob")) == 1
    assert len(system.mailbox("postfix")) == 1


def test_deferred_command_keeps_it_from_the_rest(system, homes):
    """So that the rest has it once."""
    homes.put("bob", ".forward", "\\bob, \"|%s 75\", alice\n" % homes.catch)
    system.submit("-odq", "bob", text=TEXT)
    system.flush()
    system.flush()
    assert system.mailbox("bob") == system.mailbox("alice") == []
    homes.put("bob", ".forward", "\\bob, \"|%s 0\", alice\n" % homes.catch)
    system.flush()
    wait_for(lambda: system.mailbox("alice"), "the forwarded copy")
    system.wait_delivered()
    assert len(system.mailbox("bob")) == len(system.mailbox("alice")) == 1


def test_commands_that_misbehave(system, homes):
    """One reads nothing, one talks for ever, one leaves somebody behind."""
    homes.put("bob", ".forward+deaf", "|/bin/true\n")
    homes.put("bob", ".forward+talks", "\"|%s\"\n" % homes.script(
        "talks", "#!/bin/sh\nhead -c 3000000 /dev/zero | tr '\\0' x\n"
                 "cat >/dev/null\n"))
    homes.put("bob", ".forward+leaves", "\"|%s\"\n" % homes.script(
        "leaves", "#!/bin/sh\nsleep 987 & echo $! >%s/pid\n" % homes.place))
    big = "Subject: big\n\n" + "x" * 70 + "\n" * 1000000
    system.submit("-odq", "bob+deaf", "bob+talks", "bob+leaves", text=big)
    system.flush()
    assert system.queue() == [], system.log()
    left = (homes.place / "pid").read_text().strip()
    wait_for(lambda: not os.path.exists("/proc/" + left) or
             instance.read_stat(left)[1] in "ZX", "what was left to end")


def test_command_that_hangs(private, scratch):
    """Its time is over: it and all that it started are ended."""
    script = scratch / "hangs"
    script.write_text("#!/bin/sh\nsleep 988 &\necho waiting for $!\nwait\n")
    script.chmod(0o755)
    private.configure(TIMEOUTS=1, MAILBOX="|%s" % script)
    private.submit("-odq", private.user, text=TEXT)
    private.flush()
    line = next(x for x in private.log().splitlines() if "took too long" in x)
    assert "status=deferred" in line
    left = line.split("waiting for ")[1].split(")")[0]
    wait_for(lambda: not os.path.exists("/proc/" + left) or
             instance.read_stat(left)[1] in "ZX", "what it started to end")


def test_maildir_for_all(system, homes):
    system.configure(MAILBOX="~/Maildir/")
    # Nobody's mailbox is locked for it.
    lock = system.maildir / "bob.lock"
    lock.write_text("1\n")
    for n in range(5):
        system.submit("-odq", "bob", text="Subject: %d\n\nFrom me\n" % n)
    system.flush()
    box = homes.top / "bob" / "Maildir"
    assert sorted(m["Subject"] for m in maildir(box)) == list("01234")
    assert all(m.get_payload() == "From me\n" for m in maildir(box))
    for name in ("", "tmp", "new", "cur"):
        st = (box / name).stat()
        assert stat.S_IMODE(st.st_mode) == 0o700
        assert st.st_uid == pwd.getpwnam("bob").pw_uid
    assert os.listdir(box / "tmp") == []
    assert len(os.listdir(box / "new")) == 5
    assert os.listdir(system.maildir) == ["bob.lock"]


def test_root_s_mail_stays(system, homes):
    """No list, no Maildir, no command as root."""
    system.configure(MAILBOX="|%s 0" % homes.catch)
    homes.put("root", ".forward", "\"|%s 0\", bob\n" % homes.catch)
    system.submit("-odq", "root", "bob", text=TEXT)
    system.flush(user="root")
    assert len(system.mailbox("root")) == 1
    text, = homes.caught()
    assert "RECIPIENT=bob@client.example\n" in text
    assert sorted(os.listdir(system.maildir)) == ["root"]


def test_configuration_that_others_may_change(system, homes):
    """It could make the mail of others run as they: deferred."""
    system.submit("-odq", "bob", "root", text=TEXT)
    system.conf_path.chmod(0o664)
    system.flush(user="root")
    homes.deferred("others than root may change it")
    assert len(system.mailbox("root")) == 1  # nothing is asked for it
    system.conf_path.chmod(0o640)
    os.chown(system.conf_path, 0, pwd.getpwnam("mail").pw_gid)
    system.flush(user="root")
    assert len(system.mailbox("bob")) == 1
    os.chown(system.conf_path, 0, 0)


def test_targets_of_aliases(system, homes):
    account = pwd.getpwnam("dmatest")
    system.configure(ALIASUSER="dmatest")
    readable = homes.place / "shared"
    readable.write_text("")
    readable.chmod(0o666)
    system.aliases(
        "list: %s/new, \"|%s 'x y' 0\", %s/dir/, /dev/null\n"
        "shared: %s\n" % (homes.place, homes.catch, homes.place, readable))
    system.submit("-odq", "list", "shared+ext", text=TEXT)
    system.flush()
    assert system.queue() == [], system.log()
    for path in homes.place / "new", homes.place / "dir":
        assert path.stat().st_uid == account.pw_uid
    one, = mbox(homes.place / "new")
    assert one["Delivered-To"] == "list@client.example"
    assert len(maildir(homes.place / "dir")) == 1
    assert len(mbox(readable)) == 1
    text, = homes.caught()
    assert "\nUSER=dmatest\n" in text and "\nHOME=/\n" in text
    assert "\narg <x y>\n" in text and "\n/\n" in text


def test_target_that_the_alias_file_no_longer_has(system, homes):
    system.aliases("list: \"|%s 0\"\n" % homes.catch)
    system.submit("-odq", "list", text=TEXT)
    system.aliases("list: \"|%s 1\"\n" % homes.catch)
    system.flush()
    homes.deferred("the alias file no longer has")
    assert list(homes.place.glob("caught.*")) == []
    system.aliases("list: \"|%s 0\"\n" % homes.catch)
    system.alias_path.chmod(0o664)
    system.flush()
    homes.deferred("can be changed by others")
    system.alias_path.chmod(0o644)
    system.flush()
    assert len(homes.caught()) == 1


@pytest.mark.parametrize("user", ["root", "mail", "no-such-user"])
def test_alias_user_with_power(system, homes, user):
    system.aliases("list: \"|%s 0\"\n" % homes.catch)
    system.configure(ALIASUSER=user)
    result = system.run("-odq", "list", text=TEXT)
    if result.exit == 0:
        system.flush()
        wait_for(lambda: "status=deferred" in system.log(), "a deferral")
    assert list(homes.place.glob("caught.*")) == []


def test_kinds_of_a_private_mailbox(private, scratch):
    place = private.directory / "boxes"
    place.mkdir()
    private.own(place)
    script = scratch / "mda"
    script.write_text("#!/bin/sh\ncat >%s/command\n" % place)
    script.chmod(0o755)
    for box in ("%s/mbox" % place, "%s/dir/" % place, "|%s" % script):
        private.configure(MAILBOX=box)
        private.submit("-odq", private.user, text=TEXT)
        private.flush()
        assert private.queue() == []
    assert len(mbox(place / "mbox")) == 1
    assert len(maildir(place / "dir")) == 1
    assert (place / "command").read_text().endswith("\nhello\nFrom here\n")


def test_full_maildir(system, homes):
    """A quota, say: deferred, and nothing half is left."""
    box = homes.top / "bob" / "Maildir"
    box.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700,uid=%d"
                    % pwd.getpwnam("bob").pw_uid, "tmpfs", box], check=True)
    try:
        system.configure(MAILBOX="~/Maildir/")
        system.submit("-odq", "bob", text="Subject: x\n\n" + "x\n" * 100000)
        system.flush()
        homes.deferred("the mailbox is full")
        assert "dsn=4.2.2" in system.log()
        assert os.listdir(box / "tmp") == os.listdir(box / "new") == []
    finally:
        subprocess.run(["umount", box], check=True)


# ---- Programs that people use ----

def program(name):
    path = servers.cache() / "mdas" / "root" / "usr/bin" / name
    if not path.exists():
        pytest.skip("%s is not unpacked here" % name)
    return path


def test_procmail(system, homes):
    procmail = program("procmail")
    homes.put("bob", ".procmailrc",
              "DEFAULT=$HOME/inbox\n:0\n* ^Subject: .*list\n$HOME/lists/\n")
    system.configure(MAILBOX="|%s" % procmail)
    system.submit("-odq", "-f", "eve@x.example", "bob", text=TEXT)
    system.submit("-odq", "bob", text="Subject: the list\n\nx\n")
    system.flush()
    assert system.queue() == [], system.log()
    one, = mbox(homes.top / "bob" / "inbox")
    assert one["Return-Path"] == "<eve@x.example>"
    assert one.get_from().startswith("eve@x.example ")
    assert len(maildir(homes.top / "bob" / "lists")) == 1
    # And in a list of one's own, beside the mailbox.
    system.configure()
    homes.put("bob", ".forward", "\\bob, \"|%s -t\"\n" % procmail)
    system.submit("-odq", "bob", text=TEXT)
    system.flush()
    assert len(mbox(homes.top / "bob" / "inbox")) == 2
    assert len(system.mailbox("bob")) == 1


def test_maildrop(system, homes):
    maildrop = program("maildrop")
    libraries = ":".join(sorted({str(p.parent) for p in (
        servers.cache() / "mdas" / "root").rglob("*.so.*")}))
    # Without its set-id bits, so that it finds its libraries.
    shutil.copyfile(maildrop, homes.top / "maildrop.real")
    (homes.top / "maildrop.real").chmod(0o755)
    wrapper = homes.script(
        "maildrop", "#!/bin/sh\nexec env LD_LIBRARY_PATH=%s %s \"$@\"\n"
        % (libraries, homes.top / "maildrop.real"))
    homes.put("bob", ".mailfilter",
              "if (/^Subject: .*refuse/)\n{\n  EXITCODE=77\n  exit\n}\n"
              "to \"inbox\"\n")
    (homes.top / "postfix").mkdir()
    system.configure(MAILBOX="|%s" % wrapper)
    system.submit("-odq", "bob", text=TEXT)
    system.submit("-odq", "-f", "postfix@client.example", "bob",
                  text="Subject: refuse\n\nx\n")
    system.flush()
    assert len(mbox(homes.top / "bob" / "inbox")) == 1
    assert "dsn=5.7.1, status=bounced" in system.log()


def test_dovecot_reads_the_maildir(system, homes, scratch):
    servers.require("postfix")  # it came with that
    system.configure(MAILBOX="~/Maildir/")
    system.submit("-odq", "bob", text=TEXT)
    system.submit("-odq", "bob", text="Subject: two\n\nagain\n")
    system.flush()
    root = servers.Root(["postfix"], scratch, 900)
    try:
        shutil.copytree(homes.top / "bob", root.inside("/var/vmail/bob"),
                        copy_function=shutil.copy2)
        root.run("chown", "-R", "bob:bob", "/var/vmail/bob")
        root.write("/etc/dovecot/dovecot.conf", "first_valid_uid = 1\n"
                   "mail_location = maildir:/var/vmail/bob/Maildir\n")
        found = root.run("chroot", "--userspec=bob:bob", "/", "env",
                         "USER=bob", "HOME=/var/vmail/bob", "doveadm",
                         "fetch", "hdr.subject body", "all")
    finally:
        root.leave()
    assert "hello" in found and "From here" in found and "again" in found
    assert found.count("hdr.subject: ") == 2
