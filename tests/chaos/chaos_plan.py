"""What is to happen in a run, drawn from one seed: which jobs, and which faults at which points between them.

Pure values.  Real processes never take the same course twice, so a seed repeats the plan, not the run: the same jobs,
the same faults in the same order, each when the same share of the jobs has ended, with the same choices and durations.
"""

from __future__ import annotations

import random
from typing import Any

import attrs

#: The faults, and how many of each a run of 2,000 jobs has; the dearer ones (a lock outlasts ten seconds) are fewer.
PER_2000 = {"gateway-kill": 20, "node-kill": 20, "disk-full": 10, "db-locked": 4, "clock": 10, "stall": 12}
#: Faults that strike the gateway and a node in turn, and so come twice at least.
IN_TURN = ("disk-full", "clock")
#: Between which shares of the ended jobs faults come: never before there is work, nor when there is hardly any left.
FIRST, LAST = 0.03, 0.9
#: One job of so many is cancelled; one submission of so many is a batch.
CANCELLED_ONE_IN, BATCH_ONE_IN = 25, 10
MOST_IN_BATCH = 12
#: How the plugin's jobs end: a few fail on every node, a few are refused.
FATES = {"complete": 94, "fail": 3, "reject": 3}
#: Job types, and how many of a hundred jobs are of each.
TYPES = {"echo": 40, "cpu_benchmark": 15, "chaos": 45}


@attrs.frozen(kw_only=True)
class Stroke:
    """One fault: struck when the share ``at`` of all jobs has ended.

    ``turn`` counts the strokes of a kind, ``seed`` is what its own choices are drawn from.
    """

    at: float
    fault: str
    turn: int
    seed: int


@attrs.frozen(kw_only=True)
class Wanted:
    """A job that somebody will ask for; ``cancel_after_s`` is None for those that are left alone."""

    job_type: str
    payload: dict[str, Any]
    cancel_after_s: float | None = None

    @property
    def files(self) -> int:
        """How many files it leaves when it completes."""
        return int(self.payload.get("files", 0))


@attrs.frozen(kw_only=True)
class Request:
    """One submission: a job, or a batch that is taken as a whole or not at all; the key says that it is the same."""

    key: str
    jobs: tuple[Wanted, ...]


@attrs.frozen(kw_only=True)
class Plan:
    """All that is decided beforehand."""

    seed: int
    requests: tuple[Request, ...]
    strokes: tuple[Stroke, ...]

    @property
    def jobs(self) -> int:
        """How many jobs there will be."""
        return sum(len(request.jobs) for request in self.requests)


def make(faults: tuple[str, ...], jobs: int, seed: int) -> Plan:
    """Draw a plan of so many jobs in which each of these faults occurs, as often as ``PER_2000`` says, or once."""
    rng = random.Random(f"{seed} {jobs} {' '.join(faults)}")
    kinds = [(fault, turn) for fault in faults for turn in range(_times(fault, jobs, len(faults)))]
    rng.shuffle(kinds)
    points = sorted(rng.uniform(FIRST, LAST) for _ in kinds)
    strokes = [
        Stroke(at=at, fault=fault, turn=turn, seed=rng.getrandbits(32))
        for at, (fault, turn) in zip(points, kinds, strict=True)
    ]
    return Plan(seed=seed, requests=_requests(rng, jobs), strokes=tuple(strokes))


def _times(fault: str, jobs: int, sharing: int) -> int:
    least = 2 if fault in IN_TURN else 1
    return max(least, round(PER_2000[fault] * jobs / 2000 / sharing))


def _requests(rng: random.Random, jobs: int) -> tuple[Request, ...]:
    requests: list[Request] = []
    left = jobs
    while left:
        many = rng.randint(2, MOST_IN_BATCH) if rng.randrange(BATCH_ONE_IN) == 0 else 1
        wanted = tuple(_wanted(rng) for _ in range(min(many, left)))
        requests.append(Request(key=f"chaos-{len(requests)}-{rng.getrandbits(64):016x}", jobs=wanted))
        left -= len(wanted)
    return tuple(requests)


def _wanted(rng: random.Random) -> Wanted:
    job_type = rng.choices(list(TYPES), list(TYPES.values()))[0]
    payload: dict[str, Any] = {"number": rng.randrange(1000)}
    if job_type == "cpu_benchmark":
        payload = {"limit": rng.randint(1000, 50_000)}
    elif job_type == "chaos":
        payload = {
            "seconds": round(rng.uniform(0.0, 0.4), 3),
            "fate": rng.choices(list(FATES), list(FATES.values()))[0],
            "files": rng.choice((0, 0, 1, 2)),
            "seed": rng.getrandbits(32),
        }
    cancel = rng.uniform(0.0, 1.0) if rng.randrange(CANCELLED_ONE_IN) == 0 else None
    return Wanted(job_type=job_type, payload=payload, cancel_after_s=cancel)
