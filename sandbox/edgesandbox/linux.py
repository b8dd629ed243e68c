"""The kernel calls that Python's standard library lacks, by ctypes.

The C library is loaded as a ``PyDLL``: the interpreter lock stays held, so that a raw clone leaves the child with a
usable interpreter.  Every function raises OSError with the name of the call in it.  Numbers and structures are from
the kernel's uapi headers (linux/mount.h, linux/sched.h, linux/openat2.h, linux/capability.h, linux/prctl.h).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import platform
import signal
import stat
import time
from collections.abc import Callable, Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_INTO_CGROUP = 0x200000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8

AT_FDCWD = -100
AT_RECURSIVE = 0x8000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08

CAP_CHOWN = 0
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_FOWNER = 3
CAP_KILL = 5
CAP_SETGID = 6
CAP_SETUID = 7
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21

_ARM = platform.machine() == "aarch64"
_BPF = 280 if _ARM else 321
_PIVOT_ROOT = 41 if _ARM else 155
_KEYCTL = 219 if _ARM else 250
# From 424 on, every architecture has the same numbers.
_OPEN_TREE, _MOVE_MOUNT = 428, 429
_CLONE3, _CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 435, 436, 437, 442
_LANDLOCK = 444

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_KEYCTL_JOIN_SESSION_KEYRING = 1
_MADV_COLLAPSE = 25  # Linux 6.1
_HUGE = 2 << 20
_NEVER_S = 1 << 30

_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Looked up now: in a child, each look-up would be its first, and copy pages.
_before_fork = ctypes.pythonapi.PyOS_BeforeFork
_after_fork_parent, _after_fork_child = ctypes.pythonapi.PyOS_AfterFork_Parent, ctypes.pythonapi.PyOS_AfterFork_Child


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _syscall(what: str, number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    words = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _check(int(_libc.syscall(ctypes.c_long(number), *words)), what)


def unshare(flags: int) -> None:
    """Leave the namespaces in ``flags`` for new ones; a user namespace needs a single-threaded caller."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter_network(network: int) -> None:
    """Move into the network namespace of a descriptor."""
    _check(_libc.setns(ctypes.c_int(network), ctypes.c_int(CLONE_NEWNET)), "setns")


def clone(flags: int, cgroup: int | None = None) -> int:
    """Fork into new namespaces and, where it is given, a control group; returns the child's pid, and 0 in the child.

    The interpreter is told as ``os.fork`` tells it.  glibc is not: the child may fork on, but must not start threads.
    """
    arguments = (ctypes.c_uint64 * 11)(flags, 0, 0, 0, signal.SIGCHLD)
    if cgroup is not None:
        arguments[0], arguments[10] = flags | _CLONE_INTO_CGROUP, cgroup
    _before_fork()
    pid = int(_libc.syscall(ctypes.c_long(_CLONE3), ctypes.byref(arguments), ctypes.c_size_t(88)))
    error = ctypes.get_errno()
    if pid == 0:
        _after_fork_child()
        return 0
    _after_fork_parent()
    if pid < 0:
        raise OSError(error, f"clone3: {os.strerror(error)}")
    return pid


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount as mount(2) does."""
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {kind} at {target}")


def make_mounts_private() -> None:
    """Cut this mount namespace off: no mount or unmount passes in or out."""
    _check(_libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None), "make mounts private")


def unmount_detached(target: str) -> None:
    """Unmount a tree now; what is in use goes when its last user does."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make ``new_root`` the root of this mount namespace."""
    _syscall("pivot_root", _PIVOT_ROOT, os.fsencode(new_root), os.fsencode(put_old))


def clone_tree(path: str) -> int:
    """Return a descriptor of a detached copy of the mounts at ``path`` and below."""
    flags = 1 | os.O_CLOEXEC | AT_RECURSIVE  # OPEN_TREE_CLONE
    return _syscall(f"open_tree {path}", _OPEN_TREE, AT_FDCWD, os.fsencode(path), flags)


def attach(mount_fd: int, target: str) -> None:
    """Attach a detached mount at ``target``."""
    _syscall(f"move_mount {target}", _MOVE_MOUNT, mount_fd, b"", AT_FDCWD, os.fsencode(target), 4)


def set_mount_flags(target: str, flags: int, *, recursive: bool) -> None:
    """Add MOUNT_ATTR flags to a mount, and to those below it."""
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_long(AT_FDCWD),
        os.fsencode(target),
        ctypes.c_long(AT_RECURSIVE if recursive else 0),
        ctypes.byref(attributes),
        ctypes.c_size_t(32),
    )
    _check(int(result), f"mount_setattr {target}")


def open_beneath(dir_fd: int, path: str, flags: int) -> int:
    """Open ``path`` below ``dir_fd`` without following any link, out of the directory or into /proc."""
    how = (ctypes.c_uint64 * 3)(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)
    result = _libc.syscall(
        ctypes.c_long(_OPENAT2), ctypes.c_long(dir_fd), os.fsencode(path), ctypes.byref(how), ctypes.c_size_t(24)
    )
    # systemd's RestrictSUIDSGID= takes openat2 away, since a filter cannot read the mode that it is given.
    if result < 0 and ctypes.get_errno() == errno.ENOSYS:
        return _open_child(dir_fd, path, flags)
    return _check(int(result), f"openat2 {path}")


def _open_child(dir_fd: int, name: str, flags: int) -> int:
    """Do the same with openat for a single name, which can lead out of the directory only by being a link."""
    if name in ("", ".", "..") or "/" in name:
        raise OSError(errno.ENOSYS, f"{name!r} is not a single name, and there is no openat2")
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    except NotADirectoryError:
        if stat.S_ISLNK(os.lstat(name, dir_fd=dir_fd).st_mode):
            raise OSError(errno.ELOOP, f"open {name}: {os.strerror(errno.ELOOP)}") from None
        raise


def write_file(path: str, text: str) -> None:
    """Write a file of the kernel's in one call, as those want it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def write_map(pid: int, kind: str, inside: int, outside: int, count: int) -> None:
    """Write a process's uid_map or gid_map."""
    write_file(f"/proc/{pid}/{kind}_map", f"{inside} {outside} {count}")


def has_capabilities(wanted: Iterable[int]) -> bool:
    """Say whether all of these are in this process's effective set."""
    with open("/proc/self/status") as status:
        effective = next((int(line.split()[1], 16) for line in status if line.startswith("CapEff:")), 0)
    return all(effective >> each & 1 for each in wanted)


def close_all_except(keep: Iterable[int]) -> None:
    """Close every descriptor that is not in ``keep``."""
    first = 0
    for fd in sorted(set(keep)):
        if fd > first:
            _syscall("close_range", _CLOSE_RANGE, first, fd - 1, 0)
        first = fd + 1
    _syscall("close_range", _CLOSE_RANGE, first, 0xFFFFFFFF, 0)


def prctl(option: int, value: int = 0, second: int = 0) -> int:
    """Call prctl(2) with one argument, or two."""
    zero = ctypes.c_ulong(0)
    words = (ctypes.c_ulong(value), ctypes.c_ulong(second))
    return _check(_libc.prctl(ctypes.c_int(option), *words, zero, zero), f"prctl {option}")


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it is gone."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_dumpable(dumpable: bool) -> None:
    """Say whether processes of the same user may look into this one, and who owns its files in /proc."""
    prctl(_PR_SET_DUMPABLE, int(dumpable))


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def collapse_heap() -> None:
    """Ask for huge pages under this process's own memory: a fork then copies fewer tables.  Changes nothing else."""
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    for area, rights, *_rest, inode in (fields[:5] for fields in lines):
        if rights.startswith("rw-p") and inode == "0":
            first, last = (int(each, 16) for each in area.split("-"))
            first, last = -(-first // _HUGE) * _HUGE, last // _HUGE * _HUGE
            if first < last:
                _libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), ctypes.c_int(_MADV_COLLAPSE))


def new_session_keyring() -> None:
    """Leave the caller's session keyring, whose keys a child could otherwise use."""
    with contextlib.suppress(OSError):  # a kernel without keyrings has none to leak
        _syscall("keyctl", _KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None)


def block_signals(numbers: Iterable[int] = ()) -> None:
    """Block these signals and no others; ``signal.pthread_sigmask`` would build enums, page by page, in each child."""
    mask = (ctypes.c_uint64 * 16)(sum(1 << (number - 1) for number in numbers))
    _check(_libc.sigprocmask(ctypes.c_int(2), ctypes.byref(mask), None), "sigprocmask")  # SIG_SETMASK


def signal_descriptor(number: int) -> int:
    """Return a descriptor that is readable while a blocked signal is pending."""
    mask = (ctypes.c_uint64 * 16)(1 << (number - 1))
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return _check(_libc.signalfd(ctypes.c_int(-1), ctypes.byref(mask), ctypes.c_int(flags)), "signalfd")


def timer_descriptor() -> int:
    """Return a descriptor of a timer, by the monotonic clock, that is not set."""
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return _check(_libc.timerfd_create(ctypes.c_int(time.CLOCK_MONOTONIC), ctypes.c_int(flags)), "timerfd_create")


def timer_setter(timer: int, after_s: float) -> Callable[[], int]:
    """Return what makes the timer's descriptor readable so many seconds after it is called.

    What can be done ahead is done here: that call is most of what starting a warm job takes.
    """
    seconds = int(after_s)
    # struct itimerspec; by its interval, which never comes, ``timer_left_s`` sees that it has been set.
    spec = (ctypes.c_int64 * 4)(_NEVER_S, 0, seconds, int((after_s - seconds) * 1e9) or 1)
    return functools.partial(_libc.timerfd_settime, ctypes.c_int(timer), ctypes.c_int(0), ctypes.byref(spec), None)


def timer_left_s(timer: int) -> float | None:
    """Return the seconds until a timer goes off, 0 once it has; None where it is not set."""
    spec = (ctypes.c_int64 * 4)()
    _check(_libc.timerfd_gettime(ctypes.c_int(timer), ctypes.byref(spec)), "timerfd_gettime")
    if not spec[0]:  # a timer that is due, but has not gone off yet, has nothing left and cannot be read either
        return None
    with contextlib.suppress(BlockingIOError):
        os.read(timer, 8)
        return 0.0
    return spec[2] + spec[3] / 1e9


def landlock_create_ruleset(attributes: bytes, flags: int) -> int:
    """Return a descriptor of a new ruleset; with flags 1, the ABI version."""
    return _syscall("landlock_create_ruleset", _LANDLOCK, attributes or None, len(attributes), flags)


def landlock_allow_beneath(ruleset: int, rule: bytes) -> None:
    """Add a rule for a directory and all below it."""
    _syscall("landlock_add_rule", _LANDLOCK + 1, ruleset, 1, rule, 0)


def landlock_restrict_self(ruleset: int) -> None:
    """Put a ruleset on this thread."""
    _syscall("landlock_restrict_self", _LANDLOCK + 2, ruleset, 0)


def bpf(command: int, attributes: bytes) -> int:
    """Call bpf(2) with the start of its attributes; the rest is zero."""
    return _syscall("bpf", _BPF, command, ctypes.create_string_buffer(attributes, 128), 128)
