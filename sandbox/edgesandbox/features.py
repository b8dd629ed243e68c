"""What this kernel offers beyond namespaces, found out once by the zygote, by asking the kernel itself."""

from __future__ import annotations

import dataclasses
import os

from edgesandbox import cores, landlock, protections, seccomp

# Landlock's first version forbids to rename a file from one directory to another, which programs do not expect.
_LANDLOCK_USABLE = 2


@dataclasses.dataclass(frozen=True)
class Features:
    """What every job of this zygote can be given.

    Attributes:
        filter: the seccomp program; empty where there is none for this machine.
        counted_filter: the same for jobs whose memory a control group counts.
        landlock: the ABI version; 0 where there is none, or none that is usable.
        separate_ids: whether each job has a kernel user id of its own.
        cgroups: protections that control groups give.
        reasons: why the host does not give others, as the launcher has found out.
        host_network: jobs are in the host's network namespace, as the caller wants.
        writable: paths that jobs may write to besides /scratch and /tmp.
        on_disk: /scratch is a directory on disk.
        shelved: there is a shelf of inputs.
        limited_cores: how many processors jobs use together is limited, by a control group or else by which.
        machine_bytes: the memory of the whole machine.
    """

    filter: bytes
    counted_filter: bytes
    landlock: int
    separate_ids: bool
    cgroups: tuple[str, ...] = ()
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)
    host_network: bool = False
    writable: tuple[str, ...] = ()
    on_disk: bool = False
    shelved: bool = False
    limited_cores: bool = False
    machine_bytes: int = 1 << 62

    def account(self, without: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
        """Return which protections a job has when those in ``without`` are left out, and why not the others."""
        optional = {
            "scratch_cap": not self.on_disk,
            "network_namespace": not self.host_network,
            "separate_user_id": self.separate_ids,
            "nested_namespaces_denied": True,
            "seccomp": bool(self.filter),
            "landlock": bool(self.landlock),
            **{name: name in self.cgroups for name in protections.CGROUPS},
        }
        have = {name for name, there in optional.items() if there and name not in without}
        if "cgroup_memory" not in have:
            optional["memory_watchdog"] = True
            have.add("memory_watchdog")
        if self.on_disk:
            optional["disk_watchdog"] = True
            have.add("disk_watchdog")
        missing = dict(protections.MISSING)
        if self.limited_cores and cores.QUOTA in self.cgroups:
            optional[cores.QUOTA] = True
            have.add(cores.QUOTA)
        elif self.limited_cores:
            missing |= protections.CORES
            optional[cores.AFFINITY] = True
            have |= {cores.AFFINITY} if "seccomp" in have else set()
        missing |= {name: f"{why}; {missing[name]}" for name, why in self.reasons.items()}
        missing |= dict.fromkeys(without, protections.LEFT_OUT)
        enforced = (*protections.ALWAYS, *(name for name in optional if name in have))
        return enforced, {name: why for name, why in missing.items() if name not in have}


def detect(
    *,
    separate_ids: bool,
    cgroups: tuple[str, ...],
    reasons: dict[str, str],
    host_network: bool = False,
    writable: tuple[str, ...] = (),
    on_disk: bool = False,
    shelved: bool = False,
    limited_cores: bool = False,
) -> Features:
    """Ask the kernel; the groups are what the launcher has found out, the others what the caller wants."""
    try:
        kept = limited_cores and cores.QUOTA not in cgroups
        codes = [seccomp.program(count_memory=counted, keep_affinity=kept) for counted in (False, True)]
    except KeyError:
        codes = [b"", b""]
    version = landlock.abi()
    return Features(
        filter=codes[0],
        counted_filter=codes[1],
        landlock=version if version >= _LANDLOCK_USABLE else 0,
        separate_ids=separate_ids,
        cgroups=cgroups,
        reasons=reasons,
        host_network=host_network,
        writable=writable,
        on_disk=on_disk,
        shelved=shelved,
        limited_cores=limited_cores,
        machine_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )
