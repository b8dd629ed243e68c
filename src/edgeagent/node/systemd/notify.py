"""sd_notify(3): tell systemd how the service is, in datagrams to the socket that it named in the environment.

Nothing is told to anybody where there is no such variable.  The variables stay in the environment: after a reload the
same process is a new program, and goes on telling.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

import attrs

from edgeagent.errors import UsageError

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"


def address(named: str) -> str:
    """Return the socket's address as the kernel wants it: a path, or one in the abstract namespace (``@name``).

    Raises:
        UsageError: it is neither; systemd's vsock: addresses are for whole machines, not for their services.
    """
    if named.startswith("@") and len(named) > 1:
        return "\0" + named[1:]
    if named.startswith("/") and len(named) > 1:
        return named
    raise UsageError(f"{SOCKET} is {named!r}, but must be an absolute path or @ and a name; start the node by systemd")


def watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """Return within how many seconds systemd wants to hear from process ``pid``; None where it does not watch it.

    Raises:
        UsageError: the variable holds no time.
    """
    text = environ.get(WATCHDOG)
    if not text or environ.get(WATCHDOG_PID, str(pid)) != str(pid):
        return None
    try:
        usec = int(text)
    except ValueError:
        usec = 0
    if usec <= 0:
        raise UsageError(f"{WATCHDOG} is {text!r}, but must be microseconds; start the node by systemd")
    return usec / 1e6


@attrs.frozen
class Notifier:
    """One service's line to systemd."""

    to: str | None  # the socket's address; None: nobody listens
    watchdog_s: float | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        """Return the line that the environment of this process names.

        Raises:
            UsageError: the variables make no sense.
        """
        named = environ.get(SOCKET)
        return cls(address(named), watchdog_s(environ, os.getpid())) if named else cls(None)

    def send(self, *lines: str) -> None:
        """Tell systemd, without waiting; what it cannot be told is lost, and the watchdog is there for that."""
        if self.to is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto("\n".join(lines).encode(), self.to)


#: Tells nobody anything.
SILENT = Notifier(None)
