"""Devices that a job was not given cannot be opened, even where their nodes exist."""

from __future__ import annotations

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_sandbox_cgroups import in_group, keeper  # noqa: F401 - a fixture

from edgesandbox import Limits, cgroupfs, devicefilter, linux
from edgesandbox.mounts import mounts

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make device nodes")

# Of NVIDIA's driver: the first GPU, its control device, and unified memory.
FAKE = {"nvidia0": (195, 0), "nvidiactl": (195, 255), "nvidia-uvm": (508, 0)}
OPEN = """
import json, os, sys
def attempt(path):
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as problem:
        return problem.errno
    return 0
print(json.dumps([attempt(path) for path in sys.argv[1:]]))
"""


@pytest.fixture
def nodes(tmp_path):
    """Nodes of devices that are not there."""
    paths = []
    for name, number in FAKE.items():
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(*number))
        paths.append(str(tmp_path / name))
    return paths


def test_the_group_refuses_every_other_device(keeper, nodes):  # noqa: F811
    """EPERM by the group; without it the kernel looks for a driver, and there is none."""
    if "cgroup_devices" not in keeper.protections:
        pytest.skip(f"only root: {keeper.missing['cgroup_devices']}")
    for path in nodes:
        with pytest.raises(OSError, match="No such device"):
            os.open(path, os.O_RDWR)

    assert [errno.EPERM] * len(nodes) == in_group(keeper, Limits(), OPEN, *nodes)


def test_the_devices_of_every_job_are_allowed(keeper):  # noqa: F811
    """The five that its tree has."""
    devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]

    assert [0] * len(devices) == in_group(keeper, Limits(), OPEN, *devices)


@pytest.fixture
def group2() -> Iterator[Path]:
    """A group of version 2, which may be without any controller."""
    found = mounts(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())
    point = next((each.point for each in found if each.kind == "cgroup2"), None)
    if point is None:
        pytest.skip("no cgroup2 file system is mounted")
    directory = cgroupfs.Directory(Path(point))
    path = directory.path / "1"
    path.mkdir()
    yield path
    directory.close()


def test_the_device_program_refuses_what_is_not_listed(group2, nodes):
    """On version 2 a program decides; a process in the group next to it opens what it likes."""
    devices = ["/dev/null", "/dev/urandom"]
    program, group = devicefilter.load(cgroupfs.DEVICES), os.open(group2, os.O_RDONLY)
    devicefilter.attach(program, group)
    os.close(program)
    os.close(group)

    def opened() -> object:
        join = f"open({str(group2 / 'cgroup.procs')!r}, 'w').write('0')\n"
        command = [sys.executable, "-c", join + OPEN, *nodes, *devices]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    held = opened()
    group2 = group2.parent / "2"
    group2.mkdir()

    assert [errno.EPERM] * len(nodes) + [0] * len(devices) == held
    assert [errno.ENXIO] * len(nodes) + [0] * len(devices) == opened()


def test_the_device_program_lets_nobody_make_devices(group2, tmp_path):
    """Not even the harmless ones."""
    program, group = devicefilter.load(cgroupfs.DEVICES), os.open(group2, os.O_RDONLY)
    devicefilter.attach(program, group)
    os.close(program)
    os.close(group)
    join = f"open({str(group2 / 'cgroup.procs')!r}, 'w').write('0')\n"
    make = f"import os; os.mknod({str(tmp_path / 'null')!r}, 0o20666, os.makedev(1, 3))"

    held = subprocess.run([sys.executable, "-c", join + make], capture_output=True, text=True, check=False)

    assert "PermissionError" in held.stderr
    subprocess.run([sys.executable, "-c", make], check=True)


def test_a_process_is_born_in_its_group_and_dies_with_it(group2):
    """Clone into the group, then remove that: who is in there is killed."""
    directory = os.open(group2, os.O_PATH | os.O_DIRECTORY)
    pid = linux.clone(0, directory)
    if pid == 0:
        signal.pause()
    os.close(directory)
    assert str(pid) == (group2 / "cgroup.procs").read_text().strip()

    reaper = threading.Thread(target=os.waitpid, args=(pid, 0))
    reaper.start()
    cgroupfs.remove(group2)
    reaper.join(10)

    assert not reaper.is_alive()
    assert not group2.exists()
