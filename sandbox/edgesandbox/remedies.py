"""What the administrator would type to get a protection that a host does not give.

``edgesandbox check`` prints it below each one that is missing.  What a host is like is read from the kernel
(``look``); which line follows from that is pure (``remedy``).
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from edgesandbox import linux, protections
from edgesandbox.diagnose import CONTAINER_MARKS, namespaces
from edgesandbox.landlock import disabled

#: Starts a line that can be typed, and one that explains why there is none.
TYPE, NOTHING = "type: ", "nothing to type: "

_AS_ROOT = "sudo edgesandbox check (a service: as root, or with systemd's Delegate=yes)"
_DELEGATED = "systemd-run --user --scope --property=Delegate=yes edgesandbox check (a service: Delegate=yes)"
_MOUNT = "sudo mount -t cgroup2 none /sys/fs/cgroup"
_MEMORY = "add cgroup_enable=memory to the kernel's command line and restart the machine"
_OLD_KERNEL = "Landlock of version 2 comes with Linux 5.19 (CONFIG_SECURITY_LANDLOCK=y): sudo apt full-upgrade"
_ON_DEBIAN = "(Debian: in GRUB_CMDLINE_LINUX of /etc/default/grub, then sudo update-grub)"
#: Where it does not depend on the host.
_ALWAYS = {
    "network_namespace": TYPE + "edgesandbox run --net none",
    "scratch_cap": TYPE + "edgesandbox run without --scratch-dir",
    "nested_namespaces_denied": NOTHING + "whoever wrote the spec has left it out",
    "separate_user_id": TYPE + "sudo edgesandbox check (a service: as root)",
    "separate_file_locks": NOTHING + "no setting keeps locks apart; give each job a copy of such a file",
    "seccomp": NOTHING + "jobs can be filtered on x86-64 and aarch64 only",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Host:
    """What of a host decides the remedies.

    Attributes:
        root: whether this is root, with root's capabilities.
        container: whether this runs in a container.
        systemd: whether systemd runs the host, and can delegate control groups of version 2.
        groups: whether any hierarchy of control groups is mounted.
        memory_off: the memory controller is in the kernel and has been switched off.
        lsm: the security modules that the kernel has switched on, joined by commas; empty where it does not say.
        landlock_off: Landlock is in the kernel and has been switched off.
        namespaces: how to be given namespaces, as ``diagnose.namespaces`` says it.
    """

    root: bool
    container: bool
    systemd: bool
    groups: bool
    memory_off: bool
    lsm: str
    landlock_off: bool
    namespaces: str


def look(root: Path = Path("/")) -> Host:
    """Read what this host is like.

    Args:
        root: of the tree in which the kernel's files are read.
    """
    rows = [line.split() for line in _text(root / "proc/cgroups").splitlines()]
    kinds = {line.split(" - ", 1)[1].split()[0] for line in _text(root / "proc/self/mountinfo").splitlines()}
    return Host(
        root=os.geteuid() == 0 and linux.has_capabilities((linux.CAP_SYS_ADMIN,)),
        container=any((root / mark.lstrip("/")).exists() for mark in CONTAINER_MARKS),
        systemd=(root / "run/systemd/system").is_dir() and (root / "sys/fs/cgroup/cgroup.controllers").exists(),
        groups=bool(kinds & {"cgroup", "cgroup2"}),
        memory_off=["memory", "0"] in [[row[0], row[-1]] for row in rows if row],
        lsm=_text(root / "sys/kernel/security/lsm").strip(),
        landlock_off=disabled(),
        namespaces=namespaces(root),
    )


def remedy(name: str, reason: str, host: Host) -> str:
    """Return what to type to be given a protection, or why there is nothing to type.

    Args:
        name: of the protection.
        reason: why it is missing, as a report says; a command that it names goes before any other.
        host: what the host is like.
    """
    _, marked, command = reason.partition(TYPE)
    if marked:
        return TYPE + command.partition("; ")[0]
    if reason.startswith(protections.NO_NAMESPACES):
        return host.namespaces if TYPE in host.namespaces else NOTHING + host.namespaces
    if name == "landlock":
        return _landlock(host)
    return _ALWAYS.get(name) or _groups(name, host)


def _landlock(host: Host) -> str:
    if not host.landlock_off:
        return NOTHING + _OLD_KERNEL
    modules = ",".join(["landlock", *filter(None, host.lsm.split(","))])
    return f"{TYPE}sudo grubby --update-kernel=ALL --args=lsm={modules} {_ON_DEBIAN}, and restart the machine"


def _groups(name: str, host: Host) -> str:
    if host.memory_off and name == "cgroup_memory":
        return TYPE + _MEMORY
    if host.container:
        return NOTHING + "a container has no control groups that it may divide; start the sandbox on the host itself"
    if not host.root:
        devices = name == "cgroup_devices"  # only root's programs may say which devices a group has
        return TYPE + (_DELEGATED if host.systemd and not devices else _AS_ROOT)
    if not host.groups:
        return TYPE + _MOUNT
    return NOTHING + "this kernel has no such controller; use one that is built with it, such as a distribution's own"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
