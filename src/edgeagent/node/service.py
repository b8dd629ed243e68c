"""The node as a program: opens what ``node.rings`` runs on, and turns signals into its two ways to stop.

The zygote is started before anything secret is read.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import structlog
import trio

from edgeagent import chance
from edgeagent.errors import EdgeAgentError
from edgeagent.node import (
    clockcheck,
    control,
    gpus,
    health,
    hostwatch,
    machine,
    proving,
    rings,
    signals,
    slumber,
    terms,
)
from edgeagent.node.api import Api
from edgeagent.node.cache import Cache, make_shelf
from edgeagent.node.capabilities import announce, lacking_gpus
from edgeagent.node.config import Identity
from edgeagent.node.credentials import Credentials
from edgeagent.node.dialect import Jobs
from edgeagent.node.disk import Disk
from edgeagent.node.fetch.https import Https
from edgeagent.node.fetch.places import Places, kinds
from edgeagent.node.fetch.s3 import S3, read_keys
from edgeagent.node.foreign import speaking
from edgeagent.node.gate import Gate
from edgeagent.node.history import History
from edgeagent.node.inputs import Inputs
from edgeagent.node.journal import Printed
from edgeagent.node.lending import Lending
from edgeagent.node.options import storage
from edgeagent.node.options.settings import Settings
from edgeagent.node.owner import Owner
from edgeagent.node.page.earned import Earned
from edgeagent.node.page.site import Site
from edgeagent.node.receipts import recall
from edgeagent.node.receipts.book import open_book
from edgeagent.node.receipts.keeper import Keeper, own_key
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.slots import NO_GPUS, GpuRules, default_slots
from edgeagent.node.spool import open_spool
from edgeagent.node.stopping import Stop
from edgeagent.node.supplied import Confined, Supplied
from edgeagent.node.systemd import liveness
from edgeagent.node.systemd.notify import SILENT, Notifier
from edgeagent.node.throttle import Throttle
from edgeagent.node.transport import Transport, connect
from edgeagent.plugins.loading import discover
from edgeagent.plugins.probe import available
from edgeagent.wire.messages import Output

log = structlog.get_logger()

#: The one host where a job cannot be shown its files: ``edgesandbox.Zygote.inputs_at``.
NO_INPUTS = "jobs of tier C that root starts may not enter the node's home: start it as an ordinary user"


async def run(
    identity: Identity,
    settings: Settings,
    executor: Confined,
    announced: tuple[str, ...],
    *,
    stop: Stop,
    not_enforced: Mapping[str, str] | None = None,
    lent: GpuRules = NO_GPUS,
    notifier: Notifier = SILENT,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a node until ``stop`` is set, then drain and return; ready with its health address.

    Cancelling stops at once: running jobs are killed, and reported as lost at the next start.

    Raises:
        RefusedError: the gateway does not accept this node's token.
        EdgeAgentError: something else that a person has to put right; the port in use, for example.
    """
    credentials = Credentials.of(identity)
    with (
        _one_fault(),
        contextlib.closing(health.listen(settings.health.host, settings.health.port)) as listener,
        contextlib.closing(Printed(identity.home)) as printed,
        open_book(identity.home, identity.node_id) as book,
    ):
        async with (
            open_spool(identity.home, identity.node_id) as spool,
            Api(identity.gateway, Throttle(settings.share.upload_bytes_s)) as api,
            Https(allow_private=settings.fetch.private) as https,
        ):
            cache = Cache(identity.home, settings.disk.cache_bytes)
            await trio.to_thread.run_sync(cache.open)
            disk = Disk(identity.home, settings.disk.rules, cache)
            executor.make_room = disk.make_room
            places = Places(api=api, token=lambda: credentials.token, https=https, s3=_s3(settings.fetch))
            inputs = Inputs(cache, places, chance.rng(), disk.make_room, Throttle(settings.share.download_bytes_s))
            if not executor.shows_inputs:
                log.warning("No jobs with inputs are taken", reason=NO_INPUTS)

            async def upload(attempt_id: str, output: Output, path: Path) -> None:
                await api.put_output(credentials.token, attempt_id, output, path)

            jobs = Jobs(chance.new_id)

            def foreign(below: Transport) -> AbstractAsyncContextManager[Transport]:
                return speaking(below, jobs, lambda load: api.heartbeat(credentials.token, load))

            async def prove() -> bool:
                token = await proving.fresh_token(identity.home, identity.gateway, identity.node_id)
                if token is not None:
                    credentials.renew(token)
                return token is not None

            site = Site(Earned(lambda: api.earnings(credentials.token)), settings.health.names)

            async def obey(parts: rings.Parts) -> None:
                listener = control.listen(identity.home)
                owner = Owner(
                    parts=parts,
                    identity=identity,
                    grace_s=settings.shutdown.grace_s,
                    not_enforced=dict(not_enforced or {}),
                    cache=lambda: {"used_bytes": cache.used_bytes, "evictable_bytes": cache.evictable_bytes},
                    warnings=lambda: (*filter(None, [disk.warning]), *watched.unheeded),
                    lending=lending,
                )
                site.state = owner.state
                if listener is not None:
                    await control.run(listener, owner.orders())

            lending = Lending(lent, identity.home)
            wishes = terms.wishes(settings)
            watched = hostwatch.Host(wishes)

            async def watch(parts: rings.Parts) -> None:
                await hostwatch.run(parts.gate, wishes, watched.read)

            async def rouse(parts: rings.Parts) -> None:
                await slumber.run(parts.link.wake)

            history = History(identity.home)
            keeper = Keeper(identity.node_id, book, own_key(identity.home, identity.node_id))

            log.info("Node starts", node_id=identity.node_id, gateway=str(identity.gateway))
            await rings.run(
                rings.Surroundings(
                    connect=lambda: connect(identity.gateway.relay(identity.node_id), credentials.token, foreign),
                    upload=upload,
                    spool=spool,
                    credentials=credentials,
                    health=functools.partial(
                        health.run, listener, warnings=lambda: list(filter(None, [disk.warning])), site=site
                    ),
                    prove=prove if identity.token_in_file else None,
                    clocks=functools.partial(clockcheck.compare, identity.gateway),
                    disk=disk,
                    fetches=kinds() if executor.shows_inputs else (),
                    ended=history.ended,
                    credited=history.credited,
                    receipts=keeper,
                    printed=printed.keep,
                    watches=(
                        obey,
                        watch,
                        rouse,
                        history.run,
                        functools.partial(keeper.run, api.gateway_keys),
                        _recall(keeper, lambda attempt_ids: api.verdicts(credentials.token, attempt_ids)),
                        functools.partial(liveness.run, notifier),
                    ),
                ),
                Supplied(executor, inputs, fetch_s=settings.fetch.time_s),
                announced=announced,
                slots=settings.share.slots or default_slots(machine.cores(settings.share.cores)),
                stop=stop,
                grace_s=settings.shutdown.grace_s,
                gpus=lending.rules,
                ceilings=terms.ceilings(settings),
                gate=Gate(attrs.evolve(terms.circumstances(settings), short=lending.short()), home=identity.home),
                task_status=task_status,
            )


def _recall(keeper: Keeper, ask: recall.Ask) -> Callable[[rings.Parts], Awaitable[None]]:
    async def run(parts: rings.Parts) -> None:
        await recall.run(parts.session.outbox, keeper.held, ask, parts.sender.judge)

    return run


def _s3(fetch: storage.Fetch) -> S3:
    return S3(endpoint=fetch.s3_endpoint, region=fetch.s3_region, **read_keys(fetch.s3_keys))


@contextlib.contextmanager
def _one_fault() -> Iterator[None]:
    """Take the fault that a person can act on out of the groups that nurseries put around it."""
    fault: EdgeAgentError | None = None
    try:
        yield
    except* EdgeAgentError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, EdgeAgentError)
        fault = error
    if fault is not None:
        raise fault


def main(settings: Settings, home: Path, identify: Callable[[], Identity], check: Callable[[], object]) -> int | None:
    """Run the node that lives in ``home`` until a signal or its owner ends it.

    Args:
        settings: what the owner wants.
        home: the node's directory, with the operator's own plugins in ``plugins``, which need not exist.
        identify: reads the secrets, and so is called after the sandbox's zygote has been started.
        check: raises ``EdgeAgentError`` where the options, as they are by then, are no good.

    Returns:
        The exit code; None where the node is to be started anew, with its options as they are by then.

    Raises:
        EdgeAgentError: what a person has to put right.
    """
    notifier = Notifier.of(os.environ)
    lent = gpus.lend(gpus.detect())
    wanted, shelf = settings.sandbox, make_shelf(home)
    plugins = home / "plugins"
    with zygote_for(
        plugins,
        wanted.warm,
        cores=settings.share.cores,
        lent=lent,
        shelf=shelf,
        allow_tier_c=wanted.allow_tier_c,
    ) as zygote:
        lent = gpus.within(zygote.tier, lent)
        for problem in lent.problems:
            log.info("No GPU lent", reason=problem)
        found = discover(plugins)  # the owner's code: not before what the launcher alone is lent has been given up
        for error in found.errors:
            log.warning("Plugin not usable", reason=error)
        offer = available(found.plugins)
        identity = identify()
        rules = gpus.rules(lent, settings.gpu)
        named = identity.capabilities if settings.capabilities.offer is None else settings.capabilities.offer
        reasons = {
            **offer.reasons,
            **lacking_gpus(rules),
            **dict.fromkeys(settings.capabilities.deny, "its owner denies it (capabilities.deny)"),
        }
        announced, missing = announce(named, found.plugins, reasons)
        for reason in missing:
            log.warning("Capability not offered", reason=reason)

        async def serve(stop: Stop) -> None:
            executor = SandboxExecutor(zygote, lent)
            missing = zygote.not_enforced
            await run(
                identity, settings, executor, announced, stop=stop, lent=rules, not_enforced=missing, notifier=notifier
            )

        return trio.run(_run_until_told, serve, settings.shutdown.grace_s, check)


async def _run_until_told(
    serve: Callable[[Stop], Awaitable[None]], grace_s: float, check: Callable[[], object]
) -> int | None:
    stop = Stop()
    with _one_fault(), trio.open_signal_receiver(*signals.SIGNALS) as received:
        async with trio.open_nursery() as nursery:
            obey = functools.partial(signals.obey, grace_s=grace_s, check=check)
            nursery.start_soon(obey, received, stop, nursery.cancel_scope)
            await serve(stop)
            nursery.cancel_scope.cancel()
            return None if stop.restart else 0
    log.warning("Stopped at once")
    return 1
