"""``nox -s node-docker``: the node as ``docker-compose.edge.yml`` runs it, on a real engine, beside a real gateway.

The commands are the guide's, with this project's names.  The cases go on from each other in the order in which they
stand.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import beside
import docker_compose
import ingredients
import pytest
from beside import Gateway, until
from docker_compose import Engine

import operator_guide
from edgeagent.demo.jobs import JOBS

CACHE = Path(os.environ.get("EDGEAGENT_HOSTS_CACHE") or ingredients.PROJECT / ".nox/.cache/hosts").absolute()
HELD_S = 10
#: Bytes; what is seen is printed.
LARGEST_IMAGE = 200e6
#: The gateway's image, and one of a node that runs all that there is.
FULL = "edgeagent:full"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@attrs.define
class Project:
    """The operator's compose project, with what he has exported."""

    engine: Engine
    exported: dict[str, str]

    def compose(self, *words: str) -> str:
        """Type ``docker compose -f docker-compose.edge.yml ...``, with a gateway beside it."""
        files = (f"--file={docker_compose.EDGE}", f"--file={docker_compose.GATEWAY}")
        return self.engine.run("compose", *files, *words, **self.exported)

    def typed(self, name: str, instead: Mapping[str, str] | None = None, **environ: str) -> str:
        """Type commands of the guide into a shell; returns what they print."""
        given = {**self.engine.environ, **self.exported, **environ, "DOCKER_HOST": self.engine.docker[-1]}
        command = ["bash", "-ec", operator_guide.command(name, instead or {})]
        done = subprocess.run(
            command, cwd=ingredients.PROJECT, env=given, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, f"{command[-1]}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def inspected(self) -> dict[str, Any]:
        """What the engine knows of the node's container."""
        container = self.compose("ps", "--all", "--quiet", "edge").strip()
        (one,) = json.loads(self.engine.run("inspect", container))
        return dict(one)

    def health(self) -> dict[str, Any]:
        """Type ``curl http://localhost:8081/health``; nothing while nobody answers."""
        try:
            with urllib.request.urlopen(
                f"http://localhost:{self.exported['HEALTH_PORT']}/health", timeout=10
            ) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}

    def linked(self) -> bool:
        return bool(self.health().get("relay_connected"))

    def agent(self) -> int:
        """The agent's pid on this machine: the only child of the container's init."""
        init = self.inspected()["State"]["Pid"]
        (agent,) = map(int, Path(f"/proc/{init}/task/{init}/children").read_text().split())
        return agent


@pytest.fixture(scope="session")
def project() -> Iterator[Project]:
    """Images of node and gateway built, the gateway up."""
    with docker_compose.engine(CACHE) as engine:
        engine.build("edgeagent")
        engine.build(FULL, "gateway,render,inference")
        one = Project(engine, {"GATEWAY_PORT": str(free_port()), "HEALTH_PORT": str(free_port())})
        try:
            one.compose("up", "--detach", "--no-build", "gateway")
            yield one
        finally:
            one.compose("down", "--volumes", "--timeout=60")


@pytest.fixture(scope="session")
def gateway(project: Project) -> Gateway:
    """The gateway as a submitter on this machine sees it."""
    create = ("edgeagent", "gateway", "token", "create", "--data", "/config", "--name", "studio", "--credits", "1000")
    inside = _in("gateway", project)

    def words() -> list[str]:
        return project.engine.done(*inside, *create).stdout.split()

    return Gateway(f"http://127.0.0.1:{project.exported['GATEWAY_PORT']}", until(words, "a token")[0])


def _in(service: str, project: Project) -> tuple[str, ...]:
    return ("exec", project.compose("ps", "--quiet", service).strip())


def test_the_image_is_small_and_holds_no_more_than_a_node(project: Project) -> None:
    """No pip, nothing of the gateway's, an ordinary user; `edgeagent` is what it runs."""
    (image,) = json.loads(project.engine.run("image", "inspect", "edgeagent"))
    print(f"\nimage: {image['Size'] / 1e6:.0f} MB")
    assert image["Size"] < LARGEST_IMAGE
    assert "1000:1000" == image["Config"]["User"]
    assert "edgeagent" == image["Config"]["Labels"]["org.opencontainers.image.title"]
    assert project.engine.run("run", "--rm", "--network=none", "edgeagent", "--version").startswith("edgeagent ")
    look = "import importlib.util as i; print([n for n in ('pip', 'litestar', 'sqlalchemy', 'trio') if i.find_spec(n)])"
    inside = ("--network=none", "--entrypoint=/opt/edgeagent/bin/python", "edgeagent", "-c", look)
    assert "['trio']" == project.engine.run("run", "--rm", *inside).strip()


def test_the_quick_start(project: Project, gateway: Gateway, tmp_path: Path) -> None:
    """Register on this machine, export NODE_JWT and GATEWAY_URL, `up -d`, ask for /health, look at the logs."""
    said = project.typed("register", {operator_guide.GATEWAY: gateway.url}, HOME=str(tmp_path))
    token = next(line.split()[1] for line in said.splitlines() if line.startswith("Token:"))
    project.exported |= {"NODE_JWT": token, "GATEWAY_URL": "ws://gateway:8080/api/v1"}
    assert re.search(r"Compose version v?[2-9]", project.typed("docker-version"))
    project.typed("up", {operator_guide.TOKEN: token, operator_guide.LINK: project.exported["GATEWAY_URL"]})

    until(project.linked, "a link")
    health = json.loads(
        project.typed("health", {operator_guide.HEALTH: f"localhost:{project.exported['HEALTH_PORT']}"})
    )
    assert ("healthy", True) == (health["status"], health["relay_connected"])
    until(lambda: "Heartbeat acknowledged" in project.typed("docker-logs"), "a heartbeat")
    assert "Connected to relay server" in project.typed("docker-logs")


def test_jobs_run_in_tier_b(project: Project, gateway: Gateway) -> None:
    """What the small image can run, each in namespaces of its own; `doctor` says what a container cannot enforce."""
    for job_type, payload in (("echo", {"hello": "docker"}), ("cpu_benchmark", {"limit": 1000})):
        done = gateway.becomes(gateway.submit(job_type, **payload), "COMPLETED")
        sandbox = done["attempts"][-1]["sandbox"]
        assert "B" == sandbox["tier"]
        assert {"landlock", "seccomp", "user_namespace", "network_namespace"} <= set(sandbox["enforced"])
    said = project.engine.done(*_in("edge", project), "edgeagent", "doctor").stdout
    assert "jobs are confined in tier B" in said
    assert "PASS  port       a node runs from /config" in said


def test_the_container_can_do_little(project: Project) -> None:
    """No capability, no new privileges, a filter, a read-only root, the guide's memory and processors."""
    found = project.inspected()["HostConfig"]
    assert (1 << 30, 2_000_000_000, True) == (found["Memory"], found["NanoCpus"], found["ReadonlyRootfs"])
    assert ["ALL"] == found["CapDrop"]
    assert "unless-stopped" == found["RestartPolicy"]["Name"]
    lines = Path(f"/proc/{project.agent()}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    assert 0 == int(status["CapEff"], 16) | int(status["CapBnd"], 16)
    assert ("1", "2") == (status["NoNewPrivs"].strip(), status["Seccomp"].strip())
    assert ["1000"] * 4 == status["Uid"].split()
    assert 0 != project.engine.done(*_in("edge", project), "touch", "/opt/x").returncode


def test_docker_learns_that_it_is_healthy(project: Project) -> None:
    """By the agent's own `status`."""
    until(lambda: project.inspected()["State"]["Health"]["Status"] == "healthy", "healthy")


def test_a_plugin_needs_a_file_and_a_restart(project: Project, gateway: Gateway) -> None:
    """Nothing is rebuilt."""
    container = project.compose("ps", "--quiet", "edge").strip()
    project.engine.run(
        "exec",
        container,
        "sh",
        "-c",
        'mkdir -p /config/plugins && printf %s "$0" > "$1"',
        beside.HOLD,
        "/config/plugins/hold.py",
    )
    # This node was registered for other job types.
    project.engine.run("exec", container, "edgeagent", "config", "set", "capabilities.offer", "hold")
    project.compose("restart", "edge")

    until(project.linked, "a link")
    gateway.becomes(gateway.submit("hold", seconds=0), "COMPLETED")


def test_a_job_outlives_the_gateway(project: Project, gateway: Gateway) -> None:
    """The gateway's container is killed and comes back: the job that ran is delivered, and the node is linked again."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    project.compose("kill", "gateway")
    until(lambda: not project.linked(), "the link's loss")
    project.compose("up", "--detach", "--no-build", "gateway")

    until(project.linked, "a link")
    gateway.becomes(job, "COMPLETED")


def test_a_killed_agent_comes_back(project: Project, gateway: Gateway) -> None:
    """kill -9 during a job: Docker starts the container again, and another attempt ends the job."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    times = project.inspected()["RestartCount"]
    os.kill(project.agent(), signal.SIGKILL)

    until(lambda: project.inspected()["RestartCount"] > times and project.linked(), "a new agent")
    done = gateway.becomes(job, "COMPLETED")
    assert 2 == len(done["attempts"])


def test_stop_drains(project: Project, gateway: Gateway) -> None:
    """`docker compose stop` during a job: it ends, its result arrives, and the agent exits with 0 of itself."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    project.typed("stop")

    done = gateway.job(job)
    assert ("COMPLETED", 1) == (done["status"], len(done["attempts"]))
    assert 0 == project.inspected()["State"]["ExitCode"]


def test_a_node_registered_in_its_own_volume(project: Project, gateway: Gateway) -> None:
    """`run --rm edge register` makes a key that stays in /config; no token is exported.  The image is another, too."""
    for name in ("NODE_JWT", "GATEWAY_URL"):
        project.exported.pop(name, None)
    project.exported["EDGEAGENT_IMAGE"] = FULL
    register = ("register", "--gateway-url", "http://gateway:8080", "--name", "with-a-key")
    assert "Registered with-a-key" in project.compose("run", "--rm", "-T", "edge", *register)
    project.compose("run", "--rm", "-T", "edge", "config", "unset", "capabilities.offer")  # all that can run there
    project.compose("up", "--detach", "--no-build")

    until(project.linked, "a link")
    done = gateway.becomes(gateway.submit("hold", seconds=0), "COMPLETED")
    assert "with-a-key" == done["attempts"][-1]["node_name"]


def test_all_job_types_run_where_the_image_has_their_extras(project: Project, gateway: Gateway) -> None:
    """Each in tier B, within the container's memory; a picture and the digits come back."""
    jobs = [(job, gateway.submit(job.job_type, **job.payload)) for job in JOBS]
    for job, made in jobs:
        assert "B" == gateway.becomes(made, "COMPLETED")["attempts"][-1]["sandbox"]["tier"]
        assert job.check(gateway.result(made)) is None


def test_no_job_was_lost(gateway: Gateway) -> None:
    """Whatever was done to gateway and node above, all that was submitted is done."""
    jobs = json.loads(gateway.edgeagent("job", "list", "--all", "--json"))["jobs"]
    assert len(jobs) >= 10
    assert {"COMPLETED"} == {one["status"] for one in jobs}


def test_a_revoked_node_is_not_started_in_vain(project: Project) -> None:
    """Docker heeds no exit code; the node stays, says why in its log, and ends when it is told to."""
    inside = _in("gateway", project)
    project.engine.run(*inside, "edgeagent", "gateway", "nodes", "revoke", "with-a-key", "--data", "/config")

    until(lambda: "Refused by the gateway" in project.compose("logs", "edge"), "a refusal")
    state = project.inspected()
    assert (True, 0) == (state["State"]["Running"], state["RestartCount"])
    project.compose("stop", "edge")
    assert 3 == project.inspected()["State"]["ExitCode"]


def test_the_gpu_file_asks_for_all_gpus(project: Project) -> None:
    """Over the other file; what it lends is the driver's and the toolkit's affair, which this machine may lack."""
    files = (f"--file={docker_compose.EDGE}", f"--file={docker_compose.EDGE.with_name('docker-compose.gpu.yml')}")
    edge = json.loads(project.engine.run("compose", *files, "config", "--format=json"))["services"]["edge"]

    (device,) = edge["deploy"]["resources"]["reservations"]["devices"]
    assert ("nvidia", ["gpu"], -1) == (device["driver"], device["capabilities"], device["count"])
    assert ("edgeagent:gpu", "gpu", True) == (edge["image"], edge["build"]["args"]["EXTRAS"], edge["read_only"])
