"""The node's services: what is started in which order, and how it stops.

Three nurseries in reverse order of stopping: the link ring (relay, health, sender, tokens) outlives the jobs ring,
which outlives the intake ring.  Stopping is one sequence: say drain, close the intake, give the jobs a deadline,
deliver what is in the spool, say bye.  Everything that touches the world outside is handed in: ``node.service`` brings
sockets and a sandbox, ``simulation`` streams in memory and a stand-in.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol

import attrs
import structlog
import trio

from edgeagent import chance
from edgeagent.node import windows
from edgeagent.node.agent import STOPPING, Agent
from edgeagent.node.attempts import Attempts, nothing_short
from edgeagent.node.backoff import Backoff
from edgeagent.node.ceilings import Ceilings
from edgeagent.node.credentials import Credentials
from edgeagent.node.executor import Executor
from edgeagent.node.gate import Gate
from edgeagent.node.outbox import Outbox
from edgeagent.node.receipts.keeper import Keeper
from edgeagent.node.relay import Relay
from edgeagent.node.sender import Sender, Upload
from edgeagent.node.session import Session
from edgeagent.node.slots import NO_GPUS, GpuRules
from edgeagent.node.spool import Spool
from edgeagent.node.stopping import Stop
from edgeagent.node.transport import Connect
from edgeagent.wire.messages import JobDispatch, JobResult, JobResultAck, Outcome

log = structlog.get_logger()

#: Seconds that a job asked to stop may take; its supervisor kills it well before.
KILL_S = 15.0
#: Seconds that results may take to be delivered at the end; what is left stays in the spool for the next start.
FLUSH_S = 10.0
#: Dispatches that wait for the intake; the gateway never sends more than there are free slots.
_INTAKE = 64


class Storage(Protocol):
    """What the rings need of ``disk.Disk``."""

    def count(self, running: Callable[[], Iterable[JobDispatch]], unsent: Callable[[], int]) -> None:
        """Know what may still be written."""

    def refuse(self, dispatch: JobDispatch | None = None, /) -> str | None:
        """Return why an attempt, or any, is not to be taken now."""
        ...

    async def relieve(self) -> None:
        """Give back what the node can do without."""

    async def run(self, gate: Gate, /) -> None:
        """Look after the disk until cancelled, and shut the gate while it is full."""


class Health(Protocol):
    """Serves the node's health until cancelled; started with its address."""

    async def __call__(self, is_up: Callable[[], bool], /, *, task_status: trio.TaskStatus[str]) -> None:
        """Run."""


@attrs.frozen
class Parts:
    """The parts of a running node, for those that show them or act on them from outside."""

    agent: Agent
    attempts: Attempts
    sender: Sender
    session: Session
    gate: Gate
    stop: Stop
    spool: Spool
    link: Relay


@attrs.frozen(kw_only=True)
class Surroundings:
    """What a node stands in: its line to the gateway, its disk, and who asks after its health."""

    connect: Connect
    upload: Upload
    spool: Spool
    credentials: Credentials
    health: Health
    prove: Callable[[], Awaitable[bool]] | None = None  # gets a fresh token by the node's key
    clocks: Callable[[], Awaitable[str]] | None = None  # how far this machine's is off, for messages
    disk: Storage | None = None
    fetches: tuple[str, ...] = ()  # kinds of references that the executor has fetched
    ended: Callable[[JobDispatch, JobResult], None] = lambda dispatch, result: None
    credited: Callable[[JobResultAck], None] = lambda ack: None
    receipts: Keeper | None = None
    printed: Callable[[JobDispatch, Sequence[str]], None] = lambda dispatch, lines: None
    watches: tuple[Callable[[Parts], Awaitable[None]], ...] = ()  # run in the link ring until the end


async def run(
    around: Surroundings,
    executor: Executor,
    *,
    announced: tuple[str, ...],
    slots: int,
    stop: Stop,
    grace_s: float,
    gpus: GpuRules = NO_GPUS,
    ceilings: Ceilings | None = None,
    gate: Gate | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until ``stop`` is requested, then drain and return; ready with its health address.

    What a window's end forbids gets ``grace_s`` seconds.  Cancelling stops at once: what runs is killed, and reported
    as lost at the next start.

    Raises:
        RefusedError: the gateway does not accept this node's token.
        EdgeAgentError: something else that a person has to put right.
    """
    outbox, gate = Outbox(), gate or Gate()
    async with trio.open_nursery() as link_ring:
        keeper = around.receipts
        sender = Sender(
            link_ring, outbox, around.spool, around.upload, chance.rng(), credited=around.credited, receipts=keeper
        )
        unsent = await around.spool.recover()
        if keeper is not None:
            keeper.expect(await around.spool.terms())
        for result in unsent:
            if result.outcome is Outcome.LOST:
                about = {"job_id": result.job_id, "attempt_id": result.attempt_id}
                log.warning("Job lost when the node ended; the gateway is told", **about, reason=result.detail)
            sender.deliver(result)
        async with trio.open_nursery() as jobs_ring:
            attempts = Attempts(
                jobs_ring,
                executor,
                around.spool,
                outbox,
                slots=slots,
                announced=announced,
                deliver=sender.deliver,
                ended=[result.attempt_id for result in unsent],
                gpus=gpus,
                fetches=around.fetches,
                refuse=nothing_short if around.disk is None else around.disk.refuse,
                relieve=trio.lowlevel.checkpoint if around.disk is None else around.disk.relieve,
                ceilings=ceilings,
                gate=gate,
                note=functools.partial(_ended, around),
                printed=around.printed,
            )
            if around.disk is not None:
                around.disk.count(lambda: attempts.dispatches, lambda: sender.unsent_bytes)
                link_ring.start_soon(around.disk.run, gate)
            intake_in, intake = trio.open_memory_channel[JobDispatch](_INTAKE)
            agent = Agent(
                attempts=attempts,
                sender=sender,
                credentials=around.credentials,
                intake=intake_in,
                announced=announced,
                slots=slots,
                sandbox_tier=executor.tier,
                gate=gate,
                fetches=around.fetches,
                **(
                    {} if ceilings is None or ceilings.memory_bytes is None else {"memory_bytes": ceilings.memory_bytes}
                ),
            )
            session = Session(agent, outbox)
            link = Relay(
                around.connect, session, sender, Backoff(chance.rng()), prove=around.prove, clocks=around.clocks
            )
            link_ring.start_soon(around.credentials.run)
            health_url = await link_ring.start(around.health, link.is_up)
            link_ring.start_soon(link.run)
            link_ring.start_soon(windows.run, gate, attempts, announced, grace_s)
            for watch in around.watches:
                link_ring.start_soon(watch, Parts(agent, attempts, sender, session, gate, stop, around.spool, link))
            log.info("Node started", health=health_url)
            task_status.started(health_url)

            async with trio.open_nursery() as intake_ring:
                intake_ring.start_soon(_take_in, intake, attempts)
                await stop.wait()
                log.info("Draining", running=len(attempts.running), grace_s=stop.left_s, reason=stop.reason)
                gate.stop(stop.reason)
                link.drain(stop.reason)
                intake_ring.cancel_scope.cancel()
            _close_intake(intake, attempts)
            with stop.patience():
                await attempts.idle()
            attempts.stop_all("the node was stopped before the job ended")
            jobs_ring.cancel_scope.deadline = trio.current_time() + KILL_S
        with trio.move_on_after(FLUSH_S):
            await sender.flushed()
        await link.leave("the node has stopped")
        link_ring.cancel_scope.cancel()
    log.info("Stopped", undelivered=len(tuple(sender)))


def _ended(around: Surroundings, dispatch: JobDispatch, result: JobResult) -> None:
    if around.receipts is not None:
        around.receipts.ended(dispatch)
    around.ended(dispatch, result)


async def _take_in(intake: trio.MemoryReceiveChannel[JobDispatch], attempts: Attempts) -> None:
    async for dispatch in intake:
        attempts.take(dispatch)


def _close_intake(intake: trio.MemoryReceiveChannel[JobDispatch], attempts: Attempts) -> None:
    """From here on the session declines; so is what has arrived and was not taken."""
    with contextlib.suppress(trio.WouldBlock):
        while True:
            attempts.decline(intake.receive_nowait(), STOPPING)
    intake.close()
