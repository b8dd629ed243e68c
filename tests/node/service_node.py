"""A whole node against a scripted gateway: real sockets, real spool, a stand-in for the sandbox."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio

import plain_http
from edgeagent.node import service
from edgeagent.node.config import Identity
from edgeagent.node.controller import Controller
from edgeagent.node.executor import Finished
from edgeagent.node.options import sections
from edgeagent.node.options.settings import Settings
from edgeagent.node.slots import GpuRules
from edgeagent.node.stopping import Stop
from edgeagent.wire.messages import JobDispatch, JobProgress, Outcome

NODE_ID = "00000000-0000-4000-8000-000000000001"


class StandIn:
    """Runs attempts until the test lets them end."""

    tier = "stand-in"
    shows_inputs = False

    def __init__(self) -> None:
        self.let_go = trio.Event()
        self.started = trio.Event()
        self.killed = False

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        progress(JobProgress(attempt_id=dispatch.attempt_id, log=("hello from the job",)))
        self.started.set()
        try:
            async with trio.open_nursery() as nursery:
                for event in (self.let_go, stop):
                    nursery.start_soon(self._until, event, nursery.cancel_scope)
        except BaseException:
            self.killed = True
            raise
        return Finished(outcome=Outcome.CANCELLED if stop.is_set() else Outcome.COMPLETED, value=dispatch.payload)

    async def _until(self, event: trio.Event, scope: trio.CancelScope) -> None:
        await event.wait()
        scope.cancel()


def settings(*, grace_s: float = 60.0, port: int = 0) -> Settings:
    """Return a node's settings, with two slots."""
    return Settings(
        share=sections.Share(slots=2),
        health=sections.Health(port=port),
        shutdown=sections.Shutdown(grace_s=grace_s),
    )


class Node:
    """A running node and the ways to end it."""

    def __init__(self, config: Identity) -> None:
        self.config = config
        self.executor = StandIn()
        self.stop = Stop()
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.health_url = ""
        self.grace_s = 60.0
        self.lent = GpuRules()

    async def run(self, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await service.run(
                self.config,
                settings(grace_s=self.grace_s),
                self.executor,
                ("echo",),
                stop=self.stop,
                lent=self.lent,
                task_status=task_status,
            )
        self.ended.set()

    async def health(self) -> dict[str, Any]:
        async with plain_http.client() as client:
            document: dict[str, Any] = (await client.get(self.health_url)).json()
            return document


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Fail where it takes too long."""
    with trio.fail_after(20):
        yield


def dispatch() -> JobDispatch:
    """Return a job for the stand-in."""
    return JobDispatch(job_id=str(uuid.uuid4()), attempt_id=str(uuid.uuid4()), job_type="echo", payload={"a": 1})


async def owners_view(config: Identity) -> dict[str, Any]:
    """Return what a running node tells its owner."""

    def ask() -> dict[str, Any]:
        with Controller(config.home) as controller:
            state: dict[str, Any] = controller.ask("state")["state"]
            return state

    return await trio.to_thread.run_sync(ask)
