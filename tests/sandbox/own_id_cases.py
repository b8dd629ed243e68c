"""What holds where /etc/subuid gives an ordinary user ids for his jobs; run as such a user by test_sandbox_ids."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sandboxing import HERE, LIMITS, family, hear, report_of, runs, wait_until

from edgesandbox import Spec, Zygote, identity

FIRST, COUNT = 1_000_000, 65_536  # as sandboxing.with_own_ids gives them


def test_jobs_have_ids_from_his_range(zygote):
    """Two at once have two of the 65,536, and neither is his."""
    spec = Spec(entry="hostile:sleep", limits=LIMITS)
    with zygote.spawn(spec) as one, zygote.spawn(spec) as two:
        users = [os.fstat(box.scratch_fd).st_uid for box in (one, two)]

    assert "separate_user_id" in zygote.enforced
    assert 2 == len(set(users))
    assert all(FIRST <= user < FIRST + COUNT for user in users)


def test_two_zygotes_have_no_id_in_common(zygote):
    """Each takes a block in which nobody lives."""
    spec = Spec(entry="hostile:sleep", limits=LIMITS)
    with (
        Zygote(entry="hostile:noop", import_paths=[HERE]) as other,
        other.spawn(spec) as here,
        zygote.spawn(spec) as there,
    ):
        blocks = {(os.fstat(box.scratch_fd).st_uid - FIRST) // identity.OWN_BLOCK for box in (here, there)}

    assert 2 == len(blocks)


def test_closed_outputs_are_collected(zygote):
    """What a job has made for itself alone is no secret from the agent."""
    with zygote.spawn(Spec(entry="fillers:leave_closed", limits=LIMITS)) as box:
        hear(box)
        report_of(box)
        with pytest.raises(PermissionError):
            os.open("output", os.O_RDONLY, dir_fd=box.scratch_fd)
        found = {each.name: os.read(each.fd, 100) for each in box.collect("output", max_files=2, max_bytes=100)}

    assert {"closed": b"result"} == found


def test_a_scratch_on_disk_is_collected_and_removed(tmp_path):
    """With all that is in it, whatever its modes; nothing is left when the zygote is gone."""
    tmp_path.chmod(0o755)
    with Zygote(entry="fillers:leave_closed", import_paths=[HERE], scratch_directory=tmp_path) as zygote:
        (base,) = tmp_path.iterdir()
        with zygote.spawn(Spec(limits=dataclasses.replace(LIMITS, scratch_bytes=1 << 20))) as box:
            hear(box)
            report_of(box)
            (found,) = box.collect("output", max_files=2, max_bytes=100)
            assert "closed" == found.name
            there = base.stat().st_nlink
        wait_until(lambda: base.stat().st_nlink == there - 1)

    assert [] == list(tmp_path.iterdir())


def test_files_that_are_his_alone_make_jobs_share_his_id(tmp_path):
    """And it is said what to type; a sandbox with less would be one that does not work."""
    tmp_path.chmod(0o700)
    with Zygote(entry="hostile:noop", import_paths=[HERE], read_only=[tmp_path]) as zygote:
        assert f"only its owner may use {tmp_path}; type: chmod -R o+rX" in zygote.not_enforced["separate_user_id"]

    tmp_path.chmod(0o755)
    with Zygote(entry="hostile:noop", import_paths=[HERE], read_only=[tmp_path]) as zygote:
        assert "separate_user_id" in zygote.enforced


def test_a_killed_agent_leaves_no_process_with_such_an_id():
    """The launcher's end is theirs."""
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from edgesandbox import *; import time\n"
        "z = Zygote(entry='hostile:sleep', import_paths=sys.argv[2:], warm=1); z.start(); b = z.spawn(Spec())\n"
        "print('up', flush=True); time.sleep(600)"
    )
    package = str(Path(sys.modules["edgesandbox"].__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", code, package, str(HERE)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout.readline() == b"up\n"
        everybody = family(killed.pid)
        killed.kill()

    wait_until(lambda: not any(map(runs, everybody)))
    assert len(everybody) >= 3  # launcher, zygote, supervisor; the job may not be there yet
