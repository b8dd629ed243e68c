"""What a node announces."""

from __future__ import annotations

import pytest

from edgeagent.node.capabilities import announce, lacking_gpus
from edgeagent.node.slots import GpuRules

ALL = ("echo", "cpu_benchmark", "render", "mine")


@pytest.mark.parametrize(
    ("named", "announced"),
    [
        ((), ("echo", "cpu_benchmark", "mine")),
        (("render",), ("echo", "cpu_benchmark")),
        (("mine", "render"), ("mine", "echo", "cpu_benchmark")),
        (("echo",), ("echo", "cpu_benchmark")),
        (("unheard_of",), ("echo", "cpu_benchmark")),
    ],
)
def test_what_was_named_and_can_run_and_the_two_basic_types(named: tuple[str, ...], announced: tuple[str, ...]) -> None:
    """No name at all means everything that runs here."""
    assert announced == announce(named, ALL, {"render": "mitsuba is not installed"})[0]


def test_each_missing_one_is_explained() -> None:
    """With the plugin's own reason, or that there is none."""
    _, missing = announce(("render", "unheard_of"), ALL, {"render": "mitsuba is not installed"})

    assert (
        "'render' is not offered: mitsuba is not installed",
        "'unheard_of' is not offered: no plugin of that job type is installed",
    ) == missing


def test_a_type_whose_jobs_get_more_gpus_than_there_are_is_not_offered() -> None:
    """The line says how many of each."""
    reasons = lacking_gpus(GpuRules(uuids=("GPU-1",), needed={"render": 2, "mine": 1, "echo": 0}))

    announced, missing = announce((), ALL, reasons)

    assert ("echo", "cpu_benchmark", "mine") == announced
    assert ("'render' is not offered: its jobs get 2 GPUs here, and this node lends 1 to them",) == missing


def test_a_type_that_may_have_none_of_the_gpus_is_not_offered() -> None:
    """The only one is another type's."""
    rules = GpuRules(uuids=("GPU-1",), needed={"render": 1, "mine": 1}, only_for={"GPU-1": ("render",)})

    assert {"mine": "its jobs get 1 GPUs here, and this node lends 0 to them"} == lacking_gpus(rules)
