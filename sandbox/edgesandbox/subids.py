"""User ids of an ordinary user's own, from /etc/subuid and /etc/subgid, for his jobs.

The kernel lets him map no id but his own; newuidmap and newgidmap, which belong to root, map those that the
administrator has given him.  They are run once for each zygote, by the launcher, and cost no job anything.  A launcher
that was lent CAP_SETUID and CAP_SETGID (systemd's AmbientCapabilities=) maps the same ids itself, and so may run with
no_new_privs.  Whatever keeps this from working is returned as one line that says what to type: jobs then share his own
id, as the report says.
"""

from __future__ import annotations

import dataclasses
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from edgesandbox import linux
from edgesandbox.identity import Ids, Range, choose_block, next_free, ranges_of

FILES = ("/etc/subuid", "/etc/subgid")
_PR_GET_NO_NEW_PRIVS = 39
# More than any virtual environment has; a tree that has more is taken for closed.
MOST_DIRECTORIES = 20_000
_PACKAGE = "type: sudo apt install uidmap (where there is no apt: the package of newuidmap, such as shadow-utils)"
_NO_NEW_PRIVILEGES = (
    "newuidmap has no effect where the sandbox was started with no_new_privs: "
    "systemd's NoNewPrivileges=no, or a container without no-new-privileges"
)


@dataclasses.dataclass(frozen=True)
class Grant:
    """What the administrator has given a user, and what of it one zygote takes."""

    users: Range
    groups: Range
    programs: tuple[str, str] | None  # for groups, for users; None where this process may map the ids itself
    ids: Ids


def find(uid: int) -> Grant | str:
    """Return the ids that this user may have mapped, or why there are none; the namespace is still the host's."""
    programs = None
    if not linux.has_capabilities((linux.CAP_SETGID, linux.CAP_SETUID)):
        if linux.prctl(_PR_GET_NO_NEW_PRIVS):
            return _NO_NEW_PRIVILEGES
        for_groups, for_users = (_program(name) for name in ("newgidmap", "newuidmap"))
        if not for_groups or not for_users:
            return f"newuidmap or newgidmap is not installed; {_PACKAGE}"
        programs = (for_groups, for_users)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid} has no name in /etc/passwd, by which ids are given in /etc/subuid"
    texts = [_read(path) for path in FILES]
    users, groups = (max(ranges_of(text, name, uid), key=lambda each: each[1], default=(0, 0)) for text in texts)
    ids = choose_block((users[0], min(users[1], groups[1])), os.getpid(), _in_use())
    if ids is None:
        first = next_free(texts)
        more = f"{first}-{first + 65_535}"
        return (
            f"{name} has too few ids of his own in /etc/subuid and /etc/subgid; "
            f"type: sudo usermod --add-subuids {more} --add-subgids {more} {name}"
        )
    return Grant(users, groups, programs, ids)


def _in_use() -> set[int]:
    """Return the users of all living processes: other zygotes of the same user have some of his ids."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                found.add(os.stat(f"/proc/{name}").st_uid)
            except OSError:  # it has ended
                continue
    return found


def become_root(grant: Grant, uid: int, gid: int) -> str:
    """Move into a user namespace in which this process is root and the ids granted follow its own.

    Returns an empty text, or why it has no ids but none either of its own: those are the caller's to map then.

    Raises:
        OSError: no user namespaces here.
    """
    go_read, go_write = os.pipe()
    words_read, words_write = os.pipe()
    parent = os.getpid()
    outside = os.fork()  # a setuid program has no effect from inside
    if outside == 0:
        try:
            os.close(go_write)
            if os.read(go_read, 1):
                os.dup2(words_write, 2)
                _map(grant, parent, uid, gid)
        finally:
            os._exit(1)
    os.close(go_read)
    os.close(words_write)
    try:
        linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)  # mounts of its own, to lend devices of
        os.write(go_write, b"1")
    finally:
        os.close(go_write)
        with os.fdopen(words_read, errors="replace") as words:
            said = " ".join(words.read().split())
        status = os.waitpid(outside, 0)[1]
    return "" if status == 0 else said or "newuidmap failed"


def _map(grant: Grant, pid: int, uid: int, gid: int) -> None:
    """Write both maps, groups first: where they are refused, the other map is still to be written.  Does not return."""
    for number, (kind, own, (first, count)) in enumerate((("gid", gid, grant.groups), ("uid", uid, grant.users))):
        if grant.programs is None:
            try:
                linux.write_file(f"/proc/{pid}/{kind}_map", f"0 {own} 1\n1 {first} {count}")
            except OSError as problem:
                os.write(2, f"{kind}_map: {problem.strerror}".encode())
                os._exit(1)
            continue
        words = [grant.programs[number], *map(str, (pid, 0, own, 1, 1, first, count))]
        child = os.posix_spawn(words[0], words, {"PATH": "/usr/bin:/bin", "LANG": "C"})
        if os.waitpid(child, 0)[1]:
            os._exit(1)
    os._exit(0)


def closed(paths: Iterable[str], right: int, *, below: bool = False) -> str | None:
    """Return the first of these on which users other than its owner have not this right, in bits of the mode.

    To enter a directory is part of it.  ``below`` looks into the caller's own directories, at most
    ``MOST_DIRECTORIES``: nobody but him could have closed something in there to others and not to him.
    """
    left = MOST_DIRECTORIES
    for path in paths:
        todo = [path]
        while todo:
            one = todo.pop()
            try:
                status = os.stat(one)
                directory = stat.S_ISDIR(status.st_mode)
                wanted = right | (0o1 if directory else 0)
                if status.st_mode & wanted != wanted or left == 0:
                    return path
                if below and directory and status.st_uid == os.getuid():
                    with os.scandir(one) as entries:
                        todo += [entry.path for entry in entries if not entry.is_symlink()]
                    left -= 1
            except OSError:  # whoever opens it says so
                continue
    return None


def _program(name: str) -> str | None:
    places = (f"{directory}/{name}" for directory in ("/usr/bin", "/bin", "/usr/local/bin"))
    return next((path for path in places if os.access(path, os.X_OK)), None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
