# SPDX-License-Identifier: BSD-3-Clause
"""Programs that send mail, as their users run them.

They are unpacked by servers.py, never installed, and all lie over the
system's own root in one overlay, where the dma under test has the names
that they call.
"""

import contextlib
import os
import shutil
import subprocess

import instance
import servers

SETS = ("mailers", "php", "scripts", "daemons", "monitors")
NAMES = ("sbin/sendmail", "lib/sendmail", "bin/mailq", "bin/newaliases")
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"


class Callers:
    """The root of the callers, and an installed dma in it."""

    def __init__(self, system, scratch):
        self.scratch = scratch
        self.root = servers.Root(
            [name for name in SETS if servers.is_fetched(name)], scratch, 0)
        self.lay_sendmail(system)
        self.add_accounts()

    def lay_sendmail(self, system):
        """Ours has the names, whatever else is installed or unpacked."""
        self.root.mkdir(system.root)
        subprocess.run(["mount", "--bind", system.root,
                        self.root.inside(system.root)], check=True)
        for name in NAMES:
            self.link("/usr/" + name, system.prefix / name)

    def add_accounts(self):
        """Alice with a home, and what PAM and sudo want to know."""
        passwd = self.root.inside("/etc/passwd").read_text()
        self.root.write("/etc/passwd", passwd.replace(
            "Alice Example:/nonexistent", "Alice Example:/home/alice"))
        self.root.write("/etc/shadow", "".join(
            "%s:*:19000:0:99999:7:::\n" % x.split(":")[0]
            for x in passwd.splitlines()), 0o600)
        self.root.write("/etc/hosts",
                        "127.0.0.1 localhost client.example client\n")
        self.root.mkdir("/home/alice", "alice")
        self.root.mkdir("/tmp", mode=0o1777)
        # What a package's installation script would have linked.
        if not os.path.lexists(self.root.inside("/usr/bin/php")):
            self.link("/usr/bin/php", "php.default")

    def link(self, path, target):
        link = self.root.inside(path)
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def run(self, *args, user="alice", text="", env=None, cwd="/"):
        """A program in there, to its end: an instance.Result."""
        if isinstance(text, str):
            text = text.encode()
        home = "/root" if user == "root" else "/home/" + user
        environment = {"PATH": PATH, "HOME": home, "USER": user,
                       "LOGNAME": user, "SHELL": "/bin/sh",
                       "LANG": "C.UTF-8"}
        environment.update(env or {})
        done = subprocess.run(
            ["chroot", "--userspec=%s:%s" % (user, user), "--groups=",
             self.root.path, "/usr/bin/env", "-C", cwd, *map(str, args)],
            input=text, capture_output=True, env=environment, check=False,
            timeout=instance.COMMAND_BOUND)
        return instance.Result(done)

    def must(self, *args, **more):
        """A program that must succeed, in silence on stderr."""
        result = self.run(*args, **more)
        assert result.exit == 0 and result.err == "", result
        return result.out

    @contextlib.contextmanager
    def daemon(self, *args):
        """A daemon for as long as the test looks at it."""
        log = self.scratch / (os.path.basename(args[0]) + ".log")
        log.write_text("")
        process = self.root.start(log, *args)
        try:
            yield process
        except BaseException:
            print("what %s said:\n%s" % (args[0], log.read_text()))
            raise
        finally:
            process.terminate()
            process.wait(instance.BOUND)

    def empty(self, path, user=None, mode=0o755):
        """A new, empty directory."""
        shutil.rmtree(self.root.inside(path), ignore_errors=True)
        self.root.mkdir(path, user, mode)
        return path

    def leave(self):
        self.root.end()
        self.root.leave()
