"""The table of attacks in the documentation and the tests are in step."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sandbox-proof.md").read_text()
ID = re.compile(r"`(?:tests/(\w+)/)?(\w+)::(test_\w+)`")
#: Files whose tests are all attacks, or what shows that an attack works.
ATTACKS = ("intruders", "counterproofs")


def table(page: str) -> list[list[str]]:
    """Return the cells of the table of attacks."""
    part = page.partition("## The attacks")[2].partition("\n## ")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line.startswith("|")]


def file_of(directory: str, name: str) -> Path:
    """Return the file that an id of the table names."""
    if name == "tier_c_cases":  # run by a test, not found by its name
        return ROOT / "tests" / "sandbox" / f"{name}.py"
    directory = directory or "sandbox"
    prefix = {"sandbox": "sandbox_", "plugins": "plugin_"}.get(directory, "")
    return ROOT / "tests" / directory / f"test_{prefix}{name}.py"


def functions_of(path: Path) -> set[str]:
    """Return the names of the tests that pytest finds in a file."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, functions) and node.name.startswith("test_")}


ROWS = table(PAGE)[2:]


def test_the_table_is_there() -> None:
    """With a test for each attack, and something that shows that the attack works."""
    assert len(ROWS) > 30
    assert [] == [row for row in ROWS if len(row) != 3 or not ID.search(row[1]) or not row[2]]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.sub(r"\W+", "-", row[0])[:50])
def test_every_test_that_it_names_exists(row: list[str]) -> None:
    """In the file it names."""
    missing = [
        f"{path.name}::{test}"
        for directory, name, test in ID.findall(" ".join(row))
        if not (path := file_of(directory, name)).exists() or test not in functions_of(path)
    ]

    assert [] == missing


def test_every_test_named_elsewhere_on_the_page_exists() -> None:
    """As beside the cases of other projects."""
    found = ID.findall(PAGE.partition("## What is left behind")[2])

    assert len(found) > 10
    assert [] == [test for directory, name, test in found if test not in functions_of(file_of(directory, name))]


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_is_missing(name: str) -> None:
    """A new test of these files has to be named in the table."""
    named = {test for _, _, test in ID.findall(PAGE.partition("## What the tests of others")[0])}

    assert set() == functions_of(file_of("", name)) - named


def test_a_row_without_its_test_is_noticed() -> None:
    """The check above is not blind: a name that is nowhere is not found."""
    (row,) = table("## The attacks\n| x | `walls::test_that_nobody_wrote` | the same |\n")
    ((directory, name, test),) = ID.findall(row[1])

    assert test not in functions_of(file_of(directory, name))
