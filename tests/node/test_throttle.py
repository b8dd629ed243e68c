"""A share of the line: on a virtual clock, and with real transfers of files in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from edgeagent.node.throttle import BURST_S, PIECE_S, Throttle
from edgeagent.node.uploads import _pieces


async def _move(throttle: Throttle, total_bytes: int, piece_bytes: int = 1000) -> float:
    """Take so much and return when it was paid for."""
    for _ in range(total_bytes // piece_bytes):
        await throttle.take(piece_bytes)
    return trio.current_time()


async def test_a_transfer_takes_as_long_as_the_rate_says(autojump_clock: trio.testing.MockClock) -> None:
    """But for what was saved up before."""
    began = trio.current_time()

    assert 60 - BURST_S == pytest.approx(await _move(Throttle(10_000), 600_000) - began)


async def test_two_transfers_share_the_rate(autojump_clock: trio.testing.MockClock) -> None:
    """Both end when one of twice the size would have."""
    throttle, began = Throttle(10_000), trio.current_time()
    ended: list[float] = []

    async def move() -> None:
        ended.append(await _move(throttle, 300_000) - began)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(move)
        nursery.start_soon(move)

    assert [60 - BURST_S] * 2 == pytest.approx(ended, abs=0.2)


async def test_an_idle_hour_saves_up_no_more_than_a_moment(autojump_clock: trio.testing.MockClock) -> None:
    """What comes after it is as slow as before."""
    throttle = Throttle(10_000)
    await _move(throttle, 100_000)
    await trio.sleep(3600)
    began = trio.current_time()

    assert 10 - BURST_S == pytest.approx(await _move(throttle, 100_000) - began)


async def test_without_a_limit_nothing_waits(autojump_clock: trio.testing.MockClock) -> None:
    """Nor is anything cut into small pieces."""
    began = trio.current_time()

    assert began == await _move(Throttle(), 1 << 30, 1 << 20)
    assert 1 << 20 == Throttle().piece(1 << 20)


async def test_a_cancelled_transfer_lets_the_next_go_on(autojump_clock: trio.testing.MockClock) -> None:
    """What it had asked for is paid for, no more."""
    throttle, began = Throttle(10_000), trio.current_time()
    with trio.move_on_after(5):
        await throttle.take(100_000)

    assert 11 - BURST_S == pytest.approx(await _move(throttle, 10_000) - began)


@pytest.mark.parametrize(("rate", "piece"), [(16 << 10, 4096), (1 << 20, 1 << 18), (1 << 30, 1 << 20)])
def test_pieces_are_small_enough_that_no_connection_is_silent_for_long(rate: int, piece: int) -> None:
    """A quarter of a second of the rate, within reason."""
    assert piece == Throttle(rate).piece(1 << 20)
    assert piece <= max(4096, rate * PIECE_S)


class Counting(Throttle):
    """Says what was taken, and waits for nothing."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.taken: list[int] = []

    async def take(self, size_bytes: int) -> None:
        self.taken.append(size_bytes)


async def test_every_byte_of_an_upload_is_paid_for(tmp_path: Path) -> None:
    """From where it stands, in pieces that fit the rate; the file arrives whole."""
    data = bytes(range(256)) * 256
    (tmp_path / "file").write_bytes(data)
    throttle = Counting(80_000)
    pieces = [piece async for piece in _pieces(tmp_path / "file", 1000, throttle)]

    assert data[1000:] == b"".join(pieces)
    assert [len(piece) for piece in pieces] == throttle.taken
    assert max(throttle.taken) <= 80_000 * PIECE_S
