"""Which dispatches are taken."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from edgeagent.node.slots import Decline, GpuRules, Ignore, Take, decide, default_slots, load
from edgeagent.wire.messages import JobDispatch, Limits

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


GPUS = ("GPU-a", "GPU-b", "GPU-c")


@pytest.mark.parametrize(
    ("asked", "rules", "held", "decision"),
    [
        (0, GpuRules(uuids=GPUS), (), Take()),
        (1, GpuRules(uuids=GPUS), (), Take(("GPU-a",))),
        (2, GpuRules(uuids=GPUS), ("GPU-a",), Take(("GPU-b", "GPU-c"))),
        (2, GpuRules(uuids=GPUS), ("GPU-a", "GPU-c"), Decline("the job needs 2 GPUs, and 1 are free")),
        (4, GpuRules(uuids=GPUS), (), Decline("the job needs 4 GPUs, and this node lends 3")),
        (1, GpuRules(), (), Decline("the job needs 1 GPUs, and this node lends 0")),
        (1, GpuRules(uuids=GPUS, share=2), ("GPU-a", "GPU-b", "GPU-a"), Take(("GPU-c",))),
        (1, GpuRules(uuids=GPUS[:2], share=2), ("GPU-a", "GPU-b", "GPU-a"), Take(("GPU-b",))),
        (2, GpuRules(uuids=GPUS[:1], share=2), (), Decline("the job needs 2 GPUs, and this node lends 1")),
        (0, GpuRules(uuids=GPUS, needed={"echo": 2}), (), Take(("GPU-a", "GPU-b"))),
        (3, GpuRules(uuids=GPUS, needed={"echo": 2}), (), Take(GPUS)),
        (0, GpuRules(uuids=GPUS, needed={"render": 2}), (), Take()),
        (1, GpuRules(uuids=GPUS, only_for={"GPU-a": ("render",)}), (), Take(("GPU-b",))),
        (1, GpuRules(uuids=GPUS, only_for={"GPU-b": ("echo", "render")}), (), Take(("GPU-b",))),
        (1, GpuRules(uuids=GPUS, share=2, only_for={"GPU-b": ("echo",)}), ("GPU-b",), Take(("GPU-a",))),
        (
            3,
            GpuRules(uuids=GPUS, only_for={"GPU-b": ("render",)}),
            (),
            Decline("the job needs 3 GPUs, and this node lends 2 to jobs of its type"),
        ),
    ],
)
def test_a_job_gets_as_many_gpus_as_it_needs_or_none(
    asked: int, rules: GpuRules, held: tuple[str, ...], decision: object
) -> None:
    """Free ones first, its owner's number where that is larger, and never two shares of one."""
    dispatch = JobDispatch(job_id=JOB, attempt_id=ATTEMPT, job_type="echo", limits=Limits(gpus=asked))

    assert decision == decide(dispatch, running=(), known=(), slots=9, announced=("echo",), gpus=rules, held=held)


class Lending(RuleBasedStateMachine):
    """A node that takes and ends attempts in any order."""

    running: Bundle[str] = Bundle("running")

    @initialize(gpus=st.integers(0, 4), share=st.integers(1, 3))
    def start(self, gpus: int, share: int) -> None:
        self.rules = GpuRules(uuids=tuple(f"GPU-{number}" for number in range(gpus)), share=share)
        self.held: dict[str, tuple[str, ...]] = {}

    @rule(target=running, count=st.integers(0, 5))
    def dispatch(self, count: int) -> str:
        dispatch = JobDispatch(job_id=JOB, attempt_id=str(uuid.uuid4()), job_type="echo", limits=Limits(gpus=count))
        users = Counter(gpu for gpus in self.held.values() for gpu in gpus)
        free = [gpu for gpu in self.rules.uuids if users[gpu] < self.rules.share]
        decision = decide(
            dispatch,
            running=self.held,
            known=(),
            slots=99,
            announced=("echo",),
            gpus=self.rules,
            held=tuple(users.elements()),
        )
        # What has been given back can be had again: an attempt is declined only where too few are free.
        assert isinstance(decision, Take) == (count <= len(free))
        if isinstance(decision, Take):
            assert count == len(set(decision.gpus)) == len(decision.gpus)
            self.held[dispatch.attempt_id] = decision.gpus
        return dispatch.attempt_id

    @rule(attempt_id=consumes(running))
    def end(self, attempt_id: str) -> None:
        self.held.pop(attempt_id, None)

    @invariant()
    def no_gpu_has_more_attempts_than_may_share_it(self) -> None:
        users = Counter(gpu for gpus in getattr(self, "held", {}).values() for gpu in gpus)
        assert all(number <= self.rules.share for number in users.values())


TestLending = Lending.TestCase
