"""Credits as double entry: what each event posts where, and the chain of hashes over the entries.

Every entry's postings sum to zero and no account but the issuer's goes below zero; the issuer's balance is minus all
credits in circulation.  Pure values in whole micro-credits; ``store.ledger`` writes them.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import attrs

from edgeagent.wire.units import UCR_PER_CREDIT, format_credits

#: The operator guide's table "Credits Earned"; it is silent on other types, which count as the cheapest that earns.
PRICES_UCR = {
    "render": 10 * UCR_PER_CREDIT,
    "inference": 5 * UCR_PER_CREDIT,
    "cpu_benchmark": UCR_PER_CREDIT,
    "echo": 0,
}
OTHER_PRICE_UCR = UCR_PER_CREDIT

#: Where granted credits come from, and what the owner makes good for goes to and comes from.
ISSUER = "issuer"
#: What was paid out of the network.
PAID_OUT = "payouts"
#: In a table of prices: every type that has none of its own.
ANY_OTHER = "*"
#: Made once: ``json.dumps`` makes one for each call that asks for other separators.
_JSON = json.JSONEncoder(separators=(",", ":"))
#: ``previous`` of the first entry.
FIRST_HASH = "0" * 64


class CreditsShortError(Exception):
    """An account holds less than is to be taken from it."""


class Kind(enum.StrEnum):
    """Why an entry was made."""

    GRANT = "grant"
    HOLD = "hold"
    SETTLE = "settle"
    RELEASE = "release"
    REFUND = "refund"
    PAYOUT = "payout"
    RETURN = "return"
    ADJUSTMENT = "adjustment"


#: Kinds that move what was earned out to an operator, or back because it could not be paid; neither is earnings.
OF_PAYOUTS = frozenset({Kind.PAYOUT, Kind.RETURN})
#: Kinds that a job causes; their reference is its id.
OF_JOBS = frozenset({Kind.HOLD, Kind.SETTLE, Kind.RELEASE, Kind.REFUND})


@attrs.frozen
class Posting:
    """One line of an entry; positive is into the account."""

    account: str
    amount_ucr: int


def _balanced(_: object, attribute: object, postings: tuple[Posting, ...]) -> None:
    if sum(posting.amount_ucr for posting in postings) != 0:
        raise ValueError("the postings of an entry sum to zero")
    if len({posting.account for posting in postings}) != len(postings) or not all(p.amount_ucr for p in postings):
        raise ValueError("an entry posts to each account once, and never zero")


@attrs.frozen
class Entry:
    """One event in the books.

    There is at most one entry of a kind with the same ``reference``: a job's id, a month and a node, or what the owner
    calls it; so nothing is posted twice.  Without one (a grant with a new token) an entry may repeat.  ``memo`` is the
    owner's reason.
    """

    kind: Kind
    reference: str
    postings: tuple[Posting, ...] = attrs.field(validator=_balanced)
    memo: str = ""


def price_ucr(job_type: str, changed_ucr: Mapping[str, int] = MappingProxyType({})) -> int:
    """Return what a job of this type costs, all of which goes to the operator.

    Args:
        changed_ucr: the prices that the owner has set, by job type or ``ANY_OTHER``; the guide's stand for the rest.
    """
    if job_type in changed_ucr:
        return changed_ucr[job_type]
    if job_type in PRICES_UCR:
        return PRICES_UCR[job_type]
    return changed_ucr.get(ANY_OTHER, OTHER_PRICE_UCR)


def submitter_account(account_id: str) -> str:
    """Return the name in the books of what a submitter may spend."""
    return f"submitter:{account_id}"


def held_account(account_id: str) -> str:
    """Return the name in the books of what a submitter's open jobs will cost."""
    return f"held:{account_id}"


def node_account(node_id: str) -> str:
    """Return the name in the books of what a node has earned."""
    return f"node:{node_id}"


def grant(account_id: str, amount_ucr: int, reference: str = "", memo: str = "") -> Entry:
    """Return the entry that gives a submitter credits."""
    return _move(Kind.GRANT, reference, ISSUER, submitter_account(account_id), amount_ucr, memo)


def hold(account_id: str, job_id: str, amount_ucr: int) -> Entry:
    """Return the entry that sets aside what a job may cost when it is submitted."""
    return _move(Kind.HOLD, job_id, submitter_account(account_id), held_account(account_id), amount_ucr)


def settle(account_id: str, job_id: str, node_ids: Sequence[str], price_ucr: int, held_ucr: int) -> Entry:
    """Return the entry that pays a completed job's price to each node that is paid for it, and gives the rest back."""
    back_ucr = held_ucr - price_ucr * len(node_ids)
    postings = [Posting(held_account(account_id), -held_ucr)]
    postings += [Posting(node_account(node_id), price_ucr) for node_id in node_ids]
    if back_ucr:
        postings.append(Posting(submitter_account(account_id), back_ucr))
    return Entry(Kind.SETTLE, job_id, tuple(postings))


def release(account_id: str, job_id: str, amount_ucr: int) -> Entry:
    """Return the entry that gives back what was set aside for a job that failed or was cancelled."""
    return _move(Kind.RELEASE, job_id, held_account(account_id), submitter_account(account_id), amount_ucr)


def refund(account_id: str, job_id: str, amount_ucr: int, node_ids: Sequence[str] = (), memo: str = "") -> Entry:
    """Return the entry that gives back what a completed job cost: from the nodes that earned it, or the network."""
    if not node_ids:
        return _move(Kind.REFUND, job_id, ISSUER, submitter_account(account_id), amount_ucr, memo)
    each_ucr = amount_ucr // len(node_ids)  # each had earned the price
    payers = [Posting(node_account(node_id), -each_ucr) for node_id in node_ids]
    back = Posting(submitter_account(account_id), each_ucr * len(node_ids))
    return Entry(Kind.REFUND, job_id, (*payers, back), memo)


def payout(month: str, node_id: str, amount_ucr: int) -> Entry:
    """Return the entry that pays out to a node's operator what it has earned until the end of a month."""
    return _move(Kind.PAYOUT, f"{month} {node_id}", node_account(node_id), PAID_OUT, amount_ucr)


def payout_return(month: str, node_id: str, amount_ucr: int, memo: str = "") -> Entry:
    """Return the entry that gives a node back what was to be paid out for a month and could not be."""
    return _move(Kind.RETURN, f"{month} {node_id}", PAID_OUT, node_account(node_id), amount_ucr, memo)


def adjustment(account: str, amount_ucr: int, reference: str, memo: str) -> Entry:
    """Return the entry by which the owner corrects an account in the books, up or (negative) down."""
    return _move(Kind.ADJUSTMENT, reference, ISSUER, account, amount_ucr, memo)


def apply(balances_ucr: Mapping[str, int], entry: Entry) -> dict[str, int]:
    """Return the balances after ``entry`` of the accounts it touches; an account not given holds nothing.

    Raises:
        CreditsShortError: an account other than the issuer's would go below zero.
    """
    after = {}
    for posting in entry.postings:
        before = balances_ucr.get(posting.account, 0)
        after[posting.account] = before + posting.amount_ucr
        if posting.account != ISSUER and after[posting.account] < 0:
            needed, there = format_credits(-posting.amount_ucr), format_credits(before)
            raise CreditsShortError(f"{needed} credits are needed and {there} are there")
    return after


def chain_hash(previous: str, entry: Entry, at: float) -> str:
    """Return the SHA-256 in hex that ties ``entry``, made ``at`` seconds since the epoch, to the one before it."""
    lines = sorted([posting.account, posting.amount_ucr] for posting in entry.postings)
    document = _JSON.encode([previous, entry.kind, entry.reference, entry.memo, repr(at), lines])
    return hashlib.sha256(document.encode()).hexdigest()


def _move(kind: Kind, reference: str, source: str, target: str, amount_ucr: int, memo: str = "") -> Entry:
    return Entry(kind, reference, (Posting(source, -amount_ucr), Posting(target, amount_ucr)), memo)
