"""``nox -s node-systemd``: the installed node under a real systemd, with a real gateway beside it.

One machine is booted for all of them, and they go on from each other in the order in which they stand, as an operator's
days do.  ``-s`` shows what tier of the sandbox the machine allows.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import beside
import ingredients
import pytest
import systemd_machine
from beside import Gateway, until
from systemd_machine import Machine

import operator_guide

CACHE = Path(os.environ.get("EDGEAGENT_HOSTS_CACHE") or ingredients.PROJECT / ".nox/.cache/hosts").absolute()
UNIT = "edgeagent.service"
HOME = "/var/lib/edgeagent"
AS_NODE = ("sudo", "-u", "edgeagent", f"EDGEAGENT_HOME={HOME}", "edgeagent")
#: The unit waits two minutes for a sign of life, and ten seconds before it starts a node again.
QUICKER = "[Service]\nWatchdogSec=8\nRestartSec=1\n"
#: What each Python there does first, a line of a .pth file: SIGUSR1 blocks the thread of the event loop, and no other.
BLOCK = "import signal, time; signal.signal(signal.SIGUSR1, lambda *_, sleep=time.sleep: sleep(3600))\n"
#: Long enough to be met at work, whatever the machine is busy with.
HELD_S = 10


@pytest.fixture(scope="session")
def gateway() -> Iterator[Gateway]:
    with beside.gateway() as one:
        yield one


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """Booted, with edgeagent installed as docs/service.md says."""
    if lacking := systemd_machine.missing():
        pytest.fail(f"not installed; type: apt-get install --no-install-recommends {' '.join(lacking)}")
    with systemd_machine.booted(CACHE) as one:
        yield one


def active(machine: Machine) -> bool:
    return machine.shown(UNIT, "ActiveState") == "active"


def linked(machine: Machine) -> bool:
    """Whether the node of the system's unit says that it is linked, and would take jobs."""
    said = machine.done(*AS_NODE, "status", "--json")
    return said.returncode == 0 and json.loads(said.stdout)["link"]["state"] == "HEALTHY"


def restarts(machine: Machine) -> int:
    return int(machine.shown(UNIT, "NRestarts"))


def watchdog_timeouts(machine: Machine) -> int:
    return machine.run("journalctl", "--no-pager", f"--unit={UNIT}").count("Watchdog timeout")


def main_pid(machine: Machine) -> int:
    """The agent's pid in the machine."""
    return int(machine.shown(UNIT, "MainPID"))


def held_files(machine: Machine) -> list[Path]:
    """The output files of jobs of the type ``hold`` that any process of the unit still sees."""
    return [file for file in (machine.root / "var/lib/edgeagent").rglob("held.txt") if file.exists()]


def test_the_service_is_installed_by_the_guides_commands(machine: Machine, gateway: Gateway) -> None:
    """They make a user with ids for jobs, and a unit that is enabled, closed enough, and started."""
    drop_in = machine.root / f"etc/systemd/system/{UNIT}.d/quicker.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(QUICKER)
    machine.run("sh", "-ec", operator_guide.command("service", {operator_guide.GATEWAY: gateway.url}))

    assert active(machine)
    assert "enabled" == machine.run("systemctl", "is-enabled", UNIT).strip()
    assert "edgeagent:" in machine.run("cat", "/etc/subuid")
    assert "" == machine.run("systemd-analyze", "verify", "/etc/systemd/system/edgeagent.service").strip()
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", machine.run("systemd-analyze", "security", UNIT))
    assert exposure is not None
    assert float(exposure[1]) <= 3.0


def test_start_returns_when_the_node_is_up(machine: Machine) -> None:
    """Type=notify: the unit is active once the node answers its owner, and soon says that it is linked."""
    machine.run("systemctl", "stop", "edgeagent")
    machine.run("install", "-d", "-o", "edgeagent", f"{HOME}/plugins")
    (machine.root / f"{HOME[1:]}/plugins/hold.py").write_text(beside.HOLD)
    (packages,) = (machine.root / "opt/pipx/venvs/edgeagent/lib").glob("python3.*/site-packages")
    (packages / "block.pth").write_text(BLOCK)
    machine.run("systemctl", "start", "edgeagent")

    assert active(machine)
    assert "notify" == machine.shown(UNIT, "Type")
    assert "schema" in json.loads(machine.done(*AS_NODE, "status", "--json").stdout)
    until(lambda: linked(machine), "a link")
    until(lambda: machine.shown(UNIT, "StatusText").startswith("Linked"), "systemd told of the link")


def test_jobs_run_in_the_units_own_group(machine: Machine, gateway: Gateway) -> None:
    """Each by a user of its own who is not the agent's, in the best tier that the machine's control groups allow."""
    for job_type, payload in (("echo", {"hello": "systemd"}), ("cpu_benchmark", {"limit": 1000})):
        gateway.becomes(gateway.submit(job_type, **payload), "COMPLETED")
    before = machine.group(UNIT)
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")

    agents = {_uid(pid) for pid in before}
    until(lambda: {_uid(pid) for pid in machine.group(UNIT)} - agents - {None}, "a job's own user in the unit's group")
    attempt = gateway.becomes(job, "COMPLETED")["attempts"][-1]
    controllers = set((machine.cgroup / "cgroup.controllers").read_text().split())
    tier = attempt["sandbox"]["tier"]
    print(f"\ntier {tier}; control groups of version 2 have here: {sorted(controllers) or 'no controllers'}")
    assert ("A" if controllers >= {"cpu", "memory", "pids"} else "B") == tier
    assert {"landlock", "seccomp", "user_namespace", "network_namespace"} <= set(attempt["sandbox"]["enforced"])


def test_reload_brings_new_options(machine: Machine, gateway: Gateway) -> None:
    """A running job ends first; its result arrives, and the unit is active again with what has been set."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    machine.run(*AS_NODE, "config", "set", "share.slots", "1")
    machine.run("systemctl", "reload", "edgeagent")

    until(lambda: " of 1 slots" in machine.shown(UNIT, "StatusText") and linked(machine), "one slot")
    assert active(machine)
    done = gateway.becomes(job, "COMPLETED")
    assert 1 == len(done["attempts"])


def test_reload_refuses_wrong_options(machine: Machine) -> None:
    """The node goes on as it was, in the same process, and says what is wrong."""
    pid, config = main_pid(machine), machine.root / f"{HOME[1:]}/config.toml"
    right = config.read_text()
    config.write_text("[share]\nslots = -3\n")
    machine.run("systemctl", "reload", "edgeagent")

    until(lambda: "share.slots" in machine.run("edgeagent", "service", "logs", "-n", "5"), "a word about share.slots")
    config.write_text(right)
    assert pid == main_pid(machine)
    assert active(machine)


@pytest.mark.parametrize("signal", ["STOP", "USR1"], ids=["stopped", "its loop blocked"])
def test_an_agent_that_stands_still_is_killed_and_started_again(
    machine: Machine, gateway: Gateway, signal: str
) -> None:
    """The watchdog: an agent that gives no sign of life, as a whole or with its event loop, is replaced."""
    before, times, old = main_pid(machine), restarts(machine), machine.group(UNIT)
    timeouts = watchdog_timeouts(machine)
    machine.run("sh", "-c", f"kill -{signal} {before}")

    until(lambda: restarts(machine) > times and linked(machine), "a new agent")
    assert before != main_pid(machine)
    assert timeouts + 1 == watchdog_timeouts(machine)
    assert not old & machine.group(UNIT)
    gateway.becomes(gateway.submit("echo", again=True), "COMPLETED")


def test_a_killed_agent_is_started_again_and_leaves_nothing(machine: Machine, gateway: Gateway) -> None:
    """kill -9 with a job at work: nothing of the old ones lives on, and the job is done by another attempt."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    times, old = restarts(machine), machine.group(UNIT)
    machine.run("sh", "-c", f"kill -KILL {main_pid(machine)}")

    until(lambda: restarts(machine) > times and linked(machine), "a new agent")
    assert not old & machine.group(UNIT)
    done = gateway.becomes(job, "COMPLETED")
    assert 2 == len(done["attempts"])


def test_stop_drains(machine: Machine, gateway: Gateway) -> None:
    """`systemctl stop` during a job: it ends, its result arrives, the service ends well, and nothing is left over."""
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    machine.run("systemctl", "stop", "edgeagent")

    assert "inactive" == machine.shown(UNIT, "ActiveState")
    assert "success" == machine.shown(UNIT, "Result")
    done = gateway.job(job)
    assert ("COMPLETED", 1) == (done["status"], len(done["attempts"]))
    assert set() == machine.group(UNIT)
    assert [] == held_files(machine)


def test_the_service_starts_without_a_gateway(machine: Machine) -> None:
    """Readiness is the node's own: a gateway that is away for now fails no start, and the status line says it."""
    config = machine.root / f"{HOME[1:]}/config.json"
    right = config.read_text()
    where = json.loads(right) | {"gateway_url": "http://127.0.0.1:9"}
    config.write_text(json.dumps(where))
    try:
        machine.run("systemctl", "start", "edgeagent")
        assert active(machine)
        assert machine.shown(UNIT, "StatusText").startswith("Not linked")
        machine.run("systemctl", "stop", "edgeagent")
        assert "success" == machine.shown(UNIT, "Result")
    finally:
        config.write_text(right)


def test_uninstall_leaves_the_home(machine: Machine) -> None:
    """The node stops, the unit is gone; user and home stay."""
    machine.run("systemctl", "start", "edgeagent")
    machine.run("edgeagent", "service", "uninstall")

    assert "not-found" == machine.shown(UNIT, "LoadState")
    assert set() == machine.group(UNIT)
    assert (machine.root / f"{HOME[1:]}/config.json").exists()
    assert "edgeagent" in machine.run("id", "edgeagent")


def test_a_persons_own_service_runs_while_nobody_is_logged_in(machine: Machine, gateway: Gateway) -> None:
    """`service install --user` and `loginctl enable-linger`: jobs run, and stop drains."""
    machine.run("useradd", "--create-home", "--shell", "/bin/bash", "alice")
    machine.run("loginctl", "enable-linger", "alice")
    uid = machine.run("id", "-u", "alice").strip()
    environ = {"HOME": "/home/alice", "XDG_RUNTIME_DIR": f"/run/user/{uid}"}
    until(lambda: machine.done("test", "-S", f"/run/user/{uid}/systemd/private").returncode == 0, "alice's systemd")

    def alice(*command: str) -> str:
        return machine.run(*command, user="alice", **environ)

    alice("edgeagent", "register", "--gateway-url", gateway.url, "--name", "alices-node")
    alice("mkdir", "-p", "/home/alice/.edgeagent/plugins")
    alice("sh", "-c", f"printf %s {shlex.quote(beside.HOLD)} > /home/alice/.edgeagent/plugins/hold.py")
    alice("edgeagent", "service", "install", "--user")
    until(
        lambda: (
            "active" == machine.done("systemctl", "--user", "is-active", UNIT, user="alice", **environ).stdout.strip()
        ),
        "up",
    )
    job = gateway.submit("hold", seconds=HELD_S)
    gateway.becomes(job, "RUNNING")
    assert "" == machine.run("loginctl", "list-sessions", "--no-legend").strip()
    alice("systemctl", "--user", "stop", "edgeagent")

    done = gateway.job(job)
    assert ("COMPLETED", 1) == (done["status"], len(done["attempts"]))
    print(f"\ntier {done['attempts'][0]['sandbox']['tier']}")
    alice("edgeagent", "service", "uninstall", "--user")
    assert not (machine.root / "home/alice/.config/systemd/user/edgeagent.service").exists()


def _uid(pid: int) -> int | None:
    """Return the user of a process, None for one that has ended."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except FileNotFoundError:
        return None
