"""A whole network of real processes in one directory: a gateway on a fixed port, nodes that reach it by proxies."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import sqlalchemy as sa
import trio
from chaos_places import Clock, Disk
from chaos_processes import PATIENCE_S, Program
from chaos_proxy import Proxy

from edgeagent.errors import UnreachableError
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.store.engine import Database
from edgeagent.node import enrol, files
from edgeagent.rest import Rest
from edgeagent.wire.units import UCR_PER_CREDIT
from edgeagent.wire.urls import GatewayUrl

#: A second between heartbeats, so a lease of four and a link that is given up after three.
HEARTBEAT_S = 1.0
#: Jobs that a node takes at once, whatever the machine has.
SLOTS = 2
#: More than any run spends.
GRANT_UCR = 1_000_000 * UCR_PER_CREDIT
ACCOUNT = "chaos"

_PLUGIN = """
import random, time
from edgeagent.plugins import BaseWorkerPlugin, RejectJob, WorkerResult, current_job


class Chaos(BaseWorkerPlugin):
    job_type = "chaos"

    async def execute(self, job_id, payload):
        print("it runs", flush=True)
        current_job().progress(0.5, "half way")
        time.sleep(payload["seconds"])
        if payload["fate"] == "reject":
            raise RejectJob("this job is refused wherever it runs")
        if payload["fate"] == "fail":
            return WorkerResult(success=False, error="this job fails wherever it runs")
        content = random.Random(payload["seed"])
        for number in range(payload["files"]):
            (current_job().output_dir / f"file-{number}").write_bytes(content.randbytes(content.randrange(1, 40_000)))
        return WorkerResult(success=True, value=payload["seed"])
"""


@attrs.define(eq=False)
class Node:
    """One node: its home, its process, and the proxy between it and the gateway."""

    name: str
    home: Path
    program: Program
    proxy: Proxy
    disk: Disk | None
    clock: Clock | None
    node_id: str = ""

    async def start(self) -> None:
        """Start it as a process."""
        environ = {"EDGEAGENT_HOME": str(self.home), "HEALTH_PORT": "0", "LOG_LEVEL": "DEBUG"}
        environ["EDGEAGENT_SHARE_SLOTS"] = str(SLOTS)
        await self.program.start("run", environ={**environ, **(self.clock.environ if self.clock else {})})

    def owes(self) -> int:
        """Return how many attempts are in its spool; 0 as well where it has never had one."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home}/spool/spool.db?mode=ro", uri=True)) as spool:
            return int(spool.execute("SELECT count(*) FROM attempts").fetchone()[0])


@attrs.define(eq=False)
class Network:
    """Everything that runs, and where it keeps its things."""

    directory: Path
    data: Path
    gateway: Program
    disk: Disk | None
    clock: Clock | None
    postgres: sa.URL | None
    nodes: list[Node] = attrs.Factory(list)
    port: str = "0"
    token: str = ""

    @property
    def database(self) -> Database:
        """The gateway's database."""
        return self.data / "gateway.db" if self.postgres is None else self.postgres

    @property
    def url(self) -> GatewayUrl:
        """The gateway's address, with nothing in between."""
        return GatewayUrl.parse(f"http://127.0.0.1:{self.port}")

    async def start_gateway(self) -> None:
        """Start the gateway, and again and again if it cannot come up now; returns when it is ready."""
        options = ["--data", str(self.data), "--port", self.port, "--heartbeat", str(HEARTBEAT_S)]
        if self.postgres is not None:
            options += ["--database", self.postgres.render_as_string(hide_password=False)]
        with trio.fail_after(PATIENCE_S):
            while True:
                environ = self.clock.environ if self.clock else {}
                await self.gateway.start("gateway", "run", *options, environ=environ)
                if address := await self.gateway.first_line():
                    break
                await self.gateway.stop()
                await trio.sleep(0.5)
        self.port = address.rpartition(":")[2]

    async def healthy(self) -> None:
        """Wait until the gateway sees every node as HEALTHY, or on probation for failures of jobs.

        Raises:
            UnreachableError: it does not in ``PATIENCE_S``.
        """
        for node in self.nodes:
            with trio.move_on_after(PATIENCE_S):
                while await self._status(node) != "HEALTHY":
                    node.program.check()
                    await trio.sleep(0.1)
                continue
            raise UnreachableError(f"{node.name} did not become healthy:\n{node.program.tail()}")

    async def _status(self, node: Node) -> str:
        stored = files.read_config(node.home) or {}
        async with Rest(self.url, stored["jwt_token"]) as rest:
            try:
                return str((await rest.call("GET", "/nodes/me"))["status"])
            except UnreachableError:
                return ""

    def programs(self) -> dict[str, Program]:
        """Return every program by name."""
        return {"gateway": self.gateway, **{node.name: node.program for node in self.nodes}}

    def pids(self) -> list[int]:
        """Return the processes that are running programs, and the server of the database, if it has one."""
        return [program.pid for program in self.programs().values() if program.pid is not None] + self._server()

    def _server(self) -> list[int]:
        if self.postgres is None:
            return []
        try:
            written = Path(str(self.postgres.query["host"]), "data/postmaster.pid").read_text()
        except FileNotFoundError:  # between its end and its next start
            return []
        return [int(written.splitlines()[0])]


@contextlib.asynccontextmanager
async def running(
    directory: Path, *, nodes: int, disks: bool, clocks: bool, postgres: sa.URL | None = None
) -> AsyncIterator[Network]:
    """Run a network for as long as the context is open; nothing of it is left afterwards.

    Args:
        disks: put the gateway's directory and each node's home on a small disk of its own.
        clocks: give the gateway and each node a wall clock that can be set.
        postgres: the gateway's database; None for a SQLite file in its directory.
    """
    data = directory / "gateway"
    network = Network(
        directory=directory,
        data=data,
        gateway=Program("the gateway", directory / "gateway.log"),
        disk=Disk(data) if disks else None,
        clock=Clock(directory / "gateway.clock") if clocks else None,
        postgres=postgres,
    )
    try:
        await network.start_gateway()
        network.token = await trio.to_thread.run_sync(_create_token, network)
        async with trio.open_nursery() as nursery:
            for number in range(nodes):
                await _add_node(network, nursery, f"node-{number}", disks=disks, clocks=clocks)
            await network.healthy()
            yield network
            nursery.cancel_scope.cancel(reason="no longer needed")
    finally:
        for program in network.programs().values():
            await program.end()
        for disk in [network.disk, *(node.disk for node in network.nodes)]:
            if disk is not None:
                disk.remove()


def _create_token(network: Network) -> str:
    return create_token(network.data, ACCOUNT, GRANT_UCR, database=network.postgres)


async def _add_node(network: Network, nursery: trio.Nursery, name: str, *, disks: bool, clocks: bool) -> None:
    proxy = Proxy(int(network.port))
    await nursery.start(proxy.run)
    home = network.directory / name
    disk = Disk(home) if disks else None
    clock = Clock(network.directory / f"{name}.clock") if clocks else None
    program = Program(name, network.directory / f"{name}.log")
    node = Node(name=name, home=home, program=program, proxy=proxy, disk=disk, clock=clock)
    network.nodes.append(node)
    (home / "plugins").mkdir(parents=True)
    (home / "plugins" / "chaos.py").write_text(_PLUGIN)
    gateway = GatewayUrl.parse(f"http://127.0.0.1:{proxy.port}")
    node.node_id = (await enrol.register(home, gateway, name, ("chaos",), force=False)).node_id
    await node.start()
