# SPDX-License-Identifier: BSD-3-Clause
"""The installed tree: rights, several users, mailboxes, what crosses."""

import os
import pwd
import re
import stat
import subprocess
import threading

import pytest

import house
import instance

CRON = ("From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@client> job\n"
        "MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n"
        "Content-Transfer-Encoding: 8bit\nX-Cron-Env: <SHELL=/bin/sh>\n"
        "Auto-Submitted: auto-generated\n\njob output\n")


def group_of_spool():
    return pwd.getpwnam("mail").pw_gid


# ---- Rights ----

@pytest.mark.parametrize("path, mode, group", [
    ("usr/sbin/dma", 0o2755, "mail"),
    ("usr/libexec/dma/dma-become", 0o4750, "mail"),
    ("usr/libexec/dma/dma-smtp", 0o711, "root"),
    ("usr/libexec/dma/dma-local", 0o711, "root"),
    ("var/spool/dma", 0o2770, "mail"),
    ("etc/dma/auth.conf", 0o640, "mail"),
])
def test_mode(installed, path, mode, group):
    facts = os.stat(installed.root / path)
    assert stat.S_IMODE(facts.st_mode) == mode
    assert facts.st_uid == 0
    assert facts.st_gid == (group_of_spool() if group == "mail" else 0)


@pytest.mark.parametrize("name", [
    "sbin/sendmail", "sbin/send-mail", "sbin/dmactl", "lib/sendmail",
    "bin/mailq", "bin/newaliases"])
def test_names(installed, name):
    target = (installed.prefix / name).resolve()
    assert target == installed.bin / "dma"


@pytest.mark.parametrize("name", ["sendmail", "mailq", "newaliases", "dmactl"])
def test_manual_by_each_name(installed, name):
    pages = installed.prefix / "share/man/man8"
    assert (pages / (name + ".8")).samefile(pages / "dma.8")


def test_install_says_what_is_left_to_do(installed):
    assert "dmactl run" in installed.install_output


def test_install_keeps_a_configuration(system):
    system.configure("# mine")
    before = system.conf_path.read_text()
    system.install()
    assert system.conf_path.read_text() == before


def test_install_narrows_an_old_spool(system):
    system.spool.chmod(0o2775)
    system.install()
    assert stat.S_IMODE(system.spool.stat().st_mode) == 0o2770


def staged(installed, destination, target, user=None):
    more = {}
    if user:
        account = pwd.getpwnam(user)
        more = {"user": account.pw_uid, "group": account.pw_gid,
                "extra_groups": []}
    return subprocess.run(
        ["make", "-s", "-f", house.TOP / "Makefile", target,
         "DESTDIR=%s" % destination, *installed.variables()],
        cwd=installed.build, capture_output=True, text=True, check=False,
        **more)


def files_under(directory):
    return sorted(os.path.join(where, name)
                  for where, _, names in os.walk(directory)
                  for name in names)


def test_uninstall_leaves_configuration_and_mail(installed, scratch):
    stage = scratch / "stage"
    assert staged(installed, stage, "install").returncode == 0
    assert len(files_under(stage)) >= 10
    done = staged(installed, stage, "uninstall")
    assert done.returncode == 0, done.stderr
    left = [os.path.basename(p) for p in files_under(stage)]
    assert sorted(left) == ["auth.conf", "dma.conf"]
    assert (str(stage) + str(installed.spool)) in [
        where for where, _, _ in os.walk(stage)]


def test_foreign_sendmail_is_left(installed, scratch):
    stage = scratch / "stage2"
    other = stage / str(installed.bin).lstrip("/") / "sendmail"
    other.parent.mkdir(parents=True)
    other.write_text("somebody else's")
    done = staged(installed, stage, "install")
    assert done.returncode == 0
    assert other.read_text() == "somebody else's"
    assert str(other) in done.stdout


# ---- What dma is made of ----

def undefined_symbols(program, *flags):
    done = subprocess.run(["nm", *(flags or ["-D"]), "--undefined-only",
                           program],
                          capture_output=True, text=True, check=True)
    return re.findall(r"U (\w+)", done.stdout)


@pytest.mark.rows("S-01")
def test_dma_has_no_tls_and_no_resolver(built):
    symbols = undefined_symbols(built / "dma")
    assert "open" in symbols or "openat" in symbols or \
        "openat64" in symbols or "open64" in symbols
    for name in symbols:
        assert not re.match(
            r"(SSL_|EVP_|X509|ERR_|BIO_|_?_?res_|ns_|dn_|getaddrinfo|"
            r"gethostby)", name), name


def test_one_place_of_dma_connects_and_only_locally(built):
    """handover.c, to a local socket; only it and the log open any."""
    text = (house.TOP / "handover.c").read_text()
    assert re.findall(r"\bsocket\((\w+)", text) == ["AF_UNIX"]
    assert "sockaddr_un" in text
    assert not re.search(r"sockaddr_in|sockaddr_storage", text)
    made = re.search(r"^DMA_OBJS=(.*?)^BECOME", (
        house.TOP / "sources.mk").read_text(), re.M | re.S)[1].split()
    assert [o for o in made if o.endswith(".o") and
            "connect" in undefined_symbols(built / o, "-p")] == ["handover.o"]


@pytest.mark.parametrize("program", ["dma-become", "dma-local"])
def test_others_have_no_tls_either(built, program):
    for name in undefined_symbols(built / program):
        assert not re.match(r"(SSL_|EVP_|res_|getaddrinfo)", name), name


@pytest.mark.rows("S-01")
def test_submission_uses_no_socket_but_unix(system, smtp, tmp_path):
    """Traced through the runner too: only agents speak to the network."""
    if subprocess.run(["which", "strace"], capture_output=True,
                      check=False).returncode:
        pytest.skip("strace is not here")
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-u", "alice", "-o", trace, "-e",
         "trace=socket,socketpair,execve", system.bin / "sendmail", "-odq",
         "b@x.example"], input=b"Subject: s\n\nx\n", capture_output=True,
        check=False)
    assert done.returncode == 0, done.stderr
    text = trace.read_text()
    assert "execve(" in text
    for line in text.splitlines():
        if "socket" in line:
            assert "AF_UNIX" in line, line
    assert "AF_INET" not in text


@pytest.mark.parametrize("user", ["alice", "root"])
def test_version(system, user):
    lines = system.run("--version", user=user).out.splitlines()
    assert len(lines) == 3 and lines[1].startswith("TLS: OpenSSL ")


# ---- A user's way ----

def test_user_submits_and_it_arrives(system, smtp):
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    system.submit("-t", text="To: b@x.example\nSubject: one\n\nx\n")
    system.wait_delivered()
    system.wait_idle()
    (message,) = sink.messages
    assert message.sender == "alice@client.example"


def test_queue_file_belongs_to_its_sender_and_is_out_of_reach(system):
    system.submit("-odq", "b@x.example", text="Subject: s\n\nsecret\n")
    (name,) = system.queue()
    facts = os.stat(system.spool / name)
    assert facts.st_uid == pwd.getpwnam("alice").pw_uid
    assert facts.st_gid == group_of_spool()
    assert stat.S_IMODE(facts.st_mode) == 0o660
    for user in ("alice", "bob", "dmatest"):
        account = pwd.getpwnam(user)
        done = subprocess.run(
            ["cat", system.spool / name], user=account.pw_uid,
            group=account.pw_gid, extra_groups=[], capture_output=True,
            check=False)
        assert done.returncode != 0


def test_mail_of_root_belongs_to_the_spool_user(system):
    system.submit("-odq", "b@x.example", user="root")
    (name,) = system.queue()
    facts = os.stat(system.spool / name)
    assert facts.st_uid == pwd.getpwnam("mail").pw_uid


@pytest.mark.rows("S-02", "S-04", "D-22")
def test_agent_runs_as_its_own_user(system, smtp):
    """Who parses the network has no group, no spool, no root."""
    script = smtp.script("! stall\n", host="192.0.2.1")
    system.relay(script)
    system.submit("b@x.example")
    instance.wait_for(lambda: script.connections, "a connection")
    agents = [p for p, n in instance.processes().items() if n == "dma-smtp"]
    assert len(agents) == 1
    status = open("/proc/%d/status" % agents[0], encoding="ascii").read()
    account = pwd.getpwnam("dmatest")
    ids = dict(re.findall(r"^(Uid|Gid|Groups):\s*(.*)$", status, re.M))
    assert ids["Uid"].split() == [str(account.pw_uid)] * 4
    assert ids["Gid"].split() == [str(account.pw_gid)] * 4
    assert ids["Groups"].split() in ([], [str(account.pw_gid)])
    assert re.search(r"^CapEff:\s*0+$", status, re.M)
    # Descriptors: none of the spool, nothing writable of a file.
    for fd in os.listdir("/proc/%d/fd" % agents[0]):
        target = os.readlink("/proc/%d/fd/%s" % (agents[0], fd))
        if target.startswith(str(system.spool)):
            info = open("/proc/%d/fdinfo/%s" % (agents[0], fd),
                        encoding="ascii").read()
            flags = int(re.search(r"flags:\s*(\d+)", info)[1], 8)
            assert flags & os.O_ACCMODE == os.O_RDONLY


@pytest.mark.rows("V-35", "L-93", "L-95", "S-07", "D-09")
def test_two_users_do_not_touch_each_other_s_mail(system, smtp):
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    system.submit("-odq", "a@x.example", user="alice")
    system.submit("-odq", "b@x.example", user="bob")
    system.flush(user="alice")
    assert sink.recipients_seen() == ["a@x.example"]
    assert "a@x.example" not in system.mailq(user="bob")
    assert "b@x.example" in system.mailq(user="bob")
    assert system.mailq(user="alice").splitlines()[-1].endswith("1 Request.")
    system.flush(user="root")
    assert sink.recipients_seen() == ["a@x.example", "b@x.example"]


def test_root_sees_and_runs_the_whole_queue(system, smtp):
    for user in ("alice", "bob", "root"):
        system.submit("-odq", user + "@x.example", user=user)
    listing = system.mailq(user="root")
    for user in ("alice", "bob", "root"):
        assert user + "@x.example" in listing
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    result = system.run("run", name="dmactl", user="root")
    assert result.exit == 0, result
    system.wait_delivered()
    assert len(sink.messages) == 3


@pytest.mark.rows("L-98")
def test_submissions_of_two_users_at_once(system, smtp):
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)

    def submit(user):
        for number in range(25):
            system.submit("b@x.example", user=user,
                          text="Subject: %s.%d\n\nx\n" % (user, number))
    threads = [threading.Thread(target=submit, args=(u,))
               for u in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    system.wait_delivered(30)
    system.wait_idle(30)
    assert sink.subjects() == sorted(
        "%s.%d" % (u, n) for u in ("alice", "bob") for n in range(25))


@pytest.mark.rows("L-52")
@pytest.mark.parametrize("which", ["dma.conf", "auth.conf", "aliases"])
@pytest.mark.parametrize("how", ["owner", "0666", "0664", "link"])
def test_files_that_a_user_can_write(system, smtp, which, how):
    """Said, and nothing queued; an alias file that all can write is as if it
    were not there, because mail may not wait for it."""
    system.relay(smtp.sink(host="192.0.2.1"), login="u:canary")
    system.aliases("bob: carol\n")
    path = {"aliases": system.alias_path}.get(which, system.confdir / which)
    before, other = path.stat(), system.root / "other"
    if how == "owner" or how == "link":
        os.chown(path, pwd.getpwnam("alice").pw_uid, before.st_gid)
    if how == "link":
        path.rename(other)
        path.symlink_to(other)
    elif how != "owner":
        path.chmod(int(how, 8))
    try:
        result = system.run("-odq", "bob", text="Subject: s\n\nx\n")
    finally:
        if how == "link":
            other.replace(path)
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(stat.S_IMODE(before.st_mode))
    want = {("dma.conf", "owner"): "does not belong to root",
            ("dma.conf", "link"): "does not belong to root",
            ("dma.conf", "0666"): "can be changed by everybody",
            ("auth.conf", "0666"): "is open to everybody",
            ("auth.conf", "0664"): "is open to everybody"}.get((which, how))
    if want:
        assert result.exit == 78 and want in result.err, result
        assert str(path) in result.err and system.queue() == []
        return
    assert (result.exit, result.err) == (0, ""), result
    assert ("carol" in system.mailq()) == (path.name != "aliases" or how != "0666")


@pytest.mark.rows("L-46")
def test_without_a_configuration(system):
    """The defaults."""
    system.conf_path.unlink()
    result = system.run("-odq", "b@x.example", text="Subject: s\n\nx\n")
    assert (result.exit, result.err) == (0, "")
    assert len(system.queue()) == 1


@pytest.mark.parametrize("mode, owner, said", [
    (0o644, "root", "chmod g+w it"), (0o666, "alice", "of root")])
def test_log_that_cannot_be_used(system, mode, owner, said):
    """The mail is taken all the same, and what helps is said."""
    path = system.root / "our.log"
    path.write_text("")
    path.chmod(mode)
    os.chown(path, pwd.getpwnam(owner).pw_uid, 0)
    system.configure("DEFER", LOG=path)
    result = system.run("b@x.example", text="x\n")
    assert result.exit == 0 and len(system.queue()) == 1
    assert "%s: cannot log there: " % path in result.err
    assert said in result.err and result.err.count("\n") == 1
    path.unlink()


@pytest.mark.rows("L-91")
def test_a_user_without_an_account(system, smtp):
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    done = subprocess.run(
        [system.bin / "sendmail", "b@x.example"], input=b"Subject: s\n\nx\n",
        user=61234, group=61234, extra_groups=[], env={}, check=False,
        capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    system.wait_delivered()
    assert "61234" in sink.messages[0].sender


def without_account(name):
    """The user database from now on, and what it was before."""
    accounts = house.ROOT_SCRATCH / "etc" / "passwd"
    before = accounts.read_text()
    accounts.write_text("".join(
        line for line in before.splitlines(True)
        if not line.startswith(name + ":")))
    return accounts, before


@pytest.mark.rows("L-83")
def test_user_who_is_gone_when_it_is_delivered(system):
    system.submit("-odq", "bob")
    accounts, before = without_account("bob")
    try:
        system.flush()
        system.wait_delivered()
    finally:
        accounts.write_text(before)
    assert not os.path.lexists(system.maildir / "bob")
    (notice,) = system.mailbox("alice")
    assert "Status: 5.1.1" in notice.as_string()


@pytest.mark.rows("L-86")
def test_no_answer_about_a_user_is_not_a_no(system):
    """The user database fails; the mail waits, and arrives."""
    if subprocess.run(["which", "strace"], capture_output=True,
                      check=False).returncode:
        pytest.skip("strace is not here")
    system.submit("-odq", "bob")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/etc/passwd", "-u",
         "alice", "-e", "trace=openat", "-e", "inject=openat:error=EMFILE",
         system.bin / "sendmail", "-q"], capture_output=True, check=False)
    assert done.returncode == 0, done
    assert len(system.queue()) == 1
    assert "status=bounced" not in system.log()
    system.flush(user="root")
    assert len(system.mailbox("bob")) == 1


@pytest.mark.rows("L-86")
@pytest.mark.parametrize("error", ["EMFILE", "ENOENT", "EIO"])
@pytest.mark.parametrize("args", [("-bs",), ("-bv", "bob")])
def test_no_answer_while_somebody_asks(system, error, args):
    """No recipient is refused for it, for good or at all: it is kept, and the
    database is asked again when it is delivered."""
    if subprocess.run(["which", "strace"], capture_output=True,
                      check=False).returncode:
        pytest.skip("strace is not here")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", "/etc/passwd", "-u",
         "alice", "-e", "trace=openat", "-e", "inject=openat:error=" + error,
         system.bin / "sendmail", "-odq", *args],
        input=b"EHLO me\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<bob>\r\n"
        b"DATA\r\nSubject: s\r\n\r\nx\r\n.\r\nQUIT\r\n",
        capture_output=True, check=False)
    said = done.stdout.decode()
    if args[0] == "-bv":
        assert said == "bob: error 4.3.0 cannot look up users now\n", done
        return
    assert done.returncode == 0, done
    assert re.search("^250 .*queued as", said, re.M) and "\n5" not in said
    system.flush(user="root")
    assert len(system.mailbox("bob")) == 1


# ---- Mailboxes ----

def test_cron_mail_to_root_lands_with_a_person(system):
    system.aliases("root: bob\n")
    system.submit("-FCronDaemon", "-i", "-B8BITMIME", "-oem", "root",
                  user="root", text=CRON)
    system.wait_delivered()
    (message,) = system.mailbox("bob")
    assert message["Subject"] == "Cron <root@client> job"
    assert message.get_payload() == "job output\n"
    facts = os.stat(system.maildir / "bob")
    assert facts.st_uid == pwd.getpwnam("bob").pw_uid
    assert facts.st_gid == group_of_spool()
    assert stat.S_IMODE(facts.st_mode) == 0o660
    system.wait_idle()
    assert os.listdir(system.maildir) == ["bob"], "a lock is left"


def test_cron_mail_to_root_through_a_smarthost(system, smtp, trusted):
    sink = smtp.sink(host="192.0.2.1", tls="starttls", need_tls=True,
                     cert=trusted.leaf("192.0.2.1"), auth={"u": "p"})
    system.aliases("root: admin@x.example\n")
    system.relay(sink, login="u:p")
    system.submit("-FCronDaemon", "-odi", "-oem", "-oi", "-t", user="root",
                  text=CRON)
    system.wait_delivered()
    (message,) = sink.messages
    assert message.recipients == ["admin@x.example"]
    assert message.connection.user == "u"
    assert message.connection.tls["version"].startswith("TLS")


def test_mail_of_one_user_to_another(system):
    system.submit("bob", text="Subject: hello\n\nFrom here\n")
    system.wait_delivered()
    (message,) = system.mailbox("bob")
    assert message["Return-Path"] == "<alice@client.example>"
    assert message.get_payload() == ">From here\n"


def test_root_without_an_alias_has_a_mailbox(system):
    system.submit("root")
    system.wait_delivered()
    assert len(system.mailbox("root")) == 1


def test_notice_lands_with_the_sender(system, smtp):
    sink = smtp.sink(host="192.0.2.1",
                     recipients={"no@x.example": "550 5.1.1 unknown"})
    system.relay(sink)
    system.submit("no@x.example", "yes@x.example")
    system.wait_delivered()
    (notice,) = system.mailbox("alice")
    assert notice.get_content_type() == "multipart/report"
    assert sink.recipients_seen() == ["yes@x.example"]


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
@pytest.mark.rows("V-30", "L-75", "D-17", "D-18")
def test_hostile_mailbox_defers(system, kind):
    """What bob puts in his mailbox's place harms nobody, loses nothing."""
    victim = system.root / "victim"
    victim.write_text("untouched\n")
    place = system.maildir / "bob"
    if kind == "link":
        place.symlink_to(victim)
    elif kind == "hard link":
        os.link(victim, place)
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.mkdir()
    system.submit("bob")
    system.wait_deferred()
    assert victim.read_text() == "untouched\n"
    assert len(system.queue()) == 1
    if kind == "directory":
        place.rmdir()
    else:
        place.unlink()
    victim.unlink()
    system.flush(user="root")
    assert len(system.mailbox("bob")) == 1


@pytest.mark.rows("V-33")
def test_many_at_once_into_one_mailbox(system):
    def submit(user):
        for number in range(10):
            system.submit("bob", user=user,
                          text="Subject: %s.%d\n\nx\n" % (user, number))
    threads = [threading.Thread(target=submit, args=(u,))
               for u in ("alice", "bob", "root")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    system.wait_delivered(60)
    system.wait_idle()
    assert sorted(m["Subject"] for m in system.mailbox("bob")) == sorted(
        "%s.%d" % (u, n) for u in ("alice", "bob", "root") for n in range(10))
    assert os.listdir(system.maildir) == ["bob"]


# ---- Limits, doors ----

def test_no_new_privileges_leaves_it_to_the_system_s_run(system, smtp):
    """Under no_new_privs the set-id bits are void too: a service with
    SupplementaryGroups=mail, say.  The mail is kept for root's run."""
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    account = pwd.getpwnam("alice")
    done = subprocess.run(
        ["setpriv", "--no-new-privs", "--reuid=alice",
         "--regid=%d" % group_of_spool(), "--clear-groups",
         system.bin / "sendmail", "b@x.example"],
        input=b"Subject: s\n\nx\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    system.wait_idle()
    (name,) = system.queue()
    assert os.stat(system.spool / name).st_uid == account.pw_uid
    assert sink.messages == []
    system.flush(user="root")
    assert len(sink.messages) == 1


@pytest.mark.rows("V-15", "L-96")
def test_cpu_limit_of_the_caller_costs_no_mail(system, smtp):
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    done = subprocess.run(
        ["prlimit", "--cpu=1:1", "setpriv", "--reuid=alice", "--regid=alice",
         "--clear-groups", system.bin / "sendmail", "b@x.example"],
        input=b"Subject: s\n\nx\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    system.wait_idle()
    system.flush(user="root")
    assert len(sink.messages) == 1
    assert system.queue() == []


def test_secrets_that_the_group_cannot_read(system, smtp):
    """As an administrator makes them by hand: the line says what to do."""
    system.relay(smtp.sink(), login="u:p")
    path = system.confdir / "auth.conf"
    os.chmod(path, 0o600)
    result = system.run("b@x.example", text="x\n")
    assert result.exit == 78, result
    assert "Permission denied: chgrp mail and chmod g+r %s\n" % path \
        in result.err


@pytest.mark.rows("V-27")
def test_private_instance_gives_up_the_group(system, scratch):
    """-C cannot be used to read or write the system's spool."""
    conf = scratch / "evil.conf"
    conf.write_text("SPOOLDIR %s\n" % system.spool)
    conf.chmod(0o644)
    os.chown(conf, pwd.getpwnam("alice").pw_uid, 0)
    for args in (["b@x.example"], ["-bp"], ["-q"]):
        result = system.run("-C", str(conf), *args, text="x\n")
        assert result.exit == 72, result
    conf.unlink()


def knock(installed, group):
    """Execute dma-become as alice, with a group."""
    return subprocess.run(
        [installed.libexec / "dma-become", "smtp"], check=False,
        user=pwd.getpwnam("alice").pw_uid, group=group, extra_groups=[],
        stdin=subprocess.DEVNULL, capture_output=True)


@pytest.mark.rows("L-84", "S-15")
def test_door_without_its_right(system):
    door = system.libexec / "dma-become"
    door.chmod(0o750)
    try:
        system.run("-D", "bob", text="x\n")
        assert "dma-become must be set-user-id root" in system.mailq()
    finally:
        door.chmod(0o4750)
    assert system.run("-q").exit == 0
    assert len(system.mailbox("bob")) == 1


def test_door_is_shut_to_others(installed):
    """Without the spool's group it cannot even be executed."""
    with pytest.raises(PermissionError):
        knock(installed, pwd.getpwnam("alice").pw_gid)


def test_door_wants_its_socket(installed):
    """With the group but without the runner's socket: refused."""
    assert knock(installed, group_of_spool()).returncode == 77


@pytest.mark.parametrize("mode", [0o2775, 0o2777, 0o2750])
@pytest.mark.rows("L-57")
def test_spool_with_the_wrong_mode(system, mode):
    system.spool.chmod(mode)
    result = system.run("b@x.example", text="x\n")
    system.spool.chmod(0o2770)
    assert result.exit == 72, result
    assert system.queue() == [] and system.traces() == []


def test_users_cannot_kill_the_mail_of_others(system, smtp):
    """A runner belongs to its sender: his kill delays his own mail only."""
    script = smtp.script("! stall\n" + "== connection\n! stall\n",
                         host="192.0.2.1")
    system.relay(script)
    system.submit("a@x.example", user="alice")
    system.submit("b@x.example", user="bob")
    instance.wait_for(lambda: len(script.connections) >= 2, "both runners")
    instance.kill_all()
    sink = smtp.again(script)
    system.relay(sink)
    system.flush(user="root")
    assert sink.recipients_seen() == ["a@x.example", "b@x.example"]
    assert system.queue() == []
