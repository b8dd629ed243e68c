"""Results that are compared, on a real database: who is paid, who is not, and what it does to nodes' names."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import sqlalchemy as sa

from edgeagent.gateway.comparisons import Rule
from edgeagent.gateway.jobs import AttemptState, JobState
from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import (
    Tx,
    accounts,
    checks,
    jobs,
    known,
    nodes,
    orders,
    policies,
    queue,
    submissions,
    tables,
    verification,
)
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.engine import Database, migrate, open_engine
from edgeagent.gateway.store.flights import Answer, Flight, Start, Told
from edgeagent.gateway.store.known import NoAnswerError
from edgeagent.gateway.store.submissions import New
from edgeagent.gateway.trust import MAX_RESULTS, Policy, Reputation
from edgeagent.wire.messages import JobResult, Outcome

NOW = 1000.0
PRICE = 10_000_000
ALWAYS = Policy(sure_after=1_000_000)


@attrs.define
class Network:
    """A gateway's store with an account and some nodes, each of another operator."""

    engine: sa.Engine
    account: str = ""
    nodes: list[str] = attrs.Factory(list)
    count: int = 0

    def do(self, request: Any, *args: Any) -> Any:
        with self.engine.begin() as connection:
            return request(Tx(connection, NOW), *args)

    def submit(self, **what: Any) -> str:
        """Submit a render and return its id."""
        self.count += 1
        new = New(job_id=f"job{self.count}", account_id=self.account, job_type="render", **what)
        self.do(submissions.submit, self.account, [new], NOW)
        return new.job_id

    def start(self, job_id: str, node: int) -> str | None:
        """Give a job to a node, if that may have it; return the attempt."""
        self.do(queue.rouse)
        need = Need.parse(self.job(job_id).need)
        if self.do(checks.operator, self.nodes[node]) in need.apart:
            return None
        self.count += 1
        flight = Flight(
            attempt_id=f"attempt{self.count}",
            job_id=job_id,
            node_id=self.nodes[node],
            account_id=self.account,
            need=need,
        )
        assert self.do(queue.start, [flight])
        return flight.attempt_id

    def tell(self, job_id: str, attempt_id: str, node: int, value: Any, outcome: Outcome = Outcome.COMPLETED) -> Answer:
        """A node says how its attempt ended."""
        result = JobResult(job_id=job_id, attempt_id=attempt_id, outcome=outcome, value=value)
        (answer,) = self.do(jobs.finish, [Told(self.nodes[node], result)])
        assert isinstance(answer, Answer)
        return answer

    def run(self, job_id: str, node: int, value: Any) -> tuple[str, Answer]:
        """Have a node do a job, from start to end."""
        attempt_id = self.start(job_id, node)
        assert attempt_id is not None
        return attempt_id, self.tell(job_id, attempt_id, node, value)

    def job(self, job_id: str) -> Any:
        return self.do(lambda tx: tx.connection.execute(_JOB, {"id": job_id}).one())

    def states(self, job_id: str) -> list[str]:
        found: list[str] = self.do(lambda tx: list(tx.connection.scalars(_STATES, {"id": job_id})))
        return found

    def names(self, node: int) -> dict[str, Reputation]:
        return {one.job_type: one.reputation for one in self.do(checks.names, self.nodes[node])}

    def paid(self, node: int) -> int:
        """Return what a node has earned, after the auditor has found nothing wrong."""
        assert self.do(verification.verify).wrong == ()
        account = f"node:{self.nodes[node]}"
        balance: int = self.do(books.balances, [account]).get(account, 0)
        return balance

    def left(self) -> int:
        """Return what the submitter may still spend."""
        account = f"submitter:{self.account}"
        balance: int = self.do(books.balances, [account])[account]
        return balance


_JOB = sa.select(tables.jobs).where(tables.jobs.c.job_id == sa.bindparam("id"))
_STATES = sa.select(tables.attempts.c.state).where(tables.attempts.c.job_id == sa.bindparam("id")).order_by("seq")


@pytest.fixture
def network(database: Database) -> Iterator[Network]:
    """Five nodes, an account with credits for ten renders, and a policy that checks every result."""
    engine = open_engine(database, writer=True)
    migrate(engine)
    made = Network(engine)
    made.do(accounts.add_token, "studio", "hash", 10 * PRICE)
    made.account = made.do(accounts.of_token, "hash")
    made.nodes = [made.do(nodes.register, nodes.Applicant(f"n{n}", f"k{n}", ("render",), {})) for n in range(5)]
    made.do(policies.change, "render", ALWAYS, "owner")
    yield made
    engine.dispose()


def test_two_that_agree_are_both_paid(network: Network) -> None:
    """The first result waits and pays nothing; the second settles the job for both, at the submitter's cost."""
    job_id = network.submit()
    assert network.left() == 8 * PRICE
    _, first = network.run(job_id, 0, {"n": 5})
    assert (first.credited_ucr, first.held) == (0, True)
    assert network.job(job_id).state == JobState.QUEUED
    assert network.job(job_id).value is None
    _, second = network.run(job_id, 1, {"n": 5})

    job = network.job(job_id)
    assert second.credited_ucr == PRICE
    assert (job.state, job.credited_ucr, job.value) == (JobState.COMPLETED, 2 * PRICE, '{"n":5}')
    assert network.states(job_id) == [AttemptState.COMPLETED, AttemptState.COMPLETED]
    assert (network.paid(0), network.paid(1), network.left()) == (PRICE, PRICE, 8 * PRICE)
    assert second.applied is not None
    assert [(one.node_id, one.credited_ucr) for one in second.applied.news] == [(network.nodes[0], PRICE)]


def test_a_third_decides_where_two_differ(network: Network) -> None:
    """The one who is alone with its result is not paid and begins anew; the job gets what two agreed on."""
    job_id = network.submit()
    network.run(job_id, 0, "wrong")
    _, second = network.run(job_id, 1, "right")
    assert second.held
    _, third = network.run(job_id, 2, "right")

    assert network.states(job_id) == [AttemptState.DISPUTED, AttemptState.COMPLETED, AttemptState.COMPLETED]
    assert network.job(job_id).value == '"right"'
    assert [network.paid(node) for node in (0, 1, 2)] == [0, PRICE, PRICE]
    names = [network.names(node)["render"] for node in (0, 1, 2)]
    assert [(one.agreed, one.disputed, one.streak) for one in names] == [(0, 1, 0), (1, 0, 1), (1, 0, 1)]
    assert third.applied is not None
    assert {one.node_id: one.credited_ucr for one in third.applied.news} == {
        network.nodes[0]: 0,
        network.nodes[1]: PRICE,
    }


def test_a_wrong_result_costs_the_name_in_every_type(network: Network) -> None:
    """Who was right about cheap jobs is checked again in dear ones, too."""
    network.do(checks.count("echo", [network.nodes[0]] * 3, []))
    network.do(checks.count("render", [], [network.nodes[0]]))
    found = network.names(0)
    assert (found["echo"].agreed, found["echo"].streak, found["render"].disputed) == (3, 0, 1)


def test_where_no_two_agree_the_job_fails_and_nobody_is_blamed(network: Network) -> None:
    """All is given back: such a job type cannot be compared so."""
    job_id = network.submit()
    for node in range(MAX_RESULTS):
        network.run(job_id, node, node)

    assert network.job(job_id).state == JobState.FAILED
    assert "agree" in network.job(job_id).error
    assert set(network.states(job_id)) == {AttemptState.CANCELLED}
    assert network.left() == 10 * PRICE
    assert [network.paid(node) for node in range(MAX_RESULTS)] == [0] * MAX_RESULTS
    assert all(network.names(node) == {} for node in range(MAX_RESULTS))


def test_the_same_operators_nodes_do_not_check_each_other(network: Network) -> None:
    """A label of the owner's makes two nodes one operator: neither may have the other's job."""
    for node in network.nodes[:2]:
        network.do(orders.give, orders.Kind.OPERATOR, node, "farm")
    job_id = network.submit()
    network.run(job_id, 0, 1)
    assert network.start(job_id, 0) is None
    assert network.start(job_id, 1) is None
    network.run(job_id, 2, 1)
    assert network.job(job_id).state == JobState.COMPLETED


def test_a_late_result_of_the_same_operator_has_no_second_voice(network: Network) -> None:
    """A node that lost an attempt and got the job's again cannot confirm itself."""
    job_id = network.submit()
    lost = network.start(job_id, 0)
    assert lost is not None
    network.do(jobs.lose, lost, network.nodes[0], "gone")
    with network.engine.begin() as connection:
        connection.execute(sa.update(tables.jobs).values(rests_until=None))
    network.run(job_id, 0, 1)
    late = network.tell(job_id, lost, 0, 1)
    assert (late.credited_ucr, late.held, late.applied) == (0, False, None)
    assert network.job(job_id).state == JobState.QUEUED


def test_a_running_attempt_of_somebody_else_becomes_the_check(network: Network) -> None:
    """A result that comes late is held; who has the job meanwhile goes on, and confirms it."""
    job_id = network.submit()
    lost = network.start(job_id, 0)
    assert lost is not None
    network.do(jobs.lose, lost, network.nodes[0], "gone")
    with network.engine.begin() as connection:
        connection.execute(sa.update(tables.jobs).values(rests_until=None))
    second = network.start(job_id, 1)
    assert second is not None
    network.do(jobs.accept, [Start(second, network.nodes[1])])
    assert network.tell(job_id, lost, 0, 1).held
    assert network.job(job_id).state == JobState.RUNNING
    assert network.tell(job_id, second, 1, 1).credited_ucr == PRICE
    assert (network.paid(0), network.paid(1)) == (PRICE, PRICE)


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_a_job_that_ends_otherwise_pays_for_no_held_result(network: Network, how: str) -> None:
    """Its price goes back whole, its held result counts for nobody, and its node is told."""
    job_id = network.submit(max_attempts=1)
    _, _ = network.run(job_id, 0, 1)
    if how == "cancel":
        applied = network.do(jobs.cancel, job_id, network.account)
    else:
        attempt_id = network.start(job_id, 1)
        assert attempt_id is not None
        applied = network.tell(job_id, attempt_id, 1, None, Outcome.EXITED).applied
    assert network.states(job_id)[0] == AttemptState.CANCELLED
    assert applied is not None
    assert [(one.node_id, one.credited_ucr) for one in applied.news] == [(network.nodes[0], 0)]
    assert (network.left(), network.paid(0)) == (10 * PRICE, 0)


def test_a_trusted_node_is_rarely_checked(network: Network) -> None:
    """Who was right for long gets a job through at once, and its submitter half of what was set aside back."""
    network.do(policies.change, "render", Policy(sure_after=1, least=0.0), "owner")
    with network.engine.begin() as connection:
        row = {"node_id": network.nodes[0], "job_type": "render", "agreed": 10**15, "disputed": 0, "streak": 10**15}
        connection.execute(sa.insert(tables.metadata.tables["reputations"]), row)
    job_id = network.submit()
    _, answer = network.run(job_id, 0, 1)
    assert (answer.credited_ucr, answer.held) == (PRICE, False)
    assert (network.job(job_id).credited_ucr, network.left(), network.paid(0)) == (PRICE, 9 * PRICE, PRICE)


def test_without_a_policy_nothing_is_set_aside_or_held(network: Network) -> None:
    """Jobs submitted after it ended cost what they always did; those before it are no longer checked."""
    before = network.submit()
    network.do(policies.change, "render", None, "owner")
    after = network.submit()
    assert network.left() == 7 * PRICE
    for job_id in (before, after):
        assert network.run(job_id, 0, 1)[1].credited_ucr == PRICE
    assert network.left() == 8 * PRICE
    assert network.paid(0) == 2 * PRICE


def test_a_rule_says_what_may_differ(network: Network) -> None:
    """How long it took is no part of the result."""
    network.do(policies.change, "render", attrs.evolve(ALWAYS, rule=Rule(ignore=("seconds",))), "owner")
    job_id = network.submit()
    network.run(job_id, 0, {"n": 5, "seconds": 1})
    network.run(job_id, 1, {"n": 5, "seconds": 2})
    assert network.job(job_id).value == '{"n":5,"seconds":1}'


@pytest.fixture
def vouched(network: Network) -> Network:
    """A network with one known answer, 5, of which somebody asks again for every job that is submitted."""
    network.do(policies.change, "render", Policy(sure_after=1_000_000, known=1.0), "owner")
    job_id = network.submit()
    network.run(job_id, 0, 5)
    network.run(job_id, 1, 5)
    assert network.do(known.add, job_id)
    assert not network.do(known.add, job_id)
    return network


def slip_in(network: Network) -> str:
    """Have the gateway ask for a known answer, and return the job that does."""
    (waiting,) = network.do(known.slip_in, ("render",), NOW)
    asked: str = waiting.job_id
    return asked


def test_a_right_answer_is_paid_like_any_other(vouched: Network) -> None:
    """At the account's cost, once, without another node."""
    before = vouched.left()
    _, answer = vouched.run(slip_in(vouched), 2, 5)
    assert (answer.credited_ucr, answer.held) == (PRICE, False)
    assert (vouched.paid(2), vouched.left()) == (PRICE, before - PRICE)
    assert vouched.names(2)["render"] == Reputation(agreed=1, streak=1)


def test_a_wrong_answer_is_not_paid_and_costs_the_name(vouched: Network) -> None:
    """The job has done its work, and its price goes back."""
    before = vouched.left()
    job_id = slip_in(vouched)
    _, answer = vouched.run(job_id, 0, 6)
    assert answer.credited_ucr == 0
    assert (vouched.job(job_id).state, vouched.states(job_id)) == (JobState.FAILED, [AttemptState.DISPUTED])
    assert (vouched.paid(0), vouched.left()) == (PRICE, before)
    assert vouched.names(0)["render"] == Reputation(agreed=1, disputed=1, streak=0)
    (one,) = vouched.do(known.every)
    assert (one.used, one.account, one.asked) == (True, "studio", {"FAILED": 1})


def test_a_known_answer_looks_like_any_job(vouched: Network) -> None:
    """What a node is told of it differs from another job's only by its ids."""
    other, asked = vouched.submit(), slip_in(vouched)
    for name in ("job_type", "payload", "payload_ref", "inputs", "limits", "price_ucr", "priority", "need"):
        assert getattr(vouched.job(other), name) == getattr(vouched.job(asked), name)
    assert len(asked) == len(str(uuid.UUID(asked)))


def test_nothing_is_asked_where_nobody_pays(vouched: Network) -> None:
    """The submitter's own job is taken all the same."""
    for _ in range(4):
        vouched.submit()
    assert vouched.left() == 0
    assert vouched.do(known.slip_in, ("render",), NOW) == ()


def test_a_known_answer_is_due_with_each_job_of_its_type(vouched: Network) -> None:
    """As often as the policy says, and none once it is removed."""
    new = New(job_id="due", account_id=vouched.account, job_type="render")
    assert vouched.do(submissions.submit, vouched.account, [new], NOW).known_due == ("render",)
    (one,) = vouched.do(known.every)
    assert vouched.do(known.remove, one.job_id)
    assert not vouched.do(known.remove, one.job_id)
    assert vouched.do(known.slip_in, ("render",), NOW) == ()


def test_only_a_completed_job_has_an_answer(vouched: Network) -> None:
    """And not one that asked for a known answer itself."""
    for job_id in (vouched.submit(), slip_in(vouched), "nothing"):
        with pytest.raises(NoAnswerError):
            vouched.do(known.add, job_id)


def test_policies_are_kept_as_they_were_set(network: Network) -> None:
    """And setting the same again is nothing new."""
    assert not network.do(policies.change, "render", ALWAYS, "owner")
    assert network.do(policies.change, "render", None, "owner")
    assert [one.policy for one in network.do(policies.history)] == [ALWAYS, None]
    assert network.do(policies.current) == {}
