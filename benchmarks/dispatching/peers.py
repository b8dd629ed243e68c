"""Celery and Dramatiq on a Redis of their own, asked for what the gateway does: late acknowledgements, kept results.

Redis puts its log on disk once a second (``appendfsync everysec``), which is less than the gateway's fsync for each
commit; results are counted by the size of their database, which costs the peers nothing.  Both are in their favour.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from benchmarks.dispatching.processes import cpu_s
from benchmarks.dispatching.window import Window
from benchmarks.harness import BenchmarkError
from benchmarks.sandboxes import memory

APPENDFSYNC = "everysec"
#: Tasks that are published between two looks at how many are done.
_STRIDE = 20
_START_S = 60.0
#: Tasks that are done before anything is counted.
_WARM = 100
_MODULES = "benchmarks.dispatching"
_CELERY = ("celery", "-A", f"{_MODULES}.celery_app", "worker", "--loglevel", "ERROR")
_CELERY += ("--without-gossip", "--without-mingle", "--without-heartbeat")


@attrs.frozen(kw_only=True)
class Peer:
    """One way of running a peer: its package, and the command line of its worker."""

    name: str
    package: str
    worker: tuple[str, ...]


PEERS = (
    Peer(name="Celery, solo", package="celery", worker=(*_CELERY, "--pool", "solo")),
    Peer(name="Celery, 2 processes", package="celery", worker=(*_CELERY, "--pool", "prefork", "--concurrency", "2")),
    Peer(
        name="Dramatiq, 8 threads",
        package="dramatiq",
        worker=("dramatiq", f"{_MODULES}.dramatiq_app", "--processes", "1", "--threads", "8"),
    ),
)


class Redis:
    """A Redis server for the peers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        import redis

        self.pid = process.pid
        self.urls = {"BENCH_BROKER": f"redis://127.0.0.1:{port}/0", "BENCH_RESULTS": f"redis://127.0.0.1:{port}/1"}
        self.results = redis.Redis.from_url(self.urls["BENCH_RESULTS"])

    @contextlib.contextmanager
    def worker(self, peer: Peer) -> Iterator[Worker]:
        """Run a peer's worker on an empty Redis.

        Raises:
            BenchmarkError: it does no task.
        """
        self.results.flushall()
        command = [sys.executable, "-m", *peer.worker]
        environ = {**os.environ, **self.urls}
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            worker = Worker(self, peer, process.pid)
            try:
                worker.one(_START_S)
            except Exception as problem:  # whatever the peer's client raises: it is named and not measured
                raise BenchmarkError(f"{peer.name} did no task: {problem!r}") from None
            yield worker
        finally:
            children = list(memory.descendants(process.pid))
            process.kill()
            process.wait()
            for pid in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)


class Worker:
    """A peer that works."""

    def __init__(self, redis: Redis, peer: Peer, pid: int) -> None:
        self._redis, self._pid = redis, pid
        os.environ.update(redis.urls)
        self._task: Any = importlib.import_module(f"{_MODULES}.{peer.package}_app").primes
        self._celery = peer.package == "celery"

    def one(self, within_s: float = 10.0) -> float:
        """Have one task done and return how long it took, in seconds, until its result was here."""
        started = time.perf_counter()
        if self._celery:
            self._publish().get(timeout=within_s)
        else:
            self._publish().get_result(block=True, timeout=int(within_s * 1000))
        return time.perf_counter() - started

    def work(self, window_s: float, *, waiting: int) -> Window:
        """Have tasks done for a while, always so many published and not done; measured once it runs."""
        published = self._done()

        def serve_until(count: int, end: float) -> int:
            nonlocal published
            within = max(end, time.monotonic() + _START_S)
            while (done := self._done()) < count or time.monotonic() < end:
                if published - done > waiting - _STRIDE:
                    time.sleep(0.001)  # leave the processor to the worker
                    continue
                for _ in range(_STRIDE):
                    self._publish()
                published += _STRIDE
                if time.monotonic() > within:
                    raise BenchmarkError(f"only {done} tasks were done, not {count}")
            return done

        before = serve_until(published + _WARM, 0.0)
        servers_s, own_s, started = self._cpu_s(), time.process_time(), time.monotonic()
        completed = serve_until(before + 1, started + window_s) - before
        took_s = time.monotonic() - started
        return Window(
            jobs_per_s=completed / took_s,
            latencies_s=[],
            server_cpu_s=(self._cpu_s() - servers_s) / completed,
            load_share=(time.process_time() - own_s) / took_s,
        )

    def _publish(self) -> Any:
        publish: Callable[..., Any] = self._task.delay if self._celery else self._task.send
        return publish(100_000, time.perf_counter())

    def _done(self) -> int:
        return int(self._redis.results.dbsize())

    def _cpu_s(self) -> float:
        return sum(cpu_s(pid) for pid in (self._redis.pid, self._pid, *memory.descendants(self._pid)))


@contextlib.contextmanager
def running(absent: dict[str, str]) -> Iterator[tuple[Redis | None, tuple[Peer, ...]]]:
    """Yield a Redis and the peers that are installed; put the others into ``absent`` with the reason."""
    server = shutil.which("redis-server")
    missing = {peer: _missing(peer, server) for peer in PEERS}
    absent.update({peer.name: reason for peer, reason in missing.items() if reason})
    there = tuple(peer for peer, reason in missing.items() if not reason)
    if server is None or not there:
        yield None, ()
        return
    with tempfile.TemporaryDirectory(prefix="edgeagent-bench-") as folder:
        port = _free_port()
        command = [server, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        command += ["--appendonly", "yes", "--appendfsync", APPENDFSYNC]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            redis = Redis(process, port)
            _wait_for(redis)
            yield redis, there
        finally:
            process.kill()
            process.wait()


def _missing(peer: Peer, server: str | None) -> str | None:
    if server is None:
        return "no redis-server on the PATH"
    for package in (peer.package, "redis"):
        if importlib.util.find_spec(package) is None:
            return f"the Python package {package} is not installed"
    return None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for(redis: Redis) -> None:
    import redis as client

    until = time.monotonic() + _START_S
    answered = False
    while not answered:
        try:
            answered = bool(redis.results.ping())
        except client.ConnectionError as problem:
            if time.monotonic() > until:
                raise BenchmarkError(f"redis-server does not answer: {problem}") from None
            time.sleep(0.05)  # a server says nothing while it starts
