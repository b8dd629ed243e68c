"""What a node that has nothing to do takes of the machine that it is lent from, beside other agents that wait for work.

All of them idle at the same time, each in a process tree of its own, and are looked at in the same windows.  Our node
is linked to a gateway on this machine and heard by it; the peers have nobody to talk to, which is in their favour.
How long a command takes until it has shown its help is measured in turns, beside a start of the interpreter alone.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.dispatching import stage
from benchmarks.harness import BenchmarkError, Run, alternate
from benchmarks.idling import agents, tree
from benchmarks.rows import Target, row_id

MEMORY, PROCESSOR = "idle: proportional memory", "idle: processor time"
HELP, HELP_CPU = "--help: until it ends", "--help: processor time"
PARTS = "idle: proportional memory of a node's processes"
OURS, WARM = "edgeagent", "edgeagent, with the sandboxes that it keeps ready"
BARE = "python -c pass"
MIB = 1 << 20
#: Seconds that everybody has to settle down, and in each window; heartbeats come every 15 seconds.
SETTLE_S, WINDOW_S, QUICK_S = 45.0, 30.0, 5.0
WINDOWS, QUICK_WINDOWS = 5, 2
STARTS, QUICK_STARTS = 30, 5

TARGETS = (
    Target(row=row_id(MEMORY, OURS), at_most=60),
    Target(row=row_id(PROCESSOR, OURS), at_most=0.2),
    Target(row=row_id(HELP, OURS), at_most=150),
)


def measure(run: Run) -> None:
    """Take all figures; about six minutes."""
    run.compare(HELP, row_id(HELP, BARE))
    run.compare(HELP_CPU, row_id(HELP_CPU, BARE))
    with tempfile.TemporaryDirectory(prefix="edgeagent-bench-") as folder:
        run.say("preparing")
        prepared = stage.prepare(Path(folder) / "gateway", node_count=1, job_type="echo")
        with prepared.gateway() as served, contextlib.ExitStack() as stack:
            home, (member,) = Path(folder) / "node", prepared.members
            with agents.node(home, served.address, member):
                pass  # its bytecode is written
            pids = {OURS: stack.enter_context(agents.node(home, served.address, member))}
            run.absent |= agents.ABSENT
            for name, begin in agents.PEERS.items():
                try:
                    pids[name] = stack.enter_context(begin(Path(folder) / name))
                except agents.AbsentError as why:
                    run.absent[name] = str(why)
            _idle(run, pids)
    _help(run)


def _idle(run: Run, pids: Mapping[str, int]) -> None:
    window_s, windows = (QUICK_S, QUICK_WINDOWS) if run.quick else (WINDOW_S, WINDOWS)
    run.say(f"{len(pids)} agents idle: {windows} windows of {window_s:g} s")
    time.sleep(QUICK_S if run.quick else SETTLE_S)  # what a start leaves to do is not idling
    for _ in range(windows):
        before = {name: tree.cpu_s(pid) for name, pid in pids.items()}
        started = time.monotonic()
        time.sleep(window_s)  # what is measured is that nothing happens
        took_s = time.monotonic() - started
        for name, pid in pids.items():
            run.add(PROCESSOR, name, 100 * (tree.cpu_s(pid) - before[name]) / took_s, "% of a core")
            run.add(MEMORY, WARM if name == OURS else name, tree.pss_bytes(pid) / MIB, "MiB")
        parts = dict(tree.parts(pids[OURS]))
        for part, pss in parts.items():
            run.add(PARTS, part, pss / MIB, "MiB")
        run.add(MEMORY, OURS, (sum(parts.values()) - parts[tree.WARM]) / MIB, "MiB")


def _help(run: Run) -> None:
    commands = {
        BARE: [sys.executable, "-c", "pass"],
        "python -I -S -c pass": [sys.executable, "-I", "-S", "-c", "pass"],
        OURS: [str(Path(sys.executable).with_name("edgeagent")), "--help"],
    }
    for program in ("boinc", "buildkite-agent"):
        if found := shutil.which(program):
            commands[program] = [found, "--help"]
        else:
            run.absent[f"{program} --help"] = f"no {program} on the PATH"
    run.say(f"{len(commands)} commands say their help")
    turns = [partial(_start, run, name, command) for name, command in commands.items()]
    for turn in turns:
        turn(kept=False)  # caches and bytecode
    for turn in alternate(turns, QUICK_STARTS if run.quick else STARTS):
        turn()


def _start(run: Run, name: str, command: Sequence[str], *, kept: bool = True) -> None:
    before, started = tree.children_s(), time.perf_counter()
    done = subprocess.run(command, env=agents.environ(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    took_s, used_s = time.perf_counter() - started, tree.children_s() - before
    if done.returncode:
        raise BenchmarkError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-300:]}")
    if kept:
        run.add(HELP, name, 1000 * took_s, "ms")
        run.add(HELP_CPU, name, 1000 * used_s, "ms")
