"""Join tokens that say whose nodes register with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from scripted import MemoryGateway, in_memory
from scripted_node import Operator
from trio.testing import MockClock

from edgeagent.cli.main import main
from edgeagent.gateway import auth
from edgeagent.gateway.config import Registration
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store import admission, nodes, orders, policies
from edgeagent.gateway.store.orders import Kind
from edgeagent.gateway.trust import Policy
from edgeagent.wire import identity
from edgeagent.wire.messages import Heartbeat, JobDispatch, NodeState

ALWAYS = Policy(sure_after=1_000_000)


async def invite(gateway: MemoryGateway, label: str, uses: int | None = None) -> str:
    """Make a join token with a label."""
    token = auth.new_join_token()
    await gateway.hub.store.write(admission.add_join_token, auth.token_sha256(token), uses, None, label)
    return token


async def join(gateway: MemoryGateway, name: str, token: str) -> Operator:
    """Register a node with a join token."""
    key = identity.new_private_key()
    applicant = nodes.Applicant(name, identity.public_key_of(key), ("render",), {})
    admitted = await gateway.hub.members.register(applicant, token)
    return Operator(admitted.node_id, gateway.hub.tokens.issue(admitted.node_id, ("render",)), key)


async def test_nodes_of_one_join_token_do_not_check_each_other(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A node that came with another's token does; and, once the owner says that it is somebody else's, so does one
    of the first token.
    """
    hub = memory_gateway.hub
    await hub.store.write(policies.change, "render", ALWAYS, "owner")
    farm, other = await invite(memory_gateway, "farm"), await invite(memory_gateway, "other")
    names = (("one", farm), ("two", farm), ("three", other))
    operators = [await join(memory_gateway, name, token) for name, token in names]
    account = await memory_gateway.account()
    job = await memory_gateway.submit(account)
    async with memory_gateway.at_work(operators[0]) as first:
        assert (await first.finish(await first.accept(), value=5)).held
    async with memory_gateway.at_work(operators[1]) as second:
        with trio.move_on_after(10):
            await second.hear(JobDispatch)
            pytest.fail("the same operator's node was asked to check")
        async with memory_gateway.at_work(operators[2]) as third:
            await third.finish(await third.accept(), value=5)
    assert (await memory_gateway.job(account, job)).state is JobState.COMPLETED

    await hub.store.write(orders.give, Kind.OPERATOR, operators[1].node_id, "")
    hub.members.ordered.now()
    job = await memory_gateway.submit(account)
    for operator in operators[:2]:
        async with memory_gateway.as_node(operator) as node:
            await node.greet()
            await node.say(Heartbeat(seq=1, load=0.0, free_slots=1))  # the dispatch may come before its answer
            await node.finish(await node.accept(), value=5)
    assert (await memory_gateway.job(account, job)).state is JobState.COMPLETED


async def test_the_label_outlives_the_gateway(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It is the node's, not the token's: another gateway process knows it, and the token may be gone."""
    async with in_memory(tmp_path, registration=Registration.APPROVAL) as gateway:
        node = await join(gateway, "one", await invite(gateway, "farm", uses=1))
        (token,) = await gateway.hub.store.read(admission.all_join_tokens)
        await gateway.hub.store.write(admission.remove_join_token, token.name)
        assert token.operator == "farm"
    async with in_memory(tmp_path) as gateway:
        member, _ = await gateway.hub.store.read(orders.show_member, node.node_id)
        assert (member.operator, member.state) == ("farm", NodeState.REGISTERED)
        async with gateway.at_work(node):
            offer = gateway.hub.network.offer(node.node_id)
            assert offer is not None
            assert offer.operator == "farm"


def test_the_owner_makes_and_lists_labelled_tokens(tmp_path: Path) -> None:
    """In text and as JSON; what is no label makes no token."""

    def say(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["gateway", "nodes", "join-token", *words, "--data", str(tmp_path)])
        return done.exit_code, done.output.strip()

    assert say("create", "--operator", "farm")[0] == 0
    assert json.loads(say("create", "--json")[1])["operator"] == ""
    assert [one["operator"] for one in json.loads(say("list", "--json")[1])["tokens"]] == ["farm", ""]
    labelled, plain = say("list")[1].splitlines()
    assert labelled.endswith("  operator farm")
    assert "operator" not in plain
    code, output = say("create", "--operator", "two words")
    assert (code, "an operator's label has 1 to 40 letters" in output) == (2, True)
    assert len(say("list")[1].splitlines()) == 2
