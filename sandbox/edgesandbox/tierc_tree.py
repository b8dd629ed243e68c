"""All processes of a job that has no PID namespace: those in its process group, which its filter lets nobody leave.

Their number, and the room their files take, are counted here too, for want of anything in the kernel that does.
"""

from __future__ import annotations

import contextlib
import os
import signal

from edgesandbox import footprint, tierc_files, tree
from edgesandbox.report import Outcome
from edgesandbox.spec import Limits
from edgesandbox.tree import Usage


class ProcessGroup:
    """The group of a job's first process."""

    def __init__(self, group: int, scratch: int, tmp: int) -> None:
        """Watch a group and the two directories of its job."""
        self._group = group
        self._scratch = scratch
        self._tmp = tmp
        self._members = 0

    def look(self) -> Usage:
        """Add up what they use now."""
        usage = tree.add_up(tree.pids(), self._group)
        self._members = len(usage.pids)
        return usage

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to each of them; the kernel lets no fork come between."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, number)

    def over(self, limits: Limits) -> Outcome | None:
        """Say whether there are too many of them, too much in the job's directories, or too little room beside them."""
        if footprint.free_bytes(self._scratch) < 0 or tierc_files.too_large(self._scratch, limits.scratch_bytes):
            return Outcome.DISK_LIMIT
        if tierc_files.too_large(self._tmp, limits.tmp_bytes):
            return Outcome.DISK_LIMIT
        return Outcome.SIGNALLED if self._members > limits.pids else None
