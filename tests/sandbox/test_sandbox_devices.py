"""Devices that a job was not given cannot be opened, even where their nodes exist."""

from __future__ import annotations

import errno
import os
import stat

import pytest
from test_sandbox_cgroups import in_group, keeper  # noqa: F401 - a fixture

from edgesandbox import Limits

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
