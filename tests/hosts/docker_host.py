"""``nox -s sandbox-docker``: the sandbox's tests in real containers, with this project's profile and with Docker's own.

Neither a registry nor a network is needed: the image is a Debian tree packed here, the containers have no interface but
their own loopback.  docs/sandbox-hosts.md says what each option is for.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import docker_engine
import ingredients
import trees

PROGRAMS = docker_engine.PROGRAMS | trees.PROGRAMS
PROFILE = ingredients.PROJECT / "docker/seccomp.json"
IMAGE = "edgeagent-sandbox-tests"
CONFINED = ("--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only", "--tmpfs=/tmp", "--user=1000:1000")
#: How a node is run, docs/sandbox-hosts.md.
SHIPPED = (
    f"--security-opt=seccomp={PROFILE}",
    "--security-opt=systempaths=unconfined",
    "--security-opt=apparmor=unconfined",
)
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
    tree = trees.machine(cache)
    with (
        tempfile.TemporaryDirectory() as scratch,
        ingredients.handed_in(cache, for_pytest) as folder,
        docker_engine.answering(IMAGE) as docker,
        docker_engine.imported(docker, _packed(tree, scratch), f"{IMAGE}:{os.getpid()}") as image,
    ):
        said = []
        for name, tier, options in RUNS:
            program = ["python3", "/project/tests/hosts/inside.py", "--name", name, "--tier", tier]
            folders = ("--tmpfs=/var/tmp", f"--volume={folder}:/project:ro")
            said += _in_container(docker, image, (*options, *folders), program, asked.timeout)
        refused = _profile_refuses(docker, image)
    worst = ingredients.verdict(said, [name for name, _, _ in RUNS])
    print(f"{'profile':16}", "ok" if refused else "FAILED: see above")
    return worst if refused else 1


def _packed(tree: Path, folder: str) -> Path:
    trees.packed(tree, archive := Path(folder, "root.tar"))
    return archive


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


if __name__ == "__main__":
    sys.exit(main())
