"""Which of the discovered plugins this host can run.

The answer needs each plugin's own code: whether its module imports, and what its ``unavailable()`` says.  That code
runs in a short-lived process without the agent's secrets, never in the agent: it may be slow, large, start threads,
print, or end the process.  The node asks once, when it starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from edgeagent.plugins.channel import one_line
from edgeagent.plugins.loading import PluginError, load

#: Seconds that loading all plugins may take; a first import of a large library from a cold disk needs several.
TIMEOUT_S = 60.0
#: What of the environment a plugin's module gets to see; no secret is ever in these.
_KEPT = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "VIRTUAL_ENV")


@attrs.frozen
class Offer:
    """What this host can run, one line for each job type that it cannot, and the plugins' own benchmark jobs."""

    job_types: tuple[str, ...]
    reasons: Mapping[str, str]
    benchmarks: Mapping[str, dict[str, Any]] = attrs.Factory(dict)  # their payloads, by job type


def available(plugins: Mapping[str, str], *, timeout_s: float = TIMEOUT_S) -> Offer:
    """Load each plugin in a process of its own and ask it.  Blocking, about 0.1 s.

    Args:
        plugins: ``Discovered.plugins``.
        timeout_s: seconds for one plugin after the one before it has answered; a plugin that hangs is not available.
    """
    said: dict[str, _Answer] = {}
    while waiting := {job_type: spec for job_type, spec in plugins.items() if job_type not in said}:
        answers, ending = _ask(waiting, timeout_s)
        said.update(answers)
        silent = next((job_type for job_type in waiting if job_type not in said), None)
        if silent is not None:  # its module took the process with it; the others get another one
            said[silent] = _Answer(f"{waiting[silent]} {ending} while it was loaded")
    return Offer(
        tuple(job_type for job_type in plugins if said[job_type].reason is None),
        {job_type: reason for job_type in plugins if (reason := said[job_type].reason) is not None},
        {job_type: payload for job_type in plugins if (payload := said[job_type].benchmark) is not None},
    )


@attrs.frozen
class _Answer:
    reason: str | None = None
    benchmark: dict[str, Any] | None = None


def _ask(plugins: Mapping[str, str], timeout_s: float) -> tuple[dict[str, _Answer], str]:
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", "edgeagent.plugins.probe"],
            input=json.dumps(dict(plugins)).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
            cwd="/",
            env={name: os.environ[name] for name in _KEPT if name in os.environ},
        )
        output, ending = ended.stdout, f"ended the process (status {ended.returncode})"
    except subprocess.TimeoutExpired as late:
        output, ending = late.stdout or b"", f"did not finish in {timeout_s:g} s"
    return {job_type: answer for job_type, answer in map(_parse, output.splitlines()) if job_type in plugins}, ending


def _parse(line: bytes) -> tuple[str, _Answer]:
    try:
        job_type, reason, benchmark = json.loads(line)
    except ValueError:
        return "", _Answer()
    return str(job_type), _Answer(
        None if reason is None else one_line(str(reason)), benchmark if isinstance(benchmark, dict) else None
    )


def _look(job_type: str, spec: str) -> tuple[str | None, Any]:
    try:
        plugin = load(job_type, spec)
        reason = plugin.unavailable()
    except PluginError as error:
        return str(error), None
    except Exception as error:  # the plugin's own code
        return f"{spec}: unavailable() raised {type(error).__name__}: {error}", None
    try:
        json.dumps(plugin.benchmark)
    except (TypeError, ValueError):
        return reason, None  # no payload
    return reason, plugin.benchmark


def _main() -> None:
    # What modules print while they are imported must not mix with the answers.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for job_type, spec in json.load(sys.stdin).items():
            print(json.dumps([job_type, *_look(job_type, spec)]), file=answers, flush=True)
    os._exit(0)  # threads that a module has started are not waited for


if __name__ == "__main__":
    _main()
