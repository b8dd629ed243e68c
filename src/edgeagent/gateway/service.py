"""The gateway as a running program: starts what lives long, and stops it in order.

Stopping is one sequence: no new connections, Bye and close code 1012 to every link, requests get a moment to end, then
the writer commits what waits.  A cancelled gateway skips the courtesies; nothing is lost by that either.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog
import trio
from sqlalchemy.exc import DBAPIError

from edgeagent.errors import EdgeAgentError
from edgeagent.gateway import api, auth, bell, keyring, payday, tls
from edgeagent.gateway.announcement import announced
from edgeagent.gateway.asgi import Server, application
from edgeagent.gateway.blobs import LocalBlobs
from edgeagent.gateway.blocking import BlobsUnavailableError
from edgeagent.gateway.config import GatewaySettings
from edgeagent.gateway.data import make_data_dir
from edgeagent.gateway.gate import Gate
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import Store, StoreUnavailableError, submissions
from edgeagent.gateway.store.address import shown
from edgeagent.gateway.store.engine import Database
from edgeagent.gateway.texts import one_line
from edgeagent.wire.link import CloseCode

log = structlog.get_logger()

#: Seconds between two looks for what has been kept long enough.
TIDY_S = 3600.0
#: Looks for what is due after which the dispatcher looks for jobs, and somebody for the owner's orders, even if nobody
#: woke them.
DISPATCH_LOOKS, ORDERS_LOOKS = 5, 10
#: Seconds to wait before the database is tried again.
RETRY_S = 1.0
#: Seconds that open requests get when the gateway stops.
GRACE_S = 3.0
BACKLOG = 1024
#: New objects after which the youngest of them are looked through for cycles; a few MiB.
NEW_OBJECTS = 20_000
#: File descriptors that are not for connections: the database, files that come and go, threads.
OWN_DESCRIPTORS = 256


async def run(
    settings: GatewaySettings,
    *,
    stop: trio.Event | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a gateway until ``stop`` is set or it is cancelled; started with its address once it is ready.

    Raises:
        EdgeAgentError: the directory, the port or the certificate cannot be used, or another gateway uses them; says
            what to do.
    """
    stop = trio.Event() if stop is None else stop
    context = None if settings.tls is None else tls.server_context(*settings.tls)
    descriptors = _allow_many_links()
    with _own_directory(settings.data_dir), _listen(settings.host, settings.port) as listening:
        keys = keyring.load(settings.data_dir)
        store = await _open_store(settings.database)
        try:
            hub = Hub(
                settings=settings,
                store=store,
                blobs=LocalBlobs(settings.blobs),
                tokens=auth.NodeTokens(keys, store.clock),
                network=Network(settings),
            )
            url = _url(listening, secure=context is not None)
            with announced(settings.data_dir, url, hub.steady()):
                server = Server(application(hub, api.application(hub)), context, _gate(settings, descriptors))
                await _serve(hub, server, listening, url, stop, task_status)
        finally:
            store.close()


async def _open_store(database: Database) -> Store:
    try:
        return await trio.to_thread.run_sync(Store, database)
    except DBAPIError as error:
        raise EdgeAgentError(f"cannot use the database {shown(database)}: {one_line(str(error.orig))}") from None


async def work(hub: Hub, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Do what needs no port until cancelled: dispatch jobs, and look for what is due."""
    await hub.load()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_dispatch, hub)
        nursery.start_soon(_sweep, hub)
        nursery.start_soon(_obey, hub)
        nursery.start_soon(_tidy, hub)
        task_status.started()


async def _serve(
    hub: Hub,
    server: Server,
    listening: socket.socket,
    url: str,
    stop: trio.Event,
    task_status: trio.TaskStatus[str],
) -> None:
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    _collect_seldom()
    async with trio.open_nursery() as writing:
        await writing.start(hub.store.run)
        async with trio.open_nursery() as working:
            await working.start(work, hub)
            if hub.settings.monthly_payouts is not None:
                working.start_soon(payday.run, hub, hub.settings.monthly_payouts)
            working.start_soon(bell.answer, hub.settings.data_dir, hub.rung)
            async with trio.open_nursery() as accepting:
                await accepting.start(partial(server.run, listener, handler_nursery=working))
                log.info("Gateway ready", url=url)
                task_status.started(url)
                await stop.wait()
                accepting.cancel_scope.cancel(reason="the gateway stops")
            log.info("Gateway stops")
            for session in hub.network.sessions():
                session.close(CloseCode.RESTARTING, "the gateway restarts")
            hub.feeds.close()
            await server.finish(GRACE_S)
            working.cancel_scope.cancel(reason="the gateway stops")
        writing.cancel_scope.cancel(reason="the gateway stops")


async def _dispatch(hub: Hub) -> None:
    while True:
        try:
            while await hub.dispatch():
                pass
        except StoreUnavailableError as error:
            log.warning("Dispatch waits", reason=str(error))
            await trio.sleep(RETRY_S)
        await hub.wake.wait(DISPATCH_LOOKS * hub.settings.look_s)


async def _sweep(hub: Hub) -> None:
    settings = hub.settings
    # A fraction of the shortest duration that is swept for.
    interval_s = min(settings.look_s, settings.lease_s / 4, settings.unhealthy_s / 4, settings.offline_s / 4)
    while True:
        try:
            await hub.sweep()
        except StoreUnavailableError as error:
            log.warning("Sweep waits", reason=str(error))
        await trio.sleep(interval_s)


async def _obey(hub: Hub) -> None:
    while True:
        await hub.members.ordered.wait(ORDERS_LOOKS * hub.settings.look_s)
        try:
            if await hub.members.obey():
                hub.wake.now()
        except StoreUnavailableError as error:
            log.warning("Orders wait", reason=str(error))
            await trio.sleep(RETRY_S)
        except EdgeAgentError as error:  # a key file is damaged: the keys in memory are good
            log.warning("Order not done", reason=str(error))
            await trio.sleep(RETRY_S)


async def _tidy(hub: Hub) -> None:
    while True:
        try:
            await hub.store.write(submissions.forget_keys)
        except StoreUnavailableError as error:
            log.warning("Idempotency keys are kept for longer", reason=str(error))
        try:
            await hub.collector.sweep()
        except (StoreUnavailableError, BlobsUnavailableError) as error:
            log.warning("Files that nothing refers to are kept for longer", reason=str(error))
        await trio.sleep(TIDY_S)


def _collect_seldom() -> None:
    """Look for reference cycles after more new objects than usual, and not in what is there already: it stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS)


def _allow_many_links() -> int:
    """Use all the file descriptors that this process may have, and return how many those are.

    Each link takes one, and the usual start is 1,024.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def _gate(settings: GatewaySettings, descriptors: int) -> Gate:
    ceilings = settings.ceilings
    together = ceilings.connections
    if descriptors != resource.RLIM_INFINITY and together > max(1, descriptors - OWN_DESCRIPTORS):
        together = max(1, descriptors - OWN_DESCRIPTORS)
        log.warning("Fewer connections than allowed: raise the limit of open files (ulimit -n)", connections=together)
    return Gate(together, ceilings.connections_each, settings.trusted_proxies)


@contextmanager
def _own_directory(data_dir: Path) -> Iterator[None]:
    """Hold the directory's lock: two gateways on one database would each believe they are the only one."""
    try:
        make_data_dir(data_dir)
        lock = os.open(data_dir / "gateway.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EdgeAgentError(f"cannot use {data_dir}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EdgeAgentError(f"another gateway runs in {data_dir}; stop it or use another directory") from None
        yield
    finally:
        os.close(lock)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise EdgeAgentError(f"cannot listen on {host}: {error.strerror}") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EdgeAgentError(f"port {port} on {host} is in use; choose another with --port") from None
        raise EdgeAgentError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    with listening:
        yield listening


def _url(listening: socket.socket, *, secure: bool) -> str:
    """The address a person on this machine can open."""
    host: str
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host) or host  # noqa: S104 -- compared, not bound
    scheme = "https" if secure else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
