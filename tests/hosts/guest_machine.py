"""A virtual machine that systemd boots, with nothing but cgroup v2, whose commands go over the emulated network.

It reaches this machine's loopback at 10.0.2.2, and nothing else is asked of it.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import attrs
import commands
import ingredients
import qemu
import trees

PROGRAMS = qemu.PROGRAMS | trees.PROGRAMS
#: This machine, as the guest sees it.
HOST = "10.0.2.2"
COMMAND_S = 900.0  # emulated, all is ten to thirty times as slow
LIFE_S = 3600.0
#: Seconds from power-on to the first connection, on the busiest host.
UP_S = 1200.0
#: Nobody logs in there, and nothing is to be looked after by and by.
_WITHOUT = ("systemd.mask=getty.target", "systemd.mask=timers.target")
_REMOTE = Path(__file__).with_name("guest_remote.py")
_UNIT = """\
[Unit]
Description=Does what a test asks for
[Service]
ExecStartPre=/bin/sh -ec "ip link set lo up; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; \
ip route add default via {host}"
ExecStart=/usr/bin/python3 /usr/local/lib/guest_remote.py {host} {port}
[Install]
WantedBy=multi-user.target
"""


@attrs.define
class Guest(commands.Commands):
    """A machine that is up."""

    link: TextIO

    def done(self, *command: str, user: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is; ``user`` needs no session."""
        line = commands.words(command, user, environ)
        self.link.write(json.dumps(line) + "\n")
        self.link.flush()
        answer = self.link.readline()
        assert answer, f"the guest has gone away from: {' '.join(command)}"
        return subprocess.CompletedProcess(line, *json.loads(answer))


@contextlib.contextmanager
def booted(tree: Path, scratch: Path, accel: str = qemu.TCG) -> Iterator[Guest]:
    """Yield a machine that was booted from a tree, which is changed for that; afterwards it is off.

    Args:
        tree: a Debian tree that boots.
        scratch: a folder for its disk.
        accel: qemu's -accel.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _serve(tree, listener.getsockname()[1])
        disk = scratch / "root.ext4"
        trees.disk(tree, disk)
        command = qemu.command(tree, [disk], *_WITHOUT, accel=accel, memory="3G", network=True)
        listener.settimeout(1.0)
        try:
            link = _up(listener, command)
            link.settimeout(COMMAND_S)
            with link, link.makefile("rw") as lines:
                yield Guest(lines)
        finally:
            ingredients.stop_all()  # what it has written goes to a throw-away copy of its disk


def _up(listener: socket.socket, command: list[str]) -> socket.socket:
    """Turn the machine on, again where it stands still before it has connected; returns the connection."""
    for _ in range(qemu.BOOTS):
        console = threading.Thread(target=_print, args=(command,), daemon=True)
        console.start()
        if (link := _accepted(listener, console)) is not None:
            return link
        ingredients.stop_all()
        console.join()
    raise commands.CommandFailedError("the guest did not come up")


def _print(command: list[str]) -> None:
    for _ in ingredients.lines_of(*command, timeout_s=LIFE_S):
        pass


def _accepted(listener: socket.socket, console: threading.Thread) -> socket.socket | None:
    """Return the guest's connection; None where it has ended, or its time is up."""
    deadline = time.monotonic() + UP_S
    while console.is_alive() and time.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            return listener.accept()[0]
    return None


def _serve(tree: Path, port: int) -> None:
    shutil.copy(_REMOTE, tree / "usr/local/lib/guest_remote.py")
    unit = tree / "etc/systemd/system/remote.service"
    unit.write_text(_UNIT.format(host=HOST, port=port))
    trees.within(tree, "systemctl", "enable", "remote.service")
