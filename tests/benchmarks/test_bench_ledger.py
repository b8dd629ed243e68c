"""The books that ``benchmarks.ledger`` is measured on are books that hold."""

from __future__ import annotations

import pytest

from benchmarks import ledger
from benchmarks.bookkeeping.fill import fill
from benchmarks.harness import BenchmarkError, Run
from edgeagent.gateway import bookkeeping
from edgeagent.gateway.config import GatewaySettings


def test_books_that_were_made_hold(tmp_path):
    """The auditor finds nothing wrong, whatever the gateway has learnt to store since."""
    entries = fill(tmp_path / "gateway.db", node_count=7, job_count=50)

    verdict = bookkeeping.verify(GatewaySettings(data_dir=tmp_path))

    assert () == verdict.wrong
    assert 101 == entries == verdict.entries
    assert 50 == verdict.jobs


def test_everything_is_measured_on_them(tmp_path, monkeypatch):
    """Each row that a target is about, and nothing is left on the disk."""
    monkeypatch.setenv("EDGEAGENT_BENCH_DIR", str(tmp_path))
    monkeypatch.setattr(ledger, "QUICK_NODES", 5)
    monkeypatch.setattr(ledger, "QUICK_JOBS", 20)
    monkeypatch.setattr(ledger, "ASKED", 2)
    run = Run(quick=True)

    ledger.measure(run)

    assert {target.row for target in ledger.TARGETS} <= {row.id for row in run.rows()}
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_too_small_is_said_at_once(tmp_path, monkeypatch):
    """With what to do."""
    monkeypatch.setenv("EDGEAGENT_BENCH_DIR", str(tmp_path))
    monkeypatch.setattr(ledger, "JOB_BYTES", 1 << 50)

    with pytest.raises(BenchmarkError, match="set EDGEAGENT_BENCH_DIR"):
        ledger.measure(Run(quick=True))
