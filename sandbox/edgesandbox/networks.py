"""The empty network namespaces that jobs live in, one for each job at work.

The kernel takes longer to make and to bury one than most jobs do, so the zygote keeps those whose jobs are over.  A job
owns nothing in its namespace (that belongs to the zygote's user namespace, so no capability reaches it) and can leave
nothing in it but sockets; those end with their processes, unless they are under way in another socket's queue.  So the
kernel is asked, and a namespace with any socket left is never used again.
"""

from __future__ import annotations

import os

from edgesandbox import linux

# What is kept of a burst of jobs; the kernel holds some 100 KiB for each.
MOST_SPARE = 16


class Networks:
    """Namespaces that no living process but the zygote is in."""

    def __init__(self) -> None:
        """Start with none."""
        self._spare: list[int] = []

    def enter(self) -> int:
        """Move this process into an empty namespace that no job is in; its next child is born there.

        Returns a descriptor to give back when every process of that child is dead.
        """
        while self._spare:
            network = self._spare.pop()
            linux.enter_network(network)
            if sockets() == 0:
                return network
            os.close(network)
        linux.unshare(linux.CLONE_NEWNET)
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def give_back(self, network: int) -> None:
        """Keep a namespace that is not in use any more."""
        if len(self._spare) < MOST_SPARE:
            self._spare.append(network)
        else:
            os.close(network)


def sockets() -> int:
    """Return how many sockets of any family there are in this process's network namespace."""
    fd = os.open("/proc/self/net/sockstat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 100).split()[2])  # "sockets: used 0"
    finally:
        os.close(fd)
