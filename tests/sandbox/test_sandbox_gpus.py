"""A job has the devices it was granted and no others: by its file tree, and as root by its control group too."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from drivers import BUS, FIRST, SECOND, make_nodes, show
from sandboxing import HERE, LIMITS, as_nobody, family, hear, report_of, say, settled, wait_until
from test_sandbox_cgroups import groups_of
from test_sandbox_devices import group2  # noqa: F401 - a fixture

from edgesandbox import (
    Box,
    Grant,
    SandboxUnavailable,
    SetupFailed,
    Spec,
    Zygote,
    cgroupfs,
    devicefilter,
    landlock,
    linux,
)
from edgesandbox.gpus import Host, choose, grant

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with drivers, and with nodes of devices that are not there."""
    top = Path(tempfile.mkdtemp())  # not pytest's, which keeps its own from the ordinary user below
    top.chmod(0o755)
    show(top)
    make_nodes(top)
    yield Host(top)
    shutil.rmtree(top)


@pytest.fixture(scope="module")
def zygote(host) -> Iterator[Zygote]:
    """One that may grant all of the host's processors, and two odd things."""
    odd = Grant(
        devices=(("/dev/gone", str(host.at("/dev/gone"))), ("/dev/file", str(host.at("/sys/module/nvidia/initstate"))))
    )
    everything = grant(choose(["0", "1", "1/1/0", "1/1/1", "2"], host), host)
    zygote = Zygote(entry="devicejobs:opens", import_paths=[HERE], grants=[everything, odd, renamed("/dev/null")])
    try:
        zygote.start()
    except SandboxUnavailable as problem:
        pytest.skip(str(problem))
    yield zygote
    zygote.close()


def renamed(device: str) -> Grant:
    """Give a harmless device in the place of a processor."""
    return Grant(devices=(("/dev/nvidia0", device),))


def of(host: Host, *names: str) -> Grant:
    return grant(choose(names, host), host)


def ask(zygote: Zygote, granted: Grant, *paths: str) -> dict[str, str]:
    """Have a job open paths."""
    with zygote.spawn(Spec(limits=LIMITS, grant=granted)) as box:
        say(box, paths)
        return hear(box)


def tell(zygote: Zygote, program: str, granted: Grant):
    with zygote.spawn(Spec(entry=f"devicejobs:{program}", limits=LIMITS, grant=granted)) as box:
        return hear(box)


PAIR = ("/dev/nvidia0", "/dev/nvidia1")


def test_only_what_is_granted_exists(zygote, host):
    """ENXIO: the kernel looked for the driver, so nothing stood in the way; ENOENT: there is no such node."""
    assert dict(zip(PAIR, ("ENXIO", "ENOENT"), strict=True)) == ask(zygote, of(host, "0"), *PAIR)
    assert dict(zip(PAIR, ("ENOENT", "ENXIO"), strict=True)) == ask(zygote, of(host, "1"), *PAIR)
    assert dict(zip(PAIR, ("ENXIO", "ENXIO"), strict=True)) == ask(zygote, of(host, "0", "1"), *PAIR)
    assert dict(zip(PAIR, ("ENOENT", "ENOENT"), strict=True)) == ask(zygote, Grant(), *PAIR)


def test_a_job_sees_its_devices_and_the_harmless_ones(zygote, host):
    """The whole of /dev and /sys, and which processor the variables name."""
    found = tell(zygote, "tells", of(host, "0"))

    harmless = ["full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"]
    granted = ["nvidia-uvm", "nvidia-uvm-tools", "nvidia0", "nvidiactl"]
    assert sorted(f"/dev/{name}" for name in (*harmless, *granted)) == found["/dev"]
    assert [
        f"/sys/devices/pci0000:00/{BUS[FIRST]}/vendor",
        "/sys/devices/system/node/online",
        "/sys/module/nvidia/initstate",
    ] == found["/sys"]
    assert {"CUDA_VISIBLE_DEVICES": FIRST, "NVIDIA_VISIBLE_DEVICES": FIRST, "ROCR_VISIBLE_DEVICES": ""} == (
        found["variables"]
    )


def test_a_job_without_a_grant_sees_none(zygote):
    """And the variables say so."""
    found = tell(zygote, "tells", Grant())

    assert [] == [path for path in found["/dev"] if "nvidia" in path]
    assert [] == found["/sys"]
    assert {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void", "ROCR_VISIBLE_DEVICES": ""} == (
        found["variables"]
    )


def test_two_instances_of_one_processor_are_two_jobs(zygote, host):
    """Their capability nodes tell them apart; the processor's own node they share."""
    caps = [f"/dev/nvidia-caps/nvidia-cap{minor}" for minor in (12, 13, 14, 21)]

    first = ask(zygote, of(host, "1/1/0"), "/dev/nvidia1", *caps)
    second = ask(zygote, of(host, f"{SECOND}/1/1"), "/dev/nvidia1", *caps)

    assert ["ENXIO", "ENXIO", "ENXIO", "ENOENT", "ENOENT"] == list(first.values())
    assert ["ENXIO", "ENXIO", "ENOENT", "ENXIO", "ENOENT"] == list(second.values())


def test_a_job_cannot_change_its_devices(zygote, host):
    """Neither make one nor write to /sys."""
    assert {"EROFS", "EACCES"} >= set(tell(zygote, "writes", of(host, "0")).values())


def test_granted_devices_can_be_controlled(zygote):
    """Landlock lets ioctl through to the device, which knows no such call; CUDA's threads can name themselves."""
    said = tell(zygote, "controls", renamed("/dev/null"))

    assert {"ioctl": "ENOTTY", "named": ["cuda-EvtHandlr"]} == said


def test_landlock_would_refuse_to_control_other_devices(zygote):
    """The same call under a rule for /dev without that right: the test above can fail."""
    if landlock.abi() < 5:
        pytest.skip("only root: this kernel's Landlock knows no ioctl")

    assert "EACCES" == tell(zygote, "controls_less", renamed("/dev/null"))["ioctl"]


def smuggle(box: Box, device: Path, place: str) -> None:
    """Mount a node in a running job's tree, as a mistake of ours or a hole in the kernel would."""
    facts = Path(f"/proc/self/fdinfo/{box._pidfd}").read_text().splitlines()
    pid = next(line.split()[1] for line in facts if line.startswith("Pid:"))
    tree = linux.clone_tree(str(device))
    inside = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None).setns(inside, linux.CLONE_NEWNS):
            os._exit(1)
        linux.attach(tree, place)
        os._exit(0)
    os.close(tree)
    os.close(inside)
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_the_group_refuses_a_node_that_got_in_by_mistake(zygote, host):
    """EPERM for what was not granted; what was granted can be opened by that node, too."""
    if "cgroup_devices" not in zygote.enforced:
        pytest.skip(f"only root: {zygote.not_enforced['cgroup_devices']}")
    with zygote.spawn(Spec(limits=LIMITS, grant=of(host, "0"))) as box:
        say(box, ["/dev/full", "/dev/zero"])
        assert {"/dev/full": "", "/dev/zero": ""} == hear(box)
        smuggle(box, host.at("/dev/nvidia1"), "/dev/full")
        smuggle(box, host.at("/dev/nvidia0"), "/dev/zero")
        say(box, ["/dev/full", "/dev/zero", "/dev/nvidia0", "/dev/null"])

        assert {"/dev/full": "EPERM", "/dev/zero": "ENXIO", "/dev/nvidia0": "ENXIO", "/dev/null": ""} == hear(box)


def test_the_program_of_a_grant_replaces_the_one_of_all_jobs(group2, host):  # noqa: F811
    """On version 2, where two programs would both be asked."""
    group, base = os.open(group2, os.O_RDONLY), devicefilter.load(cgroupfs.DEVICES)
    devicefilter.attach(base, group)
    wider = devicefilter.load((*cgroupfs.DEVICES, (195, 0)))
    devicefilter.attach(wider, group)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from devicejobs import attempt\n"
        "open(sys.argv[2], 'w').write('0'); print(*map(attempt, sys.argv[3:]), sep=',')"
    )
    paths = [str(host.at(f"/dev/nvidia{minor}")) for minor in (0, 1)]
    command = [sys.executable, "-c", code, str(HERE), str(group2 / "cgroup.procs"), *paths, "/dev/null"]

    both = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    devicefilter.detach(base, group)
    wider_alone = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for fd in (group, base, wider):
        os.close(fd)

    assert ("EPERM,EPERM,\n", "ENXIO,EPERM,\n") == (both, wider_alone)


def held(zygote: Zygote) -> tuple[int, list[int]]:
    """Count groups, and what launcher and zygote have open: a mount that was lent is a descriptor until it is used."""
    launcher = zygote._process.pid
    (inner,) = (pid for pid, parent in family(launcher).items() if parent == launcher)
    return len(groups_of(zygote)), [len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in (launcher, inner)]


def in_place(path: str, source: str) -> Callable[[Host], Grant]:
    return lambda host: Grant(devices=((path, str(host.at(source))),))


MISSING = in_place("/dev/gone", "/dev/gone")
NO_NODE = in_place("/dev/file", "/sys/module/nvidia/initstate")


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        (MISSING, "no device .*/dev/gone on this host"),
        (NO_NODE, "not a device node"),
        (in_place("/dev/sda", "/dev/sda"), "/dev/sda was not named when the sandbox was started"),
        (in_place("/dev/nvidia0", "/dev/nvidia1"), "/dev/nvidia0 was not named"),
    ],
    ids=["missing", "no node", "not allowed", "another"],
)
def test_what_cannot_be_granted_is_one_line_and_leaves_nothing(zygote, host, granted, said):
    """No group, mount or descriptor; and the next job runs."""

    def fail() -> None:
        with pytest.raises(SetupFailed, match=said) as problem:
            zygote.spawn(Spec(limits=LIMITS, grant=granted(host)))
        assert "\n" not in str(problem.value)

    fail()  # the group for the next job is then in the zygote's hands already
    before = settled(lambda: held(zygote))
    for _ in range(5):
        fail()

    assert before == settled(lambda: held(zygote))
    assert {"/dev/nvidia0": "ENXIO"} == ask(zygote, of(host, "0"), "/dev/nvidia0")


def test_a_node_that_jobs_may_not_open_is_said_with_what_to_type(zygote, host):
    """The host's permissions count for jobs as well."""
    if "separate_user_id" not in zygote.enforced:
        pytest.skip("only root: the node is the job's own user's")
    path = host.at("/dev/nvidia0")
    path.chmod(0o600)
    try:
        with pytest.raises(SetupFailed, match=r"may not open /dev/nvidia0; type: chmod o\+rw /dev/nvidia0"):
            zygote.spawn(Spec(limits=LIMITS, grant=of(host, "0")))
    finally:
        path.chmod(0o666)


def test_the_report_says_what_pins_devices(zygote, host):
    """The file tree always; the group where there is one."""
    with zygote.spawn(Spec(limits=LIMITS, grant=of(host, "0"))) as box:
        box.channel.shutdown(1)
        report = report_of(box)

    assert "device_pinning" in report.enforced
    assert ("cgroup_devices" in report.enforced) != ("cgroup_devices" in report.not_enforced)


def test_the_probe_notices_a_device_that_it_should_not_see(zygote, host):
    """So that ``check`` would."""
    from edgesandbox.client import probe_question

    with zygote.spawn(Spec(entry="edgesandbox.probe:main", limits=LIMITS, grant=of(host, "0"))) as box:
        say(box, probe_question())
        findings = hear(box)

    assert "/dev/nvidia0" in dict(findings)["device_pinning"]
    with zygote.spawn(Spec(entry="edgesandbox.probe:main", limits=LIMITS)) as box:
        say(box, probe_question())
        assert "device_pinning" not in dict(hear(box))


def test_a_warm_box_is_never_the_one_that_gets_a_device(host):
    """A job with a grant is built for it, and the box that waits stays for another job, without any."""
    with Zygote(
        entry="devicejobs:opens", import_paths=[HERE], grants=[of(host, "0")], warm=1, warm_limits=LIMITS
    ) as pool:
        wait_until(lambda: pool.ready == 1, 30)

        assert {"/dev/nvidia0": "ENXIO"} == ask(pool, of(host, "0"), "/dev/nvidia0")
        assert {"/dev/nvidia0": "ENOENT"} == ask(pool, Grant(), "/dev/nvidia0")


def test_an_ordinary_user_pins_by_the_file_tree_alone(host):
    """And is told that there is no second wall."""
    script = f"""
import sys, json
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from sandboxing import LIMITS, hear, say
from edgesandbox import Spec, Zygote
from edgesandbox.gpus import Host, choose, grant
host = Host(Path({str(host.top)!r}))
granted = grant(choose(["0"], host), host)
with Zygote(entry="devicejobs:opens", import_paths=[{str(HERE)!r}], grants=[granted]) as zygote:
    with zygote.spawn(Spec(limits=LIMITS, grant=granted)) as box:
        say(box, {list(PAIR)!r})
        answer = hear(box)
        box.channel.shutdown(1)
        print(json.dumps([answer, box.read_report().to_json()]))
"""
    done = subprocess.run(
        as_nobody(sys.executable, "-c", script), capture_output=True, text=True, timeout=120, check=False
    )
    assert 0 == done.returncode, done.stderr
    answer, report = json.loads(done.stdout)

    assert dict(zip(PAIR, ("ENXIO", "ENOENT"), strict=True)) == answer
    assert "device_pinning" in report["enforced"]
    assert "those granted to it, no others" in report["not_enforced"]["cgroup_devices"]


def test_a_processor_that_is_not_there_is_one_line(tmp_path):
    """By the command: exit code 125, and nothing has run."""
    command = [
        sys.executable,
        "-m",
        "edgesandbox",
        "run",
        "--gpu",
        "GPU-none",
        "--",
        "/bin/touch",
        str(tmp_path / "ran"),
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert 125 == done.returncode
    assert 1 == done.stderr.count("\n")
    assert "setup_failed (no GPU GPU-none on this host; found: " in done.stderr
