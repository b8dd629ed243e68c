"""All measurements, one after the other, each handed over as soon as it is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import attrs
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node import files, machine
from edgeagent.node.bench import hardware, jobs
from edgeagent.node.options.settings import Settings
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.slots import default_slots
from edgeagent.plugins.loading import discover
from edgeagent.plugins.probe import available

#: What can be measured, in this order.
PARTS = ("cpu", "memory", "disk", "sandbox", "jobs")


def measure(home: Path, settings: Settings, parts: Collection[str] = PARTS) -> Iterator[tuple[str, Any]]:
    """Yield what is measured, and its scores; takes some seconds for each, and leaves nothing behind.

    Args:
        home: the node's, or where it will be; its disk is measured, and its plugins are run.
        settings: the owner's, of which the sandbox's count, and which job types are denied.
        parts: which of ``PARTS``.

    Raises:
        EdgeAgentError: this machine cannot confine jobs, or its disk cannot be written.
    """
    if "cpu" in parts:
        yield "cpu", {"cores": machine.cores(None), **hardware.processor()}
    if "memory" in parts:
        yield "memory", hardware.memory()
    if "disk" in parts:
        yield "disk", _disk(home)
    if {"sandbox", "jobs"} & set(parts):
        yield from _sandboxed(home, settings, parts)


def _disk(home: Path) -> dict[str, float]:
    try:
        files.ensure_directory(home)
        return hardware.disk(home)
    except OSError as error:
        raise EdgeAgentError(f"the disk of {home} cannot be measured: {error.strerror}") from None


def _sandboxed(home: Path, settings: Settings, parts: Collection[str]) -> Iterator[tuple[str, Any]]:
    slots = settings.share.slots or default_slots(machine.cores(settings.share.cores))
    plugins = home / "plugins"
    with zygote_for(
        plugins, settings.sandbox.warm, cores=settings.share.cores, allow_tier_c=settings.sandbox.allow_tier_c
    ) as zygote:
        executor = SandboxExecutor(zygote)
        if "sandbox" in parts:
            yield (
                "sandbox",
                {
                    "tier": zygote.tier,
                    "starts_per_s": trio.run(jobs.starts, executor, 1),
                    "slots": slots,
                    "starts_per_s_all_slots": trio.run(jobs.starts, executor, slots),
                },
            )
        if "jobs" in parts:
            offer = available(discover(plugins).plugins)
            yield (
                "jobs",
                [
                    attrs.asdict(trio.run(jobs.score, executor, job_type, payload))
                    for job_type, payload in offer.benchmarks.items()
                    if job_type in offer.job_types and job_type not in settings.capabilities.deny
                ],
            )
