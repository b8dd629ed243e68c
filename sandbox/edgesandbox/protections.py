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
    "scratch_cap",
    "tmp_cap",
    "rlimit_core",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_fsize",
    "rlimit_nofile",
    "rlimit_nproc",
    "capabilities_dropped",
    "no_new_privileges",
    "cpu_watchdog",
    "output_limit",
    "wall_timeout",
)

# The others, each with what it means to be without it.
MISSING = {
    "cgroup_memory": "a watchdog adds up the memory of a job's processes four times a second instead; "
    "what the kernel holds for them, such as socket buffers, is not counted",
    "cgroup_cpu": "a watchdog adds up the processor time of a job's processes instead; "
    "children whose parent disowns them (SIGCHLD ignored) are missed when they end between two looks",
    "cgroup_pids": "the resource limit in a user namespace of the job's own caps its processes instead",
    "cgroup_devices": "what keeps devices away is that the job's file tree has five harmless ones and "
    "those granted to it, no others",
    "network_namespace": "the caller asked for the host's network: jobs reach whatever this machine reaches, its own "
    "services on 127.0.0.1 too, and see its connections; sockets with abstract names are out of reach only where "
    "Landlock has version 6",
    "separate_user_id": "all jobs run as the user who started the sandbox; started by root, each gets an id of its own",
    "nested_namespaces_denied": "jobs may make user namespaces of their own",
    "separate_file_locks": "jobs at work at the same time can see each other's locks (flock, fcntl) on files of the "
    "host that both may read",
    "seccomp": "there is no table of system calls for this machine's instruction set",
    "landlock": "this kernel has no Landlock of version 2 or later (it needs Linux 5.19 and landlock in the lsm= list)",
}
LEFT_OUT = "left out, as the job's spec says"

# Given by control groups, and those of them that tier A stands for.
CGROUPS = ("cgroup_memory", "cgroup_pids", "cgroup_cpu", "cgroup_devices")
_TIER_A = frozenset(CGROUPS[:3])

# What a spec may leave out: for proofs that the protection is what stops an attack.
OPTIONAL = ("cgroup_cpu", "cgroup_memory", "cgroup_pids", "landlock", "nested_namespaces_denied", "seccomp")


def tier(enforced: tuple[str, ...]) -> str:
    """Return the tier of a sandbox with these protections."""
    return "A" if set(enforced) >= _TIER_A else "B"
