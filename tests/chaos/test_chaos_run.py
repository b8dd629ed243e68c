"""The short form of what `nox -s chaos` does at length: every fault in one run, with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import chaos_plan
import pytest

LIMIT_S = 600.0


def chaos(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [sys.executable, str(Path(__file__).parent), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.needs("sandbox", "root", "cc")
def test_a_network_that_is_broken_in_every_way_loses_nothing(tmp_path: Path) -> None:
    """Two nodes, 120 jobs, each kind of fault: all end, nothing is lost, the books are in order."""
    done = chaos(
        "--jobs", "120", "--nodes", "2", "--fault", "mixed", "--minutes", "8", "--keep", str(tmp_path / "kept")
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "not here" not in done.stdout
    for fault in chaos_plan.PER_2000:
        assert f" {fault}: " in done.stdout
    assert "0 lost, 0 credited twice" in done.stdout


@pytest.mark.needs("sandbox")
def test_a_broken_law_is_told_with_the_seed(tmp_path: Path) -> None:
    """Without time for the jobs to end, the run says so, names its seed, keeps what there was, and ends with 1."""
    kept = tmp_path / "kept"
    options = ("--jobs", "40", "--nodes", "1", "--fault", "gateway-kill", "--seed", "7", "--keep", str(kept))
    done = chaos(*options, "--minutes", "0.01")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "BROKEN: not everything had ended" in done.stdout
    assert "--seed 7" in done.stdout
    assert (kept / "gateway-kill" / "gateway" / "gateway.db").exists()
