"""The unit's text: what systemd itself makes of it, and what a node depends on."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePath

import attrs
import pytest

from edgeagent.errors import RefusedError, UsageError
from edgeagent.node.systemd import unit
from edgeagent.node.systemd.unit import Service, quoted, text

SERVICE = Service(program=PurePath("/bin/true"), home=unit.HOME, stop_s=338.2, systemd=252)
WITH_GPUS = attrs.evolve(SERVICE, gpus=("/dev/nvidia0", "/dev/nvidiactl"))
OF_USER = attrs.evolve(SERVICE, system=False)


def settings(service: Service) -> dict[str, list[str]]:
    """Return the unit's lines by their key."""
    found: dict[str, list[str]] = {}
    for line in text(service).splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def write(service: Service, directory: Path) -> Path:
    path = directory / unit.NAME
    path.write_text(text(service))
    return path


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize(
    "service", [SERVICE, WITH_GPUS, attrs.evolve(SERVICE, program=PurePath("/bin/true"), stop_s=1)]
)
def test_systemd_understands_every_line(service: Service, tmp_path: Path) -> None:
    """systemd-analyze verify has nothing to say."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", write(service, tmp_path)], capture_output=True, text=True, check=False
    )

    ours = [line for line in done.stderr.splitlines() if "edgeagent" in line]
    assert (0, []) == (done.returncode, ours)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("service", [SERVICE, WITH_GPUS], ids=["plain", "gpus"])
def test_the_system_s_unit_is_exposed_to_3_0_at_most(service: Service, tmp_path: Path) -> None:
    """As systemd-analyze security counts it; the threshold is in tenths."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", write(service, tmp_path)]

    done = subprocess.run([*command, "--threshold=30"], capture_output=True, text=True, check=False)
    stricter = subprocess.run([*command, "--threshold=10"], capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert 0 != stricter.returncode


def test_faults_that_no_restart_mends_are_not_restarted() -> None:
    """Their exit codes are those of the command line."""
    (codes,) = settings(SERVICE)["RestartPreventExitStatus"]

    assert {UsageError.exit_code, RefusedError.exit_code} == set(map(int, codes.split()))
    assert str(unit.RESTART) not in codes.split()


def test_stopping_may_take_as_long_as_a_drain() -> None:
    """Rounded up to whole seconds."""
    assert ["339"] == settings(SERVICE)["TimeoutStopSec"]


@pytest.mark.parametrize(
    ("systemd", "steps", "subgroup"), [(252, None, None), (254, ["8"], ["edgesandbox.agent"])], ids=["252", "254"]
)
def test_newer_versions_of_systemd_get_what_they_know(
    systemd: int, steps: list[str] | None, subgroup: list[str] | None
) -> None:
    """An older one would warn of a line that it does not know at every boot."""
    found = settings(attrs.evolve(SERVICE, systemd=systemd))

    assert (steps, subgroup) == (found.get("RestartSteps"), found.get("DelegateSubgroup"))
    assert ["yes"] == found["Delegate"]


def test_gpus_are_the_only_devices() -> None:
    """Those that are named, bound into a /dev that has no others."""
    found = settings(WITH_GPUS)

    assert ["/dev/nvidia0 rw", "/dev/nvidiactl rw"] == found["DeviceAllow"]
    assert ["-/dev/nvidia0", "-/dev/nvidiactl"] == found["BindPaths"]
    assert (["yes"], ["closed"]) == (found["PrivateDevices"], found["DevicePolicy"])
    assert "DeviceAllow" not in settings(SERVICE)


def test_a_user_s_unit_takes_nothing_away_from_newuidmap() -> None:
    """Any of these would have the user's manager set no_new_privs."""
    found = settings(OF_USER)

    assert ["no"] == found["NoNewPrivileges"]
    assert (
        not {"SystemCallFilter", "RestrictAddressFamilies", "RestrictRealtime", "LockPersonality", "User"}
        & found.keys()
    )
    assert (["default.target"], ["yes"], ["mixed"]) == (found["WantedBy"], found["Delegate"], found["KillMode"])


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/usr/bin/edgeagent", "/usr/bin/edgeagent"),
        ("/home/a b/50%", '"/home/a b/50%%"'),
        ('/x/$y"z\\', '"/x/$$y\\"z\\\\"'),
    ],
)
def test_paths_are_one_word(path: str, word: str) -> None:
    """As systemd reads words: specifiers and variables doubled."""
    assert word == quoted(PurePath(path))


def test_a_path_with_a_line_s_end_is_refused() -> None:
    """It could add lines to the unit."""
    with pytest.raises(UsageError, match="install edgeagent at another path"):
        quoted(PurePath("/x\nUser=root"))
