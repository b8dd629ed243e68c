"""The network as it is right now, in memory: which nodes are linked, how they stand, who works on what.

One object keeps what must agree: the registry's health, dispatch's seats, the attempts in flight and their leases.
Everything here is synchronous and can be had again from the store and the links after a restart; ``hub`` pairs each
change with the one in the store.  Times are seconds on trio's clock, given by the caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

import attrs

from edgeagent.gateway.backlog import Backlog
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.deadlines import Deadlines
from edgeagent.gateway.dispatch import Pool
from edgeagent.gateway.needs import Need, Offer, Taken
from edgeagent.gateway.registry import Changed, Registry
from edgeagent.gateway.standing import Seated
from edgeagent.gateway.store.flights import Flight, Progress
from edgeagent.gateway.trust import operator_of
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import Heartbeat, Hello, Message, NodeState

#: Most attempts that one node gets at once, whatever it offers.
MAX_SLOTS = 1024

_STANDING = {
    NodeState.PENDING: "it waits for the approval of the gateway's owner",
    NodeState.REGISTERED: "it waits for its first heartbeat",
    NodeState.UNHEALTHY: "its last jobs failed, or it was silent for too long",
}


class Session(Protocol):
    """A node's link, as the rest of the gateway sees it; both calls return at once."""

    def send(self, *messages: Message) -> None:
        """Have messages sent in this order; a peer that does not take them loses its link."""

    def close(self, code: CloseCode, reason: str) -> None:
        """End the link."""


@attrs.define(eq=False)
class Linked:
    """A node with an open link.

    ``taken`` is what its attempts in flight take.  ``strangers`` are attempts that it works on although the gateway
    wants them no more, with their needs where those are known; ``extra`` counts its slots that are taken by something
    else; ``closed`` are job types that it does not take at present.  All are as its last heartbeat says, and no work is
    given for them.
    """

    session: Session
    offer: Offer
    taken: Taken
    strangers: dict[str, Need | None] = attrs.Factory(dict)
    extra: int = 0
    closed: frozenset[str] = frozenset()
    draining: bool = False


class Network:
    """All nodes, links and attempts of one gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._lease_s = settings.lease_s
        self.registry = Registry(unhealthy_s=settings.unhealthy_s, offline_s=settings.offline_s)
        self.pool = Pool()
        self.backlog = Backlog()
        self.progress: dict[str, Progress] = {}
        self.doubted: set[str] = set()  # nodes that were wrong last: not asked to check others where others can be
        self._operators: dict[str, str] = {}  # of nodes to which the owner gave a label
        self._linked: dict[str, Linked] = {}
        self._flights: dict[str, Flight] = {}
        self._of_node: dict[str, set[str]] = {}
        self._leases = Deadlines()

    # Links

    def link(self, node_id: str, hello: Hello, session: Session) -> Session | None:
        """Take a node's new link; return the older one that it replaces."""
        older = self._linked.get(node_id)
        offer, taken = self._offer(node_id, hello), Taken()
        for flight in self.flights_of(node_id):
            taken = taken.plus(offer, flight.need)
        foreign = dict.fromkeys(set(hello.held) - self._of_node.get(node_id, set()))
        self._linked[node_id] = Linked(session, offer, taken, foreign)
        self.pool.join(node_id, offer)
        self._seat(node_id)
        return None if older is None else older.session

    def unlink(self, node_id: str, session: Session) -> None:
        """The link is over; one that was replaced already takes nothing with it."""
        linked = self._linked.get(node_id)
        if linked is not None and linked.session is session:
            del self._linked[node_id]
            self.pool.leave(node_id)

    def session(self, node_id: str) -> Session | None:
        """Return a node's link."""
        linked = self._linked.get(node_id)
        return None if linked is None else linked.session

    def sessions(self) -> list[Session]:
        """Return every link."""
        return [linked.session for linked in self._linked.values()]

    def drain(self, node_id: str, draining: bool = True) -> None:
        """Give a node nothing more on its link, or do so again."""
        linked = self._linked.get(node_id)
        if linked is not None:
            linked.draining = draining
            self._seat(node_id)

    def operated(self, node_id: str, label: str) -> None:
        """The owner says who answers for a node; empty for the node itself."""
        if label == self._operators.get(node_id, ""):
            return
        if label:
            self._operators[node_id] = label
        else:
            del self._operators[node_id]
        linked = self._linked.get(node_id)
        if linked is not None:
            linked.offer = attrs.evolve(linked.offer, operator=operator_of(node_id, label))
            self.pool.join(node_id, linked.offer)
            self._seat(node_id)

    def offer(self, node_id: str) -> Offer | None:
        """Return what a linked node has."""
        linked = self._linked.get(node_id)
        return None if linked is None else linked.offer

    def seated(self, node_id: str) -> Seated | None:
        """Return what dispatch knows of a linked node."""
        linked = self._linked.get(node_id)
        if linked is None:
            return None
        seat = self.pool[node_id]
        return Seated(
            slots=linked.offer.slots,
            limit=seat.limit,
            taken=seat.taken.slots,
            load=seat.load,
            draining=linked.draining,
            closed=tuple(sorted(linked.closed)),
        )

    # Health

    def heard(self, node_id: str, now: float) -> list[Changed]:
        """A node is alive."""
        return self._reseat(self.registry.heard(node_id, now))

    def beat(self, node_id: str, beat: Heartbeat, now: float) -> tuple[list[Changed], set[str]]:
        """A linked node's heartbeat; return its changes of state, and the attempts that it is to stop."""
        changes = self.registry.heard(node_id, now)
        linked, running = self._linked[node_id], set(beat.running)
        own = self._of_node.get(node_id, set())
        for attempt_id in running & own:
            self._leases.set(attempt_id, now + self._lease_s)
        linked.strangers = {attempt_id: linked.strangers.get(attempt_id) for attempt_id in running - own}
        linked.extra = max(0, linked.offer.slots - beat.free_slots - len(running))
        linked.closed = frozenset(beat.not_now)
        self._seat(node_id, beat.load)
        return changes, set(linked.strangers)

    def no_work(self, node_id: str) -> str:
        """Return why a linked node gets nothing at present, in words for its owner; empty where it would."""
        linked, health, seat = self._linked[node_id], self.registry[node_id], self.pool[node_id]
        if health.state is not NodeState.HEALTHY:
            return _STANDING.get(health.state, "")
        if linked.draining:
            return "it drains: by its own wish, or the gateway's owner wants no more work done there"
        if seat.free:
            return ""
        if health.probation:
            return "it is on probation: it gets one job at a time until one completes"
        return "all its slots are taken, or it takes nothing at present"

    def succeeded(self, node_id: str) -> None:
        """An attempt completed on a node."""
        if self.registry[node_id].failures:
            self.registry.succeeded(node_id)
            self._seat(node_id)

    def failed(self, node_id: str, job_id: str, elsewhere: Iterable[str]) -> list[Changed]:
        """An attempt failed on a node, and on others before."""
        changes = self.registry.failed(node_id, job_id, elsewhere)
        self._seat(node_id)
        return self._reseat(changes)

    def silent(self, now: float) -> list[Changed]:
        """Return what silence has changed."""
        return self._reseat(self.registry.silent(now))

    # Attempts

    def fly(self, flight: Flight, now: float) -> None:
        """An attempt is given to a node, with a fresh lease."""
        self._flights[flight.attempt_id] = flight
        self._of_node.setdefault(flight.node_id, set()).add(flight.attempt_id)
        self._leases.set(flight.attempt_id, now + self._lease_s)
        self.backlog.flew(flight.account_id)
        linked = self._linked.get(flight.node_id)
        if linked is not None:
            linked.taken = linked.taken.plus(linked.offer, flight.need)
        self._seat(flight.node_id)

    def priced(self, attempt_id: str, price_ucr: int) -> None:
        """What the attempt's job costs is known."""
        flight = self._flights.get(attempt_id)
        if flight is not None:
            self._flights[attempt_id] = attrs.evolve(flight, price_ucr=price_ucr)

    def accepted(self, attempt_id: str, now: float) -> None:
        """The node started it."""
        flight = self._flights.get(attempt_id)
        if flight is not None:
            self._flights[attempt_id] = attrs.evolve(flight, accepted=True)
            self._leases.set(attempt_id, now + self._lease_s)

    def land(self, node_id: str, *attempt_ids: str) -> None:
        """Attempts are over, and their node is no longer busy with them."""
        linked = self._linked.get(node_id)
        for attempt_id in attempt_ids:
            self._forget(attempt_id)
            if linked is not None:
                linked.strangers.pop(attempt_id, None)
        self._seat(node_id)

    def disown(self, attempt_id: str, node_id: str) -> None:
        """The attempt is wanted no more; its node is busy with it until it says otherwise."""
        flight = self._forget(attempt_id)
        linked = self._linked.get(node_id)
        if linked is not None:
            linked.strangers[attempt_id] = None if flight is None else flight.need
            self._seat(node_id)

    def flight(self, attempt_id: str) -> Flight | None:
        """Return an attempt that is in flight."""
        return self._flights.get(attempt_id)

    def flights_of(self, node_id: str) -> list[Flight]:
        """Return what a node works on."""
        return [self._flights[attempt_id] for attempt_id in sorted(self._of_node.get(node_id, ()))]

    def expired(self, now: float) -> list[Flight]:
        """Return the attempts whose lease has ended; each is returned once."""
        return [self._flights[attempt_id] for attempt_id in self._leases.due(now)]

    def give_up(self, node_id: str, now: float) -> None:
        """End the leases of all that a node works on; ``expired`` returns them then."""
        for attempt_id in self._of_node.get(node_id, ()):
            self._leases.set(attempt_id, now)

    def renew(self, attempt_ids: Collection[str], now: float) -> None:
        """Give attempts a fresh lease."""
        for attempt_id in attempt_ids:
            if attempt_id in self._flights:
                self._leases.set(attempt_id, now + self._lease_s)

    def _forget(self, attempt_id: str) -> Flight | None:
        flight = self._flights.pop(attempt_id, None)
        self._leases.discard(attempt_id)
        self.progress.pop(attempt_id, None)
        if flight is not None:
            own = self._of_node[flight.node_id]
            own.discard(attempt_id)
            if not own:
                del self._of_node[flight.node_id]
            self.backlog.landed(flight.account_id)
            linked = self._linked.get(flight.node_id)
            if linked is not None:
                linked.taken = linked.taken.plus(linked.offer, flight.need, -1)
        return flight

    def _reseat(self, changes: list[Changed]) -> list[Changed]:
        for change in changes:
            self._seat(change.node_id)
        return changes

    def _seat(self, node_id: str, reported: float | None = None) -> None:
        linked = self._linked.get(node_id)
        if linked is None:
            return
        health = self.registry[node_id]
        limit = 1 if health.probation else linked.offer.slots
        if linked.draining or health.state is not NodeState.HEALTHY:
            limit = 0
        taken = linked.taken
        for need in linked.strangers.values():
            taken = attrs.evolve(taken, slots=taken.slots + 1) if need is None else taken.plus(linked.offer, need)
        if linked.extra:
            taken = attrs.evolve(taken, slots=taken.slots + linked.extra)
        self.pool.update(node_id, limit=limit, taken=taken, reported=reported, closed=linked.closed)

    def _offer(self, node_id: str, hello: Hello) -> Offer:
        return Offer(
            capabilities=frozenset(hello.capabilities),
            slots=min(hello.slots, MAX_SLOTS),
            tier=hello.sandbox_tier,
            gpus=len(set(hello.gpus)),
            memory_bytes=hello.memory_bytes,
            fetches=frozenset(hello.fetches),
            operator=operator_of(node_id, self._operators.get(node_id, "")),
        )
