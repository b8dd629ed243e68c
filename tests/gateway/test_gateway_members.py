"""Who is a node: the ways to register, proofs of keys, and what the owner decides, on a virtual clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from scripted import MemoryGateway, in_memory
from scripted_node import Operator
from trio.testing import MockClock

from edgeagent.gateway import auth, challenges, keyring, ownership, service
from edgeagent.gateway.config import GatewaySettings, Registration
from edgeagent.gateway.members import NotAdmittedError, Proof
from edgeagent.gateway.store import admission, nodes, orders
from edgeagent.gateway.store.nodes import Applicant, TakenError
from edgeagent.gateway.store.orders import Kind
from edgeagent.wire import identity
from edgeagent.wire.identity import InvalidTokenError
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Drain, JobDispatch, NodeState


def applicant(name: str = "node", key: bytes | None = None) -> Applicant:
    return Applicant(name, identity.public_key_of(key or identity.new_private_key()), ("render",), {})


def proof(gateway: MemoryGateway, key: bytes, *, public: str | None = None) -> Proof:
    """Return a challenge for a key, signed with ``key``."""
    text = gateway.hub.tokens.challenge(public or identity.public_key_of(key)).text
    return Proof(challenge=text, signature=identity.sign(key, text.encode()))


async def invite(gateway: MemoryGateway, uses: int | None = None, life_s: float | None = None) -> str:
    token = auth.new_join_token()
    await gateway.hub.store.write(admission.add_join_token, auth.token_sha256(token), uses, life_s)
    return token


async def give(gateway: MemoryGateway, kind: Kind, operator: Operator | None, reason: str = "") -> bool:
    """Give an order, and wait until the gateway has done it."""
    changed = await gateway.hub.store.write(orders.give, kind, operator and operator.node_id, reason)
    gateway.hub.members.ordered.now()
    await trio.sleep(2)  # a sweep follows
    return changed


async def test_with_join_tokens_nobody_else_registers(autojump_clock: MockClock, tmp_path: Path) -> None:
    """None, a wrong one, one that has ended, and one that is used up are refused; a refused try uses nothing."""
    async with in_memory(tmp_path, registration=Registration.TOKEN) as gateway:
        members = gateway.hub.members
        once, short = await invite(gateway, uses=1), await invite(gateway, life_s=60)
        first = applicant("first")
        for token in (None, "ej_wrong"):
            with pytest.raises(NotAdmittedError, match="ask the gateway's owner"):
                await members.register(first, token)
        admitted = await members.register(first, once)
        assert admitted.state is NodeState.REGISTERED
        with pytest.raises(NotAdmittedError):
            await members.register(applicant("second"), once)
        with pytest.raises(TakenError):
            await members.register(applicant("first"), short)
        await members.register(applicant("second"), short)
        gateway.wall.ahead_s += 61
        with pytest.raises(NotAdmittedError):
            await members.register(applicant("third"), short)


async def test_a_node_that_waits_for_approval_gets_no_work(autojump_clock: MockClock, tmp_path: Path) -> None:
    """It may have a link and a token; approved, it is HEALTHY with its next heartbeat and gets the job."""
    async with in_memory(tmp_path, registration=Registration.APPROVAL) as gateway:
        operator = await gateway.enlist()
        account = await gateway.account()
        async with gateway.as_node(operator) as node:
            await node.greet()
            assert (await node.beat()).state is NodeState.PENDING
            await gateway.submit(account)
            with trio.move_on_after(30):
                await node.hear(JobDispatch)
                pytest.fail("a node that is not approved got a job")
            assert await give(gateway, Kind.APPROVE, operator)
            assert (await node.beat()).state is NodeState.HEALTHY
            await node.hear(JobDispatch)
        _, history = await gateway.hub.store.read(orders.show_member, operator.node_id)
        causes = [(state, cause) for state, cause, _, _ in history]
    assert [
        ("PENDING", "registered; waits for approval"),
        ("REGISTERED", "approved by the owner"),
        ("HEALTHY", "heartbeat"),
    ] == causes


async def test_a_join_token_stands_for_approval(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The owner has decided already."""
    async with in_memory(tmp_path, registration=Registration.APPROVAL) as gateway:
        admitted = await gateway.hub.members.register(applicant(), await invite(gateway))
        assert admitted.state is NodeState.REGISTERED


async def test_a_signed_challenge_proves_a_key_once(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The same answer a second time proves nothing."""
    operator = await memory_gateway.enlist()
    members, public = memory_gateway.hub.members, operator.public_key
    signed = proof(memory_gateway, operator.private_key)

    admitted = await members.prove(public, signed)

    assert admitted is not None
    assert admitted.node_id == operator.node_id
    with pytest.raises(NotAdmittedError, match="used already"):
        await members.prove(public, signed)


async def test_what_is_no_proof_is_refused(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Another key's signature, a challenge for another key, of another gateway, too old, and garbage."""
    operator, thief = await memory_gateway.enlist("mine"), await memory_gateway.enlist("thief")
    members, public = memory_gateway.hub.members, operator.public_key
    foreign = challenges.make(identity.new_private_key(), public, memory_gateway.wall(), bytes).text
    old = proof(memory_gateway, operator.private_key)
    for wrong in (
        proof(memory_gateway, thief.private_key, public=public),
        proof(memory_gateway, thief.private_key),
        Proof(challenge=foreign, signature=identity.sign(operator.private_key, foreign.encode())),
        Proof(challenge="", signature=""),
        Proof(challenge=old.challenge.upper(), signature=old.signature),
        Proof(challenge=old.challenge, signature="zz"),
    ):
        with pytest.raises(NotAdmittedError, match="the challenge"):
            await members.prove(public, wrong)
    memory_gateway.wall.ahead_s += challenges.LIFE_S
    with pytest.raises(NotAdmittedError, match="the challenge"):
        await members.prove(public, old)


async def test_a_revoked_node_loses_its_link_its_token_and_its_jobs(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """At once, with 4001 and the reason; its job goes to another node; approved again, it has to prove its key."""
    gateway = memory_gateway
    operator, other = await gateway.enlist("bad"), await gateway.enlist("good")
    account = await gateway.account()
    async with gateway.at_work(operator) as node:
        job_id = await gateway.submit(account)
        first = await node.accept()
        async with gateway.at_work(other) as second:
            assert await give(gateway, Kind.REVOKE, operator, "mines coins")
            closed = await node.closed()
            assert closed.code == CloseCode.AUTHENTICATION_FAILED
            assert "revoked: mines coins" in closed.reason
            again = await second.accept()
            assert (again.job_id, again.attempt_id != first.attempt_id) == (job_id, True)
            tried = (await gateway.job(account, job_id)).attempts[0]
            assert (tried.outcome, tried.detail) == ("lost", "its node was revoked")
    async with gateway.as_node(operator) as node:
        assert (await node.closed()).code == CloseCode.AUTHENTICATION_FAILED
    public = operator.public_key
    with pytest.raises(NotAdmittedError, match="revoked"):
        await gateway.hub.members.prove(public, proof(gateway, operator.private_key))

    assert await give(gateway, Kind.APPROVE, operator)
    with pytest.raises(InvalidTokenError, match="revoked"):
        gateway.hub.members.authenticate(operator.token)
    admitted = await gateway.hub.members.prove(public, proof(gateway, operator.private_key))
    assert admitted is not None
    gateway.hub.members.authenticate(gateway.hub.tokens.issue(operator.node_id, (), admitted.epoch))


async def test_a_heartbeat_on_its_way_does_not_undo_a_revocation(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The gateway may store that a node is HEALTHY after the owner has revoked it, and before it knows."""
    operator = await memory_gateway.enlist()
    store = memory_gateway.hub.store
    await store.write(orders.give, Kind.REVOKE, operator.node_id, "")
    await memory_gateway.hub.heard(operator.node_id)
    assert (await store.read(nodes.health, operator.node_id)).state is NodeState.REVOKED
    await trio.sleep(service.ORDERS_LOOKS * memory_gateway.hub.settings.look_s + 1)

    assert (await store.read(nodes.health, operator.node_id)).state is NodeState.REVOKED
    assert memory_gateway.state(operator) is NodeState.REVOKED


async def test_tokens_alone_can_be_revoked(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """The node stays one, and gets a new token by proving its key."""
    operator = await memory_gateway.enlist()
    async with memory_gateway.at_work(operator) as node:
        await give(memory_gateway, Kind.VOID_TOKENS, operator)
        assert (await node.closed()).code == CloseCode.AUTHENTICATION_FAILED
    with pytest.raises(InvalidTokenError, match="revoked"):
        memory_gateway.hub.members.authenticate(operator.token)
    public = operator.public_key
    admitted = await memory_gateway.hub.members.prove(public, proof(memory_gateway, operator.private_key))
    assert admitted is not None
    fresh = memory_gateway.hub.tokens.issue(operator.node_id, (), admitted.epoch)
    async with memory_gateway.connect(operator.node_id, fresh) as node:
        await node.ready()


async def test_a_drained_node_finishes_and_gets_nothing_new(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Over a new link too, until the owner says otherwise."""
    operator = await memory_gateway.enlist()
    account = await memory_gateway.account()
    async with memory_gateway.at_work(operator, slots=2) as node:
        await memory_gateway.submit(account)
        running = await node.accept()
        await give(memory_gateway, Kind.DRAIN, operator, "new disk")
        assert (await node.hear(Drain)).reason == "new disk"
        await memory_gateway.submit(account)
        assert (await node.finish(running)).credited_ucr
        with trio.move_on_after(30):
            await node.hear(JobDispatch)
            pytest.fail("a drained node got a job")
    async with memory_gateway.at_work(operator) as node:
        with trio.move_on_after(30):
            await node.hear(JobDispatch)
            pytest.fail("a drained node got a job")
        assert not await give(memory_gateway, Kind.DRAIN, operator)
        assert await give(memory_gateway, Kind.RESUME, operator)
        await node.hear(JobDispatch)


async def test_a_rotated_keys_tokens_live_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    """They are checked with the old key until they have ended; new ones are the new key's, also after a restart."""
    async with in_memory(tmp_path) as gateway:
        operator = await gateway.enlist()
        keyring.rotate(tmp_path, gateway.wall(), drop=False)
        await give(gateway, Kind.NEW_KEYS, None)
        tokens = gateway.hub.tokens
        assert tokens.check(operator.token).node_id == operator.node_id
        new = tokens.issue(operator.node_id, ())
        assert identity.token_key_id(new) != identity.token_key_id(operator.token)
        assert [one["kid"] for one in tokens.jwks()["keys"]] == [
            identity.token_key_id(new),
            identity.token_key_id(operator.token),
        ]
        gateway.wall.ahead_s += identity.TOKEN_LIFE_S + keyring.MARGIN_S
        assert [one["kid"] for one in tokens.jwks()["keys"]] == [identity.token_key_id(new)]
    assert identity.key_id(identity.public_key_of(keyring.load(tmp_path).signing)) == identity.token_key_id(new)


async def test_dropping_a_key_sends_every_node_to_prove_its_own(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Links are closed, and tokens of the old key are refused."""
    async with in_memory(tmp_path) as gateway:
        operator = await gateway.enlist()
        async with gateway.at_work(operator) as node:
            keyring.rotate(tmp_path, gateway.wall(), drop=True)
            await give(gateway, Kind.DROP_KEYS, None)
            assert (await node.closed()).code == CloseCode.RESTARTING
        async with gateway.as_node(operator) as node:
            closed = await node.closed()
            assert (closed.code, "not signed with a key of this gateway" in closed.reason) == (4001, True)


async def test_the_owner_works_without_a_running_gateway(autojump_clock: MockClock, tmp_path: Path) -> None:
    """What was decided meanwhile holds from the start."""
    async with in_memory(tmp_path) as gateway:
        bad, idle = await gateway.enlist("bad"), await gateway.enlist("Idle Node")
    place = GatewaySettings(data_dir=tmp_path)
    assert ownership.order(place, Kind.REVOKE, "bad", "spam")[1]
    assert not ownership.order(place, Kind.REVOKE, bad.node_id)[1]
    assert ownership.order(place, Kind.DRAIN, "idle node")[0].drained
    assert [one.name for one in ownership.list_nodes(place, NodeState.REVOKED)] == ["bad"]
    assert ownership.show(place, "bad")[1][-1][:2] == ("REVOKED", "revoked by the owner: spam")
    async with in_memory(tmp_path) as gateway:
        with pytest.raises(InvalidTokenError, match="revoked"):
            gateway.hub.members.authenticate(bad.token)
        assert gateway.hub.members.is_drained(idle.node_id)
