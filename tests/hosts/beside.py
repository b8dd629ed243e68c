"""A real gateway beside a machine or container, and a submitter's commands to it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

COMMAND = str(Path(sys.executable).parent / "edgeagent")
PATIENCE_S = 180.0
#: A kind of work that lasts as long as it is told to, for a node's ``plugins`` directory.
HOLD = """\
import time

from edgeagent.plugins import BaseWorkerPlugin, WorkerResult, current_job


class Hold(BaseWorkerPlugin):
    job_type = "hold"

    async def execute(self, job_id, payload):
        (current_job().output_dir / "held.txt").write_text("held")
        time.sleep(payload["seconds"])
        return WorkerResult(success=True, value={"held": payload["seconds"]})
"""


def until(found: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return what is found, once it is something; ask again until then.

    Raises:
        AssertionError: nothing was found in time.
    """
    deadline = time.monotonic() + patience_s
    while not (answer := found()):
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s in vain: {what}"
        time.sleep(0.1)
    return answer


@attrs.frozen
class Gateway:
    """A gateway at an address, and a token of an account there."""

    url: str
    token: str

    def edgeagent(self, *words: str) -> str:
        """Run one of a submitter's commands and return what it prints."""
        environ = os.environ | {"GATEWAY_URL": self.url, "EDGEAGENT_TOKEN": self.token}
        done = subprocess.run([COMMAND, *words], env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, job_type: str, **payload: Any) -> str:
        """Submit a job; returns its id."""
        return str(
            json.loads(self.edgeagent("job", "submit", job_type, "--payload", json.dumps(payload), "--json"))["job_id"]
        )

    def submit_in_full(self, job_type: str, payload: dict[str, Any], **more: Any) -> str:
        """Submit a job with whatever REST has a word for, as ``limits``; returns its id."""
        return str(self._asked("", json.dumps({"job_type": job_type, "payload": payload, **more}).encode())["job_id"])

    def job(self, job: str) -> dict[str, Any]:
        """Return a job as the gateway shows it; over REST, since a program takes seconds to start on a busy machine."""
        return self._asked(f"/{job}")

    def result(self, job: str) -> dict[str, Any]:
        """Return what a finished job gave back."""
        return self._asked(f"/{job}/result")

    def _asked(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/api/v1/jobs{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            shown: dict[str, Any] = json.load(answer)
        return shown

    def becomes(self, job: str, state: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until a job is in this state, on the way to its end; returns it."""

        def there() -> dict[str, Any] | None:
            try:
                now = self.job(job)
            except OSError:  # the gateway is away for now
                return None
            assert now["status"] == state or now["status"] not in ("COMPLETED", "FAILED", "CANCELLED"), now
            return now if now["status"] == state else None

        found: dict[str, Any] = until(there, f"job {job} {state}", patience_s)
        return found


@contextlib.contextmanager
def gateway(port: int = 0, heartbeat_s: int = 1) -> Iterator[Gateway]:
    """Yield a gateway of this run's own, on loopback; it gives up a node that is silent for three heartbeats."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as data:
        run = ["nice", COMMAND, "gateway", "run", "--data", data, "--port", str(port)]
        run += ["--heartbeat", str(heartbeat_s)]
        with Path(data, "log").open("wb") as log:
            process = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            url = process.stdout.readline().decode().strip()
            assert url, Path(data, "log").read_text()
            create = [COMMAND, "gateway", "token", "create", "--data", data, "--name", "studio", "--credits", "1000"]
            token = subprocess.run(create, capture_output=True, text=True, check=True).stdout.split()[0]
            yield Gateway(url, token)
        finally:
            process.terminate()
            process.wait(timeout=60)
            process.stdout.close()
