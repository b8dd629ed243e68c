"""The simulated gateway's machine: the real core over a store in a file, its door, and its power switch."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from edgeagent.errors import RefusedError
from edgeagent.gateway import auth, service
from edgeagent.gateway.blobs import LocalBlobs
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.foreign import ForeignSession
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.keyring import Keyring
from edgeagent.gateway.network import Network
from edgeagent.gateway.relay import relay
from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, views
from edgeagent.simulation.history import History
from edgeagent.simulation.lines import GatewayEnd, Line
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Output

#: Seconds since the epoch at which every simulation begins: 2026-01-01.
BEGINS = 1_767_225_600.0
#: Seconds that links get when the gateway is stopped.
GRACE_S = 3.0


@attrs.define
class Wall:
    """A wall clock that goes with trio's, and can be set."""

    ahead_s: float = BEGINS

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.ahead_s + trio.current_time()


class GatewayHouse:
    """One gateway, through all its lives."""

    def __init__(self, settings: GatewaySettings, key: bytes, history: History) -> None:
        self.history, self.wall = history, Wall()
        self.up = trio.Event()  # replaced with each life
        self._settings, self._key = settings, key
        self._hub: Hub | None = None
        self._nursery: trio.Nursery
        self._lines: dict[Line, None] = {}
        self._fewer = trio.Event()
        self._ending = trio.Event()
        self._crash = False
        self._away_s = 0.0

    async def run(self) -> None:
        """Be there until cancelled."""
        while True:
            self._ending = trio.Event()
            store = Store(self._settings.database, clock=self.wall, inline=True, durable=False)
            try:
                await self._live(store)
            finally:
                store.close()
            await trio.sleep(self._away_s)

    def end(self, away_s: float, *, crash: bool) -> None:
        """End this life, at once or in order, and begin the next after ``away_s`` seconds; nothing while it is away."""
        self._away_s, self._crash = away_s, crash
        self._ending.set()

    async def hub(self) -> Hub:
        """Return the gateway's hub once there is one."""
        while self._hub is None:
            await self.up.wait()
        return self._hub

    def knock(self, line: Line) -> bool:
        """Open a connection; return whether somebody is there."""
        if self._hub is None:
            return False
        self._nursery.start_soon(self._serve, self._hub, line)
        return True

    async def token_for(self, node_id: str, job_types: Sequence[str]) -> str:
        """Return a fresh token for a node."""
        return (await self.hub()).tokens.issue(node_id, job_types)

    async def take_file(self, node_id: str, attempt_id: str, output: Output) -> bool:
        """Note that a file has arrived, as an upload would; return whether somebody was there.

        Raises:
            RefusedError: the node does not hold the attempt.
        """
        if self._hub is None:
            return False

        def add(tx: Tx) -> bool:
            if holds := views.writes_outputs(tx, attempt_id, node_id):
                views.add_output(tx, attempt_id, output.name, output.size_bytes, output.sha256)
            return holds

        try:
            if not await self._hub.store.write(add):
                raise RefusedError("this node does not hold the attempt")
        except StoreUnavailableError:
            return False
        return True

    async def _live(self, store: Store) -> None:
        hub = Hub(
            settings=self._settings,
            store=store,
            blobs=LocalBlobs(self._settings.blobs, inline=True),
            tokens=auth.NodeTokens(Keyring(self._key), self.wall),
            network=Network(self._settings),
        )
        async with trio.open_nursery() as self._nursery:
            await self._nursery.start(service.work, hub)
            self._hub = hub
            self.history.note("gateway up", "")
            self.up.set()
            await self._ending.wait()
            self._hub, self.up = None, trio.Event()
            self.history.note("gateway down", "", "crash" if self._crash else "stop")
            if self._crash:
                store.close()  # first: nothing that still runs can write
            else:
                for session in hub.network.sessions():
                    session.close(CloseCode.RESTARTING, "the gateway restarts")
                with trio.move_on_after(GRACE_S):
                    await self._hung_up()
            for line in self._lines:
                line.cut()
            self._nursery.cancel_scope.cancel()

    async def _hung_up(self) -> None:
        while self._lines:
            await self._fewer.wait()

    async def _serve(self, hub: Hub, line: Line) -> None:
        end = GatewayEnd(line, self.history)
        self._lines[line] = None
        try:
            with end.closing:
                await relay(hub, end.accept(), end, ForeignSession)
        finally:
            del self._lines[line]
            self._fewer.set()
            self._fewer = trio.Event()
