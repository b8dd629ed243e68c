"""Starting a command imports no more than it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", [["--help"], ["job", "submit", "--help"], ["gateway", "run", "--help"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    """--help must be fast, so it loads neither trio nor any library behind it."""
    code = (
        "import sys; from edgeagent.cli import main\n"
        f"try: main({command!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'httpx2', 'cryptography', 'sqlalchemy', 'structlog', 'rich', 'cattrs'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
