"""What every test may lean on: the host's capabilities, and the rule that CI skips nothing it was meant to run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import browsing
    import postgres_server

# CI machines are slow and shared: a property says something about values, never about time.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# Some machines say that Python should store no bytecode.  Then each program that a test starts, and that is hundreds,
# compiles a thousand modules anew: 4.4 s of processor time until a gateway is imported, instead of 1.8.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _user_namespaces() -> str | None:
    from edgesandbox import SandboxUnavailable, Zygote

    try:
        with Zygote(entry="builtins:print"):
            return None
    except SandboxUnavailable as error:
        return str(error)


def _root() -> str | None:
    return None if os.geteuid() == 0 else "the test changes users, which only root may"


def _unfiltered() -> str | None:
    status = Path("/proc/self/status").read_text()
    return None if "\nSeccomp:\t0\n" in status else "this host filters system calls itself"


def _landlock_scopes() -> str | None:
    from edgesandbox import landlock

    version = landlock.abi()
    return None if version >= 6 else f"Landlock keeps signals apart from version 6 on, this kernel has {version}"


def _ipv6() -> str | None:
    with socket.socket(socket.AF_INET6) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            return "this host's loopback has no IPv6 address"
    return None


def _postgresql() -> str | None:
    import postgres_server  # and with it libraries that hosts which only test the sandbox lack

    return postgres_server.missing()


def _chromium() -> str | None:
    if shutil.which("chromium") is None:
        return "chromium is not installed"
    return None if importlib.util.find_spec("playwright") else "playwright is not installed"


def _program(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _module(name: str, distribution: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"{distribution} is not installed"


#: What ``@pytest.mark.needs`` may name: each says None, or why this host cannot run the test.
CAPABILITIES: dict[str, Callable[[], str | None]] = {
    "postgresql": _postgresql,
    "ipv6": _ipv6,
    "landlock_scopes": _landlock_scopes,
    "cc": _program("cc"),
    "sandbox": _user_namespaces,
    "root": _root,
    "chromium": _chromium,
    "curl": _program("curl"),
    "hledger": _program("hledger"),
    "nvidia-ml-py": _module("pynvml", "nvidia-ml-py"),
    "setpriv": _program("setpriv"),
    "systemd-analyze": _program("systemd-analyze"),
    "uidmap": _program("newuidmap"),
    "unfiltered": _unfiltered,
}
_reasons: dict[str, str | None] = {}


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres_server.Server]:
    """A PostgreSQL server of this run's own; what uses it is marked ``needs("postgresql")``."""
    import postgres_server

    with postgres_server.running() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[browsing.Browser]:
    """A Chromium of this run's own; what uses it is marked ``needs("chromium")``."""
    import browsing

    with browsing.running() as chromium:
        yield chromium


#: Set by CI, on a machine where every test can run: there, a skipped test is a failure.
MUST_RUN = bool(os.environ.get("EDGEAGENT_TESTS_MUST_RUN"))
_skipped: list[str] = []


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose host lacks what it needs, and say why."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if name not in _reasons:
                _reasons[name] = CAPABILITIES[name]()
            if (reason := _reasons[name]) is not None:
                pytest.skip(reason)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember each skipped test."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember each skipped file."""
    if report.skipped:
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where everything was meant to run and something did not."""
    if MUST_RUN and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped where nothing may be."""
    if MUST_RUN and _skipped:
        terminalreporter.section("skipped where everything was meant to run", red=True)
        for nodeid in _skipped:
            terminalreporter.line(nodeid)
