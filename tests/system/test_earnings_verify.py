"""``edgeagent earnings verify`` of a real node: it holds until somebody changes the gateway's past."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from test_commands import edgeagent

pytestmark = pytest.mark.needs("sandbox")
LIMIT_S = 300.0


def _change(tmp_path: Path, *statements: str) -> None:
    """Rewrite the books of a running gateway, as somebody might who has its disk."""
    (path,) = (tmp_path / "gateway").glob("*.db")
    with closing(sqlite3.connect(path, timeout=30)) as database, database:
        for statement in statements:
            database.execute(statement)


async def test_a_rewritten_month_is_found_out(network: Callable[..., Any], tmp_path: Path) -> None:
    """Good as it is; then a leaf is replaced, then the last one dropped, and each time exit code and lines say so."""
    home = {"EDGEAGENT_HOME": str(tmp_path / "node")}
    with trio.fail_after(LIMIT_S):
        async with network(capabilities=("cpu_benchmark", "echo")) as session:
            paid = [await session.client.submit("cpu_benchmark", {"limit": 100 + extra}) for extra in range(3)]
            free = await session.client.submit("echo", {})
            for job in (*paid, free):
                assert "COMPLETED" == (await session.client.wait(job["job_id"]))["status"]
            attempts = [(await session.client.show(job["job_id"]))["attempts"][-1]["attempt_id"] for job in paid]
            good = await edgeagent("earnings", "verify", "--json", **home)
            text = await edgeagent("earnings", "verify", **home)
            audited = await edgeagent("gateway", "ledger", "verify", "--data", str(tmp_path / "gateway"))

            _change(tmp_path, f"UPDATE settlements SET leaf = zeroblob(32) WHERE attempt_id = '{attempts[1]}'")
            replaced = await edgeagent("earnings", "verify", "--json", **home)
            told = await edgeagent("gateway", "ledger", "verify", "--data", str(tmp_path / "gateway"))

            _change(
                tmp_path,
                "DELETE FROM settlements WHERE place = 2",
                "UPDATE months SET leaves = 2, credited_ucr = 2000000",
            )
            dropped = await edgeagent("earnings", "verify", "--json", **home)
        gone = await edgeagent("earnings", "verify", **home)

    verdict = json.loads(good.stdout)
    assert (0, 0, 0) == (good.code, text.code, audited.code), (good, text, audited)
    assert ("edgeagent.earnings-verdict/1", True, 3, 3_000_000, 3_000_000) == (
        verdict["schema"],
        verdict["good"],
        verdict["receipts"],
        verdict["settled_ucr"],
        verdict["earned_ucr"],
    )
    assert (3, 3_000_000) == (verdict["statement"]["size"], verdict["statement"]["credited_ucr"])
    assert "all holds" in text.stdout

    assert (1, 1) == (replaced.code, told.code)
    faults = json.loads(replaced.stdout)["faults"]
    # Its neighbours' proofs go through the leaf that was replaced, and the root is not the one that was seen.
    assert {"missing", "statement"} == {one["kind"] for one in faults}
    assert attempts[1] in {one["attempt_id"] for one in faults}
    assert attempts[1] in told.stdout + told.stderr

    assert 1 == dropped.code
    assert any("3 was seen before" in one["what"] for one in json.loads(dropped.stdout)["faults"])
    assert 4 == gone.code
    assert "checked without the gateway" in gone.stdout
