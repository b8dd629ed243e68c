"""Drivers that are not there: the files that NVIDIA's and AMD's show, in a directory, and nodes with nothing behind.

Two whole processors of NVIDIA, the second one partitioned, and one of AMD.  Their device numbers are the real ones.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

FIRST, SECOND = "GPU-11111111-aaaa-bbbb-cccc-000000000001", "GPU-22222222-aaaa-bbbb-cccc-000000000002"
AMD = "GPU-83e2bd5f1c1d9d2b"
BUS = {FIRST: "0000:07:00.0", SECOND: "0000:0a:00.0"}
_INFORMATION = """\
Model: \t\t NVIDIA A100-SXM4-40GB
IRQ:   \t\t 187
GPU UUID: \t {uuid}
Video BIOS: \t 92.00.45.00.03
Bus Type: \t PCIe
Bus Location: \t {address}
Device Minor: \t {minor}
GPU Excluded:\t No
"""
# What mig-minors says: one GPU instance with two compute instances, and another one with one.
MIG_MINORS = """\
config 1
monitor 2
gpu1/gi1/access 12
gpu1/gi1/ci0/access 13
gpu1/gi1/ci1/access 14
gpu1/gi2/access 21
gpu1/gi2/ci0/access 22
"""
# /dev/nvidia* have major 195; the other majors are whatever the kernel had free.
NODES = {
    "nvidia0": (195, 0),
    "nvidia1": (195, 1),
    "nvidiactl": (195, 255),
    "nvidia-uvm": (508, 0),
    "nvidia-uvm-tools": (508, 1),
    **{f"nvidia-caps/nvidia-cap{minor}": (238, minor) for minor in (1, 2, 12, 13, 14, 21, 22)},
    "dri/renderD128": (226, 128),
    "kfd": (234, 0),
}


def show(top: Path) -> None:
    """Write what the drivers show below /proc and /sys, with empty files for nodes."""
    for minor, (uuid, address) in enumerate(BUS.items()):
        real = top / "sys/devices/pci0000:00" / address
        _write(real / "vendor", "0x10de\n")
        on_bus = top / "sys/bus/pci/devices" / address
        on_bus.parent.mkdir(parents=True, exist_ok=True)
        on_bus.symlink_to(f"../../../devices/pci0000:00/{address}")
        text = _INFORMATION.format(uuid=uuid, address=address, minor=minor)
        _write(top / "proc/driver/nvidia/gpus" / address / "information", text)
    _write(top / "proc/driver/nvidia-caps/mig-minors", MIG_MINORS)
    _write(top / "sys/module/nvidia/initstate", "live\n")
    _write(top / "sys/devices/system/node/online", "0\n")
    amd = top / "sys/devices/pci0000:00/0000:c3:00.0"
    _write(amd / "vendor", "0x1002\n")
    _write(amd / "unique_id", AMD.removeprefix("GPU-") + "\n")
    card = top / "sys/class/drm/renderD128"
    card.mkdir(parents=True)
    (card / "device").symlink_to("../../../devices/pci0000:00/0000:c3:00.0")
    for name in NODES:
        _write(top / "dev" / name, "")


def make_nodes(top: Path) -> None:
    """Put device nodes that everybody may open in place of the files; for root."""
    for name, number in NODES.items():
        path = top / "dev" / name
        path.unlink()
        os.mknod(path, stat.S_IFCHR, os.makedev(*number))
        path.chmod(0o666)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
