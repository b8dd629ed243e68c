"""The file tree that jobs see: read-only system directories, the interpreter, and nothing else of the host.

The zygote builds it once, in a mount namespace of its own, and pivots into it; each job adds its own /tmp, /scratch
and /proc on top.  What is not listed here does not exist for a job.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from edgesandbox import disks, footprint, linux, shelf
from edgesandbox.binds import Bind, place
from edgesandbox.calls import Calls
from edgesandbox.errors import SandboxUnavailable
from edgesandbox.identity import JOB_ID
from edgesandbox.spec import Limits

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
ETC = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime")
NETWORK_ETC = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/etc/pki/ca-trust", "/etc/services", "/etc/protocols")
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": "/tmp",  # so that shared memory counts against the cap on /tmp
}
# Parts of an interpreter's prefix; the prefix as a whole may be somebody's home.
PREFIX_PARTS = ("bin", "lib", "lib64", "libexec", "share", "ssl", "pyvenv.cfg")
MOUNT_POINTS = ("/proc", "/sys", "/tmp", "/scratch")
FILES = {
    "/etc/passwd": f"root:x:0:0:root:/:/bin/sh\njob:x:{JOB_ID}:{JOB_ID}:job:/tmp:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n",
    "/etc/group": f"root:x:0:\njob:x:{JOB_ID}:\nnogroup:x:65534:\n",
    "/etc/hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "/etc/hostname": "sandbox\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
_STAGES = ("/tmp", "/run", "/mnt", "/var")  # covered by a mount of our own while the tree is built


@dataclasses.dataclass(frozen=True)
class Plan:
    """What of the host is bound into the tree, which paths there are links, and which files are made for it."""

    binds: tuple[str, ...]
    links: dict[str, str]
    asked: tuple[Bind, ...] = ()
    files: dict[str, str] = dataclasses.field(default_factory=dict)
    points: tuple[str, ...] = MOUNT_POINTS

    def with_disk(self, path: str) -> Plan:
        """Return the plan with the directory on disk that jobs' scratches are made in."""
        return dataclasses.replace(self, asked=(*self.asked, Bind(path, disks.INSIDE, writable=True)))

    def with_shelf(self, path: str) -> Plan:
        """Return the plan with the directory of those that single jobs are given."""
        asked = (*self.asked, Bind(path, shelf.INSIDE))
        return dataclasses.replace(self, asked=asked, points=(*self.points, shelf.INPUTS))


def plan(
    import_paths: Iterable[str],
    read_only: Iterable[str],
    hidden: Iterable[str],
    asked: Iterable[Bind] = (),
    *,
    host_network: bool = False,
) -> Plan:
    """Decide what jobs see of this host.

    Args:
        import_paths: directories of Python modules besides the interpreter's own.
        read_only: further files and directories.
        hidden: paths that must not be reachable, such as the agent's home.
        asked: what the caller wants jobs to have besides, at places of his choice.
        host_network: jobs are to find names and authorities as programs of the host do.

    Raises:
        SandboxUnavailable: a path is missing, or would uncover a hidden one.
    """
    for path in (*import_paths, *read_only):
        if not os.path.exists(path):
            raise SandboxUnavailable(f"{path} was to be visible to jobs, but does not exist here")
    asked = list(asked)
    wanted = [*SYSTEM, *ETC, *interpreter_paths(), *import_paths, *read_only]
    if host_network:
        wanted += NETWORK_ETC
    binds: list[str] = []
    links: dict[str, str] = {}
    for path in filter(os.path.exists, map(os.path.abspath, wanted)):
        real = os.path.realpath(path)
        if real != path and not _covered(path, links):
            links[path] = real
        binds.append(real)
    for path in (*binds, *(os.path.realpath(each.source) for each in asked)):
        for secret in map(os.path.realpath, hidden):
            if _covered(secret, [path]):
                raise SandboxUnavailable(
                    f"jobs need to read {path} (Python modules are found there), but {secret}, which they must not "
                    "see, lies in it: install into a virtual environment of its own"
                    if path in binds
                    else f"{path} was to be visible to jobs, but {secret}, which they must not see, lies in it"
                )
    outermost = [path for path in sorted(set(binds)) if not _covered(os.path.dirname(path), binds)]
    links = {path: real for path, real in links.items() if not _covered(path, outermost)}
    files = FILES | (_network_files() if host_network else {})
    return Plan(tuple(outermost), links, place(asked, outermost, links | LINKS), files)


def _network_files() -> dict[str, str]:
    """Return what a program needs to find names in the host's network: copies, for the host's own may be links."""
    files = {"/etc/nsswitch.conf": FILES["/etc/nsswitch.conf"].replace("hosts: files", "hosts: files dns")}
    for path in ("/etc/resolv.conf", "/etc/hosts"):
        try:
            files[path] = Path(path).read_text()
        except OSError:  # no resolver is set up: there are no names to find
            continue
    return files


def interpreter_paths() -> Iterator[str]:
    """Yield what this interpreter needs to start again and to import what it could import here."""
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        for part in PREFIX_PARTS:
            yield os.path.join(prefix, part)
    hop = sys.executable
    while True:  # virtual environments link to their interpreter, often through more links
        yield os.path.dirname(hop)
        if not os.path.islink(hop):
            break
        hop = os.path.join(os.path.dirname(hop), os.readlink(hop))
    yield from filter(None, sys.path)


def _covered(path: str, trees: Iterable[str]) -> bool:
    """Say whether ``path`` is one of ``trees`` or lies below one."""
    return any(path == tree or path.startswith(tree.rstrip("/") + "/") for tree in trees)


def build(visible: Plan) -> None:
    """Make the tree and make it the root; the caller is alone in a mount and a PID namespace of its own.

    Raises:
        OSError: the kernel refused a step; the text names it.
    """
    linux.make_mounts_private()
    trees = {path: linux.clone_tree(path) for path in visible.binds}
    devices = {f"/dev/{name}": linux.clone_tree(f"/dev/{name}") for name in DEVICES}
    asked = [(bind, linux.clone_tree(bind.source)) for bind in visible.asked]
    stage = next(path for path in _STAGES if os.path.isdir(path))
    linux.mount("sandbox", stage, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=1m,mode=0755")
    for path, tree in trees.items():
        _make(stage + path, directory=os.path.isdir(f"/proc/self/fd/{tree}"))
        linux.attach(tree, stage + path)
    _furnish(stage, visible, devices)
    for bind, tree in asked:  # nothing that is the host's: ``place`` has seen to it that those exist
        if not os.path.exists(stage + bind.inside):
            _make(stage + bind.inside, directory=os.path.isdir(f"/proc/self/fd/{tree}"))
    # Without MOUNT_ATTR_RDONLY on /proc: a job could then mount no writable one of its own.
    linux.set_mount_flags(
        stage, linux.MOUNT_ATTR_RDONLY | linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV, recursive=True
    )
    for path, tree in devices.items():
        linux.attach(tree, stage + path)
        linux.set_mount_flags(stage + path, linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC, recursive=False)
    for bind, tree in asked:
        linux.attach(tree, stage + bind.inside)
        flags = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | (0 if bind.writable else linux.MOUNT_ATTR_RDONLY)
        linux.set_mount_flags(stage + bind.inside, flags, recursive=True)
        os.close(tree)
    mount_proc(stage + "/proc")
    for tree in (*trees.values(), *devices.values()):
        os.close(tree)
    os.chdir(stage)
    linux.pivot_root(".", ".")
    linux.unmount_detached(".")
    os.chdir("/")


def _furnish(stage: str, visible: Plan, devices: Iterable[str]) -> None:
    for path in visible.points:
        _make(stage + path, directory=True)
    for path in devices:
        _make(stage + path, directory=False)
    for path, text in visible.files.items():
        _make(stage + path, directory=False)
        Path(stage + path).write_text(text)
    for path, target in (visible.links | LINKS).items():
        Path(stage + path).parent.mkdir(parents=True, exist_ok=True)
        Path(stage + path).symlink_to(target)


def _make(path: str, *, directory: bool) -> None:
    """Make a directory, or an empty file to mount on."""
    if directory:
        Path(path).mkdir(parents=True, exist_ok=True)
    else:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch()


def mount_proc(target: str) -> None:
    """Mount the /proc of the caller's PID namespace."""
    linux.mount("proc", target, "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)


def private_mounts(limits: Limits, *, on_disk: bool = False, shelved: bool = False) -> Calls:
    """Lay out how a job's own /tmp, /scratch and /proc are mounted; a scratch on disk is there already."""
    calls = Calls()
    own = {"/scratch": limits.scratch_bytes, "/tmp": limits.tmp_bytes}
    if on_disk:
        del own["/scratch"]
        what = f"cover {disks.INSIDE}"  # the scratches of others, which have the same user where there is only one
        calls.add("mount", b"none", disks.INSIDE.encode(), b"tmpfs", linux.MS_RDONLY, b"size=4k,mode=0", what=what)
    if shelved:
        shelf.add_cover(calls)
    for path, size_bytes in own.items():
        inodes = footprint.most_files(size_bytes, in_memory=True)
        options = f"size={size_bytes},nr_inodes={inodes},mode=0700,uid={JOB_ID},gid={JOB_ID}"
        what = f"mount tmpfs at {path} with {options}"
        flags = linux.MS_NOSUID | linux.MS_NODEV
        calls.add("mount", b"job", path.encode(), b"tmpfs", flags, options.encode(), what=what)
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    calls.add("mount", b"proc", b"/proc", b"proc", flags, None, what="mount proc at /proc")
    return calls


def mount_private(mounts: Calls, disk: str | None, inputs: str | None = None) -> tuple[int, int]:
    """Mount a job's own file systems; returns the descriptors of scratch and /tmp.

    Where its scratch is on disk, ``disk`` is what its directory is called; ``inputs`` likewise, on the shelf.

    A descriptor keeps its file system readable after the job, its namespaces and its mounts are gone.
    """
    kept = {path: linux.clone_tree(path) for path in covered_mounts()}
    if disk is not None:
        linux.mount(f"{disks.INSIDE}/{disk}", "/scratch", "none", linux.MS_BIND)
    if inputs is not None:
        shelf.give(inputs)
    mounts.make()
    for path, tree in kept.items():
        _make(path, directory=os.path.isdir(f"/proc/self/fd/{tree}"))
        linux.attach(tree, path)
        os.close(tree)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return os.open("/scratch", flags), os.open("/tmp", flags)


@functools.cache
def covered_mounts() -> tuple[str, ...]:
    """Return what of the host lies where a job's own /tmp and /scratch go: an environment in /tmp, for example.

    Called once in the zygote, whose forks inherit the answer.
    """
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    # Blanks, tabs, newlines and backslashes are written in octal there.
    points = [line.split(" ")[4].encode().decode("unicode_escape").encode("latin-1").decode() for line in lines]
    below = sorted(point for point in points if point.startswith(("/tmp/", "/scratch/")))
    return tuple(point for point in below if not _covered(os.path.dirname(point), below))
