"""Compose projects on a Docker engine of a test's own, with images built there from what a registry would have.

The base image is a Debian tree made by debootstrap, under the name that ``docker/Dockerfile`` asks for; building takes
apt's archive and Python's package index, as it does for everybody.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs
import docker_engine
import ingredients
import trees

PROGRAMS = docker_engine.PROGRAMS | trees.PROGRAMS
NAME = "edgeagent-node-tests"
BASE = "debian:bookworm-slim"
EDGE = ingredients.PROJECT / "docker-compose.edge.yml"
GATEWAY = ingredients.PROJECT / "tests/hosts/docker-compose.gateway.yml"
BUILD_S = 1800
#: Debian 12 has no Compose v2, the next release has.
SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} trixie main\n"
PLUGIN = "usr/libexec/docker/cli-plugins/docker-compose"


@attrs.frozen
class Engine:
    """A client of a daemon, with Compose."""

    docker: list[str]
    environ: Mapping[str, str]

    def done(self, *words: str, timeout_s: float = 600, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command of docker's to its end, in the project's root, whatever that is."""
        return subprocess.run(
            [*self.docker, *words],
            cwd=ingredients.PROJECT,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def run(self, *words: str, timeout_s: float = 600, **environ: str) -> str:
        """Run a command of docker's and return what it prints.

        Raises:
            AssertionError: it failed; what it said.
        """
        done = self.done(*words, timeout_s=timeout_s, **environ)
        assert done.returncode == 0, f"docker {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def build(self, tag: str, extras: str = "") -> None:
        """Build an image from ``docker/Dockerfile``."""
        # The daemon's own networks lead nowhere; its builder of old needs no plugin.
        words = ("build", "--network=host", "--file=docker/Dockerfile", f"--tag={tag}", f"--build-arg=EXTRAS={extras}")
        self.run(*words, ".", timeout_s=BUILD_S, DOCKER_BUILDKIT="0")


@contextlib.contextmanager
def engine(cache: Path) -> Iterator[Engine]:
    """Yield an engine that has the base image and nothing else."""
    lacking = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    assert not lacking, f"not installed; type: apt-get install --no-install-recommends {' '.join(lacking)}"
    tree = trees.base(cache)
    with tempfile.TemporaryDirectory(prefix="docker-") as scratch, docker_engine.answering(NAME, own=True) as docker:
        base = Path(scratch, "base")
        trees.copy(tree, base)
        _trust(base)
        archive = Path(scratch, "base.tar")
        trees.packed(base, archive)
        plugins = Path(scratch, "config/cli-plugins")
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(_compose(cache))
        beside = Path(sys.executable).parent
        environ = os.environ | {"DOCKER_CONFIG": str(plugins.parent), "PATH": f"{beside}:{os.environ['PATH']}"}
        for name in ("GATEWAY_URL", "NODE_JWT", "NODE_ID", "LOG_LEVEL"):
            environ.pop(name, None)
        with docker_engine.imported(docker, archive, BASE):
            yield Engine(docker, environ)


def _trust(base: Path) -> None:
    """Have pip in the image trust whom this machine trusts: there may be a proxy with a certificate of its own."""
    ours = Path("/etc/ssl/certs/ca-certificates.crt")
    if ours.exists():
        shutil.copy(ours, base / "etc/ssl/certs/host.crt")
        (base / "etc/pip.conf").write_text("[global]\ncert = /etc/ssl/certs/host.crt\n")


def _compose(cache: Path) -> Path:
    """Return Compose v2's program: this machine's, or the next Debian's, fetched once."""
    for folder in ("/usr/libexec", "/usr/lib", "/usr/local/lib", "/usr/local/libexec"):
        if (here := Path(folder, "docker/cli-plugins/docker-compose")).exists():
            return here
    ready = cache / "compose"
    if not (ready / PLUGIN).exists():
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
            (Path(scratch) / "lists").mkdir()
            (Path(scratch) / "sources").write_text(SOURCE.format(mirror=trees.mirror()))
            # Beside this machine's own sources and lists, which stay as they are.
            places = {"Etc::sourcelist": "sources", "State::lists": "lists", "Cache": "cache"}
            options = [f"--option=Dir::{name}={scratch}/{where}" for name, where in places.items()]
            options += ["--option=Dir::Etc::sourceparts=/dev/null", "--option=APT::Sandbox::User=root"]
            ingredients.run("apt-get", *options, "update")
            ingredients.run("env", "--chdir", scratch, "apt-get", *options, "download", "docker-compose")
            (package,) = Path(scratch).glob("docker-compose_*.deb")
            ingredients.run("dpkg-deb", "--extract", package, Path(scratch, "made"))
            with contextlib.suppress(OSError):  # someone else was faster
                Path(scratch, "made").rename(ready)
    return ready / PLUGIN
