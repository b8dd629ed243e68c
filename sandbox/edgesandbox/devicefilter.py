"""The device program of a control group of version 2: refuses every device that is not listed.

Version 2 has no devices controller; instead the kernel asks a small program, in the instruction set of bpf(2), whenever
somebody in the group opens or makes a device.  Layouts and numbers: include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

from edgesandbox import linux

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 5, 8, 9
_PROG_TYPE_CGROUP_DEVICE, _ATTACH_CGROUP_DEVICE = 15, 6
_ALLOW_MULTI = 2  # somebody else's program, systemd's for example, is asked as well
_DEV_CHAR, _ACC_MKNOD = 2, 1

# Opcodes: load a word, 32-bit "and", "shift right", "jump if not equal", move, exit.
_LDXW, _AND, _RSH, _JNE, _MOV, _EXIT = 0x61, 0x54, 0x74, 0x55, 0xB4, 0x95


def program(devices: Sequence[tuple[int, int]]) -> bytes:
    """Return the program: character devices of these numbers may be opened, and nothing may be made."""
    # r1 points to access << 16 | type, major, minor.
    allowed = [
        each
        for major, minor in devices
        for each in (_code(_JNE, 4, 3, major), _code(_JNE, 5, 2, minor), _code(_MOV, 0, 0, 1), _code(_EXIT))
    ]
    to_end = len(allowed)
    code = [
        _code(_LDXW, 2, 0, source=1),
        _code(_LDXW, 3, 0, source=1),
        _code(_LDXW, 4, 4, source=1),
        _code(_LDXW, 5, 8, source=1),
        _code(_AND, 2, 0, 0xFFFF),
        _code(_RSH, 3, 0, 16),
        _code(_AND, 3, 0, _ACC_MKNOD),
        _code(_JNE, 2, to_end + 1, _DEV_CHAR),
        _code(_JNE, 3, to_end, 0),
        *allowed,
        _code(_MOV, 0, 0, 0),
        _code(_EXIT),
    ]
    return b"".join(code)


def _code(operation: int, target: int = 0, offset: int = 0, value: int = 0, *, source: int = 0) -> bytes:
    return struct.pack("=BBhi", operation, source << 4 | target, offset, value)


def load(devices: Sequence[tuple[int, int]]) -> int:
    """Return a descriptor of the program.

    Raises:
        OSError: this user may not, or this kernel has no such programs.
    """
    code = ctypes.create_string_buffer(program(devices))
    license_name = ctypes.create_string_buffer(b"GPL")
    addresses = ctypes.addressof(code), ctypes.addressof(license_name)
    return linux.bpf(_PROG_LOAD, struct.pack("=IIQQ", _PROG_TYPE_CGROUP_DEVICE, len(code) // 8, *addresses))


def attach(program_fd: int, group_fd: int) -> None:
    """Have a group ask the program from now on, until the group is gone."""
    linux.bpf(_PROG_ATTACH, struct.pack("=IIII", group_fd, program_fd, _ATTACH_CGROUP_DEVICE, _ALLOW_MULTI))


def detach(program_fd: int, group_fd: int) -> None:
    """Have a group ask the program no more."""
    linux.bpf(_PROG_DETACH, struct.pack("=III", group_fd, program_fd, _ATTACH_CGROUP_DEVICE))
