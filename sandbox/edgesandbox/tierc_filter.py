"""What the system call filter adds where there are no namespaces: tier C.

Pure.  Landlock guards opening, making and removing files by their paths; a namespace would have guarded the rest.  So
this denies, on top of ``seccomp``:

* every socket but connected pairs, since Landlock does not guard sockets that have a path;
* leaving the process group, which is how a job is counted and killed;
* what the kernel allows to whoever has the same user id: signals where Landlock does not guard them, priorities and
  limits of other processes, modes, owners, times and attributes of files, message queues and System V objects.
"""

from __future__ import annotations

import errno
import platform
import struct

from edgesandbox.seccomp import AND, ARCHES, JEQ, RET_ALLOW, RET_ERRNO, Instruction, argument, load, only, refuse, ret
from edgesandbox.seccomp import NUMBERS as COMMON_NUMBERS

NUMBERS: dict[str, tuple[int | None, int | None]] = COMMON_NUMBERS | {
    "bind": (49, 200),
    "chown": (92, None),
    "connect": (42, 203),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "fremovexattr": (199, 16),
    "fsetxattr": (190, 7),
    "futimesat": (261, None),
    "ioprio_set": (251, 30),
    "kill": (62, 129),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "msgctl": (71, 187),
    "msgrcv": (70, 188),
    "msgsnd": (69, 189),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "semctl": (66, 191),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "setpgid": (109, 154),
    "setpriority": (141, 140),
    "setsid": (112, 157),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "socketpair": (53, 199),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "truncate": (76, 45),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
}
DENIED = (
    *("bind", "connect", "socket", "setpgid", "setsid"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "fchownat", "lchown"),
    *("futimesat", "utime", "utimensat", "utimes", "process_madvise", "process_mrelease"),
    *("setxattr", "setxattrat", "lsetxattr", "fsetxattr", "removexattr", "removexattrat", "lremovexattr"),
    *("fremovexattr", "semctl", "semop", "semtimedop", "shmat", "shmctl", "msgctl", "msgrcv", "msgsnd"),
)
# Programs take these for "not in this kernel" and do without.
ABSENT = ("mq_open", "mq_unlink", "semget")
# Their first argument says whose; 0 is the caller.
ONLY_ONES_OWN = ("prlimit64", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler")
SIGNALS_TO_PROCESSES = ("kill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tgkill", "tkill")

_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_KIND = 1, 1, 5, 0xF
_PRIO_PROCESS, _IOPRIO_WHO_PROCESS = 0, 1
_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_O_WRONLY, _O_RDWR, _O_ACCMODE, _O_TRUNC = 1, 2, 3, 0x200


def program(*, pid: int, landlock: int, separate_id: bool, machine: str | None = None) -> bytes:
    """Return the filter, to be added to that of ``seccomp``.

    Args:
        pid: the job's first process, who may always signal itself and its group.
        landlock: the version, which decides what Landlock leaves open.
        separate_id: the job has a user id that no other process has.
        machine: as ``platform.machine`` spells it; this one's where unset.

    Raises:
        KeyError: an instruction set that this module has no numbers for.
    """
    arch, column = ARCHES[machine or platform.machine()]
    denied, absent = list(DENIED), list(ABSENT)
    checks = _checks(pid)
    if landlock < 3:
        denied.append("truncate")
    if landlock < 6 and not separate_id:
        denied.append("pidfd_send_signal")
        own = [0, pid, -pid & 0xFFFFFFFF]
        checks |= {name: [*argument(0), *only(own, errno.EPERM)] for name in SIGNALS_TO_PROCESSES}
    code: list[Instruction] = [*load(4), (JEQ, 1, 0, arch), ret(RET_ALLOW), *load(0)]  # others end in ``seccomp``
    for names, error in ((denied, errno.EPERM), (absent, errno.ENOSYS)):
        code += refuse((number for name in names if (number := NUMBERS[name][column]) is not None), error)
    for name, block in checks.items():
        if (number := NUMBERS[name][column]) is not None:
            code += [(JEQ, 0, len(block), number), *block]
    code.append(ret(RET_ALLOW))
    return b"".join(struct.pack("=HBBI", *each) for each in code)


def _checks(pid: int) -> dict[str, list[Instruction]]:
    own = only([0, pid], errno.EPERM)
    return {
        "fcntl": [*argument(1), *refuse([_F_SETOWN, _F_SETSIG, _F_SETOWN_EX], errno.EPERM), ret(RET_ALLOW)],
        "ioctl": [*argument(1), *refuse([_FIOSETOWN, _SIOCSPGRP], errno.EPERM), ret(RET_ALLOW)],
        "ioprio_set": _one_process(_IOPRIO_WHO_PROCESS, own),
        "setpriority": _one_process(_PRIO_PROCESS, own),
        "socketpair": _socketpair(),
        "open": _open(1),
        "openat": _open(2),
        **{name: [*argument(0), *own] for name in ONLY_ONES_OWN},
    }


def _one_process(kind: int, own: list[Instruction]) -> list[Instruction]:
    """Allow a call whose first argument says what the second counts."""
    return [*argument(0), (JEQ, 1, 0, kind), ret(RET_ERRNO | errno.EPERM), *argument(1), *own]


def _socketpair() -> list[Instruction]:
    """Allow pairs that stay connected to each other: a datagram socket can send elsewhere."""
    kinds = only([_SOCK_STREAM, _SOCK_SEQPACKET], errno.EPERM)
    return [
        *argument(0),
        (JEQ, 1, 0, _AF_UNIX),
        ret(RET_ERRNO | errno.EAFNOSUPPORT),
        *argument(1),
        (AND, 0, 0, _SOCK_KIND),
        *kinds,
    ]


def _open(index: int) -> list[Instruction]:
    """Refuse what is checked neither as reading nor as writing, and to truncate what is opened for reading."""
    return [
        *argument(index),
        (AND, 0, 0, _O_ACCMODE),
        *refuse([_O_ACCMODE], errno.EPERM),
        (JEQ, 0, 1, _O_WRONLY),
        ret(RET_ALLOW),
        (JEQ, 0, 1, _O_RDWR),
        ret(RET_ALLOW),
        *argument(index),
        (AND, 0, 0, _O_TRUNC),
        *only([0], errno.EPERM),
    ]
