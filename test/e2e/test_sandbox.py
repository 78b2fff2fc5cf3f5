# SPDX-License-Identifier: BSD-3-Clause
"""dma-smtp owns nothing, and what a hijacked one can do: spoil its own
session, nothing else.  With the kernel's sandbox, without it, and half in."""

import ctypes
import os
import pathlib
import platform
import pwd
import re
import shutil
import struct
import subprocess

import pytest

import house
from instance import processes, wait_for

libc = ctypes.CDLL(None, use_errno=True)
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446
SECCOMP_MODE_FILTER, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 2, 22, 38
ENOSYS, EPERM, EINVAL, EFAULT = 38, 1, 22, 14
MACHINE = {"x86_64": (0xC000003E, 157), "aarch64": (0xC00000B7, 167)}

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux", reason="needs Linux: its sandboxes")

needs_root = pytest.mark.skipif(
    not house.IS_ROOT, reason="needs root: an agent's user and set-id bits")


def kernel_has():
    """What sandbox_describe() should say."""
    found = []
    abi = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1)
    if abi > 0:
        found.append("Landlock (ABI %d)" % abi)
    libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, None, 0, 0)
    if ctypes.get_errno() == EFAULT:
        found.append("seccomp")
    return ", ".join(found)


HAS_PORTS = libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, 1) >= 4
HAS_ALL = "Landlock" in kernel_has() and "seccomp" in kernel_has()


def version(directory, **more):
    done = subprocess.run([directory / "dma-smtp", "--version"], text=True,
                          capture_output=True, check=True, **more)
    return re.search(r"^sandbox: (.*)$", done.stdout, re.M).group(1)


@pytest.fixture(scope="module")
def has_sandbox(tree):
    if not HAS_ALL:
        pytest.skip("this kernel has no sandbox")
    if version(tree).startswith("none"):
        pytest.skip("built without a sandbox")


def test_version_says_what_is_active(private, has_sandbox):
    assert version(private.bin) == kernel_has()


@needs_root
def test_installed_version_says_so_to_anybody(system, has_sandbox):
    result = system.run("--version")
    assert "sandbox: %s\n" % kernel_has() in result.out, result


# ---- A hijacked agent ----

PHASES = ("net_connect", "net_getline", "crypto_handshake", "smtp_send",
          "auth_start", "mime_convert", "dns_mx_lookup", "dns_address_lookup")
TEXT = "Subject: test\n\nh\u00e9llo\n"  # to a server without 8BITMIME
# Nobody's uid is enough to be kept from these.
STOPPED_BY_UID = (
    "lists the spool", "reads the spool", "creates in the spool",
    "reads the passwords", "writes the configuration", "executes the door",
    "becomes root", "takes a group", "reads the runner", "kills the runner",
    "takes the runner's files", "writes an open file", "signals its parent",
    "traces its parent", "reads memory of its parent", "limits its parent",
    "slows its parent", "opens a raw socket")


def build_hostile(system, directory, phase, *flags):
    """The installed dma-smtp, but hijacked where it calls `phase`."""
    build = system.build
    program = directory / ("hostile.%s%s" % (phase, "".join(flags)))
    if program.exists():
        return program
    mains = ("dma.o", "become.o", "agent.o", "local.o", "sandbox.o")
    objects = [o for o in sorted(build.glob("*.o")) if o.name not in mains]
    archive = directory / "hostile.a"
    if not archive.exists():
        subprocess.run(["ar", "rcs", archive, *objects], check=True)
    idn = (build / ".probed-idn").read_text().split("\n")[1].split()
    box = directory / ("sandbox%s.o" % "".join(flags))
    places = ["-D%s=\"%s\"" % pair for pair in (
        ("PHASE", phase), ("DMA_SPOOLDIR", system.spool),
        ("DMA_CONFDIR", system.confdir), ("DMA_LIBEXECDIR", system.libexec))]
    cc = ["cc", "-std=gnu11", "-O1", "-w", "-D_GNU_SOURCE"]
    subprocess.run([*cc, *flags, "-c", "-o", box, house.TOP / "sandbox.c"],
                   check=True)
    done = subprocess.run(
        [*cc, *flags, "-iquote", house.TOP, *places,
         *["-Wl,--wrap=" + name for name in PHASES], "-o", program,
         pathlib.Path(__file__).with_name("hostile.c"), box,
         build / "agent.o", archive, "-lssl", "-lcrypto", *idn],
        capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("cannot link a hostile agent: " + done.stderr[-500:])
    return program


@pytest.fixture
def hijack(system, scratch, smtp, trusted, dns):
    """hijack(phase, flags...): what worked in a delivery."""
    directory = scratch / "hostile"
    directory.mkdir(exist_ok=True)
    agent = system.libexec / "dma-smtp"
    real = directory / "real"
    if not real.exists():
        shutil.copy(agent, real)

    def install(program):
        agent.unlink()
        shutil.copy(program, agent)
        os.chmod(agent, 0o711)

    def attack(phase, *flags):
        install(build_hostile(system, directory, phase, *flags))
        direct = phase.startswith("dns_")
        sink = smtp.sink(
            host="192.0.2.1", tls="starttls", port=25 if direct else 0,
            auth=None if direct else {"me": "secret"},
            features=("PIPELINING",), cert=trusted.leaf("192.0.2.1"))
        system.relay(sink, login="me:secret")
        if direct:
            dns.add("x.example", "A", "192.0.2.1")
            system.configure()
        system.submit("b@x.example", text=TEXT)
        said = wait_for(
            lambda: system.logged(r"status=deferred \((?:hostile: )?(.*)\)"),
            "the hijacked agent's word")
        system.kill_runners()
        assert not system.logged("status=(sent|bounced)")
        (name,) = system.queue()
        assert (system.spool / name).stat().st_uid == pwd.getpwnam(
            "alice").pw_uid
        # The runner, and the message, are as before.
        install(real)
        system.flush("-q")
        system.wait_delivered()
        assert [m.body for m in sink.messages] == ["h=C3=A9llo\n"]
        if "-DNOISE" in flags:
            return said.group(1)
        assert "hostile: " in said.group()
        return re.findall(r"<([^>]*)>", said.group(1))

    yield attack
    install(real)


@needs_root
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.rows("S-09", "S-14")
def test_hijacked_agent(hijack, has_sandbox, phase):
    """Looking up names, connecting, reading, in the handshake, about to say
    the password, with a message in hand, in its text."""
    assert hijack(phase) == ([] if HAS_PORTS else ["connects elsewhere"])


@needs_root
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.rows("S-09")
def test_hijacked_agent_that_has_only_its_uid(hijack, phase):
    """It reaches what any user reaches, and nothing of dma's."""
    worked = hijack(phase, "-DDMA_NO_SANDBOX")
    assert set(worked) & set(STOPPED_BY_UID) == set()
    assert {"reads a file", "creates a file", "forks", "executes",
            "binds TCP", "opens netlink"} <= set(worked)


@needs_root
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.rows("S-13")
def test_hijacked_agent_that_makes_noise(hijack, phase):
    """Whenever it begins to, the runner outlives it: the message waits."""
    assert "agent" in hijack(phase, "-DNOISE")


@needs_root
@pytest.mark.rows("S-02", "S-04")
def test_agent_at_work(system, smtp, has_sandbox):
    """Whose it is and what it holds, while it waits for a server."""
    sink = smtp.sink(host="192.0.2.1", delay=2)
    system.relay(sink)
    system.submit("b@x.example")
    wait_for(lambda: sink.connections and any(
        "DATA" in c for c in sink.connections[0].commands), "DATA")
    (pid,) = [p for p, name in processes().items() if name == "dma-smtp"]
    status = pathlib.Path("/proc/%d/status" % pid).read_text()
    status = dict(line.split(":\t", 1) for line in status.splitlines()
                  if ":\t" in line)
    agent = pwd.getpwnam("dmatest")
    assert set(status["Uid"].split()) == {str(agent.pw_uid)}
    assert set(status["Gid"].split()) == {str(agent.pw_gid)}
    assert status["Groups"].split() in ([], [str(agent.pw_gid)])
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == 0
    held = {os.readlink("/proc/%d/fd/%s" % (pid, fd))
            for fd in os.listdir("/proc/%d/fd" % pid)}
    (name,) = system.queue()
    files = {h for h in held if h.startswith("/")}
    assert files == {"/dev/null", str(system.spool / name)}
    assert len([h for h in held if h.startswith("socket:")]) == 2
    flags = [re.search(r"flags:\s+0(\d+)", pathlib.Path(
        "/proc/%d/fdinfo/%s" % (pid, fd)).read_text()).group(1)
        for fd in os.listdir("/proc/%d/fd" % pid)
        if os.readlink("/proc/%d/fd/%s" % (pid, fd)) == str(
            system.spool / name)]
    assert [f[-1] for f in flags] == ["0"]  # O_RDONLY
    system.wait_delivered()


# ---- LMTP by a path ----

def test_lmtp_by_path(private, smtp):
    path = str(private.directory / "lmtp")
    sink = smtp.sink(host=path, lmtp=True)
    if house.IS_ROOT:
        private.own(path)
    private.configure(SMARTHOST="lmtp://" + path)
    private.submit("a@x.example", "b@x.example")
    private.wait_delivered()
    assert sink.recipients_seen() == ["a@x.example", "b@x.example"]


# ---- Kernels that have none, or half of it ----

def refuse(*calls):
    """A preexec_fn after which some calls fail: (number, errno[, arg 0])."""
    if platform.machine() not in MACHINE:
        pytest.skip("no filter for this machine")
    load, jump, ret = 0x20, 0x15, 0x06
    program = []
    for number, error, *first in calls:
        program += [(load, 0, 0, 0), (jump, 0, 3 if first else 1, number)]
        if first:
            program += [(load, 0, 0, 16), (jump, 0, 1, first[0])]
        program.append((ret, 0, 0, 0x00050000 | error))
    program.append((ret, 0, 0, 0x7FFF0000))
    code = b"".join(struct.pack("=HBBI", *one) for one in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    prog = struct.pack("@HP", len(program), ctypes.addressof(buffer))

    def prepare():
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, prog, 0, 0):
            os._exit(99)
        assert buffer
    return prepare


def no_seccomp():
    return MACHINE.get(platform.machine(), (0, 0))[1], EINVAL, PR_SET_SECCOMP


@pytest.mark.parametrize("error", [ENOSYS, EPERM, 95])
@pytest.mark.rows("S-16")
def test_kernel_without(private, smtp, has_sandbox, error):
    """It says so, and delivers."""
    old = refuse((LANDLOCK_CREATE_RULESET, error), no_seccomp())
    assert version(private.bin, preexec_fn=old) == (
        "none but its user's rights")
    sink = smtp.sink()
    private.relay(sink)
    private.submit("b@x.example", preexec_fn=old)
    private.wait_delivered()
    assert len(sink.messages) == 1


def test_kernel_with_one_of_the_two(private, smtp, has_sandbox):
    names = [(refuse((LANDLOCK_CREATE_RULESET, ENOSYS)), "seccomp"),
             (refuse(no_seccomp()), kernel_has().split(", ", maxsplit=1)[0])]
    sink = smtp.sink()
    private.relay(sink)
    for old, name in names:
        assert version(private.bin, preexec_fn=old) == name
        private.submit("b@x.example", preexec_fn=old)
        private.wait_delivered()
    assert len(sink.messages) == 2


def test_sandbox_that_cannot_be_entered(private, smtp, has_sandbox):
    """Half inside is no place to work: the mail waits."""
    sink = smtp.sink()
    private.relay(sink)
    broken = refuse((LANDLOCK_RESTRICT_SELF, EPERM))
    private.submit("-odq", "b@x.example")
    private.flush(preexec_fn=broken)
    assert private.logged(
        r"status=deferred \(.*cannot enter the sandbox: Operation not perm")
    assert sink.connections == []
    private.flush()
    private.wait_delivered()
