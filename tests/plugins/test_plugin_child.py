"""The job process: every way a plugin can end is one Done with one line of reason; real processes, real sockets."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_jobs import JOB_ID, Ran, hear, job_process, run_job

from edgeagent.plugins import child
from edgeagent.plugins.channel import Done, LineDecoder, Message, Progress, done_line, start_line

#: The operator guide's example, with nothing but its import line changed.
GUIDE_EXAMPLE = """\
from edgeagent.plugins import BaseWorkerPlugin, WorkerResult
import uuid

class BlenderRenderPlugin(BaseWorkerPlugin):
    job_type = "blender_render"

    async def execute(self, job_id: uuid.UUID, payload: dict) -> WorkerResult:
        try:
            scene_url = payload.get("scene_url")
            # Your rendering logic here...
            return WorkerResult(success=True, result_ref="s3://results/output.png")
        except Exception as e:
            return WorkerResult(success=False, error=str(e))
"""

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "plugins.md"

HEAD = """\
import os, sys, threading, trio
from edgeagent.plugins import BaseWorkerPlugin, RejectJob, WorkerResult, current_job

class Plugin(BaseWorkerPlugin):
    job_type = "mine"

    async def execute(self, job_id, payload):
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the job runs."""
    place = tmp_path / "scratch"
    place.mkdir()
    return place


@pytest.fixture
def plugin_dir(tmp_path: Path) -> Path:
    """The operator's plugin directory."""
    place = tmp_path / "plugins"
    place.mkdir()
    return place


@pytest.fixture
def mine(scratch: Path, plugin_dir: Path) -> Any:
    """Run a job whose plugin's ``execute`` has the given body."""

    def run(body: str, payload: dict[str, Any] | None = None) -> Ran:
        indented = "".join(f"        {line}\n" for line in body.splitlines())
        (plugin_dir / "mine.py").write_text(HEAD + indented)
        return run_job(scratch, "mine", payload or {}, plugin_dir)

    return run


def test_echo_gives_the_payload_back(scratch: Path) -> None:
    """The whole way there and back."""
    ran = run_job(scratch, "echo", {"text": "grüße\n", "n": [1, 2.5, None, {"deep": True}]})

    assert Done(success=True, value={"text": "grüße\n", "n": [1, 2.5, None, {"deep": True}]}) == ran.done
    assert (0, "") == (ran.status, ran.printed)


def test_the_guides_example_works_as_it_is(scratch: Path, plugin_dir: Path) -> None:
    """A file dropped into the plugin directory is all it takes."""
    (plugin_dir / "my_renderer.py").write_text(GUIDE_EXAMPLE)

    ran = run_job(scratch, "blender_render", {"scene_url": "s3://scenes/1"}, plugin_dir)

    assert Done(success=True, result_ref="s3://results/output.png") == ran.done


def test_the_documented_examples_work_as_they_are(scratch: Path, plugin_dir: Path) -> None:
    """What a reader copies from docs/plugins.md is what was run."""
    guide, thumbnails, *_ = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    assert GUIDE_EXAMPLE == guide
    (plugin_dir / "thumbnails.py").write_text(thumbnails)

    ran = run_job(scratch, "thumbnails", {"count": 3}, plugin_dir)

    assert Done(success=True, value={"count": 3}) == ran.done
    assert ["0.txt", "1.txt", "2.txt"] == sorted(file.name for file in (scratch / "output").iterdir())
    assert "made 0\nmade 1\nmade 2\n" == ran.printed
    assert Progress(fraction=1.0, text="3 of 3") == ran.progress[-1]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('no such\\n  scene')", "ValueError: no such scene"),
        ("raise KeyError", "KeyError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("sys.exit(3)", "the plugin ended the process with sys.exit(3)"),
        ("sys.exit('giving up')", "the plugin ended the process with sys.exit(giving up)"),
        ("return {'success': True}", "execute() returned dict, not a WorkerResult"),
        ("return None", "execute() returned NoneType, not a WorkerResult"),
        ("return WorkerResult(success=False, error='out of\\tpaint')", "out of paint"),
        ("return WorkerResult(success=False)", "the plugin gave no reason"),
        ("return WorkerResult(success='yes')", "TypeError: WorkerResult.success is bool, not str"),
        (
            "return WorkerResult(True, result_ref=current_job().output_dir)",
            "TypeError: WorkerResult.result_ref is str or None, not PosixPath",
        ),
        (
            "return WorkerResult(success=True, value={1, 2})",
            "the value is not JSON: Type is not JSON serializable: set",
        ),
        (
            "return WorkerResult(success=True, value='x' * 300_000)",
            "the value is 300002 bytes of JSON, over the limit of 262144; "
            "write it to a file in current_job().output_dir instead",
        ),
        (
            "async with trio.open_nursery() as nursery:\n    nursery.start_soon(trio.to_thread.run_sync, int, 'x')",
            "ValueError: invalid literal for int() with base 10: 'x'",
        ),
        (
            "class Odd(Exception):\n    def __str__(self): raise RuntimeError\nraise Odd",
            "Odd",
        ),
    ],
)
def test_a_failure_is_one_line_and_may_be_tried_elsewhere(mine: Any, body: str, error: str) -> None:
    """Whatever the plugin does wrong, the agent hears why and the process ends in order."""
    ran = mine(body)

    assert Done(success=False, error=error, retryable=True) == ran.done
    assert 0 == ran.status


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise MemoryError", "MemoryError"),
        ("raise OSError(28, 'No space left on device')", "OSError: [Errno 28] No space left on device"),
        (
            "async def fill(): raise MemoryError\n"
            "async with trio.open_nursery() as nursery:\n    nursery.start_soon(fill)",
            "MemoryError",
        ),
    ],
)
def test_who_meets_a_limit_ends_as_a_program_would(mine: Any, body: str, error: str) -> None:
    """The agent hears why, and the process ends with its traceback, by which the sandbox knows the limit."""
    ran = mine(body)

    assert Done(success=False, error=error, retryable=True) == ran.done
    assert 1 == ran.status
    assert 1 == ran.printed.count("Traceback")


@pytest.mark.parametrize(
    "body",
    [
        "raise RejectJob('width is 1 to 99')",
        "return WorkerResult(success=False, error='width is 1 to 99', retryable=False)",
        "async def check(): raise RejectJob('width is 1 to 99')\n"
        "async with trio.open_nursery() as nursery:\n    nursery.start_soon(check)",
    ],
)
def test_a_bad_job_is_not_tried_again(mine: Any, body: str) -> None:
    """Also when the refusal comes out of a nursery."""
    ran = mine(body)

    assert Done(success=False, error="width is 1 to 99", retryable=False) == ran.done
    assert "" == ran.printed


def test_a_traceback_goes_to_the_jobs_own_output(mine: Any) -> None:
    """The submitter can find the line; the reason stays one line."""
    ran = mine("raise ValueError('no such scene')")

    assert "mine.py" in ran.printed
    assert ran.printed.endswith("ValueError: no such scene\n")


def test_printing_megabytes_does_not_touch_the_channel(mine: Any) -> None:
    """Output and result go different ways, and all output is out before the result."""
    ran = mine("print('x' * 5_000_000)\nsys.stderr.write('end')\nreturn WorkerResult(success=True, value=1)")

    assert Done(success=True, value=1) == ran.done
    assert 5_000_004 == len(ran.printed)


def test_a_plugin_may_close_its_output(mine: Any) -> None:
    """Nothing of ours is said there, so nothing is lost."""
    ran = mine("os.close(1)\nos.close(2)\nsys.stdout.close()\nraise ValueError('still heard')")

    assert "ValueError: still heard" == ran.done.error


def test_the_job_knows_its_id_and_where_its_files_go(mine: Any, scratch: Path) -> None:
    """The directory is there already; threads that trio starts know the job too."""
    ran = mine(
        "(current_job().output_dir / 'a.txt').write_text('hello')\n"
        "seen = await trio.to_thread.run_sync(lambda: str(current_job().job_id))\n"
        "return WorkerResult(success=True, value=[seen, str(job_id), str(current_job().output_dir)])"
    )

    assert [str(JOB_ID), str(JOB_ID), str(scratch / "output")] == ran.done.value
    assert "hello" == (scratch / "output" / "a.txt").read_text()


def test_progress_arrives_in_order_and_the_last_one_always(mine: Any) -> None:
    """Updates too close together replace one another."""
    ran = mine(
        "for step in range(1, 2001):\n    current_job().progress(step / 2000, f'step {step}')\n"
        "return WorkerResult(success=True)"
    )

    fractions = [update.fraction for update in ran.progress]
    assert Progress(fraction=1.0, text="step 2000") == ran.progress[-1]
    assert sorted(fractions) == fractions
    assert len(fractions) < 1000


@pytest.mark.parametrize("body", ["os._exit(7)", "os.kill(os.getpid(), 9)"])
def test_a_process_that_just_ends_says_nothing(mine: Any, body: str) -> None:
    """How it ended is the sandbox's to tell."""
    ran = mine(body)

    assert [] == ran.messages
    assert ran.status in (7, -signal.SIGKILL)


def test_an_unknown_job_type_is_said(scratch: Path) -> None:
    """It cannot be dispatched here, unless the plugin was removed since."""
    assert "this node has no plugin for job type 'fly'" == run_job(scratch, "fly", {}).done.error


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (HEAD.replace("import os", "import no_such_library"), "ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemExit(4)\n" + HEAD + "        pass", "SystemExit: 4"),
        (
            HEAD.replace("async def execute", "async def run") + "        pass",
            "Can't instantiate abstract class Plugin",
        ),
        (
            HEAD.replace("BaseWorkerPlugin)", "Exception)") + "        pass",
            "is not a class derived from BaseWorkerPlugin",
        ),
        (HEAD + "        pass\nPlugin.job_type = 'other'", "is for job type 'other', not 'mine'"),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_said(scratch: Path, plugin_dir: Path, source: str, error: str) -> None:
    """Its file was found, so the job got here; loading it is where it breaks."""
    (plugin_dir / "mine.py").write_text(source + ("" if "pass" in source else "        pass\n"))

    ran = run_job(scratch, "mine", {}, plugin_dir)

    assert error in (ran.done.error or "")
    assert not ran.done.success


def test_an_agent_that_hangs_up_ends_the_job_process(scratch: Path) -> None:
    """No Start, no job."""
    with job_process(scratch) as (process, channel):
        channel.close()
        assert 0 == process.wait(timeout=60)


def test_a_result_nobody_waits_for_is_dropped(scratch: Path, plugin_dir: Path) -> None:
    """The agent may die at any time; that is no traceback."""
    (plugin_dir / "mine.py").write_text(
        HEAD + "        open('ready', 'x').close()\n        while not os.path.exists('go'): await trio.sleep(0.01)\n"
        "        current_job().progress(0.5)\n        return WorkerResult(success=True, value='x' * 200_000)\n"
    )
    with job_process(scratch, plugin_dir) as (process, channel):
        channel.sendall(start_line(JOB_ID, "mine", {}))
        _wait_for(scratch / "ready")
        channel.close()
        (scratch / "go").touch()
        assert 0 == process.wait(timeout=60)
    assert "" == (scratch / "printed").read_text()


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_output_that_nobody_reads_any_more_does_not_lose_the_result(scratch: Path, plugin_dir: Path) -> None:
    """A broken pipe on stdout is the log's loss only."""
    (plugin_dir / "mine.py").write_text(
        HEAD + "        print('x')\n        return WorkerResult(success=True, value=5)\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with job_process(scratch, plugin_dir, stdout=writer) as (process, channel):
            channel.sendall(start_line(JOB_ID, "mine", {}))
            messages = hear(channel)
            process.wait(timeout=60)
    finally:
        os.close(writer)

    assert [Done(success=True, value=5)] == messages


def test_progress_never_blocks_and_never_breaks_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an agent that does not read, updates are left out whole; what is read later is in order."""
    monkeypatch.setattr(child, "PROGRESS_INTERVAL_S", 0.0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        sender = child._Sender(theirs)
        for step in range(2000):
            sender.progress(step / 2000, "x" * (step % 900))
        heard: list[Message] = []
        decoder = LineDecoder()
        ours.setblocking(False)
        _drain(ours, decoder, heard)
        sender.progress(1.0, "last")
        ours.setblocking(True)
        sender.finish(done_line(success=True))
        theirs.shutdown(socket.SHUT_WR)
        _drain(ours, decoder, heard)
        decoder.eof()

    fractions = [message.fraction for message in heard if isinstance(message, Progress)]
    assert sorted(fractions) == fractions
    assert 1 < len(fractions) < 1000
    assert [Progress(fraction=1.0, text="last"), Done(success=True)] == heard[-2:]


def _drain(channel: socket.socket, decoder: LineDecoder, heard: list[Message]) -> None:
    try:
        while data := channel.recv(1 << 16):
            heard += decoder.feed(data)
    except BlockingIOError:
        return


def test_the_interface_is_light_and_starts_no_threads() -> None:
    """A fork needs a process with one thread; the agent needs no trio and no numpy to know the plugins' interface."""
    program = (
        "import sys, os\nimport edgeagent.plugins\nprint(sorted({'trio', 'numpy'} & set(sys.modules)))\n"
        "import edgeagent.plugins.child\nprint(len(os.listdir('/proc/self/task')), 'numpy' in sys.modules)"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert "[]\n1 False\n" == ended.stdout
