"""Documents that a node gives of itself, made by its own code, for those that only read them."""

from __future__ import annotations

from typing import Any

from edgeagent.node.snapshot import LinkState, SandboxState, Snapshot, SpoolState, TypeState, document

#: A gateway's answer to ``GET /nodes/me/standing`` for a node that lacks nothing but work.
STANDING: dict[str, Any] = {
    "node_id": "n",
    "status": "HEALTHY",
    "cause": "heartbeat",
    "since_s": 60.0,
    "probation": False,
    "drained": False,
    "failures": [],
    "seat": {"slots": 2, "limit": 2, "taken": 0, "load": 0.0, "draining": False, "closed": []},
    "waiting": [],
    "given": {"within_s": 600.0, "to_this": 0, "to_others": 0},
    "idle": [{"code": "no_demand", "text": "no job waits that it could run", "job_type": ""}],
}
LINK = LinkState(up=True, since_s=100.0, last_ack_s=3.0, state="HEALTHY")


def state(**changes: Any) -> dict[str, Any]:
    """Return the document of a node that is well and idle, but for ``changes``."""
    usual: dict[str, Any] = {
        "version": "1",
        "node_id": "n",
        "name": "studio",
        "gateway": "https://gateway.example.com",
        "uptime_s": 100.0,
        "link": LINK,
        "slots": 2,
        "free_slots": 2,
        "load": 0.0,
        "gpus": (),
        "sandbox": SandboxState(tier="A"),
        "job_types": (TypeState(job_type="echo"), TypeState(job_type="render")),
        "against": (),
        "draining": None,
        "drain_left_s": None,
        "running": (),
        "completed": 3,
        "failed": 0,
        "credited_ucr": 0,
        "failures": (),
        "spool": SpoolState(),
    }
    return document(Snapshot(**{**usual, **changes}))
