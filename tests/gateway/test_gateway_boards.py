"""The leaderboard is made once for all who ask within a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from scripted import MemoryGateway
from trio.testing import MockClock

from edgeagent.gateway import boards
from edgeagent.gateway.boards import Boards
from edgeagent.gateway.store import Store, StoreUnavailableError, Tx


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When boards were made."""
    times: list[float] = []
    make = boards._make

    def counted(tx: Tx) -> object:
        times.append(tx.now)
        return make(tx)

    monkeypatch.setattr(boards, "_make", counted)
    return times


async def test_many_who_ask_at_once_get_one_board(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, made: list[float]
) -> None:
    """And it is made anew only when somebody asks after it has become old."""
    found = Boards(memory_gateway.hub.store)
    seen = []

    async def ask() -> None:
        seen.append(await found.current())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert len({id(one) for one in seen}) == 1
    await trio.sleep(boards.FRESH_S - 0.1)
    assert await found.current() is seen[0]
    await trio.sleep(100)
    assert len(made) == 1
    assert await found.current() is not seen[0]
    assert len(made) == 2


async def test_who_changes_its_line_sees_it_at_once(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, made: list[float]
) -> None:
    """``forget`` makes the next one new."""
    found = Boards(memory_gateway.hub.store)
    assert (await found.current()).ranked == []
    await memory_gateway.enlist()
    assert (await found.current()).ranked == []
    found.forget()
    assert len((await found.current()).ranked) == 1


async def test_the_last_board_is_shown_while_the_database_cannot_be_read(tmp_path: Path) -> None:
    """It says when it is of; without one, the fault is told."""
    store = Store(tmp_path / "gateway.db", inline=True)
    found = Boards(store)
    seen = await found.current()
    store.close()
    found._fresh_until = float("-inf")

    assert await found.current() is seen
    with pytest.raises(StoreUnavailableError):
        await Boards(store).current()
