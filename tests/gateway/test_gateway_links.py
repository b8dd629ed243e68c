"""Links on a virtual clock: hypercorn, the relay and the store are real, the streams are in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from scripted import MemoryGateway, NoSocket
from scripted_node import Closed
from trio.testing import MockClock

from edgeagent.gateway import relay
from edgeagent.gateway.store.submissions import New
from edgeagent.wire import identity
from edgeagent.wire.codec import MAX_FRAME_BYTES
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import (
    Bye,
    Hello,
    JobCancel,
    JobDispatch,
    NodeState,
    Welcome,
)

DAY_S = 24 * 3600.0


async def test_a_link_opens_with_hello_and_welcome(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The welcome says how often to beat and how long a lease is."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        assert await node.greet() == Welcome(heartbeat_s=15.0, lease_s=60.0)
        assert memory_gateway.state(operator) is NodeState.REGISTERED
        assert (await node.beat()).state is NodeState.HEALTHY
        assert memory_gateway.state(operator) is NodeState.HEALTHY


async def test_the_token_may_come_in_the_query(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """For clients that cannot set headers."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.connect(operator.node_id, "", query=f"?token={operator.token}") as node:
        await node.greet()


async def test_a_bad_token_is_closed_with_4001(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """After accepting, so that the code and the reason reach the node."""
    operator, other = await memory_gateway.enlist("a"), await memory_gateway.enlist("b")
    foreign = identity.issue_node_token(identity.new_private_key(), "k", operator.node_id, [], 1e9)
    unknown = memory_gateway.hub.tokens.issue("nobody", [])
    for node_id, token, reason in (
        (operator.node_id, "", "no token"),
        (operator.node_id, "garbage", "the token is not valid"),
        (operator.node_id, foreign, "the token is not valid"),
        (operator.node_id, other.token, "the token is another node's"),
        ("nobody", unknown, "does not know the node"),
    ):
        async with memory_gateway.connect(node_id, token) as node:
            closed = await node.closed()
            assert closed.code == CloseCode.AUTHENTICATION_FAILED
            assert reason in closed.reason


async def test_an_expired_token_is_closed_with_4001(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A day after it was issued."""
    operator = await memory_gateway.enlist()
    memory_gateway.wall.ahead_s += DAY_S
    async with memory_gateway.as_node(operator) as node:
        closed = await node.closed()
        assert (closed.code, closed.reason) == (CloseCode.AUTHENTICATION_FAILED, "the token has expired")


async def test_a_token_is_renewed_over_the_link(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Once, in the heartbeat after half its life; the fresh one opens the next link."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        assert (await node.greet()).token is None
        assert (await node.beat()).token is None
        memory_gateway.wall.ahead_s += DAY_S / 2 + 60
        tokens = [(await node.beat()).token for _ in range(3)]
    assert tokens[0] is not None
    assert tokens[1:] == [None, None]

    memory_gateway.wall.ahead_s += DAY_S / 2 + 60
    async with memory_gateway.connect(operator.node_id, tokens[0]) as node:
        assert (await node.greet()).token not in {None, tokens[0]}


async def test_a_silent_node_is_closed_with_4002_after_three_intervals(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """45 s without a message."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        started = trio.current_time()
        closed = await node.closed()
        assert closed.code == CloseCode.HEARTBEAT_TIMEOUT
        assert trio.current_time() - started == pytest.approx(45.0)


async def test_a_node_that_never_says_hello_is_closed(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """10 s after it connected."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        started = trio.current_time()
        assert (await node.closed()).code == CloseCode.HEARTBEAT_TIMEOUT
        assert trio.current_time() - started == pytest.approx(10.0)


async def test_heartbeats_keep_a_link_open(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Six minutes of beats, longer than any silence may last, and the node is still HEALTHY."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        for _ in range(24):
            assert (await node.beat_after(15.0)).state is NodeState.HEALTHY


async def test_a_newer_link_closes_the_older_with_4009(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """And the node goes on with the newer one: closing the old one does not drop it."""
    operator = await memory_gateway.enlist()
    account = await memory_gateway.account()
    async with memory_gateway.as_node(operator) as older:
        await older.ready()
        async with memory_gateway.as_node(operator) as newer:
            await newer.ready()
            closed = await older.closed()
            assert closed.code == CloseCode.REPLACED
            await memory_gateway.submit(account)
            assert isinstance(await newer.hear(JobDispatch), JobDispatch)


async def test_a_node_that_yields_replaces_no_link(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """It is closed with 4009 itself, the one that stands notices nothing, and it is welcome once that is gone."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as standing:
        await standing.ready()
        async with memory_gateway.as_node(operator) as other:
            with pytest.raises(Closed) as closed:
                await other.ready(yields=True)
            assert closed.value.code == CloseCode.REPLACED
        assert (await standing.beat_after(15.0)).state is NodeState.HEALTHY
    async with memory_gateway.as_node(operator) as other:
        await other.ready(yields=True)


async def test_a_half_open_handshake_does_not_replace_a_link(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Only a link that said hello does."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as older:
        await older.ready()
        async with memory_gateway.as_node(operator):
            await older.beat_after(9.0)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        ("{", "not JSON"),
        ('{"type": "heartbeat", "seq": 1, "load": 0, "free_slots": 1}', "may not send heartbeat"),
        ('{"type": "job_dispatch"}', "job_dispatch"),
        ('{"type": "hello", "version": "1", "capabilities": ["echo"], "slots": 0}', "slots"),
        ('{"type": "hello", "version": "1", "capabilities": [""], "slots": 1}', "job types"),
        ('[{"type": "hello", "version": "1", "capabilities": [], "slots": 1},'
         ' {"type": "heartbeat", "seq": 1, "load": 0, "free_slots": 1}]', "may not send heartbeat"),
        (b"{}", "binary"),
    ],
)  # fmt: skip
async def test_a_node_that_breaks_the_protocol_is_closed_with_1002(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, frame: str | bytes, reason: str
) -> None:
    """The reason says what was wrong."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.websocket.send_message(frame)
        closed = await node.closed()
        assert closed.code == CloseCode.PROTOCOL_ERROR
        assert reason in closed.reason


async def test_a_client_that_offers_other_subprotocols_only_is_told_so(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Rather than left to guess."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.connect(operator.node_id, operator.token, subprotocols=("chat",)) as node:
        closed = await node.closed()
        assert closed.code == CloseCode.PROTOCOL_ERROR
        assert closed.reason == "offer the subprotocol edge-relay.v1, or none"


async def test_a_frame_over_the_limit_costs_the_link(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """1009, as the protocol of WebSockets has it; the rest of the frame is not collected."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await node.websocket.send_message("x" * (MAX_FRAME_BYTES + 1))
        assert (await node.closed()).code == 1009
    await trio.sleep(1)
    assert memory_gateway.hub.network.session(operator.node_id) is None


HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "Sec-WebSocket-Protocol: edge-relay.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
    "Authorization: Bearer {token}\r\n\r\n"
)


async def shake_hands(gateway: MemoryGateway, path: str, token: str, then: Callable[..., Awaitable[None]]) -> None:
    """Open a WebSocket byte by byte, and hand its stream and the gateway's answer to ``then``."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.server.serve, theirs, NoSocket())
        await ours.send_all(HANDSHAKE.format(path=path, token=token).encode())
        await then(ours, bytes(await ours.receive_some()).lower())
        nursery.cancel_scope.cancel()


async def test_a_message_without_end_is_cut_off(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A peer that goes on after 1009 loses its connection, not the gateway its memory."""
    operator = await memory_gateway.enlist()
    sent = 0

    async def flood(stream: trio.abc.Stream, answer: bytes) -> None:
        nonlocal sent
        assert b" 101 " in answer
        # A text frame of one TiB, masked with zeros, that is not the message's last.
        await stream.send_all(b"\x01\xff" + (1 << 40).to_bytes(8, "big") + bytes(4))
        with pytest.raises((trio.BrokenResourceError, trio.ClosedResourceError)):  # noqa: PT012
            while sent < 64 << 20:
                sent += 65536
                await stream.send_all(b"x" * 65536)
                await trio.testing.wait_all_tasks_blocked()

    await shake_hands(memory_gateway, f"/api/v1/relay/ws/{operator.node_id}", operator.token, flood)
    assert sent < 8 << 20


async def test_compression_is_refused(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Hypercorn would take it from whoever offers it."""
    operator = await memory_gateway.enlist()

    async def look(_: trio.abc.Stream, answer: bytes) -> None:
        assert b" 101 " in answer
        assert b"edge-relay.v1" in answer
        assert b"extensions" not in answer

    await shake_hands(memory_gateway, f"/api/v1/relay/ws/{operator.node_id}", operator.token, look)


async def test_another_path_is_no_link(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A WebSocket anywhere else is refused at the handshake."""

    async def look(_: trio.abc.Stream, answer: bytes) -> None:
        assert b" 403 " in answer

    await shake_hands(memory_gateway, "/elsewhere", "", look)


async def test_a_node_that_does_not_take_its_messages_loses_its_link(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The channel to it is bounded; the gateway does not wait and does not collect."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        session = memory_gateway.hub.network.session(operator.node_id)
        assert session is not None
        for number in range(relay.MAX_WAITING + 2):
            session.send(JobCancel(attempt_id=str(number), reason="no"))
        await trio.sleep(5)
        assert memory_gateway.hub.network.session(operator.node_id) is None
        assert (await node.closed()).code == CloseCode.HEARTBEAT_TIMEOUT


async def test_more_large_jobs_than_may_wait_for_a_node_go_back_to_the_queue(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes are bounded, not only messages; the link lives, and the rest comes once it can."""
    monkeypatch.setattr(relay, "MAX_WAITING_BYTES", 100_000)
    operator, account_id = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready(slots=10)
        batch = [
            New(job_id=f"job {number}", account_id=account_id, job_type="render", payload={"x": "x" * 30_000})
            for number in range(10)
        ]
        await memory_gateway.hub.submit(account_id, batch)
        first = [await node.hear(JobDispatch) for _ in range(3)]
        submitted = trio.current_time()
        rest = [await node.hear(JobDispatch) for _ in range(7)]
        assert trio.current_time() > submitted
        assert {one.job_id for one in first + rest} == {new.job_id for new in batch}


async def test_a_restart_sends_nodes_away_for_different_times(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """From a second on, spread over the longer the more nodes there are, so that they do not come back all at once."""
    told: list[float] = []

    async def listen(number: int, *, task_status: trio.TaskStatus[None]) -> None:
        async with memory_gateway.at_work(await memory_gateway.enlist(f"n{number}")) as node:
            task_status.started()
            told.append((await node.hear(Bye)).back_s)

    async with trio.open_nursery() as nursery:
        for number in range(50):
            await nursery.start(listen, number)
        for session in memory_gateway.hub.network.sessions():
            session.close(CloseCode.RESTARTING, "the gateway restarts")
    assert all(1 <= back_s <= 1.5 for back_s in told)
    assert len(set(told)) > 5


async def test_bye_is_answered(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """A node that leaves is closed with 1000, and gets no more work."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await node.say(Bye(reason="update"))
        assert isinstance(await node.next(), Bye)
        assert (await node.closed()).code == CloseCode.NORMAL
    assert memory_gateway.hub.network.session(operator.node_id) is None


async def test_a_node_with_too_many_job_types_is_refused(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """They all end in the database and in the dispatcher's memory."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.as_node(operator) as node:
        await node.say(Hello(version="1", capabilities=tuple(f"t{n}" for n in range(65)), slots=1))
        assert (await node.closed()).code == CloseCode.PROTOCOL_ERROR
