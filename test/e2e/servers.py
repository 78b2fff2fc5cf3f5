# SPDX-License-Identifier: BSD-3-Clause
"""Real mail servers, and programs that send mail, that are never installed.

`python3 servers.py fetch` downloads their Debian packages and unpacks them
into a cache directory.  A test mounts them over the system's own root (an
overlay whose upper side is a scratch directory), and runs them from there:
the system is not changed, and no package manager learns of them.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time

import pytest

import instance

PACKAGES = {
    "postfix": ("postfix", "dovecot-core", "dovecot-lmtpd"),
    "opensmtpd": ("opensmtpd",),
    "exim": ("exim4-base", "exim4-daemon-light"),
    "dma": ("dma",),  # the old one, whose spool is taken over
    "relays": ("nullmailer", "msmtp"),  # what test/bench runs beside us
    "mdas": ("procmail", "maildrop"),
    # What test_callers.py runs; callers.py lays all of it into one root.
    "mailers": ("mutt", "s-nail", "bsd-mailx", "mailutils", "git-email",
                "libmailtools-perl"),
    "php": ("php-cli", "php-symfony-mailer", "libphp-phpmailer"),
    "scripts": ("libmime-lite-perl", "libemail-sender-perl", "libsisimai-perl",
                "ruby-mail", "node-nodemailer"),
    "daemons": ("cron", "anacron", "at", "sudo", "logwatch", "fail2ban",
                "mdadm"),
    "monitors": ("monitoring-plugins-standard", "pflogsumm"),
}
DOMAIN = "real.example"
LOGIN = ("relay", "correct horse")


def cache():
    given = os.environ.get("DMA_TEST_CACHE")
    if given:
        return pathlib.Path(given)
    if os.environ.get("XDG_CACHE_HOME"):
        return pathlib.Path(os.environ["XDG_CACHE_HOME"], "dma-test")
    if os.geteuid() == 0:
        return pathlib.Path("/var/cache/dma-test")
    return pathlib.Path.home() / ".cache/dma-test"


# ---- Fetching ----

def missing_packages(packages):
    """What apt would install for these: name=version of each.

    Not --print-uris, which leaves out what was downloaded before.
    """
    done = subprocess.run(
        ["apt-get", "install", "-s", "-qq", "--no-install-recommends",
         *packages],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return ["%s=%s" % found for found in re.findall(
        r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", done.stdout, re.M)]


def unpack(archive, root):
    subprocess.run(["dpkg", "-x", archive, root], check=True)
    # A package may still say /lib; over a merged-/usr system that would
    # hide the link.
    for name in ("bin", "sbin", "lib", "lib64"):
        path = root / name
        if path.is_dir() and not path.is_symlink() and \
                os.path.islink("/" + name):
            shutil.copytree(path, root / "usr" / name, symlinks=True,
                            dirs_exist_ok=True)
            shutil.rmtree(path)


def fetch_one(name):
    asked = " ".join(PACKAGES[name]) + "\n"
    ready = cache() / name / "ready"
    if ready.exists() and ready.read_text().startswith(asked):
        return
    directory = cache() / (name + ".new")
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "debs").mkdir(parents=True)
    (directory / "root").mkdir(mode=0o755)
    wanted = missing_packages(PACKAGES[name])
    if wanted:
        subprocess.run(["apt-get", "download", "-qq", *wanted],
                       cwd=directory / "debs", check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archives = sorted((directory / "debs").glob("*.deb"))
    size = sum(archive.stat().st_size for archive in archives)
    for archive in archives:
        unpack(archive, directory / "root")
    shutil.rmtree(directory / "debs")
    (directory / "ready").write_text(asked + " ".join(wanted) + "\n")
    shutil.rmtree(cache() / name, ignore_errors=True)
    directory.rename(cache() / name)
    print("fetched %s: %d packages, %.1f MB"
          % (name, len(archives), size / 1e6), flush=True)


def fetch():
    """Bring what can be had; what cannot only makes tests skip."""
    updated = False
    for name in PACKAGES:
        reason = cache() / (name + ".why")
        try:
            cache().mkdir(parents=True, exist_ok=True)
            reason.unlink(missing_ok=True)
            try:
                fetch_one(name)
            except (RuntimeError, subprocess.CalledProcessError):
                if updated:
                    raise
                updated = True  # with the package lists of today, once more
                subprocess.run(["apt-get", "update", "-qq"], check=False,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
                fetch_one(name)
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            print("cannot fetch %s: %s" % (name, error), file=sys.stderr)
            try:
                reason.write_text("cannot be fetched: %s\n" % error)
            except OSError:
                pass


# ---- Roots ----

def is_fetched(name):
    return (cache() / name / "ready").exists()


def require(name):
    if is_fetched(name):
        return
    why = cache() / (name + ".why")
    pytest.skip("%s %s" % (name, why.read_text().strip() if why.exists()
                           else "is not in the cache: ./test/run"))


class Root:
    """A system root with the packages of some sets laid over our own."""

    def __init__(self, names, scratch, number):
        base = scratch / ("root.%s.%d" % (names[0], number))
        self.path = base / "root"
        self.processes = []
        for part in ("work", "root"):
            (base / part).mkdir(parents=True, mode=0o755)
        # Copied, because a layer may not lie within another one.
        for name in names:
            subprocess.run(["cp", "-a", "-T", cache() / name / "root",
                            base / "upper"], check=True)
        options = "lowerdir=/,upperdir=%s,workdir=%s" % (
            base / "upper", base / "work")
        done = subprocess.run(
            ["mount", "-t", "overlay", "-o", options, "overlay", self.path],
            capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip("overlay mount: " + done.stderr.strip())
        for directory in ("dev", "proc"):
            subprocess.run(["mount", "--rbind", "/" + directory,
                            self.path / directory], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", self.path / "run"],
                       check=True)
        for file in ("passwd", "group", "hosts"):
            self.write("/etc/" + file, pathlib.Path("/etc", file).read_text())
        (self.path / "etc/resolv.conf").unlink(missing_ok=True)
        self.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        self.mkdir("/var/vmail", mode=0o777)

    def inside(self, path):
        return self.path / str(path).lstrip("/")

    def write(self, path, text, mode=0o644):
        target = self.inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def copy(self, source, path, mode=0o644):
        self.write(path, pathlib.Path(source).read_text(), mode)

    def mkdir(self, path, user=None, mode=0o755):
        target = self.inside(path)
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(mode)
        if user:
            shutil.chown(target, user, user)

    def run(self, *args):
        done = subprocess.run(["chroot", self.path, *args], text=True,
                              capture_output=True, check=False,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, "%s: %s" % (args, done.stderr)
        return done.stdout

    def start(self, log, *args):
        with open(log, "ab") as out:
            process = subprocess.Popen(
                ["chroot", self.path, *args], stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self.processes.append(process)
        return process

    def inmates(self):
        """The processes whose root this is: not one of the same name, in
        the namespace of tests that run beside us."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.path.samefile("/proc/%s/root" % pid, self.path):
                    found.append(int(pid))
            except OSError:
                pass
        return found

    def end(self):
        """Whatever runs here: none may keep a port."""
        for process in self.processes:
            process.terminate()
        signal_all(self.inmates(), signal.SIGTERM)
        end = time.monotonic() + 5
        while self.inmates() and time.monotonic() < end:
            self.reap()
            time.sleep(0.01)
        signal_all(self.inmates(), signal.SIGKILL)
        instance.wait_for(lambda: self.reap() or not self.inmates(),
                          "the processes in %s to end" % self.path)

    def reap(self):
        """Daemons that left their parents are our children by now."""
        for process in self.processes:
            process.poll()
        for pid in self.inmates():
            stat = instance.read_stat(pid)
            if stat and stat[2] == os.getpid() and stat[1] == "Z":
                instance.reap(pid)

    def leave(self):
        subprocess.run(["umount", "-l", self.path], check=False)


class RealServer:
    """A running server: its address, how it is stopped, what it got."""

    def __init__(self, name, host, root, processes, logs):
        self.name, self.host, self.root = name, host, root
        self.processes, self.logs = processes, logs
        self.port = 25

    def wait_for_ports(self, *ports):
        def started(port):
            if any(p.poll() is not None for p in self.processes):
                raise AssertionError(
                    "%s did not start:\n%s" % (self.name, self.log()))
            return self.answers(port)
        for port in ports:
            instance.wait_for(lambda p=port: started(p),
                              "%s on port %d" % (self.name, port), 30)

    def answers(self, port):
        try:
            socket.create_connection((self.host, port), 1).close()
            return True
        except OSError:
            return False

    def require_tls(self):
        """Skip where this server's own TLS does not work."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with socket.create_connection((self.host, 465), 10) as sock:
                context.wrap_socket(sock).close()
        except OSError as error:
            pytest.skip("TLS of this %s does not work with this OpenSSL: %s"
                        % (self.name, error))

    def inbox(self, user):
        """The messages in a user's Maildir, as text."""
        found = self.root.inside("/var/vmail").glob(user + "/new/*")
        return [p.read_text(errors="surrogateescape").replace("\r\n", "\n")
                for p in sorted(found)]

    def log(self):
        return "".join(pathlib.Path(p).read_text(errors="replace")
                       for p in self.logs if os.path.exists(p))

    def stop(self):
        self.root.end()


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Started:
    """The real servers of one test."""

    def __init__(self, scratch, authority, number):
        self.scratch, self.authority, self.number = scratch, authority, number
        self.running = []

    def root(self, name):
        require(name)
        self.number += 1000
        root = Root([name], self.scratch, self.number)
        self.roots = getattr(self, "roots", []) + [root]
        return root

    def server(self, name, *args):
        return getattr(self, name)(*args)

    def postfix(self, host="192.0.2.10"):
        root = self.root("postfix")
        root.copy(self.authority.leaf("postfix." + DOMAIN, host),
                  "/etc/tls.pem", 0o600)
        root.write("/etc/postfix/main.cf", POSTFIX_MAIN % {"host": host})
        root.write("/etc/postfix/master.cf", POSTFIX_MASTER)
        root.write("/etc/postfix/dynamicmaps.cf", "")
        root.mkdir("/var/lib/postfix", "postfix")
        root.mkdir("/var/spool/postfix")
        root.write("/etc/dovecot/dovecot.conf", DOVECOT)
        root.write("/etc/dovecot/users", "%s:{PLAIN}%s\n" % LOGIN)
        root.write("/var/log/mail.log", "", 0o666)
        log = self.scratch / "postfix.log"
        processes = [root.start(log, "dovecot", "-F"),
                     root.start(log, "postfix", "start-fg")]
        logs = [log, root.inside("/var/log/mail.log"),
                root.inside("/var/log/dovecot.log")]
        return self.keep(RealServer("postfix", host, root, processes, logs))

    def postfix_local(self, aliases, host="192.0.2.10"):
        """One that delivers to this machine's users by its alias file."""
        root = self.root("postfix")
        root.write("/etc/postfix/main.cf",
                   POSTFIX_LOCAL % {"host": host})
        root.write("/etc/postfix/master.cf", POSTFIX_MASTER)
        root.write("/etc/postfix/dynamicmaps.cf", "")
        root.write("/etc/aliases", aliases)
        root.mkdir("/var/lib/postfix", "postfix")
        root.mkdir("/var/spool/postfix")
        root.mkdir("/var/mail", mode=0o1777)
        root.write("/var/log/mail.log", "", 0o666)
        root.run("postalias", "hash:/etc/aliases")
        log = self.scratch / "postfix.log"
        server = RealServer("postfix", host, root,
                            [root.start(log, "postfix", "start-fg")],
                            [log, root.inside("/var/log/mail.log")])
        self.running.append(server)
        server.wait_for_ports(25)
        return server

    def opensmtpd(self, host="192.0.2.11"):
        root = self.root("opensmtpd")
        # Its private key process knows RSA only, beside OpenSSL 3.
        pem = self.authority.leaf("opensmtpd." + DOMAIN, host, rsa=True)
        root.copy(pem, "/etc/tls.pem", 0o600)
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", LOGIN[1]], check=True,
            capture_output=True, text=True).stdout.strip()
        root.write("/etc/smtpd.conf", OPENSMTPD % {"host": host})
        root.write("/etc/smtpd.creds", "%s %s\n" % (LOGIN[0], hashed))
        root.write("/etc/smtpd.boxes", "".join(
            "%s@%s alice\n" % (u, DOMAIN) for u in ("alice", "bob", "root")))
        root.write("/etc/mailname", "opensmtpd.real.example\n")
        root.mkdir("/var/spool/smtpd", mode=0o711)
        root.mkdir("/var/lib/opensmtpd/empty")
        log = self.scratch / "opensmtpd.log"
        processes = [root.start(log, "smtpd", "-d")]
        return self.keep(
            RealServer("opensmtpd", host, root, processes, [log]))

    def exim(self, host="192.0.2.12"):
        root = self.root("exim")
        root.copy(self.authority.leaf("exim." + DOMAIN, host),
                  "/etc/tls.pem", 0o644)
        root.write("/etc/exim4/exim4.conf", EXIM % {
            "host": host, "user": LOGIN[0], "password": LOGIN[1]})
        for path in ("/var/spool/exim4", "/var/log/exim4", "/run/exim4"):
            root.mkdir(path, "Debian-exim")
        log = self.scratch / "exim.log"
        processes = [root.start(log, "exim4", "-bdf", "-q1m")]
        return self.keep(RealServer(
            "exim", host, root, processes,
            [log, root.inside("/var/log/exim4/mainlog"),
             root.inside("/var/log/exim4/paniclog")]))

    def dovecot(self):
        """Its LMTP server at a path; users: alice, bob, root."""
        root = self.root("postfix")
        root.write("/etc/dovecot/dovecot.conf", DOVECOT_LMTP)
        root.write("/etc/dovecot/users", "".join(
            "%s:{PLAIN}x:::::\n" % user for user in ("alice", "bob", "root")))
        root.mkdir("/var/lib/dovecot")
        log = self.scratch / "dovecot.log"
        processes = [root.start(log, "dovecot", "-F")]
        path = root.inside("/run/lmtp")
        server = RealServer("dovecot", str(path), root, processes,
                            [log, root.inside("/var/log/dovecot.log")])
        self.running.append(server)
        instance.wait_for(path.exists, "the LMTP socket of dovecot", 30)
        return server

    def keep(self, server):
        self.running.append(server)
        server.wait_for_ports(25, 465, 587)
        return server

    def stop(self, show_logs):
        for server in self.running:
            if show_logs:
                lines = server.log().splitlines()[-40:]
                print("end of the log of %s:\n%s"
                      % (server.name, "\n".join(lines)))
            server.stop()
        for root in getattr(self, "roots", []):
            root.leave()


# ---- Configurations: mail for real.example into Maildirs, on 25, 465, 587

POSTFIX_MAIN = """\
compatibility_level = 3.6
myhostname = postfix.real.example
mydestination =
mynetworks =
inet_interfaces = %(host)s
inet_protocols = ipv4
maillog_file = /var/log/mail.log
data_directory = /var/lib/postfix
queue_directory = /var/spool/postfix
mail_owner = postfix
setgid_group = postdrop
alias_maps =
alias_database =
biff = no
message_size_limit = 52428800
virtual_mailbox_limit = 0
mailbox_size_limit = 0
virtual_mailbox_domains = real.example
virtual_mailbox_base = /var/vmail
virtual_mailbox_maps = inline:{ alice@real.example=alice/,
  bob@real.example=bob/, root@real.example=root/ }
virtual_uid_maps = static:54321
virtual_gid_maps = static:54321
smtpd_tls_chain_files = /etc/tls.pem
smtpd_tls_security_level = may
smtpd_tls_auth_only = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = /run/postfix-sasl
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
"""

POSTFIX_LOCAL = """\
compatibility_level = 3.6
myhostname = client.example
myorigin = client.example
mydestination = client.example
mynetworks =
inet_interfaces = %(host)s
inet_protocols = ipv4
maillog_file = /var/log/mail.log
data_directory = /var/lib/postfix
queue_directory = /var/spool/postfix
mail_owner = postfix
setgid_group = postdrop
biff = no
alias_maps = hash:/etc/aliases
recipient_delimiter = +
default_transport = discard
default_privs = nobody
"""

POSTFIX_MASTER = """\
postlog unix-dgram n - n - 1 postlogd
smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
smtps inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""

DOVECOT = """\
protocols =
log_path = /var/log/dovecot.log
ssl = no
auth_mechanisms = plain login cram-md5
passdb {
  driver = passwd-file
  args = scheme=PLAIN /etc/dovecot/users
}
userdb {
  driver = static
  args = uid=54321 gid=54321 home=/var/vmail/%u
}
service auth {
  unix_listener /run/postfix-sasl {
    mode = 0666
  }
}
"""

DOVECOT_LMTP = """\
protocols = lmtp
log_path = /var/log/dovecot.log
ssl = no
hostname = dovecot.real.example
auth_username_format = %Ln
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
mail_location = maildir:/var/vmail/%n
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = /etc/dovecot/users
  override_fields = uid=54321 gid=54321 home=/var/vmail/%n
}
service lmtp {
  unix_listener /run/lmtp {
    mode = 0666
  }
}
"""

OPENSMTPD = """\
pki test cert "/etc/tls.pem"
pki test key "/etc/tls.pem"
table creds file:/etc/smtpd.creds
table boxes file:/etc/smtpd.boxes
smtp max-message-size "50M"
listen on %(host)s port 25 tls pki test
listen on %(host)s port 465 smtps pki test auth <creds>
listen on %(host)s port 587 tls-require pki test auth <creds>
action "in" maildir "/var/vmail/%%{rcpt.user}" virtual <boxes>
match from any for domain "real.example" action "in"
"""

EXIM = """\
primary_hostname = exim.real.example
local_interfaces = %(host)s
daemon_smtp_ports = 25 : 465 : 587
tls_on_connect_ports = 465
tls_advertise_hosts = *
tls_certificate = /etc/tls.pem
tls_privatekey = /etc/tls.pem
message_size_limit = 50M
smtp_accept_queue_per_connection = 0
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
acl_smtp_rcpt = rcpt
auth_advertise_hosts = ${if and{{def:tls_in_cipher}{!={$received_port}{25}}}{*}{}}
begin acl
rcpt:
 deny condition = ${if !={$received_port}{25}}
      !authenticated = *
      message = authenticate first
 require verify = recipient
 accept domains = real.example
 deny message = relay not permitted
begin routers
boxes:
 driver = accept
 domains = real.example
 local_parts = alice : bob : root
 transport = boxes
begin transports
boxes:
 driver = appendfile
 directory = /var/vmail/$local_part_data
 maildir_format
 create_directory
 user = alice
 group = alice
begin retry
* * F,2h,1m
begin authenticators
plain:
 driver = plaintext
 public_name = PLAIN
 server_prompts = :
 server_condition = ${if and{{eq{$auth2}{%(user)s}}{eq{$auth3}{%(password)s}}}}
 server_set_id = $auth2
login:
 driver = plaintext
 public_name = LOGIN
 server_prompts = <| Username: | Password:
 server_condition = ${if and{{eq{$auth1}{%(user)s}}{eq{$auth2}{%(password)s}}}}
 server_set_id = $auth1
"""


if __name__ == "__main__":
    if sys.argv[1:] != ["fetch"]:
        sys.exit("usage: servers.py fetch")
    fetch()
