"""The same tests once more, by somebody who is not root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sandboxing import HERE

NOBODY = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="the tests are being run by an ordinary user already")
def test_an_ordinary_user_gets_the_same_sandbox(tmp_path_factory):
    """All other tests in this directory pass for a user without any privilege.

    The interpreter may live in root's home, so the user gets a mount namespace in which the way there is open: each
    closed directory on it is covered by an empty one with just the next step bound into it.
    """
    script = "\n".join([*_open_the_way(Path(os.path.realpath(sys.executable)).parents[1]), 'exec "$@"'])
    command = [
        *("unshare", "--mount", "sh", "-ec", script, "sh"),
        *("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"),
        *("env", "-i", "PATH=/usr/bin:/bin", f"PYTHONPATH={os.pathsep.join(filter(None, sys.path))}"),
        *("PYTHONDONTWRITEBYTECODE=1", "HOME=/nonexistent", "CI=" + os.environ.get("CI", "")),
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE), "--deselect", __file__),
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd="/tmp", check=False)

    last = done.stdout.strip().splitlines()[-1:]
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "passed" in "".join(last)


def _open_the_way(wanted: Path) -> list[str]:
    """Return shell lines that make ``wanted`` reachable for everybody in a mount namespace of its own."""
    closed = [parent for parent in wanted.parents if not parent.stat().st_mode & 0o001]
    if not closed:
        return []
    outermost = closed[-1]
    return [
        "mkdir -p /mnt && mount -t tmpfs stage /mnt && mkdir /mnt/kept",
        f"mount --rbind '{wanted}' /mnt/kept",
        f"mount -t tmpfs -o mode=755 opened '{outermost}' && mkdir -p '{wanted}'",
        f"mount --rbind /mnt/kept '{wanted}'",
    ]
