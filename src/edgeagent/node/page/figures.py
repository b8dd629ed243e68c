"""A node's figures for Prometheus, from the document that it gives of itself.  Pure.

Names and units follow Prometheus' own advice: base units, ``_total`` for what only grows.  Labels hold what this node
announces or decides, never a stranger's text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from edgeagent.wire.exposition import family, sample
from edgeagent.wire.units import UCR_PER_CREDIT

Json = dict[str, Any]


def figures(state: Json) -> str:
    """Return them in the text format; ``state`` is what ``node.snapshot.document`` gives."""
    return "".join(_families(state))


def _families(state: Json) -> Iterator[str]:
    link, spool, cache = state["link"], state["spool"], state["cache"]
    running = Counter(job["job_type"] for job in state["running"])
    about = {"version": state["version"], "node_id": state["node_id"], "sandbox_tier": state["sandbox"]["tier"]}
    yield _family("info", "What this node is.", (1, about))
    yield _family("uptime_seconds", "Since the node was started.", (state["uptime_s"], {}))
    yield _family("link_up", "1 while the gateway is reached.", (int(link["up"]), {}))
    yield _family("state", "1 for how the gateway sees the node.", (1, {"state": link["state"] or "not known"}))
    if link["last_ack_s"] is not None:
        yield _family("heartbeat_age_seconds", "Since a heartbeat was last acknowledged.", (link["last_ack_s"], {}))
    yield _family("slots", "Jobs that may run at one time.", (state["slots"], {}))
    yield _family("free_slots", "How many more may.", (state["free_slots"], {}))
    yield _family("load", "How full the node is, 0 to 1.", (state["load"], {}))
    types = {one["job_type"]: int(not one["against"]) for one in state["job_types"]}
    yield _family("running_jobs", "Jobs that run.", *((running[one], {"type": one}) for one in types))
    yield _family(
        "takes_jobs", "1 for a job type that is taken now.", *((taken, {"type": one}) for one, taken in types.items())
    )
    ended = ((state[outcome], {"outcome": outcome}) for outcome in ("completed", "failed"))
    yield _family("jobs_total", "Jobs that have ended since the start.", *ended)
    earned = state["credited_ucr"] / UCR_PER_CREDIT
    yield _family("credits_total", "Credits for jobs since the start.", (earned, {}))
    yield _family("undelivered_results", "Results on their way.", (spool["undelivered"], {}))
    yield _family("spool_bytes", "What results take on disk.", (spool["size_bytes"], {}))
    if cache is not None:
        yield _family("cache_bytes", "What inputs take on disk.", (cache["used_bytes"], {}))


def _family(name: str, about: str, *samples: tuple[float, dict[str, str]]) -> str:
    full, kind = f"edgeagent_node_{name}", "counter" if name.endswith("_total") else "gauge"
    return family(full, kind, about, [sample(full, value, labels) for value, labels in samples])
