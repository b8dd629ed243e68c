"""The operator guide's quick start, each command by hand, and what it says when something is wrong."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import httpx2
import pytest
import trio

import plain_http
from edgeagent.demo.network import Program, program
from edgeagent.gateway.accounts import create_token
from edgeagent.wire.units import UCR_PER_CREDIT

LIMIT_S = 300.0
QUIET = {
    name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_URL", "NODE_", "EDGEAGENT_"))
}


@attrs.frozen
class Said:
    """What a command did."""

    code: int
    stdout: str
    stderr: str


async def edgeagent(*command: str, **environ: str) -> Said:
    """Run a command to its end, as a process of its own."""
    import sys

    done = await trio.run_process(
        [sys.executable, "-m", "edgeagent", *command],
        env={**QUIET, **environ},
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in said.stderr, said.stderr
    return said


@asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[str]:
    """Run a gateway and give its address."""
    async with program("gateway", "run", "--data", str(tmp_path / "data"), "--port", "0", log=tmp_path / "g.log") as up:
        yield await up.first_line()


async def node_ends(*, log: Path, **environ: str) -> tuple[int, str]:
    """Run a node that is expected to end by itself; return its exit code and its log."""
    async with program("run", log=log, environ={"HEALTH_PORT": "0", **environ}) as node:
        code = await node.process.wait()
    text = log.read_text()
    assert "Traceback" not in text
    return code, text


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def health(port: int, node: Program) -> httpx2.Response:
    """Ask a node's health endpoint, as soon as it listens."""
    async with plain_http.client() as http:
        while True:
            try:
                return await http.get(f"http://127.0.0.1:{port}/health")
            except httpx2.ConnectError:
                assert node.process.returncode is None, node.tail()
                await trio.sleep(0.05)


@pytest.mark.needs("sandbox")
async def test_the_quick_start_by_hand(tmp_path: Path) -> None:
    """Register, run, ask /health, submit, wait, download: each its own command."""
    home, port = tmp_path / "home", free_port()
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            registered = await edgeagent(
                "register",
                "--gateway-url",
                url,
                "--name",
                "my-node",
                "--capabilities",
                "render",
                EDGEAGENT_HOME=str(home),
            )
            environ = {"EDGEAGENT_HOME": str(home), "HEALTH_PORT": str(port)}
            token = (
                await edgeagent(
                    "gateway", "token", "create", "--data", str(tmp_path / "data"), "--name", "s", "--credits", "50"
                )
            ).stdout.strip()
            client = {"GATEWAY_URL": url, "EDGEAGENT_TOKEN": token}
            async with program("run", log=tmp_path / "node.log", environ=environ) as node:
                while (answer := await health(port, node)).status_code != 200:
                    await trio.sleep(0.05)
                payload = '{"width": 64, "height": 36, "samples": 1}'
                submitted = await edgeagent(
                    *(
                        "job",
                        "submit",
                        "render",
                        "--payload",
                        payload,
                        "--wait",
                        "--output",
                        str(tmp_path / "out"),
                        "--json",
                    ),
                    **client,
                )
                listed = await edgeagent("job", "list", "--json", **client)
                job_id = json.loads(listed.stdout)["jobs"][0]["job_id"]
                shown = await edgeagent("job", "show", job_id, **client)
                watched = await edgeagent("job", "watch", job_id, **client)
            ended = node.process.returncode
            log = node.log.read_text()

    assert registered.code == 0
    assert (home / "private_key.pem").stat().st_mode & 0o777 == 0o600
    assert (home / "config.json").stat().st_mode & 0o777 == 0o600
    assert home.stat().st_mode & 0o777 == 0o700
    assert json.loads((home / "config.json").read_text())["node_id"] in registered.stdout
    body = answer.json()
    assert (body["status"], body["relay_connected"]) == ("healthy", True)
    assert set(body) == {"status", "relay_connected", "uptime_seconds"}
    assert submitted.code == 0, submitted.stderr
    result = json.loads(submitted.stdout)
    assert result["schema"] == "edgeagent.result/1"
    for output in result["outputs"]:
        assert (tmp_path / "out" / output["name"]).stat().st_size == output["size_bytes"]
    assert "COMPLETED" in shown.stdout
    assert "credited 10" in shown.stdout
    assert watched.code == 0
    assert ended == 0
    for message in ("Connected to relay server", "Received job_dispatch", "Job completed", "Heartbeat acknowledged"):
        assert message in log


@pytest.mark.needs("sandbox")
async def test_a_node_runs_from_the_environment_alone(tmp_path: Path) -> None:
    """GATEWAY_URL and NODE_JWT are enough; the id is the token's own."""
    port = free_port()
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            done = await edgeagent(
                "register", "--gateway-url", url, "--name", "n", "--json", EDGEAGENT_HOME=str(tmp_path / "other")
            )
            environ = {
                "EDGEAGENT_HOME": str(tmp_path / "empty"),
                "GATEWAY_URL": url.replace("http://", "ws://") + "/api/v1",
                "NODE_JWT": json.loads(done.stdout)["token"],
                "HEALTH_PORT": str(port),
            }
            async with program("run", log=tmp_path / "node.log", environ=environ) as node:
                while (await health(port, node)).status_code != 200:
                    await trio.sleep(0.05)
        assert not (tmp_path / "empty" / "config.json").exists()


@pytest.mark.needs("sandbox")
async def test_health_is_degraded_while_the_link_is_down(tmp_path: Path) -> None:
    """Without a gateway the node stays up, answers 503 and says so."""
    port = free_port()
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            done = await edgeagent(
                "register", "--gateway-url", url, "--name", "n", EDGEAGENT_HOME=str(tmp_path / "home")
            )
        assert done.code == 0
        environ = {"EDGEAGENT_HOME": str(tmp_path / "home"), "HEALTH_PORT": str(port)}
        async with program("run", log=tmp_path / "node.log", environ=environ) as node:
            answer = await health(port, node)

    assert answer.status_code == 503
    assert (answer.json()["status"], answer.json()["relay_connected"]) == ("degraded", False)


async def test_registering_twice_is_refused_until_forced(tmp_path: Path) -> None:
    """Already registered: exit 1 and --force named; forced, the node keeps its id under a new key."""
    home = {"EDGEAGENT_HOME": str(tmp_path / "home")}
    key = tmp_path / "home" / "private_key.pem"
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            register = ("register", "--gateway-url", url, "--name", "n", "--json")
            first = await edgeagent(*register, **home)
            old = key.read_bytes()
            again = await edgeagent(*register, **home)
            kept = key.read_bytes()
            forced = await edgeagent(*register, "--force", **home)

    assert again.code == 1
    assert "--force" in again.stderr
    assert kept == old
    assert forced.code == 0, forced.stderr
    assert key.read_bytes() != old
    assert json.loads(forced.stdout)["node_id"] == json.loads(first.stdout)["node_id"]


async def test_a_name_in_use_is_refused(tmp_path: Path) -> None:
    """Another machine's name: exit 3, and nothing is written."""
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            register = ("register", "--gateway-url", url, "--name", "taken")
            await edgeagent(*register, EDGEAGENT_HOME=str(tmp_path / "one"))
            other = await edgeagent(*register, EDGEAGENT_HOME=str(tmp_path / "two"))

    assert other.code == 3
    assert "taken" in other.stderr
    assert not (tmp_path / "two" / "config.json").exists()


async def test_a_forced_registration_that_fails_leaves_the_old_identity_alone(tmp_path: Path) -> None:
    """The gateway is down: exit 4, every old file is byte for byte what it was."""
    home = tmp_path / "home"
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            register = ("register", "--gateway-url", url, "--name", "n", "--force")
            await edgeagent(*register, EDGEAGENT_HOME=str(home))
        before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
        failed = await edgeagent(*register, EDGEAGENT_HOME=str(home))

    assert failed.code == 4
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == before


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    """Two gateways on one port: the second says so in one line and ends with 1."""
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            port = url.rpartition(":")[2]
            second = await edgeagent("gateway", "run", "--data", str(tmp_path / "other"), "--port", port)

    assert second.code == 1
    assert port in second.stderr
    assert "in use" in second.stderr


@pytest.mark.needs("sandbox")
async def test_a_token_of_another_gateway_stops_the_node_with_3(tmp_path: Path) -> None:
    """Close code 4001 reaches the node, which says what to type instead of trying for ever."""
    from edgeagent.wire import identity

    forged = identity.issue_node_token(identity.new_private_key(), "k", "7b0e5f0e-0000-4000-8000-000000000000", [], 4e9)
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            code, log = await node_ends(
                log=tmp_path / "node.log", GATEWAY_URL=url, NODE_JWT=forged, EDGEAGENT_HOME=str(tmp_path / "home")
            )

    assert code == 3
    assert "4001" in log
    assert "edgeagent register --force" in log


@pytest.mark.needs("sandbox")
async def test_a_revoked_node_stops_with_3(tmp_path: Path) -> None:
    """Its key, which it proves first, is refused as well; the line says whom to ask and what to type."""
    home = str(tmp_path / "home")
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            made = await edgeagent("register", "--gateway-url", url, "--name", "one", EDGEAGENT_HOME=home)
            assert made.code == 0, made.stderr
            gone = await edgeagent("gateway", "nodes", "revoke", "one", "--data", str(tmp_path / "data"))
            assert gone.code == 0, gone.stderr
            code, log = await node_ends(log=tmp_path / "node.log", EDGEAGENT_HOME=home)

    assert code == 3
    assert "4001" in log
    assert "revoked, which only the gateway's owner can undo" in log
    assert "edgeagent register --force" in log


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "edgeagent register"), ("{", "config.json"), ('{"node_id": 5}', "config.json"), ("[]", "config.json")],
    ids=["none", "cut short", "wrong type", "no object"],
)
async def test_a_node_without_a_usable_config_says_which_file(
    tmp_path: Path, content: str | None, complaint: str
) -> None:
    """No config, or a corrupt one: exit 2, one line that names the file or what to type."""
    home = tmp_path / "home"
    home.mkdir()
    if content is not None:
        (home / "config.json").write_text(content)
    with trio.fail_after(LIMIT_S):
        code, log = await node_ends(log=tmp_path / "node.log", EDGEAGENT_HOME=str(home))

    assert code == 2
    assert complaint in log


async def test_an_unreadable_config_is_named(tmp_path: Path) -> None:
    """A directory where the file should be stands for what cannot be read, for root too."""
    (tmp_path / "home" / "config.json").mkdir(parents=True)
    with trio.fail_after(LIMIT_S):
        done = await edgeagent("run", EDGEAGENT_HOME=str(tmp_path / "home"))

    assert done.code == 2
    assert "config.json" in done.stderr


async def test_what_the_gateway_refuses_is_told_to_the_submitter(tmp_path: Path) -> None:
    """A wrong token, an unknown type, no credits, an unknown job: exit 3 and the reason."""
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            offered = ("--capabilities", "cpu_benchmark")
            home = {"EDGEAGENT_HOME": str(tmp_path / "home")}
            await edgeagent("register", "--gateway-url", url, "--name", "n", *offered, **home)
            token = await trio.to_thread.run_sync(create_token, tmp_path / "data", "poor", UCR_PER_CREDIT // 2)
            good = {"GATEWAY_URL": url, "EDGEAGENT_TOKEN": token}
            wrong = await edgeagent("job", "submit", "echo", **{**good, "EDGEAGENT_TOKEN": "ea_" + "x" * 43})
            unknown = await edgeagent("job", "submit", "fold_laundry", **good)
            poor = await edgeagent("job", "submit", "cpu_benchmark", **good)
            missing = await edgeagent("job", "show", "no-such-job", **good)

    assert [said.code for said in (wrong, unknown, poor, missing)] == [3, 3, 3, 3]
    assert "token" in wrong.stderr
    assert "fold_laundry" in unknown.stderr
    assert "credits" in poor.stderr
    assert "no-such-job" in missing.stderr
