"""What the gateway does when something happens: one function for each event, first in the store, then in memory.

The relay and the REST controllers call these; so do the sweeps.  The order is the rule: an event counts once it is on
disk, and only then is anybody told.
"""

from __future__ import annotations

import uuid

import attrs
import structlog
import trio

from edgeagent.gateway import jobs as rules
from edgeagent.gateway.auth import NodeTokens
from edgeagent.gateway.blobs import Blobs
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.dialect import Unfinished
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.members import Members
from edgeagent.gateway.network import Network, Session
from edgeagent.gateway.registry import Changed
from edgeagent.gateway.store import Store, Tx, jobs, nodes, queue, views
from edgeagent.gateway.store.jobs import Applied, Flight, New, Progress
from edgeagent.gateway.store.views import JobView
from edgeagent.gateway.texts import one_line
from edgeagent.gateway.wake import Wake
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import (
    Heartbeat,
    HeartbeatAck,
    Hello,
    JobAccept,
    JobCancel,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    Outcome,
    Welcome,
)

log = structlog.get_logger()


@attrs.frozen(kw_only=True)
class Hub:
    """All parts of one running gateway."""

    settings: GatewaySettings
    store: Store
    blobs: Blobs
    tokens: NodeTokens
    network: Network
    wake: Wake = attrs.Factory(Wake)
    unfinished: Unfinished = attrs.Factory(Unfinished)  # of nodes that speak the other dialect
    members: Members = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # Not a default of the field: Litestar's msgspec refuses those that need the object.
        object.__setattr__(self, "members", Members(self.settings, self.store, self.tokens, self.network))

    async def load(self) -> None:
        """Remember what the store knows from before: nodes, and attempts in flight, which get a fresh lease."""
        now = trio.current_time()
        await self.members.load()
        for flight in await self.store.read(queue.open_attempts):
            self.network.fly(flight, now)

    # Submitters

    async def submit(self, new: New) -> JobView:
        """Store a job, have it dispatched, and return it; raises what ``store.jobs.submit`` does."""
        job = await self.store.write(_submit, new)
        self.wake.now()
        return job

    async def cancel(self, account_id: str, job_id: str) -> bool:
        """Cancel a job; False if it has ended already.  Raises what ``store.jobs.cancel`` does."""
        applied = await self.store.write(jobs.cancel, account_id, job_id)
        if applied is not None:
            self._applied(applied)
        return applied is not None

    # Nodes

    async def heard(self, node_id: str) -> None:
        """A node says by REST that it is alive."""
        await self._record(self.network.heard(node_id, trio.current_time()))

    async def greet(self, node_id: str, hello: Hello, session: Session, token: str | None) -> Welcome:
        """A node opened a link: sort out what it still holds, and return what to answer."""
        flights = {flight.attempt_id: flight for flight in self.network.flights_of(node_id)}
        keep = tuple(attempt_id for attempt_id in hello.held if attempt_id in flights)
        older = self.network.link(node_id, hello, session)
        if self.members.is_drained(node_id):
            self.network.drain(node_id)
        if older is not None:
            older.close(CloseCode.REPLACED, "a newer link of the same node")
        self.network.renew(keep, trio.current_time())
        for attempt_id in keep:
            if not flights[attempt_id].accepted:  # the JobAccept was lost with the last link
                await self._accept(node_id, attempt_id)
        for attempt_id in flights.keys() - set(keep):
            await self._forgotten(flights[attempt_id])
        await self.store.write(nodes.offer, node_id, hello.capabilities)
        self.wake.now()
        return Welcome(
            heartbeat_s=self.settings.heartbeat_s,
            lease_s=self.settings.lease_s,
            keep=keep,
            drop=tuple(attempt_id for attempt_id in hello.held if attempt_id not in flights),
            token=token,
        )

    async def beat(self, node_id: str, beat: Heartbeat, session: Session, token: str | None) -> None:
        """A linked node is alive, and says how it is."""
        free = self.network.pool[node_id].free
        changes, strangers = self.network.beat(node_id, beat, trio.current_time())
        await self._record(changes)
        for attempt_id in strangers:
            session.send(JobCancel(attempt_id=attempt_id, reason="the job does not wait for this attempt any more"))
        session.send(HeartbeatAck(seq=beat.seq, state=self.network.registry[node_id].state, token=token))
        if self.network.pool[node_id].free > free:
            self.wake.now()

    async def accept(self, node_id: str, message: JobAccept, session: Session) -> None:
        """A node starts an attempt."""
        if not await self._accept(node_id, message.attempt_id):
            session.send(JobCancel(attempt_id=message.attempt_id, reason="the job does not wait for this attempt"))

    async def decline(self, node_id: str, message: JobDecline) -> None:
        """A node does not start an attempt."""
        reason = f"declined: {message.reason}"
        self._applied(await self.store.write(jobs.give_back, message.attempt_id, node_id, reason))
        self.network.land(message.attempt_id, node_id)
        self.wake.now()

    def progress(self, node_id: str, message: JobProgress) -> None:
        """A node says how far an attempt is."""
        flight = self.network.flight(message.attempt_id)
        if flight is not None and flight.node_id == node_id:
            self.network.progress[message.attempt_id] = Progress(message.fraction, one_line(message.text))

    async def result(self, node_id: str, message: JobResult, session: Session) -> None:
        """A node says how an attempt ended; it is acknowledged whatever it was, so that the node can forget it."""
        progress = self.network.progress.get(message.attempt_id, Progress())
        answer = await self.store.write(jobs.finish, node_id, message, progress)
        self.network.land(message.attempt_id, node_id)
        if answer is None:
            log.warning("Result of an attempt that the node never had", node_id=node_id, attempt_id=message.attempt_id)
        session.send(JobResultAck(attempt_id=message.attempt_id, credited_ucr=answer.credited_ucr if answer else 0))
        if answer is not None and answer.applied is not None:
            self._applied(answer.applied)
            await self._judge(node_id, answer.applied)
        self.wake.now()

    # Time

    async def sweep(self) -> None:
        """Do what is due: leases that ended, nodes that fell silent."""
        now = trio.current_time()
        for flight in self.network.expired(now):
            reason = "the lease ended without a word from the node"
            self._stop(flight, reason)
            self._applied(await self.store.write(jobs.lose, flight.attempt_id, flight.node_id, reason))
        await self._record(self.network.silent(now))

    async def dispatch(self) -> bool:
        """Give waiting jobs to free slots; return whether there may be more of both."""
        free_slots = self.network.pool.free_slots()
        if not free_slots:
            return False
        assigned: list[tuple[Flight, JobDispatch]] = []
        for job in await self.store.read(queue.ready, free_slots):
            node_id = self.network.pool.take(job.job_type, job.avoid)
            if node_id is not None:
                flight = Flight(str(uuid.uuid4()), job.job_id, node_id)
                self.network.fly(flight, trio.current_time())
                assigned.append((flight, _dispatch(job, flight)))
        if not assigned:
            return False
        started: set[str] = set()
        try:
            started = await self.store.write(queue.start, [flight for flight, _ in assigned])
        finally:
            for flight, _ in assigned:
                if flight.attempt_id not in started:
                    self.network.land(flight.attempt_id, flight.node_id)
        for flight, dispatch in assigned:
            if flight.attempt_id in started and self.network.flight(flight.attempt_id) is not None:
                session = self.network.session(flight.node_id)
                if session is None:
                    await self._forgotten(flight)
                else:
                    session.send(dispatch)
        return True

    # What follows

    async def _accept(self, node_id: str, attempt_id: str) -> bool:
        accepted = await self.store.write(jobs.accept, attempt_id, node_id)
        if accepted:
            self.network.accepted(attempt_id, trio.current_time())
        return accepted

    async def _forgotten(self, flight: Flight) -> None:
        """The node does not hold the attempt: it never got it, or lost it."""
        self.network.land(flight.attempt_id, flight.node_id)
        if flight.accepted:
            request, reason = jobs.lose, "the node came back without it"
        else:
            request, reason = jobs.give_back, "the dispatch did not reach the node"
        self._applied(await self.store.write(request, flight.attempt_id, flight.node_id, reason))

    def _stop(self, flight: Flight, reason: str) -> None:
        self.network.disown(flight)
        session = self.network.session(flight.node_id)
        if session is not None:
            session.send(JobCancel(attempt_id=flight.attempt_id, reason=reason))

    def _applied(self, applied: Applied | None) -> None:
        if applied is None:
            return
        if applied.stop is not None:
            self._stop(applied.stop, "the job does not wait for this attempt any more")
        if applied.pause_s is not None:
            self.wake.after(applied.pause_s)
        if applied.job is not JobState.QUEUED:
            log.debug("Job changed", job_id=applied.job_id, state=applied.job.value)

    async def _judge(self, node_id: str, applied: Applied) -> None:
        """What the outcome says about the node, and about others where the job failed before."""
        registry = self.network.registry
        touched = [node_id, *applied.elsewhere]
        before = {one: registry[one].failures for one in touched}
        changes: list[Changed] = []
        if applied.outcome is Outcome.COMPLETED:
            self.network.succeeded(node_id)
        elif applied.outcome in rules.BLAMED:
            changes = self.network.failed(node_id, applied.job_id, applied.elsewhere)
        failures = {one: registry[one].failures for one in touched if registry[one].failures != before[one]}
        if failures:
            await self.store.write(nodes.record_failures, failures)
        await self._record(changes)

    async def _record(self, changes: list[Changed]) -> None:
        if not changes:
            return
        await self.store.write(nodes.record, changes)
        for change in changes:
            log.info("Node changed state", node_id=change.node_id, state=change.state.value, cause=change.cause)
        self.wake.now()


def _submit(tx: Tx, new: New) -> JobView:
    jobs.submit(tx, new)
    job = views.show(tx, new.account_id, new.job_id)
    assert job is not None
    return job


def _dispatch(job: queue.Ready, flight: Flight) -> JobDispatch:
    return JobDispatch(
        job_id=job.job_id,
        attempt_id=flight.attempt_id,
        job_type=job.job_type,
        payload=job.payload,
        limits=job.limits,
        price_ucr=job.price_ucr,
    )
