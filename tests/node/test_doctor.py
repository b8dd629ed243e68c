"""What ``edgeagent doctor`` finds: verdicts from values, and real homes, ports, plugins and gateways that are wrong."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from loopback_gateway import serve

from edgeagent.cli import main
from edgeagent.node import config, control, files, hostwatch
from edgeagent.node.control import Json
from edgeagent.node.doctor import home as at_home
from edgeagent.node.doctor import host, reach, verdicts
from edgeagent.node.doctor.verdicts import Level, Verdict
from edgeagent.node.options.sections import Health, Pause
from edgeagent.node.options.settings import Settings
from edgeagent.node.options.storage import Fetch
from edgeagent.wire import identity
from edgeagent.wire.urls import GatewayUrl


@pytest.mark.parametrize(
    ("verdict", "level", "words"),
    [
        (verdicts.cores(2), Level.PASS, "2 processor cores"),
        (verdicts.cores(1), Level.WARN, "1 processor core; 2 are asked for"),
        (verdicts.cores(4, 1.5), Level.PASS, "4 processor cores, of which jobs use 1.5 together (share.cores)"),
        (verdicts.memory(int(3.8 * 2**30)), Level.PASS, "3.8 GiB"),
        (verdicts.memory(2 << 30), Level.WARN, "4 GB are asked for"),
        (verdicts.disk(21 * 10**9, "/x"), Level.PASS, "free in /x"),
        (verdicts.disk(19 * 10**9, "/x"), Level.WARN, "20 GB are asked for"),
        (verdicts.disk(21 << 30, "/x", 22 << 30), Level.WARN, "less than the 22 GiB that stay free: no jobs are taken"),
        (verdicts.sandbox("A", {}), Level.PASS, "tier A"),
        (verdicts.sandbox("B", {"cgroup_memory": "not delegated"}), Level.WARN, "cgroup_memory: not delegated"),
        (verdicts.sandbox("C", {}), Level.WARN, "tier C"),
        (verdicts.sandbox("A", {}, 1.5), Level.PASS, "held to 1.5 processors by a control group"),
        (
            verdicts.sandbox("B", {"cores_quota": "no"}, 2),
            Level.WARN,
            "held to 2 processors by which they may use; not",
        ),
        (verdicts.clock(-59.0), Level.PASS, "agrees"),
        (verdicts.clock(3600.0), Level.WARN, "1h ahead of"),
        (verdicts.clock(-120.0), Level.WARN, "2m behind"),
        (verdicts.token(3600.0, provable=False), Level.PASS, "good for 1h"),
        (verdicts.token(-60.0, provable=True), Level.PASS, "by its key"),
        (verdicts.token(-60.0, provable=False), Level.FAIL, "ended 1m ago, and no key"),
        (verdicts.mode("/k", 0o100600, 0o600), Level.PASS, "closed"),
        (verdicts.mode("/k", 0o100400, 0o600), Level.PASS, "closed"),
        (verdicts.mode("/k", 0o100640, 0o600), Level.FAIL, "mode 640"),
    ],
)
def test_each_verdict_follows_from_its_values(verdict: Verdict, level: Level, words: str) -> None:
    """At the guide's own figures; what is not well has a remedy."""
    assert level is verdict.level
    assert words in verdict.text
    assert (level is Level.PASS) == (verdict.remedy == "")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of a node whose gateway is not there."""
    key = identity.new_private_key()
    (tmp_path / files.PRIVATE_KEY).write_bytes(key)
    (tmp_path / files.PRIVATE_KEY).chmod(0o600)
    tmp_path.chmod(0o700)
    token = identity.issue_node_token(key, "k", "00000000-0000-4000-8000-000000000001", ("echo",), time.time())
    files.write_config(tmp_path, {"gateway_url": "http://127.0.0.1:9", "node_id": "n", "jwt_token": token})
    return tmp_path


def _levels(found: list[Verdict] | Iterator[Verdict]) -> dict[str, Level]:
    return {one.text: one.level for one in found}


def _only(found: list[Verdict] | Iterator[Verdict], level: Level) -> Verdict:
    (one,) = [verdict for verdict in found if verdict.level is level]
    return one


def test_a_key_that_others_can_read_fails(home: Path) -> None:
    """With what to type."""
    (home / files.PRIVATE_KEY).chmod(0o644)

    assert f"chmod 600 {home / files.PRIVATE_KEY}" == _only(at_home.secrets(home, Settings()), Level.FAIL).remedy


def test_a_secret_for_s3_that_others_can_read_fails(home: Path) -> None:
    """The node would not start with it; closed, it passes."""
    keys = home / "s3.keys"
    keys.write_text("id\nsecret\n")
    keys.chmod(0o644)
    settings = Settings(fetch=Fetch(s3_keys=str(keys)))

    assert f"chmod 600 {keys}" == _only(at_home.secrets(home, settings), Level.FAIL).remedy
    keys.chmod(0o600)
    assert f"{keys} is closed to other users" in _levels(at_home.secrets(home, settings))


def test_a_key_that_is_none_fails(home: Path) -> None:
    """It is not only there, but usable."""
    (home / files.PRIVATE_KEY).write_text("nonsense")

    assert "not usable" in _only(at_home.secrets(home, Settings()), Level.FAIL).text


def test_a_closed_home_passes(home: Path) -> None:
    """Home, key and configuration, each by itself; and who it is."""
    node, found = at_home.who(home, {})

    assert node is not None
    assert {Level.PASS} == set(_levels(found).values()) == set(_levels(at_home.secrets(home, Settings())).values())


def test_options_that_are_wrong_fail_and_the_rest_is_still_looked_at(home: Path) -> None:
    """The examination goes on with their defaults."""
    (home / "config.toml").write_text("[share]\nslots = -1\n")

    settings, found = at_home.options(home, {})

    assert "share.slots" in _only(found, Level.FAIL).text
    assert settings == Settings()


def test_a_plugin_that_cannot_be_imported_is_a_warning(home: Path) -> None:
    """Whether its file is broken, its module is missing, or nobody has it."""
    (home / "plugins").mkdir()
    (home / "plugins" / "broken.py").write_text("class (")
    (home / "plugins" / "lost.py").write_text(
        "import no_such_module\nfrom edgeagent.plugins import BaseWorkerPlugin\n"
        'class Lost(BaseWorkerPlugin):\n    job_type = "lost"\n'
    )

    found = _levels(host.plugins(home / "plugins", ("lost", "absent", "echo")))

    warned = "\n".join(text for text, level in found.items() if level is Level.WARN)
    assert 3 == warned.count("\n") + 1
    for words in ("broken.py: not valid Python", "No module named 'no_such_module'", "no plugin for 'absent'"):
        assert words in warned
    assert any("job types that run here" in text for text in found)


@pytest.mark.needs("sandbox", "root")
def test_plugins_that_jobs_may_not_read_fail(home: Path) -> None:
    """As the node itself would not start; the remedy is what to type."""
    plugins = home / "plugins"
    plugins.mkdir(mode=0o700)

    verdict = host.sandbox(home, Settings())
    plugins.chmod(0o755)

    assert (Level.FAIL, f"type: chmod -R o+rX {plugins}") == (verdict.level, verdict.remedy)
    assert Level.FAIL is not host.sandbox(home, Settings()).level


def test_a_wish_that_this_machine_cannot_heed_is_a_warning(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the option that is in vain; what nobody asked for is not spoken of."""
    monkeypatch.setattr(hostwatch, "on_battery", lambda: None)

    (verdict,) = host.pauses(Settings(pause=Pause(battery=True)))

    assert (Level.WARN, "edgeagent config unset pause.battery") == (verdict.level, verdict.remedy)
    assert verdict.text.startswith("pause.battery has no effect")
    assert [] == list(host.pauses(Settings()))


def test_a_port_in_use_fails(home: Path) -> None:
    """Named with the variable that changes it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        verdict = host.port(home, Settings(health=Health(port=other.getsockname()[1])))

    assert Level.FAIL is verdict.level
    assert "in use" in verdict.text
    assert "HEALTH_PORT" in verdict.remedy


async def test_of_a_running_node_its_own_sandbox_counts(home: Path, nursery: trio.Nursery) -> None:
    """systemd may have given it control groups, which the shell that asks has not."""
    listener = control.listen(home)
    assert listener is not None

    async def state(request: Json) -> Json:
        return {"state": {"sandbox": {"tier": "A", "not_enforced": {"cgroup_devices": "not for this user"}}}}

    nursery.start_soon(control.run, listener, {"state": state})
    with trio.fail_after(60):
        verdict = await trio.to_thread.run_sync(host.sandbox, home, Settings())

    said = "the running node's jobs are confined in tier A; not enforced: cgroup_devices: not for this user"
    assert (Level.PASS, said) == (verdict.level, verdict.text)


async def test_a_gateway_that_does_not_answer_fails(home: Path) -> None:
    """With the reason of the system."""
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    node = config.Identity(home=home, gateway=GatewayUrl.parse(f"http://127.0.0.1:{port}"), node_id="n", token="t")

    with trio.fail_after(60):
        (verdict,) = await reach.gateway(node)

    assert (Level.FAIL, True) == (verdict.level, "Connection refused" in verdict.text)


async def test_a_server_that_is_no_gateway_fails(home: Path, nursery: trio.Nursery) -> None:
    """It answers, but not as a gateway does."""
    loopback = await serve(nursery)
    node = config.Identity(home=home, gateway=loopback.url, node_id="n", token="t")

    with trio.fail_after(60):
        found = await reach.gateway(node)

    assert Level.FAIL in {one.level for one in found}


@pytest.mark.needs("sandbox")
def test_the_command_says_all_and_its_exit_code_is_the_worst(tmp_path: Path) -> None:
    """A machine that is no node yet: everything is looked at, one thing FAILs."""
    environ = {"EDGEAGENT_HOME": str(tmp_path / "none"), "HEALTH_PORT": "0"}
    done = CliRunner().invoke(main, ["doctor", "--json"], env=environ)

    document = json.loads(done.stdout)
    assert (1, "edgeagent.doctor/1", 1) == (done.exit_code, document["schema"], document["counts"]["FAIL"])
    assert {"config", "cores", "memory", "disk", "sandbox", "gpu", "identity", "plugins", "port"} == {
        one["check"] for one in document["checks"]
    }
    assert not (tmp_path / "none").exists()
