"""The filter as a program, for both instruction sets: numbers compared with the kernel's, verdicts by an interpreter.

The machine that runs these tests has one instruction set; what its kernel says to the filter is in
``test_sandbox_calls``.  Here each instruction is carried out as the kernel documents it, so that the other set's filter
is tried as well.
"""

from __future__ import annotations

import errno
import platform
import runpy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interpreter import verdict
from sandboxing import HERE

from edgesandbox import calls, linux, seccomp, tierc_filter

MACHINES = ["x86_64", "aarch64"]
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
ORDINARY = {"x86_64": (0, 1, 3, 9, 39, 56, 202, 257, 302), "aarch64": (56, 57, 63, 64, 98, 172, 220, 222, 261)}
KERNELS = dict(
    line.split() for line in (HERE / "syscalls_aarch64.txt").read_text().splitlines() if not line.startswith("#")
)


class Filter:
    """One machine's filter, to be asked by name."""

    def __init__(self, machine: str, *, count_memory: bool = False) -> None:
        self.arch, self.column = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}[machine]
        self.code = seccomp.program(count_memory=count_memory, machine=machine)

    def __call__(self, name: str | int, *arguments: int) -> int:
        number = seccomp.NUMBERS[name][self.column] if isinstance(name, str) else name
        assert number is not None
        return verdict(self.code, number, arguments, self.arch)

    def named(self, names: tuple[str, ...]) -> list[str]:
        return [name for name in names if seccomp.NUMBERS[name][self.column] is not None]


@pytest.fixture(params=MACHINES)
def says(request: pytest.FixtureRequest) -> Filter:
    """The filter of each machine, where no group counts memory."""
    return Filter(request.param)


def test_numbers_of_aarch64_are_the_kernels():
    """Each of the filter's, with those that Linux 6.1 does not know yet the same for all machines."""
    ours = {name: numbers[1] for name, numbers in tierc_filter.NUMBERS.items()}  # with all of the common ones
    newer = {name for name, number in ours.items() if number is not None and KERNELS[name] == "-"}

    assert {name: str(number or "-") for name, number in ours.items() if name not in newer} == {
        name: number for name, number in KERNELS.items() if name in ours and name not in newer
    }
    assert newer == {"fchmodat2", "lsm_set_self_attr", "open_tree_attr", "removexattrat", "setxattrat"}


def test_numbers_from_424_on_are_the_same_everywhere():
    """The kernel gives every architecture the same number since then (asm-generic/unistd.h)."""
    recent = {name: pair for name, pair in tierc_filter.NUMBERS.items() if max(filter(None, pair)) >= 424}

    assert len(recent) > 10
    assert {} == {name: pair for name, pair in recent.items() if pair[0] != pair[1]}


def test_the_calls_that_the_sandbox_makes_have_aarch64s_numbers(monkeypatch):
    """What ``linux`` chooses on such a machine, and what ``calls`` prepares."""
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    chosen = runpy.run_path(str(linux.__file__))

    assert {name: int(KERNELS[name]) for name in calls._NUMBERS} == {n: pair[1] for n, pair in calls._NUMBERS.items()}
    for name in ("bpf", "pivot_root", "keyctl", "close_range", "openat2"):
        assert KERNELS[name] == str(chosen["_" + name.upper()]), name
    assert KERNELS["landlock_create_ruleset"] == str(chosen["_LANDLOCK"])


def test_what_is_denied_is_denied_whatever_it_asks_for(says):
    """EPERM for each name of the list, ENOSYS for what programs can do without."""
    ones = (2**64 - 1,) * 6

    assert {REFUSE | errno.EPERM} == {says(name, *ones) for name in says.named(seccomp.DENIED)}
    absent = says.named((*seccomp.ABSENT, *seccomp.UNCOUNTED_MEMORY))
    assert {REFUSE | errno.ENOSYS} == {says(name, *ones) for name in absent}


@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_are_allowed(machine):
    """read, write, mmap, futex, clone without a namespace, asking for a limit, and so on."""
    says = Filter(machine)

    assert {ALLOW} == {says(number) for number in ORDINARY[machine]}


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("fchmodat", (-100, 0, 0o755), None),
        ("fchmodat", (-100, 0, 0o4755), errno.EPERM),
        ("fchmodat2", (-100, 0, 0o2755, 0), errno.EPERM),
        ("fchmod", (3, 0o1777), None),
        ("fchmod", (3, 0o6000 | 1 << 32), errno.EPERM),
        ("mknodat", (-100, 0, 0o104755, 0), errno.EPERM),
        ("openat", (-100, 0, 0o100, 0o4755), errno.EPERM),
        ("openat", (-100, 0, 0o20200000, 0o2755), errno.EPERM),
        ("openat", (-100, 0, 0o100, 0o666), None),
        ("openat", (-100, 0, 0, 0o4755), None),  # whatever is in the register where no file is made
        ("clone", (0x10000000,), errno.EPERM),
        ("clone", (0x1200011,), None),  # fork
        ("clone", (0x3D0F00,), None),  # a thread
        ("unshare", (0x20000 | 1 << 40,), errno.EPERM),
        ("ioctl", (0, 0x5412 | 7 << 32), errno.EPERM),
        ("ioctl", (0, 0x5401), None),
        ("socket", (40, 1, 0), errno.EAFNOSUPPORT),
        ("socket", (38 | 1 << 32, 5, 0), errno.EAFNOSUPPORT),
        ("socket", (1, 1, 0), None),
        ("socket", (16, 3, 0), None),
        ("socket", (16, 3, 9), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x21), errno.EPERM),
        ("mmap", (0, 4096, 3, 0x22), None),
        ("personality", (0x40000,), errno.EPERM),
        ("personality", (0xFFFFFFFF,), None),
        ("fcntl", (3, 1024, 0), errno.EPERM),
        ("fcntl", (3, 1026 | 1 << 33, 1), errno.EPERM),
        ("fcntl", (3, 3), None),
        ("setrlimit", (4, 0), 0),
        ("setrlimit", (7, 0), None),
        ("prlimit64", (0, 4, 0x1000, 0), 0),
        ("prlimit64", (0, 4, 0x1000 << 32, 0), 0),  # an address with nothing in its lower half
        ("prlimit64", (0, 4, 0, 0x1000), None),
        ("prlimit64", (0, 7, 0x1000, 0), None),
        ("prlimit64", (1, 7, 0x1000, 0), errno.EPERM),
        ("prlimit64", (1 | 1 << 32, 7, 0x1000, 0), errno.EPERM),
    ],
)
def test_arguments_decide(says, name, arguments, error):
    """None: allowed; 0: refused, and told that it worked."""
    assert (ALLOW if error is None else REFUSE | error) == says(name, *arguments)


@given(number=st.integers(0, 2**32 - 1), arch=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_of_another_instruction_set_is_answered(machine, number, arch):
    """Whatever the number: the process ends.  Numbers of this one beyond those known are absent, or x32's."""
    says = Filter(machine, count_memory=True)
    own = verdict(says.code, number, (), says.arch)

    if arch != says.arch:
        assert KILL == verdict(says.code, number, (), arch)
    assert number <= seccomp.LAST_KNOWN or own == (KILL if number >= 0x40000000 else REFUSE | errno.ENOSYS)


@given(number=st.integers(0, 600), arguments=st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6))
@pytest.mark.parametrize("machine", MACHINES)
def test_every_call_has_a_verdict(machine, number, arguments):
    """No jump leaves the program, whatever is asked."""
    says = Filter(machine)

    assert says(number, *arguments) & 0xFFFF0000 in {ALLOW, KILL, REFUSE}
