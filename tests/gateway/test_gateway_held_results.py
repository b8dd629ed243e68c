"""Held results over links, for their submitter, and on the owner's page."""

from __future__ import annotations

import re

import httpx2
from click.testing import CliRunner
from scripted import MemoryGateway, PortGateway, submit
from test_gateway_owner_page import logged_in
from trio.testing import MockClock

from edgeagent.cli.main import main
from edgeagent.gateway.jobs import AttemptState, JobState
from edgeagent.gateway.store import policies
from edgeagent.gateway.trust import Policy
from edgeagent.wire.messages import JobVerdict

PRICE = 10_000_000
ALWAYS = Policy(sure_after=1_000_000)


async def test_a_held_result_is_told_of_when_it_is_confirmed(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Its node first hears that it waits; then, once another's agrees, what it is paid, and why."""
    await memory_gateway.hub.store.write(policies.change, "render", ALWAYS, "owner")
    one, two = await memory_gateway.enlist("one"), await memory_gateway.enlist("two")
    account = await memory_gateway.account()
    async with memory_gateway.as_node(one) as first:
        await first.ready()
        job = await memory_gateway.submit(account)
        held = await first.finish(dispatch := await first.accept(), value=5)
        assert (held.credited_ucr, held.held) == (0, True)
        async with memory_gateway.as_node(two) as second:
            await second.ready()
            confirmed = await second.finish(await second.accept(), value=5)
            assert (confirmed.credited_ucr, confirmed.held) == (PRICE, False)
        verdict = await first.hear(JobVerdict)
    assert (verdict.attempt_id, verdict.credited_ucr) == (dispatch.attempt_id, PRICE)
    assert "confirmed" in verdict.reason
    done = await memory_gateway.job(account, job)
    assert (done.state, done.credited_ucr) == (JobState.COMPLETED, 2 * PRICE)
    assert [(each.state, each.credited_ucr) for each in done.attempts] == [(AttemptState.COMPLETED, PRICE)] * 2


async def test_a_node_that_was_wrong_last_is_not_asked_to_check(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Not while somebody else has room; after a restart of the gateway neither."""
    hub = memory_gateway.hub
    await hub.store.write(policies.change, "render", ALWAYS, "owner")
    names = [await memory_gateway.enlist(name) for name in ("liar", "second", "third")]
    account = await memory_gateway.account()
    async with (
        memory_gateway.as_node(names[0]) as liar,
        memory_gateway.as_node(names[1]) as second,
        memory_gateway.as_node(names[2]) as third,
    ):
        await liar.ready()
        await memory_gateway.submit(account)
        await liar.finish(await liar.accept(), value="a lie")
        for node in (second, third):
            await node.ready()
            await node.finish(await node.accept(), value="true")
        await liar.hear(JobVerdict)
        await second.hear(JobVerdict)
        assert hub.network.doubted == {names[0].node_id}
        hub.network.doubted = set()
        await hub.load()
        assert hub.network.doubted == {names[0].node_id}


async def test_the_owner_sees_whose_results_were_disputed(
    port_gateway: PortGateway, submitter: httpx2.AsyncClient
) -> None:
    """On the page and at the terminal; and the submitter sees who was paid, and why."""
    data = str(port_gateway.data_dir)
    said = CliRunner().invoke(main, ["gateway", "trust", "set", "render", "--sure-after", "1000", "--data", data])
    assert said.exit_code == 0, said.output
    operators = [await port_gateway.enlist(f"node {number}") for number in range(3)]
    job = await submit(submitter)
    for number, operator in enumerate(operators):
        async with port_gateway.as_node(operator) as node:
            await node.ready()
            await node.finish(await node.accept(), value="true" if number else "a lie")
    shown = (await submitter.get(f"/jobs/{job['job_id']}")).json()
    async with port_gateway.http(prefix="") as http:
        await logged_in(port_gateway, http)
        page = " ".join(re.sub(r"<[^>]*>|\s+", " ", (await http.get("/owner")).text).split())
    nodes = CliRunner().invoke(main, ["gateway", "nodes", "show", "node 0", "--data", data]).output
    trust = CliRunner().invoke(main, ["gateway", "trust", "show", "--data", data]).output

    assert [one["status"] for one in shown["attempts"]] == ["DISPUTED", "COMPLETED", "COMPLETED"]
    assert [one["credited_ucr"] for one in shown["attempts"]] == [0, PRICE, PRICE]
    assert shown["attempts"][0]["detail"] == "two others agreed on another result"
    assert "Disputed results" in page
    assert "node 0 render 0 1 0" in page
    assert "render: 0 agreed, 1 disputed, 0 in a row, 100% checked" in nodes
    assert "node 1  render  1 agreed, 0 disputed, 1 in a row  100% checked" in trust


def test_policies_are_set_and_ended_at_the_terminal(tmp_path: object) -> None:
    """With the timings of our own job types left out, and a history; what is none is refused in one line."""

    def say(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["gateway", *words, "--data", str(tmp_path)])
        return done.exit_code, done.output.strip()

    assert say("trust", "set", "cpu_benchmark")[1].endswith("seconds may differ")
    assert say("trust", "set", "cpu_benchmark")[1].startswith("Nothing to change")
    assert say("trust", "off", "cpu_benchmark") == (0, "cpu_benchmark: off")
    assert len(say("trust", "history")[1].splitlines()) == 2
    assert say("trust", "show") == (0, "No job type is checked.")
    for wrong in (
        ("trust", "set", "render", "--comparison", "mine"),
        ("trust", "set", "render", "--least", "2"),
        ("trust", "known", "add", "nothing"),
        ("nodes", "operator", "x", "two words"),
    ):
        code, output = say(*wrong)
        assert code in {1, 2}
        assert "Traceback" not in output
