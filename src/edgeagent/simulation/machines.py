"""A simulated node: the real rings over a line in memory, a spool in a real file, and an operator who restarts it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from edgeagent.errors import RefusedError, UnreachableError
from edgeagent.node import rings
from edgeagent.node.credentials import Credentials
from edgeagent.node.receipts.book import open_book
from edgeagent.node.receipts.keeper import Keeper
from edgeagent.node.relay import Relay
from edgeagent.node.spool import Spool, open_spool
from edgeagent.node.stopping import Stop
from edgeagent.node.transport import ABNORMAL, LinkLost, Transport
from edgeagent.simulation.house import BEGINS, GatewayHouse
from edgeagent.simulation.lines import Line, NodeEnd, Weather
from edgeagent.simulation.sandbox import Honesty, StandIn
from edgeagent.wire.identity import Signer
from edgeagent.wire.link import HANDSHAKE_S
from edgeagent.wire.messages import Output

#: Seconds that a connection takes to fail where nobody listens.
REFUSED_S = 0.05
#: Seconds that jobs get when a node is stopped; less than many of them take.
GRACE_S = 60.0


@attrs.define(eq=False)
class Machine:
    """One node, with its process and its line."""

    house: GatewayHouse
    name: str
    node_id: str
    token: str
    home: Path
    slots: int
    job_types: tuple[str, ...]
    signer: Signer
    honesty: Honesty = attrs.Factory(Honesty)
    weather: Weather = attrs.Factory(Weather)
    line: Line | None = None
    undelivered: int = 0  # results in the spool when it last ended
    _stop: Stop = attrs.Factory(Stop)
    _process: trio.CancelScope = attrs.Factory(trio.CancelScope)
    _away_s: float = 0.0
    _link: Relay | None = None

    async def run(self) -> None:
        """Be there until cancelled, or until ``retire``."""
        while self._away_s < math.inf:
            await trio.sleep(self._away_s)
            self._away_s, self._stop = 0.0, Stop()
            with trio.CancelScope() as self._process:
                try:
                    await self._live()
                except* RefusedError:
                    # Its token has ended while it was away: the operator registers it again.
                    self.token = await self.house.token_for(self.node_id, self.job_types)
                    self.house.history.note("registered again", self.node_id)

    def part(self, lasts_s: float) -> None:
        """Cut the node off for so many seconds, without a word to either end."""
        self.weather.apart_until = max(self.weather.apart_until, trio.current_time() + lasts_s)
        if self.line is not None:
            self.line.lose()

    def wake(self) -> None:
        """Have the node notice that its machine was asleep, as ``node.slumber`` would."""
        if self._link is not None:
            self._link.wake()

    def kill(self, away_s: float) -> None:
        """End the process at once, and start it again after ``away_s`` seconds."""
        self._away_s = away_s
        self._process.cancel()

    def stop(self, away_s: float) -> None:
        """Have the process end in order, and start it again."""
        self._away_s = away_s
        self._stop.request(GRACE_S)

    def retire(self) -> None:
        """Have the process end in order, for good."""
        self.stop(math.inf)

    async def _live(self) -> None:
        with open_book(self.home, self.node_id, durable=False) as book:
            await self._live_with(
                Keeper(self.node_id, book, self.signer.sign, inline=True, now=lambda: BEGINS + trio.current_time())
            )

    async def _live_with(self, keeper: Keeper) -> None:
        async with open_spool(self.home, self.node_id, inline=True, durable=False) as spool:
            around = rings.Surroundings(
                connect=self._connect,
                upload=self._upload,
                spool=spool,
                credentials=(credentials := Credentials(self.token)),
                health=_nobody_asks,
                watches=(self._remember,),
                receipts=keeper,
            )
            try:
                await rings.run(
                    around,
                    StandIn(self.honesty),
                    announced=self.job_types,
                    slots=self.slots,
                    stop=self._stop,
                    grace_s=GRACE_S,
                )
            finally:
                self.token = credentials.token  # as config.json would have it
            self.undelivered = await _left(spool)

    async def _remember(self, parts: rings.Parts) -> None:
        self._link = parts.link

    @property
    def _apart(self) -> bool:
        return self.weather.apart_until > trio.current_time()

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Transport]:
        if self._apart:
            await trio.sleep(REFUSED_S)
            raise LinkLost(ABNORMAL, "the name is not known")
        line = Line(self.node_id, self.token, self.weather)
        if not self.house.knock(line):
            await trio.sleep(REFUSED_S)
            raise LinkLost(ABNORMAL, "connection refused")
        with trio.move_on_after(HANDSHAKE_S) as handshake:
            await line.accepted.wait()
        if handshake.cancelled_caught:
            raise LinkLost(ABNORMAL, f"no answer within {HANDSHAKE_S:g} s")
        self.line = line
        end = NodeEnd(line)
        try:
            yield end
        finally:
            self.line = None
            end.gone()

    async def _upload(self, attempt_id: str, output: Output, path: Path) -> None:
        await trio.sleep(self.weather.delay_s)
        if self.weather.stalled_until > trio.current_time():
            await trio.sleep_until(self.weather.stalled_until)
        if self._apart or not await self.house.take_file(self.node_id, attempt_id, output):
            raise UnreachableError("no gateway there")


async def _nobody_asks(is_up: object, /, *, task_status: trio.TaskStatus[str]) -> None:
    task_status.started("")


async def _left(spool: Spool) -> int:
    return len(await spool.recover())
