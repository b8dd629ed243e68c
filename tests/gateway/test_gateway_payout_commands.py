"""``edgeagent gateway payouts``: what the owner types, sees and gets."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from owed_nodes import CREDIT, Network, make_network

from edgeagent.cli import main
from edgeagent.gateway import bookkeeping
from edgeagent.gateway.config import GatewaySettings

#: A month that is over, whenever the tests run.
MONTH = "2026-10"


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Three nodes that have earned 7, 3 and half a credit in a month that is over; the second has no address."""
    made = make_network(GatewaySettings(data_dir=tmp_path / "data"))
    made.at(MONTH)
    for name, amount, address in (("rich", 7 * CREDIT, "AT61 1904"), ("=cmd", 3 * CREDIT, None), ("poor", 5, "x")):
        made.earn(made.add(name, address), amount)
    yield made
    made.engine.dispose()


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path) -> None:
    """The directory exists before the database."""
    (tmp_path / "data").mkdir(mode=0o700)


def payouts(network: Network, *command: str, environ: dict[str, str] | None = None) -> Result:
    """Run ``edgeagent gateway payouts``."""
    words = ["gateway", "payouts", *command, "--data", str(network.place.data_dir)]
    result = CliRunner().invoke(main, words, env=environ)
    assert "Traceback" not in result.output
    return result


def rows(text: str) -> list[dict[str, str]]:
    """Return a table's lines."""
    return list(csv.DictReader(io.StringIO(text)))


def test_a_dry_run_says_what_would_be_paid(network: Network) -> None:
    """And changes nothing."""
    said = payouts(network, "run", "--month", MONTH, "--dry-run")
    document = json.loads(payouts(network, "run", "--month", MONTH, "--dry-run", "--json").stdout)

    assert said.stdout == (
        "2026-10, nothing changed: 1 carried (0.000005 credits), 1 held (3 credits), 1 due (7 credits)\n"
    )
    assert document["states"]["due"] == {"nodes": 1, "amount_ucr": 7 * CREDIT}
    assert network.states() == {}
    assert json.loads(payouts(network, "list", "--json").stdout)["months"] == []


def test_a_run_writes_instructions_that_are_the_owners_alone(network: Network) -> None:
    """One file, whole, and the same command again leaves it as it is."""
    path = network.place.data_dir / "payouts" / "2026-10.csv"

    said = payouts(network, "run", "--month", MONTH)
    assert said.exit_code == 0, said.output
    assert f"told the rail manual: {path}" in said.stdout
    (line,) = rows(path.read_text())
    assert (line["name"], line["address"], line["credits"]) == ("rich", "AT61 1904", "7")
    assert (path.stat().st_mode & 0o777, list(path.parent.iterdir())) == (0o600, [path])

    path.unlink()
    assert payouts(network, "run", "--month", MONTH).exit_code == 0
    assert not path.exists()
    assert bookkeeping.verify(network.place).wrong == ()


def test_a_payment_is_confirmed_and_one_that_failed_goes_back(network: Network) -> None:
    """Each once, by the node's name, and in the audit log."""
    assert payouts(network, "run", "--month", MONTH, "--minimum", "0").exit_code == 0

    done = payouts(network, "confirm", MONTH, "rich", "--reference", "transfer 9")
    again = payouts(network, "confirm", MONTH, "rich", "--reference", "transfer 9")
    failed = payouts(network, "fail", MONTH, "poor", "--reason", "the account is closed")

    assert (done.stdout, failed.stdout) == ("2026-10 rich: paid\n", "2026-10 poor: failed\n")
    assert "nothing to change; it was paid before" in again.stdout
    shown = {one["name"]: one for one in json.loads(payouts(network, "show", MONTH, "--json").stdout)["payouts"]}
    assert (shown["rich"]["state"], shown["rich"]["reference"]) == ("paid", "transfer 9")
    assert (shown["poor"]["state"], shown["poor"]["why"]) == ("failed", "the account is closed")
    assert "failed" in payouts(network, "show", MONTH, "--status", "failed").stdout
    log = CliRunner().invoke(main, ["gateway", "audit", "--data", str(network.place.data_dir)]).stdout
    assert all(
        what in log for what in ("payout.run  2026-10  2 nodes, 7.000005 credits", "payout.confirm", "transfer 9")
    )
    assert bookkeeping.verify(network.place).wrong == ()


def test_a_statement_names_every_node_and_why_it_was_not_paid(network: Network) -> None:
    """As CSV, where no name becomes a formula; as JSON; as a page that stands alone."""
    payouts(network, "run", "--month", MONTH)

    table = {one["name"]: one for one in rows(payouts(network, "statement", "--month", MONTH).stdout)}
    document = json.loads(payouts(network, "statement", "--month", MONTH, "--format", "json").stdout)
    page = payouts(network, "statement", "--month", MONTH, "--format", "html").stdout

    assert (table["'=cmd"]["state"], table["'=cmd"]["why"]) == ("held", "the node has no payout address")
    assert (table["rich"]["state"], table["rich"]["credits"]) == ("instructed", "7")
    assert document["states"]["held"] == {"nodes": 1, "amount_ucr": 3 * CREDIT}
    assert {one["name"] for one in document["payouts"]} == {"rich", "=cmd", "poor"}
    assert "<style>" in page
    assert "http" not in page
    assert "less than 1 credits" in page


def test_a_statement_is_the_owners_alone(network: Network, tmp_path: Path) -> None:
    """It tells where everybody banks; a file that is there stays."""
    payouts(network, "run", "--month", MONTH)
    path = tmp_path / "october.html"

    for _ in range(2):
        said = payouts(network, "statement", "--month", MONTH, "--format", "html", "--output", str(path))

    assert path.stat().st_mode & 0o777 == 0o600
    assert (said.exit_code, "exists; name another file" in said.stderr) == (1, True)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["run", "--month", "2026-13"], 2, "is not a month; write for example 2026-10"),
        (["run", "--month", "2999-12"], 2, "2999-12 is not over; it can be paid from 3000-01-01 on"),
        (["run", "--month", MONTH, "--rail", "pigeon"], 2, "there is no rail 'pigeon'; installed are: "),
        (["run", "--month", MONTH, "--minimum", "-1"], 2, "a minimum cannot be negative"),
        (["run", "--month", MONTH, "--output", "/nowhere/at/all.csv"], 1, "cannot write /nowhere/at/all.csv"),
        (["show", "October"], 2, "is not a month"),
        (["statement", "--month", "2026-09"], 1, "2026-09 was not paid yet; run: edgeagent gateway payouts run"),
        (["confirm", MONTH, "nobody", "--reference", "r"], 1, "there is no node 'nobody'"),
        (["confirm", MONTH, "rich", "--reference", "r"], 1, "there is no payout of 2026-10 to this node"),
        (["confirm", MONTH, "rich", "--reference", " "], 2, "a reference has 1 to 150 printable characters"),
        (["fail", MONTH, "rich", "--reason", ""], 2, "a reason has 1 to 200 printable characters"),
    ],
)
def test_what_makes_no_sense_is_one_line(network: Network, command: list[str], code: int, said: str) -> None:
    """That says what to do."""
    refused = payouts(network, *command)

    assert (refused.exit_code, said in refused.stderr) == (code, True), refused.stderr


def test_a_rail_that_cannot_write_leaves_the_payments_due(network: Network, tmp_path: Path) -> None:
    """The credits have left the nodes' accounts; the next run hands them over."""
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")

    broken = payouts(network, "run", "--month", MONTH, "--output", str(taken))
    assert broken.exit_code == 1
    assert "did not get to the end" in broken.stderr
    assert "1 due (7 credits)" in broken.stdout
    assert taken.read_text() == "mine"

    assert "1 instructed (7 credits)" in payouts(network, "run", "--month", MONTH).stdout


RAIL = """
from edgeagent.gateway.payouts import State
from edgeagent.gateway.rails import Outcome

class Bank:
    def __init__(self, settings):
        self.log = settings.data_dir / "bank.log"

    def instruct(self, batch):
        for one in batch.payments:
            with self.log.open("a") as log:
                log.write(f"{one.payment_id} {one.address} {one.amount_ucr}\\n")
            yield Outcome(payment_id=one.payment_id, state=State.PAID, reference="transfer 1")

class Broken:
    def __init__(self, settings):
        raise OSError("no such bank")

class Silly:
    def __init__(self, settings):
        pass

    def instruct(self, batch):
        return ["paid"]
"""


@pytest.fixture
def bank(tmp_path: Path) -> dict[str, str]:
    """An environment in which a distribution with rails is installed."""
    site = tmp_path / "site"
    info = site / "bank-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "bank.py").write_text(RAIL)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bank\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[edgeagent.rails]\nbank = bank:Bank\nbroken = bank:Broken\nsilly = bank:Silly\ngone = bank:Gone\n"
    )
    return {**os.environ, "PYTHONPATH": str(site)}


def run_with(bank: dict[str, str], network: Network, rail: str) -> subprocess.CompletedProcess[str]:
    """Pay the month by an installed rail, in a process of its own."""
    command = ["gateway", "payouts", "run", "--month", MONTH, "--rail", rail, "--data", str(network.place.data_dir)]
    return subprocess.run(
        [sys.executable, "-m", "edgeagent", *command],
        env=bank,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_rail_is_a_plugin(network: Network, bank: dict[str, str]) -> None:
    """An installed entry point is called with what is to be paid, and what it says is stored."""
    done = run_with(bank, network, "bank")

    assert done.returncode == 0, done.stderr
    assert (network.place.data_dir / "bank.log").read_text().endswith("AT61 1904 7000000\n")
    assert network.states()["rich"][0].value == "paid"


@pytest.mark.parametrize(
    ("rail", "said"),
    [
        ("broken", "the rail 'broken' cannot be used: OSError: no such bank"),
        ("gone", "the rail 'gone' cannot be loaded: AttributeError"),
        ("silly", "the rail silly did not get to the end: it said 'paid', which is no outcome; run it again"),
    ],
)
def test_a_broken_rail_is_one_line(network: Network, bank: dict[str, str], rail: str, said: str) -> None:
    """Whatever it does, nobody is taken for paid."""
    failed = run_with(bank, network, rail)

    assert (failed.returncode, said in failed.stderr, "Traceback" in failed.stderr) == (1, True, False), failed.stderr
    assert all(state.value != "paid" for state, _ in network.states().values())


def test_two_runs_at_once_make_what_one_makes(network: Network, bank: dict[str, str]) -> None:
    """Real processes on one directory; both end well, and nobody is told twice."""
    command = ["gateway", "payouts", "run", "--month", MONTH, "--rail", "bank", "--data", str(network.place.data_dir)]
    running = [
        subprocess.Popen([sys.executable, "-m", "edgeagent", *command], env=bank, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]

    assert [process.wait(timeout=120) for process in running] == [0, 0]

    assert len((network.place.data_dir / "bank.log").read_text().splitlines()) == 1
    assert bookkeeping.verify(network.place).wrong == ()
