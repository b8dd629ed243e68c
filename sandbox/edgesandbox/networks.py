"""The network namespaces that jobs live in, one for each job at work.

The kernel takes longer to make and to bury one than most jobs do, so the zygote keeps those whose jobs are over.  A job
owns nothing in its namespace (that belongs to the zygote's user namespace, so no capability reaches it) and can leave
nothing in it but sockets; those end with their processes, unless they are under way in another socket's queue.  So the
kernel is asked, and a namespace with any socket left is never used again.

That holds while the loopback device is down, as it is in a new namespace: nothing is sent, so nothing is remembered of
it.  With the device up, connections linger after their sockets (TIME_WAIT), and the kernel keeps counters and
measurements that the next job could read; so such a namespace is made for one job, and dropped.
"""

from __future__ import annotations

import os

from edgesandbox import linux

EMPTY, LOOPBACK, HOST = KINDS = ("empty", "loopback", "host")
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h
# What is kept of a burst of jobs; the kernel holds some 100 KiB for each.
MOST_SPARE = 16


class Networks:
    """Namespaces that no living process but the zygote is in."""

    def __init__(self, kind: str = EMPTY) -> None:
        """Start with none.

        Args:
            kind: ``EMPTY``; ``LOOPBACK``, with 127.0.0.1 for programs that talk to themselves; ``HOST``: none at all.
        """
        self._kind = kind
        self._spare: list[int] = []

    def enter(self) -> int | None:
        """Move this process into an empty namespace that no job is in; its next child is born there.

        Returns a descriptor to give back when every process of that child is dead; None where there is nothing to.
        """
        if self._kind == HOST:
            return None
        while self._spare:
            network = self._spare.pop()
            linux.enter_network(network)
            if sockets() == 0:
                return network
            os.close(network)
        try:
            linux.unshare(linux.CLONE_NEWNET)
        except OSError as problem:
            raise OSError(problem.errno, f"network namespace: {problem.strerror}") from None
        if self._kind == LOOPBACK:
            _raise_loopback()
            return None  # it goes with its last process
        return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def give_back(self, network: int | None) -> None:
        """Keep a namespace that is not in use any more."""
        if network is None:
            return
        if len(self._spare) < MOST_SPARE:
            self._spare.append(network)
        else:
            os.close(network)


def _raise_loopback() -> None:
    """Switch this namespace's loopback device on; the kernel then gives it 127.0.0.1 and ::1."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        request = fcntl.ioctl(sock, _SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        (flags,) = struct.unpack_from("H", request, 16)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def sockets() -> int:
    """Return how many sockets of any family there are in this process's network namespace."""
    fd = os.open("/proc/self/net/sockstat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, 100).split()[2])  # "sockets: used 0"
    finally:
        os.close(fd)
