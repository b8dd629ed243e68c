"""Take a dispatched attempt, decline it or ignore it: a decision about values, without a clock or I/O.

Called by ``node.attempts`` for each dispatch.  A declined attempt goes back to the gateway's queue at no fault of the
job; an ignored one is a repetition of what this node already has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import attrs

from edgeagent.node.fetch.source import kind_of
from edgeagent.wire.messages import JobDispatch

#: Most slots a node has unless its owner says otherwise: each running job may take 2 GiB by the guide's limits.
MOST_SLOTS = 4

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen
class Take:
    """Run it, with these GPUs and no others."""

    gpus: tuple[str, ...] = ()


@attrs.frozen
class Decline:
    """Say no, with one line that says why."""

    reason: str


@attrs.frozen
class Ignore:
    """Say nothing: the attempt is already here, or was."""


Decision = Take | Decline | Ignore


def default_slots(cores: int) -> int:
    """Return how many jobs run at once on a machine with ``cores`` usable cores: one each, ``MOST_SLOTS`` at most."""
    return max(1, min(cores, MOST_SLOTS))


def load(running: int, slots: int) -> float:
    """Return how full the node is, 0 to 1."""
    return min(1.0, running / slots)


@attrs.frozen(kw_only=True)
class GpuRules:
    """How this node lends its GPUs.

    Attributes:
        uuids: what there is to lend, in the order in which it is used.
        share: how many running attempts one of them may have at once; 1: each has its own.
        needed: by job type, how many an attempt gets even where its limits ask for fewer.
        only_for: by GPU, the job types that alone may have it.
    """

    uuids: tuple[str, ...] = ()
    share: int = 1
    needed: Mapping[str, int] = attrs.Factory(dict)
    only_for: Mapping[str, Collection[str]] = attrs.Factory(dict)

    def open_to(self, job_type: str) -> tuple[str, ...]:
        """Return the GPUs that attempts of a type may have."""
        return tuple(uuid for uuid in self.uuids if uuid not in self.only_for or job_type in self.only_for[uuid])

    def count(self, dispatch: JobDispatch) -> int:
        """Return how many GPUs an attempt gets."""
        return max(dispatch.limits.gpus, self.needed.get(dispatch.job_type, 0))

    def assign(self, dispatch: JobDispatch, held: Sequence[str]) -> Take | Decline:
        """Take an attempt with as many different GPUs as it gets, least used first, if as many have room.

        Args:
            dispatch: the attempt.
            held: what running attempts have, each GPU once for every attempt.
        """
        count, lent = self.count(dispatch), self.open_to(dispatch.job_type)
        if count > len(lent):
            of_type = " to jobs of its type" if len(lent) < len(self.uuids) else ""
            return Decline(f"the job needs {count} GPUs, and this node lends {len(lent)}{of_type}")
        users = Counter(held)
        room = [uuid for uuid in lent if users[uuid] < self.share]
        if count > len(room):
            return Decline(f"the job needs {count} GPUs, and {len(room)} are free")
        # A GPU that any job may have is left to those that may have no other.
        room.sort(key=lambda uuid: (users[uuid], uuid not in self.only_for))
        return Take(tuple(room[:count]))


NO_GPUS = GpuRules()


def decide(
    dispatch: JobDispatch,
    *,
    running: Collection[str],
    known: Collection[str],
    slots: int,
    announced: Collection[str],
    gpus: GpuRules = NO_GPUS,
    held: Sequence[str] = (),
    fetches: Collection[str] = (),
) -> Decision:
    """Return what to do with a dispatch.

    Args:
        running: attempt ids that occupy a slot.
        known: attempt ids that ended here.
        slots: how many may run at once.
        announced: job types that Hello promised.
        gpus: how GPUs are lent.
        held: what running attempts have of them, each GPU once for every attempt.
        fetches: kinds of references that Hello promised.
    """
    if dispatch.attempt_id in running or dispatch.attempt_id in known:
        return Ignore()
    if not (_UUID.fullmatch(dispatch.attempt_id) and _UUID.fullmatch(dispatch.job_id)):
        return Decline("the ids of an attempt and its job are UUIDs in lower case")
    if dispatch.job_type not in announced:
        return Decline(f"this node does not run {dispatch.job_type!r}")
    references = [*filter(None, [dispatch.payload_ref]), *(each.ref for each in dispatch.inputs.values())]
    if unknown := sorted({kind_of(ref) for ref in references} - set(fetches)):
        return Decline(f"this node does not fetch {unknown[0]}: references")
    if len(running) >= slots:
        return Decline(f"all {slots} slots are taken")
    return gpus.assign(dispatch, held)
