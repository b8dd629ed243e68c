"""What follows from an event once it is on disk: who is told, what is dispatched again, what it says about nodes.

The hub calls these after its own call of the store.  An event that leads to another one (an attempt that its node has
forgotten, a node that failed too often) is stored here in its turn, and told after that.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.dispatcher import Dispatcher
from edgeagent.gateway.feeds import Feeds
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.network import Network
from edgeagent.gateway.notary import Notary
from edgeagent.gateway.registry import Changed
from edgeagent.gateway.store import Store, StoreUnavailableError, Tx, jobs, nodes
from edgeagent.gateway.store.changes import keep_lines
from edgeagent.gateway.store.flights import Applied, Flight
from edgeagent.gateway.wake import Wake
from edgeagent.wire.messages import JobCancel, Outcome

log = structlog.get_logger()


class Consequences:
    """What the hub does after each event."""

    def __init__(
        self, store: Store, network: Network, feeds: Feeds, dispatcher: Dispatcher, wake: Wake, notary: Notary
    ) -> None:
        self._store, self._network, self._feeds, self._dispatcher, self._wake = store, network, feeds, dispatcher, wake
        self._notary = notary
        self._changes: list[Changed] = []  # not on disk yet
        self._failures: dict[str, tuple[str, ...]] = {}  # of nodes of which others are on disk
        self._recording: trio.Event | None = None  # set when what is being stored is

    async def forgotten(self, flight: Flight) -> None:
        """The node does not hold the attempt: it never got it, or lost it."""
        if flight.accepted:
            applied = await self.lose(flight, "the node came back without it")
        else:
            reason = "the dispatch did not reach the node"
            applied = await self._store.write(jobs.give_back, flight.attempt_id, flight.node_id, reason)
        self._network.land(flight.node_id, flight.attempt_id)
        await self.applied(applied)

    async def lose(self, flight: Flight, reason: str) -> Applied | None:
        """An attempt is lost; what that did is still to be told, and is None if the attempt is over already."""
        lines = self._feeds.tail(flight.job_id, flight.attempt_id)
        return await self._store.write(jobs.lose, flight.attempt_id, flight.node_id, reason, lines)

    def stop(self, attempt_id: str, node_id: str, reason: str) -> None:
        """Tell a node to stop an attempt that is over for everybody else."""
        self._network.disown(attempt_id, node_id)
        session = self._network.session(node_id)
        if session is not None:
            session.send(JobCancel(attempt_id=attempt_id, reason=reason))

    async def applied(self, applied: Applied | None) -> None:
        """Tell those whom a change in the store concerns."""
        if applied is None:
            return
        if applied.stop is not None:
            lines = self._feeds.tail(applied.job_id, applied.stop.attempt_id)
            self.stop(applied.stop.attempt_id, applied.stop.node_id, applied.stop.reason)
            if lines:
                await self._keep_lines(applied.stop.attempt_id, lines)
        if applied.pause_s is not None:
            self._dispatcher.rest(applied.pause_s)
            self._wake.after(applied.pause_s)
        self._network.doubted.difference_update(applied.right)
        self._network.doubted.update(applied.wrong)
        for news in applied.news:
            session = self._network.session(news.node_id)
            if session is not None:
                session.send(self._notary.tell(news))
        self._feeds.changed(applied.job_id)
        if applied.job is not JobState.QUEUED:
            log.debug("Job changed", job_id=applied.job_id, state=applied.job.value)

    async def judge(self, node_id: str, applied: Applied) -> None:
        """What the outcome says about the node, and about others where the job failed before."""
        registry = self._network.registry
        touched = [node_id, *applied.elsewhere]
        before = {one: registry[one].failures for one in touched}
        changes: list[Changed] = []
        if applied.outcome is Outcome.COMPLETED:
            self._network.succeeded(node_id)
        elif applied.outcome in rules.BLAMED:
            changes = self._network.failed(node_id, applied.job_id, applied.elsewhere)
        self._failures |= {one: registry[one].failures for one in touched if registry[one].failures != before[one]}
        await self.record(changes)

    async def record(self, changes: Sequence[Changed]) -> None:
        """Nodes have changed state.

        Memory knows that first, because they fall silent and come back while nothing can be stored, too.  What could
        not be stored is stored with what comes next, in its order; each sweep tries again.
        """
        self._changes += changes
        if not (self._changes or self._failures):
            return
        with trio.CancelScope(shield=True):  # what is stored must not be stored again
            while self._recording is not None:
                await self._recording.wait()
            if self._changes or self._failures:
                await self._record()
        for change in changes:
            log.info("Node changed state", node_id=change.node_id, state=change.state.value, cause=change.cause)
        if changes:
            self._wake.now()

    async def _record(self) -> None:
        self._recording = trio.Event()
        try:
            changes, failures = await self._store.write(self._write)
        except StoreUnavailableError as error:
            log.warning("How nodes stand is stored later", reason=str(error))
            return
        finally:
            self._recording.set()
            self._recording = None
        del self._changes[: len(changes)]
        for node_id in [one for one, told in failures.items() if self._failures[one] == told]:
            del self._failures[node_id]

    def _write(self, tx: Tx) -> tuple[list[Changed], dict[str, tuple[str, ...]]]:
        """Store what there is by now, which others have added to meanwhile, and return it."""
        changes, failures = list(self._changes), dict(self._failures)
        nodes.record(tx, changes)
        nodes.record_failures(tx, failures)
        return changes, failures

    async def _keep_lines(self, attempt_id: str, lines: Sequence[str]) -> None:
        """Store what a stopped attempt printed; where there is no room for that, its job has ended all the same."""
        try:
            await self._store.write(keep_lines, attempt_id, lines)
        except StoreUnavailableError as error:
            log.warning("Last lines of an attempt are not kept", attempt_id=attempt_id, reason=str(error))
