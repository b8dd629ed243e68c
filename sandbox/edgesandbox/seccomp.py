"""The system calls that a job cannot make.

Pure.  A deny list, closed at its end: what is named here fails with EPERM, what is newer than this
module fails with ENOSYS, a foreign instruction set ends the process, and the rest is allowed.  A list of allowed calls
would be shorter to trust, but jobs are anything from numpy to Blender, and each of those would be a new hole cut by
hand; what matters is that everything by which a process without privileges has broken out of namespaces is here:

* whole subsystems with a history (io_uring, bpf, perf, userfaultfd, keyrings, user namespaces, new mount calls);
* what the kernel does not divide by namespace (AF_VSOCK and AF_ALG sockets, kernel log, clock, swap, modules);
* what looks into other processes (ptrace, pidfd_getfd, kcmp), and typing into terminals (TIOCSTI);
* what changes the limits of the supervisor, who has the job's user id and is always process 1 (the kernel itself
  guards its priority, for the capabilities that it has and the job has not);
* what tells or stops others who open the same read-only file (inotify, fanotify, dnotify, leases);
* what would make a setuid or setgid file, which could outlive the job in a directory of the host that it may write to;
* memory that belongs to no process, where no cgroup counts it (memfd, shared anonymous, System V).

The limit on core dumps cannot be changed, and whoever tries is told that it worked (``confine.refuse_core_dumps``):
programs that switch their own dumps off would else give up.

``clone3`` and ``openat2`` fail with ENOSYS since their flags and modes lie in memory that a filter cannot read; C
libraries then use ``clone`` and ``openat``, whose arguments are checked.  Arguments are compared in their lower 32 bits
where the kernel takes an int: the upper ones are the caller's to choose and the kernel's to ignore.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable

from edgesandbox.calls import Calls

# Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (aarch64); None: not there.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "chmod": (90, None),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "creat": (85, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fcntl": (72, 25),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "lsm_set_self_attr": (460, 460),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "migrate_pages": (256, 238),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "mmap": (9, 222),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open": (2, None),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "openat": (257, 56),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prlimit64": (302, 261),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setrlimit": (160, 164),
    "settimeofday": (164, 170),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "uselib": (134, None),
    "vhangup": (153, 58),
}
LAST_KNOWN = 467

DENIED = (
    *("acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime", "delete_module"),
    *("fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "ioperm", "iopl"),
    *("kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "lsm_set_self_attr", "memfd_secret"),
    *("migrate_pages", "modify_ldt", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at"),
    *("nfsservctl", "open_by_handle_at", "open_tree", "open_tree_attr", "perf_event_open", "pidfd_getfd"),
    *("pivot_root", "ptrace", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname"),
    *("setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2", "userfaultfd", "uselib", "vhangup"),
)
# Programs take these for "not in this kernel" and do without.
ABSENT = (
    *("clone3", "inotify_init", "inotify_init1", "io_uring_enter", "io_uring_register", "io_uring_setup"),
    "openat2",
)
UNCOUNTED_MEMORY = ("memfd_create", "msgget", "shmget")

FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: any protocol; an empty network namespace has nobody to talk to
_AF_NETLINK = 16  # with NETLINK_ROUTE alone, for if_nameindex and getifaddrs
_CLONE_NEW = 0x7E020080  # every CLONE_NEW flag, CLONE_NEWTIME included
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_F_SETLEASE, _F_NOTIFY, _F_SETDELEG = 1024, 1026, 1040
_RLIMIT_CORE = 4
_SUPERVISOR = 1
_SETUID_SETGID = 0o6000
_O_CREAT, _O_TMPFILE = 0o100, 0o20000000
# Where the mode of a file is given, and where the flags that say whether it is made at all.
_MODES = {"chmod": 1, "creat": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2}
_FLAGS_AND_MODES = {"open": (1, 2), "openat": (2, 3)}
_MAP_SHARED_ANONYMOUS = 0x21

ARCHES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # AUDIT_ARCH_*, column of NUMBERS
_X32_BIT = 0x40000000
_PR_SET_SECCOMP = 22

RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000
RET_KILL_PROCESS = 0x80000000

# struct seccomp_data: nr, arch, instruction_pointer, args[6]
_NR, _ARCH = 0, 4
_LD, AND, JEQ, _JGE, _RET = 0x20, 0x54, 0x15, 0x35, 0x06

Instruction = tuple[int, int, int, int]


def program(*, count_memory: bool, keep_affinity: bool = False, machine: str | None = None) -> bytes:
    """Return the filter.

    Args:
        count_memory: something else, a cgroup, counts memory that belongs to no process.
        keep_affinity: the job stays on the processors that it starts on; whoever asks for others is told that it
            worked, since programs do so for speed alone.
        machine: as ``platform.machine`` spells it; this one's where unset.

    Raises:
        KeyError: an instruction set that this module has no numbers for.
    """
    arch, column = ARCHES[machine or platform.machine()]

    def number(name: str) -> int | None:
        return NUMBERS[name][column]

    code: list[Instruction] = [
        *load(_ARCH),
        (JEQ, 1, 0, arch),
        ret(RET_KILL_PROCESS),
        *load(_NR),
        (_JGE, 0, 1, _X32_BIT),
        ret(RET_KILL_PROCESS),
        (_JGE, 0, 1, LAST_KNOWN + 1),
        ret(RET_ERRNO | errno.ENOSYS),
    ]
    absent = (*ABSENT, *(() if count_memory else UNCOUNTED_MEMORY))
    for names, error in ((DENIED, errno.EPERM), (absent, errno.ENOSYS)):
        code += refuse(filter(None, map(number, names)), error)
    checks = {
        "clone": [*argument(0), (AND, 0, 0, _CLONE_NEW), *only([0], errno.EPERM)],
        "unshare": [*argument(0), (AND, 0, 0, _CLONE_NEW), *only([0], errno.EPERM)],
        "fcntl": [*argument(1), *refuse([_F_SETLEASE, _F_NOTIFY, _F_SETDELEG], errno.EPERM), ret(RET_ALLOW)],
        "ioctl": [*argument(1), *refuse([_TIOCSTI, _TIOCLINUX], errno.EPERM), ret(RET_ALLOW)],
        "personality": [*argument(0), *only([0, 0xFFFFFFFF], errno.EPERM)],
        "prlimit64": _prlimit(),
        "setrlimit": [*argument(0), *refuse([_RLIMIT_CORE], 0), ret(RET_ALLOW)],
        "socket": _socket(),
        **{name: _mode(at) for name, at in _MODES.items()},
        **{name: _creation(*both) for name, both in _FLAGS_AND_MODES.items()},
    }
    if not count_memory:
        shared = (AND, 0, 0, _MAP_SHARED_ANONYMOUS)
        checks["mmap"] = [*argument(3), shared, *refuse([_MAP_SHARED_ANONYMOUS], errno.EPERM), ret(RET_ALLOW)]
    if keep_affinity:
        checks["sched_setaffinity"] = [ret(RET_ERRNO)]
    for name, block in checks.items():
        wanted = number(name)
        if wanted is not None:
            code += [(JEQ, 0, len(block), wanted), *block]
    code.append(ret(RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def load(offset: int) -> list[Instruction]:
    """Load a word of struct seccomp_data into the accumulator."""
    return [(_LD, 0, 0, offset)]


def argument(index: int) -> list[Instruction]:
    """Load the lower half of an argument of the call."""
    return load(16 + 8 * index)  # the lower half, on the little-endian machines above


def ret(action: int) -> Instruction:
    """End with a verdict."""
    return (_RET, 0, 0, action)


def refuse(values: Iterable[int], error: int) -> list[Instruction]:
    """Fail with ``error`` where the accumulator is one of ``values``; go on otherwise."""
    return [each for value in values for each in ((JEQ, 0, 1, value), ret(RET_ERRNO | error))]


def only(values: Iterable[int], error: int) -> list[Instruction]:
    """Allow where the accumulator is one of ``values``; fail with ``error`` otherwise."""
    allowed = [each for value in values for each in ((JEQ, 0, 1, value), ret(RET_ALLOW))]
    return [*allowed, ret(RET_ERRNO | error)]


def _socket() -> list[Instruction]:
    families = [each for family in FAMILIES for each in ((JEQ, 0, 1, family), ret(RET_ALLOW))]
    refused = ret(RET_ERRNO | errno.EAFNOSUPPORT)
    return [*argument(0), *families, (JEQ, 1, 0, _AF_NETLINK), refused, *argument(2), *only([0], errno.EPERM)]


def _mode(index: int) -> list[Instruction]:
    """Refuse a mode by which a file would give its owner's or group's privileges to whoever runs it."""
    return [*argument(index), (AND, 0, 0, _SETUID_SETGID), *only([0], errno.EPERM)]


def _creation(flags: int, mode: int) -> list[Instruction]:
    """Refuse such a mode where a file may be made; elsewhere the kernel does not look at it."""
    return [*argument(flags), (AND, 0, 0, _O_CREAT | _O_TMPFILE), (JEQ, 0, 1, 0), ret(RET_ALLOW), *_mode(mode)]


def _prlimit() -> list[Instruction]:
    """Refuse the supervisor's; pretend to set the limit on core dumps, and allow to ask for it (without a new one)."""
    pretended = ret(RET_ERRNO)
    zero = [(JEQ, 1, 0, 0), pretended]
    lower, upper = argument(2), load(16 + 8 * 2 + 4)
    return [
        *argument(0),
        *refuse([_SUPERVISOR], errno.EPERM),
        *argument(1),
        (JEQ, 1, 0, _RLIMIT_CORE),
        ret(RET_ALLOW),
        *(*lower, *zero, *upper, *zero),
        ret(RET_ALLOW),
    ]


def add(calls: Calls, code: bytes) -> None:
    """Put the filter on whoever makes these calls and all it will start, for ever; needs ``no_new_privs``."""
    # struct sock_fprog: a short, padding, a pointer.  The array keeps what it points to alive.
    program = (_Program * 1)(_Program(len(code) // 8, code))
    calls.add("prctl", _PR_SET_SECCOMP, 2, program, 0, 0, what="seccomp")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))
