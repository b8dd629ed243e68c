"""What a spec comes to on this host: worked out by the zygote once, used by every job that has the same spec.

Everything that a job's processes take from themselves between the fork and the stranger's code is here, as system calls
in the order in which they are made.
"""

from __future__ import annotations

import dataclasses

from edgesandbox import confine, landlock, linux, passing, protections, report, root, seccomp
from edgesandbox.calls import Calls
from edgesandbox.features import Features
from edgesandbox.identity import JOB_ID
from edgesandbox.spec import Limits, Spec

# Different limits that are remembered; each takes a few KiB.
MOST_KNOWN = 32


@dataclasses.dataclass(frozen=True)
class Prepared:
    """One spec, made ready.

    Attributes:
        spec: what was asked for.
        settle: gives the supervisor its user id.
        mounts: the job's own file systems.
        harden: takes from the supervisor what neither it nor the job needs; ends with the system call filter.
        supervise: leaves the supervisor what it needs to watch the job.
        confine: what the job's process takes from itself.
        wall: the Landlock rules; None where there are none.
        account: what holds the job in, as its report says it.
    """

    spec: Spec
    settle: Calls
    mounts: Calls
    harden: Calls
    supervise: Calls
    confine: Calls
    wall: landlock.Wall | None
    account: bytes


def prepare(spec: Spec, features: Features) -> Prepared:
    """Lay out what a job with this spec takes.

    Raises:
        ValueError: it asks for file systems in memory that this machine has no memory for, or for inputs of nowhere.
    """
    _check_memory(spec.limits, features)
    if spec.inputs is not None and not features.shelved:
        raise ValueError("there is no shelf to give inputs from: start the zygote with one")
    enforced, not_enforced = features.account(spec.without)
    return Prepared(
        spec=spec,
        settle=_settle(features),
        mounts=root.private_mounts(spec.limits, on_disk=features.on_disk, shelved=features.shelved),
        harden=_harden(features, enforced),
        supervise=confine.keep_to_supervise(on_disk=features.on_disk),
        confine=confine.prepare(spec.limits),
        wall=landlock.Wall(features.landlock, features.writable) if "landlock" in enforced else None,
        account=report.encode_account(protections.tier(enforced), enforced, not_enforced),
    )


def _check_memory(limits: Limits, features: Features) -> None:
    in_memory = {"/tmp": limits.tmp_bytes} | ({} if features.on_disk else {"/scratch": limits.scratch_bytes})
    for path, size_bytes in in_memory.items():
        if size_bytes > features.machine_bytes:
            raise ValueError(
                f"{path} of {size_bytes >> 20} MiB is kept in memory, of which this machine has "
                f"{features.machine_bytes >> 20} MiB: ask for less, or, for /scratch, a directory on disk "
                "(--scratch-dir; in Python, scratch_directory)"
            )


def _settle(features: Features) -> Calls:
    calls = Calls()
    # The control group that was joined is then the top of what the job sees.
    calls.add("unshare", linux.CLONE_NEWCGROUP, what="unshare the cgroup namespace")
    if features.separate_ids:
        calls.add("setgroups", 0, None)
    calls.add("setresgid", JOB_ID, JOB_ID, JOB_ID)
    calls.add("setresuid", JOB_ID, JOB_ID, JOB_ID)
    confine.add_dumpable(calls, dumpable=True)  # else the kernel's files in /proc belong to somebody else
    return calls


def _harden(features: Features, enforced: tuple[str, ...]) -> Calls:
    calls = Calls()
    confine.add_dumpable(calls, dumpable=False)
    confine.add_bounding_drops(calls)
    confine.add_no_new_privileges(calls)
    if "seccomp" in enforced:
        seccomp.add(calls, features.counted_filter if "cgroup_memory" in enforced else features.filter)
    return calls


class Preparer:
    """Prepares each spec once, and knows it by the bytes that it came in."""

    def __init__(self, features: Features) -> None:
        """Prepare for what this host can enforce."""
        self._features = features
        self._known: dict[bytes, Prepared] = {}

    def prepare(self, request: bytes) -> Prepared:
        """Return what the spec in ``request`` takes.

        Raises:
            ValueError: it is no spec, or one that this host has no room for.
        """
        if request not in self._known:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[request] = prepare(Spec.from_json(passing.decode(request)), self._features)
        return self._known[request]
