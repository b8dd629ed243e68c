"""Finding plugins without running them, loading them with suspicion, and asking them whether they can run here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from edgeagent.plugins import loading
from edgeagent.plugins.echo import EchoPlugin
from edgeagent.plugins.loading import Discovered, PluginError, discover, load
from edgeagent.plugins.probe import available

HEAD = "from edgeagent.plugins import BaseWorkerPlugin, WorkerResult\n"
GOOD = (
    HEAD + "class Mine(BaseWorkerPlugin):\n    job_type = 'mine'\n    async def execute(self, job_id, payload):\n"
    "        return WorkerResult(success=True)\n"
)


@pytest.fixture
def _no_trace() -> Iterator[None]:
    """Undo what loading a plugin file does to this process."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def files_only(monkeypatch: pytest.MonkeyPatch, points: tuple[EntryPoint, ...] = ()) -> None:
    """Let only these entry points be installed."""
    monkeypatch.setattr(loading, "entry_points", lambda group: points)


def test_the_built_in_plugins_are_found() -> None:
    """By the entry points of this very package."""
    found = discover()

    assert {"echo", "cpu_benchmark", "render", "inference"} <= set(found.plugins)
    assert "edgeagent.plugins.echo:EchoPlugin" == found.plugins["echo"]
    assert () == found.errors


def test_a_file_is_found_without_being_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that looks holds the node's key."""
    files_only(monkeypatch)
    (tmp_path / "mine.py").write_text("raise SystemExit('was run')\n" + GOOD)

    assert Discovered({"mine": f"{tmp_path}/mine.py:Mine"}) == discover(tmp_path)


def test_one_file_may_hold_several_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a base class of their own, which has no job type; other classes are not looked at."""
    files_only(monkeypatch)
    (tmp_path / "both.py").write_text(
        HEAD + "class Base(BaseWorkerPlugin): pass\nclass A(Base): job_type: str = 'a'\n"
        "class B(Base):\n    x = y = 1\n    job_type = 'b'\nclass Config:\n    job_type = 'c'\n"
    )

    assert {"a": f"{tmp_path}/both.py:A", "b": f"{tmp_path}/both.py:B"} == discover(tmp_path).plugins


def test_a_missing_directory_holds_no_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most operators have none."""
    files_only(monkeypatch)

    assert Discovered() == discover(tmp_path / "plugins")


def test_other_files_are_not_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers start with an underscore; editors leave hidden files."""
    files_only(monkeypatch)
    for name in ("_helper.py", ".mine.py", "mine.txt", "mine.py~"):
        (tmp_path / name).write_text("not python at all ((")

    assert Discovered() == discover(tmp_path)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"def (:\n", "not valid Python: invalid syntax (line 1)"),
        (b"x = '\xff'\n", "not valid Python: "),
        (b"x = 1\0\n", "not valid Python: "),
        (b"x = " + b"(" * 500 + b")" * 500, "not valid Python: "),
        (b"#" * (loading.MAX_FILE_BYTES + 1), "larger than 1048576 bytes"),
        (b"x = 1\n", "no class derived from BaseWorkerPlugin with a job_type in it"),
        (GOOD.replace("'mine'", "'mi' + 'ne'").encode(), "job_type of Mine must be written as a plain string"),
        (GOOD.replace("'mine'", "'a\\nb'").encode(), "a job type is 1 to 100 printable characters"),
        (GOOD.replace("'mine'", "''").encode(), "a job type is 1 to 100 printable characters"),
        (
            GOOD.replace("'mine'", "'echo'").encode(),
            "job type 'echo' is already provided by edgeagent.plugins.echo:Echo",
        ),
    ],
)
def test_a_broken_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: bytes, error: str) -> None:
    """It names the file and what is wrong; the plugins beside it are found."""
    files_only(monkeypatch, (EntryPoint("echo", "edgeagent.plugins.echo:EchoPlugin", loading.GROUP),))
    (tmp_path / "broken.py").write_bytes(source)
    (tmp_path / "works.py").write_text(GOOD.replace("mine", "works"))

    found = discover(tmp_path)

    (line,) = found.errors
    assert line.startswith(f"{tmp_path}/broken.py:")
    assert error in line
    assert "\n" not in line
    assert {"echo", "works"} == set(found.plugins)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For example a link to nothing."""
    files_only(monkeypatch)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")

    assert (f"{tmp_path}/gone.py: No such file or directory",) == discover(tmp_path).errors


@pytest.mark.parametrize("value", ["some.module", "some module:Class", ""])
def test_a_malformed_entry_point_is_one_line(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Somebody else's package must not stop the node."""
    files_only(monkeypatch, (EntryPoint("odd", value, loading.GROUP),))

    assert Discovered({}, (f"entry point 'odd': {value!r} is not of the form module:Class",)) == discover()


def test_the_same_entry_point_twice_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install may show its metadata twice."""
    point = EntryPoint("echo", "edgeagent.plugins.echo:EchoPlugin", loading.GROUP)
    files_only(monkeypatch, (point, point))

    assert Discovered({"echo": point.value}) == discover()


def test_loading_returns_the_class() -> None:
    """The one that was promised."""
    assert EchoPlugin is load("echo", "edgeagent.plugins.echo:EchoPlugin")


@pytest.mark.usefixtures("_no_trace")
def test_a_plugin_file_may_import_a_helper_beside_it(tmp_path: Path) -> None:
    """And does not hide a library of the same name."""
    (tmp_path / "_helper_of_mine.py").write_text("NAME = 'helped'\n")
    (tmp_path / "json.py").write_text(
        "import json, _helper_of_mine\n" + GOOD + "    helped = (_helper_of_mine.NAME, json.dumps(1))\n"
    )

    assert ("helped", "1") == load("mine", f"{tmp_path}/json.py:Mine").helped  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ("no.such.module:Plugin", "cannot be loaded: ModuleNotFoundError: No module named 'no'"),
        ("edgeagent.plugins.echo:Nothing", "cannot be loaded: AttributeError: "),
        ("pathlib:Path", "is not a class derived from BaseWorkerPlugin"),
        ("os:sep", "is not a class derived from BaseWorkerPlugin"),
        ("edgeagent.plugins.echo:EchoPlugin", "is for job type 'echo', not 'mine'"),
        ("/no/such/file.py:Plugin", "cannot be loaded: FileNotFoundError: "),
    ],
)
def test_what_was_not_promised_is_not_loaded(spec: str, error: str) -> None:
    """One line that names the place."""
    with pytest.raises(PluginError) as raised:
        load("mine", spec)

    assert str(raised.value).startswith(f"{spec} {error}")


def write(directory: Path, name: str, extra: str) -> tuple[str, str]:
    """Write a plugin file with something extra; return its job type and place."""
    (directory / f"{name}.py").write_text(GOOD.replace("mine", name) + extra)
    return name, f"{directory}/{name}.py:Mine"


def test_each_plugin_says_for_itself_whether_it_can_run(tmp_path: Path) -> None:
    """Whatever one of them does when it is asked, the others are heard."""
    says = "    @classmethod\n    def unavailable(cls):\n        "
    plugins = dict(
        [
            ("echo", "edgeagent.plugins.echo:EchoPlugin"),
            write(tmp_path, "lacks", says + "return 'no GPU\\nhere'\n"),
            write(tmp_path, "breaks", "import no_such_library\n"),
            write(tmp_path, "raises", says + "raise OSError('disk')\n"),
            write(tmp_path, "dies", "import os\nos._exit(3)\n"),
            write(tmp_path, "prints", 'print(\'["echo", "forged"]\')\n'),
            write(
                tmp_path, "threads", "import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\n"
            ),
        ]
    )

    offer = available(plugins, timeout_s=30)

    assert ("echo", "prints", "threads") == offer.job_types
    assert {
        "lacks": "no GPU here",
        "breaks": f"{plugins['breaks']} cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'",
        "raises": f"{plugins['raises']}: unavailable() raised OSError: disk",
        "dies": f"{plugins['dies']} ended the process (status 3) while it was loaded",
    } == dict(offer.reasons)


def test_a_plugin_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """The node starts without it."""
    hangs = write(tmp_path, "hangs", "import time\ntime.sleep(600)\n")

    offer = available(dict([hangs, ("echo", "edgeagent.plugins.echo:EchoPlugin")]), timeout_s=3)

    assert ("echo",) == offer.job_types
    assert {"hangs": f"{hangs[1]} did not finish in 3 s while it was loaded"} == dict(offer.reasons)


def test_plugins_are_asked_without_the_agents_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token may be in the agent's environment; it is not in theirs."""
    monkeypatch.setenv("NODE_JWT", "secret")
    asks = (
        "    @classmethod\n    def unavailable(cls):\n        return __import__('os').environ.get('NODE_JWT', 'none')\n"
    )

    assert {"asks": "none"} == dict(available(dict([write(tmp_path, "asks", asks)])).reasons)
