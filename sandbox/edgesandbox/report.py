"""What happened to a job, and how that is decided.

Pure.  The supervisor of the job's namespace, never the job, sends what it saw (``Ending``) and what held the job in;
the agent makes the Report of that.  The outcome is decided in one place, ``classify``: what the supervisor did comes
first, then what the kernel did, then what the program did.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import signal
import struct
from collections.abc import Mapping, Sequence
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


_OUTCOMES = tuple(Outcome)
# What a peak of memory may have been read from: nothing better, or the job's control group, by its version.
MEMORY_SOURCES = (
    "largest process, or all together as sampled (RSS, PSS)",
    "memory.max_usage_in_bytes (control group)",
    "memory.peak (control group)",
)
_LONGEST_DETAIL = 4096
# Status, place of the outcome it was stopped for, flags, memory source, three times, peak, length of the detail.
_ENDING = struct.Struct("=iBBBdddQH")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a job ended, what it used and what held it in.

    Attributes:
        outcome: one of ``Outcome``.
        exit_code: of the program's first process, where that exited by itself, whatever the outcome.
        signal: that ended that process otherwise; SIGKILL where a limit did, unless it was quicker.
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
            ValueError: the outcome or a field is unknown, or one is missing.
        """
        try:
            return cls(**{**data, "outcome": Outcome(data["outcome"]), "enforced": tuple(data["enforced"])})
        except (KeyError, TypeError) as problem:
            raise ValueError(f"this is no report of a sandbox: {problem}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ending:
    """What the supervisor saw of a job's end: the input of ``classify``.

    Attributes:
        status: as ``waitpid`` gives it.
        stopped_for: why the supervisor ended the job, where it did.
        wall_s: seconds from start to end.
        memory_peak_bytes: the most it used at one time.
        memory_source: what that was read from: a place in ``MEMORY_SOURCES``.
        detail: one line for a person, where there is something to add.
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
    wall_s: float = 0.0
    memory_peak_bytes: int = 0
    memory_source: int = 0
    detail: str = ""

    def pack(self) -> bytes:
        """Return the form that ``unpack`` reads: short, and quick to make, since a job's supervisor makes it."""
        detail = self.detail.encode(errors="replace")[:_LONGEST_DETAIL]
        return (
            _ENDING.pack(
                self.status,
                0 if self.stopped_for is None else 1 + _OUTCOMES.index(self.stopped_for),
                self.oom_killed | self.out_of_memory << 1 | self.disk_full << 2,
                self.memory_source,
                self.cpu_s,
                self.cpu_limit_s,
                self.wall_s,
                self.memory_peak_bytes,
                len(detail),
            )
            + detail
        )

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Ending, bytes]:
        """Read what ``pack`` wrote; returns what follows it, too.

        Raises:
            ValueError: it is nothing that ``pack`` would write.
        """
        try:
            status, stopped, flags, source, cpu_s, cpu_limit_s, wall_s, peak, length = _ENDING.unpack_from(data)
            ending = cls(
                status=status,
                stopped_for=_OUTCOMES[stopped - 1] if stopped else None,
                oom_killed=bool(flags & 1),
                out_of_memory=bool(flags & 2),
                disk_full=bool(flags & 4),
                cpu_s=cpu_s,
                cpu_limit_s=cpu_limit_s,
                wall_s=wall_s,
                memory_peak_bytes=peak,
                memory_source=source,
                detail=data[_ENDING.size : _ENDING.size + length].decode(errors="replace"),
            )
        except (struct.error, IndexError) as problem:
            raise ValueError(f"this is no report of a sandbox: {problem}") from None
        return ending, data[_ENDING.size + length :]


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
    # Half for the first: the kernel sends it by a coarser clock than it reports by, and may be asked for it by a job.
    used_up_s: dict[int, float] = {signal.SIGXCPU: ending.cpu_limit_s / 2, signal.SIGKILL: ending.cpu_limit_s}
    if number in used_up_s and ending.cpu_s >= used_up_s[number]:
        return Outcome.CPU_LIMIT
    if number == signal.SIGXFSZ or (ending.disk_full and not clean):
        return Outcome.DISK_LIMIT
    return Outcome.SIGNALLED if number else Outcome.EXITED


def encode_account(tier: str, enforced: Sequence[str], not_enforced: Mapping[str, str]) -> bytes:
    """Return what held a job in, to follow an ending; the same for every job with the same spec."""
    return json.dumps([tier, list(enforced), dict(not_enforced)]).encode()


_read_account = functools.lru_cache(maxsize=32)(json.loads)


def compose(data: bytes) -> Report:
    """Return the report that a packed ending and an account make.

    Raises:
        ValueError: these are not the two.
    """
    ending, account = Ending.unpack(data)
    try:
        tier, enforced, not_enforced = _read_account(account)
        held = tuple(enforced), dict(not_enforced)
        source = MEMORY_SOURCES[ending.memory_source]
    except (ValueError, TypeError, IndexError, RecursionError) as problem:
        raise ValueError(f"this is no report of a sandbox: {problem}") from None
    outcome = classify(ending)
    number = ending.status & 0x7F
    ran = outcome is not Outcome.SETUP_FAILED  # else there was no program whose end this would be
    return Report(
        outcome=outcome,
        exit_code=ending.status >> 8 if ran and not number else None,
        signal=number if ran and number else None,
        detail=ending.detail or describe(outcome, ending.status),
        wall_s=ending.wall_s,
        cpu_s=ending.cpu_s,
        memory_peak_bytes=ending.memory_peak_bytes,
        memory_source=source,
        tier=tier,
        enforced=held[0],
        not_enforced=held[1],
    )


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
