"""When two results are the same: rules that an owner sets, and comparisons that he installs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeagent.gateway import comparisons
from edgeagent.gateway.comparisons import NoComparisonError, Rule
from edgeagent.gateway.trust import Output, Result

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def result(value: Any, *outputs: tuple[str, str], ref: str | None = None) -> Result:
    files = tuple(Output(name=name, size_bytes=1, sha256=sha256) for name, sha256 in outputs)
    return Result(attempt_id="a", node_id="n", operator="n", value=value, outputs=files, result_ref=ref)


@given(JSON)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    """Whatever it is, and with any tolerance."""
    assert comparisons.comparison(Rule())(result(value), result(value))
    assert comparisons.comparison(Rule(tolerance=0.1))(result(value), result(value))


@given(JSON, JSON)
def test_it_does_not_matter_which_comes_first(one: Any, other: Any) -> None:
    """A comparison has two sides, and no favourite."""
    for rule in (Rule(), Rule(tolerance=0.01), Rule(ignore=("a",))):
        same = comparisons.comparison(rule)
        assert same(result(one), result(other)) == same(result(other), result(one))


@pytest.mark.parametrize(
    ("one", "other", "rule", "expected"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, Rule(), True),
        ({"a": 1}, {"a": 2}, Rule(), False),
        ({"a": True}, {"a": 1}, Rule(), False),
        ({"a": 1}, {"a": 1, "b": 1}, Rule(), False),
        ([1, 2], [1], Rule(), False),
        ({"n": 5, "seconds": 1.0}, {"n": 5, "seconds": 2.0}, Rule(ignore=("seconds",)), True),
        ({"n": 5, "seconds": 1.0}, {"n": 6, "seconds": 1.0}, Rule(ignore=("seconds",)), False),
        ({"p": [0.1001]}, {"p": [0.1]}, Rule(tolerance=0.01), True),
        ({"p": [0.2]}, {"p": [0.1]}, Rule(tolerance=0.01), False),
        ({"p": 10**400}, {"p": 0.5}, Rule(tolerance=0.01), False),
        (1, 1.0, Rule(), True),
        ("1", 1, Rule(tolerance=1.0), False),
    ],
)
def test_values_are_compared_by_the_rule(one: Any, other: Any, rule: Rule, expected: bool) -> None:
    """Fields in any order, numbers as near as the rule allows, truth values never as numbers."""
    assert comparisons.comparison(rule)(result(one), result(other)) is expected


def test_files_are_compared_by_content_or_by_name() -> None:
    """As the rule says."""
    one, other, third = result(1, ("f", "aa")), result(1, ("f", "bb")), result(1, ("g", "aa"))
    assert not comparisons.comparison(Rule())(one, other)
    assert comparisons.comparison(Rule(files=False))(one, other)
    assert not comparisons.comparison(Rule(files=False))(one, third)
    assert not comparisons.comparison(Rule())(result(1, ref="s3://a"), result(1, ref="s3://b"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package beside the gateway, as pip would leave it, with comparisons of its own."""
    (tmp_path / "looking.py").write_text(
        "def alike(one, other):\n    return one.value['score'] // 10 == other.value['score'] // 10\n\nnothing = 1\n"
    )
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)\n")
    info = tmp_path / "looking-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: looking\nVersion: 1.0\n")
    points = "alike = looking:alike\nnothing = looking:nothing\ngone = looking:gone\nends = leaving:now\n"
    (info / "entry_points.txt").write_text(f"[{comparisons.GROUP}]\n{points}")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "looking", raising=False)
    return tmp_path


def test_an_installed_comparison_decides(installed: Path) -> None:
    """It knows what a rule cannot say."""
    same = comparisons.comparison(Rule(installed="alike"))
    assert same(result({"score": 11}), result({"score": 19}))
    assert not same(result({"score": 11}), result({"score": 21}))


def test_an_installed_comparison_that_fails_finds_a_difference(installed: Path) -> None:
    """A result that it cannot read harms the node that gave it, not the gateway."""
    assert not comparisons.comparison(Rule(installed="alike"))(result({"score": 11}), result(None))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "there are: "),
        ("nothing", "no function"),
        ("gone", "cannot be loaded"),
        ("ends", "SystemExit: 3"),
    ],
)
def test_a_comparison_that_is_none_is_named(installed: Path, name: str, words: str) -> None:
    """And which there are."""
    with pytest.raises(NoComparisonError, match=words):
        comparisons.comparison(Rule(installed=name))
