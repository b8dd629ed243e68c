"""REST for submitters: jobs, their results and outputs, and the account that pays."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import attrs
from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from edgeagent.gateway.api.bodies import (
    AccountBody,
    Attempt,
    Job,
    JobList,
    OutputBody,
    ProgressBody,
    Result,
    Submission,
)
from edgeagent.gateway.api.errors import refuse
from edgeagent.gateway.api.guards import Account, TheHub, submitters_only
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import OPEN_JOBS, JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import accounts, jobs, views
from edgeagent.wire.codec import ProtocolError, decode, encode, structure
from edgeagent.wire.messages import JobDispatch, Limits
from edgeagent.wire.urls import API_PREFIX


class JobsController(Controller):
    """Everything under ``/jobs``, for the account of the token."""

    path = "/jobs"
    guards = [submitters_only]  # noqa: RUF012 -- Litestar's way

    @post("/", status_code=201)
    async def submit(self, data: JSONBody[Submission], account_id: Account, hub: TheHub) -> Job:
        """Take a job."""
        new = _new(data, account_id)
        try:
            return _job(await hub.submit(new), hub.network)
        except jobs.UnknownJobTypeError as error:
            raise refuse(422, str(error)) from None
        except CreditsShortError as error:
            raise refuse(402, f"not enough credits: {error}") from None

    @get("/")
    async def list_jobs(
        self,
        account_id: Account,
        hub: TheHub,
        status: FromQuery[JobState | None] = None,
        job_type: FromQuery[str | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    ) -> JobList:
        """List jobs, newest first."""
        state = None if status is None else status.value
        found = await hub.store.read(views.list_jobs, account_id, state=state, job_type=job_type, limit=limit)
        return JobList([_job(one, hub.network) for one in found])

    @get("/{job_id:str}")
    async def show(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Job:
        """Show a job."""
        return await _show(hub, account_id, job_id)

    @post("/{job_id:str}/cancel", status_code=200)
    async def cancel(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Job:
        """Cancel a job."""
        try:
            cancelled = await hub.cancel(account_id, job_id)
        except LookupError:
            raise _no_job(job_id) from None
        job = await _show(hub, account_id, job_id)
        if not cancelled:
            raise refuse(400, f"the job has ended already: {job.status}")
        return job

    @get("/{job_id:str}/result")
    async def result(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Result:
        """Show what a finished job gave back."""
        found = await _result(hub, account_id, job_id)
        if found.job.state in OPEN_JOBS:
            raise refuse(400, f"the job has not finished yet: {found.job.state.value}")
        told = [one for one in found.job.attempts if one.outcome is not None]
        last = next((one for one in told if one.attempt_id == found.job.current_attempt), told[-1] if told else None)
        return Result(
            job_id=job_id,
            outcome=last.outcome if last else None,
            detail=last.detail if last else "",
            value=found.value,
            result_ref=found.result_ref,
            outputs=[
                OutputBody(name, size, sha256, f"{API_PREFIX}/jobs/{job_id}/outputs/{quote(name, safe='')}")
                for name, size, sha256 in found.outputs
            ],
        )

    @get("/{job_id:str}/outputs/{name:str}")
    async def output(self, job_id: FromPath[str], name: FromPath[str], account_id: Account, hub: TheHub) -> Stream:
        """Send a file that a job left."""
        found = await _result(hub, account_id, job_id)
        for there, size, sha256 in found.outputs:
            if there == name:
                return Stream(
                    await hub.blobs.get(sha256),
                    media_type="application/octet-stream",
                    headers={
                        "Content-Length": str(size),
                        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
                        "X-Content-Type-Options": "nosniff",
                        "ETag": f'"{sha256}"',
                    },
                )
        raise refuse(404, f"the job has left no output of the name {name!r}")


@get("/account", guards=[submitters_only])
async def account(account_id: Account, hub: TheHub) -> AccountBody:
    """Show the account of the token."""
    found = await hub.store.read(accounts.balance, account_id)
    return AccountBody(found.name, found.balance_ucr, found.held_ucr)


def _new(data: Submission, account_id: str) -> jobs.New:
    if data.payload_ref is not None:
        raise refuse(422, "payload_ref: this gateway takes payloads in the request only; use payload")
    if not data.job_type.isprintable():
        raise refuse(422, "job_type: printable characters only")
    try:
        limits = structure(data.limits, Limits)
    except ValueError as error:
        raise refuse(422, f"limits: {error}") from None
    if unknown := data.limits.keys() - {one.name for one in attrs.fields(Limits)}:
        raise refuse(422, f"limits: there is no {', '.join(sorted(unknown)[:3])}")
    job_id = str(uuid.uuid4())
    _check_sendable(
        JobDispatch(job_id=job_id, attempt_id=job_id, job_type=data.job_type, payload=data.payload, limits=limits)
    )
    return jobs.New(job_id=job_id, account_id=account_id, job_type=data.job_type, payload=data.payload, limits=limits)


def _check_sendable(dispatch: JobDispatch) -> None:
    """Refuse now what a node would have to refuse: numbers past 64 bits, nesting without end."""
    try:
        decode(encode(dispatch))
    except (ProtocolError, TypeError) as error:
        raise refuse(422, f"payload: {error}") from None


async def _show(hub: Hub, account_id: str, job_id: str) -> Job:
    found = await hub.store.read(views.show, account_id, job_id)
    if found is None:
        raise _no_job(job_id)
    return _job(found, hub.network)


async def _result(hub: Hub, account_id: str, job_id: str) -> views.ResultView:
    found = await hub.store.read(views.result, account_id, job_id)
    if found is None:
        raise _no_job(job_id)
    return found


def _no_job(job_id: str) -> Exception:
    return refuse(404, f"you have no job {job_id!r}")


def _job(view: views.JobView, network: Network) -> Job:
    live = network.progress.get(view.current_attempt or "")
    if live is None:
        progress = ProgressBody(view.progress_fraction, view.progress_text)
    else:
        progress = ProgressBody(live.fraction, live.text)
    return Job(
        job_id=view.job_id,
        job_type=view.job_type,
        status=view.state.value,
        price_ucr=view.price_ucr,
        credited_ucr=view.credited_ucr,
        created_at=_time(view.created_at),
        finished_at=None if view.finished_at is None else _time(view.finished_at),
        queued_s=round(view.queued_s, 6),
        running_s=round(view.running_s, 6),
        progress=progress,
        error=view.error,
        attempts=[_attempt(one) for one in view.attempts],
    )


def _attempt(view: views.AttemptView) -> Attempt:
    fields: dict[str, Any] = {name: getattr(view, name) for name in Attempt.__struct_fields__ if name != "status"}
    return Attempt(status=view.state, **fields)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
