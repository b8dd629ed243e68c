"""What one job is given beyond what every job has: device nodes, the parts of /sys they need, and variables.

Pure.  The sandbox knows nothing of what the devices are; ``gpus`` makes grants for graphics processors.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from typing import Any, Self

# A path that the job sees, and the one on this host that it leads to.
Place = tuple[str, str]
# The most nodes and directories of one job: their descriptors travel in one message, which may hold 253.
MOST_PLACES = 200
# The most bytes of one grant on its way: a job's spec, which it is a part of, travels in messages of 16 KiB.
MOST_BYTES = 12 * 1024
# What is at /dev for every job; a grant does not replace it.
_TAKEN = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/shm", "/dev/fd")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grant:
    """Devices for one job; the empty one is every job's.

    Attributes:
        devices: character devices, each with where the job finds it, below ``/dev``, and where it is on this host.
        shown: directories that the job may read, likewise, below ``/sys``.
        links: symbolic links below ``/sys``: where, and what to.
        env: variables of the job's environment.

    Raises:
        ValueError: a path is not below ``/dev`` or ``/sys``, or is taken; or there is too much.
    """

    devices: tuple[Place, ...] = ()
    shown: tuple[Place, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would land elsewhere in the job's tree."""
        if len(self.devices) + len(self.shown) > MOST_PLACES:
            raise ValueError(f"a job may be granted {MOST_PLACES} nodes and directories, not more")
        if len(json.dumps(self.to_json())) > MOST_BYTES:
            raise ValueError(f"what a job may be granted fits into {MOST_BYTES} bytes, its paths included")
        for top, pairs in (("/dev/", self.devices), ("/sys/", (*self.shown, *self.links))):
            for path, _other in pairs:
                if not path.startswith(top) or posixpath.normpath(path) != path or path in _TAKEN:
                    raise ValueError(f"{path!r} cannot be granted: it must be a plain path below {top}, and free")

    def __bool__(self) -> bool:
        """Say whether anything is granted."""
        return bool(self.devices or self.shown or self.links or self.env)

    @property
    def places(self) -> tuple[Place, ...]:
        """Everything that is mounted for it: the devices first."""
        return (*self.devices, *self.shown)

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``from_json`` reads."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: as the class.
            TypeError: a field is unknown, or not a list.
        """
        pairs = {name: tuple((str(first), str(second)) for first, second in value) for name, value in data.items()}
        return cls(**pairs)


NOTHING = Grant()
