"""The launcher's part of a grant: it alone still sees the host's /dev, and opens nodes of it for single jobs.

What may be opened at all is said by the agent at the start; the zygote, which forks strangers' code, can only pick
from that.  Each thing lent is a detached mount of that one node or directory, for one job: it is gone with the job.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import Any

from edgesandbox import linux, passing
from edgesandbox.grant import Grant

Number = tuple[int, int]  # a device's major and minor


class Lender:
    """Opens what the agent has allowed."""

    def __init__(self, grants: Iterable[dict[str, Any]]) -> None:
        """Take over what ``Zygote`` was given."""
        allowed = [Grant.from_json(each) for each in grants]
        self._devices = {path for each in allowed for path in each.devices}
        self._shown = {path for each in allowed for path in each.shown}

    def __bool__(self) -> bool:
        """Say whether there is anything to lend."""
        return bool(self._devices or self._shown)

    @property
    def devices(self) -> list[str]:
        """Return the nodes of the host that may be lent."""
        return sorted(source for _path, source in self._devices)

    def lend(self, wanted: Grant) -> tuple[list[Number], list[int]]:
        """Return the devices' numbers and a mount for each of ``wanted.places``, for the caller to close.

        Raises:
            OSError: one of them is not there, is something else, or was not allowed; the text names it.
        """
        for place in wanted.places:
            if place not in (self._devices if place in wanted.devices else self._shown):
                raise OSError(f"{place[0]} was not named when the sandbox was started")
        numbers: list[Number] = []
        mounts: list[int] = []
        try:
            for _path, source in wanted.devices:
                mounts.append(_mount(source, numbers))
            for _path, source in wanted.shown:
                mounts.append(_mount(source))
        except BaseException:
            passing.close_all(mounts)
            raise
        return numbers, mounts


def _mount(path: str, numbers: list[Number] | None = None) -> int:
    """Return a detached mount of a device, whose number is added to ``numbers``, or of a directory."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if numbers is not None else os.O_DIRECTORY))
    except OSError as problem:
        what = "device" if numbers is not None else "directory"
        raise OSError(f"no {what} {path} on this host ({problem.strerror})") from None
    try:
        status = os.fstat(fd)
        if numbers is not None:
            if not stat.S_ISCHR(status.st_mode):
                raise OSError(f"{path} is not a device node")
            numbers.append((os.major(status.st_rdev), os.minor(status.st_rdev)))
        return linux.clone_tree(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
