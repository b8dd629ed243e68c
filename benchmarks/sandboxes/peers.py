"""The command lines of other sandboxes, made as alike as their options allow; docs/benchmarks.md argues each.

All show a program a read-only /usr (and the interpreter's prefix, where that is elsewhere), an empty /tmp and
/scratch, a /proc and a small /dev of its own, in user, mount, PID, network, IPC and UTS namespaces of their own, with
a clean environment and no capabilities.  Where a peer cannot do one of these it does less, which is in its favour.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from benchmarks.sandboxes.subjects import ENVIRONMENT, Command

JOB_ID = "1000"
MAX_WORKERS = 2
IMAGE = "edgeagent-benchmark"
CONTAINER_IDS = 1_879_048_192  # as edgesandbox.identity: a range that no account has
_SETUP_TIMEOUT_S = 60

# Makes a command line from the worker's number and the program to run.
Line = Callable[[int, Sequence[str]], list[str]]


@attrs.frozen(kw_only=True)
class Scene:
    """What the command lines are made of.

    Attributes:
        binary: the peer's own program.
        shown: host directories that programs may read.
        links: paths that are symbolic links inside, as they are here.
        folder: a directory for the peer's files.
        stack: takes what is to be undone in the end.
    """

    binary: str
    shown: tuple[str, ...]
    links: dict[str, str]
    folder: Path
    stack: contextlib.ExitStack

    def each(self, option: str) -> list[str]:
        """Return ``option PATH`` for all that is shown."""
        return [word for path in self.shown for word in (option, path)]

    def skeleton(self) -> Path:
        """Return a root directory with empty mount points, made on the first call."""
        root = self.folder / "root"
        for path in (*self.shown, "/proc", "/dev", "/tmp", "/scratch"):
            Path(f"{root}{path}").mkdir(parents=True, exist_ok=True)
        for path, target in self.links.items():
            with contextlib.suppress(FileExistsError):
                Path(f"{root}{path}").symlink_to(target)
        return root


def bubblewrap(scene: Scene) -> Line:
    """The user namespace is its own even for root; ``--disable-userns`` would cost it another one."""
    head = [scene.binary, "--unshare-all", "--uid", JOB_ID, "--gid", JOB_ID, "--die-with-parent", "--new-session"]
    head += ["--cap-drop", "ALL", "--clearenv", "--setenv", "PATH", "/usr/bin:/bin"]
    for path in scene.shown:
        head += ["--ro-bind", path, path]
    for path, target in scene.links.items():
        head += ["--symlink", target, path]
    head += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/scratch", "--chdir", "/scratch", "--"]
    return lambda _worker, program: [*head, *program]


def firejail(scene: Scene) -> Line:
    """Shows the host's tree read-only instead of a new one; has no user namespace for root."""
    head = [scene.binary, "--quiet", "--noprofile", "--net=none", "--private-dev", "--private-tmp", "--read-only=/"]
    head += ["--ipc-namespace", "--hostname=sandbox", "--caps.drop=all", "--nonewprivs", "--seccomp"]
    home = str(Path.home())
    head += [f"--whitelist={path}" for path in scene.shown if path.startswith(home)] or ["--private"]
    return lambda _worker, program: [*head, "--", *program]


def nsjail(scene: Scene) -> Line:
    """Also a cgroup namespace, which it makes unless told not to."""
    head = [scene.binary, "-Mo", "--really_quiet", "--user", JOB_ID, "--group", JOB_ID, "--hostname", "sandbox"]
    head += [*scene.each("-R"), "-R", "/dev/null", "-R", "/dev/zero", "-R", "/dev/urandom"]
    for path, target in scene.links.items():
        head += ["-s", f"{target}:{path}"]
    head += ["-T", "/tmp", "-T", "/scratch", "--cwd", "/scratch", "--rlimit_as", "inf", "--env", "PATH=/usr/bin:/bin"]
    return lambda _worker, program: [*head, "--", *program]


def isolate(scene: Scene) -> Line:
    """A box for each worker, made beforehand (``--init``) as a judge would; its own user id, no user namespace."""
    for worker in range(MAX_WORKERS):
        _do([scene.binary, f"--box-id={worker}", "--init"])
        scene.stack.callback(_do, [scene.binary, f"--box-id={worker}", "--cleanup"])
    more = [f"--dir={path}" for path in scene.shown if path != "/usr"]
    return lambda worker, program: [
        scene.binary, f"--box-id={worker}", "--silent", "--processes=256", *more, "--run", "--", *program,
    ]  # fmt: skip


def minijail(scene: Scene) -> Line:
    """Its namespaces and a pivot into the empty root; another user id instead of a user namespace."""
    head = [scene.binary, "-T", "static", "-p", "-v", "-l", "-e", "-N", "--uts", "-n", "-c", "0", "-u", JOB_ID]
    head += ["-g", JOB_ID, "-P", str(scene.skeleton()), "-d", "-t", "-k", "proc,/proc,proc,0xe", *scene.each("-b")]
    return lambda _worker, program: [*head, "--", *program]


def runc(scene: Scene) -> Line:
    """A bundle for each program, written beforehand; ``runc run`` creates, starts, waits and deletes."""

    @functools.cache
    def bundle(program: tuple[str, ...]) -> Path:
        folder = Path(tempfile.mkdtemp(dir=scene.folder))
        (folder / "config.json").write_text(json.dumps(_oci_config(scene, program)))
        return folder

    head = [scene.binary, "--root", str(scene.folder / "state"), "run", "--bundle"]
    return lambda worker, program: [*head, str(bundle(tuple(program))), f"bench-{worker}"]


def docker(scene: Scene) -> Line:
    """An image that holds nothing but mount points; the client, the daemon and the runtime are all in the figure."""
    if not _answers([scene.binary, "version", "--format", "{{.Server.Version}}"]):
        raise FileNotFoundError("no daemon answers")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.add(scene.skeleton(), arcname="/")
    _do([scene.binary, "import", "-", IMAGE], tar.getvalue())
    scene.stack.callback(_do, [scene.binary, "image", "rm", "--force", IMAGE])
    head = [scene.binary, "run", "--rm", "--network", "none", "--read-only", "--user", JOB_ID, "--cap-drop", "ALL"]
    head += ["--security-opt", "no-new-privileges", "--tmpfs", "/tmp", "--tmpfs", "/scratch", "--workdir", "/scratch"]
    for path in scene.shown:
        head += ["--volume", f"{path}:{path}:ro"]
    return lambda _worker, program: [*head, IMAGE, *program]


PEERS: dict[str, tuple[str, Callable[[Scene], Line]]] = {
    "bubblewrap": ("bwrap", bubblewrap),
    "nsjail": ("nsjail", nsjail),
    "isolate": ("isolate", isolate),
    "minijail": ("minijail0", minijail),
    "firejail": ("firejail", firejail),
    "runc": ("runc", runc),
    "docker": ("docker", docker),
}


@contextlib.contextmanager
def installed(programs: Mapping[str, Sequence[str]], absent: dict[str, str]) -> Iterator[list[Command]]:
    """Yield a command for each peer that works here and each program; put the others into ``absent`` with the reason.

    Args:
        programs: what to run, by the name it gets in the tables.
        absent: is added to.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeagent-bench-")))
        folder.chmod(0o755)  # a container's root is another user
        commands = []
        for peer, (program, prepare) in PEERS.items():
            binary = shutil.which(program)
            if binary is None:
                absent[peer] = f"no {program} on the PATH"
                continue
            own = folder / peer
            own.mkdir()
            try:
                line = prepare(Scene(binary=binary, shown=_shown(), links=_links(), folder=own, stack=stack))
            except (OSError, subprocess.SubprocessError) as problem:
                absent[peer] = _one_line(problem)
                continue
            for name, argv in programs.items():
                command = Command(name=f"{peer}, {name}", argv=functools.partial(_apply, line, argv))
                problem_text = command.trial()
                if problem_text:
                    absent[command.name] = problem_text
                else:
                    commands.append(command)
        yield commands


def _apply(line: Line, program: Sequence[str], worker: int) -> list[str]:
    return line(worker, program)


def _shown() -> tuple[str, ...]:
    """Return /usr, what is not linked into it, and the interpreter's prefix where it lies elsewhere."""
    prefix = os.path.realpath(sys.base_prefix)
    top = [path for path in ("/bin", "/sbin", "/lib", "/lib64") if Path(path).is_dir() and not Path(path).is_symlink()]
    return ("/usr", *top, *(() if prefix.startswith("/usr") else (prefix,)))


def _links() -> dict[str, str]:
    links = (Path(path) for path in ("/bin", "/sbin", "/lib", "/lib64"))
    return {str(path): str(path.readlink()) for path in links if path.is_symlink()}


def _oci_config(scene: Scene, program: Sequence[str]) -> dict[str, object]:
    quiet = ["nosuid", "nodev"]
    mounts = [{"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]} for path in scene.shown]
    mounts += [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": [*quiet, "noexec"]},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": quiet},
        {"destination": "/scratch", "type": "tmpfs", "source": "tmpfs", "options": quiet},
    ]
    ids = [{"containerID": 0, "hostID": CONTAINER_IDS, "size": 65_536}]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(scene.skeleton()), "readonly": True},
        "hostname": "sandbox",
        "process": {
            "terminal": False,
            "user": {"uid": int(JOB_ID), "gid": int(JOB_ID)},
            "args": list(program),
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/scratch",
            "capabilities": {kind: [] for kind in ("bounding", "effective", "permitted")},
            "noNewPrivileges": True,
        },
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("user", "mount", "pid", "network", "ipc", "uts")],
            "uidMappings": ids,
            "gidMappings": ids,
        },
    }


def _do(argv: Sequence[str], sent: bytes | None = None) -> None:
    subprocess.run(argv, env=ENVIRONMENT, input=sent, capture_output=True, check=True, timeout=_SETUP_TIMEOUT_S)


def _answers(argv: Sequence[str]) -> bool:
    return not subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=False, timeout=10).returncode


def _one_line(problem: Exception) -> str:
    said = problem.stderr.decode(errors="replace").strip() if isinstance(problem, subprocess.CalledProcessError) else ""
    return said.splitlines()[-1] if said else str(problem)
