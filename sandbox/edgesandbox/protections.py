"""The names of the protections, as reports and ``edgesandbox check`` spell them.

Pure.  A name enters ``Report.enforced`` only when the step behind it has succeeded for that very job; whatever is
missing is in ``Report.not_enforced`` with the reason.
"""

from __future__ import annotations

# Steps without which a sandbox is not built at all.
ALWAYS = (
    "user_namespace",
    "mount_namespace",
    "pid_namespace",
    "ipc_namespace",
    "uts_namespace",
    "cgroup_namespace",
    "private_root",
    "device_pinning",
    "tmp_cap",
    "rlimit_core",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_fsize",
    "rlimit_nofile",
    "rlimit_nproc",
    "capabilities_dropped",
    "capabilities_unobtainable",
    "no_new_privileges",
    "cpu_watchdog",
    "output_limit",
    "wall_timeout",
)

# The others, each with what it means to be without it.
MISSING = {
    "cgroup_memory": "a watchdog adds up the memory of a job's processes instead, the sooner the less is left; "
    "what the kernel holds for them, such as socket buffers, is not counted",
    "cgroup_cpu": "a watchdog adds up the processor time of a job's processes instead; "
    "children whose parent disowns them (SIGCHLD ignored) are missed when they end between two looks",
    "cgroup_pids": "the resource limit in a user namespace of the job's own caps its processes instead",
    "cgroup_devices": "what keeps devices away is that the job's file tree has five harmless ones and "
    "those granted to it, no others",
    "network_namespace": "the caller asked for the host's network: jobs reach whatever this machine reaches, its own "
    "services on 127.0.0.1 too, and see its connections; sockets with abstract names are out of reach only where "
    "Landlock has version 6",
    "scratch_cap": "the scratch is a directory on disk; a watchdog adds up what the job has there four times a second, "
    "and ends it when that is too much or the file system runs short: it may be over by what it writes between looks",
    "separate_user_id": "all jobs run as the user who started the sandbox, so that only namespaces and Landlock keep "
    "them apart",
    "nested_namespaces_denied": "jobs may make user namespaces of their own",
    "separate_file_locks": "jobs at work at the same time can see each other's locks (flock, fcntl) on files of the "
    "host that both may read",
    "seccomp": "there is no table of system calls for this machine's instruction set",
    "landlock": "this kernel has no Landlock of version 2 or later (it needs Linux 5.19 and landlock in the lsm= list)",
}
LEFT_OUT = "left out, as the job's spec says"

# Only where the caller limits how many processors all jobs use together (``cores``), and what it means to be without.
CORES = {
    "cores_quota": "jobs are kept to some of the processors instead, whole ones (cores_affinity)",
    "cores_affinity": "without a system call filter, jobs may leave the processors that they start on",
}

# Given by control groups, and those of them that tier A stands for.
CGROUPS = ("cgroup_memory", "cgroup_pids", "cgroup_cpu", "cgroup_devices")
_TIER_A = frozenset(CGROUPS[:3])

# What a spec may leave out: for proofs that the protection is what stops an attack.
OPTIONAL = ("cgroup_cpu", "cgroup_memory", "cgroup_pids", "landlock", "nested_namespaces_denied", "seccomp")

# Of the above, what tier C has as well, and what it has instead of the others.
_WITHOUT_NAMESPACES = (
    *("rlimit_core", "rlimit_cpu", "rlimit_data", "rlimit_fsize", "rlimit_nofile"),
    *("capabilities_dropped", "no_new_privileges", "cpu_watchdog", "output_limit", "wall_timeout"),
    *("seccomp", "landlock", "nested_namespaces_denied", "memory_watchdog"),
    *("sockets_denied", "process_group_kept", "process_watchdog", "disk_watchdog"),
)
_NO_NAMESPACE = {
    "user_namespace": "the job has an id of the host's, without any privilege",
    "mount_namespace": "the host's files are in their places; Landlock lets jobs open those they need and no others, "
    "but does not hide which there are",
    "pid_namespace": "jobs see which processes run and their command lines, but can neither look into nor signal them",
    "network_namespace": "the system call filter denies sockets of every family instead",
    "ipc_namespace": "the system call filter denies message queues, semaphores and shared memory instead",
    "cgroup_namespace": "jobs see which control group they are in",
    "uts_namespace": "jobs see the host's name",
    "private_root": "see mount_namespace",
    "device_pinning": "Landlock lets jobs open five harmless devices, and none can be granted",
    "scratch_cap": "a watchdog adds up the job's files instead; those that were removed while open are missed",
    "tmp_cap": "as scratch_cap",
    "capabilities_unobtainable": "only root can empty the bounding set; no_new_privileges keeps what is in it away",
    "rlimit_nproc": "a watchdog counts the job's processes instead; up to as many more as the machine has can be there "
    "between two looks",
}
NO_NAMESPACES = "no namespaces here"
_NO_GROUPS = {
    "cgroup_pids": "as rlimit_nproc",
    "cgroup_devices": "Landlock lets jobs open five harmless devices and no others",
}


def without_namespaces(*, separate_ids: bool, cores: bool = False) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return which protections a job of tier C has, and why not the others; ``cores``: those are limited."""
    have = [
        *_WITHOUT_NAMESPACES,
        *(("separate_user_id", "rlimit_nproc", "capabilities_unobtainable") if separate_ids else ()),
        *(("cores_affinity",) if cores else ()),
    ]
    missing = {**MISSING, **{name: f"{NO_NAMESPACES}: {why}" for name, why in _NO_NAMESPACE.items()}, **_NO_GROUPS}
    if cores:
        missing["cores_quota"] = f"{NO_NAMESPACES}: {CORES['cores_quota']}"
    return tuple(have), {name: why for name, why in missing.items() if name not in have}


def tier(enforced: tuple[str, ...]) -> str:
    """Return the tier of a sandbox with these protections."""
    if "mount_namespace" not in enforced:
        return "C"
    return "A" if set(enforced) >= _TIER_A else "B"
