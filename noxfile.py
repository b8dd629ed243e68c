"""Everything that is run on this project, each in an environment of its own: `nox -l` lists it."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types", "docs"]

_PROJECT = nox.project.load_toml("pyproject.toml")
_EVERYTHING = ".[gateway,gpu,postgres,render,inference]"


def _install(session: nox.Session, *groups: str) -> None:
    session.install("-e", _EVERYTHING, *nox.project.dependency_groups(_PROJECT, *groups))


@nox.session
def demo(session: nox.Session) -> None:
    """Run four real jobs through a gateway and a node on this machine; files land in demo-output/."""
    session.install(_EVERYTHING)
    session.run("edgeagent", "demo", *(session.posargs or ("--output", "demo-output")))


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests, as many at once as there are processors; those that need what this machine lacks say what."""
    _install(session, "test")
    session.run("pytest", "--numprocesses=auto", "--maxprocesses=8", "--dist=worksteal", *session.posargs)


@nox.session(reuse_venv=True)
def bench(session: nox.Session) -> None:
    """Measure something beside its peers: `nox -s bench -- NAME [--targets] [--quick]`."""
    session.install("-e", ".[gateway]", *nox.project.dependency_groups(_PROJECT, "bench"))
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(reuse_venv=True)
def chaos(session: nox.Session) -> None:
    """Break a network of real processes and audit it: `nox -s chaos -- [--fault NAME] [--jobs N]` (docs/chaos.md)."""
    session.install("-e", ".[gateway,postgres]")
    session.run("python", "tests/chaos", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Fuzz one decoder, guided by coverage (x86-64, Python 3.11 to 3.13): `nox -s fuzz -- TARGET --minutes N`."""
    session.install("-e", ".", "atheris>=3")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session(name="sandbox-v2")
def sandbox_v2(session: nox.Session) -> None:
    """Run the sandbox's tests in a virtual machine that has nothing but cgroup v2 (as root; Debian)."""
    session.install("pip")
    session.run("python", "tests/hosts/qemu_guest.py", "--cache", f"{session.cache_dir}/hosts", *session.posargs)


@nox.session(name="sandbox-docker")
def sandbox_docker(session: nox.Session) -> None:
    """Run the sandbox's tests in containers, with this project's profile and with Docker's (as root; Debian)."""
    session.install("pip")
    session.run("python", "tests/hosts/docker_host.py", "--cache", f"{session.cache_dir}/hosts", *session.posargs)


def _on_host(session: nox.Session, cases: str) -> None:
    """Run tests that need a gateway here and a machine or an engine of their own, in the order in which they stand."""
    session.install("-e", ".[gateway]", "pip", *nox.project.dependency_groups(_PROJECT, "sandbox-test"))
    environ = {"EDGEAGENT_HOSTS_CACHE": f"{session.cache_dir}/hosts"}
    session.run("pytest", "-v", "-s", "-x", "-p", "no:xdist", f"tests/hosts/{cases}", *session.posargs, env=environ)


@nox.session(name="node-systemd")
def node_systemd(session: nox.Session) -> None:
    """Install the node as a service on a machine that systemd-nspawn boots, and disturb it (as root; Debian)."""
    _on_host(session, "systemd_cases.py")


@nox.session(name="node-v2")
def node_v2(session: nox.Session) -> None:
    """Install the node as a service on an emulated machine that has nothing but cgroup v2 (as root; Debian)."""
    _on_host(session, "guest_cases.py")


@nox.session(name="node-docker")
def node_docker(session: nox.Session) -> None:
    """Build the image, run the node by docker-compose.edge.yml beside a gateway, and disturb both (as root; Debian)."""
    _on_host(session, "docker_cases.py")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and the direction of imports."""
    _install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, with two checkers."""
    _install(session, "lint")
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build; a warning is an error."""
    _install(session, "docs")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def changelog(session: nox.Session) -> None:
    """Show what the next release's changelog will say."""
    _install(session, "docs")
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session(venv_backend="uv|virtualenv")
def package(session: nox.Session) -> None:
    """Build the wheel and install it as people do, by pipx and by uv, into clean places."""
    session.install("build[uv]", "pipx", "uv")
    session.run("python", "tests/hosts/package_install.py")
