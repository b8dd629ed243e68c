"""The faults, each struck at a running network and over when its function returns; choices come from the stroke's seed.

A fault ends with everything started again, room on the disk, the lock released, the clock right and the line open.
What is left of a killed node is looked for here, at once, and before the node is started again.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import trio
from chaos_leftovers import control_groups, descendants, described, mounts_below, strays
from chaos_network import HEARTBEAT_S, Network, Node
from chaos_places import Clock, Disk
from chaos_plan import Stroke
from chaos_proxy import BOTH, Way

from edgeagent.gateway.store.sqlite import BUSY_S

#: Seconds within which nothing of a node that was killed may be left.
GONE_S = 30.0
#: Seconds by which the wall clock is set wrong.  Two of these are less than two days apart, for which an idempotency
#: key is remembered, and the first one lies beyond the day for which a node's token is good.
AHEAD_S = (26 * 3600, -20 * 3600, 3600, -60, 90)
#: Seconds by which a held lock outlasts the gateway's patience.
BEYOND_S = 1.0

_HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
"""


@attrs.define(eq=False)
class Struck:
    """What the faults of a run did, and what they found that must not be."""

    network: Network
    #: Ways to disturb a PostgreSQL server, where there is one: see ``chaos_postgres``.
    servers: tuple[Callable[[random.Random], Awaitable[str]], ...] = ()
    breaches: list[str] = attrs.Factory(list)
    history: list[str] = attrs.Factory(list)
    say: Callable[[str], None] = print

    async def strike(self, stroke: Stroke) -> None:
        """Let a fault happen, from its begin to its end."""
        rng = random.Random(stroke.seed)
        self.say(f"{stroke.fault} ...")
        await trio.sleep(rng.uniform(0, 0.5))
        what = await _FAULTS[stroke.fault](self, stroke, rng)
        self.history.append(f"{stroke.at:.3f} {stroke.fault}: {what}")
        self.say(self.history[-1])
        for program in self.network.programs().values():
            program.check()

    async def gateway_kill(self, stroke: Stroke, rng: random.Random) -> str:
        """``kill -9`` of the gateway; it comes back on the same data."""
        await self.network.gateway.kill()
        down_s = rng.uniform(0, 1)
        await trio.sleep(down_s)
        await self.network.start_gateway()
        return f"down for {down_s:.2f} s"

    async def node_kill(self, stroke: Stroke, rng: random.Random) -> str:
        """``kill -9`` of a node; nothing of it is left, and it comes back."""
        node = rng.choice(self.network.nodes)
        pid = node.program.pid
        assert pid is not None
        family = descendants([pid])
        await node.program.kill()
        await self._nothing_left(node, family)
        await node.start()
        return f"{node.name} with {len(family)} processes below it"

    async def disk_full(self, stroke: Stroke, rng: random.Random) -> str:
        """The gateway's disk, or a node's, is full for a while."""
        node = rng.choice(self.network.nodes)
        if stroke.turn % 2:
            disk, database, log = node.disk, node.home / "spool" / "spool.db", node.program.log
        else:
            disk, database, log = self.network.disk, self.network.database, self.network.gateway.log
        assert isinstance(disk, Disk)
        full_s = rng.uniform(2, 5)
        noticed = _complaints(log)
        try:
            if isinstance(database, Path):
                await trio.to_thread.run_sync(_empty_log, database)
            until = trio.current_time() + full_s
            while trio.current_time() < until:
                await trio.to_thread.run_sync(disk.fill)  # again: files that were removed have made room
                await trio.sleep(0.1)
        finally:
            disk.free()
        return f"{disk.path.name} for {full_s:.1f} s, complained of {_complaints(log) - noticed} times"

    async def db_locked(self, stroke: Stroke, rng: random.Random) -> str:
        """Another process holds the database for longer than the gateway waits."""
        if self.servers:
            return await self.servers[stroke.turn % len(self.servers)](rng)
        command = [sys.executable, "-c", _HOLDER, str(self.network.database)]
        pipe = subprocess.PIPE
        async with trio.open_nursery() as nursery:
            holder = await nursery.start(lambda task_status: _process(command, pipe, task_status))
            assert holder.stdout is not None
            assert await holder.stdout.receive_some()  # it says so once it has the lock, and nothing else
            await trio.sleep(BUSY_S + BEYOND_S)
            assert holder.stdin is not None
            await holder.stdin.aclose()
        return f"for {BUSY_S + BEYOND_S:.0f} s"

    async def clock(self, stroke: Stroke, rng: random.Random) -> str:
        """The wall clock of the gateway, or of a node, is set wrong, and right again."""
        node = rng.choice(self.network.nodes)
        whose, clock = (node.name, node.clock) if stroke.turn % 2 else ("gateway", self.network.clock)
        assert isinstance(clock, Clock)
        wrong = [rng.choice(AHEAD_S[:2]), *rng.sample(AHEAD_S, 2)]
        try:
            for ahead_s in wrong:
                clock.set(ahead_s)
                await trio.sleep(rng.uniform(0.5, 2))
        finally:
            clock.set(0)
        return f"{whose} by {', '.join(f'{ahead_s:+d}' for ahead_s in wrong)} s"

    async def stall(self, stroke: Stroke, rng: random.Random) -> str:
        """A node's line stalls without closing, one way or both; or it breaks in the middle of a frame."""
        node = rng.choice(self.network.nodes)
        ways = rng.choice((BOTH, frozenset({Way.TO_GATEWAY}), frozenset({Way.TO_NODE})))
        named = " and ".join(sorted(way.value for way in ways))
        if stroke.turn % 3 == 2:
            before = node.proxy.cuts
            node.proxy.cut(ways)
            with trio.move_on_after(10):
                while node.proxy.cuts == before:
                    await trio.sleep(0.05)
            return f"{node.name} cut within a frame {named}"
        stalled_s = rng.uniform(1, 8) * HEARTBEAT_S
        release = rng.random() < 0.5
        node.proxy.stall(ways)
        await trio.sleep(stalled_s)
        node.proxy.heal(release=release)
        return f"{node.name} for {stalled_s:.1f} s {named}, {'late' if release else 'lost'}"

    async def _nothing_left(self, node: Node, family: set[int]) -> None:
        known = [node.home] if node.disk else []

        def left() -> list[str]:
            return [
                *described(strays(self.network.pids())),
                *mounts_below(node.home, known),
                *control_groups([*family, *node.program.pids]),
            ]

        with trio.move_on_after(GONE_S):
            while await trio.to_thread.run_sync(left):
                await trio.sleep(0.05)
            return
        self.breaches += [f"{node.name} was killed and left {one}" for one in left()]


def _empty_log(database: Path) -> None:
    """Have SQLite give back the room of its write-ahead log, in which it could go on for a while on a full disk."""
    with contextlib.closing(sqlite3.connect(database)) as connection, contextlib.suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _complaints(log: Path) -> int:
    """Count the lines in which a program says that its disk is full, or its files or its database cannot be used."""
    words = ("disk is full", "No space left", "cannot be stored", "disk I/O error", "not written")
    return sum(any(word in line for word in words) for line in log.read_text(errors="replace").splitlines())


async def _process(command: list[str], pipe: int, task_status: trio.TaskStatus[trio.Process]) -> None:
    process = await trio.lowlevel.open_process(command, stdin=pipe, stdout=pipe)
    try:
        task_status.started(process)
        await process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


_FAULTS: dict[str, Callable[[Struck, Stroke, random.Random], Awaitable[str]]] = {
    "gateway-kill": Struck.gateway_kill,
    "node-kill": Struck.node_kill,
    "disk-full": Struck.disk_full,
    "db-locked": Struck.db_locked,
    "clock": Struck.clock,
    "stall": Struck.stall,
}
