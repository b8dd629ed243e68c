"""Jobs as they come in: stored, paid for and queued in one transaction, once for each idempotency key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import attrs
import orjson
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from edgeagent import chance
from edgeagent.gateway import ledger
from edgeagent.gateway.backlog import Waiting
from edgeagent.gateway.jobs import MAX_ATTEMPTS, USUAL_PRIORITY, JobState
from edgeagent.gateway.needs import Need, memory_needed
from edgeagent.gateway.references import digest_of, kind_of
from edgeagent.gateway.store import files, nodes, policies, prices
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.prepared import Among, Many
from edgeagent.gateway.store.tables import idempotency_keys, job_types, jobs
from edgeagent.gateway.store.writer import Tx
from edgeagent.gateway.trust import QUORUM, Policy
from edgeagent.wire.codec import converter
from edgeagent.wire.messages import Limits, Reference

#: Seconds that an idempotency key is remembered for: a day, and another one for a wall clock that was set.
KEY_LIFE_S = 2 * 86400.0

_TYPES = Among(
    sa.select(job_types.c.job_type).where(job_types.c.job_type.in_(sa.bindparam("names", expanding=True))), "names"
)
_ADD_JOBS = Many(sa.insert(jobs))
_SEQS = Among(sa.select(jobs.c.job_id, jobs.c.seq).where(jobs.c.job_id.in_(sa.bindparam("ids", expanding=True))), "ids")
_KEY = sa.select(idempotency_keys).where(
    idempotency_keys.c.account_id == sa.bindparam("account"), idempotency_keys.c.key == sa.bindparam("name")
)
_ADD_KEY = sa.insert(idempotency_keys)
# Locked: the owner's command and the submitter's request must not both make a job in its place.
_JOB = sa.select(jobs).where(jobs.c.job_id == sa.bindparam("job")).with_for_update()
_REQUEUED = sa.update(jobs).where(jobs.c.job_id == sa.bindparam("id"))


class UnknownJobTypeError(Exception):
    """No node has ever offered this job type; the text says which there are, ``index`` which job of a batch it was."""

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index


class KeyReusedError(Exception):
    """The idempotency key was used for another request."""


class KeyRacedError(Exception):
    """Another gateway on the same database takes a request with this key at this moment: try again."""


class NotDeadError(Exception):
    """Only a job that FAILED or was CANCELLED can be queued again; the text says how it stands."""


class FileGoneError(Exception):
    """The account has not, or no more, a file that a job refers to; the text is the reference."""


@attrs.frozen(kw_only=True)
class New:
    """A job as it is submitted; ``tier`` and ``memory_bytes``, with the GPUs of its limits, are what it requires."""

    job_id: str
    account_id: str
    job_type: str
    payload: dict[str, Any] = attrs.Factory(dict)
    payload_ref: str | None = None
    inputs: dict[str, Reference] = attrs.Factory(dict)
    limits: Limits = attrs.Factory(Limits)
    priority: int = USUAL_PRIORITY
    max_attempts: int = MAX_ATTEMPTS
    deadline_s: float | None = None
    tier: str = ""
    memory_bytes: int = 0

    @cached_property
    def need(self) -> Need:
        """What a node must offer to get it."""
        return Need(
            job_type=self.job_type,
            tier=self.tier,
            gpus=self.limits.gpus,
            memory_bytes=memory_needed(self.memory_bytes, self.limits.memory_bytes),
            fetches=tuple(sorted({kind_of(ref) for ref in self.refs})),
        )

    @property
    def refs(self) -> list[str]:
        """Where its payload and inputs lie."""
        return [*([self.payload_ref] if self.payload_ref else []), *(one.ref for one in self.inputs.values())]


@attrs.frozen
class Key:
    """An idempotency key of an account, and the digest of the request that came with it."""

    name: str
    request_sha256: str


@attrs.frozen
class Submitted:
    """What a submission led to: its jobs, and those of them that are new in the queue.

    ``prices_ucr`` are what its jobs cost, where they are new; ``known_due`` are job types of which a known-answer job
    is due now (``store.known``).
    """

    job_ids: tuple[str, ...]
    waiting: tuple[Waiting, ...] = ()
    prices_ucr: tuple[int, ...] = ()
    known_due: tuple[str, ...] = ()

    @property
    def replayed(self) -> bool:
        """Whether the same submission had been taken before."""
        return not self.waiting


def submit(
    tx: Tx,
    account_id: str,
    batch: Sequence[New],
    steady_now: float,
    key: Key | None = None,
    *,
    known_answer: int | None = None,
) -> Submitted:
    """Store an account's jobs and set their price aside: all of them, or none.

    Args:
        steady_now: what deadlines are counted from (``hub.Hub.steady``).
        key: makes the same submission again harmless.
        known_answer: the jobs ask for this one, whose result decides without another node's.

    Raises:
        KeyReusedError: see there.
        KeyRacedError: see there.
        UnknownJobTypeError: see there.
        FileGoneError: see there.
        CreditsShortError: the account cannot pay for them.
    """
    if key is not None:
        row = tx.connection.execute(_KEY, {"account": account_id, "name": key.name}).one_or_none()
        if row is not None:
            if row.request_sha256 != key.request_sha256:
                raise KeyReusedError(key.name)
            return Submitted(tuple(orjson.loads(row.job_ids)))
    _check_types(tx, batch)
    refs = _files(tx, account_id, batch)
    changed_ucr = prices.current(tx)
    checked = policies.current(tx)
    rows = [_row(new, ledger.price_ucr(new.job_type, changed_ucr), tx.now, steady_now) for new in batch]
    for made in rows:
        made["quorum"] = QUORUM if made["job_type"] in checked and known_answer is None else 1
        made["known_answer"] = known_answer
    held = [(row["job_id"], row["price_ucr"] * row["quorum"]) for row in rows if row["price_ucr"]]
    books.post_all(tx, [ledger.hold(account_id, job_id, held_ucr) for job_id, held_ucr in held])
    _ADD_JOBS.run(tx, rows)
    files.refer(tx, refs)
    job_ids = tuple(new.job_id for new in batch)
    if key is not None:
        entry = {"request_sha256": key.request_sha256, "job_ids": _json(job_ids), "created_at": tx.now}
        try:
            tx.connection.execute(_ADD_KEY, {"account_id": account_id, "key": key.name, **entry})
        except IntegrityError:
            raise KeyRacedError(key.name) from None
    seqs = {row.job_id: row.seq for row in _SEQS.rows(tx, job_ids)}
    waiting = tuple(Waiting(new.job_id, account_id, new.need, new.priority, seqs[new.job_id]) for new in batch)
    due = () if known_answer is not None else _known_due(batch, checked)
    return Submitted(job_ids, waiting, tuple(made["price_ucr"] for made in rows), due)


def requeue(tx: Tx, job_id: str, steady_now: float, account_id: str | None = None) -> Submitted:
    """Submit a dead letter again, as a new job at today's price; once: the same call again returns the same job.

    The job that failed stays as it is, with its attempts and its entries in the books.

    Args:
        account_id: whose job it must be; None for the network's owner.

    Raises:
        LookupError: there is no such job.
        NotDeadError: it has not FAILED, nor was it CANCELLED.
        FileGoneError: see there.
        CreditsShortError: the account cannot pay for it again.
    """
    row = tx.connection.execute(_JOB, {"job": job_id}).one_or_none()
    if row is None or account_id not in (None, row.account_id):
        raise LookupError(job_id)
    if row.requeued_as is not None:
        return Submitted((row.requeued_as,))
    if JobState(row.state) not in {JobState.FAILED, JobState.CANCELLED}:
        raise NotDeadError(f"only a job that FAILED or was CANCELLED can be queued again; it is {row.state}")
    new = again(row)
    submitted = submit(tx, row.account_id, [new], steady_now)
    tx.connection.execute(_REQUEUED, {"id": job_id, "requeued_as": new.job_id})
    tx.connection.execute(_REQUEUED, {"id": new.job_id, "requeue_of": job_id})
    return submitted


def again(row: Any) -> New:
    """Return a job's row as a new job that asks for the same."""
    need = Need.parse(row.need)
    return New(
        job_id=chance.new_id(),
        account_id=row.account_id,
        job_type=row.job_type,
        payload=orjson.loads(row.payload),
        payload_ref=row.payload_ref,
        inputs={name: Reference(**one) for name, one in orjson.loads(row.inputs).items()},
        limits=Limits(**orjson.loads(row.limits)),
        priority=row.priority,
        max_attempts=row.max_attempts,
        deadline_s=row.deadline_s,
        tier=need.tier,
        memory_bytes=need.memory_bytes,
    )


def forget_keys(tx: Tx) -> None:
    """Forget the idempotency keys whose time is over."""
    tx.connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < tx.now - KEY_LIFE_S))


def _check_types(tx: Tx, batch: Sequence[New]) -> None:
    known = {row.job_type for row in _TYPES.rows(tx, list({new.job_type for new in batch}))}
    for index, new in enumerate(batch):
        if new.job_type not in known:
            there = ", ".join(nodes.known_job_types(tx)) or "none yet"
            raise UnknownJobTypeError(index, f"no node has ever offered job type {new.job_type!r}; there are: {there}")


def _files(tx: Tx, account_id: str, batch: Sequence[New]) -> list[tuple[str, str]]:
    """Return which jobs refer to which files of the gateway's, all of which the account has."""
    refs = [(new.job_id, digest) for new in batch for ref in new.refs if (digest := digest_of(ref)) is not None]
    there = files.held(tx, account_id, {digest for _, digest in refs})
    for _, digest in refs:
        if digest not in there:
            raise FileGoneError(f"sha256:{digest}")
    return refs


def _row(new: New, price_ucr: int, now: float, steady_now: float) -> dict[str, Any]:
    return {
        "job_id": new.job_id,
        "account_id": new.account_id,
        "job_type": new.job_type,
        "need": str(new.need),
        "priority": new.priority,
        "max_attempts": new.max_attempts,
        "payload": _json(new.payload),
        "payload_ref": new.payload_ref,
        "inputs": _json(converter.unstructure(new.inputs)),
        "limits": _json(converter.unstructure(new.limits)),
        "state": JobState.QUEUED.value,
        "retries": 0,
        "deadline_s": new.deadline_s,
        "deadline_at": None if new.deadline_s is None else steady_now + new.deadline_s,
        "price_ucr": price_ucr,
        "credited_ucr": 0,
        "progress_text": "",
        "created_at": now,
    }


def _known_due(batch: Sequence[New], checked: Mapping[str, Policy]) -> tuple[str, ...]:
    asked = [new.job_type for new in batch if new.job_type in checked and checked[new.job_type].known]
    return tuple(job_type for job_type in asked if chance.rng().random() < checked[job_type].known)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
