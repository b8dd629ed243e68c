"""Jobs that end in ways that look like others: entry functions for the test of outcomes; as ``hostile``."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import socket
import time
from pathlib import Path

from hostile import answer, question

CHUNK = b"x" * 65536


def exit_with(channel: socket.socket) -> None:
    os._exit(question(channel))


def signal_itself(channel: socket.socket) -> None:
    number = question(channel)
    signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
    os.kill(os.getpid(), number)
    time.sleep(600)


def end_at(channel: socket.socket) -> None:
    """Exit with 0 at a time of the monotonic clock, which every process shares."""
    until = time.monotonic() + question(channel)
    answer(channel, "here")
    while time.monotonic() < until:
        pass


def handle_xcpu_and_leave(channel: socket.socket) -> None:
    signal.signal(signal.SIGXCPU, lambda *_: os._exit(5))
    while True:
        pass


def handle_xcpu_and_go_on(channel: socket.socket) -> None:
    signal.signal(signal.SIGXCPU, lambda *_: None)
    while True:
        pass


def burn_in_a_program(channel: socket.socket) -> None:
    """Have no handler at all, as a program has that was not written in Python."""
    os.execv("/bin/sh", ["sh", "-c", "while :; do :; done"])


def run_a_program(channel: socket.socket) -> None:
    os.execv("/bin/sh", ["sh", "-c", question(channel)])


def lose_a_child_to_the_kernel(channel: socket.socket) -> None:
    """Have a child take more memory than there is; live on, and end well at once."""
    child = os.fork()
    if child == 0:
        block = mmap.mmap(-1, 256 << 20)
        for _ in range(256):
            block.write(bytes(1 << 20))
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)


def lose_a_child(channel: socket.socket) -> None:
    """Have a child die by SIGKILL, from its own parent, and end well."""
    child = os.fork()
    if child == 0:
        time.sleep(600)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def fail_to_allocate(channel: socket.socket) -> None:
    bytearray(1 << 30)


def fail_to_allocate_and_cope(channel: socket.socket) -> None:
    try:
        bytearray(1 << 30)
    except MemoryError:
        os._exit(4)


def fill_and_fail(channel: socket.socket) -> None:
    """Use the last of scratch, then do what was asked for: keep, free or cope; end with 3, or 0 where it coped."""
    what = question(channel)
    try:
        with open("/scratch/full", "wb", buffering=0) as file:
            while True:
                file.write(CHUNK)
    except OSError:
        if what == "free":
            Path("/scratch/full").unlink()
    os._exit(0 if what == "cope" else 3)


def exceed_file_size(channel: socket.socket) -> None:
    """Write past RLIMIT_FSIZE with the signal as it is for programs that are not written in Python."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with open("/scratch/large", "wb", buffering=0) as file:
        while True:
            file.write(CHUNK)


def print_bytes(channel: socket.socket) -> None:
    """Print so many bytes and end at once."""
    left = question(channel)
    while left:
        left -= os.write(1, CHUNK[:left])
    os._exit(0)


def lower_its_limits(channel: socket.socket) -> None:
    """Take a processor limit of a second, where much more was allowed, and use it up."""
    resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
    while True:
        pass


def obey_sigterm(channel: socket.socket) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    answer(channel, "ready")
    time.sleep(600)
