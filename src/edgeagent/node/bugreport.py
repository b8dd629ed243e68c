"""What a maintainer needs to know of a node, as one text without secrets: ``edgeagent bugreport``."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

from edgeagent import __version__
from edgeagent.errors import EdgeAgentError
from edgeagent.node import config, files, journal
from edgeagent.node.controller import Controller
from edgeagent.node.doctor.examine import examine
from edgeagent.node.options.resolve import resolve_home
from edgeagent.node.redaction import redact

#: Lines of the log that are taken along.
LINES = 1000
#: Variables whose values are secret, here or to those who run the node.
_SECRET = ("TOKEN", "JWT", "SECRET", "PASSWORD", "KEY")


def collect(home: Path, environ: Mapping[str, str]) -> str:
    """Return the report; takes some seconds, since it examines the machine."""
    text = "\n".join(f"## {title}\n\n{body}\n" for title, body in _sections(home, environ))
    return redact(text, _known(home, environ))


def _sections(home: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    yield "Versions", f"edgeagent {__version__}, Python {sys.version.split()[0]}, {platform.platform()}"
    yield "Packages", "\n".join(sorted({f"{one.name} {one.version}" for one in distributions()}))
    found = [f"{one.level.value}  {one.check}: {one.text} {one.remedy}".rstrip() for one in examine(home, environ)]
    yield "Doctor", "\n".join(found)
    yield "Status", _status(home)
    yield "Options", _options(home, environ)
    yield "Log", "\n".join(json.dumps(entry) for entry in journal.entries(home, last=LINES))


def _status(home: Path) -> str:
    try:
        with Controller(home) as node:
            return json.dumps(node.ask("state")["state"], indent=2)
    except EdgeAgentError as error:
        return str(error)


def _options(home: Path, environ: Mapping[str, str]) -> str:
    try:
        resolved = [config.resolved(home, environ), resolve_home(home, environ, {})]
    except EdgeAgentError as error:
        return str(error)
    settings = [one for each in resolved for one in each.settings.values()]
    lines = [f"{one.option.key} = {one.text}  ({one.place or one.source.value})" for one in settings]
    return "\n".join([*lines, *(fault for each in resolved for fault in each.faults)])


def _known(home: Path, environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        if any(word in name.upper() for word in _SECRET) and not os.path.exists(value):  # noqa: PTH110 (Path fails on what is too long for one)
            yield value
    with contextlib.suppress(OSError):  # there is none to be given away
        yield (home / files.PRIVATE_KEY).read_text(errors="replace")
    with contextlib.suppress(EdgeAgentError, OSError):  # nobody set such a file, or it is not there
        keys = resolve_home(home, environ, {}).settings["fetch.s3_keys"].value
        if keys is not None:
            yield Path(keys).read_text(errors="replace")
    try:
        yield str((files.read_config(home) or {}).get("jwt_token", ""))
    except EdgeAgentError:
        return  # nothing of the file is in the report, then
