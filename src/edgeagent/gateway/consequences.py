"""What follows from an event once it is on disk: who is told, what is dispatched again, what it says about nodes.

The hub calls these after its own call of the store.  An event that leads to another one (an attempt that its node has
forgotten, a node that failed too often) is stored here in its turn, and told after that.
"""

from __future__ import annotations

import structlog

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.dispatcher import Dispatcher
from edgeagent.gateway.feeds import Feeds
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.network import Network
from edgeagent.gateway.notary import Notary
from edgeagent.gateway.registry import Changed
from edgeagent.gateway.store import Store, jobs, nodes
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
                await self._store.write(keep_lines, applied.stop.attempt_id, lines)
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
        failures = {one: registry[one].failures for one in touched if registry[one].failures != before[one]}
        if failures:
            await self._store.write(nodes.record_failures, failures)
        await self.record(changes)

    async def record(self, changes: list[Changed]) -> None:
        """Nodes have changed state."""
        if not changes:
            return
        await self._store.write(nodes.record, changes)
        for change in changes:
            log.info("Node changed state", node_id=change.node_id, state=change.state.value, cause=change.cause)
        self._wake.now()
