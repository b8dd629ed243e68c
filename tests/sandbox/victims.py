"""What stands beside each hostile program and must be unharmed: a key file, another job, sockets, a process.

All of it belongs to the user that runs the tests, as an agent's things belong to the agent: what keeps a job away is
the sandbox alone.  ``Victims.check`` looks at everything after each test that runs a job.
"""

from __future__ import annotations

import os
import secrets
import select
import socket
import subprocess
import sys
from pathlib import Path

from sandboxing import LIMITS, hear, say

from edgesandbox import Box, Limits, Spec, Zygote

_LONG_S = 36_000.0
# Lets anybody trace it, and holds a secret in its environment, in its memory and on a descriptor.
_PROCESS = "import ctypes, sys; ctypes.CDLL(None).prctl(0x59616D61, -1); print('up', flush=True); sys.stdin.read()"


class Victims:
    """One of each kind; ``directory`` is one that no job is shown."""

    def __init__(self, zygote: Zygote, directory: Path) -> None:
        """Set everything up."""
        self.secret = secrets.token_hex(16)
        self.key = directory / "private_key.pem"
        self.key.write_text(self.secret)
        self.key.chmod(0o600)
        self._read_before = self._untouched()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS],
            env={"SECRET": self.secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"up\n"
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.abstract, self.path = (socket.socket(socket.AF_UNIX) for _ in range(2))
        self.abstract_name = f"edgesandbox-victim-{secrets.token_hex(8)}"
        self.abstract.bind("\0" + self.abstract_name)
        self.path_name = str(directory / "sock")
        self.path.bind(self.path_name)
        for sock in (self.abstract, self.path):
            sock.listen()
        self.job = self._job(zygote)
        self.job_socket, self._job_files = hear(self.job)

    def _job(self, zygote: Zygote) -> Box:
        limits = Limits(wall_s=_LONG_S, cpu_s=_LONG_S, memory_bytes=LIMITS.memory_bytes, pids=4)
        return zygote.spawn(Spec(entry="intruders:guard", limits=limits))

    @property
    def addresses(self) -> list[list[object]]:
        """Every socket that a job might reach, as ``intruders.reach`` wants them."""
        return [
            ["tcp", self.tcp.getsockname()[1]],
            ["udp", self.udp.getsockname()[1]],
            ["abstract", self.abstract_name],
            ["abstract", self.job_socket],
            ["path", self.path_name],
        ]

    def _untouched(self) -> tuple[int, int, int]:
        """Set the time of the last access so far back that a read would move it; returns what must stay."""
        os.utime(self.key, (0, 0))
        state = self.key.stat()
        return state.st_mode, state.st_size, state.st_atime_ns

    def reached(self) -> list[str]:
        """Return which sockets somebody has connected or sent to, and forget it."""
        ends = {"tcp": self.tcp, "udp": self.udp, "abstract": self.abstract, "path": self.path}
        ready = select.select(list(ends.values()), [], [], 0)[0]
        names = [name for name, sock in ends.items() if sock in ready]
        for name in names:
            if name == "udp":
                self.udp.recv(1000)
            else:
                ends[name].accept()[0].close()
        return names

    def key_was_read(self) -> bool:
        """Say whether anybody has read the key file (or changed it), and forget that somebody has."""
        state = self.key.stat()
        seen = (state.st_mode, state.st_size, state.st_atime_ns)
        changed = seen != self._read_before
        self._read_before = self._untouched()
        return changed

    def check(self) -> None:
        """Fail where a hostile program has harmed one of them."""
        assert not self.key_was_read(), "somebody has read the agent's key"
        assert self.reached() == []
        assert self.process.poll() is None, "the host's process is dead"
        say(self.job, "report")
        assert hear(self.job) == self._job_files, "the other job is not as it was"

    def close(self) -> None:
        """Give everything back."""
        self.job.close()
        self.process.kill()
        self.process.communicate()
        for sock in (self.tcp, self.udp, self.abstract, self.path):
            sock.close()
