"""An executor that has a job's payload and inputs fetched first, and then has it run by the sandbox's.

Fetching has a time of its own, which does not count against the job's; a cancel or a drain ends it at once.  What the
submitter got wrong ends the job, what the network does ends this attempt only and speaks against no node.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import attrs
import trio

from edgeagent.node.executor import Executor, Finished
from edgeagent.node.fetch.source import UnreachedError, UnusableError
from edgeagent.node.inputs import Inputs
from edgeagent.wire.messages import JobDispatch, JobProgress, Outcome

#: Seconds between two progress messages while files arrive.
REPORT_S = 1.0


class Confined(Executor, Protocol):
    """An executor that can show a job a directory of input files."""

    make_room: Callable[[int], int]  # drops from the disk what the node can do without; set by ``node.service``

    @property
    def shows_inputs(self) -> bool:
        """Whether it can on this host."""
        ...

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
        inputs: str | None = None,
    ) -> Finished:
        """Run one attempt (see ``Executor.run``); ``inputs`` names what it sees of ``Cache.attempts``."""
        ...


class Supplied:
    """An ``Executor`` in front of one."""

    def __init__(self, executor: Confined, inputs: Inputs, *, fetch_s: float) -> None:
        """Give fetching ``fetch_s`` seconds for each attempt."""
        self._executor, self._inputs, self._fetch_s = executor, inputs, fetch_s

    @property
    def tier(self) -> str:
        """The sandbox's tier."""
        return self._executor.tier

    async def run(
        self,
        dispatch: JobDispatch,
        *,
        progress: Callable[[JobProgress], None],
        stop: trio.Event,
        outputs: Path,
        gpus: tuple[str, ...],
    ) -> Finished:
        """Run one attempt to its end (see ``Executor.run``)."""
        if dispatch.payload_ref is None and not dispatch.inputs:
            return await self._executor.run(dispatch, progress=progress, stop=stop, outputs=outputs, gpus=gpus)
        with self._inputs.held(dispatch):
            try:
                supplied = await self._supply(dispatch, progress, stop)
                if isinstance(supplied, Finished):
                    return supplied
                return await self._executor.run(
                    supplied,
                    progress=progress,
                    stop=stop,
                    outputs=outputs,
                    gpus=gpus,
                    inputs=dispatch.attempt_id if dispatch.inputs else None,
                )
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._inputs.cache.clear_away, dispatch.attempt_id)

    async def _supply(
        self, dispatch: JobDispatch, progress: Callable[[JobProgress], None], stop: trio.Event
    ) -> JobDispatch | Finished:
        """Return the dispatch with its payload, its inputs laid out, or how the attempt ends without them."""
        ended: JobDispatch | Finished = Finished(outcome=Outcome.CANCELLED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when, stop, nursery.cancel_scope)
            nursery.start_soon(self._report, dispatch, progress)
            try:
                with trio.move_on_after(self._fetch_s) as scope:
                    ended = await self._fetch(dispatch)
                if scope.cancelled_caught:
                    ended = _failed(f"fetching took longer than {self._fetch_s:g} s")
            except UnusableError as error:
                ended = Finished(outcome=Outcome.REJECTED, detail=str(error)[:1000])
            except UnreachedError as error:
                ended = _failed(str(error))
            except OSError as error:
                ended = _failed(f"the node cannot store the inputs: {error.strerror or error}")
            nursery.cancel_scope.cancel()
        return ended

    async def _fetch(self, dispatch: JobDispatch) -> JobDispatch:
        payload = await self._inputs.payload(dispatch)
        digests = await self._inputs.fetch(dispatch)
        if digests:
            await trio.to_thread.run_sync(self._inputs.cache.lay_out, dispatch.attempt_id, digests)
        return attrs.evolve(dispatch, payload=payload, payload_ref=None)

    async def _report(self, dispatch: JobDispatch, progress: Callable[[JobProgress], None]) -> None:
        while True:
            progress(JobProgress(attempt_id=dispatch.attempt_id, text=self._inputs.progress(dispatch)))
            await trio.sleep(REPORT_S)


async def _cancel_when(stop: trio.Event, scope: trio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


def _failed(why: str) -> Finished:
    return Finished(outcome=Outcome.FETCH_FAILED, detail=why[:1000])
