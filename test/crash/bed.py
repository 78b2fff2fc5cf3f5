# SPDX-License-Identifier: BSD-3-Clause
"""The test bed: a private instance of dma, a relay that records, a tracer.

A Scenario is a message and what is traced: its submission, or a delivery
that begins with the message in the queue.  After whatever was done to it,
recover() runs the queue until nothing moves, and judge() compares what
arrived with what was accepted:

    lost        accepted, and a recipient has neither message nor notice
    garbled     what arrived is not what was sent
    half        not accepted, but some of its recipients have it
    twice       a recipient has it twice, and no window allows that
    left        something is left in the queue, or put aside
"""

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import house  # noqa: E402
import instance  # noqa: E402
import smtpd  # noqa: E402

SENDER = "boss@remote.example"
TOLD = "who asked to hear of success"
NAMES = ("sendmail", "mailq", "dmactl")
LINES = ["..dots", ".", "From here", ">From there", "", "caf\xe9 and more"]
BODY = "\n".join(LINES * 2 + ["end of it"]) + "\n"
LARGE = "".join("%05d %s\n" % (i, "x" * 60) for i in range(3500))
EARLIER = b"From eve@x Wed Jan  1 00:00:00 2020\nSubject: old\n\nolder mail\n\n"

# What changes nothing outside a process that is about to die.
HARMLESS = frozenset("""
    access arch_prctl brk clock_nanosleep fstat fstatfs futex getdents64
    getegid geteuid getgid getpeername getpid getrandom getrlimit getsockname
    getsockopt gettid getuid ioctl lseek madvise mmap mprotect munmap
    newfstatat ppoll poll pread64 prlimit64 prctl readlink rseq
    rt_sigaction rt_sigprocmask sched_getaffinity sched_setaffinity
    sched_setscheduler set_robust_list set_tid_address setitimer setpriority
    setrlimit sysinfo umask uname chdir close_range ioprio_set dup2 dup3
    fcntl setsockopt statfs statx time wait4 getppid setsid
""".split())


class Scenario:
    def __init__(self, name, good=(), bad=(), later=(), deliver=False,
                 background=False, local=False, body=BODY, mailbox=None,
                 dropped=False, remove=False, old=False, sender=SENDER,
                 box=None, forward=False, success=False):
        self.name = name
        self.good, self.bad, self.later = list(good), list(bad), list(later)
        self.deliver = deliver  # what is traced is the run of the queue
        self.background = background  # a submission that delivers at once
        self.local, self.body, self.mailbox = local, body, mailbox
        self.dropped = dropped  # the relay's answer to the dot is to close
        self.old = old  # the queue is DragonFly dma's; set-id programs only
        self.remove = remove  # what is traced is dmactl queue remove
        self.sender = sender
        self.box = box  # a local user's mail goes to "maildir" or "command"
        self.forward = forward  # or on from there; set-id programs only
        self.success = success  # the sender wants to hear of it

    @property
    def everyone(self):
        return self.good + self.later + self.bad

    @property
    def readers(self):
        """Who has to get something."""
        return self.everyone + [TOLD] * self.success

    @property
    def queued(self):
        """The message is in the queue when the tracing begins."""
        return self.deliver or self.remove

    def command(self):
        if self.remove:
            return "dmactl", ("queue", "remove", "--all")
        return "sendmail", ("-q",) if self.deliver else self.submission()

    def accepted(self, status):
        """What the exit status of the command says; None: nothing."""
        if self.deliver:
            return True
        if status is None or status >= 128 or (self.remove and status):
            return None
        return (status == 0) != self.remove

    def submission(self):
        mode = () if self.background else ("-odq",)
        asked = ("-N", "success") if self.success else ()
        to = [Installed.mailbox_user] if self.forward else self.everyone
        return (*mode, *asked, "-i", "-f", self.sender, *to)


ONE, THREE = ["a@dest.example"], ["%s@dest.example" % x for x in "abc"]
SCENARIOS = {s.name: s for s in (
    Scenario("submission", ONE),
    Scenario("submission-3", THREE),
    Scenario("whole", ONE, background=True),
    Scenario("delivery", ONE, deliver=True),
    Scenario("delivery-3", THREE[:2], later=THREE[2:], deliver=True),
    Scenario("dropped", ONE, deliver=True, dropped=True),
    Scenario("notice", ONE, bad=["x@bad.example", "y@bad.example"],
             deliver=True),
    Scenario("removal", THREE, remove=True),
    Scenario("mailbox", local=True, deliver=True, mailbox=EARLIER),
    Scenario("new-mailbox", local=True, deliver=True),
    Scenario("success", local=True, deliver=True, mailbox=EARLIER,
             success=True),
    Scenario("large-mailbox", local=True, deliver=True, mailbox=EARLIER,
             body=LARGE),
    Scenario("maildir", local=True, deliver=True, box="maildir"),
    Scenario("command", local=True, deliver=True, box="command"),
    Scenario("forward", ONE, deliver=True, forward=True),
    Scenario("takeover", THREE[:2], deliver=True, old=True),
)}


Stop = collections.namedtuple(
    "Stop", "number process program phase call arguments")


def calls():
    """{number: name}, as the C library's headers have them."""
    text = subprocess.run(
        [os.environ.get("CC", "cc"), "-E", "-dM", "-include",
         "sys/syscall.h", "-xc", "/dev/null"],
        check=True, capture_output=True, text=True).stdout
    return {number: name for name, number in re.findall(
        r"^#define __NR_(\w+) (\d+)$", text, re.M)}


CALLS = calls()
NUMBERS = {name: number for number, name in CALLS.items()}


class Trace:
    """What the tracer said."""

    def __init__(self, status, path, said):
        self.status, self.said = status, said
        self.lines = path.read_text().splitlines() if path.exists() else []
        self.at = next((x for x in self.lines if x.startswith("at ")), None)
        self.ends = [x.split() for x in self.lines if x.startswith("exit ")]
        # The exit status of the command itself, if it lived to have one.
        self.exit = next((int(x[5]) for x in self.ends if x[3] == "0"), None)

    def where(self):
        """ "dma > fsync" """
        if self.at is None:
            return "the end"
        f = self.at.split()
        return "%s %s %s" % (f[4], f[5], CALLS.get(f[6], f[6]))

    def stops(self):
        out, seen = [], collections.Counter()
        for line in self.lines:
            if line[:1].isdigit():
                f = line.split()
                seen[f[2]] += 1
                out.append(Stop(seen[f[2]], f[2], f[3], f[4],
                                CALLS.get(f[5], f[5]), f[6:]))
        return out


class Sink(smtpd.Sink):
    """A relay that knows when it took what."""

    def record(self, message):
        message.time = time.monotonic()
        super().record(message)

    def wait_idle(self):
        instance.wait_for(lambda: self.open == 0, "the relay to be idle")


class Measured:
    """What both kinds of bed do: a scenario, its trace, its judgement."""

    sink_options = {}

    def begin(self, tracer, scratch, **keys):
        self.tracer = tracer
        self.first_pass = True
        self.after_cut = False  # unsynced parts of a mailbox may be anything
        self.scenario = None
        self.sink = Sink(recipients=self.refusal,
                         answers={"DOT": self.answer_dot},
                         **self.sink_options).start()
        self.relay(self.sink, **keys)
        self.template = {}
        self.text_path = scratch / "text"
        self.maildir_path = scratch / "Maildir"
        self.trace_path = scratch.parent / (scratch.name + ".trace")

    def refusal(self, address):
        if address.endswith("@bad.example"):
            return "550 5.1.1 nobody of that name"
        if self.first_pass and address in self.scenario.later:
            return "450 4.2.1 not now"
        return None

    def answer_dot(self, *_):
        return "" if self.first_pass and self.scenario.dropped else None

    # ---- Before ----

    def prepare(self, scenario):
        """Make what a run of the scenario begins with."""
        self.scenario = scenario
        if scenario.local:
            scenario.good = [self.mailbox_user]
        self.write(self.text_path, "Subject: crash\n\n" + scenario.body)
        self.template = {}
        self.furnish()
        self.reset()
        if scenario.old:
            self.template = self.old_queue()
        elif scenario.queued:
            self.submit(*scenario.submission(),
                        text=self.text_path.read_bytes())
            self.template = {
                n: (self.spool / n).read_bytes() for n in self.queue()}
            assert len(self.template) == 1

    def furnish(self):
        """Where local mail goes."""

    def old_queue(self):
        """As DragonFly's dma leaves it: a pair of files a recipient."""
        files = {}
        for n, who in enumerate(self.scenario.good):
            name = "5f00%d.55aa%d" % (n, n)
            files["Q" + name] = ("ID: %s\nSender: %s\nRecipient: %s\n" % (
                name, self.scenario.sender, who)).encode()
            files["M" + name] = (b"From: boss@remote.example\n" +
                                 self.text_path.read_bytes())
        return files

    def old_recipients(self):
        return {x.read_text().split()[-1] for x in self.spool.glob("Q*.*")}

    def reset(self):
        for name in os.listdir(self.spool):
            if name[0] in "QM" or instance.QUEUE_ID.match(name) or "." in name[3:5] or \
                    name.startswith(("tmp.", "bad.", "dead.", "told.")):
                os.unlink(self.spool / name)
        self.empty_log()
        self.mbox_path.unlink(missing_ok=True)
        shutil.rmtree(self.maildir_path, ignore_errors=True)
        self.lock_path().unlink(missing_ok=True)
        for name, data in self.template.items():
            self.put(self.spool / name, data)
        if self.scenario.mailbox is not None:
            self.put(self.mbox_path, self.scenario.mailbox)
        self.sink.messages.clear()
        self.sink.connections.clear()
        self.sink.violations.clear()
        self.first_pass = True

    def make_maildir(self):
        """One that is there already."""
        if self.scenario.box == "maildir":
            for name in "", "tmp", "new", "cur":
                (self.maildir_path / name).mkdir()
                self.own(self.maildir_path / name)

    def lock_path(self):
        return self.mbox_path.with_name(self.mbox_path.name + ".lock")

    # ---- What is done ----

    def trace(self, *options, again=False, bound=30):
        """Run the scenario under the tracer; or the queue, again."""
        self.trace_path.unlink(missing_ok=True)
        s = self.scenario
        name, what = ("sendmail", ("-q",)) if again else s.command()
        command = [self.tracer, "-l", str(self.trace_path), "-t", str(bound),
                   "-i", str(self.text_path), *map(str, options)]
        if house.IS_ROOT:
            account = instance.pwd.getpwnam(
                self.operator if s.old else self.user)
            command += ["-u", str(account.pw_uid), "-g", str(account.pw_gid)]
        done = subprocess.run(
            [*command, str(self.bin / name), *self.first_args, *what],
            env={"PATH": "/usr/bin:/bin", "LOGNAME": self.user}, cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode not in (2, 77), done.stderr.decode()
        reap()
        self.sink.wait_idle()
        return Trace(done.returncode, self.trace_path, done.stdout)

    def recover(self):
        """Run the queue until nothing moves."""
        self.first_pass = False
        self.age_locks()
        for _ in range(4):
            self.run("-q", user=self.operator)
            reap()
            if not self.queue():
                break
        self.sink.wait_idle()

    def age_locks(self):
        """The time passes after which a dead program's lock is broken."""
        if self.lock_path().exists():
            os.utime(self.lock_path(), (0, 0))

    # ---- What came of it ----

    def statuses(self):
        """{recipient: status byte} on disk; a notice has its sender's."""
        out = {}
        for name in self.queue():
            out.update(statuses_in((self.spool / name).read_bytes()))
        out["taken, and still there"] = self.old_recipients() & set(out)
        for who in [*self.scenario.bad, TOLD]:
            out[who] = out.get(self.scenario.sender, "-")
        return out

    def copies(self):
        """{recipient: whole copies}, and what came that is none."""
        count, wrong = collections.Counter(), []
        for message in list(self.sink.messages):
            if message.sender == "":
                self.count_notice(message, count, wrong)
            elif message.data.endswith(self.wire()) and \
                    b"\r\nSubject: crash\r\n" in message.data:
                count.update(message.recipients)
            else:
                wrong.append("a message of %d bytes" % len(message.data))
        if self.scenario.box == "maildir":
            self.count_maildir(count, wrong)
        elif self.scenario.box == "command":
            self.count_commands(count)
        elif self.scenario.local:
            self.count_mailbox(count, wrong)
        return count, wrong

    def wire(self):
        text = "\n\n" + self.scenario.body
        return text.replace("\n", "\r\n").encode()

    def count_notice(self, message, count, wrong):
        text = message.data
        about = re.findall(rb"\r\nFinal-Recipient: rfc822; ?(\S+)", text)
        if message.recipients != [self.scenario.sender] or not about or \
                not re.search(rb"\r\n--=_[0-9A-Vswx]+--\r\n$", text):
            wrong.append("a notice of %d bytes" % len(text))
        if b"\r\nAction: delivered\r\n" in text:
            about = [TOLD.encode()]
        count.update(x.decode() for x in about)

    def count_mailbox(self, count, wrong):
        """Whole messages; what a crash cut short is kept apart."""
        text = self.mbox_path.read_bytes() if self.mbox_path.exists() else b""
        before = self.scenario.mailbox or b""
        if not text.startswith(before):
            wrong.append("the mailbox lost what was in it")
        body = self.scenario.body.encode()
        body = re.sub(rb"(?m)^(>*From )", rb">\1", body)
        for piece in re.split(rb"(?m)^(?=From )", text[len(before):]):
            if piece.strip() == b"":
                continue
            if not piece.endswith(b"\n\n"):
                wrong.append("in the mailbox, without its end: %r"
                             % piece[-60:])
            text = piece.partition(b"\n\n")[2]
            if text == body + b"\n":
                count[self.mailbox_user] += 1
            elif self.after_cut or body.startswith(text.rstrip(b"\n")):
                count["torn"] += 1
            else:
                wrong.append("in the mailbox: %r" % piece[:60])

    def count_maildir(self, count, wrong):
        """Each file in new is whole, whatever was done to us."""
        for path in (self.maildir_path / "new").glob("*"):
            text = path.read_bytes().partition(b"\n\n")[2]
            if text == self.scenario.body.encode():
                count[self.mailbox_user] += 1
            elif not self.after_cut:
                wrong.append("in the maildir: %r" % text[-60:])

    def count_commands(self, count):
        """What a command was given whole; what it makes of half is its."""
        if self.mbox_path.exists():
            count[self.mailbox_user] += self.mbox_path.read_bytes().count(
                b"\n\n" + self.scenario.body.encode())

    def snapshot(self):
        """Who has it, and what is on disk about that."""
        return self.copies()[0], self.statuses()

    def windows(self, who, snapshots, killed):
        """How many crashes came between the final dot and the record."""
        open_still, had, n = "TU" if killed else "U", 0, 0
        for count, statuses in snapshots:
            n += count[who] > had and statuses.get(who, "-") in open_still
            n += who in statuses["taken, and still there"]
            # Submitted again by him who forwards it, but not yet recorded.
            n += self.scenario.forward and (
                statuses.get(Installed.mailbox_user, "-") in open_still and
                (count[who] > 0 or who in statuses))
            had = count[who]
        return n

    def judge(self, accepted, snapshots, killed):
        """[(what is wrong, with whom)], and who has a second copy of it.

        accepted   True, False, or None: the caller does not know
        snapshots  after each crash, before what came next
        killed     "all", "one", "twice", None: what happened to the processes
        """
        s, faults, again = self.scenario, [], []
        count, wrong = self.copies()
        faults += [("garbled", x) for x in wrong + self.sink.violations]
        numbers = {min(count[x], 1) for x in s.readers}
        for who in s.readers:
            if count[who] == 0 and accepted:
                faults.append(("lost", who))
            if count[who] > 0 and accepted is False:
                faults.append(("half", who))
            if count[who] > 1 + self.windows(who, snapshots, killed):
                faults.append(("twice", who))
            elif count[who] > 1:
                again.append(who)
        if accepted is None and len(numbers) > 1 and not s.remove:
            faults.append(("half", "%s" % dict(count)))
        if count["torn"]:
            again.append("torn")
            if not killed:
                faults.append(("garbled", "a torn message in the mailbox"))
        for message in self.sink.messages:
            if message.connection.quit and killed == "all" and \
                    set(message.recipients) & set(again) and \
                    message.time < self.recovery_began:
                faults.append(("twice", "QUIT was said before the record"))
        left = self.queue() + list(self.old_recipients()) + [
            x for x in self.traces()
            if not x.startswith("tmp.") or not killed]
        faults += [("left", x) for x in left]
        faults += [("alarm", x) for x in self.log().splitlines()
                   if "does not decode" in x or "is damaged" in x]
        return faults, again

    def settle(self, trace, killed, earlier=()):
        """After a run: recover, and judge it."""
        accepted = self.scenario.accepted(trace.exit)
        if b"0 messages removed" in trace.said and not self.queue():
            accepted = None  # another run had it first
        snapshots = [*earlier, self.snapshot()]
        self.recovery_began = time.monotonic()
        self.recover()
        return self.judge(accepted, snapshots, killed)


class Bed(Measured, instance.Private):
    """A private instance: any user may."""

    def __init__(self, directory, programs, tracer):
        super().__init__(directory, programs)
        self.operator = self.mailbox_user = self.user
        self.begin(tracer, self.directory, TIMEOUTS=1)

    def furnish(self):
        boxes = {None: self.mbox_path, "maildir": "%s/" % self.maildir_path,
                 "command": "|/bin/dd of=%s oflag=append conv=notrunc,fsync "
                            "bs=1M iflag=fullblock status=none"
                            % self.mbox_path}
        self.relay(self.sink, TIMEOUTS=1, MAILBOX=boxes[self.scenario.box])

    def empty_log(self):
        self.log_path.unlink(missing_ok=True)

    def put(self, path, data):
        path.write_bytes(data)
        os.chmod(path, 0o600)
        self.own(path)


class Installed(Measured, instance.System):
    """The set-id programs at work: alice submits, root's run recovers."""

    mailbox_user = "bob"

    def __init__(self, root, tracer):
        super().__init__(root)
        self.operator = "root"
        self.mbox_path = self.maildir / "bob"
        instance.System.reset(self)
        self.home = house.ROOT_SCRATCH / "bob"
        self.home.mkdir(exist_ok=True)
        accounts = house.ROOT_SCRATCH / "etc" / "passwd"
        accounts.write_text(re.sub(r"(?m)^(bob:.*):[^:]*:/bin/sh$",
                                   r"\1:%s:/bin/sh" % self.home,
                                   accounts.read_text()))
        self.begin(tracer, root)

    def furnish(self):
        self.put(self.home / ".forward",
                 "".join(self.scenario.good if self.scenario.forward
                         else []).encode())

    def reset(self):
        Measured.reset(self)

    def empty_log(self):
        os.truncate(self.log_path, 0)

    def put(self, path, data):
        user, mode = ("bob", 0o600) if path in (
            self.mbox_path, self.home / ".forward") else ("alice", 0o660)
        path.write_bytes(data)
        os.chown(path, instance.pwd.getpwnam(user).pw_uid,
                 instance.pwd.getpwnam("mail").pw_gid)
        os.chmod(path, mode)


def statuses_in(data):
    head = data.split(b"\nend\n", 1)[0].decode("utf-8", "replace")
    return {line.split("\t")[-1]: line[2] for line in head.split("\n")
            if line.startswith("R ")}


def reap():
    """Until no process that we ever started is left."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def build_tool(source, name, *flags):
    """A C program of the tests, built where nobody else builds."""
    path = house.make_scratch() / name
    subprocess.run(
        [os.environ.get("CC", "cc"), "-D_GNU_SOURCE", "-O2", "-std=c11",
         "-Wall", "-Wextra", *flags, "-o", path, HERE / source], check=True)
    os.chmod(path, 0o755)
    return path


def plant(directory, built):
    """The programs with their names, where any user reaches them."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
    for name in ("dma", "dma-smtp", "dma-local"):
        shutil.copy(built / name, directory / name)
        os.chmod(directory / name, 0o755)
    for name in NAMES:
        os.symlink("dma", directory / name)
    return directory


def enter():
    """Where everything happens; before any thread or process is started."""
    if house.IS_ROOT:
        trouble = house.enter_namespaces()
        if trouble:
            sys.exit("cannot isolate the tests: " + trouble)
    scratch = house.make_scratch()
    house.adopt_orphans()
    return scratch
