"""Things that start a no-op and are timed: a command line, or a zygote.

Every job is timed from right before the call that starts it.  Its *result* is the first byte that arrives from it,
on its stdout or its channel; its *exit* is the moment that whoever started it knows that it is over: a command's
process was waited for, a sandbox of ours has reported and let go of its pipes.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Protocol

import attrs

from benchmarks.harness import BenchmarkError
from edgesandbox import Outcome, Spec, Zygote

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
ENVIRONMENT |= {name: value for name, value in os.environ.items() if name == "DOCKER_HOST"}  # a client's only way
TRIAL_TIMEOUT_S = 60


@attrs.frozen(kw_only=True)
class Times:
    """Of one job, in seconds since it was asked for; ``result_s`` is None where it says nothing."""

    result_s: float | None
    exit_s: float


class Subject(Protocol):
    """One line of the tables."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    def once(self) -> Times:
        """Run one job to its end."""

    def rate(self, workers: int, duration_s: float) -> float:
        """Return jobs per second with this many at once, each worker starting its next when its last has ended."""


@attrs.frozen(kw_only=True)
class Command:
    """A program started with posix_spawn, which costs this process's size nothing.

    Attributes:
        name: what the tables call it.
        argv: makes the command line for one of the workers; no two that run at once get the same number.
    """

    name: str
    argv: Callable[[int], list[str]]

    def trial(self) -> str:
        """Return why it does not work here; empty when it does."""
        try:
            ended = subprocess.run(
                self.argv(0),
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TRIAL_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"it did not end within {TRIAL_TIMEOUT_S} s"
        if ended.returncode:
            said = ended.stderr.decode(errors="replace").strip().splitlines()
            return f"exit code {ended.returncode}: " + (said[-1] if said else "it said nothing")
        return ""

    def once(self) -> Times:
        """Run it to its end."""
        return self._run(self.argv(0))

    def _run(self, argv: list[str]) -> Times:
        read, write = os.pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write, 1),
            (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
        ]
        started = time.perf_counter()
        pid = os.posix_spawn(argv[0], argv, ENVIRONMENT, file_actions=actions)
        os.close(write)
        said = os.read(read, 1)
        result = time.perf_counter()
        _, status = os.waitpid(pid, 0)
        ended = time.perf_counter()
        os.close(read)
        if status:
            raise BenchmarkError(f"{self.name} failed with status {os.waitstatus_to_exitcode(status)}")
        return Times(result_s=result - started if said else None, exit_s=ended - started)

    def rate(self, workers: int, duration_s: float) -> float:
        """Start from processes of their own: Python holds its lock while posix_spawn waits for the exec."""
        pipes = [os.pipe() for _ in range(workers)]
        pids = [self._fork_worker(number, duration_s, write) for number, (_, write) in enumerate(pipes)]
        said = []
        for (read, write), pid in zip(pipes, pids, strict=True):
            os.close(write)
            said.append(os.read(read, 100))
            os.close(read)
            os.waitpid(pid, 0)
        if not all(said):
            raise BenchmarkError(f"{self.name} failed with {workers} at once")
        return sum(map(float, said))

    def _fork_worker(self, number: int, duration_s: float, write: int) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                argv = self.argv(number)
                os.write(write, str(_rate(lambda: self._run(argv), duration_s)).encode())
            finally:
                os._exit(0)
        return pid


@attrs.frozen(kw_only=True)
class FromZygote:
    """A sandbox of ours, started as the node does: one zygote, asked by threads of one process."""

    name: str
    zygote: Zygote
    spec: Spec = attrs.field(factory=Spec)

    def once(self) -> Times:
        """Run one job to its end."""
        started = time.perf_counter()
        with self.zygote.spawn(self.spec) as box:
            said = box.channel.recv(1)
            result = time.perf_counter()
            report = box.read_report()
            while os.read(box.output_fd, 4096):
                pass
            while box.control.recv(4096):
                pass
            ended = time.perf_counter()
        if report.outcome is not Outcome.EXITED or report.exit_code or not said:
            raise BenchmarkError(f"{self.name}: {report.outcome} {report.detail}")
        return Times(result_s=result - started, exit_s=ended - started)

    def rate(self, workers: int, duration_s: float) -> float:
        """Start from threads."""
        rates: list[float] = []
        threads = [threading.Thread(target=lambda: rates.append(_rate(self.once, duration_s))) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(rates) < workers:
            raise BenchmarkError(f"{self.name} failed with {workers} at once")
        return sum(rates)


def _rate(once: Callable[[], object], duration_s: float) -> float:
    """Return jobs per second of one worker; the last job counts with all its time."""
    started = time.perf_counter()
    count = 0
    while (elapsed := time.perf_counter() - started) < duration_s:
        once()
        count += 1
    return count / elapsed
