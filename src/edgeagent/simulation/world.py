"""Makes a scenario happen: everybody is there, the day goes by, faults stop, everything settles, the books are read."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from pathlib import Path

import attrs
import sqlalchemy as sa
import trio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgeagent import chance
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import OPEN_JOBS
from edgeagent.gateway.store import StoreUnavailableError, Tx, nodes, policies, tables
from edgeagent.gateway.trust import Policy
from edgeagent.simulation import cheating, laws, scenario, steadiness
from edgeagent.simulation.cheating import Tally
from edgeagent.simulation.history import History
from edgeagent.simulation.house import GatewayHouse
from edgeagent.simulation.machines import GRACE_S, Machine
from edgeagent.simulation.sandbox import Honesty
from edgeagent.simulation.scenario import Fault, FaultKind, Scenario
from edgeagent.simulation.submitters import TYPES, Submitters
from edgeagent.wire import identity

#: Seconds between two looks whether the laws hold.
LOOK_S = 3600.0
#: Seconds that open jobs and undelivered results get after the last fault: several retries of the longest job.
SETTLE_S = 8 * 3600.0
#: Seconds that nodes get to end in order: their grace, and then delivery.
RETIRE_S = GRACE_S + 120.0


@attrs.frozen(kw_only=True)
class Summary:
    """What came of a simulated day.

    ``digest`` is of everything that happened and of everything that is stored; ``settled_s`` how long the last job
    took after the last fault.
    """

    jobs: dict[str, int]
    attempts: dict[str, int]
    credited_ucr: int
    faults: dict[str, int]
    links: int
    frames: int
    gateway_lives: int
    settled_s: float
    cheating: Tally
    digest: str
    breaches: tuple[str, ...]


def run(what: Scenario, directory: Path) -> Summary:
    """Simulate ``what`` with its files in ``directory``, an empty one; blocking, for seconds to minutes."""
    return steadiness.run(what.seed, _run, what, directory)


async def _run(what: Scenario, directory: Path) -> Summary:
    history = History()
    settings = _settings(what, directory / "gateway")
    settings.data_dir.mkdir()
    house = GatewayHouse(settings, _key(), history)
    submitters = Submitters(house, what.jobs_per_hour)
    faults = scenario.plan(what, chance.rng())
    breached: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.run)
        await submitters.enlist()
        if what.checks:
            await _check(house)
        machines = [await _enlist(what, house, directory, number) for number in range(what.nodes)]
        async with trio.open_nursery() as living:
            for machine in machines:
                living.start_soon(machine.run)
            async with trio.open_nursery() as day:
                day.start_soon(submitters.run, what.seconds)
                day.start_soon(_strike, faults, house, machines)
                day.start_soon(_audit, what.seconds, house, submitters, breached)
            settled_s = await _settle(house)
            for machine in machines:
                machine.retire()
            living.cancel_scope.deadline = trio.current_time() + RETIRE_S
        hub = await house.hub()
        breached += await hub.store.read(_breaches, submitters, history, ended=True)
        breached += [f"node {one.node_id} ended with {one.undelivered} results" for one in machines if one.undelivered]
        liars = {one.node_id for one in machines[: what.cheaters]}
        summary = await hub.store.read(_summary, history, faults, settled_s, breached, liars)
        nursery.cancel_scope.cancel()
    return summary


def _settings(what: Scenario, data_dir: Path) -> GatewaySettings:
    """All durations in the usual proportions: 15, 60, 90 and 300 s, and a look every second."""
    heartbeat_s = what.heartbeat_s
    return GatewaySettings(
        data_dir=data_dir,
        heartbeat_s=heartbeat_s,
        lease_s=4 * heartbeat_s,
        unhealthy_s=6 * heartbeat_s,
        offline_s=20 * heartbeat_s,
        look_s=heartbeat_s / 15,
    )


async def _check(house: GatewayHouse) -> None:
    store = (await house.hub()).store
    for job_type in TYPES:
        await store.write(policies.change, job_type, Policy(), "owner")


async def _enlist(what: Scenario, house: GatewayHouse, directory: Path, number: int) -> Machine:
    hub, rng = await house.hub(), chance.rng()
    job_types = tuple(sorted(rng.sample(list(TYPES), rng.randint(2, len(TYPES)))))
    signer = identity.Signer(_key())
    applicant = nodes.Applicant(f"node-{number:03}", signer.public_pem, job_types, {})
    node_id = (await hub.members.register(applicant)).node_id
    return Machine(
        house=house,
        name=applicant.name,
        node_id=node_id,
        token=await house.token_for(node_id, job_types),
        home=directory / applicant.name,
        slots=rng.randint(1, 4),
        job_types=job_types,
        signer=signer,
        honesty=Honesty(what.lies, what.together) if number < what.cheaters else Honesty(),
    )


def _key() -> bytes:
    drawn = Ed25519PrivateKey.from_private_bytes(chance.rng().randbytes(32))
    return drawn.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def _strike(faults: list[Fault], house: GatewayHouse, machines: list[Machine]) -> None:
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for fault in faults:
            await trio.sleep_until(began + fault.at_s)
            house.history.note(fault.kind.value, machines[fault.node].node_id, f"{fault.lasts_s:.3f}")
            if fault.kind is FaultKind.DELAY:
                nursery.start_soon(_delay, machines[fault.node], fault.lasts_s)
            elif fault.kind is FaultKind.SUSPEND:
                nursery.start_soon(_suspend, machines[fault.node], fault.lasts_s)
            else:
                _happen(fault, house, machines[fault.node])


def _happen(fault: Fault, house: GatewayHouse, machine: Machine) -> None:
    line = machine.line
    match fault.kind:
        case FaultKind.CUT if line is not None:
            line.cut()
        case FaultKind.HALF_OPEN if line is not None:
            (line.up if fault.upwards else line.down).deaf = True
        case FaultKind.STALL:
            machine.weather.stalled_until = trio.current_time() + fault.lasts_s
        case FaultKind.PARTITION:
            machine.part(fault.lasts_s)
        case FaultKind.NODE_KILL:
            machine.kill(fault.lasts_s)
        case FaultKind.NODE_STOP:
            machine.stop(fault.lasts_s)
        case FaultKind.GATEWAY_KILL | FaultKind.GATEWAY_STOP:
            house.end(fault.lasts_s, crash=fault.kind is FaultKind.GATEWAY_KILL)
        case FaultKind.CLOCK:
            house.wall.ahead_s += fault.lasts_s
        case _:
            pass  # there is no line to harm


async def _suspend(machine: Machine, lasts_s: float) -> None:
    machine.part(lasts_s)
    await trio.sleep(lasts_s)
    machine.wake()


async def _delay(machine: Machine, lasts_s: float) -> None:
    machine.weather.delay_s = chance.rng().uniform(0.2, 5.0)
    await trio.sleep(lasts_s)
    machine.weather.delay_s = 0.0


async def _audit(seconds: float, house: GatewayHouse, submitters: Submitters, breached: list[str]) -> None:
    for _ in range(math.floor(seconds / LOOK_S)):
        await trio.sleep(LOOK_S)
        hub = await house.hub()
        try:
            found = await hub.store.read(_breaches, submitters, house.history, ended=False)
        except StoreUnavailableError:
            continue  # it went down at this very moment
        breached += [one for one in found if one not in breached]


def _breaches(tx: Tx, submitters: Submitters, history: History, *, ended: bool) -> list[str]:
    return laws.breaches(tx, submitters.accepted, history.credited, ended=ended)


async def _settle(house: GatewayHouse) -> float:
    """Wait until no job is open; return how long that took, in seconds."""
    began = trio.current_time()
    seen: tuple[Hub, int] | None = None
    while trio.current_time() < began + SETTLE_S:
        hub = await house.hub()
        stored = (hub, hub.store.batches.total)
        if stored != seen:
            seen = stored
            if not await hub.store.read(_open_jobs):
                break
        else:
            await trio.lowlevel.checkpoint()  # a course takes as many turns, whether or not there is anything to see
        await trio.sleep(1.0)
    return trio.current_time() - began


def _open_jobs(tx: Tx) -> int:
    states = [state.value for state in OPEN_JOBS]
    return int(tx.connection.execute(sa.select(sa.func.count()).where(tables.jobs.c.state.in_(states))).scalar_one())


def _summary(
    tx: Tx, history: History, faults: list[Fault], settled_s: float, breached: list[str], liars: set[str]
) -> Summary:
    ends = Counter(tx.connection.scalars(sa.select(tables.attempts.c.outcome)))
    paid = tx.connection.scalar(sa.select(sa.func.sum(tables.nodes.c.earned_ucr)))
    return Summary(
        jobs=dict(sorted(Counter(tx.connection.scalars(sa.select(tables.jobs.c.state))).items())),
        attempts=dict(sorted((name or "declined", number) for name, number in ends.items())),
        credited_ucr=int(paid or 0),
        faults=scenario.count(faults),
        links=history.counts["link"],
        frames=history.counts["in"] + history.counts["out"],
        gateway_lives=history.counts["gateway up"],
        settled_s=settled_s,
        cheating=cheating.tally(tx, liars),
        digest=_digest(tx, history),
        breaches=tuple(breached),
    )


def _digest(tx: Tx, history: History) -> str:
    """Fingerprint the history, and every table as it is in the end."""
    digest = hashlib.blake2b(history.digest().encode(), digest_size=16)
    for table in tables.metadata.sorted_tables:
        for row in tx.connection.execute(sa.select(table).order_by(*table.primary_key.columns)):
            digest.update(repr(tuple(row)).encode())
    return digest.hexdigest()
