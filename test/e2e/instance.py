# SPDX-License-Identifier: BSD-3-Clause
"""A dma to test: a private instance (any user) or an installed one (root).

A test speaks to it as callers do: command lines, stdin, exit statuses; and
looks at what anybody can look at: mailq, the log, mailboxes, processes.
"""

import base64
import mailbox
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import time

import house
import smtpd

QUEUE_ID = re.compile(r"^[0-9A-V]{20}(w|s[0-9]+)?(x[0-9]+)*$")
OURS = ("dma", "sendmail", "send-mail", "mailq", "dmactl", "newaliases",
        "dma-smtp", "dma-local", "dma-become")
PATIENCE = int(os.environ.get("DMA_PATIENCE", "1"))  # programs are so slow
BOUND = 15 * PATIENCE  # seconds that a test waits for anything
COMMAND_BOUND = 120  # seconds that any command may take


def wait_for(condition, what, bound=BOUND):
    """Until condition() is true; never longer than bound seconds."""
    end = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited %d s for: %s" % (bound, what)
        time.sleep(0.01)


# ---- Processes: all that we ever started descend from this one ----

def read_stat(pid):
    try:
        with open("/proc/%s/stat" % pid, encoding="latin-1") as file:
            text = file.read()
    except OSError:
        return None
    name = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return name, fields[0], int(fields[1]), int(fields[3])


def processes():
    """{pid: name} of every live process of dma beneath us."""
    table = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            stat = read_stat(pid)
            if stat:
                table[int(pid)] = stat
    me, found = os.getpid(), {}
    for pid, (name, state, parent, session) in table.items():
        if name not in OURS:
            continue
        up = parent
        while up in table and up != me:
            up = table[up][2]
        if up != me:
            continue
        if state in "ZX":
            # An orphan that became ours, not a child of subprocess.
            if parent == me and session != os.getsid(0):
                reap(pid)
            continue
        found[pid] = name
    return found


def reap(pid):
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        pass


def kill_all():
    """No process of ours outlives its test."""
    def gone():
        left = processes()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        return not left
    wait_for(gone, "the processes of this test to end")


# ---- Secrets: what a test's login has must come out nowhere ----

def secret_forms(user, password):
    """A password as it is, in base64 at each of the three places in it, and
    as PLAIN and LOGIN say it; in hex, as a trace may have it.  What CRAM-MD5
    made of it the servers know: smtpd.RESPONSES."""
    plain = password.encode()
    forms = {plain}
    for skip in range(3):
        text = base64.b64encode(b"\0" * skip + plain)
        # What neighbours share bits with is left out.
        forms.add(text[(0, 2, 3)[skip]:(len(plain) + skip) * 8 // 6])
    whole = "\0%s\0%s" % (user, password)
    forms.add(base64.b64encode(whole.encode()).rstrip(b"="))
    forms.update([plain.hex().encode(), plain.hex().upper().encode()])
    return forms if len(plain) >= 6 else set()


class Result:
    def __init__(self, done):
        self.exit = done.returncode
        self.out = done.stdout.decode("utf-8", "surrogateescape")
        self.err = done.stderr.decode("utf-8", "surrogateescape")

    def __repr__(self):
        return "exit %d\nstdout: %s\nstderr: %s" % (
            self.exit, self.out, self.err)


class Instance:
    """What both kinds have in common."""

    user = None  # who runs commands unless a test says otherwise
    bin = None  # directory of sendmail, mailq
    conf_path = spool = log_path = None
    first_args = ()
    secrets = frozenset()
    insecure = False  # it was configured to say passwords in plain text

    def keep_secret(self, user, password, keys):
        """From here on no output, log, mail or queue file may have it."""
        self.secrets |= secret_forms(user, password)
        own = keys.get("CERTFILE")
        if own and os.path.exists(own):
            key = re.search(r"PRIVATE KEY-----\n(.{40})",
                            pathlib.Path(own).read_text())
            self.secrets |= {key[1].encode()} if key else set()

    def places(self):
        """Directories and files in which secrets are looked for."""
        return [self.spool, self.log_path]

    def check_secrets(self):
        if not self.secrets:
            return
        files = [x for place in map(pathlib.Path, self.places())
                 for x in ([place] if place.is_file() else place.rglob("*"))]
        for path in files:
            if path.is_file():
                self.check_text(path.read_bytes(), path)

    def check_text(self, text, where):
        found = [x for x in self.secrets | smtpd.RESPONSES if x in text]
        assert not found, "a secret came out, in %s" % where

    def configure(self, *lines, **keys):
        """Write dma.conf: the defaults of the tests, then these."""
        text = dict(self.defaults())
        text.update(keys)
        out = []
        for key, value in text.items():
            if value is True:
                out.append(key)
            elif value is not None and value is not False:
                out.append("%s %s" % (key, value))
        self.insecure |= "INSECURE" in out or "INSECURE" in lines
        self.write(self.conf_path, "\n".join(out + list(lines)) + "\n")

    def defaults(self):
        raise NotImplementedError

    def write(self, path, text, mode=0o644):
        pathlib.Path(path).write_text(text)
        os.chmod(path, mode)
        self.own(path)

    def own(self, path):
        pass

    def popen(self, *args, name="sendmail", user=None, env=None, **more):
        account = pwd.getpwnam(user or self.user)
        if house.IS_ROOT:
            more.update(user=account.pw_uid, group=account.pw_gid,
                        extra_groups=[])
        environment = {"PATH": "/usr/bin:/bin", "LOGNAME": account.pw_name}
        environment.update(env or {})
        more.setdefault("stdin", subprocess.PIPE)
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(
            [str(self.bin / name), *self.first_args, *args],
            env=environment, cwd="/", **more)

    def run(self, *args, text=b"", **more):
        if isinstance(text, str):
            text = text.encode()
        if isinstance(more.get("stdin"), int):
            text = None
        process = self.popen(*args, **more)
        try:
            out, err = process.communicate(text, COMMAND_BOUND)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        self.check_text(out or b"", "the output")
        self.check_text(err or b"", "what stderr says")
        return Result(subprocess.CompletedProcess(
            args, process.returncode, out or b"", err or b""))

    def submit(self, *args, text="Subject: test\n\nhello\n", **more):
        """A submission that must be accepted."""
        result = self.run(*args, text=text, **more)
        assert result.exit == 0, result
        assert result.err == "", result
        return result

    def flush(self, *args, **more):
        result = self.run("-q", *args, **more)
        assert result.exit == 0, result
        return result

    def mailq(self, **more):
        result = self.run("-bp", **more)
        assert result.exit == 0, result
        return result.out

    def queue(self):
        return sorted(n for n in os.listdir(self.spool) if QUEUE_ID.match(n))

    def traces(self):
        """What else lies in the spool: drafts, damaged or dead messages."""
        return sorted(n for n in os.listdir(self.spool)
                      if n.startswith(("tmp.", "bad.", "dead.")))

    def log(self):
        try:
            return pathlib.Path(self.log_path).read_text()
        except FileNotFoundError:
            return ""

    def logged(self, pattern):
        return re.search(pattern, self.log())

    def wait_delivered(self, bound=BOUND):
        wait_for(lambda: not self.queue(), "the queue to be empty", bound)

    def wait_deferred(self, count=1, bound=BOUND):
        """Until so many recipients were tried and put off."""
        wait_for(lambda: self.log().count("status=deferred") >= count,
                 "%d deferrals in the log" % count, bound)

    def wait_idle(self, bound=BOUND):
        wait_for(lambda: not processes(), "no process of ours to be left",
                 bound)

    def kill_runners(self):
        kill_all()


def messages_in(path):
    if not os.path.exists(path):
        return []
    return list(mailbox.mbox(path, create=False))


class Private(Instance):
    """dma -C: everything in one directory, nothing set-id."""

    def __init__(self, directory, tree):
        self.directory = pathlib.Path(directory)
        self.user = house.ordinary_user()
        self.bin = tree
        self.conf_path = self.directory / "dma.conf"
        self.spool = self.directory / "spool"
        self.log_path = self.directory / "log"
        self.mbox_path = self.directory / "mbox"
        self.first_args = ("-C", str(self.conf_path))
        self.directory.mkdir(mode=0o755)
        self.own(self.directory)
        self.spool.mkdir(mode=0o700)
        self.spool.chmod(0o700)
        self.own(self.spool)
        self.write(self.directory / "aliases", "")
        self.configure()

    def defaults(self):
        return {
            "MAILNAME": "client.example",
            "SPOOLDIR": self.spool,
            "LIBEXECDIR": self.bin,
            "MAILBOX": self.mbox_path,
            "ALIASES": self.directory / "aliases",
            "LOG": self.log_path,
            "TIMEOUTS": 10 * PATIENCE,
            "MINFREE": 0,
        }

    def own(self, path):
        if house.IS_ROOT:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)

    def aliases(self, text):
        self.write(self.directory / "aliases", text)

    def relay(self, server, *lines, login=None, **keys):
        """Let everything go through a server; login is "user:password"."""
        keys.setdefault("SMARTHOST", server.host)
        keys.setdefault("PORT", server.port)
        if login:
            user, password = login.split(":", 1)
            self.write(self.directory / "auth.conf",
                       "%s|%s:%s\n" % (user, keys["SMARTHOST"], password),
                       0o600)
            keys.setdefault("AUTHPATH", self.directory / "auth.conf")
            self.keep_secret(user, password, keys)
        self.configure(*lines, **keys)

    def places(self):
        return [self.spool, self.log_path, self.mbox_path]

    def mbox(self):
        return messages_in(self.mbox_path)


class System(Instance):
    """An installed tree, with its set-id programs and several users."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.user = "alice"
        self.prefix = self.root / "usr"
        self.bin = self.prefix / "sbin"
        self.libexec = self.prefix / "libexec/dma"
        self.confdir = self.root / "etc/dma"
        self.conf_path = self.confdir / "dma.conf"
        self.spool = self.root / "var/spool/dma"
        self.maildir = self.root / "var/mail"
        self.alias_path = self.root / "etc/aliases"
        self.log_path = self.root / "var/log"

    def variables(self):
        return ["PREFIX=%s" % self.prefix, "CONFDIR=%s" % self.confdir,
                "SPOOLDIR=%s" % self.spool, "MAILDIR=%s" % self.maildir,
                "ALIASES=%s" % self.alias_path, "AGENTUSER=dmatest"]

    def install(self):
        self.build = house.build("installed", *self.variables())
        for path in ("etc", "var/mail", "var/spool"):
            (self.root / path).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["make", "-f", house.TOP / "Makefile", "install",
             *self.variables()],
            cwd=self.build, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self.install_output = done.stdout
        if os.environ.get("DMA_LOCAL"):  # what stands in for it
            local = self.libexec / "dma-local"
            real = local.rename(self.libexec / "dma-local.real")
            real.chmod(0o755)  # valgrind reads it
            shutil.copy(os.environ["DMA_LOCAL"], local)

    def reset(self):
        kill_all()
        self.secrets, self.insecure = frozenset(), False
        for name in os.listdir(self.spool):
            os.unlink(self.spool / name)
        shutil.rmtree(self.maildir)
        self.maildir.mkdir()
        mail = pwd.getpwnam("mail").pw_gid
        os.chown(self.maildir, 0, mail)
        os.chmod(self.maildir, 0o2775)
        self.log_path.write_text("")
        os.chown(self.log_path, 0, mail)
        os.chmod(self.log_path, 0o660)
        self.aliases("")
        self.configure()

    def defaults(self):
        return {"MAILNAME": "client.example", "LOG": self.log_path,
                "MINFREE": 0}

    def aliases(self, text):
        self.write(self.alias_path, text)

    def relay(self, server, *lines, login=None, **keys):
        keys.setdefault("SMARTHOST", server.host)
        keys.setdefault("PORT", server.port)
        if login:
            user, password = login.split(":", 1)
            path = self.confdir / "auth.conf"
            self.write(path, "%s|%s:%s\n"
                       % (user, keys["SMARTHOST"], password), 0o640)
            os.chown(path, 0, pwd.getpwnam("mail").pw_gid)
            keys.setdefault("AUTHPATH", path)
            self.keep_secret(user, password, keys)
        self.configure(*lines, **keys)

    def places(self):
        return [self.spool, self.log_path, self.maildir]

    def mailbox(self, user):
        return messages_in(self.maildir / user)
