"""What of the host a job is shown stays visible wherever on the host it lies."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from sandboxing import LIMITS, hear

from edgesandbox import Spec, Zygote

MODULE = """
import json, os

def main(channel):
    import kept  # imported by the job itself, from below its own /tmp
    tmp = sorted(os.listdir("/tmp"))
    with open("/tmp/mine", "w") as file:
        file.write("x")
    try:
        open(kept.__file__, "a")
    except OSError as problem:
        refused = problem.strerror
    channel.sendall(json.dumps([kept.VALUE, tmp, refused]).encode() + b"\\n")
"""


@pytest.mark.needs("sandbox")
@pytest.mark.parametrize("name", ["modules", "white space"])
def test_a_directory_under_the_hosts_tmp_stays_readable(name: str) -> None:
    """A job's own /tmp does not hide modules that lie in the host's, shows nothing else of it, and is writable."""
    with tempfile.TemporaryDirectory(dir="/tmp") as parent, tempfile.NamedTemporaryFile(dir="/tmp") as other:
        directory = Path(parent) / name
        directory.mkdir()
        Path(parent).chmod(0o755)
        (directory / "entry.py").write_text(MODULE)
        (directory / "kept.py").write_text("VALUE = 7\n")
        (directory / "kept.py").chmod(0o666)  # only the read-only mount can refuse now
        with Zygote(entry="entry:main", import_paths=[directory]) as zygote, zygote.spawn(Spec(limits=LIMITS)) as box:
            value, tmp, refused = hear(box)

    assert value == 7
    assert Path(parent).name in tmp
    assert Path(other.name).name not in tmp
    assert refused == "Read-only file system"


@pytest.mark.needs("sandbox")
def test_a_directory_under_var_is_shown_without_the_rest_of_it() -> None:
    """An environment below /home or /var is no reason to refuse; the rest of that tree stays out of sight."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as parent, tempfile.NamedTemporaryFile(dir="/var/tmp") as other:
        directory = Path(parent) / "modules"
        directory.mkdir()
        Path(parent).chmod(0o755)
        (directory / "entry.py").write_text(
            "import json, os\n"
            "def main(channel):\n"
            "    channel.sendall(json.dumps(os.listdir('/var/tmp')).encode() + b'\\n')\n"
        )
        with Zygote(entry="entry:main", import_paths=[directory]) as zygote, zygote.spawn(Spec(limits=LIMITS)) as box:
            seen = hear(box)

    assert Path(parent).name in seen
    assert Path(other.name).name not in seen
