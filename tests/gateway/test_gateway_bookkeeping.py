"""The owner's bookkeeping: nothing is posted twice, prices hold from now on, and the exports are the same books."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from stored_books import Books, keep_books

from edgeagent.cli import main
from edgeagent.gateway import bookkeeping, ledger
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import transaction
from edgeagent.gateway.store import accounts, submissions
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.units import UCR_PER_CREDIT, credits_to_ucr


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books with an entry of every kind."""
    made = keep_books(GatewaySettings(data_dir=tmp_path))
    yield made
    made.engine.dispose()


def gateway(books: Books, *command: str) -> Result:
    """Run ``edgeagent gateway`` on the books."""
    return CliRunner().invoke(main, ["gateway", *command, "--data", str(books.place.data_dir)])


def balance(books: Books, name: str) -> int:
    """Return what a submitter or a node has, in micro-credits."""
    return sum(one.balance_ucr for one in bookkeeping.balances(books.place) if one.name == name)


def test_verify_says_what_it_looked_at(books: Books) -> None:
    """Exit 0 and the last hash for who wants to note it; exit 1 and each fault otherwise."""
    good = gateway(books, "ledger", "verify")
    assert good.exit_code == 0
    assert good.stdout.startswith("16 entries, 6 accounts, 7 jobs\nlast hash ")

    with books.engine.begin() as connection:
        connection.execute(sa.text("UPDATE ledger_entries SET at = at + 1 WHERE seq = 4"))
    bad = gateway(books, "ledger", "verify", "--json")
    document = json.loads(bad.stdout)
    assert (bad.exit_code, document["good"], document["wrong"][0]["entry"]) == (1, False, 4)
    assert "the books are wrong" in bad.stderr


def test_a_grant_is_made_once(books: Books) -> None:
    """The same reference again changes nothing; another amount under it is refused."""
    before = balance(books, "studio")
    command = ["ledger", "grant", "studio", "2.5", "--reference", "invoice 17"]

    assert gateway(books, *command).stdout == "invoice 17: granted\n"
    assert gateway(books, *command).stdout == "invoice 17: nothing to change; it was granted before\n"

    assert balance(books, "studio") == before + 2_500_000
    other = gateway(books, "ledger", "grant", "studio", "3", "--reference", "invoice 17")
    assert other.exit_code == 1
    assert "is the reference of another grant: entry 17" in other.stderr


def test_an_adjustment_goes_both_ways_and_never_below_zero(books: Books) -> None:
    """Down by a negative number; more than there is cannot be taken."""
    done = gateway(books, "ledger", "adjust", "node:two", "-0.5", "--reference", "t8", "--memo", "paid too much")
    assert done.exit_code == 0, done.output
    assert balance(books, "two") == credits_to_ucr("11")

    short = gateway(books, "ledger", "adjust", "node:two", "-500", "--reference", "t9", "--memo", "all")
    assert (short.exit_code, "500 credits are needed and 11 are there" in short.stderr) == (1, True)
    assert bookkeeping.verify(books.place).wrong == ()


def test_a_refund_is_made_once(books: Books) -> None:
    """By the network or by the node, but not by both."""
    again = gateway(books, "ledger", "refund", "job-0", "--memo", "again")
    assert "it was refunded before" in again.stdout

    by_the_node = gateway(books, "ledger", "refund", "job-0", "--from-node")
    assert (by_the_node.exit_code, "another refund" in by_the_node.stderr) == (1, True)

    failed = gateway(books, "ledger", "refund", "job-2")
    assert (failed.exit_code, "it is FAILED" in failed.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["ledger", "grant", "nobody", "1", "--reference", "r"], "there is no account 'nobody'"),
        (["ledger", "grant", "studio", "0", "--reference", "r"], "grant more than nothing"),
        (["ledger", "grant", "studio", "many", "--reference", "r"], "is not a number of credits"),
        (["ledger", "grant", "studio", "1", "--reference", " "], "a reference has 1 to 150 printable characters"),
        (["ledger", "adjust", "studio", "1", "--reference", "r", "--memo", "m"], "write submitter:NAME or node:NAME"),
        (["ledger", "adjust", "node:none", "1", "--reference", "r", "--memo", "m"], "there is no node 'none'"),
        (["ledger", "adjust", "node:two", "0", "--reference", "r", "--memo", "m"], "an adjustment of nothing"),
        (["ledger", "refund", "no-such-job"], "there is no job 'no-such-job'"),
        (["prices", "set", "render", "-1"], "a price cannot be negative"),
        (["prices", "set", "", "1"], "a job type's name has 1 to 100"),
    ],
)
def test_what_makes_no_sense_is_one_line(books: Books, command: list[str], said: str) -> None:
    """And nothing is posted."""
    refused = gateway(books, *command)

    assert refused.exit_code in {1, 2}
    assert said in refused.stderr
    assert "Traceback" not in refused.output
    assert bookkeeping.verify(books.place).entries == 16


def test_books_that_are_not_there_are_not_made(tmp_path: Path) -> None:
    """Looking makes no gateway."""
    looked = CliRunner().invoke(main, ["gateway", "ledger", "verify", "--data", str(tmp_path / "none")])

    assert (looked.exit_code, looked.stderr.startswith("Error: there is no gateway in")) == (1, True)
    assert not (tmp_path / "none").exists()


def test_a_price_holds_from_now_on(books: Books) -> None:
    """Jobs that were submitted before keep theirs; the history tells what was when."""

    def submit(job_id: str, job_type: str) -> None:
        with transaction(books.place) as tx:
            account_id = accounts.ids(tx)["studio"]
            new = New(job_id=job_id, account_id=account_id, job_type=job_type)
            submissions.submit(tx, account_id, [new], tx.now)

    assert gateway(books, "prices", "set", "render", "12").stdout == "Set.\n"
    assert gateway(books, "prices", "set", "render", "12").stdout == "Nothing to change; it cost that already.\n"
    submit("dearer", "render")
    assert gateway(books, "prices", "set", "render", "0.5").exit_code == 0
    submit("cheaper", "render")

    with books.changed() as draft:
        prices = dict(draft.all("SELECT job_id, price_ucr FROM jobs"))
    assert (prices["job-0"], prices["dearer"], prices["cheaper"]) == (10_000_000, 12_000_000, 500_000)
    history = json.loads(gateway(books, "prices", "history", "--json").stdout)["prices"]
    assert [(one["job_type"], one["price_ucr"]) for one in history] == [("render", 12_000_000), ("render", 500_000)]
    assert bookkeeping.verify(books.place).wrong == ()


def test_the_price_list_is_the_guides_until_it_is_changed(books: Books) -> None:
    """``*`` stands for every type without a price of its own."""
    assert bookkeeping.price_list(books.place) == ledger.PRICES_UCR | {"*": UCR_PER_CREDIT}

    assert gateway(books, "prices", "set", "*", "3").exit_code == 0
    assert gateway(books, "prices", "set", "echo", "0.1").exit_code == 0

    listed = json.loads(gateway(books, "prices", "list", "--json").stdout)["prices_ucr"]
    assert (listed["*"], listed["echo"], listed["render"]) == (3_000_000, 100_000, 10_000_000)


def test_what_the_owner_does_is_in_the_audit_log(books: Books) -> None:
    """Grant, refund, adjustment and price, each with its reference."""
    gateway(books, "prices", "set", "render", "12")
    gateway(books, "ledger", "grant", "studio", "1", "--reference", "invoice 17", "--memo", "thanks")

    logged = gateway(books, "audit").stdout

    for said in ("price.set  render  12 credits", "credits.grant  studio  1 credits, invoice 17: thanks"):
        assert said in logged
    assert "credits.refund  job-5  10 credits, job-5: the node cheated" in logged


def test_csv_has_every_posting(books: Books, tmp_path: Path) -> None:
    """Per account, the amounts add up to its balance; an existing file is left alone."""
    path = tmp_path / "books.csv"
    assert gateway(books, "ledger", "export", "--output", str(path)).exit_code == 0

    sums: dict[str, int] = {}
    for row in csv.DictReader(io.StringIO(path.read_text())):
        sums[row["account"]] = sums.get(row["account"], 0) + credits_to_ucr(row["credits"])
    assert sums == {one.account: one.balance_ucr for one in bookkeeping.balances(books.place)}

    assert "exists; name another file" in gateway(books, "ledger", "export", "--output", str(path)).stderr


def test_json_has_every_entry(books: Books) -> None:
    """Whoever has the document can compute the chain of hashes anew."""
    document = json.loads(gateway(books, "ledger", "export", "--format", "json").stdout)

    previous = ledger.FIRST_HASH
    for one in document["entries"]:
        postings = tuple(ledger.Posting(**posting) for posting in one["postings"])
        entry = ledger.Entry(ledger.Kind(one["kind"]), one["reference"], postings, one["memo"])
        previous = ledger.chain_hash(previous, entry, one["at_s"])
        assert previous == one["hash"]
    assert {one["name"] for one in document["accounts"]} == {"", "studio", "one", "two"}


@pytest.mark.needs("hledger")
def test_hledger_reads_the_journal_and_agrees(books: Books, tmp_path: Path) -> None:
    """It checks every balance that the journal asserts, and computes the same ones itself."""
    gateway(books, "ledger", "grant", "studio", "1", "--reference", "a | b ; c", "--memo", "with: ; signs")
    journal = tmp_path / "books.journal"
    journal.write_text(gateway(books, "ledger", "export", "--format", "hledger").stdout)

    def hledger(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["hledger", "-f", str(journal), *command], capture_output=True, text=True, check=False, timeout=60
        )

    assert hledger("check", "accounts", "commodities").stderr == ""
    said = hledger("balance", "--flat", "--no-total", "--empty", "--output-format", "csv").stdout
    found = {row["account"]: row["balance"] for row in csv.DictReader(io.StringIO(said))}
    expected = bookkeeping.balances(books.place)
    assert {name: credits_to_ucr(text.removesuffix(" CR")) for name, text in found.items()} == {
        one.account: one.balance_ucr for one in expected
    }

    journal.write_text(journal.read_text().replace("  10 CR\n", "  11 CR\n", 1).replace("  -10 CR\n", "  -11 CR\n", 1))
    wrong = hledger("check")
    assert (wrong.returncode, "balance assertion" in wrong.stderr) == (1, True)
