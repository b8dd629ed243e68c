"""What lies in the node's home: who it is, and whether its secrets are closed to others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeagent.errors import EdgeAgentError
from edgeagent.node import config, files, renewed
from edgeagent.node.config import Identity
from edgeagent.node.doctor import verdicts
from edgeagent.node.doctor.verdicts import Verdict, failed, passed
from edgeagent.node.fetch import s3
from edgeagent.node.options.resolve import resolve_home
from edgeagent.node.options.settings import Settings, build
from edgeagent.wire import identity


def options(home: Path, environ: Mapping[str, str]) -> tuple[Settings, list[Verdict]]:
    """Return what the owner wants, with the default where an option is wrong, and what is wrong with it."""
    try:
        found = resolve_home(home, environ, {})
    except EdgeAgentError as error:
        return Settings(), [failed("config", str(error), "edgeagent config validate")]
    settings = build({key: one.value for key, one in found.settings.items()})
    if found.faults:
        return settings, [failed("config", fault, "edgeagent config validate") for fault in found.faults]
    return settings, [passed("config", f"the options in {home} and in the environment are valid")]


def who(home: Path, environ: Mapping[str, str]) -> tuple[Identity | None, list[Verdict]]:
    """Return the node that this is, and what there is to say of it."""
    try:
        node = config.load(home, environ)
        left_s = identity.read_node_token(node.token).expires_at - time.time()
    except EdgeAgentError as error:
        return None, [failed("identity", str(error), "edgeagent register --gateway-url URL --name NAME")]
    known = [passed("identity", f"node {node.node_id} of {node.gateway}")]
    # A token from the environment is nobody's to replace: only the file's node proves its key.
    provable = node.token_in_file and (home / files.PRIVATE_KEY).exists()
    return node, [*known, verdicts.token(left_s, provable)]


def secrets(home: Path, settings: Settings) -> Iterator[Verdict]:
    """Look at the keys and at who may open what."""
    try:
        if s3.read_keys(settings.fetch.s3_keys):
            yield passed("files", f"{settings.fetch.s3_keys} is closed to other users")
    except EdgeAgentError as error:
        text, _, remedy = str(error).partition("; type: ")
        yield failed("files", text, remedy or "correct fetch.s3_keys, or: edgeagent config unset fetch.s3_keys")
    if not home.is_dir():
        return
    yield verdicts.mode(str(home), home.stat().st_mode, 0o700)
    for name in (files.PRIVATE_KEY, files.CONFIG, renewed.FILE):
        if (home / name).exists():
            yield verdicts.mode(str(home / name), (home / name).stat().st_mode, 0o600)
    key = home / files.PRIVATE_KEY
    if not key.exists():
        return
    try:
        fingerprint = identity.key_id(identity.public_key_of(key.read_bytes()))
        yield passed("key", f"the key is usable: {fingerprint}")
    except (OSError, identity.InvalidKeyError) as error:
        yield failed("key", f"{key} is not usable: {error}", "edgeagent register --force ...")
