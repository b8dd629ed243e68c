"""The node as a whole: what is started in which order, and how it stops.

Three nurseries in reverse order of stopping: the link ring (relay, health, sender, tokens) outlives the jobs ring,
which outlives the intake ring.  Stopping is one sequence: say drain, close the intake, give the jobs a deadline,
deliver what is in the spool, say bye.  The zygote is started before anything secret is read.
"""

from __future__ import annotations

import contextlib
import functools
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import structlog
import trio

from edgeagent.errors import EdgeAgentError
from edgeagent.node import health
from edgeagent.node.agent import STOPPING, Agent
from edgeagent.node.api import Api
from edgeagent.node.attempts import Attempts
from edgeagent.node.capabilities import announce
from edgeagent.node.config import NodeConfig
from edgeagent.node.credentials import Credentials
from edgeagent.node.executor import Executor
from edgeagent.node.outbox import Outbox
from edgeagent.node.relay import Relay
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.sender import Sender
from edgeagent.node.session import Session
from edgeagent.node.spool import open_spool
from edgeagent.node.transport import Connect, connect
from edgeagent.plugins.loading import discover
from edgeagent.plugins.probe import available
from edgeagent.wire.messages import JobDispatch, Output

log = structlog.get_logger()

#: Seconds running jobs get after the first signal: as long as a job may take by the guide's default limit.
GRACE_S = 300.0
#: Seconds that a job asked to stop may take; its supervisor kills it well before.
KILL_S = 15.0
#: Seconds that results may take to be delivered at the end; what is left stays in the spool for the next start.
FLUSH_S = 10.0
#: Dispatches that wait for the intake; the gateway never sends more than there are free slots.
_INTAKE = 64


async def run(
    config: NodeConfig,
    executor: Executor,
    announced: tuple[str, ...],
    *,
    stop: trio.Event,
    grace_s: float = GRACE_S,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until ``stop`` is set, then drain and return; ready with its health address.

    Cancelling stops at once: running jobs are killed, and reported as lost at the next start.

    Raises:
        RefusedError: the gateway does not accept this node's token.
        EdgeAgentError: something else that a person has to put right; the port in use, for example.
    """
    credentials = Credentials(config.token, config.home if config.token_in_file else None)
    outbox = Outbox()
    with _one_fault(), contextlib.closing(health.listen(config.health_host, config.health_port)) as listener:
        async with (
            open_spool(config.home, config.node_id) as spool,
            Api(config.gateway) as api,
            trio.open_nursery() as link_ring,
        ):
            upload = functools.partial(_upload, api, credentials)
            sender = Sender(link_ring, outbox, spool, upload)
            unsent = await spool.recover()
            for result in unsent:
                sender.deliver(result)
            async with trio.open_nursery() as jobs_ring:
                attempts = Attempts(
                    jobs_ring,
                    executor,
                    spool,
                    outbox,
                    slots=config.slots,
                    announced=announced,
                    deliver=sender.deliver,
                    ended=[result.attempt_id for result in unsent],
                )
                intake_in, intake = trio.open_memory_channel[JobDispatch](_INTAKE)
                agent = Agent(
                    attempts=attempts,
                    sender=sender,
                    credentials=credentials,
                    intake=intake_in,
                    announced=announced,
                    slots=config.slots,
                    sandbox_tier=executor.tier,
                )
                link = Relay(_connect(config, credentials), Session(agent, outbox), sender)
                link_ring.start_soon(credentials.run)
                health_url = await link_ring.start(health.run, listener, link.is_up)
                link_ring.start_soon(link.run)
                log.info("Node started", node_id=config.node_id, gateway=str(config.gateway), health=health_url)
                task_status.started(health_url)

                async with trio.open_nursery() as intake_ring:
                    intake_ring.start_soon(_take_in, intake, attempts)
                    await stop.wait()
                    log.info("Draining", running=len(attempts.running), grace_s=grace_s)
                    link.drain("the node is being stopped")
                    intake_ring.cancel_scope.cancel()
                _close_intake(intake, attempts)
                with trio.move_on_after(grace_s):
                    await attempts.idle()
                attempts.stop_all("the node was stopped before the job ended")
                jobs_ring.cancel_scope.deadline = trio.current_time() + KILL_S
            with trio.move_on_after(FLUSH_S):
                await sender.flushed()
            await link.leave("the node has stopped")
            link_ring.cancel_scope.cancel()
    log.info("Stopped", undelivered=len(tuple(sender)))


async def _take_in(intake: trio.MemoryReceiveChannel[JobDispatch], attempts: Attempts) -> None:
    async for dispatch in intake:
        attempts.take(dispatch)


def _close_intake(intake: trio.MemoryReceiveChannel[JobDispatch], attempts: Attempts) -> None:
    """From here on the session declines; so is what has arrived and was not taken."""
    with contextlib.suppress(trio.WouldBlock):
        while True:
            attempts.decline(intake.receive_nowait(), STOPPING)
    intake.close()


def _connect(config: NodeConfig, credentials: Credentials) -> Connect:
    """Open the link with whatever token is in use at that moment."""
    return lambda: connect(config.gateway.relay(config.node_id), credentials.token)


async def _upload(api: Api, credentials: Credentials, attempt_id: str, output: Output, path: Path) -> None:
    await api.put_output(credentials.token, attempt_id, output, path)


@contextlib.contextmanager
def _one_fault() -> Iterator[None]:
    """Take the fault that a person can act on out of the groups that nurseries put around it."""
    fault: EdgeAgentError | None = None
    try:
        yield
    except* EdgeAgentError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, EdgeAgentError)
        fault = error
    if fault is not None:
        raise fault


def main(load_config: Callable[[], NodeConfig], plugin_dir: Path) -> int:
    """Run the node that ``load_config`` describes until a signal ends it; return the exit code.

    The first SIGTERM or SIGINT drains, the second one stops at once.

    Args:
        load_config: reads the secrets, and so is called after the sandbox's zygote has been started.
        plugin_dir: the operator's own plugins; need not exist.

    Raises:
        EdgeAgentError: what a person has to put right.
    """
    found = discover(plugin_dir)
    for error in found.errors:
        log.warning("Plugin not usable", reason=error)
    with zygote_for(plugin_dir) as zygote:
        offer = available(found.plugins)
        config = load_config()
        announced, missing = announce(config.capabilities, found.plugins, offer.reasons)
        for reason in missing:
            log.warning("Capability not offered", reason=reason)
        return trio.run(_run_until_signal, config, SandboxExecutor(zygote), announced)


async def _run_until_signal(config: NodeConfig, executor: Executor, announced: tuple[str, ...]) -> int:
    stop = trio.Event()
    with _one_fault(), trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, stop, nursery.cancel_scope)
            await run(config, executor, announced, stop=stop)
            nursery.cancel_scope.cancel()
            return 0
    log.warning("Stopped at once")
    return 1


async def _obey(signals: AsyncIterator[int], stop: trio.Event, everything: trio.CancelScope) -> None:
    async for number in signals:
        log.info("Signal received", signal=signal.Signals(number).name)
        if stop.is_set():
            everything.cancel()
        stop.set()
