"""What the owner does with the books: check them, hand them out, grant, refund, correct, set prices.

Works beside a running gateway or without one (``gateway.data``).  Whatever changes an account is in the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import sqlalchemy as sa

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import exports, ledger
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import owner, reading, transaction
from edgeagent.gateway.exports import Held
from edgeagent.gateway.jobs import AttemptState, JobState
from edgeagent.gateway.ledger import CreditsShortError, Entry
from edgeagent.gateway.store import Tx, accounts, audit, orders, prices, standings, verification
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.ledger import ReferenceUsedError
from edgeagent.gateway.store.prices import Price
from edgeagent.gateway.store.tables import attempts, jobs
from edgeagent.gateway.store.tables import nodes as node_rows
from edgeagent.gateway.store.verification import Verdict
from edgeagent.wire.units import format_credits


def verify(place: GatewaySettings) -> Verdict:
    """Check all books.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return verification.verify(tx)


def export(place: GatewaySettings, kind: str, out: TextIO) -> None:
    """Write all entries to ``out`` as ``csv``, ``json`` or ``hledger`` (``gateway.exports``)."""
    with reading(place) as tx:
        for text in exports.FORMATS[kind](books.entries(tx), held(tx)):
            out.write(text)


def balances(place: GatewaySettings) -> list[Held]:
    """Return every account in the books, sorted.  Raises as ``data.reading``."""
    with reading(place) as tx:
        return held(tx)


def held(tx: Tx) -> list[Held]:
    """Return every account in the books, sorted."""
    names = {row.node_id: row.name for row in tx.connection.execute(sa.select(node_rows.c.node_id, node_rows.c.name))}
    names |= {account_id: name for name, account_id in accounts.ids(tx).items()}
    return [
        Held(account, names.get(account.partition(":")[2], ""), ucr)
        for account, ucr in sorted(books.all_balances(tx).items())
    ]


def grant(place: GatewaySettings, account: str, amount_ucr: int, reference: str, memo: str) -> bool:
    """Give a submitter credits, once for each reference; return whether they are new.

    Raises:
        EdgeAgentError: there is no such account, or the reference stands for another grant.
    """
    with _posting(place) as tx:
        entry = ledger.grant(_account_id(tx, account), amount_ucr, _reference(reference), memo)
        return _post(tx, entry, "credits.grant", account)


def adjust(place: GatewaySettings, whom: str, amount_ucr: int, reference: str, memo: str) -> bool:
    """Correct what a submitter or a node has, once for each reference; return whether that is new.

    Args:
        whom: ``submitter:NAME`` or ``node:NAME``; a node also by its id.
        amount_ucr: up, or (negative) down, never below zero.

    Raises:
        UsageError: ``whom`` is neither, or there is nothing to correct.
        EdgeAgentError: there is none of that name, it has less than that, or the reference is taken.
    """
    kind, _, name = whom.partition(":")
    if kind not in {"submitter", "node"} or not name:
        raise UsageError(f"{whom!r} is no account; write submitter:NAME or node:NAME")
    if amount_ucr == 0:
        raise UsageError("an adjustment of nothing changes nothing")
    with _posting(place) as tx:
        if kind == "submitter":
            account, node_id = ledger.submitter_account(_account_id(tx, name)), None
        else:
            node_id = _node_id(tx, name)
            account = ledger.node_account(node_id)
        new = _post(tx, ledger.adjustment(account, amount_ucr, _reference(reference), memo), "credits.adjust", whom)
        if new and node_id is not None:
            standings.adjust_earned(tx, node_id, amount_ucr)
        return new


def refund(place: GatewaySettings, job_id: str, memo: str, *, from_node: bool) -> bool:
    """Give a completed job's price back to its submitter, once; return whether that is new.

    Args:
        from_node: the nodes that had earned it pay, not the network.

    Raises:
        EdgeAgentError: there is no such job, it has not COMPLETED or cost nothing, or the node has less than that.
    """
    with _posting(place) as tx:
        row = tx.connection.execute(
            sa.select(jobs.c.account_id, jobs.c.state, jobs.c.price_ucr, jobs.c.credited_ucr).where(
                jobs.c.job_id == job_id
            )
        ).one_or_none()
        if row is None:
            raise EdgeAgentError(f"there is no job {job_id!r}; see: edgeagent gateway jobs list")
        if JobState(row.state) is not JobState.COMPLETED or not row.price_ucr:
            raise EdgeAgentError(f"only a COMPLETED job that cost something is refunded; it is {row.state}")
        payers = _paid(tx, job_id) if from_node else []
        entry = ledger.refund(row.account_id, job_id, row.credited_ucr, payers, memo)
        new = _post(tx, entry, "credits.refund", job_id)
        if new:
            for payer in payers:
                standings.adjust_earned(tx, payer, -row.price_ucr)
        return new


def set_price(place: GatewaySettings, job_type: str, price_ucr: int) -> bool:
    """Set what a job type costs from now on; return whether that is new.

    Raises:
        UsageError: not a job type's name, or a price below zero.
    """
    if not (0 < len(job_type) <= 100 and job_type.isprintable()):
        raise UsageError("a job type's name has 1 to 100 printable characters; * stands for all that have no price")
    if price_ucr < 0:
        raise UsageError("a price cannot be negative")
    with transaction(place) as tx:
        return prices.change(tx, job_type, price_ucr, owner())


def price_list(place: GatewaySettings) -> dict[str, int]:
    """Return what each job type costs now, in micro-credits; ``ledger.ANY_OTHER`` is for all others."""
    with reading(place) as tx:
        changed = prices.current(tx)
    names = [*sorted((ledger.PRICES_UCR.keys() | changed.keys()) - {ledger.ANY_OTHER}), ledger.ANY_OTHER]
    return {name: ledger.price_ucr(name, changed) for name in names}


def price_history(place: GatewaySettings) -> list[Price]:
    """Return every price that the owner has set, oldest first."""
    with reading(place) as tx:
        return prices.history(tx)


@contextmanager
def _posting(place: GatewaySettings) -> Iterator[Tx]:
    with transaction(place) as tx:
        try:
            yield tx
        except (CreditsShortError, ReferenceUsedError) as error:
            raise EdgeAgentError(str(error)) from None


def _post(tx: Tx, entry: Entry, action: str, subject: str) -> bool:
    new = books.post_once(tx, entry)
    if new:
        moved = max(one.amount_ucr for one in entry.postings)
        audit.record(tx, owner(), action, subject, f"{format_credits(moved)} credits, {entry.reference}: {entry.memo}")
    return new


def _paid(tx: Tx, job_id: str) -> list[str]:
    """Return the nodes that were paid for a job."""
    completed = attempts.c.state == AttemptState.COMPLETED.value
    found = sa.select(attempts.c.node_id).where(attempts.c.job_id == job_id, completed).order_by(attempts.c.seq)
    return list(tx.connection.scalars(found))


def _reference(text: str) -> str:
    if not (0 < len(text) <= 150 and text.isprintable() and text.strip()):
        raise UsageError("a reference has 1 to 150 printable characters: an invoice's number, for example")
    return text


def _account_id(tx: Tx, name: str) -> str:
    try:
        return accounts.ids(tx)[name]
    except KeyError:
        raise EdgeAgentError(f"there is no account {name!r}; see: edgeagent gateway token list") from None


def _node_id(tx: Tx, name: str) -> str:
    try:
        return orders.find(tx, name)
    except LookupError as error:
        raise EdgeAgentError(f"{error.args[0]}; see: edgeagent gateway nodes list") from None
