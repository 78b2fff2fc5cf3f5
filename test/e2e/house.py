# SPDX-License-Identifier: BSD-3-Clause
"""Where the tests live: as root in namespaces of their own, else in a
scratch directory.

As root each process that runs tests moves into private mount, network and
host name namespaces before the first one: nothing outside is reached or
changed, whatever the tests do, and they can run side by side.  There /etc/passwd and /etc/group have further users, the resolver
is a name server of the tests, the only network is lo, which also carries
addresses of the documentation ranges (an agent does not follow an MX to a
loopback address).
"""

import atexit
import ctypes
import fcntl
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWNET = 0x00020000, 0x04000000, 0x40000000
PR_SET_CHILD_SUBREAPER = 36
# A fixed place, so that the installed build, which has it compiled in, can
# be kept from run to run.
ROOT_SCRATCH = pathlib.Path("/var/tmp/dma-e2e")

USERS = {  # name: (uid, gid, full name)
    "alice": (54321, 54321, "Alice Example"),
    "bob": (54322, 54322, "& B\u00f6b, Room 1"),
    "dmatest": (54323, 54323, "agents of the test"),
    "carol": (54324, 54324, ""),  # who has no processes but her agents
    "postfix": (54330, 54330, ""),
    "dovecot": (54332, 54332, ""),
    "dovenull": (54333, 54333, ""),
    "opensmtpd": (54334, 54334, ""),
    "opensmtpq": (54335, 54335, ""),
    "Debian-exim": (54336, 54336, ""),
}
GROUPS = {"postdrop": 54331}

libc = ctypes.CDLL(None, use_errno=True)


def command(*args):
    subprocess.run([str(a) for a in args], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def adopt_orphans():
    """Detached processes become our children: none can be overlooked."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def account_files(directory, passwd, group):
    """Copies of passwd and group with the users of the tests added."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = [x for x in pathlib.Path(passwd).read_text().splitlines()
             if x.split(":")[0] not in USERS]
    for name, (uid, gid, gecos) in USERS.items():
        lines.append("%s:x:%d:%d:%s:/nonexistent:/bin/sh"
                     % (name, uid, gid, gecos))
    (directory / "passwd").write_text("\n".join(lines) + "\n")
    names = set(USERS) | set(GROUPS)
    lines = [x for x in pathlib.Path(group).read_text().splitlines()
             if x.split(":")[0] not in names]
    for name, (_, gid, _) in USERS.items():
        lines.append("%s:x:%d:" % (name, gid))
    for name, gid in GROUPS.items():
        lines.append("%s:x:%d:" % (name, gid))
    (directory / "group").write_text("\n".join(lines) + "\n")


def enter_namespaces():
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWNET) != 0:
        return "unshare: " + os.strerror(ctypes.get_errno())
    try:
        command("mount", "--make-rprivate", "/")
    except subprocess.CalledProcessError as e:  # a chroot is no mount point
        return e.stderr.decode().strip()
    command("ip", "link", "set", "lo", "up")
    for address in ("192.0.2.1/24", "198.51.100.1/24"):
        command("ip", "addr", "add", address, "dev", "lo")
    for last in range(2, 20):
        command("ip", "addr", "add", "192.0.2.%d/32" % last, "dev", "lo")
    try:
        command("ip", "addr", "add", "2001:db8::1/64", "dev", "lo", "nodad")
    except subprocess.CalledProcessError:
        pass  # a kernel without IPv6: its tests skip
    ROOT_SCRATCH.mkdir(mode=0o755, parents=True, exist_ok=True)
    command("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", ROOT_SCRATCH)
    etc = ROOT_SCRATCH / "etc"
    account_files(etc, "/etc/passwd", "/etc/group")
    (etc / "resolv.conf").write_text(
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    for name in ("passwd", "group", "resolv.conf", "hosts"):
        target = pathlib.Path("/etc", name)
        if not target.exists():
            continue
        # resolv.conf is a link on many systems: what it leads to is covered.
        command("mount", "--bind", etc / name, target.resolve())
    libc.sethostname(b"client.example", 14)
    return None


def trust(authority):
    """Let the test's CA be what this machine trusts (root only)."""
    for place in ("/etc/ssl/certs", "/etc/pki/tls/certs"):
        if not os.path.isdir(place):
            continue
        command("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", place)
        shutil.copy(authority.cert, place + "/ca-certificates.crt")
        shutil.copy(authority.cert, place + "/ca-bundle.crt")
        hashed = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", authority.cert],
            check=True, capture_output=True, text=True).stdout.strip()
        shutil.copy(authority.cert, "%s/%s.0" % (place, hashed))


def make_scratch():
    if IS_ROOT:
        return ROOT_SCRATCH
    path = pathlib.Path(tempfile.mkdtemp(prefix="dma-e2e."))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def ordinary_user():
    """Who runs private instances: alice where we are root."""
    return "alice" if IS_ROOT else pwd.getpwuid(os.getuid()).pw_name


def build(name, *variables):
    """Build the program out of tree; returns the directory.

    DMA_BUILD is a directory where the plain program is built already, with
    whatever compiler and flags.
    """
    if name == "plain" and os.environ.get("DMA_BUILD"):
        return pathlib.Path(os.environ["DMA_BUILD"])
    directory = pathlib.Path(os.environ.get("DMA_BUILDS", TOP / "build"), name)
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run side by side
        subprocess.run(
            ["make", "-s", "-f", TOP / "Makefile", "-j2", "all", *variables],
            cwd=directory, check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL)
    return directory
