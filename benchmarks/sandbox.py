"""How fast a confined no-op starts, ends, and repeats, against a bare spawn and against other sandboxes.

Every figure is taken twice: *rapid-fire*, one job right after the other, and *50 ms apart*, as a node gets them.  The
kernel answers differently: what it puts off (grace periods, taking namespaces apart) has either piled up or is done,
and caches and clocks are warm or not.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks.harness import BenchmarkError, Run, alternate
from benchmarks.rows import Target, row_id
from benchmarks.sandboxes import memory, peers
from benchmarks.sandboxes.subjects import Command, FromZygote, Subject, Times
from edgesandbox import SandboxUnavailable, Zygote

JOBS = Path(__file__).parent / "sandboxes" / "jobs"
MODES = ("rapid-fire", "50 ms apart")
PAUSE_S = 0.05
RATE = "jobs per second, 2 at once"
MEMORY = "memory of an idle zygote"
BARE = "bare spawn of /bin/true"
PYTHON = "python -I -S"
COLD = "edgesandbox, cold"
COLD_NODE = "edgesandbox, cold, as a node has it"
WARM = "edgesandbox, warm"
WARM_CHILDREN = 8

# A burst is this long, of which the first job, which follows a pause, is left out.
BURST = 8
# What takes longer than this has fewer turns, and what takes a fifth of it shorter bursts: the others would wait.
SLOW_S = 0.1


def _result(mode: str, name: str) -> str:
    return row_id(f"start to result, {mode}", name)


def _exit(mode: str, name: str) -> str:
    return row_id(f"start to exit, {mode}", name)


TARGETS = (
    *(Target(row=_result(mode, COLD), per=_exit(mode, BARE), at_most=4) for mode in MODES),
    *(Target(row=_result(mode, "bubblewrap, python"), per=_result(mode, COLD), at_least=5) for mode in MODES),
    *(Target(row=_result(mode, WARM), per=_exit(mode, BARE), at_most=0.1) for mode in MODES),
    Target(row=row_id(RATE, COLD), at_least=600),
    Target(row=row_id(RATE, COLD), per=row_id(RATE, "bubblewrap, python"), at_least=3),
)


@attrs.frozen(kw_only=True)
class Effort:
    """How often things are done."""

    rapid_rounds: int = 40
    spaced_rounds: int = 60
    rate_rounds: int = 8
    rate_s: float = 0.4


QUICK = Effort(rapid_rounds=3, spaced_rounds=3, rate_rounds=1, rate_s=0.2)


def measure(run: Run) -> None:
    """Take all figures; about three minutes, half a minute when quick."""
    effort = QUICK if run.quick else Effort()
    run.facts["not timed"] = "the zygote's own start, once per node"
    for mode in MODES:
        run.compare(f"start to result, {mode}", _exit(mode, BARE))
        run.compare(f"start to exit, {mode}", _exit(mode, BARE))
    run.compare(RATE, row_id(RATE, BARE))
    with contextlib.ExitStack() as stack:
        talk = _python("import posix; posix.write(1, b'1')")
        subjects: list[Subject] = [_command(BARE, ["/bin/true"]), _command(PYTHON, talk)]
        subjects += _ours(run, stack)
        subjects += stack.enter_context(peers.installed({"true": ["/bin/true"], "python": talk}, run.absent))
        pace_s = {subject.name: subject.once().exit_s for subject in subjects}

        def turns(rounds: int) -> Iterator[Subject]:
            for subject in alternate(subjects, rounds, every=lambda each: 1 + int(pace_s[each.name] / SLOW_S)):
                time.sleep(PAUSE_S)
                yield subject

        run.say(f"{len(subjects)} ways of starting a no-op, in turns: {MODES[0]}")
        for subject in turns(effort.rapid_rounds):
            for place in range(BURST + 1 if pace_s[subject.name] < SLOW_S / 5 else 3):
                _keep(run, MODES[0], subject.name, subject.once(), drop=place == 0)
        run.say(MODES[1])
        for subject in turns(effort.spaced_rounds):
            _keep(run, MODES[1], subject.name, subject.once())
        run.say(RATE)
        for subject in turns(effort.rate_rounds):
            run.add(RATE, subject.name, subject.rate(2, effort.rate_s), "jobs/s")


def _command(name: str, argv: list[str]) -> Command:
    return Command(name=name, argv=lambda _worker: argv)


def _python(code: str) -> list[str]:
    """Return this interpreter's command line, past the links and the site-packages of a virtual environment."""
    return [os.path.realpath(sys.executable), "-I", "-S", "-c", code]


def _keep(run: Run, mode: str, name: str, times: Times, *, drop: bool = False) -> None:
    if drop:
        return
    run.add(f"start to exit, {mode}", name, times.exit_s * 1000, "ms")
    if times.result_s is not None:
        run.add(f"start to result, {mode}", name, times.result_s * 1000, "ms")


def _ours(run: Run, stack: contextlib.ExitStack) -> Iterator[Subject]:
    yield _zygote(run, stack, COLD)
    yield _zygote(run, stack, COLD_NODE, preload=["edgeagent.plugins.child"])
    if "warm" in inspect.signature(Zygote).parameters:
        yield _zygote(run, stack, WARM, warm=WARM_CHILDREN)
        run.facts["warm children"] = WARM_CHILDREN
    else:
        run.absent[WARM] = "this edgesandbox has no warm pool"


def _zygote(run: Run, stack: contextlib.ExitStack, name: str, **options: Any) -> FromZygote:
    before = set(memory.descendants(os.getpid()))
    try:
        zygote = stack.enter_context(Zygote(entry="noop:main", import_paths=[JOBS], **options))
    except SandboxUnavailable as problem:
        raise BenchmarkError(str(problem)) from None
    run.facts["tier"] = f"{zygote.tier}: " + ", ".join(zygote.enforced)
    subject = FromZygote(name=name, zygote=zygote)
    subject.once()
    time.sleep(10 * PAUSE_S)  # what that job was has to be gone, and a pool refilled
    processes = set(memory.descendants(os.getpid())) - before
    for kind in ("Rss", "Pss"):
        what = f"{name}, {kind.upper()} of {len(processes)} processes"
        try:
            run.add(MEMORY, what, sum(memory.bytes_of(pid, kind) for pid in processes) / 2**20, "MiB")
        except OSError as problem:
            run.absent[what] = str(problem)
    return subject
