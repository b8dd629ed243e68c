"""Jobs that use up whatever they are given: time, memory, disks, descriptors, processes, output; as ``hostile``."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

from hostile import answer, question


def burn(channel: socket.socket) -> None:
    while True:
        pass


def burn_deaf(channel: socket.socket) -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def burn_in_children(channel: socket.socket) -> None:
    """Use 0.4 s of processor time in each of two children."""
    for _ in range(2):
        if os.fork() == 0:
            while time.process_time() < 0.4:
                pass
            os._exit(0)
    os.wait()
    os.wait()


def print_forever(channel: socket.socket) -> None:
    while True:
        os.write(1, b"x" * 65536)


def fill(channel: socket.socket) -> None:
    """Fill the file asked for until something stops it."""
    path = question(channel)
    written = 0
    try:
        with Path(path).open("wb", buffering=0) as file:
            while written < 1 << 28:
                written += file.write(b"x" * 65536)
    finally:
        answer(channel, written)


def many_files(channel: socket.socket) -> None:
    made = 0
    try:
        while made < 1_000_000:
            Path(f"/scratch/{made}").touch()
            made += 1
    finally:
        answer(channel, made)


def many_descriptors(channel: socket.socket) -> None:
    opened = []
    try:
        while len(opened) < 100_000:
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as problem:
        answer(channel, [len(opened), problem.errno])


def allocate(channel: socket.socket) -> None:
    """Allocate one GiB and touch it."""
    block = bytearray(1 << 30)
    answer(channel, len(block))


def fork_bomb(channel: socket.socket) -> None:
    """Have as many processes at once as possible; report how many that were."""
    children = 0
    try:
        while children < 2000:
            if os.fork() == 0:
                time.sleep(600)
            children += 1
    except OSError as problem:
        answer(channel, [children, problem.errno])


def allocate_in_children(channel: socket.socket) -> None:
    """Allocate 100 MiB in each of four children, none of which is over any limit of its own; all have it at once."""
    children = []
    ready, say_ready = os.pipe()
    wait, let_go = os.pipe()
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.close(let_go)
            block = bytearray(100 << 20)
            os.write(say_ready, b"x")
            os.read(wait, 1)
            os._exit(len(block) & 1)
        children.append(child)
    os.close(say_ready)  # so that nobody waits for a child that died
    for _ in children:
        os.read(ready, 1)
    time.sleep(1)
    os.close(let_go)
    answer(channel, [os.waitpid(child, 0)[1] for child in children])


def allocate_in_hiding(channel: socket.socket) -> None:
    """As above, by processes that cannot be looked into."""
    import ctypes

    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    allocate_in_children(channel)


def burn_in_a_chain(channel: socket.socket) -> None:
    """Use 0.25 s of processor time in each of ten processes, one after the other."""
    for _ in range(10):
        if os.fork() == 0:
            while time.process_time() < 0.25:
                pass
            os._exit(0)
        os.wait()
    answer(channel, "done")


def map_a_large_file(channel: socket.socket) -> None:
    """Have more of a file in memory than one may allocate, as readers of large models do."""
    import mmap

    path = Path("/scratch/model")
    with path.open("wb") as file:
        for _ in range(96):
            file.write(b"x" * (1 << 20))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as model:
        total = sum(model[at] for at in range(0, len(model), 4096))
        time.sleep(0.6)
    answer(channel, total)
