"""From "the kernel said no" to what the administrator would type.

Called only after a step has failed: whether a host can confine jobs is found out by doing it, and the settings read
here only pick the advice.
"""

from __future__ import annotations

from pathlib import Path

_SETTINGS = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")


def advise(problem: str, *, host: Path = Path("/")) -> str:
    """Return one line: what failed, and what to type so that it works.

    Args:
        problem: what the kernel refused.
        host: root of the tree in which the settings are read.
    """
    return f"this host cannot confine jobs: {problem}; {namespaces(host)}"


def namespaces(host: Path = Path("/")) -> str:
    """Return what to type to be given namespaces, by the settings below ``host``."""
    for path, bad, command in _SETTINGS:
        try:
            value = (host / path.lstrip("/")).read_text().strip()
        except OSError:
            continue
        if value == bad:
            return f"type: {command}"
    if any((host / mark.lstrip("/")).exists() for mark in CONTAINER_MARKS):
        return (
            "start the container with the profile docker/seccomp.json of this project: --security-opt "
            "seccomp=docker/seccomp.json --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
        )
    return "it needs Linux 5.12 or later with user namespaces (CONFIG_USER_NS), check: unshare --user true"
