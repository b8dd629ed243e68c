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
    "network_namespace",
    "ipc_namespace",
    "uts_namespace",
    "private_root",
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
    "output_limit",
    "wall_timeout",
)

NOT_BUILT = {
    "cgroup_memory": "memory is limited for each process, not for all processes of a job together",
    "cgroup_cpu": "processor time is limited for each process, not for all processes of a job together",
    "seccomp": "system calls are not filtered; namespaces and missing capabilities are what confines",
    "landlock": "file access is confined by the private root alone",
}

SHARED_USER = "all jobs run as the user who started the sandbox; started by root, each gets a user id of its own"
