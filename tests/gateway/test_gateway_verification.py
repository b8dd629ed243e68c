"""The auditor: books that hold pass, and whatever is changed in them behind the gateway's back is found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stored_books import Books, keep_books

from edgeagent.gateway import bookkeeping, ledger
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.ledger import Kind
from edgeagent.gateway.store.verification import Wrong
from postgres_server import Server


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))])
def books(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """Books with an entry of every kind; no test leaves anything in them."""
    data_dir = tmp_path_factory.mktemp("books")
    if request.param == "sqlite":
        made = keep_books(GatewaySettings(data_dir=data_dir))
        yield made
        made.engine.dispose()
        return
    server: Server = request.getfixturevalue("postgresql")
    url = server.make()
    made = keep_books(GatewaySettings(data_dir=data_dir, postgres=url))
    yield made
    made.engine.dispose()
    server.drop(url)


def test_good_books_pass(books: Books) -> None:
    """Jobs in every state, grants, a refund by the network and one by the node, an adjustment, a payout."""
    verdict = bookkeeping.verify(books.place)

    assert verdict.wrong == ()
    assert (verdict.entries, verdict.jobs) == (16, 7)
    with books.changed() as draft:
        assert verdict.tip == draft.one("SELECT hash FROM ledger_entries ORDER BY seq DESC LIMIT 1")


#: What somebody does to the database, and what the auditor says first.
TAMPERINGS = [
    ("UPDATE ledger_postings SET amount_ucr = amount_ucr * 2 WHERE entry_seq = 2", "entry 2: its hash"),
    ("UPDATE ledger_postings SET amount_ucr = amount_ucr + 1 WHERE entry_seq = 3 AND amount_ucr > 0", "entry 3: the p"),
    ("UPDATE ledger_entries SET at = at + 1 WHERE seq = 4", "entry 4: its hash"),
    ("UPDATE ledger_entries SET memo = 'a gift' WHERE seq = 1", "entry 1: its hash"),
    ("UPDATE ledger_entries SET kind = 'bonus' WHERE seq = 1", "entry 1: 'bonus' is not a valid Kind"),
    ("DELETE FROM ledger_postings WHERE entry_seq = 5", "entry 5: its hash"),
    ("UPDATE ledger_accounts SET balance_ucr = balance_ucr + 5 WHERE account LIKE 'node:%'", "node:"),
    ("UPDATE jobs SET price_ucr = price_ucr * 2 WHERE state = 'QUEUED'", "entry 5: it does not post what job"),
    ("UPDATE jobs SET state = 'FAILED' WHERE state = 'QUEUED'", "job "),
    ("UPDATE jobs SET credited_ucr = 0 WHERE state = 'COMPLETED'", "job "),
    ("UPDATE nodes SET earned_ucr = earned_ucr + 1", "node "),
    ("UPDATE nodes SET jobs_completed = jobs_completed - 1", "node "),
    ("UPDATE node_days SET earned_ucr = earned_ucr + 1", "the days of node "),
    ("UPDATE node_days SET jobs_completed = jobs_completed - 1", "the days of node "),
    ("UPDATE settlements SET settled_at = settled_at + 1 WHERE place = 0", "settlement 0 of 2026-09"),
    ("UPDATE settlements SET credited_ucr = credited_ucr + 1 WHERE place = 1", "settlement 1 of 2026-09"),
    ("UPDATE settlements SET leaf = receipt_sha256 FROM attempts WHERE place = 1", "settlement 1 of 2026-09"),
    ("DELETE FROM settlements WHERE place = 2", "attempt of job-5 was credited and has no settlement"),
    ("UPDATE attempts SET usage = '{\"cpu_s\": 9.0}' WHERE attempt_id = 'of job-1'", "settlement 1 of 2026-09"),
    ("UPDATE months SET leaves = leaves + 1", "2026-09 says that it has 4 settlements"),
    ("UPDATE months SET credited_ucr = credited_ucr + 1", "2026-09 says that it has 3 settlements"),
    ("UPDATE payouts SET amount_ucr = amount_ucr + 1", "the payout of 2026-09 to node "),
    ("UPDATE payouts SET state = 'failed'", "the payout of 2026-09 to node "),
    ("UPDATE payouts SET state = 'held'", "there are 1 entries of kind payout in the books, and 0 "),
    ("DELETE FROM payouts", "there are 1 entries of kind payout in the books, and 0 "),
]


@pytest.mark.parametrize(("statement", "said"), TAMPERINGS)
def test_what_was_changed_is_found(books: Books, statement: str, said: str) -> None:
    """Each row and column that money depends on, one at a time."""
    with books.changed() as draft:
        draft.run(statement)
        first, *_ = draft.wrong()

    assert (first.what if first.seq is None else f"entry {first.seq}: {first.what}").startswith(said)


def test_an_entry_that_was_removed_is_missed(books: Books) -> None:
    """Also the last one: what it had posted is in the balances."""
    with books.changed() as draft:
        draft.run("DELETE FROM ledger_postings WHERE entry_seq = 7", "DELETE FROM ledger_entries WHERE seq = 7")
        assert draft.wrong()[0].what == "entry 7 is missing before it"
    with books.changed() as draft:
        draft.run("DELETE FROM ledger_postings WHERE entry_seq = 16", "DELETE FROM ledger_entries WHERE seq = 16")
        assert any("its postings add up to" in one.what for one in draft.wrong())


def test_a_rewritten_chain_is_caught_by_the_jobs(books: Books) -> None:
    """Somebody doubles a payment and makes every balance and hash fit: the job says what it cost."""
    with books.changed() as draft:
        settle = draft.one("SELECT seq FROM ledger_entries WHERE kind = 'settle' ORDER BY seq LIMIT 1")
        # The account it is taken from has still something held for a job that waits.
        for account, amount in draft.all(f"SELECT account, amount_ucr FROM ledger_postings WHERE entry_seq = {settle}"):
            draft.run(f"UPDATE ledger_accounts SET balance_ucr = balance_ucr + {amount} WHERE account = '{account}'")
        draft.run(f"UPDATE ledger_postings SET amount_ucr = amount_ucr * 2 WHERE entry_seq = {settle}")
        draft.chain_again()

        first = draft.wrong()[0]

    assert first.seq == settle
    assert "does not post what job" in first.what


def test_an_account_that_went_below_zero_is_named(books: Books) -> None:
    """An adjustment that takes more than there is, written past the gateway."""
    with books.changed() as draft:
        node = draft.one("SELECT account FROM ledger_accounts WHERE account LIKE 'node:%' ORDER BY account LIMIT 1")
        seq = draft.append(ledger.adjustment(node, -(10**12), "forged", ""))

        assert draft.wrong()[0] == Wrong(f"it takes {node} below zero", seq)


@pytest.mark.parametrize(
    ("kind", "source", "target", "said"),
    [
        (Kind.GRANT, "issuer", "node:x", "a grant does not post to issuer, node:x"),
        (Kind.PAYOUT, "issuer", "payouts", "a payout does not post to issuer, payouts"),
        (Kind.ADJUSTMENT, "payouts", "node:x", "an adjustment does not post to node:x, payouts"),
        (Kind.HOLD, "issuer", "held:x", "there is no job made-up"),
    ],
)
def test_an_entry_posts_to_whom_its_kind_concerns(
    books: Books, kind: Kind, source: str, target: str, said: str
) -> None:
    """A grant goes to a submitter, a payout comes from a node, an adjustment from the issuer, a hold from a job."""
    with books.changed() as draft:
        seq = draft.append(ledger.Entry(kind, "made-up", (ledger.Posting(source, -5), ledger.Posting(target, 5))))

        assert Wrong(said, seq) in draft.wrong()


def test_many_faults_are_cut_short(books: Books) -> None:
    """Twenty of a sort are enough to know."""
    with books.changed() as draft:
        for number in range(30):
            draft.append(ledger.grant(f"x{number}", 5))
        draft.run("UPDATE ledger_entries SET hash = 'x'")

        wrong = draft.wrong()

    assert [one.seq for one in wrong if one.seq is not None] == list(range(1, 21))


def test_the_books_can_be_read_while_somebody_writes(books: Books) -> None:
    """The auditor sees one picture, and holds up nobody."""
    with books.changed() as draft:  # holds the write lock
        draft.run("UPDATE ledger_accounts SET balance_ucr = 1 WHERE account LIKE 'held:%'")

        assert bookkeeping.verify(books.place).wrong == ()
