"""Which dispatches are taken."""

from __future__ import annotations

import pytest

from edgeagent.node.slots import Decline, Ignore, Take, decide, default_slots, load
from edgeagent.wire.messages import JobDispatch

JOB = "00000000-0000-4000-8000-00000000000a"
ATTEMPT = "00000000-0000-4000-8000-00000000000b"
OTHER = "00000000-0000-4000-8000-00000000000c"


def _decide(*, job_type: str = "echo", attempt_id: str = ATTEMPT, job_id: str = JOB, **state: object) -> object:
    dispatch = JobDispatch(job_id=job_id, attempt_id=attempt_id, job_type=job_type)
    defaults: dict[str, object] = {"running": (), "known": (), "slots": 1, "announced": ("echo",)}
    return decide(dispatch, **{**defaults, **state})  # type: ignore[arg-type]


def test_a_free_slot_takes_an_announced_type() -> None:
    """The ordinary case."""
    assert Take() == _decide()


@pytest.mark.parametrize("state", [{"running": (ATTEMPT,)}, {"known": (ATTEMPT,)}])
def test_a_repeated_attempt_is_ignored(state: dict[str, object]) -> None:
    """What runs or ran here is neither run again nor declined."""
    assert Ignore() == _decide(**state)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"running": (OTHER,)}, "all 1 slots are taken"),
        ({"job_type": "render"}, "does not run 'render'"),
        ({"attempt_id": "../../etc"}, "UUID"),
        ({"job_id": "7"}, "UUID"),
    ],
)
def test_what_cannot_run_is_declined_with_the_reason(change: dict[str, str], reason: str) -> None:
    """The gateway's log shall say why."""
    decision = _decide(**change)

    assert isinstance(decision, Decline)
    assert reason in decision.reason


@pytest.mark.parametrize(("cores", "slots"), [(0, 1), (1, 1), (2, 2), (4, 4), (64, 4)])
def test_default_slots_are_one_per_core_and_four_at_most(cores: int, slots: int) -> None:
    """Each running job may take 2 GiB."""
    assert slots == default_slots(cores)


@pytest.mark.parametrize(("running", "share"), [(0, 0.0), (1, 0.5), (2, 1.0), (3, 1.0)])
def test_load_is_the_share_of_slots_taken(running: int, share: float) -> None:
    """It never leaves 0 to 1, which the wire demands."""
    assert share == load(running, 2)
