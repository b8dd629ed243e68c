"""Attempts with inputs: fetched from a real TLS server, shown in the real sandbox, shared, cancelled, and at fault."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from file_server import File, Server

from edgeagent.node.cache import Cache, make_shelf
from edgeagent.node.executor import Finished
from edgeagent.node.fetch.https import Https
from edgeagent.node.inputs import Inputs
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.supplied import Supplied
from edgeagent.wire.messages import JobDispatch, JobProgress, Limits, Outcome, Reference

PLUGIN = """
import hashlib, os
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult, current_job


def attempt(action):
    try:
        action()
    except OSError as error:
        return error.strerror
    return "done"


class Sum(BaseWorkerPlugin):
    job_type = "sum"

    async def execute(self, job_id, payload):
        inputs = current_job().inputs
        changes = {}
        for name, path in inputs.items():
            changes[name] = [
                attempt(lambda: path.write_bytes(b"x")),
                attempt(lambda: path.chmod(0o777)),
                attempt(lambda: path.unlink()),
                attempt(lambda: os.truncate(path, 0)),
                attempt(lambda: os.utime(path, (1, 1))),
                attempt(lambda: (path.parent / "new").touch()),
            ]
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in inputs.items()}
        return WorkerResult(success=True, value={"payload": payload, "digests": digests, "changes": changes})
"""


class Found:
    """Sources of a test: everything is ``https://`` on its own server."""

    def __init__(self, https: Https) -> None:
        self.https = https

    def find(self, dispatch: JobDispatch, name: str | None, ref: str) -> Any:
        return self.https.at(ref)


@attrs.define(eq=False)
class Bench:
    """A node's executor with everything behind it."""

    server: Server
    cache: Cache
    inputs: Inputs
    outputs: Path
    said: list[JobProgress] = attrs.Factory(list)
    stop: trio.Event = attrs.Factory(trio.Event)

    def reference(self, path: str, data: bytes) -> Reference:
        """Have a file served, and return what a job says of it."""
        self.server.files.setdefault(path, File(data))
        sha256 = hashlib.sha256(data).hexdigest()
        return Reference(ref=self.server.url(path), sha256=sha256, size_bytes=len(data))

    async def run(self, executor: Any, dispatch: JobDispatch, fetch_s: float = 60.0) -> Finished:
        outputs = self.outputs / dispatch.attempt_id
        outputs.mkdir()
        supplied = Supplied(executor, self.inputs, fetch_s=fetch_s)
        return await supplied.run(dispatch, progress=self.said.append, stop=self.stop, outputs=outputs, gpus=())


class StandIn:
    """Takes every job for done; keeps what it was given."""

    tier = "stand-in"

    def __init__(self) -> None:
        self.ran: list[tuple[JobDispatch, str | None]] = []

    async def run(self, dispatch: JobDispatch, *, inputs: str | None = None, **_: Any) -> Finished:
        await trio.lowlevel.checkpoint()
        self.ran.append((dispatch, inputs))
        return Finished(outcome=Outcome.COMPLETED)


@pytest.fixture
async def server(nursery: trio.Nursery) -> Server:
    """A file server on loopback."""
    server = Server()
    await nursery.start(server.run)
    return server


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A node's home, closed to all others, with a plugin."""
    home = tmp_path / "home"
    (home / "plugins").mkdir(parents=True)
    (home / "plugins" / "sum.py").write_text(PLUGIN)
    return home


@pytest.fixture
async def bench(server: Server, home: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    """See there."""
    async with make_bench(server, home, tmp_path) as bench:
        yield bench


@contextlib.asynccontextmanager
async def make_bench(server: Server, home: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with Https(allow_private=True, tls=server.trust()) as https:
        cache = Cache(home, 100 << 20)
        cache.open()
        (tmp_path / "outputs").mkdir(exist_ok=True)
        yield Bench(server, cache, Inputs(cache, Found(https), random.Random()), tmp_path / "outputs")


@pytest.fixture
def sandbox(home: Path) -> Iterator[Callable[..., Any]]:
    """The real executor of that home."""
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> SandboxExecutor:
            zygote = stack.enter_context(zygote_for(home / "plugins", warm=0, shelf=make_shelf(home), **options))
            return SandboxExecutor(zygote)

        home.chmod(0o700)
        yield start


def job(**fields: Any) -> JobDispatch:
    """A dispatch."""
    limits = Limits(wall_s=60, memory_bytes=256 << 20, pids=32)
    ids = {"job_id": str(uuid.uuid4()), "attempt_id": str(uuid.uuid4())}
    return JobDispatch(**{**ids, "job_type": "sum", "limits": limits, **fields})


@pytest.mark.needs("sandbox")
async def test_a_plugin_reads_its_inputs_and_cannot_change_them(bench, sandbox, home):
    """By the names that the submitter gave; afterwards the cache is what it was, and the job's directory is gone."""
    executor = await trio.to_thread.run_sync(sandbox)
    scene = bench.reference("/scene", b"scene" * 100_000)
    inputs = {"scene.bin": scene, "again": scene, "empty file": bench.reference("/empty", b"")}

    finished = await bench.run(executor, job(inputs=inputs, payload={"a": 1}))

    assert (Outcome.COMPLETED, "") == (finished.outcome, finished.detail)
    digests = {name: reference.sha256 for name, reference in inputs.items()}
    assert ({"a": 1}, digests) == (finished.value["payload"], finished.value["digests"])
    said = {each for all_ in finished.value["changes"].values() for each in all_}
    assert said <= {"Read-only file system", "Permission denied"}
    assert ["/empty", "/scene"] == sorted(path for path, _ in bench.server.asked)
    assert [] == list((home / "cache" / "attempts").iterdir())
    assert bench.cache.has(scene.sha256, scene.size_bytes)
    assert bench.cache.used_bytes == bench.cache.evictable_bytes


@pytest.mark.needs("sandbox")
async def test_a_payload_is_fetched_for_the_plugin(bench, sandbox):
    """A JSON object, in the place of one that came with the job."""
    executor = await trio.to_thread.run_sync(sandbox)
    bench.server.files["/payload.json"] = File(json.dumps({"frames": [1, 2]}).encode())

    finished = await bench.run(executor, job(payload_ref=bench.server.url("/payload.json")))

    assert {"frames": [1, 2]} == finished.value["payload"]
    assert {} == finished.value["digests"]
    assert [] == list(bench.cache.attempts.parent.joinpath("partial").iterdir())


async def test_what_is_in_the_cache_is_not_fetched_again(bench):
    """Nor by another job."""
    executor, reference = StandIn(), bench.reference("/f", b"x" * 1000)

    for _ in range(3):
        assert Outcome.COMPLETED is (await bench.run(executor, job(inputs={"f": reference}))).outcome

    assert 1 == len(bench.server.asked)
    assert [dispatch.attempt_id for dispatch, _ in executor.ran] == [inputs for _, inputs in executor.ran]


async def test_attempts_that_need_the_same_file_wait_for_one_download(bench):
    """All of them start when it is there, and each is told how far it is."""
    data = b"x" * 3_000_000
    bench.server.files["/f"] = file = File(data, pause_at=1_500_000)
    reference, executor = bench.reference("/f", data), StandIn()
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(bench.run, executor, job(inputs={"f": reference}))
        while len({each.attempt_id for each in bench.said if each.text not in ("", "fetching inputs 0 %")}) < 4:  # noqa: ASYNC110
            await trio.sleep(0.05)
        assert [] == executor.ran
        file.go_on.set()

    assert (1, 4) == (len(bench.server.asked), len(executor.ran))
    assert {"fetching inputs 0 %", "fetching inputs 34 %"} <= {each.text for each in bench.said}


async def test_when_the_one_that_downloads_is_cancelled_the_next_goes_on(bench):
    """From where it was; the cancel takes effect at once."""
    data = b"x" * 3_000_000
    bench.server.files["/f"] = file = File(data, pause_at=2_500_000)
    reference, executor = bench.reference("/f", data), StandIn()
    first, ended = attrs.evolve(bench, said=[], stop=trio.Event()), []
    async with trio.open_nursery() as nursery:

        async def run_first() -> None:
            ended.append(await first.run(executor, job(inputs={"f": reference})))

        nursery.start_soon(run_first)
        await file.paused.wait()
        nursery.start_soon(bench.run, executor, job(inputs={"f": reference}))
        while bench.inputs._received.get(reference.sha256, 0) < 1 << 20:  # noqa: ASYNC110 (a thread writes it)
            await trio.sleep(0.01)
        first.stop.set()
        with trio.fail_after(5):
            while not ended:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert [] == executor.ran
        file.go_on.set()

    assert [Outcome.CANCELLED] == [each.outcome for each in ended]
    assert 1 == len(executor.ran)
    (_, headers) = bench.server.asked[-1]
    assert int(headers["range"].removeprefix("bytes=").rstrip("-")) >= 1 << 20


@pytest.mark.parametrize(
    ("files", "fields", "outcome", "said"),
    [
        ({}, {"payload_ref": "/p"}, Outcome.REJECTED, "payload_ref: .* answers 404"),
        ({"/p": File(b"[1]")}, {"payload_ref": "/p"}, Outcome.REJECTED, "is not a JSON object"),
        ({"/p": File(b"{")}, {"payload_ref": "/p"}, Outcome.REJECTED, "is not JSON"),
        ({"/p": File(b'"' + b"x" * 300_000)}, {"payload_ref": "/p"}, Outcome.REJECTED, "where 262144 are allowed"),
        ({"/f": File(b"", status=410)}, {"inputs": "f"}, Outcome.REJECTED, "input 'f': .* answers 410"),
        ({"/f": File(b"y" * 10)}, {"inputs": "f"}, Outcome.REJECTED, "input 'f': what arrived has the SHA-256"),
        ({"/f": File(b"", status=500)}, {"inputs": "f"}, Outcome.FETCH_FAILED, "input 'f': localhost answers 500"),
        ({}, {"inputs": "../f"}, Outcome.REJECTED, "an input's name is a file name"),
    ],
)
async def test_whose_fault_it_is_is_said(bench, monkeypatch, files, fields, outcome, said):
    """What nobody could fetch ends the job; what did not arrive here ends this attempt."""
    monkeypatch.setattr("edgeagent.node.fetch.download.GIVE_UP_S", 0.0)
    bench.server.files |= {path: attrs.evolve(file) for path, file in files.items()}
    executor = StandIn()
    if "payload_ref" in fields:
        dispatch = job(payload_ref=bench.server.url(fields["payload_ref"]))
    else:
        sha256 = hashlib.sha256(b"x" * 10).hexdigest()
        dispatch = job(inputs={fields["inputs"]: Reference(ref=bench.server.url("/f"), sha256=sha256, size_bytes=10)})

    finished = await bench.run(executor, dispatch)

    assert outcome is finished.outcome
    assert [] == executor.ran

    assert re.search(said, finished.detail), finished.detail
    assert 0 == bench.cache.promised_bytes
    assert bench.cache.used_bytes == bench.cache.evictable_bytes


async def test_fetching_has_a_time_of_its_own(bench):
    """When it is over the attempt ends, and what has come is there for the next."""
    bench.server.files["/f"] = File(b"x" * 3_000_000, pause_at=2_000_000)

    finished = await bench.run(StandIn(), job(inputs={"f": bench.reference("/f", b"x" * 3_000_000)}), fetch_s=1.0)

    assert (Outcome.FETCH_FAILED, "fetching took longer than 1 s") == (finished.outcome, finished.detail)
    (partial,) = (path for path in bench.cache.attempts.parent.joinpath("partial").iterdir() if path.suffix != ".json")
    assert partial.stat().st_size >= 1 << 20


async def test_one_bad_input_ends_the_others(bench):
    """Nobody waits for what will not be used."""
    bench.server.files["/slow"] = File(b"x" * 1000, pause_at=10)
    slow = bench.reference("/slow", b"x" * 1000)
    missing = attrs.evolve(slow, ref=bench.server.url("/missing"), sha256="0" * 64)

    with trio.fail_after(30):
        finished = await bench.run(StandIn(), job(inputs={"slow": slow, "missing": missing}))

    assert Outcome.REJECTED is finished.outcome


async def test_a_cache_that_is_full_of_what_runs_fails_nobody(bench):
    """Another node may have room."""
    bench.cache.most_bytes = 100

    finished = await bench.run(StandIn(), job(inputs={"f": bench.reference("/f", b"x" * 1000)}))

    assert Outcome.FETCH_FAILED is finished.outcome
    assert "the node cannot store the inputs: the cache has no room for 1000 bytes" in finished.detail


async def test_a_job_without_references_is_run_at_once(bench):
    """Nothing is said of fetching, and nothing made."""
    executor = StandIn()

    assert Outcome.COMPLETED is (await bench.run(executor, job(payload={"a": 1}))).outcome
    assert ([], None) == (bench.said, executor.ran[0][1])
