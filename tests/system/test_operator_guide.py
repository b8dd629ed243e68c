"""The operator's guide, run as it is written, with what it promises; tests/hosts has Docker's and systemd's parts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from test_commands import QUIET, free_port, gateway

import operator_guide
from operator_guide import GATEWAY, HEALTH, PAGE

HOSTS = Path(__file__).parents[1] / "hosts"
LIMIT_S = 300.0


async def bash(name: str, environ: Mapping[str, str], **instead: str) -> subprocess.CompletedProcess[bytes]:
    """Run one block of the guide as an operator's shell does, up to the first command that fails."""
    words = {{"gateway": GATEWAY, "health": HEALTH}[key]: value for key, value in instead.items()}
    text = operator_guide.command(name, words)
    return await trio.run_process(
        ["bash", "-ec", text], env=dict(environ), capture_stdout=True, capture_stderr=True, check=False
    )


def operator(home: Path, **also: str) -> dict[str, str]:
    """Return the environment of an operator who has nothing of edgeagent's set, and the command in his path."""
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**QUIET, "PATH": programs, "HOME": str(home), "HEALTH_PORT": str(free_port()), **also}


@asynccontextmanager
async def running(environ: Mapping[str, str], log: Path) -> AsyncIterator[trio.Process]:
    """Run the guide's foreground command."""
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            ["bash", "-c", operator_guide.command("run", {})], env=dict(environ), stderr=stderr
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@pytest.mark.needs("sandbox", "curl")
async def test_the_guides_commands_do_what_it_says(tmp_path: Path) -> None:
    """From registration to re-registration, in the order of the page, on this machine."""
    environ = operator(tmp_path)
    home = tmp_path / ".edgeagent"
    with trio.fail_after(LIMIT_S):
        async with gateway(tmp_path) as url:
            said = await bash("register", environ, gateway=url)
            assert 0 == said.returncode, said.stderr
            (node_id,) = re.findall(r"^Node id: +(\S+)$", said.stdout.decode(), re.MULTILINE)
            assert re.search(r"^Token: +eyJ", said.stdout.decode(), re.MULTILINE)
            assert 0o600 == (home / "private_key.pem").stat().st_mode & 0o777
            assert {"public_key.pem", "config.json"} <= {file.name for file in home.iterdir()}

            async with running(environ, tmp_path / "node.log") as node:
                health = f"localhost:{environ['HEALTH_PORT']}"
                while (asked := await bash("health", environ, health=health)).returncode or not json.loads(
                    asked.stdout
                )["relay_connected"]:
                    assert node.poll() is None, (tmp_path / "node.log").read_text()
                    await trio.sleep(0.1)
                assert {"status", "relay_connected", "uptime_seconds"} <= json.loads(asked.stdout).keys()
                assert "healthy" == json.loads(asked.stdout)["status"]
                await _look(environ)
                # Ctrl-C: bash has become the only command of its line.
                node.send_signal(signal.SIGINT)
                assert 0 == await node.wait()

            again = await bash("again", environ, gateway=url)
            assert 0 == again.returncode, again.stderr
            assert node_id in again.stdout.decode()


async def _look(environ: Mapping[str, str]) -> None:
    """Run what an operator looks at and sets while the node runs."""
    for name, promised in (
        ("status", "HEALTHY"),
        ("past", "Connected to relay server"),
        ("plugin", "my_renderer"),
        ("config", "share.slots"),
    ):
        done = await bash(name, environ)
        assert 0 == done.returncode, (name, done.stdout, done.stderr)
        assert promised in done.stdout.decode(), (name, done.stdout)
    done = await bash("doctor", environ)
    assert b"PASS  gateway" in done.stdout or b"WARN  gateway" in done.stdout, (done.stdout, done.stderr)
    assert done.returncode == (b" 0 FAIL" not in done.stdout)  # this machine may be smaller than the guide asks for


def test_every_command_of_the_guide_is_run_or_excused() -> None:
    """Each block has a name; each name is run by a test, or stands with a reason at the page's end."""
    text = PAGE.read_text()
    named = operator_guide.commands()
    assert text.count("```sh") == len(named)
    excused = set(re.findall(r"^\| `([a-z-]+)` \| \S", text.partition("## What no test runs")[2], re.MULTILINE))
    sources = [Path(__file__), HOSTS / "docker_cases.py", HOSTS / "systemd_cases.py"]
    called = r'(?:bash|command|typed)\("([a-z-]+)"|^        \("([a-z-]+)", "'
    run = {
        name for source in sources for found in re.findall(called, source.read_text(), re.MULTILINE) for name in found
    }
    run &= named.keys()

    assert set() == run & excused
    assert set(named) == run | excused
