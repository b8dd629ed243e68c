"""REST for submitters: jobs, their results and outputs, and the account that pays."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, cast
from urllib.parse import quote

from litestar import Controller, HttpMethod, Request, Response, get, route
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

from edgeagent.gateway.api.bodies import (
    AccountBody,
    Attempt,
    Job,
    JobPage,
    OutputBody,
    ProgressBody,
    Requires,
    Result,
)
from edgeagent.gateway.api.describe import ACCOUNT
from edgeagent.gateway.api.downloads import OCTETS, SendsFile, answer
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Account, TheHub, readers_only
from edgeagent.gateway.blobs import Blob
from edgeagent.gateway.hub import Hub
from edgeagent.gateway.jobs import OPEN_JOBS, JobState
from edgeagent.gateway.network import Network
from edgeagent.gateway.store import accounts, files, views
from edgeagent.wire.urls import API_PREFIX


class JobsController(Controller):
    """What there is to know and do about the jobs of the token's account."""

    path = "/jobs"
    guards = [readers_only]  # noqa: RUF012 -- Litestar's way
    security = [{ACCOUNT: []}]  # noqa: RUF012 -- Litestar's way
    tags = ["jobs"]  # noqa: RUF012 -- Litestar's way

    @get("/", responses=problems(422))
    async def list_jobs(
        self,
        account_id: Account,
        hub: TheHub,
        status: FromQuery[JobState | None] = None,
        job_type: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    ) -> JobPage:
        """List jobs, newest first; from where ``next`` of an earlier answer says, where that is given as ``before``."""
        state = None if status is None else status.value
        list_jobs = partial(views.list_jobs, state=state, job_type=job_type, before=before, limit=limit + 1)
        try:
            found = await hub.store.read(list_jobs, account_id)
        except LookupError:
            raise refuse(422, "before: take it from 'next' of an earlier answer") from None
        page = found[:limit]
        return JobPage([job_body(one, hub.network) for one in page], page[-1].job_id if len(found) > limit else None)

    @get("/{job_id:str}", responses=problems(404))
    async def show(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Job:
        """Show a job."""
        return await _show(hub, account_id, job_id)

    @get("/{job_id:str}/result", responses=problems(400, 404))
    async def result(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Result:
        """Show what a finished job gave back."""
        found = await _result(hub, account_id, job_id)
        if found.job.state in OPEN_JOBS:
            raise refuse(400, f"the job has not finished yet: {found.job.state.value}")
        told = [one for one in found.job.attempts if one.outcome is not None]
        last = next((one for one in told if one.attempt_id == found.job.current_attempt), told[-1] if told else None)
        outputs = [
            OutputBody(
                name=one.name,
                size_bytes=one.size_bytes,
                sha256=one.sha256,
                download_url=f"{API_PREFIX}/jobs/{job_id}/outputs/{quote(one.name, safe='')}" if one.kept else None,
            )
            for one in found.outputs
        ]
        url = next((one.download_url for one in outputs if one.download_url is not None), None)
        kept_until = (found.job.finished_at or 0.0) + hub.settings.keep_outputs_s
        return Result(
            job_id=job_id,
            outcome=last.outcome if last else None,
            detail=last.detail if last else "",
            value=found.value,
            result_ref=found.result_ref,
            outputs=outputs,
            download_url=url,
            expires_in=None if url is None else max(0, int(kept_until - hub.store.clock())),
        )

    @get(
        "/{job_id:str}/outputs/{name:str}",
        media_type=OCTETS,
        operation_class=SendsFile,
        responses=problems(404, 410, 416),
    )
    async def output(
        self,
        job_id: FromPath[str],
        name: FromPath[str],
        account_id: Account,
        hub: TheHub,
        request: Request[Any, Any, Any],
    ) -> Stream:
        """Send a file that a job left, or a range of it."""
        found = await _result(hub, account_id, job_id)
        for one in found.outputs:
            if one.name == name:
                if not one.kept:
                    raise refuse(410, "the files of a job are kept for some time only; submit the job again")
                return answer(request, hub.blobs, Blob(one.sha256, one.size_bytes), name)
        raise refuse(404, f"the job has left no output of the name {name!r}")


@route("/jobs", http_method=HttpMethod.OPTIONS, include_in_schema=False, status_code=204, sync_to_thread=False)
def options() -> Response[None]:
    """Say what may be done with jobs; Litestar's own answer knows only the first handler of a path."""
    return Response(None, status_code=204, headers={"Allow": "GET, OPTIONS, POST"})


@get("/account", guards=[readers_only], security=[{ACCOUNT: []}], tags=["jobs"])
async def account(account_id: Account, hub: TheHub) -> AccountBody:
    """Show the account of the token."""
    found = await hub.store.look_up(accounts.balance, account_id)
    used = await hub.store.read(files.usage, account_id)
    stored_bytes = used.stored_bytes + used.uploading_bytes
    return AccountBody(found.name, found.balance_ucr, found.held_ucr, stored_bytes, hub.settings.quota_bytes)


async def _show(hub: Hub, account_id: str, job_id: str) -> Job:
    found = await hub.store.look_up(views.show, account_id, job_id)
    if found is None:
        raise no_job(job_id)
    return job_body(found, hub.network)


async def _result(hub: Hub, account_id: str, job_id: str) -> views.ResultView:
    found = await hub.store.read(views.result, account_id, job_id)
    if found is None:
        raise no_job(job_id)
    return found


def no_job(job_id: str) -> Exception:
    """Return what answers for a job that the account does not have."""
    return refuse(404, f"you have no job {job_id!r}")


def job_body(view: views.JobView, network: Network) -> Job:
    """Return a job as its submitter sees it, with its progress as it is now."""
    live = network.progress.get(view.current_attempt or "")
    if live is None:
        progress = ProgressBody(view.progress_fraction, view.progress_text)
    else:
        progress = ProgressBody(live.fraction, live.text)
    need = view.need
    return Job(
        job_id=view.job_id,
        job_type=view.job_type,
        status=view.state.value,
        priority=view.priority,
        max_attempts=view.max_attempts,
        deadline_s=view.deadline_s,
        requires=Requires(cast(Any, need.tier or None), need.gpus, need.memory_bytes),
        payload_ref=view.payload_ref,
        requeue_of=view.requeue_of,
        requeued_as=view.requeued_as,
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
