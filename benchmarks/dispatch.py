"""How many durable jobs a gateway gets through, how soon, and what a link costs, beside Celery and Dramatiq on Redis.

The gateway is a process of its own, as ``edgeagent gateway run`` starts it, with SQLite and an fsync for each commit.
Nodes and submitter are simulated in this process: real connections that speak the real protocol.  Every turn has a
fresh gateway on a prepared directory, or a fresh worker on an empty Redis.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import attrs

from benchmarks.dispatching import decisions, peers, real, stage
from benchmarks.dispatching.fleet import JOB_TYPE, SLOTS, Fleet
from benchmarks.dispatching.window import Window
from benchmarks.harness import BenchmarkError, Run, alternate
from benchmarks.rows import Target, percentile, row_id

RATE = "durable jobs per second, submit to credited"
COST = "processor time of what serves, for each job"
LATENCY = "submit to credited"
ECHO = "one job at a time, submit to result"
LINK = "memory of an idle link"
NODES = 32
OURS = f"edgeagent, {NODES} nodes"
CELERY = tuple(peer.name for peer in peers.PEERS if peer.package == "celery")
SMALL, LARGE = 10, 10_000
LINKS = (1_000, 10_000)
FIRST_LINKS = 50

TARGETS = (
    Target(row=row_id(RATE, OURS), at_least=2000),
    *(Target(row=row_id(RATE, OURS), per=row_id(RATE, name), at_least=2) for name in CELERY),
    Target(row=row_id(ECHO, "edgeagent, sandboxed"), at_most=5),
    *(Target(row=row_id(LINK, f"{count:,} links"), at_most=25) for count in LINKS),
    *(
        Target(row=row_id(group, f"{LARGE:,} {what}"), per=row_id(group, f"{SMALL:,} {what}"), at_most=growth)
        for growth in (math.log(LARGE) / math.log(SMALL),)
        for group, what in ((decisions.BY_NODES, "nodes"), (decisions.BY_QUEUE, "jobs waiting"))
    ),
)


@attrs.frozen(kw_only=True)
class Effort:
    """How often and how long things are done, and how large they get."""

    rounds: int = 3
    window_s: float = 3.0
    echoes: int = 300
    decision_rounds: int = 60
    sizes: tuple[int, ...] = (10, 100, 1_000, 10_000)
    node_counts: tuple[int, ...] = (4, 32, 250, 1_000)
    queues: tuple[int, ...] = (10, 100, 10_000, 100_000)
    links: tuple[int, ...] = LINKS


QUICK = Effort(
    rounds=1,
    window_s=0.5,
    echoes=10,
    decision_rounds=3,
    sizes=(10, 100),
    node_counts=(4, 32),
    queues=(10,),
    links=(100,),
)


@attrs.frozen(kw_only=True)
class Subject:
    """Something that takes turns: what it is called, and one turn of it."""

    name: str
    turn: Callable[[], Window]


def measure(run: Run) -> None:
    """Take all figures; about eight minutes, half a minute when quick."""
    effort = QUICK if run.quick else Effort()
    run.facts["database"] = "SQLite, WAL, synchronous=FULL"
    run.facts["Redis"] = f"appendonly yes, appendfsync {peers.APPENDFSYNC}"
    run.facts["simulated nodes"] = f"{SLOTS} slots each, one process with the submitter"
    for group in (RATE, COST):
        run.compare(group, row_id(group, CELERY[0]))
    run.compare(ECHO, row_id(ECHO, CELERY[0]))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeagent-bench-")))
        redis, there = stack.enter_context(peers.running(run.absent))
        _rates(run, effort, folder, redis, there)
        _echoes(run, effort, redis, there)
        run.say("one dispatch, on its own")
        decisions.measure(run, folder, effort.sizes, effort.decision_rounds)
        _links(run, effort, folder)


def _rates(run: Run, effort: Effort, folder: Path, redis: peers.Redis | None, there: tuple[peers.Peer, ...]) -> None:
    run.say("preparing gateways")
    subjects = [*_ours(effort, folder), *(_peer(effort, redis, peer) for peer in there if redis is not None)]
    run.say(f"{len(subjects)} ways of getting jobs done, in turns")
    shares: list[float] = []
    for subject in alternate(subjects, effort.rounds):
        window = subject.turn()
        run.add(RATE, subject.name, window.jobs_per_s, "jobs/s")
        run.add(COST, subject.name, window.server_cpu_s * 1e6, "us")
        if window.latencies_s:
            for latency_s in window.latencies_s:
                run.add(LATENCY, subject.name, latency_s * 1000, "ms")
            run.add(LATENCY, f"{subject.name}, p99", percentile(window.latencies_s, 99) * 1000, "ms")
            shares.append(window.load_share)
    run.facts["load generator"] = f"used {min(shares):.0%} to {max(shares):.0%} of one core beside the gateway"


def _ours(effort: Effort, folder: Path) -> Iterator[Subject]:
    for count in effort.node_counts:
        prepared = stage.prepare(folder / f"{count}-nodes", node_count=count, job_type=JOB_TYPE)
        yield Subject(name=f"edgeagent, {count:,} nodes", turn=partial(_turn, effort, prepared, waiting=1000))
        if count == NODES:
            alone = partial(_turn, effort, prepared, waiting=64, singly=8)
            yield Subject(name=f"{OURS}, a request for each job", turn=alone)
    for queue in effort.queues:
        prepared = stage.prepare(folder / f"{queue}-waiting", node_count=NODES, job_type=JOB_TYPE, waiting=queue)
        waiting = partial(_turn, effort, prepared, waiting=queue, seeded=queue)
        yield Subject(name=f"{OURS}, {queue:,} waiting", turn=waiting)


def _turn(effort: Effort, prepared: stage.Stage, *, waiting: int, singly: int = 0, seeded: int = 0) -> Window:
    with prepared.gateway() as served, contextlib.closing(Fleet(served)) as fleet:
        fleet.open(prepared.members)
        return fleet.work(effort.window_s, waiting=waiting, singly=singly, seeded=seeded)


def _peer(effort: Effort, redis: peers.Redis, peer: peers.Peer) -> Subject:
    def turn() -> Window:
        with redis.worker(peer) as worker:
            return worker.work(effort.window_s, waiting=1000)

    return Subject(name=peer.name, turn=turn)


def _echoes(run: Run, effort: Effort, redis: peers.Redis | None, there: tuple[peers.Peer, ...]) -> None:
    run.say(ECHO)

    def measure(submitter: real.Submitter) -> None:
        with contextlib.ExitStack() as stack:
            subjects: list[tuple[str, Callable[[], float]]] = [("edgeagent, sandboxed", submitter.one)]
            if redis is not None:
                subjects += [(peer.name, stack.enter_context(redis.worker(peer)).one) for peer in there]
            for name, one in alternate(subjects, effort.echoes):
                run.add(ECHO, name, one() * 1000, "ms")

    try:
        real.with_node(measure)
    except BenchmarkError as problem:
        run.absent["edgeagent, sandboxed"] = str(problem)


def _links(run: Run, effort: Effort, folder: Path) -> None:
    run.say("idle links")
    prepared = stage.prepare(folder / "links", node_count=max(effort.links), job_type=JOB_TYPE)
    with prepared.gateway() as served, contextlib.closing(Fleet(served)) as fleet:
        opened = FIRST_LINKS
        fleet.open(prepared.members[:opened])  # and whatever a gateway imports and makes but once
        before = served.pss_bytes()
        for count in effort.links:
            fleet.open(prepared.members[opened:count])
            opened = count
            run.add(LINK, f"{count:,} links", (served.pss_bytes() - before) / (count - FIRST_LINKS) / 1024, "KiB")
