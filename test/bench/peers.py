# SPDX-License-Identifier: BSD-3-Clause
"""Who is compared: floors, ours, and each mail system that is here.

Each of these sends to the sink and to nobody else.  The other mail systems run
as Debian has them, in a root of their own: the machine's, with what
test/e2e/servers.py unpacked laid over it in memory, and the queue on the same
disk as everybody's.  There is no syslogd in it: they log for nothing.
"""

import contextlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from world import Trouble, pids_where, wait_until

TO = "bob@dest.example"
WAITING_FOR = 1500  # seconds until fabricated messages are due


class Contender:
    """What a workload asks of everybody; here: nothing to do."""

    name = ""
    rival = False  # a budget names it: it runs in every round
    cannot = ()    # workloads
    remark = ""

    def __init__(self, world):
        self.world = world

    def begin(self, tls):
        """Be ready, with an empty queue, delivering at once."""

    def hold(self, n, *to, message=None):
        """Keep n messages in the queue, delivering none."""

    def release(self):
        """What is held may go when flush() says so: not timed."""

    def flush(self):
        """Begin to deliver what is held; the process that does or asks."""

    def submit(self, n, at_once=1, to=TO, message=None, held=False):
        """Submit, timed; held: what is held stays so."""

    def held(self, held):
        """Whether what is submitted waits from now on."""

    def settle(self):
        """Until what happens after a submission has happened."""

    def pids(self):
        return []

    def wipe(self):
        """Stop delivering, and forget what is queued."""

    def end(self):
        """As before begin()."""


# ---- Floors and ours ----

class Floor(Contender):
    name = "floor"
    cannot = ("W1d", "W2", "W4", "W5", "W7", "idle")

    def begin(self, tls):
        self.directory = self.world.scratch / "floor"
        if not self.directory.exists():
            self.world.mkdir("floor")
        self.connections = 4

    def submit(self, n, at_once=1, to=TO, message=None, held=False):
        return self.world.submit(
            [self.world.tools / "store", self.directory], n, at_once, message)

    def hold(self, n, *to, message=None):
        self.submit(n, 4, message=message)

    def flush(self):
        return self.world.start([self.world.tools / "send", self.directory,
                                 self.world.port, self.connections])

    def wipe(self):
        empty(self.directory)


class Ours(Contender):
    name = "dma"
    rival = True

    def begin(self, tls):
        world = self.world
        self.spool = world.scratch / "spool"
        if not self.spool.exists():
            world.mkdir("spool")
            for name in ("dma", "dmactl"):
                (world.scratch / name).symlink_to(world.build / "dma")
        world.write("auth.conf", "u|127.0.0.1:p\n", 0o600)
        world.write("dma.conf", "".join(line + "\n" for line in (
            "SPOOLDIR %s" % self.spool, "LIBEXECDIR %s" % world.build,
            "LOG %s" % (world.scratch / "log"), "MAILNAME bench.example",
            "SMARTHOST 127.0.0.1", "PORT %d" % world.port)) + (
                "SECURETRANSFER\nSTARTTLS\nAUTHPATH %s\n"
                % (world.scratch / "auth.conf") if tls else ""))
        world.write("log", "", 0o600)

    def command(self, *arguments, name="dma"):
        return [self.world.scratch / name, "-C",
                self.world.scratch / "dma.conf", *arguments]

    def submit(self, n, at_once=1, to=TO, message=None, held=False):
        held = ["-odq"] if held else []
        return self.world.submit(
            self.command(*held, "-i", to), n, at_once, message)

    def hold(self, n, *to, message=None):
        self.world.submit(self.command("-odq", "-i", *(to or [TO])), n, 4,
                          message)

    def flush(self):
        return self.world.start(self.command("-q"))

    def settle(self):
        wait_until(lambda: not self.pids(), 60)

    def pids(self):
        here = str(self.world.build) + "/dma"

        def is_ours(proc):
            try:
                return os.readlink(proc + "/exe").startswith(here)
            except PermissionError:
                # Not dumpable, and we are not root.  Its user is not hidden.
                status = pathlib.Path(proc, "status").read_text()
                return status.startswith("Name:\tdma") and \
                    "\nUid:\t%d\t" % os.getuid() in status
        return pids_where(is_ours)

    def wipe(self):
        self.settle()
        empty(self.spool)

    def fabricate(self, n, uid):
        """n messages of that user's that were tried and are not due yet."""
        self.hold(1)
        model, = self.spool.iterdir()
        text = model.read_text()
        model.unlink()
        due = "attempts 0000000001 crashes 0000000000 next %012d\n" % (
            time.time() + WAITING_FOR)
        head, rest = text.split("attempts ", 1)
        text = head + due + rest.split("\n", 1)[1]
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUV"
        prefix = "".join(digits[uid >> shift & 31]
                         for shift in range(30, -1, -5))
        chance = random.Random(1)
        directory = os.open(self.spool, os.O_RDONLY)
        for _ in range(n):
            name = prefix + "".join(chance.choices(digits, k=13))
            fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600,
                         dir_fd=directory)
            os.write(fd, text.replace(model.name, name).encode())
            if self.world.user:
                os.fchown(fd, uid, self.world.gid)
            os.close(fd)
        os.close(directory)
        os.sync()


# ---- Mail systems in roots of their own ----

class Peer(Contender):
    sets = ()        # of servers.py
    program = ""     # what must be there
    spools = ()      # directories that hold the queue
    users = ()
    sendmail = "/usr/sbin/sendmail"

    def __init__(self, world, cache):
        super().__init__(world)
        self.cache = cache
        self.base = world.scratch / ("peer." + self.name.replace(" ", "."))
        self.root = self.base / "root"
        self.daemon = None

    # -- The root --

    def lay_out(self):
        """Raises Trouble where it is not to be had."""
        present = [self.cache / name / "root" for name in self.sets
                   if (self.cache / name / "root").is_dir()]
        if not any(os.path.exists(str(where) + self.program)
                   for where in ["", *present]):
            raise Trouble("not found (test/e2e/servers.py fetch)")
        self.base.mkdir(mode=0o755)
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", self.base)
        for part in ("upper", "work", "root"):
            (self.base / part).mkdir(mode=0o755)
        for where in present:
            run("cp", "-a", "-T", where, self.base / "upper")
        run("mount", "-t", "overlay", "-o", "lowerdir=/,upperdir=%s,workdir=%s"
            % (self.base / "upper", self.base / "work"), "overlay", self.root)
        self.mount_devices()
        for path in self.spools:
            real = self.world.scratch / (self.base.name + path.replace(
                "/", "."))
            real.mkdir(mode=0o755)
            self.inside(path).mkdir(parents=True, exist_ok=True)
            run("mount", "--bind", real, self.inside(path))
        self.add_users()
        self.write("/etc/hosts", "127.0.0.1 localhost bench.example\n")
        self.inside("/etc/resolv.conf").unlink(missing_ok=True)
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.write("/etc/mailname", "bench.example\n")
        self.inside("/bench").mkdir()
        for file in (self.world.tools / "submit", self.world.message,
                     self.world.large):
            shutil.copy(file, self.inside("/bench"))
        self.prepare()

    def mount_devices(self):
        """No /dev/log: nothing of this reaches the machine's log."""
        for directory in ("dev", "run", "tmp"):
            run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs",
                self.root / directory)
        run("mount", "-t", "proc", "proc", self.root / "proc")
        for device in ("null", "zero", "full", "random", "urandom", "tty"):
            self.write("/dev/" + device, "")
            run("mount", "--bind", "/dev/" + device,
                self.inside("/dev/" + device))

    def add_users(self):
        for file, line in (("passwd", "{0}:x:{1}:{1}::/:/bin/false\n"),
                           ("group", "{0}:x:{1}:\n")):
            text = pathlib.Path("/etc", file).read_text()
            for number, user in enumerate(self.users, 54330):
                if "\n%s:" % user not in "\n" + text:
                    text += line.format(user, number)
            self.write("/etc/" + file, text)

    def prepare(self):
        """What an installation does after unpacking."""

    def inside(self, path):
        return self.root / path.lstrip("/")

    def write(self, path, text, mode=0o644, owner=None):
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        if owner:
            self.own(path, owner)

    def own(self, path, owner, mode=None):
        """owner: user:group, by the names of this root."""
        self.inside(path).parent.mkdir(parents=True, exist_ok=True)
        run("chroot", self.root, "chown", owner, path)
        if mode is not None:
            self.inside(path).chmod(mode)

    def mkdir(self, path, owner="root:root", mode=0o755):
        self.inside(path).mkdir(parents=True, exist_ok=True)
        self.own(path, owner, mode)

    # -- Running --

    def start(self, *command):
        return self.world.start(
            ["chroot", self.root, *command], {},
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def call(self, *command):
        if self.start(*command).wait() != 0:
            raise Trouble("%s: %s" % (command[0], self.world.last_error()))

    def begin(self, tls):
        self.tls, self.is_held = tls, False
        self.configure(tls, False)

    def configure(self, tls, held):
        """Write the configuration, and what runs takes it."""

    def hold(self, n, *to, message=None):
        self.held(True)
        self.world.submit([self.sendmail, "-i", *(to or [TO])], n, 4, message,
                          self.root)
        self.settle()

    def held(self, held):
        """Whether what is submitted waits from now on."""
        if held != self.is_held:
            self.set_held(held)
            self.is_held = held

    def set_held(self, held):
        self.configure(self.tls, held)

    def submit(self, n, at_once=1, to=TO, message=None, held=False):
        self.held(held)
        return self.world.submit([self.sendmail, "-i", to], n, at_once,
                                 message, self.root)

    def pids(self):
        """Some have a root of their own within this one."""
        here = str(self.root)
        return pids_where(
            lambda proc: os.readlink(proc + "/root").startswith(here))

    def end(self):
        if not self.root.is_dir():
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if wait_until(self.ended, 5):
                break
        self.daemon = None
        self.forget()

    def ended(self):
        if self.daemon:
            self.daemon.poll()
        return not self.pids()

    def wipe(self):
        self.forget()

    def forget(self):
        for path in self.spools:
            empty(self.inside(path))


class OldDma(Peer):
    name = "old dma"
    rival = True
    sets = ("dma",)
    program = "/usr/sbin/dma"
    spools = ("/var/spool/dma",)
    sendmail = "/usr/sbin/dma"

    def prepare(self):
        self.own(self.sendmail, "root:mail", 0o2755)
        self.own(self.spools[0], "root:mail", 0o2775)

    def configure(self, tls, held):
        self.write("/etc/dma/auth.conf", "u|127.0.0.1:p\n", 0o640, "root:mail")
        self.write(
            "/etc/dma/dma.conf",
            "SMARTHOST 127.0.0.1\nPORT %d\nMAILNAME bench.example\n"
            % self.world.port + (
                "SECURETRANSFER\nSTARTTLS\nAUTHPATH /etc/dma/auth.conf\n"
                if tls else "") + ("DEFER\n" if held else ""),
            0o640, "root:mail")

    def release(self):
        self.held(False)

    def flush(self):
        return self.start(self.sendmail, "-q")

    def wipe(self):
        self.end()


class Postfix(Peer):
    """A null client.  held: qmgr defers what goes by smtp."""

    name = "Postfix"
    rival = True
    sets = ("postfix",)
    program = "/usr/sbin/postfix"
    spools = ("/var/spool/postfix",)
    users = ("postfix", "postdrop")
    services = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
"""

    def prepare(self):
        self.mkdir("/var/lib/postfix", "postfix:postfix")
        for name in ("postdrop", "postqueue"):
            self.own("/usr/sbin/" + name, "root:postdrop", 0o2755)
        self.write("/etc/postfix/dynamicmaps.cf", "")
        self.write("/etc/postfix/master.cf", self.services)

    def settings(self, tls, held):
        return {
            "compatibility_level": "3.6", "myhostname": "bench.example",
            "mydestination": "", "alias_maps": "", "alias_database": "",
            "relayhost": "[127.0.0.1]:%d" % self.world.port,
            "inet_interfaces": "loopback-only", "inet_protocols": "ipv4",
            "data_directory": "/var/lib/postfix",
            "queue_directory": "/var/spool/postfix",
            "mail_owner": "postfix", "setgid_group": "postdrop",
            "message_size_limit": "104857600", "mailbox_size_limit": "0",
            "smtp_tls_security_level": "encrypt" if tls else "none",
            "smtp_sasl_auth_enable": "yes" if tls else "no",
            "smtp_sasl_password_maps": "static:u:p",
            "smtp_sasl_security_options": "noanonymous",
            "defer_transports": "smtp" if held else ""}

    def configure(self, tls, held):
        self.write("/etc/postfix/main.cf", "".join(
            "%s = %s\n" % s for s in self.settings(tls, held).items()))
        if self.daemon:
            self.reload()
            return
        self.daemon = self.start("/usr/sbin/postfix", "start-fg")
        if not wait_until(self.is_up, 20):
            raise Trouble("does not start: " + self.world.last_error())

    def is_up(self):
        return self.inside("/var/spool/postfix/public/pickup").exists()

    def master(self):
        return int(self.inside(
            "/var/spool/postfix/pid/master.pid").read_text())

    def reload(self):
        """Its processes end when they are idle; new ones are configured."""
        before = self.pids()
        os.kill(self.master(), signal.SIGHUP)
        before = [pid for pid in before if pid != self.daemon.pid
                  and pid != self.master()]
        wait_until(lambda: not set(before) & set(self.pids()), 5)

    def release(self):
        self.held(False)

    def flush(self):
        return self.start("/usr/sbin/postqueue", "-f")

    def settle(self):
        wait_until(lambda: not any(self.files(
            "maildrop", "incoming", "active")), 120)

    def files(self, *names):
        for name in names:
            yield from (path for path in self.inside(
                self.spools[0] + "/" + name).rglob("*") if path.is_file())

    def wipe(self):
        """Nothing is left, but where a bound was hit."""
        self.settle()
        if any(self.files("deferred")):
            self.end()
            self.begin(self.tls)


class Exim(Peer):
    """Without a daemon: each submission delivers, or a queue run."""

    name = "Exim"
    sets = ("exim",)
    program = "/usr/sbin/exim4"
    spools = ("/var/spool/exim4",)
    users = ("Debian-exim",)
    sendmail = "/usr/sbin/exim4"

    def prepare(self):
        self.own(self.sendmail, "root:root", 0o4755)
        for path in ("/var/spool/exim4", "/var/log/exim4"):
            self.mkdir(path, "Debian-exim:Debian-exim", 0o750)

    def configure(self, tls, held):
        self.write("/etc/exim4/exim4.conf", EXIM % {
            "held": "true" if held else "false", "port": self.world.port,
            "tls": EXIM_TLS if tls else "",
            "login": EXIM_LOGIN if tls else ""})

    def release(self):
        self.held(False)

    def flush(self):
        return self.start(self.sendmail, "-qff")

    def settle(self):
        wait_until(lambda: not self.pids(), 60)

    def wipe(self):
        self.end()

    def forget(self):
        super().forget()
        self.own(self.spools[0], "Debian-exim:Debian-exim", 0o750)


class OpenSmtpd(Peer):
    name = "OpenSMTPD"
    sets = ("opensmtpd",)
    program = "/usr/sbin/smtpd"
    spools = ("/var/spool/smtpd",)
    users = ("opensmtpd", "opensmtpq")

    def prepare(self):
        self.mkdir("/var/lib/opensmtpd/empty")
        self.own("/usr/sbin/smtpctl", "root:opensmtpq", 0o2755)

    def configure(self, tls, held):
        self.end()
        self.mkdir(self.spools[0], mode=0o711)
        self.write("/etc/secrets", "relay u:p\n", 0o640, "root:opensmtpd")
        relay = "smtp+tls://relay@127.0.0.1:%d auth <secrets> tls no-verify" \
            if tls else "smtp://127.0.0.1:%d"
        self.write("/etc/smtpd.conf", OPENSMTPD % (relay % self.world.port))
        self.daemon = self.start("/usr/sbin/smtpd", "-d")
        if not wait_until(self.is_up, 20):
            raise Trouble("does not start: " + self.world.last_error())

    def is_up(self):
        return self.inside("/run/smtpd.sock").exists() and \
            self.start("/usr/sbin/smtpctl", "show", "stats").wait() == 0

    def set_held(self, held):
        self.call("/usr/sbin/smtpctl", "pause" if held else "resume", "mta")

    def flush(self):
        self.held(False)
        return self.start("/usr/sbin/smtpctl", "schedule", "all")

    def wipe(self):
        self.begin(self.tls)


class Nullmailer(Peer):
    """held: nullmailer-send does not run; it looks at the queue at once."""

    name = "nullmailer"
    sets = ("relays",)
    program = "/usr/sbin/nullmailer-send"
    spools = ("/var/spool/nullmailer",)

    def prepare(self):
        self.own("/usr/sbin/nullmailer-queue", "mail:root", 0o4755)

    def configure(self, tls, held):
        self.end()
        spool = self.spools[0]
        self.own(spool, "mail:root", 0o755)
        for name in ("queue", "tmp", "failed"):
            self.mkdir(spool + "/" + name, "mail:root", 0o700)
        os.mkfifo(self.inside(spool + "/trigger"))
        self.own(spool + "/trigger", "mail:root", 0o622)
        self.write("/etc/nullmailer/defaultdomain", "bench.example\n")
        self.inside("/etc/nullmailer/me").unlink(missing_ok=True)
        self.write("/etc/nullmailer/remotes", "127.0.0.1 smtp --port=%d%s\n" % (
            self.world.port, " --starttls --insecure --user=u --pass=p"
            if tls else ""), 0o600, "mail:root")
        self.send()

    def send(self):
        self.daemon = self.start(
            "setpriv", "--reuid=mail", "--regid=mail", "--clear-groups", "sh",
            "-c", "cd %s && exec nullmailer-send" % self.spools[0])
        return self.daemon

    def set_held(self, held):
        if held:
            self.daemon.terminate()
            self.daemon.wait()
        else:
            self.send()

    def flush(self):
        self.held(False)

    def wipe(self):
        self.begin(self.tls)


class Msmtp(Peer):
    """It has no queue: a submission is a delivery."""

    name = "msmtp"
    sets = ("relays",)
    program = "/usr/bin/msmtp"
    cannot = ("W1", "W3", "W4", "W5a", "W6", "W7", "W8")
    remark = "has no queue: W1d, W2, W5 alone"

    def submit(self, n, at_once=1, to=TO, message=None, held=False):
        return self.world.submit(
            [self.program, "--host=127.0.0.1", "--port=%d" % self.world.port,
             "--from=a@bench.example", "--", to], n, at_once, message,
            self.root)


PEERS = (OldDma, Postfix, Exim, OpenSmtpd, Nullmailer, Msmtp)


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Trouble("%s: %s" % (command[0], done.stderr.strip()))


def empty(directory):
    for path in pathlib.Path(directory).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def cache():
    """Where test/e2e/servers.py has it."""
    if os.environ.get("DMA_TEST_CACHE"):
        return pathlib.Path(os.environ["DMA_TEST_CACHE"])
    return pathlib.Path("/var/cache/dma-test")


def find(world, say):
    """All that are here; of each other one line says why not."""
    found = [Floor(world), Ours(world)]
    if not world.isolated:
        say("the other mail systems need root, and namespaces")
        return found
    for kind in PEERS:
        peer = kind(world, cache())
        try:
            peer.lay_out()
            found.append(peer)
            if peer.remark:
                say("%s %s" % (peer.name, peer.remark))
        except (Trouble, OSError) as error:
            say("%s is left out: %s" % (peer.name, error))
    return found


# ---- Configurations ----

EXIM = """\
primary_hostname = bench.example
queue_only = %(held)s
message_size_limit = 100M
keep_environment =
tls_advertise_hosts =
begin routers
relay:
 driver = manualroute
 transport = relay
 route_list = * 127.0.0.1::%(port)d byname
 self = send
begin transports
relay:
 driver = smtp
 port = %(port)d
 allow_localhost
%(tls)s
begin retry
* * F,2h,1m
begin authenticators
%(login)s
"""
EXIM_TLS = """\
 hosts_require_tls = *
 hosts_require_auth = *
 tls_verify_hosts =
 tls_try_verify_hosts =
"""
EXIM_LOGIN = """\
plain:
 driver = plaintext
 public_name = PLAIN
 client_send = ^u^p
"""

OPENSMTPD = """\
listen on socket
smtp max-message-size "100M"
table secrets file:/etc/secrets
action "out" relay host %s
match from local for any action "out"
"""
