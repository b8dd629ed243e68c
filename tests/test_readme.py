"""What the README promises and CI runs are one and the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SET_UP = 'python3 -m venv .venv && .venv/bin/pip install "nox[uv]" && .venv/bin/nox -s '


def test_the_readme_opens_with_exactly_two_set_up_commands() -> None:
    """The demo first, then the tests; nothing else is needed before them."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    assert [block.strip() for block in blocks[:2]] == [SET_UP + "demo", SET_UP + "tests"]


def test_ci_runs_the_readmes_test_command() -> None:
    """To the letter, with skips turned into failures before it."""
    script = (ROOT / ".ci" / "run").read_text()

    assert f"\n{SET_UP}tests\n" in script
    assert script.index("export EDGEAGENT_TESTS_MUST_RUN=1") < script.index(SET_UP)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda page: page.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """Every relative link and picture is a file of this project."""
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())

    assert [target for target in targets if not (page.parent / target).exists()] == []
