# SPDX-License-Identifier: BSD-3-Clause
"""Memory that is refused, OpenSSL calls that fail: at each of them, in the
program that a user starts or in the agent, once or from then on.

The program ends by itself with a status that says so, or goes on; the mail
is delivered, or still in the queue for the undisturbed run that comes next;
a submission is whole or was refused; no password and no mail that wants TLS
is sent without it.
"""

import collections
import multiprocessing
import os
import pathlib
import platform
import re
import struct
import subprocess
import time
import traceback

import bed
import certs
import house

PAGE = "64s3q4096s"
LOGIN = ("u", "canary-of-the-password")
# What these give when they fail; for all others it is 0 or NULL.
FAILED = {"SSL_do_handshake": -1, "SSL_shutdown": -1, "SSL_get_error": 1,
          "SSL_get_verify_result": 1, "X509_NAME_get_index_by_NID": -1}
# They free, read or set a field, or give a constant: they cannot fail.
NEVER_FAIL = re.compile(r"""
    \w+_free | ERR_\w+ | ASN1_STRING_(get0_data|length) |
    BIO_(s_mem|clear_flags|[gs]et_callback\w*) |
    CRYPTO_memcmp | EVP_(md5|sha256) | OPENSSL_sk_(num|value) |
    OpenSSL_version(_num)? | SSL_CIPHER_get_name | TLS_client_method |
    SSL_CTX_(get_cert_store|set1_cert_store|set_options|set_verify_depth) |
    SSL_(get0_param|get_current_cipher|get_ex_data\w*|get_rbio|get_version|
    set0_rbio|set_connect_state|set_verify) |
    X509_get(0_\w+|_default_\w+|_(issuer|subject)_name) |
    X509_NAME_(ENTRY_get_data|get_entry) |
    X509_STORE_CTX_get_\w+ | X509_VERIFY_PARAM_set_hostflags |
    X509_verify_cert_error_string
    """, re.VERBOSE)
NO_MEMORY, CANNOT_LIST = 71, 74  # exit statuses; the latter is opendir's
PROGRAMS = ("dma-smtp", "dma-local")
# Libraries that crash where they get no memory, told by who asked for it.
CRASHES_INSIDE = {
    "the C library's search for a user":
        re.compile(r"libc\.so\S*:getpw(nam|uid)(_r)?\+"),
    # crypto_prepare() asks for it: nothing is at stake yet.
    "OpenSSL's first EVP_MD_fetch": re.compile(
        r"libcrypto\.so\S*:EVP_MD_fetch\+.* libcrypto\.so\S*:EVP_Digest\+\S+ "
        r"dma-smtp:"),
}


class Way:
    """How mail goes: what is traced, and over what kind of connection."""

    def __init__(self, scenario, program, sink=None, lines=(), login=True,
                 own=False, wrong=False, commands=None):
        self.scenario = bed.SCENARIOS[scenario]
        self.program = program  # where the fault is: "dma" or "agent"
        self.sink = sink or {}
        self.lines, self.login = lines, login
        self.own = own  # a certificate of ours is shown
        self.wrong = wrong  # the server's certificate is for another
        self.command = commands


WAYS = {
    "submission": Way("submission-3", "dma"),
    "removal": Way("removal", "dma"),
    "runner": Way("delivery-3", "dma"),
    "notice": Way("notice", "dma"),
    "mailq": Way("delivery", "dma", commands=("mailq",)),
    "list": Way("delivery", "dma", commands=(
        "dmactl", "queue", "list", "--json")),
    "hold": Way("delivery", "dma", commands=(
        "dmactl", "queue", "hold", "--all")),
    "dialogue": Way("submission", "dma", commands=("sendmail", "-bs", "-odq")),
    "mailbox": Way("mailbox", "agent"),
    "plain": Way("delivery-3", "agent"),
    "starttls": Way("delivery-3", "agent", {"tls": "starttls"},
                    ("SECURETRANSFER", "STARTTLS"), own=True),
    "implicit": Way("delivery-3", "agent", {
        "tls": "implicit", "mechanisms": ("PLAIN",)}, ("SECURETRANSFER",)),
    "refused": Way("delivery", "agent", {"tls": "starttls"},
                   ("SECURETRANSFER", "STARTTLS"), wrong=True),
}
NAMES = {False: ("localhost", "127.0.0.1"), True: ("nobody@other.example",)}
DIALOGUE = (b"EHLO x\r\nMAIL FROM:<boss@remote.example>\r\n"
            b"RCPT TO:<a@dest.example>\r\nDATA\r\n%s.\r\nQUIT\r\n")


def openssl_calls(program):
    """What it takes from OpenSSL and may fail."""
    text = subprocess.run(["nm", "-D", "--undefined-only", program],
                          check=True, capture_output=True, text=True).stdout
    names = re.findall(r" U (\w+)@OPENSSL", text)
    assert len(names) > 30, "nm shows no OpenSSL"
    return sorted(n for n in names if not NEVER_FAIL.fullmatch(n))


def build_shim(scratch, names):
    """Each of the names, and memory."""
    header = scratch / "calls.h"
    header.write_text("#define CALLS(F) %s\n" % " ".join(
        "F(%s, %d)" % (n, FAILED.get(n, 0)) for n in names))
    return bed.build_tool("faults.c", "faults.so", "-shared", "-fPIC",
                          "-include", header, "-ldl")


class FaultyBed(bed.Bed):
    def __init__(self, directory, programs, shim, authority, way):
        self.way, self.shim = way, shim
        self.pages = {p: directory.with_name(directory.name + "." + p)
                      for p in ("dma", "agent")}
        names = NAMES[way.wrong]
        self.sink_options = dict(way.sink)
        if way.sink:
            self.sink_options.update(
                cert=authority.leaf(*names), need_tls=True,
                auth={LOGIN[0]: LOGIN[1]}, client_ca=authority.cert)
        super().__init__(directory, programs, None)
        for program in self.pages:
            self.arm(program)
        self.plant_agents(programs)
        self.connect(authority, authority.leaf(*names) if way.sink else None)
        self.prepare(way.scenario)

    def plant_agents(self, programs):
        """Scripts in the agents' place that preload the shim."""
        self.libexec = self.directory / "libexec"
        self.libexec.mkdir()
        for name in PROGRAMS:
            self.write(self.libexec / name, "#!/bin/sh\nFAULTS=%s LD_PRELOAD=%s"
                       " exec %s \"$@\"\n" % (self.pages["agent"], self.shim,
                                              programs / name), 0o755)

    def connect(self, authority, pem):
        keys = {"TIMEOUTS": 10, "LIBEXECDIR": self.libexec}
        if not pem:
            self.relay(self.sink, **keys)
            return
        if self.way.wrong:
            keys["VERIFYCERT"] = True
        else:
            keys["FINGERPRINT"] = certs.fingerprint(pem)
        if self.way.own:
            own = self.directory / "own.pem"
            self.write(own, pathlib.Path(authority.leaf(
                "client.example")).read_text(), 0o600)
            keys["CERTFILE"] = own
        if self.way.own and house.IS_ROOT:
            keys.update(VERIFYCERT=True, SMARTHOST="localhost")
        self.relay(self.sink, *self.way.lines, login=":".join(LOGIN), **keys)

    def furnish(self):
        """connect() has said where mail goes."""

    def arm(self, program, target="", nth=0, lasting=False):
        path = self.pages[program]
        path.write_bytes(struct.pack(PAGE, target.encode(), nth, lasting, 0, b""))
        os.chmod(path, 0o666)

    def seen(self, program):
        """How often it was called, and by whom when it failed last."""
        calls, stack = struct.unpack(
            PAGE, self.pages[program].read_bytes())[3:]
        return calls, stack.split(b"\0")[0].decode()

    def run_way(self):
        """(exit status, signals that ended a process) of one run."""
        name, args = self.way.scenario.command()
        text = self.text_path.read_bytes()
        if self.way.command:
            name, *args = self.way.command
        if "-bs" in args:
            text = DIALOGUE % text.replace(b"\n.", b"\n..").replace(
                b"\n", b"\r\n")
        env = {"LD_PRELOAD": str(self.shim), "FAULTS": str(self.pages["dma"])}
        result = self.run(*args, name=name, text=text, env=env)
        signals = [-result.exit] if result.exit < 0 else []
        while True:
            try:
                _, status = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            if os.WIFSIGNALED(status):
                signals.append(os.WTERMSIG(status))
        self.sink.wait_idle()
        return result, signals

    def accepted(self, result):
        if "-bs" in (self.way.command or ()):
            return bool(re.search(r"(?m)^250 2\.0\.0 .*[0-9A-V]{20}",
                                  result.out))
        if self.way.command:
            return True
        return self.way.scenario.accepted(result.exit)

    def strike(self, target, nth, lasting):
        self.reset()
        self.arm(self.way.program, target, nth, lasting)
        result, signals = self.run_way()
        calls, stack = self.seen(self.way.program)
        for program in self.pages:
            self.arm(program)
        signals += re.findall(r"ended by signal \d+", self.log())
        faults = [signal_fault(target, n, stack) for n in signals]
        if self.way.program == "dma" and result.exit > 0 and \
                result.exit != NO_MEMORY and not (
                    result.exit == CANNOT_LIST and self.way.scenario.queued):
            faults.append(("status", "%d %s" % (result.exit, result.err)))
        if self.way.program == "agent" and result.exit != 0:
            faults.append(("status", "of -q: %r" % result))
        if LOGIN[1] in self.log() + result.out + result.err:
            faults.append(("secret", "in the log or the output"))
        return calls >= max(nth, 1), faults + self.after(result)

    def after(self, result):
        """Nothing is lost, nothing went in plain text."""
        faults = [("plain text", c.commands) for c in self.sink.connections
                  if self.way.sink and not c.tls and any(
                      x.startswith(("MAIL", "AUTH")) for x in c.commands)]
        faults += [("plain text", m.recipients) for m in self.sink.messages
                   if self.way.sink and (not m.connection.tls
                                         or not m.connection.user)]
        if self.way.wrong:
            if self.sink.messages or len(self.queue()) != 1 or \
                    self.sink.auth_tries:
                faults.append(("wrong", "server was trusted"))
            return faults
        snapshots = [self.snapshot()]
        self.recovery_began = time.monotonic()
        if self.way.command and "hold" in self.way.command:
            self.run("queue", "release", "--all", name="dmactl")
        self.recover()
        return faults + self.judge(
            self.accepted(result), snapshots, "one")[0]


def signal_fault(target, number, stack):
    """A signal, unless it is a library's own."""
    if target == "malloc":
        for words, pattern in CRASHES_INSIDE.items():
            if pattern.search(stack):
                return "inside", words
    return "signal", "%s: %s" % (number, stack)


worker = {}


def start_worker(*arguments):
    house.adopt_orphans()
    worker["arguments"] = arguments


def bed_for(name):
    if name not in worker:
        scratch, programs, shim, authority = worker["arguments"]
        directory = scratch / ("faulty.%d.%s" % (os.getpid(), name))
        worker[name] = FaultyBed(directory, programs, shim, authority,
                                 WAYS[name])
    return worker[name]


def count(name, target):
    """How often the target is called in an undisturbed run; its faults."""
    b = bed_for(name)
    _, faults = b.strike(target, 0, False)
    b.reset()
    b.arm(b.way.program, target)
    b.run_way()
    return b.seen(b.way.program)[0], faults


def point(job):
    name, target, nth, lasting = job
    try:
        return job, *bed_for(name).strike(target, nth, lasting)
    except Exception:  # pylint: disable=broad-except
        return job, False, [("error", traceback.format_exc())]


def choose(total, most):
    """At most so many numbers from 1 to total, evenly."""
    step = max(1.0, total / most) if most else 1.0
    return sorted({int(1 + i * step) for i in range(int(total / step))})


def plan(names):
    """(way, target, most points, lasting) of each row.  OpenSSL allocates
    20,000 times for one session: of these, each fifth or so."""
    for name, way in WAYS.items():
        yield name, "malloc", 4000, False
        yield name, "malloc", 200, True
        for target in names if way.sink else ():
            yield name, target, 0, False


class Table:
    """The rows, as they are printed, and their sums."""

    def __init__(self, pool):
        self.pool, self.passed, self.failed = pool, 0, 0
        self.reached, self.inside = set(), collections.Counter()

    def row(self, title, jobs, wrong):
        done = 0
        for job, hit, faults in self.pool.imap_unordered(point, jobs, 2):
            done += hit
            self.reached |= {job[1]} if hit else set()
            self.inside.update(f[1] for f in faults if f[0] == "inside")
            wrong += [(job, f) for f in faults if f[0] != "inside"]
        self.report("%-42s %6d failed" % (title, done), wrong)

    def report(self, text, wrong):
        print(text + ("  WRONG" if wrong else ""), flush=True)
        for where, fault in wrong[:10]:
            print("         at %s: %s" % (where, str(fault)[:1500]))
        self.passed += not wrong
        self.failed += bool(wrong)

    def full(self, names, words):
        for name, target, most, lasting in plan(names):
            if words and not set(words) & {name, target}:
                continue
            total, faults = self.pool.apply(count, (name, target))
            wrong = [("undisturbed", f) for f in faults]
            if total > 0 or wrong:
                self.row("%-10s %s%s" % (
                    name, target, ", and all after" if lasting else ""),
                    [(name, target, n, lasting)
                     for n in choose(total, most)], wrong)

    def short(self, names):
        """A third of dma's allocations, the first of each OpenSSL call."""
        for name, way in WAYS.items():
            jobs = [(name, "malloc", n, False) for n in (
                range(1, 90, 3) if way.program == "dma"
                else (1, 12, 30, 300, 900, 2500, 5000, 9000))]
            self.row("%-10s malloc" % name, jobs, [])
        for name in ("starttls", "refused"):
            self.row("%-10s OpenSSL" % name,
                     [(name, n, 1, False) for n in names], [])


def main(scratch, programs, options):
    names = openssl_calls(programs / "dma-smtp")
    shim = build_shim(scratch, names)
    authority = certs.Authority(scratch / "certs")
    if house.IS_ROOT:
        house.trust(authority)
    for leaf in (*NAMES.values(), ("client.example",)):
        authority.leaf(*leaf)
    pool = multiprocessing.get_context("fork").Pool(
        (os.cpu_count() or 1) + 2, start_worker,
        (scratch, programs, shim, authority))
    table = Table(pool)
    if options.short:
        table.short(names)
    else:
        table.full(names, options.words)
    pool.close()
    for words in CRASHES_INSIDE:
        print("%-42s %6d crashes" % (words, table.inside[words]))
    missed = sorted(set(names) - table.reached)
    # Without root the CA of the test is trusted by nobody.
    if missed and not options.words and house.IS_ROOT:
        table.report("each call was made", [("none", missed)])
    return table.passed, table.failed, 0


def missing():
    if platform.libc_ver()[0] != "glibc":
        return "memory is refused through glibc's own names"
    return None
