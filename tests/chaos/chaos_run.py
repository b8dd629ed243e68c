"""One run: a network, submitters, faults between the jobs, and an audit when everything has ended."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import attrs
import chaos_auditor
import sqlalchemy as sa
import trio
from chaos_auditor import Audit, Witnessed
from chaos_faults import Struck
from chaos_leftovers import described, mounts_below, strays
from chaos_network import Network, running
from chaos_plan import Plan
from chaos_submitters import Submitters

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway.store.engine import open_engine
from edgeagent.gateway.store.tables import jobs

#: Seconds that nodes have, after the last job, until their spools are empty: a result is said again after 30.
FLUSHED_S = 90.0
#: Seconds between two looks how many jobs have ended.
LOOK_S = 0.1
_ENDED = sa.select(sa.func.count()).where(jobs.c.finished_at.is_not(None))


@attrs.frozen(kw_only=True)
class Ran:
    """What a run did and found."""

    name: str
    plan: Plan
    audit: Audit
    struck: int
    repeated: int
    wall_s: float
    breaches: tuple[str, ...]
    history: tuple[str, ...]


async def run(name: str, plan: Plan, nodes: int, limit_s: float, database: str, keep: Path | None) -> Ran:
    """Run a plan with real processes.

    Args:
        limit_s: seconds until every job must have ended.
        database: ``sqlite`` or ``postgres``.
        keep: where everything is left for a look, if something is wrong; None leaves nothing anywhere.
    """
    faults = {stroke.fault for stroke in plan.strokes}
    disks, clocks = "disk-full" in faults, "clock" in faults
    directory = Path(tempfile.mkdtemp(prefix="edgeagent-chaos-"))
    started = trio.current_time()
    try:
        async with _server(database) as (url, disturbances):
            settings = {"nodes": nodes, "disks": disks, "clocks": clocks, "postgres": url}
            async with running(directory, **settings) as network:
                submitters, struck = Submitters(network, plan), Struck(network, disturbances)
                breaches = await _fault_all(plan, submitters, struck, limit_s)
                await _stop(network, struck)
                seen = chaos_auditor.witnessed(node.program.log for node in network.nodes)
                audit = await trio.to_thread.run_sync(_audit, network, submitters, seen)
                found = (*breaches, *struck.breaches, *_broken_logs(network), *audit.breaches)
                if found and keep is not None:
                    await trio.to_thread.run_sync(_keep, directory, keep / name, struck.history)
        return Ran(
            name=name,
            plan=plan,
            audit=audit,
            struck=len(struck.history),
            repeated=submitters.repeated,
            wall_s=trio.current_time() - started,
            breaches=found,
            history=tuple(struck.history),
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _fault_all(plan: Plan, submitters: Submitters, struck: Struck, limit_s: float) -> list[str]:
    """Submit, strike, and wait until all has ended; return what went wrong on the way."""
    network, total = struck.network, plan.jobs
    window = max(10, total // 20)  # jobs that may be asked for beyond those before the next fault
    found = [f"not everything had ended after {limit_s:.0f} s"]
    try:
        with trio.move_on_after(limit_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(submitters.run)
                marks = [*(stroke.at * total for stroke in plan.strokes), float(total)]
                for stroke, mark, following in zip(plan.strokes, marks, marks[1:], strict=False):
                    submitters.allow(round(mark) + window)
                    await _until_ended(network, round(mark))
                    submitters.allow(round(following) + window)
                    await struck.strike(stroke)
                submitters.allow(total + window)
                await _until_ended(network, total)
            found = await _flushed(network)
    except* EdgeAgentError as group:
        found = [str(_first(group))]
    return found


async def _until_ended(network: Network, wanted: int) -> None:
    engine = open_engine(network.database, writer=False)

    def ended() -> int:
        with engine.connect() as connection:
            return int(connection.execute(_ENDED).scalar_one())

    try:
        while True:
            with contextlib.suppress(sa.exc.DBAPIError):  # it is locked, full, or not there now
                if await trio.to_thread.run_sync(ended) >= wanted:
                    return
            await trio.sleep(LOOK_S)
    finally:
        engine.dispose()


async def _flushed(network: Network) -> list[str]:
    """Wait until no node owes the gateway anything: every result has arrived and was acknowledged."""
    with trio.move_on_after(FLUSHED_S):
        while any(node.owes() for node in network.nodes):
            await trio.sleep(LOOK_S)
        return []
    return [f"{node.name} still has {node.owes()} attempts in its spool" for node in network.nodes if node.owes()]


async def _stop(network: Network, struck: Struck) -> None:
    """Stop everything in order; each program ends with 0, and nothing is left."""
    for program in [*(node.program for node in network.nodes), network.gateway]:
        if program.pid is not None and (code := await program.stop()):
            struck.breaches.append(f"{program.name} ended with {code}:\n{program.tail()}")
    disks = [network.disk, *(node.disk for node in network.nodes)]
    left = [*described(strays(network.pids())), *mounts_below(network.directory, [disk.path for disk in disks if disk])]
    struck.breaches += [f"at the end there is still {one}" for one in left]


def _audit(network: Network, submitters: Submitters, seen: Witnessed) -> Audit:
    return chaos_auditor.audit(network.database, network.data / "blobs", submitters.accepted, seen)


def _broken_logs(network: Network) -> list[str]:
    """A fault that was to be expected leaves no traceback in a log."""
    programs = network.programs().items()
    return [f"{name} logged a traceback" for name, one in programs if "Traceback" in one.log.read_text()]


def _keep(directory: Path, target: Path, history: list[str]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(directory, target, symlinks=True, ignore=_sockets)
    (target / "history").write_text("\n".join(history) + "\n")


def _sockets(directory: str, names: list[str]) -> list[str]:
    return [name for name in names if (Path(directory) / name).is_socket()]


@contextlib.asynccontextmanager
async def _server(database: str) -> AsyncIterator[tuple[sa.URL | None, tuple]]:
    if database == "sqlite":
        yield None, ()
        return
    from chaos_postgres import disturbances

    import postgres_server

    with postgres_server.running() as server:
        url = server.make()
        yield url, disturbances(server, url)


def _first(group: BaseExceptionGroup[EdgeAgentError]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def table(runs: list[Ran]) -> str:
    """Return the figures of several runs, one line each."""
    heads = ("faults", "struck", "jobs", "completed", "failed", "cancelled", "attempts", "asked again", "s", "broken")
    rows = [tuple(str(cell) for cell in _row(one)) for one in runs]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)]
    return "\n".join(lines)


def _row(ran: Ran) -> tuple[object, ...]:
    ended: Mapping[str, int] = ran.audit.ended
    return (
        ran.name,
        ran.struck,
        ran.plan.jobs,
        *(ended.get(state, 0) for state in ("COMPLETED", "FAILED", "CANCELLED")),
        ran.audit.attempts,
        ran.repeated,
        round(ran.wall_s),
        len(ran.breaches),
    )
