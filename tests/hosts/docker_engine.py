"""A Docker engine for a test: the one that answers, or one started on a socket and in folders of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ingredients

PROGRAMS = {"docker": "docker.io"}
DAEMON_TIMEOUT_S = 300


@contextlib.contextmanager
def answering(name: str, *, own: bool = False) -> Iterator[list[str]]:
    """Yield the start of the command line of a client whose daemon answers.

    Args:
        name: of the parent of a started daemon's control groups.
        own: start one even where one answers, so that nothing meets images and containers of somebody else's.
    """
    if not own and _answers(["docker"]):
        yield ["docker"]
        return
    if shutil.which("dockerd") is None:
        raise SystemExit("no Docker daemon to use, and dockerd is not installed; type: apt-get install docker.io")
    with tempfile.TemporaryDirectory(prefix="dockerd-") as folder:
        socket = f"unix://{folder}/socket"
        options = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        options += ["--host", socket, "--cgroup-parent", f"/{name}", "--bridge=none", "--iptables=false"]
        options += ["--ip6tables=false", "--ip-forward=false"]
        with Path(folder, "log").open("wb") as log:
            daemon = subprocess.Popen(["dockerd", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            client = ["docker", "--host", socket]
            deadline = time.monotonic() + DAEMON_TIMEOUT_S
            while not _answers(client):
                if daemon.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("dockerd did not start:\n" + Path(folder, "log").read_text()[-3000:])
                time.sleep(0.2)
            yield client
        finally:
            daemon.terminate()  # it stops its containers and its containerd first
            daemon.wait(timeout=DAEMON_TIMEOUT_S)
            # The network namespace of containers that had the host's; and the tree of one, where it was cut off.
            trees = (path for path in Path(folder, "data/overlay2").glob("*/merged") if path.is_mount())
            for left in (*Path(folder, "exec/netns").glob("*"), *trees):
                ingredients.run("umount", "--lazy", left)
            cgroups = Path("/sys/fs/cgroup")  # the daemon leaves the empty parent of its containers' cgroups
            for parent in (*cgroups.glob(name), *cgroups.glob(f"*/{name}")):
                parent.rmdir()


@contextlib.contextmanager
def imported(docker: list[str], archive: Path, name: str) -> Iterator[str]:
    """Yield the name of an image made of a packed tree; removed afterwards."""
    ingredients.run(*docker, "import", archive, name)
    try:
        yield name
    finally:
        ingredients.run(*docker, "rmi", "--force", name)


def _answers(docker: list[str]) -> bool:
    return subprocess.run([*docker, "version"], capture_output=True, check=False).returncode == 0
