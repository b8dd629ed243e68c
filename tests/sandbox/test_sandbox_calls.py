"""System calls that a job cannot make, and that it could if the filter were not there."""

from __future__ import annotations

import errno
import os
import platform
import signal

import pytest

from edgesandbox import Spec, seccomp

COLUMN = 0 if platform.machine() == "x86_64" else 1
ALLOWED = 0

# Calls that any process may make on an ordinary kernel: [name, arguments...], how it ends unfiltered.
HARMLESS_LOOKING = [
    ("keyctl", (0, -3, 0), {ALLOWED}),
    ("add_key", (0, 0, 0, 0, 0), {errno.EFAULT}),
    ("request_key", (0, 0, 0, 0), {errno.EFAULT}),
    ("io_uring_setup", (1, 0), {errno.EFAULT, errno.EINVAL, errno.EPERM}),
    ("ptrace", (0,), {ALLOWED}),
    ("memfd_create", (0, 0), {errno.EFAULT}),
    ("shmget", (0, 4096, 0o1600), {ALLOWED}),
    ("msgget", (0, 0o1600), {ALLOWED}),
    ("personality", (0x0040000,), {ALLOWED}),
    ("name_to_handle_at", (-100, 0, 0, 0, 0), {errno.EFAULT}),
    ("kcmp", (1, 1, 0, 0, 0), {ALLOWED, errno.EPERM, errno.ESRCH}),
    ("adjtimex", (0,), {errno.EFAULT}),
    ("migrate_pages", (0, 0, 0, 0), {ALLOWED, errno.EINVAL}),
    ("unshare", (0x20000,), {errno.EPERM}),
    ("chroot", (0,), {errno.EFAULT}),
    ("clock_adjtime", (0, 0), {errno.EFAULT}),
    ("clock_settime", (0, 0), {errno.EFAULT}),
    ("fanotify_init", (0x200, 0), {ALLOWED, errno.EINVAL, errno.ENOSYS}),
    ("inotify_init1", (0,), {ALLOWED}),
    ("mount", (0, 0, 0, 0, 0), {errno.EFAULT}),
    ("move_pages", (0, 0, 0, 0, 0, 0), {ALLOWED, errno.ENOSYS}),
    ("open_tree", (-100, 0, 0), {errno.EFAULT}),
    ("pidfd_getfd", (-1, 0, 0), {errno.EBADF}),
    ("setns", (-1, 0), {errno.EBADF}),
    ("settimeofday", (1, 0), {errno.EFAULT}),
    ("umount2", (0, 0), {errno.EFAULT}),
    ("userfaultfd", (1,), {ALLOWED, errno.ENOSYS}),  # for user mode only, which takes no privilege
]


def number(name: str) -> int:
    value = seccomp.NUMBERS[name][COLUMN]
    assert value is not None
    return value


@pytest.fixture
def call(run):
    """Have a job make one system call; returns the error's number, or 0."""

    def call(name, *arguments, without=()):
        return run("system_calls", [[number(name), *arguments]], without=without).answer[0]

    return call


def test_every_denied_call_is_denied(run):
    """Whatever its arguments are: EPERM, before the kernel has looked at them."""
    names = [name for name in seccomp.DENIED if seccomp.NUMBERS[name][COLUMN] is not None]

    answer = run("system_calls", [[number(name), -1, -1, -1, -1, -1, -1] for name in names]).answer

    assert {} == {name: got for name, got in zip(names, answer, strict=True) if got != errno.EPERM}


def test_what_programs_can_do_without_is_absent(run):
    """clone3, io_uring, and, where no control group counts it, memory that belongs to no process: ENOSYS."""
    every = (*seccomp.ABSENT, *seccomp.UNCOUNTED_MEMORY)
    names = [name for name in every if seccomp.NUMBERS[name][COLUMN] is not None]

    answer = run("system_calls", [[number(name), 0, 0] for name in names], without=["cgroup_memory"]).answer

    assert [errno.ENOSYS] * len(names) == answer


@pytest.mark.needs("unfiltered")
@pytest.mark.parametrize(("name", "arguments", "unfiltered"), HARMLESS_LOOKING, ids=lambda value: str(value)[:20])
def test_the_filter_is_what_denies(call, name, arguments, unfiltered):
    """With just the filter left out, the kernel itself answers."""
    assert call(name, *arguments, without=["cgroup_memory"]) in {errno.EPERM, errno.ENOSYS}

    assert call(name, *arguments, without=["cgroup_memory", "seccomp"]) in unfiltered


def test_calls_newer_than_the_filter_are_absent(run):
    """A kernel newer than the list does not widen it."""
    assert [errno.ENOSYS] == run("system_calls", [[seccomp.LAST_KNOWN + 1]]).answer


def test_a_user_namespace_needs_two_protections_to_fall(run):
    """The filter denies it, and so does the namespace's own limit; with neither it is to be had."""
    both = run("nested_namespaces").answer["user"]
    limit_alone = run("nested_namespaces", without=["seccomp"]).answer["user"]
    filter_alone = run("nested_namespaces", without=["nested_namespaces_denied"]).answer["user"]
    neither = run("nested_namespaces", without=["seccomp", "nested_namespaces_denied"]).answer["user"]

    assert (f"errno {errno.EPERM}", f"errno {errno.ENOSPC}", f"errno {errno.EPERM}") == (
        both,
        limit_alone,
        filter_alone,
    )
    assert "done" == neither


def test_the_upper_half_of_an_argument_hides_nothing(call):
    """The kernel takes clone's and ioctl's arguments as the filter does."""
    assert errno.EPERM == call("unshare", 0x10000000 | 1 << 40)
    assert errno.EPERM == call("ioctl", 0, 0x5412 | 1 << 40)


def test_typing_into_a_terminal_is_denied(call):
    """TIOCSTI; without the filter the kernel says that this is no terminal."""
    assert errno.EPERM == call("ioctl", 0, 0x5412)
    assert errno.ENOTTY == call("ioctl", 0, 0x5412, without=["seccomp"])


def test_shared_memory_that_belongs_to_nobody_is_denied(call):
    """MAP_SHARED | MAP_ANONYMOUS escapes RLIMIT_DATA; private memory is to be had."""
    uncounted = ["cgroup_memory"]

    assert errno.EPERM == call("mmap", 0, 4096, 3, 0x21, -1, 0, without=uncounted)
    assert ALLOWED == call("mmap", 0, 4096, 3, 0x22, -1, 0, without=uncounted)
    assert ALLOWED == call("mmap", 0, 4096, 3, 0x21, -1, 0, without=[*uncounted, "seccomp"])


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has a second and a third instruction set")
@pytest.mark.needs("unfiltered")
def test_foreign_instruction_sets_end_the_job(run):
    """int 0x80 and x32 calls, with numbers of their own, are not answered at all."""
    foreign = run("foreign_calls").report
    x32 = run("system_calls", [[0x40000000 + 39]]).report

    assert ("signalled", signal.SIGSYS) == (foreign.outcome, foreign.signal)
    assert ("signalled", signal.SIGSYS) == (x32.outcome, x32.signal)
    assert "signalled" != run("system_calls", [[0x40000000 + 39]], without=["seccomp"]).report.outcome


@pytest.mark.parametrize(
    ("family", "denied"),
    [
        ((1, 1, 0), False),  # AF_UNIX
        ((2, 1, 0), False),  # AF_INET
        ((10, 2, 0), False),  # AF_INET6
        ((16, 3, 0), False),  # AF_NETLINK, NETLINK_ROUTE
        ((16, 3, 9), True),  # AF_NETLINK, NETLINK_AUDIT
        ((38, 5, 0), True),  # AF_ALG
        ((40, 1, 0), True),  # AF_VSOCK: no network namespace contains it
        ((17, 3, 0), True),  # AF_PACKET
        ((31, 5, 0), True),  # AF_BLUETOOTH
    ],
)
def test_socket_families_are_limited(run, family, denied):
    """To those that an empty network namespace makes harmless."""
    answer = run("sockets", [list(family)]).answer[0]

    assert answer in ({f"OSError {errno.EAFNOSUPPORT}", f"PermissionError {errno.EPERM}"} if denied else {"done"})


@pytest.mark.needs("landlock_scopes")
def test_landlock_keeps_signals_from_the_supervisor(run, zygote):
    """From its sixth version on; without it, the kernel has no objection to asking after PID 1."""
    if "landlock" not in zygote.enforced:
        pytest.skip(zygote.not_enforced["landlock"])

    assert "done" == run("signal_pids", [[1, 0]], without=["landlock"]).answer[0]
    assert "PermissionError 1" == run("signal_pids", [[1, 0]]).answer[0]


def test_what_is_left_out_is_said(run):
    """A report never claims a protection that the spec has left out."""
    report = run("noop", without=["seccomp", "landlock"]).report

    assert not {"seccomp", "landlock"} & set(report.enforced)
    assert "left out, as the job's spec says" == report.not_enforced["seccomp"]


def test_only_what_is_second_to_something_can_be_left_out():
    """Nobody can ask for a sandbox without walls."""
    with pytest.raises(ValueError, match="private_root cannot be left out"):
        Spec(without=("private_root",))


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("count_memory", [True, False])
def test_a_filter_is_well_formed(machine, count_memory):
    """Whole instructions, every jump inside the program, a verdict at the end."""
    code = seccomp.program(count_memory=count_memory, machine=machine)
    instructions = [code[at : at + 8] for at in range(0, len(code), 8)]

    assert 0 == len(code) % 8
    assert len(instructions) < 4096
    for at, instruction in enumerate(instructions):
        if instruction[0] & 7 == 5:  # BPF_JMP
            assert at + 1 + max(instruction[2], instruction[3]) < len(instructions)
    assert b"\x06\0\0\0\0\0\xff\x7f" == instructions[-1]


def test_an_unknown_machine_has_no_filter():
    """Rather none than one with another's numbers."""
    with pytest.raises(KeyError):
        seccomp.program(count_memory=True, machine="riscv64")


def test_numbers_are_the_c_librarys(tmp_path):
    """Every number of this machine, compared with the compiler's headers where there is a compiler."""
    import shutil
    import subprocess

    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    source = "#include <sys/syscall.h>\n" + "\n".join(f"#ifdef __NR_{n}\n{n} __NR_{n}\n#endif" for n in seccomp.NUMBERS)
    done = subprocess.run(["cc", "-E", "-P", "-"], input=source, capture_output=True, text=True, check=True)
    found = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)

    ours = {name: str(numbers[COLUMN]) for name, numbers in seccomp.NUMBERS.items() if name in found}
    assert len(ours) > 50
    assert ours == {name: found[name] for name in ours}
    assert os.uname().machine == platform.machine()
