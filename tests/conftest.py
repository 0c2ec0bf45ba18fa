"""Which tests run where, how many may skip, and the fixtures that every folder shares.

Folders mark their tests (FOLDER_MARKS). `make test` runs what is marked `kernel` or `cgroup` on
the host and again in a User-Mode Linux guest, whose kernel has cgroup v2 alone; what is marked
`guest` needs such a kernel and is left out elsewhere.
"""

from __future__ import annotations

import functools
import os
import platform
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import leaks, places
from tests.support.daemon import Daemon, running_daemon
from tests.support.pace import IN_GUEST

HERE = Path(__file__).parent
FOLDER_MARKS = {
    "kernel": ("kernel",),
    "api": ("api", "cgroup"),
    "load": ("load", "cgroup"),
    "chaos": ("chaos", "cgroup"),
    "attacks": ("api", "cgroup"),
    "bench": ("bench",),
}
# These touch the kernel for real, need root, and are checked for what they leave.
REAL = ("kernel", "cgroup", "guest", "api", "load", "chaos", "bench")
SETTLE_SECONDS = 5.0
# User-Mode Linux runs on x86_64 only, and not in itself.
NO_GUESTS = platform.machine() != "x86_64" or IN_GUEST
collect_ignore = ["guest"] if NO_GUESTS else []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that `make` gives, so that a run of a few tests by hand has no limit."""
    parser.addoption(
        "--limit-skips",
        metavar="RUN",
        help="fail when more tests skip than tests/skips-allowed has for RUN",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Orphans of what tests start stay below this process; names it makes are marked its."""
    places.tag_this_run()
    leaks.become_subreaper()
    # Where this was started in the background by a script, what tests start would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says how busy the machine is, and nothing else.
    settings.register_profile("orlop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("orlop")
    # Daemons are started by the hundred: each would compile all of its modules for 0.7 s.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# --- which tests run ------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)  # before -m is applied
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark by folder, then leave out what is for another run."""
    for item in items:
        if item.path.is_relative_to(HERE):
            for mark in FOLDER_MARKS.get(item.path.relative_to(HERE).parts[0], ()):
                item.add_marker(mark)
    marks_asked_for = str(config.option.markexpr)
    left_out = [item for item in items if _for_another_run(item, marks_asked_for)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _for_another_run(item: pytest.Item, marks_asked_for: str) -> bool:
    if item.get_closest_marker("bench") and "bench" not in marks_asked_for:
        return True
    return item.get_closest_marker("guest") is not None and not only_cgroup_v2()


def only_cgroup_v2() -> bool:
    """This kernel has the unified hierarchy alone, as the guest and most newer hosts."""
    return Path("/sys/fs/cgroup/cgroup.controllers").exists()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this host cannot run, saying why."""
    if _is_real(item) and os.geteuid() != 0:
        pytest.skip("needs root")
    for marker in item.iter_markers("feature"):
        for name in marker.args:
            lacking = _lacks(name)
            if lacking:
                pytest.skip(lacking)


def _is_real(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in REAL)


@functools.cache
def _lacks(name: str) -> str:
    """Why this host lacks the feature; "" when it has it."""
    from supervisor.kernel.probe import probe

    features = {feature.name: feature for feature in probe()}
    if name not in features:
        raise pytest.UsageError(f"no feature {name!r}; there are {', '.join(sorted(features))}")
    feature = features[name]
    return "" if feature.status == "ok" else f"needs {name}: {feature.found}"


# --- how many may skip ----------------------------------------------------------------------


def skips_allowed(run: str) -> int:
    """The number that tests/skips-allowed has for `run`."""
    for line in (HERE / "skips-allowed").read_text().splitlines():
        name, _, number = line.partition(" ")
        if name == run:
            return int(number)
    raise pytest.UsageError(f"tests/skips-allowed has no number for {run!r}")


class SkipLimit:
    """Counts skipped tests and fails the run when there are too many."""

    def __init__(self, run: str) -> None:
        self.allowed = skips_allowed(run)
        self.skipped = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count; an expected failure is no skip though pytest reports it so."""
        self.skipped += report.skipped and not hasattr(report, "wasxfail")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Count modules that skip as a whole, too."""
        self.skipped += report.skipped

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The run fails as if a test had."""
        if self.skipped > self.allowed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why."""
        if self.skipped > self.allowed:
            terminalreporter.write_line(
                f"{self.skipped} skipped, {self.allowed} allowed (tests/skips-allowed)", red=True
            )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Put the limit in force where it was asked for."""
    run = session.config.getoption("--limit-skips")
    if run:
        session.config.pluginmanager.register(SkipLimit(run))


# --- fixtures -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def presence() -> Iterator[leaks.Presence | None]:
    """This run, as other runs on this machine see it; None without root."""
    if os.geteuid() != 0:
        yield None
        return
    presence = leaks.Presence()
    yield presence
    presence.close()


@pytest.fixture(autouse=True)
def nothing_left(
    request: pytest.FixtureRequest,
    presence: leaks.Presence | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[None]:
    """Fail a test on the real kernel when it leaves anything behind."""
    if presence is None or not _is_real(request.node):
        yield
        return
    watch = leaks.Watch(presence, tmp_path_factory.getbasetemp())
    yield
    left = watch.left(SETTLE_SECONDS)
    if left:
        pytest.fail("left behind:\n" + "\n".join(left), pytrace=False)


@pytest.fixture
def cgroup_name() -> str:
    """A name for a cgroup of the test's own, which the test removes."""
    return places.random_name()


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder that can hold sockets and an overlay's upper, which tmp_path may not."""
    with places.short_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """A daemon that the tests of one module share; removed containers are each test's duty."""
    with running_daemon() as daemon:
        yield daemon


@pytest.fixture
def new_daemon() -> Iterator[Callable[..., Daemon]]:
    """`new_daemon(*arguments)`: a daemon of the test's own, to be killed and started again."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running_daemon(arguments))
