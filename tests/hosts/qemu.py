"""A virtual machine with Debian's cloud kernel and nothing but cgroup v2, emulated in software.

Emulated, so that it runs where there is no usable /dev/kvm (``accel="kvm"`` where there is one).  It has one processor:
two that are emulated on a busy host wait for each other, and one such guest was seen to stand still at its start.
Whoever needs two at work turns on two machines.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "mke2fs": "e2fsprogs"}
TCG = "tcg,thread=single"
#: Without watchdogs of the kernel's own, and its checks of timers against each other: what looks like a fault of the
#: machine's clock is this host being busy.
KERNEL = (
    "console=ttyS0 root=/dev/vda rw quiet panic=-1 cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 "
    "net.ifnames=0 mitigations=off nowatchdog no_timer_check tsc=nowatchdog"
)
#: Seconds for a first word on the busiest host; one that has said nothing by then is turned off, and on again.
BOOT_S = 300.0
BOOTS = 3


def command(
    tree: Path, disks: Iterable[Path], *words: str, accel: str = TCG, memory: str = "2G", network: bool = False
) -> list[str]:
    """Return the command line that turns a machine on; its serial console is what that prints.

    Args:
        tree: the Debian tree whose kernel it gets.
        disks: of which it sees throw-away copies; the first is its root.
        words: more of the kernel's command line.
        accel: qemu's -accel.
        memory: of which it takes from this machine what it uses.
        network: whether it reaches this machine's loopback, at 10.0.2.2.
    """
    kernel, initrd = (next((tree / "boot").glob(name)) for name in ("vmlinuz-*", "initrd.img-*"))
    # Emulated, the C library's routines for the newest vector units are slower than the plain ones.
    processor = "host" if accel.startswith("kvm") else "Nehalem"
    line = ["qemu-system-x86_64", "-accel", accel, "-cpu", processor, "-smp", "1", "-m", memory]
    line += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]
    line += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", " ".join((KERNEL, *words))]
    for image in disks:
        line += ["-drive", f"file={image},if=virtio,format=raw,snapshot=on"]
    if network:
        line += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"]
    return line
