"""Plugin files for the system tests, and the gateway options that keep those tests short."""

from __future__ import annotations

import textwrap

#: Heartbeats every second instead of every 15: a node on probation gets its next chance with the next one.
QUICK = ("--heartbeat", "1")

HEAD = """import os, sys, time
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult, RejectJob, current_job
"""


def plugin(job_type: str, body: str) -> str:
    """Return the source of a plugin file."""
    head = f'class P(BaseWorkerPlugin):\n    job_type = "{job_type}"\n\n    async def execute(self, job_id, payload):\n'
    return HEAD + head + textwrap.indent(textwrap.dedent(body).strip(), " " * 8) + "\n"
