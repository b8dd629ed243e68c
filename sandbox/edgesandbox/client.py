"""The agent's side: a Zygote to start once, a Box for each job.

Synchronous and thread-safe; nothing here waits longer than the call says.  The agent never forks: it asks the zygote,
and keeps four descriptors of each sandbox (channel, output, control, scratch) and a pidfd.  Sandboxes that wait to be
handed out are in ``pool``.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from edgesandbox import disks, launcher, linux, networks, passing, probe
from edgesandbox import shelf as shelves
from edgesandbox.binds import Bind
from edgesandbox.box import Box, Go
from edgesandbox.diagnose import advise
from edgesandbox.errors import NamespacesRefused, SandboxUnavailable, SetupFailed
from edgesandbox.gpus import HIDDEN
from edgesandbox.grant import Grant
from edgesandbox.opening import Opener
from edgesandbox.pool import Pool
from edgesandbox.report import Outcome, compose
from edgesandbox.spec import Limits, Spec
from edgesandbox.supervise import first_look_s

# Where there is no warm pool: clones that have joined their control groups of version 1 before there is work for them.
CLONES_AHEAD = 2
TIER_C = ("refuse", "allow", "force")
START_TIMEOUT_S = 120.0
SPAWN_TIMEOUT_S = 30.0
# What a launcher has to end its jobs and remove what they left on disk: a million files take some.
BURIAL_TIMEOUT_S = 30.0
_OR_TIER_C = "or allow the weaker tier C (edgesandbox: --allow-tier-c; edgeagent: EDGEAGENT_ALLOW_TIER_C=1)"
# Directories of most hosts that no job has any business in.
HOST_PATHS = ("/boot", "/home", "/root/.ssh", "/run", "/srv", "/sys", "/var")
ENVIRONMENT = {
    "HOME": "/tmp",  # the job's own
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TMPDIR": "/tmp",
    "USER": "job",
    **HIDDEN,
}


class Zygote:
    """Starts the zygote process and asks it for sandboxes.

    Start it before the agent reads any secret: what this process holds by then is what a hole in the kernel could leak.

    Args:
        entry: ``"module:function"`` called in each job with its end of the channel.
        waits: that function is called ahead, when its process is confined, with a ``job.Gate`` as its second argument;
            what takes it long is then done in sandboxes that are kept ready.  It calls the gate's ``ready``, waits
            until ``fd`` can be read, and calls ``enter``; nothing of the job may run before that.
        preload: modules to import ahead, once.
        read_only: files and directories that jobs may read, at the same path.
        import_paths: directories to import from, which jobs may read too.
        env: added to the jobs' environment, which otherwise holds only ``ENVIRONMENT``.
        hidden: paths that no job may see; ``start`` refuses when another argument would uncover one.
        binds: files and directories of the host at places of the caller's choice, some of them writable.
        network: ``"empty"``; ``"loopback"``, which costs each job a namespace of its own; ``"host"``, which gives up
            the wall between jobs and the host's network, and is said so in each report.
        grants: all that jobs may be granted; nothing else can be, by whoever gets hold of the zygote.
        scratch_directory: where on disk jobs' scratches are made, for outputs that do not fit into memory; a watchdog
            caps them.  Unset, each is a file system in memory, with a cap that the kernel keeps.
        shelf: a directory of directories, of which ``Spec.inputs`` gives a job one; every user may pass through it.
        warm: how many sandboxes to keep ready, each of them used once; ``spawn`` then only has to start the job.
        warm_limits: what those are built for; a spec that differs in anything gets a sandbox built for it.
        cores: how many processors all jobs may use together, parts included; unset, all that this process may use.
        tier_c: what to do where there are no namespaces: ``"refuse"`` to start, or ``"allow"`` the weaker tier C;
            ``"force"`` uses it in any case, for tests.

    Raises:
        ValueError: ``warm`` is negative, ``cores`` not positive, or ``network`` or ``tier_c`` none of these.
    """

    def __init__(
        self,
        *,
        entry: str,
        waits: bool = False,
        preload: Iterable[str] = (),
        read_only: Iterable[Path | str] = (),
        import_paths: Iterable[Path | str] = (),
        env: Mapping[str, str] | None = None,
        hidden: Iterable[Path | str] = (),
        binds: Iterable[Bind] = (),
        network: str = networks.EMPTY,
        grants: Iterable[Grant] = (),
        scratch_directory: Path | str | None = None,
        shelf: Path | str | None = None,
        warm: int = 0,
        warm_limits: Limits | None = None,
        cores: float | None = None,
        tier_c: str = "refuse",
    ) -> None:
        """Remember what to start; no process yet."""
        if warm < 0 or not (cores is None or cores > 0):
            raise ValueError(f"warm must be 0 or more and cores more than 0, not {warm} and {cores}")
        if network not in networks.KINDS:
            raise ValueError(f"network must be one of {', '.join(networks.KINDS)}, not {network!r}")
        if tier_c not in TIER_C:
            raise ValueError(f"tier_c must be one of {', '.join(TIER_C)}, not {tier_c!r}")
        self._tier_c = tier_c
        asked = list(binds)
        package_root = Path(__file__).parents[1]
        paths = [str(each) for each in (package_root, *import_paths)]
        self._env = ENVIRONMENT | dict(env or {})
        self._for_launcher = {
            "import_paths": paths,
            "read_only": [str(each) for each in read_only],
            "hidden": [str(each) for each in hidden],
            "binds": [each.to_json() for each in asked],
            "network": network,
            "grants": [each.to_json() for each in grants],
            "scratch_directory": None if scratch_directory is None else str(Path(scratch_directory).absolute()),
            "shelf": None if shelf is None else str(Path(shelf).absolute()),
            "cores": cores,
            "env": self._env,
        }
        self._for_zygote = {
            "entry": entry,
            "waits": waits,
            "preload": list(preload),
            "import_paths": paths,
            "read_only": self._for_launcher["read_only"],
            "ahead": 0 if warm else CLONES_AHEAD,
            "network": network,
            "binds": [each.inside for each in asked],
            "on_disk": scratch_directory is not None,
            "shelved": shelf is not None,
            "cores": cores,
            "writable": [each.inside for each in asked if each.writable],
        }
        self._warm = warm
        self._warm_spec = Spec(limits=warm_limits or Limits())
        self._pool: Pool | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._opener: Opener | None = None  # where jobs have user ids that this process has no power over
        self._base: str | None = None  # what a zygote of tier C keeps its jobs' files in
        self._inputs_at: str | None = None
        self._control: socket.socket | None = None
        self.tier = ""
        self.enforced: tuple[str, ...] = ()
        self.not_enforced: dict[str, str] = {}

    @property
    def alive(self) -> bool:
        """Say whether the zygote is there to be asked.

        Its end of the socket says so: the launcher lives on for a moment, to remove control groups.
        """
        if self._process is None or self._control is None or self._process.poll() is not None:
            return False
        poll = select.poll()
        poll.register(self._control, 0)  # its hanging up is always told
        return not poll.poll(0)

    @property
    def ready(self) -> int:
        """How many warm sandboxes wait to be handed out."""
        return len(self._pool) if self._pool is not None else 0

    def inputs_at(self, name: str) -> str | None:
        """Return where a job finds the directory of the shelf that it is given; None where it cannot be given any.

        In tier C a job of root's has another user, who may not get there where a directory on the way is closed.
        """
        if self._inputs_at is None or self._base is None:
            return self._inputs_at
        return f"{self._inputs_at}/{name}"

    def start(self) -> None:
        """Start the process, build one sandbox, and check from inside it that it holds.

        Raises:
            SandboxUnavailable: this host cannot confine jobs; one line that says what is missing and what to type.
        """
        if self._tier_c != "force":
            try:
                self._start("launcher")
            except NamespacesRefused as problem:
                if self._tier_c == "refuse":
                    raise NamespacesRefused(f"{problem}; {_OR_TIER_C}") from None
            else:
                return
        self._start("tierc_zygote")

    def _start(self, module: str) -> None:
        """Start the process that is in this module."""
        self.close()
        ours, theirs = passing.pair()
        with tempfile.TemporaryFile() as errors:
            try:
                self._process = subprocess.Popen(
                    launcher.command(module, theirs.fileno()),
                    env=ENVIRONMENT if module == "launcher" else self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    pass_fds=[theirs.fileno()],
                    cwd="/",
                )
            except OSError as problem:
                ours.close()
                raise SandboxUnavailable(f"cannot start {sys.executable or 'Python'}: {problem}") from problem
            finally:
                theirs.close()
            self._control = ours
            try:
                self._introduce(ours, errors.fileno())
                self._prove()
            except BaseException:
                self.close()
                raise
        if self._warm:
            self._pool = Pool(self._build, self._warm_spec, self._warm)

    def _introduce(self, control: socket.socket, errors: int) -> None:
        control.settimeout(START_TIMEOUT_S)
        # Whoever dies before it has read everything has often said why: in an answer, or else in the file.
        with contextlib.suppress(ConnectionError):
            passing.send(control, self._for_launcher)
            passing.send(control, self._for_zygote)
        try:
            answer, fds = passing.receive(control, max_fds=1)
            if answer is not None and "opener" in answer:
                self._opener = Opener(fds[0])
                answer, _ = passing.receive(control)
        except TimeoutError:
            raise SandboxUnavailable(f"the zygote did not get ready within {START_TIMEOUT_S:.0f} s") from None
        except ConnectionError:
            answer = None
        control.settimeout(None)
        if answer is None:
            size = os.fstat(errors).st_size
            tail = os.pread(errors, 2000, max(0, size - 2000)).decode(errors="replace").strip().splitlines()
            raise SandboxUnavailable("the zygote died while starting: " + (tail[-1] if tail else "it said nothing"))
        if "unavailable" in answer:
            kind = SandboxUnavailable if answer.get("namespaces", True) else NamespacesRefused
            raise kind(answer["unavailable"])
        self._base = answer.get("base")
        ours = shelves.INPUTS if self._for_zygote["shelved"] else None
        self._inputs_at = answer.get("shelf") if self._base else ours

    def _prove(self) -> None:
        """Run a job that looks around, and believe only what it has seen."""
        try:
            with self.spawn(Spec(entry="edgesandbox.probe:main")) as box:
                answer = _ask(box, tier_c=self._base is not None)
                report = box.read_report()
        except (SetupFailed, OSError) as problem:
            kind = SandboxUnavailable if self._base else NamespacesRefused
            raise kind(advise(str(problem))) from problem
        broken = [what for protection, what in answer if protection in report.enforced]
        if broken or report.outcome is not Outcome.EXITED:
            died = report.detail if report.outcome is Outcome.SETUP_FAILED else ""
            found = died or "; ".join(broken) or report.detail or report.outcome
            raise SandboxUnavailable(f"the sandbox does not hold on this host: {found}")
        self.tier, self.enforced, self.not_enforced = report.tier, report.enforced, report.not_enforced

    def restart(self) -> None:
        """Start a new process in place of one that died; sandboxes of the old one are gone.

        Raises:
            SandboxUnavailable: as ``start``.
        """
        self.start()

    def spawn(self, spec: Spec) -> Box:
        """Start the job in a sandbox that is ready, or build one for it, which takes a few milliseconds.

        Raises:
            SetupFailed: it could not be built, or the zygote is gone (``alive`` is False then: ``restart``).
        """
        pool = self._pool
        if pool is not None and (box := pool.take(spec)) is not None:
            return box
        with contextlib.nullcontext() if pool is None else pool.paused():
            box = self._build(spec)
        box.start()  # where its process has failed already, the report says how
        return box

    def _build(self, spec: Spec) -> Box:
        """Build a sandbox whose job waits to be started."""
        if self._control is None:
            raise SetupFailed("the zygote is not running: start it first")
        channel, job_channel = socket.socketpair()
        control, init_control = passing.pair()
        output_fd, job_output = os.pipe()
        go = Go(first_look_s(spec.limits))
        fds: list[int] = []
        try:
            inner = [job_channel.fileno(), init_control.fileno(), job_output, go.start, go.timer]
            try:
                passing.send(self._control, spec.to_json(), inner)
            finally:
                job_channel.close()
                init_control.close()
                passing.close_all([job_output, go.start])
            control.settimeout(SPAWN_TIMEOUT_S)
            answer, fds = passing.receive_bytes(control, max_fds=3)
            control.settimeout(None)
            if answer != passing.READY or len(fds) < 2:
                raise SetupFailed(_why_not(answer))  # noqa: TRY301 - what is open is closed below
            return Box(
                channel=channel,
                output_fd=output_fd,
                control=control,
                fds=fds,
                go=go,
                tier_c=self._base is not None,
                opener=self._opener.open_beneath if self._opener is not None else linux.open_beneath,
            )
        except BaseException as problem:
            go.close()
            channel.close()
            control.close()
            passing.close_all([output_fd, *fds])
            if isinstance(problem, ConnectionError):
                raise SetupFailed(f"the zygote is gone ({problem.strerror}): restart it") from problem
            if isinstance(problem, OSError):
                raise SetupFailed(f"no answer from the sandbox: {problem}") from problem
            raise

    def close(self) -> None:
        """End the zygote and every sandbox of it; a second call does nothing."""
        if self._control is not None:
            with contextlib.suppress(OSError):  # it is gone already
                self._control.shutdown(socket.SHUT_RDWR)
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._opener is not None:
            self._opener.close()
            self._opener = None
        if self._process is not None:
            try:
                self._process.wait(timeout=BURIAL_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._base is not None:
            disks.remove_base(self._base)  # the zygote does so as well, unless it was killed
            self._base = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()


def _why_not(answer: bytes) -> str:
    """Return what became of a sandbox that did not get ready, from its last word."""
    if not answer:
        return "the zygote died, or its clone did: restart it"
    return str(json.loads(answer)["failed"]) if answer.startswith(b"{") else compose(answer).detail


def _ask(box: Box, *, tier_c: bool) -> list[list[str]]:
    """Return the probe's findings; what became of one that says nothing is in its report."""
    box.channel.settimeout(SPAWN_TIMEOUT_S)
    line = ""
    with contextlib.suppress(ConnectionError), box.channel.makefile("rw") as stream:
        stream.write(json.dumps(probe_question() | {"tier_c": tier_c}) + "\n")
        stream.flush()
        line = stream.readline()
    findings: list[list[str]] = json.loads(line or '[["private_root", "the probe died"]]')
    return findings


def probe_question() -> dict[str, Any]:
    """Return what the probe compares its surroundings with: this process's namespaces and a path it must not see."""
    kinds = ("user", "mnt", "pid", "net", "ipc", "uts")
    return {
        "namespaces": {kind: str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds},
        "interfaces": [name for _index, name in socket.if_nameindex()],
        "host_paths": {path: identity for path in HOST_PATHS if (identity := probe.file_identity(path))},
    }
