"""Whether there is room on the disk for one more attempt: a decision about values, without a clock or I/O.

The disk is never filled: what a running attempt may still write counts as written, and a floor stays free for the
machine's other programs.  What the cache could drop counts as free, since it is dropped before a job is declined.
"""

from __future__ import annotations

import attrs

from edgeagent.wire.units import format_size

#: The floor unless the owner sets one, as a sandbox's on disk: 1 GiB, or a twentieth of a smaller file system.
FLOOR_BYTES, FLOOR_SHARE = 1 << 30, 20


@attrs.frozen(kw_only=True)
class Rules:
    """What the owner allows, in bytes."""

    floor_bytes: int | None = None  # stays free; None: see ``FLOOR_BYTES``
    cache_bytes: int = 10 << 30  # inputs, used or not
    spool_bytes: int = 10 << 30  # outputs that the gateway does not have yet

    def floor(self, total_bytes: int) -> int:
        """Return what stays free of a file system of this size."""
        return min(FLOOR_BYTES, total_bytes // FLOOR_SHARE) if self.floor_bytes is None else self.floor_bytes


@attrs.frozen(kw_only=True)
class Holdings:
    """How the disk is, in bytes.

    Attributes:
        free: what the node may use of the file system.
        total: all of that.
        evictable: what the cache could drop.
        busy: what running attempts use of the cache, or wait for.
        promised: what running attempts may still write: inputs that are arriving, outputs.
        unsent: outputs that wait for the gateway.
    """

    free: int
    total: int
    evictable: int = 0
    busy: int = 0
    promised: int = 0
    unsent: int = 0


def refusal(rules: Rules, held: Holdings, *, inputs_bytes: int = 0, outputs_bytes: int = 0) -> str | None:
    """Return why an attempt that may need so much is not to be taken, in one line; None where there is room.

    Without any need: why none is.
    """
    if inputs_bytes > rules.cache_bytes:
        return f"its inputs of {format_size(inputs_bytes)} do not fit into a cache of {format_size(rules.cache_bytes)}"
    if inputs_bytes and held.busy + inputs_bytes > rules.cache_bytes:
        return f"running jobs use {format_size(held.busy)} of the cache of {format_size(rules.cache_bytes)}"
    if held.unsent + outputs_bytes > rules.spool_bytes:
        return f"{format_size(held.unsent)} of results wait for the gateway, where {format_size(rules.spool_bytes)} may"
    short = missing(rules, held, inputs_bytes + outputs_bytes)
    if short > held.evictable:
        return (
            f"the disk is nearly full: {format_size(held.free)} are free, of which {format_size(held.promised)} belong "
            f"to running jobs and {format_size(rules.floor(held.total))} stay free"
        )
    return None


def missing(rules: Rules, held: Holdings, needed_bytes: int = 0) -> int:
    """Return how much the cache has to drop for this, in bytes; 0 where nothing."""
    return max(0, rules.floor(held.total) + held.promised + needed_bytes - held.free)
