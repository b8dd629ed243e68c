"""Receipts on the link: a node signs what it did, the gateway what it pays, and nothing is paid on a forgery."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from scripted import MemoryGateway
from scripted_node import Operator
from trio.testing import MockClock

from edgeagent.gateway import keyring
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.store.results import FORGED
from edgeagent.wire import identity, receipts
from edgeagent.wire.messages import JobDispatch, JobResult, JobResultAck, Outcome, Usage

USAGE = Usage(wall_s=1.5, cpu_s=1.25, memory_peak_bytes=1 << 20)


def signed(operator: Operator, dispatch: JobDispatch, key: bytes | None = None, **changed: Any) -> JobResult:
    """Return the result that a node gives, signed with its key or another one; ``changed`` is not what was signed."""
    result = JobResult(
        job_id=dispatch.job_id, attempt_id=dispatch.attempt_id, outcome=Outcome.COMPLETED, value=1, usage=USAGE
    )
    receipt = receipts.receipt(operator.node_id, dispatch.job_type, dispatch.price_ucr, result)
    signature = identity.sign(key or operator.private_key, receipt.document())
    return attrs.evolve(result, **{"signature": signature, **changed})


def settlement(operator: Operator, dispatch: JobDispatch, result: JobResult, ack: JobResultAck) -> receipts.Settlement:
    """Return the settlement that the node makes of an acknowledgement."""
    receipt = receipts.receipt(operator.node_id, dispatch.job_type, dispatch.price_ucr, result)
    made = receipts.settlement(receipt, result.signature, ack)
    assert made is not None
    return made


def countersigned(gateway: MemoryGateway, made: receipts.Settlement, ack: JobResultAck) -> bool:
    """Return whether the gateway has signed this settlement."""
    key = identity.public_key_of(keyring.load(gateway.hub.settings.data_dir).signing)
    assert ack.settled is not None
    assert ack.settled.key_id == identity.key_id(key)
    return identity.verify(key, made.document(), ack.settled.signature)


async def test_a_signed_result_is_settled_and_countersigned(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """Node and gateway make the same settlement from what each of them holds."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        for index in range(2):
            await memory_gateway.submit(account)
            dispatch = await node.accept()
            result = signed(operator, dispatch)
            await node.say(result)
            ack = await node.hear(JobResultAck)

            made = settlement(operator, dispatch, result, ack)
            assert (made.index, made.credited_ucr, made.month) == (index, 10_000_000, "2001-09")
            assert countersigned(memory_gateway, made, ack)


async def test_a_result_that_is_told_again_is_settled_once(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """The acknowledgement was lost with the link: the node gets the same settlement, and so does an unsigned copy."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        result = signed(operator, dispatch)
        await node.say(result)
        first = await node.hear(JobResultAck)
    async with memory_gateway.as_node(operator) as node:
        await node.ready(held=(dispatch.attempt_id,))
        await node.say(result)
        assert await node.hear(JobResultAck) == first
        await node.say(attrs.evolve(result, signature=""))
        bare = await node.hear(JobResultAck)

    assert settlement(operator, dispatch, attrs.evolve(result, signature=""), bare) == settlement(
        operator, dispatch, result, first
    )


@pytest.mark.parametrize("changed", [{"usage": Usage(wall_s=9)}, {"signature": "00" * 64}], ids=["usage", "signature"])
async def test_a_wrong_signature_is_a_failed_attempt(
    autojump_clock: MockClock, memory_gateway: MemoryGateway, changed: dict[str, Any]
) -> None:
    """The node hears why it is not paid, and the job goes back to the queue."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        job = await memory_gateway.submit(account)
        await node.say(signed(operator, await node.accept(), **changed))
        ack = await node.hear(JobResultAck)

        assert (ack.credited_ucr, ack.settled, ack.unpaid) == (0, None, FORGED)
        found = await memory_gateway.job(account, job)
        assert (found.state, found.attempts[0].detail) == (JobState.QUEUED, FORGED)


async def test_only_the_nodes_own_key_signs_for_it(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """Another node's key does not."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account)
        await node.say(signed(operator, await node.accept(), identity.new_private_key()))

        assert (await node.hear(JobResultAck)).unpaid == FORGED


async def test_a_result_without_a_signature_is_settled_without_one(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """A node that has no key at hand is paid; its settlement says that it has not signed."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account)
        dispatch = await node.accept()
        result = attrs.evolve(signed(operator, dispatch), signature="")
        await node.say(result)
        ack = await node.hear(JobResultAck)

    made = settlement(operator, dispatch, result, ack)
    assert made.node_signature == ""
    assert countersigned(memory_gateway, made, ack)


async def test_a_free_job_is_not_settled(autojump_clock: MockClock, memory_gateway: MemoryGateway) -> None:
    """There is nothing to prove."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account, "echo")
        await node.say(signed(operator, await node.accept()))

        ack = await node.hear(JobResultAck)
        assert (ack.credited_ucr, ack.settled, ack.unpaid) == (0, None, "")


async def test_a_signed_result_is_checked_after_a_restart_too(
    autojump_clock: MockClock, memory_gateway: MemoryGateway
) -> None:
    """What the attempt is for is looked up where it is not in memory; a late word of a lost attempt still counts."""
    operator, account = await memory_gateway.enlist(), await memory_gateway.account()
    async with memory_gateway.as_node(operator) as node:
        await node.ready()
        await memory_gateway.submit(account)
        dispatch = await node.accept()
    async with memory_gateway.as_node(operator) as node:
        await node.greet()  # without the attempt, which is lost by that
        result = signed(operator, dispatch)
        await node.say(result)
        ack = await node.hear(JobResultAck)

    assert countersigned(memory_gateway, settlement(operator, dispatch, result, ack), ack)
