"""The plan of a run, the proxy that stalls, and the disk and the clock, each by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import chaos_leftovers
import chaos_plan
import pytest
import trio
from chaos_places import Clock, Disk, no_clocks, no_disks
from chaos_proxy import BOTH, Proxy, Way

LIMIT_S = 60.0
ALL = tuple(chaos_plan.PER_2000)


def test_a_seed_makes_one_plan() -> None:
    """The same seed gives the same jobs and faults to the last choice, another one others."""
    assert chaos_plan.make(ALL, 500, 1) == chaos_plan.make(ALL, 500, 1)
    assert chaos_plan.make(ALL, 500, 1) != chaos_plan.make(ALL, 500, 2)


@pytest.mark.parametrize("jobs", [60, 2000])
@pytest.mark.parametrize("faults", [ALL, *((one,) for one in ALL)], ids=["mixed", *ALL])
def test_every_fault_comes_while_there_are_jobs(jobs: int, faults: tuple[str, ...]) -> None:
    """Each kind at least once, in order, after the first jobs and before the last; and as many jobs as asked for."""
    plan = chaos_plan.make(faults, jobs, 3)

    assert plan.jobs == jobs
    assert {stroke.fault for stroke in plan.strokes} == set(faults)
    points = [stroke.at for stroke in plan.strokes]
    assert points == sorted(points)
    assert chaos_plan.FIRST <= points[0] <= points[-1] <= chaos_plan.LAST
    assert len({request.key for request in plan.requests}) == len(plan.requests)


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Proxy, trio.SocketStream, trio.SocketStream]]:
    """A proxy, and both ends of one connection through it: the node's and the gateway's."""
    send, receive = trio.open_memory_channel[trio.SocketStream](1)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            proxy = Proxy(listener.socket.getsockname()[1])
            await nursery.start(proxy.run)

            async def accept() -> None:
                await send.send(await listener.accept())

            nursery.start_soon(accept)
            node = await trio.open_tcp_stream("127.0.0.1", proxy.port)
            gateway = await receive.receive()
            try:
                yield proxy, node, gateway
            finally:
                for one in (node, gateway, listener):
                    one.socket.close()
                nursery.cancel_scope.cancel()


async def silent(stream: trio.SocketStream) -> bool:
    """Say whether nothing comes: neither bytes nor the end."""
    with trio.move_on_after(0.2):
        await stream.receive_some()
        return False
    return True


async def test_a_stalled_line_is_silent_one_way_and_open() -> None:
    """What the node says does not arrive, what the gateway says does; released, it arrives late and whole."""
    async with proxied() as (proxy, node, gateway):
        proxy.stall(frozenset({Way.TO_GATEWAY}))
        await node.send_all(b"from the node")
        await gateway.send_all(b"from the gateway")

        assert await node.receive_some() == b"from the gateway"
        assert await silent(gateway)

        proxy.heal(release=True)
        assert await gateway.receive_some() == b"from the node"


async def test_what_was_stalled_can_be_lost_for_good() -> None:
    """Healed without release, the old connection stays silent even when its other end goes; a new one works."""
    async with proxied() as (proxy, node, gateway):
        proxy.stall(BOTH)
        await node.send_all(b"lost")
        proxy.heal(release=False)
        await node.aclose()

        assert await silent(gateway)


async def test_a_line_is_cut_within_a_frame() -> None:
    """Half of what was said arrives, and then the end."""
    async with proxied() as (proxy, node, gateway):
        proxy.cut(BOTH)
        await node.send_all(b"0123456789")

        assert [await gateway.receive_some(), await gateway.receive_some()] == [b"01234", b""]
        assert await node.receive_some() == b""
        assert proxy.cuts == 1


@pytest.mark.needs("root")
def test_a_disk_fills_to_the_last_byte_and_is_freed(tmp_path: Path) -> None:
    """Nothing more can be written, until the room is given back."""
    assert no_disks(tmp_path) is None
    disk = Disk(tmp_path / "disk", 1 << 20)
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.path / "more").write_bytes(b"x")
        disk.free()
        assert (disk.path / "more").write_bytes(b"x") == 1
    finally:
        disk.remove()


@pytest.mark.needs("cc")
def test_a_clock_is_set_for_one_process_alone(tmp_path: Path) -> None:
    """A program with this clock sees the wall clock move while it runs, and its steady clock go on; we see nothing."""
    assert no_clocks(tmp_path) is None
    clock = Clock(tmp_path / "clock")
    program = "import time\nfor _ in range(2): print(time.time(), time.monotonic(), flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **clock.environ}, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = [float(text) for text in process.stdout.readline().split()]
        clock.set(-86400)
        process.stdin.write("\n")
        process.stdin.flush()
        after = [float(text) for text in process.stdout.readline().split()]
        process.stdin.write("\n")

    assert -86400 <= after[0] - before[0] < -86400 + LIMIT_S
    assert 0 <= after[1] - before[1] < LIMIT_S
    assert abs(time.time() - before[0]) < LIMIT_S


def test_what_a_dead_program_leaves_is_found() -> None:
    """A process whose parent was killed is a stray of ours, until it has ended too."""
    program = f"""
import subprocess, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import chaos_leftovers
chaos_leftovers.become_reaper()
nested = "import subprocess; subprocess.Popen(['sleep', '300']); print('up', flush=True); input()"
parent = subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
parent.stdout.readline()
assert not chaos_leftovers.strays([parent.pid])
parent.kill()
parent.wait()
left = chaos_leftovers.strays([])
assert len(left) == 1 and "sleep 300" in chaos_leftovers.described(left)[0], left
import os, signal
os.kill(*left, signal.SIGKILL)
while chaos_leftovers.strays([]):
    pass
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=LIMIT_S)


def test_mounts_are_looked_for_below_a_directory(tmp_path: Path) -> None:
    """There are some below the root, and none below an empty directory."""
    assert chaos_leftovers.mounts_below(Path("/"))
    assert not chaos_leftovers.mounts_below(tmp_path)
