"""Which user and group ids the zygote and its jobs get.

Pure.  Root gives every job at work a kernel id of its own, far from any account; an ordinary user has one id only, his
own, and all his jobs share it.
"""

from __future__ import annotations

import dataclasses

# systemd's UIDS-GIDS.md leaves 1,879,048,192 to 2,147,352,575 to nobody.
UNUSED_FIRST = 1_879_048_192
UNUSED_END = 2_147_352_576
BLOCK = 65_536

JOB_ID = 1000  # user and group of the job, as seen from inside


@dataclasses.dataclass(frozen=True)
class Ids:
    """A run of ids: the first is the zygote's, the others are its jobs'."""

    first: int
    count: int

    @property
    def separate(self) -> bool:
        """Say whether every job has an id that no other process has."""
        return self.count > 1


def parse_map(text: str) -> list[tuple[int, int, int]]:
    """Read /proc/self/uid_map: (inside, outside, count) for each line."""
    return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, text.splitlines())]


def choose(extents: list[tuple[int, int, int]], seed: int) -> Ids | None:
    """Return a block of ids that this user namespace maps and that no account has; None where there is none.

    ``seed`` spreads zygotes that run at one time (a process id is a good one) over the blocks.
    """
    for inside, _outside, count in extents:
        if inside <= UNUSED_FIRST and inside + count >= UNUSED_END:
            blocks = (UNUSED_END - UNUSED_FIRST) // BLOCK
            return Ids(UNUSED_FIRST + seed % blocks * BLOCK, BLOCK)
    # A rootless container: the upper quarter of the largest run, where images put no accounts.
    inside, _outside, count = max(extents, key=lambda extent: extent[2], default=(0, 0, 0))
    quarter = count // 4
    return Ids(inside + count - quarter, quarter) if quarter >= 1024 else None
