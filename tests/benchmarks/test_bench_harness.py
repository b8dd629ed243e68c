"""The runner: taking turns, keeping results, exit codes."""

from __future__ import annotations

import json
import sys
import types

import pytest

from benchmarks import harness
from benchmarks.harness import BenchmarkError, alternate, main
from benchmarks.rows import Target, row_id


@pytest.fixture
def benchmark(monkeypatch):
    """A benchmark ``doubling`` that measures two constants; its ``TARGETS`` and ``measure`` may be replaced."""
    module = types.ModuleType("benchmarks.doubling")

    def measure(run):
        run.compare("time", row_id("time", "one"))
        run.add("time", "one", 1.0, "ms")
        run.add("time", "two", 2.0, "ms")
        run.absent["three"] = "no three on the PATH"

    module.measure = measure
    module.TARGETS = (Target(row=row_id("time", "two"), per=row_id("time", "one"), at_most=2),)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(harness, "names", lambda: ["doubling"])
    return module


@pytest.fixture
def unreachable(benchmark):
    """The same with a target that it misses."""
    benchmark.TARGETS = (*benchmark.TARGETS, Target(row=row_id("time", "two"), at_least=3))
    return benchmark


def test_everybody_has_one_turn_in_each_round():
    """The first round is in the given order, and the orders differ."""
    turns = list(alternate("abcdef", 20))
    rounds = ["".join(turns[start : start + 6]) for start in range(0, len(turns), 6)]

    assert 20 == len(rounds)
    assert {"abcdef"} == {"".join(sorted(each)) for each in rounds}
    assert "abcdef" == rounds[0]
    assert len(set(rounds)) > 10


def test_a_slow_subject_has_fewer_turns():
    """In every third round, from the first on."""
    turns = "".join(alternate("fs", 7, every=lambda each: 3 if each == "s" else 1))

    assert (7, 3) == (turns.count("f"), turns.count("s"))
    assert turns.startswith("fs")


def test_two_runs_take_the_same_turns():
    """The order is shuffled, but not by chance."""
    assert list(alternate("abcdef", 20)) == list(alternate("abcdef", 20))


def test_a_run_ends_in_a_file_with_everything_in_it(benchmark, tmp_path):
    """Rows with ratios, what was absent and why, the verdicts, and the machine they are from."""
    output = tmp_path / "results.json"
    output.write_text('{"link": {"rows": []}}')

    assert 0 == main(["doubling", "--output", str(output)])

    results = json.loads(output.read_text())
    entry = results["doubling"]
    assert ["doubling", "link"] == list(results)
    assert {"date", "kernel", "cpu", "cores", "python", "load"} <= set(entry["machine"])
    assert [("one", 1.0), ("two", 2.0)] == [(row["name"], row["ratio"]) for row in entry["rows"]]
    assert {"three": "no three on the PATH"} == entry["absent"]
    assert [True] == [target["met"] for target in entry["targets"]]


def test_a_missed_target_fails_the_run_that_asks_for_targets(unreachable, tmp_path, capsys):
    """Exit code 1, the row in the last line, and the figures are kept all the same."""
    output = tmp_path / "results.json"

    assert 1 == main(["doubling", "--targets", "--output", str(output)])

    assert "missed 1 of 2 targets: two: time (2, at least 3)" == capsys.readouterr().out.splitlines()[-1]
    assert [True, False] == [each["met"] for each in json.loads(output.read_text())["doubling"]["targets"]]


def test_a_missed_target_is_only_told_to_a_run_that_does_not(unreachable, tmp_path, capsys):
    """Exit code 0, the same last line."""
    assert 0 == main(["doubling", "--output", str(tmp_path / "results.json")])

    assert capsys.readouterr().out.splitlines()[-1].startswith("missed 1 of 2 targets")


def test_a_quick_run_keeps_nothing(benchmark, tmp_path, monkeypatch):
    """Its figures mean too little to replace those of a full run."""
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results.json")

    assert 0 == main(["doubling", "--quick"])

    assert [] == list(tmp_path.iterdir())


def test_peers_that_are_missing_are_named(benchmark, tmp_path, capsys):
    """With the reason."""
    main(["doubling", "--output", str(tmp_path / "results.json")])

    assert "not measured: three: no three on the PATH" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_file_that_is_not_results_is_left_alone(benchmark, tmp_path, capsys, content):
    """One line says so, before anything is measured."""
    output = tmp_path / "results.json"
    output.write_text(content)
    benchmark.measure = None  # to call it would raise

    assert 1 == main(["doubling", "--output", str(output)])

    assert content == output.read_text()
    assert capsys.readouterr().err.startswith(f"bench: {output} cannot be added to")


def test_a_benchmark_that_cannot_measure_says_why(benchmark, tmp_path, capsys):
    """Exit code 1, one line, and no file."""

    def measure(run):
        raise BenchmarkError("this host cannot confine jobs")

    benchmark.measure = measure
    output = tmp_path / "results.json"

    assert 1 == main(["doubling", "--output", str(output)])

    assert "bench: this host cannot confine jobs\n" == capsys.readouterr().err
    assert not output.exists()


def test_an_unknown_benchmark_is_bad_usage(capsys):
    """The message lists those there are."""
    with pytest.raises(SystemExit) as end:
        main(["nothing"])

    assert 2 == end.value.code
    assert "sandbox" in capsys.readouterr().err
