"""``edgeagent files``: what a submitter keeps on the gateway for jobs to use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.submitter import as_submitter, call, download_one, upload_one

if TYPE_CHECKING:
    from edgeagent.client import Client

_REF = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.IGNORECASE)


class RefParam(click.ParamType[str]):
    """A file of the gateway's, by its digest."""

    name = "ref"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the digest, or fail with a line that shows how to write one."""
        match = _REF.fullmatch(value)
        if match is None:
            self.fail(f"{value!r} is no file of a gateway; write sha256:DIGEST, as: edgeagent files list", param, ctx)
        return match[1].lower()


@click.group(cls=Group)
@as_submitter
def files() -> None:
    """Keep files on the gateway, for jobs to use.

    The token comes from EDGEAGENT_TOKEN or a file, never from the command line, where other users could read it.
    """


@files.command(name="list")
@as_json
@click.pass_context
def list_files(ctx: click.Context, as_json: bool) -> None:
    """List your files, newest first, and what of your quota they take."""
    from edgeagent.wire.units import format_size

    async def use(client: Client) -> None:
        found = [one async for one in client.files()]
        account = await client.account()
        stored, quota = account["stored_bytes"], account["quota_bytes"]
        if as_json:
            print_json("files/1", {"files": found, "stored_bytes": stored, "quota_bytes": quota})
            return
        for one in found:
            size = format_size(one["size_bytes"])
            click.echo(f"{one['ref']}  {one['created_at']}  {size:>9}  {one['name']}".rstrip())
        click.echo(f"{format_size(stored)} of {format_size(quota)} stored, uploads in progress included", err=True)

    call(ctx, use)


@files.command()
@click.argument("paths", metavar="PATH...", type=click.Path(path_type=Path), nargs=-1, required=True)
@as_json
@click.pass_context
def upload(ctx: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Upload files and print what jobs call them, one a line.

    An upload that was cut off goes on where it was: give the same command again, within a day.  What the gateway has
    of you already is not sent.
    """

    async def use(client: Client) -> None:
        from edgeagent.uploading import check

        for path in paths:
            check(path)
        made = []
        for path in paths:
            one = await upload_one(client, path)
            made.append(one)
            if not as_json:
                click.echo(one["ref"])
        if as_json:
            print_json("uploaded/1", {"files": made})

    call(ctx, use)


@files.command()
@click.argument("sha256", metavar="REF", type=RefParam())
@click.option(
    "--output",
    "target",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="The file to write, or the directory that it goes into, under its own name.",
)
@as_json
@click.pass_context
def download(ctx: click.Context, sha256: str, target: Path, as_json: bool) -> None:
    """Save the file REF, its digest checked, and print where it lies.

    A download that was cut off goes on where it was: give the same command again.
    """

    async def use(client: Client) -> None:
        path = await download_one(client, sha256, target)
        if as_json:
            document = {"ref": f"sha256:{sha256}", "path": str(path), "size_bytes": path.stat().st_size}
            print_json("downloaded/1", document)
        else:
            click.echo(path)

    call(ctx, use)


@files.command()
@click.argument("refs", metavar="REF...", type=RefParam(), nargs=-1, required=True)
@as_json
@click.pass_context
def delete(ctx: click.Context, refs: tuple[str, ...], as_json: bool) -> None:
    """Let go of files; one that an open job of yours uses is kept, and counts, until the job has ended."""

    async def use(client: Client) -> None:
        for sha256 in refs:
            await client.release(sha256)
        if as_json:
            print_json("deleted/1", {"refs": [f"sha256:{sha256}" for sha256 in refs]})

    call(ctx, use)
