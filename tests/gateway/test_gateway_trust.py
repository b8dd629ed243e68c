"""How far a node's word is taken: what is checked how often, and what results that were compared say."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import trust
from edgeagent.gateway.trust import MAX_RESULTS, Policy, Reputation, Result, Ruling

NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=MAX_RESULTS)


def result(number: int, value: object) -> Result:
    return Result(attempt_id=f"a{number}", node_id=f"n{number}", operator=f"n{number}", value=value)


def equal(one: Result, other: Result) -> bool:
    return bool(one.value == other.value)


@given(st.integers(1, 100), st.floats(0, 1), st.integers(0, 10_000))
def test_the_share_falls_and_has_a_floor(sure_after: int, least: float, streak: int) -> None:
    """All of a node's first results are checked, later ones never more often than those before, none never."""
    policy = Policy(sure_after=sure_after, least=least)
    share = policy.share(streak)
    assert 0 <= least <= 1
    assert least <= share <= 1
    assert share >= policy.share(streak + 1)
    assert (share == 1) or streak > sure_after


def test_a_wrong_result_brings_every_check_back() -> None:
    """Whatever the node had been right about before."""
    policy, known = Policy(sure_after=10, least=0.05), Reputation(agreed=500, streak=500)
    assert policy.share(known.streak) == 0.05
    after = known.after(right=False)
    assert (after.agreed, after.disputed, policy.share(after.streak)) == (500, 1, 1.0)
    assert policy.share(after.after(right=True).streak) == 1.0


@pytest.mark.parametrize("wrong", [{"sure_after": 0}, {"least": 1.5}, {"least": -0.1}, {"known": 2.0}])
def test_a_policy_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    """Shares are from 0 to 1, and a first result is always checked."""
    with pytest.raises(ValueError, match=r"share|sure_after|>="):
        Policy(**wrong)  # type: ignore[arg-type]


@given(NUMBERS)
def test_two_that_agree_decide_and_nobody_is_blamed_without(values: list[int]) -> None:
    """Results come one after the other until two agree: these are paid, all others are wrong; else none is either."""
    held: list[Result] = []
    for number, value in enumerate(values):
        new = result(number, value)
        verdict = trust.judge(held, new, equal)
        agreed = next((one for one in held if one.value == value), None)
        if agreed is not None:
            assert verdict.ruling is Ruling.AGREED
            assert verdict.right == (agreed, new)
            assert verdict.accepted is agreed
            assert verdict.wrong == tuple(one for one in held if one.value != value)
            assert verdict.spared == ()
            return
        assert (verdict.right, verdict.wrong, verdict.spared) == ((), (), ())
        assert verdict.ruling is (Ruling.SPLIT if number + 1 == MAX_RESULTS else Ruling.OPEN)
        held.append(new)


@given(st.lists(st.floats(0, 4), min_size=1, max_size=MAX_RESULTS, unique=True))
def test_nearness_blames_nobody_who_is_near_the_accepted(values: list[float]) -> None:
    """A comparison with tolerance need not be transitive: the verdict is a partition all the same."""

    def near(one: Result, other: Result) -> bool:
        return bool(abs(one.value - other.value) <= 1)

    held: list[Result] = []
    for number, value in enumerate(values):
        new = result(number, value)
        verdict = trust.judge(held, new, near)
        if verdict.ruling is Ruling.AGREED:
            everybody = {*verdict.right, *verdict.wrong, *verdict.spared}
            assert everybody == {*held, new}
            assert len(everybody) == len(verdict.right) + len(verdict.wrong) + len(verdict.spared)
            assert not any(near(one, other) for one, other in itertools.product(verdict.wrong, verdict.right))
            return
        held.append(new)


def test_one_operator_alone_never_decides() -> None:
    """A single result is never its own witness."""
    assert trust.judge([], result(0, 1), equal).ruling is Ruling.OPEN


def test_nodes_with_one_label_have_one_operator() -> None:
    """Without a label a node stands for itself."""
    assert trust.operator_of("n1", "farm") == trust.operator_of("n2", "farm") == "farm"
    assert trust.operator_of("n1", "") != trust.operator_of("n2", "")
