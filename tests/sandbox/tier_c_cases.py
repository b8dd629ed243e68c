"""The abuse list in tier C, as far as it promises: run by ``test_sandbox_tierc`` as root and as an ordinary user.

Not found by its name, since root's jobs have a user of their own here, who has to be able to reach the interpreter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest
from sandboxing import HERE, LIMITS, descendants, hear, report_of, runs, say, unconfined, wait_until

from edgesandbox import Box, SandboxUnavailable, SetupFailed, Spec, Zygote, protections

ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """A zygote of tier C, on a host that could do better."""
    with Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force") as zygote:
        yield zygote


@pytest.fixture
def spawn(zygote: Zygote) -> Iterator[Callable[..., Box]]:
    """Start one of the hostile programs; closed at the end of the test."""
    boxes: list[Box] = []

    def spawn(program: str, **limits: Any) -> Box:
        entry = program if ":" in program else f"hostile:{program}"
        boxes.append(zygote.spawn(Spec(entry=entry, limits=dataclasses.replace(LIMITS, **limits))))
        return boxes[-1]

    yield spawn
    for box in boxes:
        box.close()


def test_the_report_says_what_is_missing(run, zygote):
    """Tier C; every protection of the better tiers is there or excused, and none is both."""
    report = run("noop").report

    assert ("C", "C") == (zygote.tier, report.tier)
    assert {*protections.ALWAYS, *protections.MISSING} <= {*report.enforced, *report.not_enforced}
    assert not set(report.enforced) & set(report.not_enforced)
    assert ("separate_user_id" in report.enforced) == ROOT


def test_nothing_can_be_left_out(spawn, zygote):
    """There is nothing behind any of it."""
    with pytest.raises(SetupFailed, match="seccomp cannot be left out"):
        zygote.spawn(Spec(limits=LIMITS, without=("seccomp",)))


def test_files_of_the_agent_cannot_be_opened(run, tmp_path):
    """Neither read nor written nor listed, though an unconfined process of the same user can."""
    key = tmp_path / "key"
    key.write_text("secret")
    paths = [str(key), "/etc/shadow", f"/proc/{os.getpid()}/environ", f"/proc/{os.getppid()}/environ"]
    assert "done" == hostile.attempt(key.read_bytes)

    read = run("read_files", paths).answer
    written = run("write_files", [str(key), "/tmp/x", f"{HERE}/x", f"{HERE}/hostile.py", "/dev/shm/x"]).answer

    assert set(read.values()) == {"PermissionError 13"}, read
    assert set(written.values()) <= {"PermissionError 13", "OSError 30"}, written  # 30: read-only for all
    assert "secret" == key.read_text()


def test_files_of_the_agent_cannot_be_changed_by_their_names(run, tmp_path):
    """Modes, owners, times and attributes, which Landlock does not guard, and lengths, which it guards since 6.2."""
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o600)
    before = key.stat()
    copy = tmp_path / "copy"
    copy.write_text("secret")

    outside = unconfined("strays:change", str(copy))
    inside = run("strays:change", str(key)).answer

    assert "done" in outside.values()
    assert "done" not in inside.values(), inside
    after = key.stat()
    assert (before.st_mode, before.st_size, before.st_mtime_ns) == (after.st_mode, after.st_size, after.st_mtime_ns)


def test_no_socket_can_be_made(run):
    """Of any family; a pair of them can, unless it could send elsewhere."""
    families = [(1, 1, 0), (1, 2, 0), (2, 1, 0), (10, 2, 0), (16, 3, 0), (38, 5, 0), (40, 1, 0)]

    assert "done" not in run("sockets", families).answer
    assert {"stream": "done", "packets": "done", "datagrams": "PermissionError 1"} == run("strays:pairs").answer


def test_processes_of_the_host_are_out_of_reach(run):
    """They are seen, but not signalled, looked into, slowed down or limited, as an unconfined process can."""
    victim = spawn_victim()
    try:
        outside = unconfined("strays:harass", victim.pid)
        inside = run("strays:harass", victim.pid).answer

        assert {"done"} == set(outside.values()), outside
        assert "done" not in inside.values(), inside
        assert runs(victim.pid)
    finally:
        victim.kill()
        victim.wait()


def spawn_victim():
    """A process of this user that waits."""
    import subprocess

    return subprocess.Popen(["sleep", "600"])


def test_killing_everybody_kills_only_ones_own(run):
    """SIGKILL to -1: the agent, the zygote and the job's own supervisor go on."""
    ended = run("strays:kill_everybody")

    assert ended.answer in ("done", "PermissionError 1", "ProcessLookupError 3")
    assert "setup_failed" != ended.report.outcome


def test_nothing_outlives_its_job(spawn):
    """There is no leaving the process group, and so a daemon ends with its job."""
    box = spawn("strays:outlive")
    told = hear(box)

    assert ["PermissionError 1", "PermissionError 1"] == told[1:]
    assert "exited" == report_of(box).outcome
    wait_until(lambda: not runs(told[0]))


def test_kill_ends_everybody(spawn, zygote):
    """Also those that fork faster than anybody could look."""
    box = spawn("strays:breed", pids=200)
    members = set(hear(box))
    assert members

    box.kill()

    assert "cancelled" == report_of(box).outcome
    wait_until(lambda: not any(map(runs, members)), limit_s=30)
    wait_until(lambda: len(descendants(zygote._process.pid)) == 0, limit_s=30)


def test_a_killed_supervisor_leaves_nobody_behind(spawn, zygote):
    """The zygote finds the orphans and ends their group."""
    box = spawn("strays:breed", pids=20)
    members = set(hear(box))
    (supervisor,) = [pid for pid, parent in _family(zygote).items() if parent == zygote._process.pid]

    os.kill(supervisor, signal.SIGKILL)

    assert "setup_failed" == report_of(box).outcome
    wait_until(lambda: not any(map(runs, members)), limit_s=30)


def _family(zygote: Zygote) -> dict[int, int]:
    from sandboxing import family

    assert zygote._process is not None
    return family(zygote._process.pid)


def test_a_killed_zygote_leaves_nothing_behind():
    """Its jobs see that and end; their files go when the agent notices."""
    zygote = Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force")
    zygote.start()
    with zygote.spawn(Spec(entry="strays:breed", limits=LIMITS)) as box:
        members = set(hear(box))
        base = Path(zygote._base)

        os.kill(zygote._process.pid, signal.SIGKILL)

        wait_until(lambda: not any(map(runs, members)), limit_s=30)
        zygote.close()
    assert not base.exists()


@pytest.mark.parametrize("program", ["sleep", "deaf"])
def test_the_wall_clock_ends_a_job(run, program):
    """Whether it listens to signals or not."""
    assert "timeout" == run(program, wall_s=0.3).report.outcome


def test_processor_time_is_limited(run):
    """Of one process by the kernel, of a chain of them by the watchdog."""
    assert "cpu_limit" == run("gluttons:burn", cpu_s=1, wall_s=60).report.outcome
    chain = run("gluttons:burn_in_a_chain", cpu_s=1, wall_s=60)
    assert ("cpu_limit", None) == (chain.report.outcome, chain.answer)


def test_memory_is_limited(run):
    """Of one process by the kernel, of four by the watchdog; with more to use, both get through."""
    assert "memory_limit" == run("gluttons:allocate").report.outcome
    assert "memory_limit" == run("gluttons:allocate_in_children").report.outcome
    assert "exited" == run("gluttons:allocate_in_children", memory_bytes=1 << 30).report.outcome


def test_processes_are_limited(run):
    """By the kernel where the job has a user of its own, else by the watchdog."""
    ended = run("strays:multiply", pids=16)

    assert (("exited", [15, 11]) if ROOT else ("signalled", None)) == (ended.report.outcome, ended.answer)


@pytest.mark.parametrize("kind", ["bytes", "files", "depth"])
def test_disks_are_watched(run, kind):
    """Room, number of files and depth; nothing of it is left."""
    ended = run("strays:fill", kind, scratch_bytes=4 << 20, wall_s=60)

    assert "disk_limit" == ended.report.outcome


def test_nothing_is_left_of_a_jobs_files(zygote):
    """However deep, and however closed to their owner; they are there to be read until the box is closed."""
    with zygote.spawn(Spec(entry="strays:maze", limits=LIMITS)) as box:
        assert "digging" == hear(box)
        assert "disk_limit" == report_of(box).outcome  # for the depth
        (result,) = box.collect("output", max_files=1, max_bytes=100)
        assert ("result", 4) == (result.name, result.size_bytes)
        home = Path(f"/proc/self/fd/{box.scratch_fd}").readlink().parent
        assert home.exists()
    wait_until(lambda: not home.exists(), limit_s=30)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory on disk."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_jobs_files_are_where_the_caller_wants_them(place):
    """Watched as elsewhere; the directory is left empty."""
    place.chmod(0o711)
    with Zygote(entry="hostile:shell", import_paths=[HERE], tier_c="force", scratch_directory=place) as zygote:
        with zygote.spawn(Spec(limits=LIMITS)) as box:
            assert hear(box).split("\n")[1].startswith(f"{place}/")
            report_of(box)
        with zygote.spawn(Spec(entry="strays:fill", limits=dataclasses.replace(LIMITS, scratch_bytes=4 << 20))) as box:
            say(box, "bytes")
            assert "disk_limit" == report_of(box).outcome
    assert [] == list(place.iterdir())


def test_a_place_that_jobs_cannot_get_to_is_refused(place):
    """In one line that names it; the jobs of an ordinary user are that user, and get there."""
    place.chmod(0o700)
    zygote = Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force", scratch_directory=place)
    refused = pytest.raises(SandboxUnavailable, match=f"another user, who may not enter {place}: name a directory")

    with refused if ROOT else contextlib.nullcontext(), zygote:
        pass

    assert [] == list(place.iterdir())


@pytest.fixture
def shelf(place) -> Path:
    """Two directories with a file each, in one that everybody may pass through."""
    place.chmod(0o711)
    for name in ("mine", "others"):
        (place / name).mkdir()
        (place / name).chmod(0o755)
        (place / name / "file").write_bytes(name.encode())
        (place / name / "file").chmod(0o444)
    return place


def test_a_job_may_read_what_it_is_given_and_nothing_of_others(shelf):
    """Where it lies on the host; neither bytes, names, modes nor times of it can be changed."""
    mine, others = f"{shelf}/mine/file", f"{shelf}/others/file"
    before = Path(mine).stat()
    answers: list[dict[str, str]] = []
    with Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force", shelf=shelf) as zygote:
        assert f"{shelf}/mine" == zygote.inputs_at("mine")
        for program, asked in (
            ("hostile:read_files", [mine]),
            ("hostile:read_files", [others]),
            ("hostile:write_files", [mine, f"{shelf}/mine/new", f"{shelf}/new"]),
            ("strays:change", mine),
        ):
            with zygote.spawn(Spec(entry=program, limits=LIMITS, inputs="mine")) as box:
                say(box, asked)
                answers.append(hear(box))
                report_of(box)

    read, *refused = answers
    assert {mine: "done"} == read
    assert "done" not in {value for answer in refused for value in answer.values()}, refused
    after = Path(mine).stat()
    assert (before.st_mode, before.st_nlink, before.st_mtime_ns, before.st_ctime_ns) == (
        *(after.st_mode, after.st_nlink, after.st_mtime_ns, after.st_ctime_ns),
    )


def test_a_shelf_that_jobs_cannot_get_to_is_none(shelf):
    """The zygote starts, and says that it has none to give from; an ordinary user's jobs get there."""
    shelf.chmod(0o700)

    with Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force", shelf=shelf) as zygote:
        assert (zygote.inputs_at("mine") is None) == ROOT
        refused = pytest.raises(SetupFailed, match="none that jobs of tier C could reach")
        with refused if ROOT else contextlib.nullcontext():
            zygote.spawn(Spec(limits=LIMITS, inputs="mine")).close()


def test_foreign_memory_and_queues_are_not_to_be_had(run):
    """System V and POSIX objects, which no namespace divides here."""
    assert set(run("strays:objects").answer.values()) <= {1, 38}


def test_limits_cannot_be_raised(run):
    """Each hard limit is as final as the soft one; the one on core dumps only pretends."""
    answer = run("raise_limits").answer

    assert "done" == answer.pop("CORE")
    assert {"ValueError"} == set(answer.values())


def test_a_program_can_be_run(run):
    """In the job's directory, with its own temporary one, and by the job's user."""
    user, directory, _ = run("shell").answer.split("\n")

    assert (int(user) == os.getuid()) != ROOT
    assert directory.endswith("/scratch")


def test_a_warm_box_is_confined_as_well():
    """The pool hands out boxes of tier C."""
    with Zygote(entry="hostile:noop", import_paths=[HERE], tier_c="force", warm=1, warm_limits=LIMITS) as zygote:
        wait_until(lambda: zygote.ready == 1)
        started = time.monotonic()
        with zygote.spawn(Spec(limits=LIMITS)) as box:
            assert "here" == hear(box)
            assert "C" == report_of(box).tier
    assert time.monotonic() - started < 30


def test_an_entry_may_wait_for_its_start_itself():
    """As in the other tiers."""
    with (
        Zygote(entry="patient:exit_with_seven", waits=True, import_paths=[HERE], tier_c="force") as zygote,
        zygote.spawn(Spec(limits=LIMITS)) as box,
    ):
        assert 7 == report_of(box).exit_code
