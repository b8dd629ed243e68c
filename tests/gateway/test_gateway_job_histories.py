"""Jobs through any history of events, on a real database: what always holds holds after every step."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from job_laws import Snapshot, check_attempts, check_books, check_earnings, check_jobs, check_operators

from edgeagent import chance
from edgeagent.gateway.jobs import LATE_ATTEMPTS, OPEN_ATTEMPTS, OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import (
    Tx,
    accounts,
    jobs,
    nodes,
    orders,
    policies,
    queue,
    submissions,
    tables,
    verification,
)
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.submissions import Key, KeyReusedError, New, NotDeadError
from edgeagent.gateway.trust import Policy
from edgeagent.wire.messages import JobResult, Outcome
from postgres_server import Server

NODES = 5
#: Who answers for the nodes: two of them belong together, which leaves as many operators as results are compared.
LABELS = ("farm", "farm", "", "", "")
GRANT = 85_000_000  # eight renders and a half, or half of that where results are compared


#: Which of the jobs or attempts so far a step is about, modulo how many there are.
NUMBERS = st.integers(0, 1 << 16)


def _again(answer: jobs.Answer) -> jobs.Answer:
    """Return the answer to the same result when it is told again: the same, but nothing changes."""
    return attrs.evolve(answer, applied=None)


def has_flown(machine: Histories) -> bool:
    return bool(machine.flights)


class Histories(RuleBasedStateMachine):
    """Submitters, nodes and time do what they like, in any order, as often as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.open_database()
        self.now = 1000.0
        self.jobs: list[str] = []
        self.flights: list[Flight] = []
        self.turn = 0
        self.keys: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.ids = (f"{number:08}" for number in itertools.count())

    def open_database(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.engine = open_engine(Path(self.directory.name) / "gateway.db", writer=True, durable=False)
        migrate(self.engine)

    def do(self, request: Any, *args: Any) -> Any:
        self.turn += 1
        with self.engine.begin() as connection, chance.seeded(self.turn):
            return request(Tx(connection, self.now), *args)

    def teardown(self) -> None:
        self.engine.dispose()
        self.directory.cleanup()

    @initialize(policy=st.sampled_from([None, Policy(sure_after=1_000_000), Policy(sure_after=1, least=0.3)]))
    def begin(self, policy: Policy | None) -> None:
        self.do(accounts.add_token, "studio", "hash", GRANT)
        self.account = self.do(accounts.of_token, "hash")
        self.nodes = [
            self.do(nodes.register, nodes.Applicant(f"n{n}", f"key{n}", ("render", "echo"), {})) for n in range(NODES)
        ]
        for node_id, label in zip(self.nodes, LABELS, strict=True):
            self.do(orders.give, orders.Kind.OPERATOR, node_id, label)
        self.operators = {node: label or node for node, label in zip(self.nodes, LABELS, strict=True)}
        if policy is not None:
            self.do(policies.change, "render", policy, "owner")

        for job_type in ("render", "echo", "render"):
            self.submit(job_type)
        self.dispatch(0)

    @rule(job_type=st.sampled_from(["render", "render", "echo"]))
    def submit(self, job_type: str) -> None:
        new = New(job_id=next(self.ids), account_id=self.account, job_type=job_type)
        try:
            self.do(submissions.submit, self.account, [new], self.now)
        except CreditsShortError:
            return
        self.jobs.append(new.job_id)

    @rule(node=st.integers(0, NODES - 1))
    def dispatch(self, node: int) -> None:
        self.now += 4  # the longest that a retry rests
        self.do(queue.rouse)
        operator = self.operators[self.nodes[node]]
        needs = [need for _, need in self.do(queue.lanes) if operator not in need.apart]
        first = [job for need in needs for job in self.do(queue.heads, self.account, need)[:1]]
        flights = [self.flight(job.job_id, self.nodes[node], job.need) for job in first]
        assert self.do(queue.start, flights).keys() == {flight.attempt_id for flight in flights}
        self.flights += flights

    @precondition(has_flown)
    @rule(number=NUMBERS, node=st.integers(0, NODES - 1))
    def give_up_and_dispatch(self, number: int, node: int) -> None:
        """What a result can come too late for: its attempt was lost, and the job went on."""
        self.lose(number)
        self.dispatch(node)

    @precondition(has_flown)
    @rule(number=NUMBERS)
    def dispatch_again(self, number: int) -> None:
        """A job that is not QUEUED any more cannot be started twice."""
        flight = self.flights[number % len(self.flights)]
        state = self.job(flight.job_id).state
        again = self.flight(flight.job_id, flight.node_id, Need.parse(self.job(flight.job_id).need))
        stale = attrs.evolve(again, attempt_id=next(self.ids), need=attrs.evolve(again.need, apart=("nobody",)))
        assert not self.do(queue.start, [stale])
        resting = self.job(flight.job_id).rests_until is not None
        assert bool(self.do(queue.start, [again])) == (state == JobState.QUEUED and not resting)

    @precondition(has_flown)
    @rule(number=NUMBERS)
    def accept(self, number: int) -> None:
        flight = self.flights[number % len(self.flights)]
        before = self.attempt(flight).state
        (should,) = self.do(jobs.accept, [Start(flight.attempt_id, flight.node_id)])
        assert should == (AttemptState(before) in OPEN_ATTEMPTS)

    @precondition(has_flown)
    @rule(number=NUMBERS)
    def decline(self, number: int) -> None:
        flight = self.flights[number % len(self.flights)]
        self.do(jobs.give_back, flight.attempt_id, flight.node_id, "no")

    @precondition(has_flown)
    @rule(number=NUMBERS)
    def lose(self, number: int) -> None:
        flight = self.flights[number % len(self.flights)]
        self.do(jobs.lose, flight.attempt_id, flight.node_id, "gone")

    @precondition(has_flown)
    @rule(
        number=NUMBERS,
        outcome=st.sampled_from([*[Outcome.COMPLETED] * 10, *Outcome]),
        value=st.sampled_from([None, None, 1, 2, 3]),
    )
    def finish(self, number: int, outcome: Outcome, value: int | None) -> None:
        """Any attempt of any age reports; the same report again is answered the same and changes nothing."""
        flight = self.flights[number % len(self.flights)]
        before = self.job(flight.job_id)
        result = JobResult(job_id=flight.job_id, attempt_id=flight.attempt_id, outcome=outcome, value=value)
        (answer,) = self.do(jobs.finish, [Told(flight.node_id, result)])
        after = self.job(flight.job_id)
        attempt = self.attempt(flight).state
        assert answer.credited_ucr == (after.price_ucr if attempt == AttemptState.COMPLETED else 0)
        assert answer.held == (attempt == AttemptState.HELD)
        if JobState(before.state) not in OPEN_JOBS:
            assert before == after
            assert answer.applied is None

        assert self.do(jobs.finish, [Told(flight.node_id, result)]) == [_again(answer)]
        assert self.job(flight.job_id) == after

    @rule(order=st.randoms(use_true_random=False))
    def everybody_completes(self, order: random.Random) -> None:
        """After a long cut of all links every node says at once how everything ended that it was ever given."""
        told = [
            Told(one.node_id, JobResult(job_id=one.job_id, attempt_id=one.attempt_id, outcome=Outcome.COMPLETED))
            for one in self.flights
        ]
        order.shuffle(told)
        before = {one.job_id: JobState(self.job(one.job_id).state) for one in self.flights}
        counts = OPEN_ATTEMPTS | LATE_ATTEMPTS
        ending = {one.job_id for one in self.flights if AttemptState(self.attempt(one).state) in counts}
        answers = self.do(jobs.finish, told)
        assert len(answers) == len(told)
        for one, answer in zip(told, answers, strict=True):
            job = self.job(one.result.job_id)
            was_open = before[job.job_id] in OPEN_JOBS
            if job.quorum == 1:
                assert (JobState(job.state) in OPEN_JOBS) == (was_open and job.job_id not in ending)
                won = job.state == JobState.COMPLETED and job.current_attempt == one.result.attempt_id
                assert answer.credited_ucr == (job.credited_ucr if won else 0)
                assert (answer.applied is not None) == (won and was_open)
        paid = [
            one.result.job_id
            for one, answer in zip(told, self.do(jobs.finish, told), strict=True)
            if answer.credited_ucr
        ]
        for job_id, times in Counter(paid).items():
            assert self.job(job_id).credited_ucr == self.job(job_id).price_ucr * times

    @precondition(has_flown)
    @rule(number=NUMBERS, outcome=st.sampled_from(list(Outcome)))
    def finish_for_another(self, number: int, outcome: Outcome) -> None:
        """A node cannot report what it never had."""
        flight = self.flights[number % len(self.flights)]
        other = self.nodes[(self.nodes.index(flight.node_id) + 1) % NODES]
        result = JobResult(job_id=flight.job_id, attempt_id=flight.attempt_id, outcome=outcome)
        assert self.do(jobs.finish, [Told(other, result)]) == [None]

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        job = self.jobs[number % len(self.jobs)]
        before = JobState(self.job(job).state)
        applied = self.do(jobs.cancel, job, self.account)
        assert (applied is not None) == (before in OPEN_JOBS)
        assert applied is None or (applied.stop is not None) == (before is not JobState.QUEUED)

    @rule(job_type=st.sampled_from(["render", "echo"]), deadline_s=st.sampled_from([1.0, 5.0]), most=st.integers(1, 4))
    def submit_with_a_deadline(self, job_type: str, deadline_s: float, most: int) -> None:
        new = New(
            job_id=next(self.ids),
            account_id=self.account,
            job_type=job_type,
            deadline_s=deadline_s,
            max_attempts=most,
        )
        try:
            self.do(submissions.submit, self.account, [new], self.now)
        except CreditsShortError:
            return
        self.jobs.append(new.job_id)

    @rule(name=st.sampled_from("kl"), job_type=st.sampled_from(["render", "echo"]))
    def submit_with_a_key(self, name: str, job_type: str) -> None:
        """The same key makes one job, whatever happened to it since; another request with it makes none."""
        new = New(job_id=next(self.ids), account_id=self.account, job_type=job_type)
        known = self.keys.get(name)
        try:
            made = self.do(submissions.submit, self.account, [new], self.now, Key(name, job_type))
        except CreditsShortError:
            assert known is None
        except KeyReusedError:
            assert known is not None
            assert known[0] != job_type
        else:
            assert made.replayed == (known is not None)
            assert known in (None, (job_type, made.job_ids))
            self.keys[name] = (job_type, made.job_ids)
            self.jobs += [] if made.replayed else made.job_ids

    @rule()
    def deadlines_pass(self) -> None:
        late = self.do(queue.overdue, self.now)
        assert all(JobState(self.job(job_id).state) in OPEN_JOBS for job_id in late)
        applied = self.do(jobs.expire, late)
        assert [one.job_id for one in applied] == late
        assert all(self.job(job_id).error.startswith("deadline") for job_id in late)
        assert self.do(queue.overdue, self.now) == []

    @precondition(lambda self: self.jobs)
    @rule(number=NUMBERS)
    def requeue(self, number: int) -> None:
        """A dead letter becomes one new job, and stays as it was."""
        job_id = self.jobs[number % len(self.jobs)]
        before = self.job(job_id)
        try:
            made = self.do(submissions.requeue, job_id, self.now, self.account)
        except NotDeadError:
            assert before.state not in {JobState.FAILED, JobState.CANCELLED}
        except CreditsShortError:
            assert before.requeued_as is None
        else:
            assert made.replayed == (before.requeued_as is not None)
            after = self.job(job_id)
            assert after._asdict() == {**before._asdict(), "requeued_as": made.job_ids[0]}
            assert self.job(made.job_ids[0]).requeue_of == job_id
            self.jobs += [] if made.replayed else made.job_ids

    @rule(later=st.sampled_from([0.5, 1.0, 4.0, -100.0]))
    def time_passes(self, later: float) -> None:
        self.now += later

    @rule()
    def audit(self) -> None:
        """The auditor finds nothing wrong, whatever has been compared with what."""
        assert self.do(verification.verify).wrong == ()

    def flight(self, job_id: str, node_id: str, need: Need) -> Flight:
        return Flight(attempt_id=next(self.ids), job_id=job_id, node_id=node_id, account_id=self.account, need=need)

    @invariant()
    def everything_holds(self) -> None:
        now = self.do(Snapshot.take)
        check_jobs(now)
        check_attempts(now)
        check_books(now)
        check_earnings(now)
        check_operators(now, self.operators)

    def job(self, job_id: str) -> Any:
        return self.do(lambda tx: tx.connection.execute(JOB, {"id": job_id}).one())

    def attempt(self, flight: Flight) -> Any:
        return self.do(lambda tx: tx.connection.execute(ATTEMPT, {"id": flight.attempt_id}).one())


JOB = sa.select(tables.jobs).where(tables.jobs.c.job_id == sa.bindparam("id"))
ATTEMPT = sa.select(tables.attempts).where(tables.attempts.c.attempt_id == sa.bindparam("id"))


class PostgresHistories(Histories):
    """The same on PostgreSQL."""

    def __init__(self, server: Server, schema: str) -> None:
        self.server, self.schema = server, schema
        super().__init__()

    def open_database(self) -> None:
        self.url = self.server.make(self.schema)
        self.engine = open_engine(self.url, writer=True)

    def teardown(self) -> None:
        self.engine.dispose()
        self.server.drop(self.url)


@pytest.mark.needs("postgresql")
def test_histories_on_postgresql(postgresql: Server, postgresql_schema: str) -> None:
    """Fewer of them: what can differ is the database, not the rules."""
    given = settings(max_examples=10, stateful_step_count=25, deadline=None)
    run_state_machine_as_test(lambda: PostgresHistories(postgresql, postgresql_schema), settings=given)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=35, stateful_step_count=40, deadline=None)
