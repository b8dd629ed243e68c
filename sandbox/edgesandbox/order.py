"""What the options of ``edgesandbox run`` ask for, as values.

Pure.  Options arrive as text; whatever is wrong with one is said in one line that names it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgesandbox.binds import Bind
from edgesandbox.spec import Limits

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
NETWORKS = ("none", "host")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """What to run, and how.

    Attributes:
        argv: the program and its arguments.
        limits: the most it may use.
        binds: what of the host it has besides the system's directories.
        env: added to its environment.
        network: one of ``NETWORKS``.
        directory: where it starts; None for its ``/scratch``.
        scratch_directory: where on disk its scratch is made; unset, the scratch is in memory.
        gpus: names of those that it may use, as ``gpus.choose`` reads them.
        tier_c: as ``Zygote`` takes it.
    """

    argv: Sequence[str]
    limits: Limits
    binds: Sequence[Bind] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    network: str = "none"
    directory: str | None = None
    scratch_directory: str | None = None
    gpus: Sequence[str] = ()
    tier_c: str = "refuse"


def parse_size(text: str) -> int:
    """Return the bytes that ``2G``, ``256M``, ``64K`` or a plain number stand for.

    Raises:
        ValueError: it is none of these.
    """
    try:
        unit = _UNITS.get(text[-1:].upper(), 1)
        return int(float(text[:-1]) * unit) if unit > 1 else int(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a size: write 512M, 2G or a number of bytes") from None


def parse_count(text: str) -> int:
    """Return a whole number.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


def parse_seconds(text: str) -> float:
    """Return a number of seconds.

    Raises:
        ValueError: it is none.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{text!r} is not a number of seconds")
    return seconds


# Option, field of ``Limits``, how it is read, and what it is called in the help text.
LIMITS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("memory", "memory_bytes", parse_size, "SIZE"),
    ("scratch", "scratch_bytes", parse_size, "SIZE"),
    ("tmp", "tmp_bytes", parse_size, "SIZE"),
    ("file", "fsize_bytes", parse_size, "SIZE"),
    ("output", "output_bytes", parse_size, "SIZE"),
    ("pids", "pids", parse_count, "N"),
    ("nofile", "nofile", parse_count, "N"),
    ("cpu", "cpu_s", parse_seconds, "S"),
    ("time", "wall_s", parse_seconds, "S"),
)


def read(options: Mapping[str, Any], argv: Sequence[str]) -> Order:
    """Return what is asked for; an option that is None or empty was not given.

    Raises:
        ValueError: an option makes no sense; the text names it.
    """
    if not argv:
        raise ValueError("there is no program to run: give it, and its arguments, after --")
    if not argv[0]:
        raise ValueError("the program's name is empty")
    return Order(
        argv=argv,
        limits=_limits(options),
        binds=_binds(options),
        env=dict(map(_variable, options["env"])),
        network=_network(options["net"]),
        directory=options["chdir"],
        scratch_directory=options["scratch_dir"],
        gpus=tuple(options["gpu"]),
        tier_c="allow" if options["allow_tier_c"] else "refuse",
    )


def _limits(options: Mapping[str, Any]) -> Limits:
    given: dict[str, Any] = {}
    for option, field, parse, _unit in LIMITS:
        text = options[option]
        if text is None:
            continue
        try:
            value = parse(text)
            dataclasses.replace(Limits(), **{field: value})
        except ValueError as problem:
            raise ValueError(f"--{option}: {problem}") from None
        given[field] = value
    # A file that is larger than what it lies in: the one limit that follows another, unless it is given.
    if "scratch_bytes" in given:
        given.setdefault("fsize_bytes", max(given["scratch_bytes"], given.get("tmp_bytes", 0)))
    return Limits(**given)


def _binds(options: Mapping[str, Any]) -> tuple[Bind, ...]:
    binds: list[Bind] = []
    for option, writable in (("ro", False), ("rw", True)):
        for text in options[option]:
            try:
                binds.append(Bind.parse(text, writable=writable))
            except ValueError as problem:
                raise ValueError(f"--{option}: {problem}") from None
    return tuple(binds)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ValueError(f"--env: {text!r} is not NAME=VALUE")
    return name, value


def _network(text: str) -> str:
    if text not in NETWORKS:
        raise ValueError(f"--net: {text!r} is neither {' nor '.join(NETWORKS)}")
    return text
