"""Jobs that put into their scratch what it should not hold; each says what it was about to do, and goes on."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

_MIB = b"x" * (1 << 20)


def write(channel: socket.socket) -> None:
    """Leave two plain files, one of them with holes."""
    Path("output").mkdir()
    Path("output/plain").write_bytes(_MIB)
    with Path("output/sparse").open("wb") as file:
        file.truncate(1 << 40 if _as_large() else 100 << 20)
    channel.sendall(b"1\n")


def _as_large() -> bool:
    import resource

    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] > 1 << 40


def linked(channel: socket.socket) -> None:
    """Leave one file of a MiB under a hundred names."""
    Path("file").write_bytes(_MIB)
    for number in range(100):
        os.link("file", f"link{number}")
    channel.sendall(b"1\n")
    time.sleep(1)


def fill(channel: socket.socket) -> None:
    """Write many files, each as large as may be."""
    channel.sendall(b"1\n")
    for number in range(1_000_000):
        with Path(f"{number}").open("wb") as file:
            for _ in range(4):
                file.write(_MIB)


def quick(channel: socket.socket) -> None:
    """Write too much, and be gone before anybody looks."""
    for number in range(12):
        Path(f"{number}").write_bytes(_MIB)
    channel.sendall(b"1\n")


def deleted(channel: socket.socket) -> None:
    """Write to files that have no name any more."""
    channel.sendall(b"1\n")
    files = []
    for number in range(100):
        file = Path("file").open("wb")  # noqa: SIM115
        Path("file").unlink()
        file.write(_MIB * 2)
        file.flush()
        files.append(file)
        if number > 10:
            time.sleep(0.2)


def many(channel: socket.socket) -> None:
    """Make a million empty files."""
    channel.sendall(b"1\n")
    for number in range(1_000_000):
        os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY))


def hidden(channel: socket.socket) -> None:
    """Write in a directory that nobody may look into."""
    Path("dark").mkdir()
    directory = os.open("dark", os.O_RDONLY)
    channel.sendall(b"1\n")
    for number in range(1000):
        file = os.open(f"{number}", os.O_CREAT | os.O_WRONLY, 0, dir_fd=directory)
        Path("dark").chmod(0o300 if number < 2 else 0)
        os.write(file, _MIB)
        os.close(file)
        Path("dark").chmod(0o300)
        time.sleep(0.02)


def moving(channel: socket.socket) -> None:
    """Write, and move what was written around all the time."""
    Path("a").mkdir()
    Path("b").mkdir()
    channel.sendall(b"1\n")
    Path("a/x").mkdir()
    number = 0
    while True:
        if number < 100:
            Path(f"a/x/{number}").write_bytes(_MIB)
            number += 1
        Path("a/x").rename("b/x")
        Path("b/x").rename("a/x")


def bury(channel: socket.socket) -> None:
    """Leave what is hard to remove: deep, unreadable, odd, and links that lead out."""
    for _ in range(3000):
        os.mkdir("d")
        os.symlink("/etc/passwd", "link")
        os.chdir("d")
    os.mkfifo("fifo")
    os.chdir("/scratch")
    Path("closed/inner").mkdir(parents=True)
    Path("closed/inner/file").write_text("x")
    for name in ("closed/inner", "closed"):
        Path(name).chmod(0)
    with open(b"\xff\n", "wb") as odd:
        odd.write(b"x")
    channel.sendall(b"1\n")


def stay(channel: socket.socket) -> None:
    """Write something, and sleep."""
    Path("file").write_text("x")
    channel.sendall(b"1\n")
    time.sleep(600)


def look(channel: socket.socket) -> None:
    """Say whether anything of others can be seen or reached."""
    try:
        seen = len(os.listdir("/disk"))
    except OSError:
        seen = 0
    for number in range(100):
        try:
            os.stat(f"/disk/{number}/file")
            seen += 1
        except OSError:
            continue
    channel.sendall(b"%d\n" % seen)


def leave_closed(channel: socket.socket) -> None:
    """Leave a file, in directories, that only its owner may read."""
    Path("output").mkdir(mode=0o700)
    Path("output/closed").write_bytes(b"result")
    Path("output/closed").chmod(0o600)
    Path("output").chmod(0o700)
    channel.sendall(b"1\n")
