"""What the gateway does when something happens: one function for each event, first in the store, then in memory.

The relay and the REST controllers call these; so do the sweeps.  The order is the rule: an event counts once it is on
disk, and only then is anybody told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs
import structlog
import trio

from edgeagent.gateway.auth import NodeTokens
from edgeagent.gateway.blobs import Blobs
from edgeagent.gateway.collector import Collector
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.consequences import Consequences
from edgeagent.gateway.dialect import Unfinished
from edgeagent.gateway.dispatcher import Dispatcher
from edgeagent.gateway.feeds import Feeds
from edgeagent.gateway.limits import Limiter, Rate
from edgeagent.gateway.members import Members
from edgeagent.gateway.metrics import Histogram
from edgeagent.gateway.network import Network, Session
from edgeagent.gateway.notary import Notary
from edgeagent.gateway.store import Store, Tx, audit, checks, intake, jobs, nodes, queue, submissions, verdicts
from edgeagent.gateway.store.flights import Applied, Flight, Progress, Start, Told
from edgeagent.gateway.store.intake import Stored
from edgeagent.gateway.store.queue import Started
from edgeagent.gateway.store.submissions import Key, New, Submitted
from edgeagent.gateway.store.views import JobView
from edgeagent.gateway.texts import one_line
from edgeagent.gateway.uploads import Uploads
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
    JobVerdict,
    NodeState,
    Welcome,
)

log = structlog.get_logger()

#: Most different needs that the waiting jobs of one account may have: each takes a place in every round of dispatch.
MAX_LANES = 64


class TooManyNeedsError(Exception):
    """The account's waiting jobs would have more than ``MAX_LANES`` different needs."""


class NobodyFreeError(Exception):
    """No node can take the job now."""


class Hub:
    """All parts of one running gateway."""

    def __init__(
        self, *, settings: GatewaySettings, store: Store, blobs: Blobs, tokens: NodeTokens, network: Network
    ) -> None:
        self.settings, self.store, self.blobs, self.tokens, self.network = settings, store, blobs, tokens, network
        self.wake = Wake()
        self.unfinished = Unfinished()  # of nodes that speak the other dialect
        self.feeds = Feeds()
        self.streams: Counter[str] = Counter()  # open event streams, by account
        self.dispatch_latency = Histogram(0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0)
        self._dispatcher = Dispatcher(store, network)
        self._notary = Notary(store, network, tokens)
        self._after = Consequences(store, network, self.feeds, self._dispatcher, self.wake, self._notary)
        self._ahead_s = store.clock() - trio.current_time()
        self.openings = Limiter(Rate.of(settings.ceilings.links_each))  # links, by node
        self.members = Members(settings, store, tokens, network)
        self.uploads = Uploads(store, blobs, settings.parts, settings.quota_bytes)
        self.collector = Collector(store, blobs, self.uploads, settings.keep_outputs_s)

    async def load(self) -> None:
        """Remember what the store knows from before: nodes, and attempts in flight, which get a fresh lease."""
        now = trio.current_time()
        await self.members.load()
        for flight in await self.store.read(queue.open_attempts):
            self.network.fly(flight, now)
        self.network.doubted = await self.store.read(checks.doubted)

    def steady(self) -> float:
        """Return the time, in seconds since the epoch, on a clock that goes on steadily when the wall clock is set."""
        return self._ahead_s + trio.current_time()

    # Submitters

    async def submit(self, account_id: str, batch: Sequence[New], key: Key | None = None) -> tuple[list[JobView], bool]:
        """Store jobs, have them dispatched, and return them, and whether that had been done before.

        Raises what ``store.submissions.submit`` does, and:

        Raises:
            TooManyNeedsError: the account's waiting jobs ask for too many different things.
        """
        done, _ = await self._submit(account_id, batch, key)
        return done.found, done.submitted.replayed

    async def start(self, account_id: str, new: New) -> str:
        """Store a job and give it to a node, in one transaction; return the node's id.

        Raises what ``submit`` does, and:

        Raises:
            NobodyFreeError: no node can take it now; nothing was stored.
        """
        _, flight = await self._submit(account_id, [new], None, now=True)
        assert flight is not None
        return flight.node_id

    async def _submit(
        self, account_id: str, batch: Sequence[New], key: Key | None, *, now: bool = False
    ) -> tuple[Stored, Flight | None]:
        """Return what was stored, and the attempt that was started with it, if any; ``now`` where one has to be."""
        backlog, new_needs = self.network.backlog, {new.need for new in batch}
        unknown = sum(not backlog.has(account_id, need) for need in new_needs)
        if unknown and backlog.lanes(account_id) + unknown > MAX_LANES:
            raise TooManyNeedsError
        done = flight = started = None
        with trio.CancelScope(shield=True):  # what reached the store must reach memory too
            flight = self._dispatcher.at_once(batch[0]) if len(batch) == 1 else None
            if flight is None and now:
                raise NobodyFreeError
            try:
                done = await self._store_jobs(account_id, batch, key, flight)
                started = done.started
            finally:
                if flight is not None and started is None:  # it was refused, or had been submitted before
                    self.network.land(flight.node_id, flight.attempt_id)
                    self.wake.now()
            self._queued(done.submitted, started)
            if flight is not None and started is not None:
                await self._hand_out(flight, started)
        assert done is not None  # nobody cancels that scope
        return done, None if started is None else flight

    async def _store_jobs(
        self, account_id: str, batch: Sequence[New], key: Key | None, flight: Flight | None
    ) -> Stored:
        try:
            return await self.store.write(intake.take, account_id, batch, self.steady(), key, flight)
        except submissions.KeyRacedError:
            return await self.store.write(intake.take, account_id, batch, self.steady(), key, flight)

    async def requeue(self, job_id: str, account_id: str | None = None) -> tuple[str, bool]:
        """Submit a dead letter again; return the new job's id, and whether that had been done before.

        Raises what ``store.submissions.requeue`` does.
        """
        submitted = await self.store.write(_requeue, job_id, self.steady(), account_id)
        self._queued(submitted)
        return submitted.job_ids[0], submitted.replayed

    def rung(self) -> None:
        """The owner has stored something with a command: an order for the nodes, or a job."""
        self.members.ordered.now()
        self._dispatcher.tell()
        self.wake.now()

    async def cancel(self, job_id: str, account_id: str | None = None) -> bool:
        """Cancel a job; False if it has ended already.  Raises what ``store.jobs.cancel`` does."""
        applied = await self.store.write(_cancel, job_id, account_id)
        await self._after.applied(applied)
        return applied is not None

    # Nodes

    async def heard(self, node_id: str) -> None:
        """A node says by REST that it is alive."""
        await self._after.record(self.network.heard(node_id, trio.current_time()))

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
        # What is not accepted yet: the JobAccept was lost with the last link.
        await self._accept(node_id, [attempt_id for attempt_id in keep if not flights[attempt_id].accepted])
        for attempt_id, flight in flights.items():
            if attempt_id not in keep:
                await self._after.forgotten(flight)
        self._notary.met(node_id, await self.store.write(_greet, node_id, hello.capabilities))
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
        free, before = self.network.pool[node_id].free, self.network.pool[node_id].closed
        changes, strangers = self.network.beat(node_id, beat, trio.current_time())
        await self._after.record(changes)
        for attempt_id in sorted(strangers):
            session.send(JobCancel(attempt_id=attempt_id, reason="the job does not wait for this attempt any more"))
        health = self.network.registry[node_id]
        session.send(
            HeartbeatAck(
                seq=beat.seq,
                state=health.state,
                token=token,
                probation=health.probation,
                no_work=self.network.no_work(node_id),
            )
        )
        if self.network.pool[node_id].free > free or before - frozenset(beat.not_now):
            self.wake.now()

    async def accept(self, node_id: str, messages: Sequence[JobAccept], session: Session) -> None:
        """A node starts attempts."""
        for attempt_id in await self._accept(node_id, [message.attempt_id for message in messages]):
            session.send(JobCancel(attempt_id=attempt_id, reason="the job does not wait for this attempt"))

    async def decline(self, node_id: str, message: JobDecline) -> None:
        """A node does not start an attempt."""
        reason = f"declined: {message.reason}"
        await self._after.applied(await self.store.write(jobs.give_back, message.attempt_id, node_id, reason))
        self.network.land(node_id, message.attempt_id)
        self.wake.now()

    def progress(self, node_id: str, message: JobProgress) -> None:
        """A node says how far an attempt is."""
        flight = self.network.flight(message.attempt_id)
        if flight is not None and flight.node_id == node_id:
            text = one_line(message.text)
            self.network.progress[message.attempt_id] = Progress(message.fraction, text)
            self.feeds.progressed(flight.job_id, message.attempt_id, message.fraction, text)
            self.feeds.printed(flight.job_id, message.attempt_id, message.log)

    async def result(self, node_id: str, messages: Sequence[JobResult], session: Session) -> None:
        """A node says how attempts ended; each is acknowledged whatever it was, so that the node can forget it."""
        forged = await self._notary.forged(node_id, messages)
        told = [
            Told(node_id, message, self._progress(message), wrong)
            for message, wrong in zip(messages, forged, strict=True)
        ]
        answers = await self.store.write_all(jobs.finish, told)
        self.network.land(node_id, *(message.attempt_id for message in messages))
        for message, answer in zip(messages, answers, strict=True):
            if answer is None:
                log.warning(
                    "Result of an attempt that the node never had", node_id=node_id, attempt_id=message.attempt_id
                )
            session.send(self._notary.acknowledge(message, answer))
        for answer in answers:
            if answer is not None and answer.applied is not None:
                await self._after.applied(answer.applied)
                await self._after.judge(node_id, answer.applied)
        self.wake.now()

    async def verdicts(self, node_id: str, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        """A node asks what became of results that were held: it may have had no link when that was said."""
        found = await self.store.read(verdicts.of_node, node_id, attempt_ids)
        return [self._notary.tell(news) for news in found]

    def _progress(self, message: JobResult) -> Progress:
        said = self.network.progress.get(message.attempt_id, Progress())
        return attrs.evolve(said, lines=self.feeds.tail(message.job_id, message.attempt_id))

    # Time

    async def sweep(self) -> None:
        """Do what is due: leases that ended, nodes that fell silent."""
        now = trio.current_time()
        await self._notary.close()
        await self._expire(self.network.expired(now))
        if late := await self.store.read(queue.overdue, self.steady()):
            for applied in await self.store.write(jobs.expire, late):
                await self._after.applied(applied)
        await self._after.record(self.network.silent(now))

    async def dispatch(self) -> bool:
        """Give waiting jobs to free slots; return whether there may be more of both."""
        started = await self._dispatcher.round()
        for flight, job in started:
            await self._hand_out(flight, job)
        return bool(started)

    # What follows

    async def _hand_out(self, flight: Flight, job: Started) -> None:
        """An attempt is stored: send it to its node."""
        self.feeds.changed(flight.job_id)
        if job.waited_s is not None:
            self.dispatch_latency.observe(job.waited_s)
        if self.network.flight(flight.attempt_id) is None:
            return  # cancelled since
        self.network.priced(flight.attempt_id, job.price_ucr)
        session = self.network.session(flight.node_id)
        if session is None:
            await self._after.forgotten(flight)
        else:
            session.send(_dispatch(flight, job))

    def _queued(self, submitted: Submitted, started: Started | None = None) -> None:
        waiting = [job for job in submitted.waiting if started is None or job.job_id != started.job_id]
        for job in waiting:
            self.network.backlog.add(job)
        if waiting:
            self.wake.now()

    async def _accept(self, node_id: str, attempt_ids: Sequence[str]) -> list[str]:
        """Store that a node starts attempts; return those that it should not start."""
        starts = [Start(attempt_id, node_id) for attempt_id in attempt_ids]
        accepted = await self.store.write_all(jobs.accept, starts)
        for attempt_id, should in zip(attempt_ids, accepted, strict=True):
            flight = self.network.flight(attempt_id)
            if should and flight is not None:
                self.network.accepted(attempt_id, trio.current_time())
                self.feeds.changed(flight.job_id)
        return [attempt_id for attempt_id, should in zip(attempt_ids, accepted, strict=True) if not should]

    async def _expire(self, expired: list[Flight]) -> None:
        try:
            while expired:
                flight = expired[0]
                revoked = self.network.registry[flight.node_id].state is NodeState.REVOKED
                reason = "its node was revoked" if revoked else "the lease ended without a word from the node"
                applied = await self._after.lose(flight, reason)
                del expired[0]
                if applied is not None:
                    self._after.stop(flight.attempt_id, flight.node_id, reason)
                    await self._after.applied(applied)
        finally:
            # What could not be stored is still open on disk: without a lease nobody would look at it again.
            self.network.renew([flight.attempt_id for flight in expired], trio.current_time())


def _greet(tx: Tx, node_id: str, capabilities: Sequence[str]) -> str:
    """Store what a node can do now, and return its key."""
    nodes.offer(tx, node_id, capabilities)
    return nodes.public_key(tx, node_id) or ""


def _requeue(tx: Tx, job_id: str, steady_now: float, account_id: str | None) -> Submitted:
    submitted = submissions.requeue(tx, job_id, steady_now, account_id)
    if not submitted.replayed:
        audit.record(tx, _actor(account_id), "job.requeue", job_id, f"as {submitted.job_ids[0]}")
    return submitted


def _cancel(tx: Tx, job_id: str, account_id: str | None) -> Applied | None:
    applied = jobs.cancel(tx, job_id, account_id)
    if applied is not None:
        audit.record(tx, _actor(account_id), "job.cancel", job_id)
    return applied


def _actor(account_id: str | None) -> str:
    return "owner" if account_id is None else f"account {account_id}"


def _dispatch(flight: Flight, job: Started) -> JobDispatch:
    return JobDispatch(
        job_id=job.job_id,
        attempt_id=flight.attempt_id,
        job_type=job.job_type,
        payload=job.payload,
        payload_ref=job.payload_ref,
        inputs=job.inputs,
        limits=job.limits,
        price_ucr=job.price_ucr,
    )
