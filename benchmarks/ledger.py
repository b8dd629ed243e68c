"""What books of five million entries and 100,000 nodes cost: the leaderboard, the auditor, a month's payouts.

The books are made, not grown (``bookkeeping.fill``).  The leaderboard is asked of a gateway as its command runs it,
over HTTP; the auditor and the payouts are the owner's commands, in this process.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.bookkeeping.fill import MONTH, fill
from benchmarks.dispatching.stage import Stage
from benchmarks.harness import BenchmarkError, Run
from benchmarks.rows import Target, row_id
from edgeagent.gateway import bookkeeping, payroll
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.payouts import State
from edgeagent.gateway.rails import MANUAL

CACHED, WHOLE, CPU = "leaderboard, from its cache", "whole", "processor time"
PAGE, REST, VERIFY, PAYOUTS, MAKING = "/", "/api/v1/community/leaderboard", "ledger verify", "payouts run", "first page"
#: What the books are to hold: two entries for each job, a grant, and one for each payout in the end.
NODES, JOBS = 100_000, 2_500_000
QUICK_NODES, QUICK_JOBS = 2_000, 25_000
#: Bytes of disk that a job takes, with its entries, rows and keys, and room to spare.
JOB_BYTES = 3_000
ASKED = 200

TARGETS = (
    *(Target(row=row_id(CACHED, path), at_most=50) for path in (PAGE, REST)),
    Target(row=row_id(WHOLE, VERIFY), at_most=600),
)


def measure(run: Run) -> None:
    """Take all figures."""
    node_count, job_count = (QUICK_NODES, QUICK_JOBS) if run.quick else (NODES, JOBS)
    parent = Path(os.environ.get("EDGEAGENT_BENCH_DIR", tempfile.gettempdir()))
    if shutil.disk_usage(parent).free < job_count * JOB_BYTES:
        raise BenchmarkError(
            f"{parent} has less than {job_count * JOB_BYTES >> 30} GiB free; set EDGEAGENT_BENCH_DIR to another place"
        )
    with tempfile.TemporaryDirectory(prefix="edgeagent-bench-", dir=parent) as folder:
        place = GatewaySettings(data_dir=Path(folder) / "data")
        place.data_dir.mkdir(mode=0o700)
        run.say(f"making books of {node_count} nodes and {job_count} jobs")
        began = time.perf_counter()
        entries = fill(place.data_dir / "gateway.db", node_count=node_count, job_count=job_count)
        run.facts["entries"], run.facts["nodes"] = entries, node_count
        run.facts["made in s"] = round(time.perf_counter() - began)
        run.facts["database MB"] = (place.data_dir / "gateway.db").stat().st_size // 1_000_000
        run.say("auditing them")
        _verify(run, place, entries)
        run.say("asking for the leaderboard")
        _leaderboard(run, place, node_count)
        run.say("paying a month")
        _pay(run, place, node_count)
        run.say("auditing them again")
        _verify(run, place, entries + node_count)


def _verify(run: Run, place: GatewaySettings, entries: int) -> None:
    with _timed(run, VERIFY):
        verdict = bookkeeping.verify(place)
    if verdict.wrong or verdict.entries != entries:
        raise BenchmarkError(f"{verdict.entries} entries, of which some are wrong: {verdict.wrong[:1]}")


def _pay(run: Run, place: GatewaySettings, node_count: int) -> None:
    order = payroll.Order(month=MONTH, minimum_ucr=1, rail=MANUAL)
    with _timed(run, PAYOUTS):
        report = payroll.pay(place, order)
    if report.month.nodes != {State.INSTRUCTED: node_count}:
        raise BenchmarkError(f"not every node was paid: {report.month.nodes}, {report.fault}")


def _leaderboard(run: Run, place: GatewaySettings, node_count: int) -> None:
    with Stage(place.data_dir, "", ()).in_place() as served:
        connection = http.client.HTTPConnection(*served.address, timeout=600)
        with contextlib.closing(connection):
            run.add(WHOLE, MAKING, _asked(connection, PAGE), "s")
            for _ in range(ASKED):
                for path in (PAGE, REST):
                    run.add(CACHED, path, 1000 * _asked(connection, path), "ms")


def _asked(connection: http.client.HTTPConnection, path: str) -> float:
    """Return the seconds until all of an answer was there."""
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    if answer.status != http.client.OK:
        raise BenchmarkError(f"{path} is answered with {answer.status}")
    return time.perf_counter() - began


@contextlib.contextmanager
def _timed(run: Run, name: str) -> Iterator[None]:
    clocks: tuple[tuple[str, Callable[[], float]], ...] = ((WHOLE, time.perf_counter), (CPU, time.process_time))
    before = [clock() for _, clock in clocks]
    yield
    for (group, clock), began in zip(clocks, before, strict=True):
        run.add(group, name, clock() - began, "s")
