"""The auditor finds each thing that must not be: a small, honest history, spoilt in one way at a time."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import attrs
import chaos_auditor
import pytest
import sqlalchemy as sa
from chaos_auditor import Witnessed, witnessed
from chaos_plan import Wanted

from edgeagent.gateway.needs import Need
from edgeagent.gateway.store import Tx, accounts, jobs, nodes, queue, submissions, views
from edgeagent.gateway.store.engine import migrate, open_engine
from edgeagent.gateway.store.flights import Flight, Start, Told
from edgeagent.gateway.store.nodes import Applicant
from edgeagent.gateway.store.submissions import New
from edgeagent.wire.messages import JobResult, Outcome, Output, Usage
from edgeagent.wire.units import UCR_PER_CREDIT

CONTENT = b"what the job left"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = Output(name="file", size_bytes=len(CONTENT), sha256=DIGEST)


@attrs.frozen
class History:
    """Three jobs of one account: ``done`` was completed by ``node``, ``dead`` was refused, ``gone`` was cancelled."""

    directory: Path

    @property
    def accepted(self) -> dict[str, Wanted]:
        """What its submitter was told."""
        one = Wanted(job_type="chaos", payload={"files": 1})
        return {"done": one, "dead": one, "gone": one}

    def breaches(self, given: frozenset[str] = frozenset(), **credited: int) -> tuple[str, ...]:
        """Audit it."""
        seen = Witnessed(given=given, credited={attempt: {ucr} for attempt, ucr in credited.items()})
        found = chaos_auditor.audit(self.directory / "db", self.directory / "blobs", self.accepted, seen)
        return found.breaches

    def spoil(self, statement: str) -> None:
        """Change the database behind everybody's back."""
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(self.directory / "db")))
        with engine.begin() as connection:
            assert connection.execute(sa.text(statement)).rowcount
        engine.dispose()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a history in which everything is as it must be."""
    directory = tmp_path_factory.mktemp("honest")
    engine = open_engine(directory / "db", writer=True)
    migrate(engine)
    with engine.begin() as connection:
        _write(Tx(connection, 1000.0))
    engine.dispose()
    blob = directory / "blobs" / "sha256" / DIGEST[:2] / DIGEST
    blob.parent.mkdir(parents=True)
    blob.write_bytes(CONTENT)
    return directory


@pytest.fixture
def history(honest: Path, tmp_path: Path) -> History:
    """The honest history, to be spoilt."""
    return History(Path(shutil.copytree(honest, tmp_path / "history")))


def _write(tx: Tx) -> None:
    accounts.add_token(tx, "s", "0" * 64, 10 * UCR_PER_CREDIT)
    account = accounts.of_token(tx, "0" * 64)
    assert account is not None
    applicant = Applicant(name="n", public_key="k", capabilities=("chaos",), metadata={})
    node = nodes.register(tx, applicant)
    batch = [New(job_id=name, account_id=account, job_type="chaos") for name in ("done", "dead", "gone")]
    submissions.submit(tx, account, batch, 1000.0)
    for name, outcome in (("done", Outcome.COMPLETED), ("dead", Outcome.REJECTED)):
        need = Need(job_type="chaos")
        flight = Flight(attempt_id=f"try-{name}", job_id=name, node_id=node, account_id=account, need=need)
        queue.start(tx, [flight])
        jobs.accept(tx, [Start(flight.attempt_id, node)])
        left = (FILE,) if outcome is Outcome.COMPLETED else ()
        for one in left:
            views.add_output(tx, flight.attempt_id, one.name, one.size_bytes, one.sha256)
        result = JobResult(job_id=name, attempt_id=flight.attempt_id, outcome=outcome, outputs=left, usage=Usage())
        jobs.finish(tx, [Told(node, result)])
    jobs.cancel(tx, "gone", account)


def test_an_honest_history_has_no_breach(history: History) -> None:
    """Completed, refused and cancelled, each paid or paid back once, and nodes were told so."""
    told = {"try-done": UCR_PER_CREDIT, "try-dead": 0}
    assert history.breaches(frozenset(told), **told) == ()


SPOILT = {
    "lost": ("DELETE FROM jobs WHERE job_id = 'gone'", "job gone was accepted and is gone"),
    "still open": ("UPDATE jobs SET state = 'QUEUED' WHERE job_id = 'gone'", "job gone has not ended"),
    "open attempt": ("UPDATE attempts SET state = 'RUNNING' WHERE job_id = 'done'", "done is COMPLETED with 1 open"),
    "no reason": ("UPDATE jobs SET error = NULL WHERE job_id = 'dead'", "dead failed without an attempt, or without"),
    "no end": ("UPDATE attempts SET ended_at = NULL WHERE job_id = 'dead'", "try-dead is FAILED and ended at None"),
    "dead letter": ("DELETE FROM attempts WHERE job_id = 'dead'", "dead failed without an attempt"),
    "two winners": ("UPDATE attempts SET state = 'COMPLETED' WHERE job_id = 'dead'", "dead is FAILED with 1 completed"),
    "unbalanced": (
        "UPDATE ledger_postings SET amount_ucr = amount_ucr + 1 WHERE entry_seq = 2",
        "entry 2: the postings",
    ),
    "no postings": ("DELETE FROM ledger_postings WHERE entry_seq = 2", "entry 2: its hash does not follow"),
    "chain": ("UPDATE ledger_entries SET at = at + 1 WHERE seq = 3", "entry 3: its hash does not follow"),
    "hash": ("UPDATE ledger_entries SET hash = 'x' WHERE seq = 6", "entry 6: its hash does not follow"),
    "balance": ("UPDATE ledger_accounts SET balance_ucr = balance_ucr + 1 WHERE account LIKE 'node:%'", "add up to"),
    "credited": ("UPDATE jobs SET credited_ucr = 1 WHERE job_id = 'dead'", "and is credited 1, with"),
    "not settled": (
        "UPDATE jobs SET state = 'CANCELLED' WHERE job_id = 'done'",
        "job done is CANCELLED, costs 1000000",
    ),
    "settled": ("UPDATE jobs SET state = 'COMPLETED' WHERE job_id = 'gone'", "job gone is COMPLETED, costs 1000000"),
    "jobs of a node": ("UPDATE nodes SET jobs_completed = 2", "is shown with 2 jobs, not 1"),
    "earnings": ("UPDATE nodes SET earned_ucr = earned_ucr * 2", "is shown with 2000000 micro-credits earned"),
    "no files": ("DELETE FROM outputs", "job done completed with 0 files of 1"),
    "asked twice": ("UPDATE jobs SET job_id = 'again' WHERE job_id = 'gone'", "again is one that nobody was told of"),
}


@pytest.mark.parametrize(("statement", "complaint"), SPOILT.values(), ids=SPOILT.keys())
def test_each_law_that_is_broken_is_named(history: History, statement: str, complaint: str) -> None:
    """One change in the database, and the line that it must lead to."""
    history.spoil(statement)

    assert any(complaint in breach for breach in history.breaches()), history.breaches()


def test_credits_that_a_node_was_told_of_are_compared(history: History) -> None:
    """The loser was told that it had earned something, or the winner that it had not."""
    assert history.breaches(**{"try-dead": UCR_PER_CREDIT})
    assert history.breaches(**{"try-done": 0})


def test_an_attempt_that_only_a_node_knows_is_named(history: History) -> None:
    """The gateway's list of attempts must have each that a node was given."""
    assert history.breaches(given=frozenset({"try-gone"})) == (
        "attempt try-gone was given to a node and is not listed",
    )


def test_a_damaged_file_is_named(history: History) -> None:
    """What a completed job left is read and compared with its digest; so is that it is there."""
    (blob,) = (path for path in history.directory.glob("blobs/**/*") if path.is_file())

    blob.write_bytes(CONTENT[::-1])
    assert history.breaches() == ("file of job done is damaged",)

    blob.unlink()
    assert history.breaches() == ("file of job done is gone",)


def test_what_nodes_logged_is_read(tmp_path: Path) -> None:
    """A last line that was cut by a kill is passed over."""
    log = tmp_path / "log"
    log.write_text(
        '{"event": "Received job_dispatch", "attempt_id": "a"}\n'
        '{"event": "Result acknowledged", "attempt_id": "a", "credited_ucr": 5}\n'
        '{"event": "Received job_dispatch", "attempt'
    )

    assert witnessed([log]) == Witnessed(given=frozenset({"a"}), credited={"a": {5}})
