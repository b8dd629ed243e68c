"""What the machine has: processor, memory, disk, a sandbox, GPUs, plugins, and a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import trio

from edgeagent.errors import EdgeAgentError, UnreachableError
from edgeagent.node import gpus, health, hostwatch, machine, terms
from edgeagent.node.controller import Controller
from edgeagent.node.doctor import verdicts
from edgeagent.node.doctor.verdicts import Verdict, failed, passed, warned
from edgeagent.node.options.settings import Settings
from edgeagent.plugins.loading import discover
from edgeagent.plugins.probe import available
from edgesandbox import SandboxUnavailable, Zygote


def resources(home: Path, settings: Settings) -> Iterator[Verdict]:
    """Look at cores, memory and disk."""
    try:
        machine.cores(settings.share.cores)
    except EdgeAgentError as error:
        text, _, remedy = str(error).partition("; ")
        yield failed("cores", text, remedy)
    else:
        yield verdicts.cores(len(os.sched_getaffinity(0)), settings.share.cores)
    yield verdicts.memory(machine.memory_bytes())
    place = next(one for one in (home, *home.absolute().parents) if one.exists())
    usage = shutil.disk_usage(place)
    yield verdicts.disk(usage.free, str(place), settings.disk.rules.floor(usage.total))


def sandbox(home: Path, settings: Settings) -> Verdict:
    """Say what confines the jobs of the node that runs from ``home``; without one, what would confine them here.

    A shell may have less than the node: no control groups, where systemd gives the node some.  Without a node a sandbox
    is built that shows jobs the operator's own plugins, and attacks itself, for about half a second.
    """
    if sys.platform != "linux":
        return failed("sandbox", f"jobs cannot be confined on {sys.platform}", "run the node in Docker")
    with contextlib.suppress(EdgeAgentError), Controller(home) as node:  # ``port`` says what is wrong there
        held = node.ask("state")["state"]["sandbox"]
        return verdicts.sandbox(held["tier"], held["not_enforced"], settings.share.cores, runs=True)
    tier_c = "allow" if settings.sandbox.allow_tier_c else "refuse"
    shown = [own] if (own := home / "plugins").is_dir() else []
    zygote = Zygote(entry="builtins:print", read_only=shown, cores=settings.share.cores, tier_c=tier_c)
    try:
        with zygote:
            return verdicts.sandbox(zygote.tier, zygote.not_enforced, settings.share.cores)
    except SandboxUnavailable as error:
        what, _, remedy = str(error).partition("; ")
        return failed("sandbox", what, remedy or "run the node in Docker, as docs/sandbox-hosts.md has it")


def pauses(settings: Settings) -> Iterator[Verdict]:
    """Say what the owner wants jobs to stop for that this machine does not tell; nothing where all is told."""
    watched = hostwatch.Host(terms.wishes(settings))
    trio.run(watched.read)
    for line in watched.unheeded:
        text, _, remedy = line.partition("; ")
        yield warned("pause", text, remedy)


def graphics(settings: Settings) -> Iterator[Verdict]:
    """Look for GPUs that can be lent, and at what the owner says of them."""
    lent = gpus.lend(gpus.detect())
    try:
        rules = gpus.rules(lent, settings.gpu)
    except EdgeAgentError as error:
        yield failed("gpu", str(error), "edgeagent config show, then correct or unset that option")
        return
    if rules.uuids:
        yield passed("gpu", f"{len(rules.uuids)} GPUs are lent: {', '.join(rules.uuids)}")
    elif not lent.problems:
        yield passed("gpu", "no GPU is lent")
    for problem in lent.problems:
        # Most machines have none, and need none.
        yield passed("gpu", f"no GPU is lent: {problem}") if not rules.uuids else warned("gpu", problem, "nvidia-smi")


def plugins(directory: Path, named: tuple[str, ...]) -> Iterator[Verdict]:
    """Find and load every plugin, in a process of its own; ``named`` are the job types that the owner wants offered."""
    found = discover(directory)
    for error in found.errors:
        yield warned("plugins", f"not usable: {error}", "correct the file; then: edgeagent plugins check")
    offer = available(found.plugins)
    for job_type, reason in offer.reasons.items():
        text = f"{job_type!r} cannot be run here: {reason}"
        if job_type in named:
            yield warned("plugins", text, "see to that, or take it out of the node's capabilities")
        else:
            yield passed("plugins", text)
    for job_type in named:
        if job_type not in found.plugins:
            remedy = "edgeagent plugins list; install its package, or write one: edgeagent plugins new NAME"
            yield warned("plugins", f"no plugin for {job_type!r} is installed", remedy)
    if offer.job_types:
        yield passed("plugins", f"job types that run here: {', '.join(offer.job_types)}")
    else:
        yield failed("plugins", "no job type can be run here", "pip install --force-reinstall edgeagent")


def port(home: Path, settings: Settings) -> Verdict:
    """Say whether a node runs, or could have its port."""
    try:
        with Controller(home) as node:
            state = node.ask("state")["state"]
        return passed("port", f"a node runs from {home}, edgeagent {state['version']}")
    except UnreachableError:
        pass
    except EdgeAgentError as error:
        return warned("port", f"a node runs, and does not answer: {error}", "edgeagent logs")
    try:
        health.listen(settings.health.host, settings.health.port).close()
    except EdgeAgentError as error:
        text, _, remedy = str(error).partition("; ")
        return failed("port", text, remedy)
    return passed("port", f"port {settings.health.port} on {settings.health.host} is free; no node runs from {home}")
