"""The main job: ``edgeagent demo`` runs all four kinds of work through the whole network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CREDITS = {"echo": 0, "cpu_benchmark": 1, "render": 10, "inference": 5}


@pytest.mark.needs("sandbox")
def test_the_demo_completes_and_credits_all_four_jobs(tmp_path: Path) -> None:
    """One JSON document on stdout: four jobs COMPLETED and paid, files kept, the node's earnings their sum."""
    command = [sys.executable, "-m", "edgeagent", "demo", "--json", "--output", str(tmp_path / "out")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == "edgeagent.demo/1"
    jobs = {job["job_type"]: job for job in document["jobs"]}
    assert {name: (job["status"], job["credits"]) for name, job in jobs.items()} == {
        name: ("COMPLETED", price) for name, price in CREDITS.items()
    }
    assert all(job["attempts"] == 1 and job["queued_s"] >= 0 and job["running_s"] >= 0 for job in jobs.values())
    assert all("network_namespace" in job["sandbox"]["enforced"] for job in jobs.values())
    assert jobs["echo"]["result"] == {"message": "hello from the demo"}
    assert jobs["cpu_benchmark"]["result"]["primes_found"] == 148_933
    assert document["node"]["status"] == "HEALTHY"
    assert document["node"]["earned"] == sum(CREDITS.values())
    images = [Path(path) for path in document["outputs"] if path.endswith(".png")]
    assert images
    assert all(image.read_bytes().startswith(b"\x89PNG\r\n") for image in images)


@pytest.mark.needs("sandbox")
def test_the_demo_says_what_it_shows(tmp_path: Path) -> None:
    """Without a terminal: plain progress lines on stderr, the table and where the files lie on stdout."""
    command = [sys.executable, "-m", "edgeagent", "demo", "--data", str(tmp_path / "data")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert done.returncode == 0, done.stderr
    assert "render         RUNNING" in done.stderr
    assert "\x1b[" not in done.stdout + done.stderr
    assert "16 credits earned" in done.stdout
    assert str(tmp_path / "data" / "results") in done.stdout
    assert (tmp_path / "data" / "node.log").read_text()
