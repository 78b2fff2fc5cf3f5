# SPDX-License-Identifier: BSD-3-Clause
"""alice against the set-id programs, bob's mail and root: what she inherits
to them, what she does to their processes, what she puts in their way."""

import base64
import ctypes
import os
import pathlib
import pwd
import re
import signal
import subprocess
import time

import pytest

import house
import instance
from instance import wait_for

pytestmark = pytest.mark.skipif(
    not house.IS_ROOT, reason="needs root: set-uid programs and many users")

libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="module")
def snoop(scratch):
    program = scratch / "snoop"
    source = pathlib.Path(__file__).with_name("snoop.c")
    done = subprocess.run(["cc", "-D_GNU_SOURCE", "-O1", "-o", program, source], check=False)
    if done.returncode:
        pytest.skip("no C compiler called cc")
    return program


def as_user(name):
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid,
            "extra_groups": []}


# ---- The recipient and the agent that runs as he ----

@pytest.mark.rows("V-21", "V-26", "S-05")
def test_recipient_cannot_get_hold_of_his_agent(system, snoop):
    """dma-local has the whole queue file open: recipients that he must not
    know, and a lock that would keep the others waiting."""
    with subprocess.Popen([snoop, "3"], stdout=subprocess.PIPE, text=True,
                          **as_user("carol")) as watcher:
        assert watcher.stdout.readline() == "ready\n"
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            system.submit("-odq", "carol")
            system.flush()
        assert watcher.stdout.read() == ""
    system.flush(user="root")
    assert system.queue() == []


# ---- What she inherits to the program ----

BODY = "Subject: canary\n\nthe whole text\n"


def held(system):
    """The texts of the queued messages."""
    return [(system.spool / name).read_bytes() for name in system.queue()]


def attack(system, prepare, *args, text=BODY, **more):
    """Submit as alice, something done in the process before its exec.  What
    it said is held against what is queued; then the queue is emptied."""
    with subprocess.Popen(
            [system.bin / "sendmail", "-odq", *(args or ("b@x.example",))],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=prepare, cwd="/",
            **as_user("alice"), **more) as process:
        try:
            process.stdin.write(text.encode())
            process.stdin.close()
        except BrokenPipeError:
            pass
        status = process.wait(30)
    texts = held(system)
    if status >= 0:  # who was killed said nothing
        assert len(texts) == (1 if status == 0 else 0), status
    for queued in texts:
        assert b"\n\nthe whole text\n" in queued
        assert b"sendmail:" not in queued and b"dma/" not in queued
    for name in os.listdir(system.spool):
        os.unlink(system.spool / name)
    return status


@pytest.mark.parametrize("closed", range(8))
@pytest.mark.rows("V-12", "D-27")
def test_closed_descriptors(system, closed):
    def prepare():
        for fd in range(3):
            if closed & 1 << fd:
                os.close(fd)
    assert attack(system, prepare) == (66 if closed & 1 else 0)


def limit(resource_name, value):
    import resource  # pylint: disable=import-outside-toplevel
    number = getattr(resource, "RLIMIT_" + resource_name)
    return lambda: resource.setrlimit(number, (value, value))


@pytest.mark.parametrize("name, values", [
    ("FSIZE", (0, 1, 100, 511, 512, 600, 4096)),
    ("NOFILE", (3, 4, 5, 6, 7, 8, 10, 16, 63, 64)),
    ("AS", tuple(n << 20 for n in (1, 2, 3, 4, 5, 6, 8, 16, 64))),
    ("DATA", (0, 4096, 1 << 17, 1 << 20)),
    ("STACK", (0, 4096, 1 << 14, 1 << 16, 1 << 18)),
    ("NPROC", (0, 1)), ("CPU", (0, 1)),
    ("SIGPENDING", (0,)), ("MEMLOCK", (0,)), ("CORE", (1 << 30,)),
])
@pytest.mark.rows("V-14", "V-15", "V-35", "L-96", "S-07", "D-06")
def test_limits_of_the_caller(system, name, values):
    """Accepted or not, never both; and bob's mail is as it was."""
    for value in values:
        attack(system, limit(name, value))
        before = sorted(os.listdir(system.spool))
        system.submit("-odq", "b@x.example", user="bob")
        (queued,) = held(system)
        for args in (("-q",), ("-bp",)):
            subprocess.run(
                [system.bin / "sendmail", *args], preexec_fn=limit(name, value),
                check=False, stdin=subprocess.DEVNULL, timeout=30,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                **as_user("alice"))
        assert held(system) == [queued]
        for entry in set(os.listdir(system.spool)) - set(before):
            os.unlink(system.spool / entry)


@pytest.mark.rows("V-14")
def test_limit_that_would_cut_a_line_of_the_log(system):
    """The next user would go on in that line: it is not begun."""
    old = "%s\n" % ("x" * 40000)
    for room in (1, 40, 80, 200):
        system.log_path.write_text(old)
        attack(system, limit("FSIZE", len(old) + room))
        system.submit("-odq", "b@x.example", user="bob")
        for name in system.queue():
            os.unlink(system.spool / name)
        new = system.log().removeprefix(old)
        assert len(new) < len(old)
        assert "from=<bob@client.example>" in new and new.endswith("\n")
        head = r"\w{3} [ \d]\d [\d:]{8} \S+ \S+\[\d+\]: "
        lines = new.splitlines()
        assert all(re.match(head, line) for line in lines), lines
        assert len(re.findall(head, new)) == len(lines), lines


@pytest.mark.rows("V-16")
def test_signals_of_the_caller(system, smtp):
    """Ignored or blocked, they hinder neither intake nor delivery."""
    def prepare():
        for number in range(1, signal.NSIG):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    system.submit("b@x.example", "bob", preexec_fn=prepare)
    system.wait_delivered()
    system.wait_idle()
    assert len(sink.messages) == len(system.mailbox("bob")) == 1


@pytest.mark.parametrize("mask", [0, 0o777])
@pytest.mark.rows("V-22", "D-20")
def test_umask_of_the_caller(system, mask):
    system.submit("bob", preexec_fn=lambda: os.umask(mask))
    system.wait_delivered()
    system.wait_idle()
    modes = {name.split(".")[0]: (system.spool / name).stat().st_mode & 0o777
             for name in os.listdir(system.spool)}
    assert modes == {"run": 0o660, "wake": 0o660}
    assert (system.maildir / "bob").stat().st_mode & 0o777 == 0o660


HOSTILE = {name: "/tmp/evil" for name in """LD_PRELOAD LD_LIBRARY_PATH
    LD_AUDIT LD_DEBUG_OUTPUT LD_ORIGIN_PATH GCONV_PATH LOCPATH NLSPATH TMPDIR
    HOSTALIASES RESOLV_HOST_CONF OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES
    SSL_CERT_FILE SSL_CERT_DIR SSLKEYLOGFILE HOME PATH TZ TZDIR MAIL MAILRC
    MALLOC_TRACE GETCONF_DIR NIS_PATH CTLOG_FILE ENV BASH_ENV DMA_CONF
    """.split()}
HOSTILE.update(
    LD_DEBUG="all", RES_OPTIONS="ndots:15 debug", LOCALDOMAIN="evil.example",
    EMAIL="a@b\r\nRCPT TO:<c@d>", LOGNAME="root", USER="bob", IFS="/",
    LANG="../../tmp/evil", LC_ALL="../../tmp/evil", MALLOC_PERTURB_="255",
    GLIBC_TUNABLES="glibc.malloc.mxfast=glibc.malloc.mxfast=A",
    LD_BIND_NOW="1", POSIXLY_CORRECT="1", X="y" * 100000)


@pytest.mark.parametrize("zone", [
    ":/etc/shadow", "/tmp/evil", "../../tmp/evil", "A" * 100000,
    "a/../../../../tmp/evil", "<%n%n>9", ":../evil"])
@pytest.mark.rows("V-17", "L-87", "L-89", "S-03")
def test_environment_of_the_caller(system, smtp, zone, tmp_path):
    """Nothing that it names is opened, by no process; nobody is believed."""
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    trace = tmp_path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-s", "200", "-u", "alice", "-o", trace, "-e",
         "trace=%file", "env", "-i",
         *("%s=%s" % pair for pair in dict(HOSTILE, TZ=zone).items()),
         system.bin / "sendmail", "-D", "b@x.example"],
        input=BODY.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    system.wait_delivered()
    assert sink.messages[0].sender == "alice@client.example"
    opened = trace.read_text().split("execve(")[-2:]
    opened = [line for part in opened for line in part.splitlines()[1:]]
    assert opened and not [x for x in opened if "evil" in x or "shadow" in x]
    assert "dma-smtp" in trace.read_text()


@pytest.mark.parametrize("name", [
    "", "/", "%n%n%s", "A" * 8192, "mailq ", "\x1b[2J", "-bp", "x/sendmail"])
@pytest.mark.rows("V-19", "L-02")
def test_any_argv0(system, name):
    assert attack(system, None, executable=system.bin / "dma",
                  text=BODY) == 0
    done = subprocess.run(
        [name, "-odq", "b@x.example"], executable=system.bin / "dma",
        input=BODY.encode(), capture_output=True, check=False,
        **as_user("alice"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.rows("V-18", "L-01")
def test_no_argv_at_all(system):
    """execve with an empty argv, which Python does not let through."""
    program = str(system.bin / "dma").encode()
    pid = os.fork()
    if pid == 0:
        os.setgid(pwd.getpwnam("alice").pw_gid)
        os.setuid(pwd.getpwnam("alice").pw_uid)
        null = os.open("/dev/null", os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        empty = (ctypes.c_char_p * 1)(None)
        libc.execve(program, empty, empty)
        os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 64
    assert system.queue() == []


@pytest.mark.rows("V-23")
def test_directory_that_is_gone(system):
    place = pathlib.Path(system.root / "gone")
    place.mkdir(mode=0o777)
    place.chmod(0o777)

    def prepare():
        os.chdir(place)
        os.rmdir(place)
    place.parent.chmod(0o777)
    try:
        assert attack(system, prepare) == 0
        assert not place.exists()
    finally:
        place.parent.chmod(0o755)


@pytest.mark.rows("V-27")
def test_many_options(system):
    for option in ("-oi", "-v", "-C/x", "-fa@x", "-t"):
        result = system.run(*[option] * 100000, "-odq", "b@x.example",
                            text=BODY)
        assert result.exit == (78 if option[1] == "C" else 0), result


@pytest.mark.parametrize("what", ["auth.conf", "spool", "shadow", "fifo",
                                  "/dev/full", "/proc/self/mem", "/"])
@pytest.mark.rows("V-27", "L-47")
def test_private_instance_opens_as_the_caller(system, what):
    """-C must not be a way to read with the group's rights."""
    path = {"auth.conf": system.confdir / "auth.conf", "spool": system.spool,
            "shadow": "/etc/shadow", "fifo": system.root / "fifo"}.get(
                what, what)
    (system.confdir / "auth.conf").write_text("u|192.0.2.1:canary\n")
    if what == "fifo":
        os.mkfifo(path, 0o666)
    result = system.run("-C", str(path), "b@x.example", text=BODY)
    if what == "fifo":
        path.unlink()
    assert result.exit == 78, result
    assert "canary" not in result.err and "root:" not in result.err


# ---- The spool and the door ----

@pytest.mark.rows("V-34", "S-06", "D-08")
def test_spool_is_out_of_reach(system):
    """Not even her own message can be touched by name."""
    system.submit("-odq", "b@x.example")
    (name,) = system.queue()
    path = str(system.spool / name)
    before = held(system)
    script = "; ".join("%s 2>/dev/null && echo 'did: %s'" % (c, c) for c in (
        "cat " + path, "echo x >>" + path, "rm -f " + path + " && ! test -e /",
        "mv %s /tmp/x" % path, "ln %s /tmp/x" % path, "chmod 666 " + path,
        "touch " + path, "ls " + str(system.spool), "stat " + path,
        "flock -n %s true" % path, "mkfifo %s/wake.0" % system.spool,
        "touch %s/run.8" % system.spool, "truncate -s 0 " + path,
        "cd " + str(system.spool), "ln -s / %s/tmp.x" % system.spool))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True,
                          check=False, **as_user("alice"))
    assert done.stdout == ""
    assert held(system) == before


@pytest.mark.parametrize("args", [
    [], ["smtp", "x"], ["local"], ["local", ""], ["local", ".."],
    ["local", "a/b"], ["local", "../../etc/passwd"], ["local", "-x"],
    ["local", "0"], ["local", "x" * 5000], ["local", "%n%n"],
    ["local", "nobody-of-that-name"], ["local", "bob", "x"], ["LOCAL", "bob"],
    ["x"] * 1000, ["local", "root\n"]])
@pytest.mark.rows("V-31", "L-84", "L-85", "S-15")
def test_door_with_hostile_arguments(system, args):
    """Even for one of the group, with a socket as the runner's."""
    import socket  # pylint: disable=import-outside-toplevel
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    account = pwd.getpwnam("alice")

    def prepare():
        os.dup2(theirs.fileno(), 3)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.umask(0)
    with ours, theirs:
        done = subprocess.run(
            ["/../%n", *args], executable=system.libexec / "dma-become",
            preexec_fn=prepare, pass_fds=(3, theirs.fileno()), check=False,
            user=account.pw_uid, group=pwd.getpwnam("mail").pw_gid,
            extra_groups=[], env=HOSTILE, timeout=20,
            stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode in (67, 77), done
    assert done.stdout + done.stderr == b""
    assert os.listdir(system.maildir) == []


# ---- Secrets ----

def proc(pid, name):
    try:
        return pathlib.Path("/proc", str(pid), name).read_text("latin-1")
    except OSError:
        return ""


@pytest.mark.rows("V-45", "S-11")
def test_password_is_seen_nowhere(system, smtp):
    """Not in arguments, environments, log, dialogue, listing; and alice
    reads the memory of none of the processes that work for her."""
    secret = "canary-of-the-password"
    forms = [secret, base64.b64encode(secret.encode()).decode()[:20],
             base64.b64encode(b"\0u\0" + secret.encode()).decode()[8:28]]
    sink = smtp.sink(host="192.0.2.1", auth={"u": secret}, delay=1,
                     auth_before_tls=True, recipients={"no@x.example": "550"})
    system.relay(sink, login="u:" + secret, INSECURE=True, FULLBOUNCE=True)
    with system.popen("-v", "b@x.example", "no@x.example") as process:
        process.stdin.write(BODY.encode())
        process.stdin.close()
        seen, met = "", set()
        while process.poll() is None:
            for pid, name in instance.processes().items():
                seen += proc(pid, "cmdline") + proc(pid, "environ")
                if name in met:
                    continue
                done = subprocess.run(
                    ["sh", "-c", "cat /proc/%d/environ /proc/%d/maps; "
                     "ls -l /proc/%d/fd" % (pid, pid, pid)], check=False,
                    capture_output=True, **as_user("alice"))
                assert done.stdout in (b"", b"total 0\n"), name
                met.add(name)
        seen += (process.stdout.read() + process.stderr.read()).decode()
    system.wait_delivered()
    assert {"sendmail", "dma-smtp"} <= met and "AUTH" in seen
    assert [accepted for _, _, accepted in sink.auth_tries] == [True]
    seen += system.log() + (system.maildir / "alice").read_text()
    for form in forms:
        assert form not in seen


# ---- Slow, stopped, killed ----

@pytest.mark.rows("V-15", "V-21")
def test_agent_of_another_mailbox_is_as_fast_as_any(system):
    """Scheduling class, processors, timer slack survive execve; the mailbox
    of another user must not stay locked for them."""
    def prepare():
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        libc.prctl(29, ctypes.c_ulong(10 ** 12), 0, 0, 0)  # timer slack
        os.nice(19)
    place = system.maildir / "bob"
    place.touch()
    place.chmod(0o660)
    os.chown(place, pwd.getpwnam("bob").pw_uid, pwd.getpwnam("mail").pw_gid)
    import fcntl  # pylint: disable=import-outside-toplevel
    with open(place, "rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        system.submit("bob", preexec_fn=prepare)
        (agent,) = wait_for(
            lambda: [p for p, n in instance.processes().items()
                     if n == "dma-local"], "an agent")
        assert os.sched_getscheduler(agent) == os.SCHED_OTHER
        assert os.sched_getaffinity(agent) == os.sched_getaffinity(0)
        assert os.getpriority(os.PRIO_PROCESS, agent) == 0
        assert int(open("/proc/%d/timerslack_ns" % agent,
                        encoding="ascii").read()) <= 50000
    system.wait_delivered()


def agents():
    return [p for p, n in instance.processes().items() if n == "dma-smtp"]


@pytest.mark.rows("D-07")
def test_stopped_runner_leaves_agents_to_the_system(system, smtp):
    """alice's runner, stopped with all the connections that it may have:
    root's run still has more than one for everybody else."""
    system.configure(AGENTS=4)
    places = range(2, 9)
    for n in places:
        smtp.script("! stall\n" + "== connection\n! stall\n" * 3,
                    host="192.0.2.%d" % n, port=25)
    system.submit(*["b@[192.0.2.%d]" % n for n in places])
    wait_for(lambda: len(agents()) >= 4, "alice's agents")
    time.sleep(0.3)
    for pid, name in instance.processes().items():
        if name in ("dma", "sendmail"):
            os.kill(pid, signal.SIGSTOP)
    system.submit("-odq", "c@[192.0.2.2]", user="bob")
    with system.popen("run", name="dmactl", user="root"):
        wait_for(lambda: system.logged(r"<bob@client.example>, .*active"),
                 "bob's mail in a tarpit")
        sink = smtp.sink(host="192.0.2.15", port=25)
        system.submit("c@[192.0.2.15]", user="root")
        wait_for(lambda: sink.messages, "root's mail")
        instance.kill_all()


@pytest.mark.rows("D-07")
def test_servers_that_stall_do_not_hold_up_root_s_mail(system, smtp):
    """alice's mail for servers of hers, in root's run: each keeps an agent for
    as long as it likes."""
    system.configure(AGENTS=4)
    places = range(2, 9)
    for n in places:
        smtp.script("! stall\n" + "== connection\n! stall\n" * 3,
                    host="192.0.2.%d" % n, port=25)
    system.submit("-odq", *["b@[192.0.2.%d]" % n for n in places])
    with system.popen("run", name="dmactl", user="root"):
        wait_for(lambda: len(agents()) >= 4, "agents for alice's mail")
        time.sleep(0.3)
        sink = smtp.sink(host="192.0.2.15", port=25)
        system.submit("c@[192.0.2.15]", user="root")
        wait_for(lambda: sink.messages, "root's mail")
        instance.kill_all()


@pytest.mark.rows("D-07")
def test_messages_that_stay_open_do_not_hold_up_root_s_mail(system, smtp):
    """Each of alice's is half delivered and waits, a descriptor of the run."""
    system.configure()
    smtp.script("! stall\n" + "== connection\n! stall\n" * 3,
                host="192.0.2.2", port=25)
    fast = smtp.sink(host="192.0.2.3", port=25)
    for _ in range(12):
        system.submit("-odq", "b@[192.0.2.3]", "b@[192.0.2.2]")
    few = limit("NOFILE", 100)  # ten messages
    with system.popen("run", name="dmactl", user="root", preexec_fn=few):
        wait_for(lambda: len(fast.messages) >= 8, "alice's first halves")
        time.sleep(0.3)
        sink = smtp.sink(host="192.0.2.15", port=25)
        system.submit("c@[192.0.2.15]", user="root")
        wait_for(lambda: sink.messages, "root's mail")
        instance.kill_all()


@pytest.mark.rows("V-21", "L-99", "S-07")
def test_killed_in_every_phase(system, smtp):
    """Whatever she signals of what she started, bob's mail arrives once."""
    sink = smtp.sink(host="192.0.2.1")
    system.relay(sink)
    uid = pwd.getpwnam("alice").pw_uid
    for number in range(40):
        with system.popen("bob", "b@x.example") as process:
            process.stdin.write(BODY.encode())
            process.stdin.close()
            if number % 5 == 0:
                system.submit("bob", user="bob",
                              text="Subject: bob.%d\n\nx\n" % number)
            time.sleep(number * 0.0003)
            for sig in (signal.SIGSTOP, signal.SIGKILL):
                subprocess.run(
                    ["kill", "-%d" % sig, "--",
                     *map(str, instance.processes())],
                    user=uid, group=uid, extra_groups=[], check=False,
                    stderr=subprocess.DEVNULL)
    system.flush(user="root")
    wait_for(lambda: not system.queue() or system.flush(user="root") is None,
             "an empty queue")
    system.wait_idle()
    subjects = [m["Subject"] for m in system.mailbox("bob")]
    assert sorted(s for s in subjects if s.startswith("bob.")) == sorted(
        "bob.%d" % n for n in range(0, 40, 5))
    assert os.listdir(system.maildir) == ["bob"]


# ---- The mail directory ----

@pytest.mark.rows("V-29", "L-76")
def test_mailbox_swapped_during_delivery(system):
    """A sticky directory lets alice replace her mailbox while bob mails her:
    links, FIFOs, directories; nothing of bob's or root's is written to."""
    system.maildir.chmod(0o1777)
    victim = system.root / "victim"
    victim.write_text("untouched\n")
    own = system.root / "own"
    own.touch()
    os.chown(own, pwd.getpwnam("alice").pw_uid, 0)
    system.submit("bob", user="bob", text="Subject: own\n\nx\n")
    system.wait_delivered()
    system.wait_idle()
    untouched = (system.maildir / "bob").read_bytes()
    swap = r"""
import os, sys, time
end = time.time() + 3
box, victim, other, own = sys.argv[1:]
makers = [lambda: os.symlink(victim, box),
          lambda: os.mkfifo(box), lambda: os.mkdir(box),
          lambda: os.symlink(other, box), lambda: open(box, "w").close(),
          lambda: os.symlink(box + ".new", box), lambda: os.link(own, box)]
n = 0
while time.time() < end:
    n += 1
    for name in (box, box + ".lock"):
        try:
            os.rmdir(name) if os.path.isdir(name) else os.unlink(name)
        except OSError:
            pass
    try:
        makers[n % len(makers)]()
    except OSError:
        pass
"""
    with subprocess.Popen(
            ["python3", "-c", swap, system.maildir / "alice", victim,
             system.maildir / "bob", own], **as_user("alice")) as swapper:
        while swapper.poll() is None:
            system.submit("-odq", "alice", user="bob")
            system.flush(user="bob")
    assert victim.read_text() == "untouched\n"
    assert (system.maildir / "bob").read_bytes() == untouched
    assert victim.stat().st_uid == 0
    for name in os.listdir(system.maildir):
        if name.startswith("alice"):
            path = system.maildir / name
            path.rmdir() if path.is_dir() and not path.is_symlink() \
                else path.unlink()
    system.submit("-odq", "alice", user="bob", text="Subject: last\n\nx\n")
    system.flush(user="root")
    assert system.queue() == []
    assert "last" in [m["Subject"] for m in system.mailbox("alice")]
    wait_for(lambda: sorted(os.listdir(system.maildir)) == ["alice", "bob"],
             "the lock to be gone")


@pytest.mark.rows("V-30")
def test_mailbox_of_2775_cannot_be_replaced(system):
    for command in ("touch bob.lock", "mkdir bob.lock", "ln -s / bob",
                    "touch .bob.new", "rm -f alice && ! test -e alice"):
        (system.maildir / "alice").touch()
        done = subprocess.run(["sh", "-c", command], cwd=system.maildir,
                              capture_output=True, check=False,
                              **as_user("alice"))
        assert done.returncode != 0, command
