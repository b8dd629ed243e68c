"""What anybody may ask of the gateway, by address, by token and by link; each refusal is the documented one.

Where requests are counted over real sockets the clock stands still (``mock_clock``): on a slow machine so much would be
allowed anew meanwhile that nothing is refused.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio
import trio_websocket
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from scripted import PortGateway, in_memory, on_a_port, refused, submit
from trio.testing import MockClock

from edgeagent.cli import main
from edgeagent.gateway.ceilings import Ceilings, parse
from edgeagent.gateway.gate import Gate
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Heartbeat, JobProgress, JobResult, Message, Outcome

FLOODS: dict[str, Callable[[int], Message]] = {
    "heartbeats": lambda n: Heartbeat(seq=n, load=0.0, free_slots=1),
    "progress": lambda n: JobProgress(attempt_id="x", text=str(n)),
    "results of nothing": lambda n: JobResult(job_id="x", attempt_id=str(n), outcome=Outcome.COMPLETED),
}


@pytest.mark.parametrize("flood", FLOODS)
@pytest.mark.parametrize("in_one_frame", [1, 50])
async def test_a_node_that_floods_loses_its_link(
    autojump_clock: MockClock, tmp_path: Path, flood: str, in_one_frame: int
) -> None:
    """With 1008 and the reason, after the 100 that may come at once; also where many come in one frame."""
    async with in_memory(tmp_path, ceilings=Ceilings(messages_each=300)) as gateway:
        operator = await gateway.enlist()
        async with gateway.as_node(operator) as node, trio.open_nursery() as nursery:
            await node.greet()

            async def pour() -> None:
                while not node.websocket.closed:
                    with suppress(trio_websocket.ConnectionClosed):
                        await node.say(*(FLOODS[flood](n) for n in range(in_one_frame)))

            nursery.start_soon(pour)
            closed = await node.closed()
            nursery.cancel_scope.cancel()
        assert (closed.code, closed.reason) == (
            CloseCode.FLOOD,
            "the node says too much that it was not asked for",
        )


async def test_answers_to_dispatches_are_no_flood(autojump_clock: MockClock, tmp_path: Path) -> None:
    """A node answers each job that it is given, however many those are."""
    async with in_memory(tmp_path, ceilings=Ceilings(messages_each=6)) as gateway:  # two at once
        operator, account = await gateway.enlist(), await gateway.account()
        async with gateway.as_node(operator) as node:
            await node.ready()
            for _ in range(20):
                await gateway.submit(account, "echo")
                assert (await node.finish(await node.accept())).credited_ucr == 0


async def test_too_many_bytes_cost_the_link(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Whatever they say."""
    async with in_memory(tmp_path, ceilings=Ceilings(link_bytes_each=3 << 20)) as gateway:
        operator = await gateway.enlist()
        async with gateway.as_node(operator) as node:
            await node.greet()
            for _ in range(2):
                await node.say(JobProgress(attempt_id="x", text="y" * (600 << 10)))
            closed = await node.closed()
        assert (closed.code, closed.reason) == (CloseCode.FLOOD, "the node sends too many bytes")


async def test_a_node_that_comes_back_all_the_time_is_sent_away(autojump_clock: MockClock, tmp_path: Path) -> None:
    """By its node id, whatever link says what; a minute later it is let in, and another node always."""
    async with in_memory(tmp_path, ceilings=Ceilings(links_each=6)) as gateway:
        operator, other = await gateway.enlist("a"), await gateway.enlist("b")
        for _ in range(2):
            async with gateway.as_node(operator) as node:
                await node.greet()
        async with gateway.as_node(operator) as node:
            assert (await node.closed()).code == CloseCode.FLOOD
        async with gateway.as_node(other) as node:
            await node.greet()
        await trio.sleep(60)
        async with gateway.as_node(operator) as node:
            await node.greet()


async def test_an_account_has_its_own_limit(mock_clock: MockClock, tmp_path: Path) -> None:
    """429 with Retry-After, for this account alone; a batch counts as twenty."""
    async with on_a_port(tmp_path, ceilings=Ceilings(requests_each=90)) as gateway:  # thirty at once
        await gateway.enlist()
        async with gateway.http(await gateway.account("a")) as one, gateway.http(await gateway.account("b")) as other:
            batch = {"jobs": [{"job_type": "echo"}] * 2}
            assert (await one.post("/jobs/batch", json=batch)).status_code == 201
            answers = [await one.get("/jobs") for _ in range(15)]
            assert [answer.status_code for answer in answers[:10]] == [200] * 10
            refused(answers[-1], 429, "too many")
            assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
            await submit(other, "echo")


async def test_a_node_has_its_own_limit_for_rest(mock_clock: MockClock, tmp_path: Path) -> None:
    """Its heartbeats by REST are counted by node."""
    async with on_a_port(tmp_path, ceilings=Ceilings(requests_each=6)) as gateway:
        operator, other = await gateway.enlist("a"), await gateway.enlist("b")
        async with gateway.http(operator.token) as http, gateway.http(other.token) as another:
            beats = [await http.post("/nodes/heartbeat", json={"current_load": 0.0}) for _ in range(5)]
            assert [beat.status_code for beat in beats[:2]] == [200, 200]
            refused(beats[-1], 429, "too many")
            assert (await another.get("/nodes/me")).status_code == 200


VISITS: dict[str, tuple[str, dict[str, str], int]] = {
    "the leaderboard": ("/api/v1/community/leaderboard", {}, 200),
    "the page": ("/schema", {}, 200),
    "nowhere": ("/api/v2/anything", {}, 404),
    "no such schema": ("/schema/nothing", {}, 404),
    "no token": ("/api/v1/jobs", {}, 401),
    "a wrong token": ("/api/v1/jobs", {"Authorization": "Bearer ea_wrong"}, 401),
    "a wrong node": ("/api/v1/nodes/me", {"Authorization": "Bearer wrong"}, 401),
}


@pytest.mark.parametrize("visit", VISITS)
async def test_strangers_are_limited_by_address(mock_clock: MockClock, tmp_path: Path, visit: str) -> None:
    """Whatever they ask for; who shares the address and has a good token is served."""
    path, headers, status = VISITS[visit]
    async with on_a_port(tmp_path, ceilings=Ceilings(visits_each=9)) as gateway:  # three at once
        account = await gateway.account()
        async with gateway.http(prefix="") as http:
            answers = [await http.get(path, headers=headers) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [status] * 3 + [429] * 2
        refused(answers[-1], 429, "too many")
        async with gateway.http(account) as known:
            assert (await known.get("/jobs")).status_code == 200


async def test_connections_from_one_address_are_limited(tmp_path: Path) -> None:
    """The one too many hears 503; a place that is left can be taken."""
    async with on_a_port(tmp_path, ceilings=Ceilings(connections_each=5)) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        held = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(5)]
        extra = await trio.open_tcp_stream("127.0.0.1", port)
        answer = b"".join([bytes(piece) async for piece in extra])
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 5\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "too many connections; come back in 5 s"
        await held.pop().aclose()
        with trio.fail_after(20):
            while not await _is_served(gateway):  # noqa: ASYNC110 -- the gateway is asked, as a client would
                await trio.sleep(0.02)
        for one in (*held, extra):
            await one.aclose()


async def _is_served(gateway: PortGateway) -> bool:
    async with gateway.http(prefix="") as http:
        try:
            return (await http.get("/health")).status_code == 200
        except httpx2.TransportError:
            return False


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["1.1.1.1", "2.2.2.2", "10.0.0.1", ""])), max_size=60))
def test_the_gate_counts_what_is_open(steps: list[tuple[bool, str]]) -> None:
    """Never more than allowed, in all and from one stranger; a proxy's and a nameless one's only in all."""
    gate = Gate(6, 2, (ipaddress.ip_network("10.0.0.0/8"),))
    inside: list[tuple[str, str]] = []
    for leaving, address in steps:
        if leaving and inside:
            gate.leave(inside.pop()[1])
        else:
            there = sum(one == address for one, _ in inside)
            free = len(inside) < 6 and (address in {"10.0.0.1", ""} or there < 2)
            source = gate.enter(address)
            assert (source is not None) is free
            if source is not None:
                inside.append((address, source))
        assert len(gate) == len(inside)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("conections=5", "there is no limit 'conections'; there are registrations-each,"),
        ("connections", "'connections' is not NAME=NUMBER, for example connections=5000"),
        ("connections=many", "is not NAME=NUMBER"),
        ("connections=0", "connections must be above zero, not 0"),
        ("connections=nan", "connections must be above zero"),
        ("connections=inf", "connections must be above zero"),
    ],
)
def test_a_limit_that_is_none_is_one_line(setting: str, words: str) -> None:
    """With exit code 2, and what to write."""
    done = CliRunner().invoke(main, ["gateway", "run", "--data", "x", "--limit", setting])
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())


def test_limits_are_set_by_name() -> None:
    """The last one of a name counts, and the others keep their defaults."""
    set_ = parse(["connections-each=7", "links-each=1.5", "connections-each=8"])
    assert set_ == Ceilings(connections_each=8, links_each=1.5)


def test_the_documentation_lists_each_limit() -> None:
    """By name and default."""
    text = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
    defaults: dict[str, Any] = {"link_bytes_each": "1 GiB"}
    for name, default in _defaults().items():
        assert f"| `{name.replace('_', '-')}` | {defaults.get(name, f'{default:,.0f}')}" in text


def _defaults() -> dict[str, float]:
    ceilings = Ceilings()
    return {name: getattr(ceilings, name) for name in ceilings.__slots__ if not name.startswith("_")}
