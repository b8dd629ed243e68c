"""The options of a node, by section, as they stand in ``config.toml``.  Pure.

To add one, declare it here (or a section of its own beside these, in ``settings``); everything else follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from edgeagent.node import schedule
from edgeagent.node.ceilings import Ceiling
from edgeagent.node.options.declare import option
from edgeagent.node.options.kinds import (
    Choice,
    Each,
    Kind,
    Maybe,
    Names,
    Number,
    Record,
    Size,
    Span,
    Switch,
    Text,
    Whole,
)

_CEILINGS: dict[str, tuple[str, Kind]] = {
    "wall": ("wall_s", Span(1)),
    "cpu": ("cpu_s", Span(1)),
    "memory": ("memory_bytes", Size(1 << 20)),
    "pids": ("pids", Whole(1, 1 << 22)),
    "scratch": ("scratch_bytes", Size(1)),
    "tmp": ("tmp_bytes", Size(1)),
    "output": ("output_bytes", Size(1)),
}


def _ceiling(values: Mapping[str, object]) -> Ceiling:
    return Ceiling(**{_CEILINGS[name][0]: value for name, value in values.items()})  # type: ignore[arg-type]


def _set(ceiling: Ceiling) -> dict[str, object]:
    return {name: value for name, (field, _) in _CEILINGS.items() if (value := getattr(ceiling, field)) is not None}


def _ceiling_option(name: str, what: str) -> Any:
    return option(Maybe(_CEILINGS[name][1], "none"), None, f"Most {what}, whatever it asks for.", name=name)


_WINDOWS = Names(f"a list of windows; each is {schedule.SAID}", ";", schedule.parse)


@attrs.frozen(kw_only=True)
class Log:
    """What is told of the node's work."""

    level: str = option(
        Choice(("DEBUG", "INFO", "WARNING", "ERROR")), "INFO", "Least weight of what is logged.", env="LOG_LEVEL"
    )


@attrs.frozen(kw_only=True)
class Health:
    """The health check, the status page and the figures, on one port."""

    host: str = option(
        Text("an address of this machine"), "127.0.0.1", "Address that the health check and the status page listen on."
    )
    port: int = option(Whole(0, 65535), 8081, "Their port; 0 takes a free one.", env="HEALTH_PORT")
    names: tuple[str, ...] = option(
        Names("a list of host names"), (), "What this machine is called by those who look at the page from elsewhere."
    )


@attrs.frozen(kw_only=True)
class Share:
    """How much of this machine jobs get, all together."""

    slots: int | None = option(
        Maybe(Whole(1, 1024), "auto"),
        None,
        "Jobs at one time.",
        default_said="auto: one for each core that jobs may use, at most 4",
    )
    cores: float | None = option(
        Maybe(Number(0.1, 1024), "all"),
        None,
        "Processors that all jobs use together, such as 2 or 1.5; never more than the machine has.",
    )
    memory_bytes: int | None = option(
        Maybe(Size(64 << 20), "all"), None, "Memory for all jobs together, by the limits that they have.", name="memory"
    )
    upload_bytes_s: int | None = option(
        Maybe(Size(16 << 10), "all"), None, "Bytes a second at which jobs' outputs go out, all together.", name="upload"
    )
    download_bytes_s: int | None = option(
        Maybe(Size(16 << 10), "all"),
        None,
        "Bytes a second at which jobs' inputs come in, all together.",
        name="download",
    )


@attrs.frozen(kw_only=True)
class Gpu:
    """How GPUs are lent; they are named by their UUIDs, as ``nvidia-smi -L`` shows them."""

    lend: tuple[str, ...] | None = option(
        Maybe(Names("a list of GPUs' UUIDs"), "all"), None, "GPUs that jobs may have; an empty list lends none."
    )
    exclude: tuple[str, ...] = option(Names("a list of GPUs' UUIDs"), (), "GPUs that jobs never get.")
    jobs_each: int = option(Whole(1, 64), 1, "Jobs that may have one GPU at the same time.")
    per_job: Mapping[str, int] = option(Each(Whole(0, 64)), {}, "GPUs that a job gets at least, by job type.")
    only_for: Mapping[str, tuple[str, ...]] = option(
        Each(Names("a list of job types"), "GPU"), {}, "Job types that alone may have a GPU, by its UUID."
    )


@attrs.frozen(kw_only=True)
class Capabilities:
    """Which job types are offered."""

    offer: tuple[str, ...] | None = option(
        Maybe(Names("a list of job types"), "registered"),
        None,
        "Job types to offer beside echo and cpu_benchmark; an empty list offers all that can run here.",
        default_said="registered: those named when the node was registered",
    )
    deny: tuple[str, ...] = option(Names("a list of job types"), (), "Job types that are never offered nor run.")


@attrs.frozen(kw_only=True)
class Limits:
    """The most that one job may use; the job's own limits hold where they are lower."""

    wall_s: float | None = _ceiling_option("wall", "time that a job may run")
    cpu_s: float | None = _ceiling_option("cpu", "processor time of a job")
    memory_bytes: int | None = _ceiling_option("memory", "memory of a job")
    pids: int | None = _ceiling_option("pids", "processes and threads of a job")
    scratch_bytes: int | None = _ceiling_option("scratch", "bytes of files of a job")
    tmp_bytes: int | None = _ceiling_option("tmp", "bytes of a job's /tmp")
    output_bytes: int | None = _ceiling_option("output", "bytes that a job may print")
    by_type: Mapping[str, Ceiling] = option(
        Each(Record({name: kind for name, (_, kind) in _CEILINGS.items()}, _ceiling, _set)),
        {},
        'Other ceilings for some job types, such as `{ render = { memory = "8G" } }`.',
    )


@attrs.frozen(kw_only=True)
class Schedule:
    """When jobs may run, by this machine's local time; at the end of a window they get ``shutdown.grace``."""

    windows: tuple[str, ...] | None = option(
        Maybe(_WINDOWS, "always"), None, 'When jobs may run, such as `["mon-fri 18:00-08:00", "sat,sun"]`.'
    )
    by_type: Mapping[str, tuple[str, ...]] = option(
        Each(_WINDOWS), {}, "Other windows for some job types; these hold instead."
    )
    timezone: str = option(
        Text("'local', or a time zone like Europe/Berlin that this machine knows", schedule.clock),
        "local",
        "Whose clock the windows go by; containers often have UTC.",
    )


@attrs.frozen(kw_only=True)
class Pause:
    """When the machine's other use keeps new jobs away; running ones go on."""

    battery: bool = option(Switch(), False, "Take no jobs while the machine runs on battery.")
    activity_s: float | None = option(
        Maybe(Span(1), "off"),
        None,
        "Take no jobs until nobody has used the machine for so long, as systemd-logind sees it.",
        name="activity",
    )
    load_percent: int | None = option(
        Maybe(Whole(1, 99), "off"),
        None,
        "Take no jobs while other programs use more than this percentage of all processors.",
        name="load",
    )


@attrs.frozen(kw_only=True)
class Shutdown:
    """How the node stops."""

    grace_s: float = option(
        Span(0), 300.0, "Time that running jobs get to end when the node stops, or a window ends.", name="grace"
    )
    refused_s: float = option(
        Span(0),
        0.0,
        "Time that a node which the gateway refuses waits before it ends, where it is started again however it ended.",
        name="refused",
    )


@attrs.frozen(kw_only=True)
class Sandbox:
    """How jobs are confined."""

    allow_tier_c: bool = option(
        Switch(),
        False,
        "Run jobs on a host without namespaces, too, where they are confined less.",
        env="EDGEAGENT_ALLOW_TIER_C",
    )
    warm: int | None = option(
        Maybe(Whole(0, 64), "auto"),
        None,
        "Sandboxes kept ready, until ten minutes after the last job; each takes some 10 MiB.",
        default_said="auto: one for each core that jobs may use, at most 2",
    )
