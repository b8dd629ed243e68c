"""Submitters' tokens, made beside a gateway that runs or none."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.gateway import auth, ledger
from edgeagent.gateway.accounts import create_token
from edgeagent.gateway.store import Store, accounts
from edgeagent.gateway.store import ledger as books
from edgeagent.gateway.store.engine import Database


async def test_a_token_can_be_made_beside_a_running_gateway(tmp_path: Path, database: Database) -> None:
    """Another connection adds to the same account, and to the same chain, while the writer works."""
    create = partial(create_token, database=None if isinstance(database, Path) else database)
    await trio.to_thread.run_sync(create, tmp_path, "studio", 5)
    store = Store(database)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        async with trio.open_nursery() as both:
            for number in range(20):
                both.start_soon(store.write, books.post, ledger.grant(f"{number}", 1))
                both.start_soon(trio.to_thread.run_sync, create, tmp_path, "studio", 1)
        token = await trio.to_thread.run_sync(create, tmp_path, "studio", 7)
        account = await store.read(accounts.of_token, auth.token_sha256(token))
        assert account is not None
        assert await store.read(accounts.balance, account) == accounts.Balance("studio", 32, 0)
        assert len(await store.read(lambda tx: list(books.entries(tx)))) == 42
        nursery.cancel_scope.cancel()
    store.close()


def test_a_token_is_not_stored(tmp_path: Path) -> None:
    """Who reads the database cannot submit."""
    token = create_token(tmp_path / "new" / "data", "studio", 0)

    assert token.startswith("ea_")
    assert len(token) == 46
    data = (tmp_path / "new" / "data" / "gateway.db").read_bytes()
    assert token.encode() not in data
    assert auth.token_sha256(token).encode() in data
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("name", "grant"), [("", 0), (" ", 0), ("a\nb", 0), ("x" * 101, 0), ("studio", -1)])
def test_an_account_that_makes_no_sense_is_refused(tmp_path: Path, name: str, grant: int) -> None:
    """One line, and nothing is made."""
    with pytest.raises(UsageError):
        create_token(tmp_path / "data", name, grant)
    assert not (tmp_path / "data").exists()


def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    """A file where the directory should be; a file that is no database."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(EdgeAgentError, match="cannot use"):
        create_token(tmp_path / "file", "studio", 0)
    (tmp_path / "gateway.db").write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    with pytest.raises(EdgeAgentError, match="cannot use the database"):
        create_token(tmp_path, "studio", 0)
