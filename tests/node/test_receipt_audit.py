"""A node against a gateway that cheats: whatever it changes in a month that the node has receipts of is caught."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.errors import RefusedError
from edgeagent.node.receipts import audit
from edgeagent.node.receipts.audit import Correction, Verdict
from edgeagent.node.receipts.book import Book, Kept, Signed
from edgeagent.node.receipts.check import Kind, Proof
from edgeagent.wire import identity, merkle, receipts
from edgeagent.wire.identity import Signer
from edgeagent.wire.messages import JobResult, JobVerdict, Outcome, Settled
from edgeagent.wire.receipts import Settlement, Statement

MONTH, PRICE = "2026-10", 10
NODE, GATEWAY, STRANGER = (Signer(identity.new_private_key()) for _ in range(3))


def receipt(number: int) -> receipts.Receipt:
    """Return the receipt of a job; those of even numbers are our node's."""
    result = JobResult(job_id=f"job {number}", attempt_id=f"try {number}", outcome=Outcome.COMPLETED)
    return receipts.receipt("me" if number % 2 == 0 else "other", "render", PRICE, result)


@attrs.define
class Gateway:
    """An ``audit.Source`` that publishes whatever tree it is given."""

    leaves: list[Settlement] = attrs.Factory(list)
    closed: bool = False
    signer: Signer = GATEWAY
    corrections_made: list[Correction] = attrs.Factory(list)
    earned: int | None = None
    forget: bool = False
    ours: set[str] = attrs.Factory(set)  # digests of receipts
    decided: dict[str, JobVerdict] = attrs.Factory(dict)  # of results that were held
    shifted: int = 0  # by so much the places are wrong that it names with its proofs
    jobs: int = 0  # so many, of which some may have been made to disappear

    def settle(self, number: int) -> Kept:
        """Pay for a job; return what its node keeps of that."""
        made = receipt(number)
        signature = NODE.sign(made.document())
        how = Settlement(
            receipt_sha256=made.sha256,
            node_signature=signature,
            credited_ucr=PRICE,
            month=MONTH,
            index=len(self.leaves),
            settled_at=number,
        )
        self.leaves.append(how)
        if number % 2 == 0:
            self.ours.add(how.receipt_sha256)
        return Kept(
            attempt_id=made.attempt_id,
            month=MONTH,
            document=made.document().decode(),
            price_ucr=PRICE,
            node_signature=signature,
            credited_ucr=PRICE,
            place=how.index,
            settled_at=number,
            signature=self.signer.sign(how.document()),
            key_id=self.signer.key_id,
        )

    def _read(self) -> merkle.Read:
        return merkle.over([one.leaf for one in self.leaves])

    async def keys(self) -> dict[str, str]:
        return {self.signer.key_id: self.signer.public_pem}

    async def statement(self, month: str) -> Signed | None:
        if self.forget:
            return None
        made = Statement(
            month=month,
            size=len(self.leaves),
            root=merkle.root(self._read(), len(self.leaves)).hex(),
            credited_ucr=sum(one.credited_ucr for one in self.leaves),
            issued_at=0,
            closed=self.closed,
        )
        return Signed(made, self.signer.sign(made.document()), self.signer.key_id)

    async def verdicts(self, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        return [self.decided[one] for one in attempt_ids if one in self.decided]

    async def inclusion(self, month: str, leaves: Sequence[bytes], size: int) -> dict[bytes, Proof]:
        if not size:
            raise RefusedError("the tree has no leaves")
        places = {one.leaf: index for index, one in enumerate(self.leaves) if index < size}
        return {
            one: Proof(places[one] + self.shifted, merkle.inclusion(self._read(), places[one], size))
            for one in leaves
            if one in places
        }

    async def consistency(self, month: str, first: int, second: int) -> list[bytes]:
        try:
            return merkle.consistency(self._read(), first, second)
        except ValueError as error:
            raise RefusedError(str(error)) from None

    async def corrections(self, month: str) -> list[Correction]:
        return self.corrections_made

    async def earned_ucr(self, month: str) -> int:
        own = sum(one.receipt_sha256 in self.ours for one in self.leaves)
        return own * PRICE if self.earned is None else self.earned


@contextmanager
def a_book() -> Iterator[Book]:
    """A node's receipts, on no disk."""
    with closing(sqlite3.connect(":memory:")) as database:
        yield Book(database, "me")


def grow(gateway: Gateway, book: Book, count: int) -> None:
    """Have the gateway pay for more jobs; the node keeps its own."""
    for number in range(gateway.jobs, gateway.jobs + count):
        kept = gateway.settle(number)
        if number % 2 == 0:
            book.keep(kept)
    gateway.jobs += count


def look(book: Book, gateway: Gateway) -> Verdict:
    """Audit the month."""

    async def call() -> Verdict:
        return await audit.audit(book, gateway, MONTH)

    return trio.run(call)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_an_honest_gateway_is_never_accused(portions: list[int]) -> None:
    """However the month grows between two looks, and when it closes."""
    with a_book() as book:
        gateway = Gateway()
        for portion in portions:
            grow(gateway, book, portion)
            assert look(book, gateway).faults == ()
        gateway.closed = True
        verdict = look(book, gateway)

    assert verdict.faults == ()
    assert verdict.settled_ucr == PRICE * ((sum(portions) + 1) // 2)


def _drop(gateway: Gateway, at: int) -> None:
    del gateway.leaves[at]


def _alter(gateway: Gateway, at: int) -> None:
    gateway.leaves[at] = attrs.evolve(gateway.leaves[at], credited_ucr=PRICE - 1)


def _swap(gateway: Gateway, at: int) -> None:
    other = (at + 1) % len(gateway.leaves)
    gateway.leaves[at], gateway.leaves[other] = gateway.leaves[other], gateway.leaves[at]


CHEATS = [_drop, _alter, _swap]


@pytest.mark.parametrize("cheat", CHEATS)
@settings(max_examples=30)
@given(size=st.integers(2, 24), at=st.data(), looked_before=st.booleans(), more=st.integers(0, 5))
def test_a_changed_receipt_of_ours_is_named(
    cheat: Callable[[Gateway, int], None], size: int, at: st.DataObject, looked_before: bool, more: int
) -> None:
    """Dropped, altered or moved, whether or not the node looked before, and whatever came after."""
    with a_book() as book:
        gateway = Gateway()
        grow(gateway, book, size)
        if looked_before:
            assert look(book, gateway).faults == ()
        victim = at.draw(st.integers(0, (size - 1) // 2)) * 2
        cheat(gateway, victim)
        grow(gateway, book, more)

        named = {one.attempt_id for one in look(book, gateway).faults if one.kind is Kind.MISSING}

    assert f"try {victim}" in named


@pytest.mark.parametrize("cheat", CHEATS)
@settings(max_examples=30)
@given(size=st.integers(2, 24), at=st.data(), more=st.integers(0, 5))
def test_a_changed_receipt_of_anybody_contradicts_what_was_seen(
    cheat: Callable[[Gateway, int], None], size: int, at: st.DataObject, more: int
) -> None:
    """The node looked once: from then on nothing of the month can be rewritten, not even others' receipts."""
    with a_book() as book:
        gateway = Gateway()
        grow(gateway, book, size)
        assert look(book, gateway).faults == ()
        before = book.statement(MONTH)
        cheat(gateway, at.draw(st.integers(0, size - 1)))
        grow(gateway, book, more)

        assert Kind.STATEMENT in {one.kind for one in look(book, gateway).faults}
        assert book.statement(MONTH) == before


def test_a_closed_month_does_not_grow() -> None:
    """Nor is it opened again."""
    with a_book() as book:
        gateway = Gateway(closed=True)
        grow(gateway, book, 3)
        assert look(book, gateway).faults == ()
        grow(gateway, book, 1)
        assert [Kind.STATEMENT] == [one.kind for one in look(book, gateway).faults]
        gateway.leaves.pop()
        gateway.closed = False
        assert [Kind.STATEMENT] == [one.kind for one in look(book, gateway).faults]


def test_a_month_that_is_gone_is_missed() -> None:
    """No statement at all, where one was seen."""
    with a_book() as book:
        gateway = Gateway()
        grow(gateway, book, 3)
        look(book, gateway)
        gateway.forget = True

        faults = look(book, gateway).faults

    assert {Kind.STATEMENT, Kind.MISSING} == {one.kind for one in faults}
    assert {"try 0", "try 2"} == {one.attempt_id for one in faults} - {""}


def test_a_new_key_does_not_rewrite_the_past() -> None:
    """The gateway's key is another one: the statement still has to follow the one that the old key has signed."""
    with a_book() as book:
        gateway = Gateway()
        grow(gateway, book, 4)
        look(book, gateway)
        gateway.signer = STRANGER
        assert look(book, gateway).faults == ()
        _drop(gateway, 3)
        grow(gateway, book, 2)

        assert Kind.STATEMENT in {one.kind for one in look(book, gateway).faults}


def test_a_statement_that_is_not_signed_is_none() -> None:
    """By a key that the gateway publishes, for the month that was asked for."""

    @attrs.define
    class Forger(Gateway):
        month: str = MONTH

        async def statement(self, month: str) -> Signed | None:
            made = await Gateway.statement(self, self.month)
            assert made is not None
            return made if self.month != MONTH else attrs.evolve(made, signature="00" * 64)

    with a_book() as book:
        for forger, said in ((Forger(), "signature is wrong"), (Forger(month="2026-09"), "it is of 2026-09")):
            assert [said in one.what for one in look(book, forger).faults] == [True]


def test_books_that_say_less_than_the_receipts_are_wrong() -> None:
    """But for what was corrected, which is explained."""
    with a_book() as book:
        gateway = Gateway(earned=20)
        grow(gateway, book, 6)
        assert [Kind.BOOKS] == [one.kind for one in look(book, gateway).faults]
        gateway.corrections_made = [
            Correction(entry=9, kind="refund", reference="job 2", amount_ucr=-10, memo="it was black")
        ]

        assert look(book, gateway).faults == ()


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"credited_ucr": PRICE - 1}, Kind.DIFFERENT),
        ({"signature": "00" * 64}, Kind.DIFFERENT),
        ({"key_id": "nobody's"}, Kind.DIFFERENT),
        ({"place": None}, Kind.DIFFERENT),
        ({"place": None, "credited_ucr": 0}, Kind.UNPAID),
    ],
)
def test_a_receipt_that_was_not_settled_as_agreed_is_named(changed: dict[str, object], kind: Kind) -> None:
    """Less than the price, a wrong signature, none at all, or nothing paid and nothing said; also offline."""
    with a_book() as book:
        gateway = Gateway()
        book.learn({GATEWAY.key_id: GATEWAY.public_pem})
        book.keep(attrs.evolve(gateway.settle(0), **changed))

        (fault,) = audit.offline(book, MONTH).faults

    assert (fault.kind, fault.attempt_id) == (kind, "try 0")


def test_a_late_result_is_shown_and_is_no_fault() -> None:
    """The gateway said why it pays nothing, and an earlier result of the same job won."""
    with a_book() as book:
        book.keep(attrs.evolve(Gateway().settle(0), place=None, credited_ucr=0, unpaid="it came too late"))

        verdict = look(book, Gateway())

    assert verdict.faults == ()
    assert ["it came too late"] == [one.unpaid for one in verdict.unpaid]


def test_a_verdict_that_was_not_heard_is_asked_for() -> None:
    """A result was held, and decided while the node had no link: the receipt is settled before it is checked."""
    with a_book() as book:
        gateway = Gateway()
        kept = gateway.settle(0)
        assert kept.place is not None
        assert kept.settled_at is not None
        book.keep(attrs.evolve(kept, credited_ucr=0, place=None, settled_at=None, unpaid="it waits", held=True))
        assert (0, ("it waits",)) == _paid(audit.offline(book, MONTH))
        how = Settled(
            month=MONTH,
            index=kept.place,
            settled_at=kept.settled_at,
            signature=kept.signature,
            key_id=kept.key_id,
            node_signature=kept.node_signature,
        )
        gateway.decided = {kept.attempt_id: JobVerdict(attempt_id=kept.attempt_id, credited_ucr=PRICE, settled=how)}

        verdict = look(book, gateway)

        assert verdict.faults == ()
        assert (PRICE, ()) == _paid(verdict)
        assert book.receipts(MONTH) == [kept]


def _paid(verdict: Verdict) -> tuple[int, tuple[str, ...]]:
    return verdict.settled_ucr, tuple(one.unpaid for one in verdict.unpaid)


def test_a_proof_is_for_the_place_that_was_signed() -> None:
    """A gateway that names another place than it signed proves nothing, whatever its hashes are."""
    with a_book() as book:
        gateway = Gateway(shifted=1)
        grow(gateway, book, 3)

        assert ["try 0", "try 2"] == [one.attempt_id for one in look(book, gateway).faults]
