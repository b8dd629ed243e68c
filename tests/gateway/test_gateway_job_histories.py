"""Jobs through any history of events, on a real database: what always holds holds after every step."""

from __future__ import annotations

import itertools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from edgeagent.gateway import ledger
from edgeagent.gateway.jobs import OPEN_ATTEMPTS, OPEN_JOBS, AttemptState, JobState
from edgeagent.gateway.ledger import FIRST_HASH, ISSUER, CreditsShortError, Kind
from edgeagent.gateway.store import Tx, accounts, jobs, nodes, queue, tables
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.jobs import Flight, New, Progress
from edgeagent.wire.messages import JobResult, Limits, Outcome

NODES = 3
GRANT = 45_000_000  # four renders and a half


class Histories(RuleBasedStateMachine):
    """Submitters, nodes and time do what they like, in any order, as often as they like."""

    submitted = Bundle("submitted")
    flown = Bundle("flown")

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.engine = open_engine(Path(self.directory.name) / "gateway.db", writer=True)
        migrate(self.engine)
        sa.event.listen(self.engine, "checkout", lambda connection, *_: connection.execute("PRAGMA synchronous=OFF"))
        self.now = 1000.0
        self.ids = (f"{number:08}" for number in itertools.count())

    def do(self, request: Any, *args: Any) -> Any:
        with self.engine.begin() as connection:
            return request(Tx(connection, self.now), *args)

    def teardown(self) -> None:
        self.engine.dispose()
        self.directory.cleanup()

    @initialize()
    def begin(self) -> None:
        self.do(accounts.add_token, "studio", "hash", GRANT)
        self.account = self.do(accounts.of_token, "hash")
        self.nodes = [
            self.do(nodes.register, nodes.Applicant(f"n{n}", f"key{n}", ("render", "echo"), {})) for n in range(NODES)
        ]

    @rule(target=submitted, job_type=st.sampled_from(["render", "render", "echo"]))
    def submit(self, job_type: str) -> Any:
        new = New(job_id=next(self.ids), account_id=self.account, job_type=job_type, payload={}, limits=Limits())
        try:
            self.do(jobs.submit, new)
        except CreditsShortError:
            return multiple()
        return new.job_id

    @rule(target=flown, node=st.integers(0, NODES - 1))
    def dispatch(self, node: int) -> Any:
        ready = self.do(queue.ready, {"render": 1, "echo": 1})
        flights = [Flight(next(self.ids), job.job_id, self.nodes[node]) for job in ready]
        assert self.do(queue.start, flights) == {flight.attempt_id for flight in flights}
        return multiple(*flights)

    @rule(flight=flown)
    def dispatch_again(self, flight: Flight) -> None:
        """A job that is not QUEUED any more cannot be started twice."""
        state = self.job(flight.job_id).state
        again = Flight(next(self.ids), flight.job_id, flight.node_id)
        assert bool(self.do(queue.start, [again])) == (state == JobState.QUEUED)

    @rule(flight=flown)
    def accept(self, flight: Flight) -> None:
        before = self.attempt(flight).state
        assert self.do(jobs.accept, flight.attempt_id, flight.node_id) == (AttemptState(before) in OPEN_ATTEMPTS)

    @rule(flight=flown)
    def decline(self, flight: Flight) -> None:
        self.do(jobs.give_back, flight.attempt_id, flight.node_id, "no")

    @rule(flight=flown)
    def lose(self, flight: Flight) -> None:
        self.do(jobs.lose, flight.attempt_id, flight.node_id, "gone")

    @rule(flight=flown, outcome=st.sampled_from([Outcome.COMPLETED, Outcome.COMPLETED, *Outcome]))
    def finish(self, flight: Flight, outcome: Outcome) -> None:
        """Any attempt of any age reports; the same report again is answered the same and changes nothing."""
        before = self.job(flight.job_id)
        result = JobResult(job_id=flight.job_id, attempt_id=flight.attempt_id, outcome=outcome, value=1)
        answer = self.do(jobs.finish, flight.node_id, result, Progress())
        after = self.job(flight.job_id)
        won = after.state == JobState.COMPLETED and after.current_attempt == flight.attempt_id
        assert answer.credited_ucr == (after.credited_ucr if won else 0)
        if JobState(before.state) not in OPEN_JOBS:
            assert before == after
            assert answer.applied is None

        assert self.do(jobs.finish, flight.node_id, result, Progress()) == jobs.Answer(answer.credited_ucr)
        assert self.job(flight.job_id) == after

    @rule(flight=flown, outcome=st.sampled_from(list(Outcome)))
    def finish_for_another(self, flight: Flight, outcome: Outcome) -> None:
        """A node cannot report what it never had."""
        other = self.nodes[(self.nodes.index(flight.node_id) + 1) % NODES]
        result = JobResult(job_id=flight.job_id, attempt_id=flight.attempt_id, outcome=outcome)
        assert self.do(jobs.finish, other, result, Progress()) is None

    @rule(job=submitted)
    def cancel(self, job: str) -> None:
        before = JobState(self.job(job).state)
        applied = self.do(jobs.cancel, self.account, job)
        assert (applied is not None) == (before in OPEN_JOBS)
        assert applied is None or (applied.stop is not None) == (before is not JobState.QUEUED)

    @rule(later=st.sampled_from([0.5, 1.0, 4.0, -100.0]))
    def time_passes(self, later: float) -> None:
        self.now += later

    @invariant()
    def an_ended_job_is_paid_or_paid_back_once(self) -> None:
        held = Counter[tuple[str, str]]()
        for recorded in self.entries():
            held[recorded.entry.kind, recorded.entry.job_id] += 1
        for job in self.rows(tables.jobs):
            state, costs = JobState(job.state), bool(job.price_ucr)
            assert held[Kind.HOLD, job.job_id] == costs
            assert held[Kind.SETTLE, job.job_id] == (costs and state is JobState.COMPLETED)
            assert held[Kind.RELEASE, job.job_id] == (costs and state in {JobState.FAILED, JobState.CANCELLED})
            assert job.credited_ucr == (job.price_ucr if state is JobState.COMPLETED else 0)
            assert (job.finished_at is None) == (state in OPEN_JOBS)
            assert (job.error is not None) == (state is JobState.FAILED)

    @invariant()
    def an_open_attempt_is_the_one_its_job_waits_for(self) -> None:
        jobs_by_id = {job.job_id: job for job in self.rows(tables.jobs)}
        open_of = Counter[str]()
        for attempt in self.rows(tables.attempts):
            job = jobs_by_id[attempt.job_id]
            if AttemptState(attempt.state) in OPEN_ATTEMPTS:
                open_of[attempt.job_id] += 1
                assert job.current_attempt == attempt.attempt_id
                assert job.state == attempt.state
        for job in jobs_by_id.values():
            assert open_of[job.job_id] == (job.state in {JobState.DISPATCHED, JobState.RUNNING})

    @invariant()
    def the_books_balance(self) -> None:
        balances = {row.account: row.balance_ucr for row in self.rows(tables.ledger_accounts)}
        assert sum(balances.values()) == 0
        assert all(balance >= 0 for account, balance in balances.items() if account != ISSUER)
        summed, previous = Counter[str](), FIRST_HASH
        for number, recorded in enumerate(self.entries(), 1):
            assert recorded.seq == number
            assert recorded.hash == ledger.chain_hash(previous, recorded.entry, recorded.at)
            previous = recorded.hash
            for posting in recorded.entry.postings:
                summed[posting.account] += posting.amount_ucr
        assert balances == {account: summed[account] for account in balances}

    @invariant()
    def nodes_have_earned_what_they_were_paid(self) -> None:
        balances = {row.account: row.balance_ucr for row in self.rows(tables.ledger_accounts)}
        for node in self.rows(tables.nodes):
            assert node.earned_ucr == balances.get(ledger.node_account(node.node_id), 0)
        completed = [job for job in self.rows(tables.jobs) if job.state == JobState.COMPLETED]
        assert len(completed) == sum(node.jobs_completed for node in self.rows(tables.nodes))

    def rows(self, table: sa.Table) -> list[Any]:
        return list(self.do(lambda tx: tx.connection.execute(sa.select(table)).all()))

    def job(self, job_id: str) -> Any:
        return next(row for row in self.rows(tables.jobs) if row.job_id == job_id)

    def attempt(self, flight: Flight) -> Any:
        return next(row for row in self.rows(tables.attempts) if row.attempt_id == flight.attempt_id)

    def entries(self) -> list[books.Recorded]:
        recorded: list[books.Recorded] = self.do(lambda tx: list(books.entries(tx)))
        return recorded


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
