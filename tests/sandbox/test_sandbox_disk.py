"""A scratch on disk: what fits, what ends a job, what is collected, and that nothing stays."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, as_nobody, descendants, hear, report_of, runs, wait_until

from edgesandbox import SandboxUnavailable, SetupFailed, Spec, Zygote, footprint
from edgesandbox.disks import remove_tree
from edgesandbox.tierc_tree import ProcessGroup

pytestmark = pytest.mark.needs("sandbox")
CAP = 8 << 20


@pytest.fixture
def place():
    """A directory on disk, even where the tests' own are in memory."""
    import tempfile

    path = Path(tempfile.mkdtemp(dir="/var/tmp"))
    path.chmod(0o711)
    yield path
    left = list(path.iterdir())
    # What a test that failed has left may be too deep for Python, and closed.
    subprocess.run(["chmod", "-R", "u+rwx", path], check=False)
    subprocess.run(["rm", "-rf", path], check=False)
    assert [] == left


@pytest.fixture
def disk(place):
    """A zygote whose jobs have their scratch there."""
    with Zygote(entry="fillers:write", import_paths=[HERE], scratch_directory=place) as zygote:
        yield zygote


def spec(program, **limits):
    wanted = {"scratch_bytes": CAP, "fsize_bytes": CAP, **limits}
    return Spec(entry=f"fillers:{program}", limits=dataclasses.replace(LIMITS, **wanted))


def contents(place):
    """Return every path in the jobs' directories; clones that wait for work have empty ones."""
    walks = (os.walk(job) for zygote in place.iterdir() for job in zygote.iterdir())  # of what may just be going
    return sorted(f"{top}/{name}" for walk in walks for top, below, files in walk for name in (*below, *files))


def test_outputs_are_collected_and_then_gone(disk, place):
    """A hole counts for nothing; the directory is removed when the box is closed, and the others' stay."""
    with disk.spawn(spec("write", fsize_bytes=200 << 20)) as box:
        assert 1 == hear(box)
        report = report_of(box)
        assert "exited" == report.outcome
        assert "scratch_cap" not in report.enforced
        assert "watchdog" in report.not_enforced["scratch_cap"]
        sizes = {each.name: each.size_bytes for each in box.collect("output", max_files=9, max_bytes=300 << 20)}
        assert {"plain": 1 << 20, "sparse": 100 << 20} == sizes
        assert [] != contents(place)

    wait_until(lambda: not contents(place))


def test_a_link_is_no_second_copy(disk):
    """A hundred names for one MiB are one MiB."""
    with disk.spawn(spec("linked")) as box:
        hear(box)
        assert "exited" == report_of(box).outcome


@pytest.mark.parametrize("program", ["fill", "quick", "deleted", "many", "hidden", "moving"])
def test_too_much_ends_the_job(disk, place, program):
    """By files, without names, without rights, on the move; the outcome says what it was."""
    with disk.spawn(spec(program, nofile=256)) as box:
        assert 1 == hear(box)
        report = report_of(box)

        assert "disk_limit" == report.outcome

    wait_until(lambda: not contents(place), 60)


def test_what_is_hard_to_remove_is_removed(disk, place):
    """However deep, and whatever its modes; what a link led to is untouched."""
    before = Path("/etc/passwd").read_bytes()
    with disk.spawn(spec("bury", scratch_bytes=64 << 20)) as box:
        assert 1 == hear(box)
        report_of(box)

    wait_until(lambda: not contents(place), 60)
    assert before == Path("/etc/passwd").read_bytes()


def test_one_job_does_not_reach_anothers_scratch(disk):
    """Neither by name nor by listing, although both lie in one directory."""
    with disk.spawn(spec("stay")) as other, disk.spawn(spec("look")) as box:
        assert 1 == hear(other)
        assert 0 == hear(box)


def test_a_cap_that_the_disk_cannot_hold_is_refused(disk, place):
    """Before the job starts, with a line that says so, and nothing left."""
    with pytest.raises(SetupFailed, match="so much is not free on its disk"):
        disk.spawn(spec("write", scratch_bytes=1 << 50))

    wait_until(lambda: not contents(place))


def test_nothing_is_left_when_the_zygote_closes(place):
    """Whatever its jobs did."""
    with Zygote(entry="fillers:stay", import_paths=[HERE], scratch_directory=place) as zygote:
        box = zygote.spawn(spec("stay"))
        hear(box)
    box.close()

    assert [] == list(place.iterdir())


def test_what_a_killed_launcher_left_is_swept(place):
    """By the next start; what is in use stays."""
    with Zygote(entry="fillers:stay", import_paths=[HERE], scratch_directory=place) as living:
        box = living.spawn(spec("stay"))
        hear(box)
        program = (
            "import sys; from edgesandbox import *\n"
            "z = Zygote(entry='fillers:stay', import_paths=sys.argv[1:2], scratch_directory=sys.argv[2]); z.start()\n"
            "b = z.spawn(Spec()); b.channel.recv(1); print(z._process.pid, flush=True); input()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(HERE), str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as agent:
            assert agent.stdout is not None
            launcher = int(agent.stdout.readline())
            everybody = descendants(launcher)
            os.kill(launcher, signal.SIGKILL)
            wait_until(lambda: not any(map(runs, everybody)))
            agent.kill()
        assert 2 == len(list(place.iterdir()))

        with Zygote(entry="fillers:stay", import_paths=[HERE], scratch_directory=place):
            assert 2 == len(list(place.iterdir()))
            with box:
                assert 1 == len([each for each in contents(place) if each.endswith("file")])


@pytest.mark.parametrize("where", ["/no/such", "/etc/passwd"])
def test_a_place_where_nothing_can_be_made_has_a_line(where):
    """It names the place."""
    with pytest.raises(SandboxUnavailable, match=f"no scratch directories can be made in {where}"):
        Zygote(entry="fillers:write", import_paths=[HERE], scratch_directory=where).start()


@pytest.mark.needs("root", "setpriv")
def test_an_ordinary_user_has_it_too(place):
    """Jobs, agent and directory then have one owner; still no job sees another's."""
    place.chmod(0o777)
    done = subprocess.run(
        as_nobody(
            *(
                sys.executable,
                "-m",
                "edgesandbox",
                "run",
                "--scratch-dir",
                str(place),
                "--scratch",
                "1M",
                "--",
                "/bin/sh",
            ),
            *(
                "-c",
                "ls /disk; mkdir closed; echo x > closed/x; chmod 0 closed; head -c 3000000 /dev/zero > y; sleep 9",
            ),
        ),
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stdout
    assert "disk_limit" in done.stderr
    assert [] == list(place.iterdir())


def test_a_short_file_system_ends_the_job(tmp_path, monkeypatch):
    """Whoever has filled it: the floor is kept."""
    monkeypatch.setattr(footprint, "FLOOR_BYTES", 1 << 60)
    monkeypatch.setattr(footprint, "FLOOR_SHARE", 1)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert footprint.is_over(fd, LIMITS)
    finally:
        os.close(fd)


def test_a_short_file_system_ends_the_job_in_tier_c_too(tmp_path, monkeypatch):
    """There nothing but the floor bounds what was deleted and is still open."""
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        group = ProcessGroup(os.getpgrp(), fd, fd)
        assert group.over(LIMITS) is None
        monkeypatch.setattr(footprint, "FLOOR_BYTES", 1 << 60)
        monkeypatch.setattr(footprint, "FLOOR_SHARE", 1)
        assert "disk_limit" == group.over(LIMITS)
    finally:
        os.close(fd)


@pytest.mark.needs("root", "setpriv")
def test_a_tree_that_its_owner_closed_is_removed_by_him(place):
    """In tier C nobody has more rights than the user that the jobs are, too."""
    place.chmod(0o777)
    code = (
        "import os; from edgesandbox.disks import remove_tree; os.makedirs('1/a/b/c'); open('1/a/b/file', 'w').close();"
        "[os.chmod(one, 0) for one in ('1/a/b/c', '1/a/b', '1/a')]; remove_tree(os.open('.', os.O_RDONLY), '1')"
    )
    done = subprocess.run(as_nobody(sys.executable, "-c", code), cwd=place, capture_output=True, text=True, check=False)

    assert "" == done.stderr
    assert [] == list(place.iterdir())


def test_a_tree_is_removed_by_its_own_name_only(tmp_path):
    """Neighbours stay."""
    (tmp_path / "1" / "a" / "b").mkdir(parents=True)
    (tmp_path / "1" / "a" / "file").write_text("x")
    (tmp_path / "10").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        remove_tree(fd, "1")
    finally:
        os.close(fd)

    assert [tmp_path / "10"] == list(tmp_path.iterdir())
