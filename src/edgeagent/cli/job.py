"""``edgeagent job``: the submitter's commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import DIRECTORY, SizeParam, as_json, print_json
from edgeagent.cli.submitter import as_submitter, call, upload_each
from edgeagent.errors import EdgeAgentError

if TYPE_CHECKING:
    from edgeagent.client import Client

Json = dict[str, Any]


@click.group(cls=Group)
@as_submitter
def job() -> None:
    """Submit jobs and look at them.

    The token comes from EDGEAGENT_TOKEN or a file, never from the command line, where other users could read it.
    """


def _payload(text: str) -> Json:
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except OSError as error:
            raise click.BadParameter(f"cannot read {text[1:]}: {error.strerror}", param_hint="--payload") from None
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--payload") from None
    if not isinstance(payload, dict):
        raise click.BadParameter('a payload is a JSON object, for example {"limit": 1000}', param_hint="--payload")
    return payload


def _input(text: str) -> tuple[str, Path | Json]:
    """Return an input's name, and the file that is to be uploaded for it or the reference that it is."""
    name, separator, ref = text.partition("=")
    if not separator or not name or not ref:
        raise click.BadParameter(f"{text!r} is neither NAME=PATH nor NAME=REF", param_hint="--input")
    if not ref.startswith(("sha256:", "https://", "s3://")):
        if "://" in ref:
            raise click.BadParameter(
                f"{ref!r} is no reference; write sha256:DIGEST, https://... or s3://...", param_hint="--input"
            )
        return name, Path(ref)
    if ref.count(",") < 2:
        return name, {"ref": ref}
    ref, sha256, size = ref.rsplit(",", 2)
    if not size.isdecimal():
        raise click.BadParameter(f"{size!r} is not a size in bytes", param_hint="--input")
    return name, {"ref": ref, "sha256": sha256, "size_bytes": int(size)}


def _inputs(texts: tuple[str, ...]) -> dict[str, Path | Json]:
    found: dict[str, Path | Json] = {}
    for name, given in map(_input, texts):
        if name in found:
            raise click.BadParameter(f"{name} is named twice", param_hint="--input")
        found[name] = given
    return found


@job.command()
@click.argument("job_type", metavar="TYPE")
@click.option("--payload", default="{}", show_default=True, help="JSON object, @FILE, or - for stdin.")
@click.option("--payload-ref", metavar="REF", help="Where the payload lies: sha256:DIGEST, https://... or s3://...")
@click.option(
    "--input",
    "inputs",
    metavar="NAME=PATH|NAME=REF[,SHA256,SIZE]",
    multiple=True,
    help="A file for the job: one of yours, which is uploaded, or a reference, with digest and size where it lies "
    "elsewhere.  May be repeated.",
)
@click.option("--priority", type=click.IntRange(0, 9), help="Which of your jobs goes first, 9 before 0.  [default: 5]")
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give the job up, and its credits back, when it takes longer than this from now.",
)
@click.option("--max-attempts", type=click.IntRange(1, 4), help="How often it is tried at most.  [default: 4]")
@click.option("--requires-tier", "tier", type=click.Choice(["A", "B", "C"]), help="The weakest sandbox that will do.")
@click.option("--gpus", type=click.IntRange(0), help="GPUs that it needs to itself.")
@click.option("--memory", "memory_bytes", type=SizeParam(), help="Memory that it needs, for example 8G.")
@click.option(
    "--idempotency-key", "key", help="Any text of yours: the same submission with the same key makes no second job."
)
@click.option("--wait", is_flag=True, help="Show progress until the job has ended, then its result.")
@click.option("--output", "directory", type=DIRECTORY, help="With --wait: save the job's files there.")
@as_json
@click.pass_context
def submit(
    ctx: click.Context,
    /,
    job_type: str,
    payload: str,
    inputs: tuple[str, ...],
    tier: str | None,
    gpus: int | None,
    memory_bytes: int | None,
    key: str | None,
    wait: bool,
    directory: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Submit a job of TYPE and print its id."""
    document = _payload(payload)
    requires = {"tier": tier, "gpus": gpus, "memory_bytes": memory_bytes}
    asked["requires"] = {name: value for name, value in requires.items() if value is not None} or None
    given = _inputs(inputs)
    if directory and not wait:
        raise click.UsageError("--output needs --wait")

    async def use(client: Client) -> None:
        paths = {name: one for name, one in given.items() if isinstance(one, Path)}
        refs = await upload_each(client, paths)
        asked["inputs"] = {name: refs.get(name, one) for name, one in given.items()} or None
        submitted = await client.submit(job_type, document, key=key, **asked)
        if not wait:
            _print_job(submitted, as_json) if as_json else click.echo(submitted["job_id"])
            return
        ended = await _watch(client, submitted["job_id"])
        await _print_result(client, ended, directory, as_json)

    call(ctx, use)


@job.command()
@click.argument("file", type=click.File("r"))
@click.option(
    "--idempotency-key", "key", help="Any text of yours: the same submission with the same key makes no second batch."
)
@as_json
@click.pass_context
def batch(ctx: click.Context, file: TextIO, key: str | None, as_json: bool) -> None:
    """Submit the jobs in FILE, all of them or none, and print their ids.

    FILE holds one JSON object a line, at most 1,000, each as POST /api/v1/jobs takes it, for example
    {"job_type": "echo", "payload": {"n": 1}}; - is stdin.
    """
    try:
        jobs = [json.loads(line) for line in file if line.strip()]
    except ValueError as error:
        raise click.BadParameter(f"not one JSON object a line: {error}", param_hint="FILE") from None

    async def use(client: Client) -> None:
        made = await client.submit_batch(jobs, key=key)
        if as_json:
            print_json("jobs/1", {"jobs": made})
        else:
            click.echo("\n".join(one["job_id"] for one in made))

    call(ctx, use)


@job.command()
@click.argument("job_id")
@as_json
@click.pass_context
def requeue(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Submit a job that failed or was cancelled again, as a new one, and print its id."""

    async def use(client: Client) -> None:
        made = await client.requeue(job_id)
        _print_job(made, as_json) if as_json else click.echo(made["job_id"])

    call(ctx, use)


@job.command()
@click.argument("job_id")
@as_json
@click.pass_context
def show(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Show a job and each of its attempts."""

    async def use(client: Client) -> None:
        _print_job(await client.show(job_id), as_json)

    call(ctx, use)


@job.command(name="list")
@click.option("--status", help="Only jobs in this state, for example FAILED.")
@click.option("--type", "job_type", help="Only jobs of this type.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@as_json
@click.pass_context
def list_jobs(
    ctx: click.Context, status: str | None, job_type: str | None, limit: int, everything: bool, as_json: bool
) -> None:
    """List your jobs, newest first."""

    async def use(client: Client) -> None:
        most = None if everything else limit
        jobs = client.list(status=status and status.upper(), job_type=job_type, limit=most)
        if as_json:
            print_json("jobs/1", {"jobs": [one async for one in jobs]})
            return
        async for one in jobs:
            click.echo(f"{one['job_id']}  {one['status']:<10}  {one['created_at']}  {one['job_type']}")

    call(ctx, use)


@job.command()
@click.argument("job_id")
@click.option("--output", "directory", type=DIRECTORY, help="Save the job's files there.")
@as_json
@click.pass_context
def result(ctx: click.Context, job_id: str, directory: Path | None, as_json: bool) -> None:
    """Print what a finished job gave back; exit 1 when it did not complete."""

    async def use(client: Client) -> None:
        await _print_result(client, await client.show(job_id), directory, as_json)

    call(ctx, use)


@job.command()
@click.argument("job_id")
@click.pass_context
def watch(ctx: click.Context, job_id: str) -> None:
    """Follow a job, with what it prints, until it has ended; exit 1 when it did not complete."""

    async def use(client: Client) -> None:
        _check_completed(await _watch(client, job_id))

    call(ctx, use)


@job.command()
@click.argument("job_id")
@as_json
@click.pass_context
def cancel(ctx: click.Context, job_id: str, as_json: bool) -> None:
    """Cancel a job, running or not; its credits are released."""

    async def use(client: Client) -> None:
        _print_job(await client.cancel(job_id), as_json)

    call(ctx, use)


async def _watch(client: Client, job_id: str) -> Json:
    """Follow a job on stderr and return it as it ended."""
    from edgeagent.cli.progress import Follower

    with Follower() as follower:
        return await client.wait(job_id, follower.update, follower.say)


def _print_job(state: Json, as_json: bool) -> None:
    from edgeagent.wire.units import format_credits

    if as_json:
        print_json("job/1", state)
        return
    click.echo(f"{state['job_id']}  {state['job_type']}  {state['status']}")
    click.echo(f"queued {state['queued_s']:.1f} s, running {state['running_s']:.1f} s")
    click.echo(f"price {format_credits(state['price_ucr'])}, credited {format_credits(state['credited_ucr'])}")
    if state["error"]:
        click.echo(f"error: {state['error']}")
    for attempt in state["attempts"]:
        ended = f"{attempt['outcome']} {attempt['detail']}".strip() if attempt["outcome"] else attempt["status"]
        if attempt["status"] in {"HELD", "DISPUTED"}:
            ended = f"{attempt['status'].lower()}: {attempt['detail']}"
        paid = f", {format_credits(attempt['credited_ucr'])} credits" if attempt["credited_ucr"] else ""
        click.echo(f"attempt {attempt['attempt_id']} on {attempt['node_name']}: {ended}{paid}")


async def _print_result(client: Client, state: Json, directory: Path | None, as_json: bool) -> None:
    from edgeagent.wire.units import format_size

    _check_completed(state)
    document = await client.result(state["job_id"])
    if directory:
        for output in document["outputs"]:
            path = await client.download(state["job_id"], output, directory)
            click.echo(f"saved {path} ({format_size(output['size_bytes'])})", err=True)
    if as_json:
        print_json("result/1", document)
    else:
        click.echo(json.dumps(document["value"], indent=2))


def _check_completed(state: Json) -> None:
    if state["status"] != "COMPLETED":
        why = state["error"] or f"it is {state['status']}"
        raise EdgeAgentError(f"job {state['job_id']} has no result: {why}")
