"""Results that are compared: what is held of them, what comparing says, and what that makes of nodes' names.

``weigh`` is asked once for each valid result of a job whose type has a policy, or that is a known answer; nothing here
runs for any other.  ``store.jobs`` makes of a ``Weighed`` what happens to the job and its money.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import attrs
import orjson
import sqlalchemy as sa

from edgeagent import chance
from edgeagent.gateway import comparisons, trust
from edgeagent.gateway.comparisons import NoComparisonError
from edgeagent.gateway.jobs import AttemptState
from edgeagent.gateway.store import policies
from edgeagent.gateway.store.results import as_json
from edgeagent.gateway.store.tables import attempts, jobs, nodes, outputs
from edgeagent.gateway.store.trust_tables import held_results, known_answers, reputations
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.trust import Output, Policy, Reputation, Result, Ruling, Verdict
from edgeagent.wire.messages import JobResult

#: A row of which only the names of the columns are known.
_Row = Any

_OPERATOR = sa.select(nodes.c.node_id, nodes.c.operator).where(nodes.c.node_id == sa.bindparam("node"))
_HELD = (
    sa.select(attempts.c.attempt_id, attempts.c.node_id, held_results)
    .join_from(attempts, held_results)
    .where(attempts.c.job_id == sa.bindparam("job"), attempts.c.state == AttemptState.HELD.value)
    .order_by(attempts.c.ended_at, attempts.c.seq)
)
_OUTPUTS = sa.select(outputs.c.name, outputs.c.size_bytes, outputs.c.sha256).where(
    outputs.c.attempt_id == sa.bindparam("attempt")
)
_REPUTATION = sa.select(reputations).where(
    reputations.c.node_id == sa.bindparam("node"), reputations.c.job_type == sa.bindparam("kind")
)
_KNOWN = (
    sa.select(jobs.c.current_attempt, jobs.c.value, jobs.c.result_ref)
    .join_from(known_answers, jobs)
    .where(known_answers.c.seq == sa.bindparam("known"))
)
#: Both databases say it so; SQLAlchemy has a way of its own for each.
_COUNT = sa.text(
    "INSERT INTO reputations (node_id, job_type, agreed, disputed, streak) "
    "VALUES (:node, :kind, :right, :wrong, :right) "
    "ON CONFLICT (node_id, job_type) DO UPDATE SET agreed = reputations.agreed + excluded.agreed, "
    "disputed = reputations.disputed + excluded.disputed, streak = reputations.streak + excluded.streak"
)
_BEGIN_ANEW = sa.update(reputations).where(reputations.c.node_id == sa.bindparam("who")).values(streak=0)


@attrs.frozen(kw_only=True)
class Weighed:
    """What becomes of a result.

    ``ruling`` is None where it does not count: its operator has given one before.  ``apart`` are the operators that
    have given one, this one's with them; ``known`` says that it was compared with a known answer.
    """

    result: Result
    ruling: Ruling | None
    verdict: Verdict | None = None
    apart: tuple[str, ...] = ()
    known: bool = False


@attrs.frozen(kw_only=True)
class Name:
    """How a node's results of one type stood up; ``share`` of them is checked now, None where the type is not."""

    node_id: str
    name: str
    operator: str
    job_type: str
    reputation: Reputation
    share: float | None


def weigh(tx: Tx, row: _Row, node_id: str, result: JobResult) -> Weighed | None:
    """Return what a valid result leads to, or None where it is taken without a check.

    Args:
        row: its job's, with ``job_id``, ``job_type`` and ``known_answer``.
    """
    new = _result(tx, result.attempt_id, node_id, operator(tx, node_id), result.value, result.result_ref)
    policy = policies.current(tx).get(row.job_type)
    same = _same(policy)
    if row.known_answer is not None:
        return _against_known(tx, row.known_answer, new, same)
    held = _held(tx, row.job_id)
    apart = tuple(sorted({new.operator, *(one.operator for one in held)}))
    if any(one.operator == new.operator for one in held):
        return Weighed(result=new, ruling=None, apart=apart)
    if not held and not _due(tx, row.job_type, node_id, policy):
        return None
    verdict = trust.judge(held, new, same)
    return Weighed(result=new, ruling=verdict.ruling, verdict=verdict, apart=apart)


def operator(tx: Tx, node_id: str) -> str:
    """Return who answers for a node (``trust.operator_of``)."""
    return trust.operator_of(*tx.connection.execute(_OPERATOR, {"node": node_id}).one())


def hold(tx: Tx, result: Result) -> None:
    """Keep a result that others are to agree with."""
    tx.connection.execute(
        sa.insert(held_results).values(
            attempt_id=result.attempt_id,
            operator=result.operator,
            value=as_json(result.value),
            result_ref=result.result_ref,
        )
    )


def count(job_type: str, right: Collection[str], wrong: Collection[str]) -> Callable[[Tx], None]:
    """Return the request that counts for and against the nodes whose results were compared."""
    counts = [{"node": one, "kind": job_type, "right": 1, "wrong": 0} for one in sorted(right)]
    counts += [{"node": one, "kind": job_type, "right": 0, "wrong": 1} for one in sorted(wrong)]

    def write(tx: Tx) -> None:
        if counts:
            tx.connection.execute(_COUNT, counts)
        if wrong:
            tx.connection.execute(_BEGIN_ANEW, [{"who": one} for one in sorted(wrong)])

    return write


def names(tx: Tx, node_id: str | None = None, *, wrong_only: bool = False) -> list[Name]:
    """Return how the results of one node, or of all, stood up, as far as any was compared; oldest node first.

    Args:
        wrong_only: only those of which any was wrong.
    """
    wanted = (
        sa.select(nodes.c.node_id, nodes.c.name, nodes.c.operator, reputations)
        .join_from(nodes, reputations)
        .order_by(nodes.c.seq, reputations.c.job_type)
    )
    if node_id is not None:
        wanted = wanted.where(nodes.c.node_id == node_id)
    if wrong_only:
        wanted = wanted.where(reputations.c.disputed > 0)
    checked = policies.current(tx)
    return [
        Name(
            node_id=row.node_id,
            name=row.name,
            operator=row.operator,
            job_type=row.job_type,
            reputation=_reputation(row),
            share=checked[row.job_type].share(row.streak) if row.job_type in checked else None,
        )
        for row in tx.connection.execute(wanted)
    ]


def most_disputed(tx: Tx, limit: int) -> list[Name]:
    """Return those nodes and job types whose results were wrong, the most often wrong first."""
    return sorted(names(tx, wrong_only=True), key=lambda one: -one.reputation.disputed)[:limit]


def doubted(tx: Tx) -> set[str]:
    """Return the nodes whose last result that was compared was wrong, in some job type."""
    wanted = sa.select(reputations.c.node_id).where(reputations.c.disputed > 0, reputations.c.streak == 0)
    return set(tx.connection.scalars(wanted))


def _due(tx: Tx, job_type: str, node_id: str, policy: Policy | None) -> bool:
    if policy is None:  # checks were ended since the job was submitted
        return False
    row = tx.connection.execute(_REPUTATION, {"node": node_id, "kind": job_type}).one_or_none()
    reputation = Reputation() if row is None else _reputation(row)
    return chance.rng().random() < policy.share(reputation.streak)


def _same(policy: Policy | None) -> comparisons.Same:
    rule = comparisons.Rule() if policy is None else policy.rule
    try:
        return comparisons.comparison(rule)
    except NoComparisonError:  # it was there when the policy was set; two equal results are the same by any
        return comparisons.comparison(comparisons.Rule())


def _against_known(tx: Tx, known: int, new: Result, same: comparisons.Same) -> Weighed:
    row = tx.connection.execute(_KNOWN, {"known": known}).one()
    answer = _result(tx, row.current_attempt, "", "", orjson.loads(row.value), row.result_ref)
    ruling = Ruling.AGREED if same(answer, new) else Ruling.SPLIT
    return Weighed(result=new, ruling=ruling, known=True)


def _held(tx: Tx, job_id: str) -> list[Result]:
    return [
        _result(tx, row.attempt_id, row.node_id, row.operator, orjson.loads(row.value), row.result_ref)
        for row in tx.connection.execute(_HELD, {"job": job_id})
    ]


def _result(tx: Tx, attempt_id: str, node_id: str, who: str, value: Any, result_ref: str | None) -> Result:
    rows: Sequence[Any] = tx.connection.execute(_OUTPUTS, {"attempt": attempt_id}).all()
    files = sorted((row.name, row.size_bytes, row.sha256) for row in rows)  # each database sorts by its own rules
    return Result(
        attempt_id=attempt_id,
        node_id=node_id,
        operator=who,
        value=value,
        result_ref=result_ref,
        outputs=tuple(Output(name=name, size_bytes=size, sha256=sha256) for name, size, sha256 in files),
    )


def _reputation(row: _Row) -> Reputation:
    return Reputation(agreed=row.agreed, disputed=row.disputed, streak=row.streak)
