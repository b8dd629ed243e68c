"""What this kernel offers beyond namespaces, found out once by the zygote, by asking the kernel itself."""

from __future__ import annotations

import dataclasses

from edgesandbox import landlock, protections, seccomp

# Landlock's first version forbids to rename a file from one directory to another, which programs do not expect.
_LANDLOCK_USABLE = 2


@dataclasses.dataclass(frozen=True)
class Features:
    """What every job of this zygote can be given.

    Attributes:
        filter: the seccomp program; empty where there is none for this machine.
        landlock: the ABI version; 0 where there is none, or none that is usable.
        separate_ids: whether each job has a kernel user id of its own.
    """

    filter: bytes
    landlock: int
    separate_ids: bool

    def account(self, without: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return which protections a job has when those in ``without`` are left out, and why not the others."""
        optional = {
            "separate_user_id": self.separate_ids,
            "nested_namespaces_denied": True,
            "seccomp": bool(self.filter),
            "landlock": bool(self.landlock),
        }
        have = {name for name, there in optional.items() if there and name not in without}
        missing = protections.MISSING | dict.fromkeys(without, protections.LEFT_OUT)
        enforced = (*protections.ALWAYS, *(name for name in optional if name in have))
        return enforced, {name: why for name, why in missing.items() if name not in have}


def detect(*, separate_ids: bool) -> Features:
    """Ask the kernel."""
    try:
        code = seccomp.program(count_memory=False)
    except KeyError:
        code = b""
    version = landlock.abi()
    return Features(code, version if version >= _LANDLOCK_USABLE else 0, separate_ids)
