"""By somebody who is not root: the same tests once more, and hosts that cannot confine jobs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sandboxing import HERE, as_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


#: Dealt out in as many hands, so that no single test takes long.  That of tier C is run as this user by itself.
HANDS = 5
FILES = sorted(str(path) for path in HERE.glob("test_*.py") if path.name != "test_sandbox_tierc.py")


@pytest.mark.parametrize("hand", range(HANDS))
def test_an_ordinary_user_gets_the_same_sandbox(hand):
    """All other tests in this directory pass for a user without any privilege."""
    tests = (sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *FILES[hand::HANDS])

    done = subprocess.run(as_nobody(*tests), capture_output=True, text=True, timeout=1200, cwd="/tmp", check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert " passed" in done.stdout.splitlines()[-1]
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert [line for line in skipped if "only root" not in line] == []


def test_a_host_without_user_namespaces_says_what_to_type():
    """One line on stderr, exit code 1, no traceback."""
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    command = ("unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh", sys.executable, "-m", "edgesandbox")

    done = subprocess.run(as_nobody(*command, "check"), capture_output=True, text=True, timeout=60, check=False)

    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n")
    assert "No space left on device; type: sudo sysctl -w user.max_user_namespaces=15000" in done.stderr


def test_root_without_capabilities_is_refused():
    """Its jobs would be the host's root, and write where that may."""
    command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "edgesandbox", "check"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (1, "") == (done.returncode, done.stdout)
    assert 1 == done.stderr.count("\n")
    assert "start as an ordinary user" in done.stderr
