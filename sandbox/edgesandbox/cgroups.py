"""The control groups of jobs: made, handed out and removed by the launcher, the only one of us who can see them.

A *keeper* has a directory of its own in each hierarchy, below the group that the agent itself is in, and makes one
group per job in there.  What the zygote gets is not the directory but its control files, opened: whoever holds those
can limit and watch one job, and reach nothing else.  Which kind of groups a host has is found out by making one.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from edgesandbox import cores, opening, passing, protections
from edgesandbox.cgroups1 import V1
from edgesandbox.cgroups2 import V2
from edgesandbox.grant import Grant
from edgesandbox.lending import Lender, Number
from edgesandbox.mounts import Mount, mounts

# More than any machine runs jobs; a zygote that asks for more is not one of ours any more.
MOST_GROUPS = 4096


class Keeper(Protocol):
    """One way to have groups."""

    version: int
    protections: tuple[str, ...]
    missing: dict[str, str]

    def make(self, number: int) -> tuple[list[str], list[int]]:
        """Make a group; returns what its files are called and their descriptors, for the caller to close."""
        ...

    def allow(self, number: int, devices: Sequence[Number]) -> None:
        """Let a group open further character devices."""

    def remove(self, number: int) -> None:
        """Remove a group, and whatever is still in it."""

    def adopt(self, pid: int, uid: int) -> None:
        """Prepare for jobs that are cloned by process ``pid`` of user ``uid``."""

    def close(self) -> None:
        """Remove all groups."""


def find(limit: float | None = None) -> tuple[Keeper | None, dict[str, str]]:
    """Return a keeper, if this host lets us have one, and why each protection that it cannot give is missing.

    Args:
        limit: how many processors all jobs may use together; unset, as many as there are.
    """
    text = Path("/proc/self/mountinfo").read_text()
    found = list(mounts(text, Path("/proc/self/cgroup").read_text()))
    problems = []
    kinds: tuple[Callable[[list[Mount], float | None], Keeper], ...] = (V2, V1)
    for kind in kinds:
        try:
            keeper = kind(found, limit)
        except OSError as problem:
            problems.append(str(problem))
            continue
        return keeper, {name: f"{why}; {_advice(name)}" for name, why in keeper.missing.items()}
    why = f"no control groups for jobs ({', '.join(problems)})"
    names = protections.CGROUPS if limit is None else (*protections.CGROUPS, cores.QUOTA)
    return None, {name: f"{why}; {_advice(name)}" for name in names}


def _advice(protection: str) -> str:
    """Return what to do about a missing protection."""
    return "start as root" if protection == "cgroup_devices" else "start as root, or by systemd with Delegate=yes"


def greeting(keeper: Keeper | None, missing: dict[str, str]) -> dict[str, Any]:
    """Return what the zygote is told first."""
    if keeper is None:
        return {"version": 0, "protections": [], "missing": missing}
    return {"version": keeper.version, "protections": keeper.protections, "missing": missing}


def serve(sock: socket.socket, keeper: Keeper | None, lender: Lender, opener: socket.socket | None = None) -> None:
    """Make and remove groups, and lend devices, as the zygote asks, until it is gone.

    What the agent asks for on ``opener`` meanwhile is opened.
    """
    number = 0
    alive: set[int] = set()
    while (request := _next_request(sock, opener)) is not None:
        if "grant" in request:
            _lend(sock, request, keeper if request["number"] in alive else None, lender)
            continue
        if keeper is None:
            continue
        if "remove" in request:
            if request["remove"] in alive:  # and no other name of anything
                alive.discard(request["remove"])
                with contextlib.suppress(OSError):  # ``close`` tries again
                    keeper.remove(request["remove"])
            continue
        number += 1
        answer: dict[str, Any] = {"number": number}
        fds: list[int] = []
        try:
            answer["names"], fds = _make(keeper, number, alive)
        except OSError as problem:
            answer = {"failed": f"control group: {problem}"}
        _answer(sock, answer, fds)


def _next_request(sock: socket.socket, opener: socket.socket | None) -> dict[str, Any] | None:
    """Return what the zygote asks for next, None when it is gone; the agent's questions are answered on the way."""
    if opener is not None:
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(opener, select.POLLIN)
        while sock.fileno() not in [fd for fd, _event in poll.poll()]:
            if not opening.answer(opener):
                poll.unregister(opener)
    return passing.receive(sock)[0]


def _lend(sock: socket.socket, request: dict[str, Any], keeper: Keeper | None, lender: Lender) -> None:
    answer: dict[str, Any] = {"lent": True}
    mounts: list[int] = []
    try:
        numbers, mounts = lender.lend(Grant.from_json(request["grant"]))
        if keeper is not None:
            keeper.allow(request["number"], numbers)
    except (OSError, ValueError, TypeError) as problem:
        answer = {"failed": str(problem)}
    _answer(sock, answer, mounts if "lent" in answer else [])
    if "failed" in answer:
        passing.close_all(mounts)


def _answer(sock: socket.socket, answer: dict[str, Any], fds: list[int]) -> None:
    with contextlib.suppress(OSError):  # gone; the next receive says so
        passing.send(sock, answer, fds)
    passing.close_all(fds)


def _make(keeper: Keeper, number: int, alive: set[int]) -> tuple[list[str], list[int]]:
    if len(alive) >= MOST_GROUPS:
        raise OSError("there are too many")
    made = keeper.make(number)
    alive.add(number)
    return made
