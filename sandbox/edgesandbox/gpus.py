"""Graphics processors: which this host has, and the grant that gives one job exactly some of them.

What is there is read from what the drivers write below /proc and /sys; no library of a vendor is needed.  A grant is
the boundary: device nodes that are not in it do not exist for the job.  The variables beside it only tell programs
which processor to take, and by an id that means the same inside as outside, which an index does not.

Sources: NVIDIA's driver README ("The NVIDIA driver's /proc interface") and its guide to multi-instance GPUs ("Device
nodes and capabilities"); Linux's Documentation/gpu/drm-uapi.rst (render nodes) and drivers/gpu/drm/amd/amdkfd.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgesandbox.errors import SetupFailed
from edgesandbox.grant import Grant

# For a job without a processor: programs that look for one are told that there is none, before they try.
HIDDEN = {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void", "ROCR_VISIBLE_DEVICES": ""}
# Parts of /sys that the vendors' libraries look into; without the first ones cuInit fails with error 304.
_SHOWN = {
    "NVIDIA": ("/sys/module/nvidia", "/sys/module/nvidia_uvm"),
    "AMD": ("/sys/class/kfd/kfd/topology", "/sys/module/amdgpu"),
}
_SHOWN_ALL = ("/sys/devices/system/cpu", "/sys/devices/system/node")
_VARIABLES = {"NVIDIA": ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"), "AMD": ("ROCR_VISIBLE_DEVICES",)}
_VENDORS = {"0x1002": "AMD", "0x8086": "Intel"}
_INSTANCE = re.compile(r"(?:MIG-)?(?P<gpu>[^/]+)/(?P<gi>\d+)/(?P<ci>\d+)")


class NoSuchGpu(SetupFailed):
    """The processor asked for is not here; one line that says which ones are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """One processor, or one instance of a partitioned one.

    Attributes:
        uuid: what it is called in visible-device variables, and everywhere else.
        vendor: ``NVIDIA``, ``AMD`` or ``Intel``.
        nodes: its device nodes, those shared by all processors of its driver included.
        minor: NVIDIA's number of the processor, which its instances are found by; -1 for others.
        pci: its address on the bus, such as ``0000:07:00.0``.
    """

    uuid: str
    vendor: str
    nodes: tuple[str, ...]
    minor: int = -1
    pci: str = ""


@dataclasses.dataclass(frozen=True)
class Host:
    """Where drivers show what is there; other roots than ``/`` are for tests."""

    top: Path = Path("/")

    def at(self, path: str) -> Path:
        """Return where a path of the host's lies."""
        return self.top / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Say whether a path of the host's is there."""
        return self.at(path).exists()


HOST = Host()


def find(host: Host = HOST) -> tuple[Gpu, ...]:
    """Return the processors of this host, in the order of their indices: NVIDIA's by bus address, then render nodes."""
    return (*_nvidia(host), *_render(host))


def _nvidia(host: Host) -> Iterator[Gpu]:
    for directory in sorted(host.at("/proc/driver/nvidia/gpus").glob("*")):
        facts = _facts(directory / "information")
        minor, uuid = facts.get("Device Minor", ""), facts.get("GPU UUID", "")
        if minor.isdigit():
            # The driver writes question marks until somebody has used the processor.
            name = uuid if re.fullmatch(r"GPU-[0-9a-f-]+", uuid) else f"nvidia{minor}"
            nodes = (f"/dev/nvidia{minor}", *_nvidia_common(host))
            yield Gpu(uuid=name, vendor="NVIDIA", nodes=nodes, minor=int(minor), pci=directory.name)


def _nvidia_common(host: Host) -> tuple[str, ...]:
    """Return the nodes that every program needs: CUDA from driver 570 on opens the tools' one, too, where it is."""
    tools = ("/dev/nvidia-uvm-tools",) if host.exists("/dev/nvidia-uvm-tools") else ()
    return ("/dev/nvidiactl", "/dev/nvidia-uvm", *tools)


def _facts(path: Path) -> dict[str, str]:
    """Read lines of a name, a colon and a value."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _render(host: Host) -> Iterator[Gpu]:
    for directory in sorted(host.at("/sys/class/drm").glob("renderD*")):
        vendor = _VENDORS.get(_line(directory / "device/vendor"))
        if vendor is not None:
            serial = _line(directory / "device/unique_id")
            amd = vendor == "AMD"
            yield Gpu(
                uuid=f"GPU-{serial}" if amd and serial else directory.name,
                vendor=vendor,
                nodes=(f"/dev/dri/{directory.name}", *(("/dev/kfd",) if amd and host.exists("/dev/kfd") else ())),
                pci=(directory / "device").resolve().name,
            )


def _line(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def choose(names: Sequence[str], host: Host = HOST) -> tuple[Gpu, ...]:
    """Return the processors that somebody named: by UUID, by index, or as ``GPU/gi/ci`` an instance of a GPU.

    Raises:
        NoSuchGpu: one of them is not here, or two of the names are the same one.
    """
    there = find(host)
    chosen = tuple(_one(name, there, host) for name in names)
    for name, gpu in zip(names, chosen, strict=True):
        if [each.uuid for each in chosen].count(gpu.uuid) > 1:
            raise NoSuchGpu(f"GPU {name} is asked for twice")
    return chosen


def _one(name: str, there: Sequence[Gpu], host: Host) -> Gpu:
    if parts := _INSTANCE.fullmatch(name):
        whole = _one(parts["gpu"], there, host)
        return instance(whole, int(parts["gi"]), int(parts["ci"]), host=host)
    for index, gpu in enumerate(there):
        if name in (gpu.uuid, str(index)):
            return gpu
    found = ", ".join(f"{index} {gpu.uuid}" for index, gpu in enumerate(there)) or "none"
    raise NoSuchGpu(f"no GPU {name} on this host; found: {found}")


def instance(gpu: Gpu, gi: int, ci: int, uuid: str | None = None, *, host: Host = HOST) -> Gpu:
    """Return compute instance ``ci`` of GPU instance ``gi``, for NVIDIA's multi-instance GPUs.

    What tells it from its neighbours are two capability nodes; the processor's own node is the same for all.

    Args:
        gpu: the whole processor.
        gi: number of the GPU instance, as ``nvidia-smi mig -lgi`` shows it.
        ci: number of the compute instance in it.
        uuid: ``MIG-...``, where that is known (it is in NVML only); else the name that older drivers use.
        host: where to look.

    Raises:
        NoSuchGpu: there is no such instance.
    """
    minors = _mig_minors(host)
    wanted = (f"gpu{gpu.minor}/gi{gi}/access", f"gpu{gpu.minor}/gi{gi}/ci{ci}/access")
    try:
        caps = tuple(f"/dev/nvidia-caps/nvidia-cap{minors[each]}" for each in wanted)
    except KeyError as missing:
        raise NoSuchGpu(f"GPU {gpu.uuid} has no instance {gi}/{ci}: {missing} is not in mig-minors") from None
    return dataclasses.replace(gpu, uuid=uuid or f"MIG-{gpu.uuid}/{gi}/{ci}", nodes=(*gpu.nodes, *caps))


def _mig_minors(host: Host) -> dict[str, int]:
    """Read lines of a capability and the minor number of its node."""
    lines = _line(host.at("/proc/driver/nvidia-caps/mig-minors")).splitlines()
    pairs = (line.rpartition(" ") for line in lines)
    return {name: int(minor) for name, _, minor in pairs if minor.isdigit()}


def grant(gpus: Iterable[Gpu], host: Host = HOST) -> Grant:
    """Return what a job needs for these processors, and nothing that another one needs."""
    chosen = tuple(gpus)
    shown, links = _shown(chosen, host)
    nodes = dict.fromkeys(node for gpu in chosen for node in gpu.nodes)
    return Grant(
        devices=tuple((each, str(host.at(each))) for each in nodes),
        shown=tuple((each, str(host.at(each))) for each in shown),
        links=links,
        env=tuple(_variables(chosen)),
    )


def _variables(chosen: Sequence[Gpu]) -> Iterator[tuple[str, str]]:
    for vendor, variables in _VARIABLES.items():
        uuids = [gpu.uuid for gpu in chosen if gpu.vendor == vendor]
        # A node's name is no id to the vendor's library; but then it counts what it sees, which is the job's alone.
        known = all(each.startswith(("GPU-", "MIG-")) for each in uuids)
        names = uuids if known else [str(index) for index in range(len(uuids))]
        if names:
            yield from ((variable, ",".join(names)) for variable in variables)


def _shown(chosen: Sequence[Gpu], host: Host) -> tuple[list[str], tuple[tuple[str, str], ...]]:
    """Return directories below /sys, and links to those that are looked for on the bus."""
    wanted = dict.fromkeys(each for gpu in chosen for each in (*_SHOWN.get(gpu.vendor, ()), *_SHOWN_ALL))
    shown = [each for each in wanted if host.exists(each)]
    links: dict[str, str] = {}
    for gpu in chosen:
        on_bus = f"/sys/bus/pci/devices/{gpu.pci}"
        if gpu.pci and host.exists(on_bus):
            links[on_bus] = "/" + str(host.at(on_bus).resolve().relative_to(host.top.resolve()))
    return [*shown, *dict.fromkeys(links.values())], tuple(links.items())
