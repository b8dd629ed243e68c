"""The node's link against a scripted gateway, on a virtual clock."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator

import pytest
import trio
from gateway_peer import Gateway, GatewayEnd
from structlog.testing import capture_logs
from trio.testing import MockClock

from edgeagent.errors import RefusedError
from edgeagent.node.backoff import Backoff
from edgeagent.node.outbox import Outbox
from edgeagent.node.relay import Relay
from edgeagent.node.session import Session
from edgeagent.node.transport import LinkLost
from edgeagent.wire.messages import (
    Bye,
    Drain,
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobAccept,
    JobCancel,
    JobDispatch,
    JobProgress,
    JobResultAck,
    NodeState,
)

ATTEMPT = "00000000-0000-4000-8000-00000000000b"


class _Largest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


class RecordingNode:
    """Says hello and keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.held: tuple[str, ...] = ()

    def hello(self) -> Hello:
        return Hello(version="1", capabilities=("echo",), slots=1, held=self.held)

    def heartbeat(self, seq: int) -> Heartbeat:
        return Heartbeat(seq=seq, load=0.0, free_slots=1)

    async def changed(self) -> None:
        await trio.sleep_forever()

    def dispatched(self, dispatch: JobDispatch) -> None:
        self.calls.append(dispatch)

    def cancelled(self, attempt_id: str, reason: str) -> None:
        self.calls.append(("cancelled", attempt_id, reason))

    def acknowledged(self, ack: JobResultAck) -> None:
        self.calls.append(ack)

    def renewed(self, token: str) -> None:
        self.calls.append(("renewed", token))

    def link_lost(self) -> None:
        self.calls.append("link lost")


class Bench:
    """A relay with everything around it in the test's hands."""

    def __init__(self) -> None:
        self.gateway = Gateway()
        self.node = RecordingNode()
        self.outbox = Outbox()
        self.session = Session(self.node, self.outbox)
        self.relay = Relay(self.gateway.connect, self.session, self.node, Backoff(_Largest()))


@pytest.fixture
async def bench(nursery: trio.Nursery) -> AsyncIterator[Bench]:
    """A relay that runs until the test ends."""
    bench = Bench()
    nursery.start_soon(bench.relay.run)
    return bench


async def _linked(bench: Bench) -> GatewayEnd:
    end = await bench.gateway.accept()
    await end.welcome()
    return end


async def _linked_again(bench: Bench) -> Hello:
    """Let the node in once more; returns what it said."""
    hello = await (await bench.gateway.accept()).welcome()
    assert isinstance(hello, Hello)
    await trio.testing.wait_all_tasks_blocked()
    return hello


async def test_hello_is_followed_by_a_heartbeat_at_once_and_every_interval(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """A node counts as healthy from its first heartbeat, so it does not wait fifteen seconds for it."""
    end = await _linked(bench)
    times = []
    for seq in (1, 2, 3):
        heartbeat = await end.get(Heartbeat)
        end.say(HeartbeatAck(seq=seq, state=NodeState.HEALTHY))
        times.append((heartbeat.seq, trio.current_time()))

    start = times[0][1]
    assert [(1, start), (2, start + 15), (3, start + 30)] == times
    assert start == bench.gateway.connects[0]


async def test_45_seconds_of_silence_end_the_link_with_4002(autojump_clock: MockClock, bench: Bench) -> None:
    """Three intervals without a word; the node says why it closes, then connects anew."""
    end = await _linked(bench)
    started = trio.current_time()

    await end.ended.wait()

    assert 45 == trio.current_time() - started
    assert end.node_closed is not None
    assert 4002 == end.node_closed[0]
    assert isinstance(await (await bench.gateway.accept()).get(), Hello)


async def test_a_gateway_that_keeps_answering_is_never_called_silent(
    autojump_clock: MockClock, bench: Bench, nursery: trio.Nursery
) -> None:
    """A day of heartbeats on one link."""
    end = await _linked(bench)
    nursery.start_soon(end.acknowledge_heartbeats)

    await trio.sleep(24 * 3600)

    assert bench.relay.is_up()
    assert 1 == len(bench.gateway.connects)


async def test_a_gateway_that_does_not_answer_hello_is_left_after_ten_seconds(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """The greeting has a deadline of its own: no interval is agreed yet."""
    end = await bench.gateway.accept()
    started = trio.current_time()

    await end.ended.wait()

    assert 10 == trio.current_time() - started
    assert not bench.relay.is_up()


async def test_reconnects_follow_the_bounds_until_welcome_resets_them(autojump_clock: MockClock, bench: Bench) -> None:
    """A TCP connection is no success; only Welcome is."""
    end = await _linked(bench)
    bench.gateway.refusals = [LinkLost(1006, "Connection refused") for _ in range(6)]
    end.close(1006)
    end = await bench.gateway.accept()
    await end.get(Hello)
    end.close(1006)  # connected, but never welcomed
    end = await _linked(bench)
    end.close(1006)
    await bench.gateway.accept()

    tries = bench.gateway.connects
    assert [1, 2, 4, 8, 16, 30, 30, 30, 1] == [later - earlier for earlier, later in itertools.pairwise(tries)]


async def test_log_lines_are_the_guides(autojump_clock: MockClock, bench: Bench) -> None:
    """An operator greps for these."""
    with capture_logs() as logs:
        end = await _linked(bench)
        heartbeat = await end.get(Heartbeat)
        end.say(HeartbeatAck(seq=heartbeat.seq, state=NodeState.HEALTHY))
        await trio.testing.wait_all_tasks_blocked()
        end.close(1012, "restarting")
        await bench.gateway.accept()

    assert ["Connected to relay server", "Heartbeat acknowledged", "Connection lost, reconnecting..."] == [
        entry["event"] for entry in logs
    ]
    assert "restarting" == logs[-1]["reason"]


async def test_bye_of_the_gateway_is_obeyed(autojump_clock: MockClock, bench: Bench) -> None:
    """It says for how long to stay away, and the jitter comes on top."""
    end = await _linked(bench)
    started = trio.current_time()

    end.say(Bye(reason="restarting", back_s=20))
    await bench.gateway.accept()

    assert 21 == trio.current_time() - started


async def test_messages_reach_the_node(autojump_clock: MockClock, bench: Bench) -> None:
    """Dispatch, cancel, acknowledgement and a fresh token, in the order they came."""
    end = await _linked(bench)
    dispatch = JobDispatch(job_id=ATTEMPT, attempt_id=ATTEMPT, job_type="echo")
    ack = JobResultAck(attempt_id=ATTEMPT)

    end.say(dispatch, JobCancel(attempt_id=ATTEMPT, reason="not wanted"), ack)
    end.say(HeartbeatAck(seq=1, state=NodeState.HEALTHY, token="fresh"))
    await trio.testing.wait_all_tasks_blocked()

    assert [dispatch, ("cancelled", ATTEMPT, "not wanted"), ack, ("renewed", "fresh")] == bench.node.calls


async def test_what_welcome_drops_is_cancelled_and_its_token_is_used(autojump_clock: MockClock, bench: Bench) -> None:
    """The gateway's verdict on what Hello said was held."""
    bench.node.held = (ATTEMPT,)
    end = await bench.gateway.accept()

    hello = await end.welcome(drop=(ATTEMPT,), token="fresh")
    await trio.testing.wait_all_tasks_blocked()

    assert (ATTEMPT,) == hello.held
    assert ("renewed", "fresh") == bench.node.calls[0]
    assert ("cancelled", ATTEMPT) == bench.node.calls[1][:2]  # type: ignore[index]


async def test_control_goes_before_progress(autojump_clock: MockClock, bench: Bench) -> None:
    """Progress never delays what matters, and only the newest of it is sent."""
    end = await _linked(bench)
    await end.get(Heartbeat)

    bench.outbox.progress(JobProgress(attempt_id=ATTEMPT, fraction=0.1, log=("a",)))
    bench.outbox.progress(JobProgress(attempt_id=ATTEMPT, fraction=0.2, log=("b",)))
    bench.outbox.say(JobAccept(attempt_id=ATTEMPT))

    assert JobAccept(attempt_id=ATTEMPT) == await end.get()
    assert JobProgress(attempt_id=ATTEMPT, fraction=0.2, log=("a", "b")) == await end.get()


async def test_control_of_a_lost_link_is_not_said_on_the_next(autojump_clock: MockClock, bench: Bench) -> None:
    """The next Hello tells the gateway what is held; an old accept would be one of a session it has forgotten."""
    end = await _linked(bench)
    await end.get(Heartbeat)
    end.close(1006)
    await trio.testing.wait_all_tasks_blocked()

    bench.outbox.say(JobAccept(attempt_id=ATTEMPT))
    end = await _linked(bench)
    await trio.testing.wait_all_tasks_blocked()

    assert end.got_nothing(JobAccept)
    assert "link lost" in bench.node.calls


@pytest.mark.parametrize("frame", ["not JSON", '{"type":"welcome","heartbeat_s":15,"lease_s":60}', '{"type":"hello"}'])
async def test_a_gateway_that_breaks_the_protocol_is_left_with_1002(
    autojump_clock: MockClock, bench: Bench, frame: str
) -> None:
    """Garbage, or a message out of turn, ends the link and never the node."""
    end = await _linked(bench)

    end.say_raw(frame)
    await end.ended.wait()

    assert end.node_closed is not None
    assert 1002 == end.node_closed[0]
    await _linked(bench)


async def test_leaving_says_bye_and_waits_for_the_answer(autojump_clock: MockClock, bench: Bench) -> None:
    """What the gateway had sent before it heard is still read."""
    end = await _linked(bench)
    await end.get(Heartbeat)
    bench.relay.drain("stopping")
    left = trio.Event()

    async with trio.open_nursery() as nursery:

        async def leave() -> None:
            await bench.relay.leave("stopped")
            left.set()

        nursery.start_soon(leave)
        assert Drain(reason="stopping") == await end.get()
        assert Bye(reason="stopped") == await end.get()
        assert not left.is_set()
        end.say(JobResultAck(attempt_id=ATTEMPT), Bye(reason="goodbye"))
        await left.wait()

    assert JobResultAck(attempt_id=ATTEMPT) in bench.node.calls
    assert not bench.relay.is_up()
    assert 1 == len(bench.gateway.connects)


async def test_leaving_a_gateway_that_does_not_answer_takes_three_seconds(
    autojump_clock: MockClock, bench: Bench
) -> None:
    """Stopping never hangs on the other side."""
    await _linked(bench)
    await trio.testing.wait_all_tasks_blocked()
    started = trio.current_time()

    await bench.relay.leave("stopped")

    assert 3 == trio.current_time() - started


async def test_a_draining_node_says_so_on_the_next_link_too(autojump_clock: MockClock, bench: Bench) -> None:
    """Otherwise a gateway restarted in the meantime would dispatch to it."""
    end = await _linked(bench)
    bench.relay.drain("stopping")
    assert Drain(reason="stopping") == await end.get(Drain)
    end.close(1012)

    end = await _linked(bench)

    assert Drain(reason="stopping") == await end.get(Drain)


async def test_what_waiting_cannot_cure_ends_the_relay(autojump_clock: MockClock) -> None:
    """One line that says what to type."""
    bench = Bench()
    bench.gateway.refusals = [LinkLost(4001, "the gateway's reason")]

    with pytest.raises(RefusedError, match="edgeagent register --force") as raised:
        await bench.relay.run()

    assert "the gateway's reason" in str(raised.value)
    assert "\n" not in str(raised.value)


async def test_a_replaced_node_stands_by_until_the_other_is_gone(autojump_clock: MockClock, bench: Bench) -> None:
    """It asks once a minute and half a minute more at most, takes the link from nobody, and says what to type."""
    end = await bench.gateway.accept()
    first = await end.welcome()
    end.close(4009, "a newer link of the same node")
    asked = []
    with capture_logs() as logs:
        for _ in range(100):
            end = await bench.gateway.accept()
            asked.append(await end.get(Hello))
            end.close(4009, "another link of the same node stands")
            await end.ended.wait()
    hello = await _linked_again(bench)

    assert (False, {True}, True) == (first.yields, {one.yields for one in asked}, hello.yields)
    waits = [later - sooner for sooner, later in itertools.pairwise(bench.gateway.connects)]
    assert 60 <= min(waits) <= max(waits) <= 90
    assert "edgeagent register --force" in bench.session.lost
    assert 1 == sum(one["log_level"] == "warning" for one in logs)
    assert bench.relay.is_up()


async def test_a_node_that_stood_by_and_is_welcome_is_as_any_other(autojump_clock: MockClock, bench: Bench) -> None:
    """After a loss it asks at once, and in the place of its own old link, of whose end the gateway may not know."""
    (await _linked(bench)).close(4009)
    end = await bench.gateway.accept()
    await end.welcome()
    await trio.testing.wait_all_tasks_blocked()
    end.close(1006)

    hello = await _linked_again(bench)

    assert not hello.yields
    assert bench.gateway.connects[-1] - bench.gateway.connects[-2] <= 1


async def test_a_close_in_the_middle_of_a_session_ends_it_too(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A token that is withdrawn while the link stands."""
    bench = Bench()

    async def gateway() -> None:
        end = await _linked(bench)
        end.close(4001, "token revoked")

    nursery.start_soon(gateway)

    with pytest.raises(RefusedError, match="token revoked"):
        await bench.relay.run()
