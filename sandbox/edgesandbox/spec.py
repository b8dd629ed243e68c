"""What a job is allowed: the values that cross from the agent to the zygote.

Pure.  Limits are checked here, once; everything behind trusts them.  The defaults are for a job whose author said
nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from edgesandbox import shelf
from edgesandbox.grant import NOTHING, Grant
from edgesandbox.protections import OPTIONAL

MIB = 1 << 20
# What a job holds while it is confined, and some to spare.
MIN_NOFILE = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that one job may use.

    Attributes:
        wall_s: seconds from the start of the job's code to its end.
        cpu_s: processor seconds, of each process by the kernel, and of the whole tree by the supervisor.
        memory_bytes: of the whole tree where the host can count that, else of each process (``Report.enforced``).
        pids: processes and threads at one time.
        nofile: open descriptors of one process; ``MIN_NOFILE`` or more.
        fsize_bytes: size of one file.
        scratch_bytes: what fits into ``/scratch``.
        tmp_bytes: what fits into ``/tmp``.
        address_space_bytes: RLIMIT_AS; unset, since torch, Java and CUDA reserve far more than they use.
        output_bytes: stdout and stderr together.

    Raises:
        ValueError: a limit is not a positive number, or too low for the sandbox itself; the text names it.
    """

    wall_s: float = 300.0
    cpu_s: float = 600.0
    memory_bytes: int = 2048 * MIB
    pids: int = 256
    nofile: int = 1024
    fsize_bytes: int = 256 * MIB
    scratch_bytes: int = 256 * MIB
    tmp_bytes: int = 64 * MIB
    address_space_bytes: int | None = None
    output_bytes: int = 8 * MIB

    def __post_init__(self) -> None:
        """Refuse what no kernel call would take."""
        for field in dataclasses.fields(self):
            value: object = getattr(self, field.name)
            if value is None and field.name == "address_space_bytes":
                continue
            seconds = field.name.endswith("_s")
            kinds = (int, float) if seconds else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 1 << 53:  # no NaN is
                what = "number" if seconds else "whole number"
                raise ValueError(f"limit {field.name} must be a positive {what}, not {value!r}")
        if self.nofile < MIN_NOFILE:
            raise ValueError(f"limit nofile must be {MIN_NOFILE} or more, not {self.nofile}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec:
    """One job: its limits, and the function to call where it is not the zygote's own.

    Attributes:
        limits: the most it may use.
        entry: ``"module:function"`` called with the job's end of the channel; unset, the zygote's.
        without: protections to leave out, of ``protections.OPTIONAL``; the report says so.
        grant: devices that it may use, of those that ``Zygote`` was started with.
        inputs: name of a directory on the zygote's shelf, which the job alone finds at ``/inputs``, to be read.

    Raises:
        ValueError: a protection that cannot be left out, or inputs that are no plain name.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    entry: str | None = None
    without: tuple[str, ...] = ()
    grant: Grant = NOTHING
    inputs: str | None = None

    def __post_init__(self) -> None:
        """Refuse to leave out what everything else rests on, and a path for a name."""
        if self.inputs is not None:
            shelf.check(self.inputs)
        for name in self.without:
            if name not in OPTIONAL:
                raise ValueError(f"{name} cannot be left out; these can: {', '.join(OPTIONAL)}")

    def to_json(self) -> dict[str, Any]:
        """Return the form that ``from_json`` reads."""
        return vars(self) | {"limits": vars(self.limits), "grant": vars(self.grant)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Spec:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: a limit or a path makes no sense, or a field is unknown, missing or of another type.
        """
        try:
            parts = {
                "limits": Limits(**data["limits"]),
                "without": tuple(data["without"]),
                "grant": Grant.from_json(data["grant"]),
            }
            spec = cls(**{**data, **parts})
            if not isinstance(data.get("entry"), str | None):
                raise TypeError("entry is no text")  # noqa: TRY301 - a fault like those above
        except (AttributeError, KeyError, TypeError) as problem:
            raise ValueError(f"this is no spec of a job: {problem}") from None
        return spec
