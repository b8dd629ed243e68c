"""GPUs of a node: found, lent, and given to one job at a time."""

from __future__ import annotations

import os
import stat
import sys
import uuid
from pathlib import Path

import pytest
import trio
from nvml_library import Card, Library, install

from edgeagent.errors import UsageError
from edgeagent.node.gpus import Detected, Gpu, Instance, Lent, detect, lend, rules, within
from edgeagent.node.options import sections
from edgeagent.node.sandboxed import SandboxExecutor, zygote_for
from edgeagent.node.slots import GpuRules
from edgeagent.wire.messages import JobDispatch, Limits, Outcome
from edgesandbox.gpus import Host

FIRST, SECOND = "GPU-11111111-aaaa-bbbb-cccc-000000000001", "GPU-22222222-aaaa-bbbb-cccc-000000000002"
PART, OTHER_PART = "MIG-33333333-aaaa-bbbb-cccc-000000000003", "MIG-44444444-aaaa-bbbb-cccc-000000000004"
INSTANCE = Instance(uuid=PART, name="MIG 1g.5gb", memory_bytes=5 << 30, gpu_instance=1, compute_instance=0)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """What the driver shows of two GPUs, the second one with an instance."""
    for minor, (address, name) in enumerate((("0000:07:00.0", FIRST), ("0000:0a:00.0", SECOND))):
        directory = tmp_path / "proc/driver/nvidia/gpus" / address
        directory.mkdir(parents=True)
        (directory / "information").write_text(f"GPU UUID: \t {name}\nDevice Minor: \t {minor}\n")
    minors = tmp_path / "proc/driver/nvidia-caps/mig-minors"
    minors.parent.mkdir()
    minors.write_text("config 1\ngpu1/gi1/access 12\ngpu1/gi1/ci0/access 13\n")
    return Host(tmp_path)


def _gpu(name: str, minor: int, **fields: object) -> Gpu:
    return Gpu(uuid=name, name="NVIDIA A100", memory_bytes=40 << 30, minor=minor, **fields)  # type: ignore[arg-type]


@pytest.mark.needs("nvidia-ml-py")
def test_gpus_and_instances_are_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """With name, memory and number of each; the library is closed again."""
    part = Card(PART, "MIG 1g.5gb", 5 << 30, ids=(1, 0))
    library = Library(Card(FIRST, mig=False), Card(SECOND, "NVIDIA H100", 80 << 30, 1, mig=True, parts={3: part}))
    install(monkeypatch, library)

    found = detect()

    assert () == found.problems
    assert (
        Gpu(uuid=FIRST, name="NVIDIA A100-SXM4-40GB", memory_bytes=40 << 30, minor=0),
        Gpu(uuid=SECOND, name="NVIDIA H100", memory_bytes=80 << 30, minor=1, partitioned=True, instances=(INSTANCE,)),
    ) == found.gpus
    assert 0 == library.open


@pytest.mark.needs("nvidia-ml-py")
@pytest.mark.parametrize(
    ("library", "found", "problems"),
    [
        (Library(), [], ("NVIDIA's driver has none",)),
        (Library(ready=9), [], ("NVIDIA's driver does not answer: Driver Not Loaded",)),
        (Library(Card(FIRST, lost=True), Card(SECOND)), [SECOND], ("GPU 0 does not answer: GPU is lost",)),
    ],
    ids=["none", "no driver", "one lost"],
)
def test_what_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, library: Library, found: list[str], problems: tuple[str, ...]
) -> None:
    """And the others are found all the same."""
    install(monkeypatch, library)

    detected = detect()

    assert (found, problems) == ([gpu.uuid for gpu in detected.gpus], detected.problems)


@pytest.mark.needs("nvidia-ml-py")
def test_a_host_without_the_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader looks for a file that is not there."""
    import pynvml

    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)

    assert Detected(problems=("NVIDIA's driver does not answer: NVML Shared Library Not Found",)) == detect()


def test_a_node_without_the_extra_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no fault: most machines have no GPU."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert Detected(problems=('not looked for: pip install "edgeagent[gpu]"',)) == detect()


def test_whole_gpus_are_lent_by_their_uuid(host: Host) -> None:
    """Each with its own node."""
    lent = lend(Detected(gpus=(_gpu(FIRST, 0), _gpu(SECOND, 1))), host)

    assert [(FIRST, "/dev/nvidia0"), (SECOND, "/dev/nvidia1")] == [
        (name, unit.nodes[0]) for name, unit in lent.units.items()
    ]
    assert {"CUDA_VISIBLE_DEVICES": SECOND, "NVIDIA_VISIBLE_DEVICES": SECOND} == dict(lent.grant([SECOND]).env)


def test_a_partitioned_gpu_is_lent_by_its_instances(host: Host) -> None:
    """Under the UUIDs that programs know them by, with their capabilities' nodes."""
    lent = lend(Detected(gpus=(_gpu(SECOND, 1, partitioned=True, instances=(INSTANCE,)),)), host)

    assert [PART] == list(lent.units)
    assert ("/dev/nvidia-caps/nvidia-cap12", "/dev/nvidia-caps/nvidia-cap13") == lent.units[PART].nodes[-2:]


@pytest.mark.parametrize(
    ("gpu", "says"),
    [
        (_gpu("GPU-5", 5), "GPU-5 (NVIDIA A100): /proc/driver/nvidia does not show it here"),
        (_gpu(SECOND, 1, partitioned=True), f"{SECOND} (NVIDIA A100): no instance of it was made"),
        (
            _gpu(FIRST, 0, partitioned=True, instances=(INSTANCE,)),
            f"GPU {FIRST} has no instance 1/0: 'gpu0/gi1/access' is not in mig-minors",
        ),
    ],
)
def test_what_cannot_be_pinned_is_not_lent(host: Host, gpu: Gpu, says: str) -> None:
    """With the reason, behind what was said before."""
    lent = lend(Detected(gpus=(gpu,), problems=("earlier",)), host)

    assert {} == lent.units
    assert "earlier" == lent.problems[0]
    assert lent.problems[1].startswith(says)


def test_an_owner_lends_what_he_names(host: Host) -> None:
    """All by default, none by an empty list."""
    lent = lend(Detected(gpus=(_gpu(FIRST, 0), _gpu(SECOND, 1))), host)

    wanted = sections.Gpu(lend=(SECOND,), jobs_each=2, per_job={"render": 1}, only_for={SECOND: ("render",)})
    assert (FIRST, SECOND) == rules(lent, sections.Gpu()).uuids
    assert GpuRules(uuids=(SECOND,), share=2, needed=wanted.per_job, only_for=wanted.only_for) == rules(lent, wanted)
    assert () == rules(lent, sections.Gpu(lend=())).uuids
    assert (SECOND,) == rules(lent, sections.Gpu(exclude=(FIRST,))).uuids


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        ("lend", sections.Gpu(lend=("GPU-5",))),
        ("exclude", sections.Gpu(exclude=("GPU-5",))),
        ("only_for", sections.Gpu(only_for={"GPU-5": ()})),
    ],
)
def test_a_gpu_that_is_not_here_cannot_be_meant(host: Host, key: str, wanted: sections.Gpu) -> None:
    """A GPU that was taken out is noticed, wherever its owner named it."""
    lent = lend(Detected(gpus=(_gpu(FIRST, 0), _gpu(SECOND, 1))), host)

    with pytest.raises(UsageError, match=rf"gpu\.{key}: GPU-5 is not here to be lent; found: {FIRST}, {SECOND}"):
        rules(lent, wanted)
    with pytest.raises(UsageError, match="found: none"):
        rules(Lent(), wanted)


def test_where_a_job_cannot_be_pinned_no_gpu_is_lent(host: Host) -> None:
    """Tier C says so at the start, instead of failing each job."""
    lent = lend(Detected(gpus=(_gpu(FIRST, 0),)), host)

    assert lent == within("A", lent) == within("B", lent)
    assert {} == within("C", lent).units
    assert "(tier C)" in within("C", lent).problems[-1]
    assert () == within("C", Lent()).problems


PLUGIN = """
import os
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult


class Looks(BaseWorkerPlugin):
    job_type = "looks"

    async def execute(self, job_id, payload):
        seen = {"nodes": sorted(name for name in os.listdir("/dev") if name.startswith("nvidia"))}
        seen["variable"] = os.environ["CUDA_VISIBLE_DEVICES"]
        try:
            os.open("/dev/nvidia1", os.O_RDWR)
        except OSError as problem:
            seen["problem"] = problem.strerror
        return WorkerResult(success=True, value=seen)
"""


@pytest.mark.needs("sandbox", "root")
async def test_a_job_sees_the_gpu_that_its_attempt_has(host: Host, tmp_path: Path) -> None:
    """Through the real sandbox; the nodes have the driver's numbers and nothing behind them."""
    for name, number in {
        "nvidia0": (195, 0),
        "nvidia1": (195, 1),
        "nvidiactl": (195, 255),
        "nvidia-uvm": (508, 0),
    }.items():
        path = host.at(f"/dev/{name}")
        path.parent.mkdir(exist_ok=True)
        os.mknod(path, stat.S_IFCHR, os.makedev(*number))
        path.chmod(0o666)
    plugins = tmp_path / "home" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "looks.py").write_text(PLUGIN)
    lent = lend(Detected(gpus=(_gpu(FIRST, 0), _gpu(SECOND, 1))), host)
    job = {"job_id": str(uuid.uuid4()), "attempt_id": str(uuid.uuid4()), "job_type": "looks", "limits": Limits(gpus=1)}
    seen = []
    with zygote_for(plugins, lent=lent) as zygote, trio.fail_after(60):
        executor = SandboxExecutor(zygote, lent)
        for gpus in ((SECOND,), (FIRST,), ()):
            finished = await executor.run(
                JobDispatch(**job), progress=lambda _message: None, stop=trio.Event(), outputs=tmp_path, gpus=gpus
            )
            assert Outcome.COMPLETED is finished.outcome, finished.detail
            seen.append(finished.value)

    common = ["nvidia-uvm"]
    assert [
        {"nodes": [*common, "nvidia1", "nvidiactl"], "variable": SECOND, "problem": "No such device or address"},
        {"nodes": [*common, "nvidia0", "nvidiactl"], "variable": FIRST, "problem": "No such file or directory"},
        {"nodes": [], "variable": "", "problem": "No such file or directory"},
    ] == seen
