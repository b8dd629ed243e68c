"""Which user and group ids the zygote and its jobs get.

Pure.  Root gives every job at work a kernel id of its own, far from any account.  An ordinary user gives them those
that the administrator has set aside for him in /etc/subuid; without any he has one id only, and his jobs share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable

# systemd's UIDS-GIDS.md leaves 1,879,048,192 to 2,147,352,575 to nobody.
UNUSED_FIRST = 1_879_048_192
UNUSED_END = 2_147_352_576
BLOCK = 65_536
# Of an ordinary user's ids, which are 65,536 as a rule, each of his zygotes takes so many; fewer are of use from here.
OWN_BLOCK, FEWEST = 1024, 256

Range = tuple[int, int]  # the first id, and how many
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


def ranges_of(text: str, name: str, uid: int) -> list[Range]:
    """Read what /etc/subuid or /etc/subgid gives a user: lines of a name or number, the first id, and how many."""
    found = []
    for line in text.splitlines():
        owner, first, count = (*line.strip().split(":"), "", "", "")[:3]
        if owner in (name, str(uid)) and first.isascii() and first.isdigit() and count.isascii() and count.isdigit():
            found.append((int(first), int(count)))
    return found


def next_free(texts: Iterable[str]) -> int:
    """Return an id from which on nothing is given to anybody; 100,000, as Debian begins, where nothing is."""
    owners = {line.partition(":")[0] for text in texts for line in text.splitlines()}
    ends = [sum(each) for text in texts for owner in owners for each in ranges_of(text, owner, -1)]
    return max([100_000, *ends])


def choose_block(granted: Range, seed: int, taken: Collection[int]) -> Ids | None:
    """Return which of a user's own ids a zygote takes, as its launcher sees them, whose 1 is the first of them.

    Args:
        granted: ids of the host.
        seed: spreads zygotes that are started at one time; a process id is a good one.
        taken: ids that some process has.

    Returns:
        None where there are too few, or none that nobody uses.
    """
    first, count = granted
    size = min(OWN_BLOCK, count)
    if size < FEWEST:
        return None
    blocks = count // size
    used = {(each - first) // size for each in taken if first <= each < first + blocks * size}
    free = (block for block in ((seed + step) % blocks for step in range(blocks)) if block not in used)
    block = next(free, None)
    return None if block is None else Ids(1 + block * size, size)
