"""A machine with a real systemd, booted from a copy of a Debian tree by systemd-nspawn; it shares this one's network.

It runs in a control group of its own, which is removed with it, and asks neither systemd nor machined of the host, so
that the host may lack both.  Programs are started in it by nsenter.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import commands
import installed
import trees

PROGRAMS = trees.PROGRAMS | {"systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
#: nspawn's own filter knows nothing of these; the node's kernel has them.
CALLS = "landlock_create_ruleset landlock_add_rule landlock_restrict_self"
BOOT_S = 120.0
STOP_S = 60.0


@attrs.frozen
class Machine(commands.Commands):
    """A booted machine."""

    root: Path
    cgroup: Path  # of its systemd, on the host
    leader: int  # pid of its systemd, on the host

    def done(self, *command: str, user: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is; ``user`` needs no session."""
        enter = ["nsenter", "--target", str(self.leader), "--all", *commands.words(command, user, environ)]
        return subprocess.run(enter, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False)

    def group(self, unit: str) -> set[int]:
        """Return the pids, on the host, of all processes in a unit's control group."""
        files = (self.cgroup / "system.slice" / unit).rglob("cgroup.procs")
        return {int(line) for file in files for line in file.read_text().split()}


@contextlib.contextmanager
def booted(cache: Path) -> Iterator[Machine]:
    """Yield a machine that is up, with the node installed; afterwards it is off, and nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="systemd-") as scratch, _group() as group:
        root = Path(scratch, "root")
        installed.tree(cache, root)
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe"]
        command += [f"--directory={root}", "--machine=node", f"--system-call-filter={CALLS}"]
        command += ["--bind-ro=/etc/resolv.conf"] if Path("/etc/resolv.conf").exists() else []
        # The shell enters the group before it becomes nspawn, whose payload then has a group below.
        enter = ["nice", "sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *command]
        log = Path(scratch, "console")
        with log.open("wb") as console:
            process = subprocess.Popen(
                enter,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )
        try:
            yield _up(process, root, group, log)
        finally:
            _off(process)


def _up(process: subprocess.Popen[bytes], root: Path, group: Path, log: Path) -> Machine:
    deadline = time.monotonic() + BOOT_S
    while process.poll() is None and time.monotonic() < deadline:
        if pids := _children(process.pid):
            machine = Machine(root, group / "payload", pids[0])
            said = machine.done("systemctl", "is-system-running", "--wait")
            if said.stdout.strip() in ("running", "degraded"):
                return machine
        time.sleep(0.2)
    raise commands.CommandFailedError(f"the machine did not boot:\n{log.read_text(errors='replace')[-3000:]}")


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _off(process: subprocess.Popen[bytes]) -> None:
    """Have it shut down, as by its power button; kill it where it does not."""
    for pid in _children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGRTMIN + 4)
    try:
        process.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        for pid in [*_children(process.pid), process.pid]:  # with its first process, all of its namespace end
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _group() -> Iterator[Path]:
    """Yield a new control group of version 2, with what controllers there are to give."""
    top = Path("/sys/fs/cgroup/unified")
    if not (top / "cgroup.procs").exists():
        top = Path("/sys/fs/cgroup")
    group = top / f"edgeagent-systemd-{os.getpid()}"
    for name in (top / "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):  # in use elsewhere
            (top / "cgroup.subtree_control").write_text(f"+{name}")
    group.mkdir()
    try:
        yield group
    finally:
        _remove(group)
        # Where there is a hierarchy of version 1 for systemd, nspawn keeps its books there, too.
        if (named := Path("/sys/fs/cgroup/systemd", group.name)).exists():
            _remove(named)


def _remove(group: Path) -> None:
    """Remove a control group and those in it, once what was in them has ended."""
    deadline = time.monotonic() + STOP_S
    while True:
        try:
            for below in sorted((each for each in group.rglob("*") if each.is_dir()), reverse=True):
                below.rmdir()
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def missing() -> list[str]:
    """Return the Debian packages that this machine lacks for it."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
