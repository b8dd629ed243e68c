"""On macOS and Windows: what a node needs is not there, and the commands say so instead of falling."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: The platform's own modules are loaded first: it is this project's that are to cope with another name.
FAKED = """
import sys, sysconfig, zoneinfo, subprocess, multiprocessing.connection
import click, trio, hypercorn.trio, cattrs, structlog, httpx2, psutil, cryptography, sqlite3, hypercorn.config
sys.platform = {platform!r}
"""
#: What runs on Linux alone is imported too, when nothing of it is called.
IMPORT_ALL = """
import importlib, pkgutil, edgeagent
names = [m.name for m in pkgutil.walk_packages(edgeagent.__path__, "edgeagent.")]
ours = [n for n in names if n.startswith(("edgeagent.cli", "edgeagent.node", "edgeagent.wire", "edgeagent.errors"))]
assert len(ours) > 60, ours
for name in ours:
    importlib.import_module(name)
"""
RUN = "from edgeagent.cli import main; main({words!r})"


def faked(platform: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter that says that it is on another platform."""
    command = [sys.executable, "-c", FAKED.format(platform=platform) + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_every_module_of_the_node_can_be_imported(platform: str) -> None:
    """Nothing looks for what only Linux has before it is needed."""
    done = faked(platform, IMPORT_ALL)

    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_run_says_that_jobs_run_in_docker(platform: str) -> None:
    """One line, exit 2."""
    done = faked(platform, RUN.format(words=["run"]))

    assert 2 == done.returncode, done.stderr
    assert "run the node in Docker" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_what_needs_no_sandbox_works(platform: str) -> None:
    """Help is there, for those who submit jobs from such a machine."""
    done = faked(platform, RUN.format(words=["job", "submit", "--help"]))

    assert (0, "") == (done.returncode, done.stderr)
    assert "Usage:" in done.stdout
