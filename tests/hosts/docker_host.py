"""``nox -s sandbox-docker``: the sandbox's tests in real containers, with this project's profile and with Docker's own.

A Docker daemon that answers is used; otherwise one is started on a socket and folders of its own, and stopped again.
Neither a registry nor a network is needed: the image is a Debian tree packed here, the containers have no interface but
their own loopback.  docs/sandbox-hosts.md says what each option is for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import ingredients

PROGRAMS = {"docker": "docker.io", "debootstrap": "debootstrap", "mke2fs": "e2fsprogs", "unshare": "util-linux"}
PROFILE = ingredients.PROJECT / "docker/seccomp.json"
IMAGE = "edgeagent-sandbox-tests"
CONFINED = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp", "--user=1000:1000")
#: How a node is run, docs/sandbox-hosts.md.
SHIPPED = (
    f"--security-opt=seccomp={PROFILE}",
    "--security-opt=systempaths=unconfined",
    "--security-opt=apparmor=unconfined",
)
DAEMON_TIMEOUT_S = 300
#: What the profile is there to refuse: calls (x86-64), and how they end where no profile is in the way.
REFUSED = {
    "io_uring_setup": (425, "EFAULT"),
    "perf_event_open": (298, "EFAULT"),
    "ptrace": (101, "ESRCH"),
    "keyctl": (250, "ENOTSUP"),
    "name_to_handle_at": (303, "EFAULT"),
}
CALLS = f"""
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
for name, (number, _) in {REFUSED}.items():
    libc.syscall(number, -1, 0, 0, 0, 0)
    print(name, errno.errorcode.get(ctypes.get_errno()))
"""
#: (name, tier, options): Docker's own profile forbids namespaces, to an ordinary user and to the container's root.
RUNS = (("shipped", "B", (*CONFINED, *SHIPPED)), ("default", "C", CONFINED), ("bare", "C", ()))


def main() -> int:
    """Run the containers and return 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder for what is kept between runs")
    parser.add_argument("--timeout", type=float, default=1800, metavar="S", help="for each container")
    asked, for_pytest = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up first
    ingredients.need(PROGRAMS)
    cache = asked.cache.absolute()
    archive = ingredients.debian(cache) / "root.tar"
    with ingredients.handed_in(cache, for_pytest) as folder, _daemon() as docker, _image(docker, archive) as image:
        said = []
        for name, tier, options in RUNS:
            program = ["python3", "/project/tests/hosts/inside.py", "--name", name, "--tier", tier]
            folders = ("--tmpfs=/var/tmp", f"--volume={folder}:/project:ro")
            said += _in_container(docker, image, (*options, *folders), program, asked.timeout)
        refused = _profile_refuses(docker, image)
    worst = ingredients.verdict(said, [name for name, _, _ in RUNS])
    print(f"{'profile':16}", "ok" if refused else "FAILED: see above")
    return worst if refused else 1


def _profile_refuses(docker: list[str], image: str) -> bool:
    """Say whether what the profile is to refuse is refused, and is not without it."""
    print("\n==== profile")
    program = ["python3", "-c", CALLS]
    answers = []
    for profile in (str(PROFILE), "unconfined"):
        options = [*CONFINED, f"--security-opt=seccomp={profile}"]
        answers.append(_in_container(docker, image, options, program, timeout_s=60))
    return answers == [
        [f"{name} EPERM" for name in REFUSED],
        [f"{name} {other}" for name, (_, other) in REFUSED.items()],
    ]


def _in_container(
    docker: list[str], image: str, options: Iterable[str], program: list[str], timeout_s: float
) -> list[str]:
    """Run a program in a new container and return its lines; the container is gone afterwards."""
    name = f"{IMAGE}-{os.getpid()}"
    start = [*docker, "run", f"--name={name}", "--init", "--network=none", *options, image, *program]
    try:
        return list(ingredients.lines_of(*start, timeout_s=timeout_s))
    finally:
        subprocess.run([*docker, "rm", "--force", name], stdout=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def _image(docker: list[str], archive: Path) -> Iterator[str]:
    """Yield the name of an image made of the Debian tree; removed afterwards."""
    name = f"{IMAGE}:{os.getpid()}"
    ingredients.run(*docker, "import", archive, name)
    try:
        yield name
    finally:
        ingredients.run(*docker, "rmi", "--force", name)


@contextlib.contextmanager
def _daemon() -> Iterator[list[str]]:
    """Yield the start of the command line of a client whose daemon answers."""
    if _answers(["docker"]):
        yield ["docker"]
        return
    if shutil.which("dockerd") is None:
        raise SystemExit("no Docker daemon answers, and dockerd is not installed; type: apt-get install docker.io")
    with tempfile.TemporaryDirectory(prefix="dockerd-") as folder:
        socket = f"unix://{folder}/socket"
        options = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
        options += ["--host", socket, "--cgroup-parent", f"/{IMAGE}", "--bridge=none", "--iptables=false"]
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
            cgroups = Path("/sys/fs/cgroup")  # the daemon leaves the empty parent of its containers' cgroups
            for parent in (*cgroups.glob(IMAGE), *cgroups.glob(f"*/{IMAGE}")):
                parent.rmdir()


def _answers(docker: list[str]) -> bool:
    return subprocess.run([*docker, "version"], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
