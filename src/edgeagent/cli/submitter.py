"""What the submitter's commands share: which gateway, whose token, and how a file's way there is shown."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.options import GatewayParam
from edgeagent.errors import EdgeAgentError, UsageError

if TYPE_CHECKING:
    from edgeagent.client import Client
    from edgeagent.wire.urls import GatewayUrl

Json = dict[str, Any]


def as_submitter(group: Callable[[], None]) -> Callable[..., None]:
    """Give a group of commands the options that say which gateway and whose token."""

    @click.option(
        "--gateway-url",
        "gateway",
        type=GatewayParam(),
        envvar="GATEWAY_URL",
        default="http://127.0.0.1:8080",
        show_default=True,
        help="The gateway's address.  [env: GATEWAY_URL]",
    )
    @click.option(
        "--token-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        envvar="EDGEAGENT_TOKEN_FILE",
        help="File with the token, instead of EDGEAGENT_TOKEN.  [env: EDGEAGENT_TOKEN_FILE]",
    )
    @click.pass_context
    def remember(ctx: click.Context, gateway: GatewayUrl, token_file: Path | None) -> None:
        ctx.obj = (gateway, token_file)

    remember.__name__, remember.__doc__ = group.__name__, group.__doc__
    return remember


def call(ctx: click.Context, use: Callable[[Client], Awaitable[None]]) -> None:
    """Run ``use`` with a session of the submitter's.

    Raises:
        UsageError: there is no token, or it cannot be one.
    """
    import os

    import trio

    from edgeagent.client import Client

    gateway, token_file = ctx.obj
    token = token_file.read_text().strip() if token_file else os.environ.get("EDGEAGENT_TOKEN", "").strip()
    if not token:
        raise UsageError("no token: set EDGEAGENT_TOKEN or name a file with --token-file")
    if not token.isascii() or not token.isprintable():
        raise UsageError("the token holds characters that no token has; was the right file named?")

    async def session() -> None:
        async with Client(gateway, token) as client:
            await use(client)

    trio.run(session)


async def upload_each(client: Client, paths: Mapping[str, Path]) -> dict[str, Json]:
    """Upload files, by whatever they are called; return their references by the same names.

    Raises:
        UsageError: one of them cannot be read, and none was uploaded.
    """
    from edgeagent.uploading import check

    for path in paths.values():
        check(path)
    refs: dict[str, Json] = {}
    for name, path in paths.items():
        refs[name] = {"ref": (await upload_one(client, path))["ref"]}
    return refs


async def upload_one(client: Client, path: Path) -> Json:
    """Upload a file, showing on a terminal how far it is; return what the gateway has then."""
    with _Bar(path.name) as bar:
        try:
            return await client.upload(path, bar.moved)
        except EdgeAgentError as error:
            text = str(error)
            raise error if str(path) in text else type(error)(f"{path}: {text}") from None


async def download_one(client: Client, sha256: str, target: Path) -> Path:
    """Save a file, showing on a terminal how far it is."""
    with _Bar(sha256[:12]) as bar:
        return await client.fetch(sha256, target, bar.moved)


class _Bar:
    """How far a file is, on a terminal; nothing elsewhere."""

    def __init__(self, name: str) -> None:
        self._name, self._shown = name, ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *failure: object) -> None:
        if self._shown:
            click.echo(f"\r{' ' * len(self._shown)}\r", nl=False, err=True)

    def moved(self, there: int, size: int) -> None:
        """Show that ``there`` of ``size`` bytes have arrived."""
        line = f"{self._name} {there * 100 // max(1, size)} %"
        if sys.stderr.isatty() and line != self._shown:
            click.echo(f"\r{line}", nl=False, err=True)
            self._shown = line
