"""What a node looks like from inside at one moment: the document behind every view that its owner has of it.

Pure values; ``document`` gives the JSON object, whose shape only grows while its version stays.  Durations are
seconds, moments (names end in ``_at``) seconds since the epoch by this machine's clock.  ``node.control`` hands it out;
status, why, the local page and the figures are made from it.
"""

from __future__ import annotations

from typing import Any

import attrs

from edgeagent.node.willingness import Reason

SCHEMA = "edgeagent.node-state/1"


@attrs.frozen(kw_only=True)
class LinkState:
    """The link to the gateway.

    Attributes:
        up: the gateway has said welcome, and the connection stands.
        since_s: how long it has been up, or down.
        last_ack_s: how long ago the gateway acknowledged a heartbeat; None: never since the start.
        lost: why it was lost last.
        state: how the gateway sees the node, as it said last: ``NodeState``; None: it has not said.
        probation: one job at a time until one completes.
        no_work: why the gateway gives this node nothing, in its words; empty where it would.
    """

    up: bool
    since_s: float
    last_ack_s: float | None = None
    lost: str = ""
    state: str | None = None
    probation: bool = False
    no_work: str = ""


@attrs.frozen(kw_only=True)
class RunningAttempt:
    """An attempt that runs; ``fraction`` 0 to 1, None where the job does not say."""

    attempt_id: str
    job_id: str
    job_type: str
    running_s: float
    fraction: float | None = None
    text: str = ""
    gpus: tuple[str, ...] = ()
    memory_bytes: int = 0


@attrs.frozen(kw_only=True)
class Failure:
    """An attempt that did not complete."""

    attempt_id: str
    job_id: str
    job_type: str
    outcome: str
    detail: str
    ago_s: float


@attrs.frozen(kw_only=True)
class SpoolState:
    """Results on their way: how many are not acknowledged, and the bytes that the spool has on disk."""

    undelivered: int = 0
    size_bytes: int = 0


@attrs.frozen(kw_only=True)
class TypeState:
    """An announced job type, and what speaks against taking one now; nothing: it would be taken."""

    job_type: str
    against: tuple[Reason, ...] = ()


@attrs.frozen(kw_only=True)
class SandboxState:
    """How jobs are confined here: the tier, and why each protection that is missing is not enforced."""

    tier: str
    not_enforced: dict[str, str] = attrs.Factory(dict)


@attrs.frozen(kw_only=True)
class GpuState:
    """A GPU that the owner lends: how many jobs have it now, and which types alone may (None: all)."""

    uuid: str
    paused: bool = False
    jobs: int = 0
    only_for: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class Snapshot:
    """All of it.  ``warnings`` are lines for the owner, each with what to do; ``cache`` is what the cache says."""

    version: str
    node_id: str
    name: str | None
    gateway: str
    uptime_s: float
    link: LinkState
    slots: int
    free_slots: int
    load: float
    gpus: tuple[str, ...]
    sandbox: SandboxState
    job_types: tuple[TypeState, ...]
    against: tuple[Reason, ...]
    draining: str | None
    drain_left_s: float | None
    running: tuple[RunningAttempt, ...]
    completed: int
    failed: int
    credited_ucr: int
    failures: tuple[Failure, ...]
    spool: SpoolState
    cache: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    gpu_states: tuple[GpuState, ...] = ()


def document(snapshot: Snapshot) -> dict[str, Any]:
    """Return it as a JSON object."""
    return {"schema": SCHEMA, **attrs.asdict(snapshot)}
