"""All examinations, one after the other, each of them shown as soon as it is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import trio

from edgeagent.node.doctor import home as at_home
from edgeagent.node.doctor import host, reach
from edgeagent.node.doctor.verdicts import Verdict


def examine(home: Path, environ: Mapping[str, str]) -> Iterator[Verdict]:
    """Yield what is found on this machine, for the node in ``home``; takes some seconds, and changes nothing."""
    settings, found = at_home.options(home, environ)
    yield from found
    yield from host.resources(home, settings)
    yield host.sandbox(home, settings)
    yield from host.pauses(settings)
    yield from host.graphics(settings)
    yield from at_home.secrets(home, settings)
    node, found = at_home.who(home, environ)
    yield from found
    named = settings.capabilities.offer
    if named is None:
        named = node.capabilities if node is not None else ()
    yield from host.plugins(home / "plugins", named)
    yield host.port(home, settings)
    if node is not None:
        yield from trio.run(reach.gateway, node)
