"""Jobs that look for devices, and say what they found."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import threading
from pathlib import Path

from edgesandbox import landlock


def attempt(path: str) -> str:
    """Open a device; return how that ended, as the name of an error, or nothing."""
    try:
        os.close(os.open(path, os.O_RDWR))
    except OSError as problem:
        return errno.errorcode[problem.errno or 0]
    return ""


def opens(channel: socket.socket) -> None:
    """Open each path that one line names, once it has come."""
    with channel.makefile("rw") as stream:
        for line in stream:
            stream.write(json.dumps({path: attempt(path) for path in json.loads(line)}) + "\n")
            stream.flush()


def tells(channel: socket.socket) -> None:
    """Say what there is below /dev and /sys, and which processors the environment names."""
    found = {top: sorted(_below(top)) for top in ("/dev", "/sys")}
    variables = {name: value for name, value in os.environ.items() if name.endswith("_VISIBLE_DEVICES")}
    _say(channel, {**found, "variables": variables})


def _below(top: str) -> list[str]:
    return [f"{where}/{name}" for where, _below, names in os.walk(top) for name in names]


def writes(channel: socket.socket) -> None:
    """Try to change /dev and /sys."""
    said = {}
    for path in ("/dev/more", "/sys/more", "/sys/module/nvidia/initstate"):
        try:
            Path(path).write_text("x")
            said[path] = ""
        except OSError as problem:
            said[path] = errno.errorcode[problem.errno or 0]
    _say(channel, said)


def controls(channel: socket.socket) -> None:
    """Call ioctl on a device that knows none; and name a thread as CUDA does."""
    fd = os.open("/dev/nvidia0", os.O_RDWR)
    try:
        fcntl.ioctl(fd, 0x4601)  # any that no driver of every kernel knows
        answer = ""
    except OSError as problem:
        answer = errno.errorcode[problem.errno or 0]
    named: list[str] = []

    def name_it() -> None:
        comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        comm.write_text("cuda-EvtHandlr")
        named.append(comm.read_text().strip())

    thread = threading.Thread(target=name_it)
    thread.start()
    thread.join()
    _say(channel, {"ioctl": answer, "named": named})


def controls_less(channel: socket.socket) -> None:
    """The same, with the right to call ioctl taken away first."""
    landlock.USE &= ~landlock.IOCTL_DEV
    landlock.Wall(5).restrict()
    controls(channel)


def _say(channel: socket.socket, value: object) -> None:
    channel.sendall(json.dumps(value).encode() + b"\n")
