"""What a job needs of a node, what a node has, and whether the one suits the other.  Pure.

Jobs with the same need wait in the same lane of the queue (``backlog``) and are looked for on the same seats
(``dispatch``), so a need is small, hashable, and has one way to be written: the database's index is by that text.
"""

from __future__ import annotations

import attrs

from edgeagent.wire.messages import Limits
from edgeagent.wire.units import format_size

#: Sandbox tiers, the strongest first (docs/sandbox.md).
TIERS = ("A", "B", "C")
#: Memory that a job may be given without having asked for it: the operator guide's limit.
USUAL_MEMORY_BYTES = Limits().memory_bytes


@attrs.frozen
class Need:
    """What a node must offer to get a job.

    ``tier`` is the weakest sandbox that will do (empty: any), ``gpus`` how many the job gets to itself,
    ``memory_bytes`` what is set aside for it beyond a slot's usual share (0: nothing), ``fetches`` the sorted kinds of
    references that the node must be able to fetch, ``apart`` the sorted operators whose nodes may not have it: they
    have given a result that is to be checked (``trust``).
    """

    job_type: str
    tier: str = ""
    gpus: int = 0
    memory_bytes: int = 0
    fetches: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()

    def __str__(self) -> str:
        kinds, apart = ",".join(self.fetches), ",".join(self.apart)
        return f"{self.tier or '-'} {self.gpus} {self.memory_bytes} {kinds or '-'} {apart or '-'} {self.job_type}"

    @classmethod
    def parse(cls, text: str) -> Need:
        """Return the need that ``str`` wrote so."""
        tier, gpus, memory_bytes, *lists, job_type = text.split(" ", 5)
        fetches, apart = (() if one == "-" else tuple(one.split(",")) for one in lists)
        return cls(job_type, "" if tier == "-" else tier, int(gpus), int(memory_bytes), fetches, apart)


@attrs.frozen
class Offer:
    """What a node has, as its Hello says, and whose it is; ``memory_bytes`` is 0 where it says nothing."""

    capabilities: frozenset[str]
    slots: int
    tier: str = ""
    gpus: int = 0
    memory_bytes: int = 0
    fetches: frozenset[str] = frozenset()
    operator: str = ""

    def charge_bytes(self, need: Need) -> int:
        """Return what a job takes of the node's memory: what it asks for, at least one slot's share."""
        return max(need.memory_bytes, self.memory_bytes // self.slots)

    def suits(self, need: Need) -> bool:
        """Return whether the job could run here if nothing else did."""
        return (
            need.job_type in self.capabilities
            and _strong_enough(self.tier, need.tier)
            and need.gpus <= self.gpus
            and need.memory_bytes <= self.memory_bytes
            and self.fetches.issuperset(need.fetches)
            and self.operator not in need.apart
        )

    def lacks(self, need: Need) -> str:
        """Return why the job could not run here, in words for the node's operator; empty where ``suits``."""
        if need.job_type not in self.capabilities:
            return "the node does not offer this job type"
        if not _strong_enough(self.tier, need.tier):
            return f"jobs ask for sandbox tier {need.tier}, and the node has {self.tier or 'none'}"
        if need.gpus > self.gpus:
            return f"jobs ask for {need.gpus} GPUs, and the node lends {self.gpus}"
        if need.memory_bytes > self.memory_bytes:
            asked, there = format_size(need.memory_bytes), format_size(self.memory_bytes)
            return f"jobs ask for {asked} of memory, and the node has {there}"
        if self.operator in need.apart:
            return "jobs wait for another operator's node, to check what this one's operator has returned"
        missing = sorted(set(need.fetches) - self.fetches)
        return f"jobs have inputs that the node cannot fetch: {', '.join(missing)}" if missing else ""


@attrs.frozen
class Taken:
    """What is in use on a node: slots, GPUs, bytes of memory."""

    slots: int = 0
    gpus: int = 0
    memory_bytes: int = 0

    def plus(self, offer: Offer, need: Need, sign: int = 1) -> Taken:
        """Return this with a job more (``sign`` 1) or less (-1)."""
        return Taken(
            self.slots + sign, self.gpus + sign * need.gpus, self.memory_bytes + sign * offer.charge_bytes(need)
        )


def fits(offer: Offer, taken: Taken, limit: int, need: Need) -> bool:
    """Return whether a node that suits a job has room for it now; ``limit`` is how many jobs it may have at once."""
    return (
        taken.slots < limit
        and taken.gpus + need.gpus <= offer.gpus
        and taken.memory_bytes + offer.charge_bytes(need) <= offer.memory_bytes
    )


def memory_needed(asked_bytes: int, limit_bytes: int) -> int:
    """Return the memory to set aside for a job, from what it asks for and what its limits let it use.

    A limit that was raised is a need; the usual one is not, or a small node could not even run ``echo``.
    """
    if asked_bytes:
        return asked_bytes
    return limit_bytes if limit_bytes > USUAL_MEMORY_BYTES else 0


def _strong_enough(tier: str, wanted: str) -> bool:
    return not wanted or (tier in TIERS and TIERS.index(tier) <= TIERS.index(wanted))
