"""Receipts on disk, whatever comes in whichever order: each result's is there once, and says what the gateway paid."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeagent.node.receipts.book import Kept, open_book
from edgeagent.node.receipts.keeper import HELD, Keeper, Terms
from edgeagent.node.receipts.recall import recall
from edgeagent.wire import identity
from edgeagent.wire.identity import Signer
from edgeagent.wire.messages import JobResult, JobResultAck, JobVerdict, Outcome, Settled

PRICE, NOW = 10, 1_790_000_000.0  # September 2026
NODE = Signer(identity.new_private_key())
TERMS = Terms("render", PRICE)


@attrs.define
class Case:
    """A result, and what its gateway makes of it, now and in the end."""

    number: int
    checked: bool
    paid: bool
    decided: bool = False
    spooled: bool = True

    @property
    def attempt_id(self) -> str:
        return f"try {self.number}"

    @property
    def result(self) -> JobResult:
        return JobResult(job_id=f"job {self.number}", attempt_id=self.attempt_id, outcome=Outcome.COMPLETED)

    @property
    def settled(self) -> Settled | None:
        """What the gateway signs; of which month and by which signature the node cannot know before."""
        if not self.paid:
            return None
        return Settled(month="2026-10", index=self.number, settled_at=1, signature="ab" * 64, key_id="key")

    @property
    def verdict(self) -> JobVerdict:
        credited_ucr, reason = (PRICE, "confirmed") if self.paid else (0, "others say otherwise")
        return JobVerdict(attempt_id=self.attempt_id, credited_ucr=credited_ucr, reason=reason, settled=self.settled)

    @property
    def ack(self) -> JobResultAck:
        if self.checked and not self.decided:
            return JobResultAck(attempt_id=self.attempt_id, held=True)
        how = self.verdict
        unpaid = "" if self.paid else how.reason
        return JobResultAck(
            attempt_id=self.attempt_id, credited_ucr=how.credited_ucr, settled=how.settled, unpaid=unpaid
        )


class Machine:
    """A node's receipts and spool on its disk, through any number of lives of its process."""

    def __init__(self, home: Path, cases: Sequence[Case], kept_open: ExitStack) -> None:
        self.home, self.cases, self._kept_open = home, cases, kept_open
        self.noted: list[str] = []  # verdicts that counted in this life
        self.start()

    def start(self) -> None:
        """Start the process; the one before was killed, and closed nothing."""
        book = self._kept_open.enter_context(open_book(self.home, "me", durable=False))
        self.keeper = Keeper("me", book, NODE.sign, inline=True, now=lambda: NOW)
        self.keeper.expect({one.attempt_id: TERMS for one in self.cases if one.spooled})
        self.noted = []

    async def tell(self, case: Case, *, killed: bool = False) -> None:
        """The result is acknowledged; ``killed`` where the process ends before the spool forgets it."""
        if case.spooled:
            ack = case.ack
            await self.keeper.keep(self.keeper.signed(case.result), ack)
            case.spooled = killed
        if killed:
            self.start()

    async def tell_too_late(self, case: Case) -> None:
        """It is acknowledged as held, and the verdict overtakes that on its way to the disk."""
        if case.spooled and not case.decided:
            ack = case.ack
            await self.decide(case)
            await self.keeper.keep(self.keeper.signed(case.result), ack)
            case.spooled = False

    async def decide(self, case: Case) -> None:
        """The gateway decides, and says so."""
        case.decided = True
        if case.checked:
            await self.judge(case.verdict)

    async def judge(self, verdict: JobVerdict) -> None:
        if await self.keeper.judged(verdict):
            assert verdict.attempt_id not in self.noted
            self.noted.append(verdict.attempt_id)

    async def ask(self, attempt_ids: Sequence[str]) -> list[JobVerdict]:
        await trio.lowlevel.checkpoint()
        asked = {one.attempt_id: one for one in self.cases}
        return [asked[one].verdict for one in attempt_ids if asked[one].decided]

    async def link(self) -> None:
        """A link comes up: what is spooled is told again, and what is held is asked about."""
        for case in self.cases:
            await self.tell(case)
        await recall(self.keeper.held, self.ask, self.judge)

    def kept(self) -> list[Kept]:
        with open_book(self.home, "me", durable=False) as book:
            return sorted(book.receipts("2026-09") + book.receipts("2026-10"), key=lambda one: one.attempt_id)

    async def decide_unheard(self, case: Case) -> None:
        """The gateway decides, and the node has no link."""
        case.decided = True

    async def tell_and_be_killed(self, case: Case) -> None:
        """The result is acknowledged, and the process ends before the spool forgets it."""
        await self.tell(case, killed=True)

    async def hear_again(self, case: Case) -> None:
        """A verdict comes a second time."""
        if case.decided and case.checked:
            await self.judge(case.verdict)

    async def be_killed(self, _: Case) -> None:
        """The process ends, and is started again."""
        self.start()

    async def be_linked(self, _: Case) -> None:
        """A link comes up."""
        await self.link()


ACTS = (
    Machine.tell,
    Machine.tell_and_be_killed,
    Machine.tell_too_late,
    Machine.decide,
    Machine.decide_unheard,
    Machine.hear_again,
    Machine.be_killed,
    Machine.be_linked,
)
Acts = list[tuple[Callable[[Machine, Case], Awaitable[None]], int]]


async def _live(machine: Machine, acts: Acts) -> None:
    for act, number in acts:
        await act(machine, machine.cases[number % len(machine.cases)])
    for case in machine.cases:
        await machine.decide_unheard(case)
    machine.start()
    await machine.link()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=3),
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, 2)), max_size=12),
)
def test_no_receipt_is_lost_and_none_is_there_twice(kinds: list[tuple[bool, bool]], acts: Acts) -> None:
    """Results, verdicts, kills and links in any order: in the end the book says of each what the gateway paid."""
    cases = [Case(number, checked, paid) for number, (checked, paid) in enumerate(kinds)]
    with tempfile.TemporaryDirectory() as home, ExitStack() as kept_open:
        machine = Machine(Path(home), cases, kept_open)
        trio.run(_live, machine, acts)
        found = machine.kept()

    assert [one.attempt_id for one in cases] == [one.attempt_id for one in found]
    for case, kept in zip(cases, found, strict=True):
        assert (case.verdict.credited_ucr, False) == (kept.credited_ucr, kept.held)
        assert ("" if case.paid else "others say otherwise") == kept.unpaid
        how = case.settled
        assert (how and how.index, "" if how is None else how.signature) == (kept.place, kept.signature)
        assert ("2026-10" if how else "2026-09") == kept.month


def test_what_was_settled_stays_as_it_is(tmp_path: Path) -> None:
    """A gateway that says something else later changes nothing: what it signed first is evidence."""
    case = Case(0, checked=True, paid=True)
    with ExitStack() as kept_open:
        machine = Machine(tmp_path, [case], kept_open)

        async def live() -> None:
            await machine.tell(case)
            await machine.decide(case)
            other = attrs.evolve(case.verdict, credited_ucr=1, settled=None, reason="on second thoughts")
            assert not await machine.keeper.judged(other)

        trio.run(live)
        (kept,) = machine.kept()

    assert (PRICE, 0, "") == (kept.credited_ucr, kept.place, kept.unpaid)


def test_a_settlement_that_cannot_be_one_is_not_noted(tmp_path: Path) -> None:
    """The result goes on waiting for one."""
    case = Case(0, checked=True, paid=True)
    with ExitStack() as kept_open:
        machine = Machine(tmp_path, [case], kept_open)

        async def live() -> None:
            await machine.tell(case)
            assert case.settled is not None
            settled = attrs.evolve(case.settled, month="never")
            assert not await machine.keeper.judged(attrs.evolve(case.verdict, settled=settled))

        trio.run(live)
        (kept,) = machine.kept()

    assert (True, HELD) == (kept.held, kept.unpaid)
