"""What an examination finds: one verdict for each thing looked at.  Pure.

FAIL is what keeps a node from working, WARN what it works without, but worse or not for long.  Each of both comes with
a remedy: what to type, or what to see to.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from edgeagent.wire.units import format_duration, format_size

#: What the operator guide asks of a machine.
CORES = 2
MEMORY_BYTES = 4 * 10**9
DISK_BYTES = 20 * 10**9
#: A machine that is sold with so much memory shows somewhat less: the kernel keeps some.
_KEPT = 0.9
#: Seconds by which a clock may differ from the gateway's without a word.
CLOCK_S = 60.0


class Level(enum.StrEnum):
    """How it is."""

    PASS = "PASS"  # noqa: S105 (no secret)
    WARN = "WARN"
    FAIL = "FAIL"


@attrs.frozen(kw_only=True)
class Verdict:
    """One finding; ``check`` names what was looked at and stays the same from version to version."""

    check: str
    level: Level
    text: str
    remedy: str = ""


def passed(check: str, text: str) -> Verdict:
    """Return that it is well."""
    return Verdict(check=check, level=Level.PASS, text=text)


def warned(check: str, text: str, remedy: str) -> Verdict:
    """Return that it could be better."""
    return Verdict(check=check, level=Level.WARN, text=text, remedy=remedy)


def failed(check: str, text: str, remedy: str) -> Verdict:
    """Return that a node cannot work like this."""
    return Verdict(check=check, level=Level.FAIL, text=text, remedy=remedy)


def cores(count: int, lent: float | None = None) -> Verdict:
    """Judge the processor cores that this process may use; ``lent`` is how many of them jobs get, None: all."""
    text = f"{count} processor {'core' if count == 1 else 'cores'}"
    text += "" if lent is None else f", of which jobs use {lent:g} together (share.cores)"
    if count >= CORES:
        return passed("cores", text)
    return warned("cores", f"{text}; {CORES} are asked for", "give the machine or container more cores")


def memory(size_bytes: int) -> Verdict:
    """Judge the memory of the machine, or of the container."""
    text = f"{format_size(size_bytes)} of memory"
    if size_bytes >= _KEPT * MEMORY_BYTES:
        return passed("memory", text)
    return warned(
        "memory",
        f"{text}; 4 GB are asked for, and a job may use 2 GiB",
        "give it more, or take smaller jobs: edgeagent config set limits.memory 1G",
    )


def disk(free_bytes: int, place: str, floor_bytes: int = 0) -> Verdict:
    """Judge the free disk space where the node keeps its files; ``floor_bytes`` of it are never used."""
    text = f"{format_size(free_bytes)} free in {place}"
    if free_bytes < floor_bytes:
        return warned(
            "disk",
            f"{text}, less than the {format_size(floor_bytes)} that stay free: no jobs are taken",
            "make room, or: edgeagent config set disk.floor SIZE",
        )
    if free_bytes >= DISK_BYTES:
        return passed("disk", text)
    return warned(
        "disk",
        f"{text}; 20 GB are asked for",
        "make room, or move the node's home to a larger disk: EDGEAGENT_HOME",
    )


def sandbox(
    tier: str, not_enforced: Mapping[str, str], lent_cores: float | None = None, *, runs: bool = False
) -> Verdict:
    """Judge how jobs are confined.

    Args:
        lent_cores: how many processors they use together; None: all.
        runs: a running node says so of its jobs.
    """
    held = "by which they may use" if "cores_quota" in not_enforced else "by a control group"
    missing = "; ".join(f"{name}: {reason}" for name, reason in not_enforced.items())
    text = "the running node's " if runs else ""
    text += f"jobs are confined in tier {tier}"
    text += "" if lent_cores is None else f", and held to {lent_cores:g} processors {held}"
    text += f"; not enforced: {missing}" if missing else ""
    if tier == "A":
        return passed("sandbox", text)
    if tier == "B":
        return warned(
            "sandbox", text, "for tier A, start the node where it has control groups of its own: systemd, Delegate=yes"
        )
    return warned("sandbox", text, "allow user namespaces: sudo sysctl -w user.max_user_namespaces=15000")


def clock(ahead_s: float) -> Verdict:
    """Judge this machine's clock, by how far it is ahead of the gateway's; no rule of a node's goes by it."""
    if abs(ahead_s) <= CLOCK_S:
        return passed("clock", "the clock agrees with the gateway's")
    side = "ahead of" if ahead_s > 0 else "behind"
    text = f"the clock is {format_duration(abs(ahead_s))} {side} the gateway's; windows of the schedule go by it"
    return warned("clock", text, "sudo timedatectl set-ntp true")


def token(left_s: float, provable: bool) -> Verdict:
    """Judge the node's token.

    Args:
        left_s: how long it is good for, by this machine's clock.
        provable: a key is there by which a fresh one can be had.
    """
    if left_s > 0:
        return passed("token", f"the token is good for {format_duration(left_s)}, and is renewed by the running node")
    text = f"the token ended {format_duration(-left_s)} ago"
    if provable:
        return passed("token", f"{text}; the node gets a fresh one by its key when it starts")
    return failed("token", f"{text}, and no key is here to get a fresh one by", "edgeagent register --force ...")


def mode(path: str, bits: int, wanted: int) -> Verdict:
    """Judge who may open a file that holds a secret; ``wanted`` are the only bits allowed."""
    if not bits & 0o777 & ~wanted:
        return passed("files", f"{path} is closed to other users")
    return failed("files", f"{path} can be opened by other users (mode {bits & 0o777:o})", f"chmod {wanted:o} {path}")
