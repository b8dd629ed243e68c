"""The node's token while it runs: the one in use, and where a fresh one goes.

The gateway hands out a fresh token on the link when half of the old one's life is over.  It is used from then on, and
written into ``config.json`` where the old one came from there, so that a restart finds it.
"""

from __future__ import annotations

from pathlib import Path

import structlog
import trio

from edgeagent.errors import UsageError
from edgeagent.node import files
from edgeagent.wire.identity import InvalidTokenError, read_node_token

log = structlog.get_logger()


class Credentials:
    """Holds the token; ``run`` stores fresh ones."""

    def __init__(self, token: str, home: Path | None) -> None:
        """Start with ``token``; ``home`` is where a fresh one is written, or None where the environment gave it."""
        self.token = token
        self._home = home
        self._fresh = trio.Event()

    def renew(self, token: str) -> None:
        """Use this token from now on; returns at once."""
        self.token = token
        self._fresh.set()

    async def run(self) -> None:
        """Write each fresh token into ``config.json`` until cancelled."""
        while True:
            await self._fresh.wait()
            self._fresh = trio.Event()
            log.info("Token renewed")
            if self._home is not None:
                await trio.to_thread.run_sync(_store, self._home, self.token)


def _store(home: Path, token: str) -> None:
    try:
        document = files.read_config(home) or {}
        if document.get("node_id") == read_node_token(token).node_id:  # else the machine was registered anew meanwhile
            files.write_config(home, {**document, "jwt_token": token})
    except (UsageError, InvalidTokenError, OSError) as error:
        log.warning("Token not stored", reason=str(error))
