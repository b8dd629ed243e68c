"""The submitter's side of the REST API: what ``edgeagent job``, ``edgeagent files`` and the demo call.

Values come back as the gateway's JSON; every fault is one of ``edgeagent.errors`` with a line that says what to do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import trio

from edgeagent import downloading, uploading
from edgeagent.downloading import Wanted
from edgeagent.errors import EdgeAgentError, RefusedError, UnreachableError
from edgeagent.events import Follower
from edgeagent.rest import Json, Rest
from edgeagent.uploading import Moved

#: Job states from which there is no way on.
ENDED = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
#: Jobs in one answer to ``list``: the most that the gateway gives.
PAGE = 200
#: Seconds between two looks at a job that is being watched.
POLL_S = 0.2
#: Seconds before a stream of events is opened again, after the first time without any event, the second ...
RECONNECT_S = (0.5, 1.0, 2.0, 4.0, 8.0)


def _unseen(_there: int, _size: int) -> None:
    """Nobody looks."""


class Client(Rest):
    """A submitter's session with one gateway; use as ``async with Client(...)``."""

    async def submit(
        self,
        job_type: str,
        payload: Mapping[str, Any],
        limits: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        **asked: Any,
    ) -> Json:
        """Submit a job and return it.

        Args:
            limits: what of ``wire.messages.Limits`` is not to be the default.
            key: an idempotency key: the same submission with the same key again returns the job that it made.
            asked: further fields of the request (docs/submitting.md); None leaves one out.
        """
        body = {"job_type": job_type, "payload": payload, "limits": limits or None, **asked}
        headers = {} if key is None else {"Idempotency-Key": key}
        there = {name: value for name, value in body.items() if value is not None}
        return await self.call("POST", "/jobs", json=there, headers=headers)

    async def submit_batch(self, jobs: Sequence[Mapping[str, Any]], *, key: str | None = None) -> list[Json]:
        """Submit up to 1,000 jobs, each the fields of a request, all or none; return them in their order."""
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = await self.call("POST", "/jobs/batch", json={"jobs": list(jobs)}, headers=headers)
        made: list[Json] = answer["jobs"]
        return made

    async def requeue(self, job_id: str) -> Json:
        """Submit a job that failed or was cancelled again, and return the new job."""
        return await self.call("POST", _job(job_id, "requeue"))

    async def show(self, job_id: str) -> Json:
        """Return a job as it is now."""
        return await self.call("GET", _job(job_id))

    async def list(
        self, *, status: str | None = None, job_type: str | None = None, limit: int | None = 50
    ) -> AsyncIterator[Json]:
        """Yield the account's jobs, newest first, page by page.

        Args:
            status: only those in this state.
            job_type: only those of this type.
            limit: at most so many; None for all.
        """
        left, before = limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            wanted = {"status": status, "job_type": job_type, "limit": size, "before": before}
            answer = await self.call("GET", "/jobs", params={key: value for key, value in wanted.items() if value})
            for one in answer["jobs"]:
                yield one
            before = answer.get("next")
            if before is None:
                return
            left = None if left is None else left - len(answer["jobs"])

    async def cancel(self, job_id: str) -> Json:
        """Cancel a job and return it."""
        return await self.call("POST", _job(job_id, "cancel"))

    async def result(self, job_id: str) -> Json:
        """Return what a finished job gave back."""
        return await self.call("GET", _job(job_id, "result"))

    async def account(self) -> Json:
        """Return the account's name and balance."""
        return await self.call("GET", "/account")

    async def wait(
        self,
        job_id: str,
        changed: Callable[[Json], None] = lambda _: None,
        printed: Callable[[str], None] = lambda _: None,
    ) -> Json:
        """Return a job as it ended.

        Follows the job's events, goes on where a stream was cut, and asks again and again where a gateway has no
        events.

        Args:
            changed: called with the job each time it has changed.
            printed: called with each line that the job prints.
        """
        follower = Follower(await self.show(job_id), changed, printed)
        changed(follower.job)
        failures = 0
        while follower.job["status"] not in ENDED and failures < len(RECONNECT_S):
            heard = follower.heard
            try:
                await self._follow(job_id, follower)
            except RefusedError:
                break  # it was there a moment ago: this gateway has no events
            except UnreachableError:
                pass
            failures = 0 if follower.heard > heard else failures + 1
            if follower.job["status"] not in ENDED:
                await trio.sleep(RECONNECT_S[max(0, failures - 1)])
        return await self._poll(job_id, follower.job, changed)

    async def _follow(self, job_id: str, follower: Follower) -> None:
        async with self.stream("GET", _job(job_id, "events"), headers=follower.headers) as response:
            follower.opened()
            async for line in response.aiter_lines():
                follower.line(line)

    async def _poll(self, job_id: str, seen: Json, changed: Callable[[Json], None]) -> Json:
        while seen["status"] not in ENDED:
            await trio.sleep(POLL_S)
            job = await self.show(job_id)
            if any(job[key] != seen.get(key) for key in ("status", "progress", "attempts")):
                changed(job)
            seen = job
        return seen

    async def download(self, job_id: str, output: Mapping[str, Any], directory: Path) -> Path:
        """Save one of a job's outputs in ``directory``, its digest checked, and return where it lies.

        Raises:
            EdgeAgentError: what arrived is not what the job delivered; nothing is left in ``directory``.
        """
        name = output["name"]
        target: Path = directory / name
        if target.parent != directory or name in ("", ".", ".."):
            raise EdgeAgentError(f"the gateway names an output {name!r}, which is not a file name; not saved")
        path = _job(job_id, "outputs", name)
        wanted = Wanted(path=path, sha256=output["sha256"], size_bytes=output["size_bytes"])
        await downloading.download(self, wanted, target, _unseen)
        return target

    async def upload(self, path: Path, moved: Moved = _unseen) -> Json:
        """Upload a file that jobs may refer to (see ``uploading.upload``); ``moved`` is told how far it is."""
        return await uploading.upload(self, path, moved)

    async def files(self) -> AsyncIterator[Json]:
        """Yield the account's files, newest first, page by page."""
        wanted: dict[str, int] = {"limit": PAGE}
        while True:
            answer = await self.call("GET", "/files", params=wanted)
            for one in answer["files"]:
                yield one
            if answer.get("next") is None:
                return
            wanted["before"] = answer["next"]

    async def fetch(self, sha256: str, target: Path, moved: Moved = _unseen) -> Path:
        """Save one of the account's files at ``target``, its digest checked, and return where it lies.

        Args:
            target: where ``target`` is a directory, the file goes there under the name it was uploaded with.
        """
        path = f"/files/{quote(sha256, safe='')}"
        async with self.stream("HEAD", path, taken=(404,)) as answer:
            if answer.status_code == 404:  # whose text a HEAD has not
                raise RefusedError(f"you have no file sha256:{sha256} on this gateway")
            size = answer.headers.get("content-length", "")
            name = answer.headers.get("content-disposition", "").partition("filename*=UTF-8''")[2]
        if not size.isdecimal():
            raise UnreachableError("the gateway does not say how large the file is")
        if await trio.Path(target).is_dir():
            plain = Path(unquote(name)).name
            target /= sha256 if plain in ("", "..") else plain
        wanted = Wanted(path=path, sha256=sha256, size_bytes=int(size))
        await downloading.download(self, wanted, target, moved)
        return target

    async def release(self, sha256: str) -> None:
        """Let go of one of the account's files."""
        async with self.stream("DELETE", f"/files/{quote(sha256, safe='')}"):
            pass


def _job(*parts: str) -> str:
    return "/jobs/" + "/".join(quote(part, safe="") for part in parts)
