"""Files that a single job is given, read-only: one directory of many that the caller keeps side by side, its shelf.

The zygote has the shelf as a whole, out of sight of its jobs; a job that names a directory on it finds that one at
``INPUTS`` and none of the others.  So a caller can put a job's files there while the zygote runs, and a job that is
handed to a stranger never sees what was put there for another.
"""

from __future__ import annotations

import re

from edgesandbox import linux
from edgesandbox.calls import Calls

# Where the zygote has it, and each job until it is covered.
INSIDE = "/shelf"
# Where a job finds its own directory.
INPUTS = "/inputs"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


def check(name: str) -> None:
    """Refuse what could be a path.

    Raises:
        ValueError: it is no plain name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a directory on the shelf: letters, digits, - and _, at most 100")


def give(name: str) -> None:
    """Mount a directory of the shelf for the job; its mount is read-only because the shelf's is.

    Raises:
        OSError: there is no such directory, or no shelf.
    """
    linux.mount(f"{INSIDE}/{name}", INPUTS, "none", linux.MS_BIND)


def add_cover(calls: Calls) -> None:
    """Put an empty file system over the shelf: what is there is for other jobs, which may have the same user."""
    flags = linux.MS_RDONLY
    calls.add("mount", b"none", INSIDE.encode(), b"tmpfs", flags, b"size=4k,mode=0", what=f"cover {INSIDE}")
