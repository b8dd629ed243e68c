"""What a stretch of work brought."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Window:
    """Jobs done in a stretch of time.

    Attributes:
        jobs_per_s: how many.
        latencies_s: from the request to the acknowledged result, of each; empty where that was not looked at.
        server_cpu_s: processor time for each job of all that serves, without the load generator.
        load_share: of one core, that the load generator used.
    """

    jobs_per_s: float
    latencies_s: list[float]
    server_cpu_s: float
    load_share: float
