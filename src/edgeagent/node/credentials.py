"""The node's token while it runs: the one in use, and where a fresh one goes.

The gateway hands out a fresh token on the link when half of the old one's life is over.  It is used from then on, and
kept in the home, so that a restart finds it: in ``config.json`` where the old one came from there, else beside it
(``node.renewed``).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog
import trio

from edgeagent.errors import UsageError
from edgeagent.node import files, renewed
from edgeagent.node.config import Identity
from edgeagent.wire.identity import InvalidTokenError, read_node_token

log = structlog.get_logger()


class Credentials:
    """Holds the token; ``run`` stores fresh ones."""

    def __init__(self, token: str, keep: Callable[[str], None] | None = None) -> None:
        """Start with ``token``; ``keep`` is called in a thread with each fresh one, if it is there."""
        self.token = token
        self._keep = keep
        self._fresh = trio.Event()

    @classmethod
    def of(cls, who: Identity) -> Credentials:
        """Return a node's, which keep a fresh token where the next start finds it."""
        return cls(who.token, lambda fresh: _kept(who, fresh))

    def renew(self, token: str) -> None:
        """Use this token from now on; returns at once."""
        self.token = token
        self._fresh.set()

    async def run(self) -> None:
        """Have each fresh token kept, until cancelled."""
        while True:
            await self._fresh.wait()
            self._fresh = trio.Event()
            log.info("Token renewed")
            if self._keep is not None:
                await trio.to_thread.run_sync(self._keep, self.token)


def _kept(who: Identity, fresh: str) -> None:
    try:
        if who.given_token is not None:
            renewed.keep(who.home, who.given_token, fresh)
        else:
            _store(who.home, fresh)
    except (UsageError, InvalidTokenError, OSError) as error:
        log.warning("Token not stored", reason=str(error))


def _store(home: Path, token: str) -> None:
    document = files.read_config(home) or {}
    if document.get("node_id") == read_node_token(token).node_id:  # else the machine was registered anew meanwhile
        files.write_config(home, {**document, "jwt_token": token})
