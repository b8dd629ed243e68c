"""Puts the unit where systemd finds it, and takes it away again: what ``edgeagent service`` does."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path, PurePath

import attrs

from edgeagent.errors import EdgeAgentError, UsageError
from edgeagent.node import files
from edgeagent.node.options import resolve
from edgeagent.node.systemd import liveness, unit
from edgesandbox.identity import next_free

#: Device nodes that a GPU's driver needs, as edgesandbox's ``gpus`` lends them.
GPU_NODES = ("/dev/nvidia[0-9]*", "/dev/nvidiactl", "/dev/nvidia-uvm*", "/dev/nvidia-caps/*", "/dev/kfd", "/dev/dri/*")
#: Where ``ProtectHome=`` lets nothing in.
_HOMES = tuple(map(PurePath, ("/home", "/root", "/run/user")))


@attrs.frozen(kw_only=True)
class Scope:
    """The system's services, or those of the user who asks."""

    system: bool

    @property
    def unit(self) -> Path:
        """Where the unit's file is."""
        if self.system:
            return Path("/etc/systemd/system", unit.NAME)
        configured = os.environ.get("XDG_CONFIG_HOME")
        return (Path(configured) if configured else Path.home() / ".config") / "systemd/user" / unit.NAME

    def command(self, program: str, *words: str) -> list[str]:
        """Return the command line that asks this scope's manager."""
        return [program, *(() if self.system else ("--user",)), *words]

    def call(self, *words: str) -> str:
        """Run ``systemctl`` and return what it says.

        Raises:
            EdgeAgentError: it failed; its own words.
        """
        command = self.command("systemctl", *words)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise EdgeAgentError("this machine has no systemd; start the node with: edgeagent run") from None
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise EdgeAgentError(f"{' '.join(command)}: {said}")
        return done.stdout


def install(scope: Scope, home: Path) -> Path:
    """Write the unit, enable it and start it; a node of another home is moved nowhere.

    Args:
        scope: whose service it is to be.
        home: a user's node's directory; the system's is always ``unit.HOME``.

    Returns:
        The unit's file.

    Raises:
        EdgeAgentError: it cannot be; one line says what to type.
    """
    if scope.system:
        if os.geteuid() != 0:
            raise UsageError(
                "only root can install a service of the system; use sudo, or: edgeagent service install --user"
            )
        home = Path(unit.HOME)
    program = _program()
    if scope.system and any(program.is_relative_to(one) for one in _HOMES):
        raise UsageError(
            f"{program} is in a person's home, which the service may not enter; "
            "install edgeagent elsewhere: sudo PIPX_HOME=/opt/pipx PIPX_BIN_DIR=/usr/local/bin pipx install edgeagent"
        )
    version = _version(scope)
    if scope.system:
        _make_user()
    settings = resolve.load(home, os.environ, {})
    service = unit.Service(
        program=program,
        home=home,
        stop_s=settings.shutdown.grace_s + liveness.AFTERWARDS_S,
        systemd=version,
        system=scope.system,
        gpus=tuple(sorted(node for pattern in GPU_NODES for node in glob.glob(pattern))),  # noqa: PTH207 (absolute)
    )
    scope.unit.parent.mkdir(parents=True, exist_ok=True)
    files.write(scope.unit, unit.text(service).encode(), 0o644)
    scope.call("daemon-reload")
    scope.call("enable", unit.NAME)
    if registered(scope, home):
        scope.call("restart", "--no-block", unit.NAME)
    return scope.unit


def uninstall(scope: Scope) -> None:
    """Drain and stop the node, and remove its unit; its home and its user stay.

    Raises:
        EdgeAgentError: there is no such unit, or it is not the caller's to remove.
    """
    if not scope.unit.exists():
        raise EdgeAgentError(f"there is no {scope.unit}")
    if scope.system and os.geteuid() != 0:
        raise UsageError("only root can remove a service of the system; use sudo")
    scope.call("disable", "--now", unit.NAME)
    scope.unit.unlink()
    scope.call("daemon-reload")


def registered(scope: Scope, home: Path) -> bool:
    """Say whether the home that the service runs from has a node yet."""
    return ((Path(unit.HOME) if scope.system else home) / files.CONFIG).exists()


def _program() -> PurePath:
    """Return this very command, under the name by which it is found, that outlives an upgrade."""
    beside = Path(sys.executable).parent / "edgeagent"
    named = Path(sys.argv[0]).absolute()
    if named.name == "edgeagent" and os.access(named, os.X_OK):
        beside = named
    if not os.access(beside, os.X_OK):
        raise UsageError("this is not the installed command edgeagent; install it, and use that")
    return PurePath(os.path.realpath(beside))


def _version(scope: Scope) -> int:
    """Return systemd's version; the manager answers, so it runs."""
    said = scope.call("show", "--property=Version", "--value")
    digits = "".join(one if one.isdigit() else " " for one in said).split()
    if not digits:
        raise EdgeAgentError("systemd does not run here; start the node with: edgeagent run")
    return int(digits[0])


def _make_user() -> None:
    """Make the service's user, with ids for jobs in /etc/subuid and /etc/subgid, where there is none yet."""
    try:
        pwd.getpwnam(unit.USER)
    except KeyError:
        _admin("useradd", "--system", "--user-group", "--home-dir", str(unit.HOME), "--shell", _nologin(), unit.USER)
    home, owner = Path(unit.HOME), pwd.getpwnam(unit.USER)
    if not home.is_dir():  # systemd would make it at the first start, but the node is registered before that
        home.mkdir(mode=0o700)
        os.chown(home, owner.pw_uid, owner.pw_gid)
    texts = {file: _text(file) for file in ("/etc/subuid", "/etc/subgid")}
    first = next_free(texts.values())
    for flag, text in zip(("--add-subuids", "--add-subgids"), texts.values(), strict=True):
        if not any(line.startswith(f"{unit.USER}:") for line in text.splitlines()):
            _admin("usermod", flag, f"{first}-{first + 65_535}", unit.USER)


def _text(file: str) -> str:
    path = Path(file)
    path.touch()  # usermod wants it to be there
    return path.read_text(errors="replace")


def _nologin() -> str:
    return shutil.which("nologin", path="/usr/sbin:/sbin:/usr/bin") or "/bin/false"


def _admin(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EdgeAgentError(
            f"{command[0]} is not installed; install it, or make the user {unit.USER} yourself"
        ) from None
    if done.returncode:
        raise EdgeAgentError(f"{' '.join(command)}: {' '.join(done.stderr.split())}")
