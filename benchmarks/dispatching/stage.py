"""Gateways as their command runs them, each in a copy of a directory that was prepared with nodes and waiting jobs.

What is prepared goes through the gateway's own store, only not through its port: 10,000 registrations would take longer
than all that is measured.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from benchmarks.dispatching.processes import cpu_s
from benchmarks.harness import BenchmarkError
from benchmarks.sandboxes import memory
from edgeagent.gateway import auth, keyring
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.store import accounts, nodes, submissions
from edgeagent.gateway.store.base import wall_clock
from edgeagent.gateway.store.nodes import Applicant
from edgeagent.gateway.store.submissions import New

#: Micro-credits that the submitter has: enough for a billion jobs.
_GRANT_UCR = 10**15
SUBMITTER = "bench"
_SEEDED_AT_ONCE = 1000
#: All nodes are at one address here, and one account submits everything.
_LIMITS = [word for limit in ("connections-each=20000", "requests-each=1000000") for word in ("--limit", limit)]


@attrs.frozen
class Member:
    """A node that is registered."""

    node_id: str
    token: str


@attrs.frozen
class Served:
    """A gateway that runs."""

    pid: int
    address: tuple[str, int]
    token: str  # a submitter's

    def cpu_s(self) -> float:
        """Return the processor time that it has used, all its threads together."""
        return cpu_s(self.pid)

    def pss_bytes(self) -> int:
        """Return its proportional set size."""
        return memory.bytes_of(self.pid, "Pss")


@attrs.frozen
class Stage:
    """A prepared directory."""

    data: Path
    token: str
    members: tuple[Member, ...]

    @contextlib.contextmanager
    def gateway(self) -> Iterator[Served]:
        """Run a gateway on a copy of the directory; it is killed in the end, and the copy removed.

        Raises:
            BenchmarkError: it does not come up; has the end of its log.
        """
        with tempfile.TemporaryDirectory(prefix="edgeagent-bench-", dir=self.data.parent) as folder:
            data = Path(folder) / "data"
            shutil.copytree(self.data, data)
            with self._run(data) as served:
                yield served

    @contextlib.contextmanager
    def in_place(self) -> Iterator[Served]:
        """Run a gateway on the directory itself, for one that is large; killed in the end.  Raises as ``gateway``."""
        with self._run(self.data) as served:
            yield served

    @contextlib.contextmanager
    def _run(self, data: Path) -> Iterator[Served]:
        log = data.parent / "log"
        command = [sys.executable, "-m", "edgeagent", "gateway", "run", "--data", str(data), "--port", "0", *_LIMITS]
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise BenchmarkError(f"the gateway did not start: {log.read_text()[-500:]}")
            host, _, port = url.rpartition("/")[2].partition(":")
            yield Served(process.pid, (host, int(port)), self.token)
        finally:
            process.kill()
            process.communicate()


def prepare(folder: Path, *, node_count: int, job_type: str, waiting: int = 0) -> Stage:
    """Return a stage in the new directory ``folder``, with so many nodes and waiting jobs."""
    token = create_token(folder, SUBMITTER, _GRANT_UCR)
    tokens = auth.NodeTokens(keyring.load(folder), wall_clock)
    with transaction(GatewaySettings(data_dir=folder)) as tx:
        account_id = accounts.ids(tx)[SUBMITTER]
        ids = [
            nodes.register(tx, Applicant(f"node {number}", f"key {number}", (job_type,), {}))
            for number in range(node_count)
        ]
        for start in range(0, waiting, _SEEDED_AT_ONCE):
            batch = [
                New(job_id=f"{number:08}-seeded", account_id=account_id, job_type=job_type, payload={"limit": 100_000})
                for number in range(start, min(start + _SEEDED_AT_ONCE, waiting))
            ]
            submissions.submit(tx, account_id, batch, tx.now)
    return Stage(folder, token, tuple(Member(node_id, tokens.issue(node_id, (job_type,))) for node_id in ids))
