"""Single GPUs that their owner pauses: by name and number, over restarts, and in a whole node."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

import attrs
import pytest
import trio
from loopback_gateway import Gateway
from service_node import Node, dispatch

from edgeagent.errors import UsageError
from edgeagent.node import files
from edgeagent.node.config import Identity
from edgeagent.node.lending import Lending
from edgeagent.node.slots import GpuRules
from edgeagent.wire.messages import Heartbeat, JobAccept, JobDecline, JobResult, Limits, Outcome

FIRST, SECOND = "GPU-11111111", "GPU-22222222"
RULES = GpuRules(uuids=(FIRST, SECOND), needed={"echo": 2, "render": 1}, only_for={SECOND: ("render", "echo")})


class Done(NamedTuple):
    """What a command left."""

    exit_code: int | None
    stdout: str
    stderr: str


def test_a_gpu_is_meant_by_its_uuid_or_its_place(tmp_path: Path) -> None:
    """Or all of them by nothing; told is what has changed."""
    lending = Lending(RULES, tmp_path)

    assert (SECOND,) == lending.pause("1")
    assert (FIRST,) == lending.rules.uuids
    assert () == lending.pause(SECOND)
    assert (FIRST,) == lending.pause(None)
    assert () == lending.rules.uuids
    assert (FIRST,) == lending.resume("0")
    assert (SECOND,) == lending.resume(None)
    assert RULES == lending.rules


@pytest.mark.parametrize("name", ["2", "-1", "GPU-3", "", "¹"])
def test_a_gpu_that_is_not_lent_cannot_be_paused(name: str) -> None:
    """Whether it is excluded or not there at all; one line says what to type."""
    with pytest.raises(UsageError, match="is no GPU that this node lends; see: edgeagent gpu list"):
        Lending(RULES).pause(name)
    with pytest.raises(UsageError, match="this node lends no GPU; see: edgeagent doctor"):
        Lending(GpuRules()).pause(None)


def test_a_paused_gpu_is_still_paused_after_a_restart(tmp_path: Path) -> None:
    """Also one that was away in between."""
    Lending(RULES, tmp_path).pause(SECOND)

    assert () == Lending(attrs.evolve(RULES, uuids=(FIRST,)), tmp_path).paused
    assert (SECOND,) == Lending(RULES, tmp_path).paused
    Lending(RULES, tmp_path).resume(SECOND)
    assert () == Lending(RULES, tmp_path).paused


@pytest.mark.parametrize("text", ["", "{}", "nonsense"])
def test_where_the_file_is_broken_all_stay_paused(tmp_path: Path, text: str) -> None:
    """Rather too little is lent than what its owner wanted to rest."""
    (tmp_path / "paused-gpus.json").write_text(text)

    assert (FIRST, SECOND) == Lending(RULES, tmp_path).paused


def test_a_type_that_lacks_gpus_for_now_is_named() -> None:
    """Not one that would lack them in any case: that one is not offered at all."""
    lending = Lending(attrs.evolve(RULES, needed={"echo": 2, "render": 1, "mine": 3}))
    assert {} == lending.short()

    lending.pause(FIRST)

    assert ["echo"] == list(lending.short())
    assert f"its jobs get 2 GPUs here, and this node lends 1 to them; paused: {FIRST}" == lending.short()["echo"].text


async def _type(config: Identity, *words: str) -> Done:
    """Type a command in a shell of its own."""
    command = [sys.executable, "-m", "edgeagent", "gpu", *words]
    environ = os.environ | {"EDGEAGENT_HOME": str(config.home)}
    done = await trio.run_process(command, env=environ, capture_stdout=True, capture_stderr=True, check=False)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
async def lender(config: Identity, nursery: trio.Nursery) -> Node:
    """A running node with two GPUs."""
    node = Node(config)
    node.lent = attrs.evolve(RULES, needed={})
    node.health_url = await nursery.start(node.run)
    return node


async def test_a_paused_gpu_is_not_advertised_and_its_job_ends(
    gateway: Gateway, lender: Node, config: Identity
) -> None:
    """The gateway hears of it at once, on a new link that still holds the job; nothing else gets the GPU."""
    job = attrs.evolve(dispatch(), limits=Limits(gpus=2))
    with trio.fail_after(60):
        link = await gateway.accept()
        before = await link.welcome()
        await link.say(job)
        await link.get(JobAccept)
        paused = await _type(config, "pause", "1")
        link = await gateway.accept()
        after = await link.welcome()
        await link.say(attrs.evolve(dispatch(), limits=Limits(gpus=2)))
        declined = await link.get(JobDecline)
        lender.executor.let_go.set()
        result = await link.get(JobResult)
        resumed = await _type(config, "resume", SECOND)
        link = await gateway.accept()
        again = await link.welcome()

    assert ((FIRST, SECOND), (FIRST,), (FIRST, SECOND)) == (before.gpus, after.gpus, again.gpus)
    assert (job.attempt_id,) == after.held
    assert "2 GPUs, and this node lends 1" in declined.reason
    assert (job.attempt_id, Outcome.COMPLETED) == (result.attempt_id, result.outcome)
    assert [f"0  {FIRST}  lent, 1 job", f"1  {SECOND}  paused, 1 job, for render, echo alone"] == (
        paused.stdout.splitlines()
    )
    assert "paused" not in resumed.stdout


async def test_a_type_whose_gpus_are_paused_is_not_taken(
    gateway: Gateway, config: Identity, nursery: trio.Nursery
) -> None:
    """The gateway is told of the type, and the node's owner why; a restart changes nothing."""
    node = Node(config)
    node.lent = RULES
    files.ensure_directory(config.home)
    Lending(RULES, config.home).pause(FIRST)
    await nursery.start(node.run)
    with trio.fail_after(60):
        link = await gateway.accept()
        hello = await link.welcome()
        beat = await link.get(Heartbeat)
        listed = json.loads((await _type(config, "list", "--json")).stdout)
        await _type(config, "resume")
        link = await gateway.accept()
        await link.welcome()
        free = await link.get(Heartbeat)

    assert ((SECOND,), ("echo",), 0) == (hello.gpus, beat.not_now, beat.free_slots)
    assert [(FIRST, True), (SECOND, False)] == [(one["uuid"], one["paused"]) for one in listed["gpus"]]
    assert () == free.not_now


async def test_a_node_without_gpus_says_so(node: Node, config: Identity) -> None:
    """One line, and what to type."""
    with trio.fail_after(60):
        refused, listed = await _type(config, "pause"), await _type(config, "list")

    assert (1, "Error: this node lends no GPU; see: edgeagent doctor\n") == (refused.exit_code, refused.stderr)
    assert "No GPU is lent; edgeagent doctor says why.\n" == listed.stdout
