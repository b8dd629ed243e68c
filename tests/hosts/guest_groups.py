"""What is in a unit's part of the cgroup hierarchy on another machine, looked at by one program there.

One, since an emulated machine takes a second to start any.
"""

from __future__ import annotations

import json

import attrs
from commands import Commands

#: Prints the groups as JSON; those that go away meanwhile are left out, as are processes that do.
_LOOK = """\
import json, os, sys
from pathlib import Path

top = Path("/sys/fs/cgroup/system.slice", sys.argv[1])
found = {}
for folder, _, _ in os.walk(top):
    group = Path(folder)
    try:
        files = [group / name for name in ("memory.max", "pids.max", "cpu.max")]
        texts = [file.read_text().strip() if file.exists() else "" for file in files]
        events = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        pids = {}
        for pid in (group / "cgroup.procs").read_text().split():
            try:
                pids[pid] = os.stat(f"/proc/{pid}").st_uid
            except OSError:
                pass
        found[str(group.relative_to(top))] = [*texts, int(events["oom_kill"]), group.stat().st_uid, pids]
    except OSError:
        pass
print(json.dumps(found))
"""


@attrs.frozen
class Group:
    """A control group of version 2: what its files say, and who is in it; without the controller there is no file.

    Attributes:
        oom_kills: processes that the kernel killed for want of memory, here and below.
        owner: uid.
        pids: uid of each process in it.
    """

    memory_max: str
    pids_max: str
    cpu_max: str
    oom_kills: int
    owner: int
    pids: dict[int, int]


def groups(machine: Commands, unit: str) -> dict[str, Group]:
    """Return a system unit's groups, by their paths below its own, which is "."; none where it is not running."""
    found = {}
    for path, (*values, pids) in json.loads(machine.run("python3", "-c", _LOOK, unit)).items():
        found[path] = Group(*values, {int(pid): uid for pid, uid in pids.items()})
    return found
