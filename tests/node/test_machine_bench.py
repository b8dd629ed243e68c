"""This machine's own scores: real measurements, kept short, and real jobs."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeagent.cli import main
from edgeagent.cli.bench import _PARTS
from edgeagent.node.bench import hardware, jobs
from edgeagent.node.bench.run import PARTS, measure
from edgeagent.node.options import sections
from edgeagent.node.options.settings import Settings
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for

PLUGINS = """
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult


class Counts(BaseWorkerPlugin):
    job_type = "counts"
    benchmark = {"up_to": 1000}

    async def execute(self, job_id, payload):
        return WorkerResult(success=True, value={"sum": sum(range(payload["up_to"]))})


class Fails(Counts):
    job_type = "fails"
    benchmark = {"down_to": 0}


class Odd(Counts):
    job_type = "odd"
    benchmark = {"up_to": {1, 2}}
"""
#: The built-in ones that take seconds.
SLOW = ("cpu_benchmark", "render", "inference")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's home with plugins."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "counts.py").write_text(PLUGINS)
    return tmp_path


@pytest.mark.needs("sandbox")
def test_each_plugins_own_job_is_run_in_the_sandbox(home: Path) -> None:
    """One that fails says why; what is no payload, or denied, is left out."""
    settings = Settings(capabilities=sections.Capabilities(deny=SLOW))
    ((name, scores),) = measure(home, settings, {"jobs"})

    by_type = {one["job_type"]: one for one in scores}
    assert ("jobs", {"echo", "counts", "fails"}) == (name, set(by_type))
    assert ("completed", {"sum": 499500}) == (by_type["counts"]["outcome"], by_type["counts"]["value"])
    assert "failed" == by_type["fails"]["outcome"]
    assert "KeyError" in by_type["fails"]["detail"]
    assert by_type["counts"]["memory_peak_bytes"] > 1 << 20


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[SandboxExecutor]:
    """Runs real jobs."""
    with zygote_for(tmp_path / "plugins") as zygote:
        yield SandboxExecutor(zygote)


@pytest.mark.needs("sandbox")
async def test_sandboxes_are_started_for_as_long_as_is_said(executor: SandboxExecutor) -> None:
    """At least one, however slow the machine."""
    assert await jobs.starts(executor, 2, span_s=0.01) > 0


def test_the_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    """Nothing stays behind."""
    found = hardware.disk(tmp_path, 4 << 20)

    assert {"written_bytes_per_s", "read_bytes_per_s", "small_write_s"} == found.keys()
    assert all(value > 0 for value in found.values())
    assert [] == list(tmp_path.iterdir())


def test_scripts_get_one_document(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the version of its schema; only what was asked for is measured."""
    monkeypatch.setenv("EDGEAGENT_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["bench", "--only", "cpu", "--only", "memory", "--json"])

    assert 0 == result.exit_code, result.output
    document = json.loads(result.stdout)
    assert ("edgeagent.bench/1", 0) == (document["schema"], document["jobs_beside"])
    assert {"schema", "jobs_beside", "cpu", "memory"} == document.keys()
    assert document["cpu"]["sieved_per_s"] > 0
    assert document["memory"]["copied_bytes_per_s"] > 0


def test_a_disk_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the place, and no traceback."""

    def full(place: Path) -> dict[str, float]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hardware, "disk", full)
    monkeypatch.setenv("EDGEAGENT_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["bench", "--only", "disk"])

    assert (1, f"Error: the disk of {tmp_path} cannot be measured: No space left on device\n") == (
        result.exit_code,
        result.stderr,
    )


def test_the_command_offers_what_there_is() -> None:
    """It keeps a list of its own, so that --help imports nothing."""
    assert PARTS == _PARTS
