"""Which job types a node announces: what its owner named, as far as this host can run it.  Pure.

``echo`` and ``cpu_benchmark`` are always offered beside what the owner named, as the operator guide has it: they are
how a network tests its nodes.  An owner who names nothing offers everything that is installed and runs here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from edgeagent.node.slots import GpuRules

#: What every node offers.
BASIC = ("echo", "cpu_benchmark")


def announce(
    named: Sequence[str], installed: Collection[str], reasons: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the job types to announce, and one line for each that was named and cannot be.

    Args:
        named: the owner's list; empty for all.
        installed: job types with a plugin.
        reasons: why a plugin cannot run here, by job type.
    """
    wanted = dict.fromkeys([*named, *BASIC] if named else installed)
    announced = tuple(one for one in wanted if one in installed and one not in reasons)
    missing = [
        f"{one!r} is not offered: {reasons[one] if one in installed else 'no plugin of that job type is installed'}"
        for one in wanted
        if one not in announced
    ]
    return announced, tuple(missing)


def lacking_gpus(rules: GpuRules) -> dict[str, str]:
    """Return why a job type cannot be run for want of GPUs, by job type; ``rules`` is how GPUs are lent."""
    return {
        job_type: f"its jobs get {count} GPUs here, and this node lends {len(rules.open_to(job_type))} to them"
        for job_type, count in rules.needed.items()
        if count > len(rules.open_to(job_type))
    }
