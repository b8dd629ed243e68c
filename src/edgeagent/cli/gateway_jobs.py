"""``edgeagent gateway jobs``: the owner looks at everybody's jobs, through the data directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from edgeagent.cli.groups import Group
from edgeagent.cli.options import as_json, print_json
from edgeagent.cli.place import at_gateway

if TYPE_CHECKING:
    from edgeagent.gateway.config import GatewaySettings
    from edgeagent.gateway.oversight import Owned
    from edgeagent.gateway.store.views import AttemptView

Json = dict[str, Any]
_STATES = ("QUEUED", "DISPATCHED", "RUNNING", "COMPLETED", "FAILED", "CANCELLED")
_account = click.option("--account", metavar="NAME", help="Only jobs of this account.")
_limit = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many, the newest."
)


@click.group(cls=Group)
def jobs() -> None:
    """Look after everybody's jobs: see them, see what failed, queue it again.

    Works beside a running gateway, which acts on it at once, or without one.
    """


@jobs.command(name="list")
@at_gateway
@click.option("--status", type=click.Choice(_STATES, case_sensitive=False), help="Only jobs in this state.")
@click.option("--type", "job_type", help="Only jobs of this type.")
@_account
@_limit
@as_json
def list_(
    place: GatewaySettings,
    status: str | None,
    job_type: str | None,
    account: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the jobs of all accounts, newest first."""
    from edgeagent.gateway import oversight
    from edgeagent.gateway.jobs import JobState

    state = JobState(status.upper()) if status else None
    found = oversight.list_jobs(place, state=state, job_type=job_type, account=account, limit=limit)
    if as_json:
        print_json("gateway-jobs/1", {"jobs": [_document(one) for one in found]})
        return
    for one in found:
        job = one.job
        click.echo(f"{job.job_id}  {job.state.value:<10}  {_time(job.created_at)}  {job.job_type}  {one.account}")


@jobs.command()
@at_gateway
@_account
@_limit
@as_json
def dead(place: GatewaySettings, account: str | None, limit: int, as_json: bool) -> None:
    """Show the jobs that FAILED and were not queued again, newest first, each with all its attempts."""
    from edgeagent.gateway import oversight

    found = oversight.dead_letters(place, account=account, limit=limit)
    if as_json:
        print_json("dead-jobs/1", {"jobs": [_document(one) for one in found]})
        return
    for one in found:
        job = one.job
        click.echo(f"{job.job_id}  {_time(job.created_at)}  {job.job_type}  {one.account}")
        click.echo(f"  {job.error or 'no reason is known'}")
        for attempt in job.attempts:
            said = f": {attempt.detail}" if attempt.detail else ""
            click.echo(f"    {attempt.node_name}  {attempt.outcome or attempt.state}{said}")


@jobs.command()
@at_gateway
@click.argument("job_id", metavar="JOB")
@as_json
def requeue(place: GatewaySettings, job_id: str, as_json: bool) -> None:
    """Submit a job that FAILED or was CANCELLED again, as a new job at today's price, and print the new job's id.

    Its account pays.  The same command again prints the same job; the one that failed stays as it is.
    """
    from edgeagent.gateway import oversight

    new_id, fresh = oversight.requeue(place, job_id)
    if as_json:
        print_json("requeued-job/1", {"job_id": new_id, "requeue_of": job_id, "changed": fresh})
        return
    click.echo(new_id)
    if not fresh:
        click.echo("Nothing to change; it was queued again before.", err=True)


def _document(owned: Owned) -> Json:
    job = owned.job
    return {
        "job_id": job.job_id,
        "account": owned.account,
        "job_type": job.job_type,
        "status": job.state.value,
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "price_ucr": job.price_ucr,
        "created_at": _time(job.created_at),
        "finished_at": None if job.finished_at is None else _time(job.finished_at),
        "error": job.error,
        "requeue_of": job.requeue_of,
        "requeued_as": job.requeued_as,
        "attempts": [_attempt(one) for one in job.attempts],
    }


def _attempt(attempt: AttemptView) -> Json:
    return {
        "attempt_id": attempt.attempt_id,
        "node_id": attempt.node_id,
        "node_name": attempt.node_name,
        "status": attempt.state,
        "outcome": attempt.outcome,
        "detail": attempt.detail,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
