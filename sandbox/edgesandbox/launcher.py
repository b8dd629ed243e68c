"""The process between the agent and the zygote: builds what the zygote lives in, then waits for its end.

It starts as a fresh, isolated interpreter with no secret, forks the zygote as PID 1 of a namespace of its own, gives
it its user ids, and stays as the parent that keeps the jobs' control groups: when agent or launcher goes, the zygote
and all its jobs go.

The forked child builds the file tree while it still sees the host, pivots into it, leaves the remaining namespaces and
starts Python anew from inside, so that even /proc/self/exe leads to a read-only mount.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from edgesandbox import cgroups, confine, disks, identity, linux, networks, passing, root, subids
from edgesandbox.binds import Bind
from edgesandbox.diagnose import advise
from edgesandbox.errors import NamespacesRefused, SandboxUnavailable
from edgesandbox.lending import Lender

# Enough to hand out ids and to mount.
_NEEDED = (linux.CAP_SETGID, linux.CAP_SETUID, linux.CAP_SYS_ADMIN)
_ZYGOTE_NAMESPACES = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
# The package is found first, and its directory, which may be full of others, is then no place to find more.
BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from edgesandbox import {0}; "
    "del sys.path[0]; {0}.main(*map(int, sys.argv[2:]))"
)


def command(module: str, *fds: int) -> list[str]:
    """Return the command line that runs ``edgesandbox.<module>.main(*fds)`` in a fresh, isolated interpreter."""
    return [sys.executable, "-I", "-c", BOOT.format(module), str(Path(__file__).parents[1]), *map(str, fds)]


def main(fd: int) -> NoReturn:
    """Read what to build from socket ``fd``, start the zygote on it, and end as the zygote ends."""
    control = socket.socket(fileno=fd)
    status = 1
    try:
        linux.close_all_except([0, 1, 2, fd])
        confine.refuse_core_dumps()  # here root may still raise a hard limit of 0
        message, _ = passing.receive(control, max_bytes=passing.MAX_BYTES)
        if message is not None:
            os.setsid()
            linux.new_session_keyring()
            status = _start_and_keep(control, message)
    except SandboxUnavailable as problem:
        passing.send(control, {"unavailable": str(problem), "namespaces": not isinstance(problem, NamespacesRefused)})
    except OSError as problem:
        passing.send(control, {"unavailable": advise(problem.strerror or str(problem)), "namespaces": False})
    os._exit(status & 0xFF)


def _start_and_keep(control: socket.socket, message: dict[str, Any]) -> int:
    """Start the zygote, make its jobs' control groups until its end, and return how it ended."""
    keeper, missing = cgroups.find(message["cores"])
    lender = Lender(message["grants"])
    base = None
    opener = None
    try:
        ours, theirs = passing.pair()
        visible = _plan(message)
        ordinary = os.geteuid() != 0
        ids, shared = take_ids(_needs_own_id(visible, lender, message["shelf"]))
        if shared:
            missing = missing | {"separate_user_id": shared}
        if ordinary and ids.separate:
            opener = _offer_to_open(control)
        if message["scratch_directory"] is not None:
            base = disks.make_base(message["scratch_directory"], ids.first)
            visible = visible.with_disk(base.path)
        if message["shelf"] is not None:
            visible = visible.with_shelf(message["shelf"])
        pid = _start(control, theirs, message, visible, keeper, ids)
        control.close()
        theirs.close()
        with contextlib.suppress(OSError):  # a zygote that died at once has no use for it
            passing.send(ours, cgroups.greeting(keeper, missing))
        if keeper is not None or lender or opener is not None:
            cgroups.serve(ours, keeper, lender, opener)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        if base is not None:
            base.remove()
        if keeper is not None:
            with contextlib.suppress(OSError):  # the next launcher tries again
                keeper.close()


def _start(
    control: socket.socket,
    groups: socket.socket,
    message: dict[str, Any],
    visible: root.Plan,
    keeper: cgroups.Keeper | None,
    ids: identity.Ids,
) -> int:
    unshared_read, unshared_write = os.pipe()
    mapped_read, mapped_write = os.pipe()
    pid = linux.clone(linux.CLONE_NEWPID | linux.CLONE_NEWNS)
    if pid == 0:
        os.close(unshared_read)
        os.close(mapped_write)
        _become_zygote(control, groups, message, visible, unshared_write, mapped_read)
    os.close(unshared_write)
    os.close(mapped_read)
    if os.read(unshared_read, 1):
        for kind in ("uid", "gid"):
            linux.write_map(pid, kind, 0, ids.first, ids.count)
        if keeper is not None:
            keeper.adopt(pid, ids.first if ids.separate else os.geteuid())
        os.write(mapped_write, b"1" if ids.separate else b"0")
    os.close(unshared_read)
    os.close(mapped_write)
    return pid


def _plan(message: dict[str, Any]) -> root.Plan:
    return root.plan(
        message["import_paths"],
        message["read_only"],
        message["hidden"],
        [Bind(**each) for each in message["binds"]],
        host_network=message["network"] == networks.HOST,
    )


def _needs_own_id(visible: root.Plan, lender: Lender, shelf: str | None) -> str:
    """Return why an ordinary user's jobs have to be himself to the kernel; empty where nothing says so."""
    if visible.asked:
        return "jobs read and write the files of the host that were asked for (--ro, --rw) as their owner"
    path = subids.closed(visible.binds, 0o4, below=True) or subids.closed(lender.devices, 0o6)
    if path is None and shelf is not None:
        path = subids.closed([shelf], 0o1)
    if path is not None:
        return f"only its owner may use {path}; type: chmod -R o+rX {path}"
    return ""


def take_ids(shared: str = "") -> tuple[identity.Ids, str]:
    """Return the ids for zygote and jobs, and why they are not more than one.

    An ordinary user becomes root of a user namespace of his own on the way.

    Args:
        shared: why an ordinary user's jobs must not have ids of their own; empty where they may.

    Raises:
        SandboxUnavailable: jobs would be the host's root.
        OSError: no user namespaces here.
    """
    extents = identity.parse_map(Path("/proc/self/uid_map").read_text())
    ids = identity.choose(extents, os.getpid())
    if ids is not None and linux.has_capabilities(_NEEDED):
        return ids, ""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and any(inside == 0 and outside == 0 for inside, outside, _ in extents):
        raise NamespacesRefused(
            "root without its capabilities would run jobs as the host's root: start as an ordinary user "
            "(in a container: --user 1000:1000), or as root with CAP_SETUID, CAP_SETGID and CAP_SYS_ADMIN"
        )
    own = shared or subids.find(uid)
    if isinstance(own, str):
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)  # mounts of its own, to lend devices of
    else:
        problem = subids.become_root(own, uid, gid)
        if not problem:
            return own.ids, ""
        own = problem
    linux.write_file("/proc/self/uid_map", f"0 {uid} 1")
    with contextlib.suppress(PermissionError):  # newgidmap has been at it, though newuidmap was refused
        linux.write_file("/proc/self/setgroups", "deny")
        linux.write_file("/proc/self/gid_map", f"0 {gid} 1")
    return identity.Ids(0, 1), own


def _offer_to_open(control: socket.socket) -> socket.socket:
    """Give the agent a way to have files opened that belong to its jobs' users; returns our end of it."""
    ours, theirs = passing.pair()
    with theirs:
        passing.send(control, {"opener": True}, [theirs.fileno()])
    return ours


def _become_zygote(
    control: socket.socket,
    groups: socket.socket,
    message: dict[str, Any],
    visible: root.Plan,
    unshared: int,
    mapped: int,
) -> NoReturn:
    try:
        linux.die_with_parent()
        os.umask(0o022)
        root.build(visible)
        linux.unshare(_ZYGOTE_NAMESPACES | (0 if message["network"] == networks.HOST else linux.CLONE_NEWNET))
        socket.sethostname("sandbox")
        os.write(unshared, b"1")
        separate = os.read(mapped, 1)
        if not separate:
            os._exit(1)  # the launcher failed, and has said why
        if separate == b"1":
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        linux.die_with_parent()  # once more: a change of user clears it
        for sock in (control, groups):
            sock.set_inheritable(True)
        os.execve(sys.executable, command("zygote", control.fileno(), groups.fileno()), message["env"])
    except OSError as problem:
        passing.send(control, {"unavailable": advise(problem.strerror or str(problem)), "namespaces": False})
    os._exit(1)
