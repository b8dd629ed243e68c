"""What happened to a job, and how that is decided.

Pure.  A Report is written by the supervisor of the job's namespace, never by the job.  The outcome is decided in one
place, ``classify``: what the supervisor did comes first, then what the kernel did, then what the program did.
"""

from __future__ import annotations

import dataclasses
import enum
import signal
from typing import Any

# Between the soft processor limit, which a program may catch, and the hard one, which kills it.
CPU_GRACE_S = 5


class Outcome(enum.StrEnum):
    """How a job ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    CPU_LIMIT = "cpu_limit"
    MEMORY_LIMIT = "memory_limit"
    DISK_LIMIT = "disk_limit"
    OUTPUT_LIMIT = "output_limit"
    CANCELLED = "cancelled"
    SETUP_FAILED = "setup_failed"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a job ended, what it used and what held it in.

    Attributes:
        outcome: one of ``Outcome``.
        exit_code: of the program, where it exited.
        signal: that ended it, where one did.
        detail: one line for a person; empty where there is nothing to add.
        wall_s: seconds from start to end, by the monotonic clock.
        cpu_s: processor seconds of all its processes together.
        memory_peak_bytes: as ``memory_source`` counts.
        memory_source: what the peak was read from.
        tier: ``A``, ``B`` or ``C``.
        enforced: names of the protections that were on.
        not_enforced: the others, each with one sentence why.
    """

    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    memory_peak_bytes: int = 0
    memory_source: str = ""
    tier: str = ""
    enforced: tuple[str, ...] = ()
    not_enforced: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``from_json`` reads."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Report:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: the outcome is unknown.
            TypeError: a field is unknown or missing.
        """
        return cls(**{**data, "outcome": Outcome(data["outcome"]), "enforced": tuple(data["enforced"])})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """What the supervisor saw of a job's end: the input of ``classify``.

    Attributes:
        status: as ``waitpid`` gives it.
        stopped_for: why the supervisor ended the job, where it did.
        oom_killed: the kernel killed since the control group's memory was used up.
        out_of_memory: an allocation was refused.
        disk_full: no room, or no inode, was left in scratch or /tmp.
        cpu_s: processor seconds of the whole tree.
        cpu_limit_s: the limit on them.
    """

    status: int
    stopped_for: Outcome | None = None
    oom_killed: bool = False
    out_of_memory: bool = False
    disk_full: bool = False
    cpu_s: float = 0.0
    cpu_limit_s: float = float("inf")


def classify(ending: Ending) -> Outcome:
    """Name the outcome: our own reason first, then the kernel's, then the program's."""
    if ending.stopped_for is not None:
        return ending.stopped_for
    if ending.oom_killed:
        return Outcome.MEMORY_LIMIT
    clean = ending.status == 0
    if ending.out_of_memory and not clean:
        return Outcome.MEMORY_LIMIT
    number = ending.status & 0x7F
    if number == signal.SIGXCPU or (number == signal.SIGKILL and ending.cpu_s >= ending.cpu_limit_s):
        return Outcome.CPU_LIMIT
    if number == signal.SIGXFSZ or (ending.disk_full and not clean):
        return Outcome.DISK_LIMIT
    return Outcome.SIGNALLED if number else Outcome.EXITED


def describe(outcome: Outcome, status: int) -> str:
    """Return one line that says how the program ended, for the outcomes that leave that open."""
    number = status & 0x7F
    if outcome is Outcome.SIGNALLED:
        return f"killed by {signal_name(number)}"
    if outcome is Outcome.EXITED and status >> 8:
        return f"exit code {status >> 8}"
    return ""


def signal_name(number: int) -> str:
    """Return ``SIGKILL`` for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
