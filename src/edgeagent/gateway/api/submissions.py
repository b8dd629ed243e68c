"""REST for submitting: one job, a batch of them, a dead letter again; each safe to repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import attrs
import msgspec
import orjson
from litestar import Controller, Response, post
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody

from edgeagent import chance
from edgeagent.gateway import references
from edgeagent.gateway.api.bodies import Batch, Dispatched, InputRef, Job, JobList, Submission, ToDispatch, Wrong
from edgeagent.gateway.api.describe import ACCOUNT
from edgeagent.gateway.api.errors import problems, refuse
from edgeagent.gateway.api.guards import Account, TheHub, submitters_only
from edgeagent.gateway.api.jobs import job_body, no_job
from edgeagent.gateway.api.throttles import BATCH
from edgeagent.gateway.hub import MAX_LANES, Hub, NobodyFreeError, TooManyNeedsError
from edgeagent.gateway.jobs import JobState
from edgeagent.gateway.ledger import CreditsShortError
from edgeagent.gateway.store import files, views
from edgeagent.gateway.store.submissions import (
    FileGoneError,
    Key,
    KeyReusedError,
    New,
    NotDeadError,
    UnknownJobTypeError,
)
from edgeagent.wire.codec import MAX_DEPTH, ProtocolError, depth_exceeds, encode, structure
from edgeagent.wire.messages import JobDispatch, Limits, Reference

#: Largest body of a batch, in bytes.
MAX_BATCH_BYTES = 8 << 20
#: Largest payload behind a reference, in bytes: it must fit where a payload in the request fits.
MAX_PAYLOAD_BYTES = 256 << 10
#: Most jobs of a batch whose faults are told.
MAX_FAULTS = 50
#: Seconds after which it is worth asking again whether a node has room.
RETRY_S = 5
#: Longest idempotency key, in characters.
MAX_KEY = 255

_USUAL_LIMITS = Limits()

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        schema_extra={"minLength": 1, "maxLength": MAX_KEY},  # checked in ``_key``, whose line names the header
        description="The same key with the same request never makes the jobs twice.",
    ),
]


def _again(kind: type[msgspec.Struct]) -> ResponseSpec:
    return ResponseSpec(kind, generate_examples=False, description="This had been done before; what it led to")


class SubmissionsController(Controller):
    """Submissions under ``/jobs``, for the account of the token."""

    path = "/jobs"
    guards = [submitters_only]  # noqa: RUF012 -- Litestar's way
    security = [{ACCOUNT: []}]  # noqa: RUF012 -- Litestar's way
    tags = ["jobs"]  # noqa: RUF012 -- Litestar's way

    @post("/", status_code=201, responses={200: _again(Job), **problems(402)})
    async def submit(
        self, data: JSONBody[Submission], account_id: Account, hub: TheHub, idempotency_key: IdempotencyKey = None
    ) -> Response[Job]:
        """Take a job; 200 and the same job where its ``Idempotency-Key`` was used for it before."""
        jobs, replayed = await _submit(hub, account_id, [data], _key(idempotency_key, "job", data), alone=True)
        return Response(jobs[0], status_code=200 if replayed else 201)

    @post(
        "/batch",
        status_code=201,
        request_max_body_size=MAX_BATCH_BYTES,
        opt=BATCH,
        responses={200: _again(JobList), **problems(402)},
    )
    async def submit_batch(
        self, data: JSONBody[Batch], account_id: Account, hub: TheHub, idempotency_key: IdempotencyKey = None
    ) -> Response[JobList]:
        """Take up to 1,000 jobs: all of them, or none."""
        jobs, replayed = await _submit(hub, account_id, data.jobs, _key(idempotency_key, "batch", data), alone=False)
        return Response(JobList(jobs), status_code=200 if replayed else 201)

    @post("/dispatch", status_code=201, responses=problems(402, 503))
    async def dispatch(self, data: JSONBody[ToDispatch], account_id: Account, hub: TheHub) -> Dispatched:
        """Give a job to a node at once, or take nothing (503): `POST /jobs` has it wait for one. RenderTrust's call."""
        wanted = Submission(job_type=data.job_type, payload_ref=data.payload_ref)
        (new,) = await _checked_all(hub, account_id, [wanted], alone=True)
        with _refusing(alone=True):
            node_id = await hub.start(account_id, new)
        return Dispatched(new.job_id, node_id, JobState.DISPATCHED.value)

    @post("/{job_id:str}/requeue", status_code=201, responses={200: _again(Job), **problems(402, 404, 409)})
    async def requeue(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Response[Job]:
        """Submit a job that FAILED or was CANCELLED again, as a new job at today's price; 200 where that was done."""
        try:
            new_id, replayed = await hub.requeue(job_id, account_id)
        except LookupError:
            raise no_job(job_id) from None
        except NotDeadError as error:
            raise refuse(409, str(error)) from None
        except FileGoneError as error:
            raise refuse(409, f"the job needs {error}, which you have no more; upload it again") from None
        except CreditsShortError as error:
            raise refuse(402, f"not enough credits: {error}") from None
        (found,) = await hub.store.look_up(views.show_all, account_id, [new_id])
        return Response(job_body(found, hub.network), status_code=200 if replayed else 201)

    @post("/{job_id:str}/cancel", status_code=200, responses=problems(400, 404))
    async def cancel(self, job_id: FromPath[str], account_id: Account, hub: TheHub) -> Job:
        """Cancel a job."""
        try:
            cancelled = await hub.cancel(job_id, account_id)
        except LookupError:
            raise no_job(job_id) from None
        (found,) = await hub.store.look_up(views.show_all, account_id, [job_id])
        job = job_body(found, hub.network)
        if not cancelled:
            raise refuse(400, f"the job has ended already: {job.status}")
        return job


class _Fault(Exception):  # noqa: N818 -- becomes an entry of an answer
    """What is wrong with one job, in one line."""


async def _submit(
    hub: Hub, account_id: str, wanted: list[Submission], key: Key | None, *, alone: bool
) -> tuple[list[Job], bool]:
    batch = await _checked_all(hub, account_id, wanted, alone=alone)
    with _refusing(alone=alone):
        found, replayed = await hub.submit(account_id, batch, key)
    return [job_body(one, hub.network) for one in found], replayed


async def _checked_all(hub: Hub, account_id: str, wanted: list[Submission], *, alone: bool) -> list[New]:
    digests = {digest for one in wanted for ref in _refs(one) if (digest := references.digest_of(ref))}
    sizes = await hub.store.read(files.held, account_id, digests) if digests else {}
    batch: list[New] = []
    faults: list[tuple[int, str]] = []
    for index, one in enumerate(wanted):
        try:
            batch.append(_new(one, account_id, sizes))
        except _Fault as fault:
            faults.append((index, str(fault)))
    if faults:
        raise _refuse(faults, alone)
    return batch


@contextmanager
def _refusing(*, alone: bool) -> Iterator[None]:
    """Say in the API's words why the hub does not take what is submitted."""
    try:
        yield
    except UnknownJobTypeError as error:
        raise _refuse([(error.index, str(error))], alone) from None
    except FileGoneError as error:
        raise refuse(422, f"you have no file {error} on this gateway any more; upload it again") from None
    except CreditsShortError as error:
        raise refuse(402, f"not enough credits: {error}") from None
    except KeyReusedError:
        raise refuse(
            422,
            "this Idempotency-Key was used for another request; take a new key for a new one, or send the same again",
        ) from None
    except TooManyNeedsError:
        raise refuse(
            429, f"your waiting jobs ask for more than {MAX_LANES} different things (type, requires); wait for some"
        ) from None
    except NobodyFreeError:
        raise refuse(
            503, "no node can take it now; try again, or have it wait: POST /api/v1/jobs", retry_s=RETRY_S
        ) from None


def _refuse(faults: list[tuple[int, str]], alone: bool) -> Exception:
    index, line = faults[0]
    if alone:
        return refuse(422, line)
    others = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    errors = [Wrong(line, index=index) for index, line in faults[:MAX_FAULTS]]
    return refuse(422, f"jobs[{index}]: {line}{others}; nothing of the batch was taken", errors)


def _key(name: str | None, kind: str, data: Submission | Batch) -> Key | None:
    if name is None:
        return None
    if not 1 <= len(name) <= MAX_KEY or not name.isascii() or not name.isprintable():
        raise refuse(422, f"Idempotency-Key: 1 to {MAX_KEY} printable ASCII characters, for example a UUID")
    try:
        document = orjson.dumps([kind, msgspec.to_builtins(data)], option=orjson.OPT_SORT_KEYS)
    except TypeError as error:  # a whole number past 64 bits
        raise refuse(422, f"payload: {error}") from None
    return Key(name, hashlib.sha256(document).hexdigest())


def _refs(data: Submission) -> Iterable[str]:
    if data.payload_ref is not None:
        yield data.payload_ref
    for one in data.inputs.values():
        yield one.ref


def _new(data: Submission, account_id: str, sizes: dict[str, int]) -> New:
    if not data.job_type.isprintable():
        raise _Fault("job_type: printable characters only")
    new = New(
        job_id=chance.new_id(),
        account_id=account_id,
        job_type=data.job_type,
        payload=data.payload,
        payload_ref=_payload_ref(data, sizes),
        inputs={name: _input(name, one, sizes) for name, one in data.inputs.items()},
        limits=_limits(data.limits, data.requires.gpus),
        priority=data.priority,
        max_attempts=data.max_attempts,
        deadline_s=data.deadline_s,
        tier=data.requires.tier or "",
        memory_bytes=data.requires.memory_bytes,
    )
    _check_sendable(new)
    return new


def _limits(given: dict[str, Any], gpus: int) -> Limits:
    try:
        limits = structure(given, Limits) if given else _USUAL_LIMITS
    except ValueError as error:
        raise _Fault(f"limits: {error}") from None
    if unknown := given.keys() - {one.name for one in attrs.fields(Limits)}:
        raise _Fault(f"limits: there is no {', '.join(sorted(unknown)[:3])}")
    if gpus and limits.gpus not in (0, gpus):
        raise _Fault("requires.gpus and limits.gpus are the same thing; give one of them")
    return attrs.evolve(limits, gpus=gpus) if gpus else limits


def _payload_ref(data: Submission, sizes: dict[str, int]) -> str | None:
    if data.payload_ref is None:
        return None
    if data.payload:
        raise _Fault("payload_ref: a job has a payload or a reference to one, not both")
    known = _checked("payload_ref", data.payload_ref, sizes)
    if known is not None and known[1] > MAX_PAYLOAD_BYTES:
        raise _Fault(f"payload_ref: the file has {known[1]} bytes, a payload at most {MAX_PAYLOAD_BYTES}")
    return data.payload_ref


def _input(name: str, one: InputRef, sizes: dict[str, int]) -> Reference:
    where = f"inputs.{name}"
    if name in (".", "..") or "/" in name or not name.isprintable():
        raise _Fault(f"{where}: an input's name is a file name")
    known = _checked(where, one.ref, sizes)
    if known is not None:
        if (one.sha256 or known[0], one.size_bytes if one.size_bytes is not None else known[1]) != known:
            raise _Fault(f"{where}: sha256 and size_bytes are not those of {one.ref}; leave them out")
        return Reference(ref=one.ref, sha256=known[0], size_bytes=known[1])
    if one.sha256 is None or one.size_bytes is None:
        raise _Fault(
            f"{where}: sha256 and size_bytes are needed for what lies elsewhere, so that the node can check it"
        )
    return Reference(ref=one.ref, sha256=one.sha256, size_bytes=one.size_bytes)


def _checked(where: str, ref: str, sizes: dict[str, int]) -> tuple[str, int] | None:
    """Return digest and size of a file of the gateway's; None for a reference to elsewhere."""
    try:
        references.check(ref)
    except ValueError as error:
        raise _Fault(f"{where}: {error}") from None
    digest = references.digest_of(ref)
    if digest is None:
        return None
    if digest not in sizes:
        raise _Fault(f"{where}: you have no file {ref} on this gateway")
    return digest, sizes[digest]


def _check_sendable(new: New) -> None:
    """Refuse now what a node would have to refuse: numbers past 64 bits, nesting without end."""
    dispatch = JobDispatch(
        job_id=new.job_id,
        attempt_id=new.job_id,
        job_type=new.job_type,
        payload=new.payload,
        payload_ref=new.payload_ref,
        inputs=new.inputs,
        limits=new.limits,
    )
    try:
        encode(dispatch)
    except (ProtocolError, TypeError) as error:
        raise _Fault(f"payload: {error}") from None
    if depth_exceeds(new.payload, MAX_DEPTH - 1):  # the message is a level too
        raise _Fault(f"payload: nested deeper than {MAX_DEPTH - 1} levels")
