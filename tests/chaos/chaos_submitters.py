"""Those who submit: each request with an idempotency key, again and again until it is answered.

What is accepted is known by them alone: a request counts as accepted when an answer with its jobs' ids has come, the
first one or the one to a repetition.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import attrs
import trio
from chaos_network import Network
from chaos_plan import Plan, Request, Wanted

from edgeagent.client import Client
from edgeagent.errors import RefusedError, UnreachableError

#: Submitters at work at the same time.
WORKERS = 6
#: Shortest and longest pause before the same is asked again, in seconds.
AGAIN_S = (0.05, 0.5)

#: What a job may leave behind: a node sets that much of its small disk aside for each (chaos_places.DISK_BYTES).
LIMITS = {"scratch_bytes": 4 << 20}


@attrs.define(eq=False)
class Submitters:
    """All of them; ``accepted`` is what each job that they were told of was asked to be."""

    network: Network
    plan: Plan
    accepted: dict[str, Wanted] = attrs.Factory(dict)
    repeated: int = 0  # answers that had to be asked for again
    _allowed: int = 0
    _asked: int = 0
    _more: trio.Event = attrs.Factory(trio.Event)

    def allow(self, jobs: int) -> None:
        """Let so many jobs be asked for, in all."""
        self._allowed = max(self._allowed, jobs)
        self._more.set()
        self._more = trio.Event()

    async def run(self) -> None:
        """Submit everything, and see all of it accepted."""
        requests = iter(self.plan.requests)
        rng = random.Random(self.plan.seed)
        async with trio.open_nursery() as nursery:
            for _ in range(WORKERS):
                nursery.start_soon(self._work, requests, random.Random(rng.getrandbits(32)), nursery)

    async def _work(self, requests: Iterator[Request], rng: random.Random, nursery: trio.Nursery) -> None:
        async with Client(self.network.url, self.network.token) as client:
            for request in requests:
                # What comes before it counts, not what waits beside it: else all could wait for one another.
                before = self._asked
                self._asked += len(request.jobs)
                while before >= self._allowed:
                    await self._more.wait()
                for job_id, wanted in zip(await self._submit(client, request, rng), request.jobs, strict=True):
                    self.accepted[job_id] = wanted
                    if wanted.cancel_after_s is not None:
                        nursery.start_soon(self._cancel, job_id, wanted.cancel_after_s)

    async def _submit(self, client: Client, request: Request, rng: random.Random) -> list[str]:
        bodies: list[dict[str, Any]] = [
            {"job_type": job.job_type, "payload": job.payload, "limits": LIMITS} for job in request.jobs
        ]
        while True:
            try:
                if len(bodies) == 1:
                    return [(await client.submit(**bodies[0], key=request.key))["job_id"]]
                return [job["job_id"] for job in await client.submit_batch(bodies, key=request.key)]
            except UnreachableError:
                self.repeated += 1
                await trio.sleep(rng.uniform(*AGAIN_S))

    async def _cancel(self, job_id: str, after_s: float) -> None:
        await trio.sleep(after_s)
        async with Client(self.network.url, self.network.token) as client:
            while True:
                try:
                    await client.cancel(job_id)
                except RefusedError:
                    return  # it had ended
                except UnreachableError:
                    await trio.sleep(AGAIN_S[1])
                else:
                    return
