"""One ``echo`` at a time through everything: REST, queue, link, a node, its sandbox, and back to who asked."""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio

from benchmarks.harness import BenchmarkError
from edgeagent.demo import network
from edgeagent.errors import EdgeAgentError
from edgeagent.gateway.ledger import price_ucr

JOB_TYPE = "echo"


class Submitter:
    """Two connections: one that submits, one that hears how jobs end."""

    def __init__(self, authority: str, token: str) -> None:
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._asks, self._hears = (http.client.HTTPConnection(authority, timeout=30) for _ in range(2))

    def one(self) -> float:
        """Have one job done and return how long it took, in seconds, until its end was heard of.

        Raises:
            BenchmarkError: it did not complete.
        """
        started = time.perf_counter()
        self._asks.request("POST", "/api/v1/jobs", json.dumps({"job_type": JOB_TYPE}), self._headers)
        job = json.loads(self._asks.getresponse().read())
        self._hears.request("GET", f"/api/v1/jobs/{job['job_id']}/events", headers=self._headers)
        events = self._hears.getresponse()
        last = b""
        while (line := events.readline()) and not line.startswith(b"event: end"):
            last = line if line.startswith(b"data: ") else last
        took_s = time.perf_counter() - started
        events.read()
        if b'"COMPLETED"' not in last:
            raise BenchmarkError(f"an echo did not complete: {last.decode()[:300]}")
        return took_s


def with_node(work: Callable[[Submitter], None]) -> None:
    """Call ``work`` while a gateway and a node run as their commands run them.

    Raises:
        BenchmarkError: one of them does not, on this host.
    """

    async def run() -> None:
        with tempfile.TemporaryDirectory(prefix="edgeagent-bench-") as folder:
            async with network.running(Path(folder), grant_ucr=price_ucr(JOB_TYPE), capabilities=(JOB_TYPE,)) as there:
                submitter = Submitter(there.gateway.authority, there.token)
                await trio.to_thread.run_sync(work, submitter)

    try:
        trio.run(run)
    except* EdgeAgentError as group:
        raise BenchmarkError(str(group.exceptions[0])) from None
