"""A kernel that lacks one thing: a real filter makes a single call fail, and the command has to say which."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from sandboxing import control_groups, in_sessions, mounts, wait_until

pytestmark = pytest.mark.needs("sandbox")

# Name, number on x86_64 and on aarch64, and what the line has to name.
CALLS = {
    "clone3": (435, 435, "clone3"),
    "unshare": (272, 97, "unshare"),
    "pivot_root": (155, 41, "pivot_root"),
    "open_tree": (428, 428, "open_tree"),
    "move_mount": (429, 429, "move_mount"),
    "mount_setattr": (442, 442, "mount_setattr"),
    "mount": (165, 40, "mount"),
    "close_range": (436, 436, "close_range"),
    "capset": (126, 91, "capset"),
    "landlock_restrict_self": (446, 446, "landlock_restrict_self"),
    "signalfd4": (289, 74, "signalfd"),
    "timerfd_create": (283, 85, "timerfd_create"),
    "pidfd_open": (434, 434, "pidfd_open"),
    "setresuid": (117, 147, "set"),
}
FILTERED = (
    "import os, struct, sys; from edgesandbox import linux, seccomp; from edgesandbox.calls import Calls\n"
    "number, error = map(int, sys.argv[1:3])\n"
    "code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000)]\n"
    "calls = Calls(); calls.add('prctl', 38, 1, 0, 0, 0)\n"
    "seccomp.add(calls, b''.join(struct.pack('=HBBI', *each) for each in code)); calls.make()\n"
    "import subprocess\n"
    "class Launcher(subprocess.Popen):\n"
    "    def __init__(self, *args, **kwargs):\n"
    "        super().__init__(*args, **kwargs); print(self.pid, flush=True)\n"
    "subprocess.Popen = Launcher\n"
    "from edgesandbox.__main__ import main; sys.exit(main(['run', '--', 'true']))\n"
)


@pytest.mark.parametrize("error", [1, 38], ids=["EPERM", "ENOSYS"])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_fails_is_named(name, error):
    """Exit code 125, outcome setup_failed, one line with the call in it; no process, mount or control group left."""
    number = CALLS[name][platform.machine() == "aarch64"]
    before = mounts()

    done = subprocess.run(
        [sys.executable, "-c", FILTERED, str(number), str(error)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )

    assert 125 == done.returncode, done.stderr
    assert done.stderr.startswith("edgesandbox: setup_failed (")
    assert 1 == done.stderr.count("\n")
    assert CALLS[name][2] in done.stderr
    assert before == mounts()
    launchers = set(map(int, done.stdout.split()))
    assert launchers
    wait_until(lambda: not in_sessions(launchers))
    assert [] == control_groups(launchers)
