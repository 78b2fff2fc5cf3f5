# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures.  README.md in the directory above has the map."""

import itertools
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import certs  # noqa: E402
import dnsd  # noqa: E402
import house  # noqa: E402
import instance  # noqa: E402
import servers  # noqa: E402
import smtpd  # noqa: E402

# Whoever started us with nohup: dma keeps that wish, and the tests try others.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
house.adopt_orphans()
NAMESPACE_TROUBLE = house.enter_namespaces() if house.IS_ROOT else None
TREE_NAMES = ("sendmail", "send-mail", "mailq", "newaliases", "dmactl")
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def scratch():
    if NAMESPACE_TROUBLE:
        pytest.exit("cannot isolate the tests: " + NAMESPACE_TROUBLE, 1)
    return house.make_scratch()


@pytest.fixture(scope="session")
def built():
    """The build directory of the plain program."""
    try:
        return house.build("plain")
    except subprocess.CalledProcessError:
        pytest.exit("it does not build", 1)


@pytest.fixture(scope="session")
def tree(scratch, built):
    """The programs with all their names, where any user reaches them."""
    directory = scratch / "tree"
    directory.mkdir(mode=0o755)
    for name in ("dma", "dma-smtp", "dma-local"):
        shutil.copy(built / name, directory / name)
        os.chmod(directory / name, 0o755)
    for name in TREE_NAMES:
        os.symlink("dma", directory / name)
    return directory


@pytest.fixture(scope="session")
def authority(scratch):
    return certs.Authority(scratch / "certs")


@pytest.fixture(scope="session")
def stranger(scratch):
    """A CA that nobody trusts."""
    return certs.Authority(scratch / "stranger")


@pytest.fixture(scope="session")
def trusted(authority):
    """The CA, and this machine believes it; for root only."""
    if not house.IS_ROOT:
        pytest.skip("needs root: a CA of its own in /etc/ssl")
    house.trust(authority)
    return authority


@pytest.fixture
def private(scratch, tree):
    one = instance.Private(scratch / ("private.%d" % next(numbers)), tree)
    yield one
    instance.kill_all()
    one.check_secrets()


@pytest.fixture(scope="session")
def installed(scratch):
    if not house.IS_ROOT:
        pytest.skip("needs root: an installed tree and several users")
    one = instance.System(scratch / "system")
    one.install()
    return one


@pytest.fixture
def system(installed):
    installed.reset()
    yield installed
    instance.kill_all()
    installed.check_secrets()


class Servers:
    """Starts servers for one test and holds the client to the rules."""

    def __init__(self):
        self.running = []

    def sink(self, *args, **options):
        return self.keep(smtpd.Sink(*args, **options))

    def script(self, text, **options):
        return self.keep(smtpd.Script(text, **options))

    def keep(self, server):
        self.running.append(server.start())
        return server

    def again(self, server, kind=smtpd.Sink, **options):
        """Stop a server and start another one on its port."""
        server.stop()
        return self.keep(kind(host=server.host, port=server.port, **options))

    def stop(self, instances):
        for server in self.running:
            server.stop()
        broken = [v for s in self.running for v in s.violations]
        assert not broken, "the client broke the protocol: %s" % broken
        if not any(one.insecure for one in instances):
            self.check_credentials(instances)

    def check_credentials(self, instances):
        """Whatever a server did, none was said to it but inside TLS."""
        secrets = {x.decode("latin-1") for i in instances for x in i.secrets}
        for connection in (c for s in self.running for c in s.connections):
            for line in connection.lines:
                if line.startswith("! TLS"):
                    break
                assert not line.startswith("C: AUTH"), "in plain text"
                assert not any(x in line for x in secrets), "in plain text"


@pytest.fixture
def smtp(request):
    servers_of_test = Servers()
    yield servers_of_test
    report = getattr(request.node, "report", None)
    if report is not None and report.failed:
        for server in servers_of_test.running:
            print(server.dialogue())
    servers_of_test.stop([x for x in request.node.funcargs.values()
                          if isinstance(x, instance.Instance)])


@pytest.fixture(scope="session")
def name_server():
    if not house.IS_ROOT:
        pytest.skip("needs root: a name server on port 53")
    server = dnsd.NameServer().start()
    yield server
    server.stop()


@pytest.fixture
def dns(name_server):
    name_server.clear()
    return name_server


@pytest.fixture
def real(scratch, authority, request):
    """Real mail servers: real.postfix(...), each stopped at the end."""
    if not house.IS_ROOT:
        pytest.skip("needs root: mail servers in roots of their own")
    started = servers.Started(scratch, authority, next(numbers))
    yield started
    report = getattr(request.node, "report", None)
    started.stop(show_logs=report is not None and report.failed)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "rows(*ids): the rows of test/rows that it is named after")


def pytest_collection_modifyitems(items):
    """-k V-12 finds them."""
    for item in items:
        for mark in item.iter_markers("rows"):
            item.extra_keyword_matches.update(mark.args)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.report = report
        if report.failed:
            for name in ("private", "system"):
                one = item.funcargs.get(name)
                if one is not None:
                    lines = one.log().splitlines()[-40:]
                    report.sections.append(
                        ("end of the log of dma", "\n".join(lines)))


def pytest_sessionfinish(session):
    """For test/run: how many passed, failed and were skipped."""
    path = os.environ.get("DMA_COUNTS")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if path and reporter:
        stats = {key: len(value) for key, value in reporter.stats.items()}
        pathlib.Path(path).write_text("%d %d %d\n" % (
            stats.get("passed", 0) + stats.get("xfailed", 0),
            stats.get("failed", 0) + stats.get("error", 0),
            stats.get("skipped", 0)))
