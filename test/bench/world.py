# SPDX-License-Identifier: BSD-3-Clause
"""Where the bench runs: namespaces, scratch, the sink, processes and times.

As root it is in mount, network and process namespaces of its own: the network
is lo, mounts and processes end with it.  What is measured runs as nobody.
Without root, or without namespaces, it runs on the machine's loopback.
"""

import contextlib
import fcntl
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PORT = 2525
FLAGS_SET, UP = 0x8914, 0x41  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
UNSHARE = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc"]


def enter():
    """The scratch directory and whether this is a world of its own.

    Not in /tmp, which may be memory: the point is to wait for a disk.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(1))
    if os.environ.get("BENCH_SCRATCH"):
        with socket.socket() as s:
            fcntl.ioctl(s, FLAGS_SET, struct.pack("16sh14x", b"lo", UP))
        return pathlib.Path(os.environ["BENCH_SCRATCH"]), True
    scratch = pathlib.Path(tempfile.mkdtemp(
        prefix="dma-bench.", dir=os.environ.get("TMPDIR", "/var/tmp")))
    scratch.chmod(0o711)
    if not can_unshare():
        return scratch, False
    try:
        # The shell stays, and takes the orphans that mail systems leave.
        sys.exit(subprocess.run(
            [*UNSHARE, "sh", "-c", '"$@"; exit $?', "sh", sys.executable,
             *sys.argv], check=False,
            env={**os.environ, "BENCH_SCRATCH": str(scratch)}).returncode)
    finally:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # nothing is left behind
        shutil.rmtree(scratch, ignore_errors=True)


def can_unshare():
    return os.geteuid() == 0 and shutil.which("unshare") is not None and \
        subprocess.run([*UNSHARE, "true"], check=False,
                       stderr=subprocess.DEVNULL).returncode == 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class World:
    def __init__(self, build, tools):
        self.build, self.tools = pathlib.Path(build), pathlib.Path(tools)
        self.scratch, self.isolated = enter()
        self.port = PORT if self.isolated else free_port()
        nobody = pwd.getpwnam("nobody")
        self.uid, self.gid = nobody.pw_uid, nobody.pw_gid
        self.user = {}
        if os.geteuid() == 0:
            self.user = {"user": self.uid, "group": self.gid,
                         "extra_groups": []}
        self.check_programs()
        self.message = self.write("message", self.text(2000))
        self.large = self.write("message.large", self.text(25 << 20))

    def check_programs(self):
        for program in (self.build / "dma", self.build / "dma-smtp",
                        self.tools / "sink"):
            if subprocess.run(["test", "-x", program], check=False,
                              **self.user).returncode != 0:
                sys.exit("%s: not there, or not for %s"
                         % (program, "nobody" if self.user else "you"))

    @staticmethod
    def text(size):
        line = "The quick brown fox jumps over the lazy dog, for mail.\n"
        return "From: alice@bench.example\nTo: bob@dest.example\n" \
            "Subject: bench\n\n" + line * (size // len(line))

    def write(self, name, text, mode=0o644):
        path = self.scratch / name
        path.write_text(text)
        path.chmod(mode)
        if self.user:
            os.chown(path, self.uid, self.gid)
        return path

    def mkdir(self, name):
        path = self.scratch / name
        path.mkdir(mode=0o700)
        if self.user:
            os.chown(path, self.uid, self.gid)
        return path

    def start(self, command, user=None, **more):
        with open(self.scratch / "errors", "ab") as errors:
            return subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL,
                stderr=errors, cwd=self.scratch,
                **{"stdout": errors, **more},
                **(self.user if user is None else user))

    def submit(self, command, n=1, at_once=1, message=None, inside=None):
        """What submit.c says of so many runs; inside: a root to chroot to."""
        options = ["-n", n, "-c", min(n, at_once)]
        if inside is None:
            whole = [self.tools / "submit", *options, "-m",
                     message or self.message, *command]
            user = self.user
        else:
            name = (message or self.message).name
            whole = ["chroot", "--groups=%d" % self.gid,
                     "--userspec=%d:%d" % (self.uid, self.gid), inside,
                     "/bench/submit", *options, "-m", "/bench/" + name,
                     *command]
            user = {}
        process = self.start(whole, user, stdout=subprocess.PIPE)
        said = process.communicate()[0].decode().split()
        if len(said) != 5:
            raise Trouble("submissions failed: " + self.last_error())
        if int(said[3]) > 0:
            raise Trouble("%s of %d submissions failed: %s"
                          % (said[3], n, self.last_error()))
        return Submitted(said)

    def last_error(self):
        lines = (self.scratch / "errors").read_text(
            errors="replace").strip().splitlines()
        return lines[-1] if lines else "nothing said"


class Trouble(Exception):
    """A mail system that cannot do this: said, and it is left out."""


class Submitted:
    def __init__(self, said):
        self.ms, self.worst_ms = float(said[0]) / 1000, float(said[1]) / 1000
        self.per_second, self.memory_mb = float(said[2]), int(said[4]) / 1024


class Sink:
    """sink.c; all(): when it had taken everything, on time.monotonic()."""

    def __init__(self, world, want, *options):
        self.said = b""
        self.process = world.start(
            [world.tools / "sink", "-p", world.port, "-n", want, *options],
            stdout=subprocess.PIPE)
        if self.line(10) != "ready":
            raise Trouble("the sink does not start: " + world.last_error())

    def line(self, seconds):
        end = time.monotonic() + seconds
        while b"\n" not in self.said:
            left = end - time.monotonic()
            if left <= 0 or not select.select(
                    [self.process.stdout], [], [], left)[0]:
                return None
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                return None
            self.said += more
        line, self.said = self.said.split(b"\n", 1)
        return line.decode()

    def all(self, seconds):
        line = self.line(seconds)
        return int(line.split()[1]) / 1e6 if line else None

    def close(self):
        """How many recipients it got mail for, and refused connections."""
        self.process.terminate()
        while True:
            line = self.line(10)
            if line is None or not line.startswith("all"):
                break
        self.process.wait()
        self.process.stdout.close()
        numbers = [int(word) for word in (line or "0 0 0 0 0").split()]
        return numbers[1], numbers[3]


# ---- Processes ----

def pids_where(matches):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if matches("/proc/" + pid):
                found.append(int(pid))
    return found


def pss_kb(pid):
    with contextlib.suppress(OSError):
        with open("/proc/%d/smaps_rollup" % pid) as f:
            for line in f:
                if line.startswith("Pss:"):
                    return int(line.split()[1])
    return 0


class Watch:
    """The most processes, and the most of their memory, meanwhile."""

    # Seconds: often enough, and some percent of a processor.  What is short
    # is looked at more often.
    FIRST, EVERY = 0.01, 0.05

    def __init__(self, pids):
        self.pids, self.processes, self.pss_mb = pids, 0, 0.0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def look(self):
        pause = 0
        while True:
            pause = min(pause + self.FIRST, self.EVERY)
            pids = self.pids()
            self.processes = max(self.processes, len(pids))
            self.pss_mb = max(self.pss_mb, sum(map(pss_kb, pids)) / 1024)
            if self.over.wait(pause):
                return


def wait_until(true, seconds):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
