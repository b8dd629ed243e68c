"""Carries out a system call filter, instruction by instruction, as the kernel documents it."""

from __future__ import annotations

import struct


def verdict(code: bytes, number: int, arguments: tuple[int, ...] = (), arch: int = 0) -> int:
    """Return what the filter says to a call: Documentation/networking/filter.rst, the part that seccomp allows."""
    arguments = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number - (1 << 32) * (number >> 31 & 1), arch, 0, *(a % 2**64 for a in arguments))
    accumulator = at = 0
    while True:
        operation, if_true, if_false, value = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if operation == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= value
        elif operation == 0x15:  # BPF_JMP | BPF_JEQ | BPF_K
            at += if_true if accumulator == value else if_false
        elif operation == 0x35:  # BPF_JMP | BPF_JGE | BPF_K
            at += if_true if accumulator >= value else if_false
        else:
            assert operation == 0x06, f"{operation:#x} is no instruction that this filter has"  # BPF_RET | BPF_K
            return value
