"""What can happen to a PostgreSQL server under a gateway: a locked table, ended connections, a restart at once."""

from __future__ import annotations

import random
import signal
from collections.abc import Awaitable, Callable

import psycopg
import sqlalchemy as sa
import trio

from edgeagent.gateway.store import postgres
from postgres_server import Server

#: Seconds by which a held lock outlasts the gateway's patience.
BEYOND_S = 1.0


def disturbances(server: Server, url: sa.URL) -> tuple[Callable[[random.Random], Awaitable[str]], ...]:
    """Return the ways to disturb the gateway whose database is at ``url``."""
    where = {"host": str(url.query["host"]), "user": str(url.username), "dbname": str(url.database)}

    def lock(held_s: float) -> None:
        with psycopg.connect(**where) as connection:
            connection.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            connection.execute("SELECT pg_sleep(%s)", (held_s,))
            connection.rollback()

    def restart() -> None:
        server.stop(signal.SIGQUIT)
        server.start()

    async def lock_table(rng: random.Random) -> str:
        held_s = postgres.BUSY_S + BEYOND_S
        await trio.to_thread.run_sync(lock, held_s)
        return f"jobs for {held_s:.0f} s"

    async def end_connections(rng: random.Random) -> str:
        for _ in range(times := rng.randint(1, 5)):
            others = f"datname = '{url.database}' AND pid <> pg_backend_pid()"
            query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"
            await trio.to_thread.run_sync(server.execute, query)
            await trio.sleep(rng.uniform(0, 0.5))
        return f"every connection ended {times} times"

    async def restart_server(rng: random.Random) -> str:
        await trio.to_thread.run_sync(restart)
        return "the server restarted at once"

    return end_connections, restart_server, lock_table
