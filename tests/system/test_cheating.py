"""Nodes that make their results up, in a simulated network: how many are found out, and what checking costs.

Each history follows from its seed, so the bounds hold or do not hold for good; docs/trust.md has the figures of a
larger network.
"""

from __future__ import annotations

from test_simulation import begin, end

#: Small enough for a few seconds, and a third of the nodes lie.
NETWORK = (
    *("--nodes", "6", "--cheaters", "2", "--hours", "1", "--jobs-per-hour", "40"),
    *("--heartbeat", "600", "--faults", "none", "--seed", "3"),
)


def test_without_checks_every_lie_is_paid() -> None:
    """Which is what the others are measured against."""
    day = end(begin(*NETWORK))
    seen = day["cheating"]
    assert (day["breaches"], seen["caught"], seen["blamed"]) == ([], 0, 0)
    assert seen["accepted"] > 5
    assert seen["lies_paid_ucr"] > 0
    assert seen["results"] == seen["completed"]


def test_with_checks_no_lie_of_a_liar_on_his_own_is_paid() -> None:
    """None is accepted, nobody honest is blamed, and the books balance; it costs results, not lies."""
    day = end(begin(*NETWORK, "--checks"))
    seen = day["cheating"]
    assert day["breaches"] == []
    assert (seen["accepted"], seen["lies_paid_ucr"], seen["blamed"]) == (0, 0, 0)
    assert seen["caught"] > 5
    assert seen["completed"] > 15
    assert 1.0 < seen["results"] / seen["completed"] < 3.5


def test_faults_and_lies_take_the_same_course_twice() -> None:
    """Comparing rolls dice and keeps sets; neither may depend on the process, and no law is broken meanwhile."""
    options = ("--nodes", "6", "--cheaters", "2", "--lies", "0.5", "--hours", "1", "--jobs-per-hour", "30")
    common = (*options, "--heartbeat", "300", "--seed", "5", "--checks")
    days = [end(process) for process in [begin(*common, hash_seed=n) for n in (1, 2)]]
    assert days[0] == days[1]
    assert days[0]["breaches"] == []
    assert days[0]["cheating"]["caught"] > 0
    assert sum(days[0]["faults"].values()) > 0


def test_liars_who_agree_beforehand_can_win() -> None:
    """What comparing cannot see: the limit is as real as the rest, and named in docs/trust.md."""
    seen = end(begin(*NETWORK, "--checks", "--together"))["cheating"]
    assert seen["accepted"] > 0
    assert seen["blamed"] > 0


def test_more_cheaters_than_nodes_are_refused() -> None:
    """In one line."""
    process = begin("--nodes", "2", "--cheaters", "3")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "3 of 2 nodes" in err.splitlines()[-1]
