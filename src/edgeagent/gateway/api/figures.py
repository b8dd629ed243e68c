"""``/metrics``, for Prometheus, by a token of scope ``admin``.

Loopback alone opens nothing: behind a proxy on the same machine everybody comes from there.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import attrs
import sqlalchemy as sa
import trio
from litestar import Request, Response, get

from edgeagent.gateway.api import shared
from edgeagent.gateway.api.describe import ACCOUNT
from edgeagent.gateway.api.guards import TheHub, administrators_only
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.metrics import bounded
from edgeagent.gateway.store import Store, Tx, uploads
from edgeagent.gateway.store.tables import jobs
from edgeagent.wire.exposition import CONTENT_TYPE, family, sample

#: Seconds that one count of all jobs is good for; longer where it took long, so that counting is never more than a
#: twentieth of what the gateway does, however many jobs there have been.
FRESH_S, TIMES = 10.0, 20


@attrs.define(eq=False)
class JobCounts:
    """The jobs of one gateway by state and type, counted when somebody asks and the last count is old."""

    store: Store
    _until: float = attrs.field(default=-math.inf, init=False)  # on trio's clock
    _counted: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)

    async def current(self) -> Counter[tuple[str, str]]:
        """Return how many there are of each, of at most as many types as ``metrics.bounded`` lets through."""
        began = trio.current_time()
        if self._until <= began:
            self._counted = bounded(await self.store.read(_count))
            ended = trio.current_time()
            self._until = ended + max(FRESH_S, TIMES * (ended - began))
        return self._counted


@get("/metrics", guards=[administrators_only], media_type=CONTENT_TYPE, security=[{ACCOUNT: []}], tags=["network"])
async def metrics(hub: TheHub, request: Request[Any, Any, Any]) -> Response[str]:
    """Show the gateway's figures in Prometheus' text format; needs a token of scope admin."""
    counted = await shared.of(request).job_counts.current()
    queued = sum(count for (job_state, _), count in counted.items() if job_state == "QUEUED")
    nodes = hub.network.registry.counts()
    families = [
        family(
            "edgeagent_jobs",
            "gauge",
            "Jobs by state and type.",
            [
                sample("edgeagent_jobs", count, {"state": job_state, "type": job_type})
                for (job_state, job_type), count in sorted(counted.items())
            ],
        ),
        family("edgeagent_queue_depth", "gauge", "Jobs that wait.", [sample("edgeagent_queue_depth", queued)]),
        family(
            "edgeagent_nodes",
            "gauge",
            "Nodes by state.",
            [sample("edgeagent_nodes", count, {"state": node_state.value}) for node_state, count in nodes.items()],
        ),
        family("edgeagent_links", "gauge", "Open links.", [sample("edgeagent_links", len(hub.network.sessions()))]),
        family(
            "edgeagent_dispatch_latency_seconds",
            "histogram",
            "From a job's submission to its dispatch; not of retries.",
            hub.dispatch_latency.lines("edgeagent_dispatch_latency_seconds"),
        ),
        family(
            "edgeagent_writer_batch_size",
            "histogram",
            "Requests in one commit.",
            hub.store.batches.lines("edgeagent_writer_batch_size"),
        ),
    ]
    families += await _of_files(hub)
    return Response("".join(families), media_type=CONTENT_TYPE)


async def _of_files(hub: Hub) -> list[str]:
    told = (
        (
            "stored_bytes",
            "gauge",
            "Bytes of the files kept, when garbage was last collected.",
            hub.collector.stored_bytes,
        ),
        ("stored_files", "gauge", "Files kept, when garbage was last collected.", hub.collector.stored_files),
        ("received_bytes_total", "counter", "Bytes of uploads received.", hub.uploads.received_bytes),
        ("open_uploads", "gauge", "Uploads in progress.", await hub.store.read(uploads.count_open)),
    )
    return [
        family(f"edgeagent_{name}", kind, about, [sample(f"edgeagent_{name}", value)])
        for name, kind, about, value in told
    ]


def _count(tx: Tx) -> dict[tuple[str, str], int]:
    wanted = sa.select(jobs.c.state, jobs.c.job_type, sa.func.count().label("number"))
    return {
        (row.state, row.job_type): row.number
        for row in tx.connection.execute(wanted.group_by(jobs.c.state, jobs.c.job_type))
    }
