"""Jobs are users of their own to the kernel: as root, and where /etc/subuid gives an ordinary user ids for them.

What keeps jobs apart otherwise is broken here: a process of the host takes on the kernel id of a job, and with nothing
but that goes for another job and for the agent.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sandboxing import HERE, LIMITS, NOBODY, family, hear, unconfined, with_own_ids

from edgesandbox import Box, Spec, Zygote, identity, subids
from edgesandbox.identity import Ids

RANGE = (100_000, 65_536)
# What keeps a job in, and its results, once more by a user whose jobs have ids of their own.
ALSO = ("test_sandbox_walls.py", "test_sandbox_collect.py")


def pid_of(box: Box) -> int:
    """Return the host's number of a job's first process."""
    lines = Path(f"/proc/self/fdinfo/{box._pidfd}").read_text().splitlines()
    supervisor = next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))
    return next(iter(family(supervisor)))


@pytest.fixture
def boxes(zygote: Zygote) -> Iterator[list[Box]]:
    """Two jobs at work."""
    with contextlib.ExitStack() as stack:
        spec = Spec(entry="intruders:be_robbed", limits=LIMITS)
        boxes = [stack.enter_context(zygote.spawn(spec)) for _ in range(2)]
        assert ["here", "here"] == [hear(box) for box in boxes]
        yield boxes


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A process of the agent's user that lets itself be traced, and a key file of his."""
    key = tmp_path / "private_key.pem"
    key.write_text("secret")
    key.chmod(0o600)
    code = "import ctypes, sys; ctypes.CDLL(None).prctl(0x59616D61, -1); print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield {"victim": process.pid, "files": [str(key)]}


def attacked(target: dict[str, object], with_the_id_of: Box | None) -> dict[str, str]:
    """Return the answers that whoever has only that id gets; ``done`` is a wall that is not there."""
    job = pid_of(with_the_id_of) if with_the_id_of is not None else 0
    answers: dict[str, str] = unconfined("intruders:borrow_id", {"job": job, **target})
    assert 6 == len(answers)
    return answers


@pytest.mark.needs("unfiltered")
def test_the_id_of_a_job_opens_neither_another_job_nor_the_agent(zygote, boxes, agent):
    """No signal, trace, memory, environment or file; who has the right id gets all, jobs that share one get some."""
    first, second = boxes
    other_job = {"victim": pid_of(second), "files": [f"/proc/{pid_of(second)}/root/scratch/precious"]}
    denied = {"PermissionError 1", "PermissionError 13", "errno 1"}

    job, keys = attacked(other_job, first), attacked(agent, first)

    assert {"done"} == {*attacked(other_job, second).values(), *attacked(agent, None).values()}
    if "separate_user_id" in zygote.enforced:
        assert (denied, denied) == (set(job.values()), set(keys.values()))
    else:
        # The namespace that each job then has keeps debuggers out, and nothing else.
        open_to_it = [job["signal"], job["prlimit"], keys["signal"], keys["prlimit"], keys[agent["files"][0]]]
        assert ["done"] * 5 == open_to_it
        assert "all jobs run as the user who started the sandbox" in zygote.not_enforced["separate_user_id"]


@pytest.mark.needs("root", "uidmap")
def test_an_ordinary_user_with_ids_of_his_own_has_more_than_the_same_sandbox():
    """The attack above, what keeps any job in, and what is different for him, as a user with a range in /etc/subuid."""
    files = [f"{__file__}::test_the_id_of_a_job_opens_neither_another_job_nor_the_agent", HERE / "own_id_cases.py"]
    tests = ["-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *files, *(HERE / name for name in ALSO)]
    command = with_own_ids(sys.executable, *map(str, tests))

    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd="/tmp", check=False)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]


@pytest.mark.needs("root", "uidmap", "setpriv")
@pytest.mark.parametrize(
    ("by", "given", "why"),
    [
        ([], "somebody:100000:65536", "type: sudo usermod --add-subuids 165536-231071 --add-subgids 165536-231071 "),
        ([], f"{NOBODY}:100000:255", "has too few ids of his own"),
        (["setpriv", "--no-new-privs"], f"{NOBODY}:100000:65536", "systemd's NoNewPrivileges=no"),
        ([], f"{NOBODY}:4294960000:65536", "newgidmap: "),
    ],
    ids=["none", "few", "no_new_privs", "refused"],
)
def test_a_user_without_ids_is_told_what_to_type(by, given, why):
    """His jobs share his own, and are confined all the same."""
    command = with_own_ids(*by, sys.executable, "-m", "edgesandbox", "check", "--json", given=given)

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert 0 == done.returncode, done.stderr
    assert why in json.loads(done.stdout)["not_enforced"]["separate_user_id"]


@pytest.mark.needs("root", "setpriv")
@pytest.mark.parametrize(("lent", "missing"), [("+setuid,+setgid", False), ("+setuid", True)], ids=["both", "one"])
def test_a_launcher_that_is_lent_capabilities_needs_no_newuidmap(lent, missing):
    """With no_new_privs, as in the system's unit: its own id is an ordinary user's, jobs have theirs."""
    command = with_own_ids(sys.executable, "-m", "edgesandbox", "check", "--json")
    user = command.index("--clear-groups") + 1
    command[user:user] = [
        "--inh-caps",
        lent,
        "--ambient-caps",
        lent,
        "--bounding-set",
        f"-all,{lent}",
        "--no-new-privs",
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert 0 == done.returncode, done.stderr
    assert missing == ("separate_user_id" in json.loads(done.stdout)["not_enforced"])


def test_what_newuidmap_needs_is_missing(monkeypatch):
    """The line names the package; root itself is asked as one who may not map ids."""
    monkeypatch.setattr(subids, "_program", lambda name: None)
    monkeypatch.setattr(subids.linux, "has_capabilities", lambda wanted: False)
    monkeypatch.setattr(subids.linux, "prctl", lambda *_: 0)  # without no_new_privs, which some hosts have set

    assert "type: sudo apt install uidmap" in subids.find(os.getuid())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("me:100000:65536\nyou:165536:65536\n", [(100_000, 65_536)]),
        ("1000:5:6\nme:7:8", [(5, 6), (7, 8)]),
        ("# me\nme\nme:1\nme:x:1\nme:-1:1\nme:\u0664:1\n", []),
        ("meme:1:2\n10:1:2\n", []),
        ("", []),
    ],
)
def test_ranges_are_read_as_newuidmap_reads_them(text, found):
    """By name and by number; whatever is no range gives none."""
    assert found == identity.ranges_of(text, "me", 1000)


@pytest.mark.parametrize(
    ("granted", "seed", "taken", "ids"),
    [
        (RANGE, 0, [], Ids(1, 1024)),
        (RANGE, 65, [], Ids(1025, 1024)),
        (RANGE, 0, [100_000, 102_047], Ids(2049, 1024)),
        (RANGE, 63, [165_535], Ids(1, 1024)),
        ((100_000, 600), 7, [0, 99_999, 100_600], Ids(1, 600)),
        ((100_000, 600), 7, [100_599], None),
        ((100_000, 255), 7, [], None),
        ((0, 0), 7, [], None),
    ],
)
def test_a_zygote_takes_a_block_in_which_nobody_lives(granted, seed, taken, ids):
    """Of the ids that its user has; as its launcher sees them, they begin with 1."""
    assert ids == identity.choose_block(granted, seed, taken)


def test_the_advice_names_ids_that_nobody_has():
    """Past the last of any file."""
    assert 100_000 == identity.next_free(["", "x:1:2"])
    assert 165_536 == identity.next_free(["a:100000:100\n", "b:100000:65536\n"])


def test_a_closed_file_deep_in_a_directory_is_seen(tmp_path):
    """A job with an id of its own could not import it; links lead elsewhere, and are not followed."""
    deep = tmp_path / "plugins" / "package"
    deep.mkdir(parents=True)
    (deep / "module.py").touch(0o644)
    (deep / "link").symlink_to("/root")
    top = str(tmp_path / "plugins")
    for directory in (tmp_path / "plugins", deep):
        directory.chmod(0o755)
    assert subids.closed([top], 0o4, below=True) is None

    (deep / "module.py").chmod(0o600)

    assert subids.closed([top], 0o4, below=True) == top
    assert subids.closed([top], 0o4) is None
