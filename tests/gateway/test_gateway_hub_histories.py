"""The whole gateway through any history: links come and go, leases end, it is killed, and what must hold holds.

Nodes keep what they were sent and answer whatever they like, in any order, as often as they like; the store is a real
database, run in the caller's task on a virtual clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import histories
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_laws import Snapshot, check_attempts, check_books, check_earnings, check_jobs

from edgeagent import chance
from edgeagent.gateway import auth, keyring
from edgeagent.gateway.blobs import LocalBlobs
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, accounts, nodes, policies
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.trust import QUORUM, Policy
from edgeagent.wire.link import CloseCode
from edgeagent.wire.messages import (
    Heartbeat,
    Hello,
    JobAccept,
    JobCancel,
    JobDecline,
    JobDispatch,
    JobProgress,
    JobResult,
    JobResultAck,
    Message,
    Outcome,
)

NODES = 3
#: What can happen, the more often the oftener it is named.
WHAT = """
    submit submit dispatch dispatch accept decline progress complete complete fail
    again cut link beat sleep sleep cancel restart
"""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(WHAT.split()),
        st.integers(0, NODES - 1),
        st.integers(0, 99),
    ),
    min_size=20,
    max_size=60,
)


@attrs.define(eq=False)
class Node:
    """What a node remembers over all its links: what it works on, and the results that nobody acknowledged."""

    node_id: str
    linked: bool = False
    working: dict[str, JobDispatch] = attrs.Factory(dict)
    spooled: dict[str, JobResult] = attrs.Factory(dict)
    told: list[JobResult] = attrs.Factory(list)
    seq: int = 0

    @property
    def held(self) -> tuple[str, ...]:
        return (*self.working, *self.spooled)


@attrs.define(eq=False)
class Link:
    """One link, as the gateway sees it."""

    node: Node

    def send(self, *messages: Message) -> None:
        for message in messages:
            match message:
                case JobDispatch():
                    assert message.attempt_id not in self.node.working  # an attempt is sent once
                    self.node.working[message.attempt_id] = message
                case JobCancel():
                    self.node.working.pop(message.attempt_id, None)
                case JobResultAck():
                    self.node.spooled.pop(message.attempt_id, None)
                case _:
                    pass

    def close(self, code: CloseCode, reason: str) -> None:
        self.node.linked = False


class History:
    """One gateway after another on one database, and the nodes around it."""

    def __init__(self, directory: Path, policy: Policy | None = None) -> None:
        self.policy = policy
        self.settings = GatewaySettings(data_dir=directory)
        self.store = Store(self.settings.database, clock=self.clock, inline=True)
        self.tokens = auth.NodeTokens(keyring.load(directory), self.store.clock)
        self.links: dict[str, Link] = {}
        self.jobs: list[str] = []
        self.count = 0

    def clock(self) -> float:
        try:
            return 1e9 + trio.current_time()
        except RuntimeError:  # the database is made before time begins
            return 1e9

    async def begin(self) -> None:
        await self.start()
        await self.store.write(accounts.add_token, "studio", "hash", 200_000_000)
        self.account = str(await self.store.read(accounts.of_token, "hash"))
        self.nodes = []
        for number in range(NODES):
            applicant = nodes.Applicant(f"n{number}", f"key{number}", ("render", "echo"), {})
            node_id = await self.store.write(nodes.register, applicant)
            self.hub.network.registry.add(node_id, trio.current_time())
            self.nodes.append(Node(node_id))
        for node in self.nodes:
            await self.link(node)
        if self.policy is not None:
            await self.store.write(policies.change, "render", self.policy, "owner")

    async def start(self) -> None:
        """Run a gateway that knows what is on disk."""
        blobs = LocalBlobs(self.settings.blobs, inline=True)
        self.hub = Hub(
            settings=self.settings, store=self.store, blobs=blobs, tokens=self.tokens, network=Network(self.settings)
        )
        await self.hub.load()

    async def step(self, what: str, who: int, number: int) -> None:
        node = self.nodes[who]
        match what:
            case "submit":
                await self.submit("render" if number % 2 else "echo", number)
            case "dispatch":
                await self.hub.dispatch()
            case "sleep":
                await trio.sleep([1, 5, 20, 70, 400][number % 5])
                await self.hub.sweep()
            case "cancel" if self.jobs:
                await self.hub.cancel(self.jobs[number % len(self.jobs)], self.account)
            case "restart":
                for one in self.nodes:
                    one.linked = False
                await self.start()
            case "link":
                await self.link(node)
            case "cut" if node.linked:
                node.linked = False
                self.hub.network.unlink(node.node_id, self.links[node.node_id])
            case _ if node.linked:
                await self.say(what, node, number)

    async def submit(self, job_type: str, number: int) -> None:
        self.count += 1
        deadline_s = 100.0 if number % 10 == 0 else None
        job_id = f"job{self.count}"
        new = New(
            job_id=job_id,
            account_id=self.account,
            job_type=job_type,
            priority=number % 10,
            deadline_s=deadline_s,
            max_attempts=1 + number % 4,
        )
        try:
            await self.hub.submit(self.account, [new])
        except CreditsShortError:
            return
        self.jobs.append(job_id)

    async def link(self, node: Node) -> None:
        link = self.links[node.node_id] = Link(node)
        node.linked = True
        hello = Hello(version="1", capabilities=("render", "echo"), slots=2, held=node.held)
        welcome = await self.hub.greet(node.node_id, hello, link, None)
        for attempt_id in welcome.drop:
            node.working.pop(attempt_id, None)
        assert set(welcome.keep) | set(welcome.drop) == set(hello.held)
        await self.beat(node)
        for result in list(node.spooled.values()):
            await self.hub.result(node.node_id, [result], link)

    async def beat(self, node: Node) -> None:
        node.seq += 1
        free = max(0, 2 - len(node.working))
        beat = Heartbeat(seq=node.seq, load=0.0, free_slots=free, running=node.held)
        await self.hub.beat(node.node_id, beat, self.links[node.node_id], None)

    async def say(self, what: str, node: Node, number: int) -> None:
        """Have a linked node say something about one of its attempts."""
        link = self.links[node.node_id]
        if what == "beat":
            await self.beat(node)
        elif what == "again" and node.told:
            await self.hub.result(node.node_id, [node.told[number % len(node.told)]], link)
        elif node.working:
            dispatch = list(node.working.values())[number % len(node.working)]
            await self.about(what, node, dispatch, link)

    async def about(self, what: str, node: Node, dispatch: JobDispatch, link: Link) -> None:
        attempt_id = dispatch.attempt_id
        if what == "accept":
            await self.hub.accept(node.node_id, [JobAccept(attempt_id=attempt_id)], link)
        elif what == "decline":
            node.working.pop(attempt_id)
            await self.hub.decline(node.node_id, JobDecline(attempt_id=attempt_id, reason="no"))
        elif what == "progress":
            self.hub.progress(node.node_id, JobProgress(attempt_id=attempt_id, fraction=0.5, log=("line",)))
        elif what in {"complete", "fail"}:
            outcome = Outcome.COMPLETED if what == "complete" else Outcome.EXITED
            value = int(dispatch.job_id[3:]) % 3 == 0 and node is self.nodes[0]  # which is wrong now and then
            result = JobResult(job_id=dispatch.job_id, attempt_id=attempt_id, outcome=outcome, value=value)
            node.working.pop(attempt_id)
            node.spooled[attempt_id] = result
            node.told.append(result)
            await self.hub.result(node.node_id, [result], link)
            assert attempt_id not in node.spooled  # it is acknowledged, whatever it was

    async def check(self) -> Snapshot:
        """What is on disk is whole, and memory says the same."""
        now: Snapshot = await self.store.read(Snapshot.take)
        check_jobs(now)
        check_attempts(now)
        check_books(now)
        check_earnings(now)
        in_flight = {one.attempt_id for one in now.attempts if one.state in {"DISPATCHED", "RUNNING"}}
        network = self.hub.network
        assert in_flight == {one.attempt_id for node in self.nodes for one in network.flights_of(node.node_id)}
        for job in now.jobs.values():
            tries = [one for one in now.attempts if one.job_id == job.job_id]
            counted = [one for one in tries if one.state not in {AttemptState.DECLINED, AttemptState.CANCELLED}]
            results = QUORUM + 1 if job.quorum > 1 else 1  # of two kinds, so three always decide
            assert len(counted) <= job.max_attempts * results
        return now

    async def end(self) -> None:
        """Every node comes back and does what it gets; then no job is left open."""
        for node in self.nodes:
            await self.link(node)
        for _ in range(200):
            await self.hub.dispatch()
            for node in self.nodes:
                await self.beat(node)
                for dispatch in list(node.working.values()):
                    await self.about("complete", node, dispatch, self.links[node.node_id])
            now = await self.check()
            if all(JobState(job.state) not in OPEN_JOBS for job in now.jobs.values()):
                break
            await trio.sleep(5)
            await self.hub.sweep()
        assert {job.job_id: job.state for job in now.jobs.values() if JobState(job.state) in OPEN_JOBS} == {}
        assert set(now.jobs) == set(self.jobs)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    """A directory to begin with."""
    with histories.template(History) as made:
        yield made


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, policy=st.sampled_from([None, Policy(sure_after=1_000_000), Policy(sure_after=1, least=0.3)]))
def test_no_job_is_lost_and_none_is_paid_twice(
    template: Path, steps: list[histories.Step], policy: Policy | None
) -> None:
    """After every step, and when everybody has come back every job has ended."""
    with chance.seeded(1):
        histories.run(lambda directory: History(directory, policy), steps, template)
